//! Levers: key paths and the values that a planner or a sweep may give them.
//!
//! ```text
//! values = range | value { "," value }           (in a file, a list stands for the values)
//! range  = LOW ".." HIGH [ "step" WHOLE ]        whole numbers, both ends included
//!        | LOW ".." HIGH "in" COUNT              so many numbers, equally far apart
//! ```
//!
//! Invariants: `KEY=VALUE` of any value is an override that [`crate::Blueprint::resolve`] takes;
//! values are in the order in which they were written; a range goes up.
//!
//! Deliberately absent: whether a value is one that the key allows, which resolving says.

use crate::document::{Node, Value, bare_value, path_of, path_text};
use crate::kinds::{Kind, Refusal};
use crate::problem::{Place, Problem, ProblemKind, Site, shortened};
use crate::resolved::Lever;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// Values of one lever.
const MOST_VALUES: i128 = 10_000;
/// Values of all levers together.
pub(crate) const MOST_IN_ALL: usize = 100_000;
/// Digits of an end of a range: then every value is the double next to its decimal fraction.
const MOST_DIGITS: usize = 9;
/// Tables that say what is judged, which nobody may plan with.
const JUDGES: [&str; 4] = ["levers", "gates", "check", "objectives"];
/// What values look like.
const EXAMPLE: &str = "write a range like \"1..8\", \"1..9 step 2\" or \"0.5..0.9 in 5\", or a \
                       list like [\"h100-sxm\", \"h200-sxm\"]";

/// Values as they were written; a range is not yet spread out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// `low`, `low + step`, … up to `high`.
    Whole { low: i128, high: i128, step: i128 },
    /// `count` numbers from `low / 10^decimals` to `high / 10^decimals`.
    Even { low: i128, high: i128, decimals: u32, count: i128 },
    /// Each as an override has it.
    Listed(Vec<String>),
}

impl Values {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Values::Whole { low, high, step } => ((high - low) / step + 1) as usize,
            Values::Even { count, .. } => *count as usize,
            Values::Listed(list) => list.len(),
        }
    }

    /// Each as an override has it.
    pub(crate) fn spread(&self) -> Vec<String> {
        match self {
            Values::Whole { low, step, .. } => {
                (0..self.count() as i128).map(|at| (low + at * step).to_string()).collect()
            }
            Values::Even { low, high, decimals, count } => {
                // Both are below 2^53, so the quotient is the double next to the fraction.
                let parts = (10_i128.pow(*decimals) * (count - 1)) as f64;
                let value = |at: i128| (low * (count - 1 - at) + high * at) as f64 / parts;
                (0..*count).map(|at| value(at).to_string()).collect()
            }
            Values::Listed(list) => list.clone(),
        }
    }
}

/// The kind of a key below `[levers]`.
pub(crate) struct ValuesKind;

impl Kind for ValuesKind {
    type Value = Values;
    fn read(&self, node: &Node) -> Result<Values, Refusal> {
        match &node.value {
            Value::Text(text) => match range(text) {
                Some(range) => range.map_err(refusal),
                None => Err(refusal(format!("{:?} is not a range", shortened(text)))),
            },
            Value::List(items) => {
                counted(items.len()).map_err(refusal)?;
                let values: Result<_, String> = items.iter().map(as_override).collect();
                let values =
                    values.and_then(|values: Vec<String>| distinct(&values).map(|()| values));
                values.map(Values::Listed).map_err(refusal)
            }
            other => {
                let message = format!("expected a range or a list, found {}", other.kind());
                Err((ProblemKind::WrongType, message, Some(EXAMPLE.to_owned())))
            }
        }
    }
    fn schema(&self) -> Json {
        json!({"anyOf": [
            {"type": "string", "minLength": 4, "examples": ["1..8", "1..9 step 2", "0.5..0.9 in 5"]},
            {"type": "array", "minItems": 1, "maxItems": MOST_VALUES as i64, "items": {}},
        ]})
    }
}

/// A lever as the command line has it: `KEY=VALUES`, where the values are a range or separated by
/// commas, each as `--set` would take it. A comma inside brackets, braces or quotes separates
/// nothing.
///
/// ```
/// let lever = scenarios::parse_lever("pools.h100.replicas=1..3").expect("a lever");
/// assert_eq!(lever.values, ["1", "2", "3"]);
/// ```
///
/// # Errors
/// A key that is no path or may not be varied, no value, too many of them, a range that goes down.
pub fn parse_lever(text: &str) -> Result<Lever, Problem> {
    let shown = shortened(text).replace(['\n', '\r'], " ");
    let place = Place { file: format!("--vary {shown}").into(), line: 1, column: 1 };
    let site = Site { place, key: String::new() };
    let syntax = |message: String| Problem::new(ProblemKind::Syntax, &site, message);
    let example = "write it like pools.h100.replicas=1..8 or pools.h100.gpu=h100-sxm,h200-sxm";
    let (path, values) = text
        .split_once('=')
        .ok_or_else(|| syntax("a lever is `key.path=values`".to_owned()).help(example))?;
    let keys = path_of(path)
        .ok_or_else(|| syntax("the key path is not dot-separated TOML keys".to_owned()))?;
    let site = Site { key: path_text(&keys), ..site.clone() };
    let refuse = |message: String| Problem::new(ProblemKind::BadValue, &site, message);
    let key = lever_key(&keys).map_err(|message| refuse(message.to_owned()))?;
    let values = match range(values.trim()) {
        Some(range) => range.map(|range| range.spread()),
        None => separated(values),
    };
    let values = values.and_then(|values| distinct(&values).map(|()| values));
    let values = values.map_err(|message| refuse(message).help(example))?;
    Ok(Lever { key, values, site })
}

/// The key path of a lever, if it may be one.
pub(crate) fn lever_key(keys: &[String]) -> Result<String, &'static str> {
    if keys.first().is_some_and(|first| JUDGES.contains(&first.as_str())) {
        return Err("what a plan is judged by is no lever");
    }
    // An override ends its key at the first `=`, and its quotes know no escapes.
    if keys.iter().any(|key| key.is_empty() || key.contains(['=', '"'])) {
        return Err("an override cannot name this key");
    }
    Ok(path_text(keys))
}

fn refusal(message: String) -> Refusal {
    (ProblemKind::BadValue, message, Some(EXAMPLE.to_owned()))
}

/// A value that is there twice would be tried twice.
fn distinct(values: &[String]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match values.iter().find(|value| !seen.insert(value.as_str())) {
        Some(value) => Err(format!("{} is there twice", shortened(value))),
        None => Ok(()),
    }
}

fn counted(count: usize) -> Result<(), String> {
    match count {
        0 => Err("there is no value".to_owned()),
        _ if count as i128 > MOST_VALUES => {
            Err(format!("{count} values; at most {MOST_VALUES} are allowed"))
        }
        _ => Ok(()),
    }
}

/// A plain decimal number, as a whole number of `10^-decimals`.
fn decimal(text: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = digits.len() + fraction.len() <= MOST_DIGITS;
    let dangling = digits.is_empty() || text.ends_with('.');
    if dangling || !fits || !all_digits(digits) || !all_digits(fraction) {
        return None;
    }
    let number = format!("{whole}{fraction}").parse().ok()?;
    Some((number, u32::try_from(fraction.len()).ok()?))
}

/// A range; `None` when the text is none, because it does not begin with a number and two dots.
fn range(text: &str) -> Option<Result<Values, String>> {
    let (low, rest) = text.split_once("..")?;
    let low = low.trim();
    let number = low.strip_prefix('-').unwrap_or(low);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let words: Vec<&str> = rest.split_whitespace().take(4).collect();
    Some(ends(low, &words).and_then(|(low, high, decimals)| spaced(low, high, decimals, &words)))
}

/// Both ends as whole numbers of `10^-decimals`.
fn ends(low: &str, words: &[&str]) -> Result<(i128, i128, u32), String> {
    let number = |text: &str| {
        decimal(text).ok_or_else(|| {
            format!("`{}` is not a plain number of at most {MOST_DIGITS} digits", shortened(text))
        })
    };
    let (low, low_decimals) = number(low)?;
    let (high, high_decimals) = number(words.first().copied().unwrap_or_default())?;
    let decimals = low_decimals.max(high_decimals);
    // Nine digits and as many decimals stay far below what the type holds.
    let low = low * 10_i128.pow(decimals - low_decimals);
    let high = high * 10_i128.pow(decimals - high_decimals);
    if low.abs().max(high.abs()) >= 10_i128.pow(MOST_DIGITS as u32) {
        return Err(format!("the ends together have more than {MOST_DIGITS} digits"));
    }
    if low > high {
        return Err("the range goes down".to_owned());
    }
    Ok((low, high, decimals))
}

fn spaced(low: i128, high: i128, decimals: u32, words: &[&str]) -> Result<Values, String> {
    let whole = |text: &str| text.parse::<i128>().ok().filter(|_| text.len() <= MOST_DIGITS);
    let values = match words {
        [_] | [_, "step", _] if decimals > 0 => {
            let message = "a range of decimal numbers says how many there are, `0.5..0.9 in 5`";
            return Err(message.to_owned());
        }
        [_] => Values::Whole { low, high, step: 1 },
        [_, "step", step] => match whole(step) {
            Some(step) if step >= 1 => Values::Whole { low, high, step },
            _ => return Err(format!("the step `{}` is no number from 1 up", shortened(step))),
        },
        [_, "in", count] => match whole(count) {
            Some(count) if (2..=MOST_VALUES).contains(&count) && low < high => {
                Values::Even { low, high, decimals, count }
            }
            Some(_) if low == high => return Err("both ends of the range are the same".to_owned()),
            _ => {
                let count = shortened(count);
                return Err(format!("`{count}` is no number of values from 2 to {MOST_VALUES}"));
            }
        },
        _ => return Err("a range ends in its upper end, `step WHOLE` or `in COUNT`".to_owned()),
    };
    if let Values::Whole { low, high, step } = values {
        let count = (high - low) / step + 1;
        counted(usize::try_from(count).unwrap_or(usize::MAX))?;
    }
    Ok(values)
}

/// Values between commas that stand outside of brackets, braces and quotes.
fn separated(text: &str) -> Result<Vec<String>, String> {
    let (mut values, mut start, mut open) = (Vec::new(), 0, 0_usize);
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(mark), _) if mark == character && !escaped => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => open += 1,
            (None, ']' | '}') => {
                open = open.checked_sub(1).ok_or("a bracket is closed that was not opened")?;
            }
            (None, ',') if open == 0 => {
                values.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            (None, _) => {}
        }
        escaped = false;
    }
    if open > 0 || quote.is_some() {
        return Err("a bracket or quote is not closed".to_owned());
    }
    values.push(text.get(start..).unwrap_or_default());
    counted(values.len())?;
    let value = |text: &&str| match text.trim() {
        "" => Err("a value is empty".to_owned()),
        value => Ok(value.to_owned()),
    };
    values.iter().map(value).collect()
}

/// A value as an override has it.
fn as_override(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text_override(text, &node.place)),
        other => toml_of(other).map(|value| value.to_string()),
    }
}

/// A string as an override has it: without quotes where that reads back as the same, among other
/// values too.
pub(crate) fn text_override(text: &str, place: &Place) -> String {
    let marks = |c: char| c.is_control() || matches!(c, '"' | '\'' | '[' | ']' | '{' | '}' | ',');
    let bare = !text.contains(marks) && text.trim() == text && !text.is_empty();
    let same = || bare_value(text, place).value == Value::Text(text.to_owned());
    if bare && same() { text.to_owned() } else { toml::Value::from(text).to_string() }
}

fn toml_of(value: &Value) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Text(text) => text.clone().into(),
        Value::Integer(number) => {
            let number = number.and_then(|number| i64::try_from(number).ok());
            number.ok_or("a number is out of range")?.into()
        }
        Value::Float(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Date => return Err("a date is no value of any key".to_owned()),
        Value::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| toml_of(&item.value)).collect();
            toml::Value::Array(items?)
        }
        Value::Table(table) => {
            let entries = table.entries.iter();
            let entries = entries.map(|entry| Ok((entry.key.clone(), toml_of(&entry.node.value)?)));
            toml::Value::Table(entries.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        parse_lever(text).unwrap_or_else(|problem| panic!("{problem}")).values
    }

    #[test]
    fn ranges_are_spread_out_exactly() {
        assert_eq!(values("a=1..4"), ["1", "2", "3", "4"]);
        assert_eq!(values("a= 1 .. 9 step 3 "), ["1", "4", "7"]);
        assert_eq!(values("a=-1..1"), ["-1", "0", "1"]);
        assert_eq!(values("a=3..3"), ["3"]);
        assert_eq!(values("a=0.5..0.9 in 5"), ["0.5", "0.6", "0.7", "0.8", "0.9"]);
        assert_eq!(values("a=0.1..1 in 4"), ["0.1", "0.4", "0.7", "1"]);
        assert_eq!(values("a=1..2 in 3"), ["1", "1.5", "2"]);
        assert_eq!(values("a=0.0000001..0.1 in 2"), ["0.0000001", "0.1"]);
        assert_eq!(values("a=1..10000").len(), 10_000);
        let fine = values("a=0..999999999 in 10000");
        assert_eq!((fine.len(), fine[9_999].as_str()), (10_000, "999999999"));
    }

    #[test]
    fn commas_separate_values_outside_of_brackets_and_quotes() {
        assert_eq!(values("a.b=x, y ,z"), ["x", "y", "z"]);
        assert_eq!(values("a=$2.99/h"), ["$2.99/h"]);
        assert_eq!(values("a=file/../other.csv"), ["file/../other.csv"]);
        let lists = values(r#"a=["x", "y"],{ k = 1, l = "," },'a,b',"\",",z"#);
        assert_eq!(lists, [r#"["x", "y"]"#, r#"{ k = 1, l = "," }"#, "'a,b'", r#""\",""#, "z"]);
        let key = parse_lever("models.\"x.y\".served_by=a").expect("a lever").key;
        assert_eq!(key, "models.\"x.y\".served_by");
    }

    #[test]
    fn what_is_no_lever_is_refused() {
        for (text, message) in [
            ("", "key.path=values"),
            ("a", "key.path=values"),
            ("=1", "key path"),
            ("a..b=1", "key path"),
            ("a=", "a value is empty"),
            ("a=1,,2", "a value is empty"),
            ("a=[1", "not closed"),
            ("a='", "not closed"),
            ("a=1]", "was not opened"),
            ("a=8..1", "goes down"),
            ("a=0.9..0.5 in 3", "goes down"),
            ("a=0.5..0.9", "how many"),
            ("a=0.5..0.9 step 1", "how many"),
            ("a=0.5..0.9 in 1", "number of values"),
            ("a=0.5..0.9 in 10001", "number of values"),
            ("a=0.5..0.5 in 2", "the same"),
            ("a=1..9 step 0", "the step"),
            ("a=1..9 step -1", "the step"),
            ("a=1..9 by 2", "a range ends"),
            ("a=1..9 step 2 3", "a range ends"),
            ("a=1..", "not a plain number"),
            ("a=1...8", "not a plain number"),
            ("a=1..1e3", "not a plain number"),
            ("a=1..9999999999", "not a plain number"),
            ("a=0.00000001..99 in 3", "more than 9 digits"),
            ("a=1..10001", "at most 10000"),
            ("gates.p99=1,2", "judged by"),
            ("objectives.a.b=1", "judged by"),
        ] {
            let problem = parse_lever(text).expect_err(text).to_string();
            assert!(problem.contains(message) && problem.starts_with("--vary"), "{problem}");
        }
        let many = format!("a={}", "1,".repeat(10_000));
        assert!(parse_lever(&format!("{many}1")).is_err_and(|p| p.message.contains("at most")));
        assert!(parse_lever(&format!("a={}", "[".repeat(1_000_000))).is_err());
    }
}
