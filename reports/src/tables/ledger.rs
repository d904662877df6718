//! The columns of the ledger.

use super::column::{Cell, Column, Kind, column};
use super::recording::Context;
use experiments::ledger::{Line, Party};
use std::borrow::Cow;

/// A line of the books.
pub(super) struct LedgerRow<'a> {
    replication: u32,
    line: Line,
    party: (&'static str, Cow<'a, str>),
}

impl<'a> LedgerRow<'a> {
    pub(super) fn of(context: Context<'a>, line: Line, groups: &[String]) -> LedgerRow<'a> {
        let scenario = context.scenario;
        let named = |kind, name: &'a str| (kind, Cow::Borrowed(name));
        let party = match line.party {
            Party::Pool(pool) => named("pool", &scenario.pools[pool.index()].name),
            Party::Remote(remote) => named("remote", &scenario.remotes[remote.index()].name),
            Party::Tool(tool) => named("tool", &scenario.tools[tool.index()].name),
            Party::Task(task) => named("task", &scenario.tasks[task.index()].name),
            Party::Tenant(number) => ("tenant", Cow::Owned(number.to_string())),
            Party::Tenants(group) => {
                let name = groups.get(group as usize).cloned().unwrap_or_default();
                ("tenants", Cow::Owned(name))
            }
        };
        LedgerRow { replication: context.replication, line, party }
    }
}

pub(super) fn columns<'a>() -> Vec<Column<'a, LedgerRow<'a>>> {
    use Kind::{Flag, Money, Number, Text, Whole};
    vec![
        column(
            "replication",
            Whole,
            "",
            "Number of the replication, from 0",
            |row: &LedgerRow<'a>| Cell::whole(row.replication),
        ),
        column(
            "book",
            Text,
            "",
            "What it is summed up with: `spend`; the metered part of that once more, `metered_by_task` \
             and `metered_by_tenant`; `revenue`; `harm`. Sums over several books mean nothing",
            |row| Cell::text(row.line.book.name()),
        ),
        column(
            "cause",
            Text,
            "",
            "Of `spend`, as the JSON report's `spend.by`: `gpu`, `provisioned`, `tokens`, `tools`, \
             `retrieval`, `safety_checks`, `formatting`, `human_review`, `observability`",
            |row| Cell::text(row.line.cause),
        ),
        column(
            "item",
            Text,
            "",
            "What was bought, as the JSON report's `spend.drivers.items`",
            |row| Cell::text(row.line.item),
        ),
        column(
            "used",
            Flag,
            "",
            "Whether anybody used it; none where that cannot be told",
            |row| Cell::Flag(row.line.used),
        ),
        column(
            "party_kind",
            Text,
            "",
            "`pool`, `remote`, `tool`, `task`, `tenant` or `tenants`",
            |row| Cell::text(row.party.0),
        ),
        column("party", Text, "", "Who it is about: its name, or the number of a tenant", |row| {
            Cell::Text(Some(row.party.1.clone()))
        }),
        column("quantity", Number, "`unit`", "How much; none where it is not counted", |row| {
            Cell::Number(row.line.quantity)
        }),
        column("unit", Text, "", "`GPU hours`, `tokens`, `attempts`, `uses` or `tasks`", |row| {
            Cell::Text(row.line.unit.map(Cow::Borrowed))
        }),
        column(
            "amount_pico_usd",
            Money,
            "10⁻¹² USD",
            "For how much, in the measured time",
            |row| Cell::Money(row.line.amount),
        ),
    ]
}
