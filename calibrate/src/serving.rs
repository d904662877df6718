//! Measured serving points: what an engine did under a closed loop, one row a benchmark.
//!
//! A row was measured by `concurrency` lanes that start together (see [`mod@crate::closed_loop`]),
//! means over ten prompts a lane. A blank precision is unknown and taken as BF16.
//!
//! Invariants: every row of the file comes back, either as a point or with the reason why there is
//! none; nothing is repaired in silence.
//!
//! Deliberately absent: what a point is predicted to be.

use crate::model::Precision;
use serde::Deserialize;

/// One row of a file of measured points, as it stands there; empty fields are `None`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Row {
    id: Option<String>,
    system: String,
    backend: String,
    backend_version: Option<String>,
    model: String,
    precision: Option<String>,
    mode: String,
    isl: Option<u32>,
    osl: Option<u32>,
    concurrency: Option<u32>,
    tp: Option<u32>,
    pp: Option<u32>,
    attention_dp: Option<u32>,
    moe_tp: Option<u32>,
    moe_ep: Option<u32>,
    kv_dtype: Option<String>,
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
}

/// What was served, and on what: points that differ in lengths and concurrency only share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Configuration {
    /// Model as the row names it.
    pub model: String,
    /// System as the row names it.
    pub system: String,
    /// Engine, such as `vllm` or `trtllm`.
    pub backend: String,
    /// Weights.
    pub precision: Precision,
    /// KV cache.
    pub kv: Precision,
    /// GPUs of a replica.
    pub gpus: u32,
    /// GPUs over which experts are spread whole.
    pub expert_parallel: u32,
}

/// One benchmark and what it measured.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingPoint {
    /// The row's own name, or its line in the file.
    pub id: String,
    /// What was served.
    pub configuration: Configuration,
    /// Version of the engine; empty when unknown.
    pub backend_version: String,
    /// Whether the row leaves its precision open.
    pub precision_assumed: bool,
    /// Longest prompt in tokens.
    pub input: u32,
    /// Longest answer in tokens.
    pub output: u32,
    /// Lanes.
    pub concurrency: u32,
    /// Mean time to first token in milliseconds.
    pub ttft_ms: f64,
    /// Mean time per further token in milliseconds.
    pub tpot_ms: f64,
}

/// A row that is no point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The row's own name, or its line in the file.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// A file that is not a table of points.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PointsError {
    /// Line in the file, from 1; 0 when it is unknown.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

/// Reads a CSV file of measured points. Columns: `system`, `backend`, `model`, `mode`, `isl`,
/// `osl`, `concurrency`, `tp`, `ttft_ms`, `tpot_ms`; optional `id`, `backend_version`, `precision`,
/// `kv_dtype`, `pp`, `attention_dp`, `moe_tp`, `moe_ep`; others are not read.
///
/// # Errors
/// [`PointsError`] for the first line that is no row of such a table.
pub fn serving_points(text: &str) -> Result<Vec<Result<ServingPoint, Refused>>, PointsError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| broken(&error))?.clone();
    let mut record = csv::StringRecord::new();
    let mut points = Vec::new();
    while reader.read_record(&mut record).map_err(|error| broken(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row: Row = record.deserialize(Some(&headers)).map_err(|error| broken(&error))?;
        let id = row.id.clone().unwrap_or_else(|| format!("line {line}"));
        points.push(point(row, &id).map_err(|reason| Refused { id, reason }));
    }
    Ok(points)
}

fn broken(error: &csv::Error) -> PointsError {
    let line = error.position().map_or(0, csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => error.to_string(),
    };
    PointsError { line, message }
}

/// Lanes beyond which a row is a slip rather than a benchmark of one replica: no engine runs as many
/// requests at once.
const MOST_LANES: u32 = 16_384;

/// The point of a row, or why there is none.
fn point(row: Row, id: &str) -> Result<ServingPoint, String> {
    if row.mode != "agg" {
        return Err(format!("mode `{}`: only `agg` (one engine does both) is simulated", row.mode));
    }
    let more = |count: Option<u32>| count.is_some_and(|count| count > 1);
    if more(row.attention_dp) {
        return Err("attention data parallelism is not simulated".to_owned());
    }
    if more(row.pp) {
        return Err("pipeline parallelism is not simulated".to_owned());
    }
    let count = |value: Option<u32>, name: &str| match value {
        Some(value) if value > 0 => Ok(value),
        _ => Err(format!("no {name}")),
    };
    let time = |value: Option<f64>, name: &str| match value {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err(format!("no {name}")),
    };
    let weights = row.precision.as_deref().map(precision).transpose()?;
    let precision_assumed = weights.is_none();
    let weights = weights.unwrap_or(Precision::Bf16);
    let kv = row.kv_dtype.as_deref().map(precision).transpose()?;
    let kv = kv.unwrap_or_else(|| kv_of_checkpoint(&row.model, weights));
    let tensor_parallel = count(row.tp, "tp")?;
    let concurrency = count(row.concurrency, "concurrency")?;
    if concurrency > MOST_LANES {
        return Err(format!("concurrency {concurrency}: at most {MOST_LANES} lanes are simulated"));
    }
    let experts = row.moe_tp.unwrap_or(1).max(1).saturating_mul(row.moe_ep.unwrap_or(1).max(1));
    Ok(ServingPoint {
        id: id.to_owned(),
        configuration: Configuration {
            model: row.model,
            system: row.system,
            backend: row.backend,
            precision: weights,
            kv,
            // Some rows state one of the two for models with experts.
            gpus: tensor_parallel.max(experts),
            expert_parallel: row.moe_ep.unwrap_or(1).max(1),
        },
        backend_version: row.backend_version.unwrap_or_default(),
        precision_assumed,
        input: count(row.isl, "isl")?,
        output: count(row.osl, "osl")?,
        concurrency,
        ttft_ms: time(row.ttft_ms, "ttft_ms")?,
        tpot_ms: time(row.tpot_ms, "tpot_ms")?,
    })
}

/// Number format of the KV cache where a row does not say: that of the checkpoint. The FP8
/// checkpoints of the Llama models scale it to FP8 as well (`kv_cache_quant_algo` in their
/// `hf_quant_config.json`), which engines follow; others leave it in BF16.
fn kv_of_checkpoint(model: &str, weights: Precision) -> Precision {
    match weights {
        Precision::Fp8 if model.to_ascii_lowercase().contains("llama") => Precision::Fp8,
        Precision::Fp8 | Precision::Bf16 => Precision::Bf16,
    }
}

fn precision(name: &str) -> Result<Precision, String> {
    match name {
        "bf16" | "fp16" | "bfloat16" | "float16" => Ok(Precision::Bf16),
        "fp8" => Ok(Precision::Fp8),
        other => Err(format!("precision `{other}` is not simulated: bf16 and fp8 are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &str = "system,backend,backend_version,model,precision,mode,isl,osl,concurrency,\
                           tp,pp,attention_dp,moe_tp,moe_ep,ttft_ms,tpot_ms\n";

    fn read(rows: &str) -> Vec<Result<ServingPoint, Refused>> {
        serving_points(&format!("{COLUMNS}{rows}")).expect("a table")
    }

    #[test]
    fn a_row_becomes_a_point_and_a_blank_precision_is_flagged() {
        let rows = "h100_sxm,vllm,0.18.0,Qwen/Qwen3-32B,,agg,1024,512,16,4,1,1,4,1,90.5,12.25\n\
                    h200_sxm,trtllm,,m,fp8,agg,10,20,1,8,1,1,1,8,5,2\n";
        let points = read(rows);
        let [Ok(first), Ok(second)] = points.as_slice() else { panic!("{points:?}") };
        assert_eq!((first.id.as_str(), first.precision_assumed), ("line 2", true));
        assert_eq!(first.configuration.precision, Precision::Bf16);
        assert_eq!((first.input, first.output, first.concurrency), (1_024, 512, 16));
        assert_eq!((first.ttft_ms, first.tpot_ms), (90.5, 12.25));
        let sharded = &second.configuration;
        assert_eq!((sharded.precision, second.precision_assumed), (Precision::Fp8, false));
        assert_eq!((sharded.gpus, sharded.expert_parallel), (8, 8));
    }

    #[test]
    fn what_is_not_simulated_is_refused_with_the_reason() {
        let with = |mode: &str, concurrency: &str, pp: u32, dp: u32, precision: &str| {
            let row = format!(
                "h100_sxm,vllm,1,m,{precision},{mode},1,1,{concurrency},1,{pp},{dp},1,1,1,1\n"
            );
            match read(&row).pop() {
                Some(Err(refused)) => refused.reason,
                other => panic!("{row}: {other:?}"),
            }
        };
        assert!(with("disagg", "1", 1, 1, "fp8").contains("disagg"));
        assert_eq!(with("agg", "", 1, 1, "fp8"), "no concurrency");
        assert!(with("agg", "4000000000", 1, 1, "fp8").contains("at most 16384"));
        assert!(with("agg", "1", 2, 1, "fp8").contains("pipeline"));
        assert!(with("agg", "1", 1, 4, "fp8").contains("data parallelism"));
        assert!(with("agg", "1", 1, 1, "int4").contains("`int4`"));
    }

    #[test]
    fn a_broken_line_is_named() {
        let text = format!("{COLUMNS}h100_sxm,vllm,1,m,fp8,agg,many,1,1,1,1,1,1,1,1,1\n");
        let error = serving_points(&text).expect_err("no number");
        assert_eq!(error.line, 2);
        assert!(error.message.contains("isl") || error.message.contains("field 6"), "{error}");
        assert!(serving_points("system,backend\nx\n").is_err());
    }
}
