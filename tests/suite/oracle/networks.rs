//! Families of queueing theory that take tasks of several steps or a time of day: hosted backends
//! whose services have the law of the family exactly.
//!
//! Where only ratios matter, a second is chosen so that a replication is neither long nor short;
//! nothing is discretised but the curve of the day, into 360 straight lines.

use super::verdict::{Answer, Row};
use super::{Params, pick};
use crate::hosted::{estimate, model, remote, serving, source};
use serde::Deserialize;
use sim::Simulation;
use sim::backends::Discipline;
use sim::dist::DurationDist;
use sim::ids::ModelId;
use sim::record::{CallRecord, Recorder};
use sim::scenario::Scenario;
use sim::tasks::{TaskSpec, Work};
use sim::units::{PS_PER_SEC, Span, Time};
use sim::workload::{Arrivals, Gaps, RateCurve};
use std::f64::consts::TAU;

type Answers = Result<Vec<Answer>, String>;

const SEED: u64 = 20_261_126;
/// Tasks of one replication's measured time.
const TASKS: f64 = 20_000.0;

/// The intervals as answers.
fn answers((intervals, replications): (Vec<sim::stats::Interval>, usize)) -> Vec<Answer> {
    let answer = |interval| Answer::Estimate { interval, replications };
    intervals.into_iter().map(answer).collect()
}

fn half_widths(rows: &[&Row]) -> Result<Vec<Option<f64>>, String> {
    rows.iter().map(|row| row.precision()).collect()
}

/// Runs one replication with a recorder; what the audit finds is an error.
fn replicate<R: Recorder>(
    scenario: &Scenario,
    replication: u32,
    recorder: R,
) -> Result<(sim::Outcome, R), String> {
    let simulation = Simulation::recording(scenario, SEED, replication, recorder);
    let (outcome, recorder) = simulation.run_with(&|_| false);
    let outcome = outcome.ok_or("stopped")?;
    if outcome.audit.is_empty() { Ok((outcome, recorder)) } else { Err(outcome.audit.join("; ")) }
}

/// Time at work and time present of the calls of each model, within the measured time.
struct Stations {
    from: Time,
    to: Time,
    at_work: Vec<f64>,
    present: Vec<f64>,
}

impl Recorder for Stations {
    fn call(&mut self, record: &CallRecord) {
        let clip = |at: Time| at.max(self.from).min(self.to);
        let ended = clip(record.ended);
        let model = record.model.index();
        self.at_work[model] += (ended - clip(record.scheduled)).as_secs_f64();
        self.present[model] += (ended - clip(record.arrived)).as_secs_f64();
    }
}

/// Users who think and then pass through stations of one server each, one after another.
pub(super) fn mva_closed(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        #[serde(rename = "N")]
        users: u32,
        #[serde(rename = "Z", default)]
        think: f64,
        demands: Vec<f64>,
    }
    let case: Case = params.read()?;
    let largest = case.demands.iter().copied().fold(0.0, f64::max);
    let bottleneck = case.demands.iter().position(|&demand| demand >= largest);
    let bottleneck = bottleneck.filter(|_| largest > 0.0).ok_or("no station takes any time")?;
    // A second is the largest demand.
    let law = |time: f64| DurationDist::Exponential { mean: Span::from_secs_f64(time / largest) };
    let cycle = (case.think + case.demands.iter().sum::<f64>()) / largest;
    // Neither the bottleneck nor all the users are faster.
    let rate = (f64::from(case.users) / cycle).min(1.0);
    let scenario = chain(&case.demands, law, case.users, law(case.think), TASKS / rate + cycle);
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    pick(&metrics, |metric| matches!(metric, "X" | "R" | "U_max" | "Q_bottleneck").then_some(()))?;
    let found = estimate(&half_widths(rows)?, |replication| {
        let stations = case.demands.len();
        let recorder = Stations {
            from: Time(scenario.warm_up.0),
            to: Time(scenario.horizon.0),
            at_work: vec![0.0; stations],
            present: vec![0.0; stations],
        };
        let (outcome, seen) = replicate(&scenario, replication, recorder)?;
        let (task, measured) = (&outcome.tasks[0], outcome.measured.as_secs_f64());
        pick(&metrics, |metric| {
            Some(match metric {
                "X" => task.completed as f64 / measured / largest,
                "R" => task.latency.mean_secs()? * largest,
                "U_max" => seen.at_work.iter().copied().fold(0.0, f64::max) / measured,
                _ => seen.present[bottleneck] / measured,
            })
        })
    })?;
    Ok(answers(found))
}

/// A task of one call after another, each at a hosted backend of its own.
fn chain(
    demands: &[f64],
    law: impl Fn(f64) -> DurationDist,
    users: u32,
    think: DurationDist,
    seconds: f64,
) -> Scenario {
    let mut task = TaskSpec::one_call("visit", ModelId(0));
    let first = task.graph.steps.remove(0);
    for number in 0..demands.len() as u32 {
        let mut step = first.clone();
        (step.name, step.key) = (format!("station {number}"), u64::from(number) + 1);
        step.after = number.checked_sub(1).into_iter().collect();
        if let Work::ModelCall(call) = &mut step.work {
            call.model = Some(ModelId(number));
        }
        task.graph.steps.push(step);
    }
    let place = |(number, &demand): (usize, &f64)| {
        let mut place = serving(remote(Some(1), None, Discipline::Fifo), law(demand));
        place.key = number as u64 + 1;
        place
    };
    let horizon = Span::from_secs_f64(seconds);
    Scenario {
        horizon,
        warm_up: Span(horizon.0 / 10),
        tasks: vec![task],
        sources: vec![source(Arrivals::ClosedLoop { users, think }, 1)],
        models: (0..demands.len() as u32).map(model).collect(),
        remotes: demands.iter().enumerate().map(place).collect(),
        window: Span(horizon.0 / 100),
        ..Scenario::default()
    }
}

/// Seconds of a simulated day.
const DAY: f64 = 1_000.0;

/// First harmonics over one day of the arrivals and of the number present: cosine and sine parts,
/// and the mean number.
struct Harmonics {
    from: f64,
    arrivals: (f64, f64),
    present: (f64, f64),
    mean: f64,
}

impl Recorder for Harmonics {
    fn call(&mut self, record: &CallRecord) {
        let angle = TAU / DAY;
        let within = |at: Time| (at.as_secs_f64() - self.from).clamp(0.0, DAY);
        let (arrived, ended) = (within(record.arrived), within(record.ended));
        if (0.0..DAY).contains(&(record.arrived.as_secs_f64() - self.from)) {
            self.arrivals.0 += (angle * arrived).cos();
            self.arrivals.1 += (angle * arrived).sin();
        }
        // The integrals of cosine and sine over the stay.
        self.present.0 += ((angle * ended).sin() - (angle * arrived).sin()) * 2.0 / TAU;
        self.present.1 += ((angle * arrived).cos() - (angle * ended).cos()) * 2.0 / TAU;
        self.mean += (ended - arrived) / DAY;
    }
}

/// A sinusoidal rate, and nobody waits. The number present follows it with the same shape: its peak
/// and its lag are those of its first harmonic, which uses the whole day. The lag is that behind
/// the arrivals there were.
pub(super) fn mtminf_diurnal(params: &Params, rows: &[&Row]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        lam_mean: f64,
        amp: f64,
        period: f64,
        #[serde(rename = "ES")]
        mean: f64,
    }
    let case: Case = params.read()?;
    let unit = case.period / DAY;
    let mean = Span::from_secs_f64(case.mean / unit);
    // Everybody of a first day that began empty has left by then, but for one in a million.
    let days = (14.0 * case.mean / case.period).ceil().max(1.0);
    // The days before the one that counts are simulated too.
    let tasks = TASKS * 2.0 / (1.0 + days);
    let knot = |n: u32| {
        let part = f64::from(n) / 360.0;
        let rate = tasks / DAY * (1.0 + case.amp * (TAU * part).sin());
        (Time((part * DAY * PS_PER_SEC as f64) as u64), rate.max(0.0))
    };
    let rate = RateCurve {
        knots: (0..=360).map(knot).collect(),
        period: Some(Span::from_secs_f64(DAY)),
        spikes: Vec::new(),
    };
    let day = Span::from_secs_f64(DAY);
    let warm_up = Span(day.0 * days as u64);
    let scenario = Scenario {
        horizon: warm_up + day,
        warm_up,
        tasks: vec![TaskSpec::one_call("stay", ModelId(0))],
        sources: vec![source(Arrivals::Renewal { gaps: Gaps::Exponential, rate }, 1)],
        models: vec![model(0)],
        remotes: vec![serving(
            remote(None, None, Discipline::Fifo),
            DurationDist::Exponential { mean },
        )],
        window: day,
        ..Scenario::default()
    };
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    pick(&metrics, |metric| matches!(metric, "peak_mean_L" | "peak_lag").then_some(()))?;
    let found = estimate(&half_widths(rows)?, |replication| {
        let (from, none) = (warm_up.as_secs_f64(), (0.0, 0.0));
        let recorder = Harmonics { from, arrivals: none, present: none, mean: 0.0 };
        let (_, seen) = replicate(&scenario, replication, recorder)?;
        let phase = |(cosine, sine): (f64, f64)| sine.atan2(cosine);
        let peak = seen.mean + seen.present.0.hypot(seen.present.1);
        // At most a quarter of the period; of short stays chance may put it below 0.
        let ahead = (phase(seen.present) - phase(seen.arrivals) + TAU / 2.0).rem_euclid(TAU);
        let lag = ahead - TAU / 2.0;
        pick(&metrics, |metric| {
            Some(match metric {
                // The number present is proportional to the rate.
                "peak_mean_L" => peak * case.lam_mean * case.period / tasks,
                _ => lag / TAU * case.period,
            })
        })
    })?;
    Ok(answers(found))
}
