//! Caches of answers and of tool results.
//!
//! Invariants: a cache that is not enabled is none.
//!
//! Deliberately absent: what is asked of them (see the steps of a task).

use crate::file::CacheFile;
use crate::resolve::Resolver;
use sim::cache::{ExactCacheSpec, SemanticCacheSpec};
use sim::tasks::{TaskSpec, Work};

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

    /// Gives each step that uses a tool the cache of that tool's results, and warns where a cache
    /// is asked nothing.
    pub(in crate::resolve) fn cache_tools(&self, tasks: &mut [TaskSpec]) {
        for (name, file) in &self.file.policy.caching.tools {
            let Some(tool) = self.find(name, "tool", &self.tool_names) else { continue };
            let mut asked = false;
            let steps = tasks.iter_mut().flat_map(|task| &mut task.graph.steps);
            for step in steps {
                if let Work::Tool(work) = &mut step.work
                    && work.tool.index() == tool
                {
                    asked |= work.query.is_some();
                    work.cache = cache(file);
                }
            }
            if !asked && cache(file).is_some() {
                let message = "no step asks this tool anything twice (none has a `query`)";
                self.warn(&name.site, message.to_owned());
            }
        }
        let asked = tasks.iter().flat_map(|task| &task.graph.steps).any(|step| {
            matches!(&step.work, Work::ModelCall(call) if call.cacheable && call.query.is_some())
        });
        let caching = &self.file.policy.caching;
        let semantic = caching.semantic.as_ref().map(|file| &file.cache);
        for file in semantic.into_iter().chain(&caching.exact) {
            if !asked && cache(file).is_some() {
                let message = "no model call is asked twice (none has a `query`), so this cache \
                               never answers";
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
