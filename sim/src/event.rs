//! What can happen, and in which order at one instant.
//!
//! The order of events is total: `(time, rank, slot or sequence)`. Ranks, and why:
//!
//! | rank | events | reason |
//! |---|---|---|
//! | 0 | a replica's boundary | what ends at an instant is out of the way of what begins at it |
//! | 1 | observers: signal refresh, window end, marks | they see what ended, not yet what arrives |
//! | 2 | arrivals: sources first, then what was planned for later | a request that arrives exactly at a boundary joins the iteration that starts there |
//! | 3 | a replica's next iteration | last, so that everything above is known to it |

use crate::ids::{PoolId, ReplicaId, SourceId};
use crate::units::Time;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An iteration, or a leap of several, ends on a replica.
    Boundary(ReplicaId),
    /// A router scrapes the signals of its pool.
    Refresh(PoolId),
    /// A window of the time series ends.
    WindowEnd,
    /// The warm-up or the measured time ends.
    Mark,
    /// The next request of a source arrives.
    Arrival(SourceId),
    /// Something planned for later: a session's next turn arrives, an attempt ends or takes too
    /// long, a retry is due.
    Timer,
    /// A replica starts its next iteration.
    Schedule(ReplicaId),
}

/// Rank of a boundary.
pub const RANK_BOUNDARY: u8 = 0;
/// Rank of observers.
pub const RANK_OBSERVE: u8 = 1;
/// Rank of arrivals.
pub const RANK_ARRIVE: u8 = 2;
/// Rank of the start of an iteration.
pub const RANK_SCHEDULE: u8 = 3;

/// An event and when it happened, with a digest of what it did: two runs can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
    /// Hash of everything logged up to and including it.
    pub log_hash: u64,
}
