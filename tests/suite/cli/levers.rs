//! What may be changed, from outside: mistakes in `--vary`, `[levers]` and the overrides of one arm are
//! found before anything is simulated.

use super::{CHAT, Folder};

/// Commands that take levers; the scenario has none of its own.
const SEARCHES: [&str; 2] = ["what-if chat.toml --traffic 1.1x", "plan chat.toml"];

#[test]
fn a_lever_that_moves_nothing_is_refused_with_advice() {
    let folder = Folder::new("levers");
    for search in SEARCHES {
        for (vary, advice) in [
            ("pools.h100.replcas=1..3", "did you mean `replicas`"),
            ("nope.x=1,2", "the scenario takes no value of the lever nope.x"),
            ("scenario.seed=1,2", "--seed"),
            ("traffic.web.scale=2x,3x", "says what is asked"),
            ("pools.h100.replicas=2,2", "is there twice"),
        ] {
            let err = folder.run(&format!("{search} --vary {vary} --quiet")).expect(2).err;
            assert!(err.contains(advice), "{search} {vary}: {err}");
            assert!(!err.contains("--set pools"), "{err}");
        }
    }
}

#[test]
fn a_value_that_is_refused_is_named_in_the_report() {
    let folder = Folder::new("lever-values");
    for search in SEARCHES {
        let out = folder.run(&format!("{search} --vary pools.h100.replicas=2,two,3 --quiet")).out;
        let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(out.contains("of 3 values of the lever pools.h100.replicas"), "{search}: {out}");
        assert!(out.contains("pools.h100.replicas=two"), "{search}: {out}");
    }
}

#[test]
fn levers_of_a_file_are_validated() {
    let folder = Folder::new("lever-file");
    for (lever, advice) in [
        ("pools.h100.replcas = \"1..3\"", "bad.toml:28:12: the scenario takes no value"),
        ("nope.x = [1, 2]", "bad.toml:28:6: the scenario takes no value"),
        ("scenario.seed = [1, 2]", "bad.toml:28:10: scenario.seed is no lever"),
        ("pools.h100.replicas = [0]", "bad.toml:28:12: the scenario takes no value"),
    ] {
        folder.write("bad.toml", &format!("{}\n[levers]\n{lever}\n", CHAT.trim()));
        let err = folder.run("validate bad.toml").expect(2).err;
        assert!(err.contains(advice), "{lever}: {err}");
    }
    folder.write("bad.toml", &format!("{CHAT}\n[levers]\npools.h100.replicas = [1, 0]\n"));
    let err = folder.run("validate bad.toml").expect(0).err;
    assert!(err.contains("of 2 values of the lever pools.h100.replicas"), "{err}");
}

/// Both arms see the same customers, whatever an override says.
#[test]
fn what_both_arms_share_cannot_differ() {
    let folder = Folder::new("common");
    for args in [
        "what-if chat.toml --set scenario.seed=5",
        "what-if chat.toml --set scenario.replications=3",
        "compare chat.toml --set-second scenario.seed=5",
    ] {
        let err = folder.run(args).expect(2).err;
        assert!(err.contains("use --"), "{args}: {err}");
    }
    let err = folder.run("compare chat.toml --set-second pools.h100.replica=1").expect(2).err;
    assert!(err.contains("--set-second pools.h100.replica=1:1:1"), "{err}");
    for traffic in ["2xx", "-1x", "0x", "nan"] {
        let err = folder.run(&format!("what-if chat.toml --traffic {traffic}")).expect(2).err;
        assert!(err.contains("write it like 2x") || err.contains("above 0"), "{traffic}: {err}");
    }
}
