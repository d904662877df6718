//! What a serving engine adds to the kernels: the times of its host, and the shares of a GPU's peaks
//! that it reaches where no kernel table exists.
//!
//! Invariants: times are in seconds and not negative, shares above 0 and at most 1.
//!
//! Deliberately absent: how the numbers are found (see [`crate::fit`]).

use crate::roofline::Efficiency;
use sim::engine::Overheads;
use sim::units::Span;

/// Times of the host that drives the GPUs, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostTimes {
    /// Of every iteration: the GPU waits for the host to schedule and launch it.
    pub iteration: f64,
    /// Besides, for each decoding sequence of an iteration.
    pub sequence: f64,
    /// Besides, for an iteration that carries chunks of prompts.
    pub chunks: f64,
    /// Of every request before the engine has it: HTTP, tokens of the prompt, queues between
    /// processes.
    pub request: f64,
    /// Besides, for each token of a prompt.
    pub prompt_token: f64,
}

/// What kernels take beside what tables and rooflines say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelFactors {
    /// Time of decode iterations against the kernel table.
    pub decode: f64,
    /// Time of prompts against the kernel table.
    pub prefill: f64,
    /// What reading the KV cache in decodes takes besides, as a fraction of the time that its numbers
    /// would take at the peak of the memory if each had one byte. Kernels have work with each
    /// number, so that an FP8 cache is read further below the bandwidth than one in BF16.
    pub kv_reading: f64,
}

impl Default for KernelFactors {
    fn default() -> KernelFactors {
        KernelFactors { decode: 1.0, prefill: 1.0, kv_reading: 0.0 }
    }
}

/// All that is fitted to measurements of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Of the host.
    pub host: HostTimes,
    /// Of kernels.
    pub kernels: KernelFactors,
    /// Of the GPU, where the iteration time is a roofline.
    pub efficiency: Efficiency,
}

/// A coefficient that a fit may move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Name with its unit, as in calibration files; a plain number has none.
    pub name: &'static str,
    /// Least value in that unit, above 0.
    pub low: f64,
    /// Value without any data.
    pub prior: f64,
    /// Largest value.
    pub high: f64,
}

const fn parameter(name: &'static str, low: f64, prior: f64, high: f64) -> Parameter {
    Parameter { name, low, prior, high }
}

/// Coefficients in all.
pub const PARAMETERS: usize = 15;

/// All coefficients in the order of [`Coefficients::of_values`]. Bounds keep them physical: no share of
/// a peak reaches it, no time is negative.
pub const TABLE: [Parameter; PARAMETERS] = [
    parameter("iteration_us", 50.0, 1_000.0, 5_000.0),
    parameter("sequence_us", 0.5, 15.0, 300.0),
    parameter("chunks_us", 100.0, 2_000.0, 60_000.0),
    parameter("request_us", 500.0, 15_000.0, 200_000.0),
    parameter("prompt_token_us", 0.05, 0.5, 5.0),
    parameter("decode_factor", 0.8, 1.0, 1.25),
    parameter("prefill_factor", 0.7, 1.0, 1.4),
    parameter("kv_reading", 0.005, 0.1, 3.0),
    parameter("mfu", 0.05, 0.6, 0.95),
    parameter("attention_mfu", 0.1, 0.4, 0.8),
    parameter("mbu", 0.4, 0.8, 0.95),
    parameter("expert_share", 0.15, 0.7, 1.0),
    parameter("cut_share", 0.3, 0.8, 1.0),
    parameter("exchange_us", 2.0, 5.0, 20.0),
    parameter("layer_us", 2.0, 15.0, 150.0),
];

/// Place of what the host takes for an iteration with chunks.
pub(crate) const CHUNKS: usize = 2;
/// Places of what a kernel table leaves open, and of what a roofline does.
const OF_TABLES: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const OF_ROOFLINES: [usize; 11] = [0, 1, 2, 3, 4, 7, 8, 9, 10, 13, 14];
const OF_EXPERTS: [usize; 13] = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14];

/// What the iteration time of a configuration rests on, which decides what it is fitted with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// A kernel table.
    Table,
    /// The roofline of a dense model.
    Dense,
    /// The roofline of a model with experts.
    Experts,
}

impl Basis {
    /// Places in [`TABLE`] of the coefficients that matter.
    #[must_use]
    pub fn open(self) -> &'static [usize] {
        match self {
            Basis::Table => &OF_TABLES,
            Basis::Dense => &OF_ROOFLINES,
            Basis::Experts => &OF_EXPERTS,
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Basis::Table => "kernel tables",
            Basis::Dense => "rooflines of dense models",
            Basis::Experts => "rooflines of models with experts",
        }
    }

    /// Name in calibration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Basis::Table => "table",
            Basis::Dense => "dense",
            Basis::Experts => "experts",
        }
    }
}

impl HostTimes {
    /// What a request with `input` prompt tokens takes before the engine has it.
    #[must_use]
    pub fn of_request(&self, input: u32) -> Span {
        Span::from_secs_f64(self.request + self.prompt_token * f64::from(input))
    }
}

impl Coefficients {
    /// An engine that adds nothing to its kernels but `iteration` for each iteration.
    #[must_use]
    pub fn of_iterations(iteration: Span) -> Coefficients {
        Coefficients {
            host: HostTimes { iteration: iteration.as_secs_f64(), ..HostTimes::default() },
            kernels: KernelFactors::default(),
            efficiency: Efficiency::PRIOR,
        }
    }

    /// From values in the order and the units of [`TABLE`].
    #[must_use]
    pub fn of_values(v: &[f64; PARAMETERS]) -> Coefficients {
        let us = |value: f64| value * 1e-6;
        Coefficients {
            host: HostTimes {
                iteration: us(v[0]),
                sequence: us(v[1]),
                chunks: us(v[2]),
                request: us(v[3]),
                prompt_token: us(v[4]),
            },
            kernels: KernelFactors { decode: v[5], prefill: v[6], kv_reading: v[7] },
            efficiency: Efficiency {
                mfu: v[8],
                attention_mfu: v[9],
                mbu: v[10],
                expert_share: v[11],
                cut_share: v[12],
                exchange: us(v[13]),
                layer: us(v[14]),
            },
        }
    }

    /// What an engine adds to the kernels where a KV token takes `kv_seconds` at the peak of the
    /// memory.
    #[must_use]
    pub fn overheads(&self, kv_seconds: f64) -> Overheads {
        let ps = |seconds: f64| Span::from_secs_f64(seconds).0;
        Overheads {
            iteration: ps(self.host.iteration),
            sequence: ps(self.host.sequence),
            kv_token: ps(kv_seconds * self.kernels.kv_reading),
            ungraphed: ps(self.host.chunks),
        }
    }
}
