//! What is measured: histograms and windowed series.

mod counts;
mod histogram;
mod series;

pub use counts::BucketCounts;
pub use histogram::Histogram;
pub use series::{Series, Window};
