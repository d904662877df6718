//! A tool at work: a station whose uses take a drawn time and may fail.
//!
//! Invariants: as for a remote; draws depend on the use's key alone.
//!
//! Deliberately absent: what is asked of a tool (its cache stands in front of it).

use super::answering::scaled;
use super::incidents::{Cause, Incidents};
use super::station::{Room, Station};
use super::{Spot, ToolSpec, ToolUsage};
use crate::dice::{Dice, Purpose};
use crate::dist::DurationDist;
use crate::ids::Handle;
use crate::resilience::Failure;
use crate::units::{Span, Time};

/// One use of a tool as the tool sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Key of its random streams.
    pub key: u64,
    /// Smaller first, where the station asks.
    pub priority: i32,
    /// Handed back with its course.
    pub ticket: Handle,
}

/// What a tool says to a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolOffer {
    /// It has a place.
    Started(ToolCourse),
    /// It waits; its course comes back from the call that gives it a place.
    Queued(Spot),
    /// The queue is full; this takes no time and costs nothing.
    Refused(Failure),
}

/// How a use that got a place will go, known at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolCourse {
    /// The use's.
    pub ticket: Handle,
    /// When it got its place.
    pub began: Time,
    /// When it ends, if nobody cancels it.
    pub ends: Time,
    /// How it ends, unless well.
    pub failure: Option<Failure>,
}

/// A tool, under way.
#[derive(Clone, Debug)]
pub struct Tool {
    latency: DurationDist,
    incidents: Incidents,
    station: Station<Job>,
    /// Counts without those of the station.
    usage: ToolUsage,
}

/// A use that was let in.
#[derive(Clone, Copy, Debug)]
struct Job {
    key: u64,
    ticket: Handle,
    latency: Span,
}

impl Tool {
    /// A tool with nobody at it.
    #[must_use]
    pub fn new(spec: &ToolSpec) -> Tool {
        Tool {
            latency: spec.latency.clone(),
            incidents: Incidents::new(spec.error_rate, &spec.incidents),
            station: Station::new(&spec.station),
            usage: ToolUsage::default(),
        }
    }

    /// Uses that have a place.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.station.in_flight()
    }

    /// Uses that wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.station.waiting()
    }

    /// Everything it did up to an instant that is not in the past.
    #[must_use]
    pub fn usage(&self, at: Time) -> ToolUsage {
        ToolUsage { place_time: self.station.place_time(at), ..self.usage }
    }

    /// Takes a use in, lets it wait, or refuses it.
    pub fn offer(&mut self, now: Time, call: &ToolCall) -> ToolOffer {
        let room = self.station.room();
        if room == Room::Nothing {
            self.usage.refused += 1;
            return ToolOffer::Refused(Failure::Overloaded);
        }
        let &ToolCall { key, ticket, priority } = call;
        let latency = self.latency.sample(&mut Dice::of(key, Purpose::ToolTime));
        let job = Job { key, ticket, latency };
        if room == Room::Place {
            self.station.take(now);
            return ToolOffer::Started(self.start(now, job));
        }
        ToolOffer::Queued(self.station.wait(priority, latency, job))
    }

    /// A use that had a place leaves, because it ended or was cancelled. Whoever is next starts:
    /// their course comes back.
    pub fn leave(&mut self, now: Time, course: &ToolCourse) -> Option<ToolCourse> {
        self.usage.failed += u64::from(course.failure.is_some() && now >= course.ends);
        let job = self.station.leave(now)?;
        Some(self.start(now, job))
    }

    /// A use that waits is taken back; `false` when it no longer waits.
    pub fn cancel_queued(&mut self, spot: Spot) -> bool {
        self.station.cancel(spot).is_some()
    }

    fn start(&mut self, now: Time, job: Job) -> ToolCourse {
        self.usage.begun += 1;
        let latency = scaled(job.latency, self.incidents.slowness(now));
        let cause = self.incidents.failure(now, job.key);
        let takes = match cause {
            Some(Cause::Incident(error_after)) => error_after,
            Some(Cause::Floor) | None => latency,
        };
        ToolCourse {
            ticket: job.ticket,
            began: now,
            ends: now.after(takes),
            failure: cause.map(|_| Failure::ServerError),
        }
    }
}
