//! Tables of what policies, backends and tools did.
//!
//! Invariant: each table is empty, and so left out, where the scenario has nothing of the kind.
//!
//! Deliberately absent: money, except what a backend or a tool costs (see `economy`).

use crate::format::{Unit, addends, count, money, number, shares};
use crate::names::{DRIVER_WORDS, ENDING_WORDS, FAILURE_WORDS, endings, kind};
use crate::table::{Cell, Table};
use experiments::{RunResult, TaskResult, TaskWork};
use sim::tasks::DRIVERS;
use sim::units::Span;

fn works(result: &RunResult) -> impl Iterator<Item = (&TaskResult, &TaskWork)> {
    result.tasks.iter().filter_map(|task| Some((task, task.work.as_ref()?)))
}

/// Why tasks ended as they did.
pub(crate) fn endings_table(result: &RunResult) -> Table {
    let mut table = Table::new("How tasks ended", &["tasks", "share"]);
    for (task, work) in works(result) {
        let counts = endings(&work.endings);
        let total: u64 = counts.iter().sum();
        let parts = counts.map(|count| count as f64 / total.max(1) as f64);
        let parts = shares(&parts);
        for ((word, &count_of), share) in ENDING_WORDS.iter().zip(&counts).zip(parts) {
            if count_of > 0 {
                let cells = vec![Cell::plain(count(count_of)), Cell::plain(share)];
                table.row(format!("{}: {word}", task.name), cells);
            }
        }
    }
    table
}

/// What a task asked for.
pub(crate) fn work(result: &RunResult) -> Table {
    let headers = ["submissions", "calls", "escalated", "exact hits", "similar hits", "wrong"];
    let mut table = Table::new("Work", &headers);
    for (task, work) in works(result) {
        let (asked, calls) = (&work.submissions_per_task, &work.calls_per_submission);
        [asked, calls].into_iter().for_each(|ratio| table.explain(ratio));
        let mut cells = vec![Cell::of(asked, Unit::Plain), Cell::of(calls, Unit::Plain)];
        let counts = [work.escalations, work.exact_hits, work.semantic_hits, work.wrong_hits];
        cells.extend(counts.map(|n| Cell::plain(count(n))));
        table.row(&task.name, cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "submissions per task and calls per submission; hits of the answer caches are no \
             calls, wrong ones are among the similar."
                .into(),
        );
    }
    table
}

/// Rungs of the ladder and actions that were not taken.
pub(crate) fn rungs(result: &RunResult) -> Table {
    let headers = ["shorter", "smaller", "cached", "partial", "refine", "blocked"];
    let mut table = Table::new("Budgets and checks", &headers);
    for (task, work) in works(result) {
        let counts = work.rungs.iter().chain([&work.actions_blocked]);
        let cells: Vec<Cell> = counts.clone().map(|&n| Cell::plain(count(n))).collect();
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
    let headers = ["share", "attempts/call", "retries", "hedges", "fallbacks", "unused tokens"];
    let mut table = Table::new("Routes", &headers);
    for model in &result.models {
        let Some(work) = &model.work else { continue };
        [&work.share, &work.attempts_per_call].into_iter().for_each(|ratio| table.explain(ratio));
        let unused = work.wasted_input_tokens + work.wasted_output_tokens;
        let mut cells = vec![
            Cell::of(&work.share, Unit::Share),
            Cell::of(&work.attempts_per_call, Unit::Plain),
        ];
        let counts = [work.retries, work.hedges, work.fallbacks, unused];
        cells.extend(counts.map(|n| Cell::plain(count(n))));
        table.row(&model.name, cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "share of the answered calls; unused tokens: computed or written by pools for answers \
             that nobody used."
                .into(),
        );
    }
    table
}

/// Why attempts failed.
pub(crate) fn failures(result: &RunResult) -> Table {
    let mut table = Table::new("Failed attempts", &FAILURE_WORDS);
    for model in &result.models {
        let Some(work) = &model.work else { continue };
        if work.failures.iter().any(|&n| n > 0) {
            table.row(&model.name, work.failures.map(|n| Cell::plain(count(n))).into());
        }
    }
    table
}

/// Backends that are no pools.
pub(crate) fn backends(result: &RunResult) -> Table {
    let headers = ["attempts", "failed", "429", "refused", "utilised", "cold starts", "cost"];
    let mut table = Table::new("Backends", &headers);
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
        let mut cells: Vec<Cell> = counts.map(|n| Cell::plain(count(n))).into();
        cells.extend([
            utilised,
            Cell::plain(count(remote.cold_starts)),
            Cell::plain(money(remote.spend)),
        ]);
        table.row(format!("{} ({})", remote.name, kind(remote.kind)), cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "attempts that got a place, and those refused for rate limits (429) or otherwise; \
             utilised: share of the places taken, – where there are any number; cost per run."
                .into(),
        );
    }
    table
}

/// What their meters counted.
pub(crate) fn tokens(result: &RunResult) -> Table {
    let headers = ["input", "cached", "written", "output", "unused in", "unused out"];
    let mut table = Table::new("Tokens", &headers);
    for remote in result.remotes.iter().filter(|remote| remote.tokens.input > 0) {
        let (all, unused) = (&remote.tokens, &remote.wasted);
        let plain = all.input - all.cached_input - all.cache_write;
        let counts =
            [plain, all.cached_input, all.cache_write, all.output, unused.input, unused.output];
        table.row(&remote.name, counts.map(|n| Cell::plain(count(n))).into());
    }
    table
}

/// Circuit breakers.
pub(crate) fn breakers(result: &RunResult) -> Table {
    let mut table = Table::new("Circuit breakers", &["opened", "refused"]);
    let pools = result.pools.iter().map(|pool| (&pool.name, pool.breaker));
    let remotes = result.remotes.iter().map(|remote| (&remote.name, remote.breaker));
    for (name, breaker) in pools.chain(remotes) {
        if let Some(counts) = breaker {
            table.row(name, [counts.opens, counts.rejected].map(|n| Cell::plain(count(n))).into());
        }
    }
    table
}

/// Tools, retrieval and reviewers.
pub(crate) fn tools(result: &RunResult) -> Table {
    let headers = ["uses", "failed", "cache hits", "mean", "p95", "cost"];
    let mut table = Table::new("Tools", &headers);
    for tool in &result.tools {
        [&tool.time.mean, &tool.time.p95].into_iter().for_each(|time| table.explain(time));
        let mut cells: Vec<Cell> =
            [tool.uses, tool.failed, tool.cache_hits].map(|n| Cell::plain(count(n))).into();
        cells.extend([
            Cell::of(&tool.time.mean, Unit::Seconds),
            Cell::of(&tool.time.p95, Unit::Seconds),
            Cell::plain(money(tool.spend)),
        ]);
        table.row(&tool.name, cells);
    }
    table
}

/// What the latency of each kind of task is made of, one table for each.
pub(crate) fn latencies(result: &RunResult) -> Vec<Table> {
    let table = |task: &TaskResult| {
        let drivers = task.drivers.as_ref()?;
        let title = format!("What {} waits for", task.name);
        let mut table = Table::new(&title, &["mean", "share", "p95", "share"]);
        let p95 = drivers.p95.unwrap_or_default();
        let columns = [column(&drivers.mean), column(&p95)];
        for (at, word) in DRIVER_WORDS.iter().enumerate() {
            if drivers.mean[at] == Span::ZERO && p95[at] == Span::ZERO {
                continue;
            }
            let cells = columns
                .iter()
                .flat_map(|(parts, shares, _)| [Cell::plain(&parts[at]), Cell::plain(&shares[at])]);
            table.row(*word, cells.collect());
        }
        let whole = number(1.0, Unit::Share);
        let totals = columns
            .iter()
            .flat_map(|(_, _, total)| [Cell::plain(total.clone()), Cell::plain(whole.clone())]);
        table.row("total", totals.collect());
        if drivers.p95.is_none() {
            table.rows.iter_mut().for_each(|row| row.cells.truncate(2));
            table.headers.truncate(2);
        } else {
            let explained = count(drivers.p95_tasks);
            table.notes.push(format!(
                "of tasks that succeeded; the p95 as the {explained} tasks with latencies next to \
                 it spent their time, without interval."
            ));
        }
        Some(table)
    };
    result.tasks.iter().filter_map(table).collect()
}

/// Parts of a latency, their shares and the total, such that the parts shown sum to it.
fn column(parts: &[Span; DRIVERS]) -> (Vec<String>, Vec<String>, String) {
    let seconds = parts.map(Span::as_secs_f64);
    let total: f64 = seconds.iter().sum();
    let (shown, whole) = addends(&seconds, total, Unit::Seconds);
    let of_total = seconds.map(|part| if total > 0.0 { part / total } else { 0.0 });
    (shown, shares(&of_total), whole)
}
