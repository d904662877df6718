//! Mutated inputs: whatever a file holds, the answer is a result or a problem with its place.
//!
//! Every library scenario, a policy and a sample of every trace format are flipped, cut, doubled,
//! nested and filled with hostile numbers. Scenarios that still load are simulated for a bounded
//! number of events, so that nothing that resolves can make the simulator panic.
//!
//! `SURGELINE_FUZZ` is the number of mutants (5,000 without it). Mutant number `n` depends on `n`
//! alone, so a finding can be repeated. The slowest input is printed and never judged: machines
//! differ.

use scenarios::trace::{self, Limits, TraceFormat, TraceProblem, ragpulse, servegen};
use scenarios::{Problems, library, load_file, load_str};
use sim::Simulation;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Mutants without `SURGELINE_FUZZ`.
const USUAL: u64 = 5_000;
/// Events of one simulation.
const STEPS: u32 = 2_000;
/// KV blocks of all replicas together, beyond which a scenario is not simulated: it is admitted,
/// but building it thousands of times is a test of the memory.
const MOST_BLOCKS: u64 = 4_000_000;

const POLICY: &str =
    "[load_balancing]\nh100 = { strategy = \"power-of-two\", signal_age = \"50ms\" }\n";
const SMALL: &str = r#"
[scenario]
horizon = "1h"
[traffic.web]
task = "chat"
arrivals = { kind = "gamma", rate = "2/s", cv = 2.0 }
profile = { points = [{ at = "0s", factor = 0.5 }, { at = "30m", factor = 1.5 }], period = "1h" }
spikes = [{ at = "10m", length = "1m", factor = 3.0 }]
sessions = { turns = { kind = "gamma", mean = 3, cv = 0.5 }, think = { kind = "lognormal", p50 = "5s", p95 = "60s" } }
prefix = { tokens = 600, distinct = 3, zipf = 1.0 }
[traffic.users]
task = "chat"
arrivals = { kind = "closed-loop", users = 5, think = { kind = "exponential", mean = "2s" } }
[traffic.mixed]
task = "chat"
arrivals = { kind = "weibull", rate = "1/s", shape = 0.7 }
clients = [{ name = "a", share = 1 }, { name = "b", share = 3, output = { kind = "empirical", values = [[9, 1], [90, 2]] } }]
[tasks.chat]
value = "$0.12"
p95_latency_slo = "6s"
steps = [
  { id = "answer", model_call = { model = "small", input = { kind = "lognormal", p50 = 350, p95 = 900 }, output = { kind = "fixed", tokens = 100 } } },
]
[models.small]
served_by = ["h100"]
[pools.h100]
replicas = 2
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 900, block_size = 16, max_num_seqs = 64, max_num_batched_tokens = 2048 }
step_time = { fixed = "5ms", per_token = "20us", per_kv_token = "50ns" }
[load_balancing]
h100 = { strategy = "power-of-two", signal_age = "50ms" }
[objectives]
"chat.success_rate" = ">= 97%"
spend.per_day = "<= $900"
[gates]
p99 = "<= +2% or +20ms, <= 60s, else warn"
chat.success_rate = ">= -0.5%"
[check]
pairs = 12
time = "30s"
[levers]
pools.h100.replicas = "1..9 step 2"
load_balancing.h100.strategy = ["random", "kv-aware"]
"#;

const TRACES: [(TraceFormat, &str); 5] = [
    (
        TraceFormat::Azure2023,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n\
         2023-11-16 18:15:50.9951690,396,109\n",
    ),
    (
        TraceFormat::Mooncake,
        "{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 5, \"hash_ids\": [0, 1]}\n\
         {\"timestamp\": 3000, \"input_length\": 512, \"output_length\": 7, \"hash_ids\": [0]}\n",
    ),
    (
        TraceFormat::BurstGpt,
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
         5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,0,0,0,API log\n",
    ),
    (
        TraceFormat::GenericCsv,
        "at,input,output,session,segments\n0.5,100,7,a,\"[[1,60],[2,40]]\"\n1.5,5,1,,\n",
    ),
    (
        TraceFormat::GenericJsonl,
        "{\"at\": 0.5, \"input\": 100, \"output\": 7, \"session\": \"a\", \"segments\": [[1,60],[2,40]]}\n\
         {\"at\": 1.25, \"input\": 60, \"output\": 7, \"session\": 7}\n",
    ),
];
const RAG: &str = "{\"timestamp\": \"82\", \"input_length\": 108, \"output_length\": 9, \"hash_ids\": \
                   {\"sys_prompt\": [1], \"passages_ids\": [], \"history\": [], \"web_search\": [], \
                   \"user_input\": []}, \"session_id\": \"s1\"}\n";
const RAG_PARTS: &str = "{\"sys_prompt_id\": 1, \"token_length\": 50}\n";
const CLIENT: [(&str, &str); 2] = [
    ("chunk-3-trace.csv", "0,0,0,,0,0\n600,0.5,2.0,Gamma,0.25,8\n1200,1.5,1.1,Weibull,0.9,0.6\n"),
    (
        "chunk-3-dataset.json",
        "{\"0\": {\"input_tokens\": \"{10: 0.5, 20: 0.5}\", \"output_tokens\": \"{4: 1.0}\"}}\n",
    ),
];

/// What a sample is read as.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Scenario,
    Policy,
    Trace(TraceFormat),
    RagRows,
    RagParts,
    Mix,
}

/// What became of a mutant.
#[derive(Default)]
struct Tally {
    mutants: u64,
    loaded: u64,
    rejected: u64,
    simulated: u64,
    slow: u64,
    slowest: Option<(Duration, u64, Kind)>,
    panics: Vec<u64>,
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seeded, good enough to place mutations.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const NUMBERS: [&str; 20] = [
    "0",
    "1",
    "2",
    "-1",
    "-0.0",
    "0.000001",
    "1e308",
    "1e-320",
    "nan",
    "inf",
    "255",
    "65536",
    "1000000",
    "10000000",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999",
    "340282366920938463463374607431768211456",
];
const TOKENS: [&str; 22] = [
    "\"\"",
    "{}",
    "[]",
    "[[",
    "]",
    "}",
    "=",
    "\"",
    "'''",
    "\n",
    "\0",
    "\r",
    "\u{feff}",
    "true",
    "\"100d\"",
    "\"0s\"",
    "\"1ps\"",
    "\"1000000000/s\"",
    "h100",
    "#",
    ",",
    "\\u0000",
];

fn mutant(sample: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    // One change in half of the mutants, which therefore often load.
    for _ in 0..=dice.below(2) * dice.below(3) {
        if bytes.len() < 2 {
            return bytes;
        }
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(60)).min(bytes.len());
        match dice.below(9) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].repeat(1 + dice.below(4));
                bytes.splice(at..at, copy);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, dice.one_of(&TOKENS).bytes())),
            5 => swap_value(&mut bytes, at, dice),
            6 => nest(&mut bytes, at, end, dice),
            // Twice: numbers reach deepest.
            _ => swap_number(&mut bytes, at, dice),
        }
    }
    bytes
}

/// Puts a hostile number in the place of the next one.
fn swap_number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else {
        return;
    };
    let number = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let length = bytes[start..].iter().take_while(|b| number(b)).count();
    bytes.splice(start..start + length, dice.one_of(&NUMBERS).bytes());
}

/// Puts a token or a number in the place of the next value.
fn swap_value(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let assigns = |b: &u8| matches!(b, b'=' | b':');
    let Some(start) = bytes[at..].iter().position(assigns).map(|i| at + i + 1) else { return };
    let ends = |b: &&u8| !matches!(b, b',' | b'}' | b']' | b'\n');
    let length = bytes[start..].iter().take_while(ends).count();
    let word = if dice.below(2) == 0 { dice.one_of(&TOKENS) } else { dice.one_of(&NUMBERS) };
    bytes.splice(start..start + length, format!(" {word}").bytes());
}

/// Wraps a stretch in brackets, up to hundreds deep.
fn nest(bytes: &mut Vec<u8>, at: usize, end: usize, dice: &mut Dice) {
    let depth = 1 << dice.below(10);
    let (open, close) = if dice.below(2) == 0 { ("[", "]") } else { ("{a=", "}") };
    let inner = String::from_utf8_lossy(&bytes[at..end]).into_owned();
    let nested = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    bytes.splice(at..end, nested.bytes());
}

fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in CLIENT {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, text.as_bytes()).expect("a member in memory");
    }
    archive.into_inner().expect("an archive in memory")
}

/// Every sample, the scenarios more than once so that they get their share of the mutants.
fn samples() -> Vec<(Kind, Vec<u8>)> {
    let mut all: Vec<(Kind, Vec<u8>)> =
        TRACES.iter().map(|&(format, text)| (Kind::Trace(format), text.into())).collect();
    all.push((Kind::RagRows, RAG.into()));
    all.push((Kind::RagParts, RAG_PARTS.into()));
    all.push((Kind::Mix, archive()));
    all.push((Kind::Policy, POLICY.into()));
    for text in library::all().iter().map(|shipped| shipped.text).chain([SMALL, SMALL, SMALL]) {
        all.push((Kind::Scenario, text.into()));
    }
    all
}

/// Reads a mutant; whether it was accepted, and whether it was simulated.
fn judge(kind: Kind, bytes: &[u8], scratch: &Scratch, seed: u64) -> (bool, bool) {
    let limits = Limits::default();
    let parts = |sys_prompt| ragpulse::PartFiles {
        sys_prompt,
        passages: b"",
        history: b"",
        user_input: b"",
        web_search: b"",
    };
    let judged = match kind {
        Kind::Scenario => {
            return scenario(load_str("m.toml", &String::from_utf8_lossy(bytes), &[]), seed);
        }
        Kind::Policy => return scenario(scratch.with_policy(bytes), seed),
        Kind::Trace(format) => trace::read_bytes(format, "m", bytes).map(drop),
        Kind::RagRows => {
            ragpulse::read_bytes("m", bytes, &parts(RAG_PARTS.as_bytes()), &limits).map(drop)
        }
        Kind::RagParts => {
            ragpulse::read_bytes("m", RAG.as_bytes(), &parts(bytes), &limits).map(drop)
        }
        Kind::Mix => servegen::read_bytes("m", bytes, &limits).map(drop),
    };
    (judged.map_err(|problems| trace_places(&problems)).is_ok(), false)
}

fn trace_places(problems: &[TraceProblem]) {
    let placed = |p: &TraceProblem| p.line >= 1 && p.column >= 1 && !p.file.is_empty();
    assert!(!problems.is_empty() && problems.iter().all(placed), "{problems:?}");
}

fn scenario(loaded: Result<scenarios::Resolved, Problems>, seed: u64) -> (bool, bool) {
    let resolved = match loaded {
        Ok(resolved) => resolved,
        Err(problems) => {
            let placed = |p: &scenarios::Problem| {
                let place = &p.site.place;
                place.line >= 1 && place.column >= 1 && !place.file.is_empty()
            };
            assert!(!problems.list.is_empty() && problems.list.iter().all(placed), "{problems}");
            return (false, false);
        }
    };
    let pools = &resolved.scenario.pools;
    let blocks =
        |pool: &sim::fleet::PoolSpec| u64::from(pool.replicas) * u64::from(pool.engine.kv_blocks.0);
    if pools.iter().map(blocks).sum::<u64>() > MOST_BLOCKS {
        return (true, false);
    }
    let mut simulation = Simulation::new(&resolved.scenario, seed, 0);
    for _ in 0..STEPS {
        if simulation.step().is_none() {
            break;
        }
    }
    (true, true)
}

/// A folder with a scenario, for policies, which are read from files. It goes away with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let path = std::env::temp_dir().join(format!("surgeline-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch folder");
        let (scenario, _) = SMALL.split_once("[load_balancing]").expect("a policy inside");
        std::fs::write(path.join("s.toml"), scenario).expect("a scratch file");
        Scratch(path)
    }

    fn with_policy(&self, bytes: &[u8]) -> Result<scenarios::Resolved, Problems> {
        let policy = self.0.join("p.toml");
        std::fs::write(&policy, bytes).expect("a scratch file");
        load_file(&self.0.join("s.toml"), Some(&policy), &[])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn count() -> u64 {
    let asked = std::env::var("SURGELINE_FUZZ").ok();
    asked.map_or(USUAL, |text| text.parse().expect("SURGELINE_FUZZ is a number of mutants"))
}

#[test]
fn no_mutant_panics_and_every_problem_has_a_place() {
    let samples = samples();
    let scratch = Scratch::new();
    let mut tally = Tally::default();
    for number in 0..count() {
        let (kind, sample) = &samples[(number % samples.len() as u64) as usize];
        let mut dice = Dice(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let bytes = mutant(sample, &mut dice);
        let start = Instant::now();
        let judged = catch_unwind(AssertUnwindSafe(|| judge(*kind, &bytes, &scratch, number)));
        let took = start.elapsed();
        tally.mutants += 1;
        match judged {
            Ok((true, simulated)) => {
                tally.loaded += 1;
                tally.simulated += u64::from(simulated);
            }
            Ok((false, _)) => tally.rejected += 1,
            Err(_) => {
                let text = String::from_utf8_lossy(&bytes);
                println!("mutant {number} ({kind:?}) panicked:\n{text}\n");
                tally.panics.push(number);
            }
        }
        if took > Duration::from_secs(1) {
            tally.slow += 1;
            println!("mutant {number} ({kind:?}) took {took:.2?}");
        }
        if tally.slowest.is_none_or(|(slowest, ..)| took > slowest) {
            tally.slowest = Some((took, number, *kind));
        }
    }
    println!(
        "{} mutants: {} loaded ({} of them simulated), {} rejected, {} panicked; {} above 1 s, \
         slowest {:?}",
        tally.mutants,
        tally.loaded,
        tally.simulated,
        tally.rejected,
        tally.panics.len(),
        tally.slow,
        tally.slowest
    );
    assert!(tally.panics.is_empty(), "mutants {:?} panicked", tally.panics);
    assert_eq!(tally.mutants, tally.loaded + tally.rejected);
    // Both happen, or the loop tests nothing.
    let enough = tally.mutants < 1_000 || tally.loaded.min(tally.rejected) > tally.mutants / 50;
    assert!(enough, "{} loaded, {} rejected", tally.loaded, tally.rejected);
}
