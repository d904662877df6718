//! Rules about TOML files: the order of the crates, the origin of data rows, the question of a
//! scenario.

use super::{Finding, Rule};
use toml::{Table, Value};

/// The crates from left to right: each uses only those before it.
const CRATES: [&str; 6] = ["sim", "calibrate", "scenarios", "experiments", "reports", "surgeline"];

/// Dependencies, of whatever kind, on crates that are not to the left.
pub(super) fn crate_order(path: &str, text: &str) -> Vec<Finding> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![unreadable(Rule::CrateOrder, path, &error)],
    };
    let package = manifest.get("package").and_then(|package| package.get("name"));
    let name = package.and_then(Value::as_str).unwrap_or_default();
    let Some(own) = CRATES.iter().position(|&known| known == name) else {
        let what = format!("the crate `{name}` has no place in the order of the crates");
        return vec![Finding::new(Rule::CrateOrder, path, 1, what)];
    };
    let mut dependencies = Vec::new();
    collect_dependencies(&manifest, &mut dependencies);
    for target in manifest.get("target").and_then(Value::as_table).into_iter().flatten() {
        collect_dependencies(target.1.as_table().unwrap_or(&Table::new()), &mut dependencies);
    }
    let wrong = dependencies.iter().filter(|used| CRATES[own..].contains(&used.as_str()));
    wrong
        .map(|used| {
            let line = line_where(text, |line| line.starts_with(used.as_str()));
            let what = format!("`{name}` uses `{used}`, which is not to its left");
            Finding::new(Rule::CrateOrder, path, line, what)
        })
        .collect()
}

/// Names of the crates in every table of dependencies, renamed ones under their own name.
fn collect_dependencies(of: &Table, into: &mut Vec<String>) {
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (key, value) in of.get(kind).and_then(Value::as_table).into_iter().flatten() {
            let renamed = value.get("package").and_then(Value::as_str);
            into.push(renamed.unwrap_or(key).to_string());
        }
    }
}

/// Rows without a `source` or without a date `as_of`.
///
/// A row is an element of a top-level array, a table inside a top-level table that holds only
/// tables, or otherwise the top-level table itself. Tables inside a row share its origin, and a
/// file of rows from one place may say so once, at its top.
pub(super) fn data_rows(path: &str, text: &str) -> Vec<Finding> {
    let document: Table = match text.parse() {
        Ok(document) => document,
        Err(error) => return vec![unreadable(Rule::DataRow, path, &error)],
    };
    let mut rows: Vec<(String, &Value)> = Vec::new();
    for (key, value) in &document {
        match value {
            Value::Array(elements) => {
                rows.extend(
                    elements.iter().enumerate().map(|(i, row)| (format!("{key}[{i}]"), row)),
                );
            }
            Value::Table(table) if !table.is_empty() && table.values().all(Value::is_table) => {
                rows.extend(table.iter().map(|(name, row)| (format!("{key}.{name}"), row)));
            }
            Value::Table(_) => rows.push((key.clone(), value)),
            _ => {}
        }
    }
    if rows.is_empty() {
        return vec![Finding::new(Rule::DataRow, path, 1, "no row at all")];
    }
    let mut findings = Vec::new();
    for (name, row) in rows {
        let own_or_shared = |key| row.get(key).or_else(|| document.get(key));
        let source = own_or_shared("source").and_then(Value::as_str);
        if source.is_none_or(|source| source.trim().is_empty()) {
            let what = format!("`{name}` has no `source`: where can a reader check it?");
            findings.push(Finding::new(Rule::DataRow, path, 1, what));
        }
        if !own_or_shared("as_of").is_some_and(is_date) {
            let what = format!("`{name}` has no date `as_of` (2026-01-31)");
            findings.push(Finding::new(Rule::DataRow, path, 1, what));
        }
    }
    findings
}

/// A TOML date, or a string `YYYY-MM-DD` or `YYYY-MM`.
fn is_date(value: &Value) -> bool {
    match value {
        Value::Datetime(datetime) => datetime.date.is_some(),
        Value::String(text) => {
            let widths: Vec<usize> = text.split('-').map(str::len).collect();
            text.chars().all(|c| c.is_ascii_digit() || c == '-')
                && matches!(widths[..], [4, 2] | [4, 2, 2])
        }
        _ => false,
    }
}

/// A scenario whose first sentence is not a comment that asks.
pub(super) fn question(path: &str, text: &str) -> Vec<Finding> {
    let is_directive = |line: &&str| line.starts_with("#:") || line.trim().is_empty();
    let comment: Vec<&str> = text
        .lines()
        .skip_while(is_directive)
        .map_while(|line| line.strip_prefix('#'))
        .map(str::trim)
        .collect();
    let words: Vec<&str> = comment.iter().flat_map(|line| line.split(' ')).collect();
    let ends = |word: &&&str| word.ends_with(['.', '?', '!']);
    if words.iter().find(ends).is_some_and(|last| last.ends_with('?')) {
        return Vec::new();
    }
    let what = "starts without a comment that asks the question it answers";
    vec![Finding::new(Rule::ScenarioQuestion, path, 1, what)]
}

fn unreadable(rule: Rule, path: &str, error: &toml::de::Error) -> Finding {
    Finding::new(rule, path, 1, error.to_string())
}

/// Number of the first line that fits, 1 when none does.
fn line_where(text: &str, fits: impl Fn(&str) -> bool) -> usize {
    text.lines().position(fits).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod samples {
    use super::super::assert_found;
    use super::*;

    #[test]
    fn dependencies_to_the_right_are_found() {
        let head = "[package]\nname = \"calibrate\"\n";
        let bad = [
            "[dependencies]\nscenarios = { path = \"x\" }\n",
            "[dependencies]\nreports.workspace = true\n",
            "[dev-dependencies]\nexperiments.workspace = true\n",
            "[build-dependencies]\ncalibrate.workspace = true\n",
        ];
        for dependencies in bad {
            let text = format!("{head}{dependencies}");
            assert_found(&crate_order("calibrate/Cargo.toml", &text), &[(Rule::CrateOrder, 4)]);
        }
        let hidden = [
            "[target.'cfg(unix)'.dependencies]\nreports.workspace = true\n",
            "[dependencies]\nx = { package = \"reports\", path = \"x\" }\n",
        ];
        for dependencies in hidden {
            let findings = crate_order("calibrate/Cargo.toml", &format!("{head}{dependencies}"));
            assert_eq!(findings.len(), 1);
        }
    }

    #[test]
    fn dependencies_to_the_left_and_outside_are_fine() {
        let text = "[package]\nname = \"scenarios\"\n[dependencies]\nsim.workspace = true\n\
            calibrate.workspace = true\ntoml = \"1\"\n";
        assert_found(&crate_order("scenarios/Cargo.toml", text), &[]);
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let text = "[package]\nname = \"utils\"\n";
        assert_found(&crate_order("utils/Cargo.toml", text), &[(Rule::CrateOrder, 1)]);
    }

    #[test]
    fn rows_without_origin_are_found() {
        let bad = [
            "[[gpu]]\nname = \"x\"\nas_of = 2026-01-31\n",
            "[[gpu]]\nname = \"x\"\nsource = \"a page\"\n",
            "[[gpu]]\nname = \"x\"\nsource = \" \"\nas_of = 2026-01-31\n",
            "[[gpu]]\nname = \"x\"\nsource = \"a page\"\nas_of = \"lately\"\n",
            "[gpu.x]\nsource = \"a page\"\n",
            "[x]\nname = \"x\"\nas_of = \"2026-01\"\n",
            "[[gpu]]\nsource = \"a page\"\nas_of = 2026-01-31\n[[gpu]]\nsource = \"a page\"\n",
            "",
            "not toml",
        ];
        for text in bad {
            assert_found(&data_rows("calibrate/data/x.toml", text), &[(Rule::DataRow, 1)]);
        }
    }

    #[test]
    fn rows_with_origin_are_fine() {
        let fine = [
            "source = \"a page\"\nas_of = 2026-01-31\n[[gpu]]\nname = \"x\"\n",
            "version = 1\n[[gpu]]\nsource = \"a page\"\nas_of = 2026-01-31\n[gpu.memory]\nsize = 1\n",
            "[gpu.x]\nsource = \"a page\"\nas_of = \"2026-01\"\n",
            "[x]\nsource = \"a page\"\nas_of = \"2026-01-31\"\n",
        ];
        for text in fine {
            assert_found(&data_rows("calibrate/data/x.toml", text), &[]);
        }
    }

    #[test]
    fn scenarios_that_do_not_ask_are_found() {
        let bad = [
            "",
            "[scenario]\n",
            "# A support bot.\n[scenario]\n",
            "# A bot. Does it hold?\n",
            "[scenario]\n# Does it hold p95?\n",
        ];
        for text in bad {
            assert_found(&question("x.toml", text), &[(Rule::ScenarioQuestion, 1)]);
        }
    }

    #[test]
    fn scenarios_that_ask_are_fine() {
        let fine = [
            "# Does p99.9 hold at 1.5 times the load?\n[scenario]\n",
            "#:schema scenario.json\n\n# If traffic doubles,\n# do we hold p95? Twelve pools.\n",
        ];
        for text in fine {
            assert_found(&question("x.toml", text), &[]);
        }
    }
}
