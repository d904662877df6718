//! Spend against p95 of the plans that were tried.

use super::{Axis, Drawing, Line, Lines, Mark, Measure, Picture, Topic};
use crate::plan::own;
use experiments::planner::{Planned, Point};
use experiments::trial::Of;
use std::collections::BTreeSet;

/// Points that have names of their own: more colours cannot be told apart.
const MOST_NAMES: usize = 8;
/// How a point fares.
const KEEPS: &str = "keeps every objective";
const MAY_NOT: &str = "does not, or not for sure";

/// Changes by the ends of their keys, where these differ.
fn short(changes: &[String]) -> Vec<String> {
    let end = |change: &String| {
        let (key, value) = change.split_once('=').unwrap_or((change, ""));
        format!("{}={value}", key.rsplit('.').next().unwrap_or(key))
    };
    let ends: Vec<String> = changes.iter().map(end).collect();
    let keys: BTreeSet<&str> = ends.iter().filter_map(|end| end.split('=').next()).collect();
    if keys.len() == changes.len() { ends } else { changes.to_vec() }
}

/// What more money buys.
pub(crate) fn frontier(planned: &Planned) -> Vec<Topic> {
    let number = |point: &Point| Some((point.trial.spend_per_month.value?, point.p95.value?));
    let mut points: Vec<(f64, f64, &Point)> = planned
        .frontier
        .iter()
        .filter_map(|point| number(point).map(|(spend, p95)| (spend, p95, point)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let kind = |point: &Point| match point.trial.is_met(Of::All) {
        true => KEEPS,
        false => MAY_NOT,
    };
    // Few points have names of their own.
    let name = |point: &Point| match points.len() {
        ..=MOST_NAMES => format!("{}: {}", own(&short(&point.changes)), kind(point)),
        _ => kind(point).to_owned(),
    };
    let mut names: Vec<String> = points.iter().map(|point| name(point.2)).collect();
    if points.len() > MOST_NAMES {
        names = [KEEPS, MAY_NOT].map(str::to_owned).into();
    }
    let line = |line: String| Line {
        values: points.iter().map(|point| (name(point.2) == line).then_some(point.1)).collect(),
        name: line,
    };
    let best = planned.best.as_ref().and_then(|best| best.trial.spend_per_month.value);
    let mark = |at| Mark { on_x: true, at, name: "the plan".to_owned() };
    let mut lines: Vec<Line> = names.into_iter().map(line).collect();
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
