//! Predicted beside measured, as text, Markdown and JSON; and the page of all held-out errors.
//!
//! Invariants: every row is there, refused ones with their reason; an error that has no rows is
//! `–`, never 0.
//!
//! Deliberately absent: predicting.

mod web;

use calibrate::fit::serving::CREDIBLE;
use calibrate::fitted::{Accuracy, Entry, Fitted, Fold};
use calibrate::score::run::{Compared, RunScore};
use calibrate::score::{Errors, Score, Scored, ScoredRow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

pub use web::{score_html, score_topics};

/// Schema `surgeline.score/1`, one object.
#[must_use]
pub fn score_json(score: &Score) -> String {
    let predicted = score.rows.iter().map(row_json);
    let refused = score.refused.iter().map(|row| {
        let none = Value::Null;
        json!({ "id": row.id, "measured": none, "predicted": none, "refused": row.reason })
    });
    let summary: Vec<Value> = groups(score)
        .into_iter()
        .map(|(name, rows)| {
            let [tpot, ttft, saturated] = errors(&rows);
            json!({ "name": name, "tpot": errors_json(tpot), "ttft": errors_json(ttft),
                    "ttft_saturated": errors_json(saturated) })
        })
        .collect();
    let rows: Vec<Value> = predicted.chain(refused).collect();
    let all = json!({ "schema": "surgeline.score/1", "rows": rows, "summary": summary });
    format!("{all:#}\n")
}

fn row_json(row: &ScoredRow) -> Value {
    let low = |scored: &Scored| scored.interval.0;
    let high = |scored: &Scored| scored.interval.1;
    json!({
        "id": row.id,
        "configuration": name(row),
        "isl": row.load.0, "osl": row.load.1, "concurrency": row.load.2,
        "saturated": row.saturated,
        "precision_assumed": row.precision_assumed,
        "measured": {
            "ttft_ms": row.ttft.measured,
            "tpot_ms": row.tpot.map(|tpot| tpot.measured),
        },
        "predicted": {
            "ttft_ms": row.ttft.predicted,
            "tpot_ms": row.tpot.map(|tpot| tpot.predicted),
            "ttft_low_ms": low(&row.ttft), "ttft_high_ms": high(&row.ttft),
            "tpot_low_ms": row.tpot.as_ref().map(low),
            "tpot_high_ms": row.tpot.as_ref().map(high),
        },
        "refused": null,
    })
}

fn errors_json(errors: Option<Errors>) -> Value {
    errors.map_or(Value::Null, |e| {
        json!({ "rows": e.rows, "median": e.median, "p90": e.p90, "bias": e.bias,
                "covered": e.covered })
    })
}

/// What was served, in a line.
fn name(row: &ScoredRow) -> String {
    let c = &row.configuration;
    let experts = match c.expert_parallel {
        0 | 1 => String::new(),
        groups => format!(" EP{groups}"),
    };
    let (model, weights) = (c.model.rsplit('/').next().unwrap_or(&c.model), c.precision.name());
    format!("{} {model} {weights} {} TP{}{experts}", c.backend, c.system, c.gpus)
}

/// Rows by configuration, then all.
fn groups(score: &Score) -> Vec<(String, Vec<&ScoredRow>)> {
    let mut by: BTreeMap<String, Vec<&ScoredRow>> = BTreeMap::new();
    for row in &score.rows {
        by.entry(name(row)).or_default().push(row);
    }
    let all: Vec<&ScoredRow> = score.rows.iter().collect();
    by.into_iter().chain((!all.is_empty()).then(|| ("all".to_owned(), all))).collect()
}

/// Errors of TPOT, of TTFT below saturation and of TTFT in it.
fn errors(rows: &[&ScoredRow]) -> [Option<Errors>; 3] {
    let ttft = |saturated: bool| {
        Errors::of(rows.iter().filter(|row| row.saturated == saturated).map(|row| &row.ttft))
    };
    [Errors::of(rows.iter().filter_map(|row| row.tpot.as_ref())), ttft(false), ttft(true)]
}

/// For a terminal: errors by configuration; with `each`, every row before them.
#[must_use]
pub fn score_text(score: &Score, each: bool) -> String {
    let mut text = String::new();
    if each {
        let _ = writeln!(
            text,
            "{:<12} {:>6} {:>6} {:>5}  {:>10} {:>10} {:>7}  {:>9} {:>9} {:>7}",
            "row",
            "isl",
            "osl",
            "conc",
            "TTFT ms",
            "predicted",
            "error",
            "TPOT ms",
            "predicted",
            "error"
        );
        for row in &score.rows {
            let (isl, osl, lanes) = row.load;
            let _ = write!(
                text,
                "{:<12} {isl:>6} {osl:>6} {lanes:>5}  {:>10.1} {:>10.1} {:>+6.1}%",
                row.id,
                row.ttft.measured,
                row.ttft.predicted,
                100.0 * row.ttft.error()
            );
            if let Some(tpot) = &row.tpot {
                let (measured, predicted) = (tpot.measured, tpot.predicted);
                let error = 100.0 * tpot.error();
                let _ = write!(text, "  {measured:>9.2} {predicted:>9.2} {error:>+6.1}%");
            }
            text.push_str(if row.saturated { "  waits\n" } else { "\n" });
        }
        text.push('\n');
    }
    text.push_str("Median errors (bias; rows). TTFT* is that of rows whose requests wait.\n");
    for (name, rows) in groups(score) {
        let [tpot, ttft, saturated] = errors(&rows).map(brief);
        let _ = writeln!(text, "{name:<58} TPOT {tpot:<20} TTFT {ttft:<20} TTFT* {saturated}");
    }
    let covered =
        |scored: Vec<&Scored>| Errors::of(scored).map(|e| format!("{:.0}%", 100.0 * e.covered));
    if let (Some(tpot), Some(ttft)) = (
        covered(score.rows.iter().filter_map(|row| row.tpot.as_ref()).collect()),
        covered(score.rows.iter().map(|row| &row.ttft).collect()),
    ) {
        let _ = writeln!(text, "The 90% intervals hold {tpot} of TPOT and {ttft} of TTFT.");
    }
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for refused in &score.refused {
        *reasons.entry(&refused.reason).or_default() += 1;
    }
    for (reason, rows) in reasons {
        let _ = writeln!(text, "Refused {rows}: {reason}");
    }
    text
}

fn brief(errors: Option<Errors>) -> String {
    errors.map_or_else(
        || "–".to_owned(),
        |e| format!("{:.1}% ({:+.1}%; {})", 100.0 * e.median, 100.0 * e.bias, e.rows),
    )
}

/// A replayed run, for a terminal.
#[must_use]
pub fn run_text(score: &RunScore) -> String {
    let (blocks, from_log) = score.kv_blocks;
    let origin = match from_log {
        true => format!("by the run's log (in a pool: num_gpu_blocks_override = {blocks})"),
        false => "estimated".to_owned(),
    };
    let mut text = format!(
        "{} requests replayed, {} without times; {blocks} KV blocks, {origin}; iteration times: {}\n\n\
         {:<12} {:>12} {:>12} {:>8}\n",
        score.requests + score.untimed,
        score.untimed,
        score.basis.name(),
        "",
        "measured",
        "predicted",
        "error"
    );
    for (name, compared) in [("TTFT", &score.ttft), ("end to end", &score.e2e)] {
        for c in compared {
            let (measured, predicted) = (1e3 * c.measured, 1e3 * c.predicted);
            let label = format!("{name} p{:.0}", 100.0 * c.p);
            let error = 100.0 * (c.predicted / c.measured - 1.0);
            let _ = writeln!(
                text,
                "{label:<14} {measured:>9.1} ms {predicted:>9.1} ms {error:>+6.1} %"
            );
        }
    }
    text
}

/// A replayed run: schema `surgeline.score-run/1`.
#[must_use]
pub fn run_json(score: &RunScore) -> String {
    let quantiles = |compared: &[Compared]| -> Vec<Value> {
        let one = |c: &Compared| json!({ "p": c.p, "measured_ms": 1e3 * c.measured, "predicted_ms": 1e3 * c.predicted });
        compared.iter().map(one).collect()
    };
    let all = json!({
        "schema": "surgeline.score-run/1",
        "requests": score.requests, "untimed": score.untimed,
        "kv_blocks": score.kv_blocks.0, "kv_blocks_measured": score.kv_blocks.1,
        "basis": score.basis.name(),
        "ttft": quantiles(&score.ttft), "e2e": quantiles(&score.e2e),
    });
    format!("{all:#}\n")
}

/// The page of what a calibration predicts of configurations it has not seen.
#[must_use]
pub fn accuracy_page(fitted: &Fitted) -> String {
    let mut page = String::from(INTRODUCTION);
    let _ = write!(
        page,
        "\nMeasurements: {}. SHA-256 of the file `{}…`; fitted on {}; {} rows refused.\n",
        fitted.source,
        fitted.data_sha256.get(..12).unwrap_or(&fitted.data_sha256),
        fitted.as_of,
        fitted.refused
    );
    page.push_str("\n## In short\n\n");
    page.push_str(
        "| configurations | TPOT | TTFT | TTFT, saturated | intervals of TPOT hold | of TTFT |\n",
    );
    page.push_str("|---|---|---|---|---|---|\n");
    for summary in &fitted.summary {
        let a = &summary.accuracy;
        let _ = writeln!(page, "| {} | {} | {} |", summary.name, cells(a), coverage(a));
    }
    page.push_str("\n## Every configuration\n\n");
    page.push_str(
        "| engine | model | GPUs | weights | rests on | TPOT | TTFT | TTFT, saturated |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|---|\n");
    for fold in &fitted.fold {
        page.push_str(&fold_line(fold));
    }
    page.push_str("\n¹ One of its rows implies more than ");
    let _ = write!(
        page,
        "{:.0} % of the GPUs' peak arithmetic over the whole benchmark, ",
        100.0 * CREDIBLE
    );
    page.push_str(
        "which reads like prompts that were found in a cache. Nothing is fitted to it, and it is in \
         none of the sums above.\n",
    );
    page.push_str("\n## Coefficients\n\n");
    page.push_str("Of the groups; models have their own in `calibrate/data/coefficients.toml`. 90 % intervals by resampling the points.\n\n");
    for entry in fitted.entry.iter().filter(|entry| entry.model.is_none()) {
        page.push_str(&entry_list(entry));
    }
    page.push_str(LIMITS);
    page
}

fn cells(accuracy: &Accuracy) -> String {
    let cells = [accuracy.tpot, accuracy.ttft, accuracy.ttft_saturated].map(brief);
    cells.join(" | ")
}

fn coverage(accuracy: &Accuracy) -> String {
    let share = |errors: Option<Errors>| {
        errors.map_or_else(|| "–".to_owned(), |e| format!("{:.0}%", 100.0 * e.covered))
    };
    // Of both kinds of TTFT together.
    let ttft = match (accuracy.ttft, accuracy.ttft_saturated) {
        (Some(a), Some(b)) => {
            let rows = (a.rows + b.rows) as f64;
            let covered = (a.covered * a.rows as f64 + b.covered * b.rows as f64) / rows;
            Some(Errors { covered, ..a })
        }
        (a, b) => a.or(b),
    };
    format!("{} | {}", share(accuracy.tpot), share(ttft))
}

fn fold_line(fold: &Fold) -> String {
    let mark = if fold.arithmetic > CREDIBLE { "¹" } else { "" };
    let experts = match fold.expert_parallel {
        0 | 1 => String::new(),
        groups => format!(" EP{groups}"),
    };
    format!(
        "| {}{mark} | {} | {} TP{}{experts} | {} | {} | {} |\n",
        fold.engine,
        fold.model,
        fold.system,
        fold.gpus,
        fold.precision,
        fold.basis.name(),
        cells(&fold.accuracy)
    )
}

fn entry_list(entry: &Entry) -> String {
    let mut text = format!(
        "**{}, {}** ({} configurations, {} points; versions {}; on {}): ",
        entry.engine,
        entry.basis.name(),
        entry.configurations,
        entry.points,
        entry.engine_versions.join(", "),
        entry.gpus.join(", ")
    );
    let each = entry.coefficients.iter().map(|(name, c)| match (c.low, c.high) {
        (Some(low), Some(high)) => format!("{name} {} ({low} to {high})", c.value),
        _ => format!("{name} {}", c.value),
    });
    text.push_str(&each.collect::<Vec<_>>().join("; "));
    text.push_str(".\n\n");
    text
}

const INTRODUCTION: &str = "\
# How far to trust the times

Written by `surgeline calibrate accuracy`; not edited by hand.

Measured serving points are closed-loop benchmarks of real engines on H100 and H200: so many lanes, each
sending its next prompt when its answer is complete. surgeline runs the same benchmark on one simulated
replica, ten prompts a lane, with lengths drawn evenly from 80 % of the stated ones up to them, and
takes means. A configuration is a model, its precision, a GPU, an engine, and the way the model is
spread over GPUs, with all lengths and concurrencies together.

Each configuration is predicted by coefficients that were fitted without it: first to all other
configurations of the engine whose iteration time rests on the same (a kernel table, the roofline of a
dense model, or that of a model with experts), then, drawn towards those, to the others of the same
model. Errors are medians of |predicted / measured − 1|, with the median of the signed errors and the
number of rows in brackets. Rows are saturated when requests wait: predicted for longer than one
iteration on average, or measured with a TTFT above three times that of the lowest concurrency. The
90 % interval of a prediction is as wide as the errors of the group's other configurations, each held
out, make it. \"Uncalibrated\" is the roofline with nothing fitted, as scenarios run it; its interval is a
factor of two.
";

const LIMITS: &str = "\
## One H200, end to end

A Llama of the shape of 3.1 8B with random weights in BF16, served by PyTorch and transformers under
vLLM's batching rules on one H200, every iteration and request recorded
(`calibrate/data/measured/h200_transformers`). Iteration times were fitted to five closed loops and
predict six other loads, whose lengths and arrivals they share nothing with; there is no free parameter
left. `calibrate/tests/h200.rs` holds these errors.

| predicted | median | 90th percentile |
|---|---|---|
| 6,486 iterations of decodes only | 4.2% | 6.6% |
| 343 iterations with chunks of prompts | 4.6% | 11.3% |

| load | TTFT p50 | TTFT p95 | end to end p50 | p95 |
|---|---|---|---|---|
| 8 lanes, 256 + 200 tokens | +2.7% | +0.7% | -2.3% | -2.1% |
| 12 lanes, 1,500 + 150 | -1.0% | -0.4% | -4.2% | -4.6% |
| 32 lanes, 700 + 300 | +1.7% | -0.3% | +3.3% | +2.9% |
| Poisson 2/s, about 400 + 150 | -8.8% | -12.4% | -4.2% | -3.5% |
| Poisson 5/s | +1.3% | -9.2% | -6.2% | -5.6% |
| Poisson 10/s | +1.4% | -4.4% | -7.8% | -12.0% |

## Recorded runs

`surgeline calibrate score --requests FILE --engine-config FILE --gpu NAME` replays a recorded run of vLLM
(`calibrate/data/measured/engine_runs`; `calibrate/tests/runs.rs` holds these errors). Two runs of vLLM
0.11.0 on one H100 are predicted by the shipped group of dense rooflines, which has seen neither model,
nor one GPU on BF16 weights, nor that version; nothing was fitted to them. Times are the server's.

| run | TTFT p50 | p95 | end to end p50 | p95 |
|---|---|---|---|---|
| Llama 2 7B, 282 requests | +19% | +9% | +7% | +16% |
| CodeLlama 34B, chunks of 64 tokens, 200 requests | +4% | +2% | +6% | +2% |

First tokens of the small model come 9 ms too late in the median, of 50 measured: its prompts reach
more of the peak than those of the larger models, cut over GPUs, that the group was fitted to. Its
longest answers come 16 % too late; why is not known.

The third run is of a GPU that is in no serving point, an RTX PRO 6000 with Llama 3.1 8B and vLLM 0.19.0,
300 requests at ten a second until some hundred wait. `surgeline calibrate fit --requests` fitted the
model's coefficients to the first 150 by arrival and predicts the other 150:

| the second half, predicted by | TTFT p50 | p95 | end to end p50 | p95 |
|---|---|---|---|---|
| the shipped entry of the model, fitted on H200 | -16% | -17% | -12% | -10% |
| what was fitted to the first half | +0.3% | -0.6% | -0.9% | -0.1% |

## Limits

* The source states neither whether times are means or medians nor how the client was placed; versions
  are unknown for some rows, and a blank precision is taken to be BF16.
* Engine settings that a row does not state are the engine's defaults. A prefix cache is off: prompts
  are taken to be unlike each other.
* FP8 checkpoints of the Llama models keep their KV cache in FP8 as well; saturated rows agree with
  nothing else.
* What a benchmark of tens of lanes shows says little about bursts, long waits or other GPUs. The
  coefficients of hosts belong to the machines that were measured.
";
