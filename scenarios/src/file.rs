//! What a scenario file and a policy file may hold, as they are written.
//!
//! Each table has one function that reads it and, run on nothing, describes it; the schema comes
//! from there. Values are checked one by one here and against each other in `resolve`.
//!
//! Invariants: an optional field is `None` either because the key is absent (and has no default)
//! or because it was wrong, and then a problem was reported.
//!
//! Deliberately absent: keys of planned features are named, so that they are refused as such.

mod fleet;
mod lengths;
mod plans;
mod policy;
mod traffic;

pub(crate) use fleet::{PoolFile, StepTimeFile};
pub(crate) use lengths::{CV, Lengths};
pub(crate) use plans::PlanFile;
pub(crate) use policy::*;
pub(crate) use traffic::{
    ArrivalsFile, ClientFile, MixFile, Spike, TraceFile, TrafficFile, WEIBULL_SHAPE,
};

use crate::kinds::Count;
use lengths::{duration_dist, lengths};

use crate::kinds::{
    Choice, DURATION, Dollars, Duration, Flag, LENGTH_OF_TIME, LONGEST_RUN, NAME, Number, Or,
    SENTENCE, Whole,
};
use crate::problem::{At, Site};
use crate::reader::Reader;
use sim::units::{Money, Span};

/// A scenario file.
pub(crate) struct ScenarioFile {
    pub(crate) site: Site,
    pub(crate) settings: Option<Settings>,
    pub(crate) traffic: Vec<(At<String>, TrafficFile)>,
    pub(crate) tasks: Vec<(At<String>, TaskFile)>,
    pub(crate) models: Vec<(At<String>, ModelFile)>,
    pub(crate) pools: Vec<(At<String>, PoolFile)>,
    pub(crate) plans: Vec<(At<String>, PlanFile)>,
    pub(crate) policy: PolicyFile,
    pub(crate) objectives: Vec<ObjectiveFile>,
}

/// `[scenario]`.
pub(crate) struct Settings {
    pub(crate) name: Option<At<String>>,
    pub(crate) question: Option<At<String>>,
    pub(crate) horizon: Option<At<Span>>,
    pub(crate) steady_state: Option<At<bool>>,
    pub(crate) warm_up: Option<At<Span>>,
    pub(crate) replications: Option<At<Option<u32>>>,
    pub(crate) seed: Option<At<i64>>,
    pub(crate) window: Option<At<Span>>,
    pub(crate) site: Site,
}

/// `[tasks.NAME]`.
pub(crate) struct TaskFile {
    pub(crate) value: Option<At<Money>>,
    pub(crate) latency_slo: Option<At<Span>>,
    pub(crate) steps: Vec<StepFile>,
    pub(crate) site: Site,
}

/// One step of a task.
pub(crate) struct StepFile {
    pub(crate) call: Option<CallFile>,
    pub(crate) site: Site,
}

/// A model call.
pub(crate) struct CallFile {
    pub(crate) model: Option<At<String>>,
    pub(crate) input: Option<Lengths>,
    pub(crate) output: Option<Lengths>,
    pub(crate) correlation: Option<At<f64>>,
    pub(crate) site: Site,
}

/// `[models.NAME]`.
pub(crate) struct ModelFile {
    pub(crate) served_by: Vec<At<String>>,
    pub(crate) site: Site,
}

/// Whether a text can name a task, a source, a model or a pool.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

/// Reads a scenario's root.
pub(crate) fn scenario(r: &mut Reader<'_>) -> ScenarioFile {
    let policy_doc = "A file beside this one that holds the policy, in place of inline tables.";
    // The file itself is read before overrides are applied (see `load`).
    r.may("policy", NAME, policy_doc);
    r.unsupported(&["providers"]);
    ScenarioFile {
        site: r.site().clone(),
        settings: r.need_table("scenario", "What is simulated, and for how long.", settings),
        traffic: r.named("traffic", "Sources of requests; they add up.", traffic::traffic),
        tasks: r.named("tasks", "Kinds of task that traffic starts.", task),
        models: r.named("models", "Names that tasks call, and the pools that serve them.", model),
        pools: r.named("pools", "GPU pools: replicas of one engine.", fleet::pool),
        plans: r.named("plans", "What tenants pay.", plans::plan),
        policy: policy::policy(r),
        objectives: policy::objectives(r),
    }
}

/// Reads a policy file's root.
pub(crate) fn policy(r: &mut Reader<'_>) -> PolicyFile {
    policy::policy(r)
}

fn settings(r: &mut Reader<'_>) -> Settings {
    let count = Count { min: 1, max: 10_000 };
    Settings {
        name: r.may("name", NAME, "Name in reports; the file's name when absent."),
        question: r.may("question", SENTENCE, "The question this scenario answers."),
        horizon: r.may(
            "horizon",
            Duration { min: Span::from_millis(1), max: LONGEST_RUN },
            "How long requests arrive, at most 100 days. Default: the length of the traces.",
        ),
        steady_state: r.or(
            "steady_state",
            Flag,
            "false",
            "Whether results stand for the long run: the first requests are then not counted.",
        ),
        warm_up: r.may(
            "warm_up",
            DURATION,
            "Requests before this instant are not counted. Default: 0s, or a tenth of the \
             horizon with steady_state.",
        ),
        replications: r.or(
            "replications",
            Or("auto", count),
            "auto",
            "Independent runs: a number, or \"auto\" for as many as the precision needs.",
        ),
        seed: r.or("seed", Whole { min: 0, max: i64::MAX }, "1", "Seed of all random draws."),
        window: r.may(
            "window",
            LENGTH_OF_TIME,
            "Width of a point of the time series. Default: a 240th of the horizon, in whole \
             seconds.",
        ),
        site: r.site().clone(),
    }
}

fn task(r: &mut Reader<'_>) -> TaskFile {
    TaskFile {
        value: r.may("value", Dollars(""), "What a successful task earns, \"$0.12\"."),
        latency_slo: r.may(
            "p95_latency_slo",
            LENGTH_OF_TIME,
            "95 of 100 tasks are to end within this time; also the limit of goodput.",
        ),
        steps: r.list("steps", "Steps of the task; this version runs one model call.", step),
        site: r.site().clone(),
    }
}

fn step(r: &mut Reader<'_>) -> StepFile {
    r.may("id", NAME, "Name of the step.");
    r.unsupported(&["tool", "after", "repeat_until_success", "retrieval", "human_review", "when"]);
    StepFile { call: r.table("model_call", "A call of a model.", call), site: r.site().clone() }
}

fn call(r: &mut Reader<'_>) -> CallFile {
    let model = r.may("model", NAME, "Model to call; may be left out when there is one.");
    r.may("intent", NAME, "What the call is for; a label.");
    CallFile {
        model,
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
        site: r.site().clone(),
    }
}

fn model(r: &mut Reader<'_>) -> ModelFile {
    ModelFile {
        served_by: r.values("served_by", NAME, "Pools, in order of preference."),
        site: r.site().clone(),
    }
}

/// The two ways a request ends.
const ENDS_BY: Choice<bool> = Choice(&[("eos", true), ("length", false)]);
