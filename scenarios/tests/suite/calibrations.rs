//! What the times of pools rest on: the shipped coefficients, or a calibration file that is named.

use crate::support::{Folder, SMALL};
use calibrate::coefficients::Basis;
use calibrate::fitted::{Entry, Fitted, shipped};
use scenarios::{ProblemKind, Resolved, load_file};
use sim::engine::Work;
use sim::fleet::HostTime;
use sim::units::Span;
use std::path::PathBuf;

const POOL: &str = "[pools.h100]\ngpu = \"h200\"\nmodel = \"llama-3.1-70b-instruct\"\n\
                    precision = \"fp8\"\ntensor_parallel = 4\nprice = \"$3/h\"\n\
                    engine_args = { max_model_len = 8192, kv_cache_dtype = \"fp8\" }\n";

/// The small scenario with a pool of the catalogue and these keys.
fn scenario(folder: &Folder, keys: &str) -> PathBuf {
    let from = SMALL.find("[pools.h100]").expect("a pool");
    let to = SMALL.find("[objectives]").expect("objectives");
    let text = format!("{}{POOL}{keys}\n{}", &SMALL[..from], &SMALL[to..]);
    folder.write("scenario.toml", text)
}

fn loaded(folder: &Folder, keys: &str) -> Resolved {
    load_file(&scenario(folder, keys), None, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The shipped calibration with other values of one coefficient of vLLM.
fn own(folder: &Folder, name: &str, change: impl Fn(&mut f64)) -> Fitted {
    let mut fitted = shipped().expect("valid").clone();
    let tables = |entry: &&mut Entry| entry.engine == "vllm" && entry.basis == Basis::Table;
    for entry in fitted.entry.iter_mut().filter(tables) {
        if let Some(coefficient) = entry.coefficients.get_mut(name) {
            change(&mut coefficient.value);
        }
    }
    folder.write("mine.toml", fitted.write().expect("finite"));
    fitted
}

fn decode(resolved: &Resolved) -> f64 {
    let work = Work { decodes: 32, kv_tokens: 32_000, ..Work::default() };
    resolved.scenario.pools[0].step_time.iteration(work).as_secs_f64()
}

const NAMED: &str = "calibration_file = \"mine.toml\"";

#[test]
fn pools_use_the_shipped_coefficients_and_say_their_error() {
    let folder = Folder::new("shipped-calibration");
    let plain = loaded(&folder, "");
    let calibration = &plain.calibration[0];
    for part in ["kernel tables of h200-sxm", "vllm", "on this model", "TPOT", "TTFT"] {
        assert!(calibration.label.contains(part), "{}", calibration.label);
    }
    let spread = calibration.spread.as_ref().expect("it is calibrated");
    assert!((0.01..0.3).contains(&spread.iteration), "{spread:?}");
    assert!(plain.scenario.pools[0].host.request > Span::from_millis(1));
    let rows = ["step_time.coefficients", "request_overhead"];
    for key in rows.map(|key| format!("pools.h100.{key}")) {
        assert!(plain.provenance.iter().any(|row| row.key == key), "{key}");
    }
    assert!(plain.warnings.is_empty(), "{:?}", plain.warnings);
}

#[test]
fn written_overheads_take_the_place_of_calibrated_ones() {
    let folder = Folder::new("written-overheads");
    let plain = loaded(&folder, "");
    let keys = "dispatch_overhead = \"3ms\"\nrequest_overhead = \"7ms\"";
    let written = loaded(&folder, keys);
    let entry = shipped().expect("valid").entry.iter();
    let model = Some("llama-3.1-70b-instruct");
    let of_model = |e: &&Entry| e.engine == "vllm" && e.model.as_deref() == model;
    let own = entry.filter(of_model).find(|e| e.basis == Basis::Table).expect("measured");
    let host = own.coefficients["iteration_us"].value * 1e-6;
    assert!((decode(&written) - decode(&plain) - (0.003 - host)).abs() < 1e-9);
    let expected = HostTime { request: Span::from_millis(7), prompt_token: Span::ZERO };
    assert_eq!(written.scenario.pools[0].host, expected);
}

#[test]
fn a_named_calibration_is_used_and_its_doubts_are_told() {
    let folder = Folder::new("own-calibration");
    own(&folder, "iteration_us", |value| *value += 1_000.0);
    let (plain, named) = (loaded(&folder, ""), loaded(&folder, NAMED));
    assert!((decode(&named) - decode(&plain) - 1e-3).abs() < 1e-9);
    let doubts: Vec<String> = named.warnings.iter().map(ToString::to_string).collect();
    let [doubt] = doubts.as_slice() else { panic!("{doubts:?}") };
    assert!(doubt.contains("calibration_file") && doubt.contains("versions"), "{doubt}");
    let hash = named.provenance.iter().find(|row| row.key == "pools.h100.calibration_sha256");
    assert_eq!(hash.expect("listed").value.len(), 64);
}

#[test]
fn a_calibration_without_the_engine_leaves_it_uncalibrated() {
    let folder = Folder::new("other-engine");
    let mut fitted = own(&folder, "iteration_us", |_| {});
    fitted.entry.retain(|entry| entry.engine != "vllm");
    folder.write("mine.toml", fitted.write().expect("finite"));
    let named = loaded(&folder, NAMED);
    assert!(named.calibration[0].label.contains("uncalibrated"), "{:?}", named.calibration);
    let doubt = named.warnings[0].to_string();
    assert!(doubt.contains("no coefficients of vllm for kernel tables"), "{doubt}");
}

#[test]
fn a_calibration_that_cannot_be_used_is_refused() {
    let folder = Folder::new("no-calibration");
    let refused = |keys: &str| {
        let problems = load_file(&scenario(&folder, keys), None, &[]).expect_err("refused");
        let [problem] = problems.list.as_slice() else { panic!("{problems}") };
        (problem.kind, problems.to_string())
    };
    let (kind, text) = refused(NAMED);
    assert!(kind == ProblemKind::File && text.contains("calibration_file"), "{text}");
    folder.write("mine.toml", "schema = \"surgeline.calibration/1\"\n");
    let (kind, text) = refused(NAMED);
    assert!(kind == ProblemKind::File && text.contains("no calibration file"), "{text}");
    let (_, text) = refused("calibration_file = \"../mine.toml\"");
    assert!(text.contains("inside the scenario's folder"), "{text}");
    own(&folder, "iteration_us", |_| {});
    let (kind, text) = refused(&format!("{NAMED}\nstep_time = {{ fixed = \"5ms\" }}"));
    assert!(kind == ProblemKind::Conflict && text.contains("no effect"), "{text}");
}
