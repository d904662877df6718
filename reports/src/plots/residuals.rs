//! Predicted over measured times of serving points, by concurrency: a panel for the time per token
//! and one for the first token.
//!
//! A point is a row. On the line at 1 a prediction is right; above it, it is too slow. Full points
//! are rows whose requests do not wait, hollow ones those that do.
//!
//! Deliberately absent: refused rows, which have no prediction.

use super::{DrawError, GUIDE, SERIES};
use calibrate::score::{Score, Scored, ScoredRow};
use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::prelude::*;
use std::collections::BTreeSet;

/// Size of the picture, pixels.
const SIZE: (u32, u32) = (960, 460);
/// Room for the legend at the bottom.
const LEGEND: i32 = 34;
/// Ratios beyond these are drawn at the edge.
const EDGE: f64 = 4.0;
/// Ratios that have a line.
const LINES: [f64; 5] = [0.5, 0.8, 1.0, 1.25, 2.0];

/// A time of a row.
type Get = fn(&ScoredRow) -> Option<&Scored>;

/// The picture, as SVG.
///
/// # Errors
/// [`DrawError`] where the backend fails, which writing to memory does not.
pub fn svg(score: &Score) -> Result<String, DrawError> {
    let mut text = String::new();
    draw(score, SVGBackend::with_string(&mut text, SIZE))
        .map_err(|error| DrawError(error.to_string()))?;
    Ok(text)
}

fn draw(score: &Score, backend: SVGBackend<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (top, bottom) = root.split_vertically(SIZE.1 as i32 - LEGEND);
    let panels = top.split_evenly((1, 2));
    let engines: BTreeSet<&str> =
        score.rows.iter().map(|row| row.configuration.backend.as_str()).collect();
    let engines: Vec<&str> = engines.into_iter().collect();
    let times: [(&str, Get); 2] = [
        ("Time per token (TPOT): predicted / measured", |row| row.tpot.as_ref()),
        ("First token (TTFT): predicted / measured", |row| Some(&row.ttft)),
    ];
    for (panel, (title, get)) in panels.iter().zip(times) {
        draw_panel(panel, score, &engines, (title, get))?;
    }
    let mut x = 70;
    for (at, engine) in engines.iter().enumerate() {
        bottom.draw(&Circle::new((x, LEGEND / 2), 4, colour(at).filled()))?;
        let style = ("sans-serif", 14).into_font().color(&BLACK);
        bottom.draw(&Text::new((*engine).to_owned(), (x + 9, LEGEND / 2 - 7), style))?;
        x += 30 + 9 * engine.len() as i32;
    }
    let style = ("sans-serif", 14).into_font().color(&BLACK);
    let words = "full: requests do not wait; hollow: they wait; at the edge: beyond it".to_owned();
    bottom.draw(&Text::new(words, (x + 10, LEGEND / 2 - 7), style))?;
    root.present()?;
    Ok(())
}

/// 1, 2, 4 and so on up to `most`.
fn doublings(most: f64) -> Vec<f64> {
    std::iter::successors(Some(1.0), |x| Some(x * 2.0)).take_while(|&x| x <= most).collect()
}

fn colour(engine: usize) -> RGBColor {
    SERIES[engine % SERIES.len()]
}

fn draw_panel(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    score: &Score,
    engines: &[&str],
    (title, get): (&str, Get),
) -> Result<(), Box<dyn std::error::Error>> {
    let most = score.rows.iter().map(|row| row.load.2).max().unwrap_or(1);
    let xs = (0.8, f64::from(most.max(2)) * 1.25);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(
            (xs.0..xs.1).log_scale().with_key_points(doublings(xs.1)),
            (1.0 / EDGE..EDGE).log_scale().with_key_points(LINES.to_vec()),
        )?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("concurrency, requests at once")
        .y_desc("predicted / measured")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y}"))
        .label_style(("sans-serif", 13))
        .draw()?;
    for at in LINES {
        let style = if at == 1.0 { BLACK.stroke_width(1) } else { GUIDE.stroke_width(1) };
        chart.draw_series([PathElement::new(vec![(xs.0, at), (xs.1, at)], style)])?;
    }
    for row in &score.rows {
        let Some(scored) = get(row) else { continue };
        let engine = engines.iter().position(|&name| name == row.configuration.backend);
        let colour = colour(engine.unwrap_or_default());
        let ratio = (scored.predicted / scored.measured).clamp(1.0 / EDGE, EDGE);
        let style = if row.saturated { colour.stroke_width(1) } else { colour.filled() };
        chart.draw_series([Circle::new((f64::from(row.load.2), ratio), 3, style)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_score_is_drawn_with_its_axes() {
        let text = svg(&Score::default()).expect("drawn");
        assert!(text.starts_with("<svg") && text.contains("TPOT") && text.contains("TTFT"));
    }
}
