//! What a folder is a sweep of: whoever goes on with it must mean the same.
//!
//! Invariant: two manifests are equal exactly when their cells are.
//!
//! Deliberately absent: how the cells are shared out, which changes none of them.

use experiments::Sample;
use experiments::sweep::Sweep;
use experiments::sweep::design::Design;
use serde::{Deserialize, Serialize};

/// Name and version of the shape.
const SCHEMA: &str = "surgeline.sweep/1";

/// The file `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    schema: String,
    /// Version of surgeline.
    pub version: String,
    /// Which scenario.
    pub scenario: ScenarioName,
    /// What is varied.
    pub levers: Vec<LeverValues>,
    /// How cells are chosen.
    pub design: DesignName,
    /// Seed of all cells.
    pub seed: u64,
    /// Replications of each cell.
    pub replications: Replications,
    /// How many cells there are.
    pub cells: usize,
}

/// A scenario as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioName {
    /// Its name.
    pub name: String,
    /// SHA-256 of scenario, policy and overrides, in hexadecimal.
    pub sha256: String,
}

/// A lever and its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeverValues {
    /// Key path.
    pub key: String,
    /// Each as an override has it.
    pub values: Vec<String>,
}

/// How cells are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DesignName {
    /// Every combination.
    Grid,
    /// A Latin hypercube.
    Lhs {
        /// Its cells.
        points: u32,
    },
    /// Trajectories of elementary effects.
    Morris {
        /// How many.
        trajectories: u32,
    },
}

/// A number of replications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Replications {
    /// So many.
    Fixed(u32),
    /// `"auto"`: until it is precise.
    Word(String),
}

impl Manifest {
    /// What is swept, by which version of surgeline.
    #[must_use]
    pub fn of(sweep: &Sweep, scenario: ScenarioName, design: Design, version: &str) -> Manifest {
        Manifest {
            schema: SCHEMA.to_owned(),
            version: version.to_owned(),
            scenario,
            levers: (sweep.levers().iter())
                .map(|lever| LeverValues { key: lever.key.clone(), values: lever.values.clone() })
                .collect(),
            design: match design {
                Design::Grid => DesignName::Grid,
                Design::LatinHypercube { points } => DesignName::Lhs { points },
                Design::Morris { trajectories } => DesignName::Morris { trajectories },
            },
            seed: sweep.seed(),
            replications: match sweep.replications() {
                Sample::Fixed(n) => Replications::Fixed(n),
                Sample::Auto => Replications::Word("auto".to_owned()),
            },
            cells: sweep.cells().count(),
        }
    }

    /// The file, with a newline at its end.
    #[must_use]
    pub fn render(&self) -> String {
        crate::json::text(self, true) + "\n"
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Why it is no manifest that this version knows.
    pub fn parse(text: &str) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        let schema: Schema = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if schema.schema != SCHEMA {
            let found = schema.schema;
            return Err(format!("its schema is `{found}`, and this version knows `{SCHEMA}`"));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// What differs from the sweep that is `wanted`, in words.
    #[must_use]
    pub fn differences(&self, wanted: &Manifest) -> Vec<String> {
        let mut all = Vec::new();
        let mut compare = |what: &str, there: String, wanted: String| {
            if there != wanted {
                all.push(format!("{what}: {there} there, {wanted} here"));
            }
        };
        let levers = |of: &Manifest| {
            let lever = |lever: &LeverValues| {
                let (first, count) = (lever.values.first(), lever.values.len());
                let values = match count {
                    0..=8 => lever.values.join(","),
                    _ => format!("{},… ({count} values)", first.map_or("", String::as_str)),
                };
                format!("{}={values}", lever.key)
            };
            of.levers.iter().map(lever).collect::<Vec<_>>().join(" ")
        };
        compare("version of surgeline", self.version.clone(), wanted.version.clone());
        let hash = |of: &Manifest| of.scenario.sha256.clone();
        compare("hash of the scenario, its policy and --set", hash(self), hash(wanted));
        compare("levers", levers(self), levers(wanted));
        compare("design", self.design.words(), wanted.design.words());
        compare("seed", self.seed.to_string(), wanted.seed.to_string());
        compare("replications", self.replications.words(), wanted.replications.words());
        if all.is_empty() && self != wanted {
            all.push("values of the levers".to_owned());
        }
        all
    }
}

impl DesignName {
    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            DesignName::Grid => "grid".to_owned(),
            DesignName::Lhs { points } => format!("Latin hypercube of {points} points"),
            DesignName::Morris { trajectories } => format!("Morris, {trajectories} trajectories"),
        }
    }
}

impl Replications {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Replications::Fixed(n) => n.to_string(),
            Replications::Word(word) => word.clone(),
        }
    }
}
