//! What the times of a pool rest on: the shipped coefficients or a calibration file of the user's.
//!
//! Invariants: a file that cannot be used is a problem, never passed over; what of an engine was not
//! measured is said.
//!
//! Deliberately absent: the choice of coefficients (see `calibrate::trust`).

use super::Resolver;
use crate::file::PoolFile;
use crate::load::{hex, read_text};
use crate::problem::{At, Problem, ProblemKind};
use crate::quantity::show_span;
use crate::resolved::{Origin, PoolCalibration, TimeSpread};
use calibrate::Calibration;
use calibrate::fitted::{Fitted, FittedError, shipped};
use sha2::{Digest, Sha256};
use sim::fleet::HostTime;
use sim::units::Span;
use std::borrow::Cow;

impl Resolver<'_> {
    /// The calibration that a pool is to use.
    pub(super) fn fitted(&self, file: &PoolFile) -> Option<Cow<'static, Fitted>> {
        let Some(named) = &file.calibration_file else {
            let shipped = shipped().map_err(|error| {
                self.refuse(ProblemKind::File, &file.site, error.to_string());
            });
            return shipped.ok().map(Cow::Borrowed);
        };
        let read = self
            .files
            .inside(&named.value)
            .map_err(|message| {
                let problem = Problem::new(ProblemKind::File, &named.site, message);
                match self.files.hint(&named.value) {
                    Some(help) => problem.help(help),
                    None => problem,
                }
            })
            .and_then(|path| read_text(&path, &named.site))
            .and_then(|text| {
                let fitted = Fitted::read(&text).map_err(|error| unusable(named, &error))?;
                Ok((fitted, text))
            });
        match read {
            Ok((fitted, text)) => {
                let hash = hex(&Sha256::digest(&text));
                let how = format!("the file's own, of {}", fitted.as_of);
                let key = format!("{}.calibration_sha256", file.site.key);
                self.note(key, hash, Origin::Derived(how));
                Some(Cow::Owned(fitted))
            }
            Err(problem) => {
                self.push(problem);
                None
            }
        }
    }

    /// Says what the times of a pool rest on.
    pub(super) fn note_calibration(&self, file: &PoolFile, calibrated: &Calibration) {
        let trust = &calibrated.trust;
        let key = |key: &str| format!("{}.{key}", file.site.key);
        let (source, as_of) = &calibrated.kernels;
        let what = match calibrated.error {
            Some(_) => "kernel tables",
            None => "peaks of the GPU",
        };
        let origin = Origin::Catalogue(format!("{source}, {as_of}"));
        self.note(key("step_time"), what.to_owned(), origin);
        if !trust.listing.is_empty() {
            let how = format!("{}; {}, fitted {}", trust.label, trust.source, trust.as_of);
            let origin = Origin::Catalogue(how);
            self.note(key("step_time.coefficients"), trust.listing.clone(), origin);
        }
        // Of the shipped coefficients the label says as much.
        if let Some(named) = &file.calibration_file {
            trust.doubts.iter().for_each(|doubt| self.warn(&named.site, doubt.clone()));
        }
    }

    /// What requests of a pool take on the host: as written, or else `calibrated`.
    pub(super) fn host(&self, file: &PoolFile, calibrated: Option<&Calibration>) -> HostTime {
        if let Some(written) = &file.request_overhead {
            return HostTime { request: written.value, prompt_token: Span::ZERO };
        }
        let Some(calibrated) = calibrated else { return HostTime::NONE };
        let host = calibrated.host;
        let origin = Origin::Catalogue(format!("coefficients of {}", calibrated.trust.as_of));
        let value = format!(
            "{} and {} a prompt token",
            show_span(host.request),
            show_span(host.prompt_token)
        );
        self.note(format!("{}.request_overhead", file.site.key), value, origin);
        host
    }
}

impl PoolCalibration {
    /// Of times that the scenario states.
    pub(super) fn written() -> PoolCalibration {
        PoolCalibration { label: "written in the scenario".to_owned(), spread: None }
    }

    /// Of times that a calibration gives.
    pub(super) fn of(calibrated: &Calibration, file: &PoolFile) -> PoolCalibration {
        let trust = &calibrated.trust;
        let spread = TimeSpread {
            group: trust.group.clone(),
            iteration: trust.spread.tpot,
            first_token: trust.spread.ttft,
            host_is_stated: file.request_overhead.is_some(),
        };
        PoolCalibration { label: trust.label.clone(), spread: Some(spread) }
    }
}

fn unusable(named: &At<String>, error: &FittedError) -> Problem {
    let message = format!("this is no calibration file: {error}");
    let problem = Problem::new(ProblemKind::File, &named.site, message);
    problem.help("`surgeline calibrate fit` writes one")
}
