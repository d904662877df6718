//! One span: its ids, its stamps and the attributes that are read.
//!
//! Invariants: ids are lower-case hexadecimal whatever form they came in; an attribute of the wrong
//! type is a problem.
//!
//! Deliberately absent: attributes of prompts and of providers.

use super::super::json::Node;
use super::super::problem::Problems;
use super::super::value;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;
use sim::units::{Span, Tokens};

/// Operations that ask a model for tokens.
const CALLS: [&str; 3] = ["chat", "text_completion", "generate_content"];

/// A span as it was read.
pub(super) struct Raw {
    pub(super) line: u64,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) operation: Option<String>,
    /// Unix nanoseconds.
    pub(super) start: u64,
    pub(super) duration: Span,
    pub(super) model: Option<String>,
    pub(super) conversation: Option<String>,
    pub(super) input: Option<Tokens>,
    pub(super) output: Option<Tokens>,
    pub(super) cached: Option<Tokens>,
    pub(super) ttft: Option<Span>,
    /// Where the engine states it; otherwise the span's own duration.
    pub(super) e2e: Option<Span>,
    pub(super) gaps: Vec<Span>,
    pub(super) error: Option<String>,
    /// Whether vLLM's front end wrote it.
    pub(super) by_engine: bool,
}

impl Raw {
    /// Whether it asks a model for tokens.
    pub(super) fn is_call(&self) -> bool {
        match &self.operation {
            Some(operation) => CALLS.contains(&operation.as_str()),
            None => self.by_engine || self.input.is_some() || self.output.is_some(),
        }
    }
}

/// Trace, span and parent in hexadecimal, as far as they can be read.
pub(super) fn ids(node: &Node<'_, '_>) -> Option<(String, String, Option<String>)> {
    let id = |key, bytes| id(node.get(key)?.value.as_str()?, bytes);
    Some((id("traceId", 16)?, id("spanId", 8)?, id("parentSpanId", 8)))
}

/// An id of so many bytes in hexadecimal; the conventions want hexadecimal, plain protobuf JSON
/// writes base64.
fn id(text: &str, bytes: usize) -> Option<String> {
    if text.len() == 2 * bytes && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(text.to_ascii_lowercase());
    }
    let decoded = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
    let hex = || decoded.iter().map(|byte| format!("{byte:02x}")).collect();
    (decoded.len() == bytes).then(hex)
}

fn attributes<'v>(node: &Node<'v, '_>) -> impl Iterator<Item = (&'v str, &'v Value)> {
    let list = node.value.get("attributes").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|attribute| {
        let value = attribute.get("value").and_then(Value::as_object)?;
        Some((attribute.get("key")?.as_str()?, value.values().next()?))
    })
}

/// Whether any attribute is of the GenAI conventions.
pub(super) fn is_gen_ai(node: &Node<'_, '_>) -> bool {
    attributes(node).any(|(key, _)| key.starts_with("gen_ai."))
}

/// Reads a span of the GenAI conventions.
pub(super) fn read(
    node: &Node<'_, '_>,
    ids: Option<(String, String, Option<String>)>,
    problems: &mut Problems,
) -> Option<Raw> {
    let mut stamp = |key| node.need(key, problems)?.whole(problems);
    let (start, end) = (stamp("startTimeUnixNano"), stamp("endTimeUnixNano"));
    if ids.is_none() {
        let expected = "expected `traceId` of 16 and `spanId` of 8 bytes, in hexadecimal or base64";
        node.wrong(problems, expected);
    }
    let name = node.get("name").and_then(|name| name.text(problems)).unwrap_or_default();
    let ((trace, id, parent), start, end) = (ids?, start?, end?);
    let duration = value::since_ns(start, end).map(|time| Span(time.0));
    let duration = duration.map_err(|message| node.wrong(problems, message)).ok()?;
    let found = Attributes { node };
    let text = |key: &str| found.text(key);
    let mut raw = Raw {
        line: node.line,
        trace,
        id,
        parent,
        name: name.to_owned(),
        operation: text("gen_ai.operation.name"),
        start,
        duration,
        model: text("gen_ai.request.model").or_else(|| text("gen_ai.response.model")),
        conversation: text("gen_ai.conversation.id"),
        input: found
            .tokens("gen_ai.usage.input_tokens", problems)
            .or(found.tokens("gen_ai.usage.prompt_tokens", problems)),
        output: found
            .tokens("gen_ai.usage.output_tokens", problems)
            .or(found.tokens("gen_ai.usage.completion_tokens", problems)),
        cached: found.tokens("gen_ai.usage.cache_read.input_tokens", problems),
        ttft: found.seconds("gen_ai.response.time_to_first_chunk", problems),
        e2e: found.seconds("gen_ai.latency.e2e", problems),
        gaps: Vec::new(),
        error: error(node, text("error.type")),
        by_engine: attributes(node).any(|(key, _)| key.starts_with("gen_ai.latency.")),
    };
    if raw.by_engine {
        raw.ttft = found.seconds("gen_ai.latency.time_to_first_token", problems);
    }
    chunks(node, &mut raw, problems);
    Some(raw)
}

/// Why it failed: the status, and the type of the error.
fn error(node: &Node<'_, '_>, kind: Option<String>) -> Option<String> {
    let status = node.get("status");
    let part = |key| status.as_ref().and_then(|status| status.get(key)).map(|node| node.value);
    let failed = part("code").is_some_and(|code| *code == 2 || *code == "STATUS_CODE_ERROR");
    let message = part("message").and_then(Value::as_str).filter(|text| !text.is_empty());
    match (failed, kind, message) {
        (false, None, _) => None,
        (_, Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
        (_, Some(kind), None) => Some(kind),
        (true, None, Some(message)) => Some(message.to_owned()),
        (true, None, None) => Some("the status is an error without a reason".to_owned()),
    }
}

/// Events of single chunks, where an instrumentation writes them: OpenLLMetry's
/// `llm.content.completion.chunk`, and OpenInference's `First Token Stream Event`.
fn chunks(node: &Node<'_, '_>, raw: &mut Raw, problems: &mut Problems) {
    let Some(events) = node.get("events") else { return };
    let mut stamps = Vec::new();
    for event in events.items(problems) {
        let name = event.get("name").and_then(|name| name.value.as_str()).unwrap_or_default();
        if name != "llm.content.completion.chunk" && name != "First Token Stream Event" {
            continue;
        }
        let stamp = event.need("timeUnixNano", problems).and_then(|node| node.whole(problems));
        stamps.extend(stamp);
    }
    stamps.sort_unstable();
    let mut between = |from, to| {
        let span = value::since_ns(from, to).map(|time| Span(time.0));
        span.map_err(|message| node.wrong(problems, message)).ok()
    };
    if raw.ttft.is_none() {
        raw.ttft = stamps.first().and_then(|first| between(raw.start, *first));
    }
    raw.gaps = stamps.windows(2).filter_map(|pair| between(pair[0], pair[1])).collect();
}

/// The attributes of one span by their names.
struct Attributes<'a, 'v, 'p> {
    node: &'a Node<'v, 'p>,
}

impl Attributes<'_, '_, '_> {
    fn get(&self, key: &str) -> Option<&Value> {
        attributes(self.node).find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    /// A number: a double, an integer, or an integer as a text of digits.
    fn number(&self, key: &str, problems: &mut Problems) -> Option<f64> {
        let value = self.get(key)?;
        let number = match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_f64(),
        };
        if number.is_none() {
            self.node.wrong(problems, format!("expected a number for `{key}`, found {value}"));
        }
        number
    }

    fn tokens(&self, key: &str, problems: &mut Problems) -> Option<Tokens> {
        let number = self.number(key, problems)?;
        let wrong = |message| self.node.wrong(problems, format!("`{key}`: {message}"));
        value::tokens(number).map_err(wrong).ok()
    }

    fn seconds(&self, key: &str, problems: &mut Problems) -> Option<Span> {
        let number = self.number(key, problems)?;
        let wrong = |message| self.node.wrong(problems, format!("`{key}`: {message}"));
        value::span(number, 1.0).map_err(wrong).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_in_whichever_form_they_come() {
        let hex = "5b8efff798038103d269b633813fc60c";
        assert_eq!(id(&hex.to_ascii_uppercase(), 16).as_deref(), Some(hex));
        assert_eq!(id("W47/95gDgQPSabYzgT/GDA==", 16).as_deref(), Some(hex));
        assert_eq!(id("W47/95gDgQPSabYzgT/GDA", 16).as_deref(), Some(hex));
        assert_eq!(id("eee19b7ec3c1b174", 8).as_deref(), Some("eee19b7ec3c1b174"));
        assert_eq!(id("7uGbfsPBsXQ=", 8).as_deref(), Some("eee19b7ec3c1b174"));
        assert_eq!((id("", 8), id("xyz", 8), id("é", 16)), (None, None, None));
    }
}
