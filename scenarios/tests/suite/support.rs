//! A small scenario to start from, with step times written out so that no catalogue is needed, and
//! scratch folders.

use scenarios::{Problems, Resolved, load_str};
use std::fs;
use std::path::PathBuf;

/// Everything a scenario needs and nothing more.
pub(crate) const SMALL: &str = r#"
[scenario]
horizon = "1h"

[traffic.web]
task = "chat"
arrivals = { kind = "poisson", rate = "2/s" }

[tasks.chat]
value = "$0.12"
p95_latency_slo = "6s"
steps = [
  { id = "answer", model_call = { model = "small", input = { kind = "lognormal", p50 = 350, p95 = 900 }, output = { kind = "fixed", tokens = 100 } } },
]

[models.small]
served_by = ["h100"]

[pools.h100]
replicas = 2
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 10000 }
step_time = { fixed = "5ms", per_token = "20us", per_kv_token = "50ns" }

[objectives]
"chat.success_rate" = ">= 97%"
spend.per_day = "<= $900"
"#;

/// A support desk: a fan-out, a check that may start over, an agent's loop, a part, a reviewer; a
/// pool, a hosted model, rented capacity and devices behind three models.
pub(crate) const DESK: &str = r#"
[scenario]
horizon = "10m"

[traffic.web]
task = "reply"
arrivals = { kind = "poisson", rate = "1/s" }
sessions = { turns = { kind = "fixed", tokens = 3 }, think = { kind = "exponential", mean = "5s" }, memory = { after_tokens = 900, ratio = 0.1 } }
input = { kind = "lognormal", p50 = 200, p95 = 500 }
output = { kind = "fixed", tokens = 80 }
tenants = { count = 50, zipf = 1.0 }
patience = { kind = "exponential", mean = "2m" }
resubmit = { max = 2, probability = 0.5, pause = { kind = "fixed", length = "3s" } }
attributes = { mood = { uniform = [0.5, 1.0] } }

[attributes.tier]
values = { free = 3, enterprise = 1 }
per = "tenant"

[attributes.mood]
uniform = [0, 1]

[intents.draft]
confidence = 0.6
quality = { small = { success = 0.8, unsafe = 0.02 }, big = { success = 0.95 }, local = { success = 0.6 } }

[intents.classify]

[tasks.reply]
value = "$0.12"
harm_cost = "$5"
p95_latency_slo_ms = 30000
observability = "$0.0001"
steps = [
  { id = "send", tool = "mailer", acts = true, after = ["review", "guard"] },
  { id = "triage", model_call = { intent = "classify", model = "local", input = { kind = "fixed", tokens = 300 }, output = { kind = "fixed", tokens = 5 }, query = { topics = 1000 } } },
  { id = "search", retrieval = "kb", after = ["triage"] },
  { id = "account", tool = "crm", after = ["triage"], required = false },
  { id = "agent", sub_task = "research", after = ["triage"], when = "tier == 'enterprise' and mood > 0.2" },
  { id = "draft", model_call = { intent = "draft", model = "small" }, after = ["search", "account", "agent"] },
  { id = "verify", model_call = { intent = "classify", model = "big", input = { kind = "fixed", tokens = 400 }, output = { kind = "fixed", tokens = 5 } }, after = ["draft"], repeat_until_success = 2, check = { sensitivity = 0.9, specificity = 0.95, then = "go_on" } },
  { id = "guard", safety_check = "filter", after = ["verify"], check = { of = "draft" } },
  { id = "review", human_review = "desk", after = ["verify"], when = "tier == 'enterprise' and mood > 0.9", check = { of = "draft", sensitivity = 0.99 } },
  { id = "remember", model_call = { memory = true, model = "small" }, after = ["draft"] },
]

[tasks.research]
steps = [
  { id = "think", model_call = { model = "big", input = { kind = "fixed", tokens = 900 }, output = { kind = "fixed", tokens = 60 } }, loop = { kind = "geometric", mean = 3, max = 20 } },
  { tool = "crm", parallel = 3 },
]

[models.small]
served_by = ["h100", "mini"]

[models.big]
served_by = [{ backend = "h100", weight = 1 }, { backend = "units", weight = 3 }]

[models.local]
served_by = ["phones", "mini"]

[pools.h100]
price = "$2.99/h"
engine_args = { num_gpu_blocks_override = 10000 }
step_time = { fixed = "5ms", per_token = "20us", per_kv_token = "50ns" }

[providers.mini]
catalog = "openai/gpt-4o-mini"
rpm = 600
tpm = 200000
burst = "10s"
discount = 0.5
hourly = [["0h", 1.0], ["14h", 1.5]]
incidents = [{ at = "4m", length = "1m", error_rate = 0.3, slowness = "2x" }]

[provisioned.units]
units = 2
price = "$10/h"
discount = 0.2
concurrency = 8
scale_to_zero = true
cold_start = { start = { kind = "fixed", length = "20s" }, idle_after = "1m" }
ttft = { kind = "fixed", length = "200ms" }
tpot = { kind = "fixed", length = "10ms" }
max_context = 32000

[devices.phones]
classes = [{ name = "new", share = 0.4 }, { name = "old", share = 0.3, slowness = 3, throttled = 0.1 }]
ttft = { kind = "fixed", length = "400ms" }
per_input_token = "1ms"
tpot = { kind = "fixed", length = "40ms" }
max_context = 4096

[tools]
kb = { kind = "retrieval", latency = { kind = "lognormal", p50 = "60ms", p95 = "200ms" }, per_call = "$0.0002" }
crm = { latency = { kind = "fixed", length = "100ms" }, concurrency = 4, queue_limit = 20, error_rate = 0.02 }
mailer = { latency = { kind = "fixed", length = "20ms" } }
filter = { kind = "safety_check", latency = { kind = "fixed", length = "30ms" } }
desk = { kind = "human_review", latency = { kind = "exponential", mean = "30s" }, concurrency = 3, per_hour = "$40/h" }

[gates]
p99 = "<= +2% or +20ms, <= 60s, else warn"
reply.success_rate = ">= -0.5%"
spend = "<= +$5"

[check]
pairs = 12
confidence = 0.9

[levers]
pools.h100.replicas = "1..8 step 2"
providers.mini.discount = "0.1..0.5 in 5"
models.small.served_by = [["h100"], ["h100", "mini"]]
"#;

/// Loads a text with overrides.
pub(crate) fn load(text: &str, overrides: &[&str]) -> Result<Resolved, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
    load_str("test.toml", text, &overrides)
}

/// Loads [`SMALL`] with overrides.
pub(crate) fn small(overrides: &[&str]) -> Result<Resolved, Problems> {
    load(SMALL, overrides)
}

/// A folder that goes away with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("surgeline-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("inner")).expect("a scratch folder");
        Folder(path)
    }

    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(file);
        fs::write(&path, bytes).expect("a scratch file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
