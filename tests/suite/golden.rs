//! Golden scheduler cases: what the scheduler of vLLM 0.33.0 did, step by step.
//!
//! Both engines run every case at one step per nanosecond. The hand-made cases are compared step
//! by step (the reference) and boundary by boundary (the fast engine), the random ones on every
//! total. `SURGELINE_GOLDEN` names further files of the same two formats, colon-separated.

use crate::engines::{Engine, Fast, drive};
use serde::Deserialize;
use sim::engine::reference::{ReferenceReplica, StepLog};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime, Submission};
use sim::units::{Blocks, Span, Time, Tokens};
use sim::workload::Segment;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Length of a step: the clock of the cases counts steps.
const STEP: Span = Span(1_000);

#[derive(Deserialize)]
struct Golden {
    case: Case,
    result: Totals,
    #[serde(default)]
    trace: Vec<Step>,
}

/// Settings of an engine and the requests it gets.
#[derive(Deserialize)]
pub(crate) struct Case {
    cfg: Config,
    reqs: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    blocks: u32,
    block_size: u32,
    budget: u32,
    max_seqs: u32,
    max_model_len: u32,
    caching: bool,
    policy: String,
    watermark: f64,
    reserve_full_isl: bool,
    long_prefill: u32,
    chunked: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            blocks: 0,
            block_size: 16,
            budget: 8192,
            max_seqs: 1024,
            max_model_len: 4096,
            caching: true,
            policy: "fcfs".to_owned(),
            watermark: 0.0,
            reserve_full_isl: true,
            long_prefill: 0,
            chunked: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: String,
    prompt: Vec<(String, u32)>,
    max_tokens: u32,
    #[serde(default)]
    arrival: u64,
    #[serde(default)]
    prio: i32,
}

#[derive(Deserialize)]
struct Step {
    step: u64,
    scheduled: BTreeMap<String, u32>,
    preempted: Vec<String>,
    used_blocks: u32,
}

impl Case {
    fn spec(&self) -> EngineSpec {
        let cfg = &self.cfg;
        EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(cfg.blocks),
            block_size: Tokens(cfg.block_size),
            max_num_batched_tokens: Tokens(cfg.budget),
            max_num_seqs: cfg.max_seqs,
            max_model_len: Tokens(cfg.max_model_len),
            prefix_caching: cfg.caching,
            policy: match cfg.policy.as_str() {
                "fcfs" => SchedulingPolicy::Fcfs,
                "priority" => SchedulingPolicy::Priority,
                other => panic!("unknown policy {other}"),
            },
            watermark: Blocks((cfg.watermark * f64::from(cfg.blocks)) as u32),
            reserve_full_isl: cfg.reserve_full_isl,
            long_prefill_token_threshold: Tokens(cfg.long_prefill),
            chunked_prefill: cfg.chunked,
            async_scheduling: false,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            prefill_schedule_interval: 1,
        }
    }

    /// The requests by arrival, ties by id.
    fn submissions(&self) -> Vec<Submission> {
        let mut labels = BTreeMap::new();
        let mut by_id: Vec<_> = self.reqs.iter().enumerate().collect();
        by_id.sort_by(|a, b| a.1.id.cmp(&b.1.id));
        let mut list: Vec<Submission> = by_id
            .into_iter()
            .map(|(number, request)| {
                let prompt: u32 = request.prompt.iter().map(|s| s.1).sum();
                let segments = request
                    .prompt
                    .iter()
                    .map(|(label, tokens)| {
                        let next = labels.len() as u64 + 1;
                        Segment {
                            id: *labels.entry(label.clone()).or_insert(next),
                            tokens: *tokens,
                        }
                    })
                    .collect();
                Submission {
                    call: number as u32,
                    arrived: Time(request.arrival * STEP.0),
                    prompt,
                    outputs: request.max_tokens.min(self.cfg.max_model_len - prompt),
                    max_tokens: request.max_tokens,
                    ends_by_eos: false,
                    priority: request.prio,
                    segments,
                    output_segment: u64::MAX - number as u64,
                }
            })
            .collect();
        list.sort_by_key(|submission| submission.arrived);
        list
    }
}

/// Totals of one run in the golden format, by name.
pub(crate) type Totals = BTreeMap<String, serde_json::Value>;

/// Totals of one run.
fn totals<E: Engine>(case: &Case, engine: &mut E, log: &mut Vec<(u64, StepLog)>) -> Totals {
    let ended = drive(engine, case.submissions(), &[], |engine, now| {
        log.push((now.0 / STEP.0, engine.step_log()));
    });
    let mut by_id: Vec<_> = ended.iter().map(|e| (&case.reqs[e.call as usize].id, e)).collect();
    by_id.sort_by_key(|(id, _)| *id);
    let list = |value: &dyn Fn(&sim::engine::Ended) -> u64| -> serde_json::Value {
        by_id
            .iter()
            .map(|(id, e)| format!("{id}:{}", value(e)))
            .collect::<Vec<_>>()
            .join(";")
            .into()
    };
    let counts = engine.counts();
    BTreeMap::from([
        ("steps".into(), counts.iterations.into()),
        ("preemptions".into(), counts.preemptions.into()),
        ("scheduled_tokens".into(), counts.scheduled_tokens.into()),
        ("peak_blocks".into(), engine.peak_blocks().into()),
        ("evictions".into(), counts.evictions.into()),
        ("first_step".into(), list(&|e| e.first_token.0 / STEP.0 - 1)),
        ("done_step".into(), list(&|e| e.ended.0 / STEP.0 - 1)),
        ("hit_tokens".into(), list(&|e| u64::from(e.hit_tokens))),
        ("out_tokens".into(), list(&|e| u64::from(e.outputs))),
    ])
}

/// Totals of the reference and of the fast engine, and what the reference did step by step.
pub(crate) fn run_on_both(case: &Case) -> (Totals, Totals, Vec<(u64, StepLog)>) {
    let spec = case.spec();
    let step_time = StepTime::constant(STEP).expect("a nanosecond is a valid step");
    let mut log = Vec::new();
    let mut reference = ReferenceReplica::new(spec.clone(), step_time.clone());
    let slow = totals(case, &mut reference, &mut log);
    let fast = totals(case, &mut Fast::new(spec, step_time), &mut Vec::new());
    (slow, fast, log)
}

fn check(name: &str, golden: &Golden) {
    let (reference, fast, log) = run_on_both(&golden.case);
    assert_eq!(reference, golden.result, "reference engine, {name}");
    check_trace(name, golden, &log);
    assert_eq!(fast, golden.result, "fast engine, {name}");
}

fn check_trace(name: &str, golden: &Golden, log: &[(u64, StepLog)]) {
    if golden.trace.is_empty() {
        return;
    }
    assert_eq!(golden.trace.len(), log.len(), "steps of {name}");
    let id = |call: &u32| golden.case.reqs[*call as usize].id.clone();
    for (wanted, (step, got)) in golden.trace.iter().zip(log) {
        assert_eq!(wanted.step, *step, "{name}");
        let scheduled: BTreeMap<_, _> = got.scheduled.iter().map(|(c, n)| (id(c), *n)).collect();
        assert_eq!(wanted.scheduled, scheduled, "{name}, step {step}");
        let preempted: Vec<_> = got.preempted.iter().map(id).collect();
        assert_eq!(wanted.preempted, preempted, "{name}, step {step}");
        assert_eq!(wanted.used_blocks, got.used_blocks, "{name}, step {step}");
    }
}

/// Runs every case of a file and returns how many there were.
fn check_file(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = path.extension().is_some_and(|e| e == "jsonl");
    let cases: Vec<(String, Golden)> = if lines {
        let parse =
            |(n, line)| (format!("line {}", n + 1), serde_json::from_str(line).expect("a case"));
        text.lines().enumerate().filter(|l| !l.1.trim().is_empty()).map(parse).collect()
    } else {
        let named: BTreeMap<String, Golden> = serde_json::from_str(&text).expect("named cases");
        named.into_iter().collect()
    };
    for (name, golden) in &cases {
        check(name, golden);
    }
    cases.len()
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/data/golden").join(name)
}

#[test]
fn golden_step_traces() {
    assert_eq!(check_file(&shipped("vllm_scheduler.json")), 7);
}

#[test]
fn golden_random_cases() {
    assert_eq!(check_file(&shipped("vllm_scheduler_fuzz.jsonl")), 280);
}

#[test]
fn golden_files_named_in_the_environment() {
    let Ok(list) = std::env::var("SURGELINE_GOLDEN") else { return };
    for path in list.split(':').filter(|p| !p.is_empty()) {
        let cases = check_file(Path::new(path));
        assert!(cases > 0, "{path} holds no case");
        eprintln!("{path}: {cases} cases");
    }
}
