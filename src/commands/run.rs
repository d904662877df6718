//! `surgeline run`: simulate a scenario and say what came of it.

pub(crate) mod tables;

use super::simulate;
use crate::args::{Format, Run};
use crate::disk::OsDisk;
use crate::error::Error;
use crate::limits::Watch;
use crate::output::{self, Documents, Places};
use crate::progress::Bar;
use experiments::{Case, Plan, RunResult};
use reports::command::Named;
use reports::format::{Unit, count, number};
use reports::tables::{CallRows, Context, Sample, TablesError};
use reports::{ProvenanceRow, Report, ScenarioInfo};
use scenarios::Resolved;
use scenarios::resolved::{Origin, Provenance};
use sim::workload::{Arrivals, SourceSpec};
use sim::{Scenario, Simulation};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tables::{Phases, Tables};

/// Columns of the text report: what the narrowest usual terminal has.
pub(super) const WIDTH: usize = 80;

pub(super) fn run(args: &Run) -> Result<u8, Error> {
    let case = simulate::case(&args.source)?;
    let places = Places::of(&args.writing).file(args.calls.as_deref());
    let places = places.folder("--tables", args.tabling.tables.as_deref());
    places.inputs(&case.resolved.files).check()?;
    // A report for people ends with them.
    let quiet = args.simulating.quiet;
    if !quiet && args.writing.format == Format::Json {
        simulate::warn(&case.resolved);
    }
    let plan = simulate::plan(&args.simulating, &case);
    let tables = Tables::begin(&OsDisk, &args.tabling)?;
    let watch = Watch::begin(&args.simulating.limits);
    simulate::lockstep(&args.simulating, case.scenario(), plan.seed, &watch)?;
    let began = Instant::now();
    let result = simulated(args, (&case, &plan), &watch, tables.as_ref())?;
    let took = began.elapsed();
    let tabled = tables.map_or(Ok(()), |tables| tables.finish(result.replications));
    write(args, &case.resolved, &result)?;
    if !quiet && std::io::stderr().is_terminal() {
        crate::output::tell!("{}", speed(&result, took));
    }
    let called = args
        .calls
        .as_ref()
        .map_or(Ok(()), |path| output::write_bytes(path, &calls_csv(case.scenario(), plan.seed)?));
    tabled.and(called)?;
    Ok(simulate::code(&result.stopped, &result.objectives))
}

fn simulated(
    args: &Run,
    (case, plan): (&Case, &Plan),
    watch: &Watch,
    tables: Option<&Tables<'_, OsDisk>>,
) -> Result<RunResult, Error> {
    let uncertain = if args.no_calibration { &[] } else { case.uncertain.as_slice() };
    let bar = Bar::new(args.simulating.quiet);
    let progress = Phases { bar: &bar, tables };
    let (scenario, judged, plain) = (case.scenario(), &case.objectives, watch.runner());
    let runner = |scenario: &Scenario, seed: u64, replication: u32| match tables {
        Some(tables) => tables.run(watch, scenario, (seed, replication)),
        None => plain(scenario, seed, replication),
    };
    let result = experiments::run_calibrated(scenario, uncertain, plan, judged, &runner, &progress);
    bar.clear();
    watch.audited()?;
    result.map_err(simulate::failed)
}

/// How fast it was. It is no part of a report, which is a function of the scenario and the seed.
fn speed(result: &RunResult, took: Duration) -> String {
    let requests: u64 = result.series.windows.iter().map(|window| window.arrived).sum();
    let seconds = took.as_secs_f64();
    let per_second = count((requests as f64 / seconds) as u64);
    let (requests, took) = (count(requests), number(seconds, Unit::Seconds));
    format!("{requests} requests simulated in {took}, {per_second} per second")
}

/// Prints the report and writes it wherever it was asked for.
fn write(args: &Run, resolved: &Resolved, result: &RunResult) -> Result<(), Error> {
    let report = report(resolved, result);
    Documents {
        name: "run",
        text: &|color| reports::text::render(&report, color, WIDTH),
        json: &|| reports::json::render(&report),
        markdown: &|| reports::markdown::render(&report),
        html: &|| reports::html::render(&report, &command(args)),
        topics: &|| reports::html::topics(&report),
    }
    .write(&args.writing)
}

/// The command that repeats a run.
fn command(args: &Run) -> String {
    let named = Named {
        seed: args.simulating.seed,
        replications: args.simulating.replications,
        ..args.source.named()
    };
    named.run(&args.source.set)
}

/// A result and where it comes from.
pub(crate) fn report<'a>(resolved: &Resolved, result: &'a RunResult) -> Report<'a> {
    Report {
        result,
        scenario: info(resolved),
        provenance: provenance(resolved),
        notes: notes(resolved).chain(redrawn(&resolved.scenario, result)).collect(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Which scenario.
pub(super) fn info(resolved: &Resolved) -> ScenarioInfo {
    ScenarioInfo {
        name: resolved.name.clone(),
        question: resolved.question.clone(),
        sha256: resolved.sha256.clone(),
    }
}

/// What loading noticed.
pub(super) fn notes(resolved: &Resolved) -> impl Iterator<Item = String> {
    let found = resolved.warnings.iter();
    let found = found.map(|note| format!("{}: {}", note.site.place, note.message));
    found.chain(others_measured(resolved))
}

/// Which hosted models answer as others measured it, which no interval knows of.
fn others_measured(resolved: &Resolved) -> Option<String> {
    let catalogued = |row: &&Provenance| matches!(row.origin, Origin::Catalogue(_));
    let of = |row: &Provenance| {
        let (of, law) = row.key.rsplit_once('.')?;
        let name = of.strip_prefix("providers.")?;
        matches!(law, "ttft" | "tpot").then(|| name.to_owned())
    };
    let mut names: Vec<String> =
        resolved.provenance.iter().filter(catalogued).filter_map(of).collect();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "The answer times of {} are the catalogue's: measured by others, at other times (`surgeline \
             validate --resolved` says by whom), and their error is in no interval. Measure yours \
             with `surgeline calibrate probe`, and write `ttft` and `tpot`.",
            names.join(", ")
        )
    })
}

/// What the replications of a recording are, and so what their intervals cover.
fn redrawn(scenario: &Scenario, result: &RunResult) -> Option<String> {
    let replay = |source: &SourceSpec| matches!(source.arrivals, Arrivals::Replay { .. });
    (result.replications > 1 && scenario.sources.iter().any(replay)).then(|| {
        "Replication 0 replays the recording; the others redraw it in blocks of 30 s on average (a \
         block bootstrap). So the intervals cover this redrawing, and no other day."
            .to_owned()
    })
}

/// Where each input comes from; first how far the step times of each pool can be trusted.
pub(super) fn provenance(resolved: &Resolved) -> Vec<ProvenanceRow> {
    let pools = resolved.scenario.pools.iter().zip(&resolved.calibration);
    let trust = pools.map(|(pool, calibration)| ProvenanceRow {
        key: format!("pools.{}.calibration", pool.name),
        value: calibration.label.clone(),
        origin: "catalogue".to_owned(),
    });
    let rows = resolved.provenance.iter().map(|row| ProvenanceRow {
        key: row.key.clone(),
        value: row.value.clone(),
        origin: row.origin.to_string(),
    });
    trust.chain(rows).collect()
}

/// The calls of replication 0, the start included.
fn calls_csv(scenario: &Scenario, seed: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let context = Context { scenario, seed, replication: 0, sample: Sample::default() };
    let failed = |error: TablesError| Error::Bug(error.to_string());
    let rows = CallRows::new(context, Box::new(&mut bytes)).map_err(failed)?;
    let (_, rows) = Simulation::recording(scenario, seed, 0, rows).run_with(&|_| false);
    rows.finish().map_err(failed)?;
    Ok(bytes)
}
