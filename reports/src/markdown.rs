//! The summary for a pull request or a wiki, in GitHub's Markdown.
//!
//! Invariants: the answer, the whiteboard three, objectives and warnings are in sight, all tables
//! and the provenance are folded; names from files cannot become markup.
//!
//! Deliberately absent: images, and any number that [`crate::text`] does not show.

use crate::format::steers;
use crate::report::{ProvenanceRow, Report};
use crate::sections::{Sections, Table};
use crate::text::clean;
use std::fmt::Write;

/// The document.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    page(&Sections::of(report), &report.provenance)
}

/// Sections as Markdown.
pub(crate) fn page(sections: &Sections, inputs: &[ProvenanceRow]) -> String {
    let mut out = String::new();
    opening(&mut out, sections);
    headlines(&mut out, sections);
    objectives(&mut out, sections);
    sections.open.iter().for_each(|table| details(&mut out, table));
    advice(&mut out, sections);
    if let Some(stability) = &sections.stability {
        line(&mut out, &format!("**Stability** {}", escaped(stability)));
    }
    if !sections.tables.is_empty() {
        let all = |out: &mut String| sections.tables.iter().for_each(|table| details(out, table));
        fold(&mut out, "Details", all);
    }
    if !inputs.is_empty() {
        fold(&mut out, "Where the inputs come from", |out| provenance(out, inputs));
    }
    commands(&mut out, &sections.commands);
    let origin: Vec<String> = sections.origin.iter().map(|line| escaped(line)).collect();
    line(&mut out, &origin.join("<br>\n"));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// A paragraph.
fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push_str("\n\n");
}

fn opening(out: &mut String, sections: &Sections) {
    line(out, &format!("## {}", escaped(&sections.name)));
    if let Some(question) = &sections.question {
        line(out, &format!("> {}", escaped(question)));
    }
    for banner in &sections.banners {
        line(out, &format!("**{}**", escaped(banner)));
    }
    line(out, &escaped(&sections.sentence));
}

fn headlines(out: &mut String, sections: &Sections) {
    if sections.headlines.is_empty() {
        return;
    }
    let rows = sections.headlines.iter().map(|headline| {
        let label = match &headline.of {
            Some(of) => format!("{}, {}", headline.label, escaped(of)),
            None => headline.label.into(),
        };
        let interval = headline.cell.interval.clone();
        let beside = interval.or_else(|| headline.note.clone()).unwrap_or_default();
        vec![label, format!("**{}**", escaped(&headline.cell.value)), escaped(&beside)]
    });
    let interval = format!("{} % interval", experiments::CONFIDENCE * 100.0);
    grid(out, &["", "value", &interval], rows);
    for statement in &sections.calibration {
        line(out, &format!("**Calibration** {}", escaped(statement)));
    }
}

fn objectives(out: &mut String, sections: &Sections) {
    if sections.objectives.is_empty() {
        return;
    }
    let rows = sections.objectives.iter().map(|judged| {
        let note = judged.note.as_deref().unwrap_or_default();
        let cells = [judged.mark(), &judged.promise, &judged.found, note];
        cells.map(escaped).into()
    });
    grid(out, &["", "objective", "found", ""], rows);
}

fn advice(out: &mut String, sections: &Sections) {
    if sections.advice.is_empty() {
        return;
    }
    line(out, "**Know before use**");
    for (at, entry) in sections.advice.iter().enumerate() {
        let advice = entry.advice.as_deref().map_or_else(String::new, |text| format!(" → {text}"));
        let _ = writeln!(out, "{}. {}{}", at + 1, escaped(&entry.message), escaped(&advice));
    }
    out.push('\n');
}

/// A block of code in which everything is shown as it is: its fence is longer than any in it.
fn commands(out: &mut String, commands: &[(String, String)]) {
    if commands.is_empty() {
        return;
    }
    let lines: Vec<String> = commands
        .iter()
        .flat_map(|(what, command)| [format!("# {}", clean(what)), clean(command)])
        .collect();
    let mut fence = "```".to_owned();
    while lines.iter().any(|line| line.contains(&fence)) {
        fence.push('`');
    }
    line(out, &format!("{fence}sh\n{}\n{fence}", lines.join("\n")));
}

fn details(out: &mut String, table: &Table) {
    line(out, &format!("**{}**", escaped(&table.title)));
    let headers: Vec<&str> =
        std::iter::once("").chain(table.headers.iter().map(AsRef::as_ref)).collect();
    let rows = table.rows.iter().map(|row| {
        let cells = row.cells.iter().map(|cell| escaped(&cell.inline()));
        std::iter::once(escaped(row.name.trim())).chain(cells).collect()
    });
    grid(out, &headers, rows);
    table.notes.iter().for_each(|note| line(out, &format!("_{}_", escaped(note))));
}

fn provenance(out: &mut String, inputs: &[ProvenanceRow]) {
    let rows = inputs
        .iter()
        .map(|row| [&row.key, &row.value, &row.origin].map(|text| escaped(text)).into());
    grid(out, &["input", "value", "from"], rows);
}

/// A section that opens on a click; the empty lines let Markdown in again.
fn fold(out: &mut String, summary: &str, content: impl FnOnce(&mut String)) {
    line(out, &format!("<details><summary>{summary}</summary>"));
    content(out);
    line(out, "</details>");
}

/// A table: the first column to the left, the others as they come.
pub(crate) fn grid(out: &mut String, headers: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(out, "| {} |", headers.join(" | "));
    let _ = writeln!(out, "|{}", " --- |".repeat(headers.len()));
    rows.for_each(|row| {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    });
    out.push('\n');
}

/// Text that Markdown shows as it is.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c if steers(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
