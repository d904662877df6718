//! Predicted beside measured: errors, their summaries, and whether intervals held what they say.
//!
//! An error is relative, predicted over measured less 1; a bias is the median of errors with their
//! signs. A row is saturated when its requests wait: predicted for longer on average than one
//! iteration takes, or measured with a TTFT above three times that of the lowest concurrency of its
//! configuration. Such rows are scored like all others, and shown apart.
//!
//! Invariants: every row of a file has a score or a reason; nothing is left out of a summary but
//! refused rows and, where a summary says so, configurations that cannot be believed.
//!
//! Deliberately absent: fitting, and documents.

pub mod run;

use crate::fit::serving::{Measured, Values};
use crate::serving::{Configuration, Refused};
use serde::{Deserialize, Serialize};
use sim::stats::quantile_sorted;
use std::collections::BTreeMap;

/// TTFT above so many times that of the lowest concurrency is saturation.
const SATURATED: f64 = 3.0;

/// Half-widths of prediction intervals: the factor, as a logarithm, by which what is measured lies
/// above or below nine times in ten.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Of TPOT.
    pub tpot: f64,
    /// Of TTFT.
    pub ttft: f64,
}

/// One measured time and its prediction, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Measured.
    pub measured: f64,
    /// Predicted.
    pub predicted: f64,
    /// The interval that holds nine of ten.
    pub interval: (f64, f64),
}

/// A row and what was predicted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredRow {
    /// The row's own name, or its line.
    pub id: String,
    /// What was served.
    pub configuration: Configuration,
    /// Longest prompt and answer in tokens, and lanes.
    pub load: (u32, u32, u32),
    /// Whether its precision was taken to be BF16 because the row leaves it open.
    pub precision_assumed: bool,
    /// Whether requests wait.
    pub saturated: bool,
    /// Whether the row implies more arithmetic than can be believed, so that nothing is fitted to
    /// its configuration.
    pub credible: bool,
    /// Time to first token.
    pub ttft: Scored,
    /// Time per further token; `None` where answers have one token.
    pub tpot: Option<Scored>,
}

/// All rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Rows that were predicted.
    pub rows: Vec<ScoredRow>,
    /// Rows that were not, with reasons.
    pub refused: Vec<Refused>,
}

/// Errors of a set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Rows.
    pub rows: usize,
    /// Median of the errors without their signs.
    pub median: f64,
    /// 90th percentile of those.
    pub p90: f64,
    /// Median of the errors with their signs.
    pub bias: f64,
    /// Share of rows whose interval holds what was measured.
    pub covered: f64,
}

impl Scored {
    /// Relative error.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.predicted / self.measured - 1.0
    }

    fn is_covered(&self) -> bool {
        (self.interval.0..=self.interval.1).contains(&self.measured)
    }
}

impl Errors {
    /// Of `scored`; `None` of none.
    pub fn of<'a>(scored: impl IntoIterator<Item = &'a Scored>) -> Option<Errors> {
        let scored: Vec<&Scored> = scored.into_iter().collect();
        let mut signed: Vec<f64> = scored.iter().map(|one| one.error()).collect();
        signed.sort_by(f64::total_cmp);
        let mut plain: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        plain.sort_by(f64::total_cmp);
        let covered = scored.iter().filter(|one| one.is_covered()).count();
        Some(Errors {
            rows: scored.len(),
            median: quantile_sorted(&plain, 0.5)?,
            p90: quantile_sorted(&plain, 0.9)?,
            bias: quantile_sorted(&signed, 0.5)?,
            covered: covered as f64 / scored.len() as f64,
        })
    }
}

/// Scores `measured` with the values and the spread that each configuration is given.
pub fn score(
    measured: &[Measured],
    refused: Vec<Refused>,
    with: impl Fn(usize, &Measured) -> (Values, Spread),
) -> Score {
    let mut all = Score { rows: Vec::new(), refused };
    for (number, one) in measured.iter().enumerate() {
        let (values, spread) = with(number, one);
        let lowest = lowest_ttft(one);
        for (point, predicted) in one.points.iter().zip(one.predict(&values)) {
            let Some(times) = predicted else {
                let reason = "its requests do not fit the KV cache".to_owned();
                all.refused.push(Refused { id: point.id.clone(), reason });
                continue;
            };
            let high = lowest.get(&(point.input, point.output));
            let waits = times.waiting > times.tpot
                || high.is_some_and(|&lowest| point.ttft_ms > SATURATED * lowest);
            all.rows.push(ScoredRow {
                id: point.id.clone(),
                configuration: one.configuration.clone(),
                load: (point.input, point.output, point.concurrency),
                precision_assumed: point.precision_assumed,
                saturated: waits,
                credible: one.is_credible(),
                ttft: scored(point.ttft_ms, times.ttft * 1e3, spread.ttft),
                tpot: (times.tpot > 0.0)
                    .then(|| scored(point.tpot_ms, times.tpot * 1e3, spread.tpot)),
            });
        }
    }
    all
}

fn scored(measured: f64, predicted: f64, spread: f64) -> Scored {
    let factor = libm::exp(spread);
    Scored { measured, predicted, interval: (predicted / factor, predicted * factor) }
}

/// TTFT of the lowest concurrency, by lengths.
fn lowest_ttft(one: &Measured) -> BTreeMap<(u32, u32), f64> {
    let mut lowest: BTreeMap<(u32, u32), (u32, f64)> = BTreeMap::new();
    for point in &one.points {
        let here = (point.concurrency, point.ttft_ms);
        let kept = lowest.entry((point.input, point.output)).or_insert(here);
        if here.0 < kept.0 {
            *kept = here;
        }
    }
    lowest.into_iter().map(|(lengths, (_, ttft))| (lengths, ttft)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_signs_and_coverage() {
        let row = |measured, predicted| scored(measured, predicted, 0.1);
        let rows = [row(100.0, 105.0), row(100.0, 95.0), row(100.0, 130.0)];
        let errors = Errors::of(&rows).expect("three rows");
        assert_eq!(errors.rows, 3);
        assert!((errors.median - 0.05).abs() < 1e-9 && (errors.bias - 0.05).abs() < 1e-9);
        assert!((errors.covered - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(Errors::of(&[]), None);
    }
}
