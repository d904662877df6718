//! How much of the start to remove when the steady state is asked for.

use sim::units::Span;

/// What was found about the start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// Not looked for: the run is taken as it is, its start included.
    Terminating,
    /// The cut with the smallest marginal standard error.
    Found(Span),
    /// The run is too short for one: the smallest lies at the bound of half the run (this cut),
    /// or there are too few windows to look.
    TooShort(Span),
}
