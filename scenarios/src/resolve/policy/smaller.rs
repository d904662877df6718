//! Whether a `smaller_model` costs less than the models whose calls it takes over.
//!
//! Invariant: models are compared at equal tokens, by the price of a plain prompt token, an answer
//! token and a call; where the dearer one depends on how many of each there are, nothing is said.
//!
//! Deliberately absent: models that run on what is rented by the hour. A further call there costs
//! nothing more, and the hour costs the same without it.

use crate::problem::Site;
use crate::resolve::Resolver;
use sim::backends::{Meter, RemotePrice};
use sim::ids::{Backend, ModelId, TaskId};
use sim::routing::RoutingSpec;
use sim::units::Money;
use std::collections::BTreeSet;

/// What a comparison with a replaced model comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    Dearer,
    /// For some tokens or all.
    Cheaper,
    /// They cost the same, or one of them has no price per token.
    Equal,
}

/// Price of a plain prompt token, an answer token and a call.
type Prices = [Money; 3];

impl Resolver<'_> {
    /// Warns, at `site`, of a smaller model that is dearer than those it replaces in these kinds
    /// of task.
    pub(super) fn warn_if_dearer(
        &self,
        smaller: ModelId,
        tasks: impl Iterator<Item = TaskId>,
        routing: &RoutingSpec,
        site: &Site,
    ) {
        let mut replaced = self.may_be_called(tasks, routing);
        replaced.remove(&smaller);
        let compared: Vec<(ModelId, Compared)> =
            replaced.into_iter().map(|model| (model, self.compare(smaller, model))).collect();
        if compared.iter().any(|&(_, compared)| compared == Compared::Cheaper) {
            return;
        }
        let cheaper = compared.iter().filter(|(_, compared)| *compared == Compared::Dearer);
        let cheaper: Vec<&str> = cheaper.map(|&(model, _)| self.name_of(model)).collect();
        if !cheaper.is_empty() {
            let message = format!(
                "`{}` costs more for the same tokens than what it replaces: {}",
                self.name_of(smaller),
                crate::problem::listed(&cheaper)
            );
            self.warn(site, message);
        }
    }

    fn name_of(&self, model: ModelId) -> &str {
        self.models.get(model.index()).map_or("", |model| &model.name)
    }

    /// Models that calls of these kinds of task, parts included, may go to.
    fn may_be_called(
        &self,
        tasks: impl Iterator<Item = TaskId>,
        routing: &RoutingSpec,
    ) -> BTreeSet<ModelId> {
        let by_rule = |rules: &[sim::routing::Rule]| rules.iter().map(|rule| rule.model).collect();
        let mut found: BTreeSet<ModelId> = by_rule(&routing.escalations);
        let asked_before: BTreeSet<ModelId> = by_rule(&routing.rules);
        for call in tasks.flat_map(|task| self.calls(task)) {
            if let Some(model) = call.model {
                found.insert(model);
                continue;
            }
            let by_intent = routing.by_intent.get(call.intent.index()).copied().flatten();
            found.extend(by_intent.or(routing.default_model));
            found.extend(&asked_before);
        }
        found
    }

    fn compare(&self, smaller: ModelId, replaced: ModelId) -> Compared {
        let (Some(mine), Some(theirs)) = (self.prices(smaller), self.prices(replaced)) else {
            return Compared::Equal;
        };
        let pairs = || mine.iter().flat_map(|mine| theirs.iter().map(move |other| (mine, other)));
        let at_least = |(a, b): (&Prices, &Prices)| a.iter().zip(b).all(|(a, b)| a >= b);
        if pairs().all(|(mine, other)| mine == other) {
            Compared::Equal
        } else if pairs().all(at_least) {
            Compared::Dearer
        } else {
            Compared::Cheaper
        }
    }

    /// What each backend of a model asks; `None` where one of them has no price per token.
    fn prices(&self, model: ModelId) -> Option<Vec<Prices>> {
        let prices = |backend: Backend| {
            let Backend::Remote(remote) = backend else { return None };
            match self.remotes.get(remote.index())?.as_ref()?.price {
                RemotePrice::Metered(Meter { input, output, call, .. }) => {
                    Some([input, output, call])
                }
                RemotePrice::Free => Some([Money::ZERO; 3]),
                RemotePrice::Hourly { .. } => None,
            }
        };
        let served_by = &self.models.get(model.index())?.served_by;
        served_by.iter().map(|serving| prices(serving.backend)).collect()
    }
}
