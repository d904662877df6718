//! An iteration decided sequence by sequence, in running order: when tokens or blocks run short.
//!
//! Every decoding sequence is made explicit first; those that get their token rejoin the batch
//! when the iteration completes. This costs O(running) and happens when somebody is preempted or
//! stalls, not per iteration.

use super::sequence::{Seq, State};
use super::spec::{Scheduling, SchedulingPolicy};
use super::{GONE, Replica};
use crate::units::Time;

impl Replica {
    /// Gives every running sequence a token count of its own.
    pub(super) fn make_all_explicit(&mut self) {
        for at in 0..self.running.len() {
            if self.running[at] != GONE {
                self.make_explicit(self.running[at]);
            }
        }
    }

    /// Pauses those that started last until the blocks of the others suffice for the iteration,
    /// and for the rest of a prompt under way (TensorRT-LLM's `MAX_UTILIZATION`).
    pub(super) fn pause(&mut self) {
        self.make_all_explicit();
        let size = self.spec.block_size.0;
        let need = |seq: &Seq| seq.len().div_ceil(size) - seq.computed.div_ceil(size);
        let mut missing: u32 = self.explicit.iter().map(|&s| need(&self.seqs[s as usize])).sum();
        while missing > self.kv.free() {
            let victim = self.victim();
            missing -= need(&self.seqs[victim as usize]);
            self.preempt(victim);
        }
    }

    /// Hands out tokens in running order, preempting where blocks run out. Returns whether
    /// anybody was preempted.
    pub(super) fn run_on_one_by_one(&mut self, limit: u32, budget: &mut u32) -> bool {
        self.scheduled.clear();
        self.make_all_explicit();
        let before = self.counts.preemptions;
        // Preempting may compact the list, so the walk goes by slot order, fixed beforehand.
        let order: Vec<u32> = self.running.iter().copied().filter(|&s| s != GONE).collect();
        for slot in order {
            if *budget == 0 {
                break;
            }
            let seq = &self.seqs[slot as usize];
            if !matches!(seq.state, State::Explicit | State::Lingering) {
                continue; // Preempted earlier in this walk.
            }
            if self.cadence.holds && seq.is_prefill_chunk {
                continue;
            }
            let n = (seq.len() - seq.computed).min(limit).min(*budget);
            if self.make_room(slot, n, budget) {
                self.grow(slot, n);
                self.scheduled.push((slot, n));
                *budget -= n;
            } else if self.spec.policy == SchedulingPolicy::Fcfs {
                break;
            }
        }
        self.counts.preemptions > before
    }

    /// Preempts until `n` more tokens of the sequence fit; false when it was its own victim.
    fn make_room(&mut self, slot: u32, n: u32, budget: &mut u32) -> bool {
        let size = self.spec.block_size.0;
        let computed = self.seqs[slot as usize].computed;
        let missing = (computed + n).div_ceil(size) - computed.div_ceil(size);
        while missing > self.kv.free() {
            let victim = self.victim();
            if let Some(at) = self.scheduled.iter().position(|s| s.0 == victim) {
                let tokens = self.scheduled.remove(at).1;
                *budget += tokens;
                self.counts.scheduled_tokens -= u64::from(tokens);
            }
            self.preempt(victim);
            if victim == slot {
                return false;
            }
        }
        true
    }

    /// Who loses its blocks: the latest admitted, or under the priority policy the largest
    /// (priority, arrival), the earliest in the running list among equals.
    fn victim(&self) -> u32 {
        let mut live = self.running.iter().copied().filter(|&slot| slot != GONE);
        match self.spec.policy {
            SchedulingPolicy::Fcfs => live.next_back().unwrap_or(GONE),
            SchedulingPolicy::Priority => {
                let key = |slot: u32| {
                    let seq = &self.seqs[slot as usize];
                    (seq.priority, seq.arrived)
                };
                let first = live.next().unwrap_or(GONE);
                live.fold(first, |worst, slot| if key(slot) > key(worst) { slot } else { worst })
            }
        }
    }

    /// Takes all blocks from a running sequence and puts it back into the queue; it will compute
    /// its prompt and its own tokens again.
    pub(super) fn preempt(&mut self, slot: u32) {
        let sglang = matches!(self.spec.scheduling, Scheduling::Sglang(_));
        self.leave_running(slot, !sglang);
        self.counts.preemptions += 1;
        let seq = &mut self.seqs[slot as usize];
        seq.computed = 0;
        seq.preemptions += 1;
        if seq.preempted_at == Time::NEVER {
            seq.preempted_at = self.planned_at;
        }
        if let Some(identity) = self.identities.get_mut(slot as usize) {
            identity.registered = 0;
        }
        if seq.state == State::Lingering {
            // It has ended already; only its blocks were left.
            seq.state = State::Vacant;
            self.lingering -= 1;
            self.vacant.push(slot);
        } else {
            seq.state = State::Queued;
            if sglang {
                self.queue.push(self.key(slot));
            } else {
                self.queue.push_preempted(self.key(slot));
            }
        }
    }
}
