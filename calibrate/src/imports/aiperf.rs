//! Results of AIPerf and its predecessor GenAI-Perf.
//!
//! `profile_export.jsonl` has one object a request (AIPerf only), `profile_export_aiperf.json` and
//! `profile_export_genai_perf.json` have statistics. Every value has its unit beside it. Stamps are
//! Unix nanoseconds of the client; durations are of its monotonic clock.
//!
//! Invariants: a record with an error is kept with it and without times; warm-up records are left
//! out and counted in a note.
//!
//! Deliberately absent: raw responses, time slices, GPU telemetry, and the raw `profile_export.json`
//! of GenAI-Perf.

use super::json::{Node, documents, lines};
use super::problem::{ImportErrors, Problems, quoted};
use super::value;
use super::{
    Definitions, End, File, First, Itl, Load, Measured, MeasuredRequest, Rate, Side, Source, Start,
    Statistic, Totals, Tpot, Unit,
};
use sim::units::Span;

/// What AIPerf means: its ITL is `(latency − TTFT) / (output − tokens of the first chunk)` of each
/// request, which others call TPOT; the latency ends with the last chunk that has content.
const DEFINITIONS: Definitions = Definitions {
    side: Side::Client,
    start: Start::Sent,
    first: First::Chunk,
    tpot: Tpot::Absent,
    itl: Itl::MeanOfRequest,
    end: End::LastToken,
};

/// Reads the records of `profile_export.jsonl`.
///
/// # Errors
/// [`ImportErrors`] for lines that are no records, units that are not known, and an empty file.
pub fn aiperf_records(file: File<'_>) -> Result<Measured, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let found = lines(file.text, &mut problems);
    if found.is_empty() && problems.is_empty() {
        problems.push(0, "", "no record in this file");
    }
    let mut records = Vec::new();
    let mut warm_up = 0;
    for (line, value) in &found {
        match record(&Node::root(*line, value), &mut problems) {
            Some(Record::Profiling(start, request)) => records.push((start, request)),
            Some(Record::WarmUp) => warm_up += 1,
            None => {}
        }
    }
    records.sort_by_key(|(start, _)| *start);
    let first = records.first().map_or(0, |(start, _)| *start);
    let mut requests = Vec::new();
    for (start, mut request) in records {
        match value::since_ns(first, start) {
            Ok(arrival) => request.arrival = Some(arrival),
            Err(message) => problems.push(0, "request_start_ns", message),
        }
        requests.push(request);
    }
    let failed = requests.iter().filter(|request| request.error.is_some()).count() as u64;
    let notes = match warm_up {
        0 => Vec::new(),
        some => vec![format!("{some} records of the warm-up are left out.")],
    };
    let totals = Totals { completed: Some(requests.len() as u64 - failed), failed: Some(failed) };
    let measured = Measured {
        source: Source { tool: "AIPerf", version: None, file: file.name.to_owned(), model: None },
        definitions: DEFINITIONS,
        load: Load::default(),
        duration: None,
        totals,
        requests,
        summary: Vec::new(),
        notes,
    };
    problems.finish(measured)
}

/// One line.
enum Record {
    /// A request: when it was sent in Unix nanoseconds, and the rest.
    Profiling(u64, MeasuredRequest),
    /// Sent before the measurement.
    WarmUp,
}

fn record(root: &Node<'_, '_>, problems: &mut Problems) -> Option<Record> {
    let metadata = root.need("metadata", problems)?;
    let phase = metadata.get("benchmark_phase").and_then(|node| node.text(problems));
    if phase == Some("warmup") {
        return Some(Record::WarmUp);
    }
    let start = metadata.need("request_start_ns", problems).and_then(|node| node.whole(problems));
    let mut text = |key| metadata.get(key).and_then(|node| node.text(problems)).map(str::to_owned);
    let id = text("x_request_id").unwrap_or_else(|| format!("line {}", root.line));
    let session = text("x_correlation_id").or_else(|| text("conversation_id"));
    let cancelled = metadata.get("was_cancelled").is_some_and(|node| node.value == true);
    let error = match root.get("error") {
        Some(error) => Some(reason(&error)),
        None => cancelled.then(|| "cancelled by the client".to_owned()),
    };
    let mut request = MeasuredRequest { id, session, error, ..MeasuredRequest::default() };
    if let Some(metrics) = root.need("metrics", problems) {
        let mut tokens = |tag| metrics.get(tag)?.need("value", problems)?.tokens(problems);
        request.input = tokens("input_sequence_length");
        request.output = tokens("output_sequence_length");
        request.cached = tokens("usage_prompt_cache_read_tokens");
        if request.error.is_none() {
            let mut span = |tag| span(&metrics.get(tag)?, problems);
            request.ttft = span("time_to_first_token");
            request.e2e = span("request_latency");
            request.gaps = gaps(&metrics, problems);
        }
    }
    Some(Record::Profiling(start?, request))
}

/// An error in one line: code, type and message, as far as they are given.
fn reason(error: &Node<'_, '_>) -> String {
    let parts: Vec<String> = ["code", "type", "message"]
        .iter()
        .filter_map(|key| error.get(key))
        .map(|node| node.value.as_str().map_or_else(|| node.value.to_string(), str::to_owned))
        .collect();
    if parts.is_empty() { error.value.to_string() } else { parts.join(" ") }
}

/// Seconds of a unit of time.
fn seconds(unit: &str) -> Option<f64> {
    match unit {
        "ns" | "nanoseconds" => Some(1e-9),
        "us" | "microseconds" => Some(1e-6),
        "ms" | "milliseconds" => Some(1e-3),
        "sec" | "s" | "seconds" => Some(1.0),
        _ => None,
    }
}

/// The unit of a metric that is a time, in seconds.
fn unit_of_time(metric: &Node<'_, '_>, problems: &mut Problems) -> Option<f64> {
    let unit = metric.need("unit", problems)?;
    let name = unit.text(problems)?;
    let factor = seconds(name);
    if factor.is_none() {
        unit.wrong(problems, format!("expected a unit of time, found {}", quoted(name)));
    }
    factor
}

fn span(metric: &Node<'_, '_>, problems: &mut Problems) -> Option<Span> {
    let unit = unit_of_time(metric, problems)?;
    metric.need("value", problems)?.span(unit, problems)
}

/// Gaps between chunks, where they were recorded.
fn gaps(metrics: &Node<'_, '_>, problems: &mut Problems) -> Vec<Span> {
    let Some(metric) = metrics.get("inter_chunk_latency") else { return Vec::new() };
    let Some(unit) = unit_of_time(&metric, problems) else { return Vec::new() };
    let Some(values) = metric.need("value", problems) else { return Vec::new() };
    let items = values.items(problems);
    items.iter().filter_map(|node| node.span(unit, problems)).collect()
}

/// Reads the statistics of `profile_export_aiperf.json` or `profile_export_genai_perf.json`.
///
/// # Errors
/// [`ImportErrors`] for text that is no JSON, values of the wrong kind, and a document without a
/// single metric.
pub fn aiperf_summary(file: File<'_>) -> Result<Measured, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let found = documents(file.text, &mut problems);
    let Some((line, value)) = found.first() else {
        problems.push(0, "", "no JSON object in this file");
        return Err(problems.refused());
    };
    let root = Node::root(*line, value);
    let summary = summary(&root, &mut problems);
    if summary.is_empty() && problems.is_empty() {
        problems.push(0, "", "no metric with `unit` and `avg` in this file");
    }
    let version = root.get("aiperf_version").and_then(|node| node.text(&mut problems));
    let value = |metric: &str| {
        let found = summary.iter().find(|s| s.metric == metric && s.name == "mean")?;
        Some(found.value)
    };
    let count = |metric: &str| value(metric).filter(|count| *count >= 0.0).map(|c| c as u64);
    let duration = value("benchmark_duration").and_then(|seconds| value::span(seconds, 1.0).ok());
    let totals = Totals { completed: count("request_count"), failed: count("error_request_count") };
    let mut notes = Vec::new();
    if root.get("was_cancelled").is_some_and(|node| node.value == true) {
        notes.push("The benchmark was cancelled before its end.".to_owned());
    }
    let measured = Measured {
        source: Source {
            tool: if version.is_some() { "AIPerf" } else { "GenAI-Perf" },
            version: version.map(str::to_owned),
            file: file.name.to_owned(),
            model: None,
        },
        definitions: DEFINITIONS,
        load: load(&root, &mut problems),
        duration,
        totals,
        requests: Vec::new(),
        notes,
        summary,
    };
    problems.finish(measured)
}

fn summary(root: &Node<'_, '_>, problems: &mut Problems) -> Vec<Statistic> {
    let mut found = Vec::new();
    for (tag, metric) in root.members() {
        let (Some(unit), Some(_)) = (metric.get("unit"), metric.get("avg")) else { continue };
        let Some(unit) = unit.text(problems) else { continue };
        let (unit, factor) = match seconds(unit) {
            Some(factor) => (Unit::Seconds, factor),
            None if unit.contains("/sec") => (Unit::PerSecond, 1.0),
            None if ["tokens", "requests", "count"].contains(&unit) => (Unit::Count, 1.0),
            None => (Unit::Other, 1.0),
        };
        let name = match tag {
            "request_latency" => "e2e",
            "time_to_first_token" => "ttft",
            "inter_token_latency" => "itl",
            other => other,
        };
        for (key, node) in metric.members() {
            let statistic = match key {
                "avg" => "mean",
                "std" | "min" | "max" | "sum" | "count" => key,
                _ if key.strip_prefix('p').is_some_and(|p| p.parse::<f64>().is_ok()) => key,
                _ => continue,
            };
            if node.value.is_null() {
                continue;
            }
            let Some(value) = node.number(problems) else { continue };
            let (value, unit) = match statistic {
                "count" => (value, Unit::Count),
                _ => (value * factor, unit),
            };
            found.push(Statistic {
                metric: name.to_owned(),
                name: statistic.to_owned(),
                value,
                unit,
            });
        }
    }
    found
}

/// The load of the phase that was measured: the last of the list, after any warm-up.
fn load(root: &Node<'_, '_>, problems: &mut Problems) -> Load {
    let mut load = Load::default();
    let Some(config) = root.get("input_config") else { return load };
    let Some(phases) = config.get("phases").filter(|node| node.value.is_array()) else {
        return load;
    };
    let phases = phases.items(problems);
    let Some(phase) = phases.last() else { return load };
    let strategy = phase.get("type").and_then(|node| node.text(problems));
    load.strategy = strategy.map(str::to_owned);
    let rate = phase.get("rate").and_then(|node| node.number(problems));
    load.rate = rate.map(Rate::PerSecond);
    if strategy == Some("concurrency") {
        load.rate = Some(Rate::Unlimited);
    }
    load.concurrency = phase.get("concurrency").and_then(|node| node.count(problems));
    load.burstiness = phase.get("smoothness").and_then(|node| node.number(problems));
    if strategy == Some("poisson") {
        load.burstiness = Some(1.0);
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::units::{Time, Tokens};

    const RECORDS: &str = include_str!("../../tests/data/imports/profile_export.jsonl");
    const SUMMARY: &str = include_str!("../../tests/data/imports/profile_export_aiperf.json");

    fn records(text: &str) -> Result<Measured, ImportErrors> {
        aiperf_records(File { name: "profile_export.jsonl", text })
    }

    fn statistics(text: &str) -> Result<Measured, ImportErrors> {
        aiperf_summary(File { name: "profile_export_aiperf.json", text })
    }

    #[test]
    fn records_are_requests() {
        let measured = records(RECORDS).expect("records");
        let [first, second] = measured.requests.as_slice() else { panic!("two") };
        assert_eq!((first.id.as_str(), first.session.as_deref()), ("req-0", Some("corr-0")));
        assert_eq!(second.arrival, Some(Time(500_000_000_000)));
        assert_eq!((second.input, second.output), (Some(Tokens(150)), Some(Tokens(3))));
        assert_eq!(second.ttft, Some(Span::from_millis(40)));
        // (80 − 40) / (3 − 1) ms, the file's own `inter_token_latency`.
        assert_eq!(second.tpot(), Some(Span::from_millis(20)));
        assert_eq!(measured.totals, Totals { completed: Some(2), failed: Some(0) });
    }

    #[test]
    fn failed_cancelled_and_warm_up_records_are_told_apart() {
        let lines: Vec<&str> = RECORDS.lines().collect();
        let failed = lines[0].replace(
            "\"error\": null",
            "\"error\": {\"code\": 429, \"type\": \"HTTP\", \"message\": \"too many\"}",
        );
        let cancelled =
            lines[1].replace("\"turn_index\"", "\"was_cancelled\": true, \"turn_index\"");
        let warm_up = lines[1].replace("\"profiling\"", "\"warmup\"");
        let chunks = lines[1].replace(
            "\"metrics\": {",
            "\"metrics\": {\"inter_chunk_latency\": {\"value\": [20.0, 20], \"unit\": \"ms\"}, \
             \"usage_prompt_cache_read_tokens\": {\"value\": 128, \"unit\": \"tokens\"}, ",
        );
        let text = [failed, cancelled, warm_up, chunks].join("\n");
        let measured = records(&text).expect("records");
        assert_eq!(measured.requests.len(), 3);
        let first = &measured.requests[0];
        assert_eq!((first.error.as_deref(), first.ttft), (Some("429 HTTP too many"), None));
        assert_eq!(measured.requests[1].error.as_deref(), Some("cancelled by the client"));
        assert_eq!(measured.requests[2].gaps, [Span::from_millis(20); 2]);
        assert_eq!(measured.requests[2].cached, Some(Tokens(128)));
        assert_eq!(measured.totals, Totals { completed: Some(1), failed: Some(2) });
        assert_eq!(measured.notes, ["1 records of the warm-up are left out."]);
    }

    #[test]
    fn statistics_have_their_units() {
        let measured = statistics(SUMMARY).expect("statistics");
        let value = |metric, name| measured.statistic(metric, name).map(|s| (s.value, s.unit));
        assert_eq!(value("ttft", "p99"), Some((0.04, Unit::Seconds)));
        assert_eq!(value("e2e", "sum"), Some((0.16, Unit::Seconds)));
        assert_eq!(value("itl", "count"), Some((2.0, Unit::Count)));
        assert_eq!(value("output_token_throughput", "mean"), Some((4.0, Unit::PerSecond)));
        assert_eq!(measured.duration, Some(Span::from_millis(1_500)));
        assert_eq!(measured.totals, Totals { completed: Some(2), failed: Some(0) });
        assert_eq!(
            (measured.source.tool, measured.source.version.as_deref()),
            ("AIPerf", Some("0.13.0"))
        );
    }

    #[test]
    fn the_load_is_that_of_the_measured_phase() {
        let config = "\"input_config\": {\"phases\": [{\"type\": \"concurrency\", \"concurrency\": 1}, \
                      {\"type\": \"gamma\", \"rate\": 4.5, \"smoothness\": 0.5}]}, \"was_cancelled\": true";
        let text = SUMMARY
            .replace("\"was_cancelled\": false", config)
            .replace(" \"aiperf_version\": \"0.13.0\",\n", "");
        let measured = statistics(&text).expect("statistics");
        assert_eq!(measured.load.rate, Some(Rate::PerSecond(4.5)));
        assert_eq!((measured.load.burstiness, measured.load.concurrency), (Some(0.5), None));
        assert_eq!((measured.source.tool, measured.notes.len()), ("GenAI-Perf", 1));
    }

    #[test]
    fn problems_are_told_by_line_and_key() {
        let text = RECORDS
            .replacen(
                "\"value\": 40.0, \"unit\": \"ms\"",
                "\"value\": 40.0, \"unit\": \"miles\"",
                1,
            )
            .replace("1767225600500000000", "-5");
        let error = records(&text).expect_err("two problems").to_string();
        assert_eq!(
            error,
            "profile_export.jsonl:1: `metrics.time_to_first_token.unit`: expected a unit of time, \
             found `miles`\nprofile_export.jsonl:2: `metadata.request_start_ns`: expected a whole \
             number from 0, found `-5`"
        );
        assert!(records("").is_err() && statistics("").is_err() && statistics("{}").is_err());
    }
}
