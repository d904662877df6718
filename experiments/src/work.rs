//! What policies, backends and tools did: counts summed over replications, and a few ratios.
//!
//! Counts of tasks, calls and attempts are of tasks that arrived after the warm-up; counts of
//! remotes are of the measured time; breakers count the whole run.
//!
//! Deliberately absent: judging any of it.

use crate::bill::TokenSpend;
use crate::estimate::{Distribution, Estimate};
use crate::pooled::{Part, Times, ratio};
use crate::record::Record;
use sim::Scenario;
use sim::backends::{MeterReading, RemoteKind, RemoteSpec, RemoteUsage, ToolCost, ToolSpec};
use sim::ids::{Backend, RemoteId, TaskId};
use sim::outcome::{Endings, ModelOutcome, RemoteOutcome, TaskOutcome, ToolOutcome};
use sim::resilience::FAILURES;
use sim::tasks::{Step, Work};
use sim::units::{Money, Span};

/// What the tasks of one kind did.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TaskWork {
    /// How they ended.
    pub endings: Endings,
    /// Submissions, the first of each task included.
    pub submissions: u64,
    /// Model calls, answers from caches and further attempts not counted.
    pub calls: u64,
    /// Those of them whose model a rule of the routing chose before they were made.
    pub by_rule: u64,
    /// Those of them made again because of the confidence of an answer, by the model of such a
    /// rule.
    pub escalations: u64,
    /// Calls answered by what they had escalated from, because nobody after that answered.
    pub kept_answers: u64,
    /// Calls answered from the exact cache.
    pub exact_hits: u64,
    /// Calls answered from the semantic cache.
    pub semantic_hits: u64,
    /// Those of them whose answer belongs to another question.
    pub wrong_hits: u64,
    /// Actions left undone because no check could say that they are safe.
    pub actions_blocked: u64,
    /// Uses of the ladder's rungs: shorter context, smaller model, cached answer, partial result,
    /// refine.
    pub rungs: [u64; 5],
    /// Submissions per task.
    pub submissions_per_task: Estimate,
    /// Model calls per submission.
    pub calls_per_submission: Estimate,
}

/// What the guards of one model did.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ModelWork {
    /// Its share of the answered calls to all models.
    pub share: Estimate,
    /// Attempts of all calls, those of calls without an answer included, per answered call. Absent
    /// where nothing was answered, and where the backlog grows or the system is stuck: most
    /// attempts are then of calls that get no answer, and the ratio depends on the horizon.
    pub attempts_per_answer: Estimate,
    /// Attempts that failed or were refused, by kind.
    pub failures: [u64; FAILURES],
    /// Further attempts after failures.
    pub retries: u64,
    /// Second attempts beside slow ones.
    pub hedges: u64,
    /// Calls that went on to a fallback from here.
    pub fallbacks: u64,
    /// Prompt tokens that engines computed for answers nobody used.
    pub wasted_input_tokens: u64,
    /// Tokens that engines wrote and nobody used.
    pub wasted_output_tokens: u64,
}

/// What the circuit breakers of one backend did, those of all its models together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BreakerCounts {
    /// How often one opened.
    pub opens: u64,
    /// Attempts they refused.
    pub rejected: u64,
}

/// One backend that is no pool.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteResult {
    /// Name in the scenario.
    pub name: String,
    /// What it is.
    pub kind: RemoteKind,
    /// Attempts that got a place.
    pub attempts: u64,
    /// Those of them that ended in a server error.
    pub failed: u64,
    /// Attempts that were not let in, by failure.
    pub refused: [u64; FAILURES],
    /// Share of its places taken; absent where it has any number.
    pub utilisation: Option<Estimate>,
    /// Share of the time in which it was awake or waking; absent where it never sleeps.
    pub awake: Option<Estimate>,
    /// Times that it woke up.
    pub cold_starts: u64,
    /// Its circuit breakers; absent where no model that it serves has one.
    pub breaker: Option<BreakerCounts>,
    /// Tokens billed to attempts that left.
    pub tokens: MeterReading,
    /// The part of them whose answers nobody used.
    pub wasted: MeterReading,
    /// What the tokens cost by kind, mean per replication; zero where it is not metered.
    pub token_spend: TokenSpend,
    /// What it costs, mean per replication.
    pub spend: Money,
}

/// One tool, retrieval or reviewer.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// Name in the scenario.
    pub name: String,
    /// What its cost is called.
    pub cost: ToolCost,
    /// Uses that got a place.
    pub uses: u64,
    /// Those of them that failed or were stopped.
    pub failed: u64,
    /// Uses answered from its cache, which are none of these.
    pub cache_hits: u64,
    /// Time at work, seconds.
    pub time: Distribution,
    /// What it costs, mean per replication.
    pub spend: Money,
    /// The part that paid for uses that failed or were stopped.
    pub wasted: Money,
}

/// Whether a task is one plain call on pools.
pub(crate) fn is_plain(scenario: &Scenario, task: usize) -> bool {
    scenario.plain_call(TaskId(task as u32)).is_some()
}

/// Whether a kind of task is only ever a part of others: no traffic starts it.
pub(crate) fn is_part(scenario: &Scenario, task: usize) -> bool {
    let is_this = |step: &Step| matches!(step.work, Work::SubTask(of) if of.index() == task);
    scenario.sources.iter().all(|source| source.task.index() != task)
        && scenario.tasks.iter().any(|spec| spec.graph.steps.iter().any(is_this))
}

/// Whether any task is more than one plain call.
pub(crate) fn is_general(scenario: &Scenario) -> bool {
    (0..scenario.tasks.len()).any(|task| !is_plain(scenario, task))
}

pub(crate) fn task(records: &[Record], at: usize) -> TaskWork {
    let outcomes = || records.iter().filter_map(move |r| r.outcome.tasks.get(at));
    let sum = |of: fn(&TaskOutcome) -> u64| outcomes().map(of).sum::<u64>();
    let mut work = TaskWork {
        submissions: sum(|t| t.submissions),
        calls: sum(|t| t.calls),
        by_rule: sum(|t| t.by_rule),
        escalations: sum(|t| t.escalations),
        kept_answers: sum(|t| t.kept_answers),
        exact_hits: sum(|t| t.exact_hits),
        semantic_hits: sum(|t| t.semantic_hits),
        wrong_hits: sum(|t| t.wrong_hits),
        actions_blocked: sum(|t| t.actions_blocked),
        submissions_per_task: per(outcomes(), |t| (t.submissions, t.arrived), "no task arrived"),
        calls_per_submission: per(outcomes(), |t| (t.calls, t.submissions), "no task arrived"),
        ..TaskWork::default()
    };
    for outcome in outcomes() {
        work.rungs.iter_mut().zip(outcome.rungs).for_each(|(sum, more)| *sum += more);
        add(&mut work.endings, &outcome.endings);
    }
    work
}

/// The ratio of two counts.
fn per<'a, T: 'a>(
    outcomes: impl Iterator<Item = &'a T>,
    of: fn(&T) -> (u64, u64),
    none: &str,
) -> Estimate {
    let part = |outcome: &'a T| {
        let (top, bottom) = of(outcome);
        (i128::from(top), i128::from(bottom))
    };
    let parts: Vec<Part> = outcomes.map(part).collect();
    ratio(&parts, none).held_within(0.0, f64::INFINITY)
}

fn add(sum: &mut Endings, more: &Endings) {
    sum.success += more.success;
    sum.wrong += more.wrong;
    sum.harmful += more.harmful;
    sum.failed.iter_mut().zip(more.failed).for_each(|(sum, more)| *sum += more);
    sum.caught += more.caught;
    sum.over_budget += more.over_budget;
    sum.refined += more.refined;
    sum.refused += more.refused;
    sum.abandoned += more.abandoned;
}

/// What the guards of a model did; `withheld` says why ratios of attempts would say nothing of it.
pub(crate) fn model(records: &[Record], at: usize, withheld: Option<&str>) -> ModelWork {
    let outcomes = || records.iter().filter_map(move |r| r.outcome.models.get(at));
    let sum = |of: fn(&ModelOutcome) -> u64| outcomes().map(of).sum::<u64>();
    let shares: Vec<Part> = records
        .iter()
        .map(|r| {
            let calls = |model: &ModelOutcome| i128::from(model.calls);
            let all = r.outcome.models.iter().map(calls).sum();
            (r.outcome.models.get(at).map_or(0, calls), all)
        })
        .collect();
    let mut failures = [0; FAILURES];
    for outcome in outcomes() {
        failures.iter_mut().zip(outcome.failures).for_each(|(sum, more)| *sum += more);
    }
    ModelWork {
        share: ratio(&shares, "no call was answered").held_within(0.0, 1.0),
        attempts_per_answer: withheld.map_or_else(
            || per(outcomes(), |m| (m.attempts, m.calls), "no call was answered"),
            Estimate::absent,
        ),
        failures,
        retries: sum(|m| m.retries),
        hedges: sum(|m| m.hedges),
        fallbacks: sum(|m| m.fallbacks),
        wasted_input_tokens: sum(|m| m.wasted_input_tokens),
        wasted_output_tokens: sum(|m| m.wasted_output_tokens),
    }
}

/// Whether a model with a circuit breaker is served by this backend.
fn has_breaker(scenario: &Scenario, backend: Backend) -> bool {
    scenario.models.iter().any(|model| {
        model.guards.breaker.is_some() && model.served_by.iter().any(|s| s.backend == backend)
    })
}

/// The breakers of a backend, if it has any.
pub(crate) fn breaker(
    scenario: &Scenario,
    backend: Backend,
    counts: impl Iterator<Item = (u64, u64)>,
) -> Option<BreakerCounts> {
    let mut sum = BreakerCounts::default();
    for (opens, rejected) in counts {
        sum.opens += opens;
        sum.rejected += rejected;
    }
    has_breaker(scenario, backend).then_some(sum)
}

pub(crate) fn remote(
    records: &[Record],
    scenario: &Scenario,
    at: usize,
    spec: &RemoteSpec,
) -> RemoteResult {
    let outcomes = || records.iter().filter_map(move |r| r.outcome.remotes.get(at));
    let sum = |of: fn(&RemoteUsage) -> u64| outcomes().map(|r| of(&r.measured)).sum::<u64>();
    let share = |of: &dyn Fn(&RemoteUsage) -> (u128, u128)| {
        let part = |outcome: &RemoteOutcome| {
            let (top, bottom) = of(&outcome.measured);
            (top as i128, bottom as i128)
        };
        let parts: Vec<Part> = outcomes().map(part).collect();
        ratio(&parts, "no time was measured").held_within(0.0, 1.0)
    };
    let time = |span: Span| u128::from(span.0);
    let (mut tokens, mut wasted) = (MeterReading::default(), MeterReading::default());
    let mut refused = [0; FAILURES];
    for outcome in outcomes() {
        tokens += outcome.billed;
        wasted += outcome.wasted;
        let more = outcome.measured.refused;
        refused.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    let mut token_spend = TokenSpend::default();
    records.iter().filter_map(|r| r.bill.remotes.get(at)).for_each(|spend| token_spend += *spend);
    let metered = spend_mean(token_spend, records.len());
    let rented = match spec.price {
        sim::backends::RemotePrice::Metered(_) => metered.total(),
        _ => mean(outcomes().map(|r| spec.price.spend(&r.measured)), records.len()),
    };
    let backend = Backend::Remote(RemoteId(at as u32));
    RemoteResult {
        name: spec.name.clone(),
        kind: spec.kind,
        attempts: sum(|u| u.begun),
        failed: sum(|u| u.failed),
        refused,
        utilisation: spec
            .station
            .servers
            .map(|places| share(&|u| (u.place_time, u128::from(places) * time(u.elapsed)))),
        awake: spec.cold_start.as_ref().map(|_| share(&|u| (time(u.awake), time(u.elapsed)))),
        cold_starts: sum(|u| u.cold_starts),
        breaker: breaker(
            scenario,
            backend,
            outcomes().map(|r| (r.breaker_opens, r.breaker_rejected)),
        ),
        tokens,
        wasted,
        token_spend: metered,
        spend: rented,
    }
}

fn mean(amounts: impl Iterator<Item = Money>, runs: usize) -> Money {
    Money(amounts.map(|amount| amount.0).sum::<i128>().checked_div(runs as i128).unwrap_or(0))
}

fn spend_mean(sum: TokenSpend, runs: usize) -> TokenSpend {
    let each = |amount: Money| mean([amount].into_iter(), runs);
    TokenSpend {
        input: each(sum.input),
        cached_input: each(sum.cached_input),
        cache_write: each(sum.cache_write),
        output: each(sum.output),
        calls: each(sum.calls),
    }
}

pub(crate) fn tool(records: &[Record], at: usize, spec: &ToolSpec) -> ToolResult {
    let outcomes = || records.iter().filter_map(move |r| r.outcome.tools.get(at));
    let sum = |of: fn(&ToolOutcome) -> u64| outcomes().map(of).sum::<u64>();
    let times = Times::new(records.iter().filter_map(|r| r.tool_times.get(at)));
    ToolResult {
        name: spec.name.clone(),
        cost: spec.cost,
        uses: sum(|t| t.uses),
        failed: sum(|t| t.failed),
        cache_hits: sum(|t| t.cache_hits),
        time: times.distribution("it was never used"),
        spend: mean(outcomes().map(|t| t.spend), records.len()),
        wasted: mean(outcomes().map(|t| t.wasted), records.len()),
    }
}
