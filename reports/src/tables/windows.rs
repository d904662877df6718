//! The columns of windows, and their rows.
//!
//! One table for all kinds of part, with columns that are empty where they mean nothing: parts are
//! compared with one another and with the whole more often than not, and one table needs no join.

use super::TablesError;
use super::column::{Cell, Column, Kind, column};
use super::recording::Context;
use sim::Outcome;
use sim::metrics::{
    BreakerWindow, ModelWindow, PoolWindow, RemoteWindow, TaskActs, TaskWindow, ToolWindow, Window,
};
use sim::price::SpendScope;
use sim::units::{PS_PER_SEC, Span};
use std::borrow::Cow;

/// A window of a part.
pub(super) struct WindowRow<'a> {
    replication: u32,
    number: usize,
    width: Span,
    /// Where the last window ends.
    horizon: Span,
    part: Option<Cow<'a, str>>,
    what: What,
}

/// What happened in it.
enum What {
    System(Window),
    Pool(PoolWindow),
    Remote(RemoteWindow),
    Tool(ToolWindow),
    Model(ModelWindow),
    Task(TaskWindow),
    Limit(u64),
}

/// Every window of every part of a replication: the whole system first.
pub(super) fn rows<'a>(
    context: Context<'a>,
    outcome: &Outcome,
    add: &mut dyn FnMut(WindowRow<'a>) -> Result<(), TablesError>,
) -> Result<(), TablesError> {
    let (series, scenario) = (&outcome.series, context.scenario);
    let parts = &series.parts;
    let mut each = |part: Option<Cow<'a, str>>, windows: &mut dyn Iterator<Item = What>| {
        windows.enumerate().try_for_each(|(number, what)| {
            let (replication, width) = (context.replication, series.width);
            let horizon = scenario.horizon;
            add(WindowRow { replication, number, width, horizon, part: part.clone(), what })
        })
    };
    each(None, &mut series.windows.iter().map(|window| What::System(*window)))?;
    for (spec, windows) in scenario.pools.iter().zip(&parts.pools) {
        each(named(&spec.name), &mut windows.iter().map(|window| What::Pool(*window)))?;
    }
    for (spec, windows) in scenario.remotes.iter().zip(&parts.remotes) {
        each(named(&spec.name), &mut windows.iter().map(|window| What::Remote(*window)))?;
    }
    for (spec, windows) in scenario.tools.iter().zip(&parts.tools) {
        each(named(&spec.name), &mut windows.iter().map(|window| What::Tool(*window)))?;
    }
    for (spec, windows) in scenario.models.iter().zip(&parts.models) {
        each(named(&spec.name), &mut windows.iter().map(|window| What::Model(*window)))?;
    }
    for (spec, windows) in scenario.tasks.iter().zip(&parts.tasks) {
        each(named(&spec.name), &mut windows.iter().map(|window| What::Task(window.clone())))?;
    }
    for (spec, limit) in scenario.spend_limits.iter().zip(&parts.limits) {
        let part = match spec.scope {
            SpendScope::All => Cow::Borrowed("everything"),
            SpendScope::Task(task) => {
                Cow::Owned(format!("task {}", scenario.tasks[task.index()].name))
            }
            SpendScope::EachTenant => Cow::Borrowed("each tenant"),
        };
        each(Some(part), &mut limit.acted.iter().map(|&acted| What::Limit(acted)))?;
    }
    Ok(())
}

fn named(name: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(name))
}

impl WindowRow<'_> {
    fn kind(&self) -> &'static str {
        match self.what {
            What::System(_) => "system",
            What::Pool(_) => "pool",
            What::Remote(_) => "remote",
            What::Tool(_) => "tool",
            What::Model(_) => "model",
            What::Task(_) => "task",
            What::Limit(_) => "limit",
        }
    }

    fn at(&self, number: usize) -> f64 {
        let ps = (number as u128 * u128::from(self.width.0)).min(self.horizon.0.into());
        seconds(ps)
    }

    fn system(&self, of: fn(&Window) -> u64) -> Option<u64> {
        if let What::System(window) = &self.what { Some(of(window)) } else { None }
    }

    fn pool(&self, of: fn(&PoolWindow) -> u64) -> Option<u64> {
        if let What::Pool(window) = &self.what { Some(of(window)) } else { None }
    }

    fn remote(&self, of: fn(&RemoteWindow) -> u64) -> Option<u64> {
        if let What::Remote(window) = &self.what { Some(of(window)) } else { None }
    }

    fn tool(&self, of: fn(&ToolWindow) -> u64) -> Option<u64> {
        if let What::Tool(window) = &self.what { Some(of(window)) } else { None }
    }

    fn model(&self, of: fn(&ModelWindow) -> u64) -> Cell<'static> {
        Cell::Whole(if let What::Model(window) = &self.what { Some(of(window)) } else { None })
    }

    fn task(&self) -> Option<&TaskWindow> {
        if let What::Task(window) = &self.what { Some(window) } else { None }
    }

    fn acts(&self, of: fn(&TaskActs) -> u64) -> Cell<'static> {
        Cell::Whole(self.task().map(|window| of(&window.acts)))
    }

    fn breakers(&self, of: fn(&BreakerWindow) -> u64) -> Cell<'static> {
        Cell::Whole(match &self.what {
            What::Pool(PoolWindow { breakers, .. })
            | What::Remote(RemoteWindow { breakers, .. }) => Some(of(breakers)),
            _ => None,
        })
    }

    fn latency(&self, p: f64) -> Cell<'static> {
        Cell::Number(self.task().and_then(|window| window.latency.quantile_secs(p)))
    }

    fn waiting(&self) -> Option<u64> {
        let of_pool = self.system(|w| w.waiting).or_else(|| self.pool(|w| w.waiting));
        of_pool.or_else(|| self.remote(|w| w.waiting)).or_else(|| self.tool(|w| w.waiting))
    }

    fn running(&self) -> Option<u64> {
        let of_pool = self.system(|w| w.running).or_else(|| self.pool(|w| w.running));
        of_pool.or_else(|| self.remote(|w| w.running)).or_else(|| self.tool(|w| w.running))
    }
}

fn seconds(picoseconds: u128) -> f64 {
    picoseconds as f64 / PS_PER_SEC as f64
}

pub(super) fn columns<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    let mut columns = which();
    columns.extend(flow());
    columns.extend(states());
    columns.extend(refusals());
    columns.extend(acts());
    columns.extend(rungs());
    columns
}

/// Which window of what.
fn which<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    use Kind::{Number, Text, Whole};
    vec![
        column(
            "replication",
            Whole,
            "",
            "Number of the replication, from 0",
            |row: &WindowRow<'a>| Cell::whole(row.replication),
        ),
        column(
            "part_kind",
            Text,
            "",
            "`system`, `pool`, `remote`, `tool`, `model`, `task` or `limit`",
            |row| Cell::text(row.kind()),
        ),
        column("part", Text, "", "Its name; none for the whole system", |r| {
            Cell::Text(r.part.clone())
        }),
        column("window", Whole, "", "Number of the window, from 0", |row| {
            Cell::whole(row.number as u64)
        }),
        column("from_s", Number, "s", "Its start, from the start of the run", |row| {
            Cell::Number(Some(row.at(row.number)))
        }),
        column("to_s", Number, "s", "Its end", |row| Cell::Number(Some(row.at(row.number + 1)))),
    ]
}

/// What came and went.
fn flow<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    use Kind::{Number, Whole};
    vec![
        column(
            "arrived",
            Whole,
            "tasks",
            "`system`: tasks that arrived in it",
            |row: &WindowRow<'a>| Cell::Whole(row.system(|w| w.arrived)),
        ),
        column(
            "ended",
            Whole,
            "tasks",
            "`system`: tasks that ended in it without being refused; `task`: those and the refused",
            |r| Cell::Whole(r.system(|w| w.finished).or_else(|| r.task().map(|w| w.ended))),
        ),
        column(
            "succeeded",
            Whole,
            "tasks",
            "`system`, `task`: those of them that succeeded",
            |r| {
                let of_task = r.task().map(|w| w.latency.count());
                Cell::Whole(r.system(|w| w.succeeded).or(of_task))
            },
        ),
        column("rejected", Whole, "tasks", "`task`: those of them that were refused", |row| {
            Cell::Whole(row.task().map(|w| w.rejected))
        }),
        column("latency_sum_s", Number, "s", "`system`: sum of the latencies of `ended`", |row| {
            Cell::Number(match &row.what {
                What::System(window) => Some(seconds(window.latency_sum)),
                _ => None,
            })
        }),
        column(
            "latency_p50_s",
            Number,
            "s",
            "`task`: median latency of `succeeded`, to 6 %",
            |row| row.latency(0.5),
        ),
        column("latency_p95_s", Number, "s", "`task`: their 95th percentile, to 6 %", |row| {
            row.latency(0.95)
        }),
        column(
            "attempts",
            Whole,
            "",
            "`system`: offers to backends, by tasks of several steps or under a policy; `remote`: \
             attempts that got a place",
            |row| Cell::Whole(row.system(|w| w.attempts).or_else(|| row.remote(|w| w.begun))),
        ),
        column("failed", Whole, "", "`remote`: attempts that ended in a server error", |row| {
            Cell::Whole(row.remote(|w| w.failed))
        }),
    ]
}

/// How it stood at its end, and how busy it was.
fn states<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    use Kind::{Number, Whole};
    vec![
        column(
            "waiting",
            Whole,
            "",
            "`system`, `pool`, `remote`, `tool`: requests waiting for a place at its end",
            |row: &WindowRow<'a>| Cell::Whole(row.waiting()),
        ),
        column("running", Whole, "", "The same: requests that have a place at its end", |row| {
            Cell::Whole(row.running())
        }),
        column(
            "paused",
            Whole,
            "",
            "`system`: calls and users at its end that will ask again",
            |row| Cell::Whole(row.system(|w| w.paused)),
        ),
        column(
            "kv_blocks_used",
            Whole,
            "blocks",
            "`system`, `pool`: KV blocks in use at its end",
            |r| {
                let of_pool = r.pool(|w| w.kv_blocks_used);
                Cell::Whole(r.system(|w| w.kv_blocks_used).or(of_pool))
            },
        ),
        column("kv_blocks", Whole, "blocks", "`system`, `pool`: KV blocks there are", |row| {
            Cell::Whole(row.system(|w| w.kv_blocks).or_else(|| row.pool(|w| w.kv_blocks)))
        }),
        column("full_replicas", Whole, "", "`pool`: replicas without a place at its end", |row| {
            Cell::Whole(row.pool(|w| w.full_replicas))
        }),
        column(
            "busy_s",
            Number,
            "s",
            "`pool`: time in which iterations ran, over all replicas",
            |r| {
                Cell::Number(if let What::Pool(window) = &r.what {
                    Some(seconds(window.busy))
                } else {
                    None
                })
            },
        ),
        column(
            "preemptions",
            Whole,
            "",
            "`system`: of calls that ended in it; `pool`: in it",
            |row| {
                Cell::Whole(row.system(|w| w.preemptions).or_else(|| row.pool(|w| w.preemptions)))
            },
        ),
    ]
}

/// Who was not let in.
fn refusals<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    use Kind::Whole;
    vec![
        column(
            "overloaded",
            Whole,
            "",
            "`pool`, `remote`, `tool`: refused because a queue was full",
            |row: &WindowRow<'a>| {
                let of_pool = row.pool(|w| w.overloaded).or_else(|| row.remote(|w| w.overloaded));
                Cell::Whole(of_pool.or_else(|| row.tool(|w| w.overloaded)))
            },
        ),
        column("rate_limited", Whole, "", "`remote`: refused by a rate limit", |row| {
            Cell::Whole(row.remote(|w| w.rate_limited))
        }),
        column("too_long", Whole, "", "`remote`: refused because it does not fit", |row| {
            Cell::Whole(row.remote(|w| w.too_long))
        }),
        column(
            "not_eligible",
            Whole,
            "",
            "`remote`: refused because the device cannot run it",
            |row| Cell::Whole(row.remote(|w| w.not_eligible)),
        ),
        column(
            "breakers_not_closed",
            Whole,
            "",
            "`pool`, `remote`: circuit breakers open at its end",
            |r| r.breakers(|b| b.not_closed),
        ),
        column(
            "breaker_opens",
            Whole,
            "",
            "`pool`, `remote`: how often they opened in it",
            |row| row.breakers(|b| b.opens),
        ),
        column(
            "breaker_refused",
            Whole,
            "",
            "`pool`, `remote`: attempts they refused in it",
            |row| row.breakers(|b| b.refused),
        ),
        column(
            "limit_acted",
            Whole,
            "tasks",
            "`limit`: submissions it refused or sent elsewhere",
            |row| Cell::Whole(if let What::Limit(acted) = row.what { Some(acted) } else { None }),
        ),
    ]
}

/// What policies and caches did.
fn acts<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    use Kind::Whole;
    vec![
        column(
            "answered",
            Whole,
            "calls",
            "`model`: calls that it answered",
            |row: &WindowRow<'a>| row.model(|w| w.answered),
        ),
        column("retries", Whole, "", "`model`: further attempts after failures", |row| {
            row.model(|w| w.retries)
        }),
        column("hedges", Whole, "", "`model`: second attempts beside slow ones", |row| {
            row.model(|w| w.hedges)
        }),
        column(
            "fallbacks",
            Whole,
            "calls",
            "`model`: calls that went on to a fallback from here",
            |row| row.model(|w| w.fallbacks),
        ),
        column(
            "escalations",
            Whole,
            "calls",
            "`task`: calls made again because of the confidence of an answer",
            |row| row.acts(|acts| acts.escalations),
        ),
        column(
            "exact_hits",
            Whole,
            "calls",
            "`task`: calls answered from the exact cache",
            |row| row.acts(|acts| acts.exact_hits),
        ),
        column(
            "semantic_hits",
            Whole,
            "calls",
            "`task`: calls answered from the semantic cache",
            |row| row.acts(|acts| acts.semantic_hits),
        ),
        column("cache_hits", Whole, "", "`tool`: uses answered from its cache", |row| {
            Cell::Whole(row.tool(|w| w.cache_hits))
        }),
        column(
            "input_tokens",
            Whole,
            "tokens",
            "`remote`: prompt tokens billed to attempts that left in it",
            |row| Cell::Whole(row.remote(|w| w.input_tokens)),
        ),
        column(
            "cached_tokens",
            Whole,
            "tokens",
            "`remote`: those of them that the provider's cache had",
            |row| Cell::Whole(row.remote(|w| w.cached_input_tokens)),
        ),
    ]
}

/// Uses of the ladder's rungs, in their order.
fn rungs<'a>() -> Vec<Column<'a, WindowRow<'a>>> {
    use Kind::Whole;
    const USES: &str = "`task`: uses of this rung of its ladder";
    vec![
        column("rung_shorter_context", Whole, "", USES, |row: &WindowRow<'a>| {
            row.acts(|acts| acts.rungs[0])
        }),
        column("rung_smaller_model", Whole, "", USES, |row| row.acts(|acts| acts.rungs[1])),
        column("rung_cached_answer", Whole, "", USES, |row| row.acts(|acts| acts.rungs[2])),
        column("rung_partial_result", Whole, "", USES, |row| row.acts(|acts| acts.rungs[3])),
        column("rung_refine", Whole, "", USES, |row| row.acts(|acts| acts.rungs[4])),
    ]
}
