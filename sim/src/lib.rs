//! The discrete-event simulator at the heart of surgeline.
//!
//! The modules stand in the order of use: each uses only those above it (the suite's `tidy` reads
//! this list and checks it).

pub mod units;
pub mod ids;
pub mod dist;
pub mod ledger;
pub mod metrics;
pub mod workload;
pub mod engine;
pub mod fleet;
pub mod scenario;
pub mod outcome;

pub use outcome::Outcome;
pub use scenario::Scenario;
