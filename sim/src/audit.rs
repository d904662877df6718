//! The invariants as code: totals derived a second way and compared with the outcome.
//!
//! Conservation (every task that arrived is accounted for), Little's law as an identity (the area
//! under the number in system equals the sum of the times spent in it), KV blocks (none is held
//! after the run drained), money (pool by pool, priced again from the fleet), utilisation ≤ 1.
//! A violation is a bug of this crate, never of the input.

use crate::engine::Replica;
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::units::{Money, PS_PER_SEC, Time};

/// Running totals that the audit compares at the end.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    in_system: u64,
    last: Time,
    /// Integral of the number in system over time, in request-picoseconds.
    area: u128,
    /// Sum of the times spent in the system.
    sojourn: u128,
    arrived: u64,
    ended: u64,
}

impl Audit {
    /// A request enters the system.
    pub fn enter(&mut self, now: Time) {
        self.pass(now);
        self.in_system += 1;
        self.arrived += 1;
    }

    /// A request that was born at `born` leaves the system.
    pub fn leave(&mut self, now: Time, born: Time) {
        self.pass(now);
        self.in_system -= 1;
        self.ended += 1;
        self.sojourn += u128::from((now - born).0);
    }

    /// Requests in the system now.
    #[must_use]
    pub fn in_system(&self) -> u64 {
        self.in_system
    }

    fn pass(&mut self, now: Time) {
        assert!(now >= self.last, "time went back from {:?} to {now:?}", self.last);
        self.area += u128::from(self.in_system) * u128::from((now - self.last).0);
        self.last = now;
    }

    /// Everything that does not add up, in words; empty in a correct run.
    #[must_use]
    pub fn findings(
        &self,
        scenario: &Scenario,
        outcome: &Outcome,
        replicas: &[Replica],
    ) -> Vec<String> {
        let mut found = Vec::new();
        if self.arrived != self.ended + self.in_system {
            found.push(format!(
                "{} requests arrived, {} ended, {} are in the system",
                self.arrived, self.ended, self.in_system
            ));
        }
        if self.in_system == 0 && self.area != self.sojourn {
            found.push(format!(
                "Little's law: area {} but time in system {}",
                self.area, self.sojourn
            ));
        }
        for (spec, task) in scenario.tasks.iter().zip(&outcome.tasks) {
            let accounted =
                task.succeeded + task.failed + task.rejected + task.abandoned + task.in_flight;
            if task.arrived != accounted || task.latency.count() != task.succeeded {
                found.push(format!("tasks of {} are not conserved: {task:?}", spec.name));
            }
        }
        let drained = self.in_system == 0;
        let held: u64 = replicas.iter().map(|r| u64::from(r.used_blocks())).sum();
        if drained && held > 0 {
            found.push(format!("{held} KV blocks are held after the run drained"));
        }
        found.extend(money(scenario, &outcome.ledger, outcome));
        for (spec, pool) in scenario.pools.iter().zip(&outcome.pools) {
            let rented = u128::from(outcome.measured.0) * u128::from(spec.replicas);
            if u128::from(pool.measured.busy.0) > rented {
                found.push(format!("{} was busy for longer than it was rented", spec.name));
            }
        }
        found
    }
}

/// Prices the fleet again, without the ledger's arithmetic.
fn money(scenario: &Scenario, ledger: &Ledger, outcome: &Outcome) -> Option<String> {
    let mut total = Money::ZERO;
    for spec in &scenario.pools {
        let gpus = i128::from(spec.replicas) * i128::from(spec.gpus_per_replica);
        let gpu_time = gpus * i128::from(outcome.measured.0);
        // Whole seconds and the rest apart: the same rational number, truncated once.
        let (seconds, rest) =
            (gpu_time / i128::from(PS_PER_SEC), gpu_time % i128::from(PS_PER_SEC));
        let price = spec.price_per_gpu_hour.0;
        let per_hour = 3_600 * i128::from(PS_PER_SEC);
        let whole = seconds * price;
        let exact = (whole / 3_600, (whole % 3_600) * i128::from(PS_PER_SEC) + rest * price);
        total += Money(exact.0 + exact.1 / per_hour);
    }
    (total != ledger.gpu_spend()).then(|| {
        format!("the ledger says {:?} pico-dollars, the fleet {:?}", ledger.gpu_spend(), total)
    })
}
