//! What a good file resolves to.

use crate::support::{load, small};
use scenarios::resolved::{Comparison, Limit, Origin, Replications, Subject};
use scenarios::{library, load_library};
use sim::dist::LengthLaw;
use sim::ids::ModelId;
use sim::units::{Money, Span};
use sim::workload::{Arrivals, Gaps, ScaleHow};

#[test]
fn a_small_scenario_resolves_with_its_defaults() {
    let resolved = small(&[]).expect("a good scenario");
    let scenario = &resolved.scenario;
    assert_eq!(resolved.name, "test");
    assert_eq!(scenario.horizon, Span::from_secs(3_600));
    assert_eq!(scenario.warm_up, Span::ZERO);
    assert_eq!(scenario.window, Span::from_secs(15));
    assert_eq!(resolved.plan.replications, Replications::Auto);
    assert_eq!(scenario.pools[0].replicas, 2);
    assert_eq!(scenario.pools[0].price_per_gpu_hour, Money(2_990_000_000_000));
    assert_eq!(scenario.tasks[0].value, Some(Money(120_000_000_000)));
    assert_eq!(scenario.sources[0].lengths.output.law, LengthLaw::Fixed(100));
    assert_eq!(resolved.sha256.len(), 64);
    let origin = |key: &str| {
        let line = resolved.provenance.iter().find(|p| p.key == key);
        line.map(|p| (p.value.as_str(), p.origin.clone())).expect(key)
    };
    assert_eq!(origin("scenario.seed"), ("1", Origin::Default));
    assert!(matches!(origin("scenario.horizon").1, Origin::Written(place) if place.line == 3));
    assert!(matches!(origin("scenario.window").1, Origin::Derived(_)));
}

#[test]
fn objectives_are_stated_or_implied() {
    let resolved = small(&[]).expect("a good scenario");
    let found: Vec<_> =
        resolved.objectives.iter().map(|o| (o.name.as_str(), o.comparison)).collect();
    assert_eq!(
        found,
        [
            ("chat.success_rate", Comparison::AtLeast),
            ("spend.per_day", Comparison::AtMost),
            ("chat.p95_latency", Comparison::AtMost),
        ]
    );
    assert_eq!(resolved.objectives[0].limit, Limit::Share(0.97));
    assert_eq!(resolved.objectives[1].subject, Subject::SpendPerDay);
    assert_eq!(resolved.objectives[2].limit, Limit::Span(Span::from_secs(6)));
}

#[test]
fn overrides_change_values_and_the_hash() {
    let plain = small(&[]).expect("a good scenario");
    let changed = small(&[
        "scenario.horizon=10m",
        "pools.h100.replicas=5",
        "traffic.web.scale=2x",
        "traffic.web.how=faster-users",
        "tasks.chat.steps.0.model_call.output.tokens=7",
    ])
    .expect("a good scenario");
    assert_eq!(changed.scenario.horizon, Span::from_secs(600));
    assert_eq!(changed.scenario.pools[0].replicas, 5);
    assert_eq!(changed.scenario.sources[0].scaling.factor, 2.0);
    assert_eq!(changed.scenario.sources[0].scaling.how, ScaleHow::FasterUsers);
    assert_eq!(changed.scenario.sources[0].lengths.output.law, LengthLaw::Fixed(7));
    assert_ne!(plain.sha256, changed.sha256);
    assert_eq!(plain.scenario.sources[0].key, changed.scenario.sources[0].key);
}

#[test]
fn every_kind_of_arrivals_is_read() {
    let cases = [
        ("{ kind = 'gamma', rate = '12/s', cv = 2.5 }", "gamma"),
        ("{ kind = 'weibull', rate = '12/s', cv = 1.0 }", "weibull"),
        ("{ kind = 'constant', rate = '30/min' }", "constant"),
        ("{ kind = 'on-off', rate = '3/s', on = '10s', off = '20s' }", "on-off"),
        ("{ kind = 'mmpp', states = [{ rate = '1/s', mean = '1m' }] }", "mmpp"),
        (
            "{ kind = 'closed-loop', users = 5, think = { kind = 'exponential', mean = '2s' } }",
            "closed-loop",
        ),
    ];
    for (text, name) in cases {
        let resolved = small(&[&format!("traffic.web.arrivals={text}")]).expect(name);
        let arrivals = &resolved.scenario.sources[0].arrivals;
        match (name, arrivals) {
            ("gamma", Arrivals::Renewal { gaps, .. }) => assert_eq!(*gaps, Gaps::Gamma { cv: 2.5 }),
            ("weibull", Arrivals::Renewal { gaps: Gaps::Weibull { shape }, .. }) => {
                assert!((shape - 1.0).abs() < 1e-9);
            }
            ("constant", Arrivals::Renewal { rate, .. }) => assert_eq!(rate.knots[0].1, 0.5),
            ("on-off", Arrivals::Modulated { states, .. }) => {
                assert!((states[0].0 - 9.0).abs() < 1e-9);
                assert_eq!(states[1].0, 0.0);
            }
            ("mmpp", Arrivals::Modulated { states, .. }) => assert_eq!(states.len(), 1),
            ("closed-loop", Arrivals::ClosedLoop { users, .. }) => assert_eq!(*users, 5),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn clients_become_sources_of_their_own() {
    let resolved = small(&[
        "traffic.web.clients=[{ name = 'a', share = 1 }, { name = 'b', share = 3, cv = 4.0, \
         output = { kind = 'fixed', tokens = 9 } }]",
    ])
    .expect("a good scenario");
    let sources = &resolved.scenario.sources;
    assert_eq!(sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["web/a", "web/b"]);
    let Arrivals::Renewal { gaps, rate } = &sources[1].arrivals else { panic!("renewal") };
    assert_eq!((*gaps, rate.knots[0].1), (Gaps::Gamma { cv: 4.0 }, 1.5));
    assert_eq!(sources[1].lengths.output.law, LengthLaw::Fixed(9));
    assert_ne!(sources[0].key, sources[1].key);
}

#[test]
fn an_overloaded_pool_is_warned_about() {
    let calm = small(&[]).expect("a good scenario");
    assert!(calm.warnings.is_empty(), "{:?}", calm.warnings);
    assert!(calm.offered_load[0].is_some_and(|load| (0.0..1.0).contains(&load)));
    let hot = small(&["traffic.web.arrivals.rate=4000/s"]).expect("a good scenario");
    assert!(hot.warnings.iter().any(|w| w.message.contains("offered load")), "{:?}", hot.warnings);
}

/// A shared prefix is computed once; what a cache may find and nobody can foretell is said not to
/// be counted.
#[test]
fn an_estimate_of_the_load_knows_the_prefix_cache() {
    let told = |name: &str, changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let shipped = library::find(name).expect("shipped");
        let resolved = load_library(shipped, None, &changes).unwrap_or_else(|e| panic!("{e}"));
        let load = resolved.warnings.into_iter().find(|w| w.message.contains("offered load"));
        load.map_or_else(String::new, |warning| warning.message)
    };
    let (busy, plain) =
        ("traffic.chat.scale=3x", "pools.h100.engine_args.enable_prefix_caching=false");
    assert_eq!(told("self-hosted", &[busy]), "");
    assert!(told("self-hosted", &[busy, plain]).contains("without end"));
    assert!(told("self-hosted", &["traffic.chat.scale=6x"]).contains("without end"));
    // A thousand system prompts do not fit, so how often one is found depends on the run.
    let many = "traffic.chat.prefix.distinct=1000";
    assert!(told("self-hosted", &[busy, many]).starts_with("without hits in the prefix cache"));
    assert!(told("self-hosted", &[busy, many, plain]).contains("without end"));
    let recorded = told("mooncake-prefix-cache", &["traffic.chat.trace.scale=8x"]);
    assert!(recorded.starts_with("without hits in the prefix cache"), "{recorded}");
}

#[test]
fn one_pool_of_one_model_needs_no_models_table() {
    let text = crate::support::SMALL
        .replace("[models.small]\nserved_by = [\"h100\"]\n", "")
        .replace("model = \"small\", ", "");
    let resolved = load(&text, &[]).expect("a good scenario");
    assert_eq!(resolved.scenario.models.len(), 1);
    assert_eq!(resolved.scenario.tasks[0].request_model(), Some(ModelId(0)));
}

#[test]
fn a_shipped_trace_brings_lengths_and_horizon() {
    let text = crate::support::SMALL.replace("horizon = \"1h\"", "").replace(
        "arrivals = { kind = \"poisson\", rate = \"2/s\" }",
        "trace = { file = \"library:azure-conv-2023\", format = \"azure-2023\", scale = \"2x\" }",
    );
    let resolved = load(&text, &["pools.h100.engine_args.max_model_len=20000"]).expect("good");
    let source = &resolved.scenario.sources[0];
    let Arrivals::Replay { trace, .. } = &source.arrivals else { panic!("a replay") };
    assert_eq!(trace.rows.len(), 9_754);
    assert!(!source.ends_by_eos);
    assert_eq!(source.scaling.factor, 2.0);
    assert_eq!(resolved.scenario.horizon.0, trace.span.0 + 1);
    let problems = load(&text, &[]).expect_err("14,050 tokens do not fit 8,192");
    assert!(problems.to_string().contains("of 9754 recorded requests do not fit"), "{problems}");
}
