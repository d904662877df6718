//! The schema says what the reader accepts.

use crate::support::{DESK, SMALL};
use scenarios::{SchemaKind, library, schema};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Whether the schema admits a TOML value, as far as keys, choices and types go.
fn admits(schema: &Value, value: &toml::Value) -> bool {
    if schema.as_object().is_some_and(serde_json::Map::is_empty) {
        return true;
    }
    if let Some(to) = schema["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
        let whole = scenarios::schema(SchemaKind::Scenario);
        return admits(whole.pointer(to).expect("it is there"), value);
    }
    for list in ["oneOf", "anyOf"] {
        if let Some(variants) = schema[list].as_array() {
            return variants.iter().any(|variant| admits(variant, value));
        }
    }
    if let Some(choices) = schema["enum"].as_array() {
        return choices.iter().any(|choice| choice.as_str() == value.as_str());
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), toml::Value::Table(table)) => {
            let known = |key: &String, below: &toml::Value| {
                let property = &schema["properties"][key.as_str()];
                let other = &schema["additionalProperties"];
                if property.is_object() { admits(property, below) } else { admits(other, below) }
            };
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            table.iter().all(|(key, below)| known(key, below))
                && required.iter().all(|key| key.as_str().is_some_and(|k| table.contains_key(k)))
        }
        (Some("array"), toml::Value::Array(items)) => {
            let pair = schema["items"].is_array();
            pair || items.iter().all(|item| admits(&schema["items"], item))
        }
        (Some("string"), toml::Value::String(_)) => true,
        (Some("integer" | "number"), toml::Value::Integer(_)) => true,
        (Some("number"), toml::Value::Float(_)) => true,
        (Some("boolean"), toml::Value::Boolean(_)) => true,
        _ => false,
    }
}

/// The crate's folder.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shipped schemas are what the program prints; `surgeline schema scenario >
/// scenarios/schema/scenario.json` writes them anew, and likewise for `policy`.
#[test]
fn the_shipped_schemas_are_current() {
    for (kind, name) in [(SchemaKind::Scenario, "scenario"), (SchemaKind::Policy, "policy")] {
        let path = here("schema").join(format!("{name}.json"));
        let shipped = std::fs::read_to_string(&path).expect("the schema is there");
        let current = shipped == format!("{:#}\n", schema(kind));
        assert!(current, "surgeline schema {name} > scenarios/schema/{name}.json");
    }
}

/// Editors find the schema of every shipped file by its first line.
#[test]
fn every_shipped_file_names_its_schema() {
    let mut seen = 0;
    for (folder, schema) in [("library", "scenario.json"), ("library/policies", "policy.json")] {
        let Ok(entries) = std::fs::read_dir(here(folder)) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a text");
            let first = text.lines().next().unwrap_or_default();
            let named = first.strip_prefix("#:schema ").map(|to| here(folder).join(to));
            let wanted = here("schema").join(schema).canonicalize().expect("the schema is there");
            let found = named.and_then(|to| to.canonicalize().ok());
            assert_eq!(found, Some(wanted), "{}: {first}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= library::all().len(), "{seen}");
}

#[test]
fn the_schema_admits_every_shipped_scenario() {
    let schema = schema(SchemaKind::Scenario);
    let texts = library::all().iter().map(|shipped| (shipped.name, shipped.text));
    for (name, text) in texts.chain([("small", SMALL), ("desk", DESK)]) {
        let value: toml::Value = toml::from_str(text).expect("TOML");
        assert!(admits(&schema, &value), "{name}");
    }
    let wrong: toml::Value = toml::from_str("[scenario]\nhorizn = \"1h\"").expect("TOML");
    assert!(!admits(&schema, &wrong));
}

#[test]
fn the_schema_of_policies_admits_a_policy_and_nothing_of_the_world() {
    let schema = schema(SchemaKind::Policy);
    let policy: toml::Value = toml::from_str(crate::pseudo_config::POLICY).expect("TOML");
    assert!(admits(&schema, &policy));
    for wrong in [
        "[plans.a]\nper_month = \"$1\"",
        "[routing]\ndefault = \"small\"",
        "[budgets.chat]\non_exceeded = [\"smaller\"]",
        "[retries]\nbackoff = { kind = \"uniform\" }",
    ] {
        let wrong: toml::Value = toml::from_str(wrong).expect("TOML");
        assert!(!admits(&schema, &wrong), "{wrong}");
    }
}

/// Every object of the schema is closed, every key has a sentence.
fn closed_and_documented(schema: &Value, path: &str) {
    for list in ["oneOf", "anyOf"] {
        for variant in schema[list].as_array().into_iter().flatten() {
            closed_and_documented(variant, path);
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        assert!(!schema["additionalProperties"].is_null(), "{path} is open");
        for (key, below) in properties {
            let path = format!("{path}.{key}");
            assert!(below["description"].is_string(), "{path} has no description");
            closed_and_documented(below, &path);
        }
    }
    for inner in ["additionalProperties", "items"] {
        if schema[inner].is_object() {
            closed_and_documented(&schema[inner], path);
        }
    }
}

#[test]
fn every_key_is_documented() {
    for kind in [SchemaKind::Scenario, SchemaKind::Policy] {
        let schema = schema(kind);
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        closed_and_documented(&schema, "");
    }
}
