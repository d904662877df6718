//! What a task may use in calls and tokens, and the ladder it goes down where that is not enough.
//!
//! Invariant: each rung is taken at most once in a submission, so the way down ends.
//!
//! Deliberately absent: the time in tools and the deadline (see `tool_uses`), which no smaller call
//! helps.

use super::Simulation;
use super::state::{Call, Ending, Root};
use crate::cache::CachedAnswer;
use crate::ids::Handle;
use crate::record::Recorder;
use crate::tasks::Rung;
use crate::units::Time;

impl<R: Recorder> Simulation<'_, R> {
    /// Whether a call fits into what is left of its task's budget.
    pub(super) fn fits(&self, root: &Root, call: &Call) -> bool {
        let budget = &self.scenario.tasks[root.account.task.index()].budget;
        let usage = &root.usage;
        budget.max_model_calls.is_none_or(|most| usage.calls < most)
            && budget
                .max_input_tokens
                .is_none_or(|most| usage.input.saturating_add(call.prompt.input) <= most)
            && budget.max_output_tokens.is_none_or(|most| usage.output < most)
    }

    /// Goes down the ladder until the call fits. `false`: the call is over, one way or another.
    pub(super) fn fit_into_budget(&mut self, handle: Handle, now: Time) -> bool {
        let scenario = self.scenario;
        loop {
            let Some(call) = self.flow.calls.get(handle) else { return false };
            let Some(root) = self.flow.roots.get(call.root) else { return true };
            let budget = &scenario.tasks[root.account.task.index()].budget;
            if call.execution.is_none() {
                return true;
            }
            if self.fits(root, call) {
                self.cut(handle);
                return true;
            }
            let (root_handle, rung) = (call.root, root.rung);
            let Some(&next) = budget.on_exceeded.get(rung as usize) else {
                self.end_task(root_handle, Ending::OverBudget, now);
                return false;
            };
            if !self.take_rung(handle, root_handle, next, now) {
                return false;
            }
        }
    }

    /// Cuts the answer of a call at what is left of the budget.
    pub(super) fn cut(&mut self, handle: Handle) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        let Some(root) = self.flow.roots.get(call.root) else { return };
        let budget = &self.scenario.tasks[root.account.task.index()].budget;
        let Some(most) = budget.max_output_tokens else { return };
        let left = most.saturating_sub(root.usage.output).max(1);
        // What a client asks for at most is what providers count against its limits.
        call.max_tokens = call.max_tokens.map(|cap| cap.min(left));
        if call.prompt.output > left {
            call.prompt.output = left;
            (call.ends_by_eos, call.cut) = (false, true);
        }
    }

    /// Takes one rung of the ladder for a call. `false`: the call is over.
    fn take_rung(&mut self, handle: Handle, root_handle: Handle, rung: Rung, now: Time) -> bool {
        let Some(root) = self.flow.roots.get_mut(root_handle) else { return false };
        root.rung += 1;
        if !matches!(rung, Rung::CachedAnswer { .. }) {
            self.count_rung(root_handle, rung);
        }
        let Some(root) = self.flow.roots.get_mut(root_handle) else { return false };
        match rung {
            Rung::ShorterContext { keep, quality } => {
                root.keep *= keep;
                root.quality *= quality;
                self.shorten(handle, root_handle);
                true
            }
            Rung::SmallerModel { model } => {
                root.forced = Some(model);
                true
            }
            Rung::CachedAnswer { similarity } => {
                let query = self.flow.calls.get(handle).and_then(|call| call.query);
                let cache = self.world.semantic.as_mut().zip(query);
                let hit =
                    cache.and_then(|(cache, query)| cache.look_up(now, &query, Some(similarity)));
                let Some(hit) = hit else { return true };
                self.count_rung(root_handle, rung);
                let right = hit.answer.right && hit.right;
                self.cache_hit(handle, CachedAnswer { right, ..hit.answer }, now);
                false
            }
            Rung::PartialResult { .. } | Rung::Refine => {
                self.end_by_rung(root_handle, rung, now);
                false
            }
        }
    }

    /// Draws the prompt of a call again, shorter.
    fn shorten(&mut self, handle: Handle, root: Handle) {
        let (Some(call), Some(root)) = (self.flow.calls.get(handle), self.flow.roots.get(root))
        else {
            return;
        };
        if let Some(spec) = self.call_spec(call.place) {
            let prompt = self.prompt(root, spec, call.place, call.question);
            if let Some(call) = self.flow.calls.get_mut(handle) {
                call.prompt = prompt;
            }
        }
    }
}
