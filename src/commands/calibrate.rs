//! `surgeline calibrate`: one file per thing that can be measured, fitted or scored.

mod nvml;

use crate::error::Error;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Calibrate {
    /// Sample what a GPU does while a load runs: power, energy, clocks, memory, throttling.
    Nvml(nvml::Nvml),
}

/// Carries a calibration command out.
pub(super) fn calibrate(what: &Calibrate) -> Result<u8, Error> {
    match what {
        Calibrate::Nvml(args) => nvml::nvml(args),
    }
}
