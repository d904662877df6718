//! The discrete-event simulator at the heart of surgeline.
//!
//! The modules stand in the order of use: each uses only those above it (the suite's `tidy` reads
//! this list and checks it).

pub mod units;
pub mod ids;
pub mod dice;
pub mod dist;
pub mod event;
pub mod agenda;
pub mod ledger;
pub mod metrics;
pub mod workload;
pub mod engine;
pub mod fleet;
pub mod router;
pub mod scenario;
pub mod outcome;
pub mod audit;
pub mod record;
pub mod simulation;

pub use outcome::Outcome;
pub use scenario::Scenario;
pub use simulation::Simulation;
