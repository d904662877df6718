//! Lines and points over an axis, each with its name beside it.
//!
//! From top to bottom: what the y axis is, names of points (lines have theirs at their right end), names
//! of the marks on the x axis, the plot, and the x axis.

mod beside;
mod layout;

use super::scale::Scale;
use super::sheet::{self, Area, Stand, write};
use super::{DrawError, Drawn, GRID, INK, LEADING, SERIES, SMALL, SOFT, TARGET, face};
use crate::format::plain;
use crate::picture::{Lines, Picture};
use layout::Layout;
use plotters::prelude::{Circle, EmptyElement, PathElement, Polygon, Rectangle};
use plotters::style::{Color, RGBColor, WHITE};

/// Width of a line, and half the size of a point, in units.
const STROKE: u32 = 4;
const POINT: i32 = 8;
/// A dash and the gap after it.
const DASH: i32 = 10;

/// The picture.
pub(super) fn svg(picture: &Picture, lines: &Lines) -> Result<String, DrawError> {
    let layout = Layout::of(lines);
    sheet::svg(picture, layout.height(), |area, room| {
        let layout = layout.at(room);
        draw_axes(area, &layout, lines)?;
        draw_marks(area, &layout, lines)?;
        for (at, line) in lines.lines.iter().enumerate() {
            let places = lines.at.iter().zip(&line.values);
            let points: Vec<Option<(i32, i32)>> =
                places.map(|(&x, y)| y.map(|y| layout.place(x, y))).collect();
            match lines.is_scattered {
                true => {
                    points.iter().flatten().try_for_each(|&point| draw_point(area, point, at))?
                }
                false => draw_line(area, &points, at)?,
            }
        }
        draw_legend(area, &layout)?;
        beside::draw(area, &layout)
    })
}

fn color(line: usize) -> RGBColor {
    SERIES[line % SERIES.len()]
}

fn draw_axes(area: &Area<'_>, layout: &Layout, lines: &Lines) -> Drawn {
    let plot = layout.plot;
    let y_label = face::shortened(&plain(&lines.y.label), SMALL, plot.right - plot.left);
    write(
        area,
        &y_label,
        (layout.room.left, layout.room.top + LEADING / 2),
        (SMALL, SOFT, Stand::From),
    )?;
    let ticks = layout.y.ticks(6);
    for (&tick, text) in ticks.iter().zip(layout.y.texts(&ticks)) {
        let y = layout.y.place(tick, (plot.bottom, plot.top));
        area.draw(&PathElement::new(vec![(plot.left, y), (plot.right, y)], GRID.stroke_width(2)))?;
        write(area, &text, (plot.left - 12, y), (SMALL, SOFT, Stand::To))?;
    }
    let mut free = i32::MIN;
    let ticks = x_ticks(&layout.x, plot.right - plot.left);
    for (&tick, text) in ticks.iter().zip(layout.x.texts(&ticks)) {
        let x = layout.x.place(tick, (plot.left, plot.right));
        let half = face::width(&text, SMALL) / 2;
        // Nor may it hang over the end of the picture.
        if x - half <= free || x + half > layout.room.right {
            continue;
        }
        free = x + half + 20;
        area.draw(&PathElement::new(vec![(x, plot.top), (x, plot.bottom)], GRID.stroke_width(2)))?;
        write(area, &text, (x, plot.bottom + LEADING / 2 + 14), (SMALL, SOFT, Stand::Around))?;
    }
    let foot = vec![(plot.left, plot.bottom), (plot.right, plot.bottom)];
    area.draw(&PathElement::new(foot, SOFT.stroke_width(2)))?;
    let x_label = face::shortened(&plain(&lines.x.label), SMALL, plot.right - plot.left);
    let middle = ((plot.left + plot.right) / 2, plot.bottom + LEADING * 3 / 2 + 16);
    write(area, &x_label, middle, (SMALL, SOFT, Stand::Around))
}

/// As many ticks as there is room for.
fn x_ticks(scale: &Scale, room: i32) -> Vec<f64> {
    let fits = |ticks: &Vec<f64>| {
        let widest = scale.texts(ticks).iter().map(|text| face::width(text, SMALL)).max();
        ticks.len() as i32 * (widest.unwrap_or(0) + 30) <= room
    };
    let few = || scale.ticks(2);
    (2..=10).rev().map(|about| scale.ticks(about)).find(fits).unwrap_or_else(few)
}

/// Targets and limits, dashed; those over the x axis with their names on top.
fn draw_marks(area: &Area<'_>, layout: &Layout, lines: &Lines) -> Drawn {
    let plot = layout.plot;
    for mark in &lines.marks {
        let (from, to) = match mark.on_x {
            true if layout.x.holds(mark.at) => {
                let x = layout.x.place(mark.at, (plot.left, plot.right));
                ((x, plot.top), (x, plot.bottom))
            }
            false if layout.y.holds(mark.at) => {
                let y = layout.y.place(mark.at, (plot.bottom, plot.top));
                ((plot.left, y), (plot.right, y))
            }
            _ => continue,
        };
        draw_dashes(area, from, to)?;
    }
    for name in &layout.above {
        let foot = vec![(name.x, name.y + LEADING), (name.x, plot.top)];
        area.draw(&PathElement::new(foot, TARGET.stroke_width(2)))?;
    }
    // Over all that leads down from others, which no name may be struck through by.
    for name in &layout.above {
        let (y, right) = (name.y + LEADING / 2, name.left + face::width(&name.text, SMALL));
        let behind = [(name.left - 6, name.y), (right + 6, name.y + LEADING)];
        area.draw(&Rectangle::new(behind, WHITE.filled()))?;
        write(area, &name.text, (name.left, y), (SMALL, TARGET, Stand::From))?;
    }
    Ok(())
}

fn draw_dashes(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Drawn {
    let length = (to.0 - from.0).abs().max((to.1 - from.1).abs());
    let along = |way: i32| {
        let way = way.min(length);
        (
            from.0 + (to.0 - from.0) / length.max(1) * way,
            from.1 + (to.1 - from.1) / length.max(1) * way,
        )
    };
    for dash in 0..=length / (2 * DASH) {
        let path = vec![along(dash * 2 * DASH), along(dash * 2 * DASH + DASH)];
        area.draw(&PathElement::new(path, TARGET.stroke_width(3)))?;
    }
    Ok(())
}

/// A line with gaps where there is no value; a value between two gaps is a point.
fn draw_line(area: &Area<'_>, points: &[Option<(i32, i32)>], at: usize) -> Drawn {
    for piece in points.split(Option::is_none) {
        let piece: Vec<(i32, i32)> = piece.iter().flatten().copied().collect();
        match piece.as_slice() {
            [] => {}
            [point] => area.draw(&Circle::new(*point, STROKE, color(at).filled()))?,
            _ => area.draw(&PathElement::new(piece, color(at).stroke_width(STROKE)))?,
        }
    }
    Ok(())
}

/// A point whose shape says as well as its colour which series it is of.
fn draw_point(area: &Area<'_>, (x, y): (i32, i32), at: usize) -> Drawn {
    let color = color(at);
    match at % 4 {
        0 => area.draw(&Circle::new((x, y), POINT, color.filled()))?,
        1 => {
            let corners =
                [(x, y - POINT - 2), (x + POINT + 1, y + POINT), (x - POINT - 1, y + POINT)];
            area.draw(&Polygon::new(corners.to_vec(), color.filled()))?;
        }
        2 => {
            let corners = [(x - POINT, y - POINT), (x + POINT, y + POINT)];
            area.draw(&Rectangle::new(corners, color.stroke_width(3)))?;
        }
        _ => {
            let cross = EmptyElement::at((x, y))
                + PathElement::new(vec![(-POINT, -POINT), (POINT, POINT)], color.stroke_width(4))
                + PathElement::new(vec![(-POINT, POINT), (POINT, -POINT)], color.stroke_width(4));
            area.draw(&cross)?;
        }
    }
    Ok(())
}

/// Names of points, if that is what is drawn, over the plot.
fn draw_legend(area: &Area<'_>, layout: &Layout) -> Drawn {
    for (at, (x, y, text)) in layout.legend.iter().enumerate() {
        draw_point(area, (x + POINT, y + LEADING / 2), at)?;
        write(area, text, (x + 3 * POINT + 6, y + LEADING / 2), (SMALL, INK, Stand::From))?;
    }
    Ok(())
}
