//! What a repair may try: every candidate resolves, and none is what there is already.

use crate::support::{DESK, SMALL, load};
use scenarios::resolved::{DefaultLever, LeverKind};
use scenarios::{Blueprint, Resolved, library};
use std::collections::BTreeSet;
use std::path::Path;

fn resolved(text: &str, set: &[&str]) -> Resolved {
    load(text, set).unwrap_or_else(|problems| panic!("{problems}"))
}

fn of(resolved: &Resolved, kind: LeverKind) -> Vec<&DefaultLever> {
    resolved.default_levers.iter().filter(|lever| lever.kind == kind).collect()
}

/// Each candidate of a lever in one line.
fn shown(lever: &DefaultLever) -> Vec<String> {
    lever.candidates.iter().map(|set| set.join("; ")).collect()
}

/// Resolves every candidate, of many replicas the first and the last.
fn all_resolve(name: &str, blueprint: &Blueprint) -> BTreeSet<LeverKind> {
    let plain = blueprint.resolve(&[]).unwrap_or_else(|problems| panic!("{name}: {problems}"));
    for lever in &plain.default_levers {
        assert!(!lever.candidates.is_empty(), "{name}: {lever:?}");
        let many = lever.kind == LeverKind::Replicas;
        let last = lever.candidates.len() - 1;
        for (at, set) in lever.candidates.iter().enumerate() {
            if many && at != 0 && at != last {
                continue;
            }
            let other = blueprint.resolve(set);
            let other = other.unwrap_or_else(|problems| panic!("{name}: {set:?}: {problems}"));
            assert_ne!(other.scenario, plain.scenario, "{name}: {set:?} changes nothing");
            assert!(set.iter().any(|text| text.starts_with(&format!("{}=", lever.key))));
        }
    }
    plain.default_levers.iter().map(|lever| lever.kind).collect()
}

#[test]
fn every_candidate_of_every_shipped_scenario_resolves() {
    let mut kinds = BTreeSet::new();
    for shipped in library::all() {
        let blueprint = Blueprint::shipped(shipped, None).expect("it is shipped");
        let found = all_resolve(shipped.name, &blueprint);
        assert!(!found.is_empty(), "{} has nothing to repair it with", shipped.name);
        kinds.extend(found);
    }
    for policy in library::policies() {
        let scenario = policy.name.split('.').next().and_then(library::find).expect("a scenario");
        let blueprint = Blueprint::shipped(scenario, Some(Path::new(policy.name)));
        kinds.extend(all_resolve(policy.name, &blueprint.expect("it is shipped")));
    }
    for text in [SMALL, DESK] {
        kinds.extend(all_resolve("test", &Blueprint::of_text("t", text)));
    }
    use LeverKind::{Admission, RateLimit, Replicas, TensorParallel, Threshold};
    for kind in [Replicas, TensorParallel, Threshold, Admission, RateLimit] {
        assert!(kinds.contains(&kind), "{kind:?} in {kinds:?}");
    }
}

#[test]
fn a_small_scenario_can_only_have_more_replicas() {
    let small = resolved(SMALL, &[]);
    let [lever] = small.default_levers.as_slice() else { panic!("{:?}", small.default_levers) };
    assert_eq!((lever.key.as_str(), lever.present.as_str()), ("pools.h100.replicas", "2"));
    let all = shown(lever);
    assert_eq!((all.len(), all[0].as_str()), (8, "pools.h100.replicas=3"));
    assert_eq!(all[7], "pools.h100.replicas=10");
    let many = resolved(SMALL, &["pools.h100.replicas=100"]);
    assert_eq!(many.default_levers[0].candidates.len(), 300);
    assert!(resolved(SMALL, &["pools.h100.replicas=10000"]).default_levers.is_empty());
    // A pool that nothing is sent to repairs nothing.
    let idle = SMALL
        .replace("[objectives]", "[models.other]\nserved_by = [\"idle\"]\n[objectives]")
        + "\n[pools.idle]\nprice = \"$1/h\"\nengine_args = { num_gpu_blocks_override = 10000 }\n\
           step_time = { fixed = \"5ms\", per_token = \"20us\" }\n";
    assert_eq!(resolved(&idle, &[]).default_levers, small.default_levers);
}

#[test]
fn what_pools_turn_away_goes_to_a_provider() {
    let text = format!(
        "{SMALL}\n[providers.mini]\ncatalog = \"openai/gpt-4o-mini\"\nrpm = 600\n\
         [providers.\"b.c\"]\ncatalog = \"openai/gpt-4o\"\n"
    );
    let plain = resolved(&text, &["pools.h100.engine_args.max_num_seqs=100"]);
    let overflow = of(&plain, LeverKind::Overflow);
    assert_eq!(overflow.len(), 2);
    assert_eq!(overflow[0].present, r#"["h100"]"#);
    let queue = "pools.h100.engine_args.max_num_queued_reqs";
    assert_eq!(
        shown(overflow[1]),
        [200, 100, 50, 25].map(|limit| {
            format!("models.small.served_by=[\"h100\", \"b.c\"]; {queue}={limit}")
        })
    );
    // Nobody has what the pool turns away, and the provider is not used yet.
    assert!(of(&plain, LeverKind::Admission).is_empty());
    assert!(of(&plain, LeverKind::RateLimit).is_empty());
    all_resolve("overflow", &Blueprint::of_text("t", &text));

    let limited = resolved(&text, &[&format!("{queue}=40")]);
    assert_eq!(
        shown(of(&limited, LeverKind::Overflow)[0]),
        ["models.small.served_by=[\"h100\", \"mini\"]"]
    );
    let both =
        resolved(&text, &[&format!("{queue}=40"), "models.small.served_by=[\"h100\", \"mini\"]"]);
    assert!(of(&both, LeverKind::Overflow).is_empty());
}

#[test]
fn limits_of_pools_and_providers_that_are_used_can_be_changed() {
    let text = SMALL.replace("served_by = [\"h100\"]", "served_by = [\"h100\", \"mini\"]")
        + "\n[providers.mini]\ncatalog = \"openai/gpt-4o-mini\"\nrpm = 600\n\
           tpm = 400_000_000_000\n";
    let queue = "pools.h100.engine_args.max_num_queued_reqs";
    let limited = resolved(&text, &[&format!("{queue}=3")]);
    let [admission] = of(&limited, LeverKind::Admission)[..] else { panic!("one pool") };
    assert_eq!(admission.present, "3");
    // A quarter of three is nothing, and at least one request has to be let in.
    assert_eq!(shown(admission), [2, 1].map(|limit| format!("{queue}={limit}")));
    let free = resolved(&text, &["pools.h100.engine_args.max_num_seqs=64"]);
    let [admission] = of(&free, LeverKind::Admission)[..] else { panic!("one pool") };
    assert_eq!(admission.present, "no limit");
    assert_eq!(shown(admission), [128, 64, 32, 16].map(|limit| format!("{queue}={limit}")));
    let rates: Vec<Vec<String>> = of(&free, LeverKind::RateLimit).into_iter().map(shown).collect();
    let rpm = ["providers.mini.rpm=1200", "providers.mini.rpm=2400"];
    assert_eq!(rates, [rpm.to_vec(), vec!["providers.mini.tpm=800000000000"]]);
    all_resolve("limits", &Blueprint::of_text("t", &text));
}

#[test]
fn thresholds_caches_and_gpus_are_found_where_they_stand() {
    let shipped = |name: &str, policy: Option<&str>| {
        let shipped = library::find(name).expect("it is shipped");
        let blueprint = Blueprint::shipped(shipped, policy.map(Path::new));
        let resolved = blueprint.expect("it is shipped").resolve(&[]);
        resolved.unwrap_or_else(|problems| panic!("{problems}"))
    };
    let hybrid = shipped("hybrid-routing", None);
    let [threshold] = of(&hybrid, LeverKind::Threshold)[..] else { panic!("one rule") };
    assert_eq!(threshold.present, "confidence < 0.65");
    let when = ["0.585", "0.4875", "0.325"];
    let when = when.map(|bound| format!("routing.escalate_if.0.when=confidence < {bound}"));
    assert_eq!(shown(threshold), when);
    let reply = shipped("support-reply", None);
    let [threshold] = of(&reply, LeverKind::Threshold)[..] else { panic!("one rule of two") };
    assert_eq!(threshold.key, "routing.escalate_if.0.condition");

    let cached = shipped("semantic-cache", None);
    assert!(of(&cached, LeverKind::Cache).is_empty());
    let help = library::find("semantic-cache").expect("it is shipped").text;
    let off = resolved(help, &["caching.semantic.enabled=false"]);
    assert_eq!(shown(of(&off, LeverKind::Cache)[0]), ["caching.semantic.enabled=true"]);
    let long = help.replace("[caching.semantic]", "[caching.semantic_cache]\nenabled = false");
    let long = resolved(&long, &[]);
    assert_eq!(shown(of(&long, LeverKind::Cache)[0]), ["caching.semantic_cache.enabled=true"]);
    let none = help.replace("[caching.semantic]\nsimilarity_threshold = 0.92", "[caching.exact]");
    let none = Blueprint::of_text("t", &none);
    let without = none.resolve(&[]).unwrap_or_else(|problems| panic!("{problems}"));
    let on = |from: &str| {
        format!("caching.semantic.enabled=true; caching.semantic.similarity_threshold={from}")
    };
    assert_eq!(shown(of(&without, LeverKind::Cache)[0]), ["0.95", "0.9"].map(on));
    all_resolve("no cache", &none);

    let large = shipped("llama70b-h100-tp4", None);
    let [gpus] = of(&large, LeverKind::TensorParallel)[..] else { panic!("one pool") };
    assert_eq!((gpus.present.as_str(), shown(gpus).len()), ("4", 1));
    assert_eq!(shown(gpus), ["pools.h100-tp4.tensor_parallel=8"]);
}
