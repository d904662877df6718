//! Warnings and notes as one list for people: what is wrong, then what to do.
//!
//! Invariant: the order is the one the reader needs: what voids the result comes first, as the
//! result has it, and notes from loading follow.

use crate::report::Report;
use experiments::Warning;

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub message: String,
    /// What to do about it; a note from loading says that itself.
    pub advice: Option<String>,
}

/// Everything a reader should know.
pub(crate) fn list(report: &Report<'_>) -> Vec<Advice> {
    let found = report.result.warnings.iter().map(|warning| Advice {
        message: warning.message(),
        advice: Some(warning.advice().into()),
    });
    let noted = report.notes.iter().map(|note| Advice { message: note.clone(), advice: None });
    found.chain(noted).collect()
}

/// What has to stand above every number, because it changes what all of them mean.
pub(crate) fn banners(report: &Report<'_>) -> Vec<String> {
    report
        .result
        .warnings
        .iter()
        .filter_map(|warning| {
            match warning {
            Warning::AuditFailed { .. } => Some(
                "AUDIT FAILED: the simulator contradicts itself; do not use these numbers.".into(),
            ),
            Warning::Unstable => Some(
                "UNSTABLE: the backlog grows as long as the run lasts, so latencies have no value."
                    .into(),
            ),
            Warning::Metastable => Some(
                "METASTABLE: a disturbance that is over leaves the system stuck, so latencies have \
                 no value."
                    .into(),
            ),
            Warning::Interrupted { finished } => {
                Some(format!("INTERRUPTED: partial results, replications finished: {finished}."))
            }
            Warning::LimitReached { finished, limit } => Some(format!(
                "STOPPED AT {limit}: partial results, replications finished: {finished}."
            )),
            _ => None,
        }
        })
        .collect()
}
