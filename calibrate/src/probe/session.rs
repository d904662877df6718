//! A session of a probe: cells in their order, until all are done or it has to stop.
//!
//! Invariants: a cell that is complete is not run again; one that was cut short is run again whole,
//! under fresh prompts, in the next session; the session's time limit ends requests under way; a
//! folder that cannot be written ends the session.
//!
//! Deliberately absent: what a lane does (see `lanes`).

use super::client::{Client, Dialect};
use super::design::{Cell, Design, Purpose, design};
use super::endpoint::Address;
use super::lanes::{Halt, Lanes, State, Tally};
use super::limits::{Limit, Taken};
use super::metrics::{self, CellMetrics, MetricsRow, When};
use super::prompts::Ratio;
use super::record::{EngineFacts, FILE, Record, ResumeError, SCHEMA, SessionRecord};
use super::results::{CellRow, CellStatus, FileError, Files, RequestRow, read_rows};
use super::{Ended, Probe, ProbeError, Progress, Summary};
use sim::dice::mix;
use sim::units::Tokens;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two looks at the clock and at the stop flag.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at the engine's metrics while a cell runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Cells that tell how much slower than assumed the endpoint is.
const RECENT: usize = 3;
/// Cells without an answer after which the endpoint is given up.
const FAILED_CELLS: u32 = 2;

/// Runs a session.
pub(super) fn run(
    probe: &Probe,
    folder: &Path,
    resume: bool,
    stop: &AtomicBool,
    progress: &(dyn Fn(&Progress<'_>) + Sync),
) -> Result<Summary, ProbeError> {
    let most = probe.levels.concurrencies.last().copied().unwrap_or(1) as usize;
    let asked = (&probe.address, probe.api, probe.model.as_str());
    let client = Client::new(asked, probe.key.clone(), probe.patience, most);
    let (record, began) = begin(probe, folder, resume, &client)?;
    let earlier = Earlier::read(folder, probe, &record)?;
    let number = record.sessions.last().map_or(1, |session| session.number);
    let salt = u64::from_ne_bytes(record.salt.to_ne_bytes());
    let lanes = Lanes {
        client: &client,
        limits: &probe.limits,
        api: probe.api,
        retries: probe.retries,
        key: mix(mix(probe.seed, salt), u64::from(number)),
        session: number,
        began,
        state: Mutex::new(State {
            files: Files::open(folder)?,
            taken: earlier.taken,
            ratio: earlier.ratio.clone(),
            dialect: record.dialect.unwrap_or(Dialect::Engine),
            agreed: record.dialect.is_some(),
            halt: None,
            cut: false,
        }),
    };
    let done = AtomicBool::new(false);
    let mut session = Session { probe, lanes: &lanes, record, folder, pace: Vec::new(), progress };
    let rows = std::thread::scope(|scope| {
        scope.spawn(|| watch(&lanes, stop, &done));
        let rows = session.cells(&earlier.complete, stop);
        done.store(true, Ordering::SeqCst);
        rows
    });
    session.end(rows, earlier.complete.len())
}

/// Ends the session when it is time or when asked to.
fn watch(lanes: &Lanes<'_>, stop: &AtomicBool, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        if stop.load(Ordering::SeqCst) {
            return lanes.cut(Halt::Interrupted);
        }
        if lanes.began.elapsed() >= lanes.limits.budget {
            return lanes.cut(Halt::Limit(Limit::Time));
        }
        std::thread::sleep(TICK);
    }
}

#[expect(clippy::disallowed_methods, reason = "the date of a measurement is provenance")]
fn now_unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The record of a new probe, or that of the one that goes on, with a session added to it; and the
/// instant from which the session's times count.
fn begin(
    probe: &Probe,
    folder: &Path,
    resume: bool,
    client: &Client,
) -> Result<(Record, Instant), ProbeError> {
    let begun = match folder.join(FILE).exists() {
        true if resume => Some(Record::read(folder)?),
        true => return Err(ProbeError::Exists(folder.to_path_buf())),
        false if resume => return Err(ProbeError::NothingThere(folder.to_path_buf())),
        false => None,
    };
    let mut engine = EngineFacts::ask(client, &probe.model);
    if engine.max_model_len.is_none() {
        engine.max_model_len = begun.as_ref().and_then(|record| record.engine.max_model_len);
    }
    let Design { cells, dropped } =
        design(&probe.levels, &probe.limits, engine.max_model_len.map(Tokens));
    if cells.is_empty() {
        return Err(ProbeError::NoCells(dropped));
    }
    let (now, began) = (now_unix(), Instant::now());
    let asked = Record {
        schema: SCHEMA.to_owned(),
        surgeline: env!("CARGO_PKG_VERSION").to_owned(),
        url: probe.address.shown().to_owned(),
        api: probe.api,
        model: probe.model.clone(),
        seed: probe.seed,
        salt: i64::try_from(now.as_nanos()).unwrap_or_default(),
        dialect: None,
        dropped,
        engine,
        levels: probe.levels.clone(),
        cells,
        sessions: Vec::new(),
    };
    let mut record = match begun {
        Some(begun) => {
            begun.check(&asked)?;
            begun
        }
        None => asked,
    };
    std::fs::create_dir_all(folder)
        .map_err(|source| FileError { path: folder.to_path_buf(), source })?;
    record.sessions.push(SessionRecord {
        number: record.sessions.last().map_or(1, |last| last.number + 1),
        began_unix_s: now.as_secs_f64(),
        budget_s: probe.limits.budget.as_secs_f64(),
        took_s: None,
        ended: None,
    });
    record.write(folder)?;
    Ok((record, began))
}

/// What earlier sessions left behind.
struct Earlier {
    complete: BTreeSet<u32>,
    taken: Taken,
    ratio: Ratio,
}

impl Earlier {
    fn read(folder: &Path, probe: &Probe, record: &Record) -> Result<Earlier, ResumeError> {
        let cells: Vec<CellRow> = read_rows(&folder.join("cells.csv"))?;
        let complete = cells.iter().filter(|row| row.status == CellStatus::Complete);
        let complete = complete.map(|row| row.cell).collect();
        let planned: BTreeMap<u32, &Cell> =
            record.cells.iter().map(|cell| (cell.number, cell)).collect();
        let (mut taken, mut ratio) = (Taken::default(), Ratio::default());
        for row in read_rows::<RequestRow>(&folder.join("requests.csv"))? {
            let plan = planned.get(&row.cell).map_or((0, 0), |cell| (cell.input, cell.output));
            let answered = row.error.is_empty();
            let input = row.input_tokens.filter(|_| answered).unwrap_or(plan.0);
            let output = row.output_tokens.filter(|_| answered).unwrap_or(plan.1);
            taken.requests += 1;
            taken.spend += probe.limits.cost(u64::from(input), u64::from(output));
            if let (true, Some(tokens)) = (answered, row.input_tokens) {
                ratio.learn(row.words, tokens);
            }
        }
        Ok(Earlier { complete, taken, ratio })
    }
}

/// How much slower than assumed a cell was: its first tokens, its gaps.
#[derive(Clone, Copy)]
struct Slowness(f64, f64);

struct Session<'a> {
    probe: &'a Probe,
    lanes: &'a Lanes<'a>,
    record: Record,
    folder: &'a Path,
    pace: Vec<Slowness>,
    progress: &'a (dyn Fn(&Progress<'_>) + Sync),
}

impl Session<'_> {
    /// Runs what is not complete yet.
    fn cells(&mut self, complete: &BTreeSet<u32>, stop: &AtomicBool) -> Vec<CellRow> {
        let cells = self.record.cells.clone();
        let mut rows: Vec<CellRow> = Vec::new();
        let mut failed = 0;
        for cell in cells.iter().filter(|cell| !complete.contains(&cell.number)) {
            // `watch` may not have looked since.
            if stop.load(Ordering::SeqCst) {
                self.lanes.halt(Halt::Interrupted);
            }
            if self.lanes.halted() {
                break;
            }
            let done = complete.len() + rows.len();
            let taken = self.lanes.state().taken;
            (self.progress)(&Progress { done, cells: cells.len(), cell, taken });
            let row = self.cell(cell);
            self.agree();
            failed = if row.status == CellStatus::Failed { failed + 1 } else { 0 };
            if failed == FAILED_CELLS || failed > 0 && !self.lanes.state().agreed {
                self.lanes.halt(Halt::Endpoint(row.note.clone()));
            }
            if let Err(error) = self.lanes.state().files.cell(&row) {
                self.lanes.halt(Halt::File(error));
            }
            rows.push(row);
        }
        rows
    }

    /// Runs one cell, unless it would not end in time.
    fn cell(&mut self, cell: &Cell) -> CellRow {
        let begin = self.lanes.began.elapsed();
        let left = self.probe.limits.budget.saturating_sub(begin);
        let needs = self.forecast(cell);
        if needs > left {
            let note = format!(
                "needs about {:.0} s, {:.0} s are left",
                needs.as_secs_f64(),
                left.as_secs_f64()
            );
            let nothing = (&Tally::default(), CellMetrics::default());
            return self.row(cell, CellStatus::Skipped, nothing, (begin, begin), note);
        }
        let (tally, metrics) = self.lanes(cell);
        let end = self.lanes.began.elapsed();
        let status = match tally.answers.len() as u64 {
            _ if self.lanes.halted() => CellStatus::Partial,
            0 => CellStatus::Failed,
            _ => CellStatus::Complete,
        };
        let note = note(cell, &tally, metrics);
        let row = self.row(cell, status, (&tally, metrics), (begin, end), note);
        self.learn(cell, &row);
        row
    }

    /// Runs the lanes of a cell, with a look at the metrics every second if there are any.
    fn lanes(&mut self, cell: &Cell) -> (Tally, CellMetrics) {
        let Some(address) = &self.probe.metrics else {
            return (self.lanes.run(cell), CellMetrics::default());
        };
        let pages = Pages { lanes: self.lanes, address, cell: cell.number };
        let mut rows: Vec<MetricsRow> = pages.fetch(When::Before).into_iter().collect();
        let done = AtomicBool::new(false);
        let (tally, during) = std::thread::scope(|scope| {
            let looking = scope.spawn(|| pages.watch(&done));
            let tally = self.lanes.run(cell);
            done.store(true, Ordering::SeqCst);
            (tally, looking.join().unwrap_or_default())
        });
        rows.extend(during);
        if !self.lanes.halted() {
            rows.extend(pages.fetch(When::After));
        }
        let metrics = CellMetrics::of(&rows);
        if let (Some(first), None) = (rows.into_iter().next(), &self.record.engine.metrics_of) {
            self.record.engine.metrics_of = Some(first.engine);
            // TOML has no larger numbers.
            let fits = |tokens: &u64| i64::try_from(*tokens).is_ok();
            self.record.engine.kv_capacity = first.kv_capacity.filter(fits);
            if let Err(error) = self.record.write(self.folder) {
                self.lanes.halt(Halt::File(error));
            }
        }
        (tally, metrics)
    }

    /// Time a cell will take if the endpoint is as slow as in the last cells.
    fn forecast(&self, cell: &Cell) -> Duration {
        let recent = &self.pace[self.pace.len().saturating_sub(RECENT)..];
        // Before anything was measured nothing speaks against a try.
        if recent.is_empty() {
            return Duration::ZERO;
        }
        let most = |of: fn(&Slowness) -> f64| recent.iter().map(of).fold(0.0, f64::max);
        let (ttft, tpot) = cell.assumed();
        let slower = |time: Duration, by: f64| {
            Duration::try_from_secs_f64(time.as_secs_f64() * by).unwrap_or(Duration::MAX)
        };
        cell.takes(slower(ttft, most(|slow| slow.0)), slower(tpot, most(|slow| slow.1)))
    }

    fn learn(&mut self, cell: &Cell, row: &CellRow) {
        // A first connection and a cold server say little about the rest.
        if cell.purpose == Purpose::WarmUp {
            return;
        }
        let (ttft, tpot) = cell.assumed();
        let slower = |measured: Option<f64>, assumed: Duration| {
            measured.map_or(0.0, |millis| millis / 1e3 / assumed.as_secs_f64())
        };
        if row.status == CellStatus::Complete {
            self.pace.push(Slowness(slower(row.ttft_ms, ttft), slower(row.tpot_ms, tpot)));
        }
    }

    /// Writes down the dialect once the server has answered under it.
    fn agree(&mut self) {
        let state = self.lanes.state();
        let dialect = state.agreed.then_some(state.dialect);
        drop(state);
        if dialect.is_some() && self.record.dialect != dialect {
            self.record.dialect = dialect;
            if let Err(error) = self.record.write(self.folder) {
                self.lanes.halt(Halt::File(error));
            }
        }
    }

    fn row(
        &self,
        cell: &Cell,
        status: CellStatus,
        (tally, metrics): (&Tally, CellMetrics),
        (begin, end): (Duration, Duration),
        note: String,
    ) -> CellRow {
        let answers = &tally.answers;
        let rounded = |mean: Option<f64>, wanted: u32| mean.map_or(wanted, |m| m.round() as u32);
        let output = mean(answers.iter().map(|answer| Some(f64::from(answer.output))));
        let chunks = mean(answers.iter().map(|answer| Some(answer.chunks as f64)));
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        CellRow {
            session: self.lanes.session,
            cell: cell.number,
            purpose: cell.purpose.name().to_owned(),
            status,
            isl: rounded(mean(answers.iter().map(|a| a.input.map(f64::from))), cell.input),
            osl: rounded(output, cell.output),
            concurrency: cell.concurrency,
            cached_percent: cell.cached_percent,
            isl_wanted: cell.input,
            osl_wanted: cell.output,
            planned: cell.answers(),
            answered: answers.len() as u64,
            errors: tally.errors,
            ttft_ms: mean(answers.iter().map(|answer| Some(millis(answer.ttft)))),
            tpot_ms: mean(answers.iter().map(|answer| answer.tpot.map(millis))),
            cached_tokens: mean(answers.iter().map(|answer| answer.cached.map(f64::from))),
            running: metrics.running,
            waiting: metrics.waiting,
            kv_usage: metrics.kv_usage,
            preemptions: metrics.preemptions,
            prefix_queries: metrics.prefix_queries,
            prefix_hits: metrics.prefix_hits,
            tokens_per_chunk: output.zip(chunks).map(|(tokens, chunks)| tokens / chunks),
            begin_s: begin.as_secs_f64(),
            wall_s: (end - begin).as_secs_f64(),
            note,
        }
    }

    /// Closes the record and says what came of the session.
    fn end(mut self, rows: Vec<CellRow>, before: usize) -> Result<Summary, ProbeError> {
        let mut state = self.lanes.state();
        let (halt, taken) = (state.halt.take(), state.taken);
        drop(state);
        let ended = match halt {
            None => Ended::Done,
            Some(Halt::Interrupted) => Ended::Interrupted,
            Some(Halt::Limit(limit)) => Ended::Limit(limit),
            Some(Halt::Endpoint(why)) => Ended::Endpoint(why),
            Some(Halt::File(error)) => return Err(error.into()),
        };
        if let Some(session) = self.record.sessions.last_mut() {
            session.took_s = Some(self.lanes.began.elapsed().as_secs_f64());
            session.ended = Some(ended.to_string());
        }
        self.record.write(self.folder)?;
        let (cells, dropped) = (self.record.cells.len(), self.record.dropped);
        Ok(Summary { rows, complete_before: before, cells, dropped, taken, ended })
    }
}

/// Fetches the engine's metrics around and during a cell.
struct Pages<'a> {
    lanes: &'a Lanes<'a>,
    address: &'a Address,
    cell: u32,
}

impl Pages<'_> {
    /// Fetches every so often until the cell is done.
    fn watch(&self, done: &AtomicBool) -> Vec<MetricsRow> {
        let (mut rows, mut next) = (Vec::new(), Instant::now() + LOOK_EVERY);
        while !done.load(Ordering::SeqCst) {
            if Instant::now() >= next {
                rows.extend(self.fetch(When::During));
                next = Instant::now() + LOOK_EVERY;
            }
            std::thread::sleep(TICK);
        }
        rows
    }

    /// Fetches a page and writes down what it says; the page itself, or why there is none, is kept
    /// from before and after the cell.
    fn fetch(&self, when: When) -> Option<MetricsRow> {
        let (at, since) = (now_unix().as_secs_f64(), self.lanes.began.elapsed().as_secs_f64());
        let page = match self.lanes.client.metrics(self.address) {
            Ok(page) => page,
            Err(failure) => format!("# surgeline: no metrics: {failure}\n"),
        };
        let session = self.lanes.session;
        let row = metrics::row((session, self.cell), when, since, &page);
        let name = format!("session-{session}-cell-{:03}-{}.txt", self.cell, when.name());
        let text = format!("# surgeline: scraped at {at:.6} s since 1970\n{page}");
        let mut state = self.lanes.state();
        let mut written = row.as_ref().map_or(Ok(()), |row| state.files.metrics_row(row));
        if when != When::During {
            written = written.and(state.files.metrics(&name, &text));
        }
        if let Err(error) = written {
            state.halt.get_or_insert(Halt::File(error));
        }
        row
    }
}

/// The mean of what is known.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values.flatten() {
        sum += value;
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}

/// What a reader of the cell's numbers should know.
fn note(cell: &Cell, tally: &Tally, metrics: CellMetrics) -> String {
    let mut notes = Vec::new();
    let answers = &tally.answers;
    if answers.iter().any(|answer| answer.input.is_none()) {
        notes.push("prompt tokens not counted by the server".to_owned());
    }
    if answers.iter().any(|answer| !answer.counted) {
        notes.push("answer tokens are chunks".to_owned());
    }
    let short = |answer: &&super::lanes::Answered| answer.output < cell.output;
    match answers.iter().filter(short).count() {
        0 => {}
        count => notes.push(format!("{count} answers shorter than asked for")),
    }
    if let Some(preemptions) = metrics.preemptions.filter(|&preemptions| preemptions > 0) {
        notes.push(format!("{preemptions} requests lost their blocks"));
    }
    if !tally.last_error.is_empty() {
        notes.push(format!("last error: {}", tally.last_error));
    }
    notes.join("; ")
}
