//! Plans from outside: exit codes, what is said without levers, threads, limits.

use super::{CHAT, Folder};
use serde_json::Value;

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn the_cheapest_plan_is_confirmed_on_any_number_of_threads() {
    let folder = Folder::new("plan");
    let json = |rest: &str| {
        let plan = "plan chat.toml --vary pools.h100.replicas=1..3 --format json --quiet";
        folder.run(&format!("{plan} {rest}")).expect(0).out
    };
    let one = json("--threads 1");
    assert!(json("--threads 2") == one, "two threads change the output");
    let found = parsed(&one);
    assert_eq!(
        (&found["schema"], &found["verdict"]),
        (&"surgeline.plan/1".into(), &"confirmed".into())
    );
    assert_eq!(found["best"]["changes"][0], "pools.h100.replicas=1");
    assert_eq!(found["counts"]["candidates"], 3);
}

#[test]
fn exit_codes_tell_a_plan_from_none_and_from_a_mistake() {
    let folder = Folder::new("no-plan");
    folder.write("hard.toml", &CHAT.replace(">= 97%", ">= 97%\"\n\"chat.p95_latency\" = \"<= 1ms"));
    let none = folder.run("plan hard.toml --vary pools.h100.replicas=1..3 --quiet").expect(1).out;
    assert!(none.contains("No candidate keeps all objectives"), "{none}");
    let without = folder.run("plan chat.toml").expect(2).err;
    assert!(without.contains("--vary 'pools.h100.replicas=1.."), "{without}");
    assert!(without.contains("[levers]"), "{without}");
    let twice = "plan chat.toml --vary pools.h100.replicas=1 --vary pools.h100.replicas=2";
    let twice = folder.run(twice).expect(2).err;
    assert!(twice.contains("varied twice"), "{twice}");
    let misspelt = folder.run("plan chat.toml --vary pools.h100.replica=1..3").expect(2).err;
    assert!(misspelt.contains("takes no value of the lever"), "{misspelt}");
    assert!(misspelt.contains("did you mean"), "{misspelt}");
    let asked = folder.run("plan chat.toml --vary traffic.web.scale=1x,2x").expect(2).err;
    assert!(asked.contains("no choice of a plan"), "{asked}");
}

#[test]
fn a_limit_leaves_a_partial_plan() {
    let folder = Folder::new("plan-limit");
    let plan = "plan chat.toml --vary pools.h100.replicas=1..3 --max-events 20000 --quiet";
    let part = folder.run(plan).expect(4).out;
    assert!(part.contains("PARTIAL: stopped at --max-events 20000"), "{part}");
    // A million candidates have a million rents: reckoning them obeys the limits, too.
    let wide = "plan chat.toml --vary pools.h100.replicas=1..10000 --vary \
                pools.h100.tensor_parallel=1,2 --vary pools.h100.price=$1/h,$2/h --max-wall 1s --quiet";
    folder.run(wide).expect(4);
}
