//! A table before it has a look: names, headers, cells and footnotes.
//!
//! Invariant: a row has as many cells as the table has headers.
//!
//! Deliberately absent: alignment, borders and escaping, which each exporter does in its own way.

use crate::format::{Unit, mean_count, number, parts};
use experiments::{Estimate, Range, RunResult};
use std::borrow::Cow;

/// A range narrower than this part of its value is shown as none.
const SLIGHT: f64 = 1e-3;

/// Rows of the same kind of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Headers of the cells; the column of names has none.
    pub headers: Vec<Cow<'static, str>>,
    /// One line of cells each.
    pub rows: Vec<Row>,
    /// Why cells are empty, each reason once.
    pub notes: Vec<String>,
}

/// One line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the row is about.
    pub name: String,
    /// Its numbers.
    pub cells: Vec<Cell>,
}

/// One number and its interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The value with its unit, or `n/a`.
    pub value: String,
    /// The interval in the same unit.
    pub interval: Option<String>,
}

impl Cell {
    /// A cell without an interval.
    #[must_use]
    pub fn plain(value: impl Into<String>) -> Cell {
        Cell { value: value.into(), interval: None }
    }

    /// A count of all replications as its mean per run: what stands beside money per run.
    pub(crate) fn per_run(sum: u64, result: &RunResult) -> Cell {
        Cell::plain(mean_count(sum, result.replications))
    }

    /// The cell of an estimate.
    #[must_use]
    pub fn of(estimate: &Estimate, unit: Unit) -> Cell {
        let (value, interval) = parts(estimate, unit);
        Cell { value, interval }
    }

    /// The same, and how far calibrated times may move it: `3.60–3.70; calibration 3.41–3.92`.
    pub(crate) fn with_calibration(estimate: &Estimate, unit: Unit) -> Cell {
        let (value, interval) = parts(estimate, unit);
        let both = [interval, calibration(estimate, unit)];
        let both: Vec<String> = both.into_iter().flatten().collect();
        Cell { value, interval: (!both.is_empty()).then(|| both.join("; ")) }
    }

    /// On one line: `1.23 s (1.19–1.27)`.
    #[must_use]
    pub fn inline(&self) -> String {
        match &self.interval {
            Some(interval) => format!("{} ({interval})", self.value),
            None => self.value.clone(),
        }
    }
}

impl Table {
    pub(crate) fn new(title: &str, headers: &[&'static str]) -> Table {
        let headers = headers.iter().map(|&header| Cow::Borrowed(header)).collect();
        Table { title: title.into(), headers, rows: Vec::new(), notes: Vec::new() }
    }

    /// One whose headers are names of a file.
    pub(crate) fn headed(title: &str, headers: Vec<String>) -> Table {
        let headers = headers.into_iter().map(Cow::Owned).collect();
        Table { title: title.into(), headers, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row of ready cells.
    pub(crate) fn row(&mut self, name: impl Into<String>, cells: Vec<Cell>) {
        self.rows.push(Row { name: name.into(), cells });
    }

    /// Adds a row of estimates and keeps the reasons of those that lack something.
    pub(crate) fn estimates<const N: usize>(
        &mut self,
        name: impl Into<String>,
        cells: [(&Estimate, Unit); N],
    ) {
        cells.iter().for_each(|(estimate, _)| self.explain(estimate));
        self.row(name, cells.iter().map(|(estimate, unit)| Cell::of(estimate, *unit)).collect());
    }

    /// Notes why an estimate lacks its value or its interval, unless that was said before.
    pub(crate) fn explain(&mut self, estimate: &Estimate) {
        if let Some(note) = why_absent(estimate)
            && !self.notes.contains(&note)
        {
            self.notes.push(note);
        }
    }
}

/// How far calibrated times may move an estimate.
fn calibration(estimate: &Estimate, unit: Unit) -> Option<String> {
    let Range { low, high } = estimate.calibration?;
    let value = estimate.value?;
    let range = match (low, high) {
        (Some(low), Some(high)) if (high - low).abs() < SLIGHT * value.abs() => "±0".to_owned(),
        (Some(low), Some(high)) => parts(&Estimate::with_interval(value, low, high), unit).1?,
        (Some(low), None) => format!("{} or more", number(low, unit)),
        (None, Some(high)) => format!("{} or less", number(high, unit)),
        (None, None) => "not bounded".to_owned(),
    };
    Some(format!("calibration {range}"))
}

/// Why an estimate lacks its value or its interval.
fn why_absent(estimate: &Estimate) -> Option<String> {
    let reason = estimate.reason.as_deref()?;
    Some(if estimate.value.is_none() { format!("n/a: {reason}") } else { reason.into() })
}
