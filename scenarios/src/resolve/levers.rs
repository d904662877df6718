//! What may be changed: levers as written, and the factor of each source of traffic.
//!
//! Invariants: a key path names the place where a value stands, or where it would have to be
//! written to count.
//!
//! Deliberately absent: whether a lever's key is there (see `load`, which has the documents).

use super::Resolver;
use crate::document::path_text;
use crate::file::TrafficFile;
use crate::levers::{MOST_IN_ALL, lever_key};
use crate::problem::{At, ProblemKind};
use crate::resolved::{Lever, Traffic};
use sim::workload::ScaleHow;

impl Resolver<'_> {
    /// The levers, their ranges spread out.
    pub(super) fn levers(&self) -> Vec<Lever> {
        let mut left = MOST_IN_ALL;
        let mut levers = Vec::new();
        for (keys, values) in &self.file.levers {
            let site = &values.site;
            let Some(rest) = left.checked_sub(values.value.count()) else {
                let message = format!("more than {MOST_IN_ALL} values of all levers together");
                self.refuse(ProblemKind::BadValue, site, message);
                break;
            };
            left = rest;
            match lever_key(keys) {
                Ok(key) => {
                    levers.push(Lever { key, values: values.value.spread(), site: site.clone() });
                }
                Err(message) => self.refuse(ProblemKind::Conflict, site, message),
            }
        }
        levers
    }

    /// The factor of each source, in the order of the file.
    pub(super) fn traffic_factors(&self) -> Vec<Traffic> {
        self.file.traffic.iter().map(|(name, file)| traffic_factor(&name.value, file)).collect()
    }
}

fn traffic_factor(name: &str, file: &TrafficFile) -> Traffic {
    let (trace, mix) = (file.trace.as_ref(), file.mix.as_ref());
    let inside = if trace.is_some() { "trace" } else { "clients" };
    let inner = trace.and_then(|t| t.scale.as_ref()).or(mix.and_then(|m| m.scale.as_ref()));
    let inner_how = trace.and_then(|t| t.how.as_ref()).or(mix.and_then(|m| m.how.as_ref()));
    let path = |inner: bool, key: &str| {
        let middle = if inner { vec![inside] } else { Vec::new() };
        let keys = ["traffic", name].into_iter().chain(middle).chain([key]);
        path_text(&keys.map(str::to_owned).collect::<Vec<_>>())
    };
    let value = |at: &At<f64>| at.value;
    Traffic {
        name: name.to_owned(),
        factor: inner.or(file.scale.as_ref()).map_or(1.0, value),
        how: inner_how.or(file.how.as_ref()).map_or(ScaleHow::MoreUsers, |how| how.value),
        key: path(inner.is_some(), "scale"),
        how_key: path(inner_how.is_some(), "how"),
    }
}
