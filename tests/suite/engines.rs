//! Drives either engine through a workload and records what it did; random schedulers.

use proptest::prelude::*;
use sim::engine::reference::{ReferenceReplica, StepLog};
use sim::engine::{
    Ended, EngineCounts, EngineSpec, Replica, Scheduling, SchedulingPolicy, Sglang, StepTime,
    Submission,
};
use sim::ids::SeqId;
use sim::units::{Blocks, Time, Tokens};
use std::collections::BTreeMap;

/// What the tests ask of an engine; the fast one and the reference have it.
pub(crate) trait Engine {
    fn boundary(&self) -> Time;
    fn submit(&mut self, now: Time, request: Submission);
    fn cancel(&mut self, now: Time, call: u32);
    fn complete(&mut self, now: Time, out: &mut Vec<Ended>);
    fn schedule(&mut self, now: Time, out: &mut Vec<Ended>);
    fn counts(&self) -> EngineCounts;
    fn used_blocks(&self) -> u32;
    fn queued_tokens(&self) -> u64;
    fn peak_blocks(&self) -> u32;
    /// What the iteration just scheduled holds; only the reference knows.
    fn step_log(&self) -> StepLog {
        StepLog::default()
    }
}

impl Engine for ReferenceReplica {
    fn boundary(&self) -> Time {
        self.boundary()
    }
    fn submit(&mut self, _now: Time, request: Submission) {
        self.submit(request);
    }
    fn cancel(&mut self, _now: Time, call: u32) {
        self.cancel(call);
    }
    fn complete(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.complete(now, out);
    }
    fn schedule(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.schedule(now, out);
    }
    fn counts(&self) -> EngineCounts {
        self.counts()
    }
    fn used_blocks(&self) -> u32 {
        self.used_blocks()
    }
    fn queued_tokens(&self) -> u64 {
        self.queued_tokens()
    }
    fn peak_blocks(&self) -> u32 {
        self.peak_blocks()
    }
    fn step_log(&self) -> StepLog {
        self.last_step().clone()
    }
}

/// The fast engine, with the slot of each call at hand.
pub(crate) struct Fast {
    pub(crate) replica: Replica,
    slots: BTreeMap<u32, SeqId>,
    /// Instants at which to look at it, rising, from the last; also amid a leap.
    probes: Vec<Time>,
    /// What was seen there: counts and blocks in use.
    pub(crate) probed: BTreeMap<Time, (EngineCounts, u32)>,
}

impl Fast {
    pub(crate) fn new(spec: EngineSpec, step_time: StepTime) -> Fast {
        let replica = Replica::new(spec, step_time);
        Fast { replica, slots: BTreeMap::new(), probes: Vec::new(), probed: BTreeMap::new() }
    }

    /// Looks at the engine at each of these instants.
    pub(crate) fn probed_at(self, instants: impl DoubleEndedIterator<Item = Time>) -> Fast {
        Fast { probes: instants.rev().collect(), ..self }
    }
}

impl Engine for Fast {
    fn boundary(&self) -> Time {
        self.replica.boundary()
    }
    fn submit(&mut self, now: Time, request: Submission) {
        let call = request.call;
        self.slots.insert(call, self.replica.submit(now, request));
    }
    fn cancel(&mut self, now: Time, call: u32) {
        if let Some(&slot) = self.slots.get(&call) {
            self.replica.cancel(now, slot, call);
        }
    }
    fn complete(&mut self, now: Time, out: &mut Vec<Ended>) {
        while let Some(probe) = self.probes.pop_if(|probe| *probe < now) {
            let seen = (self.replica.counts_at(probe), self.replica.used_blocks_at(probe));
            self.probed.insert(probe, seen);
        }
        self.replica.complete(now, out);
        self.replica.check();
    }
    fn schedule(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.replica.schedule(now, out);
    }
    fn counts(&self) -> EngineCounts {
        self.replica.counts()
    }
    fn used_blocks(&self) -> u32 {
        self.replica.used_blocks()
    }
    fn queued_tokens(&self) -> u64 {
        self.replica.queued_tokens()
    }
    fn peak_blocks(&self) -> u32 {
        self.replica.peak_blocks()
    }
}

/// Runs `requests` (by arrival) and `cancels` (`(instant, call)`, by instant) until the engine is
/// idle and nothing is left. At one instant: finish, cancel, arrive, schedule. `seen` is called
/// after every scheduling that started an iteration.
pub(crate) fn drive<E: Engine>(
    engine: &mut E,
    requests: Vec<Submission>,
    cancels: &[(Time, u32)],
    mut seen: impl FnMut(&E, Time),
) -> Vec<Ended> {
    let mut ended = Vec::new();
    let mut requests = requests.into_iter().peekable();
    let mut cancels = cancels.iter().peekable();
    loop {
        let arrival = requests.peek().map_or(Time::NEVER, |r| r.arrived);
        let cancel = cancels.peek().map_or(Time::NEVER, |c| c.0);
        let boundary = engine.boundary();
        let now = boundary.min(arrival).min(cancel);
        if now == Time::NEVER {
            return ended;
        }
        if boundary == now {
            engine.complete(now, &mut ended);
        }
        while let Some((_, call)) = cancels.next_if(|c| c.0 == now) {
            engine.cancel(now, *call);
        }
        while let Some(request) = requests.next_if(|r| r.arrived == now) {
            engine.submit(now, request);
        }
        if boundary == now || engine.boundary() == Time::NEVER {
            engine.schedule(now, &mut ended);
            if engine.boundary() != Time::NEVER {
                seen(engine, now);
            }
        }
    }
}

/// Every scheduler, with settings of its own.
pub(crate) fn schedulings() -> impl Strategy<Value = Scheduling> {
    let sglang = (any::<bool>(), 0u32..=1_000_000_000, 0u32..=1_000_000_000, 0u32..50_000_000);
    let sglang = sglang.prop_map(|(longest_prefix_match, one, other, decay)| {
        Scheduling::Sglang(Sglang {
            longest_prefix_match,
            init_new_token_ratio: one.max(other),
            min_new_token_ratio: one.min(other),
            new_token_ratio_decay: decay,
        })
    });
    prop_oneof![
        4 => Just(Scheduling::Vllm),
        2 => Just(Scheduling::GuaranteedNoEvict),
        2 => Just(Scheduling::MaxUtilization),
        3 => sglang,
    ]
}

/// The settings with those knobs put right that the engine lacks.
pub(crate) fn under(scheduling: Scheduling, spec: EngineSpec) -> EngineSpec {
    let size = spec.block_size.0;
    let budget = spec.max_num_batched_tokens.0;
    let (budget, asynchronous) = match scheduling {
        Scheduling::Vllm => return spec,
        Scheduling::Sglang(_) => (budget.next_multiple_of(size), false),
        _ => (budget.max(spec.max_num_seqs).max(size), spec.async_scheduling),
    };
    EngineSpec {
        scheduling,
        max_num_batched_tokens: Tokens(budget),
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: true,
        long_prefill_token_threshold: Tokens(0),
        async_scheduling: asynchronous,
        prefill_schedule_interval: 1,
        // SGLang keeps a block and a token free.
        max_model_len: Tokens(spec.max_model_len.0.min((spec.kv_blocks.0 - 3) * size).max(8)),
        ..spec
    }
}
