//! What goes wrong: a floor of errors, and incidents that add errors and take speed.
//!
//! Incidents at the same time combine as independent causes: an attempt passes all of them with
//! `Π (1 − p)`, and their factors on times multiply. One uniform draw decides whether an attempt
//! fails and, read as a ladder over the causes, which of them it was.
//!
//! Invariants: time does not go back; raising a probability never turns a failure into a success;
//! an incident with no errors and factor 1 changes nothing.
//!
//! Deliberately absent: errors in the middle of an answer, and partial outages of some users.

use super::Incident;
use crate::dice::{Dice, Purpose};
use crate::units::{Span, Time};

/// Why an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It happens at any time.
    Floor,
    /// An incident in which a failure takes this long.
    Incident(Span),
}

/// The incidents of a place and where on their list the present instant is.
#[derive(Clone, Debug)]
pub(super) struct Incidents {
    error_rate: f64,
    /// By start.
    all: Vec<Incident>,
    /// Position in `all` of the next that starts.
    next: usize,
    /// Those under way, by start.
    active: Vec<Incident>,
    /// Product of their factors.
    slowness: f64,
    /// When the next one starts or ends.
    changes: Time,
}

impl Incidents {
    pub(super) fn new(error_rate: f64, incidents: &[Incident]) -> Incidents {
        let mut all = incidents.to_vec();
        all.sort_by_key(|incident| incident.at);
        let changes = all.first().map_or(Time::NEVER, |incident| incident.at);
        Incidents { error_rate, all, next: 0, active: Vec::new(), slowness: 1.0, changes }
    }

    /// Factor on all times of what starts now.
    pub(super) fn slowness(&mut self, now: Time) -> f64 {
        if now >= self.changes {
            self.advance(now);
        }
        self.slowness
    }

    fn advance(&mut self, now: Time) {
        while let Some(&incident) = self.all.get(self.next).filter(|next| next.at <= now) {
            self.active.push(incident);
            self.next += 1;
        }
        let end = |incident: &Incident| incident.at.after(incident.length);
        self.active.retain(|incident| now < end(incident));
        self.slowness = self.active.iter().map(|incident| incident.slowness).product();
        let starts = self.all.get(self.next).map_or(Time::NEVER, |incident| incident.at);
        self.changes = self.active.iter().map(end).fold(starts, Time::min);
    }

    /// Why what starts now fails, if it does; `key` is that of its random streams.
    pub(super) fn failure(&mut self, now: Time, key: u64) -> Option<Cause> {
        if now >= self.changes {
            self.advance(now);
        }
        if self.active.is_empty() && self.error_rate <= 0.0 {
            return None;
        }
        let luck = Dice::of(key, Purpose::ServerError).uniform();
        if luck < self.error_rate {
            return Some(Cause::Floor);
        }
        let mut passes = 1.0 - self.error_rate;
        for incident in &self.active {
            passes *= 1.0 - incident.error_rate;
            if luck < 1.0 - passes {
                return Some(Cause::Incident(incident.error_after));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::mix;

    fn incident(at: u64, length: u64, error_rate: f64, slowness: f64) -> Incident {
        let (at, length) = (Time(at), Span(length));
        Incident { at, length, error_rate, slowness, error_after: Span(at.0) }
    }

    #[test]
    fn factors_multiply_while_incidents_overlap() {
        let list = [incident(50, 20, 0.0, 3.0), incident(10, 50, 0.0, 2.0)];
        let mut incidents = Incidents::new(0.0, &list);
        let expected =
            [(0, 1.0), (9, 1.0), (10, 2.0), (49, 2.0), (50, 6.0), (59, 6.0), (60, 3.0), (70, 1.0)];
        for (at, slowness) in expected {
            assert_eq!(incidents.slowness(Time(at)), slowness, "at {at}");
        }
        // Also when nobody asked in between.
        assert_eq!(Incidents::new(0.0, &list).slowness(Time(55)), 6.0);
        assert_eq!(Incidents::new(0.0, &list).slowness(Time(500)), 1.0);
    }

    #[test]
    fn causes_combine_as_if_independent() {
        let list = [incident(10, 50, 0.2, 1.0), incident(20, 50, 0.5, 1.0)];
        let n = 40_000;
        for (floor, at, first, second) in [
            (0.1, 5, 0.0, 0.0),
            (0.1, 10, 0.9 * 0.2, 0.0),
            (0.1, 30, 0.9 * 0.2, 0.9 * 0.8 * 0.5),
            (0.0, 65, 0.0, 0.5),
        ] {
            let mut incidents = Incidents::new(floor, &list);
            let mut counts = [0.0; 3];
            for key in 0..n {
                match incidents.failure(Time(at), mix(1, key)) {
                    Some(Cause::Floor) => counts[0] += 1.0,
                    Some(Cause::Incident(Span(10))) => counts[1] += 1.0,
                    Some(Cause::Incident(_)) => counts[2] += 1.0,
                    None => {}
                }
            }
            for (count, p) in counts.into_iter().zip([floor, first, second]) {
                let (share, error) = (count / n as f64, (p * (1.0 - p) / n as f64).sqrt());
                assert!((share - p).abs() <= 5.0 * error, "at {at}: {share} is not {p}");
            }
        }
    }

    #[test]
    fn an_outage_fails_everybody_and_a_mild_incident_spares_nobody_who_failed() {
        let mut outage = Incidents::new(0.0, &[incident(0, 9, 1.0, 1.0)]);
        let mut usual = Incidents::new(0.3, &[]);
        let mut worse = Incidents::new(0.3, &[incident(0, 9, 0.4, 1.0)]);
        for key in 0..2_000 {
            assert!(outage.failure(Time(3), key).is_some());
            let fails = usual.failure(Time(3), key);
            assert!(fails.is_none() || worse.failure(Time(3), key) == fails);
        }
    }
}
