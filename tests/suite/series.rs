//! The series of shipped scenarios whose policies act: windows sum to the totals of the run, and the
//! answers in each are those that a recorder is told of.
//!
//! Without a warm-up every task counts in the totals. What is done in the drain is in no window; the
//! audit has counted it, and compares windows and rest with the totals exactly.

use crate::conservation::record;
use scenarios::{library, load_library};
use sim::Scenario;
use sim::outcome::Outcome;
use sim::record::{AttemptEnding, KeepAll};
use sim::units::Span;
use std::path::Path;

/// Shipped scenarios, the policies they are run under here, for how long, and what is set otherwise:
/// none that is shipped hedges or has an exact cache.
const ACTING: [(&str, Option<&str>, &str, &[&str]); 8] = [
    ("support-reply", None, "20m", &[]),
    ("support-reply", Some("support-reply.bad"), "10m", &[]),
    ("provider-outage", None, "40m", &[]),
    ("retry-storm", None, "20m", &[]),
    ("semantic-cache", None, "20m", &["caching.exact.capacity=1000"]),
    ("hybrid-routing", None, "20m", &["hedging.delay=1s"]),
    ("agent-fanout", None, "20m", &[]),
    ("self-hosted", None, "10m", &[]),
];

fn shipped(name: &str, policy: Option<&str>, horizon: &str, set: &[&str]) -> Scenario {
    let shipped = library::find(name).unwrap_or_else(|| panic!("{name} is not shipped"));
    let mut overrides = vec![format!("scenario.horizon={horizon}")];
    overrides.extend(set.iter().map(|&set| set.to_owned()));
    let resolved = load_library(shipped, policy.map(Path::new), &overrides);
    let resolved = resolved.unwrap_or_else(|problems| panic!("{problems}"));
    Scenario { warm_up: Span::ZERO, ..resolved.scenario }
}

/// What is in the windows and what is in the totals, of everything that policies do.
fn counts(outcome: &Outcome) -> Vec<(&'static str, u64, u64)> {
    fn all<W>(parts: &[Vec<W>], of: impl Fn(&W) -> u64) -> u64 {
        parts.iter().flatten().map(of).sum()
    }
    let parts = &outcome.series.parts;
    let models = &outcome.models;
    let tasks = &outcome.tasks;
    let rung = |at: usize| {
        let total = tasks.iter().map(|task| task.rungs[at]).sum::<u64>();
        (all(&parts.tasks, |w| w.acts.rungs[at]), total)
    };
    let rungs: (u64, u64) =
        (0..5).map(rung).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
    vec![
        ("answers", all(&parts.models, |w| w.answered), models.iter().map(|m| m.calls).sum()),
        ("retries", all(&parts.models, |w| w.retries), models.iter().map(|m| m.retries).sum()),
        ("hedges", all(&parts.models, |w| w.hedges), models.iter().map(|m| m.hedges).sum()),
        (
            "fallbacks",
            all(&parts.models, |w| w.fallbacks),
            models.iter().map(|m| m.fallbacks).sum(),
        ),
        (
            "escalations",
            all(&parts.tasks, |w| w.acts.escalations),
            tasks.iter().map(|t| t.escalations).sum(),
        ),
        (
            "exact hits",
            all(&parts.tasks, |w| w.acts.exact_hits),
            tasks.iter().map(|t| t.exact_hits).sum(),
        ),
        (
            "semantic hits",
            all(&parts.tasks, |w| w.acts.semantic_hits),
            tasks.iter().map(|t| t.semantic_hits).sum(),
        ),
        (
            "tool cache hits",
            all(&parts.tools, |w| w.cache_hits),
            outcome.tools.iter().map(|t| t.cache_hits).sum(),
        ),
        ("rungs", rungs.0, rungs.1),
        (
            "cached prompt tokens",
            all(&parts.remotes, |w| w.cached_input_tokens),
            outcome.remotes.iter().map(|r| r.billed.cached_input).sum(),
        ),
    ]
}

/// The answers of each model in each window, from the attempts one by one: those that are used, and
/// where work goes on without its user at most all that there are.
pub(crate) fn check_answers(scenario: &Scenario, outcome: &Outcome, kept: &KeepAll) {
    let (width, windows) = (outcome.series.width.0, outcome.series.windows.len());
    let goes_on = scenario.sources.iter().any(|source| source.people.client.abandoned_work_goes_on);
    for (number, series) in outcome.series.parts.models.iter().enumerate() {
        let (mut used, mut all) = (vec![0; windows], vec![0; windows]);
        let own = kept.attempts.iter().filter(|a| a.model.index() == number);
        for attempt in own.filter(|a| a.ending == AttemptEnding::Answered) {
            // What ends in an engine at the very end of a window is in it, other things are not.
            let instant = match attempt.backend {
                sim::ids::Backend::Pool(_) => attempt.ended.0 - 1,
                sim::ids::Backend::Remote(_) => attempt.ended.0,
            };
            // The last window ends with the horizon, shorter or not.
            if instant < scenario.horizon.0 {
                let window = (instant / width) as usize;
                all[window] += 1;
                used[window] += u64::from(attempt.used);
            }
        }
        let counted: Vec<u64> = series.iter().map(|window| window.answered).collect();
        if goes_on {
            let bounds = used.iter().zip(&all).zip(&counted);
            assert!(bounds.into_iter().all(|((used, all), n)| used <= n && n <= all), "{number}");
        } else {
            assert_eq!(counted, used, "model {number}");
        }
    }
}

#[test]
fn windows_of_shipped_scenarios_sum_to_their_totals() {
    let mut seen: Vec<(&str, u64)> = Vec::new();
    for (name, policy, horizon, set) in ACTING {
        let scenario = shipped(name, policy, horizon, set);
        let (outcome, kept) = record(&scenario, 7, 0);
        assert_eq!(outcome.audit, Vec::<String>::new(), "{name}");
        check_answers(&scenario, &outcome, &kept);
        for (at, (what, windows, total)) in counts(&outcome).into_iter().enumerate() {
            // The drain is short beside the run.
            assert!(
                windows <= total && total * 9 / 10 <= windows + 20,
                "{name}: {what}: {windows} of {total}"
            );
            match seen.get_mut(at) {
                Some(seen) => seen.1 += windows,
                None => seen.push((what, windows)),
            }
        }
    }
    let never: Vec<&str> =
        seen.iter().filter(|(_, count)| *count == 0).map(|(what, _)| *what).collect();
    assert!(never.is_empty(), "never seen: {never:?}");
}
