//! Warnings and notes as one list for people: what is wrong, then what to do.
//!
//! Invariant: the order is the one the reader needs: what voids the result comes first, as the
//! result has it, and notes from loading follow.

use crate::format::count;
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

impl Advice {
    /// What a warning says.
    pub(crate) fn of(warning: &Warning) -> Advice {
        Advice { message: warning.message(), advice: Some(warning.advice().into()) }
    }

    /// What says itself what to do.
    pub(crate) fn note(text: &str) -> Advice {
        Advice { message: text.to_owned(), advice: None }
    }
}

/// Everything a reader should know.
pub(crate) fn list(report: &Report<'_>) -> Vec<Advice> {
    let is_scarce = |warning: &&Warning| matches!(warning, Warning::QuantileNotSupported { .. });
    let warnings = &report.result.warnings;
    let scarce: Vec<&Warning> = warnings.iter().filter(is_scarce).collect();
    // What many kinds of task lack is said once, where the first of them would say it.
    let is_said = |warning: &&Warning| is_scarce(warning) && !std::ptr::eq(*warning, scarce[0]);
    let found = warnings.iter().filter(|warning| !is_said(warning)).map(|warning| {
        match (is_scarce(&warning), scarce.len()) {
            (true, 2..) => Advice { message: scarcity(&scarce), ..Advice::of(warning) },
            _ => Advice::of(warning),
        }
    });
    found.chain(report.notes.iter().map(|note| Advice::note(note))).collect()
}

/// Quantiles that need more values than there are, in a sentence.
fn scarcity(scarce: &[&Warning]) -> String {
    let each = scarce.iter().filter_map(|warning| match warning {
        Warning::QuantileNotSupported { metric, values, needed } => {
            Some(format!("{metric} ({} of {})", count(*values), count(*needed)))
        }
        _ => None,
    });
    let each: Vec<String> = each.collect();
    format!("These quantiles have fewer values than they need: {}.", each.join(", "))
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
