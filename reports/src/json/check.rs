//! A check as one JSON object, `surgeline.check/1`.
//!
//! `baseline`, `candidate`, `delta`, `low`, `high` and `tolerance` of a gate are in its metric's unit;
//! `low` and `high` are the one-sided bounds that the verdict rests on: of the change, or of the
//! candidate's own number where a limit was asked for. A number that has no value is
//! `null` and the gate has a `reason`.

use super::contrast::{OneTask, Sides};
use super::{Results, text};
use crate::check::{CheckReport, sentence, word};
use experiments::gate::{Judged, Level, Rule};
use serde::Serialize;

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.check/1";

/// The document, indented and with a newline at the end.
#[must_use]
pub fn render(report: &CheckReport<'_>) -> String {
    let result = report.result;
    let mut out = text(
        &Document {
            schema: SCHEMA,
            version: report.version,
            scenario: &report.scenario.name,
            verdict: word(result.verdict),
            headline: sentence(report),
            baseline: Arm { policy: &report.baseline.policy, sha256: &report.baseline.sha256 },
            candidate: Arm { policy: &report.candidate.policy, sha256: &report.candidate.sha256 },
            gates: result.gates.iter().map(Gate::of).collect(),
            pairs: result.pairs,
            most_pairs: result.most_pairs,
            looks: result.assurance.looks,
            seed: result.baseline.seed,
            confidence: result.assurance.confidence,
            power: result.assurance.power,
            inconclusive: level(report.inconclusive),
            self_test: if result.repeats { "equal" } else { "differs" },
            sides: Sides::of(&result.contrast),
            examples: report.examples.iter().map(OneTask::of).collect(),
            runs: Runs {
                baseline: Results::of(&result.baseline),
                candidate: Results::of(&result.candidate),
            },
            notes: &report.notes,
        },
        true,
    );
    out.push('\n');
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'a str,
    scenario: &'a str,
    verdict: &'static str,
    headline: String,
    baseline: Arm<'a>,
    candidate: Arm<'a>,
    gates: Vec<Gate<'a>>,
    pairs: u32,
    most_pairs: u32,
    looks: u32,
    seed: u64,
    confidence: f64,
    power: f64,
    inconclusive: &'static str,
    self_test: &'static str,
    #[serde(flatten)]
    sides: Sides<'a>,
    examples: Vec<OneTask<'a>>,
    runs: Runs<'a>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Arm<'a> {
    policy: &'a str,
    sha256: &'a str,
}

#[derive(Serialize)]
struct Runs<'a> {
    baseline: Results<'a>,
    candidate: Results<'a>,
}

#[derive(Serialize)]
struct Gate<'a> {
    metric: &'a str,
    unit: &'static str,
    rule: &'static str,
    text: &'a str,
    level: &'static str,
    baseline: Option<f64>,
    candidate: Option<f64>,
    delta: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    tolerance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<Relative>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_value: Option<f64>,
    /// The change that would be found to be beyond tolerance, with the probability `power`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detectable: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The change as a part of the baseline, where it is judged so.
#[derive(Serialize)]
struct Relative {
    delta: f64,
    low: f64,
    high: f64,
    tolerance: f64,
}

impl<'a> Gate<'a> {
    fn of(judged: &'a Judged) -> Gate<'a> {
        let gate = &judged.gate;
        let before = judged.change.before.value;
        let difference = &judged.change.difference;
        // From parts of the baseline to the metric's unit.
        let scale = match &judged.test {
            Some(test) if test.is_relative => before.map(f64::abs),
            _ => Some(1.0),
        };
        let scaled = |value: Option<f64>| value.zip(scale).map(|(value, scale)| value * scale);
        let test = judged.test.as_ref();
        let or = |of_test: Option<f64>, otherwise| match test {
            Some(_) => scaled(of_test),
            None => otherwise,
        };
        let relative = test.filter(|test| test.is_relative).map(|test| Relative {
            delta: test.change,
            low: test.low,
            high: test.high,
            tolerance: test.tolerance,
        });
        let (rule, limit) = match gate.rule {
            Rule::Change(_) => ("change", None),
            Rule::Limit(_, limit) => ("limit", Some(limit)),
        };
        Gate {
            metric: &gate.name,
            unit: gate.metric.unit(),
            rule,
            text: &gate.text,
            level: level(gate.level),
            baseline: before,
            candidate: judged.change.after.value,
            delta: difference.value,
            low: or(test.map(|test| test.low), difference.low),
            high: or(test.map(|test| test.high), difference.high),
            tolerance: scaled(test.filter(|_| limit.is_none()).map(|test| test.tolerance)),
            limit,
            verdict: word(judged.verdict),
            relative,
            p_value: test.map(|test| test.p_value),
            detectable: scaled(test.and_then(|test| test.detectable)),
            reason: judged.reason.as_deref().or(difference.reason.as_deref()),
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Fail => "fail",
        Level::Warn => "warn",
    }
}
