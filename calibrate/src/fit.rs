//! Robust least squares with bounds: coefficients from measurements and priors.
//!
//! A parameter is positive and lies between two bounds; the fit moves freely in
//! `x = logit(ln(value/low) / ln(high/low))`. Its prior is one more residual, `(x − x₀)·weight`.
//! Residuals of data are relative errors (logarithms of predicted over measured); large ones count
//! less, by the pseudo-Huber loss (P. Charbonnier et al., IEEE Trans. Image Process. 6(2), 1997),
//! so that a few odd rows do not bend the rest. Minimised by damped Gauss–Newton steps as MINPACK
//! has them (K. Levenberg, 1944; D. Marquardt, 1963; crate `levenberg-marquardt`).
//!
//! Invariants: values stay within their bounds; the same data gives the same values on any number
//! of threads.
//!
//! Deliberately absent: what the residuals are of.

pub mod run;
pub mod serving;
pub mod steps;

use crate::coefficients::Parameter;
use levenberg_marquardt::{LeastSquaresProblem, LevenbergMarquardt};
use nalgebra::storage::Owned;
use nalgebra::{DMatrix, DVector, Dyn};
use rayon::prelude::*;
use sim::dice::Dice;
use sim::stats::quantile_sorted;

/// Relative error from which on a residual counts less than by its square.
const TOLERATED: f64 = 0.1;
/// Weight of the prior of a parameter: one unit of `x` off counts as much as this relative error of
/// one measurement.
const PRIOR_WEIGHT: f64 = 0.05;
/// A fit that has come to rest begins again there, with the whole step it began with, as long as that
/// gains more than a half per cent: simulations are steps where a fit wants slopes.
const RESTARTS: usize = 4;
const SETTLED: f64 = 0.995;
/// Resamples of the bootstrap, and the key of its draws.
const RESAMPLES: usize = 200;
const BOOTSTRAP_KEY: u64 = 0x0c0e_ff1c;
/// Width of the difference quotients in `x`: wide enough to smooth the steps of a simulation.
const STEP: f64 = 0.05;

impl Parameter {
    /// The place of `value` on the free axis.
    #[must_use]
    pub fn to_free(&self, value: f64) -> f64 {
        let share = libm::log(value / self.low) / libm::log(self.high / self.low);
        let share = share.clamp(1e-6, 1.0 - 1e-6);
        libm::log(share / (1.0 - share))
    }

    /// The value at a place of the free axis.
    #[must_use]
    pub fn to_value(&self, free: f64) -> f64 {
        let share = 1.0 / (1.0 + libm::exp(-free));
        let value = self.low * libm::exp(share * libm::log(self.high / self.low));
        value.clamp(self.low, self.high)
    }
}

/// What a fit found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Values in the order of the parameters.
    pub values: Vec<f64>,
    /// The same on the free axis.
    pub free: Vec<f64>,
    /// Half the sum of the squares of all residuals, after the loss.
    pub objective: f64,
    /// Whether it came to an end by itself.
    pub converged: bool,
    /// By parameter the 5 % and the 95 % quantile of its value over resampled data.
    pub intervals: Vec<(f64, f64)>,
}

/// Finds the values at which `residuals` (relative errors at given values) and the distance from
/// the priors are least, from `start` (values). `residuals` must give as many numbers every time,
/// `together` of them for each thing that was measured.
pub fn fit(
    parameters: &[Parameter],
    start: &[f64],
    together: usize,
    residuals: impl Fn(&[f64]) -> Vec<f64> + Sync,
) -> Fit {
    let free = parameters.iter().zip(start).map(|(p, &value)| p.to_free(value));
    let problem =
        Problem { parameters, residuals, free: DVector::from_iterator(start.len(), free) };
    let solver = LevenbergMarquardt::new().with_ftol(1e-4).with_xtol(1e-3).with_patience(8);
    let (mut problem, mut report) = solver.minimize(problem);
    for _ in 0..RESTARTS {
        let before = report.objective_function;
        (problem, report) = solver.minimize(problem);
        if report.objective_function > before * SETTLED {
            break;
        }
    }
    let values = problem.values(&problem.free);
    let intervals = problem.intervals(together.max(1));
    Fit {
        values,
        intervals,
        free: problem.free.iter().copied().collect(),
        objective: report.objective_function,
        converged: report.termination.was_successful(),
    }
}

struct Problem<'a, R> {
    parameters: &'a [Parameter],
    residuals: R,
    free: DVector<f64>,
}

impl<R: Fn(&[f64]) -> Vec<f64> + Sync> Problem<'_, R> {
    fn values(&self, free: &DVector<f64>) -> Vec<f64> {
        self.parameters.iter().zip(free.iter()).map(|(p, &x)| p.to_value(x)).collect()
    }

    fn at(&self, free: &DVector<f64>) -> DVector<f64> {
        let data = (self.residuals)(&self.values(free));
        let priors = self.parameters.iter().zip(free.iter());
        let priors = priors.map(|(p, &x)| (x - p.to_free(p.prior)) * PRIOR_WEIGHT);
        let all: Vec<f64> = data.into_iter().map(softened).chain(priors).collect();
        DVector::from_vec(all)
    }
}

impl<R: Fn(&[f64]) -> Vec<f64> + Sync> Problem<'_, R> {
    /// Bootstrap over what was measured: each time as many things are drawn with replacement, and
    /// the values move from those of all data by one Gauss–Newton step of their curvature, for what
    /// the draw changes of the slope.
    fn intervals(&self, together: usize) -> Vec<(f64, f64)> {
        let count = self.free.len();
        let (Some(jacobian), residuals) = (self.jacobian(), self.at(&self.free)) else {
            return Vec::new();
        };
        let Some(curvature) = (jacobian.transpose() * &jacobian).cholesky() else {
            return Vec::new();
        };
        let data = residuals.len().saturating_sub(count);
        let things = data / together;
        let gradient = |row: usize| jacobian.row(row).transpose() * residuals[row];
        let of_things: Vec<DVector<f64>> = (0..things)
            .map(|thing| {
                let rows = thing * together..(thing + 1) * together;
                rows.map(gradient).fold(DVector::zeros(count), |sum, g| sum + g)
            })
            .collect();
        let of_all = of_things.iter().fold(DVector::zeros(count), |sum, thing| sum + thing);
        let mut dice = Dice::stream(BOOTSTRAP_KEY);
        let mut drawn = vec![Vec::with_capacity(RESAMPLES); count];
        for _ in 0..RESAMPLES {
            let mut gradient = -&of_all;
            for _ in 0..things {
                let thing = (dice.uniform() * things as f64) as usize;
                gradient += &of_things[thing.min(things - 1)];
            }
            let free = &self.free - curvature.solve(&gradient);
            let values = self.values(&free);
            drawn.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
        let interval = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            let at = |p| quantile_sorted(&all, p).unwrap_or(f64::NAN);
            (at(0.05), at(0.95))
        };
        drawn.into_iter().map(interval).collect()
    }
}

/// A residual whose square is the pseudo-Huber loss of `error`.
fn softened(error: f64) -> f64 {
    let ratio = error / TOLERATED;
    let loss = 2.0 * (libm::sqrt(1.0 + ratio * ratio) - 1.0);
    TOLERATED * libm::sqrt(loss) * error.signum()
}

impl<R: Fn(&[f64]) -> Vec<f64> + Sync> LeastSquaresProblem<f64, Dyn, Dyn> for Problem<'_, R> {
    type ParameterStorage = Owned<f64, Dyn>;
    type ResidualStorage = Owned<f64, Dyn>;
    type JacobianStorage = Owned<f64, Dyn, Dyn>;

    fn set_params(&mut self, free: &DVector<f64>) {
        self.free.clone_from(free);
    }

    fn params(&self) -> DVector<f64> {
        self.free.clone()
    }

    fn residuals(&self) -> Option<DVector<f64>> {
        Some(self.at(&self.free))
    }

    fn jacobian(&self) -> Option<DMatrix<f64>> {
        let here = self.at(&self.free);
        let columns: Vec<DVector<f64>> = (0..self.free.len())
            .into_par_iter()
            .map(|column| {
                let mut free = self.free.clone();
                free[column] += STEP;
                (self.at(&free) - &here) / STEP
            })
            .collect();
        Some(DMatrix::from_columns(&columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> [Parameter; 2] {
        [
            Parameter { name: "a", low: 0.1, prior: 1.0, high: 10.0 },
            Parameter { name: "b", low: 0.01, prior: 0.1, high: 5.0 },
        ]
    }

    /// `a + b·x` at forty places, measured with errors of the given kind.
    fn line(values: &[f64], error: impl Fn(usize) -> f64) -> Vec<f64> {
        let at = |n: usize| {
            let x = n as f64 / 4.0;
            let truth = (2.0 + 0.5 * x) * error(n);
            libm::log((values[0] + values[1] * x) / truth)
        };
        (0..40).map(at).collect()
    }

    #[test]
    fn a_fit_recovers_what_made_the_data() {
        let found = fit(&parameters(), &[1.0, 0.1], 1, |v| line(v, |_| 1.0));
        assert!(found.converged, "{found:?}");
        assert!((found.values[0] / 2.0 - 1.0).abs() < 5e-3, "{found:?}");
        assert!((found.values[1] / 0.5 - 1.0).abs() < 5e-3, "{found:?}");
    }

    /// With errors of a twentieth the truth lies within, and the interval is about as wide as the
    /// errors make it.
    #[test]
    fn intervals_hold_the_truth() {
        let noisy = |n: usize| if n.is_multiple_of(2) { 1.05 } else { 0.95 };
        let found = fit(&parameters(), &[1.0, 0.1], 1, |v| line(v, noisy));
        for ((low, high), truth) in found.intervals.iter().zip([2.0, 0.5]) {
            assert!(*low < truth && truth < *high, "{found:?}");
            assert!((high - low) / truth < 0.25 && (high - low) / truth > 0.01, "{found:?}");
        }
    }

    /// Three of forty rows five times too large.
    #[test]
    fn odd_rows_bend_it_little() {
        let odd = |n: usize| if n % 15 == 7 { 5.0 } else { 1.0 };
        let found = fit(&parameters(), &[1.0, 0.1], 1, |v| line(v, odd));
        assert!((found.values[0] / 2.0 - 1.0).abs() < 0.05, "{found:?}");
        assert!((found.values[1] / 0.5 - 1.0).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn without_data_it_stays_at_the_priors_and_bounds_hold() {
        let found = fit(&parameters(), &[5.0, 1.0], 1, |_| Vec::new());
        assert!((found.values[0] - 1.0).abs() < 1e-3 && (found.values[1] - 0.1).abs() < 1e-3);
        // The data wants 100, which no value reaches.
        let beyond = |v: &[f64]| vec![libm::log(v[0] / 100.0); 30];
        let found = fit(&parameters(), &[1.0, 0.1], 1, beyond);
        assert!(found.values[0] > 9.0 && found.values[0] <= 10.0, "{found:?}");
    }

    #[test]
    fn the_free_axis_has_the_bounds_at_its_ends() {
        for parameter in parameters() {
            for value in [parameter.low * 1.01, parameter.prior, parameter.high * 0.99] {
                let back = parameter.to_value(parameter.to_free(value));
                assert!((back / value - 1.0).abs() < 1e-9);
            }
            assert!(parameter.to_value(50.0) <= parameter.high);
            assert!(parameter.to_value(-50.0) >= parameter.low);
        }
    }
}
