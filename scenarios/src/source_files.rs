//! The one place where data files are read: inside the scenario's folder, or shipped with us.
//!
//! Invariants: a path that is absolute, climbs with `..` or leaves the folder through a symbolic
//! link is refused; shipped data is parsed once in a process; nothing is written or fetched.
//!
//! Deliberately absent: the formats themselves (see `recorded`).

mod recorded;

use crate::library::{DATA, Data};
use crate::problem::did_you_mean;
use sim::workload::Trace;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Bytes of a data file before decompression.
const LONGEST: u64 = 1 << 30;

/// Trace formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `TIMESTAMP,ContextTokens,GeneratedTokens`.
    Azure2023,
    /// One JSON object a line with block hashes of 512 tokens.
    Mooncake,
}

/// Formats by name.
pub(crate) const FORMATS: &[(&str, Format)] =
    &[("azure-2023", Format::Azure2023), ("mooncake", Format::Mooncake)];

/// Where a scenario's data files may lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceFiles {
    /// The scenario's folder; `None`: only shipped data.
    pub(crate) folder: Option<PathBuf>,
}

/// A trace and a sentence about it.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) trace: Arc<Trace>,
    pub(crate) note: String,
}

/// What reading gives: the trace, or everything that is wrong with the file.
type ReadResult = Result<Loaded, Vec<String>>;

/// Shipped data that was parsed already, in the order of [`DATA`].
static PARSED: [OnceLock<ReadResult>; DATA.len()] = [const { OnceLock::new() }; DATA.len()];

impl SourceFiles {
    /// Reads a trace from the scenario's folder or, as `library:NAME`, from the shipped data.
    pub(crate) fn trace(&self, format: Format, file: &str) -> ReadResult {
        if let Some(name) = file.strip_prefix("library:") {
            return shipped(format, name);
        }
        let path = self.inside(file).map_err(|message| vec![message])?;
        let bytes = bytes_of(&path).map_err(|message| vec![message])?;
        parse(format, file, &bytes)
    }

    /// The real path of a file in the scenario's folder.
    pub(crate) fn inside(&self, file: &str) -> Result<PathBuf, String> {
        let folder = self.folder.as_deref().ok_or_else(|| {
            "a scenario that was not read from a file has no folder for data".to_owned()
        })?;
        let relative = Path::new(file);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !relative.components().all(plain) {
            return Err("the path has to stay inside the scenario's folder".to_owned());
        }
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| format!("cannot read the file: {error}"))
        };
        let (root, path) = (real(folder)?, real(&folder.join(relative))?);
        if !path.starts_with(&root) {
            return Err("a symbolic link leads outside the scenario's folder".to_owned());
        }
        Ok(path)
    }
}

fn shipped(format: Format, name: &str) -> ReadResult {
    let Some(at) = DATA.iter().position(|data| data.name == name) else {
        let known: Vec<&str> = DATA.iter().map(|data| data.name).collect();
        return Err(vec![format!(
            "no shipped data is called `{name}`; {}",
            did_you_mean(name, &known)
        )]);
    };
    let data: &Data = &DATA[at];
    if data.format != format {
        return Err(vec!["the shipped data has another format".to_owned()]);
    }
    PARSED[at].get_or_init(|| parse(format, data.name, data.bytes)).clone()
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let refuse = |error: std::io::Error| format!("cannot read the file: {error}");
    // Asked before opening, because opening a pipe waits for its writer.
    let data = std::fs::metadata(path).map_err(refuse)?;
    if !data.is_file() || data.len() > LONGEST {
        return Err(format!("not a file of at most {LONGEST} bytes"));
    }
    let file = std::fs::File::open(path).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

/// Reads one trace; the only call into the readers of the formats.
fn parse(format: Format, name: &str, bytes: &[u8]) -> ReadResult {
    let trace = recorded::read(format, name, bytes).map_err(|message| vec![message])?;
    let hours = trace.span.as_secs_f64() / 3_600.0;
    let note = format!("{} requests in {hours:.2} h", trace.rows.len());
    Ok(Loaded { trace: Arc::new(trace), note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_the_folder_are_refused() {
        let folder = std::env::temp_dir().join(format!("surgeline-files-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).expect("a scratch folder");
        std::fs::write(folder.join("inner/a.csv"), "x").expect("a file");
        std::fs::write(folder.join("secret.csv"), "x").expect("a file");
        let files = SourceFiles { folder: Some(folder.join("inner")) };
        assert!(files.inside("a.csv").is_ok());
        assert!(files.inside("./a.csv").is_ok());
        for outside in ["../secret.csv", "/etc/hostname", "a/../../secret.csv", "missing.csv", "\0"]
        {
            assert!(files.inside(outside).is_err(), "{outside:?}");
        }
        #[cfg(unix)]
        {
            let link = folder.join("inner/link.csv");
            std::os::unix::fs::symlink(folder.join("secret.csv"), link).expect("a link");
            assert!(files.inside("link.csv").is_err_and(|e| e.contains("symbolic link")));
        }
        std::fs::remove_dir_all(folder).expect("the scratch folder goes away");
        assert!(SourceFiles::default().inside("a.csv").is_err());
    }
}
