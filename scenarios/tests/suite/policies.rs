//! Policies: what they resolve to, what is refused, and the seed's pseudo-configuration key by key.

use crate::support::{SMALL, load};
use scenarios::resolved::Origin;
use scenarios::{ProblemKind as Kind, Problems, Resolved};
use sim::cache::Eviction;
use sim::fleet::Strategy;
use sim::ids::{ModelId, TaskId};
use sim::price::{Beyond, LimitReached, SpendScope};
use sim::resilience::{Backoff, Failure, FailureSet, GuardSpec, HedgeSpec, Jitter, SlidingWindow};
use sim::routing::Fallback;
use sim::tasks::{Rung, TaskBudget};
use sim::units::{Money, Span};

/// [`SMALL`] with three models on its pool.
fn tiers() -> String {
    SMALL.replace(
        "[models.small]\n",
        "[models.mid]\nserved_by = [\"h100\"]\n[models.premium]\nserved_by = [\"h100\"]\n[models.small]\n",
    )
}

/// Positions of the models of [`tiers`].
const MID: ModelId = ModelId(0);
const PREMIUM: ModelId = ModelId(1);
const SMALLER: ModelId = ModelId(2);

fn with(policy: &str) -> Result<Resolved, Problems> {
    load(&format!("{}\n{policy}", tiers()), &[])
}

fn good(policy: &str) -> Resolved {
    with(policy).unwrap_or_else(|problems| panic!("{policy}: {problems}"))
}

fn set(failures: &[Failure]) -> FailureSet {
    failures.iter().fold(FailureSet::default(), |set, &failure| set.with(failure))
}

const USUAL: [Failure; 4] =
    [Failure::RateLimited, Failure::Overloaded, Failure::ServerError, Failure::Timeout];

#[test]
fn power_of_two_may_draw_more() {
    for (line, choices) in [("", 2), (", choices = 3", 3), (", choices = 100", 100)] {
        let resolved =
            good(&format!("[load_balancing]\nh100 = {{ strategy = \"power-of-two\"{line} }}"));
        let strategy = resolved.scenario.pools[0].balancing.strategy;
        assert_eq!(strategy, Strategy::PowerOfChoices { choices });
    }
}

#[test]
fn rules_are_told_apart_by_whether_they_wait_for_an_answer() {
    let resolved = good(
        "[routing]\n\
         default_model = \"small\"\n\
         fail_closed = true\n\
         [[routing.escalate_if]]\nwhen = \"confidence < 0.72\"\nmodel = \"mid\"\n\
         [[routing.escalate_if]]\ncondition = \"prompt_tokens > 1000 and model_calls < 3\"\n\
         model = \"premium\"\n\
         [[routing.escalate_if]]\nwhen = \"breaker_open.h100\"\nmodel = \"mid\"\n\
         [routing.fallbacks]\n\
         small = [\"mid\", { model = \"premium\", on = [\"rate_limited\", \"timeout\"] }]\n\
         [[routing.canary]]\nof = \"small\"\nto = \"mid\"\nshare = 0.05\n\
         [[routing.shadow]]\nof = \"small\"\nto = \"premium\"\nshare = 1\n",
    );
    let routing = &resolved.scenario.routing;
    assert_eq!(routing.default_model, Some(SMALLER));
    assert!(routing.fail_closed);
    let models = |rules: &[sim::routing::Rule]| rules.iter().map(|r| r.model).collect::<Vec<_>>();
    assert_eq!(models(&routing.rules), [PREMIUM, MID]);
    assert_eq!(models(&routing.escalations), [MID]);
    let on = set(&[Failure::RateLimited, Failure::Timeout]);
    let fallbacks =
        vec![Fallback { model: MID, on: FailureSet::ALL }, Fallback { model: PREMIUM, on }];
    assert_eq!(routing.fallbacks, [vec![], vec![], fallbacks]);
    let shares: Vec<_> = routing.shares.iter().map(|s| (s.of, s.to, s.share, s.shadow)).collect();
    assert_eq!(shares, [(SMALLER, MID, 0.05, false), (SMALLER, PREMIUM, 1.0, true)]);
    assert_ne!(routing.shares[0].key, routing.shares[1].key);
}

#[test]
fn a_single_model_leaves_to_the_table_of_all_what_it_does_not_say() {
    let resolved = good(
        "[retries]\ntimeout = \"30s\"\n\
         backoff = { initial = \"200ms\", max = \"5s\", jitter = \"equal\" }\n\
         retry_budget = { ratio = 0.1 }\n\
         [retries.models.mid]\nmax_attempts = \"unlimited\"\non = [\"timeout\"]\ntimeout = \"none\"\n\
         retry_budget = \"none\"\n\
         [circuit_breaker]\nfailure_rate_threshold = 20\nsliding_window_type = \"time_based\"\n\
         [circuit_breaker.models.premium]\nenabled = false\n\
         [circuit_breaker.models.mid]\nsliding_window_size = 7\nrecord = [\"server_error\"]\n\
         [hedging.models.small]\ndelay = \"2s\"\n\
         [admission.models.mid]\nmax_in_flight = 9\nshed = [{ priority = 2, in_flight = 5 }]\n",
    );
    let [mid, premium, small] = &resolved.scenario.models[..] else { panic!("three models") };
    let retry = small.guards.retry.as_ref().expect("retries");
    assert_eq!((retry.max_attempts, retry.on), (3, set(&USUAL)));
    let backoff = Backoff::Exponential {
        initial: Span::from_millis(200),
        factor: 2.0,
        max: Span::from_secs(5),
        jitter: Jitter::Equal,
    };
    assert_eq!(retry.backoff, backoff);
    let budget = retry.budget.expect("a budget");
    assert_eq!((budget.ratio, budget.min_per_second), (0.1, 10));
    assert_eq!(small.guards.timeout, Some(Span::from_secs(30)));
    assert!(small.guards.cancel_on_timeout && retry.respect_retry_after);
    assert_eq!(premium.guards.retry, small.guards.retry);
    let own = mid.guards.retry.as_ref().expect("retries");
    assert_eq!((own.max_attempts, own.on), (u32::MAX, set(&[Failure::Timeout])));
    assert_eq!((&own.backoff, own.budget, mid.guards.timeout), (&backoff, None, None));

    let breaker = small.guards.breaker.expect("a breaker");
    assert_eq!(breaker.failure_rate_threshold, 20.0);
    assert_eq!(breaker.sliding_window, SlidingWindow::Seconds(100));
    assert_eq!(breaker.wait_duration_in_open_state, Span::from_secs(60));
    assert_eq!(premium.guards.breaker, None);
    let own = mid.guards.breaker.expect("a breaker");
    assert_eq!(own.sliding_window, SlidingWindow::Seconds(7));
    assert_eq!((own.failures, own.failure_rate_threshold), (set(&[Failure::ServerError]), 20.0));

    let hedge = HedgeSpec { delay: Span::from_secs(2), max_attempts: 2 };
    assert_eq!((small.guards.hedge, mid.guards.hedge), (Some(hedge), None));
    assert_eq!(mid.guards.admission.max_in_flight, Some(9));
    assert_eq!(mid.guards.admission.shed, [(2, 5)]);
    assert_eq!(small.guards.admission, Default::default());
}

#[test]
fn resilience4js_defaults_are_filled_in_and_noted() {
    let resolved = good("[circuit_breaker]\n[retries]\nmax_attempts = 5\n");
    let breaker = resolved.scenario.models[0].guards.breaker.expect("a breaker");
    assert_eq!(breaker.failure_rate_threshold, 50.0);
    assert_eq!(breaker.slow_call_rate_threshold, 100.0);
    assert_eq!(breaker.slow_call_duration_threshold, Span::from_secs(60));
    assert_eq!(breaker.sliding_window, SlidingWindow::Calls(100));
    assert_eq!(breaker.minimum_number_of_calls, 100);
    assert_eq!(breaker.permitted_calls_in_half_open_state, 10);
    assert_eq!((breaker.consecutive_failures, breaker.failures), (None, set(&USUAL)));
    for (key, value) in [
        ("circuit_breaker.minimum_number_of_calls", "100"),
        ("circuit_breaker.record", "rate_limited, overloaded, server_error, timeout"),
        ("retries.on", "rate_limited, overloaded, server_error, timeout"),
        ("retries.timeout", "none"),
    ] {
        let lines: Vec<_> = resolved.provenance.iter().filter(|line| line.key == key).collect();
        assert_eq!(lines.len(), 1, "{key}");
        assert_eq!((lines[0].value.as_str(), &lines[0].origin), (value, &Origin::Default));
    }
}

#[test]
fn what_never_acts_is_left_out() {
    let plain = load(&tiers(), &[]).expect("a good scenario").scenario;
    let resolved = good(
        "[routing]\n[retries]\nmax_attempts = 1\n[hedging]\nmax_attempts = 1\n\
         [circuit_breaker]\nenabled = false\n[admission]\n[budgets.chat]\n\
         [caching.semantic]\nenabled = false\nsimilarity_threshold = 0.9\n\
         [caching.exact]\nenabled = false\n",
    );
    assert!(resolved.scenario.models.iter().all(|m| m.guards == GuardSpec::default()));
    assert_eq!(resolved.scenario, plain);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
}

#[test]
fn budgets_have_ladders_with_stated_defaults() {
    let resolved = good(
        "[routing]\ndefault_model = \"mid\"\n\
         [budgets.chat]\nmax_model_calls = 5\nmax_input_tokens = 6000\nmax_output_tokens = 700\n\
         max_tool_time = \"2s\"\nmax_latency = \"20s\"\n\
         on_exceeded = [\"shorter_context\", \"smaller_model\", \"cached_answer\", \
         \"partial_result\", \"refine\", { rung = \"shorter_context\", keep = 0.25 }, \
         { rung = \"smaller_model\", model = \"small\" }, \
         { rung = \"partial_result\", quality = 1 }]\n",
    );
    let budget = TaskBudget {
        max_model_calls: Some(5),
        max_input_tokens: Some(6_000),
        max_output_tokens: Some(700),
        max_tool_time: Some(Span::from_secs(2)),
        max_latency: Some(Span::from_secs(20)),
        on_exceeded: vec![
            Rung::ShorterContext { keep: 0.5, quality: 0.95 },
            Rung::SmallerModel { model: MID },
            Rung::CachedAnswer { similarity: 0.8 },
            Rung::PartialResult { quality: 0.5 },
            Rung::Refine,
            Rung::ShorterContext { keep: 0.25, quality: 0.95 },
            Rung::SmallerModel { model: SMALLER },
            Rung::PartialResult { quality: 1.0 },
        ],
    };
    assert_eq!(resolved.scenario.tasks[0].budget, budget);
    let noted = |key: &str| resolved.provenance.iter().any(|line| line.key == key);
    assert!(
        noted("budgets.chat.on_exceeded[0].keep") && noted("budgets.chat.on_exceeded[1].model")
    );
    assert!(
        !noted("budgets.chat.on_exceeded[5].keep.") && noted("budgets.chat.on_exceeded[5].quality")
    );
    assert!(resolved.warnings.iter().any(|w| w.message.contains("passed over")));
}

#[test]
fn an_slo_may_stand_in_the_budget_and_only_once() {
    let text = tiers().replace("p95_latency_slo = \"6s\"\n", "");
    for slo in ["p95_latency_slo_ms = 7000", "p95_latency_slo = \"7s\""] {
        let attained = &["objectives.chat.slo_attainment=>= 90%"];
        let resolved = load(&format!("{text}\n[budgets.chat]\n{slo}\n"), attained).expect(slo);
        assert_eq!(resolved.scenario.tasks[0].latency_slo, Some(Span::from_secs(7)));
        assert!(resolved.objectives.iter().any(|o| o.name == "chat.p95_latency"));
        assert!(
            good("[budgets.chat]\np95_latency_slo_ms = 6000\n").scenario.tasks[0].latency_slo
                == Some(Span::from_secs(6))
        );
        let problems = with(&format!("[budgets.chat]\n{slo}\n")).expect_err("another SLO");
        assert!(problems.to_string().contains("states another SLO"), "{problems}");
    }
}

#[test]
fn caches_spend_limits_and_plans() {
    let resolved = good(
        "[caching.semantic]\nsimilarity_threshold = 0.92\nttl = \"24h\"\nlookup = \"15ms\"\n\
         [caching.exact]\nttl_seconds = 60\ncapacity = 7\neviction = \"fifo\"\n\
         [[spend_limits]]\nlimit = \"$50/day\"\n\
         [[spend_limits]]\nscope = \"each_tenant\"\nlimit = \"$2/month\"\n\
         then = { smaller_model = \"small\" }\n\
         [[spend_limits]]\nscope = { task = \"chat\" }\nlimit = \"$0\"\nperiod = \"90m\"\n\
         then = \"refuse\"\n\
         [plans.pro]\nper_month = \"$20\"\nincluded = 1000\nbeyond = \"$0.02\"\n\
         premium = { models = [\"premium\"], per_task = \"$0.10\" }\n\
         [plans.free]\nincluded = 10\nbeyond = \"refuse\"\n\
         [plans.outcome]\nper_success = \"$0.99\"\n",
    );
    let scenario = &resolved.scenario;
    let semantic = scenario.semantic_cache.expect("a cache");
    assert_eq!((semantic.similarity_threshold, semantic.ttl), (0.92, Span::from_secs(86_400)));
    assert_eq!((semantic.capacity, semantic.eviction), (10_000, Eviction::Lru));
    assert_eq!(semantic.lookup, Span::from_millis(15));
    let exact = scenario.exact_cache.expect("a cache");
    assert_eq!((exact.ttl, exact.capacity), (Span::from_secs(60), 7));
    assert_eq!((exact.eviction, exact.lookup), (Eviction::Fifo, Span::ZERO));
    let limits: Vec<_> = scenario
        .spend_limits
        .iter()
        .map(|l| (l.scope, l.limit.as_dollars_f64(), l.period.as_secs_f64(), l.then))
        .collect();
    let smaller = LimitReached::SmallerModel(SMALLER);
    assert_eq!(
        limits,
        [
            (SpendScope::All, 50.0, 86_400.0, LimitReached::Refuse),
            (SpendScope::EachTenant, 2.0, 2_629_800.0, smaller),
            (SpendScope::Task(TaskId(0)), 0.0, 5_400.0, LimitReached::Refuse),
        ]
    );
    let [pro, free, outcome] = &scenario.plans[..] else { panic!("three plans") };
    let cents = |cents: i128| Money(Money::PICO_PER_DOLLAR / 100 * cents);
    assert_eq!((pro.per_month, pro.included), (cents(2_000), Some(1_000)));
    assert_eq!(pro.beyond, Beyond::Charged(cents(2)));
    let premium = pro.premium.as_ref().expect("an add-on");
    assert_eq!((&premium.models[..], premium.per_task), (&[PREMIUM][..], cents(10)));
    assert_eq!((free.included, free.beyond), (Some(10), Beyond::Refused));
    assert_eq!((outcome.per_success, outcome.included), (cents(99), None));
}

#[test]
fn unknown_names_are_problems_at_their_place() {
    let text = format!(
        "{}\n[routing]\ndefault_model = \"smal\"\n\
         by_intent = {{ classify = \"small\" }}\n\
         [[routing.escalate_if]]\nwhen = \"confidnce < 0.72\"\nmodel = \"middle\"\n\
         [routing.fallbacks]\nsmall = [\"midd\", {{ model = \"mid\", on = [\"time_out\"] }}]\n\
         [retries]\non = [\"rate_limit\"]\n\
         [retries.models.smol]\n\
         [budgets.chatt]\non_exceeded = [\"shorter_contxt\"]\n\
         [caching.tools]\nkb_search = {{ ttl = \"10m\" }}\n\
         [[spend_limits]]\nscope = {{ task = \"chit\" }}\nlimit = \"$1/day\"\n",
        tiers()
    );
    let first = u32::try_from(tiers().lines().count()).expect("few lines") + 2;
    let problems = load(&text, &[]).expect_err("refused");
    let found: Vec<_> = problems
        .list
        .iter()
        .map(|p| (p.kind, p.site.place.line - first, p.site.place.column, p.site.key.as_str()))
        .collect();
    for expected in [
        (Kind::UnknownName, 1, 17, "routing.default_model"),
        (Kind::UnknownName, 2, 15, "routing.by_intent.classify"),
        (Kind::UnknownName, 4, 9, "routing.escalate_if[0].when"),
        (Kind::UnknownName, 5, 9, "routing.escalate_if[0].model"),
        (Kind::UnknownName, 7, 10, "routing.fallbacks.small[0]"),
        (Kind::BadValue, 7, 41, "routing.fallbacks.small[1].on[0]"),
        (Kind::BadValue, 9, 7, "retries.on[0]"),
        (Kind::UnknownName, 10, 17, "retries.models.smol"),
        (Kind::UnknownName, 11, 10, "budgets.chatt"),
        (Kind::BadValue, 12, 16, "budgets.chatt.on_exceeded[0]"),
        (Kind::UnknownName, 14, 1, "caching.tools.kb_search"),
        (Kind::UnknownName, 16, 18, "spend_limits[0].scope.task"),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:?}\n{problems}");
    }
    let text = problems.to_string();
    for advice in ["`small`", "`confidence`", "`mid`", "`timeout`", "`rate_limited`", "`chat`"] {
        let advice = format!("did you mean {advice}?");
        assert!(text.contains(&advice), "{advice} in {text}");
    }
}

#[test]
fn each_mistake_is_named() {
    let slo = "p95_latency_slo = \"6s\"\np95_latency_slo_ms = 6000";
    let balancing = |line| format!("[load_balancing]\nh100 = {{ {line} }}");
    let cases: [(&str, Kind, &str); 24] = [
        ("[[routing.escalate_if]]\nmodel = \"mid\"", Kind::MissingKey, "no condition"),
        (
            "[[routing.escalate_if]]\nmodel = \"mid\"\nwhen = \"elapsed > '1s'\"\n\
             condition = \"elapsed > '1s'\"",
            Kind::Conflict,
            "one key",
        ),
        ("[[routing.escalate_if]]\nwhen = \"elapsed > '1s'\"", Kind::MissingKey, "missing"),
        ("[[routing.canary]]\nof = \"small\"\nto = \"mid\"\nshare = 1.5", Kind::BadValue, "range"),
        ("[hedging]\nmax_attempts = 2", Kind::MissingKey, "missing"),
        ("[retries]\nmax_attempts = 0", Kind::BadValue, "out of range"),
        ("[retries]\nbackoff = { initial = \"9s\" }", Kind::Conflict, "below `initial`"),
        ("[retries]\nbackoff = { kind = \"fixed\" }", Kind::MissingKey, "missing"),
        ("[retries]\ntimeout = 30", Kind::WrongType, "no unit"),
        ("[circuit_breaker]\nfailure_rate_threshold = 0", Kind::BadValue, "out of range"),
        ("[circuit_breaker]\nsliding_window_type = \"count\"", Kind::BadValue, "not a choice"),
        (&format!("[budgets.chat]\n{slo}"), Kind::Conflict, "say the same"),
        ("[budgets.chat]\nmax_model_calls = \"5\"", Kind::WrongType, "whole number"),
        ("[budgets.chat]\non_exceeded = [\"smaller_model\"]", Kind::MissingKey, "default_model"),
        ("[caching.semantic]\nttl = \"1h\"", Kind::MissingKey, "missing"),
        ("[caching.exact]\nttl = \"1h\"\nttl_seconds = 3600", Kind::Conflict, "say the same"),
        (
            "[caching]\nsemantic = { similarity_threshold = 0.9 }\n\
             semantic_cache = { similarity_threshold = 0.9 }",
            Kind::Conflict,
            "one key",
        ),
        (
            &balancing("strategy = \"random\", choices = 3"),
            Kind::Conflict,
            "belongs to the strategy power-of-two",
        ),
        (&balancing("strategy = \"power-of-two\", choices = 1"), Kind::BadValue, "out of range"),
        ("[[spend_limits]]\nlimit = \"$50\"", Kind::MissingKey, "no period"),
        ("[[spend_limits]]\nlimit = \"$50/year\"", Kind::BadValue, "year"),
        ("[plans.a]\nincluded = 3", Kind::MissingKey, "`beyond`"),
        ("[plans.a]\nbeyond = \"refuse\"", Kind::Conflict, "`included`"),
        ("[plans.a]\npremium = { per_task = \"$1\" }", Kind::MissingKey, "premium"),
    ];
    for (policy, kind, message) in cases {
        let problems = with(policy).err().unwrap_or_else(|| panic!("{policy} was accepted"));
        let found = problems.list.iter().any(|p| p.kind == kind && p.message.contains(message));
        assert!(found, "{policy}: {problems}");
    }
}

/// [`SMALL`] with two hosted models, of which `dear` costs more for every token, and one that costs
/// more for the prompt and less for the answer.
fn priced(policy: &str) -> Vec<(String, String)> {
    let hosted = |name: &str, input: &str, output: &str| {
        format!(
            "[providers.{name}]\ninput = \"${input}/Mtok\"\noutput = \"${output}/Mtok\"\n\
             max_context = 100000\nttft = {{ kind = \"fixed\", length = \"1s\" }}\n\
             tpot = {{ kind = \"fixed\", length = \"9ms\" }}\n"
        )
    };
    let text = SMALL
        .replace("model = \"small\", ", "")
        .replace("[models.small]\nserved_by = [\"h100\"]\n", "")
        .split("[pools.h100]")
        .next()
        .map(str::to_owned)
        .expect("the part before the pool");
    let providers = [hosted("cheap", "1", "4"), hosted("dear", "2", "4"), hosted("odd", "9", "3")];
    let text = format!("{text}{}\n{policy}", providers.concat());
    let resolved = load(&text, &[]).unwrap_or_else(|problems| panic!("{policy}: {problems}"));
    let warnings = resolved.warnings.into_iter();
    warnings
        // Not every model of the list is called.
        .filter(|warning| !warning.site.key.starts_with("providers."))
        .map(|warning| (warning.site.key, warning.message))
        .collect()
}

#[test]
fn a_smaller_model_that_costs_more_is_warned_about() {
    let limit = |model: &str, smaller: &str| {
        priced(&format!(
            "[routing]\ndefault_model = \"{model}\"\n[[spend_limits]]\nlimit = \"$5/hour\"\n\
             then = {{ smaller_model = \"{smaller}\" }}\n"
        ))
    };
    let told = limit("cheap", "dear");
    let expected = "`dear` costs more for the same tokens than what it replaces: cheap";
    assert_eq!(told, [("spend_limits[0].then.smaller_model".to_owned(), expected.to_owned())]);
    // Cheaper, the same, or the tokens decide: nothing is said.
    for (model, smaller) in [("dear", "cheap"), ("cheap", "cheap"), ("cheap", "odd")] {
        assert_eq!(limit(model, smaller), [], "{model} {smaller}");
    }
    // It also replaces what doubtful answers escalate to.
    let escalating = "[intents.other]\nquality = { cheap = { success = 0.9 }, dear = { success = 0.9 }, odd = { success = 0.9 } }\n[routing]\ndefault_model = \"cheap\"\n\
         escalate_if = [{ when = \"confidence < 0.5\", model = \"odd\" }]\n\
         [[spend_limits]]\nlimit = \"$5/hour\"\nthen = { smaller_model = \"dear\" }\n";
    assert_eq!(priced(escalating), []);

    let rung = "[routing]\ndefault_model = \"cheap\"\n[budgets.chat]\nmax_model_calls = 1\n\
         on_exceeded = [{ rung = \"smaller_model\", model = \"dear\" }]\n";
    let told = priced(rung);
    assert!(
        matches!(told.as_slice(), [(key, _)] if key == "budgets.chat.on_exceeded[0]"),
        "{told:?}"
    );
    // A pool is rented whether it is called or not.
    let pool = good("[[spend_limits]]\nlimit = \"$5/hour\"\nthen = { smaller_model = \"mid\" }\n");
    assert!(pool.warnings.is_empty(), "{:?}", pool.warnings);
}

#[test]
fn a_priority_that_nothing_looks_at_is_warned_about() {
    let priority = "traffic.web.priority=5";
    let warned = |changes: &[&str]| {
        let resolved = load(SMALL, changes).unwrap_or_else(|problems| panic!("{problems}"));
        resolved.warnings.iter().any(|warning| warning.site.key == "traffic.web.priority")
    };
    assert!(warned(&[priority]));
    assert!(!warned(&["traffic.web.priority=0"]));
    assert!(!warned(&[priority, "pools.h100.engine_args.policy=priority"]));
    assert!(!warned(&[priority, "admission.shed=[{ priority = 3, in_flight = 10 }]"]));

    let desk = |changes: &[&str]| {
        let resolved = load(crate::support::DESK, changes).expect("a good scenario");
        resolved.warnings.iter().any(|warning| warning.site.key == "traffic.web.priority")
    };
    let ordered = "providers.mini.discipline=priority";
    assert!(desk(&[priority]));
    assert!(desk(&[priority, ordered]), "any number of places, so nobody waits");
    assert!(!desk(&[priority, ordered, "providers.mini.concurrency=4"]));
    assert!(!desk(&[priority, "tools.crm.concurrency=1", "tools.crm.discipline=priority"]));
}

#[test]
fn a_misspelt_intent_is_an_error_wherever_it_stands() {
    let desk = |changes: &[&str]| load(crate::support::DESK, changes);
    for (change, key, help) in [
        ("tasks.reply.steps.1.model_call.intent=clasify", "intent", "did you mean `classify`? If"),
        ("routing.by_intent={ drat = 'big' }", "by_intent.drat", "did you mean `draft`?"),
        (
            "routing.escalate_if=[{ when = \"intent == 'drfat'\", model = 'big' }]",
            "escalate_if[0].when",
            "did you mean `draft`?",
        ),
    ] {
        let problems = desk(&[change]).expect_err("refused");
        let [problem] = problems.list.as_slice() else { panic!("{change}: {problems}") };
        assert_eq!(problem.kind, Kind::UnknownName, "{problem}");
        assert!(problem.site.key.ends_with(key), "{problem}");
        assert!(problem.help.as_ref().is_some_and(|told| told.starts_with(help)), "{problem}");
    }
    // The table of qualities is misspelt, and the call is right.
    let text = crate::support::DESK.replace("[intents.draft]", "[intents.drafd]");
    let problems = load(&text, &[]).expect_err("refused");
    assert!(problems.to_string().contains("did you mean `drafd`?"), "{problems}");
    // A label that is like no declared one is nothing but a label.
    assert!(desk(&["tasks.reply.steps.1.model_call.intent=triage"]).is_ok());
}
