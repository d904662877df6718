//! Runs whose requests carry stamps of the engine's core, one JSON object a line.
//!
//! `arrival_time` is Unix time at the front end; `queued_ts`, `scheduled_ts`, `first_token_ts` and
//! `last_token_ts` are of the engine's monotonic clock. Times are differences of the latter only.
//! Between the two lies an offset that nothing states: of `queued_ts − arrival_time`, only how
//! much longer it is than the shortest of the run is used, as a lower bound of the time to
//! admission.
//!
//! Invariants: stamps of a request are in order, or it is a problem.
//!
//! Deliberately absent: KV usage that was not measured. A series that is zero throughout while
//! requests run says nothing, and is left out with a note.

use super::super::json::{Node, lines};
use super::super::problem::Problems;
use super::super::table::Table;
use super::super::value;
use super::super::{Definitions, End, File, First, Itl, Side, Start, Tpot};
use super::{Clock, Clocks, EngineRun, Folder, Role, RunRequest, ServerTimes, Tick, config};
use sim::units::{Span, Time};

/// The engine's core: from its queue to the token, without front end and network.
const CORE: Definitions = Definitions {
    side: Side::EngineCore,
    start: Start::Queued,
    first: First::Token,
    tpot: Tpot::Absent,
    itl: Itl::Absent,
    end: End::LastToken,
};

/// One row: arrival on one clock, entry into the queue on the other, and the request.
struct Stamped {
    arrival: f64,
    queued: f64,
    request: RunRequest,
}

/// Reads a run with stamps.
pub(super) fn read(
    file: File<'_>,
    folder: &Folder<'_>,
    problems: &mut Problems,
) -> Option<EngineRun> {
    let mut setting = config::read(folder, problems);
    let ticks = series(folder, problems, &mut setting.notes);
    let mut of_file = Problems::of(file.name);
    let mut rows: Vec<Stamped> = lines(file.text, &mut of_file)
        .iter()
        .filter_map(|(line, value)| stamped(&Node::root(*line, value), &mut of_file))
        .collect();
    rows.sort_by(|a, b| a.arrival.total_cmp(&b.arrival));
    let first = rows.first().map_or(0.0, |row| row.arrival);
    let delay = |row: &Stamped| row.queued - row.arrival;
    let shortest = rows.iter().map(delay).fold(f64::INFINITY, f64::min);
    let mut requests = Vec::new();
    for mut row in rows {
        let id = row.request.id.clone();
        // Differences of numbers this large keep a microsecond of precision, no more.
        let admission = value::between(shortest, delay(&row));
        match value::since(first, row.arrival) {
            Ok(arrival) => row.request.arrival = arrival,
            Err(message) => of_file.push(0, "arrival_time", format!("{id}: {message}")),
        }
        match (admission, row.request.server.as_mut()) {
            (Ok(admission), Some(server)) => server.admission = Some(admission),
            (Err(message), _) => of_file.push(0, "queued_ts", format!("{id}: {message}")),
            _ => {}
        }
        requests.push(row.request);
    }
    problems.absorb(of_file);
    (!requests.is_empty()).then_some(EngineRun {
        config: setting.config,
        definitions: CORE,
        client_definitions: None,
        clocks: Clocks { arrivals: Clock::Unix, times: Some(Clock::Monotonic) },
        phases: Vec::new(),
        requests,
        unmatched: Vec::new(),
        ticks,
        log: setting.log,
        notes: setting.notes,
    })
}

fn stamped(row: &Node<'_, '_>, problems: &mut Problems) -> Option<Stamped> {
    let mut number = |key| row.need(key, problems)?.number(problems);
    let arrival = number("arrival_time");
    let stamps = ["queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"].map(number);
    let mut tokens = |key| row.need(key, problems)?.tokens(problems);
    let (input, output) = (tokens("input_toks"), tokens("output_toks"));
    let id = row.get("request_id").and_then(|node| node.text(problems));
    let [Some(queued), Some(scheduled), Some(first), Some(last)] = stamps else { return None };
    let mut between = |from, to| -> Option<Span> {
        value::between(from, to).map_err(|message| row.wrong(problems, message)).ok()
    };
    let queue = between(queued, scheduled);
    let (prefill, decode) = (between(scheduled, first), between(first, last));
    let (ttft, e2e) = (between(queued, first), between(queued, last));
    let server =
        ServerTimes { admission: None, queue: queue?, ttft: ttft?, e2e: e2e?, prefill, decode };
    let request = RunRequest {
        id: id.map_or_else(|| format!("line {}", row.line), str::to_owned),
        phase: None,
        arrival: Time::ZERO,
        input: input?,
        output: output?,
        shared_prefix: None,
        server: Some(server),
        client: None,
    };
    Some(Stamped { arrival: arrival?, queued, request })
}

/// `timeseries.csv`: the engine each second.
fn series(folder: &Folder<'_>, problems: &mut Problems, notes: &mut Vec<String>) -> Vec<Tick> {
    let Some(file) = folder.get(Role::Series) else { return Vec::new() };
    let mut of_file = Problems::of(file.name);
    let columns =
        ["t", "prompt_throughput", "gen_throughput", "running", "waiting", "kv_cache_pct"];
    let mut ticks = Vec::new();
    if let Some(table) = Table::read(file.text, &columns, &mut of_file) {
        ticks.extend(table.rows().filter_map(|row| {
            let at = row.span("t", 1.0, &mut of_file);
            let prompt_rate = row.number("prompt_throughput", &mut of_file);
            let generation_rate = row.number("gen_throughput", &mut of_file);
            let running = row.count("running", &mut of_file);
            let waiting = row.count("waiting", &mut of_file);
            let percent = row.number("kv_cache_pct", &mut of_file);
            Some(Tick {
                at: Time(at?.0),
                prompt_rate: prompt_rate?,
                generation_rate: generation_rate?,
                running: running?,
                waiting: waiting?,
                kv_usage: Some(percent? / 100.0),
            })
        }));
    }
    problems.absorb(of_file);
    let unmeasured = ticks.iter().all(|tick| tick.kv_usage == Some(0.0))
        && ticks.iter().any(|tick| tick.running > 0);
    if unmeasured {
        ticks.iter_mut().for_each(|tick| tick.kv_usage = None);
        notes.push(
            "kv_cache_pct is 0 throughout while requests ran: it was not measured, and is left \
             out. The run states no KV capacity."
                .to_owned(),
        );
    }
    ticks
}
