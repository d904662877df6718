//! What a check found, for people: one headline sentence, the gates in sight, the reasons folded.
//!
//! Invariants: the headline names the verdict and, where it is not a pass, the gate that decides and
//! what moved it; where nothing changes nothing but that is said.
//!
//! Deliberately absent: JSON (see [`crate::json`]), JUnit and annotations (see [`crate::ci`]).

use crate::contrast::{
    self, GATE, change_cell, common_numbers, is_unchanged, main_cause, moved, no_example, pairs,
    signed, value,
};
use crate::format::{Unit, number};
use crate::html::{self, Page, Standing};
use crate::picture::{self, Arm, Topic, of_arms};
use crate::report::{ProvenanceRow, ScenarioInfo};
use crate::sections::{Advice, Sections, hashes, headlines_beside};
use crate::table::{Cell, Table};
use crate::{markdown, text};
use experiments::check::CheckResult;
use experiments::examples::Example;
use experiments::gate::{Gate, Judged, Level, Rule, Test, Tolerance, Verdict};
use experiments::paired::Change;
use experiments::{Estimate, StopReason};

/// What a document of a check is made from.
#[derive(Clone, Debug)]
pub struct CheckReport<'a> {
    /// What was found.
    pub result: &'a CheckResult,
    /// Tasks that got worse.
    pub examples: &'a [Example],
    /// The scenario, under the baseline.
    pub scenario: ScenarioInfo,
    /// What the arms are, and their hashes.
    pub baseline: ArmInfo,
    /// Likewise.
    pub candidate: ArmInfo,
    /// What an inconclusive check does.
    pub inconclusive: Level,
    /// The command that repeats it.
    pub command: String,
    /// What was noticed while loading the input, each a sentence or two.
    pub notes: Vec<String>,
    /// Where each input of the candidate comes from.
    pub provenance: Vec<ProvenanceRow>,
    /// Version of surgeline.
    pub version: &'a str,
}

/// One arm of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmInfo {
    /// Its policy, as it was named.
    pub policy: String,
    /// The file that holds it, as it was named; absent where it was shipped with surgeline.
    pub file: Option<String>,
    /// SHA-256 of scenario, policy and overrides, in hexadecimal.
    pub sha256: String,
}

/// For a terminal.
#[must_use]
pub fn text(report: &CheckReport<'_>, color: bool, width: usize) -> String {
    text::page(&sections(report), color, width)
}

/// For a pull request.
#[must_use]
pub fn markdown(report: &CheckReport<'_>) -> String {
    let inputs = if is_quiet(report) { &[] } else { report.provenance.as_slice() };
    markdown::page(&sections(report), inputs)
}

/// For a browser.
#[must_use]
pub fn html(report: &CheckReport<'_>) -> String {
    let inputs = if is_quiet(report) { &[] } else { report.provenance.as_slice() };
    let standing = match report.result.verdict {
        Verdict::Pass => Standing::Met,
        Verdict::Inconclusive => Standing::Open,
        Verdict::Fail => Standing::Missed,
    };
    let topics = topics(report);
    let (before, after) = (&report.result.baseline, &report.result.candidate);
    let headlines = headlines_beside(("baseline", before), ("candidate", after));
    let commands = vec![("the check".to_owned(), report.command.clone())];
    let mut sections = Sections { headlines, commands, ..sections(report) };
    let arms = [("baseline", &*report.baseline.sha256), ("candidate", &*report.candidate.sha256)];
    sections.origin.insert(0, hashes(&arms));
    html::page(&Page { standing, sections: &sections, topics: &topics, inputs })
}

/// Its pictures.
#[must_use]
pub fn topics(report: &CheckReport<'_>) -> Vec<Topic> {
    let result = report.result;
    let mut topics = picture::gates(result, |judged| word(judged.verdict));
    if !is_quiet(report) {
        topics.extend(of_arms(&[
            Arm { name: "baseline", result: &result.baseline },
            Arm { name: "candidate", result: &result.candidate },
        ]));
    }
    topics
}

/// The verdict as a word.
#[must_use]
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Fail => "fail",
    }
}

/// The headline: the verdict, and why.
#[must_use]
pub fn sentence(report: &CheckReport<'_>) -> String {
    let result = report.result;
    if let StopReason::Halted(halt) = &result.stopped {
        return format!(
            "INCONCLUSIVE: not finished, {halt}, with {} of replications done.",
            pairs(result.pairs)
        );
    }
    let binding = |judged: &&Judged| judged.gate.level == Level::Fail;
    let with = |verdict: Verdict| -> Vec<&Judged> {
        result.gates.iter().filter(binding).filter(|judged| judged.verdict == verdict).collect()
    };
    let worst = with(result.verdict);
    match (result.verdict, worst.first()) {
        (Verdict::Pass, _) if is_unchanged(&result.contrast) => {
            "PASS: the candidate changes nothing.".to_owned()
        }
        (Verdict::Pass, _) => format!("PASS: {}.", passing(result)),
        (verdict, Some(first)) => {
            let further = match worst.len() - 1 {
                0 => String::new(),
                1 => ", and one more gate".to_owned(),
                more => format!(", and {more} more gates"),
            };
            let word = word(verdict).to_uppercase();
            let only = match (verdict, report.inconclusive) {
                (Verdict::Inconclusive, Level::Warn) => " (which only warns)",
                _ => "",
            };
            format!("{word}{only}: {}{further}.", finding(first, result))
        }
        (_, None) => "INCONCLUSIVE.".to_owned(),
    }
}

/// What a passing check may say of the change: the cost, which a reviewer asks for first.
fn passing(result: &CheckResult) -> String {
    let count = result.gates.len();
    let mut all = format!("all {count} gates hold");
    if count == 1 {
        "the gate holds".clone_into(&mut all);
    }
    let warned = result
        .gates
        .iter()
        .filter(|judged| judged.gate.level == Level::Warn && judged.verdict != Verdict::Pass);
    match warned.count() {
        0 => {}
        1 => all = "all gates that bind hold, one warns".to_owned(),
        more => all = format!("all gates that bind hold, {more} warn"),
    }
    let cost = result.contrast.number("cost_per_successful_task");
    match cost.filter(|cost| cost.change.is_certain()).and_then(|cost| moved(&cost.change)) {
        Some(moved) => format!("{all}; the cost per successful task {moved}"),
        None => all,
    }
}

/// What a gate found, in words, with what moved it.
#[must_use]
pub fn finding(judged: &Judged, result: &CheckResult) -> String {
    let gate = &judged.gate;
    let unit = Unit::of(gate.metric);
    let name = &gate.name;
    let because = || {
        let of = name.split('.').next().unwrap_or_default();
        let is_of_latency = name.ends_with("_latency");
        let shift = result.contrast.latency.iter().find(|shift| shift.task == of);
        let shift = shift.filter(|_| is_of_latency);
        // What has parts is the p95, or else the mean, which says so itself.
        let of = match shift {
            Some(shift) if !name.ends_with(".p95_latency") && !shift.p95_parts.is_empty() => {
                " of the p95"
            }
            _ => "",
        };
        let cause = shift.and_then(main_cause);
        cause.map_or_else(String::new, |cause| format!(", mainly {cause}{of}"))
    };
    let why = judged.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    match (&judged.test, gate.rule) {
        (Some(test), Rule::Change(_)) => {
            let unit = if test.is_relative { Unit::Share } else { unit.of_changes() };
            let found = signed(test.change, unit);
            let tolerated = match demands(gate) {
                true => format!("has to be {}", asked(gate)),
                false => format!("tolerated {}", tolerances(gate)),
            };
            let range = format!("{} to {}", signed(test.low, unit), signed(test.high, unit));
            let changes = if found.starts_with('×') { "is now" } else { "changes by" };
            match judged.verdict {
                Verdict::Inconclusive => format!(
                    "{name} {changes} {found} ({range}), {tolerated}: more pairs than {} would be \
                     needed{why}",
                    result.pairs
                ),
                _ => format!("{name} {changes} {found} ({range}), {tolerated}{}", because()),
            }
        }
        (_, Rule::Limit(..)) => {
            let found = limited(judged, unit).inline();
            let too = match was_missed_before(judged) {
                true if judged.verdict == Verdict::Fail => "; the baseline misses it, too",
                true => "; the baseline misses it",
                false => "",
            };
            format!("{name} is {found}, and has to be {}{too}{why}", asked(gate))
        }
        (None, Rule::Change(_)) => {
            let reason = judged.reason.as_deref();
            format!("{name}: {}", reason.unwrap_or("there is no number to judge"))
        }
    }
}

/// The candidate's number as it was judged beside a limit, with the interval that decided.
fn limited(judged: &Judged, unit: Unit) -> Cell {
    match &judged.test {
        Some(test) => Cell::of(&Estimate::with_interval(test.change, test.low, test.high), unit),
        None => Cell::of(&judged.change.after, unit),
    }
}

/// Whether the baseline's whole interval is on the wrong side, too.
fn was_missed_before(judged: &Judged) -> bool {
    let Rule::Limit(comparison, limit) = judged.gate.rule else { return false };
    let before = &judged.change.before;
    let ends = before.low.zip(before.high);
    ends.is_some_and(|(low, high)| !comparison.holds(low, limit) && !comparison.holds(high, limit))
}

/// What a gate asks, from its rule alone: `<= +2.0 % or +20.0 ms`, `<= 6.00 s`. A change has a sign
/// and a limit has none, as in the file.
#[must_use]
pub fn asked(gate: &Gate) -> String {
    match gate.rule {
        Rule::Limit(comparison, limit) => {
            format!("{} {}", comparison.symbol(), number(limit, Unit::of(gate.metric)))
        }
        Rule::Change(Tolerance { comparison, .. }) => {
            format!("{} {}", comparison.symbol(), tolerances(gate))
        }
    }
}

/// Whether a gate asks for a change and not for the absence of one.
fn demands(gate: &Gate) -> bool {
    let Rule::Change(Tolerance { comparison, relative, absolute }) = gate.rule else {
        return false;
    };
    let mut all = [relative, absolute].into_iter().flatten();
    all.all(|by| if comparison.is_ceiling() { by < 0.0 } else { by > 0.0 })
}

/// What a gate tolerates, all of it: of two, the one that allows more counts. Nothing of a limit.
fn tolerances(gate: &Gate) -> String {
    let Rule::Change(Tolerance { relative, absolute, .. }) = gate.rule else {
        return String::new();
    };
    let relative = relative.map(|by| tolerated(by, Unit::Share));
    let absolute = absolute.map(|by| tolerated(by, Unit::of(gate.metric).of_changes()));
    let both: Vec<String> = [relative, absolute].into_iter().flatten().collect();
    both.join(" or ")
}

/// A tolerated change. None at all has a sign, too: without one it would read as a limit.
fn tolerated(by: f64, unit: Unit) -> String {
    let sign = if by == 0.0 { "+" } else { "" };
    format!("{sign}{}", signed(by, unit))
}

/// Whether there is nothing to tell: no change, no noise.
fn is_quiet(report: &CheckReport<'_>) -> bool {
    report.result.verdict == Verdict::Pass && is_unchanged(&report.result.contrast)
}

fn sections(report: &CheckReport<'_>) -> Sections {
    let result = report.result;
    let quiet = is_quiet(report);
    let mut tables = Vec::new();
    if !quiet {
        tables.extend(contrast::numbers(&result.contrast, GATE));
        tables.extend(contrast::drivers(&result.contrast, GATE));
        tables.extend(contrast::examples(report.examples, GATE));
    }
    tables.retain(|table| !table.rows.is_empty());
    let name = &report.scenario.name;
    Sections {
        name: format!(
            "check of {name}: {} against {}",
            report.candidate.policy, report.baseline.policy
        ),
        question: None,
        sentence: sentence(report),
        banners: banners(report),
        open: if quiet { Vec::new() } else { vec![gates(result)] },
        tables,
        advice: if quiet { Vec::new() } else { advice(report) },
        origin: origin(report),
        ..Sections::default()
    }
}

fn banners(report: &CheckReport<'_>) -> Vec<String> {
    let mut all = Vec::new();
    if !report.result.repeats {
        all.push(
            "SELF-TEST FAILED: the baseline run twice differs from itself; no verdict counts."
                .to_owned(),
        );
    }
    all
}

/// All gates: those that bind first, the worst first, and what is asked of one number together.
fn gates(result: &CheckResult) -> Table {
    let headers = ["baseline", "candidate", "change", "has to be", "verdict"];
    let mut table = Table::new("Gates", &headers);
    let mut order: Vec<&Judged> = result.gates.iter().collect();
    let first_of = |name: &str| result.gates.iter().position(|judged| judged.gate.name == name);
    order.sort_by_key(|judged| {
        let warns = judged.gate.level == Level::Warn;
        (warns, std::cmp::Reverse(judged.verdict), first_of(&judged.gate.name))
    });
    for judged in order {
        let unit = Unit::of(judged.gate.metric);
        let Change { before, after, difference, .. } = &judged.change;
        // An interval stands where the gate looks: at the change, or at the candidate alone.
        let (after, change) = match (&judged.test, judged.gate.rule) {
            (_, Rule::Limit(..)) => (limited(judged, unit), Cell::plain("")),
            (Some(test), Rule::Change(_)) => (value(after, unit), tested(test, unit)),
            (None, Rule::Change(_)) => {
                (value(after, unit), change_cell(difference, unit.of_changes()))
            }
        };
        let asked = asked(&judged.gate);
        let verdict = Cell::plain(verdict_cell(judged));
        let cells = vec![value(before, unit), after, change, Cell::plain(asked), verdict];
        if let Some(reason) = &judged.reason {
            let note = format!("{}: {reason}", judged.gate.name);
            if !table.notes.contains(&note) {
                table.notes.push(note);
            }
        }
        table.row(judged.gate.name.as_str(), cells);
    }
    table.notes.extend(power(result));
    table
}

fn verdict_cell(judged: &Judged) -> String {
    match (judged.verdict, judged.gate.level) {
        (Verdict::Pass, _) => "✓ pass".to_owned(),
        (Verdict::Fail, Level::Fail) => "✗ FAIL".to_owned(),
        (Verdict::Fail, Level::Warn) => "! warns".to_owned(),
        (Verdict::Inconclusive, Level::Fail) => "? unsure".to_owned(),
        (Verdict::Inconclusive, Level::Warn) => "? unsure, warns".to_owned(),
    }
}

/// The change as it was judged, with its interval.
fn tested(test: &Test, unit: Unit) -> Cell {
    let unit = if test.is_relative { Unit::Share } else { unit.of_changes() };
    let (low, high) = (test.low, test.high);
    change_cell(&Estimate::with_interval(test.change, low, high), unit)
}

/// What the gates would have noticed.
fn power(result: &CheckResult) -> Option<String> {
    let of_gate = |judged: &Judged| {
        let test = judged.test.filter(|_| matches!(judged.gate.rule, Rule::Change(_)))?;
        let unit = Unit::of(judged.gate.metric).of_changes();
        let unit = if test.is_relative { Unit::Share } else { unit };
        Some(format!("{} {}", judged.gate.name, signed(test.detectable?, unit)))
    };
    let all: Vec<String> = result.gates.iter().filter_map(of_gate).collect();
    (!all.is_empty()).then(|| {
        format!(
            "with {} these changes would be found to be beyond tolerance in {:.0} of 100 cases: {}",
            pairs(result.pairs),
            result.assurance.power * 100.0,
            all.join(", ")
        )
    })
}

fn advice(report: &CheckReport<'_>) -> Vec<Advice> {
    let mut all: Vec<Advice> = Vec::new();
    let open = report.result.verdict == Verdict::Inconclusive;
    if open && !matches!(report.result.stopped, StopReason::Halted(_)) {
        all.push(Advice {
            message: format!("After {} a gate cannot tell.", pairs(report.result.pairs)),
            advice: Some(
                "Raise `most_pairs` of [check], make the horizon longer, or tolerate more.".into(),
            ),
        });
    }
    if let StopReason::Halted(halt) = &report.result.stopped {
        all.push(Advice {
            message: format!("The check was not finished: {halt}."),
            advice: Some("Raise the limit (`time` of [check]), or shorten the horizon.".into()),
        });
    }
    all.extend(report.notes.iter().map(|note| Advice::note(note)));
    all
}

fn origin(report: &CheckReport<'_>) -> Vec<String> {
    let result = report.result;
    let looks = match result.assurance.looks {
        1 => "one look".to_owned(),
        n => format!("at most {n} looks at the data"),
    };
    let mut lines = vec![
        format!(
            "{} of replications (at most {}), seed {}; both arms see the same requests; \
             intervals under Gates are one-sided and those that the verdicts rest on, {:.0} % for \
             the whole check by Holm's rule, {looks}; those under What changes are two-sided, 95 % \
             each by itself",
            pairs(result.pairs),
            result.most_pairs,
            result.baseline.seed,
            result.assurance.confidence * 100.0,
        ),
        match result.repeats {
            true => {
                "self-test: the baseline as its own candidate changes by exactly nothing".into()
            }
            false => "self-test: FAILED".into(),
        },
    ];
    lines.extend(common_numbers(&result.contrast));
    if !is_quiet(report) {
        lines.extend(no_example(report.examples));
    }
    lines.push(format!("surgeline {}", report.version));
    lines
}
