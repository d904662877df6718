//! Samples of a GPU as a Parquet file: the columns of [`calibrate::nvml::Column`], and what is known
//! of the device and the sampling as the file's key-value metadata.
//!
//! Invariants: what is written is read back equal; a quantity that was not read is null.
//!
//! Deliberately absent: any other use of data frames, and opening files.

use calibrate::nvml::{Cell, Column, Kind, MetadataError, Profile, Sample};
use polars::prelude::{
    AnyValue, Column as Series, DataFrame, KeyValueMetadata, ParquetReader, ParquetWriter,
    PolarsError, SerReader,
};
use std::io::Cursor;

/// Why bytes are no profile.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    /// They are no Parquet file, or it could not be made.
    #[error("{0}")]
    Parquet(#[from] PolarsError),
    /// The pages do not hold what the file's own description says.
    #[error("the file is damaged")]
    Damaged,
    /// The file's metadata.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// Without the times the rest means nothing.
    #[error("there is no column `{0}`")]
    NoColumn(&'static str),
    /// A cell that is no value of its column.
    #[error("row {row}: `{text}` is no value of the column {column}")]
    Cell {
        /// Row of the file, from 0.
        row: usize,
        /// The column.
        column: &'static str,
        /// What stands there.
        text: String,
    },
}

/// A profile as the bytes of a Parquet file.
///
/// # Errors
/// [`ParquetError::Parquet`], which only a lack of memory should cause.
pub fn write(profile: &Profile) -> Result<Vec<u8>, ParquetError> {
    let columns = Column::all().map(|column| series(column, &profile.samples)).collect();
    let mut frame = DataFrame::new(profile.samples.len(), columns)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(profile.metadata())))
        .finish(&mut frame)?;
    Ok(bytes)
}

fn series(column: Column, samples: &[Sample]) -> Series {
    let name = column.name().into();
    let cells = samples.iter().map(|sample| column.get(sample));
    match column.kind() {
        Kind::Float => {
            let float = |cell| if let Some(Cell::Float(value)) = cell { Some(value) } else { None };
            Series::new(name, cells.map(float).collect::<Vec<_>>())
        }
        Kind::Whole => {
            let whole = |cell| if let Some(Cell::Whole(value)) = cell { Some(value) } else { None };
            Series::new(name, cells.map(whole).collect::<Vec<_>>())
        }
        Kind::Flag => {
            let flag = |cell| if let Some(Cell::Flag(value)) = cell { Some(value) } else { None };
            Series::new(name, cells.map(flag).collect::<Vec<_>>())
        }
    }
}

/// The metadata and the columns of a Parquet file.
fn frame(bytes: &[u8]) -> Result<(Vec<(String, String)>, DataFrame), PolarsError> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let pairs = reader.get_metadata()?.key_value_metadata().iter().flatten();
    let pairs =
        pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())).collect();
    Ok((pairs, reader.finish()?))
}

/// The profile in the bytes of a Parquet file.
///
/// # Errors
/// [`ParquetError`] when the bytes are no profile.
pub fn read(bytes: &[u8]) -> Result<Profile, ParquetError> {
    // The reader of polars asserts what a damaged file does not keep.
    let (pairs, frame) =
        std::panic::catch_unwind(|| frame(bytes)).map_err(|_| ParquetError::Damaged)??;
    let mut samples = vec![Sample::default(); frame.height()];
    for column in Column::all() {
        let Ok(series) = frame.column(column.name()) else {
            match column {
                Column::At => return Err(ParquetError::NoColumn(column.name())),
                _ => continue,
            }
        };
        for (row, sample) in samples.iter_mut().enumerate() {
            let value = series.get(row)?;
            let cell = match value {
                AnyValue::Null => continue,
                AnyValue::Float64(value) => Some(Cell::Float(value)),
                AnyValue::UInt64(value) => Some(Cell::Whole(value)),
                AnyValue::Boolean(value) => Some(Cell::Flag(value)),
                _ => None,
            };
            if !cell.is_some_and(|cell| column.set(sample, cell)) {
                let (column, text) = (column.name(), format!("{value:?}"));
                return Err(ParquetError::Cell { row, column, text });
            }
        }
    }
    Ok(Profile::from_metadata(&pairs, samples)?)
}
