//! What a source promises: rates, dispersion, identity, pairing.

use super::*;
use crate::dist::{LengthDist, LengthLaw, LengthsSpec};
use crate::ids::TaskId;
use crate::workload::{
    Gaps, MemorySpec, People, PrefixSpec, RateCurve, Segment, SessionSpec, TraceRow, TraceSegment,
};
use std::num::NonZeroU32;

fn fixed(tokens: u32) -> LengthDist {
    LengthDist { law: LengthLaw::Fixed(tokens), min: 1, max: u32::MAX }
}

fn spec(arrivals: Arrivals) -> SourceSpec {
    let lognormal = LengthLaw::Lognormal { mu: 6.0, sigma: 1.0 };
    let lengths = LengthDist { law: lognormal, min: 1, max: 100_000 };
    SourceSpec {
        name: "s".to_owned(),
        key: 77,
        task: TaskId(0),
        arrivals,
        lengths: LengthsSpec { input: lengths.clone(), output: lengths, correlation: 0.0 },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    }
}

fn renewal(gaps: Gaps, rate: RateCurve) -> SourceSpec {
    spec(Arrivals::Renewal { gaps, rate })
}

fn poisson(rate: f64) -> SourceSpec {
    renewal(Gaps::Exponential, RateCurve::constant(rate))
}

fn scaled(mut spec: SourceSpec, how: ScaleHow, factor: f64) -> SourceSpec {
    spec.scaling = Scaling { factor, how };
    spec
}

fn source(spec: &SourceSpec, replication: u32, secs: u64) -> Source {
    Source::new(spec, SourceId(0), 1, replication, Span::from_secs(secs), 100_000)
}

fn all(spec: &SourceSpec, replication: u32, secs: u64) -> Vec<Request> {
    let mut source = source(spec, replication, secs);
    let requests: Vec<Request> = std::iter::from_fn(|| source.next()).collect();
    assert!(requests.windows(2).all(|pair| pair[0].at <= pair[1].at), "instants do not fall");
    assert!(requests.iter().all(|r| r.at < Time::ZERO.after(Span::from_secs(secs))));
    assert!(requests.iter().all(|r| r.input == r.segments.iter().map(|s| s.tokens).sum::<u32>()));
    let mut numbers: Vec<u64> = requests.iter().map(|r| r.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), requests.len(), "numbers are unique");
    requests
}

/// Index of dispersion of counts in windows of this many seconds, and the number of windows.
fn dispersion(requests: &[Request], secs: u64, window: u64) -> (f64, f64) {
    let mut counts = vec![0.0; (secs / window) as usize];
    for request in requests {
        let at = (request.at.0 / Span::from_secs(window).0) as usize;
        if let Some(count) = counts.get_mut(at) {
            *count += 1.0;
        }
    }
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    let variance = counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / (n - 1.0);
    (variance / mean, n)
}

/// Asserts an index of dispersion within five standard errors of a variance of `n` near-normal
/// counts, widened where windows are correlated.
fn assert_dispersion(spec: &SourceSpec, secs: u64, expected: impl Fn(f64) -> f64, widen: f64) {
    let requests = all(spec, 0, secs);
    for window in [1, 10, 60, 600] {
        let (got, n) = dispersion(&requests, secs, window);
        let want = expected(window as f64);
        let slack = 5.0 * want * (2.0 / n).sqrt() * widen;
        assert!((got - want).abs() < slack, "window {window}: {got} is not {want} ± {slack}");
    }
}

#[test]
fn poisson_counts_are_not_dispersed_and_bursts_of_two_double_it() {
    assert_dispersion(&poisson(2.0), 200_000, |_| 1.0, 1.0);
    let bursty = scaled(poisson(2.0), ScaleHow::Burstier, 2.0);
    // Batches at Poisson instants: E[B²]/E[B] at every window. Batches widen the estimator.
    assert_dispersion(&bursty, 200_000, |_| 2.0, 2.0);
    let n = all(&bursty, 0, 200_000).len() as f64;
    assert!((n - 400_000.0).abs() < 5.0 * (2.0f64 * 400_000.0).sqrt(), "the same rate: {n}");
}

#[test]
fn modulated_counts_follow_the_closed_form() {
    for (a, b) in [((8.0, 20.0), (0.0, 40.0)), ((5.0, 30.0), (1.0, 10.0))] {
        let state = |s: (f64, f64)| (s.0, Span::from_secs_f64(s.1));
        let states = vec![state(a), state(b)];
        let shape = RateCurve::constant(1.0);
        let spec = spec(Arrivals::Modulated { states, shape });
        // Heffes and Lucantoni, "A Markov modulated characterization of packetized voice and data
        // traffic", IEEE JSAC 4 (1986), for rates l and rates of leaving s.
        let (l1, l2, s1, s2) = (a.0, b.0, 1.0 / a.1, 1.0 / b.1);
        let s: f64 = s1 + s2;
        let burst = 2.0 * (l1 - l2) * (l1 - l2) * s1 * s2 / (s * s * (l1 * s2 + l2 * s1));
        let expected = |t: f64| 1.0 + burst * (1.0 - (1.0 - libm::exp(-s * t)) / (s * t));
        assert_dispersion(&spec, 400_000, expected, 4.0);
        let mean = (l1 * s2 + l2 * s1) / s * 400_000.0;
        let n = all(&spec, 0, 400_000).len() as f64;
        assert!((n - mean).abs() < 5.0 * (mean * (1.0 + burst)).sqrt(), "{n} is not {mean}");
    }
}

#[test]
fn renewal_gaps_have_their_mean_and_variation() {
    // The squared variation of a Weibull of shape k is Γ(1+2/k)/Γ(1+1/k)² − 1.
    let weibull = libm::tgamma(5.0) / libm::pow(libm::tgamma(3.0), 2.0) - 1.0;
    let laws = [
        (Gaps::Exponential, 1.0),
        (Gaps::Gamma { cv: 2.0 }, 4.0),
        (Gaps::Gamma { cv: 0.5 }, 0.25),
        (Gaps::Weibull { shape: 0.5 }, weibull),
        (Gaps::Constant, 0.0),
    ];
    for (gaps, squared_cv) in laws {
        let requests = all(&renewal(gaps, RateCurve::constant(4.0)), 0, 50_000);
        let n = requests.len() as f64;
        // A renewal count has variance cv² · n.
        assert!((n - 200_000.0).abs() < 5.0 * (squared_cv * n).sqrt() + 1.0, "{gaps:?}: {n}");
        let gap = |pair: &[Request]| (pair[1].at - pair[0].at).as_secs_f64() * 4.0 - 1.0;
        let square = requests.windows(2).map(|p| gap(p) * gap(p)).sum::<f64>() / n;
        assert!((square - squared_cv).abs() <= 0.1 * squared_cv + 1e-9, "{gaps:?}: {square}");
    }
}

#[test]
fn counts_follow_the_integral_of_the_curve() {
    let at = |secs: u64| Time(Span::from_secs(secs).0);
    let curve = RateCurve {
        // Up, a step to 0, nothing for a while, a step up, down; every 1,000 s.
        knots: vec![
            (at(0), 2.0),
            (at(300), 10.0),
            (at(300), 0.0),
            (at(500), 0.0),
            (at(500), 8.0),
            (at(900), 0.0),
        ],
        period: Some(Span::from_secs(1_000)),
        spikes: vec![(at(1_100), Span::from_secs(50), 3.0)],
    };
    let requests = all(&renewal(Gaps::Exponential, curve), 0, 100_000);
    let count = |from: u64, to: u64, cycles: std::ops::Range<u64>| {
        let inside = |r: &&Request| {
            let secs = r.at.as_secs_f64();
            let within = secs % 1_000.0;
            cycles.contains(&(secs as u64 / 1_000)) && within >= from as f64 && within < to as f64
        };
        requests.iter().filter(inside).count() as f64
    };
    let near = |got: f64, want: f64| (got - want).abs() <= 5.0 * want.sqrt();
    assert!(near(count(0, 100, 2..100), 98.0 * 100.0 * (2.0 + 14.0 / 3.0) / 2.0));
    assert!(near(count(0, 300, 2..100), 98.0 * 1_800.0));
    assert!(near(count(300, 500, 0..100), 0.0));
    assert!(near(count(500, 900, 0..100), 100.0 * 1_600.0));
    assert!(near(count(900, 1_000, 0..100), 0.0));
    // The mean of the line over 100..150 s is 2 + 8·125/300.
    assert!(near(count(100, 150, 1..2), 3.0 * 50.0 * (2.0 + 10.0 / 3.0)));
}

#[test]
fn multipliers_of_one_leave_a_stream_identical() {
    let at = |secs: u64| Time(Span::from_secs(secs).0);
    let sloped =
        RateCurve { knots: vec![(at(0), 1.0), (at(900), 7.0)], ..RateCurve::constant(0.0) };
    for curve in [RateCurve::constant(3.0), sloped] {
        let plain = renewal(Gaps::Gamma { cv: 1.5 }, curve.clone());
        let spiked = RateCurve { spikes: vec![(at(100), Span::from_secs(99), 1.0)], ..curve };
        let expected = all(&plain, 0, 1_000);
        assert_eq!(all(&renewal(Gaps::Gamma { cv: 1.5 }, spiked), 0, 1_000), expected);
        for how in [ScaleHow::MoreUsers, ScaleHow::FasterUsers, ScaleHow::Burstier] {
            assert_eq!(all(&scaled(plain.clone(), how, 1.0), 0, 1_000), expected);
        }
    }
}

#[test]
fn a_silent_curve_ends() {
    let zero = RateCurve { period: Some(Span::from_secs(60)), ..RateCurve::constant(0.0) };
    let fading = RateCurve {
        knots: vec![(Time::ZERO, 1.0), (Time(Span::from_secs(10).0), 0.0)],
        ..RateCurve::constant(0.0)
    };
    let nan = RateCurve::constant(f64::NAN);
    let empty = RateCurve { knots: Vec::new(), period: None, spikes: Vec::new() };
    for curve in [zero, fading, nan, empty] {
        assert!(all(&renewal(Gaps::Exponential, curve), 0, 8_640_000).len() < 40);
    }
    let states = vec![(0.0, Span::from_secs(100)), (1.0, Span::ZERO)];
    let silent = Arrivals::Modulated { states, shape: RateCurve::constant(1.0) };
    assert_eq!(all(&spec(silent), 0, 1_000).len(), 0);
}

#[test]
fn more_users_leave_the_old_ones_alone_and_grow_with_the_factor() {
    let base = all(&poisson(5.0), 0, 2_000);
    let numbers = |factor: f64| {
        let requests = all(&scaled(poisson(5.0), ScaleHow::MoreUsers, factor), 0, 2_000);
        let old: Vec<Request> = requests.iter().filter(|r| r.origin.copy == 0).cloned().collect();
        assert!(old == base || factor < 1.0);
        let want = factor * 10_000.0;
        assert!((requests.len() as f64 - want).abs() < 5.0 * want.sqrt(), "{factor}");
        let mut numbers: Vec<u64> = requests.iter().map(|r| r.number).collect();
        numbers.sort_unstable();
        numbers
    };
    let series: Vec<Vec<u64>> = [0.3, 0.7, 1.0, 1.5, 2.0, 3.25].map(numbers).into();
    for pair in series.windows(2) {
        assert!(pair[0].iter().all(|n| pair[1].binary_search(n).is_ok()), "only ever more");
    }
}

#[test]
fn faster_users_send_the_same_requests_sooner() {
    let base = all(&poisson(5.0), 0, 2_000);
    let fast = all(&scaled(poisson(5.0), ScaleHow::FasterUsers, 2.0), 0, 1_000);
    assert!(fast.len().abs_diff(base.len()) <= 1);
    for (a, b) in base.iter().zip(&fast) {
        assert_eq!((a.number, &a.segments, a.output), (b.number, &b.segments, b.output));
        assert!((a.at.as_secs_f64() / 2.0 - b.at.as_secs_f64()).abs() < 1e-6);
    }
}

#[test]
fn sources_and_replications_are_independent_and_repeatable() {
    let first = all(&poisson(1.0), 0, 500);
    assert_eq!(first, all(&poisson(1.0), 0, 500));
    assert_ne!(first, all(&poisson(1.0), 1, 500));
    let other = SourceSpec { key: 78, ..poisson(1.0) };
    // Interleaving a second source draws nothing from the first.
    let (mut a, mut b) = (source(&poisson(1.0), 0, 500), source(&other, 0, 500));
    for request in &first {
        b.next();
        assert_eq!(a.next().as_ref(), Some(request));
    }
}

#[test]
fn output_is_cut_at_the_client_s_cap() {
    let mut spec = poisson(1.0);
    spec.max_tokens = Some(400);
    let requests = all(&spec, 0, 2_000);
    assert!(requests.iter().all(|r| r.output <= 400 && (r.output == 400 || r.ends_by_eos)));
    assert!(requests.iter().any(|r| !r.ends_by_eos) && requests.iter().any(|r| r.ends_by_eos));
}

fn chatty(arrivals: Arrivals) -> SourceSpec {
    let mut spec = spec(arrivals);
    spec.lengths.input = fixed(100);
    spec.lengths.output = fixed(50);
    spec.prefix = Some(PrefixSpec { tokens: 30, distinct: 3, zipf: 1.0 });
    let think = DurationDist::Exponential { mean: Span::from_secs(5) };
    spec.session = Some(SessionSpec { turns: fixed(4), think, memory: None });
    spec
}

#[test]
fn a_conversation_repeats_itself_and_ends() {
    let spec = chatty(Arrivals::Renewal { gaps: Gaps::Constant, rate: RateCurve::constant(0.01) });
    let mut source = Source::new(&spec, SourceId(0), 1, 0, Span::from_secs(1_000_000), 600);
    for written in [Some(50), Some(0), None] {
        let mut turn = source.next().expect("a first turn");
        assert_eq!(turn.input, 130);
        let mut turns = 1;
        while let Some(next) = source.follow_up(turn.origin, written, turn.at) {
            assert_eq!(source.follow_up(turn.origin, written, turn.at), None, "handed back twice");
            assert_eq!(next.segments[..turn.segments.len()], turn.segments[..]);
            let answer = Segment { id: turn.output_segment(), tokens: 50 };
            assert_eq!(next.segments.contains(&answer), written == Some(50));
            assert_eq!(next.input, turn.input + 100 + written.unwrap_or(0));
            assert!(next.at > turn.at && next.number > turn.number);
            assert_eq!(next.affinity(), turn.affinity());
            turn = next;
            turns += 1;
        }
        assert_eq!(turns, if written.is_some() { 4 } else { 1 });
    }
    let mut narrow = Source::new(&spec, SourceId(0), 1, 0, Span::from_secs(1_000_000), 300);
    let first = narrow.next().expect("a first turn");
    let second = narrow.follow_up(first.origin, Some(50), first.at).expect("280 tokens fit");
    assert_eq!(narrow.follow_up(second.origin, Some(50), second.at), None, "430 do not");
}

#[test]
fn a_condensed_conversation_goes_on_with_its_summary_and_draws_nothing() {
    let plain = chatty(Arrivals::Renewal { gaps: Gaps::Constant, rate: RateCurve::constant(0.01) });
    let mut with = plain.clone();
    let memory = MemorySpec { after_tokens: Some(250), every: None, ratio: 0.1 };
    with.session.as_mut().expect("sessions").memory = Some(memory);
    let span = Span::from_secs(1_000_000);
    let mut plain = Source::new(&plain, SourceId(0), 1, 0, span, 10_000);
    let mut with = Source::new(&with, SourceId(0), 1, 0, span, 10_000);
    let (mut long, mut short) =
        (plain.next().expect("a first turn"), with.next().expect("a first turn"));
    let mut seen = vec![(short.input, short.memory.map(NonZeroU32::get))];
    while let Some(next) = plain.follow_up(long.origin, Some(50), long.at) {
        let turn = with.follow_up(short.origin, Some(50), short.at).expect("as many turns");
        assert_eq!((turn.at, turn.key, turn.output), (next.at, next.key, next.output));
        assert_eq!(turn.segments.last(), next.segments.last(), "the fresh prompt");
        assert_eq!(turn.segments[0], next.segments[0], "the shared prefix");
        assert_eq!(next.memory, None);
        (long, short) = (next, turn);
        seen.push((short.input, short.memory.map(NonZeroU32::get)));
    }
    // Turn 2: 130 + 50 + 100 in, 50 out: 330, of which 300 were said. Turn 3: 30 + 30 + 100.
    assert_eq!(seen, [(130, None), (280, Some(30)), (160, None), (310, Some(33))]);
}

#[test]
fn closed_loop_users_go_on_until_the_horizon() {
    let think = DurationDist::Exponential { mean: Span::from_secs(10) };
    for (session, factor) in [(false, 1.0), (true, 1.0), (false, 2.0)] {
        let arrivals = Arrivals::ClosedLoop { users: 20, think: think.clone() };
        let spec = if session { chatty(arrivals) } else { spec(arrivals) };
        let spec = scaled(spec, ScaleHow::MoreUsers, factor);
        let mut source = source(&spec, 0, 10_000);
        let mut waiting: Vec<Request> = std::iter::from_fn(|| source.next()).collect();
        assert_eq!(waiting.len() as f64, 20.0 * factor);
        let mut numbers = Vec::new();
        while let Some(request) = waiting.pop() {
            assert!(request.at.as_secs_f64() < 10_000.0);
            numbers.push(request.number);
            waiting.extend(source.follow_up(request.origin, Some(9), request.at));
        }
        let all = numbers.len();
        let want = if session { 20.0 * 10_000.0 * 4.0 / 25.0 } else { factor * 20_000.0 };
        assert!((all as f64 - want).abs() < 6.0 * want.sqrt(), "{all} is not {want}");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all, "numbers are unique");
    }
}

/// An hour whose rate rises from 1 to 3 rows per second; every fourth row begins a session of
/// three rows 5 s apart, the rest stand alone.
fn trace() -> Trace {
    let mut rows = Vec::new();
    let mut at = 0.0;
    let mut session = 0;
    while at < 3_500.0 {
        let row = |secs: f64, session: u32| TraceRow {
            at: Time(Span::from_secs_f64(secs).0),
            input: 100,
            output: 10,
            session,
            segments_at: 0,
            segments_len: 0,
            context: 0,
        };
        if rows.len() % 4 == 0 {
            rows.extend([0.0, 5.0, 10.0].map(|late| row(at + late, session)));
            session += 1;
        } else {
            rows.push(row(at, u32::MAX));
        }
        at += 1.0 / (1.0 + 2.0 * at / 3_600.0);
    }
    rows.sort_by_key(|row| row.at);
    let mut segments = Vec::new();
    for (number, row) in rows.iter_mut().enumerate() {
        (row.segments_at, row.segments_len) = (segments.len() as u32, 2);
        segments.push(TraceSegment { id: 5, tokens: 60, shared: true });
        let id =
            if row.session == u32::MAX { 1_000_000 + number as u64 } else { row.session.into() };
        segments.push(TraceSegment { id, tokens: 40, shared: false });
    }
    Trace { rows, segments, span: Span::from_secs(3_600) }
}

fn replay(trace: &Arc<Trace>, jitter: Span) -> SourceSpec {
    spec(Arrivals::Replay { trace: trace.clone(), jitter })
}

#[test]
fn replication_0_is_the_recording() {
    let trace = Arc::new(trace());
    let requests = all(&replay(&trace, Span::ZERO), 0, 9_999);
    assert_eq!(requests.len(), trace.rows.len());
    for (request, row) in requests.iter().zip(&trace.rows) {
        assert_eq!((request.at, request.input, request.output), (row.at, 100, 10));
        assert_eq!(request.segments[0], Segment { id: 5, tokens: 60 });
    }
    let other = SourceSpec { key: 3, ..replay(&trace, Span::ZERO) };
    let others = all(&other, 0, 9_999);
    assert_ne!(requests[0].segments[1].id, others[0].segments[1].id, "private stays private");
    assert_eq!(requests[0].segments[0].id, others[0].segments[0].id, "shared stays shared");
    let cut = all(&replay(&trace, Span::ZERO), 0, 100);
    assert_eq!(cut[..], requests[..cut.len()]);
    let fast = scaled(replay(&trace, Span::ZERO), ScaleHow::FasterUsers, 2.0);
    assert_eq!(all(&fast, 0, 1_800).len(), trace.rows.len());
}

#[test]
fn jitter_spreads_rows_and_keeps_sessions_in_order() {
    let trace = Arc::new(trace());
    let jitter = Span::from_secs(30);
    let mut late = Vec::new();
    let mut last = vec![0; trace.rows.len()];
    for request in all(&replay(&trace, jitter), 0, 9_999) {
        let row = trace.rows[request.number as usize];
        if row.session == u32::MAX {
            late.push(request.at.since(row.at).as_secs_f64());
        } else {
            let rank = &mut last[row.session as usize];
            assert!(*rank <= request.number, "rows of a session keep their order");
            *rank = request.number;
        }
    }
    let mean = late.iter().sum::<f64>() / late.len() as f64;
    assert!((mean - 15.0).abs() < 5.0 * 30.0 / (12.0 * late.len() as f64).sqrt(), "{mean}");
}

#[test]
fn a_redrawn_trace_keeps_its_local_rate_and_its_sessions() {
    let trace = Arc::new(trace());
    let base = all(&replay(&trace, Span::ZERO), 0, 9_999);
    let window = |requests: &[Request], i: usize| {
        requests.iter().filter(|r| r.at.as_secs_f64() as usize / 600 == i).count() as f64
    };
    let redrawn: Vec<Vec<Request>> =
        (1..21).map(|r| all(&replay(&trace, Span::ZERO), r, 9_999)).collect();
    assert_ne!(redrawn[0], redrawn[1]);
    for i in 0..6 {
        let mean = redrawn.iter().map(|r| window(r, i)).sum::<f64>() / 20.0;
        let want = window(&base, i);
        // The rate changes by a third per window, and blocks come from the neighbourhood.
        assert!((mean / want - 1.0).abs() < 0.2, "window {i}: {mean} is not about {want}");
    }
    for requests in &redrawn {
        let mut members = std::collections::BTreeMap::new();
        for request in requests {
            let row = trace.rows[(request.number & 0xffff_ffff) as usize];
            let uses = request.number >> 32;
            if row.session != u32::MAX {
                let ids: &mut Vec<u64> = members.entry((row.session, uses)).or_default();
                ids.push(request.segments[1].id);
            }
        }
        let whole = |ids: &Vec<u64>| ids.len() == 3 && ids.iter().all(|id| *id == ids[0]);
        assert!(members.values().all(whole), "sessions stay whole");
        let mut ids: Vec<u64> = members.values().map(|ids| ids[0]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), members.len(), "a second use has tokens of its own");
    }
}

#[test]
fn more_users_of_a_trace_are_redrawn_beside_it() {
    let trace = Arc::new(trace());
    let base = all(&replay(&trace, Span::ZERO), 0, 9_999);
    let more = all(&scaled(replay(&trace, Span::ZERO), ScaleHow::MoreUsers, 1.5), 0, 9_999);
    let (old, new): (Vec<Request>, Vec<Request>) =
        more.into_iter().partition(|r| r.origin.copy == 0);
    assert_eq!(old, base);
    let share = new.len() as f64 / base.len() as f64;
    assert!((0.4..0.6).contains(&share), "{share}");
    assert!(new.iter().all(|r| base.iter().all(|b| b.segments[1].id != r.segments[1].id)));
}
