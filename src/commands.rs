//! One file per command; each takes its arguments and returns an exit code.

pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod compare;
mod levers;
mod list;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod serve;
mod simulate;
pub(crate) mod sweep;
pub(crate) mod trace;
mod validate;
pub(crate) mod what_if;

pub(crate) use run::report as run_report;

use crate::args::{Args, Command, Schema, Source};
use crate::error::Error;
use crate::output;
use clap::CommandFactory;
use scenarios::{Blueprint, SchemaKind, library};

/// Carries a command out.
pub(crate) fn execute(command: Command) -> Result<u8, Error> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::WhatIf(args) => what_if::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::List { what } => list::list(what),
        Command::Schema { kind } => {
            let kind = match kind {
                Schema::Scenario => SchemaKind::Scenario,
                Schema::Policy => SchemaKind::Policy,
            };
            output::print(&format!("{:#}\n", scenarios::schema(kind)))?;
            Ok(0)
        }
        Command::Init { file } => {
            if file.exists() {
                return Err(Error::Usage(format!("{} exists already", file.display())));
            }
            output::write_file(&file, &library::starter(&file.to_string_lossy()))?;
            crate::output::tell!(
                "wrote {}; next: surgeline run {}",
                file.display(),
                file.display()
            );
            Ok(0)
        }
        Command::Serve(args) => serve::serve(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Calibrate { what } => calibrate::calibrate(&what),
        Command::Trace { what } => trace::trace(&what),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "surgeline", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(0)
        }
    }
}

/// Reads a scenario from a file, or a shipped one by its name.
fn blueprint(source: &Source) -> Result<Blueprint, Error> {
    let (path, policy) = (&source.scenario, source.policy.as_deref());
    if path.exists() {
        return Ok(Blueprint::read(path, policy)?);
    }
    if let Some(shipped) = path.to_str().and_then(library::find) {
        return Ok(Blueprint::shipped(shipped, policy)?);
    }
    let name = path.to_string_lossy();
    let advice = match library::meant(&name) {
        Some(shipped) => format!("did you mean `{}`?", shipped.name),
        None => {
            let all: Vec<&str> = library::all().iter().map(|shipped| shipped.name).collect();
            format!("shipped are: {}", all.join(", "))
        }
    };
    Err(Error::Usage(format!("{name} is neither a file nor a shipped scenario; {advice}")))
}
