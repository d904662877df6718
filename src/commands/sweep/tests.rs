//! Sweeps on a disk that fails, and in shards.

use super::folder::{Folder, Shard, Start};
use super::merge::Merge;
use crate::disk::failing::{Failing, Scratch};
use crate::disk::{Disk, OsDisk};
use crate::error::Error;
use experiments::Plan;
use experiments::sweep::design::Design;
use experiments::sweep::{Outcome, Sweep as Experiment};
use reports::sweep::{CellDocument, Manifest, ScenarioName};
use scenarios::Blueprint;
use std::fs;
use std::path::Path;

fn experiment() -> (Experiment, Manifest) {
    let levers = ["a.b=1..3", "c=x,y"].map(|text| scenarios::parse_lever(text).expect("a lever"));
    let blueprint = Blueprint::of_text("none.toml", "");
    let design = Design::Grid;
    let experiment =
        Experiment::new(blueprint, Vec::new(), levers.into(), design, &Plan::default())
            .expect("a sweep");
    let scenario = ScenarioName { name: "none".into(), sha256: "0".repeat(64) };
    let manifest = Manifest::of(&experiment, scenario, design, "0.0.0");
    (experiment, manifest)
}

/// A whole sweep of cells that the scenario refuses, which need no simulator.
fn sweep<D: Disk>(disk: D, path: &Path, shard: Option<Shard>) -> Result<usize, Error> {
    let (experiment, manifest) = experiment();
    let start = Start { folder: path, resume: true, shard };
    let mut folder = Folder::open(disk, start, &manifest, &experiment)?;
    let todo = folder.missing()?;
    for &cell in &todo {
        let outcome = Outcome::Refused(format!("cell {cell} is refused"));
        let document = CellDocument::of(cell, &experiment.overrides(cell), &outcome);
        folder.store(cell, &document)?;
    }
    let folder = folder.alone_if_complete()?;
    let merge = Merge::of(&folder, &manifest, &experiment)?;
    if merge.is_complete() {
        merge.write()?;
    }
    Ok(todo.len())
}

#[test]
fn a_disk_that_fails_anywhere_costs_nothing_that_was_written() {
    let whole = Scratch::new("whole");
    sweep(OsDisk, &whole.0, None).expect("nothing fails");
    let wanted = whole.files();
    assert_eq!(wanted.len(), 6 + 3, "{:?}", wanted.keys());
    // No space left, an error of the device, a read-only file system.
    for (code, for_good) in [(28, true), (28, false), (5, false), (30, true)] {
        let mut operations = 0;
        loop {
            operations += 1;
            let scratch = Scratch::new(&format!("{code}-{for_good}-{operations}"));
            let disk = Failing::at(operations, code, for_good);
            let Err(error) = sweep(disk, &scratch.0, None) else { break };
            assert_eq!(error.code(), 2);
            let place = scratch.0.display().to_string();
            assert!(error.to_string().contains(&place), "{operations}: {error}");
            let hidden = |name: &Path| {
                name.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
            };
            let mut left = scratch.files();
            left.retain(|name, _| !hidden(name));
            for (name, content) in &left {
                assert!(*content == wanted[name], "{operations}: {} is torn", name.display());
            }
            let kept = left.keys().filter(|name| name.starts_with("cells")).count();
            assert_eq!(sweep(OsDisk, &scratch.0, None).expect("it goes on"), 6 - kept);
            assert!(scratch.files() == wanted, "{operations}: the folder differs");
        }
        assert!(operations > 40, "{operations} operations for six cells");
    }
}

#[test]
fn shards_leave_the_same_folder_and_clean_up_after_themselves_only() {
    let whole = Scratch::new("unsharded");
    sweep(OsDisk, &whole.0, None).expect("nothing fails");
    let shared = Scratch::new("sharded");
    let shard = |text| Some(Shard::parse(text).expect("a shard"));
    assert_eq!(sweep(OsDisk, &shared.0, shard("2/4")).expect("done"), 2);
    let left = [".0000003.json.3-of-4.tmp", ".0000001.json.2-of-4.tmp", ".0000000.json.all.tmp"];
    for name in left {
        fs::write(shared.0.join("cells").join(name), "half").expect("written");
    }
    assert_eq!(sweep(OsDisk, &shared.0, shard("2/4")).expect("done"), 0);
    assert!(!shared.0.join("cells").join(left[1]).exists());
    assert!(shared.0.join("cells").join(left[0]).exists(), "it may be on its way");
    // Other parts may be shared out in another way.
    for (text, cells) in [("1/2", 3), ("4/4", 1), ("2/2", 0)] {
        assert_eq!(sweep(OsDisk, &shared.0, shard(text)).expect("done"), cells, "{text}");
    }
    assert!(shared.files() == whole.files(), "{:?}", shared.files().keys());
}

#[test]
fn shards_are_counted_from_one() {
    for text in ["1/1", "3/3", "1/1000000"] {
        assert!(Shard::parse(text).is_ok(), "{text}");
    }
    for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/3", "a/b", "1/99999999", "1.5/2"] {
        assert!(Shard::parse(text).is_err(), "{text}");
    }
}
