//! One kind of GPU and what an hour of it costs.
//!
//! Invariants: memory is what the driver reports, so a fraction of it is what an engine may claim;
//! arithmetic rates are dense.
//!
//! Deliberately absent: price estimates; a price is a quoted row or missing.

use serde::Deserialize;
use sim::units::{Bytes, Money};

use crate::model::Precision;

/// Facts of one GPU.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Name in scenario files.
    pub name: String,
    /// Other names accepted.
    pub aliases: Vec<String>,
    /// Name the driver gives.
    pub product: String,
    /// Total memory in MiB as the driver reports it.
    pub memory_mib: u64,
    /// Memory bandwidth in TB/s (10¹² bytes a second).
    pub hbm_tb_per_s: f64,
    /// Dense BF16 rate in TFLOP/s.
    pub bf16_tflops: f64,
    /// Dense FP8 rate in TFLOP/s.
    pub fp8_tflops: f64,
    /// NVLink bandwidth in one direction, GB/s.
    pub nvlink_gb_per_s: f64,
    /// Power limit of the board in watts.
    pub power_w: u32,
    /// Whether engines treat it as an A100, which gets smaller batch defaults.
    pub a100_class: bool,
    /// Where the row is from.
    pub source: String,
    /// Date of the row, ISO 8601.
    pub as_of: String,
}

impl Gpu {
    /// Total memory.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        Bytes(self.memory_mib << 20)
    }

    /// Dense arithmetic rate in FLOP/s for weights of `precision`.
    #[must_use]
    pub fn flop_per_s(&self, precision: Precision) -> f64 {
        match precision {
            Precision::Bf16 => self.bf16_tflops * 1e12,
            Precision::Fp8 => self.fp8_tflops * 1e12,
        }
    }

    /// Memory bandwidth in bytes a second.
    #[must_use]
    pub fn hbm_bytes_per_s(&self) -> f64 {
        self.hbm_tb_per_s * 1e12
    }

    /// NVLink bandwidth in one direction, bytes a second.
    #[must_use]
    pub fn nvlink_bytes_per_s(&self) -> f64 {
        self.nvlink_gb_per_s * 1e9
    }
}

/// How a GPU is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriceKind {
    /// Can be had and kept at the list price.
    OnDemand,
    /// May be taken away.
    Spot,
    /// Median of offers by many sellers.
    Marketplace,
}

/// A quoted price of one GPU for one hour.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPrice {
    /// Name of the GPU in the catalogue.
    pub gpu: String,
    /// Who sells it.
    pub vendor: String,
    /// How it is bought.
    pub kind: PriceKind,
    /// The vendor's product.
    pub product: String,
    /// US dollars per GPU and hour as a decimal number; checked when the catalogue is loaded.
    usd_per_gpu_hour: String,
    /// Where the quote is from.
    pub source: String,
    /// Date of the quote, ISO 8601.
    pub as_of: String,
}

impl GpuPrice {
    /// Price of one GPU for one hour, exact; `None` only when the data file holds no number.
    #[must_use]
    pub fn per_gpu_hour(&self) -> Option<Money> {
        let (whole, part) =
            self.usd_per_gpu_hour.split_once('.').unwrap_or((&self.usd_per_gpu_hour, ""));
        if part.len() > 12 {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let part: u64 = format!("{part:0<12}").parse().ok()?;
        Some(Money(i128::from(whole) * Money::PICO_PER_DOLLAR + i128::from(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_without_rounding() {
        let catalog = crate::catalog().expect("the data is valid");
        let spot = catalog.prices("h200-sxm").find(|p| p.kind == PriceKind::Spot).expect("a row");
        assert_eq!(spot.per_gpu_hour(), Some(Money(3_399_850_000_000)));
    }
}
