//! The HTML report of a question: the bytes of the command line, under the limits of an answer.

use super::{CHAT, Reply, Server, chat, long};
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

/// A folder with [`CHAT`] as `scenario.toml`, which goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = format!("surgeline-serve-report-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a scratch folder");
        std::fs::write(folder.join("scenario.toml"), CHAT).expect("a scratch file");
        Folder(folder)
    }

    /// What a command writes with `--html`.
    fn page(&self, args: &[&str]) -> String {
        let run = Command::new(env!("CARGO_BIN_EXE_surgeline"))
            .args(args)
            .args(["--quiet", "--html", "page.html"])
            .current_dir(&self.0)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert_ne!(run.status.code(), Some(2), "{args:?}: {said}");
        std::fs::read_to_string(self.0.join("page.html")).expect("a page")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the way of nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_page(reply: &Reply, file: &str) {
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.head.contains("content-type: text/html; charset=utf-8"), "{}", reply.head);
    let kept_as = format!("content-disposition: attachment; filename=\"{file}\"");
    assert!(reply.head.contains(&kept_as), "{}", reply.head);
    assert!(reply.head.contains("content-security-policy: default-src 'none'"), "{}", reply.head);
}

/// Where two texts begin to differ: a message that can be read.
fn assert_same(page: &str, expected: &str) {
    let differs = page.bytes().zip(expected.bytes()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| page.len().min(expected.len()));
    let around = |text: &str| {
        let bytes = text.as_bytes();
        let part = &bytes[at.saturating_sub(80).min(bytes.len())..(at + 80).min(bytes.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    assert!(page == expected, "{} is not {}", around(page), around(expected));
}

#[test]
fn a_report_is_the_page_of_run() {
    let (server, folder) = (Server::start(&[]), Folder::new("run"));
    let set = ["traffic.web.scale=1.5", "pools.h100.replicas=3"];
    let question = chat("a", &set);
    let expected = folder.page(&["run", "scenario.toml", "--set", set[0], "--set", set[1]]);
    // Simulated for it, and of replications that an answer has been of.
    for _ in 0..2 {
        let reply = server.post("/api/report", &question);
        is_page(&reply, "scenario.html");
        assert_same(&reply.body, &expected);
        server.answer(&question);
    }
}

/// The error of calibrated times is in it, as it is in that of the command line.
#[test]
fn a_report_of_calibrated_pools_is_complete() {
    let (server, folder) = (Server::start(&[]), Folder::new("calibrated"));
    let set = "scenario.horizon=2m";
    let page = |further: &[&str]| {
        let mut args = vec!["run", "self-hosted", "--set", set, "--seed", "5"];
        args.extend(["--replications", "3"]);
        args.extend(further);
        folder.page(&args)
    };
    let ask = json!({ "scenario": "self-hosted", "set": [set] });
    let question = json!({ "session": "a", "ask": ask, "seed": 5, "replications": 3 });
    let reply = server.post("/api/report", &question);
    is_page(&reply, "self-hosted.html");
    assert_same(&reply.body, &page(&[]));
    assert_ne!(reply.body, page(&["--no-calibration"]), "the example has calibrated times");
}

#[test]
fn with_a_pin_it_is_the_page_of_compare() {
    let (server, folder) = (Server::start(&[]), Folder::new("compare"));
    let (both, second) = ("traffic.web.scale=1.5", "pools.h100.replicas=4");
    let expected = folder.page(&[
        "compare",
        "scenario.toml",
        "--set",
        both,
        "--set-second",
        second,
        "--seed",
        "3",
    ]);
    let mut question = chat("a", &[both, second]);
    question["pinned"] = json!({ "text": CHAT, "set": [both] });
    question["seed"] = json!(3);
    for _ in 0..2 {
        let reply = server.post("/api/report", &question);
        is_page(&reply, "scenario-compared.html");
        assert_same(&reply.body, &expected);
        server.answer(&question);
    }
}

/// What fits into the limit is reported, with what cut it short; if nothing does, that is said.
#[test]
fn a_report_that_is_cut_short_says_so() {
    let folder = Folder::new("cut");
    let run = folder.page(&["run", "scenario.toml", "--replications", "1"]);
    assert!(
        !run.contains("partial results, replications finished"),
        "without a limit nothing is cut"
    );
    let events = ["--max-events", "40000"];
    let expected = folder.page(&["run", "scenario.toml", events[0], events[1]]);
    assert!(
        expected.contains("partial results, replications finished"),
        "the limit lets some replications through, not all"
    );
    let reply = Server::start(&events).post("/api/report", &chat("a", &[]));
    is_page(&reply, "scenario.html");
    assert_same(&reply.body, &expected);

    let reply = Server::start(&["--max-events", "10"]).post("/api/report", &chat("a", &[]));
    assert_eq!(reply.status, 422, "{}", reply.body);
    let said = reply.json()["error"].clone();
    assert!(said.as_str().is_some_and(|said| said.contains("--max-events 10")), "{said}");

    let reply = Server::start(&["--max-wall", "1s"]).post("/api/report", &long("a"));
    let cut = reply.body.contains("--max-wall 1s");
    assert!(cut, "{} {}", reply.status, &reply.body[..reply.body.len().min(400)]);
}

#[test]
fn what_is_no_question_has_no_report() {
    let server = Server::start(&[]);
    let wrong = server.post("/api/report", &chat("a", &["pools.h100.replcas=4"]));
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    assert!(wrong.json()["problems"][0]["message"].is_string(), "{}", wrong.body);
    let mut pinned = chat("a", &[]);
    pinned["pinned"] = json!({ "text": "[scenario" });
    assert_eq!(server.post("/api/report", &pinned).status, 422);
    assert_eq!(server.post("/api/report", &chat("<script>", &[])).status, 400);
    let missing = json!({ "session": "a", "ask": { "scenario": "../../etc/passwd" } });
    assert_eq!(server.post("/api/report", &missing).status, 404);
    let long = json!({ "session": "a", "ask": { "text": "#".repeat(300 << 10) } });
    assert_eq!(server.post("/api/report", &long).status, 413);
    let ask = chat("a", &[]).to_string();
    let head = server.head("/api/report", "application/json");
    let foreign = server.raw(&format!("{head}Origin: https://example.com\r\n"), &ask);
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    let form = server.raw(&server.head("/api/report", "text/plain"), &ask);
    assert_eq!(form.status, 415, "{}", form.body);
    assert_eq!(server.get("/api/report").status, 405);
}

#[test]
fn names_are_text_in_a_report_and_plain_in_its_file() {
    let server = Server::start(&[]);
    let name = r#"../<img src=x onerror=alert(1)>"\r\nX-Injected: 1"#;
    let named = format!("[scenario]\nname = {}", Value::from(name));
    let text = CHAT.replacen("[scenario]", &named, 1);
    let question = json!({ "session": "a", "ask": { "text": text } });
    let reply = server.post("/api/report", &question);
    if reply.status == 422 {
        // A name that is refused can do no harm.
        assert!(reply.body.contains("name"), "{}", reply.body);
        return;
    }
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(!reply.head.contains("x-injected:"), "{}", reply.head);
    assert!(!reply.body.contains("<img src=x"), "names are escaped");
}

fn rest(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer to its end");
    Reply::of(&bytes)
}

#[test]
fn a_later_question_of_the_session_takes_its_place() {
    let server = Server::start(&["--runs", "1", "--max-wall", "10m"]);
    let head = server.head("/api/report", "application/json");
    let first = server.send(&head, &long("mine").to_string());
    server.until_running(1);
    assert_eq!(server.answer(&chat("mine", &[]))["final"], true);
    assert_eq!(rest(first).status, 409);
    // And one that waits has not begun.
    let other = server.send(&head, &long("other").to_string());
    server.until_running(1);
    let waiting = server.send(&head, &chat("mine", &[]).to_string());
    server.until_waiting(1);
    let latest = server.send(&head, &chat("mine", &[]).to_string());
    assert_eq!(rest(waiting).status, 409);
    drop(other);
    assert_eq!(rest(latest).status, 200);
}

#[test]
fn nobody_writes_for_whoever_goes_away() {
    let server = Server::start(&["--runs", "1", "--waiting", "1", "--max-wall", "10m"]);
    let head = server.head("/api/report", "application/json");
    let stream = server.send(&head, &long("a").to_string());
    server.until_running(1);
    let second = server.send(&head, &long("b").to_string());
    server.until_waiting(1);
    let reply = server.post("/api/report", &chat("c", &[]));
    assert_eq!(reply.status, 503, "{}", reply.body);
    drop((stream, second));
    server.until_running(0);
}

#[test]
fn many_reports_at_once_are_all_written() {
    let server = Server::start(&["--runs", "2"]);
    let head = server.head("/api/report", "application/json");
    let ask = |at: usize| {
        let mut question = chat(&format!("s{at}"), &[]);
        (question["seed"], question["replications"]) = (json!(1_000 + at), json!(2));
        question.to_string()
    };
    let streams: Vec<TcpStream> = (0..40).map(|at| server.send(&head, &ask(at))).collect();
    for (at, stream) in streams.into_iter().enumerate() {
        let reply = rest(stream);
        is_page(&reply, "scenario.html");
        assert!(reply.body.contains(&format!("--seed {}", 1_000 + at)), "each has its own");
        assert!(server.load().0 <= 2);
    }
}
