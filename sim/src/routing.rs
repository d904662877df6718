//! Which model a call goes to, and which one next.
//!
//! Before a call: the step's own model, else the first rule that holds, else the intent's model,
//! else the default. After an answer: the first escalation that holds sends the call again to a
//! better model. After a failure that retries did not mend: the model's fallbacks, in order.
//!
//! Deliberately absent: which backend of a model (see `resilience` and `fleet`) and which replica
//! of a pool (see `router`).

use crate::ids::ModelId;
use crate::predicate::Predicate;
use crate::resilience::FailureSet;

/// Routing of a whole scenario.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RoutingSpec {
    /// Where a call goes that nothing else decides; `None` only when each call names its model.
    pub default_model: Option<ModelId>,
    /// Model per intent, one entry for each of `Scenario::intents`.
    pub by_intent: Vec<Option<ModelId>>,
    /// Conditions that do not read the confidence; the first that holds decides.
    pub rules: Vec<Rule>,
    /// Conditions that read the confidence of an answer; the first that holds, and names another
    /// model than those already asked, sends the call there.
    pub escalations: Vec<Rule>,
    /// One list for each of `Scenario::models`.
    pub fallbacks: Vec<Vec<Fallback>>,
    /// Canaries and shadows.
    pub shares: Vec<Share>,
    /// Whether an action whose safety check failed or could not be made is left undone.
    pub fail_closed: bool,
}

/// If this holds, that model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The condition.
    pub when: Predicate,
    /// The model.
    pub model: ModelId,
}

/// After these failures, that model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The model.
    pub model: ModelId,
    /// Failures after which it is tried.
    pub on: FailureSet,
}

/// A share of the calls to one model that goes to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Calls to this model …
    pub of: ModelId,
    /// … go to this one …
    pub to: ModelId,
    /// … with this probability, drawn per task; in `[0, 1]`.
    pub share: f64,
    /// … in addition and unseen (shadow traffic), or instead (a canary).
    pub shadow: bool,
    /// Stable key of the draw.
    pub key: u64,
}
