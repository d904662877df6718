//! The input of every document: a result and where it comes from.
//!
//! Invariant: what is known only here (names, hashes, versions) never enters
//! [`crate::digest::result_sha256`].

use experiments::RunResult;

/// What a document is made from.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What was found.
    pub result: &'a RunResult,
    /// What was asked.
    pub scenario: ScenarioInfo,
    /// Where each number of the input comes from.
    pub provenance: Vec<ProvenanceRow>,
    /// What was noticed while loading the input, each a sentence or two.
    pub notes: Vec<String>,
    /// Version of surgeline.
    pub version: &'a str,
}

/// The scenario a result answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioInfo {
    /// Its name.
    pub name: String,
    /// The question it was written for.
    pub question: Option<String>,
    /// SHA-256 of the scenario as it was resolved, in hexadecimal.
    pub sha256: String,
}

/// One input and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenanceRow {
    /// Path of the value, such as `pools.h100-small.price`.
    pub key: String,
    /// The value as it was used.
    pub value: String,
    /// Where it comes from: a file, a catalogue row, a default, a citation.
    pub origin: String,
}

impl ProvenanceRow {
    /// Whether the value says how well a step time is known: the key is `calibration` or ends
    /// in `.calibration`. Text and Markdown show such rows beside the headline.
    #[must_use]
    pub fn is_calibration(&self) -> bool {
        self.key.rsplit('.').next() == Some("calibration")
    }
}
