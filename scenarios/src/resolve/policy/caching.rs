//! Caches of answers and of tool results.
//!
//! Invariants: a cache that is not enabled is none.
//!
//! Deliberately absent: what is asked of them (see the steps of a task).

use crate::file::CacheFile;
use crate::problem::At;
use crate::resolve::Resolver;
use sim::cache::{ExactCacheSpec, SemanticCacheSpec};
use sim::tasks::Work;
use std::collections::{BTreeMap, BTreeSet};

impl Resolver<'_> {
    /// The cache of answers by similarity.
    pub(in crate::resolve) fn semantic_cache(&self) -> Option<SemanticCacheSpec> {
        let file = self.file.policy.caching.semantic.as_ref()?;
        let ExactCacheSpec { ttl, capacity, eviction, lookup } = cache(&file.cache)?;
        let similarity_threshold = file.similarity_threshold.as_ref()?.value;
        Some(SemanticCacheSpec { similarity_threshold, ttl, capacity, eviction, lookup })
    }

    /// The cache of answers by exact key.
    pub(in crate::resolve) fn exact_cache(&self) -> Option<ExactCacheSpec> {
        self.file.policy.caching.exact.as_ref().and_then(cache)
    }

    /// The caches of tools' results, by the position of the tool.
    pub(super) fn tool_caches(&self) -> BTreeMap<usize, ExactCacheSpec> {
        let of = |(name, file): &(At<String>, CacheFile)| {
            let tool = self.find(name, "tool", &self.tool_names)?;
            Some((tool, cache(file)?))
        };
        self.file.policy.caching.tools.iter().filter_map(of).collect()
    }

    /// Warns of caches that are never asked.
    pub(super) fn check_caches(&self) {
        let (mut answers, mut tools) = (false, BTreeSet::new());
        for step in self.tasks.iter().flatten().flat_map(|task| &task.spec.graph.steps) {
            match &step.work {
                Work::ModelCall(call) => answers |= call.cacheable && call.query.is_some(),
                Work::Tool(tool) if tool.query.is_some() => {
                    tools.insert(tool.tool.index());
                }
                Work::Tool(_) | Work::SubTask(_) => {}
            }
        }
        let caching = &self.file.policy.caching;
        let semantic = caching.semantic.as_ref().map(|file| &file.cache);
        let of_answers = semantic.into_iter().chain(&caching.exact).map(|file| (file, answers));
        let of_tools = caching.tools.iter().map(|(name, file)| {
            let tool = self.tool_names.get(name.value.as_str());
            (file, tool.is_none_or(|tool| tools.contains(tool)))
        });
        for (file, asked) in of_answers.chain(of_tools) {
            if !asked && cache(file).is_some() {
                let message = "the cache never answers: no step that it is for has a `query`";
                self.warn(&file.site, message.to_owned());
            }
        }
    }
}

fn cache(file: &CacheFile) -> Option<ExactCacheSpec> {
    let enabled = file.enabled.as_ref()?.value;
    let spec = ExactCacheSpec {
        ttl: file.ttl?,
        capacity: file.capacity.as_ref()?.value,
        eviction: file.eviction.as_ref()?.value,
        lookup: file.lookup.as_ref()?.value,
    };
    enabled.then_some(spec)
}
