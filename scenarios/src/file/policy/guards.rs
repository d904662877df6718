//! `[retries]`, `[hedging]`, `[circuit_breaker]`, `[admission]`: what is done about attempts that
//! fail or take long. Each holds settings for every model, and below `models` those of single ones.
//!
//! Invariants: a key that is not written is `None`, so that a single model's table can leave it to
//! the table of all.
//!
//! Deliberately absent: defaults (see `resolve`), and the order of the guards, which is fixed.

use super::failures;
use crate::file::lengths::duration_dist;
use crate::kinds::{Choice, Count, DURATION, Duration, Flag, LENGTH_OF_TIME, Number, Or, Whole};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::{ReadTable, Reader};
use sim::dist::DurationDist;
use sim::resilience::{Failure, FailureSet, Jitter};
use sim::units::Span;

/// Settings of all models, and of single ones.
pub(crate) struct ByModel<F> {
    /// `None` when only single models are named.
    pub(crate) all: Option<F>,
    pub(crate) models: Vec<(At<String>, F)>,
}

/// `[retries]`.
pub(crate) struct RetriesFile {
    /// `None` within: no limit.
    pub(crate) max_attempts: Option<At<Option<u32>>>,
    pub(crate) on: Option<FailureSet>,
    pub(crate) backoff: Option<BackoffFile>,
    pub(crate) respect_retry_after: Option<At<bool>>,
    /// `Ok`: none.
    pub(crate) budget: Option<Result<At<()>, RetryBudgetFile>>,
    /// `None` within: never.
    pub(crate) timeout: Option<At<Option<Span>>>,
    pub(crate) cancel_on_timeout: Option<At<bool>>,
    pub(crate) site: Site,
}

/// `backoff`: one of the two.
#[derive(Default)]
pub(crate) struct BackoffFile {
    pub(crate) exponential: Option<(Span, f64, Span, Jitter)>,
    pub(crate) drawn: Option<DurationDist>,
}

/// `retry_budget`.
pub(crate) struct RetryBudgetFile {
    pub(crate) ratio: Option<At<f64>>,
    pub(crate) min_per_second: Option<At<u32>>,
    pub(crate) ttl: Option<At<Span>>,
}

/// `[hedging]`.
pub(crate) struct HedgingFile {
    pub(crate) delay: Option<At<Span>>,
    pub(crate) max_attempts: Option<At<u32>>,
    pub(crate) site: Site,
}

/// `[circuit_breaker]`.
pub(crate) struct BreakerFile {
    pub(crate) enabled: Option<At<bool>>,
    pub(crate) failure_rate_threshold: Option<At<f64>>,
    pub(crate) slow_call_rate_threshold: Option<At<f64>>,
    pub(crate) slow_call_duration_threshold: Option<At<Span>>,
    pub(crate) sliding_window_type: Option<At<WindowType>>,
    pub(crate) sliding_window_size: Option<At<u32>>,
    pub(crate) minimum_number_of_calls: Option<At<u32>>,
    pub(crate) wait_duration_in_open_state: Option<At<Span>>,
    pub(crate) permitted_calls_in_half_open_state: Option<At<u32>>,
    /// `None` within: never.
    pub(crate) consecutive_failures: Option<At<Option<u32>>>,
    pub(crate) record: Option<FailureSet>,
    pub(crate) site: Site,
}

/// What the size of a breaker's window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowType {
    Calls,
    Seconds,
}

/// `[admission]`.
pub(crate) struct AdmissionFile {
    /// `None` within: any number.
    pub(crate) max_in_flight: Option<At<Option<u32>>>,
    pub(crate) shed: Option<Vec<(i32, u32)>>,
    pub(crate) site: Site,
}

/// What clients try again by default (as the client library of OpenAI does: 408, 409, 429, 5xx,
/// no connection, and timeouts), and what a breaker counts as a failure: what may be over later.
pub(crate) const USUAL_FAILURES: FailureSet = FailureSet(0)
    .with(Failure::RateLimited)
    .with(Failure::Overloaded)
    .with(Failure::ServerError)
    .with(Failure::Timeout);

/// A number of attempts, calls or failures.
const CALLS: Count = Count { min: 1, max: 100_000 };
/// A rate in per cent.
const PER_CENT: Number = Number::positive(100.0);
/// Items of `shed`: every model has a copy of them.
const MOST_SHED: usize = 100;
const MODELS: &str = "Settings of single models; what they leave out is as above.";

fn by_model<F>(r: &mut Reader<'_>, own: ReadTable<F>) -> ByModel<F> {
    let models = r.named("models", MODELS, own);
    let only_models = r.has_only("models");
    let all = own(r);
    ByModel { all: (!only_models).then_some(all), models }
}

pub(super) fn retries(r: &mut Reader<'_>) -> ByModel<RetriesFile> {
    by_model(r, retries_of)
}

pub(super) fn hedging(r: &mut Reader<'_>) -> ByModel<HedgingFile> {
    by_model(r, hedging_of)
}

pub(super) fn breaker(r: &mut Reader<'_>) -> ByModel<BreakerFile> {
    by_model(r, breaker_of)
}

pub(super) fn admission(r: &mut Reader<'_>) -> ByModel<AdmissionFile> {
    by_model(r, admission_of)
}

fn retries_of(r: &mut Reader<'_>) -> RetriesFile {
    RetriesFile {
        max_attempts: r.may(
            "max_attempts",
            Or("unlimited", CALLS),
            "Attempts in all, the first included. Default: 3.",
        ),
        on: failures(
            r,
            "on",
            "Failures after which another attempt is made. Default: rate_limited, overloaded, \
             server_error, timeout.",
        ),
        backoff: r.table_by(
            "backoff",
            "Pause before a further attempt; a law of durations (by its `kind`), or exponential.",
            "kind",
            |r| BackoffFile { exponential: None, drawn: duration_dist(r) },
            exponential,
        ),
        respect_retry_after: r.may(
            "respect_retry_after",
            Flag,
            "Whether the pause is at least what the backend asked for. Default: true.",
        ),
        budget: r.either(
            "retry_budget",
            Choice(&[("none", ())]),
            retry_budget,
            "Cap on further attempts as a share of calls. Default: \"none\".",
        ),
        timeout: r.may(
            "timeout",
            Or("none", LENGTH_OF_TIME),
            "An attempt that takes longer is given up. Default: \"none\".",
        ),
        cancel_on_timeout: r.may(
            "cancel_on_timeout",
            Flag,
            "Whether an attempt that was given up stops working; otherwise it goes on unseen. \
             Default: true.",
        ),
        site: r.site().clone(),
    }
}

fn exponential(r: &mut Reader<'_>) -> BackoffFile {
    const JITTERS: Choice<Jitter> =
        Choice(&[("none", Jitter::None), ("full", Jitter::Full), ("equal", Jitter::Equal)]);
    let initial = r.or("initial", DURATION, "500ms", "First pause.");
    let factor = r.or("factor", Number::within(1.0, 1_000.0), "2.0", "Growth of the pause.");
    let max = r.or("max", DURATION, "8s", "Longest pause.");
    let jitter = r.or("jitter", JITTERS, "full", "Randomness of the pause.");
    if let (Some(initial), Some(max)) = (&initial, &max)
        && max.value < initial.value
    {
        r.refuse(ProblemKind::Conflict, "`max` is below `initial`");
    }
    let values = initial.zip(factor).zip(max.zip(jitter));
    let exponential = values
        .map(|((initial, factor), (max, j))| (initial.value, factor.value, max.value, j.value));
    BackoffFile { exponential, drawn: None }
}

fn retry_budget(r: &mut Reader<'_>) -> RetryBudgetFile {
    let day = Duration { min: Span::from_millis(1), max: Span::from_secs(86_400) };
    RetryBudgetFile {
        ratio: r.or("ratio", Number::within(0.0, 1_000.0), "0.2", "Further attempts per call."),
        min_per_second: r.or(
            "min_per_second",
            Count { min: 0, max: 1_000_000 },
            "10",
            "Further attempts per second that are allowed anyway.",
        ),
        ttl: r.or("ttl", day, "10s", "How long a call counts."),
    }
}

fn hedging_of(r: &mut Reader<'_>) -> HedgingFile {
    HedgingFile {
        delay: r.may("delay", LENGTH_OF_TIME, "Wait before each further attempt; needed."),
        max_attempts: r.may(
            "max_attempts",
            Count { min: 1, max: 100 },
            "Attempts at once, the first included; 1: no hedging. Default: 2.",
        ),
        site: r.site().clone(),
    }
}

fn breaker_of(r: &mut Reader<'_>) -> BreakerFile {
    const TYPES: Choice<WindowType> =
        Choice(&[("count_based", WindowType::Calls), ("time_based", WindowType::Seconds)]);
    BreakerFile {
        enabled: r.may("enabled", Flag, "Whether there is a breaker. Default: true."),
        failure_rate_threshold: r.may(
            "failure_rate_threshold",
            PER_CENT,
            "Per cent of failed calls from which it opens. Default: 50.",
        ),
        slow_call_rate_threshold: r.may(
            "slow_call_rate_threshold",
            PER_CENT,
            "Per cent of slow calls from which it opens. Default: 100.",
        ),
        slow_call_duration_threshold: r.may(
            "slow_call_duration_threshold",
            LENGTH_OF_TIME,
            "A call that takes at least this long is slow. Default: 60s.",
        ),
        sliding_window_type: r.may(
            "sliding_window_type",
            TYPES,
            "Whether the window is the last calls or the last seconds. Default: count_based.",
        ),
        sliding_window_size: r.may(
            "sliding_window_size",
            CALLS,
            "Calls, or seconds, of the window. Default: 100.",
        ),
        minimum_number_of_calls: r.may(
            "minimum_number_of_calls",
            CALLS,
            "Calls in the window before it is judged. Default: 100.",
        ),
        wait_duration_in_open_state: r.may(
            "wait_duration_in_open_state",
            LENGTH_OF_TIME,
            "How long it stays open. Default: 60s.",
        ),
        permitted_calls_in_half_open_state: r.may(
            "permitted_calls_in_half_open_state",
            CALLS,
            "Calls that are let through to try the backend again. Default: 10.",
        ),
        consecutive_failures: r.may(
            "consecutive_failures",
            Or("never", CALLS),
            "Failures in a row from which it opens in any case. Default: \"never\".",
        ),
        record: failures(
            r,
            "record",
            "Failures that count; others are neither failure nor success. Default: rate_limited, \
             overloaded, server_error, timeout.",
        ),
        site: r.site().clone(),
    }
}

fn admission_of(r: &mut Reader<'_>) -> AdmissionFile {
    let max_in_flight = r.may(
        "max_in_flight",
        Or("unlimited", Count { min: 1, max: 100_000_000 }),
        "Attempts in flight at once over all backends of a model. Default: \"unlimited\".",
    );
    let written = r.has("shed");
    let shed = r.list("shed", "Priorities that are turned away when it is busy.", |r| {
        let priority = Whole { min: -1_000_000, max: 1_000_000 };
        let priority =
            r.need("priority", priority, "Calls of this priority number or a larger one …");
        let many = Count { min: 0, max: 100_000_000 };
        let in_flight = r.need("in_flight", many, "… are turned away beside so many attempts.");
        Some((i32::try_from(priority?.value).ok()?, in_flight?.value))
    });
    if shed.len() > MOST_SHED {
        r.refuse(ProblemKind::BadValue, format!("more than {MOST_SHED} items in `shed`"));
    }
    AdmissionFile {
        max_in_flight,
        shed: written.then(|| shed.into_iter().flatten().collect()),
        site: r.site().clone(),
    }
}
