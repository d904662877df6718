//! A pseudo-configuration from the literature, key by key, as TOML: task budgets, routing with a
//! default model and escalations, a semantic cache. It has to load and resolve as it stands, and
//! to act.
//!
//! ```yaml
//! TASK_BUDGETS:
//!   support_reply:
//!     max_model_calls: 5
//!     max_input_tokens: 6000
//!     max_output_tokens: 700
//!     p95_latency_slo_ms: 6000
//! ROUTING:
//!   default_model: "gpt-4o-mini"
//!   escalate_if:
//!     - condition: "confidence < 0.72"
//!       model: "claude-3-5-sonnet"
//!     - condition: "account_tier == 'enterprise' and sentiment == 'high_risk'"
//!       model: "gpt-4o"
//! CACHING:
//!   semantic_cache:
//!     enabled: true
//!     similarity_threshold: 0.92
//!     ttl_seconds: 86400
//! ```

use crate::support::{Folder, load};
use scenarios::{ProblemKind, Resolved, load_file};
use sim::Simulation;
use sim::units::Span;

const WORLD: &str = r#"
[scenario]
horizon = "1h"
replications = 2

[traffic.web]
task = "support_reply"
arrivals = { kind = "poisson", rate = "1/s" }

[attributes]
account_tier = { values = { free = 0.9, enterprise = 0.1 } }
sentiment = { values = { calm = 0.8, high_risk = 0.2 } }

[intents.draft]
confidence = 0.8
quality = { gpt-4o-mini = { success = 0.8 }, claude-3-5-sonnet = { success = 0.93 }, gpt-4o = { success = 0.95 } }

[tasks.support_reply]
value = "$0.12"
steps = [
  { id = "draft", model_call = { intent = "draft", input = { kind = "lognormal", p50 = 900, p95 = 3000 }, output = { kind = "lognormal", p50 = 150, p95 = 400 }, query = { topics = 500 } } },
]

[providers]
gpt-4o-mini = { catalog = "openai/gpt-4o-mini" }
claude-3-5-sonnet = { catalog = "anthropic/claude-3-5-sonnet" }
gpt-4o = { catalog = "openai/gpt-4o" }
"#;

pub(crate) const POLICY: &str = r#"
[budgets.support_reply]
max_model_calls = 5
max_input_tokens = 6000
max_output_tokens = 700
p95_latency_slo_ms = 6000

[routing]
default_model = "gpt-4o-mini"
escalate_if = [
  { condition = "confidence < 0.72", model = "claude-3-5-sonnet" },
  { condition = "account_tier == 'enterprise' and sentiment == 'high_risk'", model = "gpt-4o" },
]

[caching.semantic_cache]
enabled = true
similarity_threshold = 0.92
ttl_seconds = 86400
"#;

fn check(resolved: &Resolved) {
    // Neither of the bigger models was measured, and the file states no times of its own.
    let warned = resolved.warnings.iter().map(|warning| warning.site.key.as_str());
    let borrowed = ["providers.claude-3-5-sonnet", "providers.gpt-4o"];
    assert_eq!(warned.collect::<Vec<_>>(), borrowed, "{:?}", resolved.warnings);
    let scenario = &resolved.scenario;
    let name = |model: sim::ids::ModelId| scenario.models[model.index()].name.as_str();
    let task = &scenario.tasks[0];
    let budget = &task.budget;
    let limits = (budget.max_model_calls, budget.max_input_tokens, budget.max_output_tokens);
    assert_eq!(limits, (Some(5), Some(6_000), Some(700)));
    assert_eq!(task.latency_slo, Some(Span::from_secs(6)));
    let objective = |o: &scenarios::resolved::Objective| o.name == "support_reply.p95_latency";
    assert!(resolved.objectives.iter().any(objective));

    let routing = &scenario.routing;
    assert_eq!(routing.default_model.map(name), Some("gpt-4o-mini"));
    let models = |rules: &[sim::routing::Rule]| {
        rules.iter().map(|rule| name(rule.model).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(models(&routing.escalations), ["claude-3-5-sonnet"]);
    assert_eq!(models(&routing.rules), ["gpt-4o"]);
    let cache = scenario.semantic_cache.expect("a semantic cache");
    assert_eq!((cache.similarity_threshold, cache.ttl), (0.92, Span::from_secs(86_400)));
}

#[test]
fn it_loads_as_it_stands_and_acts() {
    let resolved = load(&format!("{WORLD}{POLICY}"), &[]).unwrap_or_else(|p| panic!("{p}"));
    check(&resolved);
    let outcome = Simulation::new(&resolved.scenario, 1, 0).run();
    let task = &outcome.tasks[0];
    assert!(task.escalations > 0 && task.semantic_hits > 0, "{task:?}");
    // A tenth of a fifth of the tasks goes to the premium model, and what is escalated from it.
    let calls: Vec<u64> = outcome.models.iter().map(|model| model.calls).collect();
    assert!(calls.iter().all(|&calls| calls > 0), "{calls:?}");
}

#[test]
fn other_spellings_say_the_same() {
    let plain = load(&format!("{WORLD}{POLICY}"), &[]).unwrap_or_else(|p| panic!("{p}"));
    let other = POLICY
        .replace("p95_latency_slo_ms = 6000", "p95_latency_slo = \"6s\"")
        .replace("condition = ", "when = ")
        .replace(" and ", " && ")
        .replace("semantic_cache", "semantic")
        .replace("ttl_seconds = 86400", "ttl = \"24h\"");
    let other = load(&format!("{WORLD}{other}"), &[]).unwrap_or_else(|p| panic!("{p}"));
    check(&other);
    assert_eq!(other.scenario, plain.scenario);
}

#[test]
fn it_may_stand_in_a_file_of_its_own() {
    let inline = load(&format!("{WORLD}{POLICY}"), &[]).unwrap_or_else(|p| panic!("{p}"));
    let folder = Folder::new("pseudo-config");
    folder.write("policy.toml", POLICY);
    let scenario = folder.write("scenario.toml", format!("policy = \"policy.toml\"\n{WORLD}"));
    let resolved = load_file(&scenario, None, &[]).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(resolved.scenario, inline.scenario);
    let changed = ["routing.default_model=gpt-4o".to_owned()];
    let changed = load_file(&scenario, None, &changed).unwrap_or_else(|p| panic!("{p}"));
    assert_ne!(changed.scenario.routing, inline.scenario.routing);
}

#[test]
fn sections_in_upper_case_are_told_what_to_write() {
    let upper = POLICY
        .replace("[budgets.", "[TASK_BUDGETS.")
        .replace("[routing]", "[ROUTING]")
        .replace("[caching.semantic_cache]", "[CACHING.semantic_cache]");
    let problems = load(&format!("{WORLD}{upper}"), &[]).expect_err("refused");
    let first = WORLD.lines().count() as u32;
    let place_of = |header: &str| {
        let line = upper.lines().position(|line| line.starts_with(header)).expect("a header");
        (ProblemKind::UnknownKey, first + line as u32 + 1, 2)
    };
    let expected = [
        (place_of("[TASK_BUDGETS"), "write `budgets`"),
        (place_of("[ROUTING"), "write `routing`: keys are in lower case"),
        (place_of("[CACHING"), "write `caching`: keys are in lower case"),
    ];
    let found = problems.list.iter().map(|problem| {
        let place = &problem.site.place;
        ((problem.kind, place.line, place.column), problem.help.as_deref().unwrap_or_default())
    });
    assert_eq!(found.collect::<Vec<_>>(), expected, "{problems}");

    let budget = POLICY.replace("max_model_calls", "MAX_MODEL_CALLS");
    let problems = load(&format!("{WORLD}{budget}"), &[]).expect_err("refused").to_string();
    assert!(problems.contains("write `max_model_calls`: keys are in lower case"), "{problems}");
}
