//! What gates promise, counted: false alarms, power, coverage of the change, and what common random
//! numbers are worth.
//!
//! Of three systems. An M/G/1 queue at load 0.8 with lognormal services of coefficient of variation
//! 1.5: a candidate serves every job a little slower, one per cent of which makes the p95 of the time
//! in the system about five per cent longer, and two thirds of the replications' own spread is larger
//! than that. And of two shipped scenarios, five minutes each, one of tasks on hosted models under a
//! policy, one of calls on a pool of GPUs: a candidate's answers are a little longer.

use crate::mg1::{self, Mg1};
use experiments::check::{CheckPlan, CheckResult, check};
use experiments::gate::{Gate, Level, Rule, Tolerance, Verdict};
use experiments::paired::Change;
use experiments::{
    Arms, Case, Comparison, Estimate, Halt, Metric, NoProgress, Plan, Sample, summarise,
};
use rayon::prelude::*;
use scenarios::{Blueprint, library};
use sim::dice::{Dice, mix};
use sim::outcome::TaskOutcome;
use sim::units::Span;
use sim::{Outcome, Scenario, Simulation};

/// Seconds of one run of the queue: 2,400 jobs.
const HORIZON: u64 = 3_000;
const TRIALS: u64 = 400;

/// Tasks of which each fails by a coin of its own, `failing` of them.
#[derive(Clone, Copy)]
struct Coins {
    tasks: u64,
    failing: f64,
    salt: u32,
}

impl Coins {
    fn scenario(self) -> Scenario {
        let says = [self.tasks as f64, self.failing, f64::from(self.salt)];
        Scenario { attributes: says.iter().map(ToString::to_string).collect(), ..queue(1.0, 0) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a runner may be stopped")]
    fn toss(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
        let says: Vec<f64> =
            scenario.attributes.iter().map(|text| text.parse().expect("a number")).collect();
        let [tasks, failing, salt] = says[..] else { panic!("no coins: {says:?}") };
        let mut coins = Dice::stream(mix(mix(seed, salt as u64), replication.into()));
        let mut task = TaskOutcome { arrived: tasks as u64, ..TaskOutcome::default() };
        task.failed = (0..task.arrived).filter(|_| coins.uniform() < failing).count() as u64;
        task.succeeded = task.arrived - task.failed;
        task.completed = task.succeeded;
        // What failing looks like is not what differs alone.
        task.latency.record(Span::from_secs_f64(1.0 + failing));
        Ok(Outcome { measured: scenario.horizon, tasks: vec![task], ..Outcome::default() })
    }

    /// Checks of the success rate by this rule, of so many pairs at most, over the seeds.
    fn checked(arms: [Coins; 2], rule: Rule, most_pairs: u32) -> Vec<CheckResult> {
        let [baseline, candidate] = arms.map(Coins::scenario);
        let gate = Gate {
            name: "job.success_rate".to_owned(),
            text: String::new(),
            metric: Metric::parse("job.success_rate", &baseline).expect("a known number"),
            rule,
            level: Level::Fail,
        };
        let one = |seed: u64| {
            let plan = Plan { seed, ..Plan::default() };
            let how = CheckPlan { plan, pairs: 10, most_pairs, confidence: 0.95, power: 0.9 };
            let gates = std::slice::from_ref(&gate);
            check((&baseline, &candidate), (gates, &[]), &how, &Coins::toss, &NoProgress)
                .expect("it ends")
        };
        (0..TRIALS).into_par_iter().map(one).collect()
    }
}

fn counted(found: &[CheckResult], verdict: Verdict) -> usize {
    found.iter().filter(|found| found.verdict == verdict).count()
}

/// That the share of successes falls by no more than this.
fn falls_by(absolute: f64) -> Rule {
    let tolerance =
        Tolerance { comparison: Comparison::AtLeast, relative: None, absolute: Some(-absolute) };
    Rule::Change(tolerance)
}

/// What is measured, and how it is run.
struct System {
    /// The number that is judged.
    path: &'static str,
    arm: fn(f64, u32) -> Scenario,
    run: fn(&Scenario, u64, u32) -> Result<Outcome, Halt>,
}

const QUEUE: System = System { path: "job.p95_latency", arm: queue, run: mg1::run };
const HOSTED: System =
    System { path: "support_reply.p95_latency", arm: support_reply, run: simulate };
const POOL: System = System { path: "reply.p95_latency", arm: self_hosted, run: simulate };

/// Services `factor` times as long; `salt` says which random numbers.
fn queue(factor: f64, salt: u32) -> Scenario {
    Mg1 { cv: 1.5, servers: 1 }.arm(HORIZON, factor, salt)
}

fn support_reply(factor: f64, salt: u32) -> Scenario {
    let draft = "tasks.support_reply.steps.2.model_call.output";
    shipped("support-reply", draft, (70.0 * factor, 140.0 * factor), salt)
}

fn self_hosted(factor: f64, salt: u32) -> Scenario {
    let answer = "tasks.reply.steps.0.model_call.output";
    shipped("self-hosted", answer, (220.0 * factor, 600.0 * factor), salt)
}

/// A shipped scenario whose answers have these quantiles.
fn shipped(name: &str, output: &str, (p50, p95): (f64, f64), salt: u32) -> Scenario {
    let found = library::find(name).expect("it is shipped");
    let set = [
        "scenario.horizon=5m".to_owned(),
        format!("{output}.p50={p50}"),
        format!("{output}.p95={p95}"),
    ];
    let blueprint = Blueprint::shipped(found, None).expect("it can be read");
    let resolved = blueprint.resolve(&set).unwrap_or_else(|problems| panic!("{problems}"));
    let mut scenario = Case::new(resolved).expect("it is sound").resolved.scenario;
    for source in &mut scenario.sources {
        source.key = source.key.wrapping_add(salt.into());
    }
    scenario
}

#[expect(clippy::unnecessary_wraps, reason = "a runner may be stopped")]
fn simulate(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
    Ok(Simulation::new(scenario, seed, replication).run())
}

impl System {
    fn gate(&self, relative: f64) -> Gate {
        let tolerance =
            Tolerance { comparison: Comparison::AtMost, relative: Some(relative), absolute: None };
        Gate {
            name: self.path.to_owned(),
            text: format!("<= +{}%", relative * 100.0),
            metric: Metric::parse(self.path, &(self.arm)(1.0, 0)).expect("a known number"),
            rule: Rule::Change(tolerance),
            level: Level::Fail,
        }
    }

    fn checked(&self, arms: &[Scenario; 2], seed: u64, gates: &[Gate]) -> CheckResult {
        let how = CheckPlan {
            plan: Plan { seed, ..Plan::default() },
            pairs: 10,
            most_pairs: 40,
            confidence: 0.95,
            power: 0.9,
        };
        let arms = (&arms[0], &arms[1]);
        check(arms, (gates, &[]), &how, &self.run, &NoProgress).expect("it ends")
    }

    /// The baseline beside a candidate.
    fn beside(&self, candidate: Scenario) -> [Scenario; 2] {
        [(self.arm)(1.0, 0), candidate]
    }

    /// How many of the trials fail.
    fn alarms(&self, candidate: &Scenario, gates: &[Gate]) -> u64 {
        let arms = self.beside(candidate.clone());
        let fails = |seed: u64| self.checked(&arms, seed, gates).verdict == Verdict::Fail;
        (0..TRIALS).into_par_iter().filter(|&seed| fails(seed)).count() as u64
    }

    /// The p95 of both arms, a hundredth longer answers or services in the second.
    fn change(&self, arms: &[Scenario; 2], seed: u64, replications: u32) -> Change {
        let plan = Plan { seed, replications: Sample::Fixed(replications), ..Plan::default() };
        let mut side = Arms::new(&[&arms[0], &arms[1]], &plan, &self.run, &NoProgress)
            .expect("no threads of its own");
        side.measure(plan.replications).expect("it ends");
        let found = side.finish().expect("it ends");
        let of =
            |at: usize| summarise(&arms[at], seed, &found[at], &[]).tasks[0].latency.p95.clone();
        Change::between(&of(0), &of(1))
    }

    /// How many of the trials' intervals hold the truth, of the change in per cent and of the
    /// difference, and by what factor common random numbers make its variance smaller (the median).
    /// The truth is the change over so many replications.
    fn covered(&self, arms: &[Scenario; 2], most: u32) -> (usize, usize, f64) {
        let truth = self.change(arms, 99_999, most);
        let trial = |seed: u64| self.change(arms, seed, 10);
        let changes: Vec<Change> = (0..TRIALS).into_par_iter().map(trial).collect();
        let count = |of: fn(&Change) -> &Estimate| {
            let truth = of(&truth).value;
            let holds = |change: &&Change| of(change).low <= truth && of(change).high >= truth;
            changes.iter().filter(holds).count()
        };
        let ratios = changes.iter().filter_map(|change| change.variance_ratio);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let found = (count(|c| &c.relative), count(|c| &c.difference), ratios[ratios.len() / 2]);
        println!("{}: relative, difference of {TRIALS}, variance ratio {found:?}", self.path);
        found
    }

    /// The effect that a check states, on average over trials, is found in nine of ten: the same number
    /// rises by about as much for each further per cent.
    fn finds_what_it_states(&self) {
        let tolerance = 0.02;
        let pilot = |seed: u64| {
            let arms = self.beside((self.arm)(1.01, 0));
            let test = self.checked(&arms, seed, &[self.gate(tolerance)]).gates[0].test;
            test.expect("it is tested")
        };
        let pilots: Vec<_> = (1_000..1_100_u64).into_par_iter().map(pilot).collect();
        let mean = |of: fn(&experiments::gate::Test) -> f64| {
            pilots.iter().map(of).sum::<f64>() / pilots.len() as f64
        };
        let (stated, of_one_per_cent) =
            (mean(|test| test.detectable.expect("it varies")), mean(|test| test.change));
        let factor = 1.0 + 0.01 * stated / of_one_per_cent;
        let found = self.alarms(&(self.arm)(factor, 0), &[self.gate(tolerance)]);
        println!(
            "{}: stated {:.2} %, by {:.2} % more: found {found} of {TRIALS}",
            self.path,
            stated * 100.0,
            (factor - 1.0) * 100.0
        );
        assert!(stated < 0.06, "an effect that anybody would see: {stated}");
        assert!(found >= TRIALS * 9 / 10, "{found} of {TRIALS}");
    }
}

#[test]
fn the_same_candidate_passes_with_no_change_at_all() {
    for system in [QUEUE, HOSTED, POOL] {
        for seed in 0..5 {
            let arms = system.beside((system.arm)(1.0, 0));
            let found = system.checked(&arms, seed, &[system.gate(0.0)]);
            let test = found.gates[0].test.expect("it is tested");
            assert_eq!(found.verdict, Verdict::Pass);
            assert_eq!((test.change, test.low, test.high), (0.0, 0.0, 0.0));
            assert!(found.repeats && found.pairs == 10);
        }
    }
}

/// A candidate of the same law under other random numbers, a gate that tolerates nothing: the hardest
/// case. Four gates at once fail no more often than one. Five per cent of 400 are 20.
#[test]
fn at_most_one_check_in_twenty_fails_without_a_change() {
    let one = QUEUE.alarms(&queue(1.0, 1), &[QUEUE.gate(0.0)]);
    assert!(one <= 20, "{one} of {TRIALS}");
    for system in [QUEUE, HOSTED, POOL] {
        let other = (system.arm)(1.0, 1);
        let four = ["p50", "p90", "p95", "p99"].map(|quantile| {
            let path = system.path.replace("p95", quantile);
            let metric = Metric::parse(&path, &other).expect("a known number");
            Gate { metric, name: path, ..system.gate(0.0) }
        });
        let four = system.alarms(&other, &four);
        let path = system.path;
        println!("{path}: false alarms in {TRIALS}: {four} with four gates, {one} of one queue");
        assert!(four <= 20, "{path}: {four} of {TRIALS}");
    }
}

#[test]
fn a_change_as_large_as_stated_is_found_in_nine_of_ten() {
    QUEUE.finds_what_it_states();
}

#[test]
fn a_change_of_hosted_tasks_as_large_as_stated_is_found_in_nine_of_ten() {
    HOSTED.finds_what_it_states();
}

#[test]
fn a_change_of_a_pool_as_large_as_stated_is_found_in_nine_of_ten() {
    POOL.finds_what_it_states();
}

/// 92 to 98 % of 400 are 368 to 392. The truth is known twenty times better than a trial knows it.
#[test]
fn the_interval_of_a_change_covers_the_truth_as_often_as_it_says() {
    let arms = [1.0, 1.01].map(|factor| Mg1 { cv: 1.5, servers: 1 }.arm(10_000, factor, 0));
    let (relative, difference, ratio) = QUEUE.covered(&arms, 4_000);
    assert!((368..=392).contains(&relative), "{relative} of {TRIALS}");
    assert!((368..=392).contains(&difference), "{difference} of {TRIALS}");
    assert!(ratio >= 10.0, "common random numbers cut the variance by {ratio} only");
}

/// The truth is known six times better than a trial knows it. Arms as alike as these, a hundredth more
/// tokens in one of several calls, differ by less than their tasks lie apart around the p95: of plain
/// quantiles the jackknife takes that for spread, and 399 of 400 intervals hold the truth.
#[test]
fn the_interval_of_a_change_of_a_shipped_scenario_covers_the_truth() {
    for system in [HOSTED, POOL] {
        let arms = [1.0, 1.01].map(|factor| (system.arm)(factor, 0));
        let (relative, difference, ratio) = system.covered(&arms, 400);
        assert!((368..=392).contains(&relative), "{relative} of {TRIALS}");
        assert!((368..=392).contains(&difference), "{difference} of {TRIALS}");
        assert!(ratio >= 10.0, "common random numbers cut the variance by {ratio} only");
    }
}

/// In runs of 37 relaxation times a single busy hour decides over the p95, and differences, which
/// grow with it, are skewed: their intervals cover less than they say. Changes in per cent, which
/// gates judge, do not have this weakness.
#[test]
fn short_runs_cost_coverage_of_differences_only() {
    let arms = [1.0, 1.01].map(|factor| queue(factor, 0));
    let (relative, difference, _) = QUEUE.covered(&arms, 4_000);
    assert!((368..=392).contains(&relative), "{relative} of {TRIALS}");
    assert!((340..=392).contains(&difference), "{difference} of {TRIALS}");
}

/// One task in a hundred fails, ten times what is tolerated, among 150 to 600 that are looked at: many
/// a sample has no failure, and none of them may pass for that.
#[test]
fn no_failure_among_few_tasks_is_no_proof() {
    let arms = [0.0, 0.01].map(|failing| Coins { tasks: 15, failing, salt: 0 });
    let found = Coins::checked(arms, falls_by(0.001), 40);
    let (passed, failed) = (counted(&found, Verdict::Pass), counted(&found, Verdict::Fail));
    println!("a hundredth of 15 tasks: {passed} of {TRIALS} pass, {failed} fail");
    assert_eq!(passed, 0);
    // Where nothing was seen, what would be found is not next to nothing.
    let at_first = Coins::checked(arms, falls_by(0.001), 10);
    let unseen =
        at_first.iter().filter(|found| found.gates[0].change.difference.value == Some(0.0));
    let stated: Vec<f64> =
        unseen.filter_map(|found| found.gates[0].test?.detectable.map(|found| -found)).collect();
    assert!(stated.len() > 20, "{} without a failure", stated.len());
    assert!(stated.iter().all(|&stated| stated > 0.03), "{stated:?}");
    // And it would be: as large a share as was stated.
    let as_stated = Coins { failing: stated[0], ..arms[1] };
    let found = Coins::checked([arms[0], as_stated], falls_by(0.001), 10);
    let failed = counted(&found, Verdict::Fail);
    println!("stated {:.2} %: found {failed} of {TRIALS}", stated[0] * 100.0);
    assert!(failed >= 360, "{failed} of {TRIALS}");
}

/// With as many tasks as the tolerance takes, a candidate that never fails passes, and one that is the
/// baseline itself does with any number.
#[test]
fn no_failure_among_many_tasks_is_proof_enough() {
    let spotless = Coins { tasks: 600, failing: 0.0, salt: 0 };
    // Not the same arm, though none of its tasks fails: a coin never comes up below this.
    let other = Coins { failing: -0.5, ..spotless };
    let found = Coins::checked([spotless, other], falls_by(0.001), 10);
    assert_eq!(counted(&found, Verdict::Pass), found.len());
    assert!(found.iter().all(|found| found.gates[0].test.is_some_and(|test| test.low < -0.000_4)));
    let few = Coins { tasks: 15, ..spotless };
    let found = Coins::checked([few, few], falls_by(0.0), 10);
    let exact = |found: &CheckResult| found.gates[0].test.map(|test| (test.low, test.detectable));
    assert!(found.iter().all(|found| exact(found) == Some((0.0, Some(0.0)))));
    assert_eq!(counted(&found, Verdict::Pass), found.len());
}

/// A success rate that lies just where the limit is, with five looks: neither a failure nor a pass in
/// more than five of a hundred checks.
#[test]
fn a_success_rate_at_its_limit_seldom_fails_and_seldom_passes() {
    let coins = Coins { tasks: 300, failing: 0.03, salt: 0 };
    let found = Coins::checked([coins, coins], Rule::Limit(Comparison::AtLeast, 0.97), 160);
    let (passed, failed) = (counted(&found, Verdict::Pass), counted(&found, Verdict::Fail));
    println!("success rate at its limit: of {TRIALS} {failed} fail and {passed} pass");
    assert!(passed <= 20 && failed <= 20, "{passed} pass, {failed} fail");
    // Away from it they do.
    let (poor, good) =
        (Rule::Limit(Comparison::AtLeast, 0.98), Rule::Limit(Comparison::AtLeast, 0.96));
    let found = Coins::checked([coins, coins], poor, 40);
    assert!(counted(&found, Verdict::Fail) >= 360);
    let found = Coins::checked([coins, coins], good, 40);
    assert!(counted(&found, Verdict::Pass) >= 360);
}

/// The same of a p95, in runs that are long enough for its interval (see below).
#[test]
fn a_p95_at_its_limit_seldom_fails_and_seldom_passes() {
    let queue = Mg1 { cv: 1.5, servers: 1 }.arm(10_000, 1.0, 0);
    let arms = [queue.clone(), queue];
    let truth = QUEUE.change(&arms, 99_999, 4_000).before.value.expect("a p95");
    let limit = Gate { rule: Rule::Limit(Comparison::AtMost, truth), ..QUEUE.gate(0.0) };
    let one = |seed: u64| QUEUE.checked(&arms, seed, std::slice::from_ref(&limit));
    let found: Vec<CheckResult> = (0..TRIALS).into_par_iter().map(one).collect();
    let (passed, failed) = (counted(&found, Verdict::Pass), counted(&found, Verdict::Fail));
    println!("p95 at its limit of {truth}: of {TRIALS} {failed} fail and {passed} pass");
    assert!(passed <= 20 && failed <= 20, "{passed} pass, {failed} fail");
}
