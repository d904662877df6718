//! Scenario files: from TOML text to the resolved inputs of the simulator.
//!
//! ```text
//! text ─ document ─► tree ─ reader, file ─► ScenarioFile ─ resolve ─► Resolved { sim::Scenario, … }
//! ```
//!
//! Invariants: every problem of a text is listed at once, each with file, line and column; no
//! input makes anything here panic; a number that was not written has its origin in the
//! provenance; nothing outside the scenario's folder is read.
//!
//! Deliberately absent: simulation, and knowledge of hardware (see `calibrate`).

mod condition;
mod document;
mod file;
mod kinds;
mod levers;
pub mod library;
mod load;
pub mod problem;
pub mod quantity;
mod reader;
mod resolve;
pub mod resolved;
mod schema;
mod source_files;
mod standalone;
pub mod trace;
mod traffic_factor;

pub use condition::confidence_bounds;
pub use levers::parse_lever;
pub use load::{Blueprint, load_file, load_library, load_str};
pub use problem::{Problem, ProblemKind, Problems};
pub use resolved::Resolved;
pub use schema::{SchemaKind, schema};
pub use traffic_factor::multiplied;
