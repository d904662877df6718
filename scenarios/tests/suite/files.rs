//! Scenarios in folders: policy files, traces, and paths that lead elsewhere.

use crate::support::{Folder, SMALL};
use scenarios::{ProblemKind, load_file};
use sim::fleet::Strategy;
use std::path::PathBuf;

#[test]
fn a_policy_comes_from_beside_the_scenario_or_from_the_caller() {
    let folder = Folder::new("policy");
    let scenario = format!("policy = \"policy.toml\"\n{SMALL}");
    let scenario = folder.write("inner/scenario.toml", scenario);
    folder.write("inner/policy.toml", "[load_balancing]\nh100 = { strategy = \"random\" }\n");
    let other =
        folder.write("other.toml", "[load_balancing]\nh100 = { strategy = \"kv-aware\" }\n");
    let strategy = |policy: Option<&PathBuf>, set: &[String]| {
        let resolved = load_file(&scenario, policy.map(PathBuf::as_path), set).expect("good");
        (resolved.scenario.pools[0].balancing.strategy, resolved.sha256)
    };
    let (named, hash) = strategy(None, &[]);
    assert_eq!(named, Strategy::Random);
    let (given, other_hash) = strategy(Some(&other), &[]);
    assert_eq!(given, Strategy::KvAware);
    assert_ne!(hash, other_hash);
    let set = "load_balancing.h100.strategy=power-of-two".to_owned();
    assert_eq!(strategy(None, &[set]).0, Strategy::PowerOfChoices { choices: 2 });
    folder.write("inner/second.toml", "[load_balancing]\nh100 = { strategy = \"kv-aware\" }\n");
    let named = "policy=second.toml".to_owned();
    assert_eq!(strategy(None, &[named]).0, Strategy::KvAware);
}

#[test]
fn a_problem_of_a_policy_names_the_policy_file() {
    let folder = Folder::new("policy-problem");
    let scenario = folder.write("scenario.toml", format!("policy = \"policy.toml\"\n{SMALL}"));
    folder.write("policy.toml", "[load_balancing]\nh100 = { strategy = \"rendom\" }\n[retry]\n");
    let problems = load_file(&scenario, None, &[]).expect_err("refused");
    let text = problems.to_string();
    assert!(text.contains("policy.toml:2:21: load_balancing.h100.strategy"), "{text}");
    assert!(text.contains("did you mean `random`?"), "{text}");
    assert!(text.contains("policy.toml:3:2: retry: unknown key `retry`"), "{text}");
}

#[test]
fn two_policies_at_once_are_refused() {
    let folder = Folder::new("two-policies");
    let text = format!(
        "policy = \"p.toml\"\n{SMALL}\n[load_balancing]\nh100 = {{ strategy = \"random\" }}\n"
    );
    let scenario = folder.write("scenario.toml", text);
    folder.write("p.toml", "[load_balancing]\nh100 = { strategy = \"kv-aware\" }\n");
    let problems = load_file(&scenario, None, &[]).expect_err("refused");
    assert_eq!(problems.list[0].kind, ProblemKind::Conflict, "{problems}");
}

#[test]
fn data_outside_the_folder_is_refused() {
    let folder = Folder::new("outside");
    let rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n\
                2023-11-16 18:15:48.68,96,4\n";
    folder.write("secret.csv", rows);
    folder.write("inner/trace.csv", rows);
    let with = |file: &str| {
        let trace = format!("trace = {{ file = {file:?}, format = \"azure-2023\" }}");
        let text = SMALL.replace("arrivals = { kind = \"poisson\", rate = \"2/s\" }", &trace);
        let scenario = folder.write("inner/scenario.toml", text);
        load_file(&scenario, None, &[])
    };
    assert!(with("trace.csv").is_ok());
    let absolute = folder.0.join("secret.csv").display().to_string();
    for file in ["../secret.csv", "x/../../secret.csv", &absolute, "missing.csv", ".", "library:x"]
    {
        let problems = with(file).expect_err(file);
        let problem = &problems.list[0];
        assert_eq!(problem.kind, ProblemKind::File, "{problems}");
        assert_eq!(problem.site.key, "traffic.web.trace.file");
    }
    #[cfg(unix)]
    {
        let link = folder.0.join("inner/link.csv");
        std::os::unix::fs::symlink(folder.0.join("secret.csv"), link).expect("a link");
        assert!(with("link.csv").is_err());
    }
}

#[test]
fn unreadable_files_are_refused_with_a_position() {
    let folder = Folder::new("unreadable");
    let latin = folder.write("latin.toml", b"[scenario]\nname = \"caf\xe9\"\n");
    let problems = load_file(&latin, None, &[]).expect_err("not UTF-8");
    let place = &problems.list[0].site.place;
    assert_eq!((place.line, place.column), (2, 12), "{problems}");
    let long = folder.write("long.toml", vec![b'#'; 10_000_001]);
    assert!(load_file(&long, None, &[]).is_err_and(|p| p.to_string().contains("longer than")));
    for path in [folder.0.clone(), folder.0.join("missing.toml")] {
        let problems = load_file(&path, None, &[]).expect_err("no file");
        assert_eq!(problems.list[0].kind, ProblemKind::File);
    }
}
