//! What is interrupted goes on, and what is finished stays.

use super::server::{Manners, Server};
use super::{Folder, levels, probe_of, quick, run_new, step_time};
use calibrate::probe::{CellStatus, Ended, Limit, ProbeError, run};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn an_interrupted_probe_goes_on_where_it_was() {
    let server = Server::start(quick(), Manners::default());
    let probe = probe_of(&server, levels(&[16, 48], &[4], &[1, 2], 50));
    let folder = Folder::new("resume");
    let stop = AtomicBool::new(false);
    let summary = run(&probe, &folder.0, false, &stop, &|progress| {
        stop.fetch_or(progress.done == 5, Ordering::SeqCst);
    });
    let summary = summary.expect("a probe");
    assert_eq!(summary.ended, Ended::Interrupted);
    let complete = summary.complete();
    assert!((5..=6).contains(&complete) && complete < summary.cells, "{summary:?}");

    // The process was killed in the middle of a row.
    let path = folder.0.join("requests.csv");
    let before = folder.requests();
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("there");
    file.write_all(b"1,5,1,").expect("torn");
    drop(file);

    let asked = run(&probe, &folder.0, false, &AtomicBool::new(false), &|_| {});
    assert!(matches!(asked, Err(ProbeError::Exists(_))), "not without being asked");
    let summary = run(&probe, &folder.0, true, &AtomicBool::new(false), &|_| {});
    let summary = summary.expect("the rest");
    assert_eq!((summary.ended.clone(), summary.complete()), (Ended::Done, summary.cells));
    assert_eq!(summary.complete_before, complete);
    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    for cell in folder.cells().iter().filter(|cell| cell.status == CellStatus::Complete) {
        *times.entry(cell.cell).or_default() += 1;
    }
    assert_eq!(times.len(), summary.cells);
    assert!(times.values().all(|&times| times == 1), "each cell once: {times:?}");
    let rows = folder.requests();
    assert_eq!(rows[..before.len()], before, "what was written stays");
    assert_eq!(summary.taken.requests as usize, rows.len());
    assert_eq!(folder.record().sessions.len(), 2);
    let prompts = server.prompts();
    let different: std::collections::BTreeSet<_> = prompts.iter().collect();
    assert_eq!(different.len(), prompts.len(), "a second session sends words of its own");

    let again = run(&probe, &folder.0, true, &AtomicBool::new(false), &|_| {}).expect("nothing");
    assert_eq!((again.rows.len(), again.ended), (0, Ended::Done));
}

#[test]
fn another_probe_does_not_go_on_in_a_folder() {
    let server = Server::start(quick(), Manners::default());
    let mut probe = probe_of(&server, levels(&[16], &[2], &[1], 0));
    let folder = Folder::new("other");
    let go_on = |probe: &_| run(probe, &folder.0, true, &AtomicBool::new(false), &|_| {});
    let nothing = go_on(&probe).expect_err("nothing there");
    assert!(nothing.to_string().contains("no probe to go on with"), "{nothing}");
    run_new(&probe, &folder.0);
    probe.seed += 1;
    let other = go_on(&probe).expect_err("another seed").to_string();
    assert!(other.contains("seed was `7` and now is `8`"), "{other}");
    std::fs::write(folder.0.join("probe.toml"), "schema = 7").expect("written");
    let broken = go_on(&probe).expect_err("no record").to_string();
    assert!(broken.contains("probe.toml") && broken.contains("line 1"), "{broken}");
}

#[test]
fn time_ends_requests_under_way() {
    let server = Server::start(step_time(), Manners::default());
    // An answer takes ten seconds.
    let mut probe = probe_of(&server, levels(&[16], &[1_000], &[1], 0));
    probe.limits.budget = Duration::from_millis(800);
    let folder = Folder::new("time");
    let summary = run_new(&probe, &folder.0);
    assert_eq!(summary.ended, Ended::Limit(Limit::Time));
    let rows = folder.requests();
    let last = rows.last().expect("one was under way");
    assert!(last.error.starts_with("stopped: "), "{last:?}");
    assert!((1..1_000).contains(&last.chunks), "what came is kept: {last:?}");
    assert_eq!(folder.cells().last().expect("a cell").status, CellStatus::Partial);
}

#[test]
fn a_cell_that_does_not_fit_into_the_time_is_not_begun() {
    let server = Server::start(step_time(), Manners::default());
    let mut probe = probe_of(&server, levels(&[16], &[4, 2_000], &[1], 0));
    probe.limits.budget = Duration::from_secs(10);
    let folder = Folder::new("skipped");
    let summary = run_new(&probe, &folder.0);
    assert_eq!(summary.ended, Ended::Done);
    let skipped = folder.cells().into_iter().filter(|cell| cell.status == CellStatus::Skipped);
    let skipped: Vec<_> = skipped.collect();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0].note.starts_with("needs about "), "{skipped:?}");
    assert_eq!(skipped[0].osl_wanted, 2_000);
}
