//! Arrival processes: the instants at which requests, sessions or users begin.
//!
//! Invariants: instants do not fall and lie in `[0, horizon)`; gap `i` is drawn from a stream keyed
//! by `i`, so another rate only stretches the clock; every process is stationary from the start
//! (the first gap is a residual one, a modulator starts in a state drawn by its share of time), so
//! that the mean rate is the stated one over any stretch and copies do not march in step.
//!
//! Scaling: faster users multiply the rate and leave gaps and sojourns as they are. In burstier
//! traffic a request joins the one before with probability p and the other gaps are longer by
//! 1/(1 − p): batches of geometric size at the same mean rate.
//!
//! Deliberately absent: what a request asks for.

use super::shapes::{Clock, Reached};
use super::{Gaps, RateCurve};
use crate::dice::{Dice, Purpose, key, mix};
use crate::dist::DurationDist;
use crate::units::{Span, Time};

/// A beginning: when, and the number of the request, session or user round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) at: Time,
    pub(super) unit: u64,
}

/// What a copy of a source does differently from its specification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Key of the copy.
    pub(super) key: u64,
    /// Probability with which each unit is kept.
    pub(super) keep: f64,
    /// How many times as fast its users are.
    pub(super) speed: f64,
    /// Probability of joining the request before.
    pub(super) join: f64,
    /// Nothing begins at or after this instant.
    pub(super) horizon: Time,
}

impl Terms {
    /// Whether a unit belongs to the copy.
    pub(super) fn keeps(&self, unit_key: u64) -> bool {
        self.keep >= 1.0 || Dice::of(unit_key, Purpose::Thinning).coin(self.keep)
    }

    /// Whether a unit joins the instant of the one before.
    pub(super) fn joins(&self, unit_key: u64) -> bool {
        self.join > 0.0 && Dice::of(unit_key, Purpose::Burst).coin(self.join)
    }
}

/// An endless process cut at the horizon.
#[derive(Clone, Debug)]
pub(super) struct Open {
    terms: Terms,
    clock: Clock,
    law: Law,
    /// Number of the next unit, before thinning.
    next: u64,
    last: Time,
}

#[derive(Clone, Debug)]
enum Law {
    Renewal(GapLaw),
    Modulated(Modulator),
}

/// [`Gaps`] with its constants worked out; all have mean 1.
#[derive(Clone, Copy, Debug)]
enum GapLaw {
    Exponential,
    Gamma {
        shape: f64,
    },
    /// `exp(ln(E)/k − ln Γ(1 + 1/k))` for exponential E.
    Weibull {
        inverse_shape: f64,
        log_gamma: f64,
    },
    Constant,
}

/// States visited in turn, each for an exponential time.
#[derive(Clone, Debug)]
struct Modulator {
    key: u64,
    /// `(rate, mean sojourn in seconds)`; sojourns are positive.
    states: Vec<(f64, f64)>,
    state: usize,
    /// Sojourns drawn so far.
    sojourns: u64,
    until: Time,
}

impl Open {
    pub(super) fn renewal(gaps: Gaps, rate: &RateCurve, terms: Terms) -> Open {
        Open::new(Law::Renewal(GapLaw::new(gaps)), rate, terms)
    }

    pub(super) fn modulated(states: &[(f64, Span)], shape: &RateCurve, terms: Terms) -> Open {
        Open::new(Law::Modulated(Modulator::new(states, terms.key)), shape, terms)
    }

    fn new(law: Law, curve: &RateCurve, terms: Terms) -> Open {
        Open { terms, clock: Clock::new(curve), law, next: 0, last: Time::ZERO }
    }

    /// The next beginning, or `None` after the horizon.
    pub(super) fn next(&mut self) -> Option<Arrival> {
        loop {
            let unit = self.next;
            self.next += 1;
            let unit_key = mix(self.terms.key, unit);
            if unit == 0 || !self.terms.joins(unit_key) {
                let gap = match &self.law {
                    Law::Renewal(gaps) => gaps.draw(unit_key, unit == 0),
                    Law::Modulated(_) => GapLaw::Exponential.draw(unit_key, false),
                };
                self.last = self.pass(gap / (1.0 - self.terms.join))?;
            }
            if self.terms.keeps(unit_key) {
                return Some(Arrival { at: self.last, unit });
            }
        }
    }

    /// Lets `work` units of operational time pass.
    fn pass(&mut self, mut work: f64) -> Option<Time> {
        let Terms { speed, horizon, .. } = self.terms;
        let modulator = match &mut self.law {
            Law::Renewal(_) => {
                return match self.clock.advance(work, speed, horizon) {
                    Reached::Done(at) => Some(at),
                    Reached::Left(_) => None,
                };
            }
            Law::Modulated(modulator) => modulator,
        };
        loop {
            let &(rate, _) = modulator.states.get(modulator.state)?;
            let limit = modulator.until.min(horizon);
            match self.clock.advance(work, rate * speed, limit) {
                Reached::Done(at) => return Some(at),
                Reached::Left(_) if limit == horizon => return None,
                Reached::Left(rest) => work = rest,
            }
            modulator.step();
        }
    }
}

impl GapLaw {
    fn new(gaps: Gaps) -> GapLaw {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        match gaps {
            Gaps::Gamma { cv } if positive(cv) => GapLaw::Gamma { shape: 1.0 / (cv * cv) },
            Gaps::Weibull { shape } if positive(shape) => GapLaw::Weibull {
                inverse_shape: 1.0 / shape,
                log_gamma: libm::lgamma(1.0 + 1.0 / shape),
            },
            Gaps::Constant => GapLaw::Constant,
            Gaps::Exponential | Gaps::Gamma { .. } | Gaps::Weibull { .. } => GapLaw::Exponential,
        }
    }

    /// A gap, or the time from a random instant to the next arrival: a uniform share of a gap
    /// drawn in proportion to its length (Cox, "Renewal Theory", 1962, chapter 5).
    fn draw(self, unit_key: u64, residual: bool) -> f64 {
        let mut dice = Dice::of(unit_key, Purpose::ArrivalGap);
        let share = if residual { dice.uniform() } else { 1.0 };
        let longer = if residual { 1.0 } else { 0.0 };
        match self {
            // Memoryless: the residual has the law of the gap.
            GapLaw::Exponential => dice.exponential(),
            // A gamma of shape k drawn in proportion to its length is one of shape k + 1.
            GapLaw::Gamma { shape } => share * dice.gamma(shape + longer) / shape,
            // Likewise (x/λ)^k of a Weibull is exponential, and then gamma of shape 1 + 1/k.
            GapLaw::Weibull { inverse_shape, log_gamma } => {
                let base =
                    if residual { dice.gamma(1.0 + inverse_shape) } else { dice.exponential() };
                share * libm::exp(libm::log(base) * inverse_shape - log_gamma)
            }
            GapLaw::Constant => share,
        }
    }
}

impl Modulator {
    fn new(states: &[(f64, Span)], copy_key: u64) -> Modulator {
        let states: Vec<(f64, f64)> = states
            .iter()
            .filter(|state| state.1 > Span::ZERO)
            .map(|&(rate, mean)| (rate.max(0.0), mean.as_secs_f64()))
            .collect();
        let key = key(copy_key, Purpose::Modulator);
        // A stationary process is in a state with the probability of its share of time.
        let mut point = Dice::stream(key).uniform() * states.iter().map(|s| s.1).sum::<f64>();
        let mut state = 0;
        while state + 1 < states.len() && point >= states[state].1 {
            point -= states[state].1;
            state += 1;
        }
        let mut modulator = Modulator { key, states, state, sojourns: 0, until: Time::ZERO };
        modulator.extend();
        modulator
    }

    fn step(&mut self) {
        self.state = (self.state + 1) % self.states.len().max(1);
        self.extend();
    }

    /// Draws how long the present state lasts.
    fn extend(&mut self) {
        if let Some(&(_, mean)) = self.states.get(self.state) {
            let mut dice = Dice::of(mix(self.key, self.sojourns), Purpose::Modulator);
            self.sojourns += 1;
            self.until = self.until.after(Span::from_secs_f64(mean * dice.exponential()));
        }
    }
}

/// First requests of a closed loop's users, latest first, so that the next one is popped.
pub(super) fn first_requests(users: u32, think: &DurationDist, terms: &Terms) -> Vec<Arrival> {
    let mut first: Vec<Arrival> = (0..u64::from(users))
        .filter(|&user| terms.keeps(mix(terms.key, user)))
        .map(|user| Arrival { at: Time::ZERO.after(pause(think, terms, user)), unit: user })
        .filter(|arrival| arrival.at < terms.horizon)
        .collect();
    first.sort_unstable_by_key(|arrival| std::cmp::Reverse((arrival.at, arrival.unit)));
    first
}

/// The pause before a closed-loop user's unit; faster users pause less.
pub(super) fn pause(think: &DurationDist, terms: &Terms, unit: u64) -> Span {
    let span = think.sample(&mut Dice::of(mix(terms.key, unit), Purpose::Think));
    // Division by 1 in f64 would round long spans.
    if terms.speed == 1.0 { span } else { Span::from_secs_f64(span.as_secs_f64() / terms.speed) }
}
