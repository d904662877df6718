//! Runs that vLLM's front end traced, and what GuideLLM measured of the same requests.
//!
//! `spans.csv` has one row a request: `start` and `end` in Unix nanoseconds, durations in seconds.
//! `requests.csv` has one row a request too, in the client's order and with a clock that starts
//! anew in each phase. Rows of the two belong together if they are of the same phase (the phases
//! follow each other) and have the same numbers of tokens; of equals, the earlier is the earlier.
//!
//! Invariants: every row of either file is in the result once.
//!
//! Deliberately absent: matching by time. The offset of the two clocks is not known, and requests
//! sent together enter the engine in another order.

use super::super::problem::Problems;
use super::super::table::{Row, Table};
use super::super::value;
use super::super::{Definitions, End, First, Itl, Side, Start, Tpot};
use super::{
    ClientTimes, Clock, Clocks, EngineRun, Folder, Phase, Role, RunRequest, ServerTimes, config,
};
use sim::units::{Time, Tokens};
use std::collections::{BTreeMap, VecDeque};

/// vLLM's front end: from when it has the request to when it has sent the tokens on.
const FRONT_END: Definitions = Definitions {
    side: Side::FrontEnd,
    start: Start::Received,
    first: First::Token,
    tpot: Tpot::Absent,
    itl: Itl::Absent,
    end: End::LastToken,
};

/// GuideLLM: from sending; the end of the response is a little after the last token, which ends
/// its mean time between tokens.
const CLIENT: Definitions = Definitions {
    side: Side::Client,
    start: Start::Sent,
    first: First::Chunk,
    tpot: Tpot::Absent,
    itl: Itl::MeanOfRequest,
    end: End::Response,
};

const SPAN_COLUMNS: [&str; 10] = [
    "start",
    "end",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.completion_tokens",
    "gen_ai.latency.e2e",
    "gen_ai.latency.time_to_first_token",
    "gen_ai.latency.time_in_queue",
    "gen_ai.latency.time_in_model_prefill",
    "gen_ai.latency.time_in_model_decode",
    "gen_ai.latency.time_in_model_inference",
];

const CLIENT_COLUMNS: [&str; 8] = [
    "strategy",
    "target_rate_rps",
    "status",
    "request_start_s",
    "ttft_ms",
    "e2e_ms",
    "prompt_tokens",
    "output_tokens",
];

/// Reads a run with spans, rows of the client, or both.
pub(super) fn read(folder: &Folder<'_>, problems: &mut Problems) -> Option<EngineRun> {
    let mut setting = config::read(folder, problems);
    let spans = table(folder, Role::Spans, &SPAN_COLUMNS, problems, spans);
    let client = table(folder, Role::Client, &CLIENT_COLUMNS, problems, client);
    let (client, phases) = client.unwrap_or_default();
    let has_client = !client.is_empty();
    let (arrivals, times) = match spans {
        Some(_) => (Clock::Unix, Some(Clock::Unix)),
        None => (Clock::Phase, None),
    };
    let (mut requests, mut unmatched) = match spans {
        Some(spans) => join(spans, client, phases.len()),
        None => (client, Vec::new()),
    };
    if times.is_none() && phases.len() > 1 {
        setting.notes.push(
            "The client's clock starts anew in each phase: arrivals of different phases cannot be \
             compared without the spans."
                .to_owned(),
        );
    }
    if !unmatched.is_empty() {
        setting.notes.push(format!("{} rows of the client fit no span.", unmatched.len()));
    }
    for request in requests.iter_mut().chain(&mut unmatched) {
        request.shared_prefix = setting.shared_prefix;
    }
    (!requests.is_empty()).then_some(EngineRun {
        config: setting.config,
        definitions: FRONT_END,
        client_definitions: has_client.then_some(CLIENT),
        clocks: Clocks { arrivals, times },
        phases,
        requests,
        unmatched,
        ticks: Vec::new(),
        log: setting.log,
        notes: setting.notes,
    })
}

/// Reads the table of one role with a reader of its rows.
fn table<T>(
    folder: &Folder<'_>,
    role: Role,
    columns: &[&str],
    problems: &mut Problems,
    read: impl FnOnce(&Table, &mut Problems) -> T,
) -> Option<T> {
    let file = folder.get(role)?;
    let mut of_file = Problems::of(file.name);
    let table = Table::read(file.text, columns, &mut of_file);
    let rows = table.map(|table| read(&table, &mut of_file));
    problems.absorb(of_file);
    rows
}

/// The requests of `spans.csv` in order of arrival.
fn spans(table: &Table, problems: &mut Problems) -> Vec<RunRequest> {
    let mut rows: Vec<(u64, RunRequest)> =
        table.rows().filter_map(|row| span_of(&row, problems)).collect();
    rows.sort_by_key(|(start, _)| *start);
    let first = rows.first().map_or(0, |(start, _)| *start);
    let mut requests = Vec::new();
    for (start, mut request) in rows {
        match value::since_ns(first, start) {
            Ok(arrival) => {
                request.arrival = arrival;
                requests.push(request);
            }
            Err(message) => problems.push(0, "start", format!("{}: {message}", request.id)),
        }
    }
    requests
}

fn span_of(row: &Row<'_>, problems: &mut Problems) -> Option<(u64, RunRequest)> {
    let start = row.whole("start", problems);
    let end = row.whole("end", problems);
    let input = row.tokens("gen_ai.usage.prompt_tokens", problems);
    let output = row.tokens("gen_ai.usage.completion_tokens", problems);
    let mut seconds = |name: &str| row.span(&format!("gen_ai.latency.{name}"), 1.0, problems);
    let (e2e, ttft) = (seconds("e2e"), seconds("time_to_first_token"));
    let queue = seconds("time_in_queue");
    let (prefill, decode) = (seconds("time_in_model_prefill"), seconds("time_in_model_decode"));
    let (start, end) = (start?, end?);
    if end < start {
        row.wrong("end", problems, format!("{end} is before `start` {start}"));
    }
    if ttft.zip(e2e).is_some_and(|(ttft, e2e)| ttft > e2e) {
        let column = "gen_ai.latency.time_to_first_token";
        row.wrong(column, problems, "the first token is after the end");
    }
    let request = RunRequest {
        id: format!("line {}", row.line),
        phase: None,
        arrival: Time::ZERO,
        input: input?,
        output: output?,
        shared_prefix: None,
        server: Some(ServerTimes {
            admission: None,
            queue: queue?,
            ttft: ttft?,
            e2e: e2e?,
            prefill,
            decode,
        }),
        client: None,
    };
    Some((start, request))
}

/// The requests of `requests.csv` in its order, and the phases that they make.
fn client(table: &Table, problems: &mut Problems) -> (Vec<RunRequest>, Vec<Phase>) {
    let mut phases: Vec<Phase> = Vec::new();
    let mut requests = Vec::new();
    for row in table.rows() {
        let strategy = row.text("strategy").unwrap_or_default();
        let rate =
            row.text("target_rate_rps").and_then(|_| row.number("target_rate_rps", problems));
        let phase = Phase { strategy: strategy.to_owned(), rate };
        if phases.last() != Some(&phase) {
            phases.push(phase);
        }
        requests.extend(client_row(&row, phases.len() - 1, problems));
    }
    (requests, phases)
}

fn client_row(row: &Row<'_>, phase: usize, problems: &mut Problems) -> Option<RunRequest> {
    let status = row.text("status").unwrap_or_default();
    let failed = status != "ok";
    let start = row.span("request_start_s", 1.0, problems);
    // A request that failed has no times and may have no tokens.
    let given = |column: &str| !failed || row.text(column).is_some();
    let mut tokens = |column| match given(column) {
        true => row.tokens(column, problems),
        false => Some(Tokens(0)),
    };
    let (input, output) = (tokens("prompt_tokens"), tokens("output_tokens"));
    let mut millis =
        |column: &str| given(column).then(|| row.span(column, 1e-3, problems)).flatten();
    let (ttft, e2e) = (millis("ttft_ms"), millis("e2e_ms"));
    // A single token has no gap, so the cell is empty.
    let itl = row.text("itl_mean_ms").and_then(|_| row.span("itl_mean_ms", 1e-3, problems));
    let start = Time(start?.0);
    Some(RunRequest {
        id: format!("line {}", row.line),
        phase: Some(phase),
        arrival: start,
        input: input?,
        output: output?,
        shared_prefix: None,
        server: None,
        client: Some(ClientTimes {
            start,
            ttft,
            e2e,
            itl,
            error: failed.then(|| status.to_owned()),
        }),
    })
}

/// Puts rows of the client to their spans, phase by phase; gives the spans, and the rows that fit
/// none.
fn join(
    mut spans: Vec<RunRequest>,
    client: Vec<RunRequest>,
    phases: usize,
) -> (Vec<RunRequest>, Vec<RunRequest>) {
    let mut rows: Vec<Vec<RunRequest>> = (0..phases).map(|_| Vec::new()).collect();
    for row in client {
        if let Some(rows) = row.phase.and_then(|phase| rows.get_mut(phase)) {
            rows.push(row);
        }
    }
    let mut unmatched = Vec::new();
    // The first span that may belong to the next phase.
    let mut next = 0;
    for mut rows in rows {
        rows.sort_by_key(|row| row.arrival);
        let mut by_tokens: BTreeMap<(Tokens, Tokens), VecDeque<usize>> = BTreeMap::new();
        for (index, span) in spans.iter().enumerate().skip(next).take(rows.len()) {
            by_tokens.entry((span.input, span.output)).or_default().push_back(index);
        }
        for row in rows {
            // What failed may or may not have reached the engine; nothing says which.
            let failed = row.client.as_ref().is_some_and(|times| times.error.is_some());
            let equal = by_tokens.get_mut(&(row.input, row.output)).filter(|_| !failed);
            let Some(index) = equal.and_then(VecDeque::pop_front) else {
                unmatched.push(row);
                continue;
            };
            next = next.max(index + 1);
            spans[index].phase = row.phase;
            spans[index].client = row.client;
        }
    }
    (spans, unmatched)
}
