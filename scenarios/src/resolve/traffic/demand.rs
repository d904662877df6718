//! What a source asks for on average, for the estimate of the load.
//!
//! Deliberately absent: traffic factors, and calls with lengths of their own (see `tasks`).

use super::{LengthSource, MOST_TURNS, mean_rate};
use crate::file::TrafficFile;
use sim::units::{Span, Time};
use sim::workload::Arrivals;

/// Mean demand of a source before its traffic factor.
#[derive(Clone, Copy)]
pub(in crate::resolve) struct Demand {
    /// Requests per second averaged over the horizon; `None` for closed loops.
    pub(in crate::resolve) rate: Option<f64>,
    /// Mean prompt tokens.
    pub(in crate::resolve) input: f64,
    /// Mean tokens written.
    pub(in crate::resolve) output: f64,
}

/// The demand of a source, with what is drawn or recorded for it.
pub(super) fn demand(
    arrivals: &Arrivals,
    lengths: &LengthSource<'_>,
    file: &TrafficFile,
    horizon: Span,
) -> Demand {
    let turns = file.sessions.as_ref().map_or(1.0, |s| s.turns.mean().min(f64::from(MOST_TURNS)));
    let prefix = file.prefix.as_ref().map_or(0.0, |prefix| f64::from(prefix.tokens.value));
    let rate = match arrivals {
        Arrivals::Renewal { rate, .. } => Some(turns * mean_rate(rate, horizon)),
        Arrivals::Modulated { states, shape } => {
            let time: f64 = states.iter().map(|(_, stay)| stay.as_secs_f64()).sum();
            let events: f64 = states.iter().map(|(rate, stay)| rate * stay.as_secs_f64()).sum();
            Some(turns * events / time * mean_rate(shape, horizon))
        }
        Arrivals::Replay { trace, .. } => {
            let span = trace.span.min(horizon).as_secs_f64();
            let within = trace.rows.partition_point(|row| row.at < Time::ZERO.after(horizon));
            (span > 0.0).then(|| within as f64 / span)
        }
        Arrivals::ClosedLoop { .. } => None,
    };
    match lengths {
        LengthSource::Drawn { input, output, .. } => {
            Demand { rate, input: prefix + input.mean(), output: output.mean() }
        }
        LengthSource::Unused => Demand { rate, input: 0.0, output: 0.0 },
        LengthSource::Recorded { trace, .. } => {
            let count = trace.rows.len().max(1) as f64;
            let mean = |total: u64| total as f64 / count;
            Demand {
                rate,
                input: mean(trace.rows.iter().map(|row| u64::from(row.input)).sum()),
                output: mean(trace.rows.iter().map(|row| u64::from(row.output)).sum()),
            }
        }
    }
}
