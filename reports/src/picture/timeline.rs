//! Windows of the time series as places on an axis.
//!
//! Neighbouring windows are put together until there are at most [`MOST`] of them: more cannot be told
//! apart on a screen. Arms with windows of their own width share the axis: each window is where it
//! begins, and rates are over the time that the windows of a place take.

use super::arms::Arm;
use super::{Axis, Drawing, Line, Lines, Mark, Measure, Picture};
use sim::units::Span;
use std::ops::Range;

/// Places on the axis of time at most.
const MOST: u64 = 240;

/// An axis of time with places of equal length up to the longest horizon; the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    /// Of a place: a multiple of the width of the widest windows.
    length: Span,
    horizon: Span,
}

/// What one place has of an arm: its windows that begin there, and the time they take.
pub(super) struct Place {
    windows: Range<usize>,
    from: Span,
    to: Span,
}

impl Timeline {
    pub(super) fn of(arms: &[Arm<'_>]) -> Timeline {
        let longest = |of: fn(&Arm<'_>) -> Span| arms.iter().map(of).max().unwrap_or_default();
        let horizon = longest(|arm| arm.result.horizon);
        let width = longest(|arm| arm.result.series.width).0.max(1);
        let group = horizon.0.div_ceil(width).div_ceil(MOST);
        Timeline { length: Span(width.saturating_mul(group.max(1))), horizon }
    }

    fn places(&self) -> u64 {
        self.horizon.0.div_ceil(self.length.0)
    }

    fn end(&self, place: u64) -> Span {
        Span(self.length.0.saturating_mul(place + 1)).min(self.horizon)
    }

    /// The ends of the places, in seconds: what is drawn there happened before.
    pub(super) fn at(&self) -> Vec<f64> {
        (0..self.places()).map(|place| self.end(place).as_secs_f64()).collect()
    }

    /// One value for each place, from the windows of an arm in it; `None` where it has none.
    pub(super) fn values(
        &self,
        arm: &Arm<'_>,
        value: impl Fn(&Place) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let series = &arm.result.series;
        let width = series.width.0.max(1);
        let bounded = |number: u64| number.min(series.windows.len() as u64);
        let place = |number: u64| {
            let begun = |time: u64| bounded(time.div_ceil(width));
            let windows = begun(number * self.length.0)..begun(self.end(number).0);
            let at = |window: u64| Span(window.saturating_mul(width)).min(arm.result.horizon);
            let (from, to) = (at(windows.start), at(windows.end));
            let windows = windows.start as usize..windows.end as usize;
            (from < to).then_some(Place { windows, from, to })
        };
        (0..self.places()).map(|number| value(&place(number)?)).collect()
    }

    /// How long a place is, in words.
    pub(super) fn width_text(&self) -> String {
        crate::format::span(self.length)
    }

    /// A picture over time; warm-ups are marked.
    pub(super) fn picture(
        &self,
        arms: &[Arm<'_>],
        (name, title, caption): (&str, &str, &str),
        y: Axis,
        lines: Vec<Line>,
        mut marks: Vec<Mark>,
    ) -> Option<Picture> {
        let warm_up = arms.iter().map(|arm| arm.result.warm_up).max().unwrap_or_default();
        if warm_up.0 > 0 {
            let name = "end of the warm-up".to_owned();
            marks.push(Mark { on_x: true, at: warm_up.as_secs_f64(), name });
        }
        let x = Axis::new("simulated time", Measure::Clock);
        let lines = Lines { x, y, at: self.at(), lines, marks, is_scattered: false };
        Picture::of(name, title, caption, Drawing::Lines(lines))
    }
}

impl Place {
    /// Seconds that its windows take.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds_after(Span(0))
    }

    /// The part of them after an instant.
    pub(super) fn seconds_after(&self, from: Span) -> f64 {
        Span(self.to.0.saturating_sub(from.max(self.from).0)).as_secs_f64()
    }

    /// The windows of it that there are.
    pub(super) fn of<'w, W>(&self, windows: &'w [W]) -> &'w [W] {
        let to = self.windows.end.min(windows.len());
        &windows[self.windows.start.min(to)..to]
    }

    /// The sum of what its windows have over all replications; `None` without windows.
    pub(super) fn sum<W>(&self, windows: &[W], of: impl Fn(&W) -> f64) -> Option<f64> {
        let all = self.of(windows);
        (!all.is_empty()).then(|| all.iter().map(of).sum())
    }
}
