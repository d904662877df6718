//! Conditions of policies, compiled: a closed set of operations over a closed set of signals.
//!
//! Invariants: a [`Predicate`] that exists is well formed: its operations leave exactly one truth
//! value, need no more than [`DEEPEST`] values at once, and none of them can never apply to what
//! it gets (the order of two words, the negation of a number). So evaluating it cannot fail and
//! needs no memory.
//!
//! A signal that is not there (an attribute the task does not declare, a confidence before the
//! first answer) is unknown, and so is whatever depends on it; a condition holds only when it
//! surely holds. This is the three-valued logic of Kleene, which SQL uses for NULL:
//!
//! * arithmetic and comparisons with an unknown operand are unknown;
//! * `false && unknown` is false, `true || unknown` is true, otherwise an unknown operand of `&&`,
//!   `||` and `!` makes it unknown;
//! * unknown at the end does not hold. So neither `tier == 'x'` nor `!(tier == 'x')` holds for a
//!   task without a tier.
//!
//! An attribute may be a word for one source of tasks and a number for another. A word never
//! equals a number; its order and its arithmetic are unknown, like those of no number (∞ − ∞).
//!
//! Deliberately absent: parsing (see `scenarios`), and the values themselves, which the caller
//! reads only when they are asked for.

use crate::ids::{AttributeId, Backend, SymbolId};

/// Something a condition may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// What the call is for, a word.
    Intent,
    /// The confidence reported with the last answer, 0 to 1; a condition that reads it is
    /// evaluated after a call.
    Confidence,
    /// A declared attribute of the task: a word or a number.
    Attribute(AttributeId),
    /// Prompt tokens of the call.
    PromptTokens,
    /// Seconds since the task, or its present submission, began.
    Elapsed,
    /// Seconds left until the task's latency budget (or else its SLO) is used up; may be negative.
    RemainingLatency,
    /// Model calls the task has made.
    ModelCalls,
    /// Something about a backend at this instant.
    Backend(Backend, BackendSignal),
}

/// Something about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendSignal {
    /// Attempts sent and not ended.
    InFlight,
    /// Attempts waiting there for a place.
    Waiting,
    /// Whether its circuit breaker lets no ordinary call through.
    BreakerOpen,
}

/// What a signal is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number; a truth value is 0 or 1.
    Number(f64),
    /// A word.
    Word(SymbolId),
}

/// Values a condition may need at once.
pub const DEEPEST: usize = 16;

/// One step of an evaluation on a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Pushes a constant.
    Constant(Value),
    /// Pushes a signal.
    Read(Signal),
    /// Pops two, pushes whether they are equal.
    Equal,
    /// Pops two numbers, pushes whether the lower one on the stack (pushed first) is less.
    Less,
    /// Pops two numbers, pushes whether the lower one on the stack is less or equal.
    AtMost,
    /// Pops two truth values.
    And,
    /// Pops two truth values.
    Or,
    /// Pops one truth value.
    Not,
    /// Pops two numbers.
    Add,
    /// Pops two numbers.
    Subtract,
    /// Pops two numbers.
    Multiply,
    /// Pops two numbers; by zero gives zero.
    Divide,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// In postfix order; well formed, see the head of this file.
    ops: Vec<Op>,
}

impl Predicate {
    /// Checks that the operations are well formed.
    #[must_use]
    pub fn new(ops: Vec<Op>) -> Option<Predicate> {
        let mut stack = Vec::new();
        for &op in &ops {
            let pushed = match op {
                Op::Constant(value) => Kinds::of_constant(value)?,
                Op::Read(signal) => Kinds::of_signal(signal),
                Op::Not => stack.pop().and_then(Kinds::of_negated)?,
                _ => {
                    let upper = stack.pop()?;
                    Kinds::of_two(op, stack.pop()?, upper)?
                }
            };
            stack.push(pushed);
            if stack.len() > DEEPEST {
                return None;
            }
        }
        let truth = stack.pop()?.may_be(Kinds::TRUTH);
        (truth && stack.is_empty()).then_some(Predicate { ops })
    }

    /// The operations, in postfix order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether it asks for a signal.
    #[must_use]
    pub fn reads(&self, wanted: impl Fn(Signal) -> bool) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Read(signal) if wanted(*signal)))
    }

    /// Whether it surely holds, with what `read` says of a signal; `None`: it is not there.
    ///
    /// Each mention of a signal reads it, and all are read, whatever the first ones say.
    #[must_use]
    pub fn holds(&self, mut read: impl FnMut(Signal) -> Option<Value>) -> bool {
        let mut stack = [None; DEEPEST];
        let mut height = 0;
        for &op in &self.ops {
            match op {
                Op::Constant(value) => {
                    stack[height] = Some(value);
                    height += 1;
                }
                Op::Read(signal) => {
                    stack[height] = read(signal);
                    height += 1;
                }
                Op::Not => stack[height - 1] = truth(stack[height - 1]).map(|held| of(!held)),
                _ => {
                    height -= 1;
                    stack[height - 1] = of_two(op, stack[height - 1], stack[height]);
                }
            }
        }
        truth(stack[0]) == Some(true)
    }
}

/// The value of an operation on two values.
fn of_two(op: Op, lower: Option<Value>, upper: Option<Value>) -> Option<Value> {
    match op {
        Op::And => match (truth(lower), truth(upper)) {
            (Some(false), _) | (_, Some(false)) => Some(of(false)),
            (Some(true), Some(true)) => Some(of(true)),
            _ => None,
        },
        Op::Or => match (truth(lower), truth(upper)) {
            (Some(true), _) | (_, Some(true)) => Some(of(true)),
            (Some(false), Some(false)) => Some(of(false)),
            _ => None,
        },
        Op::Equal => match (lower?, upper?) {
            (Value::Number(a), Value::Number(b)) if a.is_nan() || b.is_nan() => None,
            (a, b) => Some(of(a == b)),
        },
        _ => {
            let (a, b) = (number(lower)?, number(upper)?);
            let result = match op {
                Op::Less => return Some(of(a < b)),
                Op::AtMost => return Some(of(a <= b)),
                Op::Add => a + b,
                Op::Subtract => a - b,
                Op::Multiply => a * b,
                _ if b == 0.0 => 0.0,
                _ => a / b,
            };
            Some(Value::Number(result))
        }
    }
}

/// A number that is one.
fn number(value: Option<Value>) -> Option<f64> {
    match value {
        Some(Value::Number(number)) if !number.is_nan() => Some(number),
        _ => None,
    }
}

/// A truth value as a number.
fn of(truth: bool) -> Value {
    Value::Number(f64::from(u8::from(truth)))
}

/// A number as a truth value.
fn truth(value: Option<Value>) -> Option<bool> {
    number(value).map(|number| number != 0.0)
}

/// What a value may turn out to be: a set of truth value, number and word, never empty.
#[derive(Clone, Copy, PartialEq)]
struct Kinds(u8);

impl Kinds {
    const TRUTH: Kinds = Kinds(1);
    const NUMBER: Kinds = Kinds(2);
    const WORD: Kinds = Kinds(4);

    fn may_be(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    fn of_constant(value: Value) -> Option<Kinds> {
        match value {
            Value::Number(number) if number.is_nan() => None,
            Value::Number(0.0 | 1.0) => Some(Kinds(Kinds::TRUTH.0 | Kinds::NUMBER.0)),
            Value::Number(_) => Some(Kinds::NUMBER),
            Value::Word(_) => Some(Kinds::WORD),
        }
    }

    fn of_signal(signal: Signal) -> Kinds {
        match signal {
            Signal::Intent => Kinds::WORD,
            Signal::Attribute(_) => Kinds(Kinds::NUMBER.0 | Kinds::WORD.0),
            Signal::Backend(_, BackendSignal::BreakerOpen) => Kinds::TRUTH,
            _ => Kinds::NUMBER,
        }
    }

    fn of_negated(kinds: Kinds) -> Option<Kinds> {
        kinds.may_be(Kinds::TRUTH).then_some(Kinds::TRUTH)
    }

    /// What an operation on two values gives; `None` when it can never apply to them.
    fn of_two(op: Op, lower: Kinds, upper: Kinds) -> Option<Kinds> {
        let both = |wanted| lower.may_be(wanted) && upper.may_be(wanted);
        match op {
            Op::Equal => lower.may_be(upper).then_some(Kinds::TRUTH),
            Op::And | Op::Or => both(Kinds::TRUTH).then_some(Kinds::TRUTH),
            Op::Less | Op::AtMost => both(Kinds::NUMBER).then_some(Kinds::TRUTH),
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide => {
                both(Kinds::NUMBER).then_some(Kinds::NUMBER)
            }
            Op::Constant(_) | Op::Read(_) | Op::Not => None,
        }
    }
}

#[cfg(test)]
mod tests;
