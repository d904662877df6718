//! What clients and gateways do about calls that fail or take long.
//!
//! The order of the guards around one attempt, from the outside in, is that of resilience4j:
//! retry (and hedge) → circuit breaker → admission → rate limit → time limit → the backend. A
//! breaker sees every attempt it let through, whatever ended it; the budget of retries is paid by
//! retries and hedges alone.

pub mod admission;
pub mod amplification;
pub mod breaker;
pub mod budget;
pub mod hedge;
pub mod retry;

pub use admission::{Admission, ShedCounts};
pub use amplification::{FluidRetries, RetryLoad};
pub use breaker::{Breaker, BreakerState, Permit};
pub use budget::RetryBudget;

use crate::dist::DurationDist;
use crate::units::Span;

/// How the calls to one model name are guarded.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GuardSpec {
    /// An attempt that takes longer is given up; `None`: never.
    pub timeout: Option<Span>,
    /// Whether an attempt that was given up stops working; otherwise it goes on unseen, and costs.
    pub cancel_on_timeout: bool,
    /// Further attempts after a failure; `None`: none.
    pub retry: Option<RetrySpec>,
    /// A second attempt beside a slow first one.
    pub hedge: Option<HedgeSpec>,
    /// A breaker per backend; `None`: none.
    pub breaker: Option<BreakerSpec>,
    /// Who is let in.
    pub admission: AdmissionSpec,
}

/// Why an attempt, or a call, did not give an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Failure {
    /// 429: a rate limit.
    RateLimited = 0,
    /// 503: a queue is full, or load was shed.
    Overloaded = 1,
    /// 5xx: something broke.
    ServerError = 2,
    /// It took longer than the attempt's timeout.
    Timeout = 3,
    /// The circuit breaker was open.
    BreakerOpen = 4,
    /// 400: the prompt and its answer do not fit.
    TooLong = 5,
    /// This user's device cannot run it.
    NotEligible = 6,
}

/// Kinds of failure.
pub const FAILURES: usize = Failure::NotEligible as usize + 1;

/// A set of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FailureSet(pub u8);

impl FailureSet {
    /// Every kind of failure.
    pub const ALL: FailureSet = FailureSet(0x7f);

    /// The set and one more.
    #[must_use]
    pub const fn with(self, failure: Failure) -> FailureSet {
        FailureSet(self.0 | 1 << failure as u8)
    }

    /// Whether the set has it.
    #[must_use]
    pub const fn has(self, failure: Failure) -> bool {
        self.0 & (1 << failure as u8) != 0
    }
}

/// Further attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySpec {
    /// Attempts in all, the first included; at least 1; `u32::MAX`: no limit.
    pub max_attempts: u32,
    /// Failures after which another attempt is made.
    pub on: FailureSet,
    /// Pause before each further attempt.
    pub backoff: Backoff,
    /// Whether the pause is at least what the backend said (`retry-after`).
    pub respect_retry_after: bool,
    /// Cap on retries as a share of calls; `None`: no cap.
    pub budget: Option<RetryBudgetSpec>,
}

/// Pause before attempt 2, 3, …
#[derive(Clone, Debug, PartialEq)]
pub enum Backoff {
    /// `min(initial · factor^(n − 1), max)`, n = 1 for the first retry, then jittered.
    Exponential {
        /// First pause.
        initial: Span,
        /// Growth, at least 1.
        factor: f64,
        /// Longest pause.
        max: Span,
        /// Randomness.
        jitter: Jitter,
    },
    /// Drawn anew each time.
    Drawn(DurationDist),
}

/// Randomness of a pause `p` (names after "Exponential Backoff And Jitter", AWS, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Jitter {
    /// `p`.
    None,
    /// Uniform in `[0, p]`.
    #[default]
    Full,
    /// `p/2` plus uniform in `[0, p/2]`.
    Equal,
}

/// Finagle's `RetryBudget`: each call deposits `ratio` of a retry, each retry withdraws one;
/// deposits expire after `ttl`, and `min_per_second · ttl` are always there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudgetSpec {
    /// Retries per call, ≥ 0.
    pub ratio: f64,
    /// Retries per second that are allowed anyway.
    pub min_per_second: u32,
    /// Life of a deposit; positive.
    pub ttl: Span,
}

/// A second attempt beside the first, the first answer wins and the other is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeSpec {
    /// Wait before each further attempt; positive.
    pub delay: Span,
    /// Attempts at once, the first included; at least 2.
    pub max_attempts: u32,
}

/// A circuit breaker with resilience4j's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSpec {
    /// Per cent of failed calls in the window from which it opens, in (0, 100].
    pub failure_rate_threshold: f64,
    /// Per cent of slow calls in the window from which it opens, in (0, 100].
    pub slow_call_rate_threshold: f64,
    /// A call that takes at least this long is slow.
    pub slow_call_duration_threshold: Span,
    /// What the window counts.
    pub sliding_window: SlidingWindow,
    /// Calls in the window before a rate is computed; at least 1.
    pub minimum_number_of_calls: u32,
    /// How long it stays open; positive.
    pub wait_duration_in_open_state: Span,
    /// Calls let through half-open; their rates decide. At least 1.
    pub permitted_calls_in_half_open_state: u32,
    /// Opens after this many failures in a row, whatever the rates say; half-open, one failure is
    /// then enough. `None`: never.
    pub consecutive_failures: Option<u32>,
    /// Failures that count; others (a prompt that is too long) are neither failure nor success.
    pub failures: FailureSet,
}

/// What a breaker looks back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlidingWindow {
    /// The last calls; at least 1.
    Calls(u32),
    /// The last seconds, in whole seconds; at least 1.
    Seconds(u32),
}

/// Who is let in, before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AdmissionSpec {
    /// Attempts in flight at once over all backends of the model; `None`: any number.
    pub max_in_flight: Option<u32>,
    /// `(priority, in flight)`: a call whose priority number is at least `priority` is shed once
    /// so many attempts are in flight. Any order.
    pub shed: Vec<(i32, u32)>,
}
