//! Results of scenarios with tasks of several steps, backends, tools and tenants, written by hand.

use crate::fixture::{dollars, stable, unstable};
use experiments::{
    Amplification, BreakerCounts, CostDrivers, CostPart, CostsBeside, Distribution, Estimate,
    Heaviest, ModelWork, RemoteResult, RetryLoad, Revenue, RunResult, SpendBy, Stability,
    TaskDrivers, TaskMoney, TaskWork, TenantGroup, TokenSpend, ToolResult, Verdict, Warning,
};
use sim::backends::{MeterReading, RemoteKind, ToolCost};
use sim::outcome::Endings;
use sim::units::{Money, Span};

fn around(value: f64) -> Estimate {
    let (a, b) = (value * 0.98, value * 1.02);
    Estimate::with_interval(value, a.min(b), a.max(b))
}

fn times(mean: f64) -> Distribution {
    let [p50, p90, p95, p99] = [0.8, 1.6, 2.1, 3.3].map(|factor| around(mean * factor));
    Distribution { count: 4_200, mean: around(mean), p50, p90, p95, p99 }
}

fn work() -> TaskWork {
    TaskWork {
        endings: Endings {
            success: 60_000,
            wrong: 2,
            harmful: 1,
            failed: [40, 0, 3, 2, 92, 0, 0],
            caught: 1,
            over_budget: 1,
            refined: 1,
            refused: 29,
            abandoned: 8,
        },
        submissions: 61_500,
        calls: 182_000,
        by_rule: 12_700,
        escalations: 8_400,
        kept_answers: 0,
        exact_hits: 1_210,
        semantic_hits: 5_320,
        wrong_hits: 210,
        actions_blocked: 17,
        rungs: [310, 95, 12, 3, 1],
        submissions_per_task: around(1.022),
        calls_per_submission: around(2.959),
    }
}

fn guards(share: f64, attempts_per_answer: f64) -> ModelWork {
    ModelWork {
        share: around(share),
        attempts_per_answer: around(attempts_per_answer),
        failures: [1_530, 12, 640, 222, 31, 0, 4],
        retries: 2_010,
        hedges: 415,
        fallbacks: 77,
        wasted_input_tokens: 1_234_000,
        wasted_output_tokens: 98_700,
    }
}

fn hosted() -> RemoteResult {
    let of = |input, cached_input, cache_write, output, attempts| MeterReading {
        attempts,
        input,
        cached_input,
        cache_write,
        output,
        context: input / 2,
        context_cached: cached_input,
        context_missed: cache_write,
    };
    RemoteResult {
        name: "mini".into(),
        kind: RemoteKind::Hosted,
        attempts: 95_000,
        failed: 640,
        refused: [1_530, 0, 0, 0, 0, 2, 0],
        utilisation: None,
        awake: None,
        cold_starts: 0,
        breaker: Some(BreakerCounts { opens: 3, rejected: 31 }),
        tokens: of(81_000_000, 52_000_000, 4_000_000, 9_600_000, 95_000),
        wasted: of(610_000, 400_000, 30_000, 41_000, 900),
        token_spend: TokenSpend {
            input: dollars(3, 750_000),
            cached_input: dollars(3, 900_000),
            cache_write: dollars(0, 750_000),
            output: dollars(5, 760_000),
            calls: Money::ZERO,
        },
        spend: dollars(14, 160_000),
    }
}

fn provisioned() -> RemoteResult {
    RemoteResult {
        name: "units".into(),
        kind: RemoteKind::Provisioned,
        utilisation: Some(around(0.43)),
        awake: Some(around(0.7)),
        cold_starts: 12,
        breaker: None,
        token_spend: TokenSpend::default(),
        spend: dollars(40, 0),
        ..hosted()
    }
}

fn tool(name: &str, cost: ToolCost, mean: f64, spend: Money) -> ToolResult {
    ToolResult {
        name: name.into(),
        cost,
        uses: 60_100,
        failed: 210,
        cache_hits: 22_800,
        time: times(mean),
        spend,
        wasted: Money(spend.0 / 300),
    }
}

/// Parts per successful task in millionths of a dollar; a replication has 6,000 of these.
fn parts(list: &[(&'static str, i128)]) -> Vec<CostPart> {
    let part = |&(key, micro): &(&'static str, i128)| CostPart {
        key,
        amount: dollars(0, micro * 60_000),
        per_successful_task_usd: around(micro as f64 / 1e6),
    };
    list.iter().map(part).collect()
}

fn drivers() -> TaskDrivers {
    let span = |ms: [u64; 9]| ms.map(Span::from_millis);
    TaskDrivers {
        mean: span([110, 310, 870, 5, 95, 640, 0, 130, 45]),
        p95: Some(span([520, 390, 1_120, 0, 810, 900, 0, 580, 60])),
        p95_tasks: 4_100,
    }
}

fn tenants() -> TenantGroup {
    let heavy = |tenants, share, margin| Heaviest {
        tenants,
        cost_share: around(share),
        margin_per_tenant_month_usd: around(margin),
    };
    TenantGroup {
        name: "web+mail".into(),
        plan: Some("pro".into()),
        tenants: 400,
        tasks: 60_180,
        succeeded: 60_000,
        revenue: dollars(380, 250_000),
        metered: dollars(64, 310_000),
        rented: dollars(198, 440_000),
        margin_per_tenant_month_usd: around(8.96),
        losing: around(0.062),
        heaviest: vec![heavy(4, 0.181, -114.2), heavy(40, 0.462, -21.7)],
    }
}

/// Everything that a scenario can have.
pub(crate) fn everything() -> RunResult {
    let mut result = stable();
    let agent = &mut result.tasks[0];
    agent.work = Some(work());
    agent.drivers = Some(drivers());
    agent.money = TaskMoney {
        metered: dollars(66, 160_000),
        wasted: dollars(1, 420_000),
        rented: dollars(212, 20_000),
        cost_per_success_usd: around(0.0464),
        margin_per_task_usd: around(0.0731),
    };
    result.models[0].work = Some(guards(0.42, 1.063));
    result.pools[0].breaker = Some(BreakerCounts { opens: 0, rejected: 0 });
    result.remotes = vec![hosted(), provisioned()];
    result.tools = vec![
        tool("kb_search", ToolCost::Retrieval, 0.12, dollars(6, 10_000)),
        tool("support_staff", ToolCost::HumanReview, 95.0, dollars(41, 0)),
    ];
    result.tenants = vec![tenants()];
    let by = SpendBy {
        gpu: dollars(287, 40_000),
        provisioned: dollars(40, 0),
        tokens: dollars(14, 160_000),
        retrieval: dollars(6, 10_000),
        human_review: dollars(41, 0),
        observability: dollars(4, 990_000),
        ..SpendBy::default()
    };
    result.spend.by = by;
    result.spend.total = by.total();
    result.spend.wasted = dollars(1, 420_000);
    result.spend.per_successful_task_usd = around(0.0656);
    let margin = &mut result.margin;
    margin.harm = dollars(9, 0);
    margin.total = Some(dollars(6_878, 50_000));
    margin.per_day = Some(dollars(7_024, 391_489));
    margin.per_month = Some(dollars(213_804, 915_947));
    margin.per_day_usd = around(7_024.391_489);
    margin.per_month_usd = around(213_804.915_947);
    result.margin.revenue = Revenue { values: dollars(6_900, 0), plans: dollars(380, 250_000) };
    result.cost_drivers = Some(CostDrivers {
        items: parts(&[
            ("input_tokens", 610),
            ("cached_input_tokens", 640),
            ("cache_write_tokens", 120),
            ("output_tokens", 940),
            ("wasted_attempts", 80),
            ("tools", 980),
            ("human_review", 6_700),
            ("wasted_uses", 150),
            ("observability", 830),
            ("gpu_at_work", 29_950),
            ("gpu_wasted", 250),
            ("gpu_idle", 17_650),
            ("provisioned_at_work", 2_880),
            ("provisioned_wasted", 20),
            ("provisioned_idle", 3_800),
        ]),
        causes: parts(&[
            ("first_calls", 11_500),
            ("further_calls", 24_200),
            ("saved_by_caches", -1_900),
            ("asked_again", 260),
            ("unsuccessful_tasks", 250),
            ("context", 710),
            ("cache_misses", 120),
            ("wasted_attempts", 350),
            ("tools", 980),
            ("human_review", 6_700),
            ("wasted_uses", 150),
            ("observability", 830),
            ("idle_capacity", 21_450),
        ]),
        beside: CostsBeside {
            answer_misses: 96_000,
            answer_misses_cost: dollars(1_180, 0),
            answer_misses_per_task_usd: around(0.019_667),
            computed_tokens: 410_000_000,
            recomputed_tokens: 123_000_000,
        },
    });
    result.amplification = Some(Amplification {
        attempts_per_call: around(1.041),
        submissions_per_task: around(1.022),
        attempts_per_task: around(3.15),
        models: vec![RetryLoad {
            model: "small".into(),
            demand_per_s: 0.92,
            worst: Some(3.0),
            capacity_per_s: None,
            safe_per_s: None,
            vulnerable: None,
        }],
    });
    result
}

/// An outage that is over left retries of work that nobody waits for.
pub(crate) fn stuck() -> RunResult {
    const WHY: &str = "metastable: depends on the horizon";
    let mut result = unstable();
    result.stability = Stability {
        verdict: Some(Verdict::Metastable),
        horizon_matters: true,
        why: "the last disturbance ended after 52200 s, and in 10 of 10 replications the system \
              is stuck until the horizon: 3.1 % of the arriving tasks succeed (99.6 % before it) \
              at 0.710 arrivals per second (0.712 before), with 3.91 attempts for each (1.03 \
              before)"
            .into(),
        demand_per_s: Some(0.71),
        capacity_per_s: None,
    };
    result.tasks.iter_mut().for_each(|task| task.latency = Distribution::absent(60_000, WHY));
    let margin = &mut result.margin;
    (margin.per_month, margin.per_day) = (None, None);
    (margin.per_month_usd, margin.per_day_usd) = (Estimate::absent(WHY), Estimate::absent(WHY));
    result.objectives[0].estimate = Estimate::absent(WHY);
    result.warnings = vec![Warning::Metastable];
    let load = |model: &str, worst, capacity: Option<f64>| RetryLoad {
        model: model.into(),
        demand_per_s: 0.71,
        worst,
        capacity_per_s: capacity,
        safe_per_s: capacity.zip(worst).map(|(capacity, worst): (f64, f64)| capacity / worst),
        vulnerable: capacity.map(|_| true),
    };
    result.amplification = Some(Amplification {
        attempts_per_call: around(3.4),
        submissions_per_task: around(1.1),
        attempts_per_task: around(3.74),
        models: vec![load("small", Some(4.0), Some(1.25)), load("large", None, Some(2.0))],
    });
    result
}

/// Plans that pay for tasks with a value are not in the margin, and the report says so.
#[test]
fn money_of_plans_that_is_not_in_the_margin_is_named() {
    const NOTE: &str = "not in the margin: $380.25 per run";
    let page =
        |result: &RunResult| reports::text::render(&crate::fixture::report(result), false, 80);
    let mut result = everything();
    assert!(!page(&result).contains("not in the margin"), "plans pay for the margin");
    result.margin.revenue.plans = Money::ZERO;
    assert!(page(&result).contains(NOTE), "{}", page(&result));
    result.margin.per_task_usd = Estimate::absent("the task summary has no value");
    assert!(!page(&result).contains("not in the margin"), "there is none");
}

/// What is bought and why it is may be the same amount: tools are.
#[test]
fn equal_amounts_have_equal_shares() {
    let mut result = everything();
    result.cost_drivers = Some(CostDrivers {
        items: parts(&[("tools", 2_214), ("output_tokens", 3_893), ("gpu_idle", 3_893)]),
        causes: parts(&[("tools", 2_214), ("first_calls", 7_786)]),
        beside: CostsBeside::default(),
    });
    let page = reports::text::render(&crate::fixture::report(&result), false, 80);
    let tools = page.lines().filter(|line| line.starts_with("  tools  "));
    let shares: Vec<_> = tools.filter_map(|line| Some(line.split("  ").last()?.trim())).collect();
    assert_eq!(shares, ["22.1 %", "22.1 %"], "{page}");
}
