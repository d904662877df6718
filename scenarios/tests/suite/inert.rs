//! What is written and cannot act is told: answers that nothing needs, confidence that is always
//! one, harm that nothing does, checks that look at nothing.

use crate::support::{DESK, SMALL, load};

/// The warnings of a text whose key and message contain these.
fn told(text: &str, overrides: &[&str], key: &str, message: &str) -> usize {
    let resolved = load(text, overrides).unwrap_or_else(|e| panic!("{e}"));
    let warnings = resolved.warnings.iter();
    warnings.filter(|w| w.site.key == key && w.message.contains(message)).count()
}

#[test]
fn a_task_without_a_needed_answer_is_told_to_succeed_without_one() {
    let told = |text: &str, change: &str| told(text, &[change], "tasks.chat", "without any answer");
    assert_eq!(told(SMALL, "tasks.chat.steps.0.required=true"), 0);
    assert_eq!(told(SMALL, "tasks.chat.steps.0.required=false"), 1);
    assert_eq!(told(SMALL, "tasks.chat.steps.0.model_call.decisive=false"), 1);
    // A part that is not needed needs nothing itself.
    let part = SMALL.replace("id = \"answer\",", "loop = 2,");
    let part = part.replace("[tasks.chat]", "[tasks.part]").replace(
        "[models.small]",
        "[tasks.chat]\nvalue = \"$1\"\nsteps = [{ sub_task = \"part\" }]\n[models.small]",
    );
    assert_eq!(told(&part, "tasks.chat.steps.0.required=true"), 0);
    assert_eq!(told(&part, "tasks.chat.steps.0.required=false"), 1);
}

/// Two models behind a rule; the quality of the first decides whether it is ever in doubt.
fn doubtful(rule: &str, intents: &str, intent: &str) -> String {
    let text = SMALL
        .replace("model_call = { model = \"small\", ", &format!("model_call = {{ {intent}"))
        .replace(
            "[models.small]",
            &format!("{intents}\n[models.big]\nserved_by = [\"h100\"]\n[models.small]"),
        );
    format!(
        "{text}\n[routing]\ndefault_model = \"small\"\nescalate_if = [{{ when = \"{rule}\", model = \"big\" }}]\n"
    )
}

#[test]
fn a_confidence_that_is_always_one_is_told() {
    let key = "routing.escalate_if[0].when";
    let never = |rule: &str, intents: &str, intent: &str| {
        told(&doubtful(rule, intents, intent), &[], key, "never holds")
    };
    let stated = "[intents.draft]\nquality = { small = { success = 0.9 } }";
    let label = "intent = \"draft\", ";
    assert_eq!(never("confidence < 0.7", "", ""), 1);
    assert_eq!(never("confidence < 0.7", "", label), 1);
    assert_eq!(never("confidence < 0.7", stated, label), 0);
    // The quality is that of another model, or of calls that the rule is not about.
    let other = "[intents.draft]\nquality = { big = { success = 0.9 } }";
    assert_eq!(never("confidence < 0.7", other, label), 1);
    let both = format!("{stated}\n[intents.sort]");
    assert_eq!(never("intent == 'sort' and confidence < 0.7", &both, "intent = \"sort\", "), 1);
    // What holds at a confidence of one, or may hold without it, is no mistake.
    assert_eq!(never("confidence > 0.7", "", ""), 0);
    assert_eq!(never("confidence < 0.7 or prompt_tokens > 500", "", ""), 0);
    let advice = |intents: &str, intent: &str, wanted: &str| {
        told(&doubtful("confidence < 0.7", intents, intent), &[], key, wanted)
    };
    assert_eq!(advice("", label, "declare [intents.draft] with quality = { small ="), 1);
    assert_eq!(advice("", "", "write intent = \"X\" in the model_call"), 1);
}

#[test]
fn a_step_that_waits_for_doubt_is_told_too() {
    let with = |intents: &str| {
        let answer = "tokens = 100 } } },";
        let again = "{ model_call = { model = \"small\", input = { kind = \"fixed\", tokens = 9 }, \
                     output = { kind = \"fixed\", tokens = 9 } }, when = \"confidence < 0.5\" },";
        let text = SMALL.replace(answer, &format!("{answer}\n{again}"));
        let text = text.replace("[models.small]", &format!("{intents}\n[models.small]"));
        told(&text, &[], "tasks.chat.steps[1].when", "never holds")
    };
    assert_eq!(with(""), 1);
    assert_eq!(with("[intents.other]\nquality = { small = { success = 0.9 } }"), 0);
}

#[test]
fn harm_that_nothing_does_and_checks_that_look_at_nothing_are_told() {
    let harm = |change: &str| told(DESK, &[change], "tasks.reply.harm_cost", "acts = true");
    assert_eq!(harm("tasks.reply.steps.0.acts=true"), 0);
    assert_eq!(harm("tasks.reply.steps.0.acts=false"), 1);
    let blind = DESK
        .replace("after = [\"verify\"], check = { of = \"draft\" } }", "after = [\"verify\"] }");
    assert_ne!(blind, DESK);
    assert_eq!(told(DESK, &[], "tasks.reply.steps[7]", "finds nothing"), 0);
    assert_eq!(told(&blind, &[], "tasks.reply.steps[7]", "finds nothing"), 1);
}
