//! The two trace formats that shipped scenarios need.
//!
//! Invariants: rows come out in time order from time zero; a line that is not understood is an
//! error with its line number, never a guess; decompression stops at a fixed size.
//!
//! Deliberately absent: other formats, and columns the simulator does not use.

use super::Format;
use serde_json::Value;
use sim::units::{Span, Time};
use sim::workload::{Trace, TraceRow, TraceSegment};
use std::io::Read;

/// Bytes after decompression.
const LONGEST: u64 = 1 << 31;
/// Tokens of one Mooncake block.
const BLOCK: u32 = 512;

/// Reads a trace, plain or compressed with gzip or Zstandard.
pub(super) fn read(format: Format, name: &str, bytes: &[u8]) -> Result<Trace, String> {
    let mut text = String::new();
    let read = if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(bytes)
            .map_err(|error| format!("{name}: {error}"))?;
        decoder.take(LONGEST).read_to_string(&mut text)
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(bytes).take(LONGEST).read_to_string(&mut text)
    } else {
        bytes.take(LONGEST).read_to_string(&mut text)
    };
    read.map_err(|error| format!("{name}: {error}"))?;
    let mut trace = Trace::default();
    for (number, line) in text.lines().enumerate() {
        let parsed = match format {
            Format::Azure2023 if number == 0 => continue,
            _ if line.trim().is_empty() => continue,
            Format::Azure2023 => azure(line, &mut trace),
            Format::Mooncake => mooncake(line, &mut trace),
        };
        parsed.ok_or_else(|| format!("{name}:{}:1: not a row of this format", number + 1))?;
    }
    trace.rows.sort_by_key(|row| row.at);
    let Some(first) = trace.rows.first().map(|row| row.at) else {
        return Err(format!("{name}:1:1: no rows"));
    };
    for row in &mut trace.rows {
        row.at = Time::ZERO.after(row.at.since(first));
    }
    trace.span = trace.rows.last().map_or(Span::ZERO, |row| row.at.since(Time::ZERO));
    Ok(trace)
}

fn row(at: Time, input: u32, output: u32) -> Option<TraceRow> {
    let valid = (1..=100_000_000).contains(&input) && (1..=100_000_000).contains(&output);
    let no_session = u32::MAX;
    valid.then_some(TraceRow {
        at,
        input,
        output,
        session: no_session,
        segments_at: 0,
        segments_len: 0,
    })
}

/// `2023-11-16 18:15:46.6805900,374,44`; all rows are of one day.
fn azure(line: &str, trace: &mut Trace) -> Option<()> {
    let mut cells = line.trim_end().split(',');
    let (stamp, input, output) = (cells.next()?, cells.next()?, cells.next()?);
    let clock = stamp.strip_prefix("2023-11-16 ")?;
    let mut parts = clock.split(':');
    let hours: u64 = parts.next()?.parse().ok().filter(|&hours| hours < 24)?;
    let minutes: u64 = parts.next()?.parse().ok().filter(|&minutes| minutes < 60)?;
    let seconds = crate::quantity::span(&format!("{}s", parts.next()?)).ok()?;
    let at = Time::ZERO
        .after(Span::from_secs(hours * 3_600 + minutes * 60))
        .after(seconds.min(Span::from_secs(60)));
    trace.rows.push(row(at, input.parse().ok()?, output.parse().ok()?)?);
    Some(())
}

/// `{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [block, …]}`.
fn mooncake(line: &str, trace: &mut Trace) -> Option<()> {
    let object: Value = serde_json::from_str(line).ok()?;
    let number = |key: &str| object.get(key)?.as_u64();
    let at = Time::ZERO.after(Span::from_millis(number("timestamp")?));
    let input = u32::try_from(number("input_length")?).ok()?;
    let output = u32::try_from(number("output_length")?).ok()?;
    let mut row = row(at, input, output)?;
    row.segments_at = u32::try_from(trace.segments.len()).ok()?;
    let mut left = input;
    for id in object.get("hash_ids")?.as_array()? {
        let tokens = left.min(BLOCK);
        left -= tokens;
        if tokens > 0 {
            trace.segments.push(TraceSegment { id: id.as_u64()?, tokens, shared: true });
            row.segments_len += 1;
        }
    }
    trace.rows.push(row);
    (left == 0).then_some(())
}
