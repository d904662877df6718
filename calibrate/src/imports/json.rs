//! Reading JSON with problems that name the path of the value.
//!
//! Invariants: an absent key and a `null` are the same; a value of the wrong kind is a problem, not
//! an absent value. `NaN` and `Infinity`, which Python writes and JSON does not know, are absent
//! too. Nesting is bounded by `serde_json`, so a hostile document cannot overflow the
//! stack.
//!
//! Deliberately absent: refusing keys that are not read. Tools add some with every version.

use super::problem::{Problems, quoted};
use super::value;
use serde_json::Value;
use sim::units::{Span, Tokens};
use std::borrow::Cow;

/// How a value is reached from the one around it.
#[derive(Clone, Copy, Debug)]
enum Step<'v> {
    Root,
    Key(&'v str),
    Index(usize),
}

/// A value and the way to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'v, 'p> {
    pub(super) value: &'v Value,
    /// Line at which its document starts, from 1.
    pub(super) line: u64,
    step: Step<'v>,
    up: Option<&'p Node<'v, 'p>>,
}

/// Parses every JSON value of a text, however they are separated, with the line of each. Stops at
/// the first that is no JSON, after which nothing can be told apart.
pub(super) fn documents(text: &str, problems: &mut Problems) -> Vec<(u64, Value)> {
    let text = &*without_python_numbers(text);
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut found = Vec::new();
    let (mut line, mut counted) = (1, 0);
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let start = text.len() - rest.trim_start().len();
        line += text[counted..start].bytes().filter(|byte| *byte == b'\n').count() as u64;
        counted = start;
        match stream.next() {
            Some(Ok(value)) => found.push((line, value)),
            Some(Err(error)) => {
                problems.push(error.line() as u64, "", format!("not JSON: {error}"));
                return found;
            }
            None => return found,
        }
    }
}

/// Parses one JSON value a line, skipping blank lines; a line that is no JSON is a problem.
pub(super) fn lines(text: &str, problems: &mut Problems) -> Vec<(u64, Value)> {
    let text = without_python_numbers(text);
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(content) {
            Ok(value) => found.push((line, value)),
            Err(error) => {
                let column = error.column();
                problems.push(line, "", format!("not JSON at column {column}: {error}"));
            }
        }
    }
    found
}

/// The text with `null` for numbers that only Python's JSON has; what stands in quotes stays.
fn without_python_numbers(text: &str) -> Cow<'_, str> {
    const NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !NUMBERS.iter().any(|number| text.contains(number)) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let (mut rest, mut quoted) = (text, false);
    while let Some(character) = rest.chars().next() {
        let number = NUMBERS.iter().find(|number| !quoted && rest.starts_with(**number));
        let escape = quoted && character == '\\';
        let length = match number {
            Some(number) => number.len(),
            None => rest.chars().take(1 + usize::from(escape)).map(char::len_utf8).sum(),
        };
        cleaned.push_str(if number.is_some() { "null" } else { &rest[..length] });
        quoted ^= character == '"';
        rest = &rest[length..];
    }
    Cow::Owned(cleaned)
}

impl<'v, 'p> Node<'v, 'p> {
    pub(super) fn root(line: u64, value: &'v Value) -> Node<'v, 'p> {
        Node { value, line, step: Step::Root, up: None }
    }

    /// Path of keys from the root of the document.
    pub(super) fn path(&self) -> String {
        let mut steps = Vec::new();
        let mut here = Some(self);
        while let Some(node) = here {
            steps.push(node.step);
            here = node.up;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Root => {}
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// Reports that this value is not what it should be.
    pub(super) fn wrong(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.push(self.line, self.path(), message);
    }

    fn not(&self, problems: &mut Problems, expected: &str) {
        let found = quoted(&self.value.to_string());
        self.wrong(problems, format!("expected {expected}, found {found}"));
    }

    /// The value of a key, unless it is absent or null.
    pub(super) fn get<'q>(&'q self, key: &'v str) -> Option<Node<'v, 'q>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Node { value, line: self.line, step: Step::Key(key), up: Some(self) })
    }

    /// The value of a key that has to be there.
    pub(super) fn need<'q>(
        &'q self,
        key: &'v str,
        problems: &mut Problems,
    ) -> Option<Node<'v, 'q>> {
        let found = self.get(key);
        if found.is_none() {
            self.wrong(problems, format!("the key `{key}` is missing"));
        }
        found
    }

    /// The members of an object, in the order of their names.
    pub(super) fn members<'q>(&'q self) -> impl Iterator<Item = (&'v str, Node<'v, 'q>)> {
        self.value.as_object().into_iter().flatten().map(|(key, value)| {
            let step = Step::Key(key);
            (key.as_str(), Node { value, line: self.line, step, up: Some(self) })
        })
    }

    /// The items of an array; a problem and nothing if it is none.
    pub(super) fn items<'q>(&'q self, problems: &mut Problems) -> Vec<Node<'v, 'q>> {
        let Some(items) = self.value.as_array() else {
            self.not(problems, "an array");
            return Vec::new();
        };
        let node = |(index, value)| {
            let step = Step::Index(index);
            Node { value, line: self.line, step, up: Some(self) }
        };
        items.iter().enumerate().map(node).collect()
    }

    /// A finite number.
    pub(super) fn number(&self, problems: &mut Problems) -> Option<f64> {
        let number = self.value.as_f64().filter(|number| number.is_finite());
        if number.is_none() {
            self.not(problems, "a number");
        }
        number
    }

    /// A whole number from 0, or a text of its digits as OTLP writes 64-bit integers.
    pub(super) fn whole(&self, problems: &mut Problems) -> Option<u64> {
        let whole = match self.value {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        };
        if whole.is_none() {
            self.not(problems, "a whole number from 0");
        }
        whole
    }

    /// A whole number from 0 that fits 32 bits.
    pub(super) fn count(&self, problems: &mut Problems) -> Option<u32> {
        let count = u32::try_from(self.whole(problems)?);
        if count.is_err() {
            self.not(problems, "a whole number below 2³²");
        }
        count.ok()
    }

    /// A number of tokens.
    pub(super) fn tokens(&self, problems: &mut Problems) -> Option<Tokens> {
        let number = self.number(problems)?;
        value::tokens(number).map_err(|message| self.wrong(problems, message)).ok()
    }

    /// A duration in `unit` seconds.
    pub(super) fn span(&self, unit: f64, problems: &mut Problems) -> Option<Span> {
        let number = self.number(problems)?;
        value::span(number, unit).map_err(|message| self.wrong(problems, message)).ok()
    }

    /// A text.
    pub(super) fn text(&self, problems: &mut Problems) -> Option<&'v str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.not(problems, "a text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_lines_and_values_their_paths() {
        let mut problems = Problems::of("x.json");
        let found = documents("\n{\"a\": [1, {\"b\": \"-3\"}]}\n\n{}\n", &mut problems);
        let at: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(at, [2, 4]);
        let root = Node::root(2, &found[0].1);
        let list = root.need("a", &mut problems).expect("there");
        let items = list.items(&mut problems);
        assert_eq!(items[1].get("b").and_then(|node| node.whole(&mut problems)), None);
        root.need("c", &mut problems);
        let errors = problems.finish(()).expect_err("two problems").to_string();
        assert_eq!(
            errors,
            "x.json:2: `a[1].b`: expected a whole number from 0, found `\"-3\"`\n\
             x.json:2: the key `c` is missing"
        );
    }

    #[test]
    fn numbers_that_only_python_writes_are_absent() {
        let text = "{\"a\": NaN, \"b\": [-Infinity, 1], \"c\": \"NaN \\\" Infinity\"}";
        let mut problems = Problems::of("x.json");
        let found = documents(text, &mut problems);
        let expected = serde_json::json!({"a": null, "b": [null, 1], "c": "NaN \" Infinity"});
        assert_eq!(found, [(1, expected.clone())]);
        assert_eq!(lines(text, &mut problems), [(1, expected)]);
        assert!(problems.is_empty());
    }

    #[test]
    fn a_line_that_is_no_json_does_not_hide_the_others() {
        let mut problems = Problems::of("x.jsonl");
        assert_eq!(lines("{}\n{\n\n[]\nnope\n", &mut problems).len(), 2);
        let errors = problems.finish(()).expect_err("two problems");
        let at: Vec<Option<u64>> = errors.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(at, [Some(2), Some(5)]);
    }
}
