//! What a serving point is predicted to be: its configuration as a replica, and its benchmark run
//! on it with given coefficients.
//!
//! Invariants: a point that cannot be simulated comes back with the reason; the same point and
//! coefficients give the same prediction.
//!
//! Deliberately absent: where the coefficients come from.

use crate::calibration::{Served, graph_sizes};
use crate::catalog::CatalogError;
use crate::closed_loop::{ClosedLoop, LoopTimes, TooLong, closed_loop};
use crate::coefficients::{Basis, Coefficients, HostTimes};
use crate::engine_preset::EngineOverrides;
use crate::kv_capacity::kv_capacity;
use crate::profile::{Grid, Profile};
use crate::roofline::Sharding;
use crate::serving::{Configuration, ServingPoint};
use sim::engine::{EngineSpec, StepTime, StepTimeError};
use sim::units::Tokens;

/// GPUs of one node: tensor parallelism beyond it is not simulated.
const NODE: u32 = 8;
/// Prompts of a benchmark for each lane.
const PROMPTS_PER_LANE: u32 = 10;
/// Mean length of what is drawn, against the longest.
const MEAN_SHARE: f64 = 0.9;
/// Room beyond the longest request, as benchmarks leave it.
const ROOM: u32 = 256;

/// A replica of a configuration.
#[derive(Clone, Debug)]
pub struct Server {
    served: Served<'static>,
    profile: Option<(&'static Profile, &'static Grid)>,
    spec: EngineSpec,
}

/// A replica with its coefficients, on which benchmarks can run.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    spec: &'a EngineSpec,
    step_time: StepTime,
    host: HostTimes,
}

impl Server {
    /// The replica of a configuration on which requests of up to `longest` tokens run.
    ///
    /// # Errors
    /// Why there is none: an unknown name, a shape that is not simulated, too little memory.
    pub fn of(c: &Configuration, longest: u32) -> Result<Server, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let gpu = crate::gpu(&c.system.replace('_', "-")).map_err(|error| known(&error))?;
        let model = crate::model(&name_of(&c.model)).map_err(|error| known(&error))?;
        if c.gpus > NODE {
            return Err(format!("a replica of {} GPUs spans nodes: not simulated", c.gpus));
        }
        let overrides = EngineOverrides {
            max_model_len: Some(Tokens(longest.saturating_add(ROOM))),
            prefix_caching: Some(false),
            ..EngineOverrides::default()
        };
        let preset = crate::engine_preset(&c.backend).map_err(|error| known(&error))?;
        let engine = preset.resolve(gpu, &overrides).map_err(|error| text(&error))?;
        let engine = engine.for_model(Tokens(model.max_model_len), &model.source);
        let capacity = kv_capacity(gpu, model, c.precision, c.kv, c.gpus, &engine)
            .map_err(|error| text(&error))?;
        let precisions = (c.precision, c.kv);
        let sharding = Sharding { tensor_parallel: c.gpus, expert_parallel: c.expert_parallel };
        let served = Served { gpu, model, precisions, sharding };
        let profile = served.profile().map_err(|error| text(&error))?;
        let spec = engine.spec(capacity.blocks, Tokens(longest.saturating_add(ROOM)));
        Ok(Server { served, profile, spec })
    }

    /// What its iteration time rests on.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.served.basis(self.profile.is_some())
    }

    /// The model's name in the catalogue.
    #[must_use]
    pub fn model(&self) -> &'static str {
        &self.served.model.name
    }

    /// The GPU's name in the catalogue.
    #[must_use]
    pub fn gpu(&self) -> &'static str {
        &self.served.gpu.name
    }

    /// Share of the GPUs' peak arithmetic that a point's own times imply, over the benchmark as a
    /// whole: two FLOP for each active parameter and token, attention left out.
    #[must_use]
    pub fn arithmetic(&self, point: &ServingPoint) -> f64 {
        let (input, output) =
            (MEAN_SHARE * f64::from(point.input), MEAN_SHARE * f64::from(point.output));
        let seconds = (point.ttft_ms + (output - 1.0).max(0.0) * point.tpot_ms) / 1e3;
        let tokens = f64::from(point.concurrency) * (input + output) / seconds;
        let peak = self.served.gpu.flop_per_s(self.served.precisions.0);
        let peak = peak * f64::from(self.served.sharding.tensor_parallel);
        2.0 * self.served.model.active_params as f64 * tokens / peak
    }

    /// The replica with coefficients.
    ///
    /// # Errors
    /// [`StepTimeError`] when they give an impossible iteration time.
    pub fn prepare(&self, coefficients: &Coefficients) -> Result<Prepared<'_>, StepTimeError> {
        let graphs = graph_sizes(self.spec.max_num_seqs);
        let step_time = self.served.step_time(self.profile, coefficients, graphs)?;
        Ok(Prepared { spec: &self.spec, step_time, host: coefficients.host })
    }
}

impl Prepared<'_> {
    /// What a point's benchmark measures on it.
    ///
    /// # Errors
    /// [`TooLong`] when its requests do not fit.
    pub fn predict(&self, point: &ServingPoint) -> Result<LoopTimes, TooLong> {
        let benchmark = ClosedLoop {
            concurrency: point.concurrency,
            input: point.input,
            output: point.output,
            prompts: point.concurrency.saturating_mul(PROMPTS_PER_LANE),
        };
        closed_loop(self.spec, &self.step_time, self.host.of_request(point.input), benchmark)
    }
}

/// The reason without the list of all names.
fn known(error: &CatalogError) -> String {
    match error {
        CatalogError::Unknown { kind, name, .. } => {
            format!("{kind} `{name}` is not in the catalogue")
        }
        other @ CatalogError::Data { .. } => other.to_string(),
    }
}

/// A model's name in the catalogue from that of its repository: without the owner, the number
/// format, which is stated elsewhere, and the mark of a converted checkpoint.
pub(crate) fn name_of(repository: &str) -> String {
    let name = repository.rsplit('/').next().unwrap_or(repository).to_ascii_lowercase();
    let plain = name.strip_suffix("-fp8").or_else(|| name.strip_suffix("-hf")).unwrap_or(&name);
    plain.to_owned()
}
