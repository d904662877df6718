//! The resolved inputs of one simulation: plain data, every number filled in.
//!
//! `scenarios` builds it from files and is the place where bad values are refused; the
//! constructor of `Simulation` relies on what the field comments promise.

use crate::fleet::PoolSpec;
use crate::ids::{ModelId, PoolId};
use crate::units::{Money, Span};
use crate::workload::SourceSpec;

/// Everything a simulation needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Requests arrive in `[0, horizon)`; then the run drains. At most 100 days.
    pub horizon: Span,
    /// Requests that arrive before this instant are simulated but not counted; below `horizon`.
    pub warm_up: Span,
    /// Kinds of task; `SourceSpec::task` points here.
    pub tasks: Vec<TaskSpec>,
    /// Where requests come from.
    pub sources: Vec<SourceSpec>,
    /// Names that tasks call; `TaskSpec::model` points here.
    pub models: Vec<ModelSpec>,
    /// GPU pools; `ModelSpec::served_by` points here.
    pub pools: Vec<PoolSpec>,
    /// Width of a window of the time series; positive.
    pub window: Span,
}

/// One kind of task: for now exactly one model call.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Name in files and reports.
    pub name: String,
    /// The model it calls.
    pub model: ModelId,
    /// What a successful task earns; `None` when the scenario does not say.
    pub value: Option<Money>,
    /// A task that takes longer is late: it counts against SLO attainment and goodput.
    pub latency_slo: Option<Span>,
}

/// A model name and who serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Name in files and reports.
    pub name: String,
    /// Pools in order of preference, at least one; the next is tried when one rejects.
    pub served_by: Vec<PoolId>,
}
