//! The discrete-event simulator at the heart of surgeline.

pub mod stats;

pub mod dist;
pub mod engine;
pub mod fleet;
pub mod ids;
pub mod ledger;
pub mod metrics;
pub mod outcome;
pub mod scenario;
pub mod units;
pub mod workload;

pub use outcome::Outcome;
pub use scenario::Scenario;
