//! Runs a scenario many times and decides what can be said about it.
//!
//! One replication is one independent, seeded run of the whole horizon, and the only unit of
//! inference: requests of one run share its queues, so an interval computed from them as if they
//! were independent covers the truth in a small part of the cases it promises. Every estimate
//! here is pooled over replications, and its interval comes from leaving one replication out at
//! a time.
//!
//! Invariants: a result depends on the scenario, the plan and the simulator only, never on the
//! number of threads; a number the sample cannot support is absent and says why; a total of
//! money is an integer number of pico-dollars.
//!
//! ```
//! use experiments::{ExitStatus, NoProgress, Objective, Plan, Runner, run};
//!
//! /// `simulate` runs one replication: `(scenario, seed, replication)`.
//! fn verdict(scenario: &sim::Scenario, simulate: &Runner<'_>, objectives: &[Objective]) -> u8 {
//!     let plan = Plan { seed: 42, ..Plan::default() };
//!     match run(scenario, &plan, objectives, simulate, &NoProgress) {
//!         Ok(result) => ExitStatus::of(&result.objectives).code(),
//!         Err(_) => 130,
//!     }
//! }
//! ```
//!
//! Deliberately absent: reading files, printing, exit codes of a process, and the simulator
//! itself, which is handed in as a [`Runner`].

pub mod arms;
pub mod bottleneck;
mod bill;
pub mod calibration;
pub mod case;
pub mod check;
pub mod compare;
pub mod contrast;
pub mod determinism;
mod drivers;
pub mod estimate;
pub mod examples;
pub mod gate;
pub mod headroom;
pub mod knee;
pub mod ledger;
pub mod metric;
mod money;
pub mod objectives;
pub mod paired;
pub mod planner;
mod pooled;
mod record;
pub mod repair;
mod replicate;
mod result;
mod revenue;
pub mod stability;
pub mod trial;
pub mod what_if;
mod storm;
mod summary;
pub mod sweep;
mod tenants;
pub mod warm_up;
pub mod warnings;
mod work;

pub use arms::Arms;
pub use bill::TokenSpend;
pub use calibration::{Uncertain, UncertainPool};
pub use case::Case;
pub use drivers::TaskDrivers;
pub use estimate::{Distribution, Estimate, Range};
pub use metric::{CallTime, Metric, Quantile};
pub use objectives::{Comparison, ExitStatus, Objective, ObjectiveResult};
pub use record::{ModelTimes, Record};
pub use replicate::{
    Halt, NoProgress, Phase, Plan, Progress, ReplicateError, Replications, Runner, Sample,
    StopReason, replicate,
};
pub use result::{
    CostDrivers, CostPart, CostsBeside, Items, LatencyShares, Margin, ModelResult, PoolResult,
    Revenue, RunResult, SpendBy, SpendResult, TaskCounts, TaskMoney, TaskResult,
};
pub use stability::{Stability, Verdict};
pub use storm::{Amplification, RetryLoad};
pub use summary::{run, run_calibrated, summarise};
pub use tenants::{HEAVIEST, Heaviest, TenantGroup, TenantsId};
pub use warm_up::WarmUp;
pub use warnings::Warning;
pub use work::{BreakerCounts, ModelWork, RemoteResult, TaskWork, ToolResult};

/// Confidence of every interval unless it says otherwise.
pub const CONFIDENCE: f64 = 0.95;
