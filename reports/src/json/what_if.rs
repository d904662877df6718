//! Today beside tomorrow as one JSON object, `surgeline.what-if/1`.
//!
//! `deltas` name today `baseline` and tomorrow `candidate`, as every comparison does.

use super::contrast::Sides;
use super::{Number, Results, text};
use crate::digest::result_sha256;
use crate::format::dollars_exact;
use crate::what_if::{WhatIfReport, verdict, why};
use experiments::bottleneck::{Bottleneck, Nearest, Shortage};
use experiments::repair::{Repair, Repaired, Search};
use experiments::what_if::Part;
use experiments::{Halt, RunResult};
use serde::Serialize;
use sim::units::Money;

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.what-if/1";

/// The document, indented and with a newline at the end.
#[must_use]
pub fn render(report: &WhatIfReport<'_>) -> String {
    let result = report.result;
    let broken = result
        .broken
        .iter()
        .map(|(objective, at)| Broken { objective, from_s: at.map(sim::units::Span::as_secs_f64) });
    let document = Document {
        schema: SCHEMA,
        version: report.version,
        scenario: &report.scenario.name,
        sha256: &report.scenario.sha256,
        question: &report.question,
        changes: &report.changes,
        verdict: verdict(report),
        today: Day::of(&result.compared.before),
        tomorrow: Day::of(&result.compared.after),
        sides: Sides::of(&result.compared.contrast),
        broken: broken.collect(),
        bottleneck: result.bottlenecks.first().map(Short::of),
        bottlenecks: result.bottlenecks.iter().map(Short::of).collect(),
        nearest: result.nearest.as_ref().map(Near::of),
        headroom: result.headroom.as_ref().map(|headroom| Headroom {
            factor: Number::of(&headroom.factor),
            objective: headroom.objective.as_deref(),
            replications: headroom.replications,
            tried: headroom.tried.iter().map(|tried| (tried.factor, tried.slack)).collect(),
        }),
        repair: result.repair.as_ref().map(Repairs::of),
        stopped: result.halt.as_ref().map(Halt::to_string),
        unfinished: result.unfinished.iter().map(|part| part_key(*part)).collect(),
        notes: &report.notes,
    };
    let mut out = text(&document, true);
    out.push('\n');
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'a str,
    scenario: &'a str,
    sha256: &'a str,
    question: &'a str,
    changes: &'a [String],
    verdict: String,
    today: Day<'a>,
    tomorrow: Day<'a>,
    #[serde(flatten)]
    sides: Sides<'a>,
    broken: Vec<Broken<'a>>,
    bottleneck: Option<Short<'a>>,
    bottlenecks: Vec<Short<'a>>,
    nearest: Option<Near<'a>>,
    headroom: Option<Headroom<'a>>,
    repair: Option<Repairs<'a>>,
    /// What stopped the work from outside; `null` where nothing did.
    stopped: Option<String>,
    /// What is therefore absent or not finished.
    unfinished: Vec<&'static str>,
    notes: &'a [String],
}

/// A day as `run` has it; where its inputs come from stands beside both.
#[derive(Serialize)]
struct Day<'a> {
    schema: &'static str,
    result_sha256: String,
    #[serde(flatten)]
    results: Results<'a>,
}

impl<'a> Day<'a> {
    fn of(result: &'a RunResult) -> Day<'a> {
        Day {
            schema: super::SCHEMA,
            result_sha256: result_sha256(result),
            results: Results::of(result),
        }
    }
}

#[derive(Serialize)]
struct Broken<'a> {
    objective: &'a str,
    /// When its latency first lies beyond the target; `null` where it is no latency.
    from_s: Option<f64>,
}

#[derive(Serialize)]
struct Short<'a> {
    part: &'a str,
    shortage: &'static str,
    from_s: f64,
    until_s: f64,
    share: f64,
    why: String,
}

#[derive(Serialize)]
struct Near<'a> {
    part: &'a str,
    shortage: &'static str,
    use_of_it: f64,
    at_s: f64,
}

#[derive(Serialize)]
struct Headroom<'a> {
    factor: Number<'a>,
    objective: Option<&'a str>,
    /// Of the run, or fewer where the search could not afford them.
    replications: u32,
    /// `(factor, distance of the tightest objective from its target)` of every factor tried; `null`:
    /// overloaded.
    tried: Vec<(f64, f64)>,
}

#[derive(Serialize)]
struct Repairs<'a> {
    /// Whether tomorrow needs none.
    needed: bool,
    changes: &'a [String],
    per_month_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_month: Option<Number<'a>>,
    objectives_met: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether the search ended before it had tried everything.
    cut_short: bool,
    others: Vec<Other<'a>>,
}

#[derive(Serialize)]
struct Other<'a> {
    changes: &'a [String],
    per_month_usd: Option<String>,
    per_month: Number<'a>,
}

impl<'a> Short<'a> {
    fn of(bottleneck: &'a Bottleneck) -> Short<'a> {
        Short {
            part: &bottleneck.part,
            shortage: key(bottleneck.shortage),
            from_s: bottleneck.from.as_secs_f64(),
            until_s: bottleneck.until.as_secs_f64(),
            share: bottleneck.share,
            why: why(bottleneck),
        }
    }
}

impl<'a> Near<'a> {
    fn of(nearest: &'a Nearest) -> Near<'a> {
        let shortage = key(nearest.shortage);
        let at_s = nearest.at.as_secs_f64();
        Near { part: &nearest.part, shortage, use_of_it: nearest.use_of_it, at_s }
    }
}

impl<'a> Repairs<'a> {
    fn of(search: &'a Search) -> Repairs<'a> {
        let cut_short = search.is_cut_short;
        let none = |needed, objectives_met, reason| Repairs {
            needed,
            changes: &[],
            per_month_usd: (!needed).then(|| "0.00".to_owned()),
            per_month: None,
            objectives_met,
            reason,
            cut_short,
            others: Vec::new(),
        };
        match &search.repaired {
            Repaired::NotNeeded => none(false, true, None),
            Repaired::NotFound { tried, .. } => {
                let cut = if cut_short { ", and the search was cut short" } else { "" };
                none(
                    true,
                    false,
                    Some(format!("none of {tried} changes keeps all objectives{cut}")),
                )
            }
            Repaired::Found(cheapest, others) => Repairs {
                needed: true,
                changes: &cheapest.changes,
                per_month_usd: per_month(cheapest),
                per_month: Some(Number::of(&cheapest.per_month)),
                objectives_met: cheapest.misses.is_empty(),
                reason: (!cheapest.misses.is_empty())
                    .then(|| format!("misses {}", cheapest.misses.join(", "))),
                cut_short,
                others: others
                    .iter()
                    .map(|repair| Other {
                        changes: &repair.changes,
                        per_month_usd: per_month(repair),
                        per_month: Number::of(&repair.per_month),
                    })
                    .collect(),
            },
        }
    }
}

/// To the millionth of a dollar: it is a difference of two estimates, not a bill.
fn per_month(repair: &Repair) -> Option<String> {
    let millionths = (repair.per_month.value? * 1e6).round();
    Some(dollars_exact(Money(millionths as i128 * (Money::PICO_PER_DOLLAR / 1_000_000))))
}

fn key(shortage: Shortage) -> &'static str {
    match shortage {
        Shortage::KvCache => "kv_cache",
        Shortage::Sequences => "sequences",
        Shortage::Compute => "compute",
        Shortage::RequestRate => "request_rate",
        Shortage::TokenRate => "token_rate",
        Shortage::Places => "places",
        Shortage::Budget => "budget",
    }
}

fn part_key(part: Part) -> &'static str {
    match part {
        Part::Replications => "replications",
        Part::Calibration => "calibration",
        Part::Headroom => "headroom",
        Part::Repair => "repair",
    }
}
