//! `surgeline calibrate probe`: measure an endpoint from outside.

mod beside;

use super::nvml;
use crate::error::Error;
use crate::output;
use crate::progress::{CellBar, stop_flag};
use beside::Beside;
use calibrate::nvml::GpuChoice;
use calibrate::probe::{
    Address, Api, CellRow, Ended, Key, Levels, Limits, Patience, Prices, Summary, design, run,
};
use clap::{Args, ValueEnum};
use scenarios::quantity;
use sim::units::{Money, Span, Tokens};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable in which clients of OpenAI keep their key.
const KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// Send prompts of several lengths at several concurrencies, follow the streamed answers and write
/// down when each piece came. The folder grows as it goes; `--resume` goes on with what is missing.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// Address of the endpoint: http://host:8000/v1
    #[arg(long, value_name = "URL", value_parser = address)]
    url: Address,
    /// The model's name at the endpoint.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Which interface to ask.
    #[arg(long, value_enum, default_value = "completions")]
    api: Interface,
    /// The engine's Prometheus page, saved before and after each cell.
    #[arg(long, value_name = "URL", value_parser = address)]
    metrics: Option<Address>,
    /// Sample this GPU of this machine through NVML meanwhile, into gpu.csv: its index in the order
    /// of `nvidia-smi`, or its UUID.
    #[arg(long, value_parser = nvml::gpu)]
    gpu: Option<GpuChoice>,
    /// Time between two samples of the GPU.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = nvml::time, requires = "gpu")]
    gpu_every: Span,
    /// NVIDIA's library, instead of the libnvidia-ml.so.1 that the system finds.
    #[arg(long, value_name = "PATH", requires = "gpu")]
    lib: Option<PathBuf>,
    /// New folder for the results; with --resume, the one to go on in.
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Go on with the probe in --out: the same design, what is not complete yet.
    #[arg(long)]
    resume: bool,
    /// Print what would be sent, what it would cost and about how long it would take.
    #[arg(long)]
    dry_run: bool,
    /// Time for this session, after which requests under way are ended too.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    budget: Duration,
    /// Attempts at most, retries included, over all sessions.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    max_requests: u64,
    /// Price of prompt tokens: $0.15/Mtok
    #[arg(long, value_name = "PRICE", value_parser = price, requires = "output_price")]
    input_price: Option<Money>,
    /// Price of answer tokens: $0.60/Mtok
    #[arg(long, value_name = "PRICE", value_parser = price, requires = "input_price")]
    output_price: Option<Money>,
    /// Money at most over all sessions: $5
    #[arg(long, value_name = "MONEY", value_parser = money, requires = "input_price")]
    max_spend: Option<Money>,
    /// Prompt lengths in tokens.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [128, 512, 2_048, 8_192])]
    inputs: Vec<u32>,
    /// Answer lengths in tokens.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [16, 128])]
    outputs: Vec<u32>,
    /// Requests at a time.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    concurrency: Vec<u32>,
    /// Share of the prompt that cached cells have sent before, in percent; 0 for no such cells.
    #[arg(long, value_name = "PERCENT", default_value_t = 75)]
    cached_percent: u32,
    /// How often a request that failed is tried again.
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    /// Longest wait for the next byte of an answer, the first one included.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    stall: Duration,
    /// Longest time for a whole answer.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    /// Seed of the prompts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Environment variable that holds the API key. Default: OPENAI_API_KEY, if it is there.
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// No progress display and no warnings on stderr.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Interface {
    /// /completions: the prompt as it is.
    Completions,
    /// /chat/completions: the prompt as a user's message.
    Chat,
}

fn address(text: &str) -> Result<Address, String> {
    Address::new(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = quantity::span(text).map_err(|error| format!("{error}; write `10m` or `30s`"))?;
    if span.0 == 0 {
        return Err("it must be more than nothing".to_owned());
    }
    // Picoseconds, of which a clock tells no more than nanoseconds.
    Ok(Duration::from_nanos((span.0 / 1_000).max(1)))
}

fn price(text: &str) -> Result<Money, String> {
    quantity::money(text, "/Mtok").map_err(|error| format!("{error}; write `$0.15/Mtok`"))
}

fn money(text: &str) -> Result<Money, String> {
    quantity::money(text, "").map_err(|error| format!("{error}; write `$5`"))
}

pub(super) fn probe(args: &Probe) -> Result<u8, Error> {
    let levels = Levels::new(
        args.inputs.clone(),
        args.outputs.clone(),
        args.concurrency.clone(),
        args.cached_percent,
    );
    let levels = levels.map_err(|error| Error::Usage(error.to_string()))?;
    let prices = args.input_price.zip(args.output_price);
    let limits = Limits {
        budget: args.budget,
        requests: args.max_requests,
        prices: prices.map(|(input, output)| Prices { input, output }),
        spend: args.max_spend,
    };
    if args.dry_run {
        output::print(&plan(&levels, &limits))?;
        return Ok(0);
    }
    // clap has seen to it that there is one.
    let folder = args.out.as_deref().unwrap_or(Path::new(""));
    if !args.resume {
        output::check_folder("--out", folder)?;
    }
    let probe = calibrate::probe::Probe {
        address: args.url.clone(),
        api: match args.api {
            Interface::Completions => Api::Completions,
            Interface::Chat => Api::Chat,
        },
        model: args.model.clone(),
        key: key(args.api_key_env.as_deref())?,
        metrics: args.metrics.clone(),
        levels,
        limits,
        patience: Patience { stall: args.stall, request: args.timeout },
        retries: args.retries,
        seed: args.seed,
    };
    let stop = stop_flag();
    let beside = Beside::start(args.gpu.as_ref(), args.gpu_every, args.lib.as_deref())?;
    let bar = CellBar::new(args.quiet);
    let summary = run(&probe, folder, args.resume, stop, &|progress| {
        let cell = progress.cell;
        let shape = format!("{} + {} tokens × {}", cell.input, cell.output, cell.concurrency);
        bar.at(progress.done, progress.cells, format!("{}: {shape}", cell.purpose.name()));
    });
    bar.clear();
    let summary = summary.map_err(|error| Error::Usage(error.to_string()))?;
    let gpu = beside.finish(folder)?;
    output::print(&(told(&summary, folder, &limits) + &gpu))?;
    conclude(&summary, folder, args.quiet)
}

/// The key, out of the variable that was named or the usual one.
fn key(named: Option<&str>) -> Result<Option<Key>, Error> {
    let variable = named.unwrap_or(KEY_VARIABLE);
    match std::env::var(variable) {
        Ok(text) if named.is_none() && text.trim().is_empty() => Ok(None),
        Ok(text) => match Key::new(&text) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(Error::Usage(format!("{variable}: {error}"))),
        },
        Err(_) if named.is_none() => Ok(None),
        Err(_) => Err(Error::Usage(format!(
            "--api-key-env {variable}: the environment has no such variable, or it is no text"
        ))),
    }
}

/// What would be sent.
fn plan(levels: &Levels, limits: &Limits) -> String {
    let design = design(levels, limits, None::<Tokens>);
    let mut text =
        String::from("cell  purpose      prompt  answer  concurrency  cached  requests  about\n");
    for cell in &design.cells {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{:>4}  {:<11} {:>7} {:>7} {:>12} {:>5} % {:>9} {:>6.1} s",
            cell.number,
            cell.purpose.name(),
            cell.input,
            cell.output,
            cell.concurrency,
            cell.cached_percent,
            cell.requests(),
            cell.assumed_time().as_secs_f64(),
        );
    }
    let (requests, input, output) = design.totals();
    let _ = writeln!(
        text,
        "\n{requests} requests with {input} prompt and {output} answer tokens, retries not counted"
    );
    let _ = match limits.prices {
        Some(prices) => writeln!(text, "spend {}", dollars(design.spend(prices))),
        None => writeln!(text, "spend unknown: give --input-price and --output-price"),
    };
    let _ = writeln!(
        text,
        "about {:.0} s if a prompt token takes 0.1 ms and an answer token 20 ms, which is a guess; \
         {:.0} s may be used",
        design.assumed_time().as_secs_f64(),
        limits.budget.as_secs_f64()
    );
    for line in &design.dropped {
        let _ = writeln!(text, "left out: {line}");
    }
    text
}

/// What came of it.
fn told(summary: &Summary, folder: &Path, limits: &Limits) -> String {
    let mut text = String::from(
        "cell  purpose         isl    osl  concurrency   TTFT ms   TPOT ms  errors  status\n",
    );
    for row in &summary.rows {
        let _ = writeln!(text, "{}", line(row));
    }
    let (complete, cells) = (summary.complete(), summary.cells);
    let _ = write!(text, "\n{complete} of {cells} cells complete; {}", summary.ended);
    let _ = write!(text, "; {} requests", summary.taken.requests);
    if limits.prices.is_some() {
        let _ = write!(text, ", {}", dollars(summary.taken.spend));
    }
    let _ = writeln!(text, " in all sessions\nresults in {}", folder.display());
    text += &metrics(&summary.rows);
    for dropped in &summary.dropped {
        let _ = writeln!(text, "left out: {dropped}");
    }
    text
}

/// What the engine's metrics showed, on one line; nothing where they said nothing.
fn metrics(rows: &[CellRow]) -> String {
    let most = |of: fn(&CellRow) -> Option<f64>| rows.iter().filter_map(of).reduce(f64::max);
    let sum = |of: fn(&CellRow) -> Option<u64>| {
        let known: Vec<u64> = rows.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().fold(0_u64, |sum, one| sum.saturating_add(*one)))
    };
    let cached = sum(|row| row.prefix_hits.filter(|_| row.cached_percent > 0));
    let looked_up = sum(|row| row.prefix_queries.filter(|_| row.cached_percent > 0));
    let hits = cached.zip(looked_up).filter(|(_, queries)| *queries > 0);
    let parts = [
        most(|row| row.running).map(|most| format!("{most} requests running at most")),
        most(|row| row.waiting).map(|most| format!("{most} waiting")),
        most(|row| row.kv_usage).map(|most| format!("KV cache {:.0} % full", most * 1e2)),
        sum(|row| row.preemptions).map(|count| format!("{count} preemptions")),
        hits.map(|(hits, queries)| {
            format!("prefix hits {:.0} % in cached cells", hits as f64 / queries as f64 * 1e2)
        }),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("metrics: {}\n", parts.join(", ")) }
}

fn line(row: &CellRow) -> String {
    let millis = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let status = format!("{:?}", row.status).to_lowercase();
    let note = if row.note.is_empty() { String::new() } else { format!(" ({})", row.note) };
    format!(
        "{:>4}  {:<11} {:>7} {:>6} {:>12} {:>9} {:>9} {:>7}  {status}{note}",
        row.cell,
        row.purpose,
        row.isl,
        row.osl,
        row.concurrency,
        millis(row.ttft_ms),
        millis(row.tpot_ms),
        row.errors,
    )
}

fn dollars(money: Money) -> String {
    format!("${:.4}", money.as_dollars_f64())
}

/// The exit code, and on stderr what to do next.
fn conclude(summary: &Summary, folder: &Path, quiet: bool) -> Result<u8, Error> {
    let complete = summary.complete() == summary.cells;
    match &summary.ended {
        Ended::Endpoint(why) => Err(Error::Usage(format!("the endpoint gives no answers: {why}"))),
        Ended::Interrupted => Ok(130),
        Ended::Done | Ended::Limit(_) => {
            if !complete && !quiet {
                let (missing, folder) = (summary.cells - summary.complete(), folder.display());
                crate::output::tell!(
                    "surgeline: {missing} cells are missing; the same command with --resume goes \
                     on in {folder}"
                );
            }
            Ok(0)
        }
    }
}
