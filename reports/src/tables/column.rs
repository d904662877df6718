//! A column: what it is, and where its values come from.
//!
//! Invariant: what a column gives is of its kind; anything else is written as nothing, and a test
//! looks for it.

use sim::units::{Money, Span, Time};
use std::borrow::Cow;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number: a 64-bit integer.
    Whole,
    /// Any number: a 64-bit float.
    Number,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// Money in whole pico-dollars: a 64-bit integer.
    Money,
}

impl Kind {
    /// As the documentation has it, which is as DuckDB calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Whole | Kind::Money => "BIGINT",
            Kind::Number => "DOUBLE",
            Kind::Flag => "BOOLEAN",
            Kind::Text => "VARCHAR",
        }
    }
}

/// A column as documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Of what, where it has a unit.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// A value on its way into a column; `None`: there is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Whole(Option<u64>),
    Number(Option<f64>),
    Flag(Option<bool>),
    Text(Option<Cow<'a, str>>),
    Money(Money),
}

impl<'a> Cell<'a> {
    pub(super) fn whole(value: impl Into<u64>) -> Cell<'a> {
        Cell::Whole(Some(value.into()))
    }

    pub(super) fn flag(value: bool) -> Cell<'a> {
        Cell::Flag(Some(value))
    }

    pub(super) fn text(value: &'a str) -> Cell<'a> {
        Cell::Text(Some(Cow::Borrowed(value)))
    }

    /// Seconds from the start of the run; none for what never came.
    pub(super) fn time(value: Time) -> Cell<'a> {
        Cell::Number((value != Time::NEVER).then(|| value.as_secs_f64()))
    }

    pub(super) fn span(value: Span) -> Cell<'a> {
        Cell::Number(Some(value.as_secs_f64()))
    }
}

/// A column of a table with rows `R`.
pub(super) struct Column<'a, R> {
    pub(super) field: Field,
    pub(super) cell: fn(&R) -> Cell<'a>,
}

/// Shorthand for the lists of columns.
pub(super) fn column<'a, R>(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    meaning: &'static str,
    cell: fn(&R) -> Cell<'a>,
) -> Column<'a, R> {
    Column { field: Field { name, kind, unit, meaning }, cell }
}

pub(super) fn fields<R>(columns: &[Column<'_, R>]) -> Vec<Field> {
    columns.iter().map(|column| column.field).collect()
}
