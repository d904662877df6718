//! Remotes and tools as a whole: single attempts worked out by hand, invariants under random use,
//! and (in `theory`) queues with known answers.

mod devices;
mod theory;

use super::answering::Devices;
use super::*;
use crate::dice::{Dice, mix};
use crate::ids::Handle;
use crate::resilience::Failure;
use crate::workload::Segment;

const MS: u64 = 1_000_000_000;

fn ms(n: u64) -> Span {
    Span(n * MS)
}

fn at(n: u64) -> Time {
    Time(n * MS)
}

/// First token after 100 ms and 0.01 ms per prompt token, each further one after 20 ms; any number
/// at once and nothing that goes wrong.
fn plain() -> RemoteSpec {
    RemoteSpec {
        name: "plain".to_string(),
        key: 1,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Fixed(ms(100)),
            per_input_token: Span(MS / 100),
            tpot: DurationDist::Fixed(ms(20)),
            slowness: Vec::new(),
        },
        station: Station { servers: None, queue_limit: None, discipline: Discipline::Fifo },
        limits: Limits::default(),
        error_rate: 0.0,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: None,
        devices: Vec::new(),
        max_context: 100_000,
        price: RemotePrice::Free,
    }
}

fn one_place(queue_limit: Option<u32>) -> Station {
    Station { servers: Some(1), queue_limit, discipline: Discipline::Fifo }
}

/// An attempt with 1000 prompt tokens and 11 to write.
fn attempt(number: u32) -> Attempt<'static> {
    Attempt {
        key: mix(99, u64::from(number)),
        user_key: mix(98, u64::from(number)),
        input: 1_000,
        context: 0,
        output: 11,
        max_tokens: None,
        priority: 0,
        prompt: &[],
        ticket: Handle { slot: number, generation: 0 },
    }
}

#[track_caller]
fn started(offer: Offer) -> Course {
    match offer {
        Offer::Started(course) => course,
        other => panic!("{other:?} did not start"),
    }
}

#[track_caller]
fn queued(offer: Offer) -> Spot {
    match offer {
        Offer::Queued(spot) => spot,
        other => panic!("{other:?} does not wait"),
    }
}

fn refused(failure: Failure) -> Offer {
    Offer::Refused { failure, retry_after: None }
}

#[test]
fn an_answer_takes_its_first_token_its_prompt_and_its_further_tokens() {
    let mut remote = Remote::new(&plain(), 1);
    let course = started(remote.offer(at(5), &attempt(0)));
    assert_eq!((course.began, course.first_token, course.ends), (at(5), at(115), at(315)));
    assert_eq!((course.failure, course.cold), (None, Span::ZERO));
    let one = started(remote.offer(at(5), &Attempt { output: 1, ..attempt(1) }));
    assert_eq!((one.first_token, one.ends), (at(115), at(115)));
    assert_eq!(remote.in_flight(), 2);
    assert_eq!(remote.leave(at(115), &one), None);
    assert_eq!(remote.leave(at(315), &course), None);
    let usage = remote.usage(at(1_000));
    assert_eq!((usage.begun, usage.place_time), (2, 420 * u128::from(MS)));
    assert_eq!((usage.billed.input, usage.billed.output), (2_000, 12));
    assert_eq!((usage.awake, usage.elapsed), (ms(1_000), ms(1_000)));
}

#[test]
fn factors_of_the_day_of_incidents_and_of_the_device_multiply() {
    let mut spec = plain();
    spec.answering.slowness = vec![(Time::ZERO, 2.0)];
    let incident = |from, slowness| Incident {
        at: at(from),
        length: ms(100),
        error_rate: 0.0,
        slowness,
        error_after: Span::ZERO,
    };
    spec.incidents = vec![incident(0, 1.5), incident(50, 2.0)];
    spec.devices = vec![DeviceClass {
        name: String::new(),
        share: 1.0,
        slowness: 4.0,
        throttled: 1.0,
        throttled_slowness: 2.0,
    }];
    let mut remote = Remote::new(&spec, 1);
    for (now, factor) in [(10, 24), (60, 48), (120, 32), (200, 16)] {
        let course = started(remote.offer(at(now), &attempt(0)));
        assert_eq!(course.first_token, at(now) + ms(110 * factor), "at {now} ms");
        assert_eq!(course.ends, at(now) + ms((110 + 200) * factor), "at {now} ms");
    }
}

#[test]
fn knobs_that_say_nothing_change_nothing() {
    let mut usual = plain();
    usual.answering.ttft = DurationDist::Lognormal { mu: -1.0, sigma: 1.0 };
    usual.answering.tpot = DurationDist::Gamma { shape: 2.0, scale: ms(9) };
    usual.station = one_place(None);
    let mut same = usual.clone();
    same.answering.slowness = vec![(at(0), 1.0), (at(9_000), 1.0)];
    let silent = Incident {
        at: at(10),
        length: ms(1_000),
        error_rate: 0.0,
        slowness: 1.0,
        error_after: ms(7),
    };
    same.incidents = vec![silent; 2];
    let all = Bucket { per_minute: 1 << 40, burst: 1 << 40 };
    same.limits = Limits { requests: Some(all), tokens: Some(all), ..Limits::default() };
    same.cold_start = Some(ColdStart { start: DurationDist::Fixed(Span::ZERO), idle_after: None });
    same.prompt_cache =
        Some(PromptCache { ttl: Span::ZERO, min_tokens: u32::MAX, granularity: 1, capacity: 1 });
    same.devices = vec![DeviceClass {
        name: String::new(),
        share: 1.0,
        slowness: 1.0,
        throttled: 0.0,
        throttled_slowness: 9.0,
    }];
    let courses = |spec: &RemoteSpec| {
        let mut remote = Remote::new(spec, 1);
        let first = started(remote.offer(at(1), &attempt(0)));
        let mut courses = vec![first];
        for number in 1..200 {
            queued(remote.offer(at(2), &attempt(number)));
        }
        while let Some(next) = courses.last().and_then(|last| remote.leave(last.ends, last)) {
            courses.push(next);
        }
        courses
    };
    assert_eq!(courses(&usual), courses(&same));
    assert_eq!(courses(&usual).len(), 200);
}

#[test]
fn refusals_come_in_their_order_and_cost_nothing() {
    let mut spec = plain();
    spec.max_context = 2_000;
    spec.limits.requests = Some(Bucket { per_minute: 1, burst: 2 });
    spec.station = one_place(Some(0));
    spec.devices = vec![DeviceClass {
        name: String::new(),
        share: 0.5,
        slowness: 1.0,
        throttled: 0.0,
        throttled_slowness: 1.0,
    }];
    let mut remote = Remote::new(&spec, 1);
    let eligible = |number: &u32| {
        let user = attempt(*number).user_key;
        Devices::new(&spec.devices).is_some_and(|d| d.slowness(user, 0).is_some())
    };
    let with = attempt((0..).find(|number| eligible(number)).expect("half are"));
    let without = attempt((0..).find(|number| !eligible(number)).expect("half are not"));

    // Too long goes before the device, the device before the limits, the limits before the place.
    let long = Attempt { max_tokens: Some(1_001), ..without };
    assert_eq!(remote.offer(at(0), &long), refused(Failure::TooLong));
    for _ in 0..9 {
        assert_eq!(remote.offer(at(0), &without), refused(Failure::NotEligible));
    }
    let fits = Attempt { max_tokens: Some(1_000), ..with };
    let course = started(remote.offer(at(0), &fits));
    assert_eq!(remote.offer(at(0), &with), refused(Failure::Overloaded));
    let wait = Some(Span::from_secs(60));
    let limited = Offer::Refused { failure: Failure::RateLimited, retry_after: wait };
    assert_eq!(remote.offer(at(0), &with), limited);
    remote.leave(course.ends, &course);
    assert_eq!(remote.offer(course.ends, &long), refused(Failure::TooLong));

    let usage = remote.usage(course.ends);
    assert_eq!(usage.refused, [1, 1, 0, 0, 0, 2, 9]);
    assert_eq!((usage.begun, usage.billed.attempts), (1, 1));
}

#[test]
fn limits_charge_the_cap_or_the_answer_and_leave_cached_prompts_out() {
    let bucket = |burst| Some(Bucket { per_minute: 60, burst });
    let prompt = [Segment { id: 5, tokens: 800 }];
    let mut spec = plain();
    spec.limits.tokens = bucket(1_500);
    let try_with = |spec: &RemoteSpec, max_tokens| {
        let mut remote = Remote::new(spec, 1);
        let attempt = Attempt { max_tokens, prompt: &prompt, ..attempt(0) };
        let first = started(remote.offer(at(0), &attempt));
        match remote.offer(first.ends, &attempt) {
            Offer::Refused { retry_after, .. } => {
                retry_after.map(|wait| wait + first.ends.since(Time::ZERO))
            }
            _ => Some(Span::ZERO),
        }
    };
    // One unit flows in per second; the second attempt lacks the rest.
    assert_eq!(try_with(&spec, None), Some(Span::from_secs(2 * 1_011 - 1_500)));
    assert_eq!(try_with(&spec, Some(400)), Some(Span::from_secs(2 * 1_400 - 1_500)));
    spec.limits = Limits { output_tokens: bucket(500), ..Limits::default() };
    assert_eq!(try_with(&spec, None), Some(Span::ZERO));
    assert_eq!(try_with(&spec, Some(400)), Some(Span::from_secs(300)));
    spec.limits = Limits { input_tokens: bucket(1_200), ..Limits::default() };
    assert_eq!(try_with(&spec, None), Some(Span::from_secs(800)));
    spec.prompt_cache = Some(PromptCache {
        ttl: Span::from_secs(300),
        min_tokens: 0,
        granularity: 1,
        capacity: 10,
    });
    assert_eq!(try_with(&spec, None), Some(Span::ZERO), "the second time only 200 are not cached");
}

#[test]
fn a_failing_attempt_ends_early_writes_nothing_and_is_not_cached() {
    let prompt = [Segment { id: 5, tokens: 1_000 }];
    let call = Attempt { prompt: &prompt, ..attempt(0) };
    let mut spec = plain();
    spec.prompt_cache = Some(PromptCache {
        ttl: Span::from_secs(300),
        min_tokens: 0,
        granularity: 1,
        capacity: 10,
    });
    spec.incidents = vec![Incident {
        at: at(0),
        length: ms(500),
        error_rate: 1.0,
        slowness: 3.0,
        error_after: ms(40),
    }];
    let mut remote = Remote::new(&spec, 1);
    let failed = started(remote.offer(at(0), &call));
    assert_eq!((failed.ends, failed.failure), (at(40), Some(Failure::ServerError)));
    assert_eq!((failed.first_token, failed.written(at(40))), (at(40), 0));
    remote.leave(at(40), &failed);
    let good = started(remote.offer(at(500), &call));
    assert_eq!((good.failure, good.cached_tokens, good.cache_written_tokens), (None, 0, 1_000));
    let cached = started(remote.offer(at(900), &call));
    assert_eq!((cached.cached_tokens, cached.first_token), (1_000, at(1_000)));
    let usage = remote.usage(at(900));
    assert_eq!((usage.failed, usage.billed.attempts, usage.billed.input), (1, 1, 0));

    spec.incidents.clear();
    spec.error_rate = 1.0;
    let floor = started(Remote::new(&spec, 1).offer(at(0), &call));
    assert_eq!((floor.ends, floor.failure), (at(110), Some(Failure::ServerError)));
}

#[test]
fn whoever_waits_finds_what_was_written_meanwhile() {
    let prompt = [Segment { id: 5, tokens: 1_000 }];
    let call = |number| Attempt { prompt: &prompt, ..attempt(number) };
    let mut spec = plain();
    spec.prompt_cache =
        Some(PromptCache { ttl: Span::from_secs(300), min_tokens: 0, granularity: 1, capacity: 9 });
    let mut many = Remote::new(&spec, 1);
    assert_eq!(started(many.offer(at(0), &call(0))).cached_tokens, 0);
    assert_eq!(started(many.offer(at(109), &call(1))).cached_tokens, 0, "not read yet");
    assert_eq!(started(many.offer(at(110), &call(2))).cached_tokens, 1_000);
    spec.station = one_place(None);
    let mut one = Remote::new(&spec, 1);
    let first = started(one.offer(at(0), &call(0)));
    for number in 1..4 {
        queued(one.offer(at(1), &call(number)));
    }
    let second = one.leave(first.ends, &first).expect("somebody waits");
    assert_eq!((second.began, second.ticket.slot), (first.ends, 1));
    assert_eq!((second.cached_tokens, second.cache_written_tokens), (1_000, 0));
}

#[test]
fn a_waking_place_is_waited_for_once() {
    let mut spec = plain();
    let start = DurationDist::Fixed(ms(1_000));
    spec.cold_start = Some(ColdStart { start, idle_after: Some(ms(5_000)) });
    let mut remote = Remote::new(&spec, 1);
    let first = started(remote.offer(at(100), &attempt(0)));
    assert_eq!((first.cold, first.first_token), (ms(1_000), at(1_210)));
    let second = started(remote.offer(at(600), &attempt(1)));
    assert_eq!((second.cold, second.first_token), (ms(500), at(1_210)));
    // A cancellation before the place is awake costs the call alone.
    remote.leave(at(1_099), &second);
    assert_eq!(remote.usage(at(1_099)).billed, MeterReading { attempts: 1, ..Default::default() });
    remote.leave(first.ends, &first);
    assert_eq!(first.ends, at(1_410));
    let third = started(remote.offer(at(6_409), &attempt(2)));
    assert_eq!(third.cold, Span::ZERO);
    remote.leave(at(7_000), &third);
    let usage = remote.usage(at(20_000));
    assert_eq!((usage.cold_starts, usage.awake), (1, ms(12_000 - 100)));
    assert_eq!(started(remote.offer(at(20_000), &attempt(3))).cold, ms(1_000));
    let later = remote.usage(at(21_000));
    assert_eq!((later.since(&usage).awake, later.since(&usage).cold_starts), (ms(1_000), 1));
}

#[test]
fn the_shortest_answer_goes_first_and_a_cancelled_one_never() {
    let mut spec = plain();
    spec.station = Station { discipline: Discipline::ShortestFirst, ..one_place(Some(3)) };
    let mut remote = Remote::new(&spec, 1);
    let first = started(remote.offer(at(0), &attempt(0)));
    let long = queued(remote.offer(at(0), &Attempt { output: 90, ..attempt(1) }));
    let short = queued(remote.offer(at(0), &Attempt { output: 2, ..attempt(2) }));
    let middle = queued(remote.offer(at(0), &Attempt { input: 2_000, output: 11, ..attempt(3) }));
    assert_eq!(remote.offer(at(0), &attempt(4)), refused(Failure::Overloaded));
    assert!(remote.cancel_queued(short));
    assert!(!remote.cancel_queued(short));
    assert_eq!(remote.waiting(), 2);
    let next = remote.leave(at(1), &first).expect("two wait");
    assert_eq!(next.ticket.slot, 3);
    assert!(!remote.cancel_queued(middle), "it has begun");
    assert!(remote.cancel_queued(long));
    assert_eq!(remote.leave(at(2), &next), None);
    assert_eq!((remote.in_flight(), remote.waiting()), (0, 0));
}

#[test]
fn a_tool_takes_its_time_and_fails_as_incidents_say() {
    let mut spec = tool(DurationDist::Fixed(ms(10)), one_place(Some(1)));
    spec.incidents = vec![Incident {
        at: at(100),
        length: ms(100),
        error_rate: 1.0,
        slowness: 2.0,
        error_after: ms(3),
    }];
    spec.per_call = Money(5);
    spec.per_hour = Money(3_600_000 * 7);
    let mut tool = Tool::new(&spec);
    let call = |number| ToolCall { key: number, priority: 0, ticket: attempt(0).ticket };
    let ToolOffer::Started(first) = tool.offer(at(0), &call(0)) else { panic!("it is free") };
    assert_eq!((first.began, first.ends, first.failure), (at(0), at(10), None));
    let ToolOffer::Queued(spot) = tool.offer(at(1), &call(1)) else { panic!("one may wait") };
    assert_eq!(tool.offer(at(2), &call(2)), ToolOffer::Refused(Failure::Overloaded));
    assert!(tool.cancel_queued(spot) && !tool.cancel_queued(spot));
    assert!(matches!(tool.offer(at(3), &call(3)), ToolOffer::Queued(_)));
    let second = tool.leave(at(10), &first).expect("one waits");
    assert_eq!(second.ends, at(20));
    assert_eq!(tool.leave(at(20), &second), None);
    let ToolOffer::Started(bad) = tool.offer(at(150), &call(4)) else { panic!("it is free") };
    assert_eq!((bad.ends, bad.failure), (at(153), Some(Failure::ServerError)));
    tool.leave(at(153), &bad);
    let usage = tool.usage(at(500));
    assert_eq!((usage.begun, usage.failed, usage.refused), (3, 1, 1));
    assert_eq!(usage.place_time, 23 * u128::from(MS));
    assert_eq!(spec.spend(&usage), Money(3 * 5 + 23 * 7), "a wage of 7 per millisecond");
}

fn tool(latency: DurationDist, station: Station) -> ToolSpec {
    ToolSpec {
        name: "tool".to_string(),
        key: 2,
        cost: ToolCost::Tool,
        latency,
        station,
        error_rate: 0.0,
        incidents: Vec::new(),
        per_call: Money::ZERO,
        per_hour: Money::ZERO,
    }
}

/// Everything at once under random use: who came is accounted for, nobody waits at a free place,
/// and the counts agree with the courses.
#[test]
fn random_use_is_accounted_for() {
    for discipline in [Discipline::Fifo, Discipline::Priority, Discipline::ShortestFirst] {
        let mut spec = plain();
        spec.answering.ttft = DurationDist::Exponential { mean: ms(300) };
        spec.station = Station { servers: Some(3), queue_limit: Some(5), discipline };
        spec.limits.tokens = Some(Bucket { per_minute: 48_000, burst: 2_000 });
        spec.error_rate = 0.1;
        let start = DurationDist::Exponential { mean: ms(400) };
        spec.cold_start = Some(ColdStart { start, idle_after: Some(ms(200)) });
        spec.prompt_cache =
            Some(PromptCache { ttl: ms(900), min_tokens: 64, granularity: 32, capacity: 8 });
        Accounts::default().check(&spec);
    }
}

#[derive(Default)]
struct Accounts {
    offers: u64,
    cancelled: u64,
    refused: u64,
    place_time: u128,
    billed: MeterReading,
    /// Those in work, and the spots of those who wait, by ticket.
    in_work: Vec<Course>,
    waiting: Vec<(u32, Spot)>,
}

impl Accounts {
    fn check(mut self, spec: &RemoteSpec) {
        let (mut remote, mut dice, mut now) = (Remote::new(spec, 3), Dice::stream(8), Time::ZERO);
        for number in 0..30_000 {
            // Mostly too much, with rests long enough to fall asleep.
            now = now + Span(dice.bits() % if dice.coin(0.02) { ms(9_000) } else { ms(220) }.0);
            self.leave_until(&mut remote, now);
            let ids = [dice.bits() % 4, dice.bits() % 4];
            let prompt = ids.map(|id| Segment { id, tokens: 40 + 10 * id as u32 });
            let call = Attempt {
                input: prompt[0].tokens + prompt[1].tokens + 7,
                output: 1 + (dice.bits() % 9) as u32,
                priority: (dice.bits() % 3) as i32,
                prompt: &prompt,
                ..attempt(number)
            };
            self.offers += 1;
            match remote.offer(now, &call) {
                Offer::Started(course) => self.begin(course, now),
                Offer::Queued(spot) => self.waiting.push((number, spot)),
                Offer::Refused { .. } => self.refused += 1,
            }
            if dice.coin(0.1) && !self.waiting.is_empty() {
                let gone = dice.bits() as usize % self.waiting.len();
                assert!(remote.cancel_queued(self.waiting.swap_remove(gone).1));
                self.cancelled += 1;
            } else if dice.coin(0.1) && !self.in_work.is_empty() {
                let gone = dice.bits() as usize % self.in_work.len();
                self.leave(&mut remote, gone, now);
            }
            assert_eq!(remote.in_flight() as usize, self.in_work.len());
            assert_eq!(remote.waiting(), self.waiting.len());
            assert!(self.waiting.is_empty() || self.in_work.len() == 3);
            assert!(self.waiting.len() <= 5);
        }
        let usage = remote.usage(now);
        let running: u128 = self.in_work.iter().map(|c| u128::from(now.since(c.began).0)).sum();
        assert_eq!(usage.place_time, self.place_time + running);
        assert_eq!(usage.billed, self.billed);
        assert_eq!(usage.refused.iter().sum::<u64>(), self.refused);
        let waiting = self.waiting.len() as u64;
        assert_eq!(usage.begun + self.refused + self.cancelled + waiting, self.offers);
        assert!(usage.failed > 100 && usage.cold_starts > 100, "{usage:?}");
        assert!(usage.refused[0] > 100 && usage.refused[1] > 100, "{usage:?}");
        assert!(usage.billed.cached_input > 10_000 && usage.awake < usage.elapsed, "{usage:?}");
    }

    fn begin(&mut self, course: Course, now: Time) {
        assert!(course.began == now && now <= course.first_token, "{course:?}");
        assert!(course.first_token <= course.ends, "{course:?}");
        assert!(course.cached_tokens + course.cache_written_tokens <= course.input, "{course:?}");
        self.waiting.retain(|waiter| waiter.0 != course.ticket.slot);
        self.in_work.push(course);
    }

    fn leave(&mut self, remote: &mut Remote, at: usize, now: Time) {
        let course = self.in_work.swap_remove(at);
        self.place_time += u128::from(now.since(course.began).0);
        self.billed += course.billed(now);
        if let Some(next) = remote.leave(now, &course) {
            self.begin(next, now);
        }
    }

    fn leave_until(&mut self, remote: &mut Remote, now: Time) {
        loop {
            let ends = self.in_work.iter().enumerate().map(|(at, course)| (course.ends, at));
            match ends.min().filter(|&(ends, _)| ends <= now) {
                Some((ends, at)) => self.leave(remote, at, ends),
                None => break,
            }
        }
    }
}
