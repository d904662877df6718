//! The folder of tables on a disk that fails, at every one of its operations.

use super::{Phases, TableFormat, Tables, Tabling};
use crate::disk::Disk;
use crate::disk::OsDisk;
use crate::disk::failing::{Failing, Scratch};
use crate::error::Error;
use crate::limits::{Limits, Watch};
use experiments::{NoProgress, Phase, Progress};
use reports::tables::Sample;
use sim::Scenario;
use std::fs;
use std::path::{Path, PathBuf};

/// Some chats a minute long.
const CHAT: &str = r#"
[scenario]
horizon = "1m"

[traffic.web]
task = "chat"
arrivals = { kind = "poisson", rate = "1/s" }

[tasks.chat]
steps = [{ id = "answer", model_call = { model = "small", input = { kind = "fixed", tokens = 300 }, output = { kind = "fixed", tokens = 20 } } }]

[models.small]
served_by = ["h100"]

[pools.h100]
replicas = 1
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 4000 }
step_time = { fixed = "5ms", per_token = "20us", per_kv_token = "50ns" }
"#;

fn scenario() -> Scenario {
    scenarios::load_str("chat.toml", CHAT, &[]).unwrap_or_else(|error| panic!("{error}")).scenario
}

/// Two replications, of which one counts.
fn write<D: Disk>(disk: &D, scenario: &Scenario, folder: &Path) -> Result<(), Error> {
    let wanted = Tabling {
        tables: Some(folder.join("tables")),
        table_format: vec![TableFormat::Csv, TableFormat::Parquet, TableFormat::Csv],
        sample: Sample::default(),
    };
    let tables = Tables::begin(disk, &wanted)?.expect("they are wanted");
    let watch = Watch::begin(&Limits::default());
    let phases = Phases { bar: &NoProgress, tables: Some(&tables) };
    for (phase, replication) in [(Phase::Pilot, 7), (Phase::Measure, 0), (Phase::Measure, 1)] {
        phases.batch(phase, 1, 1);
        let ran = tables.run(&watch, scenario, (1, replication));
        assert!(ran.is_ok(), "what cannot be written does not end the run");
    }
    tables.finish(1)
}

#[test]
fn tables_are_there_as_a_whole_or_not_at_all() {
    let scenario = scenario();
    let mut operations = 0;
    for for_good in [true, false] {
        for operation in 1.. {
            let scratch = Scratch::new(&format!("tables-{for_good}-{operation}"));
            fs::create_dir_all(&scratch.0).expect("a folder");
            let disk = Failing::at(operation, 28, for_good);
            let Err(error) = write(&disk, &scenario, &scratch.0) else {
                let names: Vec<PathBuf> = scratch.files().into_keys().collect();
                assert_eq!(names.len(), 4 * 2, "{names:?}");
                assert!(names.iter().all(|name| name.to_string_lossy().contains("0000.")));
                operations = operations.max(operation);
                break;
            };
            assert_eq!(error.code(), 2);
            assert!(error.to_string().contains("tables: "), "{error}");
            // Renamed, and only whether that lasts is not known.
            let there = scratch.files().len();
            assert!(there == 0 || there == 4 * 2, "{operation}: {:?}", scratch.files().keys());
            assert!(fs::read_dir(&scratch.0).expect("the folder").count() <= 1);
        }
    }
    assert!(operations > 40, "{operations}");
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let scratch = Scratch::new("tables-mine");
    fs::create_dir_all(scratch.0.join("tables")).expect("a folder");
    fs::write(scratch.0.join("tables/notes.txt"), "mine").expect("written");
    let refused = write(&OsDisk, &scenario(), &scratch.0);
    assert!(matches!(refused, Err(Error::Usage(text)) if text.contains("--tables")));
    assert_eq!(scratch.files()[&PathBuf::from("tables/notes.txt")], b"mine");
}
