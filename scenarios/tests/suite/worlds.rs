//! Tasks of several steps, places outside our pools, intents, attributes and users: what they
//! resolve to, what is refused, and that what was resolved runs.

use crate::support::{DESK, SMALL, load};
use scenarios::resolved::Origin;
use scenarios::{ProblemKind as Kind, Problems, Resolved};
use sim::backends::{RemoteKind, RemotePrice};
use sim::ids::{Backend, IntentId, ModelId, PoolId, RemoteId, TaskId};
use sim::scenario::BackendChoice;
use sim::simulation::Simulation;
use sim::tasks::{CallLengths, Finding, Flaw, Join, Repeat, Work};
use sim::units::{Money, Span};
use sim::workload::AttributeLaw;

fn desk(changes: &[&str]) -> Result<Resolved, Problems> {
    load(DESK, changes)
}

#[test]
fn a_whole_world_resolves_runs_and_loses_nobody() {
    let resolved = desk(&[]).expect("a good scenario");
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    for replication in 0..3 {
        let outcome = Simulation::new(&resolved.scenario, 7, replication).run();
        assert!(outcome.audit.is_empty(), "{:?}", outcome.audit);
        let task = &outcome.tasks[0];
        let ended = task.succeeded + task.failed + task.rejected + task.abandoned;
        assert_eq!(task.arrived, ended + task.in_flight);
        assert!(task.arrived > 500 && task.succeeded > task.arrived / 2, "{task:?}");
        // Every place had something to do, and checks, agents and reviewers too.
        assert!(outcome.remotes.iter().all(|remote| remote.billed.attempts > 0));
        assert!(outcome.tools.iter().all(|tool| tool.uses > 0));
        assert!(outcome.models.iter().all(|model| model.attempts > 0));
    }
}

/// Corners of what a world may say; each has to run, and to add up.
#[test]
fn every_corner_of_a_world_adds_up() {
    let corners: [&[&str]; 22] = [
        &["tasks.reply.steps.5.join=any"],
        &["tasks.reply.steps.4.parallel={ kind = 'geometric', mean = 4 }"],
        &["tasks.reply.steps.4.loop={ kind = 'empirical', values = [[1, 1], [5, 1]] }"],
        &["tasks.reply.steps.4.required=false", "tools.crm.error_rate=0.5"],
        &["tasks.reply.steps.2.required=false", "tools.kb.error_rate=1.0"],
        &["tasks.reply.steps.6.check.then=mend", "intents.draft.quality.small.success=0.1"],
        &["tasks.reply.steps.6.check.then=fail", "intents.draft.quality.small.success=0.1"],
        &["tasks.reply.steps.6.check.sensitivity=0", "tasks.reply.steps.6.check.specificity=0"],
        &["tasks.reply.steps.5.loop=3"],
        &["tasks.reply.steps.5.parallel=3"],
        &["tasks.reply.steps.1.model_call.background=true"],
        &["tools.crm.concurrency=1", "tools.crm.queue_limit=0"],
        &["tools.desk.concurrency=1", "tools.desk.discipline=shortest-first"],
        &["providers.mini.rpm=1", "providers.mini.burst=1ms", "models.small.served_by=['mini']"],
        &["providers.mini.tpm=1", "models.small.served_by=['mini', 'h100']"],
        &["providers.mini.incidents=[{ at = '0s', length = '1h', error_rate = 1 }]"],
        &["provisioned.units.concurrency=1", "provisioned.units.queue_limit=1"],
        &["devices.phones.classes=[{ name = 'all', share = 1, throttled = 1 }]"],
        &["traffic.web.patience={ kind = 'fixed', length = '1s' }"],
        &[
            "traffic.web.patience={ kind = 'fixed', length = '2s' }",
            "traffic.web.abandoned_work_goes_on=true",
            "traffic.web.resubmit.max=1000",
            "traffic.web.resubmit.probability=1",
        ],
        &["traffic.web.sessions.memory={ every = 1, ratio = 1 }"],
        &[
            "pools.h100.engine_args.max_num_queued_reqs=1",
            "tasks.reply.steps.9.model_call.background=false",
        ],
    ];
    for changes in corners {
        let changes = [&["scenario.horizon=3m"], changes].concat();
        let resolved = desk(&changes).unwrap_or_else(|problems| panic!("{changes:?}: {problems}"));
        let outcome = Simulation::new(&resolved.scenario, 3, 0).run();
        assert!(outcome.audit.is_empty(), "{changes:?}: {:?}", outcome.audit);
        let task = &outcome.tasks[0];
        let ended = task.succeeded + task.failed + task.rejected + task.abandoned;
        assert_eq!(task.arrived, ended + task.in_flight, "{changes:?}");
        assert!(task.arrived > 100, "{changes:?}");
    }
}

#[test]
fn steps_are_sorted_and_keep_what_they_say() {
    let resolved = desk(&[]).expect("a good scenario");
    let scenario = &resolved.scenario;
    let task = &scenario.tasks[0];
    assert_eq!(task.latency_slo, Some(Span::from_secs(30)));
    assert_eq!(task.harm_cost, Some(Money(5 * Money::PICO_PER_DOLLAR)));
    let names: Vec<&str> = task.graph.steps.iter().map(|step| step.name.as_str()).collect();
    let at = |name: &str| names.iter().position(|other| *other == name).expect(name);
    let step = |name: &str| &task.graph.steps[at(name)];
    for (number, step) in task.graph.steps.iter().enumerate() {
        assert!(step.after.iter().all(|&before| (before as usize) < number), "{names:?}");
        assert_eq!(step.join, Join::All);
    }
    assert_eq!(step("draft").after.len(), 3);
    assert!(!step("account").required && step("search").required);
    assert!(step("agent").when.is_some());
    assert_eq!(step("agent").work, Work::SubTask(TaskId(1)));
    let Work::ModelCall(draft) = &step("draft").work else { panic!("a call") };
    assert_eq!((draft.model, &draft.lengths), (Some(ModelId(0)), &CallLengths::Request));
    assert_eq!((draft.intent, draft.decisive), (IntentId(0), true));
    let Work::ModelCall(triage) = &step("triage").work else { panic!("a call") };
    assert!(matches!(triage.lengths, CallLengths::Drawn(_)) && triage.cacheable);
    let Work::ModelCall(memory) = &step("remember").work else { panic!("a call") };
    assert_eq!((&memory.lengths, memory.background), (&CallLengths::Memory, true));
    assert_eq!(scenario.intents[memory.intent.index()].name, "other");

    let verify = step("verify").check.as_ref().expect("a check");
    assert_eq!((verify.step as usize, verify.redo), (at("draft"), 2));
    assert_eq!((verify.looks_for, verify.then), (Flaw::Wrong, Finding::GoOn));
    let guard = step("guard").check.as_ref().expect("a check");
    assert_eq!((guard.looks_for, guard.then), (Flaw::Unsafe, Finding::Fail));
    assert_eq!(step("review").check.as_ref().expect("a check").then, Finding::Mend);

    let research = &scenario.tasks[1].graph.steps;
    assert_eq!((research[1].name.as_str(), research[1].after.as_slice()), ("step-2", &[0][..]));
    assert!(matches!(&research[0].repeat, Repeat::Loop(law) if law.max == 20));
    assert!(matches!(&research[1].repeat, Repeat::Parallel(law) if law.max == 3));
}

#[test]
fn places_outside_have_their_prices_limits_and_sources() {
    let resolved = desk(&[]).expect("a good scenario");
    let scenario = &resolved.scenario;
    let [mini, units, phones] = scenario.remotes.as_slice() else { panic!("three remotes") };
    assert_eq!(mini.kind, RemoteKind::Hosted);
    let RemotePrice::Metered(meter) = mini.price else { panic!("by the token") };
    // $0.15 and $0.075 per million tokens, half off.
    assert_eq!((meter.input, meter.cached_input), (Money(75_000), Money(37_500)));
    assert_eq!((meter.cache_write, meter.output), (Money(75_000), Money(300_000)));
    let requests = mini.limits.requests.expect("rpm");
    assert_eq!((requests.per_minute, requests.burst), (600, 100));
    assert_eq!(mini.max_context, 128_000);
    let origin = |key: &str| {
        let line = resolved.provenance.iter().find(|line| line.key == key).expect(key);
        line.origin.clone()
    };
    for key in ["input", "output", "ttft", "tpot", "max_context"] {
        let key = format!("providers.mini.{key}");
        assert!(matches!(origin(&key), Origin::Catalogue(_)), "{key}");
    }
    let hourly = RemotePrice::Hourly {
        units: 2,
        per_unit_hour: Money(8 * Money::PICO_PER_DOLLAR),
        asleep_free: true,
    };
    assert_eq!((units.price, units.station.servers), (hourly, Some(16)));
    assert_eq!((phones.price, phones.devices.len()), (RemotePrice::Free, 2));
    assert_eq!(scenario.models[1].choice, BackendChoice::Weighted);
    assert_eq!(scenario.models[1].served_by[1].backend, Backend::Remote(RemoteId(1)));
    assert_eq!(scenario.models[0].served_by[0].backend, Backend::Pool(PoolId(0)));
    assert_eq!(scenario.models[0].quality[0].unsafe_rate, 0.02);
    assert_eq!(scenario.tools[4].per_hour, Money(40 * Money::PICO_PER_DOLLAR));
}

#[test]
fn users_have_tenants_attributes_and_patience() {
    let resolved = desk(&[]).expect("a good scenario");
    let people = &resolved.scenario.sources[0].people;
    let tenants = people.tenants.expect("tenants");
    // Tenant 0 is traffic without tenants, whether there is any or not.
    assert_eq!((tenants.first, tenants.count), (1, 50));
    assert_eq!(people.client.resubmit.as_ref().expect("they ask again").max_submissions, 2);
    assert!(people.attributes[0].per_tenant && !people.attributes[1].per_tenant);
    let AttributeLaw::Words(words) = &people.attributes[0].law else { panic!("words") };
    assert_eq!(words.iter().map(|word| word.1).collect::<Vec<_>>(), [0.75, 1.0]);
    let word = |at: usize| resolved.scenario.symbols[words[at].0.index()].as_str();
    assert_eq!((word(0), word(1)), ("free", "enterprise"));
    // The source's own law wins.
    assert_eq!(people.attributes[1].law, AttributeLaw::Uniform { low: 0.5, high: 1.0 });
}

#[test]
fn a_task_of_one_call_is_what_it_was() {
    let resolved = load(SMALL, &[]).expect("a good scenario");
    let scenario = &resolved.scenario;
    let [step] = scenario.tasks[0].graph.steps.as_slice() else { panic!("one step") };
    let Work::ModelCall(call) = &step.work else { panic!("a call") };
    assert_eq!((call.model, &call.lengths), (Some(ModelId(0)), &CallLengths::Request));
    assert!(scenario.intents.is_empty() && scenario.models[0].quality.is_empty());
    assert_eq!(scenario.sources[0].people, sim::workload::People::default());
}

#[test]
fn mistakes_of_a_world_are_named() {
    let cases: [(&str, Kind, &str); 47] = [
        ("tasks.reply.steps.1.after=['search']", Kind::Conflict, "search → triage → search"),
        ("tasks.research.steps.0.after=[\"thnk\"]", Kind::UnknownName, "no step is called `thnk`"),
        ("tasks.research.steps.1={ sub_task = 'reply' }", Kind::Conflict, "reply → research"),
        ("tasks.research.steps.1={ sub_task = 'replies' }", Kind::UnknownName, "no task is called"),
        ("tasks.research.steps.1={}", Kind::MissingKey, "the step does nothing"),
        ("tasks.research.steps.1.sub_task=reply", Kind::MissingKey, "more than one thing"),
        ("tasks.research.steps.1.id=think", Kind::Conflict, "two steps are called `think`"),
        ("tasks.research.steps.1.tool=crn", Kind::UnknownName, "no tool is called `crn`"),
        ("tasks.research.steps.1={ retrieval = 'crm' }", Kind::Conflict, "of another kind"),
        ("tasks.research.steps.1.loop=2", Kind::Conflict, "not both"),
        ("tasks.research.steps.1.parallel=1001", Kind::BadValue, "out of range"),
        ("tasks.research.steps.0.acts=true", Kind::Conflict, "only a tool"),
        ("tasks.research.steps.0.when=teir == 'x'", Kind::UnknownName, "teir"),
        ("tasks.research.steps.0.condition=1 < 2", Kind::BadValue, "always"),
        ("tasks.research.steps.1.repeat_until_success=101", Kind::BadValue, "out of range"),
        ("tasks.research.steps.0.repeat_until_success=1", Kind::MissingKey, "exactly one"),
        (
            "tasks.research.steps.1.check={ of = 'step-2' }",
            Kind::Conflict,
            "that this step waits for",
        ),
        // The draft comes after the triage, which therefore cannot look at it.
        ("tasks.reply.steps.1.check={ of = 'draft' }", Kind::Conflict, "that this step waits for"),
        ("tasks.research.steps.0.model_call.model=", Kind::BadValue, "empty"),
        ("tasks.research.steps.0.model_call.model=bigger", Kind::UnknownName, "no model"),
        ("tasks.research.steps.0.model_call.input.tokens=40000", Kind::DoesNotFit, "not fit"),
        ("tasks.research.steps.0.model_call.memory=true", Kind::Conflict, "its prompt"),
        (
            "tasks.reply.steps.5.model_call.input={ kind='fixed', tokens=9 }",
            Kind::MissingKey,
            "go together",
        ),
        ("tasks.reply.steps.5.model_call.prefix={ tokens = 9 }", Kind::Conflict, "own prefix"),
        ("tasks.reply.steps.1.model_call.query.spread=0.5", Kind::Conflict, "at most"),
        ("tasks.reply.steps.9={ tool = 'crm' }", Kind::MissingKey, "keeps the memory"),
        ("tasks.reply.p95_latency_slo=6s", Kind::Conflict, "written twice"),
        ("traffic.web.sessions.memory={ ratio = 0.5 }", Kind::MissingKey, "when the conversation"),
        ("traffic.web.tenants.plan=gold", Kind::UnknownName, "no plan is called"),
        ("traffic.web.tenants.count=1000001", Kind::BadValue, "out of range"),
        ("traffic.web.attributes={ mod = { uniform = [0, 1] } }", Kind::UnknownName, "attribute"),
        ("attributes.mood.uniform=[1, 0]", Kind::Conflict, "either `values`"),
        ("attributes={ confidence = { uniform = [0, 1] } }", Kind::BadValue, "something else"),
        ("intents.draft.quality={ smal = { success = 1 } }", Kind::UnknownName, "no model"),
        ("intents.draft.consistency=1.5", Kind::BadValue, "out of range"),
        (
            "models.small.served_by=[{ backend = 'h100', weight = 1 }, 'mini']",
            Kind::Conflict,
            "or none",
        ),
        ("models.small.served_by=[{ backend = 'h100', weight = 0 }]", Kind::BadValue, "positive"),
        ("models.small.served_by=['h100', 'h100']", Kind::Conflict, "named twice"),
        ("models.small.served_by=['minni']", Kind::UnknownName, "no backend is called `minni`"),
        ("providers.mini.catalog=openai/gpt-5o", Kind::UnknownName, "no hosted model"),
        (
            "providers.mini={ ttft = { kind = 'fixed', length = '1s' } }",
            Kind::MissingKey,
            "missing",
        ),
        ("providers.mini.input=$0.0000001/Mtok", Kind::BadValue, "finer than a pico-dollar"),
        ("providers.mini.hourly=[['2h', 1], ['1h', 1]]", Kind::Conflict, "in order"),
        (
            "provisioned.units.cold_start={ start = { kind = 'fixed', length = '1s' } }",
            Kind::Conflict,
            "idle_after",
        ),
        ("devices.phones.classes.0.share=0.8", Kind::Conflict, "more than all users"),
        ("devices.phones.classes=[]", Kind::MissingKey, "no class of device"),
        ("tools.crm.latency=1s", Kind::WrongType, "expected a table"),
    ];
    let mut unexpected = Vec::new();
    for (change, kind, message) in cases {
        let told = match desk(&[change]) {
            Ok(_) => "accepted".to_owned(),
            Err(problems) => {
                assert!(problems.list.iter().all(|problem| problem.site.place.line > 0));
                let is_it = |p: &scenarios::Problem| p.kind == kind && p.message.contains(message);
                if problems.list.iter().any(is_it) {
                    continue;
                }
                problems.to_string()
            }
        };
        unexpected.push(format!("{change}: {told}"));
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

#[test]
fn times_of_the_catalogue_have_a_source_of_their_own_and_say_on_which_model_they_were_measured() {
    let told = |changes: &[&str]| {
        let resolved = desk(changes).expect("a good scenario");
        let origin = |key: &str| {
            let line = resolved.provenance.iter().find(|line| line.key == key).expect(key);
            line.origin.to_string()
        };
        let keys = ["input", "ttft", "tpot", "prompt_cache"];
        let origins = keys.map(|key| origin(&format!("providers.mini.{key}")));
        let warnings = resolved.warnings.iter().map(|warning| warning.message.clone());
        (origins, warnings.collect::<Vec<_>>())
    };
    let ([input, ttft, tpot, cache], warnings) = told(&[]);
    for (origin, source) in [
        (&input, "2026-11-26: https://github.com/BerriAI/litellm"),
        (&ttft, "openai/gpt-4o-mini, 2026-11-26: 10,080 probes"),
        (&tpot, "openai/gpt-4o-mini, 2026-08-11: a small sample"),
        (&cache, "https://developers.openai.com"),
    ] {
        assert!(origin.contains(source) && !origin.contains("stands in"), "{origin}");
    }
    assert_eq!(warnings, Vec::<String>::new());

    let borrowed = "providers.mini.catalog=openai/gpt-4o";
    let ([input, ttft, tpot, _], warnings) = told(&[borrowed]);
    assert!(input.contains("openai/gpt-4o, 2026-11-26"), "{input}");
    for origin in [ttft, tpot] {
        let whose = "no measurement of openai/gpt-4o, openai/gpt-4o-mini stands in, 2026-";
        assert!(origin.contains(whose), "{origin}");
    }
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    let told =
        "of openai/gpt-4o and borrows TTFT from openai/gpt-4o-mini, TPOT from openai/gpt-4o-mini;";
    assert!(warning.contains(told), "{warning}");
    // A time that the file states is not borrowed.
    let own = "providers.mini.tpot={ kind = 'fixed', length = '9ms' }";
    let resolved = desk(&[borrowed, own]).expect("a good scenario");
    let [warning] = resolved.warnings.as_slice() else { panic!("{:?}", resolved.warnings) };
    assert!(!warning.message.contains("TPOT"), "{}", warning.message);
}

#[test]
fn what_nothing_uses_is_warned_about() {
    let warned = |changes: &[&str], message: &str| {
        let resolved = desk(changes).expect("a good scenario");
        let found = resolved.warnings.iter().any(|warning| warning.message.contains(message));
        assert!(found, "{message}: {:?}", resolved.warnings);
    };
    let unused = "no task that traffic starts calls a model that this";
    warned(&["models.local.served_by=['mini']"], &format!("{unused} backend serves"));
    // Nothing names a model of the pool, or only a task that never runs does.
    let pool = DESK.find("[pools.h100]").zip(DESK.find("[providers.mini]"));
    let pool = pool.map(|(from, to)| DESK[from..to].replace("h100", "spare")).expect("its text");
    let never = "[models.other]\nserved_by = ['spare']\n[tasks.never]\nsteps = [{ model_call = { \
                 model = 'other', input = { kind = 'fixed', tokens = 9 }, output = { kind = \
                 'fixed', tokens = 9 } } }]\n";
    let billed = format!("{unused} pool serves, and it is billed all the same");
    for text in [format!("{DESK}\n{pool}"), format!("{DESK}\n{pool}{never}")] {
        let resolved = load(&text, &[]).expect("a good scenario");
        let found = resolved.warnings.iter().any(|warning| warning.message == billed);
        assert!(found, "{:?}", resolved.warnings);
    }
    // Provisioned units cost as long as they do not sleep.
    for (sleeps, cost) in [("false", true), ("true", false)] {
        let awake = format!("provisioned.units.scale_to_zero={sleeps}");
        let resolved = desk(&["models.big.served_by=['h100']", &awake]).expect("a good scenario");
        let message = format!("{unused} backend serves");
        let mut warnings = resolved.warnings.iter().map(|warning| warning.message.as_str());
        let found = warnings.find(|text| text.starts_with(&message)).expect("a warning");
        assert_eq!(found.ends_with("billed all the same"), cost, "{found}");
    }
    warned(
        &["tasks.reply.steps.2={ id = 'search', tool = 'crm', after = ['triage'] }"],
        "no task uses",
    );
    warned(&["tasks.reply.steps.4={ id = 'agent', tool = 'crm' }"], "no traffic starts this task");
    warned(
        &["intents.draft.quality={ big = { success = 0.9 } }"],
        "no quality is stated for small",
    );
    let two = DESK.replace("[providers.mini]", "[providers.h100]");
    let problems = load(&two, &[]).expect_err("one name, two backends");
    assert!(problems.to_string().contains("is the name of another backend too"), "{problems}");
}

#[test]
fn parts_of_parts_cannot_explode() {
    // Forty tasks, each twice the one before: 2^40 steps, found out without counting to there.
    let mut text = SMALL.to_owned();
    for level in 0..40 {
        let below = if level == 0 { "chat".to_owned() } else { format!("t{}", level - 1) };
        text += &format!("\n[tasks.t{level}]\nsteps = [{{ sub_task = \"{below}\", loop = 2 }}]\n");
    }
    let problems = load(&text, &[]).expect_err("refused");
    assert!(problems.to_string().contains("executions of steps"), "{problems}");
    let many = format!("steps = [{}]", "{ model_call = {} },".repeat(201));
    let text = SMALL.replace("[models.small]", &format!("[tasks.long]\n{many}\n[models.small]"));
    let problems = load(&text, &[]).expect_err("refused");
    assert!(problems.to_string().contains("at most 200 are allowed"), "{problems}");
}
