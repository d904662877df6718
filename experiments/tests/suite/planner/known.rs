//! Problems that the planner was built with, so their shares say what it was made for: one where rent
//! is all of the spend, and one where it is most of it.

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

#[test]
fn a_pool_of_rented_gpus_is_planned_as_well_as_by_trying_everything() {
    compare("pool", POOL, &pool_levers(), 0.2);
}

#[test]
fn two_pools_that_overflow_are_planned_as_well_as_by_trying_everything() {
    compare("overflow", OVERFLOW, &overflow_levers(), 0.2);
}
