//! Single tasks that fare worse in one arm than in the other.
//!
//! Both arms of a comparison have the same customers: request `n` of a source arrives at the same
//! instant and asks for the same in both. So a task can be followed through both, and what became of
//! it told side by side. Shown are tasks of replication 0: the first that succeeds in the first arm
//! and not in the second, and then those that both arms answer and the second takes longest over, by
//! more than [`NOTABLE`] of their time.
//!
//! Invariants: the choice depends on the scenarios and the seed only; memory follows the tasks
//! looked at, of which there are at most [`MOST_TASKS`].
//!
//! Deliberately absent: how typical these tasks are. They show how a difference comes about; how
//! large it is the changes say.

use sim::ids::{SourceId, TaskId};
use sim::outcome::Ending;
use sim::record::{CallRecord, Recorder, TaskRecord};
use sim::units::{Span, Time};
use sim::{Scenario, Simulation};
use std::collections::BTreeSet;

/// Tasks of a replication that are looked at: the first to end.
pub const MOST_TASKS: usize = 2_000_000;

/// The part of its time by which a task has to take longer to be worth telling.
pub const NOTABLE: f64 = 0.05;

/// One task in both arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Name of the source that sent it.
    pub source: String,
    /// Its number within that source.
    pub number: u64,
    /// Name of its kind of task.
    pub task: String,
    /// When it arrived.
    pub arrived: Time,
    /// What became of it in the first arm.
    pub before: Fate,
    /// And in the second.
    pub after: Fate,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    /// How it ended; `None` where it was turned away on arrival.
    pub ending: Option<Ending>,
    /// From its arrival to its end.
    pub latency: Span,
    /// The task itself; absent for one plain call.
    pub task: Option<TaskRecord>,
    /// Its calls that were answered, in the order they ended, with the names of model and backend.
    pub calls: Vec<(CallRecord, String, String)>,
}

/// A task by the source that sent it.
type Key = (SourceId, u64);

/// Finds up to `most` tasks of replication 0 that fare worse in the second scenario; nothing when
/// `stop` says so. Both scenarios have the same sources in the same order, or nothing is found.
#[must_use]
pub fn worse(
    (before, after): (&Scenario, &Scenario),
    seed: u64,
    most: usize,
    stop: &(dyn Fn(u64) -> bool + Sync),
) -> Vec<Example> {
    let names = |scenario: &Scenario| -> Vec<String> {
        scenario.sources.iter().map(|source| source.name.clone()).collect()
    };
    if most == 0 || names(before) != names(after) {
        return Vec::new();
    }
    let brief = |scenario: &Scenario| {
        let recorder = Brief::new(scenario);
        let (outcome, kept) = Simulation::recording(scenario, seed, 0, recorder).run_with(stop);
        outcome.map(|_| kept.sorted())
    };
    let (Some(first), Some(second)) = (brief(before), brief(after)) else { return Vec::new() };
    let chosen = choose(&first, &second, most);
    let keys: BTreeSet<Key> = chosen.iter().copied().collect();
    let whole = |scenario: &Scenario| {
        let recorder = Whole { keys: &keys, tasks: Vec::new(), calls: Vec::new() };
        let (outcome, kept) = Simulation::recording(scenario, seed, 0, recorder).run_with(stop);
        outcome.map(|_| kept)
    };
    let (Some(first), Some(second)) = (whole(before), whole(after)) else { return Vec::new() };
    let example = |key: Key| {
        let (a, b) = (first.fate(key, before), second.fate(key, after));
        let (task, arrived) = first.origin(key).or_else(|| second.origin(key))?;
        Some(Example {
            source: before.sources.get(key.0.index())?.name.clone(),
            number: key.1,
            task: before.tasks.get(task.index())?.name.clone(),
            arrived,
            before: a,
            after: b,
        })
    };
    chosen.into_iter().filter_map(example).collect()
}

/// How a task ended, in as few bytes as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Short {
    key: Key,
    latency: Span,
    succeeded: bool,
}

/// Of every task how it ended.
struct Brief<'a> {
    scenario: &'a Scenario,
    tasks: Vec<Short>,
}

impl<'a> Brief<'a> {
    fn new(scenario: &'a Scenario) -> Brief<'a> {
        Brief { scenario, tasks: Vec::new() }
    }

    fn sorted(mut self) -> Vec<Short> {
        self.tasks.sort_unstable_by_key(|short| short.key);
        self.tasks
    }

    fn push(&mut self, short: Short) {
        if self.tasks.len() < MOST_TASKS {
            self.tasks.push(short);
        }
    }
}

impl Recorder for Brief<'_> {
    fn task(&mut self, record: &TaskRecord) {
        self.push(Short {
            key: (record.source, record.number),
            latency: record.ended - record.arrived,
            succeeded: record.ending == Ending::Success,
        });
    }

    fn call(&mut self, record: &CallRecord) {
        // Calls of other tasks are told by their task.
        if self.scenario.plain_call(record.task).is_some() {
            let latency = record.ended - record.arrived;
            self.push(Short { key: (record.source, record.number), latency, succeeded: true });
        }
    }
}

/// The tasks to be told: first one that is lost, then those that take the most time longer, then
/// further lost ones.
fn choose(before: &[Short], after: &[Short], most: usize) -> Vec<Key> {
    let mut lost: Vec<Key> = Vec::new();
    let mut slower: Vec<(Span, Key)> = Vec::new();
    for first in before.iter().filter(|first| first.succeeded) {
        let second = after.binary_search_by_key(&first.key, |short| short.key);
        let second = second.ok().map(|at| after[at]);
        match second {
            Some(second) if second.succeeded && is_slower(first.latency, second.latency) => {
                slower.push((second.latency - first.latency, first.key));
            }
            Some(second) if second.succeeded => {}
            // What was not recorded was turned away, unless there was no more room to record.
            None if after.len() == MOST_TASKS => {}
            _ if lost.len() < most => lost.push(first.key),
            _ => {}
        }
    }
    slower.sort_unstable_by_key(|&(span, key)| (std::cmp::Reverse(span), key));
    let further = lost.split_off(lost.len().min(1));
    lost.into_iter()
        .chain(slower.into_iter().map(|(_, key)| key))
        .chain(further)
        .take(most)
        .collect()
}

/// Whether a task takes longer by more than [`NOTABLE`] of its time.
fn is_slower(before: Span, after: Span) -> bool {
    after.0 as f64 > before.0 as f64 * (1.0 + NOTABLE)
}

/// Everything about a few tasks.
struct Whole<'a> {
    keys: &'a BTreeSet<Key>,
    tasks: Vec<TaskRecord>,
    calls: Vec<CallRecord>,
}

impl Recorder for Whole<'_> {
    fn task(&mut self, record: &TaskRecord) {
        if self.keys.contains(&(record.source, record.number)) {
            self.tasks.push(*record);
        }
    }

    fn call(&mut self, record: &CallRecord) {
        if self.keys.contains(&(record.source, record.number)) {
            self.calls.push(*record);
        }
    }
}

impl Whole<'_> {
    fn task_of(&self, key: Key) -> Option<&TaskRecord> {
        self.tasks.iter().find(|task| (task.source, task.number) == key)
    }

    fn calls_of(&self, key: Key) -> impl Iterator<Item = &CallRecord> {
        self.calls.iter().filter(move |call| (call.source, call.number) == key)
    }

    fn origin(&self, key: Key) -> Option<(TaskId, Time)> {
        let of_task = self.task_of(key).map(|task| (task.task, task.arrived));
        of_task.or_else(|| self.calls_of(key).next().map(|call| (call.task, call.arrived)))
    }

    fn fate(&self, key: Key, scenario: &Scenario) -> Fate {
        let task = self.task_of(key).copied();
        let calls: Vec<_> = self.calls_of(key).map(|call| named(call, scenario)).collect();
        let (ending, latency) = match (&task, calls.last()) {
            (Some(task), _) => (Some(task.ending), task.ended - task.arrived),
            (None, Some((call, ..))) => (Some(Ending::Success), call.ended - call.arrived),
            (None, None) => (None, Span::ZERO),
        };
        Fate { ending, latency, task, calls }
    }
}

/// A call with the names of its model and of who served it.
fn named(call: &CallRecord, scenario: &Scenario) -> (CallRecord, String, String) {
    let model = scenario.models.get(call.model.index()).map(|model| model.name.clone());
    let backend = match call.backend {
        sim::ids::Backend::Pool(pool) => scenario.pools.get(pool.index()).map(|p| p.name.clone()),
        sim::ids::Backend::Remote(remote) => {
            scenario.remotes.get(remote.index()).map(|r| r.name.clone())
        }
    };
    (*call, model.unwrap_or_default(), backend.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(number: u64, secs: u64, succeeded: bool) -> Short {
        Short { key: (SourceId(0), number), latency: Span::from_secs(secs), succeeded }
    }

    #[test]
    fn the_lost_come_first_and_then_the_slowest() {
        let before = [short(1, 5, true), short(2, 5, true), short(3, 5, true), short(4, 5, false)];
        let after = [short(1, 6, true), short(2, 9, false), short(3, 9, true), short(4, 90, true)];
        let numbers = |most| -> Vec<u64> {
            choose(&before, &after, most).into_iter().map(|(_, number)| number).collect()
        };
        assert_eq!(numbers(3), [2, 3, 1]);
        assert_eq!(numbers(1), [2]);
        // One that is not there was turned away.
        assert_eq!(choose(&before, &after[1..], 3)[0], (SourceId(0), 1));
        assert_eq!(choose(&after, &after, 3), []);
        // A little longer is nothing to tell.
        let slightly = |millis| Short { latency: Span::from_millis(millis), ..short(5, 0, true) };
        assert_eq!(choose(&[slightly(343)], &[slightly(352)], 3), []);
        assert_eq!(choose(&[slightly(343)], &[slightly(362)], 3).len(), 1);
    }
}
