//! `surgeline what-if`: the contract of its JSON, its exit codes, and that its answer can be repeated.

use super::Folder;
use serde_json::Value;

/// Half an hour of recorded chat, asked about.
const ASKED: &str = "what-if azure-conversation --quiet --format json";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn texts(of: &Value) -> Vec<String> {
    let all = of.as_array().expect("a list");
    all.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// A plain run of tomorrow confirms the verdict, and the repair passes the objectives under a seed
/// that the search never saw.
#[test]
fn a_plain_run_confirms_tomorrow_and_the_repair() {
    let folder = Folder::new("what-if");
    let tomorrow = "--traffic 5x --set objectives.spend.per_day=<=$400 --no-calibration";
    let answer = parsed(&folder.run(&format!("{ASKED} {tomorrow}")).expect(1).out);
    assert_eq!(answer["schema"], "surgeline.what-if/1");
    let verdict = answer["verdict"].as_str().expect("a sentence");
    assert!(verdict.contains("breaks reply.p95_latency"), "{verdict}");
    let (changes, repair) = (texts(&answer["changes"]), texts(&answer["repair"]["changes"]));
    assert_eq!(repair, ["pools.h100.replicas=3"]);
    assert_eq!(answer["repair"]["objectives_met"], true);
    // A GPU at $2.99 for a twelfth of 365.25 days.
    assert_eq!(answer["repair"]["per_month_usd"], "2184.195");

    let run = |set: &[String], seed: u32| {
        let set: Vec<String> = set.iter().map(|change| format!("--set {change}")).collect();
        let run = "run azure-conversation --no-calibration --quiet --format json";
        folder.run(&format!("{run} --seed {seed} {}", set.join(" ")))
    };
    let alone = parsed(&run(&changes, 1).expect(1).out);
    for key in ["objectives", "spend", "tasks", "log_hashes"] {
        assert_eq!(alone[key], answer["tomorrow"][key], "{key}");
    }
    let mended: Vec<String> = changes.into_iter().chain(repair).collect();
    run(&mended, 20_261).expect(0);

    let headroom = &answer["headroom"]["factor"];
    let ends = ["low", "value", "high"].map(|key| headroom[key].as_f64().expect("a number"));
    assert!(ends[0] <= ends[1] && ends[1] <= ends[2] && ends[0] > 3.0 && ends[2] < 6.0, "{ends:?}");
    assert!(answer["deltas"].as_array().is_some_and(|deltas| deltas.len() > 20));
}

#[test]
fn nothing_to_repair_costs_nothing() {
    let folder = Folder::new("what-if-same");
    let same = folder.run(&format!("{ASKED} --traffic 1x --no-calibration --threads 1"));
    let answer = parsed(&same.expect(0).out);
    assert_eq!(answer["repair"]["needed"], false);
    assert_eq!(answer["repair"]["per_month_usd"], "0.00");
    assert_eq!(answer["repair"]["changes"], serde_json::json!([]));
    assert_eq!(answer["today"], answer["tomorrow"]);
}

#[test]
fn the_answer_does_not_depend_on_threads() {
    let folder = Folder::new("what-if-threads");
    let with = |threads: u32| {
        let ended =
            folder.run(&format!("{ASKED} --traffic 3x --replications 4 --threads {threads}"));
        (ended.code, ended.out)
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn wrong_questions_are_answered_kindly() {
    let folder = Folder::new("what-if-wrong");
    for (args, words) in [
        ("", "--traffic 2x"),
        ("--traffic 0x", "above 0"),
        ("--traffic twice", "write it like 2x"),
        ("--traffic 0.5x --how burstier", "burstier"),
        ("--traffic 2x --vary pools.h100.replicas", "pools.h100.replicas=1..8"),
        ("--set pools.h100.replicsa=3", "did you mean `replicas`?"),
    ] {
        let ended = folder.run(&format!("what-if azure-conversation {args}")).expect(2);
        assert!(ended.err.contains(words), "{args}: {}", ended.err);
        assert!(ended.out.is_empty());
    }
}

#[test]
fn a_limit_keeps_both_days() {
    let folder = Folder::new("what-if-limit");
    let ended = folder.run(&format!("{ASKED} --traffic 2x --max-events 500000")).expect(4);
    let answer = parsed(&ended.out);
    assert_eq!(answer["today"]["stopped"]["code"], "limit-reached");
    assert_eq!(answer["today"]["replications"], answer["tomorrow"]["replications"]);
    assert_eq!(answer["repair"], Value::Null);
}
