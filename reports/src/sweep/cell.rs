//! One cell: what was changed, and every number that came of it.
//!
//! Meaning, beside the names: counts are sums over all replications; `result_sha256` is the one that
//! `surgeline run` prints for the same overrides; a value that is absent is `null` and has a
//! `reason`.
//!
//! Invariant: [`CellDocument::parse`] of [`CellDocument::render`] is the same document.
//!
//! Deliberately absent: times, host names, and how many threads there were.

use super::ordered::Ordered;
use crate::digest::result_sha256;
use crate::json::{stop_code, text};
use experiments::sweep::{Measured, Outcome};
use experiments::{Estimate, ObjectiveResult, RunResult, Sample, StopReason, TaskCounts, Verdict};
use serde::{Deserialize, Serialize};

/// Name and version of the shape.
const SCHEMA: &str = "surgeline.sweep.cell/1";

/// The file of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellDocument {
    schema: String,
    /// Its number, from 0.
    pub cell: usize,
    overrides: Ordered<String>,
    /// Why the scenario refuses this combination; absent where it does not.
    pub refused: Option<String>,
    /// What was found; absent where nothing was run.
    pub result: Option<CellResult>,
}

/// What a cell found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    scenario_sha256: String,
    result_sha256: String,
    /// Replications that count.
    pub replications: u32,
    stopped: Stopped,
    simulated_seconds: f64,
    warm_up_seconds: f64,
    measured_seconds: f64,
    /// Events of all replications.
    pub events: u64,
    log_hashes: Vec<String>,
    tasks: Ordered<Counts>,
    stability: Stability,
    objectives: Vec<Objective>,
    numbers: Ordered<Number>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stopped {
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    widest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counts {
    arrived: u64,
    succeeded: u64,
    failed: u64,
    rejected: u64,
    abandoned: u64,
    in_flight: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stability {
    verdict: Option<String>,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Objective {
    name: String,
    target: String,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    met: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A number with its interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Number {
    /// `s`, `USD`, `1/s`, or empty for a ratio.
    pub unit: String,
    /// The estimate.
    pub value: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Why something is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl CellDocument {
    /// What became of a cell with these overrides.
    #[must_use]
    pub fn of(cell: usize, overrides: &[(&str, &str)], outcome: &Outcome) -> CellDocument {
        let (refused, result) = match outcome {
            Outcome::Refused(problems) => (Some(problems.clone()), None),
            Outcome::Measured(measured) => (None, Some(CellResult::of(measured))),
        };
        let overrides = overrides.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        let (schema, overrides) = (SCHEMA.to_owned(), Ordered(overrides.collect()));
        CellDocument { schema, cell, overrides, refused, result }
    }

    /// The same for another cell with the same overrides.
    #[must_use]
    pub fn repeated(self, cell: usize) -> CellDocument {
        CellDocument { cell, ..self }
    }

    /// The file, with a newline at its end.
    #[must_use]
    pub fn render(&self) -> String {
        text(self, true) + "\n"
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Why it is no cell that this version knows.
    pub fn parse(text: &str) -> Result<CellDocument, String> {
        let found: CellDocument = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match found.schema.as_str() {
            SCHEMA => Ok(found),
            other => Err(format!("its schema is `{other}`, and this version knows `{SCHEMA}`")),
        }
    }

    /// Whether it is the cell of this number with these overrides.
    #[must_use]
    pub fn is(&self, cell: usize, overrides: &[(&str, &str)]) -> bool {
        let own = self.overrides.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        self.cell == cell && own.eq(overrides.iter().copied())
    }

    /// Whether it was run as often as all cells of a sweep are, where that is a fixed number and
    /// nothing stopped it.
    #[must_use]
    pub fn is_of(&self, sample: Sample) -> bool {
        let (Some(result), Sample::Fixed(wanted)) = (&self.result, sample) else { return true };
        result.stopped.code != "fixed"
            || (result.replications == wanted && result.log_hashes.len() == wanted as usize)
    }

    /// SHA-256 of the scenario with these overrides; absent where the scenario refuses them.
    #[must_use]
    pub fn scenario_sha256(&self) -> Option<&str> {
        self.result.as_ref().map(|result| result.scenario_sha256.as_str())
    }

    /// The values of the levers, in their order.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.overrides.0.iter().map(|(_, value)| value.as_str())
    }

    /// Every number with its path.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, &Number)> {
        let numbers = self.result.iter().flat_map(|result| &result.numbers.0);
        numbers.map(|(path, number)| (path.as_str(), number))
    }

    /// The number of a path.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<&Number> {
        self.result.as_ref()?.numbers.get(path)
    }

    /// Whether each objective is met, by its name.
    pub(super) fn objectives(&self) -> impl Iterator<Item = (&str, Option<bool>)> {
        let judged = self.result.iter().flat_map(|result| &result.objectives);
        judged.map(|objective| (objective.name.as_str(), objective.met))
    }

    /// The verdict on its stability.
    pub(super) fn verdict(&self) -> Option<&str> {
        self.result.as_ref()?.stability.verdict.as_deref()
    }

    /// Names of its tasks.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &str> {
        let tasks = self.result.iter().flat_map(|result| &result.tasks.0);
        tasks.map(|(name, _)| name.as_str())
    }
}

impl CellResult {
    fn of(measured: &Measured) -> CellResult {
        let result: &RunResult = &measured.result;
        let widest = match &result.stopped {
            StopReason::PrecisionNotReached(widest) => Some(widest.clone()),
            _ => None,
        };
        let number = |(path, unit, estimate): &(String, &str, Estimate)| {
            (path.clone(), Number::of(unit, estimate))
        };
        let tasks = result.tasks.iter().map(|task| (task.name.clone(), Counts::of(&task.counts)));
        CellResult {
            scenario_sha256: measured.sha256.clone(),
            result_sha256: result_sha256(result),
            replications: result.replications,
            stopped: Stopped { code: stop_code(&result.stopped).to_owned(), widest },
            simulated_seconds: result.horizon.as_secs_f64(),
            warm_up_seconds: result.warm_up.as_secs_f64(),
            measured_seconds: result.measured.as_secs_f64(),
            events: result.events,
            log_hashes: result.log_hashes.iter().map(|hash| format!("{hash:016x}")).collect(),
            tasks: Ordered(tasks.collect()),
            stability: Stability {
                verdict: result.stability.verdict.map(|verdict| word(verdict).to_owned()),
                why: result.stability.why.clone(),
            },
            objectives: result.objectives.iter().map(Objective::of).collect(),
            numbers: Ordered(measured.numbers.iter().map(number).collect()),
            warnings: result.warnings.iter().map(|w| w.code().to_owned()).collect(),
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Stable => "stable",
        Verdict::Unstable => "unstable",
        Verdict::Metastable => "metastable",
    }
}

impl Counts {
    fn of(counts: &TaskCounts) -> Counts {
        let TaskCounts { arrived, succeeded, failed, rejected, abandoned, in_flight, .. } = *counts;
        Counts { arrived, succeeded, failed, rejected, abandoned, in_flight }
    }
}

impl Objective {
    fn of(judged: &ObjectiveResult) -> Objective {
        let (objective, estimate) = (&judged.objective, &judged.estimate);
        Objective {
            name: objective.name.clone(),
            target: objective.text.clone(),
            value: finite(estimate.value),
            low: finite(estimate.low),
            high: finite(estimate.high),
            met: judged.met,
            reason: crate::sections::reason(judged).map(str::to_owned),
        }
    }
}

/// JSON has no other numbers, so what is read back would differ.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

impl Number {
    /// An estimate in this unit.
    #[must_use]
    pub fn of(unit: &str, estimate: &Estimate) -> Number {
        Number {
            unit: unit.to_owned(),
            value: finite(estimate.value),
            low: finite(estimate.low),
            high: finite(estimate.high),
            reason: estimate.reason.clone(),
        }
    }

    /// The same as an estimate.
    pub(super) fn estimate(&self) -> Estimate {
        let Number { unit: _, value, low, high, reason } = self.clone();
        Estimate { value, low, high, reason, ..Estimate::default() }
    }
}
