//! Texts of a page: where names may be broken, and what a cell says on its own.
//!
//! Invariant: no text of a file becomes markup.

use crate::format::plain;
use crate::sections::{Row, Table};
use std::borrow::Cow;

/// A cell with what it says where columns do not stand side by side.
pub(super) struct Labelled<'a> {
    /// What its column is.
    pub(super) label: &'a str,
    /// Its class, if it is a verdict, with the space that parts it from others.
    pub(super) verdict: Option<&'static str>,
    pub(super) value: &'a str,
    pub(super) interval: Option<&'a str>,
}

/// The cells of a row. A column without a name belongs to the one before it.
pub(super) fn labelled<'a>(table: &'a Table, row: &'a Row) -> Vec<Labelled<'a>> {
    let mut label = "";
    let cells = table.headers.iter().zip(&row.cells).map(|(header, cell)| {
        label = if header.is_empty() { label } else { header };
        Labelled {
            label,
            verdict: verdict(&cell.value),
            value: &cell.value,
            interval: cell.interval.as_deref(),
        }
    });
    cells.collect()
}

/// The class of a text that begins with a mark.
fn verdict(text: &str) -> Option<&'static str> {
    match text.chars().next()? {
        '✓' => Some("met"),
        '✗' => Some("missed"),
        '?' => Some("open"),
        _ => None,
    }
}

/// Markup of a name that may be broken where its parts meet, and nowhere else while that is enough.
pub(super) fn breakable(text: &str) -> String {
    let text = plain(text);
    let mut markup = String::with_capacity(text.len() + text.len() / 4);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(here) = rest.next() {
        markup.push_str(&escaped(here));
        if rest.peek().is_some_and(|&after| is_joint(before, here, after)) {
            markup.push_str("<wbr>");
        }
        before = here;
    }
    markup
}

/// Whether a name may be broken after `here`; a number may not.
fn is_joint(before: char, here: char, after: char) -> bool {
    match here {
        '_' | '=' => after.is_alphanumeric() && !before.is_whitespace(),
        '.' | '/' => after.is_alphabetic() && before.is_alphanumeric(),
        _ => false,
    }
}

fn escaped(c: char) -> Cow<'static, str> {
    match c {
        '&' => "&#38;".into(),
        '<' => "&#60;".into(),
        '>' => "&#62;".into(),
        '"' => "&#34;".into(),
        '\'' => "&#39;".into(),
        _ => c.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::Cell;

    #[test]
    fn names_break_where_their_parts_meet() {
        let all = [
            ("pools.h100.max_num_seqs=64", "pools.<wbr>h100.<wbr>max_<wbr>num_<wbr>seqs=<wbr>64"),
            ("a rate of 0.995 of gpt-4.1", "a rate of 0.995 of gpt-4.1"),
            ("<b>&'\"", "&#60;b&#62;&#38;&#39;&#34;"),
            ("it ends. Then", "it ends. Then"),
        ];
        for (text, markup) in all {
            assert_eq!(breakable(text), markup);
        }
    }

    #[test]
    fn marks_are_of_the_column_before_them() {
        let mut table = Table::new("Objectives", &["today", "", "tomorrow", ""]);
        table.row("p95", ["1 s", "✓", "9 s", "✗"].map(Cell::plain).into());
        let cells = labelled(&table, &table.rows[0]);
        let said: Vec<_> =
            cells.iter().map(|cell| (cell.label, cell.value, cell.verdict)).collect();
        let wanted = [
            ("today", "1 s", None),
            ("today", "✓", Some("met")),
            ("tomorrow", "9 s", None),
            ("tomorrow", "✗", Some("missed")),
        ];
        assert_eq!(said, wanted);
    }
}
