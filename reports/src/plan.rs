//! A plan for people: the cheapest, what binds, the second best, the frontier, and what was tried.
//!
//! Invariants: the sentence recommends only what was confirmed under fresh seeds; every candidate is
//! accounted for; a partial search says so first.
//!
//! Deliberately absent: searching (see `experiments::planner`).

use crate::command::Named;
use crate::format::{Unit, count, estimate, span};
use crate::html::{self, Page, Standing};
use crate::picture::{self, Topic};
use crate::report::{ProvenanceRow, ScenarioInfo};
use crate::sections::{Advice, Headline, Judgement, Sections, hashes, judgement};
use crate::table::{Cell, Table};
use crate::{markdown, text};
use experiments::planner::{Choice, Counts, Ending, Planned, Point};
use experiments::trial::{Of, Trial};
use experiments::{Estimate, ExitStatus};
use sim::units::Span;

/// What a document of the plan is made from.
#[derive(Clone, Debug)]
pub struct PlanReport<'a> {
    /// What was found.
    pub result: &'a Planned,
    /// The scenario with the plan, or where there is none, as it is.
    pub scenario: ScenarioInfo,
    /// How the scenario was named.
    pub named: Named,
    /// Overrides that every candidate has.
    pub base: Vec<String>,
    /// What was varied: key path and values.
    pub levers: Vec<(String, Vec<String>)>,
    /// Length of a replication.
    pub horizon: Span,
    /// What was noticed while loading the input, each a sentence or two.
    pub notes: Vec<String>,
    /// Where each input of it comes from.
    pub provenance: Vec<ProvenanceRow>,
    /// Version of surgeline.
    pub version: &'a str,
}

/// For a terminal.
#[must_use]
pub fn text(report: &PlanReport<'_>, color: bool, width: usize) -> String {
    text::page(&sections(report), color, width)
}

/// For a pull request or a wiki.
#[must_use]
pub fn markdown(report: &PlanReport<'_>) -> String {
    markdown::page(&sections(report), &report.provenance)
}

/// For a browser.
#[must_use]
pub fn html(report: &PlanReport<'_>) -> String {
    let inputs = &report.provenance;
    let standing = match (&report.result.stopped, report.result.ending()) {
        (_, Ending::Confirmed) => Standing::Met,
        (None, Ending::None) => Standing::Missed,
        _ => Standing::Open,
    };
    let topics = topics(report);
    let mut sections = Sections { headlines: headlines(report.result), ..sections(report) };
    let what = if report.result.best.is_some() { "the plan" } else { "as it is" };
    sections.origin.insert(0, hashes(&[(what, &report.scenario.sha256)]));
    html::page(&Page { standing, sections: &sections, topics: &topics, inputs })
}

/// What the plan costs, and how long its tasks take.
fn headlines(result: &Planned) -> Vec<Headline> {
    let line = |label, of, estimate: &Estimate, unit| Headline {
        label,
        of,
        cell: Cell::with_calibration(estimate, unit),
        note: estimate.reason.clone(),
    };
    let Some(best) = &result.best else { return Vec::new() };
    let spend = line("Spend per month", None, &best.trial.spend_per_month, Unit::Dollars);
    let p95 =
        best.trial.p95.iter().map(|(task, p95)| {
            line("p95 of successful tasks", Some(task.clone()), p95, Unit::Seconds)
        });
    std::iter::once(spend).chain(p95).collect()
}

/// Its pictures.
#[must_use]
pub fn topics(report: &PlanReport<'_>) -> Vec<Topic> {
    picture::frontier(report.result)
}

/// The answer: the plan, its price, what binds, and how much the second best costs more.
#[must_use]
pub fn headline(report: &PlanReport<'_>) -> String {
    let result = report.result;
    let Some(best) = &result.best else { return no_plan(result) };
    let price = estimate(&best.trial.spend_per_month, Unit::Dollars);
    let found = match result.stopped {
        Some(_) => "The cheapest plan confirmed so far",
        None => "The cheapest plan that keeps all objectives",
    };
    let mut all = format!("{found} is {} at {price} per month", own(&best.changes));
    match &result.binds {
        Some(cheaper) => {
            let (binds, comes_to) = missed(&cheaper.trial);
            let cheaper = own(&cheaper.changes);
            all += &format!("; what binds is {binds}: {cheaper} costs less but {comes_to}");
        }
        // Nothing was left out for want of capacity, and nothing that spends less failed.
        None if result.counts.by_capacity == 0 => all += ", and no candidate costs less",
        None => {}
    }
    all += &match &result.second {
        Some(second)
            if second.confirmed.p95 == best.confirmed.p95
                && second.confirmed.spend_per_month == best.confirmed.spend_per_month =>
        {
            format!("; {} comes to the same: what differs has no effect", own(&second.changes))
        }
        Some(second) if second.more_per_month.value == Some(0.0) => {
            format!("; the second best, {}, costs the same", own(&second.changes))
        }
        Some(second) => format!(
            "; the second best, {}, costs {} more",
            own(&second.changes),
            estimate(&second.more_per_month, Unit::Dollars)
        ),
        None => "; no second one was confirmed within 1.5× its price".to_owned(),
    };
    all + "."
}

/// Why nothing is recommended.
fn no_plan(result: &Planned) -> String {
    let what = match (&result.stopped, result.ending()) {
        (Some(_), _) => "No plan was confirmed before the search was stopped",
        (None, Ending::Undecided) => "No plan can be confirmed: of some it stays undecided",
        (None, _) => "No candidate keeps all objectives",
    };
    let Some(Point { changes, trial, .. }) = &result.closest else { return format!("{what}.") };
    let own = own(changes);
    if !trial.is_void && trial.slack(Of::All).value >= 0.0 {
        let unknown = trial.unknown();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return format!("{what}; closest comes {own}, but nothing is known of {unknown}.");
        }
        let times = match trial.replications {
            1 => "its only replication so far".to_owned(),
            n => format!("{n} replications"),
        };
        return format!("{what}; closest comes {own}, which keeps every objective in {times}.");
    }
    let (binds, comes_to) = missed(trial);
    format!("{what}; closest comes {own}, which {comes_to}; what binds is {binds}.")
}

/// The objective that lies farthest beyond its target, and what it comes to.
fn missed(trial: &Trial) -> (String, String) {
    let Some(judged) = trial.lacking() else { return ("nothing".into(), "keeps all".into()) };
    if trial.is_void {
        return ("capacity".into(), "is overloaded".into());
    }
    let found = estimate(&judged.estimate, Unit::of(judged.objective.metric));
    let binds = format!("{} ({})", judged.objective.name, judged.objective.text);
    let by = if trial.replications == 1 { " in its only replication" } else { "" };
    (binds, format!("comes to {found}{by}"))
}

/// Overrides in running text.
pub(crate) fn own(changes: &[String]) -> String {
    if changes.is_empty() { "the scenario as it is".to_owned() } else { changes.join(" ") }
}

fn sections(report: &PlanReport<'_>) -> Sections {
    let result = report.result;
    let judged = result.best.as_ref().map(|best| &best.trial);
    let judged = judged.or(result.closest.as_ref().map(|closest| &closest.trial));
    let objectives: Vec<Judgement> =
        judged.map_or_else(Vec::new, |trial| trial.objectives.iter().map(judgement).collect());
    let open = [choices(result), frontier(result), tried(report)];
    Sections {
        name: format!("{}: the cheapest plan", report.scenario.name),
        question: report.scenario.question.clone(),
        sentence: headline(report),
        banners: banners(result),
        objectives,
        open: open.into_iter().filter(|table| !table.rows.is_empty()).collect(),
        advice: advice(report),
        commands: commands(report),
        origin: origin(report),
        ..Sections::default()
    }
}

/// What to know of the plan, what the error of its calibration may do first.
fn advice(report: &PlanReport<'_>) -> Vec<Advice> {
    let doubts = report.result.doubts.iter().map(Advice::of);
    doubts.chain(report.notes.iter().map(|note| Advice::note(note))).collect()
}

fn banners(result: &Planned) -> Vec<String> {
    let partial = result.stopped.as_ref().map(|halt| {
        let Counts { simulated, candidates, left, .. } = result.counts;
        format!(
            "PARTIAL: {halt} after {} of {} candidates were simulated; {} are left.",
            count(simulated as u64),
            count(candidates as u64),
            count(left as u64)
        )
    });
    let rents = result.rents_failed.then(|| {
        "A simulation cost less than the rent that was reckoned, so rent ruled nothing out.".into()
    });
    partial.into_iter().chain(rents).collect()
}

/// The best and the second best under both seeds.
fn choices(result: &Planned) -> Table {
    let headers = ["per month", "more", "with fresh seeds", "p95"];
    let mut table = Table::new("Plans", &headers);
    let more = |choice: &Choice| Cell::of(&choice.more_per_month, Unit::Dollars);
    let best = result.best.iter().map(|best| (best, Cell::plain("–")));
    for (choice, more) in best.chain(result.second.iter().map(|second| (second, more(second)))) {
        let Choice { changes, trial, confirmed, .. } = choice;
        let p95 = trial.p95.iter().find(|(name, _)| *name == result.task);
        let p95 = p95.map_or_else(Estimate::default, |(_, p95)| p95.clone());
        let cells = vec![
            Cell::of(&trial.spend_per_month, Unit::Dollars),
            more,
            Cell::of(&confirmed.spend_per_month, Unit::Dollars),
            Cell::of(&p95, Unit::Seconds),
        ];
        table.row(own(changes), cells);
    }
    table.notes.push(format!(
        "each kept all objectives with {} replications under the seed of this run and under a fresh \
         one; what the second costs more is the difference replication by replication; p95 of {}",
        result.replications, result.task
    ));
    table
}

fn frontier(result: &Planned) -> Table {
    let headers = ["per month", "p95", "objectives", "replications"];
    let mut table = Table::new("Frontier of cost and p95", &headers);
    for Point { changes, trial, p95 } in &result.frontier {
        table.explain(p95);
        let cells = vec![
            Cell::of(&trial.spend_per_month, Unit::Dollars),
            Cell::of(p95, Unit::Seconds),
            Cell::plain(mark(trial)),
            Cell::plain(trial.replications.to_string()),
        ];
        table.row(own(changes), cells);
    }
    table.notes.push(format!(
        "p95 of {}; of all that were simulated at least three times, those that none beats in both. \
         Only rows with ✓ keep all objectives, and only plans were confirmed",
        result.task
    ));
    table
}

/// All met, one missed, or neither.
fn mark(trial: &Trial) -> &'static str {
    match ExitStatus::of(&trial.objectives) {
        ExitStatus::Missed => "✗",
        ExitStatus::Met => "✓",
        ExitStatus::Undecided => "?",
    }
}

/// What became of the candidates.
fn tried(report: &PlanReport<'_>) -> Table {
    let result = report.result;
    let mut table = Table::new("What was tried", &["candidates"]);
    for (what, n) in fates(&result.counts) {
        if n > 0 {
            table.row(what, vec![Cell::plain(count(n as u64))]);
        }
    }
    table.notes.push(format!(
        "{} replications were simulated; all candidates with {} each would be {}",
        count(result.runs),
        result.replications,
        count(result.exhaustive_runs)
    ));
    if result.counts.by_capacity > 0 {
        table.notes.push(
            "that less of the same is not enough either was taken for granted, except for one less \
             than the plan, which was simulated"
                .to_owned(),
        );
    }
    table
}

/// Every fate and how many had it; they add up to all candidates.
fn fates(counts: &Counts) -> [(&'static str, usize); 11] {
    [
        ("confirmed", counts.confirmed),
        ("simulated: dearer", counts.dearer),
        ("simulated: misses an objective", counts.missed),
        ("simulated once: far from an objective", counts.after_one),
        ("simulated: undecided", counts.undecided),
        ("simulated: hardly better than one of these", counts.worse),
        ("simulated: not finished", counts.open),
        ("not simulated: rent alone costs as much", counts.by_rent),
        ("not simulated: more of the same is too little", counts.by_capacity),
        ("not taken by the scenario", counts.refused),
        ("left when it was stopped", counts.left),
    ]
}

/// What runs the plan as it was run here.
fn commands(report: &PlanReport<'_>) -> Vec<(String, String)> {
    let repeat = |best: &Choice| {
        let set = [&report.base[..], &best.changes].concat();
        let named = Named { replications: Some(best.trial.replications), ..report.named.clone() };
        ("the plan".to_owned(), named.run(&set))
    };
    report.result.best.iter().map(repeat).collect()
}

fn origin(report: &PlanReport<'_>) -> Vec<String> {
    let result = report.result;
    let varied = report.levers.iter().map(|(key, values)| format!("{key} ({})", values.len()));
    let varied: Vec<String> = varied.collect();
    let mut all = vec![format!("varied: {}", varied.join(", "))];
    all.push(format!(
        "replications of {}, seed {}; all candidates see the same requests; intervals are {} %; \
         surgeline {}",
        span(report.horizon),
        result.seed,
        experiments::CONFIDENCE * 100.0,
        report.version
    ));
    all
}
