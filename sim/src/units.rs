//! Quantities as types: time, tokens, blocks, bytes and money.
//!
//! Invariants: everything here is an integer, so sums do not depend on their order and two
//! machines agree to the last digit. Time is counted in picoseconds: a `u64` holds 213 days.
//! Money is counted in pico-dollars: an `i128` never overflows on anything a fleet can spend.
//!
//! Deliberately absent: floating-point time or money. `f64` appears only when a quantity leaves
//! the simulator ([`Span::as_secs_f64`]) or enters it from a drawn variate
//! ([`Span::from_secs_f64`]).

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// Picoseconds in one second.
pub const PS_PER_SEC: u64 = 1_000_000_000_000;

/// An instant: picoseconds since the start of the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// A length of time in picoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub u64);

impl Time {
    /// The start of the run.
    pub const ZERO: Time = Time(0);
    /// Later than anything that happens; an empty agenda slot holds it.
    pub const NEVER: Time = Time(u64::MAX);

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// This instant plus `span`, held at [`Time::NEVER`] instead of wrapping.
    #[must_use]
    pub fn after(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }

    /// Seconds since the start, for reports.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        Span(self.0).as_secs_f64()
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest span there is, 213.5 days.
    pub const MAX: Span = Span(u64::MAX);

    /// Whole seconds; held at [`Span::MAX`] instead of wrapping.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(PS_PER_SEC))
    }

    /// Whole milliseconds; held at [`Span::MAX`] instead of wrapping.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(PS_PER_SEC / 1_000))
    }

    /// Whole microseconds; held at [`Span::MAX`] instead of wrapping.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Span {
        Span(micros.saturating_mul(PS_PER_SEC / 1_000_000))
    }

    /// Seconds rounded to the nearest picosecond. Negative values and NaN become zero, values
    /// beyond 213 days become [`Span::MAX`] (the behaviour of Rust's float-to-integer cast).
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Span {
        // Adding one half and truncating is rounding for the non-negative values that survive.
        Span((secs * PS_PER_SEC as f64 + 0.5) as u64)
    }

    /// Seconds, for reports and statistics.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / PS_PER_SEC as f64
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0 + span.0)
    }
}

impl Sub<Time> for Time {
    type Output = Span;
    fn sub(self, earlier: Time) -> Span {
        Span(self.0 - earlier.0)
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0 + other.0)
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        self.0 += other.0;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0 - other.0)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={}ps", self.0)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ps", self.0)
    }
}

macro_rules! count {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl Add for $name {
            type Output = $name;
            fn add(self, other: $name) -> $name {
                $name(self.0 + other.0)
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, other: $name) {
                self.0 += other.0;
            }
        }
        impl Sub for $name {
            type Output = $name;
            fn sub(self, other: $name) -> $name {
                $name(self.0 - other.0)
            }
        }
        impl SubAssign for $name {
            fn sub_assign(&mut self, other: $name) {
                self.0 -= other.0;
            }
        }
    };
}

count!(
    /// Tokens of one request or one iteration.
    Tokens, u32
);
count!(
    /// KV-cache blocks of one replica.
    Blocks, u32
);
count!(
    /// Bytes of memory or traffic.
    Bytes, u64
);
count!(
    /// Pico-dollars (10⁻¹² US dollars); negative for a refund or a loss.
    Money, i128
);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// Pico-dollars in one dollar.
    pub const PICO_PER_DOLLAR: i128 = 1_000_000_000_000;

    /// Dollars, for reports and statistics only.
    #[must_use]
    pub fn as_dollars_f64(self) -> f64 {
        self.0 as f64 / Self::PICO_PER_DOLLAR as f64
    }

    /// Whole cents, halves to even: the one rounding a bill may have.
    #[must_use]
    pub fn cents_half_even(self) -> i128 {
        const PER_CENT: i128 = Money::PICO_PER_DOLLAR / 100;
        let (whole, rest) = (self.0.div_euclid(PER_CENT), self.0.rem_euclid(PER_CENT));
        let up = 2 * rest > PER_CENT || (2 * rest == PER_CENT && whole % 2 != 0);
        whole + i128::from(up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_seconds_saturate_instead_of_wrapping() {
        assert_eq!(Span::from_secs_f64(f64::NAN), Span::ZERO);
        assert_eq!(Span::from_secs_f64(-1.0), Span::ZERO);
        assert_eq!(Span::from_secs_f64(f64::INFINITY), Span::MAX);
        assert_eq!(Span::from_secs_f64(1.5), Span::from_millis(1_500));
    }

    #[test]
    fn cents_round_halves_to_even() {
        let cent = Money::PICO_PER_DOLLAR / 100;
        assert_eq!(Money(cent / 2).cents_half_even(), 0);
        assert_eq!(Money(cent + cent / 2).cents_half_even(), 2);
        assert_eq!(Money(-cent / 2).cents_half_even(), 0);
        assert_eq!(Money(cent / 2 + 1).cents_half_even(), 1);
    }
}
