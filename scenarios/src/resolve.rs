//! From a scenario as written to the simulator's inputs, with every problem listed.
//!
//! Invariants: what comes out satisfies every promise in the field comments of `sim::Scenario`;
//! all independent problems are found in one pass; every number that was not written is in the
//! provenance with where it comes from.
//!
//! Deliberately absent: reading of TOML (see `document`, `reader`, `file`) and simulation.

mod backends;
mod calibration;
mod default_levers;
mod engine;
mod engine_args;
mod fleet;
mod gates;
mod graph;
mod idle;
mod inert;
mod levers;
mod load;
mod models;
mod names;
mod objectives;
mod people;
mod policy;
mod priorities;
mod room;
mod steps;
mod tasks;
mod traffic;

use crate::condition::names::Symbols;
use crate::file::{ScenarioFile, Settings};
use crate::problem::{At, Problem, ProblemKind, Site};
use crate::quantity::show_span;
use crate::reader::Context;
use crate::resolved::{Origin, Plan, Provenance, Replications, Resolved, Warning};
use crate::source_files::SourceFiles;
use load::mean_rate;
use names::Names;
use sim::Scenario;
use sim::backends::{RemoteSpec, ToolSpec};
use sim::ids::{Backend, ModelId, TaskId};
use sim::scenario::ModelSpec;
use sim::tasks::Work;
use sim::units::{PS_PER_SEC, Span};
use sim::workload::{ScaleHow, Trace};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Points of a time series.
const MOST_WINDOWS: u64 = 1_000_000;

/// What the parts of resolving share. Names are looked up in the order of the file, which is the
/// order of the typed ids; all of them are collected before anything is lowered, so that a
/// condition may name whatever the scenario has (see [`Resolver::condition`]).
struct Resolver<'a> {
    context: &'a Context,
    files: &'a SourceFiles,
    file: &'a ScenarioFile,
    task_names: Names<'a>,
    pool_names: Names<'a>,
    model_names: Names<'a>,
    intent_names: Names<'a>,
    tool_names: Names<'a>,
    attribute_names: Names<'a>,
    plan_names: Names<'a>,
    backend_names: BTreeMap<&'a str, Backend>,
    backend_list: Vec<(&'a str, Backend)>,
    /// In the order of their ids.
    intents: Vec<&'a str>,
    attributes: Vec<names::Attribute<'a>>,
    qualities: models::Qualities<'a>,
    /// Words that conditions and attributes use.
    symbols: RefCell<Symbols>,
    /// Pools that could be resolved.
    pools: Vec<Option<fleet::Pool>>,
    /// Remotes that could be resolved.
    remotes: Vec<Option<RemoteSpec>>,
    tools: Vec<Option<ToolSpec>>,
    models: Vec<ModelSpec>,
    /// Kinds of task that could be resolved.
    tasks: Vec<Option<tasks::Task>>,
    policy: policy::Policy,
    /// By the name of their traffic; known once the sources are.
    tenants: BTreeMap<&'a str, people::Tenants>,
    warnings: RefCell<Vec<Warning>>,
    /// Knots, spikes and histogram entries of all sources so far.
    expanded: Cell<usize>,
}

impl<'a> Resolver<'a> {
    /// With the backends, models and kinds of task resolved, on which everything else rests.
    fn new(context: &'a Context, files: &'a SourceFiles, file: &'a ScenarioFile) -> Resolver<'a> {
        let intents = names::intents(file);
        let backend_list: Vec<(&str, Backend)> =
            names::backends(file).map(|(name, backend)| (name.value.as_str(), backend)).collect();
        let mut resolver = Resolver {
            context,
            files,
            file,
            task_names: names::names(&file.tasks),
            pool_names: names::names(&file.pools),
            model_names: names::model_names(file),
            intent_names: intents.iter().enumerate().map(|(at, &name)| (name, at)).collect(),
            tool_names: names::names(&file.tools),
            attribute_names: names::names(&file.attributes),
            plan_names: names::names(&file.plans),
            backend_names: backend_list.iter().copied().collect(),
            backend_list,
            intents,
            attributes: names::attributes(file),
            qualities: models::qualities(file),
            symbols: RefCell::default(),
            pools: Vec::new(),
            remotes: Vec::new(),
            tools: Vec::new(),
            models: Vec::new(),
            tasks: Vec::new(),
            policy: policy::Policy::default(),
            tenants: BTreeMap::new(),
            warnings: RefCell::default(),
            expanded: Cell::new(0),
        };
        resolver.check_names();
        resolver.pools = resolver.pools();
        resolver.remotes = resolver.remotes();
        resolver.tools = resolver.tools();
        resolver.models = resolver.models();
        resolver.check_intents();
        resolver.tasks = resolver.tasks();
        resolver.policy = resolver.policy();
        resolver
    }

    /// Whether everything that is declared could be resolved.
    fn is_complete(&self) -> bool {
        self.pools.iter().all(Option::is_some)
            && self.remotes.iter().all(Option::is_some)
            && self.tools.iter().all(Option::is_some)
            && self.tasks.iter().all(Option::is_some)
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
    let mut resolver = Resolver::new(context, files, file);

    let traces = resolver.traces();
    let settings = file.settings.as_ref();
    let horizon = settings.and_then(|settings| resolver.horizon(settings, &traces));
    // Without a horizon the sources can still be checked, against a day.
    let assumed = horizon.unwrap_or(Span::from_secs(86_400));
    let sources = resolver.sources(assumed, &traces);
    resolver.tenants = resolver.tenants(&sources);
    let objectives = resolver.objectives();
    let (gates, check) = (resolver.gates(&objectives), resolver.check_settings());
    let levers = resolver.levers();
    resolver.check_use(&sources, assumed);
    let offered_load = resolver.offered_load(&sources, assumed);

    let (settings, horizon) = (settings?, horizon?);
    let site = settings.horizon.as_ref().map_or(&settings.site, |horizon| &horizon.site);
    resolver.check_size(&sources, horizon, site);
    let times = resolver.times(settings, horizon);
    let plan = plan(settings);
    if context.sink.is_empty() && !resolver.is_complete() {
        // A backstop for our own mistakes: nothing incomplete may reach the simulator.
        resolver.refuse(ProblemKind::Conflict, &file.site, "the scenario could not be resolved");
    }
    let (warm_up, window) = times.filter(|_| context.sink.is_empty())?;
    let (default_levers, traffic) = (resolver.default_levers(), resolver.traffic_factors());
    let intents = resolver.intent_specs();
    let pools: Vec<fleet::Pool> = resolver.pools.into_iter().flatten().collect();
    Some(Resolved {
        name: settings.name.as_ref().map_or_else(|| stem(file_name), |name| name.value.clone()),
        question: settings.question.as_ref().map(|question| question.value.clone()),
        calibration: pools.iter().map(|pool| pool.calibration.clone()).collect(),
        scenario: Scenario {
            horizon,
            warm_up,
            tasks: resolver.policy.complete(resolver.tasks.into_iter().flatten()),
            sources: sources.into_iter().map(|source| source.spec).collect(),
            models: resolver.policy.guard(resolver.models),
            pools: pools.into_iter().map(|pool| pool.spec).collect(),
            remotes: resolver.remotes.into_iter().flatten().collect(),
            tools: resolver.tools.into_iter().flatten().collect(),
            intents,
            attributes: file.attributes.iter().map(|(name, _)| name.value.clone()).collect(),
            symbols: resolver.symbols.into_inner().into_words(),
            window,
            ..resolver.policy.scenario
        },
        plan: plan?,
        objectives,
        gates,
        check: check?,
        levers,
        default_levers,
        traffic,
        provenance: context.provenance.take(),
        warnings: resolver.warnings.into_inner(),
        offered_load,
        sha256,
        files: files.noted(),
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
    fn check_use(&self, sources: &[traffic::Source], horizon: Span) {
        let file = self.file;
        for (missing, what) in [
            (file.traffic.is_empty(), "traffic"),
            (file.tasks.is_empty(), "tasks"),
            (self.backend_names.is_empty(), "pools"),
        ] {
            if missing {
                let site = file.site.child(what);
                let message = format!("the scenario has no [{what}.NAME]");
                self.refuse(ProblemKind::MissingKey, &site, message);
            }
        }
        let started: BTreeSet<TaskId> = sources.iter().map(|source| source.spec.task).collect();
        self.warn_of_idle_keys(horizon, &started);
        let used: BTreeSet<usize> = started.iter().flat_map(|&task| self.parts(task)).collect();
        let mut models: BTreeSet<ModelId> = self.policy.reached.clone();
        let (mut tools, mut intents) = (BTreeSet::new(), BTreeSet::new());
        let tasks =
            self.tasks.iter().enumerate().filter_map(|(at, task)| Some((at, task.as_ref()?)));
        let steps = tasks.flat_map(|(at, task)| task.spec.graph.steps.iter().map(move |s| (at, s)));
        for (task, step) in steps {
            match &step.work {
                Work::ModelCall(call) => {
                    // A call of a task that never runs asks nobody.
                    models.extend(call.model.filter(|_| used.contains(&task)));
                    intents.insert(call.intent.index());
                }
                Work::Tool(used) => {
                    tools.insert(used.tool.index());
                }
                Work::SubTask(_) => {}
            }
        }
        let served = models.iter().filter_map(|model| self.models.get(model.index()));
        let backends: BTreeSet<Backend> =
            served.flat_map(|model| &model.served_by).map(|serving| serving.backend).collect();
        self.check_backend_use(&backends, &tools);
        for (at, (name, _)) in file.intents.iter().enumerate() {
            if !intents.contains(&at) {
                self.warn(&name.site, "no call is for this intent".to_owned());
            }
        }
        for (at, (name, _)) in file.tasks.iter().enumerate() {
            if !sources.is_empty() && !used.contains(&at) {
                self.warn(&name.site, "no traffic starts this task".to_owned());
            }
        }
        self.check_priorities();
        self.check_inert(&started);
    }
}
