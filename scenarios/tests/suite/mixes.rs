//! Recorded client mixes in a scenario: one source a client, and what is said about the rest.

use crate::support::{Folder, SMALL};
use scenarios::{ProblemKind, Problems, Resolved, load_file};
use sim::dist::LengthLaw;
use sim::units::{Span, Time};
use sim::workload::{Arrivals, Gaps, ScaleHow};

/// Client 2 sends 1/s and then 3/s, client 5 sends 1/s, client 7 as much but without lengths;
/// client 9 never sends. Windows of half an hour.
const FILES: [(&str, &str); 7] = [
    ("chunk-2-trace.csv", "0,1,2.0,Gamma,0.25,4\n1800,3,4.0,Gamma,0.0625,5\n"),
    (
        "chunk-2-dataset.json",
        r#"{"0": {"input_tokens": "{10: 0.5, 9000: 0.5}", "output_tokens": "{0: 0.2, 7: 0.8}"}}"#,
    ),
    ("chunk-5-trace.csv", "0,1,1.4,Weibull,0.75,0.8\n1800,1,1.4,Weibull,0.75,0.8\n"),
    (
        "chunk-5-dataset.json",
        r#"{"0": {"input_tokens": "{20: 1.0}", "output_tokens": "{30: 1.0}"}}"#,
    ),
    ("chunk-7-trace.csv", "0,1,1,Gamma,1,1\n1800,1,1,Gamma,1,1\n"),
    ("chunk-9-trace.csv", "0,0,0,,0,0\n1800,0,0,,0,0\n"),
    ("readme.txt", "not a client"),
];

fn scenario(folder: &Folder, clients: &str) -> Result<Resolved, Problems> {
    let text = SMALL.replace(
        "arrivals = { kind = \"poisson\", rate = \"2/s\" }",
        &format!("clients = {{ {clients} }}"),
    );
    load_file(&folder.write("inner/scenario.toml", text), None, &[])
}

fn with_mix(name: &str) -> Folder {
    let folder = Folder::new(name);
    std::fs::create_dir_all(folder.0.join("inner/mix")).expect("a scratch folder");
    for (file, text) in FILES {
        folder.write(&format!("inner/mix/{file}"), text);
    }
    folder
}

#[test]
fn each_client_is_a_source_with_steps_a_law_and_lengths_of_its_own() {
    let folder = with_mix("mix");
    let resolved = scenario(&folder, "file = \"mix\", format = \"servegen\", scale = \"2x\"")
        .unwrap_or_else(|e| panic!("{e}"));
    let sources = &resolved.scenario.sources;
    assert_eq!(sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["web/2", "web/5"]);
    let Arrivals::Renewal { gaps, rate } = &sources[0].arrivals else { panic!("renewal") };
    // 1,800 requests with a CV of 2 and 5,400 with a CV of 4.
    assert_eq!(*gaps, Gaps::Gamma { cv: 3.5 });
    let half = Time::ZERO.after(Span::from_secs(1_800));
    assert_eq!(rate.knots, [(Time::ZERO, 1.0), (half, 1.0), (half, 3.0)]);
    let Arrivals::Renewal { gaps, rate } = &sources[1].arrivals else { panic!("renewal") };
    assert_eq!(
        (*gaps, rate.knots.as_slice()),
        (Gaps::Weibull { shape: 0.75 }, &[(Time::ZERO, 1.0)][..])
    );
    let LengthLaw::Empirical(table) = &sources[0].lengths.input.law else { panic!("a histogram") };
    assert_eq!((table.quantile(0.5), table.quantile(1.0)), (10, 9_000));
    // The default engine admits 8,192 tokens, prompt and answer together.
    assert_eq!(sources[0].lengths.input.max, 8_191);
    assert_eq!((sources[1].scaling.factor, sources[1].scaling.how), (2.0, ScaleHow::MoreUsers));
    let warnings: Vec<&str> = resolved.warnings.iter().map(|w| w.message.as_str()).collect();
    let expected = [
        // 3,600 of 14,400 requests.
        "1 of 4 clients have no published lengths and are left out: 25.00 % of the rate",
        "lengths of 1 of 2 clients are cut at what max_model_len = 8192 admits",
        // A fifth of 7,200 of 10,800 requests.
        "at least 13.33 % of the requests have lengths of 0 tokens, which are drawn anew from \
         the others",
    ];
    assert_eq!(warnings, expected);
    let line = resolved.provenance.iter().find(|p| p.key == "traffic.web.clients");
    assert_eq!(line.map(|p| p.value.as_str()), Some("2 clients, 3.000 requests/s"));
}

#[test]
fn a_run_may_begin_later_and_take_only_the_largest_clients() {
    let folder = with_mix("mix-later");
    let whole = scenario(&folder, "file = \"mix\", format = \"servegen\"").expect("good");
    let clients = "file = \"mix\", format = \"servegen\", from = \"20m\", largest = 1";
    let problems = scenario(&folder, clients).expect_err("the mix is over before the run is");
    assert!(problems.to_string().contains("the mix ends after 1h"), "{problems}");
    let text = SMALL
        .replace(
            "arrivals = { kind = \"poisson\", rate = \"2/s\" }",
            &format!("clients = {{ {clients} }}"),
        )
        .replace("horizon = \"1h\"", "horizon = \"30m\"");
    let path = folder.write("inner/scenario.toml", text);
    let resolved = load_file(&path, None, &[]).unwrap_or_else(|e| panic!("{e}"));
    let [source] = resolved.scenario.sources.as_slice() else { panic!("one source") };
    let Arrivals::Renewal { rate, .. } = &source.arrivals else { panic!("renewal") };
    let step = Time::ZERO.after(Span::from_secs(600));
    assert_eq!(rate.knots, [(Time::ZERO, 1.0), (step, 1.0), (step, 3.0)]);
    assert_eq!(source.key, whole.scenario.sources[0].key, "the streams depend on the name alone");
    let share = resolved.provenance.iter().find(|p| p.key == "traffic.web.clients.share");
    assert_eq!(share.map(|p| p.value.as_str()), Some("0.5000"));
}

#[test]
fn an_archive_is_as_good_as_a_folder() {
    let folder = with_mix("mix-archive");
    let mut archive = tar::Builder::new(Vec::new());
    for (file, text) in FILES {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let path = format!("language/{file}");
        archive.append_data(&mut header, path, text.as_bytes()).expect("a member");
    }
    folder.write("inner/mix.tar", archive.into_inner().expect("an archive"));
    let sources = |file: &str| {
        let clients = format!("file = {file:?}, format = \"servegen\"");
        scenario(&folder, &clients).unwrap_or_else(|e| panic!("{e}")).scenario.sources
    };
    assert_eq!(sources("mix.tar"), sources("mix"));
}

#[test]
fn what_a_mix_cannot_be_is_refused() {
    let folder = with_mix("mix-refused");
    std::fs::create_dir_all(folder.0.join("mix")).expect("a folder outside");
    folder.write("mix/chunk-1-trace.csv", "0,1,1,Gamma,1,1\n");
    folder.write("inner/chunk-1-trace.csv", "0,1,1,Gamma,1\n");
    let good = "file = \"mix\", format = \"servegen\"";
    let cases = [
        ("format = \"servegen\"", ProblemKind::MissingKey, "the key is missing"),
        ("file = \"mix\", format = \"servgen\"", ProblemKind::BadValue, "did you mean `servegen`?"),
        ("file = \"../mix\", format = \"servegen\"", ProblemKind::File, "inside the scenario"),
        ("file = \"none\", format = \"servegen\"", ProblemKind::File, "cannot read the file"),
        ("file = \".\", format = \"servegen\"", ProblemKind::File, "5 fields"),
        (&format!("{good}, form = 1"), ProblemKind::UnknownKey, "did you mean `from`?"),
        (
            &format!("{good} }}\nscale = 2\nprefix = {{ tokens = 1 "),
            ProblemKind::Conflict,
            "brings its own",
        ),
        (
            &format!("{good}, scale = 2 }}\nscale = 2\nmax_tokens = {{"),
            ProblemKind::Conflict,
            "written twice",
        ),
        (&format!("{good} }}\ntrace = {{"), ProblemKind::Conflict, "a source has one of"),
    ];
    for (clients, kind, message) in cases {
        let problems = scenario(&folder, clients).expect_err(clients);
        let found = problems.list.iter().any(|p| p.kind == kind && p.to_string().contains(message));
        assert!(found, "{clients}: {problems}");
        assert!(problems.list.iter().all(|p| p.site.place.line >= 1 && p.site.place.column >= 1));
    }
}
