//! Families answered by driving an engine: scheduler totals, prefix hits, and the prefix cache as
//! an LRU cache.
//!
//! The cache: an item is one full block, a request is an item followed by one token of its own,
//! and writes one token. It holds the item's block and, while it runs, a second block that never
//! fills and is blank again afterwards. One request at a time, a pool of `capacity + 1` usable
//! blocks therefore keeps the `capacity` items used last: a miss takes the blank block and evicts
//! the item released longest ago. Popularity is drawn independently, request by request, so this
//! is the independent reference model. Nothing is discretised.

use super::verdict::{Answer, LEAST_REPLICATIONS};
use super::{Params, pick};
use crate::engines::{Engine, Fast, drive};
use crate::golden;
use rayon::prelude::*;
use serde::Deserialize;
use sim::Simulation;
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::engine::reference::ReferenceReplica;
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime, Submission};
use sim::fleet::Strategy;
use sim::ids::TaskId;
use sim::record::KeepAll;
use sim::stats::t_interval;
use sim::units::{Blocks, Span, Time, Tokens};
use sim::workload::{Arrivals, People, PrefixSpec, Scaling, Segment, SourceSpec};

type Answers = Result<Vec<Answer>, String>;

/// A plain engine with prefix caching.
pub(super) fn spec(kv_blocks: Blocks, block_size: Tokens) -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks,
        block_size,
        max_num_batched_tokens: Tokens(8_192),
        max_num_seqs: 16,
        max_model_len: Tokens(1 << 20),
        prefix_caching: true,
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: true,
        long_prefill_token_threshold: Tokens(0),
        chunked_prefill: true,
        async_scheduling: false,
        max_num_queued_reqs: None,
        max_num_queued_tokens: None,
        prefill_schedule_interval: 1,
    }
}

/// Every iteration takes a nanosecond.
pub(super) fn nanosecond() -> StepTime {
    StepTime::constant(Span(1_000)).expect("a nanosecond is a valid step")
}

pub(super) fn vllm_sched(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        #[serde(rename = "case")]
        _name: String,
        cfg: serde_json::Value,
        reqs: serde_json::Value,
    }
    let named: Named = params.read()?;
    let case = serde_json::json!({ "cfg": named.cfg, "reqs": named.reqs });
    let case: golden::Case = serde_json::from_value(case).map_err(|e| e.to_string())?;
    let (reference, fast, _) = golden::run_on_both(&case);
    if reference != fast {
        return Err(format!("the engines differ: {reference:?} and {fast:?}"));
    }
    pick(metrics, |metric| {
        Some(Answer::Text(match fast.get(metric)? {
            serde_json::Value::String(text) => text.clone(),
            number => number.to_string(),
        }))
    })
}

/// Two requests after one another whose prompts share their beginning.
pub(super) fn prefix_hit_tokens(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        prompt: u32,
        resident_prefix: u32,
        block: u32,
    }
    let case: Case = params.read()?;
    let blocks = 2 + case.prompt.max(case.resident_prefix).div_ceil(case.block) * 2;
    let spec = spec(Blocks(blocks), Tokens(case.block));
    let shared = case.prompt.min(case.resident_prefix);
    let first = submission(0, &[(1, case.resident_prefix)]);
    let second = submission(1, &[(1, shared), (2, case.prompt - shared)]);
    let mut reference = ReferenceReplica::new(spec.clone(), nanosecond());
    let mut fast = Fast::new(spec, nanosecond());
    let slow = hit_and_computed(&mut reference, &first, &second)?;
    let quick = hit_and_computed(&mut fast, &first, &second)?;
    if slow != quick {
        return Err(format!("the engines differ: {slow:?} and {quick:?}"));
    }
    pick(metrics, |metric| match metric {
        "hit" => Some(Answer::Text(quick.0.to_string())),
        "computed" => Some(Answer::Text(quick.1.to_string())),
        _ => None,
    })
}

/// Hit tokens of the second request, and the tokens that were computed for it.
fn hit_and_computed<E: Engine>(
    engine: &mut E,
    first: &Submission,
    second: &Submission,
) -> Result<(u32, u64), String> {
    let prepare = if first.prompt > 0 { vec![first.clone()] } else { Vec::new() };
    drive(engine, prepare, &[], |_, _| {});
    let before = engine.counts().scheduled_tokens;
    let ended = drive(engine, vec![second.clone()], &[], |_, _| {});
    let end = ended.first().ok_or("the second request did not end")?;
    Ok((end.hit_tokens, engine.counts().scheduled_tokens - before))
}

/// A request for one token whose prompt is these `(identity, tokens)`, a second after the last.
fn submission(number: u32, prompt: &[(u64, u32)]) -> Submission {
    let segments = prompt.iter().map(|&(id, tokens)| Segment { id, tokens });
    Submission {
        call: number,
        arrived: Time(u64::from(number) * sim::units::PS_PER_SEC),
        prompt: prompt.iter().map(|segment| segment.1).sum(),
        outputs: 1,
        max_tokens: 1,
        ends_by_eos: false,
        priority: 0,
        segments: segments.filter(|segment| segment.tokens > 0).collect(),
        output_segment: u64::MAX - u64::from(number),
    }
}

/// Tokens of an item.
const ITEM: u32 = 16;

/// The pool that keeps `capacity` items: the null block, the items, and the block that never fills.
fn cache_of(capacity: u32) -> EngineSpec {
    EngineSpec { max_num_seqs: 1, ..spec(Blocks(capacity + 2), Tokens(ITEM)) }
}

pub(super) fn lru(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        items: u32,
        capacity: u32,
        zipf: f64,
    }
    let case: Case = params.read()?;
    // Every item that stays has been asked for many times over once the warm-up is past.
    let warm_up = 20 * u64::from(case.capacity) + 1_000;
    let requests = warm_up + 30_000;
    let scenario = cache_scenario(case.items, case.capacity, case.zipf, requests);
    let runs: Result<Vec<f64>, String> = (0..LEAST_REPLICATIONS as u32)
        .into_par_iter()
        .map(|replication| {
            let simulation = Simulation::recording(&scenario, 3, replication, KeepAll::default());
            let (outcome, KeepAll { calls, .. }) = simulation.run_with(&|_| false);
            let outcome = outcome.ok_or("stopped")?;
            let hits = calls.iter().filter(|call| call.hit_tokens > 0).count() as u64;
            // Every miss brings an item in; all but `capacity` of them were evicted.
            let brought = outcome.pools[0].whole_run.evictions + u64::from(case.capacity);
            if calls.len() as u64 != hits + brought {
                return Err("the pool does not hold `capacity` items".to_owned());
            }
            let measured = &calls[warm_up as usize..];
            let hits = measured.iter().filter(|call| call.hit_tokens > 0).count();
            Ok(hits as f64 / measured.len() as f64)
        })
        .collect();
    let interval = t_interval(&runs?, 0.95).ok_or("no interval")?.interval();
    let answer = Answer::Estimate { interval, replications: LEAST_REPLICATIONS };
    pick(metrics, |metric| (metric == "hit").then(|| answer.clone()))
}

/// One client that asks for an item as soon as it has the one before.
fn cache_scenario(items: u32, capacity: u32, zipf: f64, requests: u64) -> sim::Scenario {
    let one = LengthDist { law: LengthLaw::Fixed(1), min: 1, max: 1 };
    let source = SourceSpec {
        name: "client".to_owned(),
        key: 1,
        task: TaskId(0),
        arrivals: Arrivals::ClosedLoop { users: 1, think: DurationDist::Fixed(Span::ZERO) },
        lengths: LengthsSpec { input: one.clone(), output: one, correlation: 0.0 },
        ends_by_eos: false,
        max_tokens: None,
        priority: 0,
        prefix: Some(PrefixSpec { tokens: ITEM, distinct: items, zipf }),
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    };
    let horizon = Span(requests * 1_000);
    let engine = EngineSpec { max_model_len: Tokens(2 * ITEM), ..cache_of(capacity) };
    let pool = crate::station::pool(engine, nanosecond(), 1, Strategy::RoundRobin);
    crate::station::scenario(vec![source], 1, vec![pool], (Span::ZERO, horizon))
}

/// The construction against a list kept by hand, on a sequence with repeats at every distance.
#[test]
fn the_prefix_cache_is_an_lru_cache() {
    let capacity = 5;
    let mut engine = Fast::new(cache_of(capacity), nanosecond());
    let mut kept: Vec<u64> = Vec::new();
    let (mut hits, mut state) = (0, 1u64);
    for number in 0..5_000u32 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let item = (state >> 33) % 9;
        let request = submission(number, &[(item, ITEM), (1_000 + u64::from(number), 1)]);
        let ended = drive(&mut engine, vec![request], &[], |_, _| {});
        let known = kept.iter().position(|&other| other == item);
        assert_eq!(ended[0].hit_tokens, if known.is_some() { ITEM } else { 0 }, "request {number}");
        hits += u32::from(known.is_some());
        if let Some(at) = known {
            kept.remove(at);
        } else if kept.len() == capacity as usize {
            kept.remove(0);
        }
        kept.push(item);
    }
    assert!((2_000..4_000).contains(&hits), "{hits} hits: the sequence tests too little");
}
