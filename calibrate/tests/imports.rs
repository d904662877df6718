//! Mutated files: whatever a file of measurements holds, the answer is an import or its problems.
//!
//! Every sample is cut, doubled, flipped and filled with hostile numbers, and read as every format.
//! `SURGELINE_CASES` is the number of mutants of each sample (200 without it); they are the same
//! every time.

use calibrate::imports::{
    File, ImportErrors, aiperf, engine_run, guidellm, otlp, prometheus, steps, vllm_bench, vllm_log,
};
use proptest::prelude::*;
use proptest::sample::select;
use sim::units::Span;

macro_rules! samples {
    ($($name:literal),+) => {
        [$(File { name: $name, text: include_str!(concat!("data/imports/", $name)) }),+]
    };
}

const CODE_LLAMA: [File<'static>; 5] = samples!(
    "codellama-34b-prefill/spans.csv",
    "codellama-34b-prefill/requests.csv",
    "codellama-34b-prefill/exp-config.yaml",
    "codellama-34b-prefill/profile.yaml",
    "codellama-34b-prefill/vllm.log"
);
const LLAMA_3: [File<'static>; 4] = samples!(
    "llama-3.1-8b-stamps/requests.jsonl",
    "llama-3.1-8b-stamps/meta.json",
    "llama-3.1-8b-stamps/config.json",
    "llama-3.1-8b-stamps/timeseries.csv"
);
const OTHERS: [File<'static>; 8] = samples!(
    "guidellm_benchmarks.json",
    "profile_export.jsonl",
    "profile_export_aiperf.json",
    "spans.otlp.jsonl",
    "step_intervals.csv",
    "vllm_bench_serve.json",
    "vllm_bench_serve_save_detailed.json",
    "metrics.txt"
);

/// What a mutation puts in.
const PIECES: [&str; 28] = [
    "",
    "0",
    "-1",
    "1e308",
    "1e-320",
    "NaN",
    "Infinity",
    "null",
    "18446744073709551615",
    "4294967296",
    "99999999999999999999",
    "1767225600000000000",
    "9007199254740993",
    "\"\"",
    "{}",
    "[]",
    "[[[[",
    "}",
    "\"",
    ",",
    ":",
    "\n",
    "\0",
    "\r\n",
    "\u{feff}",
    "é€",
    "\\",
    "{\"value\":",
];

/// One change: where, as a share of the text, how much goes, and what comes.
#[derive(Clone, Debug)]
struct Change {
    at: f64,
    length: usize,
    piece: &'static str,
    /// Whether the next number goes, instead of a stretch.
    number: bool,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (0.0..1.0, 0_usize..80, select(PIECES.as_slice()), any::<bool>())
        .prop_map(|(at, length, piece, number)| Change { at, length, piece, number });
    proptest::collection::vec(change, 1..4)
}

/// The nearest character boundary at or before a byte.
fn boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutant(text: &str, changes: &[Change]) -> String {
    let mut text = text.to_owned();
    for change in changes {
        let mut start = boundary(&text, (change.at * text.len() as f64) as usize);
        let mut end = boundary(&text, start + change.length);
        if change.number {
            let digit = |c: char| c.is_ascii_digit();
            start += text[start..].find(digit).unwrap_or_default();
            let rest = &text[start..];
            end = start + rest.find(|c| !digit(c) && c != '.').unwrap_or(rest.len());
        }
        text.replace_range(start..end.max(start), change.piece);
    }
    text
}

fn told<T>(result: Result<T, ImportErrors>) -> Option<T> {
    result
        .map_err(|errors| {
            assert!(!errors.problems.is_empty(), "refused without a reason");
            assert!(errors.problems.iter().all(|problem| !problem.message.is_empty()));
            assert!(!errors.to_string().is_empty());
        })
        .ok()
}

/// Reads a text as everything it might be.
fn read_as_all(file: File<'_>) {
    for measured in told(vllm_bench::vllm_bench(file)).into_iter().flatten() {
        in_order(&measured);
    }
    for measured in told(guidellm::guidellm(file)).into_iter().flatten() {
        in_order(&measured);
    }
    told(aiperf::aiperf_records(file)).iter().for_each(in_order);
    told(aiperf::aiperf_summary(file)).iter().for_each(in_order);
    if let Some(import) = told(otlp::otlp(file)) {
        in_order(&import.measured);
        let index = |span: &otlp::GenAiSpan| span.request.unwrap_or_default();
        let requests = import.measured.requests.len();
        assert!(import.spans.iter().all(|span| index(span) < requests.max(1)));
    }
    told(steps::steps(file));
    told(vllm_log::vllm_log(file));
    for metrics in told(prometheus::prometheus(file)).into_iter().flatten() {
        let still = prometheus::between(&metrics, &metrics, Span::from_secs(1));
        let still = still.expect("nothing happened");
        assert!(still.counters.values().all(|count| *count == 0));
        for histogram in metrics.latencies.values() {
            for p in [0.0, 0.5, 0.99, 1.0] {
                if let Some((lower, upper)) = histogram.quantile_bounds(p) {
                    assert!(lower <= upper || lower == 0.0, "{histogram:?} at {p}");
                }
            }
        }
    }
}

/// Requests are in order of arrival, and no token takes longer than its request.
fn in_order(measured: &calibrate::imports::Measured) {
    let arrivals: Vec<_> = measured.requests.iter().filter_map(|request| request.arrival).collect();
    assert!(arrivals.is_sorted());
    for request in &measured.requests {
        assert!(request.tpot().is_none_or(|tpot| Some(tpot) <= request.e2e));
    }
}

fn read_run(files: &[File<'_>]) {
    if let Some(run) = told(engine_run::engine_run(files)) {
        assert!(!run.requests.is_empty());
        assert!(
            run.requests.iter().all(|request| request.phase.is_none_or(|p| p < run.phases.len()))
        );
        if run.clocks.arrivals != engine_run::Clock::Phase {
            assert!(run.requests.is_sorted_by_key(|request| request.arrival));
            assert_eq!(run.requests[0].arrival.0, 0);
        }
    }
}

fn cases() -> ProptestConfig {
    let asked = std::env::var("SURGELINE_CASES").ok().and_then(|text| text.parse().ok());
    let rng_seed = proptest::test_runner::RngSeed::Fixed(7);
    let cases = asked.unwrap_or(200);
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_mutant_of_a_result_panics(changes in changes()) {
        for file in OTHERS {
            let text = mutant(file.text, &changes);
            read_as_all(File { text: &text, ..file });
        }
    }

    #[test]
    fn no_mutant_of_a_run_panics(changes in changes(), which in 0_usize..5) {
        for files in [CODE_LLAMA.as_slice(), LLAMA_3.as_slice()] {
            let mut files = files.to_vec();
            let which = which % files.len();
            let text = mutant(files[which].text, &changes);
            files[which].text = &text;
            read_run(&files);
            read_run(&files[which..=which]);
            read_as_all(files[which]);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let file = File { name: "any", text: &text };
        read_as_all(file);
        read_run(&[file]);
    }
}

#[test]
fn samples_unchanged_are_read() {
    read_run(&CODE_LLAMA);
    for file in OTHERS.iter().chain(&CODE_LLAMA).chain(&LLAMA_3) {
        read_as_all(*file);
    }
    assert!(
        engine_run::engine_run(&CODE_LLAMA).is_ok() && engine_run::engine_run(&LLAMA_3).is_ok()
    );
    assert!(prometheus::prometheus(OTHERS[7]).is_ok());
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(200_000), "{\"a\":".repeat(200_000)] {
        read_as_all(File { name: "deep", text: &text });
        read_run(&[File { name: "deep", text: &text }]);
    }
}
