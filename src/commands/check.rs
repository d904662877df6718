//! `surgeline check`: the gate for a change of policy.

use super::run::{WIDTH, info, notes, provenance};
use super::{blueprint, simulate};
use crate::args::{Format, Simulating, Source, Writing};
use crate::error::{Error, halt_code};
use crate::limits::{Limits, Watch};
use crate::output::{self, Documents, Places};
use crate::progress::Bar;
use experiments::check::{CheckPlan, CheckResult, check};
use experiments::gate::{Level, Verdict};
use experiments::{Case, Halt, ReplicateError, StopReason, examples};
use reports::check::{ArmInfo, CheckReport};
use reports::command::Named;
use scenarios::resolved::CheckSettings;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tasks that are told.
const EXAMPLES: usize = 3;

/// Pairs of replications with which a verdict begins: of fewer the intervals cover less than they say.
const LEAST_PAIRS: u32 = 10;

/// Check a changed policy against the one in production: exit code 0 pass, 1 fail, 3 inconclusive.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Scenario file, or the name of a shipped one.
    pub(crate) scenario: PathBuf,
    /// Policy in production: a file or a shipped policy. Default: the one the scenario names.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Policy to be checked: a file or a shipped policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) candidate: PathBuf,
    /// File with `[gates]` and `[check]`, instead of the scenario's.
    #[arg(long, value_name = "FILE")]
    pub(crate) gates: Option<PathBuf>,
    /// Change one value in both: --set traffic.web.scale=2x (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) simulating: Simulating,
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// Also write the Markdown report to this file: the same as --md.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Also write JUnit's XML to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Print annotations for GitHub, and add the report to the step's summary.
    #[arg(long)]
    pub(crate) github: bool,
}

pub(super) fn run(args: &Check) -> Result<u8, Error> {
    let (baseline, candidate) = arms(args)?;
    let read = baseline.resolved.files.iter().chain(&candidate.resolved.files);
    let places = Places::of(&args.writing).files([&args.markdown, &args.junit]);
    places.inputs(read).check()?;
    if candidate.gates.is_empty() {
        return Err(Error::Usage(
            "nothing to check: [gates] is empty and there is no objective; without [gates] the usual \
             ones hold"
                .to_owned(),
        ));
    }
    let settings = candidate.resolved.check;
    if let Some(few) = args.simulating.replications.filter(|&pairs| pairs < LEAST_PAIRS) {
        return Err(Error::Usage(format!(
            "--replications {few}: a check needs at least {LEAST_PAIRS} pairs of replications to say \
             how sure it is, as `pairs` of [check] does; leave it out, or give --replications \
             {LEAST_PAIRS} or more"
        )));
    }
    let how = plan(args, &candidate, &settings);
    let watch = Watch::begin(&limits(args, &settings));
    simulate::lockstep(&args.simulating, candidate.scenario(), how.plan.seed, &watch)?;
    let bar = Bar::new(args.simulating.quiet);
    let scenarios = (baseline.scenario(), candidate.scenario());
    let judged = (candidate.gates.as_slice(), candidate.objectives.as_slice());
    let result = check(scenarios, judged, &how, &watch.runner(), &bar);
    bar.clear();
    watch.audited()?;
    let mut result = result.map_err(|error| match error {
        ReplicateError::NothingFinished(halt) => Error::Halted(renamed(halt, args, &settings)),
        other => simulate::failed(other),
    })?;
    if let StopReason::Halted(halt) = &mut result.stopped {
        *halt = renamed(halt.clone(), args, &settings);
    }
    if !result.repeats {
        return Err(Error::Bug("the baseline run twice differs from itself".to_owned()));
    }
    let examples = examples::worse(scenarios, how.plan.seed, EXAMPLES, &|_| watch.must_stop());
    let report = CheckReport {
        result: &result,
        examples: &examples,
        scenario: info(&candidate.resolved),
        baseline: arm(&baseline, args.baseline.as_deref()),
        candidate: arm(&candidate, Some(&args.candidate)),
        inconclusive: experiments::case::level(settings.inconclusive),
        command: command(args),
        notes: notes(&candidate.resolved).collect(),
        provenance: provenance(&candidate.resolved),
        version: env!("CARGO_PKG_VERSION"),
    };
    write(args, &report)?;
    Ok(code(&result, report.inconclusive))
}

/// Both arms: the same scenario, gates and overrides under two policies.
fn arms(args: &Check) -> Result<(Case, Case), Error> {
    let source = Source {
        scenario: args.scenario.clone(),
        policy: args.baseline.clone(),
        set: args.set.clone(),
    };
    let mut baseline = blueprint(&source)?;
    if let Some(gates) = &args.gates {
        baseline = baseline.with_gates(gates)?;
    }
    let candidate = baseline.with_policy(&args.candidate)?;
    Ok((
        simulate::prepared(baseline.resolve(&args.set)?)?,
        simulate::prepared(candidate.resolve(&args.set)?)?,
    ))
}

fn plan(args: &Check, case: &Case, settings: &CheckSettings) -> CheckPlan {
    let pairs = args.simulating.replications.unwrap_or(settings.pairs).max(2);
    CheckPlan {
        plan: simulate::plan(&args.simulating, case),
        pairs,
        most_pairs: settings.most_pairs.max(pairs),
        confidence: settings.confidence,
        power: settings.power,
    }
}

/// The limits asked for, and the time that the file gives a check.
fn limits(args: &Check, settings: &CheckSettings) -> Limits {
    let mut limits = args.simulating.limits.clone();
    if limits.max_wall.is_none() {
        let time = Duration::from_secs_f64(settings.time.as_secs_f64());
        let text = scenarios::quantity::show_span(settings.time);
        limits.max_wall = Some((time, text));
    }
    limits
}

/// The time that the file gives a check under its own name: nobody asked for `--max-wall`.
fn renamed(halt: Halt, args: &Check, settings: &CheckSettings) -> Halt {
    match halt {
        Halt::Limit(limit)
            if args.simulating.limits.max_wall.is_none() && limit.starts_with("--max-wall") =>
        {
            let time = scenarios::quantity::show_span(settings.time);
            Halt::Limit(format!("the {time} of [check]"))
        }
        other => other,
    }
}

/// The command that repeats it.
fn command(args: &Check) -> String {
    let path = |option, path: &Option<PathBuf>| {
        path.as_ref().map(|path| (option, path.display().to_string()))
    };
    let candidate = ("--candidate", args.candidate.display().to_string());
    let options = path("--baseline", &args.baseline).into_iter();
    let options = options.chain([candidate]).chain(path("--gates", &args.gates));
    let Simulating { seed, replications, .. } = args.simulating;
    let scenario = args.scenario.display().to_string();
    let named = Named { scenario, seed, replications, ..Named::default() };
    named.command("check", &args.set, &options.collect::<Vec<_>>())
}

/// What an arm is called.
fn arm(case: &Case, policy: Option<&Path>) -> ArmInfo {
    ArmInfo {
        policy: policy.map_or_else(
            || format!("the policy of {}", case.resolved.name),
            |policy| policy.display().to_string(),
        ),
        file: policy.filter(|policy| policy.is_file()).map(|policy| policy.display().to_string()),
        sha256: case.resolved.sha256.clone(),
    }
}

fn write(args: &Check, report: &CheckReport<'_>) -> Result<(), Error> {
    let markdown = || reports::check::markdown(report);
    let text = |color| {
        let text = reports::check::text(report, color, WIDTH);
        if args.github { reports::ci::for_log(&text) } else { text }
    };
    let documents = Documents {
        name: "check",
        text: &text,
        json: &|| match args.github {
            // The same text, of which GitHub's runner makes no command.
            true => reports::json::check::render(report).replace("##[", "##\\u005b"),
            false => reports::json::check::render(report),
        },
        markdown: &markdown,
        html: &|| reports::check::html(report),
        topics: &|| reports::check::topics(report),
    }
    .write(&args.writing);
    let folded = args.markdown.as_ref().map(|path| output::write_file(path, &markdown()));
    let junit = args.junit.as_ref().map(|path| {
        let xml = reports::ci::junit(report).map_err(|error| Error::Bug(error.to_string()))?;
        output::write_file(path, &xml)
    });
    let github = args.github.then(|| github(args, report));
    [Some(documents), folded, junit, github].into_iter().flatten().collect()
}

/// Annotations go where GitHub's runner reads them: on stdout, unless that is a document; the summary
/// is added to the file that the runner names.
fn github(args: &Check, report: &CheckReport<'_>) -> Result<(), Error> {
    let annotations = reports::ci::annotations(report);
    let printed = match args.writing.format {
        _ if annotations.is_empty() => Ok(()),
        Format::Text => output::print(&annotations),
        Format::Json | Format::Md => {
            crate::output::tell!("{}", annotations.trim_end());
            Ok(())
        }
    };
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) else {
        return printed;
    };
    let mut open = std::fs::OpenOptions::new();
    let written = open
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(reports::ci::summary(report).as_bytes()));
    written.map_err(|source| Error::Write { path, source }).and(printed)
}

fn code(result: &CheckResult, inconclusive: Level) -> u8 {
    if let StopReason::Halted(halt) = &result.stopped {
        return halt_code(halt);
    }
    match (result.verdict, inconclusive) {
        (Verdict::Pass, _) | (Verdict::Inconclusive, Level::Warn) => 0,
        (Verdict::Fail, _) => 1,
        (Verdict::Inconclusive, Level::Fail) => 3,
    }
}
