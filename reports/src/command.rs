//! Commands that repeat a result, to be copied into a shell.
//!
//! Deliberately absent: which overrides those are.

use std::borrow::Cow;

/// How a scenario was named on the command line, and how it was to be run.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Path or name of the scenario.
    pub scenario: String,
    /// Path or name of the policy instead of the scenario's own.
    pub policy: Option<String>,
    /// Seed instead of the scenario's own.
    pub seed: Option<u64>,
    /// Replications instead of the scenario's own.
    pub replications: Option<u32>,
}

impl Named {
    /// `surgeline run` of it with overrides.
    #[must_use]
    pub fn run(&self, changes: &[String]) -> String {
        self.command("run", changes, &[])
    }

    /// Another command of it, with options of its own.
    #[must_use]
    pub fn command(&self, verb: &str, changes: &[String], options: &[(&str, String)]) -> String {
        let policy = self.policy.iter().map(|policy| format!("--policy {}", quoted(policy)));
        let mut all = vec![format!("surgeline {verb}"), quoted(&self.scenario).into_owned()];
        all.extend(policy);
        if !changes.is_empty() {
            all.push(set_text(changes));
        }
        all.extend(options.iter().map(|(option, value)| format!("{option} {}", quoted(value))));
        all.extend(self.seed.map(|seed| format!("--seed {seed}")));
        all.extend(self.replications.map(|n| format!("--replications {n}")));
        all.join(" ")
    }
}

/// Overrides as a command line has them.
#[must_use]
pub fn set_text(changes: &[String]) -> String {
    let set = changes.iter().map(|change| format!("--set {}", quoted(change)));
    set.collect::<Vec<_>>().join(" ")
}

/// A word for a POSIX shell. One with a NUL, which no shell takes, is left as it is.
#[must_use]
pub fn quoted(word: &str) -> Cow<'_, str> {
    // `shlex` quotes `=`, which is plain in the middle of a word.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_written() {
        let policy = Some("it's.toml".into());
        let named = Named { scenario: "a b.toml".into(), policy, ..Named::default() };
        let changes = ["models.a.served_by=[\"x\", \"y\"]".to_owned(), "a.b=1".to_owned()];
        let command = named.run(&changes);
        let words = shlex::split(&command).expect("a command");
        let expected = ["surgeline", "run", "a b.toml", "--policy", "it's.toml"];
        assert_eq!(words[..5], expected);
        assert_eq!(words[5..], ["--set", &changes[0], "--set", &changes[1]]);
        assert!(command.ends_with("--set a.b=1"), "plain words stay plain: {command}");
        let named = Named { scenario: "a".into(), ..Named::default() };
        assert_eq!(named.run(&[]), "surgeline run a");
        let named = Named { seed: Some(3), replications: Some(9), ..named };
        assert_eq!(
            named.run(&["a.b=1".to_owned()]),
            "surgeline run a --set a.b=1 --seed 3 --replications 9"
        );
    }
}
