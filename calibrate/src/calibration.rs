//! The one call a scenario needs: GPU, model and engine in, iteration time and blocks out.
//!
//! Invariants: a profile is preferred to the roofline, and the label says which was used; what an
//! engine adds to either comes from a calibration file.
//!
//! Deliberately absent: the choice of coefficients (see [`crate::trust`]), and how they are found.

use sim::engine::{EngineSpec, StepTime, StepTimeError};
use sim::fleet::HostTime;
use sim::units::{Blocks, Tokens};

use crate::catalog::{CatalogError, catalog};
use crate::coefficients::{Basis, Coefficients};
use crate::engine_preset::EngineDefaults;
use crate::fitted::Fitted;
use crate::gpu::Gpu;
use crate::kv_capacity::{CapacityError, KvCapacity, kv_capacity};
use crate::model::{Model, Precision};
use crate::profile::{Grid, HeldOutErrors, Profile};
use crate::roofline::{self, Sharding};
use crate::trust::Trust;

/// Label of a calibration that rests on the roofline.
pub const UNCALIBRATED: &str = "uncalibrated (roofline)";

/// How one replica behaves, and what that claim rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Cost of an iteration.
    pub step_time: StepTime,
    /// What requests take on the host before the engine has them.
    pub host: HostTime,
    /// Blocks of the pool, the null block included.
    pub kv_blocks: Blocks,
    /// How the memory of a GPU was divided.
    pub capacity: KvCapacity,
    /// Every knob in force with its origin; the longest sequence is filled in.
    pub engine: EngineDefaults,
    /// The simulator's settings.
    pub spec: EngineSpec,
    /// What the times rest on, and how far they can be trusted.
    pub trust: Trust,
    /// Where the kernel times are from, and their date: the tables, or else the GPU's peaks.
    pub kernels: (String, String),
    /// Error of the profile against its table; `None` for the roofline, whose error is not known.
    pub error: Option<HeldOutErrors>,
}

/// Why there is no calibration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The memory does not suffice or the heads do not divide.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The embedded data is not valid.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The facts give an impossible iteration time; a defect of the data.
    #[error("the iteration time of {model} on {gpu} is not usable: {reason:?}")]
    StepTime {
        /// The model.
        model: String,
        /// The GPU.
        gpu: String,
        /// What is wrong with it.
        reason: StepTimeError,
    },
}

/// Iteration time and KV capacity of `model` on `tensor_parallel` × `gpu`: from a profile when
/// one exists for exactly this combination, otherwise from the roofline; what the engine adds to
/// either is that of `fitted`.
///
/// # Errors
/// [`CalibrationError`] when the model or its longest sequence does not fit, or the heads do not
/// divide.
pub fn calibration(
    gpu: &Gpu,
    model: &Model,
    precision: Precision,
    tensor_parallel: u32,
    engine: &EngineDefaults,
    kv_dtype: Precision,
    fitted: &Fitted,
) -> Result<Calibration, CalibrationError> {
    let engine = engine.for_model(Tokens(model.max_model_len), &model.source);
    let capacity = kv_capacity(gpu, model, precision, kv_dtype, tensor_parallel, &engine)?;
    let graphs = graph_sizes(engine.max_num_seqs.value);
    let precisions = (precision, kv_dtype);
    let sharding = Sharding::tensors(tensor_parallel);
    let served = Served { gpu, model, precisions, sharding };
    let profile = served.profile()?;
    let trust = Trust::of(&served, profile.is_some(), &engine, fitted);
    let step_time = served.step_time(profile, &trust.coefficients, graphs);
    let step_time = step_time.map_err(|reason| CalibrationError::StepTime {
        model: model.name.clone(),
        gpu: gpu.name.clone(),
        reason,
    })?;
    let longest = engine.max_model_len.as_ref().map_or(Tokens(model.max_model_len), |k| k.value);
    let catalog = catalog()?;
    let profiles = &catalog.profiles;
    let kernels = match profile {
        Some(_) => (profiles.source.clone(), profiles.as_of.clone()),
        None => (gpu.source.clone(), gpu.as_of.clone()),
    };
    Ok(Calibration {
        step_time,
        kv_blocks: capacity.blocks,
        capacity,
        spec: engine.spec(capacity.blocks, longest),
        engine,
        host: trust.host(),
        trust,
        kernels,
        error: profile.and_then(|(profile, _)| profile.errors(&catalog.errors.errors)),
    })
}

/// What is served on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served<'a> {
    pub(crate) gpu: &'a Gpu,
    pub(crate) model: &'a Model,
    /// Of weights and of the KV cache.
    pub(crate) precisions: (Precision, Precision),
    pub(crate) sharding: Sharding,
}

impl Served<'_> {
    /// Its profile, if there is one.
    pub(crate) fn profile(
        &self,
    ) -> Result<Option<(&'static Profile, &'static Grid)>, CatalogError> {
        let profiles = &catalog()?.profiles;
        let (gpu, model) = (&self.gpu.name, &self.model.name);
        let profile = profiles.find(gpu, model, self.sharding.tensor_parallel, self.precisions);
        Ok(profile.map(|profile| (profile, &profiles.grid)))
    }

    /// What its iteration time rests on.
    pub(crate) fn basis(&self, has_profile: bool) -> Basis {
        match (has_profile, self.model.moe) {
            (true, _) => Basis::Table,
            (false, None) => Basis::Dense,
            (false, Some(_)) => Basis::Experts,
        }
    }

    /// Its iteration time with `coefficients`, from `profile` or else the roofline; decode batches
    /// are padded to `graphs`.
    pub(crate) fn step_time(
        &self,
        profile: Option<(&Profile, &Grid)>,
        coefficients: &Coefficients,
        graphs: Vec<u32>,
    ) -> Result<StepTime, StepTimeError> {
        let &Served { gpu, model, precisions, sharding } = self;
        let kernels = match profile {
            Some((profile, grid)) => profile.step_time(grid, &coefficients.kernels, graphs)?,
            None => {
                let efficiency = &coefficients.efficiency;
                roofline::step_time(gpu, model, precisions, sharding, efficiency, graphs)?
            }
        };
        // What is fitted is a time for each number that is read, whatever its width.
        let numbers = model.kv_bytes_per_token_per_gpu(Precision::Fp8, sharding.tensor_parallel);
        kernels.plus(coefficients.overheads(numbers.0 as f64 / gpu.hbm_bytes_per_s()))
    }
}

/// Decode batches vLLM captures as graphs: 1, 2, 4, every 8 below 256, every 16 up to the least
/// of 512 and twice `max_num_seqs`.
pub(crate) fn graph_sizes(max_num_seqs: u32) -> Vec<u32> {
    let most = max_num_seqs.saturating_mul(2).min(512);
    let sizes = [1, 2, 4].into_iter().chain((8..256).step_by(8)).chain((256..=512).step_by(16));
    sizes.take_while(|&size| size <= most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coefficients::KernelFactors;
    use crate::engine_preset::EngineOverrides;
    use crate::roofline::Efficiency;
    use sim::engine::{Overheads, Work};

    fn calibrated(gpu: &str, model: &str, p: Precision, tp: u32, kv: Precision) -> Calibration {
        let (gpu, model) = (crate::gpu(gpu).expect("a GPU"), crate::model(model).expect("a model"));
        let o = EngineOverrides { max_model_len: Some(Tokens(4096)), ..Default::default() };
        let preset = crate::engine_preset("vllm").expect("a preset");
        let engine = preset.resolve(gpu, &o).expect("valid");
        let shipped = crate::fitted::shipped().expect("the data is valid");
        calibration(gpu, model, p, tp, &engine, kv, shipped).expect("it fits")
    }

    #[test]
    fn every_profile_gives_a_usable_step_time() {
        let profiles = &catalog().expect("the data is valid").profiles;
        assert_eq!(profiles.profile.len(), 30);
        for profile in &profiles.profile {
            let factors = KernelFactors::default();
            profile.step_time(&profiles.grid, &factors, graph_sizes(1024)).expect("usable");
        }
    }

    #[test]
    fn profiles_are_preferred_and_the_roofline_says_it_is_one() {
        let bf16 = Precision::Bf16;
        let table = calibrated("h100", "llama-3.1-8b", bf16, 1, bf16);
        assert!(table.trust.label.starts_with("kernel tables") && table.error.is_some());
        let fitted = calibrated("h100", "qwen2.5-7b", bf16, 1, bf16);
        assert!(
            fitted.trust.label.starts_with("roofline fitted to vllm"),
            "{}",
            fitted.trust.label
        );
        // Of this model H200s alone were measured, of its group H100s too; there is no table for four.
        let group = calibrated("h100", "llama-3.1-8b", bf16, 4, bf16).trust;
        assert!(group.label.contains("on other models"), "{}", group.label);
        let roof = calibrated("l40s", "qwen2.5-7b", bf16, 1, bf16);
        assert!(roof.trust.label.starts_with(UNCALIBRATED) && roof.error.is_none());
        assert!(roof.trust.spread.tpot > fitted.trust.spread.tpot, "nothing is known of it");
    }

    /// Two cells of the table of aiconfigurator-core 0.12.0 (Apache-2.0), H100, one GPU, bf16.
    #[test]
    fn a_profile_reproduces_table_cells_plus_the_host_overhead() {
        let bf16 = Precision::Bf16;
        let gpu = crate::gpu("h100").expect("a GPU");
        let model = crate::model("llama-3.1-8b").expect("a model");
        let sharding = Sharding::tensors(1);
        let served = Served { gpu, model, precisions: (bf16, bf16), sharding };
        let host = Coefficients::of_iterations(sim::units::Span::from_micros(500));
        let profile = served.profile().expect("the data is valid");
        let table = served.step_time(profile, &host, graph_sizes(1024)).expect("usable");
        let decode = Work { decodes: 64, kv_tokens: 64 * 1024, ..Work::default() };
        let pairs = 2048 * 2049 / 2;
        let prefill = Work { prefill_tokens: 2048, prefill_pairs: pairs, ..Work::default() };
        for (work, table_ms) in [(decode, 10.34246), (prefill, 43.50789)] {
            let ms = table.iteration(work).as_secs_f64() * 1e3 - 0.5;
            assert!((ms / table_ms - 1.0).abs() < 0.04, "{ms} against {table_ms}");
        }
    }

    #[test]
    fn the_roofline_is_of_the_size_of_the_table() {
        let bf16 = Precision::Bf16;
        let table = calibrated("h100", "llama-3.1-70b", bf16, 4, bf16).step_time;
        let (gpu, model) = (crate::gpu("h100").expect("a GPU"), crate::model("llama-3.1-70b"));
        let model = model.expect("a model");
        let (precisions, graphs) = ((bf16, bf16), graph_sizes(1024));
        let roof = roofline::step_time(
            gpu,
            model,
            precisions,
            Sharding::tensors(4),
            &Efficiency::PRIOR,
            graphs,
        );
        let more = Overheads { iteration: 500_000_000, ..Overheads::default() };
        let roof = roof.and_then(|kernels| kernels.plus(more)).expect("usable");
        for work in [
            Work { decodes: 32, kv_tokens: 32 * 2048, ..Work::default() },
            Work { prefill_tokens: 4096, prefill_pairs: 4096 * 2048, ..Work::default() },
        ] {
            let ratio = roof.iteration(work).as_secs_f64() / table.iteration(work).as_secs_f64();
            assert!((0.6..1.7).contains(&ratio), "{work:?}: {ratio}");
        }
    }
}
