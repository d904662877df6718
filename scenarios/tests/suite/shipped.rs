//! Every shipped scenario resolves, says what it is for, and is not overloaded by mistake.

use scenarios::{library, load_library, load_str};
use sim::workload::Arrivals;

#[test]
fn every_shipped_scenario_resolves_with_its_question() {
    for shipped in library::all() {
        let resolved = load_library(shipped, None, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert!(shipped.question().ends_with('?'), "{}", shipped.name);
        assert_eq!(resolved.question.as_deref(), Some(shipped.question()), "{}", shipped.name);
        assert_eq!(resolved.name, shipped.name);
        assert!(resolved.calibration.iter().all(|pool| !pool.label.is_empty()));
        // Not every hosted model of the catalogue was measured, and a scenario may not hide that.
        let borrowed = |message: &str| message.starts_with("the catalogue has no measurement of ");
        let others = resolved.warnings.iter().find(|warning| !borrowed(&warning.message));
        assert_eq!(others, None, "{}", shipped.name);
    }
}

#[test]
fn the_million_is_a_million_at_seventy_percent() {
    for name in ["million", "million-prefix"] {
        let shipped = library::find(name).expect("shipped");
        let resolved = load_library(shipped, None, &[]).unwrap_or_else(|e| panic!("{e}"));
        let Arrivals::Renewal { rate, .. } = &resolved.scenario.sources[0].arrivals else {
            panic!("a renewal process")
        };
        let requests = rate.knots[0].1 * resolved.scenario.horizon.as_secs_f64();
        assert!((requests - 1e6).abs() < 1.0, "{requests}");
        let caching = resolved.scenario.pools[0].engine.prefix_caching;
        assert_eq!(caching, name == "million-prefix");
    }
    let load = |name: &str| {
        let shipped = library::find(name).expect("shipped");
        load_library(shipped, None, &[]).unwrap_or_else(|e| panic!("{e}")).offered_load[0]
    };
    let share = load("million").expect("a rate");
    assert!((0.65..0.75).contains(&share), "{share}");
}

#[test]
fn the_catalogue_explains_what_it_filled_in() {
    let shipped = library::find("llama70b-h100-tp4").expect("shipped");
    let resolved = load_library(shipped, None, &[]).unwrap_or_else(|e| panic!("{e}"));
    let keys: Vec<&str> = resolved.provenance.iter().map(|line| line.key.as_str()).collect();
    for key in [
        "pools.h100-tp4.engine_args.enable_prefix_caching",
        "pools.h100-tp4.engine_args.gpu_memory_utilization",
        "pools.h100-tp4.kv_blocks",
        "pools.h100-tp4.step_time",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert_eq!(resolved.scenario.pools[0].gpus_per_replica, 4);
}

#[test]
fn what_does_not_fit_is_an_error_with_advice() {
    let text = library::find("llama70b-h100-tp4").expect("shipped").text;
    let cases = [
        ("pools.h100-tp4.tensor_parallel=1", "does not fit 1 × h100-sxm"),
        ("pools.h100-tp4.tensor_parallel=3", "does not divide"),
        ("pools.h100-tp4.engine_args.num_gpu_blocks_override=100", "max_model_len"),
        ("pools.h100-tp4.engine_args.kv_cache_memory_bytes=1GiB", "max_model_len"),
        ("pools.h100-tp4.engine_args.kv_cache_memory_bytes=79GiB", "does not fit"),
        ("pools.h100-tp4.engine_args.num_gpu_blocks_override=50000", "KV blocks fit"),
        ("pools.h100-tp4.engine_args.gpu_memory_utilization=0.3", "would fit: "),
        ("pools.h100-tp4.gpu=h1000", "no GPU of the catalogue is called `h1000`"),
        ("pools.h100-tp4.model=llama-3.1-70", "no model of the catalogue"),
        ("pools.h100-tp4.engine=vlm", "did you mean `vllm`?"),
    ];
    for (change, message) in cases {
        let problems = load_str("t.toml", text, &[change.to_owned()]).expect_err(change);
        assert!(problems.to_string().contains(message), "{change}: {problems}");
    }
    // A cache of one's own making does not make room for the weights.
    for cache in ["num_gpu_blocks_override=1000", "kv_cache_memory_bytes=1GiB"] {
        let changes = [
            "tensor_parallel=1",
            "engine_args.max_model_len=4096",
            &format!("engine_args.{cache}"),
        ]
        .map(|change| format!("pools.h100-tp4.{change}"));
        let problems = load_str("t.toml", text, &changes).expect_err(cache);
        assert!(problems.to_string().contains("would fit: 2 × h100-sxm"), "{problems}");
    }
    let unpriced = text.replace("price = \"$2.99/h\"\n", "");
    let problems = load_str("t.toml", &unpriced, &[]).expect_err("a price is needed");
    assert!(problems.to_string().contains("quoted:"), "{problems}");
}

/// A guess is called one: the KV cache that memory leaves, and times on a GPU that nobody measured.
#[test]
fn what_nobody_measured_is_flagged() {
    let shipped = library::find("llama70b-h100-tp4").expect("shipped");
    let load = |changes: &[&str]| {
        let full: Vec<String> =
            changes.iter().map(|change| format!("pools.h100-tp4.{change}")).collect();
        load_library(shipped, None, &full).unwrap_or_else(|e| panic!("{e}"))
    };
    let row = |resolved: &scenarios::Resolved, key: &str| {
        let key = format!("pools.h100-tp4.{key}");
        let line = resolved.provenance.iter().find(|line| line.key == key)?;
        Some(format!("{} ({})", line.value, line.origin))
    };
    let estimated = |resolved: &scenarios::Resolved| {
        resolved.calibration[0].label.contains("KV capacity estimated")
    };
    let plain = load(&[]);
    assert!(estimated(&plain));
    assert!(row(&plain, "step_time").expect("listed").starts_with("kernel tables"));
    let coefficients = row(&plain, "step_time.coefficients").expect("listed");
    assert!(coefficients.contains("h100-sxm itself was not measured"), "{coefficients}");
    assert!(row(&plain, "engine_args.kv_cache_dtype").expect("listed").starts_with("auto"));
    assert!(row(&plain, "engine_args.performance_mode").expect("listed").starts_with("balanced"));
    assert!(row(&plain, "engine_args.policy").expect("listed").starts_with("fcfs"));
    for measured in ["num_gpu_blocks_override=20000", "kv_cache_memory_bytes=20GiB"] {
        let args = format!("engine_args.{measured}");
        assert!(!estimated(&load(&[&args, "engine_args.max_model_len=8192"])), "{measured}");
    }
    let other = load(&["gpu=b200", "dispatch_overhead=0.75ms"]);
    assert!(other.calibration[0].label.starts_with("uncalibrated (roofline)"));
    assert!(row(&other, "dispatch_overhead").expect("written").starts_with("0.75ms"));
    let idle = |resolved: &scenarios::Resolved| {
        let work = sim::engine::Work { decodes: 1, kv_tokens: 16, ..Default::default() };
        resolved.scenario.pools[0].step_time.iteration(work).as_secs_f64() * 1e3
    };
    let slower = idle(&other) - idle(&load(&["gpu=b200", "dispatch_overhead=0.5ms"]));
    assert!((slower - 0.25).abs() < 1e-6, "{slower}");
    let written = ["pools.h100.dispatch_overhead=1ms"];
    let problems = crate::support::small(&written).expect_err("`fixed` has it");
    assert!(problems.to_string().contains("step_time.fixed"), "{problems}");
}

/// Each of these engine arguments reaches the simulator, or at least the list of what is in force.
#[test]
fn engine_arguments_are_in_force() {
    let shipped = library::find("llama70b-h100-tp4").expect("shipped");
    let load = |args: &[&str]| {
        let full = |arg: &&str| format!("pools.h100-tp4.engine_args.{arg}");
        let changes: Vec<String> = args.iter().map(full).collect();
        load_library(shipped, None, &changes)
    };
    let plain = load(&[]).unwrap_or_else(|e| panic!("{e}"));
    let row = |resolved: &scenarios::Resolved, key: &str| {
        let key = format!("pools.h100-tp4.{key}");
        resolved.provenance.iter().find(|line| line.key == key).map(|line| line.value.clone())
    };
    let interval = "engine_args.prefill_schedule_interval";
    assert_eq!(row(&plain, interval).as_deref(), Some("1"));
    assert_eq!(row(&plain, "engine_args.stream_interval").as_deref(), Some("1"));
    assert_eq!(row(&plain, "engine_args.max_num_queued_tokens").as_deref(), Some("no limit"));

    let set = ["prefill_schedule_interval=4", "max_num_queued_tokens=50000", "stream_interval=8"];
    let set = load(&set).unwrap_or_else(|e| panic!("{e}"));
    let engine = &set.scenario.pools[0].engine;
    assert_eq!((engine.prefill_schedule_interval, engine.max_num_queued_tokens), (4, Some(50_000)));
    // 80 layers, 2 of 8 KV heads, 128 numbers of 2 bytes, keys and values, 16 tokens: 1.25 MiB.
    for memory in ["kv_cache_memory_bytes=10GiB", "kv_cache_memory_bytes=10737418240"] {
        let sized = load(&[memory, "max_model_len=8192"]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(sized.scenario.pools[0].engine.kv_blocks.0, 8_192);
    }
    let cache = "kv_cache_memory_bytes=10GiB";
    for beside in ["gpu_memory_utilization=0.5", "num_gpu_blocks_override=9000"] {
        let problems = load(&[cache, beside]).expect_err("one of them has no effect");
        assert!(problems.to_string().contains("no effect"), "{problems}");
    }
    for bad in ["prefill_schedule_interval=0", "stream_interval=0", "max_num_queued_tokens=-1"] {
        assert!(load(&[bad]).is_err(), "{bad}");
    }
    for bad in ["kv_cache_memory_bytes=0", "kv_cache_memory_bytes=-5", "kv_cache_memory_bytes=9GW"]
    {
        assert!(load(&[bad]).is_err(), "{bad}");
    }
    let trace = ["traffic.chat.trace.file=/somewhere/day.csv".to_owned()];
    let replayed = library::find("azure-conversation").expect("shipped");
    let problems = load_library(replayed, None, &trace).expect_err("no such place");
    assert!(problems.to_string().contains("`library:azure-conv-2023`"), "{problems}");
}

#[test]
fn every_shipped_policy_goes_with_the_scenario_it_is_named_after() {
    for policy in library::policies() {
        let scenario = policy.name.split('.').next().and_then(library::find).expect("a scenario");
        let path = format!("policies/{}.toml", policy.name);
        for name in [policy.name, &path] {
            let found = load_library(scenario, Some(name.as_ref()), &[]);
            let resolved = found.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_ne!(resolved.scenario.routing.default_model, None, "{name}");
        }
        assert!(policy.question().len() > 20, "{} says what it does", policy.name);
    }
    let scenario = library::find("support-reply").expect("shipped");
    let problems = load_library(scenario, Some("support-reply.godo".as_ref()), &[]).expect_err("?");
    assert!(problems.to_string().contains("did you mean `support-reply.good`?"), "{problems}");
}
