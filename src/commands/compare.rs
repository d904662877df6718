//! `surgeline compare`: two scenarios side by side under the same random numbers.

use super::run::{WIDTH, info, notes};
use super::simulate;
use crate::args::{Simulating, Source, Writing};
use crate::error::Error;
use crate::limits::Watch;
use crate::output::{Documents, Places};
use crate::progress::Bar;
use experiments::Case;
use experiments::compare::{Compared, compare};
use experiments::examples::{self, Example};
use reports::command::{Named, quoted};
use reports::compare::CompareReport;
use std::path::PathBuf;

/// Tasks that are told.
const EXAMPLES: usize = 3;

/// Compare two scenarios, or one under two policies, number by number.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// First scenario file, or the name of a shipped one.
    pub(crate) first: PathBuf,
    /// Second; leave it out to compare the first under another policy or with --set-second.
    pub(crate) second: Option<PathBuf>,
    /// Policy of the first, instead of the one it names.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Policy of the second likewise; that of the first when there is no second scenario.
    #[arg(long, value_name = "FILE")]
    pub(crate) second_policy: Option<PathBuf>,
    /// Change one value in both: --set pools.h100.replicas=4 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Change one value in the second only (repeatable).
    #[arg(long = "set-second", value_name = "KEY=VALUE")]
    pub(crate) set_second: Vec<String>,
    #[command(flatten)]
    pub(crate) simulating: Simulating,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

impl Compare {
    /// A problem of an override of the second, under the name of the option that it came by.
    fn of_second(&self, error: Error) -> Error {
        let Error::Input(problems) = &error else { return error };
        let mut text = problems.to_string();
        for set in &self.set_second {
            text = text.replace(&format!("--set {set}"), &format!("--set-second {set}"));
        }
        Error::Usage(text)
    }

    fn sources(&self) -> Result<[Source; 2], Error> {
        let changes = self.second_policy.is_some() || !self.set_second.is_empty();
        if self.second.is_none() && !changes {
            return Err(Error::Usage(
                "compare with what? Name a second scenario, or what is different: --second-policy \
                 FILE or --set-second KEY=VALUE"
                    .to_owned(),
            ));
        }
        let inherited = if self.second.is_none() { self.policy.clone() } else { None };
        let first = Source {
            scenario: self.first.clone(),
            policy: self.policy.clone(),
            set: self.set.clone(),
        };
        let second = Source {
            scenario: self.second.clone().unwrap_or_else(|| self.first.clone()),
            policy: self.second_policy.clone().or(inherited),
            set: self.set.iter().chain(&self.set_second).cloned().collect(),
        };
        Ok([first, second])
    }
}

pub(super) fn run(args: &Compare) -> Result<u8, Error> {
    let [first, second] = args.sources()?;
    super::levers::common(&args.set_second)?;
    let before = simulate::case(&first)?;
    let after = simulate::case(&second).map_err(|error| args.of_second(error))?;
    let read = before.resolved.files.iter().chain(&after.resolved.files);
    Places::of(&args.writing).inputs(read).check()?;
    let plan = simulate::plan(&args.simulating, &before);
    let watch = Watch::begin(&args.simulating.limits);
    simulate::lockstep(&args.simulating, before.scenario(), plan.seed, &watch)?;
    let bar = Bar::new(args.simulating.quiet);
    let result = compare((&before, &after), false, &plan, &watch.runner(), &bar);
    bar.clear();
    watch.audited()?;
    let result = result.map_err(simulate::failed)?;
    let examples = self::examples((&before, &after), plan.seed, &watch);
    let Simulating { seed, replications, .. } = args.simulating;
    let named = Named { seed, replications, ..first.named() };
    let report = report(&result, &examples, (&before, &first), (&after, &second), named);
    Documents {
        name: "compare",
        text: &|color| reports::compare::text(&report, color, WIDTH),
        json: &|| reports::json::compare::render(&report),
        markdown: &|| reports::compare::markdown(&report),
        html: &|| reports::compare::html(&report),
        topics: &|| reports::compare::topics(&report),
    }
    .write(&args.writing)?;
    Ok(simulate::code(&result.before.stopped, &[]))
}

/// Single tasks that fare worse in the second.
pub(crate) fn examples((before, after): (&Case, &Case), seed: u64, watch: &Watch) -> Vec<Example> {
    let scenarios = (before.scenario(), after.scenario());
    examples::worse(scenarios, seed, EXAMPLES, &|_| watch.must_stop())
}

/// What was found of two scenarios and where it comes from.
pub(crate) fn report<'a>(
    result: &'a Compared,
    examples: &'a [Example],
    (before, first): (&Case, &Source),
    (after, second): (&Case, &Source),
    named: Named,
) -> CompareReport<'a> {
    CompareReport {
        result,
        examples,
        scenarios: [info(&before.resolved), info(&after.resolved)],
        names: names((before, first), (after, second)),
        command: command(named, first, second),
        notes: both_notes(before, after),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// The command that repeats it, where there is one: where the second adds overrides to the first's.
fn command(named: Named, first: &Source, second: &Source) -> Option<String> {
    let added = second.set.strip_prefix(first.set.as_slice())?;
    let is_one = first.scenario == second.scenario;
    if is_one && second.policy.is_none() && first.policy.is_some() {
        return None;
    }
    let verb = match is_one {
        true => "compare".to_owned(),
        false => format!("compare {}", quoted(&named.scenario)),
    };
    let named = Named { scenario: second.scenario.display().to_string(), ..named };
    let policy =
        second.policy.as_ref().filter(|policy| !is_one || first.policy.as_ref() != Some(*policy));
    let policy = policy.map(|policy| ("--second-policy", policy.display().to_string()));
    let added = added.iter().map(|set| ("--set-second", set.clone()));
    Some(named.command(&verb, &first.set, &policy.into_iter().chain(added).collect::<Vec<_>>()))
}

/// What was noticed of either, once.
fn both_notes(before: &Case, after: &Case) -> Vec<String> {
    let mut all: Vec<String> = notes(&before.resolved).collect();
    let further: Vec<String> = notes(&after.resolved).filter(|note| !all.contains(note)).collect();
    all.extend(further);
    all
}

/// What the arms are called: where both are one scenario, by the policy and the values that differ.
fn names(first: (&Case, &Source), second: (&Case, &Source)) -> [String; 2] {
    let name = |(case, of): (&Case, &Source), other: &Source| {
        let mut name = case.resolved.name.clone();
        if of.policy != other.policy
            && let Some(policy) = &of.policy
        {
            name += &format!(" under {}", policy.display());
        }
        let own: Vec<&str> =
            of.set.iter().filter(|set| !other.set.contains(set)).map(String::as_str).collect();
        if !own.is_empty() {
            name += &format!(" with {}", own.join(", "));
        }
        name
    };
    [name(first, second.1), name(second, first.1)]
}
