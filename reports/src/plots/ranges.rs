//! Numbers with their intervals, one below the other on one axis.

use super::scale::Scale;
use super::sheet::{self, Area, Room, Stand, write};
use super::{DrawError, Drawn, GRID, INK, LEADING, SERIES, SMALL, SOFT, TARGET, face};
use crate::contrast::signed;
use crate::format::plain;
use crate::picture::{Measure, Picture, Range, Ranges};
use plotters::prelude::{Circle, PathElement, Polygon};
use plotters::style::Color;

/// From one range to the next.
const ROW: i32 = 54;
/// Names and numbers get at most so much.
const NAMES: i32 = 520;
/// Room between columns.
const APART: i32 = 30;
/// Half the height of an arrow.
const ARROW: i32 = 11;

/// The number, its interval, and how it fared.
fn found(range: &Range, measure: Measure) -> String {
    let shown = |value: f64| match range.limit {
        Some(_) => signed(value, measure.unit()),
        None => measure.written(value),
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
    let spans = ranges.spans();
    let scale =
        |(least, most): (f64, f64)| Scale::around_zero([least, most].into_iter(), &ranges.axis);
    let bottom = room.top + LEADING + ranges.rows.len() as i32 * ROW;
    // Of scales that differ zero alone is at one place.
    let is_common = spans.windows(2).all(|pair| pair[0] == pair[1]);
    let first = scale(spans.first().copied().unwrap_or_default());
    let ticks = if is_common { first.ticks(about(track)) } else { vec![0.0] };
    draw_axis(area, (&first, &ticks, track), (room.top + LEADING, bottom))?;
    let label = face::shortened(&plain(&ranges.axis.label), SMALL, Room::WIDTH);
    write(area, &label, (room.left, room.top + LEADING / 2), (SMALL, SOFT, Stand::From))?;
    for (((at, row), span), (name, text)) in
        (0..).zip(&ranges.rows).zip(spans).zip(names.iter().zip(&texts))
    {
        let y = room.top + LEADING + at * ROW + ROW / 2;
        write(area, name, (room.left, y), (SMALL, INK, Stand::From))?;
        write(area, text, (room.right, y), (SMALL, INK, Stand::To))?;
        draw_row(area, row, (&scale(span), track), y)?;
    }
    Ok(())
}

/// The interval, the number and the limit of a row; what goes on beyond the axis ends in an arrow.
fn draw_row(area: &Area<'_>, row: &Range, (scale, track): (&Scale, (i32, i32)), y: i32) -> Drawn {
    let place = |value: f64| scale.place(value, track);
    let within = |value: f64| place(value).clamp(track.0, track.1);
    let reach = vec![(within(row.ends.0), y), (within(row.ends.1), y)];
    area.draw(&PathElement::new(reach, SERIES[0].stroke_width(5)))?;
    if (track.0..=track.1).contains(&place(row.value)) {
        area.draw(&Circle::new((place(row.value), y), 9, SERIES[0].filled()))?;
    }
    let arrows = [
        (place(row.ends.0) < track.0, track.0, -ARROW),
        (place(row.ends.1) > track.1, track.1, ARROW),
    ];
    for (_, end, way) in arrows.into_iter().filter(|arrow| arrow.0) {
        let corners = vec![(end + way, y), (end - way, y - ARROW), (end - way, y + ARROW)];
        area.draw(&Polygon::new(corners, SERIES[0].filled()))?;
    }
    if let Some(limit) = row.limit {
        let x = within(limit);
        area.draw(&PathElement::new(vec![(x, y - 18), (x, y + 18)], TARGET.stroke_width(4)))?;
    }
    Ok(())
}

/// How many ticks there is room for.
fn about(track: (i32, i32)) -> usize {
    usize::try_from((track.1 - track.0) / 160).unwrap_or_default().clamp(2, 8)
}

/// Lines and numbers of the axis, as many as there is room for.
fn draw_axis(
    area: &Area<'_>,
    (scale, ticks, track): (&Scale, &[f64], (i32, i32)),
    (top, bottom): (i32, i32),
) -> Drawn {
    let mut free = i32::MIN;
    for (&tick, text) in ticks.iter().zip(scale.texts(ticks)) {
        let x = scale.place(tick, track);
        let color = if tick.abs() < 1e-12 { SOFT } else { GRID };
        area.draw(&PathElement::new(vec![(x, top), (x, bottom)], color.stroke_width(2)))?;
        let half = face::width(&text, SMALL) / 2;
        if x - half > free {
            write(area, &text, (x, bottom + LEADING / 2 + 4), (SMALL, SOFT, Stand::Around))?;
            free = x + half + 12;
        }
    }
    Ok(())
}
