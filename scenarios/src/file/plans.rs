//! `[plans.NAME]`: what tenants pay.
//!
//! Invariants: what happens beyond the included tasks is written exactly when some are included.
//!
//! Deliberately absent: who is on which plan (see `traffic`), and what tasks cost.

use crate::kinds::{Count, Dollars, NAME, Or};
use crate::problem::{At, ProblemKind};
use crate::reader::Reader;
use sim::units::Money;

/// A plan.
pub(crate) struct PlanFile {
    pub(crate) per_month: Option<At<Money>>,
    pub(crate) included: Option<At<u32>>,
    /// `None` within: refused.
    pub(crate) beyond: Option<At<Option<Money>>>,
    pub(crate) per_success: Option<At<Money>>,
    pub(crate) premium: Option<PremiumFile>,
}

/// An add-on.
pub(crate) struct PremiumFile {
    pub(crate) models: Vec<At<String>>,
    pub(crate) per_task: Option<At<Money>>,
}

pub(super) fn plan(r: &mut Reader<'_>) -> PlanFile {
    let plan = PlanFile {
        per_month: r.or("per_month", Dollars(""), "$0", "Per tenant and month."),
        included: r.may(
            "included",
            Count { min: 0, max: 1_000_000_000 },
            "Tasks included per tenant and month. Default: any number.",
        ),
        beyond: r.may(
            "beyond",
            Or("refuse", Dollars("")),
            "Price of each further task, or \"refuse\".",
        ),
        per_success: r.or("per_success", Dollars(""), "$0", "Per successful task."),
        premium: r.table("premium", "An add-on for better models.", premium),
    };
    match (r.has("included"), r.has("beyond")) {
        (true, false) => {
            let message = "`included` needs `beyond`: a price like \"$0.02\", or \"refuse\"";
            r.refuse_keys(&["beyond"], ProblemKind::MissingKey, message);
        }
        (false, true) => {
            let message = "`beyond` has no effect without `included`";
            r.refuse_keys(&["included"], ProblemKind::Conflict, message);
        }
        _ => {}
    }
    plan
}

fn premium(r: &mut Reader<'_>) -> PremiumFile {
    if !r.has("models") {
        r.refuse_keys(&["models"], ProblemKind::MissingKey, "say which `models` are premium");
    }
    PremiumFile {
        models: r.values("models", NAME, "Models that count as premium."),
        per_task: r.need("per_task", Dollars(""), "Per successful task that used one of them."),
    }
}
