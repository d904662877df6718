//! How many KV blocks fit beside the weights.
//!
//! ```text
//! requested = ⌈total · gpu_memory_utilization⌉
//! blocks    = ⌊(requested − weights − other) / (block_size · bytes per token)⌋     per GPU
//! ```
//!
//! TensorRT-LLM takes its fraction of what weights and buffers leave, `fraction · (total − weights −
//! other)`; SGLang's covers weights and cache, so that of `other` only the base is inside it.
//!
//! `kv_cache_memory_bytes` takes the place of `requested − weights − other`;
//! `num_gpu_blocks_override` takes the place of `blocks`.
//!
//! `other` is a prior: what the engine keeps whatever the batch, and the peak of its profile run,
//! which is the larger of a forward pass over a full batch and the sampling for all sequences:
//!
//! ```text
//! other = base + max(slope · max_num_batched_tokens, 14 bytes · vocabulary · max_num_seqs)
//! ```
//!
//! Source of the rule: vLLM 0.33.0, `v1/worker/gpu_worker.py` and `v1/core/kv_cache_utils.py`; of
//! the 14 bytes, `v1/sample/sampler.py`: see [`SAMPLER_BYTES`].
//!
//! Invariants: weights always fit beside whatever cache was asked for; the pool holds at least the null block and one more, and one sequence of
//! `max_model_len` tokens; anything less is an error that says what would fit.
//!
//! Deliberately absent: offloading, pipeline stages, adapters.

use sim::units::{Blocks, Bytes, Tokens};

use crate::catalog::catalog;
use crate::engine_family::Family;
use crate::engine_preset::EngineDefaults;
use crate::gpu::Gpu;
use crate::model::{Model, Precision};

/// Bytes that sampling takes for each sequence and entry of the vocabulary, on every GPU: logits
/// in BF16 (2), their copy in FP32 (4), probabilities (4) and exponential noise (4). Sorting for
/// top-k and top-p would take up to 20 more in engines without a fused kernel for it.
pub const SAMPLER_BYTES: u64 = 14;

/// What a report says of a pool whose blocks rest on the prior.
pub const ESTIMATED: &str =
    "KV capacity estimated: the memory beside weights and cache is a prior, not measured";

/// Memory of one GPU, divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvCapacity {
    /// What the engine claims.
    pub requested: Bytes,
    /// Weights on this GPU.
    pub weights: Bytes,
    /// Prior: everything that is neither weights nor KV cache.
    pub other: Bytes,
    /// Left for the KV cache.
    pub kv: Bytes,
    /// Blocks, the null block included.
    pub blocks: Blocks,
    /// Whether the blocks rest on the prior, as nobody said how many there are.
    pub estimated: bool,
}

/// Why a model cannot be served so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// Weights and overhead exceed the memory.
    #[error(
        "{model} does not fit {tensor_parallel} × {gpu}: {} MiB short on each GPU{}; {}",
        short.0.div_ceil(1 << 20),
        at_most(*most),
        advice(fits)
    )]
    DoesNotFit {
        /// The model.
        model: String,
        /// The GPU.
        gpu: String,
        /// GPUs it was to be split over.
        tensor_parallel: u32,
        /// Memory missing on each GPU for two blocks.
        short: Bytes,
        /// Where the cache was set by hand: the blocks that fit beside the weights.
        most: Option<Blocks>,
        /// (GPU, tensor parallel size) pairs that would fit, the least size for each GPU.
        fits: Vec<(String, u32)>,
    },
    /// One sequence of the longest length does not fit.
    #[error(
        "max_model_len = {wanted} needs more KV cache than there is; the largest that fits is {largest}"
    )]
    LengthDoesNotFit {
        /// What was asked for.
        wanted: u32,
        /// The largest that fits.
        largest: u64,
    },
    /// The heads cannot be split evenly.
    #[error(
        "{model} has {query_heads} query and {kv_heads} KV heads, which tensor_parallel = {tensor_parallel} does not divide"
    )]
    HeadsDoNotDivide {
        /// The model.
        model: String,
        /// Its query heads.
        query_heads: u32,
        /// Its KV heads.
        kv_heads: u32,
        /// GPUs they were to be split over.
        tensor_parallel: u32,
    },
}

fn at_most(most: Option<Blocks>) -> String {
    most.map_or_else(String::new, |most| format!(", beside whose weights {} KV blocks fit", most.0))
}

fn advice(fits: &[(String, u32)]) -> String {
    let ways: Vec<_> = fits.iter().map(|(gpu, tp)| format!("{tp} × {gpu}")).collect();
    match ways.is_empty() {
        true => "no GPU of the catalogue fits it at up to 8-way tensor parallelism".to_owned(),
        false => format!("would fit: {}", ways.join(", ")),
    }
}

/// Blocks of `block_size` tokens that `free` bytes of one GPU hold, the null block included.
#[must_use]
pub fn blocks_in(
    free: Bytes,
    model: &Model,
    kv: Precision,
    tensor_parallel: u32,
    block_size: Tokens,
) -> Blocks {
    let token = model.kv_bytes_per_token_per_gpu(kv, tensor_parallel).0;
    let block = token.saturating_mul(u64::from(block_size.0)).max(1);
    Blocks(u32::try_from(free.0 / block).unwrap_or(u32::MAX))
}

/// Divides the memory of one GPU. The blocks follow the user's `kv_blocks` when one is set.
///
/// # Errors
/// [`CapacityError`] when the heads do not divide, the weights do not fit, or one sequence of the
/// resolved `max_model_len` (the model's own when unset) does not.
pub fn kv_capacity(
    gpu: &Gpu,
    model: &Model,
    weights: Precision,
    kv: Precision,
    tensor_parallel: u32,
    engine: &EngineDefaults,
) -> Result<KvCapacity, CapacityError> {
    if !model.splits_over(tensor_parallel) {
        return Err(CapacityError::HeadsDoNotDivide {
            model: model.name.clone(),
            query_heads: model.query_heads,
            kv_heads: model.kv_heads,
            tensor_parallel,
        });
    }
    let divided = divide(gpu, model, weights, kv, tensor_parallel, engine);
    let capacity = divided.map_err(|shortage| CapacityError::DoesNotFit {
        model: model.name.clone(),
        gpu: gpu.name.clone(),
        tensor_parallel,
        short: shortage.bytes,
        most: shortage.most,
        fits: alternatives(model, weights, kv, engine),
    })?;
    let longest = engine.max_model_len.as_ref().map_or(model.max_model_len, |knob| knob.value.0);
    let largest =
        u64::from(capacity.blocks.0.saturating_sub(1)) * u64::from(engine.block_size.value.0);
    if u64::from(longest) > largest {
        return Err(CapacityError::LengthDoesNotFit { wanted: longest, largest });
    }
    Ok(capacity)
}

/// What is missing.
struct Shortage {
    bytes: Bytes,
    most: Option<Blocks>,
}

/// The prior of what is neither weights nor KV cache.
fn other_memory(model: &Model, engine: &EngineDefaults) -> Bytes {
    if engine.family == Family::Sglang {
        return Bytes(engine.non_kv_base_mib << 20);
    }
    let tokens = f64::from(engine.max_num_batched_tokens.value.0);
    let forward = (engine.non_kv_mib_per_token * tokens * f64::from(1 << 20)) as u64;
    let entries = u64::from(model.vocabulary) * u64::from(engine.max_num_seqs.value);
    // What TensorRT-LLM samples with is part of its base.
    let sampling = if engine.family == Family::Vllm { SAMPLER_BYTES * entries } else { 0 };
    Bytes((engine.non_kv_base_mib << 20) + forward.max(sampling))
}

/// The division itself, or what is missing for two blocks or for the cache that was asked for.
fn divide(
    gpu: &Gpu,
    model: &Model,
    weights: Precision,
    kv_precision: Precision,
    tp: u32,
    engine: &EngineDefaults,
) -> Result<KvCapacity, Shortage> {
    let total = gpu.memory();
    let weights = model.weight_bytes_per_gpu(weights, tp);
    let fraction = engine.gpu_memory_utilization.value;
    let share = |of: u64| (of as f64 * fraction).ceil() as u64;
    let requested = match engine.family {
        Family::Vllm | Family::Sglang => Bytes(share(total.0)),
        Family::Trtllm => {
            let taken = weights.0 + other_memory(model, engine).0;
            Bytes(taken.min(total.0) + share(total.0.saturating_sub(taken)))
        }
    };
    let size = engine.block_size.value;
    let block = model.kv_bytes_per_token_per_gpu(kv_precision, tp).0 * u64::from(size.0);
    let fit = |free: Bytes| blocks_in(free, model, kv_precision, tp, size);
    // The engine takes a figure set by hand on trust, and runs out of memory when there is not
    // that much. The prior is no reason to refuse it: it may well be a measurement.
    let by_hand = |claimed: Bytes, kv: Bytes, blocks: Blocks| {
        let beside = Bytes(total.0.saturating_sub(weights.0));
        let over_total = weights.0.saturating_add(kv.0.max(2 * block)).saturating_sub(total.0);
        let short = weights.0.saturating_sub(claimed.0).max(over_total);
        if short > 0 {
            let most = (weights.0 < claimed.0).then(|| fit(beside));
            return Err(Shortage { bytes: Bytes(short), most });
        }
        let requested = Bytes(weights.0 + kv.0);
        Ok(KvCapacity { requested, weights, other: Bytes(0), kv, blocks, estimated: false })
    };
    if let Some(forced) = &engine.kv_blocks {
        let kv = Bytes(u64::from(forced.value.0).saturating_mul(block));
        return by_hand(requested, kv, forced.value);
    }
    if let Some(forced) = &engine.kv_cache_memory_bytes {
        return by_hand(total, forced.value, fit(forced.value));
    }
    let other = other_memory(model, engine);
    let least = weights.0 + other.0 + 2 * block;
    if requested.0 < least {
        return Err(Shortage { bytes: Bytes(least - requested.0), most: None });
    }
    let kv = Bytes(requested.0 - weights.0 - other.0);
    Ok(KvCapacity { requested, weights, other, kv, blocks: fit(kv), estimated: true })
}

fn alternatives(
    model: &Model,
    weights: Precision,
    kv: Precision,
    engine: &EngineDefaults,
) -> Vec<(String, u32)> {
    let gpus = catalog().map(|c| c.gpus.as_slice()).unwrap_or_default();
    let least = |gpu: &Gpu| {
        [1, 2, 4, 8].into_iter().find(|&tp| {
            model.splits_over(tp) && divide(gpu, model, weights, kv, tp, engine).is_ok()
        })
    };
    gpus.iter().filter_map(|gpu| Some((gpu.name.clone(), least(gpu)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_preset::EngineOverrides;

    fn engine(preset: &str, gpu: &str, overrides: &EngineOverrides) -> EngineDefaults {
        let gpu = crate::gpu(gpu).expect("in the catalogue");
        crate::engine_preset(preset).expect("a preset").resolve(gpu, overrides).expect("valid")
    }

    fn capacity(
        (preset, gpu, model, tp): (&str, &str, &str, u32),
        (weights, kv): (Precision, Precision),
        overrides: &EngineOverrides,
    ) -> Result<KvCapacity, CapacityError> {
        let defaults = engine(preset, gpu, overrides);
        let model = crate::model(model).expect("in the catalogue");
        kv_capacity(crate::gpu(gpu).expect("in the catalogue"), model, weights, kv, tp, &defaults)
    }

    const BF16: (Precision, Precision) = (Precision::Bf16, Precision::Bf16);

    #[test]
    fn blocks_match_the_reference_value() {
        let model = crate::model("llama-3.1-8b").expect("in the catalogue");
        let blocks = blocks_in(Bytes(55_834_574_848), model, Precision::Bf16, 1, Tokens(16));
        assert_eq!(blocks, Blocks(26_624));
    }

    /// Blocks of the trtllm rows of that table (1.3.0rc20): a fraction of 0.9, 8192 tokens.
    #[test]
    fn the_prior_of_trtllm_stays_near_the_capacity_table() {
        let fp8 = (Precision::Fp8, Precision::Bf16);
        let rows = [
            ("h100", "llama-3.1-8b", 1, BF16, 28_042),
            ("h100", "llama-3.1-8b", 2, BF16, 62_928),
            ("h100", "llama-3.1-70b", 2, fp8, 15_306),
            ("h100", "llama-3.1-70b", 4, BF16, 31_436),
            ("h100", "llama-3.1-70b", 8, BF16, 87_095),
            ("h200", "llama-3.1-8b", 1, BF16, 56_151),
        ];
        let o = EngineOverrides {
            block_size: Some(Tokens(16)),
            max_model_len: Some(Tokens(4096)),
            ..EngineOverrides::default()
        };
        for (gpu, model, tp, precisions, blocks) in rows {
            let c = capacity(("trtllm", gpu, model, tp), precisions, &o).expect("it fits");
            let ratio = f64::from(c.blocks.0) / f64::from(blocks);
            assert!((0.94..=1.06).contains(&ratio), "{gpu} {model} tp{tp}: {ratio}");
            assert!(c.estimated);
        }
    }

    /// SGLang's fraction covers weights and cache; what it runs in is outside.
    #[test]
    fn the_static_fraction_of_sglang_is_weights_and_cache() {
        let o = EngineOverrides {
            gpu_memory_utilization: Some(0.8),
            max_model_len: Some(Tokens(4096)),
            ..EngineOverrides::default()
        };
        let c = capacity(("sglang", "h100", "llama-3.1-8b", 1), BF16, &o).expect("it fits");
        let total = crate::gpu("h100").expect("in the catalogue").memory().0;
        assert_eq!(c.requested.0, (total as f64 * 0.8).ceil() as u64);
        assert_eq!(c.requested.0, c.weights.0 + c.kv.0 + (1024 << 20));
    }

    /// Blocks of the vllm rows of the capacity table of aiconfigurator-core 0.12.0 (Apache-2.0),
    /// read 2026-11-23, at a memory fraction of 0.9, 8192 tokens an iteration and 256 sequences.
    #[test]
    fn the_prior_stays_near_the_capacity_table() {
        let fp8 = (Precision::Fp8, Precision::Bf16);
        let rows = [
            ("h100", "llama-3.1-8b", 1, BF16, 27_062),
            ("h100", "llama-3.1-8b", 1, fp8, 30_390),
            ("h100", "llama-3.1-8b", 2, BF16, 61_728),
            ("h100", "llama-3.1-70b", 2, fp8, 13_730),
            ("h100", "llama-3.1-70b", 4, BF16, 28_376),
            ("h100", "llama-3.1-70b", 8, BF16, 83_665),
            ("h200", "llama-3.1-8b", 1, BF16, 55_170),
            ("h200", "llama-3.1-70b", 2, BF16, 23_161),
            ("h200", "llama-3.1-70b", 4, fp8, 86_406),
            ("h200", "llama-3.1-70b", 8, BF16, 173_613),
        ];
        let o = EngineOverrides {
            gpu_memory_utilization: Some(0.9),
            max_num_batched_tokens: Some(Tokens(8192)),
            max_num_seqs: Some(256),
            max_model_len: Some(Tokens(4096)),
            ..EngineOverrides::default()
        };
        for (gpu, model, tp, precisions, expected) in rows {
            let got = capacity(("vllm-0.33", gpu, model, tp), precisions, &o).expect("fits");
            let error = f64::from(got.blocks.0) / f64::from(expected) - 1.0;
            assert!(error.abs() < 0.05, "{gpu} {model} tp{tp}: {error:+.3}");
        }
    }

    /// Start-up logs of vllm 0.11.0, inference-sim/inference-sim at e7a4aa37 (Apache-2.0).
    #[test]
    fn the_older_prior_reproduces_two_start_up_logs() {
        for (model, length, batch, seqs, tokens) in
            [("llama-2-7b", 4096, 4096, 256, 119_008.0), ("codellama-34b", 8192, 64, 32, 44_640.0)]
        {
            let o = EngineOverrides {
                max_num_batched_tokens: Some(Tokens(batch)),
                max_num_seqs: Some(seqs),
                max_model_len: Some(Tokens(length)),
                ..EngineOverrides::default()
            };
            let got = capacity(("vllm-0.11", "h100", model, 1), BF16, &o).expect("fits");
            let ratio = f64::from(got.blocks.0) * 16.0 / tokens;
            assert!((0.99..1.01).contains(&ratio), "{model}: {ratio}");
        }
    }

    #[test]
    fn forced_bytes_take_the_place_of_the_arithmetic() {
        let forced = |bytes: u64, utilisation: f64| {
            let o = EngineOverrides {
                gpu_memory_utilization: Some(utilisation),
                max_model_len: Some(Tokens(16)),
                kv_cache_memory_bytes: Some(Bytes(bytes)),
                ..EngineOverrides::default()
            };
            capacity(("vllm-0.33", "h100", "llama-3.1-8b", 1), BF16, &o)
        };
        // 2 MiB a block, whatever share of the memory the engine would have claimed.
        for utilisation in [0.3, 0.92] {
            let got = forced((3 << 30) + (2 << 20) - 1, utilisation).expect("fits");
            assert_eq!(got.blocks, Blocks(1536));
        }
        // What the arithmetic leaves, said outright, gives the same blocks.
        let o = EngineOverrides { max_model_len: Some(Tokens(16)), ..Default::default() };
        let free = capacity(("vllm-0.33", "h100", "llama-3.1-8b", 1), BF16, &o).expect("fits");
        let said = forced(free.kv.0, 0.92).expect("fits");
        assert_eq!(said.blocks, free.blocks);
        assert!(free.estimated && !said.estimated);
        // More than there is beside the weights, or less than two blocks.
        assert!(matches!(forced(75 << 30, 0.92), Err(CapacityError::DoesNotFit { .. })));
        assert!(forced(u64::MAX, 0.92).is_err());
        assert!(matches!(forced(1 << 20, 0.92), Err(CapacityError::LengthDoesNotFit { .. })));
    }

    /// 1024 sequences of a vocabulary of 128,256 need 1,753 MiB to sample, 256 need 438; the
    /// forward pass over 8192 tokens needs 639 whatever the sequences.
    #[test]
    fn sampling_for_many_sequences_costs_blocks() {
        let blocks = |seqs: u32| {
            let o = EngineOverrides {
                max_model_len: Some(Tokens(4096)),
                max_num_seqs: Some(seqs),
                ..EngineOverrides::default()
            };
            capacity(("vllm-0.33", "h100", "llama-3.1-8b", 1), BF16, &o).expect("fits").blocks.0
        };
        assert_eq!(blocks(1), blocks(256));
        let mib = f64::from(blocks(256) - blocks(1024)) * 2.0;
        assert!((mib - (1753.4 - 639.0)).abs() < 4.0, "{mib}");
    }

    #[test]
    fn forced_blocks_have_to_fit_beside_the_weights() {
        let forced = |model: &str, blocks: u32| {
            let o = EngineOverrides {
                max_model_len: Some(Tokens(16)),
                kv_blocks: Some(Blocks(blocks)),
                ..EngineOverrides::default()
            };
            capacity(("vllm-0.33", "h100", model, 1), BF16, &o)
        };
        let got = forced("llama-3.1-8b", 30_000).expect("60,000 of 66,000 MiB");
        assert!(got.blocks == Blocks(30_000) && !got.estimated);
        let error = forced("llama-3.1-8b", 40_000).expect_err("80,000 MiB").to_string();
        assert!(error.contains("33121 KV blocks fit"), "{error}");
        // 134 GiB of weights do not fit, however few blocks there are beside them.
        let error = forced("llama-3.1-70b", 2).expect_err("too large").to_string();
        assert!(error.contains("would fit: 2 × h100-sxm"), "{error}");
        assert!(forced("llama-3.1-8b", u32::MAX).is_err());
    }

    #[test]
    fn errors_say_what_would_fit() {
        let o = EngineOverrides { max_model_len: Some(Tokens(4096)), ..Default::default() };
        let error = capacity(("vllm-0.33", "h100", "llama-3.1-70b", 1), BF16, &o).expect_err("no");
        assert!(error.to_string().contains("2 × h100-sxm"), "{error}");
        let o = EngineOverrides::default();
        let error = capacity(("vllm-0.33", "h100", "llama-3.1-70b", 2), BF16, &o).expect_err("no");
        assert!(matches!(error, CapacityError::LengthDoesNotFit { wanted: 131_072, .. }));
        let error = capacity(("vllm-0.33", "h100", "qwen2.5-7b", 8), BF16, &o).expect_err("no");
        assert!(matches!(error, CapacityError::HeadsDoNotDivide { .. }));
        let error = capacity(("vllm-0.33", "h100", "qwen2.5-7b", 0), BF16, &o).expect_err("no");
        assert!(matches!(error, CapacityError::HeadsDoNotDivide { .. }));
    }
}
