//! Results written by hand: numbers a reader can check by eye, no simulator behind them.

use crate::tasks;
use experiments::{
    Comparison, Distribution, Estimate, Halt, LatencyShares, Margin, Metric, ModelResult,
    Objective, ObjectiveResult, PoolResult, Quantile, Range, Revenue, RunResult, SpendBy,
    SpendResult, Stability, StopReason, TaskCounts, TaskMoney, TaskResult, Verdict, Warning,
};
use reports::{ProvenanceRow, Report, ScenarioInfo};
use sim::ids::TaskId;
use sim::metrics::{Histogram, Series, Window};
use sim::units::{Money, Span};

/// Dollars and millionths.
pub(crate) fn dollars(dollars: i128, millionths: i128) -> Money {
    Money(dollars * Money::PICO_PER_DOLLAR + millionths * (Money::PICO_PER_DOLLAR / 1_000_000))
}

fn around(value: f64) -> Estimate {
    Estimate::with_interval(value, value * 0.97, value * 1.03)
}

fn times(median: f64) -> Distribution {
    Distribution {
        count: 60_000,
        mean: around(median * 1.2),
        p50: around(median),
        p90: around(median * 1.8),
        p95: around(median * 2.4),
        p99: around(median * 4.0),
    }
}

fn histogram(millis: std::ops::Range<u64>) -> Histogram {
    let mut histogram = Histogram::default();
    millis.for_each(|ms| histogram.record(Span::from_millis(ms)));
    histogram
}

fn task(name: &str, median: f64) -> TaskResult {
    TaskResult {
        name: name.into(),
        id: TaskId(0),
        latency_slo: Some(Span::from_secs(6)),
        counts: TaskCounts {
            arrived: 60_180,
            succeeded: 60_000,
            failed: 12,
            rejected: 160,
            abandoned: 8,
            in_flight: 0,
            within_slo: 58_500,
        },
        latency: times(median),
        success_rate: Estimate::with_interval(0.997, 0.996, 0.998),
        slo_attainment: Estimate::with_interval(0.972, 0.969, 0.975),
        goodput: around(0.677),
        p95_by_replication: vec![Some(median * 2.3), Some(median * 2.5)],
        histogram: histogram(1_000..1_010),
        money: TaskMoney::default(),
        work: None,
        drivers: None,
    }
}

pub(crate) fn model(name: &str) -> ModelResult {
    ModelResult {
        name: name.into(),
        calls: 60_000,
        attempts: 60_160,
        turned_away: 0,
        input_tokens: 24_600_000,
        output_tokens: 9_000_000,
        ttft: times(0.085),
        tpot: times(0.0094),
        e2e: times(1.7),
        queue: times(0.000_21),
        prefill: times(0.08),
        decode: times(1.6),
        drivers: Some(LatencyShares { queue: 0.012, prefill: 0.05, decode: 0.938, other: 0.0 }),
        ttft_histogram: histogram(80..90),
        tpot_histogram: histogram(9..11),
        work: None,
    }
}

fn pool(name: &str) -> PoolResult {
    PoolResult {
        name: name.into(),
        replicas: 4,
        utilisation: around(0.632),
        kv_usage_mean: around(0.41),
        running_mean: around(12.7),
        preemptions: 31,
        prefix_hit_ratio: around(0.35),
        prefix_hit_ratio_per_request: around(0.287),
        evictions: 12_345,
        gpu_hours: 96.0,
        breaker: None,
    }
}

fn objective(name: &str, metric: Metric, text: &str, estimate: Estimate) -> ObjectiveResult {
    let objective = Objective {
        name: name.into(),
        metric,
        comparison: Comparison::AtMost,
        target: 6.0,
        text: text.into(),
    };
    ObjectiveResult { objective, estimate, met: Some(true) }
}

/// Stable, with every number there.
pub(crate) fn stable() -> RunResult {
    let p95 = Metric::TaskLatency(TaskId(0), Quantile::P95);
    let success = Metric::SuccessRate(TaskId(0));
    let rate = Estimate::with_interval(0.997, 0.996, 0.998);
    let mut result = RunResult {
        seed: 42,
        replications: 10,
        stopped: StopReason::PrecisionReached,
        horizon: Span::from_secs(86_400),
        warm_up: Span::from_secs(1_800),
        measured: Span::from_secs(84_600),
        tasks: vec![task("support_reply", 1.8), task("summary", 0.7)],
        models: vec![model("small")],
        pools: vec![pool("h100-small")],
        remotes: Vec::new(),
        tools: Vec::new(),
        tenants: Vec::new(),
        cost_drivers: None,
        amplification: None,
        spend: SpendResult {
            total: dollars(287, 40_000),
            per_day: dollars(293, 147_234),
            per_month: dollars(8_922, 668_936),
            per_day_usd: Estimate::with_interval(293.147_234, 293.147_234, 293.147_234),
            per_month_usd: around(8_922.668_936),
            per_successful_task_usd: around(0.004_784),
            by: SpendBy { gpu: dollars(287, 40_000), ..SpendBy::default() },
            wasted: Money::ZERO,
        },
        spend_limits: Vec::new(),
        margin: Margin {
            per_task_usd: around(0.115_216),
            per_month: Some(dollars(214_890, 125_001)),
            per_day: Some(dollars(7_060, 45_175)),
            total: Some(dollars(6_912, 960_000)),
            per_day_usd: around(7_060.045_175),
            per_month_usd: around(214_890.125_001),
            harm: Money::ZERO,
            revenue: Revenue { values: dollars(7_200, 0), plans: Money::ZERO },
        },
        stability: Stability {
            verdict: Some(Verdict::Stable),
            horizon_matters: false,
            why: "on average 12.1 requests are in the system in the second quarter of the run \
                  and 12.3 in the last"
                .into(),
            demand_per_s: Some(0.71),
            capacity_per_s: None,
        },
        objectives: vec![
            objective("support_reply.p95_latency", p95, "<= 6s", around(4.32)),
            ObjectiveResult {
                met: Some(false),
                ..objective("support_reply.success_rate", success, ">= 0.999", rate.clone())
            },
            ObjectiveResult {
                met: None,
                ..objective("support_reply.success_rate", success, ">= 0.997", rate)
            },
        ],
        warnings: Vec::new(),
        series: Series {
            width: Span::from_secs(600),
            windows: vec![Window { arrived: 426, finished: 425, ..Window::default() }; 3],
            ..Series::default()
        },
        events: 12_345_678,
        log_hashes: vec![0x0123_4567_89ab_cdef, u64::MAX],
    };
    let slower = Some(Range { low: Some(3.9), high: Some(5.25) });
    result.tasks[0].latency.p95.calibration = slower;
    result.objectives[0].estimate.calibration = slower;
    // With the slowest times the other task is never done in time.
    result.tasks[1].latency.p95.calibration = Some(Range { low: Some(1.5), high: None });
    result.spend.per_successful_task_usd.calibration =
        Some(Range { low: Some(0.004_783), high: Some(0.004_784) });
    result
}

/// The backlog grows: no latency has a value.
pub(crate) fn unstable() -> RunResult {
    const WHY: &str = "unstable: depends on the horizon";
    let mut result = stable();
    result.stopped = StopReason::Unstable;
    result.stability = Stability {
        verdict: Some(Verdict::Unstable),
        horizon_matters: true,
        why: "the backlog grows by 0.250 requests per second: 0.710 arrive and 0.460 are \
              completed while backlogged, the stable capacity"
            .into(),
        demand_per_s: Some(0.71),
        capacity_per_s: Some(0.46),
    };
    for task in &mut result.tasks {
        task.latency = Distribution::absent(60_000, WHY);
        task.slo_attainment = Estimate::absent(WHY);
        task.goodput = Estimate::absent(WHY);
    }
    let model = &mut result.models[0];
    for times in [&mut model.ttft, &mut model.e2e, &mut model.queue] {
        *times = Distribution::absent(60_000, WHY);
    }
    let margin = &mut result.margin;
    (margin.per_month, margin.per_day) = (None, None);
    (margin.per_month_usd, margin.per_day_usd) = (Estimate::absent(WHY), Estimate::absent(WHY));
    result.objectives.truncate(1);
    result.objectives[0].estimate = Estimate::absent(WHY);
    result.objectives[0].met = Some(false);
    result.warnings = vec![Warning::Unstable];
    result
}

/// Interrupted after one replication in which one task never finished and no pool served.
pub(crate) fn sparse() -> RunResult {
    const ONE: &str = "one replication: no interval";
    let alone = |e: &mut Estimate| {
        *e = e.value.map_or_else(|| e.clone(), |v| Estimate::without_interval(v, ONE));
    };
    let mut result = stable();
    result.replications = 1;
    result.stopped = StopReason::Halted(Halt::Interrupted);
    result.log_hashes.truncate(1);
    for task in &mut result.tasks {
        let d = &mut task.latency;
        [&mut d.mean, &mut d.p50, &mut d.p90, &mut d.p95, &mut d.p99].into_iter().for_each(alone);
        [&mut task.success_rate, &mut task.slo_attainment, &mut task.goodput]
            .into_iter()
            .for_each(alone);
        task.p95_by_replication.truncate(1);
    }
    result.tasks[0].latency.p99 = Estimate::absent("needs at least 299 values, and there are 118");
    let never = &mut result.tasks[1];
    never.latency = Distribution::absent(0, "no task succeeded");
    never.p95_by_replication = vec![None];
    never.histogram = Histogram::default();
    let model = &mut result.models[0];
    for d in [&mut model.ttft, &mut model.tpot, &mut model.e2e, &mut model.queue] {
        *d = Distribution::absent(0, "no call has this time");
    }
    model.drivers = None;
    let pool = &mut result.pools[0];
    alone(&mut pool.utilisation);
    pool.kv_usage_mean = Estimate::absent("no window ended in the measured time");
    pool.running_mean = pool.kv_usage_mean.clone();
    pool.prefix_hit_ratio = Estimate::absent("no request was admitted");
    pool.prefix_hit_ratio_per_request = Estimate::absent("no request was admitted");
    let spend = &mut result.spend;
    [&mut spend.per_day_usd, &mut spend.per_month_usd].into_iter().for_each(alone);
    spend.per_successful_task_usd = Estimate::absent("no task succeeded");
    let worthless = Estimate::absent("the task summary has no value");
    result.margin = Margin {
        per_task_usd: worthless.clone(),
        per_day_usd: worthless.clone(),
        per_month_usd: worthless,
        ..Margin::default()
    };
    result.stability = Stability {
        verdict: None,
        horizon_matters: false,
        why: "not judged: 3 windows, and 16 are needed".into(),
        demand_per_s: None,
        capacity_per_s: None,
    };
    result.objectives.truncate(1);
    result.objectives[0].estimate = Estimate::without_interval(4.32, ONE);
    result.objectives[0].met = None;
    result.warnings = vec![
        Warning::AuditFailed { replication: 0, finding: "3 calls were counted twice".into() },
        Warning::StabilityNotJudged,
        Warning::Interrupted { finished: 1 },
        Warning::SingleReplication,
        Warning::NothingFinished { task: "summary".into() },
        Warning::QuantileNotSupported {
            metric: "support_reply.p99_latency".into(),
            values: 118,
            needed: 299,
        },
    ];
    result
}

/// A report with provenance, one row of which says how the step times are known.
pub(crate) fn report(result: &RunResult) -> Report<'_> {
    let row = |key: &str, value: &str, origin: &str| ProvenanceRow {
        key: key.into(),
        value: value.into(),
        origin: origin.into(),
    };
    Report {
        result,
        scenario: ScenarioInfo {
            name: "support-bot".into(),
            question: Some(
                "If traffic doubles next week, what do we spend and do we hold p95 below the six \
                 seconds that we promised?"
                    .into(),
            ),
            sha256: "00".repeat(32),
        },
        provenance: vec![
            row("pools.h100-small.price", "$2.99/h", "support-bot.toml:31"),
            row("pools.h100-small.calibration", "uncalibrated (roofline)", "datasheet, 2024-11"),
        ],
        notes: vec!["The key [traffic.web] has no profile: its rate is constant.".into()],
        version: "0.1.0",
    }
}

/// Every fixture with its name.
pub(crate) fn all() -> [(&'static str, RunResult); 5] {
    [
        ("stable", stable()),
        ("unstable", unstable()),
        ("sparse", sparse()),
        ("tasks", tasks::everything()),
        ("stuck", tasks::stuck()),
    ]
}
