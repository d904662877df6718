//! The entries of a cache: found by key, gone at the end of their life, one out for one in when
//! full.
//!
//! Invariants:
//! * An entry's life starts when it is stored. All lives are equally long, so entries end in the
//!   order in which they were stored, and those that have ended are removed before every operation:
//!   a dead entry neither answers nor takes room.
//! * Entries of equal key hang in one chain, the one stored last in front.
//! * When the cache is full, every slot is taken; so a random slot is a random entry.
//! * Storing, removing and touching take constant time, apart from the walk along a chain.
//!
//! Deliberately absent: what keys and values mean.

use super::Eviction;
use crate::dice::{Dice, Purpose, key, mix};
use crate::units::{Span, Time};

/// No slot.
const NONE: u32 = u32::MAX;
/// Keeps chains apart from whatever structure the callers' keys have.
const CHAIN_SALT: u64 = 0x6a09_e667_f3bc_c909;

/// What happened in a cache.
///
/// Invariant: `insertions = entries + replacements + evictions + expiries`. Lives that end after
/// the last operation are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Times it was asked.
    pub lookups: u64,
    /// Answers it gave.
    pub hits: u64,
    /// Answers it gave to another question than was asked; in no exact cache.
    pub wrong_hits: u64,
    /// Entries stored.
    pub insertions: u64,
    /// Entries stored over one with the same identity, for instance because two calls missed at
    /// the same time.
    pub replacements: u64,
    /// Entries that had to go for want of room.
    pub evictions: u64,
    /// Entries whose life ended.
    pub expiries: u64,
}

/// Length of an entry's life, how many there may be, and who goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) ttl: Span,
    pub(super) capacity: u32,
    pub(super) eviction: Eviction,
}

/// What a walk along a chain reads of an entry.
#[derive(Clone, Debug)]
struct Link<M> {
    key: u64,
    /// Next slot of the chain, or of the spare slots.
    next: u32,
    mark: M,
}

/// The rest of an entry.
#[derive(Clone, Debug)]
struct Slot<V> {
    /// First instant at which it is dead.
    ends: Time,
    value: V,
}

/// Entries by key. Those of equal key differ by their marks, which are kept apart from the values:
/// a walk then reads little memory.
#[derive(Clone, Debug)]
pub(super) struct Store<M, V> {
    limits: Limits,
    /// Stream of the random victims.
    eviction_key: u64,
    links: Vec<Link<M>>,
    slots: Vec<Slot<V>>,
    /// First slot of each chain; a power of two of them, at least as many as slots.
    chains: Vec<u32>,
    /// First of the slots that were emptied.
    spare: u32,
    entries: u32,
    /// The order in which they were stored.
    age: Order,
    /// The order in which they were last used; kept where it decides.
    recency: Option<Order>,
    pub(super) counts: CacheCounts,
}

impl<M, V: Copy> Store<M, V> {
    /// An empty store; a capacity of 0 counts as 1.
    pub(super) fn new(limits: Limits, run_key: u64) -> Store<M, V> {
        let capacity = limits.capacity.clamp(1, NONE - 1);
        Store {
            limits: Limits { capacity, ..limits },
            eviction_key: key(run_key, Purpose::Eviction),
            links: Vec::new(),
            slots: Vec::new(),
            chains: vec![NONE; 8],
            spare: NONE,
            entries: 0,
            age: Order::default(),
            recency: (limits.eviction == Eviction::Lru).then(Order::default),
            counts: CacheCounts::default(),
        }
    }

    /// Entries that were alive at the last operation.
    pub(super) fn len(&self) -> usize {
        self.entries as usize
    }

    /// Removes the entries whose life has ended. To be called before anything else at an instant.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some(oldest) = self.age.first() {
            if self.slots[oldest as usize].ends > now {
                break;
            }
            self.remove(oldest);
            self.counts.expiries += 1;
        }
    }

    /// The entries with this key, the one stored last in front: their slots and marks.
    pub(super) fn find(&self, key: u64) -> impl Iterator<Item = (u32, &M)> {
        let mut at = self.chains[self.chain(key)];
        std::iter::from_fn(move || {
            while at != NONE {
                let (here, link) = (at, &self.links[at as usize]);
                at = link.next;
                if link.key == key {
                    return Some((here, &link.mark));
                }
            }
            None
        })
    }

    /// What an entry holds.
    pub(super) fn value(&self, slot: u32) -> V {
        self.slots[slot as usize].value
    }

    /// Notes that the entry was used.
    pub(super) fn touch(&mut self, slot: u32) {
        if let Some(recency) = &mut self.recency {
            recency.move_last(slot);
        }
    }

    /// Stores an entry, in place of `old` or of a victim if there is no room.
    pub(super) fn insert(&mut self, now: Time, (key, mark): (u64, M), value: V, old: Option<u32>) {
        if let Some(slot) = old {
            self.remove(slot);
            self.counts.replacements += 1;
        } else if self.entries == self.limits.capacity {
            self.remove(self.victim());
            self.counts.evictions += 1;
        }
        self.counts.insertions += 1;
        let link = Link { key, next: NONE, mark };
        let slot = Slot { ends: now.after(self.limits.ttl), value };
        let at = if self.spare == NONE {
            self.links.push(link);
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        } else {
            let at = self.spare;
            self.spare = std::mem::replace(&mut self.links[at as usize], link).next;
            self.slots[at as usize] = slot;
            at
        };
        self.entries += 1;
        self.age.add_last(at);
        if let Some(recency) = &mut self.recency {
            recency.add_last(at);
        }
        if self.slots.len() > self.chains.len() {
            self.widen();
        } else {
            self.hang(at);
        }
    }

    fn victim(&self) -> u32 {
        let first = match self.limits.eviction {
            Eviction::Lru => self.recency.as_ref().and_then(Order::first),
            Eviction::Fifo => self.age.first(),
            Eviction::Random => {
                let bits = Dice::stream(mix(self.eviction_key, self.counts.evictions)).bits();
                Some(((u128::from(bits) * u128::from(self.entries)) >> 64) as u32)
            }
        };
        first.expect("a full cache has an entry")
    }

    fn chain(&self, key: u64) -> usize {
        mix(CHAIN_SALT, key) as usize & (self.chains.len() - 1)
    }

    /// Puts a slot in front of its chain.
    fn hang(&mut self, at: u32) {
        let chain = self.chain(self.links[at as usize].key);
        self.links[at as usize].next = self.chains[chain];
        self.chains[chain] = at;
    }

    /// Empties a slot.
    fn remove(&mut self, slot: u32) {
        let chain = self.chain(self.links[slot as usize].key);
        let behind = self.links[slot as usize].next;
        if self.chains[chain] == slot {
            self.chains[chain] = behind;
        } else {
            let mut at = self.chains[chain];
            while self.links[at as usize].next != slot {
                at = self.links[at as usize].next;
            }
            self.links[at as usize].next = behind;
        }
        self.links[slot as usize].next = self.spare;
        self.spare = slot;
        self.entries -= 1;
        self.age.take_out(slot);
        if let Some(recency) = &mut self.recency {
            recency.take_out(slot);
        }
    }

    /// Doubles the chains and hangs every entry up again, the oldest first.
    fn widen(&mut self) {
        self.chains = vec![NONE; 2 * self.chains.len()];
        let mut at = self.age.first();
        while let Some(slot) = at {
            self.hang(slot);
            at = self.age.behind(slot);
        }
    }
}

/// A doubly linked list of slots.
#[derive(Clone, Debug)]
struct Order {
    /// `(before, behind)` of each slot.
    links: Vec<(u32, u32)>,
    first: u32,
    last: u32,
}

impl Default for Order {
    fn default() -> Order {
        Order { links: Vec::new(), first: NONE, last: NONE }
    }
}

impl Order {
    fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    fn behind(&self, slot: u32) -> Option<u32> {
        let behind = self.links[slot as usize].1;
        (behind != NONE).then_some(behind)
    }

    /// Adds a slot that is not in the list.
    fn add_last(&mut self, slot: u32) {
        // Slots are numbered as they come, so at most one is new.
        if slot as usize == self.links.len() {
            self.links.push((NONE, NONE));
        }
        self.links[slot as usize] = (self.last, NONE);
        match self.last {
            NONE => self.first = slot,
            last => self.links[last as usize].1 = slot,
        }
        self.last = slot;
    }

    fn take_out(&mut self, slot: u32) {
        let (before, behind) = self.links[slot as usize];
        match before {
            NONE => self.first = behind,
            before => self.links[before as usize].1 = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.links[behind as usize].0 = before,
        }
    }

    fn move_last(&mut self, slot: u32) {
        if self.last != slot {
            self.take_out(slot);
            self.add_last(slot);
        }
    }
}
