//! Answers from caches: looked up before a model is asked, and kept when one has answered.
//!
//! Invariant: the exact cache is asked first, and the semantic one only where it has nothing.
//!
//! Deliberately absent: the ladder's rung of cached answers (see `budgets`), and results of tools (see
//! `tool_uses`).

use super::Simulation;
use super::timers::Timer;
use crate::cache::{CachedAnswer, Query};
use crate::ids::Handle;
use crate::record::Recorder;
use crate::tasks::{Answer, Driver};
use crate::units::{Span, Time, Tokens};

impl<R: Recorder> Simulation<'_, R> {
    /// Asks the caches of answers. Whether the call now waits for them.
    pub(super) fn look_up(&mut self, handle: Handle, now: Time) -> bool {
        let Some(call) = self.flow.calls.get(handle) else { return false };
        let (Some(query), account) = (call.query, call.account) else { return false };
        let task = account.task.index();
        self.outcome.tasks[task].cacheable += u64::from(account.measured);
        let mut takes = Span::ZERO;
        let mut found = None;
        if let (Some(cache), Some(spec)) = (&mut self.world.exact, &self.scenario.exact_cache) {
            takes += spec.lookup;
            found = cache.look_up(now, query.exact);
            if found.is_some() {
                self.outcome.tasks[task].exact_hits += u64::from(account.measured);
                self.observer.parts.of_task(account.task, |acts| acts.exact_hits += 1);
            }
        }
        if let (None, Some(cache), Some(spec)) =
            (found, &mut self.world.semantic, &self.scenario.semantic_cache)
        {
            takes += spec.lookup;
            if let Some(hit) = cache.look_up(now, &query, None) {
                let answer = CachedAnswer { right: hit.answer.right && hit.right, ..hit.answer };
                found = Some(answer);
                let task = &mut self.outcome.tasks[task];
                task.semantic_hits += u64::from(account.measured);
                task.wrong_hits += u64::from(account.measured && !hit.right);
                self.observer.parts.of_task(account.task, |acts| acts.semantic_hits += 1);
            }
        }
        let waits = found.is_some() || takes > Span::ZERO;
        if let (true, Some(call)) = (waits, self.flow.calls.get_mut(handle)) {
            call.found = found;
            self.agenda.push(now.after(takes), Timer::LookedUp(handle));
        }
        waits
    }

    /// What the caches have, or have not, is known.
    pub(super) fn looked_up(&mut self, handle: Handle, now: Time) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        let (root, account) = (call.root, call.account);
        match call.found.take() {
            Some(answer) => {
                self.count_answered(root, account);
                self.cache_hit(handle, answer, now);
            }
            None => self.ask(handle, now),
        }
    }

    /// A cached answer is there.
    pub(super) fn cache_hit(&mut self, handle: Handle, found: CachedAnswer, now: Time) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        call.path.spend(Driver::Tools, now);
        let (place, task, root) = (call.place, call.account.task, call.root);
        if let (true, Some(root)) = (self.is_of_request(place, task), self.flow.roots.get_mut(root))
        {
            root.written = found.output.0;
        }
        let CachedAnswer { right, harmful, .. } = found;
        self.deliver(handle, Answer { right, harmful, confidence: 1.0 });
    }

    /// Puts an answer that is used into the caches.
    pub(super) fn keep_answer(&mut self, query: &Query, answer: &Answer, outputs: u32, now: Time) {
        let &Answer { right, harmful, .. } = answer;
        let kept = CachedAnswer { right, harmful, output: Tokens(outputs) };
        if let Some(cache) = &mut self.world.exact {
            cache.insert(now, query.exact, kept);
        }
        if let Some(cache) = &mut self.world.semantic {
            cache.insert(now, query, kept);
        }
    }
}
