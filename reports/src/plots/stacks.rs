//! Wholes as bars, each cut into its parts.

use super::sheet::{self, Area, Room, Stand, write};
use super::{DrawError, Drawn, INK, LEADING, SERIES, SMALL, SOFT, face};
use crate::format::{number, plain};
use crate::picture::{Picture, Stacks};
use plotters::prelude::Rectangle;
use plotters::style::{Color, RGBColor, WHITE};

/// A bar, and the name above it.
const BAR: i32 = 56;
const NAME: i32 = 38;
const BELOW: i32 = 22;
/// Side of a square in the legend, and the room between its entries.
const KEY: i32 = 20;
const APART: i32 = 44;

/// Places of the legend's entries: line and left end.
fn legend(stacks: &Stacks) -> (Vec<(i32, i32, String)>, i32) {
    let (mut line, mut left) = (0, 0);
    let mut all = Vec::new();
    for (at, part) in stacks.parts.iter().enumerate() {
        // Of one whole, its parts in numbers; of several they stand in the bars.
        let size = match stacks.rows.as_slice() {
            [(_, sizes)] => sizes.get(at).map(|&size| number(size, stacks.measure.unit())),
            _ => None,
        };
        let text = [Some(plain(part)), size].into_iter().flatten().collect::<Vec<_>>().join("  ");
        let text = face::shortened(&text, SMALL, Room::WIDTH - 2 * KEY);
        let wide = KEY + 10 + face::width(&text, SMALL) + APART;
        if left > 0 && left + wide - APART > Room::WIDTH {
            (line, left) = (line + 1, 0);
        }
        all.push((line, left, text));
        left += wide;
    }
    (all, line + 1)
}

/// The picture.
pub(super) fn svg(picture: &Picture, stacks: &Stacks) -> Result<String, DrawError> {
    let (entries, lines) = legend(stacks);
    let bars = stacks.rows.len() as i32 * (NAME + BAR + BELOW);
    sheet::svg(picture, bars + lines * (LEADING + 6), |area, room| {
        draw_bars(area, room, stacks)?;
        for (at, (line, left, text)) in entries.iter().enumerate() {
            let (x, y) = (room.left + left, room.top + bars + line * (LEADING + 6) + LEADING / 2);
            let square = [(x, y - KEY / 2), (x + KEY, y + KEY / 2)];
            area.draw(&Rectangle::new(square, color(at).filled()))?;
            write(area, text, (x + KEY + 10, y), (SMALL, INK, Stand::From))?;
        }
        Ok(())
    })
}

fn color(part: usize) -> RGBColor {
    SERIES[part % SERIES.len()]
}

fn draw_bars(area: &Area<'_>, room: Room, stacks: &Stacks) -> Drawn {
    let unit = stacks.measure.unit();
    let totals: Vec<f64> = stacks.rows.iter().map(|row| row.1.iter().sum()).collect();
    let longest = totals.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    for ((at, (name, sizes)), total) in (0..).zip(&stacks.rows).zip(totals) {
        let top = room.top + at * (NAME + BAR + BELOW);
        let sum = number(total, unit);
        let space = Room::WIDTH - face::width(&sum, SMALL) - 20;
        let name = face::shortened(&plain(name), SMALL, space);
        write(area, &name, (room.left, top + NAME / 2), (SMALL, SOFT, Stand::From))?;
        write(
            area,
            &sum,
            (room.left + face::width(&name, SMALL) + 12, top + NAME / 2),
            (SMALL, INK, Stand::From),
        )?;
        let place =
            |size: f64| room.left + (size / longest * f64::from(Room::WIDTH)).round() as i32;
        let mut before = 0.0;
        for (part, &size) in sizes.iter().enumerate() {
            let (from, to) = (place(before), place(before + size));
            before += size;
            if to <= from {
                continue;
            }
            let bar = [(from, top + NAME), (to, top + NAME + BAR)];
            area.draw(&Rectangle::new(bar, color(part).filled()))?;
            // A white edge between parts, so that two of them are two without their colours.
            area.draw(&Rectangle::new(
                [(to - 2, top + NAME), (to, top + NAME + BAR)],
                WHITE.filled(),
            ))?;
            let text = number(size, unit);
            if stacks.rows.len() > 1 && face::width(&text, SMALL) + 16 < to - from {
                let middle = ((from + to) / 2, top + NAME + BAR / 2);
                write(area, &text, middle, (SMALL, on(color(part)), Stand::Around))?;
            }
        }
    }
    Ok(())
}

/// The color of letters that can be read on another.
pub(super) fn on(RGBColor(r, g, b): RGBColor) -> RGBColor {
    // Relative luminance (WCAG 2.2), with a square for the curve; dark letters win from 0.18 on.
    let part = |value: u8| f64::from(value) * f64::from(value) / 65_025.0;
    if 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) > 0.2 { INK } else { WHITE }
}
