//! A sink for what happened to each call, so that [`crate::Outcome`] stays small.

use crate::ids::{Backend, ModelId, PoolId, SourceId, TaskId};
use crate::outcome::Ending;
use crate::resilience::Failure;
use crate::tasks::DRIVERS;
use crate::units::{Money, Span, Time};

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
    /// Who served it.
    pub backend: Backend,
    /// The replica within a pool; 0 elsewhere.
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

impl CallRecord {
    /// The pool that served it, if one did.
    #[must_use]
    pub fn pool(&self) -> Option<PoolId> {
        match self.backend {
            Backend::Pool(pool) => Some(pool),
            Backend::Remote(_) => None,
        }
    }
}

/// One task from its arrival to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Number of the request within its source, equal under every policy.
    pub number: u64,
    /// Where it came from.
    pub source: SourceId,
    /// What it was.
    pub task: TaskId,
    /// Whose it was.
    pub tenant: u32,
    /// When it arrived.
    pub arrived: Time,
    /// When it ended.
    pub ended: Time,
    /// How it ended.
    pub ending: Ending,
    /// Whether it was refused: nothing of it was let in anywhere.
    pub rejected: bool,
    /// How often it was submitted.
    pub submissions: u32,
    /// Model calls that its user waited for or that write its memory, in all submissions; attempts
    /// and shadows not counted.
    pub calls: u32,
    /// Metered cost booked until it ended, of all its submissions and inside or outside the
    /// measured time. What goes on without it (shadows, attempts given up, work whose user has
    /// left) is booked to its kind of task and its tenant only.
    pub spend: Money,
    /// The part of it that was booked in the measured time.
    pub billed: Money,
    /// The part of all of it that paid for attempts and uses whose result nobody used.
    pub wasted: Money,
    /// What it waited for; sums to the time it took. Of a task that ended before its steps were
    /// over, the time since the last finished step counts as [`crate::tasks::Driver::Retries`].
    pub parts: [Span; DRIVERS],
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnding {
    /// With an answer.
    Answered,
    /// Without one, or it was not let in.
    Failed(Failure),
    /// Nobody waited for it any more.
    Stopped,
}

/// One offer of a call to a backend, from there to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Number of the request within its source, equal under every policy.
    pub number: u64,
    /// Where the request came from.
    pub source: SourceId,
    /// The task it was made for.
    pub task: TaskId,
    /// Whose it was.
    pub tenant: u32,
    /// The step that made it, of a task or of a part of one; `None`: the task is one plain call.
    pub step: Option<(TaskId, u32)>,
    /// The model asked.
    pub model: ModelId,
    /// Who was to serve it.
    pub backend: Backend,
    /// The replica within a pool; 0 elsewhere.
    pub replica: u32,
    /// When it was offered.
    pub sent: Time,
    /// When it began to be served; [`Time::NEVER`]: it did not.
    pub scheduled: Time,
    /// When its first token was there; [`Time::NEVER`]: it never was.
    pub first_token: Time,
    /// When it left.
    pub ended: Time,
    /// How.
    pub ending: AttemptEnding,
    /// Prompt tokens.
    pub input: u32,
    /// Those of them that a prefix cache had, or the provider's.
    pub hit_tokens: u32,
    /// Tokens written.
    pub output: u32,
    /// How often it started over.
    pub preemptions: u32,
    /// What it was metered for.
    pub cost: Money,
    /// Whether its task arrived after the warm-up.
    pub measured: bool,
    /// Whether that is billed: it left in the measured time.
    pub billed: bool,
    /// Whether somebody used the answer.
    pub used: bool,
    /// Whether its task had ended, or been given up by its user, so that nothing of it is in the
    /// sums of the [`TaskRecord`].
    pub late: bool,
}

/// Takes what a simulation reports call by call.
pub trait Recorder {
    /// Whether anything is kept: where not, nothing is put together for it.
    const KEEPS: bool = true;

    /// A task ended. What was attempted for it and is not late was reported before.
    fn task(&mut self, _: &TaskRecord) {}

    /// An attempt ended, or was not let in.
    fn attempt(&mut self, _: &AttemptRecord) {}

    /// A call ended with an answer that is used.
    fn call(&mut self, _: &CallRecord) {}
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Recorder for Discard {
    const KEEPS: bool = false;
}

/// Keeps everything, in the order it ended.
#[derive(Clone, Debug, Default)]
pub struct KeepAll {
    /// The calls.
    pub calls: Vec<CallRecord>,
    /// The tasks.
    pub tasks: Vec<TaskRecord>,
    /// The attempts of those calls, and those that came to nothing.
    pub attempts: Vec<AttemptRecord>,
}

impl Recorder for KeepAll {
    fn call(&mut self, record: &CallRecord) {
        self.calls.push(*record);
    }
    fn task(&mut self, record: &TaskRecord) {
        self.tasks.push(*record);
    }
    fn attempt(&mut self, record: &AttemptRecord) {
        self.attempts.push(*record);
    }
}
