//! `[tasks.NAME]`: what a task earns and the graph of its steps.
//!
//! Invariants: a step holds what was written, one kind of work or none or several; `resolve` says
//! what is wrong with that.
//!
//! Deliberately absent: the order of the steps and what their names stand for (see `resolve`).

use super::lengths::{Lengths, counts, lengths};
use super::traffic::{PrefixFile, prefix};
use crate::condition::{ConditionKind, ConditionText};
use crate::kinds::{
    Choice, Count, Dollars, Flag, LENGTH_OF_TIME, LONGEST_RUN, NAME, Number, Whole,
};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::Reader;
use sim::backends::ToolCost;
use sim::tasks::{Finding, Flaw, Join};
use sim::units::{Money, Span};

/// Times that a step may be done, side by side or in a loop.
pub(crate) const TIMES: Count = Count { min: 1, max: 1_000 };
/// Times that a step may be done again.
const REDO: Count = Count { min: 0, max: 100 };

/// `[tasks.NAME]`.
pub(crate) struct TaskFile {
    pub(crate) value: Option<At<Money>>,
    pub(crate) harm_cost: Option<At<Money>>,
    pub(crate) latency_slo: Option<At<Span>>,
    pub(crate) observability: Option<At<Money>>,
    pub(crate) steps: Vec<StepFile>,
    pub(crate) site: Site,
}

/// One step of a task.
pub(crate) struct StepFile {
    pub(crate) id: Option<At<String>>,
    /// What it does; exactly one is right.
    pub(crate) work: Vec<WorkFile>,
    /// `None`: not written.
    pub(crate) after: Option<Vec<At<String>>>,
    pub(crate) join: Option<At<Join>>,
    pub(crate) when: Option<At<ConditionText>>,
    pub(crate) required: Option<At<bool>>,
    pub(crate) acts: Option<At<bool>>,
    pub(crate) query: Option<QueryFile>,
    pub(crate) loops: Option<Lengths>,
    pub(crate) parallel: Option<Lengths>,
    pub(crate) check: Option<CheckFile>,
    pub(crate) repeat_until_success: Option<At<u32>>,
    pub(crate) site: Site,
}

/// What a step does.
pub(crate) enum WorkFile {
    Call(Box<CallFile>),
    /// A tool, and the kind that the key says it has.
    Tool(At<String>, ToolCost),
    SubTask(At<String>),
}

/// A model call.
pub(crate) struct CallFile {
    pub(crate) model: Option<At<String>>,
    pub(crate) intent: Option<At<String>>,
    pub(crate) input: Option<Lengths>,
    pub(crate) output: Option<Lengths>,
    pub(crate) correlation: Option<At<f64>>,
    pub(crate) prefix: Option<PrefixFile>,
    pub(crate) query: Option<QueryFile>,
    pub(crate) cacheable: Option<At<bool>>,
    pub(crate) decisive: Option<At<bool>>,
    pub(crate) background: Option<At<bool>>,
    pub(crate) memory: Option<At<bool>>,
    pub(crate) site: Site,
}

/// What is asked, for caches.
pub(crate) struct QueryFile {
    pub(crate) topics: u32,
    pub(crate) zipf: f64,
    pub(crate) phrasings: u32,
    pub(crate) neighbours: u32,
    pub(crate) similarity: f64,
    pub(crate) neighbour_similarity: f64,
    pub(crate) spread: f64,
    pub(crate) site: Site,
}

/// What a step finds out about an earlier one.
pub(crate) struct CheckFile {
    pub(crate) of: Option<At<String>>,
    pub(crate) looks_for: Option<At<Flaw>>,
    pub(crate) sensitivity: Option<At<f64>>,
    pub(crate) specificity: Option<At<f64>>,
    pub(crate) redo: Option<At<u32>>,
    pub(crate) then: Option<At<Finding>>,
    pub(crate) site: Site,
}

pub(super) fn task(r: &mut Reader<'_>) -> TaskFile {
    let latency_slo = r.may(
        "p95_latency_slo",
        LENGTH_OF_TIME,
        "95 of 100 tasks are to end within this time; also the limit of goodput.",
    );
    let longest = i64::try_from(LONGEST_RUN.0 / Span::from_millis(1).0).unwrap_or(i64::MAX);
    let millis = r.may(
        "p95_latency_slo_ms",
        Whole { min: 1, max: longest },
        "The same in milliseconds, a bare number.",
    );
    if latency_slo.is_some() && millis.is_some() {
        r.refuse(ProblemKind::Conflict, "`p95_latency_slo` is written twice");
    }
    let millis =
        millis.map(|ms| At { value: Span::from_millis(ms.value.unsigned_abs()), site: ms.site });
    TaskFile {
        value: r.may("value", Dollars(""), "What a successful task earns, \"$0.12\"."),
        harm_cost: r.may("harm_cost", Dollars(""), "What a harmful task costs."),
        latency_slo: latency_slo.or(millis),
        observability: r.may(
            "observability",
            Dollars(""),
            "Cost of the traces and logs of one task.",
        ),
        steps: r.list("steps", "Steps of the task, in any order that `after` makes good.", step),
        site: r.site().clone(),
    }
}

/// Keys that name a tool, with the kind it has to have.
const TOOL_KEYS: [(&str, ToolCost, &str); 5] = [
    ("retrieval", ToolCost::Retrieval, "A [tools.NAME] of kind retrieval that is searched."),
    ("tool", ToolCost::Tool, "A [tools.NAME] of kind tool that is used."),
    ("safety_check", ToolCost::SafetyCheck, "A [tools.NAME] of kind safety_check."),
    ("formatting", ToolCost::Formatting, "A [tools.NAME] of kind formatting."),
    ("human_review", ToolCost::HumanReview, "A [tools.NAME] of kind human_review."),
];

fn step(r: &mut Reader<'_>) -> StepFile {
    let id = r.may("id", NAME, "Name of the step. Default: step-N, by its place in the list.");
    let mut work = Vec::new();
    work.extend(
        r.table("model_call", "A call of a model.", call).map(Box::new).map(WorkFile::Call),
    );
    for (key, cost, doc) in TOOL_KEYS {
        work.extend(r.may(key, NAME, doc).map(|name| WorkFile::Tool(name, cost)));
    }
    let sub_task = r.may("sub_task", NAME, "Another kind of task, done as a part of this one.");
    work.extend(sub_task.map(WorkFile::SubTask));
    let written = r.has("after");
    let after = r.values("after", NAME, "Steps it waits for.");
    let times = "Times it is done one after another: a number or a law of one.";
    let at_once = "Times it is done at once; it is over when the last is.";
    StepFile {
        id,
        work,
        after: written.then_some(after),
        join: r.may(
            "join",
            Choice(&[("all", Join::All), ("any", Join::Any)]),
            "Whether it waits for all of them or for the first. Default: all.",
        ),
        when: condition(r),
        required: r.may("required", Flag, "Whether the task fails with it. Default: true."),
        acts: r.may(
            "acts",
            Flag,
            "Whether a tool acts on the world, so that an unsafe answer before it does harm. \
             Default: false.",
        ),
        query: r.table("query", "What a tool is asked, for its cache.", query).flatten(),
        loops: r.either("loop", TIMES, counts, times).and_then(times_of),
        parallel: r.either("parallel", TIMES, counts, at_once).and_then(times_of),
        check: r.table("check", "What it finds out about an earlier model call.", check),
        repeat_until_success: r.may(
            "repeat_until_success",
            REDO,
            "Check the step before and have it done again at most so often; short for `check`.",
        ),
        site: r.site().clone(),
    }
}

fn times_of(either: Result<At<u32>, Option<Lengths>>) -> Option<Lengths> {
    either.map_or_else(|law| law, |number| Some(Lengths::fixed(number)))
}

/// A condition under either of its names.
fn condition(r: &mut Reader<'_>) -> Option<At<ConditionText>> {
    let when = r.may("when", ConditionKind, "It is left out unless this holds at its turn.");
    let condition = r.may("condition", ConditionKind, "Another name of `when`.");
    if when.is_some() && condition.is_some() {
        r.refuse(ProblemKind::Conflict, "`when` and `condition` are the same thing");
    }
    when.or(condition)
}

fn call(r: &mut Reader<'_>) -> CallFile {
    let flag = |r: &mut Reader<'_>, key, doc| r.may(key, Flag, doc);
    CallFile {
        model: r.may("model", NAME, "Model to call. Default: what routing says, or the only one."),
        intent: r.may("intent", NAME, "What the call is for."),
        input: r
            .table("input", "Prompt tokens beyond shared prefixes and history.", lengths)
            .flatten(),
        output: r.table("output", "Tokens the model writes.", lengths).flatten(),
        correlation: r.or(
            "correlation",
            Number::within(-1.0, 1.0),
            "0.0",
            "Correlation of the normal scores of input and output lengths.",
        ),
        prefix: r
            .table("prefix", "Prompt prefixes shared by the calls of this step.", prefix)
            .flatten(),
        query: r.table("query", "What is asked, for the caches of answers.", query).flatten(),
        cacheable: flag(
            r,
            "cacheable",
            "Whether answers may come from the caches of answers. Default: whether it has `query`.",
        ),
        decisive: flag(
            r,
            "decisive",
            "Whether a wrong answer spoils the task. Default: true, false for a step that checks.",
        ),
        background: flag(
            r,
            "background",
            "Whether nobody waits for it. Default: false, true with `memory`.",
        ),
        memory: flag(
            r,
            "memory",
            "Whether it condenses the conversation, when the traffic's sessions say it is time. \
             Default: false.",
        ),
        site: r.site().clone(),
    }
}

fn query(r: &mut Reader<'_>) -> Option<QueryFile> {
    let share = Number::within(0.0, 1.0);
    let many = Count { min: 1, max: 100_000_000 };
    let few = Count { min: 1, max: 10_000 };
    let topics = r.need("topics", many, "Different things that are asked.");
    let zipf = r.or("zipf", Number::within(0.0, 10.0), "1.0", "Zipf exponent of their popularity.");
    let phrasings = r.or("phrasings", few, "4", "Ways to put one topic, word for word.");
    let neighbours = r.or(
        "neighbours",
        Count { min: 1, max: 1_000 },
        "4",
        "Topics in a group that can be confused with each other.",
    );
    let similarity =
        r.or("similarity", share, "0.9", "Mean cosine similarity of two queries about a topic.");
    let neighbour_similarity = r.or(
        "neighbour_similarity",
        share,
        "0.7",
        "Mean cosine similarity of two queries about neighbouring topics.",
    );
    let spread = r.or("spread", share, "0.04", "Standard deviation of either similarity.");
    Some(QueryFile {
        topics: topics?.value,
        zipf: zipf?.value,
        phrasings: phrasings?.value,
        neighbours: neighbours?.value,
        similarity: similarity?.value,
        neighbour_similarity: neighbour_similarity?.value,
        spread: spread?.value,
        site: r.site().clone(),
    })
}

fn check(r: &mut Reader<'_>) -> CheckFile {
    let share = Number::within(0.0, 1.0);
    CheckFile {
        of: r.may("of", NAME, "The model call that is checked. Default: the one it waits for."),
        looks_for: r.may(
            "looks_for",
            Choice(&[("wrong", Flaw::Wrong), ("unsafe", Flaw::Unsafe)]),
            "The flaw it looks for. Default: wrong, unsafe for a safety_check.",
        ),
        sensitivity: r.or("sensitivity", share, "1.0", "Probability that a flaw is found."),
        specificity: r.or("specificity", share, "1.0", "Probability that a good answer passes."),
        redo: r.may("redo", REDO, "Times the checked step is done again at most. Default: 0."),
        then: r.may(
            "then",
            Choice(&[("fail", Finding::Fail), ("go_on", Finding::GoOn), ("mend", Finding::Mend)]),
            "What a finding that remains does. Default: fail; mend for a human_review.",
        ),
        site: r.site().clone(),
    }
}
