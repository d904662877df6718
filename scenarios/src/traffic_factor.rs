//! More or less traffic of every source at once.
//!
//! Deliberately absent: what a factor does to arrivals (see `sim::workload`).

use crate::file::how_name;
use crate::kinds::SCALE;
use crate::resolved::{Resolved, Traffic};
use sim::workload::ScaleHow;

/// The overrides that multiply the traffic of every source by `factor`, on top of the factor that
/// it has. Without `how` each source keeps its own way of taking a factor.
///
/// # Errors
/// In words: a source whose own factor is taken another way than `how`, or a product that no
/// source takes.
pub fn multiplied(
    resolved: &Resolved,
    factor: f64,
    how: Option<ScaleHow>,
) -> Result<Vec<String>, String> {
    let of = |source: &Traffic| overrides(source, factor, how);
    let all: Result<Vec<_>, String> = resolved.traffic.iter().map(of).collect();
    all.map(|all| all.into_iter().flatten().collect())
}

fn overrides(source: &Traffic, factor: f64, how: Option<ScaleHow>) -> Result<Vec<String>, String> {
    let Traffic { name, how: own, .. } = source;
    let asked = how.unwrap_or(*own);
    if asked != *own && source.factor != 1.0 {
        return Err(format!(
            "the traffic {name} has a factor of its own, {} {}, which does not go with {}",
            source.factor,
            how_name(*own),
            how_name(asked)
        ));
    }
    let product = source.factor * factor;
    if !(SCALE.min..=SCALE.max).contains(&product) {
        return Err(format!(
            "the traffic {name} would have the factor {product}; allowed: {} to {}",
            SCALE.min, SCALE.max
        ));
    }
    if asked == ScaleHow::Burstier && product < 1.0 {
        return Err(format!("the traffic {name} cannot be made burstier by a factor below 1"));
    }
    // The shortest text that reads back as the same number.
    let mut all = vec![format!("{}={product:?}", source.key)];
    if asked != *own {
        all.push(format!("{}={}", source.how_key, how_name(asked)));
    }
    Ok(all)
}
