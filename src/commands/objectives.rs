//! From what a file promises to what an experiment judges.

use experiments::{CallTime, Comparison, Metric, Objective, Quantile};
use scenarios::resolved::{self, Limit, Subject, TaskTime};
use sim::Scenario;
use sim::ids::TaskId;

/// The objectives of a scenario in the experiments' terms.
///
/// # Errors
/// An objective about a task's own TTFT or TPOT when other tasks call the same model: those times
/// are kept per model.
pub(super) fn translate(
    scenario: &Scenario,
    stated: &[resolved::Objective],
) -> Result<Vec<Objective>, String> {
    stated.iter().map(|objective| one(scenario, objective)).collect()
}

fn one(scenario: &Scenario, stated: &resolved::Objective) -> Result<Objective, String> {
    let metric = match stated.subject {
        Subject::Quantile { task, time, per_mille } => {
            let quantile = quantile(per_mille);
            match time {
                TaskTime::Latency => Metric::TaskLatency(task, quantile),
                TaskTime::Ttft => call(scenario, task, CallTime::Ttft, quantile, stated)?,
                TaskTime::Tpot => call(scenario, task, CallTime::Tpot, quantile, stated)?,
            }
        }
        Subject::SuccessRate(task) => Metric::SuccessRate(task),
        Subject::SloAttainment(task) => Metric::SloAttainment(task),
        Subject::Goodput(task) => Metric::Goodput(task),
        Subject::SpendPerDay => Metric::SpendPerDay,
        Subject::SpendPerMonth => Metric::SpendPerMonth,
        Subject::SpendPerSuccessfulTask => Metric::CostPerSuccessfulTask,
        Subject::MarginPerTask => Metric::MarginPerTask,
        Subject::Utilisation(pool) => Metric::Utilisation(pool),
    };
    let target = match stated.limit {
        Limit::Span(span) => span.as_secs_f64(),
        Limit::Share(number) | Limit::Rate(number) => number,
        Limit::Money(money) => money.as_dollars_f64(),
    };
    let comparison = match stated.comparison {
        resolved::Comparison::AtMost => Comparison::AtMost,
        resolved::Comparison::AtLeast => Comparison::AtLeast,
    };
    let (name, text) = (stated.name.clone(), stated.target.clone());
    Ok(Objective { name, metric, comparison, target, text })
}

/// A time that is kept per model stands for the task when nobody else calls that model.
fn call(
    scenario: &Scenario,
    task: TaskId,
    time: CallTime,
    quantile: Quantile,
    stated: &resolved::Objective,
) -> Result<Metric, String> {
    let Some(model) = scenario.tasks[task.index()].request_model() else {
        return Err(format!("{}: {}: the task calls no model", stated.site.place, stated.name));
    };
    if scenario.tasks.iter().filter(|other| other.request_model() == Some(model)).count() > 1 {
        let name = &scenario.models[model.index()].name;
        return Err(format!(
            "{}: {}: several tasks call the model {name}, and this time is kept per model; \
             give the task a model name of its own",
            stated.site.place, stated.name
        ));
    }
    Ok(Metric::Call(model, time, quantile))
}

fn quantile(per_mille: u32) -> Quantile {
    match per_mille {
        500 => Quantile::P50,
        900 => Quantile::P90,
        990 => Quantile::P99,
        _ => Quantile::P95,
    }
}
