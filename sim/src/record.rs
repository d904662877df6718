//! A sink for what happened to each call, so that [`crate::Outcome`] stays small.

use crate::ids::{ModelId, PoolId, SourceId, TaskId};
use crate::units::Time;

/// One call from birth to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Number of the request within its source, equal under every policy.
    pub number: u64,
    /// Where it came from.
    pub source: SourceId,
    /// The task it belongs to.
    pub task: TaskId,
    /// The model it called.
    pub model: ModelId,
    /// The pool that served it.
    pub pool: PoolId,
    /// The replica within the pool.
    pub replica: u32,
    /// When it was born.
    pub arrived: Time,
    /// Start of the iteration that first computed part of it.
    pub scheduled: Time,
    /// End of the iteration that wrote its first token.
    pub first_token: Time,
    /// End of the iteration that wrote its last token.
    pub ended: Time,
    /// Prompt tokens.
    pub input: u32,
    /// Tokens written.
    pub output: u32,
    /// Prompt tokens found in the prefix cache.
    pub hit_tokens: u32,
    /// How often it started over.
    pub preemptions: u32,
}

/// Takes what a simulation reports call by call.
pub trait Recorder {
    /// A call ended.
    fn call(&mut self, record: &CallRecord);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Recorder for Discard {
    fn call(&mut self, _: &CallRecord) {}
}

/// Keeps every call, in the order they ended.
#[derive(Clone, Debug, Default)]
pub struct KeepAll {
    /// The calls.
    pub calls: Vec<CallRecord>,
}

impl Recorder for KeepAll {
    fn call(&mut self, record: &CallRecord) {
        self.calls.push(*record);
    }
}
