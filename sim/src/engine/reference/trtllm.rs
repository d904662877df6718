//! An iteration as TensorRT-LLM decides it: which requests have capacity, then how many of their
//! tokens go into the batch.
//!
//! Deliberately absent: what an iteration does once it is decided (see `reference`).

use super::{ReferenceReplica, Seq};
use crate::engine::spec::Scheduling;
use crate::units::Time;

impl ReferenceReplica {
    /// The capacity scheduler of `MAX_UTILIZATION`: goes through the running in the order of their
    /// start and pauses the last of them whenever the next one does not fit.
    pub(super) fn pause(&mut self) {
        let (mut at, mut claimed) = (0, 0);
        while at < self.running.len() {
            let seq = &self.running[at];
            // A prompt has all its blocks from its first chunk on: here they are set aside.
            let needed = self.missing_blocks(seq, seq.len() - seq.computed);
            if claimed + needed <= self.pool.free.len() {
                claimed += needed;
                at += 1;
            } else {
                self.preempt(self.running.len() - 1);
            }
        }
    }

    /// The micro-batch scheduler: decodes, then a prompt that was cut, then new requests as long
    /// as the capacity scheduler lets them in.
    pub(super) fn schedule_trtllm(&mut self, now: Time) {
        let mut tokens = self.spec.max_num_batched_tokens.0;
        for at in 0..self.running.len() {
            if !self.running[at].is_prefill_chunk {
                self.grow(at, 1);
                tokens -= 1;
            }
        }
        for at in 0..self.running.len() {
            let seq = &self.running[at];
            if seq.is_prefill_chunk {
                let rest = seq.len() - seq.computed;
                let n = self.chunk(rest, tokens);
                if n > 0 {
                    self.grow(at, n);
                }
                tokens = if n < rest { 0 } else { tokens - n };
            }
        }
        // Whoever was paused stands first in the queue, and nobody overtakes.
        while self.last_step.preempted.is_empty()
            && tokens > 0
            && !self.waiting.is_empty()
            && self.running.len() < self.spec.max_num_seqs as usize
        {
            let hits = self.find_hits(0);
            let rest = self.waiting[0].len() - hits.len() as u32 * self.spec.block_size.0;
            let n = self.chunk(rest, tokens);
            if n == 0 || n < rest && !self.spec.chunked_prefill || !self.has_capacity(&hits) {
                break;
            }
            self.start(0, hits, n, now);
            tokens = if n < rest { 0 } else { tokens - n };
        }
    }

    /// Tokens of a prompt that go into the batch: all, or as many whole blocks as there is room
    /// for.
    fn chunk(&self, rest: u32, room: u32) -> u32 {
        let size = self.spec.block_size.0;
        if rest <= room { rest } else { room / size * size }
    }

    /// Whether the head of the queue, which can use these cached blocks, may start.
    fn has_capacity(&self, hits: &[usize]) -> bool {
        let head = &self.waiting[0];
        let held_elsewhere = hits.len() as u32 - self.pool.free_among(hits);
        let size = self.spec.block_size.0;
        let to_completion = |seq: &Seq| {
            let most = self.spec.plannable(seq.request.prompt, seq.request.max_tokens);
            (seq.request.prompt + most).div_ceil(size)
        };
        let free = self.pool.free.len() as u32;
        if self.spec.scheduling != Scheduling::GuaranteedNoEvict {
            return head.len().div_ceil(size) - held_elsewhere <= free;
        }
        let left = |seq: &Seq| to_completion(seq) - seq.blocks.len() as u32;
        let reserved: u32 = self.running.iter().map(left).sum();
        to_completion(head) - held_elsewhere + reserved <= free
    }
}
