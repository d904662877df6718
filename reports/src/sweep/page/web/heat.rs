//! Numbers of a sweep by two levers at once.

use super::{file_name, measure};
use crate::picture::{Drawing, Heat, Picture};
use crate::sweep::LeverValues;
use crate::sweep::page::{Overview, short_names};

/// Columns at most: more have no room for their numbers.
const MOST_COLUMNS: usize = 12;
/// Rows at most: more are no picture.
const MOST_ROWS: usize = 30;

impl Overview<'_> {
    /// Each of the numbers that everybody asks for first, where two levers and no more have several
    /// values, and every combination of them is a cell.
    pub(super) fn by_two(&self) -> Vec<Picture> {
        let levers = &self.manifest.levers;
        let several = levers.iter().enumerate().filter(|(_, lever)| lever.values.len() > 1);
        let [a, b] = several.collect::<Vec<_>>()[..] else { return Vec::new() };
        // The lever with more values goes down, where there is more room.
        let (rows, columns) = if a.1.values.len() > b.1.values.len() { (a, b) } else { (b, a) };
        let size = (rows.1.values.len(), columns.1.values.len());
        if size.0 > MOST_ROWS || size.1 > MOST_COLUMNS || size.0 * size.1 != self.manifest.cells {
            return Vec::new();
        }
        let names = short_names(self.manifest);
        let drawn = self.headlines().into_iter().filter_map(|path| {
            let heat = self.heat(&path, rows, columns);
            let title = format!("{path} by {} and {}", names[rows.0], names[columns.0]);
            let caption = "Each place is a cell of the sweep, all under the same random numbers; the \
                           darker, the more. A cell without a number says why.";
            Picture::of(file_name(&path, "heat"), title, caption, Drawing::Heat(heat))
        });
        drawn.collect()
    }

    fn heat(
        &self,
        path: &str,
        (row, rows): (usize, &LeverValues),
        (column, columns): (usize, &LeverValues),
    ) -> Heat {
        let value = |down: &String, across: &String| {
            let here = self.points.iter().find(|point| {
                point.values.get(row) == Some(down) && point.values.get(column) == Some(across)
            });
            let point = here.ok_or("not run")?;
            point.numbers.get(path).copied().ok_or(point.why_not.as_str())
        };
        let cells = |down: &String| -> Vec<Result<f64, String>> {
            columns.values.iter().map(|across| value(down, across).map_err(str::to_owned)).collect()
        };
        Heat {
            measure: measure(path),
            columns: (columns.key.clone(), columns.values.clone()),
            rows: (rows.key.clone(), rows.values.clone()),
            values: rows.values.iter().map(cells).collect(),
        }
    }
}
