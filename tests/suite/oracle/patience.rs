//! Erlang's A: clients who wait leave at the rate `theta` each, those in service stay.
//!
//! In a simulation a client's patience does not end with the waiting. But who is in service leaves
//! served or impatient at the sum of two rates: with a service that is slower by `theta` that sum
//! is `mu`, and the number present, and who of them begins, has the law asked for. Where patience is
//! no longer than a service this has no room; the hosted backend alone is driven then.

use super::Params;
use super::queues::{Answers, FEWER_JOBS, SEED, simulate};
use super::verdict::{Answer, Row};
use crate::hosted::{estimate, remote, serving};
use crate::station::{Flow, Hosted, Measure, Station, exponential, poisson};
use serde::Deserialize;
use sim::backends::{Attempt, Course, Discipline, Offer, Remote, Spot};
use sim::dice::{Dice, Purpose, mix};
use sim::dist::DurationDist;
use sim::ids::Handle;
use sim::units::{Span, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    lam: f64,
    mu: f64,
    c: u32,
    theta: f64,
}

pub(super) fn erlang_a(params: &Params, rows: &[&Row]) -> Answers {
    let case: Case = params.read()?;
    if case.theta >= case.mu { bare(&case, rows) } else { whole(&case, rows) }
}

/// The whole simulation; a second is a mean service of the row.
fn whole(case: &Case, rows: &[&Row]) -> Answers {
    let Case { lam, mu, c, theta } = *case;
    let service = exponential(mu / (mu - theta));
    let flow = Flow { arrivals: poisson(lam / mu), service, class: 0 };
    let mut station = Station::hosted(c, vec![flow], FEWER_JOBS / lam * mu);
    let mean = Span::from_secs_f64(mu / theta);
    let patience = Some(DurationDist::Exponential { mean });
    station.hosted = Some(Hosted { patience, ..Hosted::default() });
    simulate(&station, rows, |metric| {
        Some(match metric {
            "P_abandon" => (Measure::NeverBegun, 1.0),
            "Lq_mean" => (Measure::Excess, 1.0),
            "P_wait" => (Measure::AtLeast(c), 1.0),
            "goodput" => (Measure::Begun, mu),
            _ => return None,
        })
    })
}

/// The backend alone, with clients who are written here.
fn bare(case: &Case, rows: &[&Row]) -> Answers {
    let half_widths: Result<Vec<_>, String> = rows.iter().map(|row| row.precision()).collect();
    let (intervals, replications) = estimate(&half_widths?, |replication| {
        let seen = Clients::new(case, replication).run();
        let metric = |row: &&Row| match row.metric.as_str() {
            "P_abandon" => Ok(seen.gone / seen.came),
            "Lq_mean" => Ok(seen.waiting / seen.seconds),
            "P_wait" => Ok(seen.all_busy / seen.seconds),
            "goodput" => Ok((seen.came - seen.gone) / seen.seconds * case.mu),
            other => Err(format!("unknown metric {other}")),
        };
        rows.iter().map(metric).collect()
    })?;
    let answer = |interval| Answer::Estimate { interval, replications };
    Ok(intervals.into_iter().map(answer).collect())
}

/// What happens to a client, numbered in the order it came.
#[derive(Debug)]
enum What {
    Comes,
    IsServed(Course),
    LosesPatience(Spot),
}

/// Clients of a backend; a second is a mean service.
struct Clients {
    remote: Remote,
    servers: u32,
    dice: Dice,
    /// Means of the gaps and of patience.
    gap: f64,
    patience: f64,
    /// Instants with positions in `plans`.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    plans: Vec<What>,
}

/// Counts and integrals over time, the first tenth left out.
#[derive(Debug, Default)]
struct Seen {
    seconds: f64,
    came: f64,
    gone: f64,
    waiting: f64,
    all_busy: f64,
}

impl Clients {
    fn new(case: &Case, replication: u32) -> Clients {
        let key = mix(SEED, u64::from(replication));
        let mean = Span::from_secs(1);
        let place = remote(Some(case.c), None, Discipline::Fifo);
        let place = serving(place, DurationDist::Exponential { mean });
        Clients {
            remote: Remote::new(&place, key),
            servers: case.c,
            dice: Dice::of(key, Purpose::Client),
            gap: case.mu / case.lam,
            patience: case.mu / case.theta,
            agenda: BinaryHeap::new(),
            plans: Vec::new(),
        }
    }

    fn plan(&mut self, at: Time, what: What) {
        self.agenda.push(Reverse((at, self.plans.len())));
        self.plans.push(what);
    }

    fn later(&mut self, now: Time, mean: f64) -> Time {
        now.after(Span::from_secs_f64(mean * self.dice.exponential()))
    }

    fn run(mut self) -> Seen {
        let seconds = FEWER_JOBS * self.gap;
        let (from, to) = (seconds / 10.0, seconds);
        let mut seen = Seen { seconds: to - from, ..Seen::default() };
        let first = self.later(Time::ZERO, self.gap);
        self.plan(first, What::Comes);
        let mut last = from;
        while let Some(Reverse((now, number))) = self.agenda.pop() {
            let at = now.as_secs_f64().clamp(from, to);
            seen.waiting += (at - last) * self.remote.waiting() as f64;
            let busy = self.remote.in_flight() == self.servers;
            seen.all_busy += (at - last) * f64::from(u8::from(busy));
            last = at;
            if now.as_secs_f64() >= to {
                break;
            }
            let counted = f64::from(u8::from(now.as_secs_f64() >= from));
            match std::mem::replace(&mut self.plans[number], What::Comes) {
                What::Comes => {
                    seen.came += counted;
                    self.come(now, number);
                    let next = self.later(now, self.gap);
                    self.plan(next, What::Comes);
                }
                What::IsServed(course) => {
                    if let Some(next) = self.remote.leave(now, &course) {
                        self.plan(next.ends, What::IsServed(next));
                    }
                }
                What::LosesPatience(spot) => {
                    let waited = self.remote.cancel_queued(spot);
                    seen.gone += counted * f64::from(u8::from(waited));
                }
            }
        }
        seen
    }

    fn come(&mut self, now: Time, number: usize) {
        let attempt = Attempt {
            key: self.dice.bits(),
            user_key: 0,
            input: 1,
            context: 0,
            output: 1,
            max_tokens: None,
            priority: 0,
            prompt: &[],
            ticket: Handle { slot: number as u32, generation: 0 },
        };
        match self.remote.offer(now, &attempt) {
            Offer::Started(course) => self.plan(course.ends, What::IsServed(course)),
            Offer::Queued(spot) => {
                let at = self.later(now, self.patience);
                self.plan(at, What::LosesPatience(spot));
            }
            Offer::Refused { failure, .. } => unreachable!("refused: {failure:?}"),
        }
    }
}
