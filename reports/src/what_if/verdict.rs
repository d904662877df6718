//! The verdict of a what-if, in a sentence: what is spent, whether the objectives hold, and why not.

use super::{WhatIfReport, why};
use crate::contrast;
use crate::format::{Unit, number, span};
use crate::sections::reason;
use experiments::bottleneck::Bottleneck;
use experiments::what_if::WhatIf;
use experiments::{ObjectiveResult, RunResult};
use sim::units::Span;

/// The verdict: what is spent, whether the objectives hold, and why not.
#[must_use]
pub fn verdict(report: &WhatIfReport<'_>) -> String {
    let result = report.result;
    let (before, after) = (&result.compared.before, &result.compared.after);
    let spend = match (before.spend.per_month_usd.value, after.spend.per_month_usd.value) {
        (Some(today), Some(tomorrow)) if (tomorrow - today).abs() <= 0.005 * today => {
            format!("spends the same ({} per month)", number(tomorrow, Unit::Dollars))
        }
        (Some(today), Some(tomorrow)) if today > 0.0 => format!(
            "spends {}× ({} instead of {} per month)",
            number(tomorrow / today, Unit::Plain),
            number(tomorrow, Unit::Dollars),
            number(today, Unit::Dollars)
        ),
        (Some(_), Some(tomorrow)) => {
            format!("spends {} per month instead of nothing", number(tomorrow, Unit::Dollars))
        }
        _ => "has a spend that is not known".to_owned(),
    };
    let unchanged = match contrast::is_unchanged(&result.compared.contrast) {
        true => " This changes nothing that was measured.",
        false => "",
    };
    format!("With {} it {spend} and {}.{unchanged}", report.question, keeps(after, result))
}

/// Whether the objectives hold tomorrow.
fn keeps(after: &RunResult, result: &WhatIf) -> String {
    let open: Vec<&ObjectiveResult> =
        after.objectives.iter().filter(|judged| judged.met.is_none()).collect();
    if let Some((name, at)) = first_broken(result) {
        let was = before_too(name, result);
        let when = match at {
            Some(Span(0)) => " from the start".to_owned(),
            Some(at) => format!(" from {} on", span(at)),
            None => String::new(),
        };
        let because = because(name, at, result);
        let further = match result.broken.len() {
            1 => String::new(),
            n => format!(", and {} more", n - 1),
        };
        let verb = if was { "still breaks" } else { "breaks" };
        return format!("{verb} {name}{further}{when}{because}");
    }
    match (after.objectives.len(), open.first()) {
        (0, _) => "has no objective to keep".to_owned(),
        (_, Some(judged)) => {
            format!(
                "leaves {} undecided: {}",
                judged.objective.name,
                reason(judged).unwrap_or_default()
            )
        }
        (n, None) => {
            format!("stays within {}", if n == 1 { "its objective" } else { "all objectives" })
        }
    }
}

/// Why an objective breaks: what had given out by then, or else what takes longer.
fn because(name: &str, at: Option<Span>, result: &WhatIf) -> String {
    let slack = Span(result.compared.after.series.width.0.saturating_mul(2));
    let before = |bottleneck: &&Bottleneck| {
        at.is_none_or(|at| bottleneck.from.0 <= at.0.saturating_add(slack.0))
    };
    if let Some(bottleneck) = result.bottlenecks.iter().find(before) {
        return format!(", because {}", why(bottleneck));
    }
    let task = name.rsplit_once('.').map_or("", |(task, _)| task);
    let shift = result.compared.contrast.latency.iter().find(|shift| shift.task == task);
    match shift.and_then(contrast::main_cause) {
        Some(cause) => format!(", mainly {cause}{}", batches(result)),
        None => String::new(),
    }
}

/// How many requests run side by side, where that is what makes all of them slower.
fn batches(result: &WhatIf) -> String {
    let pools = result.compared.before.pools.iter().zip(&result.compared.after.pools);
    let grown = pools.filter_map(|(before, after)| {
        let (today, tomorrow) = (before.running_mean.value?, after.running_mean.value?);
        (tomorrow > 1.5 * today).then_some((
            tomorrow / today.max(1e-9),
            &after.name,
            today,
            tomorrow,
        ))
    });
    let Some((_, name, today, tomorrow)) = grown.max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return String::new();
    };
    let [today, tomorrow] = [today, tomorrow].map(|mean| number(mean, Unit::Plain));
    format!(" (a replica of {name} works on {tomorrow} requests at once instead of {today})")
}

/// The objective that breaks earliest, as far as the time is known.
fn first_broken(result: &WhatIf) -> Option<(&str, Option<Span>)> {
    let timed = result.broken.iter().filter(|(_, at)| at.is_some()).min_by_key(|(_, at)| *at);
    timed.or(result.broken.first()).map(|(name, at)| (name.as_str(), *at))
}

fn before_too(name: &str, result: &WhatIf) -> bool {
    let today = &result.compared.before.objectives;
    today.iter().any(|judged| judged.objective.name == name && judged.met == Some(false))
}
