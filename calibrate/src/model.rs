//! One language model: its shape, the memory of its weights and of a token's keys and values.
//!
//! Invariants: sizes are exact integers derived from the published configuration; a quantity per
//! GPU under tensor parallelism is rounded up, so capacity is never overstated.
//!
//! Deliberately absent: sliding-window and hybrid attention (so no Gemma and no gpt-oss, whose KV
//! cache would be overstated), sparse attention, pipeline and expert parallelism.

use serde::Deserialize;
use sim::units::Bytes;

/// Number format of weights or of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Two bytes a number.
    Bf16,
    /// One byte a number.
    Fp8,
}

impl Precision {
    /// Bytes of one number.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Precision::Bf16 => 2,
            Precision::Fp8 => 1,
        }
    }

    /// Name in scenario files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::Bf16 => "bf16",
            Precision::Fp8 => "fp8",
        }
    }
}

/// Routed experts of a mixture-of-experts model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moe {
    /// Routed experts in a layer.
    pub experts: u32,
    /// Experts one token is sent to.
    pub active: u32,
    /// Parameters of one expert in one layer.
    pub expert_params: u64,
    /// Layers that have experts.
    pub layers: u32,
}

/// Multi-head latent attention: one compressed vector a token and layer instead of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mla {
    /// Rank of the compressed keys and values.
    pub kv_lora_rank: u64,
    /// Width of the part of a key that carries the position.
    pub rope_dim: u64,
    /// Width of the rest of a key.
    pub nope_dim: u64,
    /// Width of a value.
    pub value_dim: u64,
}

/// Facts of one model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name in scenario files.
    pub name: String,
    /// Other names accepted.
    pub aliases: Vec<String>,
    /// Transformer layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub query_heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// All parameters.
    pub params: u64,
    /// Parameters one token passes through.
    pub active_params: u64,
    /// Entries of the vocabulary.
    pub vocabulary: u32,
    /// Longest sequence by the published configuration (`max_position_embeddings`).
    pub max_model_len: u32,
    /// Whether the output layer is the embedding, so that both are one tensor.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// Experts, if it has them.
    pub moe: Option<Moe>,
    /// Latent attention, if it has it.
    pub mla: Option<Mla>,
    /// Where the row is from.
    pub source: String,
    /// Date of the row, ISO 8601.
    pub as_of: String,
}

impl Model {
    /// KV bytes of one token over all layers: `2·L·h·d·b`, or `L·(rank + rope)·b` with MLA.
    #[must_use]
    pub fn kv_bytes_per_token(&self, kv: Precision) -> Bytes {
        let layer = match self.mla {
            Some(mla) => mla.kv_lora_rank + mla.rope_dim,
            None => 2 * u64::from(self.kv_heads) * u64::from(self.head_dim),
        };
        Bytes(u64::from(self.layers) * layer * kv.bytes())
    }

    /// KV bytes of one token on one of `tensor_parallel` GPUs: heads are split while there are
    /// enough of them and replicated beyond; MLA is replicated on every GPU.
    #[must_use]
    pub fn kv_bytes_per_token_per_gpu(&self, kv: Precision, tensor_parallel: u32) -> Bytes {
        let whole = self.kv_bytes_per_token(kv).0;
        if self.mla.is_some() {
            return Bytes(whole);
        }
        let split = tensor_parallel.clamp(1, self.kv_heads.max(1));
        Bytes(whole.div_ceil(u64::from(split)))
    }

    /// Bytes of all weights. FP8 checkpoints keep the embedding and the output layer in BF16.
    #[must_use]
    pub fn weight_bytes(&self, weights: Precision) -> Bytes {
        let tensors = if self.tied_embeddings { 1 } else { 2 };
        let ends = tensors * u64::from(self.vocabulary) * u64::from(self.hidden);
        let kept = match weights {
            Precision::Bf16 => 0,
            Precision::Fp8 => ends.min(self.params),
        };
        Bytes((self.params - kept) * weights.bytes() + kept * Precision::Bf16.bytes())
    }

    /// Bytes of weights on each of `tensor_parallel` GPUs.
    #[must_use]
    pub fn weight_bytes_per_gpu(&self, weights: Precision, tensor_parallel: u32) -> Bytes {
        Bytes(self.weight_bytes(weights).0.div_ceil(u64::from(tensor_parallel.max(1))))
    }

    /// Whether `tensor_parallel` GPUs can share the heads evenly.
    #[must_use]
    pub fn splits_over(&self, tensor_parallel: u32) -> bool {
        tensor_parallel > 0
            && self.query_heads.is_multiple_of(tensor_parallel)
            && (self.mla.is_some()
                || self.kv_heads.is_multiple_of(tensor_parallel)
                || tensor_parallel.is_multiple_of(self.kv_heads.max(1)))
    }

    /// FLOP of one (token, context) pair over all layers, all heads: `4·L·q·d`; with MLA, keys
    /// and values differ in width.
    #[must_use]
    pub fn attention_flop_per_pair(&self) -> f64 {
        let widths = match self.mla {
            Some(mla) => mla.nope_dim + mla.rope_dim + mla.value_dim,
            None => 2 * u64::from(self.head_dim),
        };
        2.0 * f64::from(self.layers) * f64::from(self.query_heads) * widths as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kv_bytes_per_token_match_the_reference_values() {
        let expected = [
            ("llama-3.1-8b", 131_072),
            ("llama-3.1-70b", 327_680),
            ("llama-3.1-405b", 516_096),
            ("qwen2.5-7b", 57_344),
            ("mixtral-8x7b", 131_072),
            ("mixtral-8x22b", 229_376),
            ("qwen3-32b", 262_144),
            ("qwen3-30b-a3b", 98_304),
            ("deepseek-v3", 70_272),
            // Every head its own keys and values, groups of heads, latent attention.
            ("llama-2-7b", 524_288),
            ("phi-4", 204_800),
            ("mistral-small-24b", 163_840),
            ("qwen3-235b-a22b", 192_512),
            ("glm-4.5-air", 188_416),
            ("deepseek-v2-lite", 31_104),
            ("kimi-k2", 70_272),
        ];
        for (name, bytes) in expected {
            let model = crate::model(name).expect("in the catalogue");
            assert_eq!(model.kv_bytes_per_token(Precision::Bf16), Bytes(bytes), "{name}");
            assert_eq!(model.kv_bytes_per_token(Precision::Fp8), Bytes(bytes / 2), "{name}");
        }
    }

    /// Billions of parameters, all and active, as the model cards print them.
    #[test]
    fn sizes_are_those_of_the_model_cards() {
        let cards = [
            ("llama-3.2-3b", 3.21, 3.21),
            ("llama-3.3-70b", 70.6, 70.6),
            ("qwen2.5-14b", 14.7, 14.7),
            ("qwen2.5-32b", 32.5, 32.5),
            ("qwen3-4b", 4.0, 4.0),
            ("qwen3-8b", 8.2, 8.2),
            ("qwen3-14b", 14.8, 14.8),
            ("qwen3-235b-a22b", 235.0, 22.0),
            ("qwen3-coder-480b-a35b", 480.0, 35.0),
            ("mistral-7b-v0.3", 7.25, 7.25),
            ("mistral-nemo-12b", 12.2, 12.2),
            ("mistral-small-24b", 23.6, 23.6),
            ("phi-4", 14.7, 14.7),
            ("deepseek-r1", 671.0, 37.0),
            ("deepseek-v2-lite", 15.7, 2.66),
            ("kimi-k2", 1026.0, 32.0),
            ("glm-4.5-air", 106.0, 12.0),
            ("minimax-m2.5", 230.0, 10.0),
        ];
        for (name, all, active) in cards {
            let model = crate::model(name).expect("in the catalogue");
            let near = |got: u64, card: f64| (got as f64 / 1e9 / card - 1.0).abs();
            assert!(near(model.params, all) < 0.01, "{name}: {}", model.params);
            // Cards round, and leave the embeddings out of the active parameters.
            assert!(near(model.active_params, active) < 0.13, "{name}: {}", model.active_params);
        }
    }

    #[test]
    fn tied_embeddings_are_one_tensor() {
        let model = crate::model("llama-3.2-3b").expect("in the catalogue");
        let embedding = u64::from(model.vocabulary) * u64::from(model.hidden);
        assert_eq!(model.weight_bytes(Precision::Fp8), Bytes(model.params + embedding));
    }

    #[test]
    fn tensor_parallel_splits_heads_then_replicates_them() {
        let model = crate::model("qwen2.5-7b").expect("in the catalogue");
        assert_eq!(model.kv_bytes_per_token_per_gpu(Precision::Bf16, 2), Bytes(28_672));
        assert_eq!(model.kv_bytes_per_token_per_gpu(Precision::Bf16, 4), Bytes(14_336));
        assert_eq!(model.kv_bytes_per_token_per_gpu(Precision::Bf16, 7), Bytes(14_336));
        assert!(model.splits_over(4) && !model.splits_over(8) && !model.splits_over(0));
    }

    #[test]
    fn experts_account_for_the_difference_between_all_and_active_parameters() {
        for name in [
            "mixtral-8x7b",
            "mixtral-8x22b",
            "qwen3-30b-a3b",
            "qwen3-235b-a22b",
            "qwen3-coder-480b-a35b",
            "deepseek-v3",
            "deepseek-r1",
            "deepseek-v2-lite",
            "kimi-k2",
            "glm-4.5-air",
            "minimax-m2.5",
        ] {
            let model = crate::model(name).expect("in the catalogue");
            let moe = model.moe.expect("it has experts");
            let idle = u64::from(moe.layers * (moe.experts - moe.active)) * moe.expert_params;
            let ratio = (model.params - idle) as f64 / model.active_params as f64;
            assert!((0.97..1.03).contains(&ratio), "{name}: {ratio}");
        }
    }
}
