//! Numbers in a grid: the darker, the more, and each with its number.

use super::sheet::{self, Area, Room, Stand, write};
use super::stacks::on;
use super::{DrawError, Drawn, GRID, INK, LEADING, SMALL, SOFT, face};
use crate::format::plain;
use crate::picture::{Heat, Picture};
use plotters::prelude::Rectangle;
use plotters::style::{Color, RGBColor};

/// From few to many: one hue, so that the order is seen by everybody.
const STEPS: [RGBColor; Heat::STEPS] = [
    RGBColor(241, 246, 251),
    RGBColor(214, 229, 244),
    RGBColor(179, 208, 234),
    RGBColor(132, 180, 220),
    RGBColor(47, 120, 183),
    RGBColor(26, 90, 150),
    RGBColor(11, 58, 107),
];
/// Height of a cell, and how wide one is at most.
const CELL: i32 = 64;
const WIDEST: i32 = 260;
/// Names of rows get at most so much.
const NAMES: i32 = 420;

/// The picture.
pub(super) fn svg(picture: &Picture, heat: &Heat) -> Result<String, DrawError> {
    let height = 2 * LEADING + 14 + heat.rows.1.len() as i32 * CELL + 10;
    sheet::svg(picture, height, |area, room| draw(area, room, heat))
}

fn draw(area: &Area<'_>, room: Room, heat: &Heat) -> Drawn {
    let ((columns, column_names), (rows, row_names)) = (&heat.columns, &heat.rows);
    let name = |text: &String| face::shortened(&plain(text), SMALL, NAMES);
    let names: Vec<String> = row_names.iter().map(name).collect();
    let heading = name(rows);
    let widest = names.iter().chain([&heading]).map(|text| face::width(text, SMALL)).max();
    let left = room.left + widest.unwrap_or(0) + 24;
    let many = column_names.len().max(1) as i32;
    let width = ((room.right - left) / many).min(WIDEST);
    let top = room.top + 2 * LEADING + 14;
    let label = face::shortened(&plain(columns), SMALL, room.right - left);
    write(area, &label, (left, room.top + LEADING / 2), (SMALL, SOFT, Stand::From))?;
    write(area, &heading, (room.left, room.top + LEADING * 3 / 2), (SMALL, SOFT, Stand::From))?;
    for (at, column) in (0..).zip(column_names) {
        let text = face::shortened(&plain(column), SMALL, width - 8);
        let place = (left + at * width + width / 2, room.top + LEADING * 3 / 2);
        write(area, &text, place, (SMALL, INK, Stand::Around))?;
    }
    for ((at, row), name) in (0..).zip(&heat.values).zip(&names) {
        let y = top + at * CELL;
        write(area, name, (room.left, y + CELL / 2), (SMALL, INK, Stand::From))?;
        for (column, value) in (0..).zip(row) {
            let x = left + column * width;
            let corners = [(x, y), (x + width - 4, y + CELL - 4)];
            let (text, ink, fill) = match value {
                Ok(value) => {
                    let fill = STEPS[heat.step(*value)];
                    (heat.measure.written(*value), on(fill), Some(fill))
                }
                Err(why) => (plain(why), SOFT, None),
            };
            match fill {
                Some(fill) => area.draw(&Rectangle::new(corners, fill.filled()))?,
                None => area.draw(&Rectangle::new(corners, GRID.stroke_width(3)))?,
            }
            let text = face::shortened(&text, SMALL, width - 12);
            let place = (x + width / 2 - 2, y + CELL / 2 - 2);
            write(area, &text, place, (SMALL, ink, Stand::Around))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// The page has the same colours, and the same letters on them.
    #[test]
    fn the_style_of_the_page_has_these_steps() {
        let style = include_str!("../../assets/page.css");
        let hex = |RGBColor(r, g, b): RGBColor| {
            [r, g, b].iter().fold("#".to_owned(), |mut text, part| {
                let _ = write!(text, "{part:02x}");
                text
            })
        };
        for (at, step) in STEPS.into_iter().enumerate() {
            let rule =
                format!(".heat .h{at} {{ background: {}; color: {}; }}", hex(step), hex(on(step)));
            assert!(style.contains(&rule), "{rule}");
        }
    }
}
