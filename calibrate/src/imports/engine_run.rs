//! A recorded run of an engine: what arrived when, under which settings, and how long it took.
//!
//! Three kinds of folders are read; what a file is, is told from its content:
//!
//! | kind | files |
//! |---|---|
//! | spans | `spans.csv` (what vLLM's front end traced), `exp-config.yaml`, `profile.yaml`, `vllm.log` |
//! | spans and client | the same with `requests.csv` (what GuideLLM measured of the same requests) |
//! | stamps | `requests.jsonl` (stamps of the engine's core), `meta.json`, `config.json`, `timeseries.csv` |
//!
//! The file with the requests is needed, the others add what they know. The columns, their clocks
//! and their traps are in `docs/calibration/imports.md`.
//!
//! Invariants: requests are in order of arrival, and the first arrives at zero; two clocks are
//! never subtracted from each other, except where a field says so; a row of the client that fits
//! no span is kept as such.
//!
//! Deliberately absent: the wait between the phases of a run that has rows of the client only. Its
//! arrivals then count from the start of their phase, and [`EngineRun::clocks`] says so.

mod config;
mod spans;
mod stamps;

use super::problem::{ImportErrors, Problems};
use super::vllm_log::VllmLog;
use super::{Definitions, File};
use sim::units::{Span, Time, Tokens};

/// A clock, as far as a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Seconds or nanoseconds since 1970, in UTC.
    Unix,
    /// A monotonic clock of the engine's machine, with an unknown zero.
    Monotonic,
    /// Seconds since the load generator started a phase; zero again in the next.
    Phase,
}

/// Which clock says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The clock of [`RunRequest::arrival`].
    pub arrivals: Clock,
    /// The clock whose differences are the [`ServerTimes`], if there are any.
    pub times: Option<Clock>,
}

/// Settings of the engine, as far as the files state them. Where a log says otherwise than a
/// description of the run, the log is right, and a note tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineConfig {
    /// Version of vLLM.
    pub vllm: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// GPU; no file of the span kinds states it.
    pub gpu: Option<String>,
    /// GPUs of the replica.
    pub tensor_parallel: Option<u32>,
    /// Type of the weights.
    pub dtype: Option<String>,
    /// Type of the KV cache; `auto` is that of the weights.
    pub kv_cache_dtype: Option<String>,
    /// Longest prompt and answer together.
    pub max_model_len: Option<Tokens>,
    /// Tokens of one iteration.
    pub max_num_batched_tokens: Option<Tokens>,
    /// Requests of one iteration.
    pub max_num_seqs: Option<u32>,
    /// Tokens of a KV block.
    pub block_size: Option<u64>,
    /// Whether prompts may be cut.
    pub chunked_prefill: Option<bool>,
    /// Whether prefixes are kept.
    pub prefix_caching: Option<bool>,
    /// Share of the GPU's memory.
    pub gpu_memory_utilization: Option<f64>,
}

/// One strategy of the load generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Its name: `synchronous` (one at a time), `throughput` (all at once), `constant`.
    pub strategy: String,
    /// Requests a second it aimed at.
    pub rate: Option<f64>,
}

/// What the server recorded of a request. Which part did is in [`EngineRun::definitions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTimes {
    /// Time between arrival at the front end and the engine's queue, less the shortest such time
    /// of the run: the two stamps are of different clocks, so only differences mean something.
    /// `None` where the arrival is already in `ttft` and `e2e`.
    pub admission: Option<Span>,
    /// In the engine's waiting queue.
    pub queue: Span,
    /// Time to first token.
    pub ttft: Span,
    /// Time to last token.
    pub e2e: Span,
    /// In the engine from leaving the queue to the first token.
    pub prefill: Option<Span>,
    /// In the engine from the first to the last token.
    pub decode: Option<Span>,
}

/// What the client measured of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTimes {
    /// When it was sent, since its phase began.
    pub start: Time,
    /// Time to first token.
    pub ttft: Option<Span>,
    /// Time to the end of the response.
    pub e2e: Option<Span>,
    /// Mean time between tokens.
    pub itl: Option<Span>,
    /// Why it failed.
    pub error: Option<String>,
}

/// One request of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// The file's name for it, or its line there.
    pub id: String,
    /// Index into [`EngineRun::phases`], where they are known.
    pub phase: Option<usize>,
    /// When it arrived, counted from the first of the run; see [`Clocks::arrivals`].
    pub arrival: Time,
    /// Prompt, any shared prefix included.
    pub input: Tokens,
    /// Answer.
    pub output: Tokens,
    /// Leading prompt tokens that all requests of the same phase share; `None` if unknown. Each
    /// phase has a prefix of its own.
    pub shared_prefix: Option<Tokens>,
    /// What the server recorded.
    pub server: Option<ServerTimes>,
    /// What the client measured.
    pub client: Option<ClientTimes>,
}

/// State of the engine at the end of one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// Seconds since the run started, on a clock that is not aligned with the requests'.
    pub at: Time,
    /// Prompt tokens of this second.
    pub prompt_rate: f64,
    /// Generated tokens of this second.
    pub generation_rate: f64,
    /// Requests in the batch.
    pub running: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Share of KV blocks in use, 0 to 1; `None` where it was not measured.
    pub kv_usage: Option<f64>,
}

/// A recorded run.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineRun {
    /// Settings.
    pub config: EngineConfig,
    /// What the server's times mean.
    pub definitions: Definitions,
    /// What the client's times mean, where there are any.
    pub client_definitions: Option<Definitions>,
    /// Which clock says what.
    pub clocks: Clocks,
    /// Strategies of the load generator, in order; empty if unknown.
    pub phases: Vec<Phase>,
    /// Requests in order of arrival.
    pub requests: Vec<RunRequest>,
    /// Rows of the client that fit no span: failed before the engine, or not traced.
    pub unmatched: Vec<RunRequest>,
    /// State of the engine each second; empty if not recorded.
    pub ticks: Vec<Tick>,
    /// What the engine's log says.
    pub log: Option<VllmLog>,
    /// What is easy to misread in this run, in sentences.
    pub notes: Vec<String>,
}

impl EngineRun {
    /// KV capacity in tokens, if the log states it.
    #[must_use]
    pub fn kv_tokens(&self) -> Option<u64> {
        self.log.as_ref()?.kv_tokens
    }
}

/// What a file of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Spans,
    Client,
    Stamps,
    Meta,
    Hardware,
    Series,
    Experiment,
    Profile,
    Log,
}

impl Role {
    /// Tells from its content what a file is.
    fn of(text: &str) -> Option<Role> {
        let first = text.lines().find(|line| !line.trim().is_empty())?;
        let has = |needle: &str| first.split(',').any(|column| column.trim() == needle);
        let key = |needle: &str| text.lines().any(|line| line.starts_with(needle));
        if first.trim_start().starts_with('{') {
            let found = ["\"queued_ts\"", "\"engine_kwargs\"", "\"nodes\""]
                .map(|key| text.find(key).unwrap_or(usize::MAX));
            let (earliest, index) = found.iter().zip(0..).min()?;
            let roles = [Role::Stamps, Role::Meta, Role::Hardware];
            return roles.get(index).copied().filter(|_| *earliest != usize::MAX);
        }
        if has("gen_ai.latency.e2e") {
            return Some(Role::Spans);
        }
        if has("request_start_s") {
            return Some(Role::Client);
        }
        if has("gen_throughput") {
            return Some(Role::Series);
        }
        if key("tensor_parallelism:") {
            return Some(Role::Experiment);
        }
        if key("rate-type:") {
            return Some(Role::Profile);
        }
        text.contains("vllm").then_some(Role::Log)
    }
}

/// The files of a run by role.
struct Folder<'a> {
    files: Vec<(Role, File<'a>)>,
}

impl<'a> Folder<'a> {
    fn get(&self, role: Role) -> Option<File<'a>> {
        self.files.iter().find(|(found, _)| *found == role).map(|(_, file)| *file)
    }
}

/// Reads a run from its files, in any order; what each is, is told from its content.
///
/// # Errors
/// [`ImportErrors`] with every problem of every file, for a file that is none of these, for two of
/// the same kind, and if none holds requests.
pub fn engine_run(files: &[File<'_>]) -> Result<EngineRun, ImportErrors> {
    let run = files.first().map_or("run", |file| file.name);
    let mut problems = Problems::of(run);
    let mut folder = Folder { files: Vec::new() };
    for file in files {
        let mut of_file = Problems::of(file.name);
        match Role::of(file.text) {
            Some(role) if folder.get(role).is_none() => folder.files.push((role, *file)),
            Some(role) => of_file.push(0, "", format!("a second file of the kind {role:?}")),
            None => of_file.push(0, "", "no file of an engine run that is known here"),
        }
        problems.absorb(of_file);
    }
    let read = if let Some(file) = folder.get(Role::Stamps) {
        stamps::read(file, &folder, &mut problems)
    } else if folder.get(Role::Spans).is_some() || folder.get(Role::Client).is_some() {
        spans::read(&folder, &mut problems)
    } else {
        let expected = "expected a table with the column `gen_ai.latency.e2e` or \
                        `request_start_s`, or lines with the key `queued_ts`";
        problems.push(0, "", format!("no file holds requests; {expected}"));
        None
    };
    match read {
        Some(run) => problems.finish(run),
        None => {
            // A reader that gives nothing has said why; this is for the case that it has not.
            if problems.is_empty() {
                problems.push(0, "", "the run has no request");
            }
            Err(problems.refused())
        }
    }
}

#[cfg(test)]
mod tests;
