//! A recorded engine run, replayed: quantiles of predicted times beside measured ones.
//!
//! Arrivals, lengths, shared prefixes, the engine's settings and its KV capacity are those of the
//! run; the iteration time is that of the calibration. Times are the server's where it recorded
//! them, the client's otherwise.
//!
//! Invariants: a request that failed or was not timed loads the replay and is in no quantile.
//!
//! Deliberately absent: fitting to the run.

use crate::calibration::{Served, graph_sizes};
use crate::coefficients::Basis;
use crate::engine_preset::EngineOverrides;
use crate::fitted::Fitted;
use crate::imports::engine_run::{EngineConfig, EngineRun, RunRequest};
use crate::kv_capacity::kv_capacity;
use crate::model::Precision;
use crate::replay::{ReplayTimes, Replayed, replay};
use crate::roofline::Sharding;
use sim::engine::EngineSpec;
use sim::stats::quantile_sorted;
use sim::units::{Blocks, Span, Tokens};

/// Quantiles at which runs are compared.
pub const QUANTILES: [f64; 3] = [0.5, 0.9, 0.95];

/// A quantile of a time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// Which, as a fraction.
    pub p: f64,
    /// Measured.
    pub measured: f64,
    /// Predicted.
    pub predicted: f64,
}

/// A run beside its prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct RunScore {
    /// Requests that were compared.
    pub requests: usize,
    /// Requests without times.
    pub untimed: usize,
    /// KV capacity in blocks, and whether it is that of the run's log.
    pub kv_blocks: (u32, bool),
    /// What the iteration time rests on.
    pub basis: Basis,
    /// Time to first token.
    pub ttft: Vec<Compared>,
    /// Time to the last.
    pub e2e: Vec<Compared>,
}

/// Scores a run on `gpu` (a catalogue name) with a calibration.
///
/// # Errors
/// Why it cannot be replayed: what its files do not state, or what the catalogue does not know.
pub fn score_run(run: &EngineRun, gpu: &str, fitted: &Fitted) -> Result<RunScore, String> {
    let c = &run.config;
    let gpu = crate::gpu(gpu).map_err(|error| error.to_string())?;
    let name = c.model.as_deref().ok_or("the run's files do not name its model")?;
    let model = crate::model(&crate::predict::name_of(name)).map_err(|error| error.to_string())?;
    let precision = precision(c)?;
    let sharding = Sharding::tensors(c.tensor_parallel.unwrap_or(1));
    let served = Served { gpu, model, precisions: (precision, precision), sharding };
    let profile = served.profile().map_err(|error| error.to_string())?;
    let basis = served.basis(profile.is_some());
    let coefficients = fitted
        .coefficients("vllm", basis, &model.name)
        .ok_or("the calibration says nothing of vllm on models of this kind")?;
    let (spec, from_log) = engine(run, &served)?;
    let graphs = graph_sizes(spec.max_num_seqs);
    let step_time =
        served.step_time(profile, &coefficients, graphs).map_err(|error| format!("{error:?}"))?;
    let replayed: Vec<Replayed> = run.requests.iter().map(of_request).collect();
    let host = |input| coefficients.host.of_request(input);
    let predicted = replay(&spec, &step_time, host, &replayed);
    Ok(compare(run, &predicted, (spec.kv_blocks.0, from_log), basis))
}

fn precision(c: &EngineConfig) -> Result<Precision, String> {
    match c.dtype.as_deref() {
        None | Some("bfloat16" | "float16" | "torch.bfloat16" | "torch.float16" | "auto") => {
            Ok(Precision::Bf16)
        }
        Some("fp8") => Ok(Precision::Fp8),
        Some(other) => Err(format!("weights of type {other} are not simulated")),
    }
}

/// The engine's settings, and whether its KV capacity is that of the log.
fn engine(run: &EngineRun, served: &Served<'_>) -> Result<(EngineSpec, bool), String> {
    let c = &run.config;
    let block = c.block_size.and_then(|size| u32::try_from(size).ok());
    let log = run.log.as_ref();
    let blocks = log
        .and_then(|log| log.kv_blocks)
        .or_else(|| Some(run.kv_tokens()? / u64::from(block.unwrap_or(16))));
    let blocks = blocks.and_then(|blocks| u32::try_from(blocks).ok());
    let overrides = EngineOverrides {
        block_size: block.map(Tokens),
        max_num_batched_tokens: c.max_num_batched_tokens,
        max_num_seqs: c.max_num_seqs,
        max_model_len: c.max_model_len,
        prefix_caching: c.prefix_caching,
        chunked_prefill: c.chunked_prefill,
        gpu_memory_utilization: c.gpu_memory_utilization,
        // The null block is beside those that the log counts.
        kv_blocks: blocks.map(|blocks| Blocks(blocks.saturating_add(1))),
        ..EngineOverrides::default()
    };
    let old = c.vllm.as_deref().is_some_and(|version| version.starts_with("0.11"));
    let preset = crate::engine_preset(if old { "vllm-0.11" } else { "vllm" });
    let preset = preset.map_err(|error| error.to_string())?;
    let engine = preset.resolve(served.gpu, &overrides).map_err(|error| error.to_string())?;
    let engine = engine.for_model(Tokens(served.model.max_model_len), &served.model.source);
    let (weights, kv) = served.precisions;
    let tp = served.sharding.tensor_parallel;
    let capacity = kv_capacity(served.gpu, served.model, weights, kv, tp, &engine);
    let capacity = capacity.map_err(|error| error.to_string())?;
    let longest = engine.max_model_len.as_ref().map_or(served.model.max_model_len, |k| k.value.0);
    Ok((engine.spec(capacity.blocks, Tokens(longest)), blocks.is_some()))
}

fn of_request(request: &RunRequest) -> Replayed {
    Replayed {
        arrival: request.arrival,
        input: request.input.0.max(1),
        output: request.output.0.max(1),
        shared: request.shared_prefix.map_or(0, |tokens| tokens.0),
        group: request.phase.map_or(0, |phase| phase as u32),
    }
}

/// What was measured of a request, from its arrival: TTFT and end to end.
fn measured(request: &RunRequest) -> Option<(Span, Span)> {
    if let Some(server) = &request.server {
        let before = server.admission.unwrap_or(Span::ZERO);
        return Some((before + server.ttft, before + server.e2e));
    }
    let client = request.client.as_ref().filter(|client| client.error.is_none())?;
    Some((client.ttft?, client.e2e?))
}

fn compare(
    run: &EngineRun,
    predicted: &[Option<ReplayTimes>],
    kv_blocks: (u32, bool),
    basis: Basis,
) -> RunScore {
    let both: Vec<((Span, Span), ReplayTimes)> = run
        .requests
        .iter()
        .zip(predicted)
        .filter_map(|(request, times)| Some((measured(request)?, (*times)?)))
        .collect();
    let quantiles = |theirs: &dyn Fn(&(Span, Span)) -> Span,
                     ours: &dyn Fn(&ReplayTimes) -> Span| {
        let sorted = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all
        };
        let theirs = sorted(both.iter().map(|(m, _)| theirs(m).as_secs_f64()).collect());
        let ours = sorted(both.iter().map(|(_, t)| ours(t).as_secs_f64()).collect());
        let at = |p| {
            let (measured, predicted) = (quantile_sorted(&theirs, p)?, quantile_sorted(&ours, p)?);
            Some(Compared { p, measured, predicted })
        };
        QUANTILES.into_iter().filter_map(at).collect()
    };
    RunScore {
        requests: both.len(),
        untimed: run.requests.len() - both.len(),
        kv_blocks,
        basis,
        ttft: quantiles(&|m| m.0, &|t| t.ttft),
        e2e: quantiles(&|m| m.1, &|t| t.e2e),
    }
}
