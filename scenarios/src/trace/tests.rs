//! Shipped files against their published statistics, bad rows against their positions, hostile
//! files against the limits, and mutated files against panics.

use super::*;
use sim::units::{Span, Time};
use std::io::Write;
use std::path::PathBuf;

const MOONCAKE: &str = "{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 5, \"hash_ids\": [0, 1]}\n\
    {\"timestamp\": 3000, \"input_length\": 512, \"output_length\": 7, \"hash_ids\": [0]}\n";
const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n";
const BURSTGPT: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
    5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,0,0,0,API log\n";
const CSV: &str = "at,input,output,session,segments\n0.5,100,7,a,\"[[1,60],[2,40]]\"\n\
    1.25,60,7,b,\"[[1,60]]\"\n1.5,5,1,,\n";
const JSONL: &str = "{\"at\": 0.5, \"input\": 100, \"output\": 7, \"session\": \"a\", \"segments\": [[1,60],[2,40]]}\n\
    {\"at\": 1.25, \"input\": 60, \"output\": 7, \"session\": 7, \"segments\": [[1,60]]}\n";
const RAG: &str = "{\"timestamp\": \"82\", \"input_length\": 108, \"output_length\": 9, \"hash_ids\": {\"sys_prompt\": [1], \"passages_ids\": [2], \"history\": [], \"web_search\": [], \"user_input\": [4]}, \"session_id\": \"s1\"}\n\
    {\"timestamp\": \"93\", \"input_length\": 58, \"output_length\": 9, \"hash_ids\": {\"sys_prompt\": [1], \"passages_ids\": [], \"history\": [], \"web_search\": [], \"user_input\": []}, \"session_id\": \"s2\"}\n";
const RAG_PARTS: ragpulse::PartFiles<'static> = ragpulse::PartFiles {
    sys_prompt: b"{\"sys_prompt_id\": 1, \"token_length\": 50}\n",
    passages: b"{\"passage_id\": 2, \"token_length\": 40}\n",
    history: b"",
    user_input: b"{\"user_input_id\": 4, \"token_length\": 10}\n\n",
    web_search: b"",
};

fn data(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/traces").join(file)
}

fn shipped(format: TraceFormat, file: &str) -> (Trace, TraceReport) {
    read_file(format, &data(file)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Variance over mean of the counts in whole windows.
fn dispersion(trace: &Trace, window_s: u64) -> f64 {
    let window = Span::from_secs(window_s).0;
    let last = trace.rows.last().unwrap().at.0;
    let mut counts = vec![0_f64; (last / window) as usize];
    for row in &trace.rows {
        if let Some(count) = counts.get_mut((row.at.0 / window) as usize) {
            *count += 1.0;
        }
    }
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0) / mean
}

#[test]
fn azure_code_has_its_published_statistics() {
    let (trace, report) = shipped(TraceFormat::Azure2023, "azure-code-2023.csv.gz");
    assert_eq!(report.rows, 8_819);
    assert_eq!(report.first_to_last.as_secs_f64() as u64, 3_435);
    assert_eq!(report.input.mean.round(), 2_048.0);
    assert_eq!((report.input.p50, report.input.p95, report.input.max), (1_469, 7_315, 7_437));
    assert!((report.output.mean - 27.9).abs() < 0.05);
    assert_eq!((report.output.p50, report.output.p99, report.output.max), (13, 252, 1_899));
    assert_eq!(report.suggested_jitter, Span::ZERO);
    for (window, expected, slack) in
        [(1, 13.2, 0.05), (10, 71.9, 0.1), (60, 166.9, 0.1), (600, 243.0, 0.5)]
    {
        let found = dispersion(&trace, window);
        assert!((found - expected).abs() < slack, "{window} s: {found} for {expected}");
    }
}

#[test]
fn azure_conversation_is_its_first_half() {
    let (trace, report) = shipped(TraceFormat::Azure2023, "azure-conv-2023.first-half.csv.zst");
    assert_eq!(report.rows, 9_754);
    assert!((report.first_to_last.as_secs_f64() - 1_753.0).abs() < 1.0);
    assert_eq!((trace.rows[0].at, trace.rows[0].input, trace.rows[0].output), (Time(0), 374, 44));
    // 18:15:50.9951690 − 18:15:46.6805900 = 4.3145790 s.
    assert_eq!(trace.rows[1].at, Time(4_314_579_000_000));
    // Computed independently from the text. The whole file has 1.39, 3.87 and 16.4: the hump of its
    // rate lies in the half that is missing.
    for (window, expected) in [(1, 1.305_928), (10, 3.069_283), (60, 12.936_813)] {
        let found = dispersion(&trace, window);
        assert!((found - expected).abs() < 1e-5, "{window} s: {found} for {expected}");
    }
}

#[test]
fn mooncake_has_its_published_statistics() {
    let (trace, report) = shipped(TraceFormat::Mooncake, "mooncake-conversation.jsonl.gz");
    assert_eq!(report.rows, 12_031);
    assert_eq!(report.first_to_last, Span::from_millis(3_536_999));
    assert_eq!(report.tick, Span::from_millis(3_000));
    assert_eq!(report.suggested_jitter, report.tick);
    assert_eq!(
        (report.input.mean.round(), report.input.p50, report.input.max),
        (12_035.0, 6_909, 126_195)
    );
    assert_eq!((report.output.mean.round(), report.output.p50), (343.0, 350));
    assert_eq!(report.segments, 288_500);
    let ids: std::collections::BTreeSet<u64> = trace.segments.iter().map(|s| s.id).collect();
    assert_eq!(ids.len(), 182_790);
    assert!((dispersion(&trace, 10) - 2.1).abs() < 0.2);
}

#[test]
fn burstgpt_failures_are_left_out_and_counted() {
    let (_, report) = shipped(TraceFormat::BurstGpt, "burstgpt-1.first-400.csv");
    assert_eq!((report.rows_read, report.rows, report.skipped[0].rows), (400, 383, 17));
    assert_eq!((report.input.mean.round(), report.output.mean.round()), (544.0, 289.0));
    assert_eq!(report.first_to_last, Span::from_secs(37_269));
    assert_eq!((report.tick, report.suggested_jitter), (Span::from_secs(1), Span::ZERO));
}

#[test]
fn segments_are_shared_between_sessions_only() {
    let shared = |(trace, _): (Trace, TraceReport)| -> Vec<(u64, u32, bool)> {
        trace.segments.iter().map(|s| (s.id, s.tokens, s.shared)).collect()
    };
    let csv = read_bytes(TraceFormat::GenericCsv, "t", CSV.as_bytes()).unwrap();
    assert_eq!(
        (csv.0.rows[0].session, csv.0.rows[1].session, csv.0.rows[2].session),
        (0, 1, u32::MAX)
    );
    assert_eq!((csv.0.rows[1].at, csv.0.rows[2].segments_len), (Time(750_000_000_000), 0));
    assert_eq!((csv.1.sessions, csv.1.rows_in_sessions, csv.1.shared_segments), (2, 2, 2));
    assert_eq!(csv.0.rows.iter().map(|row| row.context).collect::<Vec<_>>(), [0, 60, 0]);
    assert_eq!(shared(csv), [(1, 60, true), (2, 40, false), (1, 60, true)]);
    let same = CSV.replace(",b,", ",a,");
    let one = read_bytes(TraceFormat::GenericCsv, "t", same.as_bytes()).unwrap();
    assert_eq!(shared(one), [(1, 60, false), (2, 40, false), (1, 60, false)]);
    let jsonl = read_bytes(TraceFormat::GenericJsonl, "t", JSONL.as_bytes()).unwrap();
    assert_eq!(shared(jsonl), [(1, 60, true), (2, 40, false), (1, 60, true)]);
    let mooncake = read_bytes(TraceFormat::Mooncake, "t", MOONCAKE.as_bytes()).unwrap();
    assert_eq!(mooncake.0.rows.iter().map(|row| row.context).collect::<Vec<_>>(), [0, 512]);
    assert_eq!(shared(mooncake), [(0, 512, true), (1, 188, false), (0, 512, true)]);
    let rag = ragpulse::read_bytes("t", RAG.as_bytes(), &RAG_PARTS, &Limits::default()).unwrap();
    let (kind, rest) = (1_u64 << 32, 1_u64 << 63);
    assert_eq!(
        shared(rag),
        [
            (1, 50, true),
            (kind + 2, 40, false),
            (4 * kind + 4, 10, false),
            (rest, 8, false),
            (1, 50, true),
            (rest + 1, 8, false)
        ]
    );
}

/// `format`, the sample, what is replaced in it, by what; then line, column and a part of the message.
type BadRow = (TraceFormat, &'static str, &'static str, &'static str, u64, u64, &'static str);

#[test]
fn bad_rows_are_found_where_they_are() {
    use TraceFormat::{Azure2023, BurstGpt, GenericCsv, GenericJsonl, Mooncake};
    let rows: &[BadRow] = &[
        (Azure2023, AZURE, "TIMESTAMP", "TIME", 1, 1, "must name the column `TIMESTAMP`"),
        (Azure2023, AZURE, "11-16 18:15:50", "11-31 18:15:50", 3, 1, "`TIMESTAMP`: found"),
        (Azure2023, AZURE, ",396,", ",396.5,", 3, 29, "`ContextTokens`: found `396.5`"),
        (Azure2023, AZURE, ",396,", ",396", 3, 1, "2 fields where the first line has 3"),
        (Azure2023, AZURE, ",396,", ",\"396,", 3, 29, "is not closed"),
        (Azure2023, AZURE, ",396,", ",3\u{0}6,", 3, 30, "NUL byte"),
        (BurstGpt, BURSTGPT, "490", "491", 2, 18, "490 tokens in the parts, but 491"),
        (BurstGpt, BURSTGPT, "45,", "-45,", 3, 1, "`Timestamp`: found `-45`"),
        (BurstGpt, BURSTGPT, "472,18,490", "0,18,18", 2, 11, "only in a failed request"),
        (Mooncake, MOONCAKE, "[0, 1]", "[0]", 1, 71, "1 block ids for 700 input tokens"),
        (Mooncake, MOONCAKE, "[0, 1]", "[0, -1]", 1, 76, "block ids"),
        (Mooncake, MOONCAKE, "[0, 1]}", "[0, 1]", 1, 76, "not a JSON object"),
        (Mooncake, MOONCAKE, "3000", "1e3", 2, 15, "whole milliseconds"),
        (Mooncake, MOONCAKE, "\"output_length\": 7, ", "", 2, 1, "`output_length`: missing"),
        (GenericCsv, CSV, "output", "outptu", 1, 10, "unknown name `outptu`"),
        (GenericCsv, CSV, "input", "at", 1, 4, "twice"),
        (GenericCsv, CSV, "[[1,60],[2,40]]", "[[1,60]]", 2, 13, "60 tokens in the parts, but 100"),
        (GenericCsv, CSV, "0.5", "0.1234567891", 2, 1, "nine decimals"),
        (GenericJsonl, JSONL, "\"session\": 7", "\"sesion\": 7", 2, 50, "unknown name `sesion`"),
        (GenericJsonl, JSONL, "\"session\": 7", "\"session\": [7]", 2, 51, "session's name"),
        (GenericJsonl, JSONL, "0.5", "NaN", 1, 8, "not a JSON object"),
        (GenericJsonl, JSONL, "0.5", "\"0.5\"", 1, 8, "seconds, not negative"),
    ];
    for (format, sample, from, to, line, column, message) in rows {
        let text = sample.replacen(from, to, 1);
        assert_ne!(&text, sample, "{from}");
        let problems = read_bytes(*format, "f", text.as_bytes()).unwrap_err();
        let first = problems[0].to_string();
        assert!(first.starts_with(&format!("f:{line}:{column}: ")), "{first} for {line}:{column}");
        assert!(first.contains(message), "{first}\n{message}");
    }
}

#[test]
fn a_misspelt_name_is_recognised_and_reported_once() {
    use TraceFormat::{Azure2023, GenericCsv, GenericJsonl, Mooncake};
    for (format, sample, from, to, message) in [
        (GenericCsv, CSV, "input", "inptu", "unknown name `inptu`, did you mean `input`?"),
        (GenericJsonl, JSONL, "\"input\"", "\"inptu\"", "`inptu`, did you mean `input`?"),
        (Azure2023, AZURE, "TIMESTAMP", "TIMESTMP", "`TIMESTAMP` (is it `TIMESTMP`?)"),
        (Mooncake, MOONCAKE, "input_length", "inptu_length", "missing (is it `inptu_length`?)"),
    ] {
        let text = sample.replacen(from, to, 1);
        assert_ne!(&text, sample, "{from}");
        let problems = read_bytes(format, "f", text.as_bytes()).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{to}: {problems:?}") };
        assert!(problem.to_string().contains(message), "{problem}");
    }
}

#[test]
fn no_number_is_read_wrong() {
    let hostile = [
        "",
        "-1",
        "-0",
        "+1",
        "0",
        "1.5",
        "1e3",
        "NaN",
        "inf",
        "9223372036854775808",
        "18446744073709551616",
        "10000001",
        "99999999999999999999999",
        "0x10",
        " 7",
        "١",
    ];
    for value in hostile {
        for (column, field) in [(0, "at"), (1, "input"), (2, "output")] {
            if column == 0 && ["0", "1.5", "10000001"].contains(&value) {
                continue;
            }
            let mut row = ["7", "7", "7"];
            row[column] = value;
            let csv = format!("at,input,output\n{}\n", row.join(","));
            let problems = read_bytes(TraceFormat::GenericCsv, "f", csv.as_bytes()).unwrap_err();
            let place = (problems[0].line, problems[0].column, problems[0].field.as_deref());
            assert_eq!(place, (2, 1 + 2 * column as u64, Some(field)), "{value}");
            let [at, input, output] = row;
            let json = format!("{{\"at\": {at}, \"input\": {input}, \"output\": {output}}}");
            let problems = read_bytes(TraceFormat::GenericJsonl, "f", json.as_bytes());
            // Blanks around a JSON number are no part of it.
            assert_eq!(problems.is_err(), value != " 7", "{value}");
        }
    }
    let long = "at,input,output\n0,1,1\n18446745,1,1\n";
    let problems = read_bytes(TraceFormat::GenericCsv, "f", long.as_bytes()).unwrap_err();
    assert!(
        problems[0].to_string().contains("213 days")
            || problems[0].to_string().contains("holds 213")
    );
}

#[test]
fn order_endings_and_marks_do_not_matter() {
    let text = "\u{feff}output,input,at\r\n1,2,9\r\n\r\n3,4,8.000000001";
    let (trace, report) = read_bytes(TraceFormat::GenericCsv, "f", text.as_bytes()).unwrap();
    assert_eq!((report.rows, report.out_of_order), (2, 1));
    assert_eq!((trace.rows[0].input, trace.rows[1].at), (4, Time(999_999_999_000)));
}

#[test]
fn twenty_problems_are_shown_and_the_rest_counted() {
    let text = format!("at,input,output\n{}", "x,1,1\n".repeat(50));
    let problems = read_bytes(TraceFormat::GenericCsv, "f", text.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), 21);
    assert_eq!(problems[20].to_string(), "f:22:1: … and 30 more");
    let two = read_bytes(TraceFormat::GenericCsv, "f", b"at,input,output\nx,y,1\n").unwrap_err();
    assert_eq!((two[0].column, two[1].column), (1, 3));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn hostile_files_are_refused() {
    let fault = |bytes: &[u8], limits: &Limits| {
        let result = read_bytes_within(TraceFormat::GenericCsv, "f", bytes, limits);
        result.unwrap_err().remove(0).fault
    };
    let all = Limits::default();
    let small = Limits { expanded_bytes: 50, line_bytes: 40, rows: 2, segments: 2, expansion: 2 };
    let whole = gzip(CSV.as_bytes());
    assert!(read_bytes(TraceFormat::GenericCsv, "f", &whole).is_ok());
    let double = [whole.clone(), gzip(b"9,1,1,,\n")].concat();
    assert_eq!(read_bytes(TraceFormat::GenericCsv, "f", &double).unwrap().1.rows, 4);
    for cut in 2..whole.len() {
        assert!(read_bytes(TraceFormat::GenericCsv, "f", &whole[..cut]).is_err(), "{cut}");
    }
    let cut = fault(&whole[..whole.len() - 9], &all);
    assert!(matches!(cut, TraceFault::Damaged { .. }), "{cut}");
    let zst = std::fs::read(data("azure-conv-2023.first-half.csv.zst")).unwrap();
    let cut = read_bytes(TraceFormat::Azure2023, "f", &zst[..zst.len() - 2]).unwrap_err();
    assert!(matches!(cut[0].fault, TraceFault::Damaged { .. }), "{cut:?}");
    let mut flipped = zst.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = read_bytes(TraceFormat::Azure2023, "f", &flipped).unwrap_err();
    assert!(flipped[0].to_string().contains("checksum"), "{flipped:?}");
    assert_eq!(
        fault(
            b"at,input,output\n1,1,1\n2,2,2\n3,3,3\n4,4,4\n5,5,5\n",
            &Limits { line_bytes: 40, rows: 2, ..all.clone() }
        ),
        TraceFault::TooManyRows { limit: 2 }
    );
    assert_eq!(fault(&CSV.as_bytes().repeat(9), &small), TraceFault::TooLarge { limit: 50 });
    assert_eq!(
        fault(CSV.as_bytes(), &Limits { segments: 2, ..all.clone() }),
        TraceFault::TooManySegments { limit: 2 }
    );
    assert_eq!(fault(&[b'7'; 1 << 21], &all), TraceFault::LineTooLong { limit: 1 << 20 });
    assert_eq!(fault(b"", &all), TraceFault::NoRows);
    assert_eq!(fault(b"at,input,output\n", &all), TraceFault::NoRows);
    assert_eq!(fault(b"at,input,output\n\xff\n", &all), TraceFault::NotUtf8);
    assert_eq!(fault(b"PK\x03\x04....", &all), TraceFault::OtherContainer { what: "zip" });
    let bomb = gzip(format!("{}\n", " ".repeat(1_000)).repeat(70_000).as_bytes());
    assert_eq!(fault(&bomb, &all), TraceFault::Bomb { ratio: 200 });
    let nested = format!("{{\"at\": {}", "[".repeat(20_000));
    let nested = read_bytes(TraceFormat::GenericJsonl, "f", nested.as_bytes()).unwrap_err();
    assert!(matches!(nested[0].fault, TraceFault::Json { .. }));
    assert_eq!(
        read_bytes(TraceFormat::RagPulse, "f", b"").unwrap_err()[0].fault,
        TraceFault::PartsNeeded
    );
    let folder = read_file(TraceFormat::Mooncake, &data("")).unwrap_err();
    assert!(folder[0].to_string().contains("not a regular file"), "{folder:?}");
}

/// To open a pipe waits for its writer, for ever when there is none.
#[cfg(unix)]
#[test]
fn a_pipe_is_refused_unopened() {
    let pipe = std::env::temp_dir().join(format!("surgeline-pipe-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo {}", pipe.display());
    let refused = read_file(TraceFormat::Mooncake, &pipe).unwrap_err();
    std::fs::remove_file(&pipe).expect("the pipe can be removed");
    assert!(refused[0].to_string().contains("not a regular file"), "{refused:?}");
}

/// A tar archive of one client, with `dataset` as its lengths.
fn mix(dataset: &str, rates: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [("chunk-3-trace.csv", rates), ("chunk-3-dataset.json", dataset)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, format!("language/x/{name}"), text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

const RATES: &str = "0,0,0,,0,0\n600,0.5,2.0,Gamma,0.25,8\n1200,1.5,1.1,Weibull,0.9,0.6\n";
const DATASET: &str = "{\n \"0\": {\n  \"input_tokens\": \"{10: 0.5, 20: 0.5}\"\n },\n \"1200\": {\n  \"input_tokens\": \"{20: 1.0}\",\n  \"output_tokens\": \"{0: 0.25, 4: 7.5e-01}\"\n }\n}\n";

#[test]
fn client_mixes_weigh_their_length_windows_by_requests() {
    let clients =
        servegen::read_bytes("m", &gzip(&mix(DATASET, RATES)), &Limits::default()).unwrap();
    let [client] = clients.as_slice() else { panic!("{clients:?}") };
    assert_eq!((client.name.as_str(), client.windows.len()), ("3", 3));
    assert_eq!(client.windows[0].gaps, None);
    assert_eq!(client.windows[1].gaps, Some(sim::workload::Gaps::Gamma { cv: 2.0 }));
    // 300 requests in the first length window, 900 in the second: 10 has 1/8 of the prompts.
    assert_eq!(client.input, [(10, 0.125), (20, 0.875)]);
    assert_eq!((client.output.as_slice(), client.output_zero_share), ([(4, 1.0)].as_slice(), 0.25));
    for (dataset, rates, place, message) in [
        (DATASET, "0,0,0,,0\n", "m!language/x/chunk-3-trace.csv:1:1: ", "5 fields"),
        (DATASET, "0,-1,0,,0,0\n", "m!language/x/chunk-3-trace.csv:1:3: `rate`", "`-1`"),
        (DATASET, "0,1,0,,0,0\n", "m!language/x/chunk-3-trace.csv:1:7: `pattern`", "Gamma or"),
        (DATASET, "5,0,0,,0,0\n5,0,0,,0,0\n", "m!language/x/chunk-3-trace.csv:2:1: ", "later"),
        (
            "{\"0\": {\"input_tokens\": \"{1: nan}\"}}",
            RATES,
            "m!language/x/chunk-3-dataset.json:1:26: `input_tokens`",
            "a dict like",
        ),
        ("{\"0\": 5}", RATES, "m!language/x/chunk-3-dataset.json:1:7: ", "JSON"),
    ] {
        let problems = servegen::read_bytes("m", &mix(dataset, rates), &Limits::default());
        let first = problems.unwrap_err()[0].to_string();
        assert!(first.starts_with(place) && first.contains(message), "{first}\n{place}");
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seeded, good enough to place mutations.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Overwrites, inserts, removes or cuts at one to four places.
fn mutated(sample: &[u8], state: &mut u64) -> Vec<u8> {
    const TOKENS: [&[u8]; 12] = [
        b"-",
        b"9",
        b"18446744073709551616",
        b"NaN",
        b"\0",
        b"\xff",
        b"\"",
        b",",
        b"\n",
        b"[[",
        b"1e308",
        b"}",
    ];
    let mut bytes = sample.to_vec();
    for _ in 0..=next(state) % 4 {
        let at = (next(state) as usize) % bytes.len().max(1);
        match next(state) % 5 {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 if at < bytes.len() => bytes[at] = next(state) as u8,
            3 if at < bytes.len() => bytes[at] ^= 1 << (next(state) % 8),
            _ => {
                let token = TOKENS[(next(state) as usize) % TOKENS.len()];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn mutated_files_never_panic_and_problems_have_a_place() {
    let mut state = 1;
    let mut refused = 0;
    let mut judge = |result: Result<(), Vec<TraceProblem>>| {
        if let Err(problems) = result {
            refused += 1;
            let places =
                problems.iter().all(|p| p.line >= 1 && p.column >= 1 && !p.file.is_empty());
            assert!(places && !problems.is_empty() && problems.len() <= 21, "{problems:?}");
        }
    };
    let limits = Limits::default();
    let samples = [
        (TraceFormat::Azure2023, AZURE),
        (TraceFormat::Mooncake, MOONCAKE),
        (TraceFormat::BurstGpt, BURSTGPT),
        (TraceFormat::GenericCsv, CSV),
        (TraceFormat::GenericJsonl, JSONL),
    ];
    let zst = std::fs::read(data("azure-conv-2023.first-half.csv.zst")).unwrap();
    let packed = gzip(CSV.as_bytes());
    let archive = mix(DATASET, RATES);
    for round in 0..6_000 {
        for (format, sample) in samples {
            judge(read_bytes(format, "f", &mutated(sample.as_bytes(), &mut state)).map(drop));
        }
        let parts = mutated(RAG_PARTS.sys_prompt, &mut state);
        let parts = ragpulse::PartFiles { sys_prompt: &parts, ..RAG_PARTS };
        let parts = if round % 2 == 0 { &RAG_PARTS } else { &parts };
        let rag = mutated(RAG.as_bytes(), &mut state);
        judge(ragpulse::read_bytes("f", &rag, parts, &limits).map(drop));
        judge(read_bytes(TraceFormat::GenericCsv, "f", &mutated(&packed, &mut state)).map(drop));
        judge(servegen::read_bytes("f", &mutated(&archive, &mut state), &limits).map(drop));
        if round % 40 == 0 {
            let zst = mutated(&zst, &mut state);
            judge(read_bytes(TraceFormat::Azure2023, "f", &zst).map(drop));
        }
    }
    assert!(refused > 20_000, "{refused} refused of 48,150");
}
