//! Turns what an experiment found into documents: JSON for tools, text for a terminal, Markdown
//! for a review.
//!
//! [`text`] and [`markdown`] render the same [`sections`], so neither can say what the other
//! leaves out; [`json`] is the full record. Numbers get their units and their rounding in
//! [`mod@format`] and nowhere else.
//!
//! Invariants: a document is a function of the [`Report`] alone; a number that is absent is
//! absent in every document and says why; no document rounds money in JSON.
//!
//! Deliberately absent: simulating, judging, reading or writing files, and the decision whether a
//! terminal wants colour.

pub mod format;
mod names;
mod report;
mod table;
mod economy;
mod policy;
mod warnings;
pub mod sections;
pub mod picture;
pub mod text;
pub mod markdown;
pub mod html;
pub mod command;
pub mod contrast;
pub mod check;
pub mod compare;
pub mod what_if;
pub mod plan;
pub mod json;
pub mod digest;
pub mod ci;
pub mod gpu_profile;
pub mod parquet;
pub mod plots;
pub mod trace_table;
pub mod score;
pub mod sweep;
pub mod tables;

pub use report::{ProvenanceRow, Report, ScenarioInfo};
