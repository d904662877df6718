//! `surgeline list`: what ships with the program.

use crate::args::Listing;
use crate::error::Error;
use crate::output;
use scenarios::library::{self, Shipped};

pub(super) fn list(what: Listing) -> Result<u8, Error> {
    let rows = match what {
        Listing::Scenarios => shipped(library::all()),
        Listing::Policies => shipped(library::policies()),
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
        Listing::Providers => catalogue(|catalog| catalog.hosted.iter().map(hosted).collect())?,
    };
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let text: String = rows.iter().map(|row| format!("{:width$}  {}\n", row.0, row.1)).collect();
    output::print(&text)?;
    Ok(0)
}

/// Names, and the question or the deed that each file begins with.
fn shipped(files: &[Shipped]) -> Vec<(String, String)> {
    files.iter().map(|file| (file.name.to_owned(), file.question().to_owned())).collect()
}

fn hosted(model: &calibrate::HostedModel) -> (String, String) {
    let line = format!(
        "${:.2} in, ${:.2} out per million tokens; context {}",
        model.input().as_dollars_f64(),
        model.output().as_dollars_f64(),
        model.max_context
    );
    (model.name.clone(), line)
}

/// Rows of the embedded catalogue.
fn catalogue(
    rows: impl Fn(&calibrate::Catalog) -> Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Error> {
    calibrate::catalog().map(rows).map_err(|error| Error::Bug(error.to_string()))
}
