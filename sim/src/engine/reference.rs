//! The slow, obvious engine: one loop over sequences per iteration, one list entry per block.
//!
//! It follows each engine's scheduler step by step as `docs/model/engine-scheduler.md` and
//! `docs/model/other-schedulers.md` describe them, keeps no aggregates and never leaps. Golden
//! cases pin it to the real scheduler of vLLM 0.33.0; the property tests pin [`super::Replica`]
//! to it.
//!
//! Deliberately absent: speed. It is for tests, and for anybody who wants to read what the fast
//! engine means.

mod pool;
mod sglang;
mod trtllm;
mod vllm;

use super::content::Chain;
use super::sequence::{EndReason, Ended, EngineCounts, Submission, chunk_pairs, hit_ppm};
use super::spec::{EngineSpec, Scheduling, SchedulingPolicy};
use super::step_time::{StepTime, Work};
use crate::units::{Span, Time};
use pool::Pool;
use std::collections::VecDeque;

/// A request and its progress.
#[derive(Clone, Debug)]
struct Seq {
    request: Submission,
    /// Order of submission, the last tie-break.
    order: u64,
    /// Tokens written.
    outputs: u32,
    /// Tokens whose KV is computed or scheduled.
    computed: u32,
    blocks: Vec<usize>,
    /// Blocks of it that carry their hash.
    registered: usize,
    chain: Chain,
    /// Tokens scheduled in the iteration under way.
    scheduled_now: u32,
    /// When it was last scheduled, known tokens were left over.
    is_prefill_chunk: bool,
    /// It has ended by EOS and fills one more iteration.
    lingering: bool,
    /// When it lost its blocks, until its next token; else [`Time::NEVER`].
    preempted_at: Time,
    ended: Ended,
}

impl Seq {
    fn len(&self) -> u32 {
        self.request.prompt + self.outputs
    }
    /// Identity of its block `index`.
    fn hash(&mut self, index: usize, size: u32) -> u64 {
        let Submission { segments, output_segment, .. } = &self.request;
        self.chain.hash(index, size, segments, *output_segment)
    }
    fn key(&self) -> (i32, Time, u64) {
        (self.request.priority, self.request.arrived, self.order)
    }
}

/// What one iteration did, for step-by-step comparison.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StepLog {
    /// Tokens scheduled per call, in running order.
    pub scheduled: Vec<(u32, u32)>,
    /// Calls preempted, in order.
    pub preempted: Vec<u32>,
    /// Blocks in use after scheduling, the null block left out.
    pub used_blocks: u32,
}

/// The reference engine.
#[derive(Clone, Debug)]
pub struct ReferenceReplica {
    spec: EngineSpec,
    step_time: StepTime,
    pool: Pool,
    waiting: VecDeque<Seq>,
    running: Vec<Seq>,
    cancelled: Vec<u32>,
    submitted: u64,
    boundary: Time,
    /// Start of the iteration planned last.
    planned_at: Time,
    last_step: StepLog,
    /// Iterations that held any tokens, and the number of the last one that held prefill.
    executed_steps: i64,
    last_prefill_step: i64,
    /// The last iteration that did not hold prefill back left somebody waiting.
    capacity_bound: bool,
    memory: sglang::Memory,
    counts: EngineCounts,
    peak_blocks: u32,
}

impl ReferenceReplica {
    /// An idle engine.
    #[must_use]
    pub fn new(spec: EngineSpec, step_time: StepTime) -> ReferenceReplica {
        let mut engine = ReferenceReplica {
            pool: Pool::new(spec.kv_blocks.0),
            executed_steps: 0,
            last_prefill_step: -i64::from(spec.prefill_schedule_interval),
            capacity_bound: false,
            memory: sglang::Memory::default(),
            spec,
            step_time,
            waiting: VecDeque::new(),
            running: Vec::new(),
            cancelled: Vec::new(),
            submitted: 0,
            boundary: Time::NEVER,
            planned_at: Time::ZERO,
            last_step: StepLog::default(),
            counts: EngineCounts::default(),
            peak_blocks: 0,
        };
        engine.rest();
        engine
    }

    /// End of the iteration under way; [`Time::NEVER`] when idle.
    #[must_use]
    pub fn boundary(&self) -> Time {
        self.boundary
    }

    /// What the iteration under way holds.
    #[must_use]
    pub fn last_step(&self) -> &StepLog {
        &self.last_step
    }

    /// Counts so far.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        EngineCounts { evictions: self.pool.evictions, ..self.counts }
    }

    /// Most blocks in use at once.
    #[must_use]
    pub fn peak_blocks(&self) -> u32 {
        self.peak_blocks
    }

    /// Blocks in use, the null block left out.
    #[must_use]
    pub fn used_blocks(&self) -> u32 {
        self.spec.kv_blocks.0 - 1 - self.pool.free.len() as u32
    }

    /// Puts a request into the queue.
    pub fn submit(&mut self, request: Submission) {
        let ended = Ended {
            call: request.call,
            reason: EndReason::Finished,
            scheduled: Time::NEVER,
            first_token: Time::NEVER,
            ended: Time::NEVER,
            outputs: 0,
            hit_tokens: 0,
            preemptions: 0,
            stalled: (Span::ZERO, Span::ZERO),
        };
        let seq = Seq {
            request,
            order: self.submitted,
            outputs: 0,
            computed: 0,
            blocks: Vec::new(),
            registered: 0,
            chain: Chain::default(),
            scheduled_now: 0,
            is_prefill_chunk: false,
            lingering: false,
            preempted_at: Time::NEVER,
            ended,
        };
        self.submitted += 1;
        self.enqueue(seq, false);
    }

    /// Gives a request up at the next boundary.
    pub fn cancel(&mut self, call: u32) {
        self.cancelled.push(call);
    }

    fn enqueue(&mut self, seq: Seq, preempted: bool) {
        let sglang = matches!(self.spec.scheduling, Scheduling::Sglang(_));
        match self.spec.policy {
            SchedulingPolicy::Fcfs if preempted && !sglang => self.waiting.push_front(seq),
            SchedulingPolicy::Fcfs => self.waiting.push_back(seq),
            SchedulingPolicy::Priority => {
                let at = self.waiting.partition_point(|other| other.key() < seq.key());
                self.waiting.insert(at, seq);
            }
        }
    }

    /// Ends the iteration under way: tokens appear, finished requests leave.
    pub fn complete(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.boundary = Time::NEVER;
        for mut seq in std::mem::take(&mut self.running) {
            let scheduled = std::mem::take(&mut seq.scheduled_now) > 0;
            if seq.lingering {
                if scheduled {
                    self.pool.release(&mut seq.blocks);
                } else {
                    self.running.push(seq);
                }
                continue;
            }
            if scheduled && seq.computed == seq.len() {
                seq.outputs += 1;
                let first = seq.outputs == 1;
                if first {
                    seq.ended.first_token = now;
                }
                if seq.preempted_at != Time::NEVER {
                    let (before, after) = &mut seq.ended.stalled;
                    *(if first { before } else { after }) += now - seq.preempted_at;
                    seq.preempted_at = Time::NEVER;
                }
            }
            if seq.outputs < seq.request.outputs {
                self.running.push(seq);
                continue;
            }
            self.memory.left = true;
            seq.ended.ended = now;
            seq.ended.outputs = seq.outputs;
            out.push(seq.ended);
            if self.spec.async_scheduling && seq.request.ends_by_eos {
                seq.lingering = true;
                self.running.push(seq);
            } else {
                let computed = seq.computed;
                register(&self.spec, &mut self.pool, &mut seq, computed);
                self.pool.release(&mut seq.blocks);
            }
        }
    }

    /// Starts the next iteration at `now`, or goes idle.
    pub fn schedule(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.drop_cancelled(now, out);
        self.last_step = StepLog::default();
        self.planned_at = now;
        if self.running.is_empty() && self.waiting.is_empty() {
            self.boundary = Time::NEVER;
            self.rest();
            return;
        }
        match self.spec.scheduling {
            Scheduling::Vllm => self.schedule_vllm(now),
            Scheduling::GuaranteedNoEvict => self.schedule_trtllm(now),
            Scheduling::MaxUtilization => {
                self.pause();
                self.schedule_trtllm(now);
            }
            Scheduling::Sglang(sglang) => self.schedule_sglang(sglang, now),
        }
        let mut work = Work::default();
        for seq in self.running.iter().filter(|seq| seq.scheduled_now > 0) {
            let (n, before) = (seq.scheduled_now, seq.computed - seq.scheduled_now);
            self.last_step.scheduled.push((seq.request.call, n));
            self.counts.scheduled_tokens += u64::from(n);
            if n == 1 && seq.computed >= seq.len() {
                work.decodes += 1;
                work.kv_tokens += u64::from(seq.computed);
            } else {
                work.prefill_tokens += n;
                work.prefill_pairs += chunk_pairs(before, n);
            }
        }
        self.last_step.used_blocks = self.used_blocks();
        self.peak_blocks = self.peak_blocks.max(self.last_step.used_blocks);
        self.counts.iterations += 1;
        let span = self.step_time.iteration(work);
        self.counts.busy += u128::from(span.0);
        self.boundary = now + span;
    }

    /// The engine has nothing to do.
    fn rest(&mut self) {
        if let Scheduling::Sglang(sglang) = self.spec.scheduling {
            self.rest_sglang(sglang);
        }
    }

    fn drop_cancelled(&mut self, now: Time, out: &mut Vec<Ended>) {
        let cancelled = std::mem::take(&mut self.cancelled);
        for call in cancelled {
            let queued = self.waiting.iter().position(|seq| seq.request.call == call);
            let running =
                self.running.iter().position(|seq| seq.request.call == call && !seq.lingering);
            let mut seq = match (queued, running) {
                (Some(at), _) => self.waiting.remove(at).expect("the position was just found"),
                (None, Some(at)) => {
                    self.memory.left = true;
                    let mut seq = self.running.remove(at);
                    let computed = seq.computed;
                    register(&self.spec, &mut self.pool, &mut seq, computed);
                    seq
                }
                (None, None) => continue,
            };
            self.pool.release(&mut seq.blocks);
            let (reason, outputs) = (EndReason::Cancelled, seq.outputs);
            out.push(Ended { reason, outputs, ended: now, ..seq.ended });
        }
    }

    fn preempt(&mut self, victim: usize) {
        let mut seq = self.running.remove(victim);
        self.pool.release(&mut seq.blocks);
        self.last_step.preempted.push(seq.request.call);
        self.counts.preemptions += 1;
        seq.computed = 0;
        seq.registered = 0;
        seq.scheduled_now = 0;
        seq.ended.preemptions += 1;
        if seq.preempted_at == Time::NEVER {
            seq.preempted_at = self.planned_at;
        }
        if !seq.lingering {
            self.enqueue(seq, true);
        }
    }

    fn missing_blocks(&self, seq: &Seq, n: u32) -> usize {
        let needed = (seq.computed + n).div_ceil(self.spec.block_size.0) as usize;
        needed.saturating_sub(seq.blocks.len())
    }

    /// Gives the running sequence at `at` its blocks for `n` more tokens and registers full ones.
    fn grow(&mut self, at: usize, n: u32) {
        let missing = self.missing_blocks(&self.running[at], n);
        let seq = &mut self.running[at];
        for _ in 0..missing {
            seq.blocks.push(self.pool.take_free());
        }
        seq.computed += n;
        seq.scheduled_now = n;
        seq.is_prefill_chunk = seq.computed < seq.len();
        if !matches!(self.spec.scheduling, Scheduling::Sglang(_)) {
            // The token that ended a lingering sequence is never shared.
            let known = seq.computed.min(seq.len() - u32::from(seq.lingering));
            register(&self.spec, &mut self.pool, seq, known);
        }
    }

    /// Cached blocks that the request at this place of the queue can use.
    fn find_hits(&mut self, at: usize) -> Vec<usize> {
        let seq = &mut self.waiting[at];
        let mut hits = Vec::new();
        if self.spec.prefix_caching {
            let size = self.spec.block_size.0;
            for index in 0..((seq.len() - 1) / size) as usize {
                match self.pool.by_hash.get(&seq.hash(index, size)) {
                    Some(blocks) => hits.push(blocks[0]),
                    None => break,
                }
            }
        }
        hits
    }

    /// Admits the request at this place of the queue with its hits and the first `n` tokens
    /// behind them.
    fn start(&mut self, at: usize, hits: Vec<usize>, n: u32, now: Time) {
        let mut seq = self.waiting.remove(at).expect("the request was just looked at");
        for &block in &hits {
            self.pool.take_hit(block);
        }
        let hit_tokens = hits.len() as u32 * self.spec.block_size.0;
        seq.registered = hits.len();
        seq.blocks = hits;
        seq.computed = hit_tokens;
        if seq.ended.scheduled == Time::NEVER {
            seq.ended.scheduled = now;
            seq.ended.hit_tokens = hit_tokens;
            self.counts.admitted += 1;
            self.counts.prompt_tokens += u64::from(seq.request.prompt);
            self.counts.hit_tokens += u64::from(hit_tokens);
            self.counts.hit_ppm += hit_ppm(hit_tokens, seq.request.prompt);
        }
        self.running.push(seq);
        self.grow(self.running.len() - 1, n);
    }

    /// Prompt tokens of requests without a first token.
    #[must_use]
    pub fn queued_tokens(&self) -> u64 {
        let all = self.waiting.iter().chain(&self.running);
        all.filter(|seq| seq.outputs == 0).map(|seq| u64::from(seq.request.prompt)).sum()
    }

    /// Requests waiting and running.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.iter().filter(|seq| !seq.lingering).count())
    }
}

/// Gives the full blocks of the first `tokens` of a sequence their content.
fn register(spec: &EngineSpec, pool: &mut Pool, seq: &mut Seq, tokens: u32) {
    if !spec.prefix_caching {
        return;
    }
    let size = spec.block_size.0;
    while seq.registered < (tokens / size) as usize {
        let hash = seq.hash(seq.registered, size);
        pool.register(seq.blocks[seq.registered], hash);
        seq.registered += 1;
    }
}
