//! One question answered: a first look with few replications, then all of them.
//!
//! Invariants: the last answer has the numbers of `surgeline run`, or with a pinned scenario of
//! `surgeline compare`, with the same overrides, seed and replications; what stops a run early is said in the answer; numbers are written by
//! `reports::format`, so that the page says what the command line says.
//!
//! Deliberately absent: what the error of calibrated times may do, which takes several runs more (it is
//! in the report, see `report`).

use super::desk::Desk;
use super::question::{Question, Refusal, SCHEMA, Variant};
use super::server::Settings;
use crate::commands::run_report as report;
use crate::error::Error;
use crate::limits::Watch;
use experiments::arms::Arms;
use experiments::compare::{self, Compared};
use experiments::contrast::Contrast;
use experiments::paired::Change;
use experiments::{
    Case, Estimate, ExitStatus, Halt, Phase, Plan, Progress, ReplicateError, RunResult, Sample,
    StopReason, summarise,
};
use reports::format::{Unit, parts};
use reports::sections::{Judgement, Sections};
use serde_json::{Value, json};
use sim::Scenario;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::mpsc::Sender;

/// After how many replications an answer is shown that is not the last.
const LOOKS: [u32; 2] = [2, 4];
/// Lines that are kept free for answers: whoever reads slowly misses progress, and nothing else.
const FOR_ANSWERS: usize = 16;

/// Where the lines of an answer go.
pub(super) struct Out(pub(super) Sender<String>);

impl Out {
    fn line(&self, mut value: Value) {
        value["schema"] = json!(SCHEMA);
        // Whoever has gone, or reads nothing, misses it.
        let _ = self.0.try_send(format!("{value}\n"));
    }

    /// So many questions are before it.
    pub(super) fn waiting(&self, ahead: usize) {
        self.line(json!({ "event": "waiting", "ahead": ahead }));
    }

    /// A later question of the session takes its place.
    pub(super) fn superseded(&self) {
        self.line(json!({ "event": "superseded" }));
    }

    /// We failed.
    pub(super) fn fault(&self) {
        let error = Error::Bug("an answer ended in a panic".to_owned());
        self.line(Refusal::from(error).event());
    }
}

/// Progress as lines.
struct Steps<'a> {
    out: &'a Out,
    done: AtomicU32,
    of: AtomicU32,
    least: u32,
}

impl Steps<'_> {
    fn tell(&self, phase: Phase) {
        if self.out.0.capacity() <= FOR_ANSWERS {
            return;
        }
        let what = if phase == Phase::Pilot { "warm-up" } else { "simulating" };
        let (done, of) = (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        let of = of.max(self.least);
        self.out.line(json!({ "event": "progress", "what": what, "done": done, "of": of }));
    }
}

impl Progress for Steps<'_> {
    fn batch(&self, phase: Phase, replications: u32, _: u32) {
        self.of.fetch_add(replications, Ordering::Relaxed);
        self.tell(phase);
    }

    fn finished(&self, phase: Phase) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.tell(phase);
    }
}

/// Answers a question line by line.
pub(super) fn answer(question: &Question, desk: &Desk, unwanted: &Arc<AtomicBool>, out: &Out) {
    let watch = Watch::begin_unless(&desk.settings.limits, Arc::clone(unwanted));
    let done = measured(question, desk, &watch, out);
    match done {
        _ if unwanted.load(Ordering::Relaxed) => out.superseded(),
        Ok(()) => {}
        Err(refusal) => out.line(refusal.event()),
    }
}

fn measured(question: &Question, desk: &Desk, watch: &Watch, out: &Out) -> Result<(), Refusal> {
    let case = question.variant.case()?;
    let pinned = question.pinned.as_ref().map(Variant::case).transpose()?;
    let plan = plan(question, &desk.settings, pinned.as_ref().unwrap_or(&case));
    let cases: Vec<&Case> = pinned.iter().chain([&case]).collect();
    let scenarios: Vec<_> = cases.iter().map(|case| case.scenario()).collect();
    let (least, most) = match plan.replications {
        Sample::Fixed(n) => (n.max(1), n.max(1)),
        Sample::Auto => (10, 200),
    };
    let least = least * cases.len() as u32;
    let steps = Steps { out, done: AtomicU32::new(0), of: AtomicU32::new(0), least };
    let newcomer = desk.newcomer();
    let runner = |scenario: &Scenario, seed: u64, replication: u32| {
        desk.replicate((watch, &newcomer), scenario, (seed, replication))
    };
    let mut arms = Arms::new(&scenarios, &plan, &runner, &steps).map_err(failed)?;
    let look = |arms: &Arms<'_>, is_last: bool| {
        watch.audited()?;
        out.line(found(&cases, arms, &plan, is_last));
        newcomer.answered();
        Ok::<(), Error>(())
    };
    for few in LOOKS.into_iter().filter(|&few| few < most) {
        arms.extend_to(few, most).map_err(failed)?;
        if arms.is_halted() {
            break;
        }
        look(&arms, false)?;
    }
    arms.measure(plan.replications).map_err(failed)?;
    Ok(look(&arms, true)?)
}

/// What is run: what the file of a case asks for, and the question instead.
pub(super) fn plan(question: &Question, settings: &Settings, case: &Case) -> Plan {
    let stated = case.plan();
    Plan {
        seed: question.seed.unwrap_or(stated.seed),
        replications: question.replications.map_or(stated.replications, Sample::Fixed),
        threads: Some(settings.threads),
        max_events: settings.limits.max_events,
        ..stated
    }
}

/// Why there is no answer at all.
pub(super) fn failed(error: ReplicateError) -> Error {
    match error {
        ReplicateError::NothingFinished(halt) => Error::Halted(halt),
        threads => Error::Usage(threads.to_string()),
    }
}

/// What is known by now.
fn found(cases: &[&Case], arms: &Arms<'_>, plan: &Plan, is_last: bool) -> Value {
    let all = arms.replications();
    match (cases, all.as_slice()) {
        ([pinned, case], [first, second]) => {
            let both = compare::of_replications((pinned, case), plan.seed, (first, second));
            let mut value = written(case, &both.after, Some(&both.contrast), is_last);
            value["against_pinned"] = json!(against(&both));
            value
        }
        ([case, ..], [found, ..]) => {
            let result = summarise(case.scenario(), plan.seed, found, &case.objectives);
            written(case, &result, None, is_last)
        }
        _ => json!({ "event": "superseded" }),
    }
}

fn against(both: &Compared) -> String {
    format!("From the pinned scenario to this one: {}.", reports::compare::moves(both))
}

/// An answer as the page takes it.
fn written(case: &Case, result: &RunResult, contrast: Option<&Contrast>, is_last: bool) -> Value {
    let report = report(&case.resolved, result);
    let sections = Sections::of(&report);
    let cut = match &result.stopped {
        StopReason::Halted(halt) => Some(cut(halt, result.replications)),
        _ => None,
    };
    let verdict = match ExitStatus::of(&result.objectives) {
        _ if result.objectives.is_empty() => None,
        ExitStatus::Met => Some("met"),
        ExitStatus::Missed => Some("missed"),
        ExitStatus::Undecided => Some("undecided"),
    };
    let advice = sections.advice.iter().map(|one| match &one.advice {
        Some(advice) => format!("{} {advice}", one.message),
        None => one.message.clone(),
    });
    json!({
        "event": "answer",
        "final": is_last,
        "seed": result.seed,
        "replications": result.replications,
        "sentence": sections.sentence,
        "verdict": verdict,
        "banners": sections.banners,
        "cut": cut,
        "numbers": numbers(result, contrast),
        "objectives": sections.objectives.iter().map(objective).collect::<Vec<_>>(),
        "stability": sections.stability,
        "advice": advice.collect::<Vec<_>>(),
        "origin": sections.origin,
    })
}

fn cut(halt: &Halt, replications: u32) -> String {
    let runs = if replications == 1 { "replication" } else { "replications" };
    format!("Cut short: {halt} after {replications} {runs}. The command line has no such limit.")
}

fn objective(judged: &Judgement) -> Value {
    json!({
        "met": judged.met, "mark": judged.mark(), "promise": judged.promise,
        "found": judged.found, "note": judged.note,
    })
}

/// Spend per month, cost per successful task, p95 and success rate of each task.
fn numbers(result: &RunResult, contrast: Option<&Contrast>) -> Vec<Value> {
    let spend = &result.spend;
    let cost = "cost_per_successful_task";
    let mut all = vec![
        ("spend.per_month".to_owned(), "Spend per month", "", &spend.per_month_usd, Unit::Dollars),
        (
            cost.to_owned(),
            "Cost per successful task",
            "",
            &spend.per_successful_task_usd,
            Unit::Dollars,
        ),
    ];
    for task in &result.tasks {
        let path = |what: &str| format!("{}.{what}", task.name);
        let name = task.name.as_str();
        all.push((path("p95_latency"), "p95 latency", name, &task.latency.p95, Unit::Seconds));
        all.push((path("success_rate"), "Success rate", name, &task.success_rate, Unit::Share));
    }
    let number = |(path, label, of, estimate, unit): (String, &str, &str, &Estimate, Unit)| {
        let change =
            contrast.and_then(|all| all.number(&path)).map(|found| change(&found.change, unit));
        json!({
            "path": path, "label": label, "of": of, "now": number(estimate, unit), "change": change,
        })
    };
    all.into_iter().map(number).collect()
}

fn number(estimate: &Estimate, unit: Unit) -> Value {
    let (text, interval) = parts(estimate, unit);
    json!({
        "value": estimate.value, "low": estimate.low, "high": estimate.high,
        "text": text, "interval": interval, "reason": estimate.reason,
    })
}

fn change(change: &Change, unit: Unit) -> Value {
    let difference = reports::contrast::change_cell(&change.difference, unit.of_changes());
    let relative = reports::contrast::change_cell(&change.relative, Unit::Share);
    // Of all that is shown only a share of successes is better when it rises.
    let falls = change.difference.value.is_some_and(|value| value < 0.0);
    json!({
        "pinned": number(&change.before, unit),
        "difference": change.difference.value,
        "low": change.difference.low,
        "high": change.difference.high,
        "text": difference.value,
        "interval": difference.interval,
        "relative": relative.value,
        "certain": change.is_certain(),
        "better": change.is_certain().then_some(falls != (unit == Unit::Share)),
    })
}
