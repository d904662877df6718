//! A task of an agent: two calls, a tool between them, and what the server wrote of the first.

use super::*;
use sim::units::Tokens;

const SPANS: &str = include_str!("../../../tests/data/imports/spans.otlp.jsonl");

fn read(text: &str) -> Result<SpanImport, ImportErrors> {
    otlp(File { name: "spans.jsonl", text })
}

#[test]
fn calls_are_requests_and_the_tree_is_kept() {
    let import = read(SPANS).expect("spans");
    assert_eq!((import.spans.len(), import.other_spans), (5, 1));
    let names: Vec<(&str, Option<usize>)> =
        import.spans.iter().map(|span| (span.name.as_str(), span.request)).collect();
    assert_eq!(
        names,
        [
            ("invoke_agent support", None),
            ("chat llama", Some(0)),
            ("llm_request", None),
            ("execute_tool search", None),
            ("chat llama", Some(1)),
        ]
    );
    let server = &import.spans[2];
    // In base64 in the file.
    assert_eq!(
        (server.id.as_str(), server.parent.as_deref()),
        ("0000000000000004", Some("0000000000000003"))
    );
    assert!(import.spans.iter().all(|span| span.trace == import.spans[0].trace));
    assert_eq!(import.spans[3].start, Time(1_200_000_000_000));
    assert_eq!(import.spans[3].duration, Span::from_millis(300));
    let [first, second] = import.measured.requests.as_slice() else { panic!("two") };
    assert_eq!((first.input, first.cached), (Some(Tokens(1_000)), Some(Tokens(768))));
    assert_eq!((first.ttft, first.e2e), (Some(Span::from_millis(250)), Some(Span::from_secs(1))));
    // (1 s − 0.25 s) / 50.
    assert_eq!(first.tpot(), Some(Span::from_millis(15)));
    assert_eq!(
        (first.arrival, first.session.as_deref()),
        (Some(Time(100_000_000_000)), Some("conv-7"))
    );
    assert_eq!((second.error.as_deref(), second.e2e), (Some("timeout: no answer in 1 s"), None));
    assert_eq!(import.measured.definitions.side, Side::Caller);
    assert_eq!(import.measured.source.model.as_deref(), Some("llama"));
    assert!(import.measured.notes.iter().any(|note| note.starts_with("1 calls lie inside")));
}

#[test]
fn spans_of_the_server_alone_are_requests_too() {
    let server = SPANS.lines().nth(1).expect("the second line");
    // An exporter that tries again writes a span twice.
    let import = read(&format!("{server}\n{server}\n")).expect("spans");
    let [request] = import.measured.requests.as_slice() else { panic!("one") };
    assert_eq!(
        (request.ttft, request.e2e),
        (Some(Span::from_millis(230)), Some(Span::from_millis(980)))
    );
    assert_eq!((request.input, request.output), (Some(Tokens(1_000)), Some(Tokens(51))));
    assert_eq!(import.measured.definitions, FRONT_END);
    assert!(import.measured.notes.iter().any(|note| note.contains("twice")));
}

#[test]
fn events_of_chunks_give_the_first_token_and_the_gaps() {
    let events = "\"events\":[{\"name\":\"llm.content.completion.chunk\",\"timeUnixNano\":\"1767225600400000000\"},\
                  {\"name\":\"other\"},\
                  {\"name\":\"llm.content.completion.chunk\",\"timeUnixNano\":\"1767225600450000000\"}],\"status\":{}";
    let text =
        SPANS.replace("gen_ai.response.time_to_first_chunk", "x").replace("\"status\":{}", events);
    let import = read(&text).expect("spans");
    let request = &import.measured.requests[0];
    assert_eq!(request.ttft, Some(Span::from_millis(300)));
    assert_eq!(request.gaps, [Span::from_millis(50)]);
}

#[test]
fn parents_in_a_circle_end() {
    let text = SPANS
        .replace("\"parentSpanId\":\"0000000000000001\"", "\"parentSpanId\":\"0000000000000002\"");
    let import = read(&text).expect("spans");
    // Both calls now lie inside the first, which is its own parent.
    assert!(import.measured.requests.is_empty());
}

#[test]
fn problems_name_the_line_and_the_attribute() {
    let text = SPANS
        .replace("{\"intValue\":\"768\"}", "{\"stringValue\":\"some\"}")
        .replace("W47/95gDgQPSabYzgT/GDA==", "??")
        .replace("1767225602600000000", "1");
    let error = read(&text).expect_err("three problems");
    let at: Vec<Option<u64>> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(at, [Some(1), Some(2), Some(3)]);
    assert!(error.to_string().contains("`gen_ai.usage.cache_read.input_tokens`"), "{error}");
    assert!(error.to_string().contains("`resourceSpans[0].scopeSpans[0].spans[1]`"), "{error}");
    assert!(read("").is_err() && read("{}").is_err() && read("{\"resourceMetrics\":[]}").is_err());
}
