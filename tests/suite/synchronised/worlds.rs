//! Scenarios in which one and the same policy has nothing to do, or much.

use scenarios::load_str;
use sim::Scenario;
use toml::{Table, Value};

/// What a policy is tried in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// Tasks of one plain call, on a pool of a single replica.
    Plain,
    /// The same on three replicas.
    Wide,
    /// Tasks of several steps; nothing ever fails, and questions come again.
    Calm,
    /// The same, and no question comes again.
    Distinct,
    /// The same as `Calm`, but calls and tools fail, and calls are refused.
    Rough,
}

pub(super) const ALL: [World; 5] =
    [World::Plain, World::Wide, World::Calm, World::Distinct, World::Rough];
/// Worlds in which nothing fails.
pub(super) const SOUND: [World; 4] = [World::Plain, World::Wide, World::Calm, World::Distinct];

const PLAIN_STEPS: &str = r#"
  { id = "draft", model_call = { intent = "draft", input = { kind = "lognormal", p50 = 200, p95 = 600, max = 2000 }, output = { kind = "lognormal", p50 = 60, p95 = 150, max = 400 } } },
"#;

impl World {
    fn steps(self) -> String {
        let topics = if self == World::Distinct { 10_000_000 } else { 40 };
        let query = format!("query = {{ topics = {topics}, zipf = 0.0, similarity = 0.9 }}");
        format!(
            r#"
  {{ id = "sort", model_call = {{ model = "small", intent = "sort", decisive = false, input = {{ kind = "fixed", tokens = 90 }}, output = {{ kind = "fixed", tokens = 5 }} }} }},
  {{ id = "look", retrieval = "search", {query}, required = false, after = [] }},
  {{ id = "draft", after = ["sort", "look"], model_call = {{ intent = "draft", input = {{ kind = "lognormal", p50 = 200, p95 = 600, max = 2000 }}, output = {{ kind = "lognormal", p50 = 60, p95 = 150, max = 400 }}, {query} }} }},
  {{ id = "guard", safety_check = "filter", required = false, after = ["draft"], check = {{ of = "draft", looks_for = "unsafe", sensitivity = 0.9, specificity = 0.97 }} }},
  {{ id = "send", tool = "mailer", acts = true, after = ["guard"] }},
"#
        )
    }

    /// Everything but the policy.
    fn text(self) -> String {
        let is_plain = matches!(self, World::Plain | World::Wide);
        let steps = if is_plain { PLAIN_STEPS.to_owned() } else { self.steps() };
        let replicas = if self == World::Wide { 3 } else { 1 };
        let (errors, tool_errors, limits) = match self {
            World::Rough => (0.2, 0.1, "rpm = 110\nburst = \"10s\""),
            _ => (0.0, 0.0, ""),
        };
        format!(
            r#"
[scenario]
horizon = "3m"
[traffic.web]
task = "reply"
arrivals = {{ kind = "poisson", rate = "3/s" }}
tenants = {{ count = 9, zipf = 0.8 }}
[attributes.tier]
values = {{ free = 0.7, gold = 0.3 }}
per = "tenant"
[tasks.reply]
value = "$0.01"
harm_cost = "$0.30"
steps = [{steps}]
[intents.sort]
quality = {{ small = {{ success = 0.99 }} }}
[intents.draft]
confidence = 0.6
quality = {{ small = {{ success = 0.8, unsafe = 0.2 }}, big = {{ success = 0.9, unsafe = 0.1 }} }}
[models.small]
served_by = ["gpus"]
[models.big]
served_by = ["api"]
[pools.gpus]
replicas = {replicas}
price = "$2.99/h"
engine_args = {{ num_gpu_blocks_override = 900, block_size = 16, max_num_seqs = 64, max_num_batched_tokens = 2048, max_model_len = 4096 }}
step_time = {{ fixed = "5ms", per_token = "20us", per_kv_token = "50ns" }}
[providers.api]
ttft = {{ kind = "lognormal", p50 = "300ms", p95 = "900ms" }}
tpot = {{ kind = "gamma", mean = "9ms", cv = 0.3 }}
max_context = 8192
input = "$0.15/Mtok"
output = "$0.60/Mtok"
error_rate = {errors}
{limits}
[tools.search]
kind = "retrieval"
latency = {{ kind = "exponential", mean = "90ms" }}
per_call = "$0.0004"
error_rate = {tool_errors}
[tools.filter]
kind = "safety_check"
latency = {{ kind = "fixed", length = "15ms" }}
error_rate = {tool_errors}
[tools.mailer]
latency = {{ kind = "fixed", length = "20ms" }}
[routing]
default_model = "{model}"
"#,
            model = if is_plain { "small" } else { "big" },
        )
    }

    /// The scenario under these policies, later ones on top.
    #[track_caller]
    pub(super) fn under(self, policies: &[&Table]) -> Scenario {
        let mut whole: Table = self.text().parse().expect("TOML");
        policies.iter().for_each(|policy| merge(&mut whole, policy));
        let text = toml::to_string(&whole).expect("it can be written");
        match load_str("world.toml", &text, &[]) {
            Ok(resolved) => resolved.scenario,
            Err(problems) => panic!("{self:?} under {policies:?}: {problems}"),
        }
    }
}

/// Adds what is below, table by table.
pub(super) fn merge(whole: &mut Table, part: &Table) {
    for (key, value) in part {
        match (whole.get_mut(key), value) {
            (Some(Value::Table(own)), Value::Table(more)) => merge(own, more),
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}
