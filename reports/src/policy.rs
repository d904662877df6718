//! Tables of what policies, backends and tools did.
//!
//! Invariants: counts are per run, as the costs beside them; each table is empty, and so left out, where the scenario has nothing of the kind.
//!
//! Deliberately absent: money, except what a backend or a tool costs (see `economy`).

use crate::format::{Unit, addends, money, number, shares};
use crate::names::{DRIVER_WORDS, ENDING_KEYS, ENDING_WORDS, FAILURE_WORDS, endings};
use crate::table::{Cell, Table};
use experiments::{RunResult, TaskResult, TaskWork};
use sim::tasks::DRIVERS;
use sim::units::Span;

fn works(result: &RunResult) -> impl Iterator<Item = (&TaskResult, &TaskWork)> {
    result.tasks.iter().filter_map(|task| Some((task, task.work.as_ref()?)))
}

/// Why tasks ended as they did, and as what each ending counts among the tasks.
pub(crate) fn endings_table(result: &RunResult) -> Table {
    let mut table = Table::new("How tasks ended", &["per run", "share", "counted as"]);
    let mut split = false;
    for (task, work) in works(result) {
        let counts = endings(&work.endings);
        let total: u64 = counts.iter().sum();
        let share = |part: u64| number(part as f64 / total.max(1) as f64, Unit::Share);
        let cells = |n: u64, counted| {
            vec![Cell::per_run(n, result), Cell::plain(share(n)), Cell::plain(counted)]
        };
        table.row(&task.name, cells(total, ""));
        for (at, &part) in counts.iter().enumerate().filter(|(_, part)| **part > 0) {
            let counted = counted_as(at, &counts, task.counts.rejected);
            split |= counted == SPLIT;
            table.row(format!("  {}", ENDING_WORDS[at]), cells(part, counted));
        }
    }
    if split {
        table.notes.push(
            "rejected, failed: rejected if nothing ever let the task in, failed if something did."
                .into(),
        );
    }
    table
}

/// An ending of which some tasks were rejected and others failed.
const SPLIT: &str = "rejected, failed";

/// Under which header of the tasks an ending is counted, given how many were rejected in all.
fn counted_as(ending: usize, counts: &[u64], rejected: u64) -> &'static str {
    match ENDING_KEYS[ending] {
        "success" => "succeeded",
        "abandoned" => "abandoned",
        "refused" => "rejected",
        key if REFUSED.contains(&key) => {
            let all = ENDING_KEYS.iter().zip(counts);
            let of = |wanted: &dyn Fn(&str) -> bool| -> u64 {
                all.clone().filter(|(key, _)| wanted(key)).map(|(_, count)| count).sum()
            };
            let (known, open) = (of(&|key| key == "refused"), of(&|key| REFUSED.contains(&key)));
            match rejected.saturating_sub(known) {
                0 => "failed",
                some if some >= open => "rejected",
                _ => SPLIT,
            }
        }
        _ => "failed",
    }
}

/// Failures of a step by which it was turned away: whoever was turned away from the first on is
/// rejected.
const REFUSED: [&str; 5] = [
    "failed_rate_limited",
    "failed_overloaded",
    "failed_breaker_open",
    "failed_too_long",
    "failed_not_eligible",
];

/// What a task asked for.
pub(crate) fn work(result: &RunResult) -> Table {
    let kept = works(result).any(|(_, work)| work.kept_answers > 0);
    let mut headers = vec!["submissions", "calls", "by rule", "escalated", "cached", "wrong"];
    headers.extend(kept.then_some("kept"));
    let mut table = Table::new("Work per run", &headers);
    for (task, work) in works(result) {
        let (asked, calls) = (&work.submissions_per_task, &work.calls_per_submission);
        [asked, calls].into_iter().for_each(|ratio| table.explain(ratio));
        let mut cells = vec![Cell::of(asked, Unit::Plain), Cell::of(calls, Unit::Plain)];
        let hits = work.exact_hits + work.semantic_hits;
        let counts = [work.by_rule, work.escalations, hits, work.wrong_hits];
        let counts = counts.into_iter().chain(kept.then_some(work.kept_answers));
        cells.extend(counts.map(|n| Cell::per_run(n, result)));
        table.row(&task.name, cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "submissions per task and calls per submission. By rule: calls whose model a rule chose \
             before they were made; escalated: calls made again because of the confidence of an \
             answer. Cached: what the answer caches answer, which is no call; wrong: the part whose \
             answer belongs to another question."
                .into(),
        );
    }
    if kept {
        table.notes.push(
            "kept: calls answered by what they had escalated from, because nobody after that \
             answered."
                .into(),
        );
    }
    table
}

/// Rungs of the ladder and actions that were not taken.
pub(crate) fn rungs(result: &RunResult) -> Table {
    let headers = ["shorter", "smaller", "cached", "partial", "refine", "blocked"];
    let mut table = Table::new("Budgets and checks per run", &headers);
    for (task, work) in works(result) {
        let counts = work.rungs.iter().chain([&work.actions_blocked]);
        let cells: Vec<Cell> = counts.clone().map(|&n| Cell::per_run(n, result)).collect();
        if counts.sum::<u64>() > 0 {
            table.row(&task.name, cells);
        }
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "uses of each rung of the ladder; blocked: actions left undone because no check could \
             say that they are safe."
                .into(),
        );
    }
    table
}

/// Where calls went and what the guards did.
pub(crate) fn models(result: &RunResult) -> Table {
    let headers = ["share", "attempts", "retries", "hedges", "fallbacks", "unused"];
    let mut table = Table::new("Routes per run", &headers);
    for model in &result.models {
        let Some(work) = &model.work else { continue };
        [&work.share, &work.attempts_per_answer].into_iter().for_each(|ratio| table.explain(ratio));
        let unused = work.wasted_input_tokens + work.wasted_output_tokens;
        let mut cells = vec![
            Cell::of(&work.share, Unit::Share),
            Cell::of(&work.attempts_per_answer, Unit::Plain),
        ];
        let counts = [work.retries, work.hedges, work.fallbacks, unused];
        cells.extend(counts.map(|n| Cell::per_run(n, result)));
        table.row(&model.name, cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "share of the answered calls; attempts of all calls, also of those without an answer, \
             per answered call; unused: tokens that pools computed or wrote for answers that \
             nobody used."
                .into(),
        );
    }
    table
}

/// Why attempts failed.
pub(crate) fn failures(result: &RunResult) -> Table {
    let mut table = Table::new("Failed attempts per run", &FAILURE_WORDS);
    for model in &result.models {
        let Some(work) = &model.work else { continue };
        if work.failures.iter().any(|&n| n > 0) {
            table.row(&model.name, work.failures.map(|n| Cell::per_run(n, result)).into());
        }
    }
    table
}

/// Backends that are no pools.
pub(crate) fn backends(result: &RunResult) -> Table {
    let headers = ["attempts", "failed", "429", "refused", "utilised", "cold starts", "cost"];
    let mut table = Table::new("Backends per run", &headers);
    for remote in &result.remotes {
        let utilised = remote.utilisation.as_ref().map_or_else(
            || Cell::plain("–"),
            |ratio| {
                table.explain(ratio);
                Cell::of(ratio, Unit::Share)
            },
        );
        let refused: u64 = remote.refused.iter().skip(1).sum();
        let counts = [remote.attempts, remote.failed, remote.refused[0], refused];
        let mut cells: Vec<Cell> = counts.map(|n| Cell::per_run(n, result)).into();
        cells.extend([
            utilised,
            Cell::per_run(remote.cold_starts, result),
            Cell::plain(money(remote.spend)),
        ]);
        table.row(&remote.name, cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "attempts that got a place, and those refused for rate limits (429) or otherwise; \
             utilised: share of the places taken, – where there are any number."
                .into(),
        );
    }
    table
}

/// What their meters counted.
pub(crate) fn tokens(result: &RunResult) -> Table {
    let headers = ["fresh input", "cached", "to cache", "output", "unused in", "unused out"];
    let mut table = Table::new("Tokens per run", &headers);
    for remote in result.remotes.iter().filter(|remote| remote.tokens.input > 0) {
        let (all, unused) = (&remote.tokens, &remote.wasted);
        let plain = all.input - all.cached_input - all.cache_write;
        let counts =
            [plain, all.cached_input, all.cache_write, all.output, unused.input, unused.output];
        table.row(&remote.name, counts.map(|n| Cell::per_run(n, result)).into());
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "prompt tokens are fresh, read from the provider's cache, or \
             written to it: together they are all; unused: the part, of all three and of the \
             output, whose answers nobody used."
                .into(),
        );
    }
    table
}

/// Circuit breakers.
pub(crate) fn breakers(result: &RunResult) -> Table {
    let mut table = Table::new("Circuit breakers per run", &["opened", "refused"]);
    let pools = result.pools.iter().map(|pool| (&pool.name, pool.breaker));
    let remotes = result.remotes.iter().map(|remote| (&remote.name, remote.breaker));
    for (name, breaker) in pools.chain(remotes) {
        if let Some(counts) = breaker {
            table.row(
                name,
                [counts.opens, counts.rejected].map(|n| Cell::per_run(n, result)).into(),
            );
        }
    }
    table
}

/// Tools, retrieval and reviewers.
pub(crate) fn tools(result: &RunResult) -> Table {
    let headers = ["uses", "failed", "cache hits", "mean", "p95", "cost"];
    let mut table = Table::new("Tools per run", &headers);
    for tool in &result.tools {
        [&tool.time.mean, &tool.time.p95].into_iter().for_each(|time| table.explain(time));
        let mut cells: Vec<Cell> =
            [tool.uses, tool.failed, tool.cache_hits].map(|n| Cell::per_run(n, result)).into();
        cells.extend([
            Cell::of(&tool.time.mean, Unit::Seconds),
            Cell::of(&tool.time.p95, Unit::Seconds),
            Cell::plain(money(tool.spend)),
        ]);
        table.row(&tool.name, cells);
    }
    table
}

/// What the latency of each kind of task is made of.
pub(crate) fn latencies(result: &RunResult) -> Table {
    let mut table = Table::new("What tasks wait for", &["mean", "share", "p95", "share"]);
    for task in &result.tasks {
        let Some(drivers) = &task.drivers else { continue };
        let columns = [Some(&drivers.mean), drivers.p95.as_ref()].map(|parts| parts.map(column));
        let cells = |of: &dyn Fn(&Column) -> [String; 2]| {
            let of = |column: &Option<Column>| column.as_ref().map_or_else(Default::default, of);
            columns.iter().flat_map(of).map(Cell::plain).collect::<Vec<Cell>>()
        };
        let whole = number(1.0, Unit::Share);
        table.row(&task.name, cells(&|column| [column.total.clone(), whole.clone()]));
        for (at, word) in DRIVER_WORDS.iter().enumerate() {
            let spent = drivers.mean[at].max(drivers.p95.map_or(Span::ZERO, |parts| parts[at]));
            if spent > Span::ZERO {
                let part = |column: &Column| [column.parts[at].clone(), column.shares[at].clone()];
                table.row(format!("  {word}"), cells(&part));
            }
        }
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "of tasks that succeeded; the p95 as those with latencies next to it spent their time. \
             Shares have no interval."
                .into(),
        );
    }
    table
}

/// One latency in parts.
struct Column {
    parts: Vec<String>,
    shares: Vec<String>,
    total: String,
}

/// Parts of a latency, their shares and the total, such that the parts shown sum to it.
fn column(parts: &[Span; DRIVERS]) -> Column {
    let seconds = parts.map(Span::as_secs_f64);
    let whole: f64 = seconds.iter().sum();
    let (parts, total) = addends(&seconds, whole, Unit::Seconds);
    let of_whole = seconds.map(|part| if whole > 0.0 { part / whole } else { 0.0 });
    Column { parts, shares: shares(&of_whole), total }
}
