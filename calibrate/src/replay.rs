//! A recorded run of an engine, replayed on a replica: the same arrivals and lengths, other times.
//!
//! Requests arrive when they did, whatever the replica does; each stays on the host first. Their
//! answers run to the recorded length.
//!
//! Invariants: every request is answered once, unless it never fits; the same run on the same
//! replica gives the same times, to the picosecond.
//!
//! Deliberately absent: clients that would have sent less to a slower engine, cancelled requests.

use crate::drive::drive;
use sim::dice::mix;
use sim::engine::{Ended, EngineSpec, Replica, StepTime, Submission};
use sim::units::{Span, Time};
use sim::workload::{Segment, Segments};
use std::sync::Arc;

/// A request to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// When it reaches the host.
    pub arrival: Time,
    /// Prompt tokens, at least 1.
    pub input: u32,
    /// Answer tokens, at least 1.
    pub output: u32,
    /// Leading prompt tokens that it shares with all requests of its group.
    pub shared: u32,
    /// Which requests share them.
    pub group: u32,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayTimes {
    /// From arrival to the first token.
    pub ttft: Span,
    /// From arrival to the last.
    pub e2e: Span,
    /// From the engine's receipt to its first iteration.
    pub queue: Span,
}

/// Replays `requests`, in any order, on an idle replica; `host` is the host's time for a request
/// before the engine has it, by its prompt. The times are in the order of the requests; `None` for
/// one that never fits.
#[must_use]
pub fn replay(
    spec: &EngineSpec,
    step_time: &StepTime,
    host: impl Fn(u32) -> Span,
    requests: &[Replayed],
) -> Vec<Option<ReplayTimes>> {
    let replica = Replica::new(spec.clone(), Arc::new(step_time.clone()));
    let mut times = vec![None; requests.len()];
    let received: Vec<(Time, u32)> = requests
        .iter()
        .zip(0u32..)
        .filter(|(request, _)| replica.accepts(request.input, request.output))
        .map(|(request, number)| (request.arrival.after(host(request.input)), number))
        .collect();
    let submission = |number: u32, now| submission(&requests[number as usize], number, now);
    drive(replica, received, submission, |end, _| {
        times[end.call as usize] = Some(times_of(&requests[end.call as usize], end, &host));
        None
    });
    times
}

fn submission(request: &Replayed, number: u32, now: Time) -> Submission {
    let own = mix(u64::MAX, u64::from(number));
    let mut segments = Segments::new();
    let shared = request.shared.min(request.input - 1);
    if shared > 0 {
        segments.push(Segment { id: u64::from(request.group), tokens: shared });
    }
    segments.push(Segment { id: own, tokens: request.input - shared });
    Submission {
        call: number,
        arrived: now,
        prompt: request.input,
        outputs: request.output,
        max_tokens: request.output,
        ends_by_eos: false,
        priority: 0,
        segments,
        output_segment: mix(own, 1),
    }
}

fn times_of(request: &Replayed, end: &Ended, host: &impl Fn(u32) -> Span) -> ReplayTimes {
    ReplayTimes {
        ttft: end.first_token - request.arrival,
        e2e: end.ended - request.arrival,
        queue: end.scheduled - request.arrival.after(host(request.input)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::engine::{Scheduling, SchedulingPolicy};
    use sim::units::{Blocks, Tokens};

    fn spec() -> EngineSpec {
        EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(1_000),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(512),
            max_num_seqs: 2,
            max_model_len: Tokens(2_048),
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

    fn request(ms: u64, input: u32, output: u32, shared: u32) -> Replayed {
        let arrival = Time::ZERO.after(Span::from_millis(ms));
        Replayed { arrival, input, output, shared, group: 7 }
    }

    fn replayed(requests: &[Replayed]) -> Vec<Option<(u64, u64, u64)>> {
        let step_time = StepTime::constant(Span::from_millis(10)).expect("valid");
        let host = |_| Span::from_millis(3);
        let ms = |span: Span| span.0 / 1_000_000_000;
        let times = replay(&spec(), &step_time, host, requests);
        times.iter().map(|t| t.map(|t| (ms(t.ttft), ms(t.e2e), ms(t.queue)))).collect()
    }

    /// Three on two places, iterations of 10 ms from 3 ms on, after 3 ms of host: the third, received
    /// at 5, waits until the first ends at 33.
    #[test]
    fn requests_wait_for_places_and_the_host() {
        let requests = [request(0, 100, 3, 0), request(1, 100, 9, 0), request(2, 100, 1, 0)];
        let times = replayed(&requests);
        assert_eq!(times[0], Some((13, 33, 0)));
        assert_eq!(times[1], Some((22, 102, 9)));
        assert_eq!(times[2], Some((41, 41, 28)));
    }

    /// A prompt of two iterations takes one when most of it is there already.
    #[test]
    fn shared_prompts_are_computed_once_and_what_never_fits_has_no_times() {
        let requests =
            [request(0, 1_000, 1, 900), request(1_000, 1_000, 1, 900), request(0, 3_000, 1, 0)];
        assert_eq!(replayed(&requests), [Some((23, 23, 0)), Some((13, 13, 0)), None]);
    }
}
