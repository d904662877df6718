//! Which coefficients a replica gets from a calibration file, and how far its times can be trusted.
//!
//! A model that was measured under its engine has coefficients of its own; another one, or one on a
//! GPU that only others of its group were measured on, those of its group (see [`Fitted::find`]).
//! Errors are those of configurations that were predicted without having been fitted to. On a GPU that
//! was not measured, kernel tables are trusted as far as the rooflines of measured GPUs, and rooflines
//! within a factor of two.
//!
//! Invariants: what was not measured says so in its label.
//!
//! Deliberately absent: predictions (see [`mod@crate::calibration`]).

use crate::calibration::{Served, UNCALIBRATED};
use crate::coefficients::{Basis, Coefficients, TABLE};
use crate::engine_preset::{EngineDefaults, Origin};
use crate::fitted::{Accuracy, Entry, Fitted, UNKNOWN};
use crate::score::{Errors, Spread};
use sim::fleet::HostTime;
use sim::units::Span;

/// What is said of coefficients that rest on a single configuration.
const ONE: &str = "it rests on one configuration, and its interval on that one: a pool with other \
                   numbers of GPUs, precisions or loads errs by more";
/// What is said of an engine that was not measured.
const NOTHING: &str = "nothing of this engine was measured";

/// Coefficients of a replica and what they rest on.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// The coefficients.
    pub coefficients: Coefficients,
    /// Half-widths of the 90 % intervals of its times.
    pub spread: Spread,
    /// Which coefficients they are: replicas with equal ones err alike.
    pub group: String,
    /// What its times rest on, for reports.
    pub label: String,
    /// The coefficients that matter, by name; empty where nothing was measured.
    pub listing: String,
    /// Where the measurements are from.
    pub source: String,
    /// When they were fitted, ISO 8601.
    pub as_of: String,
    /// What of the replica was not measured, each in a sentence.
    pub doubts: Vec<String>,
}

impl Trust {
    /// Of what is served by `engine`, as `fitted` says.
    pub(crate) fn of(
        served: &Served<'_>,
        has_profile: bool,
        engine: &EngineDefaults,
        fitted: &Fitted,
    ) -> Trust {
        let basis = served.basis(has_profile);
        let find = |model: &str| fitted.find(engine.family.name(), basis, model);
        let has_gpu = |entry: &&Entry| entry.gpus.contains(&served.gpu.name);
        // Of a model that was measured on other GPUs only, the group may know more.
        let entry = find(&served.model.name);
        let entry = entry.filter(has_gpu).or_else(|| find("").filter(has_gpu)).or(entry);
        let mut trust = match entry {
            Some(entry) => measured(served, basis, entry, engine, fitted),
            None => Trust {
                coefficients: Coefficients::of_iterations(engine.dispatch_overhead.value),
                spread: UNKNOWN,
                group: format!("{} {}", engine.preset, basis.name()),
                label: match basis {
                    Basis::Table => {
                        let gpu = &served.gpu.name;
                        format!("kernel tables of {gpu}, uncalibrated; {NOTHING}")
                    }
                    _ => format!("{UNCALIBRATED}; {NOTHING}"),
                },
                listing: String::new(),
                source: fitted.source.clone(),
                as_of: fitted.as_of.clone(),
                doubts: vec![format!(
                    "it has no coefficients of {} for {}",
                    engine.family.name(),
                    basis.words()
                )],
            },
        };
        if engine.dispatch_overhead.origin == Origin::User {
            trust.coefficients.host.iteration = engine.dispatch_overhead.value.as_secs_f64();
        }
        trust
    }

    /// What a request takes on the host.
    #[must_use]
    pub fn host(&self) -> HostTime {
        let host = &self.coefficients.host;
        HostTime {
            request: Span::from_secs_f64(host.request),
            prompt_token: Span::from_secs_f64(host.prompt_token),
        }
    }
}

impl Fitted {
    /// Half-widths of predictions by an entry on a GPU. On one that was not measured kernel tables
    /// are trusted as far as the engine's rooflines on those that were, and rooflines within a factor
    /// of two.
    #[must_use]
    pub fn spread_on(&self, entry: &Entry, gpu: &str) -> Spread {
        if entry.gpus.iter().any(|measured| measured == gpu) {
            return entry.spread;
        }
        let rooflines = self.entry.iter().find(|other| {
            entry.basis == Basis::Table
                && other.basis == Basis::Dense
                && other.engine == entry.engine
                && other.model.is_none()
        });
        let other = rooflines.map_or(UNKNOWN, |rooflines| rooflines.spread);
        Spread { tpot: entry.spread.tpot.max(other.tpot), ttft: entry.spread.ttft.max(other.ttft) }
    }
}

fn measured(
    served: &Served<'_>,
    basis: Basis,
    entry: &Entry,
    engine: &EngineDefaults,
    fitted: &Fitted,
) -> Trust {
    let gpu = &served.gpu.name;
    let on_gpu = entry.gpus.contains(gpu);
    let spread = fitted.spread_on(entry, gpu);
    let known = entry.engine_versions.iter().any(|version| is_of(version, &engine.preset));
    let versions = versions(&entry.engine_versions);
    let doubts = [
        (!known).then(|| {
            let preset = &engine.preset;
            format!("it was measured with other versions of the engine ({versions}) than {preset}")
        }),
        (!on_gpu).then(|| format!("it was measured on {}, not {gpu}", entry.gpus.join(", "))),
        (entry.configurations == 1).then(|| ONE.to_owned()),
    ];
    let name = format!("{}, {}", entry.engine, basis.name());
    let summary = fitted.summary.iter().find(|summary| summary.name == name);
    let label = match on_gpu {
        true => {
            let on = if entry.model.is_some() { "this model" } else { "other models" };
            let errors = summary.map_or_else(String::new, |summary| errors(&summary.accuracy));
            format!("{} {} ({versions}) on {on}{errors}", start(served, basis), entry.engine)
        }
        false => {
            let start = match basis {
                Basis::Table => start(served, basis),
                _ => format!("{UNCALIBRATED}, fitted to"),
            };
            let percent = (libm::exp(spread.tpot) - 1.0) * 100.0;
            let gpus = entry.gpus.join(", ");
            format!(
                "{start} {} ({versions}) on {gpus}; {gpu} itself was not measured: errors of \
                 {percent:.0} % are not unlikely",
                entry.engine
            )
        }
    };
    let values = entry.values();
    let listed = |&at: &usize| format!("{} {}", TABLE[at].name, values[at]);
    Trust {
        coefficients: Coefficients::of_values(&values),
        listing: basis.open().iter().map(listed).collect::<Vec<_>>().join(", "),
        spread,
        group: format!(
            "{} {} {} {}",
            engine.preset,
            basis.name(),
            entry.model.as_deref().unwrap_or("*"),
            fitted.data_sha256
        ),
        label,
        source: fitted.source.clone(),
        as_of: fitted.as_of.clone(),
        doubts: doubts.into_iter().flatten().collect(),
    }
}

/// What a label begins with.
fn start(served: &Served<'_>, basis: Basis) -> String {
    match basis {
        Basis::Table => format!("kernel tables of {} with host times fitted to", served.gpu.name),
        _ => "roofline fitted to".to_owned(),
    }
}

/// Measured versions in words.
fn versions(all: &[String]) -> String {
    let known: Vec<&str> = all.iter().map(String::as_str).filter(|&v| v != "unknown").collect();
    match (known.is_empty(), known.len() == all.len()) {
        (true, _) => "version unknown".to_owned(),
        (false, true) => known.join(", "),
        (false, false) => format!("{} and unknown versions", known.join(", ")),
    }
}

fn errors(accuracy: &Accuracy) -> String {
    let percent = |errors: &Errors| format!("{:.1} %", errors.median * 100.0);
    let parts = [
        accuracy.tpot.as_ref().map(|e| format!("TPOT {}", percent(e))),
        accuracy.ttft.as_ref().map(|e| format!("TTFT {}", percent(e))),
        accuracy
            .ttft_saturated
            .as_ref()
            .map(|e| format!("TTFT {} where requests wait", percent(e))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; median error where not fitted: {}", parts.join(", "))
}

/// Whether a measured version, `0.33.1`, is of a preset, `vllm-0.33` or `trtllm-1.x`.
fn is_of(version: &str, preset: &str) -> bool {
    let Some((_, own)) = preset.split_once('-') else { return false };
    let own = own.trim_end_matches(".x");
    version.strip_prefix(own).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_belong_to_presets_by_their_numbers() {
        assert!(is_of("0.33.1", "vllm-0.33") && is_of("0.33", "vllm-0.33"));
        assert!(is_of("1.2.0rc6", "trtllm-1.x"));
        assert!(!is_of("0.331", "vllm-0.33") && !is_of("unknown", "vllm-0.33"));
        assert!(!is_of("10.0", "trtllm-1.x"));
    }
}
