//! Pictures before they have a look: what is drawn, in which unit, and what it shows in words.
//!
//! The page draws them to be explored, `plots` draws them as files; both from the same numbers, so
//! neither can show what the other does not.
//!
//! Invariants: a line has as many values as its picture has places on the x axis, which rise; a stack
//! has as many sizes as there are parts; a picture without a single number is not made.
//!
//! Deliberately absent: colours, sizes and files.

mod arms;
mod edge;
mod fleet;
mod frontier;
mod gates;
mod latency;
mod policy;
mod spend;
mod timeline;

use crate::format::{Unit, number};

pub(crate) use arms::{Arm, of_arms};
pub(crate) use edge::edge;
pub(crate) use frontier::frontier;
pub(crate) use gates::gates;

/// What is drawn of a change, in multiples of what is tolerated: further off it is only said.
const FURTHEST: f64 = 3.0;
/// From this ratio on colours stand for ratios instead of differences.
const MANY_TIMES: f64 = 10.0;

/// Pictures that answer one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// What they are about.
    pub title: &'static str,
    /// In the order in which they are read.
    pub pictures: Vec<Picture>,
}

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Name of its files: `latency-cdf`. Each picture of an answer has its own.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// How to read it, and what it is drawn from.
    pub caption: String,
    /// What is drawn.
    pub drawing: Drawing,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// Numbers over an axis.
    Lines(Lines),
    /// Wholes and their parts.
    Stacks(Stacks),
    /// Numbers with their intervals, one below the other.
    Ranges(Ranges),
    /// Numbers in a grid.
    Heat(Heat),
}

/// Numbers in a grid, by two things.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// What the numbers are.
    pub measure: Measure,
    /// What its columns are, and what each is.
    pub columns: (String, Vec<String>),
    /// What its rows are, and what each is.
    pub rows: (String, Vec<String>),
    /// By row, a number for each column, or in a word why there is none.
    pub values: Vec<Vec<Result<f64, String>>>,
}

/// What numbers on an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Seconds of simulated time since the start.
    Clock,
    /// Seconds that something takes.
    Seconds,
    /// US dollars.
    Dollars,
    /// A ratio, shown in per cent.
    Share,
    /// Events per second.
    PerSecond,
    /// How many.
    Count,
}

impl Measure {
    /// How such numbers are written.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Measure::Clock | Measure::Seconds => Unit::Seconds,
            Measure::Dollars => Unit::Dollars,
            Measure::Share => Unit::Share,
            Measure::PerSecond => Unit::PerSecond,
            Measure::Count => Unit::Plain,
        }
    }

    /// A number as tables write it: a count that is not small is whole, halves rounded up.
    pub(crate) fn written(self, value: f64) -> String {
        let is_whole = self == Measure::Count && value.abs() >= 999.5;
        number(if is_whole { value.round() } else { value }, self.unit())
    }
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it counts, with its unit where the ticks do not name it.
    pub label: String,
    /// What its numbers are.
    pub measure: Measure,
    /// Whether equal ratios have equal lengths.
    pub is_logarithmic: bool,
}

/// Numbers over an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Places on the x axis, rising; of points there may be several at one place.
    pub at: Vec<f64>,
    /// What is drawn over them.
    pub lines: Vec<Line>,
    /// Limits and targets.
    pub marks: Vec<Mark>,
    /// Whether single points are drawn and not the way between them.
    pub is_scattered: bool,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// One value for each place; `None`: there is none.
    pub values: Vec<Option<f64>>,
}

/// A number that others are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Whether it lies on the x axis.
    pub on_x: bool,
    /// Where.
    pub at: f64,
    /// What it is.
    pub name: String,
}

/// Wholes and their parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    /// What the sizes are.
    pub measure: Measure,
    /// Names of the parts.
    pub parts: Vec<String>,
    /// Name and sizes of each whole; no size is below zero.
    pub rows: Vec<(String, Vec<f64>)>,
}

/// Numbers with their intervals, one below the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// Left to right.
    pub axis: Axis,
    /// From the top.
    pub rows: Vec<Range>,
}

/// One number with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// What it is.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Ends of its interval.
    pub ends: (f64, f64),
    /// What it must not pass, with the word for how it fared.
    pub limit: Option<f64>,
    /// The verdict, in a word.
    pub verdict: String,
}

impl Picture {
    /// `None` where there is nothing to see.
    pub(crate) fn of(
        name: impl Into<String>,
        title: impl Into<String>,
        caption: impl Into<String>,
        drawing: Drawing,
    ) -> Option<Picture> {
        let is_seen = match &drawing {
            Drawing::Lines(lines) => lines.at.len() > 1 && lines.lines.iter().any(Line::has_values),
            Drawing::Stacks(stacks) => {
                stacks.rows.iter().any(|row| row.1.iter().any(|&size| size > 0.0))
            }
            Drawing::Ranges(ranges) => !ranges.rows.is_empty(),
            Drawing::Heat(heat) => heat.values.iter().flatten().any(Result::is_ok),
        };
        let (name, title, caption) = (name.into(), title.into(), caption.into());
        is_seen.then_some(Picture { name, title, caption, drawing })
    }
}

impl Line {
    fn has_values(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }

    /// Whether there is anything but zeros.
    fn is_busy(&self) -> bool {
        self.values.iter().flatten().any(|&value| value != 0.0)
    }
}

impl Axis {
    pub(crate) fn new(label: impl Into<String>, measure: Measure) -> Axis {
        Axis { label: label.into(), measure, is_logarithmic: false }
    }

    pub(crate) fn logarithmic(self) -> Axis {
        Axis { is_logarithmic: true, ..self }
    }
}

impl Heat {
    /// Steps of colour.
    pub(crate) const STEPS: usize = 7;

    /// Which of [`Heat::STEPS`] steps from the least to the greatest a value is on; by ratios where they
    /// differ much.
    pub(crate) fn step(&self, value: f64) -> usize {
        ((self.standing(value) * Heat::STEPS as f64) as usize).min(Heat::STEPS - 1)
    }

    /// From 0 to 1.
    fn standing(&self, value: f64) -> f64 {
        let all = || self.values.iter().flatten().filter_map(|value| value.as_ref().ok().copied());
        let least = all().fold(f64::INFINITY, f64::min);
        let most = all().fold(f64::NEG_INFINITY, f64::max);
        if most <= least {
            return 0.0;
        }
        if least > 0.0 && most > MANY_TIMES * least {
            return libm::log(value / least) / libm::log(most / least);
        }
        (value - least) / (most - least)
    }
}

impl Ranges {
    /// What is drawn of each row, from its least to its greatest number. Ranges with limits have a scale
    /// each, on which the limits are equally far from zero; others have one that holds all of them and
    /// zero.
    pub(crate) fn spans(&self) -> Vec<(f64, f64)> {
        let around = |rows: &[Range], of: fn(&Range) -> f64| {
            let numbers = rows.iter().flat_map(|row| {
                let all = [row.ends.0, row.ends.1, row.value, row.limit.unwrap_or(0.0)];
                all.map(|number| number / of(row))
            });
            let numbers = numbers.filter(|number| number.is_finite());
            numbers.fold((0.0, 0.0), |(least, most): (f64, f64), n| (least.min(n), most.max(n)))
        };
        let size = |row: &Range| row.limit.map(f64::abs).filter(|&size| size > 0.0);
        if self.rows.iter().any(|row| size(row).is_none()) {
            return vec![around(&self.rows, |_| 1.0); self.rows.len()];
        }
        let (least, most) = around(&self.rows, |row| row.limit.unwrap_or(1.0).abs());
        let (least, most) = (least.max(-FURTHEST), most.min(FURTHEST));
        self.rows.iter().filter_map(size).map(|size| (least * size, most * size)).collect()
    }
}

impl Stacks {
    /// Leaves out parts that no whole has.
    fn without_empty_parts(self) -> Stacks {
        let is_kept =
            |at: usize| self.rows.iter().any(|row| row.1.get(at).is_some_and(|&s| s > 0.0));
        let kept: Vec<usize> = (0..self.parts.len()).filter(|&at| is_kept(at)).collect();
        let sizes = |sizes: &[f64]| kept.iter().map(|&at| sizes[at]).collect();
        Stacks {
            measure: self.measure,
            parts: kept.iter().map(|&at| self.parts[at].clone()).collect(),
            rows: self.rows.iter().map(|(name, all)| (name.clone(), sizes(all))).collect(),
        }
    }
}
