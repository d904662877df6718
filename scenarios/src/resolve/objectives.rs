//! Objectives: names of numbers and the limits they have to keep.
//!
//! Invariants: every objective names a number that the results have and a limit with its unit;
//! a task's `p95_latency_slo` is an objective unless the file states that objective itself.
//!
//! Deliberately absent: judging (see `experiments`).

use super::Resolver;
use super::people::Tenants;
use crate::file::{ObjectiveFile, TrafficFile};
use crate::problem::{Problem, ProblemKind, Site, did_you_mean};
use crate::quantity;
use crate::resolved::{CallTime, Comparison, Limit, Objective, Subject, TaskTime};
use sim::ids::{ModelId, PoolId, TaskId};

/// The unit a limit has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Time,
    Share,
    Rate,
    Money,
}

/// Quantiles by name, in thousandths.
pub(super) const QUANTILES: [(&str, u32); 4] =
    [("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990)];
/// Times of a task by name.
const TIMES: [(&str, TaskTime); 3] =
    [("latency", TaskTime::Latency), ("ttft", TaskTime::Ttft), ("tpot", TaskTime::Tpot)];
/// Times of a model's calls by name.
const CALL_TIMES: [(&str, CallTime); 4] = [
    ("ttft", CallTime::Ttft),
    ("tpot", CallTime::Tpot),
    ("e2e", CallTime::EndToEnd),
    ("queue", CallTime::Queue),
];
/// Numbers of the whole scenario, by owner and name.
pub(super) const OF_ALL: [(&str, &str, Subject); 8] = [
    ("spend", "per_day", Subject::SpendPerDay),
    ("spend", "per_month", Subject::SpendPerMonth),
    ("spend", "per_successful_task", Subject::SpendPerSuccessfulTask),
    ("margin", "per_task", Subject::MarginPerTask),
    ("margin", "per_day", Subject::MarginPerDay),
    ("margin", "per_month", Subject::MarginPerMonth),
    // Two of them as reports name them.
    ("", "cost_per_successful_task", Subject::SpendPerSuccessfulTask),
    ("", "margin_per_task", Subject::MarginPerTask),
];

/// A number of the results: its name below its owner, what it is, and the unit of its limits.
pub(super) type Number = (String, Subject, Unit);

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
        let (subject, unit) = self.subject(&file.name, &file.target.site)?;
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

    /// The number that a name such as `support_reply.p95_latency` at `site` stands for.
    pub(super) fn subject(&self, name: &str, site: &Site) -> Option<(Subject, Unit)> {
        let (owner, metric) = name.rsplit_once('.').unwrap_or(("", name));
        let numbers = self.numbers(owner);
        let found = numbers.iter().find(|(name, ..)| name == metric);
        let Some(&(_, subject, unit)) = found else {
            self.context.sink.push_with(|| {
                let message = format!("`{name}` is no number of the results");
                let known: Vec<&str> = numbers.iter().map(|(name, ..)| name.as_str()).collect();
                let help = match (owner, known.as_slice()) {
                    ("", _) => self.whole_names(metric),
                    (_, []) => did_you_mean(owner, &self.owners()),
                    (_, known) => did_you_mean(metric, known),
                };
                Problem::new(ProblemKind::UnknownName, site, message).help(help)
            });
            return None;
        };
        if let Some(message) = self.cannot_hold(subject) {
            self.refuse(ProblemKind::Conflict, site, message);
        }
        Some((subject, unit))
    }

    /// Advice for a name without an owner: the numbers of the whole, or who has others.
    pub(super) fn whole_names(&self, given: &str) -> String {
        let whole: Vec<&str> = OF_ALL.iter().map(|(.., name, _)| *name).collect();
        let near = crate::problem::nearest(given, whole.iter().copied());
        let full = OF_ALL.iter().find(|(.., name, _)| Some(*name) == near);
        match full {
            Some(("", name, _)) => format!("did you mean `{name}`?"),
            Some((owner, name, _)) => format!("did you mean `{owner}.{name}`?"),
            None => format!(
                "write OWNER.NUMBER, where OWNER is one of {}",
                crate::problem::listed(&self.owners())
            ),
        }
    }

    /// Whatever has numbers.
    fn owners(&self) -> Vec<&str> {
        let names = [&self.task_names, &self.model_names, &self.pool_names];
        names
            .into_iter()
            .flat_map(|names| names.keys().copied())
            .chain(self.tenants.keys().copied())
            .chain(["spend", "margin"])
            .collect()
    }

    /// Every number of an owner. A task, a model, a pool and a source of traffic may share a name;
    /// none of their numbers do.
    fn numbers(&self, owner: &str) -> Vec<Number> {
        let whole = OF_ALL.iter().filter(|(of, ..)| *of == owner);
        let mut all: Vec<Number> =
            whole.map(|&(_, name, subject)| (name.to_owned(), subject, Unit::Money)).collect();
        if let Some(task) = position(&self.task_names, owner).map(TaskId) {
            all.extend(numbers_of_task(task));
        }
        if let Some(model) = position(&self.model_names, owner).map(ModelId) {
            for (time, which) in CALL_TIMES {
                all.extend(QUANTILES.map(|(quantile, per_mille)| {
                    let subject = Subject::Call { model, time: which, per_mille };
                    (format!("{time}_{quantile}"), subject, Unit::Time)
                }));
            }
        }
        if let Some(pool) = position(&self.pool_names, owner).map(PoolId) {
            all.push(("utilisation".to_owned(), Subject::Utilisation(pool), Unit::Share));
        }
        if let Some(Tenants { source, .. }) = self.tenants.get(owner).copied() {
            let heaviest = Subject::MarginPerHeaviestTenant(source);
            all.extend([
                ("margin_per_tenant".to_owned(), Subject::MarginPerTenant(source), Unit::Money),
                ("losing_tenants".to_owned(), Subject::LosingTenants(source), Unit::Share),
                ("margin_per_heaviest_tenant".to_owned(), heaviest, Unit::Money),
            ]);
        }
        all
    }

    /// Whether a task has a value, or traffic of tenants on a plan. Whether that is enough for a
    /// margin, the results say.
    fn earns(&self, task: TaskId) -> bool {
        let Some((name, file)) = self.file.tasks.get(task.index()) else { return true };
        let pays = |traffic: &TrafficFile| {
            let sent = traffic.task.as_ref().is_some_and(|task| task.value == name.value);
            let tenants = traffic.people.tenants.as_ref();
            sent && tenants.is_some_and(|tenants| tenants.plan.is_some())
        };
        file.value.is_some() || self.file.traffic.iter().any(|(_, traffic)| pays(traffic))
    }

    /// Why a number cannot have a value in this scenario, whatever happens.
    pub(super) fn cannot_hold(&self, subject: Subject) -> Option<&'static str> {
        match subject {
            Subject::SloAttainment(task) => self
                .policy
                .slos
                .get(task.index())
                .is_some_and(Option::is_none)
                .then_some("the task has no p95_latency_slo to attain"),
            Subject::TaskMargin(task) => {
                const WORTHLESS: &str =
                    "the task has no `value` and no plan pays for it, so it has no margin";
                (!self.earns(task)).then_some(WORTHLESS)
            }
            Subject::MarginPerTenant(source)
            | Subject::LosingTenants(source)
            | Subject::MarginPerHeaviestTenant(source) => {
                let tenants = self.tenants.values().find(|tenants| tenants.source == source);
                const NO_PLAN: &str = "its tenants pay under no plan, so they have no margin";
                tenants.is_some_and(|tenants| !tenants.on_a_plan).then_some(NO_PLAN)
            }
            _ => None,
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
        match limit_of(limit, unit) {
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

/// Every number of a kind of task.
pub(super) fn numbers_of_task(task: TaskId) -> Vec<Number> {
    let mut all = Vec::new();
    for (quantile, per_mille) in QUANTILES {
        all.extend(TIMES.map(|(time, which)| {
            let subject = Subject::Quantile { task, time: which, per_mille };
            (format!("{quantile}_{time}"), subject, Unit::Time)
        }));
    }
    all.extend([
        ("success_rate".to_owned(), Subject::SuccessRate(task), Unit::Share),
        ("slo_attainment".to_owned(), Subject::SloAttainment(task), Unit::Share),
        ("goodput".to_owned(), Subject::Goodput(task), Unit::Rate),
        ("cost_per_successful_task".to_owned(), Subject::TaskCost(task), Unit::Money),
        ("margin_per_task".to_owned(), Subject::TaskMargin(task), Unit::Money),
    ]);
    all
}

/// A limit in a number's unit; or what is wrong with it, and an example.
pub(super) fn limit_of(text: &str, unit: Unit) -> Result<Limit, (String, &'static str)> {
    match unit {
        Unit::Time => quantity::span(text).map(Limit::Span).map_err(|e| (e.to_string(), "6s")),
        Unit::Money => {
            quantity::money(text, "").map(Limit::Money).map_err(|e| (e.to_string(), "$900"))
        }
        Unit::Rate => quantity::rate(text).map(Limit::Rate).map_err(|e| (e.to_string(), "5/s")),
        Unit::Share => share(text).map(Limit::Share).map_err(|e| (e, "0.97")),
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
