//! Whether a failed attempt is followed by another, and after what pause.
//!
//! Pure functions: the caller counts the attempts and holds the call's key. A pause is drawn from
//! (call, number of the attempt to come), so it depends neither on what other calls do nor on how
//! many draws other knobs make, and two policies see the same coins: with one jitter, a longer
//! backoff gives a longer pause before each attempt of each call.
//!
//! Deliberately absent: the budget of retries (`budget`), deadlines, and which backend the next
//! attempt goes to.

use super::{Backoff, Failure, Jitter, RetrySpec};
use crate::dice::{Dice, Purpose, mix};
use crate::units::Span;

/// Whether a call that has made `made` attempts makes another after this failure.
#[must_use]
pub fn may_retry(spec: &RetrySpec, made: u32, failure: Failure) -> bool {
    made < spec.max_attempts && spec.on.has(failure)
}

/// Pause before attempt `attempt` (2, 3, …) of the call with this key. `retry_after` is what the
/// backend asked for, if it did.
#[must_use]
pub fn pause(spec: &RetrySpec, attempt: u32, call_key: u64, retry_after: Option<Span>) -> Span {
    let mut dice = Dice::of(mix(call_key, u64::from(attempt)), Purpose::RetryPause);
    let own = match spec.backoff {
        Backoff::Exponential { initial, factor, max, jitter } => {
            jittered(exponential(initial, factor, max, attempt), jitter, &mut dice)
        }
        Backoff::Drawn(ref law) => law.sample(&mut dice),
    };
    match retry_after {
        Some(asked) if spec.respect_retry_after => own.max(asked),
        _ => own,
    }
}

/// `min(initial · factor^(n − 1), max)` before attempt `n + 1`.
fn exponential(initial: Span, factor: f64, max: Span, attempt: u32) -> Span {
    let steps = attempt.saturating_sub(2);
    if steps == 0 {
        return initial.min(max);
    }
    let grown = initial.0 as f64 * libm::pow(factor, f64::from(steps));
    // The cast saturates, and gives 0 for the NaN of 0 · ∞, which is what no pause grows to.
    Span((grown + 0.5) as u64).min(max)
}

fn jittered(pause: Span, jitter: Jitter, dice: &mut Dice) -> Span {
    match jitter {
        Jitter::None => pause,
        Jitter::Full => part(pause, dice),
        Jitter::Equal => {
            let half = Span(pause.0 / 2);
            half + part(pause - half, dice)
        }
    }
}

/// Uniform in `[0, whole]`.
fn part(whole: Span, dice: &mut Dice) -> Span {
    // Beyond 2⁵³ ps the product may round to more than the whole.
    Span((whole.0 as f64 * dice.uniform()) as u64).min(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::DurationDist;
    use crate::resilience::FailureSet;

    fn spec(jitter: Jitter) -> RetrySpec {
        RetrySpec {
            max_attempts: 4,
            on: FailureSet::default().with(Failure::Timeout),
            backoff: Backoff::Exponential {
                initial: Span::from_millis(100),
                factor: 2.0,
                max: Span::from_millis(700),
                jitter,
            },
            respect_retry_after: true,
            budget: None,
        }
    }

    #[test]
    fn only_listed_failures_are_tried_again_and_only_so_often() {
        let spec = spec(Jitter::None);
        assert!(may_retry(&spec, 1, Failure::Timeout));
        assert!(may_retry(&spec, 3, Failure::Timeout));
        assert!(!may_retry(&spec, 4, Failure::Timeout));
        assert!(!may_retry(&spec, 1, Failure::ServerError));
    }

    #[test]
    fn pauses_double_up_to_their_maximum() {
        let spec = spec(Jitter::None);
        let pauses = [2, 3, 4, 5, 6, u32::MAX].map(|attempt| pause(&spec, attempt, 9, None));
        assert_eq!(pauses, [100, 200, 400, 700, 700, 700].map(Span::from_millis));
    }

    #[test]
    fn what_the_backend_asks_is_a_lower_bound_if_it_is_respected() {
        let mut spec = spec(Jitter::None);
        let (short, long) = (Some(Span::from_millis(1)), Some(Span::from_secs(9)));
        assert_eq!(pause(&spec, 2, 9, short), Span::from_millis(100));
        assert_eq!(pause(&spec, 2, 9, long), Span::from_secs(9));
        spec.respect_retry_after = false;
        assert_eq!(pause(&spec, 2, 9, long), Span::from_millis(100));
    }

    /// Means of uniform laws: half the pause, and three quarters of it.
    #[test]
    fn jitter_has_the_mean_of_its_law() {
        let n = 100_000_u64;
        for (jitter, mean, width) in [(Jitter::Full, 0.05, 0.1), (Jitter::Equal, 0.075, 0.05)] {
            let spec = spec(jitter);
            let sum: f64 = (0..n).map(|key| pause(&spec, 2, key, None).as_secs_f64()).sum();
            let error = width / (12.0 * n as f64).sqrt();
            let off = sum / n as f64 - mean;
            assert!(off.abs() < 6.0 * error, "{jitter:?}: off by {off} with error {error}");
        }
    }

    #[test]
    fn a_longer_backoff_waits_longer_at_every_coin() {
        let short = spec(Jitter::Full);
        let mut long = spec(Jitter::Full);
        long.backoff = Backoff::Exponential {
            initial: Span::from_millis(150),
            factor: 3.0,
            max: Span::from_secs(60),
            jitter: Jitter::Full,
        };
        for key in 0..1_000 {
            for attempt in 2..8 {
                assert!(pause(&short, attempt, key, None) < pause(&long, attempt, key, None));
            }
        }
    }

    #[test]
    fn drawn_pauses_follow_their_law_and_differ_between_attempts() {
        let mut spec = spec(Jitter::None);
        spec.backoff = Backoff::Drawn(DurationDist::Exponential { mean: Span::from_secs(2) });
        assert_ne!(pause(&spec, 2, 1, None), pause(&spec, 3, 1, None));
        let n = 100_000_u64;
        let sum: f64 = (0..n).map(|key| pause(&spec, 3, key, None).as_secs_f64()).sum();
        assert!((sum / n as f64 - 2.0).abs() < 6.0 * 2.0 / (n as f64).sqrt());
    }
}
