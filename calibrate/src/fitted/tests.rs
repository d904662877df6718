//! What a calibration file must hold, and what the shipped one must not claim.

use super::*;
use crate::calibration::Served;
use crate::coefficients::Coefficients;
use crate::model::Precision;
use crate::roofline::{Sharding, weight_bytes_touched};
use sim::engine::Work;

/// Tokens of prompts, and batches with their contexts, at which speeds are checked.
const PROMPTS: [u32; 4] = [512, 2_048, 8_192, 16_384];
const BATCHES: [(u32, u64); 4] = [(1, 128), (8, 1_024), (64, 4_096), (256, 8_192)];

/// No shipped calibration computes prompts faster than the GPUs' peak arithmetic, or decodes
/// faster than their memory can be read: for every model of the catalogue on every GPU that was
/// measured, at every size that fits its heads.
#[test]
fn nothing_is_faster_than_the_hardware() {
    let catalog = crate::catalog().expect("valid");
    let mut checked = 0;
    for entry in &shipped().expect("valid").entry {
        let coefficients = Coefficients::of_values(&entry.values());
        let models = catalog.models.iter().filter(|model| match &entry.model {
            Some(own) => *own == model.name,
            None => true,
        });
        for model in models {
            for gpu in catalog.gpus.iter().filter(|gpu| entry.gpus.contains(&gpu.name)) {
                for tp in [1, 2, 4, 8] {
                    for weights in [Precision::Bf16, Precision::Fp8] {
                        for kv in [Precision::Bf16, Precision::Fp8] {
                            let sharding = Sharding::tensors(tp);
                            let precisions = (weights, kv);
                            let served = Served { gpu, model, precisions, sharding };
                            checked += u32::from(is_possible(&served, entry, &coefficients));
                        }
                    }
                }
            }
        }
    }
    assert!(checked > 500, "{checked} combinations");
}

/// Checks one combination, if its basis is the entry's and the heads divide.
fn is_possible(served: &Served<'_>, entry: &Entry, coefficients: &Coefficients) -> bool {
    let Served { gpu, model, precisions: (weights, kv), sharding } = *served;
    let profile = served.profile().expect("valid");
    let basis = served.basis(profile.is_some());
    if basis != entry.basis || !model.splits_over(sharding.tensor_parallel) {
        return false;
    }
    let step = served.step_time(profile, coefficients, Vec::new()).expect("usable");
    let gpus = f64::from(sharding.tensor_parallel);
    for tokens in PROMPTS {
        let pairs = u64::from(tokens) * u64::from(tokens + 1) / 2;
        let work = Work { prefill_tokens: tokens, prefill_pairs: pairs, ..Work::default() };
        // Of the embedding only one row a token is read.
        let flop = 2.0
            * (model.active_params - u64::from(model.vocabulary) * u64::from(model.hidden)) as f64;
        let peak = gpus * gpu.flop_per_s(weights) * step.iteration(work).as_secs_f64();
        assert!(flop * f64::from(tokens) < peak, "{} on {tokens} tokens", model.name);
    }
    for (batch, context) in BATCHES {
        let kv_tokens = u64::from(batch) * context;
        let work = Work { decodes: batch, kv_tokens, ..Work::default() };
        let (shared, experts) = weight_bytes_touched(model, weights, batch);
        let ends = u64::from(model.vocabulary) * u64::from(model.hidden) * 2;
        let token = model.kv_bytes_per_token_per_gpu(kv, sharding.tensor_parallel).0 as f64;
        let bytes = (shared + experts - ends as f64) / gpus + token * kv_tokens as f64;
        let most = gpu.hbm_bytes_per_s() * step.iteration(work).as_secs_f64();
        assert!(bytes < most, "{} with {batch} of {context}: {bytes} of {most}", model.name);
    }
    true
}

#[test]
fn a_broken_file_is_told_what_is_wrong() {
    let own = super::shipped().expect("valid");
    let shipped = own.write().expect("finite");
    assert_eq!(Fitted::read(&shipped).as_ref(), Ok(own));
    let other = shipped.replace(SCHEMA, "surgeline.calibration/9");
    let error = Fitted::read(&other).expect_err("another version");
    assert!(error.to_string().contains("surgeline.calibration/9"), "{error}");
    let fast = shipped.replacen(
        "[entry.coefficients.iteration_us]\nvalue = ",
        "[entry.coefficients.iteration_us]\nvalue = 99999999.0 # ",
        1,
    );
    let error = Fitted::read(&fast).expect_err("out of bounds").to_string();
    assert!(error.contains("iteration_us") && error.contains("outside"), "{error}");
    let less = shipped.replacen("[entry.coefficients.iteration_us]", "[entry.coefficients.x]", 1);
    let error = Fitted::read(&less).expect_err("one is missing").to_string();
    assert!(error.contains("iteration_us") && error.contains("missing"), "{error}");
}

#[test]
fn on_a_gpu_that_was_not_measured_intervals_are_wide() {
    let fitted = shipped().expect("valid");
    let entry = fitted.find("vllm", Basis::Table, "llama-3.1-70b-instruct").expect("measured");
    assert_eq!(entry.model.as_deref(), Some("llama-3.1-70b-instruct"));
    assert!(fitted.spread_on(entry, "h200-sxm").tpot < 0.2);
    let rooflines = fitted.find("vllm", Basis::Dense, "nobody-s").expect("a group");
    let on_h100 = fitted.spread_on(entry, "h100-sxm").tpot;
    assert_eq!(on_h100, entry.spread.tpot.max(rooflines.spread.tpot));
    assert_eq!(fitted.spread_on(rooflines, "l40s").tpot, UNKNOWN.tpot);
}

#[test]
fn numbers_are_kept_to_four_digits() {
    assert_eq!(rounded(0.012_345_678), 0.012_35);
    assert_eq!(rounded(12_345.678), 12_350.0);
}
