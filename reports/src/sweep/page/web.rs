//! A sweep for a browser: its tables, what happens along a lever whose values are numbers, and which
//! levers matter.

mod heat;

use super::{Grid, LEGEND, Overview, short_names};
use crate::html::{self, Page, Standing};
use crate::picture::{Axis, Drawing, Line, Lines, Mark, Measure, Picture, Range, Ranges, Topic};
use crate::sections::{Cell, Sections, Table};
use crate::sweep::{Manifest, MetricEffects};
use experiments::knee::knee;
use std::collections::{BTreeMap, BTreeSet};

/// Cells that are drawn.
pub(super) const MOST_POINTS: usize = 2_000;
/// Lines of one picture: more cannot be told apart.
const MOST_LINES: usize = 8;
/// Lines whose knees are marked.
const MOST_KNEES: usize = 4;
/// What a knee is.
const KNEE: &str =
    " The knee is the place with the most traffic per second of p95 (Kleinrock's power).";

/// What is drawn of a cell.
pub(super) struct Point {
    /// One for each lever.
    pub(super) values: Vec<String>,
    /// By path.
    pub(super) numbers: BTreeMap<String, f64>,
    /// Why others have none, in a word.
    pub(super) why_not: String,
}

impl Overview<'_> {
    /// For a browser; `command` repeats it.
    #[must_use]
    pub fn html(&self, effects: &[MetricEffects], command: &str) -> String {
        let [first, further @ ..] = &self.opening()[..] else { return String::new() };
        let mut tables: Vec<Table> = self.grids(effects).into_iter().map(table).collect();
        let cells = tables.split_off(1);
        let sections = Sections {
            name: format!("{}: a sweep", self.manifest.scenario.name),
            sentence: format!("{first}. {}", further.join(" ")).trim_end().to_owned(),
            open: cells,
            tables,
            commands: vec![("To repeat it".to_owned(), command.to_owned())],
            origin: self.origin(),
            ..Sections::default()
        };
        let topics = self.topics(effects);
        let standing = Standing::Unjudged;
        html::page(&Page { standing, sections: &sections, topics: &topics, inputs: &[] })
    }

    fn origin(&self) -> Vec<String> {
        let Manifest { scenario, seed, version, .. } = self.manifest;
        vec![
            format!("scenario, policy and overrides: SHA-256 {}", scenario.sha256),
            format!(
                "seed {seed}; all cells see the same random numbers; intervals are {} %; surgeline {version}",
                experiments::CONFIDENCE * 100.0
            ),
        ]
    }

    /// Its pictures.
    #[must_use]
    pub fn topics(&self, effects: &[MetricEffects]) -> Vec<Topic> {
        let topics = [
            Topic { title: "Along a lever", pictures: self.along() },
            Topic { title: "By two levers", pictures: self.by_two() },
            Topic { title: "Which levers matter", pictures: self.ranked(effects) },
        ];
        topics.into_iter().filter(|topic| !topic.pictures.is_empty()).collect()
    }

    /// Each of the numbers that everybody asks for first, over the lever with the most numbers.
    fn along(&self) -> Vec<Picture> {
        let Some((lever, places)) = self.longest() else { return Vec::new() };
        let names = short_names(self.manifest);
        let mut groups: BTreeMap<String, Vec<&Point>> = BTreeMap::new();
        for point in &self.points {
            let others = point.values.iter().zip(&names).enumerate();
            let others = others.filter(|(at, _)| *at != lever);
            let words: Vec<String> =
                others.map(|(_, (value, name))| format!("{name} {value}")).collect();
            groups.entry(words.join(", ")).or_default().push(point);
        }
        if groups.len() > MOST_LINES {
            return Vec::new();
        }
        let gap = match groups.values().all(|group| group.len() >= places.len()) {
            true => "where a cell has no number, as an overloaded one, the line has a gap",
            false => {
                "where the design has no cell, or a cell no number, as an overloaded one, the line has a gap"
            }
        };
        let drawn = self.headlines().into_iter().filter_map(|path| {
            let value = |group: &[&Point], at: f64| {
                let here = |point: &&&Point| number(&point.values[lever]) == Some(at);
                group.iter().find(here).and_then(|point| point.numbers.get(&path).copied())
            };
            let line = |(name, group): (&String, &Vec<&Point>)| Line {
                name: if name.is_empty() { path.clone() } else { name.clone() },
                values: places.iter().map(|&at| value(group, at)).collect(),
            };
            let key = &self.manifest.levers[lever].key;
            let lines: Vec<Line> = groups.iter().map(line).collect();
            let is_load = key.starts_with("traffic.") && path.ends_with(".p95_latency");
            let marks = if is_load { knees(&places, &lines) } else { Vec::new() };
            let further = if marks.is_empty() { "" } else { KNEE };
            let lines = Lines {
                x: Axis::new(key.clone(), Measure::Count),
                y: Axis::new(path.clone(), measure(&path)),
                at: places.clone(),
                lines,
                marks,
                is_scattered: false,
            };
            let title = format!("How {path} changes with {}", names[lever]);
            let caption = format!(
                "Each place is a cell of the sweep, all under the same random numbers; \
                 {gap}.{further}"
            );
            Picture::of(file_name(&path, "along"), title, caption, Drawing::Lines(lines))
        });
        drawn.collect()
    }

    /// The lever with the most values that are all numbers, and those, rising.
    fn longest(&self) -> Option<(usize, Vec<f64>)> {
        let numbers = |(at, lever): (usize, &crate::sweep::LeverValues)| {
            let values: Option<Vec<f64>> = lever.values.iter().map(|text| number(text)).collect();
            let mut values = values.filter(|values| values.len() > 1)?;
            values.sort_by(f64::total_cmp);
            values.dedup();
            Some((at, values))
        };
        let all = self.manifest.levers.iter().enumerate().filter_map(numbers);
        // Of equally many the first.
        all.reduce(|best, next| if next.1.len() > best.1.len() { next } else { best })
    }

    /// The effects of the levers on those numbers.
    fn ranked(&self, effects: &[MetricEffects]) -> Vec<Picture> {
        let names = short_names(self.manifest);
        let paths: BTreeSet<String> = self.headlines().into_iter().collect();
        let important = effects.iter().filter(|metric| paths.contains(&metric.path));
        let drawn = important.filter_map(|metric| {
            let row = |effect: &experiments::sweep::morris::LeverEffect| {
                let (value, ends) =
                    (effect.mu_star.value?, effect.mu_star.low.zip(effect.mu_star.high));
                Some(Range {
                    name: names.get(effect.lever)?.clone(),
                    value,
                    ends: ends.unwrap_or((value, value)),
                    limit: None,
                    verdict: String::new(),
                })
            };
            let ranges = Ranges {
                axis: Axis::new("mu*, the size of the effect", measure(&metric.path)),
                rows: metric.ranking.iter().filter_map(row).collect(),
            };
            let title = format!("What moves {}", metric.path);
            Picture::of(file_name(&metric.path, "effects"), title, LEGEND, Drawing::Ranges(ranges))
        });
        drawn.collect()
    }
}

/// Where each of few lines of a p95 over traffic has its knee, if between the places.
fn knees(places: &[f64], lines: &[Line]) -> Vec<Mark> {
    if lines.len() > MOST_KNEES {
        return Vec::new();
    }
    let mark = |line: &Line| {
        let points = places.iter().zip(&line.values).filter_map(|(&at, p95)| Some((at, (*p95)?)));
        let at = knee(&points.collect::<Vec<_>>())?;
        let name =
            if lines.len() == 1 { "knee".to_owned() } else { format!("knee of {}", line.name) };
        Some(Mark { on_x: true, at, name })
    };
    lines.iter().filter_map(mark).collect()
}

/// Name of the files of a picture of a number.
fn file_name(path: &str, what: &str) -> String {
    format!("{}-{what}", path.replace(['.', '_'], "-"))
}

/// A value of a lever as a number: `3`, `0.85`, `2x`.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('x').unwrap_or(text).replace('_', "").parse().ok()?;
    number.is_finite().then_some(number)
}

fn measure(path: &str) -> Measure {
    match path {
        path if path.ends_with("_latency") => Measure::Seconds,
        path if path.ends_with("_rate") => Measure::Share,
        _ => Measure::Dollars,
    }
}

/// A number with its interval in brackets, taken apart.
fn cell(text: String) -> Cell {
    match text.strip_suffix(')').and_then(|text| text.split_once(" (")) {
        Some((value, interval)) => {
            Cell { value: value.to_owned(), interval: Some(interval.to_owned()) }
        }
        None => Cell::plain(text),
    }
}

/// A grid as a table: a row that ends early is filled up.
fn table(grid: Grid) -> Table {
    let mut headers = grid.headers.into_iter();
    headers.next();
    let mut table = Table::headed(&grid.title, headers.collect());
    for row in grid.rows {
        let mut cells = row.into_iter();
        let name = cells.next().unwrap_or_default();
        let mut cells: Vec<Cell> = cells.map(cell).collect();
        cells.resize(table.headers.len(), Cell::plain(""));
        table.row(name, cells);
    }
    table
}
