//! A thousandth of the speed is the same film: every time a thousand times as long.
//!
//! Why it must hold: nothing in the simulator knows how long a second is but the scenario's own
//! times and rates. (The one constant is the pause of a client of a closed loop whose request was
//! refused, a second; so here nobody waits for an answer before asking again.) Where all times are
//! stated as integers, so are the results, and they agree to the picosecond. Where times are drawn,
//! each drawn span is rounded to a picosecond before it is multiplied; then latencies agree to a
//! part in a billion.

use crate::conservation::record;
use crate::swarm;
use crate::tasks::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use scenarios::load_str;
use sim::Scenario;
use sim::backends::{Answering, Discipline, Limits, RemoteKind, RemotePrice, RemoteSpec, Station};
use sim::dist::DurationDist;
use sim::engine::StepTime;
use sim::fleet::PoolSpec;
use sim::ids::{Backend, ModelId, PoolId, RemoteId};
use sim::outcome::Outcome;
use sim::record::{CallRecord, KeepAll, TaskRecord};
use sim::resilience::{
    Backoff, BreakerSpec, FailureSet, GuardSpec, HedgeSpec, Jitter, RetrySpec, SlidingWindow,
};
use sim::scenario::{ModelSpec, Serving};
use sim::tasks::TaskSpec;
use sim::units::{Span, Time};
use sim::workload::{Arrivals, Trace, TraceRow};
use std::sync::Arc;

const SLOWER: u64 = 1_000;

/// What a scenario is made of; times in milliseconds, or microseconds where small.
#[derive(Clone, Debug)]
struct Draft {
    pools: Vec<(PoolSpec, [u64; 5])>,
    /// Instant, prompt and answer of each request.
    rows: Vec<(u64, u32, u32)>,
    /// Time to first token, per further token, places.
    hosted: (u64, u64, u32),
    /// Timeout, hedge, pause before a retry, rest of an open breaker.
    guards: [Option<u64>; 4],
    patience: Option<u64>,
    slo: u64,
}

fn drafts() -> impl Strategy<Value = Draft> {
    let micros = [500u64..5_000, 0..500, 1..20, 0..9, 0..900];
    let pools = vec((swarm::pool(), micros), 1..3);
    let rows = vec((0u64..9_000, 1u32..150, 1u32..60), 5..90);
    let hosted = (1u64..400, 0u64..20, 1u32..4);
    let guards = [50u64..3_000, 20..600, 1..300, 50..900].map(proptest::option::of);
    (pools, rows, hosted, guards, proptest::option::of(200u64..4_000), 100u64..3_000).prop_map(
        |(pools, mut rows, hosted, guards, patience, slo)| {
            rows.sort_unstable();
            Draft { pools, rows, hosted, guards, patience, slo }
        },
    )
}

/// The scenario at a speed; `hurry` leaves one time as it was.
fn scenario(draft: &Draft, slower: u64, hurry: bool) -> Scenario {
    let ms = |ms: u64| Span::from_millis(ms * slower);
    let fixed = |span: Span| DurationDist::Fixed(span);
    let pools = draft.pools.iter().map(|(pool, micros)| {
        let [base, extra, token, kv, pairs] = micros.map(|us| us * 1_000_000 * slower);
        let base = if hurry { base / slower } else { base };
        let knots = vec![(0, 0), (64, 64 * token)];
        // Pairs are counted by the 1024; a price of so many picoseconds for each leaves no part.
        let pairs = pairs / 1_000_000 * 1_024;
        let step = StepTime::new(base, extra, knots, kv / 1_000, pairs, vec![1, 4, 8]);
        let mut pool = pool.clone();
        pool.step_time = step.expect("it rises");
        pool.host.request = Span(pool.host.request.0 * slower);
        pool.host.prompt_token = Span(pool.host.prompt_token.0 * slower);
        pool.balancing.signal_age = Span(pool.balancing.signal_age.0 * slower);
        pool
    });
    let pools: Vec<PoolSpec> = pools.collect();
    let rows = draft.rows.iter().map(|&(at, input, output)| TraceRow {
        at: Time(ms(at).0),
        input,
        output,
        session: u32::MAX,
        segments_at: 0,
        segments_len: 0,
        context: 0,
    });
    let trace = Trace { rows: rows.collect(), span: ms(10_000), ..Trace::default() };
    let mut source = super::laws::source("rows", 4, 1.0);
    source.arrivals = Arrivals::Replay { trace: Arc::new(trace), jitter: Span::ZERO };
    source.people.client.patience = draft.patience.map(|patience| fixed(ms(patience)));
    let on_pools: Vec<PoolId> = (0..pools.len() as u32).map(PoolId).collect();
    let mut model = ModelSpec::on_pools("model", &on_pools);
    model.served_by.push(Serving { backend: Backend::Remote(RemoteId(0)), weight: 1.0 });
    model.guards = guards(draft.guards.map(|time| time.map(ms)));
    let mut task = TaskSpec::one_call("task", ModelId(0));
    task.latency_slo = Some(ms(draft.slo));
    let (first, further, places) = draft.hosted;
    Scenario {
        horizon: ms(9_500),
        warm_up: ms(800),
        window: ms(700),
        tasks: vec![task],
        sources: vec![source],
        models: vec![model],
        remotes: vec![hosted(ms(first), ms(further), places)],
        pools,
        ..Scenario::default()
    }
}

fn guards([timeout, hedge, pause, rest]: [Option<Span>; 4]) -> GuardSpec {
    GuardSpec {
        timeout,
        cancel_on_timeout: true,
        retry: pause.map(|initial| RetrySpec {
            max_attempts: 3,
            on: FailureSet::ALL,
            backoff: Backoff::Exponential {
                initial,
                factor: 2.0,
                max: Span(initial.0 * 8),
                jitter: Jitter::None,
            },
            respect_retry_after: true,
            budget: None,
        }),
        hedge: hedge.map(|delay| HedgeSpec { delay, max_attempts: 2 }),
        breaker: rest.map(|rest| BreakerSpec {
            failure_rate_threshold: 50.0,
            slow_call_rate_threshold: 50.0,
            slow_call_duration_threshold: rest,
            sliding_window: SlidingWindow::Calls(4),
            minimum_number_of_calls: 2,
            wait_duration_in_open_state: rest,
            permitted_calls_in_half_open_state: 1,
            consecutive_failures: None,
            failures: FailureSet::ALL,
        }),
        ..GuardSpec::default()
    }
}

fn hosted(first: Span, further: Span, places: u32) -> RemoteSpec {
    RemoteSpec {
        name: "hosted".into(),
        key: 9,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Fixed(first),
            per_input_token: Span::ZERO,
            tpot: DurationDist::Fixed(further),
            slowness: Vec::new(),
        },
        station: Station {
            servers: Some(places),
            queue_limit: Some(3),
            discipline: Discipline::ShortestFirst,
        },
        limits: Limits::default(),
        error_rate: 0.2,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: None,
        devices: Vec::new(),
        max_context: 4_000,
        price: RemotePrice::Free,
    }
}

/// A record at a thousandth of the speed.
fn slow_call(call: &CallRecord) -> CallRecord {
    let slow = |time: Time| Time(time.0 * SLOWER);
    CallRecord {
        arrived: slow(call.arrived),
        scheduled: slow(call.scheduled),
        first_token: slow(call.first_token),
        ended: slow(call.ended),
        ..*call
    }
}

fn slow_task(task: &TaskRecord) -> TaskRecord {
    TaskRecord {
        arrived: Time(task.arrived.0 * SLOWER),
        ended: Time(task.ended.0 * SLOWER),
        parts: task.parts.map(|part| Span(part.0 * SLOWER)),
        ..*task
    }
}

/// Whether the slower run is the same film; the counts besides the times.
fn is_the_same_film(usual: &(Outcome, KeepAll), slower: &(Outcome, KeepAll)) -> bool {
    let calls: Vec<CallRecord> = usual.1.calls.iter().map(slow_call).collect();
    let tasks: Vec<TaskRecord> = usual.1.tasks.iter().map(slow_task).collect();
    let counts = |o: &Outcome| -> Vec<_> {
        let tasks = o.tasks.iter().map(|t| [t.arrived, t.succeeded, t.rejected, t.within_slo]);
        let models = o.models.iter().map(|m| [m.calls, m.attempts, m.retries, m.hedges]);
        tasks.chain(models).collect()
    };
    calls == slower.1.calls && tasks == slower.1.tasks && counts(&usual.0) == counts(&slower.0)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_thousand_times_slower_is_a_thousand_times_longer(draft in drafts(), seed in any::<u64>()) {
        let usual = record(&scenario(&draft, 1, false), seed, 0);
        let slower = record(&scenario(&draft, SLOWER, false), seed, 0);
        prop_assert_eq!(&slower.0.audit, &Vec::<String>::new());
        for (usual, slower) in usual.1.calls.iter().zip(&slower.1.calls) {
            prop_assert_eq!(slow_call(usual), *slower);
        }
        prop_assert!(is_the_same_film(&usual, &slower), "{:?}", usual.0.tasks);
        if usual.1.calls.iter().any(|call| call.pool().is_some()) {
            let hurried = record(&scenario(&draft, SLOWER, true), seed, 0);
            prop_assert!(!is_the_same_film(&usual, &hurried), "one time that stays is not seen");
        }
    }
}

/// Tasks whose every time is stated in one of two units, small and large.
fn text(small: &str, large: &str, per_second: f64, per_minute: u32) -> String {
    format!(
        r#"
[scenario]
horizon = "2000{large}"
[traffic.web]
task = "reply"
arrivals = {{ kind = "gamma", rate = "{per_second}/s", cv = 1.5 }}
patience = {{ kind = "lognormal", p50 = "4000{small}", p95 = "9000{small}" }}
[tasks.reply]
p95_latency_slo = "2000{small}"
steps = [
  {{ id = "look", retrieval = "search", query = {{ topics = 300 }} }},
  {{ id = "draft", model_call = {{ input = {{ kind = "lognormal", p50 = 200, p95 = 700, max = 2000 }}, output = {{ kind = "lognormal", p50 = 50, p95 = 150, max = 400 }} }} }},
]
[models.mini]
served_by = ["api"]
[providers.api]
ttft = {{ kind = "lognormal", p50 = "300{small}", p95 = "1200{small}" }}
tpot = {{ kind = "gamma", mean = "9{small}", cv = 0.3 }}
per_input_token = "0.1{small}"
max_context = 8192
input = "$0.15/Mtok"
output = "$0.60/Mtok"
error_rate = 0.2
rpm = {per_minute}
burst = "10{large}"
[tools.search]
kind = "retrieval"
latency = {{ kind = "exponential", mean = "90{small}" }}
concurrency = 1
[routing]
default_model = "mini"
[caching.tools]
search = {{ ttl = "20{large}", lookup = "1{small}" }}
[retries]
max_attempts = 3
timeout = "3000{small}"
backoff = {{ initial = "100{small}", factor = 2.0, max = "400{small}", jitter = "full" }}
[budgets.reply]
max_latency = "9000{small}"
"#
    )
}

#[test]
fn drawn_times_scale_to_a_part_in_a_billion() {
    let run = |small, large, per_second, per_minute| {
        let text = text(small, large, per_second, per_minute);
        let resolved = load_str("clock.toml", &text, &[]);
        let scenario = resolved.unwrap_or_else(|problems| panic!("{problems}")).scenario;
        record(&scenario, 1, 0)
    };
    let usual = run("us", "ms", 2_000.0, 150_000);
    let slower = run("ms", "s", 2.0, 150);
    let named = |kept: &KeepAll| -> Vec<_> {
        kept.tasks
            .iter()
            .map(|t| (t.number, t.ending, t.submissions, t.ended - t.arrived))
            .collect()
    };
    let (usual, slower) = (named(&usual.1), named(&slower.1));
    assert_eq!(usual.len(), slower.len());
    let endings: std::collections::BTreeSet<_> = usual.iter().map(|task| task.1).collect();
    assert!(usual.len() > 3_000 && endings.len() > 3, "{} tasks: {endings:?}", usual.len());
    for (usual, slower) in usual.iter().zip(&slower) {
        assert_eq!((usual.0, usual.1, usual.2), (slower.0, slower.1, slower.2));
        let error = slower.3.0.abs_diff(usual.3.0 * SLOWER);
        // Below a microsecond of ten minutes it is the rounding of the instants themselves.
        assert!(error <= slower.3.0 / 1_000_000_000 + 1_000_000, "{usual:?} and {slower:?}");
    }
}
