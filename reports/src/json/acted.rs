//! What of the results a digest covers: what happened, not what was allowed to.
//!
//! Left out are
//! 1. a backend that was never called, a tool that was never used, a circuit breaker that never
//!    acted, and that a backend which could sleep was awake all the time;
//! 2. what is worked out from a limit and not from what happened: the share of a backend's places
//!    that was taken, and how far retries could multiply the load;
//! 3. what policies, budgets and people did where none of them did anything, so that tasks of one
//!    plain call have the same digest under a policy that never acts as without it;
//! 4. the misses of caches of answers that never had one, and the revenue where it is nothing but
//!    the values of tasks, which the margin says already;
//! 5. the margin over other lengths of time than a month, and its intervals.
//!
//! Nothing is lost by it: what a limit or a policy does shows in counts, times and event logs.

use super::Results;
use experiments::{RemoteResult, RunResult, TaskResult, TaskWork, ToolResult};
use sim::units::Money;

impl<'a> Results<'a> {
    /// The results without what had no part in them.
    pub(crate) fn acted(result: &'a RunResult) -> Results<'a> {
        let mut results = Results::of(result);
        keep(&mut results.backends.0, result.remotes.iter().map(was_called));
        keep(&mut results.tools.0, result.tools.iter().map(was_used));
        for (_, backend) in &mut results.backends.0 {
            backend.leave_out_idle();
        }
        for (_, pool) in &mut results.pools.0 {
            pool.leave_out_idle();
        }
        for ((_, task), found) in results.tasks.0.iter_mut().zip(&result.tasks) {
            if is_plain(found) {
                task.leave_out_work();
            }
        }
        if !result.tasks.iter().filter_map(|task| task.work.as_ref()).any(was_answered) {
            results.spend.leave_out_misses();
        }
        results.margin.leave_out_rates();
        if result.margin.revenue.plans == Money::ZERO {
            results.margin.leave_out_revenue();
        }
        if let Some(amplification) = &mut results.stability.amplification {
            amplification.models.0.clear();
        }
        let guarded = result.models.iter().filter_map(|model| model.work.as_ref());
        let idle = result.tasks.iter().all(|task| task.work.is_none() || is_plain(task))
            && guarded.into_iter().all(|work| work.retries + work.hedges + work.fallbacks == 0)
            && results.backends.is_empty()
            && results.tools.is_empty()
            && results.tenants.is_empty();
        if idle {
            results.stability.amplification = None;
            results.spend.leave_out_causes();
            results.calls.0.iter_mut().for_each(|(_, calls)| calls.leave_out_guards());
        }
        results
    }
}

/// Keeps the items whose answer is yes.
fn keep<T>(items: &mut Vec<T>, mut answers: impl Iterator<Item = bool>) {
    items.retain(|_| answers.next().unwrap_or(true));
}

fn was_called(remote: &RemoteResult) -> bool {
    remote.attempts > 0 || remote.refused.iter().any(|&n| n > 0) || remote.spend != Money::ZERO
}

fn was_used(tool: &ToolResult) -> bool {
    tool.uses > 0 || tool.failed > 0 || tool.cache_hits > 0
}

/// Whether a cache of answers ever had one.
fn was_answered(work: &TaskWork) -> bool {
    work.exact_hits + work.semantic_hits > 0
}

/// Whether its tasks did what they would have done without any policy: at most one call each.
fn is_plain(task: &TaskResult) -> bool {
    let Some(work) = &task.work else { return false };
    let endings = &work.endings;
    let ended_otherwise = endings.wrong
        + endings.harmful
        + endings.caught
        + endings.over_budget
        + endings.refined
        + endings.refused
        + endings.abandoned;
    let acted = work.by_rule
        + work.escalations
        + work.exact_hits
        + work.semantic_hits
        + work.actions_blocked
        + work.rungs.iter().sum::<u64>();
    work.submissions == task.counts.arrived
        && work.calls <= work.submissions
        && ended_otherwise + acted == 0
}
