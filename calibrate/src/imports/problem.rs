//! What is wrong with a file of measurements, where, and what would be right.
//!
//! Invariants: reading goes on after a problem, so that all of them are told at once; at most
//! [`KEPT`] are kept and the rest is counted, so that a hostile file cannot fill a terminal.
//!
//! Deliberately absent: warnings. What is readable but easy to misread stands in the notes of the
//! import.

use std::fmt;

/// Problems kept; the rest is only counted.
const KEPT: usize = 20;

/// Longest piece of a file that a message quotes, in characters.
const QUOTED: usize = 60;

/// One problem of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportProblem {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1; `None` where a problem concerns the whole file or one large JSON document.
    pub line: Option<u64>,
    /// Column of a table or path of keys, such as `benchmarks[0].metrics`; empty for the whole.
    pub place: String,
    /// What was found, and what would be right.
    pub message: String,
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.place.is_empty() {
            write!(f, "`{}`: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

/// A file that could not be imported: at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportErrors {
    /// The first problems, in the order in which they were found.
    pub problems: Vec<ImportProblem>,
    /// How many more there are.
    pub more: u64,
}

impl fmt::Display for ImportErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ImportErrors {}

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Problems {
    file: String,
    found: ImportErrors,
}

impl Problems {
    pub(super) fn of(file: &str) -> Problems {
        let found = ImportErrors { problems: Vec::new(), more: 0 };
        Problems { file: file.to_owned(), found }
    }

    /// Notes a problem; line 0 is none.
    pub(super) fn push(&mut self, line: u64, place: impl Into<String>, message: impl Into<String>) {
        if self.found.problems.len() == KEPT {
            self.found.more += 1;
            return;
        }
        self.found.problems.push(ImportProblem {
            file: self.file.clone(),
            line: (line > 0).then_some(line),
            place: place.into(),
            message: message.into(),
        });
    }

    /// Takes over what was found in another file of the same import.
    pub(super) fn absorb(&mut self, other: Problems) {
        self.found.more += other.found.more;
        for problem in other.found.problems {
            if self.found.problems.len() == KEPT {
                self.found.more += 1;
            } else {
                self.found.problems.push(problem);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.problems.is_empty()
    }

    /// The problems themselves, of which there has to be at least one.
    pub(super) fn refused(self) -> ImportErrors {
        debug_assert!(!self.is_empty(), "refused without a reason");
        self.found
    }

    /// The result, unless there was a problem.
    pub(super) fn finish<T>(self, result: T) -> Result<T, ImportErrors> {
        if self.is_empty() { Ok(result) } else { Err(self.found) }
    }
}

/// A piece of the file for a message: control characters escaped, shortened.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(QUOTED) {
        match character.is_control() {
            true => shown.extend(character.escape_debug()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
