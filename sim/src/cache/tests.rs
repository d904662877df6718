//! Caches against a list kept by hand, against what theory says of independent references, and in
//! the limits where a semantic cache is an exact one.

use super::*;
use crate::dice::{Dice, Purpose, mix};
use crate::dist::Zipf;
use crate::units::{Time, Tokens};

const POLICIES: [Eviction; 3] = [Eviction::Lru, Eviction::Fifo, Eviction::Random];

fn exact(ttl: Span, capacity: u32, eviction: Eviction) -> ExactCacheSpec {
    ExactCacheSpec { ttl, capacity, eviction, lookup: Span::ZERO }
}

fn semantic(threshold: f64, like: &ExactCacheSpec) -> SemanticCacheSpec {
    let ExactCacheSpec { ttl, capacity, eviction, lookup } = *like;
    SemanticCacheSpec { similarity_threshold: threshold, ttl, capacity, eviction, lookup }
}

/// Mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

fn balanced(counts: CacheCounts, entries: usize) -> bool {
    counts.insertions == entries as u64 + counts.replacements + counts.evictions + counts.expiries
}

/// A cache as a list of `(key, payload, stored)`, the next victim in front.
struct ByHand {
    spec: ExactCacheSpec,
    list: Vec<(u64, u32, u64)>,
    counts: CacheCounts,
}

impl ByHand {
    fn look_up(&mut self, now: u64, key: u64) -> Option<u32> {
        self.expire(now);
        self.counts.lookups += 1;
        let at = self.list.iter().position(|entry| entry.0 == key)?;
        self.counts.hits += 1;
        let entry = self.list[at];
        if self.spec.eviction == Eviction::Lru {
            self.list.remove(at);
            self.list.push(entry);
        }
        Some(entry.1)
    }

    fn insert(&mut self, now: u64, key: u64, payload: u32) {
        self.expire(now);
        self.counts.insertions += 1;
        if let Some(at) = self.list.iter().position(|entry| entry.0 == key) {
            self.list.remove(at);
            self.counts.replacements += 1;
        } else if self.list.len() == self.spec.capacity as usize {
            self.list.remove(0);
            self.counts.evictions += 1;
        }
        self.list.push((key, payload, now));
    }

    fn expire(&mut self, now: u64) {
        let before = self.list.len();
        self.list.retain(|entry| now - entry.2 < self.spec.ttl.0);
        self.counts.expiries += (before - self.list.len()) as u64;
    }
}

#[test]
fn an_exact_cache_does_what_a_list_does() {
    let mut least = [u64::MAX, 0, 0];
    for eviction in [Eviction::Lru, Eviction::Fifo] {
        for (ttl, capacity) in [(40, 7), (40, 60), (90, 30), (u64::MAX, 1), (u64::MAX, 60)] {
            let spec = exact(Span(ttl), capacity, eviction);
            let mut cache = ExactCache::new(&spec, 1);
            let mut by_hand = ByHand { spec, list: Vec::new(), counts: CacheCounts::default() };
            let mut dice = Dice::stream(ttl ^ u64::from(capacity));
            for step in 0..6_000u32 {
                let (now, key) = (u64::from(step / 2), dice.bits() % 90);
                // Storing without asking happens when two calls missed at the same time.
                if dice.coin(0.7) {
                    let found = cache.look_up(Time(now), key);
                    assert_eq!(found, by_hand.look_up(now, key), "step {step}");
                } else {
                    cache.insert(Time(now), key, step);
                    by_hand.insert(now, key, step);
                }
                assert_eq!((cache.len(), cache.counts()), (by_hand.list.len(), by_hand.counts));
            }
            let counts = cache.counts();
            assert!(balanced(counts, cache.len()));
            let of = [counts.hits, counts.evictions, counts.expiries];
            least = [least[0].min(of[0]), least[1].max(of[1]), least[2].max(of[2])];
        }
    }
    assert!(least[0] > 10 && least[1] > 100 && least[2] > 100, "{least:?} tests too little");
}

/// Shares of Zipf's ranks.
fn shares(ranks: usize, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=ranks).map(|k| libm::pow(k as f64, -exponent)).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// Hits in independent references: King, 1971. `left` places below those that are filled.
fn lru_hits(shares: &[f64], left: u32, filled: &mut Vec<usize>) -> f64 {
    if left == 0 {
        return filled.iter().map(|&i| shares[i]).sum();
    }
    let taken: f64 = filled.iter().map(|&i| shares[i]).sum();
    let mut sum = 0.0;
    for i in 0..shares.len() {
        if !filled.contains(&i) {
            filled.push(i);
            sum += shares[i] / (1.0 - taken) * lru_hits(shares, left - 1, filled);
            filled.pop();
        }
    }
    sum
}

/// The sum of the products of each `n` of the shares.
fn symmetric(shares: impl Iterator<Item = f64>, n: usize) -> f64 {
    let mut sums = vec![0.0; n + 1];
    sums[0] = 1.0;
    for share in shares {
        for k in (0..n).rev() {
            sums[k + 1] += share * sums[k];
        }
    }
    sums[n]
}

/// Hits of FIFO, and of random eviction, in independent references: Gelenbe, 1973.
fn fifo_hits(shares: &[f64], capacity: usize) -> f64 {
    let without = |i: usize| shares.iter().enumerate().filter(move |&(j, _)| j != i);
    let with = |i: usize| shares[i] * symmetric(without(i).map(|(_, &p)| p), capacity - 1);
    let all = symmetric(shares.iter().copied(), capacity);
    (0..shares.len()).map(|i| shares[i] * with(i) / all).sum()
}

#[test]
fn hits_in_independent_references_are_those_of_theory() {
    for (items, capacity, zipf) in [(6, 3, 1.0), (7, 2, 0.0), (8, 5, 1.6)] {
        let shares = shares(items as usize, zipf);
        let lru = lru_hits(&shares, capacity, &mut Vec::new());
        let fifo = fifo_hits(&shares, capacity as usize);
        for (eviction, want) in POLICIES.into_iter().zip([lru, fifo, fifo]) {
            let law = Zipf::new(items, zipf);
            let run = |replication: u64| {
                let spec = exact(Span::MAX, capacity, eviction);
                let mut cache = ExactCache::new(&spec, replication);
                let mut dice = Dice::stream(mix(7, replication));
                let mut hits = 0;
                for step in 0..11_000 {
                    let key = u64::from(law.draw(&mut dice));
                    let hit = cache.look_up(Time(step), key).is_some();
                    if !hit {
                        cache.insert(Time(step), key, ());
                    }
                    hits += u32::from(hit && step >= 1_000);
                }
                f64::from(hits) / 10_000.0
            };
            let (got, error) = mean(&(0..40).map(run).collect::<Vec<_>>());
            assert!((got - want).abs() < 4.0 * error, "{eviction:?} {items}: {got} {want}");
            assert!(error < 0.002, "too few runs to tell");
        }
    }
}

/// A miss starts a cycle of λT expected hits, then the next arrival is a miss again.
#[test]
fn entries_that_live_for_a_time_give_the_hits_of_a_renewal_process() {
    for load in [0.3, 2.0, 10.0] {
        let run = |replication: u64| {
            let ttl = Span::from_secs_f64(load);
            let mut cache = ExactCache::new(&exact(ttl, 5, Eviction::Lru), 0);
            let (mut dice, mut now) = (Dice::stream(mix(3, replication)), Time::ZERO);
            for _ in 0..10_000 {
                now = now + Span::from_secs_f64(dice.exponential());
                if cache.look_up(now, 1).is_none() {
                    cache.insert(now, 1, ());
                }
            }
            assert!(balanced(cache.counts(), cache.len()));
            cache.counts().hits as f64 / 10_000.0
        };
        let (got, error) = mean(&(0..40).map(run).collect::<Vec<_>>());
        let want = 1.0 - 1.0 / (1.0 + load);
        assert!((got - want).abs() < 4.0 * error, "{load}: {got} {want} {error}");
    }
}

#[test]
fn an_entry_dies_at_the_end_of_its_life_and_makes_room() {
    let mut cache = ExactCache::new(&exact(Span(10), 2, Eviction::Lru), 0);
    cache.insert(Time(0), 1, "old");
    cache.insert(Time(5), 2, "young");
    assert_eq!(cache.look_up(Time(9), 1), Some("old"));
    assert_eq!(cache.look_up(Time(10), 1), None);
    cache.insert(Time(11), 3, "new");
    // The used-up entry went, not the one used longest ago.
    assert_eq!(cache.look_up(Time(12), 2), Some("young"));
    assert_eq!((cache.counts().evictions, cache.counts().expiries), (0, 1));

    let mut never = ExactCache::new(&exact(Span::ZERO, 2, Eviction::Lru), 0);
    never.insert(Time(0), 1, ());
    assert_eq!(never.look_up(Time(0), 1), None);
    let mut forever = ExactCache::new(&exact(Span::MAX, 2, Eviction::Fifo), 0);
    forever.insert(Time(0), 1, ());
    assert_eq!(forever.look_up(Time(u64::MAX - 1), 1), Some(()));
}

fn queries(spread: f64) -> QuerySampler {
    let spec = QuerySpec {
        topics: 400,
        zipf: 0.9,
        phrasings: 6,
        neighbours: 4,
        similarity: 0.9,
        neighbour_similarity: 0.75,
        spread,
    };
    QuerySampler::new(&spec, 12)
}

/// Asks a semantic cache, and after a miss stores the number of the question.
fn ask(cache: &mut SemanticCache<u32>, step: u32, query: &Query) -> Option<Hit<u32>> {
    let now = Time(u64::from(step));
    let hit = cache.look_up(now, query, None);
    if hit.is_none() {
        cache.insert(now, query, step);
    }
    hit
}

/// What a semantic cache takes for one question decides which exact cache it is.
#[test]
fn without_spread_a_semantic_cache_is_an_exact_one_by_words_topic_or_neighbourhood() {
    type KeyOf = fn(&Query) -> u64;
    let limits: [(f64, f64, KeyOf); 4] = [
        (1.0, 0.04, |query| query.exact),
        (0.95, 0.0, |query| query.exact),
        (0.9, 0.0, Query::topic),
        (0.75, 0.0, |query| query.neighbourhood().1.into()),
    ];
    for (eviction, ttl) in POLICIES.into_iter().zip([2_000, 200, 2_000]) {
        for (threshold, spread, key_of) in limits {
            let spec = exact(Span(ttl), 60, eviction);
            let mut cache = SemanticCache::new(&semantic(threshold, &spec), 9);
            let mut twin = ExactCache::new(&spec, 9);
            let sampler = queries(spread);
            for step in 0..20_000 {
                let query = sampler.draw(mix(4, u64::from(step)));
                let now = Time(u64::from(step));
                let want = twin.look_up(now, key_of(&query));
                if want.is_none() {
                    twin.insert(now, key_of(&query), step);
                }
                let hit = ask(&mut cache, step, &query);
                assert_eq!(hit.map(|hit| hit.answer), want, "{eviction:?} {threshold}");
                assert!(hit.is_none_or(|hit| hit.right) || threshold == 0.75);
            }
            let wrong_hits = cache.counts().wrong_hits;
            assert_eq!(cache.counts(), CacheCounts { wrong_hits, ..twin.counts() });
            assert_eq!(wrong_hits > 0, threshold == 0.75);
            let counts = cache.counts();
            assert!(counts.hits > 1_000 && counts.evictions + counts.expiries > 1_000);
        }
    }
}

/// Of `m` topics that are alike to it and asked equally often, a cache knows the first one asked.
#[test]
fn a_cache_that_confuses_a_neighbourhood_is_wrong_as_often_as_there_are_others_in_it() {
    let spec = QuerySpec {
        topics: 40,
        zipf: 0.0,
        phrasings: 3,
        neighbours: 4,
        similarity: 0.9,
        neighbour_similarity: 0.75,
        spread: 0.0,
    };
    let sampler = QuerySampler::new(&spec, 2);
    let like = exact(Span::MAX, 1_000, Eviction::Lru);
    let mut cache = SemanticCache::new(&semantic(0.7, &like), 0);
    for step in 0..20_000 {
        ask(&mut cache, step, &sampler.draw(mix(6, u64::from(step))));
    }
    assert_eq!(cache.len(), 10);
    let share = cache.counts().wrong_hits as f64 / cache.counts().hits as f64;
    assert!((share - 0.75).abs() < 4.0 * (0.75 * 0.25 / 20_000f64).sqrt(), "{share}");
}

#[test]
fn a_higher_threshold_trades_hits_for_fewer_wrong_ones() {
    let sampler = queries(0.04);
    let thresholds = [0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];
    let mut before = (u64::MAX, f64::INFINITY);
    for threshold in thresholds {
        let like = exact(Span::MAX, 100_000, Eviction::Lru);
        let mut cache = SemanticCache::new(&semantic(threshold, &like), 0);
        for step in 0..30_000 {
            ask(&mut cache, step, &sampler.draw(mix(8, u64::from(step))));
        }
        let counts = cache.counts();
        let wrong = counts.wrong_hits as f64 / counts.hits as f64;
        assert!(counts.hits < before.0 && (wrong < before.1 || wrong == 0.0), "{threshold}");
        before = (counts.hits, wrong);
    }
    assert_eq!(before.1, 0.0);
}

/// One and the same cache, asked with other thresholds: the same answer, or none.
#[test]
fn a_threshold_for_once_hides_answers_and_changes_none() {
    let sampler = queries(0.04);
    let mut cache = SemanticCache::new(&semantic(1.0, &exact(Span::MAX, 500, Eviction::Lru)), 0);
    for step in 0..500 {
        ask(&mut cache, step, &sampler.draw(mix(1, u64::from(step))));
    }
    let mut answered = 0;
    for step in 0..500 {
        let (now, query) = (Time(1_000), sampler.draw(mix(2, step)));
        let nearest = cache.look_up(now, &query, Some(0.01));
        for threshold in [0.7, 0.8, 0.9, 1.0] {
            let hit = cache.look_up(now, &query, Some(threshold));
            assert_eq!(hit, nearest.filter(|hit| hit.similarity >= threshold));
            answered += u32::from(hit.is_some());
        }
        assert_eq!(cache.look_up(now, &query, Some(1.1)), None);
        assert_eq!(cache.look_up(now, &query, Some(f64::NAN)), None);
    }
    assert!((300..1_900).contains(&answered), "{answered}");
}

#[test]
fn the_nearest_entry_answers_with_what_it_holds() {
    let sampler = queries(0.03);
    let spec = semantic(0.5, &exact(Span::MAX, 3, Eviction::Fifo));
    let mut cache = SemanticCache::new(&spec, 0);
    let query = sampler.draw(mix(1, 1));
    let answer = CachedAnswer { right: true, harmful: false, output: Tokens(70) };
    cache.insert(Time(0), &query, answer);
    let better = CachedAnswer { output: Tokens(90), ..answer };
    cache.insert(Time(1), &query, better);
    let hit = cache.look_up(Time(1), &query, None);
    assert_eq!(hit, Some(Hit { right: true, similarity: 1.0, answer: better }));
    assert_eq!((cache.len(), cache.counts().replacements), (1, 1));
    assert!(!cache.is_empty());
}

/// Random victims belong to the run, and every entry is one as often as any other.
#[test]
fn random_victims_are_drawn_evenly_and_by_the_run() {
    let evicted = |run_key: u64| {
        let mut cache = ExactCache::new(&exact(Span::MAX, 20, Eviction::Random), run_key);
        let keys = (0..20u64).chain([99]);
        keys.for_each(|key| cache.insert(Time(0), key, ()));
        (0..20).find(|&key| cache.look_up(Time(0), key).is_none())
    };
    let mut times = [0u32; 20];
    for run in 0..10_000 {
        let run_key = mix(5, run);
        assert_eq!(evicted(run_key), evicted(run_key));
        times[evicted(run_key).expect("one had to go") as usize] += 1;
    }
    // 500 expected each, standard deviation 22.
    assert!(times.iter().all(|n| (400..600).contains(n)), "{times:?}");
    let purposes = [Purpose::Query, Purpose::QueryPoint, Purpose::Eviction];
    assert_eq!(purposes.map(|p| p as u64), [30, 31, 32]);
}

/// Against a list that is searched from end to end with the similarity of whole queries.
#[test]
fn the_nearest_of_all_entries_is_found() {
    for threshold in [0.65, 0.8, 0.93] {
        let sampler = queries(0.04);
        let spec = semantic(threshold, &exact(Span(400), 50, Eviction::Fifo));
        let mut cache = SemanticCache::new(&spec, 0);
        let mut list: Vec<(Query, u32)> = Vec::new();
        let mut wrong = 0;
        for step in 0..4_000 {
            let query = sampler.draw(mix(9, u64::from(step)));
            list.retain(|entry| step - entry.1 < 400);
            let similarities = list.iter().map(|entry| query.similarity(&entry.0));
            let best = similarities.fold(f64::NEG_INFINITY, f64::max);
            let hit = ask(&mut cache, step, &query);
            assert_eq!(hit.map(|hit| hit.similarity), (best >= threshold).then_some(best));
            if let Some(hit) = hit {
                let entry = list.iter().find(|entry| entry.1 == hit.answer).expect("it is kept");
                assert_eq!(query.similarity(&entry.0), hit.similarity);
                assert_eq!(query.topic() == entry.0.topic(), hit.right);
                wrong += u32::from(!hit.right);
            } else {
                if list.len() == 50 {
                    list.remove(0);
                }
                list.push((query, step));
            }
        }
        assert_eq!(wrong > 100, threshold == 0.65, "{wrong}");
    }
}
