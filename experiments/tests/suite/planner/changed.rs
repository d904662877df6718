//! Problems that were written down after the search was first finished. Under other random numbers it
//! lost the cheapest plan of two of them, and was changed: what they say now is not independent of it.
//!
//! One had to be mended before it loaded. Of the hosted one the bounds of 6 s and 93 % were moved to 8 s
//! and 92 %: nothing, and later nothing for sure, kept them.

use super::{compare, lever, replicas};
use experiments::repair::Lever;

/// A model of 32 billion parameters under traffic that comes and goes; all of the spend is rent.
const SURGES: &str = r#"
[scenario]
horizon = "6m"
replications = 10
seed = 11

[traffic.team]
task = "ask"
arrivals = { kind = "mmpp", states = [{ rate = "4/s", mean = "60s" }, { rate = "12/s", mean = "20s" }] }
prefix = { tokens = 700, distinct = 1 }

[tasks.ask]
p95_latency_slo = "20s"
steps = [{ id = "answer", model_call = { model = "coder", input = { kind = "lognormal", p50 = 1800, p95 = 6000, max = 14000 }, output = { kind = "lognormal", p50 = 180, p95 = 700, max = 1600 } } }]

[models.coder]
served_by = ["box"]

[pools.box]
gpu = "h100-sxm"
model = "qwen2.5-32b"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384 }

[objectives]
ask.p95_latency = "<= 20s"
coder.ttft_p95 = "<= 2s"
ask.success_rate = ">= 0.99"
"#;

fn surges_levers() -> Vec<Lever> {
    let gpus = [("h100-sxm", "$2.99/h"), ("h200-sxm", "$3.79/h")];
    let gpu = |(gpu, price): &(&str, &str)| {
        vec![format!("pools.box.gpu={gpu}"), format!("pools.box.price={price}")]
    };
    vec![
        Lever { key: "pools.box.gpu".to_owned(), changes: gpus.iter().map(gpu).collect() },
        lever("pools.box.tensor_parallel", &["1", "2", "4"]),
        lever("pools.box.engine_args.max_num_seqs", &["32", "256"]),
        replicas("box", 8),
    ]
}

/// A chat and its summaries on two pools, with or without a provider behind them, on reserved or on
/// cheaper, slower GPUs.
const MIXED: &str = r#"
[scenario]
horizon = "6m"
replications = 10
seed = 13

[traffic.talk]
task = "talk"
arrivals = { kind = "gamma", rate = "9/s", cv = 1.8 }

[traffic.notes]
task = "note"
arrivals = { kind = "poisson", rate = "3/s" }

[tasks.talk]
steps = [{ id = "say", model_call = { model = "quick", input = { kind = "lognormal", p50 = 700, p95 = 2500, max = 10000 }, output = { kind = "lognormal", p50 = 160, p95 = 420, max = 1000 } } }]

[tasks.note]
steps = [{ id = "sum", model_call = { model = "thorough", input = { kind = "lognormal", p50 = 4000, p95 = 9000, max = 14000 }, output = { kind = "lognormal", p50 = 220, p95 = 500, max = 900 } } }]

[models.quick]
served_by = ["edge"]

[models.thorough]
served_by = ["core"]

[pools.edge]
gpu = "h100-sxm"
model = "llama-3.1-8b-instruct"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384, max_num_queued_reqs = 24 }

[pools.core]
gpu = "h100-sxm"
model = "qwen2.5-14b"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384, max_num_queued_reqs = 24 }

[providers.api]
catalog = "openai/gpt-4o-mini"
rpm = 10_000
tpm = 4_000_000

[objectives]
talk.p95_latency = "<= 9s"
note.p95_latency = "<= 14s"
talk.success_rate = ">= 0.98"
note.success_rate = ">= 0.98"
"#;

fn mixed_levers() -> Vec<Lever> {
    let gpus = [("h100-sxm", "$2.99/h"), ("l40s", "$0.86/h")];
    let gpu = |(gpu, price): &(&str, &str)| {
        vec![format!("pools.edge.gpu={gpu}"), format!("pools.edge.price={price}")]
    };
    vec![
        replicas("edge", 6),
        replicas("core", 5),
        Lever { key: "pools.edge.gpu".to_owned(), changes: gpus.iter().map(gpu).collect() },
        lever("models.thorough.served_by", &[r#"["core"]"#, r#"["core", "api"]"#]),
    ]
}

/// A draft and its check by hosted models: all of the spend is metered.
const METERED: &str = r#"
[scenario]
horizon = "20m"
replications = 10
seed = 17

[traffic.tickets]
task = "reply"
arrivals = { kind = "gamma", rate = "3/s", cv = 2.0 }

[tasks.reply]
steps = [
  { id = "draft", model_call = { intent = "draft", input = { kind = "lognormal", p50 = 1100, p95 = 2200 }, output = { kind = "lognormal", p50 = 90, p95 = 200, max = 400 }, query = { topics = 30_000, zipf = 0.8, similarity = 0.92, spread = 0.04 } } },
  { id = "verify", model_call = { intent = "verify", input = { kind = "lognormal", p50 = 700, p95 = 1200 }, output = { kind = "fixed", tokens = 4 } }, check = { of = "draft", sensitivity = 0.8, specificity = 0.97, redo = 1, then = "go_on" } },
]

[intents.draft]
confidence = 0.6
quality = { small = { success = 0.88 }, large = { success = 0.97 } }
[intents.verify]
quality = { small = { success = 1.0 }, large = { success = 1.0 } }

[models.small]
served_by = ["mini"]

[models.large]
served_by = ["full"]

[providers.mini]
catalog = "openai/gpt-4o-mini"
rpm = 10_000
tpm = 2_000_000
error_rate = 0.01

[providers.full]
catalog = "openai/gpt-4o"
rpm = 10_000
tpm = 2_000_000
error_rate = 0.01

[routing]
default_model = "small"

[[routing.escalate_if]]
when = "intent == 'draft' and confidence < 0.7"
model = "large"

[caching.semantic]
similarity_threshold = 0.92
ttl = "24h"
capacity = 5000
lookup = "12ms"

[retries]
max_attempts = 1
timeout = "20s"
backoff = { initial = "200ms", factor = 2.0, max = "5s", jitter = "full" }

[objectives]
reply.p95_latency = "<= 8s"
reply.success_rate = ">= 0.92"
"#;

fn metered_levers() -> Vec<Lever> {
    let bounds = ["0.5", "0.6", "0.65", "0.7", "0.75", "0.8"];
    let bounds = bounds.map(|bound| format!("\"intent == 'draft' and confidence < {bound}\""));
    let bounds: Vec<&str> = bounds.iter().map(String::as_str).collect();
    vec![
        lever("routing.escalate_if.0.when", &bounds),
        lever("caching.semantic.similarity_threshold", &["0.86", "0.9", "0.94", "0.98"]),
        lever("retries.max_attempts", &["1", "2", "3"]),
        lever("models.small.served_by", &[r#"["mini"]"#, r#"["mini", "full"]"#]),
    ]
}

#[test]
fn surges_on_rented_gpus() {
    compare("surges", SURGES, &surges_levers(), 0.2);
}

#[test]
fn two_pools_one_of_them_with_a_provider_behind_it() {
    compare("mixed", MIXED, &mixed_levers(), 0.2);
}

#[test]
fn hosted_models_alone() {
    compare("metered", METERED, &metered_levers(), 0.8);
}
