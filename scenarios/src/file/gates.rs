//! `[gates]` and `[check]`: what a change has to keep, and how a check is made.
//!
//! Invariants: the keys of [`GATES_KEYS`] may stand in a scenario or in a file of their own.
//!
//! Deliberately absent: the numbers that gates name, and the grammar of their texts (see `resolve`).

use super::ObjectiveFile;
use crate::kinds::{Choice, Count, Duration, Number, Text};
use crate::problem::{At, Site};
use crate::reader::Reader;
use crate::resolved::Level;
use sim::units::Span;

/// Keys of a file of gates.
pub(crate) const GATES_KEYS: [&str; 2] = ["gates", "check"];

/// `[check]`.
pub(crate) struct CheckSettingsFile {
    pub(crate) pairs: Option<At<u32>>,
    pub(crate) most_pairs: Option<At<u32>>,
    pub(crate) confidence: Option<At<f64>>,
    pub(crate) power: Option<At<f64>>,
    pub(crate) inconclusive: Option<At<Level>>,
    pub(crate) time: Option<At<Span>>,
    pub(crate) site: Site,
}

/// Pairs of runs, one of the baseline and one of the candidate.
const PAIRS: Count = Count { min: 10, max: 1_000 };
/// A probability that is worth relying on.
const SURENESS: Number = Number::within(0.5, 0.999);
/// What a finding does to a check.
const LEVEL: Choice<Level> = Choice(&[("fail", Level::Fail), ("warn", Level::Warn)]);

/// The gates; `None` where the table is not written.
pub(super) fn gates(r: &mut Reader<'_>) -> Option<Vec<ObjectiveFile>> {
    let doc = "What `check` keeps, against the baseline or at all: `\"task.p95_latency\" = \"<= +2% \
               or +20ms, <= 6s, else warn\"`. Default: p95_latency, success_rate and cost; the \
               objectives always.";
    let written = r.has("gates");
    let leaves = r.leaves("gates", Text { longest: 120 }, doc).into_iter();
    let gates =
        leaves.map(|(keys, target)| ObjectiveFile { name: keys.join("."), target }).collect();
    written.then_some(gates)
}

pub(super) fn check(r: &mut Reader<'_>) -> CheckSettingsFile {
    CheckSettingsFile {
        pairs: r.or("pairs", PAIRS, "10", "Pairs of runs to begin with."),
        most_pairs: r.may(
            "most_pairs",
            PAIRS,
            "Pairs after which a gate that is still undecided stays so. Default: 40, or `pairs` \
             where that is more.",
        ),
        confidence: r.or(
            "confidence",
            SURENESS,
            "0.95",
            "Confidence of the bounds that decide a gate.",
        ),
        power: r.or(
            "power",
            SURENESS,
            "0.9",
            "Power with which the change is found that a gate is said to detect.",
        ),
        inconclusive: r.or("inconclusive", LEVEL, "fail", "What a gate does that stays undecided."),
        time: r.or(
            "time",
            Duration { min: Span::from_secs(1), max: Span::from_secs(86_400) },
            "60s",
            "How long a check may take.",
        ),
        site: r.site().clone(),
    }
}
