//! Oracles: what theory and reference implementations say, row by row.
//!
//! Each family of rows is handed to the product's own code; nothing here repeats a formula. Rows
//! with equal parameters are answered by one computation. `SURGELINE_ORACLES` names further files
//! with the same columns, colon-separated.
//!
//! Invariant: no row is skipped in silence. A family the simulator cannot express yet is listed
//! with its number of rows; an unknown family, metric or parameter is a failure that names the row.

mod caches;
mod engines;
mod facts;
mod guards;
mod limits;
mod networks;
mod patience;
mod queues;
mod verdict;

pub(crate) use guards::by_failures_in_a_row;

use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use verdict::{Answer, Row};

/// Families that need a part the simulator does not have yet.
const NOT_YET: [(&str, &str); 4] = [
    ("batch_fixed_step", "iterations that start by the clock"),
    ("batch_gang_exp", "gangs that end together"),
    ("autoscale_cold_start_fluid", "autoscaling"),
    ("spec_decode", "speculative decoding"),
];

/// The parameters of a group of rows.
struct Params<'a>(&'a str);

impl Params<'_> {
    /// The parameters as a family names them; an unknown or missing one is an error.
    fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(self.0).map_err(|error| format!("parameters {}: {error}", self.0))
    }
}

/// Answers one metric after another; one that has no answer is an error.
fn pick<T>(metrics: &[&str], answer: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let one = |metric: &&str| answer(metric).ok_or_else(|| format!("unknown metric {metric}"));
    metrics.iter().map(one).collect()
}

/// The answers to rows of one family with equal parameters; `None` when the family is not handled.
fn answers(family: &str, params: &Params, rows: &[&Row]) -> Option<Result<Vec<Answer>, String>> {
    let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    Some(match family {
        "quantile_order_ci" => facts::quantile_order_ci(params, &metrics),
        "min_n_for_quantile_upper" => facts::min_n_for_quantile_upper(params, &metrics),
        "mser5" => facts::mser5(params, &metrics),
        "t_interval" => facts::t_interval(params, &metrics),
        "kv_bytes_per_token" => facts::kv_bytes_per_token(params, &metrics),
        "kv_blocks" => facts::kv_blocks(params, &metrics),
        "allreduce_ring" => facts::allreduce(params, &metrics),
        "roofline_decode_step" => facts::roofline_decode_step(params, &metrics),
        "gpu_spend" => facts::gpu_spend(params, &metrics),
        "circuit_breaker" => guards::circuit_breaker(params, &metrics),
        "retry_amplification" => guards::retry_amplification(params, rows),
        "metastable_fluid" => guards::metastable_fluid(params, &metrics),
        "vllm_sched" => engines::vllm_sched(params, &metrics),
        "prefix_hit_tokens" => engines::prefix_hit_tokens(params, &metrics),
        "lru_irm_exact" | "lru_che" => caches::lru(params, rows),
        "fifo_random_irm" => caches::fifo_random(params, rows),
        "mm1" => queues::mm1(params, rows),
        "md1" => queues::md1(params, rows),
        "mg1_pk" => queues::mg1_pk(params, rows),
        "mg1_ps" => queues::mg1_ps(params, rows),
        "mmc" | "mmck" => queues::mmc(params, rows),
        "erlang_b" => queues::erlang_b(params, rows),
        "erlang_a_timeout" => patience::erlang_a(params, rows),
        "mm1_retrial" | "mmc_retrial" => queues::retrial(params, rows),
        "mg1_sjf" => queues::mg1_sjf(params, rows),
        "gg1_kingman" => queues::gg1_kingman(params, rows),
        "mva_closed" => networks::mva_closed(params, rows),
        "mtminf_diurnal" => networks::mtminf_diurnal(params, rows),
        "token_bucket_det" => limits::token_bucket_det(params, &metrics),
        "token_bucket_poisson" => limits::token_bucket_poisson(params, rows),
        "token_spend" => facts::token_spend(params, &metrics),
        "gm1" => queues::gm1(params, rows),
        "mg1_priority_np" => queues::mg1_priority_np(params, rows),
        "mmpp2_m1" => queues::mmpp2_m1(params, rows),
        "machine_repair" => queues::machine_repair(params, rows),
        "mginf" => queues::mginf(params, rows),
        "power_of_d" => queues::power_of_d(params, rows),
        "random_routing" => queues::random_routing(params, rows),
        "jsq_lower_bound" => queues::jsq_lower_bound(params, rows),
        _ => return None,
    })
}

/// What a file came to.
#[derive(Debug, Default)]
struct Tally {
    /// Rows that were answered and agree.
    passed: usize,
    /// Rows of families not yet expressible.
    not_yet: BTreeMap<String, usize>,
    /// Rows that failed, in words.
    failed: Vec<String>,
}

fn check_rows(rows: &[Row]) -> Tally {
    let mut groups: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.family, &row.params)).or_default().push(row);
    }
    let mut tally = Tally::default();
    for ((family, params), rows) in groups {
        match answers(family, &Params(params), &rows) {
            Some(Ok(answers)) => judge(&rows, &answers, &mut tally),
            Some(Err(error)) => {
                tally.failed.extend(rows.iter().map(|row| format!("{}: {error}", row.id)));
            }
            None if NOT_YET.iter().any(|known| known.0 == family) => {
                *tally.not_yet.entry(family.to_owned()).or_default() += rows.len();
            }
            None => {
                let unknown = |row: &&Row| format!("{}: unknown family {family}", row.id);
                tally.failed.extend(rows.iter().map(unknown));
            }
        }
    }
    tally
}

fn judge(rows: &[&Row], answers: &[Answer], tally: &mut Tally) {
    let set = rows.iter().filter(|row| row.tol_kind == "set").filter_map(|row| row.number().ok());
    let bounds = set.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), bound| {
        (low.min(bound), high.max(bound))
    });
    for (row, answer) in rows.iter().zip(answers) {
        match row.judge(answer, bounds) {
            Ok(()) => tally.passed += 1,
            Err(error) => tally.failed.push(format!("{} {}: {error}", row.id, row.metric)),
        }
    }
}

/// Runs a file and says what it came to; panics on any row that fails.
fn check_file(path: &Path) -> Tally {
    let mut reader =
        csv::Reader::from_path(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let rows: Result<Vec<Row>, csv::Error> = reader.deserialize().collect();
    let rows = rows.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(!rows.is_empty(), "{} holds no row", path.display());
    let tally = check_rows(&rows);
    println!("{}: {} rows agree", path.display(), tally.passed);
    for (family, rows) in &tally.not_yet {
        let why = NOT_YET.iter().find(|known| known.0 == family).map_or("", |known| known.1);
        println!("not yet expressible: {family} ({rows} rows): needs {why}");
    }
    assert!(
        tally.failed.is_empty(),
        "{} rows fail:\n{}",
        tally.failed.len(),
        tally.failed.join("\n")
    );
    tally
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/data/oracles/oracles.csv")
}

#[test]
fn the_oracles_agree() {
    let tally = check_file(&shipped());
    // A ratchet: a row that stops being handled shows here.
    assert_eq!((tally.passed, tally.not_yet.values().sum::<usize>()), (190, 11));
}

#[test]
fn oracle_files_named_in_the_environment_agree() {
    let Ok(list) = std::env::var("SURGELINE_ORACLES") else { return };
    for path in list.split(':').filter(|path| !path.is_empty()) {
        check_file(Path::new(path));
    }
}

#[test]
fn the_list_of_what_is_missing_holds_no_family_that_is_handled() {
    let names: BTreeSet<&str> = NOT_YET.iter().map(|known| known.0).collect();
    assert_eq!(names.len(), NOT_YET.len(), "a family is listed twice");
    for name in names {
        assert!(answers(name, &Params("{}"), &[]).is_none(), "{name} is handled");
    }
}

#[test]
fn wrong_rows_fail_by_name() {
    let text = std::fs::read_to_string(shipped()).expect("the shipped file can be read");
    let spoilt = [
        // Another value.
        ("kv_blocks-117", "26624,exact", "26625,exact"),
        ("t_interval-111", "0.0361316222643", "0.0361316223643"),
        ("quantile_order_ci-103", "0.958095268223", "0.958095270223"),
        ("circuit_breaker-098", "rejected,4,", "rejected,5,"),
        ("circuit_breaker-100", "final_state,closed", "final_state,half"),
        ("retry_amplification-061", "1.39,rel", "1.41,rel"),
        ("metastable_fluid-064", "vulnerable,1", "vulnerable,0"),
        // A metric, a parameter, a case and a family nobody knows.
        ("kv_blocks-118", "usable_blocks", "spare_blocks"),
        ("allreduce_ring-129", "hop_latency", "hop_latencies"),
        ("prefix_hit_tokens-120", "resident_prefix", "resident"),
        ("gpu_spend-137", "2.99", "two dollars"),
        ("roofline_decode_step-130", "llama-3.1-8b", "llama-9-8b"),
        ("mser5-108,mser5", "mser5-108,mser5", "mser5-108,mser6"),
    ];
    for (id, from, to) in spoilt {
        let header = text.lines().next().expect("a header");
        let line = text.lines().find(|line| line.starts_with(id)).expect("the row exists");
        let changed = line.replacen(from, to, 1);
        assert_ne!(line, changed, "{id} does not hold {from}");
        let tally = check_rows(&parse(&format!("{header}\n{line}\n")));
        assert_eq!((tally.passed, tally.failed.len()), (1, 0), "{id} as shipped");
        let tally = check_rows(&parse(&format!("{header}\n{changed}\n")));
        let number = id.split(',').next().unwrap_or(id);
        assert_eq!((tally.passed, tally.failed.len()), (0, 1), "{id} with {to}");
        assert!(tally.failed[0].starts_with(number), "{}", tally.failed[0]);
    }
}

/// A simulated estimate notices a value that is off by a tenth.
#[test]
fn a_wrong_queueing_value_is_rejected() {
    let text = std::fs::read_to_string(shipped()).expect("the shipped file can be read");
    let header = text.lines().next().expect("a header");
    let line = text.lines().find(|line| line.starts_with("md1-032")).expect("the row exists");
    let changed = line.replacen("Wq_mean,2.0,", "Wq_mean,2.2,", 1);
    let tally = check_rows(&parse(&format!("{header}\n{changed}\n")));
    assert_eq!((tally.passed, tally.failed.len()), (0, 1), "{:?}", tally.failed);
}

fn parse(text: &str) -> Vec<Row> {
    let rows: Result<Vec<Row>, csv::Error> =
        csv::Reader::from_reader(text.as_bytes()).deserialize().collect();
    rows.expect("a file of oracles")
}
