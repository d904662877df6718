//! What a scenario file comes to: the simulator's inputs and everything known beside them.
//!
//! Deliberately absent: results; and any decision about how often to simulate beyond what the
//! file asks for.

use crate::problem::{Place, Site};
use sim::Scenario;
use sim::ids::{ModelId, PoolId, SourceId, TaskId};
use sim::units::{Money, Span};
use sim::workload::ScaleHow;
use std::path::PathBuf;

/// A scenario with every number filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Name for reports.
    pub name: String,
    /// The question the scenario answers, when it says.
    pub question: Option<String>,
    /// The simulator's inputs.
    pub scenario: Scenario,
    /// How often to simulate.
    pub plan: Plan,
    /// What `run` judges, in the order of the file.
    pub objectives: Vec<Objective>,
    /// What `check` judges: the gates in the order of the file, then the objectives.
    pub gates: Vec<Gate>,
    /// How `check` compares.
    pub check: CheckSettings,
    /// What `plan` may change, in the order of the file.
    pub levers: Vec<Lever>,
    /// What a repair may try where the file does not say.
    pub default_levers: Vec<DefaultLever>,
    /// One per `[traffic.NAME]`: the factor it has and where to write another.
    pub traffic: Vec<Traffic>,
    /// Where each value comes from, in reading order.
    pub provenance: Vec<Provenance>,
    /// What a reader of the results should know.
    pub warnings: Vec<Warning>,
    /// Estimated offered load of each pool (1 = just saturated), from mean lengths and mean
    /// rates; `None` where rates follow from the run itself (closed loop).
    pub offered_load: Vec<Option<f64>>,
    /// One per pool: how far its times can be trusted.
    pub calibration: Vec<PoolCalibration>,
    /// SHA-256 of the scenario, its policy and its overrides, in hexadecimal.
    pub sha256: String,
    /// The files (and folders of files) that it was read from; none of what is shipped.
    pub files: Vec<PathBuf>,
}

/// How far the times of a pool can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolCalibration {
    /// What they rest on, in words.
    pub label: String,
    /// How far they may be off; `None` where the scenario states them.
    pub spread: Option<TimeSpread>,
}

/// How far calibrated times may be off: half-widths of 90 % intervals, logarithms of factors.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSpread {
    /// Whose coefficients they are: the times of pools of one group err alike.
    pub group: String,
    /// Of iterations.
    pub iteration: f64,
    /// Of first tokens, and of the host's work on a request unless it is written.
    pub first_token: f64,
    /// Whether the host's time of a request is written.
    pub host_is_stated: bool,
}

/// How often and how long to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Independent replications.
    pub replications: Replications,
    /// Seed of all random streams.
    pub seed: u64,
    /// Whether the run stands for the steady state, so that `Scenario::warm_up` was cut off.
    pub steady_state: bool,
}

/// Number of replications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replications {
    /// As many as the stopping rule asks for.
    Auto,
    /// Exactly this many, at least 1.
    Fixed(u32),
}

/// A target for one number of the results.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Name in files and reports, `support_reply.p95_latency`.
    pub name: String,
    /// The target as written, `<= 6s`.
    pub target: String,
    /// Which number.
    pub subject: Subject,
    /// On which side of the limit it has to be.
    pub comparison: Comparison,
    /// The limit.
    pub limit: Limit,
    /// Where it was written.
    pub site: Site,
}

/// What a change has to keep: how one number may move, and where it has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Name in files and reports, `support_reply.p95_latency`.
    pub name: String,
    /// The gate as written, `<= +2% or +20ms, <= 6s, else warn`.
    pub text: String,
    /// Which number.
    pub subject: Subject,
    /// How far it may move against the baseline.
    pub change: Option<Change>,
    /// On which side of what it has to be. A gate has a change, a limit or both.
    pub limit: Option<(Comparison, Limit)>,
    /// What breaking it does.
    pub level: Level,
    /// Written in `[gates]`, a default, or derived from an objective.
    pub origin: Origin,
    /// Where it was written; of a default, the table it would stand in.
    pub site: Site,
}

/// How far a number may move against the baseline: the looser of the tolerances counts, and there
/// is at least one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// On which side of the tolerance the change has to be.
    pub comparison: Comparison,
    /// The tolerance as a share of the baseline, signed: 0.02 is two per cent more.
    pub relative: Option<f64>,
    /// The tolerance in the number's own unit.
    pub absolute: Option<Shift>,
}

/// A signed difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Whether it is downwards.
    pub down: bool,
    /// How far.
    pub by: Limit,
}

/// What a finding does to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The check fails.
    Fail,
    /// The check says so, and passes.
    Warn,
}

/// How `check` compares a candidate with its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckSettings {
    /// Pairs of runs to begin with, 10 to 1000.
    pub pairs: u32,
    /// Pairs after which a gate that is still undecided stays so; at least `pairs`.
    pub most_pairs: u32,
    /// Confidence of the bounds that decide a gate.
    pub confidence: f64,
    /// Power with which the change is found that a gate is said to detect.
    pub power: f64,
    /// What a gate does that stays undecided.
    pub inconclusive: Level,
    /// How long a check may take.
    pub time: Span,
}

/// Something that may be changed, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lever {
    /// Key path, `pools.h100.replicas`.
    pub key: String,
    /// At least one and at most 10,000 values: `KEY=VALUE` of each is an override.
    pub values: Vec<String>,
    /// Where it was written.
    pub site: Site,
}

/// Something that a repair may change, though the file does not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultLever {
    /// What sort of repair it is.
    pub kind: LeverKind,
    /// Key path of what it changes.
    pub key: String,
    /// What is there now.
    pub present: String,
    /// From the smallest change to the largest: the overrides of each, which belong together.
    pub candidates: Vec<Vec<String>>,
}

/// Sorts of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeverKind {
    /// More replicas of a pool, or units of rented capacity.
    Replicas,
    /// More GPUs for each replica.
    TensorParallel,
    /// A lower confidence below which a rule goes on to another model.
    Threshold,
    /// A cache of answers by similarity.
    Cache,
    /// A provider that has what a model's pools turn away.
    Overflow,
    /// How much a replica takes before it turns calls away to another backend.
    Admission,
    /// A larger rate limit of a provider.
    RateLimit,
}

/// The traffic factor of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Name of its table.
    pub name: String,
    /// The factor, 1 where none is written.
    pub factor: f64,
    /// What the factor means.
    pub how: ScaleHow,
    /// Key path under which the factor stands, or would have to be written.
    pub key: String,
    /// Likewise of what it means.
    pub how_key: String,
}

/// The number an objective is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A quantile, in thousandths (950 is p95), of one of a task's times.
    Quantile {
        /// The task.
        task: TaskId,
        /// Which time.
        time: TaskTime,
        /// Thousandths: 500, 900, 950 or 990.
        per_mille: u32,
    },
    /// Share of finished tasks that succeeded.
    SuccessRate(TaskId),
    /// Share of finished tasks within their latency target.
    SloAttainment(TaskId),
    /// Successful tasks within their latency target, per second.
    Goodput(TaskId),
    /// Attributed spend of a task divided by its successes.
    TaskCost(TaskId),
    /// Value earned by a task less its attributed spend, per success.
    TaskMargin(TaskId),
    /// A quantile, in thousandths, of one of the times of a model's calls.
    Call {
        /// The model.
        model: ModelId,
        /// Which time.
        time: CallTime,
        /// Thousandths: 500, 900, 950 or 990.
        per_mille: u32,
    },
    /// Spend of the whole fleet per day.
    SpendPerDay,
    /// Spend of the whole fleet per month of 30.4375 days.
    SpendPerMonth,
    /// Spend divided by successful tasks.
    SpendPerSuccessfulTask,
    /// Value earned less spend, per successful task.
    MarginPerTask,
    /// Value earned less spend, per day.
    MarginPerDay,
    /// Value earned less spend, per month of 30.4375 days.
    MarginPerMonth,
    /// What the tenants whom a source brings pay less what they cost, per tenant and month. The
    /// source is the first of its `[traffic.NAME]`, as in the two numbers below.
    MarginPerTenant(SourceId),
    /// Share of those tenants who cost more than they pay.
    LosingTenants(SourceId),
    /// Likewise per tenant and month, of the most expensive hundredth of them.
    MarginPerHeaviestTenant(SourceId),
    /// Mean busy share of a pool's replicas.
    Utilisation(PoolId),
}

/// A time of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskTime {
    /// From arrival to the end of the task.
    Latency,
    /// Time to first token.
    Ttft,
    /// Mean time per output token after the first.
    Tpot,
}

/// A time of a model's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallTime {
    /// Time to first token.
    Ttft,
    /// Mean time per output token after the first.
    Tpot,
    /// From arrival to the last token.
    EndToEnd,
    /// In the engine's queue.
    Queue,
}

/// Side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
}

/// The value of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A time.
    Span(Span),
    /// A share, between 0 and 1.
    Share(f64),
    /// Events per second.
    Rate(f64),
    /// An amount of money.
    Money(Money),
}

/// One value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Key path.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file or an override.
    Written(Place),
    /// The default of this version.
    Default,
    /// Worked out from other values; the text says how.
    Derived(String),
    /// A row of the catalogue; the text names source and date.
    Catalogue(String),
}

/// Something a reader of the results should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it comes from.
    pub site: Site,
    /// What to know.
    pub message: String,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Written(place) => write!(f, "{place}"),
            Origin::Default => write!(f, "default"),
            Origin::Derived(how) => write!(f, "derived: {how}"),
            Origin::Catalogue(source) => write!(f, "catalogue: {source}"),
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.site.place, self.site.key, self.message)
    }
}
