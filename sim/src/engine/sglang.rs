//! An iteration as SGLang decides it: prefill if anybody can be admitted, otherwise decode.
//!
//! Decoding sequences stay aggregates here too: an iteration of prefill leaves the batch and its
//! clock where they are. Once somebody could not be admitted nobody is looked at until a running
//! request leaves, so that decode iterations in between pass as one leap. An attempt to admit walks
//! the running list, for the estimate of what it will write.
//!
//! Invariants: at most one prompt is cut, that of the last in the running list; while there is one,
//! every iteration is one of prefill.
//!
//! Deliberately absent: mixed chunks and overlap scheduling; see `docs/model/other-schedulers.md`.

use super::content::runs_from;
use super::leap::Plan;
use super::sequence::{Seq, State};
use super::spec::{BILLION, CLIPPED_ESTIMATE, Sglang};
use super::{GONE, Replica};
use crate::units::Time;
use std::collections::BTreeSet;

/// More waiting requests than these are not ordered by their prefixes.
const MOST_ORDERED: usize = 128;
/// Tokens of a prefix worth waiting for until another request has computed them.
const SHARED_PREFIX: u32 = 32;

/// What SGLang remembers from one iteration to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Intake {
    /// Share of its declared output that a running request is expected to write, in billionths.
    ratio: u32,
    /// Somebody could not be admitted; nobody is, until a running request leaves.
    full: bool,
    /// A running request left since the last decode iteration.
    pub(super) left: bool,
    /// The last iteration was one of prefill.
    prefilled: bool,
}

impl Intake {
    /// That of an engine with nothing to do.
    pub(super) fn idle(sglang: &Sglang) -> Intake {
        Intake { ratio: sglang.init_new_token_ratio, ..Intake::default() }
    }

    /// So many decode iterations more have passed with nobody retracted.
    pub(super) fn pass(&mut self, sglang: &Sglang, iterations: u64) {
        self.ratio = sglang.decayed(self.ratio, iterations);
    }
}

/// What an attempt to admit still has.
struct Room {
    /// Tokens of the iteration.
    budget: u32,
    /// Tokens set aside for those it admits, beside the blocks they take at once.
    aside: u64,
    /// Billionths of tokens that the decoding requests are expected to write.
    expected: u128,
}

impl Replica {
    /// Who takes part in the iteration that starts at `now`.
    #[inline(never)]
    pub(super) fn decide_sglang(&mut self, sglang: Sglang, now: Time) -> Plan {
        self.scheduled.clear();
        if self.live == 0 || self.intake.prefilled && self.intake.left {
            self.intake.full = false;
            self.intake.left = false;
        }
        if !self.explicit.is_empty() || !self.intake.full && self.queue.len() > 0 {
            self.prefill(sglang, now);
        }
        self.intake.prefilled = !self.scheduled.is_empty();
        let first_blocks = if self.intake.prefilled { 0 } else { self.decode(sglang) };
        let head_can_wait = self.intake.full || self.queue.len() == 0;
        Plan { first_blocks, head_can_wait, stands: self.intake.prefilled }
    }

    /// Fills an iteration with prompts: the rest of one that was cut, then those of the queue.
    fn prefill(&mut self, sglang: Sglang, now: Time) {
        if sglang.longest_prefix_match && self.spec.prefix_caching {
            self.order_by_prefix();
        }
        let written = self.running.iter().map(|&slot| self.may_write(slot));
        let expected = written.sum::<u64>();
        let mut room = Room {
            budget: self.spec.max_num_batched_tokens.0,
            aside: 0,
            expected: u128::from(expected) * u128::from(self.intake.ratio),
        };
        if let Some(&slot) = self.explicit.last() {
            let seq = &self.seqs[slot as usize];
            let rest = seq.len() - seq.computed;
            self.compute(slot, rest.min(room.budget), rest, &mut room);
        }
        while let Some(slot) = self.queue.head() {
            if self.live >= self.spec.max_num_seqs {
                self.intake.full = true;
                break;
            }
            if !self.admit_one(slot, now, &mut room) {
                break;
            }
        }
        // Prompts enter the cache when they are computed: not for others of this iteration.
        for index in 0..self.scheduled.len() {
            let slot = self.scheduled[index].0;
            self.register(slot, self.seqs[slot as usize].computed / self.spec.block_size.0);
        }
    }

    /// Admits the head of the queue if it fits; returns whether another may follow.
    fn admit_one(&mut self, slot: u32, now: Time, room: &mut Room) -> bool {
        let size = self.spec.block_size.0;
        let (hits, held_elsewhere) = self.find_hits(slot);
        let seq = self.seqs[slot as usize];
        let rest = seq.len() - hits * size;
        let may_write = (seq.most - seq.outputs).min(CLIPPED_ESTIMATE);
        let needed = u64::from(rest) + u64::from(may_write) + u64::from(size);
        if !self.has_room(room, hits - held_elsewhere, needed) {
            self.intake.full = true;
            return false;
        }
        let paged = rest.next_multiple_of(size);
        let mut n = rest;
        if self.spec.chunked_prefill {
            if paged > room.budget {
                n = room.budget / size * size;
            }
        } else if !self.scheduled.is_empty() && paged >= room.budget {
            // One prompt alone may exceed the limit.
            return false;
        }
        if n == 0 {
            return false;
        }
        self.queue.pop();
        self.start(slot, hits * size, now);
        self.compute(slot, n, rest, room);
        if !self.has_room(room, 0, 0) {
            self.intake.full = true;
            return false;
        }
        room.budget > 0
    }

    /// Takes `n` tokens of the `rest` of a prompt into the iteration.
    fn compute(&mut self, slot: u32, n: u32, rest: u32, room: &mut Room) {
        let size = self.spec.block_size.0;
        self.grow(slot, n);
        self.scheduled.push((slot, n));
        room.budget = room.budget.saturating_sub(n.next_multiple_of(size));
        let most = self.seqs[slot as usize].most.min(CLIPPED_ESTIMATE);
        room.aside += u64::from(size) + u64::from(if n == rest { most } else { 0 });
    }

    /// Whether more than `needed` tokens are left if `hits` of the free blocks are taken as well.
    fn has_room(&self, room: &Room, hits: u32, needed: u64) -> bool {
        let free = u64::from(self.kv.free() - hits) * u64::from(self.spec.block_size.0);
        let taken = u128::from(room.aside + needed) * u128::from(BILLION) + room.expected;
        u128::from(free) * u128::from(BILLION) > taken
    }

    /// Tokens that a decoding request may still write, as far as the estimate looks.
    fn may_write(&self, slot: u32) -> u64 {
        if slot == GONE {
            return 0;
        }
        let seq = &self.seqs[slot as usize];
        if seq.state != State::Decoding {
            return 0;
        }
        let computed = seq.computed_at_zero.wrapping_add(self.batch.clock()) as u32;
        let outputs = computed + 1 - seq.prompt;
        u64::from((seq.most - outputs).min(CLIPPED_ESTIMATE))
    }

    /// Orders the queue by the length of the cached prefix, longest first. Whoever shares a prefix
    /// with an earlier one that nobody has computed yet goes to the end, so as to find it cached.
    fn order_by_prefix(&mut self) {
        if self.queue.len() > MOST_ORDERED {
            return;
        }
        let size = self.spec.block_size.0;
        let shared = SHARED_PREFIX.div_ceil(size);
        let mut coming = BTreeSet::new();
        let mut keyed = Vec::with_capacity(self.queue.len());
        for slot in self.queue.take() {
            let hit = self.find_hits(slot).0 * size;
            let long = self.seqs[slot as usize].len() >= shared * size;
            let mut waits = false;
            if hit <= SHARED_PREFIX && long {
                let runs = self.identities[slot as usize].outline.runs();
                let hash = runs_from(runs, shared - 1)[0].hash(shared - 1);
                waits = !coming.insert(hash);
            }
            keyed.push((if waits { u32::MAX } else { u32::MAX - 1 - hit }, slot));
        }
        keyed.sort_by_key(|(key, _)| *key);
        for (_, slot) in keyed {
            self.queue.push(self.key(slot));
        }
    }

    /// One token for everybody who runs, once enough of them have been retracted. Returns the
    /// blocks taken for the batch.
    fn decode(&mut self, sglang: Sglang) -> u32 {
        let blocks = self.batch.blocks_for(1) as u32;
        let first_blocks = if blocks <= self.kv.free() {
            self.kv.take(blocks);
            self.intake.pass(&sglang, 1);
            blocks
        } else {
            self.retract();
            for index in 0..self.explicit.len() {
                let slot = self.explicit[index];
                self.grow(slot, 1);
                self.scheduled.push((slot, 1));
            }
            0
        };
        if std::mem::take(&mut self.intake.left) {
            self.intake.full = false;
        }
        first_blocks
    }

    /// Retracts those with the fewest tokens written, until the others have blocks for one more.
    fn retract(&mut self) {
        self.make_all_explicit();
        let size = self.spec.block_size.0;
        let crosses = |seq: &Seq| u32::from(seq.computed.is_multiple_of(size));
        let mut missing: u32 = self.explicit.iter().map(|&s| crosses(&self.seqs[s as usize])).sum();
        while missing > self.kv.free() && self.explicit.len() > 1 {
            let least = |slot: &&u32| {
                let seq = &self.seqs[**slot as usize];
                (seq.outputs, u32::MAX - seq.prompt)
            };
            // Of equals the last to start: the first in reverse.
            let Some(&victim) = self.explicit.iter().rev().min_by_key(least) else { return };
            missing -= crosses(&self.seqs[victim as usize]);
            self.preempt(victim);
        }
        let all = || self.explicit.iter().map(|&slot| &self.seqs[slot as usize]);
        let written = all().map(|seq| u64::from(seq.outputs)).sum();
        let declared = all().map(|seq| u64::from(seq.most)).sum();
        let kept = self.explicit.len() as u64;
        self.intake.ratio = Sglang::ratio_after_retraction(kept, written, declared);
    }
}
