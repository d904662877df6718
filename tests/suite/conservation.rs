//! Nothing is lost and nothing invented: on random scenarios every total of an outcome is derived
//! a second time, from the calls one by one or from the scenario, in integers.
//!
//! The audit inside the simulator must find nothing either; here it has no say in the totals.

use crate::swarm;
use proptest::prelude::*;
use sim::engine::EngineCounts;
use sim::fleet::PoolSpec;
use sim::ids::{PoolId, SourceId};
use sim::metrics::{Histogram, TaskWindow};
use sim::outcome::{ModelOutcome, Outcome};
use sim::record::{CallRecord, KeepAll};
use sim::units::{PS_PER_SEC, Span, Time};
use sim::workload::Source;
use sim::{Scenario, Simulation};
use std::collections::BTreeSet;

/// A run, call by call.
pub(crate) fn record(scenario: &Scenario, seed: u64, replication: u32) -> (Outcome, KeepAll) {
    let simulation = Simulation::recording(scenario, seed, replication, KeepAll::default());
    let (outcome, calls) = simulation.run_with(&|_| false);
    (outcome.expect("nobody stops it"), calls)
}

/// One run with what the checks need.
struct Run<'a> {
    scenario: &'a Scenario,
    outcome: Outcome,
    calls: Vec<CallRecord>,
}

impl Run<'_> {
    fn measured(&self) -> impl Iterator<Item = &CallRecord> {
        self.calls.iter().filter(|call| call.arrived.0 >= self.scenario.warm_up.0)
    }

    /// Each call by itself: instants in order, ids that exist, a number of its own.
    fn check_calls(&self) {
        let mut seen = BTreeSet::new();
        for call in &self.calls {
            assert!(call.arrived <= call.scheduled, "{call:?}");
            assert!(call.scheduled < call.first_token, "{call:?}");
            assert!(call.first_token <= call.ended, "{call:?}");
            assert_eq!(call.output == 1, call.first_token == call.ended, "{call:?}");
            assert!(call.arrived.0 < self.scenario.horizon.0, "{call:?}");
            assert!(call.input > 0 && call.output > 0, "{call:?}");
            assert!(call.hit_tokens < call.input, "the last token is always computed: {call:?}");
            let source = &self.scenario.sources[call.source.index()];
            assert_eq!(call.task, source.task);
            assert!(call.output <= source.max_tokens.unwrap_or(u32::MAX), "{call:?}");
            assert_eq!(Some(call.model), self.scenario.tasks[call.task.index()].request_model());
            assert!(
                self.scenario.models[call.model.index()]
                    .pools()
                    .any(|pool| Some(pool) == call.pool())
            );
            let pool = &self.scenario.pools[call.pool().expect("pools serve all").index()];
            assert!(call.replica < pool.replicas, "{call:?}");
            assert!(call.input + call.output <= pool.engine.max_model_len.0, "{call:?}");
            assert!(seen.insert((call.source, call.number)), "served twice: {call:?}");
        }
        assert!(self.calls.is_sorted_by_key(|call| call.ended), "calls end in order");
    }

    fn check_tasks(&self) {
        for (number, (spec, task)) in
            self.scenario.tasks.iter().zip(&self.outcome.tasks).enumerate()
        {
            let latencies: Vec<Span> = self
                .measured()
                .filter(|call| call.task.index() == number)
                .map(|call| call.ended - call.arrived)
                .collect();
            let within = |latency: &&Span| spec.latency_slo.is_none_or(|slo| **latency <= slo);
            assert_eq!(task.succeeded, latencies.len() as u64);
            assert_eq!(task.within_slo, latencies.iter().filter(within).count() as u64);
            assert_eq!((task.failed, task.abandoned, task.in_flight), (0, 0, 0));
            assert_eq!(task.arrived, task.succeeded + task.rejected);
            check_histogram(&task.latency, &latencies);
        }
    }

    fn check_models(&self) {
        for (number, model) in self.outcome.models.iter().enumerate() {
            let calls: Vec<&CallRecord> =
                self.measured().filter(|call| call.model.index() == number).collect();
            assert_eq!(model.calls, calls.len() as u64);
            assert_eq!(model.input_tokens, calls.iter().map(|c| u64::from(c.input)).sum::<u64>());
            assert_eq!(model.output_tokens, calls.iter().map(|c| u64::from(c.output)).sum::<u64>());
            // Refused on the way: pools before the one that took it, or all of them.
            let tried = |call: &&CallRecord| -> u64 {
                let pools = self.scenario.models[number].pools();
                pools.take_while(|&pool| Some(pool) != call.pool()).count() as u64 + 1
            };
            let refused: u64 = self
                .scenario
                .tasks
                .iter()
                .zip(&self.outcome.tasks)
                .filter(|(spec, _)| {
                    spec.request_model().is_some_and(|model| model.index() == number)
                })
                .map(|(_, task)| task.rejected)
                .sum();
            let attempts: u64 = calls.iter().map(tried).sum();
            let pools = self.scenario.models[number].served_by.len() as u64;
            assert_eq!(model.attempts, attempts + refused * pools);
            check_times(&self.scenario.pools, model, &calls);
        }
    }

    fn check_pools(&self) {
        for (number, (spec, pool)) in
            self.scenario.pools.iter().zip(&self.outcome.pools).enumerate()
        {
            let calls =
                || self.calls.iter().filter(|call| call.pool() == Some(PoolId(number as u32)));
            let Scenario { warm_up, horizon, .. } = *self.scenario;
            let measured =
                |call: &&CallRecord| warm_up.0 <= call.scheduled.0 && call.scheduled.0 < horizon.0;
            check_admissions(&pool.whole_run, &calls().collect::<Vec<_>>());
            check_admissions(&pool.measured, &calls().filter(measured).collect::<Vec<_>>());
            let whole = &pool.whole_run;
            let preempted = calls().map(|c| u64::from(c.preemptions)).sum::<u64>();
            // A sequence that ended by EOS fills one more iteration of an asynchronous engine and
            // may be preempted there, when its call is over.
            let lingers = spec.engine.async_scheduling;
            assert!(whole.preemptions == preempted || lingers && whole.preemptions > preempted);
            let caching = spec.engine.prefix_caching;
            assert!(caching || (whole.hit_tokens, whole.evictions) == (0, 0));
            let rented = u128::from(spec.replicas) * u128::from(self.outcome.measured.0);
            assert!(pool.measured.busy <= rented, "busy for longer than rented");
            assert!(pool.kv_used_samples <= pool.kv_total_samples);
            assert_eq!(pool.replicas, u64::from(spec.replicas));
        }
    }

    /// GPU time and its price from the scenario alone.
    fn check_spend(&self) {
        let measured = self.scenario.horizon - self.scenario.warm_up;
        assert_eq!(self.outcome.measured, measured);
        let mut total = 0;
        for (spec, pool) in self.scenario.pools.iter().zip(&self.outcome.pools) {
            let gpus = u128::from(spec.replicas * spec.gpus_per_replica);
            assert_eq!(pool.gpu_time, gpus * u128::from(measured.0));
            let hour = 3_600 * i128::from(PS_PER_SEC);
            total += pool.gpu_time as i128 * spec.price_per_gpu_hour.0 / hour;
        }
        assert_eq!(self.outcome.ledger.gpu_spend().0, total);
    }

    /// Windows of the series against the calls that ended in each.
    fn check_series(&self) {
        let width = self.scenario.window.0;
        for (number, window) in self.outcome.series.windows.iter().enumerate() {
            let from = number as u64 * width;
            let to = (from + width).min(self.scenario.horizon.0);
            let inside = |call: &&CallRecord| call.ended.0 > from && call.ended.0 <= to;
            let ended: Vec<&CallRecord> = self.calls.iter().filter(inside).collect();
            assert_eq!(window.finished, ended.len() as u64, "window {number}");
            let latency = ended.iter().map(|c| u128::from((c.ended - c.arrived).0)).sum::<u128>();
            assert_eq!(window.latency_sum, latency, "window {number}");
            for task in 0..self.scenario.tasks.len() {
                let of_task = ended.iter().filter(|call| call.task.index() == task);
                let latencies = of_task.map(|call| (call.ended - call.arrived).0).collect();
                check_window_of_task(&self.outcome.series.parts.tasks[task][number], latencies);
            }
        }
    }

    /// What arrived is what the sources gave out, asked again one by one. Where a request waits
    /// for another one's end, its source gives out at least the beginnings.
    fn check_arrivals(&self, seed: u64, replication: u32) {
        let Scenario { horizon, warm_up, ref sources, .. } = *self.scenario;
        let mut begun = vec![0; self.scenario.tasks.len()];
        let mut open = vec![true; self.scenario.tasks.len()];
        for (number, spec) in sources.iter().enumerate() {
            let id = SourceId(number as u32);
            let mut source = Source::new(spec, id, seed, replication, horizon, u32::MAX);
            let mut last = Time::ZERO;
            while let Some(request) = source.next() {
                assert!(request.at >= last && request.at.0 < horizon.0, "{request:?}");
                last = request.at;
                begun[spec.task.index()] += u64::from(request.at.0 >= warm_up.0);
            }
            open[spec.task.index()] &= swarm::is_open_loop(spec);
        }
        for ((task, begun), open) in self.outcome.tasks.iter().zip(begun).zip(open) {
            if open {
                assert_eq!(task.arrived, begun);
            } else {
                assert!(task.arrived >= begun, "{} of {begun} beginnings arrived", task.arrived);
            }
        }
    }
}

/// Number and quantiles of what ended in a window, by type 7 of Hyndman and Fan; a band is at most a
/// sixteenth of what it holds wide.
fn check_window_of_task(window: &TaskWindow, mut latencies: Vec<u64>) {
    assert_eq!(window.ended - window.rejected, latencies.len() as u64);
    assert_eq!(window.latency.count(), latencies.len() as u64);
    latencies.sort_unstable();
    for p in [0.0, 0.5, 0.95, 1.0] {
        let rank = latencies.len().saturating_sub(1) as f64 * p;
        let at = |rank: f64| latencies.get(rank as usize).map(|&latency| latency as f64);
        let exact = at(rank.floor()).zip(at(rank.ceil()));
        let exact = exact.map(|(low, high)| (low + (high - low) * rank.fract()) / 1e12);
        let coarse = window.latency.quantile_secs(p);
        assert_eq!(coarse.is_some(), exact.is_some());
        let off = |(coarse, exact): (f64, f64)| (coarse - exact).abs() / exact.max(1e-6);
        assert!(coarse.zip(exact).is_none_or(|both| off(both) < 1.0 / 16.0 + 1e-9));
    }
}

/// First admissions and their prompts against the calls.
fn check_admissions(counts: &EngineCounts, calls: &[&CallRecord]) {
    let sum = |of: fn(&CallRecord) -> u32| calls.iter().map(|c| u64::from(of(c))).sum::<u64>();
    assert_eq!(counts.admitted, calls.len() as u64);
    assert_eq!(counts.prompt_tokens, sum(|c| c.input));
    assert_eq!(counts.hit_tokens, sum(|c| c.hit_tokens));
}

fn check_times(pools: &[PoolSpec], model: &ModelOutcome, calls: &[&CallRecord]) {
    let on_host = |c: &CallRecord| pools[c.pool().expect("a pool").index()].host.of(c.input);
    let each = |span: &dyn Fn(&CallRecord) -> Span| -> Vec<Span> {
        calls.iter().map(|call| span(call)).collect()
    };
    check_histogram(&model.ttft, &each(&|c| c.first_token - c.arrived));
    check_histogram(&model.e2e, &each(&|c| c.ended - c.arrived));
    check_histogram(&model.queue, &each(&|c| c.scheduled - c.arrived.after(on_host(c))));
    check_histogram(&model.prefill, &each(&|c| c.first_token - c.scheduled));
    check_histogram(&model.decode, &each(&|c| c.ended - c.first_token));
    let several = calls.iter().filter(|call| call.output > 1);
    let pace = |c: &&CallRecord| Span((c.ended - c.first_token).0 / u64::from(c.output - 1));
    check_histogram(&model.tpot, &several.map(pace).collect::<Vec<_>>());
    let parts = [&model.queue, &model.prefill, &model.decode];
    let sum: u128 = parts.iter().map(|part| part.sum_picoseconds()).sum();
    let hosts: u128 = calls.iter().map(|&call| u128::from(on_host(call).0)).sum();
    assert_eq!(sum + hosts, model.e2e.sum_picoseconds(), "nothing else is in a call");
}

/// Count, sum and extremes of a histogram are those of the values.
fn check_histogram(histogram: &Histogram, values: &[Span]) {
    assert_eq!(histogram.count(), values.len() as u64);
    assert_eq!(histogram.sum_picoseconds(), values.iter().map(|v| u128::from(v.0)).sum::<u128>());
    assert_eq!(histogram.min(), values.iter().min().copied());
    assert_eq!(histogram.max(), values.iter().max().copied());
    assert_eq!(histogram.buckets().map(|bucket| bucket.2).sum::<u64>(), values.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_total_is_the_sum_of_its_parts(
        scenario in swarm::scenarios(),
        seed in any::<u64>(),
        replication in 0u32..3,
    ) {
        let (outcome, recorded) = record(&scenario, seed, replication);
        prop_assert_eq!(&outcome.audit, &Vec::<String>::new());
        crate::series::check_answers(&scenario, &outcome, &recorded);
        let run = Run { scenario: &scenario, outcome, calls: recorded.calls };
        run.check_calls();
        run.check_tasks();
        run.check_models();
        run.check_pools();
        run.check_spend();
        run.check_series();
        run.check_arrivals(seed, replication);
    }
}
