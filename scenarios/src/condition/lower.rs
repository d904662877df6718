//! A parsed condition as operations: names looked up, kinds checked, words and durations read.
//!
//! A string has no kind of its own: beside a duration it is a duration, beside a word it is one of
//! the words that name takes.
//!
//! Invariants: whatever is lowered without a fault is well formed for [`Predicate::new`], except
//! that it may need too many values at once; a part that is faulty is reported once, not again by
//! what it is part of.
//!
//! Deliberately absent: optimisation; conditions are a handful of operations.

use super::names::{FIXED, Names, Sort};
use super::parse::{Expr, Operator, What};
use super::{Fault, SUPPORTED};
use crate::problem::{ProblemKind, did_you_mean, shortened};
use crate::quantity;
use sim::predicate::{BackendSignal, DEEPEST, Op, Predicate, Signal, Value};

/// What a part of a condition is.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Wrong, and reported.
    Failed,
    Truth,
    Number,
    Duration,
    /// A string that nothing has given a meaning yet.
    Text(String),
    /// The intent, or an attribute that is not always a number.
    Word(Subject),
}

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Subject {
    /// Position in [`Names::attributes`]; `None` is the intent.
    attribute: Option<usize>,
    /// Whether it can be a number too.
    number: bool,
}

/// A lowered part.
#[derive(Clone, Debug)]
struct Piece {
    kind: Kind,
    ops: Vec<Op>,
    at: usize,
}

impl Piece {
    fn new(at: usize, kind: Kind, op: Op) -> Piece {
        Piece { kind, ops: vec![op], at }
    }

    fn failed(at: usize) -> Piece {
        Piece { kind: Kind::Failed, ops: Vec::new(), at }
    }

    fn is_failed(&self) -> bool {
        self.kind == Kind::Failed
    }

    fn is_constant(&self) -> bool {
        !self.ops.iter().any(|op| matches!(op, Op::Read(_)))
    }

    fn as_number(&self) -> Option<f64> {
        match self.ops[..] {
            [Op::Constant(Value::Number(number))] if self.kind == Kind::Number => Some(number),
            _ => None,
        }
    }

    fn may_be_number(&self) -> bool {
        matches!(self.kind, Kind::Number | Kind::Word(Subject { number: true, .. }))
    }
}

/// Lowers a parsed condition; all faults at once.
pub(super) fn lower(whole: &Expr<'_>, names: &mut Names<'_>) -> Result<Predicate, Vec<Fault>> {
    let mut lowering = Lowering { names, faults: Vec::new() };
    let piece = lowering.piece(whole);
    let piece = lowering.truth(piece, "compare it with something");
    if !lowering.faults.is_empty() {
        return Err(lowering.faults);
    }
    Predicate::new(piece.ops).ok_or_else(|| {
        let message = format!("the condition needs more than {DEEPEST} values at once");
        let help = "put what is in parentheses first";
        vec![Fault::new(0, ProblemKind::BadValue, message).help(help)]
    })
}

struct Lowering<'n, 'a> {
    names: &'n mut Names<'a>,
    faults: Vec<Fault>,
}

impl Lowering<'_, '_> {
    fn fault(&mut self, fault: Fault) -> Piece {
        let at = fault.at;
        self.faults.push(fault);
        Piece::failed(at)
    }

    fn mismatch(&mut self, at: usize, message: String) -> Piece {
        self.fault(Fault::new(at, ProblemKind::WrongType, message))
    }

    fn piece(&mut self, expr: &Expr<'_>) -> Piece {
        let at = expr.at;
        match &expr.what {
            What::Number(value) => {
                Piece::new(at, Kind::Number, Op::Constant(Value::Number(*value)))
            }
            What::Truth(value) => {
                let value = Value::Number(f64::from(u8::from(*value)));
                Piece::new(at, Kind::Truth, Op::Constant(value))
            }
            What::Text(text) => Piece { kind: Kind::Text(text.clone()), ops: Vec::new(), at },
            What::Name(name) => self.name(name, at),
            What::Backend { signal, name, name_at } => self.backend(*signal, name, at, *name_at),
            What::Not(below) => {
                let below = self.piece(below);
                let help = "write !(a == b) or not a == b";
                let mut below = self.truth(below, help);
                below.ops.push(Op::Not);
                Piece { at, ..below }
            }
            What::Negative(below) => {
                let below = self.piece(below);
                self.negative(below, at)
            }
            What::In { item, list, negated } => self.member(item, list, *negated, at),
            What::Two { operator, left, right } => {
                let (left, right) = (self.piece(left), self.piece(right));
                match operator {
                    Operator::And => self.logic(Op::And, left, right),
                    Operator::Or => self.logic(Op::Or, left, right),
                    Operator::Add => self.arithmetic(Op::Add, "+", left, right),
                    Operator::Subtract => self.arithmetic(Op::Subtract, "-", left, right),
                    Operator::Multiply => self.arithmetic(Op::Multiply, "*", left, right),
                    Operator::Divide => self.arithmetic(Op::Divide, "/", left, right),
                    comparison => self.compare(*comparison, left, right, at),
                }
            }
        }
    }

    fn name(&mut self, name: &str, at: usize) -> Piece {
        if let Some((_, signal, sort)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) {
            let kind = match sort {
                Sort::Word => Kind::Word(Subject { attribute: None, number: false }),
                Sort::Number => Kind::Number,
                Sort::Duration => Kind::Duration,
            };
            return Piece::new(at, kind, Op::Read(*signal));
        }
        let found = self.names.attributes.iter().position(|attribute| attribute.name == name);
        if let Some(position) = found {
            let attribute = self.names.attributes[position];
            let number = attribute.number;
            let kind = if number && attribute.words.is_empty() {
                Kind::Number
            } else {
                Kind::Word(Subject { attribute: Some(position), number })
            };
            return Piece::new(at, kind, Op::Read(Signal::Attribute(attribute.id)));
        }
        let fixed = FIXED.iter().map(|(fixed, ..)| *fixed);
        let other = ["in_flight", "waiting", "breaker_open", "true", "false"];
        let attributes = self.names.attributes.iter().map(|attribute| attribute.name);
        let known: Vec<&str> = attributes.chain(fixed).chain(other).collect();
        let help = did_you_mean(name, &known);
        let message = format!("nothing is called `{}` here", shortened(name));
        self.fault(Fault::new(at, ProblemKind::UnknownName, message).help(help))
    }

    fn backend(&mut self, signal: BackendSignal, name: &str, at: usize, name_at: usize) -> Piece {
        let found = self.names.backends.iter().find(|(known, _)| *known == name);
        if let Some(&(_, backend)) = found {
            let kind = match signal {
                BackendSignal::BreakerOpen => Kind::Truth,
                BackendSignal::InFlight | BackendSignal::Waiting => Kind::Number,
            };
            return Piece::new(at, kind, Op::Read(Signal::Backend(backend, signal)));
        }
        let known: Vec<&str> = self.names.backends.iter().map(|(known, _)| *known).collect();
        let help = match known.iter().find(|known| self.is_difference(name, known)) {
            Some(known) => format!("to subtract from `{known}`, put a space before the minus"),
            None => did_you_mean(name, &known),
        };
        let message = format!("no backend is called `{}`", shortened(name));
        self.fault(Fault::new(name_at, ProblemKind::UnknownName, message).help(help))
    }

    /// Whether a name looks like another one, a minus and a number or a name.
    fn is_difference(&self, name: &str, known: &str) -> bool {
        let rest = name.strip_prefix(known).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                || FIXED.iter().any(|(fixed, ..)| *fixed == rest)
                || self.names.attributes.iter().any(|attribute| attribute.name == rest)
        })
    }

    fn described(&self, piece: &Piece) -> String {
        match &piece.kind {
            Kind::Failed => "an error".to_owned(),
            Kind::Truth => "a truth value".to_owned(),
            Kind::Number => "a number".to_owned(),
            Kind::Duration => "a duration".to_owned(),
            Kind::Text(text) => format!("the string {:?}", shortened(text)),
            Kind::Word(subject) => format!("the word `{}`", self.called(*subject)),
        }
    }

    fn called(&self, subject: Subject) -> &str {
        subject.attribute.map_or("intent", |position| self.names.attributes[position].name)
    }

    /// A part that has to be a truth value, and one that something decides.
    fn truth(&mut self, piece: Piece, help: &str) -> Piece {
        match piece.kind {
            Kind::Failed => piece,
            Kind::Truth if piece.is_constant() => {
                let message = "this is always the same, so it decides nothing";
                self.fault(Fault::new(piece.at, ProblemKind::BadValue, message))
            }
            Kind::Truth => piece,
            _ => {
                let message = format!("expected a truth value, found {}", self.described(&piece));
                let fault = Fault::new(piece.at, ProblemKind::WrongType, message);
                self.fault(fault.help(help))
            }
        }
    }

    fn logic(&mut self, op: Op, left: Piece, right: Piece) -> Piece {
        let help = "compare it with something";
        let (left, right) = (self.truth(left, help), self.truth(right, help));
        joined(Kind::Truth, left, right, &[op])
    }

    fn negative(&mut self, below: Piece, at: usize) -> Piece {
        match below.kind {
            Kind::Failed => below,
            _ if below.may_be_number() || below.kind == Kind::Duration => {
                let kind = if below.kind == Kind::Duration { Kind::Duration } else { Kind::Number };
                let zero = Piece::new(at, kind.clone(), Op::Constant(Value::Number(0.0)));
                joined(kind, zero, below, &[Op::Subtract])
            }
            _ => {
                let found = self.described(&below);
                self.mismatch(at, format!("`-` needs a number or a duration, found {found}"))
            }
        }
    }

    /// `item in [list]`: the item equals one of the list.
    fn member(&mut self, item: &Expr<'_>, list: &[Expr<'_>], negated: bool, at: usize) -> Piece {
        let item = self.piece(item);
        if item.is_failed() {
            return item;
        }
        if !matches!(item.ops[..], [Op::Read(_)]) {
            let fault = Fault::new(item.at, ProblemKind::BadValue, "only a name can be in a list");
            return self.fault(fault.help(SUPPORTED));
        }
        let mut whole: Option<Piece> = None;
        for element in list {
            let element = self.piece(element);
            // What is wrong with an element is wrong at that element.
            let here = element.at;
            let equal = self.compare(Operator::Equal, item.clone(), element, here);
            whole = Some(match whole {
                Some(before) => joined(Kind::Truth, before, equal, &[Op::Or]),
                None => equal,
            });
        }
        let mut whole = whole.unwrap_or_else(|| Piece::failed(at));
        if negated {
            whole.ops.push(Op::Not);
        }
        Piece { at, ..whole }
    }

    fn arithmetic(&mut self, op: Op, sign: &str, mut left: Piece, mut right: Piece) -> Piece {
        let durations = op != Op::Multiply;
        if durations && right.kind == Kind::Duration && op != Op::Divide {
            self.settle(&mut left, &right);
        }
        if durations && left.kind == Kind::Duration {
            self.settle(&mut right, &left);
        }
        for side in [&left, &right] {
            if !side.is_failed() && side.kind != Kind::Duration && !side.may_be_number() {
                let found = self.described(side);
                let message = format!("`{sign}` needs numbers or durations, found {found}");
                return self.mismatch(side.at, message);
            }
        }
        if left.is_failed() || right.is_failed() {
            return Piece::failed(left.at);
        }
        if op == Op::Divide && right.as_number() == Some(0.0) {
            let message = "this divides by zero";
            return self.fault(Fault::new(right.at, ProblemKind::BadValue, message));
        }
        let is_duration = |piece: &Piece| piece.kind == Kind::Duration;
        let kind = match (is_duration(&left), is_duration(&right), op) {
            (false, false, _) => Kind::Number,
            (true, true, Op::Add | Op::Subtract) => Kind::Duration,
            (true, true, Op::Divide) => Kind::Number,
            (true, false, Op::Multiply | Op::Divide) => Kind::Duration,
            (false, true, Op::Multiply) => Kind::Duration,
            _ => return self.unlike(sign, &left, &right),
        };
        joined(kind, left, right, &[op])
    }

    /// A duration and a number, or two durations, that an operator cannot join.
    fn unlike(&mut self, sign: &str, left: &Piece, right: &Piece) -> Piece {
        if matches!(sign, "+" | "-")
            && let Some(fault) = without_unit(left, right)
        {
            return self.fault(fault);
        }
        let (l, r) = (self.described(left), self.described(right));
        self.mismatch(left.at, format!("`{sign}` does not join {l} and {r}"))
    }

    fn compare(&mut self, operator: Operator, l: Piece, r: Piece, at: usize) -> Piece {
        let (mut left, mut right) = (l, r);
        if left.is_failed() || right.is_failed() {
            return Piece::failed(at);
        }
        if left.is_constant() && right.is_constant() {
            let message = "this compares two constants, so it is always the same";
            return self.fault(Fault::new(at, ProblemKind::BadValue, message));
        }
        self.settle(&mut left, &right);
        self.settle(&mut right, &left);
        if left.is_failed() || right.is_failed() {
            return Piece::failed(at);
        }
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        let fits = match (&left.kind, &right.kind) {
            (Kind::Word(_), Kind::Word(_)) if equality => true,
            _ if left.may_be_number() && right.may_be_number() => {
                self.check_confidence(&left, &right);
                self.check_confidence(&right, &left);
                true
            }
            (Kind::Duration, Kind::Duration) => true,
            (Kind::Truth, Kind::Truth) => equality,
            _ => false,
        };
        if !fits {
            return self.incomparable(&left, &right, at);
        }
        match operator {
            Operator::Equal => joined(Kind::Truth, left, right, &[Op::Equal]),
            Operator::NotEqual => joined(Kind::Truth, left, right, &[Op::Equal, Op::Not]),
            Operator::Less => joined(Kind::Truth, left, right, &[Op::Less]),
            Operator::AtMost => joined(Kind::Truth, left, right, &[Op::AtMost]),
            Operator::More => joined(Kind::Truth, right, left, &[Op::Less]),
            _ => joined(Kind::Truth, right, left, &[Op::AtMost]),
        }
    }

    /// Two parts that cannot be compared, or not like this.
    fn incomparable(&mut self, left: &Piece, right: &Piece, at: usize) -> Piece {
        match (&left.kind, &right.kind) {
            (Kind::Word(_), Kind::Word(_)) => self.mismatch(at, "words have no order".to_owned()),
            (Kind::Truth, Kind::Truth) => {
                self.mismatch(at, "truth values have no order".to_owned())
            }
            _ => match without_unit(left, right) {
                Some(fault) => self.fault(fault),
                None => {
                    let (l, r) = (self.described(left), self.described(right));
                    self.mismatch(at, format!("{l} is compared with {r}"))
                }
            },
        }
    }

    /// Reports a confidence that is compared with a number it never reaches.
    fn check_confidence(&mut self, left: &Piece, right: &Piece) {
        let Some(number) = right.as_number() else { return };
        if left.ops == [Op::Read(Signal::Confidence)] && !(0.0..=1.0).contains(&number) {
            let message = format!("{number} is out of range for a confidence");
            self.fault(
                Fault::new(right.at, ProblemKind::BadValue, message).help("allowed: 0 to 1"),
            );
        }
    }

    /// Gives a string the meaning it has beside `other`.
    fn settle(&mut self, piece: &mut Piece, other: &Piece) {
        let Kind::Text(text) = &piece.kind else { return };
        let (at, shown) = (piece.at, format!("{:?}", shortened(text)));
        *piece = match other.kind {
            Kind::Duration => match quantity::span(text) {
                Ok(span) => {
                    let seconds = Value::Number(span.as_secs_f64());
                    Piece::new(at, Kind::Duration, Op::Constant(seconds))
                }
                Err(error) => {
                    let fault = Fault::new(at, ProblemKind::BadValue, format!("{shown}: {error}"));
                    self.fault(fault.help("write it like \"2s\""))
                }
            },
            Kind::Word(subject) => {
                let words = match subject.attribute {
                    Some(position) => self.names.attributes[position].words,
                    None => self.names.intents,
                };
                if words.contains(&text.as_str()) {
                    let symbol = self.names.symbols.intern(text);
                    Piece::new(at, other.kind.clone(), Op::Constant(Value::Word(symbol)))
                } else {
                    let message = format!("`{}` is never {shown}", self.called(subject));
                    let help = did_you_mean(text, words);
                    self.fault(Fault::new(at, ProblemKind::UnknownName, message).help(help))
                }
            }
            Kind::Number | Kind::Truth => {
                let found = self.described(other);
                let message = format!("{found} is compared with the string {shown}");
                let fault = Fault::new(at, ProblemKind::WrongType, message);
                let literal = text.parse::<f64>().is_ok() || ["true", "false"].contains(&&text[..]);
                self.fault(if literal {
                    fault.help(format!("write {text} without quotes"))
                } else {
                    fault
                })
            }
            Kind::Text(_) | Kind::Failed => return,
        };
    }
}

/// A number written where a duration belongs.
fn without_unit(left: &Piece, right: &Piece) -> Option<Fault> {
    let (side, number) = match (left.as_number(), right.as_number()) {
        (Some(number), None) if right.kind == Kind::Duration => (left, number),
        (None, Some(number)) if left.kind == Kind::Duration => (right, number),
        _ => return None,
    };
    let fault = Fault::new(side.at, ProblemKind::WrongType, "a bare number has no unit");
    Some(fault.help(format!("write it like \"{}s\"", number.abs())))
}

/// Two parts as one, with operations behind them; failed when one of them is.
fn joined(kind: Kind, left: Piece, right: Piece, behind: &[Op]) -> Piece {
    let at = left.at.min(right.at);
    if left.is_failed() || right.is_failed() {
        return Piece::failed(at);
    }
    let mut ops = left.ops;
    ops.extend(right.ops);
    ops.extend_from_slice(behind);
    Piece { kind, ops, at }
}
