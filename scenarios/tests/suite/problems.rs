//! What a bad file is told.

use crate::support::{SMALL, load, small};
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
        ("pools.h101.replicas=2", Kind::UnknownKey, "nothing is called `h101`"),
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
