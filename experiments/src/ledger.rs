//! The books of one replication, line by line: what was bought and from whom, for whom it was, what
//! came in.
//!
//! Invariants: amounts are whole pico-dollars; the lines of [`Book::Spend`] sum to the spend, by cause
//! to each of [`crate::SpendBy::parts`], and by item, what nobody used of tokens and tools taken together,
//! to each of [`crate::Items::parts`]; [`Book::Revenue`] minus [`Book::Harm`] minus
//! [`Book::Spend`] is the margin, where what all tasks bring in is known. A line of nothing is left
//! out.
//!
//! Deliberately absent: shares of what is rented, which are an allocation (see `tenants`).

use crate::bill::{Bill, Rent, token_counts, token_spend};
use crate::revenue::{Earned, Earners};
use crate::tenants;
use crate::work;
use sim::backends::{MeterReading, RemotePrice, ToolCost};
use sim::ids::{PoolId, RemoteId, TaskId, ToolId};
use sim::outcome::{PoolOutcome, ToolOutcome};
use sim::units::{Money, PS_PER_SEC, Span};
use sim::{Outcome, Scenario};

/// What a line is summed up with. Each book adds up by itself; sums over several mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Book {
    /// What was spent, by whom it was paid to.
    Spend,
    /// The metered part of it once more, by kind of task.
    MeteredByTask,
    /// The metered part of it once more, by tenant.
    MeteredByTenant,
    /// What came in.
    Revenue,
    /// What harmful tasks cost beside the spend.
    Harm,
}

impl Book {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Book::Spend => "spend",
            Book::MeteredByTask => "metered_by_task",
            Book::MeteredByTenant => "metered_by_tenant",
            Book::Revenue => "revenue",
            Book::Harm => "harm",
        }
    }
}

/// Who a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// A pool of GPUs.
    Pool(PoolId),
    /// A remote.
    Remote(RemoteId),
    /// A tool.
    Tool(ToolId),
    /// A kind of task.
    Task(TaskId),
    /// A tenant; 0 where a source has none.
    Tenant(u32),
    /// A group of tenants, by its position in `RunResult::tenants`.
    Tenants(u32),
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// What it is summed up with.
    pub book: Book,
    /// Stable name of the cause; of [`Book::Spend`] one of [`crate::SpendBy::parts`].
    pub cause: &'static str,
    /// Stable name of what was bought.
    pub item: &'static str,
    /// Whether anybody used it, where that can be told.
    pub used: Option<bool>,
    /// Who it is about.
    pub party: Party,
    /// How much, where that is counted.
    pub quantity: Option<f64>,
    /// Of what.
    pub unit: Option<&'static str>,
    /// For how much money.
    pub amount: Money,
}

/// The books of one replication.
#[must_use]
pub fn lines(outcome: &Outcome, scenario: &Scenario) -> Vec<Line> {
    let mut lines = Lines(Vec::new());
    for number in 0..outcome.pools.len() {
        lines.pool(outcome, scenario, number);
    }
    for number in 0..outcome.remotes.len() {
        lines.remote(outcome, scenario, number);
    }
    for (number, tool) in outcome.tools.iter().enumerate() {
        lines.tool(scenario.tools[number].cost, ToolId(number as u32), tool);
    }
    lines.tasks(outcome, scenario);
    lines.tenants(outcome);
    lines.revenue(outcome, scenario);
    lines.0
}

struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, line: Line) {
        if line.amount != Money::ZERO || line.quantity.is_some_and(|quantity| quantity > 0.0) {
            self.0.push(line);
        }
    }

    fn pool(&mut self, outcome: &Outcome, scenario: &Scenario, number: usize) {
        let (spec, pool) = (&scenario.pools[number], &outcome.pools[number]);
        let account = outcome.ledger.gpu[number];
        let rent = Rent::of_gpus(spec, pool, account);
        let busy = (pool.measured.busy * u128::from(spec.gpus_per_replica)).min(account.gpu_time);
        let wasted = hours(busy) * wasted_share(pool);
        let parts = [
            ("gpu_at_work", Some(true), hours(busy) - wasted, rent.at_work),
            ("gpu_wasted", Some(false), wasted, rent.wasted),
            ("gpu_idle", None, hours(account.gpu_time - busy), rent.idle),
        ];
        for (item, used, quantity, amount) in parts {
            self.add(Line {
                book: Book::Spend,
                cause: "gpu",
                item,
                used,
                party: Party::Pool(PoolId(number as u32)),
                quantity: Some(quantity),
                unit: Some("GPU hours"),
                amount,
            });
        }
    }

    fn remote(&mut self, outcome: &Outcome, scenario: &Scenario, number: usize) {
        let (spec, remote) = (&scenario.remotes[number], &outcome.remotes[number]);
        let party = Party::Remote(RemoteId(number as u32));
        match &spec.price {
            RemotePrice::Metered(meter) => {
                let used = remote.billed.since(&remote.wasted);
                let both: [(bool, &MeterReading); 2] = [(true, &used), (false, &remote.wasted)];
                for (used, reading) in both {
                    let counts = token_counts(meter, reading);
                    let parts = token_spend(meter, reading).parts().into_iter().zip(counts);
                    for ((item, amount), count) in parts {
                        self.add(Line {
                            book: Book::Spend,
                            cause: "tokens",
                            item,
                            used: Some(used),
                            party,
                            quantity: Some(count as f64),
                            unit: Some(if item == "call_fees" { "attempts" } else { "tokens" }),
                            amount,
                        });
                    }
                }
            }
            RemotePrice::Hourly { .. } => {
                let rent = Rent::of_places(spec, remote);
                let parts = [
                    ("provisioned_at_work", Some(true), rent.at_work),
                    ("provisioned_wasted", Some(false), rent.wasted),
                    ("provisioned_idle", None, rent.idle),
                ];
                for (item, used, amount) in parts {
                    self.add(Line {
                        book: Book::Spend,
                        cause: "provisioned",
                        item,
                        used,
                        party,
                        quantity: None,
                        unit: None,
                        amount,
                    });
                }
            }
            RemotePrice::Free => {}
        }
    }

    fn tool(&mut self, cost: ToolCost, tool: ToolId, outcome: &ToolOutcome) {
        let (cause, item) = match cost {
            ToolCost::Retrieval => ("retrieval", "tools"),
            ToolCost::Tool => ("tools", "tools"),
            ToolCost::SafetyCheck => ("safety_checks", "tools"),
            ToolCost::Formatting => ("formatting", "tools"),
            ToolCost::HumanReview => ("human_review", "human_review"),
        };
        let used = outcome.spend - outcome.wasted;
        let parts = [
            (true, outcome.billed_uses - outcome.wasted_uses, used),
            (false, outcome.wasted_uses, outcome.wasted),
        ];
        for (used, count, amount) in parts {
            self.add(Line {
                book: Book::Spend,
                cause,
                item,
                used: Some(used),
                party: Party::Tool(tool),
                quantity: Some(count as f64),
                unit: Some("uses"),
                amount,
            });
        }
    }

    /// Observation, harm, and what was metered for tasks.
    fn tasks(&mut self, outcome: &Outcome, scenario: &Scenario) {
        for (number, (task, spec)) in outcome.tasks.iter().zip(&scenario.tasks).enumerate() {
            let party = Party::Task(TaskId(number as u32));
            let counted = |book, cause, count: u64, each: Money| Line {
                book,
                cause,
                item: cause,
                used: None,
                party,
                quantity: Some(count as f64),
                unit: Some("tasks"),
                amount: Money(each.0 * i128::from(count)),
            };
            let observed = counted(Book::Spend, "observability", task.observed, spec.observability);
            self.add(Line { used: Some(true), ..observed });
            let harm = spec.harm_cost.unwrap_or_default();
            self.add(counted(Book::Harm, "harm", task.harmed, harm));
            for (used, amount) in [(true, task.spend - task.wasted), (false, task.wasted)] {
                let line = counted(Book::MeteredByTask, "metered", 0, Money::ZERO);
                let (quantity, unit) = (None, None);
                self.add(Line { used: Some(used), quantity, unit, amount, ..line });
            }
        }
    }

    fn tenants(&mut self, outcome: &Outcome) {
        for (number, tenant) in outcome.tenants.iter().enumerate() {
            self.add(Line {
                book: Book::MeteredByTenant,
                cause: "metered",
                item: "metered",
                used: None,
                party: Party::Tenant(number as u32),
                quantity: Some(tenant.tasks as f64),
                unit: Some("tasks"),
                amount: tenant.spend,
            });
        }
    }

    fn revenue(&mut self, outcome: &Outcome, scenario: &Scenario) {
        let started: Vec<bool> =
            (0..scenario.tasks.len()).map(|task| !work::is_part(scenario, task)).collect();
        let measured = Span(scenario.horizon.0.saturating_sub(scenario.warm_up.0));
        let earners = Earners::of(scenario, &started, measured);
        let accounts = tenants::accounts(outcome, scenario, &Bill::of(outcome, scenario));
        for (from, amount) in earners.earned(outcome, &accounts) {
            let (cause, party, count) = match from {
                Earned::Value(task) => {
                    let completed = outcome.tasks.get(task).map(|task| task.completed as f64);
                    ("values", Party::Task(TaskId(task as u32)), completed)
                }
                Earned::Plan(group) => ("plans", Party::Tenants(group as u32), None),
            };
            self.add(Line {
                book: Book::Revenue,
                cause,
                item: cause,
                used: None,
                party,
                quantity: count,
                unit: count.map(|_| "tasks"),
                amount,
            });
        }
    }
}

/// Names of the groups of tenants, by their positions.
#[must_use]
pub fn tenant_groups(scenario: &Scenario) -> Vec<String> {
    tenants::TenantsId::all(scenario).map(|(name, _)| name).collect()
}

fn hours(picoseconds: u128) -> f64 {
    picoseconds as f64 / (3_600.0 * PS_PER_SEC as f64)
}

/// The part of a pool's time at work whose results nobody used.
fn wasted_share(pool: &PoolOutcome) -> f64 {
    let all = pool.taken.used + pool.taken.wasted;
    if all == 0 { 0.0 } else { pool.taken.wasted as f64 / all as f64 }
}
