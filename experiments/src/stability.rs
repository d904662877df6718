//! Whether the backlog stays bounded, and how much the system can carry when it does not.

/// What the backlog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No evidence that it grows without bound.
    Stable,
    /// It grows as long as the run lasts.
    Unstable,
}

/// The verdict and the numbers it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Stability {
    /// `None` when the run is too short to judge (then `why` says so).
    pub verdict: Option<Verdict>,
    /// One sentence with the numbers.
    pub why: String,
    /// Requests that arrived per second of judged time, mean over replications.
    pub demand_per_s: Option<f64>,
    /// When unstable: requests completed per second while backlogged, the load it can carry.
    pub capacity_per_s: Option<f64>,
}

/// Requests in the system over the judged time of one replication.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Flow {
    /// One per window of the judged time, whole windows up to the horizon.
    pub windows: Vec<FlowWindow>,
}

/// One window of a [`Flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlowWindow {
    /// Requests that arrived in it.
    pub arrived: u64,
    /// Requests that finished in it.
    pub finished: u64,
    /// Requests waiting or running at its end.
    pub in_system: u64,
}
