//! Stations under Poisson arrivals against the theory of queues: 30 independent replications,
//! whose interval of three standard errors must hold the known value and be narrow. The seed is
//! fixed; of a few hundred seeds one would fail.

use super::{plain, tool};
use crate::backends::{
    Attempt, Bucket, ColdStart, Course, Discipline, Limits, Offer, Remote, RemoteSpec, Station,
    Tool, ToolCall, ToolCourse, ToolOffer, ToolSpec,
};
use crate::dice::{Dice, Purpose, mix};
use crate::dist::DurationDist;
use crate::ids::Handle;
use crate::stats::t_interval;
use crate::units::{Span, Time};
use std::collections::BTreeMap;

const REPLICATIONS: u64 = 30;
const SECOND: Span = Span::from_secs(1);
const EXPONENTIAL: DurationDist = DurationDist::Exponential { mean: SECOND };

fn station(servers: Option<u32>, queue_limit: Option<u32>, discipline: Discipline) -> Station {
    Station { servers, queue_limit, discipline }
}

/// What happens to one who comes.
enum Answer {
    Begins(Time),
    Waits,
    Lost,
}

/// A place as a queue: jobs with a number and a class come and leave.
trait Place {
    type Course;
    fn offer(&mut self, now: Time, key: u64, job: Handle) -> (Answer, Option<Self::Course>);
    fn leave(&mut self, now: Time, course: &Self::Course) -> Option<Self::Course>;
    fn job(course: &Self::Course) -> (Handle, Time);
    /// Mean taken places, share of time awake, wakings per second.
    fn load(&self, at: Time) -> [f64; 3];
}

impl Place for Tool {
    type Course = ToolCourse;
    fn offer(&mut self, now: Time, key: u64, job: Handle) -> (Answer, Option<ToolCourse>) {
        let call = ToolCall { key, priority: job.generation as i32, ticket: job };
        match Tool::offer(self, now, &call) {
            ToolOffer::Started(course) => (Answer::Begins(course.ends), Some(course)),
            ToolOffer::Queued(_) => (Answer::Waits, None),
            ToolOffer::Refused(_) => (Answer::Lost, None),
        }
    }
    fn leave(&mut self, now: Time, course: &ToolCourse) -> Option<ToolCourse> {
        Tool::leave(self, now, course)
    }
    fn job(course: &ToolCourse) -> (Handle, Time) {
        (course.ticket, course.ends)
    }
    fn load(&self, at: Time) -> [f64; 3] {
        [self.usage(at).place_time as f64 / at.0 as f64, 1.0, 0.0]
    }
}

impl Place for Remote {
    type Course = Course;
    fn offer(&mut self, now: Time, key: u64, job: Handle) -> (Answer, Option<Course>) {
        let attempt = Attempt {
            key,
            user_key: 0,
            input: 1,
            context: 0,
            output: 1,
            max_tokens: None,
            priority: job.generation as i32,
            prompt: &[],
            ticket: job,
        };
        match Remote::offer(self, now, &attempt) {
            Offer::Started(course) => (Answer::Begins(course.ends), Some(course)),
            Offer::Queued(_) => (Answer::Waits, None),
            Offer::Refused { .. } => (Answer::Lost, None),
        }
    }
    fn leave(&mut self, now: Time, course: &Course) -> Option<Course> {
        Remote::leave(self, now, course)
    }
    fn job(course: &Course) -> (Handle, Time) {
        (course.ticket, course.ends)
    }
    fn load(&self, at: Time) -> [f64; 3] {
        let usage = self.usage(at);
        let seconds = at.as_secs_f64();
        let awake = usage.awake.as_secs_f64() / seconds;
        [usage.place_time as f64 / at.0 as f64, awake, usage.cold_starts as f64 / seconds]
    }
}

/// Means of one replication.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Time in the queue, by class, in seconds.
    wait: Vec<f64>,
    /// Time in the station, all classes.
    sojourn: f64,
    /// Share of those who came that were not let in.
    lost: f64,
    /// Mean taken places, share of time awake, wakings per second.
    load: [f64; 3],
}

/// One replication: `jobs` jobs come at these rates per second, one for each class.
fn replicate<P: Place>(mut place: P, rates: &[f64], jobs: u32, key: u64) -> Seen {
    let mut gaps: Vec<Dice> = (0..rates.len())
        .map(|class| Dice::of(mix(key, class as u64), Purpose::ArrivalGap))
        .collect();
    let gap = |dice: &mut Dice, rate: f64| Span::from_secs_f64(dice.exponential() / rate);
    let mut next: Vec<Time> =
        gaps.iter_mut().zip(rates).map(|(dice, &rate)| Time::ZERO + gap(dice, rate)).collect();
    let (mut arrived, mut in_work) = (Vec::new(), BTreeMap::<(Time, u32), P::Course>::new());
    let (mut waits, mut sojourns) = (vec![(0.0, 0.0); rates.len()], (0.0, 0.0));
    let (mut lost, mut now) = (0.0, Time::ZERO);
    while arrived.len() < jobs as usize {
        let class = (0..rates.len()).min_by_key(|&class| next[class]).expect("there is a class");
        now = next[class];
        while let Some(((ends, slot), course)) = in_work.pop_first() {
            if ends > now {
                in_work.insert((ends, slot), course);
                break;
            }
            let (job, _) = P::job(&course);
            count(&mut sojourns, ends.since(arrived[job.slot as usize]));
            if let Some(course) = place.leave(ends, &course) {
                let (job, will_end) = P::job(&course);
                let wait = ends.since(arrived[job.slot as usize]);
                count(&mut waits[job.generation as usize], wait);
                in_work.insert((will_end, job.slot), course);
            }
        }
        let slot = arrived.len() as u32;
        arrived.push(now);
        let job = Handle { slot, generation: class as u32 };
        match place.offer(now, mix(key, !u64::from(slot)), job) {
            (Answer::Begins(ends), Some(course)) => {
                count(&mut waits[class], Span::ZERO);
                in_work.insert((ends, slot), course);
            }
            (Answer::Lost, _) => lost += 1.0,
            _ => {}
        }
        next[class] = now + gap(&mut gaps[class], rates[class]);
    }
    Seen {
        wait: waits.iter().map(|wait| wait.0 / wait.1).collect(),
        sojourn: sojourns.0 / sojourns.1,
        lost: lost / f64::from(jobs),
        load: place.load(now),
    }
}

fn count(sum: &mut (f64, f64), span: Span) {
    *sum = (sum.0 + span.as_secs_f64(), sum.1 + 1.0);
}

fn tools(spec: &ToolSpec, rates: &[f64], jobs: u32) -> Vec<Seen> {
    (0..REPLICATIONS).map(|r| replicate(Tool::new(spec), rates, jobs, mix(4, r))).collect()
}

fn remotes(spec: &RemoteSpec, rate: f64, jobs: u32) -> Vec<Seen> {
    let one = |r| replicate(Remote::new(spec, mix(5, r)), &[rate], jobs, mix(6, r));
    (0..REPLICATIONS).map(one).collect()
}

/// The mean over replications is the known value within three standard errors, and these are at
/// most `within` of it. Replications begin empty, which moves a mean by far less.
#[track_caller]
fn close(what: &str, seen: &[Seen], of: impl Fn(&Seen) -> f64, known: f64, within: f64) {
    let values: Vec<f64> = seen.iter().map(of).collect();
    let interval = t_interval(&values, 0.9973).expect("there are replications");
    let (mean, half_width) = (interval.mean, interval.half_width);
    assert!(half_width <= within * known, "{what}: {mean} ± {half_width} is too wide");
    assert!((mean - known).abs() <= half_width, "{what}: {mean} ± {half_width}, not {known}");
}

/// Erlang's loss formula by its recursion ("Solution of some problems in the theory of
/// probabilities", 1917).
fn erlang_b(servers: u32, load: f64) -> f64 {
    (1..=servers).fold(1.0, |b, k| load * b / (f64::from(k) + load * b))
}

/// Mean wait of M/M/c with services of mean 1 (Erlang's C).
fn wait_of_mmc(servers: u32, load: f64) -> f64 {
    let (loss, servers) = (erlang_b(servers, load), f64::from(servers));
    let waits = loss / (1.0 - load / servers * (1.0 - loss));
    waits / (servers - load)
}

/// Probabilities of 0 … K jobs in M/M/c/K with services of mean 1: a birth and death process.
fn states_of_mmck(servers: u32, room: u32, load: f64) -> Vec<f64> {
    let mut states = vec![1.0];
    for jobs in 1..=room {
        let before = states[jobs as usize - 1];
        states.push(before * load / f64::from(jobs.min(servers)));
    }
    let total: f64 = states.iter().sum();
    states.iter().map(|state| state / total).collect()
}

#[test]
fn one_place_with_exponential_services_is_mm1() {
    let spec = tool(EXPONENTIAL, station(Some(1), None, Discipline::Fifo));
    let seen = tools(&spec, &[0.7], 60_000);
    close("wait", &seen, |s| s.wait[0], 0.7 / 0.3, 0.05);
    close("busy", &seen, |s| s.load[0], 0.7, 0.01);
}

#[test]
fn several_places_are_mmc() {
    for (servers, load) in [(2, 1.4), (10, 8.0)] {
        let mut spec = plain();
        spec.answering.ttft = EXPONENTIAL;
        spec.answering.per_input_token = Span::ZERO;
        spec.station = station(Some(servers), None, Discipline::Fifo);
        let seen = remotes(&spec, load, 60_000);
        close("wait", &seen, |s| s.wait[0], wait_of_mmc(servers, load), 0.06);
        close("busy", &seen, |s| s.load[0], load, 0.01);
    }
    assert!((wait_of_mmc(10, 8.0) - 0.204_590_075_398).abs() < 1e-12);
}

/// Without a queue the loss depends on the mean of the services alone.
#[test]
fn places_without_a_queue_lose_as_erlang_b_whatever_the_law() {
    let known = erlang_b(10, 8.0);
    assert!((known - 0.121_661_064_253).abs() < 1e-12);
    let laws = [
        EXPONENTIAL,
        DurationDist::Fixed(SECOND),
        DurationDist::Gamma { shape: 0.25, scale: Span::from_secs(4) },
    ];
    for law in laws {
        let spec = tool(law, station(Some(10), Some(0), Discipline::Fifo));
        close("lost", &tools(&spec, &[8.0], 30_000), |s| s.lost, known, 0.03);
    }
}

#[test]
fn a_short_queue_is_mmck() {
    let (servers, room, load) = (3, 7, 2.7);
    let spec = tool(EXPONENTIAL, station(Some(servers), Some(room - servers), Discipline::Fifo));
    let seen = tools(&spec, &[load], 40_000);
    let states = states_of_mmck(servers, room, load);
    let blocked = states[room as usize];
    let waiting: f64 =
        (servers..=room).map(|jobs| f64::from(jobs - servers) * states[jobs as usize]).sum();
    close("lost", &seen, |s| s.lost, blocked, 0.03);
    close("wait", &seen, |s| s.wait[0], waiting / (load * (1.0 - blocked)), 0.03);
    assert!((states_of_mmck(10, 20, 8.0)[20] - 0.009_107_178_746_59).abs() < 1e-13);
}

#[test]
fn any_number_of_places_is_mg_infinity() {
    let law = DurationDist::Gamma { shape: 0.5, scale: Span::from_secs(6) };
    let spec = tool(law, station(None, None, Discipline::Fifo));
    let seen = tools(&spec, &[4.0], 40_000);
    close("busy", &seen, |s| s.load[0], 12.0, 0.02);
    assert!(seen.iter().all(|s| s.wait[0] == 0.0 && s.lost == 0.0));
}

/// Cobham, "Priority assignment in waiting line problems" (1954): with `W₀ = λ E[S²]/2` class `k`
/// waits `W₀ / (1 − σ(k − 1))(1 − σ(k))`, σ the load of the classes up to it.
#[test]
fn priorities_wait_as_cobham_says() {
    let spec = tool(EXPONENTIAL, station(Some(1), None, Discipline::Priority));
    let seen = tools(&spec, &[0.3, 0.4], 60_000);
    close("wait of the first", &seen, |s| s.wait[0], 0.7 / 0.7, 0.05);
    close("wait of the second", &seen, |s| s.wait[1], 0.7 / (0.7 * 0.3), 0.05);
}

/// The shortest first is a class for each length `x`: `∫ W₀/(1 − ρ(x))² e⁻ˣ dx` with the load of
/// all shorter jobs `ρ(x) = λ (1 − (1 + x) e⁻ˣ)` (Phipps, 1956).
#[test]
fn the_shortest_first_wait_as_phipps_says() {
    let rate = 0.8;
    let step = 1e-3;
    let known: f64 = (0..60_000)
        .map(|n| (f64::from(n) + 0.5) * step)
        .map(|x| {
            let shorter = rate * (1.0 - (1.0 + x) * libm::exp(-x));
            step * libm::exp(-x) * rate / (1.0 - shorter) / (1.0 - shorter)
        })
        .sum();
    assert!((known - 1.882_218_616_24).abs() < 1e-6, "{known}");
    let spec = tool(EXPONENTIAL, station(Some(1), None, Discipline::ShortestFirst));
    close("wait", &tools(&spec, &[rate], 60_000), |s| s.wait[0], known, 0.05);
}

/// M/M/1 that sleeps when idle and takes an exponential time `s` to wake: the mean time in the
/// station is that of M/M/1 plus `s` (Welch, "On a generalized M/G/1 queuing process", 1964). A
/// cycle of sleep, waking and work lasts `(1/λ + s)/(1 − ρ)` on average.
#[test]
fn a_sleeping_place_delays_as_welch_says() {
    let (rate, start) = (0.6, 2.0);
    let mut spec = plain();
    spec.answering.ttft = EXPONENTIAL;
    spec.answering.per_input_token = Span::ZERO;
    spec.station = station(Some(1), None, Discipline::Fifo);
    let law = DurationDist::Exponential { mean: Span::from_secs(2) };
    spec.cold_start = Some(ColdStart { start: law, idle_after: Some(Span::ZERO) });
    let seen = remotes(&spec, rate, 60_000);
    let cycle = (1.0 / rate + start) / (1.0 - rate);
    close("time in the station", &seen, |s| s.sojourn, 1.0 / (1.0 - rate) + start, 0.03);
    close("awake", &seen, |s| s.load[1], 1.0 - 1.0 / rate / cycle, 0.02);
    close("wakings", &seen, |s| s.load[2], 1.0 / cycle, 0.02);
}

/// A bucket that holds one unit is a server without a queue that is busy for `1/rate`.
#[test]
fn a_bucket_of_one_refuses_as_erlang_b() {
    let mut spec = plain();
    spec.limits =
        Limits { requests: Some(Bucket { per_minute: 120, burst: 1 }), ..Limits::default() };
    close("refused", &remotes(&spec, 3.0, 20_000), |s| s.lost, 3.0 / (2.0 + 3.0), 0.01);
}
