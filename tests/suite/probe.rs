//! The probe against a real HTTP server whose times are known: surgeline's own engine, run in real
//! time behind an OpenAI-compatible address, with everything that goes wrong out there.
//!
//! Invariant: a busy machine fails no test. A request may take any time longer than the engine's; how
//! much longer is judged by the lowest tenth of many, on steps long against the work of a request.

mod command;
mod engine;
mod faults;
mod fitted;
mod gpu;
mod sessions;
mod server;
mod truth;

use calibrate::probe::{
    Address, Api, CellRow, GapRow, Key, Levels, Limits, Patience, Probe, Record, RequestRow,
    Summary, read_rows, run,
};
use server::Server;
use sim::engine::StepTime;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A microsecond in picoseconds.
const MICRO: u64 = 1_000_000;

/// Ten milliseconds an iteration, 50 µs a token, 5 µs a KV token, 100 µs for 1,024 pairs.
fn step_time() -> StepTime {
    let per_token = vec![(0, 0), (1_000, 50_000 * MICRO)];
    StepTime::new(10_000 * MICRO, 0, per_token, 5 * MICRO, 100 * MICRO, Vec::new()).expect("valid")
}

/// Two milliseconds an iteration, whatever it holds: for what is not about times.
fn quick() -> StepTime {
    StepTime::new(2_000 * MICRO, 0, vec![(0, 0)], 0, 0, Vec::new()).expect("valid")
}

/// A probe of a server that takes what it gets.
fn probe_of(server: &Server, levels: Levels) -> Probe {
    Probe {
        address: Address::new(&server.url()).expect("an address"),
        api: Api::Completions,
        model: "m".to_owned(),
        key: None,
        metrics: None,
        levels,
        limits: Limits {
            budget: Duration::from_secs(120),
            requests: 10_000,
            prices: None,
            spend: None,
        },
        patience: Patience { stall: Duration::from_secs(10), request: Duration::from_secs(30) },
        retries: 2,
        seed: 7,
    }
}

fn levels(inputs: &[u32], outputs: &[u32], concurrencies: &[u32], cached: u32) -> Levels {
    Levels::new(inputs.to_vec(), outputs.to_vec(), concurrencies.to_vec(), cached).expect("valid")
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("surgeline-probe-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One left behind by a process of the same number is of no use.
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn requests(&self) -> Vec<RequestRow> {
        read_rows(&self.0.join("requests.csv")).expect("requests")
    }

    fn gaps(&self) -> Vec<GapRow> {
        read_rows(&self.0.join("gaps.csv")).expect("gaps")
    }

    fn cells(&self) -> Vec<CellRow> {
        read_rows(&self.0.join("cells.csv")).expect("cells")
    }

    fn record(&self) -> Record {
        let text = std::fs::read_to_string(self.0.join("probe.toml")).expect("a record");
        toml::from_str(&text).expect("a record")
    }

    /// Everything that was written, one text behind another.
    fn everything(&self) -> String {
        let mut texts = String::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    texts += &std::fs::read_to_string(path).expect("text");
                }
            }
        }
        texts
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a new probe to its end.
#[track_caller]
fn run_new(probe: &Probe, folder: &Path) -> Summary {
    run(probe, folder, false, &AtomicBool::new(false), &|_| {}).expect("a probe")
}

fn key(text: &str) -> Option<Key> {
    Some(Key::new(text).expect("a key"))
}
