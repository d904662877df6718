//! What a closed-loop benchmark measures on one replica.
//!
//! `concurrency` lanes start together; each sends a prompt, waits for the whole answer and sends the
//! next, until all prompts are sent. Lengths are uniform integers from 80 % of the stated ones up to
//! them, and answers run to their length whatever they say: so do the harnesses behind
//! [`crate::serving`] draw them. Times are those a client sees: the host's work on a request lies
//! between its sending and the engine.
//!
//! Invariants: the same benchmark on the same replica gives the same times, to the picosecond; every
//! prompt is answered once.
//!
//! Deliberately absent: warm-up prompts, which leave nothing behind in an engine whose prompts
//! share nothing; load from outside a benchmark (see `sim::Simulation`).

use crate::drive::drive;
use sim::dice::{Dice, Purpose, mix};
use sim::engine::{EngineSpec, Replica, StepTime, Submission};
use sim::units::{Span, Time};
use std::sync::Arc;

/// Share of a stated length below which no length is drawn.
const LEAST_SHARE: f64 = 0.8;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedLoop {
    /// Lanes, at least 1.
    pub concurrency: u32,
    /// Longest prompt in tokens, at least 1.
    pub input: u32,
    /// Longest answer in tokens, at least 1.
    pub output: u32,
    /// Prompts in all, at least 1.
    pub prompts: u32,
}

/// What a benchmark measures, means over its requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoopTimes {
    /// From sending to the first token, seconds.
    pub ttft: f64,
    /// Between two tokens of an answer, seconds; 0 where no answer has two.
    pub tpot: f64,
    /// From the engine's receipt to the first iteration on a request, seconds.
    pub waiting: f64,
    /// How often a request lost its blocks, in all.
    pub preemptions: u64,
}

/// Why a benchmark cannot run on a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request of {input} + {output} tokens never fits this replica")]
pub struct TooLong {
    /// Prompt tokens.
    pub input: u32,
    /// Answer tokens.
    pub output: u32,
}

/// What became of one request of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneTimes {
    /// Tokens of its answer.
    pub output: u32,
    /// From sending to the first token.
    pub ttft: Span,
    /// From sending to the last token.
    pub e2e: Span,
    /// From the engine's receipt to its first iteration.
    pub waiting: Span,
    /// How often it lost its blocks.
    pub preemptions: u32,
}

/// Runs a benchmark on an idle replica; `host` is the host's time for each request before the engine
/// has it.
///
/// # Errors
/// [`TooLong`] when its longest request does not fit.
pub fn closed_loop(
    spec: &EngineSpec,
    step_time: &StepTime,
    host: Span,
    benchmark: ClosedLoop,
) -> Result<LoopTimes, TooLong> {
    let (input, output) = (benchmark.input, benchmark.output);
    let drawn = (0..benchmark.prompts).map(|number| {
        let key = mix(u64::from(benchmark.concurrency), u64::from(number));
        let input = length(input, &mut Dice::of(key, Purpose::Input));
        (input, length(output, &mut Dice::of(key, Purpose::Output)))
    });
    let replica = Replica::new(spec.clone(), Arc::new(step_time.clone()));
    if !replica.accepts(input, output) {
        return Err(TooLong { input, output });
    }
    Ok(means(&run_lanes(replica, host, benchmark.concurrency, &drawn.collect::<Vec<_>>())))
}

/// Runs `lanes` lanes that send the prompts with these lengths (of prompt and answer) in this order;
/// what became of each.
///
/// # Errors
/// [`TooLong`] for the first that does not fit.
pub fn lanes(
    spec: &EngineSpec,
    step_time: &StepTime,
    host: Span,
    lanes: u32,
    lengths: Vec<(u32, u32)>,
) -> Result<Vec<LaneTimes>, TooLong> {
    let replica = Replica::new(spec.clone(), Arc::new(step_time.clone()));
    match lengths.iter().find(|&&(input, output)| !replica.accepts(input, output)) {
        Some(&(input, output)) => Err(TooLong { input, output }),
        None => Ok(run_lanes(replica, host, lanes.max(1), &lengths)),
    }
}

/// `lanes` lanes send a prompt each at first, and the next when an answer is complete.
fn run_lanes(replica: Replica, host: Span, lanes: u32, lengths: &[(u32, u32)]) -> Vec<LaneTimes> {
    let none = LaneTimes {
        output: 0,
        ttft: Span::ZERO,
        e2e: Span::ZERO,
        waiting: Span::ZERO,
        preemptions: 0,
    };
    let mut times = vec![none; lengths.len()];
    let first = lengths.len().min(lanes as usize);
    let mut sent = vec![Time::ZERO; first];
    let receipts = (0..first as u32).map(|number| (Time::ZERO.after(host), number));
    let submission = |number, now| submission(lengths[number as usize], number, now);
    drive(replica, receipts, submission, |end, now| {
        let own = sent[end.call as usize];
        times[end.call as usize] = LaneTimes {
            output: end.outputs,
            ttft: end.first_token - own,
            e2e: end.ended - own,
            waiting: end.scheduled - own.after(host),
            preemptions: end.preemptions,
        };
        let next = sent.len();
        (next < lengths.len()).then(|| {
            sent.push(now);
            (now.after(host), next as u32)
        })
    });
    times
}

fn submission((input, output): (u32, u32), number: u32, now: Time) -> Submission {
    let id = mix(1, u64::from(number));
    Submission {
        call: number,
        arrived: now,
        prompt: input,
        outputs: output,
        // Benchmarks ask for the very length they get.
        max_tokens: output,
        ends_by_eos: false,
        priority: 0,
        segments: smallvec::smallvec![sim::workload::Segment { id, tokens: input }],
        output_segment: mix(2, u64::from(number)),
    }
}

fn means(times: &[LaneTimes]) -> LoopTimes {
    let mean = |seconds: &dyn Fn(&LaneTimes) -> Option<f64>| {
        let all: Vec<f64> = times.iter().filter_map(seconds).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    };
    LoopTimes {
        ttft: mean(&|one| Some(one.ttft.as_secs_f64())),
        tpot: mean(&|one| {
            let gaps = one.output.checked_sub(1).filter(|&gaps| gaps > 0)?;
            Some((one.e2e - one.ttft).as_secs_f64() / f64::from(gaps))
        }),
        waiting: mean(&|one| Some(one.waiting.as_secs_f64())),
        preemptions: times.iter().map(|one| u64::from(one.preemptions)).sum(),
    }
}

/// A length up to `longest`.
fn length(longest: u32, dice: &mut Dice) -> u32 {
    let least = (f64::from(longest) * LEAST_SHARE) as u32;
    let least = least.clamp(1, longest.max(1));
    let span = f64::from(longest.max(1) - least + 1);
    (least + (dice.uniform() * span) as u32).min(longest.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::engine::{Scheduling, SchedulingPolicy};
    use sim::units::{Blocks, Tokens};

    fn spec(blocks: u32) -> EngineSpec {
        EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(blocks),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(8_192),
            max_num_seqs: 256,
            max_model_len: Tokens(16_384),
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

    fn millisecond() -> StepTime {
        StepTime::constant(Span::from_millis(1)).expect("valid")
    }

    /// One lane, every iteration a millisecond: the host, then the prompt in one iteration.
    #[test]
    fn a_lane_alone_waits_for_the_host_and_its_iterations() {
        let alone = ClosedLoop { concurrency: 1, input: 1_000, output: 100, prompts: 10 };
        let host = Span::from_millis(15);
        let times = closed_loop(&spec(10_000), &millisecond(), host, alone).expect("it fits");
        assert!((times.ttft - 0.016).abs() < 1e-12, "{times:?}");
        assert!((times.tpot - 0.001).abs() < 1e-12, "{times:?}");
        assert_eq!((times.waiting, times.preemptions), (0.0, 0));
    }

    /// Sixteen prompts of 8,000 tokens start together and go one an iteration.
    #[test]
    fn lanes_that_start_together_queue_for_their_prompts() {
        let together = ClosedLoop { concurrency: 16, input: 8_000, output: 1, prompts: 16 };
        let times = closed_loop(&spec(20_000), &millisecond(), Span::ZERO, together);
        let times = times.expect("it fits");
        // Drawn lengths lie above half an iteration's tokens: the k-th prompt ends in its k-th
        // iteration, or in the one before where chunks overlap.
        assert!((0.006..=0.009).contains(&times.ttft), "{times:?}");
        assert!(times.waiting > 0.004 && times.tpot == 0.0);
    }

    #[test]
    fn too_small_a_cache_preempts_and_one_that_never_fits_is_an_error() {
        let benchmark = ClosedLoop { concurrency: 8, input: 1_000, output: 1_000, prompts: 40 };
        let times = closed_loop(&spec(400), &millisecond(), Span::ZERO, benchmark);
        assert!(times.expect("one fits").preemptions > 0);
        let never = closed_loop(&spec(100), &millisecond(), Span::ZERO, benchmark);
        assert_eq!(never, Err(TooLong { input: 1_000, output: 1_000 }));
    }

    #[test]
    fn lengths_lie_between_four_fifths_and_the_whole() {
        let drawn: Vec<u32> = (0..10_000).map(|n| length(10, &mut Dice::stream(n))).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&8), Some(&10)));
        let mean = drawn.iter().sum::<u32>() as f64 / drawn.len() as f64;
        assert!((mean - 9.0).abs() < 0.05, "{mean}");
        assert_eq!(length(1, &mut Dice::stream(1)), 1);
    }
}
