//! A sweep as files and as pages: what it is of, its cells, all cells as one table, and which levers
//! matter.
//!
//! ```text
//! Manifest        sweep.json         schema surgeline.sweep/1
//! CellDocument    cells/0000000.json schema surgeline.sweep.cell/1
//! Columns, Rows   sweep.parquet      one row per cell
//! Effects         sensitivity.json   schema surgeline.sweep.sensitivity/1
//! Overview        stdout             text or Markdown
//! ```
//!
//! Invariants: a document is a function of what was swept and found alone, never of when, where or
//! on how many threads; what is read back is what was written, to the last digit, so it makes no
//! difference which cells were run by which process.
//!
//! Deliberately absent: opening files, and running anything.

mod cell;
mod columns;
mod effects;
mod manifest;
mod ordered;
mod page;

pub use cell::{CellDocument, CellResult, Number};
pub use columns::{Columns, ColumnsError, Rows};
pub use effects::{MetricEffects, sensitivity_json};
pub use manifest::{DesignName, LeverValues, Manifest, Replications, ScenarioName};
pub use page::{MOST_ROWS, Overview};
