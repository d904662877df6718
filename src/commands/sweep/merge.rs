//! From the cells of a folder to what is said of all of them.
//!
//! Invariant: everything is made from the files of the cells, in their order, whoever wrote them; so
//! a sweep that was stopped, or shared out, ends in the same bytes as one that was not.
//!
//! Deliberately absent: running cells, and wording (see `reports::sweep`).

use super::folder::{Folder, Found};
use crate::args::Format;
use crate::disk::Disk;
use crate::error::Error;
use crate::output;
use experiments::sweep::Sweep as Experiment;
use experiments::sweep::morris;
use reports::picture::Topic;
use reports::sweep::{
    CellDocument, Columns, DesignName, Manifest, MetricEffects, Overview, Rows, sensitivity_json,
};
use std::collections::BTreeMap;
use std::io;

/// What the cells say.
pub(super) struct Merge<'a, D: Disk> {
    folder: &'a Folder<'a, D>,
    manifest: &'a Manifest,
    overview: Overview<'a>,
    columns: Columns,
    /// Empty unless the design is Morris's and complete.
    effects: Vec<MetricEffects>,
    there: usize,
}

/// One number in all cells.
struct Series {
    path: String,
    unit: String,
    values: Vec<Option<f64>>,
}

impl<'a, D: Disk> Merge<'a, D> {
    /// Reads the cells that are there.
    pub(super) fn of(
        folder: &'a Folder<'a, D>,
        manifest: &'a Manifest,
        experiment: &Experiment,
    ) -> Result<Merge<'a, D>, Error> {
        let mut overview = Overview::of(manifest);
        let mut columns = Columns::of(manifest);
        let mut there = 0;
        let is_morris = matches!(manifest.design, DesignName::Morris { .. });
        let mut all = AllSeries::default();
        for cell in 0..manifest.cells {
            let document = match folder.read(cell)? {
                Found::Whole(document) => document,
                Found::Damaged(why) => return Err(Error::Usage(why)),
                Found::Absent => continue,
            };
            there += 1;
            overview.add(&document);
            columns.learn(&document);
            if is_morris {
                all.add(&document, manifest.cells);
            }
        }
        let effects = match there == manifest.cells {
            true => all.effects(experiment),
            false => Vec::new(),
        };
        Ok(Merge { folder, manifest, overview, columns, effects, there })
    }

    /// Cells that are there.
    pub(super) fn there(&self) -> usize {
        self.there
    }

    /// Whether there are all of them.
    pub(super) fn is_complete(&self) -> bool {
        self.there == self.manifest.cells
    }

    /// Writes the files that say something of all cells.
    pub(super) fn write(&self) -> Result<(), Error> {
        self.folder.place_merged("sweep.parquet", &mut |out| {
            let mut rows = Rows::new(&self.columns, out).map_err(io::Error::other)?;
            for cell in 0..self.manifest.cells {
                match self.folder.read(cell) {
                    Ok(Found::Whole(document)) => rows.add(*document).map_err(io::Error::other)?,
                    // They were all there a moment ago.
                    Ok(_) => return Err(io::Error::other(format!("cell {cell} is gone"))),
                    Err(error) => return Err(io::Error::other(error.to_string())),
                }
            }
            rows.finish().map_err(io::Error::other)
        })?;
        if self.effects.is_empty() {
            return Ok(());
        }
        let text = sensitivity_json(self.manifest, &self.effects);
        self.folder.place_merged("sensitivity.json", &mut |out| out.write_all(text.as_bytes()))
    }

    /// The page; `command` repeats it.
    pub(super) fn html(&self, command: &str) -> String {
        self.overview.html(&self.effects, command)
    }

    /// Its pictures.
    pub(super) fn topics(&self) -> Vec<Topic> {
        self.overview.topics(&self.effects)
    }

    /// Prints one form.
    pub(super) fn print(&self, format: Format) -> Result<(), Error> {
        match format {
            Format::Text => output::print(&self.overview.text(&self.effects)),
            Format::Md => output::print(&self.overview.markdown(&self.effects)),
            Format::Json => self.print_json(),
        }
    }

    /// The manifest, and within it all cells, one at a time: there may be many.
    fn print_json(&self) -> Result<(), Error> {
        let manifest = self.manifest.render();
        let open = manifest.trim_end().strip_suffix('}').unwrap_or_default().trim_end();
        output::print(&format!("{open},\n\"cells\": ["))?;
        let mut separator = "\n";
        for cell in 0..self.manifest.cells {
            if let Found::Whole(document) = self.folder.read(cell)? {
                output::print(&format!("{separator}{}", document.render().trim_end()))?;
                separator = ",\n";
            }
        }
        output::print("\n]")?;
        if !self.effects.is_empty() {
            let text = sensitivity_json(self.manifest, &self.effects);
            output::print(&format!(",\n\"sensitivity\": {}", text.trim_end()))?;
        }
        output::print("\n}\n")
    }
}

/// Every number in all cells, in the order in which they turn up.
#[derive(Default)]
struct AllSeries {
    series: Vec<Series>,
    places: BTreeMap<String, usize>,
}

impl AllSeries {
    fn add(&mut self, document: &CellDocument, cells: usize) {
        for (path, number) in document.numbers() {
            let at = *self.places.entry(path.to_owned()).or_insert_with(|| {
                let (path, unit) = (path.to_owned(), number.unit.clone());
                self.series.push(Series { path, unit, values: vec![None; cells] });
                self.series.len() - 1
            });
            self.series[at].values[document.cell] = number.value;
        }
    }

    fn effects(self, experiment: &Experiment) -> Vec<MetricEffects> {
        let effects = |Series { path, unit, values }| {
            let ranking = morris::ranking(experiment.cells(), &values);
            MetricEffects { path, unit, ranking }
        };
        self.series.into_iter().map(effects).collect()
    }
}
