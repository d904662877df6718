//! Keys whose value may be written in two ways, and tables of values under free names.
//!
//! Invariants: the way is told by the value's type alone; the schema names both.

use super::{MOST_ITEMS, ReadTable, Reader, read_table, schema_of};
use crate::document::{Node, Value};
use crate::kinds::Kind;
use crate::problem::{At, Site};
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

    /// A table that is of one sort when it holds the key `tag`, and of another when it does not.
    pub(crate) fn table_by<T>(
        &mut self,
        key: &'static str,
        doc: &str,
        tag: &str,
        with: ReadTable<T>,
        without: ReadTable<T>,
    ) -> Option<T> {
        let schema = || json!({"anyOf": [schema_of(without), schema_of(with)]});
        self.describe(key, schema, doc, None);
        let (node, site) = self.node(key)?;
        let tagged = matches!(&node.value, Value::Table(table) if table.get(tag).is_some());
        read_table(self.context, node, site, if tagged { with } else { without })
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
