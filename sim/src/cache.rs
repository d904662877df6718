//! Caches of answers and of tool results: hit rates come out of the queries' popularity.
//!
//! [`QuerySampler`] says what is asked and how queries lie to each other; [`SemanticCache`] answers
//! from what was asked before, [`ExactCache`] from the very same key. Both hold their entries in one
//! kind of store, so that life, capacity and eviction mean the same for both.
//!
//! Invariants: no look-up or insertion is carried out at an instant before the last one; a cache
//! never holds more entries than its capacity, and memory follows the entries; results depend on
//! the calls and, for random eviction, on the run's key.
//!
//! Deliberately absent: the engine's prefix cache (see `engine::kv_cache`) and a provider's prompt
//! cache (see `backends`).

mod exact;
mod query;
mod semantic;
mod store;

pub use exact::ExactCache;
pub use query::{Query, QuerySampler};
pub use semantic::{CachedAnswer, Hit, SemanticCache};
pub use store::CacheCounts;

use crate::units::Span;

/// What users ask: a popularity law over topics, and how queries about them lie to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuerySpec {
    /// Different things that are asked; at least 1.
    pub topics: u32,
    /// Zipf exponent of their popularity; 0 = all alike.
    pub zipf: f64,
    /// Ways in which one topic is put word for word; at least 1, all alike.
    pub phrasings: u32,
    /// Topics that are close enough to be confused lie in groups of this size; at least 1.
    pub neighbours: u32,
    /// Mean cosine similarity of two queries about one topic, in (0, 1).
    pub similarity: f64,
    /// Mean cosine similarity of two queries about neighbouring topics, below `similarity`.
    pub neighbour_similarity: f64,
    /// Standard deviation of either, at most [`QuerySpec::widest_spread`].
    pub spread: f64,
}

/// A semantic cache in front of model calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SemanticCacheSpec {
    /// Cosine similarity from which a cached answer is served.
    pub similarity_threshold: f64,
    /// Life of an entry.
    pub ttl: Span,
    /// Entries; at least 1.
    pub capacity: u32,
    /// Who goes when it is full.
    pub eviction: Eviction,
    /// Time a look-up takes, hit or miss.
    pub lookup: Span,
}

/// A cache by exact key, for answers or tool results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactCacheSpec {
    /// Life of an entry.
    pub ttl: Span,
    /// Entries; at least 1.
    pub capacity: u32,
    /// Who goes when it is full.
    pub eviction: Eviction,
    /// Time a look-up takes, hit or miss.
    pub lookup: Span,
}

/// Who leaves a full cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Eviction {
    /// The least recently used.
    #[default]
    Lru,
    /// The oldest.
    Fifo,
    /// Any.
    Random,
}

#[cfg(test)]
mod tests;
