//! Single iterations of an engine: what was in the batch, and how long it took.
//!
//! Two layouts, as CSV or as one JSON object a line; a file is told from its names:
//!
//! * this project's: `seconds`, `decodes`, `prefill_tokens`, and `kv_tokens`, `prefill_pairs` where
//!   they are known (`prefill_requests`, `series` too);
//! * intervals between the stamps of an engine's trace: `interval_to_next_step_us`,
//!   `prefill_tokens`, `prefill_reqs`, `decode_reqs`, `kv_blocks_used`, `next_prefill_tokens`,
//!   `next_decode_reqs`. There `reported_step_duration_us` is not the time of the step, and is not
//!   read.
//!
//! In both, `model` and `tp` say what was served, where they are there.
//!
//! Invariants: a row has a time above zero; the batch of a row and that of the next are kept as the
//! file has them.
//!
//! Deliberately absent: which batch ran during an interval (see [`crate::fit::steps`]), tokens of
//! blocks (the block size is not in the file), and outliers.

use super::File;
use super::json::{Node, lines};
use super::problem::{ImportErrors, Problems};
use super::table::{Row, Table};
use sim::units::{Blocks, Span, Tokens};

/// What a batch reads from the KV cache, as the file counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Tokens that the decoding sequences read.
    Tokens(u64),
    /// Blocks in use by all sequences of the engine, part-filled and still prefilling ones too.
    Blocks(Blocks),
}

/// What one iteration computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sequences that decode one token.
    pub decodes: u32,
    /// Prompt tokens.
    pub prefill_tokens: Tokens,
}

/// One measured iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRow {
    /// Name of the experiment or configuration; rows of one are comparable.
    pub series: Option<String>,
    /// What was served, and on how many GPUs, in words.
    pub served: Option<String>,
    /// What was in the batch.
    pub batch: Batch,
    /// What was in the next batch, in files of intervals.
    pub next: Option<Batch>,
    /// What the batch read from the KV cache.
    pub context: Option<Context>,
    /// Requests that share the prompt tokens.
    pub prefill_requests: Option<u32>,
    /// Pairs of a prompt token and a token it attends to.
    pub prefill_pairs: Option<u64>,
    /// How long it took.
    pub time: Span,
}

/// Reads the steps of a CSV or JSONL file.
///
/// # Errors
/// [`ImportErrors`] with every row that is none.
pub fn steps(file: File<'_>) -> Result<Vec<StepRow>, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let rows = match file.text.trim_start().starts_with('{') {
        true => lines(file.text, &mut problems)
            .iter()
            .filter_map(|(line, value)| object(&Node::root(*line, value), &mut problems))
            .collect(),
        false => table(file.text, &mut problems),
    };
    if rows.is_empty() && problems.is_empty() {
        problems.push(0, "", "no step in this file");
    }
    problems.finish(rows)
}

fn table(text: &str, problems: &mut Problems) -> Vec<StepRow> {
    let Some(table) = Table::read(text, &["prefill_tokens"], problems) else { return Vec::new() };
    if table.has("interval_to_next_step_us") {
        return table.rows().filter_map(|row| interval(&row, problems)).collect();
    }
    if !table.has("seconds") || !table.has("decodes") {
        let expected = "the first line must name the columns `seconds`, `decodes`, \
                        `prefill_tokens`, or `interval_to_next_step_us` with those of its layout";
        problems.push(1, "", expected);
        return Vec::new();
    }
    table.rows().filter_map(|row| step(&row, problems)).collect()
}

/// A row of this project's layout.
fn step(row: &Row<'_>, problems: &mut Problems) -> Option<StepRow> {
    let batch = batch(row, "decodes", "prefill_tokens", problems);
    let mut optional = |column| row.text(column).and_then(|_| row.whole(column, problems));
    let (context, prefill_pairs) = (optional("kv_tokens"), optional("prefill_pairs"));
    let requests = "prefill_requests";
    let prefill_requests = row.text(requests).and_then(|_| row.count(requests, problems));
    let time = row.span("seconds", 1.0, problems);
    let time = time.filter(|time| {
        let took = time.0 > 0;
        if !took {
            row.wrong("seconds", problems, "a step that took no time");
        }
        took
    });
    Some(StepRow {
        series: row.text("series").map(str::to_owned),
        served: served(row.text("model"), row.text("tp")),
        batch: batch?,
        next: None,
        context: context.map(Context::Tokens),
        prefill_requests,
        prefill_pairs,
        time: time?,
    })
}

/// A row of intervals between stamps.
fn interval(row: &Row<'_>, problems: &mut Problems) -> Option<StepRow> {
    let this = batch(row, "decode_reqs", "prefill_tokens", problems);
    let next = batch(row, "next_decode_reqs", "next_prefill_tokens", problems);
    let blocks = row.count("kv_blocks_used", problems);
    let prefill_requests = row.count("prefill_reqs", problems);
    let time = row.span("interval_to_next_step_us", 1e-6, problems);
    let time = time.filter(|time| {
        let took = time.0 > 0;
        if !took {
            row.wrong("interval_to_next_step_us", problems, "a step that took no time");
        }
        took
    });
    Some(StepRow {
        series: row.text("experiment").map(str::to_owned),
        served: served(row.text("model"), row.text("tp")),
        batch: this?,
        next: Some(next?),
        context: Some(Context::Blocks(Blocks(blocks?))),
        prefill_requests,
        prefill_pairs: None,
        time: time?,
    })
}

fn served(model: Option<&str>, gpus: Option<&str>) -> Option<String> {
    Some(match gpus {
        Some(gpus) => format!("{} TP{gpus}", model?),
        None => model?.to_owned(),
    })
}

fn batch(row: &Row<'_>, decodes: &str, prefill: &str, problems: &mut Problems) -> Option<Batch> {
    let decodes = row.count(decodes, problems);
    let prefill_tokens = row.tokens(prefill, problems);
    Some(Batch { decodes: decodes?, prefill_tokens: prefill_tokens? })
}

/// A JSON object of either layout.
fn object(row: &Node<'_, '_>, problems: &mut Problems) -> Option<StepRow> {
    let intervals = row.get("interval_to_next_step_us").is_some();
    let (time, unit) = match intervals {
        true => ("interval_to_next_step_us", 1e-6),
        false => ("seconds", 1.0),
    };
    let [decodes, requests, context, series] = match intervals {
        true => ["decode_reqs", "prefill_reqs", "kv_blocks_used", "experiment"],
        false => ["decodes", "prefill_requests", "kv_tokens", "series"],
    };
    let took = row.need(time, problems).and_then(|node| {
        let span = node.span(unit, problems)?;
        if span.0 == 0 {
            node.wrong(problems, "a step that took no time");
        }
        Some(span)
    });
    let mut batch = |decodes, prefill| {
        let decodes = row.need(decodes, problems).and_then(|node| node.count(problems));
        let prefill = row.need(prefill, problems).and_then(|node| node.tokens(problems));
        Some(Batch { decodes: decodes?, prefill_tokens: prefill? })
    };
    let this = batch(decodes, "prefill_tokens");
    let next = if intervals { batch("next_decode_reqs", "next_prefill_tokens") } else { None };
    let context = row.get(context).and_then(|node| match intervals {
        true => node.count(problems).map(|blocks| Context::Blocks(Blocks(blocks))),
        false => node.whole(problems).map(Context::Tokens),
    });
    let prefill_requests = row.get(requests).and_then(|node| node.count(problems));
    let prefill_pairs = row.get("prefill_pairs").and_then(|node| node.whole(problems));
    let series = row.get(series).and_then(|node| node.text(problems)).map(str::to_owned);
    let model = row.get("model").and_then(|node| node.text(problems));
    let gpus = row.get("tp").and_then(|node| node.count(problems)).map(|gpus| gpus.to_string());
    let served = served(model, gpus.as_deref());
    let (batch, time) = (this?, took?);
    Some(StepRow { series, served, batch, next, context, prefill_requests, prefill_pairs, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<StepRow>, ImportErrors> {
        steps(File { name: "steps", text })
    }

    #[test]
    fn intervals_are_the_times_and_reported_durations_are_not() {
        let rows = read(include_str!("../../tests/data/imports/step_intervals.csv"));
        let rows = rows.expect("steps");
        assert_eq!(rows.len(), 11);
        let first = &rows[0];
        assert_eq!(first.time, Span(45_448_700_000));
        assert_eq!(first.batch, Batch { decodes: 13, prefill_tokens: Tokens(1_522) });
        assert_eq!(first.next, Some(Batch { decodes: 14, prefill_tokens: Tokens(483) }));
        assert_eq!(first.context, Some(Context::Blocks(Blocks(568))));
        assert_eq!((first.prefill_requests, first.prefill_pairs), (Some(4), None));
        assert_eq!(first.served.as_deref(), Some("llama-2-70b TP4"));
        let series = rows[10].series.as_deref();
        assert_eq!(series, Some("20260217-203421-llama-2-70b-hf-tp4-codegen"));
    }

    #[test]
    fn both_forms_of_the_own_layout_say_the_same() {
        let table = "decodes,kv_tokens,prefill_tokens,prefill_pairs,seconds\n\
                     8,16000,0,,0.012\n0,,2048,2098176,0.0505\n";
        let objects = "{\"decodes\":8,\"kv_tokens\":16000,\"prefill_tokens\":0,\"seconds\":0.012}\n\
                       {\"decodes\":0,\"prefill_tokens\":2048,\"prefill_pairs\":2098176,\"seconds\":0.0505}\n";
        let rows = read(table).expect("steps");
        assert_eq!(rows, read(objects).expect("steps"));
        assert_eq!(rows[0].context, Some(Context::Tokens(16_000)));
        assert_eq!(
            (rows[1].time, rows[1].prefill_pairs),
            (Span::from_micros(50_500), Some(2_098_176))
        );
    }

    #[test]
    fn every_bad_row_is_told() {
        let text = "decodes,prefill_tokens,seconds\n1,0,0\n1,x,0.1\n-1,0,0.1\n1,0\n1,0,1e99\n";
        let errors = read(text).expect_err("five");
        let at: Vec<(Option<u64>, &str)> =
            errors.problems.iter().map(|p| (p.line, p.place.as_str())).collect();
        let expected = [
            (Some(5), ""),
            (Some(2), "seconds"),
            (Some(3), "prefill_tokens"),
            (Some(4), "decodes"),
            (Some(6), "seconds"),
        ];
        assert_eq!(at, expected);
        assert!(read("").is_err() && read("a,b\n1,2\n").is_err() && read("{}\n").is_err());
        assert!(read("prefill_tokens,seconds\n").is_err());
    }
}
