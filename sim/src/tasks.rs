//! The unit of work: a task, a graph of steps with a contract.
//!
//! Invariants of a [`Graph`]: a step comes after the steps it waits for; names are unique.

mod answer;
mod path;
mod progress;

pub use answer::{Answer, draw as draw_answer};
pub use path::{ALL_DRIVERS, DRIVERS, Driver, Path};
pub use progress::{Phase, Progress, Shape, Turn, Turns};

use crate::cache::{ExactCacheSpec, QuerySpec};
use crate::dist::{LengthDist, LengthsSpec};
use crate::ids::{IntentId, ModelId, TaskId, ToolId};
use crate::predicate::Predicate;
use crate::units::{Money, Span};
use crate::workload::PrefixSpec;

/// One kind of task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Name in files and reports.
    pub name: String,
    /// What a successful task earns; `None` when the scenario does not say.
    pub value: Option<Money>,
    /// What a harmful task costs; `None` when the scenario does not say.
    pub harm_cost: Option<Money>,
    /// A task that takes longer is late: it counts against SLO attainment and goodput.
    pub latency_slo: Option<Span>,
    /// Cost of observing one task (traces, logs).
    pub observability: Money,
    /// Limits of one task, and what happens at them.
    pub budget: TaskBudget,
    /// Its steps.
    pub graph: Graph,
}

impl TaskSpec {
    /// A task that is one call of a model with the lengths of its request, as good as it gets.
    #[must_use]
    pub fn one_call(name: &str, model: ModelId) -> TaskSpec {
        let call = ModelCallSpec {
            intent: IntentId(0),
            model: Some(model),
            lengths: CallLengths::Request,
            prefix: None,
            query: None,
            cacheable: false,
            decisive: true,
            background: false,
        };
        let step = Step {
            name: "call".to_owned(),
            key: 0,
            after: Vec::new(),
            join: Join::All,
            when: None,
            work: Work::ModelCall(call),
            repeat: Repeat::Once,
            required: true,
            check: None,
        };
        TaskSpec {
            name: name.to_owned(),
            value: None,
            harm_cost: None,
            latency_slo: None,
            observability: Money::ZERO,
            budget: TaskBudget::default(),
            graph: Graph { steps: vec![step] },
        }
    }

    /// The model the task calls with the lengths of its request, where a step says so.
    #[must_use]
    pub fn request_model(&self) -> Option<ModelId> {
        self.graph.steps.iter().find_map(|step| match &step.work {
            Work::ModelCall(call) if call.lengths.are_of_request(false) => call.model,
            _ => None,
        })
    }
}

/// Steps in an order in which each comes after those it waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// At least one.
    pub steps: Vec<Step>,
}

/// One step of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name in files and reports.
    pub name: String,
    /// Stable key of its random streams (a hash of the name).
    pub key: u64,
    /// Steps it waits for, positions below its own.
    pub after: Vec<u32>,
    /// Whether it waits for all of them or the first.
    pub join: Join,
    /// It is left out unless this holds when its turn comes; what waits for it then goes on.
    pub when: Option<Predicate>,
    /// What it does.
    pub work: Work,
    /// How often.
    pub repeat: Repeat,
    /// Whether the task fails with it; otherwise the task goes on without its result.
    pub required: bool,
    /// What it checks of an earlier step.
    pub check: Option<Check>,
}

/// How a step waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Join {
    /// For all steps it names.
    #[default]
    All,
    /// For the first of them that ends; the others go on.
    Any,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Calls a model.
    ModelCall(ModelCallSpec),
    /// Uses a tool, retrieval, a reviewer.
    Tool(ToolUse),
    /// Runs another kind of task as a part of this one; kinds may not contain themselves.
    SubTask(TaskId),
}

/// How often a step is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Repeat {
    /// Once.
    Once,
    /// So many at the same time; the step ends with the last.
    Parallel(LengthDist),
    /// So many one after another (an agent's turns).
    Loop(LengthDist),
}

/// A call of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCallSpec {
    /// What it is for.
    pub intent: IntentId,
    /// The model; `None`: routing decides.
    pub model: Option<ModelId>,
    /// Where its lengths come from.
    pub lengths: CallLengths,
    /// Prompt tokens shared by all calls of this step, before the rest.
    pub prefix: Option<PrefixSpec>,
    /// What is asked, for caches; `None`: nothing is ever asked twice.
    pub query: Option<QuerySpec>,
    /// Whether answers may come from the caches of answers.
    pub cacheable: bool,
    /// Whether a wrong answer spoils the task.
    pub decisive: bool,
    /// Whether nobody waits for it: its cost counts, its time does not.
    pub background: bool,
}

/// Lengths of a model call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallLengths {
    /// Those of the request that started the task: the traffic's prompt with its history.
    Request,
    /// Drawn for this call.
    Drawn(LengthsSpec),
    /// Drawn for this call where its task is a part of another; where a request starts the task,
    /// those of the request.
    DrawnAsPart(LengthsSpec),
    /// The conversation so far in, a summary out: the call that keeps a memory. The step is left
    /// out after turns at which the conversation is not condensed.
    Memory,
}

impl CallLengths {
    /// Whether they are those of the request; `as_part`: in a task that is a part of another.
    #[must_use]
    pub fn are_of_request(&self, as_part: bool) -> bool {
        match self {
            CallLengths::Request => true,
            CallLengths::DrawnAsPart(_) => !as_part,
            CallLengths::Drawn(_) | CallLengths::Memory => false,
        }
    }
}

/// Use of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolUse {
    /// Which.
    pub tool: ToolId,
    /// What is asked of it, for its cache.
    pub query: Option<QuerySpec>,
    /// Its cache.
    pub cache: Option<ExactCacheSpec>,
    /// Whether it acts on the world: an unsafe call of it does harm.
    pub acts: bool,
}

/// What a step finds out about an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The model call that is checked: a step that this one waits for, directly or through others.
    pub step: u32,
    /// What it looks for.
    pub looks_for: Flaw,
    /// Probability that a flawed answer is found out.
    pub sensitivity: f64,
    /// Probability that a good answer passes.
    pub specificity: f64,
    /// How often the checked step is done again after a finding.
    pub redo: u32,
    /// What happens when a finding remains.
    pub then: Finding,
}

/// What can be wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is wrong.
    Wrong,
    /// Acting on it would do harm.
    Unsafe,
}

/// What a finding that remains does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Ends the task as failed: nothing wrong is shown.
    Fail,
    /// Goes on: the answer is used as it is.
    GoOn,
    /// A reviewer mends it: the steps that wait for the check with a `when` may act on it.
    Mend,
}

/// Limits of one task; `None`: none.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TaskBudget {
    /// Model calls, retries not counted.
    pub max_model_calls: Option<u32>,
    /// Prompt tokens of all its calls.
    pub max_input_tokens: Option<u32>,
    /// Answer tokens of all its calls.
    pub max_output_tokens: Option<u32>,
    /// Time in tools.
    pub max_tool_time: Option<Span>,
    /// Time from its beginning: the task's deadline.
    pub max_latency: Option<Span>,
    /// What is tried, in order, when a limit would be passed; after the last the task fails.
    pub on_exceeded: Vec<Rung>,
}

/// One rung of the ladder of degradation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rung {
    /// Prompts of this and later calls keep this share of their fresh tokens.
    ShorterContext {
        /// Share kept, in (0, 1).
        keep: f64,
        /// Factor on the probability of a right answer.
        quality: f64,
    },
    /// This and later calls go to this model.
    SmallerModel {
        /// Which.
        model: ModelId,
    },
    /// The nearest answer in the semantic cache from this similarity on; if there is none, the
    /// next rung.
    CachedAnswer {
        /// Least similarity.
        similarity: f64,
    },
    /// The task ends now with what it has.
    PartialResult {
        /// Probability that this is good enough.
        quality: f64,
    },
    /// The user is asked to narrow the question: the task ends without success, and without harm.
    Refine,
}

/// What a model call is for.
#[derive(Clone, Debug, PartialEq)]
pub struct IntentSpec {
    /// Name in files and reports.
    pub name: String,
    /// Stable key of its random streams.
    pub key: u64,
    /// How much the confidence signal knows, in `[0, 1)`: the correlation of its normal score with
    /// that of the answer's quality. 0: it says the same of every answer.
    pub confidence: f64,
    /// How alike the models and the attempts fare with one question, in `[0, 1]`: the correlation
    /// of their normal scores. 1: whoever is better answers all the worse one answers, and asking
    /// the same model again helps nothing.
    pub consistency: f64,
}

/// How well a model does at an intent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Probability of a right answer, in `[0, 1]`.
    pub success: f64,
    /// Probability that acting on its answer would do harm, in `[0, 1]`.
    pub unsafe_rate: f64,
}
