//! The columns of tasks.

use super::column::{Cell, Column, Kind, column};
use super::recording::Context;
use sim::outcome::Ending;
use sim::record::{AttemptRecord, TaskRecord};
use sim::resilience::Failure;
use sim::tasks::Driver;

/// A task that ended.
pub(super) struct TaskRow<'a> {
    pub(super) context: Context<'a>,
    pub(super) record: TaskRecord,
    pub(super) sums: Sums,
}

/// What was attempted for a task, late attempts left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    attempts: u64,
    input: u64,
    hits: u64,
    output: u64,
}

impl Sums {
    pub(super) fn add(&mut self, record: &AttemptRecord) {
        self.attempts += 1;
        self.input += u64::from(record.input);
        self.hits += u64::from(record.hit_tokens);
        self.output += u64::from(record.output);
    }
}

/// Its name in files.
pub(super) fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Success => "success",
        Ending::Wrong => "wrong",
        Ending::Harmful => "harmful",
        Ending::Failed(why) => failure(why),
        Ending::Caught => "caught",
        Ending::OverBudget => "over_budget",
        Ending::Refined => "refined",
        Ending::Refused => "refused",
        Ending::Abandoned => "abandoned",
    }
}

/// Its name in files.
pub(super) fn failure(failure: Failure) -> &'static str {
    match failure {
        Failure::RateLimited => "rate_limited",
        Failure::Overloaded => "overloaded",
        Failure::ServerError => "server_error",
        Failure::Timeout => "timeout",
        Failure::BreakerOpen => "breaker_open",
        Failure::TooLong => "too_long",
        Failure::NotEligible => "not_eligible",
    }
}

impl TaskRow<'_> {
    fn outcome(&self) -> &'static str {
        match self.record.ending {
            Ending::Success => "succeeded",
            Ending::Abandoned => "abandoned",
            _ if self.record.rejected => "rejected",
            _ => "failed",
        }
    }

    fn within_slo(&self) -> Option<bool> {
        let slo = self.context.scenario.tasks[self.record.task.index()].latency_slo?;
        let took = self.record.ended - self.record.arrived;
        Some(self.record.ending == Ending::Success && took <= slo)
    }

    fn waited<'a>(&self, driver: Driver) -> Cell<'a> {
        Cell::span(self.record.parts[driver as usize])
    }
}

pub(super) fn columns<'a>() -> Vec<Column<'a, TaskRow<'a>>> {
    let mut columns = what();
    columns.extend(used());
    columns.extend(waited());
    columns
}

/// Which task, when, and how it ended.
fn what<'a>() -> Vec<Column<'a, TaskRow<'a>>> {
    use Kind::{Flag, Number, Text, Whole};
    vec![
        column("replication", Whole, "", "Number of the replication, from 0", |row| {
            Cell::whole(row.context.replication)
        }),
        column("source", Text, "", "Source of traffic that it came from", |row| {
            Cell::text(&row.context.scenario.sources[row.record.source.index()].name)
        }),
        column(
            "number",
            Whole,
            "",
            "Its number within the source; equal under every policy",
            |r| Cell::whole(r.record.number),
        ),
        column("task", Text, "", "Kind of task", |row| {
            Cell::text(&row.context.scenario.tasks[row.record.task.index()].name)
        }),
        column(
            "tenant",
            Whole,
            "",
            "Number of its tenant; none where its source has no tenants",
            |r| {
                let people = &r.context.scenario.sources[r.record.source.index()].people;
                Cell::Whole(people.tenants.map(|_| u64::from(r.record.tenant)))
            },
        ),
        column("arrived_s", Number, "s", "When it arrived, from the start of the run", |row| {
            Cell::time(row.record.arrived)
        }),
        column("ended_s", Number, "s", "When it ended", |row| Cell::time(row.record.ended)),
        column("latency_s", Number, "s", "From the one to the other", |row| {
            Cell::span(row.record.ended - row.record.arrived)
        }),
        column(
            "measured",
            Flag,
            "",
            "Whether it arrived after the warm-up: reports count those",
            |row| Cell::flag(row.record.arrived.0 >= row.context.scenario.warm_up.0),
        ),
        column(
            "outcome",
            Text,
            "",
            "`succeeded`, `failed`, `rejected` (nothing of it was let in anywhere) or `abandoned`",
            |row| Cell::text(row.outcome()),
        ),
        column(
            "ending",
            Text,
            "",
            "The same in detail: `success`, `wrong`, `harmful`, `caught`, `over_budget`, `refined`, \
             `refused`, `abandoned`, or the failure that ended it: `rate_limited`, `overloaded`, \
             `server_error`, `timeout`, `breaker_open`, `too_long`, `not_eligible`",
            |row| Cell::text(ending(row.record.ending)),
        ),
        column(
            "within_slo",
            Flag,
            "",
            "Whether it succeeded within its latency SLO; none without one",
            |r| Cell::Flag(r.within_slo()),
        ),
    ]
}

/// What it used and cost.
fn used<'a>() -> Vec<Column<'a, TaskRow<'a>>> {
    use Kind::{Money, Whole};
    vec![
        column("submissions", Whole, "", "How often it was submitted", |row| {
            Cell::whole(row.record.submissions)
        }),
        column("calls", Whole, "", "Model calls, attempts and shadows not counted", |row| {
            Cell::whole(row.record.calls)
        }),
        column("attempts", Whole, "", "Its rows in `calls` that are not `late`", |row| {
            Cell::whole(row.sums.attempts)
        }),
        column("input_tokens", Whole, "tokens", "Their prompt tokens", |r| {
            Cell::whole(r.sums.input)
        }),
        column("cached_tokens", Whole, "tokens", "Those of them that a prefix cache had", |row| {
            Cell::whole(row.sums.hits)
        }),
        column("output_tokens", Whole, "tokens", "Tokens they wrote", |r| {
            Cell::whole(r.sums.output)
        }),
        column(
            "spend_pico_usd",
            Money,
            "10⁻¹² USD",
            "What was metered for it until it ended: tokens, tools, observation; no share of what is \
             rented",
            |row| Cell::Money(row.record.spend),
        ),
        column(
            "billed_pico_usd",
            Money,
            "10⁻¹² USD",
            "The part of it that was booked in the measured time, as the ledger and reports have it",
            |row| Cell::Money(row.record.billed),
        ),
        column(
            "wasted_pico_usd",
            Money,
            "10⁻¹² USD",
            "The part of `spend_pico_usd` for attempts and uses of tools whose result nobody used",
            |row| Cell::Money(row.record.wasted),
        ),
    ]
}

/// What it waited for.
fn waited<'a>() -> Vec<Column<'a, TaskRow<'a>>> {
    use Kind::Number;
    vec![
        column(
            "queueing_s",
            Number,
            "s",
            "Waited for a place in an engine or at a provider",
            |row| row.waited(Driver::Queueing),
        ),
        column(
            "prefill_s",
            Number,
            "s",
            "From the first computation of prompts to first tokens",
            |r| r.waited(Driver::Prefill),
        ),
        column("decode_s", Number, "s", "From first tokens to the last", |r| {
            r.waited(Driver::Decode)
        }),
        column("preemption_s", Number, "s", "Lost to preemption", |r| r.waited(Driver::Preemption)),
        column(
            "retries_s",
            Number,
            "s",
            "Attempts that failed, and pauses between attempts and submissions",
            |row| row.waited(Driver::Retries),
        ),
        column("tools_s", Number, "s", "Tools, retrieval, checks, look-ups in caches", |row| {
            row.waited(Driver::Tools)
        }),
        column("review_s", Number, "s", "A person's work, and waiting for it", |row| {
            row.waited(Driver::Review)
        }),
        column("cold_start_s", Number, "s", "Waited for sleeping capacity", |row| {
            row.waited(Driver::ColdStart)
        }),
        column(
            "host_s",
            Number,
            "s",
            "On the host of an engine; the nine sum to `latency_s`",
            |row| row.waited(Driver::Host),
        ),
        column(
            "weight",
            Number,
            "tasks",
            "How many tasks it stands for; 1 without `--sample`",
            |row| Cell::Number(Some(row.context.sample.weight())),
        ),
    ]
}
