//! A cell of a probe on a simulated replica.
//!
//! Lanes start as far apart as they did and pause as long as they did between an answer and the next
//! prompt; when an answer comes is up to the replica. So which prompts share an iteration is decided
//! as it was, whatever the iteration takes: the first to arrive at an idle engine goes alone, and
//! those that arrive meanwhile go together.
//!
//! Invariants: every request is answered once; the same cell on the same replica gives the same
//! times, to the picosecond.
//!
//! Deliberately absent: requests that fail (their cells are left out).

use super::recorded::Loop;
use sim::dice::mix;
use sim::engine::{Ended, EngineSpec, Replica, StepTime, Submission};
use sim::units::{Blocks, Span, Time};
use sim::workload::{Segment, Segments};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Identity of the tokens that all prompts of a cell begin with.
const PREFIX: u64 = 0x9ef1;

/// Times of a cell in seconds, each in rising order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Times {
    pub(super) ttft: Vec<f64>,
    pub(super) tpot: Vec<f64>,
}

/// The engine with blocks enough that no request of the cell waits for one: a probe means to see
/// iterations and not a full cache.
pub(super) fn roomy(spec: &EngineSpec, of: &Loop) -> EngineSpec {
    let longest =
        of.lanes.iter().flatten().map(|asked| asked.prompt.saturating_add(asked.output)).max();
    let longest = longest.unwrap_or(1).saturating_add(1);
    let blocks = longest.div_ceil(spec.block_size.0.max(1)).saturating_add(1);
    let lanes = u32::try_from(of.lanes.len()).unwrap_or(u32::MAX).saturating_add(1);
    let mut spec = spec.clone();
    spec.kv_blocks = Blocks(blocks.saturating_mul(lanes).saturating_mul(2).max(2));
    spec.max_model_len.0 = spec.max_model_len.0.max(longest.saturating_add(1));
    // Cold prompts share nothing, and what each leaves behind only costs time to look through.
    spec.prefix_caching = of.prefix > 0;
    spec
}

/// Runs a cell; `host` is what a request takes before the engine has it. `None` when a request never
/// fits.
pub(super) fn simulate(
    spec: &EngineSpec,
    step_time: &Arc<StepTime>,
    host: Span,
    of: &Loop,
) -> Option<Times> {
    let replica = Replica::new(roomy(spec, of), Arc::clone(step_time));
    if of.lanes.iter().flatten().any(|asked| !replica.accepts(asked.prompt, asked.output)) {
        return None;
    }
    let lanes = vec![Lane { next: 0, sent: Time::ZERO }; of.lanes.len()];
    let mut run =
        Run { of, host, replica, lanes, on_the_way: BTreeSet::new(), times: Times::default() };
    let began = run.fill_cache();
    run.finish(began);
    run.times.ttft.sort_by(f64::total_cmp);
    run.times.tpot.sort_by(f64::total_cmp);
    Some(run.times)
}

#[derive(Clone, Copy)]
struct Lane {
    /// Number of the request under way.
    next: usize,
    /// When that was sent.
    sent: Time,
}

struct Run<'a> {
    of: &'a Loop,
    host: Span,
    replica: Replica,
    lanes: Vec<Lane>,
    /// When the engine gets a request, and from which lane.
    on_the_way: BTreeSet<(Time, usize)>,
    times: Times,
}

impl Run<'_> {
    /// The request that is sent before the lanes start; when it is answered.
    fn fill_cache(&mut self) -> Time {
        let mut now = Time::ZERO;
        if self.of.prefix == 0 {
            return now;
        }
        // One token more than is shared: an engine always computes at least one.
        self.replica.submit(now, submission(u32::MAX, self.of.prefix + 1, 1, self.of.prefix));
        let mut ended = Vec::new();
        self.replica.schedule(now, &mut ended);
        while ended.is_empty() && self.replica.boundary() != Time::NEVER {
            now = self.replica.boundary();
            self.replica.complete(now, &mut ended);
            self.replica.schedule(now, &mut ended);
        }
        now
    }

    fn finish(&mut self, began: Time) {
        for lane in 0..self.lanes.len() {
            self.send(lane, began);
        }
        let mut ended = Vec::new();
        loop {
            let arrival = self.on_the_way.first().map_or(Time::NEVER, |&(at, _)| at);
            let now = self.replica.boundary().min(arrival);
            if now == Time::NEVER {
                return;
            }
            if self.replica.boundary() == now {
                self.replica.complete(now, &mut ended);
                self.answer(&mut ended);
            }
            while let Some(&(at, lane)) = self.on_the_way.first()
                && at == now
            {
                self.on_the_way.pop_first();
                self.receive(lane, now);
            }
            if self.replica.boundary() == Time::NEVER {
                self.replica.schedule(now, &mut ended);
                self.answer(&mut ended);
            }
        }
    }

    /// A lane sends its next prompt, if it has one left, after its pause.
    fn send(&mut self, lane: usize, free: Time) {
        let Some(asked) = self.of.lanes[lane].get(self.lanes[lane].next) else { return };
        let sent = free.after(asked.pause);
        self.lanes[lane].sent = sent;
        self.on_the_way.insert((sent.after(self.host), lane));
    }

    fn receive(&mut self, lane: usize, now: Time) {
        let asked = self.of.lanes[lane][self.lanes[lane].next];
        let mut request = submission(lane as u32, asked.prompt, asked.output, asked.cached);
        request.arrived = now;
        let own = mix(lane as u64 + 1, self.lanes[lane].next as u64);
        request.output_segment = mix(own, 1);
        if let Some(tail) = request.segments.last_mut() {
            tail.id = own;
        }
        self.replica.submit(now, request);
    }

    fn answer(&mut self, ended: &mut Vec<Ended>) {
        for end in ended.drain(..) {
            let lane = end.call as usize;
            let sent = self.lanes[lane].sent;
            self.times.ttft.push((end.first_token - sent).as_secs_f64());
            if end.outputs > 1 {
                let decoding = (end.ended - end.first_token).as_secs_f64();
                self.times.tpot.push(decoding / f64::from(end.outputs - 1));
            }
            self.lanes[lane].next += 1;
            self.send(lane, end.ended);
        }
    }
}

/// A request whose first `shared` tokens are those of the cell's prefix.
fn submission(call: u32, prompt: u32, outputs: u32, shared: u32) -> Submission {
    let mut segments = Segments::new();
    if shared > 0 {
        segments.push(Segment { id: PREFIX, tokens: shared });
    }
    segments.push(Segment { id: mix(PREFIX, u64::from(call)), tokens: prompt - shared });
    Submission {
        call,
        arrived: Time::ZERO,
        prompt,
        outputs,
        max_tokens: outputs,
        ends_by_eos: false,
        priority: 0,
        segments,
        output_segment: mix(PREFIX, 2),
    }
}
