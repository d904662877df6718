//! The text of a gate: `<= +2% or +20ms, <= 6s, else warn`.
//!
//! ```text
//! gate      = clause { "," clause } [ "," "else" ( "warn" | "fail" ) ]
//! clause    = ( "<=" | ">=" ) ( limit | tolerance [ "or" tolerance ] )
//! tolerance = ( "+" | "-" ) ( percentage of the baseline | quantity )
//! ```
//!
//! Invariants: a number with a sign is a change and one without is a limit, so no text is both; at
//! most one clause of each sort; everything that is wrong with a text comes at once.
//!
//! Deliberately absent: which number the gate is about, of which only the unit matters here.

use crate::kinds::Refusal;
use crate::problem::{ProblemKind, shortened};
use crate::quantity;
use crate::resolve::objectives::{Unit, limit_of};
use crate::resolved::{Change, Comparison, Level, Limit, Shift};

/// What a gate's text says.
#[derive(Debug, PartialEq)]
pub(super) struct Clauses {
    pub(super) change: Option<Change>,
    pub(super) limit: Option<(Comparison, Limit)>,
    pub(super) level: Level,
}

/// One clause.
enum Clause {
    Change(Change),
    Limit(Comparison, Limit),
}

/// A relative change beyond which a tolerance is a slip: hundredfold.
const MOST_RELATIVE: f64 = 100.0;
/// What a gate looks like.
const EXAMPLE: &str =
    "write it like \"<= +2%\", \"<= +2% or +20ms, <= 6s\" or \">= -0.5%, else warn\"";

/// Reads a gate's text.
pub(super) fn parse(text: &str, unit: Unit) -> Result<Clauses, Vec<Refusal>> {
    let mut found = Clauses { change: None, limit: None, level: Level::Fail };
    let mut faults = Vec::new();
    let mut parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(level) = parts.pop_if(|last| last.starts_with("else")) {
        match level.trim_start_matches("else").trim() {
            "fail" => {}
            "warn" => found.level = Level::Warn,
            _ => {
                let message = format!("`{}` is not a choice", shortened(level));
                faults.push(refusal(message, "write `else warn` or `else fail`"));
            }
        }
    }
    for part in parts {
        let twice = match clause(part, unit) {
            Ok(Clause::Change(change)) => found.change.replace(change).map(|_| "change"),
            Ok(Clause::Limit(comparison, limit)) => {
                found.limit.replace((comparison, limit)).map(|_| "limit")
            }
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        if let Some(what) = twice {
            let message = format!("the gate states a {what} twice");
            faults.push(refusal(message, "a gate has at most one change and one limit"));
        }
    }
    if faults.is_empty() && found.change.is_none() && found.limit.is_none() {
        faults.push(refusal("the gate states neither a change nor a limit", EXAMPLE));
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn refusal(message: impl Into<String>, help: impl Into<String>) -> Refusal {
    (ProblemKind::BadValue, message.into(), Some(help.into()))
}

fn clause(text: &str, unit: Unit) -> Result<Clause, Refusal> {
    let (comparison, rest) = comparison(text)?;
    let tolerances: Vec<&str> = rest.split(" or ").map(str::trim).collect();
    let signed = tolerances.iter().filter(|text| text.starts_with(['+', '-'])).count();
    match (tolerances.as_slice(), signed) {
        ([limit], 0) => {
            let limit = limit_of(limit, unit).map_err(|(error, example)| {
                let help =
                    format!("write a limit like {example}, or a change with its sign, like +2%");
                refusal(format!("{:?}: {error}", shortened(limit)), help)
            })?;
            Ok(Clause::Limit(comparison, limit))
        }
        (_, 0) => Err(refusal("`or` joins two changes, not two limits", EXAMPLE)),
        (all, signed) if signed < all.len() => {
            let help = "separate them by a comma: \"<= +2%, <= 6s\"";
            Err(refusal("a change and a limit are two clauses", help))
        }
        ([_] | [_, _], _) => change(comparison, &tolerances, unit).map(Clause::Change),
        _ => Err(refusal("a change has at most two tolerances", EXAMPLE)),
    }
}

fn comparison(text: &str) -> Result<(Comparison, &str), Refusal> {
    for (sign, comparison) in [("<=", Comparison::AtMost), (">=", Comparison::AtLeast)] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Ok((comparison, rest.trim()));
        }
    }
    if text.starts_with("else") {
        return Err(refusal("`else …` comes last, and once", EXAMPLE));
    }
    let message = match text {
        "" => "a clause is empty",
        _ => "a clause of a gate starts with `<=` or `>=`",
    };
    Err(refusal(message, EXAMPLE))
}

fn change(comparison: Comparison, tolerances: &[&str], unit: Unit) -> Result<Change, Refusal> {
    let mut change = Change { comparison, relative: None, absolute: None };
    for text in tolerances {
        let down = text.starts_with('-');
        // Exactly one sign was seen; what follows has to do without.
        let size = text.get(1..).unwrap_or_default();
        let twice = if size.ends_with('%') {
            let by = relative(text, size, down)?;
            // Only money may be negative, as a margin is.
            if unit != Unit::Money && comparison == Comparison::AtMost && by <= -1.0 {
                let message = format!("{} can never be: nothing falls by that", shortened(text));
                return Err(refusal(message, EXAMPLE));
            }
            change.relative.replace(by).is_some()
        } else {
            let by = limit_of(size, unit).map_err(|(error, example)| {
                let help = format!("write a change like +2% or +{example}");
                refusal(format!("{:?}: {error}", shortened(text)), help)
            })?;
            change.absolute.replace(Shift { down, by }).is_some()
        };
        if twice {
            let message = "`or` joins a percentage and a quantity, not two of one sort";
            return Err(refusal(message, EXAMPLE));
        }
    }
    Ok(change)
}

fn relative(text: &str, size: &str, down: bool) -> Result<f64, Refusal> {
    let help = "write a percentage of the baseline like +2%";
    let size = quantity::percent(size)
        .map_err(|error| refusal(format!("{:?}: {error}", shortened(text)), help))?;
    if size > MOST_RELATIVE {
        let help = "allowed: up to 10000%";
        return Err(refusal(format!("{} is out of range", shortened(text)), help));
    }
    // No change has no sign.
    Ok(if down && size > 0.0 { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::units::{Money, Span};

    fn parsed(text: &str, unit: Unit) -> Clauses {
        parse(text, unit).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    #[test]
    fn changes_have_a_sign_and_limits_have_none() {
        let time = parsed("<= +2% or +20 ms, <= 6s, else warn", Unit::Time);
        let shift = Shift { down: false, by: Limit::Span(Span::from_millis(20)) };
        let change =
            Change { comparison: Comparison::AtMost, relative: Some(0.02), absolute: Some(shift) };
        assert_eq!(time.change, Some(change));
        assert_eq!(time.limit, Some((Comparison::AtMost, Limit::Span(Span::from_secs(6)))));
        assert_eq!(time.level, Level::Warn);

        let share = parsed(">=-0.5%", Unit::Share).change.expect("a change");
        assert_eq!((share.relative, share.absolute), (Some(-0.005), None));
        let share = parsed(">= -0.005, >= 97%", Unit::Share);
        let shift = Shift { down: true, by: Limit::Share(0.005) };
        assert_eq!(share.change.and_then(|change| change.absolute), Some(shift));
        assert_eq!(share.limit, Some((Comparison::AtLeast, Limit::Share(0.97))));

        let money = parsed("<= +$5 or -0%, else fail", Unit::Money).change.expect("a change");
        let dollars = Limit::Money(Money(5 * Money::PICO_PER_DOLLAR));
        assert_eq!(money.absolute, Some(Shift { down: false, by: dollars }));
        assert!(money.relative.is_some_and(|none| none == 0.0 && none.is_sign_positive()));
        let rate = parsed(">= -1/s", Unit::Rate).change.and_then(|change| change.absolute);
        assert_eq!(rate, Some(Shift { down: true, by: Limit::Rate(1.0) }));
    }

    #[test]
    fn what_is_no_gate_is_refused_with_advice() {
        for (text, message) in [
            ("", "a clause is empty"),
            ("<= +2%,", "a clause is empty"),
            ("else warn", "neither a change nor a limit"),
            ("else warn, <= +2%", "comes last"),
            ("<= +2%, else warn, else fail", "comes last"),
            ("<= +2%, else shrug", "`else shrug` is not a choice"),
            ("< +2%", "starts with `<=`"),
            ("6s", "starts with `<=`"),
            ("<= +2%, <= +20ms", "a change twice"),
            ("<= 6s, <= 7s", "a limit twice"),
            ("<= +2% or 6s", "two clauses"),
            ("<= 5s or 6s", "not two limits"),
            ("<= +2% or +3%", "not two of one sort"),
            ("<= +1s or +2s", "not two of one sort"),
            ("<= +2% or +2s or +3s", "at most two"),
            ("<= 2%", "not a unit"),
            ("<= +2", "the unit is missing"),
            ("<= ++2%", "not a plain decimal"),
            ("<= +-2s", "negative"),
            ("<= +", "empty"),
            ("<= +%", "not a plain decimal"),
            ("<= +99999%", "out of range"),
            ("<= +nan%", "not a plain decimal"),
            ("<= +1e9%", "e9%"),
            ("<= -é", "not a plain decimal"),
        ] {
            let faults = parse(text, Unit::Time).expect_err(text);
            let text_of = |(_, message, _): &Refusal| message.clone();
            let messages: Vec<String> = faults.iter().map(text_of).collect();
            assert!(messages.iter().any(|m| m.contains(message)), "{text:?}: {messages:?}");
            assert!(faults.iter().all(|(.., help)| help.is_some()), "{text:?}");
        }
        assert_eq!(parse("< 1s, 2s, else so", Unit::Time).expect_err("three").len(), 3);
    }
}
