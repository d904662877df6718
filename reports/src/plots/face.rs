//! The font of pictures, and pictures as PNG.
//!
//! The font is part of the program: how wide a text is, and what a PNG looks like, depends on no
//! machine. An SVG names the font and common ones that are about as wide; a viewer takes what it has.
//!
//! Invariant: a wrapped text is no wider than asked for, but for single words.
//!
//! Deliberately absent: writing systems that the font lacks. They are boxes in a PNG.

use super::{DENSITY, DrawError};
use plotters::style::{
    Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font, text_anchor::Pos,
};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::sync::OnceLock;

/// Roboto 2.137 as Debian ships it (`fonts-roboto-unhinted`), Apache-2.0 (`assets/roboto/LICENSE`).
static ROBOTO: &[u8] = include_bytes!("../../assets/roboto/Roboto-Regular.ttf");
/// What an SVG asks for.
const FAMILY: &str = "Roboto, Helvetica, Arial, sans-serif";
/// plotters' size of a font over the size that it writes into an SVG.
const PLOTTERS_SIZE: f64 = 1.24;

/// Makes the font known to plotters.
fn ready() {
    static DONE: OnceLock<bool> = OnceLock::new();
    DONE.get_or_init(|| register_font(FAMILY, FontStyle::Normal, ROBOTO).is_ok());
}

/// Letters of a size, in units of the drawing, that stand to a place as `pos` says.
pub(super) fn style(size: i32, color: RGBColor, pos: Pos) -> TextStyle<'static> {
    ready();
    let font = (FAMILY, f64::from(size) * PLOTTERS_SIZE).into_font();
    TextStyle { color: color.to_backend_color(), ..TextStyle::from(font) }.pos(pos)
}

/// How wide a text is, in units of the drawing; rather too much than too little.
pub(super) fn width(text: &str, size: i32) -> i32 {
    ready();
    let font = (FAMILY, f64::from(size) * PLOTTERS_SIZE).into_font();
    // A font that is part of the program can be read; half its height is a fair guess.
    let guess = || size * text.chars().count() as i32 / 2;
    font.box_size(text).map_or_else(|_| guess(), |(wide, _)| wide as i32 + 1)
}

/// A text in lines no wider than `room`, broken at spaces.
pub(super) fn wrapped(text: &str, size: i32, room: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match longer.filter(|longer| width(longer, size) <= room) {
            Some(longer) => {
                lines.pop();
                lines.push(longer);
            }
            None => lines.push(shortened(word, size, room)),
        }
    }
    lines
}

/// As much of a text as there is room for; its middle is left out, because names differ at their ends.
pub(super) fn shortened(text: &str, size: i32, room: i32) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let all: Vec<char> = text.chars().collect();
    let elided = |kept: usize| -> String {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        all[..head].iter().chain(['…'].iter()).chain(&all[all.len() - tail..]).collect()
    };
    let fits = |kept: &usize| width(&elided(*kept), size) <= room;
    elided((1..all.len()).rev().find(fits).unwrap_or_default())
}

/// The picture as PNG, with a pixel for each unit of the drawing.
///
/// # Errors
/// [`DrawError`] where it is not an SVG.
pub(super) fn png(svg: &str) -> Result<Vec<u8>, DrawError> {
    let mut options = Options { font_family: "Roboto".to_owned(), ..Options::default() };
    options.fontdb_mut().load_font_data(ROBOTO.to_vec());
    let failed = |error: String| DrawError(error);
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(DENSITY as f32);
    let size = size.ok_or_else(|| failed("it has no size".to_owned()))?;
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| failed("it has no size".to_owned()))?;
    let scale = Transform::from_scale(DENSITY as f32, DENSITY as f32);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_there_is_room() {
        let text = "How many tasks are done after how long, and incomprehensibilities≤1";
        for room in [60, 150, 400, 5_000] {
            let lines = wrapped(text, 24, room);
            assert!(lines.iter().all(|line| width(line, 24) <= room), "{room}: {lines:?}");
        }
        assert_eq!(wrapped(text, 24, 5_000), [text]);
    }

    /// A width is that of the letters, and not a guess from their number.
    #[test]
    fn wide_letters_are_wider_than_narrow_ones() {
        assert!(width("WWWW", 24) > 2 * width("iiii", 24));
        assert!(width("", 24) <= 1);
    }
}
