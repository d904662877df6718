//! Whether anything looks at the priority that traffic states.
//!
//! Deliberately absent: whether it changes an order. That depends on what waits beside it.

use super::Resolver;
use sim::backends::{Discipline, Station};
use sim::engine::SchedulingPolicy;
use sim::ids::{Backend, ModelId, TaskId, ToolId};
use sim::tasks::Work;
use std::collections::BTreeSet;

impl Resolver<'_> {
    /// Warns of a priority that nothing the task may reach looks at: all is first come, first
    /// served, and nothing is shed by priority.
    pub(super) fn check_priorities(&self) {
        for (_, file) in &self.file.traffic {
            let stated = file.priority.as_ref().filter(|priority| priority.value != 0);
            let task = file.task.as_ref();
            let task = task.and_then(|task| self.task_names.get(task.value.as_str()));
            let (Some(stated), Some(&task)) = (stated, task) else { continue };
            if !self.heeds_priority(TaskId(super::names::number(task))) {
                let message = "nothing that this traffic reaches looks at its priority; write \
                               policy = \"priority\" in a pool's engine_args, discipline = \
                               \"priority\" beside a concurrency, or [admission] shed";
                self.warn(&stated.site, message.to_owned());
            }
        }
    }

    fn heeds_priority(&self, task: TaskId) -> bool {
        let mut models: BTreeSet<ModelId> = self.policy.reached.clone();
        models.extend(self.calls(task).filter_map(|call| call.model));
        let tasks = self.parts(task).into_iter().filter_map(|at| self.tasks.get(at)?.as_ref());
        let mut steps = tasks.flat_map(|task| &task.spec.graph.steps);
        models.iter().any(|&model| self.model_heeds_priority(model))
            || steps.any(|step| match &step.work {
                Work::Tool(used) => self.tool_heeds_priority(used.tool),
                _ => false,
            })
    }

    fn model_heeds_priority(&self, model: ModelId) -> bool {
        let Some(spec) = self.models.get(model.index()) else { return false };
        self.policy.sheds(model)
            || spec.served_by.iter().any(|serving| match serving.backend {
                Backend::Pool(pool) => {
                    let pool = self.pools.get(pool.index()).and_then(Option::as_ref);
                    pool.is_some_and(|pool| pool.spec.engine.policy == SchedulingPolicy::Priority)
                }
                Backend::Remote(remote) => {
                    let remote = self.remotes.get(remote.index()).and_then(Option::as_ref);
                    remote.is_some_and(|remote| by_priority(&remote.station))
                }
            })
    }

    fn tool_heeds_priority(&self, tool: ToolId) -> bool {
        let tool = self.tools.get(tool.index()).and_then(Option::as_ref);
        tool.is_some_and(|tool| by_priority(&tool.station))
    }
}

/// Whether its queue is ordered by priority; without a number of places nobody waits.
fn by_priority(station: &Station) -> bool {
    station.discipline == Discipline::Priority && station.servers.is_some()
}
