//! `surgeline calibrate probe` as people and scripts meet it.

use super::server::{Manners, Server};
use super::{Folder, quick, step_time};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The command, in an environment without keys.
fn command(server: &Server, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
    command.args(["calibrate", "probe", "--model", "m", "--url", &server.url()]);
    command.args(args.split_whitespace()).env_remove("OPENAI_API_KEY");
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// A small grid.
const SMALL: &str = "--inputs 16,32 --outputs 4 --concurrency 1,2 --cached-percent 0";

#[test]
fn a_dry_run_sends_nothing_and_says_what_it_would_cost() {
    let server = Server::start(quick(), Manners::default());
    let args = format!("{SMALL} --dry-run --input-price $1/Mtok --output-price $2/Mtok");
    let output = command(&server, &args).output().expect("it starts");
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    // Two warm-ups, two anchors and two cells of four each, and two of two lanes, three times.
    assert!(out.contains("36 requests with 800 prompt and 144 answer tokens"), "{out}");
    assert!(out.contains("spend $0.0011"), "{out}");
    assert_eq!(server.requests(), 0);
}

#[test]
fn the_key_comes_from_the_environment_and_is_shown_nowhere() {
    let key = "sk-very-secret";
    let manners = Manners { key: Some(key.to_owned()), ..Manners::default() };
    let server = Server::start(quick(), manners);
    let folder = Folder::new("command-key");
    let to = format!("{SMALL} --out {}", folder.0.display());
    for (variable, args) in [("OPENAI_API_KEY", ""), ("MY_KEY", " --resume --api-key-env MY_KEY")] {
        let mut command = command(&server, &format!("{to}{args}"));
        let output = command.env(variable, key).output().expect("it starts");
        let (out, err) = texts(&output);
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("8 of 8 cells complete"), "{out}");
        assert!(!out.contains(key) && !folder.everything().contains(key));
    }
    let without = Folder::new("command-no-key");
    let args = format!("{SMALL} --out {}", without.0.display());
    let output = command(&server, &args).env("OPENAI_API_KEY", "sk-wrong").output();
    let output = output.expect("it starts");
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{out}{err}");
    assert!(err.contains("status 401") && !err.contains("sk-wrong") && !out.contains("sk-wrong"));
    assert!(!without.everything().contains("sk-wrong"));
}

#[test]
fn what_cannot_be_done_is_a_usage_error() {
    let server = Server::start(quick(), Manners::default());
    let folder = Folder::new("command-usage");
    let out = format!("--out {}", folder.0.display());
    for (args, message) in [
        ("", "--out"),
        ("--out x --max-spend $5", "--input-price"),
        ("--out x --budget 10", "unit is missing"),
        ("--out x --budget 0s", "more than nothing"),
        ("--out x --inputs 0", "not between 1"),
        ("--out x --metrics ftp://h", "must start with http"),
        ("--out x --api-key-env NO_SUCH_KEY_HERE", "no such variable"),
        ("--out src --max-requests 5", "not empty"),
        (&format!("{out} --resume"), "no probe to go on with"),
        (&format!("{out} --max-requests 0"), "nothing to measure"),
    ] {
        let output = command(&server, args).output().expect("it starts");
        let (printed, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{args}: {printed}{err}");
        assert!(err.contains(message) && printed.is_empty(), "{args}: {err}");
    }
    assert_eq!(server.requests(), 0);
    assert!(!folder.0.exists(), "nothing is left of what was not begun");
}

#[cfg(unix)]
#[test]
fn an_interruption_keeps_what_is_there() {
    let server = Server::start(step_time(), Manners::default());
    let folder = Folder::new("command-interrupt");
    // An answer takes ten seconds.
    let args = format!("--inputs 16 --outputs 1000 --concurrency 1 --out {}", folder.0.display());
    let mut command = command(&server, &args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let until = Instant::now() + Duration::from_secs(20);
    // Five requests: the warm-up's four are short.
    while server.requests() < 5 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    let output = child.wait_with_output().expect("it ends");
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{out}{err}");
    assert!(err.contains("what is finished is kept"), "{err}");
    assert!(out.contains("interrupted"), "{out}");
    let rows = folder.requests();
    assert_eq!(rows.len(), 5);
    assert!(rows[4].error.starts_with("stopped: "), "{rows:?}");
}
