//! Pools of other engines than vLLM: their defaults, their own arguments, and none of vLLM's.

use scenarios::{Resolved, library, load_library};
use sim::engine::{EngineSpec, Scheduling, Sglang};

/// The shipped scenario of one large model with this engine and these arguments.
fn load(engine: &str, args: &[&str]) -> Result<Resolved, scenarios::Problems> {
    let shipped = library::find("llama70b-h100-tp4").expect("shipped");
    let full = |arg: &&str| format!("pools.h100-tp4.engine_args.{arg}");
    let mut changes = vec![format!("pools.h100-tp4.engine={engine}")];
    changes.push("pools.h100-tp4.engine_args.max_model_len=8192".to_owned());
    changes.extend(args.iter().map(full));
    load_library(shipped, None, &changes)
}

fn spec(engine: &str, args: &[&str]) -> EngineSpec {
    let resolved = load(engine, args).unwrap_or_else(|problems| panic!("{problems}"));
    resolved.scenario.pools[0].engine.clone()
}

fn row(resolved: &Resolved, argument: &str) -> Option<String> {
    let key = format!("pools.h100-tp4.engine_args.{argument}");
    resolved.provenance.iter().find(|line| line.key == key).map(|line| line.value.clone())
}

#[test]
fn trtllm_has_its_defaults_and_its_policy() {
    let plain = spec("trtllm", &[]);
    assert_eq!(plain.scheduling, Scheduling::GuaranteedNoEvict);
    assert_eq!((plain.max_num_seqs, plain.max_num_batched_tokens.0), (2048, 8192));
    assert_eq!((plain.block_size.0, plain.chunked_prefill), (32, false));
    let other = spec("trtllm", &["capacity_scheduler_policy=MAX_UTILIZATION"]);
    assert_eq!(other.scheduling, Scheduling::MaxUtilization);
    let less = spec("trtllm", &["free_gpu_memory_fraction=0.45"]);
    // Half of what is left, but for one block of rounding.
    assert!(less.kv_blocks.0.abs_diff(plain.kv_blocks.0 / 2) <= 1);
}

#[test]
fn sglang_has_its_defaults_and_its_ratio() {
    let ratio = |longest_prefix_match, init, min, decay| {
        Scheduling::Sglang(Sglang {
            longest_prefix_match,
            init_new_token_ratio: init,
            min_new_token_ratio: min,
            new_token_ratio_decay: decay,
        })
    };
    let plain = spec("sglang", &[]);
    assert_eq!(plain.scheduling, ratio(false, 700_000_000, 98_000_000, 1_003_333));
    assert_eq!((plain.max_num_batched_tokens.0, plain.block_size.0), (8192, 1));
    assert!(!plain.async_scheduling && plain.chunked_prefill && plain.prefix_caching);
    let other = spec("sglang", &["schedule_policy=lpm", "schedule_conservativeness=0.5"]);
    assert_eq!(other.scheduling, ratio(true, 350_000_000, 49_000_000, 501_667));
    // Prefill iterations end at a page.
    let paged = spec("sglang", &["block_size=24", "max_num_batched_tokens=100"]);
    assert_eq!(paged.max_num_batched_tokens.0, 120);
    assert_eq!(spec("sglang", &["enable_chunked_prefill=false"]).max_num_batched_tokens.0, 16_384);
}

#[test]
fn only_the_arguments_an_engine_has_are_listed() {
    let listed = |engine: &str| load(engine, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let (trtllm, sglang, vllm) = (listed("trtllm"), listed("sglang"), listed("vllm"));
    assert_eq!(row(&trtllm, "capacity_scheduler_policy").as_deref(), Some("GUARANTEED_NO_EVICT"));
    assert_eq!(row(&trtllm, "free_gpu_memory_fraction").as_deref(), Some("0.9"));
    assert_eq!(row(&sglang, "schedule_policy").as_deref(), Some("fcfs"));
    assert!(row(&sglang, "mem_fraction_static").expect("listed").starts_with("0.84"));
    for (resolved, foreign) in [
        (&trtllm, ["watermark", "schedule_policy", "mem_fraction_static", "policy"]),
        (&sglang, ["watermark", "async_scheduling", "gpu_memory_utilization", "policy"]),
        (&vllm, ["capacity_scheduler_policy", "schedule_policy", "mem_fraction_static", "x"]),
    ] {
        for argument in foreign {
            assert_eq!(row(resolved, argument), None, "{argument}");
        }
    }
}

#[test]
fn arguments_of_another_engine_are_problems_at_their_place() {
    for (engine, argument, says, help) in [
        ("trtllm", "watermark=0.1", "trtllm-1.x has no argument `watermark`", "name an engine"),
        ("trtllm", "policy=priority", "no argument `policy`", "capacity_scheduler_policy"),
        ("trtllm", "gpu_memory_utilization=0.9", "no argument", "free_gpu_memory_fraction"),
        ("trtllm", "scheduler_reserve_full_isl=true", "`scheduler_reserve_full_isl`", "leave it"),
        ("sglang", "async_scheduling=true", "no argument `async_scheduling`", "not modelled"),
        ("sglang", "policy=fcfs", "no argument `policy`", "schedule_policy"),
        ("vllm", "mem_fraction_static=0.9", "no argument", "gpu_memory_utilization"),
        ("vllm", "schedule_policy=lpm", "vllm-0.33 has no argument", "name an engine"),
    ] {
        let problems = load(engine, &[argument]).expect_err("refused").to_string();
        assert!(problems.contains(says) && problems.contains(help), "{problems}");
    }
    let few = load("trtllm", &["max_num_batched_tokens=31"]).expect_err("less than a block");
    assert!(few.to_string().contains("must be at least 32"), "{few}");
}
