//! The text of a condition as tokens, one at a time.
//!
//! Invariants: a token spans whole characters; what is neither a token nor a blank is a fault that
//! names it; the name of a backend is read only where the parser asks for one, because only there
//! a minus belongs to a name.
//!
//! Deliberately absent: which words are operators, and which names exist.

use super::{Fault, SUPPORTED};
use crate::problem::{ProblemKind, shortened};
use std::ops::Range;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Number(f64),
    Text(String),
    /// A name, or an operator that is a word.
    Word(&'a str),
    /// Anything made of other characters.
    Sign(&'static str),
    End,
}

/// Signs, the longer ones first.
const SIGNS: [&str; 19] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", "+", "-", "*", "/",
    ".",
];

/// Signs of other languages, and what to write instead.
const FOREIGN: [(char, &str); 6] = [
    ('=', "compare with `==`"),
    ('&', "write `&&` or `and`"),
    ('|', "write `||` or `or`"),
    ('?', SUPPORTED),
    ('%', "a share is written 0.72"),
    ('{', SUPPORTED),
];

/// A position in a text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The text from here on as far as its characters are wanted.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let (taken, _) = rest.split_at(rest.find(|c| !wanted(c)).unwrap_or(rest.len()));
        self.at += taken.len();
        taken
    }

    /// The next token and the bytes it spans.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, Range<usize>), Fault> {
        self.take(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let start = self.at;
        let token = self.token()?;
        Ok((token, start..self.at))
    }

    fn token(&mut self) -> Result<Token<'a>, Fault> {
        let rest = self.rest();
        let mut characters = rest.chars();
        let Some(first) = characters.next() else { return Ok(Token::End) };
        let second = characters.next();
        match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                Ok(Token::Word(self.take(|c| c.is_ascii_alphanumeric() || c == '_')))
            }
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '\'' | '"' => self.quoted(first),
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => {
                    self.at += sign.len();
                    Ok(Token::Sign(sign))
                }
                None => Err(self.foreign(first)),
            },
        }
    }

    fn foreign(&self, sign: char) -> Fault {
        let known = FOREIGN.iter().find(|(known, _)| *known == sign);
        let shown = match sign {
            _ if sign.is_control() || sign.is_whitespace() => sign.escape_default().to_string(),
            _ => sign.to_string(),
        };
        let fault = |what: &str| {
            Fault::new(self.at, ProblemKind::BadValue, format!("`{shown}` {what} in a condition"))
        };
        match known {
            Some((_, help)) => fault("is not supported").help(*help),
            None => fault("has no meaning").help(SUPPORTED),
        }
    }

    /// Digits, perhaps a fraction, perhaps an exponent, and nothing glued to them.
    fn number(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let mut written = self.take(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
        // The sign of an exponent is the one sign inside a number.
        if written.ends_with(['e', 'E']) && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
            written = self.text.get(start..self.at).unwrap_or_default();
        }
        let fault = |message: String| Fault::new(start, ProblemKind::BadValue, message);
        let shape = written.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
        let number = written.parse::<f64>().ok().filter(|_| shape && !written.ends_with('.'));
        match number {
            Some(number) if number.is_finite() => Ok(Token::Number(number)),
            Some(_) => Err(fault(format!("{} is too large", shortened(written)))),
            None if crate::quantity::span(written).is_ok() => {
                let help = format!("write it like \"{written}\"");
                Err(fault(format!("the duration {written} has no quotes")).help(help))
            }
            None => Err(fault(format!("`{}` is not a number", shortened(written)))),
        }
    }

    /// A string up to the same quote.
    fn quoted(&mut self, quote: char) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, character)) = characters.next() {
            match character {
                _ if character == quote => {
                    self.at = start + offset + 1;
                    return Ok(Token::Text(text));
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\\' | '\'' | '"'))) => text.push(escaped),
                    _ => {
                        let message = "a backslash stands only before a quote or a backslash";
                        return Err(Fault::new(start + offset, ProblemKind::BadValue, message));
                    }
                },
                _ => text.push(character),
            }
        }
        let message = format!("the string has no closing {quote}");
        Err(Fault::new(start, ProblemKind::BadValue, message))
    }

    /// The name in `.NAME`, if that follows at once; its first byte comes with it.
    pub(super) fn backend_name(&mut self) -> Option<(&'a str, usize)> {
        self.rest().strip_prefix('.')?;
        self.at += 1;
        let at = self.at;
        Some((self.take(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), at))
    }
}
