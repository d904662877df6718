//! `surgeline trace` as people meet it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A scratch folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("surgeline-trace-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a scratch folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a scratch file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("a file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Code, stdout and stderr.
fn run(folder: &Path, args: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
    let output = command.arg("trace").args(args.split_whitespace()).current_dir(folder).output();
    let output = output.expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn fine(folder: &Folder, args: &str) -> String {
    let (code, out, err) = run(&folder.0, args);
    assert_eq!(code, Some(0), "{args}: {out}{err}");
    out
}

/// Two requests a second for 20 s, the second of each pair in the first one's session.
fn requests() -> String {
    let mut text = String::from("at,input,output,session,segments\n");
    for n in 0..40 {
        let (at, session) = (f64::from(n) / 2.0, n / 2);
        text +=
            &format!("{at},{},{},{session},\"[[7,100],[{},{n}]]\"\n", 100 + n, 5 + n, 1_000 + n);
    }
    text.replace(",0]]\"", "]]\"").replace("[1000]]", "").replace("[[7,100],\"", "[[7,100]]\"")
}

#[test]
fn requests_go_to_parquet_and_come_back() {
    let folder = Folder::new("requests");
    folder.write("in.csv", &requests());
    fine(&folder, "convert in.csv mid.parquet");
    fine(&folder, "convert mid.parquet out.csv");
    fine(&folder, "convert in.csv straight.csv");
    assert_eq!(folder.read("out.csv"), folder.read("straight.csv"));
    assert!(folder.read("out.csv").starts_with("at,input,output,session,segments\n0,100,5,0,"));
    let of = |file: &str| fine(&folder, &format!("stats {file}"));
    assert_eq!(of("mid.parquet"), of("in.csv"));
    assert_eq!(of("out.csv"), of("in.csv"));
}

#[test]
fn statistics_are_those_of_the_requests() {
    let folder = Folder::new("stats");
    folder.write("in.csv", &requests());
    let out = fine(&folder, "stats in.csv");
    for said in [
        "40 of 40 rows",
        "19.500 s from the first to the last",
        "2.0000 requests/s",
        "coefficient of variation 0.000",
        "counts 0.000 in 1s (",
        "mean 119.5, min 100, p50 119, p90 135, p95 137, p99 139, max 139",
        "mean 24.5, min 5,",
        "20 with 40 of the requests",
        "83.7 % of prompt tokens are in segments that other sessions use too (40 of 79)",
        "steps of 500ms",
    ] {
        assert!(out.contains(said), "{said}\nis not in\n{out}");
    }
}

#[test]
fn published_layouts_become_the_plain_one() {
    let folder = Folder::new("layouts");
    let burst =
        concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/data/traces/burstgpt-1.first-400.csv");
    fine(&folder, &format!("convert {burst} a.parquet --layout burstgpt"));
    fine(&folder, "convert a.parquet a.csv");
    let plain = fine(&folder, "stats a.csv");
    let own = fine(&folder, &format!("stats {burst} --layout burstgpt"));
    let line = |text: &str, name: &str| {
        text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned()
    };
    for name in ["span", "rate", "gaps", "prompt tokens", "answer tokens"] {
        assert_eq!(line(&plain, name), line(&own, name));
    }
    assert!(line(&plain, "prefix sharing").contains("unknown"));
    let mooncake = r#"{"timestamp":0,"input_length":600,"output_length":5,"hash_ids":[1,2]}
{"timestamp":1500,"input_length":600,"output_length":5,"hash_ids":[1,3]}
"#;
    folder.write("m.jsonl", mooncake);
    fine(&folder, "convert m.jsonl m.csv --layout mooncake");
    assert!(folder.read("m.csv").contains("1.5,600,5,\"[["), "{}", folder.read("m.csv"));
}

#[test]
fn iterations_go_to_parquet_and_come_back() {
    let folder = Folder::new("steps");
    let objects = "{\"decodes\":8,\"kv_tokens\":16000,\"prefill_tokens\":0,\"seconds\":0.012}\n\
                   {\"decodes\":0,\"prefill_tokens\":2048,\"prefill_pairs\":2098176,\"seconds\":0.0505}\n";
    folder.write("in.jsonl", objects);
    fine(&folder, "convert in.jsonl a.parquet --layout steps");
    fine(&folder, "convert a.parquet a.csv");
    let csv = "decodes,kv_tokens,prefill_tokens,prefill_pairs,seconds\n\
               8,16000,0,,0.012\n0,,2048,2098176,0.0505\n";
    assert_eq!(folder.read("a.csv"), csv);
    let (code, _, err) = run(&folder.0, "stats a.parquet");
    assert_eq!(code, Some(2));
    assert!(err.contains("iterations, not requests"), "{err}");
}

#[test]
fn what_cannot_be_read_or_written_says_why() {
    let folder = Folder::new("errors");
    folder.write("in.csv", "at,input,output\n0,1,1\n1,x,1\n");
    folder.write("fine.csv", "at,input,output\n0,1,1\n");
    folder.write("no.parquet", "PAR1");
    folder.write("in.txt", "at,input,output\n0,1,1\n");
    for (args, said) in [
        ("stats in.csv", "in.csv:3:3: `input`"),
        ("stats none.csv", "none.csv"),
        ("stats in.txt", "name it by --layout"),
        ("stats no.parquet", "no.parquet: "),
        ("stats fine.csv --layout steps", "no statistics of requests"),
        ("stats fine.csv --layout azure", "azure-2023"),
        ("convert fine.csv a.txt", ".parquet or .csv"),
        ("convert fine.csv nowhere/a.csv", "no such folder"),
        ("convert no.parquet a.csv --layout steps", "leave out --layout"),
        ("convert in.csv a.csv --layout steps", "`prefill_tokens`"),
    ] {
        let (code, out, err) = run(&folder.0, args);
        assert_eq!(code, Some(2), "{args}: {out}{err}");
        assert!(err.contains(said) && out.is_empty(), "{args}: {said}\nis not in\n{err}");
    }
    assert!(!folder.0.join("a.csv").exists() && !folder.0.join("a.txt").exists());
}
