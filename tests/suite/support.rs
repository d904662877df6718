//! What the tests share: where the repository lies, and which files are in it.
//!
//! Invariant: paths are relative to the repository's root, written with `/`, and sorted, so that a
//! failure reads the same on every machine.

use std::path::Path;

/// Folders that hold what was built or fetched rather than written.
const NOT_OURS: [&str; 2] = ["target", ".git"];

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository, sorted. Links are not followed.
pub(crate) fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder can be listed") {
            let entry = entry.expect("an entry can be read");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            if NOT_OURS.contains(&name.as_str()) || name.ends_with(".tmp") {
                continue;
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let kind = entry.file_type().expect("the kind of an entry is known");
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, or `None` when it is not text.
pub(crate) fn text(path: &str) -> Option<String> {
    let bytes = std::fs::read(root().join(path)).expect("a listed file can be read");
    String::from_utf8(bytes).ok()
}

#[test]
fn the_walk_finds_what_was_written_and_nothing_that_was_built() {
    let files = files();
    assert!(files.contains(&"Cargo.toml".to_string()));
    assert!(files.contains(&"sim/src/lib.rs".to_string()));
    assert!(files.contains(&".ci/run".to_string()), "hidden folders belong to the tree");
    assert!(!files.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
    assert!(files.is_sorted());
}
