//! The breaker's state machine, transition by transition.

use super::*;
use crate::resilience::FailureSet;

const FAILED: Result<(), Failure> = Err(Failure::ServerError);

/// Half of four calls open it; it waits five seconds and lets two through.
fn spec() -> BreakerSpec {
    BreakerSpec {
        failure_rate_threshold: 50.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::from_secs(60),
        sliding_window: SlidingWindow::Calls(4),
        minimum_number_of_calls: 4,
        wait_duration_in_open_state: Span::from_secs(5),
        permitted_calls_in_half_open_state: 2,
        consecutive_failures: None,
        failures: FailureSet::default().with(Failure::ServerError).with(Failure::Timeout),
    }
}

fn at(secs: u64) -> Time {
    Time::ZERO.after(Span::from_secs(secs))
}

/// One call after another, each with no duration.
fn calls(breaker: &mut Breaker, now: Time, results: &[Result<(), Failure>]) {
    for &result in results {
        let permit = breaker.permit(now).expect("it is let through");
        breaker.record(now, result, Span::ZERO, permit);
    }
}

/// Open since second 10.
fn opened(spec: &BreakerSpec) -> Breaker {
    let mut breaker = Breaker::new(spec);
    calls(&mut breaker, at(10), &[FAILED; 4]);
    assert_eq!((breaker.state(), breaker.opens()), (BreakerState::Open, 1));
    breaker
}

#[test]
fn it_opens_at_the_threshold_and_not_before_the_minimum() {
    let mut breaker = Breaker::new(&spec());
    calls(&mut breaker, at(0), &[FAILED, FAILED, FAILED]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    calls(&mut breaker, at(0), &[Ok(())]);
    assert_eq!(breaker.state(), BreakerState::Open);

    let mut breaker = Breaker::new(&spec());
    calls(&mut breaker, at(0), &[Ok(()), Ok(()), Ok(()), FAILED, Ok(()), Ok(()), Ok(()), FAILED]);
    assert_eq!(breaker.state(), BreakerState::Closed, "one of four is below a half");
    calls(&mut breaker, at(0), &[FAILED]);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_minimum_above_the_window_is_the_window() {
    let mut breaker = Breaker::new(&BreakerSpec { minimum_number_of_calls: 100, ..spec() });
    calls(&mut breaker, at(0), &[FAILED; 4]);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn slow_calls_open_it_too() {
    let slow = Span::from_secs(60);
    let mut breaker = Breaker::new(&BreakerSpec { slow_call_rate_threshold: 75.0, ..spec() });
    for took in [slow, Span(slow.0 - 1), slow, slow] {
        let permit = breaker.permit(at(0)).expect("closed");
        breaker.record(at(0), Ok(()), took, permit);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn failures_slide_out_of_a_window_of_seconds() {
    let window = SlidingWindow::Seconds(10);
    let mut breaker = Breaker::new(&BreakerSpec { sliding_window: window, ..spec() });
    calls(&mut breaker, at(0), &[FAILED, FAILED, FAILED]);
    // The window of second 10 begins with second 1.
    calls(&mut breaker, at(10), &[Ok(()), Ok(()), Ok(()), FAILED]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    calls(&mut breaker, at(19), &[FAILED, FAILED]);
    assert_eq!(breaker.state(), BreakerState::Open, "three of six");
}

#[test]
fn open_it_refuses_until_the_wait_is_over() {
    let mut breaker = opened(&spec());
    let late = Time(at(15).0 - 1);
    assert!(breaker.is_open(at(10)) && breaker.is_open(late));
    assert_eq!((breaker.permit(at(10)), breaker.permit(late), breaker.rejected()), (None, None, 2));
    assert!(!breaker.is_open(at(15)));
    assert!(breaker.permit(at(15)).is_some());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn half_open_the_permitted_calls_decide() {
    let mut breaker = opened(&spec());
    let first = breaker.permit(at(20)).expect("the first");
    let second = breaker.permit(at(20)).expect("the second");
    assert!(breaker.is_open(at(20)) && breaker.permit(at(21)).is_none());
    breaker.record(at(22), Ok(()), Span::ZERO, first);
    assert_eq!((breaker.state(), breaker.permit(at(22))), (BreakerState::HalfOpen, None));
    let mut good = breaker.clone();
    good.record(at(23), Ok(()), Span::ZERO, second);
    assert_eq!(good.state(), BreakerState::Closed);
    // Half of them failed, which is the threshold.
    breaker.record(at(23), FAILED, Span::ZERO, second);
    assert_eq!((breaker.state(), breaker.opens()), (BreakerState::Open, 2));
    assert!(breaker.is_open(at(27)) && !breaker.is_open(at(28)), "the wait starts anew");
}

#[test]
fn half_open_it_decides_at_the_minimum_if_that_is_less() {
    let mut breaker = opened(&BreakerSpec {
        permitted_calls_in_half_open_state: 10,
        minimum_number_of_calls: 4,
        ..spec()
    });
    calls(&mut breaker, at(20), &[Ok(()), Ok(()), Ok(())]);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    calls(&mut breaker, at(20), &[Ok(())]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn closing_forgets_what_was_before() {
    let mut breaker = opened(&spec());
    calls(&mut breaker, at(20), &[Ok(()), Ok(())]);
    calls(&mut breaker, at(21), &[FAILED, FAILED, FAILED]);
    assert_eq!(breaker.state(), BreakerState::Closed, "three are below the minimum");
}

#[test]
fn what_says_nothing_about_the_backend_gives_its_place_back() {
    let mut breaker = opened(&spec());
    for _ in 0..5 {
        let permit = breaker.permit(at(20)).expect("a place is free");
        breaker.record(at(20), Err(Failure::TooLong), Span::ZERO, permit);
        let permit = breaker.permit(at(20)).expect("a place is free");
        breaker.release(permit);
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    calls(&mut breaker, at(20), &[Ok(()), Ok(())]);
    calls(&mut breaker, at(20), &[Err(Failure::TooLong); 9]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn results_of_an_earlier_state_are_ignored() {
    let mut breaker = Breaker::new(&spec());
    let early: Vec<Permit> = (0..3).filter_map(|_| breaker.permit(at(0))).collect();
    calls(&mut breaker, at(10), &[FAILED; 4]);
    breaker.record(at(11), Ok(()), Span::ZERO, early[0]);
    assert_eq!(breaker.state(), BreakerState::Open);
    let probe = breaker.permit(at(15)).expect("half-open");
    breaker.record(at(16), FAILED, Span::ZERO, early[1]);
    breaker.release(early[2]);
    let second = breaker.permit(at(16)).expect("two are let through");
    assert_eq!(breaker.permit(at(16)), None, "and no third for one that was let through earlier");
    breaker.record(at(17), Ok(()), Span::ZERO, probe);
    breaker.record(at(18), Ok(()), Span::ZERO, second);
    assert_eq!(breaker.state(), BreakerState::Closed, "two successes, no failure");
}

#[test]
fn failures_in_a_row_open_it_whatever_the_rates_say() {
    let mut breaker = Breaker::new(&BreakerSpec {
        sliding_window: SlidingWindow::Calls(1_000),
        minimum_number_of_calls: 1_000,
        consecutive_failures: Some(3),
        permitted_calls_in_half_open_state: 3,
        ..spec()
    });
    calls(&mut breaker, at(0), &[FAILED, FAILED, Ok(()), FAILED, FAILED]);
    // What does not count neither lengthens nor ends a run.
    calls(&mut breaker, at(0), &[Err(Failure::TooLong)]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    calls(&mut breaker, at(0), &[FAILED]);
    assert_eq!(breaker.state(), BreakerState::Open);
    calls(&mut breaker, at(5), &[Ok(()), FAILED]);
    assert_eq!((breaker.state(), breaker.opens()), (BreakerState::Open, 2), "one is enough");
    calls(&mut breaker, at(10), &[Ok(()), Ok(()), Ok(())]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn time_open_is_the_waits_that_passed() {
    let mut breaker = opened(&spec());
    let secs = |breaker: &Breaker, now| breaker.time_open(at(now)).as_secs_f64();
    assert_eq!((secs(&breaker, 10), secs(&breaker, 12), secs(&breaker, 99)), (0.0, 2.0, 5.0));
    calls(&mut breaker, at(20), &[FAILED, FAILED]);
    assert_eq!((secs(&breaker, 20), secs(&breaker, 23), secs(&breaker, 40)), (5.0, 8.0, 10.0));
    calls(&mut breaker, at(40), &[Ok(()), Ok(())]);
    assert_eq!(secs(&breaker, 1_000), 10.0);
}
