//! Recorded runs of vLLM: two that nothing was fitted to, and one fitted to its first half.
//!
//! The measurements are `data/measured/engine_runs`; its README says what they are. What is asserted
//! here is what docs/accuracy.md says.

use calibrate::fit::run::{Origin, fit_run};
use calibrate::fitted::shipped;
use calibrate::imports::File;
use calibrate::imports::engine_run::{EngineRun, engine_run};
use calibrate::score::run::{Compared, RunScore, score_run};
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::Path;

/// The run of a folder.
fn run(folder: &str) -> EngineRun {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/measured/engine_runs").join(folder);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        let mut text = String::new();
        match path.extension().is_some_and(|end| end == "gz") {
            true => GzDecoder::new(bytes.as_slice()).read_to_string(&mut text),
            false => bytes.as_slice().read_to_string(&mut text),
        }
        .expect("a text");
        files.push((path.to_string_lossy().into_owned(), text));
    }
    let named: Vec<File<'_>> = files.iter().map(|(name, text)| File { name, text }).collect();
    engine_run(&named).expect("a run")
}

/// Errors of TTFT and of the whole time at the median and at the 95th percentile.
fn errors(score: &RunScore) -> [f64; 4] {
    let error = |all: &[Compared], p: f64| {
        let at = all.iter().find(|one| one.p == p).expect("a quantile");
        println!("p{p}: {:.3} s, predicted {:.3} s", at.measured, at.predicted);
        at.predicted / at.measured - 1.0
    };
    let (ttft, e2e) = (&score.ttft, &score.e2e);
    [error(ttft, 0.5), error(ttft, 0.95), error(e2e, 0.5), error(e2e, 0.95)]
}

fn assert_within(errors: [f64; 4], most: [f64; 4]) {
    println!("{errors:.3?}");
    assert!(errors.iter().zip(most).all(|(error, most)| error.abs() <= most), "{errors:?}");
}

#[test]
fn the_shipped_calibration_predicts_runs_of_models_it_has_not_seen() {
    let fitted = shipped().expect("valid");
    let score = |folder| errors(&score_run(&run(folder), "h100", fitted).expect("a score"));
    assert_within(score("codellama-34b"), [0.1, 0.15, 0.1, 0.15]);
    // First tokens of the small model are predicted too late in the median, and long answers too slow.
    assert_within(score("llama-2-7b"), [0.25, 0.15, 0.1, 0.18]);
}

#[test]
fn the_first_half_of_a_run_predicts_the_second() {
    let origin = Origin {
        source: "a run".to_owned(),
        as_of: "2026-11-26".to_owned(),
        data_sha256: String::new(),
    };
    let run = run("rtx-pro-6000");
    let start = shipped().expect("valid");
    let found = fit_run(&run, "rtx-pro-6000", start, origin).expect("a fit");
    assert_eq!((found.after.requests, found.fitted.entry[0].points), (150, 150));
    assert_within(errors(&found.after), [0.1, 0.15, 0.1, 0.15]);
    // The file says what was fitted: read again it predicts the same, of the whole run too.
    let written = found.fitted.write().expect("a file");
    let read = calibrate::fitted::Fitted::read(&written).expect("the same");
    assert_eq!(read, found.fitted);
    assert_within(
        errors(&score_run(&run, "rtx-pro-6000", &read).expect("a score")),
        [0.1, 0.15, 0.1, 0.15],
    );
}
