//! How much of the start to remove when the steady state is asked for.
//!
//! A pilot without warm-up is averaged over its replications window by window (Welch's method;
//! Law, "Simulation Modeling and Analysis", section 9.5.1), and MSER-5 cuts the series of mean
//! latencies ([`sim::stats::mser5`]).
//!
//! Deliberately absent: any cut of a terminating run, whose start is part of the question.

use sim::metrics::{Series, Window};
use sim::stats::mser5;
use sim::units::Span;

/// Windows below which MSER-5 has too few batches of five to choose from.
const MIN_WINDOWS: usize = 50;

/// What was found about the start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// Not looked for: the run is taken as it is, its start included.
    Terminating,
    /// The cut with the smallest marginal standard error.
    Found(Span),
    /// The run is too short for one: the smallest lies at the bound of half the run (this cut),
    /// so what is left is still start-up.
    AtBound(Span),
    /// There are too few windows to look.
    TooFewWindows,
}

impl WarmUp {
    /// What to remove from the start.
    #[must_use]
    pub fn cut(self) -> Span {
        match self {
            WarmUp::Terminating | WarmUp::TooFewWindows => Span::ZERO,
            WarmUp::Found(cut) | WarmUp::AtBound(cut) => cut,
        }
    }

    /// What two scenarios of one comparison both leave out, as doubtful as the more doubtful.
    #[must_use]
    pub(crate) fn longer(self, other: WarmUp) -> WarmUp {
        let cut = self.cut().max(other.cut());
        match (self, other) {
            (WarmUp::Terminating, one) | (one, WarmUp::Terminating) => one,
            (WarmUp::TooFewWindows, _) | (_, WarmUp::TooFewWindows) => WarmUp::TooFewWindows,
            (WarmUp::AtBound(_), _) | (_, WarmUp::AtBound(_)) => WarmUp::AtBound(cut),
            (WarmUp::Found(_), WarmUp::Found(_)) => WarmUp::Found(cut),
        }
    }
}

/// Finds the cut from a pilot's series, summed over its replications; windows beyond the horizon
/// (the drain) are ignored.
#[must_use]
pub fn find(pilot: &Series, horizon: Span) -> WarmUp {
    let whole = whole_windows(pilot, horizon);
    if whole.len() < MIN_WINDOWS {
        return WarmUp::TooFewWindows;
    }
    let Some(cut) = mser5(&mean_latencies(whole)) else { return WarmUp::TooFewWindows };
    // At most half of the horizon, so the product stays far below the largest span.
    let span = Span(pilot.width.0 * cut.delete as u64);
    if cut.at_bound { WarmUp::AtBound(span) } else { WarmUp::Found(span) }
}

/// The windows that lie wholly before the horizon.
pub(crate) fn whole_windows(series: &Series, horizon: Span) -> &[Window] {
    let most = horizon.0.checked_div(series.width.0).unwrap_or(0);
    &series.windows[..series.windows.len().min(usize::try_from(most).unwrap_or(usize::MAX))]
}

/// Mean latency (seconds) of what finished in each window. A window in which nothing finished
/// repeats the one before, and the first ones take the first there is.
fn mean_latencies(windows: &[Window]) -> Vec<f64> {
    let mean = |w: &Window| (w.finished > 0).then(|| w.latency_sum as f64 / w.finished as f64);
    let mut last = windows.iter().find_map(mean).unwrap_or(0.0);
    windows
        .iter()
        .map(|w| {
            last = mean(w).unwrap_or(last);
            last / sim::units::PS_PER_SEC as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(latency_ms: impl Fn(u64) -> u64, windows: u64) -> Series {
        let window = |at| Window {
            finished: 10,
            latency_sum: 10 * u128::from(Span::from_millis(latency_ms(at)).0),
            ..Window::default()
        };
        Series {
            width: Span::from_secs(10),
            windows: (0..windows).map(window).collect(),
            ..Series::default()
        }
    }

    /// Noise that repeats every seven windows, on top of a start-up of 30 windows.
    fn start_up(at: u64) -> u64 {
        if at < 30 { 100 * (30 - at) } else { 1_000 + (at * 3) % 7 }
    }

    #[test]
    fn a_start_up_is_cut_off() {
        let pilot = series(start_up, 400);
        let WarmUp::Found(cut) = find(&pilot, Span::from_secs(4_000)) else {
            panic!("400 windows are enough")
        };
        assert!((Span::from_secs(300)..=Span::from_secs(450)).contains(&cut), "{cut:?}");
    }

    #[test]
    fn a_series_that_never_settles_is_too_short() {
        let rising = series(|at| 10 * at, 100);
        assert_eq!(find(&rising, Span::from_secs(1_000)), WarmUp::AtBound(Span::from_secs(500)));
        assert_eq!(find(&series(start_up, 49), Span::from_secs(490)), WarmUp::TooFewWindows);
    }

    #[test]
    fn the_drain_is_not_looked_at() {
        let drained = series(|at| if at < 200 { 1_000 + at % 5 } else { 1 }, 300);
        let cut = find(&drained, Span::from_secs(2_000));
        assert_eq!(cut, find(&series(|at| 1_000 + at % 5, 200), Span::from_secs(2_000)));
    }
}
