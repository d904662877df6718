//! Tables whose keys are names the user chose and whose values are not tables.
//!
//! Invariants: as those of [`Reader::named`]: a name that cannot be one is reported, and no more
//! than the allowed number is read.

use super::{MOST_ITEMS, ReadTable, Reader, read_table, schema_of};
use crate::document::{Node, Value};
use crate::kinds::Kind;
use crate::problem::{At, Problem, ProblemKind, Site, join};
use serde_json::{Value as Json, json};

/// An item of a list that may be written as a scalar or as a table.
pub(crate) type Either<K, T> = Result<At<<K as Kind>::Value>, T>;

/// Things by the names the user chose, in the order of the file.
pub(crate) type Named<T> = Vec<(At<String>, T)>;

impl<'a> Reader<'a> {
    /// A table of values of one kind.
    pub(crate) fn named_values<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Named<At<K::Value>> {
        let schema = || json!({"type": "object", "additionalProperties": kind.schema()});
        self.describe(key, schema, doc, None);
        let entries = self.names(key);
        let value = |(name, node): (At<String>, &Node)| {
            let value = self.read(&kind, node, value_site(&name, node))?;
            Some((name, value))
        };
        entries.into_iter().filter_map(value).collect()
    }

    /// A table of lists whose items are scalars or tables.
    pub(crate) fn named_lists<K: Kind, T>(
        &mut self,
        key: &'static str,
        kind: K,
        read: ReadTable<T>,
        doc: &str,
    ) -> Named<Vec<Either<K, T>>> {
        let schema = || json!({"type": "object", "additionalProperties": list_of(&kind, read)});
        self.describe(key, schema, doc, None);
        let entries = self.names(key);
        let list = |(name, node): (At<String>, &'a Node)| {
            let items = self.items_of(node, &value_site(&name, node));
            (name, self.each(&kind, read, items))
        };
        entries.into_iter().map(list).collect()
    }

    fn each<K: Kind, T>(
        &self,
        kind: &K,
        read: ReadTable<T>,
        items: Vec<(&'a Node, Site)>,
    ) -> Vec<Either<K, T>> {
        let item = |(node, site): (&Node, Site)| match &node.value {
            Value::Table(_) => read_table(self.context, node, site, read).map(Err),
            _ => self.read(kind, node, site).map(Ok),
        };
        items.into_iter().filter_map(item).collect()
    }

    /// All `key.path = value` leaves of a table whose keys are free, however deep they stand.
    pub(crate) fn paths<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Vec<(Vec<String>, At<K::Value>)> {
        let schema = || {
            let below = json!({"$ref": format!("#/properties/{key}")});
            json!({"type": "object",
                "additionalProperties": {"anyOf": [kind.schema(), below]}})
        };
        self.describe(key, schema, doc, None);
        self.all_leaves(key, &kind)
    }

    /// The keys below `key` that lead to each value that is not a table, and the value.
    pub(super) fn all_leaves<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
    ) -> Vec<(Vec<String>, At<K::Value>)> {
        let Some((node, site)) = self.node(key) else { return Vec::new() };
        let mut found = Vec::new();
        self.collect_leaves(kind, node, site, &[], &mut found);
        found
    }

    fn collect_leaves<K: Kind>(
        &self,
        kind: &K,
        node: &Node,
        site: Site,
        path: &[String],
        found: &mut Vec<(Vec<String>, At<K::Value>)>,
    ) {
        let Value::Table(table) = &node.value else {
            found.extend(self.read(kind, node, site).map(|value| (path.to_vec(), value)));
            return;
        };
        for entry in table.entries.iter().take(MOST_ITEMS) {
            let below = [path, std::slice::from_ref(&entry.key)].concat();
            let site = Site { place: entry.place.clone(), key: join(&site.key, &entry.key) };
            self.collect_leaves(kind, &entry.node, site, &below, found);
        }
    }

    /// The entries of a table, whose keys have to be names.
    pub(super) fn names(&mut self, key: &'static str) -> Vec<(At<String>, &'a Node)> {
        let Some((node, site)) = self.node(key) else { return Vec::new() };
        let Value::Table(table) = &node.value else {
            let message = format!("expected a table, found {}", node.value.kind());
            self.context.sink.push(Problem::new(ProblemKind::WrongType, &site, message));
            return Vec::new();
        };
        if table.entries.len() > MOST_ITEMS {
            let message = format!("more than {MOST_ITEMS} names");
            self.context.sink.push(Problem::new(ProblemKind::BadValue, &site, message));
        }
        let entry = |entry: &'a crate::document::Entry| {
            let site = Site { place: entry.place.clone(), key: join(&site.key, &entry.key) };
            if !crate::file::is_name(&entry.key) {
                let message = "a name has 1 to 100 letters, digits, `-`, `_`, `.` or `/`";
                self.context.sink.push(Problem::new(ProblemKind::BadValue, &site, message));
            }
            (At { value: entry.key.clone(), site }, &entry.node)
        };
        table.entries.iter().take(MOST_ITEMS).map(entry).collect()
    }
}

/// Where the value of a name stands.
fn value_site(name: &At<String>, node: &Node) -> Site {
    Site { place: node.place.clone(), key: name.site.key.clone() }
}

fn list_of<K: Kind, T>(kind: &K, read: ReadTable<T>) -> Json {
    let items = json!({"anyOf": [kind.schema(), schema_of(read)]});
    json!({"type": "array", "items": items, "maxItems": MOST_ITEMS})
}
