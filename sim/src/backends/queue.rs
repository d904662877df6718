//! Who waits at a station, in the order of its discipline.
//!
//! A binary heap over `(rank, arrival)`. Each one who waits knows its place in the heap, so
//! entering, leaving at the head and leaving from the middle all take `O(log n)`.
//!
//! Invariants: no two entries are alike (the arrival counts up), so the order is total; the heap
//! and the places in it agree; memory follows the longest queue there was.
//!
//! Deliberately absent: what a rank means (see `station`).

use crate::ids::{Arena, Handle};

/// Where somebody waits; void from the instant in which they begin or are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spot(Handle);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    rank: u64,
    arrival: u64,
}

#[derive(Clone, Debug)]
struct Waiter<J> {
    job: J,
    /// Position in the heap.
    place: u32,
}

/// A queue with priorities from which anybody may be taken.
#[derive(Clone, Debug)]
pub(super) struct Queue<J> {
    heap: Vec<(Order, Handle)>,
    waiters: Arena<Waiter<J>>,
    arrivals: u64,
}

impl<J> Queue<J> {
    pub(super) fn new() -> Queue<J> {
        Queue { heap: Vec::new(), waiters: Arena::default(), arrivals: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Lets somebody wait behind all whose rank is at most theirs.
    pub(super) fn push(&mut self, rank: u64, job: J) -> Spot {
        let at = self.heap.len();
        let handle = self.waiters.insert(Waiter { job, place: at as u32 });
        self.heap.push((Order { rank, arrival: self.arrivals }, handle));
        self.arrivals += 1;
        self.rise(at);
        Spot(handle)
    }

    /// Takes out whoever is next.
    pub(super) fn pop(&mut self) -> Option<J> {
        let &(_, handle) = self.heap.first()?;
        self.remove(Spot(handle))
    }

    /// Takes somebody out; `None` when they no longer wait.
    pub(super) fn remove(&mut self, spot: Spot) -> Option<J> {
        let waiter = self.waiters.remove(spot.0)?;
        let at = waiter.place as usize;
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            // The last one has come here: it may belong further up or further down.
            self.settle(at);
            let at = self.rise(at);
            self.sink(at);
        }
        Some(waiter.job)
    }

    /// Moves an entry towards the head until it is in order; says where it is then.
    fn rise(&mut self, mut at: usize) -> usize {
        while at > 0 {
            let above = (at - 1) / 2;
            if self.heap[above].0 < self.heap[at].0 {
                break;
            }
            self.heap.swap(above, at);
            self.settle(at);
            at = above;
        }
        self.settle(at);
        at
    }

    /// Moves an entry away from the head until it is in order.
    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(&(mut first, _)) = self.heap.get(left) else { break };
            let mut below = left;
            if let Some(&(other, _)) = self.heap.get(right).filter(|other| other.0 < first) {
                (first, below) = (other, right);
            }
            if self.heap[at].0 < first {
                break;
            }
            self.heap.swap(at, below);
            self.settle(at);
            at = below;
        }
        self.settle(at);
    }

    /// Tells the one at this position where it is.
    fn settle(&mut self, at: usize) {
        if let Some(waiter) = self.waiters.get_mut(self.heap[at].1) {
            waiter.place = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// Against a list that is searched from the front: any mixture of entering and leaving.
    #[test]
    fn it_agrees_with_a_sorted_list() {
        let mut dice = Dice::stream(11);
        let mut queue = Queue::new();
        let mut list: Vec<(u64, u32, Spot)> = Vec::new();
        let mut gone: Vec<Spot> = Vec::new();
        for job in 0..20_000u32 {
            let choice = dice.bits() % 8;
            if choice < 4 || list.is_empty() {
                let rank = dice.bits() % 5;
                let spot = queue.push(rank, job);
                let at = list.partition_point(|entry| entry.0 <= rank);
                list.insert(at, (rank, job, spot));
            } else if choice < 6 {
                let (_, first, spot) = list.remove(0);
                assert_eq!(queue.pop(), Some(first));
                gone.push(spot);
            } else {
                let (_, taken, spot) = list.remove((dice.bits() as usize) % list.len());
                assert_eq!(queue.remove(spot), Some(taken));
                gone.push(spot);
            }
            assert_eq!(queue.len(), list.len());
        }
        for spot in gone {
            assert_eq!(queue.remove(spot), None, "whoever left can not leave again");
        }
        let rest: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, list.iter().map(|entry| entry.1).collect::<Vec<_>>());
    }
}
