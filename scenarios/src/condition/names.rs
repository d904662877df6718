//! What conditions may name, and the table of words they compare.
//!
//! Invariants: a word has one [`SymbolId`], whoever asks first, and ids are dense from 0.
//!
//! Deliberately absent: where the names come from (see `resolve`).

use super::parse::{OPERATOR_WORDS, backend_signal};
use sim::ids::{AttributeId, Backend, SymbolId};
use sim::predicate::Signal;
use std::collections::BTreeMap;

/// Words by id: `Scenario::symbols` in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symbols {
    ids: BTreeMap<String, SymbolId>,
    words: Vec<String>,
}

impl Symbols {
    /// The id of a word, its next one when it is new.
    pub(crate) fn intern(&mut self, word: &str) -> SymbolId {
        if let Some(&id) = self.ids.get(word) {
            return id;
        }
        let id = SymbolId(u32::try_from(self.words.len()).unwrap_or(u32::MAX));
        self.ids.insert(word.to_owned(), id);
        self.words.push(word.to_owned());
        id
    }

    /// The words in the order of their ids.
    pub(crate) fn into_words(self) -> Vec<String> {
        self.words
    }
}

/// A declared attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttributeName<'a> {
    /// What conditions call it; see [`attribute_name`].
    pub(crate) name: &'a str,
    /// What the simulator calls it.
    pub(crate) id: AttributeId,
    /// The words it takes in any source of tasks.
    pub(crate) words: &'a [&'a str],
    /// Whether it is a number in any of them.
    pub(crate) number: bool,
}

/// What a scenario gives conditions to talk about.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    /// Declared attributes.
    pub(crate) attributes: &'a [AttributeName<'a>],
    /// Declared intents.
    pub(crate) intents: &'a [&'a str],
    /// Backends: pools and remotes.
    pub(crate) backends: &'a [(&'a str, Backend)],
    /// The words of all conditions; `intent` is compared with the symbol of its name.
    pub(crate) symbols: &'a mut Symbols,
}

/// What a name that always exists is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sort {
    Word,
    Number,
    Duration,
}

/// Names that always exist.
pub(super) const FIXED: [(&str, Signal, Sort); 6] = [
    ("intent", Signal::Intent, Sort::Word),
    ("confidence", Signal::Confidence, Sort::Number),
    ("prompt_tokens", Signal::PromptTokens, Sort::Number),
    ("elapsed", Signal::Elapsed, Sort::Duration),
    ("remaining_latency", Signal::RemainingLatency, Sort::Duration),
    ("model_calls", Signal::ModelCalls, Sort::Number),
];

/// Why conditions could not name an attribute that is called so; `None`: they can.
pub(crate) fn attribute_name(name: &str) -> Option<&'static str> {
    let shaped = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    let keyword = OPERATOR_WORDS.contains(&name) || ["true", "false", "null"].contains(&name);
    let taken = FIXED.iter().any(|(fixed, ..)| *fixed == name) || backend_signal(name).is_some();
    match (shaped, keyword, taken) {
        (false, ..) => Some("it is not made of letters, digits and `_`, a letter first"),
        (_, true, _) => Some("it is a word of the language of conditions"),
        (.., true) => Some("conditions already mean something else by it"),
        _ => None,
    }
}
