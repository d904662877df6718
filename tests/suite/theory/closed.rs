//! The interactive response time law: what `N` users do in a time `T`, they do one after another.
//!
//! Every user is always thinking, waiting for an answer, or pausing after a refusal, so the time
//! of all cycles begun adds up to `N·T`, but for the last cycle of each user, which may outlast
//! the horizon (Lazowska et al., "Quantitative System Performance", 1984, chapter 3).
//!
//! Deliberately absent: any law of service; the identity holds for every engine.

use super::monotone::{run, service};
use sim::dist::DurationDist;
use sim::fleet::Strategy;
use sim::units::Span;
use sim::workload::Arrivals;

/// The pause of a user whose request was rejected, before thinking.
const REFUSED_PAUSE: f64 = 1.0;

/// Users, think time in seconds, places in the batch, limit of the queue.
type Case = (u32, u64, u32, Option<u32>);

#[test]
fn users_times_time_is_what_they_spend_in_their_cycles() {
    let cases: [Case; 7] = [
        (1, 2, 64, None),
        (1, 0, 64, None),
        (20, 0, 4, None),
        (20, 3, 4, None),
        // Most are refused; all are refused; the only one there is never is.
        (20, 0, 4, Some(1)),
        (3, 0, 4, Some(0)),
        (1, 0, 1, Some(1)),
    ];
    for (users, think, seats, limit) in cases {
        let mut scenario = service(1.0, 1, 1_500, Strategy::LeastOutstanding, 500);
        scenario.warm_up = Span::ZERO;
        scenario.sources[0].arrivals =
            Arrivals::ClosedLoop { users, think: DurationDist::Fixed(Span::from_secs(think)) };
        scenario.pools[0].engine.max_num_seqs = seats;
        scenario.pools[0].engine.max_num_queued_reqs = limit;
        let outcome = run(&scenario, 1, 0);
        let (task, think) = (&outcome.tasks[0], think as f64);
        let (served, refused) = (task.succeeded as f64, task.rejected as f64);
        let latency = task.latency.mean_secs().unwrap_or(0.0);
        let spent = served * (latency + think) + refused * (REFUSED_PAUSE + think);
        let longest = task.latency.max().map_or(0.0, Span::as_secs_f64).max(REFUSED_PAUSE);
        let available = f64::from(users) * scenario.horizon.as_secs_f64();
        let edge = f64::from(users) * (longest + think);
        let case = (users, think, seats, limit);
        assert!((spent - available).abs() <= edge, "{case:?}: {spent} of {available}");
        assert!(served + refused > 100.0, "{case:?} says nothing: {task:?}");
        assert_eq!(task.rejected > 0, limit.is_some() && users > 1, "{case:?}");
    }
}
