//! Families about what clients and gateways do: breakers by a given sequence of calls, retries by
//! drawing calls, metastable states in closed form.

use super::verdict::{Answer, LEAST_REPLICATIONS};
use super::{Params, pick};
use serde::Deserialize;
use sim::dice::{Dice, Purpose, mix};
use sim::resilience::{
    Backoff, Breaker, BreakerSpec, BreakerState, Failure, FailureSet, FluidRetries, Jitter,
    RetryLoad, RetrySpec, SlidingWindow, retry,
};
use sim::stats::t_interval;
use sim::units::{Span, Time};

type Answers = Result<Vec<Answer>, String>;

/// Failures in a row open it: the rates are out of reach while it is closed.
fn by_failures_in_a_row(in_a_row: u32, wait: Span, probes: u32) -> BreakerSpec {
    BreakerSpec {
        failure_rate_threshold: 100.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::MAX,
        sliding_window: SlidingWindow::Calls(u32::MAX),
        minimum_number_of_calls: u32::MAX,
        wait_duration_in_open_state: wait,
        permitted_calls_in_half_open_state: probes,
        consecutive_failures: Some(in_a_row),
        failures: FailureSet::ALL,
    }
}

pub(super) fn circuit_breaker(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        calls: String,
        cooldown: f64,
        dt: f64,
        fail_threshold: u32,
        probe_ok_needed: u32,
    }
    let case: Case = params.read()?;
    let wait = Span::from_secs_f64(case.cooldown);
    let spec = by_failures_in_a_row(case.fail_threshold, wait, case.probe_ok_needed);
    let mut breaker = Breaker::new(&spec);
    let mut passed = 0;
    for (number, call) in case.calls.chars().enumerate() {
        let result = match call {
            'S' => Ok(()),
            'F' => Err(Failure::ServerError),
            other => return Err(format!("{other} is no result of a call")),
        };
        let now = Time::ZERO.after(Span::from_secs_f64(number as f64 * case.dt));
        if let Some(permit) = breaker.permit(now) {
            passed += 1;
            breaker.record(now, result, Span::ZERO, permit);
        }
    }
    let state = match breaker.state() {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half",
    };
    pick(metrics, |metric| {
        Some(Answer::Text(match metric {
            "passed" => passed.to_string(),
            "rejected" => breaker.rejected().to_string(),
            "opens" => breaker.opens().to_string(),
            "final_state" => state.to_owned(),
            _ => return None,
        }))
    })
}

/// Calls of one replication; with 30 of them the half-width is about a tenth of a per cent.
const CALLS: u64 = 20_000;

/// Calls are drawn one by one and asked whether they try again; the closed form must agree.
pub(super) fn retry_amplification(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        max_attempts: u32,
        p_fail: f64,
    }
    let case: Case = params.read()?;
    let spec = RetrySpec {
        max_attempts: case.max_attempts,
        on: FailureSet::default().with(Failure::ServerError),
        backoff: Backoff::Exponential {
            initial: Span::from_millis(100),
            factor: 2.0,
            max: Span::from_secs(10),
            jitter: Jitter::Full,
        },
        respect_retry_after: true,
        budget: None,
    };
    let runs: Vec<(f64, f64)> = (0..LEAST_REPLICATIONS as u64)
        .map(|replication| {
            let calls = (0..CALLS).map(|call| one_call(&spec, mix(replication, call), case.p_fail));
            let (attempts, good) =
                calls.fold((0, 0), |sum, (made, good)| (sum.0 + made, sum.1 + u32::from(good)));
            (f64::from(attempts) / CALLS as f64, f64::from(good) / CALLS as f64)
        })
        .collect();
    let theory = RetryLoad::new(case.max_attempts, case.p_fail);
    pick(metrics, |metric| {
        let attempts = |run: &(f64, f64)| run.0;
        let good = |run: &(f64, f64)| run.1;
        Some(match metric {
            "attempts_per_request" => {
                (runs.iter().map(attempts).collect(), 1.0, theory.attempts_per_call)
            }
            "offered_rate" => {
                (runs.iter().map(attempts).collect(), case.lam, theory.attempts_per_call)
            }
            "success_ratio" => (runs.iter().map(good).collect(), 1.0, theory.success_ratio),
            _ => return None,
        })
    })?
    .into_iter()
    .map(|(values, factor, theory)| estimate(values, factor, theory))
    .collect()
}

/// How many attempts a call makes, and whether the last succeeds.
fn one_call(spec: &RetrySpec, key: u64, p_fail: f64) -> (u32, bool) {
    let mut fate = Dice::of(key, Purpose::Client);
    let mut made = 0;
    loop {
        made += 1;
        if !fate.coin(p_fail) {
            return (made, true);
        }
        if !retry::may_retry(spec, made, Failure::ServerError) {
            return (made, false);
        }
    }
}

/// The estimate, if the product's closed form is within four standard errors of it.
fn estimate(values: Vec<f64>, factor: f64, theory: f64) -> Result<Answer, String> {
    let t = t_interval(&values, 0.95).ok_or("too few replications")?;
    // The 95 % quantile of Student's t with 29 degrees of freedom is 2.05.
    if (t.mean - theory).abs() > 2.0 * t.half_width {
        return Err(format!("drawn {} ± {}, in closed form {theory}", t.mean, t.half_width));
    }
    let scaled: Vec<f64> = values.iter().map(|value| value * factor).collect();
    let interval = t_interval(&scaled, 0.95).ok_or("too few replications")?.interval();
    Ok(Answer::Estimate { interval, replications: scaled.len() })
}

pub(super) fn metastable_fluid(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        capacity: f64,
        lam: f64,
        max_attempts: u32,
    }
    let case: Case = params.read()?;
    let fluid = FluidRetries {
        load: case.lam,
        capacity: case.capacity,
        amplification: f64::from(case.max_attempts),
    };
    pick(metrics, |metric| {
        Some(match metric {
            "vulnerable" => Answer::Text(u8::from(fluid.is_vulnerable()).to_string()),
            "load_threshold" | "drain_lam_needed" => Answer::Number(fluid.load_threshold()),
            "overloaded_offered" => Answer::Number(fluid.overloaded_offered()),
            _ => return None,
        })
    })
}

/// The reference's rule, written out as its docstring says it, on random sequences.
#[test]
fn the_breaker_follows_the_reference_on_random_sequences() {
    for seed in 0..2_000 {
        let mut dice = Dice::stream(seed);
        let in_a_row = 1 + (dice.bits() % 4) as u32;
        let (wait, probes) = (1 + dice.bits() % 9, 1 + (dice.bits() % 4) as u32);
        let mut breaker =
            Breaker::new(&by_failures_in_a_row(in_a_row, Span::from_secs(wait), probes));
        let mut twin = Reference { in_a_row, wait, probes, state: Circuit::Closed(0) };
        let mut second = 0;
        for _ in 0..300 {
            second += dice.bits() % 3;
            let failed = dice.coin(0.4);
            let now = Time::ZERO.after(Span::from_secs(second));
            let permit = breaker.permit(now);
            if let Some(permit) = permit {
                let result = if failed { Err(Failure::Timeout) } else { Ok(()) };
                breaker.record(now, result, Span::ZERO, permit);
            }
            assert_eq!(permit.is_some(), twin.call(second, failed), "seed {seed}, {second} s");
        }
    }
}

struct Reference {
    in_a_row: u32,
    wait: u64,
    probes: u32,
    state: Circuit,
}

/// Closed with failures in a row, open since, half-open with successes.
enum Circuit {
    Closed(u32),
    Open(u64),
    HalfOpen(u32),
}

impl Reference {
    /// Whether a call is let through, which then ends at once.
    fn call(&mut self, now: u64, failed: bool) -> bool {
        if let Circuit::Open(since) = self.state {
            if now < since + self.wait {
                return false;
            }
            self.state = Circuit::HalfOpen(0);
        }
        self.state = match self.state {
            Circuit::Closed(run) if failed && run + 1 >= self.in_a_row => Circuit::Open(now),
            Circuit::Closed(run) if failed => Circuit::Closed(run + 1),
            Circuit::HalfOpen(_) if failed => Circuit::Open(now),
            Circuit::HalfOpen(good) if good + 1 < self.probes => Circuit::HalfOpen(good + 1),
            _ => Circuit::Closed(0),
        };
        true
    }
}
