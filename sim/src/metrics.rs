//! What is measured: histograms and windowed series.

mod histogram;
mod series;

pub use histogram::Histogram;
pub use series::{Series, Window};
