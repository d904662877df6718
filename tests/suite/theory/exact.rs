//! Statements that hold to the picosecond and the pico-dollar.

use crate::station::{pool, scenario};
use sim::Scenario;
use sim::Simulation;
use sim::dist::{LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::Strategy;
use sim::ids::TaskId;
use sim::record::{CallRecord, KeepAll};
use sim::units::{Blocks, Money, Span, Time, Tokens};
use sim::workload::{Arrivals, People, Scaling, SourceSpec, Trace, TraceRow};
use std::sync::Arc;

fn engine() -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(4_096),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(2_048),
        max_num_seqs: 8,
        max_model_len: Tokens(8_192),
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

/// The requests `(instant, prompt, answer)`, as they are, to `replicas` engines.
fn replay(rows: &[(u64, u32, u32)], step_time: StepTime, replicas: u32) -> Scenario {
    let row = |&(at, input, output): &(u64, u32, u32)| TraceRow {
        at: Time(at),
        input,
        output,
        session: u32::MAX,
        segments_at: 0,
        segments_len: 0,
        context: 0,
    };
    let span = Span(rows.iter().map(|row| row.0).max().unwrap_or(0) + 1);
    let trace = Trace { rows: rows.iter().map(row).collect(), segments: Vec::new(), span };
    let unused = LengthDist { law: LengthLaw::Fixed(1), min: 1, max: 1 };
    let source = SourceSpec {
        name: "recording".to_owned(),
        key: 1,
        task: TaskId(0),
        arrivals: Arrivals::Replay { trace: Arc::new(trace), jitter: Span::ZERO },
        lengths: LengthsSpec { input: unused.clone(), output: unused, correlation: 0.0 },
        ends_by_eos: false,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    };
    let pools = vec![pool(engine(), step_time, replicas, Strategy::RoundRobin)];
    scenario(vec![source], 1, pools, (Span::ZERO, span))
}

/// The calls in the order they arrived; of calls that arrived together, as they ended.
fn calls(scenario: &Scenario) -> Vec<CallRecord> {
    let (outcome, mut kept) =
        Simulation::recording(scenario, 1, 0, KeepAll::default()).run_with(&|_| false);
    assert_eq!(outcome.expect("runs to its end").audit, Vec::<String>::new());
    kept.calls.sort_by_key(|call| call.arrived);
    kept.calls
}

/// `fixed + ungraphed + linear(prompt) + attention` for the prompt, then for each further token
/// `fixed + linear(1) + kv_read · context`, added up by hand.
#[test]
fn a_request_alone_takes_its_prefill_and_its_steps() {
    let (fixed, ungraphed, one, prompt_time) = (1_000_003, 77, 5_000_011, 90_000_001);
    let (kv_read, attention, prompt, answer) = (1_009, 2_000, 1_023, 500);
    let knots = vec![(1, one), (prompt, prompt_time)];
    let step_time =
        StepTime::new(fixed, ungraphed, knots, kv_read, attention, vec![1, 2, 4]).expect("valid");
    let start = 123_456_789;
    let call = calls(&replay(&[(start, prompt, answer)], step_time, 1))[0];

    // 1023 · 1024 / 2 pairs of token and context.
    let prefill = fixed + ungraphed + prompt_time + attention * 1_023 / 2;
    assert_eq!((call.arrived, call.scheduled), (Time(start), Time(start)));
    assert_eq!(call.first_token - call.scheduled, Span(prefill));
    let (n, p) = (u64::from(answer), u64::from(prompt));
    // Step j reads the prompt and the j tokens written before, the last of them being stored.
    let contexts = (1..n).map(|j| p + j).sum::<u64>();
    let decode = (n - 1) * (fixed + one) + kv_read * contexts;
    assert_eq!(call.ended - call.first_token, Span(decode));
}

/// With equal steps, as many requests as there are seats finish together and the next ones after
/// exactly twice the time.
#[test]
fn a_full_batch_takes_as_long_as_one_request_and_the_rest_waits_for_it() {
    let step = Span::from_millis(20);
    let rows = [(0, 100, 50); 12];
    let scenario = replay(&rows, StepTime::constant(step).expect("valid"), 1);
    let mut ends: Vec<u64> = calls(&scenario).iter().map(|call| call.ended.0 / step.0).collect();
    ends.sort_unstable();
    let expected: Vec<u64> = [vec![50; 8], vec![100; 4]].concat();
    assert_eq!(ends, expected);
}

/// A recording of bursts with lengths of every size.
fn bursts(scale: u64) -> Vec<(u64, u32, u32)> {
    let row = |i: u64| {
        let at = (i / 7) * 300_000_000_000 + (i % 7) * 1_234_567_891;
        (at * scale, 1 + (i * 7_919 % 3_000) as u32, 1 + (i * 104_729 % 400) as u32)
    };
    (0..600).map(row).collect()
}

/// Every coefficient a multiple of what it is divided by: 4095 tokens between the knots, 1024 pairs
/// of attention. Nothing is rounded, so times scale exactly.
fn scaled_step(scale: u64) -> StepTime {
    let one = 4_095_000_000 * scale;
    let knots = vec![(1, one), (4_096, 30 * one)];
    StepTime::new(900_000_000 * scale, 0, knots, 40_000 * scale, 1_024 * 800 * scale, vec![])
        .expect("valid")
}

#[test]
fn a_slower_clock_changes_nothing_but_the_unit() {
    let instants = |call: &CallRecord, scale: u64| {
        [call.arrived, call.scheduled, call.first_token, call.ended].map(|at| at.0 * scale)
    };
    for replicas in [1, 3] {
        let fast = calls(&replay(&bursts(1), scaled_step(1), replicas));
        let slow = calls(&replay(&bursts(1_000), scaled_step(1_000), replicas));
        assert_eq!((fast.len(), slow.len()), (600, 600));
        for (fast, slow) in fast.iter().zip(&slow) {
            assert_eq!(instants(fast, 1_000), instants(slow, 1), "{replicas} replicas");
        }
        let queued = fast.iter().filter(|call| call.scheduled > call.arrived).count();
        assert!(queued > 300, "the load is too light to test anything: {queued} queued");
    }
}

/// Price × replicas × GPUs × measured time; at twice the price twice that, and nothing else moves.
#[test]
fn spend_is_price_times_time() {
    let hour = Span::from_secs(3_600);
    let cent = Money::PICO_PER_DOLLAR / 100;
    let run = |price: Money| {
        let mut scenario = replay(&bursts(1), scaled_step(1), 3);
        scenario.warm_up = Span(hour.0 / 4);
        scenario.horizon = Span(hour.0 / 4 * 11);
        scenario.pools[0].gpus_per_replica = 4;
        scenario.pools[0].price_per_gpu_hour = price;
        Simulation::new(&scenario, 1, 0).run()
    };
    let (once, twice) = (run(Money(299 * cent)), run(Money(598 * cent)));
    // 2.5 hours of 12 GPUs.
    assert_eq!(once.ledger.gpu_spend(), Money(30 * 299 * cent));
    assert_eq!(twice.ledger.gpu_spend(), Money(2 * once.ledger.gpu_spend().0));
    assert_eq!((once.audit.len(), twice.audit.len()), (0, 0));
    assert_eq!((once.log_hash, &once.tasks), (twice.log_hash, &twice.tasks));
    assert_eq!(once.pools, twice.pools);
}

/// A first request decodes one token a step from its prefill in step 1 on; a second one, which
/// arrives meanwhile and needs `chunks` steps of prefill, gets one in every `interval` steps.
#[test]
fn prefill_beside_a_decode_takes_one_step_of_every_interval() {
    let step = Span::from_millis(20);
    let decodes = 1;
    for interval in 1..=7 {
        for chunks in 1..=3 {
            // A token less than the chunks hold: the last chunk is not full.
            let prompt = chunks * (engine().max_num_batched_tokens.0 - decodes) - 1;
            let rows = [(0, 100, 90), (step.0 / 2, prompt, 1)];
            let mut scenario = replay(&rows, StepTime::constant(step).expect("valid"), 1);
            scenario.pools[0].engine.prefill_schedule_interval = interval;
            let calls = calls(&scenario);
            let steps = |at: Time| at.0 / step.0;
            assert_eq!(steps(calls[1].scheduled), u64::from(interval));
            assert_eq!(steps(calls[1].first_token), u64::from(1 + interval * chunks));
            // Whoever decodes never waits.
            assert_eq!(steps(calls[0].ended), 90);
        }
    }
}

/// With nobody decoding, or with somebody left over when prefill is allowed, nothing is held back.
#[test]
fn prefill_is_not_held_back_from_an_idle_engine_or_a_backlog() {
    let step = StepTime::constant(Span::from_millis(20)).expect("valid");
    let alone = [(0, 8_000, 1), (100, 8_000, 1), (Span::from_secs(1).0, 8_000, 1)];
    // One seat more than is decoding, and always somebody who waits for it.
    let backlog = [vec![(0, 10, 400); 7], vec![(0, 10, 1); 50]].concat();
    for rows in [alone.to_vec(), backlog] {
        let calls = |interval: u32| {
            let mut scenario = replay(&rows, step.clone(), 1);
            scenario.pools[0].engine.prefill_schedule_interval = interval;
            calls(&scenario)
        };
        assert_eq!(calls(1), calls(1_000));
    }
}

/// Of requests that come together, as many are taken as the limit has places, or until their
/// prompts reach it.
#[test]
fn a_limit_takes_what_it_has_room_for() {
    let prompt = 30;
    let step = StepTime::constant(Span::from_millis(20)).expect("valid");
    let rows = [(0, prompt, 4); 20];
    let taken = |requests: Option<u32>, tokens: Option<u64>| {
        let mut scenario = replay(&rows, step.clone(), 1);
        scenario.pools[0].engine.max_num_queued_reqs = requests;
        scenario.pools[0].engine.max_num_queued_tokens = tokens;
        let task = Simulation::new(&scenario, 1, 0).run().tasks[0].clone();
        assert_eq!(task.arrived, task.succeeded + task.rejected);
        task.succeeded
    };
    for limit in [0, 1, 7, 19, 20, 21] {
        // Eight seats; who runs counts like who waits.
        assert_eq!(taken(Some(limit), None), u64::from(limit).min(20));
    }
    for limit in [0, 1, 29, 30, 31, 60, 599, 601] {
        assert_eq!(taken(None, Some(limit)), limit.div_ceil(prompt.into()).min(20));
    }
    // A prompt counts until its first token, at the end of the step after the one under way.
    let apart: Vec<_> = (0..20).map(|i| (i * Span::from_millis(25).0, prompt, 40)).collect();
    let mut scenario = replay(&apart, step, 1);
    scenario.pools[0].engine.max_num_seqs = 64;
    scenario.pools[0].engine.max_num_queued_tokens = Some(1);
    let (mut expected, mut first_token) = (0, 0);
    for arrival in (0..20u64).map(|i| i * 25) {
        if arrival >= first_token {
            expected += 1;
            first_token = (arrival.div_ceil(20) + 1) * 20;
        }
    }
    assert!((2..20).contains(&expected));
    assert_eq!(Simulation::new(&scenario, 1, 0).run().tasks[0].succeeded, expected);
}
