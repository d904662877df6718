//! Slow and many connections: nobody keeps others out by saying nothing.

use super::{Reply, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Connections that a server with one run and one place to wait has at most.
const MOST: usize = 130;

#[test]
fn slow_connections_are_closed_and_make_room() {
    let server = Server::start(&["--runs", "1", "--waiting", "1"]);
    let slow = |_| {
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a limit");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: local").expect("it reads");
        stream
    };
    let mut all: Vec<TcpStream> = (0..MOST).map(slow).collect();
    // All places are taken: this one comes when the first has been closed for its slowness.
    assert_eq!(server.get("/").status, 200);
    let is_closed = |stream: &mut TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        let read = stream.read(&mut [0; 1]);
        stream.set_nonblocking(false).expect("a socket");
        !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    assert!(all.iter_mut().any(is_closed), "there was no room before");
    for mut stream in all {
        let mut rest = Vec::new();
        // Closed, with or without a word.
        let ended = stream.read_to_end(&mut rest);
        assert!(!matches!(ended, Err(error) if error.kind() == ErrorKind::WouldBlock));
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_question_that_comes_too_slowly_is_told_so() {
    let server = Server::start(&[]);
    let head = server.head("/api/sliders", "application/json");
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a limit");
    let part = format!("{head}Connection: close\r\nContent-Length: 100\r\n\r\n{{");
    stream.write_all(part.as_bytes()).expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer to its end");
    let reply = Reply::of(&bytes);
    assert_eq!(reply.status, 408, "{}", reply.body);
    assert!(reply.body.contains("took too long"), "{}", reply.body);
}

#[test]
fn what_is_no_request_is_turned_away() {
    let server = Server::start(&[]);
    for noise in ["\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "SSH-2.0-OpenSSH_9.9\r\n\r\n"] {
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a limit");
        stream.write_all(noise.as_bytes()).expect("it reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("it ends");
        assert!(bytes.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&bytes));
    }
    let many = "X: y\r\n".repeat(1_000);
    let reply = server.raw(&format!("GET / HTTP/1.1\r\nHost: {}\r\n{many}", server.address), "");
    assert_eq!(reply.status, 431, "{}", reply.body);
    assert_eq!(server.get("/").status, 200);
}
