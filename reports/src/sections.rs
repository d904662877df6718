//! What a report for people says, in its order, before it has a look.
//!
//! The headline is the whiteboard three: cost per successful task, margin per task, p95 latency of
//! successful tasks. Tables follow from the outside in: what became of tasks, what they cost, how long
//! things took, what time and cost are made of, and last what policies, pools and backends did.
//!
//! Invariants: every number has its unit, and its interval or a note that says why it has none;
//! text and Markdown show the same sections.
//!
//! Deliberately absent: wrapping, alignment, colour and escaping.

use crate::economy;
use crate::format;
use crate::format::{Unit, count, number, span};
use crate::policy;
use crate::report::Report;
use experiments::{Amplification, ObjectiveResult, RunResult, StopReason, TaskResult, Verdict};

/// Kinds of task that each have a number on top of a page.
const MOST_CARDS: usize = 3;

pub use crate::table::{Cell, Row, Table};
pub use crate::warnings::Advice;

/// Digits of the result's digest that are shown to people.
const DIGEST_DIGITS: usize = 12;

/// One of the whiteboard three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// What it is.
    pub label: &'static str,
    /// Which task, where there is one per task.
    pub of: Option<String>,
    /// The number.
    pub cell: Cell,
    /// Why the value or the interval is absent.
    pub note: Option<String>,
}

/// How an objective fared, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Met, missed, or undecided.
    pub met: Option<bool>,
    /// The metric's path and the target as the user wrote them.
    pub promise: String,
    /// What was found.
    pub found: String,
    /// Why it is undecided, or missed without a number.
    pub note: Option<String>,
}

impl Judgement {
    /// `✓`, `✗` or `?`.
    #[must_use]
    pub fn mark(&self) -> &'static str {
        match self.met {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "?",
        }
    }
}

/// Everything a report for people shows. What is empty is left out.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sections {
    /// What the report is about: the name of the scenario, or more.
    pub name: String,
    /// Its question.
    pub question: Option<String>,
    /// The answer in a sentence.
    pub sentence: String,
    /// What changes the meaning of all numbers.
    pub banners: Vec<String>,
    /// The whiteboard three.
    pub headlines: Vec<Headline>,
    /// How well step times are known, one line per statement.
    pub calibration: Vec<String>,
    /// Objectives in the scenario's order.
    pub objectives: Vec<Judgement>,
    /// Tables that nobody should have to open.
    pub open: Vec<Table>,
    /// Whether the backlog stays bounded, and the numbers behind that.
    pub stability: Option<String>,
    /// All other tables, in order.
    pub tables: Vec<Table>,
    /// Warnings, then notes from loading.
    pub advice: Vec<Advice>,
    /// How the numbers were made.
    pub origin: Vec<String>,
    /// Commands to be copied, each with what it is for.
    pub commands: Vec<(String, String)>,
}

impl Sections {
    /// Puts a report into sections.
    #[must_use]
    pub fn of(report: &Report<'_>) -> Sections {
        let objectives: Vec<_> = report.result.objectives.iter().map(judgement).collect();
        Sections {
            name: report.scenario.name.clone(),
            question: report.scenario.question.clone(),
            sentence: sentence(report, &objectives),
            banners: crate::warnings::banners(report),
            headlines: headlines(report.result),
            calibration: calibration(report),
            objectives,
            open: Vec::new(),
            stability: Some(stability(report)),
            tables: tables(report).into_iter().filter(|table| !table.rows.is_empty()).collect(),
            advice: crate::warnings::list(report),
            origin: origin(report),
            commands: Vec::new(),
        }
    }
}

/// Every table in its order; some are empty.
fn tables(report: &Report<'_>) -> Vec<Table> {
    let result = report.result;
    let mut all = vec![outcomes(report), policy::endings_table(result), service(report)];
    all.extend([economy::spend(result), economy::tasks(result)]);
    all.extend([latency(report), policy::latencies(result), drivers(report)]);
    all.extend(economy::drivers(result));
    all.push(economy::tenants(result));
    all.extend([policy::work(result), policy::rungs(result)]);
    all.extend([policy::models(result), policy::failures(result), pools(report), kv_cache(report)]);
    all.extend([policy::backends(result), policy::tokens(result), policy::breakers(result)]);
    all.push(policy::tools(result));
    all
}

/// The three of a run beside another one: each with what it is there.
pub(crate) fn headlines_beside(
    (there_name, there): (&str, &RunResult),
    (here_name, here): (&str, &RunResult),
) -> Vec<Headline> {
    let (theirs, ours) = (headlines(there), few_headlines(here));
    let beside = |headline: Headline| {
        let same = |one: &&Headline| one.label == headline.label && one.of == headline.of;
        let other = theirs.iter().find(same).map(|one| format!("{there_name} {}", one.cell.value));
        let notes = [Some(here_name.to_owned()), headline.note, other];
        let notes = notes.into_iter().flatten().collect::<Vec<_>>().join("; ");
        Headline { note: Some(notes), ..headline }
    };
    ours.into_iter().map(beside).collect()
}

/// Those of a page: of many kinds of task the slowest alone.
pub(crate) fn few_headlines(result: &RunResult) -> Vec<Headline> {
    let mut all = headlines(result);
    if let (Some((_, task, of)), true) = (slowest(result), result.tasks.len() > MOST_CARDS) {
        all.retain(|one| one.of.as_ref().is_none_or(|name| *name == task.name));
        let note = format!("the slowest of {of} kinds; the others stand under Tables");
        all.iter_mut().filter(|one| one.of.is_some()).for_each(|one| one.note = Some(note.clone()));
    }
    all
}

fn headlines(result: &RunResult) -> Vec<Headline> {
    let line = |label, of, estimate, unit| Headline {
        label,
        of,
        cell: Cell::with_calibration(estimate, unit),
        note: estimate.reason.clone(),
    };
    let cost = &result.spend.per_successful_task_usd;
    let mut all = vec![
        line("Cost per successful task", None, cost, Unit::Dollars),
        line("Margin per task", None, &result.margin.per_task_usd, Unit::Dollars),
    ];
    all.extend(result.tasks.iter().map(|task| {
        line("p95 of successful tasks", Some(task.name.clone()), &task.latency.p95, Unit::Seconds)
    }));
    all
}

/// The answer in a sentence: cost, the slowest task's p95, and the objectives.
/// The kind of task with the longest p95, and how many have one.
fn slowest(result: &RunResult) -> Option<(f64, &TaskResult, usize)> {
    let known = || result.tasks.iter().filter_map(|task| Some((task.latency.p95.value?, task)));
    let (p95, task) = known().max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((p95, task, known().count()))
}

fn sentence(report: &Report<'_>, objectives: &[Judgement]) -> String {
    let result = report.result;
    let mut parts = Vec::new();
    match result.spend.per_successful_task_usd.value {
        Some(cost) => {
            parts.push(format!("a successful task costs {}", number(cost, Unit::Dollars)));
        }
        None => parts.push("no task succeeded".into()),
    }
    match slowest(result) {
        _ if result.stability.verdict == Some(Verdict::Unstable) => {
            parts.push("the system is unstable, so it has no p95".into());
        }
        _ if result.stability.verdict == Some(Verdict::Metastable) => {
            parts.push("the system is metastable, so it has no p95".into());
        }
        Some((p95, task, all)) => {
            let of = if all > 1 { format!(", the slowest of {all} kinds,") } else { String::new() };
            parts.push(format!("p95 of {}{of} is {}", task.name, number(p95, Unit::Seconds)));
        }
        None => {}
    }
    if !objectives.is_empty() {
        let with = |met| objectives.iter().filter(|o| o.met == met).count();
        let all = objectives.len();
        parts.push(match (with(Some(false)), with(None)) {
            (0, 0) => format!("all objectives are met ({all} of {all})"),
            (0, open) => format!("objectives undecided: {open} of {all}"),
            (missed, 0) => format!("objectives missed: {missed} of {all}"),
            (missed, open) => format!("objectives missed: {missed}, undecided: {open}, of {all}"),
        });
    }
    let text = parts.join("; ");
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// Statements about calibration, each with the keys it holds for.
fn calibration(report: &Report<'_>) -> Vec<String> {
    let mut statements: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in report.provenance.iter().filter(|row| row.is_calibration()) {
        let of = row.key.strip_suffix(".calibration").unwrap_or("all step times");
        match statements.iter_mut().find(|(value, _)| *value == row.value) {
            Some((_, keys)) => keys.push(of),
            None => statements.push((&row.value, vec![of])),
        }
    }
    if statements.is_empty() && report.result.pools.is_empty() {
        return Vec::new();
    }
    if statements.is_empty() {
        return vec!["not stated".into()];
    }
    statements.iter().map(|(value, keys)| format!("{value}: {}", keys.join(", "))).collect()
}

pub(crate) fn judgement(judged: &ObjectiveResult) -> Judgement {
    let (objective, estimate) = (&judged.objective, &judged.estimate);
    let unit = Unit::of(objective.metric);
    Judgement {
        met: judged.met,
        promise: format!("{} {}", objective.name, objective.text),
        found: Cell::with_calibration(estimate, unit).inline(),
        note: reason(judged).map(str::to_owned),
    }
}

/// Why an objective has no number, no interval or no verdict.
pub(crate) fn reason(judged: &ObjectiveResult) -> Option<&str> {
    let undecided = judged.met.is_none().then_some("the interval straddles the target");
    judged.estimate.reason.as_deref().or(undecided)
}

fn stability(report: &Report<'_>) -> String {
    let stability = &report.result.stability;
    let mut text = match stability.verdict {
        Some(Verdict::Stable) => format!("stable: {}.", stability.why),
        Some(Verdict::Unstable) => format!("unstable: {}.", stability.why),
        Some(Verdict::Metastable) => format!("metastable: {}.", stability.why),
        None => format!("{}.", stability.why),
    };
    if let Some(demand) = stability.demand_per_s {
        text += &format!(" Demand {}", number(demand, Unit::PerSecond));
        match stability.capacity_per_s {
            Some(most) => text += &format!(", capacity {}.", number(most, Unit::PerSecond)),
            // A queue limit keeps the backlog bounded, not the demand met.
            None if report.result.tasks.iter().any(|task| task.counts.rejected > 0) => {
                text += ", part of it rejected.";
            }
            None if stability.verdict == Some(Verdict::Metastable) => text += ".",
            None if turned_away(report.result) > 0 => {
                text += &format!(
                    ", capacity reached at times: {} attempts were refused as beyond a rate limit \
                     or a full queue.",
                    count(turned_away(report.result))
                );
            }
            None => text += ", capacity not reached.",
        }
    }
    if let Some(amplification) = &report.result.amplification {
        text += &multiplied(amplification);
    }
    text
}

/// Attempts that were refused because there was too much to do, whatever became of their tasks.
pub(crate) fn turned_away(result: &RunResult) -> u64 {
    result.models.iter().map(|model| model.turned_away).sum()
}

/// How far work is multiplied, and how far it could be.
fn multiplied(amplification: &Amplification) -> String {
    let plain = |estimate: &experiments::Estimate| format::estimate(estimate, Unit::Plain);
    let mut text = format!(
        " A call takes {} attempts, a task {} submissions, in all {} attempts a task.",
        plain(&amplification.attempts_per_call),
        plain(&amplification.submissions_per_task),
        plain(&amplification.attempts_per_task),
    );
    let mut recovering = Vec::new();
    for load in &amplification.models {
        let Some(worst) = load.worst else {
            text += &format!(" Nothing limits the attempts of a call to {}.", load.model);
            continue;
        };
        if worst <= 1.0 {
            continue;
        }
        let per_second = |rate| number(rate, Unit::PerSecond);
        let becomes = format!(
            " While every attempt fails, a call to {} becomes {} attempts",
            load.model,
            number(worst, Unit::Plain)
        );
        match (load.capacity_per_s, load.safe_per_s) {
            (_, Some(safe)) if load.demand_per_s < safe => recovering.push(load.model.as_str()),
            (Some(capacity), Some(safe)) => {
                text += &format!(
                    "{becomes}: its backends can work on {}, so it recovers for sure only below \
                     {}, and {} are asked for.",
                    per_second(capacity),
                    per_second(safe),
                    per_second(load.demand_per_s)
                );
            }
            _ => text += &format!("{becomes}."),
        }
    }
    if !recovering.is_empty() {
        text += &format!(
            " Even if every attempt failed for a while, retries could not keep {} down at this \
             load.",
            recovering.join(", ")
        );
    }
    text
}

fn outcomes(report: &Report<'_>) -> Table {
    let mut table = Table::new(
        "Tasks per run",
        &["arrived", "succeeded", "failed", "rejected", "abandoned", "in flight"],
    );
    for task in &report.result.tasks {
        let n = task.counts;
        let all = [n.arrived, n.succeeded, n.failed, n.rejected, n.abandoned, n.in_flight];
        table.row(&task.name, all.map(|n| Cell::per_run(n, report.result)).into());
    }
    let runs = report.result.replications;
    if runs > 1 {
        table.notes.push(format!("per run, here and below: the mean of the {runs} replications."));
    }
    table
}

fn service(report: &Report<'_>) -> Table {
    let mut table = Table::new("Service", &["success rate", "within SLO", "goodput"]);
    for task in &report.result.tasks {
        let shares = [(&task.success_rate, Unit::Share), (&task.slo_attainment, Unit::Share)];
        table.estimates(&task.name, [shares[0], shares[1], (&task.goodput, Unit::PerSecond)]);
    }
    table.notes.push(
        "within SLO: of all tasks that ended, so one without success is not within it; latencies \
         of tasks are of those that succeeded."
            .into(),
    );
    table
}

fn latency(report: &Report<'_>) -> Table {
    let mut table = Table::new("Latency", &["p50", "p90", "p95", "p99"]);
    let mut add = |name: String, d: &experiments::Distribution| {
        table.estimates(name, [&d.p50, &d.p90, &d.p95, &d.p99].map(|q| (q, Unit::Seconds)));
    };
    for task in &report.result.tasks {
        add(format!("{} task", task.name), &task.latency);
    }
    for model in &report.result.models {
        let times = [
            ("TTFT", &model.ttft),
            ("TPOT", &model.tpot),
            ("end to end", &model.e2e),
            ("queue", &model.queue),
        ];
        times.into_iter().for_each(|(time, d)| add(format!("{} {time}", model.name), d));
    }
    table
}

fn drivers(report: &Report<'_>) -> Table {
    let headers = ["mean", "queue", "prefill", "decode", "other"];
    let mut table = Table::new("What a call's time is made of", &headers);
    for model in &report.result.models {
        table.explain(&model.e2e.mean);
        let mut cells = vec![Cell::of(&model.e2e.mean, Unit::Seconds)];
        match model.drivers {
            Some(s) => cells.extend(
                [s.queue, s.prefill, s.decode, s.other]
                    .map(|share| Cell::plain(number(share, Unit::Share))),
            ),
            None => cells.extend((0..4).map(|_| Cell::plain("n/a"))),
        }
        table.row(&model.name, cells);
    }
    table
}

fn pools(report: &Report<'_>) -> Table {
    let headers = ["replicas", "utilisation", "running", "KV usage", "GPU hours"];
    let mut table = Table::new("Pools", &headers);
    for pool in &report.result.pools {
        let (busy, kv) = (&pool.utilisation, &pool.kv_usage_mean);
        let running = &pool.running_mean;
        [busy, running, kv].into_iter().for_each(|ratio| table.explain(ratio));
        let cells = vec![
            Cell::plain(count(pool.replicas)),
            Cell::of(busy, Unit::Share),
            Cell::of(running, Unit::Plain),
            Cell::of(kv, Unit::Share),
            Cell::plain(number(pool.gpu_hours, Unit::Plain)),
        ];
        table.row(&pool.name, cells);
    }
    if table.rows.is_empty() {
        return table;
    }
    table.notes.push(
        "utilisation: share of the time in which an iteration ran, if only for one request; \
         running: requests in it per replica, of max_num_seqs at most; GPU hours per run."
            .into(),
    );
    table
}

fn kv_cache(report: &Report<'_>) -> Table {
    let headers = ["hits by token", "hits by request", "evictions", "preemptions"];
    let mut table = Table::new("KV cache per run", &headers);
    for pool in &report.result.pools {
        let hits = [&pool.prefix_hit_ratio, &pool.prefix_hit_ratio_per_request];
        hits.into_iter().for_each(|ratio| table.explain(ratio));
        let mut cells: Vec<_> = hits.iter().map(|ratio| Cell::of(ratio, Unit::Share)).collect();
        cells.extend([pool.evictions, pool.preemptions].map(|n| Cell::per_run(n, report.result)));
        table.row(&pool.name, cells);
    }
    table
}

/// What inputs are known by, given what each is called and its SHA-256.
pub(crate) fn hashes(inputs: &[(&str, &str)]) -> String {
    let short = |(name, sha256): &(&str, &str)| {
        format!("{name} {}", sha256.get(..DIGEST_DIGITS).unwrap_or(sha256))
    };
    let all: Vec<String> = inputs.iter().map(short).collect();
    format!("SHA-256 of scenario, policy and overrides: {}", all.join("; "))
}

fn origin(report: &Report<'_>) -> Vec<String> {
    let result = report.result;
    let stopped = match &result.stopped {
        StopReason::Fixed => "as asked for".into(),
        StopReason::PrecisionReached => "precision reached".into(),
        StopReason::PrecisionNotReached(widest) => format!("precision not reached, {widest}"),
        StopReason::Unstable => "stopped because unstable".into(),
        StopReason::Halted(halt) => halt.to_string(),
    };
    let digest = crate::digest::result_sha256(result);
    vec![
        format!(
            "{} {} of {} ({stopped}); seed {}",
            result.replications,
            if result.replications == 1 { "replication" } else { "replications" },
            span(result.horizon),
            result.seed
        ),
        format!(
            "{} measured after {} of warm-up; {} events; intervals are {} %",
            span(result.measured),
            span(result.warm_up),
            count(result.events),
            experiments::CONFIDENCE * 100.0
        ),
        format!("result {}; surgeline {}", &digest[..DIGEST_DIGITS], report.version),
    ]
}
