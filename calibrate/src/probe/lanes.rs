//! One cell under way: its lanes, their retries, and what all lanes share.
//!
//! Invariants: nothing is sent after the session halted or beyond a limit; every attempt becomes a
//! row, whatever came of it; the first reason to halt is the one that is kept; a retry sends fresh
//! words, since those of the attempt before may be in the prefix cache by now.
//!
//! Deliberately absent: the order of cells, and the decision whether one is begun (see `session`).

use super::client::{Attempt, Client, Dialect, Failure};
use super::design::Cell;
use super::limits::{Limit, Limits, Taken};
use super::prompts::{Ratio, words};
use super::results::{FileError, Files, Place, gap_rows, request_row};
use sim::dice::{Dice, mix};
use sim::units::Money;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause before the first retry; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that is not asked for by the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks at whether the session halted.
const TICK: Duration = Duration::from_millis(20);
/// Stands for the shared prefix where a lane's number stands otherwise.
const PREFIX: u64 = u64::MAX;

/// Why a session ends before its last cell.
#[derive(Debug)]
pub(super) enum Halt {
    /// Somebody asked for it.
    Interrupted,
    /// A limit was reached.
    Limit(Limit),
    /// The endpoint gives no answers.
    Endpoint(String),
    /// The results cannot be written.
    File(FileError),
}

/// What the lanes share and change.
pub(super) struct State {
    pub(super) files: Files,
    pub(super) taken: Taken,
    pub(super) ratio: Ratio,
    pub(super) dialect: Dialect,
    /// The server answered under the dialect.
    pub(super) agreed: bool,
    pub(super) halt: Option<Halt>,
    /// Requests under way were ended too, so that they fail for no reason of the server's.
    pub(super) cut: bool,
}

/// A session's means to run cells.
pub(super) struct Lanes<'a> {
    pub(super) client: &'a Client,
    pub(super) limits: &'a Limits,
    pub(super) api: super::Api,
    /// How often a request is tried again.
    pub(super) retries: u32,
    /// Of all prompts of the session.
    pub(super) key: u64,
    pub(super) session: u32,
    pub(super) began: Instant,
    pub(super) state: Mutex<State>,
}

/// What came of a cell.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answers: Vec<Answered>,
    pub(super) errors: u64,
    pub(super) last_error: String,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) input: Option<u32>,
    pub(super) cached: Option<u32>,
    pub(super) output: u32,
    /// The server counted the output.
    pub(super) counted: bool,
    pub(super) chunks: usize,
    pub(super) ttft: Duration,
    pub(super) tpot: Option<Duration>,
}

impl Answered {
    fn of(attempt: &Attempt) -> Option<Answered> {
        let (output, counted) = attempt.output();
        Some(Answered {
            input: attempt.usage.map(|usage| usage.prompt_tokens),
            cached: attempt.usage.and_then(|usage| usage.cached_tokens()),
            output,
            counted,
            chunks: attempt.arrivals.len(),
            ttft: attempt.arrivals.first()?.at,
            tpot: attempt.tpot(),
        })
    }
}

/// An attempt that is paid for.
struct Ready {
    paid: Money,
    dialect: Dialect,
    words: u32,
    prompt: String,
}

impl Lanes<'_> {
    /// What the lanes share. A lane that panicked left nothing half changed: every change is one
    /// assignment.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Halts the session, unless it has already.
    pub(super) fn halt(&self, why: Halt) {
        self.state().halt.get_or_insert(why);
    }

    /// Whether the session halted.
    pub(super) fn halted(&self) -> bool {
        self.state().halt.is_some()
    }

    /// Halts the session and ends what is under way.
    pub(super) fn cut(&self, why: Halt) {
        let mut state = self.state();
        state.halt.get_or_insert(why);
        state.cut = true;
        drop(state);
        self.client.stop();
    }

    /// Runs a cell to its end, or until the session halts.
    pub(super) fn run(&self, cell: &Cell) -> Tally {
        let tally = Mutex::new(Tally::default());
        let shared = self.state().ratio.words_for(cell.input * cell.cached_percent / 100);
        let shared = if cell.cached_percent == 0 { 0 } else { shared };
        // Its answer is not asked for, only its prompt's blocks.
        let prime = Cell { output: 1, ..*cell };
        if shared > 0 && !self.request(&prime, (0, 1), shared, &Mutex::new(Tally::default())) {
            let mut tally = tally.into_inner().unwrap_or_default();
            "the prompt that fills the prefix cache was not answered"
                .clone_into(&mut tally.last_error);
            return tally;
        }
        std::thread::scope(|scope| {
            for lane in 1..=cell.concurrency {
                let tally = &tally;
                scope.spawn(move || {
                    for sequence in 1..=cell.waves {
                        self.request(cell, (lane, sequence), shared, tally);
                    }
                });
            }
        });
        tally.into_inner().unwrap_or_default()
    }

    /// Sends a request until it is answered, its retries are used up or the session halts; whether
    /// it was answered.
    fn request(
        &self,
        cell: &Cell,
        (lane, sequence): (u32, u32),
        shared: u32,
        tally: &Mutex<Tally>,
    ) -> bool {
        let mut failures = 0;
        for attempt in 1.. {
            let place = Place { session: self.session, lane, sequence, attempt };
            let Some(ready) = self.prepare(cell, place, shared) else { return false };
            let mut answer = self.client.ask(&ready.prompt, cell.output, ready.dialect);
            if answer.failure.is_some() && self.state().cut {
                answer.failure = Some(Failure::Stopped);
            }
            self.keep(cell, place, &ready, &answer);
            let mut sums = tally.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(failure) = &answer.failure else {
                sums.answers.extend(Answered::of(&answer));
                return true;
            };
            sums.errors += 1;
            sums.last_error = failure.to_string();
            drop(sums);
            if failure.is_refusal() && self.retreat(ready.dialect) {
                continue;
            }
            if failure.is_ours() {
                self.halt(Halt::Endpoint(failure.to_string()));
            }
            failures += 1;
            if !failure.passes() || failures > self.retries {
                return false;
            }
            self.pause(pause(failure, failures, mix(self.place_key(cell, place), 1)));
        }
        false
    }

    /// Pays for an attempt and writes its prompt; none when the session halts.
    fn prepare(&self, cell: &Cell, place: Place, shared: u32) -> Option<Ready> {
        let mut state = self.state();
        if state.halt.is_some() {
            return None;
        }
        let paid = match state.taken.pay(self.limits, cell.input, cell.output) {
            Ok(paid) => paid,
            Err(limit) => {
                state.halt = Some(Halt::Limit(limit));
                return None;
            }
        };
        let words_in_all = state.ratio.words_for(cell.input);
        let dialect = state.dialect;
        drop(state);
        let fresh = words_in_all.saturating_sub(shared).max(1);
        let tail = words(self.place_key(cell, place), fresh);
        let prompt = if shared > 0 {
            let prefix = words(mix(mix(self.key, u64::from(cell.number)), PREFIX), shared);
            format!("{prefix} {tail}")
        } else {
            tail
        };
        Some(Ready { paid, dialect, words: shared + fresh, prompt })
    }

    fn place_key(&self, cell: &Cell, place: Place) -> u64 {
        let parts = [cell.number, place.lane, place.sequence, place.attempt];
        parts.iter().fold(self.key, |key, &part| mix(key, u64::from(part)))
    }

    /// Writes an attempt down and learns from it.
    fn keep(&self, cell: &Cell, place: Place, ready: &Ready, answer: &Attempt) {
        let sent = answer.sent.duration_since(self.began).as_secs_f64();
        let row = request_row(place, cell, (sent, ready.words), answer);
        let gaps = gap_rows(place, cell, answer);
        let mut state = self.state();
        if let (None, Some(usage)) = (&answer.failure, answer.usage) {
            let (input, output) = (usage.prompt_tokens, usage.completion_tokens);
            state.ratio.learn(ready.words, input);
            let came_to = self.limits.cost(u64::from(input), u64::from(output));
            state.taken.settle(ready.paid, came_to);
        }
        state.agreed |= answer.failure.is_none();
        if let Err(error) = state.files.request(&row, &gaps) {
            state.halt.get_or_insert(Halt::File(error));
        }
    }

    /// Leaves out options after a server refused a request with them; false when it answered with
    /// them before, or nothing is left to leave out.
    fn retreat(&self, refused: Dialect) -> bool {
        let mut state = self.state();
        if state.agreed {
            return false;
        }
        if state.dialect != refused {
            return true;
        }
        match refused.next(self.api) {
            Some(next) => {
                state.dialect = next;
                true
            }
            None => false,
        }
    }

    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.halted() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}

/// How long to wait before a request is tried again: as the server asks, or half to all of a time
/// that doubles, so that lanes that failed together do not return together.
fn pause(failure: &Failure, failures: u32, key: u64) -> Duration {
    if let Failure::Status { retry_after: Some(seconds), .. } = failure {
        // A day is for ever here; the session's time limit ends the wait long before.
        return Duration::from_secs((*seconds).min(86_400));
    }
    let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * Dice::stream(key).uniform())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_the_server_may_ask_for_others() {
        let at = |failures| pause(&Failure::Cut, failures, 7);
        let within = |failures, millis: u64| {
            let most = Duration::from_millis(millis);
            (most / 2..=most).contains(&at(failures))
        };
        assert!(within(1, 500) && within(2, 1_000) && within(3, 2_000) && within(20, 30_000));
        let asked = Failure::Status { code: 429, retry_after: Some(7), message: String::new() };
        assert_eq!(pause(&asked, 1, 7), Duration::from_secs(7));
        assert_ne!(pause(&Failure::Cut, 1, 7), pause(&Failure::Cut, 1, 8));
    }
}
