//! What is measured: histograms and windowed series.

mod bands;
mod counts;
mod cumulated;
mod histogram;
mod parts;
mod series;

pub use bands::{BANDS, BandCounts, band};
pub use counts::BucketCounts;
pub use cumulated::{Cumulated, Rest};
pub use histogram::Histogram;
pub use parts::{
    BreakerWindow, LimitSeries, MOST_CELLS, ModelWindow, Parts, PoolWindow, RemoteWindow, TaskActs,
    TaskWindow, ToolWindow,
};
pub use series::{Series, Window};
