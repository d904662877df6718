//! Random whole scenarios, small enough that thousands run in seconds.
//!
//! Every arrival process, scaling, engine setting and balancing strategy turns up, alone and
//! together, at sizes where they bite: caches of a few dozen blocks, queues that refuse, prompts
//! too long for their pool. What must hold for all of them is in `conservation` and `determinism`.
//!
//! Deliberately absent: clients that think for no time at all, whose refused requests would come
//! back at the same instant for ever.

use crate::engines::{schedulings, under};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sim::Scenario;
use sim::dist::{DurationDist, Empirical, LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{self, Balancing, HostTime, PoolSpec};
use sim::ids::{ModelId, PoolId, TaskId};
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{Blocks, Money, Span, Time, Tokens};
use sim::workload::{
    Arrivals, Gaps, People, PrefixSpec, RateCurve, ScaleHow, Scaling, SessionSpec, SourceSpec,
    Trace, TraceRow, TraceSegment,
};
use std::sync::Arc;

/// Longest run: arrivals stop here.
const LONGEST_MS: u64 = 16_000;

/// Any scenario.
pub(crate) fn scenarios() -> impl Strategy<Value = Scenario> {
    scenarios_of(sources().boxed())
}

/// Scenarios in which no request waits for another one's end: what arrives is known beforehand.
pub(crate) fn open_loop_scenarios() -> impl Strategy<Value = Scenario> {
    scenarios_of((source(prop_oneof![renewal(), modulated(), replay()].boxed(), false)).boxed())
}

/// Whether no request of this source waits for another one's end.
pub(crate) fn is_open_loop(source: &SourceSpec) -> bool {
    match source.arrivals {
        Arrivals::ClosedLoop { .. } => false,
        Arrivals::Replay { .. } => true,
        Arrivals::Renewal { .. } | Arrivals::Modulated { .. } => source.session.is_none(),
    }
}

fn scenarios_of(source: BoxedStrategy<SourceSpec>) -> impl Strategy<Value = Scenario> {
    let times = (1_000..LONGEST_MS, prop_oneof![Just(0u64), Just(1), Just(2)], 300u64..4_000);
    let task = (0u32..3, option::of(200u64..9_000));
    let models = vec(vec(0u32..3, 1..4), 1..4);
    (times, vec(task, 1..4), vec((source, 0u32..3), 1..5), models, vec(pool(), 1..4)).prop_map(
        |((horizon, quarters, window), tasks, sources, models, pools)| {
            let (task_count, model_count) = (tasks.len() as u32, models.len() as u32);
            Scenario {
                horizon: Span::from_millis(horizon),
                warm_up: Span::from_millis(horizon * quarters / 4),
                window: Span::from_millis(window),
                tasks: tasks
                    .into_iter()
                    .map(|(model, slo)| TaskSpec {
                        latency_slo: slo.map(Span::from_millis),
                        ..TaskSpec::one_call("task", ModelId(model % model_count))
                    })
                    .collect(),
                sources: sources
                    .into_iter()
                    .enumerate()
                    .map(|(n, (source, task))| SourceSpec {
                        key: source.key ^ n as u64,
                        task: TaskId(task % task_count),
                        ..source
                    })
                    .collect(),
                models: models.into_iter().map(|list| model(&list, pools.len())).collect(),
                pools,
                ..Scenario::default()
            }
        },
    )
}

/// Pools in order of preference, each once.
fn model(list: &[u32], pools: usize) -> ModelSpec {
    let mut served_by: Vec<PoolId> = Vec::new();
    for pool in list.iter().map(|&pool| PoolId(pool % pools as u32)) {
        if !served_by.contains(&pool) {
            served_by.push(pool);
        }
    }
    ModelSpec::on_pools("model", &served_by)
}

pub(crate) fn pool() -> impl Strategy<Value = PoolSpec> {
    let money = prop_oneof![Just(0i128), 1i128..9_999_999_999_999];
    (1u32..4, 1u32..9, money, engine(), step_time(), (host(), balancing())).prop_map(
        |(replicas, gpus_per_replica, price, engine, step_time, (host, balancing))| PoolSpec {
            name: "pool".into(),
            replicas,
            gpus_per_replica,
            price_per_gpu_hour: Money(price),
            engine,
            step_time,
            host,
            balancing,
        },
    )
}

/// Often none, and of prompts too.
fn host() -> impl Strategy<Value = HostTime> {
    let request = prop_oneof![Just(0u64), 1u64..200];
    let prompt_token = prop_oneof![Just(0u64), 1u64..20_000_000];
    (request, prompt_token).prop_map(|(request, prompt_token)| HostTime {
        request: Span::from_millis(request),
        prompt_token: Span(prompt_token),
    })
}

fn balancing() -> impl Strategy<Value = Balancing> {
    let strategy = prop_oneof![
        Just(fleet::Strategy::RoundRobin),
        Just(fleet::Strategy::Random),
        Just(fleet::Strategy::LeastOutstanding),
        (2u32..5).prop_map(|choices| fleet::Strategy::PowerOfChoices { choices }),
        Just(fleet::Strategy::KvAware),
        (0u32..5).prop_map(|max_imbalance| fleet::Strategy::PrefixAffinity { max_imbalance }),
    ];
    let age = prop_oneof![Just(0u64), 1u64..3_000];
    (strategy, age, any::<bool>()).prop_map(|(strategy, age, count_own_dispatches)| Balancing {
        strategy,
        signal_age: Span::from_millis(age),
        count_own_dispatches,
    })
}

fn engine() -> impl Strategy<Value = EngineSpec> {
    let memory = (select(vec![4u32, 8, 16, 32]), 12u32..160);
    let limits = (1u32..24, select(vec![16u32, 40, 128, 512]), 60u32..1_200);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let queue = prop_oneof![3 => Just(None), 1 => (0u32..16).prop_map(Some)];
    let tokens = prop_oneof![3 => Just(None), 1 => (0u64..900).prop_map(Some)];
    let rest = (0u32..8, select(vec![0u32, 0, 7, 24]), select(vec![1u32, 1, 2, 5]));
    (schedulings(), memory, limits, flags, rest, queue, tokens).prop_map(
        |(scheduling, (size, blocks), (seqs, budget, longest), flags, rest, queue, tokens)| {
            let (watermark, threshold, interval) = rest;
            let (prefix_caching, priority, reserve_full_isl, chunked, async_scheduling) = flags;
            let spec = EngineSpec {
                scheduling: Scheduling::Vllm,
                kv_blocks: Blocks(blocks),
                block_size: Tokens(size),
                max_num_batched_tokens: Tokens(budget),
                max_num_seqs: seqs,
                max_model_len: Tokens(longest),
                prefix_caching,
                policy: if priority { SchedulingPolicy::Priority } else { SchedulingPolicy::Fcfs },
                watermark: Blocks(watermark),
                reserve_full_isl,
                long_prefill_token_threshold: Tokens(threshold),
                chunked_prefill: chunked,
                async_scheduling,
                max_num_queued_reqs: queue,
                max_num_queued_tokens: tokens,
                prefill_schedule_interval: interval,
            };
            under(scheduling, spec)
        },
    )
}

/// Iterations of a millisecond to a tenth of a second, with every term.
fn step_time() -> impl Strategy<Value = StepTime> {
    const MICRO: u64 = 1_000_000;
    let knots = (1u64..20_000, 0u64..9_000, 0u64..60_000).prop_map(|(a, b, c)| {
        vec![(0, a * MICRO), (48, (a + b) * MICRO), (512, (a + b + c) * MICRO)]
    });
    let graphs = select(vec![vec![], vec![1, 2, 4, 8], vec![3, 64]]);
    (500u64..5_000, 0u64..500, knots, 0u64..9, 0u64..900, graphs).prop_map(
        |(fixed, extra, knots, kv, attention, graphs)| {
            StepTime::new(fixed * MICRO, extra * MICRO, knots, kv * MICRO, attention, graphs)
                .expect("the knots rise")
        },
    )
}

pub(crate) fn sources() -> impl Strategy<Value = SourceSpec> {
    source(prop_oneof![renewal(), modulated(), closed_loop(), replay()].boxed(), true)
}

fn source(arrivals: BoxedStrategy<Arrivals>, sessions: bool) -> impl Strategy<Value = SourceSpec> {
    let prefix = (1u32..120, 1u32..5, 0.0f64..2.0)
        .prop_map(|(tokens, distinct, zipf)| PrefixSpec { tokens, distinct, zipf });
    let session =
        (length(5), think()).prop_map(|(turns, think)| SessionSpec { turns, think, memory: None });
    let session = option::of(session).prop_map(move |session| session.filter(|_| sessions));
    let lengths = (length(200), length(80), -1.0f64..1.0)
        .prop_map(|(input, output, correlation)| LengthsSpec { input, output, correlation });
    let client = (any::<bool>(), option::of(1u32..90), -2i32..3);
    (any::<u64>(), arrivals, lengths, client, option::of(prefix), session, scaling()).prop_map(
        |(
            key,
            arrivals,
            lengths,
            (ends_by_eos, max_tokens, priority),
            prefix,
            session,
            scaling,
        )| {
            SourceSpec {
                name: "source".into(),
                key,
                task: TaskId(0),
                arrivals,
                lengths,
                ends_by_eos,
                max_tokens,
                priority,
                prefix,
                session,
                scaling,
                people: People::default(),
            }
        },
    )
}

fn scaling() -> impl Strategy<Value = Scaling> {
    let how = select(vec![ScaleHow::MoreUsers, ScaleHow::FasterUsers, ScaleHow::Burstier]);
    let factor = prop_oneof![3 => Just(1.0), 2 => 0.0f64..2.5];
    (factor, how).prop_map(|(factor, how)| Scaling { factor, how })
}

fn length(most: u32) -> impl Strategy<Value = LengthDist> {
    let half = f64::from(most) / 2.0;
    let mu = (half / 4.0).ln()..half.ln();
    let law = prop_oneof![
        (1..=most).prop_map(LengthLaw::Fixed),
        (mu.clone(), 0.0f64..1.5).prop_map(|(mu, sigma)| LengthLaw::Lognormal { mu, sigma }),
        (0.0f64..1.0, mu.clone(), mu).prop_map(|(weight, a, b)| LengthLaw::LognormalMixture {
            weight,
            first: (a, 0.3),
            second: (b, 1.0),
        }),
        (0.3f64..5.0, 1.0..half)
            .prop_map(|(shape, mean)| LengthLaw::Gamma { shape, scale: mean / shape }),
        vec((1..=most, 0.1f64..3.0), 1..5).prop_map(|weighted| {
            LengthLaw::Empirical(Empirical::new(weighted).expect("weights are positive"))
        }),
    ];
    (law, 1..=most.div_ceil(8)).prop_map(move |(law, min)| LengthDist { law, min, max: most })
}

fn think() -> impl Strategy<Value = DurationDist> {
    prop_oneof![
        (100u64..2_000).prop_map(|ms| DurationDist::Fixed(Span::from_millis(ms))),
        (200u64..2_000).prop_map(|ms| DurationDist::Exponential { mean: Span::from_millis(ms) }),
        (-1.5f64..0.5, 0.0f64..1.0).prop_map(|(mu, sigma)| DurationDist::Lognormal { mu, sigma }),
        (0.5f64..4.0, 100u64..800)
            .prop_map(|(shape, ms)| DurationDist::Gamma { shape, scale: Span::from_millis(ms) }),
    ]
}

/// Steps, ramps, repetition and spikes, at most `most`.
fn curve(most: f64) -> impl Strategy<Value = RateCurve> {
    let knots = vec((0..LONGEST_MS, 0.0..most), 1..5).prop_map(|mut knots| {
        knots.sort_by_key(|knot| knot.0);
        knots.into_iter().map(|(ms, value)| (Time::ZERO.after(Span::from_millis(ms)), value))
    });
    let spike = (0..LONGEST_MS, 1u64..4_000, 0.0f64..4.0).prop_map(|(at, length, factor)| {
        (Time::ZERO.after(Span::from_millis(at)), Span::from_millis(length), factor)
    });
    (knots, option::of(1u64..9_000), vec(spike, 0..3)).prop_map(|(knots, rest, spikes)| {
        let knots: Vec<(Time, f64)> = knots.collect();
        let last = knots.last().map_or(Time::ZERO, |knot| knot.0);
        let period = rest.map(|rest| Span(last.0) + Span::from_millis(rest));
        RateCurve { knots, period, spikes }
    })
}

fn renewal() -> impl Strategy<Value = Arrivals> {
    let gaps = prop_oneof![
        Just(Gaps::Exponential),
        (0.2f64..3.0).prop_map(|cv| Gaps::Gamma { cv }),
        (0.4f64..3.0).prop_map(|shape| Gaps::Weibull { shape }),
        Just(Gaps::Constant),
    ];
    (gaps, curve(4.0)).prop_map(|(gaps, rate)| Arrivals::Renewal { gaps, rate })
}

fn modulated() -> impl Strategy<Value = Arrivals> {
    let state = (prop_oneof![Just(0.0), 0.0f64..6.0], 300u64..5_000);
    (vec(state, 1..4), curve(1.5)).prop_map(|(states, shape)| Arrivals::Modulated {
        states: states.into_iter().map(|(rate, ms)| (rate, Span::from_millis(ms))).collect(),
        shape,
    })
}

fn closed_loop() -> impl Strategy<Value = Arrivals> {
    (1u32..5, think()).prop_map(|(users, think)| Arrivals::ClosedLoop { users, think })
}

/// `(instant, session, (shared id, tokens), own tokens, output)` of a row.
type RowDraft = (u64, u32, (u64, u32), u32, u32);

fn replay() -> impl Strategy<Value = Arrivals> {
    let session = prop_oneof![Just(u32::MAX), 0u32..4];
    let row = (0..LONGEST_MS, session, (0u64..4, 0u32..120), 0u32..100, 1u32..80);
    (vec(row, 0..40), prop_oneof![Just(0u64), 1u64..900], 0u64..3_000).prop_map(
        |(drafts, jitter, rest)| Arrivals::Replay {
            trace: Arc::new(trace(drafts, Span::from_millis(rest))),
            jitter: Span::from_millis(jitter),
        },
    )
}

/// A recording whose rows share some of their segments; a row with no tokens to share has none.
fn trace(mut drafts: Vec<RowDraft>, rest: Span) -> Trace {
    drafts.sort_by_key(|draft| draft.0);
    let mut trace = Trace::default();
    for (number, (at, session, (id, shared), own, output)) in drafts.into_iter().enumerate() {
        let segments_at = trace.segments.len() as u32;
        if shared > 0 {
            trace.segments.push(TraceSegment { id, tokens: shared, shared: id % 2 == 0 });
            if own > 0 {
                let id = 100 + number as u64;
                trace.segments.push(TraceSegment { id, tokens: own, shared: false });
            }
        }
        let segments_len = trace.segments.len() as u32 - segments_at;
        let at = Time::ZERO.after(Span::from_millis(at));
        let input = (shared + own).max(1);
        trace.rows.push(TraceRow {
            at,
            input,
            output,
            session,
            segments_at,
            segments_len,
            context: 0,
        });
        trace.span = Span(at.0) + rest;
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use sim::Simulation;

    /// The swarm is worth something only if the rare paths are taken, and cheap enough.
    #[test]
    fn the_swarm_is_small_and_reaches_the_rare_paths() {
        let mut runner = TestRunner::deterministic();
        let (mut arrived, mut rejected, mut overflowed) = (0, 0, 0);
        let (mut preempted, mut evicted, mut hit, mut late) = (0, 0, 0, 0);
        for _ in 0..300 {
            let scenario =
                scenarios().new_tree(&mut runner).expect("nothing is filtered").current();
            let outcome = Simulation::new(&scenario, 1, 0).run();
            arrived += outcome.tasks.iter().map(|task| task.arrived).sum::<u64>();
            rejected += outcome.tasks.iter().map(|task| task.rejected).sum::<u64>();
            late += outcome.tasks.iter().map(|task| task.succeeded - task.within_slo).sum::<u64>();
            overflowed +=
                outcome.models.iter().map(|m| m.attempts.saturating_sub(m.calls)).sum::<u64>();
            preempted += outcome.pools.iter().map(|pool| pool.whole_run.preemptions).sum::<u64>();
            evicted += outcome.pools.iter().map(|pool| pool.whole_run.evictions).sum::<u64>();
            hit += outcome.pools.iter().map(|pool| pool.whole_run.hit_tokens).sum::<u64>();
        }
        assert!((3_000..90_000).contains(&arrived), "{arrived} requests in 300 scenarios");
        let paths = [rejected, overflowed, preempted, evicted, hit, late];
        assert!(paths.iter().all(|&taken| taken >= 50), "{paths:?} of {arrived} requests");
        assert!(rejected < arrived / 2, "{rejected} of {arrived} requests are refused");
    }
}
