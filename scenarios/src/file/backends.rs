//! Places outside our pools: `[providers.NAME]`, `[provisioned.NAME]`, `[devices.NAME]`,
//! `[tools.NAME]`.
//!
//! Invariants: what all of them have in common is read by the same functions under the same keys.
//!
//! Deliberately absent: facts of the catalogue (see `calibrate`).

use super::duration_dist;
use crate::kinds::{
    Choice, Count, DURATION, Dollars, Duration, Flag, LENGTH_OF_TIME, NAME, Number, TOKENS, Whole,
};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::Reader;
use sim::backends::{Discipline, ToolCost};
use sim::dist::DurationDist;
use sim::units::{Money, Span};

/// What kind of place a table describes, with what only that kind has.
pub(crate) enum PlaceFile {
    Hosted(Box<HostedFile>),
    Provisioned(Box<ProvisionedFile>),
    Device(Vec<DeviceClassFile>),
}

/// A place where model calls run.
pub(crate) struct RemoteFile {
    pub(crate) place: PlaceFile,
    pub(crate) ttft: Option<DurationDist>,
    pub(crate) per_input_token: Option<At<Span>>,
    pub(crate) tpot: Option<DurationDist>,
    /// `(time of the day, factor)`.
    pub(crate) hourly: Vec<(Span, f64)>,
    pub(crate) station: StationFile,
    pub(crate) limits: LimitsFile,
    pub(crate) error_rate: Option<At<f64>>,
    pub(crate) incidents: Vec<IncidentFile>,
    pub(crate) prompt_cache: Option<PromptCacheFile>,
    pub(crate) max_context: Option<At<u32>>,
    pub(crate) site: Site,
}

/// What only a hosted API has.
pub(crate) struct HostedFile {
    pub(crate) catalog: Option<At<String>>,
    pub(crate) input: Option<At<Money>>,
    pub(crate) cached_input: Option<At<Money>>,
    pub(crate) cache_write: Option<At<Money>>,
    pub(crate) output: Option<At<Money>>,
    pub(crate) per_call: Option<At<Money>>,
    pub(crate) discount: Option<At<f64>>,
}

/// What only capacity rented by the hour has.
pub(crate) struct ProvisionedFile {
    pub(crate) units: Option<At<u32>>,
    pub(crate) price: Option<At<Money>>,
    pub(crate) discount: Option<At<f64>>,
    pub(crate) cold_start: Option<ColdStartFile>,
    pub(crate) scale_to_zero: Option<At<bool>>,
}

/// Going to sleep and waking up.
pub(crate) struct ColdStartFile {
    pub(crate) start: DurationDist,
    pub(crate) idle_after: Option<At<Span>>,
}

/// Places and a queue.
pub(crate) struct StationFile {
    pub(crate) concurrency: Option<At<u32>>,
    pub(crate) queue_limit: Option<At<u32>>,
    pub(crate) discipline: Option<At<Discipline>>,
}

/// Rate limits, per minute.
pub(crate) struct LimitsFile {
    pub(crate) rpm: Option<At<i64>>,
    pub(crate) tpm: Option<At<i64>>,
    pub(crate) input_tpm: Option<At<i64>>,
    pub(crate) output_tpm: Option<At<i64>>,
    pub(crate) burst: Option<At<Span>>,
}

/// A time during which a place is worse than usual.
pub(crate) struct IncidentFile {
    pub(crate) at: Option<At<Span>>,
    pub(crate) length: Option<At<Span>>,
    pub(crate) error_rate: Option<At<f64>>,
    pub(crate) slowness: Option<At<f64>>,
    pub(crate) error_after: Option<At<Span>>,
}

/// A provider's cache of prompt prefixes.
pub(crate) struct PromptCacheFile {
    pub(crate) ttl: Option<At<Span>>,
    pub(crate) min_tokens: Option<At<u32>>,
    pub(crate) granularity: Option<At<u32>>,
    pub(crate) capacity: Option<At<u32>>,
}

/// A class of devices among the users.
pub(crate) struct DeviceClassFile {
    pub(crate) name: Option<At<String>>,
    pub(crate) share: Option<At<f64>>,
    pub(crate) slowness: Option<At<f64>>,
    pub(crate) throttled: Option<At<f64>>,
    pub(crate) throttled_slowness: Option<At<f64>>,
}

/// `[tools.NAME]`.
pub(crate) struct ToolFile {
    pub(crate) cost: Option<At<ToolCost>>,
    pub(crate) latency: Option<DurationDist>,
    pub(crate) station: StationFile,
    pub(crate) error_rate: Option<At<f64>>,
    pub(crate) incidents: Vec<IncidentFile>,
    pub(crate) per_call: Option<At<Money>>,
    pub(crate) per_hour: Option<At<Money>>,
}

/// A probability.
const SHARE: Number = Number::within(0.0, 1.0);
/// A factor on times that makes nothing faster.
const SLOWER: Number = Number { min: 1.0, max: 10_000.0, above: false, factor: true };
/// A factor on times.
const SLOWNESS: Number = Number { min: 0.001, max: 10_000.0, above: false, factor: true };
/// A share that is taken off a price.
const DISCOUNT: Number = Number::within(0.0, 0.999);
/// Attempts in work or waiting.
const PLACES: Count = Count { min: 1, max: 10_000_000 };
/// Units of a rate limit per minute.
const PER_MINUTE: Whole = Whole { min: 1, max: 1_000_000_000_000 };
/// An instant of the day.
const OF_DAY: Duration = Duration { min: Span::ZERO, max: Span::from_secs(86_399) };

pub(super) fn provider(r: &mut Reader<'_>) -> RemoteFile {
    let per_million = Dollars("/Mtok");
    let place = PlaceFile::Hosted(Box::new(HostedFile {
        catalog: r.may(
            "catalog",
            NAME,
            "Row of the catalogue that fills in what is not written, \"openai/gpt-4o-mini\".",
        ),
        input: r.may("input", per_million, "Price of prompt tokens, \"$0.15/Mtok\"."),
        cached_input: r.may(
            "cached_input",
            Dollars("/Mtok"),
            "Price of prompt tokens found in its prompt cache. Default: that of input.",
        ),
        cache_write: r.may(
            "cache_write",
            Dollars("/Mtok"),
            "Price of prompt tokens written to its prompt cache. Default: that of input.",
        ),
        output: r.may("output", Dollars("/Mtok"), "Price of answer tokens."),
        per_call: r.or("per_call", Dollars(""), "$0", "Price of a call besides."),
        discount: r.or(
            "discount",
            DISCOUNT,
            "0.0",
            "Share taken off the token prices: a batch or commitment discount.",
        ),
    }));
    remote(r, place)
}

pub(super) fn provisioned(r: &mut Reader<'_>) -> RemoteFile {
    let place = PlaceFile::Provisioned(Box::new(ProvisionedFile {
        units: r.or("units", Count { min: 1, max: 100_000 }, "1", "Units rented."),
        price: r.need("price", Dollars("/h"), "Price of one unit for an hour, \"$20/h\"."),
        discount: r.or(
            "discount",
            DISCOUNT,
            "0.0",
            "Share taken off the price for a commitment or reservation.",
        ),
        cold_start: r.table("cold_start", "Going to sleep and waking up.", cold_start).flatten(),
        scale_to_zero: r.may(
            "scale_to_zero",
            Flag,
            "Whether it sleeps when idle, and time asleep is free; false: it is awake from the start \
             on and throughout. Default: true where `cold_start` has an `idle_after`.",
        ),
    }));
    remote(r, place)
}

fn cold_start(r: &mut Reader<'_>) -> Option<ColdStartFile> {
    let start = r.need_table("start", "Time to wake up.", duration_dist);
    let idle_after = r.may(
        "idle_after",
        LENGTH_OF_TIME,
        "Idle time after which it sleeps. Default: it starts cold once.",
    );
    Some(ColdStartFile { start: start.flatten()?, idle_after })
}

pub(super) fn device(r: &mut Reader<'_>) -> RemoteFile {
    let classes =
        r.list("classes", "Classes of device; the other users have none.", |r| DeviceClassFile {
            name: r.need("name", NAME, "Name in reports."),
            share: r.need("share", SHARE, "Share of the users."),
            slowness: r.or("slowness", SLOWNESS, "1.0", "Factor on all times."),
            throttled: r.or(
                "throttled",
                SHARE,
                "0.0",
                "Probability that it is throttled at a call, by heat or battery.",
            ),
            throttled_slowness: r.or(
                "throttled_slowness",
                SLOWER,
                "2.0",
                "Factor on all times when throttled.",
            ),
        });
    remote(r, PlaceFile::Device(classes))
}

fn remote(r: &mut Reader<'_>, place: PlaceFile) -> RemoteFile {
    let needed = "Needed unless the catalogue has it.";
    RemoteFile {
        place,
        ttft: r
            .table(
                "ttft",
                &format!("Time to first token of an empty prompt. {needed}"),
                duration_dist,
            )
            .flatten(),
        per_input_token: r.or(
            "per_input_token",
            DURATION,
            "0s",
            "Time to first token added by each uncached prompt token.",
        ),
        tpot: r
            .table("tpot", &format!("Time per further token. {needed}"), duration_dist)
            .flatten(),
        hourly: hourly(r),
        station: station(r),
        limits: LimitsFile {
            rpm: r.may("rpm", PER_MINUTE, "Calls per minute."),
            tpm: r.may("tpm", PER_MINUTE, "Prompt and answer tokens per minute."),
            input_tpm: r.may("input_tpm", PER_MINUTE, "Uncached prompt tokens per minute."),
            output_tpm: r.may("output_tpm", PER_MINUTE, "Answer tokens per minute."),
            burst: r.or(
                "burst",
                Duration { min: Span::from_millis(1), max: Span::from_secs(86_400) },
                "1m",
                "Time's worth of the limits that may be used at once.",
            ),
        },
        error_rate: r.or("error_rate", SHARE, "0.0", "Probability of a server error at any time."),
        incidents: r.list("incidents", "Times when it is worse than usual.", incident),
        prompt_cache: r.table("prompt_cache", "Its own cache of prompt prefixes.", prompt_cache),
        max_context: r.may("max_context", TOKENS, &format!("Longest prompt plus answer. {needed}")),
        site: r.site().clone(),
    }
}

/// The daily curve of slowness, in order of time.
fn hourly(r: &mut Reader<'_>) -> Vec<(Span, f64)> {
    let doc = "Factors on all times over the day, `[[\"9h\", 1.0], [\"14h\", 1.6]]`, straight lines \
               between them. Default: always 1.";
    let knots = r.pairs("hourly", (OF_DAY, SLOWNESS), doc);
    if knots.windows(2).any(|pair| pair[1].0 <= pair[0].0) {
        r.refuse(ProblemKind::Conflict, "the knots of `hourly` are not in order of time");
        return Vec::new();
    }
    knots
}

fn station(r: &mut Reader<'_>) -> StationFile {
    StationFile {
        concurrency: r.may(
            "concurrency",
            PLACES,
            "What it works on at once (of provisioned capacity: each unit). Default: any number.",
        ),
        queue_limit: r.may(
            "queue_limit",
            Count { min: 0, max: 10_000_000 },
            "What may wait for a place; one more is refused as overloaded. Default: any number.",
        ),
        discipline: r.may(
            "discipline",
            Choice(&[
                ("fifo", Discipline::Fifo),
                ("priority", Discipline::Priority),
                ("shortest-first", Discipline::ShortestFirst),
            ]),
            "Who leaves the queue first. Default: fifo.",
        ),
    }
}

fn incident(r: &mut Reader<'_>) -> IncidentFile {
    IncidentFile {
        at: r.need("at", DURATION, "Start."),
        length: r.need("length", LENGTH_OF_TIME, "Length."),
        error_rate: r.or(
            "error_rate",
            SHARE,
            "0.0",
            "Probability of a server error; 1: an outage.",
        ),
        slowness: r.or("slowness", SLOWER, "1.0", "Factor on all times."),
        error_after: r.or("error_after", DURATION, "1s", "How long a failure takes to show."),
    }
}

fn prompt_cache(r: &mut Reader<'_>) -> PromptCacheFile {
    PromptCacheFile {
        ttl: r.or("ttl", LENGTH_OF_TIME, "5m", "How long a prefix stays after its last use."),
        min_tokens: r.or("min_tokens", TOKENS, "1024", "Shortest prompt that is cached."),
        granularity: r.or("granularity", TOKENS, "128", "Cached prefixes are multiples of this."),
        capacity: r.or(
            "capacity",
            Count { min: 1, max: 10_000_000 },
            "100000",
            "Prefixes kept at once; the least recently used goes first.",
        ),
    }
}

pub(super) fn tool(r: &mut Reader<'_>) -> ToolFile {
    ToolFile {
        cost: r.or(
            "kind",
            Choice(&[
                ("retrieval", ToolCost::Retrieval),
                ("tool", ToolCost::Tool),
                ("safety_check", ToolCost::SafetyCheck),
                ("formatting", ToolCost::Formatting),
                ("human_review", ToolCost::HumanReview),
            ]),
            "tool",
            "What it is, and what its cost is called.",
        ),
        latency: r.need_table("latency", "How long a use takes.", duration_dist).flatten(),
        station: station(r),
        error_rate: r.or("error_rate", SHARE, "0.0", "Probability that a use fails."),
        incidents: r.list("incidents", "Times when it is worse than usual.", incident),
        per_call: r.or("per_call", Dollars(""), "$0", "Price of a use."),
        per_hour: r.or(
            "per_hour",
            Dollars("/h"),
            "$0/h",
            "Price of an hour of use, a reviewer's wage.",
        ),
    }
}
