//! The program as people and scripts meet it: exit codes, streams, files.
//!
//! Every test starts the real binary in a folder of its own, which goes away with the test.

mod check;
mod compare;
mod levers;
mod limits;
mod places;
mod plan;
mod run_json;
mod sweep;
mod tables;
mod what_if;

use sim::Simulation;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Two minutes of chat; its p95 of about a second is certain to a few hundred milliseconds.
const CHAT: &str = r#"
[scenario]
horizon = "2m"
replications = 4
seed = 7

[traffic.web]
task = "chat"
arrivals = { kind = "poisson", rate = "5/s" }

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

/// A folder with `chat.toml` in it, and the binary run there.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("surgeline-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch folder");
        let folder = Folder(path);
        folder.write("chat.toml", CHAT);
        folder
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).expect("a scratch file");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).expect("a file that was written")
    }

    /// Everything in it, hidden files too.
    fn list(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.0).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        entries.map(name).collect()
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
        command.args(args.split_whitespace()).current_dir(&self.0);
        // A test that runs on GitHub writes nothing into the summary of that run.
        command.env_remove("GITHUB_STEP_SUMMARY");
        command
    }

    #[track_caller]
    fn run(&self, args: &str) -> Ended {
        Ended::of(self.command(args).output().expect("the binary starts"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a process left behind.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

#[test]
fn the_exit_code_tells_what_became_of_the_objectives() {
    let folder = Folder::new("codes");
    for (args, code) in [
        ("run chat.toml", 0),
        ("run chat.toml --set tasks.chat.p95_latency_slo=10ms", 1),
        // Two replications make a wide interval around a p95 of about a second.
        ("run chat.toml --replications 2 --set tasks.chat.p95_latency_slo=1s", 3),
        ("run missing.toml", 2),
        ("run chat.toml --bogus", 2),
        ("run chat.toml --replications 0", 2),
        ("run chat.toml --set", 2),
        ("", 2),
    ] {
        let ended = folder.run(args).expect(code);
        assert_eq!(ended.out.is_empty(), code == 2, "{args}: results, and only those, on stdout");
        assert_eq!(ended.err.is_empty(), code != 2, "{args}: {}", ended.err);
    }
}

#[test]
fn every_problem_is_listed_with_its_place_and_advice() {
    let folder = Folder::new("problems");
    let bad = CHAT
        .replace("horizon", "horizn")
        .replace("\"5/s\"", "\"5\"")
        .replace("served_by = [\"h100\"]", "served_by = [\"h200\"]");
    folder.write("bad.toml", &bad);
    for command in ["validate", "run"] {
        let ended = folder.run(&format!("{command} bad.toml")).expect(2);
        for wanted in [
            "bad.toml:3:1: scenario.horizn: unknown key `horizn`\n  help: did you mean `horizon`?",
            "bad.toml:9:",
            "bad.toml:18:",
            "did you mean `h100`?",
        ] {
            assert!(ended.err.contains(wanted), "{wanted}\nis not in\n{}", ended.err);
        }
        assert!(ended.out.is_empty());
    }
    let ended = folder.run("validate chat.toml --set pools.h100.replica=3").expect(2);
    assert!(ended.err.contains("--set pools.h100.replica=3:1:1: "), "{}", ended.err);
    assert!(ended.err.contains("did you mean `replicas`?"), "{}", ended.err);
    assert!(!folder.run("validate chat.toml").expect(0).out.is_empty());
    let resolved = folder.run("validate chat.toml --resolved").expect(0).out;
    let seed = resolved.lines().find(|line| line.starts_with("scenario.seed "));
    assert!(seed.is_some_and(|line| line.contains(" 7 ") && line.contains("chat.toml:5:")));
}

#[test]
fn what_ships_is_listed_and_described() {
    let folder = Folder::new("listed");
    let names: Vec<String> = folder
        .run("list")
        .expect(0)
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    let shipped: Vec<&str> = scenarios::library::all().iter().map(|s| s.name).collect();
    assert_eq!(names, shipped);
    for what in ["scenarios", "gpus", "models", "engines"] {
        assert!(!folder.run(&format!("list {what}")).expect(0).out.is_empty());
    }
    for (what, line) in [
        ("policies", "The policy in production: small by default"),
        ("providers", "$0.15 in, $0.60 out per million tokens; context 128000"),
    ] {
        let ended = folder.run(&format!("list {what}")).expect(0);
        assert!(ended.out.contains(line), "{}", ended.out);
    }
    for kind in ["scenario", "policy"] {
        let text = folder.run(&format!("schema {kind}")).expect(0).out;
        let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert!(schema["properties"].is_object());
    }
    assert!(folder.run("completions bash").expect(0).out.contains("surgeline"));
    assert!(folder.run("--version").expect(0).out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_misspelt_scenario_is_recognised() {
    let folder = Folder::new("misspelt");
    let ended = folder.run("run starteer").expect(2);
    assert!(ended.err.contains("did you mean `starter`?"), "{}", ended.err);
    let ended = folder.run("run nothing-like-it").expect(2);
    assert!(ended.err.contains("shipped are: "), "{}", ended.err);
}

#[test]
fn a_starter_is_written_once_and_works() {
    let folder = Folder::new("init");
    folder.run("init").expect(0);
    let starter = folder.read("scenario.toml");
    folder.write("scenario.toml", &format!("{starter}\n# mine\n"));
    let refused = folder.run("init").expect(2);
    assert!(refused.err.contains("exists already"), "{}", refused.err);
    assert!(folder.read("scenario.toml").ends_with("# mine\n"), "nothing is overwritten");
    folder.run("init other.toml").expect(0);
    let other = folder.read("other.toml");
    assert!(other.contains("surgeline run other.toml --set traffic.web.scale=2x"), "{other}");
    assert_eq!(other.replace("other.toml", "scenario.toml"), starter);
    let files = ["chat.toml", "other.toml", "scenario.toml"];
    assert_eq!(folder.list(), files.map(str::to_owned).into());
    folder.run("validate scenario.toml").expect(0);
    // A schema that is not there is not named, and the name is the file's.
    assert!(starter.starts_with("# If traffic doubles"), "{starter}");
    let named = folder.run("validate other.toml").expect(0);
    assert!(named.out.starts_with("other: "), "{}", named.out);
    let ended = folder.run("run scenario.toml --replications 2 --set scenario.horizon=2m");
    assert!(matches!(ended.code, Some(0 | 1 | 3)), "{}", ended.err);
    assert!(!ended.out.is_empty());
}

#[test]
fn every_shipped_scenario_runs_by_its_name() {
    let folder = Folder::new("library");
    for shipped in scenarios::library::all() {
        // A minute of each: that they run is asked here, not what comes out.
        let args = format!("run {} --replications 2 --set scenario.horizon=1m", shipped.name);
        let ended = folder.run(&args);
        assert!(matches!(ended.code, Some(0 | 1 | 3)), "{args}: {}", ended.err);
        assert!(!ended.out.is_empty(), "{args}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new("pipe");
    for args in ["schema scenario", "run chat.toml --format json", "validate chat.toml --resolved"]
    {
        let mut command = folder.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let ended = Ended::of(child.wait_with_output().expect("the binary ends")).expect(0);
        assert_eq!(ended.err, "", "{args}");
    }
}

/// A result that could not be printed is an error, and files that were asked for are written all the
/// same.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_an_error_of_every_command() {
    let folder = Folder::new("stdout");
    let commands = [
        "list",
        "schema scenario",
        "validate chat.toml",
        "run chat.toml --quiet --json kept.json",
        "compare chat.toml --set-second pools.h100.replicas=3 --quiet --json kept.json",
        "check chat.toml --candidate kept.toml --gates gates.toml --json kept.json",
        "what-if chat.toml --traffic 1.1x --quiet --json kept.json",
        "plan chat.toml --vary pools.h100.replicas=1..2 --quiet --json kept.json",
        "sweep chat.toml --vary pools.h100.replicas=1..2 --quiet --out swept",
    ];
    folder.write("kept.toml", "");
    folder.write("gates.toml", "[gates]\n\"chat.p95_latency\" = \"<= +2%\"\n");
    for args in commands {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let mut command = folder.command(args);
        let ended = Ended::of(command.stdout(full).output().expect("the binary starts")).expect(2);
        assert!(ended.err.contains("surgeline: stdout: "), "{args}: {}", ended.err);
        if args.contains("kept.json") {
            assert!(folder.read("kept.json").ends_with("}\n"), "{args}");
            std::fs::remove_file(folder.0.join("kept.json")).expect("it is there");
        }
    }
}

#[test]
fn output_folders_appear_whole_or_not_at_all() {
    let folder = Folder::new("out");
    std::fs::create_dir(folder.0.join("full")).expect("a folder");
    folder.write("full/mine.txt", "mine");
    let before = folder.list();
    let refused = folder.run("run chat.toml --out full").expect(2);
    assert!(refused.err.contains("not empty") && refused.out.is_empty(), "{}", refused.err);
    assert_eq!((folder.list(), folder.read("full/mine.txt").as_str()), (before.clone(), "mine"));
    folder.run("run chat.toml --json no/such/folder.json").expect(2);
    assert_eq!(folder.list(), before, "nothing half written stays");

    let printed = folder.run("run chat.toml --format json --json a.json --out new").expect(0).out;
    assert_eq!(folder.read("a.json"), printed);
    assert_eq!(folder.read("new/run.json"), printed);
    for file in ["new/run.md", "new/run.txt"] {
        assert!(!folder.read(file).is_empty());
    }
    let added: Vec<String> = folder.list().difference(&before).cloned().collect();
    assert_eq!(added, ["a.json", "new"]);
}

#[test]
fn results_depend_on_the_seed_and_not_on_the_threads() {
    let folder = Folder::new("threads");
    let json =
        |rest: &str| folder.run(&format!("run chat.toml --format json {rest}")).expect(0).out;
    let one = json("--threads 1");
    for threads in ["--threads 2", "--threads 8", "--seed 7", "--check-determinism"] {
        assert!(json(threads) == one, "{threads} changes the output");
    }
    assert!(json("--seed 8") != one, "another seed gives other results");
}

#[test]
fn the_call_file_has_a_row_for_every_call() {
    let folder = Folder::new("calls");
    folder.run("run chat.toml --calls calls.csv").expect(0);
    let text = folder.read("calls.csv");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    assert_eq!(&header[1..3], ["source", "number"]);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let resolved = scenarios::load_str("chat.toml", CHAT, &[]).unwrap_or_else(|e| panic!("{e}"));
    let outcome = Simulation::new(&resolved.scenario, 7, 0).run();
    assert_eq!(rows.len() as u64, outcome.models[0].calls);
    assert!(rows.len() > 300, "{}", rows.len());
    let calls: BTreeSet<_> = rows.iter().map(|row| (row[1], row[2])).collect();
    assert_eq!(calls.len(), rows.len(), "no call twice");
    let sent = header.iter().position(|name| *name == "sent_s").expect("a column");
    assert_eq!(header[sent..sent + 4], ["sent_s", "scheduled_s", "first_token_s", "ended_s"]);
    for row in &rows {
        assert_eq!(row.len(), header.len());
        let times = row[sent..sent + 4].iter().map(|t| t.parse().expect("seconds"));
        assert!(times.collect::<Vec<f64>>().is_sorted(), "{row:?}");
    }
}

#[test]
fn nothing_is_coloured_when_nobody_looks() {
    let folder = Folder::new("plain");
    for args in ["run chat.toml", "validate chat.toml --set x=1", "list", "run --help", "run x -y"]
    {
        let ended = folder.run(args);
        let escape = |text: &str| text.contains('\u{1b}');
        assert!(!escape(&ended.out) && !escape(&ended.err), "{args}");
    }
    let hot = "run chat.toml --set traffic.web.arrivals.rate=4000/s --set scenario.horizon=2s";
    let json = format!("{hot} --format json");
    assert!(folder.run(&json).err.contains("warning: chat.toml:"), "an overload is told");
    assert_eq!(folder.run(&format!("{json} --quiet")).err, "", "not even warnings");
}

#[test]
fn a_warning_is_told_once() {
    let folder = Folder::new("once");
    let hot = "run chat.toml --set traffic.web.arrivals.rate=4000/s --set scenario.horizon=2s";
    for format in ["text", "md"] {
        let ended = folder.run(&format!("{hot} --format {format}"));
        assert_eq!(ended.out.matches("offered load is").count(), 1, "{}", ended.out);
        assert_eq!(ended.err, "", "{format}");
    }
}
