//! `[caching]`: answers by similarity, answers by exact key, results of tools.
//!
//! Invariants: a life is written once, as `ttl` or in seconds.
//!
//! Deliberately absent: what is asked, which is the task's (see `file`).

use crate::kinds::{Choice, Count, DURATION, Flag, LENGTH_OF_TIME, Number, Or, Whole};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::Reader;
use sim::cache::Eviction;
use sim::units::Span;

/// `[caching]`.
#[derive(Default)]
pub(crate) struct CachingFile {
    pub(crate) semantic: Option<SemanticFile>,
    pub(crate) exact: Option<CacheFile>,
    pub(crate) tools: Vec<(At<String>, CacheFile)>,
}

/// A cache of answers by similarity.
pub(crate) struct SemanticFile {
    pub(crate) similarity_threshold: Option<At<f64>>,
    pub(crate) cache: CacheFile,
}

/// What all caches have.
pub(crate) struct CacheFile {
    pub(crate) enabled: Option<At<bool>>,
    /// The longest span when entries do not age; `None` when it was wrong.
    pub(crate) ttl: Option<Span>,
    pub(crate) capacity: Option<At<u32>>,
    pub(crate) eviction: Option<At<Eviction>>,
    pub(crate) lookup: Option<At<Span>>,
    pub(crate) site: Site,
}

pub(super) fn caching(r: &mut Reader<'_>) -> CachingFile {
    let doc = "Answers to questions that are similar to earlier ones.";
    let short = r.table("semantic", doc, semantic);
    let long = r.table("semantic_cache", "The same as `semantic`.", semantic);
    if r.has("semantic") && r.has("semantic_cache") {
        let message = "`semantic` and `semantic_cache` are one key; write one of them";
        r.refuse(ProblemKind::Conflict, message);
    }
    CachingFile {
        semantic: short.or(long),
        exact: r.table("exact", "Answers to the very same questions.", cache),
        tools: r.named("tools", "Results of each tool, for the very same question.", cache),
    }
}

fn semantic(r: &mut Reader<'_>) -> SemanticFile {
    SemanticFile {
        similarity_threshold: r.need(
            "similarity_threshold",
            Number::positive(1.0),
            "Cosine similarity from which a cached answer is served.",
        ),
        cache: cache(r),
    }
}

fn cache(r: &mut Reader<'_>) -> CacheFile {
    const EVICTIONS: Choice<Eviction> =
        Choice(&[("lru", Eviction::Lru), ("fifo", Eviction::Fifo), ("random", Eviction::Random)]);
    let seconds = Whole { min: 1, max: 8_640_000 };
    let ttl_seconds = r.may("ttl_seconds", seconds, "Life of an entry in whole seconds.");
    let ttl = if r.has("ttl_seconds") {
        if r.has("ttl") {
            let message = "`ttl` and `ttl_seconds` say the same; write one of them";
            r.refuse(ProblemKind::Conflict, message);
        }
        ttl_seconds.map(|seconds| Span::from_secs(seconds.value.unsigned_abs()))
    } else {
        let doc = "Life of an entry; \"none\": it does not age.";
        let ttl = r.or("ttl", Or("none", LENGTH_OF_TIME), "none", doc);
        ttl.map(|ttl| ttl.value.unwrap_or(Span::MAX))
    };
    CacheFile {
        enabled: r.or("enabled", Flag, "true", "Whether there is this cache."),
        ttl,
        capacity: r.or("capacity", Count { min: 1, max: 10_000_000 }, "10000", "Entries."),
        eviction: r.or("eviction", EVICTIONS, "lru", "Who leaves when it is full."),
        lookup: r.or("lookup", DURATION, "0s", "Time that a look-up takes, hit or miss."),
        site: r.site().clone(),
    }
}
