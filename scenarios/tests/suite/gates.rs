//! `[gates]` and `[check]`: names, defaults, objectives, a file of their own, and what is refused.

use crate::support::{DESK, Folder, SMALL, load, small};
use scenarios::resolved::{Comparison, Gate, Level, Limit, Origin, Subject, TaskTime};
use scenarios::{Blueprint, ProblemKind, Resolved, library, load_library};
use sim::ids::TaskId;
use sim::units::Span;

fn with(gates: &str) -> Resolved {
    load(&format!("{SMALL}\n{gates}"), &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(gates: &str) -> String {
    let problems = load(&format!("{SMALL}\n{gates}"), &[]).expect_err(gates);
    for problem in &problems.list {
        assert!(problem.site.place.line > 20, "{problem}");
    }
    problems.to_string()
}

fn named<'a>(resolved: &'a Resolved, name: &str) -> Vec<&'a Gate> {
    resolved.gates.iter().filter(|gate| gate.name == name).collect()
}

#[test]
fn a_scenario_without_gates_has_the_usual_ones_and_its_objectives() {
    let resolved = small(&[]).unwrap_or_else(|problems| panic!("{problems}"));
    let written: Vec<String> =
        resolved.gates.iter().map(|gate| format!("{} {}", gate.name, gate.text)).collect();
    assert_eq!(
        written,
        [
            "chat.p95_latency <= +2% or +20ms",
            "chat.success_rate >= -0.5%",
            "cost_per_successful_task <= +2%",
            "chat.success_rate >= 97%",
            "spend.per_day <= $900",
            "chat.p95_latency <= 6s",
        ]
    );
    let (usual, objectives) = resolved.gates.split_at(3);
    for gate in usual {
        assert!(gate.change.is_some() && gate.limit.is_none() && gate.level == Level::Fail);
        assert_eq!(gate.origin, Origin::Default);
        let key = format!("gates.{}", gate.name);
        let row = resolved.provenance.iter().find(|row| row.key == key).expect("a row");
        assert_eq!((&row.value, &row.origin), (&gate.text, &Origin::Default));
    }
    for (gate, objective) in objectives.iter().zip(&resolved.objectives) {
        assert!(gate.change.is_none() && matches!(gate.origin, Origin::Derived(_)));
        assert_eq!(gate.limit, Some((objective.comparison, objective.limit)));
        assert_eq!((gate.subject, &gate.site), (objective.subject, &objective.site));
    }
    // A part of a task, which no traffic starts, has no gate.
    let desk = DESK.split("[gates]").next().expect("a text");
    let desk = load(desk, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(desk.gates.iter().all(|gate| !gate.name.starts_with("research")));
}

#[test]
fn written_gates_replace_the_usual_ones() {
    let resolved = with(
        "[gates]\nchat.p95_latency = \"<= +5%, <= 5s, else warn\"\nspend = \"<= +10%\"\n\
         margin = \">= -1%\"\nsmall.ttft_p95 = \"<= +10ms\"",
    );
    let names: Vec<&str> = resolved.gates.iter().map(|gate| gate.name.as_str()).collect();
    let written = ["chat.p95_latency", "spend.per_day", "margin_per_task", "small.ttft_p95"];
    assert_eq!(names[..4], written);
    // The limit of the gate stands in for that of the objective, the other two stay.
    assert_eq!(names[4..], ["chat.success_rate", "spend.per_day"]);
    let latency = &resolved.gates[0];
    assert_eq!(latency.limit, Some((Comparison::AtMost, Limit::Span(Span::from_secs(5)))));
    assert_eq!((latency.level, latency.site.key.as_str()), (Level::Warn, "gates.chat.p95_latency"));
    assert!(matches!(latency.origin, Origin::Written(_)));
    assert_eq!(resolved.gates[1].subject, Subject::SpendPerDay);
    assert_eq!(resolved.gates[2].subject, Subject::MarginPerTask);
    // None of our own leaves the objectives.
    let none = with("[gates]");
    assert_eq!(none.gates.len(), none.objectives.len());
}

#[test]
fn a_name_without_owner_stands_for_every_kind_of_task_that_is_started() {
    let second = SMALL.replace(
        "[tasks.chat]",
        "[traffic.more]\ntask = \"help.desk\"\narrivals = { kind = \"poisson\", rate = \"1/s\" }\n\
         [tasks.\"help.desk\"]\nsteps = [{ sub_task = \"chat\" }]\n[tasks.chat]",
    );
    let gates = "[gates]\np99 = \"<= +2%\"\nslo_attainment = \">= -1%\"\n\
                 chat.p99_latency = \"<= +7%\"\n";
    let resolved =
        load(&format!("{second}\n{gates}"), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let p99 = |task: u32| {
        let time = TaskTime::Latency;
        let subject = Subject::Quantile { task: TaskId(task), time, per_mille: 990 };
        let about = resolved.gates.iter().filter(|gate| gate.subject == subject);
        about.map(|gate| (gate.name.as_str(), gate.text.as_str())).collect::<Vec<_>>()
    };
    // What is said of one kind of task goes before what is said of all.
    assert_eq!(p99(0), [("help.desk.p99_latency", "<= +2%")]);
    assert_eq!(p99(1), [("chat.p99_latency", "<= +7%")]);
    // Only one of the two has a target to attain.
    let attained = |gate: &&Gate| matches!(gate.subject, Subject::SloAttainment(_));
    let attained: Vec<&Gate> = resolved.gates.iter().filter(attained).collect();
    assert_eq!(attained.len(), 1);
    assert_eq!(attained[0].name, "chat.slo_attainment");
}

#[test]
fn what_is_wrong_with_gates_comes_at_once_with_its_place() {
    let text = refused(
        "[gates]\nchat.p96_latency = \"<= +2%\"\nchatt.p95_latency = \"<= +2%\"\n\
         succes_rate = \">= -1%\"\nchat.goodput = \"+1%\"\nspendd = \"<= +1%\"\n\
         p90 = \"<= 5\"\n[check]\npairs = 9\nconfidence = 1\ninconclusive = \"pass\"\n\
         time = \"0s\"\npower = 0.2\nmost_pair = 3\n",
    );
    for wanted in [
        "gates.chat.p96_latency: `chat.p96_latency` is no number of the results\n  help: did you mean `p90_latency`?",
        "gates.chatt.p95_latency: `chatt.p95_latency` is no number of the results\n  help: did you mean `chat`?",
        "did you mean `success_rate`?",
        "gates.chat.goodput: a clause of a gate starts with `<=` or `>=`",
        "did you mean `spend`?",
        "gates.p90: \"5\": the unit is missing",
        "check.pairs: 9 is out of range",
        "check.confidence: 1.0 is out of range",
        "check.inconclusive: \"pass\" is not a choice",
        "check.time: 0s is out of range",
        "check.power: 0.2 is out of range",
        "did you mean `most_pairs`?",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    let text = refused(
        "[gates]\nspend.per_successful_task = \"<= +2%\"\n\
         cost_per_successful_task = \"<= +3%\"\n[check]\npairs = 50\nmost_pairs = 40",
    );
    assert!(text.contains("another gate is about the same number"), "{text}");
    assert!(text.contains("`most_pairs` is less than `pairs`, which is 50"), "{text}");
    let worthless = SMALL.replace("value = \"$0.12\"\np95_latency_slo = \"6s\"\n", "");
    let problems =
        load(&format!("{worthless}\n[gates]\nslo_attainment = \">= 0.9\""), &[]).expect_err("none");
    assert!(problems.to_string().contains("no p95_latency_slo"), "{problems}");
}

#[test]
fn margins_of_days_and_of_tenants_can_be_stated() {
    let shipped = library::find("flat-pricing-heavy-users").expect("it is shipped");
    let table: toml::Value = toml::from_str(shipped.text).expect("TOML");
    let traffic = table["traffic"].as_table().expect("a table").keys().next().expect("a source");
    let numbers = ["margin_per_tenant", "losing_tenants", "margin_per_heaviest_tenant"];
    let set = [
        format!("objectives.{traffic}.{}=>= $1", numbers[0]),
        format!("objectives.{traffic}.{}=<= 20%", numbers[1]),
        "objectives.margin.per_day=>= $1".to_owned(),
        format!("gates.{traffic}.{}=>= -$2 or -5%", numbers[2]),
        "gates.margin.per_month=>= -1%".to_owned(),
    ];
    let resolved = load_library(shipped, None, &set).unwrap_or_else(|e| panic!("{e}"));
    let of = |number: &str| {
        let name = if number.contains('.') { number.into() } else { format!("{traffic}.{number}") };
        named(&resolved, &name).first().unwrap_or_else(|| panic!("{name}")).subject
    };
    let first = |subject| match subject {
        Subject::MarginPerTenant(source)
        | Subject::LosingTenants(source)
        | Subject::MarginPerHeaviestTenant(source) => source,
        other => panic!("{other:?}"),
    };
    for number in numbers {
        let source = &resolved.scenario.sources[first(of(number)).index()];
        assert!(source.people.tenants.is_some());
        assert_eq!(source.name.split('/').next(), Some(traffic.as_str()));
    }
    assert_eq!(of("margin.per_day"), Subject::MarginPerDay);
    assert_eq!(of("margin.per_month"), Subject::MarginPerMonth);
}

/// Sources of several tables, some with clients, some without tenants.
#[test]
fn tenants_are_those_of_the_named_traffic() {
    let tenants = "tenants = { count = 5, plan = \"flat\" }\n";
    let more = SMALL.replace(
        "[tasks.chat]",
        &format!(
            "[traffic.alone]\ntask = \"chat\"\narrivals = {{ kind = \"poisson\", rate = \"1/s\" }}\n\
             [traffic.both]\n{tenants}task = \"chat\"\n\
             arrivals = {{ kind = \"poisson\", rate = \"1/s\" }}\n\
             clients = [{{ name = \"a\", share = 1 }}, {{ name = \"b\", share = 1 }}]\n\
             [traffic.free]\ntenants = {{ count = 9 }}\ntask = \"chat\"\n\
             arrivals = {{ kind = \"poisson\", rate = \"1/s\" }}\n\
             [traffic.last]\n{tenants}task = \"chat\"\n\
             arrivals = {{ kind = \"poisson\", rate = \"1/s\" }}\n\
             [plans.flat]\nper_month = \"$20\"\n[tasks.chat]"
        ),
    );
    let gates = "[gates]\nboth.losing_tenants = \"<= 5%\"\nlast.losing_tenants = \"<= 5%\"\n";
    let resolved = load(&format!("{more}\n{gates}"), &[]).unwrap_or_else(|e| panic!("{e}"));
    let source = |gate: &Gate| match gate.subject {
        Subject::LosingTenants(source) => resolved.scenario.sources[source.index()].name.clone(),
        other => panic!("{other:?}"),
    };
    let sources: Vec<String> = resolved.gates[..2].iter().map(source).collect();
    assert_eq!(sources, ["both/a", "last"]);
    for (gate, message) in [
        ("free.losing_tenants", "pay under no plan"),
        ("alone.losing_tenants", "is no number of the results"),
        ("both.losing_tenant", "did you mean `losing_tenants`?"),
        ("bothh.losing_tenants", "did you mean `both`?"),
    ] {
        let problems = load(&format!("{more}\n[gates]\n{gate} = \"<= 5%\""), &[]);
        let problems = problems.expect_err(gate).to_string();
        assert!(problems.contains(message), "{problems}");
    }
    // Where the traffic itself is wrong, nothing is said of its tenants.
    let wrong = more.replace("[traffic.last]", "[traffic.last]\npriority = 0.5");
    let problems = load(&format!("{wrong}\n{gates}"), &[]).expect_err("wrong").to_string();
    assert!(
        problems.contains("traffic.last.priority") && !problems.contains("gates"),
        "{problems}"
    );
}

#[test]
fn hostile_gates_are_refused_and_cost_little() {
    for text in ["", ",", ", else warn", "<=", "<= +", "<= -", "else", "<= +é%", "≤ +2%", "<= +2 %"]
    {
        for name in ["p99", "chat.goodput", "spend", "x", "a.b.c.d", "\"\"", "\".\""] {
            let gate = format!("{SMALL}\n[gates]\n{name} = {text:?}");
            if let Ok(resolved) = load(&gate, &[]) {
                assert!(text == "<= +2 %" && !resolved.gates.is_empty(), "{name} {text}");
            }
        }
    }
    for text in [",".repeat(120), "<= +1s,".repeat(17), "9".repeat(10_000), "or ".repeat(40)] {
        assert!(load(&format!("{SMALL}\n[gates]\np99 = {text:?}"), &[]).is_err());
    }
    let many: String = (0..9_000).map(|i| format!("t{i}.p99_latency = \"<= +1%\"\n")).collect();
    assert!(load(&format!("{SMALL}\n[gates]\n{many}"), &[]).is_err());
    for wrong in ["gates = 3", "gates.chat = 1", "gates.p99 = []", "check = 1", "check = []"] {
        let problems = load(&format!("{wrong}\n{SMALL}"), &[]).expect_err(wrong);
        assert_eq!(problems.list[0].kind, ProblemKind::WrongType, "{problems}");
    }
}

#[test]
fn settings_of_a_check_have_defaults() {
    let check = small(&[]).expect("good").check;
    assert_eq!((check.pairs, check.most_pairs), (10, 40));
    assert_eq!((check.confidence, check.power), (0.95, 0.9));
    assert_eq!((check.inconclusive, check.time), (Level::Fail, Span::from_secs(60)));
    let check = small(&["check.pairs=200", "check.inconclusive=warn"]).expect("good").check;
    assert_eq!((check.pairs, check.most_pairs, check.inconclusive), (200, 200, Level::Warn));
}

#[test]
fn a_file_of_gates_replaces_the_scenarios() {
    let folder = Folder::new("gates");
    let text = format!("{SMALL}\n[gates]\np99 = \"<= +1%\"\n[check]\npairs = 20\npower = 0.8\n");
    let scenario = folder.write("scenario.toml", text);
    let gates = "[gates]\nspend = \"<= +3%\"\n[check]\npairs = 30\ntime = \"5m\"\n";
    let gates = folder.write("gates.toml", gates);
    let plain = Blueprint::read(&scenario, None).expect("a text");
    let other = plain.with_gates(&gates).expect("a text");
    let (plain, other) = (plain.resolve(&[]).expect("good"), other.resolve(&[]).expect("good"));
    assert_eq!((named(&plain, "chat.p99_latency").len(), plain.check.pairs), (1, 20));
    assert!(named(&other, "chat.p99_latency").is_empty());
    let written = named(&other, "spend.per_day")[0];
    assert!(written.site.place.file.ends_with("gates.toml") && written.site.place.line == 2);
    assert_eq!((other.check.pairs, other.check.power), (30, 0.8));
    assert_eq!(other.check.time, Span::from_secs(300));
    assert_ne!(plain.sha256, other.sha256);
    // Overrides come after the file.
    let over = Blueprint::read(&scenario, None).and_then(|plain| plain.with_gates(&gates));
    let over = over.expect("a text").resolve(&["check.pairs=40".to_owned()]).expect("good");
    assert_eq!(over.check.pairs, 40);

    let problems_of = |text: &str| {
        let file = folder.write("wrong.toml", text);
        let blueprint = Blueprint::of_text("t", SMALL).with_gates(&file).expect("a text");
        blueprint.resolve(&[]).expect_err(text).to_string()
    };
    let text = problems_of("[gate]\n[gates]\np98 = \"<= 1s\"\n[check]\npairs = 1\n");
    assert!(text.contains("wrong.toml:1:2: gate: unknown key `gate`"), "{text}");
    assert!(text.contains("did you mean `gates`?"), "{text}");
    assert!(text.contains("wrong.toml:3:1: gates.p98: `p98` is no number of the results\n  help: did you mean `p90`?"), "{text}");
    assert!(text.contains("wrong.toml:5:9: check.pairs"), "{text}");
    assert!(problems_of("[gates").contains("wrong.toml:1"));
    assert!(problems_of("check = 3").contains("expected a table"));
    let nowhere = folder.0.join("nowhere.toml");
    assert!(Blueprint::of_text("t", SMALL).with_gates(&nowhere).is_err());
}
