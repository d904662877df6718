//! What every picture has: a title on top, a caption at the bottom, and room between.

use super::{DENSITY, DrawError, Drawn, INK, LEADING, SMALL, SOFT, TITLE, face};
use crate::format::plain;
use crate::picture::Picture;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{RGBColor, WHITE};

/// Width of a picture.
const WIDTH: i32 = 1_680;
/// Room around it.
const MARGIN: i32 = 40;
/// From one line of the title to the next.
const TITLE_LEADING: i32 = 44;
/// Above and below what is drawn.
const GAP: i32 = 14;

/// Where it is drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A part of the picture: from the left and the top, in units of the drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Room {
    /// How wide the room of every picture is.
    pub(super) const WIDTH: i32 = WIDTH - 2 * MARGIN;
}

/// How a text stands to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It begins there.
    From,
    /// It is in the middle.
    Around,
    /// It ends there.
    To,
}

/// Draws a picture whose middle part is so high, as SVG.
pub(super) fn svg(
    picture: &Picture,
    height: i32,
    draw: impl FnOnce(&Area<'_>, Room) -> Drawn,
) -> Result<String, DrawError> {
    let title = face::wrapped(&plain(&picture.title), TITLE, Room::WIDTH);
    let caption = face::wrapped(&plain(&picture.caption), SMALL, Room::WIDTH);
    let top = MARGIN + title.len() as i32 * TITLE_LEADING + GAP;
    let bottom = top + height;
    let all = bottom + GAP + caption.len() as i32 * LEADING + MARGIN;
    // Whole pixels.
    let all = all + all % DENSITY as i32;
    let mut text = String::new();
    {
        let size = (WIDTH as u32, all as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        on(
            &area,
            (title, caption),
            Room { left: MARGIN, top, right: WIDTH - MARGIN, bottom },
            draw,
        )?;
    }
    Ok(described(&text, picture, (WIDTH, all)))
}

fn on(
    area: &Area<'_>,
    (title, caption): (Vec<String>, Vec<String>),
    room: Room,
    draw: impl FnOnce(&Area<'_>, Room) -> Drawn,
) -> Drawn {
    area.fill(&WHITE)?;
    for (at, line) in (0..).zip(title) {
        let place = (MARGIN, MARGIN + at * TITLE_LEADING + TITLE_LEADING / 2);
        write(area, &line, place, (TITLE, INK, Stand::From))?;
    }
    draw(area, room)?;
    for (at, line) in (0..).zip(caption) {
        let place = (MARGIN, room.bottom + GAP + at * LEADING + LEADING / 2);
        write(area, &line, place, (SMALL, SOFT, Stand::From))?;
    }
    area.present()?;
    Ok(())
}

/// Writes a line of text whose middle is as high as `place`.
pub(super) fn write(
    area: &Area<'_>,
    text: &str,
    (x, y): (i32, i32),
    (size, color, stand): (i32, RGBColor, Stand),
) -> Drawn {
    let h_pos = match stand {
        Stand::From => HPos::Left,
        Stand::Around => HPos::Center,
        Stand::To => HPos::Right,
    };
    // The foot of the letters, which every viewer agrees about; plotters' middle is not.
    let foot = y + size * 7 / 20;
    let style = face::style(size, color, Pos::new(h_pos, VPos::Bottom));
    area.draw_text(text, &style, (x, foot))?;
    Ok(())
}

/// In pixels instead of units, and with words for those who do not see it.
fn described(svg: &str, picture: &Picture, (width, height): (i32, i32)) -> String {
    let density = DENSITY as i32;
    let sized = svg.replacen(
        &format!("<svg width=\"{width}\" height=\"{height}\""),
        &format!("<svg width=\"{}\" height=\"{}\" role=\"img\"", width / density, height / density),
        1,
    );
    // Feet of letters are placed by `y` alone.
    let footed = sized.replace(" dy=\"-0.5ex\"", "");
    let words = format!(
        "<title>{}</title>\n<desc>{}</desc>\n",
        escaped(&plain(&picture.title)),
        escaped(&plain(&picture.caption))
    );
    match footed.split_once(">\n") {
        Some((opening, rest)) => format!("{opening}>\n{words}{rest}"),
        None => footed,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
