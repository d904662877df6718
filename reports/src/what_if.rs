//! Today beside tomorrow, for people: the verdict in a sentence, the edge, the repair.
//!
//! Invariants: the sentence says how spend changes and whether the objectives hold, and where one does
//! not, when and why as far as that is known; a repair is shown with its price, or with why there is
//! none.
//!
//! Deliberately absent: judging (see `experiments`).

use crate::command::{Named, set_text};
use crate::contrast::{self, DAYS, value};
use crate::format::{Unit, estimate, number, span};
use crate::report::{ProvenanceRow, ScenarioInfo};
use crate::sections::{Advice, Sections};
use crate::table::{Cell, Table};
use crate::{markdown, text};
use experiments::bottleneck::{Bottleneck, Shortage};
use experiments::repair::{Repair, Repaired};
use experiments::trial::{Of, Trial};
use experiments::what_if::WhatIf;
use experiments::{ObjectiveResult, RunResult, StopReason};
use sim::units::Span;
use std::rc::Rc;

/// What a document of the answer is made from.
#[derive(Clone, Debug)]
pub struct WhatIfReport<'a> {
    /// What was found.
    pub result: &'a WhatIf,
    /// The scenario, as it is today.
    pub scenario: ScenarioInfo,
    /// How it was named.
    pub named: Named,
    /// What tomorrow is, in words: `2x the traffic`.
    pub question: String,
    /// Overrides that make tomorrow of today.
    pub changes: Vec<String>,
    /// What was noticed while loading the input, each a sentence or two.
    pub notes: Vec<String>,
    /// Where each input of today comes from.
    pub provenance: Vec<ProvenanceRow>,
    /// Version of surgeline.
    pub version: &'a str,
}

/// For a terminal.
#[must_use]
pub fn text(report: &WhatIfReport<'_>, color: bool, width: usize) -> String {
    text::page(&sections(report), color, width)
}

/// For a pull request or a wiki.
#[must_use]
pub fn markdown(report: &WhatIfReport<'_>) -> String {
    markdown::page(&sections(report), &report.provenance)
}

/// The verdict: what is spent, whether the objectives hold, and why not.
#[must_use]
pub fn verdict(report: &WhatIfReport<'_>) -> String {
    let result = report.result;
    let (before, after) = (&result.compared.before, &result.compared.after);
    let spend = match (before.spend.per_month_usd.value, after.spend.per_month_usd.value) {
        (Some(today), Some(tomorrow)) if (tomorrow - today).abs() <= 0.005 * today => {
            format!("spends the same ({} per month)", number(tomorrow, Unit::Dollars))
        }
        (Some(today), Some(tomorrow)) if today > 0.0 => format!(
            "spends {}× ({} instead of {} per month)",
            number(tomorrow / today, Unit::Plain),
            number(tomorrow, Unit::Dollars),
            number(today, Unit::Dollars)
        ),
        _ => "spends as before".to_owned(),
    };
    format!("With {} it {spend} and {}.", report.question, keeps(after, result))
}

/// Whether the objectives hold tomorrow.
fn keeps(after: &RunResult, result: &WhatIf) -> String {
    let open: Vec<&ObjectiveResult> =
        after.objectives.iter().filter(|judged| judged.met.is_none()).collect();
    if let Some((name, at)) = first_broken(result) {
        let was = before_too(name, result);
        let when = match at {
            Some(Span(0)) => " from the start".to_owned(),
            Some(at) => format!(" from {} on", span(at)),
            None => String::new(),
        };
        let because = because(name, at, result);
        let further = match result.broken.len() {
            1 => String::new(),
            n => format!(", and {} more", n - 1),
        };
        let verb = if was { "still breaks" } else { "breaks" };
        return format!("{verb} {name}{further}{when}{because}");
    }
    match (after.objectives.len(), open.first()) {
        (0, _) => "has no objective to keep".to_owned(),
        (_, Some(judged)) => {
            format!("leaves {} undecided: its interval straddles the target", judged.objective.name)
        }
        (n, None) => {
            format!("stays within {}", if n == 1 { "its objective" } else { "all objectives" })
        }
    }
}

/// Why an objective breaks: what had given out by then, or else what takes longer.
fn because(name: &str, at: Option<Span>, result: &WhatIf) -> String {
    let slack = Span(result.compared.after.series.width.0.saturating_mul(2));
    let before = |bottleneck: &&Bottleneck| {
        at.is_none_or(|at| bottleneck.from.0 <= at.0.saturating_add(slack.0))
    };
    if let Some(bottleneck) = result.bottlenecks.iter().find(before) {
        return format!(", because {}", why(bottleneck));
    }
    let task = name.rsplit_once('.').map_or("", |(task, _)| task);
    let shift = result.compared.contrast.latency.iter().find(|shift| shift.task == task);
    match shift.and_then(contrast::main_cause) {
        Some(cause) => format!(", mainly {cause}{}", batches(result)),
        None => String::new(),
    }
}

/// How many requests run side by side, where that is what makes all of them slower.
fn batches(result: &WhatIf) -> String {
    let pools = result.compared.before.pools.iter().zip(&result.compared.after.pools);
    let grown = pools.filter_map(|(before, after)| {
        let (today, tomorrow) = (before.running_mean.value?, after.running_mean.value?);
        (tomorrow > 1.5 * today).then_some((
            tomorrow / today.max(1e-9),
            &after.name,
            today,
            tomorrow,
        ))
    });
    let Some((_, name, today, tomorrow)) = grown.max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return String::new();
    };
    let [today, tomorrow] = [today, tomorrow].map(|mean| number(mean, Unit::Plain));
    format!(" (a replica of {name} works on {tomorrow} requests at once instead of {today})")
}

/// The objective that breaks earliest, as far as the time is known.
fn first_broken(result: &WhatIf) -> Option<(&str, Option<Span>)> {
    let timed = result.broken.iter().filter(|(_, at)| at.is_some()).min_by_key(|(_, at)| *at);
    timed.or(result.broken.first()).map(|(name, at)| (name.as_str(), *at))
}

fn before_too(name: &str, result: &WhatIf) -> bool {
    let today = &result.compared.before.objectives;
    today.iter().any(|judged| judged.objective.name == name && judged.met == Some(false))
}

/// What gives out, and when, in words.
#[must_use]
pub fn why(bottleneck: &Bottleneck) -> String {
    let Bottleneck { part, shortage, from, share, .. } = bottleneck;
    let what = match shortage {
        Shortage::KvCache => format!("the KV cache of {part} is full"),
        Shortage::Sequences => format!("the replicas of {part} run as many sequences as they may"),
        Shortage::Compute => format!("the GPUs of {part} have no time left"),
        Shortage::RequestRate => format!("{part} refuses attempts beyond its requests per minute"),
        Shortage::TokenRate => format!("{part} refuses attempts beyond its tokens per minute"),
        Shortage::Places => format!("{part} has no place left"),
        Shortage::Budget => format!("{part} is used up"),
    };
    let from = if from.0 == 0 { "the start".to_owned() } else { span(*from) };
    format!("{what} from {from} on ({} of the time)", number(*share, Unit::Share))
}

fn sections(report: &WhatIfReport<'_>) -> Sections {
    let result = report.result;
    let [few, moved] = contrast::numbers(&result.compared.contrast, DAYS);
    let mut tables = vec![moved];
    tables.extend(contrast::drivers(&result.compared.contrast, DAYS));
    tables.retain(|table| !table.rows.is_empty());
    Sections {
        name: format!("{}: what if {}?", report.scenario.name, report.question),
        question: report.scenario.question.clone(),
        sentence: verdict(report),
        banners: banners(result),
        open: [objectives(result), few, edges(result), repairs(result)]
            .into_iter()
            .filter(|table| !table.rows.is_empty() || !table.notes.is_empty())
            .collect(),
        tables,
        advice: advice(report),
        origin: origin(report),
        ..Sections::default()
    }
}

fn banners(result: &WhatIf) -> Vec<String> {
    let after = &result.compared.after;
    let halted = match &after.stopped {
        StopReason::Halted(halt) => {
            Some(format!("PARTIAL: {halt} after {} replications of each.", after.replications))
        }
        _ => None,
    };
    let void = after.stability.verdict.filter(|verdict| verdict.voids_latency());
    let void = void.map(|_| format!("TOMORROW IS OVERLOADED: {}.", after.stability.why));
    halted.into_iter().chain(void).collect()
}

fn objectives(result: &WhatIf) -> Table {
    let (before, after) = (&result.compared.before, &result.compared.after);
    let mut table = Table::new("Objectives", &["target", "today", "", "tomorrow", ""]);
    for (today, tomorrow) in before.objectives.iter().zip(&after.objectives) {
        let unit = Unit::of(today.objective.metric);
        let mark = |judged: &ObjectiveResult| {
            Cell::plain(match judged.met {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "?",
            })
        };
        let cells = vec![
            Cell::plain(today.objective.text.as_str()),
            value(&today.estimate, unit),
            mark(today),
            Cell::of(&tomorrow.estimate, unit),
            mark(tomorrow),
        ];
        table.row(today.objective.name.as_str(), cells);
    }
    table
}

/// What gives out, and how far it is to the edge.
fn edges(result: &WhatIf) -> Table {
    let mut table = Table::new("How far it goes", &["from", "until", "of the time"]);
    for bottleneck in result.bottlenecks.iter().take(4) {
        let Bottleneck { part, shortage, from, until, share } = bottleneck;
        let cells = [span(*from), span(*until), number(*share, Unit::Share)].map(Cell::plain);
        table.row(format!("{part}: {}", shortage_words(*shortage)), cells.into());
    }
    match (&result.nearest, result.bottlenecks.is_empty()) {
        (Some(nearest), true) if nearest.use_of_it >= 0.5 => table.notes.push(format!(
            "nothing gives out tomorrow; closest comes {} ({}) with {} of it in use at {}",
            nearest.part,
            shortage_words(nearest.shortage),
            number(nearest.use_of_it, Unit::Share),
            span(nearest.at)
        )),
        (_, true) => table.notes.push(
            "nothing gives out tomorrow, and of no cache and no rate limit more than half is used"
                .to_owned(),
        ),
        _ => {}
    }
    table.notes.extend(headroom(result));
    table
}

fn shortage_words(shortage: Shortage) -> &'static str {
    match shortage {
        Shortage::KvCache => "KV cache full",
        Shortage::Sequences => "sequences per replica",
        Shortage::Compute => "GPU time",
        Shortage::RequestRate => "requests per minute",
        Shortage::TokenRate => "tokens per minute",
        Shortage::Places => "places",
        Shortage::Budget => "budget",
    }
}

fn headroom(result: &WhatIf) -> Option<String> {
    let headroom = result.headroom.as_ref()?;
    let factor = &headroom.factor;
    Some(match (factor.value, &headroom.objective) {
        (Some(_), Some(objective)) => format!(
            "headroom: {objective} breaks first, at {}× today's traffic",
            estimate(factor, Unit::Plain)
        ),
        (Some(_), None) => format!("headroom: {}× today's traffic", estimate(factor, Unit::Plain)),
        (None, _) => {
            let reason = factor.reason.as_deref().unwrap_or("no objective breaks");
            match factor.low {
                Some(least) => format!("headroom: more than {least}× today's traffic ({reason})"),
                None => format!("headroom: not found ({reason})"),
            }
        }
    })
}

/// The smallest repair, and others.
fn repairs(result: &WhatIf) -> Table {
    let mut table = Table::new("Smallest repair", &["per month", "spends then", "misses"]);
    let mut row = |repair: &Repair| {
        let sign = if repair.per_month.value.is_some_and(|value| value > 0.0) { "+" } else { "" };
        let price = Cell::of(&repair.per_month, Unit::Dollars);
        let misses = match repair.misses.as_slice() {
            [] => "nothing".to_owned(),
            misses => misses.join(", "),
        };
        let cells = vec![
            Cell { value: format!("{sign}{}", price.value), interval: price.interval },
            value(&repair.trial.spend_per_month, Unit::Dollars),
            Cell::plain(misses),
        ];
        table.row(set_text(&repair.changes), cells);
    };
    match &result.repair {
        Some(Repaired::Found(cheapest, others)) => {
            row(cheapest);
            others.iter().take(3).for_each(&mut row);
            let kept = match cheapest.misses.is_empty() {
                true => "each kept all objectives",
                false => "nothing keeps all objectives; these kept those that are not about money,",
            };
            table.notes.push(format!(
                "{kept} under the seed of this run and under fresh ones; the first is the cheapest \
                 found"
            ));
        }
        Some(Repaired::NotNeeded) => {
            table.notes.push("no repair is needed: all objectives are kept".to_owned());
        }
        Some(Repaired::NotFound { closest, tried, is_cut_short }) => {
            table.notes.push(not_found(closest.as_ref(), *tried, *is_cut_short));
        }
        None => {}
    }
    table
}

/// Why there is no repair, and what comes closest to one.
fn not_found(closest: Option<&(Vec<String>, Rc<Trial>)>, tried: usize, is_cut: bool) -> String {
    let mut note = match tried {
        0 => "none found: there is nothing to be changed; name what may be, with --vary".to_owned(),
        n => format!("none found: {n} changes were tried and none keeps all objectives"),
    };
    if is_cut {
        note += " (the search was cut short)";
    }
    if let Some((change, trial)) = closest
        && let Some((judged, _)) = trial.tightest(Of::Service)
    {
        let unit = Unit::of(judged.objective.metric);
        let found = judged.estimate.value.map(|value| number(value, unit));
        note += &format!(
            "; closest comes {}, which leaves {} at {} ({})",
            set_text(change),
            judged.objective.name,
            found.unwrap_or_else(|| "no number".to_owned()),
            judged.objective.text
        );
    }
    note
}

fn advice(report: &WhatIfReport<'_>) -> Vec<Advice> {
    let after = &report.result.compared.after;
    let warned = after.warnings.iter().map(|warning| Advice {
        message: format!("Tomorrow: {}", warning.message()),
        advice: Some(warning.advice().into()),
    });
    let noted = report.notes.iter().map(|note| Advice { message: note.clone(), advice: None });
    warned.chain(noted).collect()
}

fn origin(report: &WhatIfReport<'_>) -> Vec<String> {
    let run = &report.result.compared.before;
    vec![
        format!("tomorrow: {}", report.named.run(&report.changes)),
        format!(
            "{} replications of {} of each, seed {}; both see the same requests; intervals are 95 %, \
             of changes pair by pair; the searches ran {} replications more",
            run.replications,
            span(run.horizon),
            run.seed,
            report.result.search_runs
        ),
        format!("surgeline {}", report.version),
    ]
}
