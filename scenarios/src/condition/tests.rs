//! Conditions from text to truth, from wrong text to message, and under mutation.

use super::names::{AttributeName, Names, Symbols, attribute_name};
use super::*;
use crate::document::parse as toml;
use sim::ids::{AttributeId, Backend, PoolId, RemoteId};
use sim::predicate::{BackendSignal, Op, Value as Worth};

const ATTRIBUTES: [AttributeName<'static>; 4] = [
    AttributeName {
        name: "account_tier",
        id: AttributeId(0),
        words: &["free", "pro", "enterprise"],
        number: false,
    },
    AttributeName {
        name: "sentiment",
        id: AttributeId(1),
        words: &["calm", "high_risk"],
        number: false,
    },
    AttributeName { name: "difficulty", id: AttributeId(2), words: &[], number: true },
    AttributeName { name: "region", id: AttributeId(3), words: &["eu", "us"], number: true },
];
const INTENTS: [&str; 3] = ["answer", "summarise", "don't know"];
const BACKENDS: [(&str, Backend); 3] = [
    ("h100-small", Backend::Pool(PoolId(0))),
    ("h100", Backend::Pool(PoolId(1))),
    ("gpt-4.1", Backend::Remote(RemoteId(0))),
];

/// What a `when = …` of a TOML text compiles to.
fn compiled(quoted: &str, symbols: &mut Symbols) -> Result<Predicate, Vec<Problem>> {
    let root = toml("p.toml", &format!("when = {quoted}")).expect("valid TOML");
    let Value::Table(table) = &root.value else { panic!("a document is a table") };
    let node = &table.get("when").expect("written").node;
    let Ok(value) = ConditionKind.read(node) else { panic!("{quoted} is no string") };
    let site = Site { place: node.place.clone(), key: "when".to_owned() };
    let mut names =
        Names { attributes: &ATTRIBUTES, intents: &INTENTS, backends: &BACKENDS, symbols };
    compile(&At { value, site }, &mut names)
}

/// A text in the kind of TOML quotes that leaves it as it is.
fn in_quotes(text: &str) -> String {
    let quote = match (text.contains('"'), text.contains('\'')) {
        (false, _) => "\"",
        (true, false) => "'",
        (true, true) => "'''",
    };
    format!("{quote}{text}{quote}")
}

/// The world in which the table below is true: a task of the tier `pro` whose sentiment is not
/// declared.
fn world(signal: Signal, symbols: &mut Symbols) -> Option<Worth> {
    let mut word = |word| Worth::Word(symbols.intern(word));
    Some(match signal {
        Signal::Intent => word("summarise"),
        Signal::Confidence => Worth::Number(0.5),
        Signal::Attribute(AttributeId(0)) => word("pro"),
        Signal::Attribute(AttributeId(2)) => Worth::Number(7.0),
        Signal::Attribute(AttributeId(3)) => word("eu"),
        Signal::Attribute(_) => return None,
        Signal::PromptTokens => Worth::Number(900.0),
        Signal::Elapsed => Worth::Number(1.5),
        Signal::RemainingLatency => Worth::Number(-0.5),
        Signal::ModelCalls => Worth::Number(3.0),
        Signal::Backend(backend, signal) => {
            let waits = backend == Backend::Pool(PoolId(0));
            Worth::Number(match signal {
                BackendSignal::InFlight => [2.0, 64.0][usize::from(waits)],
                BackendSignal::Waiting => [0.0, 10.0][usize::from(waits)],
                BackendSignal::BreakerOpen => [0.0, 1.0][usize::from(waits)],
            })
        }
    })
}

#[track_caller]
fn holds(text: &str) -> bool {
    let mut symbols = Symbols::default();
    match compiled(&in_quotes(text), &mut symbols) {
        Ok(predicate) => predicate.holds(|signal| world(signal, &mut symbols)),
        Err(problems) => panic!("{text}: {problems:#?}"),
    }
}

#[test]
fn conditions_hold_as_they_read() {
    let table = [
        // Comparisons, each way round.
        ("confidence < 0.72", true),
        ("confidence < 0.5", false),
        ("confidence <= 0.5", true),
        ("confidence > .5", false),
        ("confidence >= 5e-1", true),
        ("0.72 > confidence", true),
        ("0.4 >= confidence", false),
        ("confidence == 0.5", true),
        ("confidence != 0.5", false),
        ("model_calls == 3", true),
        ("confidence < difficulty", true),
        // Words, in either kind of quotes, and words inside strings.
        ("account_tier == 'pro'", true),
        ("account_tier == \"pro\"", true),
        ("'pro' == account_tier", true),
        ("account_tier != 'enterprise'", true),
        ("intent == 'summarise'", true),
        ("intent == \"don't know\"", false),
        ("account_tier == intent", false),
        // Arithmetic.
        ("prompt_tokens * 2 + 200 == 2000", true),
        ("prompt_tokens + 2 * 50 == 1000", true),
        ("(prompt_tokens + 100) * 2 == 2000", true),
        ("10 - 4 - 3 == model_calls", true),
        ("10-4-3==model_calls", true),
        ("model_calls / 2 == 1.5", true),
        ("-model_calls < 0", true),
        ("-(model_calls) + 3 == -0", true),
        ("12 / model_calls / 2 == 2", true),
        ("1e2 < prompt_tokens", true),
        ("9E+2 == prompt_tokens", true),
        // Logic: the signs of CEL and the words.
        ("confidence < 0.4 || account_tier == 'pro'", true),
        ("confidence < 0.4 or account_tier == 'pro'", true),
        ("confidence < 0.4 && account_tier == 'pro'", false),
        ("confidence < 0.6 and account_tier == 'pro'", true),
        ("model_calls > 9 and model_calls > 9 or model_calls == 3", true),
        ("model_calls == 3 or model_calls > 9 and model_calls > 9", true),
        ("(model_calls == 3 or model_calls > 9) and model_calls > 9", false),
        ("!(account_tier == 'pro')", false),
        ("!!(account_tier == 'pro')", true),
        ("not account_tier == 'pro'", false),
        ("not account_tier == 'free' and model_calls == 3", true),
        ("not not account_tier == 'pro'", true),
        ("model_calls == 3 and not confidence > 0.9", true),
        // Lists.
        ("account_tier in ['pro', 'enterprise']", true),
        ("account_tier in ['free']", false),
        ("account_tier not in [\"free\", \"enterprise\"]", true),
        ("not account_tier in ['pro']", false),
        ("model_calls in [1, 2, 3,]", true),
        ("model_calls in [-3]", false),
        ("region in ['us', 'eu', 7]", true),
        ("elapsed in ['1500ms']", true),
        // Durations.
        ("elapsed > '1s'", true),
        ("elapsed == '1.5s'", true),
        ("elapsed < \"1400 ms\"", false),
        ("remaining_latency < '0s'", true),
        ("remaining_latency + '1s' == '500ms'", true),
        ("'2s' - elapsed == '500ms'", true),
        ("elapsed * 2 == '3s'", true),
        ("2 * elapsed == '3s'", true),
        ("elapsed / 3 == '500ms'", true),
        ("elapsed / '500ms' == 3", true),
        ("elapsed > remaining_latency", true),
        // Backends.
        ("in_flight.h100-small == 64", true),
        ("in_flight.h100-small - 1 == 63", true),
        ("in_flight[\"h100-small\"] > in_flight.h100", true),
        ("waiting['h100-small'] > 5", true),
        ("waiting[ 'gpt-4.1' ] == 0", true),
        ("breaker_open.h100-small", true),
        ("not breaker_open.h100", true),
        ("!breaker_open[\"gpt-4.1\"] && breaker_open.h100-small", true),
        ("breaker_open.h100-small == true", true),
        ("breaker_open.h100 == false", true),
        ("breaker_open.h100 != breaker_open.h100-small", true),
        ("breaker_open.h100-small == (model_calls == 3)", true),
        ("breaker_open.h100 in [true]", false),
        // What is not declared is unknown, and decides nothing.
        ("sentiment == 'calm'", false),
        ("sentiment != 'calm'", false),
        ("!(sentiment == 'calm')", false),
        ("sentiment in ['calm', 'high_risk']", false),
        ("sentiment not in ['calm', 'high_risk']", false),
        ("sentiment == 'calm' || account_tier == 'pro'", true),
        ("!(sentiment == 'calm' && account_tier == 'free')", true),
        // An attribute that is a word for one source and a number for another.
        ("region == 'eu'", true),
        ("region != 7", true),
        ("region < 7", false),
        ("region >= 7", false),
        // Blanks.
        ("  confidence\t<0.72\t", true),
    ];
    for (text, expected) in table {
        assert_eq!(holds(text), expected, "{text}");
    }
}

/// All problems of a text, as `column: message / help`.
fn complaints(quoted: &str) -> Vec<String> {
    let Err(problems) = compiled(quoted, &mut Symbols::default()) else {
        return vec!["nothing is wrong".to_owned()];
    };
    let complaint = |problem: &Problem| {
        assert_eq!((problem.site.place.line, &problem.site.key[..]), (1, "when"));
        // Columns of the condition itself: `when = "` takes eight.
        let column = i64::from(problem.site.place.column) - 8;
        match &problem.help {
            Some(help) => format!("{column}: {} / {help}", problem.message),
            None => format!("{column}: {}", problem.message),
        }
    };
    problems.iter().map(complaint).map(|text| text.replace(SUPPORTED, "SUPPORTED")).collect()
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let table: [(&str, &[&str]); 88] = [
        ("", &["1: the condition is empty"]),
        ("  ", &["1: the condition is empty"]),
        ("confidence <", &["13: expected a value, found the end"]),
        ("< 1", &["1: expected a value, found `<`"]),
        ("confidence 0.7", &["12: expected an operator, found 0.7"]),
        ("confidence < 0.7 model_calls", &["18: expected an operator, found `model_calls`"]),
        ("(confidence < 0.7", &["18: expected `)`, found the end"]),
        ("confidence < 0.7)", &["17: expected an operator, found `)`"]),
        ("confidence = 0.7", &["12: `=` is not supported in a condition / compare with `==`"]),
        ("confidence & x", &["12: `&` is not supported in a condition / write `&&` or `and`"]),
        ("a | b", &["3: `|` is not supported in a condition / write `||` or `or`"]),
        (
            "confidence < 72%",
            &["16: `%` is not supported in a condition / a share is written 0.72"],
        ),
        (
            "confidence < 0.7 ? true : false",
            &["18: `?` is not supported in a condition / SUPPORTED"],
        ),
        ("size(account_tier) > 1", &["5: function calls are not supported / SUPPORTED"]),
        ("account_tier.startsWith('p')", &["13: members with `.` are not supported / SUPPORTED"]),
        ("account_tier[0] == 'p'", &["13: indexes in brackets are not supported / SUPPORTED"]),
        ("(confidence).x", &["13: members with `.` are not supported / SUPPORTED"]),
        ("[1] == [1]", &["1: a list stands only behind `in` / SUPPORTED"]),
        ("null == confidence", &["1: `null` is not supported / SUPPORTED"]),
        ("1 < confidence < 2", &["16: comparisons do not chain / join two comparisons with `&&`"]),
        (
            "confidence == 0.5 == true",
            &["19: comparisons do not chain / join two comparisons with `&&`"],
        ),
        ("confidence in 3", &["15: expected `[`, found 3"]),
        ("confidence in [1", &["17: expected `,`, found the end"]),
        ("confidence in []", &["16: the list is empty, so nothing is in it"]),
        (
            "confidence in [model_calls]",
            &["16: a list holds numbers, strings, true and false only"],
        ),
        ("confidence in [1 2]", &["18: expected `,`, found 2"]),
        ("confidence not 3", &["16: expected `in` after `not`, found 3"]),
        ("confidence + 1 in [1]", &["1: only a name can be in a list / SUPPORTED"]),
        ("and", &["1: expected a value, found `and`"]),
        (
            "confidence AND 3",
            &["12: expected an operator, found `AND` / write it in small letters"],
        ),
        ("True", &["1: nothing is called `True` here / did you mean `true`?"]),
        (
            "confidense < 0.7",
            &["1: nothing is called `confidense` here / did you mean `confidence`?"],
        ),
        (
            "zebra == 1",
            &[
                "1: nothing is called `zebra` here / known: account_tier, sentiment, difficulty, region, intent, confidence, prompt_tokens, elapsed, remaining_latency, model_calls, in_flight, waiting, breaker_open, true, false",
            ],
        ),
        (
            "account_tier == 'enterprize'",
            &["17: `account_tier` is never \"enterprize\" / did you mean `enterprise`?"],
        ),
        (
            "'zebra' == account_tier",
            &["1: `account_tier` is never \"zebra\" / known: free, pro, enterprise"],
        ),
        (
            "intent == 'sumarise'",
            &["11: `intent` is never \"sumarise\" / did you mean `summarise`?"],
        ),
        (
            "account_tier in ['pro', 'prro', 'zebra']",
            &[
                "25: `account_tier` is never \"prro\" / did you mean `pro`?",
                "33: `account_tier` is never \"zebra\" / known: free, pro, enterprise",
            ],
        ),
        ("account_tier == 3", &["14: the word `account_tier` is compared with a number"]),
        ("account_tier < 'pro'", &["14: words have no order"]),
        ("account_tier == true", &["14: the word `account_tier` is compared with a truth value"]),
        (
            "account_tier",
            &[
                "1: expected a truth value, found the word `account_tier` / compare it with something",
            ],
        ),
        (
            "!account_tier == 'pro'",
            &[
                "2: expected a truth value, found the word `account_tier` / write !(a == b) or not a == b",
            ],
        ),
        ("confidence", &["1: expected a truth value, found a number / compare it with something"]),
        ("confidence < 0.7 && true", &["21: this is always the same, so it decides nothing"]),
        ("1 < 2", &["3: this compares two constants, so it is always the same"]),
        ("'a' == 'a'", &["5: this compares two constants, so it is always the same"]),
        ("true", &["1: this is always the same, so it decides nothing"]),
        ("!true", &["2: this is always the same, so it decides nothing"]),
        (
            "confidence < 0.7 || 1 == 1",
            &["23: this compares two constants, so it is always the same"],
        ),
        (
            "difficulty == '7'",
            &["15: a number is compared with the string \"7\" / write 7 without quotes"],
        ),
        ("difficulty == 'x'", &["15: a number is compared with the string \"x\""]),
        (
            "breaker_open.h100 == 'true'",
            &["22: a truth value is compared with the string \"true\" / write true without quotes"],
        ),
        ("breaker_open.h100 < true", &["19: truth values have no order"]),
        ("breaker_open.h100 == 3", &["19: a truth value is compared with a number"]),
        ("breaker_open.h100 + 1 == 2", &["1: `+` needs numbers or durations, found a truth value"]),
        ("remaining_latency < 2", &["21: a bare number has no unit / write it like \"2s\""]),
        ("0 < remaining_latency", &["1: a bare number has no unit / write it like \"0s\""]),
        ("remaining_latency < '2'", &["21: \"2\": the unit is missing / write it like \"2s\""]),
        (
            "remaining_latency < '2 parsecs'",
            &["21: \"2 parsecs\": `parsecs` is not a unit of this quantity / write it like \"2s\""],
        ),
        ("remaining_latency < 2s", &["21: the duration 2s has no quotes / write it like \"2s\""]),
        ("elapsed == confidence", &["9: a duration is compared with a number"]),
        ("elapsed + 1 < '2s'", &["11: a bare number has no unit / write it like \"1s\""]),
        ("elapsed * elapsed < '2s'", &["1: `*` does not join a duration and a duration"]),
        ("1 / elapsed < 2", &["1: `/` does not join a number and a duration"]),
        ("'1s' + '2s' < elapsed", &["1: `+` needs numbers or durations, found the string \"1s\""]),
        (
            "account_tier + 1 == 2",
            &["1: `+` needs numbers or durations, found the word `account_tier`"],
        ),
        (
            "-account_tier == 2",
            &["1: `-` needs a number or a duration, found the word `account_tier`"],
        ),
        ("confidence / 0 > 1", &["14: this divides by zero"]),
        ("confidence < 72", &["14: 72 is out of range for a confidence / allowed: 0 to 1"]),
        ("-0.1 < confidence", &["1: -0.1 is out of range for a confidence / allowed: 0 to 1"]),
        (
            "in_flight < 3",
            &[
                "11: `in_flight` needs the name of a backend / write `in_flight.NAME` or `in_flight[\"NAME\"]`",
            ],
        ),
        (
            "in_flight.h100-smal < 3",
            &["11: no backend is called `h100-smal` / did you mean `h100-small`?"],
        ),
        (
            "in_flight.h100-small-1 < 3",
            &[
                "11: no backend is called `h100-small-1` / to subtract from `h100-small`, put a space before the minus",
            ],
        ),
        (
            "waiting.zebra < 3",
            &["9: no backend is called `zebra` / known: h100-small, h100, gpt-4.1"],
        ),
        ("in_flight. h100 < 3", &["11: the name of the backend is empty"]),
        ("in_flight[h100] < 3", &["11: expected a backend's name in quotes, found `h100`"]),
        ("waiting[''] > 1", &["9: the name of the backend is empty"]),
        ("confidence < 1e999", &["14: 1e999 is too large"]),
        ("confidence < 0x1F", &["14: `0x1F` is not a number"]),
        ("confidence < 2u", &["14: `2u` is not a number"]),
        ("confidence < 1.", &["14: `1.` is not a number"]),
        ("account_tier == 'pro", &["17: the string has no closing '"]),
        ("confidence \u{a0}< 1", &["12: `\\u{a0}` has no meaning in a condition / SUPPORTED"]),
        ("é < 1", &["1: `é` has no meaning in a condition / SUPPORTED"]),
        ("account_tier == r'pro'", &["18: expected an operator, found \"pro\""]),
        ("not 3", &["5: expected a truth value, found a number / write !(a == b) or not a == b"]),
        (
            "in_flight.h100-model_calls < 3",
            &[
                "11: no backend is called `h100-model_calls` / to subtract from `h100`, put a space before the minus",
            ],
        ),
        (
            "account_tier == \"p\\nx\"",
            &["19: a backslash stands only before a quote or a backslash"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(complaints(&in_quotes(text)), expected, "{text}");
    }
}

#[test]
fn positions_that_escapes_hide_are_told_in_words() {
    let table = [
        // Plain: the column of the file itself, in characters.
        ("\"confidence < 0.5 and é\"", "p.toml:1:30: when: `é` has no meaning in a condition"),
        ("'account_tier == \"x\"'", "p.toml:1:25: when: `account_tier` is never \"x\""),
        // Escapes and several lines: the string, and where in it.
        (
            "\"account_tier == \\\"x\\\"\"",
            "p.toml:1:8: when: column 17 of the condition: `account_tier` is never \"x\"",
        ),
        (
            "'''\nconfidence < 0.5 and\n  zebra == 1'''",
            "p.toml:1:8: when: line 2, column 3 of the condition: nothing is called `zebra` here",
        ),
    ];
    for (quoted, expected) in table {
        let problems = compiled(quoted, &mut Symbols::default()).expect_err("wrong");
        let shown = problems[0].to_string();
        assert_eq!(shown.lines().next(), Some(expected), "{quoted}");
    }
    let several = "'''\nconfidence < 0.5\n  and model_calls == 1\r\n\t'''";
    assert!(compiled(several, &mut Symbols::default()).is_ok());
}

#[test]
fn the_kinds_of_problem_can_be_told_apart() {
    for (text, kind) in [
        ("confidence <", ProblemKind::BadValue),
        ("confidense < 1", ProblemKind::UnknownName),
        ("account_tier == 'por'", ProblemKind::UnknownName),
        ("waiting.zebra < 1", ProblemKind::UnknownName),
        ("elapsed < 1", ProblemKind::WrongType),
    ] {
        let problems = compiled(&in_quotes(text), &mut Symbols::default()).expect_err("wrong");
        assert_eq!(problems[0].kind, kind, "{text}");
    }
    let at = Place { file: "p".into(), line: 1, column: 1 };
    let number = Node { value: Value::Integer(Some(1)), place: at, plain: false };
    let (kind, message, _) = ConditionKind.read(&number).expect_err("no text");
    assert_eq!(kind, ProblemKind::WrongType);
    assert_eq!(message, "expected a condition in quotes, found an integer");
}

#[test]
fn words_share_one_table() {
    let mut symbols = Symbols::default();
    let answer = symbols.intern("answer");
    let first = compiled("\"intent == 'answer'\"", &mut symbols).expect("right");
    let second = compiled("\"account_tier in ['pro', 'free']\"", &mut symbols).expect("right");
    assert!(first.ops().contains(&Op::Constant(Worth::Word(answer))));
    assert_eq!(second.ops().iter().filter(|op| **op == Op::Equal).count(), 2);
    assert_eq!(symbols.into_words(), ["answer", "pro", "free"]);
}

#[test]
fn conditions_that_wait_for_an_answer_are_told_apart() {
    for (text, waits) in [
        ("confidence < 0.7", true),
        ("model_calls == 1 || !(0.7 < confidence)", true),
        ("model_calls == 1", false),
        ("account_tier == 'pro' and breaker_open.h100", false),
    ] {
        let predicate = compiled(&in_quotes(text), &mut Symbols::default()).expect("right");
        assert_eq!(reads_confidence(&predicate), waits, "{text}");
    }
}

#[test]
fn attributes_are_called_what_conditions_can_name() {
    for name in ATTRIBUTES.map(|attribute| attribute.name).into_iter().chain(["_x1", "X"]) {
        assert_eq!(attribute_name(name), None, "{name}");
    }
    for name in ["", "1x", "a-b", "a.b", "é", "and", "in", "true", "null", "intent", "waiting"] {
        assert!(attribute_name(name).is_some(), "{name}");
    }
}

/// Compiles a text without the file around it.
fn bare(text: &str) -> Result<Predicate, Vec<Problem>> {
    let place = Place { file: "--set when=x".into(), line: 1, column: 1 };
    let site = Site { place, key: "when".to_owned() };
    let value = ConditionText { text: text.to_owned(), plain: false };
    let mut symbols = Symbols::default();
    let (attributes, intents, backends) = (&ATTRIBUTES, &INTENTS, &BACKENDS);
    let mut names = Names { attributes, intents, backends, symbols: &mut symbols };
    compile(&At { value, site }, &mut names)
}

#[test]
fn hostile_texts_are_refused() {
    let long = |part: &str| part.repeat(LONGEST / part.len());
    for part in ["(", "!", "-", "not ", "1+", "a ", "'", "[", "in ", "confidence<1&&", "1,", "\\"] {
        assert!(bare(&long(part)).is_err(), "{part}");
    }
    assert!(bare(&format!("confidence in [{}]", long("1,"))).is_err());
    assert!(bare(&" ".repeat(LONGEST + 1)).is_err());
    assert!(bare(&"é".repeat(1_000_000)).is_err());
    let nested =
        |levels: usize| format!("{}confidence < 0.5{}", "(".repeat(levels), ")".repeat(levels));
    assert!(bare(&nested(30)).is_ok());
    assert!(bare(&nested(31)).is_err());
    // Chains are no nesting, and a stack of sixteen is enough for all but the oddest texts.
    assert!(bare(&vec!["confidence < 0.5"; 60].join(" and ")).is_ok());
    let stacked = |levels: usize| {
        let open = "(model_calls + 2 * ".repeat(levels);
        format!("{open}1{} < 9", ")".repeat(levels))
    };
    assert!(bare(&stacked(7)).is_ok());
    let problems = bare(&stacked(8)).expect_err("too deep");
    let message = "column 1 of the condition: the condition needs more than 16 values at once";
    assert_eq!(problems[0].message, message);
}

/// A text with a word taken from another, or with a few characters inserted, left out or replaced.
fn mutated(text: &str, other: &str, dice: &mut sim::dice::Dice) -> String {
    const PIECES: [&str; 32] = [
        "(",
        ")",
        "[",
        "]",
        "'",
        "\"",
        "\\",
        "<",
        ">",
        "=",
        "!",
        "&",
        "|",
        "&&",
        "||",
        "+",
        "-",
        "*",
        "/",
        ".",
        ",",
        " ",
        "0",
        "1e9",
        "2s",
        " and ",
        " not ",
        " in ",
        "é",
        "\n",
        "true",
        "in_flight.",
    ];
    if dice.coin(0.5) {
        let mut words: Vec<&str> = text.split(' ').collect();
        let others: Vec<&str> = other.split(' ').collect();
        let at = (dice.bits() % words.len() as u64) as usize;
        words[at] = others[(dice.bits() % others.len() as u64) as usize];
        return words.join(" ");
    }
    let mut characters: Vec<String> = text.chars().map(String::from).collect();
    let mut below = |n: usize| (dice.bits() % n as u64) as usize;
    for _ in 0..=below(3) {
        let at = below(characters.len() + 1);
        match below(3) {
            0 => characters.insert(at, PIECES[below(PIECES.len())].to_owned()),
            1 if at < characters.len() => drop(characters.remove(at)),
            _ if at < characters.len() => characters[at] = PIECES[below(PIECES.len())].to_owned(),
            _ => {}
        }
    }
    characters.concat()
}

#[test]
fn mutated_conditions_never_panic_and_mean_one_thing() {
    let seeds = [
        "confidence < 0.72 && account_tier == 'enterprise'",
        "not (intent == 'answer') or model_calls + 1 >= 3 * difficulty",
        "in_flight.h100-small - waiting[\"gpt-4.1\"] > 2 and !breaker_open.h100",
        "account_tier in ['free', 'pro'] && '2s' - elapsed <= remaining_latency / 2",
        "region not in ['eu', 7] || (prompt_tokens - 10) / 4 != 1.5e2",
    ];
    let (mut right, mut wrong) = (0, 0);
    for case in 0..20_000u64 {
        let mut dice = sim::dice::Dice::stream(case);
        let pick = |case: u64| seeds[case as usize % seeds.len()];
        let text = mutated(pick(case), pick(case / 7), &mut dice);
        let Ok(predicate) = bare(&text) else {
            wrong += 1;
            continue;
        };
        right += 1;
        // Parentheses change nothing, and the opposite is the opposite, known or not.
        assert_eq!(bare(&format!("({text})")).as_ref(), Ok(&predicate), "{text}");
        let opposite = bare(&format!("not ({text})")).expect("a condition in parentheses");
        for known in [31, dice.bits()] {
            let read = |signal: Signal| {
                let place = match signal {
                    Signal::Attribute(id) => id.0,
                    Signal::Confidence | Signal::PromptTokens => 2,
                    Signal::Elapsed | Signal::RemainingLatency => 3,
                    _ => 4,
                };
                let bit = known >> place & 1;
                (bit == 1).then_some(Worth::Number(f64::from(place % 2)))
            };
            let held = [predicate.holds(read), opposite.holds(read)];
            assert!(held != [true, true] && (known != 31 || held != [false, false]), "{text}");
        }
    }
    // Neither side is a rarity, so both were tried.
    assert!(right > 1_000 && wrong > 1_000, "{right} {wrong}");
}
