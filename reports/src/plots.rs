//! Pictures as files: SVG and PNG, for slides, documents and reviews.
//!
//! They show what [`mod@crate::picture`] holds, as the page does, but for what only a page can: there is
//! nothing to point at, so names stand at the lines, and the caption is part of the picture.
//!
//! Invariants: no font, library or setting of the machine matters, and the bytes are a function of the
//! picture; colours can be told apart by the colour-blind (Okabe and Ito, "Color universal design",
//! 2008); no text lies over another, nor over the edge.
//!
//! Deliberately absent: numbers. A picture shows what a table of the same report says.

mod face;
mod heat;
mod lines;
mod ranges;
mod scale;
mod sheet;
mod spread;
mod stacks;

use crate::picture::{Drawing, Topic};
use plotters::style::RGBColor;
use std::collections::BTreeSet;

/// Units of the drawing in a pixel of an SVG; plotters draws on whole units.
const DENSITY: u32 = 2;

/// Series in order, as the page has them: those of Okabe and Ito but for yellow, which is too faint on
/// white, and two darker ones.
pub(crate) const SERIES: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(91, 95, 102),
    RGBColor(181, 159, 0),
    RGBColor(138, 79, 158),
];
/// Ways to hatch a colour that comes a second time.
pub(crate) const HATCHES: usize = 3;
const INK: RGBColor = RGBColor(28, 30, 33);
const SOFT: RGBColor = RGBColor(87, 92, 99);
const GRID: RGBColor = RGBColor(228, 229, 231);
/// Targets and limits.
const TARGET: RGBColor = RGBColor(179, 38, 30);

/// Sizes of letters, in units.
const SMALL: i32 = 23;
const TITLE: i32 = 34;
/// From one line of small letters to the next.
const LEADING: i32 = 31;

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture could not be drawn: {0}")]
pub struct DrawError(String);

impl From<Box<dyn std::error::Error>> for DrawError {
    fn from(error: Box<dyn std::error::Error>) -> DrawError {
        DrawError(error.to_string())
    }
}

/// What plotters says where it could not draw.
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A picture as a file in two forms.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Name of the files, without the end; no other plot of an answer has it.
    pub name: String,
    /// As SVG.
    pub svg: String,
    /// As PNG, with two pixels for each of the SVG's.
    pub png: Vec<u8>,
}

/// Every picture of an answer.
///
/// # Errors
/// [`DrawError`] where the backends fail, which writing to memory does not.
pub fn plots(topics: &[Topic]) -> Result<Vec<Plot>, DrawError> {
    let mut taken = BTreeSet::new();
    let pictures = topics.iter().flat_map(|topic| &topic.pictures);
    let all = pictures.map(|picture| {
        let svg = match &picture.drawing {
            Drawing::Lines(drawing) => lines::svg(picture, drawing),
            Drawing::Stacks(drawing) => stacks::svg(picture, drawing),
            Drawing::Ranges(drawing) => ranges::svg(picture, drawing),
            Drawing::Heat(drawing) => heat::svg(picture, drawing),
        }?;
        let png = face::png(&svg)?;
        Ok(Plot { name: own(&picture.name, &mut taken), svg, png })
    });
    all.collect()
}

/// A name that is a file's on every system, and nobody else's here.
fn own(name: &str, taken: &mut BTreeSet<String>) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let plain: String = name.chars().map(kept).take(100).collect();
    let further = (2..).map(|n| format!("{plain}-{n}"));
    let mut names = std::iter::once(plain.clone()).chain(further);
    let own = names.find(|name| !taken.contains(name)).unwrap_or(plain);
    taken.insert(own.clone());
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files_and_differ() {
        let mut taken = BTreeSet::new();
        let names =
            ["along a/../b", "along-a-..-b", "Along a/../b"].map(|name| own(name, &mut taken));
        assert_eq!(names, ["along-a----b", "along-a----b-2", "along-a----b-3"]);
    }
}
