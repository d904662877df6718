//! Reading CSV with problems that name the line and the column.
//!
//! Invariants: columns are found by name, so their order does not matter; an empty cell is an
//! absent value; a number that is none is a problem, not an absent value.
//!
//! Deliberately absent: refusing columns that are not read.

use super::problem::{Problems, quoted};
use super::value;
use sim::units::{Span, Tokens};

/// A table with its header.
pub(super) struct Table {
    columns: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
}

/// One row of a table.
#[derive(Clone, Copy)]
pub(super) struct Row<'t> {
    table: &'t Table,
    cells: &'t csv::StringRecord,
    pub(super) line: u64,
}

impl Table {
    /// Reads a table and asks for the columns that have to be there.
    pub(super) fn read(text: &str, needed: &[&str], problems: &mut Problems) -> Option<Table> {
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let columns: Vec<String> = match reader.headers() {
            Ok(headers) => headers.iter().map(str::to_owned).collect(),
            Err(error) => {
                problems.push(1, "", format!("no table: {error}"));
                return None;
            }
        };
        let missing: Vec<&str> =
            needed.iter().copied().filter(|name| !columns.iter().any(|c| c == name)).collect();
        if !missing.is_empty() {
            let missing = missing.join("`, `");
            problems.push(1, "", format!("the first line must name the columns `{missing}`"));
            return None;
        }
        let mut rows = Vec::new();
        for record in reader.into_records() {
            match record {
                Ok(cells) => rows.push((cells.position().map_or(0, csv::Position::line), cells)),
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    problems.push(line, "", format!("no row of the table: {error}"));
                }
            }
        }
        Some(Table { columns, rows })
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, cells)| Row { table: self, cells, line: *line })
    }
}

impl<'t> Row<'t> {
    /// The cell of a column, unless it is empty or there is no such column.
    pub(super) fn text(&self, column: &str) -> Option<&'t str> {
        let index = self.table.columns.iter().position(|name| name == column)?;
        self.cells.get(index).filter(|cell| !cell.is_empty())
    }

    /// Reports that a cell is not what it should be.
    pub(super) fn wrong(&self, column: &str, problems: &mut Problems, message: impl Into<String>) {
        problems.push(self.line, column, message);
    }

    fn need(&self, column: &str, problems: &mut Problems) -> Option<&'t str> {
        let cell = self.text(column);
        if cell.is_none() {
            self.wrong(column, problems, "the cell is empty");
        }
        cell
    }

    fn parsed<T>(
        &self,
        column: &str,
        problems: &mut Problems,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let cell = self.need(column, problems)?;
        let parsed = parse(cell);
        if parsed.is_none() {
            let found = quoted(cell);
            self.wrong(column, problems, format!("expected {expected}, found {found}"));
        }
        parsed
    }

    /// A finite number that has to be there.
    pub(super) fn number(&self, column: &str, problems: &mut Problems) -> Option<f64> {
        let parse = |cell: &str| cell.parse().ok().filter(|number: &f64| number.is_finite());
        self.parsed(column, problems, "a number", parse)
    }

    /// A whole number from 0 that has to be there.
    pub(super) fn whole(&self, column: &str, problems: &mut Problems) -> Option<u64> {
        self.parsed(column, problems, "a whole number from 0", |cell| cell.parse().ok())
    }

    /// A whole number from 0 below 2³² that has to be there.
    pub(super) fn count(&self, column: &str, problems: &mut Problems) -> Option<u32> {
        self.parsed(column, problems, "a whole number from 0 below 2³²", |cell| cell.parse().ok())
    }

    /// A number of tokens that has to be there.
    pub(super) fn tokens(&self, column: &str, problems: &mut Problems) -> Option<Tokens> {
        let number = self.number(column, problems)?;
        value::tokens(number).map_err(|message| self.wrong(column, problems, message)).ok()
    }

    /// A duration in `unit` seconds that has to be there.
    pub(super) fn span(&self, column: &str, unit: f64, problems: &mut Problems) -> Option<Span> {
        let number = self.number(column, problems)?;
        value::span(number, unit).map_err(|message| self.wrong(column, problems, message)).ok()
    }
}
