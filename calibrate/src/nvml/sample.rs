//! One reading of a device, and the columns that files make of it.
//!
//! Invariants: [`Column::all`] is the one list that every file format follows, so that none can
//! leave out what another has; a sample that is taken apart by [`Column::get`] and put together by
//! [`Column::set`] is the same sample.
//!
//! Deliberately absent: what a file looks like.

use sim::units::{Bytes, Span};
use std::time::Duration;

/// Why clocks are lower than they could be, as NVML names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing runs.
    Idle,
    /// Somebody set application clocks.
    ApplicationClocks,
    /// The power limit is reached.
    PowerCap,
    /// Clocks are halved or worse, for one of the hardware reasons below or in a change of state.
    HardwareSlowdown,
    /// Another GPU of the sync boost group is slower.
    SyncBoost,
    /// The driver lowers clocks because the GPU or its memory is too hot.
    SoftwareThermal,
    /// The hardware does so.
    HardwareThermal,
    /// The power supply asked for it.
    PowerBrake,
    /// Somebody set display clocks.
    DisplayClocks,
    /// A reason this version does not know.
    Other,
}

impl Reason {
    /// All, in the order of NVML's bits.
    pub const ALL: [Reason; 10] = [
        Reason::Idle,
        Reason::ApplicationClocks,
        Reason::PowerCap,
        Reason::HardwareSlowdown,
        Reason::SyncBoost,
        Reason::SoftwareThermal,
        Reason::HardwareThermal,
        Reason::PowerBrake,
        Reason::DisplayClocks,
        Reason::Other,
    ];

    /// Its bit in NVML's `nvmlClocksEventReason…` (nvml.h); all that are left for [`Reason::Other`].
    const fn bits(self) -> u64 {
        match self {
            Reason::Idle => 0x1,
            Reason::ApplicationClocks => 0x2,
            Reason::PowerCap => 0x4,
            Reason::HardwareSlowdown => 0x8,
            Reason::SyncBoost => 0x10,
            Reason::SoftwareThermal => 0x20,
            Reason::HardwareThermal => 0x40,
            Reason::PowerBrake => 0x80,
            Reason::DisplayClocks => 0x100,
            Reason::Other => !0x1ff,
        }
    }

    /// Whether the GPU could be faster and is held back. An idle GPU is not, and neither is one
    /// whose clocks somebody chose.
    #[must_use]
    pub fn is_throttling(self) -> bool {
        match self {
            Reason::PowerCap
            | Reason::HardwareSlowdown
            | Reason::SyncBoost
            | Reason::SoftwareThermal
            | Reason::HardwareThermal
            | Reason::PowerBrake => true,
            Reason::Idle | Reason::ApplicationClocks | Reason::DisplayClocks | Reason::Other => {
                false
            }
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Reason::Idle => "idle",
            Reason::ApplicationClocks => "application clocks",
            Reason::PowerCap => "power cap",
            Reason::HardwareSlowdown => "hardware slowdown",
            Reason::SyncBoost => "sync boost",
            Reason::SoftwareThermal => "software thermal slowdown",
            Reason::HardwareThermal => "hardware thermal slowdown",
            Reason::PowerBrake => "hardware power brake",
            Reason::DisplayClocks => "display clocks",
            Reason::Other => "unknown reason",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Reason::Idle => "throttle_idle",
            Reason::ApplicationClocks => "throttle_application_clocks",
            Reason::PowerCap => "throttle_power_cap",
            Reason::HardwareSlowdown => "throttle_hw_slowdown",
            Reason::SyncBoost => "throttle_sync_boost",
            Reason::SoftwareThermal => "throttle_sw_thermal",
            Reason::HardwareThermal => "throttle_hw_thermal",
            Reason::PowerBrake => "throttle_hw_power_brake",
            Reason::DisplayClocks => "throttle_display_clocks",
            Reason::Other => "throttle_other",
        }
    }
}

/// The reasons in force at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Throttle {
    /// One bit per place in [`Reason::ALL`].
    set: u16,
}

impl Throttle {
    /// From the bits that NVML gives.
    #[must_use]
    pub fn from_nvml(bits: u64) -> Throttle {
        let mut throttle = Throttle::default();
        for reason in Reason::ALL {
            throttle.put(reason, bits & reason.bits() != 0);
        }
        throttle
    }

    /// Whether a reason is in force.
    #[must_use]
    pub fn has(self, reason: Reason) -> bool {
        self.set & (1 << reason as u16) != 0
    }

    /// Whether any reason holds the GPU back.
    #[must_use]
    pub fn is_throttled(self) -> bool {
        Reason::ALL.into_iter().any(|reason| reason.is_throttling() && self.has(reason))
    }

    fn put(&mut self, reason: Reason, holds: bool) {
        let bit = 1 << reason as u16;
        self.set = if holds { self.set | bit } else { self.set & !bit };
    }
}

/// A counter-based metric of NVML's GPU performance monitoring, which Hopper and newer have. Each
/// value is the mean since the last reading of these metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gpm {
    /// Time in which the graphics or compute engine was busy, %.
    Graphics,
    /// Time in which an SM had a warp, mean over the SMs, %.
    Sm,
    /// Warps that were there of those that could be, %.
    Occupancy,
    /// Time on integer operations, %.
    Integer,
    /// Time on any tensor operation, %.
    Tensor,
    /// Time on FP64 tensor operations (DFMA), %.
    DoubleTensor,
    /// Time on FP16, BF16 or FP8 tensor operations (HMMA), %.
    HalfTensor,
    /// Time on integer tensor operations (IMMA), %.
    IntegerTensor,
    /// DRAM bandwidth used, % of the peak.
    Dram,
    /// Time on FP64 operations outside the tensor cores, %.
    Fp64,
    /// Time on FP32 operations outside the tensor cores, %.
    Fp32,
    /// Time on FP16 operations outside the tensor cores, %.
    Fp16,
    /// Sent over PCIe, MiB/s.
    PcieSent,
    /// Received over PCIe, MiB/s.
    PcieReceived,
    /// Received over all NVLinks, MiB/s.
    NvlinkReceived,
    /// Sent over all NVLinks, MiB/s.
    NvlinkSent,
}

impl Gpm {
    /// All, in the order of NVML's numbers.
    pub const ALL: [Gpm; 16] = [
        Gpm::Graphics,
        Gpm::Sm,
        Gpm::Occupancy,
        Gpm::Integer,
        Gpm::Tensor,
        Gpm::DoubleTensor,
        Gpm::HalfTensor,
        Gpm::IntegerTensor,
        Gpm::Dram,
        Gpm::Fp64,
        Gpm::Fp32,
        Gpm::Fp16,
        Gpm::PcieSent,
        Gpm::PcieReceived,
        Gpm::NvlinkReceived,
        Gpm::NvlinkSent,
    ];

    /// Whether it is a share in percent; otherwise it is MiB/s.
    #[must_use]
    pub fn is_percent(self) -> bool {
        !matches!(self, Gpm::PcieSent | Gpm::PcieReceived | Gpm::NvlinkReceived | Gpm::NvlinkSent)
    }

    /// The name of its column, with the unit.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Gpm::Graphics => "gpm_graphics_percent",
            Gpm::Sm => "gpm_sm_percent",
            Gpm::Occupancy => "gpm_sm_occupancy_percent",
            Gpm::Integer => "gpm_integer_percent",
            Gpm::Tensor => "gpm_tensor_percent",
            Gpm::DoubleTensor => "gpm_dfma_tensor_percent",
            Gpm::HalfTensor => "gpm_hmma_tensor_percent",
            Gpm::IntegerTensor => "gpm_imma_tensor_percent",
            Gpm::Dram => "gpm_dram_percent",
            Gpm::Fp64 => "gpm_fp64_percent",
            Gpm::Fp32 => "gpm_fp32_percent",
            Gpm::Fp16 => "gpm_fp16_percent",
            Gpm::PcieSent => "gpm_pcie_tx_mib_per_s",
            Gpm::PcieReceived => "gpm_pcie_rx_mib_per_s",
            Gpm::NvlinkReceived => "gpm_nvlink_rx_mib_per_s",
            Gpm::NvlinkSent => "gpm_nvlink_tx_mib_per_s",
        }
    }
}

/// One reading. A quantity is `None` where the device does not have it or the reading failed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sample {
    /// When the reading began, since the start, in whole microseconds.
    pub at: Span,
    /// The same by the system's clock, since 1970, in whole microseconds.
    pub unix: Duration,
    /// Power in watts; on most GPUs since Ampere the mean of the last second.
    pub power_w: Option<f64>,
    /// Energy in joules since the first reading of the counter.
    pub energy_j: Option<f64>,
    /// Time in which any kernel ran, %.
    pub gpu_percent: Option<f64>,
    /// Time in which the memory was read or written, %.
    pub memory_percent: Option<f64>,
    /// Clock of the SMs in MHz.
    pub sm_mhz: Option<f64>,
    /// Clock of the memory in MHz.
    pub memory_mhz: Option<f64>,
    /// Memory in use, without what the driver reserves.
    pub memory_used: Option<Bytes>,
    /// Temperature of the die in °C.
    pub temperature_c: Option<f64>,
    /// What holds the clocks back.
    pub throttle: Option<Throttle>,
    /// Processes with a compute context.
    pub processes: Option<u64>,
    /// Memory of these processes.
    pub process_memory: Option<Bytes>,
    /// By place in [`Gpm::ALL`].
    pub gpm: [Option<f64>; Gpm::ALL.len()],
}

/// What a cell of a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// A measurement.
    Float(f64),
    /// A count.
    Whole(u64),
    /// Yes or no.
    Flag(bool),
}

/// What the cells of a column hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Cell::Float`].
    Float,
    /// [`Cell::Whole`].
    Whole,
    /// [`Cell::Flag`].
    Flag,
}

/// A column of a file of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// [`Sample::at`], in seconds.
    At,
    /// [`Sample::unix`], in seconds.
    Unix,
    /// [`Sample::power_w`].
    Power,
    /// [`Sample::energy_j`].
    Energy,
    /// [`Sample::gpu_percent`].
    Gpu,
    /// [`Sample::memory_percent`].
    Memory,
    /// [`Sample::sm_mhz`].
    SmClock,
    /// [`Sample::memory_mhz`].
    MemoryClock,
    /// [`Sample::memory_used`].
    MemoryUsed,
    /// [`Sample::temperature_c`].
    Temperature,
    /// [`Sample::processes`].
    Processes,
    /// [`Sample::process_memory`].
    ProcessMemory,
    /// One reason of [`Sample::throttle`].
    Throttle(Reason),
    /// One metric of [`Sample::gpm`].
    Gpm(Gpm),
}

impl Column {
    /// All, in the order of files.
    pub fn all() -> impl Iterator<Item = Column> {
        let plain = [
            Column::At,
            Column::Unix,
            Column::Power,
            Column::Energy,
            Column::Gpu,
            Column::Memory,
            Column::SmClock,
            Column::MemoryClock,
            Column::MemoryUsed,
            Column::Temperature,
            Column::Processes,
            Column::ProcessMemory,
        ];
        let reasons = Reason::ALL.into_iter().map(Column::Throttle);
        plain.into_iter().chain(reasons).chain(Gpm::ALL.into_iter().map(Column::Gpm))
    }

    /// Its name, with the unit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Column::At => "time_s",
            Column::Unix => "unix_s",
            Column::Power => "power_w",
            Column::Energy => "energy_j",
            Column::Gpu => "gpu_percent",
            Column::Memory => "memory_percent",
            Column::SmClock => "sm_clock_mhz",
            Column::MemoryClock => "memory_clock_mhz",
            Column::MemoryUsed => "memory_used_bytes",
            Column::Temperature => "temperature_c",
            Column::Processes => "compute_processes",
            Column::ProcessMemory => "process_memory_bytes",
            Column::Throttle(reason) => reason.column(),
            Column::Gpm(metric) => metric.column(),
        }
    }

    /// What its cells hold.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Column::MemoryUsed | Column::Processes | Column::ProcessMemory => Kind::Whole,
            Column::Throttle(_) => Kind::Flag,
            _ => Kind::Float,
        }
    }

    /// Its cell of a sample.
    #[must_use]
    pub fn get(self, sample: &Sample) -> Option<Cell> {
        let whole = |bytes: Bytes| Cell::Whole(bytes.0);
        match self {
            Column::At => Some(Cell::Float(sample.at.as_secs_f64())),
            Column::Unix => Some(Cell::Float(sample.unix.as_secs_f64())),
            Column::Power => sample.power_w.map(Cell::Float),
            Column::Energy => sample.energy_j.map(Cell::Float),
            Column::Gpu => sample.gpu_percent.map(Cell::Float),
            Column::Memory => sample.memory_percent.map(Cell::Float),
            Column::SmClock => sample.sm_mhz.map(Cell::Float),
            Column::MemoryClock => sample.memory_mhz.map(Cell::Float),
            Column::MemoryUsed => sample.memory_used.map(whole),
            Column::Temperature => sample.temperature_c.map(Cell::Float),
            Column::Processes => sample.processes.map(Cell::Whole),
            Column::ProcessMemory => sample.process_memory.map(whole),
            Column::Throttle(reason) => sample.throttle.map(|t| Cell::Flag(t.has(reason))),
            Column::Gpm(metric) => sample.gpm[metric as usize].map(Cell::Float),
        }
    }

    /// Puts a cell into a sample. A cell of another kind, a number that is not finite and a time
    /// before the start are refused with `false`.
    #[must_use]
    pub fn set(self, sample: &mut Sample, cell: Cell) -> bool {
        let taken = match (self, cell) {
            (_, Cell::Float(value)) if !value.is_finite() => None,
            (Column::At, Cell::Float(value)) => micros(value).map(|at| {
                sample.at = Span::from_micros(at);
            }),
            (Column::Unix, Cell::Float(value)) => micros(value).map(|unix| {
                sample.unix = Duration::from_micros(unix);
            }),
            (_, Cell::Float(value)) => self.float(sample).map(|place| *place = Some(value)),
            (Column::MemoryUsed, Cell::Whole(value)) => {
                sample.memory_used = Some(Bytes(value));
                Some(())
            }
            (Column::Processes, Cell::Whole(value)) => {
                sample.processes = Some(value);
                Some(())
            }
            (Column::ProcessMemory, Cell::Whole(value)) => {
                sample.process_memory = Some(Bytes(value));
                Some(())
            }
            (Column::Throttle(reason), Cell::Flag(holds)) => {
                sample.throttle.get_or_insert_default().put(reason, holds);
                Some(())
            }
            _ => None,
        };
        taken.is_some()
    }

    /// Where its measurement stands in a sample.
    fn float(self, sample: &mut Sample) -> Option<&mut Option<f64>> {
        match self {
            Column::Power => Some(&mut sample.power_w),
            Column::Energy => Some(&mut sample.energy_j),
            Column::Gpu => Some(&mut sample.gpu_percent),
            Column::Memory => Some(&mut sample.memory_percent),
            Column::SmClock => Some(&mut sample.sm_mhz),
            Column::MemoryClock => Some(&mut sample.memory_mhz),
            Column::Temperature => Some(&mut sample.temperature_c),
            Column::Gpm(metric) => Some(&mut sample.gpm[metric as usize]),
            _ => None,
        }
    }
}

/// Whole microseconds, of which a file keeps seconds.
fn micros(seconds: f64) -> Option<u64> {
    // Three centuries: more than either clock will show.
    const MOST: f64 = 1e16;
    let micros = (seconds * 1e6).round();
    (0.0..MOST).contains(&micros).then_some(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_and_a_metric_stand_at_their_own_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
        for (place, metric) in Gpm::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, place);
        }
    }

    #[test]
    fn bits_of_nvml_are_read_by_their_meaning() {
        let both = Throttle::from_nvml(0x1 | 0x40);
        assert!(both.has(Reason::Idle) && both.has(Reason::HardwareThermal));
        assert!(both.is_throttled());
        assert!(!Throttle::from_nvml(0x1 | 0x2 | 0x100).is_throttled());
        let unknown = Throttle::from_nvml(0x8000);
        assert!(unknown.has(Reason::Other) && !unknown.is_throttled());
        assert_eq!(Throttle::from_nvml(0), Throttle::default());
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<&str> = Column::all().map(Column::name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut sample = Sample::default();
        assert!(!Column::Power.set(&mut sample, Cell::Float(f64::NAN)));
        assert!(!Column::At.set(&mut sample, Cell::Float(-1.0)));
        assert!(!Column::At.set(&mut sample, Cell::Float(1e300)));
        assert!(!Column::Power.set(&mut sample, Cell::Whole(3)));
        assert!(!Column::Processes.set(&mut sample, Cell::Flag(true)));
        assert_eq!(sample, Sample::default());
    }
}
