//! What machines of continuous integration read of a check: JUnit and GitHub's annotations.
//!
//! Invariants: every text that came from a file is escaped, so that no name can become markup or a
//! command; no more annotations are written than GitHub shows ([`MOST_ANNOTATIONS`] of a level), and
//! the last one says how many there were; a summary is cut before GitHub refuses it.
//!
//! Deliberately absent: talking to anybody.

use crate::check::{CheckReport, finding, sentence, word};
use experiments::gate::{Judged, Level, Verdict};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;

/// Annotations of one level that GitHub shows of a step (actions/toolkit, docs/problem-matchers.md).
pub const MOST_ANNOTATIONS: usize = 10;
/// Bytes of a step's summary that GitHub takes.
pub const MOST_SUMMARY: usize = 1 << 20;

/// The check as JUnit's XML: one case per gate. JUnit knows no warnings: a gate that only warns
/// passes, and says so in its output.
///
/// # Errors
/// Never in practice: writing into memory.
pub fn junit(report: &CheckReport<'_>) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(report.scenario.name.as_str());
    for judged in &report.result.gates {
        suite.add_test_case(case(judged, report));
    }
    let mut all = quick_junit::Report::new("surgeline check");
    all.add_test_suite(suite);
    all.to_string()
}

fn case(judged: &Judged, report: &CheckReport<'_>) -> TestCase {
    let message = finding(judged, report.result);
    let fails = does_fail(judged, report.inconclusive);
    let mut status = match (judged.verdict, fails) {
        (Verdict::Fail, true) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (Verdict::Inconclusive, true) => TestCaseStatus::non_success(NonSuccessKind::Error),
        _ => TestCaseStatus::success(),
    };
    if fails {
        status.set_type(word(judged.verdict)).set_message(message.as_str());
    }
    let mut case = TestCase::new(format!("{} {}", judged.gate.name, judged.gate.text), status);
    case.set_classname(format!("surgeline.{}", report.scenario.name));
    let prefix = match (judged.verdict, fails) {
        (Verdict::Pass, _) | (_, true) => "",
        (Verdict::Fail | Verdict::Inconclusive, false) => "warning: ",
    };
    case.set_system_out(format!("{prefix}{message}"));
    case
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
/// for each other one that does not pass, and the headline as a notice where something changed.
#[must_use]
pub fn annotations(report: &CheckReport<'_>) -> String {
    let open = report.result.gates.iter().filter(|judged| judged.verdict != Verdict::Pass);
    let (errors, warnings): (Vec<&Judged>, Vec<&Judged>) =
        open.partition(|judged| does_fail(judged, report.inconclusive));
    let mut out = String::new();
    for (level, gates) in [("error", errors), ("warning", warnings)] {
        let shown = if gates.len() > MOST_ANNOTATIONS { MOST_ANNOTATIONS - 1 } else { gates.len() };
        for judged in &gates[..shown] {
            let title = format!("{}: {}", word(judged.verdict), judged.gate.name);
            command(&mut out, level, &title, report, &finding(judged, report.result));
        }
        if shown < gates.len() {
            let title = format!("{} more gates", gates.len() - shown);
            let names: Vec<&str> = gates[shown..].iter().map(|g| g.gate.name.as_str()).collect();
            command(&mut out, level, &title, report, &names.join(", "));
        }
    }
    out
}

/// `::error title=…,file=…::message`.
fn command(out: &mut String, level: &str, title: &str, report: &CheckReport<'_>, message: &str) {
    let file = &report.candidate.policy;
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "::{level} title={},file={}::{}",
        property(title),
        property(file),
        data(message)
    );
}

/// A message as a workflow command takes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property likewise: it ends at a colon or a comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The Markdown of a check, cut where GitHub would refuse all of it.
#[must_use]
pub fn summary(report: &CheckReport<'_>) -> String {
    let whole = crate::check::markdown(report);
    if whole.len() < MOST_SUMMARY {
        return whole;
    }
    format!("## {}\n\nThe details are too long for a summary; see the JSON.\n", sentence(report))
}
