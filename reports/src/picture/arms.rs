//! The pictures of one run, or of two side by side.

use super::{Picture, Topic, fleet, latency, policy, spend};
use experiments::RunResult;

/// A run, and what it is called where there is another one beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm<'a> {
    pub(crate) name: &'a str,
    pub(crate) result: &'a RunResult,
}

impl Arm<'_> {
    /// What something is called in a picture of so many arms.
    pub(super) fn named(&self, what: &str, arms: usize) -> String {
        if arms == 1 { what.to_owned() } else { format!("{what}, {}", self.name) }
    }

    /// What a whole is called in a picture of so many arms: by the arm, where there are several.
    pub(super) fn whole(&self, what: &str, arms: usize) -> String {
        if arms == 1 { what.to_owned() } else { self.name.to_owned() }
    }

    /// Means per replication from sums over all.
    pub(super) fn mean(&self, sum: u64) -> f64 {
        sum as f64 / f64::from(self.result.replications.max(1))
    }
}

/// All pictures of runs, by topic; topics without any are left out.
pub(crate) fn of_arms(arms: &[Arm<'_>]) -> Vec<Topic> {
    type Draw = fn(&[Arm<'_>]) -> Option<Picture>;
    let topics: [(&'static str, &[Draw]); 4] = [
        ("Latency", &[latency::distribution, latency::over_time, latency::parts]),
        ("Spend", &[spend::by_cause, spend::of_success, spend::over_time, spend::summed]),
        (
            "Fleet",
            &[
                fleet::requests,
                fleet::utilisation,
                fleet::kv_usage,
                fleet::waiting,
                fleet::running,
                fleet::preemptions,
            ],
        ),
        (
            "Policy",
            &[
                policy::routes,
                policy::routes_over_time,
                policy::endings,
                policy::retries,
                policy::escalations,
                policy::rungs,
                policy::cache_hits,
                policy::prompt_caches,
                policy::refused,
                policy::breakers,
            ],
        ),
    ];
    let drawn = topics.into_iter().map(|(title, draws)| Topic {
        title,
        pictures: draws.iter().filter_map(|draw| draw(arms)).collect(),
    });
    drawn.filter(|topic| !topic.pictures.is_empty()).collect()
}
