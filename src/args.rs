//! What can be asked for on the command line.

use crate::commands::calibrate::Calibrate;
use crate::commands::check::Check;
use crate::commands::compare::Compare;
use crate::commands::plan::Plan;
use crate::commands::run::tables::Tabling;
use crate::commands::serve::Serve;
use crate::commands::sweep::Sweep;
use crate::commands::trace::Trace;
use crate::commands::what_if::WhatIf;
use crate::limits::Limits;
use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use reports::command::Named;
use std::path::PathBuf;

/// Simulation and capacity planning for LLM inference.
///
/// Exit codes: 0 fine · 1 an objective is missed or a gate failed · 2 usage or input error · 3 an
/// objective is undecided (its interval straddles the target) or a check inconclusive · 4 stopped at
/// a resource limit, what was finished is reported · 101 a bug of surgeline · 130 interrupted, what
/// was finished is reported.
#[derive(Debug, Parser)]
#[command(name = "surgeline", version, about, long_about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Simulate a scenario: cost, latency and their intervals, objectives judged.
    Run(Run),
    WhatIf(WhatIf),
    Plan(Plan),
    Compare(Compare),
    Check(Check),
    /// Simulate many variants of a scenario into a folder that can be resumed and shared out.
    Sweep(Sweep),
    Serve(Serve),
    /// Look a scenario file over; with --resolved, print every value and where it comes from.
    Validate(Validate),
    /// Print the JSON Schema (draft-07) of a kind of file, for editors.
    Schema {
        /// Which file.
        #[arg(value_enum)]
        kind: Schema,
    },
    /// List shipped scenarios and policies, GPUs, models, engine presets or hosted models.
    List {
        /// What to list.
        #[arg(value_enum, default_value = "scenarios")]
        what: Listing,
    },
    /// Write a commented starter scenario.
    Init {
        /// File to write; it must not exist.
        #[arg(default_value = "scenario.toml")]
        file: PathBuf,
    },
    /// Measure engines and GPUs, fit iteration times, score predictions.
    Calibrate {
        #[command(subcommand)]
        what: Calibrate,
    },
    /// Look at recorded workloads, and convert recordings.
    Trace {
        #[command(subcommand)]
        what: Trace,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Which scenario, and what to change in it.
#[derive(Debug, Arguments)]
pub(crate) struct Source {
    /// Scenario file, or the name of a shipped one (see `surgeline list`).
    pub(crate) scenario: PathBuf,
    /// Policy file or the name of a shipped policy, instead of the one the scenario names.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Change one value: --set pools.h100.replicas=4 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl Source {
    /// The same, for commands that a report prints.
    pub(crate) fn named(&self) -> Named {
        let policy = self.policy.as_ref().map(|policy| policy.display().to_string());
        Named { scenario: self.scenario.display().to_string(), policy, ..Named::default() }
    }
}

/// How to simulate.
#[derive(Debug, Arguments)]
pub(crate) struct Simulating {
    /// Seed of all random streams, instead of the scenario's.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// Independent replications, instead of the scenario's.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) replications: Option<u32>,
    /// Threads; the result does not depend on it. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) threads: Option<u32>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Run replication 0 twice in lockstep first, and name the first event that differs.
    #[arg(long)]
    pub(crate) check_determinism: bool,
    /// No progress display, no speed and no warnings on stderr.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Where results go.
#[derive(Debug, Arguments)]
pub(crate) struct Writing {
    /// What to print on stdout.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Also write the JSON report to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also write the Markdown report to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) md: Option<PathBuf>,
    /// Also write one HTML page with everything in it to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also draw the pictures of the page as SVG and PNG into this new folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
    /// Also write all reports into this new folder; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) simulating: Simulating,
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// Also write the calls of replication 0 to this CSV file, as --tables has them.
    #[arg(long, value_name = "FILE")]
    pub(crate) calls: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tabling: Tabling,
    /// Leave out what the error of calibrated times may do, and the runs that find it: two for each
    /// calibration and each of up to three replications.
    #[arg(long)]
    pub(crate) no_calibration: bool,
}

#[derive(Debug, Arguments)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Print every value with its origin: the file, a default, or the catalogue.
    #[arg(long)]
    pub(crate) resolved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, in a terminal.
    Text,
    /// For programs.
    Json,
    /// For a pull request or a wiki.
    Md,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schema {
    /// A scenario file.
    Scenario,
    /// A policy file.
    Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// Shipped scenarios and the question each answers.
    Scenarios,
    /// GPUs of the catalogue.
    Gpus,
    /// Models of the catalogue.
    Models,
    /// Versioned engine presets.
    Engines,
    /// Hosted models of the catalogue, for `catalog` of a provider.
    Providers,
    /// Shipped policies and what each does, for `--policy`.
    Policies,
}
