//! A score for a browser: errors by configuration, and predicted over measured times of every row.

use super::{brief, errors, groups};
use crate::format::count;
use crate::html::{self, Page, Standing};
use crate::picture::{Axis, Drawing, Line, Lines, Mark, Measure, Picture, Topic};
use crate::sections::{Cell, Sections, Table};
use calibrate::score::{Errors, Score, Scored, ScoredRow};
use std::collections::{BTreeMap, BTreeSet};

/// A time of a row.
type Get = fn(&ScoredRow) -> Option<&Scored>;

/// The page; `command` repeats it.
#[must_use]
pub fn score_html(score: &Score, command: &str, version: &str) -> String {
    let mut tables = vec![by_configuration(score)];
    tables.extend((!score.refused.is_empty()).then(|| refused(score)));
    let sections = Sections {
        name: "Predicted beside measured".to_owned(),
        question: Some("How far are predicted times from those of real serving runs?".to_owned()),
        sentence: sentence(score),
        open: tables,
        tables: vec![every_row(score)],
        commands: vec![("To repeat it".to_owned(), command.to_owned())],
        origin: vec![format!("surgeline {version}")],
        ..Sections::default()
    };
    let topics = score_topics(score);
    html::page(&Page {
        standing: Standing::Unjudged,
        sections: &sections,
        topics: &topics,
        inputs: &[],
    })
}

/// The pictures of a score.
#[must_use]
pub fn score_topics(score: &Score) -> Vec<Topic> {
    let times: [(&str, &str, Get); 2] = [
        ("residuals-tpot", "Predicted time per token over the measured one", |row| {
            row.tpot.as_ref()
        }),
        ("residuals-ttft", "Predicted time to first token over the measured one", |row| {
            Some(&row.ttft)
        }),
    ];
    let pictures =
        times.into_iter().filter_map(|(name, title, get)| residuals(score, (name, title), get));
    let topic = Topic { title: "Residuals", pictures: pictures.collect() };
    if topic.pictures.is_empty() { Vec::new() } else { vec![topic] }
}

fn sentence(score: &Score) -> String {
    let all: Vec<&ScoredRow> = score.rows.iter().collect();
    let [tpot, ttft, waiting] = errors(&all);
    let error = |what: &str, errors: Option<Errors>| {
        errors.map(|Errors { median, rows, .. }| {
            let rows = count(rows as u64);
            format!("{what} is off by {:.1} % ({rows} rows)", 100.0 * median)
        })
    };
    let parts = [
        error("a time per token", tpot),
        error("a first token", ttft),
        error("one that waits for a place", waiting),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let rows = format!(
        "{} of {} rows are predicted",
        score.rows.len(),
        score.rows.len() + score.refused.len()
    );
    match parts.as_slice() {
        [] => format!("{rows}."),
        parts => format!("{rows}; in the median {}.", parts.join(", ")),
    }
}

fn by_configuration(score: &Score) -> Table {
    let mut table = Table::new("Median errors", &["TPOT", "TTFT", "TTFT of rows that wait"]);
    for (name, rows) in groups(score) {
        table.row(name, errors(&rows).map(|errors| Cell::plain(brief(errors))).into());
    }
    table.notes.push("in brackets the median with its sign, and the rows.".to_owned());
    let covered = |scored: Vec<&Scored>| Errors::of(scored).map(|errors| 100.0 * errors.covered);
    let tpot = covered(score.rows.iter().filter_map(|row| row.tpot.as_ref()).collect());
    let ttft = covered(score.rows.iter().map(|row| &row.ttft).collect());
    if let (Some(tpot), Some(ttft)) = (tpot, ttft) {
        table
            .notes
            .push(format!("The 90 % intervals hold {tpot:.0} % of TPOT and {ttft:.0} % of TTFT."));
    }
    table
}

fn refused(score: &Score) -> Table {
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for refused in &score.refused {
        *reasons.entry(&refused.reason).or_default() += 1;
    }
    let mut table = Table::new("Not predicted", &["rows"]);
    for (reason, rows) in reasons {
        table.row(reason, vec![Cell::plain(rows.to_string())]);
    }
    table
}

fn every_row(score: &Score) -> Table {
    let headers =
        ["prompt", "answer", "lanes", "TTFT", "predicted", "error", "TPOT", "predicted", "error"];
    let mut table = Table::new("Every row", &headers);
    let times = |scored: Option<&Scored>| match scored {
        Some(scored) => [
            format!("{:.2} ms", scored.measured),
            format!("{:.2} ms", scored.predicted),
            format!("{:+.1} %", 100.0 * scored.error()),
        ],
        None => [const { String::new() }; 3],
    };
    for row in &score.rows {
        let (prompt, answer, lanes) = row.load;
        let load = [prompt, answer, lanes].map(|count| count.to_string());
        let cells = load.into_iter().chain(times(Some(&row.ttft))).chain(times(row.tpot.as_ref()));
        let waits = if row.saturated { " (waits)" } else { "" };
        table.row(format!("{}{waits}", row.id), cells.map(Cell::plain).collect());
    }
    table
}

/// Each row as a point over its concurrency, by engine.
fn residuals(score: &Score, (name, title): (&str, &str), get: Get) -> Option<Picture> {
    let mut rows: Vec<(&ScoredRow, f64)> = score
        .rows
        .iter()
        .filter_map(|row| get(row).map(|scored| (row, scored.predicted / scored.measured)))
        .filter(|(_, ratio)| ratio.is_finite())
        .collect();
    rows.sort_by_key(|(row, _)| row.load.2);
    let engines: BTreeSet<&str> =
        rows.iter().map(|(row, _)| row.configuration.backend.as_str()).collect();
    let line = |engine: &&str| Line {
        name: (*engine).to_owned(),
        values: rows
            .iter()
            .map(|(row, ratio)| (row.configuration.backend == **engine).then_some(*ratio))
            .collect(),
    };
    let lines = Lines {
        x: Axis::new("requests at once", Measure::Count).logarithmic(),
        y: Axis::new("predicted over measured", Measure::Share).logarithmic(),
        at: rows.iter().map(|(row, _)| f64::from(row.load.2)).collect(),
        lines: engines.iter().map(line).collect(),
        marks: vec![Mark { on_x: false, at: 1.0, name: "as measured".to_owned() }],
        is_scattered: true,
    };
    let caption = "A point is a row of the measurements. Above the line it was predicted too slow.";
    Picture::of(name, title, caption, Drawing::Lines(lines))
}
