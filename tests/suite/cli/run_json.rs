//! The JSON of `run`: the keys that scripts may rely on.

use super::{CHAT, Folder};
use serde_json::Value;
use std::process::Command;

/// A value with its interval, or `null` with a reason.
#[track_caller]
fn estimate(at: &Value, path: &str) {
    let object = at.as_object().unwrap_or_else(|| panic!("{path} is no object: {at}"));
    match (&object["value"], &object["low"], &object["high"]) {
        (Value::Null, ..) => assert!(object["reason"].is_string(), "{path}: null without a reason"),
        (value, low, high) => {
            let number = |v: &Value| v.as_f64();
            assert!(number(value).is_some(), "{path}: {at}");
            // Without an interval there is a reason for none.
            let interval = number(low).zip(number(high));
            assert!(interval.is_some() || object["reason"].is_string(), "{path}: {at}");
            assert!(interval.is_none_or(|(low, high)| low <= high), "{path}: {at}");
        }
    }
}

#[test]
fn run_prints_the_keys_that_are_promised() {
    let folder = Folder::new("json");
    folder
        .write("chat.toml", &CHAT.replace("p95_latency_slo", "value = \"$0.12\"\np95_latency_slo"));
    let text = folder.run("run chat.toml --format json").expect(0).out;
    let run: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(run["schema"], "surgeline.run/1");
    assert_eq!(run["scenario"]["name"], "chat");
    assert_eq!(run["scenario"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(run["result_sha256"].as_str().map(str::len), Some(64));
    assert_eq!((&run["seed"], &run["replications"]), (&7.into(), &4.into()));
    assert_eq!(run["simulated_seconds"].as_f64(), Some(120.0));

    let task = &run["tasks"]["chat"];
    let count = |key: &str| task[key].as_u64().unwrap_or_else(|| panic!("{key}: {task}"));
    let ended = ["succeeded", "failed", "rejected", "abandoned", "in_flight"].map(count);
    assert_eq!(count("arrived"), ended.iter().sum::<u64>(), "every task is accounted for");
    for quantile in ["p50", "p95", "p99"] {
        estimate(&task["latency_s"][quantile], quantile);
    }
    estimate(&task["success_rate"], "success_rate");
    let calls = &run["calls"]["small"];
    assert!(calls["attempts"].as_u64() >= calls["count"].as_u64() && calls["count"].is_u64());
    for time in ["ttft_s", "tpot_s", "e2e_s"] {
        assert!(calls[time].is_object(), "{time}: {calls}");
    }
    let pool = &run["pools"]["h100"];
    for key in
        ["replicas", "utilisation", "running_mean", "kv_usage_mean", "preemptions", "gpu_hours"]
    {
        assert!(pool[key].is_number() || pool[key].is_object(), "{key}: {pool}");
    }
    assert!(pool.get("prefix_hit_ratio").is_some());
    for key in ["total_usd", "per_day_usd", "per_month_usd"] {
        assert!(run["spend"][key].as_str().is_some_and(|s| s.parse::<f64>().is_ok()), "{key}");
    }
    estimate(&run["spend"]["per_successful_task_usd"], "per_successful_task_usd");
    for key in ["gpu", "tokens", "tools", "human_review"] {
        assert!(run["spend"]["by"][key].is_string(), "{key}");
    }
    estimate(&run["margin"]["per_task_usd"], "margin");
    assert!(run["margin"]["per_month_usd"].is_string());
    let verdict = run["stability"]["verdict"].as_str().unwrap_or_default();
    assert!(["stable", "unstable", "metastable"].contains(&verdict), "{verdict}");
    assert!(run["stability"]["why"].is_string());
    for objective in run["objectives"].as_array().expect("a list") {
        assert!(objective["name"].is_string() && objective["target"].is_string());
        assert!(objective["met"].is_boolean() || objective["met"].is_null());
    }
    assert!(run["warnings"].is_array() && run["provenance"].is_array());
}

#[test]
fn an_undecided_objective_is_null() {
    let folder = Folder::new("json-undecided");
    let args = "run chat.toml --format json --replications 2 --set tasks.chat.p95_latency_slo=1s";
    let run: Value = serde_json::from_str(&folder.run(args).expect(3).out).expect("JSON");
    let objectives = run["objectives"].as_array().expect("a list");
    assert!(objectives.iter().any(|o| o["name"] == "chat.p95_latency" && o["met"].is_null()));
}

#[test]
fn result_hashes_cover_results_and_no_names() {
    let folder = Folder::new("json-hash");
    let hash = |file: &str, rest: &str| {
        let out = folder.run(&format!("run {file} --format json {rest}")).expect(0).out;
        let run: Value = serde_json::from_str(&out).expect("JSON");
        run["result_sha256"].as_str().expect("a hash").to_owned()
    };
    folder.write("copy.toml", &format!("# The same in another file.\n{CHAT}"));
    assert_eq!(hash("chat.toml", ""), hash("copy.toml", ""));
    assert_ne!(hash("chat.toml", ""), hash("chat.toml", "--seed 8"));
}

/// Twice a rate limit, asked for without end: whoever is refused waits in a pause, in no queue.
#[test]
fn a_backlog_in_pauses_is_a_backlog() {
    let folder = Folder::new("json-pauses");
    folder.write(
        "limit.toml",
        r#"
        scenario = { horizon = "1000s", replications = 2 }
        models.mini = { served_by = ["api"] }
        [traffic.web]
        task = "ask"
        arrivals = { kind = "constant", rate = "2/s" }
        [tasks.ask]
        steps = [{ id = "one", model_call = { model = "mini", input = { kind = "fixed", tokens = 10 }, output = { kind = "fixed", tokens = 10 } } }]
        [providers.api]
        input = "$1/Mtok"
        output = "$10/Mtok"
        ttft = { kind = "fixed", length = "500ms" }
        tpot = { kind = "fixed", length = "10ms" }
        max_context = 10000
        rpm = 60
        "#,
    );
    for asking in [
        "retries.max_attempts=1000",
        "traffic.web.resubmit={ probability = 1.0, max = 1000, pause = { kind = 'fixed', length = '20s' } }",
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_surgeline"))
            .args(["run", "limit.toml", "--format", "json", "--quiet", "--set", asking])
            .current_dir(&folder.0)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&run.stdout);
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{run:?}"));
        assert_eq!(document["stability"]["verdict"], "unstable", "{asking}");
        assert!(document["tasks"]["ask"]["latency_s"]["p95"]["value"].is_null(), "{asking}");
    }
}
