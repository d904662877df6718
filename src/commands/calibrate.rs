//! `surgeline calibrate`: measure engines and GPUs, fit iteration times, score predictions.

mod probe;

use crate::error::Error;
use clap::Subcommand;

/// What to measure, fit or score.
#[derive(Debug, Subcommand)]
pub(crate) enum Calibrate {
    /// Measure an OpenAI-compatible streaming endpoint by a designed experiment.
    Probe(Box<probe::Probe>),
}

pub(super) fn calibrate(what: &Calibrate) -> Result<u8, Error> {
    match what {
        Calibrate::Probe(args) => probe::probe(args),
    }
}
