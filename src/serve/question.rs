//! What the page asks, and what it is told where that cannot be answered.
//!
//! Invariants: a scenario is a shipped one by its name, or a text that has no folder, so that nothing
//! in it opens a file; a refusal says the same as the command line, with line and column.
//!
//! Deliberately absent: HTTP beyond the status.

use crate::args::Source;
use crate::error::Error;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use experiments::Case;
use reports::command::Named;
use scenarios::{Blueprint, Problems, library};
use serde::Deserialize;
use serde_json::{Value, json};

/// Name of the format of everything that is sent.
pub(super) const SCHEMA: &str = "surgeline.serve/1";
/// Under which name problems show a text that was pasted.
const PASTED: &str = "scenario.toml";
/// Overrides, and bytes of all of them.
const MOST_CHANGES: usize = 200;
const MOST_BYTES: usize = 64 << 10;

/// A scenario with some values changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    /// Name of a shipped scenario.
    pub(super) scenario: Option<String>,
    /// The text of one, instead.
    pub(super) text: Option<String>,
    /// Overrides, `KEY=VALUE`.
    #[serde(default)]
    pub(super) set: Vec<String>,
}

/// A question, and with what its answer is to be compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// Whoever asks anew under the same name does not want the earlier answer any more.
    pub(super) session: String,
    /// What is asked about.
    #[serde(rename = "ask")]
    pub(super) variant: Variant,
    /// The baseline.
    pub(super) pinned: Option<Variant>,
    /// Instead of the scenario's own.
    pub(super) seed: Option<u64>,
    /// Likewise, 1 to 200.
    pub(super) replications: Option<u32>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    /// In words.
    pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> Refusal {
        let text: String = text.into();
        Refusal { status, body: json!({ "schema": SCHEMA, "error": text, "problems": [] }) }
    }

    /// Too much is waiting already.
    pub(super) fn busy() -> Refusal {
        let text = "too many questions are waiting; ask again in a moment";
        Refusal::plain(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// A later question of the session takes its place, or the server ends.
    pub(super) fn superseded() -> Refusal {
        let text = "another question took the place of this one";
        Refusal::plain(StatusCode::CONFLICT, text)
    }

    /// The same inside a stream of answers.
    pub(super) fn event(self) -> Value {
        let mut event = self.body;
        event["event"] = json!("refused");
        event
    }
}

impl From<Problems> for Refusal {
    fn from(problems: Problems) -> Refusal {
        let one = |problem: &scenarios::Problem| {
            let place = &problem.site.place;
            json!({
                "file": place.file.as_ref(), "line": place.line, "column": place.column,
                "key": problem.site.key, "message": problem.message, "help": problem.help,
            })
        };
        let list: Vec<Value> = problems.list.iter().map(one).collect();
        let body = json!({ "schema": SCHEMA, "error": problems.to_string(), "problems": list });
        Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, body }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let status = match &error {
            Error::Input(_) | Error::Usage(_) | Error::Halted(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Error::Write { .. } | Error::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match error {
            Error::Input(problems) => problems.into(),
            other => Refusal::plain(status, other.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let again = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some((RETRY_AFTER, "2"));
        let response = (self.status, Document(self.body)).into_response();
        match again {
            Some(header) => ([header], response).into_response(),
            None => response,
        }
    }
}

/// A document that is sent.
pub(super) struct Document(pub(super) Value);

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}

impl Question {
    /// The command that asks the same, what is pinned left out.
    pub(super) fn command(&self) -> String {
        let (seed, replications) = (self.seed, self.replications);
        Named { seed, replications, ..self.variant.source().named() }.run(&self.variant.set)
    }
}

impl Variant {
    /// The scenario without the overrides.
    pub(super) fn blueprint(&self) -> Result<Blueprint, Refusal> {
        let bad = |text: String| Refusal::plain(StatusCode::BAD_REQUEST, text);
        let bytes: usize = self.set.iter().map(String::len).sum();
        if self.set.len() > MOST_CHANGES || bytes > MOST_BYTES {
            return Err(bad(format!(
                "at most {MOST_CHANGES} overrides of {MOST_BYTES} bytes together"
            )));
        }
        match (&self.scenario, &self.text) {
            (None, Some(text)) => Ok(Blueprint::of_text(PASTED, text)),
            (Some(name), None) => match library::find(name) {
                Some(shipped) => Ok(Blueprint::shipped(shipped, None)?),
                None => {
                    let text = format!("no shipped scenario is called {name:?}");
                    Err(Refusal::plain(StatusCode::NOT_FOUND, text))
                }
            },
            _ => Err(bad("name either a shipped `scenario` or its `text`".to_owned())),
        }
    }

    /// Ready to be run.
    pub(super) fn case(&self) -> Result<Case, Refusal> {
        let resolved = self.blueprint()?.resolve(&self.set)?;
        Ok(Case::new(resolved).map_err(Error::Usage)?)
    }

    /// The command that asks the same.
    pub(super) fn command(&self) -> String {
        self.source().named().run(&self.set)
    }

    /// The same as the command line names it.
    pub(super) fn source(&self) -> Source {
        let scenario = self.scenario.as_deref().unwrap_or(PASTED).into();
        Source { scenario, policy: None, set: self.set.clone() }
    }

    /// The scenario with its overrides as one text, and the name of a file for it.
    pub(super) fn file(&self) -> Result<(String, String), Refusal> {
        let text = self.blueprint()?.standalone(&self.set)?;
        let name =
            self.scenario.as_deref().map_or(PASTED.to_owned(), |name| format!("{name}.toml"));
        Ok((name, text))
    }
}
