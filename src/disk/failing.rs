//! A disk on which each operation fails in turn: full, broken, or taken away.
//!
//! As SQLite's tests do it: the n-th operation fails, for every n, until a whole command passes.

use super::{Disk, OsDisk};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fails at one operation, and at all later ones if it is `for_good`.
pub(crate) struct Failing {
    left: AtomicUsize,
    for_good: bool,
    /// What the system says: no space, an error of the device, or a read-only file system.
    code: i32,
}

impl Failing {
    /// At this operation, counted from 1.
    pub(crate) fn at(operation: usize, code: i32, for_good: bool) -> Failing {
        Failing { left: AtomicUsize::new(operation), for_good, code }
    }

    fn step(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            1 => Err(io::Error::from_raw_os_error(self.code)),
            0 if self.for_good => Err(io::Error::from_raw_os_error(self.code)),
            _ => Ok(()),
        }
    }
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        OsDisk.create(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let failed = self.step();
        if failed.is_err() {
            file.write_all(&bytes[..bytes.len() / 2])?;
        }
        failed.and_then(|()| OsDisk.write(file, bytes))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        OsDisk.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        OsDisk.rename(from, to)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        OsDisk.make_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        OsDisk.sync_folder(path)
    }
}

/// A folder that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let name = format!("surgeline-faults-{name}-{}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }

    /// Every file below it.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&self.0).expect("below").to_owned();
                    all.insert(name, fs::read(&path).expect("a file"));
                }
            }
        }
        all
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
