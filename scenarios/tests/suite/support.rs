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
