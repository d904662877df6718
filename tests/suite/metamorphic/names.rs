//! What things are called, and in which order they are declared.
//!
//! Why order must not matter: what is drawn belongs to a request, a step or an attempt, and a tie
//! between two events of one instant has no chance to happen where instants are drawn. Why names
//! must not matter: nothing reads them, except as the keys of streams. Those of traffic sources, tasks,
//! steps, models and hosted backends are; with another one the answer is equal in law only.

use super::laws::{differing, outcomes};
use scenarios::{library, load_str};
use sim::outcome::Outcome;
use sim::{Scenario, Simulation};
use std::collections::BTreeMap;
use toml::Table;

const SECTIONS: [&str; 17] = [
    "[scenario]\nhorizon = \"4m\"\n",
    "[traffic.source-a]\ntask = \"task-a\"\narrivals = { kind = \"gamma\", rate = \"3/s\", cv = 1.5 }\n",
    "[traffic.source-b]\ntask = \"task-b\"\narrivals = { kind = \"poisson\", rate = \"2/s\" }\n",
    "[attributes.tier]\nvalues = { free = 0.7, gold = 0.3 }\n",
    "[attributes.size]\nuniform = [0, 10]\n",
    r#"[tasks.task-a]
value = "$0.01"
steps = [
  { id = "look", retrieval = "tool-a", query = { topics = 300 }, required = false },
  { id = "draft", model_call = { intent = "intent-a", input = { kind = "lognormal", p50 = 200, p95 = 600, max = 2000 }, output = { kind = "lognormal", p50 = 60, p95 = 150, max = 400 } } },
  { id = "send", tool = "tool-b" },
]
"#,
    r#"[tasks.task-b]
value = "$0.02"
steps = [
  { id = "answer", model_call = { intent = "intent-b", input = { kind = "lognormal", p50 = 300, p95 = 900, max = 2000 }, output = { kind = "lognormal", p50 = 30, p95 = 90, max = 400 } } },
]
"#,
    "[intents.intent-a]\nconfidence = 0.6\nquality = { model-a = { success = 0.8 }, model-b = { success = 0.95 } }\n",
    "[intents.intent-b]\nquality = { model-a = { success = 0.9 }, model-b = { success = 0.97 } }\n",
    "[models.model-a]\nserved_by = [\"pool-a\", \"provider-a\"]\n",
    "[models.model-b]\nserved_by = [\"provider-b\", \"pool-b\"]\n",
    r#"[pools.pool-a]
replicas = 2
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 900, block_size = 16, max_num_seqs = 4, max_num_batched_tokens = 2048, max_model_len = 4096, max_num_queued_reqs = 2 }
step_time = { fixed = "9ms", per_token = "60us", per_kv_token = "50ns" }
"#,
    r#"[pools.pool-b]
replicas = 1
price = "$1.50/h"
engine_args = { num_gpu_blocks_override = 700, block_size = 16, max_num_seqs = 8, max_num_batched_tokens = 1024, max_model_len = 4096 }
step_time = { fixed = "12ms", per_token = "30us", per_kv_token = "40ns" }
"#,
    r#"[providers.provider-a]
ttft = { kind = "lognormal", p50 = "300ms", p95 = "900ms" }
tpot = { kind = "gamma", mean = "9ms", cv = 0.3 }
max_context = 8192
input = "$0.15/Mtok"
output = "$0.60/Mtok"
error_rate = 0.05
"#,
    r#"[providers.provider-b]
ttft = { kind = "exponential", mean = "200ms" }
tpot = { kind = "fixed", length = "7ms" }
max_context = 8192
concurrency = 3
queue_limit = 1
input = "$2/Mtok"
output = "$8/Mtok"
"#,
    "[tools.tool-a]\nkind = \"retrieval\"\nlatency = { kind = \"exponential\", mean = \"90ms\" }\nper_call = \"$0.0004\"\nerror_rate = 0.1\n",
    "[tools.tool-b]\nlatency = { kind = \"fixed\", length = \"20ms\" }\n",
];
const POLICY: &str = r#"
[routing]
default_model = "model-a"
by_intent = { intent-b = "model-b" }
fallbacks = { model-a = ["model-b"], model-b = ["model-a"] }
[[routing.escalate_if]]
when = "confidence < 0.5"
model = "model-b"
[[routing.escalate_if]]
when = "tier == 'gold' and in_flight.pool-a > 3"
model = "model-b"
[retries]
max_attempts = 2
timeout = "3s"
[caching.tools]
tool-a = { ttl = "20s" }
[load_balancing]
pool-a = { strategy = "power-of-two" }
"#;

fn load(text: &str) -> Scenario {
    load_str("names.toml", text, &[]).unwrap_or_else(|problems| panic!("{problems}")).scenario
}

/// What a run says of everything by its name, and of the whole.
fn by_name(scenario: &Scenario, outcome: &Outcome) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut say = |kind: &str, name: &str, what: String| {
        let earlier = found.insert(format!("{kind} {name}"), what);
        assert_eq!(earlier, None, "two of one name");
    };
    for (spec, task) in scenario.tasks.iter().zip(&outcome.tasks) {
        say("task", &spec.name, format!("{task:?}"));
    }
    for (spec, model) in scenario.models.iter().zip(&outcome.models) {
        say("model", &spec.name, format!("{model:?}"));
    }
    for (at, spec) in scenario.pools.iter().enumerate() {
        say("pool", &spec.name, format!("{:?} {:?}", outcome.pools[at], outcome.ledger.gpu[at]));
    }
    for (spec, remote) in scenario.remotes.iter().zip(&outcome.remotes) {
        say("remote", &spec.name, format!("{remote:?}"));
    }
    for (spec, tool) in scenario.tools.iter().zip(&outcome.tools) {
        say("tool", &spec.name, format!("{tool:?}"));
    }
    let parts = &outcome.series.parts;
    for (spec, windows) in scenario.tasks.iter().zip(&parts.tasks) {
        say("windows of task", &spec.name, format!("{windows:?}"));
    }
    for (spec, windows) in scenario.pools.iter().zip(&parts.pools) {
        say("windows of pool", &spec.name, format!("{windows:?}"));
    }
    for (spec, windows) in scenario.remotes.iter().zip(&parts.remotes) {
        say("windows of remote", &spec.name, format!("{windows:?}"));
    }
    for (spec, windows) in scenario.tools.iter().zip(&parts.tools) {
        say("windows of tool", &spec.name, format!("{windows:?}"));
    }
    for (spec, windows) in scenario.models.iter().zip(&parts.models) {
        say("windows of model", &spec.name, format!("{windows:?}"));
    }
    say("windows", "", format!("{:?}", outcome.series.windows));
    say("tenants", "", format!("{:?}", outcome.tenants));
    found
}

fn run(scenario: &Scenario) -> Outcome {
    let outcome = Simulation::new(scenario, 11, 0).run();
    assert_eq!(outcome.audit, Vec::<String>::new());
    outcome
}

/// Names of everything in the order in which it is simulated.
fn order(s: &Scenario) -> Vec<String> {
    let models = s.models.iter().map(|model| model.name.clone());
    let tasks = s.tasks.iter().map(|task| task.name.clone());
    let pools = s.pools.iter().map(|pool| pool.name.clone());
    let remotes = s.remotes.iter().map(|remote| remote.name.clone());
    models
        .chain(tasks)
        .chain(pools)
        .chain(remotes)
        .chain(s.tools.iter().map(|t| t.name.clone()))
        .collect()
}

/// Names of what two runs tell otherwise.
fn told_otherwise(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
    names.cloned().collect()
}

fn renamed(from: &str, to: &str) -> String {
    let text = SECTIONS.concat() + POLICY;
    assert!(text.contains(from));
    text.replace(from, to)
}

/// Sections of one kind are moved as a whole, those that may be in any order among themselves too.
fn orders() -> Vec<Vec<&'static str>> {
    let mut orders = Vec::new();
    for shift in 0..SECTIONS.len() {
        let mut sections = SECTIONS.to_vec();
        sections.rotate_left(shift);
        orders.push(sections.clone());
        sections.reverse();
        orders.push(sections);
    }
    orders
}

#[test]
fn the_order_of_declarations_changes_nothing() {
    let written = load(&(SECTIONS.concat() + POLICY));
    let expected = by_name(&written, &run(&written));
    let mut others = 0;
    for sections in orders() {
        let other = load(&(sections.concat() + POLICY));
        others += u32::from(order(&other) != order(&written));
        let changed = told_otherwise(&by_name(&other, &run(&other)), &expected);
        assert_eq!(changed, Vec::<String>::new(), "{sections:?}");
    }
    assert!(others > 10, "another order is simulated in another order: {others}");
}

/// A table of TOML, written again, is in alphabetical order, the values of an attribute too: these
/// are drawn in the order in which they stand, so this is in law.
#[test]
fn the_order_of_declarations_changes_no_law_in_the_library() {
    for name in ["support-reply", "hybrid-routing", "agent-fanout", "on-device", "provider-outage"]
    {
        let text = library::find(name).expect("it is shipped").text;
        let table: Table = text.parse().expect("TOML");
        let sorted = toml::to_string(&table).expect("it can be written");
        let short = ["scenario.horizon=\"10m\"".to_owned()];
        let [written, sorted] = [text, sorted.as_str()].map(|text| {
            let resolved = load_str("library.toml", text, &short);
            resolved.unwrap_or_else(|problems| panic!("{name}: {problems}")).scenario
        });
        let [written, sorted] = [written, sorted].map(|s| outcomes(&s, 11, 20));
        assert_eq!(differing(&written, &sorted), Vec::new(), "{name}");
    }
}

#[test]
fn the_names_of_pools_tools_and_intents_change_nothing() {
    let expected = run(&load(&(SECTIONS.concat() + POLICY)));
    for from in ["pool-a", "pool-b", "tool-a", "tool-b", "intent-a", "intent-b"] {
        for to in ["a0", "zz-top"] {
            assert!(run(&load(&renamed(from, to))) == expected, "{from} is now {to}");
        }
    }
}

#[test]
fn another_name_of_what_has_a_stream_is_another_sample_of_the_same_law() {
    let usual = load(&(SECTIONS.concat() + POLICY));
    let of = |scenario: &Scenario| outcomes(scenario, 11, 100);
    let expected = of(&usual);
    let steps = ["\"draft\"", "\"look\""];
    let models = ["model-a", "model-b", "provider-a", "provider-b"];
    for from in ["source-a", "source-b", "task-a"].into_iter().chain(steps).chain(models) {
        let to = if from.starts_with('"') { "\"another\"" } else { "another" };
        let other = of(&load(&renamed(from, to)));
        assert!(other[0] != expected[0], "{from}: the name is the key of its stream");
        assert_eq!(differing(&expected, &other), Vec::new(), "{from}");
    }
    let dearer = renamed("rate = \"3/s\"", "rate = \"3.3/s\"");
    assert_ne!(differing(&expected, &of(&load(&dearer))), Vec::new(), "a tenth more is not seen");
}
