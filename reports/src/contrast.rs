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

/// Changes from here on, as parts of what was there before, are written as a factor: nobody reads
/// `+14,328,573.0 %`.
const MANIFOLD: f64 = 9.0;

/// A change with its sign: `+1.9 %`, `-20 ms`; from ten times on `×12.3`.
pub(crate) fn signed(value: f64, unit: Unit) -> String {
    if unit == Unit::Share && value >= MANIFOLD {
        return format!("×{}", number(1.0 + value, Unit::Plain));
    }
    plus(value, number(value, unit))
}

/// A plus before a number that is more than nothing as written.
fn plus(value: f64, text: String) -> String {
    let is_nothing = || !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if value > 0.0 && !is_nothing() { format!("+{text}") } else { text }
}

/// A change of parts of what was there before as a factor, where it is a large one.
fn as_factor(estimate: &Estimate, unit: Unit) -> Option<Estimate> {
    let value = estimate.value.filter(|&value| unit == Unit::Share && value >= MANIFOLD)?;
    let end = |end: Option<f64>| end.map(|end| 1.0 + end);
    let (low, high) = (end(estimate.low), end(estimate.high));
    Some(Estimate { value: Some(1.0 + value), low, high, ..Estimate::default() })
}

/// A change and its interval, both signed.
#[must_use]
pub fn change_cell(estimate: &Estimate, unit: Unit) -> Cell {
    if let Some(factor) = as_factor(estimate, unit) {
        let cell = Cell::of(&factor, Unit::Plain);
        return Cell { value: format!("×{}", cell.value), ..cell };
    }
    let (value, interval) = parts(estimate, unit);
    let interval = interval.map(|interval| match (estimate.low, estimate.high) {
        (Some(low), Some(high)) if low != high => {
            // Decimals of the interval were chosen to tell its ends apart.
            let ends: Vec<&str> = split_ends(&interval);
            let written =
                ends.iter().zip([low, high]).map(|(text, end)| plus(end, (*text).to_owned()));
            written.collect::<Vec<_>>().join(" to ")
        }
        _ => interval,
    });
    Cell { value: plus(estimate.value.unwrap_or_default(), value), interval }
}

/// So many pairs, in words.
pub(crate) fn pairs(count: u32) -> String {
    if count == 1 { "1 pair".to_owned() } else { format!("{count} pairs") }
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
    let total = contrast.number("cost_per_successful_task").map(|cost| &cost.change);
    let lists = [
        ("Why a success costs what it costs", &contrast.causes),
        ("What a success pays for", &contrast.items),
    ];
    all.extend(lists.map(|(title, shifts)| costs(title, shifts, total, arms)));
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

fn costs(title: &str, shifts: &[CostShift], total: Option<&Change>, arms: Arms) -> Table {
    let mut table = Table::new(title, &[arms.before, arms.after, "change"]);
    let cells = |change: &Change| {
        vec![
            value(&change.before, Unit::Dollars),
            value(&change.after, Unit::Dollars),
            change_cell(&change.difference, Unit::Dollars),
        ]
    };
    for CostShift { key, change } in shifts {
        table.row(spend_words(key), cells(change));
    }
    if let (false, Some(total)) = (shifts.is_empty(), total) {
        table.row("together", cells(total));
    }
    table
}

fn spend(contrast: &Contrast, arms: Arms) -> Table {
    let mut table = Table::new("Spend per run", &[arms.before, arms.after, "change"]);
    let nothing = Money::ZERO;
    let cells = |before: Money, after: Money| {
        let rise = if after > before { "+" } else { "" };
        let change = format!("{rise}{}", money(after - before));
        [money(before), money(after), change].map(Cell::plain).into()
    };
    let paid = contrast.spend.iter().filter(|part| part.1 != nothing || part.2 != nothing);
    let mut total = (nothing, nothing);
    for &(key, before, after) in paid {
        table.row(spend_words(key), cells(before, after));
        total = (total.0 + before, total.1 + after);
    }
    if table.rows.len() > 1 {
        table.row("together", cells(total.0, total.1));
    }
    table
}

/// The cause that moved the latency of a task most, the way it went, in words: `queueing +1.2 s`, or
/// `queueing +1.2 s of the mean` where the p95 has no parts.
pub(crate) fn main_cause(shift: &LatencyShift) -> Option<String> {
    let (rows, whole, of) = match shift.p95_parts.is_empty() {
        true => (&shift.mean_parts, &shift.mean, " of the mean"),
        false => (&shift.p95_parts, &shift.p95, ""),
    };
    let way = whole.difference.value.unwrap_or_default();
    let &(driver, before, after) = rows.iter().find(|row| (row.2 - row.1) * way >= 0.0)?;
    let moved = after - before;
    let words = DRIVER_WORDS[driver as usize];
    (moved.abs() >= SLIGHT).then(|| format!("{words} {}{of}", signed(moved, Unit::Seconds)))
}

/// What is said where no task is told.
pub(crate) fn no_example(examples: &[Example]) -> Option<String> {
    examples.is_empty().then(|| {
        format!(
            "no task of the first replication is there to be shown that is lost, or takes more than \
             {:.0} % longer",
            experiments::examples::NOTABLE * 100.0
        )
    })
}

/// Single tasks, side by side.
pub(crate) fn examples(examples: &[Example], arms: Arms) -> Vec<Table> {
    examples.iter().map(|example| one_example(example, arms)).collect()
}

fn one_example(example: &Example, arms: Arms) -> Table {
    let at = span(Span(example.arrived.0));
    // Numbers within a source may be huge: the instant of arrival says which task it is.
    let Example { task, source, .. } = example;
    let title = format!("{task} of {source}, arrived at {at}");
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

/// A number of both arms in a sentence: `rises by 3.1 % (2.8–3.4)`, `rises to 12.3 times (11.9–12.7)`.
pub(crate) fn moved(change: &Change) -> Option<String> {
    let value = change.relative.value?;
    if let Some(factor) = as_factor(&change.relative, Unit::Share) {
        let Cell { value, interval } = Cell::of(&factor, Unit::Plain);
        let range = interval.map_or_else(String::new, |interval| format!(" ({interval})"));
        return Some(format!("rises to {value} times{range}"));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_change_is_a_factor_and_a_small_one_per_cent() {
        assert_eq!(signed(143_284.73, Unit::Share), "×143,286");
        assert_eq!(signed(8.9, Unit::Share), "+890.0 %");
        assert_eq!(signed(143_284.73, Unit::Plain), "+143,285");
        let found = Estimate::with_interval(11.3, 10.9, 11.7);
        let cell = change_cell(&found, Unit::Share);
        assert_eq!((cell.value.as_str(), cell.interval.as_deref()), ("×12.3", Some("11.9–12.7")));
        let change = Change {
            before: Estimate::default(),
            after: Estimate::default(),
            difference: Estimate::default(),
            relative: found,
            variance_ratio: None,
        };
        assert_eq!(moved(&change).as_deref(), Some("rises to 12.3 times (11.9–12.7)"));
    }

    #[test]
    fn what_is_left_of_equal_times_is_nothing() {
        assert_eq!(signed(-1e-15, Unit::Seconds), "0 s");
        assert_eq!(signed(1e-15, Unit::Seconds), "0 s");
        assert_eq!(signed(2e-9, Unit::Seconds), "+0.00200 µs");
        assert_eq!(
            change_cell(&Estimate::with_interval(1e-15, 0.0, 0.0), Unit::Seconds).value,
            "0 s"
        );
    }

    /// The p95 has no parts: what is told is of the mean, and moves the way the mean does.
    #[test]
    fn a_cause_says_what_it_is_the_cause_of() {
        let between = |before: f64, after: f64| {
            let of = |value| Estimate::without_interval(value, "none");
            Change::between(&of(before), &of(after))
        };
        let shift = LatencyShift {
            task: "reply".into(),
            mean: between(4.0, 6.0),
            p95: between(9.0, 11.0),
            mean_parts: vec![(Driver::Queueing, 4.0, 0.5), (Driver::Decode, 0.0, 3.1)],
            p95_parts: Vec::new(),
        };
        assert_eq!(main_cause(&shift).as_deref(), Some("decode +3.10 s of the mean"));
        let p95_parts = vec![(Driver::Decode, 9.0, 11.0)];
        let shift = LatencyShift { p95_parts, ..shift };
        assert_eq!(main_cause(&shift).as_deref(), Some("decode +2.00 s"));
    }
}
