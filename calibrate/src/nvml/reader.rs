//! Asks a device: what it is, and what it does now.
//!
//! Invariants: a value is believed only within the bounds below, which no GPU leaves; energy never
//! falls; metrics of performance monitoring span more than the 100 ms for which NVML keeps its
//! counters.
//!
//! Deliberately absent: threads and clocks (see [`super::sampler`]).

use super::facts::DeviceFacts;
use super::faults::{Fault, Faults, Lost, one_line};
use super::sample::{Gpm, Sample, Throttle};
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::{Bits, NvmlError};
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};
use sim::units::{Bytes, Span};
use std::collections::BTreeMap;
use std::time::Duration;

/// The strongest module there is takes under 3 kW.
const MOST_WATTS: f64 = 10_000.0;
/// Memory of 2026 is clocked at 14 GHz.
const MOST_MHZ: u32 = 100_000;
/// Solder melts first.
const MOST_DEGREES: u32 = 200;
/// Above 100 by the tolerance of two counters that are divided.
const MOST_PERCENT: f64 = 101.0;
/// A link of 100 TiB/s in MiB/s.
const MOST_MIB_PER_S: f64 = 104_857_600.0;
/// Contexts that a GPU can hold at once are far fewer.
const MOST_PROCESSES: u32 = 65_536;
/// An energy counter may stand still for this long and then catch up.
const ENERGY_LAG_S: f64 = 1.0;

/// Asks one device.
pub(super) struct Reader<'nvml> {
    nvml: &'nvml Nvml,
    device: Device<'nvml>,
    memory: Option<Bytes>,
    energy: Option<Counter>,
    counters: Option<GpmSample<'nvml>>,
    pub(super) faults: Faults,
    /// Units of the metrics, as NVML says them.
    pub(super) units: BTreeMap<String, String>,
}

/// An energy counter in millijoules.
struct Counter {
    first: u64,
    last: u64,
    at: Span,
}

impl<'nvml> Reader<'nvml> {
    pub(super) fn new(nvml: &'nvml Nvml, device: Device<'nvml>) -> Self {
        Reader {
            nvml,
            device,
            memory: None,
            energy: None,
            counters: None,
            faults: Faults::default(),
            units: BTreeMap::new(),
        }
    }

    /// Asks for a quantity, unless the device is known not to have it.
    fn ask<T>(
        &mut self,
        field: &'static str,
        at: Span,
        call: impl FnOnce(&Device<'nvml>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Lost> {
        if self.faults.is_missing(field) {
            return Ok(None);
        }
        self.faults.judge(field, at, call(&self.device))
    }

    /// What the device is.
    pub(super) fn facts(&mut self) -> Result<DeviceFacts, Lost> {
        let nvml = self.nvml;
        let limit = |milliwatts: u32| watts(milliwatts);
        let mut facts = DeviceFacts {
            index: self.fact("index", |d| Ok(u64::from(d.index()?)))?,
            name: self.fact("name", |d| Ok(one_line(&d.name()?)))?,
            uuid: self.fact("uuid", |d| Ok(one_line(&d.uuid()?)))?,
            architecture: self.fact("architecture", |d| Ok(d.architecture()?.to_string()))?,
            driver: self.fact("driver", |_| Ok(one_line(&nvml.sys_driver_version()?)))?,
            nvml: self.fact("nvml", |_| Ok(one_line(&nvml.sys_nvml_version()?)))?,
            cuda_driver: self.fact("cuda_driver", |_| {
                let version = nvml.sys_cuda_driver_version()?;
                let major = cuda_driver_version_major(version);
                Ok(format!("{major}.{}", cuda_driver_version_minor(version)))
            })?,
            memory: self.fact("memory_bytes", |d| Ok(Bytes(d.memory_info()?.total)))?,
            cores: self.fact("cores", |d| Ok(u64::from(d.num_cores()?)))?,
            power_limit_w: self.fact("power_limit_w", |d| limit(d.enforced_power_limit()?))?,
            power_limit_default_w: self
                .fact("power_limit_default_w", |d| limit(d.power_management_limit_default()?))?,
            sm_max_mhz: self.fact("sm_max_mhz", |d| mhz(d.max_clock_info(Clock::SM)?))?,
            memory_max_mhz: self
                .fact("memory_max_mhz", |d| mhz(d.max_clock_info(Clock::Memory)?))?,
            mig: self.fact("mig", |d| Ok(d.mig_mode()?.current != 0))?,
            ..DeviceFacts::default()
        };
        let limits = self.fact("power_limit_min_w", |d| {
            let limits = d.power_management_limit_constraints()?;
            Ok((watts(limits.min_limit)?, watts(limits.max_limit)?))
        })?;
        facts.power_limit_min_w = limits.map(|(least, _)| least);
        facts.power_limit_max_w = limits.map(|(_, most)| most);
        Ok(facts)
    }

    fn fact<T>(
        &mut self,
        field: &'static str,
        call: impl FnOnce(&Device<'nvml>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Lost> {
        self.ask(field, Span::ZERO, call)
    }

    /// Reads everything once; the counters of performance monitoring only on demand, which must be
    /// more than 100 ms after the last time or [`Reader::start`].
    pub(super) fn sample(
        &mut self,
        at: Span,
        unix: Duration,
        with_counters: bool,
    ) -> Result<Sample, Lost> {
        let energy = self.ask("energy", at, |d| Ok(d.total_energy_consumption()?))?;
        let energy_j = match energy {
            Some(millijoules) => self.energy(millijoules, at)?,
            None => None,
        };
        let power_w = self.ask("power", at, |d| watts(d.power_usage()?))?;
        let utilisation = self.ask("utilisation", at, |d| {
            let rates = d.utilization_rates()?;
            Ok((percent(f64::from(rates.gpu))?, percent(f64::from(rates.memory))?))
        })?;
        let sm_mhz = self.ask("sm_clock", at, |d| mhz(d.clock_info(Clock::SM)?))?;
        let memory_mhz = self.ask("memory_clock", at, |d| mhz(d.clock_info(Clock::Memory)?))?;
        let total = self.memory;
        let memory_used = self.ask("memory", at, |d| used(d.memory_info()?.used, total))?;
        let temperature_c =
            self.ask("temperature", at, |d| degrees(d.temperature(TemperatureSensor::Gpu)?))?;
        let throttle = self.ask("throttle", at, throttle)?;
        let processes = self.ask("processes", at, |d| processes(d, total))?;
        let gpm = if with_counters { self.metrics(at)? } else { [None; Gpm::ALL.len()] };
        Ok(Sample {
            at,
            unix,
            power_w,
            energy_j,
            gpu_percent: utilisation.map(|(gpu, _)| gpu),
            memory_percent: utilisation.map(|(_, memory)| memory),
            sm_mhz,
            memory_mhz,
            memory_used,
            temperature_c,
            throttle,
            processes: processes.map(|(count, _)| count),
            process_memory: processes.and_then(|(_, memory)| memory),
            gpm,
        })
    }

    /// Energy since the first reading in joules, from the counter since the driver was loaded.
    fn energy(&mut self, millijoules: u64, at: Span) -> Result<Option<f64>, Lost> {
        let counter =
            self.energy.get_or_insert(Counter { first: millijoules, last: millijoules, at });
        let seconds = Span(at.0.saturating_sub(counter.at.0)).as_secs_f64() + ENERGY_LAG_S;
        let answer = match millijoules.checked_sub(counter.last) {
            None => Err(Fault::Garbage("the counter went back".to_owned())),
            Some(more) if more as f64 > MOST_WATTS * 1e3 * seconds => {
                Err(Fault::Garbage(format!("the counter rose by {more} mJ at once")))
            }
            Some(_) => {
                counter.last = millijoules;
                counter.at = at;
                Ok((millijoules - counter.first) as f64 / 1e3)
            }
        };
        self.faults.judge("energy", at, answer)
    }

    /// Before the first sample: `memory` is what the device has, and the counters of performance
    /// monitoring are read for the first time, if it has them.
    pub(super) fn start(&mut self, memory: Option<Bytes>) -> Result<(), Lost> {
        self.memory = memory.filter(|memory| memory.0 > 0);
        // The wrapper frees a sample whenever it goes, and panics if it cannot.
        if self.nvml.lib().nvmlGpmSampleFree.is_err() {
            self.faults.miss("gpm", "this version of NVML does not have it");
            return Ok(());
        }
        let supported = self.ask("gpm", Span::ZERO, |d| match d.gpm_support()? {
            true => Ok(d.gpm_sample()?),
            false => Err(Fault::Nvml(NvmlError::NotSupported)),
        })?;
        self.counters = supported;
        Ok(())
    }

    /// The metrics since the last reading of the counters.
    fn metrics(&mut self, at: Span) -> Result<[Option<f64>; Gpm::ALL.len()], Lost> {
        let mut values = [None; Gpm::ALL.len()];
        let Some(now) = self.ask("gpm", at, |d| Ok(d.gpm_sample()?))? else { return Ok(values) };
        let Some(before) = self.counters.replace(now) else { return Ok(values) };
        let Some(now) = &self.counters else { return Ok(values) };
        let wanted: Vec<Gpm> =
            Gpm::ALL.into_iter().filter(|gpm| !self.faults.is_missing(gpm.column())).collect();
        if wanted.is_empty() {
            return Ok(values);
        }
        let ids: Vec<GpmMetricId> = wanted.iter().map(|&metric| id(metric)).collect();
        let answer = gpm_metrics_get(self.nvml, &before, now, &ids).map_err(Fault::Nvml);
        let Some(answers) = self.faults.judge("gpm", at, answer)? else { return Ok(values) };
        for (metric, answer) in wanted.into_iter().zip(answers) {
            let value = answer.map_err(Fault::Nvml).and_then(|result| {
                let unit = one_line(&result.metric_info.unit);
                if !unit.is_empty() && !self.units.contains_key(metric.column()) {
                    self.units.insert(metric.column().to_owned(), unit);
                }
                if metric.is_percent() { percent(result.value) } else { rate(result.value) }
            });
            values[metric as usize] = self.faults.judge(metric.column(), at, value)?;
        }
        Ok(values)
    }
}

fn id(metric: Gpm) -> GpmMetricId {
    match metric {
        Gpm::Graphics => GpmMetricId::GraphicsUtil,
        Gpm::Sm => GpmMetricId::SmUtil,
        Gpm::Occupancy => GpmMetricId::SmOccupancy,
        Gpm::Integer => GpmMetricId::IntegerUtil,
        Gpm::Tensor => GpmMetricId::AnyTensorUtil,
        Gpm::DoubleTensor => GpmMetricId::DfmaTensorUtil,
        Gpm::HalfTensor => GpmMetricId::HmmaTensorUtil,
        Gpm::IntegerTensor => GpmMetricId::ImmaTensorUtil,
        Gpm::Dram => GpmMetricId::DramBwUtil,
        Gpm::Fp64 => GpmMetricId::Fp64Util,
        Gpm::Fp32 => GpmMetricId::Fp32Util,
        Gpm::Fp16 => GpmMetricId::Fp16Util,
        Gpm::PcieSent => GpmMetricId::PcieTxPerSec,
        Gpm::PcieReceived => GpmMetricId::PcieRxPerSec,
        Gpm::NvlinkReceived => GpmMetricId::NvlinkTotalRxPerSec,
        Gpm::NvlinkSent => GpmMetricId::NvlinkTotalTxPerSec,
    }
}

fn garbage<T>(what: String) -> Result<T, Fault> {
    Err(Fault::Garbage(what))
}

fn watts(milliwatts: u32) -> Result<f64, Fault> {
    let watts = f64::from(milliwatts) / 1e3;
    if watts > MOST_WATTS { garbage(format!("{watts} W is no power of a GPU")) } else { Ok(watts) }
}

fn mhz(mhz: u32) -> Result<f64, Fault> {
    if mhz > MOST_MHZ { garbage(format!("{mhz} MHz is no clock")) } else { Ok(f64::from(mhz)) }
}

fn degrees(degrees: u32) -> Result<f64, Fault> {
    if degrees > MOST_DEGREES {
        return garbage(format!("{degrees} °C is no temperature of a GPU"));
    }
    Ok(f64::from(degrees))
}

fn percent(value: f64) -> Result<f64, Fault> {
    let fits = (0.0..=MOST_PERCENT).contains(&value);
    if fits { Ok(value) } else { garbage(format!("{value} is no percentage")) }
}

fn rate(value: f64) -> Result<f64, Fault> {
    let fits = (0.0..=MOST_MIB_PER_S).contains(&value);
    if fits { Ok(value) } else { garbage(format!("{value} MiB/s is no rate of a link")) }
}

fn used(used: u64, total: Option<Bytes>) -> Result<Bytes, Fault> {
    match total {
        Some(total) if used > total.0 => {
            garbage(format!("{used} bytes are more than the GPU has, {}", total.0))
        }
        _ => Ok(Bytes(used)),
    }
}

fn throttle(device: &Device<'_>) -> Result<Throttle, Fault> {
    // The strict call tells bits that the wrapper has no name for; the other drops them.
    match device.current_throttle_reasons_strict() {
        Ok(reasons) => Ok(Throttle::from_nvml(reasons.bits())),
        Err(NvmlError::IncorrectBits(Bits::U64(bits))) => Ok(Throttle::from_nvml(bits)),
        Err(error) => Err(Fault::Nvml(error)),
    }
}

/// How many compute processes there are, and their memory where NVML tells it.
fn processes(device: &Device<'_>, total: Option<Bytes>) -> Result<(u64, Option<Bytes>), Fault> {
    // Room is made for as many as are announced, so the number is looked at first.
    let announced = device.running_compute_processes_count()?;
    if announced > MOST_PROCESSES {
        return garbage(format!("{announced} processes cannot share a GPU"));
    }
    let listed = device.running_compute_processes()?;
    let memory = listed.iter().try_fold(0u64, |sum, process| match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => sum.checked_add(bytes),
        UsedGpuMemory::Unavailable => None,
    });
    let memory = memory.map(|memory| used(memory, total)).transpose()?;
    Ok((listed.len() as u64, memory))
}
