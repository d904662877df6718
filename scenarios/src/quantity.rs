//! Quantities written with their unit: `"250ms"`, `"40/s"`, `"16GiB"`, `"$2.99/h"`, `"2x"`.
//!
//! Invariants: durations, bytes and money are parsed in integers and are exact, a value that is
//! finer than the unit of account (a picosecond, a byte, a pico-dollar) is refused instead of
//! rounded; nothing negative, infinite or without a unit passes; a hostile text costs no more
//! than reading its first 40 bytes.
//!
//! Deliberately absent: ranges that belong to one key (see `kinds`), locale, and exponents.

use sim::units::{Bytes, Money, PS_PER_SEC, Span};

/// No quantity needs more characters.
const LONGEST: usize = 40;

/// Why a text is not the quantity that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Nothing was written.
    #[error("the value is empty")]
    Empty,
    /// More than forty characters.
    #[error("the value is longer than {LONGEST} characters")]
    TooLong,
    /// The part before the unit is no plain decimal number.
    #[error("`{0}` is not a plain decimal number")]
    NotANumber(String),
    /// A minus sign.
    #[error("the value is negative")]
    Negative,
    /// Just a number.
    #[error("the unit is missing")]
    NoUnit,
    /// Letters that are no unit of this quantity.
    #[error("`{0}` is not a unit of this quantity")]
    UnknownUnit(String),
    /// More than the type can hold.
    #[error("the value is too large")]
    TooLarge,
    /// A fraction of the unit of account.
    #[error("the value is finer than {0}")]
    TooFine(&'static str),
}

/// A non-negative decimal number: `digits / 10^decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    digits: u128,
    decimals: u32,
}

impl Decimal {
    fn parse(text: &str) -> Result<Decimal, QuantityError> {
        let refuse = || QuantityError::NotANumber(text.to_owned());
        if text.starts_with('-') {
            return Err(QuantityError::Negative);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(refuse());
        }
        let mut digits: u128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = digits
                .checked_mul(10)
                .and_then(|d| d.checked_add(u128::from(byte - b'0')))
                .ok_or(QuantityError::TooLarge)?;
        }
        Ok(Decimal { digits, decimals: fraction.len() as u32 })
    }

    /// This many units of `unit`, as a whole number of the unit of account.
    fn times(self, unit: u128, account: &'static str) -> Result<u128, QuantityError> {
        let product = self.digits.checked_mul(unit).ok_or(QuantityError::TooLarge)?;
        let scale = 10u128.checked_pow(self.decimals).ok_or(QuantityError::TooLarge)?;
        if product % scale != 0 {
            return Err(QuantityError::TooFine(account));
        }
        Ok(product / scale)
    }
}

/// Splits `"250 ms"` into its number and its unit.
fn split(text: &str) -> Result<(&str, &str), QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Empty);
    }
    if text.len() > LONGEST {
        return Err(QuantityError::TooLong);
    }
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(QuantityError::NotANumber(text.to_owned()));
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    Ok((number, unit))
}

fn lookup(unit: &str, units: &[(&str, u128)]) -> Result<u128, QuantityError> {
    if unit.is_empty() {
        return Err(QuantityError::NoUnit);
    }
    units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|&(_, size)| size)
        .ok_or_else(|| QuantityError::UnknownUnit(unit.to_owned()))
}

/// A duration: `ns`, `us`, `ms`, `s`, `m` (minutes), `h`, `d`, `w`, and `ps`.
///
/// # Errors
/// [`QuantityError`] when the text is anything else or not a whole number of picoseconds.
pub fn span(text: &str) -> Result<Span, QuantityError> {
    const S: u128 = PS_PER_SEC as u128;
    const UNITS: [(&str, u128); 9] = [
        ("ps", 1),
        ("ns", 1_000),
        ("us", 1_000_000),
        ("ms", S / 1_000),
        ("s", S),
        ("m", 60 * S),
        ("h", 3_600 * S),
        ("d", 86_400 * S),
        ("w", 7 * 86_400 * S),
    ];
    let (number, unit) = split(text)?;
    let number = Decimal::parse(number)?;
    let ps = number.times(lookup(unit, &UNITS)?, "a picosecond")?;
    u64::try_from(ps).map(Span).map_err(|_| QuantityError::TooLarge)
}

/// A rate in events per second: `"40/s"`, `"3/min"` or `"3/m"`, `"2/h"`, `"10/d"`.
///
/// # Errors
/// [`QuantityError`] when the text is anything else.
pub fn rate(text: &str) -> Result<f64, QuantityError> {
    const UNITS: [(&str, u128); 5] =
        [("/s", 1), ("/m", 60), ("/min", 60), ("/h", 3_600), ("/d", 86_400)];
    let (number, unit) = split(text)?;
    Decimal::parse(number)?;
    let seconds = lookup(unit, &UNITS)?;
    // The decimal was checked, so this is the correctly rounded value of a plain number.
    let per_unit: f64 = number.parse().map_err(|_| QuantityError::NotANumber(number.to_owned()))?;
    Ok(per_unit / seconds as f64)
}

/// A number of bytes: `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB`, `TiB`.
///
/// # Errors
/// [`QuantityError`] when the text is anything else or not a whole number of bytes.
pub fn bytes(text: &str) -> Result<Bytes, QuantityError> {
    const UNITS: [(&str, u128); 9] = [
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let (number, unit) = split(text)?;
    let number = Decimal::parse(number)?;
    let value = number.times(lookup(unit, &UNITS)?, "a byte")?;
    u64::try_from(value).map(Bytes).map_err(|_| QuantityError::TooLarge)
}

/// An amount of US dollars, `"$0.12"`, followed by `suffix` (`""`, `"/h"`).
///
/// # Errors
/// [`QuantityError`] when the text is anything else or not a whole number of pico-dollars.
pub fn money(text: &str, suffix: &str) -> Result<Money, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Empty);
    }
    if text.len() > LONGEST {
        return Err(QuantityError::TooLong);
    }
    if text.starts_with("-$") {
        return Err(QuantityError::Negative);
    }
    let amount = text.strip_prefix('$').ok_or(QuantityError::NoUnit)?;
    let (number, unit) = split(amount)?;
    if unit != suffix {
        return Err(match unit {
            "" => QuantityError::NoUnit,
            other => QuantityError::UnknownUnit(other.to_owned()),
        });
    }
    let pico =
        Decimal::parse(number)?.times(Money::PICO_PER_DOLLAR.unsigned_abs(), "a pico-dollar")?;
    // A quintillion dollars leaves room for every sum a fleet can make.
    if pico > Money::PICO_PER_DOLLAR.unsigned_abs() * 1_000_000_000_000_000_000 {
        return Err(QuantityError::TooLarge);
    }
    i128::try_from(pico).map(Money).map_err(|_| QuantityError::TooLarge)
}

/// A factor: `"2x"`, `"1.5x"`.
///
/// # Errors
/// [`QuantityError`] when the text is anything else.
pub fn factor(text: &str) -> Result<f64, QuantityError> {
    let (number, unit) = split(text)?;
    Decimal::parse(number)?;
    lookup(unit, &[("x", 1)])?;
    number.parse().map_err(|_| QuantityError::NotANumber(number.to_owned()))
}

/// A share: `"97%"` is 0.97.
///
/// # Errors
/// [`QuantityError`] when the text is anything else.
pub fn percent(text: &str) -> Result<f64, QuantityError> {
    let (number, unit) = split(text)?;
    Decimal::parse(number)?;
    lookup(unit, &[("%", 1)])?;
    let hundredths: f64 =
        number.parse().map_err(|_| QuantityError::NotANumber(number.to_owned()))?;
    Ok(hundredths / 100.0)
}

/// Writes a span with the largest unit that leaves no fraction.
#[must_use]
pub fn show_span(span: Span) -> String {
    const UNITS: [(&str, u64); 8] = [
        ("d", 86_400 * PS_PER_SEC),
        ("h", 3_600 * PS_PER_SEC),
        ("m", 60 * PS_PER_SEC),
        ("s", PS_PER_SEC),
        ("ms", PS_PER_SEC / 1_000),
        ("us", 1_000_000),
        ("ns", 1_000),
        ("ps", 1),
    ];
    if span == Span::ZERO {
        return "0s".to_owned();
    }
    let found = UNITS.iter().find(|(_, size)| span.0.is_multiple_of(*size));
    found.map_or_else(String::new, |(unit, size)| format!("{}{unit}", span.0 / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact() {
        assert_eq!(span("250ms"), Ok(Span::from_millis(250)));
        assert_eq!(span("1.5 s"), Ok(Span::from_millis(1_500)));
        assert_eq!(span("1w"), Ok(Span::from_secs(7 * 86_400)));
        assert_eq!(span("0.001ns"), Ok(Span(1)));
        assert_eq!(rate("40/s"), Ok(40.0));
        assert_eq!(rate("3/min"), Ok(0.05));
        assert_eq!(bytes("16GiB"), Ok(Bytes(16 << 30)));
        assert_eq!(money("$2.99/h", "/h"), Ok(Money(2_990_000_000_000)));
        assert_eq!(money("$0.000000000001", ""), Ok(Money(1)));
        assert_eq!(factor("2.5x"), Ok(2.5));
        assert_eq!(percent("97%"), Ok(0.97));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        use QuantityError::*;
        let cases: [(&str, QuantityError); 12] = [
            ("", Empty),
            ("250", NoUnit),
            ("250 parsecs", UnknownUnit("parsecs".into())),
            ("-1s", Negative),
            ("-0s", Negative),
            ("1e308s", UnknownUnit("e308s".into())),
            ("infs", NotANumber("infs".into())),
            ("NaN", NotANumber("NaN".into())),
            ("1.2.3s", NotANumber("1.2.3".into())),
            ("0.0001ns", TooFine("a picosecond")),
            ("18446744073709551616ps", TooLarge),
            ("9223372036854775808h", TooLarge),
        ];
        for (text, reason) in cases {
            assert_eq!(span(text), Err(reason), "{text:?}");
        }
        assert_eq!(span(&"9".repeat(1_000_000)), Err(TooLong));
        assert_eq!(money("2.99/h", "/h"), Err(NoUnit));
        assert_eq!(money("$2.99", "/h"), Err(NoUnit));
        assert_eq!(money("$0.0000000000001", ""), Err(TooFine("a pico-dollar")));
        assert_eq!(bytes("0.5B"), Err(TooFine("a byte")));
        assert_eq!(money("$٣", ""), Err(NotANumber("٣".into())));
        assert_eq!(rate("nan/s"), Err(NotANumber("nan/s".into())));
    }

    #[test]
    fn spans_are_shown_as_they_would_be_written() {
        for text in ["0s", "250ms", "24h", "90m", "7d", "1ps", "36h"] {
            let value = span(text).expect("a valid duration");
            assert_eq!(span(&show_span(value)), Ok(value));
        }
        assert_eq!(show_span(Span::from_secs(90)), "90s");
    }
}
