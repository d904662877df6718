//! The subsystems of a run beside the GPU pools: backends, guards, caches, limits, and the
//! samplers of the steps. Built once from the scenario.

use super::signals::intent_words;
use super::state::Account;
use crate::backends::{Remote, Tool};
use crate::cache::{CachedAnswer, ExactCache, QuerySampler, SemanticCache};
use crate::dice::{Purpose, key, mix};
use crate::dist::{Charts, Zipf};
use crate::ids::{Backend, ModelId, SymbolId, TaskId};
use crate::price::{SpendLimit, SpendScope};
use crate::resilience::{Admission, Breaker, RetryBudget};
use crate::scenario::{BackendChoice, ModelSpec, Scenario};
use crate::tasks::{CallLengths, Repeat, Shape, Step, Work};
use crate::units::{Money, Time};
use crate::workload::Prompts;

/// Everything the general path of a simulation works with.
#[derive(Debug)]
pub(super) struct World {
    pub(super) run_key: u64,
    pub(super) remotes: Vec<Remote>,
    pub(super) tools: Vec<Tool>,
    /// One for each model.
    pub(super) guards: Vec<Guards>,
    pub(super) semantic: Option<SemanticCache>,
    pub(super) exact: Option<ExactCache<CachedAnswer>>,
    pub(super) limits: Vec<Limit>,
    pub(super) intent_words: Vec<SymbolId>,
    /// One list for each kind of task, one entry for each step.
    pub(super) steps: Vec<Vec<StepKit>>,
    /// What waits for what, for each kind of task.
    pub(super) shapes: Vec<Shape>,
    /// Popularity of the tenants of each source.
    pub(super) tenants: Vec<Option<Zipf>>,
    /// Whether each kind of task takes the short way: one plain call on pools.
    pub(super) direct: Vec<Option<ModelId>>,
}

/// What a step draws from.
#[derive(Debug, Default)]
pub(super) struct StepKit {
    pub(super) prompts: Option<Prompts>,
    pub(super) queries: Option<QuerySampler>,
    pub(super) results: Option<ExactCache<()>>,
}

/// The guards of one model.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) in_flight: u32,
    pub(super) admission: Admission,
    pub(super) budget: Option<RetryBudget>,
    /// One for each backend of the model.
    pub(super) breakers: Vec<(Backend, Option<Breaker>)>,
    /// Sums of weights, for a weighted choice.
    pub(super) weights: Vec<f64>,
}

impl Guards {
    fn new(model: &ModelSpec) -> Guards {
        let guards = &model.guards;
        let breaker = || guards.breaker.as_ref().map(Breaker::new);
        let mut sum = 0.0;
        let weighted = model.choice == BackendChoice::Weighted;
        let weights = model.served_by.iter().filter(|_| weighted).map(|serving| {
            sum += serving.weight.max(0.0);
            sum
        });
        Guards {
            weights: weights.collect(),
            in_flight: 0,
            admission: Admission::new(&guards.admission),
            budget: guards
                .retry
                .as_ref()
                .and_then(|retry| retry.budget.as_ref())
                .map(RetryBudget::new),
            breakers: model.served_by.iter().map(|s| (s.backend, breaker())).collect(),
        }
    }

    /// Whether the breaker of a backend lets no ordinary call through.
    pub(super) fn is_open(&self, backend: Backend, now: Time) -> bool {
        let open = |breaker: &Option<Breaker>| breaker.as_ref().is_some_and(|b| b.is_open(now));
        self.breakers.iter().any(|(of, breaker)| *of == backend && open(breaker))
    }
}

/// A spend limit and what was spent in the period under way.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) spec: SpendLimit,
    period: u64,
    spent: Vec<Money>,
    /// When nothing was left of it for the first time.
    pub(super) used_up: Option<Time>,
    /// Submissions in the window under way that it refused or sent to its smaller model.
    pub(super) acted: u64,
}

impl Limit {
    fn new(spec: SpendLimit) -> Limit {
        Limit { spec, period: 0, spent: Vec::new(), used_up: None, acted: 0 }
    }

    /// What was spent of it for an account in the period of `now`; `None` when the account's spend
    /// is none of its concern.
    fn spent(&mut self, now: Time, account: Account) -> Option<&mut Money> {
        let slot = match self.spec.scope {
            SpendScope::All => 0,
            SpendScope::Task(task) if task == account.task => 0,
            SpendScope::Task(_) => return None,
            SpendScope::EachTenant => account.tenant as usize,
        };
        let period = now.0 / self.spec.period.0.max(1);
        if period != self.period {
            self.period = period;
            self.spent.iter_mut().for_each(|spent| *spent = Money::ZERO);
        }
        if self.spent.len() <= slot {
            self.spent.resize(slot + 1, Money::ZERO);
        }
        Some(&mut self.spent[slot])
    }

    /// Books spend of an account, if it is one that the limit counts.
    pub(super) fn book(&mut self, now: Time, account: Account, amount: Money) {
        let limit = self.spec.limit;
        if let Some(spent) = self.spent(now, account) {
            *spent += amount;
            if *spent >= limit {
                self.used_up.get_or_insert(now);
            }
        }
    }

    /// Whether it acts on a submission, because nothing is left for its account.
    pub(super) fn acts(&mut self, now: Time, account: Account) -> bool {
        let limit = self.spec.limit;
        let acts = self.spent(now, account).is_some_and(|spent| *spent >= limit);
        if acts {
            // A limit of nothing is used up without a booking.
            self.used_up.get_or_insert(now);
            self.acted += 1;
        }
        acts
    }
}

impl World {
    pub(super) fn new(scenario: &Scenario, seed: u64, replication: u32) -> World {
        let run_key = mix(seed, u64::from(replication));
        let named = |name_key: u64| mix(run_key, name_key);
        let mut charts = Charts::default();
        let kits = |(number, task): (usize, &crate::tasks::TaskSpec)| {
            let kit =
                |step: &Step| StepKit::new(step, named(step.key ^ number as u64), &mut charts);
            task.graph.steps.iter().map(kit).collect()
        };
        let tenants = |source: &crate::workload::SourceSpec| {
            source.people.tenants.map(|tenants| Zipf::new(tenants.count.max(1), tenants.zipf))
        };
        World {
            run_key,
            remotes: scenario.remotes.iter().map(|r| Remote::new(r, named(r.key))).collect(),
            tools: scenario.tools.iter().map(Tool::new).collect(),
            guards: scenario.models.iter().map(Guards::new).collect(),
            semantic: scenario
                .semantic_cache
                .as_ref()
                .map(|spec| SemanticCache::new(spec, key(run_key, Purpose::Eviction))),
            exact: scenario
                .exact_cache
                .as_ref()
                .map(|spec| ExactCache::new(spec, key(run_key, Purpose::Eviction))),
            limits: scenario.spend_limits.iter().map(|&spec| Limit::new(spec)).collect(),
            intent_words: intent_words(&scenario.symbols, &scenario.intents),
            steps: scenario.tasks.iter().enumerate().map(kits).collect(),
            shapes: scenario.tasks.iter().map(|task| Shape::of(&task.graph)).collect(),
            tenants: scenario.sources.iter().map(tenants).collect(),
            direct: (0..scenario.tasks.len())
                .map(|task| scenario.plain_call(TaskId(task as u32)))
                .collect(),
        }
    }
}

impl StepKit {
    fn new(step: &Step, step_key: u64, charts: &mut Charts) -> StepKit {
        let sampler = |query: &crate::cache::QuerySpec| QuerySampler::new(query, step.key);
        match &step.work {
            Work::ModelCall(call) => StepKit {
                prompts: match &call.lengths {
                    CallLengths::Drawn(lengths) | CallLengths::DrawnAsPart(lengths) => {
                        Some(Prompts::new(lengths, call.prefix.as_ref(), step.key, charts))
                    }
                    CallLengths::Request | CallLengths::Memory => None,
                },
                queries: call.query.as_ref().map(sampler),
                results: None,
            },
            Work::Tool(tool) => StepKit {
                prompts: None,
                queries: tool.query.as_ref().map(sampler),
                results: tool.cache.as_ref().map(|cache| ExactCache::new(cache, step_key)),
            },
            Work::SubTask(_) => StepKit::default(),
        }
    }
}

impl Scenario {
    /// The model of a task that is one plain call on pools, where nothing but the engine acts; such
    /// a task takes the short way through a simulation.
    #[must_use]
    pub fn plain_call(&self, task: TaskId) -> Option<ModelId> {
        let spec = &self.tasks[task.index()];
        let [step] = spec.graph.steps.as_slice() else { return None };
        let Work::ModelCall(call) = &step.work else { return None };
        let model = call.model?;
        let on_pools = |model: &ModelSpec| {
            model.served_by.iter().all(|serving| matches!(serving.backend, Backend::Pool(_)))
                && model.choice == BackendChoice::Ordered
                && model.guards == crate::resilience::GuardSpec::default()
                && model.quality.is_empty()
        };
        let plain = call.lengths.are_of_request(false)
            && !call.background
            && !(call.cacheable && call.query.is_some())
            && step.when.is_none()
            && step.repeat == Repeat::Once
            && step.required
            && step.check.is_none()
            && spec.budget == crate::tasks::TaskBudget::default()
            && spec.observability == Money::ZERO;
        // Rules do not matter to a call that names its model; what comes after it does.
        let routing = &self.routing;
        let stays = routing.escalations.is_empty()
            && routing.fallbacks.get(model.index()).is_none_or(Vec::is_empty)
            && routing.shares.iter().all(|share| share.of != model);
        let limited = self.spend_limits.is_empty();
        let alone = |source: &crate::workload::SourceSpec| {
            source.task != task || source.people == crate::workload::People::default()
        };
        let fits = plain
            && stays
            && limited
            && self.models.get(model.index()).is_none_or(on_pools)
            && self.sources.iter().all(alone);
        fits.then_some(model)
    }
}
