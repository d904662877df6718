//! Windows of the time series as places on an axis.
//!
//! Neighbouring windows are put together until there are at most [`MOST`] of them: more cannot be told
//! apart on a screen.

use super::arms::Arm;
use super::{Axis, Drawing, Line, Lines, Mark, Measure, Picture};
use sim::metrics::Series;
use sim::units::PS_PER_SEC;

/// Places on the axis of time at most.
const MOST: usize = 240;

/// Windows of the longest arm, put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    /// Windows in a place.
    group: usize,
    places: usize,
    /// Seconds of a window.
    width: f64,
}

/// What one place has, from the windows `from..to`.
pub(super) struct Place {
    pub(super) windows: std::ops::Range<usize>,
    /// Seconds of it.
    pub(super) seconds: f64,
}

impl Timeline {
    pub(super) fn of(arms: &[Arm<'_>]) -> Timeline {
        let of = |series: &Series| (series.windows.len(), series.width.as_secs_f64());
        let longest = arms.iter().map(|arm| of(&arm.result.series)).max_by_key(|of| of.0);
        let (windows, width) = longest.unwrap_or_default();
        let group = windows.div_ceil(MOST).max(1);
        Timeline { group, places: windows.div_ceil(group), width }
    }

    /// The ends of the places, in seconds: what is drawn there happened before.
    pub(super) fn at(&self) -> Vec<f64> {
        (1..=self.places).map(|place| (place * self.group) as f64 * self.width).collect()
    }

    /// One value for each place, from the windows in it.
    pub(super) fn values(&self, value: impl Fn(&Place) -> Option<f64>) -> Vec<Option<f64>> {
        let place = |number: usize| {
            let windows = number * self.group..(number + 1) * self.group;
            Place { seconds: self.group as f64 * self.width, windows }
        };
        (0..self.places).map(|number| value(&place(number))).collect()
    }

    /// What windows hold in words.
    pub(super) fn width_text(&self) -> String {
        let whole = sim::units::Span((self.group as f64 * self.width * PS_PER_SEC as f64) as u64);
        crate::format::span(whole)
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
