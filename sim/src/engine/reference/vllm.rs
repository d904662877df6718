//! An iteration as vLLM decides it.
//!
//! Deliberately absent: what an iteration does once it is decided (see `reference`).

use super::{ReferenceReplica, Seq};
use crate::engine::spec::SchedulingPolicy;
use crate::units::Time;

impl ReferenceReplica {
    /// Decides who takes part, the running first.
    pub(super) fn schedule_vllm(&mut self, now: Time) {
        let mut budget = self.spec.max_num_batched_tokens.0;
        let hold = self.holds_prefill();
        let mut prefill = self.schedule_running(hold, &mut budget);
        if self.last_step.preempted.is_empty() {
            prefill |= self.schedule_waiting(hold, &mut budget, now);
            if !hold {
                self.capacity_bound = !self.waiting.is_empty();
            }
        }
        self.executed_steps += i64::from(self.running.iter().any(|seq| seq.scheduled_now > 0));
        if prefill {
            self.last_prefill_step = self.executed_steps;
        }
    }

    fn chunk_limit(&self) -> u32 {
        let threshold = self.spec.long_prefill_token_threshold.0;
        let alone = self.running.len() + self.waiting.len() <= 1;
        if threshold == 0 || alone { u32::MAX } else { threshold }
    }

    /// Whether this iteration must carry no prefill: the interval since the last one that did has
    /// not passed, somebody decodes, and nobody was left waiting when prefill was last allowed.
    fn holds_prefill(&self) -> bool {
        let interval = i64::from(self.spec.prefill_schedule_interval);
        interval > 1
            && !self.capacity_bound
            && self.executed_steps + 1 - self.last_prefill_step < interval
            && self.running.iter().any(|seq| !seq.is_prefill_chunk)
    }

    /// Hands out tokens to the running; returns whether any of them were prefill.
    fn schedule_running(&mut self, hold: bool, budget: &mut u32) -> bool {
        let limit = self.chunk_limit();
        let mut at = 0;
        let mut prefill = false;
        while at < self.running.len() && *budget > 0 {
            let seq = &self.running[at];
            let (known, chunk) = (seq.len(), seq.is_prefill_chunk);
            let n = (known - seq.computed).min(limit).min(*budget);
            if n == 0 || hold && chunk {
                at += 1;
                continue;
            }
            match self.make_room(&mut at, n, budget) {
                Room::Made => {
                    // It stays true when a later one of this iteration preempts this one.
                    prefill |= chunk;
                    self.grow(at, n);
                    *budget -= n;
                    at += 1;
                }
                Room::SelfPreempted if self.spec.policy == SchedulingPolicy::Fcfs => break,
                Room::SelfPreempted => {}
            }
        }
        prefill
    }

    /// Preempts until `n` more tokens of the sequence at `at` fit, or it is its own victim.
    fn make_room(&mut self, at: &mut usize, n: u32, budget: &mut u32) -> Room {
        loop {
            if self.missing_blocks(&self.running[*at], n) <= self.pool.free.len() {
                return Room::Made;
            }
            let victim = match self.spec.policy {
                SchedulingPolicy::Fcfs => self.running.len() - 1,
                SchedulingPolicy::Priority => {
                    let mut worst = 0;
                    for (index, seq) in self.running.iter().enumerate() {
                        let key = |s: &Seq| (s.request.priority, s.request.arrived);
                        if key(seq) > key(&self.running[worst]) {
                            worst = index;
                        }
                    }
                    worst
                }
            };
            *budget += self.running[victim].scheduled_now;
            self.preempt(victim);
            if victim == *at {
                return Room::SelfPreempted;
            }
            if victim < *at {
                *at -= 1;
            }
        }
    }

    /// Admits from the head of the queue; returns whether any of that was prefill.
    fn schedule_waiting(&mut self, hold: bool, budget: &mut u32, now: Time) -> bool {
        let limit = self.chunk_limit();
        let mut prefill = false;
        while *budget > 0 && self.running.len() < self.spec.max_num_seqs as usize {
            if self.waiting.is_empty() {
                break;
            }
            let hits = self.find_hits(0);
            let size = self.spec.block_size.0;
            let head = &self.waiting[0];
            let hit_tokens = hits.len() as u32 * size;
            // One token to compute costs no more than a decode.
            let is_prefill = hit_tokens < head.len() - 1;
            if hold && is_prefill {
                break;
            }
            let mut n = (head.len() - hit_tokens).min(limit);
            if n > *budget && !self.spec.chunked_prefill {
                break;
            }
            n = n.min(*budget);
            let hits_free = self.pool.free_among(&hits);
            let watermark = if self.running.is_empty() { 0 } else { self.spec.watermark.0 };
            let fits = |tokens: u32| {
                tokens.div_ceil(size) - hits.len() as u32 + hits_free + watermark
                    <= self.pool.free.len() as u32
            };
            if self.spec.reserve_full_isl && !fits(head.len()) || !fits(hit_tokens + n) {
                break;
            }
            prefill |= is_prefill;
            self.start(0, hits, n, now);
            *budget -= n;
        }
        prefill
    }
}

/// What became of an attempt to find blocks.
enum Room {
    Made,
    SelfPreempted,
}
