//! The discrete-event simulator at the heart of surgeline.
//!
//! A [`Scenario`] is plain data; [`Simulation::new`] turns it, a seed and a replication number into
//! a run; [`Simulation::run`] gives an [`Outcome`]. Nothing here reads files, prints, asks the
//! time or starts a thread, and once built a simulation cannot fail.
//!
//! The modules stand in the order of use: each uses only those above it (the suite's `tidy` reads
//! this list and checks it).
//!
//! # Invariants
//! 1. Equal scenario, seed and replication give equal outcomes, bit for bit, on every machine.
//! 2. Events are totally ordered by time, rank and slot ([`event`]); time never goes back.
//! 3. Every random draw of a request is made at its birth from its own stream ([`dice`]).
//! 4. The fast engine equals the reference engine ([`engine`]) to the picosecond and the block.
//! 5. Memory follows requests in flight, not requests simulated.
//! 6. Quantities are integers; they are priced once, at the edge ([`ledger`]).
//! 7. What arrived is accounted for, twice ([`audit`]).

pub mod stats;
pub mod units;
pub mod ids;
pub mod dice;
pub mod dist;
pub mod event;
pub mod agenda;
pub mod ledger;
pub mod metrics;
pub mod workload;
pub mod predicate;
pub mod cache;
pub mod engine;
pub mod resilience;
pub mod backends;
pub mod fleet;
pub mod router;
pub mod price;
pub mod routing;
pub mod tasks;
pub mod scenario;
pub mod outcome;
pub mod audit;
pub mod record;
pub mod simulation;

pub use outcome::Outcome;
pub use scenario::Scenario;
pub use simulation::Simulation;
