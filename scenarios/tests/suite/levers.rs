//! `[levers]`: every value becomes an override that resolves, and what leads nowhere is refused.

use crate::support::{Folder, SMALL, load, small};
use scenarios::{Blueprint, load_file, parse_lever};

fn refused(levers: &str) -> String {
    load(&format!("{SMALL}\n[levers]\n{levers}"), &[]).expect_err(levers).to_string()
}

#[test]
fn each_value_is_an_override() {
    let text = format!(
        "{SMALL}\n[providers.\"x.y\"]\ncatalog = \"openai/gpt-4o-mini\"\n[levers]\n\
         pools.h100.replicas = \"1..3\"\npools.h100.price = [\"$1/h\", '$2.50/h']\n\
         models.small.served_by = [[\"h100\"], [\"h100\", \"x.y\"]]\n\
         providers.\"x.y\".discount = \"0.1..0.3 in 3\"\nproviders.\"x.y\".rpm = [60, 1_000]\n\
         tasks.chat.steps.0.model_call.output = [{{ kind = \"fixed\", tokens = 50 }}]\n\
         load_balancing.h100 = [{{ strategy = \"power-of-two\", choices = 3 }}]\n\
         pools.h100.engine_args.enable_prefix_caching = [true, false]\n\
         scenario.name = [\"true\", \"1\", \" a \", \"a,b\", \"plain name\", '\"']\n"
    );
    let blueprint = Blueprint::of_text("t", &text);
    let resolved = blueprint.resolve(&[]).unwrap_or_else(|problems| panic!("{problems}"));
    let shown: Vec<(&str, String)> = resolved
        .levers
        .iter()
        .map(|lever| (lever.key.as_str(), lever.values.join(" | ")))
        .collect();
    let expected = [
        ("pools.h100.replicas", "1 | 2 | 3"),
        ("pools.h100.price", "$1/h | $2.50/h"),
        ("pools.h100.engine_args.enable_prefix_caching", "true | false"),
        ("models.small.served_by", r#"["h100"] | ["h100", "x.y"]"#),
        ("providers.\"x.y\".discount", "0.1 | 0.2 | 0.3"),
        ("providers.\"x.y\".rpm", "60 | 1000"),
        ("tasks.chat.steps.0.model_call.output", r#"{ kind = "fixed", tokens = 50 }"#),
        ("load_balancing.h100", r#"{ choices = 3, strategy = "power-of-two" }"#),
    ];
    assert_eq!(shown[..8], expected.map(|(key, values)| (key, values.to_owned())));
    assert_eq!(resolved.levers[0].site.place.line, 32);
    for lever in &resolved.levers {
        for value in &lever.values {
            let set = format!("{}={value}", lever.key);
            let other = blueprint.resolve(std::slice::from_ref(&set));
            let other = other.unwrap_or_else(|problems| panic!("{set}: {problems}"));
            // The same text on the command line is the same override.
            let line = parse_lever(&set).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!((&line.key, &line.values), (&lever.key, &vec![value.clone()]));
            assert_eq!(other.levers, resolved.levers);
        }
    }
    let names = &resolved.levers[8];
    for (value, name) in names.values.iter().zip(["true", "1", " a ", "a,b", "plain name", "\""]) {
        let named = blueprint.resolve(&[format!("{}={value}", names.key)]);
        assert_eq!(named.unwrap_or_else(|problems| panic!("{problems}")).name, name);
    }
}

#[test]
fn levers_that_lead_nowhere_are_refused_where_they_stand() {
    let text = refused(
        "pools.h100.replicas.x = \"1..3\"\ntasks.chat.steps.7.id = [\"a\"]\n\
         pools.h100.gpu = \"h100-sxm\"\npools.h100.tensor_parallel = []\n\
         pools.h100.price = 3\nscenario.seed = \"9..1\"\nscenario.window = [1979-05-27]\n\
         traffic.web.scale = [170141183460469231731687303715884105727]\n\
         \"a=b\" = [1]\n\"\" = [1]\ngates.p99 = [\"<= +1%\"]\n",
    );
    for wanted in [
        "test.toml:30:21: levers.pools.h100.replicas.x: an integer has no keys",
        "levers.tasks.chat.steps.7.id: a list of 1 has no item `7`",
        "levers.pools.h100.gpu: \"h100-sxm\" is not a range",
        "levers.pools.h100.tensor_parallel: there is no value",
        "levers.pools.h100.price: expected a range or a list, found an integer",
        "levers.scenario.seed: the range goes down",
        "levers.scenario.window: a date is no value",
        "levers.traffic.web.scale: a number is out of range",
        "levers.\"a=b\": an override cannot name this key",
        "levers.\"\": an override cannot name this key",
        "levers.gates.p99: what a plan is judged by is no lever",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    let many: String = (0..11).map(|i| format!("a.b{i} = \"1..10000\"\n")).collect();
    assert!(refused(&many).contains("more than 100000 values"));
    let long = format!("a = [{}]", "1,".repeat(10_001));
    assert!(refused(&long).contains("at most 10000 are allowed"));
    let deep = format!("{} = [1]", vec!["a"; 32].join("."));
    assert!(load(&format!("{SMALL}\n[levers]\n{deep}"), &[]).is_ok());
    assert!(small(&["levers=3"]).is_err());
}

/// A key of the policy leads into the policy's file where there is one.
#[test]
fn levers_reach_into_the_policy() {
    let folder = Folder::new("levers");
    let lever = "[levers]\nrouting.escalate_if.0.model = [\"small\"]\n";
    let scenario = folder.write("s.toml", format!("policy = \"p.toml\"\n{SMALL}\n{lever}"));
    folder.write(
        "p.toml",
        "[[routing.escalate_if]]\nwhen = \"confidence < 0.5\"\nmodel = \"small\"\n",
    );
    let resolved = load_file(&scenario, None, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(resolved.levers[0].key, "routing.escalate_if.0.model");
    folder.write("p.toml", "[routing]\nescalate_if = []\n");
    let problems = load_file(&scenario, None, &[]).expect_err("an empty list");
    assert!(problems.to_string().contains("a list of 0 has no item `0`"), "{problems}");
}
