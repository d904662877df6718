//! Calibration files: coefficients of engines, what they rest on, and their error.
//!
//! A file is TOML, versioned (`schema`), and meant to be read: for each group of configurations, and
//! for each model in it, the coefficients with their 90 % intervals; the errors of every
//! configuration when it was predicted without having been fitted to; and where the data is from.
//! The shipped one is `data/coefficients.toml`, written by `surgeline calibrate fit`.
//!
//! Invariants: a file that is not complete is refused; a lookup says whether it found the model or
//! only its group.
//!
//! Deliberately absent: fitting (see [`crate::fit`]).

#[cfg(test)]
mod tests;

use crate::catalog::CatalogError;
use crate::coefficients::{Basis, TABLE};
use crate::fit::serving::{Found, Group, Measured, Points, Values, fit_all, held_out, priors};
use crate::score::{Errors, Score, Scored, ScoredRow, Spread, score};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Version of the format.
pub const SCHEMA: &str = "surgeline.calibration/1";
/// What the name of a summary begins with when nothing was fitted.
pub const UNFITTED: &str = "uncalibrated: ";
/// Half-width of an interval beyond which nothing is known: a factor of 150.
const WIDEST: f64 = 5.0;
/// Share of rows that a prediction interval is to hold.
const HELD: f64 = 0.9;

/// A coefficient with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coefficient {
    /// Its value, in the unit that its name ends with.
    pub value: f64,
    /// 5 % quantile over resampled data; absent where the data says nothing about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// 95 % quantile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// Coefficients of a group, or of a model in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Engine as measured rows name it.
    pub engine: String,
    /// What iteration times rest on.
    pub basis: Basis,
    /// The model by its catalogue name; of all models of the group when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Versions of the engine that were measured; an unknown one is `unknown`.
    pub engine_versions: Vec<String>,
    /// GPUs that were measured.
    pub gpus: Vec<String>,
    /// Configurations that were fitted to.
    pub configurations: usize,
    /// Their points.
    pub points: usize,
    /// Whether its times of a request count from the server's clock instead of the client's: what was
    /// fitted to a run that a server recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_clock: bool,
    /// Half-widths of prediction intervals, from the errors of the group's configurations when held
    /// out.
    pub spread: Spread,
    /// The coefficients by name.
    pub coefficients: BTreeMap<String, Coefficient>,
}

/// Errors of a set of rows, below saturation and in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// Of TPOT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot: Option<Errors>,
    /// Of TTFT where requests do not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft: Option<Errors>,
    /// Of TTFT where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_saturated: Option<Errors>,
}

/// A configuration that was predicted by coefficients fitted without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Engine as the rows name it.
    pub engine: String,
    /// What its iteration time rests on.
    pub basis: Basis,
    /// The model by its catalogue name.
    pub model: String,
    /// The GPU as the rows name it.
    pub system: String,
    /// Number format of the weights.
    pub precision: String,
    /// GPUs of a replica.
    pub gpus: u32,
    /// Groups of GPUs that experts are spread over.
    pub expert_parallel: u32,
    /// Largest share of the peak arithmetic that one of its points implies; above
    /// [`crate::fit::serving::CREDIBLE`] nothing is fitted to it.
    pub arithmetic: f64,
    /// Its errors.
    #[serde(flatten)]
    pub accuracy: Accuracy,
}

/// Errors of many configurations together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// What they have in common.
    pub name: String,
    /// The errors.
    #[serde(flatten)]
    pub accuracy: Accuracy,
}

/// A calibration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where the measurements are from.
    pub source: String,
    /// When it was fitted, ISO 8601.
    pub as_of: String,
    /// SHA-256 of the file of measurements, in hex.
    pub data_sha256: String,
    /// Rows of it that could not be predicted.
    pub refused: usize,
    /// Coefficients of groups and models.
    pub entry: Vec<Entry>,
    /// Errors of sets of configurations, each held out.
    pub summary: Vec<Summary>,
    /// Errors of each configuration, held out.
    pub fold: Vec<Fold>,
}

/// Why a text is no calibration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FittedError {
    /// It is no TOML of this form.
    #[error("{0}")]
    Form(String),
    /// Another version of the format.
    #[error("schema is `{0}`; this version reads `{SCHEMA}`")]
    Schema(String),
    /// A coefficient is missing, unknown or outside its bounds.
    #[error("[[entry]] of {engine}, {basis}: `{name}` {what}")]
    Coefficient {
        /// The engine.
        engine: String,
        /// What its iteration times rest on.
        basis: &'static str,
        /// The coefficient.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Entry {
    /// Its values in the order of [`TABLE`]; priors where it says nothing.
    #[must_use]
    pub fn values(&self) -> Values {
        let mut values = priors();
        for (value, parameter) in values.iter_mut().zip(&TABLE) {
            if let Some(found) = self.coefficients.get(parameter.name) {
                *value = found.value;
            }
        }
        values
    }

    fn check(&self) -> Result<(), FittedError> {
        let wrong = |name: &str, what: String| FittedError::Coefficient {
            engine: self.engine.clone(),
            basis: self.basis.name(),
            name: name.to_owned(),
            what,
        };
        for &at in self.basis.open() {
            let p = &TABLE[at];
            let Some(found) = self.coefficients.get(p.name) else {
                return Err(wrong(p.name, "is missing".to_owned()));
            };
            if !(p.low..=p.high).contains(&found.value) {
                let what = format!("= {} lies outside {} to {}", found.value, p.low, p.high);
                return Err(wrong(p.name, what));
            }
        }
        let spread = [("spread.tpot", self.spread.tpot), ("spread.ttft", self.spread.ttft)];
        for (name, value) in spread {
            if !(0.0..=WIDEST).contains(&value) {
                return Err(wrong(name, format!("= {value} lies outside 0 to {WIDEST}")));
            }
        }
        if self.gpus.is_empty() || self.engine_versions.is_empty() {
            let what = "is empty; what was measured has to be named".to_owned();
            return Err(wrong("gpus or engine_versions", what));
        }
        let known = |name: &str| self.basis.open().iter().any(|&at| TABLE[at].name == name);
        match self.coefficients.keys().find(|name| !known(name)) {
            Some(name) => Err(wrong(name, "is not a coefficient of it".to_owned())),
            None => Ok(()),
        }
    }
}

/// The shipped calibration, parsed at the first call: only what scores needs it.
///
/// # Errors
/// [`CatalogError::Data`] when the embedded file is not valid, which a test rules out.
pub fn shipped() -> Result<&'static Fitted, CatalogError> {
    static SHIPPED: OnceLock<Result<Fitted, CatalogError>> = OnceLock::new();
    let read = || {
        let text = include_str!("../data/coefficients.toml");
        Fitted::read(text).map_err(|error| CatalogError::Data {
            file: "coefficients.toml",
            message: error.to_string(),
        })
    };
    SHIPPED.get_or_init(read).as_ref().map_err(Clone::clone)
}

impl Fitted {
    /// Reads a calibration file.
    ///
    /// # Errors
    /// [`FittedError`] when it is not one.
    pub fn read(text: &str) -> Result<Fitted, FittedError> {
        let fitted: Fitted =
            toml::from_str(text).map_err(|error| FittedError::Form(error.to_string()))?;
        if fitted.schema != SCHEMA {
            return Err(FittedError::Schema(fitted.schema));
        }
        fitted.entry.iter().try_for_each(Entry::check)?;
        Ok(fitted)
    }

    /// The entry of a model of an engine, or that of its group, the more general.
    #[must_use]
    pub fn find(&self, engine: &str, basis: Basis, model: &str) -> Option<&Entry> {
        let mut group = None;
        for entry in self.entry.iter().filter(|e| e.engine == engine && e.basis == basis) {
            match &entry.model {
                Some(own) if own == model => return Some(entry),
                Some(_) => {}
                None => group = Some(entry),
            }
        }
        group
    }

    /// As a file.
    ///
    /// # Errors
    /// When a number is not finite, which a fit rules out.
    pub fn write(&self) -> Result<String, FittedError> {
        toml::to_string(self).map_err(|error| FittedError::Form(error.to_string()))
    }
}

/// Fits all points of a file, each configuration also without itself, and says how well: the
/// calibration, and every row as it was predicted by what was fitted without its configuration.
#[must_use]
pub fn calibrate(
    points: Points,
    source: String,
    as_of: String,
    data_sha256: String,
) -> (Fitted, Score) {
    let Points { measured, refused } = points;
    let fitted = fit_all(&measured);
    let held = held_out(&measured);
    let bare = bare(&measured, &held);
    let groups: BTreeSet<Group> = measured.iter().map(Measured::group).collect();
    let spreads: BTreeMap<Group, Spread> =
        groups.iter().map(|g| (g.clone(), spread(&bare.rows, &measured, g, None))).collect();
    let scored = score(&measured, refused, |number, one| {
        (held[number], spread(&bare.rows, &measured, &one.group(), Some(one)))
    });
    let mut entry = Vec::new();
    for (group, found) in &fitted.groups {
        entry.push(entry_of(group, None, found, &measured, spreads[group]));
        let own = fitted.models.iter().filter(|((g, _), _)| g == group);
        for ((_, model), found) in own {
            entry.push(entry_of(group, Some(model), found, &measured, spreads[group]));
        }
    }
    let rows_of = |one: &Measured| -> Vec<&ScoredRow> {
        scored.rows.iter().filter(|row| row.configuration == one.configuration).collect()
    };
    let fold = measured.iter().map(|one| fold_of(one, &rows_of(one))).collect();
    let fitted = Fitted {
        schema: SCHEMA.to_owned(),
        source,
        as_of,
        data_sha256,
        refused: scored.refused.len(),
        entry,
        summary: [
            summaries(&scored.rows, &measured, ""),
            // What a roofline says that nothing was fitted to.
            summaries(&rooflines(&measured), &measured, UNFITTED),
        ]
        .concat(),
        fold,
    };
    (fitted, scored)
}

/// For each of `measured` the values that predict it without having seen it, and the spread of its
/// group's other configurations, predicted so.
#[must_use]
pub fn held_out_with_spreads(measured: &[Measured]) -> (Vec<Values>, Vec<Spread>) {
    let held = held_out(measured);
    let bare = bare(measured, &held);
    let spreads =
        measured.iter().map(|one| spread(&bare.rows, measured, &one.group(), Some(one))).collect();
    (held, spreads)
}

/// The rows without intervals.
fn bare(measured: &[Measured], held: &[Values]) -> Score {
    let none = Spread { tpot: 0.0, ttft: 0.0 };
    score(measured, Vec::new(), |number, _| (held[number], none))
}

/// The rows whose iteration time is a roofline, predicted by the priors alone.
fn rooflines(measured: &[Measured]) -> Vec<ScoredRow> {
    let own: Vec<Measured> =
        measured.iter().filter(|one| one.server.basis() != Basis::Table).cloned().collect();
    score(&own, Vec::new(), |_, _| (priors(), UNKNOWN)).rows
}

/// Half-widths that hold nine of ten rows of a group's configurations, each held out; without
/// `except`, whose own interval they are for.
fn spread(
    rows: &[ScoredRow],
    measured: &[Measured],
    group: &Group,
    except: Option<&Measured>,
) -> Spread {
    let members: Vec<&Measured> = measured
        .iter()
        .filter(|one| one.group() == *group && one.is_credible())
        .filter(|one| except.is_none_or(|except| except.configuration != one.configuration))
        .collect();
    let own = |row: &&ScoredRow| members.iter().any(|m| m.configuration == row.configuration);
    let width = |scored: Vec<&Scored>| {
        let logs = scored.iter().map(|one| libm::log(one.measured / one.predicted).abs());
        let mut logs: Vec<f64> = logs.collect();
        logs.sort_by(f64::total_cmp);
        // A group of one configuration has no other one to learn from.
        sim::stats::quantile_sorted(&logs, HELD).unwrap_or(UNKNOWN.tpot)
    };
    Spread {
        tpot: width(rows.iter().filter(own).filter_map(|row| row.tpot.as_ref()).collect()),
        ttft: width(rows.iter().filter(own).map(|row| &row.ttft).collect()),
    }
}

/// Where nothing is known: a factor of two.
pub const UNKNOWN: Spread = Spread { tpot: std::f64::consts::LN_2, ttft: std::f64::consts::LN_2 };

fn entry_of(
    group: &Group,
    model: Option<&String>,
    found: &Found,
    measured: &[Measured],
    spread: Spread,
) -> Entry {
    let members: Vec<&Measured> = measured
        .iter()
        .filter(|one| one.group() == *group && one.is_credible())
        .filter(|one| model.is_none_or(|model| one.server.model() == model))
        .collect();
    let versions: BTreeSet<String> = members
        .iter()
        .flat_map(|one| &one.points)
        .map(|point| match point.backend_version.as_str() {
            "" => "unknown".to_owned(),
            version => version.to_owned(),
        })
        .collect();
    let gpus: BTreeSet<String> = members.iter().map(|one| one.server.gpu().to_owned()).collect();
    Entry {
        engine: group.engine.clone(),
        basis: group.basis,
        model: model.cloned(),
        engine_versions: versions.into_iter().collect(),
        gpus: gpus.into_iter().collect(),
        configurations: members.len(),
        points: members.iter().map(|one| one.points.len()).sum(),
        server_clock: false,
        spread: Spread { tpot: rounded(spread.tpot), ttft: rounded(spread.ttft) },
        coefficients: entry_of_values(group.basis, found),
    }
}

/// What was found, as an entry has it.
pub(crate) fn entry_of_values(basis: Basis, found: &Found) -> BTreeMap<String, Coefficient> {
    let coefficient = |&at: &usize| {
        let (low, high) = found.intervals[at].unzip();
        let value = rounded(found.values[at]).clamp(TABLE[at].low, TABLE[at].high);
        let found = Coefficient { value, low: low.map(rounded), high: high.map(rounded) };
        (TABLE[at].name.to_owned(), found)
    };
    basis.open().iter().map(coefficient).collect()
}

fn accuracy(rows: &[&ScoredRow]) -> Accuracy {
    let ttft = |saturated: bool| {
        rows.iter().filter(move |row| row.saturated == saturated).map(|row| &row.ttft)
    };
    let short = |errors: Option<Errors>| {
        errors.map(|e| Errors {
            rows: e.rows,
            median: rounded(e.median),
            p90: rounded(e.p90),
            bias: rounded(e.bias),
            covered: rounded(e.covered),
        })
    };
    Accuracy {
        tpot: short(Errors::of(rows.iter().filter_map(|row| row.tpot.as_ref()))),
        ttft: short(Errors::of(ttft(false))),
        ttft_saturated: short(Errors::of(ttft(true))),
    }
}

fn fold_of(one: &Measured, rows: &[&ScoredRow]) -> Fold {
    let c = &one.configuration;
    Fold {
        engine: c.backend.clone(),
        basis: one.server.basis(),
        model: one.server.model().to_owned(),
        system: c.system.clone(),
        precision: c.precision.name().to_owned(),
        gpus: c.gpus,
        expert_parallel: c.expert_parallel,
        arithmetic: rounded(one.arithmetic),
        accuracy: accuracy(rows),
    }
}

/// Errors of every group, and of the sets that planners ask for. Configurations that cannot be
/// believed are in none of them.
fn summaries(rows: &[ScoredRow], measured: &[Measured], prefix: &str) -> Vec<Summary> {
    let group_of = |row: &ScoredRow| {
        let own = measured.iter().find(|one| one.configuration == row.configuration)?;
        own.is_credible().then(|| own.group())
    };
    let grouped: Vec<(&ScoredRow, Group)> =
        rows.iter().filter_map(|row| Some((row, group_of(row)?))).collect();
    let summary = |name: String, keep: &dyn Fn(&Group) -> bool| {
        let kept: Vec<&ScoredRow> =
            grouped.iter().filter(|(_, group)| keep(group)).map(|(row, _)| *row).collect();
        let name = format!("{prefix}{name}");
        (!kept.is_empty()).then(|| Summary { name, accuracy: accuracy(&kept) })
    };
    let groups: BTreeSet<&Group> = grouped.iter().map(|(_, group)| group).collect();
    let each = groups.iter().map(|&group| {
        summary(format!("{}, {}", group.engine, group.basis.name()), &|g| g == group)
    });
    let engines = |g: &Group| g.engine == "vllm" || g.engine == "trtllm";
    let dense = |g: &Group| engines(g) && g.basis == Basis::Dense;
    let experts = |g: &Group| engines(g) && g.basis == Basis::Experts;
    let together = [
        summary("vllm and trtllm, dense".to_owned(), &dense),
        summary("vllm and trtllm, experts".to_owned(), &experts),
        summary("all".to_owned(), &|_| true),
    ];
    each.chain(together).flatten().collect()
}

/// Four significant digits: what a fit can say.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
