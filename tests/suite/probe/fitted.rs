//! From a stream of tokens to the time of an iteration: a probe of an engine whose coefficients are
//! known, with everything that goes wrong, and the fit to what it wrote.
//!
//! Invariant: a busy machine fails no test. What it is late by itself is told from prompts that are
//! equal, and allowed for beside the 3 %.
//!
//! Deliberately absent: how well each coefficient is found, which the tests of `calibrate` look at in
//! virtual time. A client sees a prompt through its first token alone, so where a busy machine makes
//! all of those late, its part and that of the iteration cannot be told apart: both together can.

use super::server::{Fault, Manners, Server};
use super::{Folder, MICRO, levels, probe_of, quick, run_new};
use calibrate::probe::{CellStatus, Ended};
use sim::engine::{StepTime, Work};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// 20 ms an iteration and 20 ms more with chunks, 400 µs a sequence, 4 µs a KV token, 50 µs a prompt
/// token and 100 µs for 1,024 pairs: long against what sockets and threads take.
fn step_time() -> StepTime {
    let linear = vec![(0, 0), (4, 1_600 * MICRO), (1_004, 51_600 * MICRO)];
    StepTime::new(20_000 * MICRO, 20_000 * MICRO, linear, 4 * MICRO, 100 * MICRO, Vec::new())
        .expect("valid")
}

/// Seconds that a request may really take between the two clocks: sockets, threads and whatever else
/// the machine does.
const OWN: f64 = 4e-3;

/// What the cells below have in one iteration, from little to much.
fn works() -> Vec<Work> {
    let mut works = Vec::new();
    for prompt in [160_u32, 640, 1_280] {
        for lanes in [1, 2, 4] {
            let kv_tokens = u64::from(lanes * (prompt + 10));
            works.push(Work { decodes: lanes, kv_tokens, ..Work::default() });
        }
        for (prompts, decodes) in [(1, 0), (3, 1)] {
            works.push(Work {
                decodes,
                kv_tokens: u64::from(decodes * prompt),
                prefill_tokens: prompts * prompt,
                prefill_pairs: u64::from(prompts) * u64::from(prompt) * u64::from(prompt + 1) / 2,
            });
        }
    }
    works
}

#[test]
fn a_fit_finds_the_iterations_behind_the_stream() {
    let faults = BTreeMap::from([
        (9, Fault::TooMany(1)),
        (18, Fault::Stall(2)),
        (65, Fault::Cut(5)),
        (80, Fault::Malformed(3)),
    ]);
    let server = Server::start(step_time(), Manners { faults, ..Manners::default() });
    let mut probe = probe_of(&server, levels(&[160, 640, 1_280], &[6, 12], &[1, 4], 50));
    probe.patience.stall = Duration::from_millis(2_500);
    let folder = Folder::new("fitted");
    let summary = run_new(&probe, &folder.0);
    assert_eq!((&summary.ended, summary.complete()), (&Ended::Done, summary.cells));
    let troubled: Vec<u32> =
        folder.cells().iter().filter(|cell| cell.errors > 0).map(|cell| cell.cell).collect();
    assert_eq!(troubled.len(), 4, "{:#?}", folder.cells());
    assert!(folder.cells().iter().all(|cell| cell.status == CellStatus::Complete));

    let fit = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
        let output = command.args(["calibrate", "fit-probe"]).args(args).arg(&folder.0).output();
        let output = output.expect("it starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"), err)
    };
    let (code, text, err) =
        fit(&["--max-num-batched-tokens", "65536", "--cells", "--pool", "h100"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{text}");
    for said in ["Model m, vllm 0.33.0.", "is left out: requests failed"] {
        assert!(text.contains(said), "{said}\nis not in\n{text}");
    }
    let found = read(&text);
    let (request, scatter) = (request(&text), scatter(&folder));
    for work in works() {
        let (found, truth) = (found.iteration(work), step_time().iteration(work));
        let (found, truth) = (found.as_secs_f64(), truth.as_secs_f64());
        let (seen, own) =
            if work.prefill_tokens > 0 { (found + request, OWN) } else { (found, 0.0) };
        let range = (0.97 - scatter) * truth..(1.03 + scatter) * truth + own;
        assert!(range.contains(&seen), "{work:?} takes {truth} s, not {found} + {request}\n{text}");
    }
    // A scenario takes the table as it is.
    let scenario = folder.0.join("scenario.toml");
    std::fs::write(&scenario, format!("{SCENARIO}\n{text}")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
    let output = command.arg("validate").arg(&scenario).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    for (args, said) in [
        (["--engine", "vlm"], "vlm"),
        (["--gpu", "h101"], "h101"),
        (["--pool", "a b"], "letters, digits"),
        (["--out", "nowhere/table.toml"], "no such folder"),
    ] {
        let (code, out, err) = fit(&args);
        assert_eq!(code, Some(2), "{args:?}: {out}{err}");
        assert!(err.contains(said) && out.is_empty(), "{args:?}: {err}");
    }
}

#[test]
fn a_folder_that_cannot_be_fitted_to_says_why() {
    let folder = Folder::new("unfitted");
    let fit = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
        let output = command.args(["calibrate", "fit-probe"]).arg(&folder.0).output();
        let output = output.expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(fit().contains("probe.toml"));
    let server = Server::start(quick(), Manners::default());
    run_new(&probe_of(&server, levels(&[16, 64], &[4], &[1], 0)), &folder.0);
    assert!(fit().contains("probe more concurrencies"), "{}", fit());
}

const SCENARIO: &str = r#"
[scenario]
horizon = "2m"
replications = 4

[traffic.web]
task = "chat"
arrivals = { kind = "poisson", rate = "1/s" }

[tasks.chat]
steps = [{ id = "answer", model_call = { model = "small", input = { kind = "fixed", tokens = 200 }, output = { kind = "fixed", tokens = 20 } } }]

[models.small]
served_by = ["h100"]

[pools.h100]
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 4000 }
"#;

fn table(text: &str) -> toml::Value {
    let table: toml::Table = text.parse().expect("TOML");
    table["pools"]["h100"]["step_time"].clone()
}

fn ps(value: &toml::Value) -> u64 {
    scenarios::quantity::span(value.as_str().expect("text")).expect("a duration").0
}

/// How far first tokens of equal prompts lie apart that each found the engine idle, as a share: the
/// machine's doing, whatever a fit makes of it. On an idle one it is less than a percent.
fn scatter(folder: &Folder) -> f64 {
    let cells = folder.cells().into_iter();
    let alone = cells.filter(|cell| cell.concurrency == 1 && cell.purpose != "warm-up");
    let requests = folder.requests();
    let of_cell = |cell: u32| {
        let rows = requests.iter().filter(|row| row.cell == cell && row.lane > 0);
        let mut times: Vec<f64> =
            rows.filter(|row| row.error.is_empty()).filter_map(|row| row.ttft_s).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] / times[0] - 1.0
    };
    alone.map(|cell| of_cell(cell.cell)).fold(0.0, f64::max)
}

/// What a request takes by the table's comment, seconds.
fn request(text: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with("# A request takes ")).expect("a line");
    let words: Vec<&str> = line.split(' ').collect();
    let time = scenarios::quantity::span(&format!("{}{}", words[4], words[5])).expect("a duration");
    time.as_secs_f64()
}

/// The table as scenarios read it.
fn read(text: &str) -> StepTime {
    let table = table(text);
    let linear = table["linear"].as_array().expect("knots").iter().map(|knot| {
        (u32::try_from(knot[0].as_integer().expect("tokens")).expect("few"), ps(&knot[1]))
    });
    StepTime::new(
        ps(&table["fixed"]),
        ps(&table["ungraphed"]),
        linear.collect(),
        ps(&table["per_kv_token"]),
        ps(&table["per_1024_pairs"]),
        Vec::new(),
    )
    .expect("usable")
}
