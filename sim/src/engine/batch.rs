//! Decoding sequences as aggregates on the replica's iteration clock.
//!
//! A sequence that decodes steadily gets one token every iteration, so nothing about it needs to
//! be touched until it ends: its end is one heap entry `(iteration, admission)`, its context is
//! its context at iteration 0 plus the clock. The batch keeps the count `B`, the sum of computed
//! tokens `S`, and how many sequences are at each phase of a block, from which the blocks of any
//! number of iterations follow.
//!
//! Invariants: `phases` sums to `count`; entries of sequences that left early are stale and are
//! recognised by their owner's state.
//!
//! Deliberately absent: the sequences themselves (see `engine.rs`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The decoding sequences of one replica.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Iterations the replica has completed.
    clock: u64,
    /// `clock` modulo the block size.
    turn: u32,
    block_size: u32,
    count: u32,
    computed: u64,
    /// Sequences by (computed − clock) modulo the block size.
    phases: Vec<u32>,
    ends: BinaryHeap<Reverse<End>>,
}

/// `(iteration after which it has ended, admission number, slot)`, packed so that comparing two
/// is one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End(u128);

impl End {
    fn new(at: u64, admission: u64, slot: u32) -> End {
        debug_assert!(at < 1 << 48 && admission < 1 << 48, "2^48 iterations take millennia");
        End(u128::from(at) << 80 | u128::from(admission) << 32 | u128::from(slot))
    }
    pub(super) fn at(self) -> u64 {
        (self.0 >> 80) as u64
    }
    pub(super) fn admission(self) -> u64 {
        (self.0 >> 32) as u64 & ((1 << 48) - 1)
    }
    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }
}

impl Batch {
    pub(super) fn new(block_size: u32) -> Batch {
        Batch {
            clock: 0,
            turn: 0,
            block_size,
            count: 0,
            computed: 0,
            phases: vec![0; block_size as usize],
            ends: BinaryHeap::new(),
        }
    }

    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// KV tokens read by the next iteration: all computed ones and the ones being written.
    pub(super) fn kv_tokens(&self) -> u64 {
        self.computed + u64::from(self.count)
    }

    fn phase(&self, computed: u32) -> usize {
        let ahead = computed % self.block_size + self.block_size - self.turn;
        (ahead % self.block_size) as usize
    }

    /// A sequence with `computed` tokens starts to decode and has `left` tokens to write.
    /// Returns the clock at which it will have ended.
    pub(super) fn join(&mut self, computed: u32, left: u32, admission: u64, slot: u32) -> u64 {
        let phase = self.phase(computed);
        self.phases[phase] += 1;
        self.count += 1;
        self.computed += u64::from(computed);
        let at = self.clock + u64::from(left);
        self.ends.push(Reverse(End::new(at, admission, slot)));
        at
    }

    /// A sequence with `computed` tokens leaves; its heap entry goes stale.
    pub(super) fn leave(&mut self, computed: u32) {
        let phase = self.phase(computed);
        self.phases[phase] -= 1;
        self.count -= 1;
        self.computed -= u64::from(computed);
    }

    /// The clock moves on by `n` iterations, every sequence by `n` tokens.
    pub(super) fn advance(&mut self, n: u64) {
        self.clock += n;
        self.turn = ((u64::from(self.turn) + n) % u64::from(self.block_size)) as u32;
        self.computed += n * u64::from(self.count);
    }

    /// The phase whose sequences need a new block in the next iteration.
    fn start(&self) -> usize {
        if self.turn == 0 { 0 } else { (self.block_size - self.turn) as usize }
    }

    /// How many sequences need a new block in the next iteration, the one after, and so on for a
    /// full cycle: those whose computed tokens are then a multiple of the block size.
    fn crossings(&self) -> impl Iterator<Item = u64> + '_ {
        let (first, last) = self.phases.split_at(self.start() + 1);
        first.iter().rev().chain(last.iter().rev()).map(|&count| u64::from(count))
    }

    /// Blocks that the next `n` iterations take.
    pub(super) fn blocks_for(&self, n: u64) -> u64 {
        let size = u64::from(self.block_size);
        // The first of `crossings`, as two slices: sums of slices are fast.
        let (part, start) = ((n % size) as usize, self.start());
        let before = part.min(start + 1);
        let (wrapped, from) = (part - before, start + 1 - before);
        let sum = |phases: &[u32]| phases.iter().map(|&count| u64::from(count)).sum::<u64>();
        let partial = sum(&self.phases[from..=start])
            + sum(&self.phases[self.block_size as usize - wrapped..]);
        n / size * u64::from(self.count) + partial
    }

    /// The most iterations, up to `most`, whose blocks fit into `free`.
    pub(super) fn iterations_within(&self, free: u32, most: u64) -> u64 {
        let (count, size) = (u64::from(self.count), u64::from(self.block_size));
        let free = u64::from(free);
        // A full cycle takes one block per sequence: usually everything fits and no walk is due.
        if (most / size + 1) * count <= free {
            return most;
        }
        let mut left = free % count;
        let mut n = free / count * size;
        for need in self.crossings() {
            if need > left {
                break;
            }
            left -= need;
            n += 1;
        }
        n.min(most)
    }

    /// Whether no entry is stale, with `taken` decoding sequences whose entries were taken out:
    /// then there is one for each of the others.
    pub(super) fn is_current(&self, taken: usize) -> bool {
        self.ends.len() + taken == self.count as usize
    }

    /// The first entry, stale or not.
    pub(super) fn first_end(&self) -> Option<End> {
        self.ends.peek().map(|end| end.0)
    }

    /// Removes the first entry.
    pub(super) fn pop_end(&mut self) {
        self.ends.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_counts_equal_a_walk_over_sequences() {
        for size in [1, 8, 16, 24] {
            let mut batch = Batch::new(size);
            let mut computed: Vec<u32> = (0..37).map(|i| i * i % 101 + 1).collect();
            batch.advance(5);
            for (i, &c) in computed.iter().enumerate() {
                batch.join(c, 1_000, i as u64, i as u32);
            }
            let mut taken = 0;
            for n in 0..70u64 {
                assert_eq!(batch.blocks_for(n), taken, "{n} iterations of {size}");
                let free = taken as u32;
                let most = batch.iterations_within(free, 1_000);
                assert!(batch.blocks_for(most) <= taken && batch.blocks_for(most + 1) > taken);
                taken += computed.iter().filter(|c| **c % size == 0).count() as u64;
                computed.iter_mut().for_each(|c| *c += 1);
            }
        }
    }
}
