//! `surgeline sweep`: many variants of a scenario, cell by cell into a folder.
//!
//! Invariants: nothing is written outside of the folder; a cell is there as a whole or not at all;
//! the bytes of a finished folder depend on what is swept alone, not on how often it was stopped,
//! by how many processes and on how many threads it was run.
//!
//! Deliberately absent: judging (objectives are columns, not exit codes), and distributing work: a
//! shard is told which it is.

mod crew;
mod folder;
mod merge;
#[cfg(test)]
mod tests;

use super::{blueprint, levers, simulate};
use crate::args::{Format, Simulating, Source};
use crate::disk::OsDisk;
use crate::error::{Error, halt_code};
use crate::limits::Watch;
use crate::output::{self, Places};
use crate::progress::CellBar;
use clap::ValueEnum;
use crew::{Crew, Ended, Keeper};
use experiments::Case;
use experiments::sweep::design;
use experiments::sweep::{Outcome, Sweep as Experiment};
use folder::{Folder, Found, Shard, Start};
use merge::Merge;
use reports::command::Named;
use reports::sweep::{CellDocument, Manifest, ScenarioName};
use scenarios::resolved::Lever;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Trajectories of Morris where nobody says how many; ten is what Morris's followers settled on
/// (Campolongo, Cariboni and Saltelli 2007).
const TRAJECTORIES: u32 = 10;
/// Points of a Latin hypercube for each lever, where nobody says how many (Loeppky, Sacks and Welch,
/// "Choosing the sample size of a computer experiment", Technometrics 51, 2009).
const POINTS_PER_LEVER: u32 = 10;
/// Cells that are looked at before the first is run, if the scenario refuses the first.
const TRIED: usize = 64;

/// What to sweep, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Sweep {
    #[command(flatten)]
    source: Source,
    /// Vary one value: --vary pools.h100.replicas=1..8 or --vary pools.h100.gpu=h100-sxm,h200-sxm
    /// (repeatable), instead of the scenario's [levers].
    #[arg(long, value_name = "KEY=VALUES")]
    vary: Vec<String>,
    /// The sweep's folder, which grows cell by cell.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which cells.
    #[arg(long, value_enum, default_value = "grid")]
    design: Design,
    /// Points of a Latin hypercube (default: 10 per lever), or trajectories of Morris (default: 10).
    #[arg(long, value_name = "N")]
    points: Option<u32>,
    /// Go on with the sweep in the folder: whole cells are kept, the others are run.
    #[arg(long)]
    resume: bool,
    /// Run one of N parts, "1/8" to "8/8"; parts may share the folder. The last one merges.
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    #[command(flatten)]
    simulating: Simulating,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Also write one HTML page with everything in it to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also draw its pictures as SVG and PNG into this new folder.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// How cells are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Design {
    /// Every combination of values.
    Grid,
    /// A Latin hypercube: each lever's values spread evenly over so many points.
    Lhs,
    /// Elementary effects: which levers matter.
    Morris,
}

pub(super) fn sweep(args: &Sweep) -> Result<u8, Error> {
    let blueprint = blueprint(&args.source)?;
    let base = simulate::prepared(blueprint.resolve(&args.source.set)?)?;
    let plan = simulate::plan(&args.simulating, &base);
    let levers = levers_of(args, &base)?;
    let design = args.design(levers.len())?;
    let set = args.source.set.clone();
    let experiment = Experiment::new(blueprint, set, levers, design, &plan)
        .map_err(|error| Error::Usage(error.to_string()))?;
    let (name, sha256) = (base.resolved.name.clone(), base.resolved.sha256.clone());
    let scenario = ScenarioName { name, sha256 };
    let manifest = Manifest::of(&experiment, scenario, design, env!("CARGO_PKG_VERSION"));
    let places = Places::default().files([&args.html]).folder("--plots", args.plots.as_deref());
    places.inputs(&base.resolved.files).check()?;
    let watch = Watch::begin(&args.simulating.limits);
    look_before(&experiment, args.simulating.quiet)?;
    let start = Start { folder: &args.out, resume: args.resume, shard: args.shard };
    let mut folder = Folder::open(OsDisk, start, &manifest, &experiment)?;
    simulate::lockstep(&args.simulating, base.scenario(), plan.seed, &watch)?;
    let ended = run(args, &experiment, &mut folder, &watch)?;
    finish(args, &experiment, &manifest, (folder, &ended))?;
    Ok(ended.halted.as_ref().map_or(0, halt_code))
}

impl Sweep {
    /// The command that repeats it.
    fn command(&self) -> String {
        let vary = self.vary.iter().map(|vary| ("--vary", vary.clone()));
        let mut options: Vec<(&str, String)> = vary.collect();
        let design = self.design.to_possible_value();
        let design = design.filter(|_| self.design != Design::Grid);
        options.extend(design.map(|design| ("--design", design.get_name().to_owned())));
        options.extend(self.points.map(|points| ("--points", points.to_string())));
        options.push(("--out", self.out.display().to_string()));
        let Simulating { seed, replications, .. } = self.simulating;
        let named = Named { seed, replications, ..self.source.named() };
        named.command("sweep", &self.source.set, &options)
    }

    fn design(&self, levers: usize) -> Result<design::Design, Error> {
        Ok(match (self.design, self.points) {
            (Design::Grid, Some(_)) => {
                let message =
                    "--points is for --design lhs and morris; a grid has every combination";
                return Err(Error::Usage(message.to_owned()));
            }
            (Design::Grid, None) => design::Design::Grid,
            (Design::Lhs, points) => {
                let usual = u32::try_from(levers).unwrap_or(u32::MAX);
                let usual = usual.saturating_mul(POINTS_PER_LEVER);
                design::Design::LatinHypercube { points: points.unwrap_or(usual) }
            }
            (Design::Morris, points) => {
                design::Design::Morris { trajectories: points.unwrap_or(TRAJECTORIES) }
            }
        })
    }
}

/// What is varied, if anything is.
fn levers_of(args: &Sweep, base: &Case) -> Result<Vec<Lever>, Error> {
    let levers = levers::declared(&args.vary, &base.resolved.levers)?;
    if levers.is_empty() {
        let message = "nothing to vary: say --vary KEY=VALUES, or add [levers] to the scenario";
        return Err(Error::Usage(message.to_owned()));
    }
    if args.source.policy.is_some() && levers.iter().any(|lever| lever.key == "policy") {
        let message = "--policy fixes the policy, which a lever would change";
        return Err(Error::Usage(message.to_owned()));
    }
    Ok(levers)
}

/// Refuses a sweep none of whose cells can be run, as one with a misspelt key; says it when the
/// first one cannot.
fn look_before(experiment: &Experiment, quiet: bool) -> Result<(), Error> {
    let cells = experiment.cells().count();
    let tried = cells.min(TRIED);
    // Spread evenly over all cells, the first one among them.
    let mut looked = (0..tried).map(|at| at * cells / tried);
    let first = match looked.next().map_or(Ok(None), |cell| experiment.case(cell).map(Some)) {
        Ok(Some(case)) => {
            if !quiet {
                simulate::warn(&case.resolved);
            }
            return Ok(());
        }
        Ok(None) => return Ok(()),
        Err(problems) => problems,
    };
    let overrides =
        experiment.overrides(0).into_iter().map(|(key, value)| format!("{key}={value}"));
    let overrides = overrides.collect::<Vec<_>>().join(" ");
    if !looked.any(|cell| experiment.case(cell).is_ok()) {
        return Err(Error::Usage(format!(
            "the scenario refuses all {tried} cells that were tried; the first, {overrides}:\n{first}"
        )));
    }
    if !quiet {
        crate::output::tell!(
            "warning: the scenario refuses the first cell, {overrides}; such cells are recorded, \
             and the others are run:\n{first}"
        );
    }
    Ok(())
}

fn run(
    args: &Sweep,
    experiment: &Experiment,
    folder: &mut Folder<'_, OsDisk>,
    watch: &Watch,
) -> Result<Ended, Error> {
    let todo = folder.missing()?;
    let folder = &*folder;
    let bar = CellBar::new(args.simulating.quiet);
    let threads = args.simulating.threads.map_or(0, |n| n as usize);
    let crew = Crew { experiment, watch, bar: &bar };
    let keeper = IntoFolder { experiment, folder, repeats: experiment.cells().repeats() };
    let ended = crew.run(threads, &todo, &keeper);
    bar.clear();
    ended
}

/// Cells into files.
struct IntoFolder<'a> {
    experiment: &'a Experiment,
    folder: &'a Folder<'a, OsDisk>,
    repeats: BTreeMap<usize, usize>,
}

impl Keeper for IntoFolder<'_> {
    fn has(&self, cell: usize) -> Result<bool, Error> {
        let Some(&first) = self.repeats.get(&cell) else { return Ok(false) };
        // Where the first of its kind is not there yet, the same is run once more.
        let Found::Whole(document) = self.folder.read(first)? else { return Ok(false) };
        self.folder.store(cell, &document.repeated(cell))?;
        Ok(true)
    }

    fn keep(&self, cell: usize, outcome: &Outcome) -> Result<(), Error> {
        let document = CellDocument::of(cell, &self.experiment.overrides(cell), outcome);
        self.folder.store(cell, &document)
    }
}

/// Merges what is complete, prints what is there, and says what is missing.
fn finish(
    args: &Sweep,
    experiment: &Experiment,
    manifest: &Manifest,
    (folder, ended): (Folder<'_, OsDisk>, &Ended),
) -> Result<(), Error> {
    let folder = folder.alone_if_complete()?;
    let merge = Merge::of(&folder, manifest, experiment)?;
    if merge.is_complete() {
        merge.write()?;
    }
    let page =
        args.html.as_ref().map(|path| output::write_file(path, &merge.html(&args.command())));
    let plots = args.plots.as_ref().map(|folder| output::write_plots(folder, &merge.topics()));
    let written = [Some(merge.print(args.format)), page, plots];
    written.into_iter().flatten().collect::<Result<(), _>>()?;
    let (there, all, shown) = (merge.there(), manifest.cells, args.out.display());
    if let Some(halt) = &ended.halted {
        crate::output::tell!(
            "surgeline: {halt}; {there} of {all} cells are in {shown}; the same command with \
             --resume goes on"
        );
    } else if !args.simulating.quiet {
        let (kept, run) = (folder.kept(), ended.done);
        let merged = match merge.is_complete() {
            true => "merged".to_owned(),
            false => format!("{} are missing, whoever has the last one merges", all - there),
        };
        crate::output::tell!("{shown}: {run} cells run, {kept} kept; {there} of {all}, {merged}");
    }
    Ok(())
}
