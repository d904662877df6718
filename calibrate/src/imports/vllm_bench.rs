//! Results of `vllm bench serve --save-result`, with `--save-detailed` or without.
//!
//! One JSON object is one benchmark; `--append-result` writes several into a file. Statistics are
//! in milliseconds, lists of single requests in seconds (`vllm/benchmarks/serve.py` at 009e6d4a).
//! The stamps in `start_times` are of the client's monotonic clock.
//!
//! Invariants: a request with a text in `errors` is failed and has no times, whatever the other
//! lists say of it (they say zero); lists of different lengths are a problem.
//!
//! Deliberately absent: generated texts, statistics of speculative decoding, and requests of files
//! without `--save-detailed`: their `latencies` cannot be put to lengths.

use super::json::{Node, documents};
use super::problem::{ImportErrors, Problems};
use super::value;
use super::{
    Definitions, End, File, First, Itl, Load, Measured, MeasuredRequest, Rate, Side, Source, Start,
    Statistic, Totals, Tpot, Unit,
};
use sim::units::{Span, Time, Tokens};

/// What `vllm bench serve` means: TPOT is `(latency − TTFT) / (output − 1)` of each request, ITL
/// pools every gap between two chunks; the latency ends with the last chunk.
const DEFINITIONS: Definitions = Definitions {
    side: Side::Client,
    start: Start::Sent,
    first: First::Chunk,
    tpot: Tpot::WithoutFirst,
    itl: Itl::PooledGaps,
    end: End::LastToken,
};

/// Reads every benchmark of a file.
///
/// # Errors
/// [`ImportErrors`] for text that is no JSON, a benchmark without `duration` or `completed`, values
/// of the wrong kind, and lists of requests that do not fit each other.
pub fn vllm_bench(file: File<'_>) -> Result<Vec<Measured>, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let found = documents(file.text, &mut problems);
    if found.is_empty() && problems.is_empty() {
        problems.push(0, "", "no JSON object in this file");
    }
    let benchmarks = found
        .iter()
        .filter_map(|(line, value)| benchmark(&Node::root(*line, value), file.name, &mut problems))
        .collect();
    problems.finish(benchmarks)
}

fn benchmark(root: &Node<'_, '_>, file: &str, problems: &mut Problems) -> Option<Measured> {
    let duration = root.need("duration", problems).and_then(|node| node.span(1.0, problems));
    let completed = root.need("completed", problems).and_then(|node| node.whole(problems));
    let failed = root.get("failed").and_then(|node| node.whole(problems));
    let model = root.get("model_id").and_then(|node| node.text(problems)).map(str::to_owned);
    let requests = requests(root, problems);
    let mut notes = Vec::new();
    if requests.is_empty() {
        notes.push(
            "Without --save-detailed there are no single requests: lengths, and which request \
             failed, are unknown."
                .to_owned(),
        );
    }
    if root.get("request_rate").is_some_and(|rate| rate.value == "inf")
        && root.get("max_concurrency").is_some()
    {
        notes.push(
            "A closed loop: the next request is sent when one ends, so the load follows the \
             server."
                .to_owned(),
        );
    }
    Some(Measured {
        source: Source { tool: "vllm bench serve", version: None, file: file.to_owned(), model },
        definitions: DEFINITIONS,
        load: load(root, problems),
        duration: Some(duration?),
        totals: Totals { completed: Some(completed?), failed },
        requests,
        summary: summary(root, problems),
        notes,
    })
}

fn load(root: &Node<'_, '_>, problems: &mut Problems) -> Load {
    let rate = root.get("request_rate").and_then(|node| match node.value.as_str() {
        Some("inf") => Some(Rate::Unlimited),
        _ => node.number(problems).map(Rate::PerSecond),
    });
    let strategy = root.get("ramp_up_strategy").and_then(|node| node.text(problems));
    Load {
        strategy: strategy.map(|strategy| format!("ramp-up {strategy}")),
        rate,
        concurrency: root.get("max_concurrency").and_then(|node| node.count(problems)),
        burstiness: root.get("burstiness").and_then(|node| node.number(problems)),
    }
}

/// The statistics: keys such as `p99_ttft_ms`, and the throughputs.
fn summary(root: &Node<'_, '_>, problems: &mut Problems) -> Vec<Statistic> {
    let mut found = Vec::new();
    for (key, node) in root.members() {
        let (metric, name, unit) = if let Some((name, metric)) =
            key.strip_suffix("_ms").and_then(|rest| rest.split_once('_'))
        {
            let name = match name {
                "median" => "p50",
                "mean" | "std" => name,
                _ if percentile(name) => name,
                _ => continue,
            };
            let metric = if metric == "e2el" { "e2e" } else { metric };
            (metric, name, Unit::Seconds)
        } else {
            match key {
                "request_throughput" | "output_throughput" | "total_token_throughput" => {
                    (key, "mean", Unit::PerSecond)
                }
                "total_input_tokens" | "total_output_tokens" => (key, "sum", Unit::Count),
                "max_concurrent_requests" => (key, "max", Unit::Count),
                _ => continue,
            }
        };
        if let Some(value) = (!node.value.is_null()).then(|| node.number(problems)).flatten() {
            let value = if unit == Unit::Seconds { value / 1e3 } else { value };
            found.push(Statistic { metric: metric.to_owned(), name: name.to_owned(), value, unit });
        }
    }
    found
}

/// Whether a name is that of a percentile, such as `p99` or `p99.9`.
fn percentile(name: &str) -> bool {
    name.strip_prefix('p')
        .and_then(|number| number.parse().ok())
        .is_some_and(|number: f64| (0.0..=100.0).contains(&number))
}

/// The lists of single requests that a detailed result has.
struct Lists<'v, 'p> {
    inputs: Vec<Node<'v, 'p>>,
    outputs: Vec<Node<'v, 'p>>,
    ttfts: Vec<Node<'v, 'p>>,
    gaps: Vec<Node<'v, 'p>>,
    latencies: Vec<Node<'v, 'p>>,
    starts: Vec<Node<'v, 'p>>,
    errors: Vec<Node<'v, 'p>>,
}

fn requests(root: &Node<'_, '_>, problems: &mut Problems) -> Vec<MeasuredRequest> {
    let names =
        ["input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "errors"];
    let nodes = names.map(|name| root.get(name));
    // `latencies` alone is in every result of newer versions.
    if nodes[0].is_none() {
        return Vec::new();
    }
    let lists: Vec<Vec<Node<'_, '_>>> = nodes
        .iter()
        .map(|node| node.as_ref().map_or_else(Vec::new, |node| node.items(problems)))
        .collect();
    let count = lists[0].len();
    for (name, list) in names.iter().zip(&lists) {
        if list.len() != count && (!list.is_empty() || *name == "output_lens") {
            let message = format!("{} values where `input_lens` has {count}", list.len());
            problems.push(root.line, *name, message);
        }
    }
    let Ok([inputs, outputs, ttfts, gaps, latencies, starts, errors]) =
        <[Vec<Node<'_, '_>>; 7]>::try_from(lists)
    else {
        return Vec::new();
    };
    let lists = Lists { inputs, outputs, ttfts, gaps, latencies, starts, errors };
    let starts: Vec<Option<f64>> = lists.starts.iter().map(|node| node.number(problems)).collect();
    let first = starts.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let mut found: Vec<MeasuredRequest> =
        (0..count).map(|index| request(&lists, index, problems)).collect();
    for (request, (start, node)) in found.iter_mut().zip(starts.iter().zip(&lists.starts)) {
        let Some(start) = start else { continue };
        match value::since(first, *start) {
            Ok(arrival) => request.arrival = Some(arrival),
            Err(message) => node.wrong(problems, message),
        }
    }
    found.sort_by_key(|request| request.arrival);
    found
}

fn request(lists: &Lists<'_, '_>, index: usize, problems: &mut Problems) -> MeasuredRequest {
    let error = lists.errors.get(index).and_then(|node| node.text(problems));
    let error = error.filter(|text| !text.is_empty()).map(str::to_owned);
    let input = lists.inputs[index].tokens(problems);
    let mut request = MeasuredRequest {
        id: index.to_string(),
        arrival: None::<Time>,
        input,
        error,
        ..MeasuredRequest::default()
    };
    if request.error.is_some() {
        return request;
    }
    let mut seconds = |list: &[Node<'_, '_>]| -> Option<Span> {
        list.get(index).and_then(|node| node.span(1.0, problems))
    };
    request.ttft = seconds(&lists.ttfts);
    request.e2e = seconds(&lists.latencies);
    request.output = lists.outputs.get(index).and_then(|node| node.tokens(problems));
    if let Some(gaps) = lists.gaps.get(index) {
        let gaps = gaps.items(problems);
        request.gaps = gaps.iter().filter_map(|node| node.span(1.0, problems)).collect();
    }
    // Older versions do not write the latency; there it is the sum of its parts.
    if lists.latencies.is_empty()
        && let Some(ttft) = request.ttft
        && !lists.gaps.is_empty()
    {
        let sum = request.gaps.iter().fold(ttft.0, |sum, gap| sum.saturating_add(gap.0));
        request.e2e = Some(Span(sum));
    }
    // Without a text and without a token the request failed in a version that does not say why.
    if request.output == Some(Tokens(0)) && request.ttft == Some(Span::ZERO) {
        request.error = Some("no token and no reason given".to_owned());
        (request.ttft, request.e2e) = (None, None);
    }
    // An endpoint that does not stream has no first token; the client writes zero.
    request.ttft = request.ttft.filter(|ttft| *ttft > Span::ZERO);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = include_str!("../../tests/data/imports/vllm_bench_serve.json");
    const DETAILED: &str =
        include_str!("../../tests/data/imports/vllm_bench_serve_save_detailed.json");

    fn read(text: &str) -> Result<Vec<Measured>, ImportErrors> {
        vllm_bench(File { name: "bench.json", text })
    }

    #[test]
    fn a_plain_result_is_statistics_only() {
        let found = read(PLAIN).expect("a result");
        let [measured] = found.as_slice() else { panic!("{found:?}") };
        assert!(measured.requests.is_empty() && !measured.notes.is_empty());
        let value = |metric, name| measured.statistic(metric, name).map(|found| found.value);
        assert_eq!((value("ttft", "mean"), value("tpot", "p50")), (Some(0.04), Some(0.02)));
        assert_eq!((value("itl", "p99"), value("e2e", "p99")), (Some(0.02), None));
        assert_eq!(value("output_throughput", "mean"), Some(4.0));
        assert_eq!(measured.load.rate, Some(Rate::PerSecond(4.0)));
        assert_eq!((measured.load.concurrency, measured.load.burstiness), (Some(2), Some(0.5)));
        assert_eq!(measured.totals, Totals { completed: Some(2), failed: Some(0) });
        assert_eq!(measured.duration, Some(Span::from_millis(1_500)));
    }

    #[test]
    fn a_detailed_result_has_its_requests() {
        let found = read(DETAILED).expect("a result");
        let requests = &found[0].requests;
        assert_eq!(requests.len(), 2);
        let second = &requests[1];
        assert_eq!(second.arrival, Some(Time(500_000_000_000)));
        assert_eq!((second.input, second.output), (Some(Tokens(200)), Some(Tokens(3))));
        assert_eq!(
            (second.ttft, second.e2e),
            (Some(Span::from_millis(50)), Some(Span::from_millis(90)))
        );
        // (90 − 50) / 2 ms, which is what the file says too.
        assert_eq!((second.tpot(), second.gaps.len()), (Some(Span::from_millis(20)), 2));
    }

    #[test]
    fn a_failed_request_has_its_error_and_no_times() {
        let text = DETAILED.replacen("\"errors\": [\n  \"\"", "\"errors\": [\n  \"timeout\"", 1);
        let found = read(&text).expect("a result");
        let failed: Vec<&MeasuredRequest> = found[0].failed().collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].error.as_deref(), failed[0].ttft), (Some("timeout"), None));
    }

    #[test]
    fn several_results_of_one_file_and_an_unlimited_rate_are_read() {
        let one = PLAIN.replace("\"request_rate\": 4.0", "\"request_rate\": \"inf\"");
        let found = read(&format!("{one}\n{PLAIN}")).expect("two results");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].load.rate, Some(Rate::Unlimited));
        assert!(found[0].notes.iter().any(|note| note.contains("closed loop")));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let text = DETAILED
            .replace("\"duration\": 1.5", "\"duration\": \"long\"")
            .replace("\"ttfts\": [\n  0.03,", "\"ttfts\": [");
        let error = read(&text).expect_err("two problems").to_string();
        assert_eq!(
            error,
            "bench.json:1: `duration`: expected a number, found `\"long\"`\n\
             bench.json:1: `ttfts`: 1 values where `input_lens` has 2"
        );
        assert!(read("").is_err() && read("[1, 2]").is_err() && read("{\"duration\": 1}").is_err());
    }
}
