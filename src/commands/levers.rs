//! What a search or a sweep may change: as the command line says, or else the scenario.
//!
//! Invariants: `--vary` takes the place of all `[levers]` of the scenario, so that what is asked for is
//! what is varied; no key is varied twice.
//!
//! Deliberately absent: what happens without any, which differs from command to command.

use crate::error::Error;
use experiments::repair;
use scenarios::parse_lever;
use scenarios::resolved::Lever;

/// The levers of `--vary`, or where there is none, those of the scenario.
pub(super) fn declared(vary: &[String], of_file: &[Lever]) -> Result<Vec<Lever>, Error> {
    if vary.is_empty() {
        return Ok(of_file.to_vec());
    }
    let declared = vary.iter().map(|text| parse_lever(text));
    let declared: Vec<Lever> =
        declared.collect::<Result<_, _>>().map_err(|one| Error::Input(one.into()))?;
    for (at, lever) in declared.iter().enumerate() {
        if declared[..at].iter().any(|before| before.key == lever.key) {
            return Err(Error::Usage(format!(
                "{} is varied twice: name all its values at once, separated by commas",
                lever.key
            )));
        }
    }
    Ok(declared)
}

/// The same for a search: one override for each value.
pub(super) fn for_search(mut declared: Vec<Lever>) -> Vec<repair::Lever> {
    // A whole table is written before the keys in it, which it would otherwise replace.
    declared.sort_by_key(|lever| lever.key.matches('.').count());
    let lever = |Lever { key, values, .. }: Lever| repair::Lever {
        changes: values.iter().map(|value| vec![format!("{key}={value}")]).collect(),
        key,
    };
    declared.into_iter().map(lever).collect()
}
