//! Plans beside the truth: every candidate run with all replications.

mod changed;
mod held_out;
mod known;

use experiments::planner::{Ending, PlanError, Planned, Question, plan};
use experiments::repair::Lever;
use experiments::trial::{Of, Resolve, Trial, Trials};
use experiments::{Case, Halt, NoProgress, Plan, Sample};
use known::{POOL, pool_levers};
use scenarios::Blueprint;
use sim::{Outcome, Scenario, Simulation};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every run of a problem is.
const REPLICATIONS: u32 = 10;

fn lever(key: &str, values: &[&str]) -> Lever {
    let changes = values.iter().map(|value| vec![format!("{key}={value}")]).collect();
    Lever { key: key.to_owned(), changes }
}

fn replicas(pool: &str, most: u32) -> Lever {
    let values: Vec<String> = (1..=most).map(|n| n.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    lever(&format!("pools.{pool}.replicas"), &values)
}

fn resolver(text: &str) -> impl Fn(&[String]) -> Result<Case, String> {
    let blueprint = Blueprint::of_text("problem.toml", text);
    move |changes| {
        let resolved = blueprint.resolve(changes).map_err(|problems| problems.to_string())?;
        Case::new(resolved)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a runner may be stopped")]
fn simulate(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
    Ok(Simulation::new(scenario, seed, replication).run())
}

fn planned(text: &str, levers: &[Lever], threads: Option<usize>) -> Planned {
    let resolve = resolver(text);
    let seed = resolve(&[]).expect("it resolves").plan().seed;
    let settings =
        Plan { seed, replications: Sample::Fixed(REPLICATIONS), threads, ..Plan::default() };
    let question = Question { base: &[], levers, halted: &|| None, with_calibration: false };
    plan(&question, &resolve, &settings, (&simulate, &NoProgress)).expect("a plan")
}

/// Every combination, run with all replications; `None` where the scenario does not take it.
fn exhaustive(text: &str, levers: &[Lever]) -> Vec<(Vec<String>, Option<Rc<Trial>>)> {
    let resolve = resolver(text);
    let seed = resolve(&[]).expect("it resolves").plan().seed;
    let settings = Plan { seed, ..Plan::default() };
    let resolve: &Resolve<'_> = &resolve;
    let mut trials = Trials::new(resolve, settings, (&simulate, &NoProgress));
    let mut all = vec![Vec::new()];
    for lever in levers {
        let more = |old: &Vec<String>| -> Vec<Vec<String>> {
            let with = |change: &Vec<String>| old.iter().chain(change).cloned().collect();
            lever.changes.iter().map(with).collect()
        };
        all = all.iter().flat_map(more).collect();
    }
    let run = |changes: Vec<String>| {
        let trial = trials.run(&changes, REPLICATIONS, seed).ok();
        (changes, trial)
    };
    all.into_iter().map(run).collect()
}

/// Whether a candidate keeps every objective under seeds that nobody chose it by.
fn bears_out(text: &str, changes: &[String]) -> bool {
    let resolve = resolver(text);
    let seed = resolve(&[]).expect("it resolves").plan().seed;
    let resolve: &Resolve<'_> = &resolve;
    let mut trials =
        Trials::new(resolve, Plan { seed, ..Plan::default() }, (&simulate, &NoProgress));
    let fresh = seed.wrapping_add(0x5eed_0000_0001);
    trials.run(changes, REPLICATIONS, fresh).expect("it runs").is_met(Of::All)
}

fn spend(trial: &Trial) -> f64 {
    trial.spend_per_month.value.expect("a spend")
}

/// Plans, and compares with the cheapest of all candidates that keep every objective. At most this share
/// of the replications may be run that everything takes.
fn compare(name: &str, text: &str, levers: &[Lever], most: f64) {
    let found = planned(text, levers, None);
    let truth = exhaustive(text, levers);
    let mut kept: Vec<(f64, &Vec<String>)> = truth
        .iter()
        .filter_map(|(changes, trial)| trial.as_ref().map(|trial| (changes, trial)))
        .filter(|(_, trial)| trial.is_met(Of::All))
        .map(|(changes, trial)| (spend(trial), changes))
        .collect();
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    let under_one = kept[0].0;
    // What fresh seeds do not bear out is no solution, however it did under one.
    let cheapest = kept.iter().find(|(_, changes)| bears_out(text, changes)).expect("a solution").0;
    let best = found.best.as_ref().expect("a plan");
    let share = found.runs as f64 / found.exhaustive_runs as f64;
    let off = spend(&best.trial) / cheapest - 1.0;
    println!(
        "{name}: {} candidates, {} keep all; plan {:?} at {:.0}, cheapest {:.0} ({:.0} under one seed), off \
         {:.2} %, {} of {} replications ({:.1} %); second {:?}; {:?}",
        truth.len(),
        kept.len(),
        best.changes,
        spend(&best.trial),
        cheapest,
        under_one,
        100.0 * off,
        found.runs,
        found.exhaustive_runs,
        100.0 * share,
        found.second.as_ref().map(|second| (&second.changes, spend(&second.trial))),
        found.counts
    );
    for point in &found.frontier {
        println!("  {:?} {:?} {:?}", point.changes, spend(&point.trial), point.p95.value);
    }
    assert!(off <= 0.02, "{name}: {off}");
    assert!(share <= most, "{name}: {share}");
    assert!(best.trial.is_met(Of::All) && best.confirmed.is_met(Of::All));
    // Both times with all replications, and as a plain run finds it.
    let (_, same) = truth.iter().find(|(changes, _)| *changes == best.changes).expect("in it");
    assert_eq!(same.as_ref().map(|trial| spend(trial)), Some(spend(&best.trial)));
    assert_eq!(best.confirmed.replications, REPLICATIONS);
    adds_up(&found);
}

fn adds_up(found: &Planned) {
    let c = found.counts;
    let fates = c.refused + c.by_rent + c.by_capacity + c.left + c.simulated;
    assert_eq!(fates, c.candidates, "{c:?}");
    let simulated =
        c.after_one + c.worse + c.missed + c.undecided + c.dearer + c.open + c.confirmed;
    assert_eq!(simulated, c.simulated, "{c:?}");
    assert!(!found.rents_failed);
    for pair in found.frontier.windows(2) {
        assert!(spend(&pair[0].trial) < spend(&pair[1].trial));
        assert!(pair[0].p95.value > pair[1].p95.value);
    }
}

#[test]
fn where_nothing_keeps_the_objectives_nothing_is_recommended() {
    let text = POOL.replace("<= 8s", "<= 1ms");
    let found = planned(&text, &pool_levers(), None);
    assert!(found.best.is_none() && found.second.is_none());
    assert_eq!(found.ending(), Ending::None);
    let closest = found.closest.as_ref().expect("something was tried");
    let (judged, slack) = closest.trial.tightest(Of::All).expect("an objective");
    assert_eq!(judged.objective.name, "chat.p95_latency");
    assert!(slack.value < 0.0);
    // A look or two at each of the nine kinds say it all.
    assert!(found.runs <= 18, "{}", found.runs);
    assert_eq!(found.counts.after_one, found.counts.simulated);
    adds_up(&found);
}

#[test]
fn the_largest_and_the_smallest_can_be_the_plan() {
    // Only the most replicas are enough, and then only the fewest are needed.
    for (rate, most, expected) in [("14/s", 2, "2"), ("1/s", 8, "1")] {
        let text = POOL.replace("14/s", rate);
        let found = planned(&text, &[replicas("rented", most)], None);
        let best = found.best.as_ref().expect("a plan");
        assert_eq!(best.changes, [format!("pools.rented.replicas={expected}")]);
        adds_up(&found);
    }
}

#[test]
fn the_answer_does_not_depend_on_the_threads() {
    let levers = [lever("pools.rented.tensor_parallel", &["1", "2"]), replicas("rented", 4)];
    let text = |threads| format!("{:?}", planned(POOL, &levers, Some(threads)));
    assert!(text(1) == text(3), "three threads change the answer");
}

#[test]
fn an_interruption_keeps_what_is_confirmed_and_recommends_nothing_else() {
    let resolve = resolver(POOL);
    let levers = [lever("pools.rented.tensor_parallel", &["1", "2"]), replicas("rented", 4)];
    let settings =
        Plan { seed: 3, replications: Sample::Fixed(10), threads: Some(1), ..Plan::default() };
    let after = |most: u32| {
        let done = AtomicU32::new(0);
        let runner = |scenario: &Scenario, seed: u64, replication: u32| {
            if done.fetch_add(1, Ordering::Relaxed) >= most {
                return Err(Halt::Interrupted);
            }
            simulate(scenario, seed, replication)
        };
        let question =
            Question { base: &[], levers: &levers, halted: &|| None, with_calibration: false };
        plan(&question, &resolve, &settings, (&runner, &NoProgress))
    };
    let whole = after(u32::MAX).expect("a plan");
    let best = whole.best.as_ref().expect("a plan").changes.clone();
    assert_eq!(whole.stopped, None);
    assert!(matches!(after(0), Err(PlanError::Failed(_))));
    let mut confirmed = 0;
    for most in [1, 3, whole.runs as u32 / 2, whole.runs as u32 - 1] {
        let part = after(most).expect("something was finished");
        assert_eq!(part.stopped, Some(Halt::Interrupted));
        if let Some(found) = &part.best {
            assert!(found.trial.is_met(Of::All) && found.confirmed.is_met(Of::All));
            assert_eq!(found.changes, best);
            confirmed += 1;
        }
        adds_up(&part);
    }
    assert!(confirmed > 0, "the last one has everything but its last replication");
}

#[test]
fn what_cannot_be_planned_is_said() {
    let resolve = resolver(POOL);
    let settings = Plan::default();
    let refused = |levers: &[Lever], resolve: &Resolve<'_>| {
        let question = Question { base: &[], levers, halted: &|| None, with_calibration: false };
        match plan(&question, resolve, &settings, (&simulate, &NoProgress)) {
            Err(PlanError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(&[], &resolve).contains("no lever"));
    let wide = [replicas("rented", 1_001), lever("pools.rented.tensor_parallel", &["1"; 1_000])];
    let text = refused(&wide, &resolve);
    assert!(text.contains("1001 × 1000"), "{text}");
    let aimless = POOL.split("[objectives]").next().expect("a text").to_owned();
    let text = refused(&[replicas("rented", 2)], &resolver(&aimless));
    assert!(text.contains("[objectives]"), "{text}");
}
