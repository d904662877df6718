//! The fast engine equals the reference engine on random workloads: to the picosecond, to the
//! block, request by request.
//!
//! Workloads mix shared prefixes, repeated prompts, tight memory, chunked and unchunked prefill,
//! both policies, both scheduling modes, priorities, cancellation and a step time with every term.

use crate::engines::{Engine, Fast, drive, schedulings, under};
use proptest::prelude::*;
use sim::engine::reference::ReferenceReplica;
use sim::engine::{
    EndReason, EngineCounts, EngineSpec, Overheads, Replica, Scheduling, SchedulingPolicy,
    StepTime, Submission, Surface, Surfaces,
};
use sim::units::{Blocks, Span, Time, Tokens};
use sim::workload::Segment;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
struct Workload {
    spec: EngineSpec,
    step_time: StepTime,
    requests: Vec<Submission>,
    cancels: Vec<(Time, u32)>,
}

fn step_times() -> impl Strategy<Value = StepTime> {
    let host = prop_oneof![Just(0u64), 0u64..700];
    (prop_oneof![plain_step_times(), measured_step_times()], host).prop_map(|(step_time, host)| {
        let more =
            Overheads { iteration: host / 2, sequence: host, kv_token: host / 50, ungraphed: host };
        step_time.plus(more).expect("valid")
    })
}

fn graph_sizes() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![Just(vec![]), Just(vec![1, 2, 4, 8]), Just(vec![3, 64])]
}

fn plain_step_times() -> impl Strategy<Value = StepTime> {
    let knots = (1u64..2_000, 0u64..2_000, 0u64..90_000)
        .prop_map(|(a, b, c)| vec![(0, a), (48, a + b), (512, a + b + c)]);
    (0u64..3_000, 0u64..500, knots, 0u64..50, 0u64..9_000, graph_sizes()).prop_map(
        |(fixed, extra, knots, kv, attention, graphs)| {
            StepTime::new(fixed, extra, knots, kv, attention, graphs)
                .expect("generated coefficients are valid")
        },
    )
}

/// Four rows of five columns, with knots of KV tokens that many leaps cross.
fn surfaces() -> impl Strategy<Value = Surface> {
    let steps = prop::collection::vec(0u64..4_000, 20);
    (steps, 1u32..6, 1u64..300).prop_map(|(steps, x, y)| {
        let mut values: Vec<u64> = Vec::new();
        for (i, step) in steps.into_iter().enumerate() {
            let left = if i % 5 == 0 { 1 } else { values[i - 1] };
            let above = if i < 5 { 0 } else { values[i - 5] };
            values.push(left.max(above) + step);
        }
        let ys = [0, y, 3 * y, 7 * y, 40 * y];
        Surface::new(vec![x, 2 * x, 5 * x, 90 * x], ys.into(), values).expect("rising")
    })
}

fn measured_step_times() -> impl Strategy<Value = StepTime> {
    let all = (surfaces(), surfaces(), surfaces());
    (0u64..3_000, 0u64..500, all, graph_sizes()).prop_map(
        |(fixed, extra, (decode, reading, prefill), graphs)| {
            let surfaces = Surfaces { decode, reading, prefill };
            StepTime::measured(fixed, extra, surfaces, graphs).expect("generated ones are valid")
        },
    )
}

fn specs() -> impl Strategy<Value = EngineSpec> {
    let memory = (prop_oneof![Just(8u32), Just(16), Just(24)], 24u32..120);
    let limits = (1u32..24, prop_oneof![Just(16u32), Just(40), Just(128), Just(512)], 40u32..600);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let interval = prop_oneof![2 => Just(1u32), 3 => 2u32..12];
    let rest = (0u32..8, prop_oneof![Just(0u32), Just(24), Just(7)], interval);
    (memory, limits, flags, rest).prop_map(
        |((size, blocks), (seqs, budget, length), flags, (watermark, threshold, interval))| {
            let (caching, priority, reserve, chunked, asynchronous) = flags;
            let longest = length.min((blocks - 1) * size).max(8);
            EngineSpec {
                scheduling: Scheduling::Vllm,
                kv_blocks: Blocks(blocks),
                block_size: Tokens(size),
                // Without chunking every sequence must fit one iteration.
                max_num_batched_tokens: Tokens(if chunked { budget } else { budget.max(longest) }),
                max_num_seqs: seqs,
                max_model_len: Tokens(longest),
                prefix_caching: caching,
                policy: if priority { SchedulingPolicy::Priority } else { SchedulingPolicy::Fcfs },
                watermark: Blocks(watermark),
                reserve_full_isl: reserve,
                long_prefill_token_threshold: Tokens(threshold),
                chunked_prefill: chunked,
                async_scheduling: asynchronous,
                max_num_queued_reqs: None,
                max_num_queued_tokens: None,
                prefill_schedule_interval: interval,
            }
        },
    )
}

/// `(gap, shared prefix label, shared tokens, own tokens, (outputs, declared besides), priority,
/// eos, cancel delay)`
type Draft = (u64, u64, u32, u32, (u32, u32), i32, bool, Option<u64>);

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let gap = prop_oneof![3 => Just(0u64), 5 => 1u64..5_000, 2 => 1u64..400_000];
    let cancel = prop_oneof![6 => Just(None), 1 => (1u64..600_000).prop_map(Some)];
    let written = (1u32..150, prop_oneof![Just(0u32), 1u32..300]);
    let draft = (gap, 0u64..4, 0u32..200, 0u32..120, written, 0i32..3, any::<bool>(), cancel);
    prop::collection::vec(draft, 1..40)
}

fn workload(spec: EngineSpec, step_time: StepTime, drafts: Vec<Draft>) -> Workload {
    let mut now = 0;
    let mut requests = Vec::new();
    let mut cancels = Vec::new();
    for (number, (gap, label, shared, own, (outputs, more), priority, ends_by_eos, cancel)) in
        drafts.into_iter().enumerate()
    {
        // Equal keys under the priority policy can take each other's blocks for ever when only the
        // first chunk is reserved; the simulator hands engines distinct arrivals.
        let distinct = spec.policy == SchedulingPolicy::Priority && !spec.reserve_full_isl;
        now += gap.max(u64::from(distinct));
        let longest = spec.max_model_len.0;
        let shared = shared.min(longest - 1);
        let own = own.min(longest - 1 - shared).max(u32::from(shared == 0));
        let prompt = shared + own;
        let segments = [
            Segment { id: label, tokens: shared },
            Segment { id: 1_000 + number as u64, tokens: own },
        ];
        requests.push(Submission {
            call: number as u32,
            arrived: Time(now),
            prompt,
            outputs: outputs.min(longest - prompt),
            max_tokens: outputs + more,
            ends_by_eos,
            priority,
            segments: segments.into_iter().collect(),
            output_segment: 2_000 + number as u64,
        });
        cancels.extend(cancel.map(|delay| (Time(now + delay), number as u32)));
    }
    cancels.sort();
    Workload { spec, step_time, requests, cancels }
}

fn workloads() -> impl Strategy<Value = Workload> {
    (schedulings(), specs(), step_times(), drafts()).prop_map(
        |(scheduling, spec, step_time, drafts)| {
            workload(under(scheduling, spec), step_time, drafts)
        },
    )
}

/// Runs both engines and compares everything they say.
fn compare(load: &Workload) {
    let (mut seen, mut queued) = (BTreeMap::new(), BTreeMap::new());
    let mut busy = 0;
    let mut slow = ReferenceReplica::new(load.spec.clone(), load.step_time.clone());
    let mut expected = drive(&mut slow, load.requests.clone(), &load.cancels, |engine, now| {
        // The reference counts an iteration's time when it starts.
        let counts = EngineCounts { busy, ..engine.counts() };
        busy = engine.counts().busy;
        seen.insert(now, (counts, engine.used_blocks()));
        queued.insert(now, engine.queued_tokens());
    });
    let fast = Fast::new(load.spec.clone(), load.step_time.clone());
    let mut fast = fast.probed_at(seen.keys().copied());
    let mut got = drive(&mut fast, load.requests.clone(), &load.cancels, |engine, now| {
        assert_eq!(
            (seen.get(&now).map(|seen| seen.1), queued.get(&now)),
            (Some(engine.used_blocks()), Some(&engine.queued_tokens())),
            "blocks in use and prompts queued at {now:?}"
        );
    });
    assert_eq!(fast.counts(), slow.counts());
    assert_eq!(fast.peak_blocks(), slow.peak_blocks());
    assert_eq!(fast.probed, seen, "also amid a leap");
    // Within one boundary the engines may report in different orders.
    expected.sort_by_key(|ended| ended.call);
    got.sort_by_key(|ended| ended.call);
    assert_eq!(got, expected);
    assert_eq!(got.len(), load.requests.len());
    assert_eq!(fast.used_blocks(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leap_equals_reference(load in workloads()) {
        compare(&load);
    }
}

/// An engine with room for all of a few small requests.
fn roomy() -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(64),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(512),
        max_num_seqs: 8,
        max_model_len: Tokens(600),
        prefix_caching: false,
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

/// Two requests end in one iteration, and the end of the first has the second given up. Then a
/// third takes the slot and the number of the second; it is not meant.
#[test]
fn a_request_given_up_after_its_end_takes_nobody_with_it() {
    let step_time = StepTime::constant(Span(10)).expect("valid");
    for ends_by_eos in [false, true] {
        let spec = EngineSpec { async_scheduling: ends_by_eos, ..roomy() };
        let drafts = vec![(0, 0, 10, 10, (2, 0), 0, ends_by_eos, None); 2];
        let requests = workload(spec.clone(), step_time.clone(), drafts).requests;
        let third = requests[1].clone();
        let mut replica = Replica::new(spec, step_time.clone());
        let submit = |request| replica.submit(Time::ZERO, request);
        let seqs: Vec<_> = requests.into_iter().map(submit).collect();
        let mut ended = Vec::new();
        let mut now = Time::ZERO;
        let mut third = Some(third);
        loop {
            replica.schedule(now, &mut ended);
            now = replica.boundary();
            if now == Time::NEVER {
                break;
            }
            replica.complete(now, &mut ended);
            if ended.len() == 2
                && let Some(third) = third.take()
            {
                replica.cancel(now, seqs[1], 1);
                let seq = replica.submit(now, third);
                assert!(ends_by_eos || seq == seqs[1], "the slot is used again");
            }
        }
        let reasons: Vec<_> = ended.iter().map(|end| end.reason).collect();
        assert_eq!(reasons, [EndReason::Finished; 3]);
    }
}

/// The comparison notices a difference: one token more in one answer.
#[test]
#[should_panic(expected = "assertion")]
fn the_comparison_can_fail() {
    let load = workload(
        roomy(),
        StepTime::constant(Span(10)).expect("valid"),
        vec![(0, 0, 10, 10, (50, 0), 0, false, None)],
    );
    let mut other = load.clone();
    other.requests[0].outputs += 1;
    let run = |load: &Workload| {
        let mut fast = Fast::new(load.spec.clone(), load.step_time.clone());
        drive(&mut fast, load.requests.clone(), &load.cancels, |_, _| {})
    };
    assert_eq!(run(&load), run(&other));
}
