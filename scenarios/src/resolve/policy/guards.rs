//! Guards: the settings of each model, from its own table and that of all.
//!
//! Invariants: a key that a model's own table leaves out is that of the table of all, and only
//! what neither says is a default; a guard that can never act is left out.
//!
//! Deliberately absent: the order of the guards (see `sim::resilience`).

use crate::file::{
    AdmissionFile, BackoffFile, BreakerFile, ByModel, HedgingFile, RetriesFile, RetryBudgetFile,
    USUAL_FAILURES, WindowType,
};
use crate::problem::{At, Problem, ProblemKind, Site};
use crate::resolve::Resolver;
use crate::resolved::Origin;
use sim::resilience::{
    AdmissionSpec, Backoff, BreakerSpec, GuardSpec, HedgeSpec, Jitter, RetryBudgetSpec, RetrySpec,
    SlidingWindow,
};
use sim::units::Span;

/// How a set of failures that is the default is shown.
const USUAL: &str = "rate_limited, overloaded, server_error, timeout";

/// What `[retries]` says of one model.
#[derive(Clone)]
struct Retrying {
    retry: RetrySpec,
    timeout: Option<Span>,
    cancel_on_timeout: bool,
}

impl Resolver<'_> {
    /// The guards of each model.
    pub(in crate::resolve) fn guards(&self) -> Vec<GuardSpec> {
        let policy = &self.file.policy;
        let retrying = self.by_model(policy.retries.as_ref(), Self::retrying);
        let hedging = self.by_model(policy.hedging.as_ref(), Self::hedging);
        let breakers = self.by_model(policy.breaker.as_ref(), Self::breaker);
        let admission = self.by_model(policy.admission.as_ref(), Self::admission);
        let parts = retrying.into_iter().zip(hedging).zip(breakers.into_iter().zip(admission));
        parts
            .map(|((retrying, hedging), (breaker, admission))| {
                let (mut retry, mut timeout, mut cancel_on_timeout) = (None, None, false);
                if let Some(said) = retrying {
                    // Hedges draw on the budget too, so it stays even without retries.
                    let acts = said.retry.max_attempts > 1 || said.retry.budget.is_some();
                    retry = acts.then_some(said.retry);
                    timeout = said.timeout;
                    cancel_on_timeout = said.cancel_on_timeout && timeout.is_some();
                }
                GuardSpec {
                    timeout,
                    cancel_on_timeout,
                    retry,
                    hedge: hedging.filter(|hedge| hedge.max_attempts > 1),
                    breaker: breaker.and_then(|(enabled, breaker)| enabled.then_some(breaker)),
                    admission: admission.unwrap_or_default(),
                }
            })
            .collect()
    }

    /// One entry for each model; `None` where nothing is said of it.
    fn by_model<F, S: Clone>(
        &self,
        file: Option<&ByModel<F>>,
        fill: impl Fn(&Self, &F, Option<&S>) -> S,
    ) -> Vec<Option<S>> {
        let Some(file) = file else { return vec![None; self.models.len()] };
        let all = file.all.as_ref().map(|all| fill(self, all, None));
        let mut each = vec![all.clone(); self.models.len()];
        for (name, own) in &file.models {
            let own = fill(self, own, all.as_ref());
            if let Some(slot) = self.model_id(name).and_then(|id| each.get_mut(id.index())) {
                *slot = Some(own);
            }
        }
        each
    }

    fn retrying(&self, file: &RetriesFile, above: Option<&Retrying>) -> Retrying {
        let mut said = above.cloned().unwrap_or_else(Retrying::usual);
        let fill = Fill { resolver: self, site: &file.site, noted: above.is_none() };
        let retry = &mut said.retry;
        let attempts = value(&file.max_attempts).map(|most| most.unwrap_or(u32::MAX));
        fill.put("max_attempts", attempts, &mut retry.max_attempts, "3");
        fill.put("on", file.on, &mut retry.on, USUAL);
        let backoff = file.backoff.as_ref().and_then(backoff_of);
        let shown = "500ms, doubling up to 8s, jitter full";
        fill.put("backoff", backoff, &mut retry.backoff, shown);
        let respected = value(&file.respect_retry_after);
        fill.put("respect_retry_after", respected, &mut retry.respect_retry_after, "true");
        let budget = file.budget.as_ref().map(|budget| match budget {
            Ok(_) => None,
            Err(budget) => budget_of(budget),
        });
        fill.put("retry_budget", budget, &mut retry.budget, "none");
        fill.put("timeout", value(&file.timeout), &mut said.timeout, "none");
        let cancel = value(&file.cancel_on_timeout);
        fill.put("cancel_on_timeout", cancel, &mut said.cancel_on_timeout, "true");
        said
    }

    fn hedging(&self, file: &HedgingFile, above: Option<&HedgeSpec>) -> HedgeSpec {
        let mut said = above.copied().unwrap_or(HedgeSpec { delay: Span::ZERO, max_attempts: 2 });
        let fill = Fill { resolver: self, site: &file.site, noted: above.is_none() };
        fill.put("max_attempts", value(&file.max_attempts), &mut said.max_attempts, "2");
        said.delay = value(&file.delay).unwrap_or(said.delay);
        if said.delay == Span::ZERO && said.max_attempts > 1 {
            let site = file.site.child("delay");
            let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
            self.push(problem.help("say how long an attempt is waited for, like \"2s\""));
        }
        said
    }

    /// The breaker, and whether there is one.
    fn breaker(
        &self,
        file: &BreakerFile,
        above: Option<&(bool, BreakerSpec)>,
    ) -> (bool, BreakerSpec) {
        let (mut enabled, mut said) = above.copied().unwrap_or((true, RESILIENCE4J));
        let fill = Fill { resolver: self, site: &file.site, noted: above.is_none() };
        fill.put("enabled", value(&file.enabled), &mut enabled, "true");
        let rate = value(&file.failure_rate_threshold);
        fill.put("failure_rate_threshold", rate, &mut said.failure_rate_threshold, "50");
        let rate = value(&file.slow_call_rate_threshold);
        fill.put("slow_call_rate_threshold", rate, &mut said.slow_call_rate_threshold, "100");
        let slow = value(&file.slow_call_duration_threshold);
        let slot = &mut said.slow_call_duration_threshold;
        fill.put("slow_call_duration_threshold", slow, slot, "60s");
        let (mut window, mut size) = match said.sliding_window {
            SlidingWindow::Calls(size) => (WindowType::Calls, size),
            SlidingWindow::Seconds(size) => (WindowType::Seconds, size),
        };
        let window_type = value(&file.sliding_window_type);
        fill.put("sliding_window_type", window_type, &mut window, "count_based");
        fill.put("sliding_window_size", value(&file.sliding_window_size), &mut size, "100");
        said.sliding_window = match window {
            WindowType::Calls => SlidingWindow::Calls(size),
            WindowType::Seconds => SlidingWindow::Seconds(size),
        };
        let least = value(&file.minimum_number_of_calls);
        fill.put("minimum_number_of_calls", least, &mut said.minimum_number_of_calls, "100");
        let wait = value(&file.wait_duration_in_open_state);
        fill.put("wait_duration_in_open_state", wait, &mut said.wait_duration_in_open_state, "60s");
        let permitted = value(&file.permitted_calls_in_half_open_state);
        let slot = &mut said.permitted_calls_in_half_open_state;
        fill.put("permitted_calls_in_half_open_state", permitted, slot, "10");
        let row = value(&file.consecutive_failures);
        fill.put("consecutive_failures", row, &mut said.consecutive_failures, "never");
        fill.put("record", file.record, &mut said.failures, USUAL);
        (enabled, said)
    }

    fn admission(&self, file: &AdmissionFile, above: Option<&AdmissionSpec>) -> AdmissionSpec {
        let mut said = above.cloned().unwrap_or_default();
        let fill = Fill { resolver: self, site: &file.site, noted: above.is_none() };
        let most = value(&file.max_in_flight);
        fill.put("max_in_flight", most, &mut said.max_in_flight, "unlimited");
        fill.put("shed", file.shed.clone(), &mut said.shed, "nobody");
        said
    }
}

/// The defaults of resilience4j ("CircuitBreaker", section "Create and configure a
/// CircuitBreaker"), but for the failures that count: there every exception does.
const RESILIENCE4J: BreakerSpec = BreakerSpec {
    failure_rate_threshold: 50.0,
    slow_call_rate_threshold: 100.0,
    slow_call_duration_threshold: Span::from_secs(60),
    sliding_window: SlidingWindow::Calls(100),
    minimum_number_of_calls: 100,
    wait_duration_in_open_state: Span::from_secs(60),
    permitted_calls_in_half_open_state: 10,
    consecutive_failures: None,
    failures: USUAL_FAILURES,
};

impl Retrying {
    /// Attempts, first and longest pause of OpenAI's client library (`max_retries` 2, 0.5 s, 8 s),
    /// with the jitter that AWS calls full.
    fn usual() -> Retrying {
        let backoff = Backoff::Exponential {
            initial: Span::from_millis(500),
            factor: 2.0,
            max: Span::from_secs(8),
            jitter: Jitter::Full,
        };
        let retry = RetrySpec {
            max_attempts: 3,
            on: USUAL_FAILURES,
            backoff,
            respect_retry_after: true,
            budget: None,
        };
        Retrying { retry, timeout: None, cancel_on_timeout: true }
    }
}

/// Fills a specification that holds what stands above a table, or the defaults.
struct Fill<'a> {
    resolver: &'a Resolver<'a>,
    site: &'a Site,
    /// Whether what is not written is a default, which is noted.
    noted: bool,
}

impl Fill<'_> {
    fn put<T>(&self, key: &str, written: Option<T>, slot: &mut T, default: &str) {
        match written {
            Some(value) => *slot = value,
            None if self.noted => {
                let key = self.site.child(key).key;
                self.resolver.note(key, default.to_owned(), Origin::Default);
            }
            None => {}
        }
    }
}

/// A value without its position.
fn value<T: Copy>(at: &Option<At<T>>) -> Option<T> {
    at.as_ref().map(|at| at.value)
}

fn backoff_of(file: &BackoffFile) -> Option<Backoff> {
    let drawn = || Some(Backoff::Drawn(file.drawn.clone()?));
    let exponential =
        |(initial, factor, max, jitter)| Backoff::Exponential { initial, factor, max, jitter };
    file.exponential.map(exponential).or_else(drawn)
}

fn budget_of(file: &RetryBudgetFile) -> Option<RetryBudgetSpec> {
    Some(RetryBudgetSpec {
        ratio: value(&file.ratio)?,
        min_per_second: value(&file.min_per_second)?,
        ttl: value(&file.ttl)?,
    })
}
