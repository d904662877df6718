//! The embedded catalogue: GPUs, models, engine presets, prices, hosted models and step times.
//!
//! Invariants: the data is parsed once; a lookup ignores case and accepts aliases; an unknown name
//! comes back with the names that exist, so that a caller can suggest one.
//!
//! Deliberately absent: catalogues of the user's own, and fuzzy matching.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::engine_preset::EnginePreset;
use crate::gpu::{Gpu, GpuPrice};
use crate::hosted::HostedModel;
use crate::model::Model;
use crate::profile::{ErrorFile, Profiles};

/// What a lookup can fail with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No row of that name.
    #[error("no {kind} is called {name:?}; known: {}", known.join(", "))]
    Unknown {
        /// "GPU", "model", "engine preset" or "hosted model".
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// Names and aliases that exist.
        known: Vec<String>,
    },
    /// An embedded data file is not valid; a defect of this crate.
    #[error("the embedded data file {file} is not valid: {message}")]
    Data {
        /// Name of the file.
        file: &'static str,
        /// What the parser said.
        message: String,
    },
}

/// All embedded facts.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// GPUs, in the order of the file.
    pub gpus: Vec<Gpu>,
    /// Models, in the order of the file.
    pub models: Vec<Model>,
    /// Engine presets, newest first.
    pub engines: Vec<EnginePreset>,
    /// Quoted prices of all GPUs.
    pub all_prices: Vec<GpuPrice>,
    /// Hosted models, in the order of the file.
    pub hosted: Vec<HostedModel>,
    pub(crate) profiles: Profiles,
    pub(crate) errors: ErrorFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuFile {
    gpu: Vec<Gpu>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    model: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineFile {
    engine: Vec<EnginePreset>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    price: Vec<GpuPrice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostedFile {
    hosted: Vec<HostedModel>,
}

fn parse<T: for<'de> Deserialize<'de>>(file: &'static str, text: &str) -> Result<T, CatalogError> {
    toml::from_str(text)
        .map_err(|error| CatalogError::Data { file, message: error.message().to_owned() })
}

impl Catalog {
    fn embedded() -> Result<Catalog, CatalogError> {
        let gpus: GpuFile = parse("gpus.toml", include_str!("../data/gpus.toml"))?;
        let models: ModelFile = parse("models.toml", include_str!("../data/models.toml"))?;
        let engines: EngineFile = parse("engines.toml", include_str!("../data/engines.toml"))?;
        let prices: PriceFile = parse("prices.toml", include_str!("../data/prices.toml"))?;
        let hosted: HostedFile = parse("hosted.toml", include_str!("../data/hosted.toml"))?;
        let profiles: Profiles = parse("profiles.toml", include_str!("../data/profiles.toml"))?;
        let errors: ErrorFile =
            parse("profile_errors.toml", include_str!("../data/profile_errors.toml"))?;
        if let Some(bad) = prices.price.iter().find(|p| p.per_gpu_hour().is_none()) {
            let message = format!("the price of {} at {} is not a number", bad.gpu, bad.vendor);
            return Err(CatalogError::Data { file: "prices.toml", message });
        }
        if let Some(bad) = hosted.hosted.iter().find(|row| !row.is_valid()) {
            let message = format!("a price or a time of {} is not possible", bad.name);
            return Err(CatalogError::Data { file: "hosted.toml", message });
        }
        if let Some(bad) = profiles.profile.iter().find(|p| !profiles.grid.holds(p)) {
            let message = format!("a knot of {} on {} has no value", bad.model, bad.gpu);
            return Err(CatalogError::Data { file: "profiles.toml", message });
        }
        Ok(Catalog {
            gpus: gpus.gpu,
            models: models.model,
            engines: engines.engine,
            all_prices: prices.price,
            hosted: hosted.hosted,
            profiles,
            errors,
        })
    }

    /// Quoted prices of the GPU called `gpu` (its catalogue name, no alias).
    pub fn prices<'a>(&'a self, gpu: &'a str) -> impl Iterator<Item = &'a GpuPrice> {
        self.all_prices.iter().filter(move |price| price.gpu == gpu)
    }
}

/// The embedded catalogue, parsed at the first call.
///
/// # Errors
/// [`CatalogError::Data`] when an embedded file is not valid, which a test rules out.
pub fn catalog() -> Result<&'static Catalog, CatalogError> {
    static CATALOG: OnceLock<Result<Catalog, CatalogError>> = OnceLock::new();
    CATALOG.get_or_init(Catalog::embedded).as_ref().map_err(Clone::clone)
}

fn find<'a, T>(
    rows: &'a [T],
    kind: &'static str,
    name: &str,
    names: impl Fn(&'a T) -> (&'a str, &'a [String]),
) -> Result<&'a T, CatalogError> {
    let is_it = |row: &&'a T| {
        let (own, aliases) = names(row);
        own.eq_ignore_ascii_case(name) || aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    };
    rows.iter().find(is_it).ok_or_else(|| CatalogError::Unknown {
        kind,
        name: name.to_owned(),
        known: rows
            .iter()
            .flat_map(|row| {
                let (own, aliases) = names(row);
                std::iter::once(own.to_owned()).chain(aliases.iter().cloned())
            })
            .collect(),
    })
}

/// The GPU called `name`, or known by that alias.
///
/// # Errors
/// [`CatalogError::Unknown`] with the names that exist.
pub fn gpu(name: &str) -> Result<&'static Gpu, CatalogError> {
    find(&catalog()?.gpus, "GPU", name, |row| (&row.name, &row.aliases))
}

/// The model called `name`, or known by that alias.
///
/// # Errors
/// [`CatalogError::Unknown`] with the names that exist.
pub fn model(name: &str) -> Result<&'static Model, CatalogError> {
    find(&catalog()?.models, "model", name, |row| (&row.name, &row.aliases))
}

/// The engine preset called `name`, or known by that alias; "vllm" is the newest.
///
/// # Errors
/// [`CatalogError::Unknown`] with the names that exist.
pub fn engine_preset(name: &str) -> Result<&'static EnginePreset, CatalogError> {
    find(&catalog()?.engines, "engine preset", name, |row| (&row.name, &row.aliases))
}

/// The hosted model called `name`, or known by that alias.
///
/// # Errors
/// [`CatalogError::Unknown`] with the names that exist.
pub fn hosted_model(name: &str) -> Result<&'static HostedModel, CatalogError> {
    find(&catalog()?.hosted, "hosted model", name, |row| (&row.name, &row.aliases))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_its_source_and_date() {
        let c = catalog().expect("the data is valid");
        let rows = (c.gpus.iter().map(|r| (&r.source, &r.as_of)))
            .chain(c.models.iter().map(|r| (&r.source, &r.as_of)))
            .chain(c.engines.iter().map(|r| (&r.source, &r.as_of)))
            .chain(c.all_prices.iter().map(|r| (&r.source, &r.as_of)))
            .chain(c.hosted.iter().map(|r| (&r.source, &r.as_of)))
            .chain(c.hosted.iter().flat_map(|r| [&r.ttft, &r.tpot]).map(|t| (&t.source, &t.as_of)))
            .chain(
                c.hosted
                    .iter()
                    .filter_map(|r| r.prompt_cache.as_ref())
                    .map(|c| (&c.source, &c.as_of)),
            )
            .chain([(&c.profiles.source, &c.profiles.as_of)]);
        for (source, as_of) in rows {
            assert!(!source.is_empty() && as_of.len() == 10, "{source} {as_of}");
        }
    }

    #[test]
    fn names_are_unique_and_prices_are_of_known_gpus() {
        let c = catalog().expect("the data is valid");
        let gpus = c.gpus.iter().flat_map(|r| r.aliases.iter().chain([&r.name]));
        let models = c.models.iter().flat_map(|r| r.aliases.iter().chain([&r.name]));
        for mut names in [gpus.collect::<Vec<_>>(), models.collect()] {
            names.sort();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        }
        for price in &c.all_prices {
            assert!(c.gpus.iter().any(|gpu| gpu.name == price.gpu), "{}", price.gpu);
        }
        // No quote was found for the L4, and none looked for of the RTX PRO 6000.
        let unpriced = c.gpus.iter().filter(|gpu| c.prices(&gpu.name).next().is_none());
        let unpriced: Vec<&str> = unpriced.map(|gpu| gpu.name.as_str()).collect();
        assert_eq!(unpriced, ["l4", "rtx-pro-6000"]);
    }

    #[test]
    fn aliases_and_case_are_accepted_and_unknown_names_list_the_known() {
        assert_eq!(model("Llama-3.1-8B").expect("alias").name, "llama-3.1-8b-instruct");
        assert_eq!(gpu("H100").expect("alias").name, "h100-sxm");
        assert_eq!(gpu("a100-80gb").expect("alias").name, "a100-sxm-80gb");
        let error = gpu("h1000").expect_err("no such GPU");
        assert!(error.to_string().contains("h100-sxm"), "{error}");
    }
}
