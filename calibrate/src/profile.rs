//! Step times measured for one combination of GPU, model, size and precision, at the knots that
//! `scripts/reduce_tables.py` keeps of a kernel table.
//!
//! Invariants: a profile is used only for exactly the combination it was measured for; every
//! profile has a value at every knot of the grid; it carries the error of what is read between its
//! knots against the rows of the table that it does not hold.
//!
//! Deliberately absent: interpolation between combinations, and the host overhead of an engine.

#[cfg(test)]
mod held_out;
mod surfaces;

use serde::Deserialize;
use sim::engine::{StepTime, StepTimeError};

use crate::coefficients::KernelFactors;
use crate::model::Precision;

/// Absolute relative error of a profile over rows of its table that it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelativeError {
    /// Median, as a fraction.
    pub median: f64,
    /// 95th percentile, as a fraction.
    pub p95: f64,
}

/// Errors of a profile by kind of iteration, against the kernel table and not against serving.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOutErrors {
    /// Iterations of prefill chunks only.
    pub prefill: RelativeError,
    /// Iterations of decodes only.
    pub decode: RelativeError,
    /// Iterations of both.
    pub mixed: RelativeError,
}

/// Times in nanoseconds at the knots of [`Grid`], as the table has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) gpu: String,
    pub(crate) model: String,
    pub(crate) tensor_parallel: u32,
    pub(crate) weights: Precision,
    pub(crate) kv: Precision,
    /// By batch and context.
    decode: Vec<Vec<u64>>,
    /// One prompt, nothing computed before.
    prompts: Vec<u64>,
    /// One chunk, by its tokens and the tokens computed before.
    prefixed: Vec<Vec<u64>>,
    /// Several prompts together.
    several: Vec<u64>,
    /// Chunks beside decodes, less the attention of the decodes; by chunk and decodes.
    mixed: Vec<Vec<u64>>,
    /// The attention of the decodes in those.
    decode_attention: Vec<u64>,
}

/// What was measured, the same for all profiles.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grid {
    batches: Vec<u32>,
    contexts: Vec<u32>,
    /// Tokens.
    prompts: Vec<u32>,
    /// Tokens.
    prefixed: Vec<u32>,
    /// Tokens computed before those.
    prefixes: Vec<u32>,
    /// Prompts and the tokens of each.
    several: Vec<(u32, u32)>,
    /// Tokens.
    chunks: Vec<u32>,
    mixed_decodes: Vec<u32>,
    /// Tokens of the prompts that the chunks are cut from.
    mixed_prompt: u32,
    /// KV tokens that each decode reads.
    mixed_context: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    pub(crate) source: String,
    pub(crate) as_of: String,
    pub(crate) grid: Grid,
    pub(crate) profile: Vec<Profile>,
}

/// The error of one profile, as the test `held_out` finds it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorRow {
    gpu: String,
    model: String,
    tensor_parallel: u32,
    weights: Precision,
    kv: Precision,
    prefill: RelativeError,
    decode: RelativeError,
    mixed: RelativeError,
}

/// The errors of all profiles. Their source, which the file names, is the profiles'.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ErrorFile {
    pub(crate) errors: Vec<ErrorRow>,
}

impl Profiles {
    /// The profile of exactly this combination of GPU and model, by their catalogue names.
    pub(crate) fn find(
        &self,
        gpu: &str,
        model: &str,
        tensor_parallel: u32,
        precisions: (Precision, Precision),
    ) -> Option<&Profile> {
        self.profile.iter().find(|p| {
            (p.gpu == gpu && p.model == model)
                && (p.tensor_parallel, (p.weights, p.kv)) == (tensor_parallel, precisions)
        })
    }
}

impl Grid {
    /// Whether `profile` has a value at every knot, and there are enough knots to draw lines.
    pub(crate) fn holds(&self, profile: &Profile) -> bool {
        let rows = |values: &[Vec<u64>], rows: usize, columns: usize| {
            values.len() == rows && values.iter().all(|row| row.len() == columns)
        };
        let enough = self.contexts.len() > 1 && !self.batches.is_empty();
        enough
            && !(self.prompts.is_empty() || self.prefixed.is_empty() || self.prefixes.is_empty())
            && !self.mixed_decodes.is_empty()
            && self.prefixed.iter().all(|tokens| self.prompts.contains(tokens))
            && self.mixed_decodes.iter().all(|batch| self.batches.contains(batch))
            && rows(&profile.decode, self.batches.len(), self.contexts.len())
            && profile.prompts.len() == self.prompts.len()
            && rows(&profile.prefixed, self.prefixed.len(), self.prefixes.len())
            && profile.several.len() == self.several.len()
            && rows(&profile.mixed, self.chunks.len(), self.mixed_decodes.len())
            && profile.decode_attention.len() == self.mixed_decodes.len()
    }
}

impl Profile {
    /// Iteration times between the knots, multiplied by `factors`, without the engine's part; a
    /// decode batch is padded to the next of `graph_sizes`.
    ///
    /// # Errors
    /// [`StepTimeError`] when the times are impossible.
    pub(crate) fn step_time(
        &self,
        grid: &Grid,
        factors: &KernelFactors,
        graph_sizes: Vec<u32>,
    ) -> Result<StepTime, StepTimeError> {
        // The table knows no iteration outside a captured graph; its prefill holds the launches.
        StepTime::measured(0, 0, surfaces::surfaces(self, grid, factors)?, graph_sizes)
    }

    /// Its error, if it is among `rows`.
    pub(crate) fn errors(&self, rows: &[ErrorRow]) -> Option<HeldOutErrors> {
        let own = |row: &&ErrorRow| {
            (&row.gpu, &row.model, row.tensor_parallel)
                == (&self.gpu, &self.model, self.tensor_parallel)
                && (row.weights, row.kv) == (self.weights, self.kv)
        };
        let row = rows.iter().find(own)?;
        Some(HeldOutErrors { prefill: row.prefill, decode: row.decode, mixed: row.mixed })
    }
}
