//! One-off events: what was planned for later. A plan whose owner is gone, or has made another
//! plan since, is stale and does nothing.

use crate::ids::Handle;

/// What a one-off event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A request that waited for another one arrives.
    FollowUp(Handle),
    /// An engine gets a request that was on its host.
    Received(Handle),
    /// An attempt at a remote ends.
    AttemptEnds(Handle),
    /// An attempt has taken as long as it may.
    AttemptTimeout(Handle),
    /// The next attempt of a call is due, if the call's turn is still this one.
    Retry(Handle, u32),
    /// A call is slow enough for one more attempt, if its turn is still this one.
    Hedge(Handle, u32),
    /// A call's look-up in the caches of answers is over.
    LookedUp(Handle),
    /// A tool use ends, if its turn is still this one.
    UseEnds(Handle, u32),
    /// A user's patience ends, if the submission is still this one.
    Patience(Handle, u32),
    /// A task's time is up, if the submission is still this one.
    Deadline(Handle, u32),
    /// A user asks again.
    Resubmit(Handle, u32),
}
