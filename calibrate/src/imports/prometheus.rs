//! Metrics of a running engine in Prometheus' text format, and what happened between two of them.
//!
//! vLLM, SGLang and TensorRT-LLM name the same things differently; [`EngineMetrics`] has one name
//! for each. Durations are taken by the server's front end: from arrival there, without network.
//!
//! ```text
//! text ──► prometheus() ──► [EngineMetrics] ┐
//! text ──► prometheus() ──► [EngineMetrics] ┴─► between() ──► Interval: rates, hit ratio, quantiles
//! ```
//!
//! Invariants: replicas stay apart; a counter is a whole number; the buckets of a histogram never
//! fall; a quantile is an interval between two bucket bounds, never a guess inside one.
//!
//! Deliberately absent: summaries and exemplars, and metrics that no engine here writes.

mod exposition;
mod histogram;
mod names;

pub use histogram::Histogram;
pub use names::{Counter, Engine, Latency};

use super::File;
use super::problem::{ImportErrors, Problems};
use exposition::Sample;
use names::Meaning;
use sim::units::Span;
use std::collections::BTreeMap;

/// What one replica said of itself at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineMetrics {
    /// Which engine.
    pub engine: Engine,
    /// Model, as it is served.
    pub model: Option<String>,
    /// Label that tells the replica from others in the same text, such as `engine=0`; empty
    /// where there is none.
    pub replica: String,
    /// Requests in the batch.
    pub running: Option<f64>,
    /// Requests that wait.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_usage: Option<f64>,
    /// KV capacity in blocks.
    pub kv_blocks: Option<u64>,
    /// Tokens of a block.
    pub block_size: Option<u64>,
    /// What was counted since the engine started.
    pub counters: BTreeMap<Counter, u64>,
    /// Durations since the engine started, in seconds.
    pub latencies: BTreeMap<Latency, Histogram>,
}

/// What happened between two moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Time between the two.
    pub elapsed: Span,
    /// What was counted.
    pub counters: BTreeMap<Counter, u64>,
    /// Durations that ended in it, in seconds.
    pub latencies: BTreeMap<Latency, Histogram>,
}

/// Two moments that have no difference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// The two are of different engines, models or replicas.
    #[error("the two snapshots are of different replicas; compare a replica with itself")]
    OtherReplica,
    /// No time lies between them.
    #[error("no time between the two snapshots; take the second later")]
    NoTime,
    /// A count fell.
    #[error("{what} fell: the engine was restarted in between, or the snapshots are swapped")]
    Fell {
        /// Which.
        what: String,
    },
    /// A histogram has other buckets.
    #[error("{what} has other buckets in the second snapshot: the engine was replaced in between")]
    OtherBuckets {
        /// Which.
        what: String,
    },
}

impl EngineMetrics {
    /// KV capacity in tokens, where the engine states it.
    #[must_use]
    pub fn kv_tokens(&self) -> Option<u64> {
        self.kv_blocks?.checked_mul(self.block_size?)
    }
}

impl Interval {
    /// Counted a second.
    #[must_use]
    pub fn rate(&self, counter: Counter) -> Option<f64> {
        // No time is refused when the interval is made.
        self.counters.get(&counter).map(|count| *count as f64 / self.elapsed.as_secs_f64())
    }

    /// Share of prompt tokens that the prefix cache had, 0 to 1; `None` if none was looked up.
    #[must_use]
    pub fn prefix_hit_ratio(&self) -> Option<f64> {
        let queries = *self.counters.get(&Counter::PrefixQueries)?;
        let hits = *self.counters.get(&Counter::PrefixHits)?;
        (queries > 0).then(|| hits as f64 / queries as f64)
    }
}

/// What happened to a replica from `before` to `after`.
///
/// # Errors
/// [`IntervalError`] for different replicas, no time, or counts that fell.
pub fn between(
    before: &EngineMetrics,
    after: &EngineMetrics,
    elapsed: Span,
) -> Result<Interval, IntervalError> {
    let name =
        |metrics: &EngineMetrics| (metrics.engine, metrics.model.clone(), metrics.replica.clone());
    if name(before) != name(after) {
        return Err(IntervalError::OtherReplica);
    }
    if elapsed == Span::ZERO {
        return Err(IntervalError::NoTime);
    }
    let mut counters = BTreeMap::new();
    for (counter, count) in &after.counters {
        // A series appears with its first event.
        let earlier = before.counters.get(counter).copied().unwrap_or_default();
        let fell = || IntervalError::Fell { what: format!("{counter:?}") };
        counters.insert(*counter, count.checked_sub(earlier).ok_or_else(fell)?);
    }
    let mut latencies = BTreeMap::new();
    for (latency, histogram) in &after.latencies {
        let difference = match before.latencies.get(latency) {
            Some(earlier) => histogram.minus(earlier, &format!("{latency:?}"))?,
            None => histogram.clone(),
        };
        latencies.insert(*latency, difference);
    }
    Ok(Interval { elapsed, counters, latencies })
}

/// Reads the metrics of every replica in a text.
///
/// # Errors
/// [`ImportErrors`] for lines that are no samples, counters that are not whole, buckets that fall,
/// and a text without any metric of a known engine.
pub fn prometheus(file: File<'_>) -> Result<Vec<EngineMetrics>, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for sample in exposition::samples(file.text, &mut problems) {
        let Some((engine, name)) = Engine::of(&sample.name) else { continue };
        let Some((meaning, part)) = names::meaning(engine, name) else { continue };
        let key = Key::of(engine, &sample);
        groups.entry(key).or_default().take(meaning, part, &sample, &mut problems);
    }
    if groups.is_empty() && problems.is_empty() {
        problems.push(0, "", "no metric of vLLM, SGLang or TensorRT-LLM in this text");
    }
    let metrics = groups.into_iter().map(|(key, group)| group.finish(key, &mut problems)).collect();
    problems.finish(metrics)
}

/// Which replica a sample is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    engine: Engine,
    model: Option<String>,
    replica: String,
}

impl Key {
    fn of(engine: Engine, sample: &Sample) -> Key {
        let model = sample.label("model_name").map(str::to_owned);
        let labels = ["instance", "engine", "dp_rank"];
        let replica: Vec<String> = labels
            .iter()
            .filter_map(|label| Some(format!("{label}={}", sample.label(label)?)))
            .collect();
        Key { engine, model, replica: replica.join(",") }
    }
}

/// What is known of a replica so far.
#[derive(Default)]
struct Group {
    running: Option<f64>,
    waiting: Option<f64>,
    kv_usage: Option<f64>,
    kv_blocks: Option<u64>,
    block_size: Option<u64>,
    counters: BTreeMap<Counter, u64>,
    histograms: BTreeMap<Latency, histogram::Parts>,
}

impl Group {
    fn take(
        &mut self,
        meaning: Meaning,
        part: names::Part,
        sample: &Sample,
        problems: &mut Problems,
    ) {
        // A gauge that was never set.
        let value = (!sample.value.is_nan()).then_some(sample.value);
        match meaning {
            // Ranks of one replica each report their own queue.
            Meaning::Running => add(&mut self.running, value),
            Meaning::Waiting => add(&mut self.waiting, value),
            Meaning::KvUsage => {
                self.kv_usage = value.map(|value| self.kv_usage.map_or(value, |u| u.max(value)));
            }
            Meaning::KvBlocks => self.kv_blocks = whole(sample, problems).or(self.kv_blocks),
            Meaning::BlockSize => self.block_size = whole(sample, problems).or(self.block_size),
            Meaning::CacheConfig => {
                let number = |label| sample.label(label).and_then(|value| value.parse().ok());
                self.kv_blocks = number("num_gpu_blocks").or(self.kv_blocks);
                self.block_size = number("block_size").or(self.block_size);
            }
            Meaning::Count(counter) => {
                let aborted = sample.label("finished_reason") == Some("abort");
                let counter = match counter {
                    Counter::Finished if aborted => Counter::Aborted,
                    counter => counter,
                };
                self.count(counter, sample, problems);
            }
            Meaning::Time(latency) => {
                self.histograms.entry(latency).or_default().take(part, sample, problems);
            }
        }
    }

    fn count(&mut self, counter: Counter, sample: &Sample, problems: &mut Problems) {
        if let Some(count) = whole(sample, problems) {
            let sum = self.counters.entry(counter).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    fn finish(mut self, key: Key, problems: &mut Problems) -> EngineMetrics {
        // These two look up every prompt token, and count only what they found.
        if key.engine != Engine::Vllm
            && self.counters.contains_key(&Counter::PrefixHits)
            && let Some(prompt) = self.counters.get(&Counter::PromptTokens)
        {
            self.counters.insert(Counter::PrefixQueries, *prompt);
        }
        let latencies = self
            .histograms
            .into_iter()
            .filter_map(|(latency, parts)| Some((latency, parts.finish(latency, problems)?)))
            .collect();
        EngineMetrics {
            engine: key.engine,
            model: key.model,
            replica: key.replica,
            running: self.running,
            waiting: self.waiting,
            kv_usage: self.kv_usage,
            kv_blocks: self.kv_blocks,
            block_size: self.block_size,
            counters: self.counters,
            latencies,
        }
    }
}

fn add(slot: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value {
        *slot = Some(slot.unwrap_or_default() + value);
    }
}

/// The value of a counter: whole, and exact in the floating-point number that carries it.
fn whole(sample: &Sample, problems: &mut Problems) -> Option<u64> {
    let value = sample.value;
    if value.fract() != 0.0 || !(0.0..=2f64.powi(53)).contains(&value) {
        let message = format!("expected a whole number from 0, found {value}");
        problems.push(sample.line, sample.name.as_str(), message);
        return None;
    }
    Some(value as u64)
}

#[cfg(test)]
mod tests;
