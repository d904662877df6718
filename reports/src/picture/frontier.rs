//! Spend against p95 of the plans that were tried.

use super::{Axis, Drawing, Line, Lines, Mark, Measure, Picture, Topic};
use experiments::planner::{Planned, Point};
use experiments::trial::Of;

/// What more money buys.
pub(crate) fn frontier(planned: &Planned) -> Vec<Topic> {
    let number = |point: &Point| Some((point.trial.spend_per_month.value?, point.p95.value?));
    let mut points: Vec<(f64, f64, bool)> = planned
        .frontier
        .iter()
        .filter_map(|point| {
            number(point).map(|(spend, p95)| (spend, p95, point.trial.is_met(Of::All)))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line = |name: &str, met: bool| Line {
        name: name.to_owned(),
        values: points.iter().map(|point| (point.2 == met).then_some(point.1)).collect(),
    };
    let best = planned.best.as_ref().and_then(|best| best.trial.spend_per_month.value);
    let mark = |at| Mark { on_x: true, at, name: "the plan".to_owned() };
    let mut lines =
        vec![line("keeps every objective", true), line("does not, or not for sure", false)];
    lines.retain(Line::has_values);
    let lines = Lines {
        x: Axis::new("spend per month", Measure::Dollars),
        y: Axis::new(format!("p95 of {}", planned.task), Measure::Seconds),
        at: points.iter().map(|point| point.0).collect(),
        lines,
        marks: best.map(mark).into_iter().collect(),
        is_scattered: true,
    };
    let picture = Picture::of(
        "frontier",
        "What more money buys",
        "Each point is a combination that was simulated at least three times, and none is both cheaper \
         and faster; further down and further left is better.",
        Drawing::Lines(lines),
    );
    let pictures: Vec<Picture> = picture.into_iter().collect();
    let topic = Topic { title: "Cost and latency", pictures };
    if topic.pictures.is_empty() { Vec::new() } else { vec![topic] }
}
