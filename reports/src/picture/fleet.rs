//! What the pools and backends are doing, over time.

use super::arms::Arm;
use super::timeline::Timeline;
use super::{Axis, Line, Measure, Picture};
use sim::metrics::PoolWindow;
use sim::units::PS_PER_SEC;

/// One line for each pool of each arm; `value` is of windows put together.
fn pools(
    arms: &[Arm<'_>],
    timeline: &Timeline,
    value: impl Fn(&Arm<'_>, u64, &[PoolWindow], f64) -> Option<f64>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for arm in arms {
        for (pool, windows) in arm.result.pools.iter().zip(&arm.result.series.parts.pools) {
            let values = timeline.values(arm, |place| {
                let windows = place.of(windows);
                if windows.is_empty() {
                    None
                } else {
                    value(arm, pool.replicas, windows, place.seconds())
                }
            });
            lines.push(Line { name: arm.named(&pool.name, arms.len()), values });
        }
    }
    lines
}

/// The mean of a state at the ends of windows, per replication.
fn mean(arm: &Arm<'_>, windows: &[PoolWindow], of: impl Fn(&PoolWindow) -> u64) -> f64 {
    arm.mean(windows.iter().map(of).sum()) / windows.len() as f64
}

/// Requests that arrive and end.
pub(super) fn requests(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        let windows = &arm.result.series.windows;
        let rate = |of: fn(&sim::metrics::Window) -> u64| {
            timeline.values(arm, |place| {
                let sum = place.sum(windows, |window| arm.mean(of(window)))?;
                Some(sum / place.seconds())
            })
        };
        let (arrived, ended) = (rate(|window| window.arrived), rate(|window| window.finished));
        lines.push(Line { name: arm.named("arrive", arms.len()), values: arrived });
        lines.push(Line { name: arm.named("end", arms.len()), values: ended });
    }
    let caption = format!(
        "Within {}; the mean of all replications. Where fewer end than arrive, a backlog grows or \
         requests are refused: those do not count as ended.",
        timeline.width_text()
    );
    let y = Axis::new("requests per second", Measure::PerSecond);
    timeline.picture(
        arms,
        ("requests-per-second", "How many requests arrive and end", &caption),
        y,
        lines,
        Vec::new(),
    )
}

/// Share of the time in which iterations run.
pub(super) fn utilisation(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let lines = pools(arms, &timeline, |arm, replicas, windows, seconds| {
        let busy: u128 = windows.iter().map(|window| window.busy).sum();
        let runs = f64::from(arm.result.replications.max(1));
        let whole = replicas as f64 * runs * seconds;
        (whole > 0.0).then(|| (busy as f64 / PS_PER_SEC as f64 / whole).min(1.0))
    });
    let y = Axis::new("time in which iterations run", Measure::Share);
    let caption = "Of all replicas of a pool together. An engine is busy as soon as one request runs, \
                   so this says nothing about how full its iterations are.";
    timeline.picture(
        arms,
        ("utilisation", "How much of the time GPUs are busy", caption),
        y,
        lines,
        Vec::new(),
    )
}

/// Share of the KV cache in use.
pub(super) fn kv_usage(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let lines = pools(arms, &timeline, |_, _, windows, _| {
        let used: u64 = windows.iter().map(|window| window.kv_blocks_used).sum();
        let all: u64 = windows.iter().map(|window| window.kv_blocks).sum();
        (all > 0).then(|| used as f64 / all as f64)
    });
    let y = Axis::new("KV blocks in use", Measure::Share);
    let caption =
        "Blocks of running requests over blocks there are; the mean of the ends of windows.";
    timeline.picture(arms, ("kv-usage", "How full the KV cache is", caption), y, lines, Vec::new())
}

/// Requests that wait in engines.
pub(super) fn waiting(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = pools(arms, &timeline, |arm, _, windows, _| {
        Some(mean(arm, windows, |window| window.waiting))
    });
    for arm in arms {
        for (remote, windows) in arm.result.remotes.iter().zip(&arm.result.series.parts.remotes) {
            let values = timeline.values(arm, |place| {
                let windows = place.of(windows);
                let waiting = windows.iter().map(|window| window.waiting).sum();
                (!windows.is_empty()).then(|| arm.mean(waiting) / windows.len() as f64)
            });
            let line = Line { name: arm.named(&remote.name, arms.len()), values };
            lines.extend(line.is_busy().then_some(line));
        }
    }
    if !lines.iter().any(Line::is_busy) {
        return None;
    }
    let y = Axis::new("requests waiting", Measure::Count);
    let caption = "In all queues of a pool or backend; the mean of the ends of windows and of all \
                   replications.";
    timeline.picture(
        arms,
        ("requests-waiting", "How many requests wait", caption),
        y,
        lines,
        Vec::new(),
    )
}

/// Requests that run, on a replica and at a backend.
pub(super) fn running(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = pools(arms, &timeline, |arm, _, windows, _| {
        Some(mean(arm, windows, |window| window.running))
    });
    for arm in arms {
        for (remote, windows) in arm.result.remotes.iter().zip(&arm.result.series.parts.remotes) {
            let values = timeline.values(arm, |place| {
                let windows = place.of(windows);
                let running = windows.iter().map(|window| window.running).sum();
                (!windows.is_empty()).then(|| arm.mean(running) / windows.len() as f64)
            });
            lines.push(Line { name: arm.named(&remote.name, arms.len()), values });
        }
    }
    let y = Axis::new("requests running", Measure::Count);
    let caption = "In all replicas of a pool, or at a backend; the mean of the ends of windows and of \
                   all replications.";
    timeline.picture(
        arms,
        ("requests-running", "How many requests run", caption),
        y,
        lines,
        Vec::new(),
    )
}

/// Preemptions per second.
pub(super) fn preemptions(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let lines = pools(arms, &timeline, |arm, _, windows, seconds| {
        Some(arm.mean(windows.iter().map(|window| window.preemptions).sum()) / seconds)
    });
    if !lines.iter().any(Line::is_busy) {
        return None;
    }
    let y = Axis::new("preemptions per second", Measure::PerSecond);
    let caption =
        "Requests that lost their KV blocks and begin again; the mean of all replications.";
    timeline.picture(
        arms,
        ("preemptions", "How often requests are preempted", caption),
        y,
        lines,
        Vec::new(),
    )
}
