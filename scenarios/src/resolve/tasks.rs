//! Kinds of task: steps in order, with everything they name looked up.
//!
//! Invariants: a step comes after those it waits for; a kind of task contains itself under no
//! name; what a task may do at most is bounded, whatever a file says.
//!
//! Deliberately absent: what one step does (see `steps`), and budgets (see the policy).

use super::graph::order;
use super::names::number;
use super::steps::{Demand, Lowered, Place, Sizes};
use super::traffic::stream_key;
use super::{Names, Resolver};
use crate::file::{StepFile, TaskFile, WorkFile};
use crate::problem::{At, Problem, ProblemKind, did_you_mean};
use sim::ids::{ModelId, TaskId};
use sim::tasks::{CallLengths, Graph, ModelCallSpec, Repeat, Step, TaskBudget, TaskSpec, Work};
use sim::units::Money;
use sim::workload::PrefixSpec;
use std::collections::BTreeSet;

/// Steps of one task.
const MOST_STEPS: usize = 200;
/// Executions of steps that one task may come to at most, parts and repetitions included.
const MOST_EXECUTIONS: u64 = 100_000;

/// Steps that the estimate of the load looks at.
const MOST_VISITS: usize = 10_000;

/// A resolved kind of task, and what the estimate of the load has to know of it.
pub(super) struct Task {
    pub(super) spec: TaskSpec,
    /// One for each step, in the order of the graph.
    demands: Vec<Demand>,
}

/// Calls that one task makes for certain, on average.
pub(super) struct Expected<'a> {
    pub(super) model: ModelId,
    pub(super) times: f64,
    /// Mean prompt and answer tokens; `None`: those of the request.
    pub(super) lengths: Option<(f64, f64)>,
    /// The prefix that prompts of the step's own share; part of the mean.
    pub(super) prefix: Option<&'a PrefixSpec>,
}

impl Resolver<'_> {
    /// Kinds of task in the order of the file; `None` where a problem was reported.
    pub(super) fn tasks(&self) -> Vec<Option<Task>> {
        let all: Vec<Option<Task>> =
            self.file.tasks.iter().map(|(name, task)| self.task(name, task)).collect();
        self.check_parts(&all);
        all
    }

    fn task(&self, name: &At<String>, file: &TaskFile) -> Option<Task> {
        if matches!(name.value.as_str(), "spend" | "margin") {
            let message = "the name is taken: objectives about money use it";
            self.refuse(ProblemKind::BadValue, &name.site, message);
        }
        let steps = file.steps.as_slice();
        if steps.is_empty() || steps.len() > MOST_STEPS {
            let message = if steps.is_empty() {
                "the task has no step".to_owned()
            } else {
                format!("{} steps; at most {MOST_STEPS} are allowed", steps.len())
            };
            let problem = Problem::new(ProblemKind::MissingKey, &file.site, message);
            let problem = problem.help("write steps = [{ model_call = { … } }]");
            self.push(problem.rests_on([file.site.child("steps").key]));
            return None;
        }
        let names = self.step_names(steps);
        let waits_for = self.waits_for(steps, &names);
        let order = match order(&waits_for) {
            Ok(order) => order,
            Err(cycle) => {
                let site = cycle.first().map_or(&file.site, |&at| &steps[at].site);
                let message =
                    format!("steps wait for each other: {}", ring(&cycle, |at| &names[at]));
                self.refuse(ProblemKind::Conflict, site, message);
                return None;
            }
        };
        let mut position = vec![0; steps.len()];
        order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
        let sizes = self.sizes(name, steps);
        let mut whole = Some(Vec::new());
        for &at in &order {
            let mut after: Vec<u32> =
                waits_for[at].iter().map(|&before| number(position[before])).collect();
            after.sort_unstable();
            let (names, position, waits_for) = (&names, &position, &waits_for);
            let place = Place { steps, names, position, at, waits_for, sizes };
            let lowered = self.step(&place).map(|lowered| {
                let key = stream_key(&format!("{}/{}", name.value, names[at]));
                with_name(lowered, &names[at], key, after, &steps[at])
            });
            // All steps are looked at, whatever is wrong with the first.
            whole = whole.zip(lowered).map(|(mut all, step)| {
                all.push(step);
                all
            });
        }
        let (steps, demands) = whole?.into_iter().unzip();
        Some(Task { spec: spec(&name.value, file, steps), demands })
    }

    /// Whose lengths the calls of a task have that state some.
    fn sizes(&self, name: &At<String>, steps: &[StepFile]) -> Sizes {
        let [StepFile { loops: None, parallel: None, .. }] = steps else { return Sizes::Own };
        let of_this = |task: &At<String>| task.value == name.value;
        let mut works = self.file.tasks.iter().flat_map(|(_, task)| &task.steps);
        let is_part = works.any(|step| {
            step.work.iter().any(|work| matches!(work, WorkFile::SubTask(task) if of_this(task)))
        });
        let mut started = self.file.traffic.iter().filter_map(|(_, traffic)| traffic.task.as_ref());
        match (is_part, started.any(of_this)) {
            (true, true) => Sizes::OwnAsPart,
            (true, false) => Sizes::Own,
            (false, _) => Sizes::OfRequest,
        }
    }

    /// Names of steps, which are to be different.
    fn step_names(&self, steps: &[StepFile]) -> Vec<String> {
        let names = names_of(steps);
        let mut seen = BTreeSet::new();
        for (name, step) in names.iter().zip(steps) {
            if !seen.insert(name) {
                let site = step.id.as_ref().map_or(&step.site, |id| &id.site);
                let message = format!("two steps are called `{name}`");
                self.refuse(ProblemKind::Conflict, site, message);
            }
        }
        names
    }

    /// What each step waits for: as written, or the one before when no step says anything.
    fn waits_for(&self, steps: &[StepFile], names: &[String]) -> Vec<Vec<usize>> {
        if steps.iter().all(|step| step.after.is_none()) {
            let before = |at: usize| at.checked_sub(1).into_iter().collect();
            return (0..steps.len()).map(before).collect();
        }
        let known: Names<'_> =
            names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let of = |step: &StepFile| {
            let written = step.after.iter().flatten();
            let found: BTreeSet<usize> =
                written.filter_map(|name| self.find(name, "step", &known)).collect();
            found.into_iter().collect()
        };
        steps.iter().map(of).collect()
    }

    /// Kinds of task that contain themselves, or come to more than a simulation can bear.
    fn check_parts(&self, all: &[Option<Task>]) {
        let parts_of = |(_, task): &(At<String>, TaskFile)| {
            let works = task.steps.iter().flat_map(|step| &step.work);
            let part = |work: &WorkFile| match work {
                WorkFile::SubTask(name) => self.task_names.get(name.value.as_str()).copied(),
                _ => None,
            };
            let found: BTreeSet<usize> = works.filter_map(part).collect();
            found.into_iter().collect()
        };
        let parts: Vec<Vec<usize>> = self.file.tasks.iter().map(parts_of).collect();
        let order = match order(&parts) {
            Ok(order) => order,
            Err(cycle) => {
                let name = |at: usize| &self.file.tasks[at].0.value;
                if let Some(&first) = cycle.first() {
                    let message = format!("a task contains itself: {}", ring(&cycle, name));
                    self.refuse(ProblemKind::Conflict, &self.file.tasks[first].0.site, message);
                }
                return;
            }
        };
        let mut most = vec![0_u64; all.len()];
        for at in order {
            let Some(Some(task)) = all.get(at) else { continue };
            most[at] = most_executions(&task.spec, &most);
            if most[at] > MOST_EXECUTIONS {
                let name = &self.file.tasks[at].0;
                let message = format!(
                    "one task may come to {} executions of steps; at most {MOST_EXECUTIONS} are \
                     allowed",
                    most[at]
                );
                let problem = Problem::new(ProblemKind::BadValue, &name.site, message);
                self.push(problem.help("lower `max` of its loops, or the times it starts over"));
            }
        }
    }

    /// The model of a call: the one it names, the only one, or what routing says (`None`).
    pub(super) fn called_model(&self, call: &crate::file::CallFile) -> Option<Option<ModelId>> {
        let id = |at: usize| ModelId(number(at));
        match &call.model {
            Some(name) => self.find(name, "model", &self.model_names).map(id).map(Some),
            None if self.models.len() == 1 => Some(Some(id(0))),
            None if self.routes() => Some(None),
            None => {
                let known: Vec<&str> = self.model_names.keys().copied().collect();
                let message = "say which model is called: there is not exactly one";
                let problem = Problem::new(ProblemKind::MissingKey, &call.site, message);
                // Whoever misspelt the section that says so is told that.
                let problem = problem.rests_on(["routing".to_owned()]);
                self.push(problem.help(did_you_mean("", &known)));
                None
            }
        }
    }

    /// Models that get prompts with the lengths of the request, parts of the task included; `None`
    /// among them: routing decides.
    pub(super) fn request_models(&self, task: TaskId) -> BTreeSet<Option<ModelId>> {
        let calls = self.parts(task).into_iter().flat_map(|at| {
            let as_part = at != task.index();
            self.calls_of(at).filter(move |call| call.lengths.are_of_request(as_part))
        });
        calls.map(|call| call.model).collect()
    }

    /// Whether a step of the task keeps the conversation's memory.
    pub(super) fn keeps_memory(&self, task: TaskId) -> bool {
        self.calls(task).any(|call| call.lengths == CallLengths::Memory)
    }

    /// Different model calls of a task and its parts.
    pub(super) fn calls(&self, task: TaskId) -> impl Iterator<Item = &ModelCallSpec> {
        self.parts(task).into_iter().flat_map(|at| self.calls_of(at))
    }

    /// Model calls of a task without its parts.
    fn calls_of(&self, task: usize) -> impl Iterator<Item = &ModelCallSpec> {
        let task = self.tasks.get(task).and_then(Option::as_ref);
        let steps = task.into_iter().flat_map(|task| &task.spec.graph.steps);
        steps.filter_map(|step| match &step.work {
            Work::ModelCall(call) => Some(call),
            _ => None,
        })
    }

    /// Kinds of task that begin as a part of this one, itself included.
    pub(super) fn parts(&self, task: TaskId) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![task.index()];
        while let Some(at) = open.pop() {
            let Some(Some(task)) = self.tasks.get(at) else { continue };
            if found.insert(at) {
                open.extend(task.spec.graph.steps.iter().filter_map(|step| match step.work {
                    Work::SubTask(part) => Some(part.index()),
                    _ => None,
                }));
            }
        }
        found
    }

    /// The calls that one task makes for certain, on average, as far as they are known before. Of
    /// a task with more than [`MOST_VISITS`] steps in all its parts, the first ones: an estimate
    /// may not take longer than the run.
    pub(super) fn expected_calls(&self, task: TaskId) -> Vec<Expected<'_>> {
        let mut all = Vec::new();
        let mut open = vec![(task, 1.0)];
        let mut visits = 0;
        while let Some((at, times)) = open.pop() {
            let as_part = at != task;
            let Some(Some(task)) = self.tasks.get(at.index()) else { continue };
            for (step, demand) in task.spec.graph.steps.iter().zip(&task.demands) {
                visits += 1;
                if visits > MOST_VISITS {
                    return all;
                }
                let times = times * demand.times;
                match &step.work {
                    _ if !demand.certain => {}
                    Work::ModelCall(call) if call.lengths != CallLengths::Memory => {
                        let of_request = call.lengths.are_of_request(as_part);
                        let lengths = demand.lengths.filter(|_| !of_request);
                        let prefix = call.prefix.as_ref().filter(|_| !of_request);
                        let expected = |model| Expected { model, times, lengths, prefix };
                        all.extend(
                            call.model.or(self.policy.usual_model(call.intent)).map(expected),
                        );
                    }
                    Work::SubTask(part) => open.push((*part, times)),
                    Work::ModelCall(_) | Work::Tool(_) => {}
                }
            }
        }
        all
    }
}

/// Names of steps: as written, or by their place in the list.
pub(super) fn names_of(steps: &[StepFile]) -> Vec<String> {
    let name = |(at, step): (usize, &StepFile)| {
        step.id.as_ref().map_or_else(|| format!("step-{}", at + 1), |id| id.value.clone())
    };
    steps.iter().enumerate().map(name).collect()
}

/// `a → b → a`.
fn ring<'n>(cycle: &[usize], name: impl Fn(usize) -> &'n String) -> String {
    let around = cycle.iter().chain(cycle.first()).take(MOST_STEPS);
    let names: Vec<&str> = around.map(|&at| name(at).as_str()).collect();
    names.join(" → ")
}

/// Executions of steps that a task comes to at most: each finding of a check starts its part of the
/// graph over, and a check finds so often in all.
fn most_executions(spec: &TaskSpec, most: &[u64]) -> u64 {
    let steps = &spec.graph.steps;
    let redos: u64 =
        steps.iter().filter_map(|step| step.check.as_ref()).map(|c| u64::from(c.redo)).sum();
    let of = |step: &Step| {
        let times = match &step.repeat {
            Repeat::Once => 1,
            Repeat::Parallel(law) | Repeat::Loop(law) => u64::from(law.max),
        };
        let each = match step.work {
            Work::SubTask(part) => most.get(part.index()).copied().unwrap_or(0),
            Work::ModelCall(_) | Work::Tool(_) => 1,
        };
        times.saturating_mul(each)
    };
    let once = steps.iter().map(of).fold(0, u64::saturating_add);
    once.saturating_mul(redos.saturating_add(1))
}

fn with_name(
    lowered: Lowered,
    name: &str,
    key: u64,
    after: Vec<u32>,
    file: &StepFile,
) -> (Step, Demand) {
    let Lowered { work, repeat, check, when, demand } = lowered;
    let step = Step {
        name: name.to_owned(),
        key,
        after,
        join: file.join.as_ref().map(|join| join.value).unwrap_or_default(),
        when,
        work,
        repeat,
        required: file.required.as_ref().is_none_or(|required| required.value),
        check,
    };
    (step, demand)
}

fn spec(name: &str, file: &TaskFile, steps: Vec<Step>) -> TaskSpec {
    TaskSpec {
        name: name.to_owned(),
        value: file.value.as_ref().map(|value| value.value),
        harm_cost: file.harm_cost.as_ref().map(|cost| cost.value),
        latency_slo: file.latency_slo.as_ref().map(|slo| slo.value),
        observability: file.observability.as_ref().map_or(Money::ZERO, |cost| cost.value),
        budget: TaskBudget::default(),
        graph: Graph { steps },
    }
}
