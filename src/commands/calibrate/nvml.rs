//! `surgeline calibrate nvml`: sample a GPU, write the samples, say what they come to.

use crate::error::Error;
use crate::output::{self, Places};
use crate::progress::stop_flag;
use calibrate::nvml::{
    DeviceFacts, Ended, Gpm, GpuChoice, OpenError, Options, Profile, Reason, Sample, Sampler,
    write_csv,
};
use clap::{Args as Arguments, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use reports::{gpu_profile, parquet};
use scenarios::quantity;
use sim::units::{Money, Span};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the sampler and at Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// What is shown meanwhile.
const VIEW: &str = "{elapsed} of {prefix}  {wide_msg}";

/// What to sample and where to put it.
#[derive(Debug, Arguments)]
pub(crate) struct Nvml {
    /// Which GPU: its index in the order of `nvidia-smi`, or its UUID.
    #[arg(long, default_value = "0", value_parser = gpu)]
    gpu: GpuChoice,
    /// How long to sample.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = time)]
    length: Span,
    /// Time between two samples, at least 1ms; performance counters are read at most every 100ms.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    every: Span,
    /// Write the samples to this file, whose name ends in .parquet or .csv.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Tokens that are made meanwhile, for the energy of one.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    tokens: Option<u64>,
    /// Price of energy, for what the power of this GPU costs, such as "$0.12/kWh".
    #[arg(long, value_name = "PRICE", value_parser = energy_price)]
    energy_price: Option<Money>,
    /// NVIDIA's library, instead of the libnvidia-ml.so.1 that the system finds.
    #[arg(long, value_name = "PATH")]
    lib: Option<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// No live view and no warnings on stderr.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, in a terminal.
    Text,
    /// For programs: schema surgeline.nvml/1.
    Json,
}

/// What a file of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Csv,
    Parquet,
}

pub(super) fn gpu(text: &str) -> Result<GpuChoice, String> {
    match text.parse() {
        Ok(index) => Ok(GpuChoice::Index(index)),
        Err(_) if text.starts_with("GPU-") || text.starts_with("MIG-") => {
            Ok(GpuChoice::Uuid(text.to_owned()))
        }
        Err(_) => Err("an index such as 0, or a UUID such as GPU-1d4…, was expected".to_owned()),
    }
}

pub(super) fn time(text: &str) -> Result<Span, String> {
    match quantity::span(text) {
        Ok(span) if span > Span::ZERO => Ok(span),
        Ok(_) => Err("a time above zero was expected".to_owned()),
        Err(error) => Err(format!("{error}; a time such as 100ms, 60s or 5m was expected")),
    }
}

fn energy_price(text: &str) -> Result<Money, String> {
    quantity::money(text, "/kWh")
        .map_err(|error| format!("{error}; a price such as $0.12/kWh was expected"))
}

/// What a file is to be, by its name.
fn kind(path: &Path) -> Result<File, Error> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(File::Csv),
        Some("parquet") => Ok(File::Parquet),
        _ => Err(Error::Usage(format!(
            "--out {}: the name should end in .parquet or .csv",
            path.display()
        ))),
    }
}

pub(super) fn nvml(args: &Nvml) -> Result<u8, Error> {
    let out = match &args.out {
        None => None,
        Some(path) => {
            Places::default().file(Some(path)).check()?;
            Some((path, kind(path)?))
        }
    };
    let options = Options {
        library: args.lib.clone(),
        gpu: args.gpu.clone(),
        every: args.every,
        length: Some(args.length),
    };
    // Before the first sample, so that Ctrl-C never loses one.
    let stop = stop_flag();
    let sampler = start(&options)?;
    let profile = watch(sampler, stop, args);
    if let (true, Ended::Lost(why)) = (profile.samples.is_empty(), &profile.ended) {
        return Err(Error::Usage(format!("the GPU was lost before the first sample: {why}")));
    }
    if let Some((path, kind)) = out {
        let bytes = bytes(&profile, kind).map_err(Error::Bug)?;
        output::write_bytes(path, &bytes)?;
        if !args.quiet {
            crate::output::tell!("wrote {} samples to {}", profile.samples.len(), path.display());
        }
    }
    // The tokens were made in the whole time, not until an early end.
    let early = profile.ended != Ended::Complete;
    if let (true, Some(_), false) = (early, args.tokens, args.quiet) {
        crate::output::tell!("note: it ended early, so the energy of a token is not known");
    }
    let summary = profile.summary(args.tokens.filter(|_| !early));
    let cost = args.energy_price.and_then(|price| summary.power_cost(price.as_dollars_f64()));
    output::print(&match args.format {
        Format::Text => gpu_profile::text(&profile, &summary, cost),
        Format::Json => gpu_profile::json(&profile, &summary, cost),
    })?;
    // A report for people ends with them.
    if !args.quiet && args.format == Format::Json {
        for warning in gpu_profile::warnings(&profile.facts, &summary) {
            crate::output::tell!("warning: slow GPU: {warning}");
        }
    }
    match &profile.ended {
        Ended::Lost(why) => {
            let kept = profile.samples.len();
            crate::output::tell!("surgeline: the GPU was lost, {kept} samples are kept: {why}");
            Ok(2)
        }
        Ended::Stopped => Ok(130),
        Ended::Complete => Ok(0),
    }
}

/// Starts a sampling; what cannot work says what to do about it.
pub(super) fn start(options: &Options) -> Result<Sampler, Error> {
    Sampler::start(options).map_err(|error| match error {
        OpenError::Library { .. } => Error::Usage(format!("{error} with --lib PATH")),
        error => Error::Usage(error.to_string()),
    })
}

/// Shows what the GPU does until the sampling ends by itself or by Ctrl-C.
fn watch(sampler: Sampler, stop: &AtomicBool, args: &Nvml) -> Profile {
    let bar = if args.quiet || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner()
    };
    if let Ok(style) = ProgressStyle::with_template(VIEW) {
        bar.set_style(style);
    }
    bar.set_prefix(quantity::show_span(args.length));
    // The counters are not in every sample; the last value stays until the next.
    let (mut shown, mut tensor) = (Instant::now(), None);
    while !sampler.is_over() && !stop.load(Ordering::Relaxed) {
        if let (false, Some(sample)) = (bar.is_hidden(), sampler.latest())
            && shown.elapsed() >= 2 * TICK
        {
            tensor = sample.gpm[Gpm::Tensor as usize].or(tensor);
            bar.set_message(view(sampler.facts(), &sample, tensor));
            bar.tick();
            shown = Instant::now();
        }
        std::thread::sleep(TICK);
    }
    bar.finish_and_clear();
    sampler.stop()
}

/// One sample on one line, with how busy the tensor cores were last.
fn view(facts: &DeviceFacts, sample: &Sample, tensor: Option<f64>) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1u32 << 30);
    let throttle = sample.throttle.filter(|throttle| throttle.is_throttled());
    let reasons = throttle.map(|throttle| {
        let held = Reason::ALL.into_iter().filter(|r| r.is_throttling() && throttle.has(*r));
        held.map(Reason::words).collect::<Vec<_>>().join(" and ")
    });
    let used = sample.memory_used.map(|used| match facts.memory {
        Some(all) => format!("{:.1}/{:.1} GiB", gib(used.0), gib(all.0)),
        None => format!("{:.1} GiB", gib(used.0)),
    });
    let parts = [
        sample.power_w.map(|watts| format!("{watts:.0} W")),
        sample.gpu_percent.map(|percent| format!("{percent:.0} % GPU")),
        tensor.map(|percent| format!("{percent:.0} % tensor")),
        sample.sm_mhz.map(|mhz| format!("{mhz:.0} MHz")),
        used,
        sample.temperature_c.map(|degrees| format!("{degrees:.0} °C")),
        reasons,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// The samples as a file. Both are written to memory, so only a bug can fail.
fn bytes(profile: &Profile, kind: File) -> Result<Vec<u8>, String> {
    match kind {
        File::Parquet => parquet::write(profile).map_err(|error| error.to_string()),
        File::Csv => {
            let mut bytes = Vec::new();
            write_csv(profile, &mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_view_has_a_style_and_says_what_is_known() {
        assert!(ProgressStyle::with_template(VIEW).is_ok());
        let facts = DeviceFacts::default();
        assert_eq!(view(&facts, &Sample::default(), None), "");
        let sample = Sample { power_w: Some(412.3), sm_mhz: Some(1_755.0), ..Sample::default() };
        assert_eq!(view(&facts, &sample, Some(41.0)), "412 W  41 % tensor  1755 MHz");
    }

    #[test]
    fn a_gpu_is_an_index_or_a_uuid() {
        assert_eq!(gpu("3"), Ok(GpuChoice::Index(3)));
        assert_eq!(gpu("GPU-1d4"), Ok(GpuChoice::Uuid("GPU-1d4".to_owned())));
        for wrong in ["", "-1", "first", "99999999999"] {
            assert!(gpu(wrong).is_err(), "{wrong}");
        }
    }
}
