//! A scenario with its overrides and its policy written into one text.
//!
//! Invariants: what is returned resolves, without overrides, to the same inputs of the simulator and
//! the same plan; comments stay where they were.
//!
//! Deliberately absent: recorded data, which the text goes on to name; where the text is kept.

use crate::document::path_of;
use crate::file::POLICY_KEYS;
use crate::load::Blueprint;
use crate::problem::{Problem, ProblemKind, Problems, Site};
use toml_edit::{DocumentMut, Item, Value};

/// Why one text cannot say it.
const CANNOT: &str = "the scenario, its policy and its overrides cannot be written as one file; \
                      repeat the overrides on the command line instead";

impl Blueprint {
    /// One text that says what this scenario says with some values changed: `KEY=VALUE` each, as
    /// [`Blueprint::resolve`] takes them.
    ///
    /// # Errors
    /// Those of [`Blueprint::resolve`]; a policy that has values before its first table, which would
    /// belong to another table behind the scenario.
    pub fn standalone(&self, overrides: &[String]) -> Result<String, Problems> {
        let meant = self.resolve(overrides)?;
        let refuse = || {
            let site = Site { place: self.start(), key: String::new() };
            Problems::from(Problem::new(ProblemKind::Conflict, &site, CANNOT))
        };
        let text = self.written(overrides).ok_or_else(refuse)?;
        let said = Blueprint::of_text(self.name(), &text).with_folder_of(self).resolve(&[])?;
        let is_same = said.scenario == meant.scenario && said.plan == meant.plan;
        if is_same { Ok(text) } else { Err(refuse()) }
    }

    fn written(&self, overrides: &[String]) -> Option<String> {
        let mut scenario: DocumentMut = self.text().parse().ok()?;
        let mut policy = match self.policy_text(overrides) {
            Some(text) => Some(text.parse::<DocumentMut>().ok()?),
            None => None,
        };
        for change in overrides {
            let (path, value) = change.split_once('=')?;
            let keys = path_of(path)?;
            let first = keys.first()?.as_str();
            let target = policy.as_mut().filter(|_| POLICY_KEYS.contains(&first));
            put(target.unwrap_or(&mut scenario), &keys, value.trim())?;
        }
        let Some(policy) = policy else { return Some(without_schema(&scenario.to_string())) };
        // A comment in front of the key would be lost with it, and stands for what follows as well.
        let comment = scenario.key("policy").and_then(|key| key.leaf_decor().prefix()?.as_str());
        let comment = comment.unwrap_or_default().to_owned();
        scenario.remove("policy");
        let (scenario, policy) = (scenario.to_string(), policy.to_string());
        Some(without_schema(&format!("{comment}{scenario}\n{policy}")))
    }
}

/// Replaces or adds a value; `None` where there is no such place.
fn put(root: &mut DocumentMut, keys: &[String], value: &str) -> Option<()> {
    let mut item = root.as_item_mut();
    for key in keys {
        let is_list = item.is_array() || item.is_array_of_tables();
        item = if is_list { item.get_mut(key.parse::<usize>().ok()?)? } else { item.get_mut(key)? };
    }
    // As overrides are read: what is no value of TOML, or a date, is a string.
    let parsed = value.parse::<Value>().ok().filter(|value| !value.is_datetime());
    let mut value = parsed.unwrap_or_else(|| Value::from(value));
    if let Some(old) = item.as_value() {
        *value.decor_mut() = old.decor().clone();
    }
    *item = Item::Value(value);
    Some(())
}

/// Lines that name a schema by a path lead nowhere from another folder.
fn without_schema(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("#:schema"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use crate::library;
    use crate::{Blueprint, load_str};

    #[test]
    fn every_shipped_scenario_can_be_written_as_one_file() {
        for shipped in library::all() {
            let blueprint = Blueprint::shipped(shipped, None).expect("no policy to be read");
            let text = blueprint.standalone(&[]).unwrap_or_else(|all| panic!("{all}"));
            let said = load_str("one.toml", &text, &[]).unwrap_or_else(|all| panic!("{all}"));
            let meant = blueprint.resolve(&[]).expect("it is valid");
            assert_eq!(said.scenario, meant.scenario, "{}", shipped.name);
            assert!(text.contains(shipped.question()), "comments stay");
        }
    }

    #[test]
    fn overrides_of_the_scenario_and_of_its_policy_stand_in_the_file() {
        let shipped = library::find("support-reply").expect("it is shipped");
        let blueprint = Blueprint::shipped(shipped, None).expect("no policy to be read");
        let changes = [
            "traffic.tickets.scale=2x",
            "traffic.tickets.arrivals.cv=3",
            "routing.escalate_if.0.condition=intent == 'draft' and confidence < 0.5",
            "caching.semantic_cache.enabled=false",
            "providers.openai-mini.input=$0.3/Mtok",
        ];
        let changes = changes.map(str::to_owned);
        let text = blueprint.standalone(&changes).unwrap_or_else(|all| panic!("{all}"));
        assert!(text.contains("# a release went out"), "{text}");
        assert!(text.contains("confidence < 0.5\""), "{text}");
        let other = ["policy=support-reply.good".to_owned(), "routing.fail_closed=true".to_owned()];
        let text = blueprint.standalone(&other).unwrap_or_else(|all| panic!("{all}"));
        assert!(text.contains("fail_closed = true"), "{text}");
    }

    #[test]
    fn what_does_not_resolve_is_not_written() {
        let wrong = Blueprint::of_text("x.toml", "[scenario]\nhorizon = 3\n").standalone(&[]);
        assert!(wrong.is_err_and(|all| all.to_string().contains("x.toml:2:11")));
    }
}
