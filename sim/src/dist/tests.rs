//! Moments of every law, and that a copula changes the correlation and nothing else.

use super::*;
use crate::dice::{mix, normal_score};

fn laws() -> Vec<LengthLaw> {
    vec![
        LengthLaw::Fixed(700),
        LengthLaw::Lognormal { mu: 6.0, sigma: 0.7 },
        LengthLaw::LognormalMixture { weight: 0.3, first: (5.0, 0.5), second: (7.0, 0.3) },
        LengthLaw::Gamma { shape: 2.083, scale: 136.0 },
        LengthLaw::Gamma { shape: 0.4, scale: 2_000.0 },
        LengthLaw::Empirical(
            Empirical::new(vec![(10, 1.0), (500, 2.0), (4_000, 1.0)]).expect("weights are fine"),
        ),
    ]
}

fn free(law: LengthLaw) -> LengthDist {
    LengthDist { law, min: 1, max: u32::MAX }
}

/// Mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn means_are_those_of_the_law_with_and_without_correlation() {
    for law in laws() {
        for correlation in [0.0, -0.6] {
            let spec =
                LengthsSpec { input: free(law.clone()), output: free(law.clone()), correlation };
            let sampler = LengthSampler::new(&spec, &mut Charts::default());
            let pairs: Vec<_> = (0..60_000).map(|k| sampler.sample(mix(11, k))).collect();
            let inputs: Vec<f64> = pairs.iter().map(|p| f64::from(p.0)).collect();
            let outputs: Vec<f64> = pairs.iter().map(|p| f64::from(p.1)).collect();
            for values in [inputs, outputs] {
                let (got, error) = mean(&values);
                // Rounding and the floor of 1 shift a mean by less than half a token.
                let slack = 5.0 * error + 0.5;
                assert!((got - law.mean()).abs() < slack, "{law:?} {correlation}: {got}");
            }
        }
    }
}

/// Correlation of the normal scores of the ranks.
fn score_correlation(pairs: &[(u32, u32)]) -> f64 {
    let scores = |values: Vec<u32>| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|&i| values[i]);
        let mut scores = vec![0.0; values.len()];
        for (rank, &i) in order.iter().enumerate() {
            scores[i] = normal_score((rank as f64 + 0.5) / values.len() as f64);
        }
        scores
    };
    let x = scores(pairs.iter().map(|p| p.0).collect());
    let y = scores(pairs.iter().map(|p| p.1).collect());
    let products = x.iter().zip(&y).map(|(a, b)| a * b).sum::<f64>();
    products / x.iter().map(|a| a * a).sum::<f64>()
}

#[test]
fn the_copula_gives_the_correlation_asked_for() {
    let n = 40_000;
    for law in [&laws()[1], &laws()[2], &laws()[3]] {
        for correlation in [-0.9, -0.11, 0.0, 0.43, 1.0] {
            let input = free(LengthLaw::Gamma { shape: 1.5, scale: 30_000.0 });
            let spec = LengthsSpec { input, output: free(law.clone()), correlation };
            let sampler = LengthSampler::new(&spec, &mut Charts::default());
            let pairs: Vec<_> = (0..n).map(|k| sampler.sample(mix(5, k))).collect();
            let got = score_correlation(&pairs);
            // The standard error of a correlation is (1 − ρ²)/√n; ties of integers take a little.
            let slack = 5.0 * (1.0 - correlation * correlation) / 200.0 + 0.01;
            assert!((got - correlation).abs() < slack, "{law:?}: {got} is not {correlation}");
        }
    }
}

#[test]
fn counts_stay_in_their_range_whatever_the_parameters() {
    let odd = [
        LengthLaw::Lognormal { mu: f64::NAN, sigma: 1.0 },
        LengthLaw::Lognormal { mu: 900.0, sigma: 0.0 },
        LengthLaw::Gamma { shape: 0.01, scale: 1.0 },
        LengthLaw::LognormalMixture { weight: 2.0, first: (1.0, 0.0), second: (-9.0, 9.0) },
        LengthLaw::Fixed(0),
    ];
    for law in odd {
        for correlation in [0.0, 0.5] {
            let dist = LengthDist { law: law.clone(), min: 3, max: 9 };
            let spec = LengthsSpec { input: dist.clone(), output: dist.clone(), correlation };
            let sampler = LengthSampler::new(&spec, &mut Charts::default());
            for k in 0..200 {
                let (input, output) = sampler.sample(k);
                assert!((3..=9).contains(&input) && (3..=9).contains(&output), "{law:?}");
            }
        }
    }
}

#[test]
fn durations_have_their_means() {
    let laws = [
        DurationDist::Fixed(Span::from_millis(1_234)),
        DurationDist::Exponential { mean: Span::from_secs(4) },
        DurationDist::Lognormal { mu: 1.0, sigma: 0.5 },
        DurationDist::Gamma { shape: 0.7, scale: Span::from_secs(2) },
    ];
    for law in laws {
        let draws: Vec<f64> =
            (0..40_000).map(|k| law.sample(&mut Dice::stream(mix(1, k))).as_secs_f64()).collect();
        let (got, error) = mean(&draws);
        let want = law.mean().as_secs_f64();
        assert!((got - want).abs() <= 5.0 * error + 1e-9, "{law:?}: {got} is not {want}");
    }
}
