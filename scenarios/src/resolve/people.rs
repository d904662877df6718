//! Intents, attributes, and who sends the requests of a source.
//!
//! Invariants: a source has one law for each declared attribute; the laws' random streams depend on
//! the attribute's name alone; tenants of one `[traffic.NAME]` are the same for all its clients.
//!
//! Deliberately absent: plans, which the policy side knows.

use super::names::{MOST_ATTRIBUTES, Names, number};
use super::traffic::{Source, stream_key};
use super::{Resolver, names};
use crate::file::{AttributeFile, AttributeLawFile, PeopleFile, TrafficFile};
use crate::problem::{At, Problem, ProblemKind};
use sim::ids::{PlanId, SourceId, SymbolId};
use sim::tasks::IntentSpec;
use sim::workload::{AttributeLaw, AttributeSpec, ClientSpec, People, ResubmitSpec, TenantSpec};
use std::collections::BTreeMap;

/// Tenants of all traffic together.
const MOST_TENANTS: u32 = 1_000_000;
/// How much the confidence of an undeclared intent would know; its answers are always right.
const UNDECLARED: f64 = 0.0;

/// Tenants of a `[traffic.NAME]`.
#[derive(Clone, Copy)]
pub(super) struct Tenants {
    /// The first of the sources that bring them.
    pub(super) source: SourceId,
    pub(super) on_a_plan: bool,
}

impl<'a> Resolver<'a> {
    /// The tenants of each `[traffic.NAME]` that has some; where its sources could not be resolved,
    /// of a source that is none.
    pub(super) fn tenants(&self, sources: &[Source]) -> BTreeMap<&'a str, Tenants> {
        let mut first = Vec::new();
        let mut before = None;
        // All sources of one table have the same tenants, and no two tables do.
        for (at, source) in sources.iter().enumerate() {
            let tenants = source.spec.people.tenants;
            if tenants.is_some() && tenants != before {
                first.push(SourceId(number(at)));
            }
            before = tenants;
        }
        let of = |(name, file): &'a (At<String>, TrafficFile)| {
            Some((name.value.as_str(), file.people.tenants.as_ref()?.plan.is_some()))
        };
        let tables: Vec<(&'a str, bool)> = self.file.traffic.iter().filter_map(of).collect();
        let all = first.len() == tables.len();
        let source = |at: usize| first.get(at).copied().filter(|_| all);
        let tenants = |(at, (name, on_a_plan)): (usize, (&'a str, bool))| {
            let source = source(at).unwrap_or(SourceId(u32::MAX));
            (name, Tenants { source, on_a_plan: on_a_plan || !all })
        };
        tables.into_iter().enumerate().map(tenants).collect()
    }
}

impl Resolver<'_> {
    /// What calls are for, in the order of the ids.
    pub(super) fn intent_specs(&self) -> Vec<IntentSpec> {
        let spec = |(at, name): (usize, &&str)| {
            let file = self.file.intents.get(at).map(|(_, intent)| intent);
            let value = |at: Option<&At<f64>>| at.map_or(UNDECLARED, |at| at.value);
            IntentSpec {
                name: (*name).to_owned(),
                key: stream_key(name),
                confidence: value(file.and_then(|file| file.confidence.as_ref())),
                consistency: value(file.and_then(|file| file.consistency.as_ref())),
            }
        };
        self.intents.iter().enumerate().map(spec).collect()
    }

    /// Qualities of models that nothing is called, and of models that an intent forgot.
    pub(super) fn check_intents(&self) {
        for (name, intent) in &self.file.intents {
            for (model, _) in &intent.quality {
                self.find(model, "model", &self.model_names);
            }
            let known: Names<'_> = names::names(&intent.quality);
            let mut forgotten = self.models.iter().map(|model| model.name.as_str());
            let forgotten: Vec<&str> =
                forgotten.by_ref().filter(|model| !known.contains_key(model)).take(5).collect();
            if !known.is_empty() && !forgotten.is_empty() {
                let message = format!(
                    "no quality is stated for {}: taken to be always right",
                    forgotten.join(", ")
                );
                self.warn(&name.site, message);
            }
        }
    }

    /// Who sends the requests of a `[traffic.NAME]`, given the first of its tenants.
    pub(super) fn people(&self, file: &TrafficFile, first: u32) -> Option<People> {
        let PeopleFile { tenants, patience, abandoned_work_goes_on, resubmit, .. } = &file.people;
        let tenants = match tenants {
            Some(tenants) => {
                let plan = match &tenants.plan {
                    Some(plan) => Some(self.plan(plan)?),
                    None => None,
                };
                let count = tenants.count.value;
                Some(TenantSpec { first, count, zipf: tenants.zipf, plan })
            }
            None => None,
        };
        let resubmit = resubmit.as_ref().map(|resubmit| ResubmitSpec {
            max_submissions: resubmit.max,
            probability: resubmit.probability,
            pause: resubmit.pause.clone(),
        });
        let client = ClientSpec {
            patience: patience.clone(),
            abandoned_work_goes_on: abandoned_work_goes_on.as_ref().is_some_and(|at| at.value),
            resubmit,
        };
        Some(People { tenants, attributes: self.attribute_specs(&file.people), client })
    }

    /// First tenant of each `[traffic.NAME]`. Tenant 0 stands for traffic without tenants, so the
    /// others begin at 1, and no two groups share one.
    pub(super) fn first_tenants(&self) -> Vec<u32> {
        let traffic = &self.file.traffic;
        let mut next = 1_u32;
        let mut first = Vec::with_capacity(traffic.len());
        for (_, file) in traffic {
            first.push(next);
            let Some(tenants) = &file.people.tenants else { continue };
            let before = next;
            next = next.saturating_add(tenants.count.value);
            if before <= MOST_TENANTS + 1 && next > MOST_TENANTS + 1 {
                let message = format!("more than {MOST_TENANTS} tenants in all");
                self.refuse(ProblemKind::BadValue, &tenants.count.site, message);
            }
        }
        first
    }

    fn plan(&self, name: &At<String>) -> Option<PlanId> {
        self.find(name, "plan", &self.plan_names).map(|at| PlanId(number(at)))
    }

    /// The laws of all attributes for one source; its own ones win.
    fn attribute_specs(&self, people: &PeopleFile) -> Vec<AttributeSpec> {
        for (name, own) in &people.attributes {
            let declared = self.find(name, "attribute", &self.attribute_names);
            let at = declared.and_then(|at| self.file.attributes.get(at));
            if let (Some(per), Some(_)) = (&own.per_tenant, at) {
                let message = "whether tenants keep it is said where the attribute is declared";
                let problem = Problem::new(ProblemKind::Conflict, &per.site, message);
                self.push(problem.help("write `per` in [attributes.NAME]"));
            }
        }
        let spec = |(name, declared): &(At<String>, AttributeFile)| {
            let own = people.attributes.iter().find(|(own, _)| own.value == name.value);
            let law = own.map_or(declared, |(_, own)| own).law.as_ref();
            AttributeSpec {
                law: law.map_or(AttributeLaw::Absent, |law| self.attribute_law(law)),
                key: stream_key(&name.value),
                per_tenant: declared.per_tenant.as_ref().is_some_and(|per| per.value),
            }
        };
        self.file.attributes.iter().take(MOST_ATTRIBUTES).map(spec).collect()
    }

    fn attribute_law(&self, law: &AttributeLawFile) -> AttributeLaw {
        match law {
            AttributeLawFile::Uniform(low, high) => {
                AttributeLaw::Uniform { low: *low, high: *high }
            }
            AttributeLawFile::Words(words) => {
                let total: f64 = words.iter().map(|(_, weight)| weight.value).sum();
                let mut symbols = self.symbols.borrow_mut();
                let mut sum = 0.0;
                let mut cumulated: Vec<(SymbolId, f64)> = Vec::new();
                for (word, weight) in words.iter().filter(|(_, weight)| weight.value > 0.0) {
                    sum += weight.value;
                    cumulated.push((symbols.intern(&word.value), sum / total));
                }
                // Rounding may leave the last one short of 1, and a draw beyond it.
                if let Some(last) = cumulated.last_mut() {
                    last.1 = 1.0;
                }
                AttributeLaw::Words(cumulated)
            }
        }
    }
}
