//! What conditions ask about, read where they are evaluated.

use super::Simulation;
use super::state::{Call, Root};
use crate::dice::{Dice, Purpose, mix};
use crate::ids::{AttributeId, Backend, SymbolId};
use crate::predicate::{BackendSignal, Predicate, Signal, Value};
use crate::record::Recorder;
use crate::units::{PS_PER_SEC, Time};
use crate::workload::AttributeLaw;

/// What is known of a call when a condition about it is evaluated.
#[derive(Clone, Copy)]
pub(super) struct About<'c> {
    pub(super) call: Option<&'c Call>,
    pub(super) confidence: Option<f64>,
}

impl<R: Recorder> Simulation<'_, R> {
    /// Whether a condition holds for a task now.
    pub(super) fn holds(
        &self,
        condition: &Predicate,
        root: &Root,
        about: About<'_>,
        now: Time,
    ) -> bool {
        condition.holds(|signal| self.read(signal, root, about, now))
    }

    fn read(&self, signal: Signal, root: &Root, about: About<'_>, now: Time) -> Option<Value> {
        let number = |n: f64| Some(Value::Number(n));
        let seconds = |ps: i128| number(ps as f64 / PS_PER_SEC as f64);
        let elapsed = i128::from((now - root.submitted).0);
        match signal {
            Signal::Intent => {
                let intent = about.call?.intent;
                self.world.intent_words.get(intent.index()).map(|&word| Value::Word(word))
            }
            Signal::Confidence => about.confidence.map(Value::Number),
            Signal::Attribute(attribute) => self.attribute(attribute, root),
            Signal::PromptTokens => number(f64::from(about.call?.prompt.input)),
            Signal::Elapsed => seconds(elapsed),
            Signal::RemainingLatency => {
                let task = &self.scenario.tasks[root.account.task.index()];
                let limit = task.budget.max_latency.or(task.latency_slo)?;
                seconds(i128::from(limit.0) - elapsed)
            }
            Signal::ModelCalls => number(f64::from(root.usage.calls)),
            Signal::Backend(backend, signal) => number(self.backend_signal(backend, signal, now)),
        }
    }

    /// The value of an attribute of a task; drawn from its key, so that it is what it is whoever
    /// asks and when.
    fn attribute(&self, attribute: AttributeId, root: &Root) -> Option<Value> {
        let source = &self.scenario.sources[root.request.source.index()];
        let spec = source.people.attributes.get(attribute.index())?;
        let owner = if spec.per_tenant {
            mix(self.world.run_key, u64::from(root.account.tenant))
        } else {
            root.request.key
        };
        let draw = Dice::of(mix(owner, spec.key), Purpose::Attribute).uniform();
        match &spec.law {
            AttributeLaw::Absent => None,
            AttributeLaw::Words(words) => {
                let word = words.iter().find(|&&(_, upto)| draw < upto).or(words.last())?;
                Some(Value::Word(word.0))
            }
            AttributeLaw::Uniform { low, high } => Some(Value::Number(low + draw * (high - low))),
        }
    }

    fn backend_signal(&self, backend: Backend, signal: BackendSignal, now: Time) -> f64 {
        match signal {
            BackendSignal::BreakerOpen => {
                let open = |guards: &super::world::Guards| guards.is_open(backend, now);
                f64::from(u8::from(self.world.guards.iter().any(open)))
            }
            BackendSignal::InFlight => match backend {
                Backend::Pool(pool) => {
                    let first = self.first_replica[pool.index()] as usize;
                    let replicas = self.scenario.pools[pool.index()].replicas as usize;
                    self.outstanding[first..first + replicas].iter().sum::<u32>().into()
                }
                Backend::Remote(remote) => self.world.remotes[remote.index()].in_flight().into(),
            },
            BackendSignal::Waiting => match backend {
                Backend::Pool(pool) => {
                    let first = self.first_replica[pool.index()] as usize;
                    let replicas = self.scenario.pools[pool.index()].replicas as usize;
                    let waiting = |replica: &crate::engine::Replica| replica.load().0;
                    self.replicas[first..first + replicas].iter().map(waiting).sum::<u32>().into()
                }
                Backend::Remote(remote) => self.world.remotes[remote.index()].waiting() as f64,
            },
        }
    }
}

/// Words of the intents, so that conditions can compare them.
pub(super) fn intent_words(
    symbols: &[String],
    intents: &[crate::tasks::IntentSpec],
) -> Vec<SymbolId> {
    let word = |name: &str| symbols.iter().position(|symbol| symbol == name);
    intents
        .iter()
        .map(|intent| SymbolId(word(&intent.name).map_or(u32::MAX, |at| at as u32)))
        .collect()
}
