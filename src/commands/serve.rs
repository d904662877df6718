//! `surgeline serve`: the local web page.

use crate::error::Error;
use crate::limits::Limits;
use crate::serve::{self, Settings};
use std::net::IpAddr;
use std::time::Duration;

/// Longest time of one answer, unless `--max-wall` says otherwise.
const MAX_WALL: (Duration, &str) = (Duration::from_secs(30), "30s");
/// Memory of the program, unless `--max-memory` says otherwise.
const MAX_MEMORY: (u64, &str) = (4 << 30, "4GiB");
/// Most events of one answer, unless `--max-events` says otherwise.
const MAX_EVENTS: u64 = 500_000_000;

/// Ask what-if questions in a web page on this machine.
///
/// Nothing leaves the machine, and the page opens no file of it. The limits hold for each answer.
/// Exit codes: 0 stopped by Ctrl-C · 2 the port is taken.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Port; 0 takes a free one.
    #[arg(long, default_value_t = 8077)]
    pub(crate) port: u16,
    /// Address to listen on. Beyond this machine there is no password: whoever reaches it may ask.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Answers that are worked on at once; others wait.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) runs: u32,
    /// Questions that may wait; beyond them the page is asked to come again.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) waiting: u32,
    /// Threads of each answer; the result does not depend on it. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) threads: Option<u32>,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

pub(super) fn serve(args: &Serve) -> Result<u8, Error> {
    let mut limits = args.limits.clone();
    limits.max_wall.get_or_insert_with(|| (MAX_WALL.0, MAX_WALL.1.to_owned()));
    limits.max_events.get_or_insert(MAX_EVENTS);
    if cfg!(target_os = "linux") {
        limits.max_memory.get_or_insert_with(|| (MAX_MEMORY.0, MAX_MEMORY.1.to_owned()));
    }
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    serve::serve(Settings {
        address: (args.host, args.port).into(),
        runs: args.runs as usize,
        waiting: args.waiting as usize,
        threads: args.threads.map_or_else(cores, |threads| threads as usize),
        limits,
    })
}
