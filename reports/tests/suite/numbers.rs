//! How numbers are written: a table of values and texts.

use crate::fixture::dollars;
use experiments::Estimate;
use reports::format::{
    Unit, addends, count, dollars_exact, estimate, mean_count, money, number, shares, span,
};
use sim::units::{Money, Span};

#[test]
fn numbers_have_three_digits_and_a_unit_that_fits() {
    let cases = [
        (0.0, Unit::Seconds, "0 s"),
        (1.234_5, Unit::Seconds, "1.23 s"),
        (0.045, Unit::Seconds, "45.0 ms"),
        (0.999_6, Unit::Seconds, "1.00 s"),
        (0.000_999_6, Unit::Seconds, "1.00 ms"),
        (0.000_021, Unit::Seconds, "21.0 µs"),
        (1e-12, Unit::Seconds, "0.00000100 µs"),
        (599.0, Unit::Seconds, "599 s"),
        (3_600.0, Unit::Seconds, "60.0 min"),
        (86_400.0, Unit::Seconds, "24.0 h"),
        (1e9, Unit::Seconds, "277,778 h"),
        (0.0, Unit::Dollars, "$0.00"),
        (-0.0, Unit::Dollars, "$0.00"),
        (0.001_234, Unit::Dollars, "$0.00123"),
        (-0.001_234, Unit::Dollars, "-$0.00123"),
        (35.88, Unit::Dollars, "$35.88"),
        (1e-15, Unit::Dollars, "$0.000000000"),
        (1_234_567.891, Unit::Dollars, "$1,234,567.89"),
        (-1_234.5, Unit::Dollars, "-$1,234.50"),
        (0.0, Unit::Share, "0.0 %"),
        (1.0, Unit::Share, "100.0 %"),
        (0.999_97, Unit::Share, "99.997 %"),
        (0.000_04, Unit::Share, "0.004 %"),
        (1e-8, Unit::Share, "0.000001 %"),
        (1e-16, Unit::Share, "<0.000001 %"),
        (0.632, Unit::Share, "63.2 %"),
        (12.34, Unit::PerSecond, "12.3/s"),
        (f64::INFINITY, Unit::PerSecond, "inf/s"),
    ];
    for (value, unit, text) in cases {
        assert_eq!(number(value, unit), text, "{value} {unit:?}");
    }
}

#[test]
fn intervals_share_unit_and_decimals_with_the_value() {
    let with = Estimate::with_interval;
    let cases = [
        (with(1.23, 1.19, 1.27), Unit::Seconds, "1.23 s (1.19–1.27)"),
        (with(0.95, 0.9, 1.1), Unit::Seconds, "950 ms (900–1,100)"),
        (with(35.88, 35.879_9, 35.880_1), Unit::Seconds, "35.8800 s (35.8799–35.8801)"),
        (with(2.99, 2.99, 2.99), Unit::Dollars, "$2.99 (±0)"),
        (with(-0.01, -0.02, 0.005), Unit::Dollars, "-$0.0100 (-$0.0200 to $0.0050)"),
        (with(0.997, 0.996, 0.998), Unit::Share, "99.7 % (99.6–99.8)"),
        (Estimate::without_interval(2.0, "one"), Unit::Seconds, "2.00 s"),
        (Estimate::absent("none"), Unit::Seconds, "n/a"),
    ];
    for (value, unit, text) in cases {
        assert_eq!(estimate(&value, unit), text);
    }
}

#[test]
fn counts_are_exact_while_they_are_short() {
    let cases = [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (4_560_000_000, "4.56G"),
        (u64::MAX, "18.4E"),
    ];
    for (value, text) in cases {
        assert_eq!(count(value), text, "{value}");
    }
}

#[test]
fn a_mean_count_reads_as_a_count_where_it_is_one() {
    let cases = [
        (0, 10, "0"),
        (3, 10, "0.3"),
        (1, 3, "0.333"),
        (160, 10, "16"),
        (1_005, 10, "100"),
        (9_994, 10, "999"),
        (9_996, 10, "1,000"),
        (12_345, 10, "1,235"),
        (123_456, 10, "12.3k"),
        (7, 1, "7"),
        (7, 0, "7"),
        (u64::MAX, 2, "9.22E"),
    ];
    for (sum, runs, text) in cases {
        assert_eq!(mean_count(sum, runs), text, "{sum} in {runs}");
    }
}

#[test]
fn money_is_rounded_for_people_only() {
    let cases = [
        (Money::ZERO, "$0.00", "0.00"),
        (Money(1), "$0.000000000", "0.000000000001"),
        (dollars(35, 880_000), "$35.88", "35.88"),
        (dollars(35, 885_000), "$35.88", "35.885"),
        (dollars(35, 895_000), "$35.90", "35.895"),
        (dollars(0, 250_000), "$0.25", "0.25"),
        (dollars(0, 1_234), "$0.00123", "0.001234"),
        (dollars(-1_234, -500_000), "-$1,234.50", "-1234.50"),
        (dollars(1_000_000, 1), "$1,000,000.00", "1000000.000001"),
        (
            Money(i128::MIN),
            "-$170,141,183,460,469,231,731,687,303.72",
            "-170141183460469231731687303.715884105728",
        ),
    ];
    for (value, people, exact) in cases {
        assert_eq!(money(value), people);
        assert_eq!(dollars_exact(value), exact);
    }
}

#[test]
fn lengths_of_time_are_round_where_people_chose_them() {
    let cases = [(86_400, "24 h"), (1_800, "30 min"), (90, "90 s"), (0, "0 s"), (5_400, "90 min")];
    for (seconds, text) in cases {
        assert_eq!(span(Span::from_secs(seconds)), text);
    }
    assert_eq!(span(Span::from_millis(1_500)), "1.5 s");
}

/// What is shown as a sum has to add up for whoever checks it.
#[test]
fn addends_sum_to_the_total_as_written() {
    let parts = [0.4449, 0.4449, 0.4449, 1.6653];
    let (shown, total) = addends(&parts, 3.0, Unit::Seconds);
    assert_eq!((shown.join(" "), total), ("0.45 s 0.44 s 0.44 s 1.67 s".into(), "3.00 s".into()));
    assert_eq!(shares(&[1.0 / 3.0; 3]), ["33.4 %", "33.3 %", "33.3 %"]);
    assert_eq!(shares(&[1.25, -0.25]), ["125.0 %", "-25.0 %"]);
    assert_eq!(addends(&[0.0], 0.0, Unit::Seconds).1, "0 s");
    assert_eq!(addends(&[0.0012, 0.0], 0.0012, Unit::Seconds).0, ["1.20 ms", "0.00 ms"]);
}
