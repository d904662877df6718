//! Placeholder.
#![allow(missing_docs)]
use experiments::RunResult;
pub struct ScenarioInfo {
    pub name: String,
    pub question: Option<String>,
    pub sha256: String,
}
pub struct ProvenanceRow {
    pub key: String,
    pub value: String,
    pub origin: String,
}
pub struct Report<'a> {
    pub result: &'a RunResult,
    pub scenario: ScenarioInfo,
    pub provenance: Vec<ProvenanceRow>,
    pub calibration: Vec<String>,
    pub notes: Vec<String>,
    pub version: String,
}
pub mod json {
    pub fn render(r: &super::Report) -> String {
        format!(
            "{:#?}",
            (
                &r.result.tasks[0].latency,
                &r.result.spend,
                &r.result.objectives,
                &r.result.stability,
                &r.result.pools,
                &r.result.warnings
            )
        )
    }
}
pub mod markdown {
    pub fn render(r: &super::Report) -> String {
        super::json::render(r)
    }
}
pub mod text {
    pub fn render(r: &super::Report, _c: bool) -> String {
        super::json::render(r)
    }
}
