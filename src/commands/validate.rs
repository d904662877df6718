//! `surgeline validate`: is the file right, and what does it come to?

use super::{blueprint, levers};
use crate::args::Validate;
use crate::error::Error;
use crate::output;

pub(super) fn validate(args: &Validate) -> Result<u8, Error> {
    let blueprint = blueprint(&args.source)?;
    let resolved = blueprint.resolve(&args.source.set)?;
    levers::declared(&[], &resolved.levers)?;
    for refused in levers::usable(&resolved.levers, &blueprint, &args.source.set)? {
        crate::output::tell!("warning: {refused}");
    }
    for warning in &resolved.warnings {
        crate::output::tell!("warning: {}: {}", warning.site.place, warning.message);
    }
    if !args.resolved {
        let counts = format!(
            "{}: {} task(s), {} source(s), {} pool(s): fine\n",
            resolved.name,
            resolved.scenario.tasks.len(),
            resolved.scenario.sources.len(),
            resolved.scenario.pools.len()
        );
        output::print(&counts)?;
        return Ok(0);
    }
    let width = resolved.provenance.iter().map(|row| row.key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &resolved.provenance {
        text += &format!("{:width$}  {}  # {}\n", row.key, row.value, row.origin);
    }
    output::print(&text)?;
    Ok(0)
}
