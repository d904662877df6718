//! Probes of an engine in virtual time, whose coefficients a fit has to find.
//!
//! The engine is [`ReferenceReplica`], which shares no code of batches and leaps with the replica
//! that the fit simulates. Requests and tokens are delayed by random times on their way.

use super::super::design::{Cell, Levels, design};
use super::super::limits::Limits;
use super::super::results::{CellRow, CellStatus, RequestRow};
use super::*;
use sim::dice::{Dice, mix};
use sim::engine::reference::ReferenceReplica;
use sim::engine::{Scheduling, SchedulingPolicy, Submission};
use sim::units::{Blocks, Time, Tokens};
use sim::workload::Segment;
use std::collections::BTreeMap;
use std::time::Duration;

fn spec(budget: u32) -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(1 << 16),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(budget),
        max_num_seqs: 256,
        max_model_len: Tokens(32_768),
        prefix_caching: true,
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: true,
        long_prefill_token_threshold: Tokens(0),
        chunked_prefill: true,
        async_scheduling: false,
        max_num_queued_reqs: None,
        max_num_queued_tokens: None,
        prefill_schedule_interval: 1,
    }
}

/// What happens to requests on their way, in seconds.
struct Way {
    /// A request takes at least and at most so long.
    there: (f64, f64),
    /// An answer takes up to this long.
    back: f64,
    /// Of a hundred requests so many stall for 50 ms before their first token.
    stalls: u32,
}

const SMOOTH: Way = Way { there: (590e-6, 610e-6), back: 0.0, stalls: 0 };
const ROUGH: Way = Way { there: (300e-6, 600e-6), back: 300e-6, stalls: 5 };

/// Runs the cells of a design and writes down what a client sees.
fn probed(
    levels: &Levels,
    spec: &EngineSpec,
    step_time: &StepTime,
    way: &Way,
) -> (Vec<CellRow>, Vec<RequestRow>) {
    let limits =
        Limits { budget: Duration::from_secs(60), requests: 100_000, prices: None, spend: None };
    let (mut cells, mut requests) = (Vec::new(), Vec::new());
    for cell in design(levels, &limits, None).cells {
        let rows = run_cell(&cell, spec, step_time, way);
        cells.push(cell_row(&cell, &rows));
        requests.extend(rows);
    }
    (cells, requests)
}

fn run_cell(cell: &Cell, spec: &EngineSpec, step_time: &StepTime, way: &Way) -> Vec<RequestRow> {
    let mut replica = ReferenceReplica::new(spec.clone(), step_time.clone());
    let mut dice = Dice::stream(mix(7, u64::from(cell.number)));
    let shared = cell.input * cell.cached_percent / 100;
    // (arrival at the engine, lane, sequence, sent)
    let mut coming: Vec<(Time, u32, u32, f64)> = Vec::new();
    let mut rows = Vec::new();
    let began = 1.0;
    let send = |coming: &mut Vec<_>, dice: &mut Dice, lane, sequence, free: f64| {
        let sent = free + 50e-6 * (1.0 + dice.uniform());
        let there = way.there.0 + (way.there.1 - way.there.0) * dice.uniform();
        coming.push((Time(Span::from_secs_f64(sent + there).0), lane, sequence, sent));
        coming.sort_by_key(|one: &(Time, u32, u32, f64)| (one.0, one.1));
    };
    let lanes = if shared > 0 { 0..=cell.concurrency } else { 1..=cell.concurrency };
    for lane in lanes {
        // Lane 0 fills the cache long before.
        send(&mut coming, &mut dice, lane, 1, if lane == 0 { 0.0 } else { began + 60.0 });
    }
    let mut inside: BTreeMap<u32, (u32, u32, f64)> = BTreeMap::new();
    let (mut ended, mut calls) = (Vec::new(), 0);
    loop {
        let next = coming.first().map_or(Time::NEVER, |one| one.0);
        let now = replica.boundary().min(next);
        if now == Time::NEVER {
            return rows;
        }
        if replica.boundary() == now {
            replica.complete(now, &mut ended);
        }
        while coming.first().is_some_and(|one| one.0 == now) {
            let (at, lane, sequence, sent) = coming.remove(0);
            calls += 1;
            inside.insert(calls, (lane, sequence, sent));
            replica.submit(submission(cell, (calls, lane), shared, at));
        }
        if replica.boundary() == Time::NEVER {
            replica.schedule(now, &mut ended);
        }
        for end in ended.drain(..) {
            let (lane, sequence, sent) = inside[&end.call];
            let stall = if dice.uniform() * 100.0 < f64::from(way.stalls) { 50e-3 } else { 0.0 };
            let first = end.first_token.as_secs_f64() + way.back * dice.uniform() + stall;
            let last = end.ended.as_secs_f64() + way.back * dice.uniform();
            let last = if end.outputs > 1 { last.max(first) } else { first };
            let ttft_s = first - sent;
            let row = request_row(cell, (lane, sequence), sent, (ttft_s, last - sent));
            rows.push(RequestRow { cached_tokens: Some(end.hit_tokens), ..row });
            if lane > 0 && sequence < cell.waves {
                send(&mut coming, &mut dice, lane, sequence + 1, last);
            }
        }
    }
}

fn submission(cell: &Cell, (call, lane): (u32, u32), shared: u32, at: Time) -> Submission {
    let outputs = if lane == 0 { 1 } else { cell.output };
    let own = Segment { id: mix(3, u64::from(call)), tokens: cell.input - shared };
    let prefix = Segment { id: 99, tokens: shared };
    Submission {
        call,
        arrived: at,
        prompt: cell.input,
        outputs,
        max_tokens: outputs,
        ends_by_eos: false,
        priority: 0,
        segments: [prefix, own].into_iter().filter(|segment| segment.tokens > 0).collect(),
        output_segment: mix(4, u64::from(call)),
    }
}

fn request_row(
    cell: &Cell,
    (lane, sequence): (u32, u32),
    sent_s: f64,
    (ttft_s, last_token_s): (f64, f64),
) -> RequestRow {
    RequestRow {
        session: 1,
        cell: cell.number,
        lane,
        sequence,
        attempt: 1,
        sent_s,
        ttft_s: Some(ttft_s),
        last_token_s: Some(last_token_s),
        end_s: last_token_s,
        status: Some(200),
        cached_percent: cell.cached_percent,
        words: cell.input,
        input_tokens: Some(cell.input),
        cached_tokens: None,
        output_tokens: Some(if lane == 0 { 1 } else { cell.output }),
        output_source: "usage".to_owned(),
        chunks: cell.output,
        finish: "length".to_owned(),
        error: String::new(),
    }
}

fn cell_row(cell: &Cell, rows: &[RequestRow]) -> CellRow {
    let answered = rows.iter().filter(|row| row.lane > 0).count() as u64;
    CellRow {
        session: 1,
        cell: cell.number,
        purpose: cell.purpose.name().to_owned(),
        status: CellStatus::Complete,
        isl: cell.input,
        osl: cell.output,
        concurrency: cell.concurrency,
        cached_percent: cell.cached_percent,
        isl_wanted: cell.input,
        osl_wanted: cell.output,
        planned: cell.answers(),
        answered,
        errors: 0,
        ttft_ms: None,
        tpot_ms: None,
        cached_tokens: None,
        running: None,
        waiting: None,
        kv_usage: None,
        preemptions: None,
        prefix_queries: None,
        prefix_hits: None,
        tokens_per_chunk: Some(1.0),
        begin_s: 0.0,
        wall_s: 1.0,
        note: String::new(),
    }
}

fn levels(inputs: &[u32], outputs: &[u32], concurrencies: &[u32], cached: u32) -> Levels {
    Levels::new(inputs.to_vec(), outputs.to_vec(), concurrencies.to_vec(), cached).expect("valid")
}

/// About a model of 8 billion parameters on a fast GPU.
fn truth() -> ProbeCoefficients {
    ProbeCoefficients {
        iteration: 7e-3,
        chunks: 2.5e-3,
        sequence: 25e-6,
        kv_token: 35e-9,
        prompt_token: 22e-6,
        beyond: None,
        pairs: 0.4e-6,
        request: 600e-6,
        most_sequences: 16,
    }
}

/// Where a coefficient is further from the truth than it may be, in shares.
fn off(found: &ProbeCoefficients, truth: &ProbeCoefficients, most: f64) -> Vec<String> {
    let beyond = |of: &ProbeCoefficients| of.beyond.map_or(1.0, |(_, each)| each);
    let pairs = [
        ("iteration", found.iteration / truth.iteration),
        ("chunks", found.chunks / truth.chunks),
        ("sequence", found.sequence / truth.sequence),
        ("kv_token", found.kv_token / truth.kv_token),
        ("prompt_token", found.prompt_token / truth.prompt_token),
        ("beyond", beyond(found) / beyond(truth)),
        ("pairs", found.pairs / truth.pairs),
        ("request", found.request / truth.request),
    ];
    let too_far = pairs.iter().filter(|(_, ratio)| (ratio - 1.0).abs() > most);
    too_far.map(|(name, ratio)| format!("{name} × {ratio:.4}")).collect()
}

/// Prompts that are computed at once and in pieces, cold and cached.
#[test]
fn a_probe_finds_what_made_it() {
    let truth = truth();
    let step_time = truth.step_time().expect("valid");
    let levels = levels(&[128, 1_024, 4_096], &[16, 128], &[1, 4, 16], 75);
    for budget in [8_192, 1_500] {
        let spec = spec(budget);
        let (cells, requests) = probed(&levels, &spec, &step_time, &SMOOTH);
        let fit = fit_probe(&cells, &requests, &spec).expect("it can be fitted");
        assert!(fit.converged, "{fit:#?}");
        let off = off(&fit.coefficients, &truth, 0.03);
        assert!(off.is_empty(), "{budget}: {off:?}\n{:#?}", fit.found);
        for found in &fit.found {
            let (low, high) = found.interval.expect("told apart");
            assert!(low < found.value && found.value < high && high < low * 1.2, "{found:?}");
        }
        for cell in &fit.cells {
            let (ttft, tpot) = cell.errors;
            assert!(ttft.abs() < 0.01 && tpot.expect("answers of many").abs() < 0.01, "{cell:?}");
        }
        assert_eq!(fit.left_out, [(0, "a warm-up".to_owned()), (1, "a warm-up".to_owned())]);
        assert!(fit.drift.expect("anchors") < 1e-6);
    }
}

/// Requests and tokens come late by random times, and one of twenty stalls. What an iteration costs
/// is found as well, except that pairs, which take the least of all, are only known to lie in their
/// interval; the delays are taken for a time of requests.
#[test]
fn delays_and_stalls_change_little() {
    let truth = ProbeCoefficients { request: 600e-6, ..truth() };
    let step_time = truth.step_time().expect("valid");
    let spec = spec(8_192);
    let levels = levels(&[128, 1_024, 4_096], &[16, 128], &[1, 4, 16], 75);
    let (cells, requests) = probed(&levels, &spec, &step_time, &ROUGH);
    let fit = fit_probe(&cells, &requests, &spec).expect("it can be fitted");
    let known = |name: &str| {
        let found = fit.found.iter().find(|found| name.starts_with(found.name)).expect("fitted");
        let (low, high) = found.interval.expect("told apart");
        // What prompts have pairs for is three milliseconds of a hundred.
        found.name == "pairs" && (low..high).contains(&truth.pairs) && high < low * 1.2
    };
    let off = off(&fit.coefficients, &truth, 0.03);
    let off: Vec<&String> =
        off.iter().filter(|text| !text.starts_with("request") && !known(text)).collect();
    assert!(off.is_empty(), "{off:?}\n{:#?}", fit.found);
    assert!((fit.coefficients.request / 600e-6 - 1.0).abs() < 0.2, "{:?}", fit.coefficients);
}

/// Short chunks are bound by memory: a token of theirs costs less.
#[test]
fn with_prompt_lengths_enough_long_chunks_have_a_price_of_their_own() {
    let truth = ProbeCoefficients { prompt_token: 8e-6, beyond: Some((512, 22e-6)), ..truth() };
    let step_time = truth.step_time().expect("valid");
    let spec = spec(8_192);
    let levels = levels(&[128, 512, 2_048, 6_000], &[16, 64], &[1, 4, 16], 75);
    let (cells, requests) = probed(&levels, &spec, &step_time, &SMOOTH);
    let fit = fit_probe(&cells, &requests, &spec).expect("it can be fitted");
    let off = off(&fit.coefficients, &truth, 0.03);
    assert!(off.is_empty(), "{off:?}\n{:#?}", fit.found);
}

#[test]
fn what_the_cells_do_not_show_has_no_interval() {
    let truth = truth();
    let step_time = truth.step_time().expect("valid");
    let spec = spec(8_192);
    // A hundred tokens have too few pairs to tell anything.
    let levels = levels(&[32, 96], &[16], &[1, 4], 0);
    let (cells, requests) = probed(&levels, &spec, &step_time, &SMOOTH);
    let fit = fit_probe(&cells, &requests, &spec).expect("it can be fitted");
    let found = |name| fit.found.iter().find(|found| found.name == name).expect("fitted");
    assert!(found("iteration").interval.is_some(), "{:#?}", fit.found);
    assert!((found("iteration").value / truth.iteration - 1.0).abs() < 0.03);
    assert_eq!(found("pairs").interval, None, "{:#?}", fit.found);
}

#[test]
fn cells_with_trouble_are_left_out_and_too_few_are_an_error() {
    let step_time = truth().step_time().expect("valid");
    let spec = spec(8_192);
    let all = levels(&[128, 1_024, 2_048], &[16], &[1, 4], 50);
    let (mut cells, mut requests) = probed(&all, &spec, &step_time, &SMOOTH);
    cells[3].errors = 1;
    cells[4].status = CellStatus::Partial;
    let cached = cells.iter().position(|cell| cell.cached_percent > 0).expect("one");
    requests.iter_mut().filter(|r| r.cell as usize == cached).for_each(|r| r.cached_tokens = None);
    // Here the engine's metrics say it instead.
    let told = cells.iter().rposition(|cell| cell.cached_percent > 0).expect("another");
    let hits = |row: &RequestRow| u64::from(row.cached_tokens.unwrap_or(0));
    let of_told = requests.iter().filter(|row| row.cell as usize == told);
    cells[told].prefix_hits = Some(of_told.map(hits).sum());
    requests.iter_mut().filter(|r| r.cell as usize == told).for_each(|r| r.cached_tokens = None);
    let preempted = cells.iter().rposition(|cell| cell.purpose == "anchor").expect("one");
    cells[preempted].preemptions = Some(1);
    // A cell that a second session ran again counts by that.
    let again = CellRow { session: 2, ..cells[5].clone() };
    cells.push(again);
    requests.iter_mut().filter(|row| row.cell == 5).for_each(|row| row.session = 2);
    let fit = fit_probe(&cells, &requests, &spec).expect("enough is left");
    let reasons: Vec<(u32, &str)> =
        fit.left_out.iter().map(|(cell, why)| (*cell, why.as_str())).collect();
    assert!(told != cached && preempted != cached);
    assert!(reasons.contains(&(3, "requests failed")) && reasons.contains(&(4, "not complete")));
    let silent = (cached as u32, "the server does not say what its prefix cache had");
    assert!(reasons.contains(&silent), "{reasons:?}");
    assert!(reasons.contains(&(preempted as u32, "requests lost their blocks")), "{reasons:?}");
    assert!(fit.cells.iter().any(|cell| cell.cell == 5));
    let told = fit.cells.iter().find(|cell| cell.cell as usize == told).expect("used");
    assert!(told.errors.0.abs() < 0.01, "{told:?}");

    for (few, said) in [
        (levels(&[128, 1_024], &[1], &[1, 4], 0), "answers of two tokens"),
        (levels(&[128, 1_024], &[16], &[4], 0), "more concurrencies"),
        (levels(&[128], &[16], &[1, 4], 0), "same prompt length"),
    ] {
        let (cells, requests) = probed(&few, &spec, &step_time, &SMOOTH);
        let error = fit_probe(&cells, &requests, &spec).expect_err("too few").to_string();
        assert!(error.contains(said) && error.contains("cells are left out"), "{error}");
    }
    let tight = EngineSpec { chunked_prefill: false, ..super::tests::spec(512) };
    let error = fit_probe(&cells, &requests, &tight).expect_err("never fits");
    assert!(matches!(error, FitError::NeverFits(_)), "{error}");
}
