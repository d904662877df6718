//! `check` as a pipeline meets it: verdicts, exit codes, and files that come out the same each time.

use super::{Ended, Folder};
use crate::support;
use serde_json::Value;
use std::process::Command;

/// Ten minutes of replies from two hosted models of very different price.
const REPLIES: &str = r#"
policy = "main.toml"

[scenario]
name = "replies"
horizon = "10m"
seed = 1

[traffic.web]
task = "reply"
arrivals = { kind = "poisson", rate = "4/s" }

[tasks.reply]
value = "$0.05"
steps = [
  { id = "answer", model_call = { intent = "answer", input = { kind = "lognormal", p50 = 700, p95 = 2000 }, output = { kind = "lognormal", p50 = 120, p95 = 300 } } },
]

[intents.answer]
confidence = 0.6
quality = { small = { success = 0.93 }, large = { success = 0.97 } }

[models]
small = { served_by = ["small"] }
large = { served_by = ["large"] }

[providers.small]
catalog = "openai/gpt-4o-mini"
[providers.large]
catalog = "openai/gpt-4o"
"#;

/// A folder with the scenario and three policies: in production, cheaper, far dearer.
fn replies(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("replies.toml", REPLIES);
    let policy = |model: &str, doubt: f64| {
        format!(
            "[routing]\ndefault_model = \"{model}\"\n\
             [[routing.escalate_if]]\nwhen = \"confidence < {doubt}\"\nmodel = \"large\"\n"
        )
    };
    folder.write("main.toml", &policy("small", 0.5));
    folder.write("good.toml", &policy("small", 0.3));
    folder.write("bad.toml", &policy("large", 0.5));
    folder
}

/// `check replies.toml` with these arguments, quietly.
#[track_caller]
fn check(folder: &Folder, args: &str) -> Ended {
    folder.run(&format!("check replies.toml --quiet {args}"))
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn number(at: &Value) -> f64 {
    at.as_f64().unwrap_or_else(|| panic!("{at} is no number"))
}

fn list(at: &Value) -> &[Value] {
    at.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_shipped_policies_are_told_apart() {
    let folder = Folder::new("check-shipped");
    for (scenario, candidate, code, headline) in [
        (
            "support-reply",
            "support-reply.good",
            0,
            "PASS: all 6 gates hold; the cost per successful task falls by",
        ),
        ("support-reply", "support-reply.bad", 1, "FAIL: support_reply.p95_latency changes by"),
        ("provider-outage", "provider-outage.bad", 1, "FAIL: reply.p95_latency changes by"),
    ] {
        let args = format!("check {scenario} --candidate {candidate} --quiet");
        let ended = folder.run(&args).expect(code);
        assert!(ended.out.contains(headline), "{}", ended.out);
        assert!(ended.err.is_empty(), "{}", ended.err);
    }
}

#[test]
fn the_exit_code_is_the_verdict() {
    let folder = replies("check-codes");
    folder.write("ceiling.toml", "[gates]\np95_latency = \"<= 1s\"\n");
    folder.write("roof.toml", "[gates]\np95_latency = \"<= 60s\"\n");
    folder.write("warn.toml", "[gates]\ncost_per_successful_task = \"<= +2%, else warn\"\n");
    for (args, code, headline) in [
        ("--candidate good.toml", 0, "PASS: all 3 gates hold; the cost per successful task falls"),
        ("--candidate main.toml", 0, "PASS: the candidate changes nothing."),
        ("--candidate bad.toml", 1, "FAIL: cost_per_successful_task is now ×"),
        ("--candidate good.toml --gates ceiling.toml", 1, "and has to be <= 1.00 s"),
        ("--candidate good.toml --gates ceiling.toml", 1, "the baseline misses it, too"),
        ("--candidate bad.toml --gates roof.toml", 0, "PASS: the gate holds"),
        ("--candidate bad.toml --gates warn.toml", 0, "all gates that bind hold, one warns"),
        ("--baseline bad.toml --candidate main.toml", 1, "FAIL: reply.success_rate changes by -"),
    ] {
        let ended = check(&folder, args).expect(code);
        let words: Vec<&str> = ended.out.split_whitespace().collect();
        assert!(words.join(" ").contains(headline), "{args}: {}", ended.out);
        assert!(ended.err.is_empty(), "{args}: {}", ended.err);
    }
}

#[test]
fn a_wrong_input_is_said_with_its_place_and_judges_nothing() {
    let folder = replies("check-input");
    folder.write("typo.toml", "[gates]\np95_latncy = \"<= +2%\"\n");
    folder.write("key.toml", "[gate]\np95_latency = \"<= +2%\"\n");
    folder.write("text.toml", "[gates]\np95_latency = \"at most 6s\"\n");
    folder.write("task.toml", "[gates]\n\"repli.p95_latency\" = \"<= +2%\"\n");
    folder.write("none.toml", "[gates]\n");
    folder.write("few.toml", "[check]\npairs = 2\n");
    folder.write("not.toml", "\u{0}\u{1}");
    for (args, wanted) in [
        ("--candidate main.toml --gates typo.toml", "typo.toml:2:"),
        ("--candidate main.toml --gates typo.toml", "did you mean `p95_latency`?"),
        ("--candidate main.toml --gates key.toml", "did you mean `gates`?"),
        ("--candidate main.toml --gates text.toml", "write it like \"<= +2%\""),
        ("--candidate main.toml --gates task.toml", "did you mean"),
        ("--candidate main.toml --gates none.toml", "nothing to check: [gates] is empty"),
        ("--candidate main.toml --gates few.toml", "few.toml:2:"),
        ("--candidate missing.toml", "missing.toml is neither a file nor a shipped policy"),
        ("--candidate .", "is not a file"),
        ("--candidate not.toml", "not.toml:1:1"),
        ("--candidate main.toml --baseline missing.toml", "missing.toml"),
        ("--candidate main.toml --junit no/such/folder.xml", "there is no such folder"),
        ("--candidate main.toml --replications 9", "needs at least 10 pairs"),
        ("", "--candidate"),
    ] {
        let ended = check(&folder, args).expect(2);
        assert!(ended.err.contains(wanted), "{args}: {wanted} is not in\n{}", ended.err);
        assert!(ended.out.is_empty(), "{args}: {}", ended.out);
    }
}

#[test]
fn a_policy_against_itself_changes_exactly_nothing() {
    let folder = replies("check-itself");
    let args = "--candidate main.toml --format json --md a.md --github --junit a.xml";
    let ended = check(&folder, args).expect(0);
    let found = json(&ended.out);
    assert_eq!((&found["verdict"], &found["self_test"]), (&"pass".into(), &"equal".into()));
    assert_eq!(list(&found["gates"]).len(), 3);
    for gate in list(&found["gates"]) {
        for key in ["delta", "low", "high"] {
            assert_eq!(gate[key].as_f64(), Some(0.0), "{key} of {gate}");
        }
        assert_eq!(gate["baseline"], gate["candidate"]);
    }
    for delta in list(&found["deltas"]) {
        let change = &delta["change"]["value"];
        assert!(change.is_null() || change.as_f64() == Some(0.0), "{delta}");
    }
    assert_eq!(found["examples"].as_array().map(Vec::len), Some(0));
    assert_eq!(found["runs"]["baseline"], found["runs"]["candidate"]);
    // No change, no noise.
    assert!(ended.err.is_empty(), "{}", ended.err);
    assert!(folder.read("a.md").lines().count() < 12);
}

/// A gate whose tolerance is the change that was found can tell neither way.
#[test]
fn a_gate_that_cannot_tell_adds_pairs_and_then_says_so() {
    let folder = replies("check-unsure");
    let gates = |tolerance: f64, check: &str| {
        format!("[gates]\np95_latency = \"<= {tolerance:+.6}%\"\n[check]\n{check}\n")
    };
    let relative = |of: &str| {
        let found = json(of);
        (number(&found["gates"][0]["relative"]["delta"]) * 100.0, found)
    };
    let args = "--candidate bad.toml --format json --gates";
    folder.write("loose.toml", &gates(50.0, "most_pairs = 10"));
    let (found, _) = relative(&check(&folder, &format!("{args} loose.toml")).expect(0).out);

    folder.write("tight.toml", &gates(found, "most_pairs = 10"));
    let ended = check(&folder, &format!("{args} tight.toml --junit a.xml")).expect(3);
    let unsure = json(&ended.out);
    assert_eq!((&unsure["verdict"], &unsure["pairs"]), (&"inconclusive".into(), &10.into()));
    let relative_of = &unsure["gates"][0]["relative"];
    let (low, high) = (number(&relative_of["low"]), number(&relative_of["high"]));
    let tolerance = number(&relative_of["tolerance"]);
    assert!(low < tolerance && tolerance < high, "{relative_of}");
    assert!(folder.read("a.xml").contains("<error message="));
    let told = check(&folder, "--candidate bad.toml --gates tight.toml").expect(3).out;
    assert!(told.contains("INCONCLUSIVE: ") && told.contains("Raise `most_pairs`"), "{told}");

    folder.write("warns.toml", &gates(found, "most_pairs = 10\ninconclusive = \"warn\""));
    let ended = check(&folder, "--candidate bad.toml --gates warns.toml --github --junit b.xml");
    let ended = ended.expect(0);
    assert!(ended.out.contains("INCONCLUSIVE (which only warns)"), "{}", ended.out);
    assert!(ended.out.contains("\n::warning title=inconclusive%3A reply.p95_latency"));
    assert!(folder.read("b.xml").contains("<system-out>warning: "));

    // With more pairs allowed, more are run.
    folder.write("more.toml", &gates(found, "most_pairs = 20"));
    let ended = check(&folder, &format!("{args} more.toml"));
    let more = json(&ended.out);
    assert_eq!((&more["pairs"], &more["looks"]), (&20.into(), &2.into()));
}

#[test]
fn a_check_that_is_out_of_time_has_no_verdict() {
    let folder = replies("check-time");
    let bad = "--candidate bad.toml --format json";
    // Of ten replications a few end within as many events.
    let most = "--max-events 20000 --junit a.xml --github";
    let ended = check(&folder, &format!("{bad} {most}")).expect(4);
    let found = json(&ended.out);
    assert_eq!(found["verdict"], "inconclusive");
    assert!((1..10).contains(&found["pairs"].as_u64().unwrap_or_default()), "{}", found["pairs"]);
    assert!(ended.err.contains("::error title=not finished"), "{}", ended.err);
    assert!(folder.read("a.xml").contains("type=\"stopped\""));
    // A thousand pairs of an hour take longer than a second on any machine.
    folder.write("hasty.toml", "[check]\ntime = \"1s\"\npairs = 1000\n");
    let args = format!("{bad} --gates hasty.toml --set scenario.horizon=1h");
    let ended = check(&folder, &args).expect(4);
    let told = if ended.out.is_empty() {
        // Slow as this machine may be, it says so.
        ended.err
    } else {
        let found = json(&ended.out);
        assert_eq!(found["verdict"], "inconclusive");
        found["headline"].to_string()
    };
    assert!(told.contains("stopped at the 1s of [check]"), "{told}");
}

#[test]
fn the_same_check_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = replies("check-bytes");
    let everything = |at: usize, threads: &str| {
        let args = format!(
            "--candidate bad.toml --github {threads} --set scenario.horizon=2m \
             --json {at}.json --markdown {at}.md --junit {at}.xml"
        );
        let printed = check(&folder, &args).expect(1).out;
        let files = ["json", "md", "xml"].map(|form| folder.read(&format!("{at}.{form}")));
        (printed, files)
    };
    let first = everything(0, "");
    assert!(first.0.contains("::error title="), "{}", first.0);
    let threads = ["", "--threads 1", "--threads 2", "--threads 8"];
    for at in 1..20 {
        let again = everything(at, threads[at % threads.len()]);
        assert!(first == again, "run {at} differs");
    }
}

#[test]
fn check_prints_the_keys_that_are_promised() {
    let folder = replies("check-json");
    folder.write(
        "gates.toml",
        "[gates]\np95_latency = \"<= +2% or +20ms, <= 60s\"\nsuccess_rate = \">= -0.005\"\n\
         cost_per_successful_task = \"<= +2%, else warn\"\n",
    );
    let ended = check(&folder, "--candidate bad.toml --format json --gates gates.toml").expect(0);
    let found = json(&ended.out);
    assert_eq!(found["schema"], "surgeline.check/1");
    assert_eq!(found["verdict"], "pass");
    assert_eq!(found["pairs"], 10);
    assert_eq!((&found["seed"], &found["scenario"]), (&1.into(), &"replies".into()));
    let gates = list(&found["gates"]);
    let rules: Vec<&str> = gates.iter().filter_map(|gate| gate["rule"].as_str()).collect();
    assert_eq!(rules, ["change", "limit", "change", "change"]);
    for gate in gates {
        for key in ["metric", "text", "unit", "level", "verdict"] {
            assert!(gate[key].is_string(), "{key} of {gate}");
        }
        let [before, after, delta, low, high] =
            ["baseline", "candidate", "delta", "low", "high"].map(|key| number(&gate[key]));
        // What the verdict rests on: the change, or of a limit the candidate's own number.
        let judged = if gate["rule"] == "limit" { after } else { delta };
        assert!(low <= judged && judged <= high, "{gate}");
        // The change of a percentile is that of the smoothed one.
        let apart = if gate["metric"] == "reply.p95_latency" { 1e-3 } else { 1e-9 };
        assert!((after - before - delta).abs() <= apart * before.abs(), "{gate}");
        // What is tolerated is in the metric's unit, as the change is.
        match gate["rule"].as_str() {
            Some("limit") => assert!(gate["tolerance"].is_null() && gate["limit"].is_number()),
            _ => {
                let passes = gate["verdict"] == "pass";
                let (rises, tolerance) =
                    (gate["metric"] != "reply.success_rate", number(&gate["tolerance"]));
                let holds = if rises { high <= tolerance } else { low >= tolerance };
                assert_eq!(passes, holds, "{gate}");
            }
        }
    }
    assert_eq!((&gates[3]["level"], &gates[3]["verdict"]), (&"warn".into(), &"fail".into()));
    for arm in ["baseline", "candidate"] {
        assert!(found[arm]["policy"].is_string());
        assert_eq!(found[arm]["sha256"].as_str().map(str::len), Some(64));
        assert!(found["runs"][arm]["tasks"]["reply"]["latency_s"]["p95"]["value"].is_number());
    }
    assert!(list(&found["drivers"]["latency"])[0]["p95_s"].is_array());
    let examples = list(&found["examples"]);
    assert!(!examples.is_empty() && examples.len() <= 3);
    for example in examples {
        assert_eq!(example["baseline"]["ending"], "success", "{example}");
    }
}

#[test]
fn names_of_files_are_shown_and_not_obeyed() {
    let folder = replies("check-names");
    let name = "100%,x::error::y|<b>`.toml";
    folder.write(name, &folder.read("bad.toml"));
    let mut command =
        folder.command("check replies.toml --quiet --github --junit a.xml --candidate");
    command.arg(name).env("GITHUB_STEP_SUMMARY", folder.0.join("summary.md"));
    let ended = Ended::of(command.output().expect("the binary starts")).expect(1);
    let commands: Vec<&str> = ended.out.lines().filter(|line| line.contains("::")).collect();
    let file = "file=100%25%2Cx%3A%3Aerror%3A%3Ay|<b>`.toml::";
    assert!(commands.iter().any(|line| line.contains(file)), "{commands:?}");
    let begun = ended.out.lines().filter(|line| line.trim_start().starts_with("::"));
    assert_eq!(begun.count(), 1, "{}", ended.out);
    let summary = folder.read("summary.md");
    assert!(summary.contains(r"100%,x::error::y\|&lt;b&gt;\`.toml"), "{summary}");
    // A second step adds to the summary.
    let ended = Ended::of(command.output().expect("the binary starts")).expect(1);
    assert_eq!(folder.read("summary.md").len(), 2 * summary.len(), "{}", ended.err);
}

/// What could not be written is an error, not a verdict that nobody sees.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_no_verdict() {
    let folder = replies("check-full");
    let args = "--candidate main.toml --set scenario.horizon=1m";
    for option in ["--json", "--markdown", "--junit"] {
        let ended = check(&folder, &format!("{args} {option} /dev/full")).expect(2);
        assert!(ended.err.contains("surgeline: /dev/full: "), "{option}: {}", ended.err);
    }
    let mut command = folder.command("check replies.toml --quiet --github");
    command.args(args.split_whitespace()).env("GITHUB_STEP_SUMMARY", "/dev/full");
    let ended = Ended::of(command.output().expect("the binary starts")).expect(2);
    assert!(ended.err.contains("surgeline: /dev/full: "), "{}", ended.err);
}

#[test]
fn a_shipped_policy_is_no_file_to_annotate() {
    let folder = Folder::new("check-no-file");
    let args = "check provider-outage --candidate provider-outage.bad --github --quiet \
                --replications 10 --set scenario.horizon=90m";
    let out = folder.run(args).out;
    assert!(out.contains("\n::error title=") && !out.contains("file="), "{out}");
}

/// The commands of the documented workflows, on pull requests of a scratch repository. The script
/// is written for the tools of GNU.
#[cfg(target_os = "linux")]
#[test]
fn the_documented_workflow_does_what_it_says() {
    let mut bash = Command::new("bash");
    let output = bash
        .arg(support::root().join("tests/ci-example.sh"))
        .arg(env!("CARGO_BIN_EXE_surgeline"))
        .output()
        .expect("bash starts");
    let ended = Ended::of(output).expect(0);
    assert!(ended.out.contains("ci-example: all is as documented"), "{}", ended.out);
}
