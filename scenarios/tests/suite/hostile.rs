//! What attackers and fuzzers write: an error with a position, never a panic, never a hang.

use crate::support::{DESK, SMALL, load, small};
use scenarios::{ProblemKind, Problems, SchemaKind, library, load_str, schema};
use serde_json::Value;

/// Every error has a file, a line and a column, and there is at least one.
fn positions_are_there(problems: &Problems) {
    assert!(!problems.list.is_empty());
    for problem in &problems.list {
        let place = &problem.site.place;
        assert!(place.line >= 1 && place.column >= 1 && !place.file.is_empty(), "{problem}");
    }
}

#[test]
fn hostile_texts_are_refused() {
    let cases = [
        String::new(),
        "\0".to_owned(),
        "[".repeat(20_000),
        format!("a = {}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("a = {}", "{ b = ".repeat(20_000)),
        format!("[{}]", vec!["scenario"; 50_000].join(".")),
        format!("{}\nscenario = 1", "x".repeat(9_999_999)),
        "\u{feff}\u{feff}a = 1".to_owned(),
        format!("[scenario]\nname = \"{}\"", "é".repeat(1_000_000)),
        SMALL.replace("[scenario]", "[[scenario]]"),
        SMALL.replace("[traffic.web]", "traffic = 3\n[x.web]"),
        SMALL.replace("[pools.h100]", "[pools.\"h1\\n00\"]"),
        SMALL.replace("served_by = [\"h100\"]", "served_by = [[\"h100\"]]"),
        (0..20_000).map(|i| format!("[traffic.t{i}]\n")).collect(),
    ];
    for text in cases {
        let problems = load(&text, &[]).expect_err("refused");
        positions_are_there(&problems);
    }
}

/// Files near the size limit whose parts refer to each other: none may cost their square.
#[test]
fn large_files_are_refused_in_bounded_work() {
    let many = |n: usize, line: &dyn Fn(usize) -> String| (0..n).map(line).collect::<String>();
    let pools = many(9_000, &|i| format!("[pools.p{i}]\nreplicas = 1\n"));
    let models = many(9_000, &|i| format!("[models.m{i}]\nserved_by = [\"p{i}\", \"x{i}\"]\n"));
    let arrivals = "arrivals = { kind = \"poisson\", rate = \"1/s\" }";
    let traffic = many(9_000, &|i| format!("[traffic.t{i}]\ntask = \"t{i}\"\n{arrivals}\n"));
    let unknown = many(500_000, &|i| format!("k{i} = 1\n"));
    let clients = many(9_000, &|i| format!("{{ name = \"c{i}\", share = 1 }},"));
    let spikes = many(9_000, &|i| format!("{{ at = \"{i}s\", length = \"1s\", factor = 2 }},"));
    let mix = SMALL.replace(
        "task = \"chat\"",
        &format!("task = \"chat\"\nclients = [{clients}]\nspikes = [{spikes}]"),
    );
    let steps = many(200, &|i| {
        let after = many(i, &|before| format!("\"s{before}\","));
        format!("{{ id = \"s{i}\", sub_task = \"x\", when = \"x.y > 1\", after = [{after}] }},\n")
    });
    let tasks = many(9, &|i| format!("[tasks.t{i}]\nsteps = [{steps}]\n"));
    let law = "uniform = [0, 1]";
    let attributes = many(9_000, &|i| format!("[attributes.a{i}]\n{law}\n"));
    let own = many(9_000, &|i| format!("[traffic.t{i}.attributes.a{i}]\n{law}\n"));
    let intents = many(9_000, &|i| format!("[intents.i{i}.quality.m{i}]\nsuccess = 0.9\n"));
    let calls = many(9_000, &|i| format!("{{ model_call = {{ intent = \"i{i}\" }} }},"));
    let parts = many(9_000, &|i| {
        format!("[tasks.p{i}]\nsteps = [{{ sub_task = \"p{}\" }}]\n", (i + 1) % 9_000)
    });
    let ready = "price = \"$1/h\"\nengine_args = { num_gpu_blocks_override = 10000 }\n\
                 step_time = { fixed = \"5ms\", per_token = \"20us\" }\n";
    let fleet = many(3_000, &|i| format!("[pools.p{i}]\nreplicas = 2500\n{ready}"));
    let names = many(3_000, &|i| format!("\"p{i}\","));
    let hosted = many(2_000, &|i| format!("[providers.a{i}]\ncatalog = \"openai/gpt-4o\"\n"));
    let all = SMALL.replace("served_by = [\"h100\"]", &format!("served_by = [\"h100\",{names}]"));
    // It is a scenario, though nobody's; what may be tried with it stays bounded.
    let resolved = load(&format!("{all}\n{fleet}{hosted}"), &[]).expect("a scenario");
    let texts = resolved.default_levers.iter().flat_map(|lever| lever.candidates.iter().flatten());
    assert!(texts.map(String::len).sum::<usize>() <= 10_000_000);
    let gates = many(9_000, &|i| format!("t{i}.p95_latency = \"<= +{i}ms\"\n"));
    let worlds = [
        format!("{traffic}{tasks}[gates]\np99 = \"<= 6\"\np50 = \"<= +1%\"\n{gates}"),
        format!("{models}{tasks}"),
        format!("{attributes}{own}{traffic}"),
        format!("{models}{intents}[tasks.t]\nsteps = [{calls}]\n"),
        parts,
    ];
    for text in worlds.into_iter().chain([format!("{pools}{models}{traffic}"), unknown, mix]) {
        positions_are_there(&load(&text, &[]).expect_err("refused"));
    }
}

#[test]
fn harmless_oddities_are_accepted() {
    assert!(load(&format!("\u{feff}{SMALL}"), &[]).is_ok());
    assert!(load(&SMALL.replace('\n', "\r\n"), &[]).is_ok());
}

/// Values no field may swallow. `0` and huge numbers may be fine for some fields, so what is
/// asked of every value is an error or a resolved scenario; of the hostile ones, an error.
const HOSTILE: [&str; 12] = [
    "nan",
    "inf",
    "-inf",
    "-0.0",
    "-0",
    "1e308",
    "9223372036854775808",
    "18446744073709551616",
    "\"\"",
    "-1",
    "\"-1s\"",
    "\"1e400\"",
];

/// A numeric field of the schema and the overrides that make it the one that is read.
struct Field {
    setup: Vec<String>,
    path: String,
    /// How a value is written there: alone, or as one half of a pair.
    wrap: fn(&str) -> String,
}

/// Collects the fields of a schema that hold numbers or quantities, variants included.
fn numeric_fields(schema: &Value, path: &str, setup: &[String], found: &mut Vec<Field>) {
    let with = |change: String| [setup, &[change]].concat();
    for variant in schema["anyOf"].as_array().into_iter().flatten() {
        let object = variant["properties"].is_object() && path != "objectives";
        let setup = if object { with(format!("{path}={{}}")) } else { setup.to_vec() };
        numeric_fields(variant, path, &setup, found);
    }
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        let properties = variant["properties"].as_object().expect("an object");
        let tag = if properties.contains_key("kind") { "kind" } else { "rung" };
        let name = &properties[tag]["enum"][0];
        numeric_fields(variant, path, &with(format!("{path}={{ {tag} = {name} }}")), found);
    }
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let below_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        numeric_fields(below, &below_path, setup, found);
    }
    let mut field = |wrap| found.push(Field { setup: setup.to_vec(), path: path.to_owned(), wrap });
    if schema["pattern"].is_string()
        || matches!(schema["type"].as_str(), Some("integer" | "number"))
    {
        field(|value| value.to_owned());
    }
    let items = &schema["items"];
    if items["items"].is_array() {
        field(|value| format!("[[{value}, 1]]"));
        field(|value| format!("[[1, {value}]]"));
    } else if items.is_object() {
        // The call of the one step stays, so that its own fields are reached.
        let steps = path == "tasks.chat.steps";
        let first = if items["type"] == "object" { "[{}]" } else { "[1]" };
        let setup = if steps { setup.to_vec() } else { with(format!("{path}={first}")) };
        numeric_fields(items, &format!("{path}.0"), &setup, found);
    }
    if schema["additionalProperties"].is_object() && path != "objectives" {
        let name = match path {
            "traffic" => "web",
            "tasks" | "budgets" => "chat",
            path if path.ends_with("models") => "small",
            _ => "h100",
        };
        // An override may not invent a name, so the table is written as a whole first.
        let there = path.contains('.') || ["traffic", "tasks", "models", "pools"].contains(&path);
        let table = format!("{path}={{ {name} = {{}} }}");
        let setup = if there { setup.to_vec() } else { with(table) };
        numeric_fields(&schema["additionalProperties"], &format!("{path}.{name}"), &setup, found);
    }
}

#[test]
fn no_numeric_field_swallows_a_hostile_value() {
    let mut fields = Vec::new();
    numeric_fields(&schema(SchemaKind::Scenario), "", &[], &mut fields);
    assert!(fields.len() > 120, "{}", fields.len());
    for Field { setup, path, wrap } in &fields {
        let signed = ["priority", "correlation", "uniform.0"].iter().any(|end| path.ends_with(end));
        for value in HOSTILE.iter().filter(|&&value| !(signed && value == "-1")) {
            let change = format!("{path}={}", wrap(value));
            let changes: Vec<&str> =
                setup.iter().map(String::as_str).chain([change.as_str()]).collect();
            let problems = small(&changes).expect_err(&change);
            positions_are_there(&problems);
            // The field itself is refused, not the table around it.
            let kinds = [ProblemKind::BadValue, ProblemKind::WrongType];
            let named = problems.list.iter().any(|problem| {
                kinds.contains(&problem.kind)
                    && problem.site.key.replace('[', ".").replace(']', "").starts_with(path)
            });
            assert!(named, "{changes:?}: {problems}");
        }
    }
}

/// A small generator with a fixed seed, so that a failure can be repeated (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// Tokens that are likely to reach deep into the readers.
const SPICES: [&str; 24] = [
    "nan",
    "-1",
    "0",
    "1e308",
    "\"\"",
    "{}",
    "[]",
    "[[",
    "]",
    "}",
    "=",
    "\"",
    "'''",
    "\n",
    "\0",
    "9999999999999999999",
    "\"100d\"",
    "\"0s\"",
    "\"1ps\"",
    "-0.0",
    "h100",
    "true",
    "\u{feff}",
    "{ kind = \"empirical\", values = [[1, 0]] }",
];

fn mutated(text: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let end = (at + dice.below(40)).min(bytes.len());
        match dice.below(6) {
            0 => bytes[at] = dice.below(256) as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            3 => {
                let spice = SPICES[dice.below(SPICES.len())];
                bytes.splice(at..at, spice.bytes());
            }
            4 => {
                // Replace a value by a spice, keeping the line whole.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let line = dice.below(lines.len());
                if let Some(key) = lines.get(line).and_then(|l| l.split_once('=')) {
                    let spice = SPICES[dice.below(SPICES.len())];
                    lines[line] = format!("{} = {spice}", key.0);
                }
                bytes = lines.join("\n").into_bytes();
            }
            _ => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut lines: Vec<&str> = text.lines().collect();
                lines.remove(dice.below(lines.len().max(2) - 1));
                bytes = lines.join("\n").into_bytes();
            }
        }
        if bytes.len() < 2 {
            bytes = b"[scenario]\n".to_vec();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn twenty_thousand_mutations_of_shipped_scenarios_never_panic() {
    let mut dice = Dice(2026);
    let mut texts: Vec<&str> = library::all().iter().map(|shipped| shipped.text).collect();
    texts.extend([SMALL, DESK]);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..20_000 {
        let text = mutated(texts[round % texts.len()], &mut dice);
        match load_str("mutated.toml", &text, &[]) {
            Ok(_) => accepted += 1,
            Err(problems) => {
                positions_are_there(&problems);
                refused += 1;
            }
        }
    }
    // Both happen, or the loop tests nothing.
    assert!(accepted > 100 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

/// The largest values that the fields admit one by one may not overflow anything together.
#[test]
fn extreme_but_allowed_values_do_not_overflow() {
    let times = ["fixed", "ungraphed", "per_token", "per_kv_token", "per_1024_pairs"];
    let times = times.map(|key| format!("pools.h100.step_time.{key}=1h"));
    let others = [
        "pools.h100.engine_args.num_gpu_blocks_override=100000000",
        "pools.h100.engine_args.enable_prefix_caching=false",
        "pools.h100.engine_args.block_size=4096",
        "pools.h100.engine_args.max_num_batched_tokens=10000000",
        "pools.h100.engine_args.max_num_seqs=1000000",
        "pools.h100.engine_args.max_model_len=10000000",
        "tasks.chat.steps.0.model_call.input={ kind = 'lognormal', mean = 1e7, cv = 1000 }",
        "traffic.web.arrivals.rate=1000000000/s",
        "traffic.web.scale=1000",
        "traffic.web.sessions={ turns = { kind = 'gamma', mean = 1e7, cv = 1000 }, \
         think = { kind = 'lognormal', p50 = '1us', p95 = '100d' } }",
        "traffic.web.spikes=[{ at = '100d', length = '100d', factor = 10000 }]",
        "scenario.horizon=100d",
        "pools.h100.price=$1000000000/h",
        "pools.h100.replicas=10000",
    ];
    for one in times.iter().map(String::as_str).chain(others) {
        if let Err(problems) = small(&[one]) {
            positions_are_there(&problems);
        }
    }
    // Together they are more than anybody can simulate, and nothing else is wrong with them.
    let problems = small(&others).expect_err("refused");
    let [problem] = problems.list.as_slice() else { panic!("{problems}") };
    assert!(problem.message.contains("one replication would make"), "{problems}");
    let all = [others.as_slice(), &["traffic.web.arrivals.rate=1/d"]].concat();
    let resolved = small(&all).unwrap_or_else(|e| panic!("{e}"));
    assert!(resolved.offered_load[0].is_some_and(f64::is_finite));
    let slow: Vec<&str> = times.iter().map(String::as_str).chain(others).collect();
    let problems = small(&slow).expect_err("an iteration of more than a day");
    assert!(problems.to_string().contains("more than a day"), "{problems}");
}

/// The simulator numbers cached blocks in few bits and keeps a table of them.
#[test]
fn a_prefix_cache_beyond_numbering_or_memory_is_refused() {
    let blocks = |count: u32| format!("pools.h100.engine_args.num_gpu_blocks_override={count}");
    let size = |size: u32| format!("pools.h100.engine_args.block_size={size}");
    let length = "pools.h100.engine_args.max_model_len=10000000".to_owned();
    let cases = [
        [blocks(16_777_215), size(16), "pools.h100.replicas=1".to_owned()],
        [blocks(8_000_000), size(16), "pools.h100.replicas=34".to_owned()],
        [blocks(12_000_000), size(1), length.clone()],
    ];
    for case in &cases {
        let changes: Vec<&str> = case.iter().map(String::as_str).collect();
        let problems = small(&changes).expect_err("refused");
        assert!(problems.to_string().contains("cache"), "{problems}");
        positions_are_there(&problems);
        let without = "pools.h100.engine_args.enable_prefix_caching=false";
        assert!(small(&[changes.as_slice(), &[without]].concat()).is_ok(), "{case:?}");
    }
    assert!(small(&[&blocks(2_000_000), &size(10), &length]).is_ok());
}

#[test]
fn hostile_overrides_are_refused() {
    for change in ["", "=", "a", ".=1", "scenario=1", "scenario.horizon=\"", "a.b.c.d.e=1"] {
        let problems = small(&[change]).expect_err(change);
        positions_are_there(&problems);
    }
    let deep = format!("{}=1", vec!["a"; 100].join("."));
    assert!(small(&[&deep]).is_err());
    let problems = small(&["pools.h100.price=2.99"]).expect_err("a bare number");
    assert_eq!(problems.list[0].kind, ProblemKind::WrongType);
}
