//! How long tasks take: their distribution, their quantiles over time, and what the p95 is made of.

use super::arms::Arm;
use super::timeline::{Place, Timeline};
use super::{Axis, Drawing, Line, Lines, Mark, Measure, Picture, Stacks};
use crate::names::DRIVER_WORDS;
use experiments::TaskResult;
use experiments::stability::Verdict;
use sim::metrics::BandCounts;
use sim::units::Span;

/// Kinds of task that are drawn, those with the most tasks first.
const MOST_TASKS: usize = 4;
/// Places on the axis of the distribution.
const PLACES: usize = 200;
/// Tasks of a place that has a p95: so many that one in twenty is one.
const LEAST_TASKS: u64 = 20;

/// The kinds of task that are drawn of an arm.
fn tasks<'a>(arm: &Arm<'a>) -> Vec<&'a TaskResult> {
    let mut tasks: Vec<&TaskResult> =
        arm.result.tasks.iter().filter(|task| task.histogram.count() > 0).collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task.counts.arrived));
    tasks.truncate(MOST_TASKS);
    tasks
}

/// Whether the latencies of an arm say how long the run was, and nothing else.
fn is_void(arm: &Arm<'_>) -> bool {
    arm.result.stability.verdict.is_some_and(Verdict::voids_latency)
}

/// What is said where not all kinds of task are drawn.
fn left_out(arms: &[Arm<'_>]) -> String {
    let of = |arm: &Arm<'_>| arm.result.tasks.iter().filter(|t| t.histogram.count() > 0).count();
    match arms.iter().map(of).max() {
        Some(all) if all > MOST_TASKS => {
            format!("; the {MOST_TASKS} of {all} kinds of task that arrive most often")
        }
        _ => String::new(),
    }
}

/// The SLO of each kind of task, each once.
fn slos(arms: &[Arm<'_>], on_x: bool) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let many = arms.iter().any(|arm| tasks(arm).len() > 1);
    for task in arms.iter().flat_map(tasks) {
        let Some(slo) = task.latency_slo else { continue };
        let name = if many { format!("SLO of {}", task.name) } else { "SLO".to_owned() };
        let mark = Mark { on_x, at: slo.as_secs_f64(), name };
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    marks
}

/// The share of succeeded tasks that take at most so long.
pub(super) fn distribution(arms: &[Arm<'_>]) -> Option<Picture> {
    let all: Vec<(&Arm<'_>, &TaskResult)> =
        arms.iter().flat_map(|arm| tasks(arm).into_iter().map(move |task| (arm, task))).collect();
    // From where hardly any task has ended to where hardly any has not.
    let ends = |p: f64| all.iter().filter_map(move |(_, task)| task.histogram.quantile_secs(p));
    let least = ends(0.001).fold(f64::INFINITY, f64::min).max(1e-6);
    let most = ends(0.999).fold(0.0, f64::max).max(least * 1.01);
    let step = libm::log(most / least) / (PLACES - 1) as f64;
    let at: Vec<f64> = (0..PLACES).map(|place| least * libm::exp(step * place as f64)).collect();
    let line = |(arm, task): &(&Arm<'_>, &TaskResult)| {
        let all = task.histogram.count() as f64;
        let share = |&secs: &f64| {
            Some((task.histogram.count_at_most(Span::from_secs_f64(secs)) / all).clamp(0.0, 1.0))
        };
        Line { name: arm.named(&task.name, arms.len()), values: at.iter().map(share).collect() }
    };
    let mut marks = slos(arms, true);
    let void: Vec<&Arm<'_>> = arms.iter().filter(|arm| is_void(arm)).collect();
    if void.len() < arms.len() {
        marks.push(Mark { on_x: false, at: 0.95, name: "95 %".to_owned() });
    }
    let lines = Lines {
        x: Axis::new("latency of a succeeded task", Measure::Seconds).logarithmic(),
        y: Axis::new("tasks that take at most this long", Measure::Share),
        lines: all.iter().map(line).collect(),
        at,
        marks,
        is_scattered: false,
    };
    let p95 = if void.len() < arms.len() { "; where a line crosses 95 % is its p95" } else { "" };
    let mut caption = format!(
        "The higher and the further left, the better{p95}. Succeeded tasks of all replications{}.",
        left_out(arms)
    );
    if !void.is_empty() {
        let named: Vec<&str> = void.iter().map(|arm| arm.name).collect();
        let who = if arms.len() == 1 { "the run".to_owned() } else { named.join(" and ") };
        caption += &format!(
            " Of {who} only those that came to an end are here: the system is overloaded or stuck, and \
             has no p95."
        );
    }
    let title = "How many tasks are done after how long";
    Picture::of("latency-cdf", title, caption, Drawing::Lines(lines))
}

/// The median and the p95 of the tasks that end in a place.
pub(super) fn over_time(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        for task in tasks(arm) {
            let Some(windows) = arm.result.series.parts.tasks.get(task.id.index()) else {
                continue;
            };
            let quantile = |place: &Place, p: f64| {
                let mut all = BandCounts::default();
                place.of(windows).iter().for_each(|window| all.merge(&window.latency));
                (all.count() >= LEAST_TASKS).then(|| all.quantile_secs(p))?
            };
            let named = |quantile: &str| {
                let what = match arm.result.tasks.len() {
                    1 => quantile.to_owned(),
                    _ => format!("{quantile} of {}", task.name),
                };
                arm.named(&what, arms.len())
            };
            let p95 = timeline.values(arm, |place| quantile(place, 0.95));
            let p50 = timeline.values(arm, |place| quantile(place, 0.5));
            lines.push(Line { name: named("p95"), values: p95 });
            lines.push(Line { name: named("median"), values: p50 });
        }
    }
    let caption = format!(
        "Of the succeeded tasks that end within {}, of all replications together; to 6 %, and where \
         they are at least {LEAST_TASKS}{}.",
        timeline.width_text(),
        left_out(arms)
    );
    let y = Axis::new("latency of a succeeded task", Measure::Seconds);
    let title = "How long tasks take over time";
    timeline.picture(arms, ("latency-over-time", title, &caption), y, lines, slos(arms, false))
}

/// What the p95 is made of; the mean, where the p95 is not known.
pub(super) fn parts(arms: &[Arm<'_>]) -> Option<Picture> {
    let mut rows = Vec::new();
    for arm in arms {
        for task in tasks(arm) {
            let Some(parts) = task.drivers.as_ref().and_then(|drivers| drivers.p95) else {
                continue;
            };
            let seconds = parts.map(|part| part.as_secs_f64()).to_vec();
            rows.push((arm.named(&task.name, arms.len()), seconds));
        }
    }
    let parts = DRIVER_WORDS.map(str::to_owned).to_vec();
    let stacks = Stacks { measure: Measure::Seconds, parts, rows }.without_empty_parts();
    Picture::of(
        "p95-parts",
        "What the p95 is made of",
        format!("As the tasks with latencies next to the p95 spent their time{}.", left_out(arms)),
        Drawing::Stacks(stacks),
    )
}
