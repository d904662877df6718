//! What the policy did: where calls went, how tasks ended, what was tried again, answered from caches
//! or refused.
//!
//! Counts are those of the tables, by the instants at which they happened: here those of tasks that
//! arrived in the warm-up count, too, and those of the drain do not.

use super::arms::Arm;
use super::timeline::Timeline;
use super::{Axis, Drawing, Line, Measure, Picture, Stacks};
use crate::names::{ENDING_WORDS, RUNG_KEYS};
use sim::metrics::{ModelWindow, TaskActs, TaskWindow};

/// Lines in a picture at most.
const MOST: usize = 8;

/// The names of all models, each once.
fn models<'a>(arms: &[Arm<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for model in arms.iter().flat_map(|arm| &arm.result.models) {
        if !names.contains(&model.name.as_str()) {
            names.push(&model.name);
        }
    }
    names
}

/// Calls by model.
pub(super) fn routes(arms: &[Arm<'_>]) -> Option<Picture> {
    let parts = models(arms);
    if parts.len() < 2 {
        return None;
    }
    let row = |arm: &Arm<'_>| {
        let size = |name: &&str| {
            let model = arm.result.models.iter().find(|model| model.name == **name);
            model.map_or(0.0, |model| arm.mean(model.calls))
        };
        (arm.whole("calls", arms.len()), parts.iter().map(size).collect())
    };
    let stacks = Stacks {
        measure: Measure::Count,
        rows: arms.iter().map(row).collect(),
        parts: parts.iter().map(|&name| name.to_owned()).collect(),
    };
    Picture::of(
        "routes",
        "Which models answer",
        "Calls that ended, per replication.",
        Drawing::Stacks(stacks.without_empty_parts()),
    )
}

/// How tasks ended.
pub(super) fn endings(arms: &[Arm<'_>]) -> Option<Picture> {
    let mut rows = Vec::new();
    for arm in arms {
        for task in &arm.result.tasks {
            let Some(work) = &task.work else { continue };
            let sizes = crate::names::endings(&work.endings).map(|count| arm.mean(count)).to_vec();
            rows.push((arm.named(&task.name, arms.len()), sizes));
        }
    }
    let parts = ENDING_WORDS.map(str::to_owned).to_vec();
    let stacks = Stacks { measure: Measure::Count, parts, rows }.without_empty_parts();
    Picture::of(
        "endings",
        "How tasks end",
        "Tasks that ended, per replication.",
        Drawing::Stacks(stacks),
    )
}

/// What happened in windows, per second.
fn rate<W>(
    arm: &Arm<'_>,
    timeline: &Timeline,
    windows: &[W],
    of: impl Fn(&W) -> u64,
) -> Vec<Option<f64>> {
    timeline.values(arm, |place| Some(place.sum(windows, |w| arm.mean(of(w)))? / place.seconds()))
}

/// The largest lines that have anything.
fn drawn(
    arms: &[Arm<'_>],
    timeline: &Timeline,
    (name, title, caption): (&str, &str, &str),
    y: Axis,
    mut lines: Vec<Line>,
) -> Option<Picture> {
    lines.retain(Line::is_busy);
    let mut caption = caption.to_owned();
    if lines.len() > MOST {
        caption = format!("{caption} The {MOST} largest of {} lines.", lines.len());
        let size = |line: &Line| line.values.iter().flatten().sum::<f64>();
        let mut sizes: Vec<f64> = lines.iter().map(size).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        let least = sizes[MOST - 1];
        lines.retain(|line| size(line) >= least);
        lines.truncate(MOST);
    }
    timeline.picture(arms, (name, title, &caption), y, lines, Vec::new())
}

/// One line for each model and thing counted; `named` says what it is, given the model's name where
/// there are several.
fn by_model(
    arm: &Arm<'_>,
    arms: &[Arm<'_>],
    timeline: &Timeline,
    named: impl Fn(Option<&str>) -> String,
    of: impl Fn(&ModelWindow) -> u64,
) -> Vec<Line> {
    let many = models(arms).len() > 1;
    let all = arm.result.models.iter().zip(&arm.result.series.parts.models);
    let line = |(model, windows): (&experiments::ModelResult, &Vec<ModelWindow>)| Line {
        name: arm.named(&named(many.then_some(&model.name)), arms.len()),
        values: rate(arm, timeline, windows, &of),
    };
    all.map(line).collect()
}

/// The same by kind of task.
fn by_task(
    arm: &Arm<'_>,
    arms: &[Arm<'_>],
    timeline: &Timeline,
    what: &str,
    of: impl Fn(&TaskActs) -> u64,
) -> Vec<Line> {
    let tasks = &arm.result.tasks;
    let line = |task: &experiments::TaskResult| {
        let windows = arm.result.series.parts.tasks.get(task.id.index())?;
        let what = match tasks.len() {
            1 => what.to_owned(),
            _ => format!("{what} of {}", task.name),
        };
        let values = rate(arm, timeline, windows, |window: &TaskWindow| of(&window.acts));
        Some(Line { name: arm.named(&what, arms.len()), values })
    };
    tasks.iter().filter_map(line).collect()
}

/// Calls answered by each model.
pub(super) fn routes_over_time(arms: &[Arm<'_>]) -> Option<Picture> {
    if models(arms).len() < 2 {
        return None;
    }
    let timeline = Timeline::of(arms);
    let named = |model: Option<&str>| model.unwrap_or_default().to_owned();
    let of_arm = |arm| by_model(arm, arms, &timeline, named, |window| window.answered);
    let lines = arms.iter().flat_map(of_arm).collect();
    let y = Axis::new("calls answered per second", Measure::PerSecond);
    let caption =
        "Calls by the model that answered them, when they ended; the mean of all replications.";
    drawn(arms, &timeline, ("routes-over-time", "Which models answer when", caption), y, lines)
}

/// Attempts beyond the first.
pub(super) fn retries(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        let of_model = |what: &'static str| {
            move |model: Option<&str>| {
                model.map_or_else(|| what.to_owned(), |model| format!("{what} of {model}"))
            }
        };
        lines.extend(by_model(arm, arms, &timeline, of_model("retries"), |w| w.retries));
        lines.extend(by_model(arm, arms, &timeline, of_model("hedges"), |w| w.hedges));
    }
    let y = Axis::new("further attempts per second", Measure::PerSecond);
    let caption = "Retries after failures and hedges beside slow attempts, by the model that is asked; \
                   the mean of all replications.";
    drawn(arms, &timeline, ("retries", "When calls are tried again", caption), y, lines)
}

/// Calls that go on to another model.
pub(super) fn escalations(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        lines.extend(by_task(arm, arms, &timeline, "escalated calls", |acts| acts.escalations));
        let named = |model: Option<&str>| match model {
            Some(model) => format!("fallbacks from {model}"),
            None => "fallbacks".to_owned(),
        };
        lines.extend(by_model(arm, arms, &timeline, named, |window| window.fallbacks));
    }
    let y = Axis::new("calls per second", Measure::PerSecond);
    let caption = "Escalated: made again because of the confidence of an answer. Fallbacks: gone on \
                   from a model that brought none. The mean of all replications.";
    drawn(arms, &timeline, ("escalations", "When calls go on to another model", caption), y, lines)
}

/// Rungs of the ladder.
pub(super) fn rungs(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        for (rung, key) in RUNG_KEYS.iter().enumerate() {
            let what = key.replace('_', " ");
            lines.extend(by_task(arm, arms, &timeline, &what, |acts| acts.rungs[rung]));
        }
    }
    let y = Axis::new("uses per second", Measure::PerSecond);
    let caption = "What tasks do whose budget is used up; the mean of all replications.";
    drawn(arms, &timeline, ("ladder-rungs", "When rungs of the ladder are used", caption), y, lines)
}

/// What caches of answers and results answer.
pub(super) fn cache_hits(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        lines.extend(by_task(arm, arms, &timeline, "exact hits", |acts| acts.exact_hits));
        lines.extend(by_task(arm, arms, &timeline, "semantic hits", |acts| acts.semantic_hits));
        let tools = arm.result.tools.iter().zip(&arm.result.series.parts.tools);
        lines.extend(tools.map(|(tool, windows)| Line {
            name: arm.named(&format!("results of {}", tool.name), arms.len()),
            values: rate(arm, &timeline, windows, |window| window.cache_hits),
        }));
    }
    let y = Axis::new("hits per second", Measure::PerSecond);
    let caption = "Calls answered from the exact and the semantic cache, and uses of tools answered \
                   from their caches; the mean of all replications.";
    drawn(arms, &timeline, ("cache-hits", "When caches answer", caption), y, lines)
}

/// The share of the prompts that providers read from their caches.
pub(super) fn prompt_caches(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        for (remote, windows) in arm.result.remotes.iter().zip(&arm.result.series.parts.remotes) {
            let values = timeline.values(arm, |place| {
                let input = place.sum(windows, |window| window.input_tokens as f64)?;
                let cached = place.sum(windows, |window| window.cached_input_tokens as f64)?;
                (input > 0.0).then(|| cached / input)
            });
            lines.push(Line { name: arm.named(&remote.name, arms.len()), values });
        }
    }
    let y = Axis::new("prompt tokens cached", Measure::Share);
    let caption = "Of the prompts of attempts that leave a backend, of all replications together.";
    drawn(
        arms,
        &timeline,
        ("prompt-caches", "How much of prompts providers have cached", caption),
        y,
        lines,
    )
}

/// Attempts that backends refused for too much to do.
pub(super) fn refused(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        let parts = &arm.result.series.parts;
        for (pool, windows) in arm.result.pools.iter().zip(&parts.pools) {
            let values = rate(arm, &timeline, windows, |window| window.overloaded);
            lines.push(Line { name: arm.named(&pool.name, arms.len()), values });
        }
        for (remote, windows) in arm.result.remotes.iter().zip(&parts.remotes) {
            let refused = |w: &sim::metrics::RemoteWindow| w.rate_limited + w.overloaded;
            let values = rate(arm, &timeline, windows, refused);
            lines.push(Line { name: arm.named(&remote.name, arms.len()), values });
        }
    }
    let y = Axis::new("attempts refused per second", Measure::PerSecond);
    let caption = "Beyond a rate limit, or because a queue was full; the mean of all replications.";
    drawn(arms, &timeline, ("attempts-refused", "How many attempts are refused", caption), y, lines)
}

/// Circuit breakers that let nothing or little through.
pub(super) fn breakers(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        let parts = &arm.result.series.parts;
        let pools = arm.result.pools.iter().zip(&parts.pools).map(|(pool, windows)| {
            (&pool.name, windows.iter().map(|window| window.breakers.not_closed).collect())
        });
        let remotes = arm.result.remotes.iter().zip(&parts.remotes).map(|(remote, windows)| {
            (&remote.name, windows.iter().map(|window| window.breakers.not_closed).collect())
        });
        let all: Vec<(&String, Vec<u64>)> = pools.chain(remotes).collect();
        for (name, not_closed) in all {
            let values = timeline.values(arm, |place| {
                let sum = place.sum(&not_closed, |&count| arm.mean(count))?;
                Some(sum / place.of(&not_closed).len() as f64)
            });
            lines.push(Line { name: arm.named(name, arms.len()), values });
        }
    }
    let y = Axis::new("breakers open or half open", Measure::Count);
    let caption =
        "Before a pool or backend, the mean of the ends of windows and of all replications.";
    drawn(arms, &timeline, ("breakers-open", "When circuit breakers are open", caption), y, lines)
}
