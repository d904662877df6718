//! Who sends a request: the tenant it belongs to, what it declares about itself, and how long its
//! user waits.

use crate::dist::DurationDist;
use crate::ids::{PlanId, SymbolId};

/// Who sends the requests of a source.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct People {
    /// Tenants; `None`: one tenant that pays nothing.
    pub tenants: Option<TenantSpec>,
    /// One for each of `Scenario::attributes`; missing ones are not declared.
    pub attributes: Vec<AttributeSpec>,
    /// What users do when they wait in vain.
    pub client: ClientSpec,
}

/// Tenants among whom the tasks of a source are divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TenantSpec {
    /// First tenant of the source in the scenario's numbering.
    pub first: u32,
    /// Tenants; at least 1.
    pub count: u32,
    /// Zipf exponent of their shares of the tasks; 0 = all alike.
    pub zipf: f64,
    /// What they pay.
    pub plan: Option<PlanId>,
}

/// Law of one attribute of a source's tasks.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeLaw {
    /// Not declared: a condition on it is false.
    Absent,
    /// `(word, probability of it or one before)`, rising; the last is 1.
    Words(Vec<(SymbolId, f64)>),
    /// Uniform between two numbers.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end, not below.
        high: f64,
    },
}

/// An attribute and whether each tenant keeps its value.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeSpec {
    /// Its law.
    pub law: AttributeLaw,
    /// Stable key of its draws.
    pub key: u64,
    /// Whether it is drawn once per tenant (an account's tier) or once per task.
    pub per_tenant: bool,
}

/// What the users of a source do when they wait in vain.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ClientSpec {
    /// How long a user waits for a task; `None`: for ever.
    pub patience: Option<DurationDist>,
    /// Whether the work goes on after its user has left; otherwise it is cancelled.
    pub abandoned_work_goes_on: bool,
    /// Asking again after a failure or in impatience.
    pub resubmit: Option<ResubmitSpec>,
}

/// Asking again.
#[derive(Clone, Debug, PartialEq)]
pub struct ResubmitSpec {
    /// Submissions in all, the first included; at least 1; `u32::MAX`: no limit.
    pub max_submissions: u32,
    /// Probability of asking again.
    pub probability: f64,
    /// Pause before.
    pub pause: DurationDist,
}
