//! What goes wrong is written down, tried again, and changes nothing else.

use super::server::{Fault, Manners, Server};
use super::{Folder, key, levels, probe_of, quick, run_new};
use calibrate::probe::{Api, CellStatus, Dialect, Ended, Limit, Prices, RequestRow};
use sim::units::Money;
use std::collections::BTreeMap;
use std::time::Duration;

/// Attempts in the order in which they were sent.
fn in_order(mut rows: Vec<RequestRow>) -> Vec<RequestRow> {
    rows.sort_by(|a, b| a.sent_s.total_cmp(&b.sent_s));
    rows
}

#[test]
fn every_fault_is_a_row_and_is_tried_again() {
    let faults = BTreeMap::from([
        (2, Fault::TooMany(1)),
        (4, Fault::Cut(3)),
        (6, Fault::Malformed(2)),
        (8, Fault::Stall(1)),
        (10, Fault::Unavailable),
        (12, Fault::Error(4)),
    ]);
    let server = Server::start(quick(), Manners { faults, ..Manners::default() });
    let mut probe = probe_of(&server, levels(&[32], &[8], &[1], 0));
    probe.patience.stall = Duration::from_millis(1_500);
    let folder = Folder::new("faults");
    let summary = run_new(&probe, &folder.0);
    assert_eq!((&summary.ended, summary.complete()), (&Ended::Done, summary.cells));
    let rows = in_order(folder.requests());
    let errors = [
        (2, "status 429: slow down"),
        (4, "cut: "),
        (6, "malformed: "),
        (8, "stall: no byte for 1.5 s"),
        (10, "status 503: starting"),
        (12, "server: the engine died"),
    ];
    for (at, error) in errors {
        assert!(rows[at].error.starts_with(error), "{}: {:?}", at, rows[at]);
        let again = &rows[at + 1];
        assert_eq!((again.attempt, again.error.as_str()), (2, ""), "{again:?}");
        assert_eq!((again.cell, again.sequence), (rows[at].cell, rows[at].sequence));
    }
    assert_eq!(rows.iter().filter(|row| !row.error.is_empty()).count(), errors.len());
    assert!(rows[3].sent_s - rows[2].sent_s >= 1.0, "the server asked for a second");
    assert_eq!((rows[4].chunks, rows[8].chunks, rows[12].chunks), (3, 1, 4), "what came is kept");
    let gaps_of_the_cut = folder.gaps().iter().filter(|gap| gap.cell == rows[4].cell).count();
    assert!(gaps_of_the_cut >= 2);
    let cells = folder.cells();
    assert_eq!(cells.iter().map(|cell| cell.errors).sum::<u64>(), errors.len() as u64);
    assert!(cells.iter().all(|cell| cell.answered == cell.planned));
    let prompts = server.prompts();
    let different: std::collections::BTreeSet<_> = prompts.iter().collect();
    assert_eq!(different.len(), prompts.len(), "a retry sends words of its own");
}

#[test]
fn retries_have_an_end() {
    let faults = (2..100).map(|at| (at, Fault::Cut(1))).collect();
    let server = Server::start(quick(), Manners { faults, ..Manners::default() });
    let mut probe = probe_of(&server, levels(&[16, 32], &[4], &[1], 0));
    probe.retries = 0;
    let folder = Folder::new("retries");
    let summary = run_new(&probe, &folder.0);
    let Ended::Endpoint(why) = &summary.ended else { panic!("{summary:?}") };
    assert!(why.contains("cut: "), "{why}");
    assert_eq!(server.requests(), 12, "two cells of four without an answer, after the first");
    assert_eq!(folder.cells().last().expect("a cell").status, CellStatus::Failed);
}

#[test]
fn servers_that_refuse_options_are_asked_without_them() {
    for (manners, api, dialect, requests) in [
        (Manners { strict: true, ..Manners::default() }, Api::Chat, Dialect::OpenAi, 1),
        (
            Manners { counts_nothing: true, says_nothing: true, ..Manners::default() },
            Api::Completions,
            Dialect::Plain,
            2,
        ),
    ] {
        let counts = !manners.counts_nothing;
        let server = Server::start(quick(), manners);
        let mut probe = probe_of(&server, levels(&[32], &[6], &[2], 0));
        probe.api = api;
        let folder = Folder::new(&format!("refusals-{requests}"));
        let summary = run_new(&probe, &folder.0);
        assert_eq!((&summary.ended, summary.complete()), (&Ended::Done, summary.cells));
        let record = folder.record();
        assert_eq!(record.dialect, Some(dialect));
        assert_eq!(record.engine.owned_by.is_some(), counts);
        let rows = in_order(folder.requests());
        let refused = rows.iter().filter(|row| !row.error.is_empty()).count();
        assert_eq!(refused, requests, "{rows:#?}");
        let answered = rows.iter().filter(|row| row.error.is_empty());
        let source = if counts { "usage" } else { "chunks" };
        for row in answered {
            assert_eq!((row.output_source.as_str(), row.input_tokens.is_some()), (source, counts));
        }
        let said = folder
            .cells()
            .iter()
            .all(|cell| cell.note.contains("answer tokens are chunks") != counts);
        assert!(said, "{:#?}", folder.cells());
    }
}

#[test]
fn a_wrong_key_ends_it_and_is_written_nowhere() {
    let wanted = Some("right".to_owned());
    let server = Server::start(quick(), Manners { key: wanted, ..Manners::default() });
    let mut probe = probe_of(&server, levels(&[16], &[4], &[1], 0));
    probe.key = key("sk-secret-and-wrong");
    let folder = Folder::new("wrong-key");
    let summary = run_new(&probe, &folder.0);
    let Ended::Endpoint(why) = &summary.ended else { panic!("{summary:?}") };
    assert!(why.contains("401") && why.contains("[key]"), "{why}");
    assert_eq!(folder.requests().len(), 1);
    assert!(!folder.everything().contains("sk-secret-and-wrong"));
    assert!(!format!("{probe:?}{summary:?}").contains("sk-secret-and-wrong"));

    probe.key = key("right");
    let folder = Folder::new("right-key");
    let summary = run_new(&probe, &folder.0);
    assert_eq!(summary.ended, Ended::Done);
    assert!(!folder.everything().contains("right"));
}

#[test]
fn limits_hold_with_retries() {
    let faults = (3..1_000).map(|at| (at, Fault::Unavailable)).collect();
    let server = Server::start(quick(), Manners { faults, ..Manners::default() });
    let mut probe = probe_of(&server, levels(&[16], &[4], &[1], 0));
    // The plan needs twelve requests; the retries would be many more.
    probe.limits.requests = 15;
    probe.retries = 1_000;
    probe.limits.budget = Duration::from_secs(3);
    let folder = Folder::new("limits");
    let summary = run_new(&probe, &folder.0);
    assert!(matches!(summary.ended, Ended::Limit(Limit::Time | Limit::Requests)), "{summary:?}");
    assert!(server.requests() <= 15);
    assert_eq!(summary.taken.requests as usize, server.requests());

    let server = Server::start(quick(), Manners::default());
    let mut probe = probe_of(&server, levels(&[16], &[4], &[1, 4], 0));
    let dollar = Money(Money::PICO_PER_DOLLAR);
    probe.limits.prices = Some(Prices { input: dollar, output: dollar });
    // Four hundred tokens at a millionth of a dollar each.
    probe.limits.spend = Some(Money(400 * 1_000_000));
    let folder = Folder::new("spend");
    let summary = run_new(&probe, &folder.0);
    assert!(!summary.dropped.is_empty(), "the design leaves out what is too dear");
    assert!(summary.taken.spend <= Money(400 * 1_000_000), "{summary:?}");
    let tokens: u32 = folder
        .requests()
        .iter()
        .map(|row| row.input_tokens.expect("counted") + row.output_tokens.expect("counted"))
        .sum();
    assert_eq!(summary.taken.spend, Money(i128::from(tokens) * 1_000_000), "what was billed");
}
