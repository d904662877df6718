//! A TOML text as a tree in which every key and value knows its line and column.
//!
//! Invariants: a text that is too long, not UTF-8 or nested too deeply is refused before the
//! parser builds anything from it (so no input reaches the parser's own limits or the stack's);
//! entries keep the order of the file; an override carries its own position, `--set …`.
//!
//! Deliberately absent: the meaning of keys (see `reader` and `file`).

use crate::problem::{Place, Problem, ProblemKind, Problems, Sink, Site, join};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

/// Bytes of one file.
const LONGEST: usize = 10_000_000;
/// Brackets that may be open at once, and dots in one key.
const DEEPEST: usize = 32;
/// Syntax problems reported of one text.
const SYNTAX_PROBLEMS: usize = 20;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
    /// Whether it is a string on one line without escapes: its character `n`, from 0, then stands
    /// `n + 1` columns to the right of `place`.
    pub(crate) plain: bool,
}

/// A TOML value; dates have no use here and are kept as their kind only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// `None`: beyond 128 bits, or a negative zero.
    Integer(Option<i128>),
    Float(f64),
    Bool(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// Keys with values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Value {
    /// The kind of value, as messages name it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a decimal number",
            Value::Bool(_) => "true or false",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Turns byte offsets into lines and columns, in bounded work however long a line is.
struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
    /// Characters before each [`STRIDE`]th byte.
    characters: Vec<usize>,
    /// Overrides have one position, whatever the parser saw.
    single: bool,
}

/// Bytes between two counts of characters.
const STRIDE: usize = 256;

/// Characters that begin in these bytes of a UTF-8 text.
fn beginnings(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

impl<'a> Lines<'a> {
    fn new(file: &Arc<str>, text: &'a str, single: bool) -> Lines<'a> {
        let after_newlines = text.bytes().enumerate().filter(|&(_, b)| b == b'\n');
        let starts = std::iter::once(0).chain(after_newlines.map(|(i, _)| i + 1)).collect();
        let mut before = 0;
        let mut count = |chunk: &[u8]| {
            let so_far = before;
            before += beginnings(chunk);
            so_far
        };
        let characters = text.as_bytes().chunks(STRIDE).map(&mut count).collect();
        Lines { file: file.clone(), text, starts, characters, single }
    }

    /// Characters that begin before a byte offset.
    fn characters_before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let full = (offset / STRIDE).min(self.characters.len().saturating_sub(1));
        let rest = self.text.as_bytes().get(full * STRIDE..offset).unwrap_or_default();
        self.characters.get(full).copied().unwrap_or(0) + beginnings(rest)
    }

    fn place(&self, offset: usize) -> Place {
        if self.single {
            return Place { file: self.file.clone(), line: 1, column: 1 };
        }
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts[line - 1];
        let column = self.characters_before(offset) - self.characters_before(start);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { file: self.file.clone(), line: number(line), column: number(column + 1) }
    }

    fn problem(&self, offset: usize, message: String) -> Problem {
        let site = Site { place: self.place(offset), key: String::new() };
        Problem::new(ProblemKind::Syntax, &site, message)
    }
}

/// The first position of a file, for problems with the file as a whole.
pub(crate) fn start_of(file: &str) -> Site {
    Site { place: Place { file: file.into(), line: 1, column: 1 }, key: String::new() }
}

/// Checks that bytes are a text of bearable length; a byte-order mark is dropped.
pub(crate) fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    let refuse = |message: String| Problem::new(ProblemKind::Syntax, &start_of(file), message);
    if bytes.len() > LONGEST {
        return Err(refuse(format!("the file is longer than {LONGEST} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let text = String::from_utf8_lossy(valid);
        let offset = text.len();
        let lines = Lines::new(&file.into(), &text, false);
        lines.problem(offset, "the file is not UTF-8".to_owned()).help("save it as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a TOML text; every syntax problem is reported.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Problems> {
    let text = text_of(file, text.as_bytes())?;
    let lines = Lines::new(&file.into(), text, false);
    if let Some(problem) = too_deep(&lines) {
        return Err(problem.into());
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let span = error.span().unwrap_or_default();
            match repeated(&lines, error, &span) {
                Some(problem) => problem,
                None => lines.problem(span.start, error.message().to_owned()),
            }
        };
        let mut list: Vec<Problem> = Vec::new();
        for problem in errors.iter().take(SYNTAX_PROBLEMS).map(problem) {
            // The parser may meet one mistake twice while it looks for a way on.
            if !list.contains(&problem) {
                list.push(problem);
            }
        }
        let left_out = errors.len().saturating_sub(SYNTAX_PROBLEMS);
        return Err(Problems { list, left_out });
    }
    let value = Value::Table(tree_of_table(table.get_ref(), &lines));
    Ok(Node { value, place: lines.place(0), plain: false })
}

/// A key of no file, put in the place of a repeated one to find the table it belongs to.
const STAND_IN: &str = "\"surgeline: a repeated key\"";

/// What to say of a key that its table has already: which one, and where it was first.
fn repeated(
    lines: &Lines<'_>,
    error: &toml::de::Error,
    span: &std::ops::Range<usize>,
) -> Option<Problem> {
    let key = lines.text.get(span.clone()).filter(|_| error.message() == "duplicate key")?;
    let name = key.trim_matches(['"', '\'']);
    let shown = crate::problem::shortened(name);
    let problem = lines.problem(span.start, format!("the key `{shown}` is written twice"));
    let before = lines.text.get(..span.start)?;
    let patched = format!("{before}{STAND_IN}{}", lines.text.get(span.end..)?);
    let (root, _) = DeTable::parse_recoverable(&patched);
    let first = first_of(root.get_ref(), name)?;
    let first = lines.place(first);
    Some(problem.help(format!("it is first at {first}; leave one of the two")))
}

/// Where `name` stands in the table that holds the stand-in.
fn first_of(table: &DeTable<'_>, name: &str) -> Option<usize> {
    let start = |key: &str| {
        table.iter().find(|(known, _)| known.get_ref().as_ref() == key).map(|(k, _)| k.span().start)
    };
    if start(STAND_IN.trim_matches('"')).is_some() {
        return start(name);
    }
    table.iter().find_map(|(_, value)| first_in(value.get_ref(), name))
}

fn first_in(value: &DeValue<'_>, name: &str) -> Option<usize> {
    match value {
        DeValue::Table(table) => first_of(table, name),
        DeValue::Array(items) => items.iter().find_map(|item| first_in(item.get_ref(), name)),
        _ => None,
    }
}

/// A problem when brackets or dotted keys nest deeper than any scenario does.
fn too_deep(lines: &Lines<'_>) -> Option<Problem> {
    let (mut open, mut dots) = (0usize, 0usize);
    for token in toml_parser::Source::new(lines.text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => open += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                open = open.saturating_sub(1);
            }
            TokenKind::Dot => dots += 1,
            TokenKind::Newline | TokenKind::Equals | TokenKind::Comma => dots = 0,
            _ => {}
        }
        if open > DEEPEST || dots > DEEPEST {
            let message = format!("values nest deeper than {DEEPEST} levels");
            return Some(lines.problem(token.span().start(), message));
        }
    }
    None
}

fn tree_of_table(table: &DeTable<'_>, lines: &Lines<'_>) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key_text: &std::borrow::Cow<'_, str> = key.get_ref();
        let entry = Entry {
            key: key_text.as_ref().to_owned(),
            place: lines.place(key.span().start),
            node: tree_of_value(value, lines),
        };
        (key.span().start, entry)
    };
    // The parser sorts keys; reports keep the order of the file.
    let mut entries: Vec<(usize, Entry)> = table.iter().map(entry).collect();
    entries.sort_by_key(|&(start, _)| start);
    Table { entries: entries.into_iter().map(|(_, entry)| entry).collect() }
}

fn tree_of_value(value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let place = lines.place(value.span().start);
    // Every escape and every other kind of quote is longer than what it stands for.
    let plain = matches!(value.get_ref(), DeValue::String(text)
        if !lines.single && value.span().len() == text.len() + 2);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.as_ref().to_owned()),
        DeValue::Integer(integer) => {
            let parsed = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
            let negative_zero = parsed == Some(0) && integer.as_str().starts_with('-');
            Value::Integer(parsed.filter(|_| !negative_zero))
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(array) => {
            Value::List(array.iter().map(|item| tree_of_value(item, lines)).collect())
        }
        DeValue::Table(table) => Value::Table(tree_of_table(table, lines)),
    };
    Node { value, place, plain }
}

/// A value as `--set` writes it: TOML when it is TOML, otherwise a bare string.
pub(crate) fn bare_value(text: &str, place: &Place) -> Node {
    let lines = Lines::new(&place.file, text, true);
    let bare = || Node { value: Value::Text(text.to_owned()), place: place.clone(), plain: false };
    if text.len() > LONGEST || too_deep(&lines).is_some() {
        return bare();
    }
    match DeValue::parse(text) {
        Ok(value) if !matches!(value.get_ref(), DeValue::Datetime(_)) => {
            let mut node = tree_of_value(&value, &lines);
            node.place = place.clone();
            node
        }
        _ => bare(),
    }
}

/// Tables whose keys users name: an override that adds a name there may have misspelt one.
const NAMED: [&str; 11] = [
    "traffic",
    "tasks",
    "models",
    "pools",
    "providers",
    "provisioned",
    "devices",
    "tools",
    "intents",
    "attributes",
    "plans",
];

/// A name that an override added to one of the tables of names.
#[derive(Debug)]
pub(crate) struct NewName {
    /// The override, and the key path down to the name.
    pub(crate) site: Site,
    pub(crate) name: String,
    /// Names that were there before.
    pub(crate) known: Vec<String>,
}

/// Applies `key.path=value` to a document; says which name that added, if any.
pub(crate) fn set(root: &mut Node, text: &str, sink: &Sink) -> Option<NewName> {
    let shown = crate::problem::shortened(text).replace(['\n', '\r'], " ");
    let place = Place { file: format!("--set {shown}").into(), line: 1, column: 1 };
    let site = Site { place: place.clone(), key: String::new() };
    let refuse = |message: &str| sink.push(Problem::new(ProblemKind::Syntax, &site, message));
    let Some((path, value)) = text.split_once('=') else {
        refuse("an override is `key.path=value`");
        return None;
    };
    let Some(keys) = path_of(path) else {
        refuse("the key path is not dot-separated TOML keys");
        return None;
    };
    let new = new_name(root, &keys, &place);
    match put(root, &keys, bare_value(value.trim(), &place), &site) {
        Ok(()) => new,
        Err(problem) => {
            sink.push(problem);
            None
        }
    }
}

/// The name that a value at `keys` would add to a table of names.
fn new_name(root: &Node, keys: &[String], place: &Place) -> Option<NewName> {
    let [table, name, ..] = keys else { return None };
    let Value::Table(root) = &root.value else { return None };
    if !NAMED.contains(&table.as_str()) {
        return None;
    }
    let known: Vec<String> = match root.get(table).map(|entry| &entry.node.value) {
        Some(Value::Table(named)) => named.entries.iter().map(|entry| entry.key.clone()).collect(),
        _ => Vec::new(),
    };
    let key = join(table, name);
    let site = Site { place: place.clone(), key };
    (!known.contains(name)).then(|| NewName { site, name: name.clone(), known })
}

/// `a."b.c".d` as its keys.
pub(crate) fn path_of(path: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = path.trim();
    loop {
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if key.is_empty() || keys.len() == DEEPEST {
            return None;
        }
        keys.push(key.to_owned());
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(keys),
        }
    }
}

/// Keys as the path that [`path_of`] takes apart; none of them may hold a quote.
pub(crate) fn path_text(keys: &[String]) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let key = |key: &String| match key.bytes().all(bare) && !key.is_empty() {
        true => key.clone(),
        false => format!("\"{key}\""),
    };
    keys.iter().map(key).collect::<Vec<_>>().join(".")
}

/// Whether a value could be put at `keys`.
pub(crate) fn reaches(root: &Node, keys: &[String], site: &Site) -> Result<(), Problem> {
    let mut node = root;
    for key in keys {
        node = match &node.value {
            Value::List(items) => items.get(index(key, items.len(), site)?).unwrap_or(node),
            Value::Table(table) => match table.get(key) {
                Some(entry) => &entry.node,
                None => return Ok(()),
            },
            other => return Err(no_keys(other, site)),
        };
    }
    Ok(())
}

/// Which item of a list a key names.
fn index(key: &str, count: usize, site: &Site) -> Result<usize, Problem> {
    key.parse().ok().filter(|&at| at < count).ok_or_else(|| {
        let message = format!("a list of {count} has no item `{key}`");
        Problem::new(ProblemKind::UnknownKey, site, message).help("items count from 0")
    })
}

fn no_keys(value: &Value, site: &Site) -> Problem {
    Problem::new(ProblemKind::UnknownKey, site, format!("{} has no keys", value.kind()))
}

/// Replaces or adds the value at `keys`, which is not empty.
fn put(root: &mut Node, keys: &[String], value: Node, site: &Site) -> Result<(), Problem> {
    let mut node = root;
    for (depth, key) in keys.iter().enumerate() {
        let key_site = Site { place: site.place.clone(), key: keys[..=depth].join(".") };
        node = step(node, key, &key_site)?;
    }
    *node = value;
    Ok(())
}

/// The value below `node`, made when absent.
fn step<'a>(node: &'a mut Node, key: &str, site: &Site) -> Result<&'a mut Node, Problem> {
    match &mut node.value {
        Value::List(items) => {
            let at = index(key, items.len(), site)?;
            Ok(&mut items[at])
        }
        Value::Table(table) => {
            let at = match table.entries.iter().position(|entry| entry.key == key) {
                Some(at) => at,
                None => {
                    let place = site.place.clone();
                    let value = Value::Table(Table::default());
                    let node = Node { value, place: place.clone(), plain: false };
                    table.entries.push(Entry { key: key.to_owned(), place, node });
                    table.entries.len() - 1
                }
            };
            Ok(&mut table.entries[at].node)
        }
        other => Err(no_keys(other, site)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Node {
        parse("t.toml", text).expect("valid TOML")
    }

    fn find<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(node, |node, key| match &node.value {
            Value::Table(table) => &table.get(key).expect("the key is there").node,
            other => panic!("{key} below {}", other.kind()),
        })
    }

    #[test]
    fn positions_count_lines_and_characters() {
        let node = root("a = 1\r\n[t]\nc = { \"ü\" = 2, d = [1, 2] }\n");
        let place = &find(&node, &["t", "c", "d"]).place;
        assert_eq!((place.line, place.column), (3, 20));
        assert_eq!(find(&node, &["a"]).value, Value::Integer(Some(1)));
    }

    #[test]
    fn plain_strings_are_told_from_those_whose_columns_shift() {
        for (text, plain) in [
            ("a = \"é < 1\"", true),
            ("a = 'x == \"y\"'", true),
            ("a = \"x == \\\"y\\\"\"", false),
            ("a = \"\\u0061\"", false),
            ("a = \"\"\"x\"\"\"", false),
            ("a = '''\nx'''", false),
            ("a = 1", false),
        ] {
            assert_eq!(find(&root(text), &["a"]).plain, plain, "{text}");
        }
    }

    #[test]
    fn hostile_texts_are_refused_with_a_position() {
        let deep = format!("a = {}", "[".repeat(20_000));
        let dotted = format!("{} = 1", vec!["a"; 100_000].join("."));
        let header = format!("[{}]", vec!["a"; 100_000].join("."));
        let nul = "a = \"\0\"\n".to_owned();
        let huge = format!("a = \"{}\"", "x".repeat(LONGEST));
        for text in [deep, dotted, header, nul, huge, "a = 1\na = 2".into(), "= ".into()] {
            let problems = parse("t.toml", &text).expect_err("refused");
            assert!(
                problems.list.iter().all(|p| p.site.place.line >= 1 && p.site.place.column >= 1)
            );
            assert!(problems.to_string().starts_with("t.toml:"), "{problems}");
        }
        assert!(text_of("t", b"a = \"\xff\"").is_err());
        assert!(parse("t", "\u{feff}a = 1\r\n").is_ok());
    }

    #[test]
    fn several_syntax_problems_come_at_once() {
        let problems = parse("t", "a = \nb = 1\nc = ]\n").expect_err("refused");
        assert!(problems.list.len() >= 2, "{problems}");
    }

    #[test]
    fn a_repeated_key_is_named_with_its_first_place() {
        for (text, line, key, first) in [
            ("a = 1\nb = { a = 2 }\na = 3\n", 3, "`a`", "t:1:1"),
            ("[t]\nx = 1\n[u]\nx = 1\n[t]\ny = 2\n", 5, "`t`", "t:1:2"),
            ("[u.x]\n[t]\nx = 1\n\"x\" = 2\n", 4, "`x`", "t:3:1"),
            ("l = [{ p = 1 }, { q = 1, q = 2 }]\n", 1, "`q`", "t:1:19"),
        ] {
            let problems = parse("t", text).expect_err("refused");
            let [problem] = problems.list.as_slice() else { panic!("{text}: {problems}") };
            assert_eq!(problem.site.place.line, line, "{problems}");
            assert!(problem.message.contains(key), "{problems}");
            let help = problem.help.as_deref().unwrap_or_default();
            assert!(help.contains(&format!("first at {first};")), "{problems}");
        }
    }

    #[test]
    fn overrides_reach_tables_and_lists() {
        let mut node = root("[tasks.a]\nsteps = [{ n = 1 }]\n");
        let sink = Sink::default();
        set(&mut node, "tasks.a.steps.0.n=2", &sink);
        set(&mut node, "scenario.horizon=24h", &sink);
        assert!(sink.is_empty());
        assert_eq!(find(&node, &["scenario", "horizon"]).value, Value::Text("24h".into()));
        for wrong in ["", "x", "=1", "tasks.a.steps.1.n=2", "a..b=1", "\"a=1"] {
            let sink = Sink::default();
            set(&mut node, wrong, &sink);
            assert!(!sink.is_empty(), "{wrong:?}");
        }
    }

    #[test]
    fn every_table_of_names_is_known() {
        let schema = |kind| crate::schema::schema(kind)["properties"].clone();
        let scenario = schema(crate::schema::SchemaKind::Scenario);
        let policy = schema(crate::schema::SchemaKind::Policy);
        let is_named = |(key, table): &(&String, &serde_json::Value)| {
            let of_names = table["additionalProperties"]["type"] == "object";
            of_names && key.as_str() != "objectives" && policy[key.as_str()].is_null()
        };
        let tables = scenario.as_object().expect("keys").iter().filter(is_named);
        let mut tables: Vec<&str> = tables.map(|(key, _)| key.as_str()).collect();
        let mut known = NAMED.to_vec();
        tables.sort_unstable();
        known.sort_unstable();
        assert_eq!(tables, known);
    }

    #[test]
    fn an_override_may_add_a_name_and_says_so() {
        let mut node = root("[tasks.a]\nsteps = []\n");
        let sink = Sink::default();
        let mut added = |text: &str| {
            let new = set(&mut node, text, &sink);
            new.map(|new| (new.site.key, new.known.join(" ")))
        };
        assert_eq!(added("tasks.a.value=$1"), None);
        assert_eq!(added("tasks.b.value=$1"), Some(("tasks.b".into(), "a".into())));
        assert_eq!(added("tasks.b.harm_cost=$2"), None);
        let quoted = Some(("providers.\"x.y\"".into(), String::new()));
        assert_eq!(added("providers.\"x.y\".rpm=10"), quoted);
        assert_eq!(added("retries.max_attempts=2"), None);
        assert!(sink.is_empty());
        let value = &find(&node, &["tasks", "b", "value"]).value;
        assert_eq!(*value, Value::Text("$1".into()));
    }
}
