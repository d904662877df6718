//! `surgeline calibrate`: measure engines and GPUs, fit iteration times, score predictions.

mod fit;
mod fit_probe;
mod nvml;
mod probe;
mod score;

use crate::error::Error;
use clap::Subcommand;

/// What to measure, fit or score.
#[derive(Debug, Subcommand)]
pub(crate) enum Calibrate {
    /// Sample a GPU through NVML while a load runs: power, clocks, memory, throttling.
    Nvml(nvml::Nvml),
    /// Measure an OpenAI-compatible streaming endpoint by a designed experiment.
    Probe(Box<probe::Probe>),
    /// Fit iteration times to a probe, and print them as a scenario takes them.
    FitProbe(fit_probe::FitProbe),
    /// Predict measured serving points, and print predicted beside measured.
    Score(score::Score),
    /// Fit coefficients to measured serving points or iterations, and write a calibration file.
    Fit(fit::Fit),
    /// Print how well configurations are predicted that were not fitted to, as Markdown.
    Accuracy(score::Accuracy),
}

pub(super) fn calibrate(what: &Calibrate) -> Result<u8, Error> {
    match what {
        Calibrate::Nvml(args) => nvml::nvml(args),
        Calibrate::Probe(args) => probe::probe(args),
        Calibrate::FitProbe(args) => fit_probe::fit_probe_command(args),
        Calibrate::Score(args) => score::score(args),
        Calibrate::Fit(args) => fit::fit(args),
        Calibrate::Accuracy(args) => score::accuracy(args),
    }
}
