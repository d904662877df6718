//! An engine walked from boundary to boundary while requests reach it.
//!
//! Invariants: at one instant an iteration ends before requests arrive, and both before the next is
//! scheduled; requests of one instant arrive in the order of their numbers.
//!
//! Deliberately absent: cancelled requests, and what lies before the engine.

use sim::engine::{Ended, Replica, Submission};
use sim::units::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Runs `replica` until nothing is left to do. `receipts` are requests by number with the time at which
/// the engine has them; `submission` makes one of them, and `answered` takes what became of it and says
/// which request follows, if any.
pub(crate) fn drive(
    mut replica: Replica,
    receipts: impl IntoIterator<Item = (Time, u32)>,
    submission: impl Fn(u32, Time) -> Submission,
    mut answered: impl FnMut(&Ended, Time) -> Option<(Time, u32)>,
) {
    let mut receipts: BinaryHeap<Reverse<(Time, u32)>> =
        receipts.into_iter().map(Reverse).collect();
    let mut ended = Vec::new();
    loop {
        let receipt = receipts.peek().map_or(Time::NEVER, |Reverse((at, _))| *at);
        let now = replica.boundary().min(receipt);
        if now == Time::NEVER {
            return;
        }
        if replica.boundary() == now {
            replica.complete(now, &mut ended);
            receipts.extend(ended.drain(..).filter_map(|end| answered(&end, now)).map(Reverse));
        }
        while receipts.peek().is_some_and(|Reverse((at, _))| *at == now) {
            if let Some(Reverse((_, number))) = receipts.pop() {
                replica.submit(now, submission(number, now));
            }
        }
        if replica.boundary() == Time::NEVER {
            replica.schedule(now, &mut ended);
            receipts.extend(ended.drain(..).filter_map(|end| answered(&end, now)).map(Reverse));
        }
    }
}
