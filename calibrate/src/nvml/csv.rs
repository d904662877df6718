//! A profile as CSV: lines `# key: value` with what is known of the device and the sampling, a
//! header, one row a sample, empty where a quantity was not read.
//!
//! Invariants: what is written is read back equal; a file of another program with the same columns
//! in another order, or with more of them, is read too.
//!
//! Deliberately absent: files; Parquet (see the crate `reports`).

use super::profile::{MetadataError, Profile};
use super::sample::{Cell, Column, Kind, Sample};
use std::io::{Read, Write};

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The text cannot be read, or a row has too many or too few cells.
    #[error("{0}")]
    Csv(#[from] ::csv::Error),
    /// The lines before the header.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// Without the times the rest means nothing.
    #[error("there is no column `{0}`")]
    NoColumn(&'static str),
    /// A cell that is no value of its column.
    #[error("line {line}: `{text}` is no value of the column {column}")]
    Cell {
        /// Line of the text, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What stands there.
        text: String,
    },
}

/// Writes a profile.
///
/// # Errors
/// [`CsvError::Csv`] when `out` does not take it.
pub fn write_csv(profile: &Profile, mut out: impl Write) -> Result<(), CsvError> {
    for (key, value) in profile.metadata() {
        writeln!(out, "# {key}: {value}").map_err(::csv::Error::from)?;
    }
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record(Column::all().map(Column::name))?;
    for sample in &profile.samples {
        writer.write_record(Column::all().map(|column| match column.get(sample) {
            None => String::new(),
            Some(Cell::Float(value)) => value.to_string(),
            Some(Cell::Whole(value)) => value.to_string(),
            Some(Cell::Flag(value)) => value.to_string(),
        }))?;
    }
    writer.flush().map_err(::csv::Error::from)?;
    Ok(())
}

/// Reads a profile.
///
/// # Errors
/// [`CsvError`] with the line, when the text is no profile.
pub fn read_csv(mut from: impl Read) -> Result<Profile, CsvError> {
    let mut text = String::new();
    from.read_to_string(&mut text).map_err(::csv::Error::from)?;
    let comments = text.lines().map_while(|line| line.strip_prefix('#'));
    let pairs: Vec<(String, String)> = comments
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut reader = ::csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let columns: Vec<Option<Column>> =
        header.iter().map(|name| Column::all().find(|column| column.name() == name)).collect();
    if !columns.contains(&Some(Column::At)) {
        return Err(CsvError::NoColumn(Column::At.name()));
    }
    let mut samples = Vec::new();
    for record in reader.records() {
        let record = record?;
        let mut sample = Sample::default();
        for (column, text) in columns.iter().zip(&record) {
            let (Some(column), false) = (column, text.is_empty()) else { continue };
            if !cell(*column, text).is_some_and(|cell| column.set(&mut sample, cell)) {
                return Err(CsvError::Cell {
                    line: record.position().map_or(0, ::csv::Position::line),
                    column: column.name(),
                    text: text.to_owned(),
                });
            }
        }
        samples.push(sample);
    }
    Ok(Profile::from_metadata(&pairs, samples)?)
}

fn cell(column: Column, text: &str) -> Option<Cell> {
    match column.kind() {
        Kind::Float => text.parse().ok().map(Cell::Float),
        Kind::Whole => text.parse().ok().map(Cell::Whole),
        Kind::Flag => text.parse().ok().map(Cell::Flag),
    }
}
