//! One page with everything in it: for a browser, without a network.
//!
//! The page shows the [`Sections`] that text and Markdown show, and pictures of the same numbers. What
//! it draws with (uPlot) and how it looks is part of the file.
//!
//! Invariants: nothing in the page asks for anything outside of it, and its own policy forbids it to;
//! names from files cannot become markup or script; the bytes are a function of the report.
//!
//! Deliberately absent: numbers that no other document shows, but for the points of the lines.

mod drawn;
mod sheet;
mod words;

use crate::picture::{Arm, Topic, of_arms};
use crate::report::{ProvenanceRow, Report};
use crate::sections::{Sections, few_headlines};
use askama::Template;
use drawn::Figure;
use experiments::ObjectiveResult;
use words::labelled;

/// The library that draws lines: uPlot 1.6.32, MIT (`assets/uplot/LICENSE`).
const UPLOT_SCRIPT: &str = include_str!("../assets/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../assets/uplot/uPlot.min.css");
const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");

/// How an answer is coloured; the words say it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All is as it has to be.
    Met,
    /// Something is not.
    Missed,
    /// Of something it is not known.
    Open,
    /// Nothing is judged.
    Unjudged,
}

impl Standing {
    /// That of objectives.
    pub(crate) fn of(objectives: &[ObjectiveResult]) -> Standing {
        let has = |met| objectives.iter().any(|judged| judged.met == met);
        match (has(Some(false)), has(None), has(Some(true))) {
            (true, ..) => Standing::Missed,
            (_, true, _) => Standing::Open,
            (.., true) => Standing::Met,
            _ => Standing::Unjudged,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Standing::Met => "met",
            Standing::Missed => "missed",
            Standing::Open => "open",
            Standing::Unjudged => "",
        }
    }
}

/// What stands on a page.
pub(crate) struct Page<'a> {
    pub(crate) standing: Standing,
    pub(crate) sections: &'a Sections,
    pub(crate) topics: &'a [Topic],
    pub(crate) inputs: &'a [ProvenanceRow],
}

#[derive(Template)]
#[template(path = "page.html", escape = "html")]
struct Layout<'a> {
    sections: &'a Sections,
    /// A class of the style.
    verdict: &'static str,
    topics: Vec<(&'static str, Vec<Figure<'a>>)>,
    inputs: &'a [ProvenanceRow],
    confidence: f64,
    uplot_script: &'static str,
    uplot_style: &'static str,
    style: &'static str,
    script: &'static str,
}

/// The page.
pub(crate) fn page(page: &Page<'_>) -> String {
    let mut number = 0;
    let mut figure = |picture| {
        number += 1;
        Figure::new(number, picture)
    };
    let topics = page.topics.iter().map(|topic| {
        let figures: Vec<Figure<'_>> = topic.pictures.iter().map(&mut figure).collect();
        (topic.title, figures)
    });
    let layout = Layout {
        sections: page.sections,
        verdict: page.standing.class(),
        topics: topics.collect(),
        inputs: page.inputs,
        confidence: experiments::CONFIDENCE * 100.0,
        uplot_script: UPLOT_SCRIPT,
        uplot_style: UPLOT_STYLE,
        style: STYLE,
        script: SCRIPT,
    };
    // A template that writes into memory fails on nothing but its own text.
    layout.render().unwrap_or_default()
}

/// Filters of the template.
#[expect(unreachable_pub, reason = "the macro makes a public type of a filter")]
mod filters {
    /// Text of a file, which may hold what steers a page.
    #[askama::filter_fn]
    pub(super) fn plain<T: AsRef<str>>(text: T, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(crate::format::plain(text.as_ref()))
    }

    /// The same of names, which may be broken where their parts meet.
    #[askama::filter_fn]
    pub(super) fn named<T: AsRef<str>>(
        text: T,
        _: &dyn askama::Values,
    ) -> askama::Result<askama::filters::Safe<String>> {
        Ok(askama::filters::Safe(super::words::breakable(text.as_ref())))
    }
}

/// Identifier of a topic's heading.
fn slug(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

/// What a run found, with its pictures. `command` repeats it.
#[must_use]
pub fn render(report: &Report<'_>, command: &str) -> String {
    let sections = Sections {
        commands: vec![("To repeat it".to_owned(), command.to_owned())],
        headlines: few_headlines(report.result),
        ..Sections::of(report)
    };
    page(&Page {
        standing: Standing::of(&report.result.objectives),
        sections: &sections,
        topics: &topics(report),
        inputs: &report.provenance,
    })
}

/// The pictures of what a run found.
#[must_use]
pub fn topics(report: &Report<'_>) -> Vec<Topic> {
    of_arms(&[Arm { name: "", result: report.result }])
}
