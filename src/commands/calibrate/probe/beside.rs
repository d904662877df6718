//! The GPU, sampled beside a probe.
//!
//! Invariants: what cannot be sampled is an error before the first request is sent; what was
//! sampled is written whatever came of the probe.
//!
//! Deliberately absent: other machines. NVML sees the GPUs of the machine that the probe runs on.

use super::nvml;
use crate::error::Error;
use crate::output;
use calibrate::nvml::{Ended, GpuChoice, Options, Sampler, write_csv};
use calibrate::probe::read_probe;
use reports::gpu_profile;
use sim::units::Span;
use std::path::{Path, PathBuf};

/// A sampling under way, or none.
pub(super) struct Beside(Option<Sampler>);

impl Beside {
    /// Starts to sample, if a GPU was named.
    pub(super) fn start(
        gpu: Option<&GpuChoice>,
        every: Span,
        library: Option<&Path>,
    ) -> Result<Beside, Error> {
        let Some(gpu) = gpu else { return Ok(Beside(None)) };
        let library = library.map(Path::to_path_buf);
        let options = Options { library, gpu: gpu.clone(), every, length: None };
        Ok(Beside(Some(nvml::start(&options)?)))
    }

    /// Ends it, writes the samples into the folder of the probe and says what they come to.
    pub(super) fn finish(self, folder: &Path) -> Result<String, Error> {
        let Some(sampler) = self.0 else { return Ok(String::new()) };
        let profile = sampler.stop();
        let (session, tokens) = session(folder)?;
        let path = file(folder, session);
        let mut bytes = Vec::new();
        write_csv(&profile, &mut bytes).map_err(|error| Error::Bug(error.to_string()))?;
        output::write_bytes(&path, &bytes)?;
        if let Ended::Lost(why) = &profile.ended {
            let kept = profile.samples.len();
            crate::output::tell!("surgeline: the GPU was lost, {kept} samples are kept: {why}");
        }
        let summary = profile.summary(tokens);
        Ok(format!(
            "\n{}samples in {}\n",
            gpu_profile::text(&profile, &summary, None),
            path.display()
        ))
    }
}

/// A session's own file: those of earlier ones stay.
fn file(folder: &Path, session: u32) -> PathBuf {
    match session {
        1 => folder.join("gpu.csv"),
        later => folder.join(format!("gpu-{later}.csv")),
    }
}

/// The number of the session that just ended, and the answer tokens it got.
fn session(folder: &Path) -> Result<(u32, Option<u64>), Error> {
    let (record, _, requests) =
        read_probe(folder).map_err(|error| Error::Usage(error.to_string()))?;
    let session = record.sessions.last().map_or(1, |session| session.number);
    let of_session = requests.iter().filter(|row| row.session == session);
    let tokens: u64 = of_session.filter_map(|row| row.output_tokens).map(u64::from).sum();
    Ok((session, (tokens > 0).then_some(tokens)))
}
