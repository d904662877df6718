//! What a file says and a run never acts on, or otherwise than it reads.

use crate::support::{DESK, load};
use scenarios::Resolved;

/// Warnings of the desk with more written into it, as keys and messages.
fn told(more: &str, overrides: &[&str]) -> Vec<(String, String)> {
    let resolved = load(&(DESK.to_owned() + more), overrides).unwrap_or_else(|p| panic!("{p}"));
    resolved.warnings.into_iter().map(|w| (w.site.key, w.message)).collect()
}

/// Whether exactly the one case warns, where it should.
fn only(key: &str, words: &str, (with, without): (&[&str], &[&str]), more: &str) {
    let says = |all: &[(String, String)]| {
        all.iter().any(|(at, message)| at == key && message.contains(words))
    };
    let (with, without) = (told(more, with), told(more, without));
    assert!(says(&with), "{key}: {with:?}");
    assert!(!says(&without), "{key}: {without:?}");
}

#[test]
fn a_queue_without_places_never_forms() {
    let key = "providers.mini.queue_limit";
    let limit = "providers.mini.queue_limit=5";
    only(key, "nobody ever waits", (&[limit], &[limit, "providers.mini.concurrency=3"]), "");
    let key = "tools.kb.queue_limit";
    let limit = "tools.kb.queue_limit=5";
    only(key, "nobody ever waits", (&[limit], &[limit, "tools.kb.concurrency=3"]), "");
}

#[test]
fn places_of_devices_are_those_of_all_users() {
    let key = "devices.phones.concurrency";
    only(key, "all users of these devices together", (&["devices.phones.concurrency=1"], &[]), "");
    // Of a provider there is nothing to say.
    let hosted = told("", &["providers.mini.concurrency=1"]);
    assert!(hosted.iter().all(|(_, message)| !message.contains("all users of")), "{hosted:?}");
}

#[test]
fn an_incident_after_the_horizon_never_comes() {
    let at = |minutes: &str| format!("providers.mini.incidents.0.at={minutes}");
    let (late, early) = (at("10m"), at("9m"));
    let key = "providers.mini.incidents[0].at";
    only(key, "the horizon is 10m", (&[&late], &[&early]), "");
}

#[test]
fn a_model_does_not_fall_back_to_itself() {
    let more = "\n[routing.fallbacks]\nsmall = [\"big\"]\n";
    let own = "routing.fallbacks.small=[\"small\"]";
    only("routing.fallbacks.small[0]", "not asked again after itself", (&[own], &[]), more);
}

#[test]
fn nothing_comes_after_refine() {
    let more = "\n[budgets.reply]\nmax_model_calls = 3\non_exceeded = [\"partial_result\"]\n";
    let ladder = |rungs: &str| format!("budgets.reply.on_exceeded={rungs}");
    let (wrong, right) =
        (ladder("['refine', 'partial_result']"), ladder("['partial_result', 'refine']"));
    only("budgets.reply.on_exceeded[1]", "never reached", (&[&wrong], &[&right]), more);
}

#[test]
fn a_spend_limit_is_not_divided() {
    let more = "\n[[spend_limits]]\nlimit = \"$100\"\nperiod = \"10m\"\nthen = \"refuse\"\n";
    let longer = "spend_limits.0.period=1d";
    let words = "the whole limit for 1d counts in a run of 10m";
    only("spend_limits[0].limit", words, (&[longer], &[]), more);
}

#[test]
fn a_step_knows_nothing_of_a_call() {
    let when = |text: &str| format!("tasks.reply.steps.4.when={text}");
    let key = "tasks.reply.steps[4].when";
    let known = when("model_calls < 3 && elapsed < '5s'");
    for (name, text) in
        [("`intent`", "intent == 'draft'"), ("`prompt_tokens`", "prompt_tokens > 9")]
    {
        only(key, name, (&[&when(text)], &[&known]), "");
    }
}

#[test]
fn no_latency_remains_where_there_is_no_limit() {
    let remains = "tasks.reply.steps.4.when=remaining_latency > '2s'";
    let key = "tasks.reply.steps[4].when";
    let words = "without an SLO";
    let limited = load(DESK, &[remains]).expect("the desk has an SLO");
    assert!(limited.warnings.iter().all(|w| !w.message.contains(words)));
    let endless = DESK.replace("p95_latency_slo_ms = 30000\n", "");
    let resolved = load(&endless, &[remains]).unwrap_or_else(|p| panic!("{p}"));
    let count = |resolved: &Resolved| {
        let here = resolved.warnings.iter().filter(|warning| warning.site.key == key);
        here.filter(|warning| warning.message.contains(words)).count()
    };
    assert_eq!(count(&resolved), 1);
    // A budget is a limit too.
    let budget = endless + "\n[budgets.reply]\nmax_latency = \"20s\"\n";
    let resolved = load(&budget, &[remains]).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(count(&resolved), 0);
}
