//! Connections: how many there are at once, how slowly a request may come, how they end.
//!
//! Invariants: at most so many connections are open as were allowed, and others wait to be accepted; a
//! connection whose next request has not come within [`SLOWEST_HEAD`] is closed, so that nobody keeps
//! others out by saying nothing.
//!
//! Deliberately absent: limits by address; all of them come from one machine.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Until the head of a request has to be there.
const SLOWEST_HEAD: Duration = Duration::from_secs(10);
/// Between two looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);
/// How long connections may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// After an error that is likely to come again at once: no file descriptors are left.
const BREATH: Duration = Duration::from_millis(200);

/// Accepts connections until the flag is set, at most so many at once; then says goodbye and waits for
/// those that are left, but not for long.
pub(super) async fn accept(
    listener: &TcpListener,
    app: &Router,
    most: usize,
    stop: &'static AtomicBool,
    goodbye: impl FnOnce(),
) {
    let most = most.min(u32::MAX as usize);
    let places = Arc::new(Semaphore::new(most));
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let Some(Ok(place)) = unless_set(stop, place).await else { break };
        let Some(accepted) = unless_set(stop, listener.accept()).await else { break };
        match accepted {
            Ok((stream, _)) => {
                let app = app.clone();
                tokio::spawn(async move {
                    speak(stream, app, stop).await;
                    drop(place);
                });
            }
            // Whoever has gone already is no trouble of ours.
            Err(error) if is_of_one(error.kind()) => {}
            Err(_) => sleep(BREATH).await,
        }
    }
    goodbye();
    // Connections that do not end by themselves are not waited for.
    let _ = timeout(FAREWELL, places.acquire_many(most as u32)).await;
}

fn is_of_one(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(kind, ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers what is asked on one connection.
async fn speak(stream: TcpStream, app: Router, stop: &AtomicBool) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut served = pin!(served);
    // An error is one of the other side: it went away, was too slow, or speaks something else.
    if unless_set(stop, served.as_mut()).await.is_none() {
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
}

/// What comes of something, or nothing when the flag is set before.
async fn unless_set<F: Future>(stop: &AtomicBool, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(done) = timeout(LOOK, work.as_mut()).await {
            return Some(done);
        }
    }
    None
}
