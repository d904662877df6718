//! Step intervals of vLLM on H100: each experiment predicted by coefficients fitted to others.
//!
//! The measurements are `data/measured/h100_vllm_steps`; its README says what they are. What is
//! asserted here is what docs/calibration/score.md says.

use calibrate::fit::steps::rows::fit_rows;
use calibrate::imports::File;
use calibrate::imports::steps::{StepRow, steps};
use flate2::read::GzDecoder;
use std::io::Read;

const INTERVALS: &[u8] = include_bytes!("../data/measured/h100_vllm_steps/intervals.csv.gz");

fn rows() -> Vec<StepRow> {
    let mut text = String::new();
    GzDecoder::new(INTERVALS).read_to_string(&mut text).expect("a text");
    steps(File { name: "intervals.csv", text: &text }).expect("steps")
}

#[test]
fn intervals_of_experiments_that_were_not_seen_are_predicted_within_five_per_cent() {
    let rows = rows();
    assert_eq!(rows.len(), 1_967);
    let fitted = fit_rows(&rows, sim::units::Tokens(16));
    let named: Vec<(&str, usize)> =
        fitted.iter().map(|one| (one.served.as_str(), one.fold.len())).collect();
    assert_eq!(named, [("CodeLlama-34b TP2", 5), ("Llama-2-70b TP4", 2)]);
    for one in &fitted {
        println!("{}: {:?}", one.served, one.coefficients);
        for fold in &one.fold {
            println!("  {fold:?}");
            assert!(fold.median < 0.03 && fold.bias.abs() < 0.03, "{fold:?}");
            // One number for all intervals of an experiment is far worse.
            assert!(fold.median < 0.6 * fold.constant, "{fold:?}");
        }
    }
}

/// The median of intervals by what a test on rows says about their batches.
fn median(rows: &[StepRow], keep: impl Fn(&StepRow) -> bool) -> f64 {
    let kept = rows.iter().filter(|row| keep(row)).map(|row| row.time.as_secs_f64());
    let mut kept: Vec<f64> = kept.collect();
    assert!(kept.len() > 20);
    kept.sort_by(f64::total_cmp);
    sim::stats::quantile_sorted(&kept, 0.5).expect("rows")
}

/// What [`calibrate::fit::steps::rows`] says of the stamps: a request whose prompt is in a row is in
/// the next as a prompt of one token, and only there does its prompt make the interval longer.
#[test]
fn the_batch_before_a_row_runs_in_its_interval() {
    let rows = rows();
    let ones = |row: &StepRow| row.prefill_requests == Some(row.batch.prefill_tokens.0);
    let prompts = |row: &StepRow| row.batch.prefill_tokens.0 > 0;
    let next = |row: &StepRow| row.next.expect("the next batch").prefill_tokens.0;
    // One prompt of more than a token: the next row has a prompt of one token, or more beside it.
    let alone = |row: &&StepRow| row.prefill_requests == Some(1) && row.batch.prefill_tokens.0 > 1;
    let alone: Vec<&StepRow> = rows.iter().filter(alone).collect();
    assert!(alone.len() > 200 && alone.iter().all(|row| next(row) >= 1));
    assert!(alone.iter().filter(|row| next(row) == 1).count() * 10 > alone.len() * 7);
    // Batches of one size, of the model with the most rows of that size.
    let code = |row: &StepRow| {
        row.served.as_deref() == Some("CodeLlama-34b TP2")
            && (20..=40).contains(&row.batch.decodes)
            && (next(row) <= 1)
    };
    let bare = median(&rows, |row| code(row) && !prompts(row));
    let own = median(&rows, |row| code(row) && prompts(row) && !ones(row));
    let before = median(&rows, |row| code(row) && prompts(row) && ones(row));
    println!("{bare} {own} {before}");
    assert!(before - bare > 2e-4 && (own - bare).abs() < 1e-4, "{bare} {own} {before}");
}
