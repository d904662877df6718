//! How far a task has got: which steps wait, run and are over.
//!
//! Invariants: a step starts once per round, when what it waits for is over; a task is over when
//! every step nobody waits for is over; the path of a step that starts is that of the step it
//! waited for last.
//!
//! Deliberately absent: what steps do and how long they take.

use super::path::Path;
use super::{Graph, Join, Step};
use crate::units::Time;
use smallvec::SmallVec;

/// The steps of one task under way.
#[derive(Clone, Debug)]
pub struct Progress {
    states: SmallVec<[State; 6]>,
    /// Steps nobody waits for that are not over.
    ends_left: u32,
    /// Path of the step that was over last.
    last: Path,
}

/// A step under way.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Steps it still waits for.
    missing: u32,
    /// Path at its start, and from its end on at its end.
    pub path: Path,
    /// Times it is to be done in this round.
    pub wanted: u32,
    /// Times it was done in this round.
    pub done: u32,
    /// How often it started over because of a finding.
    pub round: u32,
    /// Whether all its answers are right so far.
    pub right: bool,
    /// Whether acting on one of them would do harm.
    pub harmful: bool,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For other steps to be over.
    Waiting,
    /// At work.
    Running,
    /// Over, with a result.
    Done,
    /// Over, without: its condition did not hold, or it failed and was not required.
    Missing,
}

/// A step whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(pub u32);

/// Steps whose turn it is.
pub type Turns = SmallVec<[Turn; 4]>;

/// What waits for what in a graph, worked out once.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Every step before the task begins.
    fresh: Vec<State>,
    /// The steps that wait for each step, rising.
    followers: Vec<SmallVec<[u32; 4]>>,
    /// Steps nobody waits for.
    ends: u32,
}

impl Shape {
    /// The shape of a graph.
    #[must_use]
    pub fn of(graph: &Graph) -> Shape {
        let state = |step: &Step| State {
            phase: Phase::Waiting,
            missing: if step.join == Join::Any {
                u32::from(!step.after.is_empty())
            } else {
                step.after.len() as u32
            },
            path: Path::starting(Time::ZERO),
            wanted: 0,
            done: 0,
            round: 0,
            right: true,
            harmful: false,
        };
        let followers = |step: usize| -> SmallVec<[u32; 4]> {
            let waits = |later: &usize| graph.steps[*later].after.contains(&(step as u32));
            (step + 1..graph.steps.len()).filter(waits).map(|later| later as u32).collect()
        };
        let followers: Vec<_> = (0..graph.steps.len()).map(followers).collect();
        Shape {
            fresh: graph.steps.iter().map(state).collect(),
            ends: followers.iter().filter(|later| later.is_empty()).count() as u32,
            followers,
        }
    }
}

impl Progress {
    /// A task that begins at `at`; `turns` gets the steps that wait for nobody.
    #[must_use]
    pub fn new(shape: &Shape, at: Time, turns: &mut Turns) -> Progress {
        let path = Path::starting(at);
        let mut states: SmallVec<[State; 6]> = SmallVec::from_slice(&shape.fresh);
        for (number, state) in states.iter_mut().enumerate() {
            if state.missing == 0 {
                state.path = path;
                turns.push(Turn(number as u32));
            }
        }
        Progress { states, ends_left: shape.ends, last: path }
    }

    /// A step under way.
    #[must_use]
    pub fn state(&self, step: u32) -> &State {
        &self.states[step as usize]
    }

    /// A step under way, to be changed.
    pub fn state_mut(&mut self, step: u32) -> &mut State {
        &mut self.states[step as usize]
    }

    /// Whether every step nobody waits for is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ends_left == 0
    }

    /// Path of the step that was over last: once the task is over, its own.
    #[must_use]
    pub fn last(&self) -> &Path {
        &self.last
    }

    /// The path that has got furthest: of the step that was over last, or of one at work, where
    /// its latest execution began.
    #[must_use]
    pub fn furthest(&self) -> Path {
        let at_work = self.states.iter().filter(|state| state.phase == Phase::Running);
        let paths = at_work.map(|state| state.path);
        paths.fold(self.last, |far, path| if path.at() > far.at() { path } else { far })
    }

    /// Starts a step that had its turn.
    pub fn start(&mut self, step: u32, wanted: u32) {
        let state = &mut self.states[step as usize];
        debug_assert_eq!(state.phase, Phase::Waiting, "a step starts once per round");
        state.phase = Phase::Running;
        (state.wanted, state.done) = (wanted, 0);
        (state.right, state.harmful) = (true, false);
    }

    /// A step is over, with `phase` [`Phase::Done`] or [`Phase::Missing`], at the end of `path`;
    /// `turns` gets the steps that waited for it alone.
    pub fn finish(
        &mut self,
        shape: &Shape,
        step: u32,
        phase: Phase,
        path: Path,
        turns: &mut Turns,
    ) {
        let state = &mut self.states[step as usize];
        debug_assert!(matches!(state.phase, Phase::Waiting | Phase::Running), "over once");
        (state.phase, state.path) = (phase, path);
        self.last = path;
        let followers = &shape.followers[step as usize];
        if followers.is_empty() {
            self.ends_left -= 1;
        }
        for &number in followers {
            let state = &mut self.states[number as usize];
            if state.phase != Phase::Waiting || state.missing == 0 {
                continue;
            }
            state.missing -= 1;
            if state.missing == 0 {
                state.path = path;
                turns.push(Turn(number));
            }
        }
    }

    /// Whether a step waits for nobody any more and has not started.
    #[must_use]
    pub fn is_due(&self, step: u32) -> bool {
        let state = &self.states[step as usize];
        state.phase == Phase::Waiting && state.missing == 0
    }

    /// Starts over from `from` to the check `check`, which found something and is not yet over:
    /// both and every step between them wait again. `path` is where the task has got to. Whatever
    /// those steps still do is the caller's to cancel.
    pub fn redo(&mut self, graph: &Graph, from: u32, check: u32, path: Path, turns: &mut Turns) {
        let again = graph.between(from, check);
        let is_over = |state: &State| matches!(state.phase, Phase::Done | Phase::Missing);
        let over: SmallVec<[bool; 16]> = self.states.iter().map(is_over).collect();
        for (number, step) in graph.steps.iter().enumerate() {
            let state = &mut self.states[number];
            let missing = |waits: &dyn Fn(usize) -> bool| {
                step.after.iter().filter(|&&before| waits(before as usize)).count() as u32
            };
            if again[number] {
                state.phase = Phase::Waiting;
                state.round += 1;
                state.missing = match step.join {
                    _ if number == from as usize => 0,
                    Join::All => missing(&|before| again[before] || !over[before]),
                    Join::Any => 1,
                };
            } else if state.phase == Phase::Waiting && step.join == Join::All {
                // Only what was over already counts a second time.
                state.missing += missing(&|before| again[before] && over[before]);
            }
        }
        self.states[from as usize].path = path;
        turns.push(Turn(from));
    }
}

impl Graph {
    /// The steps on the ways from one step to a later one, both included.
    #[must_use]
    pub fn between(&self, from: u32, to: u32) -> SmallVec<[bool; 16]> {
        let mut behind: SmallVec<[bool; 16]> = SmallVec::from_elem(false, self.steps.len());
        behind[from as usize] = true;
        for (number, step) in self.steps.iter().enumerate().skip(from as usize + 1) {
            behind[number] = step.after.iter().any(|&before| behind[before as usize]);
        }
        let mut ahead: SmallVec<[bool; 16]> = SmallVec::from_elem(false, self.steps.len());
        ahead[to as usize] = true;
        for number in (0..=to as usize).rev() {
            if ahead[number] {
                self.steps[number].after.iter().for_each(|&before| ahead[before as usize] = true);
            }
        }
        let mut between: SmallVec<[bool; 16]> =
            behind.iter().zip(&ahead).map(|(&behind, &ahead)| behind && ahead).collect();
        (between[from as usize], between[to as usize]) = (true, true);
        between
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ModelId;
    use crate::tasks::{Driver, TaskSpec};

    fn graph(after: &[(&[u32], Join)]) -> Graph {
        let step = TaskSpec::one_call("t", ModelId(0)).graph.steps[0].clone();
        let with =
            |&(after, join): &(&[u32], Join)| Step { after: after.into(), join, ..step.clone() };
        Graph { steps: after.iter().map(with).collect() }
    }

    fn path(until: u64) -> Path {
        let mut path = Path::starting(Time(0));
        path.spend(Driver::Tools, Time(until));
        path
    }

    fn finish(progress: &mut Progress, graph: &Graph, step: u32, at: u64) -> Vec<u32> {
        let mut turns = Turns::new();
        progress.finish(&Shape::of(graph), step, Phase::Done, path(at), &mut turns);
        turns.iter().for_each(|turn| progress.start(turn.0, 1));
        turns.iter().map(|turn| turn.0).collect()
    }

    fn begin(graph: &Graph) -> (Progress, Vec<u32>) {
        let mut turns = Turns::new();
        let mut progress = Progress::new(&Shape::of(graph), Time(0), &mut turns);
        turns.iter().for_each(|turn| progress.start(turn.0, 1));
        (progress, turns.iter().map(|turn| turn.0).collect())
    }

    #[test]
    fn a_join_waits_for_all_and_takes_the_path_of_the_last() {
        let graph =
            graph(&[(&[], Join::All), (&[0], Join::All), (&[0], Join::All), (&[1, 2], Join::All)]);
        let (mut progress, first) = begin(&graph);
        assert_eq!(first, [0]);
        assert_eq!(finish(&mut progress, &graph, 0, 10), [1, 2]);
        assert_eq!(finish(&mut progress, &graph, 2, 20), [0u32; 0]);
        assert_eq!(finish(&mut progress, &graph, 1, 50), [3]);
        assert_eq!(progress.state(3).path, path(50));
        assert!(!progress.is_over());
        finish(&mut progress, &graph, 3, 60);
        assert!(progress.is_over());
        assert_eq!(progress.last().at(), Time(60));
    }

    #[test]
    fn a_race_goes_on_with_the_first_and_the_task_does_not_wait_for_the_other() {
        let graph = graph(&[(&[], Join::All), (&[], Join::All), (&[0, 1], Join::Any)]);
        let (mut progress, first) = begin(&graph);
        assert_eq!(first, [0, 1]);
        assert_eq!(finish(&mut progress, &graph, 1, 5), [2]);
        finish(&mut progress, &graph, 2, 9);
        assert!(progress.is_over());
        assert_eq!(finish(&mut progress, &graph, 0, 30), [0u32; 0]);
    }

    /// 0 draft → {1, 2} → 3 check, after the first of them; 4 needs 2 and the check.
    #[test]
    fn a_step_that_was_still_at_work_when_it_starts_over_is_waited_for_once() {
        let graph = graph(&[
            (&[], Join::All),
            (&[0], Join::All),
            (&[0], Join::All),
            (&[1, 2], Join::Any),
            (&[2, 3], Join::All),
        ]);
        let (mut progress, _) = begin(&graph);
        assert_eq!(finish(&mut progress, &graph, 0, 10), [1, 2]);
        assert_eq!(finish(&mut progress, &graph, 1, 20), [3]);
        let mut turns = Turns::new();
        progress.redo(&graph, 0, 3, path(30), &mut turns);
        progress.start(0, 1);
        assert_eq!(finish(&mut progress, &graph, 0, 40), [1, 2]);
        assert_eq!(finish(&mut progress, &graph, 2, 50), [3]);
        assert_eq!(finish(&mut progress, &graph, 3, 60), [4]);
        finish(&mut progress, &graph, 4, 70);
        assert!(progress.is_over());
    }

    /// 0 draft → 2 → 3 check, after the first of 0 and 2; 2 also waits for 1, which is slow.
    #[test]
    fn a_step_that_starts_over_still_waits_for_what_was_never_over() {
        let graph = graph(&[
            (&[], Join::All),
            (&[], Join::All),
            (&[0, 1], Join::All),
            (&[0, 2], Join::Any),
        ]);
        let (mut progress, _) = begin(&graph);
        assert_eq!(finish(&mut progress, &graph, 0, 10), [3]);
        let mut turns = Turns::new();
        progress.redo(&graph, 0, 3, path(30), &mut turns);
        progress.start(0, 1);
        assert_eq!(finish(&mut progress, &graph, 1, 40), [0u32; 0]);
        assert_eq!(finish(&mut progress, &graph, 0, 50), [2, 3]);
    }

    #[test]
    fn a_finding_starts_over_what_it_checked_and_nothing_else() {
        // 0 draft → 1 format → 2 check of the draft → 4; 3 needs the draft and the check.
        let graph = graph(&[
            (&[], Join::All),
            (&[0], Join::All),
            (&[1], Join::All),
            (&[0, 2], Join::All),
            (&[2], Join::All),
        ]);
        let (mut progress, _) = begin(&graph);
        assert_eq!(finish(&mut progress, &graph, 0, 10), [1]);
        assert_eq!(finish(&mut progress, &graph, 1, 20), [2]);
        let mut turns = Turns::new();
        progress.redo(&graph, 0, 2, path(30), &mut turns);
        assert_eq!(turns.as_slice(), [Turn(0)]);
        progress.start(0, 1);
        assert_eq!(progress.state(0).round, 1);
        assert_eq!(finish(&mut progress, &graph, 0, 40), [1]);
        assert_eq!(finish(&mut progress, &graph, 1, 50), [2]);
        assert_eq!(finish(&mut progress, &graph, 2, 60), [3, 4]);
        finish(&mut progress, &graph, 4, 70);
        finish(&mut progress, &graph, 3, 80);
        assert!(progress.is_over());
    }
}
