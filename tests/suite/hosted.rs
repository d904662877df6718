//! Hosted backends as stations of queueing theory, and estimates from replications of a scenario.
//!
//! A place of a hosted backend is a server, its queue the queue: whoever gets a place stays for the
//! time to the first token (and the time of each further one). Nothing is discretised.
//!
//! Invariants: replications are independent and put back by index; an estimate stops growing when
//! every half-width is reached or [`MOST_REPLICATIONS`] are spent, and says how many it took.

use rayon::prelude::*;
use sim::backends::{
    Answering, Discipline, Limits, RemoteKind, RemotePrice, RemoteSpec, Station as Places,
};
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::ids::{Backend, RemoteId, TaskId};
use sim::scenario::{ModelSpec, Serving};
use sim::stats::{Interval, t_interval};
use sim::units::Span;
use sim::workload::{Arrivals, People, Scaling, SourceSpec};

/// Replications of the first batch and of each further one.
pub(crate) const BATCH: usize = 32;
/// Replications after which the precision counts as not reached.
pub(crate) const MOST_REPLICATIONS: usize = 512;

/// A hosted backend that answers at once: its station alone matters.
pub(crate) fn remote(
    servers: Option<u32>,
    queue_limit: Option<u32>,
    discipline: Discipline,
) -> RemoteSpec {
    RemoteSpec {
        name: "hosted".to_owned(),
        key: 1,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Fixed(Span::ZERO),
            per_input_token: Span::ZERO,
            tpot: DurationDist::Fixed(Span::ZERO),
            slowness: Vec::new(),
        },
        station: Places { servers, queue_limit, discipline },
        limits: Limits::default(),
        error_rate: 0.0,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: None,
        devices: Vec::new(),
        max_context: u32::MAX,
        price: RemotePrice::Free,
    }
}

/// Each token of an answer takes `step`.
pub(crate) fn by_the_token(mut remote: RemoteSpec, step: Span) -> RemoteSpec {
    remote.answering.ttft = DurationDist::Fixed(step);
    remote.answering.tpot = DurationDist::Fixed(step);
    remote
}

/// A service drawn from a law whatever the answer's length.
pub(crate) fn serving(mut remote: RemoteSpec, service: DurationDist) -> RemoteSpec {
    remote.answering.ttft = service;
    remote
}

/// The model that only backend number `remote` serves.
pub(crate) fn model(remote: u32) -> ModelSpec {
    ModelSpec {
        name: format!("model {remote}"),
        key: remote.into(),
        served_by: vec![Serving { backend: Backend::Remote(RemoteId(remote)), weight: 1.0 }],
        ..ModelSpec::default()
    }
}

/// Requests with `input` tokens of prompt and one of answer.
pub(crate) fn source(arrivals: Arrivals, input: u32) -> SourceSpec {
    let fixed = |tokens| LengthDist { law: LengthLaw::Fixed(tokens), min: 1, max: u32::MAX };
    SourceSpec {
        name: "clients".to_owned(),
        key: 1,
        task: TaskId(0),
        arrivals,
        lengths: LengthsSpec { input: fixed(input), output: fixed(1), correlation: 0.0 },
        ends_by_eos: false,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    }
}

/// Estimates what `one` says of each replication until its half-widths (where one is asked for)
/// are reached. Returns the 95 % intervals and the number of replications.
pub(crate) fn estimate(
    half_widths: &[Option<f64>],
    one: impl Fn(u32) -> Result<Vec<f64>, String> + Sync,
) -> Result<(Vec<Interval>, usize), String> {
    let mut samples: Vec<Vec<f64>> = Vec::new();
    loop {
        let next = samples.len() as u32..(samples.len() + BATCH) as u32;
        let more: Result<Vec<Vec<f64>>, String> = next.into_par_iter().map(&one).collect();
        samples.extend(more?);
        let of = |at: usize| samples.iter().map(|sample| sample[at]).collect::<Vec<f64>>();
        let intervals: Option<Vec<Interval>> =
            (0..half_widths.len()).map(|at| Some(t_interval(&of(at), 0.95)?.interval())).collect();
        let intervals = intervals.ok_or("a value is not a number")?;
        let reached = intervals.iter().zip(half_widths).all(|(interval, half_width)| {
            half_width.is_none_or(|half| interval.high - interval.low <= 2.0 * half)
        });
        if reached || samples.len() >= MOST_REPLICATIONS {
            return Ok((intervals, samples.len()));
        }
    }
}
