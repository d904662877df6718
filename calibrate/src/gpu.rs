//! One kind of GPU and what an hour of it costs.
//!
//! Invariants: memory is what the driver reports, so a fraction of it is what an engine may claim;
//! arithmetic rates are dense.
//!
//! Deliberately absent: price estimates; a price is a quoted row or missing.

use serde::Deserialize;
use sim::units::{Bytes, Money};

use crate::model::Precision;

/// What joins the GPUs of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// NVLink through switches: every pair at full bandwidth.
    NvLink,
    /// PCI Express.
    Pcie,
}

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
    /// Dense FP8 rate in TFLOP/s; `None`: no FP8 units.
    pub fp8_tflops: Option<f64>,
    /// What joins the GPUs of one replica.
    pub link: Link,
    /// Bandwidth of that link in one direction, GB/s.
    pub link_gb_per_s: f64,
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

    /// Dense arithmetic rate in FLOP/s for weights of `precision`. Without FP8 units, FP8 weights
    /// are kept and read as such and multiplied in BF16, as vLLM's Marlin kernels do on Ampere.
    #[must_use]
    pub fn flop_per_s(&self, precision: Precision) -> f64 {
        match precision {
            Precision::Bf16 => self.bf16_tflops * 1e12,
            Precision::Fp8 => self.fp8_tflops.unwrap_or(self.bf16_tflops) * 1e12,
        }
    }

    /// Memory bandwidth in bytes a second.
    #[must_use]
    pub fn hbm_bytes_per_s(&self) -> f64 {
        self.hbm_tb_per_s * 1e12
    }

    /// Bandwidth between the GPUs of a replica in one direction, bytes a second.
    #[must_use]
    pub fn link_bytes_per_s(&self) -> f64 {
        self.link_gb_per_s * 1e9
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

    /// The figures of the datasheets, which print some of them with sparsity: a row that took
    /// such a figure for a dense one would be twice as fast.
    #[test]
    fn peaks_are_dense() {
        let datasheets = [
            ("h100-sxm", 989.0, Some(1979.0), 3.35),
            ("h100-pcie", 1513.0 / 2.0, Some(3026.0 / 2.0), 2.0),
            ("h200-sxm", 989.0, Some(1979.0), 4.8),
            ("a100-sxm-80gb", 312.0, None, 2.039),
            ("a100-pcie-80gb", 312.0, None, 1.935),
            ("l40s", 733.0 / 2.0, Some(1466.0 / 2.0), 0.864),
            ("l4", 242.0 / 2.0, Some(485.0 / 2.0), 0.3),
            ("b200-sxm", 4500.0 / 2.0, Some(9000.0 / 2.0), 7.7),
            // 4,000 TOPS in FP4 with sparsity at 2.6 GHz; the Server Edition runs at 2.43 GHz.
            ("rtx-pro-6000", 4000.0 / 8.0 * 2.43 / 2.6, Some(4000.0 / 4.0 * 2.43 / 2.6), 1.597),
        ];
        assert_eq!(datasheets.len(), crate::catalog().expect("valid").gpus.len());
        for (name, bf16, fp8, bandwidth) in datasheets {
            let gpu = crate::gpu(name).expect("in the catalogue");
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.02;
            assert!(near(gpu.bf16_tflops, bf16) && near(gpu.hbm_tb_per_s, bandwidth), "{name}");
            match fp8 {
                Some(fp8) => assert!(near(gpu.flop_per_s(Precision::Fp8), fp8 * 1e12), "{name}"),
                None => assert!(near(gpu.flop_per_s(Precision::Fp8), bf16 * 1e12), "{name}"),
            }
        }
    }

    #[test]
    fn prices_are_read_without_rounding() {
        let catalog = crate::catalog().expect("the data is valid");
        let spot = catalog.prices("h200-sxm").find(|p| p.kind == PriceKind::Spot).expect("a row");
        assert_eq!(spot.per_gpu_hour(), Some(Money(3_399_850_000_000)));
    }
}
