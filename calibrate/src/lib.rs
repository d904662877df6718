//! Hardware and model facts turned into iteration times and KV capacity.
//!
//! ```text
//! gpu(name) + model(name) + engine_preset(name).resolve(…) ──► calibration(…) ──► StepTime, blocks
//! ```
//!
//! Invariants: every number comes from a row of `data/*.toml` that names its source and date, or
//! from a documented prior; a result says by its label which of the two it rests on.
//!
//! Deliberately absent: reading files at run time, and any claim that a kernel table or a roofline
//! has been validated against serving.

pub mod calibration;
pub mod catalog;
pub mod closed_loop;
pub mod coefficients;
mod drive;
pub mod engine_family;
pub mod engine_preset;
mod engine_rows;
pub mod fit;
pub mod fitted;
pub mod gpu;
pub mod hosted;
pub mod imports;
pub mod kv_capacity;
pub mod model;
pub mod nvml;
pub mod predict;
pub mod probe;
pub mod profile;
pub mod replay;
pub mod roofline;
pub mod score;
pub mod serving;
pub mod trust;

pub use calibration::{Calibration, CalibrationError, calibration};
pub use catalog::{Catalog, CatalogError, catalog, engine_preset, gpu, hosted_model, model};
pub use engine_family::{CapacityPolicy, Family};
pub use engine_preset::{
    EngineDefaults, EngineOverrides, EnginePreset, EnginePresetError, Origin, PerformanceMode,
    Resolved,
};
pub use gpu::{Gpu, GpuPrice, Link, PriceKind};
pub use hosted::{HostedCache, HostedModel, Timing};
pub use kv_capacity::{CapacityError, ESTIMATED, KvCapacity, kv_capacity};
pub use model::{Mla, Model, Moe, Precision};
pub use profile::{HeldOutErrors, RelativeError};
