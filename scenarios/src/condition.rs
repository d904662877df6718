//! Conditions: from the text of a `when` to a [`Predicate`].
//!
//! ```text
//! text ─ lexer, parse ─► Expr ─ lower, names ─► sim::predicate::Predicate
//! ```
//!
//! The language is a subset of CEL with two additions: the words `and`, `or` and `not`, and names
//! of backends with a minus in them. `docs/model/conditions.md` describes all of it.
//!
//! The parser is our own, five hundred lines with its lexer, because CEL's does not fit:
//! `not a == b` means `not (a == b)` and `in_flight.h100-small` is one name, and neither can be
//! turned into CEL without parsing it first; the crate `cel` comes with its interpreter and sixteen
//! crates that nothing else here uses; and its syntax errors are those of a generated parser. Where
//! both accept a text they mean the same, but for division: 5 / 2 is 2.5 here, and 5 / 0 is 0.
//!
//! Invariants: no text makes anything here panic, or work longer than its 2,000 characters and 256
//! parts allow; every name is known, every word can be taken, every comparison can come out both
//! ways as far as constants tell; all problems of a condition that can be parsed come at once.
//!
//! Deliberately absent: evaluation (see `sim::predicate`), and which key a condition belongs to.

mod lexer;
mod lower;
pub(crate) mod names;
mod parse;
#[cfg(test)]
mod tests;

use crate::document::{Node, Value};
use crate::kinds::{Kind, Refusal};
use crate::problem::{At, Place, Problem, ProblemKind, Site};
use lexer::Token;
use names::Names;
use serde_json::{Value as Json, json};
use sim::predicate::{Predicate, Signal};
use std::ops::Range;

/// Characters of a condition.
const LONGEST: usize = 2_000;

/// What messages say when something of CEL is missing here.
const SUPPORTED: &str = "supported: == != < <= > >=, in [list], + - * /, &&, ||, !, parentheses, \
                         numbers, strings, true, false";

/// The text of a condition, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionText {
    /// As the file's syntax gives it, escapes resolved.
    text: String,
    /// Whether its characters stand in the file one by one, right of an opening quote.
    plain: bool,
}

impl ConditionText {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// The kind of a key that holds a condition.
pub(crate) struct ConditionKind;

impl Kind for ConditionKind {
    type Value = ConditionText;
    fn read(&self, node: &Node) -> Result<ConditionText, Refusal> {
        match &node.value {
            Value::Text(text) => Ok(ConditionText { text: text.clone(), plain: node.plain }),
            other => {
                let message = format!("expected a condition in quotes, found {}", other.kind());
                let help = "write it like \"confidence < 0.72\"".to_owned();
                Err((ProblemKind::WrongType, message, Some(help)))
            }
        }
    }
    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": LONGEST})
    }
}

/// Something wrong at a byte of the condition's text.
#[derive(Debug)]
struct Fault {
    at: usize,
    kind: ProblemKind,
    message: String,
    help: Option<String>,
}

impl Fault {
    fn new(at: usize, kind: ProblemKind, message: impl Into<String>) -> Fault {
        Fault { at, kind, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
}

/// Compiles a condition.
///
/// # Errors
/// Everything that is wrong with it, from left to right; what cannot be parsed is one problem.
pub(crate) fn compile(
    condition: &At<ConditionText>,
    names: &mut Names<'_>,
) -> Result<Predicate, Vec<Problem>> {
    let ConditionText { text, plain } = &condition.value;
    faultless(text, names).map_err(|mut faults| {
        faults.sort_by_key(|fault| fault.at);
        let problem = |fault| placed(fault, text, *plain, &condition.site);
        faults.into_iter().map(problem).collect()
    })
}

fn faultless(text: &str, names: &mut Names<'_>) -> Result<Predicate, Vec<Fault>> {
    if text.chars().count() > LONGEST {
        let message = format!("the condition is longer than {LONGEST} characters");
        return Err(vec![Fault::new(0, ProblemKind::BadValue, message)]);
    }
    let expression = parse::parse(text).map_err(|fault| vec![fault])?;
    lower::lower(&expression, names)
}

/// Whether a condition asks for the confidence of an answer, so that it has to wait for one.
pub(crate) fn reads_confidence(predicate: &Predicate) -> bool {
    predicate.reads(|signal| signal == Signal::Confidence)
}

/// The numbers below which a condition wants the confidence of an answer to be, and the bytes
/// where they stand; of a text that is no condition, those before its fault.
#[must_use]
pub fn confidence_bounds(text: &str) -> Vec<(Range<usize>, f64)> {
    let mut lexer = lexer::Lexer::new(text);
    let mut tokens = Vec::new();
    while let Ok((token, bytes)) = lexer.next() {
        if token == Token::End {
            break;
        }
        tokens.push((token, bytes));
    }
    let confidence = |token: &Token<'_>| *token == Token::Word("confidence");
    let bound = |three: &[(Token<'_>, Range<usize>)]| match three {
        [(word, _), (Token::Sign("<" | "<="), _), (Token::Number(number), bytes)]
        | [(Token::Number(number), bytes), (Token::Sign(">" | ">="), _), (word, _)]
            if confidence(word) =>
        {
            Some((bytes.clone(), *number))
        }
        _ => None,
    };
    tokens.windows(3).filter_map(bound).collect()
}

/// A fault where it stands in the file; where the file's syntax hides that, the string's start,
/// and the position inside the condition in words.
fn placed(fault: Fault, text: &str, plain: bool, site: &Site) -> Problem {
    let before = text.get(..fault.at).unwrap_or(text);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut site = site.clone();
    let mut message = fault.message;
    if plain {
        let column = site.place.column.saturating_add(number(before.chars().count() + 1));
        site.place = Place { column, ..site.place };
    } else {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        let line = if text.contains('\n') { format!("line {line}, ") } else { String::new() };
        message = format!("{line}column {column} of the condition: {message}");
    }
    Problem::refused(&site, (fault.kind, message, fault.help))
}
