//! Rows on their way out: gathered in batches, column by column, and written in each format.
//!
//! Invariants: each format gets the same rows in the same order; a batch has so many rows whatever
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

/// The values of a column in a batch, as Parquet takes them.
enum Values<'a> {
    Whole(Vec<Option<i64>>),
    Number(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Text(Vec<Option<Cow<'a, str>>>),
}

impl<'a> Values<'a> {
    fn with_capacity(kind: Kind, rows: usize) -> Values<'a> {
        match kind {
            Kind::Whole | Kind::Money => Values::Whole(Vec::with_capacity(rows)),
            Kind::Number => Values::Number(Vec::with_capacity(rows)),
            Kind::Flag => Values::Flag(Vec::with_capacity(rows)),
            Kind::Text => Values::Text(Vec::with_capacity(rows)),
        }
    }

    /// Takes a value; how much money it was that the column cannot hold, if so.
    fn push(&mut self, cell: Cell<'a>) -> Result<(), Money> {
        match (self, cell) {
            // Counts of a run are far below 2⁶³.
            (Values::Whole(all), Cell::Whole(value)) => all.push(value.map(|value| value as i64)),
            (Values::Whole(all), Cell::Money(money)) => all.push(Some(pico_dollars(money)?)),
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
}

/// What a column of money holds; `Err`: it is too much.
fn pico_dollars(money: Money) -> Result<i64, Money> {
    i64::try_from(money.0).map_err(|_| money)
}

/// A value as CSV has it before quoting, and JSON if it is no text, in place of what was in `into`;
/// whether there is one.
fn write_cell(cell: &Cell<'_>, into: &mut String) -> Result<bool, Money> {
    use std::fmt::Write;
    into.clear();
    let written = match cell {
        Cell::Whole(Some(value)) => write!(into, "{value}"),
        // As many digits as tell it from every other float, and a point or an exponent.
        Cell::Number(Some(value)) => write!(into, "{value:?}"),
        Cell::Flag(Some(value)) => write!(into, "{value}"),
        Cell::Text(Some(value)) => into.write_str(value),
        Cell::Money(money) => write!(into, "{}", pico_dollars(*money)?),
        Cell::Whole(None) | Cell::Number(None) | Cell::Flag(None) | Cell::Text(None) => {
            return Ok(false);
        }
    };
    debug_assert!(written.is_ok(), "text takes everything");
    Ok(true)
}

/// One format of one table under way.
enum Writer<'a> {
    Parquet(Box<BatchedWriter<Sink<'a>>>),
    Csv(Box<csv::Writer<Sink<'a>>>),
    JsonLines(Sink<'a>),
}

/// A table under way.
///
/// Rows wait as they came and are taken apart column by column: a column's values then lie together,
/// where a row at a time would touch each column's far end.
pub(super) struct Sheet<'a, R> {
    table: Table,
    columns: Vec<Column<'a, R>>,
    rows: Vec<R>,
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
        let mut sheet = Sheet { table, columns, rows: Vec::new(), writers: Vec::new() };
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
    pub(super) fn add(&mut self, row: R) -> Result<(), TablesError> {
        self.rows.push(row);
        if self.rows.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn frame(&self) -> Result<DataFrame, TablesError> {
        let columns = self.columns.iter().map(|column| {
            let mut values = Values::with_capacity(column.field.kind, self.rows.len());
            for row in &self.rows {
                values.push((column.cell)(row)).map_err(|amount| self.too_much(column, amount))?;
            }
            Ok(values.series(column.field.name))
        });
        let columns = columns.collect::<Result<Vec<_>, TablesError>>()?;
        Ok(DataFrame::new(self.rows.len(), columns)?)
    }

    fn too_much(&self, column: &Column<'a, R>, amount: Money) -> TablesError {
        TablesError::Amount { table: self.table.name(), column: column.field.name, amount }
    }

    fn flush(&mut self) -> Result<(), TablesError> {
        if self.rows.is_empty() {
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
        self.rows.clear();
        Ok(())
    }

    fn csv(&self, out: &mut csv::Writer<Sink<'a>>) -> Result<(), TablesError> {
        let mut text = String::new();
        for row in &self.rows {
            for column in &self.columns {
                // Of nothing nothing is written: an empty field.
                write_cell(&(column.cell)(row), &mut text)
                    .map_err(|amount| self.too_much(column, amount))?;
                out.write_field(&text)?;
            }
            out.write_record(None::<&[u8]>)?;
        }
        Ok(())
    }

    fn json_lines(&self, out: &mut Sink<'a>) -> Result<(), TablesError> {
        let mut text = String::new();
        for row in &self.rows {
            for (at, column) in self.columns.iter().enumerate() {
                write!(out, "{}\"{}\":", if at == 0 { '{' } else { ',' }, column.field.name)?;
                let there = write_cell(&(column.cell)(row), &mut text)
                    .map_err(|amount| self.too_much(column, amount))?;
                match (there, column.field.kind) {
                    (false, _) => out.write_all(b"null")?,
                    (true, Kind::Text) => {
                        serde_json::to_writer(&mut *out, &text).map_err(io::Error::from)?;
                    }
                    (true, _) => out.write_all(text.as_bytes())?,
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
