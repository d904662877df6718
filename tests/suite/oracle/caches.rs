//! Families of caches under independent references: each row is put to every cache of the product
//! that follows the row's rule of eviction.
//!
//! The answers' exact cache is asked for an item drawn by Zipf's law and stores it after a miss.
//! The engine's prefix cache, which is an LRU cache of blocks, is asked through a whole simulation
//! (see `engines`).

use super::engines;
use super::verdict::{Answer, LEAST_REPLICATIONS, Row};
use super::{Params, pick};
use rayon::prelude::*;
use serde::Deserialize;
use sim::cache::{Eviction, ExactCache, ExactCacheSpec};
use sim::dice::{Dice, mix};
use sim::dist::Zipf;
use sim::stats::t_interval;
use sim::units::{Span, Time};

type Answers = Result<Vec<Answer>, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    items: u32,
    capacity: u32,
    zipf: f64,
}

/// The least recently used goes: the prefix cache, then the exact cache.
pub(super) fn lru(params: &Params, rows: &[&Row]) -> Answers {
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    all_agree(rows, [engines::lru(params, &metrics)?, exact(params, &metrics, Eviction::Lru)?])
}

/// The oldest goes, or any: both rules hit equally often.
pub(super) fn fifo_random(params: &Params, rows: &[&Row]) -> Answers {
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    let policies = [Eviction::Fifo, Eviction::Random];
    let [fifo, random] = policies.map(|eviction| exact(params, &metrics, eviction));
    all_agree(rows, [fifo?, random?])
}

/// Judges the rows by the first answers and returns the second ones, to be judged next.
fn all_agree(rows: &[&Row], [first, second]: [Vec<Answer>; 2]) -> Answers {
    for (row, answer) in rows.iter().zip(&first) {
        // No row of these families is one of a set of bounds.
        row.judge(answer, (f64::INFINITY, f64::NEG_INFINITY))?;
    }
    Ok(second)
}

fn exact(params: &Params, metrics: &[&str], eviction: Eviction) -> Answers {
    let case: Case = params.read()?;
    let law = Zipf::new(case.items, case.zipf);
    let Case { capacity, .. } = case;
    let spec = ExactCacheSpec { ttl: Span::MAX, capacity, eviction, lookup: Span::ZERO };
    // Every item that stays has been asked for many times over once the warm-up is past.
    let warm_up = 20 * u64::from(capacity) + 1_000;
    let measured = 30_000;
    let run = |replication: u64| {
        let mut cache = ExactCache::new(&spec, replication);
        let mut dice = Dice::stream(mix(41, replication));
        let mut before = 0;
        for step in 0..warm_up + measured {
            if step == warm_up {
                before = cache.counts().hits;
            }
            let item = u64::from(law.draw(&mut dice));
            if cache.look_up(Time(step), item).is_none() {
                cache.insert(Time(step), item, ());
            }
        }
        (cache.counts().hits - before) as f64 / measured as f64
    };
    let runs: Vec<f64> = (0..LEAST_REPLICATIONS as u64).into_par_iter().map(run).collect();
    let interval = t_interval(&runs, 0.95).ok_or("no interval")?.interval();
    let answer = Answer::Estimate { interval, replications: LEAST_REPLICATIONS };
    pick(metrics, |metric| (metric == "hit").then(|| answer.clone()))
}
