//! `[traffic.NAME]`: arrivals or a trace, their curve over time, and who sends them.
//!
//! Invariants: `rate` is always the mean rate over time of what it stands in, whatever the kind
//! of arrivals, so that one override changes the load of any scenario.
//!
//! Deliberately absent: who the users are (see `people`).

use super::lengths::CV;
use super::people::{PeopleFile, SessionsFile, people, sessions};
use super::{ENDS_BY, Lengths, duration_dist, lengths};
use crate::kinds::{
    Choice, Count, DURATION, Duration, FACTOR, LENGTH_OF_TIME, LONGEST_RUN, NAME, Number, Rate,
    SCALE, TOKENS, Whole,
};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::Reader;
use crate::source_files::FORMATS;
use crate::trace::TraceFormat;
use sim::dist::DurationDist;
use sim::units::Span;
use sim::workload::{Gaps, ScaleHow};

/// A source of requests.
pub(crate) struct TrafficFile {
    pub(crate) task: Option<At<String>>,
    pub(crate) arrivals: Option<ArrivalsFile>,
    pub(crate) clients: Vec<ClientFile>,
    pub(crate) mix: Option<MixFile>,
    pub(crate) trace: Option<TraceFile>,
    pub(crate) profile: Option<Profile>,
    pub(crate) spikes: Vec<Spike>,
    pub(crate) scale: Option<At<f64>>,
    pub(crate) how: Option<At<ScaleHow>>,
    pub(crate) prefix: Option<PrefixFile>,
    pub(crate) sessions: Option<SessionsFile>,
    pub(crate) people: PeopleFile,
    pub(crate) input: Option<Lengths>,
    pub(crate) output: Option<Lengths>,
    pub(crate) correlation: Option<At<f64>>,
    pub(crate) max_tokens: Option<At<u32>>,
    pub(crate) priority: Option<At<i64>>,
    pub(crate) ends_by_eos: Option<At<bool>>,
    pub(crate) site: Site,
}

/// When requests begin.
#[derive(Clone)]
pub(crate) enum ArrivalsFile {
    Renewal { gaps: Gaps, rate: f64, site: Site },
    Modulated { states: Vec<(f64, Span)> },
    ClosedLoop { users: u32, think: DurationDist, site: Site },
}

/// A part of the traffic with a character of its own.
pub(crate) struct ClientFile {
    pub(crate) name: Option<At<String>>,
    pub(crate) share: Option<At<f64>>,
    pub(crate) cv: Option<At<f64>>,
    pub(crate) input: Option<Lengths>,
    pub(crate) output: Option<Lengths>,
    pub(crate) site: Site,
}

/// A recorded trace.
pub(crate) struct TraceFile {
    pub(crate) file: Option<At<String>>,
    pub(crate) format: Option<At<TraceFormat>>,
    pub(crate) jitter: Option<At<Span>>,
    pub(crate) scale: Option<At<f64>>,
    pub(crate) how: Option<At<ScaleHow>>,
    pub(crate) ends_by_eos: Option<At<bool>>,
}

/// A recorded mix of clients, in place of arrivals.
pub(crate) struct MixFile {
    pub(crate) file: Option<At<String>>,
    pub(crate) format: Option<At<()>>,
    pub(crate) from: Option<At<Span>>,
    pub(crate) largest: Option<At<u32>>,
    pub(crate) scale: Option<At<f64>>,
    pub(crate) how: Option<At<ScaleHow>>,
    pub(crate) site: Site,
}

/// A rate curve: multipliers of the rate over time.
pub(crate) struct Profile {
    pub(crate) points: Vec<(Span, f64)>,
    pub(crate) period: Option<Span>,
    pub(crate) site: Site,
}

/// A stretch of time with more or less traffic.
pub(crate) struct Spike {
    pub(crate) at: Span,
    pub(crate) length: Span,
    pub(crate) factor: f64,
}

/// Prompt prefixes that requests share.
pub(crate) struct PrefixFile {
    pub(crate) tokens: At<u32>,
    pub(crate) distinct: u32,
    pub(crate) zipf: f64,
}

/// What a traffic factor means.
const HOW: Choice<ScaleHow> = Choice(&[
    ("more-users", ScaleHow::MoreUsers),
    ("faster-users", ScaleHow::FasterUsers),
    ("burstier", ScaleHow::Burstier),
]);

/// A way of taking a factor as files name it.
pub(crate) fn how_name(how: ScaleHow) -> &'static str {
    HOW.0.iter().find(|(_, known)| *known == how).map_or("", |(name, _)| name)
}

/// What [`HOW`] is for.
const HOW_DOC: &str = "What the factor means. Default: more-users.";

pub(super) fn traffic(r: &mut Reader<'_>) -> TrafficFile {
    let (clients, mix) = r.list_or_table("clients", CLIENTS_DOC, client, mix);
    let traffic = TrafficFile {
        task: r.need("task", NAME, "The task each request starts."),
        arrivals: r.table("arrivals", "When requests begin.", arrivals).flatten(),
        clients,
        mix,
        trace: r.table("trace", "A recorded trace, in place of arrivals.", trace),
        profile: r
            .either("profile", PROFILES, profile, "Multipliers of the rate over time.")
            .and_then(|either| either.map_or_else(|profile| profile, |n| Some(named_profile(n)))),
        spikes: r
            .list("spikes", "Stretches of other traffic.", spike)
            .into_iter()
            .flatten()
            .collect(),
        scale: r.may("scale", SCALE, "Factor of the whole traffic, `2.0` or \"2x\"."),
        how: r.may("how", HOW, HOW_DOC),
        prefix: r.table("prefix", "Prompt prefixes that requests share.", prefix).flatten(),
        sessions: r.table("sessions", "Conversations of several turns.", sessions).flatten(),
        people: people(r),
        input: r.table("input", "Prompt tokens; the task's call's when absent.", lengths).flatten(),
        output: r
            .table("output", "Tokens written; the task's call's when absent.", lengths)
            .flatten(),
        correlation: r.may(
            "correlation",
            Number::within(-1.0, 1.0),
            "Correlation of the normal scores of these; the task's call's when absent.",
        ),
        max_tokens: r.may("max_tokens", TOKENS, "Cap on the tokens written."),
        priority: r.or(
            "priority",
            Whole { min: i32::MIN.into(), max: i32::MAX.into() },
            "0",
            "Scheduling priority, smaller first; for engines with the priority policy.",
        ),
        ends_by_eos: r.may("ends_by", ENDS_BY, "How drawn requests end. Default: eos."),
        site: r.site().clone(),
    };
    let begins = [r.has("arrivals"), r.has("trace"), traffic.mix.is_some()];
    if begins.iter().filter(|&&begins| begins).count() != 1 {
        let message = "a source has one of `arrivals`, `trace` and `clients = { file = … }`";
        // Too many are a conflict whatever else is wrong with them; none may be a slip.
        let none = !begins.contains(&true);
        let keys: &[&str] = if none { &["arrivals", "trace", "clients"] } else { &[] };
        r.refuse_keys(keys, ProblemKind::Conflict, message);
    }
    traffic
}

fn arrivals(r: &mut Reader<'_>) -> Option<ArrivalsFile> {
    r.tagged(
        "kind",
        "The arrival process.",
        &[
            ("poisson", |r| renewal(r, Some(Gaps::Exponential))),
            ("constant", |r| renewal(r, Some(Gaps::Constant))),
            ("gamma", |r| {
                let cv = r.need("cv", CV, "Coefficient of variation of the gaps; 1 is Poisson.");
                renewal(r, cv.map(|cv| Gaps::Gamma { cv: cv.value }))
            }),
            ("weibull", weibull),
            ("on-off", on_off),
            ("mmpp", mmpp),
            ("closed-loop", closed_loop),
        ],
    )
}

fn renewal(r: &mut Reader<'_>, gaps: Option<Gaps>) -> Option<ArrivalsFile> {
    let rate = r.need("rate", Rate, "Mean rate, \"40/s\".")?;
    Some(ArrivalsFile::Renewal { gaps: gaps?, rate: rate.value, site: r.site().clone() })
}

/// A Weibull shape.
pub(crate) const WEIBULL_SHAPE: Number =
    Number { min: 0.2, max: 20.0, above: false, factor: false };

fn weibull(r: &mut Reader<'_>) -> Option<ArrivalsFile> {
    let shape = r.may("shape", WEIBULL_SHAPE, "Weibull shape; below 1 is burstier than Poisson.");
    let cv_range = Number { min: 0.07, max: 15.0, above: false, factor: false };
    let cv = r.may("cv", cv_range, "Coefficient of variation of the gaps, in place of shape.");
    let shape = match (shape, cv) {
        (Some(shape), None) => Some(shape.value),
        (None, Some(cv)) => Some(weibull_shape(cv.value)),
        _ => {
            let message = "weibull arrivals take either `shape` or `cv`";
            r.refuse_keys(&["shape", "cv"], ProblemKind::Conflict, message);
            None
        }
    };
    renewal(r, shape.map(|shape| Gaps::Weibull { shape }))
}

/// The shape `k` with `Γ(1+2/k)/Γ(1+1/k)² − 1 = cv²`, which falls as `k` grows; by bisection.
fn weibull_shape(cv: f64) -> f64 {
    let square =
        |k: f64| libm::expm1(libm::lgamma(1.0 + 2.0 / k) - 2.0 * libm::lgamma(1.0 + 1.0 / k));
    let (mut low, mut high) = (0.2_f64, 20.0_f64);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if square(middle) > cv * cv { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

fn on_off(r: &mut Reader<'_>) -> Option<ArrivalsFile> {
    let rate = r.need("rate", Rate, "Mean rate over on and off times.");
    let on = r.need("on", LENGTH_OF_TIME, "Mean length of an on time.");
    let off = r.need("off", LENGTH_OF_TIME, "Mean length of an off time.");
    let ((rate, on), off) = rate.zip(on).zip(off)?;
    let share = on.value.as_secs_f64() / (on.value.as_secs_f64() + off.value.as_secs_f64());
    let on_rate = rate.value / share;
    if on_rate > Rate::MOST {
        r.refuse(ProblemKind::BadValue, "the rate of the on times exceeds 1000000000/s");
        return None;
    }
    let states = vec![(on_rate, on.value), (0.0, off.value)];
    Some(ArrivalsFile::Modulated { states })
}

fn mmpp(r: &mut Reader<'_>) -> Option<ArrivalsFile> {
    let states = r.list("states", "States, visited in turn.", |r| {
        let rate = r.need("rate", Rate, "Rate while in this state.");
        let mean = r.need("mean", LENGTH_OF_TIME, "Mean length of a stay.");
        rate.zip(mean).map(|(rate, mean)| (rate.value, mean.value))
    });
    let states: Vec<_> = states.into_iter().flatten().collect();
    if states.is_empty() {
        r.refuse_keys(&["states"], ProblemKind::MissingKey, "`states` has no complete state");
        return None;
    }
    Some(ArrivalsFile::Modulated { states })
}

fn closed_loop(r: &mut Reader<'_>) -> Option<ArrivalsFile> {
    let users = r.need("users", Count { min: 1, max: 1_000_000 }, "Users, one request each.");
    let think = r.need_table("think", "Pause between answer and next request.", duration_dist);
    let (users, think) = users.zip(think.flatten())?;
    Some(ArrivalsFile::ClosedLoop { users: users.value, think, site: r.site().clone() })
}

fn client(r: &mut Reader<'_>) -> ClientFile {
    ClientFile {
        name: r.need("name", NAME, "Name in reports."),
        share: r.need("share", Number::positive(1e6), "Share of the rate; shares are normalised."),
        cv: r.may("cv", CV, "Coefficient of variation of its gaps; the source's when absent."),
        input: r.table("input", "Prompt tokens; the task's when absent.", lengths).flatten(),
        output: r.table("output", "Tokens written; the task's when absent.", lengths).flatten(),
        site: r.site().clone(),
    }
}

fn trace(r: &mut Reader<'_>) -> TraceFile {
    let file_doc = "A file beside this one, or \"library:NAME\" for shipped data.";
    TraceFile {
        file: r.need("file", crate::kinds::SENTENCE, file_doc),
        format: r.need("format", Choice(FORMATS), "Format of the file."),
        jitter: r.or(
            "jitter",
            Duration { min: Span::ZERO, max: Span::from_secs(3_600) },
            "0s",
            "Width over which recorded times are spread, when the recording rounded them.",
        ),
        scale: r.may("scale", SCALE, "Factor of the traffic, `2.0` or \"2x\"."),
        how: r.may("how", HOW, HOW_DOC),
        ends_by_eos: r.or("ends_by", ENDS_BY, "length", "How replayed requests end."),
    }
}

const CLIENTS_DOC: &str = "Parts of the traffic, with shares of the rate of `arrivals`; or a file \
                           of clients, which brings arrivals and lengths.";

fn mix(r: &mut Reader<'_>) -> MixFile {
    let file_doc = "An archive (tar, gzip and Zstandard too) or a folder, beside this file.";
    MixFile {
        file: r.need("file", crate::kinds::SENTENCE, file_doc),
        format: r.need("format", Choice(&[("servegen", ())]), "Format of the file."),
        from: r.or("from", DURATION, "0s", "Instant of the mix at which the run begins."),
        largest: r.may(
            "largest",
            Count { min: 1, max: 10_000 },
            "Use only the clients that send most, so many of them. Default: all.",
        ),
        scale: r.may("scale", SCALE, "Factor of the traffic, `2.0` or \"2x\"."),
        how: r.may("how", HOW, HOW_DOC),
        site: r.site().clone(),
    }
}

fn profile(r: &mut Reader<'_>) -> Option<Profile> {
    let points = r.list("points", "The curve: straight lines between these points.", |r| {
        let at = r.need("at", DURATION, "Instant since the start.");
        let factor = r.need("factor", FACTOR, "Multiplier of the rate.");
        at.zip(factor).map(|(at, factor)| (at.value, factor.value))
    });
    let period = r.may(
        "period",
        Duration { min: Span::from_millis(1), max: LONGEST_RUN },
        "Length after which the curve repeats.",
    );
    let points: Vec<_> = points.into_iter().flatten().collect();
    if points.is_empty() {
        r.refuse_keys(&["points"], ProblemKind::MissingKey, "`points` has no complete point");
        return None;
    }
    if points.windows(2).any(|pair| pair[1].0 < pair[0].0) {
        r.refuse(ProblemKind::Conflict, "the points are not in order of time");
        return None;
    }
    if points.iter().all(|point| point.1 == 0.0) {
        r.refuse(ProblemKind::BadValue, "every factor is 0, so nothing would arrive");
        return None;
    }
    let last = points.last().map_or(Span::ZERO, |point| point.0);
    if period.as_ref().is_some_and(|period| period.value < last) {
        r.refuse(ProblemKind::Conflict, "`period` ends before the last point");
        return None;
    }
    let period = period.map(|period| period.value);
    Some(Profile { points, period, site: r.site().clone() })
}

/// Hourly multipliers of an office day, from midnight.
const OFFICE: [f64; 24] = [
    0.15, 0.12, 0.10, 0.10, 0.12, 0.20, 0.40, 0.80, 1.40, 1.90, 2.10, 2.10, 1.70, 1.80, 2.10, 2.10,
    1.90, 1.50, 1.00, 0.70, 0.55, 0.45, 0.30, 0.20,
];
/// The days of a week of offices, from Monday.
const DAYS: [f64; 7] = [1.0, 1.0, 1.0, 1.0, 0.9, 0.2, 0.2];
/// The hours of that week.
const WEEK: [f64; 168] = {
    let mut hours = [0.0; 168];
    let mut at = 0;
    while at < hours.len() {
        hours[at] = OFFICE[at % 24] * DAYS[at / 24];
        at += 1;
    }
    hours
};

/// Hourly multipliers of the named curves, from midnight, scaled to mean 1 when used; a curve
/// repeats when its hours are over. They are shapes to plan with, assumed and not measured: quiet
/// nights, an office day with a lunch dip, a week of such days with a shorter Friday and a fifth
/// of the traffic at weekends, and a consumer day that peaks after work.
const PROFILES: Choice<&[f64]> = Choice(&[
    ("flat", &[1.0; 24]),
    ("weekday-office", &OFFICE),
    ("business-week", &WEEK),
    (
        "evening-peak",
        &[
            0.60, 0.35, 0.22, 0.18, 0.18, 0.25, 0.45, 0.70, 0.85, 0.90, 0.95, 1.00, 1.10, 1.05,
            1.00, 1.05, 1.15, 1.35, 1.65, 2.00, 2.20, 2.00, 1.50, 1.00,
        ],
    ),
]);

fn named_profile(hours: At<&[f64]>) -> Profile {
    let count = hours.value.len();
    // The curve is periodic with equal steps, so its mean is the mean of its points.
    let mean = hours.value.iter().sum::<f64>() / count as f64;
    let hour = |i: usize| Span::from_secs(3_600 * i as u64);
    let point = |i: usize| (hour(i), hours.value[i % count] / mean);
    let points = (0..=count).map(point).collect();
    Profile { points, period: Some(hour(count)), site: hours.site }
}

fn spike(r: &mut Reader<'_>) -> Option<Spike> {
    let at = r.need("at", DURATION, "Start.");
    let length = r.need("length", LENGTH_OF_TIME, "Length.");
    let factor = r.need("factor", FACTOR, "Multiplier of the rate.");
    let ((at, length), factor) = at.zip(length).zip(factor)?;
    Some(Spike { at: at.value, length: length.value, factor: factor.value })
}

pub(super) fn prefix(r: &mut Reader<'_>) -> Option<PrefixFile> {
    let tokens = r.need("tokens", TOKENS, "Tokens of each prefix.");
    let distinct = r.or(
        "distinct",
        Count { min: 1, max: 10_000_000 },
        "1",
        "How many different prefixes there are.",
    );
    let zipf = r.or("zipf", Number::within(0.0, 10.0), "0.0", "Zipf exponent of their popularity.");
    let ((tokens, distinct), zipf) = tokens.zip(distinct).zip(zipf)?;
    Some(PrefixFile { tokens, distinct: distinct.value, zipf: zipf.value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weibull_shapes_have_the_variation_asked_for() {
        assert!((weibull_shape(1.0) - 1.0).abs() < 1e-9);
        // Γ(5)/Γ(3)² − 1 = 24/4 − 1 = 5 for shape 1/2.
        assert!((weibull_shape(5.0_f64.sqrt()) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn named_curves_have_mean_one() {
        for &(name, hours) in PROFILES.0 {
            let site = crate::document::start_of("t");
            let curve = named_profile(At { value: hours, site });
            let area: f64 = curve.points.windows(2).map(|w| (w[0].1 + w[1].1) / 2.0).sum::<f64>();
            let area = area / hours.len() as f64;
            assert!((area - 1.0).abs() < 1e-12, "{name}: {area}");
        }
    }

    #[test]
    fn a_business_week_is_quiet_at_its_end_and_repeats() {
        let site = crate::document::start_of("t");
        let week = named_profile(At { value: &WEEK, site });
        assert_eq!(week.period, Some(Span::from_secs(7 * 86_400)));
        let noon = |day: usize| week.points[24 * day + 12].1;
        assert_eq!((noon(0), noon(7 - 1)), (noon(3), noon(5)));
        assert!((noon(5) / noon(0) - 0.2).abs() < 1e-12 && noon(4) < noon(3));
        assert_eq!(week.points[0].1, week.points[168].1);
    }
}
