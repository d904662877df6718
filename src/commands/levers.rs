//! What a search or a sweep may change: as the command line says, or else the scenario.
//!
//! Invariants: `--vary` takes the place of all `[levers]` of the scenario, so that what is asked for is
//! what is varied; no key is varied twice, and none that all arms have in common.
//!
//! Deliberately absent: what happens without any, which differs from command to command.

use crate::error::Error;
use experiments::repair;
use experiments::sweep::common_to_all;
use scenarios::resolved::Lever;
use scenarios::{Blueprint, parse_lever};

/// Values of a lever that are tried by themselves.
const TRIED: usize = 64;

/// The levers of `--vary`, or where there is none, those of the scenario.
pub(super) fn declared(vary: &[String], of_file: &[Lever]) -> Result<Vec<Lever>, Error> {
    let declared = match vary {
        [] => Ok(of_file.to_vec()),
        _ => vary.iter().map(|text| parse_lever(text)).collect(),
    };
    let declared: Vec<Lever> = declared.map_err(|one| Error::Input(one.into()))?;
    for lever in &declared {
        if let Some(why) = common_to_all(&lever.key) {
            let place = &lever.site.place;
            return Err(Error::Usage(format!("{place}: {} is no lever: {why}", lever.key)));
        }
    }
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

/// Refuses levers none of whose values the scenario takes by themselves, and says of the others which
/// values it does not take.
pub(super) fn usable(
    declared: &[Lever],
    blueprint: &Blueprint,
    base: &[String],
) -> Result<Vec<String>, Error> {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for lever in declared {
        let place = &lever.site.place;
        // Spread evenly over all values, the first one among them.
        let tried = lever.values.len().min(TRIED);
        let values = (0..tried).map(|at| &lever.values[at * lever.values.len() / tried]);
        let against = |value: &String| {
            let change = format!("{}={value}", lever.key);
            let all = [base, std::slice::from_ref(&change)].concat();
            let why = blueprint.resolve(&all).err()?.to_string();
            // The file or the command line named values, and no --set.
            Some(why.replace(&format!("--set {change}"), &change))
        };
        let refused: Vec<String> = values.filter_map(against).collect();
        match (refused.first(), refused.len()) {
            (None, _) => {}
            (Some(first), n) if n == tried => problems.push(format!(
                "{place}: the scenario takes no value of the lever {}; the first: {first}",
                lever.key
            )),
            (Some(first), n) => notes.push(format!(
                "{place}: of {tried} values of the lever {} the scenario refuses {n}; the first: \
                 {first}",
                lever.key
            )),
        }
    }
    if problems.is_empty() { Ok(notes) } else { Err(Error::Usage(problems.join("\n"))) }
}

/// The first lever that says what is asked and not what may be done about it.
pub(super) fn asked(declared: &[Lever]) -> Option<&Lever> {
    declared.iter().find(|lever| is_asked(lever))
}

/// Whether it says what is asked, which is the same whatever is done.
pub(super) fn is_asked(lever: &Lever) -> bool {
    let is_in = |table: &&str| -> bool {
        let rest = lever.key.strip_prefix(*table);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    ["scenario", "traffic"].iter().any(is_in)
}

/// Refuses an override that would make an arm see other customers than the other one.
pub(super) fn common(set: &[String]) -> Result<(), Error> {
    for change in set {
        let key = change.split('=').next().unwrap_or_default().trim();
        if let Some(why) = common_to_all(key) {
            return Err(Error::Usage(format!("--set {change}: {why}")));
        }
    }
    Ok(())
}
