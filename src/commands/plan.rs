//! `surgeline plan`: the cheapest of many variants that keeps all objectives.

use super::run::{WIDTH, info, notes, provenance};
use super::{blueprint, levers, simulate};
use crate::args::{Simulating, Source, Writing};
use crate::error::{Error, halt_code};
use crate::limits::Watch;
use crate::output::{Documents, Places};
use crate::progress::Bar;
use experiments::Case;
use experiments::planner::{Ending, PlanError, Planned, Question, plan};
use experiments::repair::Lever;
use reports::command::Named;
use reports::plan::PlanReport;
use scenarios::Resolved;
use scenarios::resolved::{DefaultLever, Lever as Declared, LeverKind};

/// Values of a default lever that the advice shows.
const SHOWN: usize = 4;

/// The cheapest fleet and policy that keeps all objectives, and the frontier of cost against p95.
///
/// Tries combinations of the values that [levers] of the scenario or --vary name. Exit codes: 0 a plan
/// was confirmed · 1 no combination keeps all objectives · 3 of some it stays undecided, and none was
/// confirmed.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) source: Source,
    /// What the plan chooses: --vary pools.h100.replicas=1..8 (repeatable), instead of the scenario's
    /// [levers].
    #[arg(long = "vary", value_name = "KEY=VALUES")]
    pub(crate) vary: Vec<String>,
    #[command(flatten)]
    pub(crate) simulating: Simulating,
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// Leave out what the error of calibrated times may do to the plan.
    #[arg(long)]
    pub(crate) no_calibration: bool,
}

pub(super) fn run(args: &Plan) -> Result<u8, Error> {
    let blueprint = blueprint(&args.source)?;
    let base = &args.source.set;
    let today = simulate::prepared(blueprint.resolve(base)?)?;
    let declared = declared(args, &today.resolved)?;
    let mut known = levers::usable(&declared, &blueprint, base)?;
    known.extend(rented_anyway(&declared));
    let levers = levers::for_search(declared);
    Places::of(&args.writing).inputs(&today.resolved.files).check()?;
    let settings = simulate::plan(&args.simulating, &today);
    let watch = Watch::begin(&args.simulating.limits);
    simulate::lockstep(&args.simulating, today.scenario(), settings.seed, &watch)?;
    let bar = Bar::new(args.simulating.quiet);
    let resolve = |changes: &[String]| {
        let resolved = blueprint.resolve(changes).map_err(|problems| problems.to_string())?;
        Case::new(resolved)
    };
    let halted = || watch.must_stop().then(|| watch.halt());
    let with_calibration = !args.no_calibration;
    let question = Question { base, levers: &levers, halted: &halted, with_calibration };
    let result = plan(&question, &resolve, &settings, (&watch.runner(), &bar));
    bar.clear();
    watch.audited()?;
    let result = result.map_err(|error| match error {
        PlanError::Refused(text) => Error::Usage(text),
        PlanError::Failed(error) => simulate::failed(error),
    })?;
    // What is to be known of the plan may not hold for the scenario as it is, and the reverse.
    let shown = match &result.best {
        Some(best) => blueprint.resolve(&[&base[..], &best.changes].concat())?,
        None => today.resolved,
    };
    write(args, &shown, (&levers, known), &result)?;
    Ok(code(&result))
}

fn write(
    args: &Plan,
    shown: &Resolved,
    (levers, known): (&[Lever], Vec<String>),
    result: &Planned,
) -> Result<(), Error> {
    let named = |lever: &Lever| {
        let value = |change: &Vec<String>| match change.as_slice() {
            [one] => one.split_once('=').map_or(one.as_str(), |(_, value)| value).to_owned(),
            several => several.join(" "),
        };
        (lever.key.clone(), lever.changes.iter().map(value).collect())
    };
    let report = PlanReport {
        result,
        scenario: info(shown),
        named: Named { seed: args.simulating.seed, ..args.source.named() },
        base: args.source.set.clone(),
        levers: levers.iter().map(named).collect(),
        horizon: shown.scenario.horizon,
        notes: known.into_iter().chain(notes(shown)).collect(),
        provenance: provenance(shown),
        version: env!("CARGO_PKG_VERSION"),
    };
    Documents {
        name: "plan",
        text: &|color| reports::plan::text(&report, color, WIDTH),
        json: &|| reports::json::plan::render(&report),
        markdown: &|| reports::plan::markdown(&report),
        html: &|| reports::plan::html(&report),
        topics: &|| reports::plan::topics(&report),
    }
    .write(&args.writing)
}

fn code(result: &Planned) -> u8 {
    match (&result.stopped, result.ending()) {
        (Some(halt), _) => halt_code(halt),
        (None, Ending::Confirmed) => 0,
        (None, Ending::None) => 1,
        (None, Ending::Undecided) => 3,
    }
}

/// What may be chosen: as the command line says, or the file.
fn declared(args: &Plan, today: &Resolved) -> Result<Vec<Declared>, Error> {
    let declared = levers::declared(&args.vary, &today.levers)?;
    if declared.is_empty() {
        return Err(Error::Usage(advice(today)));
    }
    if let Some(lever) = levers::asked(&declared) {
        return Err(Error::Usage(format!(
            "{} is no choice of a plan: it says what is asked; set it with --set, or vary it with \
             `surgeline sweep`",
            lever.key
        )));
    }
    Ok(declared)
}

/// What to know of levers that may leave a pool without traffic.
fn rented_anyway(declared: &[Declared]) -> Option<String> {
    let moved = declared.iter().find(|lever| lever.key.ends_with(".served_by"))?;
    Some(format!(
        "{}: a pool that a value leaves without traffic is rented all the same, so its rent is in the \
         spend of every candidate; to do without it, `surgeline compare` a file with it and one \
         without",
        moved.key
    ))
}

/// How to say what may be chosen, with a key that this scenario has.
fn advice(today: &Resolved) -> String {
    let value = |change: &Vec<String>| match change.as_slice() {
        [one] => one.split_once('=').map(|(_, value)| value.to_owned()),
        _ => None,
    };
    let levers = today.default_levers.iter();
    let counted = levers.clone().find(|lever| lever.kind == LeverKind::Replicas);
    let values_of = |lever: &DefaultLever| -> Vec<String> {
        lever.candidates.iter().filter_map(value).take(SHOWN).collect()
    };
    let other =
        levers.map(|lever| (lever, values_of(lever))).find(|(_, values)| !values.is_empty());
    let (key, line, file) = match (counted, other) {
        (Some(lever), _) => {
            let last = lever.candidates.last().and_then(value).unwrap_or_default();
            // From one on: today's number may be more than it takes.
            let range = format!("1..{last}");
            (lever.key.clone(), range.clone(), format!("{range:?}"))
        }
        (None, Some((lever, values))) => {
            let listed: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            (lever.key.clone(), values.join(","), format!("[{}]", listed.join(", ")))
        }
        (None, None) => ("pools.NAME.replicas".to_owned(), "1..8".into(), "\"1..8\"".into()),
    };
    format!(
        "what may the plan choose? The scenario has no [levers]. Say\n  --vary '{key}={line}'\nor \
         write into the scenario\n  [levers]\n  {key} = {file}"
    )
}
