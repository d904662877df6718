//! What is asked: topic, words, and a place among all queries.
//!
//! A query about topic `t` of neighbourhood `g`, put in the words of phrasing `p`, stands for the
//! unit vector
//!
//! ```text
//! x(t, p) = √n · u_g + √(s − n) · v_t
//!         + √a · Σ_{k=1..K} (cos φ_k · c_{g,k} + sin φ_k · d_{g,k})
//!         + √(1 − s − K·a) · w_{t,p}
//! ```
//!
//! where all `u`, `v`, `c`, `d`, `w` are orthogonal unit vectors, `s` is the similarity within a
//! topic, `n` that within a neighbourhood, and the `K` angles `φ` belong to the topic's phrasing,
//! independent and uniform. The inner product of two of them is their cosine similarity:
//!
//! ```text
//! 1                                       same topic, same phrasing
//! s + a · Σ_k cos(φ_k − φ'_k)             same topic, other phrasing
//! n + a · Σ_k cos(φ_k − φ'_k)             same neighbourhood, other topic
//! 0                                       other neighbourhood
//! ```
//!
//! A cosine of a uniform angle has mean 0 and variance 1/2, so the means are `s` and `n`, and both
//! variances `a²·K/2`: the spread σ asks for `a = σ·√(2/K)`. The last weight must not be negative,
//! so `σ·√(2K) ≤ 1 − s`; the largest `K ≤ 4` that satisfies this is taken, because more angles make
//! a rounder bell. With `K = 1` the bound is [`QuerySpec::widest_spread`]. Since every similarity is
//! an inner product of unit vectors, it is symmetric and in [−1, 1], and a triangle of queries is
//! as consistent as in a real embedding: words that are far from one query's are near another's.
//!
//! Invariants: vectors are never built; angles are whole 256ths of a turn, over which the two
//! moments of a cosine are exactly those above; they come from keys, so no table over topics is
//! kept; a similarity of 1 means the same topic and phrasing.
//!
//! Deliberately absent: text, and similarities that differ from topic to topic.

use super::QuerySpec;
use crate::dice::{Dice, Purpose, mix};
use crate::dist::Zipf;

/// Most angles of a phrasing.
const ANGLES: usize = 4;

/// The similarity next to 1, which different words never pass.
const BELOW_ONE: f64 = 1.0 - f64::EPSILON;

/// Cosines of the 256ths of a turn.
static COSINES: [f64; 256] = cosines();

/// Computed at build time, alike everywhere: a Taylor series on the first quarter, exact to the
/// last bit or two, and its mirror images, so that the cosines of opposite angles cancel exactly.
const fn cosines() -> [f64; 256] {
    let mut table = [0.0; 256];
    let mut i = 0;
    while i < 64 {
        let x = std::f64::consts::TAU * (i as f64) / 256.0;
        let (mut term, mut sum, mut n) = (1.0, 1.0, 0.0);
        while n < 24.0 {
            term *= -x * x / ((n + 1.0) * (n + 2.0));
            sum += term;
            n += 2.0;
        }
        table[i] = sum;
        table[128 - i] = -sum;
        table[128 + i] = -sum;
        table[(256 - i) % 256] = sum;
        i += 1;
    }
    table
}

impl QuerySpec {
    /// The largest spread that queries with this similarity can have: `(1 − similarity) / √2`.
    #[must_use]
    pub fn widest_spread(&self) -> f64 {
        (1.0 - self.similarity) * std::f64::consts::FRAC_1_SQRT_2
    }
}

/// How queries of one sampler lie to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Geometry {
    /// Mean within a topic.
    similarity: f64,
    /// Mean within a neighbourhood.
    neighbour: f64,
    /// `a` above.
    amplitude: f64,
    /// `K` above.
    angles: u32,
    /// At least 1.
    topics: u32,
    /// Topics are dealt out to so many groups in the order of their popularity, as cards are: a
    /// group has one topic of each level, and the most popular ones do not confuse each other.
    groups: u32,
}

impl Geometry {
    /// Values out of range are held at its end: files are checked where they are read.
    fn new(spec: &QuerySpec) -> Geometry {
        let similarity = spec.similarity.clamp(0.0, 1.0);
        let spread = spec.spread.clamp(0.0, spec.widest_spread().max(0.0));
        let ratio = (1.0 - similarity) / spread;
        // Without spread the ratio is infinite or no number; the number of angles is then free.
        let angles = (ratio * ratio / 2.0).min(ANGLES as f64).max(1.0).floor();
        let topics = spec.topics.max(1);
        Geometry {
            similarity,
            neighbour: spec.neighbour_similarity.clamp(0.0, similarity),
            amplitude: spread * (2.0 / angles).sqrt(),
            angles: angles as u32,
            topics,
            groups: topics.div_ceil(spec.neighbours.max(1)),
        }
    }
}

/// One query, as caches see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// Identity of topic and phrasing: what an exact cache is asked for.
    pub exact: u64,
    /// The sampler's key.
    space: u64,
    /// 0 the most popular.
    topic: u32,
    words: Words,
    geometry: Geometry,
}

/// A phrasing and its angles: all that a cache has to keep of a query besides its topic, and small,
/// because a look-up reads it of many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    phrasing: u32,
    angles: [u8; ANGLES],
}

impl Query {
    /// Cosine similarity, in [−1, 1]; 1 only for the same topic and phrasing.
    #[must_use]
    pub fn similarity(&self, other: &Query) -> f64 {
        let near = self.neighbourhood() == other.neighbourhood();
        if near { self.similarity_to(self.topic == other.topic, &other.words) } else { 0.0 }
    }

    /// The group of topics that can be confused with this one, as sampler and number.
    #[must_use]
    pub fn neighbourhood(&self) -> (u64, u32) {
        (self.space, self.topic % self.geometry.groups)
    }

    /// Identity of the topic: answers to queries with the same are interchangeable.
    #[must_use]
    pub fn topic(&self) -> u64 {
        mix(self.space, u64::from(self.topic))
    }

    /// The other topics of the neighbourhood.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = u64> {
        let Geometry { topics, groups, .. } = self.geometry;
        let (space, own) = (self.space, self.topic);
        let all = (own % groups..topics).step_by(groups as usize);
        all.filter(move |&topic| topic != own).map(move |topic| mix(space, u64::from(topic)))
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    /// Cosine similarity with a query about the same topic, or about a neighbouring one.
    pub(super) fn similarity_to(&self, same_topic: bool, words: &Words) -> f64 {
        if same_topic && self.words.phrasing == words.phrasing {
            return 1.0;
        }
        let Geometry { similarity, neighbour, amplitude, angles, .. } = self.geometry;
        let mean = if same_topic { similarity } else { neighbour };
        let pairs = self.words.angles.iter().zip(&words.angles).take(angles as usize);
        let sum: f64 = pairs.map(|(a, b)| COSINES[usize::from(a.wrapping_sub(*b))]).sum();
        (mean + amplitude * sum).clamp(-1.0, BELOW_ONE)
    }

    /// No query about a neighbouring topic is more similar than this.
    pub(super) fn neighbours_at_most(&self) -> f64 {
        let Geometry { neighbour, amplitude, angles, .. } = self.geometry;
        // Rounded up, since a sum of cosines is rounded too.
        neighbour + f64::from(angles) * amplitude + 1e-12
    }
}

/// Draws queries.
#[derive(Clone, Debug)]
pub struct QuerySampler {
    key: u64,
    popularity: Zipf,
    phrasings: u32,
    geometry: Geometry,
}

impl QuerySampler {
    /// Queries of one step. Samplers with different keys never ask the same thing. A `key` that
    /// differs from run to run draws other places for the phrasings in each, so that an interval
    /// over runs covers what means and spread leave open; it must not depend on a policy.
    #[must_use]
    pub fn new(spec: &QuerySpec, key: u64) -> QuerySampler {
        QuerySampler {
            key,
            popularity: Zipf::new(spec.topics, spec.zipf),
            phrasings: spec.phrasings.max(1),
            geometry: Geometry::new(spec),
        }
    }

    /// The query of the entity with this key.
    #[must_use]
    pub fn draw(&self, entity_key: u64) -> Query {
        let mut dice = Dice::of(entity_key, Purpose::Query);
        // The phrasing first: another popularity law leaves the words as they are.
        let phrasing = (u128::from(dice.bits()) * u128::from(self.phrasings)) >> 64;
        let rank = self.popularity.draw(&mut dice);
        self.query(rank - 1, phrasing as u32)
    }

    /// The query about a topic (0 the most popular) in certain words.
    fn query(&self, topic: u32, phrasing: u32) -> Query {
        let exact = mix(mix(self.key, u64::from(topic)), u64::from(phrasing));
        let [a, b, c, d, ..] = Dice::of(exact, Purpose::QueryPoint).bits().to_le_bytes();
        let words = Words { phrasing, angles: [a, b, c, d] };
        Query { exact, space: self.key, topic, words, geometry: self.geometry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(similarity: f64, neighbour_similarity: f64, spread: f64) -> QuerySpec {
        QuerySpec {
            topics: 3_000,
            zipf: 0.9,
            phrasings: 7,
            neighbours: 5,
            similarity,
            neighbour_similarity,
            spread,
        }
    }

    /// `(similarity, neighbour similarity, spread)`, every number of angles among them.
    const SHAPES: [(f64, f64, f64); 6] = [
        (0.9, 0.75, 0.0),
        (0.9, 0.75, 0.03),
        (0.85, 0.6, 0.06),
        (0.85, 0.7, 0.075),
        (0.8, 0.1, 0.1414),
        (0.3, 0.0, 0.4),
    ];

    /// Mean and standard deviation.
    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        (mean, (squares / (n - 1.0)).sqrt())
    }

    #[test]
    fn similarities_have_the_stated_means_and_spread() {
        for (s, n, spread) in SHAPES {
            let sampler = QuerySampler::new(&spec(s, n, spread), 5);
            let groups = sampler.geometry.groups;
            let other_words = |t| sampler.query(t, 0).similarity(&sampler.query(t, 1));
            let neighbours = |t| sampler.query(t, 0).similarity(&sampler.query(t + groups, 0));
            let within: Vec<f64> = (0..3_000).map(other_words).collect();
            let between: Vec<f64> = (0..3_000 - groups).map(neighbours).collect();
            for (values, mean) in [(within, s), (between, n)] {
                let (got, deviation) = moments(&values);
                // Pairs of neighbours share queries, but their similarities are independent.
                let error = spread / (values.len() as f64).sqrt();
                assert!((got - mean).abs() <= 4.0 * error + 1e-9, "{mean} {spread}: {got}");
                // With a kurtosis of 3 or less the deviation's error is at most σ/√(2n).
                let off = (deviation - spread).abs();
                assert!(off <= 4.0 * 0.71 * error + 1e-9, "{mean} {spread}: {deviation}");
            }
        }
    }

    #[test]
    fn a_similarity_is_that_of_unit_vectors() {
        let mut angles_seen = [0; ANGLES + 1];
        for (s, n, spread) in SHAPES {
            let sampler = QuerySampler::new(&spec(s, n, spread), 8);
            let Geometry { amplitude, angles, .. } = sampler.geometry;
            angles_seen[angles as usize] += 1;
            // The weight of the part that no other query shares.
            assert!(1.0 - s - f64::from(angles) * amplitude >= -1e-12, "{s} {spread}");
            for k in 0..2_000 {
                let (a, b) = (sampler.draw(mix(1, k)), sampler.draw(mix(2, k)));
                let similarity = a.similarity(&b);
                assert_eq!(similarity, b.similarity(&a));
                assert!((-1.0..=1.0).contains(&similarity));
                assert_eq!(similarity == 1.0, a.exact == b.exact);
                assert_eq!(a.similarity(&a), 1.0);
                if a.neighbourhood() != b.neighbourhood() {
                    assert_eq!(similarity, 0.0);
                } else if a.topic() != b.topic() {
                    assert!(similarity <= a.neighbours_at_most());
                    assert!(a.neighbours().any(|topic| topic == b.topic()));
                }
            }
        }
        assert!(angles_seen[1..].iter().all(|&n| n > 0), "{angles_seen:?}");
    }

    #[test]
    fn the_table_of_cosines_is_right() {
        for (i, &cosine) in COSINES.iter().enumerate() {
            let turn = std::f64::consts::TAU * i as f64 / 256.0;
            assert!((cosine - libm::cos(turn)).abs() < 1e-15, "{i}");
            assert_eq!(cosine, -COSINES[(i + 128) % 256]);
            assert_eq!(cosine, COSINES[(256 - i) % 256]);
        }
    }

    #[test]
    fn groups_are_as_large_as_stated_and_samplers_share_nothing() {
        let sampler = QuerySampler::new(&spec(0.9, 0.7, 0.03), 3);
        let mut sizes = std::collections::BTreeMap::new();
        for topic in 0..3_000 {
            let query = sampler.query(topic, 0);
            *sizes.entry(query.neighbourhood()).or_insert(0) += 1;
            assert!(
                query.neighbours().count() == 4 && !query.neighbours().any(|t| t == query.topic())
            );
        }
        assert_eq!(sizes.len(), 600);
        assert!(sizes.values().all(|&size| size == 5));
        let other = QuerySampler::new(&spec(0.9, 0.7, 0.03), 4);
        assert!((0..3_000).all(|t| !sizes.contains_key(&other.query(t, 0).neighbourhood())));
        assert_eq!(sampler.draw(77), sampler.draw(77));
    }

    #[test]
    fn a_spread_that_no_vectors_have_is_held_at_the_widest() {
        let wide = spec(0.9, 0.7, 0.5);
        assert_eq!(Geometry::new(&wide), Geometry::new(&spec(0.9, 0.7, wide.widest_spread())));
        let same = spec(1.0, 1.0, 0.0);
        assert_eq!(Geometry::new(&same).amplitude, 0.0);
    }
}
