//! Files and folders on a disk that fails, at every one of its operations.

use super::{write_folder, write_on};
use crate::disk::OsDisk;
use crate::disk::failing::{Failing, Scratch};
use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// No space left, an error of the device, a read-only file system; once or from then on.
const FAULTS: [(i32, bool); 4] = [(28, true), (28, false), (5, false), (30, true)];

/// Writes over something older until nothing fails, and asks after each failure what is there.
fn at_every_operation(
    name: &str,
    write: impl Fn(&Failing, &Path) -> Result<(), Error>,
    prepare: impl Fn(&Path),
    check: impl Fn(&Scratch, usize),
) -> usize {
    let mut most = 0;
    for (code, for_good) in FAULTS {
        for operation in 1.. {
            let scratch = Scratch::new(&format!("{name}-{code}-{for_good}-{operation}"));
            fs::create_dir_all(&scratch.0).expect("a folder");
            prepare(&scratch.0);
            let Err(error) = write(&Failing::at(operation, code, for_good), &scratch.0) else {
                most = most.max(operation);
                break;
            };
            assert_eq!(error.code(), 2);
            let place = scratch.0.display().to_string();
            assert!(error.to_string().contains(&place), "{operation}: {error}");
            check(&scratch, operation);
        }
    }
    most
}

#[test]
fn a_file_is_the_old_one_or_the_new_one_and_nothing_is_left_beside_it() {
    let operations = at_every_operation(
        "file",
        |disk, folder| write_on(disk, &folder.join("run.json"), b"the new one"),
        |folder| fs::write(folder.join("run.json"), "the old one").expect("written"),
        |scratch, operation| {
            let files = scratch.files();
            assert_eq!(files.len(), 1, "{operation}: {:?}", files.keys());
            let content = &files[&PathBuf::from("run.json")];
            assert!(content == b"the old one" || content == b"the new one", "{operation}");
        },
    );
    // It is made, filled, flushed, renamed, its folder flushed; then all is well.
    assert_eq!(operations, 6);
}

#[test]
fn a_folder_has_all_of_its_files_or_is_not_there() {
    let files = ["run.json", "run.md"]
        .map(|name| (name.to_owned(), format!("this is {name}").into_bytes()));
    let operations =
        at_every_operation(
            "folder",
            |disk, folder| write_folder(disk, ("--out", &folder.join("out")), &files),
            |folder| fs::write(folder.join("notes.txt"), "the user's own").expect("written"),
            |scratch, operation| {
                let found = scratch.files();
                assert!(matches!(found.len(), 1 | 3), "{operation}: {:?}", found.keys());
                assert_eq!(found[&PathBuf::from("notes.txt")], b"the user's own");
                if found.len() == 3 {
                    assert!(files.iter().all(|(name, content)| {
                        found[&Path::new("out").join(name)] == *content
                    }));
                }
            },
        );
    assert_eq!(operations, 1 + 2 * 3 + 3 + 1);
}

#[test]
fn what_can_be_written_is_whole() {
    let scratch = Scratch::new("whole-folder");
    let files = [("a.txt".to_owned(), b"a".to_vec())];
    write_folder(&OsDisk, ("--out", &scratch.0), &files).expect("nothing fails");
    assert_eq!(scratch.files(), [(PathBuf::from("a.txt"), b"a".to_vec())].into());
    // Nothing of the user's is overwritten.
    assert!(matches!(write_folder(&OsDisk, ("--out", &scratch.0), &files), Err(Error::Usage(_))));
}
