//! What is spent: on what, for what, and when.

use super::arms::Arm;
use super::timeline::Timeline;
use super::{Axis, Drawing, Line, Mark, Measure, Picture, Stacks};
use crate::format;
use crate::names::spend_words;
use sim::price::{SpendLimit, SpendScope};
use sim::units::{Money, PS_PER_SEC, Span};

/// Seconds of a day and of an hour.
const DAY: f64 = 86_400.0;
const HOUR: f64 = 3_600.0;

fn dollars(amount: Money) -> f64 {
    amount.0 as f64 / 1e12
}

/// Dollars of rent per second.
fn rent(arm: &Arm<'_>) -> f64 {
    let by = arm.result.spend.by;
    let seconds = arm.result.measured.as_secs_f64();
    if seconds > 0.0 { dollars(by.gpu + by.provisioned) / seconds } else { 0.0 }
}

/// A day by cause.
pub(super) fn by_cause(arms: &[Arm<'_>]) -> Option<Picture> {
    let days = |arm: &Arm<'_>| arm.result.measured.0 as f64 / PS_PER_SEC as f64 / DAY;
    let row = |arm: &Arm<'_>| {
        let sizes = arm.result.spend.by.parts().map(|(_, amount)| dollars(amount) / days(arm));
        (arm.whole("a day", arms.len()), sizes.to_vec())
    };
    let names = arms.first()?.result.spend.by.parts();
    let stacks = Stacks {
        measure: Measure::Dollars,
        parts: names.map(|(key, _)| spend_words(key)).to_vec(),
        rows: arms.iter().map(row).collect(),
    };
    Picture::of(
        "spend-by-cause",
        "What a day costs, by cause",
        "Spend of the measured time, scaled to 24 hours; the mean of all replications.",
        Drawing::Stacks(stacks.without_empty_parts()),
    )
}

/// A successful task by what was bought.
pub(super) fn of_success(arms: &[Arm<'_>]) -> Option<Picture> {
    let mut parts: Vec<&'static str> = Vec::new();
    let items = arms.iter().filter_map(|arm| arm.result.cost_drivers.as_ref());
    for item in items.flat_map(|drivers| &drivers.items) {
        if !parts.contains(&item.key) {
            parts.push(item.key);
        }
    }
    let row = |arm: &Arm<'_>| {
        let drivers = arm.result.cost_drivers.as_ref()?;
        let size = |key: &&'static str| {
            let item = drivers.items.iter().find(|item| item.key == *key);
            item.and_then(|item| item.per_successful_task_usd.value).unwrap_or_default().max(0.0)
        };
        Some((arm.whole("a successful task", arms.len()), parts.iter().map(size).collect()))
    };
    let stacks = Stacks {
        measure: Measure::Dollars,
        rows: arms.iter().filter_map(row).collect(),
        parts: parts.iter().map(|key| spend_words(key)).collect(),
    };
    Picture::of(
        "success-cost",
        "What a successful task pays for",
        "All spend over all tasks that ended well, by what was bought with it.",
        Drawing::Stacks(stacks.without_empty_parts()),
    )
}

/// Metered dollars of a place, per replication.
fn metered(arm: &Arm<'_>, timeline: &Timeline) -> Vec<Option<f64>> {
    let windows = &arm.result.series.windows;
    let runs = f64::from(arm.result.replications.max(1));
    timeline.values(arm, |place| place.sum(windows, |window| dollars(window.metered) / runs))
}

/// Dollars per hour.
pub(super) fn over_time(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let mut lines = Vec::new();
    for arm in arms {
        let rent = rent(arm) * HOUR;
        // Nothing is booked before the measured time.
        let seconds = timeline.values(arm, |place| {
            Some(place.seconds_after(arm.result.warm_up)).filter(|&seconds| seconds > 0.0)
        });
        let metered = metered(arm, &timeline);
        let metered: Vec<Option<f64>> =
            metered.iter().zip(seconds).map(|(sum, secs)| Some((*sum)? / secs? * HOUR)).collect();
        let all = metered.iter().map(|metered| metered.map(|metered| metered + rent)).collect();
        lines.push(Line { name: arm.named("all", arms.len()), values: all });
        if rent > 0.0 && metered.iter().flatten().any(|&metered| metered > 0.0) {
            lines.push(Line { name: arm.named("metered", arms.len()), values: metered });
        }
    }
    let caption = format!(
        "Rent by the hour and what was metered within {}, booked when it ends, from the end of the \
         warm-up on; the mean of all replications.",
        timeline.width_text()
    );
    let y = Axis::new("spend per hour", Measure::Dollars);
    timeline.picture(
        arms,
        ("spend-over-time", "When the money is spent", &caption),
        y,
        lines,
        Vec::new(),
    )
}

/// What a limit on everybody's spend is called.
fn limit_name(limit: &SpendLimit) -> String {
    const NAMED: [(u64, &str); 4] =
        [(3_600, "h"), (86_400, "day"), (7 * 86_400, "week"), (2_629_800, "month")];
    let named = NAMED.iter().find(|(seconds, _)| Span::from_secs(*seconds) == limit.period);
    let period = named.map_or_else(|| format::span(limit.period), |(_, name)| (*name).to_owned());
    format!("spend limit {}/{period}", format::money(limit.limit))
}

/// What limits on everybody's spend let be metered from the end of the warm-up on before they act: a
/// limit is whole again when a period begins, so that it rises in steps. That of a task or a tenant
/// says nothing of the whole.
fn allowances(arm: &Arm<'_>, at: &[f64]) -> Vec<Line> {
    let (warm_up, horizon) = (arm.result.warm_up, arm.result.horizon);
    let whole = |limit: &&SpendLimit| limit.scope == SpendScope::All && limit.period.0 > 0;
    let line = |limit: &SpendLimit| {
        let begun = |at: &f64| {
            let at = Span::from_secs_f64(*at).min(horizon);
            let periods = at.0.div_ceil(limit.period.0) - warm_up.0.min(at.0) / limit.period.0;
            (at > warm_up).then(|| dollars(limit.limit) * periods as f64)
        };
        Line { name: limit_name(limit), values: at.iter().map(begun).collect() }
    };
    arm.result.spend_limits.iter().filter(whole).map(line).collect()
}

/// The lines of limits, those that all arms have once.
fn limits(arms: &[Arm<'_>], at: &[f64]) -> Vec<Line> {
    let each: Vec<Vec<Line>> = arms.iter().map(|arm| allowances(arm, at)).collect();
    match each.as_slice() {
        [first, others @ ..] if others.iter().all(|other| other == first) => first.clone(),
        _ => {
            let of_arm = |(arm, lines): (&Arm<'_>, Vec<Line>)| -> Vec<Line> {
                let named = |line: Line| Line { name: arm.named(&line.name, arms.len()), ..line };
                lines.into_iter().map(named).collect()
            };
            arms.iter().zip(each).flat_map(of_arm).collect()
        }
    }
}

/// Dollars so far, beside the target of `spend.per_day` and what spend limits allow.
pub(super) fn summed(arms: &[Arm<'_>]) -> Option<Picture> {
    let timeline = Timeline::of(arms);
    let at = timeline.at();
    let limits = limits(arms, &at);
    let so_far = |arm: &Arm<'_>, rent: f64| -> Vec<Option<f64>> {
        let (warm_up, horizon) =
            (arm.result.warm_up.as_secs_f64(), arm.result.horizon.as_secs_f64());
        let mut sum = 0.0;
        let so_far = metered(arm, &timeline).into_iter().zip(&at).map(|(metered, &at)| {
            sum += metered?;
            Some(sum + rent * (at.min(horizon) - warm_up).max(0.0))
        });
        so_far.collect()
    };
    let mut lines = Vec::new();
    for arm in arms {
        let (rent, named) = (rent(arm), |what| arm.named(what, arms.len()));
        lines.push(Line { name: named("spend so far"), values: so_far(arm, rent) });
        if rent > 0.0 && !limits.is_empty() {
            lines.push(Line { name: named("metered so far"), values: so_far(arm, 0.0) });
        }
    }
    let mut caption = "From the end of the warm-up on; the mean of all replications.".to_owned();
    if !limits.is_empty() {
        caption.push_str(
            " A spend limit counts what is metered, no rent: its line is what it lets be spent by then \
             before it acts, and steps up where a period begins.",
        );
    }
    lines.extend(limits);
    let measured = arms.first()?.result.measured;
    let day = measured.as_secs_f64() / DAY;
    let targets = arms.iter().flat_map(|arm| &arm.result.objectives).filter_map(|judged| {
        let objective = &judged.objective;
        // A day's money, for as much of a day as is measured.
        let name = format!("{} {}, for {}", objective.name, objective.text, format::span(measured));
        (objective.name == "spend.per_day").then_some((objective.target * day, name))
    });
    let mut marks: Vec<Mark> = Vec::new();
    for (at, name) in targets {
        if marks.iter().all(|mark| mark.name != name) {
            marks.push(Mark { on_x: false, at, name });
        }
    }
    let y = Axis::new("spend so far", Measure::Dollars);
    timeline.picture(arms, ("spend-so-far", "How spend adds up", &caption), y, lines, marks)
}
