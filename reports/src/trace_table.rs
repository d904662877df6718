//! Recorded requests and measured iterations as a table that is CSV and Parquet alike.
//!
//! ```text
//! Trace, [StepRow] ──► Table ──► CSV, as scenarios and imports read it
//!                        ▲ └───► Parquet: times in whole picoseconds, absent values null
//!                        └────── Parquet
//! ```
//!
//! Invariants: what is written is read back equal; no time is rounded; a file of Parquet says in its
//! metadata which of the tables it holds, and one that says nothing is refused.
//!
//! Deliberately absent: opening files, and other people's Parquet files.

use calibrate::imports::steps::{Context, StepRow};
use polars::prelude::{
    AnyValue, Column as Series, DataFrame, KeyValueMetadata, ParquetReader, ParquetWriter,
    PolarsError, SerReader,
};
use sim::workload::Trace;
use std::fmt::Write;
use std::io::Cursor;

/// The key of the metadata that says what a file is.
const KEY: &str = "surgeline.table";

/// Why bytes are no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// They are no Parquet file, or it could not be made.
    #[error("{0}")]
    Parquet(#[from] PolarsError),
    /// The pages do not hold what the file's own description says.
    #[error("the file is damaged")]
    Damaged,
    /// Another program's file.
    #[error("its metadata has no `{KEY}`, so it was not written by `surgeline trace convert`")]
    Foreign,
    /// A later version's, perhaps.
    #[error("it holds `{0}`, which this version does not know")]
    Unknown(String),
    /// A column is missing or of another type.
    #[error("the column `{0}` is missing or of another type")]
    Column(&'static str),
}

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests: `generic-csv` of scenarios.
    Requests,
    /// Iterations.
    Steps,
    /// Intervals between the stamps of an engine's iterations.
    Intervals,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Whole,
    Text,
    /// A time; in CSV a decimal number of units of so many picoseconds.
    Time(u64),
}

/// A column: its name in CSV, its name in Parquet, what it holds.
type Column = (&'static str, &'static str, Holds);

const SECOND: Holds = Holds::Time(sim::units::PS_PER_SEC);
const MICROSECOND: Holds = Holds::Time(sim::units::PS_PER_SEC / 1_000_000);

const REQUESTS: &[Column] = &[
    ("at", "at_ps", SECOND),
    ("input", "input", Holds::Whole),
    ("output", "output", Holds::Whole),
    ("session", "session", Holds::Whole),
    ("segments", "segments", Holds::Text),
];
const STEPS: &[Column] = &[
    ("series", "series", Holds::Text),
    // With the number of GPUs, as a step says what was served.
    ("model", "model", Holds::Text),
    ("decodes", "decodes", Holds::Whole),
    ("kv_tokens", "kv_tokens", Holds::Whole),
    ("prefill_tokens", "prefill_tokens", Holds::Whole),
    ("prefill_pairs", "prefill_pairs", Holds::Whole),
    ("prefill_requests", "prefill_requests", Holds::Whole),
    ("seconds", "time_ps", SECOND),
];
const INTERVALS: &[Column] = &[
    ("experiment", "experiment", Holds::Text),
    ("model", "model", Holds::Text),
    ("decode_reqs", "decode_reqs", Holds::Whole),
    ("prefill_tokens", "prefill_tokens", Holds::Whole),
    ("prefill_reqs", "prefill_reqs", Holds::Whole),
    ("kv_blocks_used", "kv_blocks_used", Holds::Whole),
    ("next_decode_reqs", "next_decode_reqs", Holds::Whole),
    ("next_prefill_tokens", "next_prefill_tokens", Holds::Whole),
    ("interval_to_next_step_us", "interval_to_next_step_ps", MICROSECOND),
];

impl Kind {
    const ALL: [Kind; 3] = [Kind::Requests, Kind::Steps, Kind::Intervals];

    /// As the metadata of a file have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Requests => "requests/1",
            Kind::Steps => "steps/1",
            Kind::Intervals => "intervals/1",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Kind::Requests => REQUESTS,
            Kind::Steps => STEPS,
            Kind::Intervals => INTERVALS,
        }
    }
}

/// The values of a column, absent ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Whole(Vec<Option<u64>>),
    Text(Vec<Option<String>>),
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    kind: Kind,
    rows: usize,
    /// In the order of [`Kind::columns`], each with `rows` values.
    values: Vec<Values>,
}

/// A value on its way into a column.
enum Cell {
    Whole(Option<u64>),
    Text(Option<String>),
}

impl Table {
    /// The requests of a trace.
    #[must_use]
    pub fn of_requests(trace: &Trace) -> Table {
        let rows = trace.rows.iter().map(|row| {
            let from = row.segments_at as usize;
            let segments = trace.segments.get(from..from + row.segments_len as usize);
            let segments = segments.filter(|segments| !segments.is_empty()).map(|segments| {
                let pairs: Vec<String> =
                    segments.iter().map(|one| format!("[{},{}]", one.id, one.tokens)).collect();
                format!("[{}]", pairs.join(","))
            });
            vec![
                Cell::Whole(Some(row.at.0)),
                Cell::Whole(Some(row.input.into())),
                Cell::Whole(Some(row.output.into())),
                Cell::Whole((row.session != u32::MAX).then_some(row.session.into())),
                Cell::Text(segments),
            ]
        });
        Table::of(Kind::Requests, rows)
    }

    /// Measured iterations; as intervals where the first says what came next.
    #[must_use]
    pub fn of_steps(steps: &[StepRow]) -> Table {
        if steps.first().is_some_and(|step| step.next.is_some()) {
            return Table::of(Kind::Intervals, steps.iter().map(interval));
        }
        Table::of(Kind::Steps, steps.iter().map(step))
    }

    fn of(kind: Kind, rows: impl Iterator<Item = Vec<Cell>>) -> Table {
        let empty = |column: &Column| match column.2 {
            Holds::Text => Values::Text(Vec::new()),
            Holds::Whole | Holds::Time(_) => Values::Whole(Vec::new()),
        };
        let mut table = Table { kind, rows: 0, values: kind.columns().iter().map(empty).collect() };
        for row in rows {
            table.rows += 1;
            for (values, cell) in table.values.iter_mut().zip(row) {
                match (values, cell) {
                    (Values::Whole(all), Cell::Whole(value)) => all.push(value),
                    (Values::Text(all), Cell::Text(value)) => all.push(value),
                    // The rows above are made for their columns.
                    (Values::Whole(all), Cell::Text(_)) => all.push(None),
                    (Values::Text(all), Cell::Whole(_)) => all.push(None),
                }
            }
        }
        table
    }

    /// What the rows are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The table as CSV. A column without any value is left out.
    #[must_use]
    pub fn csv(&self) -> String {
        let has = |values: &Values| match values {
            Values::Whole(all) => all.iter().any(Option::is_some),
            Values::Text(all) => all.iter().any(Option::is_some),
        };
        let columns: Vec<(&Column, &Values)> =
            self.kind.columns().iter().zip(&self.values).collect();
        let kept: Vec<_> = columns.into_iter().filter(|(_, values)| has(values)).collect();
        let names: Vec<&str> = kept.iter().map(|(column, _)| column.0).collect();
        let mut text = names.join(",");
        text.push('\n');
        for row in 0..self.rows {
            for (at, (column, values)) in kept.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                match values {
                    Values::Whole(all) => whole(&mut text, column.2, all[row]),
                    Values::Text(all) => quoted(&mut text, all[row].as_deref()),
                }
            }
            text.push('\n');
        }
        text
    }

    /// The table as the bytes of a Parquet file.
    ///
    /// # Errors
    /// [`TableError::Parquet`], which only a lack of memory should cause.
    pub fn parquet(&self) -> Result<Vec<u8>, TableError> {
        let series = |(column, values): (&Column, &Values)| match values {
            Values::Whole(all) => Series::new(column.1.into(), all.as_slice()),
            Values::Text(all) => Series::new(column.1.into(), all.as_slice()),
        };
        let columns = self.kind.columns().iter().zip(&self.values).map(series).collect();
        let mut frame = DataFrame::new(self.rows, columns)?;
        let pairs = vec![(KEY.to_owned(), self.kind.name().to_owned())];
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes)
            .with_key_value_metadata(Some(KeyValueMetadata::from_static(pairs)))
            .finish(&mut frame)?;
        Ok(bytes)
    }

    /// The table in the bytes of a Parquet file.
    ///
    /// # Errors
    /// [`TableError`] when the bytes are none that [`Table::parquet`] wrote.
    pub fn read_parquet(bytes: &[u8]) -> Result<Table, TableError> {
        // The reader of polars asserts what a damaged file does not keep.
        let (name, frame) =
            std::panic::catch_unwind(|| frame(bytes)).map_err(|_| TableError::Damaged)??;
        let name = name.ok_or(TableError::Foreign)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or(TableError::Unknown(name))?;
        let values = kind.columns().iter().map(|column| read(column, &frame));
        Ok(Table { kind, rows: frame.height(), values: values.collect::<Result<_, _>>()? })
    }
}

/// The value of [`KEY`] and the columns of a Parquet file.
fn frame(bytes: &[u8]) -> Result<(Option<String>, DataFrame), PolarsError> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let mut pairs = reader.get_metadata()?.key_value_metadata().iter().flatten();
    let name = pairs.find(|pair| pair.key == KEY).and_then(|pair| pair.value.clone());
    Ok((name, reader.finish()?))
}

fn read(column: &Column, frame: &DataFrame) -> Result<Values, TableError> {
    let wrong = || TableError::Column(column.1);
    let series = frame.column(column.1).map_err(|_| wrong())?;
    let cells = (0..frame.height()).map(|row| series.get(row));
    if column.2 == Holds::Text {
        let text = |cell| match cell {
            Ok(AnyValue::Null) => Ok(None),
            Ok(AnyValue::String(text)) => Ok(Some(text.to_owned())),
            Ok(AnyValue::StringOwned(text)) => Ok(Some(text.to_string())),
            _ => Err(wrong()),
        };
        return Ok(Values::Text(cells.map(text).collect::<Result<_, _>>()?));
    }
    let whole = |cell| match cell {
        Ok(AnyValue::Null) => Ok(None),
        Ok(AnyValue::UInt64(value)) => Ok(Some(value)),
        _ => Err(wrong()),
    };
    Ok(Values::Whole(cells.map(whole).collect::<Result<_, _>>()?))
}

fn step(step: &StepRow) -> Vec<Cell> {
    let kv_tokens = match step.context {
        Some(Context::Tokens(tokens)) => Some(tokens),
        _ => None,
    };
    vec![
        Cell::Text(step.series.clone()),
        Cell::Text(step.served.clone()),
        Cell::Whole(Some(step.batch.decodes.into())),
        Cell::Whole(kv_tokens),
        Cell::Whole(Some(step.batch.prefill_tokens.0.into())),
        Cell::Whole(step.prefill_pairs),
        Cell::Whole(step.prefill_requests.map(u64::from)),
        Cell::Whole(Some(step.time.0)),
    ]
}

fn interval(step: &StepRow) -> Vec<Cell> {
    let blocks = match step.context {
        Some(Context::Blocks(blocks)) => Some(u64::from(blocks.0)),
        _ => None,
    };
    let next = step.next.unwrap_or_default();
    vec![
        Cell::Text(step.series.clone()),
        Cell::Text(step.served.clone()),
        Cell::Whole(Some(step.batch.decodes.into())),
        Cell::Whole(Some(step.batch.prefill_tokens.0.into())),
        Cell::Whole(step.prefill_requests.map(u64::from)),
        Cell::Whole(blocks),
        Cell::Whole(Some(next.decodes.into())),
        Cell::Whole(Some(next.prefill_tokens.0.into())),
        Cell::Whole(Some(step.time.0)),
    ]
}

/// A whole number, or a time as a decimal number of its units. Writing into a string cannot fail.
fn whole(text: &mut String, holds: Holds, value: Option<u64>) {
    let Some(value) = value else { return };
    match holds {
        Holds::Time(unit) if value % unit > 0 => {
            let digits = unit.ilog10() as usize;
            let decimal = format!("{}.{:0digits$}", value / unit, value % unit);
            text.push_str(decimal.trim_end_matches('0'));
        }
        Holds::Time(unit) => {
            let _ = write!(text, "{}", value / unit);
        }
        Holds::Whole | Holds::Text => {
            let _ = write!(text, "{value}");
        }
    }
}

/// A text, quoted where it has to be.
fn quoted(text: &mut String, value: Option<&str>) {
    let Some(value) = value else { return };
    if value.contains([',', '"', '\n', '\r']) || value.is_empty() {
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calibrate::imports::File;
    use calibrate::imports::steps::steps;
    use sim::units::{Span, Time};
    use sim::workload::{TraceRow, TraceSegment};

    fn trace() -> Trace {
        let row = |at, session, segments_at, segments_len| TraceRow {
            at: Time(at),
            input: 512,
            output: 7,
            session,
            segments_at,
            segments_len,
            context: 0,
        };
        let segment = |id, tokens| TraceSegment { id, tokens, shared: false };
        Trace {
            rows: vec![row(0, u32::MAX, 0, 0), row(1_500_000_001_000, 3, 0, 2)],
            segments: vec![segment(u64::MAX, 500), segment(7, 12)],
            span: Span::from_secs(2),
        }
    }

    #[test]
    fn requests_come_back_from_parquet_and_read_as_generic_csv() {
        let table = Table::of_requests(&trace());
        let csv = "at,input,output,session,segments\n\
                   0,512,7,,\n\
                   1.500000001,512,7,3,\"[[18446744073709551615,500],[7,12]]\"\n";
        assert_eq!(table.csv(), csv);
        let bytes = table.parquet().expect("it can be written");
        assert_eq!(Table::read_parquet(&bytes).expect("it can be read"), table);
        assert_eq!((table.kind(), table.rows()), (Kind::Requests, 2));
    }

    #[test]
    fn steps_of_both_layouts_come_back_as_they_were() {
        let own = "series,decodes,kv_tokens,prefill_tokens,prefill_pairs,seconds\n\
                   \"a,\"\"b\"\"\",8,16000,0,,0.012\n,0,,2048,2098176,0.0505\n";
        let intervals = include_str!("../../calibrate/tests/data/imports/step_intervals.csv");
        for (text, kind) in [(own, Kind::Steps), (intervals, Kind::Intervals)] {
            let rows = steps(File { name: "steps", text }).expect("steps");
            let table = Table::of_steps(&rows);
            assert_eq!(table.kind(), kind);
            let bytes = table.parquet().expect("it can be written");
            let back = Table::read_parquet(&bytes).expect("it can be read").csv();
            assert_eq!(steps(File { name: "back", text: &back }).expect("steps"), rows, "{back}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let bytes = Table::of_requests(&trace()).parquet().expect("written");
        for (wrong, said) in
            [(&b""[..], ""), (&b"PAR1PAR1"[..], ""), (&bytes[..bytes.len() / 2], "")]
        {
            let error = Table::read_parquet(wrong).expect_err("no table").to_string();
            assert!(error.contains(said));
        }
        let mut frame = DataFrame::new(1, vec![Series::new("at_ps".into(), [1_u64])]).expect("one");
        let mut written = |pairs: Vec<(String, String)>| {
            let mut bytes = Vec::new();
            let writer = ParquetWriter::new(&mut bytes)
                .with_key_value_metadata(Some(KeyValueMetadata::from_static(pairs)));
            writer.finish(&mut frame).expect("written");
            Table::read_parquet(&bytes).expect_err("no table").to_string()
        };
        assert!(written(Vec::new()).contains("not written by"));
        let named = |name: &str| vec![(KEY.to_owned(), name.to_owned())];
        assert!(written(named("requests/9")).contains("`requests/9`"));
        assert!(written(named("requests/1")).contains("column `input`"));
    }
}
