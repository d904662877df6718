//! Engine arguments: what an engine has, and what a preset is overridden with.
//!
//! Invariants: an argument that the engine of the pool lacks is a problem, never ignored.
//!
//! Deliberately absent: what the arguments do (see `calibrate` and `sim`).

use super::Resolver;
use crate::file::{EngineArgs, PoolFile};
use crate::problem::{At, Problem, ProblemKind, Site};
use calibrate::{EngineOverrides, EnginePreset, Family};
use sim::units::{Blocks, Tokens};

impl EngineArgs {
    /// The memory fractions of all engines.
    pub(super) fn memory_fractions(&self) -> [Option<&At<f64>>; 3] {
        [
            self.gpu_memory_utilization.as_ref(),
            self.free_gpu_memory_fraction.as_ref(),
            self.mem_fraction_static.as_ref(),
        ]
    }

    /// The arguments that not every engine has, by the name of the knob.
    fn partial(&self) -> [(&'static str, Option<&Site>); 15] {
        fn site<T>(at: &Option<At<T>>) -> Option<&Site> {
            at.as_ref().map(|at| &at.site)
        }
        [
            ("gpu_memory_utilization", site(&self.gpu_memory_utilization)),
            ("free_gpu_memory_fraction", site(&self.free_gpu_memory_fraction)),
            ("mem_fraction_static", site(&self.mem_fraction_static)),
            ("policy", site(&self.policy)),
            ("capacity_scheduler_policy", site(&self.capacity_scheduler_policy)),
            ("schedule_policy", site(&self.schedule_policy)),
            ("schedule_conservativeness", site(&self.schedule_conservativeness)),
            ("watermark", site(&self.watermark)),
            ("reserve_full_isl", site(&self.scheduler_reserve_full_isl)),
            ("long_prefill_token_threshold", site(&self.long_prefill_token_threshold)),
            ("async_scheduling", site(&self.async_scheduling)),
            ("max_num_queued_reqs", site(&self.max_num_queued_reqs)),
            ("max_num_queued_tokens", site(&self.max_num_queued_tokens)),
            ("prefill_schedule_interval", site(&self.prefill_schedule_interval)),
            ("performance_mode", site(&self.performance_mode)),
        ]
    }
}

impl Resolver<'_> {
    /// Refuses arguments that the engine lacks.
    pub(super) fn no_foreign_arguments(
        &self,
        file: &PoolFile,
        preset: &EnginePreset,
    ) -> Option<()> {
        let mut fine = Some(());
        for (knob, site) in file.args.partial() {
            let Some(site) = site.filter(|_| !preset.family.has(knob)) else { continue };
            let message = format!("{} has no argument `{}`", preset.name, vllm_name(knob));
            let problem = Problem::new(ProblemKind::Conflict, site, message);
            self.push(problem.help(instead(knob, preset.family)));
            fine = None;
        }
        fine
    }
}

/// What to write in place of an argument that the engine lacks.
fn instead(knob: &str, family: Family) -> String {
    match (knob, family) {
        ("gpu_memory_utilization" | "free_gpu_memory_fraction" | "mem_fraction_static", _) => {
            format!("its memory fraction is `{}`", family.memory_fraction())
        }
        ("async_scheduling", Family::Sglang) => {
            "leave it out: SGLang's overlap scheduling is not modelled".to_owned()
        }
        ("policy", Family::Sglang) => "its order of the waiting is `schedule_policy`".to_owned(),
        ("policy", Family::Trtllm) => "who may start is `capacity_scheduler_policy`".to_owned(),
        _ => "leave it out, or name an engine that has it".to_owned(),
    }
}

/// Engine arguments as written.
pub(super) fn overrides(file: &PoolFile) -> EngineOverrides {
    fn value<T: Copy>(at: &Option<At<T>>) -> Option<T> {
        at.as_ref().map(|at| at.value)
    }
    let args = &file.args;
    EngineOverrides {
        // Those of other engines were refused.
        gpu_memory_utilization: args
            .memory_fractions()
            .into_iter()
            .flatten()
            .next()
            .map(|a| a.value),
        block_size: value(&args.block_size).map(Tokens),
        max_num_batched_tokens: value(&args.max_num_batched_tokens).map(Tokens),
        max_num_seqs: value(&args.max_num_seqs),
        max_model_len: value(&args.max_model_len).map(Tokens),
        prefix_caching: value(&args.enable_prefix_caching),
        chunked_prefill: value(&args.enable_chunked_prefill),
        policy: value(&args.policy),
        capacity_scheduler_policy: value(&args.capacity_scheduler_policy),
        longest_prefix_match: value(&args.schedule_policy),
        schedule_conservativeness: value(&args.schedule_conservativeness),
        watermark: value(&args.watermark),
        reserve_full_isl: value(&args.scheduler_reserve_full_isl),
        long_prefill_token_threshold: value(&args.long_prefill_token_threshold).map(Tokens),
        async_scheduling: value(&args.async_scheduling),
        max_num_queued_reqs: value(&args.max_num_queued_reqs),
        // The reader lets no negative number through.
        max_num_queued_tokens: value(&args.max_num_queued_tokens).map(i64::unsigned_abs),
        prefill_schedule_interval: value(&args.prefill_schedule_interval),
        stream_interval: value(&args.stream_interval).map(Tokens),
        kv_blocks: value(&args.num_gpu_blocks_override).map(Blocks),
        kv_cache_memory_bytes: value(&args.kv_cache_memory_bytes),
        performance_mode: value(&args.performance_mode),
        dispatch_overhead: value(&file.dispatch_overhead),
    }
}

/// The engine argument that a knob of a preset stands for.
pub(super) fn vllm_name(knob: &str) -> &str {
    match knob {
        "prefix_caching" => "enable_prefix_caching",
        "chunked_prefill" => "enable_chunked_prefill",
        "reserve_full_isl" => "scheduler_reserve_full_isl",
        "kv_blocks" => "num_gpu_blocks_override",
        other => other,
    }
}
