//! Documents of a check and of a comparison: goldens, JUnit, annotations, and names that mean harm.
//!
//! The numbers are written by hand; no simulator is behind them.

use crate::fixture;
use crate::golden::compare;
use experiments::check::CheckResult;
use experiments::compare::Compared as Pair;
use experiments::contrast::{Compared, Contrast, CostShift, LatencyShift};
use experiments::examples::{Example, Fate};
use experiments::gate::{Assurance, Gate, Judged, Level, Rule, Test, Tolerance, Verdict};
use experiments::paired::Change;
use experiments::{Comparison, Estimate, Halt, Metric, Quantile, StopReason};
use quick_junit::{NonSuccessKind, TestCaseStatus};
use quick_xml::events::{BytesStart, Event};
use reports::check::{ArmInfo, CheckReport, markdown, sentence, text};
use reports::ci::{self, MOST_ANNOTATIONS, MOST_SUMMARY, annotations, junit};
use reports::compare::CompareReport;
use sim::ids::TaskId;
use sim::outcome::Ending;
use sim::tasks::Driver;
use sim::units::{Money, Span, Time};

/// Texts that would be commands, markup or the end of either.
const HOSTILE: [&str; 12] = [
    "100%0A::error::gone",
    "a\n::error title=x::y",
    "a\r\n::warning::y",
    "::stop-commands::token",
    "##[error]boo",
    "a,line=7::b:c",
    "]]></system-out><failure/>",
    "<img src=x onerror=alert(1)>&amp;",
    "a | b `c` **d** [e](f) ~~g~~",
    "x\u{202e}lmot.ycilop\u{2066}",
    "\u{1b}[2J\u{7}\0\u{85}\u{2028}end",
    "---\n# title\n```\ncode",
];

const P95: Metric = Metric::TaskLatency(TaskId(0), Quantile::P95);
const SUCCESS: Metric = Metric::SuccessRate(TaskId(0));

/// A number of both arms that ten replications agree on to about one per mille.
fn change(before: f64, after: f64) -> Change {
    let spread = |value: f64| {
        let without = (0..10).map(|at| value * (1.0 + 1e-4 * f64::from(at % 3))).collect();
        Estimate::from_replications(value, without).expect("ten replications")
    };
    Change::between(&spread(before), &spread(after))
}

fn gate(name: &str, metric: Metric, rule: Rule, level: Level) -> Gate {
    Gate { name: name.into(), text: "as written".into(), metric, rule, level }
}

/// A change judged as a part of the baseline, at most two per cent or 20 ms being tolerated.
fn changed(name: &str, (before, after): (f64, f64), verdict: Verdict) -> Judged {
    let (comparison, relative) = (Comparison::AtMost, Some(0.02));
    let rule = Rule::Change(Tolerance { comparison, relative, absolute: Some(0.02) });
    let found = after / before - 1.0;
    Judged {
        gate: gate(name, P95, rule, Level::Fail),
        change: change(before, after),
        verdict,
        reason: None,
        test: Some(Test {
            is_relative: true,
            change: found,
            low: found - 0.011,
            high: found + 0.011,
            tolerance: 0.02,
            p_value: 0.001,
            detectable: Some(0.036),
        }),
    }
}

fn limited(name: &str, metric: Metric, (before, after): (f64, f64), verdict: Verdict) -> Judged {
    let (comparison, limit) = match metric {
        SUCCESS => (Comparison::AtLeast, 0.97),
        _ => (Comparison::AtMost, 6.0),
    };
    Judged {
        gate: gate(name, metric, Rule::Limit(comparison, limit), Level::Fail),
        change: change(before, after),
        verdict,
        reason: None,
        test: None,
    }
}

/// One of each: fails, fails a limit, cannot tell, only warns, passes.
fn some_of_each() -> Vec<Judged> {
    let mut warns = changed("summary.p95_latency", (0.7, 0.9), Verdict::Fail);
    warns.gate.level = Level::Warn;
    let mut limit = limited("support_reply.p95_latency", P95, (5.6, 6.2), Verdict::Fail);
    limit.test = Some(Test {
        is_relative: false,
        change: 6.2,
        low: 6.11,
        high: 6.32,
        tolerance: 6.0,
        p_value: 0.001,
        detectable: Some(6.2),
    });
    let mut unsure = limited("support_reply.success_rate", SUCCESS, (0.972, 0.971), Verdict::Pass);
    unsure.verdict = Verdict::Inconclusive;
    unsure.reason = Some("the backlog rises, so it holds for this horizon alone".into());
    vec![
        changed("support_reply.p95_latency", (5.6, 6.2), Verdict::Fail),
        limit,
        unsure,
        warns,
        changed("summary.p50_latency", (0.3, 0.3), Verdict::Pass),
    ]
}

fn contrast(before: f64, after: f64) -> Contrast {
    let rows = [("support_reply.p95_latency", P95, before, after)];
    let cost = ("cost_per_successful_task", Metric::CostPerSuccessfulTask, 0.004, 0.003);
    let cost = if before == after { (cost.0, cost.1, 0.004, 0.004) } else { cost };
    let numbers = rows.into_iter().chain([cost]).map(|(path, metric, before, after)| Compared {
        path: path.into(),
        metric,
        change: change(before, after),
    });
    // Rows of one arm alone are part of the sum.
    let [used, lost] = if before == after { [0.0; 2] } else { [0.001, 0.000_5] };
    let shift = |key, (before, after)| CostShift { key, change: change(before, after) };
    Contrast {
        items: vec![
            shift("gpu_at_work", (0.003, 0.003 - used - lost)),
            shift("gpu_wasted", (0.0, lost)),
            shift("gpu_idle", (0.001, 0.001)),
        ],
        spend: vec![
            ("gpu", Money(80 * Money::PICO_PER_DOLLAR), Money(60 * Money::PICO_PER_DOLLAR)),
            ("tools", Money::ZERO, Money(12 * Money::PICO_PER_DOLLAR)),
        ],
        numbers: numbers.collect(),
        latency: vec![LatencyShift {
            task: "support_reply".into(),
            mean: change(before / 2.0, after / 2.0),
            p95: change(before, after),
            mean_parts: Vec::new(),
            p95_parts: vec![
                (Driver::Queueing, 1.0, 1.0 + after - before),
                (Driver::Decode, before - 1.0, before - 1.0),
            ],
        }],
        ..Contrast::default()
    }
}

fn result(gates: Vec<Judged>, contrast: Contrast) -> CheckResult {
    CheckResult {
        verdict: experiments::gate::verdict(&gates),
        gates,
        pairs: 10,
        most_pairs: 40,
        assurance: Assurance { confidence: 0.95, power: 0.9, looks: 3 },
        stopped: StopReason::Fixed,
        baseline: fixture::stable(),
        candidate: fixture::stable(),
        contrast,
        repeats: true,
    }
}

fn example(task: &str) -> Example {
    let fate = |secs, ending| Fate {
        ending,
        latency: Span::from_secs(secs),
        task: None,
        calls: Vec::new(),
    };
    Example {
        source: "tickets".into(),
        number: 32,
        task: task.into(),
        arrived: Time(Span::from_secs(21).0),
        before: fate(3, Some(Ending::Success)),
        after: fate(7, None),
    }
}

fn report<'a>(result: &'a CheckResult, examples: &'a [Example]) -> CheckReport<'a> {
    let arm = |policy: &str| ArmInfo {
        policy: policy.into(),
        file: Some(policy.into()),
        sha256: "00".repeat(32),
    };
    let of_run = fixture::report(&result.baseline);
    CheckReport {
        result,
        examples,
        scenario: of_run.scenario,
        baseline: arm("out/baseline.toml"),
        candidate: arm("surgeline/policy.toml"),
        inconclusive: Level::Fail,
        command: "surgeline check support-bot --candidate surgeline/policy.toml".into(),
        notes: of_run.notes,
        provenance: of_run.provenance,
        version: "0.1.0",
    }
}

#[test]
fn documents_of_a_check_are_as_committed() {
    let result = result(some_of_each(), contrast(5.6, 6.2));
    let examples = [example("support_reply")];
    let report = report(&result, &examples);
    compare("check.txt", &text(&report, false, 80));
    compare("check.md", &markdown(&report));
    compare("check.json", &reports::json::check::render(&report));
    compare("check.xml", &junit(&report).expect("XML"));
    compare("check.github", &annotations(&report));
}

#[test]
fn documents_of_a_comparison_are_as_committed() {
    let (mut after, before) = (fixture::stable(), fixture::stable());
    after.horizon = Span::from_secs(3_600);
    let result = Pair { before, after, contrast: contrast(5.6, 6.2) };
    let info = fixture::report(&result.before).scenario;
    let report = CompareReport {
        result: &result,
        examples: &[],
        scenarios: [info.clone(), info],
        command: None,
        names: ["support-bot under a.toml".into(), "support-bot under b.toml".into()],
        notes: Vec::new(),
        version: "0.1.0",
    };
    compare("compare.txt", &reports::compare::text(&report, false, 80));
    compare("compare.md", &reports::compare::markdown(&report));
}

#[test]
fn where_nothing_changes_nothing_but_that_is_said() {
    let passing = changed("support_reply.p95_latency", (5.6, 5.6), Verdict::Pass);
    let result = result(vec![passing], contrast(5.6, 5.6));
    let report = report(&result, &[]);
    assert_eq!(sentence(&report), "PASS: the candidate changes nothing.");
    let markdown = markdown(&report);
    assert!(!markdown.contains("<details>") && !markdown.contains('|'), "{markdown}");
    assert!(text(&report, false, 80).lines().count() < 12);
    assert_eq!(annotations(&report), "");
}

#[test]
fn no_line_is_wider_than_asked_for() {
    let mut gates = some_of_each();
    gates[0].gate.name = "a_task_with_a_very_long_name".repeat(3) + ".p95_latency";
    let result = result(gates, contrast(5.6, 6.2));
    let report = report(&result, &[]);
    for width in [40, 60, 80, 132] {
        for line in text(&report, false, width).lines() {
            let columns = textwrap::core::display_width(line);
            assert!(columns <= width, "{columns} columns of {width}: {line}");
        }
    }
}

/// An element of JUnit's XML.
struct Element {
    name: &'static str,
    /// Attributes that it may have.
    may: &'static [&'static str],
    /// Attributes of those that it must have.
    must: &'static [&'static str],
    /// Elements that it may hold.
    holds: &'static [&'static str],
    holds_text: bool,
}

/// Written from junit-10.xsd of Jenkins' xUnit plugin (jenkinsci/xunit-plugin,
/// src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd, read 2026-11-26), the strictest of
/// the schemas in use, without what surgeline has no use for.
const SCHEMA: [Element; 6] = [
    Element {
        name: "testsuites",
        may: &["name", "time", "tests", "failures", "errors"],
        must: &[],
        holds: &["testsuite"],
        holds_text: false,
    },
    Element {
        name: "testsuite",
        may: &["name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp"],
        must: &["name", "tests", "failures", "errors"],
        holds: &["testsuite", "testcase", "system-out"],
        holds_text: false,
    },
    Element {
        name: "testcase",
        may: &["name", "time", "classname", "group"],
        must: &["name"],
        holds: &["error", "failure", "system-out"],
        holds_text: false,
    },
    told("failure", &["type", "message"]),
    told("error", &["type", "message"]),
    told("system-out", &[]),
];

const fn told(name: &'static str, may: &'static [&'static str]) -> Element {
    Element { name, may, must: &[], holds: &[], holds_text: true }
}

fn element(name: &str) -> Option<&'static Element> {
    SCHEMA.iter().find(|element| element.name == name)
}

/// What is wrong with an element within `parent`.
fn fault(parent: Option<&str>, element: &BytesStart<'_>) -> Option<String> {
    let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
    let Some(known) = self::element(&name) else {
        return Some(format!("there is no element {name}"));
    };
    let holds = |parent: &str| {
        self::element(parent).is_some_and(|parent| parent.holds.contains(&name.as_str()))
    };
    match parent {
        None if name != "testsuites" => return Some(format!("the whole is a {name}")),
        Some(parent) if !holds(parent) => return Some(format!("a {name} in a {parent}")),
        _ => {}
    }
    let keys: Vec<String> = element
        .attributes()
        .map(|attribute| {
            let attribute = attribute.expect("an attribute that can be read, and once");
            String::from_utf8_lossy(attribute.key.as_ref()).into_owned()
        })
        .collect();
    let unknown = keys.iter().find(|key| !known.may.contains(&key.as_str()));
    let missing = known.must.iter().find(|must| !keys.iter().any(|key| key == *must));
    unknown
        .map(|key| format!("{name} has no attribute {key}"))
        .or_else(|| missing.map(|key| format!("{name} has to have {key}")))
}

/// What is wrong with a document, by the schema.
fn faults(xml: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut open: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(element) => {
                faults.extend(fault(open.last().map(String::as_str), &element));
                open.push(String::from_utf8_lossy(element.name().as_ref()).into_owned());
            }
            Event::Empty(element) => {
                faults.extend(fault(open.last().map(String::as_str), &element))
            }
            Event::End(_) => drop(open.pop()),
            Event::Text(text) => {
                let text = text.decode().expect("text");
                let parent = open.last().and_then(|name| self::element(name));
                let holds_text = parent.is_some_and(|parent| parent.holds_text);
                if !text.trim().is_empty() && !holds_text {
                    faults.push(format!("text in {open:?}: {text}"));
                }
            }
            Event::Eof => return faults,
            _ => {}
        }
    }
}

#[test]
fn the_schema_finds_what_it_does_not_allow() {
    for (xml, found) in [
        ("<testsuites skipped='0'/>", "testsuites has no attribute skipped"),
        ("<testsuites><testcase name='a'/></testsuites>", "a testcase in a testsuites"),
        ("<testsuite/>", "the whole is a testsuite"),
        ("<testsuites><b/></testsuites>", "there is no element b"),
        ("<testsuites>boo</testsuites>", "text in"),
        ("<testsuites><testsuite name='a' tests='1' errors='0'/></testsuites>", "to have failures"),
    ] {
        let faults = faults(xml);
        assert!(faults.iter().any(|fault| fault.contains(found)), "{xml}: {faults:?}");
    }
}

#[test]
fn junit_has_a_case_for_each_gate_and_keeps_to_the_schema() {
    let result = result(some_of_each(), contrast(5.6, 6.2));
    let xml = junit(&report(&result, &[])).expect("XML");
    assert_eq!(faults(&xml), Vec::<String>::new(), "{xml}");
    let read = quick_junit::Report::deserialize_from_str(&xml).expect("JUnit");
    assert_eq!((read.tests, read.failures, read.errors), (5, 2, 1));
    let cases = &read.test_suites[0].test_cases;
    let names: std::collections::BTreeSet<&str> =
        cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), 5, "a change and a limit of one number are two cases: {names:?}");
    let kind = |at: usize| match &cases[at].status {
        TestCaseStatus::NonSuccess { kind, .. } => Some(*kind),
        _ => None,
    };
    let (failure, error) = (Some(NonSuccessKind::Failure), Some(NonSuccessKind::Error));
    assert_eq!([0, 1, 2, 3, 4].map(kind), [failure, failure, error, None, None]);
    let out = cases[3].system_out.as_ref().map_or("", |out| out.as_str());
    assert!(out.starts_with("warning: summary.p95_latency changes by"), "{out}");
}

#[test]
fn a_check_that_was_not_finished_does_not_look_like_one_that_passed() {
    let passing = changed("support_reply.p95_latency", (5.6, 5.61), Verdict::Pass);
    let mut result = result(vec![passing], contrast(5.6, 5.61));
    result.stopped = StopReason::Halted(Halt::Limit("--max-wall 60s".into()));
    result.verdict = Verdict::Inconclusive;
    let report = report(&result, &[]);
    let xml = junit(&report).expect("XML");
    assert_eq!(faults(&xml), Vec::<String>::new());
    let read = quick_junit::Report::deserialize_from_str(&xml).expect("JUnit");
    assert_eq!((read.tests, read.errors), (2, 1), "{xml}");
    let annotations = annotations(&report);
    assert!(annotations.starts_with("::error title=not finished,"), "{annotations}");
    assert!(sentence(&report).starts_with("INCONCLUSIVE: not finished, stopped at"));
}

#[test]
fn the_tenth_annotation_says_how_many_more_there_are() {
    let gates = |count: usize| -> Vec<Judged> {
        let of = |at| changed(&format!("task{at}.p95_latency"), (1.0, 2.0), Verdict::Fail);
        (0..count).map(of).collect()
    };
    for (count, lines, last) in [(10, 10, "task9"), (11, 10, "2 more gates"), (40, 10, "31 more")] {
        let result = result(gates(count), contrast(1.0, 2.0));
        let annotations = annotations(&report(&result, &[]));
        let all: Vec<&str> = annotations.lines().collect();
        assert_eq!(all.len(), lines, "{annotations}");
        assert!(all.len() <= MOST_ANNOTATIONS && all[lines - 1].contains(last), "{annotations}");
        // Those beyond are named, at least.
        assert!(annotations.contains(&format!("task{}.p95_latency", count - 1)));
    }
}

/// Each hostile text in every place that a text of a file can come to.
fn hostile(text: &str) -> (CheckResult, Vec<Example>) {
    let mut gates = some_of_each();
    for judged in &mut gates {
        judged.gate.name = text.into();
        judged.gate.text = text.into();
        judged.reason = Some(text.into());
    }
    let mut contrast = contrast(5.6, 6.2);
    contrast.latency[0].task = text.into();
    contrast.numbers[0].path = text.into();
    let mut example = example(text);
    example.source = text.into();
    (result(gates, contrast), vec![example])
}

/// Characters that act on what shows them.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\n') || "\u{202e}\u{2066}\u{2028}".contains(c)
}

#[test]
fn no_name_becomes_a_command_or_markup() {
    for text_of_a_file in HOSTILE {
        let (result, examples) = hostile(text_of_a_file);
        let mut report = report(&result, &examples);
        report.scenario.name = text_of_a_file.into();
        report.scenario.question = Some(text_of_a_file.into());
        report.candidate.policy = text_of_a_file.into();
        report.candidate.file = Some(text_of_a_file.into());
        report.notes = vec![text_of_a_file.into()];

        // One command for each gate that does not pass, whatever its name.
        let annotations = annotations(&report);
        let begin = |level: &str| {
            annotations
                .lines()
                .filter(|line| line.starts_with(&format!("::{level} title=")))
                .count()
        };
        assert_eq!((begin("error"), begin("warning")), (3, 1), "{annotations}");
        assert_eq!(annotations.lines().count(), 4, "{annotations}");
        for line in annotations.lines() {
            // Properties end at the first `::` after the command's name, and there are two of them.
            let (properties, _) = line[2..].split_once("::").expect("an end of the properties");
            assert_eq!(properties.matches(',').count(), 1, "{line}");
            assert!(properties.contains(",file="), "{line}");
        }
        assert!(!annotations.chars().any(acts), "{annotations:?}");

        let xml = junit(&report).expect("XML");
        assert_eq!(faults(&xml), Vec::<String>::new(), "{xml}");
        assert!(!xml.chars().any(acts), "{xml:?}");
        let read = quick_junit::Report::deserialize_from_str(&xml).expect("JUnit");
        assert_eq!(read.tests, 5);

        let text = ci::for_log(&text(&report, false, 80));
        assert!(!text.chars().any(acts), "{text:?}");
        let commands = |line: &&str| line.trim_start().starts_with("::") || line.contains("##[");
        assert_eq!(text.lines().find(commands), None);

        let summary = ci::summary(&report);
        assert!(!summary.chars().any(acts), "{summary:?}");
        for markup in ["<img", "<failure", "\n# title", "\n```", "| b `", "[e](f)", " **d**"] {
            assert!(!summary.contains(markup), "{markup} in {summary}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&reports::json::check::render(&report)).expect("JSON");
        assert_eq!(json["gates"][0]["metric"], text_of_a_file, "in JSON a name is what it is");
    }
}

#[test]
fn a_summary_is_cut_before_github_refuses_it() {
    let (result, _) = hostile("<b>bold</b>");
    let mut report = report(&result, &[]);
    let row = report.provenance[0].clone();
    report.provenance = vec![row; 30_000];
    assert!(markdown(&report).len() > MOST_SUMMARY);
    let summary = ci::summary(&report);
    assert!(summary.len() < MOST_SUMMARY);
    assert!(summary.contains("FAIL: ") && summary.contains("see the JSON"), "{summary}");
    assert!(summary.contains("&lt;b&gt;bold"), "{summary}");
}
