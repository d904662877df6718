//! How many replications are run, what survives an interruption, and what comes out.

use crate::support::{Queue, dollars, scenario};
use experiments::{
    Comparison, ExitStatus, Halt, Metric, NoProgress, Objective, Plan, ReplicateError, RunResult,
    Sample, StopReason, Verdict, WarmUp, Warning, replicate, run,
};
use sim::units::Span;
use sim::{Outcome, Scenario};
use std::sync::atomic::{AtomicU32, Ordering};

fn plan(replications: Sample) -> Plan {
    Plan { seed: 42, replications, threads: Some(2), ..Plan::default() }
}

fn result(queue: Queue, scenario: &Scenario, plan: &Plan, objectives: &[Objective]) -> RunResult {
    let runner = |s: &Scenario, seed, r| Ok(queue.run(s, seed, r));
    run(scenario, plan, objectives, &runner, &NoProgress).expect("it finishes")
}

fn objective(path: &str, comparison: Comparison, target: f64, scenario: &Scenario) -> Objective {
    Objective {
        name: path.into(),
        metric: Metric::parse(path, scenario).expect("a known metric"),
        comparison,
        target,
        text: format!("{} {target}", comparison.symbol()),
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let (scenario, queue) = (scenario(2_000, 0), Queue::poisson(|_| 0.5));
    let with = |threads| {
        let plan = Plan { threads, steady_state: true, ..plan(Sample::Auto) };
        result(queue, &scenario, &plan, &[])
    };
    let one = with(Some(1));
    assert_eq!(one, with(Some(3)));
    assert_eq!(one, with(None));
}

#[test]
fn replications_are_added_until_the_p95_is_precise() {
    let (scenario, queue) = (scenario(2_000, 0), Queue::poisson(|_| 0.5));
    let found = result(queue, &scenario, &plan(Sample::Auto), &[]);
    assert_eq!(found.stopped, StopReason::PrecisionReached);
    assert!(found.replications > 10 && found.replications < 200, "{}", found.replications);
    assert!(found.tasks[0].latency.p95.relative_half_width().expect("an interval") <= 0.05);
    assert_eq!(found.warnings, []);
}

#[test]
fn a_precision_that_is_not_reached_is_said() {
    let (scenario, queue) = (scenario(200, 0), Queue::poisson(|_| 0.9));
    let found = result(queue, &scenario, &plan(Sample::Auto), &[]);
    assert_eq!(found.replications, 200);
    let [Warning::PrecisionNotReached { replications: 200, widest }] = &found.warnings[..] else {
        panic!("{:?}", found.warnings)
    };
    assert!(widest.starts_with("job.p95_latency is ±"), "{widest}");
}

#[test]
fn an_interruption_keeps_the_finished_prefix() {
    let (scenario, queue) = (scenario(500, 0), Queue::poisson(|_| 0.5));
    let runner = |s: &Scenario, seed, r: u32| {
        if r == 6 { Err(Halt::Interrupted) } else { Ok(queue.run(s, seed, r)) }
    };
    let plan = plan(Sample::Fixed(12));
    let found = run(&scenario, &plan, &[], &runner, &NoProgress).expect("six are finished");
    assert_eq!((found.replications, &found.stopped), (6, &StopReason::Halted(Halt::Interrupted)));
    assert!(found.warnings.contains(&Warning::Interrupted { finished: 6 }));
    let whole = result(queue, &scenario, &Plan { replications: Sample::Fixed(6), ..plan }, &[]);
    assert_eq!((found.tasks, found.spend), (whole.tasks, whole.spend));

    let nothing = |_: &Scenario, _: u64, _: u32| Err::<Outcome, _>(Halt::Interrupted);
    for steady_state in [false, true] {
        let plan = Plan { steady_state, ..plan };
        let stopped = replicate(&scenario, &plan, &nothing, &NoProgress);
        assert!(matches!(stopped, Err(ReplicateError::NothingFinished(_))));
    }
}

/// Two hundred jobs wait at the start; at load 0.5 they are gone after about 400 s.
#[test]
fn the_start_up_is_removed_when_the_steady_state_is_asked_for() {
    let queue = Queue { backlog: 200, ..Queue::poisson(|_| 0.5) };
    let scenario = scenario(4_000, 0);
    let plan = Plan { steady_state: true, ..plan(Sample::Fixed(20)) };
    let found = result(queue, &scenario, &plan, &[]);
    assert!(
        (300..=1_000).contains(&(found.warm_up.0 / Span::from_secs(1).0)),
        "{:?}",
        found.warm_up
    );
    assert_eq!(found.measured, found.horizon - found.warm_up);
    let p95 = &found.tasks[0].latency.p95;
    let truth = 20.0_f64.ln() / 0.5;
    assert!(p95.low <= Some(truth) && Some(truth) <= p95.high, "{p95:?} beside {truth}");

    let short = scenario_with_few_windows();
    let runner = |s: &Scenario, seed, r| Ok(queue.run(s, seed, r));
    let found = replicate(&short, &plan, &runner, &NoProgress).expect("it finishes");
    assert_eq!(found.warm_up, WarmUp::TooFewWindows);
}

/// Work for 300 s waits at the start; at load 0.5 it is gone after 600 of the 1000 s.
#[test]
fn a_steady_state_that_is_never_reached_has_no_times() {
    let queue = Queue { backlog: 300, ..Queue::poisson(|_| 0.5) };
    let scenario = scenario(1_000, 0);
    let objectives = [objective("job.p95_latency", Comparison::AtMost, 1e9, &scenario)];
    let whole = plan(Sample::Fixed(20));
    let found = result(queue, &scenario, &Plan { steady_state: true, ..whole }, &objectives);
    let p95 = &found.tasks[0].latency.p95;
    assert_eq!(p95.value, None);
    assert_eq!(p95.reason.as_deref(), Some("the start-up outlasts half of the run"));
    assert!(found.warnings.contains(&Warning::RunTooShort), "{:?}", found.warnings);
    assert_eq!(found.objectives[0].met, None);
    // The same run taken as it is has them: then the start is part of the question.
    let taken = result(queue, &scenario, &whole, &[]);
    assert!(taken.tasks[0].latency.p95.value.is_some());
}

fn scenario_with_few_windows() -> Scenario {
    Scenario { window: Span::from_secs(100), ..scenario(4_000, 0) }
}

#[test]
fn an_unstable_system_has_no_latency_and_misses_its_objectives() {
    let (scenario, queue) = (scenario(3_000, 0), Queue::poisson(|_| 1.2));
    let objectives = [
        objective("job.p95_latency", Comparison::AtMost, 1e9, &scenario),
        objective("spend.per_day", Comparison::AtMost, 72.0, &scenario),
    ];
    let found = result(queue, &scenario, &plan(Sample::Auto), &objectives);
    assert_eq!(found.stability.verdict, Some(Verdict::Unstable));
    assert_eq!((found.replications, &found.stopped), (10, &StopReason::Unstable));
    assert_eq!(found.tasks[0].latency.p95.value, None);
    let reason = found.tasks[0].latency.p95.reason.as_deref();
    assert_eq!(reason, Some("unstable: depends on the horizon"));
    assert_eq!(found.warnings, [Warning::Unstable]);
    let met: Vec<_> = found.objectives.iter().map(|o| o.met).collect();
    assert_eq!(met, [Some(false), Some(true)]);
    assert_eq!(ExitStatus::of(&found.objectives).code(), 1);
}

/// One GPU at $3 an hour for half an hour per replication, and a cent earned per job.
#[test]
fn money_is_exact_and_a_month_has_30_4375_days() {
    let (scenario, queue) = (scenario(1_800, 0), Queue::poisson(|_| 0.5));
    let found = result(queue, &scenario, &plan(Sample::Fixed(10)), &[]);
    assert_eq!(found.spend.total.0, dollars(3).0 / 2);
    assert_eq!(found.spend.total, found.spend.by.gpu);
    assert_eq!(found.spend.per_day, dollars(72));
    assert_eq!(found.spend.per_month.0, dollars(72).0 * 304_375 / 10_000);
    let per_day = &found.spend.per_day_usd;
    assert!(per_day.low == Some(72.0) && per_day.high == Some(72.0));
    // Only what ended by the horizon was paid for.
    let completed = |r| queue.run(&scenario, 42, r).tasks[0].completed;
    let jobs = (0..10).map(completed).sum::<u64>() as f64;
    assert!(jobs < found.tasks[0].counts.succeeded as f64);
    let cost = found.spend.per_successful_task_usd.value.expect("jobs");
    assert!((cost - 15.0 / jobs).abs() < 1e-12);
    let margin = found.margin.per_task_usd.value.expect("a value");
    assert!((margin - (0.01 - cost)).abs() < 1e-12);
    let month = found.margin.per_month.expect("a value").as_dollars_f64();
    assert!((month / (margin * jobs / 10.0 * 48.0 * 30.4375) - 1.0).abs() < 1e-9);
    let run = found.margin.total.expect("a value").as_dollars_f64();
    let day = found.margin.per_day.expect("a value").as_dollars_f64();
    assert!((run * 48.0 / day - 1.0).abs() < 1e-9 && (day * 30.4375 / month - 1.0).abs() < 1e-9);
    // What is rented does not vary, so the interval is that of the value of the jobs.
    let (per_day, per_month) = (&found.margin.per_day_usd, &found.margin.per_month_usd);
    let mean = jobs / 10.0;
    let squares = (0..10).map(|r| (completed(r) as f64 - mean).powi(2)).sum::<f64>();
    let half = 2.262_157 * (squares / 90.0).sqrt() * 0.01 * 48.0;
    for (estimate, exact, scale) in [(per_day, day, 1.0), (per_month, month, 30.4375)] {
        assert!((estimate.value.expect("a value") / exact - 1.0).abs() < 1e-9);
        let found = estimate.high.expect("ten runs") - estimate.low.expect("ten runs");
        assert!((found / (2.0 * half * scale) - 1.0).abs() < 1e-6, "{found} {half}");
    }
}

#[test]
fn a_task_without_value_has_no_margin() {
    let (mut scenario, queue) = (scenario(600, 0), Queue::poisson(|_| 0.5));
    scenario.tasks[0].value = None;
    scenario.tasks[0].latency_slo = None;
    let found = result(queue, &scenario, &plan(Sample::Fixed(2)), &[]);
    assert_eq!((found.margin.total, found.margin.per_month), (None, None));
    let reason = found.margin.per_task_usd.reason.as_deref();
    assert_eq!(found.margin.per_month_usd.reason.as_deref(), reason);
    assert_eq!(reason, Some("the task job has no value"));
    assert_eq!(found.tasks[0].slo_attainment.value, None);
}

#[test]
fn a_single_replication_decides_nothing() {
    let (scenario, queue) = (scenario(2_000, 0), Queue::poisson(|_| 0.5));
    let objectives = [objective("job.p95_latency", Comparison::AtMost, 1e9, &scenario)];
    let found = result(queue, &scenario, &plan(Sample::Fixed(1)), &objectives);
    assert!(found.tasks[0].latency.p95.value.is_some());
    assert_eq!(found.objectives[0].met, None);
    assert_eq!(ExitStatus::of(&found.objectives).code(), 3);
    assert_eq!(found.warnings, [Warning::SingleReplication]);
}

#[test]
fn nothing_to_measure_is_said_and_not_invented() {
    let (scenario, queue) = (scenario(600, 0), Queue { most: 1.0, ..Queue::poisson(|_| 0.0) });
    let found = result(queue, &scenario, &plan(Sample::Auto), &[]);
    let task = &found.tasks[0];
    for estimate in [&task.latency.p95, &task.success_rate, &found.spend.per_successful_task_usd] {
        assert!(estimate.value.is_none() && estimate.reason.is_some(), "{estimate:?}");
    }
    assert!(found.warnings.contains(&Warning::NothingFinished { task: "job".into() }));
}

#[test]
fn an_unknown_metric_is_refused_with_the_known_ones() {
    let scenario = scenario(600, 0);
    let error = Metric::parse("job.p96_latency", &scenario).expect_err("there is no p96");
    assert!(error.to_string().contains("job.p95_latency"), "{error}");
    for (path, metric) in Metric::all(&scenario) {
        assert_eq!(Metric::parse(&path, &scenario), Ok(metric));
    }
}

#[test]
fn every_batch_is_announced_and_every_replication_counted() {
    #[derive(Default)]
    struct Count(AtomicU32, AtomicU32);
    impl experiments::Progress for Count {
        fn batch(&self, _: experiments::Phase, replications: u32, _: u32) {
            self.0.fetch_add(replications, Ordering::Relaxed);
        }
        fn finished(&self, _: experiments::Phase) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (count, queue) = (Count::default(), Queue::poisson(|_| 0.5));
    let runner = |s: &Scenario, seed, r| Ok(queue.run(s, seed, r));
    let plan = Plan { steady_state: true, ..plan(Sample::Fixed(12)) };
    replicate(&scenario(600, 0), &plan, &runner, &count).expect("it finishes");
    assert_eq!((count.0.into_inner(), count.1.into_inner()), (22, 22));
}
