//! Profiles as CSV: what is written comes back, and what is no profile says why.

use crate::sampled;
use calibrate::nvml::{CsvError, Ended, Profile, read_csv, write_csv};

fn csv(profile: &Profile) -> String {
    let mut out = Vec::new();
    write_csv(profile, &mut out).expect("memory takes everything");
    String::from_utf8(out).expect("text")
}

#[test]
fn what_is_written_is_read_back_equal() {
    let cases: [&[&str]; 3] = [
        &["THROTTLE_BITS=0x4"],
        &["ENERGY_RETURNS=3", "TIMEOUT_AT=2", "NAME=\"a \\\"GPU\\\", \\n with: # marks\""],
        &["LOST_AFTER=2", "GPM_RETURNS=4"],
    ];
    for definitions in cases {
        let profile = sampled(definitions, 101, 303);
        let text = csv(&profile);
        assert_eq!(read_csv(text.as_bytes()).expect("a profile"), profile, "{text}");
    }
}

#[test]
fn facts_come_before_the_header_as_comments() {
    let profile = sampled(&["ENERGY_RETURNS=3"], 10, 10);
    let text = csv(&profile);
    assert!(text.starts_with("# format: surgeline.nvml/1\n"), "{text}");
    for line in [
        "# device.name: NVIDIA H100 80GB HBM3",
        "# device.driver: 570.86.15",
        "# missing.energy: the device does not support it",
        "# every_us: 10000",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
    }
    let header = text.lines().find(|line| !line.starts_with('#')).expect("a header");
    assert!(header.starts_with("time_s,unix_s,power_w,energy_j,"), "{header}");
}

#[test]
fn columns_may_be_moved_and_added() {
    let text = "# format: surgeline.nvml/1\n# started_unix_us: 5\n# every_us: 1000\n\
                # skipped: 0\n# ended: stopped\n# someone.else: 7\n\
                room,power_w,time_s\nA,350.5,0.25\nB,,0.5\n";
    let profile = read_csv(text.as_bytes()).expect("a profile");
    assert_eq!(profile.ended, Ended::Stopped);
    let read: Vec<(f64, Option<f64>)> =
        profile.samples.iter().map(|s| (s.at.as_secs_f64(), s.power_w)).collect();
    assert_eq!(read, [(0.25, Some(350.5)), (0.5, None)]);
}

#[test]
fn what_is_no_profile_says_why() {
    let head = "# format: surgeline.nvml/1\n# started_unix_us: 5\n# every_us: 1000\n\
                # skipped: 0\n# ended: stopped\n";
    let refused = |text: &str| read_csv(text.as_bytes()).expect_err("no profile");
    let cell = refused(&format!("{head}time_s,power_w\n0,1\n1,many\n"));
    assert!(matches!(cell, CsvError::Cell { line: 8, column: "power_w", .. }), "{cell}");
    for cells in ["NaN,1", "-1,1", "1,inf"] {
        let error = refused(&format!("{head}time_s,power_w\n{cells}\n"));
        assert!(matches!(error, CsvError::Cell { .. }), "{error}");
    }
    assert!(matches!(refused(&format!("{head}power_w\n1\n")), CsvError::NoColumn("time_s")));
    assert!(matches!(refused(&format!("{head}time_s,power_w\n1\n")), CsvError::Csv(_)));
    assert!(matches!(refused("time_s\n1\n"), CsvError::Metadata(_)));
    assert!(matches!(refused(""), CsvError::NoColumn(_)));
    for (from, to) in [
        ("every_us: 1000", "every_us: often"),
        ("ended: stopped", "ended: never"),
        ("skipped: 0", "device.memory_bytes: 80 GB"),
        ("skipped: 0", "device.sm_max_mhz: inf"),
        ("skipped: 0", "errors.power: twice"),
    ] {
        let error = refused(&format!("{}time_s\n1\n", head.replace(from, to)));
        assert!(matches!(error, CsvError::Metadata(_)), "{to}: {error}");
    }
}
