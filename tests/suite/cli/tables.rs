//! The tables of `run`: what they hold is what the report says, to the pico-dollar; every format holds
//! the same; a sample is a fair one; nothing depends on threads.

use super::{Ended, Folder};
use experiments::{Case, NoProgress, Plan, Sample};
use polars::prelude::{DataFrame, ParquetReader, SerReader};
use reports::tables::{Kind, Table};
use serde_json::Value;
use sim::metrics::{ModelWindow, PoolWindow, RemoteWindow, Series, TaskWindow, ToolWindow, Window};
use sim::{Scenario, Simulation};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const PICO: i128 = 1_000_000_000_000;

/// A table as Parquet has it, all replications one after the other.
struct Read(DataFrame);

impl Read {
    fn of(folder: &Path, table: Table) -> Read {
        let mut whole: Option<DataFrame> = None;
        for path in files(&folder.join(format!("{}.parquet", table.name()))) {
            let frame = ParquetReader::new(File::open(path).expect("a file")).finish();
            let frame = frame.expect("Parquet");
            match &mut whole {
                Some(whole) => {
                    whole.vstack_mut(&frame).expect("the same columns");
                }
                None => whole = Some(frame),
            }
        }
        Read(whole.expect("at least one replication"))
    }

    fn rows(&self) -> usize {
        self.0.height()
    }

    fn whole(&self, name: &str) -> Vec<Option<i64>> {
        let column = self.0.column(name).unwrap_or_else(|error| panic!("{error}"));
        column.i64().expect("whole numbers").iter().collect()
    }

    fn number(&self, name: &str) -> Vec<Option<f64>> {
        self.0.column(name).expect("a column").f64().expect("numbers").iter().collect()
    }

    fn flag(&self, name: &str) -> Vec<Option<bool>> {
        self.0.column(name).expect("a column").bool().expect("flags").iter().collect()
    }

    fn text(&self, name: &str) -> Vec<Option<String>> {
        let column = self.0.column(name).expect("a column").str().expect("text");
        column.iter().map(|value| value.map(str::to_owned)).collect()
    }

    /// Sums of a column over rows that are wanted, by the text of another.
    fn sums(&self, by: &str, of: &str, wanted: impl Fn(usize) -> bool) -> BTreeMap<String, i128> {
        let mut sums = BTreeMap::new();
        for (row, (key, value)) in self.text(by).into_iter().zip(self.whole(of)).enumerate() {
            if wanted(row) {
                *sums.entry(key.unwrap_or_default()).or_default() +=
                    i128::from(value.unwrap_or_default());
            }
        }
        sums
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Every file below a folder, by its path there.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a file");
        (path.strip_prefix(folder).expect("below it").to_owned(), bytes)
    };
    files(folder).iter().flat_map(|folder| files(folder)).map(read).collect()
}

/// Pico-dollars of an amount in a report.
fn pico(value: &Value) -> i128 {
    let text = value.as_str().unwrap_or_else(|| panic!("no amount: {value}"));
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (dollars, rest) = digits.split_once('.').expect("a decimal point");
    let pico = format!("{rest:0<12}");
    assert_eq!(pico.len(), 12, "{text}");
    sign * (dollars.parse::<i128>().expect("dollars") * PICO + pico.parse::<i128>().expect("rest"))
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("no count: {value}")) as usize
}

/// A run with all tables, and its report.
fn run(folder: &Folder, args: &str) -> (Value, [Read; 4]) {
    let ended = folder.run(&format!("run {args} --tables tables --format json --quiet"));
    assert!(matches!(ended.code, Some(0 | 1 | 3)), "{}", ended.err);
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    (report, Table::ALL.map(|table| Read::of(&folder.0.join("tables"), table)))
}

/// The spend by cause and by item, and the margin, as the report has them.
fn check_ledger(report: &Value, ledger: &Read) {
    let n = i128::from(report["replications"].as_u64().expect("a number"));
    let (book, cause, used) = (ledger.text("book"), ledger.text("cause"), ledger.flag("used"));
    let is = |name: &str, row: usize| book[row].as_deref() == Some(name);
    let by_cause = ledger.sums("cause", "amount_pico_usd", |row| is("spend", row));
    let spend = &report["spend"];
    for (cause, amount) in spend["by"].as_object().expect("causes") {
        let all = by_cause.get(cause).copied().unwrap_or_default();
        assert_eq!(all / n, pico(amount), "spend for {cause}");
    }
    let total: i128 = by_cause.values().map(|all| all / n).sum();
    assert_eq!(total, pico(&spend["total_usd"]));
    // By item, what nobody used apart.
    let spent = |row: usize| is("spend", row);
    let of_tokens = |row: usize| cause[row].as_deref() == Some("tokens");
    let wasted = |row: usize| used[row] == Some(false);
    let rented = |row: usize| matches!(cause[row].as_deref(), Some("gpu" | "provisioned"));
    let all = |wanted: &dyn Fn(usize) -> bool| -> i128 {
        ledger.sums("book", "amount_pico_usd", |row| spent(row) && wanted(row)).values().sum()
    };
    let mut items =
        ledger.sums("item", "amount_pico_usd", |row| spent(row) && (rented(row) || !wasted(row)));
    items.insert("wasted_attempts".into(), all(&|row| of_tokens(row) && wasted(row)));
    let uses = |row: usize| !of_tokens(row) && !rented(row) && wasted(row);
    items.insert("wasted_uses".into(), all(&uses));
    let stated = spend["drivers"]["items"].as_object();
    for (item, amount) in stated.into_iter().flatten() {
        let amount = pico(&amount["all_replications_usd"]);
        assert_eq!(items.remove(item), Some(amount), "spend on {item}");
    }
    assert!(stated.is_none() || items.values().all(|&amount| amount == 0), "{items:?}");
    // The metered part by task and by tenant is the same as by cause.
    let sum = |name: &str| -> i128 {
        ledger.sums("book", "amount_pico_usd", |row| is(name, row)).values().sum()
    };
    let metered = all(&|row| !rented(row));
    assert_eq!((sum("metered_by_task"), sum("metered_by_tenant")), (metered, metered));
    if let Some(amount) = report["margin"]["total_usd"].as_str() {
        let left = sum("revenue") - sum("harm") - sum("spend");
        assert_eq!(left / n, pico(&amount.into()), "margin");
    }
    for (name, task) in report["tasks"].as_object().expect("tasks") {
        let own = ledger.text("party");
        let of_task =
            |row: usize| is("metered_by_task", row) && own[row].as_deref() == Some(name.as_str());
        let sums = ledger.sums("book", "amount_pico_usd", of_task);
        let all: i128 = sums.values().sum();
        if let Some(stated) = task["money"]["metered_usd"].as_str() {
            assert_eq!(all / n, pico(&stated.into()), "metered for {name}");
        }
    }
}

/// Tasks as the report counts them.
fn check_tasks(report: &Value, tasks: &Read) {
    let (kind, outcome) = (tasks.text("task"), tasks.text("outcome"));
    let (measured, slo) = (tasks.flag("measured"), tasks.flag("within_slo"));
    for (name, task) in report["tasks"].as_object().expect("tasks") {
        let own: Vec<usize> = (0..tasks.rows())
            .filter(|&row| kind[row].as_deref() == Some(name) && measured[row] == Some(true))
            .collect();
        assert_eq!(own.len(), count(&task["arrived"]), "{name} arrived");
        for key in ["succeeded", "failed", "rejected", "abandoned"] {
            let ended = own.iter().filter(|&&row| outcome[row].as_deref() == Some(key));
            assert_eq!(ended.count(), count(&task[key]), "{name} {key}");
        }
        let within = own.iter().filter(|&&row| {
            slo[row].unwrap_or(true) && outcome[row].as_deref() == Some("succeeded")
        });
        assert_eq!(within.count(), count(&task["within_slo"]), "{name} within its SLO");
    }
    let parts = [
        "queueing",
        "prefill",
        "decode",
        "preemption",
        "retries",
        "tools",
        "review",
        "cold_start",
        "host",
    ];
    let parts = parts.map(|part| tasks.number(&format!("{part}_s")));
    for (row, latency) in tasks.number("latency_s").into_iter().enumerate() {
        let sum: f64 = parts.iter().map(|part| part[row].expect("a time")).sum();
        assert!((sum - latency.expect("a time")).abs() < 1e-9, "row {row}: {sum}");
    }
}

/// Attempts as the report, the tasks and the ledger have them.
fn check_calls(report: &Value, [tasks, calls, _, ledger]: &[Read; 4]) {
    let (model, measured) = (calls.text("model"), calls.flag("measured"));
    for (name, stated) in report["calls"].as_object().expect("models") {
        let own = (0..calls.rows())
            .filter(|&row| model[row].as_deref() == Some(name) && measured[row] == Some(true));
        assert_eq!(own.count(), count(&stated["attempts"]), "attempts at {name}");
    }
    // Each task's own calls sum to what its row says.
    let key = |table: &Read| -> Vec<(Option<i64>, Option<String>, Option<i64>)> {
        let parts = table.whole("replication").into_iter().zip(table.text("source"));
        parts.zip(table.whole("number")).map(|((r, source), number)| (r, source, number)).collect()
    };
    let late = calls.flag("late");
    let columns = ["input_tokens", "cached_tokens", "output_tokens"];
    let of_calls = columns.map(|name| calls.whole(name));
    let mut sums: BTreeMap<_, [i64; 4]> = BTreeMap::new();
    for (row, key) in
        key(calls).into_iter().enumerate().filter(|(row, _)| late[*row] == Some(false))
    {
        let sum = sums.entry(key).or_default();
        sum[0] += 1;
        for (sum, values) in sum[1..].iter_mut().zip(&of_calls) {
            *sum += values[row].expect("a count");
        }
    }
    let stated = ["attempts", "input_tokens", "cached_tokens", "output_tokens"];
    let stated = stated.map(|name| tasks.whole(name));
    for (row, key) in key(tasks).into_iter().enumerate() {
        let own = sums.remove(&key).unwrap_or_default();
        assert_eq!(own.map(Some), [0, 1, 2, 3].map(|column| stated[column][row]), "{key:?}");
    }
    assert!(sums.is_empty(), "calls without a task: {sums:?}");
    // What they cost is what the ledger has for tokens, and what tasks were billed.
    let billed = calls.flag("billed");
    let all = |wanted: &dyn Fn(usize) -> bool| -> i128 {
        calls
            .sums("model", "cost_pico_usd", |row| billed[row] == Some(true) && wanted(row))
            .values()
            .sum()
    };
    let (book, cause) = (ledger.text("book"), ledger.text("cause"));
    let tokens = ledger.sums("cause", "amount_pico_usd", |row| {
        book[row].as_deref() == Some("spend") && cause[row].as_deref() == Some("tokens")
    });
    assert_eq!(all(&|_| true), tokens.values().sum::<i128>());
    let metered = ledger
        .sums("book", "amount_pico_usd", |row| book[row].as_deref() == Some("metered_by_task"));
    let of_tasks: i128 = tasks.sums("task", "billed_pico_usd", |_| true).values().sum();
    let late = all(&|row| late[row] == Some(true));
    assert_eq!(of_tasks + late, metered.values().sum::<i128>());
}

fn check_windows(report: &Value, [tasks, _, windows, _]: &[Read; 4]) {
    let kind = windows.text("part_kind");
    let ends = windows.number("to_s");
    let of = |wanted: &str, column: &str| -> i128 {
        let sums = windows.sums("part_kind", column, |row| kind[row].as_deref() == Some(wanted));
        sums.values().sum()
    };
    let horizon = ends.iter().flatten().copied().fold(0.0, f64::max);
    let arrived = tasks.number("arrived_s").iter().flatten().filter(|&&at| at < horizon).count();
    assert_eq!(of("system", "arrived"), arrived as i128);
    assert_eq!(of("task", "succeeded"), of("system", "succeeded"));
    let opens = |of: &Value| of["breaker"]["opens"].as_u64().unwrap_or_default();
    let stated: u64 =
        report["pools"].as_object().into_iter().flatten().map(|(_, p)| opens(p)).sum();
    assert_eq!(of("pool", "breaker_opens"), i128::from(stated));
}

#[test]
fn totals_of_the_tables_are_those_of_the_report() {
    let mut late = 0;
    for (name, scenario) in [
        ("support", "support-reply --replications 3 --set scenario.horizon=15m"),
        (
            "bad",
            "support-reply --policy support-reply.bad --replications 2 --set scenario.horizon=6m",
        ),
        ("self", "self-hosted --replications 2 --set scenario.horizon=20m"),
        ("outage", "provider-outage --replications 2 --set scenario.horizon=40m"),
        ("storm", "retry-storm --replications 1 --set scenario.horizon=20m"),
        ("pricing", "flat-pricing-heavy-users --replications 2 --set scenario.horizon=1d"),
        ("starter", "starter.toml --replications 3 --set scenario.horizon=2h"),
    ] {
        let folder = Folder::new(&format!("tables-{name}"));
        folder.run("init starter.toml").expect(0);
        let (report, tables) = run(&folder, scenario);
        for (table, read) in Table::ALL.into_iter().zip(&tables) {
            assert!(read.rows() > 0, "{name}: {table:?}");
            let names: Vec<String> =
                read.0.get_column_names().iter().map(|name| name.to_string()).collect();
            let fields: Vec<&str> = table.fields().iter().map(|field| field.name).collect();
            assert_eq!(names, fields);
        }
        check_ledger(&report, &tables[3]);
        check_tasks(&report, &tables[0]);
        check_calls(&report, &tables);
        check_windows(&report, &tables);
        late += tables[1].flag("late").iter().filter(|&&late| late == Some(true)).count();
    }
    assert!(late > 0, "nothing was left behind, so nothing of that was checked");
}

/// The series of the result that a scenario comes to, with so many replications of so long.
fn series(name: &str, replications: u32, horizon: &str) -> (Scenario, Series) {
    let shipped = scenarios::library::find(name).expect("it is shipped");
    let overrides = [format!("scenario.horizon={horizon}")];
    let resolved = scenarios::load_library(shipped, None, &overrides);
    let case = Case::new(resolved.unwrap_or_else(|problems| panic!("{problems}"))).expect("a case");
    let plan = Plan { replications: Sample::Fixed(replications), ..case.plan() };
    let simulate = |scenario: &Scenario, seed: u64, replication: u32| {
        Ok(Simulation::new(scenario, seed, replication).run())
    };
    let result = experiments::run(case.scenario(), &plan, &[], &simulate, &NoProgress);
    (case.scenario().clone(), result.expect("nobody stops it").series)
}

/// A column, and what it is of a window.
type Counted<W> = (&'static str, fn(&W) -> u64);

/// Rows of one part, summed over replications window by window, are the windows of the series.
fn check_part<W>(
    read: &Read,
    (kind, part): (&str, Option<&str>),
    windows: &[W],
    columns: &[Counted<W>],
) {
    let (kinds, parts, numbers) = (read.text("part_kind"), read.text("part"), read.whole("window"));
    let is_own = |row: usize| kinds[row].as_deref() == Some(kind) && parts[row].as_deref() == part;
    let rows: Vec<usize> = (0..read.rows()).filter(|&row| is_own(row)).collect();
    assert!(!rows.is_empty(), "{kind} {part:?}");
    for (column, of) in columns {
        let values = read.whole(column);
        let mut sums = vec![0; windows.len()];
        for &row in &rows {
            let value = values[row].unwrap_or_else(|| panic!("{kind} {part:?} has no {column}"));
            sums[numbers[row].expect("a number") as usize] += value as u64;
        }
        let expected: Vec<u64> = windows.iter().map(of).collect();
        assert_eq!(sums, expected, "{column} of {kind} {part:?}");
    }
}

#[test]
fn windows_are_those_of_the_result() {
    for (name, horizon) in [("support-reply", "15m"), ("retry-storm", "10m")] {
        let folder = Folder::new(&format!("tables-series-{name}"));
        let set = format!("--set scenario.horizon={horizon}");
        let (_, [_, _, read, _]) = run(&folder, &format!("{name} --replications 2 {set}"));
        let (scenario, series) = series(name, 2, horizon);
        let parts = &series.parts;
        check_part::<Window>(
            &read,
            ("system", None),
            &series.windows,
            &[
                ("arrived", |w| w.arrived),
                ("ended", |w| w.finished),
                ("succeeded", |w| w.succeeded),
                ("attempts", |w| w.attempts),
                ("waiting", |w| w.waiting),
                ("running", |w| w.running),
                ("paused", |w| w.paused),
                ("kv_blocks_used", |w| w.kv_blocks_used),
                ("kv_blocks", |w| w.kv_blocks),
                ("preemptions", |w| w.preemptions),
            ],
        );
        for (spec, windows) in scenario.pools.iter().zip(&parts.pools) {
            check_part::<PoolWindow>(
                &read,
                ("pool", Some(&spec.name)),
                windows,
                &[
                    ("waiting", |w| w.waiting),
                    ("running", |w| w.running),
                    ("kv_blocks_used", |w| w.kv_blocks_used),
                    ("kv_blocks", |w| w.kv_blocks),
                    ("full_replicas", |w| w.full_replicas),
                    ("preemptions", |w| w.preemptions),
                    ("overloaded", |w| w.overloaded),
                    ("breakers_not_closed", |w| w.breakers.not_closed),
                    ("breaker_opens", |w| w.breakers.opens),
                    ("breaker_refused", |w| w.breakers.refused),
                ],
            );
        }
        for (spec, windows) in scenario.remotes.iter().zip(&parts.remotes) {
            check_part::<RemoteWindow>(
                &read,
                ("remote", Some(&spec.name)),
                windows,
                &[
                    ("waiting", |w| w.waiting),
                    ("running", |w| w.running),
                    ("attempts", |w| w.begun),
                    ("failed", |w| w.failed),
                    ("overloaded", |w| w.overloaded),
                    ("rate_limited", |w| w.rate_limited),
                    ("too_long", |w| w.too_long),
                    ("not_eligible", |w| w.not_eligible),
                    ("input_tokens", |w| w.input_tokens),
                    ("cached_tokens", |w| w.cached_input_tokens),
                    ("breakers_not_closed", |w| w.breakers.not_closed),
                    ("breaker_opens", |w| w.breakers.opens),
                    ("breaker_refused", |w| w.breakers.refused),
                ],
            );
        }
        for (spec, windows) in scenario.tools.iter().zip(&parts.tools) {
            check_part::<ToolWindow>(
                &read,
                ("tool", Some(&spec.name)),
                windows,
                &[
                    ("waiting", |w| w.waiting),
                    ("running", |w| w.running),
                    ("overloaded", |w| w.overloaded),
                    ("cache_hits", |w| w.cache_hits),
                ],
            );
        }
        for (spec, windows) in scenario.models.iter().zip(&parts.models) {
            check_part::<ModelWindow>(
                &read,
                ("model", Some(&spec.name)),
                windows,
                &[
                    ("answered", |w| w.answered),
                    ("retries", |w| w.retries),
                    ("hedges", |w| w.hedges),
                    ("fallbacks", |w| w.fallbacks),
                ],
            );
        }
        for (spec, windows) in scenario.tasks.iter().zip(&parts.tasks) {
            check_part::<TaskWindow>(
                &read,
                ("task", Some(&spec.name)),
                windows,
                &[
                    ("ended", |w| w.ended),
                    ("succeeded", |w| w.latency.count()),
                    ("rejected", |w| w.rejected),
                    ("escalations", |w| w.acts.escalations),
                    ("exact_hits", |w| w.acts.exact_hits),
                    ("semantic_hits", |w| w.acts.semantic_hits),
                    ("rung_shorter_context", |w| w.acts.rungs[0]),
                    ("rung_smaller_model", |w| w.acts.rungs[1]),
                    ("rung_cached_answer", |w| w.acts.rungs[2]),
                    ("rung_partial_result", |w| w.acts.rungs[3]),
                    ("rung_refine", |w| w.acts.rungs[4]),
                ],
            );
        }
    }
}

/// A cell as the other formats must have it.
fn cell(read: &Read, name: &str, kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Whole | Kind::Money => read.whole(name).into_iter().map(Value::from).collect(),
        Kind::Number => read.number(name).into_iter().map(Value::from).collect(),
        Kind::Flag => read.flag(name).into_iter().map(Value::from).collect(),
        Kind::Text => read.text(name).into_iter().map(Value::from).collect(),
    }
}

#[test]
fn every_format_holds_the_same() {
    let folder = Folder::new("tables-formats");
    let args = "run support-reply --replications 2 --set scenario.horizon=20m --quiet --sample 40%";
    folder.run(&format!("{args} --tables all --table-format csv,parquet,jsonl"));
    for table in Table::ALL {
        let read = Read::of(&folder.0.join("all"), table);
        let fields = table.fields();
        let columns: Vec<Vec<Value>> =
            fields.iter().map(|field| cell(&read, field.name, field.kind)).collect();
        let texts = |format: &str| -> Vec<String> {
            let folder = folder.0.join("all").join(format!("{}.{format}", table.name()));
            files(&folder).iter().map(|path| std::fs::read_to_string(path).expect("text")).collect()
        };
        let json: Vec<String> =
            texts("jsonl").iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        assert_eq!(json.len(), read.rows());
        for (row, line) in json.iter().enumerate() {
            let object: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(object.as_object().map(serde_json::Map::len), Some(fields.len()));
            for (field, values) in fields.iter().zip(&columns) {
                assert_eq!(object[field.name], values[row], "{table:?} {row} {}", field.name);
            }
        }
        let mut row = 0;
        for text in texts("csv") {
            let mut lines = csv::Reader::from_reader(text.as_bytes());
            let header: Vec<String> =
                lines.headers().expect("a header").iter().map(str::to_owned).collect();
            assert!(header.iter().eq(fields.iter().map(|field| field.name)));
            for record in lines.records() {
                let record = record.expect("a record");
                for (at, (field, text)) in fields.iter().zip(&record).enumerate() {
                    let value = match (&columns[at][row], field.kind) {
                        (Value::Null, _) => String::new(),
                        (Value::String(text), _) => text.clone(),
                        (value, Kind::Number) => format!("{:?}", value.as_f64().expect("a number")),
                        (value, _) => value.to_string(),
                    };
                    assert_eq!(text, value, "{table:?} {row} {}", field.name);
                }
                row += 1;
            }
        }
        assert_eq!(row, read.rows());
    }
}

#[test]
fn a_sample_keeps_tasks_whole_and_says_what_each_stands_for() {
    let folder = Folder::new("tables-sample");
    let args = "run support-reply --replications 2 --set scenario.horizon=30m --quiet --tables";
    folder.run(&format!("{args} all"));
    folder.run(&format!("{args} some --sample 20%"));
    let read = |name: &str, table| Read::of(&folder.0.join(name), table);
    let identities = |read: &Read| -> Vec<String> {
        let rows = read.whole("replication").into_iter().zip(read.text("source"));
        let rows = rows.zip(read.whole("number"));
        rows.map(|((replication, source), number)| format!("{replication:?} {source:?} {number:?}"))
            .collect()
    };
    let all = identities(&read("all", Table::Tasks));
    let some = identities(&read("some", Table::Tasks));
    let n = all.len() as f64;
    let deviation = (n * 0.2 * 0.8).sqrt();
    assert!((some.len() as f64 - n * 0.2).abs() < 5.0 * deviation, "{} of {n}", some.len());
    // The calls there are all of those of these tasks, and none of others.
    let kept: std::collections::BTreeSet<&String> = some.iter().collect();
    let of_all: Vec<String> = identities(&read("all", Table::Calls));
    let expected: Vec<&String> = of_all.iter().filter(|of| kept.contains(of)).collect();
    let found = identities(&read("some", Table::Calls));
    assert!(found.iter().eq(expected), "{} calls", found.len());
    for table in [Table::Tasks, Table::Calls] {
        assert!(read("some", table).number("weight").iter().all(|&weight| weight == Some(5.0)));
        assert!(read("all", table).number("weight").iter().all(|&weight| weight == Some(1.0)));
    }
    for table in [Table::Windows, Table::Ledger] {
        assert!(
            read("some", table).0.equals_missing(&read("all", table).0),
            "{table:?} is complete"
        );
    }
}

#[test]
fn tables_depend_on_the_seed_and_not_on_the_threads() {
    let folder = Folder::new("tables-threads");
    let report = |name: &str, rest: &str| {
        let args = format!("run chat.toml --table-format parquet,csv,jsonl --sample 50% {rest}");
        folder.run(&format!("{args} --tables {name} --format json")).expect(0).out
    };
    let one = report("one", "--threads 1");
    assert!(report("four", "--threads 4") == one, "the report depends on threads");
    report("other", "--threads 4 --seed 8");
    let of = |name: &str| contents(&folder.0.join(name));
    assert!(of("one") == of("four"), "the tables depend on threads");
    assert!(of("one") != of("other"), "the seed changes nothing");
    assert_eq!(of("one").len(), 4 * 3 * 4, "a file for each table, format and replication");
    assert!(
        folder.run("run chat.toml --format json").expect(0).out == one,
        "tables change the report"
    );
}

#[test]
fn what_a_limit_leaves_is_what_the_report_counts() {
    let folder = Folder::new("tables-limit");
    let resolved = scenarios::load_str("chat.toml", super::CHAT, &[]);
    let scenario = resolved.unwrap_or_else(|error| panic!("{error}")).scenario;
    let most: u64 = (0..2).map(|r| sim::Simulation::new(&scenario, 7, r).run().events).sum();
    for threads in [1, 4] {
        let args = format!("run chat.toml --max-events {most} --threads {threads}");
        folder.run(&format!("{args} --tables stopped-{threads}")).expect(4);
    }
    let stopped = contents(&folder.0.join("stopped-1"));
    assert_eq!(stopped.len(), 4 * 2, "two replications: {:?}", stopped.keys());
    assert!(stopped == contents(&folder.0.join("stopped-4")));
    folder.run("run chat.toml --replications 2 --tables whole").expect(0);
    assert!(stopped == contents(&folder.0.join("whole")));
    // Nothing finished: nothing is there, and nothing beside it.
    folder.run("run chat.toml --max-events 1 --tables none").expect(4);
    let there = folder.list();
    assert!(!there.iter().any(|name| name.contains("none")), "{there:?}");
}

/// After Ctrl-C the finished replications are there, as the report counts them.
#[cfg(target_os = "linux")]
#[test]
fn what_an_interruption_leaves_is_what_the_report_counts() {
    let folder = Folder::new("tables-interrupted");
    let args = "run chat.toml --replications 10000 --threads 2 --tables tables --format json";
    let mut command = folder.command(args);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("the binary starts");
    let begun = || {
        folder.list().iter().any(|name| {
            let tasks = folder.0.join(name).join("tasks.parquet");
            tasks.is_dir() && files(&tasks).len() > 8
        })
    };
    while !begun() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill starts");
    assert!(sent.success());
    let ended = Ended::of(child.wait_with_output().expect("it ends")).expect(130);
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    let finished = count(&report["replications"]);
    assert!((1..10_000).contains(&finished));
    for table in Table::ALL {
        let there = files(&folder.0.join(format!("tables/{}.parquet", table.name())));
        assert_eq!(there.len(), finished, "{table:?}");
    }
    let tables = Table::ALL.map(|table| Read::of(&folder.0.join("tables"), table));
    check_ledger(&report, &tables[3]);
    check_tasks(&report, &tables[0]);
    check_calls(&report, &tables);
}

#[test]
fn what_cannot_be_done_is_refused_before_the_run() {
    let folder = Folder::new("tables-refused");
    std::fs::create_dir_all(folder.0.join("full")).expect("a folder");
    folder.write("full/mine.txt", "mine");
    for (args, says) in [
        ("--tables full", "--tables full: the folder is not empty; name a new one"),
        ("--tables t --table-format xlsx", "parquet, csv, jsonl"),
        ("--tables t --sample 0%", "more than 0% and at most 100%"),
        ("--tables t --sample 101%", "more than 0% and at most 100%"),
        ("--tables t --sample 5", "write a percentage like 1% or 0.05%"),
        ("--sample 5%", "--tables"),
        ("--table-format csv", "--tables"),
        ("--tables chat.toml", "chat.toml"),
        ("--tables t --out t", "--out and --tables need a folder each"),
    ] {
        let Ended { err, .. } = folder.run(&format!("run chat.toml {args}")).expect(2);
        assert!(err.contains(says), "{args}: {err}");
    }
    assert_eq!(folder.read("full/mine.txt"), "mine");
    assert_eq!(folder.list().len(), 2, "{:?}", folder.list());
}

/// However long each replication's drain is: the last window ends with the horizon, in all of them.
#[test]
fn windows_reach_to_the_horizon_in_every_replication() {
    let folder = Folder::new("tables-horizon");
    let args =
        "run chat.toml --set scenario.horizon=130s --set scenario.window=60s --tables tables -q";
    folder.run(args).expect(0);
    let windows = Read::of(&folder.0.join("tables"), Table::Windows);
    let kinds = windows.text("part_kind");
    let is_system = |row: usize| kinds[row].as_deref() == Some("system");
    let ends: Vec<Option<f64>> = windows.number("to_s");
    let ends: Vec<f64> =
        (0..windows.rows()).filter(|&row| is_system(row)).filter_map(|row| ends[row]).collect();
    assert_eq!(ends, [60.0, 120.0, 130.0].repeat(4));
    let arrived = windows.sums("part_kind", "arrived", is_system)["system"];
    assert_eq!(arrived, Read::of(&folder.0.join("tables"), Table::Tasks).rows() as i128);
}

/// The code of docs/outputs.md, where Python has what it needs.
#[cfg(target_os = "linux")]
#[test]
fn the_documented_examples_are_what_the_script_runs() {
    let page = crate::support::text("docs/outputs.md").expect("the page");
    let script = crate::support::root().join("tests/outputs-example.sh");
    let output = Command::new("bash").arg(script).arg("--list").output().expect("bash starts");
    let listed = Ended::of(output).expect(0).out;
    for block in ["sh", "sql", "python"] {
        let there = page.lines().filter(|line| line.trim() == format!("```{block}")).count();
        let found = listed.lines().filter(|line| line.starts_with(&format!("{block} "))).count();
        assert!(there > 0 && there == found, "{block}: {there} on the page, {found} run");
    }
}
