//! Gates: how far numbers may move against a baseline, and where they have to be.
//!
//! Invariants: every gate names a number that the results have, and states a change, a limit or
//! both; no two written gates are about the same number; every objective is kept by a gate.
//!
//! Deliberately absent: judging (see `experiments`).

mod clauses;

use super::Resolver;
use super::names::number;
use super::objectives::{Number, OF_ALL, QUANTILES, numbers_of_task};
use crate::file::ObjectiveFile;
use crate::problem::{At, Problem, ProblemKind, did_you_mean, nearest};
use crate::resolved::{CheckSettings, Comparison, Gate, Level, Objective, Origin, Subject};
use clauses::Clauses;
use sim::ids::TaskId;
use std::collections::BTreeSet;

/// Gates of each kind of task where the scenario has none. Two per cent is less than people
/// notice and more than a comparison of paired runs needs to resolve; a fast p95 may move by
/// twenty milliseconds whatever share of it that is.
const OF_TASKS: [(&str, &str); 2] =
    [("p95_latency", "<= +2% or +20ms"), ("success_rate", ">= -0.5%")];
/// The gate of the whole where the scenario has none.
const OF_THE_WHOLE: (&str, &str) = ("cost_per_successful_task", "<= +2%");
/// Short names of numbers of the whole.
const SHORT: [(&str, &str); 2] = [("spend", "spend.per_day"), ("margin", "margin_per_task")];
/// Pairs after which a check ends, unless it says otherwise.
const MOST_PAIRS: u32 = 40;

/// A gate whose name stands for one number; whether the name was given for all kinds of task.
type Expanded<'a> = (&'a ObjectiveFile, Number, bool);

impl Resolver<'_> {
    /// The gates as written, or the usual ones; then the objectives.
    pub(super) fn gates(&self, objectives: &[Objective]) -> Vec<Gate> {
        let mut gates = match &self.file.gates {
            Some(files) => self.written_gates(files),
            None => self.usual_gates(),
        };
        let limit =
            |gate: &Gate| gate.limit.map(|(side, _)| (gate.subject, side == Comparison::AtMost));
        let kept: BTreeSet<(Subject, bool)> = gates.iter().filter_map(limit).collect();
        let side = |of: &&Objective| (of.subject, of.comparison == Comparison::AtMost);
        gates.extend(objectives.iter().filter(|of| !kept.contains(&side(of))).map(of_objective));
        gates
    }

    fn written_gates(&self, files: &[ObjectiveFile]) -> Vec<Gate> {
        let expanded: Vec<Expanded<'_>> =
            files.iter().flat_map(|file| self.expanded_name(file)).collect();
        let mut gates = Vec::new();
        let mut seen: BTreeSet<(Subject, bool)> = BTreeSet::new();
        // A gate of one kind of task goes before one of all kinds.
        let own: BTreeSet<Subject> = expanded
            .iter()
            .filter(|(.., all)| !all)
            .map(|(_, (_, subject, _), _)| *subject)
            .collect();
        let mut refused: BTreeSet<&str> = BTreeSet::new();
        for (file, (name, subject, unit), of_all) in expanded {
            if of_all && own.contains(&subject) {
                continue;
            }
            let site = &file.target.site;
            if !seen.insert((subject, of_all)) {
                let message = "another gate is about the same number";
                self.push(
                    Problem::new(ProblemKind::Conflict, site, message)
                        .help("write both clauses in one gate, separated by a comma"),
                );
                continue;
            }
            match clauses::parse(&file.target.value, unit) {
                Ok(clauses) => {
                    let origin = Origin::Written(site.place.clone());
                    let text = At { value: file.target.value.clone(), site: site.clone() };
                    gates.push(gate(name, subject, text, clauses, origin));
                }
                // A name that stands for several numbers has one text, which is wrong once.
                Err(_) if refused.contains(file.name.as_str()) => {}
                Err(faults) => {
                    refused.insert(&file.name);
                    faults.into_iter().for_each(|fault| self.push(Problem::refused(site, fault)));
                }
            }
        }
        gates
    }

    /// The numbers that a gate's name stands for.
    fn expanded_name<'f>(&self, file: &'f ObjectiveFile) -> Vec<Expanded<'f>> {
        let name = file.name.as_str();
        let short = SHORT.iter().find(|(short, _)| *short == name);
        let name = short.map_or(name, |(_, full)| full);
        let of_the_whole = OF_ALL.iter().any(|(owner, of, _)| owner.is_empty() && *of == name);
        if name.contains('.') || of_the_whole {
            let found = self.subject(name, &file.target.site);
            let number = found.map(|(subject, unit)| (name.to_owned(), subject, unit));
            return number.map(|number| (file, number, false)).into_iter().collect();
        }
        let quantile = QUANTILES.iter().any(|(quantile, _)| *quantile == name);
        let metric = if quantile { format!("{name}_latency") } else { name.to_owned() };
        let known = numbers_of_task(TaskId(0));
        if !known.iter().any(|(of, ..)| *of == metric) {
            self.context.sink.push_with(|| {
                let known = known.iter().map(|(of, ..)| of.as_str());
                let short =
                    SHORT.map(|(short, _)| short).into_iter().chain(QUANTILES.map(|(q, _)| q));
                let near = nearest(&metric, known.chain(short));
                let help = match near {
                    Some(near) => did_you_mean(&metric, &[near]),
                    None => self.whole_names(&metric),
                };
                let message = format!("`{name}` is no number of the results");
                Problem::new(ProblemKind::UnknownName, &file.target.site, message).help(help)
            });
            return Vec::new();
        }
        let all: Vec<Number> =
            self.started().flat_map(|task| self.of_task(task, &metric)).collect();
        let holds = |(_, subject, _): &&Number| self.cannot_hold(*subject).is_none();
        let holding: Vec<&Number> = all.iter().filter(holds).collect();
        if let (true, Some((_, subject, _))) = (holding.is_empty(), all.first()) {
            let why = self.cannot_hold(*subject).unwrap_or_default();
            self.refuse(ProblemKind::Conflict, &file.target.site, why);
        }
        holding.into_iter().map(|number| (file, number.clone(), true)).collect()
    }

    /// One number of a kind of task, under its full name.
    fn of_task(&self, task: TaskId, metric: &str) -> Option<Number> {
        let (name, _) = self.file.tasks.get(task.index())?;
        let (_, subject, unit) = numbers_of_task(task).into_iter().find(|(of, ..)| of == metric)?;
        Some((format!("{}.{metric}", name.value), subject, unit))
    }

    /// Kinds of task that traffic starts, in the order of the file.
    pub(super) fn started(&self) -> impl Iterator<Item = TaskId> {
        let task = |task: &At<String>| self.task_names.get(task.value.as_str()).copied();
        let sources = self.file.traffic.iter().filter_map(|(_, traffic)| traffic.task.as_ref());
        let started: BTreeSet<usize> = sources.filter_map(task).collect();
        started.into_iter().map(|at| TaskId(number(at)))
    }

    fn usual_gates(&self) -> Vec<Gate> {
        let of_tasks = self.started().flat_map(|task| {
            OF_TASKS.into_iter().filter_map(move |(of, text)| Some((self.of_task(task, of)?, text)))
        });
        let (whole, text) = OF_THE_WHOLE;
        let of_whole = OF_ALL.iter().find(|(owner, of, _)| owner.is_empty() && *of == whole);
        let of_whole = of_whole.map(|&(_, name, subject)| {
            ((name.to_owned(), subject, super::objectives::Unit::Money), text)
        });
        let usual = |((name, subject, unit), text): (Number, &str)| {
            let clauses = clauses::parse(text, unit).ok()?;
            self.note(format!("gates.{name}"), text.to_owned(), Origin::Default);
            let text = At { value: text.to_owned(), site: self.file.site.child("gates") };
            Some(gate(name, subject, text, clauses, Origin::Default))
        };
        of_tasks.chain(of_whole).filter_map(usual).collect()
    }

    /// `[check]` with its defaults; `None` when one of its keys is wrong.
    pub(super) fn check_settings(&self) -> Option<CheckSettings> {
        let file = self.file.check.as_ref()?;
        let pairs = file.pairs.as_ref()?.value;
        let most_pairs = match &file.most_pairs {
            Some(most) if most.value < pairs => {
                let message = format!("`most_pairs` is less than `pairs`, which is {pairs}");
                self.refuse(ProblemKind::Conflict, &most.site, message);
                return None;
            }
            Some(most) => most.value,
            None => {
                let most = MOST_PAIRS.max(pairs);
                let key = file.site.child("most_pairs").key;
                self.note(key, most.to_string(), Origin::Default);
                most
            }
        };
        Some(CheckSettings {
            pairs,
            most_pairs,
            confidence: file.confidence.as_ref()?.value,
            power: file.power.as_ref()?.value,
            inconclusive: file.inconclusive.as_ref()?.value,
            time: file.time.as_ref()?.value,
        })
    }
}

fn gate(
    name: String,
    subject: Subject,
    text: At<String>,
    clauses: Clauses,
    origin: Origin,
) -> Gate {
    let Clauses { change, limit, level } = clauses;
    Gate { name, text: text.value, subject, change, limit, level, origin, site: text.site }
}

fn of_objective(objective: &Objective) -> Gate {
    Gate {
        name: objective.name.clone(),
        text: objective.target.clone(),
        subject: objective.subject,
        change: None,
        limit: Some((objective.comparison, objective.limit)),
        level: Level::Fail,
        origin: Origin::Derived("the objective".to_owned()),
        site: objective.site.clone(),
    }
}
