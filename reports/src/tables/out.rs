//! Rows on their way out: gathered in batches, column by column, and written in each format.
//!
//! Invariants: each format gets the same values in the same order; a batch has so many rows whatever
//! the machine, so the bytes are the same everywhere; text is quoted where its format needs it.
//!
//! Deliberately absent: files.

use super::column::{Cell, Column, Kind};
use super::{Sample, Table};
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{Column as Series, DataFrame, KeyValueMetadata, ParquetWriter, PolarsError};
use sim::units::Money;
use std::borrow::Cow;
use std::io::{self, Write};

/// Rows in memory at once, and in a row group of Parquet. Half as many take no less memory when there
/// are a million rows: what a file says of its row groups at its end is kept until then.
const BATCH: usize = 1 << 14;

/// Where bytes go.
pub type Sink<'a> = Box<dyn Write + Send + 'a>;

/// A format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Parquet, compressed by zstd.
    Parquet,
    /// Comma-separated values under a header (RFC 4180, with line feeds).
    Csv,
    /// A JSON object on each line.
    JsonLines,
}

impl Format {
    /// As files end.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
        }
    }
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// A file could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The same, told by the writer of Parquet.
    #[error("{0}")]
    Parquet(PolarsError),
    /// More than a column holds.
    #[error("the column {column} of {table} holds up to $9.22 million a row, and here are {}", crate::format::dollars_exact(*amount))]
    Amount {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// How much it is.
        amount: Money,
    },
}

impl From<PolarsError> for TablesError {
    fn from(error: PolarsError) -> TablesError {
        TablesError::Parquet(error)
    }
}

impl From<csv::Error> for TablesError {
    fn from(error: csv::Error) -> TablesError {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => TablesError::Io(error),
            other => TablesError::Io(io::Error::other(format!("{other:?}"))),
        }
    }
}

/// The values of a column in a batch.
enum Values<'a> {
    Whole(Vec<Option<i64>>),
    Number(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Text(Vec<Option<Cow<'a, str>>>),
}

impl<'a> Values<'a> {
    fn of(kind: Kind) -> Values<'a> {
        match kind {
            Kind::Whole | Kind::Money => Values::Whole(Vec::new()),
            Kind::Number => Values::Number(Vec::new()),
            Kind::Flag => Values::Flag(Vec::new()),
            Kind::Text => Values::Text(Vec::new()),
        }
    }

    /// Takes a value; how much money it was that the column cannot hold, if so.
    fn push(&mut self, cell: Cell<'a>) -> Result<(), Money> {
        match (self, cell) {
            // Counts of a run are far below 2⁶³.
            (Values::Whole(all), Cell::Whole(value)) => all.push(value.map(|value| value as i64)),
            (Values::Whole(all), Cell::Money(money)) => {
                all.push(Some(i64::try_from(money.0).map_err(|_| money)?));
            }
            (Values::Number(all), Cell::Number(value)) => all.push(value),
            (Values::Flag(all), Cell::Flag(value)) => all.push(value),
            (Values::Text(all), Cell::Text(value)) => all.push(value),
            (all, cell) => {
                debug_assert!(false, "{cell:?} is not of its column's kind");
                all.push_nothing();
            }
        }
        Ok(())
    }

    fn push_nothing(&mut self) {
        match self {
            Values::Whole(all) => all.push(None),
            Values::Number(all) => all.push(None),
            Values::Flag(all) => all.push(None),
            Values::Text(all) => all.push(None),
        }
    }

    fn clear(&mut self) {
        match self {
            Values::Whole(all) => all.clear(),
            Values::Number(all) => all.clear(),
            Values::Flag(all) => all.clear(),
            Values::Text(all) => all.clear(),
        }
    }

    fn series(&self, name: &'static str) -> Series {
        let name = name.into();
        match self {
            Values::Whole(all) => Series::new(name, all.as_slice()),
            Values::Number(all) => Series::new(name, all.as_slice()),
            Values::Flag(all) => Series::new(name, all.as_slice()),
            Values::Text(all) => {
                Series::new(name, all.iter().map(Option::as_deref).collect::<Vec<_>>())
            }
        }
    }

    /// A value as CSV has it before quoting, and JSON if it is no text; `None`: there is none.
    fn written(&self, row: usize, into: &mut String) -> Option<()> {
        use std::fmt::Write;
        into.clear();
        match self {
            Values::Whole(all) => write!(into, "{}", all[row]?),
            // As many digits as tell it from every other float, and a point or an exponent.
            Values::Number(all) => write!(into, "{:?}", all[row]?),
            Values::Flag(all) => write!(into, "{}", all[row]?),
            Values::Text(all) => into.write_str(all[row].as_deref()?),
        }
        .ok()
    }
}

/// One format of one table under way.
enum Writer<'a> {
    Parquet(Box<BatchedWriter<Sink<'a>>>),
    Csv(Box<csv::Writer<Sink<'a>>>),
    JsonLines(Sink<'a>),
}

/// A table under way.
pub(super) struct Sheet<'a, R> {
    table: Table,
    columns: Vec<Column<'a, R>>,
    values: Vec<Values<'a>>,
    rows: usize,
    writers: Vec<Writer<'a>>,
}

impl<'a, R> Sheet<'a, R> {
    /// Begins a table.
    pub(super) fn new(
        table: Table,
        columns: Vec<Column<'a, R>>,
        sample: Sample,
        sinks: Vec<(Format, Sink<'a>)>,
    ) -> Result<Sheet<'a, R>, TablesError> {
        let values = columns.iter().map(|column| Values::of(column.field.kind)).collect();
        let mut sheet = Sheet { table, columns, values, rows: 0, writers: Vec::new() };
        for (format, sink) in sinks {
            let writer = match format {
                Format::Parquet => {
                    let pairs = vec![
                        ("surgeline.table".to_owned(), table.kind()),
                        ("surgeline.sample".to_owned(), sample.share().to_string()),
                    ];
                    let writer = ParquetWriter::new(sink)
                        .set_parallel(false)
                        .with_key_value_metadata(Some(KeyValueMetadata::from_static(pairs)));
                    Writer::Parquet(Box::new(writer.batched(sheet.frame()?.schema())?))
                }
                Format::Csv => {
                    let mut writer = csv::Writer::from_writer(sink);
                    writer.write_record(sheet.columns.iter().map(|column| column.field.name))?;
                    Writer::Csv(Box::new(writer))
                }
                Format::JsonLines => Writer::JsonLines(sink),
            };
            sheet.writers.push(writer);
        }
        Ok(sheet)
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &R) -> Result<(), TablesError> {
        for (column, values) in self.columns.iter().zip(&mut self.values) {
            values.push((column.cell)(row)).map_err(|amount| TablesError::Amount {
                table: self.table.name(),
                column: column.field.name,
                amount,
            })?;
        }
        self.rows += 1;
        if self.rows == BATCH { self.flush() } else { Ok(()) }
    }

    fn frame(&self) -> Result<DataFrame, PolarsError> {
        let columns = self.columns.iter().zip(&self.values);
        let columns = columns.map(|(column, values)| values.series(column.field.name)).collect();
        DataFrame::new(self.rows, columns)
    }

    fn flush(&mut self) -> Result<(), TablesError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut writers = std::mem::take(&mut self.writers);
        for writer in &mut writers {
            match writer {
                Writer::Parquet(out) => out.write_batch(&self.frame()?)?,
                Writer::Csv(out) => self.csv(out)?,
                Writer::JsonLines(out) => self.json_lines(out)?,
            }
        }
        self.writers = writers;
        self.values.iter_mut().for_each(Values::clear);
        self.rows = 0;
        Ok(())
    }

    fn csv(&self, out: &mut csv::Writer<Sink<'a>>) -> Result<(), TablesError> {
        let mut text = String::new();
        for row in 0..self.rows {
            for values in &self.values {
                match values.written(row, &mut text) {
                    Some(()) => out.write_field(&text)?,
                    None => out.write_field("")?,
                }
            }
            out.write_record(None::<&[u8]>)?;
        }
        Ok(())
    }

    fn json_lines(&self, out: &mut Sink<'a>) -> Result<(), TablesError> {
        let mut text = String::new();
        for row in 0..self.rows {
            for (at, (column, values)) in self.columns.iter().zip(&self.values).enumerate() {
                write!(out, "{}\"{}\":", if at == 0 { '{' } else { ',' }, column.field.name)?;
                match (values.written(row, &mut text), column.field.kind) {
                    (None, _) => out.write_all(b"null")?,
                    (Some(()), Kind::Text) => {
                        serde_json::to_writer(&mut *out, &text).map_err(io::Error::from)?;
                    }
                    (Some(()), _) => out.write_all(text.as_bytes())?,
                }
            }
            out.write_all(b"}\n")?;
        }
        Ok(())
    }

    /// Ends the table.
    pub(super) fn finish(mut self) -> Result<(), TablesError> {
        self.flush()?;
        for writer in self.writers {
            match writer {
                Writer::Parquet(out) => {
                    out.finish()?;
                }
                Writer::Csv(mut out) => out.flush()?,
                Writer::JsonLines(mut out) => out.flush()?,
            }
        }
        Ok(())
    }
}
