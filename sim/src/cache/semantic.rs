//! A cache that answers what was asked before in other words, or what it takes for that.
//!
//! A look-up finds the most similar entry; if its similarity reaches the threshold, it is served.
//! The entry may be about a neighbouring topic: a hit that is wrong, whatever its answer was worth
//! there. The query's topic is searched, and its neighbours unless they are out of reach. Queries
//! of different neighbourhoods are orthogonal (see [`Query`]), so this finds the nearest entry for
//! every threshold above 0; at a threshold of 0 or less it finds the nearest of the neighbourhood.
//!
//! Invariants: those of the store; one entry for a topic and phrasing; of equally near entries one
//! that is right is served, then one about the more popular topic, then the one stored last. A
//! threshold of 1 makes it an exact cache, one above 1 (or one that is no number) a cache that never
//! answers.
//!
//! Deliberately absent: the time a look-up takes ([`SemanticCacheSpec::lookup`]), which the caller
//! waits; approximate search, which misses some of the nearest; and storing answers that came out
//! of the cache, which is the caller's decision.

use super::query::Words;
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
    store: Store<Words, A>,
}

/// The best so far: what the next has to pass, and the slot of the best one and whether it is right.
struct Nearest {
    least: f64,
    entry: Option<(u32, bool)>,
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
        let mut nearest = Nearest { least: threshold.unwrap_or(self.threshold), entry: None };
        self.search(query, query.topic(), &mut nearest);
        // The neighbours are often out of reach, whatever their words.
        let beyond = nearest.least > query.neighbours_at_most();
        if !beyond {
            query.neighbours().for_each(|topic| self.search(query, topic, &mut nearest));
        }
        let (slot, right) = nearest.entry?;
        self.store.touch(slot);
        self.store.counts.hits += 1;
        self.store.counts.wrong_hits += u64::from(!right);
        Some(Hit { right, similarity: nearest.least, answer: self.store.value(slot) })
    }

    /// Looks for a nearer entry among those of a topic.
    fn search(&self, query: &Query, topic: u64, nearest: &mut Nearest) {
        let right = topic == query.topic();
        for (slot, words) in self.store.find(topic) {
            let similarity = query.similarity_to(right, words);
            let nearer = match nearest.entry {
                None => similarity >= nearest.least,
                Some(_) => similarity > nearest.least,
            };
            if nearer {
                *nearest = Nearest { least: similarity, entry: Some((slot, right)) };
            }
            if similarity >= 1.0 {
                break;
            }
        }
    }

    /// Stores the answer to a query; one to the same words gives way, and a new life begins.
    pub fn insert(&mut self, now: Time, query: &Query, answer: A) {
        self.store.expire(now);
        let (topic, words) = (query.topic(), *query.words());
        let old = self.store.find(topic).find(|&(_, kept)| *kept == words).map(|(slot, _)| slot);
        self.store.insert(now, (topic, words), answer, old);
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
