//! One serving engine: a replica and its life of iterations.
//!
//! A replica is driven from outside in three strokes. [`Replica::complete`] ends the iteration (or
//! the leap of several) under way: tokens appear, finished requests leave. [`Replica::schedule`]
//! starts the next one and sets [`Replica::boundary`], the instant at which it wants to be
//! completed. [`Replica::submit`] and [`Replica::cancel`] may come at any time in between; they act
//! at the next iteration boundary and cut a leap there. At one instant the order is: complete,
//! cancel, submit, schedule.
//!
//! Steadily decoding sequences are kept as aggregates (`batch`); only those with anything
//! special about them (a prefill chunk, a stall, the extra step after EOS) are *explicit*, with a
//! token count of their own. `docs/model/engine-scheduler.md` has the rules, [`mod@reference`] the
//! same engine without aggregates.
//!
//! Invariants: a slot in `running` is Explicit, Decoding or Lingering; `explicit` lists the first
//! and last of those in running order; an explicit sequence holds ⌈computed / block size⌉ blocks.
//!
//! Deliberately absent: time of its own, randomness, and everything outside one engine.

mod batch;
mod block_map;
mod cadence;
mod content;
mod kv_cache;
mod leap;
mod node;
mod queue;
pub mod reference;
mod scheduler;
mod sequence;
mod sglang;
mod slow_path;
mod spec;
mod step_time;
mod surface;

pub use sequence::{EndReason, Ended, EngineCounts, Submission};
pub use spec::{EngineSpec, Scheduling, SchedulingPolicy, Sglang};
pub use step_time::{DecodePace, Overheads, StepTime, StepTimeError, Surfaces, Work};
pub use surface::Surface;

use crate::ids::SeqId;
use crate::units::Time;
use batch::Batch;
use cadence::Cadence;
use kv_cache::KvCache;
use leap::Flight;
use node::Blocks;
use queue::{Key, Queue};
use sequence::{Identity, Seq, State};
use sglang::Intake;
use std::sync::Arc;

/// A hole in the running list.
const GONE: u32 = u32::MAX;

/// A serving engine.
#[derive(Clone, Debug)]
pub struct Replica {
    spec: EngineSpec,
    step_time: Arc<StepTime>,
    kv: KvCache,
    batch: Batch,
    seqs: Vec<Seq>,
    /// Token identity per slot; empty without prefix caching.
    identities: Vec<Identity>,
    vacant: Vec<u32>,
    queue: Queue,
    /// Slots in admission order, with holes.
    running: Vec<u32>,
    /// Slots in `running` that are not holes.
    live: u32,
    /// Sequences that ended by EOS and fill one more iteration.
    lingering: u32,
    explicit: Vec<u32>,
    /// `(slot, tokens)` of the explicit sequences in the iteration under way.
    scheduled: Vec<(u32, u32)>,
    /// `(slot, order)` of those given up since the last boundary.
    cancelled: Vec<(u32, u64)>,
    /// Scratch: `(admission, slot)` of those that end at this boundary.
    ending: Vec<(u64, u32)>,
    hits: Vec<Blocks>,
    flight: Flight,
    cadence: Cadence,
    /// Free blocks less those that running sequences may still need until their declared ends;
    /// kept for [`Scheduling::GuaranteedNoEvict`].
    unpromised: u32,
    /// Kept for [`Scheduling::Sglang`].
    intake: Intake,
    /// Prompt tokens of requests without a first token.
    queued_tokens: u64,
    submissions: u64,
    admissions: u64,
    counts: EngineCounts,
    /// Most blocks in use at once.
    peak_blocks: u32,
    /// Start of the iteration planned last.
    planned_at: Time,
}

impl Replica {
    /// An idle engine. `spec` keeps the promises of its field comments.
    #[must_use]
    pub fn new(spec: EngineSpec, step_time: impl Into<Arc<StepTime>>) -> Replica {
        let intake = match &spec.scheduling {
            Scheduling::Sglang(sglang) => Intake::idle(sglang),
            _ => Intake::default(),
        };
        Replica {
            intake,
            kv: KvCache::new(spec.kv_blocks.0, spec.prefix_caching),
            batch: Batch::new(spec.block_size.0),
            queue: Queue::new(spec.policy),
            cadence: Cadence::new(spec.prefill_schedule_interval),
            unpromised: spec.kv_blocks.0 - 1,
            queued_tokens: 0,
            spec,
            step_time: step_time.into(),
            seqs: Vec::new(),
            identities: Vec::new(),
            vacant: Vec::new(),
            running: Vec::new(),
            live: 0,
            lingering: 0,
            explicit: Vec::new(),
            scheduled: Vec::new(),
            cancelled: Vec::new(),
            ending: Vec::new(),
            hits: Vec::new(),
            flight: Flight::idle(),
            submissions: 0,
            admissions: 0,
            counts: EngineCounts::default(),
            peak_blocks: 0,
            planned_at: Time::ZERO,
        }
    }

    /// When the iteration or leap under way ends; [`Time::NEVER`] when idle.
    #[must_use]
    pub fn boundary(&self) -> Time {
        self.flight.boundary
    }

    /// Whether nothing is running, waiting or lingering.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.live == 0 && self.queue.len() == 0
    }

    /// Requests waiting and requests running.
    #[must_use]
    pub fn load(&self) -> (u32, u32) {
        (self.queue.len() as u32, self.live - self.lingering)
    }

    /// Whether there is no place for one more sequence.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.live >= self.spec.max_num_seqs
    }

    /// Prompt tokens of requests without a first token.
    #[must_use]
    pub fn queued_tokens(&self) -> u64 {
        self.queued_tokens
    }

    /// Counts over whole iterations completed so far.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        EngineCounts { evictions: self.kv.evictions(), ..self.counts }
    }

    /// Most blocks in use at once.
    #[must_use]
    pub fn peak_blocks(&self) -> u32 {
        self.peak_blocks
    }

    /// Blocks held by running sequences as of the last boundary that was seen.
    #[must_use]
    pub fn used_blocks(&self) -> u32 {
        self.kv.used()
    }

    /// Blocks there are, the null block left out.
    #[must_use]
    pub fn usable_blocks(&self) -> u32 {
        self.kv.usable()
    }

    /// Whether a request of this size can ever run here.
    #[must_use]
    pub fn accepts(&self, prompt: u32, outputs: u32) -> bool {
        self.spec.accepts(prompt, outputs)
    }

    /// Puts a request into the queue at `now` and returns its slot, for [`Replica::cancel`].
    pub fn submit(&mut self, now: Time, request: Submission) -> SeqId {
        debug_assert!(self.accepts(request.prompt, request.outputs), "checked by the caller");
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.seqs.push(Seq::default());
            if self.kv.prefix.is_some() {
                self.identities.push(Identity::default());
            }
            self.seqs.len() as u32 - 1
        });
        let most = self.spec.plannable(request.prompt, request.max_tokens);
        self.seqs[slot as usize] = Seq::new(&request, most, self.submissions);
        self.submissions += 1;
        self.queued_tokens += u64::from(request.prompt);
        if let Some(identity) = self.identities.get_mut(slot as usize) {
            debug_assert_eq!(identity.holding.len(), 0, "its blocks were given back");
            let size = self.spec.block_size.0;
            identity.outline.set(&request.segments, request.output_segment, size);
            identity.registered = 0;
        }
        self.queue.push(self.key(slot));
        // Anybody behind a head that could not be admitted waits with it: no need to look up.
        if self.queue.head() == Some(slot) {
            self.cut(now);
        }
        SeqId(slot)
    }

    /// Gives up the request `call` in slot `seq` at the next boundary, unless it ends before. Of
    /// one that has ended nothing is left to give up, even if its owner was not told yet.
    pub fn cancel(&mut self, now: Time, seq: SeqId, call: u32) {
        let of_slot = &self.seqs[seq.0 as usize];
        let ended = matches!(of_slot.state, State::Vacant | State::Lingering);
        if !ended && of_slot.call == call {
            self.cancelled.push((seq.0, of_slot.order));
            self.cut(now);
        }
    }

    /// Ends the iterations under way at their boundary: tokens appear and finished requests are
    /// appended to `out`.
    pub fn complete(&mut self, now: Time, out: &mut Vec<Ended>) {
        debug_assert_eq!(now, self.flight.boundary, "an iteration ends at its boundary");
        self.land();
        self.ending.clear();
        let scheduled = std::mem::take(&mut self.scheduled);
        for &(slot, _) in &scheduled {
            self.complete_explicit(slot, now);
        }
        if !scheduled.is_empty() {
            let seqs = &self.seqs;
            self.explicit.retain(|&slot| seqs[slot as usize].state != State::Decoding);
        }
        self.scheduled = scheduled;
        self.scheduled.clear();
        let mut taken = 0;
        while let Some(end) = self.batch.first_end() {
            // Its sequence lies in a far cache: looked at only when the entry could be stale.
            let valid = self.batch.is_current(taken)
                || self.seqs[end.slot() as usize].decodes_until(end.at(), end.admission());
            if valid && end.at() > self.batch.clock() {
                break;
            }
            self.batch.pop_end();
            if valid {
                taken += 1;
                self.ending.push((end.admission(), end.slot()));
            }
        }
        // Blocks are given back in running order, which decides what is evicted first.
        if self.ending.len() > 1 {
            self.ending.sort_unstable();
            self.ending.dedup();
        }
        let ending = std::mem::take(&mut self.ending);
        for &(_, slot) in &ending {
            self.finish(slot, now, out);
        }
        self.ending = ending;
    }

    /// The end of an iteration for an explicit sequence that was part of it.
    fn complete_explicit(&mut self, slot: u32, now: Time) {
        let seq = &mut self.seqs[slot as usize];
        if seq.state == State::Lingering {
            self.ending.push((seq.admission, slot));
            return;
        }
        if seq.computed < seq.len() {
            return;
        }
        seq.outputs += 1;
        if seq.outputs == 1 {
            seq.first_token = now;
            self.queued_tokens -= u64::from(seq.prompt);
        }
        if seq.preempted_at != Time::NEVER {
            seq.recover(now);
        }
        if seq.outputs == seq.target {
            self.ending.push((seq.admission, slot));
            return;
        }
        seq.state = State::Decoding;
        seq.computed_at_zero = u64::from(seq.computed).wrapping_sub(self.batch.clock());
        let left = seq.target - seq.outputs;
        seq.ends_at = self.batch.join(seq.computed, left, seq.admission, slot);
    }

    /// A sequence has written its last token, or has lingered long enough.
    fn finish(&mut self, slot: u32, now: Time, out: &mut Vec<Ended>) {
        self.make_explicit(slot);
        let lingers = self.spec.async_scheduling;
        let seq = &mut self.seqs[slot as usize];
        if seq.state == State::Lingering {
            self.lingering -= 1;
            self.remove(slot);
            return;
        }
        seq.outputs = seq.target;
        out.push(seq.ended(now, EndReason::Finished));
        if lingers && seq.ends_by_eos {
            seq.state = State::Lingering;
            self.lingering += 1;
        } else {
            self.remove(slot);
        }
    }

    /// Gives a running sequence a token count of its own.
    fn make_explicit(&mut self, slot: u32) {
        let clock = self.batch.clock();
        let seq = &mut self.seqs[slot as usize];
        if seq.state != State::Decoding {
            return;
        }
        seq.computed = seq.computed_at_zero.wrapping_add(clock) as u32;
        seq.outputs = seq.computed + 1 - seq.prompt;
        seq.state = State::Explicit;
        seq.is_prefill_chunk = false;
        self.batch.leave(seq.computed);
        let held = seq.computed.div_ceil(self.spec.block_size.0);
        let admission = seq.admission;
        if let (Some(prefix), Some(identity)) =
            (&mut self.kv.prefix, self.identities.get_mut(slot as usize))
        {
            prefix.settle(&mut identity.holding, identity.outline.runs(), held);
        }
        let at = self.explicit.partition_point(|&s| self.seqs[s as usize].admission < admission);
        self.explicit.insert(at, slot);
    }

    /// Takes an explicit sequence out of the engine and frees its slot.
    fn remove(&mut self, slot: u32) {
        self.leave_running(slot, true);
        self.seqs[slot as usize].state = State::Vacant;
        self.vacant.push(slot);
    }

    /// Takes an explicit sequence out of the running list and gives its blocks back. Those it has
    /// filled since its prompt was computed are worth keeping only if `keeps`.
    fn leave_running(&mut self, slot: u32, keeps: bool) {
        self.explicit.retain(|&other| other != slot);
        self.intake.left = true;
        let free = self.kv.free();
        self.give_back(slot, keeps);
        if matches!(self.spec.scheduling, Scheduling::GuaranteedNoEvict) {
            let size = self.spec.block_size.0;
            let held = self.seqs[slot as usize].computed.div_ceil(size);
            self.unpromised += self.kv.free() - free + self.promised(slot) - held;
        }
        let at = self.seqs[slot as usize].running_at as usize;
        self.running[at] = GONE;
        self.live -= 1;
        while self.running.last() == Some(&GONE) {
            self.running.pop();
        }
        if self.running.len() > 2 * self.live as usize + 32 {
            self.running.retain(|&s| s != GONE);
            for (at, &s) in self.running.iter().enumerate() {
                self.seqs[s as usize].running_at = at as u32;
            }
        }
    }

    /// Gives back the blocks of an explicit sequence; full ones keep their content.
    fn give_back(&mut self, slot: u32, keeps: bool) {
        let seq = &self.seqs[slot as usize];
        let size = self.spec.block_size.0;
        // The token that ended a lingering sequence is never shared.
        let known = seq.computed.min(seq.len() - u32::from(seq.state == State::Lingering));
        let computed = seq.computed;
        if keeps {
            self.register(slot, known / size);
        }
        match self.identities.get_mut(slot as usize) {
            Some(identity) => self.kv.release(&mut identity.holding),
            None => self.kv.release_counted(computed.div_ceil(size)),
        }
    }

    /// Gives the first `full` blocks of a sequence their content, as far as they lack it.
    fn register(&mut self, slot: u32, full: u32) {
        let (Some(prefix), Some(identity)) =
            (&mut self.kv.prefix, self.identities.get_mut(slot as usize))
        else {
            return;
        };
        if identity.registered < full {
            prefix.register(&identity.holding, identity.outline.runs(), full);
            identity.registered = full;
        }
    }

    /// Blocks that a sequence holds if it writes as much as it may.
    fn promised(&self, slot: u32) -> u32 {
        let seq = &self.seqs[slot as usize];
        (seq.prompt + seq.most).div_ceil(self.spec.block_size.0)
    }

    fn key(&self, slot: u32) -> Key {
        let seq = &self.seqs[slot as usize];
        (seq.priority, seq.arrived, seq.order, slot)
    }

    /// Recounts blocks and sequences: what must hold at every boundary.
    ///
    /// # Panics
    /// When an invariant of the engine is broken, which is a bug of this crate.
    pub fn check(&self) {
        self.kv.check();
        let live = self.running.iter().filter(|&&slot| slot != GONE).count();
        assert_eq!(live, self.live as usize);
        assert_eq!(live, self.explicit.len() + self.batch.count() as usize);
        let waiting = self.seqs.iter().filter(|seq| seq.state == State::Queued).count();
        assert_eq!(waiting, self.queue.len());
        let queued =
            |seq: &&Seq| !matches!(seq.state, State::Vacant | State::Decoding) && seq.outputs == 0;
        let tokens: u64 = self.seqs.iter().filter(queued).map(|seq| u64::from(seq.prompt)).sum();
        assert_eq!(tokens, self.queued_tokens, "prompt tokens without a first token");
        if live == 0 {
            assert_eq!(self.kv.used(), 0, "blocks outlive their sequences");
        }
    }
}
