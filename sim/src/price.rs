//! What is taken in and what may be spent: plans that tenants pay, and spend limits.
//!
//! Deliberately absent: what things cost (see `fleet` and `backends`) and the sums (see `ledger`).

use crate::ids::{ModelId, TaskId};
use crate::units::{Money, Span, Time};

/// A month: a twelfth of 365.25 days.
pub const MONTH: Span = Span::from_secs(2_629_800);

/// One of the months for which tenants pay, counted from the start of the measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    /// Counted from 0.
    pub number: u64,
    /// Part of it that is measured: all of it, but of the last one.
    pub length: Span,
}

impl Month {
    /// The month under way at an instant; `None` in the warm-up, which nobody pays for. What is
    /// left for the time after the horizon belongs to the last one.
    #[must_use]
    pub fn at(now: Time, warm_up: Span, horizon: Span) -> Option<Month> {
        let measured = horizon - warm_up;
        let passed = now.0.checked_sub(warm_up.0)?.min(measured.0.saturating_sub(1));
        let number = passed / MONTH.0;
        let left = Span(measured.0 - number * MONTH.0);
        Some(Month { number, length: left.min(MONTH) })
    }

    /// Whole tasks that a part of a month includes, to the nearest one, of `included` for all of
    /// it. `None` if less than one would be left of some: then it stands for no limit at all,
    /// because to refuse everybody would be as far from a month as to refuse nobody.
    #[must_use]
    pub fn allowance(self, included: u32) -> Option<u32> {
        if included == 0 || self.length == MONTH {
            return Some(included);
        }
        let (part, whole) = (u128::from(included) * u128::from(self.length.0), u128::from(MONTH.0));
        // At most `included`, because the length is at most a month.
        (part >= whole).then_some(((part + whole / 2) / whole) as u32)
    }
}

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
    /// They are refused until the next month. In a measured time that is shorter than a month, what
    /// is included is the same part of it (see [`Month::allowance`]).
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

#[cfg(test)]
mod tests {
    use super::*;

    fn days(n: u64) -> Span {
        Span::from_secs(86_400 * n)
    }

    #[test]
    fn months_begin_with_the_measured_time_and_the_last_one_ends_with_it() {
        let horizon = days(70);
        let at = |day: u64| Month::at(Time::ZERO.after(days(day)), days(5), horizon);
        assert_eq!(at(4), None, "nobody pays for the warm-up");
        assert_eq!(at(5), Some(Month { number: 0, length: MONTH }));
        assert_eq!(at(35), Some(Month { number: 0, length: MONTH }));
        assert_eq!(at(36), Some(Month { number: 1, length: MONTH }));
        let rest = days(65) - MONTH - MONTH;
        assert_eq!(at(66), Some(Month { number: 2, length: rest }));
        assert_eq!(at(90), at(69), "what comes after the horizon belongs to the last month");
        let whole = Month::at(Time::ZERO.after(MONTH), Span::ZERO, MONTH);
        assert_eq!(whole, Some(Month { number: 0, length: MONTH }));
    }

    #[test]
    fn a_part_of_a_month_includes_that_part_to_the_nearest_task() {
        let tenth = Month { number: 0, length: Span(MONTH.0 / 10) };
        for (included, allowance) in
            [(0, Some(0)), (1, None), (9, None), (10, Some(1)), (14, Some(1)), (15, Some(2))]
        {
            assert_eq!(tenth.allowance(included), allowance, "of {included}");
        }
        assert_eq!(tenth.allowance(u32::MAX), Some(429_496_730));
        let whole = Month { number: 3, length: MONTH };
        assert_eq!([0, 1, 77].map(|n| whole.allowance(n)), [Some(0), Some(1), Some(77)]);
    }
}
