//! What is measured: histograms and windowed series.

mod counts;
mod cumulated;
mod histogram;
mod series;

pub use counts::BucketCounts;
pub use cumulated::{Cumulated, Rest};
pub use histogram::Histogram;
pub use series::{Series, Window};
