//! The full record of a run as one JSON object, `surgeline.run/1`.
//!
//! Meaning, beside the names: counts are sums over all replications; money, `gpu_hours` and
//! `simulated_seconds` are per replication; a month is 30.4375 days. Totals of money are decimal
//! strings with every digit down to the pico-dollar (at least two decimals), so nothing is
//! rounded; ratios of money are estimates and therefore numbers. Other numbers are the shortest
//! text that reads back as the same double.
//!
//! What a scenario does not have is left out: backends, tools, tenants, causes of spend beyond the
//! first four, and what tasks of one plain call do not do.
//!
//! Invariants: the keys and their order are fixed by the structs here, whatever features
//! `serde_json` is built with; a value that is absent is `null`, and the object that holds it has
//! a `reason`; an event-log hash is a string, because a double cannot hold it.
//!
//! Deliberately absent: histograms and time series, which go into tables of their own (the digest
//! covers them).

mod acted;
pub mod check;
pub mod compare;
mod contrast;
mod money;
pub mod plan;
pub mod what_if;
mod work;

use crate::digest::result_sha256;
use crate::report::Report;
use crate::sections::turned_away;
use experiments::{
    Amplification, Distribution, Estimate, Halt, ObjectiveResult, Range, RunResult, StopReason,
    Verdict,
};
use money::{Margin, Spend, Tenants};
use serde::{Serialize, Serializer};
use work::{Backend, Calls, Pool, Task, Tool};

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.run/1";

/// The document, indented and with a newline at the end.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let mut out = text(&Document::of(report), true);
    out.push('\n');
    out
}

/// Any of our documents as text.
pub(crate) fn text(document: &impl Serialize, indented: bool) -> String {
    let text = if indented {
        serde_json::to_string_pretty(document)
    } else {
        serde_json::to_string(document)
    };
    // Strings as keys, plain numbers and no input or output: nothing here can fail.
    text.unwrap_or_default()
}

/// A JSON object whose keys keep the order of the scenario.
struct Named<'a, T>(Vec<(&'a str, T)>);

impl<T> Named<'_, T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'a str,
    scenario: Scenario<'a>,
    result_sha256: String,
    #[serde(flatten)]
    results: Results<'a>,
    notes: &'a [String],
    provenance: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Scenario<'a> {
    name: &'a str,
    question: Option<&'a str>,
    sha256: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    value: &'a str,
    origin: &'a str,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'a>) -> Document<'a> {
        let scenario = &report.scenario;
        Document {
            schema: SCHEMA,
            version: report.version,
            scenario: Scenario {
                name: &scenario.name,
                question: scenario.question.as_deref(),
                sha256: &scenario.sha256,
            },
            result_sha256: result_sha256(report.result),
            results: Results::of(report.result),
            notes: &report.notes,
            provenance: report
                .provenance
                .iter()
                .map(|row| Row { key: &row.key, value: &row.value, origin: &row.origin })
                .collect(),
        }
    }
}

/// Every result in the document; the digest covers those that [`Results::acted`] leaves.
#[derive(Serialize)]
pub(crate) struct Results<'a> {
    seed: u64,
    replications: u32,
    stopped: Stopped<'a>,
    simulated_seconds: f64,
    warm_up_seconds: f64,
    measured_seconds: f64,
    events: u64,
    log_hashes: Vec<String>,
    tasks: Named<'a, Task<'a>>,
    calls: Named<'a, Calls<'a>>,
    pools: Named<'a, Pool<'a>>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    backends: Named<'a, Backend<'a>>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    tools: Named<'a, Tool<'a>>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    tenants: Named<'a, Tenants<'a>>,
    spend: Spend<'a>,
    margin: Margin<'a>,
    stability: Stability<'a>,
    objectives: Vec<Objective<'a>>,
    warnings: Vec<Warning>,
}

impl<'a> Results<'a> {
    pub(crate) fn of(result: &'a RunResult) -> Results<'a> {
        Results {
            seed: result.seed,
            replications: result.replications,
            stopped: Stopped::of(&result.stopped),
            simulated_seconds: result.horizon.as_secs_f64(),
            warm_up_seconds: result.warm_up.as_secs_f64(),
            measured_seconds: result.measured.as_secs_f64(),
            events: result.events,
            log_hashes: result.log_hashes.iter().map(|hash| format!("{hash:016x}")).collect(),
            tasks: Named(result.tasks.iter().map(|t| (t.name.as_str(), Task::of(t))).collect()),
            calls: Named(result.models.iter().map(|m| (m.name.as_str(), Calls::of(m))).collect()),
            pools: Named(result.pools.iter().map(|p| (p.name.as_str(), Pool::of(p))).collect()),
            backends: Named(
                result.remotes.iter().map(|r| (r.name.as_str(), Backend::of(r))).collect(),
            ),
            tools: Named(result.tools.iter().map(|t| (t.name.as_str(), Tool::of(t))).collect()),
            tenants: Named(
                result.tenants.iter().map(|t| (t.name.as_str(), Tenants::of(t))).collect(),
            ),
            spend: Spend::of(result),
            margin: Margin::of(result),
            stability: Stability::of(result),
            objectives: result.objectives.iter().map(Objective::of).collect(),
            warnings: result.warnings.iter().map(Warning::of).collect(),
        }
    }
}

/// Name of a reason for stopping, for scripts.
pub(crate) fn stop_code(stopped: &StopReason) -> &'static str {
    match stopped {
        StopReason::Fixed => "fixed",
        StopReason::PrecisionReached => "precision-reached",
        StopReason::PrecisionNotReached(_) => "precision-not-reached",
        StopReason::Unstable => "unstable",
        StopReason::Halted(Halt::Interrupted) => "interrupted",
        StopReason::Halted(Halt::Limit(_)) => "limit-reached",
    }
}

#[derive(Serialize)]
struct Stopped<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    widest: Option<&'a str>,
}

impl<'a> Stopped<'a> {
    fn of(stopped: &'a StopReason) -> Stopped<'a> {
        let widest = match stopped {
            StopReason::PrecisionNotReached(widest) => Some(widest.as_str()),
            _ => None,
        };
        Stopped { code: stop_code(stopped), widest }
    }
}

#[derive(Serialize)]
struct Number<'a> {
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
}

/// Where a number would be with times as far off as their calibration allows.
#[derive(Serialize)]
struct Calibration {
    low: Option<f64>,
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> Number<'a> {
    fn of(estimate: &'a Estimate) -> Number<'a> {
        let Estimate { value, low, high, reason, calibration, without: _, smoothed: _, cases: _ } =
            estimate;
        Number {
            value: *value,
            low: *low,
            high: *high,
            reason: reason.as_deref(),
            calibration: calibration.as_ref().map(Calibration::of),
        }
    }
}

impl Calibration {
    fn of(&Range { low, high }: &Range) -> Calibration {
        let open = low.is_none() || high.is_none();
        let reason = open.then_some("with times so far off the system is overloaded");
        Calibration { low, high, reason }
    }
}

#[derive(Serialize)]
struct Times<'a> {
    count: u64,
    mean: Number<'a>,
    p50: Number<'a>,
    p90: Number<'a>,
    p95: Number<'a>,
    p99: Number<'a>,
}

impl<'a> Times<'a> {
    fn of(times: &'a Distribution) -> Times<'a> {
        Times {
            count: times.count,
            mean: Number::of(&times.mean),
            p50: Number::of(&times.p50),
            p90: Number::of(&times.p90),
            p95: Number::of(&times.p95),
            p99: Number::of(&times.p99),
        }
    }
}

#[derive(Serialize)]
struct Stability<'a> {
    verdict: Option<&'static str>,
    why: &'a str,
    demand_per_s: Option<f64>,
    capacity_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amplification: Option<Amplified<'a>>,
}

/// How far work is multiplied.
#[derive(Serialize)]
struct Amplified<'a> {
    attempts_per_call: Number<'a>,
    submissions_per_task: Number<'a>,
    attempts_per_task: Number<'a>,
    models: Named<'a, RetryLoad>,
}

/// What retries make of the load on a model while every attempt fails.
#[derive(Serialize)]
struct RetryLoad {
    demand_per_s: f64,
    worst_attempts_per_call: Option<f64>,
    capacity_per_s: Option<f64>,
    safe_per_s: Option<f64>,
    vulnerable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> Amplified<'a> {
    fn of(amplification: &'a Amplification) -> Amplified<'a> {
        let model = |load: &'a experiments::RetryLoad| {
            let reason = match (load.worst, load.capacity_per_s) {
                (None, _) => Some("the number of attempts has no limit"),
                (_, None) => Some("the capacity of a backend is not known"),
                _ => None,
            };
            let load_of = RetryLoad {
                demand_per_s: load.demand_per_s,
                worst_attempts_per_call: load.worst,
                capacity_per_s: load.capacity_per_s,
                safe_per_s: load.safe_per_s,
                vulnerable: load.vulnerable,
                reason,
            };
            (load.model.as_str(), load_of)
        };
        Amplified {
            attempts_per_call: Number::of(&amplification.attempts_per_call),
            submissions_per_task: Number::of(&amplification.submissions_per_task),
            attempts_per_task: Number::of(&amplification.attempts_per_task),
            models: Named(amplification.models.iter().map(model).collect()),
        }
    }
}

impl<'a> Stability<'a> {
    fn of(result: &'a RunResult) -> Stability<'a> {
        let stability = &result.stability;
        let rejected = result.tasks.iter().any(|task| task.counts.rejected > 0);
        let refused = rejected || turned_away(result) > 0;
        let reason = match stability.verdict {
            None => Some(stability.why.as_str()),
            Some(Verdict::Stable) if refused => {
                Some("stable: what is beyond the capacity at times is refused")
            }
            Some(Verdict::Stable) => Some("stable: the capacity was not reached"),
            Some(Verdict::Metastable) => Some("metastable: what it carries unstuck is not seen"),
            Some(Verdict::Unstable) => None,
        };
        let absent = stability.demand_per_s.is_none() || stability.capacity_per_s.is_none();
        Stability {
            verdict: stability.verdict.map(|verdict| match verdict {
                Verdict::Stable => "stable",
                Verdict::Unstable => "unstable",
                Verdict::Metastable => "metastable",
            }),
            why: &stability.why,
            demand_per_s: stability.demand_per_s,
            capacity_per_s: stability.capacity_per_s,
            reason: reason.filter(|_| absent),
            amplification: result.amplification.as_ref().map(Amplified::of),
        }
    }
}

#[derive(Serialize)]
struct Objective<'a> {
    name: &'a str,
    target: &'a str,
    target_value: f64,
    unit: &'static str,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    met: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
}

impl<'a> Objective<'a> {
    fn of(judged: &'a ObjectiveResult) -> Objective<'a> {
        let (objective, estimate) = (&judged.objective, &judged.estimate);
        Objective {
            name: &objective.name,
            target: &objective.text,
            target_value: objective.target,
            unit: objective.metric.unit(),
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
            met: judged.met,
            reason: crate::sections::reason(judged),
            calibration: estimate.calibration.as_ref().map(Calibration::of),
        }
    }
}

#[derive(Serialize)]
struct Warning {
    code: &'static str,
    message: String,
    advice: &'static str,
}

impl Warning {
    fn of(warning: &experiments::Warning) -> Warning {
        let (code, message) = (warning.code(), warning.message());
        Warning { code, message, advice: warning.advice() }
    }
}
