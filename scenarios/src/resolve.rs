//! From a scenario as written to the simulator's inputs, with every problem listed.
//!
//! Invariants: what comes out satisfies every promise in the field comments of `sim::Scenario`;
//! all independent problems are found in one pass; every number that was not written is in the
//! provenance with where it comes from.
//!
//! Deliberately absent: reading of TOML (see `document`, `reader`, `file`) and simulation.

mod engine;
mod fleet;
mod load;
mod objectives;
mod policy;
mod traffic;

use crate::condition::names::{Names as ConditionNames, Symbols};
use crate::condition::{ConditionText, compile};
use crate::file::{CallFile, ScenarioFile, Settings};
use crate::problem::{At, Problem, ProblemKind, Site, did_you_mean};
use crate::quantity::show_span;
use crate::reader::Context;
use crate::resolved::{Origin, Plan, Provenance, Replications, Resolved, Warning};
use crate::source_files::SourceFiles;
use load::mean_rate;
use sim::Scenario;
use sim::engine::EngineSpec;
use sim::ids::{Backend, ModelId, PoolId};
use sim::predicate::Predicate;
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{PS_PER_SEC, Span};
use sim::workload::{ScaleHow, Trace};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Points of a time series.
const MOST_WINDOWS: u64 = 1_000_000;

/// What the parts of resolving share. Names are looked up in the order of the file, which is the
/// order of the typed ids.
struct Resolver<'a> {
    context: &'a Context,
    files: &'a SourceFiles,
    file: &'a ScenarioFile,
    /// Pools that could be resolved.
    pools: Vec<Option<fleet::Pool>>,
    models: Vec<ModelSpec>,
    /// The model each task calls.
    task_models: Vec<Option<ModelId>>,
    warnings: RefCell<Vec<Warning>>,
    task_names: Names<'a>,
    pool_names: Names<'a>,
    model_names: Names<'a>,
    tool_names: Names<'a>,
    intents: Vec<&'a str>,
    symbols: RefCell<Symbols>,
    /// Knots, spikes and histogram entries of all sources so far.
    expanded: Cell<usize>,
}

/// Positions of names in the order of the file.
type Names<'a> = BTreeMap<&'a str, usize>;

fn names<T>(all: &[(At<String>, T)]) -> Names<'_> {
    all.iter().enumerate().map(|(at, (name, _))| (name.value.as_str(), at)).collect()
}

fn model_names(file: &ScenarioFile) -> Names<'_> {
    if !file.models.is_empty() {
        return names(&file.models);
    }
    let pools = file.pools.iter();
    let implied: BTreeSet<&str> =
        pools.map(|(name, pool)| pool.model.as_ref().unwrap_or(name).value.as_str()).collect();
    implied.into_iter().enumerate().map(|(at, name)| (name, at)).collect()
}

impl<'a> Resolver<'a> {
    /// With the pools, models and kinds of task resolved, on which everything else rests.
    fn new(context: &'a Context, files: &'a SourceFiles, file: &'a ScenarioFile) -> Resolver<'a> {
        let mut resolver = Resolver {
            context,
            files,
            file,
            pools: Vec::new(),
            models: Vec::new(),
            task_models: Vec::new(),
            warnings: RefCell::default(),
            task_names: names(&file.tasks),
            pool_names: names(&file.pools),
            model_names: model_names(file),
            tool_names: Names::new(),
            intents: Vec::new(),
            symbols: RefCell::default(),
            expanded: Cell::new(0),
        };
        resolver.pools = resolver.pools();
        resolver.models = resolver.models();
        resolver.task_models =
            file.tasks.iter().map(|(_, task)| resolver.task_model(task)).collect();
        resolver
    }
}

/// Resolves a file; `None` when a problem was reported to the context.
pub(crate) fn resolve(
    context: &Context,
    files: &SourceFiles,
    file: &ScenarioFile,
    file_name: &str,
    sha256: String,
) -> Option<Resolved> {
    let resolver = Resolver::new(context, files, file);

    let traces = resolver.traces();
    let settings = file.settings.as_ref();
    let horizon = settings.and_then(|settings| resolver.horizon(settings, &traces));
    // Without a horizon the sources can still be checked, against a day.
    let sources = resolver.sources(horizon.unwrap_or(Span::from_secs(86_400)), &traces);
    let mut tasks = resolver.tasks();
    let mut policy = resolver.policy(&mut tasks);
    let objectives = resolver.objectives();
    resolver.check_use(&sources, &policy.reached);
    let offered_load = resolver.offered_load(&sources);

    let (settings, horizon) = (settings?, horizon?);
    let times = resolver.times(settings, horizon);
    let plan = plan(settings);
    let complete = resolver.pools.iter().all(Option::is_some) && tasks.len() == file.tasks.len();
    if context.sink.is_empty() && !complete {
        // A backstop for our own mistakes: nothing incomplete may reach the simulator.
        resolver.refuse(ProblemKind::Conflict, &file.site, "the scenario could not be resolved");
    }
    if !context.sink.is_empty() {
        return None;
    }
    let (warm_up, window) = times?;
    let pools: Vec<fleet::Pool> = resolver.pools.into_iter().flatten().collect();
    Some(Resolved {
        name: settings.name.as_ref().map_or_else(|| stem(file_name), |name| name.value.clone()),
        question: settings.question.as_ref().map(|question| question.value.clone()),
        calibration: pools.iter().map(|pool| pool.label.clone()).collect(),
        scenario: Scenario {
            horizon,
            warm_up,
            tasks,
            sources: sources.into_iter().map(|source| source.spec).collect(),
            models: policy.guard(resolver.models),
            pools: pools.into_iter().map(|pool| pool.spec).collect(),
            symbols: resolver.symbols.into_inner().into_words(),
            window,
            ..policy.scenario
        },
        plan: plan?,
        objectives,
        provenance: context.provenance.take(),
        warnings: resolver.warnings.into_inner(),
        offered_load,
        sha256,
    })
}

/// A file's name without folders and extension.
fn stem(file_name: &str) -> String {
    let path = std::path::Path::new(file_name);
    path.file_stem().map_or_else(|| file_name.to_owned(), |s| s.to_string_lossy().into_owned())
}

fn plan(settings: &Settings) -> Option<Plan> {
    let replications = match settings.replications.as_ref()?.value {
        None => Replications::Auto,
        Some(count) => Replications::Fixed(count),
    };
    let seed = u64::try_from(settings.seed.as_ref()?.value).ok()?;
    Some(Plan { replications, seed, steady_state: settings.steady_state.as_ref()?.value })
}

impl<'a> Resolver<'a> {
    fn push(&self, problem: Problem) {
        self.context.sink.push(problem);
    }

    fn refuse(&self, kind: ProblemKind, site: &Site, message: impl Into<String>) {
        self.push(Problem::new(kind, site, message));
    }

    fn warn(&self, site: &Site, message: String) {
        self.warnings.borrow_mut().push(Warning { site: site.clone(), message });
    }

    fn note(&self, key: String, value: String, origin: Origin) {
        self.context.provenance.borrow_mut().push(Provenance { key, value, origin });
    }

    fn derived(&self, key: &str, value: String, how: String) {
        self.note(key.to_owned(), value, Origin::Derived(how));
    }

    /// Position of a name among named things.
    fn find(&self, name: &At<String>, what: &str, known: &Names<'_>) -> Option<usize> {
        let at = known.get(name.value.as_str()).copied();
        if at.is_none() {
            self.context.sink.push_with(|| {
                let known: Vec<&str> = known.keys().copied().collect();
                let message = format!("no {what} is called `{}`", name.value);
                Problem::new(ProblemKind::UnknownName, &name.site, message)
                    .help(did_you_mean(&name.value, &known))
            });
        }
        at
    }

    /// Compiles a condition; `None` when that was reported.
    fn condition(&self, text: &At<ConditionText>) -> Option<Predicate> {
        let pools = self.file.pools.iter().enumerate();
        let pool_id = |at: usize| PoolId(u32::try_from(at).unwrap_or(u32::MAX));
        let backends: Vec<(&str, Backend)> = pools
            .map(|(at, (name, _))| (name.value.as_str(), Backend::Pool(pool_id(at))))
            .collect();
        let mut names = ConditionNames {
            attributes: &[],
            intents: &self.intents,
            backends: &backends,
            symbols: &mut self.symbols.borrow_mut(),
        };
        match compile(text, &mut names) {
            Ok(predicate) => Some(predicate),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.push(problem));
                None
            }
        }
    }

    /// Declared models; without any, one for each model name that pools serve.
    fn models(&self) -> Vec<ModelSpec> {
        let declared = &self.file.models;
        let pool_id = |at: usize| PoolId(u32::try_from(at).unwrap_or(u32::MAX));
        if declared.is_empty() {
            let mut implied: BTreeMap<&str, Vec<PoolId>> = BTreeMap::new();
            for (at, (name, pool)) in self.file.pools.iter().enumerate() {
                let model = pool.model.as_ref().map_or(&name.value, |model| &model.value);
                implied.entry(model).or_default().push(pool_id(at));
            }
            let spec = |(name, pools): (&str, Vec<PoolId>)| ModelSpec::on_pools(name, &pools);
            return implied.into_iter().map(spec).collect();
        }
        let resolve = |(name, model): &(At<String>, crate::file::ModelFile)| {
            if model.served_by.is_empty() {
                self.refuse(ProblemKind::MissingKey, &model.site, "no pool serves this model");
            }
            let mut served_by = Vec::new();
            let mut seen = BTreeSet::new();
            for pool in &model.served_by {
                let Some(at) = self.find(pool, "pool", &self.pool_names) else { continue };
                if !seen.insert(at) {
                    self.refuse(ProblemKind::Conflict, &pool.site, "the pool is named twice");
                }
                served_by.push(pool_id(at));
            }
            ModelSpec::on_pools(&name.value, &served_by)
        };
        declared.iter().map(resolve).collect()
    }

    /// The model call of a task, by the task's position.
    fn call_of(&self, task: usize) -> Option<&CallFile> {
        self.file.tasks.get(task)?.1.steps.first()?.call.as_ref()
    }

    /// The model a task calls; reports a task that is more than one call.
    fn task_model(&self, task: &crate::file::TaskFile) -> Option<ModelId> {
        let [step] = task.steps.as_slice() else {
            let message = if task.steps.is_empty() {
                "the task has no step with a model_call"
            } else {
                "task graphs are not supported by this version: write one step"
            };
            self.refuse(ProblemKind::Unsupported, &task.site, message);
            return None;
        };
        let Some(call) = &step.call else {
            self.refuse(ProblemKind::MissingKey, &step.site, "the step has no model_call");
            return None;
        };
        let known = &self.model_names;
        let at = match &call.model {
            Some(name) => self.find(name, "model", known)?,
            None if known.len() == 1 => 0,
            None => {
                let known: Vec<&str> = known.keys().copied().collect();
                let message = "say which model is called: there is not exactly one";
                let problem = Problem::new(ProblemKind::MissingKey, &call.site, message);
                self.push(problem.help(did_you_mean("", &known)));
                return None;
            }
        };
        u32::try_from(at).ok().map(ModelId)
    }

    fn tasks(&self) -> Vec<TaskSpec> {
        let spec = |((name, task), model): (&(At<String>, crate::file::TaskFile), &Option<_>)| {
            if matches!(name.value.as_str(), "spend" | "margin") {
                let message = "the name is taken: objectives about money use it";
                self.refuse(ProblemKind::BadValue, &name.site, message);
            }
            Some(TaskSpec {
                value: task.value.as_ref().map(|value| value.value),
                ..TaskSpec::one_call(&name.value, (*model)?)
            })
        };
        self.file.tasks.iter().zip(&self.task_models).filter_map(spec).collect()
    }

    /// The engines that may serve a model, as far as they are known.
    fn engines(&self, model: ModelId) -> impl Iterator<Item = &EngineSpec> {
        let served_by = self.models.get(model.index()).into_iter().flat_map(ModelSpec::pools);
        let pool = |id: PoolId| self.pools.get(id.index()).and_then(Option::as_ref);
        served_by.filter_map(pool).map(|pool| &pool.spec.engine)
    }

    /// Prompt plus output tokens that every engine of a model admits.
    fn room(&self, model: ModelId) -> Option<u32> {
        self.engines(model).map(|engine| engine.max_model_len.0).min()
    }

    /// The horizon as written, or the length of the longest trace as it will be replayed.
    fn horizon(&self, settings: &Settings, traces: &[Option<Arc<Trace>>]) -> Option<Span> {
        if let Some(horizon) = &settings.horizon {
            return Some(horizon.value);
        }
        let replayed = |((_, file), trace): (&(At<String>, crate::file::TrafficFile), _)| {
            let trace: &Option<Arc<Trace>> = trace;
            let span = trace.as_ref()?.span;
            let source = file.trace.as_ref()?;
            let factor = source.scale.as_ref().or(file.scale.as_ref()).map_or(1.0, |f| f.value);
            let how = source.how.as_ref().or(file.how.as_ref()).map(|how| how.value);
            match how {
                Some(ScaleHow::FasterUsers) => {
                    Some(Span::from_secs_f64(span.as_secs_f64() / factor))
                }
                _ => Some(span),
            }
        };
        let longest = self.file.traffic.iter().zip(traces).filter_map(replayed).max();
        // The last request of a trace arrives at its end, and the horizon is exclusive.
        let longest = longest.map(|span| Span(span.0.saturating_add(1)));
        let site = settings.site.child("horizon");
        match longest {
            Some(span) if span > crate::kinds::LONGEST_RUN => {
                self.refuse(ProblemKind::BadValue, &site, "the trace is longer than 100 days");
                None
            }
            Some(span) if span < Span::from_secs(1) => {
                let problem = "the trace is shorter than a second, so the horizon must be stated";
                let problem = Problem::new(ProblemKind::MissingKey, &site, problem);
                self.push(problem.help("say how long requests arrive, like \"10m\""));
                None
            }
            Some(span) => {
                let shown = format!("{:.3}s", span.as_secs_f64());
                self.derived(&site.key, shown, "the longest trace".to_owned());
                Some(span)
            }
            // The horizon of a trace that could not be read is not what is wrong.
            None if self.file.traffic.iter().any(|(_, file)| file.trace.is_some()) => None,
            None => {
                let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
                self.push(problem.help("say how long requests arrive, like \"24h\""));
                None
            }
        }
    }

    /// Warm-up and window.
    fn times(&self, settings: &Settings, horizon: Span) -> Option<(Span, Span)> {
        let steady = settings.steady_state.as_ref().is_some_and(|steady| steady.value);
        let warm_up = settings.warm_up.as_ref().map_or_else(
            || {
                let span = if steady { Span(horizon.0 / 10) } else { Span::ZERO };
                let how = if steady { "a tenth of the horizon" } else { "no steady_state" };
                self.derived("scenario.warm_up", show_span(span), how.to_owned());
                span
            },
            |warm_up| warm_up.value,
        );
        if warm_up >= horizon {
            let site = settings.warm_up.as_ref().map_or(&settings.site, |warm_up| &warm_up.site);
            self.refuse(ProblemKind::Conflict, site, "`warm_up` has to end before the horizon");
            return None;
        }
        let window = settings.window.as_ref().map_or_else(
            || {
                let span = Span::from_secs((horizon.0 / 240).div_ceil(PS_PER_SEC).max(1));
                let how = "a 240th of the horizon, in whole seconds".to_owned();
                self.derived("scenario.window", show_span(span), how);
                span
            },
            |window| window.value,
        );
        if horizon.0 / window.0.max(1) > MOST_WINDOWS {
            let site = settings.window.as_ref().map_or(&settings.site, |window| &window.site);
            let message = format!("more than {MOST_WINDOWS} windows in the horizon");
            self.refuse(ProblemKind::BadValue, site, message);
            return None;
        }
        Some((warm_up, window))
    }

    /// Things that are declared and not used, and a scenario without any traffic.
    fn check_use(&self, sources: &[traffic::Source], reached: &BTreeSet<ModelId>) {
        let file = self.file;
        for (missing, what) in [
            (file.traffic.is_empty(), "traffic"),
            (file.tasks.is_empty(), "tasks"),
            (file.pools.is_empty(), "pools"),
        ] {
            if missing {
                let site = file.site.child(what);
                let message = format!("the scenario has no [{what}.NAME]");
                self.refuse(ProblemKind::MissingKey, &site, message);
            }
        }
        let models: BTreeSet<usize> =
            self.task_models.iter().flatten().chain(reached).map(|model| model.index()).collect();
        let served = models.iter().filter_map(|&model| self.models.get(model));
        let pools: BTreeSet<usize> =
            served.flat_map(|model| model.pools().map(PoolId::index)).collect();
        let tasks: BTreeSet<usize> = sources.iter().map(|s| s.spec.task.index()).collect();
        for (at, (name, _)) in file.pools.iter().enumerate() {
            if !pools.contains(&at) {
                self.warn(&name.site, "no task calls a model that this pool serves".to_owned());
            }
        }
        for (at, (name, _)) in file.tasks.iter().enumerate() {
            if !sources.is_empty() && !tasks.contains(&at) {
                self.warn(&name.site, "no traffic starts this task".to_owned());
            }
        }
    }
}
