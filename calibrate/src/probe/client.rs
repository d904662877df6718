//! One request to a streaming endpoint, and when each piece of its answer came.
//!
//! The clock starts when a request is handed to the socket and is read as soon as a piece of the
//! answer is handed back, before the piece is looked at. Connections are kept and used again, so
//! only a lane's first request pays for opening one.
//!
//! Invariants: a wait for bytes ends after the stall time, a whole request after the request time,
//! and both end when the client is stopped; what a server says is kept without the key and at most
//! three hundred characters of it; a request is sent once, retrying is up to the caller.
//!
//! Deliberately absent: proxies (one that buffers would be measured instead), redirects (the key
//! would travel along), compression, and cookies.

use super::answer::{self, BadChunk, Usage};
use super::endpoint::{Address, Key};
use super::sse::SseParser;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Read;
use std::time::{Duration, Instant};
use ureq::{Agent, Body, Timeout, http};

/// Bytes of an answer that are read at most.
const LONGEST_ANSWER: usize = 256 << 20;
/// Characters of a server's complaint that are kept.
const LONGEST_COMPLAINT: usize = 300;

/// Which of OpenAI's two interfaces is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// `/completions`: the prompt as it is.
    Completions,
    /// `/chat/completions`: the prompt as a user's message, inside the model's template.
    Chat,
}

/// Which options a request carries besides; servers differ in what they refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// vLLM, SGLang, TensorRT-LLM: answers run to their length, usage comes with every chunk.
    Engine,
    /// OpenAI: usage at the end.
    OpenAi,
    /// OpenAI's newer models, which take `max_completion_tokens`; chat only.
    OpenAiReasoning,
    /// Nothing but the length.
    Plain,
}

impl Dialect {
    /// What to try after a server refused this one.
    pub(super) fn next(self, api: Api) -> Option<Dialect> {
        match (self, api) {
            (Dialect::Engine, _) => Some(Dialect::OpenAi),
            (Dialect::OpenAi, Api::Chat) => Some(Dialect::OpenAiReasoning),
            (Dialect::OpenAi, Api::Completions) | (Dialect::OpenAiReasoning, _) => {
                Some(Dialect::Plain)
            }
            (Dialect::Plain, _) => None,
        }
    }
}

/// Why an attempt gave no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// No connection, or it broke before an answer began.
    #[error("connection: {0}")]
    Connection(String),
    /// Another status than 200.
    #[error("status {code}: {message}")]
    Status {
        /// The status.
        code: u16,
        /// Seconds to wait, if the server says.
        retry_after: Option<u64>,
        /// What the server says.
        message: String,
    },
    /// The request took too long as a whole.
    #[error("timeout: not complete after {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// Nothing came for too long.
    #[error("stall: no byte for {} s", .0.as_secs_f64())]
    Stall(Duration),
    /// The stream ended before the answer did.
    #[error("cut: the stream ended before the answer did")]
    Cut,
    /// Something in the stream is not what it should be.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The server reports an error inside the stream.
    #[error("server: {0}")]
    Server(String),
    /// An answer without a token.
    #[error("empty: the answer has no token")]
    Empty,
    /// We stopped.
    #[error("stopped: the probe ended before the answer did")]
    Stopped,
}

impl Failure {
    /// Whether trying again may help.
    pub(super) fn passes(&self) -> bool {
        match self {
            Failure::Status { code, .. } => matches!(code, 408 | 409 | 425 | 429 | 500..),
            Failure::Stopped => false,
            _ => true,
        }
    }

    /// Whether every other request would fail alike: wrong key, wrong path, a redirect.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Failure::Status { code: 300..=399 | 401 | 403..=405, .. })
    }

    /// Whether the server may dislike an option of the request.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Failure::Status { code: 400 | 422, .. })
    }
}

/// A chunk that bears tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Since the request was sent.
    pub(super) at: Duration,
    /// Of its text.
    pub(super) characters: u32,
    /// Tokens of the answer so far, where the chunk says so.
    pub(super) tokens: Option<u32>,
}

/// What came of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) sent: Instant,
    pub(super) status: Option<u16>,
    pub(super) arrivals: Vec<Arrival>,
    /// When the chunk came that says why the answer ends, and what it says.
    pub(super) finish: Option<(Duration, String)>,
    pub(super) usage: Option<Usage>,
    pub(super) ended: Duration,
    pub(super) failure: Option<Failure>,
}

impl Attempt {
    fn begin() -> Attempt {
        Attempt {
            sent: Instant::now(),
            status: None,
            arrivals: Vec::new(),
            finish: None,
            usage: None,
            ended: Duration::ZERO,
            failure: None,
        }
    }

    fn end(mut self, outcome: Result<(), Failure>) -> Attempt {
        self.ended = self.sent.elapsed();
        self.failure = outcome.err();
        self
    }

    /// Tokens of the answer, and whether the server counted them; otherwise chunks are.
    pub(super) fn output(&self) -> (u32, bool) {
        let chunks = u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX);
        match self.usage {
            Some(usage) if usage.completion_tokens > 0 => (usage.completion_tokens, true),
            _ => (chunks, false),
        }
    }

    /// When the last token came: with the last chunk that bears tokens, or, where the server counted
    /// more tokens than those account for, with the chunk that ends the answer. A server may send
    /// that one whenever it likes after the last token.
    pub(super) fn last_token(&self) -> Option<Duration> {
        let last = self.arrivals.last()?;
        let chunks = u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX);
        let without_text = self.output().0 > last.tokens.unwrap_or(chunks);
        let finish = self.finish.as_ref().filter(|_| without_text);
        Some(finish.map_or(last.at, |(at, _)| last.at.max(*at)))
    }

    /// Mean time between two tokens, of an answer that has two.
    pub(super) fn tpot(&self) -> Option<Duration> {
        let (tokens, _) = self.output();
        let gaps = tokens.checked_sub(1).filter(|&gaps| gaps > 0)?;
        Some(self.last_token()?.saturating_sub(self.arrivals.first()?.at) / gaps)
    }
}

/// How long a client waits, and for how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the next byte.
    pub stall: Duration,
    /// For a whole answer.
    pub request: Duration,
}

/// Asks one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Client {
    agent: Agent,
    address: Address,
    api: Api,
    model: String,
    key: Option<Key>,
    patience: Patience,
}

impl Client {
    /// A client that keeps `connections` open.
    pub(super) fn new(
        (address, api, model): (&Address, Api, &str),
        key: Option<Key>,
        patience: Patience,
        connections: usize,
    ) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(patience.request))
            .timeout_per_read(Some(patience.stall))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .user_agent(concat!("surgeline/", env!("CARGO_PKG_VERSION")))
            .build();
        let (address, model) = (address.clone(), model.to_owned());
        Client { agent: config.into(), address, api, model, key, patience }
    }

    /// Ends every request under way, and every later one at once.
    pub(super) fn stop(&self) {
        self.agent.clone().shutdown();
    }

    /// A text without the key, on one line and not too long.
    pub(super) fn clean(&self, text: &str) -> String {
        let text = self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.taken_out_of(text));
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(LONGEST_COMPLAINT).collect()
    }

    /// Asks for `output` tokens behind `prompt` and follows the answer to its end.
    pub(super) fn ask(&self, prompt: &str, output: u32, dialect: Dialect) -> Attempt {
        let body = self.body(prompt, output, dialect).to_string();
        let path = match self.api {
            Api::Completions => "/completions",
            Api::Chat => "/chat/completions",
        };
        let mut request = self
            .agent
            .post(self.address.below(path))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream");
        if let Some(key) = &self.key {
            request = request.header("authorization", key.bearer());
        }
        let mut attempt = Attempt::begin();
        let outcome = match request.send(body) {
            Ok(response) => self.follow(response, &mut attempt),
            Err(error) => Err(self.failure(&error)),
        };
        attempt.end(outcome)
    }

    fn body(&self, prompt: &str, output: u32, dialect: Dialect) -> serde_json::Value {
        let mut body = json!({ "model": self.model, "stream": true });
        match self.api {
            Api::Completions => body["prompt"] = json!(prompt),
            Api::Chat => body["messages"] = json!([{ "role": "user", "content": prompt }]),
        }
        let length = match dialect {
            Dialect::OpenAiReasoning => "max_completion_tokens",
            _ => "max_tokens",
        };
        body[length] = json!(output);
        match dialect {
            Dialect::Engine => {
                body["ignore_eos"] = json!(true);
                body["min_tokens"] = json!(output);
                body["stream_options"] =
                    json!({ "include_usage": true, "continuous_usage_stats": true });
            }
            Dialect::OpenAi | Dialect::OpenAiReasoning => {
                body["stream_options"] = json!({ "include_usage": true });
            }
            Dialect::Plain => {}
        }
        body
    }

    /// Reads a response to its end.
    fn follow(&self, response: http::Response<Body>, attempt: &mut Attempt) -> Result<(), Failure> {
        let code = response.status().as_u16();
        attempt.status = Some(code);
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("retry-after").and_then(|value| value.trim().parse().ok());
        let mut reader = response.into_body().into_reader();
        if code != 200 {
            let mut text = Vec::new();
            // Whatever can be read of a complaint is of use; that it broke off is not.
            let _ = (&mut reader).take(4_096).read_to_end(&mut text);
            let message = self.clean(&complaint(&String::from_utf8_lossy(&text)));
            return Err(Failure::Status { code, retry_after, message });
        }
        let mut stream = Stream::default();
        let mut buffer = vec![0; 64 << 10];
        let mut total = 0;
        loop {
            let read = reader.read(&mut buffer).map_err(|error| self.broken(error))?;
            let at = attempt.sent.elapsed();
            total += read;
            if total > LONGEST_ANSWER {
                return Err(Failure::Malformed("the answer does not end".to_owned()));
            }
            let done = match read {
                0 => stream.finish(at, attempt),
                _ => stream.push(&buffer[..read], at, attempt),
            };
            let done = done.map_err(|failure| match failure {
                Failure::Malformed(text) => Failure::Malformed(self.clean(&text)),
                Failure::Server(text) => Failure::Server(self.clean(&text)),
                other => other,
            })?;
            if done {
                // What is left is the end of the response; read, the connection can be used again.
                let _ = (&mut reader).take(4_096).read_to_end(&mut Vec::new());
                return if attempt.arrivals.is_empty() { Err(Failure::Empty) } else { Ok(()) };
            }
            if read == 0 {
                return Err(Failure::Cut);
            }
        }
    }

    /// What an error before the answer means.
    fn failure(&self, error: &ureq::Error) -> Failure {
        match error {
            ureq::Error::Timeout(Timeout::PerRead) => Failure::Stall(self.patience.stall),
            ureq::Error::Timeout(_) => Failure::Timeout(self.patience.request),
            // This one repeats the address, query and all.
            ureq::Error::BadUri(_) => Failure::Connection("the address is no valid URL".to_owned()),
            other => Failure::Connection(self.clean(&other.to_string())),
        }
    }

    /// What an error within the answer means.
    fn broken(&self, error: std::io::Error) -> Failure {
        match ureq::Error::from(error) {
            error @ ureq::Error::Timeout(_) => self.failure(&error),
            ureq::Error::Protocol(error) => {
                Failure::Malformed(self.clean(&format!("HTTP: {error}")))
            }
            _ => Failure::Cut,
        }
    }

    /// Fetches a text below the address, with the key.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        self.fetch(&self.address.below(path), true)
    }

    /// Fetches a text beside the address, at the server's root, with the key.
    pub(super) fn get_beside(&self, path: &str) -> Result<String, Failure> {
        self.fetch(&self.address.beside(path), true)
    }

    /// Fetches a page of metrics; the key does not travel there.
    pub(super) fn metrics(&self, address: &Address) -> Result<String, Failure> {
        self.fetch(&address.whole(), false)
    }

    fn fetch(&self, url: &str, with_key: bool) -> Result<String, Failure> {
        let mut request = self.agent.get(url);
        if let Some(key) = self.key.as_ref().filter(|_| with_key) {
            request = request.header("authorization", key.bearer());
        }
        let response = request.call().map_err(|error| self.failure(&error))?;
        let code = response.status().as_u16();
        let mut text = Vec::new();
        let mut reader = response.into_body().into_reader().take(16 << 20);
        reader.read_to_end(&mut text).map_err(|error| self.broken(error))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        if code == 200 {
            return Ok(text);
        }
        Err(Failure::Status { code, retry_after: None, message: self.clean(&complaint(&text)) })
    }
}

/// The message of an error as OpenAI writes it, or the text as it is.
fn complaint(text: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = value.as_ref().and_then(|value| {
        let error = value.get("error").unwrap_or(value);
        error.get("message").or_else(|| value.get("detail"))?.as_str()
    });
    message.unwrap_or(text).to_owned()
}

/// An answer as it comes.
#[derive(Default)]
struct Stream {
    parser: SseParser,
    events: Vec<String>,
}

impl Stream {
    /// Takes the next bytes; true when the server says that the answer is done.
    fn push(&mut self, bytes: &[u8], at: Duration, attempt: &mut Attempt) -> Result<bool, Failure> {
        let pushed = self.parser.push(bytes, &mut self.events);
        let done = self.take(at, attempt)?;
        pushed.map_err(|error| Failure::Malformed(error.to_string()))?;
        Ok(done)
    }

    /// The response ended; true when the answer had an end of its own, `[DONE]` or not.
    fn finish(&mut self, at: Duration, attempt: &mut Attempt) -> Result<bool, Failure> {
        self.parser.finish(&mut self.events);
        Ok(self.take(at, attempt)? || attempt.finish.is_some())
    }

    fn take(&mut self, at: Duration, attempt: &mut Attempt) -> Result<bool, Failure> {
        for event in self.events.drain(..) {
            if event.trim() == "[DONE]" {
                return Ok(true);
            }
            let chunk = answer::read(&event).map_err(|bad| match bad {
                BadChunk::Malformed(what) => Failure::Malformed(what),
                BadChunk::Server(what) => Failure::Server(what),
            })?;
            let tokens = chunk.usage.map(|usage| usage.completion_tokens);
            if let Some(characters) = chunk.characters {
                attempt.arrivals.push(Arrival { at, characters, tokens });
            }
            if let Some(finish) = chunk.finish {
                attempt.finish.get_or_insert((at, finish));
            }
            attempt.usage = chunk.usage.or(attempt.usage);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[(&str, u64)]) -> (Attempt, Result<bool, Failure>) {
        let (mut attempt, mut stream) = (Attempt::begin(), Stream::default());
        let mut done = Ok(false);
        for &(piece, at) in pieces {
            done = stream.push(piece.as_bytes(), Duration::from_millis(at), &mut attempt);
        }
        (attempt, done)
    }

    #[test]
    fn times_are_those_of_the_pieces_and_counts_those_of_the_server() {
        let (attempt, done) = fed(&[
            ("data: {\"choices\":[{\"text\":\"a\"}]}\n\nda", 10),
            ("ta: {\"choices\":[{\"text\":\"b c\"}]}\n\n", 30),
            ("data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n", 50),
            (
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5}}\n\n",
                51,
            ),
            ("data: [DONE]\n\n", 52),
        ]);
        assert_eq!(done, Ok(true));
        let at: Vec<Duration> = attempt.arrivals.iter().map(|arrival| arrival.at).collect();
        assert_eq!(at, [Duration::from_millis(10), Duration::from_millis(30)]);
        assert_eq!(attempt.output(), (5, true), "five tokens in two chunks");
        assert_eq!(attempt.last_token(), Some(Duration::from_millis(50)));
        assert_eq!(attempt.tpot(), Some(Duration::from_millis(10)));
    }

    #[test]
    fn without_usage_chunks_are_counted() {
        let (attempt, _) = fed(&[
            ("data: {\"choices\":[{\"text\":\"a\"}]}\n\n", 10),
            ("data: {\"choices\":[{\"text\":\"b\"}]}\n\n", 30),
            ("data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n", 90),
        ]);
        assert_eq!(attempt.output(), (2, false), "and an end that comes late is no token");
        assert_eq!(attempt.tpot(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn errors_in_the_stream_are_told_apart() {
        let (_, broken) = fed(&[("data: {\"choi\n\n", 1)]);
        assert!(matches!(broken, Err(Failure::Malformed(_))));
        let (_, server) = fed(&[("data: {\"error\":{\"message\":\"no memory\"}}\n\n", 1)]);
        assert_eq!(server, Err(Failure::Server("no memory".to_owned())));
    }

    #[test]
    fn complaints_are_found_in_every_shape() {
        assert_eq!(complaint(r#"{"error":{"message":"a","code":1}}"#), "a");
        assert_eq!(complaint(r#"{"object":"error","message":"b"}"#), "b");
        assert_eq!(complaint(r#"{"detail":"c"}"#), "c");
        assert_eq!(complaint("<html>d</html>"), "<html>d</html>");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let status = |code| Failure::Status { code, retry_after: None, message: String::new() };
        assert!(status(429).passes() && status(503).passes() && Failure::Cut.passes());
        assert!(!status(400).passes() && !status(401).passes() && !Failure::Stopped.passes());
        assert!(status(401).is_ours() && status(404).is_ours() && !status(429).is_ours());
        assert!(status(422).is_refusal());
    }

    #[test]
    fn every_dialect_is_tried_once() {
        let chain =
            |api| std::iter::successors(Some(Dialect::Engine), |dialect| dialect.next(api)).count();
        assert_eq!((chain(Api::Chat), chain(Api::Completions)), (4, 3));
    }
}
