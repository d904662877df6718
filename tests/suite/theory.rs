//! Limiting cases of the whole simulation: what must hold whatever the implementation does.
//!
//! Exact statements (one request alone, scaled time, money) are compared to the picosecond and the
//! pico-dollar; statistical ones by the interval of independent replications. The tables of
//! `oracle` hold the same theory at more points; the formulas here are written out with their
//! source.

mod closed;
mod exact;
pub(crate) mod metastable;
mod monotone;

use crate::station::{Flow, Interest, Measure, STEPS, Stat, Station, exponential, poisson};
use sim::dist::LengthLaw;
use sim::stats::Interval;

const SEED: u64 = 7;

fn time(of: Interest, at: Stat) -> Measure {
    Measure::Time { of, class: None, at }
}

/// One server with mean service 1 under Poisson arrivals.
fn queue(load: f64, service: LengthLaw) -> Station {
    let flow = Flow { arrivals: poisson(load), service, class: 0 };
    Station::single(1, vec![flow], 60_000.0 / load)
}

/// Estimates each measure to 3 % and checks it against its expectation; a correct simulator fails
/// the three standard errors of `z = 3` once in a few hundred seeds, and the seed is fixed.
#[track_caller]
fn assert_close(station: &Station, expected: &[(Measure, f64)]) {
    let wanted: Vec<_> = expected.iter().map(|&(m, value)| (m, Some(0.03 * value))).collect();
    let (intervals, replications) = station.estimate(&wanted, SEED).expect("estimates");
    for (&Interval { value, low, high }, &(measure, expectation)) in intervals.iter().zip(expected)
    {
        let half_width = (high - low) / 2.0;
        assert!(half_width <= 0.03 * expectation, "{measure:?} after {replications} replications");
        // The discretisation moves a mean by at most one step.
        let allowed = 1.5 * half_width + expectation / STEPS;
        assert!((value - expectation).abs() <= allowed, "{measure:?}: {value}, not {expectation}");
    }
}

/// Markovian queue: sojourn exponential with rate `1 − ρ` (Kleinrock, "Queueing Systems" I, 3.2).
#[test]
fn exponential_services_queue_like_mm1() {
    for load in [0.5, 0.7] {
        let slack = 1.0 - load;
        let expected = [
            (time(Interest::Sojourn, Stat::Mean), 1.0 / slack),
            (time(Interest::Sojourn, Stat::Quantile(0.95)), 20f64.ln() / slack),
            (time(Interest::Waiting, Stat::Mean), load / slack),
            (Measure::InSystem, load / slack),
            (Measure::Busy, load),
            (Measure::Throughput, load),
        ];
        assert_close(&queue(load, exponential(1.0)), &expected);
    }
}

/// Constant service: `Wq = ρ/2(1 − ρ)` (Pollaczek and Khinchine); the 95 % quantile of the wait
/// solves Erlang's series `F(t) = (1 − ρ) Σ_{k ≤ t} (−x)^k e^x / k!` with `x = ρ(t − k)` (1909).
#[test]
fn constant_services_queue_like_md1() {
    for load in [0.5, 0.7] {
        let mean = load / (2.0 * (1.0 - load));
        let cdf = |t: f64| {
            let mut sum = 0.0;
            for k in 0..=t as u32 {
                let x = load * (t - f64::from(k));
                let product: f64 = (1..=k).map(|i| -x / f64::from(i)).product();
                sum += product * x.exp();
            }
            (1.0 - load) * sum
        };
        let (mut low, mut high) = (0.0, 20.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if cdf(middle) < 0.95 { low = middle } else { high = middle }
        }
        let expected = [
            (time(Interest::Waiting, Stat::Mean), mean),
            (time(Interest::Waiting, Stat::Quantile(0.95)), low),
            (time(Interest::Sojourn, Stat::Mean), mean + 1.0),
            (Measure::Busy, load),
        ];
        assert_close(&queue(load, LengthLaw::Fixed(STEPS as u32)), &expected);
    }
}

/// Little's law between two separate paths: jobs over time, and time of each job. (The audit of
/// every replication checks it as an identity.)
#[test]
fn jobs_in_the_system_are_rate_times_sojourn() {
    let load = 0.8;
    let wanted = [(Measure::InSystem, None), (time(Interest::Sojourn, Stat::Mean), None)];
    let (found, _) = queue(load, exponential(1.0)).estimate(&wanted, SEED).expect("estimates");
    let (jobs, sojourn) = (found[0].value, found[1].value);
    // Both come from the same jobs: what is left are arrivals that differ from their mean.
    assert!((jobs / (load * sojourn) - 1.0).abs() < 0.01, "{jobs} and {load} · {sojourn}");
}
