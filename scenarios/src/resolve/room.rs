//! How long a call may be: the largest context among the backends that may get it.
//!
//! A call that is too long for one backend goes on to the next of its model, and from there to the
//! model's fallbacks, so only what fits none of them can never be answered.
//!
//! Invariant: a backend that cannot be the one to answer a long call gives it no room.
//!
//! Deliberately absent: models of escalations of a call that names its own. They are asked after
//! an answer of the first, which has to fit before.

use super::Resolver;
use crate::file::FallbackFile;
use crate::kinds::Text;
use crate::reader::Either;
use sim::ids::{Backend, ModelId};
use sim::resilience::Failure;
use std::collections::BTreeSet;

/// Prompt plus output tokens, and the key that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Room {
    pub(super) tokens: u32,
    /// `max_model_len` of a pool, `max_context` of every other backend.
    pub(super) key: &'static str,
}

impl Room {
    /// Where no backend is known; other problems are still worth finding.
    pub(super) const UNKNOWN: Room = Room { tokens: u32::MAX, key: "max_context" };
}

impl Resolver<'_> {
    /// What the roomiest backend admits that may get a call of this model, or of any that routing
    /// may choose; `None` when no backend is known.
    pub(super) fn room(&self, model: Option<ModelId>) -> Option<Room> {
        let models = self.that_may_answer(model);
        let models = models.into_iter().filter_map(|at| self.models.get(at));
        let backends = models.flat_map(|model| &model.served_by);
        backends.filter_map(|serving| self.backend_room(serving.backend)).max()
    }

    /// Models that a long call comes to: the one it names, or those that routing chooses from; and
    /// the fallbacks of each, in turn.
    fn that_may_answer(&self, model: Option<ModelId>) -> BTreeSet<usize> {
        let mut open = model.map_or_else(|| self.chosen_by_routing(), |m| vec![m.index()]);
        let mut found = BTreeSet::new();
        while let Some(at) = open.pop() {
            if found.insert(at) {
                open.extend(self.after_too_long(at));
            }
        }
        found
    }

    /// What is wrong with a name is said where the policy is resolved.
    fn chosen_by_routing(&self) -> Vec<usize> {
        let Some(file) = &self.file.policy.routing else { return Vec::new() };
        let by_intent = file.by_intent.iter().map(|(_, model)| model);
        let rules = file.rules.iter().filter_map(|rule| rule.model.as_ref());
        let names = file.default_model.iter().chain(by_intent).chain(rules);
        names.filter_map(|name| self.model_names.get(name.value.as_str()).copied()).collect()
    }

    /// Fallbacks of a model that are tried when a call is too long for it.
    fn after_too_long(&self, model: usize) -> Vec<usize> {
        let known = |name: &str| self.model_names.get(name).copied();
        let lists = self.file.policy.routing.iter().flat_map(|file| &file.fallbacks);
        let own = lists.filter(move |(of, _)| known(&of.value) == Some(model));
        let named = |fallback: &Either<Text, FallbackFile>| match fallback {
            Ok(name) => known(&name.value),
            Err(file) if file.on.is_none_or(|on| on.has(Failure::TooLong)) => {
                known(&file.model.as_ref()?.value)
            }
            Err(_) => None,
        };
        own.flat_map(|(_, list)| list).filter_map(named).collect()
    }

    fn backend_room(&self, backend: Backend) -> Option<Room> {
        match backend {
            Backend::Pool(pool) => {
                let pool = self.pools.get(pool.index()).and_then(Option::as_ref)?;
                Some(Room { tokens: pool.spec.engine.max_model_len.0, key: "max_model_len" })
            }
            Backend::Remote(remote) => {
                let remote = self.remotes.get(remote.index()).and_then(Option::as_ref)?;
                Some(Room { tokens: remote.max_context, key: "max_context" })
            }
        }
    }
}
