//! Replications that were simulated a moment ago, for questions that need them again.
//!
//! Moving a slider leaves the pinned scenario as it is, and a report is of the replications that the
//! answer on the page was of. So what is kept is the outcome of single replications, of the scenarios
//! that were asked about last.
//!
//! Invariants: what is taken from here is what would be simulated, since an outcome is a function of
//! scenario, seed and replication; outcomes take at most the bytes allowed, those of one scenario at
//! most half of them; an outcome with which the audit found something wrong is not kept.
//!
//! Deliberately absent: who asked.

use crate::limits::Watch;
use experiments::Halt;
use sim::metrics::{Histogram, Series};
use sim::record::Discard;
use sim::{Outcome, Scenario};
use std::collections::BTreeMap;
use std::mem::{size_of, size_of_val};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Scenarios of which something is kept.
const MOST_SCENARIOS: usize = 16;
/// Bytes of an octave of a histogram at most: 1,024 counts.
const OCTAVE: usize = 1_024 * size_of::<u64>();

/// See the module.
pub(super) struct Memory {
    /// The least recently used stands first.
    kept: Mutex<Vec<Kept>>,
    most_bytes: usize,
}

struct Kept {
    scenario: Scenario,
    seed: u64,
    outcomes: BTreeMap<u32, Arc<Outcome>>,
    bytes: usize,
}

impl Memory {
    /// Keeps nothing yet.
    pub(super) fn new(most_bytes: usize) -> Memory {
        Memory { kept: Mutex::default(), most_bytes }
    }

    /// Recalls one replication, or runs it; `pause` is called now and then, and may take its time.
    pub(super) fn replicate(
        &self,
        watch: &Watch,
        scenario: &Scenario,
        which: (u64, u32),
        pause: &dyn Fn(),
    ) -> Result<Outcome, Halt> {
        if let Some(known) = self.recall(scenario, which) {
            return Ok(Outcome::clone(&known));
        }
        let (outcome, _) = watch.replicate_pausing(scenario, which, Discard, pause)?;
        self.keep(scenario, which, &outcome);
        Ok(outcome)
    }

    fn recall(&self, scenario: &Scenario, (seed, replication): (u64, u32)) -> Option<Arc<Outcome>> {
        used(&mut self.locked(), scenario, seed)?.outcomes.get(&replication).cloned()
    }

    fn keep(&self, scenario: &Scenario, (seed, replication): (u64, u32), outcome: &Outcome) {
        let size = bytes(outcome);
        if !outcome.audit.is_empty() || size > self.most_bytes / 2 {
            return;
        }
        // Copied before anybody has to wait for it.
        let outcome = Arc::new(outcome.clone());
        let mut kept = self.locked();
        if used(&mut kept, scenario, seed).is_none() {
            let (scenario, outcomes) = (scenario.clone(), BTreeMap::new());
            kept.push(Kept { scenario, seed, outcomes, bytes: 0 });
        }
        let Some(last) = kept.last_mut() else { return };
        if last.bytes + size > self.most_bytes / 2 {
            return;
        }
        // Two questions at once may have simulated the same.
        if last.outcomes.insert(replication, outcome).is_none() {
            last.bytes += size;
        }
        let is_too_much = |kept: &[Kept]| {
            kept.len() > MOST_SCENARIOS
                || kept.iter().map(|one| one.bytes).sum::<usize>() > self.most_bytes
        };
        while is_too_much(&kept) {
            kept.remove(0);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a scenario, which is thereby the one used last.
fn used<'a>(kept: &'a mut [Kept], scenario: &Scenario, seed: u64) -> Option<&'a Kept> {
    let is_it = |one: &Kept| one.seed == seed && one.scenario == *scenario;
    let at = kept.iter().position(is_it)?;
    kept[at..].rotate_left(1);
    kept.last()
}

/// Bytes that an outcome takes, about, and rather too many.
fn bytes(outcome: &Outcome) -> usize {
    let models = outcome.models.iter().flat_map(|model| {
        [&model.ttft, &model.tpot, &model.e2e, &model.queue, &model.prefill, &model.decode]
    });
    let tasks = outcome.tasks.iter().map(|task| &task.latency);
    let histograms = tasks.chain(models).chain(outcome.tools.iter().map(|tool| &tool.time));
    let octaves: usize = histograms.map(octaves).sum();
    let drivers = outcome.tasks.iter().map(|task| size_of_val(task.drivers.bands.as_slice()));
    let plain = size_of::<Outcome>()
        + size_of_val(outcome.tasks.as_slice())
        + size_of_val(outcome.models.as_slice())
        + size_of_val(outcome.pools.as_slice())
        + size_of_val(outcome.remotes.as_slice())
        + size_of_val(outcome.tools.as_slice())
        + size_of_val(outcome.tenants.as_slice());
    octaves * OCTAVE + drivers.sum::<usize>() + plain + of_series(&outcome.series)
}

/// Octaves between the smallest value and the largest.
fn octaves(histogram: &Histogram) -> usize {
    let (Some(least), Some(most)) = (histogram.min(), histogram.max()) else { return 0 };
    ((most.0 | 1).ilog2() - (least.0 | 1).ilog2()) as usize + 1
}

fn of_series(series: &Series) -> usize {
    /// A band, how many are in it, and what a growing list has to spare.
    const BAND: usize = 2 * size_of::<(u16, u32)>();
    let parts = &series.parts;
    let bands = parts.tasks.iter().flatten().map(|window| window.latency.bands().count() * BAND);
    size_of_val(series.windows.as_slice())
        + parts.pools.iter().map(|all| size_of_val(all.as_slice())).sum::<usize>()
        + parts.remotes.iter().map(|all| size_of_val(all.as_slice())).sum::<usize>()
        + parts.tools.iter().map(|all| size_of_val(all.as_slice())).sum::<usize>()
        + parts.tasks.iter().map(|all| size_of_val(all.as_slice())).sum::<usize>()
        + parts.limits.iter().map(|all| size_of_val(all.acted.as_slice())).sum::<usize>()
        + bands.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use scenarios::library;

    fn starter() -> Scenario {
        let shipped = library::find("starter").expect("it is shipped");
        let set = ["scenario.horizon=2m".to_owned()];
        scenarios::load_library(shipped, None, &set).expect("it is valid").scenario
    }

    fn numbers(memory: &Memory) -> Vec<(u64, Vec<u32>)> {
        let kept = memory.locked();
        kept.iter().map(|one| (one.seed, one.outcomes.keys().copied().collect())).collect()
    }

    #[test]
    fn what_is_recalled_is_what_was_simulated() {
        let (memory, scenario) = (Memory::new(1 << 30), starter());
        let watch = Watch::begin(&Limits::default());
        let run =
            |seed, n| memory.replicate(&watch, &scenario, (seed, n), &|| ()).expect("no limit");
        let first = run(1, 0);
        assert_eq!(run(1, 0), first);
        assert_ne!(run(1, 1), first);
        assert_ne!(run(2, 0), first);
        assert_eq!(numbers(&memory), [(1, vec![0, 1]), (2, vec![0])]);
        assert_eq!(run(1, 0), first);
        assert_eq!(numbers(&memory), [(2, vec![0]), (1, vec![0, 1])], "the last used stands last");
        // What differs in one number is another scenario.
        let other = Scenario { horizon: sim::units::Span::from_secs_f64(60.0), ..scenario.clone() };
        let shorter = memory.replicate(&watch, &other, (1, 0), &|| ()).expect("no limit");
        assert_ne!(shorter, first);
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_forgets_the_oldest_first() {
        let scenario = starter();
        let watch = Watch::begin(&Limits::default());
        let size = bytes(&watch.runner()(&scenario, 1, 0).expect("no limit"));
        // Two replications each of two scenarios and a bit, if all are of about the same size.
        let memory = Memory::new(5 * size);
        for (seed, replication) in [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (1, 0), (3, 0), (3, 1)]
        {
            memory.replicate(&watch, &scenario, (seed, replication), &|| ()).expect("no limit");
            let held: usize = memory.locked().iter().map(|one| one.bytes).sum();
            assert!(held <= 5 * size, "{held}");
        }
        assert_eq!(numbers(&memory), [(1, vec![0, 1]), (3, vec![0, 1])]);
        let none = Memory::new(size);
        none.replicate(&watch, &scenario, (1, 0), &|| ()).expect("no limit");
        assert_eq!(numbers(&none), [], "one that is too large is not kept");
    }
}
