//! Recorded rows as steps, coefficients by what was served, and their errors on rows they have not
//! seen.
//!
//! A row of this project's layout is an iteration with its batch. A row of intervals between stamps
//! of an engine that schedules asynchronously is not: batch *i* is scheduled while batch *i − 1* runs,
//! and batch *i + 1* once the tokens of *i − 1* are there, so what runs between the stamps of *i* and
//! *i + 1* is batch *i − 1*. Its sequences are those that decode in *i*. A request whose prompt *i − 1*
//! completed has no token yet when *i* is scheduled, and is counted there as a prompt of one token: as
//! many prompt tokens as requests in *i* are the prompts of *i − 1*, whose tokens the row does not have
//! and which are taken as one each. A row with longer prompts does not tell them apart, and its batch
//! counts as one without prompts.
//!
//! Invariants: every row is scored, and by coefficients of which no row of its series, or of its fifth
//! of the only series, is part.
//!
//! Deliberately absent: the host's work on prompts that come next, which overlaps with the interval.

use super::{Step, StepCoefficients, fit_steps};
use crate::fitted::rounded;
use crate::imports::steps::{Context, StepRow};
use serde::Serialize;
use sim::engine::Work;
use sim::stats::quantile_sorted;
use sim::units::Tokens;
use std::collections::BTreeMap;

/// Parts of the only series of what was served, each predicted by the others.
const PARTS: usize = 5;

/// Version of the format of [`StepFile`].
pub const SCHEMA: &str = "surgeline.steps/1";

/// What steps were fitted, as a file: TOML, to be read by people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepFile {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where the steps are from.
    pub source: String,
    /// When it was fitted, ISO 8601.
    pub as_of: String,
    /// SHA-256 of the file of steps, in hex.
    pub data_sha256: String,
    /// Tokens of a KV block, where the file counts blocks.
    pub block_tokens: u32,
    /// By what was served.
    pub served: Vec<Served>,
}

impl StepFile {
    /// As a file.
    ///
    /// # Errors
    /// When a number is not finite, which a fit rules out.
    pub fn write(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// What the rows of one model on so many GPUs say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Served {
    /// What was served, in words; empty where the rows do not say.
    pub served: String,
    /// Rows.
    pub rows: usize,
    /// Fitted to all of them, in seconds.
    pub coefficients: StepCoefficients,
    /// How well rows are predicted by others.
    pub fold: Vec<Fold>,
}

/// Rows that were predicted by coefficients fitted without them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fold {
    /// Their series, and which part of it where there is no other.
    pub held_out: String,
    /// Rows.
    pub rows: usize,
    /// Rows that were fitted to.
    pub fitted: usize,
    /// Median of |predicted / measured − 1|.
    pub median: f64,
    /// 90th percentile of those.
    pub p90: f64,
    /// Median of predicted / measured − 1.
    pub bias: f64,
    /// The median error of one number for all rows: the median of those that were fitted to.
    pub constant: f64,
}

/// The iteration of a row, where KV blocks hold `block` tokens.
#[must_use]
pub fn step(row: &StepRow, block: Tokens) -> Step {
    let kv_tokens = match row.context {
        Some(Context::Tokens(tokens)) => tokens,
        Some(Context::Blocks(blocks)) => u64::from(blocks.0) * u64::from(block.0),
        None => 0,
    };
    let (tokens, requests) = (row.batch.prefill_tokens.0, row.prefill_requests.unwrap_or(1));
    let prefill_tokens = if row.next.is_none() || tokens <= requests { tokens } else { 0 };
    // Prompts of equal length without anything before them: the least that the chunks attend to.
    let least = || {
        let n = u64::from(prefill_tokens);
        n * (n / u64::from(requests.max(1)) + 1) / 2
    };
    let prefill_pairs = row.prefill_pairs.unwrap_or_else(least);
    let work = Work { decodes: row.batch.decodes, kv_tokens, prefill_tokens, prefill_pairs };
    Step { work, seconds: row.time.as_secs_f64() }
}

/// Fits `rows` by what was served, and each series once more without itself.
#[must_use]
pub fn fit_rows(rows: &[StepRow], block: Tokens) -> Vec<Served> {
    let mut served: BTreeMap<&str, BTreeMap<&str, Vec<Step>>> = BTreeMap::new();
    for row in rows {
        let (what, series) = (row.served.as_deref(), row.series.as_deref());
        let all = served.entry(what.unwrap_or_default()).or_default();
        all.entry(series.unwrap_or_default()).or_default().push(step(row, block));
    }
    let fit = |(what, series): (&str, BTreeMap<&str, Vec<Step>>)| {
        let all = series.values().flatten().copied().collect::<Vec<_>>();
        let coefficients = short(fit_steps(&all));
        let fold = folds(&parts(&series));
        Served { served: what.to_owned(), rows: all.len(), coefficients, fold }
    };
    served.into_iter().map(fit).collect()
}

/// Coefficients to the digits that a fit can say.
fn short(c: StepCoefficients) -> StepCoefficients {
    StepCoefficients {
        decode: rounded(c.decode),
        sequence: rounded(c.sequence),
        kv_token: rounded(c.kv_token),
        pair: rounded(c.pair),
        rises: c.rises.map(rounded),
    }
}

/// What is held out together, with its name.
fn parts(series: &BTreeMap<&str, Vec<Step>>) -> Vec<(String, Vec<Step>)> {
    if let Some((name, steps)) = series.first_key_value().filter(|_| series.len() == 1) {
        let chunks = steps.chunks(steps.len().div_ceil(PARTS).max(1));
        let parts = chunks.len();
        let part = |(n, steps): (usize, &[Step])| {
            (format!("{name}, part {} of {parts}", n + 1), steps.to_vec())
        };
        return chunks.enumerate().map(part).collect();
    }
    series.iter().map(|(name, steps)| ((*name).to_owned(), steps.clone())).collect()
}

/// Each part predicted by the others; nothing where there are no others.
fn folds(parts: &[(String, Vec<Step>)]) -> Vec<Fold> {
    let fold = |(number, (name, own)): (usize, &(String, Vec<Step>))| {
        let others = parts.iter().enumerate().filter(|(other, _)| *other != number);
        let others: Vec<Step> = others.flat_map(|(_, (_, steps))| steps).copied().collect();
        let seconds = sorted(others.iter().map(|step| step.seconds));
        let typical = quantile_sorted(&seconds, 0.5)?;
        let coefficients = fit_steps(&others);
        let errors = own.iter().map(|s| coefficients.seconds(s.work) / s.seconds - 1.0);
        let signed = sorted(errors);
        let plain = sorted(signed.iter().map(|error| error.abs()));
        let constant = sorted(own.iter().map(|step| (typical / step.seconds - 1.0).abs()));
        Some(Fold {
            held_out: name.clone(),
            rows: own.len(),
            fitted: others.len(),
            median: rounded(quantile_sorted(&plain, 0.5)?),
            p90: rounded(quantile_sorted(&plain, 0.9)?),
            bias: rounded(quantile_sorted(&signed, 0.5)?),
            constant: rounded(quantile_sorted(&constant, 0.5)?),
        })
    };
    parts.iter().enumerate().filter_map(fold).collect()
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::steps::Batch;
    use sim::units::{Blocks, Span};

    fn row(decodes: u32, prefill: u32, requests: u32, next: bool) -> StepRow {
        let batch = Batch { decodes, prefill_tokens: Tokens(prefill) };
        StepRow {
            series: Some("a".to_owned()),
            served: None,
            batch,
            next: next.then_some(batch),
            context: Some(Context::Blocks(Blocks(10))),
            prefill_requests: Some(requests),
            prefill_pairs: None,
            time: Span::from_micros(10_000 + 100 * u64::from(decodes)),
        }
    }

    #[test]
    fn an_interval_is_of_the_batch_before_its_row() {
        let work = |row: &StepRow| step(row, Tokens(16)).work;
        let decoding = Work { decodes: 7, kv_tokens: 160, ..Work::default() };
        // Two prompts were completed by the batch before.
        let ended = Work { prefill_tokens: 2, prefill_pairs: 2, ..decoding };
        assert_eq!(work(&row(7, 2, 2, true)), ended);
        // The row's own prompt of 500 tokens is not part of its interval.
        assert_eq!(work(&row(7, 500, 1, true)), decoding);
        // An iteration with its own batch: two prompts of 250 attend to 250·251/2 pairs each.
        let own = Work { prefill_tokens: 500, prefill_pairs: 62_750, ..decoding };
        assert_eq!(work(&row(7, 500, 2, false)), own);
    }

    #[test]
    fn the_only_series_is_held_out_by_fifths_and_several_one_by_one() {
        let mut rows: Vec<StepRow> = (0..100).map(|n| row(1 + n % 50, 0, 0, true)).collect();
        let fitted = fit_rows(&rows, Tokens(16));
        assert_eq!((fitted.len(), fitted[0].fold.len(), fitted[0].rows), (1, 5, 100));
        let fold = &fitted[0].fold[4];
        assert_eq!((fold.held_out.as_str(), fold.rows, fold.fitted), ("a, part 5 of 5", 20, 80));
        assert!(fold.median < 0.01 && fold.constant > 0.05, "{fold:?}");
        rows[..30].iter_mut().for_each(|row| row.series = Some("b".to_owned()));
        let fitted = fit_rows(&rows, Tokens(16));
        let held: Vec<(&str, usize)> =
            fitted[0].fold.iter().map(|fold| (fold.held_out.as_str(), fold.rows)).collect();
        assert_eq!(held, [("a", 70), ("b", 30)]);
        assert!(fit_rows(&rows[..1], Tokens(16))[0].fold.is_empty());
        assert!(fit_rows(&[], Tokens(16)).is_empty());
    }
}
