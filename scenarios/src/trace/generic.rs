//! `generic-csv` and `generic-jsonl`: our own layout, for traces from anywhere.
//!
//! | column or key | meaning |
//! |---|---|
//! | `at` | seconds, a decimal number, not negative, exact to the nanosecond |
//! | `input` | prompt tokens, 1 to 10,000,000 |
//! | `output` | output tokens, 1 to 10,000,000 |
//! | `session` | optional: the conversation's name, text or (in JSON) a whole number |
//! | `segments` | optional: `[[id, tokens], …]` in prompt order, summing to `input`; equal ids are equal tokens from the start |
//!
//! In CSV the first line names the columns in any order, an empty optional field is left out, and
//! `segments` is quoted (`"[[1,512],[7,30]]"`). In JSONL a line is an object; `null` leaves an
//! optional key out.
//!
//! Invariants: a name that is not in the table is refused, since it is likely a misspelt one.
//! Deliberately absent: dates; subtract the start before writing `at`.

use super::build::{Builder, Request};
use super::cells::{Column, Layout, MOST_TOKENS, Row, csv_rows, json_rows, json_words, seconds_ns};
use super::open::Lines;
use super::problem::{Problems, TraceFault};
use std::borrow::Cow;

const AT: usize = 0;
const INPUT: usize = 1;
const OUTPUT: usize = 2;
const SESSION: usize = 3;
const SEGMENTS: usize = 4;

const LAYOUT: Layout = Layout {
    columns: &[
        Column::required("at"),
        Column::required("input"),
        Column::required("output"),
        Column::optional("session"),
        Column::optional("segments"),
    ],
    closed: true,
};

const WHAT_TIME: &str = "seconds, not negative, with at most nine decimals (like 12.5)";
const WHAT_SESSION: &str = "the session's name, text or a whole number";
const WHAT_SEGMENTS: &str =
    "[[id, tokens], …] with ids from 0 to 2^64 - 1 and tokens from 1 to 10000000";

pub(super) fn read_csv(lines: &mut Lines<'_>, builder: &mut Builder, problems: &mut Problems) {
    csv_rows(lines, &LAYOUT, problems, |row| {
        let session = row.cell(SESSION).map(|cell| Cow::Owned(cell.text.to_string()));
        push(row, session, builder)
    });
}

pub(super) fn read_jsonl(lines: &mut Lines<'_>, builder: &mut Builder, problems: &mut Problems) {
    json_rows(lines, &LAYOUT, problems, |row| {
        let session = match row.cell(SESSION) {
            Some(cell) if cell.text != "null" => row.read(SESSION, WHAT_SESSION, json_name),
            _ => None,
        };
        push(row, session, builder)
    });
}

/// A JSON string's text, or a whole number as it is written.
fn json_name(text: &str) -> Option<Cow<'static, str>> {
    if text.starts_with('"') {
        return serde_json::from_str::<String>(text).ok().map(Cow::Owned);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Cow::Owned(text.to_owned()))
}

fn push(
    row: &mut Row<'_>,
    session: Option<Cow<'static, str>>,
    builder: &mut Builder,
) -> Result<(), TraceFault> {
    let at = row.read(AT, WHAT_TIME, seconds_ns);
    let (input, output) = (row.tokens(INPUT), row.tokens(OUTPUT));
    let segments = segments(row);
    let (Some(at_ns), Some(input), Some(output), Some(segments)) = (at, input, output, segments)
    else {
        return Ok(());
    };
    // At most a mebibyte of text, so at most 2¹⁸ segments of 10⁷ tokens: no overflow.
    let found: u64 = segments.iter().map(|(_, tokens)| u64::from(*tokens)).sum();
    if !segments.is_empty() && found != u64::from(input) {
        let total = u64::from(input);
        row.fault(SEGMENTS, 0, TraceFault::Sum { found, total, total_field: "input" });
    }
    if !row.faults.is_empty() {
        return Ok(());
    }
    builder.push(&Request {
        at_ns,
        input,
        output,
        session: session.as_deref(),
        segments: &segments,
    })
}

/// The segments; none when the cell is absent, nothing when it is wrong.
fn segments(row: &mut Row<'_>) -> Option<Vec<(u64, u32)>> {
    let Some(cell) = row.cell(SEGMENTS).filter(|cell| cell.text != "null") else {
        return Some(Vec::new());
    };
    match serde_json::from_str::<Vec<(u64, u32)>>(&cell.text) {
        Ok(list) => {
            let good = |tokens: u32| (1..=MOST_TOKENS).contains(&u64::from(tokens));
            if list.iter().all(|(_, tokens)| good(*tokens)) {
                return Some(list);
            }
            row.wrong(SEGMENTS, WHAT_SEGMENTS);
        }
        Err(error) => {
            let found = json_words(&error);
            let within = error.column().saturating_sub(1);
            let expected = WHAT_SEGMENTS.into();
            row.fault(SEGMENTS, within, TraceFault::Value { found, expected });
        }
    }
    None
}
