//! The one place where data files are read: inside the scenario's folder, or shipped with us.
//!
//! Invariants: a path that is absolute, climbs with `..` or leaves the folder through a symbolic
//! link is refused; shipped data is parsed once in a process; nothing is written or fetched.
//!
//! Deliberately absent: the formats themselves (see `trace`).

use crate::library::{DATA, Data};
use crate::problem::did_you_mean;
use crate::quantity::show_span;
use crate::trace::servegen::{self, Client};
use crate::trace::{self, ReadResult as TraceResult, TraceFormat};
use sim::units::Span;
use sim::workload::Trace;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// Formats by name.
pub(crate) const FORMATS: &[(&str, TraceFormat)] = &[
    ("azure-2023", TraceFormat::Azure2023),
    ("mooncake", TraceFormat::Mooncake),
    ("burstgpt", TraceFormat::BurstGpt),
    ("ragpulse", TraceFormat::RagPulse),
    ("generic-csv", TraceFormat::GenericCsv),
    ("generic-jsonl", TraceFormat::GenericJsonl),
];

/// Where a scenario's data files may lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceFiles {
    /// The scenario's folder; `None`: only shipped data.
    pub(crate) folder: Option<PathBuf>,
    /// What was read so far, for all variants of a scenario together.
    read: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// A trace, a sentence about it, and what to know before relying on it.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) trace: Arc<Trace>,
    pub(crate) note: String,
    pub(crate) warnings: Vec<String>,
    /// Width over which the timestamps should be spread; zero: as they are.
    pub(crate) suggested_jitter: Span,
}

/// What reading gives: the trace, or everything that is wrong with the file.
type ReadResult = Result<Loaded, Vec<String>>;

/// Shipped data that was parsed already, in the order of [`DATA`].
static PARSED: [OnceLock<ReadResult>; DATA.len()] = [const { OnceLock::new() }; DATA.len()];

impl SourceFiles {
    /// With the scenario's folder.
    pub(crate) fn within(folder: PathBuf) -> SourceFiles {
        SourceFiles { folder: Some(folder), ..SourceFiles::default() }
    }

    /// Remembers a file, or a folder of files, as read.
    pub(crate) fn note(&self, path: &Path) {
        if let Ok(mut read) = self.read.lock() {
            read.insert(path.to_owned());
        }
    }

    /// Everything that was read.
    pub(crate) fn noted(&self) -> Vec<PathBuf> {
        self.read.lock().map(|read| read.iter().cloned().collect()).unwrap_or_default()
    }

    /// Reads a trace from the scenario's folder or, as `library:NAME`, from the shipped data.
    pub(crate) fn trace(&self, format: TraceFormat, file: &str) -> ReadResult {
        if let Some(name) = file.strip_prefix("library:") {
            return shipped(format, name);
        }
        let path = self.inside(file).map_err(|message| vec![message])?;
        loaded(trace::read_file(format, &path))
    }

    /// Reads a client mix from the scenario's folder; none is shipped.
    pub(crate) fn clients(&self, file: &str) -> Result<Vec<Client>, Vec<String>> {
        let path = self.inside(file).map_err(|message| vec![message])?;
        servegen::read_path(&path, &trace::Limits::default())
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    /// What would be right where the place of a file, not its content, was refused.
    pub(crate) fn hint(&self, file: &str) -> Option<String> {
        if file.starts_with("library:") {
            return None;
        }
        if self.folder.is_some() {
            let help = "put the file into the scenario's folder and name it from there";
            return (!stays_inside(file)).then(|| help.to_owned());
        }
        let shipped: Vec<String> =
            DATA.iter().map(|data| format!("`library:{}`", data.name)).collect();
        Some(format!(
            "write a scenario file (`surgeline init`) and put the data into its folder; shipped: {}",
            shipped.join(", ")
        ))
    }

    /// The real path of a file in the scenario's folder.
    pub(crate) fn inside(&self, file: &str) -> Result<PathBuf, String> {
        let folder = self.folder.as_deref().ok_or_else(|| {
            "a scenario that was not read from a file has no folder for data".to_owned()
        })?;
        if !stays_inside(file) {
            return Err("the path has to stay inside the scenario's folder".to_owned());
        }
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| format!("cannot read the file: {error}"))
        };
        let (root, path) = (real(folder)?, real(&folder.join(file))?);
        if !path.starts_with(&root) {
            return Err("a symbolic link leads outside the scenario's folder".to_owned());
        }
        self.note(&path);
        Ok(path)
    }
}

/// Whether a path neither is absolute nor climbs.
fn stays_inside(file: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    Path::new(file).components().all(plain)
}

fn shipped(format: TraceFormat, name: &str) -> ReadResult {
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
    PARSED[at].get_or_init(|| loaded(trace::read_bytes(format, data.name, data.bytes))).clone()
}

fn loaded(result: TraceResult) -> ReadResult {
    let (trace, report) =
        result.map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let note = format!("{} rows over {}", report.rows, show_span(trace.span));
    let skipped = report.skipped.iter().filter(|skipped| skipped.rows > 0);
    let warnings = skipped.map(|s| format!("{} rows left out: {}", s.rows, s.why)).collect();
    let suggested_jitter = report.suggested_jitter;
    Ok(Loaded { trace: Arc::new(trace), note, warnings, suggested_jitter })
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
        let files = SourceFiles::within(folder.join("inner"));
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
        assert!(files.hint("/etc/hostname").is_some_and(|help| help.contains("folder")));
        assert_eq!(files.hint("missing.csv"), None);
        let help = SourceFiles::default().hint("/etc/hostname");
        assert!(help.is_some_and(|help| help.contains("`library:azure-conv-2023`")));
    }
}
