//! What a bad file is told.

use crate::support::{DESK, SMALL, load, small};
use scenarios::{ProblemKind as Kind, Problems};

fn refused(overrides: &[&str]) -> Problems {
    match small(overrides) {
        Ok(_) => panic!("{overrides:?} was accepted"),
        Err(problems) => problems,
    }
}

#[test]
fn all_problems_come_at_once_with_positions() {
    let text = SMALL
        .replace("horizon = \"1h\"", "horizn = \"1h\"\nseed = -1")
        .replace("task = \"chat\"", "task = \"chit\"")
        .replace("replicas = 2", "replicas = 0")
        .replace("[objectives]", "[objectives]\n\"chat.p96_latency\" = \"<= 1s\"");
    let problems = load(&text, &[]).expect_err("refused");
    let lines: Vec<_> =
        problems.list.iter().map(|p| (p.kind, p.site.place.line, p.site.key.as_str())).collect();
    for expected in [
        (Kind::UnknownKey, 3, "scenario.horizn"),
        (Kind::BadValue, 4, "scenario.seed"),
        (Kind::UnknownName, 7, "traffic.web.task"),
        (Kind::BadValue, 21, "pools.h100.replicas"),
        (Kind::UnknownName, 27, "objectives.\"chat.p96_latency\""),
    ] {
        assert!(lines.contains(&expected), "{expected:?} in {problems}");
    }
    assert!(lines.is_sorted_by_key(|line| line.1), "{problems}");
    let text = problems.to_string();
    for advice in ["did you mean `horizon`?", "did you mean `chat`?", "did you mean `p90_latency`?"]
    {
        assert!(text.contains(advice), "{advice} in {text}");
    }
}

#[test]
fn each_mistake_is_named() {
    let cases: [(&str, Kind, &str); 23] = [
        ("scenario.horizon=3600", Kind::WrongType, "a bare number has no unit"),
        ("scenario.horizon=101d", Kind::BadValue, "101d is out of range"),
        ("scenario.horizon=", Kind::BadValue, "empty"),
        ("scenario.warm_up=1h", Kind::Conflict, "before the horizon"),
        ("scenario.window=1us", Kind::BadValue, "windows"),
        ("scenaro.horizon=1h", Kind::UnknownKey, "scenaro"),
        ("pools.h101.replicas=2", Kind::UnknownName, "this adds `h101`"),
        ("pools.h100.replicas=10001", Kind::BadValue, "out of range"),
        ("pools.h100.gpu=[1]", Kind::WrongType, "expected a string"),
        ("models.small.served_by=[\"h200\"]", Kind::UnknownName, "no backend is called `h200`"),
        ("models.small.served_by=[]", Kind::MissingKey, "no backend serves"),
        ("tasks.chat.steps=[{}]", Kind::MissingKey, "the step does nothing"),
        ("tasks.chat.steps.0.model_call.model=big", Kind::UnknownName, "no model is called"),
        ("tasks.chat.steps.0.model_call.output.tokens=9000", Kind::DoesNotFit, "does not fit"),
        ("tasks.chat.steps.0.model_call.output.kind=normal", Kind::BadValue, "not a choice"),
        ("traffic.web.prefix={ tokens = 9000 }", Kind::DoesNotFit, "does not fit"),
        ("traffic.web.scale=0.5x", Kind::BadValue, "burstier"),
        ("traffic.web.trace={ file = 'x', format = 'azure-2023' }", Kind::Conflict, "one of"),
        ("load_balancing.h100.strategy=fastest", Kind::BadValue, "not a choice"),
        ("load_balancing.h200.strategy=random", Kind::UnknownName, "no pool is called"),
        ("pools.h100.engine_args.max_model_len=200000", Kind::DoesNotFit, "would not start"),
        ("pools.h100.step_time.fixed=2h", Kind::BadValue, "larger than an hour"),
        ("objectives.chat.p95_latency=6s", Kind::BadValue, "starts with `<=`"),
    ];
    for (change, kind, message) in cases {
        let problems = refused(&[change, "traffic.web.how=burstier"]);
        let found = problems.list.iter().any(|p| p.kind == kind && p.message.contains(message));
        assert!(found, "{change}: {problems}");
    }
}

#[test]
fn a_drawn_length_is_cut_with_a_warning() {
    let resolved = small(&["tasks.chat.steps.0.model_call.input.max=50000"]).expect("cut");
    assert_eq!(resolved.scenario.sources[0].lengths.input.max, 8_192 - 100);
    assert!(resolved.warnings.iter().any(|w| w.message.contains("are cut at 8092")));
}

#[test]
fn an_unknown_number_is_told_what_there_is() {
    for (objective, help) in [
        ("chat.cost_per_succesful_task", "did you mean `cost_per_successful_task`?"),
        ("chat.price", "cost_per_successful_task, margin_per_task"),
        ("small.ttfp_p95", "did you mean `ttft_p95`?"),
        ("h100.load", "known: utilisation"),
        ("spend.per_week", "known: per_day, per_month, per_successful_task"),
        ("chit.p95_latency", "did you mean `chat`?"),
        ("margn_per_task", "did you mean `margin_per_task`?"),
        ("per_month", "did you mean `spend.per_month`?"),
        ("speed", "OWNER is one of chat, small, h100, spend, margin"),
    ] {
        let problems = refused(&[&format!("objectives.{objective}=<= 1s")]);
        let found = problems.list.iter().any(|problem| {
            problem.kind == Kind::UnknownName
                && problem.help.as_ref().is_some_and(|given| given.contains(help))
        });
        assert!(found, "{objective}: {problems}");
    }
    let worthless = SMALL.replace("value = \"$0.12\"", "");
    let problems = load(&worthless, &["objectives.chat.margin_per_task=>= $0"]);
    let problems = problems.expect_err("refused");
    assert!(problems.to_string().contains("has no `value`"), "{problems}");
}

#[test]
fn one_mistake_gives_one_problem() {
    let step = "tasks.chat.steps.0.model_call";
    let call = |rest: &str| format!("{step}={{ model = 'small', {rest} }}");
    let output = "output = { kind = 'fixed', tokens = 5 }";
    for (change, message) in [
        (call(&format!("input = {{ kind = 'lognormal', mean = 5, cv = nan }}, {output}")), "NaN"),
        (call(&format!("input = {{ kind = 'lognormal', p05 = 5, p95 = 9 }}, {output}")), "`p05`"),
        (call(&format!("inptu = {{ kind = 'fixed', tokens = 5 }}, {output}")), "`inptu`"),
        (call(&format!("input = {{ kind = 'empirical', values = 7 }}, {output}")), "list"),
        ("traffic.web.arrivals.rate=nan/s".to_owned(), "`nan/s` is not a plain decimal number"),
        ("traffic.web.arrivals={ kind = 'weibull', rate = '2/s', shap = 2 }".to_owned(), "`shap`"),
        ("traffic.web.arrivals={ kind = 'mmpp', states = 5 }".to_owned(), "a list"),
        ("traffic.web.profile={ points = [{ at = '0h', factr = 1 }] }".to_owned(), "`factr`"),
        ("tasks.chat.steps=[{ model_cal = {} }]".to_owned(), "`model_cal`"),
        ("traffic.web.input={ kind = 'gamma', mean = 5, cv = nan }".to_owned(), "NaN"),
    ] {
        let problems = refused(&[&change]);
        let [problem] = problems.list.as_slice() else { panic!("{change}: {problems}") };
        assert!(problem.message.contains(message), "{change}: {problems}");
    }
    let starter = scenarios::library::find("starter").expect("shipped");
    let slip =
        ["pools.h100-small.engine_args={ max_modle_len = 16384, gpu_memory_utilization = 0.3 }"
            .to_owned()];
    let problems = scenarios::load_library(starter, None, &slip).map(|_| ()).expect_err("refused");
    let [problem] = problems.list.as_slice() else { panic!("{problems}") };
    assert!(problem.message.contains("max_modle_len"), "{problems}");
    // Without the slip the default length does not fit, which is then worth saying.
    let without = ["pools.h100-small.engine_args={ gpu_memory_utilization = 0.3 }".to_owned()];
    let problems =
        scenarios::load_library(starter, None, &without).map(|_| ()).expect_err("refused");
    assert!(problems.list.iter().any(|p| p.kind == Kind::DoesNotFit), "{problems}");
}

#[test]
fn planned_features_are_refused_as_such() {
    for change in ["autoscaling.h100.min=1", "faults=[]", "pools.h100.zones=2", "outages={}"] {
        let problems = refused(&[change]);
        let [problem] = problems.list.as_slice() else { panic!("{change}: {problems}") };
        assert!(problem.message.ends_with("is not simulated yet"), "{problems}");
        assert_eq!(problem.kind, Kind::UnknownKey);
    }
}

#[test]
fn a_run_beyond_all_bounds_is_refused_before_it_starts() {
    let hopeless = ["traffic.web.arrivals.rate=1000000000/s", "scenario.horizon=100d"];
    let problems = refused(&hopeless);
    let [problem] = problems.list.as_slice() else { panic!("{problems}") };
    assert!(problem.message.contains("8640000 billion calls"), "{problems}");
    assert_eq!(problem.site.key, "scenario.horizon");
    let help = problem.help.as_deref().unwrap_or_default();
    assert!(help.contains("traffic.web") && help.contains("136.9 years"), "{problems}");
    small(&["traffic.web.arrivals.rate=1000/s", "scenario.horizon=100d"]).expect("8.6 billion");
    let turns = "traffic.web.sessions={ turns = { kind = 'fixed', tokens = 2 }, \
                 think = { kind = 'fixed', length = '1s' } }";
    refused(&["traffic.web.arrivals.rate=1000/s", "scenario.horizon=100d", turns]);
}

#[test]
fn a_backlog_that_must_come_is_foretold() {
    let resolved = small(&["traffic.web.arrivals.rate=2000/s"]).expect("a bad idea, but allowed");
    let warned = |text: &str| resolved.warnings.iter().any(|w| w.message.contains(text));
    assert!(warned("of capacity") && warned("million calls will wait"), "{:?}", resolved.warnings);
}

#[test]
fn a_conversation_of_one_turn_is_no_conversation() {
    let turns = |n: u32| {
        format!(
            "traffic.web.sessions={{ turns = {{ kind = 'fixed', tokens = {n} }}, think = {{ kind = \
             'fixed', length = '1s' }} }}"
        )
    };
    let plain = small(&[]).expect("valid").scenario;
    assert_eq!(small(&[&turns(1)]).expect("valid").scenario, plain);
    assert_ne!(small(&[&turns(2)]).expect("valid").scenario, plain);
}

#[test]
fn an_override_may_add_a_name_and_has_to_complete_it() {
    let hosted = "providers.mini.catalog=openai/gpt-4o-mini";
    let big = "models.big.served_by=[\"mini\"]";
    let resolved = small(&["providers.mini.rpm=10", hosted, big]).expect("a whole provider");
    let [mini] = resolved.scenario.remotes.as_slice() else { panic!("one remote") };
    assert_eq!(mini.limits.requests.map(|limit| limit.per_minute), Some(10));
    assert_eq!(resolved.scenario.models.len(), 2);
    let budget = small(&["budgets.chat.max_model_calls=3"]).expect("a budget");
    assert_eq!(budget.scenario.tasks[0].budget.max_model_calls, Some(3));

    // What is missing is told with the override as its place, and why it is missing first.
    for (change, help) in
        [("pools.h10.replicas=2", Some("did you mean `h100`?")), ("providers.mini.rpm=10", None)]
    {
        let problems = refused(&[change]);
        let place = format!("--set {change}");
        assert!(problems.list.iter().all(|p| *p.site.place.file == *place), "{problems}");
        assert!(problems.list[0].message.contains("which the file does not have"), "{problems}");
        assert_eq!(problems.list[0].help.as_deref(), help);
        assert!(problems.list[1..].iter().all(|p| p.kind == Kind::MissingKey), "{problems}");
        assert!(problems.list.len() > 1, "{problems}");
    }
    // What is complete with one key may be misspelt all the same.
    let resolved = small(&["intents.draft.confidence=0.9", "intents.drft.confidence=0.5"]);
    let warnings = resolved.expect("two intents").warnings;
    let told = |text: &str| warnings.iter().filter(|w| w.message.contains(text)).count();
    assert_eq!(told("this adds `drft`, beside `draft`; is it misspelt?"), 1, "{warnings:?}");
    assert_eq!(told("this adds"), 1, "{warnings:?}");
}

#[test]
fn a_number_in_quotes_is_told_what_to_write() {
    for (written, help) in [
        ("60/min", Some("write the bare number: 60")),
        ("7", Some("write the bare number: 7")),
        ("60/s", None),
        ("sixty", None),
    ] {
        let problems = load(DESK, &[&format!("providers.mini.rpm='{written}'")]);
        let problems = problems.map(|_| ()).expect_err(written);
        let [problem] = problems.list.as_slice() else { panic!("{problems}") };
        assert_eq!((problem.kind, problem.help.as_deref()), (Kind::WrongType, help), "{problems}");
    }
}

#[test]
fn a_length_that_nobody_wrote_is_told_to_be_the_models() {
    let starter = scenarios::library::find("starter").expect("shipped");
    let told = |args: &str| {
        let args = [format!("pools.h100-small.engine_args={args}")];
        let problems =
            scenarios::load_library(starter, None, &args).map(|_| ()).expect_err(args[0].as_str());
        let [problem] = problems.list.as_slice() else { panic!("{problems}") };
        (problem.message.clone(), problem.help.clone().unwrap_or_default())
    };
    let (message, help) = told("{ gpu_memory_utilization = 0.3 }");
    assert!(message.contains("it is the model's own"), "{message}");
    let most = help
        .strip_prefix("write engine_args = { max_model_len = ")
        .and_then(|rest| rest.strip_suffix(" }"));
    let most: u32 = most.expect(&help).parse().expect(&help);
    assert_eq!(most % 16, 0);
    let (message, help) = told("{ gpu_memory_utilization = 0.3, max_model_len = 100000 }");
    assert!(!message.contains("the model's own"), "{message}");
    assert_eq!(help, format!("write max_model_len = {most}"));
    let fits = [format!(
        "pools.h100-small.engine_args={{ gpu_memory_utilization = 0.3, max_model_len = {most} }}"
    )];
    assert!(scenarios::load_library(starter, None, &fits).is_ok(), "what is advised is accepted");
}

#[test]
fn one_missing_quote_is_not_told_twice() {
    let text = format!(
        "{SMALL}\n[routing]\ndefault_model = \"small\"\nescalate_if = [{{ when = \"intent == 'a', model = \"small\" }}]\n"
    );
    let problems = load(&text, &[]).map(|_| ()).expect_err("refused");
    for (at, problem) in problems.list.iter().enumerate() {
        assert!(!problems.list[..at].contains(problem), "{problems}");
    }
    assert!(problems.list.len() > 1, "{problems}");
}
