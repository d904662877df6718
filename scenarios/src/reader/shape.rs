//! What a describing reader records, and the JSON Schema it comes to.
//!
//! Deliberately absent: anything about values that were read.

use crate::document::Value;
use crate::problem::shortened;
use serde_json::{Map, Value as Json, json};

/// The keys of one table.
#[derive(Debug, Default)]
pub(super) struct Shape {
    properties: Map<String, Json>,
    /// Keys that have to be there.
    pub(super) required: Vec<&'static str>,
    /// Where a tag decides what else there is: the whole table of each tag.
    pub(super) variants: Vec<Json>,
}

impl Shape {
    /// Records a key.
    pub(super) fn describe(
        &mut self,
        key: &str,
        mut schema: Json,
        doc: &str,
        default: Option<&str>,
    ) {
        if let Json::Object(map) = &mut schema {
            let text = match default {
                Some(default) => format!("{doc} Default: {default}."),
                None => doc.to_owned(),
            };
            map.insert("description".to_owned(), Json::String(text));
        }
        self.properties.insert(key.to_owned(), schema);
    }

    /// The table as JSON Schema; nothing but the recorded keys is allowed.
    pub(super) fn into_schema(self) -> Json {
        if !self.variants.is_empty() {
            return json!({"type": "object", "oneOf": self.variants});
        }
        json!({"type": "object", "properties": self.properties, "required": self.required,
            "additionalProperties": false})
    }
}

/// A value as a line of provenance shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => shortened(text),
        Value::Integer(Some(number)) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => other.kind().to_owned(),
    }
}
