//! `surgeline calibrate`: measure engines and GPUs, fit iteration times, score predictions.

mod nvml;
mod probe;

use crate::error::Error;
use clap::Subcommand;

/// What to measure, fit or score.
#[derive(Debug, Subcommand)]
pub(crate) enum Calibrate {
    /// Sample a GPU through NVML while a load runs: power, clocks, memory, throttling.
    Nvml(nvml::Nvml),
    /// Measure an OpenAI-compatible streaming endpoint by a designed experiment.
    Probe(Box<probe::Probe>),
}

pub(super) fn calibrate(what: &Calibrate) -> Result<u8, Error> {
    match what {
        Calibrate::Nvml(args) => nvml::nvml(args),
        Calibrate::Probe(args) => probe::probe(args),
    }
}
