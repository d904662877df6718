//! `mooncake`: the Mooncake traces (one JSON object a line).
//!
//! | key | meaning |
//! |---|---|
//! | `timestamp` | milliseconds since the start; the published ones tick every 3,000 ms |
//! | `input_length` | prompt tokens |
//! | `output_length` | output tokens |
//! | `hash_ids` | ids of the prompt's 512-token blocks in order, the last one partial; equal ids have equal tokens and equal tokens before them |
//!
//! Source: github.com/kvcache-ai/Mooncake, `FAST25-release/traces`.
//!
//! Invariants: a prompt of n tokens has ⌈n / 512⌉ ids; each becomes a segment.
//! Deliberately absent: sessions. The trace does not tell them; each row stands alone.

use super::build::{Builder, Request};
use super::cells::{Column, Layout, Row, json_rows, json_words, whole};
use super::open::Lines;
use super::problem::{Problems, TraceFault};

/// Tokens of a block.
const BLOCK: u32 = 512;

const HASH_IDS: usize = 3;

const LAYOUT: Layout = Layout {
    columns: &[
        Column::required("timestamp"),
        Column::required("input_length"),
        Column::required("output_length"),
        Column::required("hash_ids"),
    ],
    closed: false,
};

const WHAT_TIME: &str = "whole milliseconds since the start, not negative";

pub(super) fn read(lines: &mut Lines<'_>, builder: &mut Builder, problems: &mut Problems) {
    let mut segments = Vec::new();
    json_rows(lines, &LAYOUT, problems, |row| {
        let at = row.read(0, WHAT_TIME, |text| whole(text, u64::MAX)?.checked_mul(1_000_000));
        let (input, output) = (row.tokens(1), row.tokens(2));
        let ids = read_ids(row);
        let (Some(at_ns), Some(input), Some(output), Some(ids)) = (at, input, output, ids) else {
            return Ok(());
        };
        let expected = u64::from(input.div_ceil(BLOCK));
        if ids.len() as u64 != expected {
            let found = ids.len();
            row.fault(HASH_IDS, 0, TraceFault::Blocks { found, expected, input, block: BLOCK });
            return Ok(());
        }
        segments.clear();
        let mut left = input;
        for id in ids {
            let tokens = left.min(BLOCK);
            segments.push((id, tokens));
            left -= tokens;
        }
        builder.push(&Request { at_ns, input, output, session: None, segments: &segments })
    });
}

fn read_ids(row: &mut Row<'_>) -> Option<Vec<u64>> {
    let outcome = serde_json::from_str::<Vec<u64>>(&row.cell(HASH_IDS)?.text);
    match outcome {
        Ok(ids) => Some(ids),
        Err(error) => {
            let found = json_words(&error);
            let expected = "a list of block ids, whole numbers from 0 to 2^64 - 1".into();
            let within = error.column().saturating_sub(1);
            row.fault(HASH_IDS, within, TraceFault::Value { found, expected });
            None
        }
    }
}
