//! Questions that wait, and the threads that work on them.
//!
//! Invariants: no more questions are worked on at once than there are threads, and no more wait than
//! allowed; of one session only the latest question is left; a fault in one answer ends that answer.
//!
//! Deliberately absent: priorities. First come, first served; see `desk` for those under way.

use super::answer::{self, Out};
use super::desk::Desk;
use super::question::{Question, Refusal};
use super::report::{self, Page};
use super::server::Settings;
use crate::error::Error;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::mpsc::Sender;

/// A question under way.
pub(super) struct Job {
    pub(super) question: Question,
    /// Set when nobody waits for it any more.
    pub(super) unwanted: Arc<AtomicBool>,
    pub(super) reply: Reply,
}

/// What is wanted, and where it goes.
pub(super) enum Reply {
    /// An answer, line by line.
    Lines(Out),
    /// A page, or why there is none.
    Page(Sender<Result<Page, Refusal>>),
}

impl Reply {
    fn waiting(&self, ahead: usize) {
        if let Reply::Lines(out) = self {
            out.waiting(ahead);
        }
    }

    fn superseded(&self) {
        match self {
            Reply::Lines(out) => out.superseded(),
            Reply::Page(to) => tell(to, Err(Refusal::superseded())),
        }
    }

    fn fault(&self) {
        match self {
            Reply::Lines(out) => out.fault(),
            Reply::Page(to) => {
                let error = Error::Bug("a report ended in a panic".to_owned());
                tell(to, Err(error.into()));
            }
        }
    }
}

fn tell(to: &Sender<Result<Page, Refusal>>, page: Result<Page, Refusal>) {
    // Whoever has gone misses it.
    let _ = to.try_send(page);
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Session and flag of what is worked on.
    running: Vec<(String, Arc<AtomicBool>)>,
    is_closed: bool,
}

/// See the module.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    desk: Desk,
}

impl Queue {
    /// Starts the threads.
    pub(super) fn start(settings: Settings) -> (Arc<Queue>, Vec<JoinHandle<()>>) {
        let runs = settings.runs;
        let (state, changed) = (Mutex::default(), Condvar::new());
        let queue = Arc::new(Queue { state, changed, desk: Desk::new(settings) });
        let worker = || {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || while queue.work_on_next() {})
        };
        let workers = (0..runs).map(|_| worker()).collect();
        (queue, workers)
    }

    /// Takes a question in place of earlier ones of its session; `false` where too many wait.
    pub(super) fn submit(&self, job: Job) -> bool {
        let mut state = self.locked();
        let session = &job.question.session;
        let mine = |one: &Job| one.question.session == *session;
        state.waiting.iter().filter(|one| mine(one)).for_each(|one| one.reply.superseded());
        state.waiting.retain(|one| !mine(one));
        let running = state.running.iter().filter(|(of, _)| of == session);
        running.for_each(|(_, unwanted)| unwanted.store(true, Ordering::Relaxed));
        // Whoever has gone waits for nothing.
        state.waiting.retain(|one| !one.unwanted.load(Ordering::Relaxed));
        if state.is_closed || state.waiting.len() >= self.desk.settings.waiting {
            return false;
        }
        job.reply.waiting(state.waiting.len());
        state.waiting.push_back(job);
        self.changed.notify_one();
        true
    }

    /// Questions that are worked on and that wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.locked();
        (state.running.len(), state.waiting.len())
    }

    /// Ends everything.
    pub(super) fn close(&self) {
        let mut state = self.locked();
        state.is_closed = true;
        state.waiting.clear();
        state.running.iter().for_each(|(_, unwanted)| unwanted.store(true, Ordering::Relaxed));
        self.changed.notify_all();
    }

    /// `false` when there is nothing more to come.
    fn work_on_next(&self) -> bool {
        let mut state = self.locked();
        let job = loop {
            if state.is_closed {
                return false;
            }
            match state.waiting.pop_front() {
                Some(job) => break job,
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        state.running.push((job.question.session.clone(), Arc::clone(&job.unwanted)));
        drop(state);
        let (question, unwanted) = (&job.question, &job.unwanted);
        let work = || match &job.reply {
            Reply::Lines(out) => answer::answer(question, &self.desk, unwanted, out),
            Reply::Page(to) => {
                let page = report::report(question, &self.desk, unwanted);
                match unwanted.load(Ordering::Relaxed) {
                    true => job.reply.superseded(),
                    false => tell(to, page),
                }
            }
        };
        // A fault of ours ends this answer, not the page.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            job.reply.fault();
        }
        self.locked().running.retain(|(_, other)| !Arc::ptr_eq(other, &job.unwanted));
        true
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic is done while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
