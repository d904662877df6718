//! Pools: engine settings and step times, from the catalogue or written out.
//!
//! Invariants: the longest request an engine admits fits its KV cache when it runs alone (the
//! engine itself would refuse to start otherwise); a pool has a price.
//!
//! Deliberately absent: the catalogue (see `calibrate`).

use super::Resolver;
use crate::file::{PoolFile, StepTimeFile};
use crate::problem::{At, Problem, ProblemKind};
use crate::resolved::Origin;
use sim::engine::{EngineSpec, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, PoolSpec, Strategy};
use sim::units::{Blocks, Money, Span, Tokens};

/// Requests that a favoured replica may be ahead when a file does not say.
const MAX_IMBALANCE: u32 = 8;

/// A resolved pool and how far its step times can be trusted.
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    pub(super) label: String,
}

impl Resolver<'_> {
    /// Pools in the order of the file; `None` where a problem was reported.
    pub(super) fn pools(&self) -> Vec<Option<Pool>> {
        for (name, balancing) in &self.file.policy.balancing {
            if self.find(name, "pool", &self.pool_names).is_none() {
                continue;
            }
            let affinity = matches!(
                balancing.strategy.as_ref().map(|strategy| strategy.value),
                Some(Strategy::PrefixAffinity { .. })
            );
            if let Some(max) = balancing.max_imbalance.as_ref().filter(|_| !affinity) {
                let message = "`max_imbalance` belongs to the strategy prefix-affinity";
                self.refuse(ProblemKind::Conflict, &max.site, message);
            }
        }
        self.file.pools.iter().map(|(name, pool)| self.pool(name, pool)).collect()
    }

    fn pool(&self, name: &At<String>, file: &PoolFile) -> Option<Pool> {
        let engine = self.engine(file);
        let price = self.price(file);
        let balancing = self.balancing(name);
        let (engine, step_time, label) = engine?;
        if u64::from(engine.max_model_len.0) > engine.kv_token_capacity() {
            let site = file.args.max_model_len.as_ref().map_or(&file.site, |max| &max.site);
            let capacity = engine.kv_token_capacity();
            let message = format!(
                "a request of max_model_len = {} tokens does not fit the KV cache of {capacity} \
                 tokens, so the engine would not start",
                engine.max_model_len.0
            );
            let problem = Problem::new(ProblemKind::DoesNotFit, site, message);
            self.push(problem.help(format!("set engine_args.max_model_len = {capacity} or less")));
            return None;
        }
        let spec = PoolSpec {
            name: name.value.clone(),
            replicas: file.replicas.as_ref()?.value,
            gpus_per_replica: file.tensor_parallel.as_ref()?.value,
            price_per_gpu_hour: price?,
            engine,
            step_time,
            balancing: balancing?,
        };
        Some(Pool { spec, label })
    }

    fn price(&self, file: &PoolFile) -> Option<Money> {
        if let Some(price) = &file.price {
            return Some(price.value);
        }
        let site = file.site.child("price");
        let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
        self.push(problem.help("say what one GPU costs for an hour, like \"$2.99/h\""));
        None
    }

    fn balancing(&self, name: &At<String>) -> Option<Balancing> {
        let stated = self.file.policy.balancing.iter().find(|(pool, _)| pool.value == name.value);
        let Some((_, file)) = stated else {
            let key = format!("load_balancing.{}.strategy", name.value);
            self.note(key, "round-robin".to_owned(), Origin::Default);
            return Some(Balancing {
                strategy: Strategy::RoundRobin,
                signal_age: Span::ZERO,
                count_own_dispatches: true,
            });
        };
        let strategy = match file.strategy.as_ref()?.value {
            Strategy::PrefixAffinity { .. } => Strategy::PrefixAffinity {
                max_imbalance: file.max_imbalance.as_ref().map_or(MAX_IMBALANCE, |max| max.value),
            },
            other => other,
        };
        Some(Balancing {
            strategy,
            signal_age: file.signal_age.as_ref()?.value,
            count_own_dispatches: file.count_own_dispatches.as_ref()?.value,
        })
    }

    /// Engine settings and step times of a pool, and how they are calibrated.
    fn engine(&self, file: &PoolFile) -> Option<(EngineSpec, StepTime, String)> {
        let Some(step_time) = &file.step_time else {
            let message = "this version has no catalogue: the pool needs `step_time`";
            self.refuse(ProblemKind::Unsupported, &file.site.child("step_time"), message);
            return None;
        };
        let step_time = self.written_step_time(step_time);
        let args = &file.args;
        self.refuse_beside_step_time(file);
        let number =
            |at: &Option<At<u32>>, default: u32| at.as_ref().map_or(default, |at| at.value);
        let flag = |at: &Option<At<bool>>, default| at.as_ref().map_or(default, |at| at.value);
        let kv_blocks = args.num_gpu_blocks_override.as_ref()?.value;
        let share = args.watermark.as_ref().map_or(0.0, |watermark| watermark.value);
        let watermark = (share * f64::from(kv_blocks)) as u32;
        let engine = EngineSpec {
            kv_blocks: Blocks(kv_blocks),
            block_size: Tokens(number(&args.block_size, 16)),
            max_num_batched_tokens: Tokens(number(&args.max_num_batched_tokens, 8_192)),
            max_num_seqs: number(&args.max_num_seqs, 1_024),
            max_model_len: Tokens(number(&args.max_model_len, 8_192)),
            prefix_caching: flag(&args.enable_prefix_caching, true),
            policy: args.policy.as_ref().map_or(SchedulingPolicy::Fcfs, |policy| policy.value),
            watermark: Blocks(watermark),
            reserve_full_isl: flag(&args.scheduler_reserve_full_isl, true),
            long_prefill_token_threshold: Tokens(number(&args.long_prefill_token_threshold, 0)),
            chunked_prefill: flag(&args.enable_chunked_prefill, true),
            async_scheduling: flag(&args.async_scheduling, true),
            max_num_queued_reqs: args.max_num_queued_reqs.as_ref().map(|max| max.value),
        };
        Some((engine, step_time?, "written in the scenario".to_owned()))
    }

    /// Keys that say how the catalogue computes what is written out here.
    fn refuse_beside_step_time(&self, file: &PoolFile) {
        let args = &file.args;
        let sites = [
            file.gpu.as_ref().map(|at| &at.site),
            file.precision.as_ref().map(|at| &at.site),
            file.engine.as_ref().map(|at| &at.site),
            args.gpu_memory_utilization.as_ref().map(|at| &at.site),
            args.kv_cache_dtype.as_ref().map(|at| &at.site),
            args.performance_mode.as_ref().map(|at| &at.site),
        ];
        for site in sites.into_iter().flatten() {
            let message = "the key has no effect beside a written `step_time`";
            self.refuse(ProblemKind::Conflict, site, message);
        }
    }

    fn written_step_time(&self, file: &StepTimeFile) -> Option<StepTime> {
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
        match built {
            Ok(step_time) => Some(step_time),
            Err(error) => {
                use sim::engine::StepTimeError as E;
                let message = match error {
                    E::Knots => "the knots of `linear` do not rise",
                    E::GraphSizes => "`graph_sizes` does not rise",
                    E::Instant => "an iteration would take no time",
                    E::TooLarge => "a coefficient is larger than an hour",
                };
                self.refuse(ProblemKind::BadValue, &file.site, message);
                None
            }
        }
    }
}
