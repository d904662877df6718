//! Pictures as parts of a page: lines as data for the script that draws them, everything else as markup.
//!
//! Invariant: whatever is drawn stands beside the drawing as a table, or is put there by the script
//! from the same data when somebody asks for it.

use super::sheet;
use crate::contrast::signed;
use crate::format::plain;
use crate::picture::{
    Axis, Drawing, Heat, Line, Lines, Mark, Measure, Picture, Range, Ranges, Stacks,
};
use crate::plots::{HATCHES, SERIES};
use serde::Serialize;

/// Room that a range leaves on either side, as a part of the whole axis.
const MARGIN: f64 = 0.05;

/// A picture with its number on the page.
pub(super) struct Figure<'a> {
    pub(super) number: usize,
    pub(super) picture: &'a Picture,
}

/// A part of a stack, ready to be shown.
pub(super) struct Piece {
    /// Classes of its colour.
    pub(super) look: String,
    pub(super) name: String,
    /// Per cent of the longest whole.
    pub(super) width: f64,
    pub(super) value: String,
}

/// A whole, ready to be shown.
pub(super) struct Whole<'a> {
    pub(super) name: &'a str,
    pub(super) total: String,
    pub(super) pieces: Vec<Piece>,
}

/// A range, ready to be shown: places in per cent of the axis.
pub(super) struct Bar<'a> {
    pub(super) range: &'a Range,
    pub(super) from: f64,
    pub(super) width: f64,
    /// `None`: beyond the end.
    pub(super) value: Option<f64>,
    pub(super) limit: Option<f64>,
    /// Whether it goes on beyond the left or the right end.
    pub(super) is_beyond: (bool, bool),
    pub(super) zero: f64,
    pub(super) text: String,
    pub(super) ends_text: String,
    pub(super) limit_text: String,
}

/// A cell of a grid: the step of its colour, if it has one, and its text.
pub(super) type HeatCell = (Option<usize>, String);

/// A part of stacks: the classes of its colour, its name, and its size in each whole by name.
pub(super) type Part<'a> = (String, &'a str, Vec<(&'a str, String)>);

/// Lines as the script reads them.
#[derive(Serialize)]
struct Data {
    title: String,
    x: AxisData,
    y: AxisData,
    at: Vec<f64>,
    lines: Vec<LineData>,
    marks: Vec<MarkData>,
    scattered: bool,
}

#[derive(Serialize)]
struct AxisData {
    label: String,
    measure: &'static str,
    log: bool,
}

#[derive(Serialize)]
struct LineData {
    name: String,
    values: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct MarkData {
    x: bool,
    at: f64,
    name: String,
}

impl<'a> Figure<'a> {
    pub(super) fn new(number: usize, picture: &'a Picture) -> Figure<'a> {
        Figure { number, picture }
    }

    /// The data of lines as JSON that cannot end its element; `None` for other drawings.
    pub(super) fn data(&self) -> Option<String> {
        let Drawing::Lines(lines) = &self.picture.drawing else { return None };
        let text = serde_json::to_string(&data(&self.picture.title, lines)).unwrap_or_default();
        Some(text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028"))
    }

    /// The numbers of any other drawing as a file, as JSON text.
    pub(super) fn csv(&self) -> Option<String> {
        sheet::csv(self.picture)
    }

    /// Names of the lines, for those who do not see them.
    pub(super) fn spoken(&self) -> String {
        match &self.picture.drawing {
            Drawing::Lines(lines) => {
                let names: Vec<&str> = lines.lines.iter().map(|line| line.name.as_str()).collect();
                format!("{} over {}: {}", lines.y.label, lines.x.label, names.join("; "))
            }
            Drawing::Stacks(_) | Drawing::Ranges(_) | Drawing::Heat(_) => String::new(),
        }
    }

    pub(super) fn is_stacked(&self) -> bool {
        self.stacks().is_some()
    }

    /// Colour and name of each part of a stack, and its size in each whole.
    pub(super) fn legend(&self) -> Vec<Part<'a>> {
        let Some(stacks) = self.stacks() else { return Vec::new() };
        let sizes = |at: usize| {
            let sizes = stacks.rows.iter().filter_map(|row| Some((&row.0, row.1.get(at)?)));
            sizes.map(|(whole, &size)| (whole.as_str(), text(size, stacks.measure))).collect()
        };
        stacks
            .parts
            .iter()
            .enumerate()
            .map(|(at, name)| (look(at), name.as_str(), sizes(at)))
            .collect()
    }

    fn stacks(&self) -> Option<&'a Stacks> {
        match &self.picture.drawing {
            Drawing::Stacks(stacks) => Some(stacks),
            Drawing::Lines(_) | Drawing::Ranges(_) | Drawing::Heat(_) => None,
        }
    }

    /// The wholes of a stack.
    pub(super) fn wholes(&self) -> Vec<Whole<'a>> {
        let Some(stacks) = self.stacks() else { return Vec::new() };
        let total = |sizes: &[f64]| sizes.iter().sum::<f64>();
        let longest = stacks.rows.iter().map(|row| total(&row.1)).fold(f64::MIN_POSITIVE, f64::max);
        let piece = |(at, (name, &size)): (usize, (&String, &f64))| Piece {
            look: look(at),
            name: name.clone(),
            width: rounded(size / longest * 100.0),
            value: text(size, stacks.measure),
        };
        let rows = stacks.rows.iter();
        rows.map(|(name, sizes)| Whole {
            name,
            total: text(total(sizes), stacks.measure),
            pieces: stacks.parts.iter().zip(sizes).enumerate().map(piece).collect(),
        })
        .collect()
    }

    pub(super) fn ranges(&self) -> Option<&'a Ranges> {
        match &self.picture.drawing {
            Drawing::Ranges(ranges) => Some(ranges),
            Drawing::Lines(_) | Drawing::Stacks(_) | Drawing::Heat(_) => None,
        }
    }

    pub(super) fn heat(&self) -> Option<&'a Heat> {
        match &self.picture.drawing {
            Drawing::Heat(heat) => Some(heat),
            Drawing::Lines(_) | Drawing::Stacks(_) | Drawing::Ranges(_) => None,
        }
    }

    /// The rows of a grid: name and cells.
    pub(super) fn cells(&self) -> Vec<(&'a str, Vec<HeatCell>)> {
        let Some(heat) = self.heat() else { return Vec::new() };
        let cell = |value: &Result<f64, String>| match value {
            Ok(value) => (Some(heat.step(*value)), text(*value, heat.measure)),
            Err(why) => (None, why.clone()),
        };
        let rows = heat.rows.1.iter().zip(&heat.values);
        rows.map(|(name, row)| (name.as_str(), row.iter().map(cell).collect())).collect()
    }

    /// Whether any range has a limit, and so a sign and a verdict.
    pub(super) fn is_limited(&self) -> bool {
        self.ranges().is_some_and(|ranges| ranges.rows.iter().any(|row| row.limit.is_some()))
    }

    /// The rows of ranges, each on its part of the axis.
    pub(super) fn bars(&self) -> Vec<Bar<'a>> {
        let Some(ranges) = self.ranges() else { return Vec::new() };
        let measure = ranges.axis.measure;
        let shown = |value: f64| match self.is_limited() {
            true => signed(value, measure.unit()),
            false => text(value, measure),
        };
        let bar = |(range, (least, most)): (&'a Range, (f64, f64))| {
            let width = (most - least).max(f64::MIN_POSITIVE) * (1.0 + 2.0 * MARGIN);
            let from = least - width * MARGIN / (1.0 + 2.0 * MARGIN);
            let place = |value: f64| rounded(((value - from) / width * 100.0).clamp(0.0, 100.0));
            Bar {
                from: place(range.ends.0),
                width: rounded(place(range.ends.1) - place(range.ends.0)),
                value: (from..=from + width).contains(&range.value).then(|| place(range.value)),
                limit: range.limit.map(place),
                is_beyond: (range.ends.0 < from, range.ends.1 > from + width),
                zero: place(0.0),
                text: shown(range.value),
                ends_text: format!("{} to {}", shown(range.ends.0), shown(range.ends.1)),
                limit_text: range.limit.map_or_else(String::new, shown),
                range,
            }
        };
        ranges.rows.iter().zip(ranges.spans()).map(bar).collect()
    }
}

impl Bar<'_> {
    /// The class of the verdict.
    pub(super) fn standing(&self) -> &'static str {
        match self.range.verdict.as_str() {
            "pass" => "met",
            "fail" => "missed",
            _ => "open",
        }
    }
}

fn data(title: &str, lines: &Lines) -> Data {
    let axis = |axis: &Axis| AxisData {
        label: plain(&axis.label),
        measure: key(axis.measure),
        log: axis.is_logarithmic,
    };
    let line = |line: &Line| LineData {
        name: plain(&line.name),
        values: line.values.iter().map(|value| value.map(short)).collect(),
    };
    let mark = |mark: &Mark| MarkData { x: mark.on_x, at: short(mark.at), name: plain(&mark.name) };
    Data {
        title: plain(title),
        x: axis(&lines.x),
        y: axis(&lines.y),
        at: lines.at.iter().map(|&at| short(at)).collect(),
        lines: lines.lines.iter().map(line).collect(),
        marks: lines.marks.iter().map(mark).collect(),
        scattered: lines.is_scattered,
    }
}

/// Six significant digits: more cannot be seen, and the file is a third of the size.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// Hundredths of a per cent.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn key(measure: Measure) -> &'static str {
    match measure {
        Measure::Clock => "clock",
        Measure::Seconds => "seconds",
        Measure::Dollars => "dollars",
        Measure::Share => "share",
        Measure::PerSecond => "per_second",
        Measure::Count => "count",
    }
}

/// A number as tables write it.
fn text(value: f64, measure: Measure) -> String {
    measure.written(value)
}

/// The classes of a part: its colour, and from the first that comes twice on how it is hatched.
fn look(part: usize) -> String {
    match (part % SERIES.len(), part / SERIES.len()) {
        (color, 0) => format!("c{color}"),
        (color, round) => format!("c{color} hatch{}", (round - 1) % HATCHES + 1),
    }
}
