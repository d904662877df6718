//! Runs the same replication twice in lockstep and names the first event that differs.
//!
//! Generic over what a step yields, so that it works for event records, digests or lines of a
//! log. Nothing is stored: two simulations advance side by side, one event at a time.

use std::fmt::Debug;

/// Where two runs of the same replication part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {index} differs between two runs of the same replication: {first} and {second}")]
pub struct Divergence {
    /// Number of the event, counted from 0; all before it are equal.
    pub index: u64,
    /// The event in the first run, or that the run had ended.
    pub first: String,
    /// The event in the second run, or that the run had ended.
    pub second: String,
}

/// Starts two runs with `start` and compares them event by event. Returns how many events were
/// equal.
///
/// # Errors
/// The first event that differs, or that one run goes on after the other has ended.
pub fn check_determinism<T, I>(mut start: impl FnMut() -> I) -> Result<u64, Divergence>
where
    T: PartialEq + Debug,
    I: IntoIterator<Item = T>,
{
    let (mut first, mut second) = (start().into_iter(), start().into_iter());
    let mut index = 0;
    loop {
        match (first.next(), second.next()) {
            (None, None) => return Ok(index),
            (a, b) if a == b => index += 1,
            (a, b) => return Err(Divergence { index, first: name(a), second: name(b) }),
        }
    }
}

fn name<T: Debug>(event: Option<T>) -> String {
    event.map_or_else(|| "the run had ended".into(), |event| format!("{event:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(first: &[u32], second: &[u32]) -> Result<u64, Divergence> {
        let mut runs = [first.to_vec(), second.to_vec()].into_iter();
        check_determinism(|| runs.next().unwrap_or_default())
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(runs(&[1, 2, 3], &[1, 2, 3]), Ok(3));
        let at = |index, first: &str, second: &str| {
            Err(Divergence { index, first: first.into(), second: second.into() })
        };
        assert_eq!(runs(&[1, 2, 3], &[1, 5, 3]), at(1, "2", "5"));
        assert_eq!(runs(&[1, 2], &[1]), at(1, "2", "the run had ended"));
    }
}
