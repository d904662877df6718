//! The discrete-event simulator at the heart of surgeline.

pub mod units;
pub mod ids;
pub mod dist;
pub mod metrics;
pub mod ledger;
pub mod workload;
pub mod engine;
pub mod fleet;
pub mod scenario;
pub mod outcome;

pub use outcome::Outcome;
pub use scenario::Scenario;
