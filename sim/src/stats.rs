//! Pure statistics on slices: what turns replications into intervals.
//!
//! Invariants: no state, no input or output, every transcendental function from `libm`, so that
//! an interval is the same on every platform; an input that supports no answer gives `None`.
//!
//! Deliberately absent: anything that treats the autocorrelated values of one run as independent.

pub mod interval;
pub mod mser;
pub mod quantile;
pub mod resample;
pub mod special;

pub use interval::{Interval, TInterval, t_interval};
pub use mser::{Mser, mser5};
pub use quantile::{
    OrderRanks, Smoothing, min_samples_for_upper_bound, order_statistic_ranks, quantile_sorted,
};
pub use resample::{bootstrap, jackknife, jackknife_error, jackknife_interval};
