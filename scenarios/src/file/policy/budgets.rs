//! `[budgets.TASK]` and `[[spend_limits]]`: what one task, and all of them, may use up.
//!
//! Invariants: a rung written as a plain name is a table in which everything is left out.
//!
//! Deliberately absent: defaults of rungs and the target of a smaller model (see `resolve`).

use crate::document::Node;
use crate::kinds::{
    Choice, Count, Dollars, Kind, LENGTH_OF_TIME, LONGEST_RUN, NAME, Number, Refusal, Whole,
};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::{Either, Reader};
use serde_json::{Value as Json, json};
use sim::price::MONTH;
use sim::units::{Money, Span};

/// Limits of one kind of task.
pub(crate) struct BudgetFile {
    pub(crate) max_model_calls: Option<At<u32>>,
    pub(crate) max_input_tokens: Option<At<u32>>,
    pub(crate) max_output_tokens: Option<At<u32>>,
    pub(crate) max_tool_time: Option<At<Span>>,
    pub(crate) max_latency: Option<At<Span>>,
    /// The task's `p95_latency_slo`, which may stand here too.
    pub(crate) latency_slo: Option<At<Span>>,
    pub(crate) on_exceeded: Vec<RungFile>,
}

/// One rung of the ladder of degradation.
pub(crate) struct RungFile {
    pub(crate) kind: RungKind,
    pub(crate) keep: Option<At<f64>>,
    pub(crate) quality: Option<At<f64>>,
    pub(crate) similarity: Option<At<f64>>,
    pub(crate) model: Option<At<String>>,
    pub(crate) site: Site,
}

/// What a rung does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RungKind {
    ShorterContext,
    SmallerModel,
    CachedAnswer,
    PartialResult,
    Refine,
}

/// One of `[[spend_limits]]`.
pub(crate) struct SpendLimitFile {
    /// `Ok`: everybody's, or each tenant's own.
    pub(crate) scope: Option<Result<At<ScopeFile>, Option<At<String>>>>,
    pub(crate) limit: Option<At<Money>>,
    pub(crate) period: Option<Span>,
    pub(crate) then: Option<ThenFile>,
}

/// Whose spend, when it is not that of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeFile {
    All,
    EachTenant,
}

/// What a used-up limit does.
pub(crate) enum ThenFile {
    Refuse,
    SmallerModel(Option<At<String>>),
}

const RUNGS: Choice<RungKind> = Choice(&[
    ("shorter_context", RungKind::ShorterContext),
    ("smaller_model", RungKind::SmallerModel),
    ("cached_answer", RungKind::CachedAnswer),
    ("partial_result", RungKind::PartialResult),
    ("refine", RungKind::Refine),
]);
/// Something a task may use up.
const LIMIT: Count = Count { min: 1, max: 1_000_000_000 };
const SHARE: Number = Number::within(0.0, 1.0);

pub(super) fn budget(r: &mut Reader<'_>) -> BudgetFile {
    let slo = "95 of 100 tasks are to end within this time; may stand in the task instead.";
    let slo = r.may("p95_latency_slo", LENGTH_OF_TIME, slo);
    let ms = Whole { min: 1, max: 8_640_000_000 };
    let slo_ms = r.may("p95_latency_slo_ms", ms, "The same in whole milliseconds.");
    if r.has("p95_latency_slo") && r.has("p95_latency_slo_ms") {
        let message = "`p95_latency_slo` and `p95_latency_slo_ms` say the same; write one of them";
        r.refuse(ProblemKind::Conflict, message);
    }
    let from_ms = |ms: At<i64>| ms.map(|ms| Span::from_millis(ms.unsigned_abs()));
    let on_exceeded = r.eithers(
        "on_exceeded",
        RUNGS,
        rung,
        "What is tried, in order, when a limit would be passed; after the last the task fails.",
    );
    BudgetFile {
        max_model_calls: r.may("max_model_calls", LIMIT, "Model calls, retries not counted."),
        max_input_tokens: r.may("max_input_tokens", LIMIT, "Prompt tokens of all its calls."),
        max_output_tokens: r.may("max_output_tokens", LIMIT, "Tokens of all its answers."),
        max_tool_time: r.may("max_tool_time", LENGTH_OF_TIME, "Time in tools."),
        max_latency: r.may("max_latency", LENGTH_OF_TIME, "Time from its beginning: a deadline."),
        latency_slo: slo.or(slo_ms.map(from_ms)),
        on_exceeded: on_exceeded.into_iter().filter_map(plain_or_table).collect(),
    }
}

fn plain_or_table(item: Either<Choice<RungKind>, Option<RungFile>>) -> Option<RungFile> {
    match item {
        Ok(plain) => Some(RungFile::new(plain.value, plain.site)),
        Err(table) => table,
    }
}

impl RungFile {
    fn new(kind: RungKind, site: Site) -> RungFile {
        let (keep, quality, similarity, model) = (None, None, None, None);
        RungFile { kind, keep, quality, similarity, model, site }
    }
}

fn rung(r: &mut Reader<'_>) -> Option<RungFile> {
    r.tagged(
        "rung",
        "What is done.",
        &[
            ("shorter_context", |r| {
                let keep = Number { min: 0.0, max: 1.0, above: true, factor: false };
                let keep = r.may("keep", keep, "Share of the prompt that is kept. Default: 0.5.");
                let quality = "Factor on the probability of a right answer. Default: 0.95.";
                let quality = r.may("quality", SHARE, quality);
                let rung = RungFile::new(RungKind::ShorterContext, r.site().clone());
                Some(RungFile { keep, quality, ..rung })
            }),
            ("smaller_model", |r| {
                let model = r.may("model", NAME, "The model. Default: routing.default_model.");
                let rung = RungFile::new(RungKind::SmallerModel, r.site().clone());
                Some(RungFile { model, ..rung })
            }),
            ("cached_answer", |r| {
                let similarity = "Similarity from which a cached answer will do. Default: 0.8.";
                let similarity = r.may("similarity", Number::positive(1.0), similarity);
                let rung = RungFile::new(RungKind::CachedAnswer, r.site().clone());
                Some(RungFile { similarity, ..rung })
            }),
            ("partial_result", |r| {
                let quality = "Probability that what there is will do. Default: 0.5.";
                let quality = r.may("quality", SHARE, quality);
                let rung = RungFile::new(RungKind::PartialResult, r.site().clone());
                Some(RungFile { quality, ..rung })
            }),
            ("refine", |r| Some(RungFile::new(RungKind::Refine, r.site().clone()))),
        ],
    )
}

/// Dollars, or dollars per a usual period.
struct Spending;

/// Periods by the suffix of an amount.
const PERIODS: [(&str, Span); 8] = [
    ("/h", Span::from_secs(3_600)),
    ("/hour", Span::from_secs(3_600)),
    ("/d", Span::from_secs(86_400)),
    ("/day", Span::from_secs(86_400)),
    ("/w", Span::from_secs(7 * 86_400)),
    ("/week", Span::from_secs(7 * 86_400)),
    ("/month", MONTH),
    ("", Span::ZERO),
];

impl Kind for Spending {
    /// With the period, zero when none is written.
    type Value = (Money, Span);
    fn read(&self, node: &Node) -> Result<(Money, Span), Refusal> {
        let written = |suffix: &str| match &node.value {
            crate::document::Value::Text(text) => text.ends_with(suffix),
            _ => false,
        };
        let (suffix, period) =
            PERIODS.into_iter().find(|(suffix, _)| written(suffix)).unwrap_or(("", Span::ZERO));
        let money = Dollars(suffix).read(node).map_err(|(kind, message, _)| {
            (kind, message, Some("write it like \"$50/day\"".to_owned()))
        })?;
        Ok((money, period))
    }
    fn schema(&self) -> Json {
        let pattern = r"^\$\d+(\.\d+)?(/h|/hour|/d|/day|/w|/week|/month)?$";
        json!({"type": "string", "pattern": pattern, "examples": ["$50/day"]})
    }
}

pub(super) fn spend_limit(r: &mut Reader<'_>) -> SpendLimitFile {
    const SCOPES: Choice<ScopeFile> =
        Choice(&[("all", ScopeFile::All), ("each_tenant", ScopeFile::EachTenant)]);
    let scope = r.either(
        "scope",
        SCOPES,
        |r| r.need("task", NAME, "The kind of task whose spend it is."),
        "Whose spend: all, each_tenant, or that of one task. Default: all.",
    );
    let limit = r.need("limit", Spending, "How much, \"$50/day\"; or \"$50\" with a period.");
    let longest = crate::kinds::Duration { min: Span::from_secs(1), max: LONGEST_RUN };
    let period = r.may("period", longest, "Per this time, counted from the start of the run.");
    let of_limit = limit.as_ref().map(|limit| limit.value.1).filter(|&period| period > Span::ZERO);
    match (&period, of_limit, &limit) {
        (Some(_), Some(_), _) => {
            r.refuse(ProblemKind::Conflict, "the period is written twice: `limit` has one");
        }
        (None, None, Some(_)) if !r.has("period") => {
            r.refuse(ProblemKind::MissingKey, "no period; write `limit` like \"$50/day\"");
        }
        _ => {}
    }
    let then = r.either(
        "then",
        Choice(&[("refuse", ())]),
        smaller_model_of,
        "What happens to tasks that begin when it is used up. Default: refuse.",
    );
    SpendLimitFile {
        scope,
        limit: limit.map(|limit| limit.map(|(money, _)| money)),
        period: of_limit.or(period.map(|period| period.value)),
        then: match then {
            Some(Err(model)) => Some(ThenFile::SmallerModel(model)),
            Some(Ok(_)) => Some(ThenFile::Refuse),
            None => (!r.has("then")).then_some(ThenFile::Refuse),
        },
    }
}

fn smaller_model_of(r: &mut Reader<'_>) -> Option<At<String>> {
    r.need("smaller_model", NAME, "All calls of such a task go to this model.")
}
