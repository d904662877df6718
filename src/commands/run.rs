//! `surgeline run`: simulate a scenario and say what came of it.

use super::simulate;
use crate::args::{Format, Run};
use crate::error::Error;
use crate::limits::Watch;
use crate::output::{self, Documents};
use crate::progress::Bar;
use experiments::{Case, Plan, RunResult};
use reports::format::{Unit, count, number};
use reports::{ProvenanceRow, Report, ScenarioInfo};
use scenarios::Resolved;
use sim::ids::Backend;
use sim::record::{CallRecord, KeepAll};
use sim::workload::{Arrivals, SourceSpec};
use sim::{Scenario, Simulation};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Columns of the text report: what the narrowest usual terminal has.
pub(super) const WIDTH: usize = 80;

pub(super) fn run(args: &Run) -> Result<u8, Error> {
    let case = simulate::case(&args.source)?;
    output::check(&args.writing, args.calls.as_deref())?;
    // A report for people ends with them.
    let quiet = args.simulating.quiet;
    if !quiet && args.writing.format == Format::Json {
        simulate::warn(&case.resolved);
    }
    let plan = simulate::plan(&args.simulating, &case);
    let watch = Watch::begin(&args.simulating.limits);
    simulate::lockstep(&args.simulating, case.scenario(), plan.seed, &watch)?;
    let began = Instant::now();
    let result = simulated(args, &case, &plan, &watch)?;
    let took = began.elapsed();
    write(args, &case.resolved, &result)?;
    if !quiet && std::io::stderr().is_terminal() {
        crate::output::tell!("{}", speed(&result, took));
    }
    if let Some(path) = &args.calls {
        output::write_file(path, &calls_csv(case.scenario(), plan.seed)?)?;
    }
    Ok(simulate::code(&result.stopped, &result.objectives))
}

fn simulated(args: &Run, case: &Case, plan: &Plan, watch: &Watch) -> Result<RunResult, Error> {
    let uncertain = if args.no_calibration { &[] } else { case.uncertain.as_slice() };
    let bar = Bar::new(args.simulating.quiet);
    let (scenario, judged, runner) = (case.scenario(), &case.objectives, watch.runner());
    let result = experiments::run_calibrated(scenario, uncertain, plan, judged, &runner, &bar);
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
    }
    .write(&args.writing)
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
    resolved.warnings.iter().map(|note| format!("{}: {}", note.site.place, note.message))
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

/// Every call of replication 0, times in seconds.
fn calls_csv(scenario: &Scenario, seed: u64) -> Result<String, Error> {
    let (_, kept) =
        Simulation::recording(scenario, seed, 0, KeepAll::default()).run_with(&|_| false);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "source",
        "number",
        "task",
        "model",
        "pool",
        "replica",
        "arrived_s",
        "scheduled_s",
        "first_token_s",
        "ended_s",
        "input_tokens",
        "output_tokens",
        "hit_tokens",
        "preemptions",
    ];
    let failed = |error: csv::Error| Error::Bug(error.to_string());
    writer.write_record(header).map_err(failed)?;
    for call in &kept.calls {
        writer.write_record(call_row(scenario, call)).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| Error::Bug(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn call_row(scenario: &Scenario, call: &CallRecord) -> [String; 14] {
    [
        scenario.sources[call.source.index()].name.clone(),
        call.number.to_string(),
        scenario.tasks[call.task.index()].name.clone(),
        scenario.models[call.model.index()].name.clone(),
        match call.backend {
            Backend::Pool(pool) => scenario.pools[pool.index()].name.clone(),
            Backend::Remote(remote) => scenario.remotes[remote.index()].name.clone(),
        },
        call.replica.to_string(),
        call.arrived.as_secs_f64().to_string(),
        call.scheduled.as_secs_f64().to_string(),
        call.first_token.as_secs_f64().to_string(),
        call.ended.as_secs_f64().to_string(),
        call.input.to_string(),
        call.output.to_string(),
        call.hit_tokens.to_string(),
        call.preemptions.to_string(),
    ]
}
