//! What a hosted API's row of the catalogue fills in.
//!
//! Invariants: what a file writes stands; what it leaves out comes from the row, with the source
//! and date of that very number in the provenance, or is asked for; times that were measured on
//! another model are said to be.

use super::meter;
use crate::file::HostedFile;
use crate::problem::{At, Problem, ProblemKind};
use crate::resolve::Resolver;
use crate::resolved::Origin;
use calibrate::{HostedModel, Timing};
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
    fn note(&self, key: &str, value: String, origin: Origin) {
        self.resolver.note(self.name.site.child(key).key, value, origin);
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
        of_row: impl Fn(&HostedModel) -> &Timing,
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
        let model = match stand_in(row, timing) {
            None => row.name.clone(),
            Some(other) => format!("no measurement of {}, {other} stands in", row.name),
        };
        self.note(key, shown, quoted(&model, &timing.as_of, &timing.source));
        let (mu, sigma) = timing.lognormal_seconds();
        Some(DurationDist::Lognormal { mu, sigma })
    }

    /// Warns of times that were measured on another model.
    pub(super) fn warn_of_stand_ins(
        &self,
        ttft: &Option<DurationDist>,
        tpot: &Option<DurationDist>,
    ) {
        let Some(row) = self.row else { return };
        let times = [("TTFT", ttft, &row.ttft), ("TPOT", tpot, &row.tpot)];
        let borrowed: Vec<String> = times
            .into_iter()
            .filter(|(_, written, _)| written.is_none())
            .filter_map(|(what, _, timing)| Some(format!("{what} from {}", stand_in(row, timing)?)))
            .collect();
        if !borrowed.is_empty() {
            let message = format!(
                "the catalogue has no measurement of {} and borrows {}; write `ttft` and `tpot` as \
                 you measure them",
                row.name,
                borrowed.join(", ")
            );
            self.resolver.warn(&self.name.site, message);
        }
    }

    /// The longest prompt plus answer.
    pub(super) fn context(&self, written: &Option<At<u32>>) -> Option<u32> {
        match (written, self.row) {
            (Some(written), _) => Some(written.value),
            (None, Some(row)) => {
                self.note("max_context", row.max_context.to_string(), of_row(row));
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
        self.note("prompt_cache", shown, quoted(&row.name, &cache.as_of, &cache.source));
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
                    self.note(key, shown, of_row(row));
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

/// The model on which a time was measured, where it is another one than the row's.
fn stand_in<'a>(row: &HostedModel, timing: &'a Timing) -> Option<&'a str> {
    (timing.measured_on != row.name).then_some(timing.measured_on.as_str())
}

/// Where prices and the context of a row come from.
fn of_row(row: &HostedModel) -> Origin {
    quoted(&row.name, &row.as_of, &row.source)
}

/// Where a number of the catalogue comes from.
fn quoted(model: &str, as_of: &str, source: &str) -> Origin {
    Origin::Catalogue(format!("{model}, {as_of}: {source}"))
}
