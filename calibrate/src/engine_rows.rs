//! Resolved engine settings as text, for a listing of every value and its origin.
//!
//! Invariants: a value is spelled as a scenario file spells it; what no file can spell (a limit
//! that does not exist) is said in words.
//!
//! Deliberately absent: keys of scenario files, which are the caller's.

use std::fmt;

use sim::engine::SchedulingPolicy;

use crate::engine_family::CapacityPolicy;
use crate::engine_preset::{EngineDefaults, PerformanceMode, Resolved};

/// Name of the knob, its value, where that came from.
type Row = (&'static str, String, String);

fn row<T>(name: &'static str, knob: &Resolved<T>, text: impl fmt::Display) -> Row {
    (name, text.to_string(), knob.origin.to_string())
}

fn plain<T: fmt::Display>(name: &'static str, knob: &Resolved<T>) -> Row {
    row(name, knob, &knob.value)
}

fn limit<T: fmt::Display>(name: &'static str, knob: &Resolved<Option<T>>) -> Row {
    let text = knob.value.as_ref().map_or_else(|| "no limit".to_owned(), T::to_string);
    row(name, knob, text)
}

impl EngineDefaults {
    /// Every knob the engine has as (name, value, origin) for printing, in the order of the fields;
    /// without the dispatch overhead, which is no argument of an engine.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let policy = match self.policy.value {
            SchedulingPolicy::Fcfs => "fcfs",
            SchedulingPolicy::Priority => "priority",
        };
        let mode = match self.performance_mode.value {
            PerformanceMode::Balanced => "balanced",
            PerformanceMode::Throughput => "throughput",
        };
        let capacity = match self.capacity_scheduler_policy.value {
            CapacityPolicy::GuaranteedNoEvict => "GUARANTEED_NO_EVICT",
            CapacityPolicy::MaxUtilization => "MAX_UTILIZATION",
        };
        let order = if self.longest_prefix_match.value { "lpm" } else { "fcfs" };
        let threshold = &self.long_prefill_token_threshold;
        let tokens = &self.max_num_batched_tokens;
        let mut rows = vec![
            plain(self.family.memory_fraction(), &self.gpu_memory_utilization),
            row("block_size", &self.block_size, self.block_size.value.0),
            row("max_num_batched_tokens", tokens, tokens.value.0),
            plain("max_num_seqs", &self.max_num_seqs),
        ];
        rows.extend(self.max_model_len.as_ref().map(|k| row("max_model_len", k, k.value.0)));
        rows.extend([
            plain("prefix_caching", &self.prefix_caching),
            plain("chunked_prefill", &self.chunked_prefill),
            row("policy", &self.policy, policy),
            row("capacity_scheduler_policy", &self.capacity_scheduler_policy, capacity),
            row("schedule_policy", &self.longest_prefix_match, order),
            plain("schedule_conservativeness", &self.schedule_conservativeness),
            plain("watermark", &self.watermark),
            plain("reserve_full_isl", &self.reserve_full_isl),
            row("long_prefill_token_threshold", threshold, threshold.value.0),
            plain("async_scheduling", &self.async_scheduling),
            limit("max_num_queued_reqs", &self.max_num_queued_reqs),
            limit("max_num_queued_tokens", &self.max_num_queued_tokens),
            plain("prefill_schedule_interval", &self.prefill_schedule_interval),
            row("stream_interval", &self.stream_interval, self.stream_interval.value.0),
            row("performance_mode", &self.performance_mode, mode),
        ]);
        rows.extend(self.kv_blocks.as_ref().map(|k| row("kv_blocks", k, k.value.0)));
        let bytes = self.kv_cache_memory_bytes.as_ref();
        rows.extend(bytes.map(|k| row("kv_cache_memory_bytes", k, k.value.0)));
        rows.retain(|row| self.family.has(row.0));
        rows
    }
}

#[cfg(test)]
mod tests {
    use crate::engine_preset::EngineOverrides;

    #[test]
    fn values_are_spelled_as_in_a_file() {
        let gpu = crate::gpu("h100").expect("in the catalogue");
        let preset = crate::engine_preset("vllm").expect("a preset");
        let rows = preset.resolve(gpu, &EngineOverrides::default()).expect("valid").rows();
        let value = |name: &str| rows.iter().find(|row| row.0 == name).map(|row| row.1.as_str());
        assert_eq!(value("policy"), Some("fcfs"));
        assert_eq!(value("performance_mode"), Some("balanced"));
        assert_eq!(value("max_num_queued_reqs"), Some("no limit"));
        assert_eq!(value("gpu_memory_utilization"), Some("0.92"));
        assert!(rows.iter().all(|row| !row.1.contains("None") && !row.1.contains("Some")));
    }
}
