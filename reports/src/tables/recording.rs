//! Takes what one replication reports and writes its tables.
//!
//! Invariants: what is kept of tasks under way goes with them, so memory follows tasks in flight; once
//! something could not be written, nothing more is, and finishing says why.
//!
//! Deliberately absent: which replications count.

use super::calls::{self, CallRow};
use super::ledger::{self, LedgerRow};
use super::out::{Sheet, Sink};
use super::tasks::{self, Sums, TaskRow};
use super::windows::{self, WindowRow};
use super::{Format, Sample, Table, TablesError};
use sim::ids::SourceId;
use sim::record::{AttemptRecord, Recorder, TaskRecord};
use sim::{Outcome, Scenario};
use std::collections::BTreeMap;
use std::io;

/// Which replication of what.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The scenario as it is run, its warm-up included.
    pub scenario: &'a Scenario,
    /// The seed of all replications.
    pub seed: u64,
    /// The number of this one.
    pub replication: u32,
    /// The tasks that have rows.
    pub sample: Sample,
}

impl Context<'_> {
    fn has(&self, source: SourceId, number: u64) -> bool {
        self.sample.has((self.seed, self.replication), source, number)
    }
}

/// Opens the files of a table, one for each format wanted.
pub type Open<'a> = dyn Fn(Table) -> io::Result<Vec<(Format, Sink<'a>)>> + 'a;

/// The tables of one replication under way; a [`Recorder`] of its simulation.
pub struct Recording<'a> {
    context: Context<'a>,
    tasks: Sheet<'a, TaskRow<'a>>,
    calls: Sheet<'a, CallRow<'a>>,
    windows: Sheet<'a, WindowRow<'a>>,
    ledger: Sheet<'a, LedgerRow<'a>>,
    /// What was attempted for tasks of the sample that are under way.
    sums: BTreeMap<(SourceId, u64), Sums>,
    failed: Option<TablesError>,
}

impl<'a> Recording<'a> {
    /// Begins the tables of a replication.
    ///
    /// # Errors
    /// A file could not be opened or written.
    pub fn new(context: Context<'a>, open: &Open<'a>) -> Result<Recording<'a>, TablesError> {
        let sample = context.sample;
        let all = Sample::default();
        Ok(Recording {
            context,
            tasks: Sheet::new(Table::Tasks, tasks::columns(), sample, open(Table::Tasks)?)?,
            calls: Sheet::new(Table::Calls, calls::columns(), sample, open(Table::Calls)?)?,
            windows: Sheet::new(Table::Windows, windows::columns(), all, open(Table::Windows)?)?,
            ledger: Sheet::new(Table::Ledger, ledger::columns(), all, open(Table::Ledger)?)?,
            sums: BTreeMap::new(),
            failed: None,
        })
    }

    /// Ends the tables, with what the replication came to.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub fn finish(mut self, outcome: &Outcome) -> Result<(), TablesError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let context = self.context;
        windows::rows(context, outcome, &mut |row| self.windows.add(row))?;
        let groups = experiments::ledger::tenant_groups(context.scenario);
        for line in experiments::ledger::lines(outcome, context.scenario) {
            self.ledger.add(LedgerRow::of(context, line, &groups))?;
        }
        self.tasks.finish()?;
        self.calls.finish()?;
        self.windows.finish()?;
        self.ledger.finish()
    }
}

impl Recorder for Recording<'_> {
    fn attempt(&mut self, record: &AttemptRecord) {
        let identity = (record.source, record.number);
        if self.failed.is_some() || !self.context.has(identity.0, identity.1) {
            return;
        }
        if !record.late {
            self.sums.entry(identity).or_default().add(record);
        }
        let row = CallRow { context: self.context, record: *record };
        self.failed = self.calls.add(row).err();
    }

    fn task(&mut self, record: &TaskRecord) {
        let identity = (record.source, record.number);
        if self.failed.is_some() || !self.context.has(identity.0, identity.1) {
            return;
        }
        let sums = self.sums.remove(&identity).unwrap_or_default();
        let row = TaskRow { context: self.context, record: *record, sums };
        self.failed = self.tasks.add(row).err();
    }
}

/// The calls of one replication alone, as CSV.
pub struct CallRows<'a> {
    context: Context<'a>,
    calls: Sheet<'a, CallRow<'a>>,
    failed: Option<TablesError>,
}

impl<'a> CallRows<'a> {
    /// Begins the file.
    ///
    /// # Errors
    /// It could not be written.
    pub fn new(context: Context<'a>, out: Sink<'a>) -> Result<CallRows<'a>, TablesError> {
        let sinks = vec![(Format::Csv, out)];
        let calls = Sheet::new(Table::Calls, calls::columns(), context.sample, sinks)?;
        Ok(CallRows { context, calls, failed: None })
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It could not be written, now or before.
    pub fn finish(self) -> Result<(), TablesError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.calls.finish(),
        }
    }
}

impl Recorder for CallRows<'_> {
    fn attempt(&mut self, record: &AttemptRecord) {
        if self.failed.is_none() && self.context.has(record.source, record.number) {
            let row = CallRow { context: self.context, record: *record };
            self.failed = self.calls.add(row).err();
        }
    }
}
