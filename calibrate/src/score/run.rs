//! A recorded engine run, replayed: quantiles of predicted times beside measured ones.
//!
//! Arrivals, lengths, shared prefixes, the engine's settings and its KV capacity are those of the
//! run; the iteration time is that of the calibration. Times are the server's where it recorded
//! them, the client's otherwise. The host's time of a request is fitted to times of clients: it is HTTP,
//! tokens and the way between processes, and a server's clock starts behind these. So it is added to
//! predictions of a client's times only; the way from the core back to the front end, a millisecond or
//! two, is in neither.
//!
//! Invariants: a request that failed or was not timed loads the replay and is in no quantile.
//!
//! Deliberately absent: fitting to the run (see [`crate::fit::run`]).

use crate::calibration::{Served, graph_sizes};
use crate::coefficients::{Basis, Coefficients};
use crate::engine_preset::EngineOverrides;
use crate::fit::serving::Values;
use crate::fitted::{Entry, Fitted};
use crate::imports::engine_run::{EngineConfig, EngineRun, RunRequest};
use crate::kv_capacity::kv_capacity;
use crate::model::Precision;
use crate::profile::{Grid, Profile};
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

/// A request with its times, measured from its arrival and predicted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) ttft: Span,
    pub(crate) e2e: Span,
    pub(crate) predicted: ReplayTimes,
}

/// A run as a replica on which its requests are replayed.
pub(crate) struct Replayable<'a> {
    run: &'a EngineRun,
    served: Served<'static>,
    profile: Option<(&'static Profile, &'static Grid)>,
    spec: EngineSpec,
    kv_from_log: bool,
    requests: Vec<Replayed>,
    /// Whether its times are those of a server.
    pub(crate) by_server: bool,
}

impl Replayable<'_> {
    /// A run on `gpu` (a catalogue name).
    ///
    /// # Errors
    /// Why it cannot be replayed: what its files do not state, or what the catalogue does not know.
    pub(crate) fn of<'a>(run: &'a EngineRun, gpu: &str) -> Result<Replayable<'a>, String> {
        let c = &run.config;
        let gpu = crate::gpu(gpu).map_err(|error| error.to_string())?;
        let name = c.model.as_deref().ok_or("the run's files do not name its model")?;
        let model =
            crate::model(&crate::predict::name_of(name)).map_err(|error| error.to_string())?;
        let precision = precision(c)?;
        let sharding = Sharding::tensors(c.tensor_parallel.unwrap_or(1));
        let served = Served { gpu, model, precisions: (precision, precision), sharding };
        let profile = served.profile().map_err(|error| error.to_string())?;
        let (spec, kv_from_log) = engine(run, &served)?;
        let requests = run.requests.iter().map(of_request).collect();
        let by_server = run.requests.iter().any(|request| request.server.is_some());
        Ok(Replayable { run, served, profile, spec, kv_from_log, requests, by_server })
    }

    /// What its iteration time rests on.
    pub(crate) fn basis(&self) -> Basis {
        self.served.basis(self.profile.is_some())
    }

    /// The model's and the GPU's name in the catalogue.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        (&self.served.model.name, &self.served.gpu.name)
    }

    /// The entry of a calibration for it.
    pub(crate) fn entry<'f>(&self, fitted: &'f Fitted) -> Result<&'f Entry, String> {
        let entry = fitted.find("vllm", self.basis(), self.names().0);
        entry
            .ok_or_else(|| "the calibration says nothing of vllm on models of this kind".to_owned())
    }

    /// What becomes of each request; a host's time of requests that counts from a client's clock is
    /// not part of a server's times.
    fn predict(
        &self,
        values: &Values,
        server_clock: bool,
    ) -> Result<Vec<Option<ReplayTimes>>, String> {
        let coefficients = Coefficients::of_values(values);
        let graphs = graph_sizes(self.spec.max_num_seqs);
        let step_time = self.served.step_time(self.profile, &coefficients, graphs);
        let step_time = step_time.map_err(|error| format!("{error:?}"))?;
        // A server's clock starts behind what the host does to a request before the engine.
        let host = |input| match self.by_server && !server_clock {
            true => Span::ZERO,
            false => coefficients.host.of_request(input),
        };
        Ok(replay(&self.spec, &step_time, host, &self.requests))
    }

    /// What was measured of each request beside what is predicted; `None` for one without times.
    ///
    /// # Errors
    /// When the coefficients give an impossible iteration time.
    pub(crate) fn both(
        &self,
        values: &Values,
        server_clock: bool,
    ) -> Result<Vec<Option<Answered>>, String> {
        let predicted = self.predict(values, server_clock)?;
        let both = self.run.requests.iter().zip(predicted).map(|(request, times)| {
            let (ttft, e2e) = measured(request)?;
            Some(Answered { ttft, e2e, predicted: times? })
        });
        Ok(both.collect())
    }

    /// Compares the requests from number `from` on, in order of arrival.
    pub(crate) fn score(&self, entry: &Entry, from: usize) -> Result<RunScore, String> {
        let both = self.both(&entry.values(), entry.server_clock)?;
        let both = both.get(from..).unwrap_or_default();
        Ok(compare(both, (self.spec.kv_blocks.0, self.kv_from_log), self.basis()))
    }
}

/// Scores a run on `gpu` (a catalogue name) with a calibration.
///
/// # Errors
/// Why it cannot be replayed: what its files do not state, or what the catalogue does not know.
pub fn score_run(run: &EngineRun, gpu: &str, fitted: &Fitted) -> Result<RunScore, String> {
    let replayable = Replayable::of(run, gpu)?;
    replayable.score(replayable.entry(fitted)?, 0)
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

fn compare(all: &[Option<Answered>], kv_blocks: (u32, bool), basis: Basis) -> RunScore {
    let both: Vec<&Answered> = all.iter().flatten().collect();
    let quantiles = |theirs: &dyn Fn(&Answered) -> Span, ours: &dyn Fn(&Answered) -> Span| {
        let sorted = |times: &dyn Fn(&Answered) -> Span| {
            let mut all: Vec<f64> = both.iter().map(|one| times(one).as_secs_f64()).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let (theirs, ours) = (sorted(theirs), sorted(ours));
        let at = |p| {
            let (measured, predicted) = (quantile_sorted(&theirs, p)?, quantile_sorted(&ours, p)?);
            Some(Compared { p, measured, predicted })
        };
        QUANTILES.into_iter().filter_map(at).collect()
    };
    RunScore {
        requests: both.len(),
        untimed: all.len() - both.len(),
        kv_blocks,
        basis,
        ttft: quantiles(&|one| one.ttft, &|one| one.predicted.ttft),
        e2e: quantiles(&|one| one.e2e, &|one| one.predicted.e2e),
    }
}
