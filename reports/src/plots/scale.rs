//! Axes: where a number stands, and which numbers are written.
//!
//! Invariant: ticks rise, lie on the axis, and are round.
//!
//! Deliberately absent: room. Which ticks have room for their text is for the drawing.

use crate::format::{Unit, number};
use crate::picture::{Axis, Lines, Measure};

/// Seconds that people count in, up to a day; from there on days.
const CLOCK: [f64; 17] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
    10_800.0, 21_600.0, 43_200.0,
];
const DAY: f64 = 86_400.0;
/// From this length on days are counted.
const DAYS: f64 = 2.0 * DAY;
/// Units of times: name, size, and below which greatest number an axis has it, as in tables.
const UNITS: [(&str, f64, f64); 5] = [
    ("µs", 1e-6, 0.999_5e-3),
    ("ms", 1e-3, 0.999_5),
    ("s", 1.0, 600.0),
    ("min", 60.0, 36_000.0),
    ("h", 3_600.0, f64::INFINITY),
];
/// Beyond this many times the highest value a target is not drawn: it would make a line of the rest.
const FAR: f64 = 3.0;
/// Room beyond the highest value, as a part.
const HEADROOM: f64 = 1.08;
/// Room around points on a logarithmic axis, as a ratio.
const AROUND: f64 = 1.15;

/// A stretch of numbers laid over a stretch of the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    measure: Measure,
}

impl Scale {
    /// From left to right of lines.
    pub(super) fn across(lines: &Lines) -> Scale {
        let (least, most) = ends(lines.at.iter().copied());
        let (from, to) = match (lines.x.is_logarithmic, lines.is_scattered) {
            (true, true) => (least / AROUND, most * AROUND),
            (true, false) => (least, most),
            (false, true) => {
                let gap = (most - least) * 0.05;
                (least - gap, most + gap)
            }
            (false, false) if lines.x.measure == Measure::Clock => (0.0, most),
            (false, false) => (least, most),
        };
        Scale::new(from, to, &lines.x)
    }

    /// From bottom to top of lines; their targets are in sight, but not at the price of all else.
    pub(super) fn upwards(lines: &Lines) -> Scale {
        let (least, most) =
            ends(lines.lines.iter().flat_map(|line| &line.values).flatten().copied());
        let is_near = |at: &f64| *at > 0.0 && *at < FAR * most;
        let marks: Vec<f64> =
            lines.marks.iter().filter(|mark| !mark.on_x).map(|mark| mark.at).collect();
        let near = || marks.iter().copied().filter(is_near);
        let (low, top) = (near().fold(least, f64::min), near().fold(most, f64::max));
        let (from, to) = match lines.y.measure {
            _ if lines.y.is_logarithmic => (low / AROUND, top * AROUND),
            Measure::Share if least >= 0.0 && top <= 1.0 => {
                (0.0, if top > 0.7 { 1.02 } else { (top * HEADROOM).max(0.05) })
            }
            _ if lines.is_scattered && low > 0.0 => (low * 0.9, top * HEADROOM),
            _ => ((low * HEADROOM).min(0.0), top * HEADROOM),
        };
        Scale::new(from, to, &lines.y)
    }

    /// Numbers on both sides of zero, and it.
    pub(super) fn around_zero(numbers: impl Iterator<Item = f64>, axis: &Axis) -> Scale {
        let (least, most) = ends(numbers.chain([0.0]));
        let gap = (most - least) * 0.05;
        Scale::new(least - gap, most + gap, axis)
    }

    fn new(from: f64, to: f64, axis: &Axis) -> Scale {
        // One number alone still needs a stretch around it.
        let to = if to > from { to } else { from + from.abs().max(1.0) };
        let is_logarithmic = axis.is_logarithmic && from > 0.0;
        Scale { from, to, is_logarithmic, measure: axis.measure }
    }

    /// Whether a number is on the axis.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.from..=self.to).contains(&value)
    }

    /// Where a number is, between the ends of the stretch of the drawing.
    pub(super) fn place(&self, value: f64, (first, last): (i32, i32)) -> i32 {
        let share = match self.is_logarithmic {
            true => libm::log(value / self.from) / libm::log(self.to / self.from),
            false => (value - self.from) / (self.to - self.from),
        };
        first + (f64::from(last - first) * share).round() as i32
    }

    /// About as many round numbers, but for a logarithmic axis, which has its 1, 2 and 5.
    pub(super) fn ticks(&self, about: usize) -> Vec<f64> {
        let decades = if self.is_logarithmic { self.decades() } else { Vec::new() };
        if decades.len() > 2 {
            return decades;
        }
        let step = self.step((self.to - self.from) / about.max(1) as f64);
        let first = (self.from / step - 1e-9).ceil();
        let all = (0..).map(|n| (first + f64::from(n)) * step);
        // Half a hair beyond the end is rounding.
        all.take_while(|&tick| tick <= self.to + step * 1e-9).collect()
    }

    /// 1, 2 and 5 of each power of ten of the axis's unit.
    fn decades(&self) -> Vec<f64> {
        let (_, size) = self.unit();
        let power = |end: f64| libm::log10(end / size);
        let powers = power(self.from).floor() as i32..=power(self.to).ceil() as i32;
        let all = powers.flat_map(|power| {
            [1.0, 2.0, 5.0].map(|step| step * libm::pow(10.0, power.into()) * size)
        });
        all.filter(|&tick| self.holds(tick)).collect()
    }

    /// The round number at or above `least`.
    fn step(&self, least: f64) -> f64 {
        let is_time = self.measure == Measure::Clock
            || (self.measure == Measure::Seconds && self.to >= 600.0);
        if let Some(&step) = CLOCK.iter().find(|&&step| is_time && step >= least) {
            return step;
        }
        let size = if is_time { DAY } else { 1.0 };
        let power =
            libm::pow(10.0, libm::log10(least / size).floor()).max(if is_time { 1.0 } else { 0.0 });
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power * size);
        steps.into_iter().find(|&step| step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power * size)
    }

    /// The one unit of an axis of times: that of its greatest number.
    fn unit(&self) -> (&'static str, f64) {
        let fits = |unit: &&(&str, f64, f64)| self.measure == Measure::Seconds && self.to < unit.2;
        UNITS.iter().find(fits).map_or(("", 1.0), |unit| (unit.0, unit.1))
    }

    /// Ticks in words, all in one form: `$0.50` beside `$1.00`, `0:30:00` beside `1:00:00`.
    pub(super) fn texts(&self, ticks: &[f64]) -> Vec<String> {
        let are_whole = |by: f64| ticks.iter().all(|tick| is_whole(tick / by));
        let (unit, size) = self.unit();
        let text = |&tick: &f64| match self.measure {
            Measure::Clock if self.to >= DAYS && are_whole(DAY) => {
                format!("{} d", (tick / DAY).round())
            }
            Measure::Clock => clock(tick, self.to),
            Measure::Seconds => format!("{} {unit}", short(tick / size)),
            Measure::Dollars if tick.abs() > NOTHING && !are_whole(1.0) => {
                let fits = |count: &usize| are_whole(libm::pow(0.1, *count as f64));
                let decimals = (2..9).find(fits).unwrap_or(9);
                let sign = if tick < 0.0 { "-" } else { "" };
                format!("{sign}${:.decimals$}", tick.abs())
            }
            measure => trimmed(&number(zeroed(tick), measure.unit())),
        };
        ticks.iter().map(text).collect()
    }
}

/// Below this a tick is what is left of zero by adding steps.
const NOTHING: f64 = 1e-12;

fn zeroed(tick: f64) -> f64 {
    if tick.abs() < NOTHING { 0.0 } else { tick }
}

fn is_whole(number: f64) -> bool {
    (number - number.round()).abs() < 1e-6
}

/// Without hours where the axis has none.
fn clock(tick: f64, most: f64) -> String {
    let all = tick.round() as i64;
    let (hours, minutes, seconds) = (all / 3_600, all / 60, all % 60);
    match most < 3_600.0 {
        true => format!("{minutes}:{seconds:02}"),
        false => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

/// A round number of a unit that the axis names.
fn short(tick: f64) -> String {
    trimmed(&number(zeroed(tick), Unit::Plain))
}

fn ends(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let numbers = numbers.filter(|number| number.is_finite());
    let (least, most) =
        numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), n| (a.min(n), b.max(n)));
    if least <= most { (least, most) } else { (0.0, 1.0) }
}

/// A number without the zeros at its end: `$20`, `0.5 s`.
fn trimmed(text: &str) -> String {
    let Some(point) = text.find('.') else { return text.to_owned() };
    let after = text[point + 1..].find(|c: char| !c.is_ascii_digit());
    let end = after.map_or(text.len(), |after| point + 1 + after);
    let digits = text[..end].trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{}", &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(from: f64, to: f64, measure: Measure) -> Scale {
        Scale::new(from, to, &Axis::new("x", measure))
    }

    fn texts(scale: Scale, about: usize) -> Vec<String> {
        scale.texts(&scale.ticks(about))
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            texts(scale(0.0, 0.97, Measure::Share), 5),
            ["0 %", "20 %", "40 %", "60 %", "80 %"]
        );
        assert_eq!(texts(scale(0.0, 3.3, Measure::Dollars), 4), ["$0", "$1", "$2", "$3"]);
        assert_eq!(
            texts(scale(0.0, 0.0031, Measure::Dollars), 4),
            ["$0", "$0.001", "$0.002", "$0.003"]
        );
        assert_eq!(
            texts(scale(0.0, 5_400.0, Measure::Clock), 4),
            ["0:00:00", "0:30:00", "1:00:00", "1:30:00"]
        );
        assert_eq!(
            texts(scale(-0.3, 0.12, Measure::Share), 5),
            ["-30 %", "-20 %", "-10 %", "0 %", "10 %"]
        );
        let times = Scale { is_logarithmic: true, ..scale(0.4, 30.0, Measure::Seconds) };
        assert_eq!(texts(times, 5), ["0.5 s", "1 s", "2 s", "5 s", "10 s", "20 s"]);
    }

    /// One unit and one form on each axis.
    #[test]
    fn ticks_of_an_axis_are_written_alike() {
        let all: [(f64, Measure, &[&str]); 5] = [
            (1_000.0, Measure::Seconds, &["0 min", "5 min", "10 min", "15 min"]),
            (1.7, Measure::Dollars, &["$0", "$0.50", "$1.00", "$1.50"]),
            (0.0017, Measure::Dollars, &["$0", "$0.0005", "$0.0010", "$0.0015"]),
            (1e6, Measure::Clock, &["0 d", "5 d", "10 d"]),
            (1_700.0, Measure::Clock, &["0:00", "10:00", "20:00"]),
        ];
        for (to, measure, wanted) in all {
            assert_eq!(texts(scale(0.0, to, measure), 5), wanted);
        }
        let long = Scale { is_logarithmic: true, ..scale(300.0, 7_000.0, Measure::Seconds) };
        assert_eq!(texts(long, 5), ["5 min", "10 min", "20 min", "50 min", "100 min"]);
    }

    #[test]
    fn ends_stand_at_the_ends() {
        for is_logarithmic in [false, true] {
            let scale = Scale { is_logarithmic, ..scale(0.5, 8.0, Measure::Seconds) };
            assert_eq!((scale.place(0.5, (100, 20)), scale.place(8.0, (100, 20))), (100, 20));
        }
        let logarithmic = Scale { is_logarithmic: true, ..scale(0.5, 8.0, Measure::Seconds) };
        assert_eq!(logarithmic.place(2.0, (0, 80)), 40, "the middle of ratios");
    }
}
