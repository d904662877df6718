//! Places outside our pools: hosted APIs, provisioned capacity, devices, tools.
//!
//! Invariants: every number is written, a documented default, or a row of the catalogue with its
//! source in the provenance; prices per token are whole pico-dollars.
//!
//! Deliberately absent: guessed prices and rate limits; a price is written or quoted.

use super::Resolver;
use super::traffic::stream_key;
use crate::file::{
    IncidentFile, LimitsFile, PlaceFile, ProvisionedFile, RemoteFile, StationFile, ToolFile,
};
use crate::problem::{At, Problem, ProblemKind, Site};
use sim::backends::{
    Answering, Bucket, ColdStart, DeviceClass, Incident, Limits, Meter, PromptCache, RemoteKind,
    RemotePrice, RemoteSpec, Station, ToolSpec,
};
use sim::ids::Backend;
use sim::units::{Money, Span, Time};

mod hosted;

/// Tokens that prices are quoted for.
const PER_MILLION: i128 = 1_000_000;

impl Resolver<'_> {
    /// Remotes in the order of their ids; `None` where a problem was reported.
    pub(super) fn remotes(&self) -> Vec<Option<RemoteSpec>> {
        let file = self.file;
        let all = file.providers.iter().chain(&file.provisioned).chain(&file.devices);
        all.map(|(name, remote)| self.remote(name, remote)).collect()
    }

    fn remote(&self, name: &At<String>, file: &RemoteFile) -> Option<RemoteSpec> {
        let row = match &file.place {
            PlaceFile::Hosted(hosted) => match &hosted.catalog {
                Some(catalog) => Some(self.catalogue_row(catalog)?),
                None => None,
            },
            _ => None,
        };
        let facts = hosted::Facts { resolver: self, name, row };
        let ttft = facts.duration("ttft", &file.ttft, |row| &row.ttft);
        let tpot = facts.duration("tpot", &file.tpot, |row| &row.tpot);
        facts.warn_of_stand_ins(&file.ttft, &file.tpot);
        let max_context = facts.context(&file.max_context);
        let (kind, price) = match &file.place {
            PlaceFile::Hosted(hosted) => (RemoteKind::Hosted, facts.meter(hosted)),
            PlaceFile::Provisioned(rented) => (RemoteKind::Provisioned, self.hourly(rented)),
            PlaceFile::Device(_) => (RemoteKind::Device, Some(RemotePrice::Free)),
        };
        let units = match &file.place {
            PlaceFile::Provisioned(rented) => rented.units.as_ref().map_or(1, |u| u.value),
            _ => 1,
        };
        Some(RemoteSpec {
            name: name.value.clone(),
            key: stream_key(&name.value),
            kind,
            answering: Answering {
                ttft: ttft?,
                per_input_token: file.per_input_token.as_ref()?.value,
                tpot: tpot?,
                slowness: file.hourly.iter().map(|&(at, f)| (Time::ZERO.after(at), f)).collect(),
            },
            station: station(&file.station, units),
            limits: limits(&file.limits, units),
            error_rate: file.error_rate.as_ref()?.value,
            incidents: self.incidents(&file.incidents)?,
            cold_start: match &file.place {
                PlaceFile::Provisioned(rented) => self.cold_start(rented)?,
                _ => None,
            },
            prompt_cache: match &file.prompt_cache {
                Some(cache) => Some(PromptCache {
                    ttl: cache.ttl.as_ref()?.value,
                    min_tokens: cache.min_tokens.as_ref()?.value,
                    granularity: cache.granularity.as_ref()?.value,
                    capacity: cache.capacity.as_ref()?.value,
                }),
                None => facts.prompt_cache(),
            },
            devices: self.classes(file)?,
            max_context: max_context?,
            price: price?,
        })
    }

    /// Capacity rented by the hour.
    fn hourly(&self, file: &ProvisionedFile) -> Option<RemotePrice> {
        let asleep_free = file.scale_to_zero.as_ref().filter(|free| free.value);
        if let (Some(free), None) = (asleep_free, &file.cold_start) {
            let message = "what never sleeps cannot scale to zero";
            let problem = Problem::new(ProblemKind::Conflict, &free.site, message);
            self.push(problem.help("say when it sleeps in cold_start = { start, idle_after }"));
            return None;
        }
        let price = file.price.as_ref()?;
        let sleeps = file.cold_start.as_ref().is_some_and(|cold| cold.idle_after.is_some());
        Some(RemotePrice::Hourly {
            units: file.units.as_ref()?.value,
            per_unit_hour: discounted(price.value, file.discount.as_ref()),
            asleep_free: file.scale_to_zero.as_ref().map_or(sleeps, |free| free.value),
        })
    }

    fn cold_start(&self, file: &ProvisionedFile) -> Option<Option<ColdStart>> {
        let Some(cold) = &file.cold_start else { return Some(None) };
        let asleep_free = file.scale_to_zero.as_ref().filter(|free| free.value);
        if let (Some(free), None) = (asleep_free, &cold.idle_after) {
            let message = "without `idle_after` it never sleeps again";
            self.refuse(ProblemKind::Conflict, &free.site, message);
            return None;
        }
        // Whoever pays for the night is awake from the start.
        if file.scale_to_zero.as_ref().is_some_and(|free| !free.value) {
            return Some(None);
        }
        let idle_after = cold.idle_after.as_ref().map(|idle| idle.value);
        Some(Some(ColdStart { start: cold.start.clone(), idle_after }))
    }

    fn classes(&self, file: &RemoteFile) -> Option<Vec<DeviceClass>> {
        let PlaceFile::Device(classes) = &file.place else { return Some(Vec::new()) };
        if classes.is_empty() {
            let site = file.site.child("classes");
            self.refuse(ProblemKind::MissingKey, &site, "there is no class of device");
            return None;
        }
        let total: f64 =
            classes.iter().filter_map(|class| class.share.as_ref()).map(|share| share.value).sum();
        // Shares such as 0.1 + 0.2 + 0.7 exceed one by rounding.
        if total > 1.0 + 1e-9 {
            let message = format!("the shares of the classes sum to {total}, more than all users");
            self.refuse(ProblemKind::Conflict, &file.site.child("classes"), message);
            return None;
        }
        let class = |class: &crate::file::DeviceClassFile| {
            Some(DeviceClass {
                name: class.name.as_ref()?.value.clone(),
                share: class.share.as_ref()?.value / total.max(1.0),
                slowness: class.slowness.as_ref()?.value,
                throttled: class.throttled.as_ref()?.value,
                throttled_slowness: class.throttled_slowness.as_ref()?.value,
            })
        };
        classes.iter().map(class).collect()
    }

    fn incidents(&self, files: &[IncidentFile]) -> Option<Vec<Incident>> {
        let incident = |file: &IncidentFile| {
            Some(Incident {
                at: Time::ZERO.after(file.at.as_ref()?.value),
                length: file.length.as_ref()?.value,
                error_rate: file.error_rate.as_ref()?.value,
                slowness: file.slowness.as_ref()?.value,
                error_after: file.error_after.as_ref()?.value,
            })
        };
        files.iter().map(incident).collect()
    }

    /// Tools in the order of the file; `None` where a problem was reported.
    pub(super) fn tools(&self) -> Vec<Option<ToolSpec>> {
        self.file.tools.iter().map(|(name, tool)| self.tool(name, tool)).collect()
    }

    fn tool(&self, name: &At<String>, file: &ToolFile) -> Option<ToolSpec> {
        Some(ToolSpec {
            name: name.value.clone(),
            key: stream_key(&name.value),
            cost: file.cost.as_ref()?.value,
            latency: file.latency.clone()?,
            station: station(&file.station, 1),
            error_rate: file.error_rate.as_ref()?.value,
            incidents: self.incidents(&file.incidents)?,
            per_call: file.per_call.as_ref()?.value,
            per_hour: file.per_hour.as_ref()?.value,
        })
    }

    /// Warns of backends and tools that nothing uses, and of what is paid for them all the same.
    pub(super) fn check_backend_use(
        &self,
        backends: &std::collections::BTreeSet<Backend>,
        tools: &std::collections::BTreeSet<usize>,
    ) {
        for (name, backend) in super::names::backends(self.file) {
            if !backends.contains(&backend) {
                let what = if matches!(backend, Backend::Pool(_)) { "pool" } else { "backend" };
                let unused =
                    format!("no task that traffic starts calls a model that this {what} serves");
                let rented = match backend {
                    Backend::Pool(_) => true,
                    Backend::Remote(remote) => {
                        let spec = self.remotes.get(remote.index()).and_then(Option::as_ref);
                        let price = spec.map(|spec| &spec.price);
                        matches!(price, Some(RemotePrice::Hourly { asleep_free: false, .. }))
                    }
                };
                let billed = if rented { ", and it is billed all the same" } else { "" };
                self.warn(&name.site, unused + billed);
            }
        }
        for (at, (name, _)) in self.file.tools.iter().enumerate() {
            if !tools.contains(&at) {
                self.warn(&name.site, "no task uses this tool".to_owned());
            }
        }
    }

    /// A price of a million tokens as that of one.
    fn per_token(&self, price: Money, site: &Site) -> Option<Money> {
        if price.0 % PER_MILLION != 0 {
            let message = "the price of one token is finer than a pico-dollar";
            self.refuse(ProblemKind::BadValue, site, message);
            return None;
        }
        Some(Money(price.0 / PER_MILLION))
    }
}

/// A price less a share of it, rounded down to the pico-dollar.
fn discounted(price: Money, discount: Option<&At<f64>>) -> Money {
    let millionths = discount.map_or(0.0, |discount| libm::round(discount.value * 1e6)) as i128;
    Money(price.0 * (PER_MILLION - millionths) / PER_MILLION)
}

fn station(file: &StationFile, units: u32) -> Station {
    Station {
        servers: file.concurrency.as_ref().map(|count| count.value.saturating_mul(units)),
        queue_limit: file.queue_limit.as_ref().map(|limit| limit.value),
        discipline: file.discipline.as_ref().map(|who| who.value).unwrap_or_default(),
    }
}

/// Token buckets; of provisioned capacity each unit has what is written.
fn limits(file: &LimitsFile, units: u32) -> Limits {
    let burst = file.burst.as_ref().map_or(Span::from_secs(60), |burst| burst.value);
    let bucket = |at: &Option<At<i64>>| {
        let per_minute = at.as_ref()?.value.unsigned_abs().saturating_mul(units.into());
        let part = burst.as_secs_f64() / 60.0;
        // Below 2^53, so that the product is exact enough; a bucket holds one unit at least.
        let burst = (per_minute as f64 * part) as u64;
        Some(Bucket { per_minute, burst: burst.max(1) })
    };
    Limits {
        requests: bucket(&file.rpm),
        tokens: bucket(&file.tpm),
        input_tokens: bucket(&file.input_tpm),
        output_tokens: bucket(&file.output_tpm),
    }
}

/// A meter whose every part has its discount.
fn meter(
    [input, cached_input, cache_write, output]: [Money; 4],
    call: Money,
    off: Option<&At<f64>>,
) -> RemotePrice {
    RemotePrice::Metered(Meter {
        input: discounted(input, off),
        cached_input: discounted(cached_input, off),
        cache_write: discounted(cache_write, off),
        output: discounted(output, off),
        call,
    })
}
