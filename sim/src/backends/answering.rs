//! How long an answer takes: two draws, a time of day, and whose device it is.
//!
//! Invariants: draws depend on the attempt's key alone, so whoever waits longer is not answered
//! by another law; a factor of 1 leaves a time untouched to the picosecond.
//!
//! Deliberately absent: dependence on the provider's load, which a customer does not see; it is
//! part of the laws and of the curve over the day.

use super::{Answering, DeviceClass};
use crate::dice::{Dice, Purpose};
use crate::units::{Span, Time};

/// After which time the curve repeats.
const DAY: Span = Span::from_secs(86_400);

/// A time multiplied by a ratio, to the nearest picosecond and at most [`Span::MAX`].
pub(super) fn scaled(span: Span, factor: f64) -> Span {
    // A detour over f64 would round long times even by 1.
    if factor == 1.0 { span } else { Span((span.0 as f64 * factor + 0.5) as u64) }
}

/// A time so many times over, at most [`Span::MAX`].
pub(super) fn times(span: Span, count: u32) -> Span {
    Span(span.0.saturating_mul(u64::from(count)))
}

/// The drawn part of an answer's timing, before any factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// To the first token of an empty prompt.
    pub(super) first: Span,
    /// To each further token.
    pub(super) further: Span,
}

impl Pace {
    /// The draws of the attempt with this key.
    pub(super) fn draw(answering: &Answering, key: u64) -> Pace {
        Pace {
            first: answering.ttft.sample(&mut Dice::of(key, Purpose::FirstToken)),
            further: answering.tpot.sample(&mut Dice::of(key, Purpose::TokenTime)),
        }
    }
}

/// A factor over the day: straight lines between knots, also across midnight.
#[derive(Clone, Debug)]
pub(super) struct Day {
    /// By instant of the day; two at one instant make a step.
    knots: Vec<(Span, f64)>,
}

impl Day {
    pub(super) fn new(knots: &[(Time, f64)]) -> Day {
        let mut knots: Vec<_> =
            knots.iter().map(|&(at, factor)| (Span(at.0).min(DAY), factor)).collect();
        knots.sort_by_key(|knot| knot.0);
        Day { knots }
    }

    /// The factor at an instant; a run begins at midnight.
    pub(super) fn factor(&self, now: Time) -> f64 {
        let (Some(&first), Some(&last)) = (self.knots.first(), self.knots.last()) else {
            return 1.0;
        };
        let at = Span(now.0 % DAY.0);
        let next = self.knots.partition_point(|knot| knot.0 <= at);
        // Between the last knot and the first the line crosses midnight.
        let (from, passed) = match next.checked_sub(1) {
            Some(before) => (self.knots[before], at - self.knots[before].0),
            None => (last, at + DAY - last.0),
        };
        let (to, left) = match self.knots.get(next) {
            Some(&to) => (to, to.0 - at),
            None => (first, first.0 + DAY - at),
        };
        from.1 + (to.1 - from.1) * (passed.0 as f64 / (passed + left).0 as f64)
    }
}

/// Classes of devices as steps of one probability.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    /// `(probability of this class or one before, class)`.
    classes: Vec<(f64, DeviceClass)>,
}

impl Devices {
    /// `None` when no classes are told apart.
    pub(super) fn new(classes: &[DeviceClass]) -> Option<Devices> {
        let mut below = 0.0;
        let mut classes: Vec<_> = classes
            .iter()
            .map(|class| {
                below += class.share;
                (below, class.clone())
            })
            .collect();
        let last = classes.last_mut()?;
        if last.0 > 1.0 - 1e-9 {
            // Shares that sum to 1 but for rounding leave nobody out.
            last.0 = 1.0;
        }
        Some(Devices { classes })
    }

    /// Factor on all times of this attempt of this user; `None` when the user's device cannot do
    /// it. A user has one device: each place that lists its classes in the same order sees the
    /// same.
    pub(super) fn slowness(&self, user_key: u64, attempt_key: u64) -> Option<f64> {
        let user = Dice::of(user_key, Purpose::DeviceClass).uniform();
        let at = self.classes.partition_point(|class| class.0 <= user);
        let class = &self.classes.get(at)?.1;
        let throttled = class.throttled > 0.0
            && Dice::of(attempt_key, Purpose::Throttling).coin(class.throttled);
        Some(class.slowness * if throttled { class.throttled_slowness } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::mix;

    fn hour(h: f64) -> Time {
        Time(Span::from_secs_f64(3_600.0 * h).0)
    }

    #[test]
    fn the_day_is_straight_between_knots_and_across_midnight() {
        let day = Day::new(&[(hour(18.0), 3.0), (hour(6.0), 1.0)]);
        for (at, factor) in [
            (6.0, 1.0),
            (12.0, 2.0),
            (18.0, 3.0),
            (21.0, 2.5),
            (0.0, 2.0),
            (3.0, 1.5),
            (24.0 + 12.0, 2.0),
            (72.0 + 3.0, 1.5),
        ] {
            assert!((day.factor(hour(at)) - factor).abs() < 1e-12, "at {at} h");
        }
    }

    #[test]
    fn two_knots_at_one_instant_make_a_step() {
        let day =
            Day::new(&[(hour(0.0), 1.0), (hour(8.0), 1.0), (hour(8.0), 2.0), (hour(9.0), 2.0)]);
        assert_eq!(day.factor(hour(7.9)), 1.0);
        assert_eq!(day.factor(hour(8.0)), 2.0);
        assert_eq!(day.factor(hour(8.5)), 2.0);
    }

    #[test]
    fn a_knot_at_the_end_of_the_day_makes_a_step_at_midnight() {
        let day = Day::new(&[(hour(0.0), 1.0), (hour(24.0), 3.0)]);
        for (at, factor) in [(0.0, 1.0), (6.0, 1.5), (18.0, 2.5), (24.0, 1.0), (30.0, 1.5)] {
            assert!((day.factor(hour(at)) - factor).abs() < 1e-12, "at {at} h");
        }
    }

    #[test]
    fn a_flat_day_and_a_factor_of_one_change_nothing_at_all() {
        let long = Span(u64::MAX - 1);
        for day in [Day::new(&[]), Day::new(&[(hour(5.0), 1.0)]), Day::new(&[(hour(1.0), 1.0); 2])]
        {
            assert_eq!(scaled(long, day.factor(hour(13.7))), long);
        }
        assert_eq!(scaled(Span(3), 1.5), Span(5));
        assert_eq!(scaled(long, 1e9), Span::MAX);
        assert_eq!(times(long, 2), Span::MAX);
    }

    fn class(share: f64, slowness: f64, throttled: f64) -> DeviceClass {
        DeviceClass { name: String::new(), share, slowness, throttled, throttled_slowness: 10.0 }
    }

    #[test]
    fn users_have_devices_by_share_and_keep_them() {
        let devices = Devices::new(&[class(0.2, 1.0, 0.0), class(0.5, 2.0, 0.25)]).unwrap();
        let n = 40_000;
        let mut counts = [0.0; 4];
        for user in 0..n {
            let kinds = [Some(1.0), Some(2.0), Some(20.0), None];
            let got = devices.slowness(mix(1, user), mix(2, user));
            counts[kinds.iter().position(|&kind| kind == got).unwrap()] += 1.0 / n as f64;
            let again = devices.slowness(mix(1, user), mix(3, user));
            assert_eq!(got.is_some(), again.is_some());
            assert_eq!(got == Some(1.0), again == Some(1.0));
        }
        for (share, p) in counts.into_iter().zip([0.2, 0.5 * 0.75, 0.5 * 0.25, 0.3]) {
            let error = (p * (1.0 - p) / n as f64).sqrt();
            assert!((share - p).abs() <= 5.0 * error, "{share} is not {p}");
        }
    }

    #[test]
    fn shares_that_sum_to_one_leave_nobody_out() {
        let tenths = vec![class(0.1, 1.0, 0.0); 10];
        let devices = Devices::new(&tenths).unwrap();
        assert!((devices.classes[9].0 - 1.0).abs() < f64::EPSILON);
        assert!((0..10_000).all(|user| devices.slowness(user, 0).is_some()));
        assert!(Devices::new(&[]).is_none());
    }
}
