//! Cells side by side: every core busy, with whole cells while there are many and with the
//! replications of single ones at the end.
//!
//! One pool does the work, and as many plain threads as it has workers each hand it one cell at a
//! time. A worker that waits for the replications of its cell may take up those of another, but
//! never more cells than there are plain threads: were the cells handed out inside of the pool, it
//! could begin the next one, and the next, until the stack ends.
//!
//! Invariants: a cell is kept by the thread that ran it, as soon as it is finished; after the first
//! failure or halt no cell is begun.
//!
//! Deliberately absent: an order of the cells. Each is a function of its number.

use crate::error::Error;
use crate::limits::Watch;
use crate::progress::CellBar;
use experiments::sweep::{Outcome, Sweep as Experiment};
use experiments::{Halt, ReplicateError};
use rayon::ThreadPool;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Stack of a worker, and what each further cell may take of it.
const STACK: usize = 4 << 20;
const STACK_PER_CELL: usize = 64 << 10;

/// What becomes of cells.
pub(super) trait Keeper: Sync {
    /// Whether a cell could be had, and was kept, without being run.
    fn has(&self, cell: usize) -> Result<bool, Error>;
    /// Keeps a finished cell.
    fn keep(&self, cell: usize, outcome: &Outcome) -> Result<(), Error>;
}

/// Who runs cells.
pub(super) struct Crew<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) watch: &'a Watch,
    pub(super) bar: &'a CellBar,
}

/// How far it came.
#[derive(Debug)]
pub(super) struct Ended {
    /// Cells that were run and kept.
    pub(super) done: usize,
    /// Why not all of them were.
    pub(super) halted: Option<Halt>,
}

/// What the threads share.
struct Shared<'a> {
    todo: &'a [usize],
    pool: ThreadPool,
    next: AtomicUsize,
    done: AtomicUsize,
    is_over: AtomicBool,
    /// What ended it first.
    end: Mutex<Option<End>>,
}

enum End {
    Halted(Halt),
    Failed(Error),
}

/// Ends the work of the others when its thread panics.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Crew<'_> {
    /// Runs the cells `todo` on so many threads, zero for all cores.
    pub(super) fn run(
        &self,
        threads: usize,
        todo: &[usize],
        keeper: &impl Keeper,
    ) -> Result<Ended, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        let at_once = threads.min(todo.len());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(STACK + at_once * STACK_PER_CELL)
            .build()
            .map_err(|_| {
                Error::Usage(format!("could not start {threads} threads: ask for fewer"))
            })?;
        let shared = Shared {
            todo,
            pool,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            end: Mutex::new(None),
        };
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| self.work(&shared, keeper));
            }
        });
        self.watch.audited()?;
        let done = shared.done.into_inner();
        match shared.end.into_inner().unwrap_or_default() {
            Some(End::Failed(error)) => Err(error),
            Some(End::Halted(halt)) => Ok(Ended { done, halted: Some(halt) }),
            None => Ok(Ended { done, halted: None }),
        }
    }

    fn work(&self, shared: &Shared<'_>, keeper: &impl Keeper) {
        let _alarm = Alarm(&shared.is_over);
        while !shared.is_over.load(Ordering::Relaxed) {
            let Some(&cell) = shared.todo.get(shared.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let done = shared.done.load(Ordering::Relaxed);
            self.bar.at(done, shared.todo.len(), format!("cell {cell}"));
            match self.one(cell, &shared.pool, keeper) {
                Ok(()) => {
                    shared.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(end) => {
                    shared.is_over.store(true, Ordering::Relaxed);
                    if let Ok(mut first) = shared.end.lock() {
                        first.get_or_insert(end);
                    }
                    return;
                }
            }
        }
    }

    fn one(&self, cell: usize, pool: &ThreadPool, keeper: &impl Keeper) -> Result<(), End> {
        if keeper.has(cell).map_err(End::Failed)? {
            return Ok(());
        }
        let runner = self.watch.runner();
        match pool.install(|| self.experiment.evaluate(cell, &runner)) {
            Ok(outcome) => {
                let sound = self.watch.audited();
                sound.and_then(|()| keeper.keep(cell, &outcome)).map_err(End::Failed)
            }
            Err(ReplicateError::NothingFinished(halt)) => Err(End::Halted(halt)),
            Err(threads) => Err(End::Failed(Error::Usage(threads.to_string()))),
        }
    }
}
