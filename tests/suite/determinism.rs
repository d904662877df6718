//! The same question gets the same answer: twice, on any number of threads, and whatever knobs
//! that change nothing are turned.
//!
//! Policies see the same customers: another balancing strategy leaves every request what it was.
//! Hashes of fixed scenarios are in `fixed`.

mod fixed;

use crate::conservation::record;
use crate::swarm;
use experiments::determinism::check_determinism;
use experiments::{NoProgress, Plan, Sample};
use proptest::prelude::*;
use sim::dist::{DurationDist, LengthDist, LengthLaw};
use sim::event::EventRecord;
use sim::fleet;
use sim::ids::{ModelId, TaskId};
use sim::outcome::Outcome;
use sim::predicate::{Op, Predicate, Signal, Value};
use sim::price::{LimitReached, SpendLimit, SpendScope};
use sim::record::CallRecord;
use sim::resilience::{
    AdmissionSpec, Backoff, BreakerSpec, FailureSet, GuardSpec, HedgeSpec, RetryBudgetSpec,
    RetrySpec, SlidingWindow,
};
use sim::routing::{Fallback, Rule, Share};
use sim::units::{Blocks, Money, Span, Time};
use sim::workload::{Arrivals, RateCurve, ScaleHow, Scaling, SourceSpec};
use sim::{Scenario, Simulation};

const SEED: u64 = 20_260_101;

fn run(scenario: &Scenario) -> Outcome {
    Simulation::new(scenario, SEED, 1).run()
}

/// A simulation as the sequence of its events.
fn events(scenario: &Scenario, seed: u64) -> impl Iterator<Item = EventRecord> {
    let mut simulation = Simulation::new(scenario, seed, 0);
    std::iter::from_fn(move || simulation.step())
}

/// Everything of an outcome that a knob without effect must leave alone. Windows are left out: an
/// unused pool has KV blocks, too.
fn assert_same(before: &Outcome, after: &Outcome, what: &str) {
    assert_eq!(before.tasks, after.tasks, "{what}");
    assert_eq!(before.models, after.models, "{what}");
    let used = before.pools.len();
    assert_eq!(before.pools[..], after.pools[..used], "{what}");
    assert_eq!(before.ledger.gpu[..], after.ledger.gpu[..used], "{what}");
    assert_eq!(before.events, after.events, "{what}");
    assert_eq!(before.log_hash, after.log_hash, "{what}");
}

/// A copy with one thing changed.
fn with(scenario: &Scenario, change: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut changed = scenario.clone();
    change(&mut changed);
    changed
}

/// Both scenarios come from `base`; the second only has a knob turned that changes nothing.
fn check_no_op(
    what: &str,
    base: &Scenario,
    prepare: impl Fn(&mut Scenario),
    turn: impl Fn(&mut Scenario),
) {
    let before = with(base, prepare);
    let after = with(&before, turn);
    assert_same(&run(&before), &run(&after), what);
}

/// Curves of all sources.
fn each_curve(scenario: &mut Scenario, mut change: impl FnMut(&mut RateCurve)) {
    for source in &mut scenario.sources {
        match &mut source.arrivals {
            Arrivals::Renewal { rate, .. } => change(rate),
            Arrivals::Modulated { shape, .. } => change(shape),
            Arrivals::ClosedLoop { .. } | Arrivals::Replay { .. } => {}
        }
    }
}

fn scale(how: ScaleHow) -> impl Fn(&mut Scenario) {
    move |s| s.sources.iter_mut().for_each(|source| source.scaling = Scaling { factor: 1.0, how })
}

/// A source that sends nothing.
fn silent(like: &SourceSpec) -> SourceSpec {
    let mut source = like.clone();
    source.key = !like.key;
    source.arrivals = Arrivals::Renewal {
        gaps: sim::workload::Gaps::Exponential,
        rate: RateCurve::constant(0.0),
    };
    source.lengths.input = LengthDist { law: LengthLaw::Fixed(1), min: 1, max: 1 };
    source
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_inputs_give_equal_outcomes(scenario in swarm::scenarios(), seed in any::<u64>()) {
        let (first, calls) = record(&scenario, seed, 2);
        let (second, again) = record(&scenario, seed, 2);
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(calls.calls, again.calls);
        prop_assert_eq!(first, Simulation::new(&scenario, seed, 2).run(), "recording changes it");
        let events = check_determinism(|| events(&scenario, seed));
        prop_assert!(events.is_ok(), "{:?}", events);
    }

    #[test]
    fn no_op_settings_of_engines_change_nothing(base in swarm::scenarios()) {
        let engines = |change: fn(&mut sim::engine::EngineSpec)| {
            move |s: &mut Scenario| s.pools.iter_mut().for_each(|pool| change(&mut pool.engine))
        };
        let roomy = engines(|engine| {
            engine.kv_blocks = Blocks(20_000);
            engine.watermark = Blocks(0);
        });
        check_no_op("a watermark never reached", &base, roomy, engines(|engine| {
            engine.watermark = Blocks(100);
        }));
        let whole = engines(|engine| engine.long_prefill_token_threshold.0 = 0);
        check_no_op("chunks longer than any prompt", &base, whole, engines(|engine| {
            engine.long_prefill_token_threshold.0 = engine.max_model_len.0 + 1;
        }));
        let endless = engines(|engine| engine.max_num_queued_reqs = None);
        check_no_op("a queue longer than any", &base, endless, engines(|engine| {
            engine.max_num_queued_reqs = Some(u32::MAX);
        }));
        let free = engines(|engine| engine.max_num_queued_tokens = None);
        check_no_op("more prompt tokens than ever come", &base, free, engines(|engine| {
            engine.max_num_queued_tokens = Some(u64::MAX);
        }));
        let wide = engines(|engine| engine.max_num_seqs = 10_000);
        check_no_op("more sequences than there are", &base, wide, engines(|engine| {
            engine.max_num_seqs = 20_000;
        }));
    }

    #[test]
    fn no_op_settings_of_traffic_change_nothing(base in swarm::scenarios(), at in 0u64..16_000) {
        let nothing = |_: &mut Scenario| ();
        check_no_op("a spike of factor 1", &base, nothing, |s| each_curve(s, |curve| {
            curve.spikes.push((Time::ZERO.after(Span::from_millis(at)), Span::from_millis(700), 1.0));
        }));
        for how in [ScaleHow::FasterUsers, ScaleHow::Burstier] {
            check_no_op("a factor of 1", &base, scale(ScaleHow::MoreUsers), scale(how));
        }
        check_no_op("a source of rate 0", &base, nothing, |s| {
            let source = silent(&s.sources[0]);
            s.sources.push(source);
        });
    }

    #[test]
    fn no_op_settings_of_pools_change_nothing(base in swarm::scenarios(), age in 1u64..2_000) {
        let balance = |change: &dyn Fn(&mut fleet::Balancing), s: &mut Scenario| {
            s.pools.iter_mut().for_each(|pool| change(&mut pool.balancing));
        };
        for strategy in [fleet::Strategy::RoundRobin, fleet::Strategy::Random] {
            check_no_op(
                "the age of signals that nobody reads",
                &base,
                |s| balance(&|b| (b.strategy, b.signal_age) = (strategy, Span::ZERO), s),
                |s| balance(&|b| b.signal_age = Span::from_millis(age), s),
            );
        }
        check_no_op(
            "own dispatches when signals are current",
            &base,
            |s| balance(&|b| b.signal_age = Span::ZERO, s),
            |s| balance(&|b| b.count_own_dispatches = !b.count_own_dispatches, s),
        );
        check_no_op("an unused pool", &base, |s| balance(&|b| b.signal_age = Span::ZERO, s), |s| {
            let pool = s.pools[0].clone();
            s.pools.push(pool);
        });
    }

    #[test]
    fn another_strategy_meets_the_same_customers(base in swarm::open_loop_scenarios()) {
        let customers = |strategy: fleet::Strategy| {
            let scenario = with(&base, |s| {
                for pool in &mut s.pools {
                    pool.balancing.strategy = strategy;
                    // Who is refused or overflows would depend on who waits.
                    pool.engine.max_num_queued_reqs = None;
                    pool.engine.max_num_queued_tokens = None;
                }
            });
            let mut calls = record(&scenario, SEED, 0).1.calls;
            calls.sort_by_key(|call| (call.source, call.number));
            let customer =
                |c: &CallRecord| (c.source, c.number, c.arrived, c.input, c.output, c.model, c.backend);
            calls.iter().map(customer).collect::<Vec<_>>()
        };
        let expected = customers(fleet::Strategy::RoundRobin);
        for strategy in [
            fleet::Strategy::Random,
            fleet::Strategy::LeastOutstanding,
            fleet::Strategy::PowerOfChoices { choices: 2 },
            fleet::Strategy::KvAware,
            fleet::Strategy::PrefixAffinity { max_imbalance: 2 },
        ] {
            prop_assert_eq!(&customers(strategy), &expected, "{:?}", strategy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_do_not_change_a_result(scenario in swarm::scenarios(), seed in any::<u64>()) {
        let simulate = |scenario: &Scenario, seed: u64, replication: u32| {
            Ok(Simulation::new(scenario, seed, replication).run())
        };
        let result = |threads: usize| {
            let plan = Plan {
                seed,
                replications: Sample::Fixed(9),
                threads: Some(threads),
                ..Plan::default()
            };
            experiments::run(&scenario, &plan, &[], &simulate, &NoProgress).expect("nobody stops it")
        };
        let alone = result(1);
        prop_assert_eq!(alone.replications, 9);
        prop_assert_eq!(&alone, &result(2));
        prop_assert_eq!(&alone, &result(8));
    }
}

#[test]
fn the_checker_finds_where_two_seeds_part() {
    for (name, scenario) in fixed::scenarios() {
        let mut seeds = [1, 2].into_iter();
        let found = check_determinism(|| events(&scenario, seeds.next().unwrap_or(0)));
        assert!(found.is_err(), "{name}: two seeds give one run");
    }
}

/// A budget that no task can reach, which makes every task take the general way.
fn out_of_reach(scenario: &mut Scenario) {
    scenario.tasks.iter_mut().for_each(|task| task.budget.max_model_calls = Some(1_000));
}

/// Guards around every model that nothing ever makes act.
fn guards_that_never_act(scenario: &mut Scenario) {
    let never = Span::from_secs(100 * 86_400);
    let nothing = FailureSet::default();
    for model in &mut scenario.models {
        model.guards = GuardSpec {
            timeout: Some(never),
            cancel_on_timeout: true,
            retry: Some(RetrySpec {
                max_attempts: 5,
                on: nothing,
                backoff: Backoff::Drawn(DurationDist::Fixed(Span::from_secs(1))),
                respect_retry_after: true,
                budget: Some(RetryBudgetSpec { ratio: 0.2, min_per_second: 10, ttl: never }),
            }),
            hedge: Some(HedgeSpec { delay: never, max_attempts: 3 }),
            breaker: Some(BreakerSpec {
                failure_rate_threshold: 50.0,
                slow_call_rate_threshold: 100.0,
                slow_call_duration_threshold: never,
                sliding_window: SlidingWindow::Calls(100),
                minimum_number_of_calls: 1,
                wait_duration_in_open_state: Span::from_secs(60),
                permitted_calls_in_half_open_state: 1,
                consecutive_failures: Some(1),
                failures: nothing,
            }),
            admission: AdmissionSpec { max_in_flight: Some(u32::MAX), shed: vec![(1, u32::MAX)] },
        };
    }
}

/// Something done to a scenario.
type Change = fn(&mut Scenario);

/// Routing and limits that do act, each on some of the tasks.
fn acting_policies() -> [(&'static str, Change); 4] {
    [
        ("fallbacks", |s| {
            let last = ModelId(s.models.len() as u32 - 1);
            let fallback = Fallback { model: last, on: FailureSet::ALL };
            s.routing.fallbacks = vec![vec![fallback]; s.models.len()];
        }),
        ("escalations", |s| {
            let sure = [Op::Constant(Value::Number(0.5)), Op::Read(Signal::Confidence), Op::Less];
            let when = Predicate::new(sure.to_vec()).expect("a well-formed condition");
            let model = ModelId(s.models.len() as u32 - 1);
            s.routing.escalations = vec![Rule { when, model }];
        }),
        ("a canary", |s| {
            let to = ModelId(s.models.len() as u32 - 1);
            let share = Share { of: ModelId(0), to, share: 0.5, shadow: false, key: 1 };
            s.routing.shares = vec![share];
        }),
        ("a spend limit", |s| {
            let (scope, then) = (SpendScope::Task(TaskId(0)), LimitReached::Refuse);
            let limit = Money::ZERO;
            s.spend_limits = vec![SpendLimit { scope, limit, period: Span::from_secs(1), then }];
        }),
    ]
}

/// A run without what is counted on the general way alone, and its calls.
fn on_either_way(scenario: &Scenario, seed: u64) -> (Outcome, Vec<CallRecord>) {
    let (mut outcome, kept) = record(scenario, seed, 1);
    for task in &mut outcome.tasks {
        *task = sim::outcome::TaskOutcome {
            arrived: task.arrived,
            succeeded: task.succeeded,
            failed: task.failed,
            rejected: task.rejected,
            abandoned: task.abandoned,
            in_flight: task.in_flight,
            within_slo: task.within_slo,
            completed: task.completed,
            latency: std::mem::take(&mut task.latency),
            ..Default::default()
        };
    }
    outcome.models.iter_mut().for_each(|model| model.failures = Default::default());
    outcome.tenants.clear();
    (outcome, kept.calls)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_and_the_general_way_agree(base in swarm::scenarios(), seed in any::<u64>()) {
        let short = on_either_way(&base, seed);
        for general in [out_of_reach, guards_that_never_act] {
            prop_assert_eq!(&short, &on_either_way(&with(&base, general), seed));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_acts_on_a_plain_task_too(base in swarm::open_loop_scenarios(), seed in any::<u64>()) {
        for (what, policy) in acting_policies() {
            let plain = with(&base, policy);
            let general = with(&plain, out_of_reach);
            let (plain, general) = (on_either_way(&plain, seed), on_either_way(&general, seed));
            prop_assert_eq!(plain, general, "{}", what);
        }
    }
}
