//! An endpoint on the loopback interface that speaks as OpenAI, vLLM and the rest do, with faults.
//!
//! HTTP/1.1 over plain sockets: kept connections, chunked transfer, server-sent events. When a token
//! comes is up to the [`Engine`]; a word is a token, and [`AROUND`] more stand around a prompt, as a
//! template would.
//!
//! Invariants: faults hit the requests they are named for, counted in order of arrival from 0; every
//! wait has an end; all threads are gone when the server is dropped.
//!
//! Deliberately absent: HTTP that no client here speaks.

use super::engine::{Ask, BLOCK, Engine, Gauges, Truth};
use serde_json::{Value, json};
use sim::engine::StepTime;
use sim::workload::Segment;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tokens around the words of a prompt.
pub(crate) const AROUND: u32 = 5;
/// Between two looks at whether the server is to end.
const TICK: Duration = Duration::from_millis(50);
/// Longest wait for a token.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// 429, with so many seconds in `Retry-After`.
    TooMany(u64),
    /// 503.
    Unavailable,
    /// The connection ends after so many tokens.
    Cut(u32),
    /// Nothing comes any more after so many tokens.
    Stall(u32),
    /// An event that is no JSON comes after so many tokens.
    Malformed(u32),
    /// The server reports an error after so many tokens.
    Error(u32),
}

/// How the server differs from vLLM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    pub(crate) faults: BTreeMap<usize, Fault>,
    /// It refuses `ignore_eos` by 400.
    pub(crate) strict: bool,
    /// It refuses `stream_options` by 422, and never counts.
    pub(crate) counts_nothing: bool,
    /// It knows neither `/models` nor `/version`.
    pub(crate) says_nothing: bool,
    /// Tokens it puts into a chunk; 0 for one.
    pub(crate) tokens_per_chunk: u32,
    /// It wants this key, and quotes what it got instead.
    pub(crate) key: Option<String>,
}

/// What all connections share.
struct Shared {
    manners: Manners,
    requests: AtomicUsize,
    gauges: Arc<Gauges>,
    ending: AtomicBool,
    prompts: Mutex<Vec<String>>,
}

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    engine: Engine,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(step_time: StepTime, manners: Manners) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let engine = Engine::start(step_time);
        let shared = Arc::new(Shared {
            manners,
            requests: AtomicUsize::new(0),
            gauges: engine.gauges(),
            ending: AtomicBool::new(false),
            prompts: Mutex::new(Vec::new()),
        });
        let of_all = Arc::clone(&shared);
        let asking = Arc::new(Mutex::new(engine.asking()));
        let accepting = std::thread::spawn(move || {
            let mut connections = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if of_all.ending.load(Ordering::SeqCst) {
                    break;
                }
                let (shared, asking) = (Arc::clone(&of_all), Arc::clone(&asking));
                connections.push(std::thread::spawn(move || {
                    let ask = |ask: Ask| asking.lock().expect("no thread panicked")(ask);
                    // A client that went away is the client's affair.
                    let _ = Connection::new(stream, &shared).and_then(|mut it| it.serve(&ask));
                }));
            }
            for connection in connections {
                connection.join().expect("a connection does not panic");
            }
        });
        Server { address, shared, engine, accepting: Some(accepting) }
    }

    /// The address an OpenAI client would be given.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The page of metrics.
    pub(crate) fn metrics(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// What the engine says of the requests that ended, in their order of arrival.
    pub(crate) fn truths(&self) -> Vec<Truth> {
        self.engine.truths()
    }

    /// Requests for tokens so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// The prompts so far.
    pub(crate) fn prompts(&self) -> Vec<String> {
        self.shared.prompts.lock().expect("no thread panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(5)));
        if let Some(accepting) = self.accepting.take() {
            let ended = accepting.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a thread of the server panicked");
        }
    }
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
    body: Vec<u8>,
}

struct Connection<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    buffer: Vec<u8>,
}

/// The client went away, or the server ends.
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Gone {
        Gone
    }
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, shared: &'a Shared) -> Result<Connection<'a>, Gone> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(Connection { stream, shared, buffer: Vec::new() })
    }

    fn serve(&mut self, ask: &dyn Fn(Ask)) -> Result<(), Gone> {
        loop {
            let request = self.request()?;
            let wanted = &self.shared.manners.key;
            let got = request.authorization.as_deref().unwrap_or("nothing");
            if wanted.as_ref().is_some_and(|key| got != format!("Bearer {key}")) {
                let message = format!("Incorrect API key provided: {got}");
                self.answer(401, "", &json!({ "error": { "message": message } }).to_string())?;
                continue;
            }
            let silent = self.shared.manners.says_nothing;
            match (request.method.as_str(), request.path.as_str()) {
                ("POST", "/v1/completions") => self.tokens(&request.body, false, ask)?,
                ("POST", "/v1/chat/completions") => self.tokens(&request.body, true, ask)?,
                ("GET", "/v1/models") if !silent => {
                    let model = json!({ "id": "m", "owned_by": "vllm", "max_model_len": 8_192 });
                    self.answer(200, "", &json!({ "data": [model] }).to_string())?;
                }
                ("GET", "/version") if !silent => {
                    self.answer(200, "", &json!({ "version": "0.33.0" }).to_string())?;
                }
                ("GET", "/metrics") => {
                    self.answer(200, "", &self.page())?;
                }
                _ => self.answer(404, "", "{\"detail\":\"Not Found\"}")?,
            }
        }
    }

    /// The page of metrics, under the names of vLLM.
    fn page(&self) -> String {
        let gauges = &self.shared.gauges;
        let lines = [
            ("request_success_total", self.shared.requests.load(Ordering::SeqCst) as u64),
            ("num_requests_running", gauges.running.load(Ordering::SeqCst) as u64),
            ("num_preemptions_total", 0),
            ("prefix_cache_queries_total", gauges.looked_up.load(Ordering::SeqCst)),
            ("prefix_cache_hits_total", gauges.found.load(Ordering::SeqCst)),
        ];
        let cache = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"8192\"} 1\n";
        lines.iter().map(|(name, value)| format!("vllm:{name} {value}\n")).collect::<String>()
            + cache
    }

    /// Reads the next request.
    fn request(&mut self) -> Result<Request, Gone> {
        let head_ends = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.buffer.drain(..head_ends + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().ok_or(Gone)?, words.next().ok_or(Gone)?);
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").map_or(Ok(0), |text| text.parse::<usize>());
        let length = length.map_err(|_| Gone)?;
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            authorization: header("authorization"),
            body: self.buffer.drain(..length).collect(),
        })
    }

    fn fill(&mut self) -> Result<(), Gone> {
        let mut piece = [0; 16 << 10];
        while !self.shared.ending.load(Ordering::SeqCst) {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Gone),
                Ok(read) => {
                    self.buffer.extend_from_slice(&piece[..read]);
                    return Ok(());
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Err(Gone),
            }
        }
        Err(Gone)
    }

    fn answer(&mut self, status: u16, header: &str, body: &str) -> Result<(), Gone> {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} Status\r\ncontent-length: {length}\r\n{header}\r\n{body}");
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Streams the tokens that a request asks for.
    fn tokens(&mut self, body: &[u8], chat: bool, ask: &dyn Fn(Ask)) -> Result<(), Gone> {
        let number = self.shared.requests.fetch_add(1, Ordering::SeqCst);
        let body: Value = serde_json::from_slice(body).map_err(|_| Gone)?;
        let manners = &self.shared.manners;
        if manners.strict && body.get("ignore_eos").is_some() {
            let message = "Unrecognized request argument supplied: ignore_eos";
            return self.answer(400, "", &json!({ "error": { "message": message } }).to_string());
        }
        if manners.counts_nothing && body.get("stream_options").is_some() {
            return self.answer(422, "", "{\"detail\":\"stream_options\"}");
        }
        let fault = manners.faults.get(&number).copied();
        match fault {
            Some(Fault::TooMany(seconds)) => {
                return self.answer(429, &format!("retry-after: {seconds}\r\n"), "slow down");
            }
            Some(Fault::Unavailable) => return self.answer(503, "", "starting"),
            _ => {}
        }
        let prompt = match chat {
            true => &body["messages"][0]["content"],
            false => &body["prompt"],
        };
        let prompt = prompt.as_str().ok_or(Gone)?;
        self.shared.prompts.lock().expect("no thread panicked").push(prompt.to_owned());
        let outputs = body["max_tokens"].as_u64().ok_or(Gone)? as u32;
        let usage = &body["stream_options"];
        let told = (usage["include_usage"] == true, usage["continuous_usage_stats"] == true);
        self.stream(prompt, (outputs, chat, told), fault, ask)
    }

    fn stream(
        &mut self,
        prompt: &str,
        (outputs, chat, (told, told_always)): (u32, bool, (bool, bool)),
        fault: Option<Fault>,
        ask: &dyn Fn(Ask),
    ) -> Result<(), Gone> {
        let (tokens, arriving) = channel();
        let (hits, found) = channel();
        let segments = segments(prompt);
        let input: u32 = segments.iter().map(|segment| segment.tokens).sum();
        ask(Ask { segments, outputs, tokens, hits });
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes())?;
        let usage = |so_far: u32| json!({ "prompt_tokens": input, "completion_tokens": so_far });
        let together = self.shared.manners.tokens_per_chunk.max(1);
        let mut text = String::new();
        for expected in 1..=outputs {
            let written = self.next_token(&arriving)?;
            assert_eq!(written, expected, "tokens come in order");
            text.push_str(" w");
            if written % together == 0 || written == outputs {
                let finish = (written == outputs).then_some("length");
                let mut chunk = match chat {
                    true => {
                        json!({ "choices": [{ "delta": { "content": text }, "finish_reason": finish }] })
                    }
                    false => json!({ "choices": [{ "text": text, "finish_reason": finish }] }),
                };
                if told_always {
                    chunk["usage"] = usage(written);
                }
                self.event(&chunk.to_string())?;
                text.clear();
            }
            match fault {
                Some(Fault::Cut(after)) if written == after => return Err(Gone),
                Some(Fault::Stall(after)) if written == after => return self.stall(),
                Some(Fault::Malformed(after)) if written == after => {
                    self.event("{\"choices\": [{\"te")?;
                }
                Some(Fault::Error(after)) if written == after => {
                    self.event("{\"error\": {\"message\": \"the engine died\"}}")?;
                }
                _ => {}
            }
        }
        if told {
            let mut usage = usage(outputs);
            usage["prompt_tokens_details"] = json!({ "cached_tokens": self.next_token(&found)? });
            self.event(&json!({ "choices": [], "usage": usage }).to_string())?;
        }
        self.event("[DONE]")?;
        Ok(self.stream.write_all(b"0\r\n\r\n")?)
    }

    fn next_token(&self, arriving: &std::sync::mpsc::Receiver<u32>) -> Result<u32, Gone> {
        let until = Instant::now() + LONGEST_WAIT;
        while Instant::now() < until && !self.shared.ending.load(Ordering::SeqCst) {
            if let Ok(token) = arriving.recv_timeout(TICK) {
                return Ok(token);
            }
        }
        Err(Gone)
    }

    fn event(&mut self, data: &str) -> Result<(), Gone> {
        let event = format!("data: {data}\n\n");
        Ok(self.stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?)
    }

    /// Says nothing more until the client has had enough.
    fn stall(&mut self) -> Result<(), Gone> {
        loop {
            self.fill()?;
        }
    }
}

/// The tokens of a prompt: what stands around the words first, then a token a word. Equal texts up
/// to the end of a block have equal segments up to there.
fn segments(prompt: &str) -> Vec<Segment> {
    let around = Segment { id: 1, tokens: AROUND };
    let words: Vec<&str> = prompt.split(' ').collect();
    let rest = words.chunks(BLOCK as usize).map(|words| {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        Segment { id: hasher.finish(), tokens: words.len() as u32 }
    });
    std::iter::once(around).chain(rest).collect()
}
