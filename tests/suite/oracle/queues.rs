//! Families of queueing theory with one station or many side by side, simulated on a [`Station`].
//! Those with several servers, with clients who retry or give up, and those ordered by their work
//! are places of a hosted backend; the others are sequences of engines.
//!
//! A row's unit of time is scaled so that the mean service is one second; see [`crate::station`]
//! for how jobs become requests and what that rounds (here: a quarter of a thousandth of a mean
//! service). A hyperexponential service is two Poisson flows, one for each phase, which is the same
//! process exactly; a uniform one is an even histogram over its steps.

use super::verdict::{Answer, Row};
use super::{Params, pick};
use crate::station::{
    Flow, Hosted, Interest, Measure, STEPS, Stat, Station, exponential, poisson, renewal,
};
use serde::Deserialize;
use sim::backends::Discipline;
use sim::dist::{DurationDist, Empirical, LengthLaw};
use sim::engine::SchedulingPolicy;
use sim::fleet::Strategy;
use sim::resilience::{Backoff, Failure, FailureSet, RetrySpec};
use sim::units::Span;
use sim::workload::{Arrivals, Gaps, RateCurve};

pub(super) type Answers = Result<Vec<Answer>, String>;

/// Jobs of one replication: at 90 % load ten thousand relaxation times of a queue.
const JOBS: f64 = 100_000.0;
/// The same where less is enough; more replications follow where it is not.
pub(super) const FEWER_JOBS: f64 = 25_000.0;
pub(super) const SEED: u64 = 20_261_123;

/// A law of service times in the row's unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Service {
    Exp { mean: f64 },
    Det { mean: f64 },
    Uniform { a: f64, b: f64 },
    Erlang { mean: f64, k: f64 },
    Hyper2 { p: f64, m1: f64, m2: f64 },
    Lognormal { mean: f64, cv: f64 },
}

impl Service {
    fn mean(&self) -> f64 {
        match *self {
            Service::Exp { mean }
            | Service::Det { mean }
            | Service::Erlang { mean, .. }
            | Service::Lognormal { mean, .. } => mean,
            Service::Uniform { a, b } => (a + b) / 2.0,
            Service::Hyper2 { p, m1, m2 } => p * m1 + (1.0 - p) * m2,
        }
    }

    /// The parts of the law with their probabilities, when a second is `unit`.
    fn parts(&self, unit: f64) -> Result<Vec<(f64, LengthLaw)>, String> {
        let steps = STEPS / unit;
        let law = match *self {
            Service::Exp { mean } => exponential(mean / unit),
            Service::Det { mean } => LengthLaw::Fixed((mean * steps).round() as u32),
            Service::Erlang { mean, k } => LengthLaw::Gamma { shape: k, scale: mean * steps / k },
            Service::Lognormal { mean, cv } => {
                let variance = (1.0 + cv * cv).ln();
                let mu = (mean * steps).ln() - variance / 2.0;
                LengthLaw::Lognormal { mu, sigma: variance.sqrt() }
            }
            Service::Uniform { a, b } => {
                let (from, to) = ((a * steps).round() as u32, (b * steps).round() as u32);
                // Half a step at either end rounds to it.
                let weight = |n: u32| if n == from || n == to { 0.5 } else { 1.0 };
                let table = Empirical::new((from..=to).map(|n| (n, weight(n))).collect());
                LengthLaw::Empirical(table.ok_or("an empty range")?)
            }
            Service::Hyper2 { p, m1, m2 } => {
                return Ok(vec![(p, exponential(m1 / unit)), (1.0 - p, exponential(m2 / unit))]);
            }
        };
        Ok(vec![(1.0, law)])
    }
}

impl Service {
    /// Squared coefficient of variation.
    fn variation(&self) -> f64 {
        match *self {
            Service::Exp { .. } => 1.0,
            Service::Det { .. } => 0.0,
            Service::Erlang { k, .. } => 1.0 / k,
            Service::Lognormal { cv, .. } => cv * cv,
            Service::Uniform { a, b } => (b - a).powi(2) / 12.0 / self.mean().powi(2),
            Service::Hyper2 { p, m1, m2 } => {
                2.0 * (p * m1 * m1 + (1.0 - p) * m2 * m2) / self.mean().powi(2) - 1.0
            }
        }
    }

    /// The law as one, when a second is `unit`: a hyperexponential one as a histogram of steps.
    fn law(&self, unit: f64) -> Result<LengthLaw, String> {
        let Service::Hyper2 { p, m1, m2 } = *self else {
            return Ok(self.parts(unit)?.swap_remove(0).1);
        };
        let beyond = |steps: f64| {
            let tail = |mean: f64| (-steps / (mean / unit * STEPS)).exp();
            p * tail(m1) + (1.0 - p) * tail(m2)
        };
        // Longer ones come with a probability below 1e-12.
        let longest = (28.0 * m1.max(m2) / unit * STEPS) as u32;
        let share = |n: u32| {
            let n = f64::from(n);
            let from = if n < 2.0 { 0.0 } else { n - 0.5 };
            beyond(from) - beyond(n + 0.5)
        };
        let table = Empirical::new((1..=longest).map(|n| (n, share(n))).collect());
        Ok(LengthLaw::Empirical(table.ok_or("an empty range")?))
    }

    /// A renewal process with such gaps, when a second is `unit`. Hyperexponential gaps are those
    /// of a Poisson process that is switched on and off (Kuczura, "The interrupted Poisson process
    /// as an overflow process", Bell System Technical Journal 52, 1973).
    fn as_gaps(&self, unit: f64) -> Result<Arrivals, String> {
        let rate = unit / self.mean();
        Ok(match *self {
            Service::Exp { .. } => poisson(rate),
            Service::Det { .. } => renewal(Gaps::Constant, rate),
            Service::Erlang { k, .. } => renewal(Gaps::Gamma { cv: 1.0 / k.sqrt() }, rate),
            Service::Hyper2 { p, m1, m2 } if p <= 0.0 || p >= 1.0 || m1 == m2 => poisson(rate),
            Service::Hyper2 { p, m1, m2 } => {
                let (first, second) = (unit / m1, unit / m2);
                let on = p * first + (1.0 - p) * second;
                let to_off = p * (1.0 - p) * (first - second).powi(2) / on;
                let to_on = first * second / on;
                let sojourn = |leaving: f64| Span::from_secs_f64(1.0 / leaving);
                let states = vec![(on, sojourn(to_off)), (0.0, sojourn(to_on))];
                Arrivals::Modulated { states, shape: RateCurve::constant(1.0) }
            }
            Service::Lognormal { .. } | Service::Uniform { .. } => {
                return Err(format!("no arrivals have gaps {self:?}"));
            }
        })
    }
}

/// Poisson flows of one class, `rate` in the row's unit of time.
fn flows(rate: f64, service: &Service, unit: f64, class: u32) -> Result<Vec<Flow>, String> {
    let parts = service.parts(unit)?;
    let flow = |(share, law)| Flow { arrivals: poisson(rate * unit * share), service: law, class };
    Ok(parts.into_iter().map(flow).collect())
}

/// Asks a station for what the rows want. `meaning` gives the measure of a metric and what to
/// multiply it by.
pub(super) fn simulate(
    station: &Station,
    rows: &[&Row],
    meaning: impl Fn(&str) -> Option<(Measure, f64)>,
) -> Answers {
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    let meant = pick(&metrics, meaning)?;
    let mut wanted = Vec::new();
    for (row, &(measure, factor)) in rows.iter().zip(&meant) {
        wanted.push((measure, row.precision()?.map(|half_width| half_width / factor)));
    }
    let (intervals, replications) = station.estimate(&wanted, SEED)?;
    let answer = |(interval, (_, factor)): (sim::stats::Interval, &(Measure, f64))| {
        let interval = sim::stats::Interval {
            value: interval.value * factor,
            low: interval.low * factor,
            high: interval.high * factor,
        };
        Answer::Estimate { interval, replications }
    };
    Ok(intervals.into_iter().zip(&meant).map(answer).collect())
}

/// `W_…` and `Wq_…` with `mean` or `pNN`.
fn time(metric: &str) -> Option<Measure> {
    let (of, at) = match metric.strip_prefix("Wq_") {
        Some(at) => (Interest::Waiting, at),
        None => (Interest::Sojourn, metric.strip_prefix("W_")?),
    };
    let at = match at {
        "mean" => Stat::Mean,
        "p50" => Stat::Quantile(0.5),
        "p95" => Stat::Quantile(0.95),
        "p99" => Stat::Quantile(0.99),
        _ => return None,
    };
    Some(Measure::Time { of, class: None, at })
}

/// The metrics of a queue with its own arrivals; times are in units of `unit` seconds.
fn common(metric: &str, unit: f64) -> Option<(Measure, f64)> {
    if let Some(measure) = time(metric) {
        return Some((measure, unit));
    }
    Some(match metric {
        "rho" | "U_max" => (Measure::Busy, 1.0),
        "L_mean" => (Measure::InSystem, 1.0),
        "Lq_mean" => (Measure::Waiting, 1.0),
        "Q_bottleneck" => (Measure::InSystem, 1.0),
        "lam_mean" => (Measure::Arrived, 1.0 / unit),
        // The probability that one who comes has to wait.
        "sigma" => (Measure::Waited, 1.0),
        "W_var" => (Measure::SojournVariance, unit * unit),
        "L_p95" => (Measure::InSystemQuantile(0.95), 1.0),
        "L_p99" => (Measure::InSystemQuantile(0.99), 1.0),
        "P_wait" => (Measure::Waited, 1.0),
        "P_block" => (Measure::Rejected, 1.0),
        "throughput" | "X" => (Measure::Throughput, 1.0 / unit),
        "R" => (Measure::Time { of: Interest::Sojourn, class: None, at: Stat::Mean }, unit),
        "IDC_inf" => (Measure::Dispersion, 1.0),
        _ => return None,
    })
}

pub(super) fn mm1(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        mu: f64,
    }
    let case: Case = params.read()?;
    mg1(case.lam, &Service::Exp { mean: 1.0 / case.mu }, rows)
}

pub(super) fn md1(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        #[serde(rename = "D")]
        service: f64,
    }
    let case: Case = params.read()?;
    mg1(case.lam, &Service::Det { mean: case.service }, rows)
}

pub(super) fn mg1_pk(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        service: Service,
    }
    let case: Case = params.read()?;
    mg1(case.lam, &case.service, rows)
}

fn mg1(rate: f64, service: &Service, rows: &[&Row]) -> Answers {
    let unit = service.mean();
    let station = Station::single(1, flows(rate, service, unit, 0)?, JOBS / (rate * unit));
    simulate(&station, rows, |metric| common(metric, unit))
}

/// Seats of a sharing station: more jobs are there with a probability below 1e-12 at 97 % load.
const SEATS: u32 = 1_024;

pub(super) fn mg1_ps(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        service: Service,
    }
    let case: Case = params.read()?;
    let unit = case.service.mean();
    let flows = flows(case.lam, &case.service, unit, 0)?;
    let mut station = Station::single(SEATS, flows, JOBS / (case.lam * unit));
    station.shares = true;
    simulate(&station, rows, |metric| match metric {
        // The same for a service of any length, so also the ratio of the means.
        "slowdown" => Some(sojourn()),
        _ => common(metric, unit),
    })
}

pub(super) fn mmc(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        mu: f64,
        c: u32,
        #[serde(rename = "K")]
        places: Option<u32>,
    }
    let case: Case = params.read()?;
    let unit = 1.0 / case.mu;
    let flows = flows(case.lam, &Service::Exp { mean: unit }, unit, 0)?;
    // More servers than places never work.
    let servers = case.places.map_or(case.c, |places| places.min(case.c));
    let mut station = Station::hosted(servers, flows, JOBS / (case.lam * unit));
    station.places = case.places;
    simulate(&station, rows, |metric| several(metric, unit))
}

/// As [`common`], for several servers.
fn several(metric: &str, unit: f64) -> Option<(Measure, f64)> {
    match metric {
        "rho" => Some((Measure::Utilisation, 1.0)),
        _ => common(metric, unit),
    }
}

/// Servers without a queue: who finds all of them taken is lost.
pub(super) fn erlang_b(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        c: u32,
        offered_load: f64,
    }
    let case: Case = params.read()?;
    let flows = flows(case.offered_load, &Service::Exp { mean: 1.0 }, 1.0, 0)?;
    let seconds = FEWER_JOBS / case.offered_load;
    let ask = |mut station: Station| {
        station.places = Some(case.c);
        simulate(&station, rows, |metric| several(metric, 1.0))
    };
    // An engine with as many places as sequences, and a hosted backend without a queue.
    let engine = ask(Station::single(case.c, flows.clone(), seconds))?;
    for (row, answer) in rows.iter().zip(&engine) {
        // No row of this family is one of a set of bounds.
        row.judge(answer, (f64::INFINITY, f64::NEG_INFINITY))?;
    }
    ask(Station::hosted(case.c, flows, seconds))
}

/// Servers without a queue: who finds all of them taken comes back after a while.
pub(super) fn retrial(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        mu: f64,
        #[serde(default = "one")]
        c: u32,
        theta: f64,
    }
    fn one() -> u32 {
        1
    }
    let case: Case = params.read()?;
    let unit = 1.0 / case.mu;
    let flows = flows(case.lam, &Service::Exp { mean: unit }, unit, 0)?;
    let mut station = Station::hosted(case.c, flows, FEWER_JOBS / (case.lam * unit));
    station.places = Some(case.c);
    let mean = Span::from_secs_f64(case.mu / case.theta);
    let retry = Some(RetrySpec {
        max_attempts: u32::MAX,
        on: FailureSet::default().with(Failure::Overloaded),
        backoff: Backoff::Drawn(DurationDist::Exponential { mean }),
        respect_retry_after: true,
        budget: None,
    });
    station.hosted = Some(Hosted { retry, ..Hosted::default() });
    simulate(&station, rows, |metric| {
        Some(match metric {
            "P_block" => (Measure::AllBusy, 1.0),
            "orbit_mean" => (Measure::Waiting, 1.0),
            "attempts_mean" => (Measure::Attempts, 1.0),
            _ => return several(metric, unit),
        })
    })
}

/// The shortest work first, as if it were known; nobody is interrupted.
pub(super) fn mg1_sjf(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        mean: f64,
        service: String,
    }
    let case: Case = params.read()?;
    if case.service != "exp" {
        return Err(format!("unknown service {}", case.service));
    }
    let flows = flows(case.lam, &Service::Exp { mean: case.mean }, case.mean, 0)?;
    let mut station = Station::hosted(1, flows, JOBS / (case.lam * case.mean));
    let discipline = Discipline::ShortestFirst;
    station.hosted = Some(Hosted { discipline, ..Hosted::default() });
    simulate(&station, rows, |metric| common(metric, case.mean))
}

/// Kingman's bound: gaps and services of any law.
pub(super) fn gg1_kingman(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        #[serde(rename = "ES")]
        mean: f64,
        /// Squared coefficients of variation; the laws imply them.
        ca2: f64,
        cs2: f64,
        ia: Service,
        sv: Service,
    }
    let case: Case = params.read()?;
    for (law, mean, square) in
        [(&case.ia, 1.0 / case.lam, case.ca2), (&case.sv, case.mean, case.cs2)]
    {
        let variation = law.variation();
        if (law.mean() / mean - 1.0).abs() > 1e-6 || (variation - square).abs() > 1e-6 {
            return Err(format!("{law:?} has mean {} and {variation}", law.mean()));
        }
    }
    let unit = case.mean;
    let arrivals = case.ia.as_gaps(unit)?;
    let flow = Flow { arrivals, service: case.sv.law(unit)?, class: 0 };
    let station = Station::single(1, vec![flow], JOBS / (case.lam * unit));
    let waiting = Measure::Time { of: Interest::Waiting, class: None, at: Stat::Mean };
    simulate(&station, rows, |metric| match metric {
        "Wq_upper" | "Wq_approx" => Some((waiting, unit)),
        _ => None,
    })
}

pub(super) fn gm1(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        arrivals: String,
        lam: f64,
        mu: f64,
        shape: f64,
    }
    let case: Case = params.read()?;
    let gaps = match case.arrivals.as_str() {
        "det" => Gaps::Constant,
        "exp" => Gaps::Exponential,
        "erlang" => Gaps::Gamma { cv: 1.0 / case.shape.sqrt() },
        other => return Err(format!("unknown arrivals {other}")),
    };
    let (unit, rate) = (1.0 / case.mu, case.lam / case.mu);
    let flow = Flow { arrivals: renewal(gaps, rate), service: exponential(1.0), class: 0 };
    let station = Station::single(1, vec![flow], JOBS / rate);
    simulate(&station, rows, |metric| common(metric, unit))
}

pub(super) fn mg1_priority_np(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        classes: Vec<(f64, Service)>,
    }
    let case: Case = params.read()?;
    let rate: f64 = case.classes.iter().map(|class| class.0).sum();
    let unit = case.classes.iter().map(|class| class.0 * class.1.mean()).sum::<f64>() / rate;
    let mut all = Vec::new();
    for (class, (rate, service)) in case.classes.iter().enumerate() {
        all.extend(flows(*rate, service, unit, class as u32)?);
    }
    let mut station = Station::single(1, all, JOBS / (rate * unit));
    station.policy = SchedulingPolicy::Priority;
    simulate(&station, rows, |metric| {
        let class: u32 = metric.strip_prefix("Wq_class")?.parse().ok()?;
        let known = (class as usize) < case.classes.len();
        let measure = Measure::Time { of: Interest::Waiting, class: Some(class), at: Stat::Mean };
        known.then_some((measure, unit))
    })
}

pub(super) fn mmpp2_m1(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        rate_hi: f64,
        rate_lo: f64,
        hi_to_lo: f64,
        lo_to_hi: f64,
        mu: f64,
    }
    let case: Case = params.read()?;
    let unit = 1.0 / case.mu;
    let sojourn = |leaving: f64| Span::from_secs_f64(1.0 / (leaving * unit));
    let states = vec![
        (case.rate_hi * unit, sojourn(case.hi_to_lo)),
        (case.rate_lo * unit, sojourn(case.lo_to_hi)),
    ];
    let arrivals = Arrivals::Modulated { states, shape: RateCurve::constant(1.0) };
    let flow = Flow { arrivals, service: exponential(1.0), class: 0 };
    let station = Station::single(1, vec![flow], 2.0 * JOBS);
    simulate(&station, rows, |metric| common(metric, unit))
}

pub(super) fn machine_repair(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        #[serde(rename = "N")]
        users: u32,
        mu: f64,
        think_rate: f64,
    }
    let case: Case = params.read()?;
    let unit = 1.0 / case.mu;
    let mean = Span::from_secs_f64(case.mu / case.think_rate);
    let think = DurationDist::Exponential { mean };
    let arrivals = Arrivals::ClosedLoop { users: case.users, think };
    let flow = Flow { arrivals, service: exponential(1.0), class: 0 };
    let station = Station::single(1, vec![flow], JOBS / 4.0);
    simulate(&station, rows, |metric| common(metric, unit))
}

pub(super) fn mginf(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam: f64,
        #[serde(rename = "ES")]
        mean: f64,
    }
    let case: Case = params.read()?;
    let load = case.lam * case.mean;
    let flows = flows(case.lam, &Service::Exp { mean: case.mean }, case.mean, 0)?;
    let station = Station::hosted(u32::MAX, flows, FEWER_JOBS / load);
    simulate(&station, rows, |metric| match metric {
        "P_empty" => Some((Measure::Empty, 1.0)),
        _ => common(metric, case.mean),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parallel {
    rho: f64,
    servers: u32,
    #[serde(default)]
    d: u32,
}

/// Queues of one server each, fed together.
fn parallel(case: &Parallel, strategy: Strategy, seconds: f64) -> Station {
    let rate = case.rho * f64::from(case.servers);
    let flow = Flow { arrivals: poisson(rate), service: exponential(1.0), class: 0 };
    Station { replicas: case.servers, strategy, ..Station::single(1, vec![flow], seconds) }
}

fn sojourn() -> (Measure, f64) {
    (Measure::Time { of: Interest::Sojourn, class: None, at: Stat::Mean }, 1.0)
}

pub(super) fn power_of_d(params: &Params, rows: &[&Row]) -> Answers {
    let case: Parallel = params.read()?;
    let strategy = match case.d {
        1 => Strategy::Random,
        0 => return Err("nothing is drawn".to_owned()),
        choices => Strategy::PowerOfChoices { choices },
    };
    // The reference is that of any number of servers, and n of them are off by parts of 1 / n that
    // grow towards the tail. Queues fill in a time that grows as the square of 1 / (1 - rho).
    let case = Parallel { servers: case.servers.max(2_000), ..case };
    let seconds = (1.5 / (1.0 - case.rho).powi(2)).max(150.0);
    simulate(&parallel(&case, strategy, seconds), rows, |metric| match metric {
        "W_mean_over_ES" => Some(sojourn()),
        tail => {
            let jobs = tail.strip_prefix("P_queue_ge_")?.parse().ok()?;
            Some((Measure::AtLeast(jobs), 1.0))
        }
    })
}

pub(super) fn random_routing(params: &Params, rows: &[&Row]) -> Answers {
    let case: Parallel = params.read()?;
    let seconds = JOBS / case.rho / f64::from(case.servers);
    simulate(&parallel(&case, Strategy::Random, seconds), rows, |metric| {
        (metric == "W_mean_over_ES").then(sojourn)
    })
}

pub(super) fn jsq_lower_bound(params: &Params, rows: &[&Row]) -> Answers {
    let case: Parallel = params.read()?;
    // Bounds this far apart need no long runs.
    let seconds = JOBS / 4.0 / case.rho / f64::from(case.servers);
    simulate(&parallel(&case, Strategy::LeastOutstanding, seconds), rows, |metric| {
        matches!(metric, "central_queue_W" | "random_W").then(sojourn)
    })
}
