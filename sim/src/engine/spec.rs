//! The knobs of one serving engine, as resolved numbers.
//!
//! Names and meaning follow vLLM's engine arguments, also where another engine calls the same thing
//! otherwise; the versioned presets that fill them in live in the crate `calibrate`.

use crate::units::{Blocks, Tokens};

/// Order in which waiting requests are admitted and running ones are preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulingPolicy {
    /// First come, first served; the latest admitted is preempted first.
    Fcfs,
    /// Smaller priority value first, ties by arrival; the largest is preempted first.
    Priority,
}

/// Whose rules decide who takes part in an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// vLLM V1.
    Vllm,
    /// TensorRT-LLM with the capacity policy `GUARANTEED_NO_EVICT`: a request is admitted only if
    /// everything it and the running ones may still need fits.
    GuaranteedNoEvict,
    /// TensorRT-LLM with the capacity policy `MAX_UTILIZATION`: a request is admitted if its known
    /// tokens fit; the requests that started last are paused when blocks run out.
    MaxUtilization,
    /// SGLang: prefill before decode, admission by an estimate of what decodes will need.
    Sglang(Sglang),
}

/// What SGLang's scheduler has besides; its `new_token_ratio` in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sglang {
    /// Whether waiting requests are ordered by the longest cached prefix (`lpm`) instead of by
    /// arrival; without effect when prefixes are not cached.
    pub longest_prefix_match: bool,
    /// Share of its declared output that a running request is expected to write, at first.
    pub init_new_token_ratio: u32,
    /// What it decays to; at most the one at first.
    pub min_new_token_ratio: u32,
    /// What it loses in a decode iteration.
    pub new_token_ratio_decay: u32,
}

/// A whole in billionths.
pub(super) const BILLION: u32 = 1_000_000_000;

/// What SGLang expects a request to write at most, whatever it declared
/// (`SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION`).
pub(super) const CLIPPED_ESTIMATE: u32 = 4_096;

/// Tokens that SGLang expects each request to write at least once somebody was retracted
/// (`SGLANG_RETRACT_DECODE_STEPS`).
const RETRACT_DECODE_STEPS: u64 = 20;

impl Sglang {
    /// The ratio after a retraction that left `kept` requests, which have written `written` of
    /// `declared` tokens.
    pub(super) fn ratio_after_retraction(kept: u64, written: u64, declared: u64) -> u32 {
        let expected = u128::from(written + RETRACT_DECODE_STEPS * kept) * u128::from(BILLION);
        (expected / u128::from(declared + 1)).min(BILLION.into()) as u32
    }

    /// The ratio after so many decode iterations.
    pub(super) fn decayed(&self, ratio: u32, iterations: u64) -> u32 {
        let loss = u64::from(self.new_token_ratio_decay).saturating_mul(iterations);
        let left = u64::from(ratio).saturating_sub(loss) as u32;
        // One that a retraction set below the least rises to it, as in SGLang.
        if iterations == 0 { ratio } else { left.max(self.min_new_token_ratio) }
    }
}

/// One replica's scheduler and cache settings.
///
/// Engines lack some of each other's knobs. Outside [`Scheduling::Vllm`] `policy` is
/// [`SchedulingPolicy::Fcfs`], `watermark` 0, `reserve_full_isl` true,
/// `long_prefill_token_threshold` 0 and `prefill_schedule_interval` 1. TensorRT-LLM needs
/// `max_num_batched_tokens` of at least `max_num_seqs` and `block_size`. Under SGLang
/// `max_num_batched_tokens` bounds prefill iterations alone (`chunked_prefill_size`, a multiple of
/// `block_size`, or `max_prefill_tokens` without chunks), and `async_scheduling` is false.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSpec {
    /// Whose rules it schedules by.
    pub scheduling: Scheduling,
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

    /// Whether a request of this size can ever run: vLLM answers HTTP 400 to a prompt that leaves
    /// no room for output, and a sequence larger than the cache would wait for ever.
    pub(super) fn accepts(&self, prompt: u32, outputs: u32) -> bool {
        let longest = u64::from(prompt) + u64::from(outputs);
        let room = self.kv_token_capacity().saturating_sub(self.kept_free());
        // A request that may lose its blocks computes its answer again as part of its prompt.
        let at_once = match self.scheduling {
            Scheduling::GuaranteedNoEvict => u64::from(prompt),
            Scheduling::Vllm | Scheduling::MaxUtilization => longest,
            // One prompt alone may exceed the limit.
            Scheduling::Sglang(_) => 0,
        };
        prompt > 0
            && outputs > 0
            && longest <= u64::from(self.max_model_len.0)
            && longest <= room
            && (self.chunked_prefill || at_once <= u64::from(self.max_num_batched_tokens.0))
    }

    /// Tokens a request may write as far as the scheduler plans for it: what its client declared,
    /// as far as the context and the whole cache allow.
    pub(super) fn plannable(&self, prompt: u32, declared: u32) -> u32 {
        if self.scheduling == Scheduling::Vllm {
            return declared;
        }
        let room = self.kv_token_capacity().saturating_sub(self.kept_free());
        let longest = room.min(self.max_model_len.0.into());
        let left = longest.saturating_sub(prompt.into());
        declared.min(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Tokens that even the only request leaves free: SGLang's admission wants a block besides and
    /// a token to spare.
    fn kept_free(&self) -> u64 {
        match self.scheduling {
            Scheduling::Sglang(_) => u64::from(self.block_size.0) + 1,
            _ => 0,
        }
    }
}
