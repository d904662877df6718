//! The knobs of one serving engine, as resolved numbers.
//!
//! Names and meaning follow vLLM's engine arguments; the versioned presets that fill them in live
//! in the crate `calibrate`.

use crate::units::{Blocks, Tokens};

/// Order in which waiting requests are admitted and running ones are preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulingPolicy {
    /// First come, first served; the latest admitted is preempted first.
    Fcfs,
    /// Smaller priority value first, ties by arrival; the largest is preempted first.
    Priority,
}

/// One replica's scheduler and cache settings.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSpec {
    /// KV blocks in the pool, the null block (never handed out) included; at least 2.
    pub kv_blocks: Blocks,
    /// Tokens in a block; at least 1.
    pub block_size: Tokens,
    /// Tokens one iteration may process; at least 1.
    pub max_num_batched_tokens: Tokens,
    /// Sequences that may run at once; at least 1.
    pub max_num_seqs: u32,
    /// Prompt plus output tokens of one request; at least 2. A prompt of this length or longer is
    /// rejected.
    pub max_model_len: Tokens,
    /// Whether full blocks are kept and shared by content.
    pub prefix_caching: bool,
    /// Admission and preemption order.
    pub policy: SchedulingPolicy,
    /// Blocks kept free when a waiting request is admitted beside running ones.
    pub watermark: Blocks,
    /// Admit a request only when its whole known sequence fits, not only the first chunk.
    pub reserve_full_isl: bool,
    /// Longest prefill chunk of one request while others exist; 0 = no limit.
    pub long_prefill_token_threshold: Tokens,
    /// Whether a prompt may be computed in several iterations.
    pub chunked_prefill: bool,
    /// Whether iteration k+1 is scheduled before iteration k's tokens are known: a sequence that
    /// ends by EOS then occupies one extra iteration.
    pub async_scheduling: bool,
    /// Requests that may wait or run in one replica; one more is rejected (HTTP 503). `None`: no limit.
    pub max_num_queued_reqs: Option<u32>,
    /// Prompt tokens of requests without a first token from which on one more request is rejected
    /// (HTTP 503). `None`: no limit.
    pub max_num_queued_tokens: Option<u64>,
    /// Prefill at most once in so many iterations, the ones in between decode alone; at least 1.
    pub prefill_schedule_interval: u32,
}

impl EngineSpec {
    /// Longest sequence (prompt + output) whose KV fits the pool when it runs alone.
    #[must_use]
    pub fn kv_token_capacity(&self) -> u64 {
        u64::from(self.kv_blocks.0.saturating_sub(1)) * u64::from(self.block_size.0)
    }
}
