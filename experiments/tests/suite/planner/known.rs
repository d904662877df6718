//! Problems that the planner was built with, so their shares say what it was made for: one where rent
//! is all of the spend, one where it is most of it, and one where it is a small part.
//!
//! Of the third the questions were changed once: with few topics a wrong answer in the cache was given
//! so often that the success rate differed by a point from seed to seed, and neither way of looking
//! could tell what keeps 92 %.

use super::{compare, lever, replicas};
use experiments::repair::Lever;

/// Chat on one pool of rented GPUs.
pub(super) const POOL: &str = r#"
[scenario]
horizon = "5m"
replications = 10
seed = 3

[traffic.web]
task = "chat"
arrivals = { kind = "gamma", rate = "14/s", cv = 1.5 }

[tasks.chat]
steps = [{ id = "answer", model_call = { model = "small", input = { kind = "lognormal", p50 = 900, p95 = 3000, max = 12000 }, output = { kind = "lognormal", p50 = 220, p95 = 600, max = 1500 } } }]

[models.small]
served_by = ["rented"]

[pools.rented]
gpu = "h100-sxm"
model = "llama-3.1-8b-instruct"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384 }

[objectives]
chat.p95_latency = "<= 8s"
chat.success_rate = ">= 0.99"
"#;

/// Two pools whose queues are short; what they refuse goes to a provider.
const OVERFLOW: &str = r#"
[scenario]
horizon = "5m"
replications = 10
seed = 5

[traffic.web]
task = "chat"
arrivals = { kind = "gamma", rate = "20/s", cv = 2.0 }

[traffic.batch]
task = "digest"
arrivals = { kind = "poisson", rate = "4/s" }

[tasks.chat]
steps = [{ id = "answer", model_call = { model = "small", input = { kind = "lognormal", p50 = 900, p95 = 3000, max = 12000 }, output = { kind = "lognormal", p50 = 220, p95 = 600, max = 1500 } } }]

[tasks.digest]
steps = [{ id = "read", model_call = { model = "large", input = { kind = "lognormal", p50 = 3000, p95 = 8000, max = 14000 }, output = { kind = "lognormal", p50 = 300, p95 = 700, max = 1500 } } }]

[models.small]
served_by = ["chats", "hosted"]

[models.large]
served_by = ["digests", "hosted"]

[pools.chats]
gpu = "h100-sxm"
model = "llama-3.1-8b-instruct"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384, max_num_seqs = 64, max_num_queued_reqs = 16 }

[pools.digests]
gpu = "h100-sxm"
model = "llama-3.1-8b-instruct"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384, max_num_seqs = 32, max_num_queued_reqs = 8 }

[providers.hosted]
catalog = "openai/gpt-4o"
rpm = 10_000
tpm = 4_000_000

[objectives]
chat.p95_latency = "<= 12s"
digest.p95_latency = "<= 15s"
chat.success_rate = ">= 0.98"
digest.success_rate = ">= 0.98"
"#;

/// Mostly hosted: who is asked when the small model is in doubt, what is answered from a cache, and a
/// pool for the routine.
const HOSTED: &str = r#"
[scenario]
horizon = "5m"
replications = 10
seed = 7

[traffic.chat]
task = "reply"
arrivals = { kind = "gamma", rate = "14/s", cv = 2.0 }

[tasks.reply]
steps = [{ id = "answer", model_call = { intent = "answer", input = { kind = "lognormal", p50 = 900, p95 = 3000, max = 12000 }, output = { kind = "lognormal", p50 = 220, p95 = 600, max = 1500 }, query = { topics = 60_000, zipf = 0.8, phrasings = 6, neighbours = 5, similarity = 0.93, neighbour_similarity = 0.84, spread = 0.04 } } }]

[intents.answer]
confidence = 0.6
quality = { small = { success = 0.9 }, premium = { success = 0.985 } }

[models.small]
served_by = ["h100", "openai-mini"]

[models.premium]
served_by = ["openai-4o"]

[pools.h100]
gpu = "h100-sxm"
model = "llama-3.1-8b-instruct"
replicas = 1
price = "$2.99/h"
engine_args = { max_model_len = 16384, max_num_queued_reqs = 32 }

[providers.openai-mini]
catalog = "openai/gpt-4o-mini"
rpm = 10_000
tpm = 4_000_000

[providers.openai-4o]
catalog = "openai/gpt-4o"
rpm = 10_000
tpm = 2_000_000

[routing]
default_model = "small"

[[routing.escalate_if]]
when = "confidence < 0.65"
model = "premium"

[caching.semantic]
similarity_threshold = 0.92
ttl = "24h"
capacity = 5000
lookup = "12ms"

[objectives]
reply.p95_latency = "<= 12s"
reply.success_rate = ">= 0.92"
"#;

/// GPU types with what each costs, tensor parallelism and replicas.
pub(super) fn pool_levers() -> Vec<Lever> {
    let gpus = [("a100-sxm-80gb", "$1.79/h"), ("h100-sxm", "$2.99/h"), ("h200-sxm", "$3.79/h")];
    let gpu = |(gpu, price): &(&str, &str)| {
        vec![format!("pools.rented.gpu={gpu}"), format!("pools.rented.price={price}")]
    };
    vec![
        Lever { key: "pools.rented.gpu".to_owned(), changes: gpus.iter().map(gpu).collect() },
        lever("pools.rented.tensor_parallel", &["1", "2", "4"]),
        replicas("rented", 8),
    ]
}

fn overflow_levers() -> Vec<Lever> {
    vec![replicas("chats", 8), replicas("digests", 8)]
}

fn hosted_levers() -> Vec<Lever> {
    let escalate = ["0.35", "0.45", "0.5", "0.55", "0.6", "0.65", "0.7", "0.75"];
    let escalate = escalate.map(|bound| format!("\"confidence < {bound}\""));
    let escalate: Vec<&str> = escalate.iter().map(String::as_str).collect();
    vec![
        lever("routing.escalate_if.0.when", &escalate),
        lever("caching.semantic.similarity_threshold", &["0.85", "0.88", "0.92", "0.96"]),
        replicas("h100", 4),
    ]
}

#[test]
fn a_pool_of_rented_gpus_is_planned_as_well_as_by_trying_everything() {
    compare("pool", POOL, &pool_levers(), 0.2);
}

#[test]
fn two_pools_that_overflow_are_planned_as_well_as_by_trying_everything() {
    compare("overflow", OVERFLOW, &overflow_levers(), 0.2);
}

#[test]
fn what_is_mostly_hosted_is_planned_as_well_as_by_trying_everything() {
    compare("hosted", HOSTED, &hosted_levers(), 0.8);
}
