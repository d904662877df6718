//! From a stream of tokens to the time of an iteration: a probe of an engine whose coefficients are
//! known, with everything that goes wrong, and the fit to what it wrote.
//!
//! Deliberately absent: how well each coefficient is found, which the tests of `calibrate` look at
//! in virtual time. Here a clock and other processes have their say: what an iteration takes is
//! compared, over all that the design holds.

use super::server::{Fault, Manners, Server};
use super::{Folder, MICRO, levels, probe_of, run_new};
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
        (72, Fault::Malformed(3)),
    ]);
    let server = Server::start(step_time(), Manners { faults, ..Manners::default() });
    let mut probe = probe_of(&server, levels(&[160, 640, 1_280], &[20], &[1, 4], 50));
    probe.patience.stall = Duration::from_millis(2_500);
    let folder = Folder::new("fitted");
    let summary = run_new(&probe, &folder.0);
    assert_eq!((&summary.ended, summary.complete()), (&Ended::Done, summary.cells));
    let troubled: Vec<u32> =
        folder.cells().iter().filter(|cell| cell.errors > 0).map(|cell| cell.cell).collect();
    assert_eq!(troubled.len(), 4, "{:#?}", folder.cells());
    assert!(folder.cells().iter().all(|cell| cell.status == CellStatus::Complete));

    let args = ["calibrate", "fit-probe", "--max-num-batched-tokens", "65536", "--cells"];
    let output = Command::new(env!("CARGO_BIN_EXE_surgeline")).args(args).arg(&folder.0).output();
    let output = output.expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for said in ["Model m, vllm 0.33.0.", "is left out: requests failed"] {
        assert!(text.contains(said), "{said}\nis not in\n{text}");
    }
    let found = read(&text);
    for work in works() {
        let (found, truth) = (found.iteration(work), step_time().iteration(work));
        let ratio = found.as_secs_f64() / truth.as_secs_f64();
        assert!((ratio - 1.0).abs() < 0.03, "{work:?} × {ratio}\n{text}");
    }
}

/// The table as scenarios read it.
fn read(text: &str) -> StepTime {
    let table: toml::Table = text.parse().expect("TOML");
    let table = &table["pools"]["probed"]["step_time"];
    let ps = |value: &toml::Value| {
        scenarios::quantity::span(value.as_str().expect("text")).expect("a duration").0
    };
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
