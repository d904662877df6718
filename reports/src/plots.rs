//! Pictures as SVG, drawn without any font or library of the system.
//!
//! Invariants: colours can be told apart by the colour-blind (Okabe and Ito, "Color universal
//! design", 2008); axes name their units.
//!
//! Deliberately absent: numbers. A picture shows what a table of the same report says.

pub mod residuals;

use plotters::style::RGBColor;

/// Series in order, as Okabe and Ito give them; yellow is left out, too faint on white.
const SERIES: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
/// Lines that only guide the eye.
const GUIDE: RGBColor = RGBColor(190, 190, 190);

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture could not be drawn: {0}")]
pub struct DrawError(String);
