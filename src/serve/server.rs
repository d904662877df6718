//! The server: its pages, its calls, its end.
//!
//! Invariants: a body is at most [`MOST_BODY`] long and read within [`SLOWEST_BODY`]; scenarios are
//! read on few threads beside the one that speaks with browsers; the first Ctrl-C ends every run; whoever
//! goes away is not worked for.
//!
//! Deliberately absent: TLS, and serving to more than one's own machine and friends.

use super::answer::Out;
use super::connections;
use super::guard;
use super::question::{Document, Question, Refusal, SCHEMA, Variant};
use super::queue::{Job, Queue, Reply};
use super::report::Page;
use super::sliders;
use crate::error::Error;
use crate::limits::Limits;
use crate::output;
use crate::progress::stop_flag;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures_core::Stream;
use scenarios::library;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver};

/// Bytes of a question.
const MOST_BODY: usize = 256 << 10;
/// Until the body of a question has to be there.
const SLOWEST_BODY: Duration = Duration::from_secs(10);
/// Lines of an answer that its reader has not taken yet.
const LINES: usize = 64;
/// Threads that read scenarios.
const READERS: usize = 2;
/// Characters of the name of a session.
const LONGEST_SESSION: usize = 64;
/// Connections beside those of questions that are worked on or wait: pages, sliders, what a browser
/// keeps open.
const SPARE: usize = 128;

/// What the server was started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// Answers that are worked on at once.
    pub(crate) runs: usize,
    /// Questions that may wait.
    pub(crate) waiting: usize,
    /// Threads of each answer.
    pub(crate) threads: usize,
    /// Of each answer.
    pub(crate) limits: Limits,
}

/// Serves until Ctrl-C.
pub(crate) fn serve(settings: Settings) -> Result<u8, Error> {
    let stop = stop_flag();
    let asked = settings.address;
    let listener = TcpListener::bind(asked).map_err(|error| cannot_listen(asked, &error))?;
    let failed = |error: std::io::Error| Error::Usage(format!("cannot serve: {error}"));
    let address = listener.local_addr().map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(READERS)
        .build()
        .map_err(failed)?;
    let most = settings.runs + settings.waiting + SPARE;
    let (queue, workers) = Queue::start(settings);
    output::print(&format!("http://{address}\n"))?;
    if !address.ip().is_loopback() {
        crate::output::tell!("surgeline: whoever reaches {address} may ask; there is no password");
    }
    crate::output::tell!("surgeline: open the address in a browser; Ctrl-C ends it");
    let app = app(&queue, address);
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let goodbye = || queue.close();
        connections::accept(&listener, &app, most, stop, goodbye).await;
        Ok(())
    });
    queue.close();
    for worker in workers {
        // A worker that panicked has told so.
        let _ = worker.join();
    }
    runtime.shutdown_background();
    served.map_err(failed)?;
    Ok(0)
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::Usage(match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {} is taken by another program; name another one, or --port 0 for any that is free",
            address.port()
        ),
        _ => format!("cannot listen on {address}: {error}"),
    })
}

fn app(queue: &Arc<Queue>, address: SocketAddr) -> Router {
    let page =
        |kind, text: &'static str| get(move || async move { ([(CONTENT_TYPE, kind)], text) });
    let listening = address.ip();
    Router::new()
        .route("/", page("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", page("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", page("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/api/scenarios", get(list))
        .route("/api/load", get(load))
        .route("/api/sliders", post(sliders_of))
        .route("/api/answer", post(answer))
        .route("/api/share", post(share))
        .route("/api/report", post(report))
        .fallback(|| async { Refusal::plain(StatusCode::NOT_FOUND, "there is no such page") })
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn(move |request, next| guard::guard(listening, request, next)))
        .with_state(Arc::clone(queue))
}

async fn list() -> Document {
    let one = |shipped: &library::Shipped| json!({ "name": shipped.name, "question": shipped.question() });
    let all: Vec<Value> = library::all().iter().map(one).collect();
    Document(json!({ "schema": SCHEMA, "version": env!("CARGO_PKG_VERSION"), "scenarios": all }))
}

async fn load(State(queue): State<Arc<Queue>>) -> Document {
    let (running, waiting) = queue.load();
    Document(json!({ "schema": SCHEMA, "running": running, "waiting": waiting }))
}

async fn sliders_of(request: Request) -> Result<Document, Refusal> {
    let variant: Variant = body(request).await?;
    let found = read(move || {
        let blueprint = variant.blueprint()?;
        let resolved = blueprint.resolve(&variant.set)?;
        Ok(json!({
            "schema": SCHEMA,
            "name": resolved.name,
            "question": resolved.question,
            "sliders": sliders::of(&resolved),
            "text": blueprint.text(),
        }))
    });
    found.await.map(Document)
}

async fn share(request: Request) -> Result<Document, Refusal> {
    let variant: Variant = body(request).await?;
    let found = read(move || {
        let (file, text) = variant.file()?;
        let command = variant.command();
        Ok(json!({ "schema": SCHEMA, "command": command, "file": file, "text": text }))
    });
    found.await.map(Document)
}

async fn answer(State(queue): State<Arc<Queue>>, request: Request) -> Result<Response, Refusal> {
    let question = question(request).await?;
    let (sender, lines) = mpsc::channel(LINES);
    let reader = submitted(&queue, question, Reply::Lines(Out(sender)))?;
    let body = Body::from_stream(Lines { lines, _reader: reader });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn report(State(queue): State<Arc<Queue>>, request: Request) -> Result<Page, Refusal> {
    let question = question(request).await?;
    let (sender, mut page) = mpsc::channel(1);
    let _reader = submitted(&queue, question, Reply::Page(sender))?;
    // What waits when the server ends is thrown away.
    page.recv().await.unwrap_or_else(|| Err(Refusal::superseded()))
}

/// Puts a question in the queue, for as long as somebody waits for it.
fn submitted(queue: &Queue, question: Question, reply: Reply) -> Result<Reader, Refusal> {
    let unwanted = Arc::new(AtomicBool::new(false));
    let reader = Reader(Arc::clone(&unwanted));
    let is_taken = queue.submit(Job { question, unwanted, reply });
    is_taken.then_some(reader).ok_or_else(Refusal::busy)
}

/// A question that can be worked on.
async fn question(request: Request) -> Result<Question, Refusal> {
    let question: Question = body(request).await?;
    check(&question)?;
    // What cannot be read is refused at once; what waits is read anew, as waiting ones keep no more
    // than their texts.
    let question = read(move || {
        question.variant.case()?;
        question.pinned.as_ref().map(Variant::case).transpose()?;
        Ok(question)
    });
    question.await
}

fn check(question: &Question) -> Result<(), Refusal> {
    let bad = |text: &str| Err(Refusal::plain(StatusCode::BAD_REQUEST, text));
    let session = question.session.as_bytes();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if session.is_empty() || session.len() > LONGEST_SESSION || !session.iter().all(is_name) {
        return bad("a session is called by up to 64 letters, digits and dashes");
    }
    if question.replications.is_some_and(|n| !(1..=200).contains(&n)) {
        return bad("replications: a number from 1 to 200");
    }
    Ok(())
}

/// The body of a question.
async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        let text = "a question is JSON, with the content type application/json";
        return Err(Refusal::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let bytes = tokio::time::timeout(SLOWEST_BODY, Bytes::from_request(request, &())).await;
    let slow =
        |_| Refusal::plain(StatusCode::REQUEST_TIMEOUT, "the question took too long to come");
    let bytes = bytes.map_err(slow)?.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let text = format!("a question has at most {} KiB", MOST_BODY >> 10);
            Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        status => Refusal::plain(status, rejection.body_text()),
    })?;
    let bad = |error| Refusal::plain(StatusCode::BAD_REQUEST, format!("not a question: {error}"));
    serde_json::from_slice(&bytes).map_err(bad)
}

/// Does something that takes a while on a thread of its own.
async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let fault = || Refusal::from(Error::Bug("reading a scenario ended in a panic".to_owned()));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(fault()))
}

/// The lines of an answer as they come.
struct Lines {
    lines: Receiver<String>,
    _reader: Reader,
}

impl Stream for Lines {
    type Item = Result<String, Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lines.poll_recv(cx).map(|line| line.map(Ok))
    }
}

/// Somebody who waits for what was asked. It goes when the connection does, and then nobody wants it.
struct Reader(Arc<AtomicBool>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
