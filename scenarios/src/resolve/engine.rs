//! One replica's engine: settings and step times, from the catalogue or written out.
//!
//! Invariants: a name the catalogue does not know, a model that does not fit its GPUs and a
//! longest request that does not fit the KV cache are problems of the pool; each setting that was
//! not written is in the provenance with the preset or rule it comes from.
//!
//! Deliberately absent: the facts themselves (see `calibrate`).

use super::Resolver;
use super::engine_args::{overrides, vllm_name};
use crate::file::{PoolFile, StepTimeFile};
use crate::problem::{At, Problem, ProblemKind, Site, did_you_mean};
use crate::resolved::{Origin, PoolCalibration};
use calibrate::{CatalogError, EngineDefaults, Precision};
use sim::engine::{EngineSpec, StepTime};
use sim::fleet::HostTime;
use sim::units::{Blocks, Bytes, Span, Tokens};

/// GPU whose preset fills in the settings of a pool with written step times.
const WRITTEN_LIKE: &str = "h100-sxm";
/// Longest request of a pool with written step times, unless written too.
const WRITTEN_LENGTH: u32 = 8_192;

/// Blocks of one request and of one replica that the simulator's prefix cache can number.
const MOST_BLOCKS_OF_REQUEST: u32 = 1 << 20;
const MOST_BLOCKS_OF_REPLICA: u32 = (1 << 24) - 1;
/// Blocks of all replicas of a pool with prefix caching; each takes up to 32 bytes.
const MOST_BLOCKS_OF_POOL: u64 = 1 << 28;

/// An engine and how far its times can be trusted.
pub(super) struct Engine {
    pub(super) spec: EngineSpec,
    pub(super) step_time: StepTime,
    pub(super) host: HostTime,
    pub(super) calibration: PoolCalibration,
}

impl Resolver<'_> {
    /// The engine of a pool.
    pub(super) fn engine(&self, name: &At<String>, file: &PoolFile) -> Option<Engine> {
        let engine = match (&file.gpu, &file.step_time) {
            (Some(gpu), _) => self.catalogued(name, file, gpu),
            (None, Some(step_time)) => self.written(name, file, step_time),
            (None, None) => {
                let site = file.site.child("gpu");
                let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
                self.push(problem.help("name a GPU of the catalogue, like \"h100-sxm\""));
                None
            }
        }?;
        self.addressable(file, &engine.spec)?;
        Some(engine)
    }

    /// Refuses a prefix cache that the simulator cannot number, or that would take more than about
    /// 8 GiB of memory; without prefix caching, blocks are only counted.
    fn addressable(&self, file: &PoolFile, spec: &EngineSpec) -> Option<()> {
        if !spec.prefix_caching {
            return Some(());
        }
        let args = &file.args;
        let site = |at: &Option<At<u32>>| at.as_ref().map_or(&file.site, |at| &at.site).clone();
        let of_request = spec.max_model_len.0.div_ceil(spec.block_size.0.max(1));
        let replicas = file.replicas.as_ref().map_or(1, |replicas| replicas.value);
        let of_pool = u64::from(spec.kv_blocks.0) * u64::from(replicas);
        let (site, message) = if of_request >= MOST_BLOCKS_OF_REQUEST {
            let message = format!("a request of {of_request} KV blocks cannot be cached");
            (site(&args.max_model_len), message)
        } else if spec.kv_blocks.0 >= MOST_BLOCKS_OF_REPLICA || of_pool > MOST_BLOCKS_OF_POOL {
            let message = format!(
                "{} KV blocks in each of {replicas} replicas are too many to cache prefixes in",
                spec.kv_blocks.0
            );
            (site(&args.num_gpu_blocks_override), message)
        } else {
            return Some(());
        };
        let problem = Problem::new(ProblemKind::BadValue, &site, message);
        self.push(problem.help("use larger blocks or enable_prefix_caching = false"));
        None
    }

    /// GPU, model and preset from the catalogue; a written step time replaces its step time.
    fn catalogued(&self, name: &At<String>, file: &PoolFile, gpu: &At<String>) -> Option<Engine> {
        let gpu = self.known(gpu, calibrate::gpu);
        let preset = file.engine.as_ref().and_then(|e| self.known(e, calibrate::engine_preset));
        let model = match &file.model {
            Some(model) => self.known(model, calibrate::model),
            None => {
                let site = file.site.child("model");
                let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
                self.push(problem.help("name a model of the catalogue"));
                None
            }
        };
        let step_time = file.step_time.as_ref().map(|written| self.step_time(written));
        let (gpu, preset, model) = (gpu?, preset?, model?);
        self.no_foreign_arguments(file, preset)?;
        let defaults = self.settings(file, preset.resolve(gpu, &overrides(file)))?;
        let weights = file.precision.as_ref()?.value;
        let kv = file.args.kv_cache_dtype.as_ref().map_or(Precision::Bf16, |kv| kv.value);
        let tensor_parallel = file.tensor_parallel.as_ref()?.value;
        self.one_size_of_cache(file);
        self.no_overhead_beside_written_times(file);
        let fitted = self.fitted(file)?;
        let calibrated =
            calibrate::calibration(gpu, model, weights, tensor_parallel, &defaults, kv, &fitted);
        let calibrated = match calibrated {
            Ok(calibrated) => calibrated,
            Err(error) => {
                self.does_not_fit(name, file, &error);
                return None;
            }
        };
        self.note_settings(name, &calibrated.engine);
        let key = |key: &str| format!("{}.{key}", name.site.key);
        if file.args.kv_cache_dtype.is_none() {
            let origin = Origin::Catalogue(format!("default of {}: bf16", preset.name));
            self.note(key("engine_args.kv_cache_dtype"), "auto".to_owned(), origin);
        }
        self.note_capacity(name, file, &calibrated);
        let (step_time, host, mut calibration) = match (step_time, &file.step_time) {
            (Some(written), Some(times)) => {
                self.bearable(times, &calibrated.spec)?;
                (written?, self.host(file, None), PoolCalibration::written())
            }
            _ => {
                self.note_calibration(file, &calibrated);
                let calibration = PoolCalibration::of(&calibrated, file);
                let host = self.host(file, Some(&calibrated));
                (calibrated.step_time, host, calibration)
            }
        };
        if calibrated.capacity.estimated {
            calibration.label = format!("{}; {}", calibration.label, calibrate::ESTIMATED);
        }
        Some(Engine { spec: calibrated.spec, step_time, host, calibration })
    }

    /// Where the number of KV blocks comes from, unless it is written.
    fn note_capacity(
        &self,
        name: &At<String>,
        file: &PoolFile,
        calibrated: &calibrate::Calibration,
    ) {
        if file.args.num_gpu_blocks_override.is_some() {
            return;
        }
        let mib = |bytes: Bytes| bytes.0 >> 20;
        let capacity = &calibrated.capacity;
        let how = match &file.args.kv_cache_memory_bytes {
            Some(forced) => format!("kv_cache_memory_bytes of {} MiB", mib(forced.value)),
            None => format!(
                "{} MiB for KV of {} MiB claimed, {} MiB of weights, a prior of {} MiB beside",
                mib(capacity.kv),
                mib(capacity.requested),
                mib(capacity.weights),
                mib(capacity.other),
            ),
        };
        let key = format!("{}.kv_blocks", name.site.key);
        self.note(key, calibrated.kv_blocks.0.to_string(), Origin::Derived(how));
    }

    /// Refuses what the engine would take and then ignore: of the three ways to size the KV cache
    /// one is in force.
    fn one_size_of_cache(&self, file: &PoolFile) {
        let args = &file.args;
        let Some(bytes) = &args.kv_cache_memory_bytes else { return };
        if args.num_gpu_blocks_override.is_some() {
            let message = "the key has no effect beside `num_gpu_blocks_override`";
            self.refuse(ProblemKind::Conflict, &bytes.site, message);
        }
        for share in args.memory_fractions().into_iter().flatten() {
            let message = "the key has no effect beside `kv_cache_memory_bytes`";
            self.refuse(ProblemKind::Conflict, &share.site, message);
        }
    }

    /// Written step times have the overhead in `fixed`, and rest on no calibration.
    fn no_overhead_beside_written_times(&self, file: &PoolFile) {
        if let (Some(named), Some(_)) = (&file.calibration_file, &file.step_time) {
            let message = "the key has no effect beside `step_time`";
            self.refuse(ProblemKind::Conflict, &named.site, message);
        }
        if let (Some(overhead), Some(_)) = (&file.dispatch_overhead, &file.step_time) {
            let message = "the key has no effect beside `step_time`: add it to `step_time.fixed`";
            self.refuse(ProblemKind::Conflict, &overhead.site, message);
        }
    }

    /// Written step times without a GPU: settings as on an H100, KV blocks written too.
    fn written(&self, name: &At<String>, file: &PoolFile, times: &StepTimeFile) -> Option<Engine> {
        let args = &file.args;
        let fractions = args.memory_fractions().into_iter().flatten().map(|at| &at.site);
        let others = [
            args.kv_cache_dtype.as_ref().map(|at| &at.site),
            args.kv_cache_memory_bytes.as_ref().map(|at| &at.site),
        ];
        for site in fractions.chain(others.into_iter().flatten()) {
            let message = "the key has no effect in a pool without `gpu`";
            self.refuse(ProblemKind::Conflict, site, message);
        }
        self.no_overhead_beside_written_times(file);
        let step_time = self.step_time(times);
        let blocks = args.num_gpu_blocks_override.as_ref();
        if blocks.is_none() {
            let site = file.site.child("engine_args.num_gpu_blocks_override");
            let message = "a pool without `gpu` has to say how many KV blocks it has";
            self.refuse(ProblemKind::MissingKey, &site, message);
        }
        let preset = file.engine.as_ref().and_then(|e| self.known(e, calibrate::engine_preset))?;
        self.no_foreign_arguments(file, preset)?;
        let gpu = match calibrate::gpu(WRITTEN_LIKE) {
            Ok(gpu) => gpu,
            Err(error) => {
                self.refuse(ProblemKind::UnknownName, &file.site, error.to_string());
                return None;
            }
        };
        let defaults = self.settings(file, preset.resolve(gpu, &overrides(file)))?;
        let how = "no model of the catalogue";
        let settings = defaults.for_model(Tokens(WRITTEN_LENGTH), how);
        self.note_settings(name, &settings);
        let longest = settings.max_model_len.as_ref().map_or(WRITTEN_LENGTH, |k| k.value.0);
        let spec = settings.spec(Blocks(blocks?.value), Tokens(longest));
        self.bearable(times, &spec)?;
        let (host, calibration) = (self.host(file, None), PoolCalibration::written());
        Some(Engine { spec, step_time: step_time?, host, calibration })
    }

    /// A row of the catalogue.
    fn known<T>(
        &self,
        name: &At<String>,
        look_up: fn(&str) -> Result<&'static T, CatalogError>,
    ) -> Option<&'static T> {
        match look_up(&name.value) {
            Ok(row) => Some(row),
            Err(CatalogError::Unknown { kind, known, .. }) => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let message = format!("no {kind} of the catalogue is called `{}`", name.value);
                let problem = Problem::new(ProblemKind::UnknownName, &name.site, message);
                self.push(problem.help(did_you_mean(&name.value, &known)));
                None
            }
            Err(error) => {
                self.refuse(ProblemKind::File, &name.site, error.to_string());
                None
            }
        }
    }

    fn settings<E: std::fmt::Display>(
        &self,
        file: &PoolFile,
        settings: Result<EngineDefaults, E>,
    ) -> Option<EngineDefaults> {
        settings.map_err(|e| self.refuse(ProblemKind::BadValue, &file.site, e.to_string())).ok()
    }

    fn does_not_fit(
        &self,
        name: &At<String>,
        file: &PoolFile,
        error: &calibrate::CalibrationError,
    ) {
        use calibrate::{CalibrationError as E, CapacityError as C};
        let site = self.site_of(file, error);
        let mut problem = Problem::new(ProblemKind::DoesNotFit, &site, error.to_string());
        if let E::Capacity(C::LengthDoesNotFit { largest, .. }) = error {
            // Whole blocks of the usual size, so that the number also fits a slightly smaller cache.
            let most = largest / 16 * 16;
            problem = match &file.args.max_model_len {
                Some(_) => problem.help(format!("write max_model_len = {most}")),
                None => {
                    problem.message += "; it is the model's own, as nothing else is written";
                    problem.help(format!("write engine_args = {{ max_model_len = {most} }}"))
                }
            };
        }
        // Any of the arguments may be the one that would have made it fit.
        self.push(problem.rests_on([name.site.child("engine_args").key]));
    }

    /// The key that a calibration error is about, where there is one.
    fn site_of(&self, file: &PoolFile, error: &calibrate::CalibrationError) -> Site {
        use calibrate::{CalibrationError as E, CapacityError as C};
        let written = match error {
            E::Capacity(C::LengthDoesNotFit { .. }) => {
                file.args.max_model_len.as_ref().map(|at| &at.site)
            }
            E::Capacity(C::DoesNotFit { most: Some(_), .. }) => {
                let blocks = file.args.num_gpu_blocks_override.as_ref().map(|at| &at.site);
                blocks.or(file.args.kv_cache_memory_bytes.as_ref().map(|at| &at.site))
            }
            E::Capacity(C::HeadsDoNotDivide { .. }) => {
                file.tensor_parallel.as_ref().map(|at| &at.site)
            }
            _ => file.model.as_ref().map(|at| &at.site),
        };
        written.unwrap_or(&file.site).clone()
    }

    /// Settings that were not written, with the preset or rule they come from.
    fn note_settings(&self, name: &At<String>, settings: &EngineDefaults) {
        let by_user = calibrate::Origin::User.to_string();
        for (knob, value, origin) in settings.rows() {
            if origin != by_user {
                let key = format!("{}.engine_args.{}", name.site.key, vllm_name(knob));
                self.note(key, value, Origin::Catalogue(origin));
            }
        }
    }

    /// Refuses written times with which the heaviest iteration the engine can be given would
    /// take longer than a day: a slip of units, and sums of such times would overflow.
    fn bearable(&self, file: &StepTimeFile, spec: &EngineSpec) -> Option<()> {
        const DAY: u128 = 86_400 * sim::units::PS_PER_SEC as u128;
        let ps = |at: &Option<At<Span>>| at.as_ref().map_or(0, |at| u128::from(at.value.0));
        let tokens = u128::from(spec.max_num_batched_tokens.0) + u128::from(spec.max_num_seqs);
        let knots = file.linear.iter().map(|knot| u128::from(knot.1.0)).max().unwrap_or(0);
        // The last slope holds beyond the last knot.
        let slope = match file.linear.as_slice() {
            [.., from, to] if to.0 > from.0 => {
                u128::from(to.1.0.saturating_sub(from.1.0)) / u128::from(to.0 - from.0) + 1
            }
            _ => ps(&file.per_token),
        };
        let pairs = tokens * u128::from(spec.max_model_len.0) / 1024 + 1;
        let heaviest = ps(&file.fixed)
            + ps(&file.ungraphed)
            + knots
            + slope * tokens
            + ps(&file.per_kv_token) * u128::from(spec.kv_token_capacity())
            + ps(&file.per_1024_pairs) * pairs;
        if heaviest > DAY {
            let message = "the heaviest iteration would take more than a day";
            self.refuse(ProblemKind::BadValue, &file.site, message);
            return None;
        }
        Some(())
    }

    fn step_time(&self, file: &StepTimeFile) -> Option<StepTime> {
        let ps = |at: &Option<At<Span>>| at.as_ref().map(|at| at.value.0);
        let linear = match (&file.per_token, file.linear.is_empty()) {
            (Some(_), false) => {
                let message = "step_time takes either `per_token` or `linear`";
                self.refuse(ProblemKind::Conflict, &file.site, message);
                return None;
            }
            // Two knots make a line: the last slope holds beyond the last knot.
            (Some(per_token), true) => vec![(0, 0), (1, per_token.value.0)],
            (None, false) => file.linear.iter().map(|&(tokens, span)| (tokens, span.0)).collect(),
            (None, true) => vec![(0, 0)],
        };
        let graph_sizes = file.graph_sizes.iter().map(|size| size.value).collect();
        let built = StepTime::new(
            ps(&file.fixed)?,
            ps(&file.ungraphed)?,
            linear,
            ps(&file.per_kv_token)?,
            ps(&file.per_1024_pairs)?,
            graph_sizes,
        );
        built
            .map_err(|error| {
                use sim::engine::StepTimeError as E;
                let message = match error {
                    E::Knots => "the knots of `linear` do not rise",
                    E::GraphSizes => "`graph_sizes` does not rise",
                    E::Instant => "an iteration would take no time",
                    E::TooLarge => "a coefficient is larger than an hour",
                };
                self.refuse(ProblemKind::BadValue, &file.site, message);
            })
            .ok()
    }
}
