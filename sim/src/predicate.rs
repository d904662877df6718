//! Conditions of policies, compiled: a closed set of operations over a closed set of signals.
//!
//! Invariants: a [`Predicate`] that exists is well formed (its operations leave exactly one truth
//! value), so evaluating it cannot fail; comparing a number with a word is false.
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
    /// Seconds since the task began.
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

/// One step of an evaluation on a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Pushes a constant.
    Constant(Value),
    /// Pushes a signal.
    Read(Signal),
    /// Pops two, pushes whether they are equal.
    Equal,
    /// Pops two, pushes whether the lower is less than the upper.
    Less,
    /// Pops two, pushes whether the lower is at most the upper.
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
    /// In postfix order; well formed.
    ops: Vec<Op>,
}

impl Predicate {
    /// Checks that the operations leave exactly one value and never pop from an empty stack.
    #[must_use]
    pub fn new(ops: Vec<Op>) -> Option<Predicate> {
        let mut depth = 0usize;
        for op in &ops {
            let popped = match op {
                Op::Constant(_) | Op::Read(_) => 0,
                Op::Not => 1,
                _ => 2,
            };
            depth = depth.checked_sub(popped)? + 1;
        }
        (depth == 1).then_some(Predicate { ops })
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
}
