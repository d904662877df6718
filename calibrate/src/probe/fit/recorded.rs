//! The cells of a probe that a fit can use: who asked when for what, and the times that came of it.
//!
//! Invariants: a cell is used whole or not at all, and every one that is not has a reason; measured
//! times are in rising order, for nobody can say which of several requests that were sent together
//! an engine takes first.
//!
//! Deliberately absent: what an engine makes of them (see `simulated`).

use super::super::results::{CellRow, CellStatus, RequestRow};
use sim::units::Span;
use std::collections::BTreeMap;

/// A request of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Prompt tokens.
    pub(super) prompt: u32,
    /// Leading ones of those that the prefix cache had.
    pub(super) cached: u32,
    /// Answer tokens.
    pub(super) output: u32,
    /// Since the cell's first request was sent, of a lane's first; since the lane saw the last token
    /// before, of the others.
    pub(super) pause: Span,
}

/// A cell as it went.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loop {
    /// The cell's number.
    pub(super) cell: u32,
    /// What it is there for.
    pub(super) purpose: String,
    /// Mean prompt and answer tokens, rounded.
    pub(super) lengths: (u32, u32),
    /// Tokens that the prefix cache has before the lanes start: the most that any prompt found.
    pub(super) prefix: u32,
    /// The requests of each lane, in their order.
    pub(super) lanes: Vec<Vec<Asked>>,
    /// From sending to the first token, seconds, rising.
    pub(super) ttft: Vec<f64>,
    /// Between two tokens of an answer, seconds, rising; empty where no answer has two.
    pub(super) tpot: Vec<f64>,
}

/// Cells to fit to, and those that are left out, each with the reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Recorded {
    pub(super) loops: Vec<Loop>,
    pub(super) left_out: Vec<(u32, String)>,
}

/// Sorts the rows of a probe.
pub(super) fn recorded(cells: &[CellRow], requests: &[RequestRow]) -> Recorded {
    let mut of_cell: BTreeMap<(u32, u32), Vec<&RequestRow>> = BTreeMap::new();
    for row in requests.iter().filter(|row| row.lane > 0 && row.error.is_empty()) {
        of_cell.entry((row.session, row.cell)).or_default().push(row);
    }
    // A cell that an earlier session did not finish has a later row that counts.
    let last: BTreeMap<u32, &CellRow> = cells.iter().map(|row| (row.cell, row)).collect();
    let mut recorded = Recorded::default();
    for (number, cell) in last {
        let rows = of_cell.get(&(cell.session, number)).map_or(&[][..], Vec::as_slice);
        match usable(cell, rows) {
            Ok(it) => recorded.loops.push(it),
            Err(reason) => recorded.left_out.push((number, reason.to_owned())),
        }
    }
    recorded
}

fn usable(cell: &CellRow, rows: &[&RequestRow]) -> Result<Loop, &'static str> {
    if cell.purpose == "warm-up" {
        return Err("a warm-up");
    }
    if cell.status != CellStatus::Complete {
        return Err("not complete");
    }
    if cell.errors > 0 || cell.answered != cell.planned {
        // Lanes that wait to try again leave the others alone for a while, and a server may go on
        // with an answer that nobody reads any more.
        return Err("requests failed");
    }
    if cell.preemptions.is_some_and(|preemptions| preemptions > 0) {
        return Err("requests lost their blocks");
    }
    if rows.len() as u64 != cell.planned {
        return Err("requests.csv has not all of its requests");
    }
    if cell.cached_percent > 0
        && cell.prefix_hits.is_none()
        && rows.iter().any(|row| row.cached_tokens.is_none())
    {
        return Err("the server does not say what its prefix cache had");
    }
    let (mut ttft, mut tpot) = (Vec::new(), Vec::new());
    for row in rows {
        let (Some(first), Some(last)) = (row.ttft_s, row.last_token_s) else {
            return Err("a request has no times");
        };
        ttft.push(first);
        let gaps = row.output_tokens.unwrap_or(0).saturating_sub(1);
        tpot.extend((gaps > 0).then(|| (last - first) / f64::from(gaps)));
    }
    ttft.sort_by(f64::total_cmp);
    tpot.sort_by(f64::total_cmp);
    // Times of nothing have no logarithm.
    if ttft.iter().chain(&tpot).any(|&seconds| !(seconds > 0.0 && seconds.is_finite())) {
        return Err("a time is not above zero");
    }
    let lanes = lanes(cell, rows);
    Ok(Loop {
        cell: cell.cell,
        purpose: cell.purpose.clone(),
        lengths: (cell.isl, cell.osl),
        prefix: lanes.iter().flatten().map(|asked| asked.cached).max().unwrap_or(0),
        lanes,
        ttft,
        tpot,
    })
}

fn lanes(cell: &CellRow, rows: &[&RequestRow]) -> Vec<Vec<Asked>> {
    // The engine counts the hits of all requests together, and they share the same words.
    let of_each = cell.prefix_hits.map(|hits| (hits / cell.answered.max(1)) as u32);
    let began = rows.iter().map(|row| row.sent_s).fold(f64::INFINITY, f64::min);
    let mut by_lane: BTreeMap<u32, Vec<&RequestRow>> = BTreeMap::new();
    for row in rows {
        by_lane.entry(row.lane).or_default().push(row);
    }
    let lane = |mut rows: Vec<&RequestRow>| {
        rows.sort_by_key(|row| row.sequence);
        let mut free = began;
        let mut asked = Vec::new();
        for row in rows {
            let pause = Span::from_secs_f64((row.sent_s - free).max(0.0));
            free = row.sent_s + row.last_token_s.unwrap_or(0.0);
            let prompt = row.input_tokens.unwrap_or(cell.isl).max(1);
            let cached = match cell.cached_percent {
                0 => 0,
                _ => row.cached_tokens.or(of_each).unwrap_or(0),
            };
            let output = row.output_tokens.unwrap_or(1).max(1);
            asked.push(Asked { prompt, cached: cached.min(prompt - 1), output, pause });
        }
        asked
    };
    by_lane.into_values().map(lane).collect()
}
