//! Whether the backlog stays bounded, and how much the system can carry when it does not.
//!
//! The number in the system `N` (waiting, running or about to ask again, at window ends, within the judged time: from
//! the end of warm-up to the horizon) is called unbounded when all of these hold:
//!
//! 1. *it rises*: the mean of `N` in the last quarter exceeds that in the second quarter, the
//!    regression line of `N` over the last three quarters rises, both with the lower end of the
//!    95 % t interval over replications above zero; `N` still rises within the last quarter; and
//!    at least half of the rise waits, because what runs is bounded by the engines and only fills
//!    up;
//! 2. *it matters*: the rise from the second to the last quarter is more than 2 % of what arrived
//!    in the half run between their middles;
//! 3. *it would not drain*: what arrives per second, averaged over the whole judged time, exceeds
//!    what is completed per second in the last quarter, where the backlog is largest, by more
//!    than 2 %.
//!
//! With five replications or more, half a per cent is enough in the second and the third if the
//! lower end of the t interval of that excess is above it.
//!
//! The first quarter is the start-up from empty and is left out. The third condition keeps a load
//! that only rises towards the end, or a hump that is draining, from counting as unstable: the
//! same pattern repeated would be carried.
//!
//! A run shorter than the queue's own relaxation time can rise that much by luck. So the rise must
//! also exceed three standard deviations of what a critically loaded queue does in that time,
//! `√((1 + D)·n)` after `n` arrivals with index of dispersion `D` and services as irregular as
//! exponential ones (reflected Brownian motion; Whitt, "Stochastic-Process Limits", 2002,
//! chapter 9). With fewer than 5 replications the t interval says too little, and this alone
//! decides. `D` is taken from differences of successive windows, so that a slow change of the rate
//! does not count (von Neumann, Ann. Math. Statist. 12, 1941).
//!
//! Deliberately absent: systems less than about half a per cent overloaded, which no run of
//! reasonable length tells from a critical one.

use crate::CONFIDENCE;
use crate::warm_up::whole_windows;
use sim::metrics::{Series, Window};
use sim::stats::t_interval;
use sim::units::Span;

/// Windows below which nothing is judged: four in each quarter.
const MIN_WINDOWS: usize = 16;
/// Share of the arrivals that a rise, and share of the demand that a shortfall, must exceed.
const MATERIAL: f64 = 0.02;
/// The same where the replications are sure that it is exceeded.
const SURELY_MATERIAL: f64 = 0.005;
/// Share of the arrivals still in the system at the end from which a run too short to be judged
/// says nothing about latency.
const LEFT_AT_THE_END: f64 = 0.25;
/// Replications from which the t interval decides.
const MIN_FOR_T: usize = 5;

/// What the backlog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No evidence that it grows without bound.
    Stable,
    /// It grows as long as the run lasts.
    Unstable,
    /// A disturbance that is over left the system stuck in work that nobody uses.
    Metastable,
}

impl Verdict {
    /// Whether latencies depend on how long the run lasts, so that they have no value.
    #[must_use]
    pub fn voids_latency(self) -> bool {
        matches!(self, Verdict::Unstable | Verdict::Metastable)
    }
}

/// The verdict and the numbers it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Stability {
    /// `None` when the run is too short to judge (then `why` says so).
    pub verdict: Option<Verdict>,
    /// One sentence with the numbers.
    pub why: String,
    /// Requests that arrived per second of judged time, mean over replications.
    pub demand_per_s: Option<f64>,
    /// Whether there is evidence that the latency depends on how long the run lasts: always when
    /// unstable, and without a verdict when the backlog rises more than chance but too little, too
    /// late or for too short a time to call it unbounded.
    pub horizon_matters: bool,
    /// When that is so: requests completed per second in the last quarter, while backlogged, which
    /// is the load of this kind that the system can carry.
    pub capacity_per_s: Option<f64>,
}

/// The course of one replication's number in the system, as far as the test needs it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Flow {
    /// Whole windows judged.
    pub windows: usize,
    /// Their total length in seconds.
    pub seconds: f64,
    /// Requests that arrived in them.
    pub arrived: u64,
    /// Mean number in the system in the second quarter.
    pub second_quarter: f64,
    /// Mean number in the system in the last quarter.
    pub last_quarter: f64,
    /// Mean number waiting in the last quarter minus that in the second.
    pub waiting_rise: f64,
    /// Variance over mean of the arrivals per window.
    pub dispersion: f64,
    /// Slope of the least-squares line over the last three quarters, per second.
    pub slope: f64,
    /// Number in the system at the end minus that at the start of the last quarter.
    pub rise_in_last_quarter: f64,
    /// Requests completed per second of the last quarter.
    pub completed_per_s: f64,
    /// Share of the arrivals that is still in the system at the end of the last window.
    pub left_share: f64,
}

impl Flow {
    /// Reads the judged time of one replication, from the end of `warm_up` to `horizon`.
    #[must_use]
    pub fn of(series: &Series, warm_up: Span, horizon: Span) -> Flow {
        let windows = whole_windows(series, horizon);
        let skipped = warm_up.0.div_ceil(series.width.0.max(1));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(windows.len());
        let windows = &windows[skipped..];
        let arrived: u64 = windows.iter().map(|w| w.arrived).sum();
        let left = windows.last().map_or(0.0, in_system);
        let left_share = if arrived > 0 { left / arrived as f64 } else { 0.0 };
        if windows.len() < MIN_WINDOWS {
            return Flow { windows: windows.len(), left_share, ..Flow::default() };
        }
        let width = series.width.as_secs_f64();
        let quarter = windows.len() / 4;
        let second = &windows[quarter..2 * quarter];
        let (last, tail) = (&windows[windows.len() - quarter..], &windows[quarter..]);
        let before_last = windows[windows.len() - quarter - 1];
        Flow {
            windows: windows.len(),
            seconds: windows.len() as f64 * width,
            arrived,
            left_share,
            second_quarter: mean(second, in_system),
            last_quarter: mean(last, in_system),
            waiting_rise: mean(last, waiting) - mean(second, waiting),
            dispersion: dispersion(windows),
            slope: slope(tail) / width,
            rise_in_last_quarter: in_system(&last[quarter - 1]) - in_system(&before_last),
            completed_per_s: last.iter().map(|w| w.finished).sum::<u64>() as f64
                / (quarter as f64 * width),
        }
    }

    fn rise(&self) -> f64 {
        self.last_quarter - self.second_quarter
    }
}

fn in_system(window: &Window) -> f64 {
    (window.waiting + window.paused + window.running) as f64
}

fn waiting(window: &Window) -> f64 {
    (window.waiting + window.paused) as f64
}

fn mean(windows: &[Window], of: fn(&Window) -> f64) -> f64 {
    windows.iter().map(of).sum::<f64>() / windows.len() as f64
}

/// Index of dispersion of the arrivals, from successive differences; 1 for a Poisson stream.
fn dispersion(windows: &[Window]) -> f64 {
    let difference = |pair: &[Window]| pair[1].arrived as f64 - pair[0].arrived as f64;
    let squares: f64 = windows.windows(2).map(|pair| difference(pair) * difference(pair)).sum();
    let mean = mean(windows, |w| w.arrived as f64);
    if mean > 0.0 { squares / 2.0 / (windows.len() - 1) as f64 / mean } else { 0.0 }
}

/// Least-squares slope of the number in the system per window.
fn slope(windows: &[Window]) -> f64 {
    let middle = (windows.len() - 1) as f64 / 2.0;
    let (mut products, mut squares) = (0.0, 0.0);
    for (at, window) in windows.iter().enumerate() {
        let off = at as f64 - middle;
        products += off * in_system(window);
        squares += off * off;
    }
    products / squares
}

/// Judges the replications' flows together.
#[must_use]
pub fn judge(flows: &[Flow]) -> Stability {
    let least = flows.iter().map(|f| f.windows).min().unwrap_or(0);
    if least < MIN_WINDOWS {
        // A share that the engines cannot have been expected to finish by then.
        let left = flows.iter().map(|f| f.left_share).sum::<f64>() / flows.len().max(1) as f64;
        return Stability {
            verdict: None,
            horizon_matters: left > LEFT_AT_THE_END,
            why: format!("not judged: {least} windows, and {MIN_WINDOWS} are needed"),
            demand_per_s: None,
            capacity_per_s: None,
        };
    }
    let mean = |of: &dyn Fn(&Flow) -> f64| flows.iter().map(of).sum::<f64>() / flows.len() as f64;
    let demand = mean(&|f| f.arrived as f64 / f.seconds);
    let completed = mean(&|f| f.completed_per_s);
    let (second, last) = (mean(&|f| f.second_quarter), mean(&|f| f.last_quarter));
    let arrived_between = mean(&|f| f.arrived as f64) / 2.0;
    let rise = |f: &Flow| f.rise() / (f.arrived as f64 / 2.0).max(1.0);
    let shortfall = |f: &Flow| 1.0 - f.completed_per_s * f.seconds / (f.arrived as f64).max(1.0);
    let material = last - second > MATERIAL * arrived_between || surely_exceeds(flows, rise);
    let would_not_drain =
        demand - completed > MATERIAL * demand || surely_exceeds(flows, shortfall);
    let grows = rises(flows, arrived_between);
    if grows && material && would_not_drain {
        Stability {
            verdict: Some(Verdict::Unstable),
            horizon_matters: true,
            why: format!(
                "the backlog grows by {:.3} requests per second: {demand:.3} arrive and \
                 {completed:.3} are completed while backlogged, the stable capacity",
                mean(&|f| f.slope)
            ),
            demand_per_s: Some(demand),
            capacity_per_s: Some(completed),
        }
    } else if grows {
        // Averaged over the run the load may just be carried, at its end it is not.
        Stability {
            verdict: None,
            horizon_matters: true,
            why: format!(
                "not decided: the backlog rises, from {second:.1} requests in the system in the \
                 second quarter of the run to {last:.1} in the last, so the latency holds for \
                 this horizon alone"
            ),
            demand_per_s: Some(demand),
            capacity_per_s: Some(completed),
        }
    } else {
        Stability {
            verdict: Some(Verdict::Stable),
            horizon_matters: false,
            why: format!(
                "on average {second:.1} requests are in the system in the second quarter of the \
                 run and {last:.1} in the last"
            ),
            demand_per_s: Some(demand),
            capacity_per_s: None,
        }
    }
}

/// Whether the replications are sure that a share exceeds [`SURELY_MATERIAL`].
fn surely_exceeds(flows: &[Flow], of: impl Fn(&Flow) -> f64) -> bool {
    let values: Vec<f64> = flows.iter().map(of).collect();
    flows.len() >= MIN_FOR_T
        && t_interval(&values, CONFIDENCE).is_some_and(|t| t.mean - t.half_width > SURELY_MATERIAL)
}

/// Whether the rise is more than chance.
fn rises(flows: &[Flow], arrived_between: f64) -> bool {
    let mean = |of: fn(&Flow) -> f64| flows.iter().map(of).sum::<f64>() / flows.len() as f64;
    let variance = (1.0 + mean(|f| f.dispersion)) * arrived_between / flows.len() as f64;
    let surely_positive = |of: fn(&Flow) -> f64| {
        let values: Vec<f64> = flows.iter().map(of).collect();
        t_interval(&values, CONFIDENCE).is_some_and(|t| t.mean > t.half_width)
    };
    mean(|f| f.rise_in_last_quarter) > 0.0
        && mean(|f| f.waiting_rise - f.rise() / 2.0) >= 0.0
        && mean(Flow::rise) > 3.0 * variance.sqrt()
        && (flows.len() < MIN_FOR_T || surely_positive(Flow::rise) && surely_positive(|f| f.slope))
}
