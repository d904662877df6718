//! surgeline: what will this traffic cost, what p95 will users see, and does the promise hold?
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 an objective is missed,
//! 2 usage or input error, 3 undecided, 4 stopped at a limit and 130 interrupted, both with what was
//! finished; 101 is a bug.

mod args;
mod commands;
mod disk;
mod error;
mod limits;
mod output;
mod progress;
mod serve;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::execute(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            crate::output::tell!("{error}");
            ExitCode::from(error.code())
        }
    }
}
