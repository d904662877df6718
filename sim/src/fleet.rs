//! Pools of replicas: what is rented and how calls are spread over it.
//!
//! Deliberately absent: autoscaling and faults (the fleet is constant for a run).

use crate::engine::EngineSpec;
use crate::engine::StepTime;
use crate::units::{Money, Span};

/// Replicas of one engine on one kind of GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// Name in files and reports.
    pub name: String,
    /// Engines running side by side; at least 1.
    pub replicas: u32,
    /// GPUs of one replica (its tensor-parallel size); at least 1.
    pub gpus_per_replica: u32,
    /// Price of one GPU for one hour.
    pub price_per_gpu_hour: Money,
    /// Scheduler and cache settings of each replica.
    pub engine: EngineSpec,
    /// Cost of one iteration of each replica.
    pub step_time: StepTime,
    /// What requests take before an engine has them.
    pub host: HostTime,
    /// How calls are spread over the replicas.
    pub balancing: Balancing,
}

/// Time of a request on the host of a replica before the engine has it: HTTP, tokens of the prompt,
/// queues between processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostTime {
    /// Of every request.
    pub request: Span,
    /// Besides, for each token of its prompt.
    pub prompt_token: Span,
}

impl HostTime {
    /// Engines have what is sent to them at once.
    pub const NONE: HostTime = HostTime { request: Span::ZERO, prompt_token: Span::ZERO };

    /// What a request with a prompt of `input` tokens takes.
    #[must_use]
    pub fn of(&self, input: u32) -> Span {
        Span(self.prompt_token.0.saturating_mul(u64::from(input)).saturating_add(self.request.0))
    }
}

/// How calls are spread over the replicas of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancing {
    /// The rule.
    pub strategy: Strategy,
    /// Age of the engine signals the router sees (a metrics scrape): they are refreshed every
    /// `signal_age`; zero means always current. The router's own dispatches since the last
    /// refresh are added when `count_own_dispatches` holds.
    pub signal_age: Span,
    /// Whether the router adds what it dispatched itself since the last refresh.
    pub count_own_dispatches: bool,
}

/// A load-balancing rule. Equally loaded replicas take turns except where drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each replica in turn.
    RoundRobin,
    /// Uniformly at random.
    Random,
    /// The replica with the fewest requests queued or running.
    LeastOutstanding,
    /// The least loaded (requests queued or running) of some drawn at random, the one drawn first
    /// of equals.
    PowerOfChoices {
        /// How many are drawn, at least 2; all of them where there are fewer replicas.
        choices: u32,
    },
    /// The replica with the lowest KV-cache usage, requests waiting first.
    KvAware,
    /// The replica that served the same first prompt segment, unless it has more than
    /// `max_imbalance` outstanding requests above the least loaded one.
    PrefixAffinity {
        /// Outstanding requests a favoured replica may be above the least loaded one.
        max_imbalance: u32,
    },
}
