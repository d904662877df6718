//! Kinds of value a key can hold: how each is read, and how the schema describes it.
//!
//! Invariants: the same object reads and describes, so the schema cannot drift from the reader;
//! no kind lets NaN, an infinity, a negative zero or a number outside its stated range through.
//!
//! Deliberately absent: tables and lists (see `reader`).

use crate::document::{Node, Value};
use crate::problem::{ProblemKind, did_you_mean, shortened};
use crate::quantity::{self, QuantityError};
use serde_json::{Value as Json, json};
use sim::units::{Bytes, Money, Span};

/// A refusal before it has a position: what sort, what is wrong, what would be right.
pub(crate) type Refusal = (ProblemKind, String, Option<String>);

/// A kind of scalar value.
pub(crate) trait Kind {
    /// What reading gives.
    type Value;
    /// Reads a value or says why not.
    fn read(&self, node: &Node) -> Result<Self::Value, Refusal>;
    /// Its JSON Schema, without description.
    fn schema(&self) -> Json;
}

fn wrong_type(node: &Node, wanted: &str) -> Refusal {
    let message = format!("expected {wanted}, found {}", node.value.kind());
    (ProblemKind::WrongType, message, None)
}

fn out_of_range(given: impl std::fmt::Display, range: &str) -> Refusal {
    (ProblemKind::BadValue, format!("{given} is out of range"), Some(format!("allowed: {range}")))
}

fn quantity<T>(
    node: &Node,
    example: &str,
    parse: impl Fn(&str) -> Result<T, QuantityError>,
) -> Result<T, Refusal> {
    let example = || Some(format!("write it like \"{example}\""));
    match &node.value {
        Value::Text(text) => parse(text).map_err(|error| {
            (ProblemKind::BadValue, format!("{:?}: {error}", shortened(text)), example())
        }),
        Value::Integer(_) | Value::Float(_) => {
            let message = "a bare number has no unit".to_owned();
            Err((ProblemKind::WrongType, message, example()))
        }
        _ => {
            let (kind, message, _) = wrong_type(node, "a quantity in quotes");
            Err((kind, message, example()))
        }
    }
}

/// Any string of at most `longest` characters, without control characters.
pub(crate) struct Text {
    pub(crate) longest: usize,
}

/// A name or path.
pub(crate) const NAME: Text = Text { longest: 200 };
/// A sentence.
pub(crate) const SENTENCE: Text = Text { longest: 2_000 };

impl Kind for Text {
    type Value = String;
    fn read(&self, node: &Node) -> Result<String, Refusal> {
        let Value::Text(text) = &node.value else { return Err(wrong_type(node, "a string")) };
        if text.is_empty() {
            return Err((ProblemKind::BadValue, "the value is empty".to_owned(), None));
        }
        if text.chars().count() > self.longest || text.chars().any(char::is_control) {
            let message =
                format!("longer than {} characters, or with control characters", self.longest);
            return Err((ProblemKind::BadValue, message, None));
        }
        Ok(text.clone())
    }
    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": self.longest})
    }
}

/// One of several words.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy> Kind for Choice<T> {
    type Value = T;
    fn read(&self, node: &Node) -> Result<T, Refusal> {
        let Value::Text(text) = &node.value else { return Err(wrong_type(node, "a string")) };
        let found = self.0.iter().find(|(name, _)| name == text);
        found.map(|&(_, value)| value).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|&(name, _)| name).collect();
            let message = format!("{:?} is not a choice", shortened(text));
            (ProblemKind::BadValue, message, Some(did_you_mean(text, &known)))
        })
    }
    fn schema(&self) -> Json {
        json!({"enum": self.0.iter().map(|&(name, _)| name).collect::<Vec<_>>()})
    }
}

/// True or false.
pub(crate) struct Flag;

impl Kind for Flag {
    type Value = bool;
    fn read(&self, node: &Node) -> Result<bool, Refusal> {
        match node.value {
            Value::Bool(truth) => Ok(truth),
            _ => Err(wrong_type(node, "true or false")),
        }
    }
    fn schema(&self) -> Json {
        json!({"type": "boolean"})
    }
}

/// Memory of one GPU: a quantity, or a whole number of bytes as on the engine's command line.
pub(crate) struct Memory;
/// Bytes of the largest memory that can be written: 1 PiB.
const MOST_BYTES: i64 = 1 << 50;

impl Kind for Memory {
    type Value = Bytes;
    fn read(&self, node: &Node) -> Result<Bytes, Refusal> {
        let bytes = match node.value {
            Value::Integer(_) => Whole { min: 1, max: MOST_BYTES }.read(node)?.unsigned_abs(),
            _ => quantity(node, "40GiB", quantity::bytes)?.0,
        };
        if bytes == 0 || bytes > MOST_BYTES.unsigned_abs() {
            return Err(out_of_range(bytes, "from 1B to 1024TiB"));
        }
        Ok(Bytes(bytes))
    }
    fn schema(&self) -> Json {
        let pattern = r"^\d+(\.\d+)? ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$";
        json!({"anyOf": [
            {"type": "string", "pattern": pattern, "examples": ["40GiB"]},
            {"type": "integer", "minimum": 1, "maximum": MOST_BYTES},
        ]})
    }
}

/// A whole number in a range.
#[derive(Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Whole {
    fn range(&self) -> String {
        format!("whole numbers from {} to {}", self.min, self.max)
    }
}

impl Kind for Whole {
    type Value = i64;
    fn read(&self, node: &Node) -> Result<i64, Refusal> {
        match node.value {
            Value::Integer(Some(number)) => i64::try_from(number)
                .ok()
                .filter(|n| (self.min..=self.max).contains(n))
                .ok_or_else(|| out_of_range(number, &self.range())),
            Value::Integer(None) => Err(out_of_range("the number", &self.range())),
            _ => {
                let (kind, message, _) = wrong_type(node, "a whole number");
                Err((kind, message, bare_number(&node.value)))
            }
        }
    }
    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.min, "maximum": self.max})
    }
}

/// What to write for a whole number in quotes, with a unit or without: numbers have none, and the
/// keys that count by the minute say so in their names.
fn bare_number(value: &Value) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let number = ["/min", "/m"].iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text);
    let number = number.trim();
    let digits = (1..=18).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| format!("write the bare number: {number}"))
}

/// A whole number that fits 32 bits, from `0` up.
#[derive(Clone, Copy)]
pub(crate) struct Count {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// Tokens of one thing: up to ten million.
pub(crate) const TOKENS: Count = Count { min: 1, max: 10_000_000 };

impl Kind for Count {
    type Value = u32;
    fn read(&self, node: &Node) -> Result<u32, Refusal> {
        let whole = Whole { min: self.min.into(), max: self.max.into() }.read(node)?;
        u32::try_from(whole).map_err(|_| out_of_range(whole, "32-bit numbers"))
    }
    fn schema(&self) -> Json {
        Whole { min: self.min.into(), max: self.max.into() }.schema()
    }
}

/// A number in `[min, max]`, or above `min` where `above` holds; `"2x"` too where `factor` does.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) above: bool,
    pub(crate) factor: bool,
}

impl Number {
    /// A number from `min` to `max`, both included.
    pub(crate) const fn within(min: f64, max: f64) -> Number {
        Number { min, max, above: false, factor: false }
    }

    /// A positive number up to `max`.
    pub(crate) const fn positive(max: f64) -> Number {
        Number { min: 0.0, max, above: true, factor: false }
    }
}

/// A factor of the whole traffic; none of it would be another scenario.
pub(crate) const SCALE: Number = Number { min: 0.001, max: 1_000.0, above: false, factor: true };
/// A multiplier of the rate at some time.
pub(crate) const FACTOR: Number = Number { min: 0.0, max: 10_000.0, above: false, factor: true };

impl Kind for Number {
    type Value = f64;
    fn read(&self, node: &Node) -> Result<f64, Refusal> {
        let number = match &node.value {
            Value::Float(number) => *number,
            // Small integers convert exactly; large ones are out of every range anyway.
            Value::Integer(Some(number)) => *number as f64,
            Value::Integer(None) => f64::NAN,
            Value::Text(text) if self.factor => {
                let help = || Some("write a number or \"2x\"".to_owned());
                quantity::factor(text).map_err(|error| {
                    (ProblemKind::BadValue, format!("{:?}: {error}", shortened(text)), help())
                })?
            }
            _ => return Err(wrong_type(node, "a number")),
        };
        let negative_zero = number == 0.0 && number.is_sign_negative();
        let below = if self.above { number <= self.min } else { number < self.min };
        if number.is_nan() || negative_zero || below || number > self.max {
            let from = if self.above { "above" } else { "from" };
            let range = format!("numbers {from} {} up to {}", self.min, self.max);
            return Err(out_of_range(format!("{number:?}"), &range));
        }
        Ok(number)
    }
    fn schema(&self) -> Json {
        let low = if self.above { "exclusiveMinimum" } else { "minimum" };
        let number = json!({"type": "number", low: self.min, "maximum": self.max});
        if self.factor {
            return json!({"anyOf": [number, {"type": "string", "pattern": r"^\d+(\.\d+)? ?x$"}]});
        }
        number
    }
}

/// A duration from `min` to 100 days.
#[derive(Clone, Copy)]
pub(crate) struct Duration {
    pub(crate) min: Span,
    pub(crate) max: Span,
}

/// The longest run there is.
pub(crate) const LONGEST_RUN: Span = Span::from_secs(100 * 86_400);
/// Any duration, zero included.
pub(crate) const DURATION: Duration = Duration { min: Span::ZERO, max: LONGEST_RUN };
/// A duration of at least a microsecond.
pub(crate) const LENGTH_OF_TIME: Duration =
    Duration { min: Span::from_micros(1), max: LONGEST_RUN };

impl Kind for Duration {
    type Value = Span;
    fn read(&self, node: &Node) -> Result<Span, Refusal> {
        let span = quantity(node, "250ms", quantity::span)?;
        if span < self.min || span > self.max {
            let (low, high) = (quantity::show_span(self.min), quantity::show_span(self.max));
            return Err(out_of_range(quantity::show_span(span), &format!("{low} to {high}")));
        }
        Ok(span)
    }
    fn schema(&self) -> Json {
        let pattern = r"^\d+(\.\d+)? ?(ps|ns|us|ms|s|m|h|d|w)$";
        json!({"type": "string", "pattern": pattern, "examples": ["250ms", "24h"]})
    }
}

/// Events per unit of time, above zero.
pub(crate) struct Rate;

impl Rate {
    /// Events per second beyond which a rate is a slip.
    pub(crate) const MOST: f64 = 1e9;
}

impl Kind for Rate {
    type Value = f64;
    fn read(&self, node: &Node) -> Result<f64, Refusal> {
        let rate = quantity(node, "40/s", quantity::rate)?;
        // Below one in 30 years or above a thousand million per second is a slip.
        if !(1e-9..=Rate::MOST).contains(&rate) {
            return Err(out_of_range(format!("{rate:?}/s"), "above 0/s up to 1000000000/s"));
        }
        Ok(rate)
    }
    fn schema(&self) -> Json {
        let pattern = r"^\d+(\.\d+)? ?/(s|m|min|h|d)$";
        json!({"type": "string", "pattern": pattern, "examples": ["40/s", "3/min"]})
    }
}

/// US dollars, with a suffix such as `/h`.
pub(crate) struct Dollars(pub(crate) &'static str);

impl Kind for Dollars {
    type Value = Money;
    fn read(&self, node: &Node) -> Result<Money, Refusal> {
        let example = format!("$2.99{}", self.0);
        let money = quantity(node, &example, |text| quantity::money(text, self.0))?;
        if money.0 > Money::PICO_PER_DOLLAR * 1_000_000_000 {
            return Err(out_of_range("the amount", "up to a thousand million dollars"));
        }
        Ok(money)
    }
    fn schema(&self) -> Json {
        let pattern = format!(r"^\$\d+(\.\d+)?{}$", self.0);
        json!({"type": "string", "pattern": pattern, "examples": [format!("$2.99{}", self.0)]})
    }
}

/// A word that stands for `None`, or another kind.
pub(crate) struct Or<K>(pub(crate) &'static str, pub(crate) K);

impl<K: Kind> Kind for Or<K> {
    type Value = Option<K::Value>;
    fn read(&self, node: &Node) -> Result<Self::Value, Refusal> {
        match &node.value {
            Value::Text(text) if text == self.0 => Ok(None),
            _ => self.1.read(node).map(Some).map_err(|(kind, message, help)| {
                let or = format!("or \"{}\"", self.0);
                (kind, message, Some(help.map_or_else(|| or.clone(), |h| format!("{h}, {or}"))))
            }),
        }
    }
    fn schema(&self) -> Json {
        json!({"anyOf": [{"enum": [self.0]}, self.1.schema()]})
    }
}
