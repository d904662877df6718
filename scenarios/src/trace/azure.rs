//! `azure-2023`: the Azure LLM inference traces (CSV with a header line).
//!
//! | column | meaning |
//! |---|---|
//! | `TIMESTAMP` | wall clock, `2023-11-16 18:15:46.6805900`: up to nine decimals of a second; `T` for the blank and a closing `Z` or `+00:00` are accepted, as in the later releases |
//! | `ContextTokens` | prompt tokens |
//! | `GeneratedTokens` | output tokens |
//!
//! Source: github.com/Azure/AzurePublicDataset, `AzureLLMInferenceDataset2023.md`.
//!
//! Invariants: the calendar is exact (Gregorian, no leap seconds, as the recording clock has none).
//! Deliberately absent: time zones; a trace has one clock, and only differences matter.

use super::build::{Builder, Request};
use super::cells::{Column, Layout, csv_rows, fraction_ns, whole};
use super::open::Lines;
use super::problem::Problems;

const LAYOUT: Layout = Layout {
    columns: &[
        Column::required("TIMESTAMP"),
        Column::required("ContextTokens"),
        Column::required("GeneratedTokens"),
    ],
    closed: false,
};

const WHAT_TIME: &str = "a wall-clock time like 2023-11-16 18:15:46.6805900, from 1970 to 2200";

pub(super) fn read(lines: &mut Lines<'_>, builder: &mut Builder, problems: &mut Problems) {
    csv_rows(lines, &LAYOUT, problems, |row| {
        let at = row.read(0, WHAT_TIME, wall_clock_ns);
        let (input, output) = (row.tokens(1), row.tokens(2));
        match (at, input, output) {
            (Some(at_ns), Some(input), Some(output)) => {
                builder.push(&Request { at_ns, input, output, session: None, segments: &[] })
            }
            _ => Ok(()),
        }
    });
}

/// Nanoseconds since 1970 of `YYYY-MM-DD HH:MM:SS[.f…]`.
fn wall_clock_ns(text: &str) -> Option<u64> {
    let text = text.strip_suffix("+00:00").or_else(|| text.strip_suffix('Z')).unwrap_or(text);
    let (date, clock) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-');
    let year = digits(date.next()?, 4).filter(|y| (1970..=2200).contains(y))?;
    let month = digits(date.next()?, 2).filter(|m| (1..=12).contains(m))?;
    let day = digits(date.next()?, 2).filter(|d| (1..=month_days(year, month)).contains(d))?;
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, fraction_ns(fraction)?),
        None => (clock, 0),
    };
    let mut clock = clock.splitn(3, ':');
    let hour = digits(clock.next()?, 2).filter(|h| *h < 24)?;
    let minute = digits(clock.next()?, 2).filter(|m| *m < 60)?;
    let second = digits(clock.next()?, 2).filter(|s| *s < 60)?;
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    // The year 2200 is 7.3 × 10¹⁸ ns after 1970: within 64 bits.
    Some(seconds * 1_000_000_000 + fraction)
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count).then(|| whole(text, 9_999)).flatten()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date from then on, by counting whole years and months.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Leap years before `year`, less those before 1970.
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let months: u64 = (1..month).map(|m| month_days(year, m)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from `date -u -d … +%s`.
    #[test]
    fn wall_clock_is_exact() {
        for (text, seconds, nanos) in [
            ("1970-01-01 00:00:00", 0, 0),
            ("2000-02-29 23:59:59.9", 951_868_799, 900_000_000),
            ("2023-11-16 18:15:46.6805900", 1_700_158_546, 680_590_000),
            ("2024-05-10 00:00:00.009930+00:00", 1_715_299_200, 9_930_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400, 0),
            ("2200-12-31 00:00:00.123456789", 7_289_568_000, 123_456_789),
        ] {
            assert_eq!(wall_clock_ns(text), Some(seconds * 1_000_000_000 + nanos), "{text}");
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "",
            "2023-11-16",
            "2023-02-29 00:00:00",
            "2100-02-29 00:00:00",
            "2023-13-01 00:00:00",
            "2023-00-01 00:00:00",
            "2023-01-00 00:00:00",
            "2023-01-01 24:00:00",
            "2023-01-01 00:60:00",
            "2023-01-01 00:00:60",
            "2023-01-01 00:00:00.",
            "2023-01-01 00:00:00.1234567890",
            "2023-01-01 00:00:-1",
            "2023-01-01 00:00:00+02:00",
            "1969-12-31 23:59:59",
            "2201-01-01 00:00:00",
            "2023-1-1 0:0:0",
        ] {
            assert_eq!(wall_clock_ns(text), None, "{text}");
        }
    }
}
