//! Decides the next iteration: who runs on, who is admitted.
//!
//! The usual case is decided on aggregates: all decodes get their token, the explicit sequences
//! their chunk, and blocks suffice. Whenever the order inside the running list could matter
//! (tokens or blocks run short) [`super::slow_path`] walks it.

use super::Replica;
use super::leap::Plan;
use super::sequence::hit_ppm;
use super::sequence::{EndReason, Ended, State};
use super::sglang::Intake;
use super::spec::Scheduling;
use crate::units::Time;

impl Replica {
    /// Starts the next iteration at `now`, or goes idle. Requests cancelled since the last
    /// boundary are appended to `out`.
    pub fn schedule(&mut self, now: Time, out: &mut Vec<Ended>) {
        if !self.cancelled.is_empty() {
            self.drop_cancelled(now, out);
        }
        if self.live == 0 && self.queue.len() == 0 {
            if let Scheduling::Sglang(sglang) = &self.spec.scheduling {
                self.intake = Intake::idle(sglang);
            }
            return;
        }
        self.planned_at = now;
        let plan = match self.spec.scheduling {
            Scheduling::Sglang(sglang) => self.decide_sglang(sglang, now),
            Scheduling::Vllm => self.decide::<false>(now),
            _ => self.decide_trtllm(now),
        };
        self.peak_blocks = self.peak_blocks.max(self.kv.used());
        self.take_off(now, plan);
    }

    /// Apart, as that of SGLang, so that the commonest scheduler is compiled as if it were alone.
    #[inline(never)]
    fn decide_trtllm(&mut self, now: Time) -> Plan {
        self.decide::<true>(now)
    }

    /// Who takes part in the iteration, under the rules of vLLM or TensorRT-LLM. Which of them is
    /// known when this is compiled, so that neither pays for the other's questions.
    fn decide<const TRTLLM: bool>(&mut self, now: Time) -> Plan {
        let limit = self.chunk_limit();
        let mut budget = self.spec.max_num_batched_tokens.0;
        self.begin_cadence();
        let mut preempted = false;
        let first_blocks = loop {
            if let Some(first_blocks) = self.run_on::<TRTLLM>(limit, &mut budget) {
                break first_blocks;
            }
            budget = self.spec.max_num_batched_tokens.0;
            if TRTLLM && !preempted {
                self.pause();
                preempted = true;
            } else {
                preempted |= self.run_on_one_by_one(limit, &mut budget);
                break 0;
            }
        };
        if !preempted {
            self.admit::<TRTLLM>(limit, &mut budget, now);
            self.cadence.admitted(self.queue.len());
        }
        self.cadence.executes = self.batch.count() > 0 || !self.scheduled.is_empty();
        // With no preemption, a head that still waits cannot be admitted before somebody ends.
        Plan { first_blocks, head_can_wait: !preempted, stands: false }
    }

    fn drop_cancelled(&mut self, now: Time, out: &mut Vec<Ended>) {
        for (slot, order) in std::mem::take(&mut self.cancelled) {
            let seq = self.seqs[slot as usize];
            // Slots and numbers of calls are used again, orders of submission are not.
            if seq.order != order {
                continue;
            }
            match seq.state {
                State::Vacant | State::Lingering => continue,
                State::Queued => {
                    self.queue.remove(self.key(slot));
                    self.seqs[slot as usize].state = State::Vacant;
                    self.vacant.push(slot);
                }
                State::Explicit | State::Decoding => {
                    self.make_explicit(slot);
                    self.remove(slot);
                }
            }
            let seq = &self.seqs[slot as usize];
            if seq.outputs == 0 {
                self.queued_tokens -= u64::from(seq.prompt);
            }
            out.push(seq.ended(now, EndReason::Cancelled));
        }
    }

    /// Longest chunk of one request in this iteration.
    fn chunk_limit(&self) -> u32 {
        let threshold = self.spec.long_prefill_token_threshold.0;
        let alone = self.live as usize + self.queue.len() <= 1;
        if threshold == 0 || alone { u32::MAX } else { threshold }
    }

    /// Decides whether this iteration holds prefill back.
    fn begin_cadence(&mut self) {
        if self.cadence.applies() {
            let decodes = self.batch.count() > 0
                || self.explicit.iter().any(|&slot| !self.seqs[slot as usize].is_prefill_chunk);
            self.cadence.begin(decodes);
        }
    }

    /// All running sequences get their tokens, if tokens and blocks suffice whatever the order.
    /// Returns the blocks taken for the batch; `None` (and nothing changed) when order matters.
    fn run_on<const TRTLLM: bool>(&mut self, limit: u32, budget: &mut u32) -> Option<u32> {
        let size = self.spec.block_size.0;
        let batch_blocks = self.batch.blocks_for(1) as u32;
        let whole = TRTLLM && matches!(self.spec.scheduling, Scheduling::MaxUtilization);
        let mut left = budget.checked_sub(self.batch.count())?;
        let mut blocks = batch_blocks;
        self.scheduled.clear();
        for &slot in &self.explicit {
            let seq = &self.seqs[slot as usize];
            if self.cadence.holds && seq.is_prefill_chunk {
                continue;
            }
            let wanted = (seq.len() - seq.computed).min(limit);
            // Only the very last of the running list may be cut short by the budget.
            if wanted > left && self.running.last() != Some(&slot) {
                return None;
            }
            let n = self.portion::<TRTLLM>(wanted, &mut left);
            // TensorRT-LLM gives a prompt all its blocks when it begins: nobody else gets those.
            let reached = if whole { seq.len() } else { seq.computed + n };
            blocks += reached.div_ceil(size) - seq.computed.div_ceil(size);
            if n > 0 {
                self.scheduled.push((slot, n));
            }
        }
        if blocks > self.kv.free() {
            return None;
        }
        *budget = left;
        self.kv.take(batch_blocks);
        for index in 0..self.scheduled.len() {
            let (slot, n) = self.scheduled[index];
            self.grow(slot, n);
        }
        Some(batch_blocks)
    }

    /// How many of the `wanted` tokens an iteration with `left` ones takes in; the rest of them.
    fn portion<const TRTLLM: bool>(&self, wanted: u32, left: &mut u32) -> u32 {
        if wanted <= *left {
            *left -= wanted;
            return wanted;
        }
        let size = self.spec.block_size.0;
        let most = std::mem::take(left);
        if TRTLLM { most / size * size } else { most }
    }

    /// Gives an explicit sequence its blocks for `n` more tokens and registers the full ones.
    pub(super) fn grow(&mut self, slot: u32, n: u32) {
        let size = self.spec.block_size.0;
        let seq = &mut self.seqs[slot as usize];
        let held = seq.computed.div_ceil(size);
        seq.computed += n;
        let count = seq.computed.div_ceil(size) - held;
        let known = seq.computed.min(seq.len() - u32::from(seq.state == State::Lingering));
        self.counts.scheduled_tokens += u64::from(n);
        // A chunk that completes the prompt is prefill too.
        self.cadence.prefills |= seq.is_prefill_chunk;
        seq.is_prefill_chunk = seq.computed < seq.len();
        let computed = seq.computed;
        self.kv.take(count);
        if let (Some(prefix), Some(identity)) =
            (&mut self.kv.prefix, self.identities.get_mut(slot as usize))
        {
            let runs = identity.outline.runs();
            prefix.settle(&mut identity.holding, runs, computed.div_ceil(size));
        }
        if !matches!(self.spec.scheduling, Scheduling::Sglang(_)) {
            self.register(slot, known / size);
        }
    }

    /// Admits from the head of the queue while tokens, sequences and blocks last.
    fn admit<const TRTLLM: bool>(&mut self, limit: u32, budget: &mut u32, now: Time) {
        let size = self.spec.block_size.0;
        while *budget > 0 && self.live < self.spec.max_num_seqs {
            let Some(slot) = self.queue.head() else { return };
            let (hit_blocks, held_elsewhere) = self.find_hits(slot);
            let hit_tokens = hit_blocks * size;
            let length = self.seqs[slot as usize].len();
            // One token to compute costs no more than a decode.
            let is_prefill = hit_tokens < length - 1;
            if self.cadence.holds && is_prefill {
                return;
            }
            let wanted = (length - hit_tokens).min(limit);
            if wanted > *budget && !self.spec.chunked_prefill {
                return;
            }
            let mut left = *budget;
            let n = self.portion::<TRTLLM>(wanted, &mut left);
            if TRTLLM && n == 0 {
                return;
            }
            if TRTLLM && matches!(self.spec.scheduling, Scheduling::GuaranteedNoEvict) {
                let Some(rest) = self.unpromised.checked_sub(self.promised(slot) - held_elsewhere)
                else {
                    return;
                };
                self.unpromised = rest;
            } else {
                let watermark = if self.live == 0 { 0 } else { self.spec.watermark.0 };
                let needed = |tokens: u32| tokens.div_ceil(size) - held_elsewhere + watermark;
                let fits = |tokens: u32| needed(tokens) <= self.kv.free();
                if self.spec.reserve_full_isl && !fits(length) || !fits(hit_tokens + n) {
                    return;
                }
            }
            self.cadence.prefills |= is_prefill;
            self.queue.pop();
            self.start(slot, hit_tokens, now);
            self.grow(slot, n);
            self.scheduled.push((slot, n));
            *budget = left;
        }
    }

    /// Fills `hits` with the cached blocks the sequence can use. Returns how many they are, and how
    /// many of them other sequences hold (those cost no free block).
    #[inline(always)]
    pub(super) fn find_hits(&mut self, slot: u32) -> (u32, u32) {
        self.hits.clear();
        let (Some(prefix), Some(identity)) = (&self.kv.prefix, self.identities.get(slot as usize))
        else {
            return (0, 0);
        };
        // At least one token is always computed.
        let most = (self.seqs[slot as usize].len() - 1) / self.spec.block_size.0;
        let found = prefix.find_all(identity.outline.runs(), most, &mut self.hits);
        (found, found - prefix.free_among(&self.hits))
    }

    /// Moves a sequence from the queue into the running list with its hits.
    #[inline(always)]
    pub(super) fn start(&mut self, slot: u32, hit_tokens: u32, now: Time) {
        if let Some(identity) = self.identities.get_mut(slot as usize) {
            self.kv.take_hits(&self.hits, &mut identity.holding);
            identity.registered = hit_tokens / self.spec.block_size.0;
        }
        let seq = &mut self.seqs[slot as usize];
        seq.state = State::Explicit;
        seq.is_prefill_chunk = false;
        seq.computed = hit_tokens;
        seq.admission = self.admissions;
        seq.running_at = self.running.len() as u32;
        self.admissions += 1;
        if seq.scheduled == Time::NEVER {
            seq.scheduled = now;
            seq.hit_tokens = hit_tokens;
            self.counts.admitted += 1;
            self.counts.prompt_tokens += u64::from(seq.prompt);
            self.counts.hit_tokens += u64::from(hit_tokens);
            self.counts.hit_ppm += hit_ppm(hit_tokens, seq.prompt);
        }
        self.running.push(slot);
        self.explicit.push(slot);
        self.live += 1;
    }
}
