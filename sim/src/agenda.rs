//! What happens next.
//!
//! Replicas and other recurring sources of events own a slot each in a winner tree: setting a slot
//! overwrites what was there, so nothing is ever cancelled and no stale event can fire. One-off
//! events wait in a heap, first in first out among equals.
//!
//! Invariants: keys are totally ordered by `(time, rank, slot)`, the heap's by `(time, sequence)`
//! at the rank of arrivals; time never goes back.

use crate::event::RANK_ARRIVE;
use crate::units::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// `time << 64 | rank << 32 | slot`.
type Key = u128;

const EMPTY: Key = Key::MAX;

/// A slot per recurring source and a heap of one-offs carrying `T`.
#[derive(Clone, Debug)]
pub struct Agenda<T> {
    /// A complete binary tree: node `i` is the lesser of `2i` and `2i + 1`; leaves are the slots.
    tree: Vec<Key>,
    leaves: usize,
    one_offs: BinaryHeap<Reverse<OneOff<T>>>,
    sequence: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The slot's turn, at the rank it was set with.
    Slot(u32, u8),
    /// A one-off's turn; it is removed.
    OneOff(T),
}

#[derive(Clone, Copy, Debug)]
struct OneOff<T> {
    /// `time << 64 | sequence`: one comparison of integers.
    key: Key,
    what: T,
}

impl<T> PartialEq for OneOff<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl<T> Eq for OneOff<T> {}
impl<T> PartialOrd for OneOff<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for OneOff<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

fn key(at: Time, rank: u8, slot: u32) -> Key {
    Key::from(at.0) << 64 | Key::from(rank) << 32 | Key::from(slot)
}

fn time_of(key: Key) -> Time {
    Time((key >> 64) as u64)
}

impl<T: Copy> Agenda<T> {
    /// An agenda of `slots` empty slots.
    #[must_use]
    pub fn new(slots: usize) -> Agenda<T> {
        let leaves = slots.max(2).next_power_of_two();
        Agenda { tree: vec![EMPTY; 2 * leaves], leaves, one_offs: BinaryHeap::new(), sequence: 0 }
    }

    /// Sets when a slot's turn is; [`Time::NEVER`] empties it.
    pub fn set(&mut self, slot: u32, at: Time, rank: u8) {
        let value = if at == Time::NEVER { EMPTY } else { key(at, rank, slot) };
        let mut node = self.leaves + slot as usize;
        let mut least = value;
        self.tree[node] = value;
        while node > 1 {
            least = least.min(self.tree[node ^ 1]);
            node /= 2;
            // Further up nothing changes.
            if self.tree[node] == least {
                break;
            }
            self.tree[node] = least;
        }
    }

    /// Adds a one-off event at the rank of arrivals.
    pub fn push(&mut self, at: Time, what: T) {
        let key = Key::from(at.0) << 64 | Key::from(self.sequence);
        self.one_offs.push(Reverse(OneOff { key, what }));
        self.sequence += 1;
    }

    /// When the next event is, whatever it is.
    #[must_use]
    pub fn next_time(&self) -> Time {
        let one_off = self.one_offs.peek().map_or(Time::NEVER, |one_off| time_of(one_off.0.key));
        time_of(self.tree[1]).min(one_off)
    }

    /// When the next event other than the given slot's is.
    #[must_use]
    pub fn next_time_besides(&self, slot: u32) -> Time {
        let mut least = self.one_offs.peek().map_or(Time::NEVER, |one_off| time_of(one_off.0.key));
        let mut node = self.leaves + slot as usize;
        while node > 1 {
            least = least.min(time_of(self.tree[node ^ 1]));
            node /= 2;
        }
        least
    }

    /// The next event. A slot keeps its key until it is set again; a one-off is removed.
    pub fn take_next(&mut self) -> Option<(Time, Next<T>)> {
        let first = self.tree[1];
        if let Some(Reverse(one_off)) = self.one_offs.peek() {
            let (at, what) = (time_of(one_off.key), one_off.what);
            // After every slot of the same time and rank.
            if key(at, RANK_ARRIVE, u32::MAX) < first {
                self.one_offs.pop();
                return Some((at, Next::OneOff(what)));
            }
        }
        if first == EMPTY {
            return None;
        }
        Some((time_of(first), Next::Slot(first as u32, (first >> 32) as u8)))
    }

    /// Forgets the one-off events that are no longer wanted; the others keep their order.
    pub fn keep_one_offs(&mut self, mut wanted: impl FnMut(T) -> bool) {
        self.one_offs.retain(|one_off| wanted(one_off.0.what));
    }

    /// One-off events that wait.
    #[must_use]
    pub fn one_offs(&self) -> usize {
        self.one_offs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_rank_then_slot_then_sequence() {
        let mut agenda = Agenda::new(5);
        agenda.set(4, Time(7), 0);
        agenda.set(0, Time(7), 3);
        agenda.set(1, Time(7), 2);
        agenda.set(2, Time(9), 0);
        agenda.push(Time(7), 'a');
        agenda.push(Time(7), 'b');
        agenda.push(Time(6), 'c');
        assert_eq!(agenda.next_time_besides(4), Time(6));
        let mut seen = Vec::new();
        while let Some((at, next)) = agenda.take_next() {
            if let Next::Slot(slot, _) = next {
                agenda.set(slot, Time::NEVER, 0);
            }
            seen.push((at.0, next));
        }
        let expected = [
            (6, Next::OneOff('c')),
            (7, Next::Slot(4, 0)),
            (7, Next::Slot(1, 2)),
            (7, Next::OneOff('a')),
            (7, Next::OneOff('b')),
            (7, Next::Slot(0, 3)),
            (9, Next::Slot(2, 0)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn forgetting_some_one_offs_leaves_the_order_of_the_others() {
        let mut agenda = Agenda::new(1);
        for what in 0..100u64 {
            agenda.push(Time(what * 7919 % 13), what);
        }
        let mut all = agenda.clone();
        agenda.keep_one_offs(|what| what % 3 == 0);
        assert_eq!(agenda.one_offs(), 34);
        while let Some(next) = all.take_next() {
            if matches!(next.1, Next::OneOff(what) if what % 3 == 0) {
                assert_eq!(agenda.take_next(), Some(next));
            }
        }
        assert_eq!(agenda.take_next(), None);
    }

    #[test]
    fn a_slot_set_again_forgets_what_it_held() {
        let mut agenda: Agenda<()> = Agenda::new(3);
        agenda.set(0, Time(5), 0);
        agenda.set(1, Time(6), 0);
        agenda.set(0, Time(8), 0);
        assert_eq!(agenda.take_next(), Some((Time(6), Next::Slot(1, 0))));
        assert_eq!(agenda.next_time_besides(1), Time(8));
    }
}
