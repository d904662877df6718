//! Splits a line into named cells, CSV or JSON alike, and reads numbers from them.
//!
//! Invariants: a cell knows the byte of its line where it starts, so every problem has a column;
//! numbers are read from their text by integer arithmetic, exactly or not at all (no sign, no
//! exponent, no rounding).
//!
//! Deliberately absent: quoted CSV fields that span lines. One line is one request in every format
//! read here, and a stray quotation mark must not swallow the rest of the file.

use super::open::{Line, Lines};
use super::problem::{Fault, Problems, TraceFault, shown};
use crate::problem::nearest;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The most tokens one prompt, answer or segment may have.
pub(super) const MOST_TOKENS: u64 = 10_000_000;

const WHAT_TOKENS: &str = "a whole number of tokens from 1 to 10000000";

/// A column or key of a format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) required: bool,
}

impl Column {
    pub(super) const fn required(name: &'static str) -> Column {
        Column { name, required: true }
    }
    pub(super) const fn optional(name: &'static str) -> Column {
        Column { name, required: false }
    }
}

/// What a format's rows look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) columns: &'static [Column],
    /// Whether names beyond `columns` are refused. Published traces gain columns over the years;
    /// in our own layout an unknown name is a misspelt one.
    pub(super) closed: bool,
}

impl Layout {
    fn names(&self) -> String {
        self.columns.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The column that an unknown name is most like.
    fn meant(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.columns.iter().map(|c| c.name))
    }

    /// That a name is unknown, where it matters.
    fn unknown(&self, name: &str) -> Option<TraceFault> {
        self.closed.then(|| {
            let (found, meant) = (shown(name), self.meant(name));
            TraceFault::UnknownName { found, meant, known: self.names() }
        })
    }

    /// The unknown one of these names that is most like a column.
    fn slip<'n>(
        &self,
        column: &'static str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<&'n str> {
        let mut names = names.into_iter();
        names.find(|name| self.index(name).is_none() && self.meant(name) == Some(column))
    }
}

/// A value as written.
#[derive(Clone, Debug)]
pub(super) struct Cell<'l> {
    /// Bytes of the line before it.
    pub(super) offset: usize,
    /// CSV: the field, unquoted. JSON: the raw value, with quotes if it is a string.
    pub(super) text: Cow<'l, str>,
}

/// One row: the cells of a layout's columns, and the problems met so far.
pub(super) struct Row<'l> {
    columns: &'static [Column],
    cells: Vec<Option<Cell<'l>>>,
    /// Problems of this row.
    pub(super) faults: Vec<Fault>,
}

impl<'l> Row<'l> {
    fn new(layout: &Layout) -> Row<'l> {
        Row { columns: layout.columns, cells: vec![None; layout.columns.len()], faults: Vec::new() }
    }

    /// The cell of a column; an absent optional one is `None` without a problem.
    pub(super) fn cell(&self, column: usize) -> Option<&Cell<'l>> {
        self.cells.get(column).and_then(Option::as_ref)
    }

    /// Records a problem `within` bytes into a column's cell.
    pub(super) fn fault(&mut self, column: usize, within: usize, kind: TraceFault) {
        let offset = self.cell(column).map_or(0, |cell| cell.offset) + within;
        let field = self.columns.get(column).map(|c| Cow::Borrowed(c.name));
        self.faults.push(Fault { offset, field, kind });
    }

    /// Records that a cell does not hold what it should.
    pub(super) fn wrong(&mut self, column: usize, expected: impl Into<Cow<'static, str>>) {
        let found = self.cell(column).map(|cell| shown(&cell.text)).unwrap_or_default();
        self.fault(column, 0, TraceFault::Value { found, expected: expected.into() });
    }

    /// Reads a cell with `read`; a problem is recorded if that gives nothing. An absent cell gives
    /// nothing too: that it is missing has been recorded when the row was split.
    pub(super) fn read<T>(
        &mut self,
        column: usize,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = read(&self.cell(column)?.text);
        if value.is_none() {
            self.wrong(column, expected);
        }
        value
    }

    /// Tokens, from 1 to [`MOST_TOKENS`].
    pub(super) fn tokens(&mut self, column: usize) -> Option<u32> {
        self.read(column, WHAT_TOKENS, tokens)
    }
}

/// Tokens, from 1 to [`MOST_TOKENS`].
pub(super) fn tokens(text: &str) -> Option<u32> {
    whole(text, MOST_TOKENS).filter(|n| *n > 0).and_then(|n| u32::try_from(n).ok())
}

/// A whole number from 0 to `most`: digits only.
pub(super) fn whole(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u64>().ok().filter(|n| digits && *n <= most)
}

/// Seconds as a decimal number, exact to the nanosecond.
pub(super) fn seconds_ns(text: &str) -> Option<u64> {
    let (whole_part, fraction) = match text.split_once('.') {
        Some((whole_part, fraction)) => (whole_part, fraction_ns(fraction)?),
        None => (text, 0),
    };
    whole(whole_part, u64::MAX)?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// The digits after a decimal point of seconds, one to nine of them, in nanoseconds.
pub(super) fn fraction_ns(digits: &str) -> Option<u64> {
    let length = u32::try_from(digits.len()).ok().filter(|n| (1..=9).contains(n))?;
    Some(whole(digits, 999_999_999)? * 10_u64.pow(9 - length))
}

/// Calls `each` for the rows of a CSV text with a header line.
pub(super) fn csv_rows(
    lines: &mut Lines<'_>,
    layout: &Layout,
    problems: &mut Problems,
    mut each: impl FnMut(&mut Row<'_>) -> Result<(), TraceFault>,
) {
    let Some(header) = lines.next(problems) else { return };
    let Some(order) = csv_header(header, layout, problems) else { return };
    let mut splitter = Splitter::default();
    while let Some(line) = lines.next(problems) {
        let mut row = Row::new(layout);
        match splitter.split(line.text) {
            Err(fault) => row.faults.push(fault),
            Ok(cells) if cells.len() != order.len() => {
                let kind = TraceFault::FieldCount { found: cells.len(), expected: order.len() };
                row.faults.push(Fault { offset: 0, field: None, kind });
            }
            Ok(cells) => {
                for (cell, column) in cells.into_iter().zip(&order) {
                    if let Some(slot) = column.and_then(|c| row.cells.get_mut(c)) {
                        *slot = Some(cell);
                    }
                }
                drop_empty_optionals(&mut row);
            }
        }
        if !finish_row(line, row, problems, &mut each) {
            return;
        }
    }
}

/// An empty optional field is the CSV way of leaving it out.
fn drop_empty_optionals(row: &mut Row<'_>) {
    for (slot, column) in row.cells.iter_mut().zip(row.columns) {
        if !column.required && slot.as_ref().is_some_and(|cell| cell.text.is_empty()) {
            *slot = None;
        }
    }
}

/// Calls `each` for the JSON objects of a text with one a line.
pub(super) fn json_rows(
    lines: &mut Lines<'_>,
    layout: &Layout,
    problems: &mut Problems,
    mut each: impl FnMut(&mut Row<'_>) -> Result<(), TraceFault>,
) {
    while let Some(line) = lines.next(problems) {
        let row = json_row(line.text, layout);
        if !finish_row(line, row, problems, &mut each) {
            return;
        }
    }
}

/// Hands a row that was split to its reader and keeps what was wrong; false to stop reading.
fn finish_row(
    line: Line<'_>,
    mut row: Row<'_>,
    problems: &mut Problems,
    each: &mut impl FnMut(&mut Row<'_>) -> Result<(), TraceFault>,
) -> bool {
    let outcome = if row.faults.is_empty() { each(&mut row) } else { Ok(()) };
    row.faults.sort_by_key(|fault| fault.offset);
    for fault in row.faults {
        problems.push(line.number, line.text.as_bytes(), fault);
    }
    match outcome {
        Ok(()) => true,
        Err(fault) => {
            problems.fatal(line.number, fault);
            false
        }
    }
}

/// For each field of the header, the column of the layout that it names.
fn csv_header(
    line: Line<'_>,
    layout: &Layout,
    problems: &mut Problems,
) -> Option<Vec<Option<usize>>> {
    let mut faults = Vec::new();
    let mut order: Vec<Option<usize>> = Vec::new();
    match Splitter::default().split(line.text) {
        Err(fault) => faults.push(fault),
        Ok(cells) => {
            for cell in &cells {
                let index = layout.index(&cell.text);
                let kind = match index {
                    Some(i) if order.contains(&Some(i)) => Some(TraceFault::Twice),
                    None => layout.unknown(&cell.text),
                    _ => None,
                };
                let field = index.and_then(|i| layout.columns.get(i)).map(|c| c.name.into());
                faults.extend(kind.map(|kind| Fault { offset: cell.offset, field, kind }));
                order.push(index);
            }
            for (i, column) in layout.columns.iter().enumerate() {
                if column.required && !order.contains(&Some(i)) {
                    let slip = layout.slip(column.name, cells.iter().map(|cell| &*cell.text));
                    // Where unknown names are refused, the slip has been reported as one.
                    if layout.closed && slip.is_some() {
                        continue;
                    }
                    let (slip, expected) = (slip.map(shown), layout.names());
                    let kind = TraceFault::NoColumn { column: column.name, slip, expected };
                    faults.push(Fault { offset: 0, field: None, kind });
                }
            }
        }
    }
    let clean = faults.is_empty();
    for fault in faults {
        problems.push(line.number, line.text.as_bytes(), fault);
    }
    clean.then_some(order)
}

/// Splits single CSV lines and keeps its buffers between them.
struct Splitter {
    machine: csv_core::Reader,
    text: Vec<u8>,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter { machine: csv_core::Reader::new(), text: Vec::new() }
    }
}

impl Splitter {
    /// The fields of a line.
    fn split<'l>(&mut self, line: &'l str) -> Result<Vec<Cell<'l>>, Fault> {
        self.machine.reset();
        // A field is never longer than its line; one byte more lets an empty one fit.
        self.text.resize(line.len() + 1, 0);
        let mut cells = Vec::new();
        let (mut start, mut at, mut length) = (0, 0, 0);
        loop {
            // The line's ending closes the last field, unless a quotation mark is open.
            let rest = line.as_bytes().get(at..).filter(|rest| !rest.is_empty());
            let input = rest.unwrap_or(b"\n");
            let room = self.text.get_mut(length..).unwrap_or_default();
            let (result, read, written) = self.machine.read_field(input, room);
            length += written;
            at += read;
            match result {
                csv_core::ReadFieldResult::Field { record_end } => {
                    let text = self.text.get(..length).unwrap_or_default();
                    let text = Cow::Owned(String::from_utf8_lossy(text).into_owned());
                    cells.push(Cell { offset: start, text });
                    (start, length) = (at, 0);
                    if record_end {
                        return Ok(cells);
                    }
                }
                csv_core::ReadFieldResult::InputEmpty if rest.is_some() => {}
                _ => {
                    let kind = TraceFault::OpenQuote;
                    return Err(Fault { offset: start, field: None, kind });
                }
            }
        }
    }
}

/// The cells of a JSON object.
fn json_row<'l>(line: &'l str, layout: &Layout) -> Row<'l> {
    let mut row = Row::new(layout);
    let mut reader = serde_json::Deserializer::from_str(line);
    let visitor = ObjectVisitor { line, layout, row: &mut row };
    let outcome = reader.deserialize_map(visitor).and_then(|()| reader.end());
    if let Err(error) = outcome {
        // A line has one line: the parser's column, from 1, is a byte of it.
        let offset = error.column().saturating_sub(1).min(line.len());
        let why = json_words(&error);
        row.faults.push(Fault { offset, field: None, kind: TraceFault::Json { why } });
    } else {
        for (i, column) in layout.columns.iter().enumerate() {
            if column.required && row.cells.get(i).is_some_and(Option::is_none) {
                // Another look at the line, for the few that need one.
                let keys: BTreeMap<String, IgnoredAny> =
                    serde_json::from_str(line).unwrap_or_default();
                let slip = layout.slip(column.name, keys.keys().map(String::as_str));
                if layout.closed && slip.is_some() {
                    continue;
                }
                let slip = slip.map(shown);
                let expected = format!("an object with the keys {}", layout.names()).into();
                row.fault(i, 0, TraceFault::Missing { slip, expected });
            }
        }
    }
    row
}

/// The parser's words without its own line and column, which count from another start.
pub(super) fn json_words(error: &serde_json::Error) -> String {
    let words = error.to_string();
    match words.rfind(" at line ") {
        Some(cut) => words[..cut].to_owned(),
        None => words,
    }
}

/// Bytes of `whole` before `part`, which lies inside it.
pub(super) fn offset_in(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

struct ObjectVisitor<'l, 'r> {
    line: &'l str,
    layout: &'r Layout,
    row: &'r mut Row<'l>,
}

impl<'l> Visitor<'l> for ObjectVisitor<'l, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the keys {}", self.layout.names())
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'l, str>>()? {
            let Some(index) = self.layout.index(&key) else {
                if let Some(kind) = self.layout.unknown(&key) {
                    // An owned key has no place in the line; its value has.
                    let value = map.next_value::<&'l RawValue>()?;
                    let offset = offset_in(self.line, value.get());
                    self.row.faults.push(Fault { offset, field: None, kind });
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
                continue;
            };
            let text = map.next_value::<&'l RawValue>()?.get();
            let cell = Cell { offset: offset_in(self.line, text), text: Cow::Borrowed(text) };
            let field = self.layout.columns.get(index).map(|c| Cow::Borrowed(c.name));
            match self.row.cells.get_mut(index) {
                Some(slot @ None) => *slot = Some(cell),
                _ => {
                    let kind = TraceFault::Twice;
                    self.row.faults.push(Fault { offset: cell.offset, field, kind });
                }
            }
        }
        Ok(())
    }
}
