//! Today beside tomorrow, for people: the verdict in a sentence, the edge, the repair.
//!
//! Invariants: the sentence says how spend changes and whether the objectives hold, and where one does
//! not, when and why as far as that is known; a repair is shown with its price, or with why there is
//! none.
//!
//! Deliberately absent: judging (see `experiments`).

mod verdict;

use crate::command::{Named, set_text};
use crate::contrast::{self, DAYS, value};
use crate::format::{Unit, estimate, number, span};
use crate::html::{self, Page, Standing};
use crate::picture::{self, Arm, Topic, of_arms};
use crate::report::{ProvenanceRow, ScenarioInfo};
use crate::sections::{Advice, Sections, hashes, headlines_beside};
use crate::table::{Cell, Table};
use crate::{markdown, text};
use experiments::bottleneck::{Bottleneck, Shortage};
use experiments::paired::Change;
use experiments::repair::{Repair, Repaired, Search};
use experiments::trial::{Of, Trial};
use experiments::what_if::{Part, WhatIf};
use experiments::{Estimate, ObjectiveResult};
use std::rc::Rc;

pub use verdict::verdict;

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

/// For a browser.
#[must_use]
pub fn html(report: &WhatIfReport<'_>) -> String {
    let inputs = &report.provenance;
    let standing = Standing::of(&report.result.compared.after.objectives);
    let topics = topics(report);
    let compared = &report.result.compared;
    let headlines = headlines_beside(("today", &compared.before), ("tomorrow", &compared.after));
    let mut sections = Sections { headlines, ..sections(report) };
    sections.origin.insert(0, hashes(&[("today", &report.scenario.sha256)]));
    html::page(&Page { standing, sections: &sections, topics: &topics, inputs })
}

/// Its pictures.
#[must_use]
pub fn topics(report: &WhatIfReport<'_>) -> Vec<Topic> {
    let compared = &report.result.compared;
    let objectives = &compared.before.objectives;
    let headroom = report.result.headroom.as_ref();
    let edge = headroom.and_then(|headroom| picture::edge(headroom, objectives));
    let both = of_arms(&[
        Arm { name: "today", result: &compared.before },
        Arm { name: "tomorrow", result: &compared.after },
    ]);
    edge.into_iter().chain(both).collect()
}

/// What gives out, and when, in words.
#[must_use]
pub fn why(bottleneck: &Bottleneck) -> String {
    let Bottleneck { part, shortage, from, until, share } = bottleneck;
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
    let share = number(*share, Unit::Share);
    format!("{what}, first from {from} to {} ({share} of the whole run)", span(*until))
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
        commands: commands(report),
        ..Sections::default()
    }
}

fn banners(result: &WhatIf) -> Vec<String> {
    let after = &result.compared.after;
    let void = after.stability.verdict.filter(|verdict| verdict.voids_latency());
    let void = void.map(|_| format!("TOMORROW IS OVERLOADED: {}.", after.stability.why));
    partial(result).into_iter().chain(void).collect()
}

/// What stopped the work, and what is not finished therefore.
pub(crate) fn partial(result: &WhatIf) -> Option<String> {
    let halt = result.halt.as_ref()?;
    let parts: Vec<&str> = result.unfinished.iter().map(|part| part_words(*part)).collect();
    Some(format!(
        "PARTIAL: {halt} after {} replications of each day. Not finished: {}.",
        result.compared.after.replications,
        parts.join(", ")
    ))
}

fn part_words(part: Part) -> &'static str {
    match part {
        Part::Replications => "the replications",
        Part::Calibration => "the error of the calibration",
        Part::Headroom => "the headroom",
        Part::Repair => "the smallest repair",
    }
}

/// Those of both days by their names, and those of one day beside what the other comes to.
fn objectives(result: &WhatIf) -> Table {
    let (before, after) = (&result.compared.before.objectives, &result.compared.after.objectives);
    let named = |all: &'_ [ObjectiveResult], name: &str| {
        all.iter().position(|judged| judged.objective.name == name)
    };
    let mut table = Table::new("Objectives", &["target", "today", "", "tomorrow", ""]);
    for today in before {
        let tomorrow = named(after, &today.objective.name).map(|at| &after[at]);
        objective(&mut table, Some(today), tomorrow, result);
    }
    let is_new = |judged: &&ObjectiveResult| named(before, &judged.objective.name).is_none();
    for tomorrow in after.iter().filter(is_new) {
        objective(&mut table, None, Some(tomorrow), result);
    }
    table
}

fn objective(
    table: &mut Table,
    today: Option<&ObjectiveResult>,
    tomorrow: Option<&ObjectiveResult>,
    result: &WhatIf,
) {
    let Some(of) = tomorrow.or(today).map(|judged| &judged.objective) else { return };
    let unit = Unit::of(of.metric);
    let target = match (today, tomorrow) {
        (Some(today), Some(tomorrow)) if today.objective.text != tomorrow.objective.text => {
            format!("{}, then {}", today.objective.text, tomorrow.objective.text)
        }
        (Some(_), None) => format!("{} today", of.text),
        (None, Some(_)) => format!("{} tomorrow", of.text),
        _ => of.text.clone(),
    };
    let mark = |judged: Option<&ObjectiveResult>| {
        Cell::plain(match judged.map(|judged| judged.met) {
            Some(Some(true)) => "✓",
            Some(Some(false)) => "✗",
            Some(None) => "?",
            None => "",
        })
    };
    // Of a day without this objective the number is known all the same.
    let change = result.compared.contrast.number(&of.name).map(|number| &number.change);
    let day = |judged: Option<&ObjectiveResult>, of: fn(&Change) -> &Estimate| {
        judged.map(|judged| judged.estimate.clone()).or(change.map(|change| of(change).clone()))
    };
    let [today_is, tomorrow_is] =
        [day(today, |change| &change.before), day(tomorrow, |change| &change.after)];
    let cells = vec![
        Cell::plain(target),
        today_is.map_or(Cell::plain("–"), |estimate| value(&estimate, unit)),
        mark(today),
        tomorrow_is.as_ref().map_or(Cell::plain("–"), |estimate| Cell::of(estimate, unit)),
        mark(tomorrow),
    ];
    table.row(of.name.as_str(), cells);
    if let Some(judged) = tomorrow.filter(|judged| is_uncertain(&judged.estimate)) {
        let cell = Cell::with_calibration(&judged.estimate, unit);
        table.notes.push(format!("{} tomorrow: {}", of.name, cell.inline()));
    }
}

/// Whether the error of the calibration may move it at all.
fn is_uncertain(estimate: &Estimate) -> bool {
    estimate.calibration.is_some_and(|range| range.low.is_none() || range.low != range.high)
}

/// What gives out, and how far it is to the edge.
fn edges(result: &WhatIf) -> Table {
    let headers = ["first from", "until", "of the whole run"];
    let mut table = Table::new("How far it goes", &headers);
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
        (Some(_), objective) => format!(
            "headroom: {} breaks first, at {}× today's traffic, by {} replications",
            objective.as_deref().unwrap_or("an objective"),
            estimate(factor, Unit::Plain),
            headroom.replications
        ),
        (None, _) => {
            let reason = factor.reason.as_deref().unwrap_or("no objective breaks");
            let times = |factor| number(factor, Unit::Plain);
            match (factor.low, factor.high) {
                (Some(least), _) => {
                    format!("headroom: more than {}× today's traffic ({reason})", times(least))
                }
                (None, Some(most)) => {
                    format!("headroom: less than {}× today's traffic ({reason})", times(most))
                }
                (None, None) => format!("headroom: not found ({reason})"),
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
    let Some(Search { repaired, is_cut_short, .. }) = &result.repair else { return table };
    match repaired {
        Repaired::Found(cheapest, others) => {
            row(cheapest);
            others.iter().take(3).for_each(&mut row);
            let kept = match cheapest.misses.is_empty() {
                true => "each kept all objectives",
                false => "nothing keeps all objectives; these kept those that are not about money,",
            };
            let cut = if *is_cut_short { CUT_SHORT } else { "" };
            table.notes.push(format!(
                "{kept} under the seed of this run and under fresh ones; the first is the cheapest \
                 found{cut}"
            ));
        }
        Repaired::NotNeeded => {
            table.notes.push("no repair is needed: all objectives are kept".to_owned());
        }
        Repaired::NotFound { closest, tried } => {
            table.notes.push(not_found(closest.as_ref(), *tried, *is_cut_short));
        }
    }
    table
}

/// What to know of a search that has not tried everything.
const CUT_SHORT: &str = "; the search ended before it had tried everything";

/// Why there is no repair, and what comes closest to one.
fn not_found(closest: Option<&(Vec<String>, Rc<Trial>)>, tried: usize, is_cut: bool) -> String {
    let mut note = match (tried, is_cut) {
        (0, true) => "none found: nothing was tried".to_owned(),
        (0, false) => {
            "none found: there is nothing to be changed; name what may be, with --vary".to_owned()
        }
        (1, _) => {
            "none found: one change was tried, and it does not keep all objectives".to_owned()
        }
        (n, _) => {
            format!("none found: {n} changes were tried, and none surely keeps all objectives")
        }
    };
    if is_cut {
        note += CUT_SHORT;
    }
    let Some((change, trial)) = closest else { return note };
    let (change, runs) = (set_text(change), trial.replications);
    let Some((worst, slack)) = trial.tightest(Of::All) else { return note };
    let unknown = trial.unknown();
    if slack.value >= 0.0 && !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return note + &format!("; closest comes {change}, but nothing is known of {unknown}");
    }
    if slack.value >= 0.0 {
        return note
            + &format!(
                "; closest comes {change}, which seems to keep them by {runs} replications, but was \
                 not confirmed"
            );
    }
    let found = worst.estimate.value.map(|value| number(value, Unit::of(worst.objective.metric)));
    match found {
        Some(found) => {
            let (name, text) = (&worst.objective.name, &worst.objective.text);
            note + &format!("; closest comes {change}, which leaves {name} at {found} ({text})")
        }
        None => note + &format!("; closest comes {change}, which leaves it overloaded"),
    }
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

/// Tomorrow by itself, and with the cheapest repair.
fn commands(report: &WhatIfReport<'_>) -> Vec<(String, String)> {
    let run = |changes: &[String]| report.named.run(changes);
    let mut all = vec![("tomorrow".to_owned(), run(&report.changes))];
    let repaired = report.result.repair.as_ref().map(|search| &search.repaired);
    if let Some(Repaired::Found(cheapest, _)) = repaired {
        let mended = [&report.changes[..], &cheapest.changes].concat();
        all.push(("tomorrow with the first repair".to_owned(), run(&mended)));
    }
    all
}
