//! What is kept of one replication: everything the pooled estimates and their intervals need.
//!
//! Histograms are kept as lists of their filled buckets, so that two hundred replications fit in
//! memory; the pooled histogram minus one replication's list is the leave-one-out histogram of
//! the jackknife, exactly.

use crate::bill::Bill;
use crate::stability::Flow;
use crate::storm::Aftermath;
use crate::tenants::{self, Account};
use sim::metrics::{BucketCounts, Histogram, Series};
use sim::outcome::ModelOutcome;
use sim::{Outcome, Scenario};

/// One finished replication.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The outcome; its histograms are moved into the fields below and its series into the
    /// pooled one, so they are empty here, and so are the tenants.
    pub outcome: Outcome,
    /// Latency of succeeded tasks, one per kind of task.
    pub latency: Vec<BucketCounts>,
    /// Times of calls, one per model.
    pub times: Vec<ModelTimes>,
    /// Time of each tool's uses.
    pub(crate) tool_times: Vec<BucketCounts>,
    /// What was used, priced.
    pub(crate) bill: Bill,
    /// What tenants paid and cost, by group; their single accounts are not kept.
    pub(crate) accounts: Vec<Account>,
    /// The system before and after its declared disturbances.
    pub(crate) aftermath: Option<Aftermath>,
    /// Requests in the system over time, for the test of stability.
    pub flow: Flow,
}

/// The times of the calls to one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelTimes {
    /// Time to first token.
    pub ttft: BucketCounts,
    /// Time per output token after the first.
    pub tpot: BucketCounts,
    /// End to end.
    pub e2e: BucketCounts,
    /// In the engine's queue.
    pub queue: BucketCounts,
    /// From the queue to the first token.
    pub prefill: BucketCounts,
    /// From the first token to the last.
    pub decode: BucketCounts,
}

impl Record {
    /// Takes an outcome apart: what is kept, and the series to be added to the others'.
    #[must_use]
    pub fn of(mut outcome: Outcome, scenario: &Scenario) -> (Record, Series) {
        let series = std::mem::take(&mut outcome.series);
        let flow = Flow::of(&series, scenario.warm_up, scenario.horizon);
        let aftermath = Aftermath::of(&series, scenario);
        let latency = outcome.tasks.iter_mut().map(|task| listed(&mut task.latency)).collect();
        let times = outcome.models.iter_mut().map(ModelTimes::of).collect();
        let tool_times = outcome.tools.iter_mut().map(|tool| listed(&mut tool.time)).collect();
        let bill = Bill::of(&outcome, scenario);
        let accounts = tenants::accounts(&outcome, scenario, &bill);
        outcome.tenants = Vec::new();
        (Record { outcome, latency, times, tool_times, bill, accounts, aftermath, flow }, series)
    }
}

impl ModelTimes {
    fn of(model: &mut ModelOutcome) -> ModelTimes {
        ModelTimes {
            ttft: listed(&mut model.ttft),
            tpot: listed(&mut model.tpot),
            e2e: listed(&mut model.e2e),
            queue: listed(&mut model.queue),
            prefill: listed(&mut model.prefill),
            decode: listed(&mut model.decode),
        }
    }
}

/// Replaces a histogram by its list.
fn listed(histogram: &mut Histogram) -> BucketCounts {
    std::mem::take(histogram).to_counts()
}

/// Adds one replication's series to the sum, window by window and part by part; an empty sum takes
/// its width.
pub(crate) fn add_series(sum: &mut Series, series: &Series) {
    if sum.windows.is_empty() {
        sum.width = series.width;
    }
    if sum.windows.len() < series.windows.len() {
        sum.windows.resize(series.windows.len(), sim::metrics::Window::default());
    }
    for (sum, window) in sum.windows.iter_mut().zip(&series.windows) {
        *sum += window;
    }
    sum.parts.merge(&series.parts);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::metrics::{BANDS, BandCounts, Parts, TaskWindow, Window, band};
    use sim::units::Span;

    /// A replication with tasks of these lengths in milliseconds, window by window.
    fn series(windows: &[&[u64]]) -> Series {
        let of_task = |latencies: &&[u64]| {
            let mut counts = [0; BANDS];
            latencies.iter().for_each(|&ms| counts[band(Span::from_millis(ms))] += 1);
            let ended = latencies.len() as u64;
            TaskWindow { ended, latency: BandCounts::of(&counts), ..TaskWindow::default() }
        };
        Series {
            width: Span::from_secs(1),
            windows: vec![Window::default(); windows.len()],
            parts: Parts { tasks: vec![windows.iter().map(of_task).collect()], ..Parts::default() },
        }
    }

    #[test]
    fn a_window_has_the_latencies_of_all_replications() {
        let mut sum = Series::default();
        for one in [series(&[&[10, 30]]), series(&[&[20], &[40]]), series(&[&[10, 10, 10], &[]])] {
            add_series(&mut sum, &one);
        }
        assert_eq!(sum, series(&[&[10, 10, 10, 10, 20, 30], &[40]]));
    }
}
