//! Iteration times from measured iterations.
//!
//! ```text
//! decode only   t = decode + sequence·B + kv_token·S
//! with chunks   t = max(chunks(T), decode) + pair·A + sequence·B + kv_token·S
//! ```
//!
//! for `B` decoding sequences that read `S` KV tokens, `T` tokens in all and `A` (token, context)
//! pairs of the chunks; `chunks` is a chain of straight lines that never falls, for iterations with
//! few tokens take as long as their launches. [`rows`] has recorded rows as steps, and says how well
//! they are predicted by others.
//!
//! Invariants: no time is negative, and none falls as work grows, from an iteration without chunks
//! to one with them too.
//!
//! Deliberately absent: graph padding (a padded batch costs what it holds), and the GPUs of a replica,
//! which are one engine here.

pub mod rows;

use super::fit;
use crate::coefficients::Parameter;
use sim::engine::{StepTime, StepTimeError, Surface, Surfaces, Work};
use sim::units::Span;

/// A measured iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What it did.
    pub work: Work,
    /// How long it took, above 0.
    pub seconds: f64,
}

/// Tokens of an iteration between which `chunks` is straight.
const KNOTS: [u32; 6] = [1, 128, 512, 1_024, 2_048, 4_096];
/// Coefficients beside the rises of `chunks`.
const OTHERS: usize = 4;
/// Far beyond any iteration: second knots of surfaces that are planes.
const FAR_SEQUENCES: u32 = 1 << 20;
const FAR_TOKENS: u64 = 1 << 40;

/// Times in seconds; `rises` are what `chunks` grows by from knot to knot, the first from zero.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct StepCoefficients {
    /// Of a decode iteration, and the least of one with chunks.
    pub decode: f64,
    /// Of each decoding sequence.
    pub sequence: f64,
    /// Of each KV token that decodes read.
    pub kv_token: f64,
    /// Of each pair of a chunk.
    pub pair: f64,
    /// Of iterations with chunks, by their tokens.
    pub rises: [f64; KNOTS.len()],
}

impl StepCoefficients {
    fn of(values: &[f64]) -> StepCoefficients {
        let mut rises = [0.0; KNOTS.len()];
        rises.copy_from_slice(&values[OTHERS..]);
        StepCoefficients {
            decode: values[0],
            sequence: values[1],
            kv_token: values[2],
            pair: values[3],
            rises,
        }
    }

    /// Time of an iteration, seconds.
    #[must_use]
    pub fn seconds(&self, work: Work) -> f64 {
        let decodes = f64::from(work.decodes) * self.sequence;
        let reading = work.kv_tokens as f64 * self.kv_token;
        if work.prefill_tokens == 0 {
            return self.decode + decodes + reading;
        }
        let tokens = work.decodes.saturating_add(work.prefill_tokens);
        self.chunks(tokens) + work.prefill_pairs as f64 * self.pair + decodes + reading
    }

    fn chunks(&self, tokens: u32) -> f64 {
        let (mut sum, mut value) = (self.rises[0], self.rises[0].max(self.decode));
        for (knots, rise) in KNOTS.windows(2).zip(&self.rises[1..]) {
            let last = knots[1] == KNOTS[KNOTS.len() - 1];
            let way = f64::from(tokens.saturating_sub(knots[0])) / f64::from(knots[1] - knots[0]);
            let before = sum.max(self.decode);
            sum += rise;
            value += (sum.max(self.decode) - before) * if last { way } else { way.min(1.0) };
        }
        value
    }

    /// The same as the simulator takes it.
    ///
    /// # Errors
    /// [`StepTimeError`] when a time is beyond what an iteration may take.
    pub fn step_time(&self) -> Result<StepTime, StepTimeError> {
        let ps = |seconds: f64| Span::from_secs_f64(seconds).0;
        let plane = |base: f64, by_x: f64| {
            let far = f64::from(FAR_SEQUENCES - 1);
            let corner = |x: f64, y: f64| ps(base + by_x * x + self.kv_token * y);
            let reach = FAR_TOKENS as f64;
            let values = vec![
                corner(1.0, 0.0),
                corner(1.0, reach),
                corner(1.0 + far, 0.0),
                corner(1.0 + far, reach),
            ];
            Surface::new(vec![1, FAR_SEQUENCES], vec![0, FAR_TOKENS], values)
        };
        let mut values = Vec::new();
        for tokens in KNOTS {
            let own = self.chunks(tokens);
            values.extend([ps(own), ps(own + self.pair * FAR_TOKENS as f64)]);
        }
        let surfaces = Surfaces {
            decode: plane(self.decode, self.sequence)?,
            reading: plane(0.0, self.sequence)?,
            prefill: Surface::new(KNOTS.to_vec(), vec![0, FAR_TOKENS], values)?,
        };
        StepTime::measured(0, 0, surfaces, Vec::new())
    }
}

/// The coefficients nearest to `steps`.
#[must_use]
pub fn fit_steps(steps: &[Step]) -> StepCoefficients {
    let names = ["decode", "sequence", "kv_token", "pair"];
    let others = [(1e-5, 1e-2, 1.0), (1e-8, 1e-5, 1e-2), (1e-12, 1e-8, 1e-4), (1e-14, 1e-10, 1e-6)];
    let mut parameters: Vec<Parameter> = names
        .into_iter()
        .zip(others)
        .map(|(name, (low, prior, high))| Parameter { name, low, prior, high })
        .collect();
    parameters.push(Parameter { name: "chunks", low: 1e-5, prior: 1e-2, high: 1.0 });
    let rise = Parameter { name: "chunks", low: 1e-6, prior: 1e-3, high: 1.0 };
    parameters.extend([rise; KNOTS.len() - 1]);
    let start: Vec<f64> = parameters.iter().map(|parameter| parameter.prior).collect();
    let found = fit(&parameters, &start, 1, |values| {
        let coefficients = StepCoefficients::of(values);
        let error = |step: &Step| libm::log(coefficients.seconds(step.work) / step.seconds);
        steps.iter().map(error).collect()
    });
    StepCoefficients::of(&found.values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> StepCoefficients {
        StepCoefficients {
            decode: 7e-3,
            sequence: 2e-5,
            kv_token: 3e-8,
            pair: 2e-10,
            rises: [17e-3, 1e-3, 4e-3, 10e-3, 20e-3, 40e-3],
        }
    }

    fn steps() -> Vec<Step> {
        let works = (0..600u32).map(|n| Work {
            decodes: n % 37,
            kv_tokens: u64::from(n % 37) * u64::from(100 + 13 * n),
            prefill_tokens: if n % 3 == 0 { 0 } else { 1 + (n * 97) % 2_000 },
            prefill_pairs: if n % 3 == 0 { 0 } else { u64::from(n) * 3_000 },
        });
        let works = works.filter(|work| work.decodes + work.prefill_tokens > 0);
        works.map(|work| Step { work, seconds: truth().seconds(work) }).collect()
    }

    #[test]
    fn a_fit_to_clean_steps_finds_what_made_them() {
        let found = fit_steps(&steps());
        for step in steps() {
            let error = found.seconds(step.work) / step.seconds - 1.0;
            assert!(error.abs() < 0.02, "{:?}: {error}", step.work);
        }
        assert!((found.decode / 7e-3 - 1.0).abs() < 0.02, "{found:?}");
        assert!((found.kv_token / 3e-8 - 1.0).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn the_simulator_takes_the_same_times() {
        let step_time = truth().step_time().expect("usable");
        for step in steps() {
            let simulated = step_time.iteration(step.work).as_secs_f64();
            assert!((simulated / step.seconds - 1.0).abs() < 1e-3, "{:?}", step.work);
        }
    }
}
