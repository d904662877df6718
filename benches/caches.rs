//! Caches of answers alone: drawing a query, and asking a cache that stores after a miss.
//!
//! Deliberately absent: the calls that a hit spares.

use criterion::{Criterion, Throughput};
use sim::cache::{
    Eviction, ExactCache, ExactCacheSpec, Query, QuerySampler, QuerySpec, SemanticCache,
    SemanticCacheSpec,
};
use sim::dice::mix;
use sim::units::{Span, Time};
use std::hint::black_box;

const QUERIES: u64 = 100_000;
const CAPACITY: u32 = 20_000;

fn sampler() -> QuerySampler {
    let spec = QuerySpec {
        topics: 50_000,
        zipf: 0.9,
        phrasings: 8,
        neighbours: 5,
        similarity: 0.9,
        neighbour_similarity: 0.75,
        spread: 0.03,
    };
    QuerySampler::new(&spec, 1)
}

fn queries() -> Vec<Query> {
    let sampler = sampler();
    (0..QUERIES).map(|k| sampler.draw(mix(3, k))).collect()
}

fn caches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("caches");
    group.sample_size(20).throughput(Throughput::Elements(QUERIES));
    let sampler = sampler();
    group.bench_function("draw", |bencher| {
        bencher.iter(|| (0..QUERIES).fold(0, |sum, k| sum ^ sampler.draw(mix(3, k)).exact));
    });
    let queries = queries();
    group.bench_function("semantic", |bencher| {
        let spec = SemanticCacheSpec {
            similarity_threshold: 0.9,
            ttl: Span::MAX,
            capacity: CAPACITY,
            eviction: Eviction::Lru,
            lookup: Span::ZERO,
        };
        let mut cache = SemanticCache::new(&spec, 1);
        bencher.iter(|| {
            for query in &queries {
                if cache.look_up(Time::ZERO, black_box(query), None).is_none() {
                    cache.insert(Time::ZERO, query, ());
                }
            }
        });
    });
    group.bench_function("exact", |bencher| {
        let (ttl, eviction) = (Span::MAX, Eviction::Lru);
        let spec = ExactCacheSpec { ttl, capacity: CAPACITY, eviction, lookup: Span::ZERO };
        let mut cache = ExactCache::new(&spec, 1);
        bencher.iter(|| {
            for query in &queries {
                if cache.look_up(Time::ZERO, black_box(query.exact)).is_none() {
                    cache.insert(Time::ZERO, query.exact, ());
                }
            }
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    caches(&mut criterion);
    criterion.final_summary();
}
