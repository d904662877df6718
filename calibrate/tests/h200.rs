//! One H200 end to end: iteration times fitted to one set of loads predict another.
//!
//! The measurements are `data/measured/h200_transformers`; its README says what they are. What is
//! asserted here is what docs/accuracy.md says.

use calibrate::closed_loop::lanes;
use calibrate::fit::steps::{Step, fit_steps};
use calibrate::replay::{Replayed, replay};
use flate2::read::GzDecoder;
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime, Work};
use sim::stats::quantile_sorted;
use sim::units::{Blocks, Span, Time, Tokens};
use std::collections::BTreeMap;
use std::io::Read;

const ITERATIONS: &[u8] = include_bytes!("../data/measured/h200_transformers/iterations.csv.gz");
const REQUESTS: &str = include_str!("../data/measured/h200_transformers/requests.csv");
/// The loads to calibrate with; the others are predicted.
const CALIBRATE: [&str; 5] = [
    "closed-128-128-1",
    "closed-128-128-16",
    "closed-1024-128-4",
    "closed-2048-128-16",
    "closed-512-256-48",
];

fn steps() -> Vec<(String, Step)> {
    let mut text = String::new();
    GzDecoder::new(ITERATIONS).read_to_string(&mut text).expect("a text");
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let steps = rows.deserialize().map(|row| {
        let row: BTreeMap<String, String> = row.expect("a row");
        let number = |name: &str| row[name].parse::<u64>().expect("a number");
        let work = Work {
            decodes: number("decodes") as u32,
            kv_tokens: number("kv_tokens"),
            prefill_tokens: number("prefill_tokens") as u32,
            prefill_pairs: number("prefill_pairs"),
        };
        (row["load"].clone(), Step { work, seconds: row["seconds"].parse().expect("seconds") })
    });
    steps.collect()
}

struct Request {
    replayed: Replayed,
    ttft: f64,
    e2e: f64,
}

fn requests() -> BTreeMap<String, Vec<Request>> {
    let mut loads: BTreeMap<String, Vec<Request>> = BTreeMap::new();
    for row in csv::Reader::from_reader(REQUESTS.as_bytes()).deserialize() {
        let row: BTreeMap<String, String> = row.expect("a row");
        let seconds = |name: &str| row[name].parse::<f64>().expect("seconds");
        let tokens = |name: &str| row[name].parse::<u32>().expect("tokens");
        let arrival = Time::ZERO.after(Span::from_secs_f64(seconds("arrival")));
        let (input, output) = (tokens("input"), tokens("output"));
        let replayed = Replayed { arrival, input, output, shared: 0, group: 0 };
        let ttft = seconds("first_token") - seconds("arrival");
        let e2e = seconds("end") - seconds("arrival");
        loads.entry(row["load"].clone()).or_default().push(Request { replayed, ttft, e2e });
    }
    loads
}

/// The engine of `scripts/serve_llama.py`.
fn engine() -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(64 * 256 + 1),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(2_048),
        max_num_seqs: 64,
        max_model_len: Tokens(4_096),
        prefix_caching: false,
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: true,
        long_prefill_token_threshold: Tokens(0),
        chunked_prefill: true,
        async_scheduling: false,
        max_num_queued_reqs: None,
        max_num_queued_tokens: None,
        prefill_schedule_interval: 1,
    }
}

fn quantile(mut values: Vec<f64>, p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile_sorted(&values, p).expect("values")
}

#[test]
fn iterations_of_one_set_of_loads_predict_another() {
    let all = steps();
    let (own, other): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(load, _)| CALIBRATE.contains(&load.as_str()));
    let own: Vec<Step> = own.into_iter().map(|(_, step)| step).collect();
    let coefficients = fit_steps(&own);
    for chunks in [false, true] {
        let kind = other.iter().filter(|(_, step)| (step.work.prefill_tokens > 0) == chunks);
        let error = |step: &Step| (coefficients.seconds(step.work) / step.seconds - 1.0).abs();
        let errors: Vec<f64> = kind.map(|(_, step)| error(step)).collect();
        assert!(errors.len() > 300);
        let (median, p90) = (quantile(errors.clone(), 0.5), quantile(errors, 0.9));
        println!("with chunks {chunks}: median {median:.4}, p90 {p90:.4}");
        assert!(median < 0.05 && p90 < 0.12);
    }
    let step_time = coefficients.step_time().expect("usable");
    let mut worst = [0.0_f64; 4];
    let loads = requests();
    assert_eq!(loads.len(), 11);
    for (load, requests) in &loads {
        if CALIBRATE.contains(&load.as_str()) {
            continue;
        }
        let predicted = predict(load, requests, &step_time);
        let measured = [
            requests.iter().map(|request| request.ttft).collect::<Vec<_>>(),
            requests.iter().map(|request| request.e2e).collect(),
        ];
        let mut line = format!("{load}:");
        for (kind, (ours, theirs)) in predicted.into_iter().zip(measured).enumerate() {
            for (tail, p) in [0.5, 0.95].into_iter().enumerate() {
                let (ours, theirs) = (quantile(ours.clone(), p), quantile(theirs.clone(), p));
                let error = ours / theirs - 1.0;
                let place = 2 * kind + tail;
                worst[place] = worst[place].max(error.abs());
                line += &format!(
                    "  {:.1} of {:.1} ms ({:+.1} %)",
                    1e3 * ours,
                    1e3 * theirs,
                    100.0 * error
                );
            }
        }
        println!("{line}");
    }
    println!("{worst:?}");
    for (error, bound) in worst.into_iter().zip([0.13, 0.13, 0.09, 0.13]) {
        assert!(error < bound, "{error} of {bound}");
    }
}

/// Times to first token and to the end of the requests of a load, seconds: closed loops as such, from
/// their lengths; Poisson arrivals as recorded.
fn predict(load: &str, requests: &[Request], step_time: &StepTime) -> [Vec<f64>; 2] {
    let own: Vec<Replayed> = requests.iter().map(|request| request.replayed).collect();
    let times: Vec<(Span, Span)> = if load.starts_with("closed") {
        let count = load.rsplit('-').next().and_then(|lanes| lanes.parse().ok()).expect("lanes");
        let lengths = own.iter().map(|request| (request.input, request.output)).collect();
        let times = lanes(&engine(), step_time, Span::ZERO, count, lengths).expect("they fit");
        times.iter().map(|t| (t.ttft, t.e2e)).collect()
    } else {
        let times = replay(&engine(), step_time, |_| Span::ZERO, &own).into_iter();
        times.map(|times| times.expect("it fits")).map(|t| (t.ttft, t.e2e)).collect()
    };
    let (ttft, e2e) = times.iter().map(|(a, b)| (a.as_secs_f64(), b.as_secs_f64())).unzip();
    [ttft, e2e]
}
