//! Uses of tools: their cache, their queue, the time they may take.

use super::Simulation;
use super::state::{Ending, Execution, Live, Use, UsePlace};
use super::timers::Timer;
use crate::backends::ToolCost;
use crate::backends::{ToolCall as Offered, ToolCourse, ToolOffer};
use crate::ids::Handle;
use crate::record::Recorder;
use crate::resilience::Failure;
use crate::tasks::{Answer, Driver, Path, Rung, ToolUse};
use crate::units::{Span, Time};
use smallvec::SmallVec;

impl<R: Recorder> Simulation<'_, R> {
    /// A step uses a tool.
    pub(super) fn begin_use(
        &mut self,
        execution: Execution,
        spec: &ToolUse,
        (question, asking): (u64, u64),
        path: Path,
        now: Time,
    ) {
        let Some(run) = self.flow.runs.get_mut(execution.run) else { return };
        let (root, task) = (run.root, run.task);
        if !self.has_tool_time(root, now) {
            return;
        }
        let Some(owner) = self.flow.roots.get(root) else { return };
        let (account, priority) = (owner.account, owner.request.priority);
        let kit = &mut self.world.steps[task.index()][execution.step as usize];
        let query = kit.queries.as_ref().map(|queries| queries.draw(question));
        let hit = match (&mut kit.results, &query) {
            (Some(results), Some(query)) => results.look_up(now, query.exact).is_some(),
            _ => false,
        };
        let own = self.flow.uses.insert(Use {
            execution,
            root,
            account,
            tool: spec.tool,
            path,
            place: UsePlace::Nowhere,
            query,
            turn: 0,
        });
        if let Some(run) = self.flow.runs.get_mut(execution.run) {
            run.live.push(Live::Use(own));
        }
        if hit {
            self.outcome.tools[spec.tool.index()].cache_hits += u64::from(account.measured);
            self.observer.parts.tool_cache_hit(spec.tool);
            let lookup = spec.cache.map_or(crate::units::Span::ZERO, |cache| cache.lookup);
            self.place_use(own, UsePlace::Cached, now.after(lookup));
            return;
        }
        let offered = Offered { key: asking, priority, ticket: own };
        match self.world.tools[spec.tool.index()].offer(now, &offered) {
            ToolOffer::Started(course) => self.start_use(own, course, now),
            ToolOffer::Queued(spot) => {
                if let Some(tool_use) = self.flow.uses.get_mut(own) {
                    tool_use.place = UsePlace::Queue(spot);
                }
            }
            ToolOffer::Refused(failure) => self.use_over(own, Some(failure), now),
        }
    }

    fn place_use(&mut self, own: Handle, place: UsePlace, ends: Time) {
        if let Some(tool_use) = self.flow.uses.get_mut(own) {
            tool_use.place = place;
            tool_use.turn += 1;
            self.agenda.push(ends, Timer::UseEnds(own, tool_use.turn));
        }
    }

    /// A use has its place; it is stopped where the task's tool time ends.
    fn start_use(&mut self, own: Handle, course: ToolCourse, now: Time) {
        let Some(tool_use) = self.flow.uses.get_mut(own) else { return };
        let root = tool_use.root;
        let mut ends = course.ends;
        if let Some(root) = self.flow.roots.get_mut(root) {
            root.let_in = true;
            let budget = &self.scenario.tasks[root.account.task.index()].budget;
            if let Some(most) = budget.max_tool_time {
                ends = ends.min(now.after(most - root.usage.tool_time.min(most)));
            }
        }
        self.place_use(own, UsePlace::At(course), ends);
    }

    /// A use comes to its end, or to the end of the time it may take.
    pub(super) fn use_ends(&mut self, own: Handle, now: Time) {
        let Some(&Use { place, root, .. }) = self.flow.uses.get(own) else { return };
        match place {
            UsePlace::At(course) => {
                self.leave_tool(own, &course, now);
                if now < course.ends {
                    // The task's tool time is used up, and nothing it does now helps.
                    self.flow.uses.remove(own);
                    self.run_out(root, now);
                } else {
                    self.use_over(own, course.failure, now);
                }
            }
            UsePlace::Cached => self.use_over(own, None, now),
            UsePlace::Nowhere | UsePlace::Queue(_) => {}
        }
    }

    fn leave_tool(&mut self, own: Handle, course: &ToolCourse, now: Time) {
        let Some(tool_use) = self.flow.uses.get_mut(own) else { return };
        let tool = tool_use.tool;
        let driver = match self.scenario.tools[tool.index()].cost {
            ToolCost::HumanReview => Driver::Review,
            _ => Driver::Tools,
        };
        let waited = if driver == Driver::Review { Driver::Review } else { Driver::Queueing };
        tool_use.path.spend(waited, course.began);
        tool_use.path.spend(driver, now);
        let (root, account) = (tool_use.root, tool_use.account);
        if let Some(root) = self.flow.roots.get_mut(root) {
            // Uses side by side may take longer together than any run, and than any budget.
            let used = root.usage.tool_time.0.saturating_add((now - course.began).0);
            root.usage.tool_time = Span(used);
        }
        self.book_tool(root, account, tool, course, now);
        if let Some(next) = self.world.tools[tool.index()].leave(now, course) {
            self.start_use(next.ticket, next, now);
        }
    }

    /// A use is over.
    fn use_over(&mut self, own: Handle, failure: Option<Failure>, now: Time) {
        let Some(mut tool_use) = self.flow.uses.remove(own) else { return };
        let execution = tool_use.execution;
        tool_use.path.spend(Driver::Tools, now);
        if let Some(run) = self.flow.runs.get_mut(execution.run) {
            run.live.retain(|live| *live != Live::Use(own));
            let kit = &mut self.world.steps[run.task.index()][execution.step as usize];
            if let (None, Some(results), Some(query)) = (failure, &mut kit.results, tool_use.query)
            {
                results.insert(now, query.exact, ());
            }
        }
        self.executed(execution, tool_use.path, Answer::SURE, failure);
    }

    /// Nobody waits for these uses any more. Those in a queue leave it first, or they would begin,
    /// and be paid for, where another of them leaves.
    pub(super) fn cancel_uses(&mut self, mut uses: SmallVec<[Handle; 2]>, now: Time) {
        let waits = |own: Handle| {
            self.flow.uses.get(own).is_some_and(|u| matches!(u.place, UsePlace::Queue(_)))
        };
        uses.sort_by_key(|&own| !waits(own));
        for own in uses {
            let Some(tool_use) = self.flow.uses.get(own) else { continue };
            match tool_use.place {
                UsePlace::At(course) => self.leave_tool(own, &course, now),
                UsePlace::Queue(spot) => {
                    self.world.tools[tool_use.tool.index()].cancel_queued(spot);
                }
                UsePlace::Nowhere | UsePlace::Cached => {}
            }
            self.flow.uses.remove(own);
        }
    }

    /// Whether the task may still use tools; when not, the ladder's last rungs end it.
    fn has_tool_time(&mut self, root: Handle, now: Time) -> bool {
        let Some(owner) = self.flow.roots.get(root) else { return true };
        let budget = &self.scenario.tasks[owner.account.task.index()].budget;
        if budget.max_tool_time.is_none_or(|most| owner.usage.tool_time < most) {
            return true;
        }
        self.run_out(root, now);
        false
    }

    /// A limit is reached that shorter prompts and smaller models do not help: the task ends with
    /// the first rung that ends tasks, or without success.
    pub(super) fn run_out(&mut self, root: Handle, now: Time) {
        let Some(owner) = self.flow.roots.get(root) else { return };
        let rungs = &self.scenario.tasks[owner.account.task.index()].budget.on_exceeded;
        let ends = |rung: &&Rung| matches!(rung, Rung::PartialResult { .. } | Rung::Refine);
        match rungs.iter().skip(owner.rung as usize).find(ends) {
            Some(&rung) => {
                self.count_rung(root, rung);
                self.end_by_rung(root, rung, now);
            }
            None => self.end_task(root, Ending::OverBudget, now),
        }
    }
}
