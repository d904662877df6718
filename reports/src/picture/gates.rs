//! The changes that a check judges, beside what it tolerates.

use super::{Axis, Drawing, Measure, Picture, Range, Ranges, Topic};
use experiments::check::CheckResult;
use experiments::gate::Judged;

/// Gates on a change in per cent; others have units of their own and stand in the table.
pub(crate) fn gates(result: &CheckResult, word: impl Fn(&Judged) -> &'static str) -> Vec<Topic> {
    let row = |judged: &Judged| {
        let test = judged.test.filter(|test| test.is_relative)?;
        Some(Range {
            name: judged.gate.name.clone(),
            value: test.change,
            ends: (test.low, test.high),
            limit: Some(test.tolerance),
            verdict: word(judged).to_owned(),
        })
    };
    let ranges = Ranges {
        axis: Axis::new("change from the baseline to the candidate", Measure::Share),
        rows: result.gates.iter().filter_map(row).collect(),
    };
    let picture = Picture::of(
        "gates",
        "How far each number moves, and how far it may",
        "The line is the interval of the change at the confidence of the gate, the tick what is \
         tolerated. Each gate has a scale of its own, on which that is equally far from no change; an \
         arrow says that the interval goes on. Gates that are not judged in per cent stand in the table \
         alone.",
        Drawing::Ranges(ranges),
    );
    let pictures: Vec<Picture> = picture.into_iter().collect();
    if pictures.is_empty() { Vec::new() } else { vec![Topic { title: "Gates", pictures }] }
}
