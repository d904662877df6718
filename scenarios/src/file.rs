//! What a scenario file and a policy file may hold, as they are written.
//!
//! Each table has one function that reads it and, run on nothing, describes it; the schema comes
//! from there. Values are checked one by one here and against each other in `resolve`.
//!
//! Invariants: an optional field is `None` either because the key is absent (and has no default)
//! or because it was wrong, and then a problem was reported.
//!
//! Deliberately absent: what names stand for (see `resolve`).

mod backends;
mod fleet;
mod gates;
mod lengths;
mod people;
mod plans;
mod policy;
mod tasks;
mod traffic;

pub(crate) use backends::{
    DeviceClassFile, HostedFile, IncidentFile, LimitsFile, PlaceFile, ProvisionedFile, RemoteFile,
    StationFile, ToolFile,
};
pub(crate) use fleet::{EngineArgs, PoolFile, StepTimeFile};
pub(crate) use gates::{CheckSettingsFile, GATES_KEYS};
pub(crate) use lengths::{CV, Lengths};
pub(crate) use people::{AttributeFile, AttributeLawFile, IntentFile, PeopleFile, SessionsFile};
pub(crate) use plans::PlanFile;
pub(crate) use policy::*;
pub(crate) use tasks::{CallFile, CheckFile, QueryFile, StepFile, TIMES, TaskFile, WorkFile};
pub(crate) use traffic::{
    ArrivalsFile, ClientFile, MixFile, Spike, TraceFile, TrafficFile, WEIBULL_SHAPE, how_name,
};

use crate::kinds::Count;
use crate::kinds::{
    Choice, DURATION, Duration, Flag, LENGTH_OF_TIME, LONGEST_RUN, NAME, Number, Or, SENTENCE,
    Whole,
};
use crate::levers::{Values, ValuesKind};
use crate::problem::{At, Site};
use crate::reader::Reader;
use lengths::{duration_dist, lengths};
use sim::units::Span;

/// A scenario file.
pub(crate) struct ScenarioFile {
    pub(crate) site: Site,
    pub(crate) settings: Option<Settings>,
    pub(crate) traffic: Vec<(At<String>, TrafficFile)>,
    pub(crate) tasks: Vec<(At<String>, TaskFile)>,
    pub(crate) models: Vec<(At<String>, ModelFile)>,
    pub(crate) pools: Vec<(At<String>, PoolFile)>,
    pub(crate) plans: Vec<(At<String>, PlanFile)>,
    pub(crate) providers: Vec<(At<String>, RemoteFile)>,
    pub(crate) provisioned: Vec<(At<String>, RemoteFile)>,
    pub(crate) devices: Vec<(At<String>, RemoteFile)>,
    pub(crate) tools: Vec<(At<String>, ToolFile)>,
    pub(crate) intents: Vec<(At<String>, IntentFile)>,
    pub(crate) attributes: Vec<(At<String>, AttributeFile)>,
    pub(crate) policy: PolicyFile,
    pub(crate) objectives: Vec<ObjectiveFile>,
    /// `None` where `[gates]` is not written.
    pub(crate) gates: Option<Vec<ObjectiveFile>>,
    pub(crate) check: Option<CheckSettingsFile>,
    /// Key paths and their values.
    pub(crate) levers: Vec<(Vec<String>, At<Values>)>,
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

/// `[models.NAME]`.
pub(crate) struct ModelFile {
    pub(crate) served_by: Vec<ServingFile>,
    pub(crate) site: Site,
}

/// A backend of a model.
pub(crate) struct ServingFile {
    pub(crate) backend: Option<At<String>>,
    pub(crate) weight: Option<At<f64>>,
}

/// Whether a text can name a task, a source, a model or a pool.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

/// What `[levers]` is for.
const LEVERS_DOC: &str = "What `plan` may change: key paths into scenario and policy, and for each a \
                          range, \"1..8\", \"1..9 step 2\", \"0.5..0.9 in 5\", or a list of values.";

/// Reads a scenario's root.
pub(crate) fn scenario(r: &mut Reader<'_>) -> ScenarioFile {
    let policy_doc = "A file beside this one that holds the policy, in place of inline tables.";
    // The file itself is read before overrides are applied (see `load`).
    r.may("policy", NAME, policy_doc);
    ScenarioFile {
        site: r.site().clone(),
        settings: r.need_table("scenario", "What is simulated, and for how long.", settings),
        traffic: r.named("traffic", "Sources of requests; they add up.", traffic::traffic),
        tasks: r.named("tasks", "Kinds of task that traffic starts.", tasks::task),
        models: r.named("models", "Names that tasks call, and what serves them.", model),
        pools: r.named("pools", "GPU pools: replicas of one engine.", fleet::pool),
        providers: r.named("providers", "Hosted APIs, paid by the token.", backends::provider),
        provisioned: r.named(
            "provisioned",
            "Capacity rented by the hour from somebody else.",
            backends::provisioned,
        ),
        devices: r.named("devices", "Models on the users' own devices.", backends::device),
        tools: r.named("tools", "Retrieval, tools, checks, reviewers.", backends::tool),
        intents: r.named("intents", "What model calls are for, and how well.", people::intent),
        attributes: r.named(
            "attributes",
            "What tasks declare about themselves.",
            people::attribute,
        ),
        plans: r.named("plans", "What tenants pay.", plans::plan),
        policy: policy::policy(r),
        objectives: policy::objectives(r),
        gates: gates::gates(r),
        check: r.table_or_empty("check", "How `check` compares two runs.", gates::check),
        levers: r.paths("levers", ValuesKind, LEVERS_DOC),
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

fn model(r: &mut Reader<'_>) -> ModelFile {
    let doc = "Pools, providers, provisioned capacity and devices: names in order of preference, or \
               `{ backend = NAME, weight = 0.8 }`, of which one is drawn for each call.";
    let serving = |either: Result<At<String>, ServingFile>| {
        either.map_or_else(
            |weighted| weighted,
            |backend| ServingFile { backend: Some(backend), weight: None },
        )
    };
    let served_by = r.eithers("served_by", NAME, weighted, doc);
    ModelFile { served_by: served_by.into_iter().map(serving).collect(), site: r.site().clone() }
}

fn weighted(r: &mut Reader<'_>) -> ServingFile {
    ServingFile {
        backend: r.need("backend", NAME, "Pool, provider, provisioned capacity or device."),
        weight: r.need("weight", Number::within(0.0, 1e9), "Its share of the calls."),
    }
}

/// The two ways a request ends.
const ENDS_BY: Choice<bool> = Choice(&[("eos", true), ("length", false)]);
