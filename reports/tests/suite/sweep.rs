//! A sweep's documents: what is written is read back, and a table has a place for everything.

use polars::prelude::{AnyValue, DataFrame, DataType, ParquetReader, SerReader};
use reports::sweep::{CellDocument, Columns, Manifest, Overview, Rows};
use serde_json::json;
use std::io::Cursor;

fn manifest(cells: usize) -> Manifest {
    let text = json!({
        "schema": "surgeline.sweep/1", "version": "1.2.3",
        "scenario": {"name": "chat_*", "sha256": "ab"},
        "levers": [
            {"key": "pools.a.replicas", "values": ["1", "2"]},
            {"key": "pools.b.replicas", "values": ["0.5", "1"]},
            {"key": "traffic.web.scale", "values": ["1x", "2x"]},
            {"key": "chat.p95_latency", "values": ["1", "inf"]},
        ],
        "design": {"kind": "lhs", "points": cells}, "seed": u64::MAX, "replications": "auto",
        "cells": cells,
    });
    Manifest::parse(&text.to_string()).expect("a manifest")
}

const OVERRIDES: &str = r#"{"pools.a.replicas": "2", "pools.b.replicas": "0.5",
                           "traffic.web.scale": "2x", "chat.p95_latency": "inf"}"#;

fn cell(number: usize, value: Option<f64>) -> CellDocument {
    let estimate = |value: Option<f64>| json!({"unit": "s", "value": value, "low": value.map(|x| x * 0.9), "high": null});
    let text = json!({
        "schema": "surgeline.sweep.cell/1", "cell": number,
        "overrides": "OVERRIDES",
        "refused": null,
        "result": {
            "scenario_sha256": "cd", "result_sha256": "ef", "replications": 3,
            "stopped": {"code": "fixed"}, "simulated_seconds": 1.0, "warm_up_seconds": 0.0,
            "measured_seconds": 1.0, "events": 9, "log_hashes": ["00"],
            "tasks": {"chat": {"arrived": 1, "succeeded": 1, "failed": 0, "rejected": 0,
                               "abandoned": 0, "in_flight": 0}},
            "stability": {"verdict": if value.is_some() { "stable" } else { "unstable" }, "why": ""},
            "objectives": [{"name": "chat.p95_latency", "target": "<= 1s", "value": value,
                            "low": null, "high": null, "met": value.map(|x| x <= 1.0)}],
            "numbers": "NUMBERS",
            "warnings": [],
        },
    });
    // The order of what is named counts, and the macro would not keep it.
    let number = estimate(value);
    let numbers = format!("{{\"zeta\": {number}, \"chat.p95_latency\": {number}}}");
    let text =
        text.to_string().replace("\"OVERRIDES\"", OVERRIDES).replace("\"NUMBERS\"", &numbers);
    CellDocument::parse(&text).expect("a cell")
}

fn refused(number: usize) -> CellDocument {
    let why = json!("x.toml:1:1: no\u{1b}[2J\nsecond");
    let text = format!(
        "{{\"schema\": \"surgeline.sweep.cell/1\", \"cell\": {number}, \"overrides\": {OVERRIDES}, \
         \"refused\": {why}, \"result\": null}}"
    );
    CellDocument::parse(&text).expect("a cell")
}

#[test]
fn what_is_read_back_is_what_was_written_to_the_last_digit() {
    let mut dice = sim::dice::Dice::stream(3);
    for number in 0..2_000 {
        let value = f64::from_bits(dice.bits());
        let written = cell(number, value.is_finite().then_some(value));
        let text = written.render();
        let read = CellDocument::parse(&text).expect("a cell");
        assert!(read == written && read.render() == text, "{text}");
        let found = read.number("zeta").and_then(|number| number.value);
        assert_eq!(found.map(f64::to_bits), value.is_finite().then_some(value.to_bits()));
    }
    let written = manifest(3);
    assert_eq!(Manifest::parse(&written.render()).as_ref(), Ok(&written));
    assert_eq!(written.seed, u64::MAX);
    for (text, said) in [
        ("", "EOF"),
        ("{}", "schema"),
        ("{\"schema\": \"surgeline.sweep/2\"}", "this version knows `surgeline.sweep/1`"),
        ("{\"schema\": \"surgeline.sweep/1\"}", "missing field"),
    ] {
        assert!(Manifest::parse(text).is_err_and(|why| why.contains(said)), "{text}");
    }
    let other = cell(1, None).render().replace("cell/1", "cell/9");
    assert!(CellDocument::parse(&other).is_err_and(|why| why.contains("cell/9")));
}

fn table(cells: Vec<CellDocument>) -> DataFrame {
    let manifest = manifest(cells.len());
    let mut columns = Columns::of(&manifest);
    cells.iter().for_each(|cell| columns.learn(cell));
    let mut bytes = Vec::new();
    let mut rows = Rows::new(&columns, &mut bytes).expect("a file");
    cells.into_iter().for_each(|cell| rows.add(cell).expect("a row"));
    rows.finish().expect("a file");
    ParquetReader::new(Cursor::new(bytes)).finish().expect("a table")
}

#[test]
fn the_table_has_a_column_for_everything_and_no_name_twice() {
    let frame = table(vec![cell(0, Some(0.25)), refused(1), cell(2, None)]);
    let names: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    assert_eq!(
        names,
        [
            "cell",
            "pools.a.replicas",
            "pools.b.replicas",
            "traffic.web.scale",
            "chat.p95_latency",
            "refused",
            "replications",
            "events",
            "stability",
            "zeta",
            "zeta.low",
            "zeta.high",
            "chat.p95_latency#2",
            "chat.p95_latency.low",
            "chat.p95_latency.high",
            "chat.p95_latency.met",
        ]
    );
    let kind = |name: &str| frame.column(name).expect("a column").dtype().clone();
    assert_eq!(kind("pools.a.replicas"), DataType::Int64);
    assert_eq!(kind("pools.b.replicas"), DataType::Float64);
    for text in ["traffic.web.scale", "chat.p95_latency", "refused"] {
        assert_eq!(kind(text), DataType::String, "{text}");
    }
    let at = |name: &str, row: usize| {
        frame.column(name).expect("a column").get(row).expect("a row").into_static()
    };
    assert_eq!(at("zeta", 0), AnyValue::Float64(0.25));
    assert_eq!(at("zeta.low", 0), AnyValue::Float64(0.25 * 0.9));
    assert_eq!(at("pools.b.replicas", 1), AnyValue::Float64(0.5));
    assert_eq!(at("chat.p95_latency.met", 0), AnyValue::Boolean(true));
    for (name, row) in [("zeta.high", 0), ("zeta", 1), ("events", 1), ("stability", 1), ("zeta", 2)]
    {
        assert_eq!(at(name, row), AnyValue::Null, "{name} of {row}");
    }
    // More than one batch, the columns of the last cell among them.
    let many = table((0..3_000).map(|number| cell(number, Some(number as f64))).collect());
    assert_eq!(many.height(), 3_000);
    let last = many.column("zeta").expect("a column").get(2_999).expect("a row").into_static();
    assert_eq!(last, AnyValue::Float64(2_999.0));
}

#[test]
fn the_page_counts_what_it_does_not_show() {
    let manifest = manifest(50);
    let mut overview = Overview::of(&manifest);
    overview.add(&refused(0));
    overview.add(&cell(1, None));
    (2..48).for_each(|number| overview.add(&cell(number, Some(0.5))));
    let text = overview.text(&[]);
    for wanted in [
        "Sweep of chat_*: Latin hypercube of 50 points, 50 cells, seed 18446744073709551615",
        "48 of 50 cells are there so far.",
        "Objectives: met in 46, missed in 0, undecided in 1. Not stable: 1. Refused by the scenario: 1.",
        "The first 40 cells are shown; 8 more are in sweep.parquet and in cells/.",
        "a.replicas",
        "refused: x.toml:1:1: no",
        "unstable",
        "500 ms",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains("second"));
    assert_eq!(text.lines().filter(|line| line.contains("500 ms")).count(), 38);
    let page = overview.markdown(&[]);
    assert!(page.starts_with("## chat\\_\\*\n") && page.contains("| refused: x.toml"), "{page}");
}
