//! What the documents show is what the program says: pages, pictures and texts.
//!
//! `SURGELINE_UPDATE_GOLDEN=1 cargo test --test suite samples` writes the pages and pictures anew; texts
//! are mended by hand, where they stand between sentences.
//!
//! Invariant: each sample is made by the command that it shows.

use crate::support::{root, text};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A page of `docs/samples`, and those of its pictures that documents show.
struct Sample {
    name: &'static str,
    command: &'static str,
    code: i32,
    pictures: &'static [&'static str],
}

const SAMPLES: [Sample; 7] = [
    Sample {
        name: "run",
        command: "run support-reply",
        code: 0,
        pictures: &["latency-cdf", "p95-parts", "success-cost", "spend-over-time"],
    },
    Sample {
        name: "what-if",
        command: "what-if azure-conversation --traffic 5x",
        code: 1,
        pictures: &["p95-by-load"],
    },
    Sample {
        name: "compare",
        command: "compare support-reply --second-policy support-reply.good",
        code: 0,
        pictures: &[],
    },
    Sample {
        name: "check",
        command: "check support-reply --candidate support-reply.bad",
        code: 1,
        pictures: &["gates"],
    },
    Sample {
        name: "plan",
        command: "plan self-hosted --set traffic.chat.scale=4x --set scenario.horizon=20m",
        code: 0,
        pictures: &["frontier"],
    },
    Sample {
        name: "sweep",
        command: "sweep self-hosted --vary traffic.chat.scale=1x,2x,3x,4x,5x,6x \
                  --vary pools.h100.replicas=1..3 --set scenario.horizon=10m",
        code: 0,
        pictures: &["reply-p95-latency-heat", "reply-p95-latency-along"],
    },
    Sample {
        name: "score",
        command: "calibrate score --points calibrate/data/measured/serving_points.csv",
        code: 0,
        pictures: &["residuals-tpot"],
    },
];

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path =
            std::env::temp_dir().join(format!("surgeline-samples-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over is in a folder for what is left over.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn surgeline(folder: &Path, arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1");
    command.output().expect("it starts")
}

fn words(line: &str) -> Vec<String> {
    shlex::split(line).expect("quotes are closed")
}

/// Compares a file of the documents with what was made, or writes it.
fn same_or_written(path: &Path, made: &[u8]) -> bool {
    if std::env::var_os("SURGELINE_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, made).expect("a file can be written");
    }
    fs::read(path).is_ok_and(|there| there == made)
}

#[test]
fn pages_and_pictures_of_the_documents_are_those_that_are_made() {
    let mut stale = Vec::new();
    for Sample { name, command, code, pictures } in &SAMPLES {
        let scratch = Scratch::new(name);
        let [page, plots] = ["page.html", "plots"].map(|file| scratch.0.join(file));
        let mut arguments = words(command);
        for (option, path) in [("--html", &page), ("--plots", &plots)] {
            arguments.extend([option.to_owned(), path.display().to_string()]);
        }
        if *name == "sweep" {
            arguments.extend(["--out".to_owned(), "swept".to_owned()]);
        }
        // Of a file the page says where it is, from the repository's root.
        let folder = if command.contains(".csv") { root() } else { &scratch.0 };
        let ended = surgeline(folder, &arguments);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(*code), "{command}: {said}");
        let samples = root().join("docs/samples");
        let made = fs::read(&page).expect("a page");
        if !same_or_written(&samples.join(format!("{name}.html")), &made) {
            stale.push(format!("docs/samples/{name}.html"));
        }
        for picture in *pictures {
            for end in ["svg", "png"] {
                let made = fs::read(plots.join(format!("{picture}.{end}"))).expect("a picture");
                let path = format!("docs/pictures/{name}-{picture}.{end}");
                if !same_or_written(&root().join(&path), &made) {
                    stale.push(path);
                }
            }
        }
    }
    assert!(
        stale.is_empty(),
        "not as the program makes them; see the top of this file: {stale:#?}"
    );
}

/// Pictures and pages that documents link are there, and those that are there are linked.
#[test]
fn every_picture_is_shown_and_every_one_shown_is_there() {
    let mut shown = BTreeSet::new();
    for document in documents() {
        let folder = Path::new(&document).parent().expect("a folder");
        let text = text(&document).expect("a text");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let images = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for target in targets.chain(images).filter(|target| !target.contains("://")) {
            let file = target.split('#').next().unwrap_or_default();
            let path = folder.join(file);
            assert!(
                file.is_empty() || root().join(&path).exists(),
                "{document}: {target} is not there"
            );
            shown.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    for folder in ["docs/pictures", "docs/samples"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            // Of a picture in two forms one is shown.
            let other = name.replace(".png", ".svg");
            assert!(
                shown.contains(&name) || shown.contains(&other),
                "nobody shows {folder}/{name}"
            );
        }
    }
}

fn documents() -> Vec<String> {
    let is_ours =
        |path: &String| path == "README.md" || path.starts_with("docs/") && path.ends_with(".md");
    crate::support::files().into_iter().filter(is_ours).collect()
}

/// One command of a document and what it is said to print.
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// Commands of blocks that begin with one, `$ surgeline …`.
fn shown(text: &str) -> Vec<Shown> {
    let blocks = text.split("\n```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let mut all: Vec<Shown> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => {
                all.push(Shown { command: command.to_owned(), lines: Vec::new() })
            }
            (None, Some(last)) => last.lines.push(line.to_owned()),
            (None, None) => panic!("a block begins with a command: {line}"),
        }
    }
    all
}

/// Whether lines stand in a text one after the other; `…` is any number of them.
fn stand_in(shown: &[String], said: &[&str]) -> Result<(), String> {
    let mut at = 0;
    for (piece, lines) in shown.split(|line| line == "…").enumerate() {
        let is_here = |&from: &usize| {
            lines
                .iter()
                .zip(said.get(from..).unwrap_or_default())
                .all(|(a, b)| a.trim_end() == b.trim_end())
                && from + lines.len() <= said.len()
        };
        let last = if piece == 0 { at } else { said.len() };
        let found = (at..=last).find(is_here);
        at = found
            .ok_or_else(|| format!("from line {at} on there is no:\n{}", lines.join("\n")))?
            + lines.len();
    }
    let is_whole = shown.last().is_some_and(|line| line == "…") || at == said.len();
    if is_whole { Ok(()) } else { Err(format!("more is said: {:?}", said.get(at))) }
}

#[test]
fn texts_of_the_documents_are_what_the_program_says() {
    let mut commands = 0;
    for document in documents() {
        let scratch = Scratch::new("texts");
        for Shown { command, lines } in shown(&text(&document).expect("a text")) {
            let arguments = words(command.strip_prefix("surgeline ").expect("a command of ours"));
            let ended = surgeline(&scratch.0, &arguments);
            // What writes a file says so beside its output.
            let said = if ended.stdout.is_empty() { ended.stderr } else { ended.stdout };
            let said = String::from_utf8(said).expect("UTF-8");
            let said: Vec<&str> = said.lines().collect();
            if let Err(why) = stand_in(&lines, &said) {
                panic!("{document}: {command}: {why}\nIt says:\n{}", said.join("\n"));
            }
            commands += 1;
        }
    }
    assert!(commands > 3, "{commands} commands");
}

#[test]
fn a_text_that_is_not_said_is_found() {
    let said = ["a", "b", "c", "d"];
    let stands = |shown: &[&str]| {
        stand_in(&shown.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), &said).is_ok()
    };
    assert!(
        stands(&["a", "b", "c", "d"]) && stands(&["…", "b", "c", "…"]) && stands(&["a", "…", "d"])
    );
    assert!(!stands(&["a", "b"]) && !stands(&["b", "…"]) && !stands(&["…", "b", "d", "…"]));
    assert!(!stands(&["…", "c", "…", "b", "…"]) && !stands(&["…", "e"]));
}
