//! Problems that were written down after the search was finished, and that nothing was changed for: what
//! they say holds for others, too.

use super::{compare, lever, replicas};
use experiments::repair::Lever;

/// A model of 70 billion parameters whose users come in shifts; all of the spend is rent.
const SHIFTS: &str = r#"
[scenario]
horizon = "8m"
replications = 10
seed = 19

[traffic.desk]
task = "brief"
arrivals = { kind = "on-off", rate = "3/s", on = "90s", off = "30s" }

[tasks.brief]
steps = [{ id = "write", model_call = { model = "big", input = { kind = "lognormal", p50 = 2500, p95 = 7000, max = 14000 }, output = { kind = "lognormal", p50 = 250, p95 = 800, max = 1500 } } }]

[models.big]
served_by = ["rack"]

[pools.rack]
gpu = "h100-sxm"
model = "llama-3.1-70b-instruct"
tensor_parallel = 4
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384 }

[objectives]
brief.p95_latency = "<= 35s"
big.ttft_p95 = "<= 3s"
spend.per_day = "<= $3000"
"#;

fn shifts_levers() -> Vec<Lever> {
    let gpus = [("h100-sxm", "$2.99/h"), ("h200-sxm", "$3.79/h")];
    let gpu = |(gpu, price): &(&str, &str)| {
        vec![format!("pools.rack.gpu={gpu}"), format!("pools.rack.price={price}")]
    };
    vec![
        Lever { key: "pools.rack.gpu".to_owned(), changes: gpus.iter().map(gpu).collect() },
        lever("pools.rack.tensor_parallel", &["4", "8"]),
        lever("pools.rack.engine_args.max_num_batched_tokens", &["2048", "8192"]),
        replicas("rack", 8),
    ]
}

/// Capacity by the hour with an interface behind it that is paid by the token.
const CAPACITY: &str = r#"
[scenario]
horizon = "10m"
replications = 10
seed = 23

[traffic.app]
task = "turn"
arrivals = { kind = "gamma", rate = "5/s", cv = 1.6 }

[tasks.turn]
steps = [{ id = "say", model_call = { model = "chat", input = { kind = "lognormal", p50 = 800, p95 = 2600, max = 7000 }, output = { kind = "lognormal", p50 = 150, p95 = 400, max = 900 } } }]

[models.chat]
served_by = ["units"]

[provisioned.units]
units = 2
price = "$4/h"
concurrency = 8
queue_limit = 20
ttft = { kind = "lognormal", p50 = "250ms", p95 = "700ms" }
tpot = { kind = "gamma", mean = "14ms", cv = 0.2 }
max_context = 8192

[providers.api]
catalog = "openai/gpt-4o-mini"
rpm = 10_000
tpm = 4_000_000

[objectives]
turn.p95_latency = "<= 9s"
turn.success_rate = ">= 0.99"
"#;

fn capacity_levers() -> Vec<Lever> {
    let units: Vec<String> = (1..=12).map(|n| n.to_string()).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    vec![
        lever("provisioned.units.units", &units),
        lever("provisioned.units.queue_limit", &["0", "20", "60"]),
        lever("models.chat.served_by", &[r#"["units"]"#, r#"["units", "api"]"#]),
    ]
}

/// A small model for the routine and a large one for doubt, each on GPUs of its own.
const TIERS: &str = r#"
[scenario]
horizon = "8m"
replications = 10
seed = 29

[traffic.mail]
task = "answer"
arrivals = { kind = "poisson", rate = "8/s" }

[tasks.answer]
steps = [{ id = "draft", model_call = { intent = "draft", input = { kind = "lognormal", p50 = 900, p95 = 2800, max = 9000 }, output = { kind = "lognormal", p50 = 180, p95 = 500, max = 1200 } } }]

[intents.draft]
confidence = 0.7
quality = { small = { success = 0.86 }, large = { success = 0.97 } }

[models.small]
served_by = ["many"]

[models.large]
served_by = ["few"]

[pools.many]
gpu = "l40s"
model = "llama-3.1-8b-instruct"
replicas = 2
price = "$0.86/h"
engine_args = { max_model_len = 16384 }

[pools.few]
gpu = "h100-sxm"
model = "qwen2.5-32b"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384 }

[routing]
default_model = "small"

[[routing.escalate_if]]
when = "confidence < 0.6"
model = "large"

[objectives]
answer.p95_latency = "<= 20s"
answer.success_rate = ">= 0.9"
"#;

fn tiers_levers() -> Vec<Lever> {
    let bounds = ["0.4", "0.5", "0.6", "0.7", "0.8"];
    let bounds = bounds.map(|bound| format!("\"confidence < {bound}\""));
    let bounds: Vec<&str> = bounds.iter().map(String::as_str).collect();
    vec![replicas("many", 6), replicas("few", 4), lever("routing.escalate_if.0.when", &bounds)]
}

#[test]
fn a_large_model_in_shifts() {
    compare("shifts", SHIFTS, &shifts_levers(), 0.2);
}

#[test]
fn capacity_by_the_hour() {
    compare("capacity", CAPACITY, &capacity_levers(), 0.2);
}

#[test]
fn two_tiers_of_models() {
    compare("tiers", TIERS, &tiers_levers(), 0.2);
}
