//! `compare`: two scenarios, or two variants of one, side by side.

use super::{CHAT, Folder};
use serde_json::Value;

#[track_caller]
fn json(folder: &Folder, args: &str) -> Value {
    let text = folder.run(&format!("compare {args} --quiet --format json")).expect(0).out;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn deltas(found: &Value) -> &[Value] {
    found["deltas"].as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn delta<'a>(found: &'a Value, metric: &str) -> &'a Value {
    let found = deltas(found).iter().find(|delta| delta["metric"] == metric);
    found.unwrap_or_else(|| panic!("no {metric}"))
}

#[test]
fn equal_scenarios_differ_by_exactly_nothing() {
    let folder = Folder::new("compare-equal");
    let found = json(&folder, "chat.toml chat.toml");
    assert!(deltas(&found).len() > 10);
    for delta in deltas(&found) {
        for change in [&delta["change"], &delta["relative"]] {
            for key in ["value", "low", "high"] {
                assert!(change[key].is_null() || change[key].as_f64() == Some(0.0), "{delta}");
            }
        }
    }
    let text = folder.run("compare chat.toml chat.toml --quiet").expect(0).out;
    assert!(text.contains("From the first to the second: nothing changes"), "{text}");
    assert!(text.lines().count() < 40, "no change, no noise: {text}");
}

#[test]
fn one_value_can_differ() {
    let folder = Folder::new("compare-set");
    let args = "chat.toml --set-second pools.h100.price=$5.98/h --set traffic.web.scale=0.5x";
    let found = json(&folder, args);
    assert_eq!(found["schema"], "surgeline.compare/1");
    assert_eq!((&found["pairs"], &found["seed"]), (&4.into(), &7.into()));
    for arm in ["baseline", "candidate"] {
        assert_eq!(found[arm]["scenario"], "chat");
        assert_eq!(found[arm]["sha256"].as_str().map(str::len), Some(64));
        assert!(found[arm]["run"]["tasks"]["chat"].is_object());
    }
    assert_eq!(found["candidate"]["name"], "chat with pools.h100.price=$5.98/h");
    // Twice the price is twice the spend and moves nothing else.
    let spend = &delta(&found, "spend.per_day")["relative"];
    assert_eq!(spend["value"].as_f64(), Some(1.0), "{spend}");
    assert_eq!(delta(&found, "chat.p95_latency")["change"]["value"].as_f64(), Some(0.0));
    let text = folder.run(&format!("compare {args} --quiet")).expect(0).out;
    assert!(text.contains("chat beside chat with pools.h100.price=$5.98/h"), "{text}");
    assert!(text.contains("What changes"), "{text}");
}

#[test]
fn the_changes_are_paired() {
    let folder = Folder::new("compare-paired");
    let found = json(&folder, "chat.toml --set-second pools.h100.step_time.fixed=5.2ms");
    let p95 = delta(&found, "chat.p95_latency");
    let number = |at: &Value| at.as_f64().unwrap_or_else(|| panic!("{at} in {p95}"));
    let width = |of: &Value| number(&of["high"]) - number(&of["low"]);
    assert!(number(&p95["change"]["low"]) > 0.0, "slower, and surely so: {p95}");
    assert!(width(&p95["change"]) < width(&p95["baseline"]) / 4.0, "{p95}");
    assert!(number(&p95["variance_ratio"]) > 10.0, "{p95}");
}

#[test]
fn two_policies_of_one_scenario() {
    let folder = Folder::new("compare-policies");
    let args = "provider-outage --second-policy provider-outage.bad --replications 2 \
                --set scenario.horizon=90m";
    let found = json(&folder, args);
    assert_eq!(found["candidate"]["name"], "provider-outage under provider-outage.bad");
    let success = &delta(&found, "reply.success_rate")["change"]["value"];
    assert!(success.as_f64().is_some_and(|change| change < -0.01), "{success}");
    let latency = &found["drivers"]["latency"][0]["p95_s"];
    assert!(latency.as_array().is_some_and(|parts| !parts.is_empty()), "{latency}");
    let first = folder.run(&format!("compare {args} --quiet --threads 1")).expect(0).out;
    let second = folder.run(&format!("compare {args} --quiet --threads 8")).expect(0).out;
    assert_eq!(first, second);
}

#[test]
fn scenarios_with_other_tasks_share_the_numbers_of_the_whole() {
    let folder = Folder::new("compare-others");
    folder.write("talk.toml", &CHAT.replace("chat", "talk").replace("\"2m\"", "\"1m\""));
    let args = "compare chat.toml talk.toml --quiet";
    let text = folder.run(args).expect(0).out;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in [
        "chat beside talk",
        "spend.per_day",
        "No task has the same name in both",
        "The first runs for 120 s and the second for 60 s",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    let found = json(&folder, "chat.toml talk.toml");
    assert!(deltas(&found).iter().all(|delta| {
        let metric = delta["metric"].as_str().unwrap_or_default();
        !metric.starts_with("chat.") && !metric.starts_with("talk.")
    }));
    let ended = folder.run("compare chat.toml").expect(2);
    assert!(ended.err.contains("compare with what?"), "{}", ended.err);
}
