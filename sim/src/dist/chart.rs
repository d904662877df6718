//! Draws from a rising law by looking them up.
//!
//! A law that turns one uniform number into a token count, never falling as the number rises, is
//! constant over most short stretches of the unit interval, because token counts are whole. A
//! chart remembers for each of [`STRETCHES`] such stretches the count at both of its ends: where
//! they agree, the logarithms and exponentials of the law are not worked out again. A law earns its
//! chart by being drawn from as often as a chart has stretches: a thousand clients who ask now and
//! then keep none.
//!
//! Invariants: a draw is the count the law gives to its uniform number; what is remembered does
//! not depend on what was drawn before.
//!
//! Deliberately absent: laws that take several numbers for a draw, such as gamma by rejection.

use crate::dice::Dice;
use std::cell::{Cell, OnceCell};

/// Bits of a uniform number that choose its stretch.
const BITS: u32 = 14;
/// Stretches of the unit interval; at two bytes each they fit a near cache.
const STRETCHES: usize = 1 << BITS;
/// The ends of the stretch were not worked out yet. No draw is 0.
const UNKNOWN: u16 = 0;
/// The stretch has to be worked out at each draw: its ends differ, or do not fit two bytes.
const MIXED: u16 = u16::MAX;

/// What a law gives in each stretch of the unit interval, filled as it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Chart {
    /// Draws before the chart was made.
    draws: Cell<usize>,
    cells: OnceCell<Box<[Cell<u16>]>>,
}

impl Chart {
    /// What `law` gives to the next uniform number of `dice`. A chart serves one law, whose values
    /// are at least 1 and do not fall.
    pub(super) fn draw(&self, dice: &mut Dice, law: impl Fn(f64) -> u32) -> u32 {
        let bits = dice.bits();
        let Some(cells) = self.cells.get() else {
            self.draws.set(self.draws.get() + 1);
            if self.draws.get() == STRETCHES {
                self.cells.get_or_init(|| vec![Cell::new(UNKNOWN); STRETCHES].into());
            }
            return law(Dice::unit(bits));
        };
        let stretch = bits >> (u64::BITS - BITS);
        let cell = &cells[stretch as usize];
        if cell.get() == UNKNOWN {
            let first = stretch << (u64::BITS - BITS);
            let last = first | (u64::MAX >> BITS);
            let (least, most) = (law(Dice::unit(first)), law(Dice::unit(last)));
            cell.set(if least == most { u16::try_from(least).unwrap_or(MIXED) } else { MIXED });
        }
        match cell.get() {
            MIXED => law(Dice::unit(bits)),
            count => u32::from(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{LengthDist, LengthLaw};

    #[test]
    fn a_chart_gives_what_the_law_gives() {
        let lognormal = |mu, sigma| LengthLaw::Lognormal { mu, sigma };
        for law in [lognormal(5.0, 1.0), lognormal(12.0, 0.1), lognormal(1.0, 0.0)] {
            let dist = LengthDist { law, min: 3, max: 1_000_000 };
            let chart = Chart::default();
            let (mut charted, mut plain) = (Dice::stream(7), Dice::stream(7));
            for _ in 0..100_000 {
                let count = chart.draw(&mut charted, |u| dist.at(u).expect("it rises"));
                assert_eq!(count, dist.sample(&mut plain), "{dist:?}");
            }
        }
    }

    #[test]
    fn a_stretch_with_a_step_in_it_is_worked_out() {
        // The step lies inside a stretch, at no multiple of 2⁻¹⁴.
        let law = |u: f64| if u < 0.300_01 { 1 } else { 70_000 };
        let chart = Chart::default();
        let (mut charted, mut plain) = (Dice::stream(3), Dice::stream(3));
        let near = |u: f64| (u - 0.3).abs() < 1e-4;
        let mut nearby = 0;
        for _ in 0..100_000 {
            let u = plain.uniform();
            assert_eq!(chart.draw(&mut charted, law), law(u));
            nearby += u32::from(near(u));
        }
        assert!(nearby > 5);
    }
}
