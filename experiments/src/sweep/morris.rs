//! Elementary effects: which levers matter, from trajectories of cells.
//!
//! The elementary effect of a lever is the change of a number per change of the lever, with the
//! lever's whole list of values as the unit: a lever that acts linearly has the effect of going from
//! its first value to its last. `mu*` is the mean of its absolute values (Campolongo, Cariboni and
//! Saltelli, "An effective screening design for sensitivity analysis of large models", Environmental
//! Modelling & Software 22, 2007), `mu` their mean with sign, and `sigma` their standard deviation,
//! which is large where a lever acts together with others, or not in a straight line (Morris 1991).
//! The interval of `mu*` is the jackknife over trajectories with Student's t.
//!
//! Invariants: a lever that changes nothing has effects of exactly zero, because all cells have the
//! same random numbers; an effect whose cells have no number is left out and counted as missing.
//!
//! Deliberately absent: shares of variance (Sobol' indices), which need far more cells.

use super::design::Cells;
use crate::CONFIDENCE;
use crate::estimate::Estimate;
use sim::stats::t_interval;

/// What one lever does to one number.
#[derive(Clone, Debug, PartialEq)]
pub struct LeverEffect {
    /// Which lever, from 0.
    pub lever: usize,
    /// Mean of the absolute effects, in the unit of the number.
    pub mu_star: Estimate,
    /// Mean of the effects, likewise.
    pub mu: Option<f64>,
    /// Standard deviation of the effects, likewise; absent with fewer than two.
    pub sigma: Option<f64>,
    /// Effects that could be measured.
    pub measured: u32,
    /// Effects that could not, because a cell has no number.
    pub missing: u32,
}

/// The effects of all levers on one number, the largest `mu*` first, from the number's value in each
/// of the `cells` of a Morris design.
#[must_use]
pub fn ranking(cells: &Cells, values: &[Option<f64>]) -> Vec<LeverEffect> {
    let counts = cells.value_counts();
    let mut effects = vec![Vec::new(); counts.len()];
    let mut missing = vec![0; counts.len()];
    let trajectory = counts.len() + 1;
    for start in (0..cells.count()).step_by(trajectory) {
        let levels: Vec<_> = (start..start + trajectory).map(|cell| cells.levels(cell)).collect();
        for (step, pair) in levels.windows(2).enumerate() {
            let moved = (0..counts.len()).find(|&lever| pair[0][lever] != pair[1][lever]);
            let Some(lever) = moved else { continue };
            let jump = pair[1][lever] as f64 - pair[0][lever] as f64;
            let share = jump / (counts[lever] as f64 - 1.0);
            let value = |cell: usize| values.get(cell).copied().flatten();
            match value(start + step).zip(value(start + step + 1)) {
                Some((before, after)) => effects[lever].push((after - before) / share),
                None => missing[lever] += 1,
            }
        }
    }
    let found = effects.iter().zip(missing).enumerate();
    let mut ranked: Vec<LeverEffect> =
        found.map(|(lever, (effects, missing))| summarised(lever, effects, missing)).collect();
    // Stable: levers of equal effect stay in their own order.
    let size = |effect: &LeverEffect| effect.mu_star.value.unwrap_or(f64::NEG_INFINITY);
    ranked.sort_by(|a, b| size(b).total_cmp(&size(a)));
    ranked
}

/// The numbers themselves, or all of them as the first where they differ by what rounding does: a
/// straight line has one slope, and no spread.
fn settled(numbers: Vec<f64>) -> Vec<f64> {
    let Some(&first) = numbers.first() else { return numbers };
    let same = |number: &f64| (number - first).abs() <= 1e-12 * first.abs();
    if numbers.iter().all(same) { vec![first; numbers.len()] } else { numbers }
}

/// From the first value, so that equal ones have it as their mean, exactly.
fn mean(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    Some(first + values.iter().map(|value| value - first).sum::<f64>() / values.len() as f64)
}

fn summarised(lever: usize, effects: &[f64], missing: u32) -> LeverEffect {
    let n = effects.len();
    let sizes = settled(effects.iter().map(|effect| effect.abs()).collect());
    let effects = settled(effects.to_vec());
    let mu = mean(&effects);
    let sigma = mu.filter(|_| n > 1).map(|mu| {
        let squares: f64 = effects.iter().map(|effect| (effect - mu) * (effect - mu)).sum();
        (squares / (n - 1) as f64).sqrt()
    });
    let mu_star = match (mean(&sizes), t_interval(&sizes, CONFIDENCE)) {
        (None, _) => Estimate::absent("no trajectory has the number on both sides of the change"),
        (Some(value), None) => {
            Estimate::without_interval(value, "a single trajectory has no spread")
        }
        (Some(value), Some(t)) => {
            let (low, high) = (value - t.half_width, value + t.half_width);
            let held = Estimate::with_interval(value, low, high).held_within(0.0, f64::INFINITY);
            let reason = (missing > 0).then(|| {
                let all = n + missing as usize;
                format!("{missing} of {all} effects are missing: a cell has no number")
            });
            Estimate { reason, ..held }
        }
    };
    LeverEffect { lever, mu_star, mu, sigma, measured: n as u32, missing }
}

#[cfg(test)]
mod tests {
    use super::super::design::Design;
    use super::*;
    use std::f64::consts::PI;

    fn measured(design: Design, counts: &[usize], seed: u64, f: impl Fn(&[f64]) -> f64) -> Found {
        let cells = Cells::new(design, counts, seed).expect("a design");
        let at = |cell| {
            let levels = cells.levels(cell).into_iter().zip(counts);
            let place: Vec<f64> = levels.map(|(l, &n)| l as f64 / (n as f64 - 1.0)).collect();
            Some(f(&place))
        };
        let values: Vec<Option<f64>> = (0..cells.count()).map(at).collect();
        (cells, values)
    }
    type Found = (Cells, Vec<Option<f64>>);

    /// Ishigami's function with a = 7 and b = 0.1, on the unit cube.
    fn ishigami(place: &[f64]) -> f64 {
        let x: Vec<f64> = place.iter().map(|at| PI * (2.0 * at - 1.0)).collect();
        x[0].sin() + 7.0 * x[1].sin().powi(2) + 0.1 * x[2].powi(4) * x[0].sin()
    }

    /// On four levels -π, -π/3, π/3 and π every effect of each variable can be written down: that of
    /// the first is 1.5 · sin(π/3) · (1 + 0.1 x₃⁴), of the second ±1.5 · 7 · 3/4, of the third
    /// ±1.5 · 0.1 · (π⁴ - π⁴/81) · sin x₁.
    #[test]
    fn ishigami_has_the_effects_of_theory() {
        let fourth = PI.powi(4);
        let third = (PI / 3.0).sin();
        let theory = [
            1.5 * third * (1.0 + 0.1 * (fourth + fourth / 81.0) / 2.0),
            1.5 * 7.0 * 0.75,
            1.5 * 0.1 * (fourth - fourth / 81.0) * third / 2.0,
        ];
        let design = |trajectories| Design::Morris { trajectories };
        let (cells, values) = measured(design(4_000), &[4, 4, 4], 1, ishigami);
        let ranked = ranking(&cells, &values);
        let order: Vec<usize> = ranked.iter().map(|effect| effect.lever).collect();
        assert_eq!(order, [1, 0, 2]);
        for effect in &ranked {
            let found = effect.mu_star.value.expect("a value");
            let wanted = theory[effect.lever];
            assert!((found / wanted - 1.0).abs() < 0.03, "x{}: {found} {wanted}", effect.lever + 1);
            assert_eq!((effect.measured, effect.missing), (4_000, 0));
        }
        let of = |lever: usize| ranked.iter().find(|e| e.lever == lever).expect("ranked");
        // The effects of the second are ±7.875 and cancel out; those of the first never change sign.
        assert!(of(1).mu.expect("mu").abs() < 0.5 && of(1).sigma.expect("sigma") > 7.8);
        assert!((of(0).mu.expect("mu") - of(0).mu_star.value.expect("mu*")).abs() < 1e-12);
        // The interval of ten trajectories covers the truth about as often as it says.
        let covers = |seed: u64| {
            let (cells, values) = measured(design(10), &[4, 4, 4], seed, ishigami);
            let first = ranking(&cells, &values).into_iter().find(|e| e.lever == 0);
            let interval = first.and_then(|e| e.mu_star.low.zip(e.mu_star.high));
            interval.is_some_and(|(low, high)| low <= theory[0] && theory[0] <= high)
        };
        let covered = (0..400).filter(|&seed| covers(seed)).count();
        assert!((360..=396).contains(&covered), "{covered} of 400");
    }

    /// Morris's own example has twenty inputs, of which the first ten matter.
    #[test]
    fn inert_levers_have_no_effect_and_linear_ones_have_their_slope() {
        let f = |x: &[f64]| 3.0 * x[0] - 5.0 * x[1] + x[3] * x[4];
        let (cells, values) = measured(Design::Morris { trajectories: 20 }, &[5, 8, 6, 4, 2], 3, f);
        let ranked = ranking(&cells, &values);
        let of = |lever: usize| ranked.iter().find(|e| e.lever == lever).expect("ranked");
        assert_eq!((ranked[0].lever, ranked[1].lever, ranked[4].lever), (1, 0, 2));
        for (lever, slope) in [(0, 3.0_f64), (1, -5.0)] {
            assert!((of(lever).mu.expect("mu") - slope).abs() < 1e-9);
            assert!((of(lever).mu_star.value.expect("mu*") - slope.abs()).abs() < 1e-9);
            assert_eq!(of(lever).sigma, Some(0.0), "a straight line has one slope");
            assert_eq!(of(lever).mu_star.low, of(lever).mu_star.high);
        }
        let none = of(2);
        assert_eq!((none.mu_star.high, none.mu, none.sigma), (Some(0.0), Some(0.0), Some(0.0)));
        assert!(of(3).sigma > Some(0.1), "it acts together with another");
    }

    #[test]
    fn effects_without_a_number_are_counted_and_left_out() {
        let design = Design::Morris { trajectories: 6 };
        let (cells, mut values) = measured(design, &[4, 4], 5, |x| x[0] + 10.0 * x[1]);
        // The first cell of a trajectory is part of its first effect only.
        values[0] = None;
        let ranked = ranking(&cells, &values);
        assert_eq!(ranked.iter().map(|e| e.missing).sum::<u32>(), 1);
        assert_eq!(ranked.iter().map(|e| e.measured).sum::<u32>(), 11);
        let lacking = ranked.iter().find(|e| e.missing > 0).expect("one");
        assert!(lacking.mu_star.reason.as_deref().is_some_and(|why| why.starts_with("1 of 6")));
        let nothing = ranking(&cells, &vec![None; cells.count()]);
        for effect in nothing {
            assert_eq!((effect.mu_star.value, effect.mu, effect.sigma), (None, None, None));
            assert!(effect.mu_star.reason.is_some());
        }
    }
}
