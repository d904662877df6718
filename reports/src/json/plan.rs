//! A plan as one JSON object, `surgeline.plan/1`.
//!
//! `best` is `null` unless it was confirmed; `counts` account for every candidate.

use super::{Number, Objective, text};
use crate::plan::{PlanReport, headline};
use experiments::planner::{Choice, Counts, Ending, Point};
use experiments::trial::Trial;
use experiments::{Estimate, ExitStatus, Halt};
use serde::Serialize;

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.plan/1";

/// The document, indented and with a newline at the end.
#[must_use]
pub fn render(report: &PlanReport<'_>) -> String {
    let result = report.result;
    let document = Document {
        schema: SCHEMA,
        version: report.version,
        scenario: &report.scenario.name,
        sha256: &report.scenario.sha256,
        verdict: match result.ending() {
            Ending::Confirmed => "confirmed",
            Ending::None => "none",
            Ending::Undecided => "undecided",
        },
        headline: headline(report),
        stopped: result.stopped.as_ref().map(Halt::to_string),
        base: &report.base,
        levers: report.levers.iter().map(|(key, values)| Lever { key, values }).collect(),
        best: result.best.as_ref().map(|choice| Plan::of(choice, None)),
        second: result.second.as_ref().map(|choice| Plan::of(choice, Some(&choice.more_per_month))),
        binds: result.binds.as_ref().map(|point| Candidate::of(&point.changes, &point.trial)),
        closest: result.closest.as_ref().map(|point| Candidate::of(&point.changes, &point.trial)),
        frontier_task: &result.task,
        frontier: result.frontier.iter().map(Row::of).collect(),
        counts: Tried::of(&result.counts),
        runs: result.runs,
        exhaustive_runs: result.exhaustive_runs,
        replications: result.replications,
        seed: result.seed,
        rents_failed: result.rents_failed,
        notes: &report.notes,
    };
    let mut out = text(&document, true);
    out.push('\n');
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'a str,
    scenario: &'a str,
    sha256: &'a str,
    /// `confirmed`, `none` or `undecided`.
    verdict: &'static str,
    headline: String,
    /// Why the search ended before its end; `null`: it did not.
    stopped: Option<String>,
    base: &'a [String],
    levers: Vec<Lever<'a>>,
    best: Option<Plan<'a>>,
    second: Option<Plan<'a>>,
    /// A cheaper candidate that comes closest to keeping all objectives.
    binds: Option<Candidate<'a>>,
    closest: Option<Candidate<'a>>,
    frontier_task: &'a str,
    frontier: Vec<Row<'a>>,
    counts: Tried,
    runs: u64,
    exhaustive_runs: u64,
    replications: u32,
    seed: u64,
    rents_failed: bool,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Lever<'a> {
    key: &'a str,
    values: &'a [String],
}

/// A candidate as it was run under the seed of the run.
#[derive(Serialize)]
struct Candidate<'a> {
    changes: &'a [String],
    per_month: Number<'a>,
    p95_s: Vec<Latency<'a>>,
    objectives: Vec<Objective<'a>>,
    /// Name of the objective that lies nearest to its target, or farthest beyond it.
    tightest: Option<&'a str>,
    replications: u32,
}

#[derive(Serialize)]
struct Plan<'a> {
    #[serde(flatten)]
    candidate: Candidate<'a>,
    /// Against the best, pair by pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_per_month: Option<Number<'a>>,
    /// The same under fresh seeds.
    confirmed: Candidate<'a>,
}

#[derive(Serialize)]
struct Latency<'a> {
    task: &'a str,
    #[serde(flatten)]
    p95: Number<'a>,
}

#[derive(Serialize)]
struct Row<'a> {
    changes: &'a [String],
    per_month: Number<'a>,
    p95_s: Number<'a>,
    /// `null`: undecided.
    objectives_met: Option<bool>,
    replications: u32,
}

#[derive(Serialize)]
struct Tried {
    candidates: usize,
    confirmed: usize,
    open: usize,
    dearer: usize,
    missed: usize,
    far_off_after_one: usize,
    undecided: usize,
    hardly_better: usize,
    simulated: usize,
    not_simulated_rent: usize,
    not_simulated_capacity: usize,
    refused: usize,
    left: usize,
    for_frontier: usize,
}

impl<'a> Candidate<'a> {
    fn of(changes: &'a [String], trial: &'a Trial) -> Candidate<'a> {
        let p95 = trial.p95.iter();
        Candidate {
            changes,
            per_month: Number::of(&trial.spend_per_month),
            p95_s: p95.map(|(task, p95)| Latency { task, p95: Number::of(p95) }).collect(),
            objectives: trial.objectives.iter().map(Objective::of).collect(),
            tightest: trial.lacking().map(|judged| judged.objective.name.as_str()),
            replications: trial.replications,
        }
    }
}

impl<'a> Plan<'a> {
    fn of(choice: &'a Choice, more: Option<&'a Estimate>) -> Plan<'a> {
        Plan {
            candidate: Candidate::of(&choice.changes, &choice.trial),
            more_per_month: more.map(Number::of),
            confirmed: Candidate::of(&choice.changes, &choice.confirmed),
        }
    }
}

impl<'a> Row<'a> {
    fn of(point: &'a Point) -> Row<'a> {
        let Point { changes, trial, p95 } = point;
        Row {
            changes,
            per_month: Number::of(&trial.spend_per_month),
            p95_s: Number::of(p95),
            objectives_met: match ExitStatus::of(&trial.objectives) {
                ExitStatus::Missed => Some(false),
                ExitStatus::Met => Some(true),
                ExitStatus::Undecided => None,
            },
            replications: trial.replications,
        }
    }
}

impl Tried {
    fn of(counts: &Counts) -> Tried {
        Tried {
            candidates: counts.candidates,
            confirmed: counts.confirmed,
            open: counts.open,
            dearer: counts.dearer,
            missed: counts.missed,
            far_off_after_one: counts.after_one,
            undecided: counts.undecided,
            hardly_better: counts.worse,
            simulated: counts.simulated,
            not_simulated_rent: counts.by_rent,
            not_simulated_capacity: counts.by_capacity,
            refused: counts.refused,
            left: counts.left,
            for_frontier: counts.for_frontier,
        }
    }
}
