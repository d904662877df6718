//! Readings that failed: what a device does not have, and what went wrong once.
//!
//! Invariants: a quantity that the device has refused for good is asked for no more; one that has
//! ever been read is never called missing; nothing that failed is silent.
//!
//! Deliberately absent: retries within one instant, which would delay the others.

use nvml_wrapper::error::{Bits, NvmlError};
use sim::units::Span;
use std::collections::{BTreeMap, BTreeSet};

/// How often a quantity could not be read, though the device has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldErrors {
    /// How often.
    pub count: u64,
    /// When first, since the start.
    pub first_at: Span,
    /// What was said then.
    pub first: String,
}

/// Why a reading gave nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// NVML said so.
    Nvml(NvmlError),
    /// It gave a value that cannot be.
    Garbage(String),
}

impl From<NvmlError> for Fault {
    fn from(error: NvmlError) -> Fault {
        Fault::Nvml(error)
    }
}

/// The device is gone; nothing can be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost(pub(super) String);

/// All that failed so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) missing: BTreeMap<String, String>,
    pub(super) errors: BTreeMap<String, FieldErrors>,
    read: BTreeSet<&'static str>,
}

impl Faults {
    /// Whether the device does not have a quantity.
    pub(super) fn is_missing(&self, field: &str) -> bool {
        self.missing.contains_key(field)
    }

    /// The device does not have a quantity, for a reason.
    pub(super) fn miss(&mut self, field: &str, reason: impl Into<String>) {
        self.missing.insert(field.to_owned(), reason.into());
    }

    /// What an answer comes to: a value, nothing, or the end.
    pub(super) fn judge<T>(
        &mut self,
        field: &'static str,
        at: Span,
        answer: Result<T, Fault>,
    ) -> Result<Option<T>, Lost> {
        match answer {
            Ok(value) => {
                self.read.insert(field);
                return Ok(Some(value));
            }
            Err(Fault::Nvml(error)) if is_lost(&error) => return Err(Lost(words(&error))),
            Err(Fault::Nvml(error)) if is_for_good(&error) && !self.read.contains(field) => {
                self.miss(field, words(&error));
            }
            Err(Fault::Nvml(error)) => self.count(field, at, words(&error)),
            Err(Fault::Garbage(what)) => self.count(field, at, what),
        }
        Ok(None)
    }

    fn count(&mut self, field: &str, at: Span, what: String) {
        let entry = self.errors.entry(field.to_owned());
        entry.or_insert(FieldErrors { count: 0, first_at: at, first: what }).count += 1;
    }
}

/// Whether no reading will succeed any more.
fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::Uninitialized)
}

/// Whether asking again is of no use. The numbers are errors that the wrapper has no name for:
/// another version of the argument, a function that is no longer offered.
fn is_for_good(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::InvalidArg
            | NvmlError::UnexpectedVariant(25 | 26)
    )
}

/// What went wrong, in one line.
pub(super) fn words(error: &NvmlError) -> String {
    match error {
        NvmlError::NotSupported => "the device does not support it".to_owned(),
        NvmlError::NoPermission => "the user is not permitted to read it".to_owned(),
        NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_) => {
            "this version of NVML does not have it".to_owned()
        }
        NvmlError::IncorrectBits(Bits::U64(bits)) => format!("unknown bits {bits:#x}"),
        NvmlError::UnexpectedVariant(code) => format!("NVML error {code}"),
        other => one_line(&other.to_string()),
    }
}

/// Text from outside without line breaks and other control characters.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nvml<T>(error: NvmlError) -> Result<T, Fault> {
        Err(Fault::Nvml(error))
    }

    #[test]
    fn a_quantity_is_missing_only_if_it_was_never_there() {
        let mut faults = Faults::default();
        let at = Span::from_secs(1);
        assert_eq!(faults.judge::<u8>("a", at, nvml(NvmlError::NotSupported)), Ok(None));
        assert!(faults.is_missing("a"));
        assert_eq!(faults.judge("b", at, Ok(7)), Ok(Some(7)));
        assert_eq!(faults.judge::<u8>("b", at, nvml(NvmlError::NotSupported)), Ok(None));
        assert!(!faults.is_missing("b"));
        assert_eq!(faults.errors["b"].count, 1);
    }

    #[test]
    fn the_first_error_is_kept_and_all_are_counted() {
        let mut faults = Faults::default();
        for (second, error) in [(1, NvmlError::Timeout), (2, NvmlError::Unknown)] {
            assert_eq!(faults.judge::<u8>("a", Span::from_secs(second), nvml(error)), Ok(None));
        }
        let errors = &faults.errors["a"];
        assert_eq!((errors.count, errors.first_at), (2, Span::from_secs(1)));
        assert!(errors.first.contains("timeout"), "{}", errors.first);
    }

    #[test]
    fn a_lost_gpu_ends_everything() {
        for error in [NvmlError::GpuLost, NvmlError::ResetRequired] {
            assert!(Faults::default().judge::<u8>("a", Span::ZERO, nvml(error)).is_err());
        }
    }
}
