//! What a GPU did while a load ran: power, clocks, memory and the like, read from NVML.
//!
//! ```text
//! Sampler::start(&Options) ──► thread, one Sample an instant ──► stop() ──► Profile ──► summary()
//!                                                                              └──► CSV, Parquet
//! ```
//!
//! `libnvidia-ml` is opened at run time, so a build needs no driver. Everything NVML says is checked
//! before it is believed: a value that cannot be is an error of that reading, not a sample.
//!
//! Invariants: a quantity that the device does not have is `None` in every sample and listed as
//! missing with the reason; a reading that failed once is `None` there and counted; a GPU that is
//! lost ends the sampling and keeps what was read before; instants are fixed in advance, so a slow
//! reading shifts no other.
//!
//! Deliberately absent: changing anything on the device, several GPUs in one sampler (start one
//! each), and instances of MIG, for which NVML has little to say.

mod csv;
mod facts;
mod faults;
mod profile;
mod reader;
mod sample;
mod sampler;
mod summary;

pub use self::csv::{CsvError, read_csv, write_csv};
pub use facts::DeviceFacts;
pub use faults::FieldErrors;
pub use profile::{Ended, MetadataError, Profile};
pub use sample::{Cell, Column, Gpm, Kind, Reason, Sample, Throttle};
pub use sampler::{GpuChoice, LONGEST, OpenError, Options, Sampler};
pub use summary::{
    Energy, EnergySource, JOULES_PER_KWH, Power, PowerCost, SlowGpu, Summary, Throttled,
};
