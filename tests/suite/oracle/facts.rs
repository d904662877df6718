//! Families whose answer is computed, not simulated: statistics, memory, rooflines, spend.
//!
//! Each hands the row's parameters to the product's own function.

use super::verdict::Answer;
use super::{Params, pick};
use calibrate::Precision;
use calibrate::kv_capacity::blocks_in;
use calibrate::roofline::{allreduce_ring, decode_roofline};
use serde::Deserialize;
use sim::backends::{Meter, MeterReading};
use sim::engine::Replica;
use sim::ledger::{GpuAccount, Ledger};
use sim::stats;
use sim::units::{Blocks, Bytes, Money, PS_PER_SEC, Tokens};

/// Parameter counts as the reference rounds them: name, all, active for a token.
const ROUNDED: [(&str, u64, u64); 9] = [
    ("llama-3.1-8b", 8_030_000_000, 8_030_000_000),
    ("llama-3.1-70b", 70_554_000_000, 70_554_000_000),
    ("llama-3.1-405b", 405_854_000_000, 405_854_000_000),
    ("qwen2.5-7b", 7_616_000_000, 7_616_000_000),
    ("qwen2.5-72b", 72_706_000_000, 72_706_000_000),
    ("qwen3-32b", 32_762_000_000, 32_762_000_000),
    ("qwen3-30b-a3b", 30_532_000_000, 3_300_000_000),
    ("mixtral-8x7b", 46_703_000_000, 12_880_000_000),
    ("mixtral-8x22b", 140_620_000_000, 39_100_000_000),
];

type Answers = Result<Vec<Answer>, String>;

fn integer(value: impl ToString) -> Answer {
    Answer::Text(value.to_string())
}

fn precision(bytes: u32) -> Result<Precision, String> {
    match bytes {
        2 => Ok(Precision::Bf16),
        1 => Ok(Precision::Fp8),
        other => Err(format!("no number format has {other} bytes")),
    }
}

pub(super) fn quantile_order_ci(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        n: u64,
        p: f64,
        conf: f64,
    }
    let case: Case = params.read()?;
    let ranks = stats::order_statistic_ranks(case.n, case.p, case.conf);
    pick(metrics, |metric| match metric {
        "lower_rank" => Some(integer(ranks.lower)),
        "upper_rank" => Some(integer(ranks.upper)),
        "coverage" => Some(Answer::Number(ranks.coverage)),
        _ => None,
    })
}

pub(super) fn min_n_for_quantile_upper(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        p: f64,
        conf: f64,
    }
    let case: Case = params.read()?;
    let n = stats::min_samples_for_upper_bound(case.p, case.conf).ok_or("no such sample size")?;
    pick(metrics, |metric| (metric == "n").then(|| integer(n)))
}

pub(super) fn mser5(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        n: u32,
        seed: u64,
        k: f64,
        series: String,
    }
    const SERIES: &str = "x_i=round(10*exp(-i/k)+((i*7919+seed*104729) mod 1000)/1000,6)";
    let case: Case = params.read()?;
    if case.series != SERIES {
        return Err(format!("unknown series {}", case.series));
    }
    let value = |i: u32| {
        let noise = (u64::from(i) * 7_919 + case.seed * 104_729) % 1_000;
        let x = 10.0 * (-f64::from(i) / case.k).exp() + noise as f64 / 1_000.0;
        (x * 1e6).round() / 1e6
    };
    let series: Vec<f64> = (0..case.n).map(value).collect();
    let cut = stats::mser5(&series).ok_or("too short a series")?;
    pick(metrics, |metric| match metric {
        "delete" => Some(Answer::Number(cut.delete as f64)),
        "truncated_mean" => Some(Answer::Number(cut.truncated_mean)),
        _ => None,
    })
}

pub(super) fn t_interval(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        x: Vec<f64>,
        conf: f64,
    }
    let case: Case = params.read()?;
    let t = stats::t_interval(&case.x, case.conf).ok_or("too few values")?;
    pick(metrics, |metric| match metric {
        "mean" => Some(Answer::Number(t.mean)),
        "half_width" => Some(Answer::Number(t.half_width)),
        _ => None,
    })
}

pub(super) fn kv_bytes_per_token(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        model: String,
        dtype_bytes: u32,
    }
    let case: Case = params.read()?;
    let model = calibrate::model(&case.model).map_err(|e| e.to_string())?;
    let bytes = model.kv_bytes_per_token(precision(case.dtype_bytes)?);
    pick(metrics, |metric| (metric == "bytes").then(|| integer(bytes.0)))
}

pub(super) fn kv_blocks(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        model: String,
        free_bytes: u64,
        block: u32,
        tp: u32,
        #[serde(default = "two")]
        dtype_bytes: u32,
    }
    fn two() -> u32 {
        2
    }
    let case: Case = params.read()?;
    let model = calibrate::model(&case.model).map_err(|e| e.to_string())?;
    let kv = precision(case.dtype_bytes)?;
    let block_size = Tokens(case.block);
    let blocks = blocks_in(Bytes(case.free_bytes), model, kv, case.tp, block_size);
    let spec = super::engines::spec(Blocks(blocks.0), block_size);
    let capacity = spec.kv_token_capacity();
    let usable = Replica::new(spec, super::engines::nanosecond()).usable_blocks();
    pick(metrics, |metric| match metric {
        "num_gpu_blocks" => Some(integer(blocks.0)),
        "usable_blocks" => Some(integer(usable)),
        "max_tokens" => Some(integer(capacity)),
        _ => None,
    })
}

pub(super) fn allreduce(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        nbytes: f64,
        gpus: u32,
        busbw: f64,
        hop_latency: f64,
    }
    let case: Case = params.read()?;
    let seconds = allreduce_ring(case.nbytes, case.gpus, case.busbw, case.hop_latency);
    pick(metrics, |metric| (metric == "seconds").then_some(Answer::Number(seconds)))
}

pub(super) fn roofline_decode_step(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        model: String,
        batch: u32,
        ctx: u32,
        flops: f64,
        #[serde(rename = "hbm_Bps")]
        bytes_per_s: f64,
    }
    let case: Case = params.read()?;
    let mut model = calibrate::model(&case.model).map_err(|e| e.to_string())?.clone();
    let rounded = ROUNDED.iter().find(|row| row.0 == case.model);
    let &(_, all, active) = rounded.ok_or("the reference does not round this model")?;
    // A parameter count further off than rounding would mean another model.
    if (model.params as f64 / all as f64 - 1.0).abs() > 1e-3 {
        return Err(format!("{} has {} parameters, not {all}", case.model, model.params));
    }
    (model.params, model.active_params) = (all, active);
    let roofline = decode_roofline(&model, case.batch, case.ctx, case.flops, case.bytes_per_s);
    pick(metrics, |metric| {
        Some(Answer::Number(match metric {
            "bytes" => roofline.bytes,
            "flop" => roofline.flop,
            "t_mem" => roofline.t_mem,
            "t_comp" => roofline.t_comp,
            "t_step" => roofline.t_step,
            _ => return None,
        }))
    })
}

pub(super) fn gpu_spend(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        gpus: u64,
        seconds: u64,
        usd_per_gpu_hour: String,
    }
    let case: Case = params.read()?;
    let account = GpuAccount {
        gpu_time: u128::from(case.gpus) * u128::from(case.seconds) * u128::from(PS_PER_SEC),
        per_gpu_hour: dollars(&case.usd_per_gpu_hour)?,
    };
    let spend = Ledger { gpu: vec![account] }.gpu_spend();
    pick(metrics, |metric| match metric {
        "picodollars" => Some(integer(spend.0)),
        "cents_half_even" => Some(integer(spend.cents_half_even())),
        _ => None,
    })
}

/// Tokens at a metered backend; the cached ones are a part of the input.
pub(super) fn token_spend(params: &Params, metrics: &[&str]) -> Answers {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        input: u64,
        cached_input: u64,
        output: u64,
        #[serde(rename = "usd_per_M_in")]
        per_million_in: String,
        #[serde(rename = "usd_per_M_cached")]
        per_million_cached: String,
        #[serde(rename = "usd_per_M_out")]
        per_million_out: String,
    }
    let case: Case = params.read()?;
    let per_token = |text: &String| {
        let million = dollars(text)?;
        let whole = million.0 % 1_000_000 == 0;
        whole.then_some(Money(million.0 / 1_000_000)).ok_or_else(|| {
            format!("{text} dollars a million are no whole number of pico-dollars a token")
        })
    };
    let meter = Meter {
        input: per_token(&case.per_million_in)?,
        cached_input: per_token(&case.per_million_cached)?,
        output: per_token(&case.per_million_out)?,
        ..Meter::default()
    };
    let spend = meter.price_of(&MeterReading {
        attempts: 1,
        input: case.input,
        cached_input: case.cached_input,
        cache_write: 0,
        output: case.output,
        ..MeterReading::default()
    });
    pick(metrics, |metric| match metric {
        "picodollars" => Some(integer(spend.0)),
        "cents_half_even" => Some(integer(spend.cents_half_even())),
        _ => None,
    })
}

/// A decimal number of dollars, exact.
fn dollars(text: &str) -> Result<Money, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{part:0<12}");
    let pico = digits.parse().ok().filter(|_| part.len() <= 12);
    pico.map(Money).ok_or_else(|| format!("{text} is no price"))
}
