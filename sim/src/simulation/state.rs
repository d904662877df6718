//! What is under way, as plain data: a client's request, the runs of its task, the calls and tool
//! uses of a run, the attempts of a call.
//!
//! Each refers to its owner by handle, and an owner lists what it must cancel. A handle whose
//! owner is gone finds nothing: what it stood for goes on unseen, and costs.

use crate::backends::{Course, Spot, ToolCourse};
use crate::cache::{CachedAnswer, Query};
use crate::ids::{Backend, Handle, IntentId, ModelId, ReplicaId, SeqId, SourceId, TaskId, ToolId};
pub(in crate::simulation) use crate::outcome::Ending;
use crate::resilience::{Failure, Permit};
use crate::tasks::{Answer, Path, Progress};
use crate::units::{Money, Span, Time};
use crate::workload::{Prompt, Request};
use smallvec::SmallVec;

/// A client's request, from its first submission to the end of its last.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Root {
    pub(in crate::simulation) request: Request,
    /// Whose cost it is.
    pub(in crate::simulation) account: Account,
    /// The run of its present submission.
    pub(in crate::simulation) run: Handle,
    /// Number of the present submission, from 0.
    pub(in crate::simulation) submission: u32,
    /// Model calls of the submissions before it.
    pub(in crate::simulation) calls_before: u32,
    /// When it began.
    pub(in crate::simulation) submitted: Time,
    /// Nobody waits for it any more; only its cost counts.
    pub(in crate::simulation) orphan: bool,
    pub(in crate::simulation) usage: Usage,
    /// Share of fresh prompt tokens that is still sent.
    pub(in crate::simulation) keep: f64,
    /// Factor on the probability of right answers.
    pub(in crate::simulation) quality: f64,
    /// Model that all calls go to, by the ladder or by a spend limit.
    pub(in crate::simulation) forced: Option<ModelId>,
    /// Next rung of the ladder.
    pub(in crate::simulation) rung: u32,
    /// Whether anything was let in anywhere.
    pub(in crate::simulation) let_in: bool,
    /// Whether anything was answered in this submission.
    pub(in crate::simulation) answered: bool,
    /// Whether a premium model answered.
    pub(in crate::simulation) premium: bool,
    /// Tokens of the answer to the request's own prompt.
    pub(in crate::simulation) written: u32,
    /// First token of the last answer.
    pub(in crate::simulation) first_token: Time,
    /// What the confidence signal said of the last answer, once there is one.
    pub(in crate::simulation) confidence: Option<f64>,
    /// What all its submissions share, those that go on without their user included.
    pub(in crate::simulation) affair: Handle,
}

/// What came of all submissions of a request together.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::simulation) struct Affair {
    /// Metered cost so far.
    pub(in crate::simulation) spend: Money,
    /// The part of it booked in the measured time.
    pub(in crate::simulation) billed: Money,
    /// The part of all of it whose result nobody used.
    pub(in crate::simulation) wasted: Money,
    /// Whether an action did harm.
    pub(in crate::simulation) harmed: bool,
    /// Whether anything was answered.
    pub(in crate::simulation) answered: bool,
    /// Whether the request has ended, and is counted.
    pub(in crate::simulation) over: bool,
    /// Roots that share it.
    pub(in crate::simulation) holders: u32,
}

/// Whose cost something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Account {
    pub(in crate::simulation) task: TaskId,
    /// Where its request came from, and its number there.
    pub(in crate::simulation) source: SourceId,
    pub(in crate::simulation) number: u64,
    pub(in crate::simulation) tenant: u32,
    /// Whether its task arrived after the warm-up.
    pub(in crate::simulation) measured: bool,
}

/// What a task has used of its budget in this submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::simulation) struct Usage {
    pub(in crate::simulation) calls: u32,
    pub(in crate::simulation) input: u32,
    pub(in crate::simulation) output: u32,
    pub(in crate::simulation) tool_time: Span,
}

/// A task, or a part of one, at work.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Run {
    pub(in crate::simulation) root: Handle,
    pub(in crate::simulation) task: TaskId,
    /// Key of its questions; equal in every submission.
    pub(in crate::simulation) key: u64,
    /// The step of another run that this is one execution of.
    pub(in crate::simulation) parent: Option<Execution>,
    pub(in crate::simulation) progress: Progress,
    pub(in crate::simulation) live: SmallVec<[Live; 4]>,
}

/// One execution of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Execution {
    pub(in crate::simulation) run: Handle,
    pub(in crate::simulation) step: u32,
    /// Which of the step's executions, from 0.
    pub(in crate::simulation) ordinal: u32,
}

/// Something a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Live {
    Call(Handle),
    Use(Handle),
    Run(Handle),
}

/// Something that follows from an event at once.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) enum Next {
    /// A step of a run has its turn.
    Turn(Handle, u32),
    /// A step is done from the execution `first` on, side by side, `times` times in all.
    SideBySide { first: Execution, round: u32, times: u32, path: Path },
    /// An execution of a step is over.
    Executed { execution: Execution, path: Path, answer: Answer, failure: Option<Failure> },
    /// A call in the background is asked.
    Ask(Handle),
}

/// A model call: one execution of a step, with everything done to get an answer.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Call {
    /// `None`: nobody waits for it (a memory being written, a shadow).
    pub(in crate::simulation) execution: Option<Execution>,
    pub(in crate::simulation) root: Handle,
    pub(in crate::simulation) account: Account,
    /// Where the step's specification is.
    pub(in crate::simulation) place: (TaskId, u32),
    pub(in crate::simulation) intent: IntentId,
    pub(in crate::simulation) model: ModelId,
    /// Models that were asked, the present one included.
    pub(in crate::simulation) asked: SmallVec<[ModelId; 4]>,
    pub(in crate::simulation) prompt: Prompt,
    pub(in crate::simulation) max_tokens: Option<u32>,
    pub(in crate::simulation) ends_by_eos: bool,
    /// Whether a budget cuts the answer short.
    pub(in crate::simulation) cut: bool,
    pub(in crate::simulation) priority: i32,
    pub(in crate::simulation) route: u64,
    /// Key of the question.
    pub(in crate::simulation) question: u64,
    /// Key of this asking of it.
    pub(in crate::simulation) asking: u64,
    pub(in crate::simulation) query: Option<Query>,
    /// When the step began to wait for it.
    pub(in crate::simulation) born: Time,
    pub(in crate::simulation) path: Path,
    /// When the first of the attempts beside one another was sent, and how many were since.
    pub(in crate::simulation) first_sent: Time,
    pub(in crate::simulation) launched: u32,
    /// Attempts at the present model.
    pub(in crate::simulation) made: u32,
    /// Attempts at all models.
    pub(in crate::simulation) made_in_all: u32,
    /// Counts plans for later; a one-off of an earlier count is stale.
    pub(in crate::simulation) turn: u32,
    pub(in crate::simulation) live: SmallVec<[Handle; 2]>,
    /// What the caches of answers found, until the look-up is over.
    pub(in crate::simulation) found: Option<CachedAnswer>,
    /// The answer that it was escalated from, which stands if no better one comes.
    pub(in crate::simulation) in_hand: Option<Found>,
}

/// An answer of a model, and what its task is told of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) struct Found {
    pub(in crate::simulation) answer: Answer,
    pub(in crate::simulation) model: ModelId,
    pub(in crate::simulation) first_token: Time,
    pub(in crate::simulation) outputs: u32,
}

/// One attempt of a call at a backend.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Attempt {
    /// Finds nothing once nobody waits for the attempt.
    pub(in crate::simulation) call: Handle,
    pub(in crate::simulation) account: Account,
    pub(in crate::simulation) root: Handle,
    /// The step that its call is of.
    pub(in crate::simulation) step: (TaskId, u32),
    pub(in crate::simulation) model: ModelId,
    /// Position in the model's list of backends.
    pub(in crate::simulation) serving: u32,
    pub(in crate::simulation) backend: Backend,
    pub(in crate::simulation) sent: Time,
    pub(in crate::simulation) input: u32,
    pub(in crate::simulation) context: u32,
    pub(in crate::simulation) place: Place,
    pub(in crate::simulation) permit: Option<Permit>,
    /// Whether it took too long for whoever made it.
    pub(in crate::simulation) timed_out: bool,
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) enum Place {
    /// Being offered.
    Nowhere,
    /// On the host of an engine.
    Host(Handle),
    Engine(ReplicaId, SeqId, u32),
    Queue(Spot),
    Remote(Course),
}

/// One use of a tool.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Use {
    pub(in crate::simulation) execution: Execution,
    pub(in crate::simulation) root: Handle,
    pub(in crate::simulation) account: Account,
    pub(in crate::simulation) tool: ToolId,
    pub(in crate::simulation) path: Path,
    pub(in crate::simulation) place: UsePlace,
    /// What to remember the result under.
    pub(in crate::simulation) query: Option<Query>,
    pub(in crate::simulation) turn: u32,
}

/// Where a use is.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) enum UsePlace {
    Nowhere,
    Queue(Spot),
    At(ToolCourse),
    /// Its result came from the cache.
    Cached,
}

/// What an attempt that ended well reports.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) struct Delivered {
    pub(in crate::simulation) scheduled: Time,
    pub(in crate::simulation) first_token: Time,
    pub(in crate::simulation) ended: Time,
    /// Part of the time until it was scheduled that it spent on a host.
    pub(in crate::simulation) on_host: Span,
    /// Part of the time until the first token that was waking up.
    pub(in crate::simulation) cold: Span,
    /// Lost to preemption before and after the first token.
    pub(in crate::simulation) stalled: (Span, Span),
    pub(in crate::simulation) outputs: u32,
    pub(in crate::simulation) hit_tokens: u32,
    pub(in crate::simulation) preemptions: u32,
}
