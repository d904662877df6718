//! Coefficients from measured serving points, by groups, and how well they predict what they have
//! not seen.
//!
//! Configurations are grouped by engine and by what their iteration time rests on; within a group a
//! model has coefficients of its own, drawn towards those of its group by as much as its own points
//! are few. What a configuration is predicted to be is judged by coefficients that were fitted
//! without it: neither the group's nor the model's fit has seen a point of it, at any length or
//! concurrency.
//!
//! Invariants: a configuration that does more arithmetic than [`CREDIBLE`] of its peak is never
//! fitted to; the same points give the same coefficients on any number of threads.
//!
//! Deliberately absent: iteration times from step rows.

use super::fit;
use crate::closed_loop::LoopTimes;
use crate::coefficients::{Basis, CHUNKS, Coefficients, PARAMETERS, Parameter, TABLE};
use crate::predict::Server;
use crate::serving::{Configuration, PointsError, Refused, ServingPoint, serving_points};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Share of the peak arithmetic beyond which a benchmark as a whole is not believed to have
/// computed its prompts: dense products reach about 0.8 at their best, and decoding, attention and
/// the host take their time besides. Such rows read like prompts that were found in a cache.
pub const CREDIBLE: f64 = 0.6;

/// What vLLM's host takes for chunks of prompts to dense models, microseconds: prior and most. In its
/// step intervals (`data/measured/h100_vllm_steps`) prompts make an iteration 0.4 to 0.6 ms longer.
const CHUNKS_OF_VLLM: (f64, f64) = (500.0, 2_000.0);

/// All values of the coefficients, in the order of [`TABLE`].
pub type Values = [f64; PARAMETERS];

/// A configuration with its replica and its points.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was served.
    pub configuration: Configuration,
    /// Its replica.
    pub server: Server,
    /// Its points in the order of the file.
    pub points: Vec<ServingPoint>,
    /// The largest share of the peak arithmetic that a point implies.
    pub arithmetic: f64,
}

/// What a file of points holds.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// Configurations that can be simulated, in the order of their names.
    pub measured: Vec<Measured>,
    /// Rows that cannot, with reasons.
    pub refused: Vec<Refused>,
}

/// Which coefficients: those of a group, or of a model within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Engine as the rows name it.
    pub engine: String,
    /// What iteration times rest on.
    pub basis: Basis,
}

/// Coefficients that were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What they are.
    pub values: Values,
    /// Their intervals of 90 %; a coefficient that was not open has none.
    pub intervals: [Option<(f64, f64)>; PARAMETERS],
}

/// Coefficients of every group, and of every model in it by its name in the catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fitted {
    /// Of groups.
    pub groups: BTreeMap<Group, Found>,
    /// Of models.
    pub models: BTreeMap<(Group, String), Found>,
}

impl Measured {
    /// Its group.
    #[must_use]
    pub fn group(&self) -> Group {
        Group { engine: self.configuration.backend.clone(), basis: self.server.basis() }
    }

    /// Whether its points can be believed, and so fitted to.
    #[must_use]
    pub fn is_credible(&self) -> bool {
        self.arithmetic <= CREDIBLE
    }

    /// What each of its points is predicted to be, in their order; `None` where a benchmark cannot
    /// run.
    #[must_use]
    pub fn predict(&self, values: &Values) -> Vec<Option<LoopTimes>> {
        let Ok(prepared) = self.server.prepare(&Coefficients::of_values(values)) else {
            return vec![None; self.points.len()];
        };
        self.points.par_iter().map(|point| prepared.predict(point).ok()).collect()
    }
}

/// Reads a file of points and makes the replica of each configuration.
///
/// # Errors
/// [`PointsError`] when it is not a table of points.
pub fn read(text: &str) -> Result<Points, PointsError> {
    let mut configurations: BTreeMap<Configuration, Vec<ServingPoint>> = BTreeMap::new();
    let mut all = Points::default();
    for row in serving_points(text)? {
        match row {
            Ok(point) => {
                configurations.entry(point.configuration.clone()).or_default().push(point);
            }
            Err(refused) => all.refused.push(refused),
        }
    }
    for (configuration, points) in configurations {
        let longest = points.iter().map(|p| p.input.saturating_add(p.output)).max().unwrap_or(1);
        match Server::of(&configuration, longest) {
            Ok(server) => {
                let shares = points.iter().map(|point| server.arithmetic(point));
                let arithmetic = shares.fold(0.0, f64::max);
                all.measured.push(Measured { configuration, server, points, arithmetic });
            }
            Err(reason) => all.refused.extend(
                points.into_iter().map(|point| Refused { id: point.id, reason: reason.clone() }),
            ),
        }
    }
    Ok(all)
}

/// Fits all of `measured` that is credible.
#[must_use]
pub fn fit_all(measured: &[Measured]) -> Fitted {
    let chosen: Vec<&Measured> = measured.iter().filter(|one| one.is_credible()).collect();
    let mut fitted = Fitted::default();
    for (group, members) in by(&chosen, |one| one.group()) {
        let found = find(&group, &members, &priors_of(&group));
        for (model, own) in by(&members, |one| one.server.model().to_owned()) {
            let own = find(&group, &own, &found.values);
            fitted.models.insert((group.clone(), model), own);
        }
        fitted.groups.insert(group, found);
    }
    fitted
}

/// For each of `measured` the values that predict it without having seen it.
#[must_use]
pub fn held_out(measured: &[Measured]) -> Vec<Values> {
    let fold = |one: &Measured| {
        let group = one.group();
        let others = measured.iter().filter(|other| {
            other.is_credible()
                && other.configuration != one.configuration
                && other.group() == group
        });
        let others: Vec<&Measured> = others.collect();
        let values = find(&group, &others, &priors_of(&group)).values;
        let model = one.server.model();
        let own: Vec<&Measured> =
            others.into_iter().filter(|other| other.server.model() == model).collect();
        if own.is_empty() { values } else { find(&group, &own, &values).values }
    };
    measured.par_iter().map(fold).collect()
}

fn by<'a, K: Ord>(
    all: &[&'a Measured],
    key: impl Fn(&Measured) -> K,
) -> BTreeMap<K, Vec<&'a Measured>> {
    let mut groups: BTreeMap<K, Vec<&Measured>> = BTreeMap::new();
    for &one in all {
        groups.entry(key(one)).or_default().push(one);
    }
    groups
}

/// The values without any data.
#[must_use]
pub fn priors() -> Values {
    TABLE.map(|parameter| parameter.prior)
}

/// The coefficients of a group with their bounds, without any serving point.
fn table_of(group: &Group) -> [Parameter; PARAMETERS] {
    let mut table = TABLE;
    if group.engine == "vllm" && group.basis != Basis::Experts {
        (table[CHUNKS].prior, table[CHUNKS].high) = CHUNKS_OF_VLLM;
    }
    table
}

fn priors_of(group: &Group) -> Values {
    table_of(group).map(|parameter| parameter.prior)
}

/// The values at which what is predicted of `measured` is nearest, drawn towards `prior`.
fn find(group: &Group, measured: &[&Measured], prior: &Values) -> Found {
    let (open, table) = (group.basis.open(), table_of(group));
    let parameters: Vec<Parameter> =
        open.iter().map(|&at| Parameter { prior: prior[at], ..table[at] }).collect();
    let start: Vec<f64> = open.iter().map(|&at| prior[at]).collect();
    let whole = |values: &[f64]| {
        let mut whole = *prior;
        open.iter().zip(values).for_each(|(&at, &value)| whole[at] = value);
        whole
    };
    let found = fit(&parameters, &start, 2, |values| {
        let values = whole(values);
        let all = measured.par_iter().map(|one| {
            let predicted = one.predict(&values);
            one.points.iter().zip(predicted).flat_map(|(p, t)| errors(p, t)).collect::<Vec<_>>()
        });
        all.collect::<Vec<_>>().concat()
    });
    let mut intervals = [None; PARAMETERS];
    open.iter().zip(&found.intervals).for_each(|(&at, &interval)| intervals[at] = Some(interval));
    Found { values: whole(&found.values), intervals }
}

/// Logarithms of predicted over measured, of TPOT and of TTFT.
#[must_use]
pub fn errors(point: &ServingPoint, predicted: Option<LoopTimes>) -> [f64; 2] {
    let Some(times) = predicted else { return [0.0; 2] };
    let error = |seconds: f64, measured: f64| {
        if seconds > 0.0 { libm::log(seconds * 1e3 / measured) } else { 0.0 }
    };
    [error(times.tpot, point.tpot_ms), error(times.ttft, point.ttft_ms)]
}
