//! `surgeline what-if`: today beside tomorrow.

use super::run::{WIDTH, info, notes, provenance};
use super::{blueprint, levers, simulate};
use crate::args::{Simulating, Source, Writing};
use crate::error::{Error, halt_code};
use crate::limits::Watch;
use crate::output::{Documents, Places};
use crate::progress::Bar;
use experiments::repair::Lever;
use experiments::what_if::{Question, WhatIfError, what_if};
use experiments::{Case, ExitStatus, Sample};
use reports::command::Named;
use reports::what_if::WhatIfReport;
use scenarios::{Blueprint, Resolved, multiplied};
use sim::workload::ScaleHow;
use std::path::PathBuf;

/// What changes if traffic doubles, or anything else: spend, p95, the first bottleneck, the repair.
///
/// Exit codes, of tomorrow: 0 every objective is met · 1 one is missed · 3 one is undecided · 4 or 130
/// stopped at a limit or by Ctrl-C, what is finished is reported.
#[derive(Debug, clap::Args)]
pub(crate) struct WhatIf {
    /// Scenario file, or the name of a shipped one (see `surgeline list`): today.
    pub(crate) scenario: PathBuf,
    /// Policy file or the name of a shipped policy, instead of the one the scenario names.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Traffic of tomorrow, as a factor of today's: 2x.
    #[arg(long, value_name = "FACTOR", value_parser = factor, allow_hyphen_values = true)]
    pub(crate) traffic: Option<f64>,
    /// What the factor means: more users, the same users sending faster, or larger bursts.
    #[arg(long, value_enum)]
    pub(crate) how: Option<How>,
    /// Change one value tomorrow: --set providers.openai-mini.rpm=20_000 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// What a repair may change: --vary pools.h100.replicas=2..8 (repeatable). Default: the
    /// scenario's [levers], or else replicas, tensor parallelism, thresholds, caches, overflow,
    /// queue limits and rate limits.
    #[arg(long = "vary", value_name = "KEY=VALUES")]
    pub(crate) vary: Vec<String>,
    /// Leave out what the error of calibrated times may do.
    #[arg(long)]
    pub(crate) no_calibration: bool,
    #[command(flatten)]
    pub(crate) simulating: Simulating,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum How {
    /// New users beside the old ones.
    MoreUsers,
    /// The same users, sending faster.
    FasterUsers,
    /// The same traffic in larger bursts.
    Burstier,
}

impl How {
    fn scale(self) -> ScaleHow {
        match self {
            How::MoreUsers => ScaleHow::MoreUsers,
            How::FasterUsers => ScaleHow::FasterUsers,
            How::Burstier => ScaleHow::Burstier,
        }
    }

    fn words(self, factor: &str) -> String {
        match self {
            How::MoreUsers => format!("{factor} the users"),
            How::FasterUsers => format!("users {factor} as fast"),
            How::Burstier => format!("bursts {factor} as large"),
        }
    }
}

/// A factor as scenarios write it: `2x` or `2`.
fn factor(text: &str) -> Result<f64, String> {
    let mut times = text.replace('×', "x");
    if !times.ends_with('x') {
        times.push('x');
    }
    match scenarios::quantity::factor(&times) {
        Ok(value) if value > 0.0 => Ok(value),
        Ok(_) => Err("the factor has to be above 0".to_owned()),
        Err(error) => Err(format!("{error}; write it like 2x")),
    }
}

pub(super) fn run(args: &WhatIf) -> Result<u8, Error> {
    let source = args.source()?;
    let blueprint = blueprint(&source)?;
    let today = simulate::prepared(blueprint.resolve(&[])?)?;
    let set = blueprint.resolve(&args.set)?;
    let traffic = |factor: f64| -> Result<Vec<String>, String> {
        let mut changes = args.set.clone();
        changes.extend(multiplied(&set, factor, args.how.map(How::scale))?);
        Ok(changes)
    };
    let changes = match args.traffic {
        Some(factor) => traffic(factor).map_err(Error::Usage)?,
        None => args.set.clone(),
    };
    let tomorrow = blueprint.resolve(&changes)?;
    let (levers, refused) = levers_of(args, &blueprint, &changes, &tomorrow)?;
    Places::of(&args.writing).inputs(&tomorrow.files).check()?;
    let plan = simulate::plan(&args.simulating, &today);
    let watch = Watch::begin(&args.simulating.limits);
    simulate::lockstep(&args.simulating, today.scenario(), plan.seed, &watch)?;
    let bar = Bar::new(args.simulating.quiet);
    let question = Question {
        today: &today,
        changes: &changes,
        traffic: &traffic,
        levers: &levers,
        with_calibration: !args.no_calibration,
    };
    let resolve = |changes: &[String]| variant(&blueprint, changes);
    let result = what_if(&question, &resolve, &plan, (&watch.runner(), &bar));
    bar.clear();
    watch.audited()?;
    let result = result.map_err(|error| match error {
        WhatIfError::Refused(text) => Error::Usage(text),
        WhatIfError::Failed(error) => simulate::failed(error),
    })?;
    // How many replications are enough for both days may be more than for one.
    let enough = matches!(plan.replications, Sample::Auto);
    let enough = enough.then_some(result.compared.after.replications);
    let Simulating { seed, replications, .. } = args.simulating;
    let named = Named { seed, replications: replications.or(enough), ..source.named() };
    let report = WhatIfReport {
        result: &result,
        scenario: info(&today.resolved),
        named,
        question: asked(args),
        changes,
        notes: refused.into_iter().chain(notes(&tomorrow)).collect(),
        provenance: provenance(&today.resolved),
        version: env!("CARGO_PKG_VERSION"),
    };
    Documents {
        name: "what-if",
        text: &|color| reports::what_if::text(&report, color, WIDTH),
        json: &|| reports::json::what_if::render(&report),
        markdown: &|| reports::what_if::markdown(&report),
        html: &|| reports::what_if::html(&report),
        topics: &|| reports::what_if::topics(&report),
    }
    .write(&args.writing)?;
    Ok(match &result.halt {
        Some(halt) => halt_code(halt),
        None => ExitStatus::of(&result.compared.after.objectives).code(),
    })
}

impl WhatIf {
    /// Today, if anything is different tomorrow.
    fn source(&self) -> Result<Source, Error> {
        if self.traffic.is_none() && self.set.is_empty() {
            return Err(Error::Usage(
                "what is different tomorrow? Say --traffic 2x, or --set KEY=VALUE".to_owned(),
            ));
        }
        levers::common(&self.set)?;
        let (scenario, policy) = (self.scenario.clone(), self.policy.clone());
        Ok(Source { scenario, policy, set: Vec::new() })
    }
}

/// A variant of the scenario, or what is wrong with it.
fn variant(blueprint: &Blueprint, changes: &[String]) -> Result<Case, String> {
    let resolved = blueprint.resolve(changes).map_err(|problems| problems.to_string())?;
    Case::new(resolved)
}

/// What a repair may change: as the command line says, or the file, or the usual. And which of the
/// values the scenario does not take.
fn levers_of(
    args: &WhatIf,
    blueprint: &Blueprint,
    changes: &[String],
    tomorrow: &Resolved,
) -> Result<(Vec<Lever>, Vec<String>), Error> {
    let mut declared = levers::declared(&args.vary, &tomorrow.levers)?;
    match levers::asked(&declared) {
        Some(lever) if !args.vary.is_empty() => {
            return Err(Error::Usage(format!(
                "{} is no repair: it says what is asked; set it with --set",
                lever.key
            )));
        }
        // The file declares them for sweeps.
        _ => declared.retain(|lever| !levers::is_asked(lever)),
    }
    if declared.is_empty() {
        let usual = tomorrow.default_levers.iter();
        let usual =
            usual.map(|lever| Lever { key: lever.key.clone(), changes: lever.candidates.clone() });
        return Ok((usual.collect(), Vec::new()));
    }
    let refused = levers::usable(&declared, blueprint, changes)?;
    Ok((levers::for_search(declared), refused))
}

/// What tomorrow is, in words.
fn asked(args: &WhatIf) -> String {
    let traffic = args.traffic.map(|factor| {
        let factor = format!("{factor}×");
        args.how.map_or_else(|| format!("{factor} the traffic"), |how| how.words(&factor))
    });
    let parts: Vec<String> = traffic.into_iter().chain(args.set.iter().cloned()).collect();
    parts.join(" and ")
}
