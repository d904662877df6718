//! Guards under random use: what may never happen, whoever calls when.
//!
//! Each property compares with a slow twin that keeps the whole history.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sim::resilience::{
    Backoff, Breaker, BreakerSpec, BreakerState, Failure, FailureSet, Jitter, Permit, RetryBudget,
    RetryBudgetSpec, RetrySpec, SlidingWindow, budget, retry,
};
use sim::units::{Span, Time};

fn at(millis: u64) -> Time {
    Time::ZERO.after(Span::from_millis(millis))
}

prop_compose! {
    fn breaker_spec()(
        rates in (1.0..=100.0, 1.0..=100.0),
        slow in 1_u64..2_000,
        window in prop_oneof![
            (1_u32..20).prop_map(SlidingWindow::Calls),
            (1_u32..10).prop_map(SlidingWindow::Seconds),
        ],
        minimum in 1_u32..20,
        wait in 1_u64..5_000,
        permitted in 1_u32..6,
        consecutive_failures in option::of(1_u32..5),
    ) -> BreakerSpec {
        BreakerSpec {
            failure_rate_threshold: rates.0,
            slow_call_rate_threshold: rates.1,
            slow_call_duration_threshold: Span::from_millis(slow),
            sliding_window: window,
            minimum_number_of_calls: minimum,
            wait_duration_in_open_state: Span::from_millis(wait),
            permitted_calls_in_half_open_state: permitted,
            consecutive_failures,
            failures: FailureSet::default().with(Failure::ServerError).with(Failure::Timeout),
        }
    }
}

/// One thing that happens to a breaker.
#[derive(Clone, Copy, Debug)]
enum Act {
    Call,
    /// The call in flight at this position (modulo their number) ends.
    End(usize, Result<(), Failure>),
    Cancel(usize),
}

fn act() -> impl Strategy<Value = (u64, Act)> {
    let result = prop_oneof![
        3 => Just(Ok(())),
        3 => Just(Err(Failure::ServerError)),
        1 => Just(Err(Failure::TooLong)),
    ];
    let act = prop_oneof![
        5 => Just(Act::Call),
        4 => (any::<usize>(), result).prop_map(|(which, result)| Act::End(which, result)),
        1 => any::<usize>().prop_map(Act::Cancel),
    ];
    (0_u64..400, act)
}

/// A breaker in use, and what its user saw of it.
struct Watched {
    breaker: Breaker,
    wait: Span,
    permitted: usize,
    now: Time,
    /// Calls in flight: since when, and whether let through by the current half-open state.
    flying: Vec<(Permit, Time, bool)>,
    opened: Option<Time>,
    /// Results of the current half-open state.
    results: usize,
}

impl Watched {
    fn call(&mut self) -> Result<(), TestCaseError> {
        let said = self.breaker.is_open(self.now);
        let Some(permit) = self.breaker.permit(self.now) else {
            prop_assert!(said, "refused while it says that it is not open");
            return Ok(());
        };
        prop_assert!(!said, "let through while it says that it is open");
        let half_open = self.breaker.state() == BreakerState::HalfOpen;
        if let Some(opened) = self.opened.take() {
            prop_assert!(self.now >= opened.after(self.wait), "let through before the wait");
            prop_assert!(half_open);
            self.results = 0;
        }
        self.flying.push((permit, self.now, half_open));
        let probes = self.flying.iter().filter(|call| call.2).count();
        prop_assert!(!half_open || probes + self.results <= self.permitted);
        Ok(())
    }

    fn end(&mut self, which: usize, result: Option<Result<(), Failure>>) {
        if self.flying.is_empty() {
            return;
        }
        let (permit, since, probe) = self.flying.swap_remove(which % self.flying.len());
        let opens = self.breaker.opens();
        match result {
            Some(result) => self.breaker.record(self.now, result, self.now - since, permit),
            None => self.breaker.release(permit),
        }
        let counted = result.is_some_and(|result| result != Err(Failure::TooLong));
        self.results += usize::from(probe && counted);
        if self.breaker.opens() > opens {
            self.opened = Some(self.now);
        }
        if self.breaker.state() != BreakerState::HalfOpen {
            self.flying.iter_mut().for_each(|call| call.2 = false);
        }
    }
}

/// Any backoff with its longest pause.
fn backoff() -> impl Strategy<Value = (Backoff, Span)> {
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal)];
    // Usual ones, and the ends of what a span can hold.
    let span = prop_oneof![0..3_u64, 0..1_u64 << 45, any::<u64>()].prop_map(Span);
    (span.clone(), 1.0..100.0, span, jitter).prop_map(|(initial, factor, max, jitter)| {
        (Backoff::Exponential { initial, factor, max, jitter }, max)
    })
}

fn retry_spec(backoff: Backoff) -> RetrySpec {
    RetrySpec {
        max_attempts: 3,
        on: FailureSet::ALL,
        backoff,
        respect_retry_after: true,
        budget: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_breaker_keeps_its_word(spec in breaker_spec(), acts in vec(act(), 1..300)) {
        let mut watched = Watched {
            breaker: Breaker::new(&spec),
            wait: spec.wait_duration_in_open_state,
            permitted: spec.permitted_calls_in_half_open_state as usize,
            now: Time::ZERO,
            flying: Vec::new(),
            opened: None,
            results: 0,
        };
        let mut open = Span::ZERO;
        for (gap, act) in acts {
            let later = watched.now.after(Span::from_millis(gap));
            if let Some(opened) = watched.opened {
                let end = opened.after(watched.wait);
                open += later.min(end).since(watched.now.min(end));
            }
            watched.now = later;
            match act {
                Act::Call => watched.call()?,
                Act::End(which, result) => watched.end(which, Some(result)),
                Act::Cancel(which) => watched.end(which, None),
            }
            prop_assert_eq!(watched.breaker.time_open(later), open);
        }
        // Nothing gets stuck: when all calls have ended, somebody is let through after the wait.
        while !watched.flying.is_empty() {
            watched.end(0, Some(Ok(())));
        }
        watched.now = watched.now.after(watched.wait);
        watched.call()?;
        prop_assert!(!watched.flying.is_empty(), "nobody is let through any more");
    }

    #[test]
    fn a_budget_grants_what_its_slices_hold(
        ratio in 0.0..3.0,
        min_per_second in 0_u32..5,
        ttl in 100_u64..20_000,
        acts in vec((0_u64..300, any::<bool>()), 1..400),
    ) {
        let spec = RetryBudgetSpec { ratio, min_per_second, ttl: Span::from_millis(ttl) };
        let mut budget = RetryBudget::new(&spec);
        let reserve = f64::from(min_per_second) * ttl as f64 / 1e3;
        let slice = spec.ttl.0 / budget::SLICES;
        let (mut deposits, mut grants) = (Vec::new(), Vec::new());
        let mut now = 0;
        for (gap, call) in acts {
            now += gap;
            if call {
                budget.deposit(at(now));
                deposits.push(at(now));
                continue;
            }
            let live = |then: &&Time| then.0 / slice + budget::SLICES > at(now).0 / slice;
            let paid = ratio * deposits.iter().filter(live).count() as f64 + reserve;
            let taken = grants.iter().filter(live).count() as f64;
            // A ratio is kept to a millionth.
            let slack = 1e-6 * (deposits.len() as f64 + 2.0);
            let granted = budget.withdraw(at(now));
            if (paid - taken - 1.0).abs() > slack {
                prop_assert_eq!(granted, paid >= taken + 1.0, "{} − {}", paid, taken);
            }
            if granted {
                grants.push(at(now));
                // In no window of nine slices more than the calls of ten, and the reserve.
                let within = |times: &[Time], slices: u64| {
                    let recent = |then: &&Time| at(now).since(**then) < Span(slice * slices);
                    times.iter().filter(recent).count() as f64
                };
                let bound = ratio * within(&deposits, budget::SLICES) + reserve + slack;
                prop_assert!(within(&grants, budget::SLICES - 1) <= bound);
            }
        }
        prop_assert_eq!(budget.granted(), grants.len() as u64);
    }

    #[test]
    fn a_pause_keeps_its_bounds_and_its_key(
        (backoff, max) in backoff(),
        attempt in 2_u32..60,
        key in any::<u64>(),
        asked in option::of(any::<u64>().prop_map(Span)),
    ) {
        let spec = retry_spec(backoff.clone());
        let pause = retry::pause(&spec, attempt, key, None);
        prop_assert_eq!(pause, retry::pause(&spec, attempt, key, None));
        prop_assert!(pause <= max);
        let with = |jitter| match backoff {
            Backoff::Exponential { initial, factor, max, .. } => {
                let backoff = Backoff::Exponential { initial, factor, max, jitter };
                retry::pause(&retry_spec(backoff), attempt, key, None)
            }
            Backoff::Drawn(_) => pause,
        };
        let (none, full, equal) = (with(Jitter::None), with(Jitter::Full), with(Jitter::Equal));
        prop_assert!(full <= none && equal <= none && equal.0 >= none.0 / 2);
        // One coin serves all jitters: what full jitter halves, equal jitter adds to the half.
        let coin = Span(none.0 / 2 + full.0 / 2);
        let rounding = 2 + (none.0 >> 51);
        prop_assert!(equal.0.abs_diff(coin.0) <= rounding, "{:?} {:?} {:?}", none, full, equal);
        let asked_for = retry::pause(&spec, attempt, key, asked);
        prop_assert_eq!(asked_for, asked.map_or(pause, |asked| pause.max(asked)));
        // A pause of one step more is never shorter without jitter.
        if let Backoff::Exponential { jitter: Jitter::None, .. } = backoff {
            prop_assert!(pause <= retry::pause(&spec, attempt + 1, key, None));
        }
    }

    #[test]
    fn jitter_belongs_to_the_call_and_the_attempt(key in any::<u64>(), attempt in 2_u32..60) {
        let max = Span::from_secs(1_000);
        let spec = retry_spec(Backoff::Exponential { initial: max, factor: 1.0, max, jitter: Jitter::Full });
        let pause = retry::pause(&spec, attempt, key, None);
        // 2⁵⁰ outcomes: two that are equal share their coin.
        prop_assert_ne!(pause, retry::pause(&spec, attempt + 1, key, None));
        prop_assert_ne!(pause, retry::pause(&spec, attempt, key ^ 1, None));
    }
}
