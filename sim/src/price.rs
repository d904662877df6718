//! What is taken in and what may be spent: plans that tenants pay, and spend limits.
//!
//! Deliberately absent: what things cost (see `fleet` and `backends`) and the sums (see `ledger`).

use crate::ids::{ModelId, TaskId};
use crate::units::{Money, Span};

/// What a tenant pays. Parts that are zero or absent make the usual kinds: flat (`per_month`
/// alone), credits (`included` and [`Beyond::Charged`]), tier cap (`included` and
/// [`Beyond::Refused`]), add-on (`premium`), outcome-based (`per_success`).
#[derive(Clone, Debug, PartialEq)]
pub struct PlanSpec {
    /// Name in files and reports.
    pub name: String,
    /// Per tenant and month of 30.4375 days.
    pub per_month: Money,
    /// Tasks included per tenant and month; `None`: any number.
    pub included: Option<u32>,
    /// What happens beyond.
    pub beyond: Beyond,
    /// Per successful task.
    pub per_success: Money,
    /// Per successful task that used one of these models.
    pub premium: Option<Premium>,
}

/// Tasks beyond those included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Each costs this much.
    Charged(Money),
    /// They are refused until the next month.
    Refused,
}

/// An add-on for better answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Premium {
    /// Models that count as premium.
    pub models: Vec<ModelId>,
    /// Per task.
    pub per_task: Money,
}

/// A limit on what calls and tools may cost (GPUs rented by the hour are not meant).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendLimit {
    /// Whose spend.
    pub scope: SpendScope,
    /// How much.
    pub limit: Money,
    /// Per this time, counted from the start of the run; positive.
    pub period: Span,
    /// What happens to tasks that begin when it is used up.
    pub then: LimitReached,
}

/// Whose spend a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendScope {
    /// Everybody's.
    All,
    /// That of one kind of task.
    Task(TaskId),
    /// Each tenant's own.
    EachTenant,
}

/// What a used-up limit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// Tasks are refused until the next period.
    Refuse,
    /// All their calls go to this model.
    SmallerModel(ModelId),
}
