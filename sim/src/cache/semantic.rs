//! A cache that answers what was asked before in other words, or what it takes for that.
//!
//! A look-up finds the most similar entry; if its similarity reaches the threshold, it is served.
//! The entry may be about a neighbouring topic: a hit that is wrong, whatever its answer was worth
//! there. Only the neighbourhood of the query is searched. Queries of different neighbourhoods are
//! orthogonal (see [`Query`]), so this finds the nearest entry for every threshold above 0; at a
//! threshold of 0 or less it finds the nearest of the neighbourhood.
//!
//! Invariants: those of the store; one entry for a topic and phrasing; of equally near entries the
//! one stored last is served. A threshold of 1 makes it an exact cache, one above 1 (or one that is
//! no number) a cache that never answers.
//!
//! Deliberately absent: the time a look-up takes ([`SemanticCacheSpec::lookup`]), which the caller
//! waits; approximate search, which misses some of the nearest; and storing answers that came out
//! of the cache, which is the caller's decision.

use super::query::Place;
use super::store::{Limits, Store};
use super::{CacheCounts, Query, SemanticCacheSpec};
use crate::units::{Time, Tokens};

/// An answer of a model, as a cache keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedAnswer {
    /// Whether it was right for the query it was given to.
    pub right: bool,
    /// Whether acting on it would do harm.
    pub harmful: bool,
    /// Tokens it has.
    pub output: Tokens,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit<A = CachedAnswer> {
    /// Whether the entry is about the topic that was asked for.
    pub right: bool,
    /// Cosine similarity of the entry's query and the one asked.
    pub similarity: f64,
    /// The entry's answer.
    pub answer: A,
}

/// Answers by similarity.
#[derive(Clone, Debug)]
pub struct SemanticCache<A = CachedAnswer> {
    threshold: f64,
    store: Store<Place, A>,
}

impl<A: Copy> SemanticCache<A> {
    /// An empty cache; `run_key` chooses the victims of random eviction.
    #[must_use]
    pub fn new(spec: &SemanticCacheSpec, run_key: u64) -> SemanticCache<A> {
        let SemanticCacheSpec { similarity_threshold, ttl, capacity, eviction, lookup: _ } = *spec;
        let limits = Limits { ttl, capacity, eviction };
        SemanticCache { threshold: similarity_threshold, store: Store::new(limits, run_key) }
    }

    /// The nearest answer from the threshold on: the cache's own, or another for this once.
    pub fn look_up(&mut self, now: Time, query: &Query, threshold: Option<f64>) -> Option<Hit<A>> {
        self.store.expire(now);
        self.store.counts.lookups += 1;
        let mut least = threshold.unwrap_or(self.threshold);
        let mut nearest = None;
        for (slot, place) in self.store.find(query.neighbourhood) {
            // Most neighbours are out of reach of the threshold whatever their words.
            if least > query.at_most_in(place) && query.place() != place {
                continue;
            }
            let similarity = query.similarity_in(place);
            let nearer = if nearest.is_none() { similarity >= least } else { similarity > least };
            if nearer {
                least = similarity;
                nearest = Some((slot, place.topic == query.place().topic));
            }
            if similarity >= 1.0 {
                break;
            }
        }
        let (slot, right) = nearest?;
        self.store.touch(slot);
        self.store.counts.hits += 1;
        self.store.counts.wrong_hits += u64::from(!right);
        Some(Hit { right, similarity: least, answer: self.store.value(slot) })
    }

    /// Stores the answer to a query; one to the same words gives way, and a new life begins.
    pub fn insert(&mut self, now: Time, query: &Query, answer: A) {
        self.store.expire(now);
        let mut near = self.store.find(query.neighbourhood);
        let old = near.find(|(_, place)| *place == query.place()).map(|(slot, _)| slot);
        drop(near);
        self.store.insert(now, (query.neighbourhood, *query.place()), answer, old);
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        self.store.counts
    }

    /// Entries that were alive at the last operation.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
