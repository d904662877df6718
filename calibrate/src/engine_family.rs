//! Engines that schedule alike, whatever their version, and the arguments each of them has.
//!
//! Invariants: arguments carry vLLM's names where vLLM has them, as everywhere in scenario files;
//! an argument that an engine lacks is never taken and ignored.
//!
//! Deliberately absent: defaults (see `engine_preset`).

use serde::Deserialize;

/// Which engine a preset is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// vLLM.
    Vllm,
    /// TensorRT-LLM, its PyTorch backend.
    Trtllm,
    /// SGLang.
    Sglang,
}

/// TensorRT-LLM's `capacity_scheduler_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CapacityPolicy {
    /// Nobody who started is ever paused.
    #[default]
    GuaranteedNoEvict,
    /// As many as possible run; the last to start are paused when blocks run out.
    MaxUtilization,
}

/// Arguments that not every engine has, and which of them do.
const PARTIAL: [(&str, &[Family]); 15] = [
    ("gpu_memory_utilization", &[Family::Vllm]),
    ("free_gpu_memory_fraction", &[Family::Trtllm]),
    ("mem_fraction_static", &[Family::Sglang]),
    ("policy", &[Family::Vllm]),
    ("capacity_scheduler_policy", &[Family::Trtllm]),
    ("schedule_policy", &[Family::Sglang]),
    ("schedule_conservativeness", &[Family::Sglang]),
    ("watermark", &[Family::Vllm]),
    ("reserve_full_isl", &[Family::Vllm]),
    ("long_prefill_token_threshold", &[Family::Vllm]),
    ("async_scheduling", &[Family::Vllm, Family::Trtllm]),
    ("max_num_queued_reqs", &[Family::Vllm]),
    ("max_num_queued_tokens", &[Family::Vllm]),
    ("prefill_schedule_interval", &[Family::Vllm]),
    ("performance_mode", &[Family::Vllm]),
];

impl Family {
    /// Name in files of measurements.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Family::Vllm => "vllm",
            Family::Trtllm => "trtllm",
            Family::Sglang => "sglang",
        }
    }

    /// Whether the engine has the argument of this name, or the simulator models it for the
    /// engine: `async_scheduling` of SGLang is left out.
    #[must_use]
    pub fn has(self, argument: &str) -> bool {
        let partial = PARTIAL.iter().find(|(name, _)| *name == argument);
        partial.is_none_or(|(_, families)| families.contains(&self))
    }

    /// The argument that says how much of a GPU's memory the engine takes. The share is of all the
    /// memory in vLLM (everything) and SGLang (weights and KV cache), and of what weights and
    /// buffers leave in TensorRT-LLM (KV cache).
    #[must_use]
    pub fn memory_fraction(self) -> &'static str {
        match self {
            Family::Vllm => "gpu_memory_utilization",
            Family::Trtllm => "free_gpu_memory_fraction",
            Family::Sglang => "mem_fraction_static",
        }
    }
}
