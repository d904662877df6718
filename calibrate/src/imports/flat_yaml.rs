//! The part of YAML that run descriptions use: `key: value` lines, one level of indented keys.
//!
//! Invariants: a line that is neither is a problem, never skipped; quotes around a value are taken
//! off. Keys of the inner level are written `outer.inner`.
//!
//! Deliberately absent: everything else of YAML. Lists, anchors, tags and several lines of text
//! occur in none of these files, and a whole YAML library would bring its own ways to be attacked.

use super::problem::{Problems, quoted};

/// One `key: value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: u64,
}

/// Reads a text of `key: value` lines; comments and blank lines are skipped.
pub(super) fn read(text: &str, problems: &mut Problems) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut outer: Option<String> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim_end();
        let bare = content.trim_start();
        if bare.is_empty() || bare.starts_with('#') || bare == "---" {
            continue;
        }
        let Some((key, value)) = bare.split_once(':').filter(|(key, value)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let spaced = value.is_empty() || value.starts_with(' ');
            spaced && !key.is_empty() && !key.starts_with('-') && key.chars().all(plain)
        }) else {
            problems.push(line, "", format!("expected `key: value`, found {}", quoted(bare)));
            continue;
        };
        let indented = bare.len() < content.len();
        let value = unquoted(value.trim());
        if value.is_empty() && !indented {
            outer = Some(key.to_owned());
            continue;
        }
        let key = match (&outer, indented) {
            (Some(outer), true) => format!("{outer}.{key}"),
            _ => key.to_owned(),
        };
        if !indented {
            outer = None;
        }
        entries.push(Entry { key, value: value.to_owned(), line });
    }
    entries
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    // A comment after a plain value.
    value.split(" #").next().unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_keys_and_one_level_are_read() {
        let text = "model: a/b-c\n# none\ntarget: \"http://x:80\"\nseed: 4 # why\ndata:\n  \
                    prompt_tokens: 7\n\nlast: 1\n";
        let mut problems = Problems::of("x.yaml");
        let entries = read(text, &mut problems);
        let found: Vec<(&str, &str, u64)> = entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.as_str(), entry.line))
            .collect();
        assert_eq!(
            found,
            [
                ("model", "a/b-c", 1),
                ("target", "http://x:80", 3),
                ("seed", "4", 4),
                ("data.prompt_tokens", "7", 6),
                ("last", "1", 8)
            ]
        );
        assert!(problems.is_empty());
    }

    #[test]
    fn what_is_no_key_is_a_problem() {
        let mut problems = Problems::of("x.yaml");
        assert_eq!(read("a: 1\n- b\nc\n{d: 1}\n", &mut problems).len(), 1);
        let errors = problems.finish(()).expect_err("three");
        let at: Vec<Option<u64>> = errors.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(at, [Some(2), Some(3), Some(4)]);
    }
}
