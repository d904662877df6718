//! The local web page from outside: a real server on a free port of this machine.
//!
//! Every test starts a server of its own, which ends with the test.

mod connections;
mod report;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ten minutes of chat on one pool; ten replications take some tens of milliseconds.
const CHAT: &str = r#"
[scenario]
horizon = "10m"
replications = 6
seed = 7

[traffic.web]
task = "chat"
arrivals = { kind = "gamma", rate = "5/s", cv = 1.5 }

[tasks.chat]
p95_latency_slo = "5s"
steps = [
  { id = "answer", model_call = { model = "small", input = { kind = "lognormal", p50 = 350, p95 = 900 }, output = { kind = "lognormal", p50 = 60, p95 = 200 } } },
]

[models.small]
served_by = ["h100"]

[pools.h100]
replicas = 2
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 4000 }
step_time = { fixed = "5ms", per_token = "20us", per_kv_token = "50ns" }

[objectives]
"chat.success_rate" = ">= 97%"
"#;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_surgeline"))
            .args(["serve", "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
        Server { child, address }
    }

    fn get(&self, path: &str) -> Reply {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address), "")
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.raw(&self.head(path, "application/json"), &body.to_string())
    }

    fn head(&self, path: &str, kind: &str) -> String {
        format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n", self.address)
    }

    fn raw(&self, head: &str, body: &str) -> Reply {
        let mut stream = self.send(head, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer to its end");
        Reply::of(&bytes)
    }

    fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        // No test waits for ever.
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a limit");
        let length = body.len();
        let text = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).expect("it reads");
        stream
    }

    /// The last line of an answer.
    fn answer(&self, question: &Value) -> Value {
        let reply = self.post("/api/answer", question);
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.lines().pop().expect("a line")
    }

    fn load(&self) -> (u64, u64) {
        let load = self.get("/api/load").json();
        (load["running"].as_u64().expect("a number"), load["waiting"].as_u64().expect("a number"))
    }

    /// Waits until the server works on as many answers.
    fn until_running(&self, count: u64) {
        for _ in 0..600 {
            if self.load().0 == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {count} answers at once");
    }

    /// Waits until as many questions wait.
    fn until_waiting(&self, count: u64) {
        for _ in 0..600 {
            if self.load().1 == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {count} questions in the queue");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn of(bytes: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = if head.contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Reply { status, head, body }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn lines(&self) -> Vec<Value> {
        let line = |text: &str| serde_json::from_str(text).expect("a line of JSON");
        self.body.lines().map(line).collect()
    }
}

/// Chunks put together; the texts of these tests have as many characters as bytes at their seams.
fn unchunked(body: &str) -> String {
    let (mut all, mut rest) = (Vec::new(), body.as_bytes());
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            break;
        }
        all.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    String::from_utf8(all).expect("text")
}

fn chat(session: &str, set: &[&str]) -> Value {
    json!({ "session": session, "ask": { "text": CHAT, "set": set } })
}

/// Hours of simulation.
fn long(session: &str) -> Value {
    let set = ["scenario.horizon=20d", "scenario.replications=100"];
    json!({ "session": session, "ask": { "text": CHAT, "set": set } })
}

#[test]
fn pages_come_with_strict_headers_and_load_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    for (path, kind) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.head.contains(&format!("content-type: {kind}")), "{}", reply.head);
        assert!(
            reply.head.contains("content-security-policy: default-src 'none'; script-src 'self'")
        );
        assert!(reply.head.contains("x-frame-options: deny"), "{}", reply.head);
        for outside in ["http://", "https://", "//cdn", "style=", "onclick", "innerHTML", "eval("] {
            assert!(!reply.body.contains(outside), "{path} has {outside}");
        }
    }
    let page = server.get("/").body;
    assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
    let missing = server.get("/../../etc/passwd");
    assert_eq!(missing.status, 404, "{}", missing.body);
}

#[test]
fn every_shipped_scenario_has_sliders_and_can_be_shared() {
    let server = Server::start(&[]);
    let all = server.get("/api/scenarios").json();
    let all = all["scenarios"].as_array().expect("a list");
    assert!(all.len() >= 20);
    for one in all {
        let ask = json!({ "scenario": one["name"] });
        let found = server.post("/api/sliders", &ask);
        assert_eq!(found.status, 200, "{}", found.body);
        let found = found.json();
        assert_eq!(found["schema"], "surgeline.serve/1");
        assert!(!found["sliders"].as_array().expect("a list").is_empty(), "{}", one["name"]);
        let shared = server.post("/api/share", &ask);
        assert_eq!(shared.status, 200, "{}", shared.body);
        let name = one["name"].as_str().expect("a name");
        assert_eq!(shared.json()["command"], format!("surgeline run {name}"));
    }
}

/// What the page says is what the command line says.
#[test]
fn an_answer_has_the_numbers_of_the_command_line() {
    let server = Server::start(&[]);
    let set = ["traffic.web.scale=1.5", "pools.h100.replicas=3"];
    let question = json!({ "session": "a", "ask": { "text": CHAT, "set": set } });
    let reply = server.post("/api/answer", &question);
    let lines = reply.lines();
    let answers: Vec<&Value> = lines.iter().filter(|line| line["event"] == "answer").collect();
    let runs: Vec<u64> = answers.iter().filter_map(|one| one["replications"].as_u64()).collect();
    assert_eq!(runs, [2, 4, 6], "a first look, a second, and all");
    let finals: Vec<bool> = answers.iter().filter_map(|one| one["final"].as_bool()).collect();
    assert_eq!(finals, [false, false, true]);

    let shared = server.post("/api/share", &question["ask"]).json();
    assert_eq!(
        shared["command"],
        "surgeline run scenario.toml --set traffic.web.scale=1.5 --set pools.h100.replicas=3"
    );
    let folder = std::env::temp_dir().join(format!("surgeline-serve-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    // The file that the page offers, without any override.
    std::fs::write(folder.join("shared.toml"), shared["text"].as_str().expect("a text"))
        .expect("a scratch file");
    let run = Command::new(env!("CARGO_BIN_EXE_surgeline"))
        .args(["run", "shared.toml", "--format", "json", "--no-calibration", "--quiet"])
        .current_dir(&folder)
        .output()
        .expect("the program runs");
    std::fs::remove_dir_all(&folder).expect("the scratch folder goes away");
    let run: Value = serde_json::from_slice(&run.stdout).expect("a report");
    let last = lines.last().expect("an answer");
    let number = |path: &str| {
        let numbers = last["numbers"].as_array().expect("a list");
        let found = numbers.iter().find(|one| one["path"] == path).expect("a number");
        found["now"].clone()
    };
    let cost = &run["spend"]["per_successful_task_usd"];
    let p95 = &run["tasks"]["chat"]["latency_s"]["p95"];
    let success = &run["tasks"]["chat"]["success_rate"];
    let same = [
        ("cost_per_successful_task", cost),
        ("chat.p95_latency", p95),
        ("chat.success_rate", success),
    ];
    for (path, said) in same {
        for end in ["value", "low", "high"] {
            assert!(said[end].is_number(), "{path} {end}: {said}");
            assert_eq!(number(path)[end], said[end], "{path} {end}");
        }
    }
    assert_eq!(last["verdict"], "met");
    assert_eq!(last["objectives"][0]["met"], run["objectives"][0]["met"]);
}

#[test]
fn a_pinned_baseline_is_compared_pair_by_pair() {
    let server = Server::start(&[]);
    let mut question = chat("a", &["pools.h100.replicas=4"]);
    question["pinned"] = json!({ "text": CHAT, "set": [] });
    let last = server.answer(&question);
    let numbers = last["numbers"].as_array().expect("a list");
    let spend = numbers.iter().find(|one| one["path"] == "spend.per_month").expect("the spend");
    let change = &spend["change"];
    // Twice the replicas, twice the rent, exactly.
    assert_eq!(change["relative"], "+100.0 %", "{change}");
    assert_eq!(change["better"], false, "{change}");
    assert!(
        last["against_pinned"]
            .as_str()
            .is_some_and(|text| text.contains("per successful task rises"))
    );
    // Nothing changed is nothing, not chance.
    question["ask"]["set"] = json!([]);
    let last = server.answer(&question);
    for number in last["numbers"].as_array().expect("a list") {
        assert_eq!(number["change"]["difference"], 0.0, "{number}");
    }
}

#[test]
fn a_new_question_of_a_session_ends_the_one_before() {
    let server = Server::start(&["--runs", "1", "--max-wall", "10m"]);
    let first =
        server.send(&server.head("/api/answer", "application/json"), &long("mine").to_string());
    server.until_running(1);
    // With one answer at a time, this one comes only when the first is given up.
    let last = server.answer(&chat("mine", &[]));
    assert_eq!((&last["event"], &last["final"]), (&json!("answer"), &json!(true)));
    let mut bytes = Vec::new();
    { first }.read_to_end(&mut bytes).expect("it ends");
    let reply = Reply::of(&bytes);
    assert_eq!(reply.lines().last().expect("a line")["event"], "superseded");
    server.until_running(0);
}

#[test]
fn whoever_goes_away_is_not_worked_for() {
    let server = Server::start(&["--runs", "1", "--max-wall", "10m"]);
    let stream =
        server.send(&server.head("/api/answer", "application/json"), &long("a").to_string());
    server.until_running(1);
    drop(stream);
    server.until_running(0);
}

#[test]
fn a_long_answer_leaves_room_for_others_and_is_cut_at_its_limit() {
    let server = Server::start(&["--max-wall", "3s"]);
    let stream =
        server.send(&server.head("/api/answer", "application/json"), &long("a").to_string());
    server.until_running(1);
    assert_eq!(server.get("/").status, 200);
    let last = server.answer(&chat("b", &[]));
    assert_eq!(last["final"], true);
    let mut bytes = Vec::new();
    { stream }.read_to_end(&mut bytes).expect("it ends");
    let last = Reply::of(&bytes).lines().pop().expect("a line");
    let said = last["cut"].as_str().or(last["error"].as_str()).unwrap_or_default();
    assert!(said.contains("--max-wall 3s"), "{last}");
}

#[test]
fn events_of_an_answer_are_limited() {
    let server = Server::start(&["--max-events", "20000"]);
    let last = server.answer(&chat("a", &[]));
    let said = last["cut"].as_str().or(last["error"].as_str()).unwrap_or_default();
    assert!(said.contains("--max-events 20000"), "{last}");
}

#[test]
fn two_hundred_questions_at_once_are_all_answered() {
    let server = Server::start(&["--runs", "2"]);
    let ask = |at: usize| {
        let set = [format!("scenario.seed={at}"), "scenario.replications=2".to_owned()];
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        chat(&format!("s{at}"), &set).to_string()
    };
    let head = server.head("/api/answer", "application/json");
    let mut most = 0;
    let streams: Vec<TcpStream> = (0..200).map(|at| server.send(&head, &ask(at))).collect();
    for _ in 0..5 {
        most = most.max(server.load().0);
    }
    let mut seeds = Vec::new();
    for mut stream in streams {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer to its end");
        most = most.max(server.load().0);
        let reply = Reply::of(&bytes);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let last = reply.lines().pop().expect("a line");
        assert_eq!(last["final"], true, "{last}");
        seeds.push(last["seed"].as_u64().expect("a seed"));
    }
    assert_eq!(seeds, (0..200).collect::<Vec<u64>>(), "each has its own answer");
    assert!(most <= 2, "{most} at once");
}

#[test]
fn beyond_the_queue_a_question_is_asked_to_come_again() {
    let server = Server::start(&["--runs", "1", "--waiting", "1", "--max-wall", "10m"]);
    let head = server.head("/api/answer", "application/json");
    let first = server.send(&head, &long("a").to_string());
    server.until_running(1);
    let second = server.send(&head, &long("b").to_string());
    server.until_waiting(1);
    let reply = server.post("/api/answer", &chat("c", &[]));
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.head.contains("retry-after: 2"), "{}", reply.head);
    drop((first, second));
}

#[test]
fn a_question_is_not_too_long() {
    let server = Server::start(&[]);
    let long = json!({ "text": "#".repeat(300 << 10) });
    let reply = server.post("/api/sliders", &long);
    assert_eq!(reply.status, 413, "{}", reply.body);
    assert!(reply.body.contains("at most 256 KiB"), "{}", reply.body);
}

#[test]
fn other_sites_and_other_names_are_turned_away() {
    let server = Server::start(&[]);
    let foreign = server.raw("GET /api/scenarios HTTP/1.1\r\nHost: rebound.example:8077\r\n", "");
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    let head = server.head("/api/sliders", "application/json");
    let ask = json!({ "scenario": "starter" }).to_string();
    let foreign = server.raw(&format!("{head}Origin: https://example.com\r\n"), &ask);
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    let own = server.raw(&format!("{head}Origin: http://{}\r\n", server.address), &ask);
    assert_eq!(own.status, 200, "{}", own.body);
    // What a form of another site could send.
    let form = server.raw(&server.head("/api/sliders", "text/plain"), &ask);
    assert_eq!(form.status, 415, "{}", form.body);
}

#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    let server = Server::start(&[]);
    let first = |reply: &Reply| reply.json()["problems"][0].clone();
    let wrong = server.post("/api/sliders", &json!({ "text": "[scenario]\nhorizon = \"2m\n" }));
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    assert_eq!((&first(&wrong)["line"], &first(&wrong)["column"]), (&json!(2), &json!(14)));
    let text = CHAT.replace("replicas = 2", "replcas = 2");
    let misspelt = server.post("/api/answer", &json!({ "session": "a", "ask": { "text": text } }));
    assert_eq!(misspelt.status, 422, "{}", misspelt.body);
    assert!(misspelt.json()["error"].as_str().is_some_and(|all| all.contains("scenario.toml:")));
    assert!(first(&misspelt)["help"].as_str().is_some_and(|help| help.contains("replicas")));
    let set = server.post("/api/answer", &chat("a", &["pools.h100.replicas=many"]));
    assert_eq!(set.status, 422, "{}", set.body);
    assert!(first(&set)["file"].as_str().is_some_and(|file| file.starts_with("--set")));
}

#[test]
fn hostile_questions_get_an_answer_and_no_file() {
    let server = Server::start(&[]);
    let secret = std::env::temp_dir().join(format!("surgeline-secret-{}", std::process::id()));
    std::fs::write(&secret, "[routing]\ndefault_model = \"x-secret-x\"\n").expect("a scratch file");
    let path = secret.display().to_string();
    for text in [
        format!("policy = \"{path}\"\n{CHAT}"),
        CHAT.replace(
            "arrivals =",
            &format!("trace = {{ file = \"{path}\", format = \"generic-csv\" }}\n#"),
        ),
        format!("{}{}", "a=".repeat(5), "[".repeat(100_000)),
        "\u{0}".to_owned(),
    ] {
        let reply = server.post("/api/sliders", &json!({ "text": text }));
        assert_eq!(reply.status, 422, "{}", reply.body);
        assert!(!reply.body.contains("x-secret-x"), "{}", reply.body);
    }
    let by_override = server.post("/api/answer", &chat("a", &[&format!("policy={path}")]));
    assert_eq!(by_override.status, 422, "{}", by_override.body);
    assert!(by_override.body.contains("no folder for data"), "{}", by_override.body);
    std::fs::remove_file(&secret).expect("the scratch file goes away");
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("{\"scenario\": \"starter\", \"text\": \"\"}", 400),
        ("{\"scenario\": \"../../etc/passwd\"}", 404),
        ("{\"scenario\": \"starter\", \"file\": \"/etc/passwd\"}", 400),
    ] {
        let reply = server.raw(&server.head("/api/sliders", "application/json"), body);
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
    }
    let nobody = json!({ "session": "<script>", "ask": { "scenario": "starter" } });
    assert_eq!(server.post("/api/answer", &nobody).status, 400);
    assert_eq!(server.answer(&chat("a", &[]))["final"], true, "it is still there");
}

#[test]
fn a_port_that_is_taken_is_said_and_ctrl_c_ends_it() {
    let mut server = Server::start(&["--max-wall", "10m"]);
    let port = server.address.rsplit_once(':').expect("a port").1.to_owned();
    let second = Command::new(env!("CARGO_BIN_EXE_surgeline"))
        .args(["serve", "--port", &port])
        .output()
        .expect("the program runs");
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("port {port} is taken")), "{said}");

    let stream =
        server.send(&server.head("/api/answer", "application/json"), &long("a").to_string());
    server.until_running(1);
    let interrupt = Command::new("kill").args(["-INT", &server.child.id().to_string()]).status();
    assert!(interrupt.expect("kill is there").success());
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    drop(stream);
}
