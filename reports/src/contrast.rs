//! Two arms side by side: the tables that comparing commands share.
//!
//! Invariants: every change has its interval or a note that says why it has none; parts of a change
//! sum to it.
//!
//! Deliberately absent: verdicts (see `check`).

use crate::format::{Unit, money, number, parts, span};
use crate::names::{DRIVER_WORDS, ENDING_WORDS, endings, spend_words};
use crate::table::{Cell, Table};
use experiments::contrast::{Compared, Contrast, CostShift, LatencyShift};
use experiments::estimate::Estimate;
use experiments::examples::{Example, Fate};
use experiments::paired::Change;
use sim::outcome::{Ending, Endings};
use sim::tasks::{ALL_DRIVERS, Driver};
use sim::units::{Money, Span};

/// What the two arms are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arms {
    /// The first.
    pub before: &'static str,
    /// The second.
    pub after: &'static str,
}

/// Two versions of one system.
pub const GATE: Arms = Arms { before: "baseline", after: "candidate" };
/// Two scenarios.
pub const FILES: Arms = Arms { before: "first", after: "second" };
/// The same system before and after something changes.
pub const DAYS: Arms = Arms { before: "today", after: "tomorrow" };

/// Further numbers that are shown.
const MOST_MOVED: usize = 10;
/// Seconds below which a part of a latency is not worth a row.
const SLIGHT: f64 = 0.0005;

/// A change with its sign: `+1.9 %`, `-20 ms`.
pub(crate) fn signed(value: f64, unit: Unit) -> String {
    let text = number(value, unit);
    if value > 0.0 && !text.starts_with('+') { format!("+{text}") } else { text }
}

/// A change and its interval, both signed.
pub(crate) fn change_cell(estimate: &Estimate, unit: Unit) -> Cell {
    let (value, interval) = parts(estimate, unit);
    let sign = if estimate.value.is_some_and(|value| value > 0.0) { "+" } else { "" };
    let interval = interval.map(|interval| match (estimate.low, estimate.high) {
        (Some(low), Some(high)) if low != high => {
            // Decimals of the interval were chosen to tell its ends apart.
            let ends: Vec<&str> = split_ends(&interval);
            let written = ends
                .iter()
                .zip([low, high])
                .map(|(text, end)| if end > 0.0 { format!("+{text}") } else { (*text).to_owned() });
            written.collect::<Vec<_>>().join(" to ")
        }
        _ => interval,
    });
    Cell { value: format!("{sign}{value}"), interval }
}

/// A number of one arm. Its own interval says nothing of the change, which has one.
pub(crate) fn value(estimate: &Estimate, unit: Unit) -> Cell {
    Cell { interval: None, ..Cell::of(estimate, unit) }
}

fn split_ends(interval: &str) -> Vec<&str> {
    match interval.split_once(" to ") {
        Some((low, high)) => vec![low, high],
        None => interval.split('–').collect(),
    }
}

/// The numbers that matter to everybody: spend, cost, margin, success and the p95 of each task; then
/// those that surely moved.
pub(crate) fn numbers(contrast: &Contrast, arms: Arms) -> [Table; 2] {
    let (few, others): (Vec<&Compared>, Vec<&Compared>) =
        contrast.numbers.iter().partition(|number| is_of_the_few(&number.path));
    let size = |number: &Compared| number.change.relative.value.unwrap_or_default().abs();
    // The only task's numbers are those of all tasks.
    let is_new = |number: &&Compared| few.iter().all(|known| known.change != number.change);
    let certain = others.into_iter().filter(|number| number.change.is_certain());
    let mut moved: Vec<&Compared> = certain.filter(is_new).collect();
    moved.sort_by(|a, b| size(b).total_cmp(&size(a)));
    moved.truncate(MOST_MOVED);
    [changes("What changes", arms, &few), changes("What else moves most", arms, &moved)]
}

fn is_of_the_few(path: &str) -> bool {
    let of_all =
        ["spend.per_day", "spend.per_month", "cost_per_successful_task", "margin_per_task"];
    let of_tasks = [".p95_latency", ".success_rate"];
    of_all.contains(&path) || of_tasks.iter().any(|end| path.ends_with(end))
}

fn changes(title: &str, arms: Arms, numbers: &[&Compared]) -> Table {
    let mut table = Table::new(title, &[arms.before, arms.after, "change", "in per cent"]);
    for number in numbers {
        let unit = Unit::of(number.metric);
        let change = &number.change;
        let cells = vec![
            value(&change.before, unit),
            value(&change.after, unit),
            Cell { interval: None, ..change_cell(&change.difference, unit.of_changes()) },
            change_cell(&change.relative, Unit::Share),
        ];
        table.explain(&change.difference);
        table.row(number.path.as_str(), cells);
    }
    table
}

/// What moved latencies and cost.
pub(crate) fn drivers(contrast: &Contrast, arms: Arms) -> Vec<Table> {
    let mut all: Vec<Table> = contrast.latency.iter().map(|shift| latency(shift, arms)).collect();
    all.push(costs("Why a success costs what it costs", &contrast.causes, arms));
    all.push(costs("What a success pays for", &contrast.items, arms));
    all.push(spend(contrast, arms));
    all
}

fn latency(shift: &LatencyShift, arms: Arms) -> Table {
    let of_p95 = !shift.p95_parts.is_empty();
    let (what, rows, total) = match of_p95 {
        true => ("p95", &shift.p95_parts, &shift.p95),
        false => ("mean", &shift.mean_parts, &shift.mean),
    };
    let title = format!("What moves the {what} of {}", shift.task);
    let mut table = Table::new(&title, &[arms.before, arms.after, "change"]);
    if rows.is_empty() {
        return table;
    }
    let whole = [&total.before, &total.after].map(|estimate| value(estimate, Unit::Seconds));
    let [before, after] = whole;
    table.row(what, vec![before, after, change_cell(&total.difference, Unit::Seconds)]);
    for &(driver, before, after) in rows.iter().filter(|row| row.1.max(row.2) >= SLIGHT) {
        let seconds = |value| Cell::plain(number(value, Unit::Seconds));
        let change = Cell::plain(signed(after - before, Unit::Seconds));
        let name = format!("  {}", DRIVER_WORDS[driver as usize]);
        table.row(name, vec![seconds(before), seconds(after), change]);
    }
    if of_p95 {
        table.notes.push("as the tasks with latencies next to the p95 spent their time".to_owned());
    }
    table
}

fn costs(title: &str, shifts: &[CostShift], arms: Arms) -> Table {
    let mut table = Table::new(title, &[arms.before, arms.after, "change"]);
    for CostShift { key, change } in shifts {
        let cells = vec![
            value(&change.before, Unit::Dollars),
            value(&change.after, Unit::Dollars),
            change_cell(&change.difference, Unit::Dollars),
        ];
        table.row(spend_words(key), cells);
    }
    table
}

fn spend(contrast: &Contrast, arms: Arms) -> Table {
    let mut table = Table::new("Spend per run", &[arms.before, arms.after, "change"]);
    let nothing = Money::ZERO;
    for &(key, before, after) in &contrast.spend {
        if before != nothing || after != nothing {
            let rise = if after > before { "+" } else { "" };
            let change = format!("{rise}{}", money(after - before));
            let cells = [money(before), money(after), change].map(Cell::plain);
            table.row(spend_words(key), cells.into());
        }
    }
    table
}

/// The cause that moved the latency of a task most, in words: `queueing +1.2 s`.
pub(crate) fn main_cause(shift: &LatencyShift) -> Option<String> {
    let rows = if shift.p95_parts.is_empty() { &shift.mean_parts } else { &shift.p95_parts };
    let &(driver, before, after) = rows.first()?;
    let moved = after - before;
    let words = DRIVER_WORDS[driver as usize];
    (moved.abs() >= SLIGHT).then(|| format!("{words} {}", signed(moved, Unit::Seconds)))
}

/// Single tasks, side by side.
pub(crate) fn examples(examples: &[Example], arms: Arms) -> Vec<Table> {
    examples.iter().map(|example| one_example(example, arms)).collect()
}

fn one_example(example: &Example, arms: Arms) -> Table {
    let at = span(Span(example.arrived.0));
    let Example { task, number, source, .. } = example;
    let title = format!("{task} {number} of {source}, arrived at {at}");
    let mut table = Table::new(&title, &[arms.before, arms.after]);
    let fates = [&example.before, &example.after];
    let mut row = |name: String, of: &dyn Fn(&Fate) -> String| {
        table.row(name, fates.iter().map(|fate| Cell::plain(of(fate))).collect());
    };
    row("ended".to_owned(), &|fate| ending(fate.ending));
    row("took".to_owned(), &|fate| match fate.ending {
        Some(_) => number_of(fate.latency),
        None => "–".to_owned(),
    });
    for driver in ALL_DRIVERS {
        let parts = fates.map(|fate| part(fate, driver));
        if parts.iter().any(|part| part.0 > 0) {
            let name = format!("  {}", DRIVER_WORDS[driver as usize]);
            row(name, &|fate| number_of(part(fate, driver)));
        }
    }
    if fates.iter().any(|fate| fate.task.is_some()) {
        row("metered cost".to_owned(), &|fate| {
            fate.task.map_or_else(|| "–".to_owned(), |task| money(task.spend))
        });
        row("submissions".to_owned(), &|fate| {
            fate.task.map_or_else(|| "–".to_owned(), |task| task.submissions.to_string())
        });
    }
    row("answered calls".to_owned(), &|fate| fate.calls.len().to_string());
    row("by".to_owned(), &|fate| {
        let mut names: Vec<&str> = fate.calls.iter().map(|(_, model, _)| model.as_str()).collect();
        names.dedup();
        names.join(", ")
    });
    table
}

fn number_of(span: Span) -> String {
    number(span.as_secs_f64(), Unit::Seconds)
}

/// What a task spent on one cause. Of a plain call its engine says it.
pub(crate) fn part(fate: &Fate, driver: Driver) -> Span {
    if let Some(task) = &fate.task {
        return task.parts[driver as usize];
    }
    let Some((call, ..)) = fate.calls.last() else { return Span::ZERO };
    match driver {
        Driver::Queueing => call.scheduled - call.arrived,
        Driver::Prefill => call.first_token - call.scheduled,
        Driver::Decode => call.ended - call.first_token,
        _ => Span::ZERO,
    }
}

/// How a task ended, in words.
fn ending(ending: Option<Ending>) -> String {
    let Some(ending) = ending else { return "turned away".to_owned() };
    let mut one = Endings::default();
    one.count(ending);
    let at = endings(&one).iter().position(|&count| count > 0);
    at.map_or_else(String::new, |at| ENDING_WORDS[at].to_owned())
}

/// A number of both arms in a sentence: `p95 of reply rises by 3.1 % (2.8–3.4)`.
pub(crate) fn moved(change: &Change) -> Option<String> {
    let value = change.relative.value?;
    let (verb, sign) = if value < 0.0 { ("falls", -1.0) } else { ("rises", 1.0) };
    let (low, high) = (change.relative.low, change.relative.high);
    let ends = low.zip(high).map(|(low, high)| [sign * low, sign * high]);
    let size = match ends {
        Some([a, b]) => Estimate::with_interval(sign * value, a.min(b), a.max(b)),
        None => Estimate::without_interval(sign * value, "no interval"),
    };
    Some(format!("{verb} by {}", Cell::of(&size, Unit::Share).inline()))
}

/// Whether both arms agree to the last digit in everything that is compared.
pub(crate) fn is_unchanged(contrast: &Contrast) -> bool {
    contrast.numbers.iter().all(|Compared { change, .. }| {
        change.before.value == change.after.value
            && change.difference.value.is_none_or(|value| value == 0.0)
    })
}

/// What common random numbers did for the first p95 that varies.
pub(crate) fn common_numbers(contrast: &Contrast) -> Option<String> {
    let ratio = contrast.latency.iter().find_map(|shift| shift.p95.variance_ratio)?;
    let (factor, word) = if ratio >= 1.0 { (ratio, "less") } else { (ratio.recip(), "more") };
    let factor = number(factor, Unit::Plain);
    Some(format!(
        "common random numbers: the variance of the change of the p95 is {factor} times {word} \
         than with independent ones"
    ))
}
