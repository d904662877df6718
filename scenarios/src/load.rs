//! The way in: a file or a text becomes a resolved scenario, or every problem it has.
//!
//! Invariants: the hash covers everything that was read as text (scenario, policy, overrides);
//! a policy file comes from the scenario's folder when the scenario names it, and from wherever
//! the caller says when the caller does.

use crate::document::{self, NewName, Node, Value};
use crate::file::{self, GATES_KEYS, POLICY_KEYS, PolicyFile, ScenarioFile};
use crate::library::{self, Shipped};
use crate::problem::{Place, Problem, ProblemKind, Problems, Site, did_you_mean, nearest};
use crate::reader::{Context, Reader, read_table};
use crate::resolve::resolve;
use crate::resolved::{Resolved, Warning};
use crate::source_files::SourceFiles;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Bytes read of a file before it is refused as too long.
const READ_AT_MOST: u64 = 10_000_001;

/// The texts of a scenario, read once, from which variants are resolved.
///
/// ```
/// use scenarios::{Blueprint, library};
///
/// let shipped = library::find("starter").expect("it is shipped");
/// let blueprint = Blueprint::shipped(shipped, None).expect("no policy to be read");
/// let doubled = blueprint.resolve(&["traffic.web.scale=2x".to_owned()]);
/// assert!(doubled.is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Blueprint {
    name: String,
    text: String,
    /// Name and text of the policy that replaces the scenario's own.
    policy: Option<(String, String)>,
    /// Name and text of a file of gates, which goes before the scenario's own.
    gates: Option<(String, String)>,
    files: SourceFiles,
}

impl Blueprint {
    /// Reads a scenario file; data and policy files it names have to lie in its folder. A `policy`
    /// given here, a file or a shipped one, replaces the one the scenario names or carries.
    ///
    /// # Errors
    /// A file that cannot be read, or is no text.
    pub fn read(path: &Path, policy: Option<&Path>) -> Result<Blueprint, Problems> {
        let name = path.display().to_string();
        let text = read_text(path, &document::start_of(&name))?;
        let given = policy;
        let policy = policy.map(given_policy).transpose()?;
        // A bare file name has the empty path as its parent, which means the working folder.
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => ".".into(),
        };
        let files = SourceFiles::within(folder);
        files.note(path);
        given.into_iter().for_each(|policy| files.note(policy));
        Ok(Blueprint { name, text, policy, gates: None, files })
    }

    /// A shipped scenario; a `policy` as in [`Blueprint::read`].
    ///
    /// # Errors
    /// A policy that cannot be read.
    pub fn shipped(shipped: &Shipped, policy: Option<&Path>) -> Result<Blueprint, Problems> {
        let files = SourceFiles::default();
        policy.into_iter().for_each(|policy| files.note(policy));
        let policy = policy.map(given_policy).transpose()?;
        let (name, text) = (shipped.file_name(), shipped.text.to_owned());
        Ok(Blueprint { name, text, policy, gates: None, files })
    }

    /// A text; it may use shipped data but no files.
    #[must_use]
    pub fn of_text(name: &str, text: &str) -> Blueprint {
        let (name, text) = (name.to_owned(), text.to_owned());
        Blueprint { name, text, policy: None, gates: None, files: SourceFiles::default() }
    }

    /// The same scenario under another policy, a file or a shipped one.
    ///
    /// # Errors
    /// A policy that cannot be read.
    pub fn with_policy(&self, policy: &Path) -> Result<Blueprint, Problems> {
        self.files.note(policy);
        Ok(Blueprint { policy: Some(given_policy(policy)?), ..self.clone() })
    }

    /// The same scenario with the gates of a file: its `[gates]` replaces the scenario's, and so
    /// does each key of its `[check]`.
    ///
    /// # Errors
    /// A file that cannot be read; what it holds is looked at when the scenario is resolved.
    pub fn with_gates(&self, gates: &Path) -> Result<Blueprint, Problems> {
        let name = gates.display().to_string();
        let text = read_text(gates, &document::start_of(&name))?;
        self.files.note(gates);
        Ok(Blueprint { gates: Some((name, text)), ..self.clone() })
    }

    /// The name under which problems show it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The scenario as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first position of the scenario.
    pub(crate) fn start(&self) -> Place {
        document::start_of(&self.name).place
    }

    /// The same text with the data files of another.
    pub(crate) fn with_folder_of(self, other: &Blueprint) -> Blueprint {
        Blueprint { files: other.files.clone(), ..self }
    }

    /// The policy that counts beside the scenario, if its own tables do not say it.
    pub(crate) fn policy_text(&self, overrides: &[String]) -> Option<String> {
        let context = Context::default();
        let mut root = document::parse(&self.name, &self.text).ok()?;
        name_policy(&mut root, overrides, &context);
        let policy = self.policy.clone().or_else(|| named_policy(&root, &self.files, &context));
        policy.map(|(_, text)| text)
    }

    /// Resolves it with some values changed: `KEY=VALUE` each.
    ///
    /// # Errors
    /// Every problem, with file, line and column.
    pub fn resolve(&self, overrides: &[String]) -> Result<Resolved, Problems> {
        load(self, overrides)
    }
}

/// Reads and resolves a scenario file (see [`Blueprint::read`]).
///
/// # Errors
/// Every problem, with file, line and column.
pub fn load_file(
    path: &Path,
    policy: Option<&Path>,
    overrides: &[String],
) -> Result<Resolved, Problems> {
    Blueprint::read(path, policy)?.resolve(overrides)
}

/// Resolves a scenario of a text; it may use shipped data but no files. The entry for fuzzing.
///
/// # Errors
/// Every problem, with file (`name`), line and column.
pub fn load_str(name: &str, text: &str, overrides: &[String]) -> Result<Resolved, Problems> {
    Blueprint::of_text(name, text).resolve(overrides)
}

/// Resolves a shipped scenario (see [`Blueprint::shipped`]).
///
/// # Errors
/// Every problem; without policy and overrides there are none.
pub fn load_library(
    shipped: &Shipped,
    policy: Option<&Path>,
    overrides: &[String],
) -> Result<Resolved, Problems> {
    Blueprint::shipped(shipped, policy)?.resolve(overrides)
}

/// The name and text of a policy that the caller names: a file, or else a shipped one.
fn given_policy(path: &Path) -> Result<(String, String), Problem> {
    let name = path.display().to_string();
    let site = document::start_of(&name);
    if path.exists() {
        let text = read_text(path, &site)?;
        return Ok((name, text));
    }
    if let Some(shipped) = library::find_policy(&name) {
        return Ok((name, shipped.text.to_owned()));
    }
    let known: Vec<&str> = library::policies().iter().map(|policy| policy.name).collect();
    let message = format!("{name} is neither a file nor a shipped policy");
    Err(Problem::new(ProblemKind::File, &site, message).help(did_you_mean(&name, &known)))
}

/// A digest in hexadecimal.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file's text, or the problem at `site`.
pub(crate) fn read_text(path: &Path, site: &Site) -> Result<String, Problem> {
    let refuse = |error: std::io::Error| {
        Problem::new(ProblemKind::File, site, format!("cannot read {}: {error}", path.display()))
    };
    // Asked before opening, because opening a pipe waits for its writer.
    if !std::fs::metadata(path).map_err(refuse)?.is_file() {
        let message = format!("{} is not a file", path.display());
        return Err(Problem::new(ProblemKind::File, site, message));
    }
    let file = std::fs::File::open(path).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(READ_AT_MOST).read_to_end(&mut bytes).map_err(refuse)?;
    document::text_of(&path.display().to_string(), &bytes).map(str::to_owned)
}

fn load(blueprint: &Blueprint, overrides: &[String]) -> Result<Resolved, Problems> {
    let Blueprint { name, text, policy, gates, files } = blueprint;
    let mut hash = Sha256::new();
    let mut hash_in = |text: &str| {
        // The length keeps two different splits of the same bytes apart.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    hash_in(text);
    let mut root = document::parse(name, text)?;
    let context = Context::default();
    let given = policy.is_some();
    name_policy(&mut root, overrides, &context);
    let policy = policy.clone().or_else(|| named_policy(&root, files, &context));
    let mut policy_root = None;
    if let Some((policy_name, policy_text)) = &policy {
        hash_in(policy_text);
        policy_root = Some(document::parse(policy_name, policy_text)?);
    }
    if let Some((gates_name, gates_text)) = gates {
        hash_in(gates_text);
        replace_gates(&mut root, document::parse(gates_name, gates_text)?, &context);
    }
    let mut added = Vec::new();
    for text in overrides {
        hash_in(text);
        let key = key_of(text);
        if key == "policy" {
            continue;
        }
        let target = policy_root.as_mut().filter(|_| POLICY_KEYS.contains(&key.as_str()));
        added.extend(document::set(target.unwrap_or(&mut root), text, &context.sink));
    }
    let sha256 = hex(&hash.finalize());

    let resolved = read_scenario(&context, &root).and_then(|mut scenario| {
        check_levers(&context, &scenario, &root, policy_root.as_ref());
        if let Some(node) = &policy_root {
            replace_policy(&context, &mut scenario, (&root, node), given);
        }
        resolve(&context, files, &scenario, name, sha256)
    });
    match resolved {
        Some(mut resolved) => {
            resolved.warnings.extend(added.iter().filter_map(perhaps_misspelt));
            Ok(resolved)
        }
        None => {
            let mut problems = context.sink.into_problems();
            added.iter().for_each(|new| explain(new, &mut problems));
            Err(problems)
        }
    }
}

/// The first key of an override.
fn key_of(text: &str) -> String {
    text.split(['.', '=']).next().unwrap_or_default().trim().to_owned()
}

/// An override may name another policy file, so it is heeded before the file is read.
fn name_policy(root: &mut Node, overrides: &[String], context: &Context) {
    for text in overrides.iter().filter(|text| key_of(text) == "policy") {
        document::set(root, text, &context.sink);
    }
}

/// What to know of a name that an override added beside one that is much like it.
fn perhaps_misspelt(new: &NewName) -> Option<Warning> {
    let meant = nearest(&new.name, new.known.iter().map(String::as_str))?;
    let message = format!("this adds `{}`, beside `{meant}`; is it misspelt?", new.name);
    Some(Warning { site: new.site.clone(), message })
}

/// Where something is missing of a name that an override added, says first that it added one:
/// whoever has misspelt a name wonders what should be missing.
fn explain(new: &NewName, problems: &mut Problems) {
    let of_new = |problem: &Problem| {
        let Site { place, key } = &problem.site;
        let below =
            key.strip_prefix(&new.site.key).is_some_and(|rest| rest.starts_with(['.', '[']));
        let incomplete = matches!(problem.kind, ProblemKind::MissingKey | ProblemKind::Conflict);
        incomplete && *place == new.site.place && (below || *key == new.site.key)
    };
    let Some(first) = problems.list.iter().position(of_new) else { return };
    let known: Vec<&str> = new.known.iter().map(String::as_str).collect();
    let message = format!("this adds `{}`, which the file does not have", new.name);
    let mut problem = Problem::new(ProblemKind::UnknownName, &new.site, message);
    problem.help = (!known.is_empty()).then(|| did_you_mean(&new.name, &known));
    problems.list.insert(first, problem);
}

fn read_scenario(context: &Context, root: &Node) -> Option<ScenarioFile> {
    let site = Reader::root(context, root).site().clone();
    read_table(context, root, site, file::scenario)
}

/// The policy file that the scenario names, read before overrides are applied to it.
fn named_policy(root: &Node, files: &SourceFiles, context: &Context) -> Option<(String, String)> {
    let Value::Table(table) = &root.value else { return None };
    let entry = table.get("policy")?;
    let Value::Text(file) = &entry.node.value else { return None };
    let site = Site { place: entry.node.place.clone(), key: "policy".to_owned() };
    if let (None, Some(shipped)) = (&files.folder, library::find_policy(file)) {
        return Some((file.clone(), shipped.text.to_owned()));
    }
    let text = files
        .inside(file)
        .map_err(|message| Problem::new(ProblemKind::File, &site, message))
        .and_then(|path| read_text(&path, &site));
    match text {
        Ok(text) => Some((file.clone(), text)),
        Err(problem) => {
            context.sink.push(problem);
            None
        }
    }
}

/// Levers whose keys lead nowhere, in the scenario or in the policy beside it.
fn check_levers(context: &Context, scenario: &ScenarioFile, root: &Node, policy: Option<&Node>) {
    for (keys, values) in &scenario.levers {
        let of_policy = |_: &&Node| keys.first().is_some_and(|k| POLICY_KEYS.contains(&k.as_str()));
        let target = policy.filter(of_policy).unwrap_or(root);
        if let Err(problem) = document::reaches(target, keys, &values.site) {
            context.sink.push(problem);
        }
    }
}

/// Puts the tables of a file of gates in the place of the scenario's: `[gates]` as a whole, of
/// `[check]` the keys that the file has.
fn replace_gates(root: &mut Node, gates: Node, context: &Context) {
    let (Value::Table(root), Value::Table(gates)) = (&mut root.value, gates.value) else { return };
    for entry in gates.entries {
        if !GATES_KEYS.contains(&entry.key.as_str()) {
            let site = Site { place: entry.place, key: entry.key.clone() };
            context.sink.push_with(|| Problem::unknown_key(&site, "", &entry.key, &GATES_KEYS));
            continue;
        }
        let known = root.entries.iter_mut().find(|known| known.key == entry.key);
        match known {
            Some(known) if entry.key == "check" => {
                match (&mut known.node.value, entry.node.value) {
                    (Value::Table(old), Value::Table(new)) => {
                        old.entries.retain(|old| new.get(&old.key).is_none());
                        old.entries.extend(new.entries);
                    }
                    (old, new) => {
                        *old = new;
                        known.node.place = entry.node.place;
                    }
                }
            }
            Some(known) => *known = entry,
            None => root.entries.push(entry),
        }
    }
}

/// Puts the policy file in the place of what the scenario itself may hold of a policy.
fn replace_policy(
    context: &Context,
    scenario: &mut ScenarioFile,
    (root, node): (&Node, &Node),
    given: bool,
) {
    let Value::Table(table) = &root.value else { return };
    let inline = table.entries.iter().find(|entry| POLICY_KEYS.contains(&entry.key.as_str()));
    if let (false, Some(inline)) = (given, inline) {
        let message = "the scenario names a policy file and carries a policy itself";
        let site = Site { place: inline.place.clone(), key: inline.key.clone() };
        context.sink.push(Problem::new(ProblemKind::Conflict, &site, message));
    }
    let site = Site { place: node.place.clone(), key: String::new() };
    if let Some(policy) = read_table::<PolicyFile>(context, node, site, file::policy) {
        scenario.policy = policy;
    }
}
