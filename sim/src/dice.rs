//! Random streams: the only place where a random generator is made.
//!
//! Every random number belongs to an entity (a request, a session, a block of a redrawn trace) and
//! to a [`Purpose`], and comes from a stream keyed by (seed, replication, source, copy, number,
//! purpose). No stream is shared, so one more draw here, another source there or a policy that
//! asks for requests in another order changes no other draw: two variants of a scenario see the
//! same customers. These are common random numbers, and they are why a small difference between
//! two policies can be told from noise with few replications.
//!
//! Invariants: a stream depends on its key alone; a key is never used for two purposes; values do
//! not depend on the platform. The last is why the few variates needed here are computed with
//! `libm` instead of `rand_distr`: that crate takes its logarithms from the platform as soon as
//! any other crate of the build asks `num-traits` for `std`. A [`Dice`] is still a generator of
//! the `rand` family, for whoever wants one.
//!
//! The generator is `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014) with the constants of Stafford's "Mix13", the variant that
//! `java.util.SplittableRandom` uses. Keying costs one scramble; a stateful generator with a long
//! set-up would cost more than the few draws a stream gives.
//!
//! Deliberately absent: cryptographic strength, and any source of entropy.

use as241::{CENTRE_BOTTOM, CENTRE_TOP, FAR_BOTTOM, FAR_TOP, TAIL_BOTTOM, TAIL_TOP};
use rand::TryRng;
use std::convert::Infallible;

/// Increment of the counter: the odd integer nearest to 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Keeps keys made by [`mix`] apart from the values a stream gives.
const KEY_SALT: u64 = 0x5851_f42d_4c95_7f2d;
/// Odd multiplier that spreads consecutive numbers over a key (from Steele and Vigna,
/// "Computationally easy, spectrally good multipliers", 2021).
const KEY_STEP: u64 = 0xd134_2543_de82_ef95;

/// What a stream is for. The discriminants enter the keys: never renumber, only append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Gap before an arrival.
    ArrivalGap = 1,
    /// Prompt length.
    Input = 2,
    /// Output length.
    Output = 3,
    /// Which shared prefix a prompt begins with.
    Prefix = 4,
    /// Turns of a session.
    Turns = 5,
    /// Pause of a user.
    Think = 6,
    /// Whether a request belongs to a fractional copy of the traffic.
    Thinning = 7,
    /// Whether a request joins the instant of the one before.
    Burst = 8,
    /// Shift of a quantised timestamp.
    Jitter = 9,
    /// Block of a redrawn trace or of resampled replications.
    Bootstrap = 10,
    /// Bits a load balancer may use.
    Route = 11,
    /// Sojourns of a modulated arrival process.
    Modulator = 12,
    /// Identity of freshly written prompt tokens.
    PromptIdentity = 13,
    /// Identity of the tokens of an answer.
    AnswerIdentity = 14,
    /// Identity of a shared prefix.
    PrefixIdentity = 15,
    /// Identity of a segment that only one recorded request or session uses.
    TraceIdentity = 16,
    /// Failures, retries and other behaviour of clients.
    Client = 17,
    /// Identity of the summary of a conversation.
    SummaryIdentity = 18,
    /// Time to first token of an attempt at a remote.
    FirstToken = 20,
    /// Time per further token of an attempt at a remote.
    TokenTime = 21,
    /// Whether an attempt at a remote, or a use of a tool, ends in a server error.
    ServerError = 22,
    /// Which class of device a user has.
    DeviceClass = 23,
    /// Whether a device is throttled at a call.
    Throttling = 24,
    /// Time a remote takes to wake up.
    ColdStart = 25,
    /// Time a use of a tool takes.
    ToolTime = 26,
    /// What a query is about, and in which words.
    Query = 30,
    /// Where the words of a query lie among those about the same things.
    QueryPoint = 31,
    /// Who leaves a full cache.
    Eviction = 32,
    /// Pause before a further attempt of a call.
    RetryPause = 35,
    /// How hard a question is.
    Difficulty = 40,
    /// How well one answer turns out, and what its confidence signal sees.
    Luck = 41,
    /// Whether acting on an answer would do harm.
    Harm = 42,
    /// What a check finds.
    Check = 43,
    /// How often a step is done.
    Repeat = 44,
    /// Which tenant a task belongs to.
    Tenant = 45,
    /// An attribute of a task.
    Attribute = 46,
    /// Which backend of a model a call prefers.
    Backend = 47,
    /// Whether a call goes to a canary or has a shadow.
    Share = 48,
    /// How long a user waits.
    Patience = 49,
    /// Whether and when a user asks again.
    Resubmit = 50,
    /// Whether a partial result is good enough.
    Partial = 51,
    /// Where the points of an experiment lie among the values of its levers.
    Design = 55,
}

/// A bijection of the 64-bit integers in which every input bit moves every output bit.
const fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Combines a key with one more part of it. Not symmetric: `mix(a, b)` and `mix(b, a)` differ.
#[must_use]
pub const fn mix(a: u64, b: u64) -> u64 {
    scramble((a ^ KEY_SALT).wrapping_add(b.wrapping_mul(KEY_STEP)))
}

/// The key of one purpose of an entity. Purposes count down from 2⁶⁴ − 1, so that they never meet
/// the numbers of requests, turns or blocks that [`mix`] puts below the same entity.
#[must_use]
pub const fn key(entity: u64, purpose: Purpose) -> u64 {
    mix(entity, !(purpose as u64))
}

/// One random stream.
#[derive(Clone, Debug)]
pub struct Dice {
    counter: u64,
}

impl Dice {
    /// The stream of a key, from its beginning.
    #[must_use]
    pub const fn stream(key: u64) -> Dice {
        Dice { counter: key }
    }

    /// The stream of one purpose of an entity.
    #[must_use]
    pub const fn of(entity: u64, purpose: Purpose) -> Dice {
        Dice::stream(key(entity, purpose))
    }

    /// 64 uniform bits.
    pub const fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN);
        scramble(self.counter)
    }

    /// Uniform in the open interval (0, 1), in steps of 2⁻⁵²; never 0 or 1, so that its logarithm
    /// and its normal score are finite.
    pub fn uniform(&mut self) -> f64 {
        Dice::unit(self.bits())
    }

    /// The uniform number that 64 bits stand for; it does not fall as they rise.
    pub(crate) fn unit(bits: u64) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 52) as f64;
        ((bits >> 12) as f64 + 0.5) * STEP
    }

    /// True with probability `p`; never for `p` ≤ 0 or NaN, always for `p` ≥ 1. One draw in any
    /// case, and a coin that shows true still does so at a larger `p`.
    pub fn coin(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Exponential with mean 1, by inversion.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.uniform())
    }

    /// Standard normal, by inversion.
    pub fn normal(&mut self) -> f64 {
        normal_score(self.uniform())
    }

    /// Gamma with this shape (> 0) and scale 1: Marsaglia and Tsang, "A simple method for
    /// generating gamma variables", ACM TOMS 26 (2000), with their boost for shapes below 1.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::exp(libm::log(self.uniform()) / shape);
            return self.gamma_above_one(shape + 1.0) * boost;
        }
        self.gamma_above_one(shape)
    }

    fn gamma_above_one(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            // Written so that a NaN shape is accepted and cannot loop for ever.
            let rejected = libm::log(self.uniform()) >= 0.5 * x * x + d * (1.0 - v + libm::log(v));
            if !rejected {
                return d * v;
            }
        }
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// The `z` with Φ(z) = `p`, for `p` in (0, 1): algorithm AS 241 (Wichura, Applied Statistics 37,
/// 1988), routine PPND16, relative error about 10⁻¹⁶.
#[must_use]
pub fn normal_score(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(r, &CENTRE_TOP) / polynomial(r, &CENTRE_BOTTOM);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-libm::log(tail)).sqrt();
    let size = if r <= 5.0 {
        polynomial(r - 1.6, &TAIL_TOP) / polynomial(r - 1.6, &TAIL_BOTTOM)
    } else {
        polynomial(r - 5.0, &FAR_TOP) / polynomial(r - 5.0, &FAR_BOTTOM)
    };
    if q < 0.0 { -size } else { size }
}

/// Horner's rule, lowest coefficient first.
fn polynomial(x: f64, coefficients: &[f64; 8]) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// The coefficients of AS 241, lowest power first.
#[expect(clippy::excessive_precision, reason = "printed as in the paper, to be compared with it")]
mod as241 {
    pub(super) const CENTRE_TOP: [f64; 8] = [
        3.387_132_872_796_366_608,
        133.141_667_891_784_377_45,
        1_971.590_950_306_551_442_7,
        13_731.693_765_509_461_125,
        45_921.953_931_549_871_457,
        67_265.770_927_008_700_853,
        33_430.575_583_588_128_105,
        2_509.080_928_730_122_672_7,
    ];
    pub(super) const CENTRE_BOTTOM: [f64; 8] = [
        1.0,
        42.313_330_701_600_911_252,
        687.187_007_492_057_908_3,
        5_394.196_021_424_751_107_7,
        21_213.794_301_586_595_867,
        39_307.895_800_092_710_61,
        28_729.085_735_721_942_674,
        5_226.495_278_852_854_561,
    ];
    pub(super) const TAIL_TOP: [f64; 8] = [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_9,
        5.769_497_221_460_691_405_5,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        0.241_780_725_177_450_611_77,
        0.022_723_844_989_269_184_583_3,
        7.745_450_142_783_414_076_4e-4,
    ];
    pub(super) const TAIL_BOTTOM: [f64; 8] = [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_4,
        0.689_767_334_985_100_004_55,
        0.148_103_976_427_480_074_59,
        0.015_198_666_563_616_457_196_6,
        5.475_938_084_995_344_946e-4,
        1.050_750_071_644_416_843_24e-9,
    ];
    pub(super) const FAR_TOP: [f64; 8] = [
        6.657_904_643_501_103_777_2,
        5.463_784_911_164_114_369_9,
        1.784_826_539_917_291_335_8,
        0.296_560_571_828_504_891_23,
        0.026_532_189_526_576_123_093,
        1.242_660_947_388_078_438_6e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ];
    pub(super) const FAR_BOTTOM: [f64; 8] = [
        1.0,
        0.599_832_206_555_887_937_69,
        0.136_929_880_922_735_805_31,
        0.014_875_361_290_850_614_852_5,
        7.868_691_311_456_132_591e-4,
        1.846_318_317_510_054_681_8e-5,
        1.421_511_758_316_445_888_7e-7,
        2.044_263_103_389_939_785_64e-15,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Exp1, Gamma, StandardNormal};

    fn mean_and_variance(draws: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut n, mut mean, mut sum) = (0.0, 0.0, 0.0);
        for x in draws {
            n += 1.0;
            let step = x - mean;
            mean += step / n;
            sum += step * (x - mean);
        }
        (mean, sum / (n - 1.0))
    }

    /// Six standard errors: a false alarm once in a billion keys, and the key is fixed.
    fn close(what: &str, got: f64, want: f64, error: f64) {
        assert!((got - want).abs() <= 6.0 * error, "{what}: {got} is not {want} ± {error}");
    }

    #[test]
    fn the_normal_score_inverts_the_normal_distribution() {
        let mut p = 1e-15;
        while p < 1.0 {
            let z = normal_score(p);
            let back = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
            assert!((back - p).abs() <= 1e-14 * p.max(1e-3), "p {p}: z {z} gives {back}");
            p = if p < 0.01 { p * 1.7 } else { p + 0.003 };
        }
        assert!((normal_score(0.975) - 1.959_963_984_540_054).abs() < 1e-15);
    }

    #[test]
    fn variates_agree_with_their_laws_and_with_rand_distr() {
        let n = 200_000;
        let root = (n as f64).sqrt();
        let mut dice = Dice::stream(7);
        let (mean, variance) = mean_and_variance((0..n).map(|_| dice.normal()));
        close("normal mean", mean, 0.0, 1.0 / root);
        close("normal variance", variance, 1.0, 2f64.sqrt() / root);
        let (mean, _) = mean_and_variance((0..n).map(|_| StandardNormal.sample(&mut dice)));
        close("normal mean of rand_distr", mean, 0.0, 1.0 / root);
        let (mean, variance) = mean_and_variance((0..n).map(|_| dice.exponential()));
        close("exponential mean", mean, 1.0, 1.0 / root);
        close("exponential variance", variance, 1.0, 8f64.sqrt() / root);
        let (mean, _) = mean_and_variance((0..n).map(|_| Exp1.sample(&mut dice)));
        close("exponential mean of rand_distr", mean, 1.0, 1.0 / root);
        for shape in [0.2f64, 0.9, 1.0, 4.0, 50.0] {
            let theirs = Gamma::new(shape, 1.0).expect("a valid shape");
            // The fourth central moment of a gamma law is 3k² + 6k.
            let spread = (2.0 * shape * shape + 6.0 * shape).sqrt();
            let ours = mean_and_variance((0..n).map(|_| dice.gamma(shape)));
            let theirs = mean_and_variance((0..n).map(|_| theirs.sample(&mut dice)));
            for (mean, variance) in [ours, theirs] {
                close("gamma mean", mean, shape, shape.sqrt() / root);
                close("gamma variance", variance, shape, spread / root);
            }
        }
    }

    #[test]
    fn small_structured_keys_give_distinct_even_streams() {
        let mut keys: Vec<u64> = Vec::new();
        for seed in 0..8 {
            for replication in 0..8 {
                for copy in 0..4 {
                    for number in 0..256 {
                        let entity = mix(mix(mix(seed, replication), copy), number);
                        keys.push(key(entity, Purpose::Input));
                        keys.push(key(entity, Purpose::Output));
                    }
                }
            }
        }
        let firsts = mean_and_variance(keys.iter().map(|&k| Dice::stream(k).uniform()));
        let root = (keys.len() as f64).sqrt();
        close("mean of first draws", firsts.0, 0.5, 12f64.recip().sqrt() / root);
        close("variance of first draws", firsts.1, 1.0 / 12.0, 180f64.recip().sqrt() / root);
        // Neighbouring keys are uncorrelated, whichever part of the key differs.
        for lag in [1, 2, 512, 2048, 16_384] {
            let products = keys.iter().zip(&keys[lag..]).map(|(&a, &b)| {
                12.0 * (Dice::stream(a).uniform() - 0.5) * (Dice::stream(b).uniform() - 0.5)
            });
            let n = (keys.len() - lag) as f64;
            close("correlation of streams", mean_and_variance(products).0, 0.0, 1.0 / n.sqrt());
        }
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all, "no two keys are equal");
    }

    #[test]
    fn every_bit_of_a_key_moves_half_of_the_bits() {
        for bit in 0..64 {
            let flips: u32 =
                (0..1_000u64).map(|n| (mix(n, 3) ^ mix(n ^ (1 << bit), 3)).count_ones()).sum();
            close("flipped bits", f64::from(flips) / 1_000.0, 32.0, 4.0 / 1_000f64.sqrt());
        }
    }

    #[test]
    fn purposes_do_not_meet_the_numbers_below_an_entity() {
        let purposes = [Purpose::ArrivalGap, Purpose::Bootstrap, Purpose::Client];
        for purpose in purposes {
            assert!((0..1_000).all(|number| mix(5, number) != key(5, purpose)));
        }
    }

    #[test]
    fn a_coin_is_monotone_in_its_probability() {
        for k in 0..1_000 {
            let shows = |p: f64| Dice::stream(k).coin(p);
            assert!(!shows(0.0) && !shows(f64::NAN) && shows(1.0));
            assert!(!shows(0.3) || shows(0.4));
        }
    }
}
