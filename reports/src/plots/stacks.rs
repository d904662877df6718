//! Wholes as bars, each cut into its parts.

use super::sheet::{self, Area, Room, Stand, write};
use super::{DrawError, Drawn, HATCHES, INK, LEADING, SERIES, SMALL, SOFT, face};
use crate::format::plain;
use crate::picture::{Picture, Stacks};
use plotters::prelude::{PathElement, Rectangle};
use plotters::style::{Color, RGBColor, WHITE};

/// A bar, and the name above it.
const BAR: i32 = 56;
const NAME: i32 = 38;
const BELOW: i32 = 22;
/// Side of a square in the legend, and the room between its entries.
const KEY: i32 = 20;
const APART: i32 = 44;
/// From one line of a hatching to the next.
const HATCH: i32 = 12;

/// Places of the legend's entries: line and left end.
fn legend(stacks: &Stacks) -> (Vec<(i32, i32, String)>, i32) {
    let (mut line, mut left) = (0, 0);
    let mut all = Vec::new();
    for (at, part) in stacks.parts.iter().enumerate() {
        // Of one whole, its parts in numbers; of several they stand in the bars.
        let size = match stacks.rows.as_slice() {
            [(_, sizes)] => sizes.get(at).map(|&size| stacks.measure.written(size)),
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
            fill(area, square, at)?;
            write(area, text, (x + KEY + 10, y), (SMALL, INK, Stand::From))?;
        }
        Ok(())
    })
}

fn color(part: usize) -> RGBColor {
    SERIES[part % SERIES.len()]
}

fn draw_bars(area: &Area<'_>, room: Room, stacks: &Stacks) -> Drawn {
    let totals: Vec<f64> = stacks.rows.iter().map(|row| row.1.iter().sum()).collect();
    let longest = totals.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    for ((at, (name, sizes)), total) in (0..).zip(&stacks.rows).zip(totals) {
        let top = room.top + at * (NAME + BAR + BELOW);
        let sum = stacks.measure.written(total);
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
            fill(area, [(from, top + NAME), (to, top + NAME + BAR)], part)?;
            // A white edge between parts, so that two of them are two without their colours.
            area.draw(&Rectangle::new(
                [(to - 2, top + NAME), (to, top + NAME + BAR)],
                WHITE.filled(),
            ))?;
            let text = stacks.measure.written(size);
            // Letters on a hatching cannot be read.
            let is_plain = part < SERIES.len();
            if is_plain && stacks.rows.len() > 1 && face::width(&text, SMALL) + 16 < to - from {
                let middle = ((from + to) / 2, top + NAME + BAR / 2);
                write(area, &text, middle, (SMALL, on(color(part)), Stand::Around))?;
            }
        }
    }
    Ok(())
}

/// Fills a rectangle with the colour of a part, hatched from the first one on that comes twice.
fn fill(area: &Area<'_>, corners: [(i32, i32); 2], part: usize) -> Drawn {
    area.draw(&Rectangle::new(corners, color(part).filled()))?;
    let Some(way) = (part / SERIES.len()).checked_sub(1) else { return Ok(()) };
    let [(left, top), (right, bottom)] = corners;
    let (wide, high) = (right - left, bottom - top);
    for at in (HATCH / 2..wide + high).step_by(HATCH as usize) {
        // Where the sum of both ways is `at`: from the left or the far edge to the right or the near one.
        let (from, to) = (((at - high).max(0), at.min(high)), (at.min(wide), (at - wide).max(0)));
        let path = match way % HATCHES {
            0 => vec![(left + from.0, top + from.1), (left + to.0, top + to.1)],
            1 => vec![(left + from.0, bottom - from.1), (left + to.0, bottom - to.1)],
            _ if at < wide => vec![(left + at, top), (left + at, bottom)],
            _ => break,
        };
        area.draw(&PathElement::new(path, WHITE.stroke_width(3)))?;
    }
    Ok(())
}

/// The color of letters that can be read best on another: ink or white.
pub(super) fn on(color: RGBColor) -> RGBColor {
    if contrast(color, INK) >= contrast(color, WHITE) { INK } else { WHITE }
}

/// How far two colours stand out from each other, from 1 to 21 (WCAG 2.2, "contrast ratio").
fn contrast(a: RGBColor, b: RGBColor) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Relative luminance (WCAG 2.2).
fn luminance(RGBColor(r, g, b): RGBColor) -> f64 {
    let part = |value: u8| match f64::from(value) / 255.0 {
        value if value <= 0.04045 => value / 12.92,
        value => libm::pow((value + 0.055) / 1.055, 2.4),
    };
    0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On vermilion neither has the 4.5 that WCAG asks of small letters; the better one comes near.
    #[test]
    fn letters_can_be_read_on_every_color() {
        assert!((contrast(RGBColor(0, 0, 0), WHITE) - 21.0).abs() < 1e-9);
        for color in SERIES {
            assert!(contrast(color, on(color)) >= 4.3, "{color:?}");
        }
    }
}
