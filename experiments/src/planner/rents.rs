//! What candidates cost at least: the rent of what they rent, known without a simulation.
//!
//! A pool is paid for by the hour, used or not, and so are units of provisioned capacity that never
//! sleep; what is metered comes on top and is at least nothing. Resolving a candidate is cheap, but
//! not for a million of them. So the rent of each part is looked up in a table of the levers that it
//! depends on: those at its own key or below, but for engine arguments, those of a table that it
//! stands in, and those that change it when they are moved alone.
//!
//! Invariant: a rent that could not be found out counts as nothing, so no candidate is dearer than
//! it is. The search still compares each rent with what a simulation says.
//!
//! Deliberately absent: what is metered.

use super::space::Space;
use crate::repair::Lever;
use crate::replicate::Halt;
use crate::trial::Resolve;
use sim::Scenario;
use sim::backends::RemotePrice;

/// Hours of a month of 30.4375 days.
const HOURS: f64 = 730.5;
/// Scenarios resolved for one table, and one by one where a table does not say.
const MOST_RESOLVED: usize = 20_000;
/// Values of a lever that are tried alone; one with more is taken to move every rent.
const MOST_ALONE: usize = 100;

/// Why rents are not known.
pub(crate) enum Unknown {
    /// The scenario cannot be resolved as it is, in words.
    Refused(String),
    /// Stopped from outside.
    Halted(Halt),
}

/// Rents in dollars per month, by candidate; `None` where the scenario does not take it.
pub(crate) fn rents(
    space: &Space<'_>,
    levers: &[Lever],
    base: &[String],
    resolve: &Resolve<'_>,
    halted: &dyn Fn() -> Option<Halt>,
) -> Result<Vec<Option<f64>>, Unknown> {
    let resolved = |changes: &[&[String]]| -> Result<Vec<Part>, Unknown> {
        if let Some(halt) = halted() {
            return Err(Unknown::Halted(halt));
        }
        let all: Vec<String> =
            [base].iter().chain(changes).flat_map(|some| some.to_vec()).collect();
        resolve(&all).map(|case| parts(case.scenario())).map_err(Unknown::Refused)
    };
    // `None` where the scenario does not take the changes.
    let taken = |changes: &[&[String]]| match resolved(changes) {
        Ok(parts) => Ok(Some(parts)),
        Err(Unknown::Refused(_)) => Ok(None),
        Err(halted) => Err(halted),
    };
    let movers = movers(levers, &resolved(&[])?, &taken)?;
    let mut rents = vec![Some(0.0); space.len()];
    for (part, those) in movers.iter().enumerate() {
        let sizes = those.iter().map(|&lever| levers[lever].changes.len());
        let entries = sizes.clone().try_fold(1_usize, usize::checked_mul);
        let Some(entries) = entries.filter(|&entries| entries <= MOST_RESOLVED) else { continue };
        let rent = |mut entry: usize| {
            let mut changes: Vec<&[String]> = Vec::new();
            for &lever in those {
                let values = &levers[lever].changes;
                changes.push(&values[entry % values.len()]);
                entry /= values.len();
            }
            Ok(taken(&changes)?.and_then(|parts| parts.get(part).map(|part| part.rent)))
        };
        let table: Vec<Option<f64>> = (0..entries).map(rent).collect::<Result<_, Unknown>>()?;
        for (candidate, sum) in rents.iter_mut().enumerate() {
            let places = those.iter().zip(sizes.clone()).rev();
            let entry = places
                .fold(0, |entry, (&lever, size)| entry * size + space.place(candidate, lever));
            *sum = sum.zip(table[entry]).map(|(sum, rent)| sum + rent);
        }
    }
    // What a table could not say of its own levers, the whole candidate may.
    let mut left = MOST_RESOLVED;
    for (candidate, rent) in rents.iter_mut().enumerate().filter(|(_, rent)| rent.is_none()) {
        *rent = match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                let whole = taken(&[&space.changes(candidate)])?;
                whole.map(|parts| parts.iter().map(|part| part.rent).sum())
            }
            None => Some(0.0),
        };
    }
    Ok(rents)
}

/// The parts of a scenario with these changes; `None` where it does not take them.
type Taken<'a> = dyn Fn(&[&[String]]) -> Result<Option<Vec<Part>>, Unknown> + 'a;

/// The levers that move the rent of each part.
fn movers(
    levers: &[Lever],
    present: &[Part],
    taken: &Taken<'_>,
) -> Result<Vec<Vec<usize>>, Unknown> {
    let mut movers: Vec<Vec<usize>> = vec![Vec::new(); present.len()];
    for (at, lever) in levers.iter().enumerate() {
        let is_short = lever.changes.len() <= MOST_ALONE;
        let mut alone = Vec::new();
        if is_short {
            for change in &lever.changes {
                alone.extend(taken(&[change])?);
            }
        }
        for (part, movers) in movers.iter_mut().enumerate() {
            let moves = match belongs(&lever.key, &present[part].key) {
                Some(belongs) => belongs,
                None => !is_short || alone.iter().any(|now| now.get(part) != present.get(part)),
            };
            if moves {
                movers.push(at);
            }
        }
    }
    Ok(movers)
}

/// Something that is rented.
#[derive(PartialEq)]
struct Part {
    /// Key path of its table, and that of any other name.
    key: String,
    /// Dollars per month.
    rent: f64,
}

/// Everything that can be rented, in the order of the scenario; what is not rented costs nothing.
fn parts(scenario: &Scenario) -> Vec<Part> {
    let pools = scenario.pools.iter().map(|pool| {
        let gpus = f64::from(pool.replicas) * f64::from(pool.gpus_per_replica);
        let rent = gpus * pool.price_per_gpu_hour.as_dollars_f64() * HOURS;
        Part { key: format!("pools.{}", quoted(&pool.name)), rent }
    });
    let remotes = scenario.remotes.iter().map(|remote| {
        let rent = match remote.price {
            RemotePrice::Hourly { units, per_unit_hour, asleep_free: false } => {
                f64::from(units) * per_unit_hour.as_dollars_f64() * HOURS
            }
            _ => 0.0,
        };
        Part { key: format!("provisioned.{}", quoted(&remote.name)), rent }
    });
    pools.chain(remotes).collect()
}

/// A name as key paths have it.
fn quoted(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.bytes().all(bare) { name.to_owned() } else { format!("\"{name}\"") }
}

/// Whether a lever sets something of a part that its rent may be made of, or the table that it stands
/// in; `None` where it has nothing to do with it, as far as keys tell.
fn belongs(lever: &str, part: &str) -> Option<bool> {
    if lever == part || part.strip_prefix(lever).is_some_and(|rest| rest.starts_with('.')) {
        return Some(true);
    }
    let key = lever.strip_prefix(part)?.strip_prefix('.')?;
    Some(key != "engine_args" && !key.starts_with("engine_args."))
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn a_rent_may_depend_on_all_of_its_part_but_engine_arguments() {
        for lever in ["pools", "pools.a", "pools.a.replicas", "pools.a.autoscaling.min"] {
            assert_eq!(belongs(lever, "pools.a"), Some(true), "{lever}");
        }
        assert_eq!(belongs("pools.a.engine_args.max_num_seqs", "pools.a"), Some(false));
        for lever in ["pools.ab.replicas", "models.a", "routing", "pool"] {
            assert_eq!(belongs(lever, "pools.a"), None, "{lever}");
        }
    }
}
