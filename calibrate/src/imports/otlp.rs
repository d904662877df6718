//! Spans of live systems in OTLP's JSON form, by the GenAI conventions of OpenTelemetry.
//!
//! Each line is a `TracesData` object; 64-bit integers are texts of digits, ids are hexadecimal or
//! (from some exporters) base64. A span is a call of a model if its operation is `chat`,
//! `text_completion` or `generate_content`, or if it counts tokens without naming an operation, as
//! vLLM's own spans do. Other operations (agents, tools, workflows) keep the tree together.
//!
//! Invariants: prompt tokens include cached ones, as the conventions say; the tree of a trace is
//! kept; a server's span inside a caller's is the same call and is no second request; spans of other
//! kinds are counted, not read.
//!
//! Deliberately absent: metrics and logs in the same form, texts of prompts, and links.

mod span;

use super::File;
use super::json::{Node, documents, lines};
use super::problem::{ImportErrors, Problems};
use super::value;
use super::{
    Definitions, End, First, Itl, Load, Measured, MeasuredRequest, Side, Source, Start, Totals,
    Tpot,
};
use serde_json::Value;
use sim::units::{Span, Time};
use span::Raw;
use std::collections::{BTreeMap, BTreeSet};

/// Around a call: until its response has ended.
const CALLER: Definitions = Definitions {
    side: Side::Caller,
    start: Start::Sent,
    first: First::Chunk,
    tpot: Tpot::Absent,
    itl: Itl::Absent,
    end: End::Response,
};

/// vLLM's own spans.
const FRONT_END: Definitions = Definitions {
    side: Side::FrontEnd,
    start: Start::Received,
    first: First::Token,
    end: End::LastToken,
    ..CALLER
};

/// How far up a span's parents are followed; deeper trees, or circles, end there.
const DEEPEST: usize = 64;

/// A span of the GenAI conventions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenAiSpan {
    /// Trace, in hexadecimal: one task.
    pub trace: String,
    /// Its own id, in hexadecimal.
    pub id: String,
    /// The span around it, whether or not that is one of these.
    pub parent: Option<String>,
    /// Name of the span.
    pub name: String,
    /// `gen_ai.operation.name`, such as `chat`, `invoke_agent` or `execute_tool`.
    pub operation: Option<String>,
    /// When it began, counted from the earliest of these spans.
    pub start: Time,
    /// How long it took.
    pub duration: Span,
    /// The request it is, as an index into the requests.
    pub request: Option<usize>,
}

/// Calls of models and the trees they stand in.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanImport {
    /// The calls. Their arrivals count from the earliest GenAI span, as the spans' do.
    pub measured: Measured,
    /// Every GenAI span in order of its start.
    pub spans: Vec<GenAiSpan>,
    /// Spans of other kinds.
    pub other_spans: u64,
}

/// Reads the spans of a file.
///
/// # Errors
/// [`ImportErrors`] for text that is no JSON, for GenAI spans without ids or stamps or with values
/// of the wrong kind, and for a file without a GenAI span.
pub fn otlp(file: File<'_>) -> Result<SpanImport, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let mut raw = Vec::new();
    // Whether the parents of calls are calls is asked through spans of any kind.
    let mut parents: BTreeMap<Key, String> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let (mut other_spans, mut twice) = (0, 0_u64);
    for (line, value) in documents_of(file.text, &mut problems) {
        each_span(&Node::root(line, &value), &mut problems, &mut |node, problems| {
            let ids = span::ids(node);
            if let Some((trace, id, Some(parent))) = &ids {
                parents.insert((trace.clone(), id.clone()), parent.clone());
            }
            if !span::is_gen_ai(node) {
                other_spans += 1;
                return;
            }
            let Some(span) = span::read(node, ids, problems) else { return };
            if seen.insert((span.trace.clone(), span.id.clone())) {
                raw.push(span);
            } else {
                twice += 1;
            }
        });
    }
    if raw.is_empty() && problems.is_empty() {
        problems.push(0, "", "no span with `gen_ai.` attributes in this file");
    }
    let mut notes = Vec::new();
    if twice > 0 {
        notes.push(format!("{twice} spans came twice, as after an exporter's retry; one counts."));
    }
    let (measured, spans) = import(raw, &parents, file.name, notes, &mut problems);
    problems.finish(SpanImport { measured, spans, other_spans })
}

/// One document a line, or one that spans lines.
fn documents_of(text: &str, problems: &mut Problems) -> Vec<(u64, Value)> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    match serde_json::from_str::<serde::de::IgnoredAny>(first) {
        Ok(_) => lines(text, problems),
        Err(_) => documents(text, problems),
    }
}

/// Visits every span of a document.
fn each_span(
    root: &Node<'_, '_>,
    problems: &mut Problems,
    visit: &mut impl FnMut(&Node<'_, '_>, &mut Problems),
) {
    let Some(resources) = root.get("resourceSpans") else { return };
    for resource in resources.items(problems) {
        let Some(scopes) = resource.get("scopeSpans") else { continue };
        for scope in scopes.items(problems) {
            let Some(spans) = scope.get("spans") else { continue };
            for span in spans.items(problems) {
                visit(&span, problems);
            }
        }
    }
}

/// Every id of a span with the trace it is in.
type Key = (String, String);

/// Requests and spans of what was read.
fn import(
    mut raw: Vec<Raw>,
    parents: &BTreeMap<Key, String>,
    file: &str,
    mut notes: Vec<String>,
    problems: &mut Problems,
) -> (Measured, Vec<GenAiSpan>) {
    raw.sort_by_key(|span| span.start);
    let nested = nested(&raw, parents);
    let first = raw.first().map_or(0, |span| span.start);
    let (mut requests, mut spans) = (Vec::new(), Vec::new());
    let mut by_server = 0_usize;
    for (span, nested) in raw.iter().zip(&nested) {
        let start = match value::since_ns(first, span.start) {
            Ok(start) => start,
            Err(message) => {
                problems.push(span.line, "startTimeUnixNano", message);
                continue;
            }
        };
        let request = (span.is_call() && !nested).then(|| {
            by_server += usize::from(span.by_engine);
            requests.push(request(span, start));
            requests.len() - 1
        });
        spans.push(GenAiSpan {
            trace: span.trace.clone(),
            id: span.id.clone(),
            parent: span.parent.clone(),
            name: span.name.clone(),
            operation: span.operation.clone(),
            start,
            duration: span.duration,
            request,
        });
    }
    let within = nested.iter().filter(|nested| **nested).count();
    if within > 0 {
        notes.push(format!(
            "{within} calls lie inside another call, as a server's span in its caller's; they are \
             spans but no requests of their own."
        ));
    }
    if by_server > 0 && by_server < requests.len() {
        notes.push(format!(
            "{by_server} requests were measured by the engine's front end, the others by callers."
        ));
    }
    let definitions = match by_server > 0 && by_server == requests.len() {
        true => FRONT_END,
        false => CALLER,
    };
    (measured(requests, definitions, model(&raw), file, notes), spans)
}

/// Whether each span is a call that lies inside another call.
fn nested(raw: &[Raw], parents: &BTreeMap<Key, String>) -> Vec<bool> {
    let calls: BTreeSet<Key> = raw
        .iter()
        .filter(|span| span.is_call())
        .map(|span| (span.trace.clone(), span.id.clone()))
        .collect();
    let inside = |span: &Raw| {
        let mut id = span.parent.clone();
        for _ in 0..DEEPEST {
            let Some(parent) = id else { return false };
            let key = (span.trace.clone(), parent);
            if calls.contains(&key) {
                return true;
            }
            id = parents.get(&key).cloned();
        }
        false
    };
    raw.iter().map(|span| span.is_call() && inside(span)).collect()
}

/// The model, if all spans that name one name the same.
fn model(raw: &[Raw]) -> Option<String> {
    let mut models = raw.iter().filter_map(|span| span.model.as_ref());
    let first = models.next()?;
    models.all(|model| model == first).then(|| first.clone())
}

fn measured(
    requests: Vec<MeasuredRequest>,
    definitions: Definitions,
    model: Option<String>,
    file: &str,
    notes: Vec<String>,
) -> Measured {
    let failed = requests.iter().filter(|request| request.error.is_some()).count() as u64;
    Measured {
        source: Source { tool: "OpenTelemetry", version: None, file: file.to_owned(), model },
        definitions,
        load: Load::default(),
        duration: None,
        totals: Totals { completed: Some(requests.len() as u64 - failed), failed: Some(failed) },
        requests,
        summary: Vec::new(),
        notes,
    }
}

fn request(span: &Raw, arrival: Time) -> MeasuredRequest {
    let failed = span.error.is_some();
    MeasuredRequest {
        id: span.id.clone(),
        arrival: Some(arrival),
        input: span.input,
        output: span.output,
        cached: span.cached,
        ttft: span.ttft.filter(|_| !failed),
        e2e: (!failed).then_some(span.e2e.unwrap_or(span.duration)),
        gaps: if failed { Vec::new() } else { span.gaps.clone() },
        error: span.error.clone(),
        session: span.conversation.clone(),
    }
}

#[cfg(test)]
mod tests;
