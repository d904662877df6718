//! What a profile comes to: power, energy, energy per token, throttling, and whether this GPU is
//! slower than it should be.
//!
//! A sample stands for the time until the next one, and the last for one interval; shares and means
//! are over that time.
//!
//! Invariants: a number whose quantity was not read is absent; energy says what it was made from.
//!
//! Deliberately absent: prices; intervals, for which one run of one GPU gives no ground.

use super::profile::Profile;
use super::sample::{Gpm, Reason, Sample};
use sim::units::{Bytes, Span};

/// A GPU that is held back longer than this is worth a look.
const MOST_THROTTLED: f64 = 0.05;
/// A GPU under load whose clock is lower by more than this is worth a look.
const MOST_BELOW_MAX: f64 = 0.10;
/// From this utilisation on, a GPU is under load. Below, low clocks are how it saves power.
const LOADED_PERCENT: f64 = 50.0;
/// A shorter load says nothing of clocks, which take a moment to rise.
const LEAST_LOAD: Span = Span::from_secs(1);

/// Power over the whole sampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// Watts.
    pub mean_w: f64,
    /// Watts.
    pub max_w: f64,
}

/// What an energy was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnergySource {
    /// The device's own counter: its last reading less its first.
    Counter,
    /// Readings of power, joined by straight lines.
    Power,
}

/// Energy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// Joules.
    pub joules: f64,
    /// Between the first and the last reading it was made from.
    pub over: Span,
    /// What it was made from.
    pub source: EnergySource,
}

/// Shares of the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttled {
    /// In which anything held the GPU back.
    pub share: f64,
    /// In which a reason was in force, for every reason that ever was, throttling or not.
    pub by_reason: Vec<(Reason, f64)>,
}

/// Why a GPU looks slow.
#[derive(Clone, Debug, PartialEq)]
pub enum SlowGpu {
    /// It is held back for more than 5 % of the time.
    Throttled {
        /// Share of the time.
        share: f64,
        /// The reason that held longest.
        most: Reason,
    },
    /// Under load, the SM clock is more than 10 % below the highest.
    LowClock {
        /// Median under load, MHz.
        median_mhz: f64,
        /// The highest there is, MHz.
        max_mhz: f64,
    },
}

/// What a profile comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Samples.
    pub samples: usize,
    /// From the first sample to the last.
    pub length: Span,
    /// Power.
    pub power: Option<Power>,
    /// Energy.
    pub energy: Option<Energy>,
    /// Joules a token, when the tokens were told.
    pub joules_per_token: Option<f64>,
    /// Shares of the time in which the GPU was held back.
    pub throttled: Option<Throttled>,
    /// Share of the time under load, which is a utilisation of 50 % and more.
    pub loaded_share: Option<f64>,
    /// Mean utilisation of the GPU, %.
    pub gpu_percent: Option<f64>,
    /// Mean utilisation of the memory, %.
    pub memory_percent: Option<f64>,
    /// Mean clock of the SMs, MHz.
    pub sm_mhz: Option<f64>,
    /// Median clock of the SMs under load, MHz.
    pub loaded_sm_mhz: Option<f64>,
    /// Mean clock of the memory, MHz.
    pub memory_mhz: Option<f64>,
    /// The most memory in use.
    pub memory_used: Option<Bytes>,
    /// Highest temperature, °C.
    pub temperature_c: Option<f64>,
    /// Mean of each metric of performance monitoring that was read.
    pub gpm: Vec<(Gpm, f64)>,
    /// Why the GPU looks slow; empty when it does not.
    pub slow: Vec<SlowGpu>,
}

/// What power costs, dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerCost {
    /// Of this GPU in an hour like the sampling.
    pub per_hour: f64,
    /// Of a million tokens, when the tokens were told.
    pub per_million_tokens: Option<f64>,
}

/// Joules of a kilowatt-hour.
pub const JOULES_PER_KWH: f64 = 3.6e6;

impl Summary {
    /// What its power costs at so many dollars a kilowatt-hour: what is to be added to the price of
    /// the GPU where that is without power. `None` without any energy.
    #[must_use]
    pub fn power_cost(&self, dollars_per_kwh: f64) -> Option<PowerCost> {
        let energy = self.energy?;
        let price = dollars_per_kwh / JOULES_PER_KWH;
        Some(PowerCost {
            per_hour: energy.joules / energy.over.as_secs_f64() * 3_600.0 * price,
            per_million_tokens: self.joules_per_token.map(|joules| joules * 1e6 * price),
        })
    }
}

impl Profile {
    /// What it comes to. `tokens` were made during the sampling.
    #[must_use]
    pub fn summary(&self, tokens: Option<u64>) -> Summary {
        let energy = self.energy();
        let per_token = |tokens: u64| energy.map(|energy| energy.joules / tokens as f64);
        let throttled = self.throttled();
        let loaded_sm_mhz = self.loaded_sm_mhz();
        Summary {
            samples: self.samples.len(),
            length: self.length(),
            power: self.mean(|sample| sample.power_w).map(|mean_w| Power {
                mean_w,
                max_w: self.most(|sample| sample.power_w).unwrap_or(mean_w),
            }),
            energy,
            joules_per_token: tokens.filter(|&tokens| tokens > 0).and_then(per_token),
            loaded_share: self.mean(|sample| sample.gpu_percent.map(|_| f64::from(loaded(sample)))),
            gpu_percent: self.mean(|sample| sample.gpu_percent),
            memory_percent: self.mean(|sample| sample.memory_percent),
            sm_mhz: self.mean(|sample| sample.sm_mhz),
            loaded_sm_mhz,
            memory_mhz: self.mean(|sample| sample.memory_mhz),
            memory_used: self.samples.iter().filter_map(|sample| sample.memory_used).max(),
            temperature_c: self.most(|sample| sample.temperature_c),
            gpm: Gpm::ALL
                .into_iter()
                .filter_map(|gpm| Some((gpm, self.mean(|sample| sample.gpm[gpm as usize])?)))
                .collect(),
            slow: self.slow(throttled.as_ref(), loaded_sm_mhz),
            throttled,
        }
    }

    fn length(&self) -> Span {
        match (self.samples.first(), self.samples.last()) {
            (Some(first), Some(last)) => Span(last.at.0.saturating_sub(first.at.0)),
            _ => Span::ZERO,
        }
    }

    /// The samples and the microseconds that each stands for: whole numbers, so that the mean of
    /// equal values is that value.
    fn weighted(&self) -> impl Iterator<Item = (&Sample, f64)> {
        let next = self.samples.iter().skip(1).map(|sample| Some(sample.at));
        self.samples.iter().zip(next.chain([None])).map(|(sample, next)| {
            let until = next.map_or(self.every, |next| Span(next.0.saturating_sub(sample.at.0)));
            (sample, micros(until))
        })
    }

    /// The mean over the time in which a quantity was read.
    fn mean(&self, get: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let (mut sum, mut time) = (0.0, 0.0);
        for (sample, micros) in self.weighted() {
            if let Some(value) = get(sample) {
                sum += value * micros;
                time += micros;
            }
        }
        (time > 0.0).then(|| sum / time)
    }

    fn most(&self, get: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        self.samples.iter().filter_map(get).reduce(f64::max)
    }

    fn energy(&self) -> Option<Energy> {
        let counted = || self.samples.iter().filter_map(|s| Some((s.at, s.energy_j?)));
        if let (Some((from, first)), Some((to, last))) = (counted().next(), counted().next_back())
            && to > from
        {
            let over = Span(to.0 - from.0);
            return Some(Energy { joules: last - first, over, source: EnergySource::Counter });
        }
        let mut readings = self.samples.iter().filter_map(|s| Some((s.at, s.power_w?)));
        let (from, mut watts) = readings.next()?;
        let (mut joules, mut at) = (0.0, from);
        for (next_at, next) in readings {
            let seconds = Span(next_at.0.saturating_sub(at.0)).as_secs_f64();
            joules += (watts + next) / 2.0 * seconds;
            (at, watts) = (next_at, next);
        }
        let over = Span(at.0.saturating_sub(from.0));
        (at > from).then_some(Energy { joules, over, source: EnergySource::Power })
    }

    fn throttled(&self) -> Option<Throttled> {
        let share_of = |reason: Reason| {
            self.mean(|sample| sample.throttle.map(|throttle| f64::from(throttle.has(reason))))
        };
        let share = self.mean(|sample| Some(f64::from(sample.throttle?.is_throttled())))?;
        let by_reason = Reason::ALL
            .into_iter()
            .filter_map(|reason| Some((reason, share_of(reason)?)))
            .filter(|(_, share)| *share > 0.0)
            .collect();
        Some(Throttled { share, by_reason })
    }

    /// Median of the clock over the time under load, if there was enough of it.
    fn loaded_sm_mhz(&self) -> Option<f64> {
        let mut clocks: Vec<(f64, f64)> = self
            .weighted()
            .filter(|(sample, _)| loaded(sample))
            .filter_map(|(sample, micros)| Some((sample.sm_mhz?, micros)))
            .collect();
        clocks.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let time: f64 = clocks.iter().map(|(_, micros)| micros).sum();
        if time < micros(LEAST_LOAD) {
            return None;
        }
        let mut passed = 0.0;
        let middle = clocks.iter().find(|(_, micros)| {
            passed += micros;
            passed >= time / 2.0
        });
        middle.map(|(mhz, _)| *mhz)
    }

    fn slow(&self, throttled: Option<&Throttled>, loaded_sm_mhz: Option<f64>) -> Vec<SlowGpu> {
        let mut slow = Vec::new();
        if let Some(throttled) = throttled.filter(|throttled| throttled.share > MOST_THROTTLED) {
            let holding = throttled.by_reason.iter().filter(|(reason, _)| reason.is_throttling());
            let most = holding.max_by(|(_, a), (_, b)| a.total_cmp(b));
            slow.extend(
                most.map(|(most, _)| SlowGpu::Throttled { share: throttled.share, most: *most }),
            );
        }
        if let (Some(median_mhz), Some(max_mhz)) = (loaded_sm_mhz, self.facts.sm_max_mhz)
            && median_mhz < (1.0 - MOST_BELOW_MAX) * max_mhz
        {
            slow.push(SlowGpu::LowClock { median_mhz, max_mhz });
        }
        slow
    }
}

fn micros(span: Span) -> f64 {
    (span.0 / Span::from_micros(1).0) as f64
}

fn loaded(sample: &Sample) -> bool {
    sample.gpu_percent.is_some_and(|percent| percent >= LOADED_PERCENT)
}
