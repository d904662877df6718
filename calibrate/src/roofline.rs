//! Iteration time from first principles: bytes moved, arithmetic done, tensors exchanged.
//!
//! Source: S. Williams et al., "Roofline", CACM 52(4), 2009; the ring all-reduce after
//! P. Patarasuk and X. Yuan, J. Parallel Distrib. Comput. 69, 2009. The achieved fractions of the
//! peaks are priors, not measurements of the GPU at hand.
//!
//! Invariants: time rises with work; public functions are pure and exact in `f64`.
//!
//! Deliberately absent: pipeline and expert parallelism, imbalance between experts.

use sim::engine::{StepTime, StepTimeError};
use sim::units::Span;

use crate::gpu::{Gpu, Link};
use crate::model::{Model, Precision};

/// How a model is spread over the GPUs of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// GPUs that share every layer.
    pub tensor_parallel: u32,
    /// Groups of GPUs over which experts are spread whole; 1 cuts each over all GPUs.
    pub expert_parallel: u32,
}

impl Sharding {
    /// Every tensor cut over all GPUs.
    #[must_use]
    pub fn tensors(tensor_parallel: u32) -> Sharding {
        Sharding { tensor_parallel, expert_parallel: 1 }
    }

    fn cuts_experts(self) -> bool {
        self.tensor_parallel > self.expert_parallel
    }
}

/// Achieved shares of the peaks of a GPU, and what exchanges and small kernels take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Efficiency {
    /// Share of dense FLOP/s in matrix products in BF16; those in FP8 reach 0.76 of that share.
    pub mfu: f64,
    /// Share of dense BF16 FLOP/s in prefill attention.
    pub attention_mfu: f64,
    /// Share of memory bandwidth.
    pub mbu: f64,
    /// Share of that bandwidth at which the weights of experts are read, few tokens to each.
    pub expert_share: f64,
    /// Share of that again where experts are cut over GPUs, which leaves thin products.
    pub cut_share: f64,
    /// Seconds of a small all-reduce over NVLink, in which every GPU reads from all others at once.
    pub exchange: f64,
    /// Seconds that a layer takes beside its products and its reading, however little it holds: its
    /// norms, rotations, activations and writes of the KV cache run one after the other.
    pub layer: f64,
}

impl Efficiency {
    /// What is assumed where nothing was measured.
    pub const PRIOR: Efficiency = Efficiency {
        mfu: 0.60,
        attention_mfu: 0.40,
        mbu: 0.80,
        expert_share: 0.70,
        cut_share: 0.80,
        exchange: 5e-6,
        layer: 15e-6,
    };
}

/// Prior: latency over PCI Express, through the host's root complex, against that over NVLink.
const PCIE_LATENCY: f64 = 10.0 / 3.0;
/// Prior: latency of one hop of a ring over NVLink. Rings carry large tensors, beside whose bytes
/// it is small.
const HOP_SECONDS: f64 = 1e-6;
/// Share of a link's bandwidth that all-reduces reach. Those of vLLM 0.19.0 on H100, of 2 MB and more,
/// reach 0.45 to 0.8 of it (`custom_allreduce_perf` of aiconfigurator-core 0.12.0, Apache-2.0).
const LINK_SHARE: f64 = 0.6;
/// Share of the peak that products in FP8 reach, against the share that those in BF16 reach of theirs.
/// On H100, products of 1,024 to 8,192 tokens with matrices of 4,096 and more reach 0.56 to 0.7 of the
/// one and 0.71 to 0.85 of the other, shape by shape 0.76 of it on average (`gemm_perf` of vLLM 0.24.0
/// in aiconfigurator-core 0.12.0, Apache-2.0).
const FP8_SHARE: f64 = 0.76;
/// How often a layer moves a token's hidden state through memory between its products: two norms read
/// and write it and the residual on every GPU; rotations, the activation of an inner width of about
/// 3.5 hidden ones, and attention's input and output are cut over the GPUs.
const WHOLE_PASSES: f64 = 8.0;
const CUT_PASSES: f64 = 14.0;

/// Token counts at which the time of the token-dependent part is tabulated.
const KNOTS: [u32; 16] =
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];

/// An ideal decode iteration on one device: no losses, weights read once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeRoofline {
    /// Bytes read: BF16 weights and the KV cache of every sequence.
    pub bytes: f64,
    /// FLOP: two a parameter and token, and attention over the context.
    pub flop: f64,
    /// Seconds the memory needs.
    pub t_mem: f64,
    /// Seconds the arithmetic needs.
    pub t_comp: f64,
    /// Seconds of the iteration: the longer of the two.
    pub t_step: f64,
}

/// Ideal time of one decode iteration of `batch` sequences at context `context` in BF16, given
/// peak `flop_per_s` and `bytes_per_s`.
#[must_use]
pub fn decode_roofline(
    model: &Model,
    batch: u32,
    context: u32,
    flop_per_s: f64,
    bytes_per_s: f64,
) -> DecodeRoofline {
    let (b, c) = (f64::from(batch), f64::from(context));
    let kv = model.kv_bytes_per_token(Precision::Bf16).0 as f64;
    let bytes = 2.0 * model.params as f64 + b * c * kv;
    let flop = b * (2.0 * model.active_params as f64 + model.attention_flop_per_pair() * c);
    let (t_mem, t_comp) = (bytes / bytes_per_s, flop / flop_per_s);
    DecodeRoofline { bytes, flop, t_mem, t_comp, t_step: t_mem.max(t_comp) }
}

/// Seconds of a ring all-reduce of `bytes` over `gpus`: `2(n−1)/n·B/bw + 2(n−1)·latency`.
#[must_use]
pub fn allreduce_ring(bytes: f64, gpus: u32, bytes_per_s: f64, hop_seconds: f64) -> f64 {
    let n = f64::from(gpus.max(1));
    2.0 * (n - 1.0) / n * bytes / bytes_per_s + 2.0 * (n - 1.0) * hop_seconds
}

/// Seconds of an all-reduce of `bytes` over `gpus`: the faster of a ring and of one exchange in
/// which every GPU reads the tensors of all others, `(n−1)·B/bw + latency`.
#[must_use]
pub fn allreduce(
    bytes: f64,
    gpus: u32,
    bytes_per_s: f64,
    hop_seconds: f64,
    exchange_seconds: f64,
) -> f64 {
    if gpus < 2 {
        return 0.0;
    }
    let at_once = f64::from(gpus - 1) * bytes / bytes_per_s + exchange_seconds;
    at_once.min(allreduce_ring(bytes, gpus, bytes_per_s, hop_seconds))
}

/// Bytes of weights that `tokens` tokens touch: what every token passes through, which is all of a
/// dense model, and of a mixture the expected number of distinct experts, `E·(1 − (1 − k/E)^T)`.
#[must_use]
pub fn weight_bytes_touched(model: &Model, weights: Precision, tokens: u32) -> (f64, f64) {
    let all = model.weight_bytes(weights).0 as f64;
    let Some(moe) = model.moe else { return (all, 0.0) };
    let count = f64::from(moe.experts);
    let missed = (1.0 - f64::from(moe.active) / count).powi(tokens.min(1 << 20) as i32);
    let experts = f64::from(moe.layers) * count * moe.expert_params as f64;
    let experts = experts * weights.bytes() as f64;
    ((all - experts).max(0.0), experts * (1.0 - missed))
}

/// Seconds of the part of an iteration that depends on its number of tokens only.
fn linear_seconds(
    gpu: &Gpu,
    model: &Model,
    weights: Precision,
    sharding: Sharding,
    efficiency: &Efficiency,
    tokens: u32,
) -> f64 {
    let tp = sharding.tensor_parallel.max(1);
    let (share, t) = (f64::from(tp), f64::from(tokens));
    let bandwidth = gpu.hbm_bytes_per_s() * efficiency.mbu;
    let (shared, experts) = weight_bytes_touched(model, weights, tokens);
    let cut = if sharding.cuts_experts() { efficiency.cut_share } else { 1.0 };
    let memory = (shared + experts / efficiency.expert_share / cut) / share / bandwidth;
    let flop = 2.0 * model.active_params as f64 * t / share;
    let in_fp8 = weights == Precision::Fp8 && gpu.fp8_tflops.is_some();
    let mfu = efficiency.mfu * if in_fp8 { FP8_SHARE } else { 1.0 };
    let arithmetic = flop / (gpu.flop_per_s(weights) * mfu);
    let tensor = t * f64::from(model.hidden) * Precision::Bf16.bytes() as f64;
    let slower = match gpu.link {
        Link::NvLink => 1.0,
        Link::Pcie => PCIE_LATENCY,
    };
    let (hop, at_once) = (HOP_SECONDS * slower, efficiency.exchange * slower);
    let passes = WHOLE_PASSES + CUT_PASSES / share;
    let between = passes * tensor * f64::from(model.layers) / bandwidth;
    let link = gpu.link_bytes_per_s() * LINK_SHARE;
    let exchange = allreduce(tensor, tp, link, hop, at_once);
    memory.max(arithmetic) + between + 2.0 * f64::from(model.layers) * exchange
}

/// Iteration time by the roofline, without the host's part; `graph_sizes` are the captured decode
/// batches.
///
/// # Errors
/// [`StepTimeError`] when the facts give impossible coefficients.
pub fn step_time(
    gpu: &Gpu,
    model: &Model,
    (weights, kv): (Precision, Precision),
    sharding: Sharding,
    efficiency: &Efficiency,
    graph_sizes: Vec<u32>,
) -> Result<StepTime, StepTimeError> {
    let tp = sharding.tensor_parallel.max(1);
    let seconds = |tokens: u32| linear_seconds(gpu, model, weights, sharding, efficiency, tokens);
    let linear = KNOTS.iter().map(|&t| (t, Span::from_secs_f64(seconds(t)).0)).collect();
    let kv_bytes = model.kv_bytes_per_token_per_gpu(kv, tp).0 as f64;
    let kv_read = kv_bytes / (gpu.hbm_bytes_per_s() * efficiency.mbu);
    let per_pair = model.attention_flop_per_pair() / f64::from(tp);
    let peak = gpu.flop_per_s(Precision::Bf16) * efficiency.attention_mfu;
    StepTime::new(
        Span::from_secs_f64(efficiency.layer * f64::from(model.layers)).0,
        0,
        linear,
        Span::from_secs_f64(kv_read).0,
        Span::from_secs_f64(1024.0 * per_pair / peak).0,
        graph_sizes,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a / b - 1.0).abs() < tolerance
    }

    #[test]
    fn decode_roofline_matches_the_reference_values() {
        // The reference rounds the parameters of the model to 8.030e9.
        let mut model = crate::model("llama-3.1-8b").expect("in the catalogue").clone();
        (model.params, model.active_params) = (8_030_000_000, 8_030_000_000);
        let r = decode_roofline(&model, 64, 2000, 989e12, 3.35e12);
        assert!(close(r.bytes, 32_837_216_000.0, 1e-9));
        assert!(close(r.flop, 1_094_948_864_000.0, 1e-9));
        assert!(close(r.t_mem, 0.00980215402985, 1e-9));
        assert!(close(r.t_comp, 0.0011071272639, 1e-9));
        assert!(close(r.t_step, 0.00980215402985, 1e-9));
    }

    #[test]
    fn ring_allreduce_matches_the_reference_value() {
        let seconds = allreduce_ring(1_048_576.0, 4, 370e9, 3e-6);
        assert!(close(seconds, 2.22509837838e-5, 1e-9));
        assert_eq!(allreduce_ring(1e9, 1, 1.0, 1.0), 0.0);
    }

    #[test]
    fn fp8_weights_without_fp8_units_save_reading_but_no_arithmetic() {
        let (gpu, model) = (crate::gpu("a100").expect("a GPU"), crate::model("llama-3.1-8b"));
        let model = model.expect("in the catalogue");
        let (one, prior) = (Sharding::tensors(1), Efficiency::PRIOR);
        let seconds = |weights, tokens| linear_seconds(gpu, model, weights, one, &prior, tokens);
        assert!(close(seconds(Precision::Fp8, 8192), seconds(Precision::Bf16, 8192), 1e-9));
        assert!(seconds(Precision::Fp8, 1) < 0.6 * seconds(Precision::Bf16, 1));
    }

    #[test]
    fn a_large_batch_touches_every_expert_and_one_token_only_its_own() {
        let model = crate::model("mixtral-8x7b").expect("in the catalogue");
        let all = model.weight_bytes(Precision::Bf16).0 as f64;
        let touched = |tokens| {
            let (shared, experts) = weight_bytes_touched(model, Precision::Bf16, tokens);
            shared + experts
        };
        assert!(close(touched(4096), all, 1e-6));
        let one = touched(1);
        assert!(close(one, 2.0 * model.active_params as f64, 0.03));
    }
}
