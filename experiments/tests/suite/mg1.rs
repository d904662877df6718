//! Queues with Poisson arrivals and any law of service, dressed as a simulator. Two arms under one
//! seed have the same arrivals, and services that differ by a factor alone.

use crate::support::{Log, scenario};
use experiments::Halt;
use sim::dice::{Dice, mix};
use sim::metrics::Series;
use sim::outcome::TaskOutcome;
use sim::units::Span;
use sim::{Outcome, Scenario};

/// A queue at load 0.8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mg1 {
    /// Coefficient of variation of the services, of mean 1 s: exponential at 1, else lognormal.
    pub(crate) cv: f64,
    /// Servers, who take whoever waits longest.
    pub(crate) servers: u32,
}

impl Mg1 {
    /// So many seconds of it.
    pub(crate) fn scenario(self, horizon: u64) -> Scenario {
        self.arm(horizon, 1.0, 0)
    }

    /// The same with services `factor` times as long; `salt` says which random numbers.
    pub(crate) fn arm(self, horizon: u64, factor: f64, salt: u32) -> Scenario {
        let says = [self.cv, f64::from(self.servers), factor, f64::from(salt)];
        let attributes = says.iter().map(ToString::to_string).collect();
        Scenario { attributes, ..scenario(horizon, 0) }
    }
}

/// One replication by the recursion of Lindley, or of Kiefer and Wolfowitz for several servers.
pub(crate) fn run(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
    let says: Vec<f64> =
        scenario.attributes.iter().map(|text| text.parse().expect("a number")).collect();
    let [cv, servers, factor, salt] = says[..] else { panic!("no queue: {says:?}") };
    let key = mix(mix(seed, salt as u64), replication.into());
    let (mut arrivals, mut services) = (Dice::stream(mix(key, 1)), Dice::stream(mix(key, 2)));
    let variance = (1.0 + cv * cv).ln();
    let mut free_at = vec![0.0_f64; servers as usize];
    let mut log = Log { width: scenario.window.as_secs_f64(), windows: Vec::new() };
    let mut task = TaskOutcome::default();
    let mut now = 0.0;
    loop {
        now += arrivals.exponential() / (0.8 * servers);
        if now >= scenario.horizon.as_secs_f64() {
            break;
        }
        let service = match cv {
            1.0 => services.exponential(),
            _ => (variance.sqrt() * services.normal() - variance / 2.0).exp(),
        };
        let next = free_at.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("a server");
        let begins = next.max(now);
        let ends = begins + factor * service;
        *next = ends;
        log.visit(now, begins, ends);
        task.arrived += 1;
        task.succeeded += 1;
        task.completed += 1;
        task.latency.record(Span::from_secs_f64(ends - now));
    }
    Ok(Outcome {
        measured: scenario.horizon,
        events: 2 * task.arrived,
        tasks: vec![task],
        series: Series { width: scenario.window, windows: log.windows, ..Series::default() },
        ..Outcome::default()
    })
}
