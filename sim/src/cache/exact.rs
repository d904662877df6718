//! A cache that answers only what was asked before, word for word.
//!
//! Invariants: those of the store; a hit never is wrong.
//!
//! Deliberately absent: the time a look-up takes ([`ExactCacheSpec::lookup`]), which the caller
//! waits.

use super::store::{Limits, Store};
use super::{CacheCounts, ExactCacheSpec};
use crate::units::Time;

/// Payloads by key.
#[derive(Clone, Debug)]
pub struct ExactCache<P> {
    store: Store<(), P>,
}

impl<P: Copy> ExactCache<P> {
    /// An empty cache; `run_key` chooses the victims of random eviction.
    #[must_use]
    pub fn new(spec: &ExactCacheSpec, run_key: u64) -> ExactCache<P> {
        let ExactCacheSpec { ttl, capacity, eviction, lookup: _ } = *spec;
        ExactCache { store: Store::new(Limits { ttl, capacity, eviction }, run_key) }
    }

    /// What was stored under this key, if it is still there.
    pub fn look_up(&mut self, now: Time, key: u64) -> Option<P> {
        self.store.expire(now);
        self.store.counts.lookups += 1;
        let (slot, ()) = self.store.find(key).next()?;
        self.store.touch(slot);
        self.store.counts.hits += 1;
        Some(self.store.value(slot))
    }

    /// Stores a payload; one that is there under the same key gives way, and a new life begins.
    pub fn insert(&mut self, now: Time, key: u64, payload: P) {
        self.store.expire(now);
        let old = self.store.find(key).next().map(|(slot, _)| slot);
        self.store.insert(now, (key, ()), payload, old);
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
