//! `benchmarks.json` of GuideLLM, format version 2 (GuideLLM 0.4 and later; read from 0.8.1).
//!
//! Stamps are Unix seconds of the client. Token counts are those the server reported, or the
//! client's tokeniser's where it reported none (`guidellm/schemas/base/request_stats.py`).
//!
//! Invariants: errored and cut-off requests are kept with their reason; a benchmark that lists only
//! a sample of its requests says so in a note.
//!
//! Deliberately absent: texts, the CSV form, and modalities other than by their tokens.

use super::json::{Node, documents};
use super::problem::{ImportErrors, Problems};
use super::value;
use super::{
    Definitions, End, File, First, Itl, Load, Measured, MeasuredRequest, Rate, Side, Source, Start,
    Statistic, Totals, Tpot, Unit,
};
use sim::units::{Span, Tokens};

/// What GuideLLM means: TPOT is `(last token − start) / output` and so has TTFT in it; ITL is
/// `(last − first) / (output − 1)`, one a request.
const DEFINITIONS: Definitions = Definitions {
    side: Side::Client,
    start: Start::Sent,
    first: First::Chunk,
    tpot: Tpot::WithFirst,
    itl: Itl::MeanOfRequest,
    end: End::Response,
};

/// Reads every benchmark of a file; a sweep has several.
///
/// # Errors
/// [`ImportErrors`] for text that is no JSON, a document without `benchmarks`, and values of the
/// wrong kind.
pub fn guidellm(file: File<'_>) -> Result<Vec<Measured>, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let found = documents(file.text, &mut problems);
    if found.is_empty() && problems.is_empty() {
        problems.push(0, "", "no JSON object in this file");
    }
    let mut measured = Vec::new();
    for (line, value) in &found {
        let root = Node::root(*line, value);
        let version =
            root.get("metadata").and_then(|node| node.get("guidellm_version")?.text(&mut problems));
        let Some(benchmarks) = root.need("benchmarks", &mut problems) else { continue };
        for benchmark in benchmarks.items(&mut problems) {
            measured.extend(self::benchmark(&benchmark, file.name, version, &mut problems));
        }
    }
    problems.finish(measured)
}

fn benchmark(
    root: &Node<'_, '_>,
    file: &str,
    version: Option<&str>,
    problems: &mut Problems,
) -> Option<Measured> {
    let lists = root.need("requests", problems)?;
    let mut notes = Vec::new();
    let mut stamped = Vec::new();
    for (list, failure) in [
        ("successful", None),
        ("errored", Some("errored")),
        ("incomplete", Some("cut off at the end of the benchmark")),
    ] {
        let Some(list) = lists.get(list) else { continue };
        for node in list.items(problems) {
            stamped.push(request(&node, failure, problems));
        }
    }
    let requests = in_order(stamped, problems);
    let totals = totals(root, requests.len(), &mut notes, problems);
    if requests.iter().any(|request| request.ends_early) {
        notes.push(
            "Some requests have no stamp of their end; the last token's is taken for E2E."
                .to_owned(),
        );
    }
    Some(Measured {
        source: Source {
            tool: "GuideLLM",
            version: version.map(str::to_owned),
            file: file.to_owned(),
            model: model(root),
        },
        definitions: DEFINITIONS,
        load: load(root, problems),
        duration: duration(root, problems),
        totals,
        requests: requests.into_iter().map(|stamped| stamped.request).collect(),
        summary: root.get("metrics").map_or_else(Vec::new, |node| summary(&node, problems)),
        notes,
    })
}

/// A request and what is needed to put it in order.
struct Stamped {
    start: Option<f64>,
    /// Whether its E2E ends with the last token, for want of a later stamp.
    ends_early: bool,
    request: MeasuredRequest,
}

/// Counts arrivals from the first and sorts by them; what was never sent comes last.
fn in_order(mut stamped: Vec<Stamped>, problems: &mut Problems) -> Vec<Stamped> {
    let first = stamped.iter().filter_map(|row| row.start).fold(f64::INFINITY, f64::min);
    for row in &mut stamped {
        let Some(start) = row.start else { continue };
        match value::since(first, start) {
            Ok(arrival) => row.request.arrival = Some(arrival),
            Err(message) => problems.push(0, row.request.id.as_str(), message),
        }
    }
    stamped.sort_by_key(|row| (row.request.arrival.is_none(), row.request.arrival));
    stamped
}

fn request(node: &Node<'_, '_>, failure: Option<&str>, problems: &mut Problems) -> Stamped {
    let mut request = MeasuredRequest { id: node.path(), ..MeasuredRequest::default() };
    if let Some(id) = node.get("request_id").and_then(|node| node.text(problems)) {
        request.id = id.to_owned();
    }
    request.error = failure.map(str::to_owned);
    let mut stamped = Stamped { start: None, ends_early: false, request };
    let request = &mut stamped.request;
    let usage = |key| node.get(key);
    if let Some(usage) = usage("input_metrics") {
        request.input = tokens(&usage, problems);
        request.cached = usage.get("cached_tokens").and_then(|node| node.tokens(problems));
    }
    if let Some(usage) = usage("output_metrics") {
        request.output = tokens(&usage, problems);
    }
    let Some(info) = node.need("info", problems) else { return stamped };
    if let Some(error) = info.get("error").and_then(|node| node.text(problems))
        && failure.is_some()
    {
        request.error = Some(error.to_owned());
    }
    let session = info.get("conversation_id").and_then(|node| node.text(problems));
    request.session = session.map(str::to_owned);
    let Some(timings) = info.need("timings", problems) else { return stamped };
    let mut stamp = |key| timings.get(key).and_then(|node| node.number(problems));
    let sent = stamp("request_start");
    let resolved = stamp("resolve_start");
    let first = stamp("first_token_iteration");
    let last = stamp("last_token_iteration");
    let end = stamp("request_end");
    if request.output.is_none() {
        // As GuideLLM does: one token an iteration, where the server reports no usage.
        let iterations = timings.get("token_iterations");
        let iterations = iterations.and_then(|node| node.tokens(problems));
        request.output = iterations.filter(|tokens| tokens.0 > 0);
    }
    stamped.start = sent.or(resolved);
    let mut since_sent = |stamp: Option<f64>| -> Option<Span> {
        let (from, to) = (sent?, stamp?);
        value::between(from, to).map_err(|message| timings.wrong(problems, message)).ok()
    };
    request.ttft = since_sent(first);
    stamped.ends_early = end.is_none() && last.is_some();
    request.e2e = since_sent(end.or(last));
    stamped
}

/// Tokens of every modality together.
fn tokens(usage: &Node<'_, '_>, problems: &mut Problems) -> Option<Tokens> {
    let keys = ["text_tokens", "image_tokens", "video_tokens", "audio_tokens"];
    let mut sum: Option<Tokens> = None;
    for key in keys {
        if let Some(Tokens(found)) = usage.get(key).and_then(|node| node.tokens(problems)) {
            let so_far = sum.map_or(0, |tokens| tokens.0);
            sum = Some(Tokens(so_far.saturating_add(found)));
        }
    }
    sum
}

fn totals(
    root: &Node<'_, '_>,
    listed: usize,
    notes: &mut Vec<String>,
    problems: &mut Problems,
) -> Totals {
    let Some(metrics) = root.get("metrics") else { return Totals::default() };
    let Some(totals) = metrics.get("request_totals") else { return Totals::default() };
    let mut count = |key| totals.get(key).and_then(|node| node.whole(problems));
    let (completed, errored) = (count("successful"), count("errored"));
    let (incomplete, total) = (count("incomplete"), count("total"));
    if let Some(incomplete) = incomplete.filter(|count| *count > 0) {
        notes.push(format!(
            "{incomplete} requests were cut off at the end of the benchmark; they count neither as \
             completed nor as failed."
        ));
    }
    if let Some(total) = total.filter(|total| *total > listed as u64) {
        notes.push(format!(
            "The file lists {listed} of {total} requests: a sample, whose arrivals are not the load."
        ));
    }
    Totals { completed, failed: errored }
}

fn model(root: &Node<'_, '_>) -> Option<String> {
    let config = root.get("config")?;
    let backend = config.get("backend")?;
    Some(backend.get("model")?.value.as_str()?.to_owned())
}

/// From the start to the end of what was measured, without warm-up and cool-down.
fn duration(root: &Node<'_, '_>, problems: &mut Problems) -> Option<Span> {
    let metrics = root.get("scheduler_metrics")?;
    let start = metrics.get("measure_start_time")?.number(problems)?;
    let end = metrics.get("measure_end_time")?.number(problems)?;
    value::between(start, end).map_err(|message| metrics.wrong(problems, message)).ok()
}

fn load(root: &Node<'_, '_>, problems: &mut Problems) -> Load {
    let mut load = Load::default();
    if let Some(metrics) = root.get("scheduler_metrics") {
        let name = metrics.get("strategy_type").and_then(|node| node.text(problems));
        load.strategy = name.map(str::to_owned);
    }
    let Some(config) = root.get("config") else { return load };
    let Some(strategy) = config.get("strategy") else { return load };
    let rate = strategy.get("rate").and_then(|node| node.number(problems));
    load.rate = rate.map(Rate::PerSecond);
    let mut count = |key| strategy.get(key).and_then(|node| node.count(problems));
    load.concurrency = count("streams").or(count("max_concurrency"));
    match load.strategy.as_deref() {
        Some("synchronous") => load.concurrency = Some(1),
        Some("throughput" | "concurrent") => load.rate = Some(Rate::Unlimited),
        Some("poisson") => load.burstiness = Some(1.0),
        _ => {}
    }
    load
}

/// The statistics of the requests that succeeded.
fn summary(metrics: &Node<'_, '_>, problems: &mut Problems) -> Vec<Statistic> {
    let mut found = Vec::new();
    for (key, metric) in metrics.members() {
        let Some(of) = metric.get("successful") else { continue };
        let (name, unit, factor) = named(key);
        let mut take = |statistic: String, node: &Node<'_, '_>| {
            let Some(value) = node.number(problems) else { return };
            let counts = statistic == "count";
            let unit = if counts { Unit::Count } else { unit };
            let value = if counts { value } else { value * factor };
            found.push(Statistic { metric: name.to_owned(), name: statistic, value, unit });
        };
        for (key, statistic) in [
            ("mean", "mean"),
            ("std_dev", "std"),
            ("min", "min"),
            ("max", "max"),
            ("count", "count"),
            ("total_sum", "sum"),
        ] {
            if let Some(node) = of.get(key) {
                take(statistic.to_owned(), &node);
            }
        }
        if let Some(percentiles) = of.get("percentiles") {
            for (key, node) in percentiles.members() {
                if let Some(percentile) = percentile(key).filter(|_| !node.value.is_null()) {
                    take(percentile, &node);
                }
            }
        }
    }
    found
}

/// The common name of a metric, its unit, and what its values are multiplied with.
fn named(key: &str) -> (&str, Unit, f64) {
    match key {
        "request_latency" => ("e2e", Unit::Seconds, 1.0),
        "time_to_first_token_ms" => ("ttft", Unit::Seconds, 1e-3),
        "time_per_output_token_ms" => ("tpot", Unit::Seconds, 1e-3),
        "inter_token_latency_ms" => ("itl", Unit::Seconds, 1e-3),
        _ => match key.strip_suffix("_ms") {
            Some(name) => (name, Unit::Seconds, 1e-3),
            None if key.ends_with("_per_second") => (key, Unit::PerSecond, 1.0),
            None if key.ends_with("_count") || key.ends_with("_concurrency") => {
                (key, Unit::Count, 1.0)
            }
            None => (key, Unit::Other, 1.0),
        },
    }
}

/// `p05` is the fifth percentile, `p999` the one at 99.9, `p001` the one at 0.1.
fn percentile(key: &str) -> Option<String> {
    let digits = key.strip_prefix('p').filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()))?;
    match digits.len() {
        2 => Some(format!("p{}", digits.trim_start_matches('0'))),
        3 => {
            let (whole, tenth) = digits.split_at(2);
            let whole = whole.trim_start_matches('0');
            Some(format!("p{}.{tenth}", if whole.is_empty() { "0" } else { whole }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use sim::units::Time;

    const SAMPLE: &str = include_str!("../../tests/data/imports/guidellm_benchmarks.json");

    fn read(text: &str) -> Result<Vec<Measured>, ImportErrors> {
        guidellm(File { name: "benchmarks.json", text })
    }

    #[test]
    fn requests_and_statistics_are_read() {
        let found = read(SAMPLE).expect("a report");
        let [measured] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(measured.source.version.as_deref(), Some("0.8.1"));
        assert_eq!(measured.load.strategy.as_deref(), Some("poisson"));
        assert_eq!(measured.totals, Totals { completed: Some(2), failed: Some(0) });
        // The file lists one of its two requests.
        assert_eq!(measured.requests.len(), 1);
        assert!(measured.notes.iter().any(|note| note.contains("1 of 2")));
        let request = &measured.requests[0];
        assert_eq!((request.id.as_str(), request.arrival), ("r0", Some(Time::ZERO)));
        assert_eq!((request.input, request.output), (Some(Tokens(150)), Some(Tokens(3))));
        // Stamps 1000, 1000.04 and 1000.08 are kept to less than a microsecond.
        let near = |span: Option<Span>, ms: f64| {
            (span.expect("there").as_secs_f64() - ms / 1e3).abs() < 1e-9
        };
        assert!(near(request.ttft, 40.0) && near(request.e2e, 80.0) && near(request.tpot(), 20.0));
        assert_eq!(measured.statistic("tpot", "p99.9").map(|s| s.value), Some(0.001));
        assert_eq!(
            measured.statistic("e2e", "p5").map(|s| (s.value, s.unit)),
            Some((1.0, Unit::Seconds))
        );
        assert_eq!(measured.statistic("ttft", "count").map(|s| s.value), Some(2.0));
    }

    /// The sample with something changed in its first benchmark.
    fn changed(change: impl FnOnce(&mut Value)) -> String {
        let mut document: Value = serde_json::from_str(SAMPLE).expect("JSON");
        change(&mut document["benchmarks"][0]);
        document.to_string()
    }

    #[test]
    fn errored_and_cut_off_requests_keep_their_reasons() {
        let text = changed(|benchmark| {
            let mut failed = benchmark["requests"]["successful"][0].clone();
            failed["info"]["error"] = "connection reset".into();
            failed["info"]["timings"]["request_start"] = 1_001.0.into();
            failed["info"]["timings"]["first_token_iteration"] = Value::Null;
            failed["info"]["timings"]["last_token_iteration"] = Value::Null;
            benchmark["requests"]["errored"] = vec![failed.clone()].into();
            failed["info"]["error"] = Value::Null;
            failed["info"]["timings"]["request_start"] = Value::Null;
            failed["info"]["timings"]["resolve_start"] = Value::Null;
            benchmark["requests"]["incomplete"] = vec![failed].into();
            benchmark["config"] = serde_json::json!({"strategy": {"rate": 2.5}});
        });
        let found = read(&text).expect("a report");
        let errors: Vec<Option<&str>> =
            found[0].requests.iter().map(|request| request.error.as_deref()).collect();
        let cut_off = Some("cut off at the end of the benchmark");
        assert_eq!(errors, [None, Some("connection reset"), cut_off]);
        assert_eq!(found[0].requests[1].arrival, Some(Time(1_000_000_000_000)));
        assert_eq!((found[0].requests[1].ttft, found[0].requests[2].arrival), (None, None));
        assert_eq!(found[0].load.rate, Some(Rate::PerSecond(2.5)));
    }

    #[test]
    fn problems_name_their_path() {
        let text = changed(|benchmark| {
            benchmark["requests"]["successful"][0]["info"]["timings"]["request_end"] = 999.0.into();
            benchmark["requests"]["successful"][0]["input_metrics"]["text_tokens"] = "many".into();
        });
        let error = read(&text).expect_err("two problems").to_string();
        assert!(
            error.contains(
                "`benchmarks[0].requests.successful[0].info.timings`: 999 is before 1000"
            )
        );
        assert!(error.contains("`benchmarks[0].requests.successful[0].input_metrics.text_tokens`"));
        assert!(read("{}").is_err() && read("").is_err() && read("{\"benchmarks\": [1]}").is_err());
    }

    #[test]
    fn percentiles_are_named_as_elsewhere() {
        let names = ["p001", "p01", "p50", "p999", "p5", "px1"].map(percentile);
        let expected = [Some("p0.1"), Some("p1"), Some("p50"), Some("p99.9"), None, None];
        assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
    }
}
