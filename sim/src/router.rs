//! Which replica of a pool gets a call.
//!
//! A router sees what a real one sees: how many calls each replica has, how many wait, how full
//! its KV cache is, as of the last scrape, plus what it sent itself since. It never sees how long
//! an answer will be.
//!
//! Invariants: the choice depends on the signals, the router's own counters and the random bits
//! the request was born with; nothing else.

use crate::dice::mix;
use crate::fleet::{Balancing, Strategy};
use crate::units::{Span, Time};
use smallvec::SmallVec;

/// What a router knows of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Signal {
    /// Calls queued or running.
    pub outstanding: u32,
    /// Calls queued.
    pub waiting: u32,
    /// KV blocks in use.
    pub kv_used: u32,
}

/// The router of one pool.
#[derive(Clone, Debug)]
pub struct Router {
    balancing: Balancing,
    /// Signals as of the last refresh, own dispatches since added.
    known: Vec<Signal>,
    /// Where the next turn, or the next look for the least loaded, begins.
    turn: usize,
}

/// What a router sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Visible {
    /// Random bits drawn at its birth.
    pub bits: u64,
    /// Identity of the leading part of its prompt.
    pub affinity: u64,
}

impl Router {
    /// A router over `replicas` idle replicas.
    #[must_use]
    pub fn new(balancing: Balancing, replicas: u32) -> Router {
        Router { balancing, known: vec![Signal::default(); replicas as usize], turn: 0 }
    }

    /// How often signals are refreshed; `None` when they are always current or nobody reads them:
    /// among one replica nothing is chosen.
    #[must_use]
    pub fn refresh_every(&self) -> Option<Span> {
        let by_load = !matches!(self.balancing.strategy, Strategy::RoundRobin | Strategy::Random);
        let read = by_load && self.known.len() > 1;
        (read && self.balancing.signal_age > Span::ZERO).then_some(self.balancing.signal_age)
    }

    /// Takes new signals of every replica.
    pub fn refresh(&mut self, now: Time, signal: impl Fn(usize, Time) -> Signal) {
        for (replica, known) in self.known.iter_mut().enumerate() {
            *known = signal(replica, now);
        }
    }

    /// The replica (number within the pool) for a request. `live` reads the current signal of a
    /// replica, and `live_outstanding` only the part that is cheap to know; they are asked only
    /// when signals are not aged.
    pub fn choose(
        &mut self,
        request: Visible,
        live_outstanding: impl Fn(usize) -> u32,
        live: impl Fn(usize) -> Signal,
    ) -> usize {
        let aged = self.balancing.signal_age > Span::ZERO;
        let count = self.known.len();
        let known = &self.known;
        let signal = |replica: usize| if aged { known[replica] } else { live(replica) };
        let outstanding = |replica: &usize| {
            if aged { known[*replica].outstanding } else { live_outstanding(*replica) }
        };
        match self.balancing.strategy {
            Strategy::RoundRobin => {
                let chosen = self.turn;
                self.turn = (chosen + 1) % count;
                chosen
            }
            Strategy::Random => pick(request.bits as u32, count),
            Strategy::LeastOutstanding => {
                let least = first_least(self.turn, count, outstanding);
                self.turn = (least + 1) % count;
                least
            }
            // The usual case without lists: the same two numbers as below.
            Strategy::PowerOfChoices { choices: 2 } if count > 1 => {
                let first = pick(request.bits as u32, count);
                let other = pick((request.bits >> 32) as u32, count - 1);
                let second = other + usize::from(other >= first);
                if outstanding(&second) < outstanding(&first) { second } else { first }
            }
            Strategy::PowerOfChoices { choices } => {
                drawn(request.bits, count, choices).into_iter().min_by_key(outstanding).unwrap_or(0)
            }
            Strategy::KvAware => {
                let fullness = |replica: &usize| {
                    let signal = signal(*replica);
                    (signal.waiting, signal.kv_used, signal.outstanding)
                };
                let least = first_least(self.turn, count, fullness);
                self.turn = (least + 1) % count;
                least
            }
            Strategy::PrefixAffinity { max_imbalance } => {
                let least = first_least(self.turn, count, outstanding);
                let favoured = pick((request.affinity >> 32) as u32, count);
                let ahead = outstanding(&favoured).saturating_sub(outstanding(&least));
                if ahead <= max_imbalance {
                    return favoured;
                }
                self.turn = (least + 1) % count;
                least
            }
        }
    }

    /// The chosen replica took the request: until the next scrape says otherwise it waits there.
    pub fn sent(&mut self, replica: usize) {
        if self.balancing.signal_age > Span::ZERO && self.balancing.count_own_dispatches {
            self.known[replica].outstanding += 1;
            self.known[replica].waiting += 1;
        }
    }
}

/// The first of the least loaded replicas, looked at in turn from `from` on: of equals each gets
/// its turn, as in nginx and HAProxy. A fixed order would send all light load to one replica.
fn first_least<K: Ord>(from: usize, count: usize, load: impl Fn(&usize) -> K) -> usize {
    (from..count).chain(0..from).min_by_key(load).unwrap_or(0)
}

/// `choices` different numbers below `count`, or all of them, in the order in which they are drawn.
fn drawn(bits: u64, count: usize, choices: u32) -> SmallVec<[usize; 4]> {
    let mut drawn = SmallVec::new();
    let mut sorted: SmallVec<[usize; 4]> = SmallVec::new();
    for number in 0..count.min(choices as usize) {
        // Half a word each; the first word is the request's own.
        let word = if number < 2 { bits } else { mix(bits, number as u64 / 2) };
        let half = if number % 2 == 0 { word } else { word >> 32 };
        // Each is drawn from the others.
        let mut next = pick(half as u32, count - number);
        let at = sorted.iter().take_while(|&&before| {
            let above = next >= before;
            next += usize::from(above);
            above
        });
        let at = at.count();
        sorted.insert(at, next);
        drawn.push(next);
    }
    drawn
}

/// A number below `count` from 32 uniform bits (Lemire's multiplication; bias below count / 2³²).
fn pick(bits: u32, count: usize) -> usize {
    ((u64::from(bits) * count as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(strategy: Strategy, age: Span, replicas: u32) -> Router {
        Router::new(Balancing { strategy, signal_age: age, count_own_dispatches: true }, replicas)
    }

    fn visible(bits: u64) -> Visible {
        Visible { bits, affinity: bits }
    }

    #[test]
    fn round_robin_takes_turns() {
        let mut router = router(Strategy::RoundRobin, Span::ZERO, 3);
        let seen: Vec<_> =
            (0..6).map(|_| router.choose(visible(0), |_| 0, |_| Signal::default())).collect();
        assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn equals_get_their_turn() {
        for strategy in [Strategy::LeastOutstanding, Strategy::KvAware] {
            let mut router = router(strategy, Span::ZERO, 3);
            let mut chosen = |loads: [u32; 3]| {
                let signal = |r: usize| Signal { kv_used: loads[r], ..Signal::default() };
                router.choose(visible(0), |r| loads[r], signal)
            };
            let idle: Vec<_> = (0..6).map(|_| chosen([0; 3])).collect();
            assert_eq!(idle, [0, 1, 2, 0, 1, 2], "{strategy:?}");
            let tied: Vec<_> = (0..4).map(|_| chosen([1, 5, 1])).collect();
            assert_eq!(tied, [0, 2, 0, 2], "{strategy:?}");
            assert_eq!([chosen([3, 2, 9]), chosen([3, 2, 9])], [1, 1], "{strategy:?}");
        }
    }

    /// What flees a favourite that is too far ahead is spread over the others.
    #[test]
    fn those_turned_away_from_their_favourite_are_spread() {
        let strategy = Strategy::PrefixAffinity { max_imbalance: 3 };
        let mut router = router(strategy, Span::ZERO, 4);
        let mut chosen = |ahead: u32| {
            let load = |r: usize| if r == 1 { ahead } else { 0 };
            router.choose(visible(0x4000_0000_0000_0000), load, |_| Signal::default())
        };
        assert_eq!([chosen(3), chosen(3)], [1, 1]);
        assert_eq!([chosen(4), chosen(4), chosen(4), chosen(4)], [0, 2, 3, 0]);
    }

    #[test]
    fn power_of_two_draws_two_different_replicas() {
        let mut router = router(Strategy::PowerOfChoices { choices: 2 }, Span::ZERO, 4);
        for bits in (0..1_000u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            // Replica 2 is idle: it wins whenever it is drawn, and a busy one wins otherwise.
            let load = |r: usize| u32::from(r != 2);
            let chosen = router.choose(visible(bits), load, |_| Signal::default());
            let first = pick(bits as u32, 4);
            let other = pick((bits >> 32) as u32, 3);
            let second = other + usize::from(other >= first);
            assert_ne!(first, second);
            assert_eq!(chosen == 2, first == 2 || second == 2);
        }
    }

    /// The way without lists is the general one for two.
    #[test]
    fn two_choices_are_those_of_the_general_rule() {
        for number in 0..2_000 {
            let (bits, count) = (mix(11, number), 2 + number as usize % 9);
            let balancing = Strategy::PowerOfChoices { choices: 2 };
            let outstanding = |replica: usize| mix(number, replica as u64) as u32 % 3;
            let live = |_: usize| Signal::default();
            let chosen = router(balancing, Span::ZERO, count as u32).choose(
                visible(bits),
                outstanding,
                live,
            );
            let general = drawn(bits, count, 2).into_iter().min_by_key(|&r| outstanding(r));
            assert_eq!(Some(chosen), general, "{bits:x} of {count}");
        }
    }

    /// Of 35 sets of three among seven each turns up about as often as the others.
    #[test]
    fn each_set_of_choices_is_as_likely() {
        let mut seen = std::collections::BTreeMap::new();
        for number in 0..35_000 {
            let mut set = drawn(mix(7, number), 7, 3);
            set.sort_unstable();
            *seen.entry(set).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 35);
        let off = seen.values().map(|&n| f64::from(n) - 1_000.0);
        let squares = off.map(|off| off * off / 1_000.0);
        // The 99.9th percentile of χ² with 34 degrees of freedom is 65.2.
        assert!(squares.sum::<f64>() < 65.2);
        assert!(seen.keys().all(|set| set.windows(2).all(|two| two[0] < two[1]) && set[2] < 7));
    }

    #[test]
    fn with_as_many_choices_as_replicas_the_least_loaded_wins() {
        for choices in [4, 5, 100] {
            let mut router = router(Strategy::PowerOfChoices { choices }, Span::ZERO, 4);
            for bits in (0..1_000u64).map(|i| mix(i, 1)) {
                let load = |r: usize| u32::from(r != 2);
                assert_eq!(router.choose(visible(bits), load, |_| Signal::default()), 2);
            }
        }
    }

    #[test]
    fn aged_signals_hide_the_present_but_not_own_dispatches() {
        let mut router = router(Strategy::LeastOutstanding, Span::from_millis(50), 2);
        let live = |_: usize| -> Signal { unreachable!("aged signals never look") };
        let load = |_: usize| -> u32 { unreachable!("aged signals never look") };
        assert_eq!(router.choose(visible(0), load, live), 0);
        router.sent(0);
        assert_eq!(router.choose(visible(0), load, live), 1);
        router.sent(1);
        router.refresh(Time(1), |r, _| Signal { outstanding: 5 - r as u32, ..Signal::default() });
        assert_eq!(router.choose(visible(0), load, live), 1);
    }
}
