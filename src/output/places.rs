//! Where a command is about to write, looked over before any work is done for it.
//!
//! Invariants: nothing that the answer is made from is written over, and neither is another result of
//! the same command; a folder that is to appear holds nothing yet, and no other result lies in it.

use super::check_folder;
use crate::args::Writing;
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Files and folders to be written, and those that were read.
#[derive(Default)]
pub(crate) struct Places<'a> {
    files: Vec<&'a Path>,
    folders: Vec<(&'static str, &'a Path)>,
    inputs: Vec<&'a Path>,
}

impl<'a> Places<'a> {
    /// Where the documents of an answer go.
    pub(crate) fn of(to: &'a Writing) -> Places<'a> {
        Places::default()
            .files([&to.json, &to.md, &to.html])
            .folder("--plots", to.plots.as_deref())
            .folder("--out", to.out.as_deref())
    }

    pub(crate) fn file(mut self, file: Option<&'a Path>) -> Places<'a> {
        self.files.extend(file);
        self
    }

    pub(crate) fn files<const N: usize>(mut self, files: [&'a Option<PathBuf>; N]) -> Places<'a> {
        self.files.extend(files.into_iter().flatten().map(PathBuf::as_path));
        self
    }

    pub(crate) fn folder(mut self, option: &'static str, folder: Option<&'a Path>) -> Places<'a> {
        self.folders.extend(folder.map(|folder| (option, folder)));
        self
    }

    /// What was read; in a folder that was read nothing is written either.
    pub(crate) fn inputs(mut self, read: impl IntoIterator<Item = &'a PathBuf>) -> Places<'a> {
        self.inputs.extend(read.into_iter().map(PathBuf::as_path));
        self
    }

    /// Refuses what cannot be written, or would destroy something.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (at, &(option, folder)) in self.folders.iter().enumerate() {
            check_folder(option, folder)?;
            for &(other, there) in &self.folders[..at] {
                if is_within(folder, there) || is_within(there, folder) {
                    let message = format!(
                        "{other} and {option} need a folder each, and neither within the other"
                    );
                    return Err(Error::Usage(message));
                }
            }
        }
        for (at, &file) in self.files.iter().enumerate() {
            self.check_input(file)?;
            check_file(file)?;
            if self.files[..at].iter().any(|other| absolute(other) == absolute(file)) {
                let message = format!("{}: two results cannot go into one file", file.display());
                return Err(Error::Usage(message));
            }
            if let Some((option, _)) = self.folders.iter().find(|(_, there)| is_within(file, there))
            {
                return Err(Error::Usage(format!(
                    "{}: the folder of {option} is to hold nothing else; name another place",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    fn check_input(&self, file: &Path) -> Result<(), Error> {
        // What is not there yet is no input.
        let Ok(there) = file.canonicalize() else { return Ok(()) };
        let read = |input: &&Path| input.canonicalize().is_ok_and(|input| there.starts_with(input));
        match self.inputs.iter().copied().find(read) {
            Some(input) if input.is_dir() => Err(Error::Usage(format!(
                "{}: it lies in {}, which is read, and would be written over; name another file",
                file.display(),
                input.display()
            ))),
            Some(_) => Err(Error::Usage(format!(
                "{}: it is read, and would be written over; name another file",
                file.display()
            ))),
            None => Ok(()),
        }
    }
}

/// Refuses a file whose folder does not exist.
fn check_file(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(Error::Usage(format!("{}: there is no such folder", folder.display())))
        }
        _ if path.is_dir() => Err(Error::Usage(format!("{} is a folder", path.display()))),
        _ => Ok(()),
    }
}

/// As the system would look for it, whether it is there or not.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn is_within(path: &Path, folder: &Path) -> bool {
    absolute(path).starts_with(absolute(folder))
}
