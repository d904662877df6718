//! House rules as a test: what a reviewer would otherwise have to say again and again.
//!
//! Each rule is a pure function from a file's path and text to its [`Finding`]s, and each has a bad
//! sample that must be found: a check that cannot fail is worth nothing. Known exceptions are
//! listed in [`EXCEPTIONS`]; the list is a ratchet, so an exception that is no longer needed fails
//! too.
//!
//! Deliberately absent: what rustfmt, clippy and cargo-deny already check.

mod documents;
mod source;
mod tables;

use crate::support;
use std::fmt;

/// The rules, in the order in which CONTRIBUTING.md explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A Rust file opens with `//!`.
    Header,
    /// A Rust file parses on its own.
    Parses,
    /// A file has at most 500 lines, tests not counted.
    FileLength,
    /// A function has at most 70 lines, tests not counted.
    FunctionLength,
    /// No `allow`, no `ignore`: `expect` with a reason, or a test that runs.
    Attribute,
    /// No `todo!`, `unimplemented!` or `dbg!`.
    Unfinished,
    /// A module of `sim` uses only modules above it in the list of its lib.rs.
    ModuleOrder,
    /// A crate uses only crates to its left.
    CrateOrder,
    /// A row of data says where it comes from and as of when.
    DataRow,
    /// A library scenario starts with the question it answers.
    ScenarioQuestion,
    /// A page of docs/model has every section, and the index links it.
    ModelPage,
    /// No path of one particular machine.
    MachinePath,
}

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    rule: Rule,
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.path, self.line, self.rule, self.what)
    }
}

impl Finding {
    fn new(rule: Rule, path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { rule, path: path.to_string(), line, what: what.into() }
    }
}

/// `(rule, path, why it may stay)`: how many findings of this rule a file has does not matter.
/// The list may only shrink.
const EXCEPTIONS: &[(Rule, &str, &str)] = &[];

#[test]
fn the_tree_is_tidy() {
    let findings = findings_of_the_tree();
    let excused = |f: &&Finding| EXCEPTIONS.iter().any(|&(r, p, _)| r == f.rule && p == f.path);
    let broken: Vec<String> =
        findings.iter().filter(|f| !excused(f)).map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{} house rules broken:\n{}", broken.len(), broken.join("\n"));
    for &(rule, path, why) in EXCEPTIONS {
        let needed = findings.iter().any(|f| f.rule == rule && f.path == path);
        assert!(needed, "the exception {rule:?} for {path} ({why}) is no longer needed: remove it");
    }
}

/// Every rule over every file.
fn findings_of_the_tree() -> Vec<Finding> {
    let texts: Vec<(String, String)> = support::files()
        .into_iter()
        .filter_map(|path| support::text(&path).map(|text| (path, text)))
        .collect();
    let library = texts.iter().find(|(path, _)| path == "sim/src/lib.rs");
    let modules = source::modules(&library.expect("sim has a lib.rs").1);

    let mut findings = Vec::new();
    for (path, text) in &texts {
        findings.extend(documents::machine_paths(path, text));
        if path.ends_with(".rs") {
            findings.extend(source::check(path, text, &modules));
        } else if path.ends_with("Cargo.toml") {
            findings.extend(tables::crate_order(path, text));
        } else if is_in(path, "calibrate/data", ".toml") {
            findings.extend(tables::data_rows(path, text));
        } else if is_in(path, "scenarios/library", ".toml") {
            findings.extend(tables::question(path, text));
        }
    }
    findings.extend(documents::model_pages(&texts));
    for (folder, ending) in [("calibrate/data", ".toml"), ("scenarios/library", ".toml")] {
        if !texts.iter().any(|(path, _)| is_in(path, folder, ending)) {
            println!("{folder} has no *{ending} yet: its rule had nothing to check");
        }
    }
    findings
}

/// Whether a path lies directly in `folder` and ends like this.
fn is_in(path: &str, folder: &str, ending: &str) -> bool {
    path.strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|name| !name.contains('/') && name.ends_with(ending))
}

#[test]
fn only_files_directly_in_a_folder_are_in_it() {
    assert!(is_in("a/b/c.toml", "a/b", ".toml"));
    assert!(!is_in("a/b/c/d.toml", "a/b", ".toml"));
    assert!(!is_in("a/bc.toml", "a/b", ".toml"));
    assert!(!is_in("a/b/c.csv", "a/b", ".toml"));
}

/// Compares the findings of a sample with the expected `(rule, line)` pairs.
#[track_caller]
fn assert_found(findings: &[Finding], expected: &[(Rule, usize)]) {
    let found: Vec<_> = findings.iter().map(|f| (f.rule, f.line)).collect();
    assert_eq!(found, expected, "{findings:#?}");
}
