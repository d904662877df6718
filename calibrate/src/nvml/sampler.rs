//! A thread that reads a device at fixed instants.
//!
//! Invariants: the instants are the start plus whole multiples of the interval, whatever a reading
//! takes; one that has passed during a reading is skipped and counted; the device is found and asked
//! for its facts before [`Sampler::start`] returns, so what cannot work fails there.
//!
//! Deliberately absent: files, terminals and Ctrl-C, which belong to the command.

use super::facts::DeviceFacts;
use super::faults::{Faults, Lost, one_line, words};
use super::profile::{Ended, Profile};
use super::reader::Reader;
use super::sample::Sample;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use sim::units::Span;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The most samples one sampling keeps: a day of ten per second and some, under 1 GB.
pub const LONGEST: u64 = 1_000_000;

/// Below this, the readings themselves take longer than the interval.
const LEAST_EVERY: Span = Span::from_millis(1);

/// NVML refreshes the counters of performance monitoring this often; two samples must be further
/// apart (nvml.h at `nvmlGpmMetricsGet`).
const COUNTERS_KEPT: Span = Span::from_millis(100);

/// Which GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuChoice {
    /// By its place in NVML's list, which is in the order of PCI addresses.
    Index(u32),
    /// By its UUID, such as `GPU-1d4…`.
    Uuid(String),
}

/// What to sample, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The library, instead of the `libnvidia-ml.so.1` that the system finds.
    pub library: Option<PathBuf>,
    /// Which GPU.
    pub gpu: GpuChoice,
    /// Between two instants, at least 1 ms.
    pub every: Span,
    /// How long; `None` until it is stopped, or [`LONGEST`] samples were taken.
    pub length: Option<Span>,
}

/// Why a sampling could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No library of that name.
    #[error(
        "{library} cannot be loaded: {reason}. It comes with NVIDIA's driver: run this where the \
         GPU is, or name the library"
    )]
    Library {
        /// Its name or path.
        library: String,
        /// What the system said.
        reason: String,
    },
    /// Something else has its name.
    #[error("{library} is not NVML: {reason}")]
    NotNvml {
        /// Its name or path.
        library: String,
        /// What is missing.
        reason: String,
    },
    /// The library works, the driver does not.
    #[error("NVIDIA's driver cannot be used: {0}")]
    Driver(String),
    /// There is nothing to sample.
    #[error("NVML finds no GPU in this machine, or none that this user may see")]
    NoGpu,
    /// There are GPUs, but not this one.
    #[error("there is no GPU {wanted}; NVML finds: {found}")]
    NoSuchGpu {
        /// Index or UUID.
        wanted: String,
        /// The ones there are.
        found: String,
    },
    /// The GPU is there and does not answer.
    #[error("the GPU does not answer: {0}")]
    Lost(String),
    /// An interval or a length that makes no sense.
    #[error("{0}")]
    Options(String),
}

/// A sampling that runs. It stops when this goes away, too.
#[derive(Debug)]
pub struct Sampler {
    facts: DeviceFacts,
    thread: JoinHandle<Profile>,
    stopper: Stopper,
}

/// What the thread and its owner both see.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    latest: Mutex<Option<Sample>>,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
struct Stopper {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

impl Sampler {
    /// Finds the device, asks what it is and starts to read it.
    ///
    /// # Errors
    /// [`OpenError`] when there is no library, no driver, no such GPU or no sense in the options.
    pub fn start(options: &Options) -> Result<Sampler, OpenError> {
        let plan = Plan::of(options)?;
        let nvml = open(options.library.as_deref())?;
        let (facts, faults) = facts(&nvml, &options.gpu)?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let (gpu, facts, shared) = (options.gpu.clone(), facts.clone(), Arc::clone(&shared));
            let sample = move || sample(&nvml, &gpu, &plan, facts, faults, &shared);
            let thread = std::thread::Builder::new().name("nvml".to_owned()).spawn(sample);
            thread.map_err(|error| OpenError::Driver(format!("no thread for it: {error}")))?
        };
        let stopper = Stopper { shared, thread: thread.thread().clone() };
        Ok(Sampler { facts, thread, stopper })
    }

    /// The device.
    #[must_use]
    pub fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    /// The last sample, for a live view.
    #[must_use]
    pub fn latest(&self) -> Option<Sample> {
        lock(&self.stopper.shared.latest).clone()
    }

    /// Whether it ended by itself: it was long enough, or the GPU is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it and returns what was kept.
    ///
    /// # Panics
    /// When the thread did, which is a bug.
    #[must_use]
    pub fn stop(self) -> Profile {
        drop(self.stopper);
        match self.thread.join() {
            Ok(profile) => profile,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A sample is put in whole, so a lock whose holder panicked still guards one.
fn lock(latest: &Mutex<Option<Sample>>) -> MutexGuard<'_, Option<Sample>> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The instants of a sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    every: Span,
    /// The number of the last instant; the first is 0.
    last: u64,
    /// The counters of performance monitoring are read at every so many instants.
    counters_every: u64,
}

impl Plan {
    fn of(options: &Options) -> Result<Plan, OpenError> {
        let every = options.every;
        if every < LEAST_EVERY || every != Span::from_micros(micros(every)) {
            let problem = "the interval must be whole microseconds, and at least 1 ms";
            return Err(OpenError::Options(problem.to_owned()));
        }
        let last = match options.length {
            None => LONGEST - 1,
            Some(length) => length.0 / every.0,
        };
        if last >= LONGEST {
            return Err(OpenError::Options(format!(
                "that is {last} samples, and at most {LONGEST} are kept: sample for a shorter time \
                 or less often"
            )));
        }
        Ok(Plan { every, last, counters_every: COUNTERS_KEPT.0 / every.0 + 1 })
    }

    /// When an instant is, since the start.
    fn at(&self, instant: u64) -> Duration {
        Duration::from_micros(micros(self.every).saturating_mul(instant))
    }

    /// The first instant after `now`, which lies in or after the reading of `instant`.
    fn next(&self, instant: u64, now: Span) -> u64 {
        (now.0 / self.every.0).max(instant) + 1
    }
}

/// Whole microseconds.
fn micros(span: Span) -> u64 {
    span.0 / Span::from_micros(1).0
}

/// Reads the device until the last instant, a stop or its end.
fn sample(
    nvml: &Nvml,
    gpu: &GpuChoice,
    plan: &Plan,
    facts: DeviceFacts,
    faults: Faults,
    shared: &Shared,
) -> Profile {
    let mut profile = Profile {
        facts,
        started: unix_now(),
        every: plan.every,
        skipped: 0,
        ended: Ended::Complete,
        missing: BTreeMap::new(),
        errors: BTreeMap::new(),
        units: BTreeMap::new(),
        samples: Vec::new(),
    };
    let device = match choose(nvml, gpu) {
        Ok(device) => device,
        Err(error) => return Profile { ended: Ended::Lost(error.to_string()), ..profile },
    };
    let mut reader = Reader::new(nvml, device);
    reader.faults = faults;
    profile.ended = match read(&mut reader, plan, shared, &mut profile) {
        Ok(ended) => ended,
        Err(Lost(why)) => Ended::Lost(why),
    };
    profile.missing = reader.faults.missing;
    profile.errors = reader.faults.errors;
    profile.units = reader.units;
    profile
}

/// The samples of a sampling, and why they end.
fn read(
    reader: &mut Reader<'_>,
    plan: &Plan,
    shared: &Shared,
    profile: &mut Profile,
) -> Result<Ended, Lost> {
    reader.start(profile.facts.memory)?;
    let began = Instant::now();
    profile.started = unix_now();
    let since =
        || Span::from_micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    let (mut instant, mut counters_at) = (0, Span::ZERO);
    loop {
        if !wait(began + plan.at(instant), &shared.stop) {
            return Ok(Ended::Stopped);
        }
        let at = since();
        // An instant can come late, so that the counters have not moved when the next is in time.
        let moved = Span(at.0 - counters_at.0) > COUNTERS_KEPT;
        let with_counters = moved && instant.is_multiple_of(plan.counters_every);
        if with_counters {
            counters_at = at;
        }
        let sample = reader.sample(at, unix_now(), with_counters)?;
        *lock(&shared.latest) = Some(sample.clone());
        profile.samples.push(sample);
        let next = plan.next(instant, since());
        profile.skipped += next.min(plan.last + 1) - instant - 1;
        if next > plan.last {
            return Ok(Ended::Complete);
        }
        instant = next;
    }
}

/// Waits until an instant; `false` if it was stopped before.
fn wait(until: Instant, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "samples are laid beside the log of an engine, by the time of day"
)]
fn unix_now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // To the microsecond, which is what files keep.
    Duration::from_micros(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Opens the library and starts it.
fn open(library: Option<&Path>) -> Result<Nvml, OpenError> {
    let mut builder = Nvml::builder();
    if let Some(path) = library {
        builder.lib_path(path.as_os_str());
    }
    let library = library.map_or("libnvidia-ml.so.1".into(), Path::to_string_lossy).into_owned();
    let nvml = builder.init().map_err(|error| match error {
        NvmlError::LibloadingError(reason) => {
            OpenError::Library { library: library.clone(), reason: one_line(&reason.to_string()) }
        }
        NvmlError::FailedToLoadSymbol(reason) => {
            OpenError::NotNvml { library: library.clone(), reason: one_line(&reason) }
        }
        error => OpenError::Driver(words(&error)),
    })?;
    // The wrapper calls it in the end, and panics where it is not.
    if let Some(reason) = nvml.lib().nvmlShutdown.as_ref().err().map(ToString::to_string) {
        std::mem::forget(nvml);
        return Err(OpenError::NotNvml { library, reason: one_line(&reason) });
    }
    Ok(nvml)
}

/// Finds the device that is meant.
fn choose<'nvml>(nvml: &'nvml Nvml, gpu: &GpuChoice) -> Result<Device<'nvml>, OpenError> {
    let count = nvml.device_count().map_err(|error| OpenError::Driver(words(&error)))?;
    if count == 0 {
        return Err(OpenError::NoGpu);
    }
    let (wanted, found) = match gpu {
        GpuChoice::Index(index) => (index.to_string(), nvml.device_by_index(*index)),
        GpuChoice::Uuid(uuid) => (uuid.clone(), nvml.device_by_uuid(uuid.clone())),
    };
    found.map_err(|error| match error {
        NvmlError::InvalidArg | NvmlError::NotFound | NvmlError::NulError(_) => {
            OpenError::NoSuchGpu { wanted, found: list(nvml, count) }
        }
        NvmlError::GpuLost | NvmlError::ResetRequired => OpenError::Lost(words(&error)),
        error => OpenError::Driver(format!("GPU {wanted}: {}", words(&error))),
    })
}

/// What a device is, and which facts it does not tell.
fn facts(nvml: &Nvml, gpu: &GpuChoice) -> Result<(DeviceFacts, Faults), OpenError> {
    let mut reader = Reader::new(nvml, choose(nvml, gpu)?);
    let facts = reader.facts().map_err(|Lost(why)| OpenError::Lost(why))?;
    Ok((facts, reader.faults))
}

/// The GPUs there are, by index, name and UUID.
fn list(nvml: &Nvml, count: u32) -> String {
    // No machine has more, and a wrong count must not take forever.
    let shown = (0..count.min(64)).map(|index| {
        let device = nvml.device_by_index(index);
        let told = device.and_then(|device| Ok((device.name()?, device.uuid()?)));
        match told {
            Ok((name, uuid)) => format!("{index} ({}, {})", one_line(&name), one_line(&uuid)),
            Err(error) => format!("{index} ({})", words(&error)),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(every: Span, length: Option<Span>) -> Options {
        Options { library: None, gpu: GpuChoice::Index(0), every, length }
    }

    #[test]
    fn a_minute_at_a_tenth_of_a_second_is_601_instants() {
        let plan = Plan::of(&options(Span::from_millis(100), Some(Span::from_secs(60))));
        let plan = plan.expect("a plan");
        assert_eq!((plan.last, plan.counters_every), (600, 2));
        assert_eq!(plan.at(600), Duration::from_secs(60));
    }

    #[test]
    fn counters_are_read_more_than_100_ms_apart() {
        for (millis, instants) in [(1, 101), (30, 4), (99, 2), (100, 2), (101, 1), (5_000, 1)] {
            let plan = Plan::of(&options(Span::from_millis(millis), None)).expect("a plan");
            assert_eq!(plan.counters_every, instants, "{millis} ms");
        }
    }

    #[test]
    fn a_slow_reading_skips_instants_and_shifts_none() {
        let plan = Plan::of(&options(Span::from_millis(10), None)).expect("a plan");
        assert_eq!(plan.next(3, Span::from_millis(31)), 4);
        assert_eq!(plan.next(3, Span::from_millis(40)), 5);
        assert_eq!(plan.next(3, Span::from_millis(75)), 8);
        // A clock that is a little behind the instant never reads it twice.
        assert_eq!(plan.next(3, Span::from_micros(29_999)), 4);
    }

    #[test]
    fn what_cannot_be_sampled_is_refused() {
        for (every, length) in [
            (Span::ZERO, None),
            (Span::from_micros(999), None),
            (Span(1_000_000_000_001), None),
            (Span::from_millis(1), Some(Span::MAX)),
        ] {
            let refused = Plan::of(&options(every, length));
            assert!(matches!(refused, Err(OpenError::Options(_))), "{every:?} {length:?}");
        }
    }
}
