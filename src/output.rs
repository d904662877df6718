//! Writing results: stdout that may be a closed pipe, files and folders that appear whole.
//!
//! Invariant: what cannot be written keeps nothing else from being written, and is an error.

mod places;
#[cfg(test)]
mod tests;

pub(crate) use places::Places;

use crate::args::{Format, Writing};
use crate::disk::{Disk, OsDisk, place};
use crate::error::Error;
use reports::picture::Topic;
use reports::plots::plots;
use std::fs;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Says something on stderr. Where nobody can read it, it is lost: no reason to fail.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}
pub(crate) use tell;

/// Prints a result. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(Error::Write { path: PathBuf::from("stdout"), source }),
        Ok(()) => Ok(()),
    }
}

/// The same answer in every form.
pub(crate) struct Documents<'a> {
    /// Stem of its files.
    pub(crate) name: &'a str,
    /// For a terminal, with colour or without.
    pub(crate) text: &'a dyn Fn(bool) -> String,
    pub(crate) json: &'a dyn Fn() -> String,
    pub(crate) markdown: &'a dyn Fn() -> String,
    pub(crate) html: &'a dyn Fn() -> String,
    /// Its pictures, for files of their own.
    pub(crate) topics: &'a dyn Fn() -> Vec<Topic>,
}

impl Documents<'_> {
    /// Prints one form and writes those that were asked for.
    pub(crate) fn write(&self, to: &Writing) -> Result<(), Error> {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let printed = print(&match to.format {
            Format::Text => (self.text)(color),
            Format::Json => (self.json)(),
            Format::Md => (self.markdown)(),
        });
        let json = to.json.as_ref().map(|path| write_file(path, &(self.json)()));
        let markdown = to.md.as_ref().map(|path| write_file(path, &(self.markdown)()));
        let html = to.html.as_ref().map(|path| write_file(path, &(self.html)()));
        let plots = to.plots.as_ref().map(|folder| write_plots(folder, &(self.topics)()));
        let folder = to.out.as_ref().map(|folder| {
            let files = [
                (format!("{}.json", self.name), (self.json)().into()),
                (format!("{}.md", self.name), (self.markdown)().into()),
                (format!("{}.html", self.name), (self.html)().into()),
                (format!("{}.txt", self.name), (self.text)(false).into()),
            ];
            write_folder(&OsDisk, ("--out", folder), &files)
        });
        [Some(printed), json, markdown, html, plots, folder].into_iter().flatten().collect()
    }
}

/// Writes a file beside its place and renames it there, so that nobody ever sees half of it.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    write_bytes(path, text.as_bytes())
}

/// The same for a file that is no text.
pub(crate) fn write_bytes(path: &Path, content: &[u8]) -> Result<(), Error> {
    write_on(&OsDisk, path, content)
}

fn write_on<D: Disk>(disk: &D, path: &Path, content: &[u8]) -> Result<(), Error> {
    // A link, a pipe or a device is written through: a rename would replace it.
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let written = disk.create(path).and_then(|mut file| disk.write(&mut file, content));
        return written.map_err(|source| Error::Write { path: path.to_path_buf(), source });
    }
    place(disk, path, &beside(path), &mut |out| out.write_all(content))
}

/// Refuses an output folder that holds something already: nothing of the user's is overwritten.
pub(crate) fn check_folder(option: &str, folder: &Path) -> Result<(), Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::Usage(format!(
                "{option} {}: the folder is not empty; name a new one",
                folder.display()
            ))),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Write { path: folder.to_path_buf(), source }),
    }
}

/// Draws pictures into a folder, each as SVG and as PNG.
pub(crate) fn write_plots(folder: &Path, topics: &[Topic]) -> Result<(), Error> {
    let plots = plots(topics).map_err(|error| Error::Bug(error.to_string()))?;
    if plots.is_empty() {
        tell!("note: {} is empty: nothing in this answer can be drawn", folder.display());
    }
    let files = plots.into_iter().flat_map(|plot| {
        [(format!("{}.svg", plot.name), plot.svg.into()), (format!("{}.png", plot.name), plot.png)]
    });
    write_folder(&OsDisk, ("--plots", folder), &files.collect::<Vec<_>>())
}

/// Writes all files into a temporary folder and renames it into place.
fn write_folder<D: Disk>(
    disk: &D,
    (option, folder): (&str, &Path),
    files: &[(String, Vec<u8>)],
) -> Result<(), Error> {
    check_folder(option, folder)?;
    let beside = beside(folder);
    let write = || {
        disk.make_folder(&beside)?;
        for (name, content) in files {
            let mut file = disk.create(&beside.join(name))?;
            disk.write(&mut file, content)?;
            disk.sync(&file)?;
        }
        disk.sync_folder(&beside)?;
        disk.rename(&beside, folder)?;
        disk.sync_folder(folder.parent().unwrap_or(Path::new("")))
    };
    write().map_err(|source| {
        // As above: the temporary folder is ours alone.
        let _ = fs::remove_dir_all(&beside);
        Error::Write { path: folder.to_path_buf(), source }
    })
}

/// A temporary name in the same folder, so that the rename stays within one file system.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}
