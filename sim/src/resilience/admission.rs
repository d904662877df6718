//! Who is let in before anything is sent.
//!
//! Invariant: letting in more never depends on who asked before, only on the attempts in flight
//! and the priority; a call that is shed would also be shed with a larger priority number or with
//! more in flight.
//!
//! Deliberately absent: a queue of those who wait (that is the backend's), and adaptive limits.

use super::AdmissionSpec;

/// The door of one model.
#[derive(Clone, Debug)]
pub struct Admission {
    max_in_flight: Option<u32>,
    /// `(in flight, priority)`: rising in the first, falling in the second, so that the last rule
    /// that applies is the strictest.
    shed: Vec<(u32, i32)>,
    counts: ShedCounts,
}

/// Attempts that were not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShedCounts {
    /// Because as many were in flight as ever may be.
    pub full: u64,
    /// Because of their priority, while more important ones were still let in.
    pub priority: u64,
}

impl Admission {
    /// Prepares the rules.
    #[must_use]
    pub fn new(spec: &AdmissionSpec) -> Admission {
        let mut rules: Vec<(u32, i32)> =
            spec.shed.iter().map(|&(priority, in_flight)| (in_flight, priority)).collect();
        rules.sort_unstable();
        let mut shed: Vec<(u32, i32)> = Vec::new();
        for rule in rules {
            if shed.last().is_none_or(|strictest| rule.1 < strictest.1) {
                shed.push(rule);
            }
        }
        Admission { max_in_flight: spec.max_in_flight, shed, counts: ShedCounts::default() }
    }

    /// Whether an attempt of this priority is let in beside `in_flight` others.
    pub fn admit(&mut self, priority: i32, in_flight: u32) -> bool {
        if self.max_in_flight.is_some_and(|max| in_flight >= max) {
            self.counts.full += 1;
            return false;
        }
        let apply = self.shed.partition_point(|rule| rule.0 <= in_flight);
        let shed = self.shed[..apply].last().is_some_and(|rule| priority >= rule.1);
        self.counts.priority += u64::from(shed);
        !shed
    }

    /// Attempts that were not let in so far.
    #[must_use]
    pub fn shed(&self) -> ShedCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_rules_everyone_is_let_in() {
        let mut door = Admission::new(&AdmissionSpec::default());
        assert!(door.admit(i32::MAX, u32::MAX));
        assert_eq!(door.shed(), ShedCounts::default());
    }

    #[test]
    fn the_full_house_and_the_priorities_are_counted_apart() {
        let spec = AdmissionSpec { max_in_flight: Some(10), shed: vec![(1, 8), (2, 5)] };
        let mut door = Admission::new(&spec);
        assert!(door.admit(2, 4) && door.admit(1, 7) && door.admit(0, 9));
        assert!(!door.admit(2, 5) && !door.admit(1, 8) && !door.admit(7, 9));
        assert!(!door.admit(0, 10) && !door.admit(2, 10));
        assert_eq!(door.shed(), ShedCounts { full: 2, priority: 3 });
    }

    /// The slow twin asks every rule.
    #[test]
    fn prepared_rules_decide_as_the_list_does() {
        let shed = vec![(3, 4), (1, 4), (2, 9), (0, 12), (5, 1), (1, 7), (3, 12)];
        let mut door =
            Admission::new(&AdmissionSpec { max_in_flight: Some(20), shed: shed.clone() });
        for priority in -2..8 {
            for in_flight in 0..25 {
                let rule = |&(least, from): &(i32, u32)| priority >= least && in_flight >= from;
                let let_in = in_flight < 20 && !shed.iter().any(rule);
                assert_eq!(door.admit(priority, in_flight), let_in, "{priority} {in_flight}");
            }
        }
    }
}
