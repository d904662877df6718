//! Everything that has a name, collected before anything is lowered, and how names are looked up.
//!
//! Invariants: positions are those of the typed ids; a name of a backend is given once among pools,
//! providers, provisioned capacity and devices; intents are the declared ones in the order of the
//! file, then those that calls use without declaring them.
//!
//! Deliberately absent: what the named things are.

use super::Resolver;
use crate::condition::names::{AttributeName, Names as ConditionNames, attribute_name};
use crate::condition::{ConditionText, compile};
use crate::file::{AttributeFile, AttributeLawFile, ScenarioFile, WorkFile};
use crate::problem::{At, Problem, ProblemKind, did_you_mean, nearest};
use crate::resolved::Origin;
use sim::ids::{AttributeId, Backend, IntentId, PoolId, RemoteId};
use sim::predicate::Predicate;
use std::collections::{BTreeMap, BTreeSet};

/// Positions of names, those of the typed ids.
pub(super) type Names<'a> = BTreeMap<&'a str, usize>;

/// Attributes of a scenario, because each task draws all of them.
pub(super) const MOST_ATTRIBUTES: usize = 100;
/// Pairs of intents and models, because each has its quality.
const MOST_QUALITIES: usize = 1_000_000;

/// The intent of calls that state none while others do.
pub(super) const NO_INTENT: &str = "other";

/// Names of things in the order of the file.
pub(super) fn names<T>(all: &[(At<String>, T)]) -> Names<'_> {
    all.iter().enumerate().map(|(at, (name, _))| (name.value.as_str(), at)).collect()
}

/// A position as the number of a typed id.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Pools and remotes in the order of their ids: providers, provisioned capacity, devices.
pub(super) fn backends(
    file: &ScenarioFile,
) -> impl Iterator<Item = (&At<String>, Backend)> + Clone {
    let remote = file.providers.iter().chain(&file.provisioned).chain(&file.devices);
    let pools = file.pools.iter().map(|(name, _)| name).enumerate();
    let pools = pools.map(|(at, name)| (name, Backend::Pool(PoolId(number(at)))));
    let remotes = remote.map(|(name, _)| name).enumerate();
    pools.chain(remotes.map(|(at, name)| (name, Backend::Remote(RemoteId(number(at))))))
}

/// Models by name: the declared ones, or else one for each model that pools run and one for each
/// place outside, under its own name.
pub(super) fn implied_models(file: &ScenarioFile) -> BTreeMap<&str, Vec<Backend>> {
    let mut implied: BTreeMap<&str, Vec<Backend>> = BTreeMap::new();
    for (name, backend) in backends(file) {
        let model = match backend {
            Backend::Pool(pool) => {
                let file = file.pools.get(pool.index()).map(|(_, pool)| pool);
                file.and_then(|pool| pool.model.as_ref()).unwrap_or(name)
            }
            Backend::Remote(_) => name,
        };
        implied.entry(&model.value).or_default().push(backend);
    }
    implied
}

/// Positions of models.
pub(super) fn model_names(file: &ScenarioFile) -> Names<'_> {
    if !file.models.is_empty() {
        return names(&file.models);
    }
    implied_models(file).into_keys().enumerate().map(|(at, name)| (name, at)).collect()
}

/// Intents in the order of their ids; without any, calls are for nothing in particular.
pub(super) fn intents(file: &ScenarioFile) -> Vec<&str> {
    let mut all: Vec<&str> = file.intents.iter().map(|(name, _)| name.value.as_str()).collect();
    let mut seen: BTreeSet<&str> = all.iter().copied().collect();
    let steps = file.tasks.iter().flat_map(|(_, task)| &task.steps);
    let calls = steps.flat_map(|step| &step.work).filter_map(|work| match work {
        WorkFile::Call(call) => Some(call),
        _ => None,
    });
    let mut unnamed = false;
    for call in calls {
        match &call.intent {
            Some(intent) if seen.insert(&intent.value) => all.push(&intent.value),
            Some(_) => {}
            None => unnamed = true,
        }
    }
    if unnamed && !all.is_empty() && seen.insert(NO_INTENT) {
        all.push(NO_INTENT);
    }
    all
}

/// A declared attribute, as conditions see it.
pub(super) struct Attribute<'a> {
    name: &'a str,
    words: Vec<&'a str>,
    number: bool,
}

/// Attributes in the order of the file, with the words that any source gives them.
pub(super) fn attributes(file: &ScenarioFile) -> Vec<Attribute<'_>> {
    let mut laws: BTreeMap<&str, Vec<&AttributeFile>> = BTreeMap::new();
    let own = file.traffic.iter().flat_map(|(_, traffic)| &traffic.people.attributes);
    for (name, law) in file.attributes.iter().chain(own) {
        laws.entry(&name.value).or_default().push(law);
    }
    let mut all = Vec::new();
    for (name, _) in &file.attributes {
        let laws = laws.remove(name.value.as_str()).unwrap_or_default();
        let mut words: Vec<&str> = Vec::new();
        let mut number = false;
        for law in laws.into_iter().filter_map(|law| law.law.as_ref()) {
            match law {
                AttributeLawFile::Words(values) => {
                    words.extend(values.iter().map(|(word, _)| word.value.as_str()));
                }
                AttributeLawFile::Uniform(..) => number = true,
            }
        }
        words.sort_unstable();
        words.dedup();
        all.push(Attribute { name: &name.value, words, number });
    }
    all
}

impl Resolver<'_> {
    /// What a name stands for.
    pub(super) fn find<T: Copy>(
        &self,
        name: &At<String>,
        what: &str,
        known: &BTreeMap<&str, T>,
    ) -> Option<T> {
        let found = known.get(name.value.as_str()).copied();
        if found.is_none() {
            self.context.sink.push_with(|| {
                let known: Vec<&str> = known.keys().copied().collect();
                let message = format!("no {what} is called `{}`", name.value);
                Problem::new(ProblemKind::UnknownName, &name.site, message)
                    .help(did_you_mean(&name.value, &known))
            });
        }
        found
    }

    /// Compiles a condition against everything the scenario names; `None` when that was reported.
    pub(super) fn condition(&self, text: &At<ConditionText>) -> Option<Predicate> {
        let attributes: Vec<AttributeName<'_>> = self
            .attributes
            .iter()
            .enumerate()
            .map(|(at, attribute)| AttributeName {
                name: attribute.name,
                id: AttributeId(number(at)),
                words: &attribute.words,
                number: attribute.number,
            })
            .collect();
        let mut names = ConditionNames {
            attributes: &attributes,
            intents: &self.intents,
            backends: &self.backend_list,
            symbols: &mut self.symbols.borrow_mut(),
        };
        match compile(text, &mut names) {
            Ok(predicate) => Some(predicate),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.push(problem));
                None
            }
        }
    }

    /// The intent of a call; the first one while nothing has an intent. One that is not declared is
    /// a mere label, unless it is all but declared: then it is misspelt, here or there, and its
    /// answers would always be right.
    pub(super) fn intent(&self, name: Option<&At<String>>) -> IntentId {
        let declared = names(&self.file.intents);
        let label = name.filter(|name| !declared.contains_key(name.value.as_str()));
        if let Some(name) = label
            && let Some(meant) = nearest(&name.value, declared.keys().copied())
        {
            let message = format!("no intent is called `{}`", name.value);
            let help = format!(
                "did you mean `{meant}`? If it is another one, declare it: [intents.{}]",
                name.value
            );
            self.push(Problem::new(ProblemKind::UnknownName, &name.site, message).help(help));
        }
        let name = name.map_or(NO_INTENT, |name| name.value.as_str());
        IntentId(number(self.intent_names.get(name).copied().unwrap_or(0)))
    }

    /// Names that are taken twice or that nothing could refer to.
    pub(super) fn check_names(&self) {
        let mut seen: BTreeMap<&str, &At<String>> = BTreeMap::new();
        for (name, _) in backends(self.file) {
            if let Some(first) = seen.insert(&name.value, name) {
                let message = format!("`{}` is the name of another backend too", name.value);
                let problem = Problem::new(ProblemKind::Conflict, &name.site, message);
                self.push(problem.help(format!("it is declared as {}", first.site.key)));
            }
        }
        for (name, _) in &self.file.attributes {
            if let Some(why) = attribute_name(&name.value) {
                let message = format!("conditions could not name this attribute: {why}");
                self.refuse(ProblemKind::BadValue, &name.site, message);
            }
        }
        if let Some((name, _)) = self.file.attributes.get(MOST_ATTRIBUTES) {
            let message = format!("more than {MOST_ATTRIBUTES} attributes");
            self.refuse(ProblemKind::BadValue, &name.site, message);
        }
        if self.intents.len().saturating_mul(self.model_names.len()) > MOST_QUALITIES {
            let message = "too many intents for so many models";
            self.refuse(ProblemKind::BadValue, &self.file.site.child("intents"), message);
        }
        for intent in self.intents.iter().skip(self.file.intents.len()) {
            let key = format!("intents.{intent}");
            self.note(key, "not declared: every answer is right".to_owned(), Origin::Default);
        }
    }
}
