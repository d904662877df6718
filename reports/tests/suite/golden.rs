//! Whole documents against committed files, and what must hold of any document.
//!
//! `SURGELINE_UPDATE_GOLDEN=1 cargo test -p reports` writes the files anew; read the difference
//! before it is committed.

use crate::fixture;
use reports::{json, markdown, text};
use std::path::Path;

pub(crate) fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("SURGELINE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).expect("the golden folder is writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == found,
        "{name} differs; SURGELINE_UPDATE_GOLDEN=1 writes it anew. Found:\n{found}"
    );
}

#[test]
fn documents_are_as_committed() {
    for (name, result) in fixture::all() {
        let report = fixture::report(&result);
        compare(&format!("{name}.txt"), &text::render(&report, false, 80));
        compare(&format!("{name}.md"), &markdown::render(&report));
        compare(&format!("{name}.json"), &json::render(&report));
    }
}

/// Text without what a terminal takes as a command.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |out, part| out + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn no_line_is_wider_than_asked_for() {
    for (name, mut result) in fixture::all() {
        result.tasks[0].name = "a_task_with_a_name_that_is_far_longer_than_its_column_is".repeat(2);
        result.pools[0].name = "日本語の名前".into();
        for width in [text::LEAST_WIDTH, 60, 80, 81, 132] {
            let page = text::render(&fixture::report(&result), false, width);
            for line in page.lines() {
                let columns = textwrap::core::display_width(line);
                assert!(columns <= width, "{name} at {width}: {columns} columns: {line}");
                assert_eq!(line, line.trim_end(), "{name}: space at the end of a line");
            }
        }
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    for (name, result) in fixture::all() {
        let report = fixture::report(&result);
        let coloured = text::render(&report, true, 80);
        let plain = text::render(&report, false, 80);
        assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'), "{name}");
        let stripped = uncoloured(&coloured);
        let stripped: Vec<_> = stripped.lines().map(str::trim_end).collect();
        assert_eq!(stripped, plain.lines().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn names_are_shown_and_not_obeyed() {
    let mut result = fixture::stable();
    result.tasks[0].name = "\u{1b}[2Jwiped | <b>bold</b> *x*\n# title".into();
    let report = fixture::report(&result);
    assert!(!text::render(&report, false, 80).contains('\u{1b}'));
    let markdown = markdown::render(&report);
    assert!(!markdown.contains("<b>") && !markdown.contains("\n# title"), "{markdown}");
    assert!(markdown.contains(r"wiped \| &lt;b&gt;bold&lt;/b&gt; \*x\*"), "{markdown}");
}

/// Refusals keep a backlog bounded, whether the tasks they hit are rejected or not.
#[test]
fn a_stable_verdict_says_what_was_refused() {
    let written = |rejected, turned_away| {
        let mut result = fixture::stable();
        result.tasks.iter_mut().for_each(|task| task.counts.rejected = rejected);
        result.models[0].turned_away = turned_away;
        let report = fixture::report(&result);
        (markdown::render(&report), json::render(&report))
    };
    for (rejected, turned_away, said, reason) in [
        (0, 0, ", capacity not reached.", "the capacity was not reached"),
        (0, 1_530, "reached at times: 1,530 attempts were refused", "beyond the capacity at times"),
        (7, 1_530, ", part of it rejected.", "beyond the capacity at times"),
    ] {
        let (text, document) = written(rejected, turned_away);
        assert!(text.contains(said), "{text}");
        assert!(document.contains(reason), "{document}");
    }
}

/// Counted and shown only where an answer stood.
#[test]
fn answers_that_stood_have_a_column_of_their_own() {
    // Ten replications.
    for kept in [0, 43_210] {
        let mut result = crate::tasks::everything();
        result.tasks[0].work.as_mut().expect("tasks of several steps").kept_answers = kept;
        let report = fixture::report(&result);
        let (text, document) = (text::render(&report, false, 100), json::render(&report));
        assert_eq!(text.contains("kept: calls"), kept > 0, "{text}");
        assert_eq!(text.contains("4,321"), kept > 0, "{text}");
        assert_eq!(document.contains("\"kept_answers\": 43210"), kept > 0, "{document}");
        assert_eq!(document.contains("kept_answers"), kept > 0, "{document}");
    }
}
