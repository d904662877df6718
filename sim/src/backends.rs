//! Places outside our GPU pools where model calls and tools run: hosted APIs, provisioned
//! capacity, the user's device.
//!
//! All are one thing with parts: an optional station of a few places with a queue, token buckets
//! that refuse, a law of answering, things that go wrong, and a price. What the parts are called
//! in files (`[providers]`, `[provisioned]`, `[devices]`, `[tools]`) is a matter of `scenarios`.
//!
//! Here stands what they are made of; [`Remote`] and [`Tool`] are such a place at work. A place
//! decides and says when things will have happened; it keeps no agenda and calls nobody.

mod answering;
mod cold_start;
mod course;
mod incidents;
mod limits;
mod prompt_cache;
mod queue;
mod remote;
mod station;
mod tool;
mod usage;

#[cfg(test)]
mod tests;

pub use course::{Attempt, Course, Offer};
pub use queue::Spot;
pub use remote::Remote;
pub use tool::{Tool, ToolCall, ToolCourse, ToolOffer};
pub use usage::{MeterReading, RemoteUsage, ToolUsage};

use crate::dist::DurationDist;
use crate::units::{Money, Span, Time};

/// A place where model calls run that is not a pool of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteSpec {
    /// Name in files and reports.
    pub name: String,
    /// Stable key of its random streams (a hash of the name).
    pub key: u64,
    /// What it is.
    pub kind: RemoteKind,
    /// How fast it answers.
    pub answering: Answering,
    /// How many attempts it works on at once, and who waits.
    pub station: Station,
    /// What it refuses with 429.
    pub limits: Limits,
    /// Probability that an attempt ends in a server error at any time, in `[0, 1]`.
    pub error_rate: f64,
    /// When it is worse than usual.
    pub incidents: Vec<Incident>,
    /// What waking it up takes; `None`: always warm.
    pub cold_start: Option<ColdStart>,
    /// Its own cache of prompt prefixes.
    pub prompt_cache: Option<PromptCache>,
    /// Classes of device; empty unless `kind` is [`RemoteKind::Device`].
    pub devices: Vec<DeviceClass>,
    /// Longest prompt plus answer in tokens; a longer one is refused as too long.
    pub max_context: u32,
    /// What it costs.
    pub price: RemotePrice,
}

/// What kind of place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteKind {
    /// Somebody's API, paid by the token.
    Hosted,
    /// Capacity rented by the hour from somebody else.
    Provisioned,
    /// The user's own device.
    Device,
}

/// Law of the answer's timing: first token after
/// `ttft + input · per_input_token`, each further token after `tpot`, all times `slowness`.
#[derive(Clone, Debug, PartialEq)]
pub struct Answering {
    /// Time to first token of an empty prompt, network included.
    pub ttft: DurationDist,
    /// Added per uncached prompt token.
    pub per_input_token: Span,
    /// Time per further output token, one draw per attempt.
    pub tpot: DurationDist,
    /// `(instant of the day, factor > 0)`: factor on all times, straight lines between knots,
    /// repeating every 24 h; empty: always 1.
    pub slowness: Vec<(Time, f64)>,
}

/// Places and a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Attempts in work at once; `None`: any number, and nobody waits.
    pub servers: Option<u32>,
    /// Attempts that may wait; further ones are refused as overloaded. `None`: any number.
    pub queue_limit: Option<u32>,
    /// Who goes first.
    pub discipline: Discipline,
}

/// Who leaves a queue first; ties by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Discipline {
    /// First come, first served.
    #[default]
    Fifo,
    /// The smaller priority number first; nobody in work is interrupted.
    Priority,
    /// The shortest work first, as if it were known; nobody in work is interrupted.
    ShortestFirst,
}

/// Rate limits: token buckets that start full and refill continuously.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Attempts.
    pub requests: Option<Bucket>,
    /// Prompt plus answer tokens; the answer is charged as the client's cap, or what it will be.
    pub tokens: Option<Bucket>,
    /// Prompt tokens that are not cached.
    pub input_tokens: Option<Bucket>,
    /// Answer tokens, charged likewise.
    pub output_tokens: Option<Bucket>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Units that flow in per minute; positive.
    pub per_minute: u64,
    /// Units it holds at most; positive.
    pub burst: u64,
}

/// A time during which a place is worse than usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incident {
    /// Start.
    pub at: Time,
    /// Length.
    pub length: Span,
    /// Probability that an attempt that starts then ends in a server error; 1 is an outage.
    pub error_rate: f64,
    /// Factor on all times of attempts that start then, at least 1.
    pub slowness: f64,
    /// How long an attempt that fails takes to say so.
    pub error_after: Span,
}

/// Going to sleep and waking up.
#[derive(Clone, Debug, PartialEq)]
pub struct ColdStart {
    /// Time to wake up; attempts that come meanwhile wait for the same waking.
    pub start: DurationDist,
    /// Idle time after which it sleeps; `None`: it only starts cold once.
    pub idle_after: Option<Span>,
}

/// A provider's cache of prompt prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptCache {
    /// How long a prefix stays after its last use.
    pub ttl: Span,
    /// Shortest prompt that is cached, tokens.
    pub min_tokens: u32,
    /// Cached prefixes are multiples of this many tokens; at least 1.
    pub granularity: u32,
    /// Most prefixes kept at once; the least recently used goes first.
    pub capacity: u32,
}

/// A class of devices among the users.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceClass {
    /// Name in files and reports.
    pub name: String,
    /// Share of the users; all shares of a place sum to at most 1, the rest is not eligible.
    pub share: f64,
    /// Factor on all times, positive.
    pub slowness: f64,
    /// Probability that it is throttled (heat, battery) at a call.
    pub throttled: f64,
    /// Factor on all times when throttled, at least 1.
    pub throttled_slowness: f64,
}

/// What a place costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemotePrice {
    /// By what is used.
    Metered(Meter),
    /// By the hour, used or not: units × measured time.
    Hourly {
        /// Units rented; at least 1.
        units: u32,
        /// Price of one unit for one hour.
        per_unit_hour: Money,
        /// Whether time asleep is free (scale to zero).
        asleep_free: bool,
    },
    /// Nothing.
    Free,
}

/// Prices of a meter; all in whole pico-dollars, so that sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Meter {
    /// Per prompt token that is not cached.
    pub input: Money,
    /// Per prompt token read from the provider's cache.
    pub cached_input: Money,
    /// Per prompt token written to the provider's cache, on top of nothing: in place of `input`.
    pub cache_write: Money,
    /// Per answer token.
    pub output: Money,
    /// Per attempt that was let in.
    pub call: Money,
}

/// Something other than a model that a step uses: retrieval, a tool, a reviewer.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Name in files and reports.
    pub name: String,
    /// Stable key of its random streams.
    pub key: u64,
    /// What its cost is called.
    pub cost: ToolCost,
    /// How long a use takes.
    pub latency: DurationDist,
    /// Places and queue.
    pub station: Station,
    /// Probability that a use fails.
    pub error_rate: f64,
    /// When it is worse than usual.
    pub incidents: Vec<Incident>,
    /// Price of a use.
    pub per_call: Money,
    /// Price of an hour of use (a reviewer's wage).
    pub per_hour: Money,
}

/// What the cost of a tool is called in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToolCost {
    /// A search in documents or vectors.
    Retrieval,
    /// A tool call.
    Tool,
    /// A safety check that is no model call.
    SafetyCheck,
    /// Post-processing.
    Formatting,
    /// A person.
    HumanReview,
}
