//! The keys that scripts rely on, and the digest.

use crate::fixture;
use experiments::{Estimate, RunResult, StopReason, Verdict};
use reports::digest::result_sha256;
use reports::{ProvenanceRow, json};
use serde_json::Value;
use sim::units::{Money, Span};

fn parsed(result: &RunResult) -> Value {
    serde_json::from_str(&json::render(&fixture::report(result))).expect("valid JSON")
}

/// The keys of the contract, as JSON pointers.
const STABLE_KEYS: &[&str] = &[
    "/schema",
    "/scenario/name",
    "/scenario/sha256",
    "/seed",
    "/replications",
    "/simulated_seconds",
    "/result_sha256",
    "/tasks/support_reply/arrived",
    "/tasks/support_reply/succeeded",
    "/tasks/support_reply/failed",
    "/tasks/support_reply/rejected",
    "/tasks/support_reply/abandoned",
    "/tasks/support_reply/in_flight",
    "/tasks/support_reply/latency_s/p50/value",
    "/tasks/support_reply/latency_s/p95/low",
    "/tasks/support_reply/latency_s/p99/high",
    "/tasks/support_reply/success_rate/value",
    "/tasks/support_reply/success_rate/low",
    "/tasks/support_reply/success_rate/high",
    "/calls/small/count",
    "/calls/small/attempts",
    "/calls/small/ttft_s/p95/value",
    "/calls/small/tpot_s/p95/value",
    "/calls/small/e2e_s/p95/value",
    "/pools/h100-small/replicas",
    "/pools/h100-small/utilisation",
    "/pools/h100-small/kv_usage_mean",
    "/pools/h100-small/running_mean",
    "/pools/h100-small/preemptions",
    "/pools/h100-small/prefix_hit_ratio",
    "/pools/h100-small/gpu_hours",
    "/spend/total_usd",
    "/spend/per_day_usd",
    "/spend/per_month_usd",
    "/spend/per_successful_task_usd/value",
    "/spend/by/gpu",
    "/spend/by/tokens",
    "/spend/by/tools",
    "/spend/by/human_review",
    "/margin/per_task_usd/value",
    "/margin/per_month_usd",
    "/stability/verdict",
    "/stability/why",
    "/objectives/0/name",
    "/objectives/0/target",
    "/objectives/0/value",
    "/objectives/0/low",
    "/objectives/0/high",
    "/objectives/0/met",
    "/warnings",
    "/provenance",
];

#[test]
fn the_keys_of_the_contract_are_there() {
    for (name, result) in fixture::all() {
        let document = parsed(&result);
        for key in STABLE_KEYS {
            let found = document.pointer(key);
            assert!(found.is_some(), "{name} lacks {key}");
            assert!(name != "stable" || found != Some(&Value::Null), "{name}: {key} is null");
        }
    }
}

#[test]
fn values_are_what_the_contract_says() {
    let document = parsed(&fixture::stable());
    assert_eq!(document["schema"], "surgeline.run/1");
    assert_eq!(document["simulated_seconds"], 86_400.0);
    assert_eq!(document["spend"]["total_usd"], "287.04");
    assert_eq!(document["spend"]["per_month_usd"], "8922.668936");
    assert_eq!(document["spend"]["by"]["tools"], "0.00");
    assert_eq!(document["stability"]["verdict"], "stable");
    assert_eq!(document["objectives"][1]["met"], false);
    assert_eq!(document["log_hashes"][1], "ffffffffffffffff");
    assert_eq!(parsed(&fixture::sparse())["stability"]["verdict"], Value::Null);
}

/// Looks for an object with a `null` directly in it (or in a list in it) and no `reason`.
fn unexplained(path: &str, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let null = |v: &Value| {
                v.is_null() || v.as_array().is_some_and(|list| list.contains(&Value::Null))
            };
            if fields.values().any(null) && !fields.contains_key("reason") {
                into.push(path.into());
            }
            fields.iter().for_each(|(key, v)| unexplained(&format!("{path}/{key}"), v, into));
        }
        Value::Array(list) => {
            list.iter().for_each(|v| unexplained(&format!("{path}/-"), v, into));
        }
        _ => {}
    }
}

#[test]
fn an_absent_number_is_null_with_a_reason() {
    for (name, result) in fixture::all() {
        let mut found = Vec::new();
        unexplained("", &parsed(&result), &mut found);
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
    let document = parsed(&fixture::unstable());
    assert_eq!(document["tasks"]["summary"]["latency_s"]["p95"]["value"], Value::Null);
    assert_eq!(document["objectives"][0]["met"], false);
}

#[test]
fn the_digest_covers_no_provenance() {
    let result = fixture::stable();
    let mut report = fixture::report(&result);
    let digest = |report: &reports::Report<'_>| {
        let document: Value = serde_json::from_str(&json::render(report)).expect("valid JSON");
        document["result_sha256"].clone()
    };
    let before = digest(&report);
    report.scenario.name = "another".into();
    report.scenario.question = None;
    report.scenario.sha256 = "ff".repeat(32);
    report.version = "9.9.9";
    report.notes.clear();
    let key = "seed".into();
    report.provenance = vec![ProvenanceRow { key, value: "42".into(), origin: "default".into() }];
    assert_eq!(digest(&report), before);
    assert_eq!(before, result_sha256(&result).as_str());
}

/// What is changed, and the change.
type Change = (&'static str, fn(&mut RunResult));

#[test]
fn the_digest_covers_every_result() {
    let changes: &[Change] = &[
        ("seed", |r| r.seed += 1),
        ("replications", |r| r.replications += 1),
        ("stopped", |r| r.stopped = StopReason::Fixed),
        ("horizon", |r| r.horizon = Span::from_secs(1)),
        ("warm_up", |r| r.warm_up = Span::ZERO),
        ("measured", |r| r.measured = Span::ZERO),
        ("events", |r| r.events += 1),
        ("log_hashes", |r| r.log_hashes[1] -= 1),
        ("series", |r| r.series.windows[2].kv_blocks += 1),
        ("series width", |r| r.series.width = Span(1)),
        ("task name", |r| r.tasks[0].name.push('x')),
        ("in_flight", |r| r.tasks[0].counts.in_flight += 1),
        ("within_slo", |r| r.tasks[0].counts.within_slo += 1),
        ("latency", |r| r.tasks[1].latency.p99.high = Some(2.800_000_000_1)),
        ("goodput", |r| r.tasks[1].goodput.low = None),
        ("p95 of one replication", |r| r.tasks[1].p95_by_replication[0] = None),
        ("latency histogram", |r| r.tasks[1].histogram.record(Span(1))),
        ("attempts", |r| r.models[0].attempts += 1),
        ("output tokens", |r| r.models[0].output_tokens += 1),
        ("prefill", |r| r.models[0].prefill.mean.value = Some(0.0)),
        ("drivers", |r| r.models[0].drivers = None),
        ("ttft histogram", |r| r.models[0].ttft_histogram.record(Span(1))),
        ("tpot histogram", |r| r.models[0].tpot_histogram.record(Span(1))),
        ("evictions", |r| r.pools[0].evictions += 1),
        ("hit ratio", |r| r.pools[0].prefix_hit_ratio_per_request.low = Some(0.1)),
        ("gpu_hours", |r| r.pools[0].gpu_hours = 96.1),
        ("one pico-dollar", |r| r.spend.per_month = Money(r.spend.per_month.0 + 1)),
        ("spend interval", |r| r.spend.per_day_usd.low = Some(1.0)),
        ("spend by cause", |r| r.spend.by.tools = Money(1)),
        ("margin", |r| r.margin.per_month = None),
        ("stability", |r| r.stability.verdict = Some(Verdict::Unstable)),
        ("capacity", |r| r.stability.capacity_per_s = Some(1.0)),
        ("objective", |r| r.objectives[0].met = None),
        ("objective's target", |r| r.objectives[0].objective.target = 7.0),
        ("objective's value", |r| r.objectives[0].estimate = Estimate::absent("gone")),
        ("calibration", |r| r.tasks[0].latency.p95.calibration = None),
        ("an end of calibration", |r| r.objectives[0].estimate.calibration = None),
        ("warnings", |r| r.warnings.push(experiments::Warning::Unstable)),
    ];
    assert_changes_show(fixture::stable, changes);
}

/// The same of what only tasks, backends, tools and tenants bring.
#[test]
fn the_digest_covers_tasks_and_backends() {
    let changes: &[Change] = &[
        ("endings", |r| r.tasks[0].work.as_mut().expect("work").endings.failed[2] += 1),
        ("rungs", |r| r.tasks[0].work.as_mut().expect("work").rungs[4] += 1),
        ("p95 drivers", |r| r.tasks[0].drivers.as_mut().expect("drivers").p95 = None),
        ("rented", |r| r.tasks[0].money.rented = Money(1)),
        ("failures", |r| r.models[0].work.as_mut().expect("work").failures[6] += 1),
        ("breaker", |r| r.pools[0].breaker.as_mut().expect("a breaker").opens += 1),
        ("refused", |r| r.remotes[0].refused[1] += 1),
        ("token spend", |r| r.remotes[1].token_spend.cache_write = Money(1)),
        ("tool time", |r| r.tools[0].time.mean.low = None),
        ("heaviest", |r| r.tenants[0].heaviest[1].tenants += 1),
        ("provisioned", |r| r.spend.by.provisioned = Money(1)),
        ("wasted", |r| r.spend.wasted = Money(1)),
        ("harm", |r| r.margin.harm = Money::ZERO),
        ("cost driver", |r| r.cost_drivers.as_mut().expect("drivers").causes[2].amount = Money(1)),
        ("amplification", |r| r.amplification = None),
    ];
    assert_changes_show(crate::tasks::everything, changes);
}

/// What is declared and never acts leaves no trace in the digest.
#[test]
fn the_digest_leaves_out_what_had_no_part() {
    let mut result = crate::tasks::everything();
    let before = result_sha256(&result);
    let mut idle = result.remotes[0].clone();
    (idle.name, idle.attempts, idle.failed) = ("never-called".into(), 0, 0);
    (idle.refused, idle.spend) = (Default::default(), Money::ZERO);
    result.remotes.push(idle);
    result.remotes[0].breaker = Some(experiments::BreakerCounts { opens: 0, rejected: 0 });
    let quiet = result_sha256(&result);
    result.remotes[0].breaker = None;
    assert_eq!(quiet, result_sha256(&result));
    result.remotes[0].breaker = crate::tasks::everything().remotes[0].breaker;
    assert_eq!(before, result_sha256(&result));

    // Limits: the share of places, what retries could come to; and a tool that nobody used.
    result.remotes[0].utilisation = Some(experiments::Estimate::absent("not asked"));
    let load = &mut result.amplification.as_mut().expect("tasks").models[0];
    (load.worst, load.capacity_per_s) = (Some(99.0), Some(1e9));
    let mut unused = result.tools[0].clone();
    (unused.name, unused.uses, unused.failed, unused.cache_hits) = ("unused".into(), 0, 0, 0);
    result.tools.push(unused);
    assert_eq!(before, result_sha256(&result));
}

fn assert_changes_show(of: fn() -> RunResult, changes: &[Change]) {
    let mut seen = vec![result_sha256(&of())];
    for (what, change) in changes {
        let mut result = of();
        change(&mut result);
        let digest = result_sha256(&result);
        assert!(!seen.contains(&digest), "{what} does not change the digest");
        seen.push(digest);
    }
}
