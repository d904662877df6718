//! What a repair may try where the file has no levers: more of what is there, and what it could
//! turn on.
//!
//! Invariants: only of what traffic uses; every candidate differs from what is there, and they go
//! from the smallest change to the largest; a candidate that needs two keys changes both.
//!
//! Deliberately absent: what a candidate costs or brings, which only a run tells, and hardware that
//! the scenario does not have.

use super::Resolver;
use crate::condition::confidence_bounds;
use crate::document::path_text;
use crate::file::{LimitsFile, PlaceFile, PoolFile, RemoteFile};
use crate::levers::text_override;
use crate::problem::At;
use crate::resolved::{DefaultLever, LeverKind};
use sim::ids::{Backend, ModelId, PoolId, TaskId};
use sim::scenario::{BackendChoice, ModelSpec};
use sim::tasks::Work;
use std::collections::BTreeSet;

/// Most replicas a pool may have, most units that can be rented, and most GPUs that a replica is
/// tried with.
const MOST_REPLICAS: u32 = 10_000;
const MOST_UNITS: u32 = 100_000;
const MOST_GPUS: u32 = 8;
/// Bytes of all overrides together, and names of which overflow is made: more is not a scenario,
/// but a test of the memory.
const MOST_BYTES: usize = 10_000_000;
const MOST_NAMES: usize = 100;
/// Shares of a threshold that are tried: each sends fewer answers on.
const OF_THRESHOLD: [f64; 3] = [0.9, 0.75, 0.5];
/// Similarities at which a cache that is not there is tried, the most careful first.
const SIMILARITIES: [&str; 2] = ["0.95", "0.9"];
/// Shares of the sequences a replica runs at once (as quarters) that it takes at all, where
/// nothing limits that.
const OF_RUNNING: [u32; 4] = [8, 4, 2, 1];
/// Shares of a limit (as quarters) that are tried in its place.
const OF_LIMIT: [u32; 3] = [3, 2, 1];
/// Factors of a rate limit.
const OF_RATE: [i64; 2] = [2, 4];
/// The largest rate limit that can be written.
const MOST_RATE: i64 = 1_000_000_000_000;

impl Resolver<'_> {
    /// Every lever that could repair something, sort by sort.
    pub(super) fn default_levers(&self) -> Vec<DefaultLever> {
        let models = self.used_models();
        let used: BTreeSet<Backend> = models
            .iter()
            .flat_map(|(_, model)| &model.served_by)
            .map(|serving| serving.backend)
            .collect();
        let pools: Vec<(PoolId, &At<String>, &PoolFile)> = self
            .file
            .pools
            .iter()
            .enumerate()
            .map(|(at, (name, file))| (PoolId(super::names::number(at)), name, file))
            .filter(|(pool, ..)| used.contains(&Backend::Pool(*pool)))
            .collect();
        let rented = self.file.provisioned.iter().filter(|(name, _)| self.is_used(name, &used));
        let admitting = turning_away(&models);
        let admitting = pools.iter().filter(|(pool, ..)| admitting.contains(pool));
        let all = pools
            .iter()
            .filter_map(|(_, name, file)| replicas(name, file))
            .chain(rented.filter_map(|(name, file)| units(name, file)))
            .chain(pools.iter().filter_map(|(_, name, file)| tensor_parallel(name, file)))
            .chain(self.thresholds())
            .chain(self.cache_lever())
            .chain(models.iter().flat_map(|(at, model)| self.overflow(*at, model)))
            .chain(admitting.filter_map(|(pool, ..)| self.admission_lever(*pool)))
            .chain(self.rate_limits(&used));
        bounded(all)
    }

    /// Models that traffic may come to, with their ids.
    fn used_models(&self) -> Vec<(ModelId, &ModelSpec)> {
        let mut models = self.policy.reached.clone();
        for task in self.running() {
            let steps = self.tasks.get(task).into_iter().flatten();
            for step in steps.flat_map(|task| &task.spec.graph.steps) {
                if let Work::ModelCall(call) = &step.work {
                    models.extend(call.model);
                }
            }
        }
        let spec = |model: ModelId| Some((model, self.models.get(model.index())?));
        models.into_iter().filter_map(spec).collect()
    }

    /// Positions of the kinds of task that traffic starts, and of their parts.
    fn running(&self) -> BTreeSet<usize> {
        self.started().flat_map(|task: TaskId| self.parts(task)).collect()
    }

    /// Rules that go on to another model when the confidence of an answer is low.
    fn thresholds(&self) -> Vec<DefaultLever> {
        let Some(routing) = &self.file.policy.routing else { return Vec::new() };
        let lever = |(at, rule): (usize, &crate::file::RuleFile)| {
            let when = rule.when.as_ref()?;
            let text = when.value.text();
            let bounds = confidence_bounds(text);
            let name = if when.site.key.ends_with(".condition") { "condition" } else { "when" };
            let key = format!("routing.escalate_if.{at}.{name}");
            let mut candidates: Vec<Vec<String>> = Vec::new();
            for share in OF_THRESHOLD {
                let lower = scaled(text, &bounds, share)?;
                let set = vec![format!("{key}={}", text_override(&lower, &when.site.place))];
                if lower != text && candidates.last() != Some(&set) {
                    candidates.push(set);
                }
            }
            lever(LeverKind::Threshold, key, text.to_owned(), candidates)
        };
        routing.rules.iter().enumerate().filter_map(lever).collect()
    }

    /// The cache of answers, where something is asked twice and there is none.
    fn cache_lever(&self) -> Option<DefaultLever> {
        let asked = self.running().into_iter().any(|task| {
            let steps = self.tasks.get(task).into_iter().flatten();
            steps.flat_map(|task| &task.spec.graph.steps).any(|step| {
                let Work::ModelCall(call) = &step.work else { return false };
                call.cacheable && call.query.is_some()
            })
        });
        if !asked || self.semantic_cache().is_some() {
            return None;
        }
        let written = self.file.policy.caching.semantic.as_ref();
        let long = written.is_some_and(|file| file.cache.site.key.ends_with("semantic_cache"));
        let table = if long { "caching.semantic_cache" } else { "caching.semantic" };
        let key = format!("{table}.enabled");
        let on = format!("{key}=true");
        let candidates = match written {
            Some(_) => vec![vec![on]],
            None => SIMILARITIES
                .iter()
                .map(|from| vec![on.clone(), format!("{table}.similarity_threshold={from}")])
                .collect(),
        };
        lever(LeverKind::Cache, key, "false".to_owned(), candidates)
    }

    /// A provider behind each model that only pools serve; what they never turn away, nobody else
    /// gets, so that pools without a limit are given one.
    fn overflow(&self, at: ModelId, model: &ModelSpec) -> Vec<DefaultLever> {
        let Some((name, _)) = self.file.models.get(at.index()) else { return Vec::new() };
        let pools: Option<Vec<PoolId>> =
            model.served_by.iter().map(|serving| pool_of(serving.backend)).collect();
        let few = |pools: &Vec<PoolId>| pools.len() <= MOST_NAMES;
        let pools = pools.filter(few).filter(|_| model.choice == BackendChoice::Ordered);
        let Some(pools) = pools else { return Vec::new() };
        let limits: Option<Vec<Vec<String>>> =
            pools.iter().filter_map(|pool| self.missing_limits(*pool)).collect();
        let Some(limits) = limits else { return Vec::new() };
        // A candidate for each step that every pool without a limit can go along with.
        let steps = limits.iter().map(Vec::len).min().unwrap_or(1);
        let pool_names = pools.iter().filter_map(|pool| self.file.pools.get(pool.index()));
        let names: Vec<&str> = pool_names.map(|(name, _)| name.value.as_str()).collect();
        let key = path(&["models", &name.value, "served_by"]);
        let with = |provider: &At<String>| {
            let all: Vec<&str> = names.iter().copied().chain([provider.value.as_str()]).collect();
            let candidates = (0..steps).map(|step| {
                let served_by = format!("{key}={}", toml::Value::from(all.clone()));
                let limits = limits.iter().filter_map(|of| of.get(step).cloned());
                [served_by].into_iter().chain(limits).collect()
            });
            let present = toml::Value::from(names.clone()).to_string();
            lever(LeverKind::Overflow, key.clone(), present, candidates.collect())
        };
        let providers = self.file.providers.iter().take(MOST_NAMES);
        providers.filter_map(|(provider, _)| with(provider)).collect()
    }

    /// The limits that a pool without any may be given; the outer `None`: it has one, the inner:
    /// its engine knows none.
    fn missing_limits(&self, pool: PoolId) -> Option<Option<Vec<String>>> {
        let spec = &self.pools.get(pool.index())?.as_ref()?.spec.engine;
        if spec.max_num_queued_reqs.is_some() || spec.max_num_queued_tokens.is_some() {
            return None;
        }
        Some(
            self.admission_lever(pool)
                .map(|lever| lever.candidates.into_iter().flatten().collect()),
        )
    }

    /// Other limits of the requests that a replica takes; `None` where its engine knows none.
    fn admission_lever(&self, pool: PoolId) -> Option<DefaultLever> {
        let (name, file) = self.file.pools.get(pool.index())?;
        let preset = calibrate::engine_preset(&file.engine.as_ref()?.value).ok()?;
        let spec = &self.pools.get(pool.index())?.as_ref()?.spec.engine;
        if !preset.family.has("max_num_queued_reqs") {
            return None;
        }
        let key = path(&["pools", &name.value, "engine_args", "max_num_queued_reqs"]);
        let (from, quarters) = match spec.max_num_queued_reqs {
            Some(limit) => (limit, OF_LIMIT.as_slice()),
            None => (spec.max_num_seqs, OF_RUNNING.as_slice()),
        };
        let share = |quarters: &u32| (u64::from(from) * u64::from(*quarters) / 4).max(1);
        let mut values: Vec<u64> = quarters.iter().map(share).collect();
        values.dedup();
        values.retain(|value| Some(*value) != spec.max_num_queued_reqs.map(u64::from));
        let present = spec.max_num_queued_reqs.map_or("no limit".to_owned(), |of| of.to_string());
        let candidates = values.iter().map(|value| vec![format!("{key}={value}")]).collect();
        lever(LeverKind::Admission, key, present, candidates)
    }

    fn is_used(&self, backend: &At<String>, used: &BTreeSet<Backend>) -> bool {
        self.backend_names.get(backend.value.as_str()).is_some_and(|of| used.contains(of))
    }

    /// Rate limits that are written, of providers that are used.
    fn rate_limits(&self, used: &BTreeSet<Backend>) -> Vec<DefaultLever> {
        let of = |name: &At<String>, limits: &LimitsFile| {
            let written = [
                ("rpm", &limits.rpm),
                ("tpm", &limits.tpm),
                ("input_tpm", &limits.input_tpm),
                ("output_tpm", &limits.output_tpm),
            ];
            let lever = |(limit, written): (&str, &Option<At<i64>>)| {
                let present = written.as_ref()?.value;
                let key = path(&["providers", &name.value, limit]);
                let larger = OF_RATE.map(|factor| present.saturating_mul(factor));
                let candidates = larger.iter().filter(|value| **value <= MOST_RATE);
                let candidates = candidates.map(|value| vec![format!("{key}={value}")]).collect();
                lever(LeverKind::RateLimit, key, present.to_string(), candidates)
            };
            written.into_iter().filter_map(lever).collect::<Vec<_>>()
        };
        let providers = self.file.providers.iter().filter(|(name, _)| self.is_used(name, used));
        providers.flat_map(|(name, file)| of(name, &file.limits)).collect()
    }
}

/// The first levers of a scenario that has more than anybody can try.
fn bounded(all: impl Iterator<Item = DefaultLever>) -> Vec<DefaultLever> {
    let mut bytes = 0;
    let first = |lever: &DefaultLever| {
        bytes += lever.candidates.iter().flatten().map(String::len).sum::<usize>();
        bytes <= MOST_BYTES
    };
    all.take_while(first).collect()
}

/// Pools behind which a model has another backend.
fn turning_away(models: &[(ModelId, &ModelSpec)]) -> BTreeSet<PoolId> {
    let but_the_last = models.iter().flat_map(|(_, model)| model.served_by.iter().rev().skip(1));
    but_the_last.filter_map(|serving| pool_of(serving.backend)).collect()
}

fn pool_of(backend: Backend) -> Option<PoolId> {
    match backend {
        Backend::Pool(pool) => Some(pool),
        Backend::Remote(_) => None,
    }
}

/// A lever, if there is anything to try.
fn lever(
    kind: LeverKind,
    key: String,
    present: String,
    candidates: Vec<Vec<String>>,
) -> Option<DefaultLever> {
    (!candidates.is_empty()).then_some(DefaultLever { kind, key, present, candidates })
}

fn path(keys: &[&str]) -> String {
    path_text(&keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>())
}

fn replicas(name: &At<String>, file: &PoolFile) -> Option<DefaultLever> {
    let key = path(&["pools", &name.value, "replicas"]);
    more(key, file.replicas.as_ref()?.value, MOST_REPLICAS)
}

/// More units that are rented, where each does only so much at once.
fn units(name: &At<String>, file: &RemoteFile) -> Option<DefaultLever> {
    let PlaceFile::Provisioned(place) = &file.place else { return None };
    file.station.concurrency.as_ref()?;
    let key = path(&["provisioned", &name.value, "units"]);
    more(key, place.units.as_ref()?.value, MOST_UNITS)
}

/// Up to four times as many, and at least eight more.
fn more(key: String, now: u32, most: u32) -> Option<DefaultLever> {
    let most = now.saturating_mul(4).max(now.saturating_add(8)).min(most);
    let candidates = (now + 1..=most).map(|more| vec![format!("{key}={more}")]).collect();
    lever(LeverKind::Replicas, key, now.to_string(), candidates)
}

/// Powers of two that the model's heads divide into; times that are written would not change.
fn tensor_parallel(name: &At<String>, file: &PoolFile) -> Option<DefaultLever> {
    if file.step_time.is_some() {
        return None;
    }
    let now = file.tensor_parallel.as_ref()?.value;
    let model = calibrate::model(&file.model.as_ref()?.value).ok()?;
    let key = path(&["pools", &name.value, "tensor_parallel"]);
    let powers = (0..=MOST_GPUS.ilog2()).map(|power| 1_u32 << power);
    let larger = powers.filter(|&gpus| gpus > now && model.splits_over(gpus));
    let candidates = larger.map(|gpus| vec![format!("{key}={gpus}")]).collect();
    lever(LeverKind::TensorParallel, key, now.to_string(), candidates)
}

/// A condition with its bounds of the confidence multiplied; `None` without any, or where one
/// would come to nothing.
fn scaled(text: &str, bounds: &[(std::ops::Range<usize>, f64)], share: f64) -> Option<String> {
    let mut written = text.to_owned();
    // From the back, so that the earlier positions stay right.
    for (bytes, bound) in bounds.iter().rev() {
        let lower = (bound * share * 1e4).round() / 1e4;
        if lower <= 0.0 || lower >= *bound {
            return None;
        }
        written.replace_range(bytes.clone(), &lower.to_string());
    }
    (!bounds.is_empty()).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_of_the_confidence_is_scaled_and_nothing_else() {
        let scaled = |text: &str, share| scaled(text, &confidence_bounds(text), share);
        for (text, lower) in [
            ("confidence < 0.72", Some("confidence < 0.648")),
            ("intent == 'é' and confidence<=.5", Some("intent == 'é' and confidence<=0.45")),
            (
                "0.5 > confidence or confidence < 0.4",
                Some("0.45 > confidence or confidence < 0.36"),
            ),
            ("confidence > 0.5", None),
            ("prompt_tokens > 800", None),
            ("confidence < 0", None),
            ("confidence < 0.00001", None),
            ("'confidence < 0.5'", None),
            ("confidence < 'x", None),
            ("", None),
        ] {
            assert_eq!(scaled(text, 0.9).as_deref(), lower, "{text}");
        }
        assert_eq!(scaled("confidence < 0.65", 0.75).as_deref(), Some("confidence < 0.4875"));
    }
}
