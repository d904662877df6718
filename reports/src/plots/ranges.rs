//! Numbers with their intervals, one below the other on one axis.

use super::scale::Scale;
use super::sheet::{self, Area, Room, Stand, write};
use super::{DrawError, Drawn, GRID, INK, LEADING, SERIES, SMALL, SOFT, TARGET, face};
use crate::contrast::signed;
use crate::format::{number, plain};
use crate::picture::{Measure, Picture, Range, Ranges};
use plotters::prelude::{Circle, PathElement};
use plotters::style::Color;

/// From one range to the next.
const ROW: i32 = 54;
/// Names and numbers get at most so much.
const NAMES: i32 = 520;
/// Room between columns.
const APART: i32 = 30;

/// The number, its interval, and how it fared.
fn found(range: &Range, measure: Measure) -> String {
    let shown = |value: f64| match range.limit {
        Some(_) => signed(value, measure.unit()),
        None => number(value, measure.unit()),
    };
    let ends =
        format!("{} ({} to {})", shown(range.value), shown(range.ends.0), shown(range.ends.1));
    if range.verdict.is_empty() { ends } else { format!("{ends}, {}", plain(&range.verdict)) }
}

/// The picture.
pub(super) fn svg(picture: &Picture, ranges: &Ranges) -> Result<String, DrawError> {
    let rows = ranges.rows.len() as i32;
    let height = LEADING + rows * ROW + 2 * LEADING;
    sheet::svg(picture, height, |area, room| draw(area, room, ranges))
}

fn draw(area: &Area<'_>, room: Room, ranges: &Ranges) -> Drawn {
    let measure = ranges.axis.measure;
    let names: Vec<String> =
        ranges.rows.iter().map(|row| face::shortened(&plain(&row.name), SMALL, NAMES)).collect();
    let texts: Vec<String> = ranges.rows.iter().map(|row| found(row, measure)).collect();
    let widest =
        |all: &[String]| all.iter().map(|text| face::width(text, SMALL)).max().unwrap_or(0);
    let track = (room.left + widest(&names) + APART, room.right - widest(&texts) - APART);
    let numbers = ranges.rows.iter().flat_map(|row| {
        [Some(row.ends.0), Some(row.ends.1), Some(row.value), row.limit].into_iter().flatten()
    });
    let scale = Scale::around_zero(numbers, &ranges.axis);
    let bottom = room.top + LEADING + ranges.rows.len() as i32 * ROW;
    draw_axis(area, (&scale, track), (room.top + LEADING, bottom))?;
    let label = face::shortened(&plain(&ranges.axis.label), SMALL, Room::WIDTH);
    write(area, &label, (room.left, room.top + LEADING / 2), (SMALL, SOFT, Stand::From))?;
    for ((at, row), (name, text)) in (0..).zip(&ranges.rows).zip(names.iter().zip(&texts)) {
        let y = room.top + LEADING + at * ROW + ROW / 2;
        write(area, name, (room.left, y), (SMALL, INK, Stand::From))?;
        write(area, text, (room.right, y), (SMALL, INK, Stand::To))?;
        let place = |value: f64| scale.place(value, track).clamp(track.0, track.1);
        let reach = vec![(place(row.ends.0), y), (place(row.ends.1), y)];
        area.draw(&PathElement::new(reach, SERIES[0].stroke_width(5)))?;
        area.draw(&Circle::new((place(row.value), y), 9, SERIES[0].filled()))?;
        if let Some(limit) = row.limit {
            let x = place(limit);
            area.draw(&PathElement::new(vec![(x, y - 18), (x, y + 18)], TARGET.stroke_width(4)))?;
        }
    }
    Ok(())
}

/// Lines and numbers of the axis, as many as there is room for.
fn draw_axis(
    area: &Area<'_>,
    (scale, track): (&Scale, (i32, i32)),
    (top, bottom): (i32, i32),
) -> Drawn {
    let about = usize::try_from((track.1 - track.0) / 160).unwrap_or_default();
    let mut free = i32::MIN;
    for tick in scale.ticks(about.clamp(2, 8)) {
        let x = scale.place(tick, track);
        let color = if tick.abs() < 1e-12 { SOFT } else { GRID };
        area.draw(&PathElement::new(vec![(x, top), (x, bottom)], color.stroke_width(2)))?;
        let text = scale.text(tick);
        let half = face::width(&text, SMALL) / 2;
        if x - half > free {
            write(area, &text, (x, bottom + LEADING / 2 + 4), (SMALL, SOFT, Stand::Around))?;
            free = x + half + 12;
        }
    }
    Ok(())
}
