//! One step of a task: what it does, how often, on which condition, and what it checks.
//!
//! Invariants: a step does exactly one thing; a tool is used under the key of its kind; a check
//! looks at a model call that the step comes after.
//!
//! Deliberately absent: the order of steps (see `tasks`).

use super::Resolver;
use super::names::number;
use crate::file::{CallFile, CheckFile, Lengths, QueryFile, StepFile, TIMES, WorkFile};
use crate::problem::{At, Problem, ProblemKind, Site};
use crate::resolved::Origin;
use sim::backends::ToolCost;
use sim::cache::QuerySpec;
use sim::dist::LengthDist;
use sim::ids::{TaskId, ToolId};
use sim::predicate::Predicate;
use sim::tasks::{CallLengths, Check, Finding, Flaw, ModelCallSpec, Repeat, ToolUse, Work};
use sim::workload::PrefixSpec;

/// Keys of what a step may do.
const WORKS: [&str; 7] =
    ["model_call", "tool", "retrieval", "safety_check", "formatting", "human_review", "sub_task"];

/// A step among the steps of its task.
pub(super) struct Place<'a> {
    pub(super) steps: &'a [StepFile],
    pub(super) names: &'a [String],
    /// Position of each step in the graph.
    pub(super) position: &'a [usize],
    /// The step, by its place in the file.
    pub(super) at: usize,
    /// Steps that each step waits for, by their places in the file.
    pub(super) waits_for: &'a [Vec<usize>],
    pub(super) sizes: Sizes,
}

/// Whose lengths a call has that states some.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizes {
    /// Its own.
    Own,
    /// Those of the request: the call is the whole task, done once, so it is the request.
    OfRequest,
    /// As before where a request starts the task, its own where the task is a part of another.
    OwnAsPart,
}

/// A step without its name and place.
pub(super) struct Lowered {
    pub(super) work: Work,
    pub(super) repeat: Repeat,
    pub(super) check: Option<Check>,
    pub(super) when: Option<Predicate>,
    pub(super) demand: Demand,
}

/// What the estimate of the load has to know of a step.
pub(super) struct Demand {
    /// Whether it is done whatever happens.
    pub(super) certain: bool,
    /// Mean number of times.
    pub(super) times: f64,
    /// Mean lengths of its call, unless they are the request's.
    pub(super) lengths: Option<(f64, f64)>,
}

impl<'a> Place<'a> {
    fn file(&self) -> &'a StepFile {
        &self.steps[self.at]
    }

    /// Whether the step waits for another, if only through others.
    fn comes_after(&self, other: usize) -> bool {
        let mut seen = vec![false; self.steps.len()];
        let mut open = self.waits_for[self.at].clone();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                open.extend(&self.waits_for[at]);
            }
        }
        seen[other]
    }
}

impl Resolver<'_> {
    /// Lowers a step; `None` when a problem was reported.
    pub(super) fn step(&self, place: &Place<'_>) -> Option<Lowered> {
        let file = place.file();
        // Everything is looked at before anything is given up.
        let when = match &file.when {
            Some(text) => self.condition(text).map(|when| {
                self.warn_of_unknown_to_steps(text, &when);
                Some(when)
            }),
            None => Some(None),
        };
        let check = self.check(place);
        let repeat = self.repeat(file);
        let work = self.work(place);
        self.check_keys(file);
        let (work, lengths) = work?;
        let demand = Demand {
            certain: file.when.is_none(),
            times: file.loops.as_ref().or(file.parallel.as_ref()).map_or(1.0, Lengths::mean),
            lengths,
        };
        Some(Lowered { work, repeat: repeat?, check: check?, when: when?, demand })
    }

    fn work(&self, place: &Place<'_>) -> Option<(Work, Option<(f64, f64)>)> {
        let file = place.file();
        let [work] = file.work.as_slice() else {
            let message = if file.work.is_empty() {
                "the step does nothing"
            } else {
                "the step does more than one thing"
            };
            let problem = Problem::new(ProblemKind::MissingKey, &file.site, message);
            let problem = problem.help(format!("a step has one of {}", WORKS.join(", ")));
            // A misspelt key, or work that could not be read, is what there is to say.
            let none = file.work.is_empty();
            let keys = WORKS.iter().filter(|_| none).map(|key| file.site.child(key).key);
            self.push(problem.rests_on(keys));
            return None;
        };
        match work {
            WorkFile::Call(call) => {
                let (call, lengths) = self.model_call(place, call)?;
                Some((Work::ModelCall(call), lengths))
            }
            WorkFile::Tool(name, cost) => {
                let tool = self.find(name, "tool", &self.tool_names)?;
                self.check_kind(name, *cost, tool);
                let query = match &file.query {
                    Some(query) => Some(self.query(query)?),
                    None => None,
                };
                let acts = file.acts.as_ref().is_some_and(|acts| acts.value);
                let tool = ToolId(number(tool));
                Some((Work::Tool(ToolUse { tool, query, cache: None, acts }), None))
            }
            WorkFile::SubTask(name) => {
                let task = self.find(name, "task", &self.task_names)?;
                Some((Work::SubTask(TaskId(number(task))), None))
            }
        }
    }

    fn check_kind(&self, name: &At<String>, cost: ToolCost, tool: usize) {
        let own = self.file.tools.get(tool).and_then(|(_, tool)| tool.cost.as_ref());
        if let Some(own) = own.filter(|own| own.value != cost) {
            let message = format!("`{}` is a tool of another kind", name.value);
            let problem = Problem::new(ProblemKind::Conflict, &name.site, message);
            self.push(problem.help(format!("its kind is at {}", own.site.place)));
        }
    }

    /// Keys that go with other work only.
    fn check_keys(&self, file: &StepFile) {
        let tool = matches!(file.work.as_slice(), [WorkFile::Tool(..)]);
        if let (false, Some(acts)) = (tool, &file.acts) {
            self.refuse(ProblemKind::Conflict, &acts.site, "only a tool can act on the world");
        }
        if let (false, Some(query)) = (tool, &file.query) {
            let problem =
                Problem::new(ProblemKind::Conflict, &query.site, "this `query` is that of a tool");
            self.push(problem.help("what a model is asked stands in its model_call"));
        }
    }

    fn repeat(&self, file: &StepFile) -> Option<Repeat> {
        match (&file.loops, &file.parallel) {
            (None, None) => Some(Repeat::Once),
            (Some(law), None) => Some(Repeat::Loop(times(law))),
            (None, Some(law)) => Some(Repeat::Parallel(times(law))),
            (Some(_), Some(law)) => {
                let message = "a step is repeated one after another or at once, not both";
                let problem = Problem::new(ProblemKind::Conflict, &law.site, message);
                self.push(problem.help("a sub_task can be the other of the two"));
                None
            }
        }
    }

    /// What a step finds out; `None` when a problem was reported.
    fn check(&self, place: &Place<'_>) -> Option<Option<Check>> {
        let file = place.file();
        let (check, short) = (&file.check, &file.repeat_until_success);
        let site = match (check, short) {
            (None, None) => return Some(None),
            (Some(check), _) => &check.site,
            (None, Some(short)) => &short.site,
        };
        let step = self.checked_step(place, check.as_ref(), site)?;
        let redo = match (check.as_ref().and_then(|check| check.redo.as_ref()), short) {
            (Some(redo), Some(_)) => {
                let message = "`redo` says what `repeat_until_success` says";
                self.refuse(ProblemKind::Conflict, &redo.site, message);
                return None;
            }
            (redo, short) => redo.or(short.as_ref()).map_or(0, |redo| redo.value),
        };
        let kind = file.work.first().and_then(|work| match work {
            WorkFile::Tool(_, cost) => Some(*cost),
            _ => None,
        });
        let looks_for =
            if kind == Some(ToolCost::SafetyCheck) { Flaw::Unsafe } else { Flaw::Wrong };
        let then = if kind == Some(ToolCost::HumanReview) { Finding::Mend } else { Finding::Fail };
        let sure = |at: Option<&At<f64>>| at.map_or(1.0, |at| at.value);
        if check.is_none() {
            let key = site.child("sensitivity").key;
            self.note(key, "1.0, as the specificity: a perfect check".to_owned(), Origin::Default);
        }
        let check = check.as_ref();
        Some(Some(Check {
            step: number(place.position[step]),
            looks_for: check.and_then(|c| c.looks_for.as_ref()).map_or(looks_for, |l| l.value),
            sensitivity: sure(check.and_then(|c| c.sensitivity.as_ref())),
            specificity: sure(check.and_then(|c| c.specificity.as_ref())),
            redo,
            then: check.and_then(|c| c.then.as_ref()).map_or(then, |then| then.value),
        }))
    }

    /// The model call that a check is about: the one it names, or the only one it waits for.
    fn checked_step(
        &self,
        place: &Place<'_>,
        check: Option<&CheckFile>,
        site: &Site,
    ) -> Option<usize> {
        // Of a call in the background nobody knows the answer in time.
        let is_call = |at: usize| match place.steps[at].work.as_slice() {
            [WorkFile::Call(call)] => {
                let flag = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| at.value);
                !flag(&call.background) && !flag(&call.memory)
            }
            [WorkFile::SubTask(_)] => true,
            _ => false,
        };
        let named = check.and_then(|check| check.of.as_ref());
        let Some(name) = named else {
            let mut calls = place.waits_for[place.at].iter().copied().filter(|&at| is_call(at));
            if let (Some(only), None) = (calls.next(), calls.next()) {
                return Some(only);
            }
            let message = "it does not wait for exactly one model call that could be checked";
            let problem = Problem::new(ProblemKind::MissingKey, site, message);
            self.push(problem.help("name the step in check = { of = … }"));
            return None;
        };
        let known: super::Names<'_> =
            place.names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let at = self.find(name, "step", &known)?;
        if !is_call(at) || !place.comes_after(at) {
            let message = format!("`{}` is no model call that this step waits for", name.value);
            self.refuse(ProblemKind::Conflict, &name.site, message);
            return None;
        }
        Some(at)
    }

    fn model_call(
        &self,
        place: &Place<'_>,
        file: &CallFile,
    ) -> Option<(ModelCallSpec, Option<(f64, f64)>)> {
        let model = self.called_model(file);
        let query = match &file.query {
            Some(query) => Some(self.query(query)?),
            None => None,
        };
        let lengths = self.call_lengths(place, file, model?);
        let memory = file.memory.as_ref().is_some_and(|memory| memory.value);
        let checks = place.file().check.is_some() || place.file().repeat_until_success.is_some();
        let flag = |at: &Option<At<bool>>, default| at.as_ref().map_or(default, |at| at.value);
        let cacheable = flag(&file.cacheable, query.is_some());
        if let (true, None, Some(at)) = (cacheable, &query, &file.cacheable) {
            let message = "without a `query` no answer can be found again";
            self.refuse(ProblemKind::MissingKey, &at.site, message);
        }
        let spec = ModelCallSpec {
            intent: self.intent(file.intent.as_ref()),
            model: model?,
            lengths: lengths?,
            prefix: file.prefix.as_ref().map(|prefix| PrefixSpec {
                tokens: prefix.tokens.value,
                distinct: prefix.distinct,
                zipf: prefix.zipf,
            }),
            query,
            cacheable,
            decisive: flag(&file.decisive, !checks && !memory),
            background: flag(&file.background, memory),
        };
        let drawn = matches!(spec.lengths, CallLengths::Drawn(_) | CallLengths::DrawnAsPart(_));
        let means = file.input.as_ref().zip(file.output.as_ref()).filter(|_| drawn);
        let prefix = spec.prefix.as_ref().map_or(0.0, |prefix| f64::from(prefix.tokens));
        let means = means.map(|(input, output)| (prefix + input.mean(), output.mean()));
        Some((spec, means))
    }

    /// Where the lengths of a call come from. A task that is one call and that a request starts
    /// has those of its request, and so has a call that states none; `None` when a problem was reported.
    fn call_lengths(
        &self,
        place: &Place<'_>,
        file: &CallFile,
        model: Option<sim::ids::ModelId>,
    ) -> Option<CallLengths> {
        let memory = file.memory.as_ref().filter(|memory| memory.value);
        let own = match (memory, &file.input, &file.output) {
            (Some(memory), input, output) => {
                if input.is_some() || output.is_some() || file.prefix.is_some() {
                    let message = "a call that keeps the memory has the conversation as its prompt";
                    self.refuse(ProblemKind::Conflict, &memory.site, message);
                }
                return Some(CallLengths::Memory);
            }
            (None, Some(input), Some(output)) if place.sizes != Sizes::OfRequest => {
                Some((input, output))
            }
            (None, None, None) => None,
            _ if place.sizes != Sizes::Own => None,
            _ => {
                let message = "`input` and `output` go together";
                let problem = Problem::new(ProblemKind::MissingKey, &file.site, message);
                self.push(problem.help("without both the call has the lengths of the request"));
                return None;
            }
        };
        let prefix = file.prefix.as_ref();
        let has_that_of_request = own.is_none() || place.sizes == Sizes::OwnAsPart;
        if let Some(prefix) = prefix.filter(|_| has_that_of_request) {
            let message = "the call has the prompt of the request, which has its own prefix";
            let problem = Problem::new(ProblemKind::Conflict, &prefix.tokens.site, message);
            self.push(problem.help("write the prefix beside the source, in [traffic.NAME]"));
        }
        let Some((input, output)) = own else { return Some(CallLengths::Request) };
        let correlation = file.correlation.as_ref().map_or(0.0, |c| c.value);
        let prefix = prefix.map_or(0, |prefix| prefix.tokens.value);
        let room = self.room(model);
        let lengths = self.fit_drawn(input, output, correlation, prefix, room)?;
        Some(match place.sizes {
            Sizes::OwnAsPart => CallLengths::DrawnAsPart(lengths),
            Sizes::Own | Sizes::OfRequest => CallLengths::Drawn(lengths),
        })
    }

    /// What is asked; `None` when a problem was reported.
    fn query(&self, file: &QueryFile) -> Option<QuerySpec> {
        let spec = QuerySpec {
            topics: file.topics,
            zipf: file.zipf,
            phrasings: file.phrasings,
            neighbours: file.neighbours,
            similarity: file.similarity,
            neighbour_similarity: file.neighbour_similarity,
            spread: file.spread,
        };
        let message = if !(spec.similarity > 0.0 && spec.similarity < 1.0) {
            "`similarity` lies between 0 and 1".to_owned()
        } else if spec.neighbour_similarity >= spec.similarity {
            "`neighbour_similarity` has to be below `similarity`".to_owned()
        } else if spec.spread > spec.widest_spread() {
            format!("with this similarity `spread` is at most {:.4}", spec.widest_spread())
        } else {
            return Some(spec);
        };
        self.refuse(ProblemKind::Conflict, &file.site, message);
        None
    }
}

/// How often a step is done, with the least bound that its law has.
fn times(law: &Lengths) -> LengthDist {
    law.cut_at(law.law_max().unwrap_or(TIMES.max).min(TIMES.max))
}
