//! Families of rate limits: the token buckets of a hosted backend, asked by recorded traces whose
//! instants are exact.
//!
//! A request that is let in is served at once and succeeds; one that is not is rejected.

use super::verdict::{Answer, Row};
use super::{Params, pick};
use crate::hosted::{estimate, model, remote, source};
use serde::Deserialize;
use sim::Simulation;
use sim::backends::{Bucket, Discipline, Limits};
use sim::dice::{Dice, mix};
use sim::ids::ModelId;
use sim::outcome::TaskOutcome;
use sim::scenario::Scenario;
use sim::tasks::TaskSpec;
use sim::units::{PS_PER_SEC, Span, Time};
use sim::workload::{Arrivals, Trace, TraceRow};
use std::sync::Arc;

type Answers = Result<Vec<Answer>, String>;

/// What becomes of requests of `input` tokens at these instants, those before `warm_up` left out.
fn replay(
    limits: Limits,
    instants: &[Time],
    input: u32,
    (warm_up, horizon): (Span, Span),
) -> Result<TaskOutcome, String> {
    let row = |&at: &Time| TraceRow {
        at,
        input,
        output: 1,
        session: u32::MAX,
        segments_at: 0,
        segments_len: 0,
        context: 0,
    };
    let rows = instants.iter().map(row).collect();
    let trace = Arc::new(Trace { rows, segments: Vec::new(), span: horizon });
    let mut place = remote(None, None, Discipline::Fifo);
    place.limits = limits;
    let scenario = Scenario {
        horizon,
        warm_up,
        tasks: vec![TaskSpec::one_call("request", ModelId(0))],
        sources: vec![source(Arrivals::Replay { trace, jitter: Span::ZERO }, 1)],
        models: vec![model(0)],
        remotes: vec![place],
        window: horizon,
        ..Scenario::default()
    };
    // Replication 0 plays the recording as it is.
    let mut outcome = Simulation::new(&scenario, 1, 0).run();
    let task = outcome.tasks.swap_remove(0);
    let counted = task.succeeded + task.rejected == task.arrived;
    if outcome.audit.is_empty() && counted {
        Ok(task)
    } else {
        Err(format!("{:?}: {task:?}", outcome.audit))
    }
}

/// Evenly spaced requests, and a bucket that starts full. Time and tokens are scaled so that a gap,
/// the inflow in it and the charge are whole numbers: with a charge of one request where that is
/// possible, and as tokens.
pub(super) fn token_bucket_det(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        arrival_rate: f64,
        rate: f64,
        burst: f64,
        n: u64,
    }
    let case: Case = params.read()?;
    // All three are whole numbers of `10^-decimals`.
    let whole = |value: f64, scale: f64| (value * scale).round() / scale == value;
    let scales = (0..=9).map(|decimals| 10f64.powi(decimals));
    let scale = scales
        .clone()
        .find(|&scale| [case.rate, case.arrival_rate, case.burst].iter().all(|&v| whole(v, scale)))
        .ok_or("a parameter with more than nine decimals")?;
    let integer = |value: f64| (value * scale).round() as u64;
    let (rate, arrivals, burst) =
        (integer(case.rate), integer(case.arrival_rate), integer(case.burst));
    // A gap brings `rate / arrivals` of a request.
    let common = gcd(rate, arrivals);
    let (rate, arrivals) = (rate / common, arrivals / common);
    let run = |limits, gap: Span, charge: u64| {
        let instants: Vec<Time> = (0..case.n).map(|i| Time(i * gap.0)).collect();
        let horizon = Span(case.n * gap.0) + Span::from_secs(1);
        let charge = u32::try_from(charge).map_err(|_| format!("{charge} tokens a request"))?;
        replay(limits, &instants, charge, (Span::ZERO, horizon))
    };
    // A minute brings 60 times as much as a gap of a second, a request takes `arrivals · scale`.
    let scale = scale as u64;
    let bucket = Bucket { per_minute: 60 * rate * scale, burst: burst * arrivals };
    let tokens = Limits { input_tokens: Some(bucket), ..Limits::default() };
    let task = run(tokens, Span::from_secs(1), arrivals * scale)?;
    let minute = 60 * PS_PER_SEC;
    if minute.is_multiple_of(arrivals) && burst.is_multiple_of(scale) {
        let bucket = Bucket { per_minute: rate, burst: burst / scale };
        let requests = Limits { requests: Some(bucket), ..Limits::default() };
        let same = run(requests, Span(minute / arrivals), 1)?;
        if (same.succeeded, same.rejected) != (task.succeeded, task.rejected) {
            return Err(format!("{} as requests, {} as tokens", same.succeeded, task.succeeded));
        }
    }
    pick(metrics, |metric| {
        Some(Answer::Text(match metric {
            "admitted" => task.succeeded.to_string(),
            "dropped" => task.rejected.to_string(),
            _ => return None,
        }))
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Slots of a replication, one token each.
const SLOTS: u64 = 40_000;

/// Poisson requests, and one token at the end of each slot. A bucket that refills continuously does
/// the same when each request comes at the end of its slot: what comes within a slot meets the
/// tokens of its beginning, and a whole token has flowed in by the next.
pub(super) fn token_bucket_poisson(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        rate: f64,
        burst: u64,
    }
    let case: Case = params.read()?;
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    pick(&metrics, |metric| matches!(metric, "drop_ratio" | "admitted_rate").then_some(()))?;
    let half_widths: Result<Vec<_>, String> = rows.iter().map(|row| row.precision()).collect();
    let requests = Some(Bucket { per_minute: 60, burst: case.burst });
    let limits = Limits { requests, ..Limits::default() };
    let (warm_up, horizon) = (Span::from_secs(SLOTS / 10), Span::from_secs(SLOTS));
    let (intervals, replications) = estimate(&half_widths?, |replication| {
        let mut dice = Dice::stream(mix(43, u64::from(replication)));
        let (mut at, mut instants) = (0.0, Vec::new());
        loop {
            at += dice.exponential() * case.rate / case.lam;
            let slot = at.ceil() as u64;
            if slot >= SLOTS {
                break;
            }
            instants.push(Time(slot * PS_PER_SEC));
        }
        let task = replay(limits, &instants, 1, (warm_up, horizon))?;
        let slots = (horizon - warm_up).as_secs_f64();
        pick(&metrics, |metric| {
            Some(match metric {
                "drop_ratio" => task.rejected as f64 / task.arrived as f64,
                _ => task.succeeded as f64 / slots * case.rate,
            })
        })
    })?;
    let answer = |interval| Answer::Estimate { interval, replications };
    Ok(intervals.into_iter().map(answer).collect())
}
