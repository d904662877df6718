//! `surgeline list`: what ships with the program.

use crate::args::Listing;
use crate::error::Error;
use crate::output;

pub(super) fn list(what: Listing) -> Result<u8, Error> {
    let rows = match what {
        Listing::Scenarios => scenarios::library::all()
            .iter()
            .map(|shipped| (shipped.name.to_owned(), shipped.question().to_owned()))
            .collect(),
        Listing::Gpus => catalogue(|catalog| {
            let row = |gpu: &calibrate::Gpu| (gpu.name.clone(), gpu.product.clone());
            catalog.gpus.iter().map(row).collect()
        })?,
        Listing::Models => catalogue(|catalog| {
            let row = |model: &calibrate::Model| (model.name.clone(), model.source.clone());
            catalog.models.iter().map(row).collect()
        })?,
        Listing::Engines => catalogue(|catalog| {
            let row =
                |engine: &calibrate::EnginePreset| (engine.name.clone(), engine.source.clone());
            catalog.engines.iter().map(row).collect()
        })?,
    };
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let text: String = rows.iter().map(|row| format!("{:width$}  {}\n", row.0, row.1)).collect();
    output::print(&text)?;
    Ok(0)
}

/// Rows of the embedded catalogue.
fn catalogue(
    rows: impl Fn(&calibrate::Catalog) -> Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Error> {
    calibrate::catalog().map(rows).map_err(|error| Error::Bug(error.to_string()))
}
