//! Fits of the iteration time to measured kernel tables.
//!
//! Invariants: a fit is used only for exactly the GPU, model, precision and tensor parallel size
//! it was made for; it carries its residual error.
//!
//! Deliberately absent: interpolation between fits, and the fitting itself
//! (`scripts/fit_tables.py`).

use serde::Deserialize;

use crate::model::Precision;

/// Absolute relative error of a fit over the rows it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelativeError {
    /// Median, as a fraction.
    pub median: f64,
    /// 95th percentile, as a fraction.
    pub p95: f64,
}

/// Errors of a fit by kind of iteration, against the kernel table and not against serving.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residuals {
    /// Iterations of prefill chunks only.
    pub prefill: RelativeError,
    /// Iterations of decodes only.
    pub decode: RelativeError,
    /// Iterations of both.
    pub mixed: RelativeError,
}

/// Coefficients in picoseconds, host overhead not included; see `sim::engine::StepTime`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fit {
    pub(crate) gpu: String,
    pub(crate) model: String,
    pub(crate) tensor_parallel: u32,
    pub(crate) weights: Precision,
    pub(crate) kv: Precision,
    pub(crate) ungraphed: u64,
    pub(crate) kv_read: u64,
    pub(crate) attention: u64,
    pub(crate) linear: Vec<(u32, u64)>,
    prefill_error: RelativeError,
    decode_error: RelativeError,
    mixed_error: RelativeError,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fits {
    pub(crate) source: String,
    pub(crate) as_of: String,
    pub(crate) note: String,
    pub(crate) fit: Vec<Fit>,
}

impl Fit {
    pub(crate) fn residuals(&self) -> Residuals {
        Residuals {
            prefill: self.prefill_error,
            decode: self.decode_error,
            mixed: self.mixed_error,
        }
    }
}
