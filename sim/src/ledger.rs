//! What was used, in integers, and what it costs.
//!
//! Invariants: quantities are exact integers; a price is applied once to a total and truncated to
//! the pico-dollar there (never per request), so the same run can be priced again without running
//! again; the audit prices the pools independently and compares.
//!
//! Deliberately absent: rounding to cents, which belongs to reports.

use crate::units::{Money, PS_PER_SEC};

/// GPU time of one pool and its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GpuAccount {
    /// GPU picoseconds rented.
    pub gpu_time: u128,
    /// Price per GPU hour.
    pub per_gpu_hour: Money,
}

/// All quantities of one run that cost money.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ledger {
    /// One per pool.
    pub gpu: Vec<GpuAccount>,
}

/// `picoseconds · price of an hour`, truncated to the pico-dollar: what is paid for time.
#[must_use]
pub fn rent(picoseconds: u128, per_hour: Money) -> Money {
    const HOUR: i128 = 3_600 * PS_PER_SEC as i128;
    // Split the product so that it stays far below 2^127 for any fleet and price.
    let time = i128::try_from(picoseconds).unwrap_or(i128::MAX / (1 << 64));
    let (hours, rest) = (time / HOUR, time % HOUR);
    Money(hours * per_hour.0 + rest * per_hour.0 / HOUR)
}

impl GpuAccount {
    /// `gpu_time · price`, truncated to the pico-dollar.
    #[must_use]
    pub fn spend(self) -> Money {
        rent(self.gpu_time, self.per_gpu_hour)
    }
}

impl Ledger {
    /// Total spend on GPUs.
    #[must_use]
    pub fn gpu_spend(&self) -> Money {
        Money(self.gpu.iter().map(|account| account.spend().0).sum())
    }
}
