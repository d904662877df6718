//! A remote at work: what it does with each attempt, decided at once.
//!
//! An attempt meets, in this order: the longest context, the eligibility of its user's device, the
//! rate limits, the station. Whoever is refused by one of the first three has cost nobody
//! anything; whoever finds the queue full has been charged to the rate limits, as real gateways
//! count before they look for capacity. When an attempt gets its place everything about it is
//! decided: how long the place takes to wake up, what the cache knows of its prompt, the factors
//! on its times, whether and when it fails.
//!
//! Invariants: draws depend on the attempt's key (and the user's, and the number of a waking), so
//! two policies that send the same attempt see the same answer; what is counted is counted once.
//!
//! Deliberately absent: an agenda (the caller tells when who leaves) and retries.

use super::answering::{Day, Devices, Pace, scaled, times};
use super::cold_start::Sleeper;
use super::incidents::{Cause, Incidents};
use super::limits::{Buckets, Limited};
use super::prompt_cache::Prefixes;
use super::station::{Room, Station};
use super::{Answering, Attempt, Course, Offer, RemoteSpec, RemoteUsage, Spot};
use crate::ids::Handle;
use crate::resilience::Failure;
use crate::units::{Span, Time};
use crate::workload::Segment;

/// A place outside our pools, under way.
#[derive(Clone, Debug)]
pub struct Remote {
    answering: Answering,
    day: Day,
    devices: Option<Devices>,
    incidents: Incidents,
    limits: Buckets,
    prefixes: Option<Prefixes>,
    sleeper: Sleeper,
    station: Station<Job>,
    max_context: u32,
    /// Counts without those that follow from the parts above.
    usage: RemoteUsage,
    /// Memory of prompts that waited, to be used again.
    spare: Vec<Vec<Segment>>,
}

/// An attempt that was let in.
#[derive(Clone, Debug)]
struct Job {
    key: u64,
    ticket: Handle,
    input: u32,
    context: u32,
    output: u32,
    pace: Pace,
    /// Factor of the user's device.
    device: f64,
    /// The prompt while it waits; empty otherwise.
    prompt: Vec<Segment>,
}

/// Why an attempt is not let in.
type Refusal = (Failure, Option<Span>);

impl Remote {
    /// `run_key` belongs to the seed, the replication and the place.
    #[must_use]
    pub fn new(spec: &RemoteSpec, run_key: u64) -> Remote {
        Remote {
            answering: spec.answering.clone(),
            day: Day::new(&spec.answering.slowness),
            devices: Devices::new(&spec.devices),
            incidents: Incidents::new(spec.error_rate, &spec.incidents),
            limits: Buckets::new(&spec.limits),
            prefixes: spec.prompt_cache.map(Prefixes::new),
            sleeper: Sleeper::new(spec.cold_start.as_ref(), run_key),
            station: Station::new(&spec.station),
            max_context: spec.max_context,
            usage: RemoteUsage::default(),
            spare: Vec::new(),
        }
    }

    /// Attempts that have a place.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.station.in_flight()
    }

    /// Attempts that wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.station.waiting()
    }

    /// Everything it did up to an instant that is not in the past.
    #[must_use]
    pub fn usage(&self, at: Time) -> RemoteUsage {
        let elapsed = at.since(Time::ZERO);
        RemoteUsage {
            place_time: self.station.place_time(at),
            elapsed,
            awake: elapsed - self.sleeper.asleep(at),
            cold_starts: self.sleeper.starts(),
            ..self.usage
        }
    }

    /// Takes an attempt in, lets it wait, or refuses it.
    pub fn offer(&mut self, now: Time, attempt: &Attempt<'_>) -> Offer {
        match self.let_in(now, attempt) {
            Ok(offer) => offer,
            Err((failure, retry_after)) => {
                self.usage.refused[failure as usize] += 1;
                Offer::Refused { failure, retry_after }
            }
        }
    }

    fn let_in(&mut self, now: Time, attempt: &Attempt<'_>) -> Result<Offer, Refusal> {
        let claimed = u64::from(attempt.claimed_output());
        let input = u64::from(attempt.input);
        if input + claimed > u64::from(self.max_context) {
            return Err((Failure::TooLong, None));
        }
        let device = match &self.devices {
            Some(devices) => devices.slowness(attempt.user_key, attempt.key),
            None => Some(1.0),
        };
        let device = device.ok_or((Failure::NotEligible, None))?;

        let cached = if self.limits.count_uncached_input() {
            self.look_up(now, attempt.prompt, attempt.input)
        } else {
            0
        };
        let charge = [1, input + claimed, input - u64::from(cached), claimed];
        self.limits
            .take(now, charge)
            .map_err(|Limited { retry_after }| (Failure::RateLimited, retry_after))?;
        self.usage.charged.iter_mut().zip(charge).for_each(|(sum, units)| *sum += units);

        let room = self.station.room();
        if room == Room::Nothing {
            return Err((Failure::Overloaded, None));
        }
        let mut job = Job {
            key: attempt.key,
            ticket: attempt.ticket,
            input: attempt.input,
            context: attempt.context,
            output: attempt.output,
            pace: Pace::draw(&self.answering, attempt.key),
            device,
            prompt: Vec::new(),
        };
        if room == Room::Place {
            self.station.take(now);
            return Ok(Offer::Started(self.start(now, &job, attempt.prompt)));
        }
        if self.prefixes.is_some() {
            job.prompt = self.spare.pop().unwrap_or_default();
            job.prompt.extend_from_slice(attempt.prompt);
        }
        let work = if self.station.asks_for_work() { self.work(&job) } else { Span::ZERO };
        Ok(Offer::Queued(self.station.wait(attempt.priority, work, job)))
    }

    /// An attempt that had a place leaves, because it ended or was cancelled. Whoever is next
    /// starts: their course comes back.
    pub fn leave(&mut self, now: Time, course: &Course) -> Option<Course> {
        self.usage.billed += course.billed(now);
        self.usage.failed += u64::from(course.failure.is_some() && now >= course.ends);
        let Some(mut job) = self.station.leave(now) else {
            if self.station.in_flight() == 0 {
                self.sleeper.rest(now);
            }
            return None;
        };
        let prompt = std::mem::take(&mut job.prompt);
        let next = self.start(now, &job, &prompt);
        self.keep(prompt);
        Some(next)
    }

    /// An attempt that waits is taken back; `false` when it no longer waits.
    pub fn cancel_queued(&mut self, spot: Spot) -> bool {
        let job = self.station.cancel(spot);
        let waited = job.is_some();
        self.keep(job.map_or_else(Vec::new, |job| job.prompt));
        waited
    }

    /// Keeps the memory of a prompt that waited.
    fn keep(&mut self, mut prompt: Vec<Segment>) {
        if prompt.capacity() > 0 {
            prompt.clear();
            self.spare.push(prompt);
        }
    }

    fn look_up(&mut self, now: Time, prompt: &[Segment], input: u32) -> u32 {
        self.prefixes.as_mut().map_or(0, |prefixes| prefixes.look_up(now, prompt, input))
    }

    /// How long an attempt would take at its best and without the cache, for the shortest first.
    fn work(&self, job: &Job) -> Span {
        let reading = times(self.answering.per_input_token, job.input);
        let writing = times(job.pace.further, job.output.saturating_sub(1));
        let parts = [job.pace.first, reading, writing].map(|part| part.0);
        scaled(Span(parts.into_iter().fold(0, u64::saturating_add)), job.device)
    }

    /// An attempt has got a place: everything about it is decided.
    fn start(&mut self, now: Time, job: &Job, prompt: &[Segment]) -> Course {
        self.usage.begun += 1;
        let cold = self.sleeper.begin(now);
        let cached = self.look_up(now, prompt, job.input);
        let factor = job.device * self.incidents.slowness(now) * self.day.factor(now);
        let reading = times(self.answering.per_input_token, job.input - cached);
        let to_first = scaled(Span(job.pace.first.0.saturating_add(reading.0)), factor);
        let awake = now.after(cold);
        let first_token = awake.after(to_first);
        let course = Course {
            ticket: job.ticket,
            began: now,
            first_token,
            ends: first_token,
            cold,
            failure: None,
            input: job.input,
            context: job.context,
            output: job.output,
            cached_tokens: 0,
            cache_written_tokens: 0,
        };
        let ends = match self.incidents.failure(now, job.key) {
            Some(Cause::Floor) => first_token,
            Some(Cause::Incident(error_after)) => awake.after(error_after),
            None => {
                let further = scaled(job.pace.further, factor);
                let written =
                    self.prefixes.as_mut().map_or(0, |prefixes| prefixes.store(now, first_token));
                return Course {
                    ends: first_token.after(times(further, job.output.saturating_sub(1))),
                    cached_tokens: cached,
                    cache_written_tokens: written,
                    ..course
                };
            }
        };
        Course { first_token: ends, ends, failure: Some(Failure::ServerError), ..course }
    }
}
