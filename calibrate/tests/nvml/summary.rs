//! What profiles come to: numbers that can be worked out by hand.

use calibrate::nvml::{
    DeviceFacts, Ended, EnergySource, Gpm, Profile, Reason, Sample, SlowGpu, Throttle,
};
use sim::units::{Bytes, Span};
use std::collections::BTreeMap;
use std::time::Duration;

/// A profile of one sample a second.
fn profile(samples: impl IntoIterator<Item = Sample>) -> Profile {
    let numbered = samples.into_iter().enumerate();
    Profile {
        facts: DeviceFacts { sm_max_mhz: Some(2_000.0), ..DeviceFacts::default() },
        started: Duration::ZERO,
        every: Span::from_secs(1),
        skipped: 0,
        ended: Ended::Complete,
        missing: BTreeMap::new(),
        errors: BTreeMap::new(),
        units: BTreeMap::new(),
        samples: numbered
            .map(|(second, sample)| Sample { at: Span::from_secs(second as u64), ..sample })
            .collect(),
    }
}

fn loaded(sm_mhz: f64, bits: u64) -> Sample {
    Sample {
        sm_mhz: Some(sm_mhz),
        gpu_percent: Some(95.0),
        throttle: Some(Throttle::from_nvml(bits)),
        ..Sample::default()
    }
}

#[test]
fn energy_is_the_counters_difference() {
    let readings = [(100.0, 0.0), (300.0, 250.0), (200.0, 400.0)];
    let summary = profile(readings.map(|(power, energy)| Sample {
        power_w: Some(power),
        energy_j: Some(energy),
        ..Sample::default()
    }))
    .summary(Some(1_600));
    let energy = summary.energy.expect("energy");
    assert_eq!((energy.joules, energy.source), (400.0, EnergySource::Counter));
    assert_eq!(energy.over, Span::from_secs(2));
    assert_eq!(summary.joules_per_token, Some(0.25));
    let power = summary.power.expect("power");
    assert_eq!((power.mean_w, power.max_w), (200.0, 300.0));
    assert_eq!((summary.samples, summary.length), (3, Span::from_secs(2)));
}

#[test]
fn without_a_counter_power_is_added_up() {
    let readings = [Some(100.0), Some(300.0), None, Some(200.0)];
    let samples = readings.map(|power_w| Sample { power_w, ..Sample::default() });
    let summary = profile(samples).summary(None);
    let energy = summary.energy.expect("energy");
    // 200 W for a second, then 250 W for two.
    assert_eq!((energy.joules, energy.source), (700.0, EnergySource::Power));
    assert_eq!(energy.over, Span::from_secs(3));
    assert_eq!(summary.joules_per_token, None);
}

#[test]
fn one_sample_has_power_and_no_energy() {
    let one = Sample { power_w: Some(300.0), energy_j: Some(0.0), ..Sample::default() };
    let summary = profile([one]).summary(Some(10));
    assert_eq!(summary.power.map(|power| power.mean_w), Some(300.0));
    assert_eq!((summary.energy, summary.joules_per_token), (None, None));
    let nothing = profile([]).summary(Some(0));
    assert_eq!((nothing.samples, nothing.power, nothing.energy), (0, None, None));
    assert!(nothing.slow.is_empty() && nothing.throttled.is_none());
}

#[test]
fn a_sample_weighs_as_long_as_it_stands() {
    let mut uneven = profile([
        Sample { power_w: Some(100.0), ..Sample::default() },
        Sample { power_w: Some(500.0), ..Sample::default() },
    ]);
    uneven.samples[1].at = Span::from_secs(3);
    assert_eq!(uneven.summary(None).power.map(|power| power.mean_w), Some(200.0));
}

#[test]
fn idle_and_chosen_clocks_are_no_throttling() {
    let summary = profile((0..100).map(|_| loaded(1_900.0, 0x1 | 0x2 | 0x100))).summary(None);
    let throttled = summary.throttled.expect("read");
    assert_eq!(throttled.share, 0.0);
    let named: Vec<Reason> = throttled.by_reason.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(named, [Reason::Idle, Reason::ApplicationClocks, Reason::DisplayClocks]);
    assert!(summary.slow.is_empty(), "{:?}", summary.slow);
}

#[test]
fn a_gpu_held_back_for_more_than_a_twentieth_is_slow() {
    let held = |seconds: usize| {
        let bits = |second: usize| match second {
            0 => 0x4 | 0x20,
            second if second < seconds => 0x20,
            _ => 0,
        };
        profile((0..100).map(|second| loaded(1_900.0, bits(second)))).summary(None)
    };
    assert!(held(5).slow.is_empty(), "5 % is not more than 5 %");
    let slow = held(6);
    assert_eq!(slow.throttled.as_ref().map(|throttled| throttled.share), Some(0.06));
    let expected = SlowGpu::Throttled { share: 0.06, most: Reason::SoftwareThermal };
    assert_eq!(slow.slow, [expected]);
}

#[test]
fn a_gpu_whose_clock_stays_low_under_load_is_slow() {
    let at = |mhz: f64, percent: f64, seconds: usize| {
        let sample = Sample { gpu_percent: Some(percent), ..loaded(mhz, 0) };
        profile((0..seconds).map(|_| sample.clone())).summary(None)
    };
    let slow = at(1_700.0, 95.0, 10);
    let expected = SlowGpu::LowClock { median_mhz: 1_700.0, max_mhz: 2_000.0 };
    assert_eq!((slow.slow, slow.loaded_share), (vec![expected], Some(1.0)));
    assert!(at(1_800.0, 95.0, 10).slow.is_empty(), "10 % below is not more than 10 %");
    let idle = at(345.0, 3.0, 10);
    assert!(idle.slow.is_empty(), "an idle GPU lowers its clock");
    assert_eq!((idle.loaded_sm_mhz, idle.loaded_share), (None, Some(0.0)));
    // A dip of less than half of the loaded time does not stay.
    let dip = (0..10).map(|second| loaded(if second < 4 { 1_000.0 } else { 1_950.0 }, 0));
    assert!(profile(dip).summary(None).slow.is_empty());
}

#[test]
fn extremes_and_means_are_those_of_what_was_read() {
    let mut first = Sample {
        temperature_c: Some(50.0),
        memory_used: Some(Bytes(7)),
        memory_mhz: Some(2_600.0),
        ..Sample::default()
    };
    first.gpm[Gpm::Tensor as usize] = Some(30.0);
    let second = Sample { temperature_c: Some(70.0), memory_used: None, ..Sample::default() };
    let summary = profile([first, second]).summary(None);
    assert_eq!((summary.temperature_c, summary.memory_used), (Some(70.0), Some(Bytes(7))));
    assert_eq!((summary.memory_mhz, summary.sm_mhz), (Some(2_600.0), None));
    assert_eq!(summary.gpm, [(Gpm::Tensor, 30.0)]);
}
