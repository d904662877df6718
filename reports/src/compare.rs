//! Two scenarios side by side, for people.
//!
//! Deliberately absent: a verdict, which only a check gives.

use crate::contrast::{
    self, FILES, common_numbers, is_unchanged, main_cause, moved, no_example, pairs,
};
use crate::format::span;
use crate::html::{self, Page, Standing};
use crate::picture::{Arm, Topic, of_arms};
use crate::report::ScenarioInfo;
use crate::sections::{Advice, Sections, hashes, headlines_beside};
use crate::{markdown, text};
use experiments::compare::Compared;
use experiments::examples::Example;
use experiments::paired::Change;
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
    /// What the arms are called: the scenario's name, and what is different about it here.
    pub names: [String; 2],
    /// The command that repeats it, where one does.
    pub command: Option<String>,
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

/// For a browser.
#[must_use]
pub fn html(report: &CompareReport<'_>) -> String {
    let compared = report.result;
    let headlines =
        headlines_beside((&report.names[0], &compared.before), (&report.names[1], &compared.after));
    let mut sections = Sections { headlines, ..sections(report) };
    sections
        .commands
        .extend(report.command.iter().map(|it| ("the comparison".to_owned(), it.clone())));
    let [first, second] = &report.scenarios;
    let arms = [(&*report.names[0], &*first.sha256), (&*report.names[1], &*second.sha256)];
    sections.origin.insert(0, hashes(&arms));
    let standing = Standing::Unjudged;
    html::page(&Page { standing, sections: &sections, topics: &topics(report), inputs: &[] })
}

/// Its pictures.
#[must_use]
pub fn topics(report: &CompareReport<'_>) -> Vec<Topic> {
    let (names, compared) = (&report.names, report.result);
    of_arms(&[
        Arm { name: &names[0], result: &compared.before },
        Arm { name: &names[1], result: &compared.after },
    ])
}

fn sections(report: &CompareReport<'_>) -> Sections {
    let contrast = &report.result.contrast;
    let [few, moved] = contrast::numbers(contrast, FILES);
    let mut tables = vec![moved];
    // No change, no noise.
    if !is_unchanged(contrast) {
        tables.extend(contrast::drivers(contrast, FILES));
        tables.extend(contrast::examples(report.examples, FILES));
    }
    tables.retain(|table| !table.rows.is_empty());
    let [first, second] = &report.names;
    Sections {
        name: format!("{first} beside {second}"),
        sentence: sentence(report),
        banners: banners(report),
        open: vec![few],
        tables,
        advice: advice(report),
        origin: origin(report),
        ..Sections::default()
    }
}

fn advice(report: &CompareReport<'_>) -> Vec<Advice> {
    let Compared { before, after, contrast } = report.result;
    let mut all: Vec<String> = Vec::new();
    if contrast.latency.is_empty() {
        all.push(
            "No task has the same name in both: only numbers of the whole are compared.".into(),
        );
    }
    if before.horizon != after.horizon {
        let (first, second) = (span(before.horizon), span(after.horizon));
        all.push(format!(
            "The first runs for {first} and the second for {second}: a cold start or a rush hour \
             weighs more in the shorter one."
        ));
    }
    all.extend(report.notes.iter().cloned());
    all.iter().map(|message| Advice::note(message)).collect()
}

/// Why an arm's numbers mean less than they seem.
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
            let done = pairs(report.result.before.replications);
            Some(format!("PARTIAL: {halt} after {done} of replications."))
        }
        _ => None,
    };
    halted.into_iter().chain(void).collect()
}

/// How cost and latency move, and which objectives that changes.
fn sentence(report: &CompareReport<'_>) -> String {
    format!("From the first to the second: {}.", moves(report.result))
}

/// The same without saying from which arm to which.
#[must_use]
pub fn moves(compared: &Compared) -> String {
    let Compared { before, after, contrast } = compared;
    let mut parts = Vec::new();
    if is_unchanged(contrast) {
        parts.push("nothing changes, every number that both have is the same".to_owned());
    }
    let cost = contrast.number("cost_per_successful_task").map(|cost| &cost.change);
    let differs = |change: &Change| change.difference.value.is_some_and(|value| value != 0.0);
    if let Some(cost) = cost.filter(|cost| differs(cost))
        && let Some(moved) = moved(cost)
    {
        let chance = if cost.is_certain() { "" } else { ", which may be chance" };
        parts.push(format!("the cost per successful task {moved}{chance}"));
    }
    let slowest = contrast.latency.iter().filter(|shift| differs(&shift.p95));
    let most = |shift: &&experiments::contrast::LatencyShift| {
        shift.p95.difference.value.unwrap_or_default().abs()
    };
    if let Some(shift) = slowest.max_by(|a, b| most(a).total_cmp(&most(b)))
        && let Some(moved) = moved(&shift.p95)
    {
        let because = match (shift.p95.is_certain(), main_cause(shift)) {
            (false, _) => ", which may be chance".to_owned(),
            (true, Some(cause)) => format!(", mainly {cause}"),
            (true, None) => String::new(),
        };
        parts.push(format!("p95 of {} {moved}{because}", shift.task));
    }
    if !before.objectives.is_empty() || !after.objectives.is_empty() {
        let (before, after) = (met(before), met(after));
        parts.push(format!("objectives met: {before} before, {after} after"));
    }
    if parts.is_empty() {
        parts.push("neither the cost of a success nor a p95 that both have moves".to_owned());
    }
    parts.join("; ")
}

/// How many objectives are met, and of how many that is not decided.
fn met(run: &RunResult) -> String {
    let with = |met| run.objectives.iter().filter(|judged| judged.met == met).count();
    let all = format!("{} of {}", with(Some(true)), run.objectives.len());
    match with(None) {
        0 => all,
        open => format!("{all} ({open} undecided)"),
    }
}

fn origin(report: &CompareReport<'_>) -> Vec<String> {
    let (run, other) = (&report.result.before, &report.result.after);
    let horizon = match run.horizon == other.horizon {
        true => span(run.horizon),
        false => format!("{} and {}", span(run.horizon), span(other.horizon)),
    };
    let [first, second] = &report.scenarios;
    let same = match first.name == second.name {
        true => "both see the same requests",
        false => "both have the same random numbers, and what has the same names sees the same",
    };
    let intervals = match run.replications {
        1 => "one pair has no intervals",
        _ => "intervals are 95 %, of changes pair by pair",
    };
    let mut lines = vec![format!(
        "{} of replications of {horizon}, seed {}; {same}; {intervals}",
        pairs(run.replications),
        run.seed
    )];
    lines.extend(common_numbers(&report.result.contrast));
    if !is_unchanged(&report.result.contrast) {
        lines.extend(no_example(report.examples));
    }
    lines.push(format!("surgeline {}", report.version));
    lines
}
