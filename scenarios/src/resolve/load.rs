//! An estimate of each pool's offered load, to warn before a simulation is run.
//!
//! Mean demand divided by mean capacity. The capacity of a replica that decodes `B` sequences of
//! mean length and prefills in full chunks is `1 / (input · prefill + output · decode)` requests
//! per second, with `prefill` the time of a full chunk per token and `decode` the time of a decode
//! iteration of `B` sequences per sequence; `B` is what the KV cache and `max_num_seqs` admit. With
//! prefix caching, a shared prefix of which all variants fit half the cache is computed so rarely
//! that it is not counted as prefill; it is read in every iteration all the same.
//!
//! Deliberately absent: queueing, padding, the history of conversations (with prefix caching hardly
//! ever computed again), and hits that depend on what a recording repeats or the cache evicts: where
//! there may be such, the warning says that they are not counted. The simulation decides.

use super::{Resolver, traffic::Source};
use crate::problem::{At, Problem, ProblemKind, Site};
use crate::resolved::Origin;
use sim::engine::Work;
use sim::fleet::PoolSpec;
use sim::ids::{Backend, ModelId, PoolId};
use sim::scenario::{BackendChoice, Serving};
use sim::units::Span;
use sim::workload::{Arrivals, PrefixSpec, RateCurve, ScaleHow};

/// Instants at which a rate curve is sampled for its mean.
const SAMPLES: u64 = 240;
/// An estimate this far above one is worth a warning.
const OVERLOADED: f64 = 1.0;
/// Calls of one replication, at most.
const MOST_CALLS: f64 = 1e10;
/// Calls that one thread simulates in a second, at best.
const CALLS_PER_SECOND: f64 = 2e6;

impl Resolver<'_> {
    /// Offered load of each pool, from the calls that tasks make for certain; what a condition
    /// decides, retries and repetitions after a check come on top.
    pub(super) fn offered_load(&self, sources: &[Source], horizon: Span) -> Vec<Option<f64>> {
        let none = Load { share: Some(0.0), calls: 0.0, hits_unknown: false };
        let mut loads = vec![none; self.pools.len()];
        for source in sources {
            let (demand, factor) = (source.demand, factor(source));
            for call in self.expected_calls(source.spec.task) {
                let (input, output) = call.lengths.unwrap_or((demand.input, demand.output));
                let of_request = call.lengths.is_none();
                let prefix = if of_request { source.spec.prefix.as_ref() } else { call.prefix };
                for (pool_id, share) in self.shares(call.model) {
                    let pool = self.pools.get(pool_id.index()).and_then(Option::as_ref);
                    let (Some(pool), Some(load)) = (pool, loads.get_mut(pool_id.index())) else {
                        continue;
                    };
                    let shared = Shared::new(&pool.spec, prefix);
                    let repeats = of_request && pool.spec.engine.prefix_caching && repeats(source);
                    load.hits_unknown |= repeats || shared.is_none();
                    let calls = demand.rate.map(|rate| rate * factor * call.times * share);
                    load.calls += calls.unwrap_or(0.0);
                    load.share = load.share.zip(calls).map(|(sum, calls)| {
                        let shared = shared.unwrap_or_default();
                        let each = service_seconds(&pool.spec, input, output, shared);
                        sum + calls * each / f64::from(pool.spec.replicas)
                    });
                }
            }
        }
        for ((name, _), load) in self.file.pools.iter().zip(&loads) {
            self.note_load(name, load, horizon);
        }
        loads.into_iter().map(|load| load.share).collect()
    }

    fn note_load(&self, name: &At<String>, load: &Load, horizon: Span) {
        let Some(share) = load.share else { return };
        let key = format!("{}.offered_load", name.site.key);
        let how = "mean demand over mean capacity, an estimate".to_owned();
        self.note(key, format!("{share:.3}"), Origin::Derived(how));
        if share <= OVERLOADED {
            return;
        }
        let waiting = rounded(load.calls * (1.0 - 1.0 / share) * horizon.as_secs_f64());
        let message = if load.hits_unknown {
            format!(
                "without hits in the prefix cache, offered load is about {share:.2} of capacity; \
                 unless they make up for it, the queue will grow while requests arrive"
            )
        } else {
            format!(
                "offered load is about {share:.2} of capacity: the queue will grow without end \
                 while requests arrive; {waiting} calls will wait at the horizon unless they are \
                 rejected or given up"
            )
        };
        self.warn(&name.site, message);
    }
}

/// What a pool is asked for.
#[derive(Clone, Copy)]
struct Load {
    /// Mean demand over mean capacity; `None` where a rate is not known before the run.
    share: Option<f64>,
    /// Calls per second.
    calls: f64,
    /// Whether the prefix cache may find what the estimate counts as computed.
    hits_unknown: bool,
}

/// What the prefix cache has of each prompt.
#[derive(Clone, Copy, Default)]
struct Shared {
    /// Tokens of a prompt that are found, in full blocks.
    hits: f64,
    /// Tokens that the cache holds for all prompts together.
    held: f64,
}

impl Shared {
    /// `None` where the variants of the prefix push each other out, so that hits depend on the run.
    fn new(pool: &PoolSpec, prefix: Option<&PrefixSpec>) -> Option<Shared> {
        let engine = &pool.engine;
        let Some(prefix) = prefix.filter(|_| engine.prefix_caching) else {
            return Some(Shared::default());
        };
        let block = engine.block_size.0.max(1);
        let hits = f64::from(prefix.tokens / block * block);
        let held = hits * f64::from(prefix.distinct);
        (held <= engine.kv_token_capacity() as f64 / 2.0).then_some(Shared { hits, held })
    }
}

/// Whether it is a recording that says which prompts begin alike.
fn repeats(source: &Source) -> bool {
    matches!(&source.spec.arrivals, Arrivals::Replay { trace, .. } if !trace.segments.is_empty())
}

impl Resolver<'_> {
    /// Refuses what no machine would finish, from the same estimate: more calls than
    /// [`MOST_CALLS`]. Closed loops, whose rate follows from the run, do not count.
    pub(super) fn check_size(&self, sources: &[Source], horizon: Span, site: &Site) {
        let calls = |source: &Source| {
            let each: f64 = self.expected_calls(source.spec.task).iter().map(|c| c.times).sum();
            let rate = source.demand.rate.unwrap_or(0.0) * factor(source);
            rate * each.max(1.0) * horizon.as_secs_f64()
        };
        let each: Vec<f64> = sources.iter().map(calls).collect();
        let total: f64 = each.iter().sum();
        if total <= MOST_CALLS {
            return;
        }
        let largest = each.iter().zip(sources).max_by(|a, b| a.0.total_cmp(b.0));
        let largest = largest.map_or("", |(_, source)| source.spec.name.as_str());
        let message = format!(
            "one replication would make {} calls; at most {} are allowed",
            rounded(total),
            rounded(MOST_CALLS)
        );
        let time = lasting(total / CALLS_PER_SECOND);
        self.push(Problem::new(ProblemKind::BadValue, site, message).help(format!(
            "at two million calls a second, the most a thread simulates, it would take {time}; \
             lower the horizon, or rate and scale of traffic.{largest}, which sends most"
        )));
    }

    /// Pools that get a model's calls first, and their shares of them.
    fn shares(&self, model: ModelId) -> Vec<(PoolId, f64)> {
        let Some(model) = self.models.get(model.index()) else { return Vec::new() };
        let pool = |serving: &Serving| match serving.backend {
            Backend::Pool(pool) => Some(pool),
            Backend::Remote(_) => None,
        };
        match model.choice {
            BackendChoice::Ordered => {
                let first = model.served_by.first().and_then(pool);
                first.into_iter().map(|pool| (pool, 1.0)).collect()
            }
            BackendChoice::Weighted => {
                let total: f64 = model.served_by.iter().map(|serving| serving.weight).sum();
                let share = |s: &Serving| Some((pool(s)?, s.weight / total));
                model.served_by.iter().filter_map(share).collect()
            }
        }
    }
}

/// What scaling makes of a source's mean rate.
fn factor(source: &Source) -> f64 {
    match source.spec.scaling.how {
        ScaleHow::Burstier => 1.0,
        ScaleHow::MoreUsers | ScaleHow::FasterUsers => source.spec.scaling.factor,
    }
}

/// A large number in words.
fn rounded(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.0} billion", n / 1e9),
        n if n >= 1e6 => format!("{:.1} million", n / 1e6),
        n => format!("about {n:.0}"),
    }
}

/// A long time in words.
fn lasting(seconds: f64) -> String {
    const HOUR: f64 = 3_600.0;
    const YEAR: f64 = 365.25 * 24.0 * HOUR;
    match seconds {
        s if s >= YEAR => format!("{:.1} years", s / YEAR),
        s if s >= 48.0 * HOUR => format!("{:.1} days", s / (24.0 * HOUR)),
        s => format!("{:.1} hours", s / HOUR),
    }
}

/// Seconds of one replica that a request of mean size takes from the others.
fn service_seconds(pool: &PoolSpec, input: f64, output: f64, shared: Shared) -> f64 {
    let engine = &pool.engine;
    // What does not fit is cut or rejected, and an estimate may not overflow where it would.
    let longest = f64::from(engine.max_model_len.0);
    let (input, output) = (input.min(longest), output.min(longest));
    let hits = shared.hits.min(input);
    let own = (input - hits + output).max(1.0);
    let room = engine.kv_token_capacity() as f64 - shared.held;
    let batch = (room / own).min(f64::from(engine.max_num_seqs)).max(1.0) as u32;
    // Each sequence reads the shared blocks, which are there once.
    let read = f64::from(batch) * (input - hits + output / 2.0);
    let kv_tokens = read.min(room) + f64::from(batch) * hits;
    let decode = Work { decodes: batch, kv_tokens: kv_tokens as u64, ..Work::default() };
    let decode = pool.step_time.iteration(decode).as_secs_f64() / f64::from(batch);

    let chunk = engine.max_num_batched_tokens.0.max(1);
    let pairs = f64::from(chunk) * (hits + input) / 2.0;
    let prefill = Work { prefill_tokens: chunk, prefill_pairs: pairs as u64, ..Work::default() };
    let prefill = pool.step_time.iteration(prefill).as_secs_f64() / f64::from(chunk);
    (input - hits) * prefill + output * decode
}

/// Mean of a rate curve over `[0, horizon)`, sampled.
pub(super) fn mean_rate(curve: &RateCurve, horizon: Span) -> f64 {
    let step = horizon.0 / SAMPLES;
    let sum: f64 = (0..SAMPLES).map(|i| value_at(curve, i * step + step / 2)).sum();
    sum / SAMPLES as f64
}

/// The curve's value at an instant in picoseconds.
fn value_at(curve: &RateCurve, at: u64) -> f64 {
    let in_period = match curve.period {
        Some(period) if period.0 > 0 => at % period.0,
        _ => at,
    };
    let after = curve.knots.partition_point(|knot| knot.0.0 <= in_period);
    let base = match (after.checked_sub(1).and_then(|i| curve.knots.get(i)), curve.knots.get(after))
    {
        (Some(from), Some(to)) => {
            let part = (in_period - from.0.0) as f64 / (to.0.0 - from.0.0).max(1) as f64;
            from.1 + (to.1 - from.1) * part
        }
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => 0.0,
    };
    let inside =
        |spike: &&(sim::units::Time, Span, f64)| at >= spike.0.0 && at - spike.0.0 < spike.1.0;
    base * curve.spikes.iter().filter(inside).map(|spike| spike.2).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::units::Time;

    #[test]
    fn a_curve_is_straight_between_its_knots_and_repeats() {
        let second = |s: u64| Time::ZERO.after(Span::from_secs(s));
        let curve = RateCurve {
            knots: vec![(second(0), 0.0), (second(10), 10.0)],
            period: Some(Span::from_secs(10)),
            spikes: vec![(second(15), Span::from_secs(1), 3.0)],
        };
        assert_eq!(value_at(&curve, second(4).0), 4.0);
        assert_eq!(value_at(&curve, second(14).0), 4.0);
        assert_eq!(value_at(&curve, second(15).0), 15.0);
        assert!((mean_rate(&curve, Span::from_secs(10)) - 5.0).abs() < 1e-9);
    }
}
