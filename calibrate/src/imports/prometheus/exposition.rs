//! Prometheus' text format, line by line.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>: `name{label="value"} number`,
//! optionally with a timestamp; lines that start with `#` describe. The crates that read it allow
//! no colon in names or bring their own metrics registry, so it is read here.
//!
//! Invariants: a sample has a name, its labels with escapes undone, and a value that may be `NaN` or
//! infinite; anything else is a problem with its line.
//!
//! Deliberately absent: types and help texts, timestamps, exemplars, names in quotes.

use super::super::problem::{Problems, quoted};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    labels: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) line: u64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// Every sample of a text.
pub(super) fn samples(text: &str, problems: &mut Problems) -> Vec<Sample> {
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match sample(content, line) {
            Some(sample) => found.push(sample),
            None => {
                let message = format!("expected `name{{labels}} value`, found {}", quoted(content));
                problems.push(line, "", message);
            }
        }
    }
    found
}

fn sample(content: &str, line: u64) -> Option<Sample> {
    let end = content.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')?;
    let (name, rest) = content.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value, line })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start().trim_start_matches(',').trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, value) = rest.split_once('=')?;
        let (value, after) = string(value.trim_start().strip_prefix('"')?)?;
        found.push((name.trim().to_owned(), value));
        rest = after;
    }
}

/// A text up to its closing quote, and what follows it.
fn string(rest: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &rest[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_values_and_escapes_are_read() {
        let text = "# TYPE a counter\n\nvllm:a_total{model=\"x,}\\\"\\\\y\\n\", engine=\"0\",} 8.1e+06 17\n\
                    up 1\nb{le=\"+Inf\"} NaN # {trace=\"1\"} 3\n";
        let mut problems = Problems::of("x");
        let found = samples(text, &mut problems);
        assert!(problems.is_empty());
        assert_eq!(found[0].label("model"), Some("x,}\"\\y\n"));
        assert_eq!((found[0].label("engine"), found[0].value), (Some("0"), 8.1e6));
        assert_eq!((found[1].name.as_str(), found[1].line), ("up", 4));
        assert!(found[2].value.is_nan());
    }

    #[test]
    fn what_is_no_sample_is_a_problem() {
        let bad =
            ["a", "a{", "a{b}", "a{b=\"c} 1", "1a 2", "{a=\"b\"} 1", "a b", "a{b=\"\\", "é 1"];
        let mut problems = Problems::of("x");
        assert!(samples(&bad.join("\n"), &mut problems).is_empty());
        assert_eq!(problems.finish(()).expect_err("all").problems.len(), bad.len());
    }
}
