//! Who sends requests and what calls are for: `[intents.NAME]`, `[attributes.NAME]`, and what
//! `[traffic.NAME]` says of tenants, patience and memory.
//!
//! Deliberately absent: what tenants pay (a matter of plans) and what conditions do with attributes.

use super::{Lengths, duration_dist, lengths};
use crate::kinds::{Choice, Count, Flag, NAME, Number, TOKENS};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::Reader;
use sim::dist::DurationDist;

/// `[intents.NAME]`.
pub(crate) struct IntentFile {
    pub(crate) confidence: Option<At<f64>>,
    pub(crate) consistency: Option<At<f64>>,
    /// By model.
    pub(crate) quality: Vec<(At<String>, QualityFile)>,
}

/// How well a model does.
pub(crate) struct QualityFile {
    pub(crate) success: Option<At<f64>>,
    pub(crate) unsafe_rate: Option<At<f64>>,
}

/// `[attributes.NAME]`, or a source's own law of it.
pub(crate) struct AttributeFile {
    pub(crate) law: Option<AttributeLawFile>,
    /// Whether a tenant keeps its value.
    pub(crate) per_tenant: Option<At<bool>>,
}

/// The law of an attribute.
pub(crate) enum AttributeLawFile {
    /// Words and weights.
    Words(Vec<(At<String>, At<f64>)>),
    Uniform(f64, f64),
}

/// What a source says of its users.
pub(crate) struct PeopleFile {
    pub(crate) tenants: Option<TenantsFile>,
    pub(crate) attributes: Vec<(At<String>, AttributeFile)>,
    pub(crate) patience: Option<DurationDist>,
    pub(crate) abandoned_work_goes_on: Option<At<bool>>,
    pub(crate) resubmit: Option<ResubmitFile>,
}

/// Tenants.
pub(crate) struct TenantsFile {
    pub(crate) count: At<u32>,
    pub(crate) zipf: f64,
    pub(crate) plan: Option<At<String>>,
}

/// Asking again.
pub(crate) struct ResubmitFile {
    pub(crate) max: u32,
    pub(crate) probability: f64,
    pub(crate) pause: DurationDist,
}

/// Conversations.
pub(crate) struct SessionsFile {
    pub(crate) turns: Lengths,
    pub(crate) think: DurationDist,
    pub(crate) memory: Option<MemoryFile>,
}

/// When a conversation is condensed, and to how much.
pub(crate) struct MemoryFile {
    pub(crate) after_tokens: Option<At<u32>>,
    pub(crate) every: Option<At<u32>>,
    pub(crate) ratio: Option<At<f64>>,
    pub(crate) site: Site,
}

pub(super) fn intent(r: &mut Reader<'_>) -> IntentFile {
    IntentFile {
        confidence: r.or(
            "confidence",
            Number::within(0.0, 0.999),
            "0.5",
            "How much the confidence signal knows of the answer's quality; 0: nothing.",
        ),
        consistency: r.or(
            "consistency",
            Number::within(0.0, 1.0),
            "0.5",
            "How alike models and attempts fare with one question; 1: asking again helps nothing.",
        ),
        quality: r.named(
            "quality",
            "How well each model does; one left out is always right.",
            |r| {
                let share = Number::within(0.0, 1.0);
                QualityFile {
                    success: r.need("success", share, "Probability of a right answer."),
                    unsafe_rate: r.or(
                        "unsafe",
                        share,
                        "0.0",
                        "Probability that acting on its answer would do harm.",
                    ),
                }
            },
        ),
    }
}

pub(super) fn attribute(r: &mut Reader<'_>) -> AttributeFile {
    let words = r.named_values(
        "values",
        Number::within(0.0, 1e9),
        "Words and their weights, `{ free = 0.8, enterprise = 0.2 }`.",
    );
    let ends = r.values(
        "uniform",
        Number::within(-1e9, 1e9),
        "Numbers between these two, `[0, 1]`, all alike.",
    );
    let per_tenant = r.may(
        "per",
        Choice(&[("task", false), ("tenant", true)]),
        "Whether it is drawn for each task or once for each tenant. Default: task.",
    );
    let both = r.has("values") && r.has("uniform");
    let law = match (ends.as_slice(), both) {
        ([low, high], false) if low.value <= high.value => {
            Some(AttributeLawFile::Uniform(low.value, high.value))
        }
        ([], false) if words.iter().any(|(_, weight)| weight.value > 0.0) => {
            Some(AttributeLawFile::Words(words))
        }
        _ => {
            let message = "an attribute has either `values` with a positive weight or \
                           `uniform = [low, high]`";
            r.refuse_keys(&["values", "uniform"], ProblemKind::Conflict, message);
            None
        }
    };
    AttributeFile { law, per_tenant }
}

pub(super) fn people(r: &mut Reader<'_>) -> PeopleFile {
    PeopleFile {
        tenants: r
            .table("tenants", "Customers among whom the tasks are divided.", tenants)
            .flatten(),
        attributes: r.named(
            "attributes",
            "Laws of attributes for this source, in place of [attributes.NAME].",
            attribute,
        ),
        patience: r
            .table(
                "patience",
                "How long a user waits for a task. Default: for ever.",
                duration_dist,
            )
            .flatten(),
        abandoned_work_goes_on: r.may(
            "abandoned_work_goes_on",
            Flag,
            "Whether work goes on after its user has left. Default: false, it is cancelled.",
        ),
        resubmit: r
            .table("resubmit", "Asking again after a failure or in impatience.", resubmit)
            .flatten(),
    }
}

fn tenants(r: &mut Reader<'_>) -> Option<TenantsFile> {
    let count = r.need("count", Count { min: 1, max: 1_000_000 }, "How many there are.");
    let zipf = r.or(
        "zipf",
        Number::within(0.0, 10.0),
        "0.0",
        "Zipf exponent of their shares of the tasks; 0: all alike.",
    );
    let plan = r.may("plan", NAME, "What they pay: a [plans.NAME].");
    Some(TenantsFile { count: count?, zipf: zipf?.value, plan })
}

fn resubmit(r: &mut Reader<'_>) -> Option<ResubmitFile> {
    let max =
        r.need("max", Count { min: 1, max: 1_000 }, "Submissions in all, the first included.");
    let probability =
        r.or("probability", Number::within(0.0, 1.0), "1.0", "Probability of asking again.");
    let pause = r.need_table("pause", "Pause before asking again.", duration_dist);
    Some(ResubmitFile { max: max?.value, probability: probability?.value, pause: pause.flatten()? })
}

pub(super) fn sessions(r: &mut Reader<'_>) -> Option<SessionsFile> {
    let turns = r.need_table("turns", "Turns of a session, as a law of a count.", lengths);
    let think = r.need_table("think", "Pause between answer and next turn.", duration_dist);
    let memory = r.table(
        "memory",
        "When the conversation is condensed. Default: never, each turn repeats all of it.",
        |r| MemoryFile {
            after_tokens: r.may(
                "after_tokens",
                TOKENS,
                "After a turn that makes prompt and answer together longer than this.",
            ),
            every: r.may("every", Count { min: 1, max: 10_000 }, "After every so many turns."),
            ratio: r.need(
                "ratio",
                Number::positive(1.0),
                "Length of the summary as a share of what it sums up.",
            ),
            site: r.site().clone(),
        },
    );
    let (turns, think) = turns.flatten().zip(think.flatten())?;
    Some(SessionsFile { turns, think, memory })
}
