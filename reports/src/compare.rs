//! Two scenarios side by side, for people.
//!
//! Deliberately absent: a verdict, which only a check gives.

use crate::contrast::{self, FILES, main_cause, moved};
use crate::format::{Unit, number, span};
use crate::report::ScenarioInfo;
use crate::sections::{Advice, Sections};
use crate::{markdown, text};
use experiments::compare::Compared;
use experiments::examples::Example;
use experiments::{RunResult, StopReason};

/// What a document of a comparison is made from.
#[derive(Clone, Debug)]
pub struct CompareReport<'a> {
    /// What was found.
    pub result: &'a Compared,
    /// Tasks that got worse.
    pub examples: &'a [Example],
    /// Both scenarios.
    pub scenarios: [ScenarioInfo; 2],
    /// What was noticed while loading the inputs, each a sentence or two.
    pub notes: Vec<String>,
    /// Version of surgeline.
    pub version: &'a str,
}

/// For a terminal.
#[must_use]
pub fn text(report: &CompareReport<'_>, color: bool, width: usize) -> String {
    text::page(&sections(report), color, width)
}

/// For a pull request or a wiki.
#[must_use]
pub fn markdown(report: &CompareReport<'_>) -> String {
    markdown::page(&sections(report), &[])
}

fn sections(report: &CompareReport<'_>) -> Sections {
    let contrast = &report.result.contrast;
    let [few, moved] = contrast::numbers(contrast, FILES);
    let mut tables = vec![moved];
    tables.extend(contrast::drivers(contrast, FILES));
    tables.extend(contrast::examples(report.examples, FILES));
    tables.retain(|table| !table.rows.is_empty());
    let [first, second] = &report.scenarios;
    Sections {
        name: format!("{} beside {}", first.name, second.name),
        sentence: sentence(report),
        banners: banners(report),
        open: vec![few],
        tables,
        advice: report
            .notes
            .iter()
            .map(|note| Advice { message: note.clone(), advice: None })
            .collect(),
        origin: origin(report),
        ..Sections::default()
    }
}

/// What an arm's numbers mean less than they seem.
fn banners(report: &CompareReport<'_>) -> Vec<String> {
    let runs = [("first", &report.result.before), ("second", &report.result.after)];
    let void = runs.iter().filter_map(|(name, run)| match run.stability.verdict {
        Some(verdict) if verdict.voids_latency() => {
            Some(format!("THE {} IS OVERLOADED: {}.", name.to_uppercase(), run.stability.why))
        }
        _ => None,
    });
    let halted = match &report.result.before.stopped {
        StopReason::Halted(halt) => {
            let pairs = report.result.before.replications;
            Some(format!("PARTIAL: {halt} after {pairs} pairs of replications."))
        }
        _ => None,
    };
    halted.into_iter().chain(void).collect()
}

/// How cost and latency move, and which objectives that changes.
fn sentence(report: &CompareReport<'_>) -> String {
    let Compared { before, after, contrast } = report.result;
    let mut parts = Vec::new();
    let cost = contrast.number("cost_per_successful_task");
    if let Some(moved) = cost.and_then(|cost| moved(&cost.change)) {
        parts.push(format!("the cost per successful task {moved}"));
    }
    let slowest = contrast.latency.iter().filter(|shift| shift.p95.difference.value.is_some());
    let most = |shift: &&experiments::contrast::LatencyShift| {
        shift.p95.difference.value.unwrap_or_default().abs()
    };
    if let Some(shift) = slowest.max_by(|a, b| most(a).total_cmp(&most(b)))
        && let Some(moved) = moved(&shift.p95)
    {
        let because =
            main_cause(shift).map_or_else(String::new, |cause| format!(", mainly {cause}"));
        parts.push(format!("p95 of {} {moved}{because}", shift.task));
    }
    let met = |run: &RunResult| run.objectives.iter().filter(|o| o.met == Some(true)).count();
    if !before.objectives.is_empty() || !after.objectives.is_empty() {
        parts.push(format!(
            "objectives met: {} of {} before, {} of {} after",
            met(before),
            before.objectives.len(),
            met(after),
            after.objectives.len()
        ));
    }
    format!("From the first to the second: {}.", parts.join("; "))
}

fn origin(report: &CompareReport<'_>) -> Vec<String> {
    let run = &report.result.before;
    let mut lines = vec![format!(
        "{} pairs of replications of {}, seed {}; both see the same requests; intervals are 95 %, of \
         changes pair by pair",
        run.replications,
        span(run.horizon),
        run.seed
    )];
    let ratio = report.result.contrast.latency.iter().find_map(|shift| shift.p95.variance_ratio);
    if let Some(ratio) = ratio {
        lines.push(format!(
            "common random numbers: the change of the p95 varies {} times less than with \
             independent ones",
            number(ratio, Unit::Plain)
        ));
    }
    lines.push(format!("surgeline {}", report.version));
    lines
}
