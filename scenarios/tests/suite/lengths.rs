//! Lengths of calls: which backend bounds them, and what of a part is its own.

use crate::support::load;
use scenarios::{ProblemKind, Resolved};

/// A model behind two hosted backends, of which the second has little room.
const TWO: &str = r#"
[scenario]
horizon = "10m"

[traffic.web]
task = "ask"
arrivals = { kind = "poisson", rate = "1/s" }

[tasks.ask]
steps = [
  { model_call = { model = "mine", input = { kind = "lognormal", p50 = 1000, p95 = 9000 }, output = { kind = "fixed", tokens = 100 } } },
]

[models.mine]
served_by = ["big", "little"]

[providers]
big = { input = "$1/Mtok", output = "$10/Mtok", ttft = { kind = "fixed", length = "1s" }, tpot = { kind = "fixed", length = "10ms" }, max_context = 128000 }
little = { input = "$1/Mtok", output = "$10/Mtok", ttft = { kind = "fixed", length = "1s" }, tpot = { kind = "fixed", length = "10ms" }, max_context = 2000 }
"#;

const INPUT: &str = "tasks.ask.steps.0.model_call.input";

fn longest_prompt(resolved: &Resolved) -> u32 {
    resolved.scenario.sources[0].lengths.input.max
}

fn loaded(text: &str, overrides: &[&str]) -> Resolved {
    load(text, overrides).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_roomiest_backend_bounds_the_lengths() {
    for order in [r#"["big", "little"]"#, r#"["little", "big"]"#] {
        let served_by = format!("models.mine.served_by={order}");
        assert_eq!(longest_prompt(&loaded(TWO, &[&served_by])), 128_000 - 100);
        let most = format!("{INPUT}.max=20000");
        let stated = loaded(TWO, &[&served_by, &most]);
        assert_eq!(longest_prompt(&stated), 20_000);
        assert!(stated.warnings.is_empty(), "{:?}", stated.warnings);
        let fixed = format!("{INPUT}={{ kind = 'fixed', tokens = 3000 }}");
        loaded(TWO, &[&served_by, &fixed]);
    }
}

#[test]
fn what_fits_no_backend_is_told_with_the_key_that_bounds_it() {
    let most = format!("{INPUT}.max=200000");
    let cut = loaded(TWO, &[&most]);
    assert_eq!(longest_prompt(&cut), 128_000 - 100);
    let told = "prompt lengths up to 200000 are cut at 127900, what max_context = 128000 admits";
    assert!(cut.warnings.iter().any(|w| w.message == told), "{:?}", cut.warnings);
    let fixed = format!("{INPUT}={{ kind = 'fixed', tokens = 128000 }}");
    let problems = load(TWO, &[&fixed]).expect_err("too long");
    let told = "does not fit max_context = 128000";
    let says =
        |p: &scenarios::Problem| p.kind == ProblemKind::DoesNotFit && p.message.contains(told);
    assert!(problems.list.iter().any(says), "{problems}");
}

#[test]
fn a_fallback_gives_room_when_it_is_asked_about_long_calls() {
    let text = TWO.replace("served_by = [\"big\", \"little\"]", "served_by = [\"little\"]");
    let text =
        text + "[models.other]\nserved_by = [\"big\"]\n[routing]\ndefault_model = \"mine\"\n";
    assert_eq!(longest_prompt(&loaded(&text, &[])), 2_000 - 100);
    let any = "[routing.fallbacks]\nmine = [\"other\"]\n";
    assert_eq!(longest_prompt(&loaded(&(text.clone() + any), &[])), 128_000 - 100);
    let of = |failure: &str| {
        let on =
            format!("[routing.fallbacks]\nmine = [{{ model = 'other', on = ['{failure}'] }}]\n");
        longest_prompt(&loaded(&(text.clone() + &on), &[]))
    };
    assert_eq!((of("too_long"), of("timeout")), (128_000 - 100, 2_000 - 100));
}

#[test]
fn what_routing_may_choose_gives_room() {
    let text = TWO
        .replace("model = \"mine\", input", "input")
        .replace("[\"big\", \"little\"]", "[\"little\"]");
    let text =
        text + "[models.other]\nserved_by = [\"big\"]\n[routing]\ndefault_model = \"mine\"\n";
    // Nothing sends a call to the roomy model.
    assert_eq!(longest_prompt(&loaded(&text, &[])), 2_000 - 100);
    let rule = "escalate_if = [{ when = \"prompt_tokens > 1000\", model = \"other\" }]\n";
    assert_eq!(longest_prompt(&loaded(&(text + rule), &[])), 128_000 - 100);
}

/// A part of one call, done twice by each task; a million tokens cost a dollar in, ten out.
const PART: &str = r#"
[scenario]
horizon = "10m"

[traffic.web]
task = "whole"
arrivals = { kind = "constant", rate = "1/s" }

[tasks.whole]
steps = [{ sub_task = "part", loop = 2 }]

[tasks.part]
steps = [{ model_call = { input = { kind = "fixed", tokens = 10 }, output = { kind = "fixed", tokens = 11 } } }]

[providers.p]
input = "$1/Mtok"
output = "$10/Mtok"
ttft = { kind = "fixed", length = "1ms" }
tpot = { kind = "fixed", length = "1us" }
max_context = 10000
"#;

/// Tasks that ended, and what all calls cost, in millionths of a dollar.
fn bill(text: &str) -> ([u64; 2], i128) {
    let scenario = loaded(text, &["scenario.replications=1"]).scenario;
    let outcome = sim::Simulation::new(&scenario, 1, 0).run();
    let tasks = [0, 1].map(|task: usize| outcome.tasks[task].succeeded);
    let spent = outcome.tasks.iter().map(|task| task.spend.0).sum::<i128>();
    (tasks, spent / (sim::units::Money::PICO_PER_DOLLAR / 1_000_000))
}

/// 10 · $1 + 11 · $10 a million are 120 millionths of a dollar a call.
#[test]
fn a_part_of_one_call_has_the_lengths_that_the_call_states() {
    let ([whole, part], spent) = bill(PART);
    assert!(whole > 590 && part == 0, "{whole} {part}");
    assert_eq!(spent, i128::from(whole) * 2 * 120);
}

/// A request of the part's own traffic, of 100 and 20 tokens, costs 300 millionths; the part costs
/// what it did.
#[test]
fn a_part_that_traffic_starts_too_has_the_lengths_of_that_request_there_alone() {
    let direct = r#"
[traffic.direct]
task = "part"
arrivals = { kind = "constant", rate = "1/s" }
input = { kind = "fixed", tokens = 100 }
output = { kind = "fixed", tokens = 20 }
"#;
    let ([whole, part], spent) = bill(&(PART.to_owned() + direct));
    assert!(whole > 590 && part > 590, "{whole} {part}");
    assert_eq!(spent, i128::from(whole) * 2 * 120 + i128::from(part) * 300);
}

#[test]
fn a_part_of_one_call_may_have_a_prefix_when_no_request_starts_it() {
    let text =
        PART.replace("model_call = { input", "model_call = { prefix = { tokens = 90 }, input");
    let ([whole, _], spent) = bill(&text);
    assert_eq!(spent, i128::from(whole) * 2 * 210);
}
