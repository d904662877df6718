//! Keys of a policy file, as its schema has them and as a text uses them.
//!
//! A key is a path: `.routing.canary[].share`; a name that the user chooses is `*`, and a value
//! from a fixed list stands behind its path: `.caching.exact.eviction=fifo`.

use scenarios::{SchemaKind, schema};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Every key that the schema of a policy has.
pub(super) fn known() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    list(&schema(SchemaKind::Policy), "", &mut found);
    found
}

/// Keys that a policy writes.
pub(super) fn used(policy: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let schema = schema(SchemaKind::Policy);
    walk(&Value::Table(policy.clone()), &[&schema], "", &mut found);
    found
}

/// A schema and the alternatives inside it.
fn alternatives(schema: &Json) -> Vec<&Json> {
    let mut all = vec![schema];
    for key in ["anyOf", "oneOf", "allOf"] {
        all.extend(schema[key].as_array().into_iter().flatten().flat_map(alternatives));
    }
    all
}

fn list(schema: &Json, path: &str, found: &mut BTreeSet<String>) {
    for schema in alternatives(schema) {
        for word in schema["enum"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            found.insert(format!("{path}={word}"));
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            found.insert(path.clone());
            list(below, &path, found);
        }
        if schema["additionalProperties"].is_object() {
            list(&schema["additionalProperties"], &format!("{path}.*"), found);
        }
        if schema["items"].is_object() {
            list(&schema["items"], &format!("{path}[]"), found);
        }
    }
}

fn walk(value: &Value, schemas: &[&Json], path: &str, found: &mut BTreeSet<String>) {
    let schemas: Vec<&Json> = schemas.iter().flat_map(|schema| alternatives(schema)).collect();
    let below = |key: &str| -> Vec<&Json> {
        schemas.iter().map(|schema| &schema[key]).filter(|below| below.is_object()).collect()
    };
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let known = below("properties");
                let known: Vec<&Json> = known.iter().filter_map(|keys| keys.get(key)).collect();
                if known.is_empty() {
                    walk(value, &below("additionalProperties"), &format!("{path}.*"), found);
                } else {
                    let path = format!("{path}.{key}");
                    found.insert(path.clone());
                    walk(value, &known, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(item, &below("items"), &format!("{path}[]"), found);
            }
        }
        Value::String(word) => {
            let lists = schemas.iter().filter_map(|schema| schema["enum"].as_array()).flatten();
            if lists.into_iter().any(|known| known.as_str() == Some(word)) {
                found.insert(format!("{path}={word}"));
            }
        }
        _ => {}
    }
}
