//! Two scenarios side by side as one JSON object, `surgeline.compare/1`.

use super::contrast::{OneTask, Sides};
use super::{Results, text};
use crate::compare::CompareReport;
use serde::Serialize;

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.compare/1";

/// The document, indented and with a newline at the end.
#[must_use]
pub fn render(report: &CompareReport<'_>) -> String {
    let result = report.result;
    let arm = |at: usize| {
        let info = &report.scenarios[at];
        let run = if at == 0 { &result.before } else { &result.after };
        let name = &report.names[at];
        Arm { scenario: &info.name, name, sha256: &info.sha256, run: Results::of(run) }
    };
    let mut out = text(
        &Document {
            schema: SCHEMA,
            version: report.version,
            pairs: result.before.replications,
            seed: result.before.seed,
            baseline: arm(0),
            candidate: arm(1),
            sides: Sides::of(&result.contrast),
            examples: report.examples.iter().map(OneTask::of).collect(),
            notes: &report.notes,
        },
        true,
    );
    out.push('\n');
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'a str,
    pairs: u32,
    seed: u64,
    baseline: Arm<'a>,
    candidate: Arm<'a>,
    #[serde(flatten)]
    sides: Sides<'a>,
    examples: Vec<OneTask<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Arm<'a> {
    scenario: &'a str,
    name: &'a str,
    sha256: &'a str,
    run: Results<'a>,
}
