//! Two arms side by side, in JSON.

use super::Number;
use crate::contrast::part;
use crate::format::dollars_exact;
use crate::names::{DRIVER_KEYS, ENDING_KEYS, endings};
use experiments::contrast::{Compared, Contrast, CostShift, LatencyShift};
use experiments::examples::{Example, Fate};
use experiments::paired::Change;
use serde::Serialize;
use sim::outcome::Endings;
use sim::tasks::{ALL_DRIVERS, Driver};

/// Everything that both arms have.
#[derive(Serialize)]
pub(crate) struct Sides<'a> {
    /// Every number.
    deltas: Vec<Delta<'a>>,
    /// What moved latencies and cost.
    drivers: Drivers<'a>,
}

/// One number of both arms.
#[derive(Serialize)]
pub(crate) struct Delta<'a> {
    metric: &'a str,
    unit: &'static str,
    baseline: Number<'a>,
    candidate: Number<'a>,
    change: Number<'a>,
    relative: Number<'a>,
    /// By what factor common random numbers make the variance of the change smaller.
    variance_ratio: Option<f64>,
}

#[derive(Serialize)]
struct Drivers<'a> {
    latency: Vec<Latency<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cost_causes: Vec<Cost<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cost_items: Vec<Cost<'a>>,
    spend: Vec<Spend>,
}

#[derive(Serialize)]
struct Latency<'a> {
    task: &'a str,
    mean_s: Vec<Part>,
    p95_s: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    cause: &'static str,
    baseline: f64,
    candidate: f64,
    change: f64,
}

#[derive(Serialize)]
struct Cost<'a> {
    key: &'static str,
    baseline_usd: Number<'a>,
    candidate_usd: Number<'a>,
    change_usd: Number<'a>,
}

#[derive(Serialize)]
struct Spend {
    cause: &'static str,
    baseline_usd: String,
    candidate_usd: String,
}

impl<'a> Sides<'a> {
    pub(crate) fn of(contrast: &'a Contrast) -> Sides<'a> {
        let spend = contrast.spend.iter().map(|&(cause, before, after)| Spend {
            cause,
            baseline_usd: dollars_exact(before),
            candidate_usd: dollars_exact(after),
        });
        Sides {
            deltas: contrast.numbers.iter().map(Delta::of).collect(),
            drivers: Drivers {
                latency: contrast.latency.iter().map(Latency::of).collect(),
                cost_causes: contrast.causes.iter().map(Cost::of).collect(),
                cost_items: contrast.items.iter().map(Cost::of).collect(),
                spend: spend.collect(),
            },
        }
    }
}

impl<'a> Delta<'a> {
    fn of(number: &'a Compared) -> Delta<'a> {
        let Change { before, after, difference, relative, variance_ratio } = &number.change;
        Delta {
            metric: &number.path,
            unit: number.metric.unit(),
            baseline: Number::of(before),
            candidate: Number::of(after),
            change: Number::of(difference),
            relative: Number::of(relative),
            variance_ratio: *variance_ratio,
        }
    }
}

impl<'a> Latency<'a> {
    fn of(shift: &'a LatencyShift) -> Latency<'a> {
        let parts = |rows: &[(Driver, f64, f64)]| {
            let part = |&(driver, baseline, candidate): &(Driver, f64, f64)| Part {
                cause: DRIVER_KEYS[driver as usize],
                baseline,
                candidate,
                change: candidate - baseline,
            };
            rows.iter().map(part).collect()
        };
        let (mean_s, p95_s) = (parts(&shift.mean_parts), parts(&shift.p95_parts));
        Latency { task: &shift.task, mean_s, p95_s }
    }
}

impl<'a> Cost<'a> {
    fn of(shift: &'a CostShift) -> Cost<'a> {
        Cost {
            key: shift.key,
            baseline_usd: Number::of(&shift.change.before),
            candidate_usd: Number::of(&shift.change.after),
            change_usd: Number::of(&shift.change.difference),
        }
    }
}

/// One task in both arms.
#[derive(Serialize)]
pub(crate) struct OneTask<'a> {
    task: &'a str,
    source: &'a str,
    number: u64,
    arrived_s: f64,
    baseline: OneFate<'a>,
    candidate: OneFate<'a>,
}

#[derive(Serialize)]
struct OneFate<'a> {
    /// `null` where it was turned away on arrival.
    ending: Option<&'static str>,
    latency_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spend_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submissions: Option<u32>,
    parts_s: Vec<(&'static str, f64)>,
    calls: Vec<OneCall<'a>>,
}

#[derive(Serialize)]
struct OneCall<'a> {
    model: &'a str,
    backend: &'a str,
    arrived_s: f64,
    first_token_s: f64,
    ended_s: f64,
    input_tokens: u32,
    output_tokens: u32,
}

impl<'a> OneTask<'a> {
    pub(crate) fn of(example: &'a Example) -> OneTask<'a> {
        OneTask {
            task: &example.task,
            source: &example.source,
            number: example.number,
            arrived_s: example.arrived.as_secs_f64(),
            baseline: OneFate::of(&example.before),
            candidate: OneFate::of(&example.after),
        }
    }
}

impl<'a> OneFate<'a> {
    fn of(fate: &'a Fate) -> OneFate<'a> {
        let parts = ALL_DRIVERS.map(|driver| (driver, part(fate, driver)));
        let spent = parts.iter().filter(|(_, span)| span.0 > 0);
        let ending = fate.ending.and_then(|ending| {
            let mut one = Endings::default();
            one.count(ending);
            endings(&one).iter().position(|&count| count > 0).map(|at| ENDING_KEYS[at])
        });
        OneFate {
            ending,
            latency_s: ending.map(|_| fate.latency.as_secs_f64()),
            spend_usd: fate.task.map(|task| dollars_exact(task.spend)),
            submissions: fate.task.map(|task| task.submissions),
            parts_s: spent
                .map(|(driver, span)| (DRIVER_KEYS[*driver as usize], span.as_secs_f64()))
                .collect(),
            calls: fate
                .calls
                .iter()
                .map(|(call, model, backend)| OneCall {
                    model,
                    backend,
                    arrived_s: call.arrived.as_secs_f64(),
                    first_token_s: call.first_token.as_secs_f64(),
                    ended_s: call.ended.as_secs_f64(),
                    input_tokens: call.input,
                    output_tokens: call.output,
                })
                .collect(),
        }
    }
}
