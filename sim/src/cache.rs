//! Caches of answers and of tool results: hit rates come out of the queries' popularity.
//!
//! Deliberately absent: the engine's prefix cache (see `engine::kv_cache`) and a provider's prompt
//! cache (see `backends`).

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
    /// Standard deviation of either.
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
