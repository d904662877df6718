//! Keys whose value may be written in two ways, and tables of values under free names.
//!
//! Invariants: the way is told by the value's type alone; the schema names both.

use super::{MOST_ITEMS, ReadTable, Reader, read_table, schema_of};
use crate::document::{Node, Value};
use crate::kinds::Kind;
use crate::problem::{At, Problem, ProblemKind, Site, join};
use serde_json::json;

impl Reader<'_> {
    /// A value that is either of a scalar kind or a table.
    pub(crate) fn either<K: Kind, T>(
        &mut self,
        key: &'static str,
        kind: K,
        read: ReadTable<T>,
        doc: &str,
    ) -> Option<Result<At<K::Value>, T>> {
        let schema = || json!({"anyOf": [kind.schema(), schema_of(read)]});
        self.describe(key, schema, doc, None);
        let (node, site) = self.node(key)?;
        match &node.value {
            Value::Table(_) => read_table(self.context, node, site, read).map(Err),
            _ => self.read(&kind, node, site).map(Ok),
        }
    }

    /// A list of tables, or one table of another kind in its place.
    pub(crate) fn list_or_table<T, U>(
        &mut self,
        key: &'static str,
        doc: &str,
        item: ReadTable<T>,
        table: ReadTable<U>,
    ) -> (Vec<T>, Option<U>) {
        let schema = || {
            let list = json!({"type": "array", "items": schema_of(item), "maxItems": MOST_ITEMS});
            json!({"anyOf": [list, schema_of(table)]})
        };
        self.describe(key, schema, doc, None);
        match self.node(key) {
            Some((node, site)) if matches!(node.value, Value::Table(_)) => {
                (Vec::new(), read_table(self.context, node, site, table))
            }
            _ => {
                let context = self.context;
                let read = |(node, site)| read_table(context, node, site, item);
                (self.items(key).into_iter().filter_map(read).collect(), None)
            }
        }
    }

    /// A table of values of one kind whose keys are names the user chose.
    pub(crate) fn named_values<K: Kind>(
        &mut self,
        key: &'static str,
        kind: K,
        doc: &str,
    ) -> Vec<(At<String>, At<K::Value>)> {
        let schema = || json!({"type": "object", "additionalProperties": kind.schema()});
        self.describe(key, schema, doc, None);
        let Some((node, site)) = self.node(key) else { return Vec::new() };
        let Value::Table(table) = &node.value else {
            let message = format!("expected a table, found {}", node.value.kind());
            self.context.sink.push(Problem::new(ProblemKind::WrongType, &site, message));
            return Vec::new();
        };
        if table.entries.len() > MOST_ITEMS {
            let message = format!("more than {MOST_ITEMS} names");
            self.context.sink.push(Problem::new(ProblemKind::BadValue, &site, message));
            return Vec::new();
        }
        let mut all = Vec::new();
        for entry in &table.entries {
            let site = Site { place: entry.node.place.clone(), key: join(&site.key, &entry.key) };
            let name = At { value: entry.key.clone(), site: site.clone() };
            all.extend(self.read(&kind, &entry.node, site).map(|value| (name, value)));
        }
        all
    }

    /// A list whose items are each a scalar or a table.
    pub(crate) fn eithers<K: Kind, T>(
        &mut self,
        key: &'static str,
        kind: K,
        read: ReadTable<T>,
        doc: &str,
    ) -> Vec<Result<At<K::Value>, T>> {
        let schema = || {
            let item = json!({"anyOf": [kind.schema(), schema_of(read)]});
            json!({"type": "array", "items": item, "maxItems": MOST_ITEMS})
        };
        self.describe(key, schema, doc, None);
        let items = self.items(key);
        let context = self.context;
        let item = |(node, site): (&Node, Site)| match &node.value {
            Value::Table(_) => read_table(context, node, site, read).map(Err),
            _ => self.read(&kind, node, site).map(Ok),
        };
        items.into_iter().filter_map(item).collect()
    }
}
