//! Times of what goes on side by side: together they are longer than any run, and longer than the
//! 213 days that picoseconds in 64 bits hold.

use super::attempts::at_engines;
use super::*;
use crate::engine::StepTime;

const HOUR: Span = Span::from_secs(3_600);
const DAY: Span = Span::from_secs(86_400);

/// Two answers of 960 tokens at an hour each come to each of three engines, one after the other: 240
/// days of work in 80.
#[test]
fn engines_are_busy_for_longer_together_than_a_span_holds() {
    let mut scenario = scenario(vec![one_call()]);
    at_engines(&mut scenario, 3, 1);
    scenario.pools[0].step_time = StepTime::constant(HOUR).expect("no longer than it may be");
    let Arrivals::Replay { trace, .. } = arriving(&[0; 6]) else { unreachable!() };
    let rows = trace.rows.iter().map(|row| TraceRow { output: 960, ..*row }).collect();
    let trace = Arc::new(Trace { rows, segments: Vec::new(), span: trace.span });
    scenario.sources[0].arrivals = Arrivals::Replay { trace, jitter: Span::ZERO };
    (scenario.horizon, scenario.window) = (Span(100 * DAY.0), Span(50 * DAY.0));
    scenario.warm_up = DAY;
    let outcome = run(&scenario);
    let days = |days: u64| u128::from(days) * u128::from(DAY.0);
    let pool = &outcome.pools[0];
    assert!(days(240) > u128::from(Span::MAX.0));
    assert_eq!((pool.whole_run.busy, pool.measured.busy), (days(240), days(3 * 79)));
    let windows = outcome.series.parts.pools[0].iter().map(|window| window.busy);
    assert_eq!(windows.collect::<Vec<_>>(), [days(3 * 50), days(3 * 30)]);
}

/// Three tools of 80 days, all at once.
#[test]
fn a_task_may_use_tools_for_longer_together_than_a_span_holds() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let steps = vec![step(&[], Some(Work::Tool(search))); 3];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![ToolSpec { latency: DurationDist::Fixed(Span(80 * DAY.0)), ..tool() }];
    (scenario.horizon, scenario.window) = (Span(100 * DAY.0), Span(100 * DAY.0));
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].latency.max(), Some(Span(80 * DAY.0)));
    assert_eq!(outcome.tools[0].time.sum_picoseconds(), 240 * u128::from(DAY.0));
}
