//! What is wrong with a file, where, and what would be right.
//!
//! Invariants: every problem names a file, a line and a column (both from 1); reading never stops
//! at the first problem; the list is in the order of the file and capped, so that a hostile file cannot
//! fill a terminal.
//!
//! Deliberately absent: colours and terminal width; the command line adds those.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Problems kept; the rest is only counted.
const KEPT: usize = 100;

/// A position in a text a user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name as given, or `--set key=value` for an override.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A position and the key path that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the value stands.
    pub place: Place,
    /// Key path, such as `traffic.web.arrivals.rate`.
    pub key: String,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written; for a default, the table it would stand in.
    pub site: Site,
}

/// What sort of thing is wrong; stable, so that scripts and tests can tell problems apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The text is not TOML, not UTF-8, too long or nested too deeply.
    Syntax,
    /// A key this version does not know.
    UnknownKey,
    /// A key that has to be there.
    MissingKey,
    /// A string where a table belongs, and the like.
    WrongType,
    /// A number, quantity or choice outside what the key allows.
    BadValue,
    /// A name that nothing carries: a task, model, pool, GPU, engine.
    UnknownName,
    /// Two keys that exclude or require each other.
    Conflict,
    /// A model that does not fit its GPUs, a request that does not fit its engine.
    DoesNotFit,
    /// A file that cannot be read or lies outside the scenario's folder.
    File,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What sort.
    pub kind: ProblemKind,
    /// Where.
    pub site: Site,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right, when that is known.
    pub help: Option<String>,
}

/// Everything that is wrong, in the order of the file; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first hundred.
    pub list: Vec<Problem>,
    /// How many more there were.
    pub left_out: usize,
}

/// Collects problems while several readers walk one document.
#[derive(Debug, Default)]
pub(crate) struct Sink(RefCell<Problems>);

impl Site {
    /// The site of a key below this one, at the same position.
    #[must_use]
    pub fn child(&self, key: &str) -> Site {
        Site { place: self.place.clone(), key: join(&self.key, key) }
    }
}

impl<T> At<T> {
    /// The same site with another value.
    #[must_use]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), site: self.site }
    }
}

impl Problem {
    /// A problem without advice.
    #[must_use]
    pub fn new(kind: ProblemKind, site: &Site, message: impl Into<String>) -> Problem {
        Problem { kind, site: site.clone(), message: message.into(), help: None }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

impl Sink {
    /// Keeps a problem.
    pub(crate) fn push(&self, problem: Problem) {
        self.push_with(|| problem);
    }

    /// Keeps a problem that is costly to word; beyond the cap it is only counted, so that a
    /// hostile file with a million unknown names costs no million comparisons.
    pub(crate) fn push_with(&self, problem: impl FnOnce() -> Problem) {
        let mut problems = self.0.borrow_mut();
        if problems.list.len() < KEPT {
            problems.list.push(problem());
        } else {
            problems.left_out += 1;
        }
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().list.is_empty()
    }

    /// Everything collected, file by file from top to bottom, overrides last.
    pub(crate) fn into_problems(self) -> Problems {
        let mut problems = self.0.into_inner();
        // A value that is wrong is not missing besides.
        let wrong: Vec<String> = problems
            .list
            .iter()
            .filter(|problem| problem.kind != ProblemKind::MissingKey)
            .map(|problem| problem.site.key.clone())
            .collect();
        problems.list.retain(|problem| {
            problem.kind != ProblemKind::MissingKey || !wrong.contains(&problem.site.key)
        });
        problems.list.sort_by_cached_key(|problem| {
            let place = &problem.site.place;
            (place.file.starts_with("--set"), place.file.clone(), place.line, place.column)
        });
        problems
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems { list: vec![problem], left_out: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.site.place)?;
        if !self.site.key.is_empty() {
            write!(f, "{}: ", self.site.key)?;
        }
        write!(f, "{}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Appends a key to a path; a key that is not a bare TOML key is quoted.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let key = if bare { key.to_owned() } else { format!("{:?}", shortened(key)) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// At most sixty characters of a text that a message quotes.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    text.chars().take(59).chain(['…']).collect()
}

/// The known name most like `given`, when one is close enough to be a slip of the finger.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing costs the product of the lengths, so a hostile name is not compared at all.
    if given.len() > 200 {
        return None;
    }
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|&(distance, name)| distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Advice for an unknown name: the nearest one, or all of them.
pub(crate) fn did_you_mean(given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", listed(known)),
    }
}

/// At most twenty names, comma-separated.
fn listed(names: &[&str]) -> String {
    let mut text = names.iter().take(20).map(|n| shortened(n)).collect::<Vec<_>>().join(", ");
    if names.len() > 20 {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(nearest("horizn", ["horizon", "seed"]), Some("horizon"));
        assert_eq!(nearest("zebra", ["horizon", "seed"]), None);
        assert_eq!(nearest(&"x".repeat(10_000), ["horizon"]), None);
        assert_eq!(did_you_mean("b", &["alpha", "beta"]), "known: alpha, beta");
    }

    #[test]
    fn odd_keys_are_quoted_in_paths() {
        assert_eq!(join("a", "b-c"), "a.b-c");
        assert_eq!(join("a", "b.c"), "a.\"b.c\"");
        assert_eq!(join("", "a\nb"), "\"a\\nb\"");
    }
}
