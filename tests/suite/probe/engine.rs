//! surgeline's own engine in real time: what it simulates happens when it says.
//!
//! A thread of its own lets iterations end at their instants. Boundaries are those of the simulation
//! and not of the clock, so a thread that wakes late does not make the engine slower.
//!
//! Invariants: a token is sent no earlier than its iteration ends; every wait has an end; the thread
//! is gone when the engine is dropped.
//!
//! Deliberately absent: prompts longer than an iteration takes. Every request that was scheduled
//! therefore writes a token when the iteration ends.

use sim::engine::reference::ReferenceReplica;
use sim::engine::{EndReason, EngineSpec, SchedulingPolicy, StepTime, Submission};
use sim::units::{Blocks, Time, Tokens};
use sim::workload::Segment;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tokens of one prefix-cache block.
pub(super) const BLOCK: u32 = 16;
/// Longest wait of the engine's thread for anything.
const TICK: Duration = Duration::from_millis(20);

/// What the simulation says about a request that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// When the engine got it.
    pub(crate) received: Time,
    pub(crate) first_token: Time,
    pub(crate) ended: Time,
    pub(crate) prompt: u32,
    pub(crate) outputs: u32,
    pub(crate) hit_tokens: u32,
}

/// What the engine's page of metrics says.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) running: AtomicUsize,
    /// Prompt tokens looked up in the prefix cache, and found there, of requests that ended.
    pub(super) looked_up: AtomicU64,
    pub(super) found: AtomicU64,
}

/// A request for the engine.
pub(super) struct Ask {
    pub(super) segments: Vec<Segment>,
    pub(super) outputs: u32,
    /// Gets the number of each token.
    pub(super) tokens: Sender<u32>,
    /// Gets the prompt tokens that the prefix cache had, once the answer is complete.
    pub(super) hits: Sender<u32>,
}

/// The engine, as its server holds it.
pub(super) struct Engine {
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    truths: Arc<Mutex<Vec<Truth>>>,
    gauges: Arc<Gauges>,
}

impl Engine {
    pub(super) fn start(step_time: StepTime) -> Engine {
        let (asks, inbox) = channel();
        let truths = Arc::new(Mutex::new(Vec::new()));
        let gauges = Arc::new(Gauges::default());
        let mut course = Course {
            replica: ReferenceReplica::new(spec(), step_time),
            began: Instant::now(),
            now: Time::ZERO,
            asked: BTreeMap::new(),
            calls: 0,
            truths: Arc::clone(&truths),
            gauges: Arc::clone(&gauges),
        };
        let thread = std::thread::spawn(move || course.run(&inbox));
        Engine { asks: Some(asks), thread: Some(thread), truths, gauges }
    }

    /// A way to ask that other threads can hold.
    pub(super) fn asking(&self) -> impl Fn(Ask) + Send + 'static {
        let asks = self.asks.clone().expect("the engine runs");
        // An engine that is gone answers nobody, and the asker notices.
        move |ask| drop(asks.send(ask))
    }

    /// What its page of metrics says.
    pub(super) fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// What the simulation says of all requests that ended, in their order of arrival.
    pub(super) fn truths(&self) -> Vec<Truth> {
        let mut truths = self.truths.lock().expect("no thread panicked").clone();
        truths.sort_by_key(|truth| truth.received);
        truths
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the engine is the failure of the test that waits for its tokens.
            let _ = thread.join();
        }
    }
}

fn spec() -> EngineSpec {
    EngineSpec {
        scheduling: sim::engine::Scheduling::Vllm,
        kv_blocks: Blocks(8_192),
        block_size: Tokens(BLOCK),
        max_num_batched_tokens: Tokens(65_536),
        max_num_seqs: 256,
        max_model_len: Tokens(8_192),
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

/// A request inside the engine.
struct Asked {
    received: Time,
    prompt: u32,
    written: u32,
    tokens: Sender<u32>,
    hits: Sender<u32>,
}

struct Course {
    replica: ReferenceReplica,
    began: Instant,
    /// The last boundary.
    now: Time,
    asked: BTreeMap<u32, Asked>,
    calls: u32,
    truths: Arc<Mutex<Vec<Truth>>>,
    gauges: Arc<Gauges>,
}

impl Course {
    fn run(&mut self, inbox: &Receiver<Ask>) {
        let mut ended = Vec::new();
        loop {
            let boundary = self.replica.boundary();
            let left = self.until(boundary).min(TICK);
            if !left.is_zero() {
                match inbox.recv_timeout(left) {
                    Ok(ask) => self.take(ask),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            if boundary == Time::NEVER {
                self.now = self.now.max(self.clock());
                self.replica.schedule(self.now, &mut ended);
            } else if self.until(boundary).is_zero() {
                // What has arrived by now is part of the next iteration.
                while let Ok(ask) = inbox.try_recv() {
                    self.take(ask);
                }
                self.now = boundary;
                let scheduled = self.replica.last_step().scheduled.clone();
                self.replica.complete(boundary, &mut ended);
                for (call, _) in scheduled {
                    self.write(call);
                }
                self.replica.schedule(boundary, &mut ended);
            }
            self.settle(&mut ended);
        }
    }

    /// The clock as the simulation writes time.
    fn clock(&self) -> Time {
        Time(self.began.elapsed().as_nanos() as u64 * 1_000)
    }

    fn until(&self, boundary: Time) -> Duration {
        Duration::from_nanos(boundary.0.saturating_sub(self.clock().0) / 1_000)
    }

    fn take(&mut self, ask: Ask) {
        let received = self.clock();
        let prompt = ask.segments.iter().map(|segment| segment.tokens).sum();
        self.calls += 1;
        let Ask { outputs, tokens, hits, .. } = ask;
        let asked = Asked { received, prompt, written: 0, tokens, hits };
        self.asked.insert(self.calls, asked);
        self.gauges.running.store(self.asked.len(), Ordering::SeqCst);
        self.replica.submit(Submission {
            call: self.calls,
            arrived: received,
            prompt,
            outputs,
            max_tokens: outputs,
            ends_by_eos: false,
            priority: 0,
            segments: ask.segments.into_iter().collect(),
            output_segment: u64::MAX - u64::from(self.calls),
        });
    }

    /// A token of a request appears.
    fn write(&mut self, call: u32) {
        let Some(asked) = self.asked.get_mut(&call) else { return };
        asked.written += 1;
        if asked.tokens.send(asked.written).is_err() {
            // Its reader went away.
            self.replica.cancel(call);
        }
    }

    fn settle(&mut self, ended: &mut Vec<sim::engine::Ended>) {
        for end in ended.drain(..) {
            let Some(asked) = self.asked.remove(&end.call) else { continue };
            self.gauges.running.store(self.asked.len(), Ordering::SeqCst);
            self.gauges.looked_up.fetch_add(u64::from(asked.prompt), Ordering::SeqCst);
            self.gauges.found.fetch_add(u64::from(end.hit_tokens), Ordering::SeqCst);
            if end.reason != EndReason::Finished {
                continue;
            }
            // Its reader may have gone away with the last token.
            let _ = asked.hits.send(end.hit_tokens);
            self.truths.lock().expect("no thread panicked").push(Truth {
                received: asked.received,
                first_token: end.first_token,
                ended: end.ended,
                prompt: asked.prompt,
                outputs: end.outputs,
                hit_tokens: end.hit_tokens,
            });
        }
    }
}
