//! Sampling a GPU that is not there: everything a library, a driver and a device can answer.
//!
//! Invariants: no test asserts how long something takes; where instants may be skipped by a busy
//! machine, the sum of samples and skipped ones is what is asserted.
//!
//! Deliberately absent: a real GPU.

mod fake;
mod files;
mod summary;

use calibrate::nvml::{
    Column, Ended, Gpm, GpuChoice, OpenError, Options, Profile, Reason, Sampler,
};
use fake::Fake;
use sim::units::{Bytes, Span};

fn options(fake: &Fake, every: u64, length: Option<u64>) -> Options {
    Options {
        library: Some(fake.library()),
        gpu: GpuChoice::Index(0),
        every: Span::from_millis(every),
        length: length.map(Span::from_millis),
    }
}

/// Starts a sampling and waits until it ends by itself.
fn sampled(definitions: &[&str], every: u64, length: u64) -> Profile {
    let fake = Fake::new(definitions);
    let sampler = Sampler::start(&options(&fake, every, Some(length))).expect("a GPU");
    while !sampler.is_over() {
        std::thread::yield_now();
    }
    sampler.stop()
}

fn refused(definitions: &[&str], gpu: GpuChoice) -> OpenError {
    let fake = Fake::new(definitions);
    let options = Options { gpu, ..options(&fake, 10, None) };
    Sampler::start(&options).expect_err("nothing to sample")
}

#[test]
fn everything_is_read_and_the_device_is_known() {
    let profile = sampled(&["THROTTLE_BITS=0x4"], 101, 303);
    assert_eq!(profile.ended, Ended::Complete);
    assert_eq!(profile.samples.len() as u64 + profile.skipped, 4);
    assert!(profile.missing.is_empty(), "{:?}", profile.missing);
    assert!(profile.errors.is_empty(), "{:?}", profile.errors);
    let facts = &profile.facts;
    assert_eq!(facts.name.as_deref(), Some("NVIDIA H100 80GB HBM3"));
    assert_eq!(facts.uuid.as_deref(), Some("GPU-0000"));
    assert_eq!(facts.architecture.as_deref(), Some("Hopper"));
    assert_eq!(facts.driver.as_deref(), Some("570.86.15"));
    assert_eq!(facts.cuda_driver.as_deref(), Some("12.8"));
    assert_eq!(facts.memory, Some(Bytes(80 << 30)));
    assert_eq!((facts.cores, facts.mig), (Some(16_896), Some(false)));
    assert_eq!((facts.sm_max_mhz, facts.memory_max_mhz), (Some(1_980.0), Some(2_619.0)));
    assert_eq!((facts.power_limit_w, facts.power_limit_min_w), (Some(700.0), Some(200.0)));
    for (number, sample) in profile.samples.iter().enumerate() {
        assert_eq!(sample.power_w, Some(400.0));
        assert_eq!(sample.energy_j, Some(40.0 * number as f64));
        assert_eq!((sample.gpu_percent, sample.memory_percent), (Some(97.0), Some(55.0)));
        assert_eq!((sample.sm_mhz, sample.memory_mhz), (Some(1_900.0), Some(2_619.0)));
        assert_eq!(sample.memory_used, Some(Bytes(60 << 30)));
        assert_eq!(sample.temperature_c, Some(61.0));
        assert!(sample.throttle.is_some_and(|t| t.has(Reason::PowerCap) && t.is_throttled()));
        assert_eq!(sample.processes, Some(2));
        assert_eq!(sample.process_memory, Some(Bytes(60 << 30)));
    }
    // Two readings of the counters make a value; the first instant has but one.
    assert!(profile.samples[0].gpm.iter().all(Option::is_none));
    assert!(profile.samples.iter().any(|sample| sample.gpm == [Some(42.5); Gpm::ALL.len()]));
    assert_eq!(profile.units[Gpm::PcieSent.column()], "MiB/s");
    assert_eq!(profile.units[Gpm::Dram.column()], "%");
}

#[test]
fn counters_are_left_alone_until_they_have_moved() {
    let profile = sampled(&[], 20, 400);
    let read = profile.samples.iter().filter(|s| s.gpm[Gpm::Sm as usize].is_some());
    let times: Vec<Span> = [Span::ZERO].into_iter().chain(read.map(|s| s.at)).collect();
    assert!(times.len() > 1);
    assert!(times.windows(2).all(|pair| pair[1].0 - pair[0].0 > Span::from_millis(100).0));
}

#[test]
fn what_the_device_does_not_have_is_said_once_and_left_out() {
    let lacking = [
        "ENERGY_RETURNS=3",
        "UTILISATION_RETURNS=3",
        "THROTTLE_RETURNS=13",
        "PROCESSES_RETURNS=4",
        "CORES_RETURNS=3",
        "GPM_RETURNS=3",
    ];
    let profile = sampled(&lacking, 10, 30);
    assert_eq!(profile.ended, Ended::Complete);
    let missing: Vec<(&str, &str)> =
        profile.missing.iter().map(|(field, why)| (field.as_str(), why.as_str())).collect();
    let (unsupported, old) =
        ("the device does not support it", "this version of NVML does not have it");
    let expected = [
        ("cores", unsupported),
        ("energy", unsupported),
        ("gpm", unsupported),
        ("processes", "the user is not permitted to read it"),
        ("throttle", old),
        ("utilisation", unsupported),
    ];
    assert_eq!(missing, expected);
    assert!(profile.errors.is_empty(), "{:?}", profile.errors);
    assert_eq!(profile.facts.cores, None);
    for sample in &profile.samples {
        assert_eq!(sample.power_w, Some(400.0));
        assert_eq!(
            (sample.energy_j, sample.gpu_percent, sample.memory_percent),
            (None, None, None)
        );
        assert_eq!((sample.throttle, sample.processes, sample.process_memory), (None, None, None));
        assert!(sample.gpm.iter().all(Option::is_none));
    }
}

#[test]
fn a_library_without_functions_is_an_older_one() {
    // The functions are there under another name.
    let renamed = ["nvmlDeviceGetMemoryInfo_v2=old_memory", "nvmlGpmSampleFree=old_free"];
    let profile = sampled(&renamed, 10, 20);
    for field in ["memory", "memory_bytes", "gpm"] {
        assert_eq!(profile.missing[field], "this version of NVML does not have it");
    }
    assert!(profile.samples.iter().all(|sample| sample.memory_used.is_none()));
}

#[test]
fn counters_that_only_the_administrator_may_read_are_missing() {
    let profile = sampled(&["GPM_RETURNS=4"], 101, 202);
    assert_eq!(profile.missing["gpm"], "the user is not permitted to read it");
    let profile = sampled(&["GPM_ID_MISSING=61"], 101, 303);
    let missing: Vec<&String> = profile.missing.keys().collect();
    assert_eq!(missing, [Gpm::NvlinkSent.column()]);
    assert!(profile.samples.iter().all(|s| s.gpm[Gpm::NvlinkSent as usize].is_none()));
    assert!(profile.samples.iter().any(|s| s.gpm[Gpm::NvlinkReceived as usize].is_some()));
}

#[test]
fn a_reading_that_fails_once_is_counted_and_the_next_is_there() {
    let profile = sampled(&["TIMEOUT_AT=2"], 10, 50);
    let errors = &profile.errors["temperature"];
    assert_eq!(errors.count, 1);
    assert!(errors.first.contains("timeout"), "{}", errors.first);
    assert_eq!(errors.first_at, profile.samples[1].at);
    for (number, sample) in profile.samples.iter().enumerate() {
        assert_eq!(sample.temperature_c.is_none(), number == 1);
        assert_eq!(sample.power_w, Some(400.0));
    }
}

#[test]
fn a_lost_gpu_keeps_what_was_read_before() {
    let profile = sampled(&["LOST_AFTER=3"], 10, 10_000);
    assert_eq!(profile.samples.len(), 3);
    assert!(profile.samples.iter().all(|sample| sample.power_w == Some(400.0)));
    let Ended::Lost(why) = &profile.ended else { panic!("{:?}", profile.ended) };
    assert!(why.contains("fell off the bus"), "{why}");
}

#[test]
fn a_sampling_ends_when_it_is_told_to() {
    let fake = Fake::new(&[]);
    let sampler = Sampler::start(&options(&fake, 10, None)).expect("a GPU");
    assert_eq!(sampler.facts().uuid.as_deref(), Some("GPU-0000"));
    while sampler.latest().is_none() {
        std::thread::yield_now();
    }
    assert!(!sampler.is_over());
    let profile = sampler.stop();
    assert_eq!(profile.ended, Ended::Stopped);
    assert!(!profile.samples.is_empty());
}

#[test]
fn readings_that_take_too_long_skip_instants_and_do_not_drift() {
    let profile = sampled(&["SLOW_READING_US=25000"], 10, 200);
    assert!(profile.skipped > 0);
    assert_eq!(profile.samples.len() as u64 + profile.skipped, 21);
    let instants: Vec<u64> =
        profile.samples.iter().map(|s| s.at.0 / Span::from_millis(10).0).collect();
    assert!(instants.windows(2).all(|pair| pair[0] < pair[1]), "{instants:?}");
}

#[test]
fn values_that_cannot_be_are_errors_and_no_samples() {
    let garbage = [
        "POWER_MW=4294967295u",
        "ENERGY_STEP_MJ=1000000000000ull",
        "UTILISATION=250",
        "SM_MHZ=4294967295u",
        "TEMPERATURE=4294967295u",
        "MEMORY_USED=~0ull",
        "PROCESSES=2000000000u",
        "GPM_VALUE=NAN",
        "NAME=\"H100\\n# ended: complete\"",
    ];
    let profile = sampled(&garbage, 101, 303);
    assert_eq!(profile.facts.name.as_deref(), Some("H100 # ended: complete"));
    assert!(profile.missing.is_empty(), "{:?}", profile.missing);
    for field in ["power", "utilisation", "sm_clock", "temperature", "memory", "processes"] {
        assert_eq!(profile.errors[field].count, profile.samples.len() as u64, "{field}");
    }
    assert!(profile.errors[Gpm::Sm.column()].first.contains("NaN"));
    for sample in &profile.samples {
        let read: Vec<&str> = Column::all()
            .filter(|column| column.get(sample).is_some())
            .map(Column::name)
            .filter(|name| !name.starts_with("throttle_"))
            .collect();
        let first = ["time_s", "unix_s", "energy_j", "memory_clock_mhz"];
        let rest = ["time_s", "unix_s", "memory_clock_mhz"];
        let expected = if sample.energy_j.is_some() { &first[..] } else { &rest[..] };
        assert_eq!(read, expected);
    }
    // The first reading of the counter is where it starts; those after it jump.
    assert!(profile.samples[1..].iter().all(|sample| sample.energy_j.is_none()));
    let back = sampled(&["ENERGY_STEP_MJ=-5"], 10, 20);
    assert!(back.errors["energy"].first.contains("went back"), "{:?}", back.errors);
    let infinite = sampled(&["GPM_VALUE=-INFINITY"], 101, 202);
    assert!(infinite.errors[Gpm::NvlinkSent.column()].first.contains("inf"));
}

#[test]
fn an_idle_device_with_nothing_on_it_is_a_device() {
    let idle = ["POWER_MW=0", "UTILISATION=0", "SM_MHZ=0", "PROCESSES=0", "THROTTLE_BITS=0x8001"];
    let profile = sampled(&idle, 10, 20);
    assert!(profile.errors.is_empty(), "{:?}", profile.errors);
    let sample = &profile.samples[0];
    assert_eq!((sample.power_w, sample.processes), (Some(0.0), Some(0)));
    let throttle = sample.throttle.expect("read");
    assert!(throttle.has(Reason::Idle) && throttle.has(Reason::Other) && !throttle.is_throttled());
}

#[test]
fn a_gpu_is_found_by_index_and_by_uuid() {
    for gpu in [GpuChoice::Index(1), GpuChoice::Uuid("GPU-1111".to_owned())] {
        let fake = Fake::new(&[]);
        let options = Options { gpu, ..options(&fake, 10, Some(10)) };
        let profile = Sampler::start(&options).expect("a GPU").stop();
        assert_eq!(profile.facts.uuid.as_deref(), Some("GPU-1111"));
        assert_eq!(profile.facts.index, Some(1));
    }
    let wanted = ["GPU-2222", "GPU-1111\0", ""];
    for gpu in wanted
        .map(|uuid| GpuChoice::Uuid(uuid.to_owned()))
        .into_iter()
        .chain([GpuChoice::Index(2), GpuChoice::Index(u32::MAX)])
    {
        let error = refused(&[], gpu);
        let OpenError::NoSuchGpu { found, .. } = &error else { panic!("{error}") };
        assert!(found.contains("0 (NVIDIA H100 80GB HBM3, GPU-0000), 1 ("), "{found}");
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let first = || GpuChoice::Index(0);
    assert_eq!(refused(&["DEVICES=0"], first()), OpenError::NoGpu);
    let unloaded = refused(&["INIT_RETURNS=9"], first());
    assert_eq!(unloaded, OpenError::Driver("NVIDIA driver is not loaded".to_owned()));
    let forbidden = refused(&["HANDLE_RETURNS=4"], first());
    assert!(matches!(forbidden, OpenError::Driver(why) if why.contains("not permitted")));
    assert!(matches!(refused(&["HANDLE_RETURNS=15"], first()), OpenError::Lost(_)));
    assert!(matches!(refused(&["INIT_RETURNS=12345"], first()), OpenError::Driver(_)));
    for renamed in ["nvmlInit_v2=something_else", "NO_SHUTDOWN"] {
        let error = refused(&[renamed], first());
        assert!(matches!(error, OpenError::NotNvml { .. }), "{error}");
    }
    let fake = Fake::new(&[]);
    let absent = fake.library().with_file_name("absent.so");
    let options = Options { library: Some(absent), ..options(&fake, 10, None) };
    let error = Sampler::start(&options).expect_err("no library");
    assert!(matches!(error, OpenError::Library { .. }), "{error}");
    assert!(error.to_string().contains("absent.so"), "{error}");
}
