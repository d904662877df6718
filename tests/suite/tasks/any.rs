//! Any scenario of tasks: random graphs with every kind of step, on every kind of backend, under
//! every policy at sizes where it bites.
//!
//! Decisions are read off a tape of random words, the first choice for a zero, so that a failing
//! case shrinks towards the plain one.

use crate::swarm;
use proptest::collection::vec;
use proptest::prelude::*;
use sim::Scenario;
use sim::backends::{
    Answering, Bucket, ColdStart, DeviceClass, Discipline, Incident, Limits, Meter, PromptCache,
    RemoteKind, RemotePrice, RemoteSpec, Station, ToolCost, ToolSpec,
};
use sim::cache::{Eviction, ExactCacheSpec, QuerySpec, SemanticCacheSpec};
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::ids::{
    AttributeId, Backend, IntentId, ModelId, PlanId, PoolId, RemoteId, SymbolId, TaskId, ToolId,
};
use sim::predicate::{BackendSignal, Op, Predicate, Signal, Value};
use sim::price::{Beyond, LimitReached, PlanSpec, Premium, SpendLimit, SpendScope};
use sim::resilience::{
    AdmissionSpec, Backoff, BreakerSpec, Failure, FailureSet, GuardSpec, HedgeSpec, Jitter,
    RetryBudgetSpec, RetrySpec, SlidingWindow,
};
use sim::routing::{Fallback, RoutingSpec, Rule, Share};
use sim::scenario::{BackendChoice, ModelSpec, Serving};
use sim::tasks::{
    CallLengths, Check, Finding, Flaw, Graph, IntentSpec, Join, ModelCallSpec, Quality, Repeat,
    Rung, Step, TaskBudget, TaskSpec, ToolUse, Work,
};
use sim::units::{Money, Span, Time};
use sim::workload::{
    AttributeLaw, AttributeSpec, ClientSpec, People, PrefixSpec, ResubmitSpec, TenantSpec,
};

const NEVER_FEW: u32 = u32::MAX;

/// Any scenario of tasks.
pub(crate) fn scenarios() -> impl Strategy<Value = Scenario> {
    // Longer than scenarios need: what is drawn last, the tasks, must not be the plain choice.
    let tape = vec(prop_oneof![1 => Just(0u32), 9 => any::<u32>()], 900);
    let parts = (vec(swarm::pool(), 0..5), vec(swarm::sources(), 1..5), 3_000u64..16_000, 0u64..3);
    (parts, tape).prop_map(|((pools, sources, horizon, quarters), words)| {
        let mut tape = Tape { words, at: 0 };
        let mut scenario = Scenario {
            horizon: Span::from_millis(horizon),
            warm_up: Span::from_millis(horizon * quarters / 4),
            window: Span::from_millis(700),
            pools,
            sources,
            attributes: vec!["tier".into(), "size".into()],
            symbols: vec!["gold".into(), "tin".into(), "draft".into()],
            ..Scenario::default()
        };
        let (is_calm, ladder_alone) = (tape.chance(40), tape.chance(40));
        tape.fill(&mut scenario);
        if is_calm {
            calm(&mut scenario);
        }
        // Caches that hit by themselves leave nothing to the ladder's cached answers.
        if let (true, Some(cache)) = (ladder_alone, &mut scenario.semantic_cache) {
            cache.similarity_threshold = 1.1;
            scenario.exact_cache = None;
        }
        scenario
    })
}

/// Backends that take and answer everything: tasks get further than where nearly every call fails.
fn calm(scenario: &mut Scenario) {
    for remote in &mut scenario.remotes {
        (remote.error_rate, remote.limits, remote.max_context) = (0.0, Limits::default(), 9_000);
        (remote.station.servers, remote.station.queue_limit) = (None, None);
        remote.incidents.clear();
    }
    for tool in &mut scenario.tools {
        (tool.error_rate, tool.station.queue_limit) = (0.0, None);
    }
    for model in &mut scenario.models {
        (model.guards.timeout, model.guards.breaker) = (None, None);
        model.guards.admission = AdmissionSpec::default();
    }
}

struct Tape {
    words: Vec<u32>,
    at: usize,
}

impl Tape {
    /// Below `n`; 0 for a zero, and once the tape is read.
    fn below(&mut self, n: u32) -> u32 {
        let word = self.words.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        ((u64::from(word) * u64::from(n)) >> 32) as u32
    }

    fn chance(&mut self, per_cent: u32) -> bool {
        self.below(100) >= 100 - per_cent
    }

    fn maybe<T>(&mut self, per_cent: u32, make: impl FnOnce(&mut Tape) -> T) -> Option<T> {
        self.chance(per_cent).then(|| make(self))
    }

    fn share(&mut self) -> f64 {
        f64::from(self.below(101)) / 100.0
    }

    fn millis(&mut self, least: u32, most: u32) -> Span {
        Span::from_millis(u64::from(least + self.below(most - least + 1)))
    }

    fn time(&mut self, most: u32) -> DurationDist {
        match self.below(3) {
            0 => DurationDist::Fixed(self.millis(0, most)),
            1 => DurationDist::Exponential { mean: self.millis(1, most) },
            _ => DurationDist::Gamma { shape: 2.0, scale: self.millis(1, most) },
        }
    }

    fn count(&mut self, most: u32) -> LengthDist {
        LengthDist { law: LengthLaw::Fixed(1 + self.below(most)), min: 1, max: most }
    }

    fn money(&mut self) -> Money {
        Money(i128::from(self.below(4)) * 1_000_003)
    }

    fn fill(&mut self, scenario: &mut Scenario) {
        scenario.remotes = (0..=self.below(3)).map(|n| self.remote(n)).collect();
        scenario.tools = (0..=self.below(2)).map(|n| self.tool(n)).collect();
        scenario.intents = (0..=self.below(2)).map(|n| self.intent(n)).collect();
        let models = 1 + self.below(4);
        scenario.models = (0..models).map(|_| self.model(scenario)).collect();
        let plans = self.below(3);
        scenario.plans = (0..plans).map(|_| self.plan(models)).collect();
        let tasks = 1 + self.below(3);
        scenario.tasks = (0..tasks).map(|n| self.task(scenario, n, tasks)).collect();
        scenario.routing = self.routing(scenario, models);
        let eviction = |tape: &mut Tape| {
            [Eviction::Lru, Eviction::Fifo, Eviction::Random][tape.below(3) as usize]
        };
        scenario.semantic_cache = self.maybe(75, |tape| SemanticCacheSpec {
            similarity_threshold: [0.97, 0.75 + 0.15 * tape.share()][tape.below(2) as usize],
            ttl: tape.millis(100, 9_000),
            capacity: 1 + tape.below(20),
            eviction: eviction(tape),
            lookup: tape.millis(0, 20),
        });
        scenario.exact_cache = self.maybe(50, Tape::exact_cache);
        let limits = self.below(3);
        scenario.spend_limits = (0..limits).map(|_| self.spend_limit(models, tasks)).collect();
        let mut first = 0;
        for number in 0..scenario.sources.len() {
            let people = self.people(plans, &mut first);
            let source = &mut scenario.sources[number];
            (source.task, source.people) = (TaskId(self.below(tasks)), people);
            source.key ^= number as u64;
        }
    }

    fn remote(&mut self, number: u32) -> RemoteSpec {
        let kind = [RemoteKind::Hosted, RemoteKind::Provisioned, RemoteKind::Device];
        let kind = kind[self.below(3) as usize];
        let class = DeviceClass {
            name: "phone".into(),
            share: 0.7,
            slowness: 1.5,
            throttled: 0.2,
            throttled_slowness: 3.0,
        };
        RemoteSpec {
            name: format!("remote {number}"),
            key: 100 + u64::from(number),
            kind,
            answering: Answering {
                ttft: self.time(300),
                per_input_token: Span(u64::from(self.below(1_000_000))),
                tpot: self.time(20),
                slowness: Vec::new(),
            },
            station: self.station(),
            limits: self.limits(),
            error_rate: [0.0, 0.0, 0.1, 0.5, 1.0][self.below(5) as usize],
            incidents: self.maybe(40, Tape::incident).into_iter().collect(),
            cold_start: self.maybe(40, |tape| ColdStart {
                start: tape.time(900),
                idle_after: tape.maybe(70, |tape| tape.millis(1, 2_000)),
            }),
            prompt_cache: self.maybe(40, |tape| PromptCache {
                ttl: tape.millis(1, 3_000),
                min_tokens: tape.below(50),
                granularity: 1 + tape.below(16),
                capacity: 1 + tape.below(20),
            }),
            devices: if kind == RemoteKind::Device { vec![class] } else { Vec::new() },
            max_context: 80 + self.below(1_500),
            price: match self.below(3) {
                0 => RemotePrice::Metered(Meter {
                    input: self.money(),
                    cached_input: self.money(),
                    cache_write: self.money(),
                    output: self.money(),
                    call: self.money(),
                }),
                1 => RemotePrice::Free,
                _ => RemotePrice::Hourly {
                    units: 2,
                    per_unit_hour: Money(7_000_000_000_001),
                    asleep_free: self.chance(50),
                },
            },
        }
    }

    fn station(&mut self) -> Station {
        let disciplines = [Discipline::Fifo, Discipline::Priority, Discipline::ShortestFirst];
        Station {
            servers: self.maybe(60, |tape| 1 + tape.below(3)),
            queue_limit: self.maybe(50, |tape| tape.below(6)),
            discipline: disciplines[self.below(3) as usize],
        }
    }

    fn limits(&mut self) -> Limits {
        let bucket = |tape: &mut Tape, burst: u32| {
            tape.maybe(8, |tape| Bucket {
                per_minute: u64::from(1 + tape.below(300)),
                burst: u64::from(1 + tape.below(burst)),
            })
        };
        Limits {
            requests: bucket(self, 20),
            tokens: bucket(self, 3_000),
            input_tokens: bucket(self, 2_000),
            output_tokens: bucket(self, 900),
        }
    }

    fn incident(&mut self) -> Incident {
        Incident {
            at: Time(self.millis(0, 3_000).0),
            length: self.millis(1, 2_000),
            error_rate: self.share(),
            slowness: 1.0 + self.share(),
            error_after: self.millis(0, 500),
        }
    }

    fn tool(&mut self, number: u32) -> ToolSpec {
        let costs = [ToolCost::Tool, ToolCost::Retrieval, ToolCost::HumanReview];
        ToolSpec {
            name: format!("tool {number}"),
            key: 200 + u64::from(number),
            cost: costs[self.below(3) as usize],
            latency: self.time(400),
            station: self.station(),
            error_rate: [0.0, 0.0, 0.1, 1.0][self.below(4) as usize],
            incidents: self.maybe(20, Tape::incident).into_iter().collect(),
            per_call: self.money(),
            per_hour: Money(i128::from(self.below(3)) * 9_000_000_000_001),
        }
    }

    fn intent(&mut self, number: u32) -> IntentSpec {
        IntentSpec {
            name: ["draft", "tin", "other"][number as usize].into(),
            key: 300 + u64::from(number),
            confidence: 0.9 * self.share(),
            consistency: self.share(),
        }
    }

    fn model(&mut self, scenario: &Scenario) -> ModelSpec {
        let pools = (0..scenario.pools.len() as u32).map(|pool| Backend::Pool(PoolId(pool)));
        let remotes = (0..scenario.remotes.len() as u32).map(|r| Backend::Remote(RemoteId(r)));
        let mut all: Vec<Backend> = pools.chain(remotes).collect();
        let mut served_by = Vec::new();
        for _ in 0..=self.below(3) {
            if !all.is_empty() {
                let backend = all.remove(self.below(all.len() as u32) as usize);
                served_by.push(Serving { backend, weight: 0.1 + self.share() });
            }
        }
        let quality = |tape: &mut Tape| Quality {
            success: 1.0 - tape.share() * tape.share(),
            unsafe_rate: 0.8 * tape.share(),
        };
        // The first intents; mostly all.
        let intents = scenario.intents.len() as u32;
        let rated = if self.chance(70) { intents } else { self.below(intents + 1) };
        ModelSpec {
            name: "model".into(),
            key: scenario.models.len() as u64,
            served_by,
            choice: [BackendChoice::Ordered, BackendChoice::Weighted][self.below(2) as usize],
            guards: self.guards(),
            quality: (0..rated).map(|_| quality(self)).collect(),
        }
    }

    fn failures(&mut self) -> FailureSet {
        if self.chance(40) {
            return FailureSet::ALL;
        }
        let some = [Failure::Timeout, Failure::ServerError, Failure::Overloaded];
        some.into_iter().fold(FailureSet::default(), |set, failure| {
            if self.chance(60) { set.with(failure) } else { set }
        })
    }

    fn guards(&mut self) -> GuardSpec {
        let window = |tape: &mut Tape| match tape.below(2) {
            0 => SlidingWindow::Calls(1 + tape.below(10)),
            _ => SlidingWindow::Seconds(1 + tape.below(3)),
        };
        GuardSpec {
            timeout: self.maybe(40, |tape| tape.millis(1, 3_000)),
            cancel_on_timeout: self.chance(50),
            retry: self.maybe(50, |tape| RetrySpec {
                max_attempts: [2, 1, 3, 12, NEVER_FEW][tape.below(5) as usize],
                on: tape.failures(),
                backoff: match tape.below(2) {
                    0 => Backoff::Exponential {
                        initial: tape.millis(0, 200),
                        factor: 2.0,
                        max: Span::from_millis(900),
                        jitter: [Jitter::Full, Jitter::None, Jitter::Equal][tape.below(3) as usize],
                    },
                    _ => Backoff::Drawn(tape.time(200)),
                },
                respect_retry_after: tape.chance(50),
                budget: tape.maybe(50, |tape| RetryBudgetSpec {
                    ratio: tape.share(),
                    min_per_second: tape.below(3),
                    ttl: tape.millis(100, 2_000),
                }),
            }),
            hedge: self.maybe(40, |tape| HedgeSpec {
                delay: tape.millis(1, 400),
                max_attempts: 2 + tape.below(3),
            }),
            breaker: self.maybe(35, |tape| BreakerSpec {
                failure_rate_threshold: 1.0 + 99.0 * tape.share(),
                slow_call_rate_threshold: 100.0,
                slow_call_duration_threshold: tape.millis(1, 900),
                sliding_window: window(tape),
                minimum_number_of_calls: 1 + tape.below(5),
                wait_duration_in_open_state: tape.millis(1, 900),
                permitted_calls_in_half_open_state: 1 + tape.below(3),
                consecutive_failures: tape.maybe(30, |tape| 1 + tape.below(4)),
                failures: tape.failures(),
            }),
            admission: AdmissionSpec {
                max_in_flight: self.maybe(20, |tape| tape.below(6)),
                shed: (0..[0, 0, 0, 1, 2][self.below(5) as usize])
                    .map(|_| (self.below(3) as i32 - 1, self.below(5)))
                    .collect(),
            },
        }
    }

    fn plan(&mut self, models: u32) -> PlanSpec {
        PlanSpec {
            name: "plan".into(),
            per_month: self.money(),
            included: self.maybe(50, |tape| tape.below(20)),
            beyond: if self.chance(50) { Beyond::Refused } else { Beyond::Charged(self.money()) },
            per_success: self.money(),
            premium: self.maybe(50, |tape| Premium {
                models: vec![ModelId(tape.below(models))],
                per_task: tape.money(),
            }),
        }
    }

    fn spend_limit(&mut self, models: u32, tasks: u32) -> SpendLimit {
        SpendLimit {
            scope: match self.below(3) {
                0 => SpendScope::All,
                1 => SpendScope::Task(TaskId(self.below(tasks))),
                _ => SpendScope::EachTenant,
            },
            limit: Money(i128::from(self.below(4_000)) * 1_000_000),
            period: self.millis(1, 3_000),
            then: match self.below(2) {
                0 => LimitReached::SmallerModel(ModelId(self.below(models))),
                _ => LimitReached::Refuse,
            },
        }
    }

    fn people(&mut self, plans: u32, first: &mut u32) -> People {
        let tenants = self.maybe(60, |tape| {
            let count = 1 + tape.below(4);
            *first += count;
            TenantSpec {
                first: *first - count,
                count,
                zipf: tape.share(),
                plan: if plans > 0 { tape.maybe(60, |t| PlanId(t.below(plans))) } else { None },
            }
        });
        let attribute = |law: AttributeLaw, tape: &mut Tape| AttributeSpec {
            law,
            key: 400 + u64::from(tape.below(9)),
            per_tenant: tape.chance(50),
        };
        let words = AttributeLaw::Words(vec![(SymbolId(0), 0.4), (SymbolId(1), 1.0)]);
        let tier = if self.chance(70) { words } else { AttributeLaw::Absent };
        let size = AttributeLaw::Uniform { low: 0.0, high: 2.0 };
        People {
            tenants,
            attributes: vec![attribute(tier, self), attribute(size, self)],
            client: ClientSpec {
                patience: self.maybe(40, |tape| tape.time(4_000)),
                abandoned_work_goes_on: self.chance(40),
                resubmit: self.maybe(50, |tape| ResubmitSpec {
                    max_submissions: [2, 3, 20, NEVER_FEW][tape.below(4) as usize],
                    probability: tape.share(),
                    pause: tape.time(500),
                }),
            },
        }
    }

    fn task(&mut self, scenario: &Scenario, number: u32, tasks: u32) -> TaskSpec {
        let steps = 1 + self.below(6);
        let mut graph = Graph { steps: Vec::new() };
        for step in 0..steps {
            let step = self.step(scenario, &graph, step, number, tasks);
            graph.steps.push(step);
        }
        TaskSpec {
            name: format!("task {number}"),
            value: None,
            harm_cost: None,
            latency_slo: self.maybe(50, |tape| tape.millis(1, 3_000)),
            observability: self.money(),
            budget: self.budget(scenario.models.len() as u32),
            graph,
        }
    }

    fn budget(&mut self, models: u32) -> TaskBudget {
        let rungs = self.below(6);
        TaskBudget {
            max_model_calls: self.maybe(40, |tape| tape.below(8)),
            max_input_tokens: self.maybe(25, |tape| tape.below(1_500)),
            max_output_tokens: self.maybe(20, |tape| tape.below(400)),
            max_tool_time: self.maybe(20, |tape| tape.millis(0, 3_000)),
            max_latency: self.maybe(20, |tape| tape.millis(1, 9_000)),
            on_exceeded: (0..rungs).map(|at| self.rung(at, models)).collect(),
        }
    }

    fn rung(&mut self, at: u32, models: u32) -> Rung {
        // Behind other rungs a cached answer is hardly ever asked for.
        let kind = if at == 0 && self.chance(60) { 2 } else { self.below(5) };
        match kind {
            0 => Rung::ShorterContext { keep: 0.05 + 0.9 * self.share(), quality: self.share() },
            1 => Rung::SmallerModel { model: ModelId(self.below(models)) },
            2 => Rung::CachedAnswer { similarity: 0.5 + 0.4 * self.share() },
            3 => Rung::PartialResult { quality: self.share() },
            _ => Rung::Refine,
        }
    }

    fn step(
        &mut self,
        scenario: &Scenario,
        graph: &Graph,
        number: u32,
        task: u32,
        tasks: u32,
    ) -> Step {
        let after: Vec<u32> = (0..number).filter(|_| self.chance(45)).collect();
        let work = match self.below(5) {
            0..=2 => Work::ModelCall(self.call(scenario)),
            3 if task + 1 < tasks && self.chance(50) => {
                Work::SubTask(TaskId(task + 1 + self.below(tasks - task - 1)))
            }
            _ => Work::Tool(ToolUse {
                tool: ToolId(self.below(scenario.tools.len() as u32)),
                query: self.maybe(60, Tape::query),
                cache: self.maybe(60, Tape::exact_cache),
                acts: self.chance(60),
            }),
        };
        let check = if self.chance(50) { self.check(graph, &after) } else { None };
        Step {
            name: format!("step {number}"),
            key: 500 + u64::from(number),
            after,
            join: if self.chance(35) { Join::Any } else { Join::All },
            when: self.maybe(if check.is_some() { 40 } else { 20 }, Tape::condition),
            work,
            repeat: match self.below(4) {
                0 | 1 => Repeat::Once,
                2 => Repeat::Parallel(self.count(6)),
                _ => Repeat::Loop(self.count(6)),
            },
            required: !self.chance(40),
            check,
        }
    }

    /// A check of one of the model calls that the step waits for, at any distance.
    fn check(&mut self, graph: &Graph, after: &[u32]) -> Option<Check> {
        let mut before = vec![false; graph.steps.len()];
        for number in (0..graph.steps.len()).rev() {
            let waited = |later: &Step| later.after.contains(&(number as u32));
            let later = graph.steps.iter().zip(&before).any(|(step, is)| *is && waited(step));
            before[number] = later || after.contains(&(number as u32));
        }
        let is_call = |step: &Step| matches!(step.work, Work::ModelCall(_));
        let calls: Vec<u32> = (0..graph.steps.len() as u32)
            .filter(|&n| before[n as usize] && is_call(&graph.steps[n as usize]))
            .collect();
        if calls.is_empty() {
            return None;
        }
        Some(Check {
            step: calls[self.below(calls.len() as u32) as usize],
            looks_for: [Flaw::Wrong, Flaw::Unsafe][self.below(2) as usize],
            sensitivity: self.share(),
            specificity: self.share(),
            redo: self.below(4),
            then: [Finding::GoOn, Finding::Fail, Finding::Mend][self.below(3) as usize],
        })
    }

    fn call(&mut self, scenario: &Scenario) -> ModelCallSpec {
        let models = scenario.models.len() as u32;
        ModelCallSpec {
            intent: IntentId(self.below(scenario.intents.len() as u32)),
            model: self.maybe(40, |tape| ModelId(tape.below(models))),
            lengths: match self.below(3) {
                0 => CallLengths::Request,
                1 => CallLengths::Memory,
                _ => CallLengths::Drawn(LengthsSpec {
                    input: self.count(200),
                    output: self.count(60),
                    correlation: 0.0,
                }),
            },
            prefix: self.maybe(30, |tape| PrefixSpec {
                tokens: 1 + tape.below(60),
                distinct: 1 + tape.below(3),
                zipf: 1.0,
            }),
            query: self.maybe(85, Tape::query),
            cacheable: self.chance(75),
            decisive: self.chance(60),
            background: self.chance(15),
        }
    }

    fn query(&mut self) -> QuerySpec {
        QuerySpec {
            topics: 1 + self.below(3),
            zipf: 1.0,
            phrasings: 1 + self.below(4),
            neighbours: 1 + self.below(6),
            similarity: 0.9,
            // Near the thresholds: answers to other questions are taken as well.
            neighbour_similarity: [0.85, 0.7][self.below(2) as usize],
            spread: 0.05,
        }
    }

    fn exact_cache(&mut self) -> ExactCacheSpec {
        ExactCacheSpec {
            ttl: self.millis(1, 4_000),
            capacity: 1 + self.below(20),
            eviction: Eviction::Lru,
            lookup: self.millis(0, 20),
        }
    }

    /// A comparison of something that may be known.
    fn condition(&mut self) -> Predicate {
        let number =
            |tape: &mut Tape, scale: f64| Op::Constant(Value::Number(scale * tape.share()));
        let remote = Backend::Remote(RemoteId(0));
        let word = |signal, symbol| {
            vec![Op::Read(signal), Op::Constant(Value::Word(SymbolId(symbol))), Op::Equal]
        };
        let least = |signal, least: Op| vec![least, Op::Read(signal), Op::AtMost];
        let mut ops = match self.below(8) {
            0 => least(Signal::Elapsed, number(self, 2.0)),
            1 => word(Signal::Attribute(AttributeId(0)), self.below(2)),
            2 => least(Signal::Attribute(AttributeId(1)), number(self, 2.0)),
            3 => least(Signal::PromptTokens, number(self, 200.0)),
            4 => least(Signal::ModelCalls, number(self, 5.0)),
            5 => word(Signal::Intent, 2),
            6 => vec![Op::Read(Signal::Backend(remote, BackendSignal::BreakerOpen))],
            _ => least(Signal::Backend(remote, BackendSignal::Waiting), number(self, 3.0)),
        };
        if self.chance(40) {
            ops.push(Op::Not);
        }
        Predicate::new(ops).expect("well formed")
    }

    fn routing(&mut self, scenario: &Scenario, models: u32) -> RoutingSpec {
        let model = |tape: &mut Tape| ModelId(tape.below(models));
        let confident = |tape: &mut Tape| {
            let ops = vec![
                Op::Read(Signal::Confidence),
                Op::Constant(Value::Number(tape.share())),
                Op::Less,
            ];
            Predicate::new(ops).expect("well formed")
        };
        let (rules, escalations, shares) = (self.below(3), self.below(3), self.below(5));
        let default = model(self);
        RoutingSpec {
            default_model: Some(default),
            by_intent: scenario.intents.iter().map(|_| self.maybe(30, model)).collect(),
            rules: (0..rules)
                .map(|_| Rule { when: self.condition(), model: model(self) })
                .collect(),
            escalations: (0..escalations)
                .map(|_| Rule { when: confident(self), model: model(self) })
                .collect(),
            fallbacks: (0..models)
                .map(|_| {
                    let count = self.below(3);
                    (0..count)
                        .map(|_| Fallback { model: model(self), on: self.failures() })
                        .collect()
                })
                .collect(),
            shares: (0..shares)
                .map(|n| Share {
                    of: [default, model(self)][self.below(2) as usize],
                    to: model(self),
                    share: self.share(),
                    shadow: self.chance(50),
                    key: 600 + u64::from(n),
                })
                .collect(),
            fail_closed: self.chance(70),
        }
    }
}
