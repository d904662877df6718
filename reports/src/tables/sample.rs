//! Which tasks have rows, where not all of them have.
//!
//! Invariants: a task is in the sample or not by its identity alone (seed, replication, source,
//! number), so all its calls are with it, and in every format; each is in it with the same probability,
//! independently of what became of it.
//!
//! Deliberately absent: samples of windows and ledger lines, which are always complete.

use sim::dice::mix;
use sim::ids::SourceId;

/// Keeps the streams apart from those that simulations draw from.
const SALT: u64 = 0x7461_626c_6573_2f31;

/// A share of all tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Above 0 and at most 100.
    percent: f64,
}

impl Default for Sample {
    /// All of them.
    fn default() -> Sample {
        Sample { percent: 100.0 }
    }
}

impl Sample {
    /// `1%`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Sample, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match number {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Sample { percent }),
            Some(_) => Err("it has to be more than 0% and at most 100%".to_owned()),
            None => Err("write a percentage like 1% or 0.05%".to_owned()),
        }
    }

    /// How many tasks each one in it stands for.
    #[must_use]
    pub fn weight(self) -> f64 {
        100.0 / self.percent
    }

    /// The share as a number between 0 and 1.
    #[must_use]
    pub fn share(self) -> f64 {
        self.percent / 100.0
    }

    /// Whether a task is in it.
    #[must_use]
    pub fn has(self, (seed, replication): (u64, u32), source: SourceId, number: u64) -> bool {
        if self.percent >= 100.0 {
            return true;
        }
        let of_run = mix(mix(SALT, seed), u64::from(replication));
        let coin = mix(mix(of_run, u64::from(source.0)), number);
        // 53 bits, as many as a float tells apart.
        ((coin >> 11) as f64) < self.share() * (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shares_of_something_are_taken() {
        for wrong in ["", "1", "0%", "-1%", "100.1%", "NaN%", "inf%", "%", "one%"] {
            assert!(Sample::parse(wrong).is_err(), "{wrong}");
        }
        for right in ["1%", "100%", "0.001%", "12.5 %"] {
            assert!(Sample::parse(right).is_ok(), "{right}");
        }
    }

    /// Of a million tasks each share has as many as a binomial law allows in all but one of some
    /// billion cases (six standard deviations), in every replication and of every source.
    #[test]
    fn each_task_is_in_it_with_the_stated_probability() {
        for percent in [0.1, 1.0, 37.0, 99.0] {
            let sample = Sample { percent };
            for (seed, replication, source) in [(1, 0, 0), (1, 1, 0), (2, 0, 3), (u64::MAX, 7, 1)] {
                let n = 250_000_u64;
                let kept = (0..n)
                    .filter(|&number| sample.has((seed, replication), SourceId(source), number));
                let (kept, p) = (kept.count() as f64, sample.share());
                let (mean, deviation) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
                assert!((kept - mean).abs() < 6.0 * deviation, "{percent} %: {kept} of {n}");
            }
        }
    }
}
