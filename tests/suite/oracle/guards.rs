//! Families about what clients and gateways do: breakers by a given sequence of calls, retries and
//! metastable states by simulation and in closed form, which must agree.

use super::verdict::{Answer, Row};
use super::{Params, pick};
use crate::hosted::{estimate, model, remote, source};
use crate::station::poisson;
use crate::theory::metastable::{self, Retries};
use serde::Deserialize;
use sim::Simulation;
use sim::backends::Discipline;
use sim::dice::Dice;
use sim::ids::ModelId;
use sim::resilience::{
    Backoff, Breaker, BreakerSpec, BreakerState, Failure, FailureSet, FluidRetries, Jitter,
    RetryLoad, RetrySpec, SlidingWindow,
};
use sim::scenario::Scenario;
use sim::stats::special::student_t_quantile;
use sim::tasks::TaskSpec;
use sim::units::{Span, Time};

type Answers = Result<Vec<Answer>, String>;

/// Failures in a row open it: the rates are out of reach while it is closed.
pub(crate) fn by_failures_in_a_row(in_a_row: u32, wait: Span, probes: u32) -> BreakerSpec {
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

/// Calls per simulated second, and seconds of one replication; with 32 of them the half-width is
/// about a tenth of a per cent.
const RATE: f64 = 100.0;
const SECONDS: u64 = 200;

/// Attempts fail independently at a hosted backend, and clients try again.
pub(super) fn retry_amplification(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        max_attempts: u32,
        p_fail: f64,
    }
    let case: Case = params.read()?;
    let mut place = remote(None, None, Discipline::Fifo);
    place.error_rate = case.p_fail;
    let mut guarded = model(0);
    guarded.guards.retry = Some(RetrySpec {
        max_attempts: case.max_attempts,
        on: FailureSet::default().with(Failure::ServerError),
        backoff: Backoff::Exponential {
            initial: Span::from_millis(100),
            factor: 2.0,
            max: Span::from_secs(1),
            jitter: Jitter::Full,
        },
        respect_retry_after: true,
        budget: None,
    });
    let horizon = Span::from_secs(SECONDS);
    let scenario = Scenario {
        horizon,
        tasks: vec![TaskSpec::one_call("call", ModelId(0))],
        sources: vec![source(poisson(RATE), 1)],
        models: vec![guarded],
        remotes: vec![place],
        window: horizon,
        ..Scenario::default()
    };
    let theory = RetryLoad::new(case.max_attempts, case.p_fail);
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    let expected = pick(&metrics, |metric| {
        Some(match metric {
            "attempts_per_request" => theory.attempts_per_call,
            "offered_rate" => theory.attempts_per_call * case.lam,
            "success_ratio" => theory.success_ratio,
            _ => return None,
        })
    })?;
    let half_widths: Result<Vec<_>, String> = rows.iter().map(|row| row.precision()).collect();
    let (intervals, replications) = estimate(&half_widths?, |replication| {
        let outcome = Simulation::new(&scenario, 29, replication).run();
        if !outcome.audit.is_empty() {
            return Err(outcome.audit.join("; "));
        }
        let (arrived, attempts) =
            (outcome.tasks[0].arrived as f64, outcome.models[0].attempts as f64);
        pick(&metrics, |metric| {
            Some(match metric {
                "attempts_per_request" => attempts / arrived,
                "offered_rate" => attempts / SECONDS as f64 / RATE * case.lam,
                _ => outcome.tasks[0].succeeded as f64 / arrived,
            })
        })
    })?;
    // Within four standard errors of the product's own closed form.
    let errors = student_t_quantile(0.975, replications as f64 - 1.0);
    let mut answers = Vec::new();
    for (interval, expected) in intervals.into_iter().zip(expected) {
        let error = (interval.high - interval.low) / 2.0 / errors;
        if (interval.value - expected).abs() > 4.0 * error + 1e-12 * expected {
            return Err(format!("simulated {interval:?}, in closed form {expected}"));
        }
        answers.push(Answer::Estimate { interval, replications });
    }
    Ok(answers)
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
    if metrics.contains(&"vulnerable") {
        let simulated = Retries { load: case.lam / case.capacity, max_attempts: case.max_attempts };
        // Near a threshold no simulation is long enough to tell.
        let told = metastable::is_clear(&simulated);
        if told && metastable::is_vulnerable(&simulated)? != fluid.is_vulnerable() {
            return Err(format!("simulation does not agree with {fluid:?}"));
        }
    }
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
