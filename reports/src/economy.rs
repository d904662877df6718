//! Tables of money: what it is spent on and by whom.
//!
//! Invariants: what is shown as a list of parts sums to the whole but for rounding; equal amounts
//! have equal shares in both lists, so each share is rounded by itself; a part that is zero is left
//! out.
//!
//! Deliberately absent: what a backend or a tool costs, which stands beside its counts.

use crate::format::{Unit, count, mean_count, money, number, span};
use crate::names::spend_words;
use crate::table::{Cell, Table};
use experiments::{CostPart, CostsBeside, Estimate, HEAVIEST, RunResult};
use sim::price::MONTH;
use sim::units::Money;

/// What all of it costs and earns.
pub(crate) fn spend(result: &RunResult) -> Table {
    let (spend, margin) = (&result.spend, &result.margin);
    let mut table = Table::new("Money", &["per run", "per day", "per month"]);
    let rate = |exact, estimate: &Estimate| Cell {
        value: money(exact),
        interval: Cell::of(estimate, Unit::Dollars).interval,
    };
    table.explain(&spend.per_day_usd);
    table.row(
        "spend",
        vec![
            Cell::plain(money(spend.total)),
            rate(spend.per_day, &spend.per_day_usd),
            rate(spend.per_month, &spend.per_month_usd),
        ],
    );
    let by = spend.by;
    let once = |amount| vec![Cell::plain(money(amount)), Cell::plain(""), Cell::plain("")];
    for (cause, amount) in by.parts().into_iter().filter(|(_, amount)| amount.0 != 0) {
        table.row(format!("  for {}", spend_words(cause)), once(amount));
    }
    if spend.wasted.0 != 0 {
        table.row("  of it unused", once(spend.wasted));
    }
    if margin.harm.0 != 0 {
        table.row("harm", once(margin.harm));
    }
    let earned =
        [("value of tasks", margin.revenue.values), ("paid by plans", margin.revenue.plans)];
    for (from, amount) in earned.into_iter().filter(|(_, amount)| amount.0 != 0) {
        table.row(from, once(amount));
    }
    table.explain(&margin.per_task_usd);
    if margin.per_month.is_none() {
        table.explain(&margin.per_month_usd);
    }
    let cells = [
        margin.total.map(|total| Cell::plain(money(total))),
        margin.per_day.map(|exact| rate(exact, &margin.per_day_usd)),
        margin.per_month.map(|exact| rate(exact, &margin.per_month_usd)),
    ];
    table.row("margin", cells.map(|cell| cell.unwrap_or_else(|| Cell::plain("n/a"))).into());
    table.notes.extend(plans_left_out(result));
    table
}

/// What tenants pay for tasks whose value is counted instead.
fn plans_left_out(result: &RunResult) -> Option<String> {
    result.margin.per_task_usd.value?;
    let paid: i128 = result.tenants.iter().map(|group| group.revenue.0).sum();
    let left = Money(paid - result.margin.revenue.plans.0);
    (left.0 > 0).then(|| {
        format!(
            "not in the margin: {} per run that tenants pay under plans for tasks that state a \
             value; the value stands for what they earn.",
            money(left)
        )
    })
}

/// Cost and margin of each kind of task.
pub(crate) fn tasks(result: &RunResult) -> Table {
    let headers = ["cost per success", "margin per task", "metered", "rented", "unused"];
    let mut table = Table::new("Money by task", &headers);
    for task in result.tasks.iter().filter(|task| task.work.is_some()) {
        let found = &task.money;
        let (cost, margin) = (&found.cost_per_success_usd, &found.margin_per_task_usd);
        [cost, margin].into_iter().for_each(|estimate| table.explain(estimate));
        let mut cells = vec![Cell::of(cost, Unit::Dollars), Cell::of(margin, Unit::Dollars)];
        cells.extend(
            [found.metered, found.rented, found.wasted].map(|amount| Cell::plain(money(amount))),
        );
        table.row(&task.name, cells);
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "metered, rented and unused per run; rented: its share of GPUs and provisioned \
             capacity by the time its attempts spent there; unused: the part of metered whose \
             results nobody used."
                .into(),
        );
    }
    table
}

/// What the cost of a successful task buys, and why.
pub(crate) fn drivers(result: &RunResult) -> Vec<Table> {
    let Some(drivers) = &result.cost_drivers else { return Vec::new() };
    let mut items = parts("What a success pays for", &drivers.items, result);
    let mut causes = parts("Why it is paid", &drivers.causes, result);
    items.notes.push(
        "tokens are those of answers that were used; GPU time of prompts and answers cannot be \
         told apart, that of attempts nobody used is divided off by time at work."
            .into(),
    );
    if drivers.causes.iter().any(|part| part.key == "context") {
        causes.notes.push(
            "context: metered prompt tokens in front of what is asked (a shared prefix, earlier \
             turns), at the price of a cache where one takes them, and what it cost more that they \
             were missing there."
                .into(),
        );
    }
    causes.notes.push(
        "other tokens and capacity at work are divided evenly among all calls; the rest is as \
         metered."
            .into(),
    );
    causes.notes.extend(beside(&drivers.beside, result.replications));
    [items, causes].into_iter().filter(|table| table.rows.len() > 1).collect()
}

/// What overlaps with the rows and is no part of their sum.
fn beside(beside: &CostsBeside, runs: u32) -> Vec<String> {
    let mut notes = Vec::new();
    if beside.answer_misses > 0 {
        let cost = Cell::of(&beside.answer_misses_per_task_usd, Unit::Dollars).value;
        notes.push(format!(
            "no part of the sum: {} of the calls above per run asked a cache of answers in vain, \
             {cost} per success.",
            mean_count(beside.answer_misses, runs)
        ));
    }
    if beside.recomputed_tokens > 0 {
        let (context, all) = (beside.recomputed_tokens, beside.computed_tokens);
        notes.push(format!(
            "no part of the sum: {} of the prompt tokens that GPUs computed were context that their \
             prefix cache did not have; the GPU time is in the calls above.",
            number(context as f64 / all as f64, Unit::Share)
        ));
    }
    notes
}

/// A list of parts and their total.
fn parts(title: &str, list: &[CostPart], result: &RunResult) -> Table {
    let mut table = Table::new(title, &["per success", "share"]);
    let total = list.iter().map(|part| part.amount.0).sum::<i128>();
    for part in list {
        let share = number(part.amount.0 as f64 / total as f64, Unit::Share);
        table.explain(&part.per_successful_task_usd);
        let cost = Cell::of(&part.per_successful_task_usd, Unit::Dollars);
        table.row(spend_words(part.key), vec![cost, Cell::plain(share)]);
    }
    let cost = Cell::of(&result.spend.per_successful_task_usd, Unit::Dollars);
    table.row("total", vec![cost, Cell::plain(number(1.0, Unit::Share))]);
    table
}

/// What tenants pay and cost.
pub(crate) fn tenants(result: &RunResult) -> Table {
    let headers = ["tenants", "paid", "cost", "margin each", "losing"];
    let mut table = Table::new("Tenants", &headers);
    for group in &result.tenants {
        let margin = &group.margin_per_tenant_month_usd;
        [margin, &group.losing].into_iter().for_each(|estimate| table.explain(estimate));
        let name = match &group.plan {
            Some(plan) => format!("{} ({plan})", group.name),
            None => group.name.clone(),
        };
        let cells = vec![
            Cell::plain(count(group.tenants.into())),
            Cell::plain(money(group.revenue)),
            Cell::plain(money(group.metered + group.rented)),
            Cell::of(margin, Unit::Dollars),
            Cell::of(&group.losing, Unit::Share),
        ];
        table.row(name, cells);
        for (heaviest, per_cent) in group.heaviest.iter().zip(HEAVIEST) {
            table.explain(&heaviest.margin_per_tenant_month_usd);
            let cells = vec![
                Cell::plain(count(heaviest.tenants.into())),
                Cell::plain(""),
                Cell::of(&heaviest.cost_share, Unit::Share),
                Cell::of(&heaviest.margin_per_tenant_month_usd, Unit::Dollars),
                Cell::plain(""),
            ];
            table.row(format!("  heaviest {per_cent} %"), cells);
        }
    }
    if !table.rows.is_empty() {
        table.notes.push(
            "paid and cost per run, of the heaviest their share of the cost; margin of a tenant in \
             a month; losing: share of the tenants who cost more than they pay."
                .into(),
        );
        if result.measured < MONTH && result.tenants.iter().any(|group| group.plan.is_some()) {
            let part = number(result.measured.0 as f64 / MONTH.0 as f64, Unit::Share);
            table.notes.push(format!(
                "{} measured stand for a month: fees and included tasks are {part} of a month's.",
                span(result.measured)
            ));
        }
    }
    table
}
