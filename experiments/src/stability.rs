//! Whether the backlog stays bounded, and how much the system can carry when it does not.
//!
//! The number in the system `N` (waiting or running, at window ends, within the judged time: from
//! the end of warm-up to the horizon) is called unbounded when all of these hold:
//!
//! 1. *it rises*: the mean of `N` in the last quarter exceeds that in the second quarter, the
//!    regression line of `N` over the last three quarters rises, both with the lower end of the
//!    95 % t interval over replications above zero; and `N` still rises within the last quarter;
//! 2. *it matters*: the rise from the second to the last quarter is more than 2 % of what arrived
//!    in the half run between their middles;
//! 3. *it would not drain*: what arrives per second, averaged over the whole judged time, exceeds
//!    what is completed per second in the last quarter, where the backlog is largest, by more
//!    than 2 %.
//!
//! The first quarter is the start-up from empty and is left out. The third condition keeps a load
//! that only rises towards the end, or a hump that is draining, from counting as unstable: the
//! same pattern repeated would be carried. With fewer than 5 replications the t interval says too
//! little, and the rise must exceed three standard deviations of a critically loaded queue
//! instead, `√(2n)` after `n` arrivals (reflected Brownian motion; Whitt, "Stochastic-Process
//! Limits", 2002, chapter 9).
//!
//! Deliberately absent: systems less than about 2 % overloaded, which no run of reasonable length
//! tells from a critical one.

use crate::CONFIDENCE;
use crate::warm_up::whole_windows;
use sim::metrics::{Series, Window};
use sim::stats::t_interval;
use sim::units::Span;

/// Windows below which nothing is judged: four in each quarter.
const MIN_WINDOWS: usize = 16;
/// Share of the arrivals that a rise, and share of the demand that a shortfall, must exceed.
const MATERIAL: f64 = 0.02;
/// Replications from which the t interval decides.
const MIN_FOR_T: usize = 5;

/// What the backlog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No evidence that it grows without bound.
    Stable,
    /// It grows as long as the run lasts.
    Unstable,
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
    /// When unstable: requests completed per second in the last quarter, while backlogged, which
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
    /// Slope of the least-squares line over the last three quarters, per second.
    pub slope: f64,
    /// Number in the system at the end minus that at the start of the last quarter.
    pub rise_in_last_quarter: f64,
    /// Requests completed per second of the last quarter.
    pub completed_per_s: f64,
}

impl Flow {
    /// Reads the judged time of one replication, from the end of `warm_up` to `horizon`.
    #[must_use]
    pub fn of(series: &Series, warm_up: Span, horizon: Span) -> Flow {
        let windows = whole_windows(series, horizon);
        let skipped = warm_up.0.div_ceil(series.width.0.max(1));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(windows.len());
        let windows = &windows[skipped..];
        if windows.len() < MIN_WINDOWS {
            return Flow { windows: windows.len(), ..Flow::default() };
        }
        let width = series.width.as_secs_f64();
        let quarter = windows.len() / 4;
        let (last, tail) = (&windows[windows.len() - quarter..], &windows[quarter..]);
        let before_last = windows[windows.len() - quarter - 1];
        Flow {
            windows: windows.len(),
            seconds: windows.len() as f64 * width,
            arrived: windows.iter().map(|w| w.arrived).sum(),
            second_quarter: mean_in_system(&windows[quarter..2 * quarter]),
            last_quarter: mean_in_system(last),
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
    (window.waiting + window.running) as f64
}

fn mean_in_system(windows: &[Window]) -> f64 {
    windows.iter().map(in_system).sum::<f64>() / windows.len() as f64
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
        return Stability {
            verdict: None,
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
    let material = last - second > MATERIAL * arrived_between;
    let would_not_drain = demand - completed > MATERIAL * demand;
    if material && would_not_drain && rises(flows, arrived_between) {
        Stability {
            verdict: Some(Verdict::Unstable),
            why: format!(
                "the backlog grows by {:.3} requests per second: {demand:.3} arrive and \
                 {completed:.3} are completed while backlogged, the stable capacity",
                mean(&|f| f.slope)
            ),
            demand_per_s: Some(demand),
            capacity_per_s: Some(completed),
        }
    } else {
        Stability {
            verdict: Some(Verdict::Stable),
            why: format!(
                "on average {second:.1} requests are in the system in the second quarter of the \
                 run and {last:.1} in the last"
            ),
            demand_per_s: Some(demand),
            capacity_per_s: None,
        }
    }
}

/// Whether the rise is more than chance.
fn rises(flows: &[Flow], arrived_between: f64) -> bool {
    let n = flows.len() as f64;
    let still_rising = flows.iter().map(|f| f.rise_in_last_quarter).sum::<f64>() > 0.0;
    if flows.len() < MIN_FOR_T {
        let rise = flows.iter().map(Flow::rise).sum::<f64>() / n;
        return still_rising && rise > 3.0 * (2.0 * arrived_between / n).sqrt();
    }
    let surely_positive = |of: fn(&Flow) -> f64| {
        let values: Vec<f64> = flows.iter().map(of).collect();
        t_interval(&values, CONFIDENCE).is_some_and(|t| t.mean > t.half_width)
    };
    still_rising && surely_positive(Flow::rise) && surely_positive(|f| f.slope)
}
