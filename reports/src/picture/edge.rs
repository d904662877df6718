//! How latency grows with traffic, up to the edge.

use super::{Axis, Drawing, Line, Lines, Mark, Measure, Picture, Topic};
use experiments::headroom::Headroom;
use experiments::knee::knee;
use experiments::{Estimate, ObjectiveResult};

/// Kinds of task that are drawn: those with the longest p95 first.
const MOST_TASKS: usize = 4;
/// From this ratio on an axis of latencies is logarithmic.
const WIDE: f64 = 20.0;

/// The p95 at each factor of traffic that was tried.
pub(crate) fn edge(headroom: &Headroom, objectives: &[ObjectiveResult]) -> Option<Topic> {
    let at: Vec<f64> = headroom.tried.iter().map(|tried| tried.factor).collect();
    let mut lines: Vec<Line> = Vec::new();
    for (name, _) in headroom.tried.iter().flat_map(|tried| &tried.p95) {
        if lines.iter().all(|line| line.name != *name) {
            let p95 = |p95: &(String, Estimate)| {
                if p95.0 == *name { p95.1.value } else { None }
            };
            let values = headroom.tried.iter().map(|tried| tried.p95.iter().find_map(p95));
            lines.push(Line { name: name.clone(), values: values.collect() });
        }
    }
    lines.retain(Line::has_values);
    lines.sort_by(|a, b| largest(b).total_cmp(&largest(a)));
    lines.truncate(MOST_TASKS);
    let marks = marks(headroom, objectives, &lines);
    let all = || lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    let y = Axis::new("p95 of a succeeded task", Measure::Seconds);
    let is_wide = all().fold(0.0, f64::max) > WIDE * all().fold(f64::INFINITY, f64::min);
    let x = Axis::new("traffic, as a multiple of today's", Measure::Count);
    let y = if is_wide { y.logarithmic() } else { y };
    let lines = Lines { x, y, at, lines, marks, is_scattered: false };
    let picture = Picture::of(
        "p95-by-load",
        "How the p95 grows with traffic",
        "Each place is a factor that was simulated, all under the same random numbers, some with few \
         replications; where the line ends before the axis does, the system is overloaded. The knee is \
         the factor with the most traffic per second of p95 (Kleinrock's power).",
        Drawing::Lines(lines),
    )?;
    Some(Topic { title: "How far it is to the edge", pictures: vec![picture] })
}

fn largest(line: &Line) -> f64 {
    line.values.iter().flatten().copied().fold(0.0, f64::max)
}

/// Today, the knee, the edge, and what the tasks that are drawn have to keep.
fn marks(headroom: &Headroom, objectives: &[ObjectiveResult], lines: &[Line]) -> Vec<Mark> {
    let on_x = |name: String, at| Mark { on_x: true, at, name };
    let mut marks = vec![on_x("today".to_owned(), 1.0)];
    if let Some(line) = lines.first() {
        let factors = headroom.tried.iter().map(|tried| tried.factor);
        let points = factors.zip(&line.values).filter_map(|(at, value)| Some((at, (*value)?)));
        let knee = knee(&points.collect::<Vec<_>>());
        marks.extend(knee.map(|at| on_x("knee".to_owned(), at)));
    }
    if let (Some(at), Some(path)) = (headroom.factor.value, &headroom.objective) {
        marks.push(on_x(format!("{path} breaks"), at));
    }
    let is_drawn = |judged: &&ObjectiveResult| {
        let task = judged.objective.name.strip_suffix(".p95_latency");
        task.is_some_and(|task| lines.iter().any(|line| line.name == task))
    };
    let p95 = objectives.iter().filter(is_drawn);
    marks.extend(p95.map(|judged| Mark {
        on_x: false,
        at: judged.objective.target,
        name: format!("{} {}", judged.objective.name, judged.objective.text),
    }));
    marks
}
