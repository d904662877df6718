//! Numbers for people: three significant digits, a unit that fits, an interval beside the value.
//!
//! Invariants: an interval is written in the unit and with the decimals of its value, and gets up
//! to three more decimals when its ends would otherwise read alike; a value that is not zero never
//! reads as zero while nine decimals can tell, but for times of less than half a picosecond, the
//! simulator's unit; [`dollars_exact`] loses nothing.
//!
//! Deliberately absent: locales. Thousands are set off by commas, decimals by a point.

use experiments::{Estimate, Metric};
use sim::units::{Money, Span};

/// What a number measures, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds: µs, ms, s, min or h, whichever fits.
    Seconds,
    /// US dollars.
    Dollars,
    /// A ratio between 0 and 1, written in percent.
    Share,
    /// A difference of such ratios, in percentage points.
    Points,
    /// Events per second.
    PerSecond,
    /// A number whose header names its unit.
    Plain,
}

/// How one value is scaled and labelled.
struct Scale {
    factor: f64,
    before: &'static str,
    after: &'static str,
    decimals: usize,
}

/// Decimals that an interval or a tiny value may get beyond the usual.
const EXTRA: usize = 3;
/// Seconds below which a time is none: what is left of a difference of equal ones is smaller.
const NO_TIME: f64 = 0.5e-12;
/// Decimals beyond which nothing is written.
const MOST: usize = 9;

impl Unit {
    /// How the values of a metric are written.
    #[must_use]
    pub fn of(metric: Metric) -> Unit {
        match metric.unit() {
            "s" => Unit::Seconds,
            "USD" => Unit::Dollars,
            "1/s" => Unit::PerSecond,
            _ => Unit::Share,
        }
    }

    /// How differences of such values are written.
    #[must_use]
    pub fn of_changes(self) -> Unit {
        if self == Unit::Share { Unit::Points } else { self }
    }

    /// The scale that fits `value`.
    fn scale(self, value: f64) -> Scale {
        let value = if self == Unit::Seconds && value.abs() < NO_TIME { 0.0 } else { value };
        let size = value.abs();
        let (factor, before, after) = match self {
            Unit::Seconds if size == 0.0 => (1.0, "", " s"),
            // The limits are where three digits would round up to the next unit.
            Unit::Seconds if size < 0.999_5e-3 => (1e6, "", " µs"),
            Unit::Seconds if size < 0.999_5 => (1e3, "", " ms"),
            Unit::Seconds if size < 600.0 => (1.0, "", " s"),
            Unit::Seconds if size < 36_000.0 => (1.0 / 60.0, "", " min"),
            Unit::Seconds => (1.0 / 3_600.0, "", " h"),
            Unit::Dollars => (1.0, "$", ""),
            Unit::Share => (100.0, "", " %"),
            Unit::Points => (100.0, "", " points"),
            Unit::PerSecond => (1.0, "", "/s"),
            Unit::Plain => (1.0, "", ""),
        };
        let scaled = value * factor;
        let decimals = match self {
            Unit::Share | Unit::Points => share_decimals(scaled),
            Unit::Dollars => three_digits(scaled).max(2),
            _ => three_digits(scaled),
        };
        Scale { factor, before, after, decimals }
    }
}

impl Scale {
    fn digits(&self, value: f64, decimals: usize) -> String {
        fixed(value * self.factor, decimals)
    }

    /// A whole value with its unit; the sign stands before a currency.
    fn written(&self, value: f64, decimals: usize) -> String {
        let digits = self.digits(value, decimals);
        match digits.strip_prefix('-') {
            Some(positive) => format!("-{}{positive}{}", self.before, self.after),
            None => format!("{}{digits}{}", self.before, self.after),
        }
    }
}

/// One number with its unit.
#[must_use]
pub fn number(value: f64, unit: Unit) -> String {
    let scale = unit.scale(value);
    let least = 1e-8;
    if unit == Unit::Share && value > 0.0 && value < least / 2.0 {
        return format!("<{}", scale.written(least, scale.decimals));
    }
    scale.written(value, scale.decimals)
}

/// An estimate's value, or `n/a`, and its interval without the unit: `1.19–1.27`, or `±0` where
/// the replications agree.
#[must_use]
pub fn parts(estimate: &Estimate, unit: Unit) -> (String, Option<String>) {
    let Some(value) = estimate.value else { return ("n/a".into(), None) };
    let scale = unit.scale(value);
    let (Some(low), Some(high)) = (estimate.low, estimate.high) else {
        return (scale.written(value, scale.decimals), None);
    };
    if low == high {
        return (scale.written(value, scale.decimals), Some("±0".into()));
    }
    let mut decimals = scale.decimals;
    let alike = |decimals| scale.digits(low, decimals) == scale.digits(high, decimals);
    let most = (scale.decimals + EXTRA).min(MOST);
    while decimals < most && alike(decimals) {
        decimals += 1;
    }
    // A dash between negative numbers reads as one more sign.
    let joint = if low < 0.0 { " to " } else { "–" };
    let ends = [low, high].map(|end| match unit {
        Unit::Dollars => scale.written(end, decimals),
        _ => scale.digits(end, decimals),
    });
    (scale.written(value, decimals), Some(ends.join(joint)))
}

/// An estimate on one line: `1.23 s (1.19–1.27)`; `n/a` when there is no value.
#[must_use]
pub fn estimate(estimate: &Estimate, unit: Unit) -> String {
    match parts(estimate, unit) {
        (value, Some(interval)) => format!("{value} ({interval})"),
        (value, None) => value,
    }
}

/// Parts of a total in its unit and with its decimals, and the total, so that the parts as written
/// sum to the total as written: those with the largest remainders are rounded up. The parts sum to
/// the total before, too; a part far smaller than it may read as zero.
#[must_use]
pub fn addends(parts: &[f64], total: f64, unit: Unit) -> (Vec<String>, String) {
    let scale = unit.scale(total);
    // At most nine decimals.
    let quanta = (0..scale.decimals).fold(scale.factor, |factor, _| factor * 10.0);
    let written = |count: f64| scale.written(count / quanta, scale.decimals);
    let whole = (total * quanta).round();
    let mut counts: Vec<f64> = parts.iter().map(|part| (part * quanta).floor()).collect();
    let missing = whole - counts.iter().sum::<f64>();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |at: usize| parts[at] * quanta - counts[at];
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)));
    // Not finite or negative: nothing to hand out.
    for &at in order.iter().take(missing as usize) {
        counts[at] += 1.0;
    }
    (counts.into_iter().map(written).collect(), written(whole))
}

/// Shares of 1 in per cent that sum to 100 as written.
#[must_use]
pub fn shares(parts: &[f64]) -> Vec<String> {
    addends(parts, 1.0, Unit::Share).0
}

/// A length of time.
#[must_use]
pub fn span(span: Span) -> String {
    let text = number(span.as_secs_f64(), Unit::Seconds);
    // Lengths that people choose are round: `24.0 h` says less than `24 h`.
    match text.split_once(' ') {
        Some((digits, unit)) if digits.contains('.') => {
            format!("{} {unit}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// A count: exact below 10,000, else three digits (`12.3k`, `4.56M`).
#[must_use]
pub fn count(count: u64) -> String {
    if count < 10_000 {
        return thousands(&count.to_string());
    }
    let units = [(1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"), (1e18, "E")];
    // The limit is where three digits would round up to the next unit.
    let fits = |&&(size, _): &&(f64, &str)| (count as f64) < size * 999.5;
    let (size, unit) = units.iter().find(fits).copied().unwrap_or((1e18, "E"));
    let scaled = count as f64 / size;
    format!("{}{unit}", fixed(scaled, three_digits(scaled)))
}

/// The mean of a count over runs, as [`count`] writes it; three significant digits where it is no
/// whole number and short.
#[must_use]
pub fn mean_count(sum: u64, runs: u32) -> String {
    let runs = u64::from(runs.max(1));
    let mean = sum as f64 / runs as f64;
    // From here on three digits leave no decimals.
    if sum.is_multiple_of(runs) || mean >= 999.5 {
        return count(mean.round() as u64);
    }
    let digits = fixed(mean, three_digits(mean));
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').into(),
        false => digits,
    }
}

/// A total of money: to the cent, halves to even; below a dollar three significant digits.
#[must_use]
pub fn money(money: Money) -> String {
    let per_cent = Money::PICO_PER_DOLLAR / 100;
    if money.0.unsigned_abs() < Money::PICO_PER_DOLLAR.unsigned_abs() && money.0 % per_cent != 0 {
        return number(money.as_dollars_f64(), Unit::Dollars);
    }
    let cents = money.cents_half_even();
    let sign = if cents < 0 { "-" } else { "" };
    let (dollars, rest) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    format!("{sign}${}.{rest:02}", thousands(&dollars.to_string()))
}

/// Dollars as a decimal number with every digit there is, at least two after the point: the
/// form of money in JSON (`35.88`, `0.000000000001`).
#[must_use]
pub fn dollars_exact(money: Money) -> String {
    let sign = if money.0 < 0 { "-" } else { "" };
    let pico = Money::PICO_PER_DOLLAR.unsigned_abs();
    let (dollars, rest) = (money.0.unsigned_abs() / pico, money.0.unsigned_abs() % pico);
    let digits = format!("{rest:012}");
    let kept = digits.trim_end_matches('0').len().max(2);
    format!("{sign}{dollars}.{}", &digits[..kept])
}

/// Decimals that leave three significant digits.
fn three_digits(value: f64) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    // Written with an exponent the number is already rounded: 9.996 is 1.00e1.
    let written = format!("{value:.2e}");
    let exponent = written.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    usize::try_from(2 - exponent).unwrap_or(0).min(MOST)
}

/// One decimal of a percentage, more where it would read as 0 or 100 without being that.
fn share_decimals(percent: f64) -> usize {
    let misleads = |decimals: usize| {
        let read = fixed(percent, decimals);
        (read == fixed(0.0, decimals) && percent != 0.0)
            || (read == fixed(100.0, decimals) && percent != 100.0)
    };
    (1..6).find(|&decimals| !misleads(decimals)).unwrap_or(6)
}

/// Decimal digits with commas; no negative zero.
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let sign = if digits.bytes().all(|b| b == b'0' || b == b'.') { "" } else { sign };
    match digits.split_once('.') {
        Some((whole, rest)) => format!("{sign}{}.{rest}", thousands(whole)),
        None => format!("{sign}{}", thousands(digits)),
    }
}

/// Text without what turns the direction of writing or cannot be seen.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// Whether a character acts on what shows it instead of being shown: a control character, a separator
/// of lines, or one that turns the direction of writing (Unicode, UAX #9, section 2), with which a
/// name could make a line read as another.
pub(crate) fn steers(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Sets off groups of three digits from the right.
pub(crate) fn thousands(digits: &str) -> String {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return digits.into();
    }
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
