//! Rules about any text: no path of one particular machine; pages of the model are complete.

use super::{Finding, Rule, is_in};

/// Top-level folders that exist on a developer's machine only. Without their slashes, so that this
/// file does not break its own rule.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "work", "Users"];

/// Sections of a page of docs/model, in order.
const SECTIONS: [&str; 6] = ["Question", "Rule", "Assumptions", "Source", "Test", "Left out"];

/// Absolute paths into such a folder. A path that goes on from a name (a URL, a relative path) is
/// not absolute.
pub(super) fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in MACHINE_FOLDERS {
            let pattern = format!("/{folder}/");
            let absolute = line.match_indices(&pattern).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}*".contains(c))
            });
            if absolute {
                let what = format!("a path into `{folder}` exists on one machine only");
                findings.push(Finding::new(Rule::MachinePath, path, number + 1, what));
            }
        }
    }
    findings
}

/// Pages without all sections in order, and pages that the index does not link.
pub(super) fn model_pages(texts: &[(String, String)]) -> Vec<Finding> {
    let index_path = "docs/model/README.md";
    let index = texts.iter().find(|(path, _)| path == index_path).map(|(_, text)| text.as_str());
    let pages = texts.iter().filter(|(path, _)| is_in(path, "docs/model", ".md"));
    let mut findings = Vec::new();
    for (path, text) in pages.filter(|(path, _)| path != index_path) {
        let sections: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        if sections != SECTIONS {
            let what = format!("has the sections {sections:?}, a page has {SECTIONS:?}");
            findings.push(Finding::new(Rule::ModelPage, path, 1, what));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        if !index.is_some_and(|index| index.contains(&format!("({name})"))) {
            let what = format!("{index_path} does not link it");
            findings.push(Finding::new(Rule::ModelPage, path, 1, what));
        }
    }
    findings
}

#[cfg(test)]
mod samples {
    use super::super::assert_found;
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found() {
        for folder in MACHINE_FOLDERS {
            for line in
                [format!("/{folder}/x"), format!("see `/{folder}/x`"), format!("a=/{folder}/")]
            {
                let text = format!("fine\n{line}\n");
                assert_found(&machine_paths("x.md", &text), &[(Rule::MachinePath, 2)]);
            }
        }
    }

    #[test]
    fn urls_and_relative_paths_are_fine() {
        for folder in MACHINE_FOLDERS {
            let text = format!("https://example.com/{folder}/x\n../{folder}/x\nsrc/{folder}/x\n");
            assert_found(&machine_paths("x.md", &text), &[]);
        }
        assert_found(&machine_paths("x.md", ".github/workflows/ci.yml\n/usr/bin/env\n"), &[]);
    }

    #[test]
    fn incomplete_and_unlinked_pages_are_found() {
        let complete: String =
            SECTIONS.iter().map(|name| format!("## {name}\n\ntext\n\n")).collect();
        let page = |text: &str| ("docs/model/x.md".to_string(), text.to_string());
        let index = ("docs/model/README.md".to_string(), "[x](x.md)".to_string());
        let found = [(Rule::ModelPage, 1)];

        assert_found(&model_pages(&[index.clone(), page(&complete)]), &[]);
        assert_found(&model_pages(&[page(&complete)]), &found);
        assert_found(&model_pages(&[index.clone(), page("## Question\n")]), &found);
        let without = complete.replace("## Source", "Source");
        assert_found(&model_pages(&[index, page(&without)]), &found);
    }
}
