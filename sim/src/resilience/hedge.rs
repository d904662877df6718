//! When a slow call is sent a second time beside the first.
//!
//! A pure function of how long the call has been out; the caller counts what it launched, asks the
//! budget, and cancels the losers.
//!
//! Deliberately absent: a delay that follows a measured quantile of latency.

use super::HedgeSpec;
use crate::units::{Span, Time};

/// When the next attempt is launched beside the `launched` ones (at least 1, those that failed
/// included) of a call whose first was sent at `sent`, if no answer has come; `None`: there is no
/// further one.
#[must_use]
pub fn next_at(spec: &HedgeSpec, sent: Time, launched: u32) -> Option<Time> {
    let delay = Span(spec.delay.0.saturating_mul(u64::from(launched)));
    (launched < spec.max_attempts).then(|| sent.after(delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_one_another_by_the_delay() {
        let spec = HedgeSpec { delay: Span(5), max_attempts: 3 };
        let times = [1, 2, 3].map(|launched| next_at(&spec, Time(100), launched));
        assert_eq!(times, [Some(Time(105)), Some(Time(110)), None]);
        let patient = HedgeSpec { delay: Span::MAX, max_attempts: u32::MAX };
        assert_eq!(next_at(&patient, Time(100), 7), Some(Time::NEVER));
    }
}
