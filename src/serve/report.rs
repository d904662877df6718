//! The HTML report of a question: the page that the command line writes with `--html`.
//!
//! Invariants: the bytes are those of `surgeline run --html`, or with a pinned scenario of
//! `surgeline compare --html`, with the same overrides, seed and replications; what a limit cut short
//! is said in the page.
//!
//! Deliberately absent: other formats, which the command line has.

use super::answer;
use super::desk::Desk;
use super::question::{Question, Refusal, Variant};
use crate::commands::{compare, run_report};
use crate::limits::Watch;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use experiments::{Case, NoProgress, Plan, Runner, compare::compare as compared, run_calibrated};
use reports::command::Named;
use sim::Scenario;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Letters of a file's name at most, its ending left out.
const LONGEST_NAME: usize = 64;

/// A page to be kept as a file.
#[derive(Debug)]
pub(super) struct Page {
    file: String,
    html: String,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        // The name has letters that need no quoting.
        let kept_as = format!("attachment; filename=\"{}\"", self.file);
        let kind = "text/html; charset=utf-8".to_owned();
        ([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, kept_as)], self.html).into_response()
    }
}

/// The report of a question.
pub(super) fn report(
    question: &Question,
    desk: &Desk,
    unwanted: &Arc<AtomicBool>,
) -> Result<Page, Refusal> {
    let watch = Watch::begin_unless(&desk.settings.limits, Arc::clone(unwanted));
    // Whoever waits for a page has seen an answer: those who have not go first.
    let patient = desk.newcomer();
    patient.answered();
    let runner = |scenario: &Scenario, seed: u64, replication: u32| {
        desk.replicate((&watch, &patient), scenario, (seed, replication))
    };
    let case = question.variant.case()?;
    match &question.pinned {
        None => {
            let plan = answer::plan(question, &desk.settings, &case);
            alone(question, (&case, &plan), &watch, &runner)
        }
        Some(pinned) => {
            let before = pinned.case()?;
            let plan = answer::plan(question, &desk.settings, &before);
            let (seed, replications) = (question.seed, question.replications);
            let named = Named { seed, replications, ..pinned.source().named() };
            let arms = ((pinned, &before), (&question.variant, &case));
            beside(arms, named, &plan, &watch, &runner)
        }
    }
}

fn alone(
    question: &Question,
    (case, plan): (&Case, &Plan),
    watch: &Watch,
    runner: &Runner<'_>,
) -> Result<Page, Refusal> {
    let (scenario, judged) = (case.scenario(), &case.objectives);
    let result = run_calibrated(scenario, &case.uncertain, plan, judged, runner, &NoProgress);
    watch.audited()?;
    let result = result.map_err(answer::failed)?;
    let html = reports::html::render(&run_report(&case.resolved, &result), &question.command());
    Ok(Page { file: file_name(&case.resolved.name, ""), html })
}

fn beside(
    ((pinned, before), (variant, after)): ((&Variant, &Case), (&Variant, &Case)),
    named: Named,
    plan: &Plan,
    watch: &Watch,
    runner: &Runner<'_>,
) -> Result<Page, Refusal> {
    let result = compared((before, after), false, plan, runner, &NoProgress);
    watch.audited()?;
    let result = result.map_err(answer::failed)?;
    let examples = compare::examples((before, after), plan.seed, watch);
    let sources = (&pinned.source(), &variant.source());
    let report =
        compare::report(&result, &examples, (before, sources.0), (after, sources.1), named);
    let html = reports::compare::html(&report);
    Ok(Page { file: file_name(&after.resolved.name, "-compared"), html })
}

/// A file's name that needs no quoting anywhere, from what a scenario is called.
fn file_name(scenario: &str, ending: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let words: Vec<&str> =
        scenario.split(|c| !is_plain(c)).filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-");
    name.truncate(LONGEST_NAME);
    let name = if name.is_empty() { "report" } else { &name };
    format!("{name}{ending}.html")
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_name_of_a_file_is_plain() {
        assert_eq!(file_name("support-reply", "-compared"), "support-reply-compared.html");
        assert_eq!(file_name("../../etc/passwd", ""), "etc-passwd.html");
        assert_eq!(file_name("a \"b\"\r\nSet-Cookie: x=1", ""), "a-b-Set-Cookie-x-1.html");
        assert_eq!(file_name("\u{202e}…", ""), "report.html");
        assert_eq!(file_name(&"é1".repeat(200), "").len(), 64 + 5);
    }
}
