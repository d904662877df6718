//! A sweep for people: the cells as a table, then which levers matter.
//!
//! Invariants: text and Markdown show the same grids; cells beyond [`MOST_ROWS`] are counted, not
//! forgotten; names from files cannot move the cursor or become markup.
//!
//! Deliberately absent: fitting the width of a terminal. A table is as wide as its levers and tasks.

mod web;

use super::cell::{CellDocument, Number};
use super::effects::MetricEffects;
use super::manifest::Manifest;
use crate::format::{Unit, estimate, number, thousands};
use crate::markdown::{escaped, grid};
use crate::text::{clean, padded};
use std::collections::BTreeSet;
use textwrap::core::display_width;
use web::{MOST_POINTS, Point};

/// Cells that are shown.
pub const MOST_ROWS: usize = 40;

/// What the columns of an effect are.
const LEGEND: &str = "An effect is what a number changes by when a lever goes from its first value to \
                      its last, all else equal. mu*: the mean of their sizes, with its 95 % interval; \
                      mu: the mean with their signs; sigma: how much they differ, because levers act \
                      together or not in a straight line. A lever whose mu* may be 0 may not matter.";

/// What is known of a sweep so far.
pub struct Overview<'a> {
    manifest: &'a Manifest,
    shown: Vec<CellDocument>,
    there: usize,
    refused: usize,
    unstable: usize,
    /// Cells whose objectives are all met, some missed, or else some undecided.
    judged: [usize; 3],
    tasks: Vec<String>,
    /// Those that are drawn.
    points: Vec<Point>,
}

/// One table.
struct Grid {
    title: String,
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl<'a> Overview<'a> {
    /// Nothing so far.
    #[must_use]
    pub fn of(manifest: &'a Manifest) -> Overview<'a> {
        let (shown, tasks, points) = (Vec::new(), Vec::new(), Vec::new());
        let judged = [0; 3];
        Overview { manifest, shown, there: 0, refused: 0, unstable: 0, judged, tasks, points }
    }

    /// One more cell, in their order.
    pub fn add(&mut self, cell: &CellDocument) {
        self.there += 1;
        self.refused += usize::from(cell.refused.is_some());
        self.unstable += usize::from(cell.verdict().is_some_and(|verdict| verdict != "stable"));
        match verdict(cell) {
            "yes" => self.judged[0] += 1,
            "no" => self.judged[1] += 1,
            "undecided" => self.judged[2] += 1,
            _ => {}
        }
        if self.points.len() < MOST_POINTS {
            let numbers = cell.numbers().filter_map(|(path, n)| Some((path.to_owned(), n.value?)));
            let values = cell.values().map(str::to_owned).collect();
            let why_not = match (&cell.refused, cell.verdict()) {
                (Some(_), _) => "refused",
                (None, Some(verdict)) if verdict != "stable" => verdict,
                _ => "n/a",
            };
            let why_not = why_not.to_owned();
            self.points.push(Point { values, numbers: numbers.collect(), why_not });
        }
        if self.shown.len() < MOST_ROWS {
            for task in cell.tasks() {
                if !self.tasks.iter().any(|known| known == task) {
                    self.tasks.push(task.to_owned());
                }
            }
            self.shown.push(cell.clone());
        }
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self, effects: &[MetricEffects]) -> String {
        let mut out = String::new();
        for line in self.opening() {
            out.push_str(&clean(&line));
            out.push('\n');
        }
        for grid in self.grids(effects) {
            out.push('\n');
            grid.text(&mut out);
        }
        if !effects.is_empty() {
            out.push('\n');
            textwrap::wrap(LEGEND, 80).iter().for_each(|line| out.extend([line, "\n"]));
        }
        out
    }

    /// For a review or a wiki.
    #[must_use]
    pub fn markdown(&self, effects: &[MetricEffects]) -> String {
        let mut out = format!("## {}\n\n", escaped(&self.manifest.scenario.name));
        for line in self.opening() {
            out.push_str(&escaped(&line));
            out.push_str("\n\n");
        }
        for table in self.grids(effects) {
            out.push_str(&format!("**{}**\n\n", escaped(&table.title)));
            let headers: Vec<String> = table.headers.iter().map(|text| escaped(text)).collect();
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let rows = table.rows.iter().map(|row| row.iter().map(|c| escaped(c)).collect());
            grid(&mut out, &headers, rows);
        }
        if !effects.is_empty() {
            out.push_str(&escaped(LEGEND));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn opening(&self) -> Vec<String> {
        let Manifest { scenario, design, seed, replications, cells, .. } = self.manifest;
        let count = |n: usize| thousands(&n.to_string());
        let mut all = vec![format!(
            "Sweep of {}: {}, {} cells, seed {seed}, {} replications of each",
            scenario.name,
            design.words(),
            count(*cells),
            replications.words()
        )];
        if self.there < *cells {
            all.push(format!("{} of {} cells are there so far.", count(self.there), count(*cells)));
        }
        let mut parts = Vec::new();
        let [met, missed, undecided] = self.judged;
        if met + missed + undecided > 0 {
            parts.push(format!(
                "Objectives: met in {}, missed in {}, undecided in {}.",
                count(met),
                count(missed),
                count(undecided)
            ));
        }
        if self.unstable > 0 {
            parts.push(format!("Not stable: {}.", count(self.unstable)));
        }
        if self.refused > 0 {
            parts.push(format!("Refused by the scenario: {}.", count(self.refused)));
        }
        if !parts.is_empty() {
            all.push(parts.join(" "));
        }
        let beyond = self.there - self.shown.len();
        if beyond > 0 {
            all.push(format!(
                "The first {} cells are shown; {} more are in sweep.parquet and in cells/.",
                self.shown.len(),
                count(beyond)
            ));
        }
        all
    }

    fn grids(&self, effects: &[MetricEffects]) -> Vec<Grid> {
        let short = short_names(self.manifest);
        let levers = Grid {
            title: "Levers".to_owned(),
            headers: ["", "key", "values"].map(str::to_owned).into(),
            rows: (self.manifest.levers.iter().zip(&short))
                .map(|(lever, name)| vec![name.clone(), lever.key.clone(), values(&lever.values)])
                .collect(),
        };
        let mut all = vec![levers];
        if !self.shown.is_empty() {
            all.push(self.cells(&short));
        }
        let paths = self.headlines();
        let important = effects.iter().filter(|metric| paths.contains(&metric.path));
        all.extend(important.map(|metric| ranking(metric, &short)));
        all
    }

    /// Numbers that everybody asks for first.
    fn headlines(&self) -> Vec<String> {
        let general = ["spend.per_day", "cost_per_successful_task"].map(str::to_owned);
        let of_task =
            |task: &String| [format!("{task}.p95_latency"), format!("{task}.success_rate")];
        general.into_iter().chain(self.tasks.iter().flat_map(of_task)).collect()
    }

    fn cells(&self, short: &[String]) -> Grid {
        let of_task = |task: &String| [format!("{task} p95"), format!("{task} success")];
        let headers = (std::iter::once("cell".to_owned()).chain(short.iter().cloned()))
            .chain(["spend/day", "cost/success"].map(str::to_owned))
            .chain(self.tasks.iter().flat_map(of_task))
            .chain(["objectives met".to_owned()]);
        Grid {
            title: "Cells".to_owned(),
            headers: headers.collect(),
            rows: self.shown.iter().map(|cell| self.row(cell)).collect(),
        }
    }

    fn row(&self, cell: &CellDocument) -> Vec<String> {
        let mut row = vec![cell.cell.to_string()];
        row.extend(cell.values().map(str::to_owned));
        if let Some(problems) = &cell.refused {
            row.push(format!("refused: {}", problems.lines().next().unwrap_or_default()));
            return row;
        }
        let voided = cell.verdict().filter(|verdict| *verdict != "stable");
        for path in self.headlines() {
            row.push(match cell.number(&path) {
                Some(Number { value: None, .. }) => voided.unwrap_or("n/a").to_owned(),
                Some(number) => estimate(&number.estimate(), unit(&number.unit)),
                None => "–".to_owned(),
            });
        }
        row.push(verdict(cell).to_owned());
        row
    }
}

/// Whether all objectives are met.
fn verdict(cell: &CellDocument) -> &'static str {
    let all: Vec<Option<bool>> = cell.objectives().map(|(_, met)| met).collect();
    if all.is_empty() {
        "–"
    } else if all.contains(&Some(false)) {
        "no"
    } else if all.contains(&None) {
        "undecided"
    } else {
        "yes"
    }
}

fn unit(name: &str) -> Unit {
    match name {
        "s" => Unit::Seconds,
        "USD" => Unit::Dollars,
        "1/s" => Unit::PerSecond,
        _ => Unit::Share,
    }
}

/// A few values as they are, many by their ends.
fn values(values: &[String]) -> String {
    match values {
        [first, .., last] if values.len() > 8 => {
            format!("{first}, … {last} ({} values)", values.len())
        }
        _ => values.join(", "),
    }
}

/// The ends of the key paths, as long as it takes to tell them apart.
fn short_names(manifest: &Manifest) -> Vec<String> {
    let keys: Vec<Vec<&str>> =
        manifest.levers.iter().map(|lever| lever.key.split('.').collect()).collect();
    let longest = keys.iter().map(Vec::len).max().unwrap_or(1);
    let ends = |length: usize| -> Vec<String> {
        keys.iter().map(|key| key[key.len().saturating_sub(length)..].join(".")).collect()
    };
    let differ = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    (1..longest).map(ends).find(differ).unwrap_or_else(|| ends(longest))
}

fn ranking(metric: &MetricEffects, short: &[String]) -> Grid {
    let unit = unit(&metric.unit);
    let written = |value: Option<f64>| value.map_or("n/a".to_owned(), |v| number(v, unit));
    Grid {
        title: format!("What moves {}", metric.path),
        headers: ["lever", "mu*", "mu", "sigma", "effects"].map(str::to_owned).into(),
        rows: (metric.ranking.iter())
            .map(|effect| {
                let all = effect.measured + effect.missing;
                vec![
                    short.get(effect.lever).cloned().unwrap_or_default(),
                    estimate(&effect.mu_star, unit),
                    written(effect.mu),
                    written(effect.sigma),
                    format!("{} of {all}", effect.measured),
                ]
            })
            .collect(),
    }
}

impl Grid {
    /// The title, then columns side by side, each as wide as its widest cell.
    fn text(&self, out: &mut String) {
        let lines: Vec<Vec<String>> = std::iter::once(&self.headers)
            .chain(&self.rows)
            .map(|line| line.iter().map(|cell| clean(cell)).collect())
            .collect();
        // A refused row ends early, and its last cell may run on.
        let full = |line: &&Vec<String>| line.len() == self.headers.len();
        let width = |at: usize| {
            let cells = lines.iter().filter(full).map(|line| display_width(&line[at]));
            let levers =
                lines.iter().filter_map(|line| line.get(at).filter(|_| at + 1 < line.len()));
            cells.chain(levers.map(|cell| display_width(cell))).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headers.len()).map(width).collect();
        out.push_str(&clean(&self.title));
        out.push('\n');
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, &width)| padded(cell, width));
            let joined = cells.collect::<Vec<_>>().join("  ");
            out.push_str("  ");
            out.push_str(joined.trim_end());
            out.push('\n');
        }
    }
}
