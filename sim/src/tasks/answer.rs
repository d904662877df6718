//! Whether an answer is right, and what its confidence says.
//!
//! A question has a difficulty and each asking of a model adds luck of its own: the normal score
//! of an answer is `z = √ρ · difficulty + √(1 − ρ) · luck`, with ρ the intent's consistency, and
//! the answer is right when `z < Φ⁻¹(success)`. So a model is right as often as it is said to be,
//! a better model is right wherever a worse one is when ρ = 1, and asking again helps only as far
//! as ρ < 1.
//!
//! The confidence signal sees `v = −r·z + √(1 − r²)·noise` (r: what the signal knows) and reports
//! the probability of a right answer given that, `Φ((Φ⁻¹(success) + r·v) / √(1 − r²))`. It is
//! calibrated by construction: among answers reported with confidence c, a share c is right. Its
//! mean is `success`, and with r = 0 it always says `success`.
//!
//! Deliberately absent: signals that are wrongly calibrated.

use super::{IntentSpec, Quality};
use crate::dice::{Dice, Purpose, key, mix, normal_score};
use crate::stats::special::normal_cdf;

/// What is known of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Whether it is right.
    pub right: bool,
    /// Whether acting on it would do harm.
    pub harmful: bool,
    /// What the confidence signal says, in `[0, 1]`.
    pub confidence: f64,
}

impl Answer {
    /// An answer of which nothing can be wrong.
    pub const SURE: Answer = Answer { right: true, harmful: false, confidence: 1.0 };
}

/// Draws the answer of a model to a question. `question` identifies the question (equal for every
/// model and attempt), `asking` this asking of it, `model` is the key of the model; `factor` multiplies the
/// probability of a right answer.
#[must_use]
pub fn draw(
    intent: &IntentSpec,
    quality: Quality,
    factor: f64,
    (question, asking, model): (u64, u64, u64),
) -> Answer {
    let success = quality.success * factor;
    let this = mix(asking, model);
    let harmful =
        quality.unsafe_rate > 0.0 && Dice::of(this, Purpose::Harm).coin(quality.unsafe_rate);
    if success >= 1.0 {
        return Answer { right: true, harmful, confidence: 1.0 };
    }
    if success <= 0.0 {
        return Answer { right: false, harmful, confidence: 0.0 };
    }
    let shared = intent.consistency.clamp(0.0, 1.0);
    let difficulty = Dice::stream(key(question, Purpose::Difficulty)).normal();
    let mut dice = Dice::of(this, Purpose::Luck);
    let z = shared.sqrt() * difficulty + (1.0 - shared).sqrt() * dice.normal();
    let limit = normal_score(success);
    let known = intent.confidence;
    let confidence = if known > 0.0 {
        let rest = (1.0 - known * known).sqrt();
        let seen = -known * z + rest * dice.normal();
        normal_cdf((limit + known * seen) / rest)
    } else {
        success
    };
    Answer { right: z < limit, harmful, confidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(confidence: f64, consistency: f64) -> IntentSpec {
        IntentSpec { name: "draft".into(), key: 5, confidence, consistency }
    }

    fn quality(success: f64) -> Quality {
        Quality { success, unsafe_rate: 0.0 }
    }

    #[test]
    fn a_model_is_right_as_often_as_said_and_its_confidence_is_calibrated() {
        let intent = intent(0.8, 0.4);
        let n = 40_000u64;
        let mut bands = [(0.0, 0.0, 0.0); 5];
        let mut right = 0.0;
        for i in 0..n {
            let answer = draw(&intent, quality(0.8), 1.0, (mix(1, i), mix(2, i), 0));
            let hit = f64::from(u8::from(answer.right));
            right += hit / n as f64;
            let band = &mut bands[((answer.confidence * 5.0) as usize).min(4)];
            band.0 += 1.0;
            band.1 += hit;
            band.2 += answer.confidence;
        }
        let error = (0.8f64 * 0.2 / n as f64).sqrt();
        assert!((right - 0.8).abs() < 4.0 * error, "{right}");
        for (count, hits, said) in bands {
            let (rate, mean) = (hits / count, said / count);
            let error = (mean * (1.0 - mean) / count).sqrt().max(1e-3);
            assert!((rate - mean).abs() < 4.0 * error, "said {mean}, was {rate} of {count}");
        }
    }

    #[test]
    fn with_full_consistency_the_better_model_is_right_wherever_the_worse_is() {
        let intent = intent(0.0, 1.0);
        for i in 0..5_000 {
            let ask = |success, model| {
                draw(&intent, quality(success), 1.0, (mix(1, i), mix(9, i), model)).right
            };
            assert!(!ask(0.6, 0) || ask(0.9, 1));
            assert_eq!(ask(0.6, 0), ask(0.6, 2));
        }
    }
}
