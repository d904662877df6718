//! What a device is, as its driver says.
//!
//! Invariants: a fact that the driver does not tell is absent, never guessed; a fact survives the
//! way through the metadata of a file.
//!
//! Deliberately absent: the catalogue's facts about the same GPU (see [`crate::gpu`]).

use sim::units::Bytes;

/// A device and its driver.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct DeviceFacts {
    /// Place among the GPUs that NVML lists, which is by PCI address and not the order of CUDA.
    pub index: Option<u64>,
    /// Such as `NVIDIA H100 80GB HBM3`.
    pub name: Option<String>,
    /// The same in every process and after every boot.
    pub uuid: Option<String>,
    /// Such as `Hopper`.
    pub architecture: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// Version of the library.
    pub nvml: Option<String>,
    /// Highest CUDA version the driver serves, such as `12.8`.
    pub cuda_driver: Option<String>,
    /// Memory in all, with what the driver reserves.
    pub memory: Option<Bytes>,
    /// CUDA cores.
    pub cores: Option<u64>,
    /// Power limit in force, watts.
    pub power_limit_w: Option<f64>,
    /// Power limit after a reset, watts.
    pub power_limit_default_w: Option<f64>,
    /// Lowest limit that can be set, watts.
    pub power_limit_min_w: Option<f64>,
    /// Highest limit that can be set, watts.
    pub power_limit_max_w: Option<f64>,
    /// Highest clock of the SMs, MHz.
    pub sm_max_mhz: Option<f64>,
    /// Highest clock of the memory, MHz.
    pub memory_max_mhz: Option<f64>,
    /// Whether the GPU is cut into instances (MIG).
    pub mig: Option<bool>,
}

impl DeviceFacts {
    /// What is known, as names and values.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<f64>| value.map(|value| value.to_string());
        let whole = |value: Option<u64>| value.map(|value| value.to_string());
        [
            ("index", whole(self.index)),
            ("name", self.name.clone()),
            ("uuid", self.uuid.clone()),
            ("architecture", self.architecture.clone()),
            ("driver", self.driver.clone()),
            ("nvml", self.nvml.clone()),
            ("cuda_driver", self.cuda_driver.clone()),
            ("memory_bytes", whole(self.memory.map(|bytes| bytes.0))),
            ("cores", whole(self.cores)),
            ("power_limit_w", number(self.power_limit_w)),
            ("power_limit_default_w", number(self.power_limit_default_w)),
            ("power_limit_min_w", number(self.power_limit_min_w)),
            ("power_limit_max_w", number(self.power_limit_max_w)),
            ("sm_max_mhz", number(self.sm_max_mhz)),
            ("memory_max_mhz", number(self.memory_max_mhz)),
            ("mig", self.mig.map(|mig| mig.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// Takes one fact back; `false` for a name or a value that is none.
    #[must_use]
    pub(super) fn take(&mut self, name: &str, value: &str) -> bool {
        fn put<T: std::str::FromStr>(place: &mut Option<T>, value: &str) -> bool {
            *place = value.parse().ok();
            place.is_some()
        }
        let finite = |place: &mut Option<f64>| {
            *place = value.parse().ok().filter(|value: &f64| value.is_finite());
            place.is_some()
        };
        match name {
            "index" => put(&mut self.index, value),
            "name" => put(&mut self.name, value),
            "uuid" => put(&mut self.uuid, value),
            "architecture" => put(&mut self.architecture, value),
            "driver" => put(&mut self.driver, value),
            "nvml" => put(&mut self.nvml, value),
            "cuda_driver" => put(&mut self.cuda_driver, value),
            "memory_bytes" => {
                self.memory = value.parse().ok().map(Bytes);
                self.memory.is_some()
            }
            "cores" => put(&mut self.cores, value),
            "power_limit_w" => finite(&mut self.power_limit_w),
            "power_limit_default_w" => finite(&mut self.power_limit_default_w),
            "power_limit_min_w" => finite(&mut self.power_limit_min_w),
            "power_limit_max_w" => finite(&mut self.power_limit_max_w),
            "sm_max_mhz" => finite(&mut self.sm_max_mhz),
            "memory_max_mhz" => finite(&mut self.memory_max_mhz),
            "mig" => put(&mut self.mig, value),
            _ => false,
        }
    }
}
