//! One hosted model: what its API charges for tokens and how fast it was seen to answer.
//!
//! Invariants: prices are decimal numbers of dollars per million tokens, checked when the catalogue
//! is loaded; prices, times and the prompt cache each say where they come from, and times on which
//! model they were measured.
//!
//! Deliberately absent: rate limits. They belong to an account and its tier, not to a model.

use serde::Deserialize;
use sim::units::Money;

/// Facts of one hosted model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostedModel {
    /// Name in scenario files, `provider/model`.
    pub name: String,
    /// Other names accepted.
    pub aliases: Vec<String>,
    input_usd_per_mtok: String,
    cached_input_usd_per_mtok: Option<String>,
    cache_write_usd_per_mtok: Option<String>,
    output_usd_per_mtok: String,
    /// Longest prompt plus answer in tokens.
    pub max_context: u32,
    /// Time to first token of a short prompt.
    pub ttft: Timing,
    /// Time per further token.
    pub tpot: Timing,
    /// Its cache of prompt prefixes, where its documentation describes one that needs no markers.
    pub prompt_cache: Option<HostedCache>,
    /// Where the prices and the context come from.
    pub source: String,
    /// Their date, ISO 8601.
    pub as_of: String,
}

/// Quantiles of a time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Median in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile in milliseconds.
    pub p95_ms: f64,
    /// The model that was measured; another one than the row's stands in for it.
    pub measured_on: String,
    /// Who measured it, and how.
    pub source: String,
    /// When it was measured or, where that is not told, read; ISO 8601.
    pub as_of: String,
}

/// A provider's cache of prompt prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostedCache {
    /// How long a prefix stays after its last use, seconds.
    pub ttl_s: u64,
    /// Shortest prompt that is cached, tokens.
    pub min_tokens: u32,
    /// Cached prefixes are multiples of this many tokens.
    pub granularity: u32,
    /// Where this is documented.
    pub source: String,
    /// When it was read, ISO 8601.
    pub as_of: String,
}

/// 95 % quantile of the standard normal distribution (Abramowitz & Stegun, table 26.5).
const Z95: f64 = 1.644_853_626_951_472_2;

impl Timing {
    /// `(mu, sigma)` of the lognormal law of the time in seconds with these quantiles.
    #[must_use]
    pub fn lognormal_seconds(&self) -> (f64, f64) {
        (libm::log(self.p50_ms / 1_000.0), libm::log(self.p95_ms / self.p50_ms) / Z95)
    }

    fn is_possible(&self) -> bool {
        self.p50_ms > 0.0 && self.p95_ms >= self.p50_ms && self.p95_ms.is_finite()
    }
}

/// Dollars as a decimal number; `None` when the text is none.
fn dollars(text: &str) -> Option<Money> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u64 = format!("{part:0<12}").parse().ok()?;
    Some(Money(i128::from(whole) * Money::PICO_PER_DOLLAR + i128::from(part)))
}

impl HostedModel {
    /// Price of a million prompt tokens.
    #[must_use]
    pub fn input(&self) -> Money {
        dollars(&self.input_usd_per_mtok).unwrap_or_default()
    }

    /// Price of a million prompt tokens found in the prompt cache, where it differs.
    #[must_use]
    pub fn cached_input(&self) -> Option<Money> {
        self.cached_input_usd_per_mtok.as_deref().and_then(dollars)
    }

    /// Price of a million prompt tokens written to the prompt cache, where it differs.
    #[must_use]
    pub fn cache_write(&self) -> Option<Money> {
        self.cache_write_usd_per_mtok.as_deref().and_then(dollars)
    }

    /// Price of a million answer tokens.
    #[must_use]
    pub fn output(&self) -> Money {
        dollars(&self.output_usd_per_mtok).unwrap_or_default()
    }

    /// Whether every price is a number and every time possible.
    pub(crate) fn is_valid(&self) -> bool {
        let prices = [
            Some(&self.input_usd_per_mtok),
            self.cached_input_usd_per_mtok.as_ref(),
            self.cache_write_usd_per_mtok.as_ref(),
            Some(&self.output_usd_per_mtok),
        ];
        prices.into_iter().flatten().all(|price| dollars(price).is_some())
            && self.ttft.is_possible()
            && self.tpot.is_possible()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_row_gives_exact_prices_and_a_law_with_its_quantiles() {
        let mini = crate::hosted_model("gpt-4o-mini").expect("a row");
        assert_eq!(mini.name, "openai/gpt-4o-mini");
        assert_eq!(mini.input().0, 150_000_000_000);
        assert_eq!(mini.cached_input().map(|price| price.0), Some(75_000_000_000));
        let (mu, sigma) = mini.ttft.lognormal_seconds();
        assert!((libm::exp(mu) - 0.645).abs() < 1e-12);
        assert!((libm::exp(mu + super::Z95 * sigma) - 1.094).abs() < 1e-12);
        assert!(crate::hosted_model("gpt-4o-maxi").is_err());
        // A model whose times were measured on it, and one for which another stands in.
        assert_eq!(mini.ttft.measured_on, mini.name);
        let big = crate::hosted_model("gpt-4o").expect("a row");
        assert_eq!((&big.ttft, &big.tpot), (&mini.ttft, &mini.tpot));
    }
}
