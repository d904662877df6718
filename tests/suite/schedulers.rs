//! The schedulers of TensorRT-LLM and SGLang on cases small enough to be worked out by hand, one a
//! rule. Iterations last a nanosecond; iteration `k` of an engine that is never idle starts at `k`.
//!
//! The fast engine runs every case too; that it equals the reference is what `leap` is about.

use crate::engines::{Fast, drive};
use sim::engine::reference::ReferenceReplica;
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, Sglang, StepTime, Submission};
use sim::units::{Blocks, Span, Time, Tokens};
use sim::workload::Segment;

/// Length of an iteration.
const STEP: u64 = 1_000;

/// SGLang with a ratio that stays what it is.
fn sglang(ratio: u32) -> Sglang {
    Sglang {
        longest_prefix_match: false,
        init_new_token_ratio: ratio,
        min_new_token_ratio: ratio,
        new_token_ratio_decay: 0,
    }
}

/// An engine with so many usable blocks of 16 tokens and enough of everything else.
fn spec(scheduling: Scheduling, blocks: u32) -> EngineSpec {
    EngineSpec {
        scheduling,
        kv_blocks: Blocks(blocks + 1),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(512),
        max_num_seqs: 8,
        max_model_len: Tokens(300),
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

/// A request that is there when iteration `at` is decided, with a prompt of its own.
fn request(call: u32, at: u64, prompt: u32, outputs: u32, max_tokens: u32) -> Submission {
    prefixed(call, at, (0, 0), prompt, outputs, max_tokens)
}

/// The same behind a prefix `(name, tokens)`.
fn prefixed(
    call: u32,
    at: u64,
    prefix: (u64, u32),
    own: u32,
    outputs: u32,
    max_tokens: u32,
) -> Submission {
    let segments = [
        Segment { id: prefix.0, tokens: prefix.1 },
        Segment { id: 1_000 + u64::from(call), tokens: own },
    ];
    Submission {
        call,
        arrived: Time(at * STEP),
        prompt: prefix.1 + own,
        outputs,
        max_tokens,
        ends_by_eos: false,
        priority: 0,
        segments: segments.into_iter().collect(),
        output_segment: 2_000 + u64::from(call),
    }
}

/// `(iteration, [(call, tokens)], [calls preempted])` of every iteration.
type Log = Vec<(u64, Vec<(u32, u32)>, Vec<u32>)>;

fn run(spec: &EngineSpec, requests: &[Submission]) -> Log {
    let step_time = StepTime::constant(Span(STEP)).expect("valid");
    let mut log = Vec::new();
    let mut slow = ReferenceReplica::new(spec.clone(), step_time.clone());
    let mut expected = drive(&mut slow, requests.to_vec(), &[], |engine, now| {
        let step = engine.last_step();
        log.push((now.0 / STEP, step.scheduled.clone(), step.preempted.clone()));
    });
    let mut fast = Fast::new(spec.clone(), step_time);
    let mut got = drive(&mut fast, requests.to_vec(), &[], |_, _| {});
    expected.sort_by_key(|ended| ended.call);
    got.sort_by_key(|ended| ended.call);
    assert_eq!(got, expected, "the fast engine");
    log
}

/// The iteration in which a call is computed first, and how many tokens then.
fn first(log: &Log, call: u32) -> (u64, u32) {
    let found = log.iter().find_map(|(step, scheduled, _)| {
        scheduled.iter().find(|entry| entry.0 == call).map(|entry| (*step, entry.1))
    });
    found.expect("every call runs")
}

fn steps(log: &Log, range: std::ops::Range<usize>) -> Vec<Vec<(u32, u32)>> {
    log[range].iter().map(|step| step.1.clone()).collect()
}

#[test]
fn nobody_starts_unless_all_declared_tokens_fit() {
    // The first reserves ⌈(16 + 96) / 16⌉ = 7 of 10 blocks, whatever it writes.
    let first_starts = |declared| {
        let requests = [request(0, 0, 16, 4, 96), request(1, 0, 16, 2, declared)];
        first(&run(&spec(Scheduling::GuaranteedNoEvict, 10), &requests), 1).0
    };
    assert_eq!(first_starts(32), 0, "⌈48 / 16⌉ = 3 blocks fit beside 7");
    assert_eq!(first_starts(33), 4, "4 blocks wait for the first to end");
    let requests = [request(0, 0, 16, 4, 96), request(1, 0, 16, 2, 33)];
    assert_eq!(first(&run(&spec(Scheduling::MaxUtilization, 10), &requests), 1).0, 0);
    assert_eq!(first(&run(&spec(Scheduling::Vllm, 10), &requests), 1).0, 0);
}

#[test]
fn blocks_that_others_hold_already_are_not_reserved_again() {
    // Both share 64 tokens, 4 blocks. The second comes when those are computed: 8 − 4 fit into 12 − 8.
    let engine =
        |blocks| EngineSpec { prefix_caching: true, ..spec(Scheduling::GuaranteedNoEvict, blocks) };
    let requests = [prefixed(0, 0, (1, 64), 32, 10, 32), prefixed(1, 1, (1, 64), 32, 2, 32)];
    assert_eq!(first(&run(&engine(12), &requests), 1), (1, 32));
    assert_eq!(first(&run(&engine(11), &requests), 1), (10, 32));
}

#[test]
fn the_last_to_start_is_paused_and_resumes_with_all_its_tokens() {
    // 31 tokens each in 4 blocks: iteration 2 computes the 33rd token of both.
    let requests = [request(0, 0, 31, 20, 20), request(1, 0, 31, 20, 20)];
    let log = run(&spec(Scheduling::MaxUtilization, 4), &requests);
    assert_eq!(steps(&log, 0..2), [vec![(0, 31), (1, 31)], vec![(0, 1), (1, 1)]]);
    assert_eq!(log[2], (2, vec![(0, 1)], vec![1]));
    assert!(steps(&log, 3..20).iter().all(|step| *step == [(0, 1)]));
    // It had written 2 tokens; they are computed again with the prompt.
    assert_eq!(log[20], (20, vec![(1, 33)], vec![]));
    assert_eq!(log.len(), 38);
}

#[test]
fn trtllm_cuts_prompts_at_blocks_and_computes_nothing_behind_a_cut() {
    let engine = EngineSpec {
        max_num_batched_tokens: Tokens(40),
        ..spec(Scheduling::GuaranteedNoEvict, 20)
    };
    let log = run(&engine, &[request(0, 0, 100, 1, 1), request(1, 0, 8, 1, 1)]);
    let expected = [vec![(0, 32)], vec![(0, 32)], vec![(0, 36)], vec![(1, 8)]];
    assert_eq!(steps(&log, 0..4), expected);
    // Without chunks a prompt waits until it fits as a whole.
    let whole = EngineSpec { chunked_prefill: false, ..engine };
    let log = run(&whole, &[request(0, 0, 24, 1, 1), request(1, 0, 17, 1, 1)]);
    assert_eq!(steps(&log, 0..2), [vec![(0, 24)], vec![(1, 17)]]);
}

#[test]
fn blocks_of_a_prompt_under_way_are_out_of_reach() {
    // The second needs 6 blocks for its prompt and computes 32 tokens, 2 blocks, beside the first.
    // In iteration 1 the first needs its second block: of 8 there are 5 left, 4 of them spoken for.
    let engine =
        EngineSpec { max_num_batched_tokens: Tokens(48), ..spec(Scheduling::MaxUtilization, 8) };
    let requests = [request(0, 0, 16, 3, 3), request(1, 0, 96, 1, 1)];
    let log = run(&engine, &requests);
    let expected = [vec![(0, 16), (1, 32)], vec![(0, 1), (1, 32)], vec![(0, 1), (1, 32)]];
    assert_eq!(steps(&log, 0..3), expected);
    // With a block less, all that are left are spoken for.
    let engine = EngineSpec { kv_blocks: Blocks(8), ..engine };
    assert_eq!(run(&engine, &requests)[1], (1, vec![(0, 1)], vec![1]));
    let vllm = EngineSpec { scheduling: Scheduling::Vllm, ..engine };
    assert_eq!(run(&vllm, &requests)[1], (1, vec![(0, 1), (1, 47)], vec![]));
}

#[test]
fn prefill_goes_first_and_decodes_wait() {
    let requests = [request(0, 0, 16, 10, 10), request(1, 3, 288, 2, 2)];
    let engine = EngineSpec {
        max_num_batched_tokens: Tokens(160),
        ..spec(Scheduling::Sglang(sglang(0)), 40)
    };
    let log = run(&engine, &requests);
    let expected = [
        vec![(0, 16)],
        vec![(0, 1)],
        vec![(0, 1)],
        vec![(1, 160)],
        vec![(1, 128)],
        vec![(0, 1), (1, 1)],
    ];
    assert_eq!(steps(&log, 0..6), expected);
    // vLLM mixes them.
    let vllm = EngineSpec { scheduling: Scheduling::Vllm, ..engine };
    assert_eq!(run(&vllm, &requests)[3].1, [(0, 1), (1, 159)]);
}

#[test]
fn prompts_that_fit_whole_share_an_iteration_and_the_next_is_cut() {
    let engine = EngineSpec {
        max_num_batched_tokens: Tokens(96),
        ..spec(Scheduling::Sglang(sglang(0)), 40)
    };
    // 20 tokens are charged as 2 blocks of 16: 64 are left for 70.
    let log = run(&engine, &[request(0, 0, 20, 1, 1), request(1, 0, 70, 1, 1)]);
    assert_eq!(steps(&log, 0..2), [vec![(0, 20), (1, 64)], vec![(1, 6)]]);
    // Without chunks the first may exceed the limit and the second waits.
    let whole = EngineSpec { chunked_prefill: false, ..engine };
    let log = run(&whole, &[request(0, 0, 200, 1, 1), request(1, 0, 70, 1, 1)]);
    assert_eq!(steps(&log, 0..2), [vec![(0, 200)], vec![(1, 70)]]);
}

#[test]
fn the_expected_output_decays_and_a_refusal_lasts_until_somebody_leaves() {
    // 320 tokens in 20 blocks. Before iteration s the first has written s tokens of 200 it may
    // write and is expected to write 1 − 0.1 (s − 1) of the rest; it holds 3 blocks. The second
    // wants 100 + 60 and a block besides: 272 > 176 + (200 − s) (1 − 0.1 (s − 1)) from s = 7 on.
    let scheduling = Scheduling::Sglang(Sglang {
        longest_prefix_match: false,
        init_new_token_ratio: 1_000_000_000,
        min_new_token_ratio: 100_000_000,
        new_token_ratio_decay: 100_000_000,
    });
    let starts = |at| {
        let requests = [request(0, 0, 32, 20, 200), request(1, at, 100, 5, 60)];
        first(&run(&spec(scheduling, 20), &requests), 1).0
    };
    assert_eq!(starts(7), 7);
    assert_eq!(starts(9), 9);
    // Refused in iteration 6, it is not looked at again before the first has ended, in 19.
    assert_eq!(starts(6), 20);
}

#[test]
fn a_leaver_is_noticed_by_the_next_decode_iteration() {
    // Two places. The third request waits for one; it falls free at the end of iteration 4.
    let engine = EngineSpec { max_num_seqs: 2, ..spec(Scheduling::Sglang(sglang(0)), 40) };
    let requests = [request(0, 0, 16, 9, 9), request(1, 0, 16, 5, 5), request(2, 0, 16, 1, 1)];
    let log = run(&engine, &requests);
    let expected = [vec![(0, 1), (1, 1)], vec![(0, 1)], vec![(2, 16)], vec![(0, 1)]];
    assert_eq!(steps(&log, 4..8), expected);
}

#[test]
fn of_equal_outputs_the_longest_prompt_is_retracted_and_goes_to_the_end() {
    // 6 blocks: 1 + 2 + 1 are held when iteration 3 needs one more for each.
    let requests = [
        request(0, 0, 16, 30, 30),
        request(1, 1, 32, 30, 30),
        request(2, 2, 16, 4, 4),
        request(3, 3, 16, 2, 2),
    ];
    let log = run(&spec(Scheduling::Sglang(sglang(0)), 6), &requests);
    assert_eq!(steps(&log, 0..3), [vec![(0, 16)], vec![(1, 32)], vec![(2, 16)]]);
    // Two blocks are free, 32 tokens; the fourth needs 16 + 2 and a block besides.
    assert_eq!(log[3], (3, vec![(0, 1), (2, 1)], vec![1]));
    // The fourth waited before the retracted one and starts first; that one computes the token it
    // had written as well.
    let resumed = log.iter().find(|step| step.1.contains(&(1, 33))).expect("it resumes");
    assert!(first(&log, 3).0 < resumed.0);
}

#[test]
fn the_fewest_outputs_are_retracted_first() {
    // 10 blocks of 4 tokens. In iteration 16 both need their sixth and fifth block; the first has
    // written 15 tokens, the second 13.
    let engine = EngineSpec { block_size: Tokens(4), ..spec(Scheduling::Sglang(sglang(0)), 10) };
    let log = run(&engine, &[request(0, 0, 8, 20, 20), request(1, 3, 4, 16, 16)]);
    assert_eq!(log[15].1, [(0, 1), (1, 1)]);
    assert_eq!(log[16], (16, vec![(0, 1)], vec![1]));
}

#[test]
fn a_retraction_raises_the_expected_output() {
    // As before. Then the ratio is (15 + 20 · 1) / (20 + 1), held at 1: beside 5 tokens that the
    // first may still write there are not 17, 3 to come and a block left.
    let engine = EngineSpec { block_size: Tokens(4), ..spec(Scheduling::Sglang(sglang(0)), 10) };
    let log = run(&engine, &[request(0, 0, 8, 20, 20), request(1, 3, 4, 16, 16)]);
    let resumed = log.iter().position(|step| step.1 == [(1, 17)]).expect("it resumes");
    assert_eq!(resumed, 21, "when the first has ended, in iteration 20");
}

#[test]
fn the_longest_cached_prefix_goes_first() {
    let engine = |longest_prefix_match| EngineSpec {
        prefix_caching: true,
        max_num_batched_tokens: Tokens(48),
        ..spec(Scheduling::Sglang(Sglang { longest_prefix_match, ..sglang(0) }), 40)
    };
    // One fills the cache with 48 tokens; of two that come later the second finds them there.
    let requests = [
        prefixed(0, 0, (7, 48), 0, 1, 1),
        request(1, 2, 48, 1, 1),
        prefixed(2, 2, (7, 48), 16, 1, 1),
    ];
    assert_eq!(steps(&run(&engine(false), &requests), 1..3), [vec![(1, 48)], vec![(2, 16)]]);
    assert_eq!(
        steps(&run(&engine(true), &requests), 1..3),
        [vec![(2, 16), (1, 32)], vec![(1, 16)]]
    );
}

#[test]
fn who_shares_an_uncomputed_prefix_waits_for_it() {
    let engine = |longest_prefix_match| EngineSpec {
        prefix_caching: true,
        max_num_batched_tokens: Tokens(64),
        ..spec(Scheduling::Sglang(Sglang { longest_prefix_match, ..sglang(0) }), 40)
    };
    let requests = [
        prefixed(0, 0, (7, 32), 16, 1, 1),
        prefixed(1, 0, (7, 32), 16, 1, 1),
        request(2, 0, 16, 1, 1),
    ];
    // In one iteration nobody finds what another computes.
    let log = run(&engine(false), &requests);
    assert_eq!(steps(&log, 0..2), [vec![(0, 48), (1, 16)], vec![(1, 32), (2, 16)]]);
    let log = run(&engine(true), &requests);
    assert_eq!(steps(&log, 0..2), [vec![(0, 48), (2, 16)], vec![(1, 16)]]);
}
