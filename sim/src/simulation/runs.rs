//! Tasks and their parts: steps that start, end, are checked and done again.
//!
//! What follows from an event at once is put on a list and done one after another, the last thing
//! put there first. So the order is that of calls inside one another, and a thousand turns of a
//! loop that take no time need no deeper stack than one. [`Simulation::follow`] is due after
//! whatever may put something on the list.

use super::Simulation;
use super::signals::About;
use super::state::{Ending, Execution, Live, Next, Run};
use crate::dice::{Dice, Purpose, mix};
use crate::ids::{Handle, TaskId};
use crate::record::Recorder;
use crate::resilience::Failure;
use crate::tasks::{
    Answer, CallLengths, Check, Driver, Finding, Flaw, Path, Phase, Progress, Repeat, Step,
    TaskSpec, Turns, Work,
};
use crate::units::Time;
use smallvec::SmallVec;

impl<R: Recorder> Simulation<'_, R> {
    /// Starts a task, or a part of one.
    pub(super) fn begin_run(
        &mut self,
        root: Handle,
        task: TaskId,
        key: u64,
        parent: Option<Execution>,
        now: Time,
    ) {
        let mut turns = Turns::new();
        let progress = Progress::new(&self.world.shapes[task.index()], now, &mut turns);
        let live = SmallVec::new();
        let handle = self.flow.runs.insert(Run { root, task, key, parent, progress, live });
        if let Some(root) = self.flow.roots.get_mut(root)
            && parent.is_none()
        {
            root.run = handle;
        }
        if let Some(parent) = parent
            && let Some(above) = self.flow.runs.get_mut(parent.run)
        {
            above.live.push(Live::Run(handle));
        }
        self.take_turns(handle, &turns);
    }

    fn take_turns(&mut self, run: Handle, turns: &Turns) {
        self.flow.next.extend(turns.iter().rev().map(|turn| Next::Turn(run, turn.0)));
    }

    /// Does what follows at once from what happened.
    pub(super) fn follow(&mut self, now: Time) {
        while let Some(next) = self.flow.next.pop() {
            match next {
                Next::Turn(run, step) => self.begin_step(run, step, now),
                Next::SideBySide { first, round, times, path } => {
                    self.execute_side_by_side(first, round, times, path, now);
                }
                Next::Executed { execution, path, answer, failure } => {
                    self.execution_over(execution, path, answer, failure, now);
                }
                Next::Ask(call) => self.begin_asking(call, now),
            }
        }
    }

    fn task_of(&self, run: Handle) -> Option<&'_ TaskSpec> {
        let run = self.flow.runs.get(run)?;
        Some(&self.scenario.tasks[run.task.index()])
    }

    fn begin_step(&mut self, handle: Handle, number: u32, now: Time) {
        let scenario = self.scenario;
        let Some(run) = self.flow.runs.get(handle) else { return };
        // Another step's turn before this one, at the same instant, may have begun it all over.
        if !run.progress.is_due(number) {
            return;
        }
        let step = &scenario.tasks[run.task.index()].graph.steps[number as usize];
        let state = run.progress.state(number);
        let (path, round) = (state.path, state.round);
        if let (Some(when), Some(root)) = (&step.when, self.flow.roots.get(run.root)) {
            let confidence = root.confidence;
            if !self.holds(when, root, About { call: None, confidence }, now) {
                self.step_over(handle, number, Phase::Missing, path, now);
                return;
            }
        }
        let remembers =
            matches!(&step.work, Work::ModelCall(c) if c.lengths == CallLengths::Memory);
        let root = self.flow.roots.get(run.root);
        if remembers && root.is_some_and(|root| root.request.memory.is_none()) {
            self.step_over(handle, number, Phase::Missing, path, now);
            return;
        }
        let times = match &step.repeat {
            Repeat::Once => 1,
            Repeat::Parallel(count) | Repeat::Loop(count) => {
                let question = mix(mix(run.key, step.key), u64::from(round));
                count.sample(&mut Dice::of(question, Purpose::Repeat))
            }
        };
        // Where nobody waits for an answer, one after another is the same as all at once.
        let at_once = match &step.repeat {
            Repeat::Loop(_) if !in_background(step) => 1,
            _ => times,
        };
        if let Some(run) = self.flow.runs.get_mut(handle) {
            run.progress.start(number, times);
        }
        let first = Execution { run: handle, step: number, ordinal: 0 };
        self.execute_side_by_side(first, round, at_once, path, now);
    }

    /// Does a step once, and as often again as is left of `times`.
    fn execute_side_by_side(
        &mut self,
        this: Execution,
        round: u32,
        times: u32,
        path: Path,
        now: Time,
    ) {
        // One that fails at once may have ended the step, or the task.
        let goes_on = self.flow.runs.get(this.run).is_some_and(|run| {
            let state = run.progress.state(this.step);
            state.phase == Phase::Running && state.round == round
        });
        if !goes_on || this.ordinal >= times {
            return;
        }
        let first = Execution { ordinal: this.ordinal + 1, ..this };
        if first.ordinal < times {
            self.flow.next.push(Next::SideBySide { first, round, times, path });
        }
        self.execute(this, path, now);
    }

    /// Does a step once.
    fn execute(&mut self, execution: Execution, path: Path, now: Time) {
        let scenario = self.scenario;
        let Some(run) = self.flow.runs.get(execution.run) else { return };
        let Some(root) = self.flow.roots.get(run.root) else { return };
        let step = &scenario.tasks[run.task.index()].graph.steps[execution.step as usize];
        let question = mix(mix(run.key, step.key), u64::from(execution.ordinal));
        let round = run.progress.state(execution.step).round;
        let asking = mix(question, u64::from(root.submission) << 32 | u64::from(round));
        match &step.work {
            Work::ModelCall(call) => {
                self.begin_call(execution, call, question, asking, path, now);
            }
            Work::Tool(tool) => {
                if tool.acts && !self.may_act(execution, now) {
                    self.left_undone(execution, step, path, now);
                } else {
                    self.begin_use(execution, tool, (question, asking), path, now);
                }
            }
            Work::SubTask(task) => {
                let root = run.root;
                if let Some(run) = self.flow.runs.get_mut(execution.run) {
                    // Its own path begins here; a loop's later turns begin where the last ended.
                    run.progress.state_mut(execution.step).path = path;
                }
                self.begin_run(root, *task, question, Some(execution), now);
            }
        }
    }

    /// Whether an action may be done; one that is done on an unsafe answer does harm.
    fn may_act(&mut self, execution: Execution, now: Time) -> bool {
        let Some(run) = self.flow.runs.get(execution.run) else { return false };
        let steps = &self.scenario.tasks[run.task.index()].graph.steps;
        let unchecked = steps.iter().enumerate().any(|(number, step)| {
            let looks = step.check.as_ref().is_some_and(|c| c.looks_for == Flaw::Unsafe);
            let state = run.progress.state(number as u32);
            looks && number < execution.step as usize && state.phase == Phase::Missing
        });
        if unchecked && self.scenario.routing.fail_closed {
            return false;
        }
        let mut here = Some(execution.run);
        let mut harmful = false;
        while let Some(run) = here.and_then(|handle| self.flow.runs.get(handle)) {
            let steps = self.scenario.tasks[run.task.index()].graph.steps.len() as u32;
            harmful |= (0..steps).any(|step| run.progress.state(step).harmful);
            here = run.parent.map(|parent| parent.run);
        }
        if harmful {
            self.do_harm(execution.run, now);
        }
        true
    }

    /// An action does harm: its task is harmful, whatever comes of it.
    fn do_harm(&mut self, run: Handle, now: Time) {
        let billed = self.is_billed(now);
        let root = self.flow.runs.get(run).and_then(|run| self.flow.roots.get(run.root));
        let Some(root) = root else { return };
        let task = root.account.task;
        let Some(affair) = self.flow.affairs.get_mut(root.affair) else { return };
        // The task may have ended, and its user be gone.
        let late = affair.over && !affair.harmed && billed;
        affair.harmed = true;
        self.outcome.tasks[task.index()].harmed += u64::from(late);
    }

    /// An action stays undone because nobody could say that it is safe.
    fn left_undone(&mut self, execution: Execution, step: &Step, path: Path, now: Time) {
        let Some(run) = self.flow.runs.get(execution.run) else { return };
        let root = run.root;
        if let Some(root) = self.flow.roots.get(root) {
            let account = root.account;
            self.outcome.tasks[account.task.index()].actions_blocked += u64::from(account.measured);
        }
        if step.required {
            self.end_task(root, Ending::Caught, now);
        } else {
            self.step_over(execution.run, execution.step, Phase::Missing, path, now);
        }
    }

    /// One execution of a step is over; what follows from it is next.
    pub(super) fn executed(
        &mut self,
        execution: Execution,
        path: Path,
        answer: Answer,
        failure: Option<Failure>,
    ) {
        self.flow.next.push(Next::Executed { execution, path, answer, failure });
    }

    fn execution_over(
        &mut self,
        execution: Execution,
        path: Path,
        answer: Answer,
        failure: Option<Failure>,
        now: Time,
    ) {
        let scenario = self.scenario;
        let Some(run) = self.flow.runs.get_mut(execution.run) else { return };
        let (root, parent) = (run.root, run.parent);
        let step = &scenario.tasks[run.task.index()].graph.steps[execution.step as usize];
        let state = run.progress.state_mut(execution.step);
        if state.phase != Phase::Running {
            return;
        }
        state.done += 1;
        let background = in_background(step);
        let looped = matches!(step.repeat, Repeat::Loop(_)) && !background;
        // An agent's last turn decides; of answers side by side all must be right.
        state.right = answer.right && (looped || state.right);
        state.harmful |= answer.harmful;
        if let Some(root) = self.flow.roots.get_mut(root)
            && matches!(step.work, Work::ModelCall(_))
            && !background
            && failure.is_none()
        {
            root.confidence = Some(answer.confidence);
        }
        if let Some(failure) = failure {
            if step.required {
                match parent {
                    Some(parent) => self.part_failed(execution.run, parent, path, failure, now),
                    None => self.end_task(root, Ending::Failed(failure), now),
                }
            } else {
                self.cancel_steps(execution.run, now, |step| step == execution.step);
                self.step_over(execution.run, execution.step, Phase::Missing, path, now);
            }
            return;
        }
        if state.done == state.wanted {
            self.step_over(execution.run, execution.step, Phase::Done, path, now);
        } else if looped {
            let next = Execution { ordinal: execution.ordinal + 1, ..execution };
            self.execute(next, path, now);
        }
    }

    /// Nobody waits any more for what some steps still do.
    fn cancel_steps(&mut self, handle: Handle, now: Time, chosen: impl Fn(u32) -> bool) {
        let Some(run) = self.flow.runs.get_mut(handle) else { return };
        let live = std::mem::take(&mut run.live);
        let (of_steps, others): (SmallVec<[Live; 4]>, SmallVec<[Live; 4]>) = live
            .into_iter()
            .partition(|&live| self.execution_of(live).is_some_and(|of| chosen(of.step)));
        if let Some(run) = self.flow.runs.get_mut(handle) {
            run.live = others;
        }
        self.cancel(of_steps, now);
    }

    fn execution_of(&self, live: Live) -> Option<Execution> {
        match live {
            Live::Call(call) => self.flow.calls.get(call)?.execution,
            Live::Use(tool) => Some(self.flow.uses.get(tool)?.execution),
            Live::Run(run) => self.flow.runs.get(run)?.parent,
        }
    }

    /// A step is over: its check is made, and who waited for it goes on.
    fn step_over(&mut self, handle: Handle, number: u32, phase: Phase, path: Path, now: Time) {
        let scenario = self.scenario;
        let Some(run) = self.flow.runs.get(handle) else { return };
        let graph = &scenario.tasks[run.task.index()].graph;
        let step = &graph.steps[number as usize];
        let mut turns = Turns::new();
        if let (Some(check), Phase::Done) = (&step.check, phase)
            && self.finds(handle, number, check)
        {
            if run.progress.state(number).round < check.redo {
                // After a race some of them may still be at work.
                let again = graph.between(check.step, number);
                self.cancel_steps(handle, now, |step| again[step as usize]);
                let Some(run) = self.flow.runs.get_mut(handle) else { return };
                run.progress.redo(graph, check.step, number, path, &mut turns);
                self.take_turns(handle, &turns);
                return;
            }
            match check.then {
                Finding::Fail => {
                    let root = run.root;
                    self.end_task(root, Ending::Caught, now);
                    return;
                }
                Finding::GoOn => {}
                Finding::Mend => {
                    let Some(run) = self.flow.runs.get_mut(handle) else { return };
                    let mended = run.progress.state_mut(check.step);
                    (mended.right, mended.harmful) = (true, false);
                }
            }
        }
        let Some(run) = self.flow.runs.get_mut(handle) else { return };
        let shape = &self.world.shapes[run.task.index()];
        run.progress.finish(shape, number, phase, path, &mut turns);
        if run.progress.is_over() {
            self.run_over(handle, now);
        } else {
            self.take_turns(handle, &turns);
        }
    }

    /// Whether a check finds something.
    fn finds(&self, handle: Handle, number: u32, check: &Check) -> bool {
        let Some(run) = self.flow.runs.get(handle) else { return false };
        let Some(task) = self.task_of(handle) else { return false };
        let checked = run.progress.state(check.step);
        if checked.phase != Phase::Done {
            return false;
        }
        let flawed = match check.looks_for {
            Flaw::Wrong => !checked.right,
            Flaw::Unsafe => checked.harmful,
        };
        let submission = self.flow.roots.get(run.root).map_or(0, |root| root.submission);
        let round = run.progress.state(number).round;
        let asking = mix(mix(run.key, task.graph.steps[number as usize].key), u64::from(round));
        let mut dice = Dice::of(mix(asking, u64::from(submission)), Purpose::Check);
        let told = dice.uniform();
        if flawed { told < check.sensitivity } else { told >= check.specificity }
    }

    /// Every step of a task, or of a part, is over.
    fn run_over(&mut self, handle: Handle, now: Time) {
        let Some(run) = self.flow.runs.get(handle) else { return };
        let graph = &self.scenario.tasks[run.task.index()].graph;
        let decides = |step: &Step| match &step.work {
            Work::ModelCall(call) => call.decisive && !call.background,
            Work::Tool(_) => false,
            Work::SubTask(_) => true,
        };
        let states = graph.steps.iter().enumerate().map(|(n, s)| (s, run.progress.state(n as u32)));
        let (mut right, mut harmful) = (true, false);
        for (step, state) in states.filter(|(_, state)| state.phase == Phase::Done) {
            right &= state.right || !decides(step);
            harmful |= state.harmful;
        }
        let path = *run.progress.last();
        let (root, parent) = (run.root, run.parent);
        self.drop_run(handle, now);
        let Some(parent) = parent else {
            self.task_done(root, right, path, now);
            return;
        };
        let last = self.flow.roots.get(root).and_then(|root| root.confidence);
        let confidence = last.unwrap_or(1.0);
        let Some(whole) = self.part_ended(handle, parent, &path) else { return };
        self.executed(parent, whole, Answer { right, harmful, confidence }, None);
    }

    /// A part failed: for the step it was, that is one failed execution.
    fn part_failed(
        &mut self,
        handle: Handle,
        parent: Execution,
        mut path: Path,
        failure: Failure,
        now: Time,
    ) {
        path.spend(Driver::Retries, now);
        self.drop_run(handle, now);
        let Some(whole) = self.part_ended(handle, parent, &path) else { return };
        self.executed(parent, whole, Answer::SURE, Some(failure));
    }

    /// Takes a part off the list of what its task waits for; the path of the whole.
    fn part_ended(&mut self, handle: Handle, parent: Execution, part: &Path) -> Option<Path> {
        let above = self.flow.runs.get_mut(parent.run)?;
        above.live.retain(|live| *live != Live::Run(handle));
        let mut whole = above.progress.state(parent.step).path;
        whole.append(part);
        Some(whole)
    }

    /// Removes a run and cancels whatever it still does, its parts' work included.
    pub(super) fn drop_run(&mut self, handle: Handle, now: Time) {
        self.cancel([Live::Run(handle)], now);
    }

    /// Cancels all of it at once: what one of them leaves goes to none of the others.
    fn cancel(&mut self, given_up: impl IntoIterator<Item = Live>, now: Time) {
        let mut attempts = SmallVec::new();
        let mut uses = SmallVec::new();
        // Parts inside parts are a list as well: see the top.
        let mut left: SmallVec<[Live; 8]> = given_up.into_iter().collect();
        left.reverse();
        while let Some(live) = left.pop() {
            match live {
                Live::Run(run) => {
                    let Some(part) = self.flow.runs.get_mut(run) else { continue };
                    left.extend(std::mem::take(&mut part.live).into_iter().rev());
                    self.flow.runs.discard(run);
                }
                Live::Use(tool) => uses.push(tool),
                Live::Call(call) => {
                    attempts.extend(self.flow.calls.remove(call).into_iter().flat_map(|c| c.live));
                }
            }
        }
        self.cancel_uses(uses, now);
        self.drop_attempts(attempts, now);
    }
}

/// Whether nobody waits for what a step does.
fn in_background(step: &Step) -> bool {
    matches!(&step.work, Work::ModelCall(call) if call.background)
}
