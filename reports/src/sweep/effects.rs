//! Which levers matter, as JSON.
//!
//! Invariant: every lever is ranked for every number, and what could not be measured says why.
//!
//! Deliberately absent: measuring (see [`experiments::sweep::morris`]).

use super::cell::Number;
use super::manifest::Manifest;
use super::ordered::Ordered;
use experiments::sweep::morris::LeverEffect;
use serde::Serialize;

/// What the levers do to one number.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricEffects {
    /// Path of the number.
    pub path: String,
    /// Its unit: `s`, `USD`, `1/s`, or empty for a ratio.
    pub unit: String,
    /// All levers, the one with the largest `mu*` first.
    pub ranking: Vec<LeverEffect>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    metrics: Ordered<Metric<'a>>,
}

#[derive(Serialize)]
struct Metric<'a> {
    unit: &'a str,
    ranking: Vec<Lever<'a>>,
}

#[derive(Serialize)]
struct Lever<'a> {
    lever: &'a str,
    mu_star: Number,
    mu: Option<f64>,
    sigma: Option<f64>,
    measured: u32,
    missing: u32,
}

/// The file `sensitivity.json`: effects in the unit of the number, for a change of the lever over its
/// whole list of values.
#[must_use]
pub fn sensitivity_json(manifest: &Manifest, effects: &[MetricEffects]) -> String {
    let metrics = effects.iter().map(|effects| {
        let ranking = effects.ranking.iter().map(|effect| Lever::of(manifest, effects, effect));
        let metric = Metric { unit: &effects.unit, ranking: ranking.collect() };
        (effects.path.clone(), metric)
    });
    let metrics = Ordered(metrics.collect());
    let document = Document { schema: "surgeline.sweep.sensitivity/1", metrics };
    crate::json::text(&document, true) + "\n"
}

impl<'a> Lever<'a> {
    fn of(manifest: &'a Manifest, of: &MetricEffects, effect: &LeverEffect) -> Lever<'a> {
        Lever {
            lever: manifest.levers.get(effect.lever).map_or("", |lever| lever.key.as_str()),
            mu_star: Number::of(&of.unit, &effect.mu_star),
            mu: effect.mu,
            sigma: effect.sigma,
            measured: effect.measured,
            missing: effect.missing,
        }
    }
}
