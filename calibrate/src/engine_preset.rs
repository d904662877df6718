//! Versioned defaults of serving engines, and how a user's settings change them.
//!
//! Invariants: every resolved knob remembers where its value came from; a user's value is never
//! changed silently, only by a rule of the engine whose text is in the origin.
//!
//! Deliberately absent: defaults of the offline batch interface, and knobs the simulator lacks.

use std::fmt;

use serde::Deserialize;
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, Sglang};
use sim::units::{Blocks, Bytes, Span, Tokens};

use crate::engine_family::{CapacityPolicy, Family};
use crate::gpu::Gpu;

/// What an engine version does when nothing is set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnginePreset {
    /// Name in scenario files.
    pub name: String,
    /// Other names accepted.
    pub aliases: Vec<String>,
    /// Whose rules it follows.
    pub family: Family,
    /// Fraction of GPU memory the engine claims (see [`Family::memory_fraction`]); `None` when it
    /// works it out.
    pub gpu_memory_utilization: Option<f64>,
    /// Tokens in a KV block.
    pub block_size: u32,
    /// Whether a prompt may be computed in several iterations.
    pub chunked_prefill: bool,
    /// Whether a request is admitted only when its whole known sequence fits.
    pub reserve_full_isl: bool,
    /// Whether the next iteration is scheduled before the tokens of this one are known.
    pub async_scheduling: bool,
    /// Default of `max_num_batched_tokens` on GPUs of at least 160 GiB; of TensorRT-LLM on all.
    pub batched_tokens_from_160_gib: u32,
    /// Prior: MiB a GPU holds beside weights and KV cache, whatever the batch.
    pub non_kv_base_mib: u64,
    /// Prior: MiB more per token of `max_num_batched_tokens`.
    pub non_kv_mib_per_token: f64,
    /// Prior: microseconds of an iteration in which the GPU waits for the host.
    pub host_overhead_us: u64,
    /// Where the row is from.
    pub source: String,
    /// Date of the row, ISO 8601.
    pub as_of: String,
}

/// vLLM's `performance_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PerformanceMode {
    /// The ordinary defaults.
    #[default]
    Balanced,
    /// Doubles `max_num_batched_tokens` and `max_num_seqs` where the user set none.
    Throughput,
}

/// What the user set; `None` leaves the engine's default.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is the knob of the same name in EngineDefaults")]
pub struct EngineOverrides {
    /// The fraction as the engine counts it, see [`Family::memory_fraction`].
    pub gpu_memory_utilization: Option<f64>,
    pub block_size: Option<Tokens>,
    pub max_num_batched_tokens: Option<Tokens>,
    pub max_num_seqs: Option<u32>,
    pub max_model_len: Option<Tokens>,
    pub prefix_caching: Option<bool>,
    pub chunked_prefill: Option<bool>,
    pub policy: Option<SchedulingPolicy>,
    pub capacity_scheduler_policy: Option<CapacityPolicy>,
    pub longest_prefix_match: Option<bool>,
    pub schedule_conservativeness: Option<f64>,
    pub watermark: Option<f64>,
    pub reserve_full_isl: Option<bool>,
    pub long_prefill_token_threshold: Option<Tokens>,
    pub async_scheduling: Option<bool>,
    pub max_num_queued_reqs: Option<u32>,
    pub max_num_queued_tokens: Option<u64>,
    pub prefill_schedule_interval: Option<u32>,
    pub stream_interval: Option<Tokens>,
    /// Bypasses the memory arithmetic, as vLLM's `num_gpu_blocks_override`; null block included.
    pub kv_blocks: Option<Blocks>,
    /// Bytes of KV cache on each GPU; `kv_blocks` goes before it.
    pub kv_cache_memory_bytes: Option<Bytes>,
    pub performance_mode: Option<PerformanceMode>,
    /// Time of an iteration in which the GPU waits for the host, in place of the preset's prior.
    pub dispatch_overhead: Option<Span>,
}

/// Where a resolved value came from; prints as a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Preset(String),
    /// The user set it.
    User,
    /// A rule of the engine changed or made it; the rule in words.
    Rule(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Preset(name) => write!(f, "default of {name}"),
            Origin::User => f.write_str("set by the user"),
            Origin::Rule(rule) => f.write_str(rule),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved<T> {
    /// The value in force.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// Every knob in force, with its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineDefaults {
    /// Name of the preset resolved.
    pub preset: String,
    /// Whose rules it follows.
    pub family: Family,
    /// Fraction of GPU memory the engine claims, in (0, 1]; see [`Family::memory_fraction`].
    pub gpu_memory_utilization: Resolved<f64>,
    /// Tokens in a KV block.
    pub block_size: Resolved<Tokens>,
    /// Tokens an iteration may process.
    pub max_num_batched_tokens: Resolved<Tokens>,
    /// Sequences that may run at once.
    pub max_num_seqs: Resolved<u32>,
    /// Longest sequence. `None`: the model's own, filled in by `calibration`.
    pub max_model_len: Option<Resolved<Tokens>>,
    /// Whether full blocks are shared by content.
    pub prefix_caching: Resolved<bool>,
    /// Whether a prompt may be computed in several iterations.
    pub chunked_prefill: Resolved<bool>,
    /// Admission and preemption order.
    pub policy: Resolved<SchedulingPolicy>,
    /// Who TensorRT-LLM lets start.
    pub capacity_scheduler_policy: Resolved<CapacityPolicy>,
    /// Whether SGLang orders waiting requests by cached prefix (`lpm`) instead of by arrival.
    pub longest_prefix_match: Resolved<bool>,
    /// Factor on the output that SGLang expects requests to write.
    pub schedule_conservativeness: Resolved<f64>,
    /// Fraction of blocks kept free on admission.
    pub watermark: Resolved<f64>,
    /// Whether a request is admitted only when its whole known sequence fits.
    pub reserve_full_isl: Resolved<bool>,
    /// Longest prefill chunk of one request while others exist; 0 = no limit.
    pub long_prefill_token_threshold: Resolved<Tokens>,
    /// Whether the next iteration is scheduled before the tokens of this one are known.
    pub async_scheduling: Resolved<bool>,
    /// Requests that may wait or run; `None` = no limit.
    pub max_num_queued_reqs: Resolved<Option<u32>>,
    /// Prompt tokens without a first token from which on requests are rejected; `None` = no limit.
    pub max_num_queued_tokens: Resolved<Option<u64>>,
    /// Prefill at most once in so many iterations.
    pub prefill_schedule_interval: Resolved<u32>,
    /// Tokens of a streamed chunk after the first. The simulator needs it for nothing: it counts
    /// first tokens, ends, and the mean time of a token in between.
    pub stream_interval: Resolved<Tokens>,
    /// Blocks forced by the user.
    pub kv_blocks: Option<Resolved<Blocks>>,
    /// Bytes of KV cache on each GPU, forced by the user.
    pub kv_cache_memory_bytes: Option<Resolved<Bytes>>,
    /// Prior: MiB a GPU holds beside weights and KV cache, whatever the batch.
    pub non_kv_base_mib: u64,
    /// Prior: MiB more per token of `max_num_batched_tokens`.
    pub non_kv_mib_per_token: f64,
    /// What the batch defaults were tuned for.
    pub performance_mode: Resolved<PerformanceMode>,
    /// Time of an iteration in which the GPU waits for the host; the preset's is a prior.
    pub dispatch_overhead: Resolved<Span>,
}

/// A setting no engine would start with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EnginePresetError {
    /// A fraction outside its range.
    #[error("{knob} = {value} must be a fraction {range}")]
    Fraction {
        /// Name of the knob.
        knob: &'static str,
        /// What was set.
        value: f64,
        /// The range in words.
        range: &'static str,
    },
    /// A count below its least value.
    #[error("{knob} = {value} must be at least {least}")]
    TooSmall {
        /// Name of the knob.
        knob: &'static str,
        /// What was set.
        value: u32,
        /// Least value allowed.
        least: u32,
    },
}

const GIB: u64 = 1 << 30;

impl EnginePreset {
    /// Defaults of this version on `gpu`, changed by what the user set.
    ///
    /// The batch defaults follow `engine/arg_utils.py`: at least 160 GiB; at least 70 GiB and not
    /// an A100; the rest.
    ///
    /// # Errors
    /// [`EnginePresetError`] when a setting is outside its range.
    pub fn resolve(
        &self,
        gpu: &Gpu,
        overrides: &EngineOverrides,
    ) -> Result<EngineDefaults, EnginePresetError> {
        check(overrides, self.family)?;
        let (tokens, seqs) = self.batch_defaults(gpu, overrides);
        let o = overrides;
        let block_size = self.pick(o.block_size, Tokens(self.block_size));
        let least = block_size.value.0;
        if self.family == Family::Trtllm && tokens.value.0 < least {
            let (knob, value) = ("max_num_batched_tokens", tokens.value.0);
            return Err(EnginePresetError::TooSmall { knob, value, least });
        }
        Ok(EngineDefaults {
            preset: self.name.clone(),
            family: self.family,
            gpu_memory_utilization: self.memory_fraction(gpu, o, tokens.value),
            block_size,
            capacity_scheduler_policy: self
                .pick(o.capacity_scheduler_policy, CapacityPolicy::GuaranteedNoEvict),
            longest_prefix_match: self.pick(o.longest_prefix_match, false),
            schedule_conservativeness: self.pick(o.schedule_conservativeness, 1.0),
            max_num_batched_tokens: tokens,
            max_num_seqs: seqs,
            max_model_len: o.max_model_len.map(|value| Resolved { value, origin: Origin::User }),
            prefix_caching: self.pick(o.prefix_caching, true),
            chunked_prefill: self.pick(o.chunked_prefill, self.chunked_prefill),
            policy: self.pick(o.policy, SchedulingPolicy::Fcfs),
            watermark: self.pick(o.watermark, 0.0),
            reserve_full_isl: self.pick(o.reserve_full_isl, self.reserve_full_isl),
            long_prefill_token_threshold: self.pick(o.long_prefill_token_threshold, Tokens(0)),
            async_scheduling: self.pick(o.async_scheduling, self.async_scheduling),
            max_num_queued_reqs: self.pick(o.max_num_queued_reqs.map(Some), None),
            max_num_queued_tokens: self.pick(o.max_num_queued_tokens.map(Some), None),
            prefill_schedule_interval: self.pick(o.prefill_schedule_interval, 1),
            stream_interval: self.pick(o.stream_interval, Tokens(1)),
            kv_blocks: o.kv_blocks.map(|value| Resolved { value, origin: Origin::User }),
            kv_cache_memory_bytes: o
                .kv_cache_memory_bytes
                .map(|value| Resolved { value, origin: Origin::User }),
            non_kv_base_mib: self.non_kv_base_mib,
            non_kv_mib_per_token: self.non_kv_mib_per_token,
            performance_mode: self.pick(o.performance_mode, PerformanceMode::Balanced),
            dispatch_overhead: match o.dispatch_overhead {
                Some(value) => Resolved { value, origin: Origin::User },
                None => Resolved {
                    value: Span::from_micros(self.host_overhead_us),
                    origin: Origin::Rule(format!("prior of {}, not measured", self.name)),
                },
            },
        })
    }

    fn pick<T>(&self, set: Option<T>, default: T) -> Resolved<T> {
        match set {
            Some(value) => Resolved { value, origin: Origin::User },
            None => Resolved { value: default, origin: Origin::Preset(self.name.clone()) },
        }
    }

    /// The share of memory. SGLang keeps 1.5 MiB free for each token of a prefill iteration and
    /// 2 MiB for each sequence of the largest captured graph, 256 of them.
    fn memory_fraction(&self, gpu: &Gpu, o: &EngineOverrides, tokens: Tokens) -> Resolved<f64> {
        if let Some(fraction) = o.gpu_memory_utilization.or(self.gpu_memory_utilization) {
            return self.pick(o.gpu_memory_utilization, fraction);
        }
        let memory = (gpu.memory().0 >> 20) as f64;
        let kept = 1.5 * f64::from(tokens.0) + 512.0;
        let rule = format!("{}: less 1.5 MiB · max_num_batched_tokens + 512 MiB", self.name);
        let value = ((memory - kept) / memory).clamp(0.05, 1.0);
        Resolved { value, origin: Origin::Rule(rule) }
    }

    fn batch_defaults(
        &self,
        gpu: &Gpu,
        overrides: &EngineOverrides,
    ) -> (Resolved<Tokens>, Resolved<u32>) {
        let memory = gpu.memory().0;
        let large = memory >= 70 * GIB && !gpu.a100_class;
        let most = self.batched_tokens_from_160_gib;
        let (tokens, seqs) = match self.family {
            Family::Vllm if memory >= 160 * GIB => (most, 1024),
            Family::Vllm if large => (8192, 1024),
            Family::Vllm => (2048, 256),
            Family::Trtllm => (most, 2048),
            // `chunked_prefill_size`, or `max_prefill_tokens` without chunks.
            Family::Sglang if overrides.chunked_prefill == Some(false) => (16_384, 2048),
            Family::Sglang => match memory / GIB {
                160.. => (most, 2048),
                60.. => (8192, 2048),
                35.. => (4096, 2048),
                _ => (2048, 2048),
            },
        };
        let doubled = overrides.performance_mode == Some(PerformanceMode::Throughput);
        let mut tokens = self.pick(overrides.max_num_batched_tokens, Tokens(tokens));
        let mut seqs = self.pick(overrides.max_num_seqs, seqs);
        let rule = || Origin::Rule(format!("2 × default of {}: performance_mode", self.name));
        if doubled && tokens.origin != Origin::User {
            tokens = Resolved { value: Tokens(2 * tokens.value.0), origin: rule() };
        }
        if doubled && seqs.origin != Origin::User {
            seqs = Resolved { value: 2 * seqs.value, origin: rule() };
        }
        if self.family == Family::Sglang {
            let size = overrides.block_size.map_or(self.block_size, |size| size.0);
            let whole = tokens.value.0.checked_next_multiple_of(size).unwrap_or(tokens.value.0);
            if whole != tokens.value.0 {
                let rule = "raised to a multiple of block_size".to_owned();
                tokens = Resolved { value: Tokens(whole), origin: Origin::Rule(rule) };
            }
        } else if seqs.value > tokens.value.0 {
            let rule = "min(max_num_seqs, max_num_batched_tokens)".to_owned();
            seqs = Resolved { value: tokens.value.0, origin: Origin::Rule(rule) };
        }
        (tokens, seqs)
    }
}

fn check(o: &EngineOverrides, family: Family) -> Result<(), EnginePresetError> {
    if let Some(value) = o.gpu_memory_utilization.filter(|v| !(*v > 0.0 && *v <= 1.0)) {
        let (knob, range) = (family.memory_fraction(), "above 0 and at most 1");
        return Err(EnginePresetError::Fraction { knob, value, range });
    }
    if let Some(value) = o.schedule_conservativeness.filter(|v| !(*v >= 0.0 && *v <= 10.0)) {
        let (knob, range) = ("schedule_conservativeness", "from 0 to 10");
        return Err(EnginePresetError::Fraction { knob, value, range });
    }
    if let Some(value) = o.watermark.filter(|v| !(0.0..1.0).contains(v)) {
        let (knob, range) = ("watermark", "from 0 up to but not including 1");
        return Err(EnginePresetError::Fraction { knob, value, range });
    }
    let counts = [
        ("block_size", o.block_size.map(|t| t.0), 1),
        ("max_num_batched_tokens", o.max_num_batched_tokens.map(|t| t.0), 1),
        ("max_num_seqs", o.max_num_seqs, 1),
        ("max_model_len", o.max_model_len.map(|t| t.0), 2),
        ("prefill_schedule_interval", o.prefill_schedule_interval, 1),
        ("stream_interval", o.stream_interval.map(|t| t.0), 1),
        ("kv_blocks", o.kv_blocks.map(|b| b.0), 2),
    ];
    for (knob, value, least) in counts {
        if let Some(value) = value.filter(|v| *v < least) {
            return Err(EnginePresetError::TooSmall { knob, value, least });
        }
    }
    Ok(())
}

impl EngineDefaults {
    /// The simulator's settings, given the pool and the longest sequence.
    #[must_use]
    pub fn spec(&self, kv_blocks: Blocks, max_model_len: Tokens) -> EngineSpec {
        EngineSpec {
            scheduling: self.scheduling(),
            kv_blocks,
            block_size: self.block_size.value,
            max_num_batched_tokens: self.max_num_batched_tokens.value,
            max_num_seqs: self.max_num_seqs.value,
            max_model_len,
            prefix_caching: self.prefix_caching.value,
            policy: self.policy.value,
            watermark: Blocks((f64::from(kv_blocks.0) * self.watermark.value) as u32),
            reserve_full_isl: self.reserve_full_isl.value,
            long_prefill_token_threshold: self.long_prefill_token_threshold.value,
            chunked_prefill: self.chunked_prefill.value,
            async_scheduling: self.async_scheduling.value,
            max_num_queued_reqs: self.max_num_queued_reqs.value,
            max_num_queued_tokens: self.max_num_queued_tokens.value,
            prefill_schedule_interval: self.prefill_schedule_interval.value,
        }
    }

    fn scheduling(&self) -> Scheduling {
        match (self.family, self.capacity_scheduler_policy.value) {
            (Family::Vllm, _) => Scheduling::Vllm,
            (Family::Trtllm, CapacityPolicy::GuaranteedNoEvict) => Scheduling::GuaranteedNoEvict,
            (Family::Trtllm, CapacityPolicy::MaxUtilization) => Scheduling::MaxUtilization,
            (Family::Sglang, _) => {
                // `SGLANG_INIT_NEW_TOKEN_RATIO`, `SGLANG_MIN_NEW_TOKEN_RATIO_FACTOR` and
                // `SGLANG_NEW_TOKEN_RATIO_DECAY_STEPS`.
                let init = (0.7 * self.schedule_conservativeness.value).min(1.0);
                let min = 0.14 * init;
                let billionths = |ratio: f64| (ratio * 1e9).round() as u32;
                Scheduling::Sglang(Sglang {
                    longest_prefix_match: self.longest_prefix_match.value,
                    init_new_token_ratio: billionths(init),
                    min_new_token_ratio: billionths(min),
                    new_token_ratio_decay: billionths((init - min) / 600.0),
                })
            }
        }
    }

    /// Applies the rules that need the model: the longest sequence becomes the model's own when
    /// unset; and for vLLM, without chunked prefill a whole prompt must fit an iteration, and a
    /// batch never needs more than `max_num_seqs · max_model_len` tokens.
    #[must_use]
    pub fn for_model(&self, native: Tokens, source: &str) -> EngineDefaults {
        let mut out = self.clone();
        let length = out.max_model_len.get_or_insert_with(|| Resolved {
            value: native,
            origin: Origin::Rule(format!("{source}: max_position_embeddings")),
        });
        let longest = length.value.0;
        if out.family != Family::Vllm {
            return out;
        }
        let tokens = &mut out.max_num_batched_tokens;
        let most = out.max_num_seqs.value.saturating_mul(longest);
        if tokens.value.0 > most {
            let rule = "min(max_num_batched_tokens, max_num_seqs × max_model_len)".to_owned();
            *tokens = Resolved { value: Tokens(most), origin: Origin::Rule(rule) };
        }
        if !out.chunked_prefill.value && tokens.value.0 < longest {
            let rule = "raised to max_model_len: chunked prefill is off".to_owned();
            *tokens = Resolved { value: Tokens(longest), origin: Origin::Rule(rule) };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(preset: &str, o: &EngineOverrides) -> EngineDefaults {
        let gpu = crate::gpu("h100-sxm").expect("in the catalogue");
        crate::engine_preset(preset).expect("a preset").resolve(gpu, o).expect("valid")
    }

    #[test]
    fn versions_differ_where_the_engines_do() {
        let none = EngineOverrides::default();
        let (new, old) = (resolve("vllm-0.33", &none), resolve("vllm-0.11", &none));
        assert_eq!(
            (new.gpu_memory_utilization.value, old.gpu_memory_utilization.value),
            (0.92, 0.90)
        );
        assert_eq!(
            (new.max_num_batched_tokens.value, new.max_num_seqs.value),
            (Tokens(8192), 1024)
        );
        assert_eq!((new.reserve_full_isl.value, old.reserve_full_isl.value), (true, false));
        assert_eq!((new.async_scheduling.value, old.async_scheduling.value), (true, false));
        assert_eq!(new.block_size.origin.to_string(), "default of vllm-0.33");
    }

    #[test]
    fn smaller_and_a100_class_gpus_get_smaller_batches() {
        let mut gpu = crate::gpu("h100-sxm").expect("in the catalogue").clone();
        let preset = crate::engine_preset("vllm-0.33").expect("a preset");
        let batch = |gpu: &Gpu| {
            let d = preset.resolve(gpu, &EngineOverrides::default()).expect("valid");
            (d.max_num_batched_tokens.value.0, d.max_num_seqs.value)
        };
        gpu.a100_class = true;
        assert_eq!(batch(&gpu), (2048, 256));
        gpu.a100_class = false;
        gpu.memory_mib = 180_000;
        assert_eq!(batch(&gpu), (16_384, 1024));
        gpu.memory_mib = 40_000;
        assert_eq!(batch(&gpu), (2048, 256));
    }

    #[test]
    fn throughput_mode_doubles_only_what_the_user_left_open() {
        let d = resolve(
            "vllm-0.33",
            &EngineOverrides {
                performance_mode: Some(PerformanceMode::Throughput),
                max_num_seqs: Some(100),
                ..EngineOverrides::default()
            },
        );
        assert_eq!((d.max_num_batched_tokens.value, d.max_num_seqs.value), (Tokens(16_384), 100));
    }

    #[test]
    fn rules_that_change_a_value_say_so() {
        let o = EngineOverrides { max_num_batched_tokens: Some(Tokens(64)), ..Default::default() };
        let d = resolve("vllm-0.33", &o);
        assert_eq!(d.max_num_seqs.value, 64);
        assert!(d.max_num_seqs.origin.to_string().starts_with("min(max_num_seqs"));
        let o = EngineOverrides { chunked_prefill: Some(false), ..EngineOverrides::default() };
        let d = resolve("vllm-0.33", &o).for_model(Tokens(131_072), "config.json");
        assert_eq!(d.max_num_batched_tokens.value, Tokens(131_072));
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let gpu = crate::gpu("h100-sxm").expect("in the catalogue");
        let preset = crate::engine_preset("vllm").expect("a preset");
        for bad in [0.0, -1.0, 1.01, f64::NAN] {
            let o = EngineOverrides { gpu_memory_utilization: Some(bad), ..Default::default() };
            assert!(preset.resolve(gpu, &o).is_err(), "{bad}");
        }
        let o = EngineOverrides { block_size: Some(Tokens(0)), ..EngineOverrides::default() };
        assert!(preset.resolve(gpu, &o).is_err());
    }
}
