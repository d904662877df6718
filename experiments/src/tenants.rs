//! What tenants pay and what they cost.
//!
//! A tenant pays under the plan of the source that brings it, for the measured time, which stands
//! for a month like any other: of a part of a month it pays that part of the price, and that part
//! of the tasks is included. It costs what was metered for it, and its share of what is rented: of
//! GPUs by the time its attempts spent in engines, of provisioned capacity by the time they spent
//! there. What is rented and never used is nobody's.
//!
//! Where less than one task would be included, no part of a month says anything of a whole one,
//! and there is no margin; where few would be, a warning says which way chance moves it.
//!
//! Invariants: amounts are integers, truncated where they are divided; sources with the same
//! tenants and plan make one group.
//!
//! Deliberately absent: refunds, seats, discounts, and terms longer than the measured time.

use crate::bill::{Bill, part};
use crate::estimate::Estimate;
use crate::money::{dollars, scaled};
use crate::pooled::{Part, ratio};
use crate::record::Record;
use crate::warnings::Warning;
use sim::ids::SourceId;
use sim::outcome::TenantOutcome;
use sim::price::{Beyond, MONTH, Month, PlanSpec};
use sim::units::{Money, PS_PER_SEC, Span, Time};
use sim::workload::TenantSpec;
use sim::{Outcome, Scenario};
use std::collections::BTreeSet;

/// Per cent of the tenants, the most expensive first, of whom reports speak.
pub const HEAVIEST: [u32; 2] = [1, 10];

/// Tasks included in the measured time below which a warning is due. If a tenant sends as many as
/// are included on average and at random (Poisson), chance alone puts `1/√(2π·20)`, 9 %, of them
/// beyond: over a whole month, with more of them, it would be fewer.
const LEAST_ALLOWANCE: u32 = 20;

const DAY: Span = Span::from_secs(86_400);

/// Reason for a missing margin.
const NO_PLAN: &str = "the tenants pay under no plan";

/// Position in `RunResult::tenants`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantsId(pub u32);

impl TenantsId {
    /// The group whose tenants a source brings; `None` where it has none.
    #[must_use]
    pub fn of(scenario: &Scenario, source: SourceId) -> Option<TenantsId> {
        let tenants = scenario.sources.get(source.index())?.people.tenants?;
        let at = groups(scenario).iter().position(|group| group.tenants == tenants)?;
        u32::try_from(at).ok().map(TenantsId)
    }

    /// Every group of a scenario, with its name.
    pub(crate) fn all(scenario: &Scenario) -> impl Iterator<Item = (String, TenantsId)> {
        groups(scenario).into_iter().zip(0..).map(|(group, at)| (group.name, TenantsId(at)))
    }
}

/// Tenants that the same sources bring.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TenantGroup {
    /// Names of the sources, joined by `+`.
    pub name: String,
    /// Name of the plan they pay.
    pub plan: Option<String>,
    /// Tenants there are, those that sent nothing included.
    pub tenants: u32,
    /// Tasks that ended in the measured time, summed over replications.
    pub tasks: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// What they paid, mean per replication.
    pub revenue: Money,
    /// What was metered for them, mean per replication.
    pub metered: Money,
    /// Their share of what is rented, mean per replication.
    pub rented: Money,
    /// Dollars of revenue minus cost per tenant and month.
    pub margin_per_tenant_month_usd: Estimate,
    /// Share of the tenants who cost more than they pay.
    pub losing: Estimate,
    /// The heaviest tenants of each replication, by [`HEAVIEST`].
    pub heaviest: Vec<Heaviest>,
}

/// The most expensive tenants of a group.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Heaviest {
    /// Tenants: the share of the group, rounded up.
    pub tenants: u32,
    /// Their share of the group's cost.
    pub cost_share: Estimate,
    /// Their dollars of revenue minus cost per tenant and month.
    pub margin_per_tenant_month_usd: Estimate,
}

/// Revenue and cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Balance {
    revenue: Money,
    metered: Money,
    rented: Money,
}

impl Balance {
    fn cost(self) -> Money {
        self.metered + self.rented
    }

    fn margin(self) -> Money {
        self.revenue - self.cost()
    }

    fn add(&mut self, other: Balance) {
        self.revenue += other.revenue;
        self.metered += other.metered;
        self.rented += other.rented;
    }
}

/// One group in one replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Account {
    tasks: u64,
    succeeded: u64,
    all: Balance,
    losing: u32,
    heaviest: [Balance; HEAVIEST.len()],
}

impl Account {
    /// What its tenants paid.
    pub(crate) fn revenue(&self) -> Money {
        self.all.revenue
    }
}

/// Tenants of a scenario, as the sources with the same ones bring them.
pub(crate) struct Group {
    pub(crate) tenants: TenantSpec,
    name: String,
    /// The kinds of task they send.
    pub(crate) tasks: BTreeSet<usize>,
}

/// The different tenants of a scenario, in the order of its sources.
pub(crate) fn groups(scenario: &Scenario) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for source in &scenario.sources {
        let Some(tenants) = source.people.tenants else { continue };
        match groups.iter_mut().find(|group| group.tenants == tenants) {
            Some(group) => {
                group.name += &format!("+{}", source.name);
                group.tasks.insert(source.task.index());
            }
            None => groups.push(Group {
                tenants,
                name: source.name.clone(),
                tasks: BTreeSet::from([source.task.index()]),
            }),
        }
    }
    groups
}

/// Why what a plan brings in so little time says nothing of a month, if it does not.
pub(crate) fn too_short(plan: &PlanSpec, measured: Span) -> Option<String> {
    let included = plan.included?;
    if first_month(measured)?.allowance(included).is_some() {
        return None;
    }
    let (name, least) = (&plan.name, in_words(Span(MONTH.0.div_ceil(included.max(1).into()))));
    Some(format!(
        "less than one of the {included} tasks that the plan {name} includes in a month falls into \
         the measured time: measure at least {least}"
    ))
}

fn first_month(measured: Span) -> Option<Month> {
    Month::at(Time::ZERO, Span::ZERO, measured)
}

/// A length as advice, rounded up.
fn in_words(length: Span) -> String {
    let minutes = length.0.div_ceil(60 * PS_PER_SEC);
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2_880 => format!("{} h", minutes.div_ceil(60)),
        _ => format!("{} days", minutes.div_ceil(1_440)),
    }
}

/// What to know of plans by the month when less of it is measured.
pub(crate) fn warnings(scenario: &Scenario, measured: Span) -> Vec<Warning> {
    let mut plans: Vec<&PlanSpec> = Vec::new();
    let paid = groups(scenario).into_iter().filter_map(|group| group.tenants.plan);
    for plan in paid.filter_map(|plan| scenario.plans.get(plan.index())) {
        if !plans.iter().any(|known| known.name == plan.name) {
            plans.push(plan);
        }
    }
    let few = |plan: &PlanSpec| {
        let included = plan.included?;
        let allowance = first_month(measured)?.allowance(included)?;
        // Of so few in a whole month that is what the plan says, not what the run does to it.
        let few = measured < MONTH && allowance < LEAST_ALLOWANCE && included > 0;
        let least = MONTH.0.div_ceil(included.max(1).into()).saturating_mul(LEAST_ALLOWANCE.into());
        few.then(|| Warning::FewIncluded {
            plan: plan.name.clone(),
            included,
            allowance,
            least: in_words(Span(least).min(MONTH)),
        })
    };
    let by_month = |plan: &&&PlanSpec| plan.per_month != Money::ZERO || plan.included.is_some();
    let brief = (measured < DAY).then(|| plans.iter().find(by_month)).flatten();
    let brief = brief.map(|plan| Warning::PartOfADay { plan: plan.name.clone() });
    brief.into_iter().chain(plans.iter().filter_map(|plan| few(plan))).collect()
}

/// The accounts of all groups in one replication.
pub(crate) fn accounts(outcome: &Outcome, scenario: &Scenario, bill: &Bill) -> Vec<Account> {
    let rents = Rents::of(outcome, bill);
    let account = |Group { tenants, .. }: &Group| {
        let plan = tenants.plan.and_then(|plan| scenario.plans.get(plan.index()));
        let numbers = tenants.first..tenants.first.saturating_add(tenants.count);
        let mut account = Account::default();
        let mut balances = Vec::with_capacity(tenants.count as usize);
        for number in numbers {
            let nothing = TenantOutcome::default();
            let tenant = outcome.tenants.get(number as usize).unwrap_or(&nothing);
            let balance = Balance {
                revenue: plan.map_or(Money::ZERO, |plan| paid(plan, tenant, outcome.measured)),
                metered: tenant.spend,
                rented: rents.share(tenant.engine_time, tenant.provisioned_time),
            };
            account.tasks += tenant.tasks;
            account.succeeded += tenant.succeeded;
            account.all.add(balance);
            account.losing += u32::from(balance.margin() < Money::ZERO);
            balances.push(balance);
        }
        // Stable: of equal costs the lower number comes first.
        balances.sort_by_key(|balance| std::cmp::Reverse(balance.cost()));
        for (sum, share) in account.heaviest.iter_mut().zip(HEAVIEST) {
            balances.iter().take(heavy(tenants.count, share)).for_each(|b| sum.add(*b));
        }
        account
    };
    groups(scenario).iter().map(account).collect()
}

/// How many tenants are so many per cent of all, rounded up.
fn heavy(count: u32, per_cent: u32) -> usize {
    (u64::from(count) * u64::from(per_cent)).div_ceil(100) as usize
}

/// What is rented, and the time it was used for.
pub(crate) struct Rents {
    engines: (Money, u128),
    provisioned: (Money, u128),
}

impl Rents {
    pub(crate) fn of(outcome: &Outcome, bill: &Bill) -> Rents {
        let engine_time = outcome.tasks.iter().map(|task| task.engine_time).sum();
        let provisioned_time = outcome.tasks.iter().map(|task| task.provisioned_time).sum();
        Rents {
            engines: (bill.by.gpu, engine_time),
            provisioned: (bill.by.provisioned, provisioned_time),
        }
    }

    /// The share of what is rented of somebody who used it for so long.
    pub(crate) fn share(&self, engine_time: u128, provisioned_time: u128) -> Money {
        part(self.engines.0, engine_time, self.engines.1)
            + part(self.provisioned.0, provisioned_time, self.provisioned.1)
    }

    /// What nobody used.
    pub(crate) fn unused(&self) -> Money {
        [self.engines, self.provisioned]
            .iter()
            .filter(|(_, time)| *time == 0)
            .fold(Money::ZERO, |sum, (money, _)| sum + *money)
    }
}

/// What a tenant pays under a plan for `measured` time.
fn paid(plan: &PlanSpec, tenant: &TenantOutcome, measured: Span) -> Money {
    let (time, month) = (i128::from(measured.0), i128::from(MONTH.0));
    let flat = scaled(plan.per_month, time, month).unwrap_or_default();
    let beyond = match plan.beyond {
        Beyond::Charged(price) => {
            let (tasks, rest) = (tenant.beyond as i128 / month, tenant.beyond as i128 % month);
            Money(price.0 * tasks) + scaled(price, rest, month).unwrap_or_default()
        }
        Beyond::Refused => Money::ZERO,
    };
    let success = Money(plan.per_success.0 * i128::from(tenant.succeeded));
    let premium = plan
        .premium
        .as_ref()
        .map_or(Money::ZERO, |add_on| Money(add_on.per_task.0 * i128::from(tenant.premium)));
    flat + beyond + success + premium
}

/// All groups over all replications.
pub(crate) fn summarise(
    records: &[Record],
    scenario: &Scenario,
    withheld: Option<&str>,
) -> Vec<TenantGroup> {
    let group = |(at, Group { tenants, name, .. }): (usize, Group)| {
        let accounts = || records.iter().filter_map(move |r| Some((r, r.accounts.get(at)?)));
        let mean = |of: fn(&Account) -> Money| {
            let sum: i128 = accounts().map(|(_, account)| of(account).0).sum();
            Money(sum.checked_div(records.len() as i128).unwrap_or(0))
        };
        let plan = tenants.plan.and_then(|plan| scenario.plans.get(plan.index()));
        let measured = records.first().map_or(Span::ZERO, |r| r.outcome.measured);
        let why_not = match plan {
            Some(plan) => too_short(plan, measured),
            None => Some(NO_PLAN.into()),
        };
        let monthly = |of: &dyn Fn(&Account) -> Balance, count: u32| {
            if let Some(reason) = why_not.as_deref().or(withheld) {
                return Estimate::absent(reason);
            }
            let parts: Vec<Part> = accounts()
                .map(|(r, account)| {
                    let time = i128::from(r.outcome.measured.0);
                    let month = scaled(of(account).margin(), i128::from(MONTH.0), time);
                    (month.unwrap_or_default().0, i128::from(count))
                })
                .collect();
            dollars(ratio(&parts, "there are no tenants"))
        };
        let heaviest = |(rank, share): (usize, u32)| {
            let count = heavy(tenants.count, share) as u32;
            let cost = |(_, a): (&Record, &Account)| (a.heaviest[rank].cost().0, a.all.cost().0);
            let shares: Vec<Part> = accounts().map(cost).collect();
            Heaviest {
                tenants: count,
                cost_share: ratio(&shares, "nothing was spent").held_within(0.0, 1.0),
                margin_per_tenant_month_usd: monthly(&|account| account.heaviest[rank], count),
            }
        };
        let losing: Vec<Part> =
            accounts().map(|(_, a)| (a.losing.into(), tenants.count.into())).collect();
        TenantGroup {
            name,
            plan: plan.map(|plan| plan.name.clone()),
            tenants: tenants.count,
            tasks: accounts().map(|(_, account)| account.tasks).sum(),
            succeeded: accounts().map(|(_, account)| account.succeeded).sum(),
            revenue: mean(|account| account.all.revenue),
            metered: mean(|account| account.all.metered),
            rented: mean(|account| account.all.rented),
            margin_per_tenant_month_usd: monthly(&|account| account.all, tenants.count),
            losing: match &why_not {
                Some(reason) => Estimate::absent(reason),
                None => ratio(&losing, "there are no tenants").held_within(0.0, 1.0),
            },
            heaviest: HEAVIEST.into_iter().enumerate().map(heaviest).collect(),
        }
    };
    groups(scenario).into_iter().enumerate().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::ids::ModelId;
    use sim::price::Premium;

    const CENT: Money = Money(Money::PICO_PER_DOLLAR / 100);

    fn plan() -> PlanSpec {
        PlanSpec {
            name: "plan".into(),
            per_month: Money::ZERO,
            included: None,
            beyond: Beyond::Charged(Money::ZERO),
            per_success: Money::ZERO,
            premium: None,
        }
    }

    /// A tenant that ended so many tasks, ten of them without success, in one part of a month.
    fn used(included: Option<u32>, tasks: u32, length: Span) -> TenantOutcome {
        let mut tenant = TenantOutcome::default();
        (tenant.tasks, tenant.succeeded, tenant.premium) = (tasks.into(), 60, 5);
        (0..tasks).for_each(|_| tenant.use_month(Month { number: 0, length }, included));
        tenant
    }

    /// Half a month in which each kind of plan is paid for its half.
    #[test]
    fn plans_are_paid_for_the_measured_time() {
        let half = Span(MONTH.0 / 2);
        let cents = |plan: PlanSpec| {
            let tenant = used(plan.included, 70, half);
            paid(&plan, &tenant, half).0 * 100 / Money::PICO_PER_DOLLAR
        };
        let flat = Money(20 * Money::PICO_PER_DOLLAR);
        assert_eq!(cents(PlanSpec { per_month: flat, ..plan() }), 1_000);
        let credits = PlanSpec { included: Some(100), beyond: Beyond::Charged(CENT), ..plan() };
        assert_eq!(cents(credits.clone()), 20);
        assert_eq!(cents(PlanSpec { included: Some(200), ..credits }), 0);
        let cap =
            PlanSpec { per_month: flat, included: Some(9), beyond: Beyond::Refused, ..plan() };
        assert_eq!(cents(cap), 1_000);
        assert_eq!(cents(PlanSpec { per_success: CENT, ..plan() }), 60);
        let premium = Some(Premium { models: vec![ModelId(0)], per_task: CENT });
        assert_eq!(cents(PlanSpec { premium, ..plan() }), 5);
    }

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!([1, 10, 50, 100, 101, 1_000].map(|n| heavy(n, 1)), [1, 1, 1, 1, 2, 10]);
        assert_eq!((heavy(0, 1), heavy(70, 10)), (0, 7));
    }
}
