//! `surgeline run`: simulate a scenario and say what came of it.

use super::{load, objectives};
use crate::args::{Format, Run};
use crate::error::Error;
use crate::output;
use crate::progress::{Bar, stop_flag};
use experiments::determinism::check_determinism;
use experiments::{
    ExitStatus, Objective, Plan, ReplicateError, RunResult, Sample, StopReason, Uncertain,
    UncertainPool,
};
use reports::format::{Unit, count, number};
use reports::{ProvenanceRow, Report, ScenarioInfo};
use scenarios::Resolved;
use scenarios::resolved::{Replications, TimeSpread};
use sim::ids::{Backend, PoolId};
use sim::record::{CallRecord, KeepAll};
use sim::workload::{Arrivals, SourceSpec};
use sim::{Scenario, Simulation};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Columns of the text report: what the narrowest usual terminal has.
const WIDTH: usize = 80;

pub(super) fn run(args: &Run) -> Result<u8, Error> {
    let resolved = load(&args.source)?;
    let judged = objectives::translate(&resolved.scenario, &resolved.objectives);
    let judged = judged.map_err(Error::Usage)?;
    if let Some(folder) = &args.out {
        output::check_folder(folder)?;
    }
    for file in [&args.json, &args.md, &args.calls].into_iter().flatten() {
        output::check_file(file)?;
    }
    // A report for people ends with them.
    if !args.quiet && args.format == Format::Json {
        for warning in &resolved.warnings {
            crate::output::tell!("warning: {}: {}", warning.site.place, warning.message);
        }
    }
    let plan = plan(args, &resolved);
    if args.check_determinism {
        lockstep(&resolved.scenario, plan.seed, args.quiet)?;
    }
    let began = Instant::now();
    let uncertain = if args.no_calibration { Vec::new() } else { uncertain(&resolved) };
    let uncertain = (&resolved.scenario, uncertain.as_slice());
    let result = simulate(uncertain, &plan, &judged, args.quiet)?;
    let took = began.elapsed();
    write(args, &resolved, &result)?;
    if !args.quiet && std::io::stderr().is_terminal() {
        crate::output::tell!("{}", speed(&result, took));
    }
    if let Some(path) = &args.calls {
        output::write_file(path, &calls_csv(&resolved.scenario, plan.seed)?)?;
    }
    if result.stopped == StopReason::Interrupted {
        return Ok(130);
    }
    Ok(ExitStatus::of(&result.objectives).code())
}

fn plan(args: &Run, resolved: &Resolved) -> Plan {
    let replications = match (args.replications, resolved.plan.replications) {
        (Some(n), _) | (None, Replications::Fixed(n)) => Sample::Fixed(n),
        (None, Replications::Auto) => Sample::Auto,
    };
    Plan {
        seed: args.seed.unwrap_or(resolved.plan.seed),
        replications,
        threads: args.threads.map(|n| n as usize),
        steady_state: resolved.plan.steady_state,
    }
}

/// Runs the replications; a failed audit of any of them is a bug, not a result.
fn simulate(
    (scenario, uncertain): (&Scenario, &[Uncertain]),
    plan: &Plan,
    judged: &[Objective],
    quiet: bool,
) -> Result<RunResult, Error> {
    let stop = stop_flag();
    let findings = Mutex::new(Vec::new());
    let runner = |scenario: &Scenario, seed: u64, replication: u32| {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let simulation = Simulation::new(scenario, seed, replication);
        let outcome = simulation.run_with(&|| stop.load(Ordering::Relaxed)).0?;
        if let (false, Ok(mut found)) = (outcome.audit.is_empty(), findings.lock()) {
            found.extend(outcome.audit.iter().cloned());
        }
        Some(outcome)
    };
    let bar = Bar::new(quiet);
    let result = experiments::run_calibrated(scenario, uncertain, plan, judged, &runner, &bar);
    bar.clear();
    if let Some(finding) = findings.into_inner().unwrap_or_default().first() {
        return Err(Error::Bug(format!("the audit found: {finding}")));
    }
    result.map_err(|error| match error {
        ReplicateError::NothingFinished => Error::Interrupted,
        threads => Error::Usage(threads.to_string()),
    })
}

/// Pools whose times rest on one calibration, and how far these may be off.
fn uncertain(resolved: &Resolved) -> Vec<Uncertain> {
    let mut groups: BTreeMap<&str, Vec<UncertainPool>> = BTreeMap::new();
    for (at, pool) in resolved.calibration.iter().enumerate() {
        let Some(TimeSpread { group, iteration, first_token, host_is_stated }) = &pool.spread
        else {
            continue;
        };
        groups.entry(group).or_default().push(UncertainPool {
            pool: PoolId(at as u32),
            iteration: *iteration,
            first_token: *first_token,
            host_is_stated: *host_is_stated,
        });
    }
    groups.into_values().map(|pools| Uncertain { pools }).collect()
}

/// How fast it was. It is no part of a report, which is a function of the scenario and the seed.
fn speed(result: &RunResult, took: Duration) -> String {
    let requests: u64 = result.series.windows.iter().map(|window| window.arrived).sum();
    let seconds = took.as_secs_f64();
    let per_second = count((requests as f64 / seconds) as u64);
    let (requests, took) = (count(requests), number(seconds, Unit::Seconds));
    format!("{requests} requests simulated in {took}, {per_second} per second")
}

fn lockstep(scenario: &Scenario, seed: u64, quiet: bool) -> Result<(), Error> {
    let start = || {
        let mut simulation = Simulation::new(scenario, seed, 0);
        std::iter::from_fn(move || simulation.step())
    };
    let events = check_determinism(start).map_err(|error| Error::Bug(error.to_string()))?;
    if !quiet {
        crate::output::tell!("determinism: {events} events of replication 0 are equal in two runs");
    }
    Ok(())
}

/// Prints the report and writes it wherever it was asked for.
fn write(args: &Run, resolved: &Resolved, result: &RunResult) -> Result<(), Error> {
    let notes = resolved.warnings.iter();
    let report = Report {
        result,
        scenario: ScenarioInfo {
            name: resolved.name.clone(),
            question: resolved.question.clone(),
            sha256: resolved.sha256.clone(),
        },
        provenance: provenance(resolved),
        notes: notes
            .map(|note| format!("{}: {}", note.site.place, note.message))
            .chain(redrawn(&resolved.scenario, result))
            .collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let json = || reports::json::render(&report);
    let markdown = || reports::markdown::render(&report);
    let text = |color| reports::text::render(&report, color, WIDTH);
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    output::print(&match args.format {
        Format::Text => text(color),
        Format::Json => json(),
        Format::Md => markdown(),
    })?;
    if let Some(path) = &args.json {
        output::write_file(path, &json())?;
    }
    if let Some(path) = &args.md {
        output::write_file(path, &markdown())?;
    }
    if let Some(folder) = &args.out {
        let files = [("run.json", json()), ("run.md", markdown()), ("run.txt", text(false))];
        output::write_folder(Path::new(folder), &files)?;
    }
    Ok(())
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
fn provenance(resolved: &Resolved) -> Vec<ProvenanceRow> {
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
        Simulation::recording(scenario, seed, 0, KeepAll::default()).run_with(&|| false);
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
