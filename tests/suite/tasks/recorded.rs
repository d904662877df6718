//! What recorders are told of attempts, and what the ledger says, against the totals of a run.

use experiments::RunResult;
use experiments::ledger::{Book, Line, lines};
use sim::Scenario;
use sim::backends::RemotePrice;
use sim::ids::Backend;
use sim::outcome::Outcome;
use sim::record::{AttemptEnding, KeepAll};
use sim::units::{Money, Time};
use std::collections::BTreeMap;

/// Attempts, one by one, are those that were counted, and cost what was paid.
pub(super) fn check_attempts(scenario: &Scenario, outcome: &Outcome, kept: &KeepAll) {
    for (number, model) in outcome.models.iter().enumerate() {
        let own = || kept.attempts.iter().filter(|a| a.model.index() == number && a.measured);
        assert_eq!(own().count() as u64, model.attempts, "attempts at model {number}");
    }
    for (number, (spec, remote)) in scenario.remotes.iter().zip(&outcome.remotes).enumerate() {
        let RemotePrice::Metered(meter) = &spec.price else { continue };
        let here = |backend| matches!(backend, Backend::Remote(r) if r.index() == number);
        let own = || kept.attempts.iter().filter(|a| here(a.backend) && a.billed);
        let sum = |wanted: &dyn Fn(bool) -> bool| -> i128 {
            own().filter(|a| wanted(a.used)).map(|a| a.cost.0).sum()
        };
        assert_eq!(sum(&|_| true), meter.price_of(&remote.billed).0);
        assert_eq!(sum(&|used| !used), meter.price_of(&remote.wasted).0);
    }
    let mut spend: BTreeMap<_, i128> = BTreeMap::new();
    for attempt in &kept.attempts {
        assert!(attempt.sent <= attempt.ended, "{attempt:?}");
        if attempt.first_token != Time::NEVER {
            assert!(attempt.sent <= attempt.scheduled && attempt.scheduled <= attempt.first_token);
            assert!(attempt.first_token <= attempt.ended && attempt.output > 0, "{attempt:?}");
        }
        assert!(attempt.hit_tokens <= attempt.input, "{attempt:?}");
        let answered = attempt.ending == AttemptEnding::Answered;
        assert!(answered || !attempt.used, "{attempt:?}");
        if !attempt.late {
            *spend.entry((attempt.source, attempt.number)).or_default() += attempt.cost.0;
        }
    }
    for task in &kept.tasks {
        // The rest are tools and observation.
        let of_attempts = spend.remove(&(task.source, task.number)).unwrap_or_default();
        assert!(of_attempts <= task.spend.0, "{task:?}: {of_attempts}");
        assert!(task.billed <= task.spend && task.wasted <= task.spend, "{task:?}");
        if scenario.tools.is_empty() {
            let observation = scenario.tasks[task.task.index()].observability;
            assert_eq!(of_attempts + observation.0, task.spend.0, "{task:?}");
        }
    }
    assert!(spend.is_empty(), "attempts of no task that are not late: {spend:?}");
}

/// Every book adds up to what the result says.
pub(super) fn check_ledger(scenario: &Scenario, outcome: &Outcome, result: &RunResult) {
    let lines = lines(outcome, scenario);
    let sum = |wanted: &dyn Fn(&Line) -> bool| -> Money {
        Money(lines.iter().filter(|line| wanted(line)).map(|line| line.amount.0).sum())
    };
    let spent = |line: &Line| line.book == Book::Spend;
    for (cause, amount) in result.spend.by.parts() {
        assert_eq!(sum(&|line| spent(line) && line.cause == cause), amount, "{cause}");
    }
    let rented = |line: &Line| matches!(line.cause, "gpu" | "provisioned");
    let unused = |line: &Line| line.used == Some(false) && !rented(line);
    for part in result.cost_drivers.iter().flat_map(|drivers| &drivers.items) {
        let of_item = |line: &Line| match part.key {
            "wasted_attempts" => unused(line) && line.cause == "tokens",
            "wasted_uses" => unused(line) && line.cause != "tokens",
            item => line.item == item && !unused(line),
        };
        assert_eq!(sum(&|line| spent(line) && of_item(line)), part.amount, "{}", part.key);
    }
    let metered = sum(&|line| spent(line) && !rented(line));
    assert_eq!(sum(&|line| line.book == Book::MeteredByTask), metered);
    assert_eq!(sum(&|line| line.book == Book::MeteredByTenant), metered);
    assert_eq!(sum(&|line| line.book == Book::Harm), result.margin.harm);
    if let Some(total) = result.margin.total {
        let left = sum(&|line| line.book == Book::Revenue) - result.margin.harm - sum(&spent);
        assert_eq!(left, total, "margin");
    }
    let counted = lines.iter().filter_map(|line| line.quantity);
    assert!(counted.clone().all(|quantity| quantity.is_finite() && quantity >= 0.0));
}
