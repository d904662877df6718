//! `surgeline calibrate nvml` as people meet it, with a stand-in for NVIDIA's library.
//!
//! Deliberately absent: what the sampler does with each answer of a device, which the tests of
//! `calibrate` look at.

#[path = "../../calibrate/tests/nvml/fake.rs"]
pub(crate) mod fake;

use fake::Fake;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The command under a library that these definitions make.
fn command(fake: &Fake, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
    command.args(["calibrate", "nvml"]).args(args.split_whitespace());
    command.arg("--lib").arg(fake.library());
    command.current_dir(folder(fake));
    command
}

fn folder(fake: &Fake) -> std::path::PathBuf {
    fake.library().parent().map(Path::to_path_buf).expect("a folder")
}

#[track_caller]
fn ended(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

#[track_caller]
fn run(fake: &Fake, args: &str, code: i32) -> (String, String) {
    ended(&command(fake, args).output().expect("the binary starts"), code)
}

#[test]
fn a_sampling_becomes_a_file_and_a_summary() {
    let fake = Fake::new(&["THROTTLE_BITS=0x4"]);
    let args = "--for 200ms --every 20ms --tokens 1000 --energy-price $0.12/kWh --out p.csv";
    let (out, err) = run(&fake, args, 0);
    assert!(out.starts_with("NVIDIA H100 80GB HBM3, GPU 0, GPU-0000, driver 570.86.15\n"), "{out}");
    for said in [
        "400 W mean",
        "limit 700 W",
        "Energy per token",
        "an hour, $",
        "power cap 100.0 %",
        "Slow GPU",
    ] {
        assert!(out.contains(said), "{said}\nis not in\n{out}");
    }
    assert!(err.contains("to p.csv"), "{err}");
    let csv = std::fs::read(folder(&fake).join("p.csv")).expect("a file");
    let written = calibrate::nvml::read_csv(&csv[..]).expect("a profile");
    assert_eq!(written.samples.len() as u64 + written.skipped, 11);

    run(&fake, "--for 200ms --every 20ms --out p.parquet --quiet", 0);
    let bytes = std::fs::read(folder(&fake).join("p.parquet")).expect("a file");
    let written = reports::parquet::read(&bytes).expect("a profile");
    assert_eq!(written.facts.name.as_deref(), Some("NVIDIA H100 80GB HBM3"));
    assert_eq!(written.samples.len() as u64 + written.skipped, 11);
}

#[test]
fn programs_get_one_object() {
    let fake = Fake::new(&["ENERGY_RETURNS=3", "THROTTLE_BITS=0x40"]);
    let (out, err) = run(&fake, "--gpu GPU-1111 --for 100ms --every 10ms --format json", 0);
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["schema"], "surgeline.nvml/1");
    assert_eq!(value["device"]["uuid"], "GPU-1111");
    assert_eq!(value["power_w"]["mean"], 400.0);
    assert_eq!(value["energy"]["source"], "power");
    assert_eq!(value["joules_per_token"], serde_json::Value::Null);
    assert_eq!(value["throttled"]["share"], 1.0);
    assert_eq!(value["missing"]["energy"], "the device does not support it");
    assert!(err.contains("warning: slow GPU"), "{err}");
}

#[test]
fn what_cannot_be_done_says_why() {
    let fake = Fake::new(&[]);
    for (args, said) in [
        ("--gpu 7", "there is no GPU 7; NVML finds: 0 (NVIDIA H100 80GB HBM3"),
        ("--gpu first", "an index such as 0, or a UUID"),
        ("--every 100", "the unit is missing"),
        ("--for 0s", "a time above zero"),
        ("--every 1us", "at least 1 ms"),
        ("--for 30d --every 1ms", "at most 1000000 are kept"),
        ("--tokens 0", "--tokens"),
        ("--out p.txt", "should end in .parquet or .csv"),
        ("--out nowhere/p.csv", "there is no such folder"),
    ] {
        let (out, err) = run(&fake, args, 2);
        assert!(err.contains(said), "{args}: {said}\nis not in\n{err}");
        assert!(out.is_empty());
    }
    for (definition, said) in [
        ("DEVICES=0", "NVML finds no GPU"),
        ("INIT_RETURNS=9", "NVIDIA driver is not loaded"),
        ("nvmlInit_v2=something_else", "is not NVML"),
        ("LOST_AFTER=0", "lost before the first sample"),
    ] {
        let (_, err) = run(&Fake::new(&[definition]), "--out p.csv", 2);
        assert!(err.contains(said), "{definition}: {said}\nis not in\n{err}");
    }
    let absent = Command::new(env!("CARGO_BIN_EXE_surgeline"))
        .args(["calibrate", "nvml", "--lib", "/nowhere/libnvidia-ml.so.1"])
        .output()
        .expect("the binary starts");
    let (_, err) = ended(&absent, 2);
    assert!(err.contains("/nowhere/libnvidia-ml.so.1 cannot be loaded"), "{err}");
    assert!(err.contains("NVIDIA's driver"), "{err}");
}

#[test]
fn a_lost_gpu_leaves_a_file_and_an_error() {
    let fake = Fake::new(&["LOST_AFTER=3"]);
    let (out, err) = run(&fake, "--every 10ms --out p.csv", 2);
    assert!(out.contains("then the GPU was lost"), "{out}");
    assert!(err.contains("the GPU was lost, 3 samples are kept"), "{err}");
    let csv = std::fs::read(folder(&fake).join("p.csv")).expect("a file");
    assert_eq!(calibrate::nvml::read_csv(&csv[..]).expect("a profile").samples.len(), 3);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_sampled() {
    let fake = Fake::new(&["SIGNAL_AFTER=5"]);
    let mut command = command(&fake, "--for 1h --every 10ms --out p.csv");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (out, err) = ended(&command.output().expect("the binary starts"), 130);
    assert!(out.contains("stopped early"), "{out}");
    assert!(err.contains("what is finished is kept"), "{err}");
    let csv = std::fs::read(folder(&fake).join("p.csv")).expect("a file");
    assert!(calibrate::nvml::read_csv(&csv[..]).expect("a profile").samples.len() >= 5);
}
