//! Limits on events, memory and time: what is finished counts, and a limit never changes a number.

use super::{CHAT, Folder};
use serde_json::Value;
use sim::Simulation;

/// Events of the first replications of the chat.
fn events(replications: u32) -> Vec<u64> {
    let resolved = scenarios::load_str("chat.toml", CHAT, &[]).unwrap_or_else(|e| panic!("{e}"));
    (0..replications).map(|r| Simulation::new(&resolved.scenario, 7, r).run().events).collect()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn the_same_replications_count_on_any_number_of_threads() {
    let folder = Folder::new("events");
    let three: u64 = events(3).iter().sum();
    for (most, finished) in [(three, 3), (three - 1, 2)] {
        let json = |rest: &str| {
            let run = format!("run chat.toml --replications 9 --max-events {most} --format json");
            folder.run(&format!("{run} {rest}")).expect(4).out
        };
        let one = json("--threads 1");
        assert!(json("--threads 2") == one, "two threads change the output");
        let stopped = parsed(&one);
        assert_eq!(stopped["stopped"]["code"], "limit-reached");
        assert_eq!(stopped["replications"], finished);
        let asked_for = format!("run chat.toml --replications {finished} --format json");
        let whole = parsed(&folder.run(&asked_for).out);
        for key in ["tasks", "calls", "pools", "spend", "events"] {
            assert!(!whole[key].is_null() && stopped[key] == whole[key], "{key} differs");
        }
    }
}

#[test]
fn reports_begin_with_the_limit_that_was_reached() {
    let folder = Folder::new("banner");
    let most = events(1)[0];
    let banner = format!("STOPPED AT --max-events {most}: partial results");
    for format in ["text", "md"] {
        let run = format!("run chat.toml --max-events {most} --format {format}");
        let ended = folder.run(&run).expect(4);
        let first: Vec<&str> = ended.out.lines().take(5).collect();
        assert!(first.iter().any(|line| line.contains(&banner)), "{}", ended.out);
    }
    // Ten thousand take a thread far longer than that, and one of them does not.
    let run = "run chat.toml --threads 1 --replications 10000 --set scenario.horizon=10m";
    let ended = folder.run(&format!("{run} --max-wall 2s")).expect(4);
    assert!(ended.out.contains("STOPPED AT --max-wall 2s: partial results"), "{}", ended.out);
}

#[test]
fn a_limit_before_the_first_replication_leaves_nothing() {
    let folder = Folder::new("nothing");
    let mut limits = vec!["--max-events 1", "--max-wall 1ps"];
    if cfg!(target_os = "linux") {
        limits.push("--max-memory 1B");
    }
    for limit in limits {
        for rest in ["", "--check-determinism", "--format json --out new"] {
            let ended = folder.run(&format!("run chat.toml {limit} {rest}")).expect(4);
            let why = format!("stopped at {limit} before the first replication was finished");
            assert!(ended.err.contains(&why), "{}", ended.err);
            assert_eq!(ended.out, "", "{limit} {rest}");
        }
    }
    assert_eq!(folder.list(), ["chat.toml".to_owned()].into(), "no report was written");
}

#[test]
fn limits_that_are_not_reached_change_nothing() {
    let folder = Folder::new("ample");
    let plain = folder.run("run chat.toml --format json").expect(0).out;
    let memory = if cfg!(target_os = "linux") { "--max-memory 1024TiB" } else { "" };
    let limits = format!("--max-events 1000000000 --max-wall 213d {memory}");
    let limited = folder.run(&format!("run chat.toml --format json {limits}")).expect(0).out;
    assert!(limited == plain, "limits that are not reached change the output");
}

#[test]
fn a_limit_that_is_none_says_what_would_be_one() {
    let folder = Folder::new("flags");
    let number = "write a whole number from 1 up, like 5000000";
    let (size, time) = ("write a size like 2GiB or 500MB", "write a time like 60s or 10m");
    let nothing = "it has to be more than nothing";
    for (limit, why) in [
        ("--max-events=", number),
        ("--max-events=0", number),
        ("--max-events=-1", number),
        ("--max-events=1e6", number),
        ("--max-events=99999999999999999999", number),
        ("--max-memory=", size),
        ("--max-memory=5", size),
        ("--max-memory=-5MB", size),
        ("--max-memory=5parsecs", size),
        ("--max-memory=99999999999TiB", size),
        ("--max-memory=0B", nothing),
        ("--max-wall=", time),
        ("--max-wall=5", time),
        ("--max-wall=-5s", time),
        ("--max-wall=5parsecs", time),
        ("--max-wall=1e30s", time),
        ("--max-wall=300d", time),
        ("--max-wall=0s", nothing),
    ] {
        let ended = folder.run(&format!("run chat.toml {limit}")).expect(2);
        assert!(ended.err.contains(why), "{limit}: {}", ended.err);
        assert_eq!(ended.out, "", "{limit}");
    }
}
