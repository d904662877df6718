//! Models: who serves them and how well.
//!
//! Invariants: a model has at least one backend, none twice, and weights for all of them or none.
//!
//! Deliberately absent: which model a call goes to, and how its calls are guarded.

use super::Resolver;
use super::names::implied_models;
use super::traffic::stream_key;
use crate::file::{ModelFile, ScenarioFile};
use crate::problem::{At, ProblemKind};
use sim::ids::Backend;
use sim::scenario::{BackendChoice, ModelSpec, Serving};
use sim::tasks::Quality;
use std::collections::{BTreeMap, BTreeSet};

/// A model that is always right and harmless.
const SURE: Quality = Quality { success: 1.0, unsafe_rate: 0.0 };

/// Stated qualities by model and intent.
pub(super) type Qualities<'a> = BTreeMap<&'a str, BTreeMap<usize, Quality>>;

/// Collects the qualities that intents state.
pub(super) fn qualities(file: &ScenarioFile) -> Qualities<'_> {
    let mut all = Qualities::new();
    for (at, (_, intent)) in file.intents.iter().enumerate() {
        for (model, quality) in &intent.quality {
            let Some((success, harm)) = quality.success.as_ref().zip(quality.unsafe_rate.as_ref())
            else {
                continue;
            };
            let quality = Quality { success: success.value, unsafe_rate: harm.value };
            all.entry(&model.value).or_default().insert(at, quality);
        }
    }
    all
}

impl Resolver<'_> {
    /// Declared models, or those that are implied.
    pub(super) fn models(&self) -> Vec<ModelSpec> {
        if self.file.models.is_empty() {
            let spec = |(name, backends): (&str, Vec<Backend>)| {
                let serving = |backend| Serving { backend, weight: 1.0 };
                let served_by = backends.into_iter().map(serving).collect();
                let quality = self.quality(name);
                let key = stream_key(name);
                ModelSpec { name: name.to_owned(), key, served_by, quality, ..ModelSpec::default() }
            };
            return implied_models(self.file).into_iter().map(spec).collect();
        }
        self.file.models.iter().map(|(name, file)| self.model(name, file)).collect()
    }

    fn model(&self, name: &At<String>, file: &ModelFile) -> ModelSpec {
        if file.served_by.is_empty() {
            self.refuse(ProblemKind::MissingKey, &file.site, "no backend serves this model");
        }
        let mut served_by = Vec::new();
        let mut seen = BTreeSet::new();
        for serving in &file.served_by {
            let Some(backend_name) = &serving.backend else { continue };
            let Some(backend) = self.find(backend_name, "backend", &self.backend_names) else {
                continue;
            };
            if !seen.insert(backend) {
                self.refuse(ProblemKind::Conflict, &backend_name.site, "it is named twice");
            }
            let weight = serving.weight.as_ref().map_or(1.0, |weight| weight.value);
            served_by.push(Serving { backend, weight });
        }
        let weighted = file.served_by.iter().filter(|serving| serving.weight.is_some()).count();
        if weighted > 0 && weighted < file.served_by.len() {
            let message = "either all backends of a model have a weight or none";
            self.refuse(ProblemKind::Conflict, &file.site, message);
        } else if weighted > 0 && served_by.iter().all(|serving| serving.weight <= 0.0) {
            self.refuse(ProblemKind::BadValue, &file.site, "no backend has a positive weight");
        }
        let choice = if weighted > 0 { BackendChoice::Weighted } else { BackendChoice::Ordered };
        let quality = self.quality(&name.value);
        let key = stream_key(&name.value);
        let name = name.value.clone();
        ModelSpec { name, key, served_by, choice, quality, ..ModelSpec::default() }
    }

    /// How well a model does at each intent; empty when it is always right.
    fn quality(&self, model: &str) -> Vec<Quality> {
        let own = self.qualities.get(model);
        let of = |at: usize| own.and_then(|own| own.get(&at)).copied().unwrap_or(SURE);
        let all = || (0..self.intents.len()).map(of);
        if all().all(|quality| quality == SURE) { Vec::new() } else { all().collect() }
    }
}
