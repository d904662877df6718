//! `probe.toml`: what was asked, of whom, under which design.
//!
//! Invariants: neither the key nor the query of an address is in it; it is replaced as a whole; a
//! probe goes on only where its design is the one that was begun.
//!
//! Deliberately absent: results.

use super::client::{Api, Client, Dialect};
use super::design::{Cell, Levels};
use super::results::{FileError, write_whole};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the folder's files.
pub const SCHEMA: &str = "surgeline.probe/2";
/// Name of the file.
pub(super) const FILE: &str = "probe.toml";
/// Characters of an engine's own words that are kept.
const LONGEST_FACT: usize = 200;

/// What the endpoint says about itself; what it does not say is absent.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineFacts {
    /// `owned_by` of the model in `/models`: engines write their name there.
    pub owned_by: Option<String>,
    /// `root` of the model in `/models`: what is served under its name.
    pub root: Option<String>,
    /// `max_model_len` of the model in `/models`, in tokens.
    pub max_model_len: Option<u32>,
    /// `version` in `/version` at the server's root.
    pub version: Option<String>,
    /// The engine by the names of its metrics: `vllm`, `sglang` or `tensorrt-llm`.
    pub metrics_of: Option<String>,
    /// KV capacity in tokens by its metrics, all replicas together.
    pub kv_capacity: Option<u64>,
}

impl EngineFacts {
    /// Asks the endpoint; what it refuses to say stays absent.
    pub(super) fn ask(client: &Client, model: &str) -> EngineFacts {
        let parsed = |text: Result<String, _>| -> Option<serde_json::Value> {
            serde_json::from_str(&text.ok()?).ok()
        };
        let clean = |value: &serde_json::Value| -> Option<String> {
            let text = client.clean(value.as_str()?);
            Some(text.chars().take(LONGEST_FACT).collect())
        };
        let mut facts = EngineFacts::default();
        if let Some(version) = parsed(client.get_beside("/version")) {
            facts.version = version.get("version").and_then(clean);
        }
        let models = parsed(client.get("/models"));
        let entries = models.as_ref().and_then(|models| models.get("data")?.as_array());
        let is_it = |entry: &&serde_json::Value| entry.get("id").is_some_and(|id| id == model);
        if let Some(entry) = entries.and_then(|entries| entries.iter().find(is_it)) {
            facts.owned_by = entry.get("owned_by").and_then(clean);
            facts.root = entry.get("root").and_then(clean);
            let longest = entry.get("max_model_len").and_then(serde_json::Value::as_u64);
            facts.max_model_len = longest.and_then(|longest| u32::try_from(longest).ok());
        }
        facts
    }
}

/// One stretch of a probe, between its start and its end or interruption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// From 1.
    pub number: u32,
    /// Seconds since 1970 when it began: `sent_s` and `begin_s` count from here.
    pub began_unix_s: f64,
    /// Its time limit in seconds.
    pub budget_s: f64,
    /// Seconds it took; absent while it runs, and for ever if it was killed.
    pub took_s: Option<f64>,
    /// Why it ended.
    pub ended: Option<String>,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of surgeline that began it.
    pub surgeline: String,
    /// The address, without its query.
    pub url: String,
    /// The interface.
    pub api: Api,
    /// The model asked for.
    pub model: String,
    /// Seed of the prompts.
    pub seed: u64,
    /// Sets the prompts apart from those of every other probe: nanoseconds since 1970 at its start.
    pub salt: i64,
    /// Options that the server accepts, once one was accepted.
    pub dialect: Option<Dialect>,
    /// Combinations of the grid that are no cell, each with the reason.
    pub dropped: Vec<String>,
    /// What the endpoint says about itself.
    pub engine: EngineFacts,
    /// The grid.
    pub levels: Levels,
    /// The cells, in their order.
    pub cells: Vec<Cell>,
    /// The sessions so far.
    #[serde(default)]
    pub sessions: Vec<SessionRecord>,
}

/// Why a folder holds no probe that can go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no record of a probe.
    #[error("{0}")]
    NotARecord(String),
    /// Another probe was begun there.
    #[error("this is not the probe that was begun there: {0}; name a new folder, or ask as before")]
    Other(String),
}

impl Record {
    /// Reads the record of a folder.
    pub(super) fn read(folder: &Path) -> Result<Record, ResumeError> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| FileError { path: path.clone(), source })?;
        let record: Record = toml::from_str(&text)
            .map_err(|error| ResumeError::NotARecord(format!("{}: {error}", path.display())))?;
        if record.schema != SCHEMA {
            let (is, wants) = (&record.schema, SCHEMA);
            return Err(ResumeError::Other(format!("its schema is `{is}`, not `{wants}`")));
        }
        Ok(record)
    }

    /// Writes the record into its folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), FileError> {
        let path = folder.join(FILE);
        let text = toml::to_string(self).map_err(|error| FileError {
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        write_whole(&path, &text)
    }

    /// Checks that `asked` is the probe that this record began.
    pub(super) fn check(&self, asked: &Record) -> Result<(), ResumeError> {
        let texts = [
            ("url", &self.url, &asked.url),
            ("model", &self.model, &asked.model),
            ("api", &format!("{:?}", self.api), &format!("{:?}", asked.api)),
            ("seed", &self.seed.to_string(), &asked.seed.to_string()),
        ];
        for (name, was, is) in texts {
            if was != is {
                return Err(ResumeError::Other(format!("{name} was `{was}` and now is `{is}`")));
            }
        }
        let differs = |(was, is): &(&Cell, &Cell)| was != is;
        if let Some((was, is)) = self.cells.iter().zip(&asked.cells).find(differs) {
            return Err(ResumeError::Other(format!(
                "cell {} was {} and now is {}",
                was.number,
                shape(was),
                shape(is)
            )));
        }
        if self.cells.len() != asked.cells.len() {
            let (was, is) = (self.cells.len(), asked.cells.len());
            return Err(ResumeError::Other(format!("it had {was} cells and now has {is}")));
        }
        Ok(())
    }
}

fn shape(cell: &Cell) -> String {
    let Cell { input, output, concurrency, cached_percent, waves, .. } = cell;
    let what = cell.purpose.name();
    format!(
        "{what}: {input} + {output} tokens × {concurrency}, {cached_percent} % cached, {waves} times"
    )
}

#[cfg(test)]
mod tests {
    use super::super::design::design;
    use super::super::limits::Limits;
    use super::*;
    use std::time::Duration;

    fn record() -> Record {
        let levels = Levels::new(vec![16, 64], vec![8], vec![1, 2], 50).expect("valid");
        let limits =
            Limits { budget: Duration::from_secs(60), requests: 1_000, prices: None, spend: None };
        let design = design(&levels, &limits, None);
        Record {
            schema: SCHEMA.to_owned(),
            surgeline: "0".to_owned(),
            url: "http://h".to_owned(),
            api: Api::Chat,
            model: "m".to_owned(),
            seed: 7,
            salt: 1,
            dialect: Some(Dialect::OpenAi),
            dropped: design.dropped,
            engine: EngineFacts { max_model_len: Some(4_096), ..EngineFacts::default() },
            levels,
            cells: design.cells,
            sessions: vec![SessionRecord {
                number: 1,
                began_unix_s: 1.5,
                budget_s: 60.0,
                took_s: None,
                ended: None,
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = toml::to_string(&record()).expect("it can be written");
        let read: Record = toml::from_str(&text).expect("it can be read");
        assert_eq!(read, record());
    }

    #[test]
    fn another_probe_is_refused_with_the_difference() {
        let begun = record();
        assert!(begun.check(&begun).is_ok());
        let refusal = |change: fn(&mut Record)| {
            let mut asked = record();
            change(&mut asked);
            begun.check(&asked).expect_err("another probe").to_string()
        };
        assert!(refusal(|asked| asked.seed = 8).contains("seed was `7` and now is `8`"));
        assert!(refusal(|asked| asked.api = Api::Completions).contains("api was"));
        assert!(refusal(|asked| asked.cells[3].input = 9).contains("cell 3 was"));
        assert!(refusal(|asked| asked.cells.truncate(3)).contains("cells and now has"));
    }
}
