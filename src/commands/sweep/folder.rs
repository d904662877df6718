//! The folder of a sweep: who may write to it, what is in it, and what is missing.
//!
//! ```text
//! sweep.json            what is swept, written first
//! cells/0000000.json    a cell each
//! sweep.parquet         all cells, and for Morris sensitivity.json, written last
//! .lock                 held by whoever is at work: alone, or shared among shards
//! .setup.lock           held by a shard while it writes or reads sweep.json
//! .shard-1-of-3.lock    held by that shard
//! .NAME.TAG.tmp         a file on its way, TAG being `all` or `1-of-3`
//! ```
//!
//! Locks are the system's, and end with the process that holds them, however it ends.
//!
//! Invariants: a process writes under its locks only; a temporary file belongs to the one shard
//! whose tag it has, so what is left of a killed one is removed by its successor and by nobody else,
//! or by whoever is alone; nothing that is not ours is touched.
//!
//! Deliberately absent: what is in a cell.

use crate::disk::{Disk, Fill, place};
use crate::error::Error;
use experiments::sweep::Sweep as Experiment;
use reports::sweep::{CellDocument, Manifest};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What is swept.
const MANIFEST: &str = "sweep.json";
/// Where the cells are.
const CELLS: &str = "cells";
/// Whoever works alone has this lock alone.
const LOCK: &str = ".lock";
/// Shards start one after the other.
const SETUP: &str = ".setup.lock";

/// One of several parts of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1.
    index: usize,
    /// How many.
    of: usize,
}

/// What there is of a cell.
pub(super) enum Found {
    /// All of it.
    Whole(Box<CellDocument>),
    /// Something that is no such cell; why, and where.
    Damaged(String),
    /// Nothing.
    Absent,
}

/// How to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) folder: &'a Path,
    pub(super) resume: bool,
    pub(super) shard: Option<Shard>,
}

/// A folder that this process may write to.
pub(super) struct Folder<'a, D: Disk> {
    disk: D,
    path: PathBuf,
    shard: Option<Shard>,
    manifest: &'a Manifest,
    experiment: &'a Experiment,
    /// Cells of this part that were there at the beginning.
    kept: usize,
    /// Held until the end.
    lock: File,
    shard_lock: Option<File>,
}

impl Shard {
    /// `1/8`.
    pub(super) fn parse(text: &str) -> Result<Shard, String> {
        let wrong = || "write it like 1/8: which part, from 1, and how many parts".to_owned();
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.len() <= 7);
        let (index, of) = number(index).zip(number(of)).ok_or_else(wrong)?;
        if index == 0 || index > of {
            return Err(format!("there is no part {index} of {of}: parts are 1 to {of}"));
        }
        Ok(Shard { index: index as usize, of: of as usize })
    }

    fn has(self, cell: usize) -> bool {
        cell % self.of == self.index - 1
    }

    fn tag(shard: Option<Shard>) -> String {
        shard.map_or("all".to_owned(), |Shard { index, of }| format!("{index}-of-{of}"))
    }
}

impl<'a, D: Disk> Folder<'a, D> {
    /// Begins a sweep, or goes on with it.
    pub(super) fn open(
        disk: D,
        start: Start<'_>,
        manifest: &'a Manifest,
        experiment: &'a Experiment,
    ) -> Result<Folder<'a, D>, Error> {
        let Start { folder: path, resume, shard } = start;
        check_ours(path)?;
        disk.make_folder(path).map_err(failed(path))?;
        let (lock, shard_lock) = locks(path, shard)?;
        let path = path.to_owned();
        let folder = Folder { disk, path, shard, manifest, experiment, kept: 0, lock, shard_lock };
        // Given back when the sweep is set up.
        let setup = if shard.is_some() { Some(lock_file(&folder.path.join(SETUP))?) } else { None };
        if let Some(setup) = &setup {
            setup.lock().map_err(failed(&folder.path.join(SETUP)))?;
        }
        let cells = folder.path.join(CELLS);
        if folder.agrees(resume)? {
            let own = |&cell: &usize| folder.is_own(cell) && cells.join(file_name(cell)).exists();
            if !resume && (0..manifest.cells).any(|cell| own(&cell)) {
                return Err(folder.taken("holds cells of this part already; go on with --resume"));
            }
        } else {
            let text = manifest.render();
            folder.place(&folder.path, MANIFEST, &mut |out| out.write_all(text.as_bytes()))?;
        }
        folder.disk.make_folder(&cells).map_err(failed(&cells))?;
        folder.disk.sync_folder(&folder.path).map_err(failed(&folder.path))?;
        folder.remove_leftovers()?;
        Ok(folder)
    }

    /// Whether the sweep is there already; it has to be this one.
    fn agrees(&self, resume: bool) -> Result<bool, Error> {
        let path = self.path.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Error::Write { path, source }),
        };
        if !resume && self.shard.is_none() {
            return Err(
                self.taken("holds a sweep already; go on with --resume, or name a new folder")
            );
        }
        let wrong = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        let there = Manifest::parse(&text).map_err(wrong)?;
        let differences = there.differences(self.manifest);
        if differences.is_empty() {
            return Ok(true);
        }
        let lines = differences.iter().map(|line| format!("\n  {line}")).collect::<String>();
        Err(wrong(format!("this is another sweep; name another folder. What differs:{lines}")))
    }

    fn taken(&self, what: &str) -> Error {
        Error::Usage(format!("--out {}: {what}", self.path.display()))
    }

    /// Cells of this part that are not there as a whole.
    pub(super) fn missing(&mut self) -> Result<Vec<usize>, Error> {
        let (mut missing, mut kept) = (Vec::new(), 0);
        // The manifest knows the texts of the scenario itself, not those that a lever names.
        let names_files = self.experiment.levers().iter().any(|lever| lever.key == "policy");
        for cell in (0..self.manifest.cells).filter(|&cell| self.is_own(cell)) {
            match self.read(cell)? {
                Found::Whole(there) if names_files && self.is_stale(&there) => {
                    return Err(self
                        .taken("the policy file of a cell has changed since; name a new folder"));
                }
                Found::Whole(_) => kept += 1,
                Found::Damaged(_) | Found::Absent => missing.push(cell),
            }
        }
        self.kept = kept;
        Ok(missing)
    }

    /// Whether the scenario of a cell is another one by now.
    fn is_stale(&self, there: &CellDocument) -> bool {
        let now = self.experiment.case(there.cell).ok().map(|case| case.resolved.sha256);
        now.as_deref() != there.scenario_sha256()
    }

    /// Cells of this part that were there when [`Folder::missing`] looked.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// What there is of a cell.
    pub(super) fn read(&self, cell: usize) -> Result<Found, Error> {
        let path = self.path.join(CELLS).join(file_name(cell));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Absent),
            Err(source) => return Err(Error::Write { path, source }),
        };
        let document = String::from_utf8(bytes)
            .map_err(|error| error.to_string())
            .and_then(|text| CellDocument::parse(&text));
        Ok(match document {
            Ok(document) if !document.is_of(self.experiment.replications()) => {
                Found::Damaged(format!("{}: it has another number of replications", path.display()))
            }
            Ok(document) if document.is(cell, &self.experiment.overrides(cell)) => {
                Found::Whole(Box::new(document))
            }
            Ok(_) => Found::Damaged(format!("{}: it is another cell", path.display())),
            Err(why) => Found::Damaged(format!("{}: {why}", path.display())),
        })
    }

    fn is_own(&self, cell: usize) -> bool {
        self.shard.is_none_or(|shard| shard.has(cell))
    }

    /// Puts a cell into its place.
    pub(super) fn store(&self, cell: usize, document: &CellDocument) -> Result<(), Error> {
        let text = document.render();
        let mut fill = |out: &mut (dyn Write + Send)| out.write_all(text.as_bytes());
        self.place(&self.path.join(CELLS), &file_name(cell), &mut fill)
    }

    /// Puts a file that says something of all cells into its place.
    pub(super) fn place_merged(&self, name: &str, fill: &mut Fill<'_>) -> Result<(), Error> {
        self.place(&self.path, name, fill)
    }

    fn place(&self, folder: &Path, name: &str, fill: &mut Fill<'_>) -> Result<(), Error> {
        let temporary = format!(".{name}.{}.tmp", Shard::tag(self.shard));
        place(&self.disk, &folder.join(name), &folder.join(temporary), fill)
    }

    /// Whether there is a file for every cell.
    fn is_complete(&self) -> bool {
        let cells = self.path.join(CELLS);
        (0..self.manifest.cells).all(|cell| cells.join(file_name(cell)).exists())
    }

    /// Where all cells are there, waits until nobody else is at work, and removes what the shards
    /// needed; so the folder is the same as if there had been none.
    pub(super) fn alone_if_complete(mut self) -> Result<Folder<'a, D>, Error> {
        if !self.is_complete() {
            return Ok(self);
        }
        if self.shard.take().is_some() {
            // Nobody may wait for the others with a lock in hand that these wait for.
            self.shard_lock = None;
            let path = self.path.join(LOCK);
            self.lock.unlock().and_then(|()| self.lock.lock()).map_err(failed(&path))?;
        }
        let ours = |name: &str| name == SETUP || is_shard_lock(name);
        for name in names(&self.path)?.iter().filter(|name| ours(name)) {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        self.remove_leftovers()?;
        Ok(self)
    }

    /// Removes temporary files of processes that are no more.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let own = format!(".{}.tmp", Shard::tag(self.shard));
        let is_left = |name: &str| match self.shard {
            None => name.ends_with(".tmp"),
            Some(_) => name.ends_with(&own),
        };
        for folder in [self.path.clone(), self.path.join(CELLS)] {
            let left = names(&folder)?;
            for name in left.iter().filter(|name| name.starts_with('.') && is_left(name)) {
                let path = folder.join(name);
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }
}

/// The file of a cell.
fn file_name(cell: usize) -> String {
    format!("{cell:07}.json")
}

fn shard_lock(shard: Shard) -> String {
    format!(".shard-{}.lock", Shard::tag(Some(shard)))
}

fn is_shard_lock(name: &str) -> bool {
    name.starts_with(".shard-") && name.ends_with(".lock")
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    |source| Error::Write { path, source }
}

/// Names in a folder; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(folder))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect::<io::Result<_>>().map_err(failed(folder))
}

/// Refuses a folder of somebody else's, before anything is written to it.
fn check_ours(folder: &Path) -> Result<(), Error> {
    let names = names(folder)?;
    let before_manifest = |name: &String| {
        let way = name.starts_with(&format!(".{MANIFEST}.")) && name.ends_with(".tmp");
        way || name == LOCK || name == SETUP || is_shard_lock(name)
    };
    if names.iter().any(|name| name == MANIFEST) || names.iter().all(before_manifest) {
        return Ok(());
    }
    let folder = folder.display();
    let message = "the folder is not empty and holds no sweep; name a new one";
    Err(Error::Usage(format!("--out {folder}: {message}")))
}

fn lock_file(path: &Path) -> Result<File, Error> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).open(path).map_err(failed(path))
}

/// The lock of the folder, and that of a shard.
fn locks(folder: &Path, shard: Option<Shard>) -> Result<(File, Option<File>), Error> {
    let taken = |path: &Path, tried: Result<(), TryLockError>| match tried {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(failed(path)(error)),
        Err(TryLockError::WouldBlock) => Err(Error::Usage(format!(
            "--out {}: another surgeline is at work there, on the same cells; wait for it, or name \
             another folder",
            folder.display()
        ))),
    };
    let path = folder.join(LOCK);
    let lock = lock_file(&path)?;
    let Some(shard) = shard else {
        taken(&path, lock.try_lock())?;
        return Ok((lock, None));
    };
    taken(&path, lock.try_lock_shared())?;
    let path = folder.join(shard_lock(shard));
    let own = lock_file(&path)?;
    taken(&path, own.try_lock())?;
    Ok((lock, Some(own)))
}
