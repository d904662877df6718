//! The columns of calls: one row for each attempt.

use super::column::{Cell, Column, Kind, column};
use super::recording::Context;
use super::tasks::failure;
use sim::ids::Backend;
use sim::record::{AttemptEnding, AttemptRecord};
use sim::units::Time;
use std::borrow::Cow;

/// An attempt that ended.
pub(super) struct CallRow<'a> {
    pub(super) context: Context<'a>,
    pub(super) record: AttemptRecord,
}

impl<'a> CallRow<'a> {
    /// The step, and before it the part of a task that it is of, if it is.
    fn step(&self) -> Option<Cow<'a, str>> {
        let (of, number) = self.record.step?;
        let tasks = &self.context.scenario.tasks;
        let of_step = &tasks[of.index()];
        let step = &of_step.graph.steps[number as usize].name;
        if of == self.record.task {
            return Some(Cow::Borrowed(step));
        }
        Some(Cow::Owned(format!("{}.{step}", of_step.name)))
    }

    fn backend(&self) -> &'a str {
        match self.record.backend {
            Backend::Pool(pool) => &self.context.scenario.pools[pool.index()].name,
            Backend::Remote(remote) => &self.context.scenario.remotes[remote.index()].name,
        }
    }
}

pub(super) fn columns<'a>() -> Vec<Column<'a, CallRow<'a>>> {
    let mut columns = what();
    columns.extend(course());
    columns
}

/// Whose it was and where it went.
fn what<'a>() -> Vec<Column<'a, CallRow<'a>>> {
    use Kind::{Text, Whole};
    vec![
        column("replication", Whole, "", "Number of the replication, from 0", |row| {
            Cell::whole(row.context.replication)
        }),
        column("source", Text, "", "Source of traffic that its task came from", |row| {
            Cell::text(&row.context.scenario.sources[row.record.source.index()].name)
        }),
        column("number", Whole, "", "The task's number within the source", |row| {
            Cell::whole(row.record.number)
        }),
        column("task", Text, "", "Kind of task", |row| {
            Cell::text(&row.context.scenario.tasks[row.record.task.index()].name)
        }),
        column(
            "step",
            Text,
            "",
            "The step that made it, `part.step` within a part; none where the task is one plain call",
            |row| Cell::Text(row.step()),
        ),
        column("model", Text, "", "The model asked", |row| {
            Cell::text(&row.context.scenario.models[row.record.model.index()].name)
        }),
        column("backend_kind", Text, "", "`pool` or `remote`", |row| {
            Cell::text(match row.record.backend {
                Backend::Pool(_) => "pool",
                Backend::Remote(_) => "remote",
            })
        }),
        column(
            "backend",
            Text,
            "",
            "The pool, provider, capacity or device it was offered to",
            |row| Cell::text(row.backend()),
        ),
        column("replica", Whole, "", "The replica of a pool that served it, from 0", |row| {
            let served = matches!(row.record.backend, Backend::Pool(_))
                && row.record.scheduled != Time::NEVER;
            Cell::Whole(served.then_some(u64::from(row.record.replica)))
        }),
    ]
}

/// How it went.
fn course<'a>() -> Vec<Column<'a, CallRow<'a>>> {
    use Kind::{Flag, Money, Number, Text, Whole};
    vec![
        column("sent_s", Number, "s", "When it was offered, from the start of the run", |row| {
            Cell::time(row.record.sent)
        }),
        column("scheduled_s", Number, "s", "When it began to be served; none: never", |row| {
            Cell::time(row.record.scheduled)
        }),
        column(
            "first_token_s",
            Number,
            "s",
            "When its first token was there; none: never",
            |row| Cell::time(row.record.first_token),
        ),
        column("ended_s", Number, "s", "When it left", |row| Cell::time(row.record.ended)),
        column(
            "ending",
            Text,
            "",
            "`answered`, `stopped` (nobody waited for it any more), or its failure, as in `tasks`",
            |row| {
                Cell::text(match row.record.ending {
                    AttemptEnding::Answered => "answered",
                    AttemptEnding::Stopped => "stopped",
                    AttemptEnding::Failed(why) => failure(why),
                })
            },
        ),
        column("used", Flag, "", "Whether somebody used its answer", |r| Cell::flag(r.record.used)),
        column("measured", Flag, "", "Whether its task arrived after the warm-up", |row| {
            Cell::flag(row.record.measured)
        }),
        column(
            "billed",
            Flag,
            "",
            "Whether it left in the measured time: the ledger has those",
            |row| Cell::flag(row.record.billed),
        ),
        column(
            "late",
            Flag,
            "",
            "Whether its task had ended, or what made it had been given up, so that it is in no sum of \
             `tasks`",
            |row| Cell::flag(row.record.late),
        ),
        column("input_tokens", Whole, "tokens", "Prompt tokens", |r| Cell::whole(r.record.input)),
        column("cached_tokens", Whole, "tokens", "Those of them that a prefix cache had", |row| {
            Cell::whole(row.record.hit_tokens)
        }),
        column("output_tokens", Whole, "tokens", "Tokens written", |r| {
            Cell::whole(r.record.output)
        }),
        column("preemptions", Whole, "", "How often it started over", |row| {
            Cell::whole(row.record.preemptions)
        }),
        column("cost_pico_usd", Money, "10⁻¹² USD", "What it was metered for", |row| {
            Cell::Money(row.record.cost)
        }),
        column("weight", Number, "tasks", "As its task's", |row| {
            Cell::Number(Some(row.context.sample.weight()))
        }),
    ]
}
