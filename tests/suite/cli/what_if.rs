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

/// The row of a table that begins with this name.
#[track_caller]
fn row(page: &str, name: &str) -> String {
    let line = page.lines().find(|line| line.trim_start().starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).to_owned()
}

/// Objectives are paired by their names, whatever else the other day has, and a target that changes is
/// shown with both.
#[test]
fn objectives_of_both_days_stand_side_by_side() {
    let folder = Folder::new("what-if-objectives");
    // The p95 is promised today, by the SLO of the task.
    let asked = "what-if chat.toml --quiet --no-calibration --set objectives.chat.p50_latency=<=1ms \
                 --set objectives.chat.p95_latency=<=50s";
    let page = folder.run(asked).expect(1).out;
    let (new, changed) = (row(&page, "chat.p50_latency "), row(&page, "chat.p95_latency "));
    assert!(new.contains("<=1ms tomorrow") && new.ends_with('✗'), "{new}");
    assert_eq!(new.matches(['✓', '✗', '?']).count(), 1, "{new}");
    assert_eq!(new.matches(" ms").count(), 2, "today's number is known: {new}");
    assert!(changed.contains("<= 5s, then <=50s"), "{changed}");
    assert_eq!(changed.matches('✓').count(), 2, "{changed}");
    let kept = row(&page, "chat.success_rate ");
    assert!(kept.contains(">= 97%") && kept.matches('✓').count() == 2, "{kept}");
}

/// Nothing was promised today: tomorrow's promise is judged, followed to its edge and mended.
#[test]
fn a_first_promise_is_looked_after() {
    let folder = Folder::new("what-if-first");
    let chat = super::CHAT.split("[objectives]").next().expect("a scenario");
    folder.write("free.toml", chat);
    let asked = "what-if free.toml --quiet --format json --no-calibration \
                 --set objectives.spend.per_day=<=$1000";
    let answer = parsed(&folder.run(asked).expect(0).out);
    assert_eq!(answer["repair"]["needed"], false);
    assert!(answer["headroom"]["factor"]["low"].as_f64().is_some_and(|low| low > 9.0));
}

#[test]
fn spend_out_of_nothing_and_changes_of_nothing_are_called_so() {
    let folder = Folder::new("what-if-nothing");
    folder.write("free.toml", &super::CHAT.replace("$2.99/h", "$0/h"));
    let asked = "--quiet --format json --no-calibration --set";
    let verdict = |question: &str| {
        let answer = parsed(&folder.run(&format!("what-if {question}")).expect(0).out);
        answer["verdict"].as_str().expect("a sentence").to_owned()
    };
    let priced = verdict(&format!("free.toml {asked} pools.h100.price=$2.99/h"));
    assert!(priced.contains("spends $4,368.39 per month instead of nothing"), "{priced}");
    let nothing = "changes nothing that was measured";
    assert!(!priced.contains(nothing), "{priced}");
    let blocks = "pools.h100.engine_args.num_gpu_blocks_override=4001";
    let same = verdict(&format!("chat.toml {asked} {blocks}"));
    assert!(same.contains(nothing), "{same}");
}

/// Seed and replications of the command line are in the commands, which stand on one line each.
#[test]
fn commands_can_be_copied() {
    let folder = Folder::new("what-if-commands");
    let asked = "what-if chat.toml --quiet --no-calibration --seed 3 --replications 4 \
                 --set pools.h100.engine_args.max_num_seqs=1 \
                 --set objectives.spend.per_day=<=$9000 --vary pools.h100.replicas=12";
    let page = folder.run(asked).expect(1).out;
    let lines: Vec<&str> = page.lines().filter(|line| line.contains("surgeline run")).collect();
    assert_eq!(lines.len(), 2, "{page}");
    let marks = |line: &str| {
        let args = line.trim().strip_prefix("surgeline ").expect("a command").replace('\'', "");
        assert!(args.ends_with(" --seed 3 --replications 4"), "{args}");
        folder.run(&format!("{args} --quiet --no-calibration")).code
    };
    assert_eq!([marks(lines[0]), marks(lines[1])], [Some(1), Some(0)], "{page}");
    let mark = folder.run(&format!("{asked} --format md")).expect(1).out;
    assert!(mark.contains(&format!("```sh\n# tomorrow\n{}\n", lines[0].trim())), "{mark}");
}

/// Only money is missed whatever is done, so money is what is named.
#[test]
fn what_comes_closest_says_what_it_misses_worst() {
    let folder = Folder::new("what-if-closest");
    let asked = "what-if chat.toml --quiet --no-calibration --set objectives.spend.per_day=<=$100 \
                 --vary pools.h100.replicas=2..3";
    let page = folder.run(asked).expect(1).out;
    let words: Vec<&str> = page.split_whitespace().collect();
    let page = words.join(" ");
    assert!(page.contains("which leaves spend.per_day at $143.52 (<=$100)"), "{page}");
}

/// Both days are finished, the search is not: the exit code and the first words say so.
#[test]
fn a_search_that_is_stopped_is_partial() {
    let folder = Folder::new("what-if-partial");
    let asked = "what-if chat.toml --quiet --no-calibration --traffic 1x";
    let whole = parsed(&folder.run(&format!("{asked} --format json")).expect(0).out);
    assert_eq!((&whole["stopped"], &whole["unfinished"]), (&Value::Null, &serde_json::json!([])));
    // Enough for each of the two days, not for three replications at ten times the traffic.
    let events = whole["today"]["events"].as_u64().expect("a count") * 3;
    let page = folder.run(&format!("{asked} --max-events {events}")).expect(4).out;
    let banner =
        format!("PARTIAL: stopped at --max-events {events} after 4 replications of each day.");
    let words: Vec<&str> = page.split_whitespace().collect();
    let at = words.join(" ").find(&banner);
    assert!(at.is_some_and(|at| at < 200), "{page}");
    assert!(words.join(" ").contains("Not finished: the headroom, the smallest repair."), "{page}");
}
