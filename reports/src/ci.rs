//! What machines of continuous integration read of a check: JUnit and GitHub's annotations.
//!
//! Invariants: every text that came from a file is escaped, so that no name can become markup or a
//! command; no more annotations are written than GitHub shows ([`MOST_ANNOTATIONS`] of a level), and
//! the last one says how many there were; a summary is cut before GitHub refuses it; a check that was
//! not finished never looks like one that passed.
//!
//! Deliberately absent: talking to anybody.

use crate::check::{CheckReport, asked, finding, sentence, word};
use crate::format::steers;
use crate::markdown::escaped;
use experiments::StopReason;
use experiments::gate::{Judged, Level, Verdict};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;

/// Annotations of one level that GitHub shows of a step (actions/toolkit, docs/problem-matchers.md).
pub const MOST_ANNOTATIONS: usize = 10;
/// Bytes of a step's summary that GitHub takes.
pub const MOST_SUMMARY: usize = 1 << 20;

/// The check as JUnit's XML: one case per gate. JUnit knows no warnings: a gate that only warns
/// passes, and says so in its output. A check that was not finished has one more case, an error.
///
/// # Errors
/// Never in practice: writing into memory.
pub fn junit(report: &CheckReport<'_>) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(plain(&report.scenario.name));
    for judged in &report.result.gates {
        suite.add_test_case(case(judged, report));
    }
    if is_partial(report) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("stopped").set_message(plain(&sentence(report)));
        suite.add_test_case(named("the check is finished", status, report));
    }
    let mut all = quick_junit::Report::new("surgeline check");
    all.add_test_suite(suite);
    // The schema of Jenkins (junit-10.xsd) knows no such attribute of the whole, and no gate is
    // ever skipped. Its first occurrence is that of the whole.
    Ok(all.to_string()?.replacen(" skipped=\"0\"", "", 1))
}

fn case(judged: &Judged, report: &CheckReport<'_>) -> TestCase {
    let message = plain(&finding(judged, report.result));
    let fails = does_fail(judged, report.inconclusive);
    let mut status = match (judged.verdict, fails) {
        (Verdict::Fail, true) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (Verdict::Inconclusive, true) => TestCaseStatus::non_success(NonSuccessKind::Error),
        _ => TestCaseStatus::success(),
    };
    if fails {
        status.set_type(word(judged.verdict)).set_message(message.as_str());
    }
    // A gate with a change and a limit is two cases, which those who count them tell by their names.
    let name = format!("{} {}", judged.gate.name, asked(&judged.gate));
    let mut case = named(&name, status, report);
    let prefix = match (judged.verdict, fails) {
        (Verdict::Pass, _) | (_, true) => "",
        (Verdict::Fail | Verdict::Inconclusive, false) => "warning: ",
    };
    case.set_system_out(format!("{prefix}{message}"));
    case
}

fn named(name: &str, status: TestCaseStatus, report: &CheckReport<'_>) -> TestCase {
    let mut case = TestCase::new(plain(name), status);
    case.set_classname(format!("surgeline.{}", plain(&report.scenario.name)));
    case
}

fn is_partial(report: &CheckReport<'_>) -> bool {
    matches!(report.result.stopped, StopReason::Halted(_))
}

/// Whether a gate keeps the check from passing.
fn does_fail(judged: &Judged, inconclusive: Level) -> bool {
    judged.gate.level == Level::Fail
        && match judged.verdict {
            Verdict::Pass => false,
            Verdict::Fail => true,
            Verdict::Inconclusive => inconclusive == Level::Fail,
        }
}

/// Workflow commands for GitHub: an error for each gate that keeps the check from passing, a warning
/// for each other one that does not pass; nothing where all is well. A check that was not finished
/// is an error of its own.
#[must_use]
pub fn annotations(report: &CheckReport<'_>) -> String {
    let open = report.result.gates.iter().filter(|judged| judged.verdict != Verdict::Pass);
    let (errors, warnings): (Vec<&Judged>, Vec<&Judged>) =
        open.partition(|judged| does_fail(judged, report.inconclusive));
    let of = |judged: &&Judged| {
        let word = match (judged.verdict, judged.gate.level) {
            (Verdict::Fail, Level::Warn) => "warns",
            (verdict, _) => word(verdict),
        };
        let title = format!("{word}: {}", judged.gate.name);
        (title, finding(judged, report.result))
    };
    let stopped = is_partial(report).then(|| ("not finished".to_owned(), sentence(report)));
    let errors: Vec<(String, String)> = stopped.into_iter().chain(errors.iter().map(of)).collect();
    let warnings: Vec<(String, String)> = warnings.iter().map(of).collect();
    let mut out = String::new();
    for (level, all) in [("error", errors), ("warning", warnings)] {
        let most = if all.len() > MOST_ANNOTATIONS { MOST_ANNOTATIONS - 1 } else { all.len() };
        let (shown, further) = all.split_at(most);
        for (title, message) in shown {
            command(&mut out, level, title, report, message);
        }
        if !further.is_empty() {
            let title = format!("{} more gates", further.len());
            let titles: Vec<&str> = further.iter().map(|(title, _)| title.as_str()).collect();
            command(&mut out, level, &title, report, &titles.join(", "));
        }
    }
    out
}

/// `::error title=…,file=…::message`.
fn command(out: &mut String, level: &str, title: &str, report: &CheckReport<'_>, message: &str) {
    let file = report.candidate.file.as_deref();
    let file = file.map_or_else(String::new, |file| format!(",file={}", property(file)));
    // Writing into a string cannot fail.
    let _ = writeln!(out, "::{level} title={}{file}::{}", property(title), data(message));
}

/// A message as a workflow command takes it.
fn data(text: &str) -> String {
    let text: String = text.chars().map(|c| if keeps(c) { c } else { STRANGE }).collect();
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property likewise: it ends at a colon or a comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// What stands for a character that would act on what shows it.
const STRANGE: char = char::REPLACEMENT_CHARACTER;

fn keeps(c: char) -> bool {
    matches!(c, '\r' | '\n') || !steers(c)
}

/// A text of one line with nothing in it that acts on what shows it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { STRANGE } else { c }).collect()
}

/// A document for the log of a step, none of whose lines GitHub's runner takes for a command. It
/// looks for `::` where a line begins and for `##[` anywhere (actions/runner, ActionCommand.cs). A
/// space of no width keeps them from being found.
#[must_use]
pub fn for_log(document: &str) -> String {
    let line = |line: &str| {
        let begun = line.trim_start();
        let indent = &line[..line.len() - begun.len()];
        let rest = begun.strip_prefix("::").map(|rest| format!("{indent}:\u{200b}:{rest}"));
        rest.unwrap_or_else(|| line.to_owned()).replace("##[", "##\u{200b}[")
    };
    document.split_inclusive('\n').map(line).collect()
}

/// The Markdown of a check, cut where GitHub would refuse all of it.
#[must_use]
pub fn summary(report: &CheckReport<'_>) -> String {
    let whole = crate::check::markdown(report);
    if whole.len() < MOST_SUMMARY {
        return whole;
    }
    let sentence = escaped(&sentence(report));
    format!("## {sentence}\n\nThe details are too long for a summary; see the JSON.\n")
}
