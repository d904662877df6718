//! Numbers as they stand in files, turned into quantities or refused in words.
//!
//! Invariants: what is negative, not finite or too large for its type is refused, never rounded
//! into the range; seconds become picoseconds once, here.
//!
//! Deliberately absent: where the number stood. The caller knows and reports it.

use sim::units::{PS_PER_SEC, Span, Time, Tokens};

/// Picoseconds in one nanosecond.
const PS_PER_NS: u64 = PS_PER_SEC / 1_000_000_000;

/// Longest span that an import may hold, in seconds: what a `u64` of picoseconds does.
const LONGEST: f64 = (u64::MAX / PS_PER_SEC) as f64;

/// A number of tokens; tools write some of them as `150.0`.
pub(super) fn tokens(number: f64) -> Result<Tokens, String> {
    if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
        return Err(format!("{number} is no number of tokens; expected a whole number from 0"));
    }
    // In range and whole, so the cast is exact.
    Ok(Tokens(number as u32))
}

/// A duration in `unit` seconds.
pub(super) fn span(number: f64, unit: f64) -> Result<Span, String> {
    let seconds = number * unit;
    if !(0.0..LONGEST).contains(&seconds) {
        return Err(format!("{number} is no duration; expected a number from 0, below 213 days"));
    }
    Ok(Span::from_secs_f64(seconds))
}

/// A duration between two stamps of one clock in seconds.
pub(super) fn between(from: f64, to: f64) -> Result<Span, String> {
    if to < from {
        return Err(format!("{to} is before {from}; expected stamps of one clock in order"));
    }
    span(to - from, 1.0)
}

/// The instant `stamp`, counted from `first`, both in nanoseconds.
pub(super) fn since_ns(first: u64, stamp: u64) -> Result<Time, String> {
    let ns = stamp.checked_sub(first).ok_or("a stamp before the first")?;
    let ps = ns.checked_mul(PS_PER_NS).ok_or("a stamp more than 213 days after the first")?;
    Ok(Time(ps))
}

/// The instant `stamp`, counted from `first`, both in seconds.
pub(super) fn since(first: f64, stamp: f64) -> Result<Time, String> {
    between(first, stamp).map(|span| Time(span.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_quantity_is_refused() {
        assert_eq!(tokens(150.0), Ok(Tokens(150)));
        for number in [-1.0, 0.5, f64::NAN, f64::INFINITY, 5e9] {
            assert!(tokens(number).is_err(), "{number}");
        }
        assert_eq!(span(40.0, 1e-3), Ok(Span::from_millis(40)));
        for number in [-1e-9, f64::NAN, f64::INFINITY, 1e300] {
            assert!(span(number, 1.0).is_err(), "{number}");
        }
        assert_eq!(between(1_000.5, 1_001.0), Ok(Span::from_millis(500)));
        assert!(between(2.0, 1.0).is_err());
        assert_eq!(since_ns(10, 12), Ok(Time(2_000)));
        assert!(since_ns(12, 10).is_err() && since_ns(0, u64::MAX).is_err());
    }
}
