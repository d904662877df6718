//! What a run did as tables for other tools: tasks, calls, windows and ledger lines.
//!
//! ```text
//! TaskRecord, AttemptRecord ──► Recording ──► tasks, calls ┐
//! Outcome ──────────────────────────────────► windows, ledger ├─► Sheet ─► Parquet, CSV, JSON lines
//! ```
//!
//! What columns there are stands in one place for each table, the module of its name: name, type, unit,
//! meaning and where the value comes from. All formats and the documentation's test read it there.
//!
//! Invariants: rows are a function of scenario, seed and replication; all formats hold the same rows,
//! of a sample too; money is whole pico-dollars; rows go out in batches, so memory does not grow with
//! them.
//!
//! Deliberately absent: opening files (whoever writes is handed in), and reading tables back.

mod calls;
mod column;
mod ledger;
mod out;
mod recording;
mod sample;
mod tasks;
mod windows;

pub use column::{Field, Kind};
pub use out::{Format, Sink, TablesError};
pub use recording::{CallRows, Context, Open, Recording};
pub use sample::Sample;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// A row for each task.
    Tasks,
    /// A row for each attempt of a model call.
    Calls,
    /// A row for each window of time and part of the system.
    Windows,
    /// A row for each line of the books.
    Ledger,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 4] = [Table::Tasks, Table::Calls, Table::Windows, Table::Ledger];

    /// As folders and files are called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Tasks => "tasks",
            Table::Calls => "calls",
            Table::Windows => "windows",
            Table::Ledger => "ledger",
        }
    }

    /// Its columns, in their order.
    #[must_use]
    pub fn fields(self) -> Vec<Field> {
        match self {
            Table::Tasks => column::fields(&tasks::columns()),
            Table::Calls => column::fields(&calls::columns()),
            Table::Windows => column::fields(&windows::columns()),
            Table::Ledger => column::fields(&ledger::columns()),
        }
    }

    /// What the metadata of a Parquet file say it is.
    pub(crate) fn kind(self) -> String {
        format!("{}/1", self.name())
    }
}
