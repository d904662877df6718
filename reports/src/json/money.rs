//! Spend, margin, what they are made of, and tenants, for the JSON document.
//!
//! Invariant: totals of money keep every digit; a list of parts has only those that are not zero.

use super::{Named, Number};
use crate::format::dollars_exact;
use experiments::{CostDrivers, CostPart, HEAVIEST, Heaviest, RunResult, TenantGroup};
use serde::Serialize;
use sim::units::Money;

#[derive(Serialize)]
pub(super) struct Spend<'a> {
    total_usd: String,
    per_day_usd: String,
    per_month_usd: String,
    per_day_estimate_usd: Number<'a>,
    per_month_estimate_usd: Number<'a>,
    per_successful_task_usd: Number<'a>,
    by: Named<'a, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wasted_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drivers: Option<Drivers<'a>>,
}

/// Causes that are there even when they cost nothing.
const ALWAYS: [&str; 4] = ["gpu", "tokens", "tools", "human_review"];

/// Two lists of parts, each of which sums to the spend of all replications, and what overlaps
/// with them.
#[derive(Serialize)]
struct Drivers<'a> {
    items: Named<'a, Part<'a>>,
    causes: Named<'a, Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_cache_misses: Option<Misses<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu_prompt_tokens: Option<PromptTokens>,
}

/// Calls that no cache of answers could answer; their cost is in the causes of calls.
#[derive(Serialize)]
struct Misses<'a> {
    calls: u64,
    #[serde(flatten)]
    cost: Part<'a>,
}

/// What our engines computed; its cost is in the causes of calls.
#[derive(Serialize)]
struct PromptTokens {
    computed: u64,
    of_it_context: u64,
}

#[derive(Serialize)]
struct Part<'a> {
    all_replications_usd: String,
    per_successful_task_usd: Number<'a>,
}

impl<'a> Drivers<'a> {
    fn of(drivers: &'a CostDrivers) -> Drivers<'a> {
        let part = |part: &'a CostPart| {
            let amount = Part {
                all_replications_usd: dollars_exact(part.amount),
                per_successful_task_usd: Number::of(&part.per_successful_task_usd),
            };
            (part.key, amount)
        };
        let beside = &drivers.beside;
        let misses = |(): ()| Misses {
            calls: beside.answer_misses,
            cost: Part {
                all_replications_usd: dollars_exact(beside.answer_misses_cost),
                per_successful_task_usd: Number::of(&beside.answer_misses_per_task_usd),
            },
        };
        Drivers {
            items: Named(drivers.items.iter().map(part).collect()),
            causes: Named(drivers.causes.iter().map(part).collect()),
            answer_cache_misses: (beside.answer_misses > 0).then_some(()).map(misses),
            gpu_prompt_tokens: (beside.recomputed_tokens > 0).then_some(PromptTokens {
                computed: beside.computed_tokens,
                of_it_context: beside.recomputed_tokens,
            }),
        }
    }
}

impl<'a> Spend<'a> {
    pub(super) fn of(result: &'a RunResult) -> Spend<'a> {
        let spend = &result.spend;
        // The four that were always there keep their order, the others follow.
        let parts = spend.by.parts();
        let first = ALWAYS.iter().filter_map(|key| parts.iter().find(|part| part.0 == *key));
        let others = parts.iter().filter(|part| !ALWAYS.contains(&part.0) && part.1 != Money::ZERO);
        let by = first.chain(others).map(|&(key, amount)| (key, dollars_exact(amount))).collect();
        Spend {
            total_usd: dollars_exact(spend.total),
            per_day_usd: dollars_exact(spend.per_day),
            per_month_usd: dollars_exact(spend.per_month),
            per_day_estimate_usd: Number::of(&spend.per_day_usd),
            per_month_estimate_usd: Number::of(&spend.per_month_usd),
            per_successful_task_usd: Number::of(&spend.per_successful_task_usd),
            by: Named(by),
            wasted_usd: result.cost_drivers.as_ref().map(|_| dollars_exact(spend.wasted)),
            drivers: result.cost_drivers.as_ref().map(Drivers::of),
        }
    }

    /// As spend where no cache of answers is asked.
    pub(super) fn leave_out_misses(&mut self) {
        if let Some(drivers) = &mut self.drivers {
            drivers.answer_cache_misses = None;
        }
    }

    /// As spend that only engines cause.
    pub(super) fn leave_out_causes(&mut self) {
        (self.wasted_usd, self.drivers) = (None, None);
    }
}

#[derive(Serialize)]
pub(super) struct Margin<'a> {
    per_task_usd: Number<'a>,
    per_month_usd: Option<String>,
    #[serde(flatten)]
    rates: Option<MarginRates<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    harm_usd: Option<String>,
    /// Where the money comes from; what brings in nothing is left out.
    #[serde(skip_serializing_if = "Named::is_empty")]
    revenue_usd: Named<'a, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The margin over other lengths of time, and the intervals.
#[derive(Serialize)]
struct MarginRates<'a> {
    total_usd: Option<String>,
    per_day_usd: Option<String>,
    per_day_estimate_usd: Number<'a>,
    per_month_estimate_usd: Number<'a>,
}

impl<'a> Margin<'a> {
    pub(super) fn of(result: &'a RunResult) -> Margin<'a> {
        let margin = &result.margin;
        let reason = margin.per_month_usd.reason.as_deref().unwrap_or("not computed");
        Margin {
            per_task_usd: Number::of(&margin.per_task_usd),
            per_month_usd: margin.per_month.map(dollars_exact),
            rates: Some(MarginRates {
                total_usd: margin.total.map(dollars_exact),
                per_day_usd: margin.per_day.map(dollars_exact),
                per_day_estimate_usd: Number::of(&margin.per_day_usd),
                per_month_estimate_usd: Number::of(&margin.per_month_usd),
            }),
            harm_usd: (margin.harm != Money::ZERO).then(|| dollars_exact(margin.harm)),
            revenue_usd: Named(
                [("values", margin.revenue.values), ("plans", margin.revenue.plans)]
                    .into_iter()
                    .filter(|(_, amount)| *amount != Money::ZERO)
                    .map(|(from, amount)| (from, dollars_exact(amount)))
                    .collect(),
            ),
            reason: margin.per_month.is_none().then_some(reason),
        }
    }

    /// As a margin per task and per month.
    pub(super) fn leave_out_rates(&mut self) {
        self.rates = None;
    }

    /// As a margin of tasks that state their value.
    pub(super) fn leave_out_revenue(&mut self) {
        self.revenue_usd.0.clear();
    }
}

/// Tenants of the same sources; money is per replication unless it says otherwise.
#[derive(Serialize)]
pub(super) struct Tenants<'a> {
    plan: Option<&'a str>,
    tenants: u32,
    tasks: u64,
    succeeded: u64,
    revenue_usd: String,
    metered_usd: String,
    rented_usd: String,
    margin_per_tenant_month_usd: Number<'a>,
    losing: Number<'a>,
    heaviest: Vec<Heavy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Heavy<'a> {
    per_cent: u32,
    tenants: u32,
    cost_share: Number<'a>,
    margin_per_tenant_month_usd: Number<'a>,
}

impl<'a> Tenants<'a> {
    pub(super) fn of(group: &'a TenantGroup) -> Tenants<'a> {
        let heavy = |(heaviest, per_cent): (&'a Heaviest, u32)| Heavy {
            per_cent,
            tenants: heaviest.tenants,
            cost_share: Number::of(&heaviest.cost_share),
            margin_per_tenant_month_usd: Number::of(&heaviest.margin_per_tenant_month_usd),
        };
        Tenants {
            plan: group.plan.as_deref(),
            tenants: group.tenants,
            tasks: group.tasks,
            succeeded: group.succeeded,
            revenue_usd: dollars_exact(group.revenue),
            metered_usd: dollars_exact(group.metered),
            rented_usd: dollars_exact(group.rented),
            margin_per_tenant_month_usd: Number::of(&group.margin_per_tenant_month_usd),
            losing: Number::of(&group.losing),
            heaviest: group.heaviest.iter().zip(HEAVIEST).map(heavy).collect(),
            reason: group.plan.is_none().then_some("they pay under no plan"),
        }
    }
}
