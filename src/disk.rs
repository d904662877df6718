//! The few things that are done to a disk, so that a test can let each of them fail.
//!
//! Invariant of [`place`]: a file is there with all of its content or not at all, also after the
//! power failed: it is written beside its place, flushed to the disk, renamed, and its folder
//! flushed.
//!
//! Deliberately absent: reading, which changes nothing, and locks, which are no content.

use crate::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

#[cfg(test)]
pub(crate) mod failing;

/// What may fail.
pub(crate) trait Disk: Sync {
    /// A new file, or an old one emptied.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// All of some bytes.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// To the disk itself.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Within a folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A folder, with those above it.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// The entries of a folder, to the disk itself.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The one of the system.
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, and a rename is as durable as it gets.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

/// A file on a disk, as a writer.
pub(crate) struct On<'a, D: Disk> {
    pub(crate) disk: &'a D,
    pub(crate) file: File,
}

impl<D: Disk> Write for On<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills a file.
pub(crate) type Fill<'a> = dyn FnMut(&mut (dyn Write + Send)) -> io::Result<()> + 'a;

/// Puts a file into its place as a whole; meanwhile it lies `beside` it, in the same folder.
pub(crate) fn place<D: Disk>(
    disk: &D,
    path: &Path,
    beside: &Path,
    fill: &mut Fill<'_>,
) -> Result<(), Error> {
    let mut write = || {
        let mut out = BufWriter::new(On { disk, file: disk.create(beside)? });
        fill(&mut out)?;
        let on = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        disk.sync(&on.file)?;
        disk.rename(beside, path)?;
        disk.sync_folder(path.parent().unwrap_or(Path::new("")))
    };
    write().map_err(|source| {
        // What is half written is of no use; the error itself is what counts.
        let _ = fs::remove_file(beside);
        Error::Write { path: path.to_path_buf(), source }
    })
}
