//! What a GPU did while it was sampled, as text for a terminal and as JSON, `surgeline.nvml/1`.
//!
//! Invariants: both say the same; a number whose quantity was not read is left out of the text and
//! `null` in JSON, and the list of what is missing says why.
//!
//! Deliberately absent: the samples, which go into files of their own.

use crate::format::{Unit, number, span, thousands};
use crate::json::text as to_json;
use calibrate::nvml::{
    DeviceFacts, Ended, EnergySource, Gpm, JOULES_PER_KWH, Power, PowerCost, Profile, SlowGpu,
    Summary, Throttled,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.nvml/1";

/// For people: one line a quantity, then what should make them look twice; `cost` where the price of
/// a kilowatt-hour was told.
#[must_use]
pub fn text(profile: &Profile, summary: &Summary, cost: Option<PowerCost>) -> String {
    let facts = &profile.facts;
    let mut out = heading(profile, summary);
    let cost = cost.map(|cost| ("Power cost", power_cost(cost)));
    for (name, value) in lines(facts, summary).into_iter().chain(cost) {
        out += &format!("  {name:<17} {value}\n");
    }
    let warnings = warnings(facts, summary);
    let failed = failed(profile);
    if !warnings.is_empty() || !failed.is_empty() {
        out.push('\n');
    }
    for warning in warnings {
        out += &format!("Slow GPU: {warning}\n");
    }
    for line in failed {
        out += &line;
        out.push('\n');
    }
    out
}

fn power_cost(cost: PowerCost) -> String {
    let dollars = |value| number(value, Unit::Dollars);
    let tokens = cost.per_million_tokens;
    let tokens = tokens.map(|of| format!(", {} a million tokens", dollars(of)));
    format!("{} an hour{}", dollars(cost.per_hour), tokens.unwrap_or_default())
}

fn heading(profile: &Profile, summary: &Summary) -> String {
    let facts = &profile.facts;
    let mut out = facts.name.clone().unwrap_or_else(|| "GPU without a name".to_owned());
    let rest = [
        facts.index.map(|index| format!("GPU {index}")),
        facts.uuid.clone(),
        facts.driver.as_ref().map(|driver| format!("driver {driver}")),
    ];
    for known in rest.into_iter().flatten() {
        out += &format!(", {known}");
    }
    let samples = summary.samples as u64;
    out += &format!(
        "\n{} {} in {}, every {}",
        thousands(&samples.to_string()),
        if samples == 1 { "sample" } else { "samples" },
        span(summary.length),
        span(profile.every)
    );
    if profile.skipped > 0 {
        out += &format!("; {} left out, the readings took too long", profile.skipped);
    }
    match &profile.ended {
        Ended::Complete => {}
        Ended::Stopped => out += "; stopped early",
        Ended::Lost(why) => out += &format!("; then the GPU was lost: {why}"),
    }
    out + "\n\n"
}

/// Names and values of what is known.
fn lines(facts: &DeviceFacts, summary: &Summary) -> Vec<(&'static str, String)> {
    let joined = |parts: [Option<String>; 3]| {
        let known: Vec<String> = parts.into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join(", "))
    };
    let gib = |bytes: sim::units::Bytes| bytes.0 as f64 / f64::from(1u32 << 30);
    let per_token = summary.joules_per_token.map(|joules| {
        let kwh = plain(joules * 1e6 / JOULES_PER_KWH);
        format!("{} J; {kwh} kWh a million", plain(joules))
    });
    let known = [
        (
            "Power",
            summary.power.map(|Power { mean_w, max_w }| {
                let limit = facts.power_limit_w.map(|w| format!(", limit {} W", plain(w)));
                let limit = limit.unwrap_or_default();
                format!("{} W mean, {} W at most{limit}", plain(mean_w), plain(max_w))
            }),
        ),
        (
            "Energy",
            summary.energy.map(|energy| {
                let (joules, over) = (plain(energy.joules), span(energy.over));
                format!("{joules} J in {over}, {}", source(energy.source))
            }),
        ),
        ("Energy per token", per_token),
        ("Throttled", summary.throttled.as_ref().map(throttled)),
        (
            "SM clock",
            joined([
                summary.sm_mhz.map(|mhz| format!("{} MHz mean", whole(mhz))),
                summary.loaded_sm_mhz.map(|mhz| format!("{} MHz under load", whole(mhz))),
                facts.sm_max_mhz.map(|mhz| format!("highest {} MHz", whole(mhz))),
            ])
            .filter(|_| summary.sm_mhz.is_some()),
        ),
        ("Memory clock", summary.memory_mhz.map(|mhz| format!("{} MHz mean", whole(mhz)))),
        (
            "Utilisation",
            joined([
                summary.gpu_percent.map(|percent| format!("{} % GPU", plain(percent))),
                summary.memory_percent.map(|percent| format!("{} % memory", plain(percent))),
                None,
            ]),
        ),
        (
            "Memory used",
            summary.memory_used.map(|used| {
                let of = facts.memory.map(|all| format!(" of {} GiB", plain(gib(all))));
                format!("{} GiB at most{}", plain(gib(used)), of.unwrap_or_default())
            }),
        ),
        ("Temperature", summary.temperature_c.map(|c| format!("{} °C at most", whole(c)))),
        ("Counters, mean", counters(summary)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn source(source: EnergySource) -> &'static str {
    match source {
        EnergySource::Counter => "by the device's counter",
        EnergySource::Power => "added up from power",
    }
}

fn throttled(throttled: &Throttled) -> String {
    let share = number(throttled.share, Unit::Share);
    let reasons = throttled.by_reason.iter();
    let reasons: Vec<String> = reasons
        .map(|(reason, share)| format!("{} {}", reason.words(), number(*share, Unit::Share)))
        .collect();
    let in_force = if reasons.is_empty() { String::new() } else { "; in force: ".to_owned() };
    format!("{share} of the time{in_force}{}", reasons.join(", "))
}

/// The metrics of performance monitoring that say most of an inference engine.
fn counters(summary: &Summary) -> Option<String> {
    let shown = [
        (Gpm::Sm, "SM"),
        (Gpm::Occupancy, "occupancy"),
        (Gpm::Tensor, "tensor"),
        (Gpm::Dram, "DRAM"),
    ];
    let known: Vec<String> = shown
        .iter()
        .filter_map(|(wanted, name)| {
            let (_, mean) = summary.gpm.iter().find(|(gpm, _)| gpm == wanted)?;
            Some(format!("{name} {} %", plain(*mean)))
        })
        .collect();
    (!known.is_empty()).then(|| known.join(", "))
}

/// Why the GPU looks slow, and what to look at.
#[must_use]
pub fn warnings(facts: &DeviceFacts, summary: &Summary) -> Vec<String> {
    let lowered = match (facts.power_limit_w, facts.power_limit_default_w) {
        (Some(limit), Some(default)) if limit < default => {
            format!(" Its power limit is {} W, by default {} W.", plain(limit), plain(default))
        }
        _ => String::new(),
    };
    let warning = |slow: &SlowGpu| match slow {
        SlowGpu::Throttled { share, most } => format!(
            "it is held back for {} of the time, longest by {}.{lowered}",
            number(*share, Unit::Share),
            most.words()
        ),
        SlowGpu::LowClock { median_mhz, max_mhz } => format!(
            "under load its SM clock is {} MHz in the median, {} below the highest, {} MHz.{lowered}",
            whole(*median_mhz),
            number(1.0 - median_mhz / max_mhz, Unit::Share),
            whole(*max_mhz)
        ),
    };
    summary.slow.iter().map(warning).collect()
}

/// What was not read, or not always.
fn failed(profile: &Profile) -> Vec<String> {
    // Quantities that are missing for the same reason share a line.
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (field, why) in &profile.missing {
        by_reason.entry(why).or_default().push(field);
    }
    let missing = by_reason
        .into_iter()
        .map(|(why, fields)| format!("Missing: {} ({why})", fields.join(", ")));
    let errors = profile.errors.iter().map(|(field, errors)| {
        let at = span(errors.first_at);
        let when = match errors.count {
            1 => format!("once, at {at}"),
            count => format!("{count} times, first at {at}"),
        };
        format!("Not always read: {field}, {when}: {}", errors.first)
    });
    missing.chain(errors).collect()
}

fn plain(value: f64) -> String {
    number(value, Unit::Plain)
}

fn whole(value: f64) -> String {
    thousands(&format!("{value:.0}"))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    device: Device<'a>,
    sampling: Sampling<'a>,
    power_w: Option<MeanMax>,
    energy: Option<EnergyOut>,
    joules_per_token: Option<f64>,
    kwh_per_million_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    power_cost_usd: Option<PowerCostOut>,
    throttled: Option<ThrottledOut>,
    loaded_share: Option<f64>,
    gpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    sm_mhz: Option<f64>,
    loaded_sm_mhz: Option<f64>,
    memory_mhz: Option<f64>,
    memory_used_max_bytes: Option<u64>,
    temperature_max_c: Option<f64>,
    counters: BTreeMap<&'static str, f64>,
    slow_gpu: Vec<String>,
    missing: &'a BTreeMap<String, String>,
    errors: BTreeMap<&'a str, ErrorsOut<'a>>,
}

#[derive(Serialize)]
struct Device<'a> {
    index: Option<u64>,
    name: Option<&'a str>,
    uuid: Option<&'a str>,
    architecture: Option<&'a str>,
    driver: Option<&'a str>,
    nvml: Option<&'a str>,
    cuda_driver: Option<&'a str>,
    memory_bytes: Option<u64>,
    cores: Option<u64>,
    power_limit_w: Option<f64>,
    power_limit_default_w: Option<f64>,
    power_limit_min_w: Option<f64>,
    power_limit_max_w: Option<f64>,
    sm_max_mhz: Option<f64>,
    memory_max_mhz: Option<f64>,
    mig: Option<bool>,
}

impl<'a> Device<'a> {
    fn of(facts: &'a DeviceFacts) -> Device<'a> {
        Device {
            index: facts.index,
            name: facts.name.as_deref(),
            uuid: facts.uuid.as_deref(),
            architecture: facts.architecture.as_deref(),
            driver: facts.driver.as_deref(),
            nvml: facts.nvml.as_deref(),
            cuda_driver: facts.cuda_driver.as_deref(),
            memory_bytes: facts.memory.map(|bytes| bytes.0),
            cores: facts.cores,
            power_limit_w: facts.power_limit_w,
            power_limit_default_w: facts.power_limit_default_w,
            power_limit_min_w: facts.power_limit_min_w,
            power_limit_max_w: facts.power_limit_max_w,
            sm_max_mhz: facts.sm_max_mhz,
            memory_max_mhz: facts.memory_max_mhz,
            mig: facts.mig,
        }
    }
}

#[derive(Serialize)]
struct Sampling<'a> {
    samples: usize,
    skipped: u64,
    seconds: f64,
    every_s: f64,
    started_unix_s: f64,
    ended: &'static str,
    lost: Option<&'a str>,
}

#[derive(Serialize)]
struct MeanMax {
    mean: f64,
    max: f64,
}

#[derive(Serialize)]
struct EnergyOut {
    joules: f64,
    seconds: f64,
    source: &'static str,
}

#[derive(Serialize)]
struct ThrottledOut {
    share: f64,
    by_reason: BTreeMap<&'static str, f64>,
}

#[derive(Serialize)]
struct ErrorsOut<'a> {
    count: u64,
    first_at_s: f64,
    first: &'a str,
}

/// What power costs.
#[derive(Serialize)]
struct PowerCostOut {
    per_hour: f64,
    per_million_tokens: Option<f64>,
}

/// For programs.
#[must_use]
pub fn json(profile: &Profile, summary: &Summary, cost: Option<PowerCost>) -> String {
    let (ended, lost) = match &profile.ended {
        Ended::Complete => ("complete", None),
        Ended::Stopped => ("stopped", None),
        Ended::Lost(why) => ("lost", Some(why.as_str())),
    };
    let document = Document {
        schema: SCHEMA,
        device: Device::of(&profile.facts),
        sampling: Sampling {
            samples: summary.samples,
            skipped: profile.skipped,
            seconds: summary.length.as_secs_f64(),
            every_s: profile.every.as_secs_f64(),
            started_unix_s: profile.started.as_secs_f64(),
            ended,
            lost,
        },
        power_w: summary.power.map(|power| MeanMax { mean: power.mean_w, max: power.max_w }),
        energy: summary.energy.map(|energy| EnergyOut {
            joules: energy.joules,
            seconds: energy.over.as_secs_f64(),
            source: match energy.source {
                EnergySource::Counter => "counter",
                EnergySource::Power => "power",
            },
        }),
        joules_per_token: summary.joules_per_token,
        kwh_per_million_tokens: summary.joules_per_token.map(|j| j * 1e6 / JOULES_PER_KWH),
        power_cost_usd: cost.map(|cost| PowerCostOut {
            per_hour: cost.per_hour,
            per_million_tokens: cost.per_million_tokens,
        }),
        throttled: summary.throttled.as_ref().map(|throttled| ThrottledOut {
            share: throttled.share,
            by_reason: throttled.by_reason.iter().map(|(r, share)| (r.words(), *share)).collect(),
        }),
        loaded_share: summary.loaded_share,
        gpu_percent: summary.gpu_percent,
        memory_percent: summary.memory_percent,
        sm_mhz: summary.sm_mhz,
        loaded_sm_mhz: summary.loaded_sm_mhz,
        memory_mhz: summary.memory_mhz,
        memory_used_max_bytes: summary.memory_used.map(|bytes| bytes.0),
        temperature_max_c: summary.temperature_c,
        counters: summary.gpm.iter().map(|(gpm, mean)| (gpm.column(), *mean)).collect(),
        slow_gpu: warnings(&profile.facts, summary),
        missing: &profile.missing,
        errors: profile.errors.iter().map(|(f, e)| (f.as_str(), ErrorsOut::of(e))).collect(),
    };
    let mut out = to_json(&document, true);
    out.push('\n');
    out
}

impl<'a> ErrorsOut<'a> {
    fn of(errors: &'a calibrate::nvml::FieldErrors) -> ErrorsOut<'a> {
        ErrorsOut {
            count: errors.count,
            first_at_s: errors.first_at.as_secs_f64(),
            first: &errors.first,
        }
    }
}
