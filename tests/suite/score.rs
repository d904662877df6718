//! Scores of measured points: the command, and the page that says how far to trust the times.

use serde_json::Value;
use std::process::{Command, Output};

const POINTS: &str = "\
id,system,backend,backend_version,model,precision,mode,isl,osl,concurrency,tp,ttft_ms,tpot_ms
a,h200_sxm,vllm,0.18.0,meta-llama/Llama-3.1-70B,fp8,agg,1024,1024,8,4,101,10.2
b,h100_sxm,trtllm,1.0.0,Qwen/Qwen3-32B,,agg,1024,128,16,2,200,20
c,h100_sxm,vllm,0.12.0,nobody/unheard-of-7b,bf16,agg,1024,128,16,1,200,20
d,h100_sxm,vllm,0.12.0,Qwen/Qwen3-32B,bf16,disagg,1024,128,16,1,200,20
";

fn surgeline(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_surgeline")).args(args).output();
    command.expect("the command can be started")
}

fn points(text: &str) -> std::path::PathBuf {
    let name = format!("surgeline-points-{}-{}.csv", std::process::id(), text.len());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).expect("the temporary folder can be written");
    path
}

#[test]
fn predicted_stands_beside_measured_and_refused_rows_say_why() {
    let path = points(POINTS);
    let file = path.to_string_lossy();
    let output = surgeline(&["calibrate", "score", "--points", &file, "--format", "json"]);
    let text = surgeline(&["calibrate", "score", "--points", &file, "--rows"]);
    std::fs::remove_file(&path).expect("it was written");
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["schema"], "surgeline.score/1");
    let row = |id: &str| {
        let rows = json["rows"].as_array().expect("rows");
        rows.iter().find(|row| row["id"] == id).expect("every row is there").clone()
    };
    let predicted = &row("a")["predicted"];
    let number = |key: &str| predicted[key].as_f64().expect("a number");
    for time in ["ttft", "tpot"] {
        let [low, value, high] =
            ["_low_ms", "_ms", "_high_ms"].map(|end| number(&format!("{time}{end}")));
        assert!(0.0 < low && low < value && value < high, "{time}: {low} {value} {high}");
    }
    assert_eq!(row("a")["measured"]["tpot_ms"], 10.2);
    assert_eq!(row("a")["precision_assumed"], false);
    assert_eq!(row("b")["precision_assumed"], true);
    assert!(row("c")["refused"].as_str().expect("a reason").contains("unheard-of-7b"));
    assert!(row("d")["refused"].as_str().expect("a reason").contains("disagg"));
    assert!(row("c")["predicted"].is_null() && row("a")["refused"].is_null());
    let text = String::from_utf8(text.stdout).expect("UTF-8");
    assert!(text.contains("Refused 1: model `unheard-of-7b` is not in the catalogue"), "{text}");
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let path = points("system,backend\nx,y\n");
    let output = surgeline(&["calibrate", "score", "--points", &path.to_string_lossy()]);
    std::fs::remove_file(&path).expect("it was written");
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(message.contains("line 2") && message.contains("model"), "{message}");
    let output = surgeline(&["calibrate", "score", "--points", "nowhere.csv"]);
    assert_eq!(output.status.code(), Some(2));
    let header = POINTS.lines().next().expect("a header");
    let path = points(&format!("{header}\n"));
    let output = surgeline(&["calibrate", "score", "--points", &path.to_string_lossy()]);
    std::fs::remove_file(&path).expect("it was written");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.code() == Some(2) && message.contains("no row"), "{message}");
}

/// A reader of messages that went away is no bug of ours.
#[test]
fn messages_that_nobody_reads_are_lost() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    // Only where there is such a device.
    let Ok(full) = full else { return };
    let status = Command::new(env!("CARGO_BIN_EXE_surgeline"))
        .args(["calibrate", "score", "--points", "nowhere.csv"])
        .stderr(full)
        .status();
    assert_eq!(status.expect("the command can be started").code(), Some(2));
}

/// Six requests of a recorded run: times of a server that they are predicted beside, and no GPU that
/// the files would name.
#[test]
fn a_recorded_run_is_replayed_with_the_capacity_of_its_log() {
    let folder = "calibrate/tests/data/imports/llama-2-7b-sweep";
    let [spans, log, settings] =
        ["spans.csv", "vllm.log", "exp-config.yaml"].map(|name| format!("{folder}/{name}"));
    let run = ["calibrate", "score", "--requests", &spans];
    let all = [&run[..], &["--engine-config", &log, "--engine-config", &settings]].concat();
    let output = surgeline(&[&all[..], &["--gpu", "h100", "--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["schema"], "surgeline.score-run/1");
    assert_eq!((&json["kv_blocks"], &json["kv_blocks_measured"]), (&7_439.into(), &true.into()));
    for time in ["ttft", "e2e"] {
        let median = &json[time][0];
        let [measured, predicted] = ["measured_ms", "predicted_ms"].map(|key| median[key].as_f64());
        let ratio = predicted.expect("predicted") / measured.expect("measured");
        assert!((0.3..3.0).contains(&ratio), "{time}: {median}");
    }
    let output = surgeline(&all);
    assert_eq!(output.status.code(), Some(2));
    let output = surgeline(&["calibrate", "score", "--requests", &log, "--gpu", "h100"]);
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        output.status.code() == Some(2) && message.contains("no file holds requests"),
        "{message}"
    );
}

/// Iterations are fitted and written with their errors; a run of eight requests is too short to fit.
#[test]
fn iterations_and_runs_are_fitted() {
    let folder = "calibrate/tests/data/imports";
    let out = points("");
    let file = out.to_string_lossy();
    let common = ["--source", "a test", "--as-of", "2026-11-26", "--out", &file];
    let fit = |args: &[&str]| surgeline(&[&["calibrate", "fit"], args, &common[..]].concat());
    let output = fit(&["--steps", &format!("{folder}/step_intervals.csv")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("llama-2-70b TP4: 8 rows.") && text.contains("part 4 of 4"), "{text}");
    let written = std::fs::read_to_string(&out).expect("it was written");
    std::fs::remove_file(&out).expect("it was written");
    assert!(written.starts_with("schema = \"surgeline.steps/1\""), "{written}");
    let run = format!("{folder}/llama-3.1-8b-stamps");
    let [requests, meta] = ["requests.jsonl", "meta.json"].map(|name| format!("{run}/{name}"));
    let output = fit(&["--requests", &requests, "--engine-config", &meta, "--gpu", "rtx-pro-6000"]);
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.code() == Some(2) && message.contains("at least 15"), "{message}");
    assert!(!out.exists());
    assert_eq!(fit(&[]).status.code(), Some(2));
}

/// `surgeline calibrate accuracy > docs/accuracy.md` brings the page up to date.
#[test]
fn the_page_of_accuracy_is_that_of_the_shipped_coefficients() {
    let fitted = calibrate::fitted::shipped().expect("valid");
    let page = include_str!("../../docs/accuracy.md");
    assert!(page == reports::score::accuracy_page(fitted), "docs/accuracy.md is not up to date");
}

/// One lane of the benchmark as one user without think time: `run` predicts what `score` does, for
/// both take their times from the same coefficients. Lengths are the benchmark's means.
#[test]
fn a_run_rests_on_what_was_scored() {
    let folder = std::env::temp_dir().join(format!("surgeline-scored-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.to_string_lossy().into_owned()
    };
    let one_lane = POINTS.lines().next().expect("a header").to_owned()
        + "\na,h200_sxm,vllm,,meta-llama/Llama-3.1-70B,fp8,agg,2000,1000,1,4,100,10\n";
    let points = write("points.csv", &one_lane);
    let score = surgeline(&["calibrate", "score", "--points", &points, "--format", "json"]);
    let scenario = write(
        "scenario.toml",
        r#"
[scenario]
horizon = "20m"
replications = 2
[traffic.lane]
task = "reply"
arrivals = { kind = "closed-loop", users = 1, think = { kind = "fixed", length = "0s" } }
[tasks.reply]
steps = [{ id = "answer", model_call = { model = "m", input = { kind = "fixed", tokens = 1800 }, output = { kind = "fixed", tokens = 900 } } }]
[models.m]
served_by = ["h200"]
[pools.h200]
gpu = "h200"
model = "llama-3.1-70b-instruct"
precision = "fp8"
tensor_parallel = 4
price = "$3/h"
engine_args = { max_model_len = 3256, kv_cache_dtype = "fp8", enable_prefix_caching = false }
"#,
    );
    let run = surgeline(&["run", &scenario, "--format", "json"]);
    std::fs::remove_dir_all(&folder).expect("it was written");
    let json = |output: &Output| -> Value {
        let err = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{err}"))
    };
    let (score, run) = (json(&score), json(&run));
    for (time, tolerance) in [("ttft", 0.02), ("tpot", 0.01)] {
        let scored = &score["rows"][0]["predicted"][format!("{time}_ms")];
        let simulated = &run["calls"]["m"][format!("{time}_s")]["mean"]["value"];
        let (scored, simulated) = (scored.as_f64(), simulated.as_f64());
        let ratio = simulated.expect("a number") * 1e3 / scored.expect("a number");
        assert!((ratio - 1.0).abs() < tolerance, "{time}: {ratio}");
    }
    let range = &run["tasks"]["reply"]["latency_s"]["p95"]["calibration"];
    let p95 = run["tasks"]["reply"]["latency_s"]["p95"]["value"].as_f64().expect("a number");
    let end = |end: &str| range[end].as_f64().expect("a number") / p95;
    assert!(end("low") < 0.97 && end("high") > 1.03, "{range}");
}
