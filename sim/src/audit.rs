//! The invariants as code: totals derived a second way and compared with the outcome.
//!
//! Conservation (every task that arrived is accounted for, by how it ended; every attempt is
//! refused, answered, failed or dropped, once), Little's law as an identity (the area under the
//! number in system equals the sum of the times spent in it), what is left after the run drained
//! (no KV block, no place, no permit, nothing under way), tokens (those that engines and meters
//! count against those of the attempts), money (pools priced again from the fleet; metered cost by
//! task, by tenant and by what it paid for), causes of latency (they sum to it), the series (by part
//! against the whole and the totals), utilisation ≤ 1.
//! A violation is a bug of this crate, never of the input.

mod windows;

use crate::backends::{MeterReading, Remote, RemotePrice, Tool};
use crate::engine::{Ended, Replica};
use crate::ledger::Ledger;
use crate::metrics::Parts;
use crate::outcome::{Outcome, Taken, TaskOutcome};
use crate::scenario::Scenario;
use crate::units::{Money, PS_PER_SEC, Time};

/// Running totals that the audit compares at the end.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    in_system: u64,
    last: Time,
    /// Integral of the number in system over time, in request-picoseconds.
    area: u128,
    /// Sum of the times spent in the system.
    sojourn: u128,
    arrived: u64,
    ended: u64,
    attempts: Attempts,
    /// `(sequences admitted, their prompt tokens, those found in the prefix cache)`, by what left
    /// the engines.
    computed: (u64, u64, u64),
    /// What attempts were billed, all remotes together.
    billed: MeterReading,
    /// Permits of breakers that are held.
    permits: i64,
}

/// Attempts of tasks that take the general way; in the whole run unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Attempts {
    offered: u64,
    refused: u64,
    resolved: u64,
    dropped: u64,
    dropped_measured: u64,
    /// Calls that admission or a breaker kept from being offered, measured.
    turned_away: u64,
    /// Offered to remotes, and taken back from their queues.
    to_remotes: u64,
    unqueued: u64,
}

/// What is left when a run is over.
#[derive(Clone, Copy, Debug)]
pub struct Remains<'a> {
    /// The engines.
    pub replicas: &'a [Replica],
    /// The remotes.
    pub remotes: &'a [Remote],
    /// The tools.
    pub tools: &'a [Tool],
    /// Tasks, runs, calls, attempts and uses under way.
    pub under_way: usize,
    /// Attempts that admission counts as in flight.
    pub admitted: u64,
    /// What tools, models and tasks did after the last window of the series.
    pub rest: &'a Parts,
}

impl Audit {
    /// An attempt is offered to a backend.
    pub fn offer(&mut self, remote: bool) {
        self.attempts.offered += 1;
        self.attempts.to_remotes += u64::from(remote);
    }

    /// A backend refused an attempt.
    pub fn refuse(&mut self) {
        self.attempts.refused += 1;
    }

    /// Admission or a breaker let nothing be offered.
    pub fn turn_away(&mut self, measured: bool) {
        self.attempts.turned_away += u64::from(measured);
    }

    /// An attempt brought its answer or failed.
    pub fn resolve(&mut self) {
        self.attempts.resolved += 1;
    }

    /// An attempt was dropped, for another one or with its call.
    pub fn drop_attempt(&mut self, measured: bool) {
        self.attempts.dropped += 1;
        self.attempts.dropped_measured += u64::from(measured);
    }

    /// An attempt was taken out of a remote's queue.
    pub fn unqueue(&mut self) {
        self.attempts.unqueued += 1;
    }

    /// A remote was left, and this is billed.
    pub fn bill(&mut self, used: &MeterReading) {
        self.billed += *used;
    }

    /// An engine was left by a prompt of so many tokens.
    pub fn compute(&mut self, input: u32, end: &Ended) {
        if end.scheduled != Time::NEVER {
            self.computed.0 += 1;
            self.computed.1 += u64::from(input);
            self.computed.2 += u64::from(end.hit_tokens);
        }
    }

    /// A breaker gave a permit.
    pub fn take_permit(&mut self) {
        self.permits += 1;
    }

    /// A permit went back to its breaker.
    pub fn return_permit(&mut self) {
        self.permits -= 1;
    }

    /// A request enters the system.
    pub fn enter(&mut self, now: Time) {
        self.pass(now);
        self.in_system += 1;
        self.arrived += 1;
    }

    /// A request that was born at `born` leaves the system.
    pub fn leave(&mut self, now: Time, born: Time) {
        self.pass(now);
        self.in_system -= 1;
        self.ended += 1;
        self.sojourn += u128::from((now - born).0);
    }

    /// Requests in the system now.
    #[must_use]
    pub fn in_system(&self) -> u64 {
        self.in_system
    }

    fn pass(&mut self, now: Time) {
        assert!(now >= self.last, "time went back from {:?} to {now:?}", self.last);
        self.area += u128::from(self.in_system) * u128::from((now - self.last).0);
        self.last = now;
    }

    /// Everything that does not add up, in words; empty in a correct run.
    #[must_use]
    pub fn findings(
        &self,
        scenario: &Scenario,
        outcome: &Outcome,
        remains: &Remains<'_>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        if self.arrived != self.ended + self.in_system {
            found.push(format!(
                "{} requests arrived, {} ended, {} are in the system",
                self.arrived, self.ended, self.in_system
            ));
        }
        if self.in_system == 0 && self.area != self.sojourn {
            found.push(format!(
                "Little's law: area {} but time in system {}",
                self.area, self.sojourn
            ));
        }
        for (spec, task) in scenario.tasks.iter().zip(&outcome.tasks) {
            if !is_conserved(task) {
                found.push(format!("tasks of {} are not conserved: {task:?}", spec.name));
            }
            if !is_explained(task) {
                found.push(format!("causes do not sum to the latency of {}", spec.name));
            }
        }
        if self.in_system == 0 {
            self.left_over(remains, &mut found);
            self.attempts(outcome, &mut found);
            self.tokens(outcome, remains, &mut found);
        }
        found.extend(money(scenario, &outcome.ledger, outcome));
        found.extend(metered(scenario, outcome));
        for (spec, pool) in scenario.pools.iter().zip(&outcome.pools) {
            let rented = u128::from(outcome.measured.0) * u128::from(spec.replicas);
            if pool.measured.busy > rented {
                found.push(format!("{} was busy for longer than it was rented", spec.name));
            }
            if !is_part(&pool.taken) {
                found.push(format!("{}: more context than prompt: {:?}", spec.name, pool.taken));
            }
        }
        for (spec, remote) in scenario.remotes.iter().zip(&outcome.remotes) {
            if !is_read(&remote.billed.since(&remote.wasted)) || !is_read(&remote.wasted) {
                found.push(format!("{}: context is no part of {:?}", spec.name, remote.billed));
            }
        }
        found.extend(time_at_work(scenario, outcome));
        found.extend(windows::findings(scenario, outcome, remains.rest));
        found
    }

    /// What should be gone after the run drained.
    fn left_over(&self, remains: &Remains<'_>, found: &mut Vec<String>) {
        let places = |(taken, waiting): (u32, usize)| u64::from(taken) + waiting as u64;
        let remotes = remains.remotes.iter().map(|r| places((r.in_flight(), r.waiting())));
        let tools = remains.tools.iter().map(|t| places((t.in_flight(), t.waiting())));
        let kept = [
            ("KV blocks", remains.replicas.iter().map(|r| u64::from(r.used_blocks())).sum()),
            ("places at remotes", remotes.sum()),
            ("places at tools", tools.sum()),
            ("parts of tasks", remains.under_way as u64),
            ("places in admission", remains.admitted),
        ];
        for (what, count) in kept.into_iter().filter(|kept| kept.1 > 0) {
            found.push(format!("{count} {what} are held after the run drained"));
        }
        if self.permits != 0 {
            found.push(format!("{} permits more were given by breakers than back", self.permits));
        }
    }

    /// Each attempt comes to one end.
    fn attempts(&self, outcome: &Outcome, found: &mut Vec<String>) {
        let attempts = &self.attempts;
        if attempts.offered != attempts.refused + attempts.resolved + attempts.dropped {
            found.push(format!("attempts do not each come to one end: {attempts:?}"));
        }
        let models = outcome.models.iter();
        let (sent, ended) = models.fold((0, 0), |(sent, ended), model| {
            (sent + model.attempts, ended + model.calls + model.failures.iter().sum::<u64>())
        });
        if sent + attempts.turned_away != ended + attempts.dropped_measured {
            found.push(format!(
                "{sent} attempts and {} turned away, but {ended} answers and failures and {} dropped",
                attempts.turned_away, attempts.dropped_measured
            ));
        }
        let usages = outcome.remotes.iter().map(|remote| &remote.whole_run);
        let taken: u64 = usages.map(|u| u.begun + u.refused.iter().sum::<u64>()).sum();
        if attempts.to_remotes != taken + attempts.unqueued {
            found.push(format!(
                "{} attempts at remotes, which took or refused {taken} and lost {} in queues",
                attempts.to_remotes, attempts.unqueued
            ));
        }
    }

    /// Tokens of attempts against those that engines and meters counted.
    fn tokens(&self, outcome: &Outcome, remains: &Remains<'_>, found: &mut Vec<String>) {
        let counts = remains.replicas.iter().map(Replica::counts);
        let engines = counts.fold((0, 0, 0), |sum, counts| {
            (sum.0 + counts.admitted, sum.1 + counts.prompt_tokens, sum.2 + counts.hit_tokens)
        });
        if engines != self.computed {
            found.push(format!(
                "engines admitted (sequences, tokens, cached) {engines:?}, attempts brought {:?}",
                self.computed
            ));
        }
        let mut meters = MeterReading::default();
        outcome.remotes.iter().for_each(|remote| meters += remote.whole_run.billed);
        if meters != self.billed {
            found.push(format!("meters show {meters:?}, attempts were billed {:?}", self.billed));
        }
    }
}

/// Whether tasks that arrived are those that ended, by outcome and by ending.
fn is_conserved(task: &TaskOutcome) -> bool {
    let ends = &task.endings;
    let lost = ends.wrong + ends.harmful + ends.caught + ends.over_budget + ends.refined;
    let lost = lost + ends.refused + ends.failed.iter().sum::<u64>();
    let accounted = task.succeeded + task.failed + task.rejected + task.abandoned + task.in_flight;
    task.arrived == accounted
        && task.latency.count() == task.succeeded
        && ends.success == task.succeeded
        && ends.abandoned == task.abandoned
        && lost == task.failed + task.rejected
        && task.wasted.0 <= task.spend.0
}

/// Whether the causes of the latency of succeeded tasks sum to it, and those of calls are none of
/// them negative.
fn is_explained(task: &TaskOutcome) -> bool {
    let bands = task.drivers.bands.iter();
    let (tasks, time) = bands.fold((0, 0), |(tasks, time), band| {
        (tasks + band.tasks, time + band.parts.iter().sum::<u128>())
    });
    let answered = &task.answered;
    let in_order = answered.successes <= answered.tasks
        && answered.tasks <= answered.submissions
        && answered.submissions <= answered.calls + task.exact_hits + task.semantic_hits;
    (tasks, time) == (task.succeeded, task.latency.sum_picoseconds()) && in_order
}

/// Whether context is a part of the prompts, and what caches had of it a part of both.
fn is_part(taken: &Taken) -> bool {
    let rest = taken.input.checked_sub(taken.context);
    let hits = taken.hits.checked_sub(taken.context_hits);
    taken.context_hits <= taken.context && rest.zip(hits).is_some_and(|(rest, hits)| hits <= rest)
}

/// The same of what a meter shows.
fn is_read(used: &MeterReading) -> bool {
    let known = used.context_cached + used.context_missed;
    known <= used.context
        && used.context <= used.input
        && used.context_cached <= used.cached_input
        && used.context_missed <= used.cache_write
}

/// Time at work by place against time spent there by task, which includes waiting.
fn time_at_work(scenario: &Scenario, outcome: &Outcome) -> Option<String> {
    let sum = |taken: &Taken| taken.used + taken.wasted;
    let engines: u128 = outcome.pools.iter().map(|pool| sum(&pool.taken)).sum();
    let remotes = scenario.remotes.iter().zip(&outcome.remotes);
    let hourly = remotes.filter(|(spec, _)| matches!(spec.price, RemotePrice::Hourly { .. }));
    let provisioned: u128 = hourly.map(|(_, remote)| sum(&remote.taken)).sum();
    let there = outcome.tasks.iter().fold((0, 0), |(engines, provisioned), task| {
        (engines + task.engine_time, provisioned + task.provisioned_time)
    });
    (engines > there.0 || provisioned > there.1).then(|| {
        format!("attempts were at work for {:?} ps, there for {there:?}", (engines, provisioned))
    })
}

/// Metered cost by task, by tenant, and by what it paid for.
fn metered(scenario: &Scenario, outcome: &Outcome) -> Option<String> {
    let by_task: i128 = outcome.tasks.iter().map(|task| task.spend.0).sum();
    let by_tenant: i128 = outcome.tenants.iter().map(|tenant| tenant.spend.0).sum();
    let remotes = scenario.remotes.iter().zip(&outcome.remotes);
    let meters = remotes.map(|(spec, remote)| match &spec.price {
        RemotePrice::Metered(meter) => meter.price_of(&remote.billed).0,
        _ => 0,
    });
    let tools = outcome.tools.iter().map(|tool| tool.spend.0);
    let observed = scenario.tasks.iter().zip(&outcome.tasks);
    let observed = observed.map(|(spec, task)| spec.observability.0 * i128::from(task.observed));
    let by_cause: i128 = meters.chain(tools).chain(observed).sum();
    (by_task != by_tenant || by_task != by_cause).then(|| {
        format!("metered cost is {by_task} by task, {by_tenant} by tenant, {by_cause} by cause")
    })
}

/// Prices the fleet again, without the ledger's arithmetic.
fn money(scenario: &Scenario, ledger: &Ledger, outcome: &Outcome) -> Option<String> {
    let mut total = Money::ZERO;
    for spec in &scenario.pools {
        let gpus = i128::from(spec.replicas) * i128::from(spec.gpus_per_replica);
        let gpu_time = gpus * i128::from(outcome.measured.0);
        // Whole seconds and the rest apart: the same rational number, truncated once.
        let (seconds, rest) =
            (gpu_time / i128::from(PS_PER_SEC), gpu_time % i128::from(PS_PER_SEC));
        let price = spec.price_per_gpu_hour.0;
        let per_hour = 3_600 * i128::from(PS_PER_SEC);
        let whole = seconds * price;
        let exact = (whole / 3_600, (whole % 3_600) * i128::from(PS_PER_SEC) + rest * price);
        total += Money(exact.0 + exact.1 / per_hour);
    }
    (total != ledger.gpu_spend()).then(|| {
        format!("the ledger says {:?} pico-dollars, the fleet {:?}", ledger.gpu_spend(), total)
    })
}
