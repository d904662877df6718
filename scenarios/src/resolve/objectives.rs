//! Objectives: names of numbers and the limits they have to keep.
//!
//! Invariants: every objective names a task or pool that exists and a limit with the right unit;
//! a task's `p95_latency_slo` is an objective unless the file states that objective itself.
//!
//! Deliberately absent: judging (see `experiments`).

use super::Resolver;
use crate::file::ObjectiveFile;
use crate::problem::{Problem, ProblemKind, did_you_mean};
use crate::quantity;
use crate::resolved::{Comparison, Limit, Objective, Subject, TaskTime};
use sim::ids::{PoolId, TaskId};

/// The unit a limit has to have.
#[derive(Clone, Copy)]
enum Unit {
    Time,
    Share,
    Rate,
    Money,
}

/// Quantiles by name, in thousandths.
const QUANTILES: [(&str, u32); 4] = [("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990)];
/// Times by name.
const TIMES: [(&str, TaskTime); 3] =
    [("latency", TaskTime::Latency), ("ttft", TaskTime::Ttft), ("tpot", TaskTime::Tpot)];
/// Other numbers of a task.
const OF_TASKS: [&str; 3] = ["success_rate", "slo_attainment", "goodput"];
/// Numbers about money.
const OF_SPEND: [&str; 3] = ["per_day", "per_month", "per_successful_task"];

impl Resolver<'_> {
    /// Stated objectives, then the implied ones.
    pub(super) fn objectives(&self) -> Vec<Objective> {
        let mut all: Vec<Objective> = Vec::new();
        for file in &self.file.objectives {
            all.extend(self.objective(file));
        }
        let slos = self.file.tasks.iter().zip(&self.policy.slos);
        for (at, ((name, _), slo)) in slos.enumerate() {
            let objective = format!("{}.p95_latency", name.value);
            let Some(slo) = slo else { continue };
            let Ok(task) = u32::try_from(at) else { continue };
            if all.iter().any(|stated| stated.name == objective) {
                continue;
            }
            all.push(Objective {
                name: objective,
                target: format!("<= {}", quantity::show_span(slo.value)),
                subject: Subject::Quantile {
                    task: TaskId(task),
                    time: TaskTime::Latency,
                    per_mille: 950,
                },
                comparison: Comparison::AtMost,
                limit: Limit::Span(slo.value),
                site: slo.site.clone(),
            });
        }
        all
    }

    fn objective(&self, file: &ObjectiveFile) -> Option<Objective> {
        let (subject, unit) = self.subject(file)?;
        let (comparison, limit) = self.target(file, unit)?;
        Some(Objective {
            name: file.name.clone(),
            target: file.target.value.clone(),
            subject,
            comparison,
            limit,
            site: file.target.site.clone(),
        })
    }

    fn unknown(&self, file: &ObjectiveFile, given: &str, known: &[&str]) {
        self.context.sink.push_with(|| {
            let message = format!("`{}` is no number of the results", file.name);
            Problem::new(ProblemKind::UnknownName, &file.target.site, message)
                .help(did_you_mean(given, known))
        });
    }

    /// The number that a name such as `support_reply.p95_latency` stands for.
    fn subject(&self, file: &ObjectiveFile) -> Option<(Subject, Unit)> {
        let (owner, metric) = file.name.rsplit_once('.').unwrap_or(("", &file.name));
        let money = match (owner, metric) {
            ("spend", "per_day") => Some(Subject::SpendPerDay),
            ("spend", "per_month") => Some(Subject::SpendPerMonth),
            ("spend", "per_successful_task") => Some(Subject::SpendPerSuccessfulTask),
            ("margin", "per_task") => Some(Subject::MarginPerTask),
            _ => None,
        };
        if let Some(subject) = money {
            return Some((subject, Unit::Money));
        }
        match owner {
            "spend" => self.unknown(file, metric, &OF_SPEND),
            "margin" => self.unknown(file, metric, &["per_task"]),
            _ => {
                if let Some(at) = position(&self.task_names, owner) {
                    return self.of_task(file, TaskId(at), metric);
                }
                if let Some(at) = position(&self.pool_names, owner) {
                    if metric == "utilisation" {
                        return Some((Subject::Utilisation(PoolId(at)), Unit::Share));
                    }
                    self.unknown(file, metric, &["utilisation"]);
                    return None;
                }
                let names = self.task_names.keys().chain(self.pool_names.keys()).copied();
                self.unknown(file, owner, &names.chain(["spend", "margin"]).collect::<Vec<_>>());
            }
        }
        None
    }

    fn of_task(&self, file: &ObjectiveFile, task: TaskId, metric: &str) -> Option<(Subject, Unit)> {
        match metric {
            "success_rate" => return Some((Subject::SuccessRate(task), Unit::Share)),
            "goodput" => return Some((Subject::Goodput(task), Unit::Rate)),
            "slo_attainment" => {
                if self.policy.slos.get(task.index()).is_some_and(Option::is_none) {
                    let message = "the task has no p95_latency_slo to attain";
                    self.refuse(ProblemKind::Conflict, &file.target.site, message);
                }
                return Some((Subject::SloAttainment(task), Unit::Share));
            }
            _ => {}
        }
        let parts = metric.split_once('_').and_then(|(quantile, time)| {
            let quantile = QUANTILES.iter().find(|(name, _)| *name == quantile)?;
            let time = TIMES.iter().find(|(name, _)| *name == time)?;
            Some((quantile.1, time.1))
        });
        match parts {
            Some((per_mille, time)) => {
                Some((Subject::Quantile { task, time, per_mille }, Unit::Time))
            }
            None => {
                let quantiles = QUANTILES.iter().flat_map(|(quantile, _)| {
                    TIMES.iter().map(move |(time, _)| format!("{quantile}_{time}"))
                });
                let quantiles: Vec<String> = quantiles.collect();
                let known = quantiles.iter().map(String::as_str).chain(OF_TASKS);
                self.unknown(file, metric, &known.collect::<Vec<_>>());
                None
            }
        }
    }

    fn target(&self, file: &ObjectiveFile, unit: Unit) -> Option<(Comparison, Limit)> {
        let text = file.target.value.trim();
        let (comparison, limit) = if let Some(limit) = text.strip_prefix("<=") {
            (Comparison::AtMost, limit.trim())
        } else if let Some(limit) = text.strip_prefix(">=") {
            (Comparison::AtLeast, limit.trim())
        } else {
            let message = "a target starts with `<=` or `>=`";
            let problem = Problem::new(ProblemKind::BadValue, &file.target.site, message);
            self.push(problem.help("write it like \"<= 6s\" or \">= 0.97\""));
            return None;
        };
        let parsed = match unit {
            Unit::Time => quantity::span(limit).map(Limit::Span).map_err(|e| (e.to_string(), "6s")),
            Unit::Money => {
                quantity::money(limit, "").map(Limit::Money).map_err(|e| (e.to_string(), "$900"))
            }
            Unit::Rate => {
                quantity::rate(limit).map(Limit::Rate).map_err(|e| (e.to_string(), "5/s"))
            }
            Unit::Share => share(limit).map(Limit::Share).map_err(|e| (e, "0.97")),
        };
        match parsed {
            Ok(limit) => Some((comparison, limit)),
            Err((error, example)) => {
                let message = format!("{limit:?}: {error}");
                let problem = Problem::new(ProblemKind::BadValue, &file.target.site, message);
                self.push(problem.help(format!("write the limit like {example}")));
                None
            }
        }
    }
}

fn position(names: &super::Names<'_>, name: &str) -> Option<u32> {
    u32::try_from(*names.get(name)?).ok()
}

/// A share as `0.97` or `97%`.
fn share(text: &str) -> Result<f64, String> {
    let share = match text.ends_with('%') {
        true => quantity::percent(text).map_err(|error| error.to_string())?,
        // The factor's grammar is that of a plain decimal number.
        false => quantity::factor(&format!("{text}x")).map_err(|error| error.to_string())?,
    };
    if share > 1.0 {
        return Err("a share is at most 1".to_owned());
    }
    Ok(share)
}
