//! Requests that wait in an engine, in the order its policy admits them.

use super::spec::SchedulingPolicy;
use crate::units::Time;
use std::collections::{BTreeSet, VecDeque};

/// Order of the priority policy: priority, arrival, submission, then the slot itself.
pub(super) type Key = (i32, Time, u64, u32);

/// Slots of waiting sequences.
#[derive(Clone, Debug)]
pub(super) enum Queue {
    Fcfs(VecDeque<u32>),
    Priority(BTreeSet<Key>),
}

impl Queue {
    pub(super) fn new(policy: SchedulingPolicy) -> Queue {
        match policy {
            SchedulingPolicy::Fcfs => Queue::Fcfs(VecDeque::new()),
            SchedulingPolicy::Priority => Queue::Priority(BTreeSet::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Queue::Fcfs(slots) => slots.len(),
            Queue::Priority(keys) => keys.len(),
        }
    }

    pub(super) fn head(&self) -> Option<u32> {
        match self {
            Queue::Fcfs(slots) => slots.front().copied(),
            Queue::Priority(keys) => keys.first().map(|key| key.3),
        }
    }

    pub(super) fn pop(&mut self) {
        match self {
            Queue::Fcfs(slots) => drop(slots.pop_front()),
            Queue::Priority(keys) => drop(keys.pop_first()),
        }
    }

    pub(super) fn push(&mut self, key: Key) {
        match self {
            Queue::Fcfs(slots) => slots.push_back(key.3),
            Queue::Priority(keys) => drop(keys.insert(key)),
        }
    }

    /// Takes all of them out, in order.
    pub(super) fn take(&mut self) -> Vec<u32> {
        match self {
            Queue::Fcfs(slots) => slots.drain(..).collect(),
            Queue::Priority(keys) => std::mem::take(keys).into_iter().map(|key| key.3).collect(),
        }
    }

    /// A preempted sequence goes to the front, or to its place under the priority policy.
    pub(super) fn push_preempted(&mut self, key: Key) {
        match self {
            Queue::Fcfs(slots) => slots.push_front(key.3),
            Queue::Priority(keys) => drop(keys.insert(key)),
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        match self {
            Queue::Fcfs(slots) => slots.retain(|&slot| slot != key.3),
            Queue::Priority(keys) => drop(keys.remove(&key)),
        }
    }
}
