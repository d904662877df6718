//! Rows of the three recorded runs, with numbers taken from the files by hand.

use super::*;
use crate::imports::{File, Side};

macro_rules! sample {
    ($folder:literal, $($name:literal),+) => {
        [$(File {
            name: $name,
            text: include_str!(concat!("../../../tests/data/imports/", $folder, "/", $name)),
        }),+]
    };
}

fn code_llama() -> [File<'static>; 5] {
    sample!(
        "codellama-34b-prefill",
        "vllm.log",
        "requests.csv",
        "spans.csv",
        "profile.yaml",
        "exp-config.yaml"
    )
}

fn llama_2() -> [File<'static>; 4] {
    sample!("llama-2-7b-sweep", "spans.csv", "exp-config.yaml", "profile.yaml", "vllm.log")
}

fn llama_3() -> [File<'static>; 4] {
    sample!("llama-3.1-8b-stamps", "requests.jsonl", "meta.json", "config.json", "timeseries.csv")
}

#[test]
fn spans_and_rows_of_the_client_meet_whatever_their_order() {
    let run = engine_run(&code_llama()).expect("a run");
    let names: Vec<(&str, Option<f64>)> =
        run.phases.iter().map(|phase| (phase.strategy.as_str(), phase.rate)).collect();
    let constant = ("constant", Some(0.758996823129983));
    assert_eq!(names, [("synchronous", None), ("throughput", None), constant]);
    assert_eq!(run.clocks, Clocks { arrivals: Clock::Unix, times: Some(Clock::Unix) });
    assert!(run.unmatched.is_empty());
    let starts: Vec<(u64, usize)> = run
        .requests
        .iter()
        .map(|request| (request.arrival.0 / 1_000_000, request.phase.expect("known")))
        .collect();
    // Unix stamps of the file less the first, 1768918269342362112, in microseconds.
    assert_eq!(&starts[..3], [(0, 0), (2_762_186, 0), (4_600_311, 0)]);
    assert_eq!(starts[8], (136_136_509, 2));
    // The client sent 3,819 tokens first and 3,255 second; the engine had them the other way round.
    let [third, fourth] = [&run.requests[3], &run.requests[4]];
    assert_eq!((third.input, third.output), (Tokens(3_255), Tokens(43)));
    let times = third.client.as_ref().expect("matched");
    assert_eq!(times.start, Time(421_000_000));
    assert_eq!(times.ttft, Some(Span(1_437_459_000_000)));
    assert_eq!(fourth.client.as_ref().expect("matched").start, Time::ZERO);
    let server = fourth.server.expect("traced");
    assert_eq!(server.queue.0 / 1_000, 1_365_097_058);
    assert!(server.ttft < fourth.client.as_ref().and_then(|times| times.ttft).expect("there"));
    // One token has no gap.
    assert_eq!(run.requests[8].output, Tokens(1));
    assert_eq!(run.requests[8].client.as_ref().and_then(|times| times.itl), None);
    assert_eq!(run.requests[0].shared_prefix, Some(Tokens(1_024)));
}

#[test]
fn settings_come_from_the_description_and_the_log() {
    let run = engine_run(&code_llama()).expect("a run");
    let config = &run.config;
    assert_eq!(config.model.as_deref(), Some("codellama/CodeLlama-34b-Instruct-hf"));
    assert_eq!((config.tensor_parallel, config.max_num_seqs), (Some(1), Some(32)));
    assert_eq!(config.max_num_batched_tokens, Some(Tokens(64)));
    assert_eq!(
        (config.dtype.as_deref(), config.vllm.as_deref()),
        (Some("bfloat16"), Some("0.11.0"))
    );
    assert_eq!((config.block_size, config.prefix_caching), (Some(16), Some(true)));
    assert_eq!((config.gpu.as_deref(), run.kv_tokens()), (None, Some(44_640)));
    let log = run.log.as_ref().expect("a log");
    assert_eq!((log.weights_gib, log.kv_memory_gib), (Some(62.8571), Some(8.18)));
    assert_eq!((log.kv_blocks, log.max_concurrency), (Some(2_790), Some(5.45)));
    assert_eq!((log.load.len(), log.prefix_hit_rate()), (4, Some(0.316)));
    assert_eq!((log.load[1].prompt_rate, log.load[1].running), (1_793.3, 1));
}

#[test]
fn attempts_to_start_that_failed_do_not_count() {
    let run = engine_run(&llama_2()).expect("a run");
    let log = run.log.as_ref().expect("a log");
    assert_eq!((log.attempts, run.config.max_model_len), (3, Some(Tokens(4_096))));
    assert_eq!(log.earlier_max_model_lens, [Tokens(8_192)]);
    assert_eq!((run.kv_tokens(), run.config.dtype.as_deref()), (Some(119_008), Some("float16")));
    assert!(run.notes.iter().any(|note| note.contains("3 attempts") && note.contains("8192")));
    assert!(run.phases.is_empty() && run.client_definitions.is_none());
    assert_eq!(run.requests.len(), 9);
    // 1769022101925322240 − 1769021450278127360 ns.
    assert_eq!(run.requests[8].arrival, Time(651_647_194_880_000));
    let server = run.requests[3].server.expect("traced");
    assert_eq!((server.decode, server.ttft), (Some(Span::ZERO), server.e2e));
}

#[test]
fn two_clocks_of_stamps_stay_apart() {
    let run = engine_run(&llama_3()).expect("a run");
    assert_eq!(run.clocks, Clocks { arrivals: Clock::Unix, times: Some(Clock::Monotonic) });
    assert_eq!(run.definitions.side, Side::EngineCore);
    assert_eq!(run.requests.len(), 8);
    let first = &run.requests[0];
    assert_eq!((first.id.as_str(), first.arrival), ("bench-0", Time::ZERO));
    let server = first.server.expect("stamped");
    let near = |span: Span, seconds: f64| (span.as_secs_f64() - seconds).abs() < 1e-8;
    assert!(near(server.queue, 0.000_046_148), "{server:?}");
    assert!(near(server.ttft, 0.169_525_194) && near(server.e2e, 15.713_401_823));
    // Request 4 arrived during an iteration: 479748.898686136 − 1777142838.8638875 is 33 ms more
    // than of request 1, which has the shortest way among these.
    let admission: Vec<f64> = run
        .requests
        .iter()
        .map(|request| request.server.and_then(|server| server.admission).expect("known"))
        .map(Span::as_secs_f64)
        .collect();
    assert!((admission[4] - 0.032_956_4).abs() < 2e-6, "{admission:?}");
    assert!(admission.contains(&0.0));
    assert_eq!(run.config.gpu.as_deref(), Some("RTXPRO6000"));
    assert_eq!((run.config.vllm.as_deref(), run.config.max_model_len), (Some("0.19.0"), None));
    assert_eq!(
        (run.config.max_num_seqs, run.config.gpu_memory_utilization),
        (Some(128), Some(0.9))
    );
    assert_eq!((run.ticks.len(), run.ticks[1].waiting), (5, 1));
    assert_eq!((run.ticks[4].kv_usage, run.kv_tokens()), (None, None));
    assert!(run.notes.iter().any(|note| note.contains("kv_cache_pct")));
}

#[test]
fn rows_of_the_client_alone_are_a_run_by_phases() {
    let files = code_llama();
    let run = engine_run(&[files[1], files[4]]).expect("a run");
    assert_eq!(run.clocks, Clocks { arrivals: Clock::Phase, times: None });
    assert_eq!((run.requests.len(), run.requests[3].arrival), (9, Time::ZERO));
    assert!(run.notes.iter().any(|note| note.contains("each phase")));
}

#[test]
fn a_request_that_failed_is_kept_with_its_error() {
    let files = code_llama();
    let failed = files[1].text.replacen(
        "constant,0.758996823129983,ok,26.355408,1040.394,26.9262,1579.206,3272,21",
        "constant,0.758996823129983,error,26.355408,,,,,",
        1,
    );
    let run = engine_run(&[File { text: &failed, ..files[1] }, files[2]]).expect("a run");
    assert_eq!((run.requests.len(), run.unmatched.len()), (9, 1));
    let times = run.unmatched[0].client.as_ref().expect("of the client");
    assert_eq!((times.error.as_deref(), times.ttft), (Some("error"), None));
    assert_eq!(run.requests.iter().filter(|request| request.client.is_some()).count(), 8);
}

#[test]
fn every_problem_of_every_file_is_told() {
    let mut files = llama_2();
    let spans = files[0].text.replacen("1527", "many", 1).replacen("0.0355", "-0.0355", 1);
    let config = files[1].text.replace("256", "lots");
    files[0].text = &spans;
    files[1].text = &config;
    let error = engine_run(&files).expect_err("three problems").to_string();
    assert_eq!(
        error,
        "exp-config.yaml:5: `max_num_seqs`: expected a whole number from 0, found `lots`\n\
         spans.csv:2: `gen_ai.usage.prompt_tokens`: expected a number, found `many`\n\
         spans.csv:3: `gen_ai.latency.time_to_first_token`: -0.0355076789855957 is no duration; \
         expected a number from 0, below 213 days"
    );
}

#[test]
fn files_that_are_no_run_are_refused_by_name() {
    let files = code_llama();
    let other = File { name: "notes.txt", text: "hello\n" };
    let error = engine_run(&[files[2], files[2], other]).expect_err("two problems").to_string();
    assert!(error.contains("spans.csv: a second file of the kind Spans"), "{error}");
    assert!(error.contains("notes.txt: no file of an engine run"), "{error}");
    let error = engine_run(&[files[0]]).expect_err("no requests").to_string();
    assert!(error.contains("no file holds requests"), "{error}");
    assert!(engine_run(&[]).is_err());
}
