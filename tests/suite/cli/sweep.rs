//! A sweep as it is used: stopped, killed, resumed, shared out, and fed with nonsense.

use super::{CHAT, Ended, Folder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Twelve cells of a few milliseconds each.
const TINY: &str = "sweep chat.toml --set scenario.horizon=20s --replications 2 \
                    --vary pools.h100.replicas=1..6 --vary traffic.web.scale=1x,2x";

impl Folder {
    /// Every file below a folder.
    fn tree(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        walk(&self.0.join(folder), "", &mut all);
        all
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_str(&self.read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn start(&self, args: &str) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }
}

fn walk(folder: &Path, prefix: &str, all: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), all);
        } else {
            all.insert(name, std::fs::read(entry.path()).expect("a file"));
        }
    }
}

/// Numbers of the line on stderr: cells run, and kept.
#[track_caller]
fn run_and_kept(ended: &Ended) -> (usize, usize) {
    let words: Vec<&str> = ended.err.split_whitespace().collect();
    let before = |word: &str| {
        let at = words.iter().position(|w| w.trim_end_matches([';', ',']) == word);
        at.and_then(|at| words[at - if word == "run" { 2 } else { 1 }].parse().ok())
    };
    before("run").zip(before("kept")).unwrap_or_else(|| panic!("{}", ended.err))
}

#[test]
fn a_sweep_leaves_a_file_for_each_cell_and_one_for_all() {
    let folder = Folder::new("sweep");
    let ended = folder.run(&format!("{TINY} --out s")).expect(0);
    assert_eq!(run_and_kept(&ended), (12, 0));
    for wanted in ["12 cells", "replicas", "scale", "spend/day", "chat p95", "objectives met"] {
        assert!(ended.out.contains(wanted), "{wanted} is not in\n{}", ended.out);
    }
    let files = folder.tree("s");
    let cells = (0..12).map(|cell| format!("cells/{cell:07}.json"));
    let wanted: Vec<String> = [".lock".into()]
        .into_iter()
        .chain(cells)
        .chain(["sweep.json", "sweep.parquet"].map(String::from))
        .collect();
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), wanted);

    let manifest = folder.json("s/sweep.json");
    assert_eq!(manifest["schema"], "surgeline.sweep/1");
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&manifest["seed"], &manifest["cells"]), (&7.into(), &12.into()));
    assert_eq!(manifest["scenario"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(manifest["levers"][1]["key"], "traffic.web.scale");
    assert_eq!(manifest["levers"][1]["values"], serde_json::json!(["1x", "2x"]));

    // The last lever changes fastest, and a cell is what `run` finds for the same overrides.
    let cell = folder.json("s/cells/0000005.json");
    let overrides = serde_json::json!({"pools.h100.replicas": "3", "traffic.web.scale": "2x"});
    assert_eq!(cell["overrides"], overrides);
    let run = "run chat.toml --set scenario.horizon=20s --set pools.h100.replicas=3 \
               --set traffic.web.scale=2x --replications 2 --no-calibration --format json";
    let run: Value = serde_json::from_str(&folder.run(run).out).expect("JSON");
    let result = &cell["result"];
    for key in ["result_sha256", "log_hashes", "events", "replications"] {
        assert_eq!(result[key], run[key], "{key}");
    }
    assert_eq!(result["scenario_sha256"], run["scenario"]["sha256"]);
    assert_eq!(result["stability"]["verdict"], run["stability"]["verdict"]);
    let (number, same) =
        (&result["numbers"]["chat.p95_latency"], &run["tasks"]["chat"]["latency_s"]["p95"]);
    for key in ["value", "low", "high"] {
        assert_eq!(number[key], same[key], "{key}");
    }
    assert_eq!(result["tasks"]["chat"]["arrived"], run["tasks"]["chat"]["arrived"]);
    assert_eq!(result["objectives"][0]["met"], run["objectives"][0]["met"]);

    let again = folder.run(&format!("{TINY} --out s --resume --format json")).expect(0);
    let all: Value = serde_json::from_str(&again.out).expect("JSON");
    assert_eq!((&all["cells"][5], all["cells"].as_array().map(Vec::len)), (&cell, Some(12)));
    assert_eq!(run_and_kept(&again), (0, 12));
    assert!(folder.tree("s") == files, "nothing left to do changes nothing");
    let page = folder.run(&format!("{TINY} --out s --resume --quiet --format md")).expect(0);
    assert!(page.out.starts_with("## chat\n") && page.err.is_empty(), "{}", page.err);
}

#[test]
fn the_bytes_of_a_sweep_do_not_depend_on_the_threads() {
    let folder = Folder::new("sweep-threads");
    let trees = ["1", "2", "8"].map(|threads| {
        let ended = folder.run(&format!("{TINY} --out t{threads} --threads {threads}")).expect(0);
        (folder.tree(&format!("t{threads}")), ended.out)
    });
    assert!(trees[0] == trees[1] && trees[0] == trees[2]);
    // Repeated points are copied or run again, as it happens.
    let drawn = "--design lhs --points 30 --seed 3";
    for threads in [1, 8] {
        let args = format!("{TINY} {drawn} --out d{threads} --threads {threads}");
        folder.run(&args).expect(0);
    }
    assert!(folder.tree("d1") == folder.tree("d8"));
    // More threads than cells: the replications of a cell are spread, too.
    let few = "sweep chat.toml --set scenario.horizon=20s --vary pools.h100.replicas=2,3";
    folder.run(&format!("{few} --out a --threads 1")).expect(0);
    folder.run(&format!("{few} --out b --threads 64")).expect(0);
    assert!(folder.tree("a") == folder.tree("b"));
}

/// Whether what is visible of a sweep is whole: every file, at any moment.
fn is_whole(name: &str, content: &[u8]) -> bool {
    if name.ends_with(".parquet") {
        return content.starts_with(b"PAR1") && content.ends_with(b"PAR1");
    }
    !name.ends_with(".json") || serde_json::from_slice::<Value>(content).is_ok()
}

/// Looks at all folders until it is told to stop; how often it looked at a file.
fn watch(root: &Path, stop: &AtomicBool) -> usize {
    let mut looked = 0;
    while !stop.load(Ordering::Relaxed) {
        for sweep in std::fs::read_dir(root).expect("a folder").flatten() {
            for folder in [sweep.path(), sweep.path().join("cells")] {
                for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name.starts_with('.') || entry.path().is_dir() {
                        continue;
                    }
                    if let Ok(content) = std::fs::read(entry.path()) {
                        assert!(is_whole(&name, &content), "{name} is torn");
                        looked += 1;
                    }
                }
            }
        }
    }
    looked
}

#[test]
fn a_sweep_killed_fifty_times_ends_in_the_same_bytes() {
    let folder = Folder::new("sweep-kill");
    folder.run(&format!("{TINY} --out whole --threads 2")).expect(0);
    let wanted = folder.tree("whole");
    let stop = AtomicBool::new(false);
    let looked = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&folder.0, &stop));
        let (mut killed, mut sweep, mut delay) = (0, 0, 0_u64);
        while killed < 50 {
            let out = format!("k{sweep}");
            let mut child = folder.start(&format!("{TINY} --out {out} --resume --threads 2"));
            // Some points early, some late, no two alike: multiples of the golden ratio.
            delay = (delay + 61_803) % 100_000;
            std::thread::sleep(Duration::from_micros(delay + 2_000));
            child.kill().expect("it is ours");
            let ended = Ended::of(child.wait_with_output().expect("it ends"));
            if ended.code.is_none() {
                killed += 1;
            } else {
                ended.expect(0);
            }
            let there = folder.0.join(&out).join("cells");
            let before = std::fs::read_dir(there).into_iter().flatten().flatten();
            let whole =
                |entry: &std::fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
            let kept = before.filter(whole).count();
            if killed % 5 == 0 || kept == 12 {
                let ended = folder.run(&format!("{TINY} --out {out} --resume")).expect(0);
                assert_eq!(run_and_kept(&ended), (12 - kept, kept), "whole cells are kept");
                assert!(folder.tree(&out) == wanted, "{out} differs");
                sweep += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(sweep >= 10);
        watching.join().expect("no torn file is ever visible")
    });
    assert!(looked > 1_000, "{looked}");
}

#[test]
fn of_two_processes_in_one_folder_one_wins() {
    let folder = Folder::new("sweep-two");
    let slow = TINY.replace("20s", "20m").replace("1..6", "1..400");
    let mut first = folder.start(&format!("{slow} --out s"));
    while !folder.0.join("s/cells").is_dir() {
        assert!(first.try_wait().expect("it is ours").is_none(), "it ended before it began");
        std::thread::sleep(Duration::from_millis(2));
    }
    for rest in ["--resume", "", "--resume --shard 1/2"] {
        let refused = folder.run(&format!("{slow} --out s {rest}")).expect(2);
        assert!(refused.err.contains("another surgeline is at work"), "{}", refused.err);
        assert!(refused.out.is_empty());
    }
    first.kill().expect("it is ours");
    first.wait().expect("it ends");
    // The lock went with its process.
    let refused = folder.run(&format!("{slow} --out s")).expect(2);
    assert!(refused.err.contains("holds a sweep already; go on with --resume"), "{}", refused.err);
    folder.run(&format!("{slow} --out s --resume --max-wall 1ms")).expect(4);
}

#[test]
fn shards_together_are_the_same_sweep() {
    let folder = Folder::new("sweep-shards");
    folder.run(&format!("{TINY} --out whole")).expect(0);
    let first = folder.run(&format!("{TINY} --out s --shard 1/3")).expect(0);
    assert_eq!(run_and_kept(&first), (4, 0));
    assert!(first.out.contains("4 of 12 cells are there so far"), "{}", first.out);
    assert!(!folder.0.join("s/sweep.parquet").exists());
    let refused = folder.run(&format!("{TINY} --out s --shard 1/3")).expect(2);
    assert!(refused.err.contains("--resume"), "{}", refused.err);
    // The others at the same time; the last one merges.
    let others =
        ["2/3", "3/3"].map(|shard| folder.start(&format!("{TINY} --out s --shard {shard}")));
    for child in others {
        Ended::of(child.wait_with_output().expect("it ends")).expect(0);
    }
    assert!(folder.tree("s") == folder.tree("whole"));
    // Each in a folder of its own, the cells copied together afterwards.
    for (shard, out) in [("1/2", "one"), ("2/2", "two")] {
        folder.run(&format!("{TINY} --out {out} --shard {shard}")).expect(0);
    }
    for (name, content) in folder.tree("two/cells") {
        std::fs::write(folder.0.join("one/cells").join(name), content).expect("a copy");
    }
    let merged = folder.run(&format!("{TINY} --out one --resume")).expect(0);
    assert_eq!(run_and_kept(&merged), (0, 12));
    assert!(folder.tree("one") == folder.tree("whole"));
    // Again, all three started at once in a folder that is not there yet.
    let all =
        ["1/3", "2/3", "3/3"].map(|shard| folder.start(&format!("{TINY} --out t --shard {shard}")));
    for child in all {
        Ended::of(child.wait_with_output().expect("it ends")).expect(0);
    }
    assert!(folder.tree("t") == folder.tree("whole"));
}

#[test]
fn another_sweep_is_not_gone_on_with() {
    let folder = Folder::new("sweep-other");
    folder.run(&format!("{TINY} --out s")).expect(0);
    let before = folder.tree("s");
    folder.write("other.toml", &CHAT.replace("5ms", "6ms"));
    for (changed, said) in [
        (TINY.replace("chat.toml", "other.toml"), "hash of the scenario"),
        (format!("{TINY} --set pools.h100.price=$3/h"), "hash of the scenario"),
        (TINY.replace("1..6", "1..7"), "levers: pools.h100.replicas=1,2,3,4,5,6"),
        (format!("{TINY} --seed 8"), "seed: 7 there, 8 here"),
        (TINY.replace("--replications 2", "--replications 3"), "replications: 2 there, 3 here"),
        (format!("{TINY} --design lhs --points 12"), "design: grid there, Latin hypercube of 12"),
    ] {
        let refused = folder.run(&format!("{changed} --out s --resume")).expect(2);
        assert!(refused.err.contains("this is another sweep"), "{}", refused.err);
        assert!(refused.err.contains(said), "{said} is not in {}", refused.err);
        assert!(refused.out.is_empty());
    }
    let text = folder.read("s/sweep.json");
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    folder.write("s/sweep.json", &text.replace(&version, "\"version\": \"0.0.1\""));
    let refused = folder.run(&format!("{TINY} --out s --resume")).expect(2);
    assert!(refused.err.contains("version of surgeline: 0.0.1 there"), "{}", refused.err);
    folder.write("s/sweep.json", &text.replace("sweep/1", "sweep/2"));
    let refused = folder.run(&format!("{TINY} --out s --resume")).expect(2);
    assert!(refused.err.contains("its schema is `surgeline.sweep/2`"), "{}", refused.err);
    folder.write("s/sweep.json", &text);
    assert!(folder.tree("s") == before, "nothing was touched");
    // What is damaged is run again.
    folder.write("s/cells/0000003.json", "{");
    let mended = folder.run(&format!("{TINY} --out s --resume")).expect(0);
    assert_eq!(run_and_kept(&mended), (1, 11));
    assert!(folder.tree("s") == before);
}

#[test]
fn a_policy_file_that_a_lever_names_has_to_stay_as_it_was() {
    let folder = Folder::new("sweep-policy");
    for (file, choices) in [("a.toml", 2), ("b.toml", 3)] {
        let strategy = format!("{{ strategy = \"power-of-two\", choices = {choices} }}");
        folder.write(file, &format!("[load_balancing]\nh100 = {strategy}\n"));
    }
    let sweep = "sweep chat.toml --set scenario.horizon=20s --vary policy=a.toml,b.toml --out s";
    folder.run(sweep).expect(0);
    folder.run(&format!("{sweep} --resume")).expect(0);
    folder.write("b.toml", "[load_balancing]\nh100 = { strategy = \"round-robin\" }\n");
    let refused = folder.run(&format!("{sweep} --resume")).expect(2);
    assert!(refused.err.contains("policy file of a cell has changed"), "{}", refused.err);
    let fixed =
        folder.run(&format!("{} --policy a.toml", sweep.replace("out s", "out t"))).expect(2);
    assert!(fixed.err.contains("--policy fixes the policy"), "{}", fixed.err);
}

#[test]
fn nonsense_is_refused_before_anything_is_written() {
    let folder = Folder::new("sweep-hostile");
    std::fs::create_dir(folder.0.join("full")).expect("a folder");
    folder.write("full/mine.txt", "mine");
    let before = folder.tree(".");
    let chat = "sweep chat.toml --out s";
    let thousand = "--vary pools.h100.replicas=1..1000 --vary tasks.chat.p95_latency_slo=1..1000 \
                    --vary scenario.horizon=1..1000";
    for (args, said) in [
        (format!("{chat} {thousand}"), "1000000000 cells are too many"),
        (
            format!(
                "{chat} --vary a=1..10000 --vary b=1..10000 --vary c=1..10000 --vary d=1..10000 --vary e=1..10000"
            ),
            "more than 2^64 cells",
        ),
        (format!("{chat} --vary pools.h100.replica=1,2"), "did you mean `replicas`?"),
        (format!("{chat} --vary pools.h10.replicas=1,2"), "did you mean `h100`?"),
        (format!("{chat} --vary pools.h100.replicas="), "a value is empty"),
        (format!("{chat} --vary pools.h100.replicas"), "a lever is `key.path=values`"),
        (
            format!("{chat} --vary pools.h100.replicas=1..3 --vary pools.h100.replicas=2,3"),
            "varied twice",
        ),
        (format!("{chat} --vary scenario.seed=1..3"), "use --seed"),
        (format!("{chat} --vary scenario.replications=2..3"), "use --replications"),
        (format!("{chat} --vary objectives.a.b=1"), "judged by"),
        (chat.to_owned(), "nothing to vary"),
        (format!("{chat} --vary pools.h100.replicas=1..3 --points 5"), "--points"),
        (format!("{chat} --vary pools.h100.replicas=1..3 --design lhs --points 0"), "at least 1"),
        (
            format!("{chat} --vary pools.h100.replicas=1..3 --design lhs --points 4000000000"),
            "too many",
        ),
        (
            format!("{chat} --vary pools.h100.replicas=1..3 --design morris --points 1"),
            "at least 2",
        ),
        (format!("{chat} --vary pools.h100.replicas=2 --design morris"), "a single value"),
        (format!("{chat} --vary pools.h100.replicas=1..3 --shard 0/2"), "parts are 1 to 2"),
        (format!("{chat} --vary pools.h100.gpu=../../x,/etc/passwd"), "refuses all 2 cells"),
        (
            format!("{chat} --vary traffic.web.trace.file=../secret.csv,/etc/passwd"),
            "refuses all 2 cells",
        ),
        ("sweep chat.toml --vary pools.h100.replicas=1,2 --out full".to_owned(), "holds no sweep"),
        (
            "sweep chat.toml --vary pools.h100.replicas=1,2 --out full --resume".to_owned(),
            "holds no sweep",
        ),
        ("sweep chat.toml --vary pools.h100.replicas=1,2 --out chat.toml".to_owned(), "chat.toml"),
        ("sweep chat.toml --vary pools.h100.replicas=1,2".to_owned(), "--out"),
    ] {
        let refused = folder.run(&args).expect(2);
        assert!(refused.err.contains(said), "{args}: {said} is not in {}", refused.err);
        assert!(refused.out.is_empty() && !refused.err.contains("panicked"), "{args}");
        assert!(folder.tree(".") == before, "{args} has written something");
    }
}

#[test]
fn what_the_scenario_refuses_is_a_cell_like_any_other() {
    let folder = Folder::new("sweep-refused");
    let sweep = "sweep chat.toml --set scenario.horizon=20s --vary pools.h100.replicas=zero,2";
    let ended = folder.run(&format!("{sweep} --out s")).expect(0);
    assert!(ended.err.contains("warning: the scenario refuses the first cell"), "{}", ended.err);
    assert!(ended.out.contains("Refused by the scenario: 1."), "{}", ended.out);
    let cell = folder.json("s/cells/0000000.json");
    assert!(cell["refused"].as_str().is_some_and(|why| why.contains("zero")), "{cell}");
    assert!(cell["result"].is_null());
    assert!(folder.json("s/cells/0000001.json")["refused"].is_null());
    let again = folder.run(&format!("{sweep} --out s --resume")).expect(0);
    assert_eq!(run_and_kept(&again), (0, 2), "a refusal is a result");
}

#[test]
fn levers_of_the_file_are_varied_and_can_be_replaced() {
    let folder = Folder::new("sweep-levers");
    let levers =
        "\n[levers]\npools.h100.replicas = \"1..3\"\ntraffic.web.scale = [\"1x\", \"2x\"]\n";
    folder.write("chat.toml", &format!("{CHAT}{levers}"));
    let sweep = "sweep chat.toml --set scenario.horizon=20s --replications 2";
    folder.run(&format!("{sweep} --out a")).expect(0);
    assert_eq!(folder.json("a/sweep.json")["cells"], 6);
    let own = "--vary pools.h100.price=$2/h,$3/h";
    folder.run(&format!("{sweep} {own} --out b")).expect(0);
    let manifest = folder.json("b/sweep.json");
    let keys: Vec<&str> = manifest["levers"]
        .as_array()
        .expect("levers")
        .iter()
        .filter_map(|lever| lever["key"].as_str())
        .collect();
    assert_eq!(keys, ["pools.h100.price"]);
    assert_eq!(manifest["cells"], 2);
}

#[test]
fn morris_says_which_levers_matter() {
    let folder = Folder::new("sweep-morris");
    let sweep = "sweep chat.toml --set scenario.horizon=20s --replications 2 --design morris \
                 --points 4 --vary pools.h100.replicas=2..9 --vary pools.h100.price=$2/h,$2.02/h \
                 --vary tasks.chat.p95_latency_slo=5s,6s --out s";
    let ended = folder.run(sweep).expect(0);
    assert!(ended.out.contains("What moves spend.per_day"), "{}", ended.out);
    assert_eq!(folder.json("s/sweep.json")["cells"], 16);
    let effects = folder.json("s/sensitivity.json");
    let ranking = &effects["metrics"]["spend.per_day"]["ranking"];
    let keys: Vec<&str> = (0..3).filter_map(|at| ranking[at]["lever"].as_str()).collect();
    assert_eq!(keys, ["pools.h100.replicas", "pools.h100.price", "tasks.chat.p95_latency_slo"]);
    // From two replicas to nine at $2 or $2.02: 7 · 24 · $2 a day at least.
    let mu = ranking[0]["mu"].as_f64().expect("mu");
    assert!((336.0..=339.4).contains(&mu), "{mu}");
    // What is promised changes nothing that is spent, exactly.
    assert_eq!(ranking[2]["mu_star"]["high"].as_f64(), Some(0.0));
    for path in ["chat.p95_latency", "chat.success_rate", "cost_per_successful_task"] {
        assert_eq!(effects["metrics"][path]["ranking"].as_array().map(Vec::len), Some(3), "{path}");
    }
}

#[test]
fn a_sweep_that_is_stopped_keeps_its_cells_and_goes_on() {
    let folder = Folder::new("sweep-stopped");
    let sweep = TINY.replace("20s", "10m");
    folder.run(&format!("{sweep} --out whole")).expect(0);
    let wanted = folder.tree("whole");
    let stopped = folder.run(&format!("{sweep} --out s --threads 1 --max-events 1000")).expect(4);
    assert!(stopped.err.contains("stopped at --max-events 1000; 0 of 12 cells"), "{}", stopped.err);
    if cfg!(unix) {
        let mut child = folder.start(&format!("{sweep} --out s --threads 1 --resume"));
        while folder.tree("s").len() < 4 {
            assert!(child.try_wait().expect("it is ours").is_none(), "it ended before its time");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("kill is there").success());
        let ended = Ended::of(child.wait_with_output().expect("it ends")).expect(130);
        assert!(ended.err.contains("--resume goes on"), "{}", ended.err);
        assert!(ended.out.contains("cells are there so far"), "{}", ended.out);
    }
    let there = folder.tree("s").keys().filter(|name| name.starts_with("cells/0")).count();
    assert!(there < 12, "it was stopped");
    let ended = folder.run(&format!("{sweep} --out s --resume")).expect(0);
    assert_eq!(run_and_kept(&ended), (12 - there, there));
    assert!(folder.tree("s") == wanted);
}
