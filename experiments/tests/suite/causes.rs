//! Causes of a cost that can be counted by hand: context, its misses in a provider's cache, misses
//! in a cache of answers, and GPU time for nobody.

use crate::support::dollars;
use crate::world;
use experiments::{CostPart, Halt, NoProgress, Plan, RunResult, Sample, Warning, run};
use sim::backends::{Meter, PromptCache, RemotePrice, RemoteSpec};
use sim::cache::{Eviction, ExactCacheSpec, QuerySpec};
use sim::dist::{DurationDist, LengthsSpec};
use sim::ids::{Backend, PoolId, RemoteId};
use sim::resilience::GuardSpec;
use sim::tasks::{ModelCallSpec, Work};
use sim::units::{Money, Span};
use sim::workload::{Arrivals, Gaps, PrefixSpec, RateCurve, SessionSpec, SourceSpec};
use sim::{Outcome, Scenario, Simulation};

fn simulate(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
    Ok(Simulation::new(scenario, seed, replication).run())
}

fn result(scenario: &Scenario) -> RunResult {
    let plan = Plan { seed: 3, replications: Sample::Fixed(1), ..Plan::default() };
    let result = run(scenario, &plan, &[], &simulate, &NoProgress).expect("it finishes");
    let audited = |warning: &Warning| !matches!(warning, Warning::AuditFailed { .. });
    assert!(result.warnings.iter().all(audited), "{:?}", result.warnings);
    let drivers = result.cost_drivers.as_ref().expect("a task that is no plain call");
    for list in [&drivers.items, &drivers.causes] {
        let sum: i128 = list.iter().map(|part| part.amount.0).sum();
        assert_eq!(sum, result.spend.total.0, "{list:?}");
    }
    result
}

fn amount(list: &[CostPart], key: &str) -> Money {
    list.iter().find(|part| part.key == key).map_or(Money::ZERO, |part| part.amount)
}

fn cause(result: &RunResult, key: &str) -> Money {
    result.cost_drivers.as_ref().map_or(Money::ZERO, |drivers| amount(&drivers.causes, key))
}

const METER: Meter = Meter {
    input: Money(1_000),
    cached_input: Money(100),
    cache_write: Money(1_250),
    output: Money(4_000),
    call: Money(7),
};

/// Ten conversations of two turns: prompts of 100 fresh tokens, answers of 10. The second prompt
/// repeats 110 tokens.
fn conversations(prompt_cache: Option<PromptCache>) -> Scenario {
    let fixed = world::fixed;
    let session = SessionSpec {
        turns: fixed(2),
        think: DurationDist::Fixed(Span::from_secs(10)),
        memory: None,
    };
    Scenario {
        horizon: Span::from_secs(1_080),
        window: Span::from_secs(10),
        tasks: vec![world::task("reply", vec![world::step("call", &[], world::call(0))])],
        sources: vec![SourceSpec {
            arrivals: every(100),
            lengths: LengthsSpec { input: fixed(100), output: fixed(10), correlation: 0.0 },
            session: Some(session),
            ..world::source("chat", 71, 0, 1.0)
        }],
        models: vec![world::served("m", Backend::Remote(RemoteId(0)), GuardSpec::default())],
        remotes: vec![RemoteSpec {
            price: RemotePrice::Metered(METER),
            prompt_cache,
            ..world::remote("api", 72)
        }],
        ..Scenario::default()
    }
}

fn every(secs: u64) -> Arrivals {
    let rate = RateCurve::constant(1.0 / secs as f64);
    Arrivals::Renewal { gaps: Gaps::Constant, rate }
}

fn cache(ttl: u64, min_tokens: u32) -> Option<PromptCache> {
    Some(PromptCache { ttl: Span::from_secs(ttl), min_tokens, granularity: 1, capacity: 100 })
}

#[test]
fn history_costs_what_it_would_from_the_cache_and_misses_the_rest() {
    // Context per conversation, read from the cache, missing there.
    for (prompt_cache, best, missed) in [
        (None, 110 * 1_000, 0),
        // The first prompt is read, the answer to it is new to the cache.
        (cache(300, 1), 110 * 100, 10 * 1_150),
        (cache(5, 1), 110 * 100, 110 * 1_150),
        // No prompt is long enough for this cache, so nothing is missing in it.
        (cache(300, 1_000), 110 * 1_000, 0),
    ] {
        let found = result(&conversations(prompt_cache));
        let conversations = found.tasks[0].counts.succeeded / 2;
        assert!(conversations >= 10 && found.tasks[0].counts.succeeded.is_multiple_of(2));
        let of = |each: i128| Money(each * i128::from(conversations));
        assert_eq!(cause(&found, "context"), of(best), "{prompt_cache:?}");
        assert_eq!(cause(&found, "cache_misses"), of(missed), "{prompt_cache:?}");
        // 200 fresh tokens and 20 of answers in two calls; the fresh ones are written as well.
        let fresh =
            if prompt_cache.is_some_and(|cache| cache.min_tokens == 1) { 1_250 } else { 1_000 };
        assert_eq!(cause(&found, "first_calls"), of(200 * fresh + 20 * 4_000 + 2 * 7));
    }
}

#[test]
fn a_prefix_that_prompts_share_is_context() {
    let mut scenario = conversations(None);
    scenario.sources[0].session = None;
    scenario.sources[0].prefix = Some(PrefixSpec { tokens: 40, distinct: 1, zipf: 0.0 });
    let found = result(&scenario);
    let tasks = i128::from(found.tasks[0].counts.succeeded);
    assert_eq!(cause(&found, "context"), Money(tasks * 40 * 1_000));
}

/// Answers of 10 tokens take 0.1 s; those of 100 are given up after 0.5 s.
#[test]
fn gpu_time_of_unused_attempts_is_told_by_time_at_work() {
    let timeout = Some(Span::from_millis(500));
    let hasty = GuardSpec { timeout, cancel_on_timeout: true, ..GuardSpec::default() };
    let source = |name, key, task, output| SourceSpec {
        arrivals: every(10),
        lengths: LengthsSpec {
            input: world::fixed(100),
            output: world::fixed(output),
            correlation: 0.0,
        },
        ..world::source(name, key, task, 1.0)
    };
    let one = |name, model| world::task(name, vec![world::step("call", &[], world::call(model))]);
    let scenario = Scenario {
        horizon: Span::from_secs(1_085),
        tasks: vec![one("short", 0), one("long", 1)],
        sources: vec![source("short", 81, 0, 10), source("long", 82, 1, 100)],
        models: vec![
            world::served("short", Backend::Pool(PoolId(0)), GuardSpec::default()),
            world::served("long", Backend::Pool(PoolId(0)), hasty),
        ],
        pools: world::scenario().pools,
        remotes: Vec::new(),
        ..conversations(None)
    };
    let found = result(&scenario);
    let (short, long) = (found.tasks[0].counts, found.tasks[1].counts);
    assert_eq!((long.succeeded, short.failed), (0, 0));
    assert_eq!(short.succeeded, long.failed);
    let items = &found.cost_drivers.as_ref().expect("they are there").items;
    let [used, wasted] = ["gpu_at_work", "gpu_wasted"].map(|key| amount(items, key).0 as f64);
    assert!((wasted / (used + wasted) - 5.0 / 6.0).abs() < 0.02, "{used} {wasted}");
    assert_eq!(cause(&found, "wasted_attempts"), amount(items, "gpu_wasted"));
    // Nothing repeats, so nothing is computed again.
    let beside = &found.cost_drivers.as_ref().expect("they are there").beside;
    let prompts = 100 * (short.succeeded + long.failed);
    assert_eq!((beside.computed_tokens, beside.recomputed_tokens), (prompts, 0));
}

/// Conversations on our own GPUs: without a prefix cache the second prompt's context is computed
/// again, with one its full blocks of 16 tokens are not.
#[test]
fn context_on_gpus_is_counted_in_tokens() {
    for (prefix_caching, again) in [(false, 110), (true, 110 - 96)] {
        let mut scenario = conversations(None);
        let (mut pools, guards) = (world::scenario().pools, GuardSpec::default());
        (pools[0].replicas, pools[0].engine.prefix_caching) = (1, prefix_caching);
        scenario.models = vec![world::served("m", Backend::Pool(PoolId(0)), guards)];
        // Observation makes it more than a plain call, which has no list of causes.
        scenario.tasks[0].observability = dollars(1);
        (scenario.pools, scenario.remotes) = (pools, Vec::new());
        let found = result(&scenario);
        let conversations = found.tasks[0].counts.succeeded / 2;
        let beside = &found.cost_drivers.as_ref().expect("they are there").beside;
        assert_eq!(beside.recomputed_tokens, again * conversations, "{beside:?}");
        assert_eq!(beside.computed_tokens, (200 + again) * conversations);
    }
}

/// One question, asked every 100 s of a cache that keeps an answer for 150 s: every second call is
/// a miss, and all that is paid for is misses.
#[test]
fn misses_in_a_cache_of_answers_cost_what_their_calls_do() {
    let mut scenario = conversations(None);
    scenario.sources[0].session = None;
    let Work::ModelCall(call) = world::call(0) else { panic!("it is a call") };
    let query = QuerySpec {
        topics: 1,
        zipf: 0.0,
        phrasings: 1,
        neighbours: 1,
        similarity: 0.9,
        neighbour_similarity: 0.5,
        spread: 0.01,
    };
    let asks = Work::ModelCall(ModelCallSpec { query: Some(query), cacheable: true, ..call });
    scenario.tasks = vec![world::task("reply", vec![world::step("call", &[], asks)])];
    scenario.exact_cache = Some(ExactCacheSpec {
        ttl: Span::from_secs(150),
        capacity: 10,
        eviction: Eviction::Lru,
        lookup: Span::ZERO,
    });
    let found = result(&scenario);
    let beside = &found.cost_drivers.as_ref().expect("they are there").beside;
    assert!((4..=6).contains(&beside.answer_misses), "{beside:?}");
    let asked = i128::from(beside.answer_misses);
    assert_eq!(beside.answer_misses_cost, Money(asked * (100 * 1_000 + 10 * 4_000 + 7)));
    assert_eq!(beside.answer_misses_cost, found.spend.by.tokens);
    scenario.exact_cache = None;
    let found = result(&scenario);
    assert_eq!(found.cost_drivers.map(|drivers| drivers.beside.answer_misses), Some(0));
}
