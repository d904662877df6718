//! Where the parts of a picture of lines are.
//!
//! Invariants: names of marks do not touch, nor do names of points; the plot is as high as the names of
//! its lines need.

use crate::format::plain;
use crate::picture::Lines;
use crate::plots::scale::Scale;
use crate::plots::sheet::Room;
use crate::plots::{LEADING, SMALL, face};

/// Height of the plot, if its names need no more.
const PLOT: i32 = 560;
/// Names of lines get at most so much.
const NAMES: i32 = 400;
/// Between the plot and the names beside it: room for what leads to them.
pub(super) const LEAD: i32 = 44;
/// Between names beside each other.
const APART: i32 = 36;
/// Below the plot: ticks and the name of the axis.
const FOOT: i32 = 2 * LEADING + 24;

/// A name beside the plot: of a line, or of a mark on the y axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    /// Number of the line; `None`: a mark.
    pub(super) line: Option<usize>,
    pub(super) words: Vec<String>,
    /// What it stands for is so high: at its last value, which is at this `x`.
    pub(super) x: i32,
    pub(super) y: i32,
}

/// The name of a mark on the x axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Above {
    pub(super) text: String,
    pub(super) left: i32,
    /// Where the mark is.
    pub(super) x: i32,
    pub(super) y: i32,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) room: Room,
    pub(super) plot: Room,
    pub(super) beside: Vec<Beside>,
    pub(super) above: Vec<Above>,
    /// Of points: left, top, and name.
    pub(super) legend: Vec<(i32, i32, String)>,
}

impl Layout {
    /// With the left top at 0, 0.
    pub(super) fn of(lines: &Lines) -> Layout {
        let (x, y) = (Scale::across(lines), Scale::upwards(lines));
        let ticks = y.texts(&y.ticks(6));
        let left = ticks.iter().map(|text| face::width(text, SMALL)).max().unwrap_or(0) + 14;
        let named = names_beside(lines, &y);
        let widest = named.iter().flat_map(|one| &one.1).map(|text| face::width(text, SMALL)).max();
        let right = Room::WIDTH - widest.map_or(20, |widest| widest + LEAD);
        let legend = if lines.is_scattered { legend(lines) } else { Vec::new() };
        let top = legend.last().map_or(LEADING, |last| last.1 + LEADING) + 10;
        let mut above = names_above(lines, &x, (left, right));
        let rows = above.iter().map(|name| name.y / LEADING + 1).max().unwrap_or(0);
        above.iter_mut().for_each(|name| name.y += top);
        let top = top + rows * LEADING + 6;
        let needed: i32 = named.iter().map(|one| one.1.len() as i32 * LEADING).sum();
        let plot = Room { left, top, right, bottom: top + needed.max(PLOT) };
        let beside = named.into_iter().map(|(line, words, at)| {
            let (at_x, at_y) = at.unwrap_or((f64::NAN, f64::NAN));
            let x = if line.is_some() { x.place(at_x, (left, right)) } else { right };
            Beside { line, words, x, y: y.place(at_y, (plot.bottom, plot.top)) }
        });
        let beside = beside.collect();
        let room = Room { left: 0, top: 0, right: Room::WIDTH, bottom: plot.bottom + FOOT };
        Layout { x, y, room, plot, beside, above, legend }
    }

    pub(super) fn height(&self) -> i32 {
        self.room.bottom
    }

    /// The same, moved into a room.
    pub(super) fn at(mut self, room: Room) -> Layout {
        let (right, down) = (room.left, room.top);
        self.plot = Room {
            left: self.plot.left + right,
            right: self.plot.right + right,
            top: self.plot.top + down,
            bottom: self.plot.bottom + down,
        };
        self.beside.iter_mut().for_each(|name| (name.x, name.y) = (name.x + right, name.y + down));
        for name in &mut self.above {
            (name.x, name.left, name.y) = (name.x + right, name.left + right, name.y + down);
        }
        self.legend.iter_mut().for_each(|name| (name.0, name.1) = (name.0 + right, name.1 + down));
        self.room = room;
        self
    }

    /// Where a point is.
    pub(super) fn place(&self, x: f64, y: f64) -> (i32, i32) {
        let Room { left, right, top, bottom } = self.plot;
        (self.x.place(x, (left, right)), self.y.place(y, (bottom, top)))
    }
}

/// A name for beside the plot, and where what it names ends.
type Named = (Option<usize>, Vec<String>, Option<(f64, f64)>);

/// Names of lines that have a value, and of the marks on the y axis that are in sight.
fn names_beside(lines: &Lines, y: &Scale) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    if !lines.is_scattered {
        for (at, line) in lines.lines.iter().enumerate() {
            let last = lines.at.iter().zip(&line.values).rev().find_map(|(&x, y)| Some((x, (*y)?)));
            if last.is_some() {
                all.push((Some(at), face::wrapped(&plain(&line.name), SMALL, NAMES), last));
            }
        }
    }
    for mark in lines.marks.iter().filter(|mark| !mark.on_x && y.holds(mark.at)) {
        all.push((None, face::wrapped(&plain(&mark.name), SMALL, NAMES), Some((0.0, mark.at))));
    }
    all
}

/// Names of the marks on the x axis, in rows so that none touches another; `y` is from the first row.
fn names_above(lines: &Lines, x: &Scale, (from, to): (i32, i32)) -> Vec<Above> {
    let mut marks: Vec<_> =
        lines.marks.iter().filter(|mark| mark.on_x && x.holds(mark.at)).collect();
    marks.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut ends: Vec<i32> = Vec::new();
    let mut all = Vec::new();
    for mark in marks {
        let text = face::shortened(&plain(&mark.name), SMALL, to - from);
        let wide = face::width(&text, SMALL);
        let place = x.place(mark.at, (from, to));
        let left = (place - wide / 2).clamp(from, (Room::WIDTH - wide).max(from));
        let row = ends.iter().position(|&end| end < left).unwrap_or(ends.len());
        ends.resize(ends.len().max(row + 1), 0);
        ends[row] = left + wide + APART;
        all.push(Above { text, left, x: place, y: row as i32 * LEADING });
    }
    // The first ones are at the bottom, next to the plot: rows from the end.
    let rows = ends.len() as i32;
    all.iter_mut().for_each(|name| name.y = (rows - 1) * LEADING - name.y);
    all
}

/// Names of points, side by side below the name of the y axis.
fn legend(lines: &Lines) -> Vec<(i32, i32, String)> {
    let (mut left, mut top) = (0, LEADING + 4);
    let mut all = Vec::new();
    for line in &lines.lines {
        let text = face::shortened(&plain(&line.name), SMALL, Room::WIDTH - APART);
        let wide = face::width(&text, SMALL) + APART + 30;
        if left > 0 && left + wide > Room::WIDTH {
            (left, top) = (0, top + LEADING);
        }
        all.push((left, top, text));
        left += wide;
    }
    all
}
