//! Surfaces of iteration times from the knots of a profile.
//!
//! A surface has one row for each measured number of sequences or tokens. Along a row, time is
//! straight between the measured points; beyond them it runs parallel to rows that were measured
//! there. Measured time falls here and there where a kernel is better at the larger size; the
//! surfaces do not: each corner lies midway between the largest value at less work and the smallest
//! at more.
//!
//! Invariants: all arithmetic is on whole picoseconds.
//!
//! Deliberately absent: fitting. Every value is a measured one, or between or beside such.

use std::collections::BTreeMap;

use sim::engine::{StepTimeError, Surface, Surfaces};

use super::{Grid, Profile};
use crate::coefficients::KernelFactors;

/// Picoseconds in a nanosecond.
const NANOSECOND: i64 = 1_000;
/// Knots of KV tokens: 0 and the powers of two from 2⁷ to 2²⁴.
const KV_POWERS: std::ops::RangeInclusive<u32> = 7..=24;
/// Knots of pairs: 0 and the powers of two from 2¹⁰ to 2³⁰.
const PAIR_POWERS: std::ops::RangeInclusive<u32> = 10..=30;

/// The three surfaces of `profile`, each time multiplied by its factor.
pub(super) fn surfaces(
    profile: &Profile,
    grid: &Grid,
    factors: &KernelFactors,
) -> Result<Surfaces, StepTimeError> {
    let ys = knots(KV_POWERS);
    let decode = rising(decode_rows(profile, grid, &ys));
    let reading = rising(reading_rows(profile, grid, &ys, &decode));
    let pairs = knots(PAIR_POWERS);
    let (tokens, rows) = prefill_rows(profile, grid, &pairs);
    Ok(Surfaces {
        decode: surface(grid.batches.clone(), ys.clone(), &decode, factors.decode)?,
        reading: surface(grid.batches.clone(), ys, &reading, factors.decode)?,
        prefill: surface(tokens, pairs, &rising(rows), factors.prefill)?,
    })
}

fn knots(powers: std::ops::RangeInclusive<u32>) -> Vec<u64> {
    std::iter::once(0).chain(powers.map(|power| 1 << power)).collect()
}

fn surface(
    xs: Vec<u32>,
    ys: Vec<u64>,
    rows: &[Vec<i64>],
    factor: f64,
) -> Result<Surface, StepTimeError> {
    let values = rows.iter().flatten().map(|&value| (value as f64 * factor) as u64).collect();
    Surface::new(xs, ys, values)
}

fn picoseconds(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX).saturating_mul(NANOSECOND)
}

/// (token, context) pairs of `prompts` chunks of `tokens` after `prefix` computed ones each.
fn pairs(prompts: u32, tokens: u32, prefix: u32) -> u64 {
    let (n, s) = (u64::from(tokens), u64::from(prefix));
    u64::from(prompts) * (n * s + n * (n + 1) / 2)
}

/// Picoseconds through points, straight between them and beyond.
struct Curve(Vec<(u64, i64)>);

impl Curve {
    /// At least one point; of points at one place the last counts.
    fn new(points: impl IntoIterator<Item = (u64, i64)>) -> Curve {
        Curve(points.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }

    fn at(&self, place: u64) -> i64 {
        let points = &self.0;
        if points.len() == 1 {
            return points[0].1;
        }
        let upper = points.partition_point(|point| point.0 < place).clamp(1, points.len() - 1);
        let (from, to) = (points[upper - 1], points[upper]);
        let rise = i128::from(to.1 - from.1) * (i128::from(place) - i128::from(from.0));
        from.1 + (rise / i128::from(to.0 - from.0)) as i64
    }

    /// At `places`; before the first point and after the last parallel to `beside`.
    fn beside(&self, places: &[u64], beside: impl Fn(u64) -> i64) -> Vec<i64> {
        let points = &self.0;
        let (first, last) = (points[0], points[points.len() - 1]);
        let parallel = |place: u64, (from, value)| value + beside(place) - beside(from);
        let value = |&place: &u64| match place {
            _ if place < first.0 => parallel(place, first),
            _ if place > last.0 => parallel(place, last),
            _ => self.at(place),
        };
        places.iter().map(value).collect()
    }
}

/// Decode iterations: a row for each batch, from its measured contexts. Beyond its longest context
/// a row runs parallel to that of the next larger batch, which was measured there.
fn decode_rows(profile: &Profile, grid: &Grid, ys: &[u64]) -> Vec<Vec<i64>> {
    let mut larger: Option<Curve> = None;
    let mut rows = Vec::new();
    for (&batch, times) in grid.batches.iter().zip(&profile.decode).rev() {
        let kv = grid.contexts.iter().map(|&context| u64::from(batch) * u64::from(context));
        let own = Curve::new(kv.zip(times.iter().map(|&time| picoseconds(time))));
        let (first, last) = (own.0[0].0, own.0[own.0.len() - 1].0);
        let row = own.beside(ys, |place| match &larger {
            Some(larger) if place > first && last > first => larger.at(place),
            _ => own.at(place),
        });
        larger = Some(Curve::new(ys.iter().copied().zip(row.iter().copied())));
        rows.push(row);
    }
    rows.reverse();
    rows
}

/// What decodes add to an iteration with chunks: what reading KV tokens adds to a decode iteration,
/// and the part of their attention that does not depend on them, measured for some batches.
fn reading_rows(profile: &Profile, grid: &Grid, ys: &[u64], decode: &[Vec<i64>]) -> Vec<Vec<i64>> {
    let constant = |(&batch, &attention): (&u32, &u64)| {
        let row = grid.batches.iter().position(|&b| b == batch)?;
        let curve = Curve::new(ys.iter().copied().zip(decode[row].iter().copied()));
        let kv = u64::from(batch) * u64::from(grid.mixed_context);
        let read = curve.at(kv) - curve.at(0);
        Some((u64::from(batch), (picoseconds(attention) - read).max(0)))
    };
    let measured = grid.mixed_decodes.iter().zip(&profile.decode_attention);
    let constant = Curve::new(measured.filter_map(constant));
    let (first, last) = (constant.0[0].0, constant.0[constant.0.len() - 1].0);
    let rows = grid.batches.iter().zip(decode).map(|(&batch, row)| {
        let base = row[0] - constant.at(u64::from(batch).clamp(first, last));
        row.iter().map(|value| value - base).collect()
    });
    rows.collect()
}

/// Iterations of chunks: a row for each number of tokens, from everything measured at it. Beyond
/// its points a row runs parallel to the attention of single chunks, measured for some sizes after
/// several prefixes, and straight between those sizes.
fn prefill_rows(profile: &Profile, grid: &Grid, ys: &[u64]) -> (Vec<u32>, Vec<Vec<i64>>) {
    let mut points: BTreeMap<u32, Vec<(u64, i64)>> = BTreeMap::new();
    let mut add = |tokens: u32, pairs: u64, time: u64| {
        points.entry(tokens).or_default().push((pairs, picoseconds(time)));
    };
    for (&tokens, &time) in grid.prompts.iter().zip(&profile.prompts) {
        add(tokens, pairs(1, tokens, 0), time);
    }
    for (&tokens, times) in grid.prefixed.iter().zip(&profile.prefixed) {
        for (&prefix, &time) in grid.prefixes.iter().zip(times) {
            add(tokens, pairs(1, tokens, prefix), time);
        }
    }
    for (&(prompts, tokens), &time) in grid.several.iter().zip(&profile.several) {
        add(prompts * tokens, pairs(prompts, tokens, 0), time);
    }
    for (&chunk, times) in grid.chunks.iter().zip(&profile.mixed) {
        for (&decodes, &time) in grid.mixed_decodes.iter().zip(times) {
            // The chunks are parts or multiples of whole prompts.
            let whole = pairs(1, grid.mixed_prompt, 0);
            let share = whole * u64::from(chunk) / u64::from(grid.mixed_prompt);
            add(chunk + decodes, share, time);
        }
    }
    let attention: Vec<(u32, Curve)> = attention(profile, grid);
    let row = |(&tokens, points): (&u32, &Vec<(u64, i64)>)| {
        let beside = |pairs: u64| {
            Curve::new(attention.iter().map(|(n, curve)| (u64::from(*n), curve.at(pairs))))
                .at(u64::from(tokens.clamp(attention[0].0, attention[attention.len() - 1].0)))
        };
        Curve::new(points.iter().copied()).beside(ys, beside)
    };
    let rows = points.iter().map(row).collect();
    (points.into_keys().collect(), rows)
}

/// Attention of a single chunk over its pairs, by the tokens of the chunk: differences between
/// prefixes, the first of them straight on to no pairs at all.
fn attention(profile: &Profile, grid: &Grid) -> Vec<(u32, Curve)> {
    let curve = |(&tokens, times): (&u32, &Vec<u64>)| {
        let at = grid.prompts.iter().position(|&prompt| prompt == tokens)?;
        let alone = (pairs(1, tokens, 0), picoseconds(profile.prompts[at]));
        let prefixed = grid.prefixes.iter().zip(times);
        let points = prefixed.map(|(&s, &time)| (pairs(1, tokens, s), picoseconds(time)));
        Some((tokens, Curve::new(std::iter::once(alone).chain(points))))
    };
    grid.prefixed.iter().zip(&profile.prefixed).filter_map(curve).collect()
}

/// The rows made never to fall along either axis: midway between the largest value at less work and
/// the smallest at more.
fn rising(rows: Vec<Vec<i64>>) -> Vec<Vec<i64>> {
    let (mut most, mut least) = (rows.clone(), rows);
    let height = most.len();
    for i in 0..height {
        for j in 0..most[i].len() {
            let above = if i > 0 { most[i - 1][j] } else { i64::MIN };
            let left = if j > 0 { most[i][j - 1] } else { i64::MIN };
            most[i][j] = most[i][j].max(above).max(left);
        }
    }
    for i in (0..height).rev() {
        for j in (0..least[i].len()).rev() {
            let below = least.get(i + 1).map_or(i64::MAX, |row| row[j]);
            let right = least[i].get(j + 1).copied().unwrap_or(i64::MAX);
            least[i][j] = least[i][j].min(below).min(right);
        }
    }
    let middle = |(a, b): (Vec<i64>, Vec<i64>)| {
        a.into_iter().zip(b).map(|(most, least)| least + (most - least) / 2).collect()
    };
    most.into_iter().zip(least).map(middle).collect()
}
