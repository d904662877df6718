//! Pools: replicas, price and load balancing.
//!
//! Invariants: the longest request an engine admits fits its KV cache when it runs alone (the
//! engine itself would refuse to start otherwise); a pool has a price.
//!
//! Deliberately absent: what an engine is made of (see `engine`).

use super::{Resolver, engine::Engine};
use crate::file::PoolFile;
use crate::problem::{At, Problem, ProblemKind};
use crate::resolved::{Origin, PoolCalibration};
use sim::fleet::{Balancing, PoolSpec, Strategy};
use sim::units::{Money, Span};

/// Requests that a favoured replica may be ahead when a file does not say.
const MAX_IMBALANCE: u32 = 8;

/// A resolved pool and how far its step times can be trusted.
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    pub(super) calibration: PoolCalibration,
}

impl Resolver<'_> {
    /// Pools in the order of the file; `None` where a problem was reported.
    pub(super) fn pools(&self) -> Vec<Option<Pool>> {
        for (name, balancing) in &self.file.policy.balancing {
            if self.find(name, "pool", &self.pool_names).is_none() {
                continue;
            }
            let strategy = balancing.strategy.as_ref().map(|strategy| strategy.value);
            let drawn = matches!(strategy, Some(Strategy::PowerOfChoices { .. }));
            if let Some(choices) = balancing.choices.as_ref().filter(|_| !drawn) {
                let message = "`choices` belongs to the strategy power-of-two";
                self.refuse(ProblemKind::Conflict, &choices.site, message);
            }
            let affinity = matches!(strategy, Some(Strategy::PrefixAffinity { .. }));
            if let Some(max) = balancing.max_imbalance.as_ref().filter(|_| !affinity) {
                let message = "`max_imbalance` belongs to the strategy prefix-affinity";
                self.refuse(ProblemKind::Conflict, &max.site, message);
            }
        }
        self.file.pools.iter().map(|(name, pool)| self.pool(name, pool)).collect()
    }

    fn pool(&self, name: &At<String>, file: &PoolFile) -> Option<Pool> {
        let engine = self.engine(name, file);
        let price = self.price(file);
        let balancing = self.balancing(name);
        let Engine { spec: engine, step_time, host, calibration } = engine?;
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
            host,
            balancing: balancing?,
        };
        Some(Pool { spec, calibration })
    }

    fn price(&self, file: &PoolFile) -> Option<Money> {
        if let Some(price) = &file.price {
            return Some(price.value);
        }
        let site = file.site.child("price");
        let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
        let quotes = file.gpu.as_ref().map_or_else(String::new, |gpu| quotes(&gpu.value));
        let help = format!("say what one GPU costs for an hour, like \"$2.99/h\"{quotes}");
        self.push(problem.help(help));
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
            Strategy::PowerOfChoices { choices } => Strategy::PowerOfChoices {
                choices: file.choices.as_ref().map_or(choices, |stated| stated.value),
            },
            other => other,
        };
        Some(Balancing {
            strategy,
            signal_age: file.signal_age.as_ref()?.value,
            count_own_dispatches: file.count_own_dispatches.as_ref()?.value,
        })
    }
}

/// Quoted prices of a GPU, as a hint and not as a default: prices move every month.
fn quotes(gpu: &str) -> String {
    let (Ok(gpu), Ok(catalog)) = (calibrate::gpu(gpu), calibrate::catalog()) else {
        return String::new();
    };
    let quote = |price: &calibrate::GpuPrice| {
        let dollars = price.per_gpu_hour()?.as_dollars_f64();
        Some(format!("{} ${dollars:.2} ({})", price.vendor, price.as_of))
    };
    let quotes: Vec<String> = catalog.prices(&gpu.name).filter_map(quote).take(4).collect();
    if quotes.is_empty() { String::new() } else { format!("; quoted: {}", quotes.join(", ")) }
}
