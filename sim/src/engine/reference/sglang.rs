//! An iteration as SGLang decides it: prefill if anybody can be admitted, otherwise decode.
//!
//! Deliberately absent: what an iteration does once it is decided (see `reference`).

use super::{ReferenceReplica, Seq, register};
use crate::engine::spec::{BILLION, CLIPPED_ESTIMATE, Sglang};
use crate::units::Time;
use std::collections::BTreeSet;

/// What SGLang remembers from one iteration to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Share of its declared output that a running request is expected to write, in billionths.
    ratio: u32,
    /// Somebody could not be admitted; nobody is, until a running request leaves.
    full: bool,
    /// A running request left since the last decode iteration.
    pub(super) left: bool,
    /// The last iteration was one of prefill.
    prefilled: bool,
}

impl ReferenceReplica {
    /// The engine has nothing to do.
    pub(super) fn rest_sglang(&mut self, sglang: Sglang) {
        self.memory = Memory { ratio: sglang.init_new_token_ratio, ..Memory::default() };
    }

    /// Decides who takes part.
    pub(super) fn schedule_sglang(&mut self, sglang: Sglang, now: Time) {
        if self.running.is_empty() || self.memory.prefilled && self.memory.left {
            self.memory.full = false;
            self.memory.left = false;
        }
        let cut = self.running.last().is_some_and(|seq| seq.is_prefill_chunk);
        if cut || !self.memory.full && !self.waiting.is_empty() {
            self.prefill(sglang, cut, now);
        }
        self.memory.prefilled = self.running.iter().any(|seq| seq.scheduled_now > 0);
        if !self.memory.prefilled {
            self.decode(sglang);
        }
    }

    /// Fills an iteration with prompts: the rest of one that was cut, then those of the queue.
    fn prefill(&mut self, sglang: Sglang, cut: bool, now: Time) {
        if sglang.longest_prefix_match && self.spec.prefix_caching {
            self.sort_by_prefix();
        }
        let size = self.spec.block_size.0;
        let before = self.running.len();
        let decodes = self.running.iter().filter(|seq| !seq.is_prefill_chunk);
        let expected: u64 = decodes.map(|seq| u64::from(self.may_write(seq))).sum();
        let mut budget = self.spec.max_num_batched_tokens.0;
        // Tokens set aside for those admitted so far.
        let mut aside = 0;
        if cut {
            let seq = &self.running[before - 1];
            let rest = seq.len() - seq.computed;
            let n = rest.min(budget);
            let most = if n == rest { self.declared(seq).min(CLIPPED_ESTIMATE) } else { 0 };
            self.grow(before - 1, n);
            budget = budget.saturating_sub(n.next_multiple_of(size));
            aside += size + most;
        }
        while !self.waiting.is_empty() {
            if self.running.len() >= self.spec.max_num_seqs as usize {
                self.memory.full = true;
                break;
            }
            let hits = self.find_hits(0);
            let head = &self.waiting[0];
            let rest = head.len() - hits.len() as u32 * size;
            let needed = rest + self.may_write(head) + size;
            if !self.has_room(expected, aside, self.pool.free_among(&hits), needed) {
                self.memory.full = true;
                break;
            }
            let paged = rest.next_multiple_of(size);
            let mut n = rest;
            if self.spec.chunked_prefill {
                if paged > budget {
                    n = budget / size * size;
                }
            } else if self.running.iter().any(|seq| seq.scheduled_now > 0) && paged >= budget {
                break;
            }
            if n == 0 {
                break;
            }
            let most = if n == rest { self.declared(head).min(CLIPPED_ESTIMATE) } else { 0 };
            self.start(0, hits, n, now);
            budget = budget.saturating_sub(n.next_multiple_of(size));
            aside += size + most;
            if !self.has_room(expected, aside, 0, 0) {
                self.memory.full = true;
                break;
            }
            if budget == 0 {
                break;
            }
        }
        // Prompts enter the tree when they are computed: not for others of this iteration.
        for at in 0..self.running.len() {
            if self.running[at].scheduled_now > 0 {
                let seq = &mut self.running[at];
                let computed = seq.computed;
                register(&self.spec, &mut self.pool, seq, computed);
            }
        }
    }

    /// Whether more than `needed` tokens are left of the free ones, less `hits` blocks that stop
    /// being free, what decodes are `expected` to write at most times the ratio, and what is set
    /// `aside`.
    fn has_room(&self, expected: u64, aside: u32, hits: u32, needed: u32) -> bool {
        let free =
            u64::from(self.pool.free.len() as u32 - hits) * u64::from(self.spec.block_size.0);
        let taken = u128::from(aside) + u128::from(needed);
        let promised = u128::from(expected) * u128::from(self.memory.ratio);
        u128::from(free) * u128::from(BILLION) > taken * u128::from(BILLION) + promised
    }

    fn declared(&self, seq: &Seq) -> u32 {
        self.spec.plannable(seq.request.prompt, seq.request.max_tokens)
    }

    /// Tokens a request may still write, as far as the estimate looks.
    fn may_write(&self, seq: &Seq) -> u32 {
        (self.declared(seq) - seq.outputs).min(CLIPPED_ESTIMATE)
    }

    /// Orders the queue by the length of the cached prefix, longest first. Whoever shares a prefix
    /// with an earlier one that nobody has computed yet goes to the end, so as to find it cached.
    fn sort_by_prefix(&mut self) {
        /// More than so many requests are not ordered.
        const MOST: usize = 128;
        /// Tokens of a prefix worth waiting for.
        const SHARED: u32 = 32;
        if self.waiting.len() > MOST {
            return;
        }
        let size = self.spec.block_size.0;
        let shared = SHARED.div_ceil(size);
        let mut coming = BTreeSet::new();
        let mut keyed = Vec::new();
        for at in 0..self.waiting.len() {
            let hit = self.find_hits(at).len() as u32 * size;
            let seq = &mut self.waiting[at];
            let waits = hit <= SHARED
                && seq.len() >= shared * size
                && !coming.insert(seq.hash(shared as usize - 1, size));
            keyed.push((waits, u32::MAX - hit));
        }
        let mut order: Vec<_> = self.waiting.drain(..).zip(keyed).collect();
        order.sort_by_key(|(_, (waits, key))| if *waits { (true, 0) } else { (false, *key) });
        self.waiting.extend(order.into_iter().map(|(seq, _)| seq));
    }

    /// One token for everybody who runs, once enough of them have been retracted.
    fn decode(&mut self, sglang: Sglang) {
        let short = |engine: &ReferenceReplica| {
            let needed: usize = engine.running.iter().map(|s| engine.missing_blocks(s, 1)).sum();
            needed > engine.pool.free.len()
        };
        if short(self) {
            while self.running.len() > 1 && short(self) {
                // The fewest tokens written; of those the longest prompt; of those the last.
                let least = |seq: &Seq| (seq.outputs, u32::MAX - seq.request.prompt);
                let keys: Vec<_> = self.running.iter().map(least).collect();
                let worst = keys.iter().min().copied();
                let victim = keys.iter().rposition(|key| Some(*key) == worst);
                self.preempt(victim.expect("two run at least"));
            }
            let kept = self.running.len() as u64;
            let written = self.running.iter().map(|seq| u64::from(seq.outputs)).sum();
            let declared = self.running.iter().map(|seq| u64::from(self.declared(seq))).sum();
            self.memory.ratio = Sglang::ratio_after_retraction(kept, written, declared);
            self.memory.left = true;
        } else {
            self.memory.ratio = sglang.decayed(self.memory.ratio, 1);
        }
        if std::mem::take(&mut self.memory.left) {
            self.memory.full = false;
        }
        for at in 0..self.running.len() {
            self.grow(at, 1);
        }
    }
}
