//! What a sampling kept: the samples, what the device is and what could not be read.
//!
//! Invariants: all but the samples is also a list of keys and values, which files carry as metadata
//! and from which the same profile comes back; values have no line break.
//!
//! Deliberately absent: the format of any file.

use super::facts::DeviceFacts;
use super::faults::{FieldErrors, one_line};
use super::sample::Sample;
use sim::units::Span;
use std::collections::BTreeMap;
use std::time::Duration;

/// The value of the key `format`.
const FORMAT: &str = "surgeline.nvml/1";

/// Why a sampling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was as long as it should be.
    Complete,
    /// Somebody stopped it.
    Stopped,
    /// The GPU is gone; what the driver said.
    Lost(String),
}

/// What a sampling kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The device.
    pub facts: DeviceFacts,
    /// The start, since 1970 by the system's clock.
    pub started: Duration,
    /// Between two instants.
    pub every: Span,
    /// Instants that were left out because the reading before them took too long.
    pub skipped: u64,
    /// Why it ended.
    pub ended: Ended,
    /// Quantities that the device does not have, and why.
    pub missing: BTreeMap<String, String>,
    /// Quantities that could not be read at times.
    pub errors: BTreeMap<String, FieldErrors>,
    /// Units of performance metrics as NVML states them, by column.
    pub units: BTreeMap<String, String>,
    /// The samples, by time.
    pub samples: Vec<Sample>,
}

/// Why metadata are not those of a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The key `format` is absent or names something else.
    #[error("this is no profile of a GPU: `format` should be `{FORMAT}`, not `{0}`")]
    Format(String),
    /// A value that is none of its key.
    #[error("`{value}` is no value of `{key}`")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl Profile {
    /// All but the samples, as keys and values.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, String)> {
        let (ended, lost) = match &self.ended {
            Ended::Complete => ("complete", None),
            Ended::Stopped => ("stopped", None),
            Ended::Lost(why) => ("lost", Some(("lost".to_owned(), one_line(why)))),
        };
        let pair = |key: &str, value: String| (key.to_owned(), value);
        let mut pairs = vec![
            pair("format", FORMAT.to_owned()),
            pair("started_unix_us", self.started.as_micros().to_string()),
            pair("every_us", (self.every.0 / MICRO).to_string()),
            pair("skipped", self.skipped.to_string()),
            pair("ended", ended.to_owned()),
        ];
        pairs.extend(lost);
        let facts = self.facts.pairs().into_iter();
        pairs.extend(facts.map(|(name, value)| (format!("device.{name}"), value)));
        let missing = self.missing.iter();
        pairs.extend(missing.map(|(field, why)| (format!("missing.{field}"), one_line(why))));
        pairs.extend(self.errors.iter().map(|(field, errors)| {
            let first_at = errors.first_at.0 / MICRO;
            let value = format!("{} {first_at} {}", errors.count, one_line(&errors.first));
            (format!("errors.{field}"), value)
        }));
        let units = self.units.iter();
        pairs.extend(units.map(|(column, unit)| (format!("unit.{column}"), one_line(unit))));
        pairs
    }

    /// A profile from its metadata and its samples. Keys it does not know are left alone: other
    /// programs may have added theirs.
    ///
    /// # Errors
    /// [`MetadataError`] when this is no profile, or a value is none of its key.
    pub fn from_metadata(
        pairs: &[(String, String)],
        samples: Vec<Sample>,
    ) -> Result<Profile, MetadataError> {
        let get = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, v)| v.as_str());
        let format = get("format").unwrap_or_default();
        if format != FORMAT {
            return Err(MetadataError::Format(format.to_owned()));
        }
        let wrong = |key: &str, value: &str| MetadataError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let whole = |key: &str| -> Result<u64, MetadataError> {
            let value = get(key).unwrap_or_default();
            value.parse().map_err(|_| wrong(key, value))
        };
        let ended = match get("ended").unwrap_or_default() {
            "complete" => Ended::Complete,
            "stopped" => Ended::Stopped,
            "lost" => Ended::Lost(get("lost").unwrap_or_default().to_owned()),
            other => return Err(wrong("ended", other)),
        };
        let mut profile = Profile {
            facts: DeviceFacts::default(),
            started: Duration::from_micros(whole("started_unix_us")?),
            every: Span::from_micros(whole("every_us")?),
            skipped: whole("skipped")?,
            ended,
            missing: BTreeMap::new(),
            errors: BTreeMap::new(),
            units: BTreeMap::new(),
            samples,
        };
        for (key, value) in pairs {
            if !profile.take(key, value) {
                return Err(wrong(key, value));
            }
        }
        Ok(profile)
    }

    /// Takes a key of a group; `false` if its value is none.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match key.split_once('.') {
            Some(("device", name)) => return self.facts.take(name, value),
            Some(("missing", field)) => {
                self.missing.insert(field.to_owned(), value.to_owned());
            }
            Some(("unit", column)) => {
                self.units.insert(column.to_owned(), value.to_owned());
            }
            Some(("errors", field)) => {
                let mut parts = value.splitn(3, ' ');
                let (count, first_at) = (parts.next(), parts.next());
                let first = parts.next().unwrap_or_default().to_owned();
                let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
                let (Some(count), Some(first_at)) = (number(count), number(first_at)) else {
                    return false;
                };
                let first_at = Span::from_micros(first_at);
                self.errors.insert(field.to_owned(), FieldErrors { count, first_at, first });
            }
            _ => {}
        }
        true
    }
}

/// Picoseconds.
const MICRO: u64 = 1_000_000;
