//! `[pools.NAME]`: hardware, model, engine and its arguments, price.
//!
//! Invariants: engine arguments carry vLLM's names where vLLM has them, so a serving command line can
//! be copied key by key; what is left out is filled in by the engine's versioned preset.
//!
//! Deliberately absent: presets, GPU and model facts (see `calibrate`).

use crate::kinds::{
    Choice, Count, DURATION, Dollars, Duration, Flag, Memory, NAME, Number, TOKENS, Whole,
};
use crate::problem::{At, Site};
use crate::reader::Reader;
use calibrate::{CapacityPolicy, PerformanceMode, Precision};
use sim::engine::SchedulingPolicy;
use sim::units::{Bytes, Money, Span};

/// A pool of replicas.
pub(crate) struct PoolFile {
    pub(crate) gpu: Option<At<String>>,
    pub(crate) model: Option<At<String>>,
    pub(crate) precision: Option<At<Precision>>,
    pub(crate) tensor_parallel: Option<At<u32>>,
    pub(crate) engine: Option<At<String>>,
    pub(crate) replicas: Option<At<u32>>,
    pub(crate) price: Option<At<Money>>,
    pub(crate) dispatch_overhead: Option<At<Span>>,
    pub(crate) request_overhead: Option<At<Span>>,
    pub(crate) calibration_file: Option<At<String>>,
    pub(crate) args: EngineArgs,
    pub(crate) step_time: Option<StepTimeFile>,
    pub(crate) site: Site,
}

/// Engine arguments, by their vLLM names where vLLM has them; `None`: the preset's.
#[derive(Default)]
pub(crate) struct EngineArgs {
    pub(crate) gpu_memory_utilization: Option<At<f64>>,
    pub(crate) free_gpu_memory_fraction: Option<At<f64>>,
    pub(crate) mem_fraction_static: Option<At<f64>>,
    pub(crate) block_size: Option<At<u32>>,
    pub(crate) max_num_batched_tokens: Option<At<u32>>,
    pub(crate) max_num_seqs: Option<At<u32>>,
    pub(crate) max_model_len: Option<At<u32>>,
    pub(crate) enable_chunked_prefill: Option<At<bool>>,
    pub(crate) enable_prefix_caching: Option<At<bool>>,
    pub(crate) long_prefill_token_threshold: Option<At<u32>>,
    pub(crate) scheduler_reserve_full_isl: Option<At<bool>>,
    pub(crate) watermark: Option<At<f64>>,
    pub(crate) policy: Option<At<SchedulingPolicy>>,
    pub(crate) capacity_scheduler_policy: Option<At<CapacityPolicy>>,
    /// Whether it is `lpm`.
    pub(crate) schedule_policy: Option<At<bool>>,
    pub(crate) schedule_conservativeness: Option<At<f64>>,
    pub(crate) async_scheduling: Option<At<bool>>,
    pub(crate) max_num_queued_reqs: Option<At<u32>>,
    pub(crate) max_num_queued_tokens: Option<At<i64>>,
    pub(crate) prefill_schedule_interval: Option<At<u32>>,
    pub(crate) stream_interval: Option<At<u32>>,
    pub(crate) num_gpu_blocks_override: Option<At<u32>>,
    pub(crate) kv_cache_memory_bytes: Option<At<Bytes>>,
    pub(crate) kv_cache_dtype: Option<At<Precision>>,
    pub(crate) performance_mode: Option<At<PerformanceMode>>,
}

/// Step-time coefficients written out, for experts and tests.
pub(crate) struct StepTimeFile {
    pub(crate) fixed: Option<At<Span>>,
    pub(crate) ungraphed: Option<At<Span>>,
    pub(crate) per_token: Option<At<Span>>,
    pub(crate) linear: Vec<(u32, Span)>,
    pub(crate) per_kv_token: Option<At<Span>>,
    pub(crate) per_1024_pairs: Option<At<Span>>,
    pub(crate) graph_sizes: Vec<At<u32>>,
    pub(crate) site: Site,
}

/// Precisions of weights.
const PRECISION: Choice<Precision> = Choice(&[("bf16", Precision::Bf16), ("fp8", Precision::Fp8)]);
/// Precisions of the KV cache; "auto" is that of the activations, bf16 for every model here.
const KV_PRECISION: Choice<Precision> =
    Choice(&[("auto", Precision::Bf16), ("bf16", Precision::Bf16), ("fp8", Precision::Fp8)]);
/// Tuning goals.
const PERFORMANCE_MODE: Choice<PerformanceMode> =
    Choice(&[("balanced", PerformanceMode::Balanced), ("throughput", PerformanceMode::Throughput)]);
/// A share of something there has to be some of.
const SHARE: Number = Number { min: 0.0, max: 1.0, above: true, factor: false };
/// A count that may be zero.
const FROM_ZERO: Count = Count { min: 0, max: 10_000_000 };

pub(super) fn pool(r: &mut Reader<'_>) -> PoolFile {
    PoolFile {
        gpu: r.may("gpu", NAME, "GPU of the catalogue; needed unless step_time is written."),
        model: r.may("model", NAME, "Model of the catalogue; likewise."),
        precision: r.or("precision", PRECISION, "bf16", "Precision of the weights."),
        tensor_parallel: r.or(
            "tensor_parallel",
            Count { min: 1, max: 64 },
            "1",
            "GPUs that one replica spans.",
        ),
        engine: r.or("engine", NAME, "vllm-0.33", "Engine and version."),
        replicas: r.or("replicas", Count { min: 1, max: 10_000 }, "1", "Replicas side by side."),
        price: r.may("price", Dollars("/h"), "Price of one GPU for an hour, \"$2.99/h\"."),
        dispatch_overhead: r.may(
            "dispatch_overhead",
            Duration { max: Span::from_secs(1), ..DURATION },
            "Time of an iteration in which the GPU waits for the host, in place of the calibrated.",
        ),
        request_overhead: r.may(
            "request_overhead",
            Duration { max: Span::from_secs(60), ..DURATION },
            "Time of a request on the host before the engine has it, in place of the calibrated.",
        ),
        calibration_file: r.may(
            "calibration_file",
            NAME,
            "Calibration file in the scenario's folder, in place of the shipped coefficients.",
        ),
        args: r.table("engine_args", "Engine arguments.", engine_args).unwrap_or_default(),
        step_time: r.table(
            "step_time",
            "Step-time coefficients, in place of the catalogue's.",
            step_time,
        ),
        site: r.site().clone(),
    }
}

fn engine_args(r: &mut Reader<'_>) -> EngineArgs {
    let others = other_args(r);
    EngineArgs {
        max_num_batched_tokens: r.may(
            "max_num_batched_tokens",
            TOKENS,
            "Tokens one iteration may process.",
        ),
        max_num_seqs: r.may(
            "max_num_seqs",
            Count { min: 1, max: 1_000_000 },
            "Sequences that may run at once.",
        ),
        max_model_len: r.may(
            "max_model_len",
            Count { min: 2, max: 10_000_000 },
            "Prompt plus output tokens of one request.",
        ),
        enable_chunked_prefill: r.may(
            "enable_chunked_prefill",
            Flag,
            "Whether a prompt may be computed in several iterations.",
        ),
        long_prefill_token_threshold: r.may(
            "long_prefill_token_threshold",
            FROM_ZERO,
            "Longest prefill chunk while other requests exist; 0 for no limit.",
        ),
        scheduler_reserve_full_isl: r.may(
            "scheduler_reserve_full_isl",
            Flag,
            "Admit a request only when its whole known sequence fits.",
        ),
        policy: r.may(
            "policy",
            Choice(&[("fcfs", SchedulingPolicy::Fcfs), ("priority", SchedulingPolicy::Priority)]),
            "Order of admission and preemption.",
        ),
        async_scheduling: r.may(
            "async_scheduling",
            Flag,
            "Whether an iteration is scheduled before the last one's tokens are known.",
        ),
        max_num_queued_reqs: r.may(
            "max_num_queued_reqs",
            FROM_ZERO,
            "Requests that may wait or run in a replica; one more is answered with HTTP 503.",
        ),
        max_num_queued_tokens: r.may(
            "max_num_queued_tokens",
            Whole { min: 0, max: 1_000_000_000_000 },
            "Prompt tokens without a first token; from so many on, HTTP 503.",
        ),
        prefill_schedule_interval: r.may(
            "prefill_schedule_interval",
            Count { min: 1, max: 1_000_000 },
            "Prefill at most once in so many iterations while anybody decodes.",
        ),
        stream_interval: r.may(
            "stream_interval",
            TOKENS,
            "Tokens of a streamed chunk after the first; moves no reported number.",
        ),
        performance_mode: r.may("performance_mode", PERFORMANCE_MODE, "The engine's tuning goal."),
        ..others
    }
}

/// Arguments that vLLM lacks, and those about memory.
fn other_args(r: &mut Reader<'_>) -> EngineArgs {
    let memory = memory_args(r);
    EngineArgs {
        free_gpu_memory_fraction: r.may(
            "free_gpu_memory_fraction",
            SHARE,
            "TensorRT-LLM: share for the KV cache of what weights and buffers leave.",
        ),
        mem_fraction_static: r.may(
            "mem_fraction_static",
            SHARE,
            "SGLang: share of GPU memory for weights and KV cache.",
        ),
        capacity_scheduler_policy: r.may(
            "capacity_scheduler_policy",
            Choice(&[
                ("GUARANTEED_NO_EVICT", CapacityPolicy::GuaranteedNoEvict),
                ("MAX_UTILIZATION", CapacityPolicy::MaxUtilization),
            ]),
            "TensorRT-LLM: who may start.",
        ),
        schedule_policy: r.may(
            "schedule_policy",
            Choice(&[("fcfs", false), ("lpm", true)]),
            "SGLang: order of the waiting, by arrival or by the longest cached prefix.",
        ),
        schedule_conservativeness: r.may(
            "schedule_conservativeness",
            Number::within(0.0, 10.0),
            "SGLang: factor on the output that requests are expected to write.",
        ),
        ..memory
    }
}

/// Arguments about the KV cache and memory.
fn memory_args(r: &mut Reader<'_>) -> EngineArgs {
    EngineArgs {
        gpu_memory_utilization: r.may(
            "gpu_memory_utilization",
            SHARE,
            "vLLM: share of GPU memory the engine may use.",
        ),
        block_size: r.may("block_size", Count { min: 1, max: 4_096 }, "Tokens in a KV block."),
        enable_prefix_caching: r.may(
            "enable_prefix_caching",
            Flag,
            "Whether full blocks are kept and shared by content.",
        ),
        watermark: r.may(
            "watermark",
            Number::within(0.0, 0.99),
            "Share of the KV blocks kept free on admission.",
        ),
        num_gpu_blocks_override: r.may(
            "num_gpu_blocks_override",
            Count { min: 2, max: 100_000_000 },
            "KV blocks, in place of what memory leaves.",
        ),
        kv_cache_memory_bytes: r.may(
            "kv_cache_memory_bytes",
            Memory,
            "Memory of the KV cache on each GPU, \"40GiB\" or bytes, in place of what is left.",
        ),
        kv_cache_dtype: r.may("kv_cache_dtype", KV_PRECISION, "Precision of the KV cache."),
        ..EngineArgs::default()
    }
}

fn step_time(r: &mut Reader<'_>) -> StepTimeFile {
    StepTimeFile {
        fixed: r.or("fixed", DURATION, "0s", "Paid by every iteration."),
        ungraphed: r.or(
            "ungraphed",
            DURATION,
            "0s",
            "Paid besides by an iteration that cannot run as one captured graph.",
        ),
        per_token: r.may("per_token", DURATION, "Paid for each token of an iteration."),
        linear: r.pairs(
            "linear",
            (FROM_ZERO, DURATION),
            "Knots `[tokens, time]`, in place of per_token.",
        ),
        per_kv_token: r.or(
            "per_kv_token",
            DURATION,
            "0s",
            "Paid for each KV token that a decoding sequence reads.",
        ),
        per_1024_pairs: r.or(
            "per_1024_pairs",
            DURATION,
            "0s",
            "Paid for 1024 (token, context) pairs of prefill attention.",
        ),
        graph_sizes: r.values("graph_sizes", TOKENS, "Captured batch sizes, rising."),
        site: r.site().clone(),
    }
}
