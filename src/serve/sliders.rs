//! What may be moved in a scenario, and where to.
//!
//! A slider is a key and the values it may take, each an override. The scenario's own `[levers]` come
//! first, with their values; then follows what every scenario of its kind has.
//!
//! Invariants: every value is an override that the key takes; the value in the file is one of them,
//! under an empty list of overrides, so that an untouched slider changes nothing; no key has two
//! sliders.
//!
//! Deliberately absent: what a value costs or brings, which only a run tells.

use scenarios::resolved::{DefaultLever, Lever, LeverKind, Provenance, Resolved};
use scenarios::{confidence_bounds, library};
use serde_json::{Value, json};

/// More is not a page but a catalogue.
const MOST: usize = 80;
/// Values of one slider.
const MOST_VALUES: usize = 101;
/// Factors of what is there: of traffic and of prices.
const FACTORS: [f64; 19] = [
    0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.5, 8.0,
    10.0,
];
const OF_PRICE: [f64; 15] =
    [0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0];

/// One place of a slider.
#[derive(Clone, Debug, PartialEq)]
struct Stop {
    /// The override; `None` where the file says the same.
    set: Option<String>,
    /// For people.
    text: String,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
struct Slider {
    key: String,
    label: String,
    group: &'static str,
    stops: Vec<Stop>,
    at: usize,
}

/// The sliders of a scenario without overrides, as the page takes them.
pub(super) fn of(resolved: &Resolved) -> Vec<Value> {
    let written: Vec<Slider> = resolved.provenance.iter().filter_map(of_value).collect();
    let all = traffic(resolved)
        .chain(resolved.levers.iter().filter_map(|lever| of_lever(lever, resolved)))
        .chain(policy(resolved))
        .chain(resolved.default_levers.iter().flat_map(threshold))
        .chain(written);
    let mut kept: Vec<Slider> = Vec::new();
    for slider in all {
        let can_be_set = !slider.key.contains(['=', '\\', '…']) && slider.stops.len() > 1;
        let is_known =
            kept.iter().any(|known| known.key == slider.key && known.label == slider.label)
                || resolved.levers.iter().any(|lever| lever.key == slider.key)
                    && kept.iter().any(|known| known.key == slider.key);
        if can_be_set && !is_known && kept.len() < MOST {
            kept.push(slider);
        }
    }
    // Stable: within a group, in the order found.
    let is_detail = |slider: &Slider| slider.key.ends_with(".similarity_threshold");
    kept.sort_by_key(|slider| {
        (GROUPS.iter().position(|group| *group == slider.group), is_detail(slider))
    });
    kept.iter().map(as_json).collect()
}

/// Groups in the order of the page.
const GROUPS: [&str; 5] = ["Traffic", "Fleet", "Policy", "Prices", "Levers of the scenario"];

fn as_json(slider: &Slider) -> Value {
    let stops = slider.stops.iter().map(|stop| json!({ "set": stop.set, "text": stop.text }));
    json!({
        "key": slider.key, "label": slider.label, "group": slider.group,
        "stops": stops.collect::<Vec<_>>(), "at": slider.at,
    })
}

/// The factor of each source.
fn traffic(resolved: &Resolved) -> impl Iterator<Item = Slider> {
    resolved.traffic.iter().map(|source| {
        let values = FACTORS.iter().map(|factor| rounded(factor * source.factor)).collect();
        let label = format!("Traffic of {}", source.name);
        numbers(&source.key, label, "Traffic", (values, source.factor), |text| {
            (text.to_owned(), format!("{text}×"))
        })
    })
}

/// A lever of the file, with the value that is there among its own.
fn of_lever(lever: &Lever, resolved: &Resolved) -> Option<Slider> {
    let known = |row: &&Provenance| row.key == lever.key;
    let row = resolved.provenance.iter().find(known)?;
    let present = row.value.clone();
    let usual = of_value(row);
    let mut values: Vec<String> = lever.values.iter().take(MOST_VALUES).cloned().collect();
    if !values.contains(&present) {
        values.insert(0, present.clone());
        let all: Option<Vec<f64>> = values.iter().map(|value| value.parse().ok()).collect();
        if all.is_some() {
            values.sort_by(|a, b| number_of(a).total_cmp(&number_of(b)));
        }
    }
    Some(Slider {
        key: lever.key.clone(),
        label: usual.as_ref().map_or_else(|| lever.key.clone(), |usual| usual.label.clone()),
        group: usual.map_or("Levers of the scenario", |usual| usual.group),
        at: values.iter().position(|value| *value == present)?,
        stops: stops(&lever.key, values.into_iter().map(|value| (value.clone(), value)), &present),
    })
}

fn number_of(text: &str) -> f64 {
    text.parse().unwrap_or_default()
}

/// The bounds of the confidence in a rule that goes on to another model.
fn threshold(lever: &DefaultLever) -> Vec<Slider> {
    if lever.kind != LeverKind::Threshold {
        return Vec::new();
    }
    let text = lever.present.as_str();
    let rule = lever.key.split('.').nth(2).and_then(|at| at.parse::<usize>().ok()).unwrap_or(0) + 1;
    let one = |(bytes, bound): (std::ops::Range<usize>, f64)| {
        let values = (0..=50).map(|at| f64::from(at) / 50.0).collect();
        let label = format!("Rule {rule}: escalate below a confidence of");
        numbers(&lever.key, label, "Policy", (values, bound), |number| {
            let condition = format!("{}{number}{}", &text[..bytes.start], &text[bytes.end..]);
            // A JSON string is a string of TOML, and a bare one might be read as a value.
            (json!(condition).to_string(), number.to_owned())
        })
    };
    // Two bounds of one rule would each undo the other's move.
    confidence_bounds(text).into_iter().take(1).map(one).collect()
}

/// Shipped policies that were written for the policy's own scenario.
fn policy(resolved: &Resolved) -> Option<Slider> {
    let row = resolved.provenance.iter().find(|row| row.key == "policy")?;
    let present = library::find_policy(&row.value)?.name;
    let family = present.split('.').next()?;
    let mut names: Vec<&str> = library::policies().iter().map(|policy| policy.name).collect();
    names.retain(|name| name.split('.').next() == Some(family));
    Some(Slider {
        key: "policy".to_owned(),
        label: "Policy".to_owned(),
        group: "Policy",
        at: names.iter().position(|name| *name == present)?,
        stops: stops(
            "policy",
            names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())),
            present,
        ),
    })
}

/// The slider of a value that was read or filled in, if it is one of those that have one.
fn of_value(row: &Provenance) -> Option<Slider> {
    let Provenance { key, value, .. } = row;
    let (table, rest) = key.split_once('.')?;
    let within = |suffix: &str| rest.strip_suffix(suffix).map(|name| name.trim_matches('"'));
    let money = |label: String| price(key, label, value);
    match table {
        "traffic" => burstiness(key, within(".arrivals.cv")?, value),
        "pools" => match (within(".replicas"), within(".price")) {
            (Some(pool), _) => whole(key, format!("Replicas of {pool}"), value),
            (_, Some(pool)) => money(format!("GPU of {pool}")),
            _ => None,
        },
        "provisioned" => match (within(".units"), within(".price")) {
            (Some(name), _) => whole(key, format!("Units of {name}"), value),
            (_, Some(name)) => money(format!("Unit of {name}")),
            _ => None,
        },
        "providers" => match (within(".input"), within(".output")) {
            (Some(name), _) => money(format!("Input of {name}")),
            (_, Some(name)) => money(format!("Output of {name}")),
            _ => None,
        },
        "tools" => within(".per_call").and_then(|name| money(format!("Call of {name}"))),
        "caching" => answer_cache(key, rest, value),
        _ => None,
    }
}

fn burstiness(key: &str, source: &str, value: &str) -> Option<Slider> {
    let present: f64 = value.parse().ok()?;
    let values = (2..=24).map(|at| f64::from(at) / 4.0).collect();
    let label = format!("Burstiness of {source}");
    Some(numbers(key, label, "Traffic", (values, present), |text| {
        (text.to_owned(), format!("cv {text}"))
    }))
}

/// From one up to four times as many, at least eight more.
fn whole(key: &str, label: String, value: &str) -> Option<Slider> {
    let present: u32 = value.parse().ok()?;
    let most = present.saturating_mul(4).max(present.saturating_add(8)).min(100_000);
    let step = most.div_ceil(48).max(1);
    let values = (0..=48).map(|at| (at * step).clamp(1, most)).map(f64::from).collect();
    let same = |text: &str| (text.to_owned(), text.to_owned());
    Some(numbers(key, label, "Fleet", (values, f64::from(present)), same))
}

/// `$2.99/h` and factors of it; nothing that is free.
fn price(key: &str, label: String, value: &str) -> Option<Slider> {
    let (digits, unit) = match value.strip_prefix('$')?.split_once('/') {
        Some((digits, unit)) => (digits, format!("/{unit}")),
        None => (value.strip_prefix('$')?, String::new()),
    };
    let present: f64 = digits.parse().ok().filter(|price| *price > 0.0)?;
    let values = OF_PRICE.iter().map(|factor| rounded(factor * present)).collect();
    Some(numbers(key, label, "Prices", (values, present), |text| {
        let text = format!("${text}{unit}");
        (text.clone(), text)
    }))
}

/// The cache of answers by similarity: whether there is one, and how alike questions have to be.
fn answer_cache(key: &str, rest: &str, value: &str) -> Option<Slider> {
    match rest {
        "semantic.enabled" | "semantic_cache.enabled" => {
            let words = [("false", "off"), ("true", "on")];
            let words = words.map(|(set, text)| (set.to_owned(), text.to_owned()));
            Some(Slider {
                key: key.to_owned(),
                label: "Answer cache".to_owned(),
                group: "Policy",
                at: usize::from(value == "true"),
                stops: stops(key, words.into_iter(), value),
            })
        }
        "semantic.similarity_threshold" | "semantic_cache.similarity_threshold" => {
            let present: f64 = value.parse().ok()?;
            let values = (60..=100).map(|at| f64::from(at) / 100.0).collect();
            let label = "Answer cache: similarity from".to_owned();
            let same = |text: &str| (text.to_owned(), text.to_owned());
            Some(numbers(key, label, "Policy", (values, present), same))
        }
        _ => None,
    }
}

/// A slider over numbers, the present one among them; `write` gives the override and the words.
fn numbers(
    key: &str,
    label: String,
    group: &'static str,
    (mut values, present): (Vec<f64>, f64),
    write: impl Fn(&str) -> (String, String),
) -> Slider {
    values.push(present);
    values.sort_by(f64::total_cmp);
    values.dedup();
    let at = values.iter().position(|value| *value == present).unwrap_or(0);
    let stop = |(place, value): (usize, &f64)| {
        let (value, text) = write(&value.to_string());
        Stop { set: (place != at).then(|| format!("{key}={value}")), text }
    };
    let stops = values.iter().enumerate().map(stop).collect();
    Slider { key: key.to_owned(), label, group, stops, at }
}

fn stops(key: &str, values: impl Iterator<Item = (String, String)>, present: &str) -> Vec<Stop> {
    values
        .map(|(value, text)| Stop {
            set: (value != present).then(|| format!("{key}={value}")),
            text,
        })
        .collect()
}

/// Six significant digits, so that a product reads as people would write it.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Blueprint;

    /// The first and the last place of every slider of every shipped scenario resolve.
    #[test]
    fn every_end_of_every_slider_is_an_override_that_resolves() {
        for shipped in library::all() {
            let blueprint = Blueprint::shipped(shipped, None).expect("no policy to be read");
            let sliders = of(&blueprint.resolve(&[]).expect("it is valid"));
            assert!(!sliders.is_empty(), "{}", shipped.name);
            for slider in &sliders {
                let stops = slider["stops"].as_array().expect("a list");
                let at = slider["at"].as_u64().expect("a place") as usize;
                assert!(stops[at]["set"].is_null(), "{slider}");
                for stop in [&stops[0], &stops[stops.len() - 1]] {
                    let set: Vec<String> =
                        stop["set"].as_str().map(str::to_owned).into_iter().collect();
                    if let Err(problems) = blueprint.resolve(&set) {
                        panic!("{}: {set:?}: {problems}", shipped.name);
                    }
                }
            }
        }
    }

    #[test]
    fn support_reply_has_what_its_founder_asks_about() {
        let shipped = library::find("support-reply").expect("it is shipped");
        let resolved = scenarios::load_library(shipped, None, &[]).expect("it is valid");
        let all = of(&resolved);
        let labels: Vec<&str> = all.iter().filter_map(|slider| slider["label"].as_str()).collect();
        for label in [
            "Traffic of tickets",
            "Burstiness of tickets",
            "Policy",
            "Rule 1: escalate below a confidence of",
            "Answer cache",
            "Answer cache: similarity from",
            "Input of openai-mini",
            "Output of anthropic",
        ] {
            assert!(labels.contains(&label), "{label}: {labels:?}");
        }
    }

    #[test]
    fn a_price_keeps_its_unit_and_its_digits() {
        let slider = price("pools.a.price", "GPU".into(), "$2.99/h").expect("a price");
        assert_eq!(slider.stops[slider.at], Stop { set: None, text: "$2.99/h".into() });
        assert_eq!(slider.stops[0].set.as_deref(), Some("pools.a.price=$0/h"));
        assert_eq!(price("tools.a.per_call", "Call".into(), "$0"), None);
    }
}
