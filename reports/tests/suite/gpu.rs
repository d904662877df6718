//! Profiles of GPUs as documents: Parquet that comes back equal, text and JSON that say the same.

use calibrate::nvml::{Cell, Column, DeviceFacts, Ended, FieldErrors, Gpm, Kind, Profile, Sample};
use reports::gpu_profile::{json, text};
use reports::parquet::{self, ParquetError};
use serde_json::Value;
use sim::units::{Bytes, Span};
use std::collections::BTreeMap;
use std::time::Duration;

/// Two hundred samples in which every column has values and gaps.
fn profile() -> Profile {
    let mut samples = Vec::new();
    for number in 0..200u64 {
        let mut sample = Sample::default();
        for (place, column) in Column::all().enumerate() {
            let always = matches!(column, Column::At | Column::Unix | Column::Throttle(_));
            if !always && (number + place as u64).is_multiple_of(7) {
                continue;
            }
            let cell = match column.kind() {
                Kind::Float => Cell::Float(number as f64 * 0.125 + place as f64),
                Kind::Whole => Cell::Whole(number << 33),
                Kind::Flag => Cell::Flag((number + place as u64).is_multiple_of(3)),
            };
            assert!(column.set(&mut sample, cell));
        }
        samples.push(sample);
    }
    let error = FieldErrors { count: 3, first_at: Span::from_millis(1_500), first: "late".into() };
    Profile {
        facts: DeviceFacts {
            name: Some("NVIDIA \"H100\", 80GB: é".into()),
            index: Some(0),
            memory: Some(Bytes(80 << 30)),
            power_limit_w: Some(500.0),
            power_limit_default_w: Some(700.0),
            sm_max_mhz: Some(1_980.0),
            mig: Some(false),
            ..DeviceFacts::default()
        },
        started: Duration::from_micros(1_795_680_000_123_456),
        every: Span::from_millis(125),
        skipped: 2,
        ended: Ended::Lost("device fell off the bus".into()),
        missing: [("energy".to_owned(), "no counter".to_owned())].into(),
        errors: [("temperature".to_owned(), error)].into(),
        units: [("gpm_sm_percent".to_owned(), "%".to_owned())].into(),
        samples,
    }
}

/// One sample a second, all alike.
fn steady(sample: &Sample, seconds: u64) -> Profile {
    let at = |second| Sample { at: Span::from_secs(second), ..sample.clone() };
    Profile {
        every: Span::from_secs(1),
        skipped: 0,
        ended: Ended::Complete,
        missing: BTreeMap::new(),
        errors: BTreeMap::new(),
        samples: (0..=seconds).map(at).collect(),
        ..profile()
    }
}

#[test]
fn what_is_written_as_parquet_is_read_back_equal() {
    let none = Profile { samples: Vec::new(), ..profile() };
    for profile in [profile(), none] {
        let bytes = parquet::write(&profile).expect("bytes");
        assert_eq!(parquet::read(&bytes).expect("a profile"), profile);
    }
}

#[test]
fn damaged_parquet_is_refused() {
    assert!(matches!(parquet::read(b"PAR1"), Err(ParquetError::Parquet(_))));
    assert!(matches!(parquet::read(b""), Err(ParquetError::Parquet(_))));
    let bytes = parquet::write(&profile()).expect("bytes");
    for end in [0, 4, bytes.len() / 2, bytes.len() - 1] {
        assert!(parquet::read(&bytes[..end]).is_err(), "{end}");
    }
    // Whatever a flipped bit becomes, it is an answer.
    for place in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let _ = parquet::read(&damaged);
    }
}

#[test]
fn text_says_what_it_comes_to_and_what_to_look_at() {
    let mut sample = Sample {
        power_w: Some(480.0),
        gpu_percent: Some(98.0),
        sm_mhz: Some(1_485.0),
        memory_used: Some(Bytes(60 << 30)),
        temperature_c: Some(64.0),
        ..Sample::default()
    };
    sample.gpm[Gpm::Tensor as usize] = Some(41.5);
    assert!(Column::all().filter(|c| c.kind() == Kind::Flag).all(|column| {
        column.set(&mut sample, Cell::Flag(column.name() == "throttle_power_cap"))
    }));
    let profile = steady(&sample, 100);
    let summary = profile.summary(Some(96_000));
    let expected = "\
NVIDIA \"H100\", 80GB: é, GPU 0
101 samples in 100 s, every 1 s

  Power             480 W mean, 480 W at most, limit 500 W
  Energy            48,000 J in 100 s, added up from power
  Energy per token  0.500 J; 0.139 kWh a million
  Throttled         100.0 % of the time; in force: power cap 100.0 %
  SM clock          1,485 MHz mean, 1,485 MHz under load, highest 1,980 MHz
  Utilisation       98.0 % GPU
  Memory used       60.0 GiB at most of 80.0 GiB
  Temperature       64 °C at most
  Counters, mean    tensor 41.5 %

Slow GPU: it is held back for 100.0 % of the time, longest by power cap. Its power limit is 500 W, by default 700 W.
Slow GPU: under load its SM clock is 1,485 MHz in the median, 25.0 % below the highest, 1,980 MHz. Its power limit is 500 W, by default 700 W.
";
    assert_eq!(text(&profile, &summary, None), expected);
}

#[test]
fn text_and_json_say_what_was_not_read() {
    let profile = profile();
    let summary = profile.summary(None);
    let said = text(&profile, &summary, None);
    for part in [
        "200 samples in",
        "2 left out, the readings took too long",
        "then the GPU was lost: device fell off the bus",
        "Missing: energy (no counter)",
        "Not always read: temperature, 3 times, first at 1.5 s: late",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    let value: Value = serde_json::from_str(&json(&profile, &summary, None)).expect("JSON");
    assert_eq!(value["schema"], "surgeline.nvml/1");
    assert_eq!(value["sampling"]["ended"], "lost");
    assert_eq!(value["sampling"]["skipped"], 2);
    assert_eq!(value["missing"]["energy"], "no counter");
    assert_eq!(value["errors"]["temperature"]["count"], 3);
    assert_eq!(value["device"]["power_limit_w"], 500.0);
    let nothing = Profile { samples: Vec::new(), ..profile };
    let summary = nothing.summary(Some(5));
    assert!(text(&nothing, &summary, None).contains("0 samples in 0 s"));
    let value: Value = serde_json::from_str(&json(&nothing, &summary, None)).expect("JSON");
    assert_eq!((&value["power_w"], &value["joules_per_token"]), (&Value::Null, &Value::Null));
}
