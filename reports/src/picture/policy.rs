//! What the policy did: where calls went, how tasks ended, what was refused.

use super::arms::Arm;
use super::timeline::Timeline;
use super::{Axis, Drawing, Line, Measure, Picture, Stacks};
use crate::names::ENDING_WORDS;

/// Calls by model.
pub(super) fn routes(arms: &[Arm<'_>]) -> Option<Picture> {
    let mut parts: Vec<&str> = Vec::new();
    for model in arms.iter().flat_map(|arm| &arm.result.models) {
        if !parts.contains(&model.name.as_str()) {
            parts.push(&model.name);
        }
    }
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

/// Attempts that backends refused for too much to do.
pub(super) fn refused(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        let parts = &arm.result.series.parts;
        for (pool, windows) in arm.result.pools.iter().zip(&parts.pools) {
            let values = timeline.values(|place| {
                let sum = place.sum(windows, |window| arm.mean(window.overloaded))?;
                Some(sum / place.seconds)
            });
            lines.push(Line { name: arm.named(&pool.name, arms.len()), values });
        }
        for (remote, windows) in arm.result.remotes.iter().zip(&parts.remotes) {
            let values = timeline.values(|place| {
                let refused = |window: &sim::metrics::RemoteWindow| {
                    arm.mean(window.rate_limited + window.overloaded)
                };
                Some(place.sum(windows, refused)? / place.seconds)
            });
            lines.push(Line { name: arm.named(&remote.name, arms.len()), values });
        }
    }
    lines.retain(Line::is_busy);
    let y = Axis::new("attempts refused per second", Measure::PerSecond);
    let caption = "Beyond a rate limit, or because a queue was full; the mean of all replications.";
    timeline.picture(
        arms,
        ("attempts-refused", "How many attempts are refused", caption),
        y,
        lines,
        Vec::new(),
    )
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
            let values = timeline.values(|place| {
                let sum = place.sum(&not_closed, |&count| arm.mean(count))?;
                Some(sum / place.of(&not_closed).len() as f64)
            });
            lines.push(Line { name: arm.named(name, arms.len()), values });
        }
    }
    lines.retain(Line::is_busy);
    let y = Axis::new("breakers open or half open", Measure::Count);
    let caption =
        "Before a pool or backend, the mean of the ends of windows and of all replications.";
    timeline.picture(
        arms,
        ("breakers-open", "When circuit breakers are open", caption),
        y,
        lines,
        Vec::new(),
    )
}
