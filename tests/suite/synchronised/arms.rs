//! Two policies that act, and the customers of both.
//!
//! A request is known by its source and number. Whatever an arm does about it, it arrived at that
//! instant, belongs to that tenant, has those attributes and lengths, and its first attempt fares
//! at a place without queues as the first attempt of the other arm does. What an arm decides (how
//! often it tries, whom it asks, when it gives up) is all that may differ.

use crate::conservation::record;
use crate::swarm;
use proptest::prelude::*;
use scenarios::load_str;
use sim::Scenario;
use sim::fleet::Strategy as Balancing;
use sim::ids::{ModelId, SourceId};
use sim::outcome::Ending;
use sim::record::{CallRecord, KeepAll};
use sim::resilience::{AdmissionSpec, Backoff, FailureSet, HedgeSpec, RetrySpec};
use sim::units::{Span, Time};
use std::collections::BTreeMap;

/// Questions go to a hosted model that answers most of them; gold customers' go to another one,
/// which tells who is gold.
const WORLD: &str = r#"
[scenario]
horizon = "10m"
[traffic.web]
task = "ask"
arrivals = { kind = "gamma", rate = "3/s", cv = 2.0 }
tenants = { count = 20, zipf = 0.8 }
[traffic.batch]
task = "file"
arrivals = { kind = "poisson", rate = "1/s" }
tenants = { count = 5 }
[attributes.tier]
values = { free = 0.6, gold = 0.4 }
[tasks.ask]
p95_latency_slo = "5s"
steps = [
  { id = "answer", model_call = { intent = "answer", input = { kind = "lognormal", p50 = 200, p95 = 700, max = 2000 }, output = { kind = "lognormal", p50 = 50, p95 = 150, max = 400 } } },
]
[tasks.file]
steps = [
  { id = "sort", model_call = { model = "plain", intent = "answer", input = { kind = "gamma", mean = 90, cv = 0.5 }, output = { kind = "gamma", mean = 12, cv = 0.5 } } },
  { id = "store", tool = "archive" },
  { id = "note", model_call = { model = "gold", intent = "answer", input = { kind = "gamma", mean = 300, cv = 0.9 }, output = { kind = "gamma", mean = 30, cv = 0.9 } } },
]
[intents.answer]
quality = { plain = { success = 0.8 }, gold = { success = 0.9 } }
[models.spare]
served_by = ["api"]
[models.plain]
served_by = ["api"]
[models.gold]
served_by = ["gold-api"]
[providers.api]
ttft = { kind = "lognormal", p50 = "300ms", p95 = "1200ms" }
tpot = { kind = "gamma", mean = "9ms", cv = 0.3 }
max_context = 8192
input = "$0.15/Mtok"
output = "$0.60/Mtok"
error_rate = 0.25
[providers.gold-api]
ttft = { kind = "lognormal", p50 = "200ms", p95 = "900ms" }
tpot = { kind = "gamma", mean = "8ms", cv = 0.3 }
max_context = 8192
input = "$1/Mtok"
output = "$4/Mtok"
error_rate = 0.25
[tools.archive]
latency = { kind = "exponential", mean = "150ms" }
error_rate = 0.05
[routing]
default_model = "plain"
[[routing.escalate_if]]
when = "tier == 'gold'"
model = "gold"
"#;
/// Patient: it tries again, and asks somebody else when in doubt or in need.
const PATIENT: &str = r#"
[retries]
max_attempts = 3
backoff = { initial = "100ms", jitter = "full" }
[routing.fallbacks]
gold = ["spare"]
[budgets.ask]
max_model_calls = 9
"#;
/// Hurried: it sends a second attempt soon, gives up early, opens breakers and refuses.
const HURRIED: &str = r#"
[retries]
max_attempts = 1
timeout = "1500ms"
[hedging]
delay = "350ms"
[circuit_breaker]
failure_rate_threshold = 40
minimum_number_of_calls = 10
wait_duration_in_open_state = "5s"
[admission]
max_in_flight = 12
[[spend_limits]]
limit = "$0.04"
period = "1m"
"#;

/// The place of `plain` among the models.
const PLAIN: u32 = 1;

type Who = (SourceId, u64);

fn load(policy: &str) -> Scenario {
    let text = format!("{WORLD}{policy}");
    load_str("arm.toml", &text, &[]).unwrap_or_else(|problems| panic!("{problems}")).scenario
}

fn arm(policy: &str, seed: u64) -> KeepAll {
    let (outcome, kept) = record(&load(policy), seed, 0);
    assert_eq!(outcome.audit, Vec::<String>::new());
    kept
}

/// Instant, kind and tenant of every task.
fn customers(kept: &KeepAll) -> BTreeMap<Who, (Time, u32, u32)> {
    let drawn = |task: &sim::record::TaskRecord| (task.arrived, task.task.0, task.tenant);
    kept.tasks.iter().map(|task| ((task.source, task.number), drawn(task))).collect()
}

/// Lengths of each call, known by its step; several attempts of one call have one length.
fn lengths(kept: &KeepAll) -> BTreeMap<(Who, bool), (u32, u32)> {
    let (mut found, second) = (BTreeMap::new(), SourceId(1));
    for call in &kept.calls {
        let drawn = (call.input, call.output);
        // Tasks of the second source ask `plain` first, and then `gold` or its fallback.
        let is_second_step = call.source == second && call.model != ModelId(PLAIN);
        let earlier = found.insert(((call.source, call.number), is_second_step), drawn);
        assert!(earlier.is_none_or(|earlier| earlier == drawn), "{call:?}: {earlier:?} before");
    }
    found
}

/// Who of the first source was answered by the first attempt, by whom, and when each token came.
fn first_attempts(kept: &KeepAll) -> BTreeMap<Who, (ModelId, Span, Span)> {
    let at_once = |call: &&CallRecord| call.source == SourceId(0) && call.scheduled == call.arrived;
    let took = |call: &CallRecord| {
        (call.model, call.first_token - call.scheduled, call.ended - call.scheduled)
    };
    kept.calls.iter().filter(at_once).map(|c| ((c.source, c.number), took(c))).collect()
}

/// Keys that both have, with whether they say the same.
fn compared<K: Ord + Copy, V: PartialEq>(
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
) -> (usize, Vec<K>) {
    let both = || a.iter().filter_map(|(key, value)| Some((key, value, b.get(key)?)));
    (both().count(), both().filter(|(_, a, b)| a != b).map(|(key, ..)| *key).collect())
}

#[test]
fn two_policies_at_work_meet_the_same_customers() {
    let [none, patient, hurried] = ["", PATIENT, HURRIED].map(|policy| arm(policy, 5));
    for (one, other) in [(&none, &patient), (&none, &hurried), (&patient, &hurried)] {
        assert_ne!(one.calls, other.calls, "the policies do not act");
        assert_eq!(customers(one), customers(other));
        let (common, differing) = compared(&lengths(one), &lengths(other));
        assert!(common > 400, "{common} calls were made by both");
        assert_eq!(differing, Vec::new(), "lengths");
        let (common, differing) = compared(&first_attempts(one), &first_attempts(other));
        assert!(common > 200, "{common} first attempts were answered in both");
        // The model says whose tier it is; how long the answer took is drawn for the attempt.
        assert_eq!(differing, Vec::new(), "first attempts");
    }
    // The comparison sees other customers where there are some.
    let others = arm("", 6);
    assert_ne!(customers(&none), customers(&others));
    assert!(!compared(&lengths(&none), &lengths(&others)).1.is_empty());
    assert!(!compared(&first_attempts(&none), &first_attempts(&others)).1.is_empty());
}

/// The coin of attempt `n` of a request is that of attempt `n`, however many there may be: who
/// succeeds with fewer attempts succeeds with more, and each further attempt mends its share.
#[test]
fn more_attempts_keep_the_coins_of_the_first_ones() {
    let succeeded = |attempts: u32| -> BTreeMap<Who, bool> {
        let kept = arm(&format!("[retries]\nmax_attempts = {attempts}\n"), 5);
        let asked = kept.tasks.iter().filter(|task| task.source == SourceId(0));
        // Right or wrong: an answer there was.
        let answered = |ending: Ending| matches!(ending, Ending::Success | Ending::Wrong);
        asked.map(|task| ((task.source, task.number), answered(task.ending))).collect()
    };
    let arms = [1, 2, 3].map(succeeded);
    for pair in arms.windows(2) {
        let lost = pair[0].iter().filter(|&(who, &well)| well && !pair[1][who]).count();
        let mended = pair[1].iter().filter(|&(who, &well)| well && !pair[0][who]).count();
        let failed = pair[0].values().filter(|&&well| !well).count();
        assert_eq!(lost, 0, "of {} tasks", pair[0].len());
        // Three of four further attempts succeed: within four standard errors.
        let error = 4.0 * (0.25 * 0.75 / failed as f64).sqrt();
        let share = mended as f64 / failed as f64;
        assert!((share - 0.75).abs() < error, "{mended} of {failed} mended");
    }
}

/// Everybody a chance, and another one.
fn generous(s: &mut Scenario) {
    let backoff = Backoff::Exponential {
        initial: Span::from_millis(50),
        factor: 2.0,
        max: Span::from_secs(1),
        jitter: sim::resilience::Jitter::Full,
    };
    let (on, respect_retry_after, budget) = (FailureSet::ALL, true, None);
    let retry = RetrySpec { max_attempts: 3, on, backoff, respect_retry_after, budget };
    s.models.iter_mut().for_each(|model| model.guards.retry = Some(retry.clone()));
    s.pools.iter_mut().for_each(|pool| pool.balancing.strategy = Balancing::LeastOutstanding);
}

/// Few at once, each hurried.
fn strict(s: &mut Scenario) {
    for guards in s.models.iter_mut().map(|model| &mut model.guards) {
        guards.timeout = Some(Span::from_millis(900));
        guards.cancel_on_timeout = true;
        guards.hedge = Some(HedgeSpec { delay: Span::from_millis(60), max_attempts: 2 });
        guards.admission = AdmissionSpec { max_in_flight: Some(4), shed: Vec::new() };
    }
    s.pools.iter_mut().for_each(|pool| pool.balancing.strategy = Balancing::Random);
}

proptest! {
    #![proptest_config(crate::tasks::cases(80))]

    /// On pools, where attempts of both arms queue behind different company.
    #[test]
    fn calls_that_both_arms_made_are_the_same_calls(
        base in swarm::open_loop_scenarios(),
        seed in any::<u64>(),
    ) {
        let [generous, strict] = [generous, strict].map(|change: fn(&mut Scenario)| {
            let mut scenario = base.clone();
            change(&mut scenario);
            record(&scenario, seed, 0).1
        });
        let drawn = |call: &CallRecord| (call.task, call.model, call.input, call.output);
        let calls = |kept: &KeepAll| -> BTreeMap<Who, _> {
            kept.calls.iter().map(|call| ((call.source, call.number), drawn(call))).collect()
        };
        prop_assert_eq!(compared(&calls(&generous), &calls(&strict)).1, Vec::new(), "lengths");
        prop_assert_eq!(arrivals(&generous), arrivals(&strict));
    }
}

/// Who came when. A task that is one plain call leaves no record of its own; its call does.
fn arrivals(kept: &KeepAll) -> BTreeMap<Who, Time> {
    let tasks = kept.tasks.iter().map(|task| ((task.source, task.number), task.arrived));
    let calls = kept.calls.iter().map(|call| ((call.source, call.number), call.arrived));
    tasks.chain(calls).collect()
}
