//! What a hosted API's row of the catalogue fills in.
//!
//! Invariants: what a file writes stands; what it leaves out comes from the row, with its source
//! and date in the provenance, or is asked for.

use super::{meter, quoted};
use crate::file::HostedFile;
use crate::problem::{At, Problem, ProblemKind};
use crate::resolve::Resolver;
use calibrate::HostedModel;
use sim::backends::{PromptCache, RemotePrice};
use sim::dist::DurationDist;
use sim::units::{Money, Span};

/// A place, and the row of the catalogue that it names.
pub(super) struct Facts<'a> {
    pub(super) resolver: &'a Resolver<'a>,
    pub(super) name: &'a At<String>,
    pub(super) row: Option<&'static HostedModel>,
}

impl Resolver<'_> {
    /// A row of hosted models; `None` when there is none, which is reported.
    pub(super) fn catalogue_row(&self, name: &At<String>) -> Option<&'static HostedModel> {
        calibrate::hosted_model(&name.value)
            .map_err(|error| {
                let message = error.to_string();
                self.refuse(ProblemKind::UnknownName, &name.site, message);
            })
            .ok()
    }
}

impl Facts<'_> {
    fn note(&self, key: &str, value: String, row: &HostedModel) {
        self.resolver.note(self.name.site.child(key).key, value, quoted(row));
    }

    fn missing(&self, key: &str, help: &str) {
        let site = self.name.site.child(key);
        let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
        self.resolver.push(problem.help(help));
    }

    /// A time, as written or as measured; `p50` and `p95` of a row are a lognormal law.
    pub(super) fn duration(
        &self,
        key: &str,
        written: &Option<DurationDist>,
        of_row: impl Fn(&HostedModel) -> calibrate::Timing,
    ) -> Option<DurationDist> {
        if let Some(written) = written {
            return Some(written.clone());
        }
        let Some(row) = self.row else {
            self.missing(
                key,
                "write a law like { kind = \"lognormal\", p50 = \"600ms\", p95 = \"1.1s\" }",
            );
            return None;
        };
        let timing = of_row(row);
        let shown = format!("lognormal, p50 {} ms, p95 {} ms", timing.p50_ms, timing.p95_ms);
        self.note(key, shown, row);
        let (mu, sigma) = timing.lognormal_seconds();
        Some(DurationDist::Lognormal { mu, sigma })
    }

    /// The longest prompt plus answer.
    pub(super) fn context(&self, written: &Option<At<u32>>) -> Option<u32> {
        match (written, self.row) {
            (Some(written), _) => Some(written.value),
            (None, Some(row)) => {
                self.note("max_context", row.max_context.to_string(), row);
                Some(row.max_context)
            }
            (None, None) => {
                self.missing("max_context", "say how many tokens prompt and answer may have");
                None
            }
        }
    }

    /// The prompt cache of the row.
    pub(super) fn prompt_cache(&self) -> Option<PromptCache> {
        let row = self.row?;
        let cache = row.prompt_cache.as_ref()?;
        let shown = format!("{} s, from {} tokens", cache.ttl_s, cache.min_tokens);
        self.note("prompt_cache", shown, row);
        Some(PromptCache {
            ttl: Span::from_secs(cache.ttl_s),
            min_tokens: cache.min_tokens,
            granularity: cache.granularity.max(1),
            // No provider publishes how many prefixes it keeps; this many never run out.
            capacity: 100_000,
        })
    }

    /// Prices as written, or else those of the row.
    pub(super) fn meter(&self, file: &HostedFile) -> Option<RemotePrice> {
        let price = |key: &str, written: &Option<At<Money>>, quote: Option<Money>| match written {
            Some(written) => self.resolver.per_token(written.value, &written.site).map(Some),
            None => match (quote, self.row) {
                (Some(quote), Some(row)) => {
                    let shown = format!("${}/Mtok", quote.as_dollars_f64());
                    self.note(key, shown, row);
                    self.resolver.per_token(quote, &self.name.site).map(Some)
                }
                _ => Some(None),
            },
        };
        let row = self.row;
        let input = price("input", &file.input, row.map(HostedModel::input))?;
        let output = price("output", &file.output, row.map(HostedModel::output))?;
        // Half of a row's prices beside half of one's own would be nobody's.
        let row = row.filter(|_| file.input.is_none());
        let cached = row.and_then(HostedModel::cached_input);
        let cached = price("cached_input", &file.cached_input, cached)?;
        let write = row.and_then(HostedModel::cache_write);
        let write = price("cache_write", &file.cache_write, write)?;
        let help = "write a price like \"$0.15/Mtok\", or name a row of the catalogue";
        for (key, found) in [("input", input), ("output", output)] {
            if found.is_none() {
                self.missing(key, help);
            }
        }
        let (input, output) = input.zip(output)?;
        let prices = [input, cached.unwrap_or(input), write.unwrap_or(input), output];
        let call = file.per_call.as_ref().map_or(Money::ZERO, |call| call.value);
        Some(meter(prices, call, file.discount.as_ref()))
    }
}
