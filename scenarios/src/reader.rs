//! Reads tables key by key, collecting problems, and describes itself as a schema.
//!
//! One function per table calls `need`, `may`, `or`, `table`, … with a key, a kind and a sentence.
//! Run on a table, those calls give values and report what is wrong; run on [`Source::Nothing`],
//! they give nothing and record what they were asked for, and that record is the JSON Schema.
//!
//! Invariants: every key a reader accepts is in the schema and the other way round, because both
//! come from the same calls; a key nobody asked for is reported with the nearest known one; every
//! value read or filled in leaves a line of provenance.
//!
//! Deliberately absent: relations between keys of different tables (see `resolve`).

mod either;
mod named;
mod shape;

pub(crate) use named::{Either, Named};

use crate::document::{Node, Table, Value, bare_value};
use crate::kinds::Kind;
use crate::problem::{At, Problem, ProblemKind, Sink, Site, did_you_mean, join, shortened};
use crate::resolved::{Origin, Provenance};
use serde_json::{Value as Json, json};
use shape::{Shape, shown};
use std::cell::RefCell;

/// Items of a list, and names in a table of named things.
const MOST_ITEMS: usize = 10_000;

/// What all readers of one document share.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) sink: Sink,
    pub(crate) provenance: RefCell<Vec<Provenance>>,
}

/// What a reader reads.
#[derive(Clone, Copy)]
enum Source<'a> {
    Table(&'a Table),
    /// Describing: nothing is there.
    Nothing,
}

/// A table being read.
pub(crate) struct Reader<'a> {
    context: &'a Context,
    source: Source<'a>,
    site: Site,
    keys: Vec<&'static str>,
    /// The tag that decides which keys are known could not be read, so none is called unknown.
    lenient: bool,
    shape: Shape,
}

/// A reading function of a table.
pub(crate) type ReadTable<T> = fn(&mut Reader<'_>) -> T;

impl<'a> Reader<'a> {
    /// A reader of the document's root.
    pub(crate) fn root(context: &'a Context, node: &'a Node) -> Reader<'a> {
        let site = Site { place: node.place.clone(), key: String::new() };
        Reader::on(context, node, site)
    }

    /// A reader that records what is asked of it.
    fn describing(context: &'a Context) -> Reader<'a> {
        let site = crate::document::start_of("schema");
        let shape = Shape::default();
        let source = Source::Nothing;
        Reader { context, source, site, keys: Vec::new(), lenient: false, shape }
    }

    /// A reader of `node`, which has to be a table.
    fn on(context: &'a Context, node: &'a Node, site: Site) -> Reader<'a> {
        let source = match &node.value {
            Value::Table(table) => Source::Table(table),
            other => {
                let message = format!("expected a table, found {}", other.kind());
                context.sink.push(Problem::new(ProblemKind::WrongType, &site, message));
                Source::Nothing
            }
        };
        Reader { context, source, site, keys: Vec::new(), lenient: false, shape: Shape::default() }
    }

    /// Where the table stands.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Reports a problem at this table.
    pub(crate) fn refuse(&self, kind: ProblemKind, message: impl Into<String>) {
        self.context.sink.push(Problem::new(kind, &self.site, message));
    }

    /// Reports what follows from these keys, unless one of them is wrong or misspelt itself.
    pub(crate) fn refuse_keys(&self, keys: &[&str], kind: ProblemKind, message: &str) {
        let problem = Problem::new(kind, &self.site, message);
        let keys = keys.iter().map(|key| join(&self.site.key, key));
        self.context.sink.push(problem.rests_on(keys));
    }

    /// Whether the key is written here.
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(self.source, Source::Table(table) if table.get(key).is_some())
    }

    /// Whether nothing but this key is written here.
    pub(crate) fn has_only(&self, key: &str) -> bool {
        let Source::Table(table) = self.source else { return false };
        !table.entries.is_empty() && table.entries.iter().all(|entry| entry.key == key)
    }

    /// The value of `key`, with its site; asking makes the key known.
    fn node(&mut self, key: &'static str) -> Option<(&'a Node, Site)> {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        let Source::Table(table) = self.source else { return None };
        let entry = table.get(key)?;
        let site = Site { place: entry.node.place.clone(), key: join(&self.site.key, key) };
        Some((&entry.node, site))
    }

    /// Records a key while describing; reading never pays for a schema.
    fn describe(
        &mut self,
        key: &'static str,
        schema: impl FnOnce() -> Json,
        doc: &str,
        default: Option<&str>,
    ) {
        let Source::Nothing = self.source else { return };
        self.shape.describe(key, schema(), doc, default);
    }

    fn read<K: Kind>(&self, kind: &K, node: &Node, site: Site) -> Option<At<K::Value>> {
        match kind.read(node) {
            Ok(value) => {
                let shown = shown(&node.value);
                self.note(site.key.clone(), shown, Origin::Written(site.place.clone()));
                Some(At { value, site })
            }
            Err(refusal) => {
                self.context.sink.push(Problem::refused(&site, refusal));
                None
            }
        }
    }

    fn note(&self, key: String, value: String, origin: Origin) {
        self.context.provenance.borrow_mut().push(Provenance { key, value, origin });
    }

    /// A key that has to be there.
    pub(crate) fn need<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Option<At<K::Value>> {
        self.describe(key, || kind.schema(), doc, None);
        self.shape.required.push(key);
        match self.node(key) {
            Some((node, site)) => self.read(&kind, node, site),
            None => {
                self.missing(key, doc);
                None
            }
        }
    }

    fn missing(&self, key: &str, doc: &str) {
        if let Source::Table(_) = self.source {
            let site = self.site.child(key);
            let problem = Problem::new(ProblemKind::MissingKey, &site, "the key is missing");
            self.context.sink.push(problem.help(doc));
        }
    }

    /// A key that may be there.
    pub(crate) fn may<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Option<At<K::Value>> {
        self.describe(key, || kind.schema(), doc, None);
        let (node, site) = self.node(key)?;
        self.read(&kind, node, site)
    }

    /// A key with a default, written as `--set` would write it.
    pub(crate) fn or<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        default: &str,
        doc: &str,
    ) -> Option<At<K::Value>> {
        self.describe(key, || kind.schema(), doc, Some(default));
        if let Some((node, site)) = self.node(key) {
            return self.read(&kind, node, site);
        }
        let Source::Table(_) = self.source else { return None };
        let site = self.site.child(key);
        match kind.read(&bare_value(default, &site.place)) {
            Ok(value) => {
                self.note(site.key.clone(), default.to_owned(), Origin::Default);
                Some(At { value, site })
            }
            Err(refusal) => {
                self.context.sink.push(Problem::refused(&site, refusal));
                None
            }
        }
    }

    /// A table that may be there.
    pub(crate) fn table<T>(
        &mut self,
        key: &'static str,
        doc: &str,
        read: ReadTable<T>,
    ) -> Option<T> {
        self.describe(key, || schema_of(read), doc, None);
        let (node, site) = self.node(key)?;
        read_table(self.context, node, site, read)
    }

    /// A table whose keys have defaults, which hold where it is absent too.
    pub(crate) fn table_or_empty<T>(
        &mut self,
        key: &'static str,
        doc: &str,
        read: ReadTable<T>,
    ) -> Option<T> {
        if matches!(self.source, Source::Nothing) || self.has(key) {
            return self.table(key, doc, read);
        }
        let place = self.site.place.clone();
        let empty = Node { value: Value::Table(Table::default()), place, plain: false };
        read_table(self.context, &empty, self.site.child(key), read)
    }

    /// A table that has to be there.
    pub(crate) fn need_table<T>(
        &mut self,
        key: &'static str,
        doc: &str,
        read: ReadTable<T>,
    ) -> Option<T> {
        self.shape.required.push(key);
        if matches!(self.source, Source::Table(table) if table.get(key).is_none()) {
            self.missing(key, doc);
        }
        self.table(key, doc, read)
    }

    /// A list of tables; absent, it is empty.
    pub(crate) fn list<T>(&mut self, key: &'static str, doc: &str, read: ReadTable<T>) -> Vec<T> {
        let schema = || json!({"type": "array", "items": schema_of(read), "maxItems": MOST_ITEMS});
        self.describe(key, schema, doc, None);
        let context = self.context;
        let items = self.items(key);
        items.into_iter().filter_map(|(n, s)| read_table(context, n, s, read)).collect()
    }

    /// A list of values of one kind; absent, it is empty.
    pub(crate) fn values<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Vec<At<K::Value>> {
        let schema = || json!({"type": "array", "items": kind.schema(), "maxItems": MOST_ITEMS});
        self.describe(key, schema, doc, None);
        let items = self.items(key);
        items.into_iter().filter_map(|(node, site)| self.read(&kind, node, site)).collect()
    }

    /// A list of pairs of numbers; absent, it is empty.
    pub(crate) fn pairs<A: Kind, B: Kind>(
        &mut self,
        key: &'static str,
        kinds: (A, B),
        doc: &str,
    ) -> Vec<(A::Value, B::Value)> {
        let schema = || {
            let pair = json!({"type": "array", "items": [kinds.0.schema(), kinds.1.schema()],
                "minItems": 2, "maxItems": 2});
            json!({"type": "array", "items": pair, "maxItems": MOST_ITEMS})
        };
        self.describe(key, schema, doc, None);
        let mut pairs = Vec::new();
        for (node, site) in self.items(key) {
            match &node.value {
                Value::List(pair) if pair.len() == 2 => {
                    let first = self.read_quietly(&kinds.0, &pair[0], &site);
                    let second = self.read_quietly(&kinds.1, &pair[1], &site);
                    pairs.extend(first.zip(second));
                }
                _ => {
                    let message = "expected a pair `[value, weight]`";
                    let problem = Problem::new(ProblemKind::WrongType, &site, message);
                    self.context.sink.push(problem);
                }
            }
        }
        pairs
    }

    /// Reads without a line of provenance: a list of thousands has one for the whole.
    fn read_quietly<K: Kind>(&self, kind: &K, node: &Node, site: &Site) -> Option<K::Value> {
        kind.read(node)
            .map_err(|refusal| {
                let site = Site { place: node.place.clone(), key: site.key.clone() };
                self.context.sink.push(Problem::refused(&site, refusal));
            })
            .ok()
    }

    fn items(&mut self, key: &'static str) -> Vec<(&'a Node, Site)> {
        let Some((node, site)) = self.node(key) else { return Vec::new() };
        self.items_of(node, &site)
    }

    /// The items of a node, which has to be a list.
    fn items_of<'n>(&self, node: &'n Node, site: &Site) -> Vec<(&'n Node, Site)> {
        let Value::List(items) = &node.value else {
            let message = format!("expected a list, found {}", node.value.kind());
            self.context.sink.push(Problem::new(ProblemKind::WrongType, site, message));
            return Vec::new();
        };
        if items.len() > MOST_ITEMS {
            let message = format!("{} items; at most {MOST_ITEMS} are allowed", items.len());
            self.context.sink.push(Problem::new(ProblemKind::BadValue, site, message));
            return Vec::new();
        }
        let item = |(i, node): (usize, &'n Node)| {
            (node, Site { place: node.place.clone(), key: format!("{}[{i}]", site.key) })
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A table of tables whose keys are names the user chose.
    pub(crate) fn named<T>(
        &mut self,
        key: &'static str,
        doc: &str,
        read: ReadTable<T>,
    ) -> Vec<(At<String>, T)> {
        let schema = || json!({"type": "object", "additionalProperties": schema_of(read)});
        self.describe(key, schema, doc, None);
        let context = self.context;
        let item = |(name, node): (At<String>, &Node)| {
            let read = read_table(context, node, name.site.clone(), read)?;
            Some((name, read))
        };
        self.names(key).into_iter().filter_map(item).collect()
    }

    /// All `key.path = value` leaves of a table whose keys are free: `"task.p95_latency"`.
    pub(crate) fn leaves<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Vec<(Vec<String>, At<K::Value>)> {
        let schema = || {
            let nested = json!({"type": "object", "additionalProperties": kind.schema()});
            json!({"type": "object",
                "additionalProperties": {"anyOf": [kind.schema(), nested]}})
        };
        self.describe(key, schema, doc, None);
        self.all_leaves(key, &kind)
    }

    /// A table whose `tag` decides what else it holds.
    pub(crate) fn tagged<T>(
        &mut self,
        tag: &'static str,
        doc: &str,
        variants: &[(&'static str, ReadTable<Option<T>>)],
    ) -> Option<T> {
        if let Source::Nothing = self.source {
            let variant = |&(name, read): &(&'static str, ReadTable<Option<T>>)| {
                let mut schema = schema_of(read);
                schema["properties"][tag] = json!({"enum": [name], "description": doc});
                if let Some(required) = schema["required"].as_array_mut() {
                    required.push(json!(tag));
                }
                schema
            };
            self.shape.variants = variants.iter().map(variant).collect();
            return None;
        }
        let Some((node, site)) = self.node(tag) else {
            self.missing(tag, doc);
            self.lenient = true;
            return None;
        };
        let known: Vec<&str> = variants.iter().map(|&(name, _)| name).collect();
        let Value::Text(text) = &node.value else {
            let message = format!("expected a string, found {}", node.value.kind());
            self.context.sink.push(Problem::new(ProblemKind::WrongType, &site, message));
            self.lenient = true;
            return None;
        };
        let Some((_, read)) = variants.iter().find(|(name, _)| name == text) else {
            let message = format!("{:?} is not a choice", shortened(text));
            let problem = Problem::new(ProblemKind::BadValue, &site, message);
            self.context.sink.push(problem.help(did_you_mean(text, &known)));
            self.lenient = true;
            return None;
        };
        self.note(site.key.clone(), text.clone(), Origin::Written(site.place));
        read(self)
    }

    /// Reports the keys nobody asked for.
    fn finish(self) -> Shape {
        if let Source::Table(table) = self.source {
            let unknown = |key: &str| !self.lenient && !self.keys.contains(&key);
            for entry in table.entries.iter().filter(|entry| unknown(&entry.key)) {
                self.context.sink.push_with(|| {
                    let key = join(&self.site.key, &entry.key);
                    let site = Site { place: entry.place.clone(), key };
                    Problem::unknown_key(&site, &self.site.key, &entry.key, &self.keys)
                });
            }
        }
        self.shape
    }
}

/// Reads a node as a table; `None` when it is none (which is reported).
pub(crate) fn read_table<T>(
    context: &Context,
    node: &Node,
    site: Site,
    read: ReadTable<T>,
) -> Option<T> {
    let mut reader = Reader::on(context, node, site);
    if let Source::Nothing = reader.source {
        return None;
    }
    let value = read(&mut reader);
    reader.finish();
    Some(value)
}

/// The JSON Schema of what a reading function asks for.
pub(crate) fn schema_of<T>(read: ReadTable<T>) -> Json {
    let context = Context::default();
    let mut reader = Reader::describing(&context);
    read(&mut reader);
    reader.finish().into_schema()
}
