//! Twice the traffic, whatever the files say of factors.

use crate::support::{SMALL, load, small};
use scenarios::{Resolved, library, load_library, multiplied};
use sim::workload::ScaleHow;

fn factors(resolved: &Resolved) -> Vec<(f64, ScaleHow)> {
    resolved.traffic.iter().map(|source| (source.factor, source.how)).collect()
}

#[test]
fn every_shipped_scenario_can_have_twice_its_traffic() {
    for shipped in library::all() {
        let load = |set: &[String]| {
            let resolved = load_library(shipped, None, set);
            resolved.unwrap_or_else(|problems| panic!("{}: {problems}", shipped.name))
        };
        let plain = load(&[]);
        assert_eq!(plain.traffic.len(), {
            let text: toml::Value = toml::from_str(shipped.text).expect("TOML");
            text["traffic"].as_table().expect("a table").len()
        });
        for how in [None, Some(ScaleHow::MoreUsers), Some(ScaleHow::FasterUsers)] {
            let set = multiplied(&plain, 2.0, how).expect("within range");
            let doubled = load(&set);
            for (now, before) in factors(&doubled).iter().zip(factors(&plain)) {
                assert_eq!(*now, (2.0 * before.0, how.unwrap_or(before.1)), "{}", shipped.name);
            }
            let scaled = doubled.scenario.sources.iter().zip(&plain.scenario.sources);
            for (now, before) in scaled {
                assert_eq!(now.scaling.factor, 2.0 * before.scaling.factor, "{}", shipped.name);
            }
        }
    }
}

#[test]
fn a_factor_is_written_where_it_stands() {
    let plain = small(&[]).expect("good");
    assert_eq!(plain.traffic[0].key, "traffic.web.scale");
    let set = multiplied(&plain, 1.0 / 3.0, Some(ScaleHow::FasterUsers)).expect("good");
    assert_eq!(set, ["traffic.web.scale=0.3333333333333333", "traffic.web.how=faster-users"]);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    assert_eq!(factors(&small(&set).expect("good")), [(1.0 / 3.0, ScaleHow::FasterUsers)]);

    let trace = SMALL.replace("[traffic.web]", "[traffic.\"we.b\"]").replace(
        "arrivals = { kind = \"poisson\", rate = \"2/s\" }",
        "trace = { file = \"library:azure-conv-2023\", format = \"azure-2023\", scale = \"1.5x\" }\n\
         how = \"faster-users\"",
    );
    let trace = trace.replace("engine_args = {", "engine_args = { max_model_len = 16384,");
    let inner = load(&trace, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(inner.traffic[0].key, "traffic.\"we.b\".trace.scale");
    assert_eq!(inner.traffic[0].how_key, "traffic.\"we.b\".how");
    let set = multiplied(&inner, 2.0, None).expect("good");
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let doubled = load(&trace, &set).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(factors(&doubled), [(3.0, ScaleHow::FasterUsers)]);

    let error = multiplied(&inner, 2.0, Some(ScaleHow::MoreUsers)).expect_err("two ways");
    assert_eq!(
        error,
        "the traffic we.b has a factor of its own, 1.5 faster-users, which does not go with \
         more-users"
    );
    assert!(multiplied(&inner, 2.0, Some(ScaleHow::FasterUsers)).is_ok());
    for factor in [0.0, -1.0, 1e9, f64::NAN, f64::INFINITY, 700.0, 0.0001] {
        let error = multiplied(&inner, factor, None).expect_err("out of range");
        assert!(error.contains("allowed: 0.001 to 1000"), "{error}");
    }
    let error = multiplied(&plain, 0.5, Some(ScaleHow::Burstier)).expect_err("below 1");
    assert!(error.contains("burstier"), "{error}");
}
