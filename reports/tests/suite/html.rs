//! Pages: complete, harmless, and drawn from numbers that are there.

use crate::{fixture, simulated};
use quick_xml::events::Event;
use reports::html::render;
use serde_json::Value;

/// What stands between two texts, each time.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let rests = text.split(from).skip(1);
    rests.filter_map(|rest| rest.split_once(to).map(|(inside, _)| inside)).collect()
}

/// The data of all lines of a page.
pub(crate) fn data(page: &str) -> Vec<Value> {
    let all = between(page, "<script type=\"application/json\">", "</script>");
    all.into_iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

/// The page without its scripts and styles.
fn markup(page: &str) -> String {
    let mut text = page.to_owned();
    for (from, to) in [("<script", "</script>"), ("<style", "</style>")] {
        while let Some(at) = text.find(from) {
            let end = at + text[at..].find(to).expect("it ends") + to.len();
            text.replace_range(at..end, "");
        }
    }
    text
}

#[test]
fn nothing_is_loaded_and_nothing_may_be() {
    for (name, result) in fixture::all() {
        let page = render(&fixture::report(&result), "surgeline run x");
        let markup = markup(&page);
        assert!(page.contains("default-src 'none'"), "{name}");
        for asks in ["http:", "https:", "url(", "<link", "<img", "<iframe", "src=", "@import"] {
            assert!(!markup.contains(asks), "{name}: {asks}");
        }
        assert!(page.len() < 2_000_000, "{name}: {} bytes", page.len());
        assert_eq!(page, render(&fixture::report(&result), "surgeline run x"), "{name}");
    }
}

#[test]
fn elements_are_closed_and_identifiers_are_unique() {
    for (name, result) in fixture::all() {
        let markup = markup(&render(&fixture::report(&result), "surgeline run x"));
        // What HTML leaves open is closed here, so that a reader of XML can follow.
        let closed = ["<meta ", "<!DOCTYPE"].iter().fold(markup.clone(), |text, void| {
            let lines = text.lines().filter(|line| !line.starts_with(void));
            lines.collect::<Vec<_>>().join("\n")
        });
        let closed = closed.replace("<wbr>", "");
        let mut reader = quick_xml::Reader::from_str(&closed);
        let mut open = 0;
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{name}: {error}")) {
                Event::Start(_) => open += 1,
                Event::End(_) => open -= 1,
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open, 0, "{name}");
        let mut ids = between(&markup, " id=\"", "\"");
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "{name}");
        for target in between(&markup, "href=\"#", "\"") {
            assert!(ids.contains(&target), "{name}: #{target} leads nowhere");
        }
    }
}

/// A line has a value for each place, places rise, and no picture is empty.
#[test]
fn lines_are_drawn_from_numbers() {
    let result = simulated::light();
    let page = render(&fixture::report(&result), "surgeline run x");
    let all = data(&page);
    assert!(all.len() >= 6, "{} pictures", all.len());
    for drawn in &all {
        let title = drawn["title"].as_str().expect("a title");
        let at = drawn["at"].as_array().expect("places");
        let at: Vec<f64> = at.iter().map(|at| at.as_f64().expect("a number")).collect();
        assert!(at.is_sorted_by(|a, b| a < b), "{title}: {at:?}");
        assert!(at.len() <= 240, "{title}: {} places", at.len());
        let lines = drawn["lines"].as_array().expect("lines");
        assert!(!lines.is_empty(), "{title}");
        for line in lines {
            let values = line["values"].as_array().expect("values");
            assert_eq!(values.len(), at.len(), "{title}");
            assert!(values.iter().any(|value| !value.is_null()), "{title}: {}", line["name"]);
        }
    }
    assert_eq!(page.matches("<figcaption>").count(), page.matches("<figure ").count());
}

/// The last value of what adds up is the spend of the run.
#[test]
fn what_adds_up_ends_at_the_spend() {
    let result = simulated::light();
    let all = data(&render(&fixture::report(&result), "surgeline run x"));
    let sum = all.iter().find(|drawn| drawn["title"] == "How spend adds up").expect("it is drawn");
    let values = sum["lines"][0]["values"].as_array().expect("values");
    let last = values.last().and_then(Value::as_f64).expect("a number");
    let spend = result.spend.total.0 as f64 / 1e12;
    assert!(spend > 0.0 && (last / spend - 1.0).abs() < 1e-4, "{last} beside {spend}");
}

#[test]
fn names_are_text_and_nothing_else() {
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}'\"&";
    let mut result = simulated::light();
    result.tasks[0].name = hostile.to_owned();
    result.pools[0].name = hostile.to_owned();
    let mut report = fixture::report(&result);
    report.scenario.name = hostile.to_owned();
    report.notes.push(hostile.to_owned());
    let clean = render(&fixture::report(&simulated::light()), "surgeline run x");
    let page = render(&report, hostile);
    assert_eq!(page.matches("<script").count(), clean.matches("<script").count());
    assert_eq!(page.matches("<img").count(), 0);
    assert!(!page.contains('\u{202e}'), "the direction of writing is kept");
    let named = data(&page).into_iter().flat_map(|drawn| {
        let lines = drawn["lines"].as_array().expect("lines").clone();
        lines.into_iter().map(|line| line["name"].as_str().expect("a name").to_owned())
    });
    assert!(named.into_iter().any(|name| name.contains("alert(1)")), "the name is kept as text");
}
