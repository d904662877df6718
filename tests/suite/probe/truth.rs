//! What is measured from outside is what happened inside.

use super::engine::Truth;
use super::server::{AROUND, Manners, Server};
use super::{Folder, levels, probe_of, quick, run_new, step_time};
use calibrate::probe::{Address, CellStatus, Ended, MetricsRow, RequestRow, When, read_rows};

/// The lowest tenth. A busy machine delays many requests by whole time slices and makes none early,
/// so the lowest differences are what the measurement itself is off by.
fn lowest_tenth(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}

/// Measured rows and what the engine says of them, both in their order of arrival.
fn pairs(rows: &[RequestRow], truths: &[Truth]) -> Vec<(RequestRow, Truth)> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.sent_s.total_cmp(&b.sent_s));
    assert_eq!(rows.len(), truths.len());
    rows.into_iter().zip(truths.iter().copied()).collect()
}

#[test]
fn measured_times_are_those_of_the_engine() {
    let server = Server::start(step_time(), Manners::default());
    let mut probe = probe_of(&server, levels(&[64, 320], &[10], &[1, 4], 50));
    probe.metrics = Some(Address::new(&server.metrics()).expect("an address"));
    let folder = Folder::new("truth");
    let summary = run_new(&probe, &folder.0);
    assert_eq!(summary.ended, Ended::Done, "{summary:?}");
    assert_eq!(summary.complete(), summary.cells);
    let rows = folder.requests();
    assert!(rows.iter().all(|row| row.error.is_empty() && row.attempt == 1), "{rows:#?}");
    let pairs = pairs(&rows, &server.truths());
    // No token is seen before it is written. Lanes beside each other may arrive in another order
    // than they were sent, so only those that are alone can be compared one by one.
    let alone = |row: &RequestRow| {
        folder.cells().iter().any(|cell| cell.cell == row.cell && cell.concurrency == 1)
    };
    for (row, truth) in pairs.iter().filter(|(row, _)| alone(row)) {
        let true_one = (truth.first_token - truth.received).as_secs_f64();
        assert!(row.ttft_s.expect("answered") > true_one - 1e-6, "{row:?} {truth:?}");
    }
    let off = |of: fn(&RequestRow, &Truth) -> Option<f64>| {
        let all = pairs.iter().filter_map(|(row, truth)| of(row, truth));
        lowest_tenth(all.map(f64::abs).collect())
    };
    // First tokens take 13 to 106 ms. Sockets and threads lie between the two clocks, which adds a
    // time of its own and no share.
    let ttft =
        off(|row, truth| Some(row.ttft_s? - (truth.first_token - truth.received).as_secs_f64()));
    assert!(ttft < 0.002, "the first token is off by {ttft} s");
    let tpot = off(|row, truth| {
        let gaps = f64::from(truth.outputs.checked_sub(1).filter(|&gaps| gaps > 0)?);
        let decoding = (truth.ended - truth.first_token).as_secs_f64() / gaps;
        Some((row.last_token_s? - row.ttft_s?) / gaps / decoding - 1.0)
    });
    assert!(tpot < 0.02, "the time between tokens is off by a share of {tpot}");

    // Counts are those of the server, and lengths come out as wanted once words are known.
    for (row, truth) in &pairs {
        assert_eq!(
            (row.input_tokens, row.output_tokens),
            (Some(truth.prompt), Some(truth.outputs))
        );
    }
    for cell in folder.cells().iter().filter(|cell| cell.purpose != "warm-up") {
        assert_eq!(cell.status, CellStatus::Complete);
        assert!(cell.isl.abs_diff(cell.isl_wanted) <= 1, "{cell:?}");
        assert_eq!((cell.osl, cell.errors, cell.answered), (10, 0, cell.planned), "{cell:?}");
        assert_eq!(cell.note, "");
        let of_cell = rows.iter().filter(|row| row.cell == cell.cell && row.lane > 0);
        let ttfts: Vec<f64> = of_cell.filter_map(|row| row.ttft_s).collect();
        let mean = ttfts.iter().sum::<f64>() / ttfts.len() as f64;
        assert!((cell.ttft_ms.expect("measured") / 1e3 - mean).abs() < 1e-9);
    }

    // Cold prompts hit nothing, cached ones their whole shared blocks.
    for (row, truth) in &pairs {
        if row.cached_percent == 0 || row.lane == 0 {
            assert_eq!(truth.hit_tokens, 0, "{row:?}");
        } else {
            let half = truth.prompt / 2;
            let hit = (half - AROUND - 16..=half + 1).contains(&truth.hit_tokens);
            assert!(hit, "{} of {}: {row:?}", truth.hit_tokens, truth.prompt);
        }
    }
    let record = folder.record();
    assert_eq!(record.engine.owned_by.as_deref(), Some("vllm"));
    assert_eq!(record.engine.max_model_len, Some(8_192));
    assert_eq!(record.engine.version.as_deref(), Some("0.33.0"));
    let pages = std::fs::read_dir(folder.0.join("metrics")).expect("metrics").count();
    assert_eq!(pages, 2 * summary.cells);
    assert!(folder.everything().contains("vllm:request_success_total"));
    metrics_are_read(&folder, &pairs);
}

/// What the engine's pages say stands in the tables.
fn metrics_are_read(folder: &Folder, pairs: &[(RequestRow, Truth)]) {
    let record = folder.record();
    assert_eq!(record.engine.metrics_of.as_deref(), Some("vllm"));
    assert_eq!(record.engine.kv_capacity, Some(8_192 * 16));
    let pages: Vec<MetricsRow> = read_rows(&folder.0.join("metrics.csv")).expect("metrics");
    for cell in folder.cells() {
        let of_cell = pairs.iter().filter(|(row, _)| row.cell == cell.cell);
        let (mut looked_up, mut found) = (0, 0);
        for (_, truth) in of_cell {
            looked_up += u64::from(truth.prompt);
            found += u64::from(truth.hit_tokens);
        }
        assert_eq!((cell.prefix_queries, cell.prefix_hits), (Some(looked_up), Some(found)));
        assert_eq!((cell.preemptions, cell.waiting, cell.kv_usage), (Some(0), None, None));
        assert!(cell.running.is_some_and(|most| most <= f64::from(cell.concurrency)), "{cell:?}");
        let when: Vec<When> =
            pages.iter().filter(|page| page.cell == cell.cell).map(|page| page.when).collect();
        assert_eq!((when.first(), when.last()), (Some(&When::Before), Some(&When::After)));
    }
}

#[test]
fn gaps_add_up_and_name_their_tokens() {
    let server = Server::start(quick(), Manners { tokens_per_chunk: 4, ..Manners::default() });
    let folder = Folder::new("gaps");
    run_new(&probe_of(&server, levels(&[32], &[10], &[2], 0)), &folder.0);
    let gaps = folder.gaps();
    for row in folder.requests().iter().filter(|row| row.output_tokens == Some(10)) {
        let of_row: Vec<_> = gaps
            .iter()
            .filter(|gap| (gap.cell, gap.lane, gap.sequence) == (row.cell, row.lane, row.sequence))
            .collect();
        assert_eq!((row.chunks, of_row.len()), (3, 2), "10 tokens in chunks of 4, 4 and 2");
        assert_eq!(of_row.iter().map(|gap| gap.tokens).collect::<Vec<_>>(), [Some(8), Some(10)]);
        let sum: f64 = of_row.iter().map(|gap| gap.gap_s).sum();
        let decoding = row.last_token_s.expect("answered") - row.ttft_s.expect("answered");
        assert!((sum - decoding).abs() < 1e-9);
    }
    let cells = folder.cells();
    let told = cells
        .iter()
        .filter(|cell| cell.purpose != "warm-up")
        .all(|cell| (cell.tokens_per_chunk.expect("answered") - 10.0 / 3.0).abs() < 1e-9);
    assert!(told, "{cells:#?}");
}
