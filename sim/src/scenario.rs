//! The resolved inputs of one simulation: plain data, every number filled in.
//!
//! `scenarios` builds it from files and is the place where bad values are refused; the
//! constructor of `Simulation` relies on what the field comments promise.

use crate::backends::{RemoteSpec, ToolSpec};
use crate::cache::{ExactCacheSpec, SemanticCacheSpec};
use crate::fleet::PoolSpec;
use crate::ids::{Backend, PoolId};
use crate::price::{PlanSpec, SpendLimit};
use crate::resilience::GuardSpec;
use crate::routing::RoutingSpec;
use crate::tasks::{IntentSpec, Quality, TaskSpec};
use crate::units::{Span, Time};
use crate::workload::SourceSpec;

/// Everything a simulation needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// Requests arrive in `[0, horizon)`; then the run drains. At most 100 days.
    pub horizon: Span,
    /// Requests that arrive before this instant are simulated but not counted; below `horizon`.
    pub warm_up: Span,
    /// Kinds of task; `SourceSpec::task` points here.
    pub tasks: Vec<TaskSpec>,
    /// Where requests come from.
    pub sources: Vec<SourceSpec>,
    /// Names that tasks call and routing chooses between.
    pub models: Vec<ModelSpec>,
    /// GPU pools.
    pub pools: Vec<PoolSpec>,
    /// Hosted and provisioned models, devices.
    pub remotes: Vec<RemoteSpec>,
    /// Retrieval, tools, reviewers.
    pub tools: Vec<ToolSpec>,
    /// What model calls are for.
    pub intents: Vec<IntentSpec>,
    /// Attributes that tasks declare.
    pub attributes: Vec<String>,
    /// Words of attributes and intents that conditions compare.
    pub symbols: Vec<String>,
    /// Which model a call goes to.
    pub routing: RoutingSpec,
    /// Cache of answers to similar questions.
    pub semantic_cache: Option<SemanticCacheSpec>,
    /// Cache of answers to equal questions.
    pub exact_cache: Option<ExactCacheSpec>,
    /// Limits on what calls and tools may cost.
    pub spend_limits: Vec<SpendLimit>,
    /// What tenants pay.
    pub plans: Vec<PlanSpec>,
    /// Width of a window of the time series; positive.
    pub window: Span,
}

impl Scenario {
    /// Whether the drain has taken longer than the run itself. Whoever would try again for ever
    /// stops then: with a cause that never passes the run would not end.
    #[must_use]
    pub fn drains_for_long(&self, now: Time) -> bool {
        now.0 > self.horizon.0.saturating_mul(2)
    }
}

/// A model name, who serves it, how well, and how its calls are guarded.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ModelSpec {
    /// Name in files and reports.
    pub name: String,
    /// Stable key of the luck of its answers and of the pauses before its retries (a hash of the
    /// name).
    pub key: u64,
    /// Backends, at least one.
    pub served_by: Vec<Serving>,
    /// How one of them is chosen.
    pub choice: BackendChoice,
    /// What is done about attempts that fail or take long.
    pub guards: GuardSpec,
    /// How well it does, one for each of `Scenario::intents`; missing ones are always right.
    pub quality: Vec<Quality>,
}

/// A backend of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Serving {
    /// Which.
    pub backend: Backend,
    /// Its share of the calls under [`BackendChoice::Weighted`], ≥ 0, some positive.
    pub weight: f64,
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// The first that takes the attempt.
    #[default]
    Ordered,
    /// One drawn by weight; when it refuses, the others in order.
    Weighted,
}

impl ModelSpec {
    /// A model on pools in order of preference, always right and unguarded.
    #[must_use]
    pub fn on_pools(name: &str, pools: &[PoolId]) -> ModelSpec {
        let serving = |&pool: &PoolId| Serving { backend: Backend::Pool(pool), weight: 1.0 };
        ModelSpec {
            name: name.to_owned(),
            served_by: pools.iter().map(serving).collect(),
            ..ModelSpec::default()
        }
    }

    /// Its pools, in order.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> {
        self.served_by.iter().filter_map(|serving| match serving.backend {
            Backend::Pool(pool) => Some(pool),
            Backend::Remote(_) => None,
        })
    }
}
