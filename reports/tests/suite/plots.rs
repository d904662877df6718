//! Pictures as files: no text over another or over the edge, and something to see in each.

use crate::{fixture, simulated};
use plotters::style::{RGBColor, WHITE};
use reports::picture::{
    Axis, Drawing, Heat, Line, Lines, Mark, Measure, Picture, Range, Ranges, Stacks, Topic,
};
use reports::plots::{Plot, plots};
use resvg::tiny_skia::{Pixmap, Rect};
use resvg::usvg::{Group, Node, Options, Tree};

const FONT: &[u8] = include_bytes!("../../assets/roboto/Roboto-Regular.ttf");
/// Pixels that letters may come near each other: the box of a text is a hair larger than it.
const TOUCH: f32 = 1.0;

/// An SVG as another program lays it out.
fn laid_out(svg: &str) -> Tree {
    let mut options = Options { font_family: "Roboto".to_owned(), ..Options::default() };
    options.fontdb_mut().load_font_data(FONT.to_vec());
    Tree::from_str(svg, &options).expect("an SVG")
}

/// Boxes of all texts.
fn texts(group: &Group) -> Vec<(String, Rect)> {
    let mut all = Vec::new();
    for node in group.children() {
        match node {
            Node::Group(group) => all.extend(texts(group)),
            Node::Text(text) => {
                let words = text.chunks().iter().map(|chunk| chunk.text()).collect();
                all.push((words, text.abs_bounding_box()));
            }
            _ => {}
        }
    }
    all
}

fn assert_readable(plot: &Plot) {
    let tree = laid_out(&plot.svg);
    let (width, height) = (tree.size().width(), tree.size().height());
    let all = texts(tree.root());
    assert!(all.len() > 2, "{}: {all:?}", plot.name);
    for (at, (words, here)) in all.iter().enumerate() {
        let inside = here.left() >= 0.0 && here.right() <= width && here.bottom() <= height;
        assert!(inside, "{}: {words:?} hangs over the edge: {here:?}", plot.name);
        for (other, there) in &all[at + 1..] {
            let apart = here.right() < there.left() + TOUCH
                || there.right() < here.left() + TOUCH
                || here.bottom() < there.top() + TOUCH
                || there.bottom() < here.top() + TOUCH;
            assert!(apart, "{}: {words:?} lies over {other:?}: {here:?}, {there:?}", plot.name);
        }
    }
}

/// As many pixels of the PNG as twice the size of the SVG, and how many of them have a color.
fn colored(plot: &Plot) -> usize {
    let pixels = Pixmap::decode_png(&plot.png).expect("a PNG");
    let tree = laid_out(&plot.svg);
    let size = (tree.size().width() as u32 * 2, tree.size().height() as u32 * 2);
    assert_eq!((pixels.width(), pixels.height()), size, "{}", plot.name);
    let is_colored = |pixel: &&resvg::tiny_skia::PremultipliedColorU8| {
        let RGBColor(r, g, b) = RGBColor(pixel.red(), pixel.green(), pixel.blue());
        r.abs_diff(b).max(r.abs_diff(g)) > 40
    };
    assert_eq!(pixels.pixel(0, 0).map(|p| (p.red(), p.green())), Some((WHITE.0, WHITE.1)));
    pixels.pixels().iter().filter(is_colored).count()
}

fn drawn(topics: &[Topic]) -> Vec<Plot> {
    let all = plots(topics).expect("drawn");
    for plot in &all {
        assert_readable(plot);
        assert!(colored(plot) > 200, "{} is empty", plot.name);
        assert!(plot.svg.contains("<title>") && plot.svg.contains("<desc>"), "{}", plot.name);
    }
    all
}

fn one(drawing: Drawing) -> Vec<Topic> {
    let long = "A title that goes on and on, so that it has to be broken into lines, because nobody \
                reads a picture whose title is cut off where it begins to say what it shows";
    let picture = Picture {
        name: "x".to_owned(),
        title: long.to_owned(),
        caption: [long; 3].join(" "),
        drawing,
    };
    vec![Topic { title: "x", pictures: vec![picture] }]
}

#[test]
fn every_picture_of_a_run_can_be_read() {
    let mut results = fixture::all().map(|(_, result)| result).to_vec();
    results.push(simulated::light());
    let mut all = 0;
    for result in &results {
        let topics = reports::html::topics(&fixture::report(result));
        let drawn = drawn(&topics);
        assert_eq!(drawn.len(), topics.iter().map(|topic| topic.pictures.len()).sum::<usize>());
        assert_eq!(drawn, plots(&topics).expect("drawn"), "the same twice");
        all += drawn.len();
    }
    assert!(all > 12, "{all} pictures");
}

/// Names that all want the same place, marks beside each other, targets among the names.
#[test]
fn crowded_lines_can_be_read() {
    let axis = |label: &str, measure| Axis { label: label.into(), measure, is_logarithmic: false };
    for (count, is_scattered) in [(1, false), (8, false), (24, false), (8, true)] {
        let line = |n: usize| Line {
            name: format!("p95 of a task with the long name number {n} of the candidate, tomorrow"),
            values: vec![
                Some(1.0),
                None,
                Some(3.0 + n as f64 * 0.01),
                n.is_multiple_of(3).then_some(3.0),
            ],
        };
        let mark =
            |on_x, at: f64| Mark { on_x, at, name: format!("what must hold at {at} seconds") };
        let lines = Lines {
            x: axis("simulated time", Measure::Clock),
            y: axis("latency of a succeeded task", Measure::Seconds),
            at: vec![100.0, 2_000.0, 4_000.0, 90_000.0],
            lines: (0..count).map(line).collect(),
            marks: [60_000.0, 60_001.0, 61_000.0, 90_000.0, 0.0]
                .map(|at| mark(true, at))
                .into_iter()
                .chain([2.9, 3.0, 3.1].map(|at| mark(false, at)))
                .collect(),
            is_scattered,
        };
        drawn(&one(Drawing::Lines(lines)));
    }
}

#[test]
fn other_crowds_can_be_read() {
    let parts: Vec<String> = (0..12).map(|n| format!("what is bought with part {n}")).collect();
    let sizes = |times: f64| (0..12).map(|n| times * f64::from(n)).collect();
    let rows = vec![
        (
            "the arm whose name is so long that it cannot be written beside its sum ".repeat(4),
            sizes(1.0),
        ),
        ("short".to_owned(), sizes(0.01)),
    ];
    for rows in [rows.clone(), rows[..1].to_vec()] {
        let stacks = Stacks { measure: Measure::Dollars, parts: parts.clone(), rows };
        drawn(&one(Drawing::Stacks(stacks)));
    }
    let range = |n: u32| Range {
        name: format!("task_number_{n}_with_a_long_name.success_rate_of_the_first_attempt"),
        value: f64::from(n) / 7.0,
        ends: (f64::from(n) / 9.0 - 0.2, f64::from(n) / 5.0 + 0.1),
        limit: n.is_multiple_of(2).then_some(0.05),
        verdict: "inconclusive".to_owned(),
    };
    let axis = Axis { label: "change".into(), measure: Measure::Share, is_logarithmic: false };
    drawn(&one(Drawing::Ranges(Ranges { axis, rows: (0..15).map(range).collect() })));
    let heat = Heat {
        measure: Measure::Seconds,
        columns: (
            "pools.h100.replicas".into(),
            (1..=12).map(|n| format!("{n}000 replicas")).collect(),
        ),
        rows: ("traffic.chat.scale".into(), (1..=30).map(|n| format!("{n}x of today")).collect()),
        values: (0..30)
            .map(|row| {
                (0..12)
                    .map(|n| {
                        if n * row > 300 { Err("unstable".into()) } else { Ok(f64::from(n * row)) }
                    })
                    .collect()
            })
            .collect(),
    };
    drawn(&one(Drawing::Heat(heat)));
}

#[test]
fn names_are_text_and_nothing_else() {
    let hostile = "</text><script>alert(1)</script>\u{202e}\u{1b}&'\" 漢字";
    let mut result = simulated::light();
    result.tasks[0].name = hostile.to_owned();
    result.pools[0].name = hostile.to_owned();
    let drawn = drawn(&reports::html::topics(&fixture::report(&result)));
    for plot in &drawn {
        assert!(!plot.svg.contains("<script") && !plot.svg.contains('\u{202e}'), "{}", plot.name);
    }
    assert!(drawn.iter().any(|plot| plot.svg.contains("alert(1)")), "the name is kept as text");
}
