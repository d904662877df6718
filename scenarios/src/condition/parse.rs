//! Tokens as a tree, by operator precedence (Pratt, "Top down operator precedence", 1973).
//!
//! From loosest to tightest: `||` `or`, `&&` `and`, the word `not`, comparisons and `in`, `+` `-`,
//! `*` `/`, `!` and a minus in front. Operators of one level go from left to right; comparisons do
//! not chain. This is CEL's order; the word `not` has the place it has in Python and SQL.
//!
//! Invariants: a tree has at most [`MOST_PARTS`] parts, and recursion is at most [`DEEPEST`] deep
//! while parsing, so neither reading a tree nor dropping it can use up the stack.
//!
//! Deliberately absent: which names exist and what may be compared with what (see `lower`).

use super::lexer::{Lexer, Token};
use super::{Fault, SUPPORTED};
use crate::problem::{ProblemKind, shortened};
use sim::predicate::BackendSignal;
use std::ops::Range;

/// Values, names and operators of a condition.
const MOST_PARTS: usize = 256;
/// Parentheses and signs in front that may be open at once.
const DEEPEST: usize = 32;

/// A part of a condition and the byte it is blamed at.
#[derive(Debug)]
pub(super) struct Expr<'a> {
    pub(super) at: usize,
    pub(super) what: What<'a>,
}

/// What a part is.
#[derive(Debug)]
pub(super) enum What<'a> {
    Number(f64),
    Text(String),
    Truth(bool),
    Name(&'a str),
    Backend { signal: BackendSignal, name: String, name_at: usize },
    Not(Box<Expr<'a>>),
    Negative(Box<Expr<'a>>),
    Two { operator: Operator, left: Box<Expr<'a>>, right: Box<Expr<'a>> },
    In { item: Box<Expr<'a>>, list: Vec<Expr<'a>>, negated: bool },
}

/// An operator between two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
    NotIn,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Operators that are words.
pub(super) const OPERATOR_WORDS: [&str; 4] = ["and", "or", "not", "in"];

const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const TIGHTEST: u8 = 7;

impl Operator {
    /// How tightly it binds.
    fn power(self) -> u8 {
        match self {
            Operator::Or => 1,
            Operator::And => 2,
            Operator::Add | Operator::Subtract => 5,
            Operator::Multiply | Operator::Divide => 6,
            _ => COMPARISON,
        }
    }

    fn of(token: &Token<'_>) -> Option<Operator> {
        Some(match token {
            Token::Sign("||") | Token::Word("or") => Operator::Or,
            Token::Sign("&&") | Token::Word("and") => Operator::And,
            Token::Sign("==") => Operator::Equal,
            Token::Sign("!=") => Operator::NotEqual,
            Token::Sign("<") => Operator::Less,
            Token::Sign("<=") => Operator::AtMost,
            Token::Sign(">") => Operator::More,
            Token::Sign(">=") => Operator::AtLeast,
            Token::Sign("+") => Operator::Add,
            Token::Sign("-") => Operator::Subtract,
            Token::Sign("*") => Operator::Multiply,
            Token::Sign("/") => Operator::Divide,
            Token::Word("in") => Operator::In,
            // `not` behind a value can only be the first half of `not in`.
            Token::Word("not") => Operator::NotIn,
            _ => return None,
        })
    }
}

/// What of a backend a word asks for.
pub(super) fn backend_signal(word: &str) -> Option<BackendSignal> {
    match word {
        "in_flight" => Some(BackendSignal::InFlight),
        "waiting" => Some(BackendSignal::Waiting),
        "breaker_open" => Some(BackendSignal::BreakerOpen),
        _ => None,
    }
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Expr<'_>, Fault> {
    let mut lexer = Lexer::new(text);
    let (token, span) = lexer.next()?;
    if token == Token::End {
        return Err(Fault::new(0, ProblemKind::BadValue, "the condition is empty"));
    }
    let mut parser = Parser { lexer, token, span, depth: 0, parts: 0 };
    let whole = parser.expression(0)?;
    match parser.token {
        Token::End => Ok(whole),
        _ => Err(parser.unexpected("an operator")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    span: Range<usize>,
    depth: usize,
    parts: usize,
}

impl<'a> Parser<'a> {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span.start, ProblemKind::BadValue, message)
    }

    fn shown(&self) -> String {
        match &self.token {
            Token::Number(number) => format!("{number}"),
            Token::Text(text) => format!("{:?}", shortened(text)),
            Token::Word(word) => format!("`{}`", shortened(word)),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        }
    }

    /// What is wrong when `wanted` should stand here.
    fn unexpected(&self, wanted: &str) -> Fault {
        let what = match self.token {
            Token::Sign("(") => "function calls are not supported",
            Token::Sign(".") => "members with `.` are not supported",
            Token::Sign("[") => "indexes in brackets are not supported",
            _ => {
                let fault = self.fault(format!("expected {wanted}, found {}", self.shown()));
                let small = |word: &str| OPERATOR_WORDS.contains(&&*word.to_ascii_lowercase());
                return match self.token {
                    Token::Word(word) if small(word) => fault.help("write it in small letters"),
                    _ => fault,
                };
            }
        };
        self.fault(what).help(SUPPORTED)
    }

    /// Steps over the current token.
    fn advance(&mut self) -> Result<Token<'a>, Fault> {
        let (next, span) = self.lexer.next()?;
        self.span = span;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Fault> {
        if self.token == Token::Sign(sign) {
            return self.advance().map(|_| ());
        }
        Err(self.fault(format!("expected `{sign}`, found {}", self.shown())))
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            let message = format!("the condition has more than {MOST_PARTS} parts");
            return Err(self.fault(message));
        }
        Ok(())
    }

    /// A part made of operators that bind at least so tightly.
    fn expression(&mut self, least: u8) -> Result<Expr<'a>, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault(format!("the condition nests deeper than {DEEPEST} levels")));
        }
        let mut left = self.operand()?;
        while let Some(operator) = Operator::of(&self.token)
            && operator.power() >= least
        {
            left = self.joined(left, operator)?;
            if operator.power() == COMPARISON
                && Operator::of(&self.token).is_some_and(|next| next.power() == COMPARISON)
            {
                let fault = self.fault("comparisons do not chain");
                return Err(fault.help("join two comparisons with `&&`"));
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The operator at the current token and what is to the right of it.
    fn joined(&mut self, left: Expr<'a>, operator: Operator) -> Result<Expr<'a>, Fault> {
        self.count()?;
        let at = self.span.start;
        self.advance()?;
        if operator == Operator::NotIn {
            match self.token {
                Token::Word("in") => self.advance()?,
                _ => return Err(self.unexpected("`in` after `not`")),
            };
        }
        let negated = operator == Operator::NotIn;
        let what = if negated || operator == Operator::In {
            What::In { item: Box::new(left), list: self.list()?, negated }
        } else {
            let right = Box::new(self.expression(operator.power() + 1)?);
            What::Two { operator, left: Box::new(left), right }
        };
        Ok(Expr { at, what })
    }

    /// `[literal, …]`
    fn list(&mut self) -> Result<Vec<Expr<'a>>, Fault> {
        let mut list = Vec::new();
        self.expect("[")?;
        while self.token != Token::Sign("]") {
            let item = self.operand()?;
            if !matches!(item.what, What::Number(_) | What::Text(_) | What::Truth(_)) {
                let message = "a list holds numbers, strings, true and false only";
                return Err(Fault::new(item.at, ProblemKind::BadValue, message));
            }
            list.push(item);
            if self.token != Token::Sign("]") {
                self.expect(",")?;
            }
        }
        if list.is_empty() {
            return Err(self.fault("the list is empty, so nothing is in it"));
        }
        self.advance()?;
        Ok(list)
    }

    fn operand(&mut self) -> Result<Expr<'a>, Fault> {
        self.count()?;
        let at = self.span.start;
        let what = match &self.token {
            Token::Word(word) => {
                let word = *word;
                return self.word(word, at);
            }
            Token::Sign("(") => {
                self.advance()?;
                let inside = self.expression(0)?;
                self.expect(")")?;
                return Ok(inside);
            }
            Token::Sign("!") => {
                self.advance()?;
                What::Not(Box::new(self.expression(TIGHTEST)?))
            }
            Token::Sign("-") => {
                self.advance()?;
                match self.expression(TIGHTEST)? {
                    Expr { what: What::Number(number), .. } => What::Number(-number),
                    below => What::Negative(Box::new(below)),
                }
            }
            Token::Number(_) | Token::Text(_) => match self.advance()? {
                Token::Number(number) => What::Number(number),
                Token::Text(text) => What::Text(text),
                _ => return Err(self.unexpected("a value")),
            },
            Token::Sign("[") => {
                return Err(self.fault("a list stands only behind `in`").help(SUPPORTED));
            }
            _ => {
                let found = self.shown();
                return Err(self.fault(format!("expected a value, found {found}")));
            }
        };
        Ok(Expr { at, what })
    }

    fn word(&mut self, word: &'a str, at: usize) -> Result<Expr<'a>, Fault> {
        if let Some(signal) = backend_signal(word) {
            let (name, name_at) = self.backend(word)?;
            return Ok(Expr { at, what: What::Backend { signal, name, name_at } });
        }
        let what = match word {
            "and" | "or" | "in" => {
                return Err(self.fault(format!("expected a value, found `{word}`")));
            }
            "null" => return Err(self.fault("`null` is not supported").help(SUPPORTED)),
            "not" => {
                self.advance()?;
                let below = Box::new(self.expression(NOT)?);
                return Ok(Expr { at, what: What::Not(below) });
            }
            "true" | "false" => What::Truth(word == "true"),
            _ => What::Name(word),
        };
        self.advance()?;
        match (&what, &self.token) {
            (What::Name(_), Token::Sign("(" | "." | "[")) => Err(self.unexpected("an operator")),
            _ => Ok(Expr { at, what }),
        }
    }

    /// `.NAME` or `["NAME"]` behind the current word.
    fn backend(&mut self, word: &str) -> Result<(String, usize), Fault> {
        let (name, at) = if let Some((name, at)) = self.lexer.backend_name() {
            self.advance()?;
            (name.to_owned(), at)
        } else {
            self.advance()?;
            if self.token != Token::Sign("[") {
                let message = format!("`{word}` needs the name of a backend");
                let help = format!("write `{word}.NAME` or `{word}[\"NAME\"]`");
                return Err(self.fault(message).help(help));
            }
            self.advance()?;
            let at = self.span.start;
            let Token::Text(name) = self.token.clone() else {
                return Err(self.unexpected("a backend's name in quotes"));
            };
            self.advance()?;
            self.expect("]")?;
            (name, at)
        };
        if name.is_empty() {
            let message = "the name of the backend is empty";
            return Err(Fault::new(at, ProblemKind::BadValue, message));
        }
        Ok((name, at))
    }
}
