//! What is wrong with a file, where, and what would be right.
//!
//! Invariants: every problem names a file, a line and a column (both from 1); reading never stops
//! at the first problem; what another problem already explains is not reported besides; the list is
//! in the order of the file and capped, so that a hostile file cannot fill a terminal.
//!
//! Deliberately absent: colours and terminal width; the command line adds those.

use crate::kinds::Refusal;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Problems kept; the rest is only counted.
const KEPT: usize = 100;

/// Keys of features that are planned and not there: whoever writes one has not misspelt anything.
/// An entry goes when its key comes.
pub(crate) const PLANNED: [&str; 9] = [
    "autoscaling",
    "data_parallel",
    "faults",
    "outages",
    "pipeline_parallel",
    "regions",
    "speculative_config",
    "spot",
    "zones",
];

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
    tie: Option<Box<Tie>>,
}

/// How a problem hangs together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tie {
    /// Of an unknown key, the key path that was probably meant.
    Meant(String),
    /// Key paths this problem follows from: when one of them, or a key below it, has a problem of
    /// its own, this one says nothing new and is left out.
    RestsOn(Vec<String>),
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
        let (site, message) = (site.clone(), message.into());
        Problem { kind, site, message, help: None, tie: None }
    }

    /// A refusal of the value at `site`.
    pub(crate) fn refused(site: &Site, (kind, message, help): Refusal) -> Problem {
        Problem { help, ..Problem::new(kind, site, message) }
    }

    /// A key that nobody asked for, beside those that are known.
    pub(crate) fn unknown_key(site: &Site, parent: &str, key: &str, known: &[&str]) -> Problem {
        if PLANNED.contains(&key) {
            let message = format!("`{key}` is not simulated yet");
            let help =
                "leave it out; the roadmap says what comes, and nothing is ignored in silence";
            return Problem::new(ProblemKind::UnknownKey, site, message).help(help);
        }
        let message = format!("unknown key `{}`", shortened(key));
        let same = known.iter().copied().find(|known| is_same_key(key, known));
        let help = match same {
            Some(same) if key.eq_ignore_ascii_case(same) => {
                format!("write `{same}`: keys are in lower case")
            }
            Some(same) => format!("write `{same}`"),
            None => did_you_mean(key, known),
        };
        let meant = same.or_else(|| nearest(key, known.iter().copied()));
        let tie = meant.map(|meant| Box::new(Tie::Meant(join(parent, meant))));
        Problem { help: Some(help), tie, ..Problem::new(ProblemKind::UnknownKey, site, message) }
    }

    /// Names the keys this problem follows from: a problem of theirs explains it.
    pub(crate) fn rests_on(mut self, keys: impl IntoIterator<Item = String>) -> Problem {
        self.tie = Some(Box::new(Tie::RestsOn(keys.into_iter().collect())));
        self
    }

    /// Whether this problem is about `key` or something below it.
    fn concerns(&self, key: &str) -> bool {
        let below = |path: &str| {
            path.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        below(&self.site.key) || self.meant().is_some_and(below)
    }

    fn meant(&self) -> Option<&str> {
        match self.tie.as_deref() {
            Some(Tie::Meant(key)) => Some(key),
            _ => None,
        }
    }

    /// Whether another problem says what is behind this one.
    fn follows_from(&self, other: &Problem) -> bool {
        match self.tie.as_deref() {
            Some(Tie::RestsOn(keys)) => keys.iter().any(|key| other.concerns(key)),
            _ => false,
        }
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
        // A value that is wrong, or whose key is misspelt, is not missing besides.
        let missing = |problem: &Problem| problem.kind == ProblemKind::MissingKey;
        let all = problems.list.clone();
        let explained = |problem: &Problem| {
            all.iter().any(|other| {
                let is_missing = missing(problem) && !missing(other) && {
                    let key = &problem.site.key;
                    other.site.key == *key || other.meant() == Some(key)
                };
                is_missing || (other != problem && problem.follows_from(other))
            })
        };
        problems.list.retain(|problem| !explained(problem));
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

/// Whether a key is a known one as pseudo-configurations write it: sections in upper case, and
/// `TASK_BUDGETS` for what is `budgets` here.
fn is_same_key(given: &str, known: &str) -> bool {
    let spelling = if known == "budgets" { "task_budgets" } else { known };
    [known, spelling].iter().any(|known| given.eq_ignore_ascii_case(known))
}

/// The known name most like `given`, in upper or lower case, when one is close enough to be a slip
/// of the finger.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing costs the product of the lengths, so a hostile name is not compared at all.
    if given.len() > 200 {
        return None;
    }
    let given = given.to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &name.to_ascii_lowercase());
    known
        .into_iter()
        .map(|name| (distance(name), name))
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
pub(crate) fn listed(names: &[&str]) -> String {
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
        assert_eq!(nearest("GPT-4O", ["gpt-4o", "gpt-4o-mini"]), Some("gpt-4o"));
        assert_eq!(nearest("zebra", ["horizon", "seed"]), None);
        assert_eq!(nearest(&"x".repeat(10_000), ["horizon"]), None);
        assert_eq!(did_you_mean("b", &["alpha", "beta"]), "known: alpha, beta");
    }

    #[test]
    fn what_another_problem_explains_is_left_out() {
        let site = |key: &str| Site { key: key.to_owned(), ..crate::document::start_of("t") };
        let wrong = |key: &str| Problem::new(ProblemKind::BadValue, &site(key), "wrong");
        let told = |list: Vec<Problem>| {
            let sink = Sink::default();
            list.into_iter().for_each(|problem| sink.push(problem));
            let problems = sink.into_problems().list;
            problems.into_iter().map(|problem| problem.site.key).collect::<Vec<_>>()
        };
        let follows = || wrong("t").rests_on(["t.input".to_owned()]);
        assert_eq!(told(vec![follows()]), ["t"]);
        assert_eq!(told(vec![follows(), wrong("t.inputs"), wrong("t.in")]).len(), 3);
        assert_eq!(told(vec![follows(), wrong("t.input.cv")]), ["t.input.cv"]);
        let slip = Problem::unknown_key(&site("t.inptu"), "t", "inptu", &["input"]);
        let missing = Problem::new(ProblemKind::MissingKey, &site("t.input"), "missing");
        assert_eq!(told(vec![follows(), missing, slip]), ["t.inptu"]);
    }

    #[test]
    fn odd_keys_are_quoted_in_paths() {
        assert_eq!(join("a", "b-c"), "a.b-c");
        assert_eq!(join("a", "b.c"), "a.\"b.c\"");
        assert_eq!(join("", "a\nb"), "\"a\\nb\"");
    }
}
