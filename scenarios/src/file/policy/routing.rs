//! `[routing]`: the default model, rules, fallbacks, canaries and shadows.
//!
//! Invariants: a rule has one condition, under the key `when` or `condition`.
//!
//! Deliberately absent: which rules wait for an answer; their conditions tell (see `resolve`).

use super::failures;
use crate::condition::{ConditionKind, ConditionText};
use crate::kinds::{Flag, NAME, Number};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::{Either, Named, Reader};
use sim::resilience::FailureSet;

/// `[routing]`.
pub(crate) struct RoutingFile {
    pub(crate) default_model: Option<At<String>>,
    /// Intents and models.
    pub(crate) by_intent: Vec<(At<String>, At<String>)>,
    pub(crate) rules: Vec<RuleFile>,
    /// Models, and what follows each: a name alone, or with the failures it is for.
    pub(crate) fallbacks: Named<Vec<Either<crate::kinds::Text, FallbackFile>>>,
    pub(crate) canaries: Vec<ShareFile>,
    pub(crate) shadows: Vec<ShareFile>,
    pub(crate) fail_closed: Option<At<bool>>,
}

/// One of `[[routing.escalate_if]]`.
pub(crate) struct RuleFile {
    pub(crate) when: Option<At<ConditionText>>,
    pub(crate) model: Option<At<String>>,
}

/// A fallback with the failures it is for.
pub(crate) struct FallbackFile {
    pub(crate) model: Option<At<String>>,
    pub(crate) on: Option<FailureSet>,
}

/// One of `[[routing.canary]]` and `[[routing.shadow]]`.
pub(crate) struct ShareFile {
    pub(crate) of: Option<At<String>>,
    pub(crate) to: Option<At<String>>,
    pub(crate) share: Option<At<f64>>,
    pub(crate) site: Site,
}

pub(super) fn routing(r: &mut Reader<'_>) -> RoutingFile {
    RoutingFile {
        default_model: r.may("default_model", NAME, "Model of calls that nothing else decides."),
        by_intent: r.named_values("by_intent", NAME, "Model of the calls of each intent."),
        rules: r.list(
            "escalate_if",
            "Rules in order; those that read the confidence look at an answer, the others decide \
             before the call.",
            rule,
        ),
        fallbacks: r.named_lists(
            "fallbacks",
            NAME,
            fallback,
            "Models that are tried in order when a model failed for good.",
        ),
        canaries: r.list("canary", "Shares of calls that go to another model instead.", share),
        shadows: r.list("shadow", "Shares of calls that go to another model as well.", share),
        fail_closed: r.or(
            "fail_closed",
            Flag,
            "false",
            "Whether an action whose safety check could not be made is left undone.",
        ),
    }
}

fn rule(r: &mut Reader<'_>) -> RuleFile {
    let when = r.may("when", ConditionKind, "The condition.");
    let condition = r.may("condition", ConditionKind, "The same as `when`; one of them is needed.");
    match (r.has("when"), r.has("condition")) {
        (true, true) => {
            r.refuse(
                ProblemKind::Conflict,
                "`when` and `condition` are one key; write one of them",
            );
        }
        (false, false) => {
            let message = "the rule has no condition; write it under `when`";
            r.refuse_keys(&["when", "condition"], ProblemKind::MissingKey, message);
        }
        _ => {}
    }
    RuleFile {
        when: when.or(condition),
        model: r.need("model", NAME, "The model the call goes to when the condition holds."),
    }
}

fn fallback(r: &mut Reader<'_>) -> FallbackFile {
    FallbackFile {
        model: r.need("model", NAME, "The model that is tried."),
        on: failures(r, "on", "Failures after which it is tried. Default: all."),
    }
}

fn share(r: &mut Reader<'_>) -> ShareFile {
    ShareFile {
        of: r.need("of", NAME, "Calls of this model."),
        to: r.need("to", NAME, "The model that a share of them goes to."),
        share: r.need("share", Number::within(0.0, 1.0), "The share, 0 to 1, drawn per task."),
        site: r.site().clone(),
    }
}
