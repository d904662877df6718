//! A queue by Lindley's recursion, dressed as a simulator.

use sim::ids::ModelId;
use sim::ledger::{GpuAccount, Ledger};
use sim::metrics::{Series, Window};
use sim::outcome::TaskOutcome;
use sim::tasks::TaskSpec;
use sim::units::{Money, PS_PER_SEC, Span};
use sim::{Outcome, Scenario};

/// Exponential service of mean 1 s; Poisson arrivals whose rate is a function of time.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    /// Arrivals per second at a time in seconds; never above `most`.
    pub(crate) rate: fn(f64) -> f64,
    /// Upper bound of the rate, for thinning.
    pub(crate) most: f64,
    /// Jobs already there at the start; not counted.
    pub(crate) backlog: u32,
    /// Whether every job finds a server of its own, instead of one for all.
    pub(crate) endless: bool,
    /// Jobs that arrive together; the bursts come at the rate divided by this.
    pub(crate) burst: u32,
}

impl Queue {
    pub(crate) fn poisson(rate: fn(f64) -> f64) -> Queue {
        Queue { rate, most: rate(0.0), backlog: 0, endless: false, burst: 1 }
    }

    /// One replication: arrivals in `[0, horizon)`, then the queue drains.
    pub(crate) fn run(self, scenario: &Scenario, seed: u64, replication: u32) -> Outcome {
        let mut random = Random::keyed(seed, replication);
        let (horizon, warm_up) = (scenario.horizon.as_secs_f64(), scenario.warm_up.as_secs_f64());
        let width = scenario.window.as_secs_f64();
        let mut log = Log { width, windows: Vec::new() };
        let mut task = TaskOutcome::default();
        let mut free_at = (0..self.backlog).map(|_| random.exponential()).sum::<f64>();
        let mut now = 0.0;
        let mut left_of_burst = 0;
        loop {
            if left_of_burst == 0 {
                now += random.exponential() / self.most * f64::from(self.burst);
                if now >= horizon {
                    break;
                }
                if random.unit() * self.most >= (self.rate)(now) {
                    continue;
                }
                left_of_burst = self.burst;
            }
            left_of_burst -= 1;
            let begins = if self.endless { now } else { free_at.max(now) };
            free_at = begins + random.exponential();
            log.visit(now, begins, free_at);
            task.completed += u64::from(free_at >= warm_up && free_at <= horizon);
            if now >= warm_up {
                task.arrived += 1;
                task.succeeded += 1;
                task.within_slo += u64::from(free_at - now <= 10.0);
                task.latency.record(Span::from_secs_f64(free_at - now));
            }
        }
        let measured = scenario.horizon - scenario.warm_up;
        let gpu = GpuAccount { gpu_time: measured.0.into(), per_gpu_hour: dollars(3) };
        Outcome {
            measured,
            events: 2 * task.arrived,
            log_hash: random.0,
            tasks: vec![task],
            ledger: Ledger { gpu: vec![gpu] },
            series: Series { width: scenario.window, windows: log.windows, ..Series::default() },
            ..Outcome::default()
        }
    }
}

pub(crate) fn dollars(n: i128) -> Money {
    Money(n * Money::PICO_PER_DOLLAR)
}

/// One kind of task worth a cent with an SLO of 10 s; two hundred windows.
pub(crate) fn scenario(horizon: u64, warm_up: u64) -> Scenario {
    Scenario {
        horizon: Span::from_secs(horizon),
        warm_up: Span::from_secs(warm_up),
        tasks: vec![TaskSpec {
            value: Some(Money(Money::PICO_PER_DOLLAR / 100)),
            latency_slo: Some(Span::from_secs(10)),
            ..TaskSpec::one_call("job", ModelId(0))
        }],
        window: Span::from_millis(horizon * 5),
        ..Scenario::default()
    }
}

/// Windows as a simulator fills them.
pub(crate) struct Log {
    pub(crate) width: f64,
    pub(crate) windows: Vec<Window>,
}

impl Log {
    /// A job in the system from `from` until `to`, served from `begins`.
    pub(crate) fn visit(&mut self, from: f64, begins: f64, to: f64) {
        let window = |at: f64| (at / self.width) as usize;
        let (first, served, last) = (window(from), window(begins), window(to));
        if self.windows.len() <= last {
            self.windows.resize(last + 1, Window::default());
        }
        self.windows[first].arrived += 1;
        self.windows[last].finished += 1;
        self.windows[last].latency_sum += ((to - from) * PS_PER_SEC as f64) as u128;
        self.windows[first..served].iter_mut().for_each(|w| w.waiting += 1);
        self.windows[served..last].iter_mut().for_each(|w| w.running += 1);
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn keyed(seed: u64, replication: u32) -> Random {
        let mut random = Random(seed.wrapping_mul(0xD129_0D6F_2B35_4D21) ^ u64::from(replication));
        random.0 = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }
}
