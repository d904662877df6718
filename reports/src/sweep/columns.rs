//! All cells as one table: a row for each, written in batches so that a million fit.
//!
//! Columns: `cell`; one per lever, named by its key, as whole numbers, as numbers or as text,
//! whichever all of its values are; `refused`, `replications`, `events` and `stability`; then for
//! each number its value under its path, and `.low`, `.high` behind it; `.met` for each objective.
//!
//! Invariants: a column's type follows from the manifest, its place from the order in which cells
//! bring it; a value that is absent is null; no two columns have one name.
//!
//! Deliberately absent: reasons, counts and hashes, which the cells' own files have.

use super::cell::{CellDocument, Number};
use super::manifest::{LeverValues, Manifest};
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    Column, DataFrame, KeyValueMetadata, NamedFrom, ParquetWriter, PolarsError, Series,
};
use std::collections::BTreeSet;
use std::io::Write;

/// Rows in memory at once.
const BATCH: usize = 1_024;
/// The key of the metadata that says what a file is, and its value.
const KIND: (&str, &str) = ("surgeline.table", "sweep/1");

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The file could not be written.
    #[error("{0}")]
    Parquet(#[from] PolarsError),
}

/// What a lever's column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Whole,
    Number,
    Text,
}

/// The columns of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    levers: Vec<(String, Holds)>,
    numbers: Vec<String>,
    objectives: Vec<String>,
    /// What `numbers` and `objectives` have.
    known: BTreeSet<(bool, String)>,
}

impl Columns {
    /// Those of the levers; the others come with the cells.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Columns {
        let lever = |lever: &LeverValues| (lever.key.clone(), holds(&lever.values));
        Columns { levers: manifest.levers.iter().map(lever).collect(), ..Columns::default() }
    }

    /// Adds the columns that a cell needs.
    pub fn learn(&mut self, cell: &CellDocument) {
        for (path, _) in cell.numbers() {
            if self.known.insert((true, path.to_owned())) {
                self.numbers.push(path.to_owned());
            }
        }
        for (name, _) in cell.objectives() {
            if self.known.insert((false, name.to_owned())) {
                self.objectives.push(name.to_owned());
            }
        }
    }

    fn frame(&self, cells: &[CellDocument]) -> Result<DataFrame, PolarsError> {
        let results = || cells.iter().map(|cell| cell.result.as_ref());
        let number = |cell: &CellDocument| u32::try_from(cell.cell).unwrap_or(u32::MAX);
        let mut columns = vec![column("cell", cells.iter().map(number).collect::<Vec<_>>())];
        columns.extend((0..self.levers.len()).map(|at| self.lever(at, cells)));
        let refused: Vec<Option<&str>> = cells.iter().map(|cell| cell.refused.as_deref()).collect();
        let replications: Vec<Option<u32>> = results().map(|r| Some(r?.replications)).collect();
        let events: Vec<Option<u64>> = results().map(|r| Some(r?.events)).collect();
        let verdicts: Vec<Option<&str>> = cells.iter().map(CellDocument::verdict).collect();
        columns.push(column("refused", refused));
        columns.push(column("replications", replications));
        columns.push(column("events", events));
        columns.push(column("stability", verdicts));
        for path in &self.numbers {
            let found: Vec<Option<&Number>> = cells.iter().map(|cell| cell.number(path)).collect();
            let part = |name: &str, pick: fn(&Number) -> Option<f64>| {
                let values = found.iter().map(|number| number.and_then(pick));
                column(name, values.collect::<Vec<Option<f64>>>())
            };
            columns.push(part(path, |number| number.value));
            columns.push(part(&format!("{path}.low"), |number| number.low));
            columns.push(part(&format!("{path}.high"), |number| number.high));
        }
        for name in &self.objectives {
            let met = |cell: &CellDocument| {
                cell.objectives().find(|(known, _)| known == name).and_then(|(_, met)| met)
            };
            let values: Vec<Option<bool>> = cells.iter().map(met).collect();
            columns.push(column(&format!("{name}.met"), values));
        }
        distinct(&mut columns);
        DataFrame::new(cells.len(), columns)
    }

    fn lever(&self, at: usize, cells: &[CellDocument]) -> Column {
        let (key, holds) = &self.levers[at];
        let values = cells.iter().map(|cell| cell.values().nth(at));
        match holds {
            Holds::Whole => {
                let values: Vec<Option<i64>> = values.map(|v| v?.parse().ok()).collect();
                column(key, values)
            }
            Holds::Number => {
                let values: Vec<Option<f64>> = values.map(|v| v?.parse().ok()).collect();
                column(key, values)
            }
            Holds::Text => column(key, values.collect::<Vec<_>>()),
        }
    }
}

fn column<T, Kind: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, Kind>,
{
    Column::new(name.into(), values)
}

/// What all values of a lever are.
fn holds(values: &[String]) -> Holds {
    let number = |text: &String| text.parse::<f64>().is_ok_and(f64::is_finite);
    if values.iter().all(|text| text.parse::<i64>().is_ok()) {
        Holds::Whole
    } else if values.iter().all(number) {
        Holds::Number
    } else {
        Holds::Text
    }
}

/// Numbers the later ones of columns that would have the same name.
fn distinct(columns: &mut [Column]) {
    let mut seen = BTreeSet::new();
    for column in columns {
        let name = column.name().to_string();
        let mut free = name.clone();
        let mut copy = 2;
        while !seen.insert(free.clone()) {
            free = format!("{name}#{copy}");
            copy += 1;
        }
        column.rename(free.into());
    }
}

/// The rows of a Parquet file on their way out.
pub struct Rows<'a, W: Write> {
    columns: &'a Columns,
    waiting: Vec<CellDocument>,
    out: BatchedWriter<W>,
}

impl<'a, W: Write + Send> Rows<'a, W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It could not be written.
    pub fn new(columns: &'a Columns, out: W) -> Result<Rows<'a, W>, ColumnsError> {
        let (key, value) = KIND;
        let pairs = vec![(key.to_owned(), value.to_owned())];
        let writer = ParquetWriter::new(out)
            .with_key_value_metadata(Some(KeyValueMetadata::from_static(pairs)));
        let out = writer.batched(columns.frame(&[])?.schema())?;
        Ok(Rows { columns, waiting: Vec::new(), out })
    }

    /// Adds a row; its columns are known.
    ///
    /// # Errors
    /// It could not be written.
    pub fn add(&mut self, cell: CellDocument) -> Result<(), ColumnsError> {
        self.waiting.push(cell);
        if self.waiting.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ColumnsError> {
        if !self.waiting.is_empty() {
            self.out.write_batch(&self.columns.frame(&self.waiting)?)?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It could not be written.
    pub fn finish(mut self) -> Result<(), ColumnsError> {
        self.flush()?;
        self.out.finish()?;
        Ok(())
    }
}
