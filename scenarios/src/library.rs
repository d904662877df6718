//! Scenarios, policies and recorded traffic that ship inside the program.
//!
//! Invariants: a scenario begins with the question it answers and a policy with what it does,
//! after the `#:schema` line that tells editors its keys; a scenario names shipped data as
//! `library:NAME` and its policy by the file beside it, and runs from any folder.
//!
//! Deliberately absent: results; a scenario's objectives say what it should show.

use crate::trace::TraceFormat;

/// A shipped scenario or policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Name on the command line.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
}

/// Shipped data: its name, its format and its bytes.
pub(crate) struct Data {
    pub(crate) name: &'static str,
    pub(crate) format: TraceFormat,
    pub(crate) bytes: &'static [u8],
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../library/", $folder, $name, ".toml")),
        }),*]
    };
}

const ALL: &[Shipped] = shipped!["":
    "azure-conversation",
    "azure-code-bursts",
    "mooncake-prefix-cache",
    "llama70b-h100-tp4",
    "kv-pressure",
    "million",
    "million-prefix",
    "starter",
    "support-reply",
    "hosted-api",
    "serverless-gpu",
    "self-hosted",
    "hybrid-routing",
    "on-device",
    "retry-storm",
    "provider-outage",
    "agent-fanout",
    "semantic-cache",
    "long-context-vs-memory",
    "flat-pricing-heavy-users",
];

const POLICIES: &[Shipped] = shipped!["policies/":
    "support-reply.main",
    "support-reply.good",
    "support-reply.bad",
    "provider-outage.main",
    "provider-outage.bad",
];

/// Recorded traffic; sources and licences are in `data/traces/README.md`.
pub(crate) const DATA: [Data; 3] = [
    Data {
        name: "azure-conv-2023",
        format: TraceFormat::Azure2023,
        bytes: include_bytes!("../data/traces/azure-conv-2023.first-half.csv.zst"),
    },
    Data {
        name: "azure-code-2023",
        format: TraceFormat::Azure2023,
        bytes: include_bytes!("../data/traces/azure-code-2023.csv.gz"),
    },
    Data {
        name: "mooncake-conversation",
        format: TraceFormat::Mooncake,
        bytes: include_bytes!("../data/traces/mooncake-conversation.jsonl.gz"),
    },
];

/// Every shipped scenario.
#[must_use]
pub fn all() -> &'static [Shipped] {
    ALL
}

/// The shipped scenario of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Shipped> {
    ALL.iter().find(|shipped| shipped.name == name)
}

/// Every shipped policy.
#[must_use]
pub fn policies() -> &'static [Shipped] {
    POLICIES
}

/// The shipped policy of that name, or of its file in the library.
#[must_use]
pub fn find_policy(name: &str) -> Option<&'static Shipped> {
    let stem = name.strip_prefix("policies/").unwrap_or(name);
    let stem = stem.strip_suffix(".toml").unwrap_or(stem);
    POLICIES.iter().find(|shipped| shipped.name == stem)
}

/// The shipped scenario that a misspelt name was probably meant for.
#[must_use]
pub fn meant(name: &str) -> Option<&'static Shipped> {
    find(crate::problem::nearest(name, ALL.iter().map(|shipped| shipped.name))?)
}

/// A commented scenario to start from, for a file of this name: its comments call it so, reports
/// call it by the file's stem, and no `#:schema` line names a schema that is not there.
#[must_use]
pub fn starter(file: &str) -> String {
    let text = include_str!("../library/starter.toml");
    // A name that would not stay on the line of its comment is not shown.
    let file = if file.chars().any(char::is_control) { "FILE" } else { file };
    let lines = text.lines().filter(|line| !line.starts_with("#:") && !line.starts_with("name ="));
    lines.map(|line| line.replace("run starter.toml", &format!("run {file}")) + "\n").collect()
}

impl Shipped {
    /// The question it answers, or what it does: its first line of prose.
    #[must_use]
    pub fn question(&self) -> &'static str {
        let prose = self.text.lines().find(|line| !line.starts_with("#:"));
        prose.unwrap_or_default().trim_start_matches('#').trim()
    }

    /// The name under which problems and provenance show it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("library/{}.toml", self.name)
    }
}
