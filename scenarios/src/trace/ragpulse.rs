//! `ragpulse`: the RAGPulse trace (one JSON object a line) and the lengths of its prompts' parts.
//!
//! | key | meaning |
//! |---|---|
//! | `timestamp` | text: seconds since 12:00 of the first day |
//! | `input_length` | prompt tokens |
//! | `output_length` | output tokens |
//! | `hash_ids` | ids of the parts: `sys_prompt`, `passages_ids`, `history`, `web_search`, `user_input`, each a list |
//! | `session_id` | the conversation's name |
//!
//! The lengths lie beside the trace in `1_sys_prompt.jsonl`, `2_passages.jsonl`, `3_history.jsonl`,
//! `4_user_input.jsonl` and `5_web_search.jsonl` (each also `.gz` or `.zst`), one object a line:
//! `{"sys_prompt_id": 8302, "token_length": 512}`, with `passage_id`, `history_id`,
//! `user_input_id` and `web_search_id` in the others.
//! Source: github.com/flashserve/RAGPulse, `data/`.
//!
//! Segments follow in the order of the table above, the order in which the prompt is built. The
//! parts' lengths do not add up to `input_length` exactly (6 to 12 tokens of template are missing
//! in the published trace). The rule: parts keep their length and a segment of its own, at the end,
//! takes what is missing; if the parts are longer than the prompt, they are cut from the end. The
//! beginning, where prefixes are shared, is never touched.
//!
//! Invariants: ids of two kinds of parts never meet, whatever the files number them.
//! Deliberately absent: guessing the length of a part that is not listed.

use super::build::{Builder, Request};
use super::cells::{Column, Layout, Row, json_rows, json_words, offset_in, seconds_ns, whole};
use super::open::{Limits, Lines};
use super::problem::{Fault, Problems, TraceFault, TraceProblem};
use super::{ReadResult, TraceFormat, open_file};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The kinds of parts in prompt order: the trace's key, the file, and the id's key in it.
const PARTS: [(&str, &str, &str); 5] = [
    ("sys_prompt", "1_sys_prompt.jsonl", "sys_prompt_id"),
    ("passages_ids", "2_passages.jsonl", "passage_id"),
    ("history", "3_history.jsonl", "history_id"),
    ("web_search", "5_web_search.jsonl", "web_search_id"),
    ("user_input", "4_user_input.jsonl", "user_input_id"),
];

/// Ids above this are template remainders, one a row.
const REMAINDER: u64 = 1 << 63;

/// Most of an id of the files; the kind goes above it.
const MOST_ID: u64 = u32::MAX as u64;

const HASH_IDS: usize = 3;

const LAYOUT: Layout = Layout {
    columns: &[
        Column::required("timestamp"),
        Column::required("input_length"),
        Column::required("output_length"),
        Column::required("hash_ids"),
        Column::required("session_id"),
    ],
    closed: false,
};

const LENGTHS: Layout = Layout {
    columns: &[
        Column::optional("sys_prompt_id"),
        Column::optional("passage_id"),
        Column::optional("history_id"),
        Column::optional("web_search_id"),
        Column::optional("user_input_id"),
        Column::required("token_length"),
    ],
    closed: false,
};

const WHAT_TIME: &str = "seconds since 12:00 as text, like \"82\"";
const WHAT_ID: &str = "a part's id, a whole number from 0 to 4294967295";
const WHAT_SESSION: &str = "the session's name as text";

/// The bytes of the files with the parts' lengths, plain or compressed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartFiles<'a> {
    /// `1_sys_prompt.jsonl`.
    pub sys_prompt: &'a [u8],
    /// `2_passages.jsonl`.
    pub passages: &'a [u8],
    /// `3_history.jsonl`.
    pub history: &'a [u8],
    /// `4_user_input.jsonl`.
    pub user_input: &'a [u8],
    /// `5_web_search.jsonl`.
    pub web_search: &'a [u8],
}

/// Tokens of each part, by kind and id.
type Lengths = HashMap<(usize, u64), u32>;

/// Reads a trace and its part lengths from memory.
///
/// # Errors
/// Every problem of the part files; if there is none, every problem of the trace.
pub fn read_bytes(name: &str, trace: &[u8], parts: &PartFiles<'_>, limits: &Limits) -> ReadResult {
    let files =
        [parts.sys_prompt, parts.passages, parts.history, parts.web_search, parts.user_input];
    let mut lengths = Lengths::new();
    for (kind, bytes) in files.into_iter().enumerate() {
        let length = u64::try_from(bytes.len()).ok();
        read_lengths(PARTS[kind].1, kind, Box::new(bytes), length, limits, &mut lengths)?;
    }
    let length = u64::try_from(trace.len()).ok();
    read_trace(name, Box::new(trace), length, limits, &lengths)
}

/// Reads a trace from a file, and the lengths from the files beside it.
pub(super) fn read_file(path: &Path, limits: &Limits) -> ReadResult {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut lengths = Lengths::new();
    for (kind, (_, file, _)) in PARTS.iter().enumerate() {
        let beside = find(folder, file);
        let name = beside.display().to_string();
        let opened = open_file(&beside, &name)?;
        let length = opened.metadata().ok().map(|data| data.len());
        read_lengths(&name, kind, Box::new(opened), length, limits, &mut lengths)?;
    }
    let name = path.display().to_string();
    let opened = open_file(path, &name)?;
    let length = opened.metadata().ok().map(|data| data.len());
    read_trace(&name, Box::new(opened), length, limits, &lengths)
}

/// The file or its compressed form; the plain name if there is none, for the message.
fn find(folder: &Path, file: &str) -> PathBuf {
    let candidates = ["", ".gz", ".zst"].map(|ending| folder.join(format!("{file}{ending}")));
    let plain = folder.join(file);
    candidates.into_iter().find(|path| path.is_file()).unwrap_or(plain)
}

fn read_lengths(
    name: &str,
    kind: usize,
    source: Box<dyn Read + '_>,
    length: Option<u64>,
    limits: &Limits,
    lengths: &mut Lengths,
) -> Result<(), Vec<TraceProblem>> {
    const TOKEN_LENGTH: usize = 5;
    let mut problems = Problems::new(name);
    if let Some(mut lines) = Lines::open(source, length, limits, &mut problems) {
        json_rows(&mut lines, &LENGTHS, &mut problems, |row| {
            if row.cell(kind).is_none() {
                let expected = format!("an object with `{}` and `token_length`", PARTS[kind].2);
                row.fault(kind, 0, TraceFault::Missing { slip: None, expected: expected.into() });
            }
            let id = row.read(kind, WHAT_ID, |text| whole(text, MOST_ID));
            let tokens = row.tokens(TOKEN_LENGTH);
            if let (Some(id), Some(tokens)) = (id, tokens)
                && lengths.insert((kind, id), tokens).is_some_and(|before| before != tokens)
            {
                row.fault(kind, 0, TraceFault::Twice);
            }
            Ok(())
        });
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into_vec()) }
}

fn read_trace(
    name: &str,
    source: Box<dyn Read + '_>,
    length: Option<u64>,
    limits: &Limits,
    lengths: &Lengths,
) -> ReadResult {
    let mut problems = Problems::new(name);
    let mut builder = Builder::new(TraceFormat::RagPulse, limits);
    if let Some(mut lines) = Lines::open(source, length, limits, &mut problems) {
        json_rows(&mut lines, &LAYOUT, &mut problems, |row| {
            let at = row.read(0, WHAT_TIME, |text| seconds_ns(&json_text(text)?));
            let (input, output) = (row.tokens(1), row.tokens(2));
            let session = row.read(4, WHAT_SESSION, json_text);
            let parts = parts(row, lengths);
            let (Some(at_ns), Some(input), Some(output), Some(session), Some(mut parts)) =
                (at, input, output, session, parts)
            else {
                return Ok(());
            };
            reconcile(&mut parts, input, REMAINDER + builder.len() as u64);
            let session = Some(session.as_str());
            builder.push(&Request { at_ns, input, output, session, segments: &parts })
        });
    }
    builder.finish(problems)
}

/// A JSON string's text.
fn json_text(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// Makes the parts sum to `input`, touching the end only.
fn reconcile(parts: &mut Vec<(u64, u32)>, input: u32, remainder: u64) {
    let mut left = input;
    for (_, tokens) in parts.iter_mut() {
        *tokens = left.min(*tokens);
        left -= *tokens;
    }
    parts.retain(|(_, tokens)| *tokens > 0);
    if left > 0 {
        parts.push((remainder, left));
    }
}

/// The lists of ids, as written.
#[derive(Deserialize)]
struct HashIds<'l> {
    #[serde(borrow)]
    sys_prompt: Vec<&'l RawValue>,
    #[serde(borrow)]
    passages_ids: Vec<&'l RawValue>,
    #[serde(borrow)]
    history: Vec<&'l RawValue>,
    #[serde(borrow)]
    web_search: Vec<&'l RawValue>,
    #[serde(borrow)]
    user_input: Vec<&'l RawValue>,
}

/// The segments of a row's parts in prompt order, at their full length.
fn parts(row: &mut Row<'_>, lengths: &Lengths) -> Option<Vec<(u64, u32)>> {
    let text = row.cell(HASH_IDS)?.text.clone();
    let ids: HashIds<'_> = match serde_json::from_str(&text) {
        Ok(ids) => ids,
        Err(error) => {
            let expected = "an object with the lists sys_prompt, passages_ids, history, \
                            web_search and user_input"
                .into();
            let within = error.column().saturating_sub(1);
            let found = json_words(&error);
            row.fault(HASH_IDS, within, TraceFault::Value { found, expected });
            return None;
        }
    };
    let lists = [ids.sys_prompt, ids.passages_ids, ids.history, ids.web_search, ids.user_input];
    let start = row.cell(HASH_IDS)?.offset;
    let mut segments = Vec::new();
    let mut faults = Vec::new();
    for (kind, list) in lists.into_iter().enumerate() {
        for raw in list {
            let id = whole(raw.get(), MOST_ID);
            match id.and_then(|id| lengths.get(&(kind, id)).map(|tokens| (id, *tokens))) {
                Some((id, tokens)) => segments.push(((kind as u64) << 32 | id, tokens)),
                None => {
                    let file = PARTS[kind].1.to_owned();
                    let wrong = || TraceFault::Value {
                        found: super::problem::shown(raw.get()),
                        expected: WHAT_ID.into(),
                    };
                    let kind_of = |id| TraceFault::UnknownPart { id, file };
                    let offset = start + offset_in(&text, raw.get());
                    let field = Some(PARTS[kind].0.into());
                    faults.push(Fault { offset, field, kind: id.map_or_else(wrong, kind_of) });
                }
            }
        }
    }
    let clean = faults.is_empty();
    row.faults.extend(faults);
    clean.then_some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_whatever_the_total() {
        for (input, expected) in [
            (13, vec![(1, 5), (2, 5), (9, 3)]),
            (10, vec![(1, 5), (2, 5)]),
            (7, vec![(1, 5), (2, 2)]),
            (5, vec![(1, 5)]),
            (3, vec![(1, 3)]),
        ] {
            let mut parts = vec![(1, 5), (2, 5)];
            reconcile(&mut parts, input, 9);
            assert_eq!(parts, expected, "{input}");
        }
    }
}
