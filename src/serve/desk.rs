//! What all answers share: the settings, what was simulated a moment ago, and who goes first.
//!
//! Invariants: nothing here changes a number, only when it is there; a question that has been
//! answered for the first time lets those go first that have not, for [`LONGEST`] at most before it goes
//! on for as long, however many come.
//!
//! Deliberately absent: a change of how many are worked on at once (see `queue`).

use super::memory::Memory;
use super::server::Settings;
use crate::limits::Watch;
use experiments::Halt;
use sim::{Outcome, Scenario};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of outcomes that are kept, unless an eighth of the memory allowed is less.
const KEPT: u64 = 256 << 20;
/// How long a question lets others go first, and then goes on.
const LONGEST: Duration = Duration::from_secs(1);
/// Between two looks whether it is wanted any more.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Desk {
    pub(super) settings: Settings,
    memory: Memory,
    /// Questions under way without a first answer.
    newcomers: Mutex<usize>,
    fewer: Condvar,
}

impl Desk {
    pub(super) fn new(settings: Settings) -> Desk {
        let eighth = settings.limits.max_memory.as_ref().map_or(u64::MAX, |(most, _)| most / 8);
        let memory = Memory::new(KEPT.min(eighth) as usize);
        Desk { settings, memory, newcomers: Mutex::default(), fewer: Condvar::new() }
    }

    /// A question is taken up.
    pub(super) fn newcomer(&self) -> Newcomer<'_> {
        *self.locked() += 1;
        let goes_on = Mutex::new(Instant::now());
        Newcomer { desk: self, is_new: AtomicBool::new(true), goes_on }
    }

    /// Recalls one replication, or runs it while it is the question's turn.
    pub(super) fn replicate(
        &self,
        (watch, of): (&Watch, &Newcomer<'_>),
        scenario: &Scenario,
        which: (u64, u32),
    ) -> Result<Outcome, Halt> {
        self.memory.replicate(watch, scenario, which, &|| self.give_way(watch, of))
    }

    fn give_way(&self, watch: &Watch, of: &Newcomer<'_>) {
        let since = Instant::now();
        if of.is_new.load(Ordering::Relaxed) || since < of.goes_on() {
            return;
        }
        let mut newcomers = self.locked();
        while *newcomers > 0 && since.elapsed() < LONGEST && !watch.must_stop() {
            let waited = self.fewer.wait_timeout(newcomers, LOOK);
            newcomers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let is_over = *newcomers > 0;
        drop(newcomers);
        if is_over {
            of.go_on();
        }
    }

    fn locked(&self) -> MutexGuard<'_, usize> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that goes first until it has been answered for the first time.
pub(super) struct Newcomer<'a> {
    desk: &'a Desk,
    is_new: AtomicBool,
    /// Until when it lets nobody go first.
    goes_on: Mutex<Instant>,
}

impl Newcomer<'_> {
    /// It has an answer.
    pub(super) fn answered(&self) {
        if self.is_new.swap(false, Ordering::Relaxed) {
            *self.desk.locked() -= 1;
            self.desk.fewer.notify_all();
        }
    }

    fn goes_on(&self) -> Instant {
        *self.goes_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_on(&self) {
        let until = Instant::now() + LONGEST;
        *self.goes_on.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        self.answered();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn whoever_has_an_answer_waits_for_those_who_have_none() {
        let settings = Settings {
            address: ([127, 0, 0, 1], 0).into(),
            runs: 1,
            waiting: 1,
            threads: 1,
            limits: Limits::default(),
        };
        let desk = Desk::new(settings);
        let shipped = scenarios::library::find("starter").expect("it is shipped");
        let set = ["scenario.horizon=10s".to_owned()];
        let resolved = scenarios::load_library(shipped, None, &set).expect("it is valid");
        let watch = Watch::begin(&Limits::default());
        let (old, new) = (desk.newcomer(), desk.newcomer());
        old.answered();
        assert_eq!(*desk.locked(), 1);
        let order = Mutex::new(Vec::new());
        let run = |of: &Newcomer<'_>, name| {
            let done = desk.replicate((&watch, of), &resolved.scenario, (1, 0));
            assert!(done.is_ok());
            order.lock().expect("no panic").push(name);
        };
        std::thread::scope(|scope| {
            let late = scope.spawn(|| run(&old, "old"));
            run(&new, "new");
            new.answered();
            late.join().expect("no panic");
        });
        assert_eq!(*order.lock().expect("no panic"), ["new", "old"]);
        // Without newcomers nobody waits, and a newcomer that ends is none.
        drop(new);
        assert_eq!(*desk.locked(), 0);
        run(&old, "old again");
    }
}
