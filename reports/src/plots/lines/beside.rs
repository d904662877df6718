//! Names beside the plot, at the ends of what they name.

use super::layout::{LEAD, Layout};
use super::{STROKE, color};
use crate::plots::sheet::{Area, Stand, write};
use crate::plots::spread::spread;
use crate::plots::{Drawn, INK, LEADING, SMALL, TARGET};
use plotters::prelude::PathElement;
use plotters::style::Color;

/// Room that is left on either side of what leads to a name.
const GAP: i32 = 6;

/// Draws them, spread so that none lies over another, each with what leads to it.
pub(super) fn draw(area: &Area<'_>, layout: &Layout) -> Drawn {
    let wanted: Vec<(i32, i32)> =
        layout.beside.iter().map(|name| (name.y, name.words.len() as i32 * LEADING)).collect();
    let begins = spread(&wanted, (layout.plot.top - LEADING / 2, layout.plot.bottom + LEADING / 2));
    for (name, top) in layout.beside.iter().zip(begins) {
        // Some of the colours are too light for letters.
        let (color, ink) = name.line.map_or((TARGET, TARGET), |line| (color(line), INK));
        let left = layout.plot.right + LEAD;
        let middle = top + name.words.len() as i32 * LEADING / 2;
        if layout.plot.right - name.x > LEAD {
            // A line that ended before is not led on: its name has a piece of it as a key.
            let key = vec![(left - LEAD / 2 - GAP, middle), (left - GAP, middle)];
            area.draw(&PathElement::new(key, color.stroke_width(STROKE)))?;
        } else {
            let lead = vec![(layout.plot.right + GAP, name.y), (left - GAP, middle)];
            area.draw(&PathElement::new(lead, color.stroke_width(2)))?;
        }
        for (at, words) in (0..).zip(&name.words) {
            let place = (left, top + at * LEADING + LEADING / 2);
            write(area, words, place, (SMALL, ink, Stand::From))?;
        }
    }
    Ok(())
}
