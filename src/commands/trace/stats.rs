//! What a recorded workload is like, for people.
//!
//! Burstiness is the index of dispersion of counts: the variance of the requests in windows of one
//! length over their mean (D. R. Cox, P. A. W. Lewis, "The Statistical Analysis of Series of Events",
//! 1966, ch. 4). Arrivals without memory have 1 at every length; daily rhythm makes it grow with it.
//!
//! Invariants: only whole windows count, and a length of which there are fewer than ten is left out.
//!
//! Deliberately absent: intervals. A recording is one course of events, not a sample of many.

use scenarios::quantity::show_span;
use scenarios::trace::{LengthSummary, TraceReport};
use sim::units::Span;
use sim::workload::Trace;
use std::fmt::Write;

/// Windows in which requests are counted.
const WINDOWS: [Span; 4] =
    [Span::from_secs(1), Span::from_secs(10), Span::from_secs(60), Span::from_secs(600)];
/// Windows of which there are fewer say nothing.
const LEAST_WINDOWS: u64 = 10;

/// The report. Writing into a string cannot fail.
pub(super) fn text(trace: &Trace, report: &TraceReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<15} {value}");
    };
    line("layout", report.format.name().to_owned());
    line("requests", format!("{} of {} rows", report.rows, report.rows_read));
    for skipped in &report.skipped {
        line("left out", format!("{} rows: {}", skipped.rows, skipped.why));
    }
    if report.out_of_order > 0 {
        line("sorted in", format!("{} rows were earlier than the one before", report.out_of_order));
    }
    let seconds = report.first_to_last.as_secs_f64();
    line("span", format!("{seconds:.3} s from the first to the last"));
    if seconds > 0.0 && report.rows > 1 {
        line("rate", format!("{:.4} requests/s on average", (report.rows - 1) as f64 / seconds));
    }
    if let Some(cv) = gaps(trace) {
        line("gaps", format!("coefficient of variation {cv:.3} (1 without memory)"));
    }
    let dispersion = dispersion(trace, report.first_to_last);
    if !dispersion.is_empty() {
        let parts: Vec<String> = dispersion
            .iter()
            .map(|(window, index)| format!("{index:.3} in {}", show_span(*window)))
            .collect();
        line(
            "burstiness",
            format!("variance/mean of counts {} (1 without memory)", parts.join(", ")),
        );
    }
    line("prompt tokens", lengths(&report.input));
    line("answer tokens", lengths(&report.output));
    let (sessions, rows) = (report.sessions, report.rows_in_sessions);
    line("sessions", format!("{sessions} with {rows} of the requests"));
    line("prefix sharing", sharing(report));
    line("clock", clock(report));
    text
}

fn lengths(of: &LengthSummary) -> String {
    format!(
        "mean {:.1}, min {}, p50 {}, p90 {}, p95 {}, p99 {}, max {}",
        of.mean, of.min, of.p50, of.p90, of.p95, of.p99, of.max
    )
}

fn sharing(report: &TraceReport) -> String {
    if report.segments == 0 {
        return "unknown: the recording does not say which tokens are the same".to_owned();
    }
    format!(
        "{:.1} % of prompt tokens are in segments that other sessions use too ({} of {}); no more \
         than that can hit across sessions",
        report.shared_token_share * 1e2,
        report.shared_segments,
        report.segments
    )
}

fn clock(report: &TraceReport) -> String {
    let tick = show_span(report.tick);
    match report.suggested_jitter {
        Span::ZERO => format!("steps of {tick}"),
        _ => format!("steps of {tick}, coarse against the gaps: a replay should spread them"),
    }
}

/// The coefficient of variation of the gaps between requests.
fn gaps(trace: &Trace) -> Option<f64> {
    let gaps: Vec<f64> =
        trace.rows.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    let (mean, variance) = moments(&gaps)?;
    Some(variance.sqrt() / mean)
}

/// By window the index of dispersion of counts.
fn dispersion(trace: &Trace, length: Span) -> Vec<(Span, f64)> {
    let of = |window: Span| {
        let windows = length.0 / window.0;
        if windows < LEAST_WINDOWS {
            return None;
        }
        let mut counts = vec![0.0; usize::try_from(windows).ok()?];
        for row in &trace.rows {
            if let Some(count) =
                usize::try_from(row.at.0 / window.0).ok().and_then(|at| counts.get_mut(at))
            {
                *count += 1.0;
            }
        }
        let (mean, variance) = moments(&counts)?;
        Some((window, variance / mean))
    };
    WINDOWS.into_iter().filter_map(of).collect()
}

/// Mean and variance of two values or more whose mean is above zero.
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (values.len() > 1 && mean > 0.0).then(|| (mean, squares / (count - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::dice::Dice;
    use sim::units::Time;
    use sim::workload::TraceRow;

    fn trace(instants: impl Iterator<Item = f64>) -> Trace {
        let row = |at: f64| TraceRow {
            at: Time(Span::from_secs_f64(at).0),
            input: 10,
            output: 5,
            session: u32::MAX,
            segments_at: 0,
            segments_len: 0,
            context: 0,
        };
        let rows: Vec<TraceRow> = instants.map(row).collect();
        let span = rows.last().map_or(Span::ZERO, |row| Span(row.at.0));
        Trace { rows, segments: Vec::new(), span }
    }

    /// Arrivals without memory: 1 at every window, within four standard errors of `sqrt(2/n)`.
    #[test]
    fn arrivals_without_memory_are_not_bursty() {
        let (mut dice, mut at) = (Dice::stream(7), 0.0);
        let poisson = trace((0..40_000).map(|_| {
            at += -(1.0 - dice.uniform()).ln() / 10.0;
            at
        }));
        let found = dispersion(&poisson, poisson.span);
        assert_eq!(
            found.len(),
            3,
            "ten minutes are too long for a recording of {:?}",
            poisson.span
        );
        for (window, index) in found {
            let windows = poisson.span.as_secs_f64() / window.as_secs_f64();
            assert!((index - 1.0).abs() < 4.0 * (2.0 / windows).sqrt(), "{window:?}: {index}");
        }
        assert!((gaps(&poisson).expect("gaps") - 1.0).abs() < 0.03);
    }

    /// A clock's ticks have no variance; requests in tens have ten times that of single ones.
    #[test]
    fn regular_arrivals_are_smooth_and_crowds_are_bursts() {
        let regular = trace((0..1_000).map(|n| f64::from(n) / 4.0 + 0.01));
        for (_, index) in dispersion(&regular, regular.span) {
            assert!(index < 1e-9, "{index}");
        }
        assert!(gaps(&regular).expect("gaps") < 1e-6);
        let (mut dice, mut at) = (Dice::stream(9), 0.0);
        let crowds = trace((0..40_000).map(|n| {
            if n % 10 == 0 {
                at += -(1.0 - dice.uniform()).ln();
            }
            at
        }));
        let (_, index) = dispersion(&crowds, crowds.span)[0];
        assert!((8.5..11.5).contains(&index), "{index}");
        assert_eq!(
            (gaps(&trace([1.0].into_iter())), dispersion(&trace([].into_iter()), Span::ZERO)),
            (None, Vec::new())
        );
    }
}
