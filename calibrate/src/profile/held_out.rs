//! Profiles against the rows of their tables that they do not hold.
//!
//! `tests/data/held_out.toml` has every row of the tables that `scripts/reduce_tables.py` dropped:
//! all lie between knots. Time is compared without graph padding and without host overhead, which
//! the tables do not have.

use serde::Deserialize;
use sim::engine::{StepTime, Work};

use super::{ErrorRow, Grid, Profile, RelativeError};
use crate::catalog::catalog;
use crate::coefficients::KernelFactors;
use crate::model::Precision;

/// Bounds of the median and of the 95th percentile, of decode and of prefill iterations.
const BOUNDS: (f64, f64) = (0.015, 0.08);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldOut {
    source: String,
    as_of: String,
    table: Vec<Table>,
}

/// Times in nanoseconds, each behind what was measured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    gpu: String,
    model: String,
    tensor_parallel: u32,
    weights: Precision,
    kv: Precision,
    /// Batch, context.
    decode: Vec<(u32, u64, u64)>,
    /// Prompts, tokens of each, tokens computed before each.
    prefill: Vec<(u32, u32, u32, u64)>,
    /// Tokens of chunks, decodes.
    shared_non_attention: Vec<(u32, u32, u64)>,
    /// Tokens of chunks, length of the prompts they are cut from.
    context_attention: Vec<(u32, u32, u64)>,
    /// Decodes, length of their prompts and of their answers.
    decode_attention: Vec<(u32, u32, u32, u64)>,
}

/// An iteration and its time in nanoseconds.
type Row = (Work, u64);

fn tables() -> HeldOut {
    toml::from_str(include_str!("../../tests/data/held_out.toml")).expect("the file is valid")
}

fn pairs(prompts: u32, tokens: u32, prefix: u32) -> u64 {
    let (n, s) = (u64::from(tokens), u64::from(prefix));
    u64::from(prompts) * (n * s + n * (n + 1) / 2)
}

impl Table {
    fn profile(&self) -> (&'static Grid, &'static Profile) {
        let profiles = &catalog().expect("the data is valid").profiles;
        let own = |p: &&Profile| {
            (&p.gpu, &p.model, p.tensor_parallel) == (&self.gpu, &self.model, self.tensor_parallel)
                && (p.weights, p.kv) == (self.weights, self.kv)
        };
        (&profiles.grid, profiles.profile.iter().find(own).expect("every table has a profile"))
    }

    fn step_time(&self) -> StepTime {
        let (grid, profile) = self.profile();
        profile.step_time(grid, &KernelFactors::default(), Vec::new()).expect("usable")
    }

    fn decodes(&self) -> Vec<Row> {
        let row = |&(batch, context, time): &(u32, u64, u64)| {
            let kv_tokens = u64::from(batch) * context;
            (Work { decodes: batch, kv_tokens, ..Work::default() }, time)
        };
        self.decode.iter().map(row).collect()
    }

    fn prefills(&self) -> Vec<Row> {
        let row = |&(prompts, tokens, prefix, time): &(u32, u32, u32, u64)| {
            let prefill_pairs = pairs(prompts, tokens, prefix);
            (Work { prefill_tokens: prompts * tokens, prefill_pairs, ..Work::default() }, time)
        };
        self.prefill.iter().map(row).collect()
    }

    /// Every mixed row that the profile does not hold: the sum of three parts. The table takes the
    /// attention of a chunk as the mean over all chunks of its prompt, and decodes halfway through
    /// their answers.
    fn mixed(&self) -> Vec<Row> {
        let (grid, _) = self.profile();
        let mut rows = Vec::new();
        for &(tokens, decodes, shared) in &self.shared_non_attention {
            for &(_, prompt, context) in self.context_attention.iter().filter(|c| c.0 == tokens) {
                let own = self.decode_attention.iter().filter(|d| (d.0, d.1) == (decodes, prompt));
                for &(_, _, answer, reading) in own {
                    if prompt == grid.mixed_prompt && grid.mixed_decodes.contains(&decodes) {
                        continue;
                    }
                    let kv_tokens = u64::from(decodes) * u64::from(prompt + answer / 2);
                    let prefill_pairs = pairs(1, prompt, 0) * u64::from(tokens) / u64::from(prompt);
                    let work = Work { decodes, kv_tokens, prefill_tokens: tokens, prefill_pairs };
                    rows.push((work, shared + context + reading));
                }
            }
        }
        rows
    }

    fn errors(&self) -> ErrorRow {
        let model = self.step_time();
        let over = |rows: &[Row]| summary(&deviations(&model, rows));
        ErrorRow {
            gpu: self.gpu.clone(),
            model: self.model.clone(),
            tensor_parallel: self.tensor_parallel,
            weights: self.weights,
            kv: self.kv,
            prefill: over(&self.prefills()),
            decode: over(&self.decodes()),
            mixed: over(&self.mixed()),
        }
    }
}

/// Relative error of each row, with its sign.
fn deviations(model: &StepTime, rows: &[Row]) -> Vec<f64> {
    let deviation =
        |&(work, time): &Row| model.iteration(work).0 as f64 / (time as f64 * 1e3) - 1.0;
    rows.iter().map(deviation).collect()
}

/// Median and 95th percentile of the absolute values, between neighbours if need be, to 10⁻⁴.
fn summary(deviations: &[f64]) -> RelativeError {
    let mut sorted: Vec<f64> = deviations.iter().map(|d| d.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        let place = q * (sorted.len() - 1) as f64;
        let low = place.floor() as usize;
        let high = sorted[(low + 1).min(sorted.len() - 1)];
        let value = sorted[low] + (high - sorted[low]) * (place - low as f64);
        (value * 1e4).round() / 1e4
    };
    RelativeError { median: quantile(0.5), p95: quantile(0.95) }
}

#[test]
fn every_profile_meets_the_bounds_on_the_rows_it_does_not_hold() {
    let held_out = tables();
    assert!(held_out.source.contains("Apache-2.0") && held_out.as_of.len() == 10);
    assert_eq!(held_out.table.len(), 30);
    let mut all = (Vec::new(), Vec::new());
    for table in &held_out.table {
        let model = table.step_time();
        let (decodes, prefills) = (table.decodes(), table.prefills());
        assert_eq!((decodes.len(), prefills.len(), table.mixed().len()), (97, 33, 65));
        for (name, rows) in [("decode", &decodes), ("prefill", &prefills)] {
            let error = summary(&deviations(&model, rows));
            let of = format!(
                "{name} of {} on {} × {}, {:?} with {:?} KV cache: {error:?}",
                table.model, table.tensor_parallel, table.gpu, table.weights, table.kv
            );
            assert!(error.median <= BOUNDS.0 && error.p95 <= BOUNDS.1, "{of}");
        }
        all.0.extend(deviations(&model, &decodes));
        all.1.extend(deviations(&model, &prefills));
    }
    // Over all combinations together it is much better than the bounds.
    assert!(summary(&all.0).median < 0.01 && summary(&all.0).p95 < 0.04, "{:?}", summary(&all.0));
    assert!(summary(&all.1).median < 0.01 && summary(&all.1).p95 < 0.04, "{:?}", summary(&all.1));
}

#[test]
fn the_shipped_errors_are_those_on_the_rows_held_out() {
    let found: Vec<ErrorRow> = tables().table.iter().map(Table::errors).collect();
    let text = |rows: &[ErrorRow]| rows.iter().map(toml_row).collect::<String>();
    let shipped = &catalog().expect("the data is valid").errors.errors;
    assert_eq!(shipped, &found, "data/profile_errors.toml ought to be:\n{}", text(&found));
}

fn toml_row(row: &ErrorRow) -> String {
    let name = |precision: Precision| format!("{precision:?}").to_lowercase();
    let error = |e: RelativeError| format!("{{ median = {:.4}, p95 = {:.4} }}", e.median, e.p95);
    format!(
        "\n[[errors]]\ngpu = {:?}\nmodel = {:?}\ntensor_parallel = {}\nweights = {:?}\nkv = {:?}\n\
         prefill = {}\ndecode = {}\nmixed = {}\n",
        row.gpu,
        row.model,
        row.tensor_parallel,
        name(row.weights),
        name(row.kv),
        error(row.prefill),
        error(row.decode),
        error(row.mixed)
    )
}

/// The bounds notice a profile of another combination.
#[test]
fn another_profile_misses_the_bounds() {
    let tables = tables().table;
    let (mine, other) = (&tables[0], &tables[1]);
    let error = summary(&deviations(&other.step_time(), &mine.decodes()));
    assert!(error.median > BOUNDS.0 && error.p95 > BOUNDS.1, "{error:?}");
}

/// What is between knots never falls as the batch, its contexts, a chunk or its prefix grow.
#[test]
fn time_never_falls_as_work_grows() {
    for table in &tables().table {
        let model = table.step_time();
        let time = |batch: u32, context: u32, tokens: u32, prefix: u32| {
            model.iteration(Work {
                decodes: batch,
                kv_tokens: u64::from(batch) * u64::from(context),
                prefill_tokens: tokens,
                prefill_pairs: pairs(1, tokens, prefix),
            })
        };
        for batch in [0, 1, 3, 17, 100, 140, 255, 400, 600] {
            for context in [1, 100, 130, 1_000, 5_000, 40_000] {
                for tokens in [0, 1, 100, 500, 900, 2_047, 6_000, 40_000] {
                    let now = time(batch, context, tokens, 700);
                    assert!(now <= time(batch + 1, context, tokens, 700));
                    assert!(now <= time(batch, context + 9, tokens, 700));
                    assert!(now <= time(batch, context, tokens + 1, 700) || tokens == 0);
                    assert!(now <= time(batch, context, tokens, 900));
                }
            }
        }
    }
}
