//! The GPU beside a probe, with a stand-in for NVIDIA's library.

use super::server::{Manners, Server};
use super::{Folder, quick};
use crate::nvml::fake::Fake;
use std::path::Path;
use std::process::Command;

/// A small probe with a GPU; code, stdout and stderr.
fn probe(
    server: &Server,
    folder: &Folder,
    library: &Path,
    more: &str,
) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surgeline"));
    command.args(["calibrate", "probe", "--model", "m", "--url", &server.url()]);
    command.args("--inputs 16,32 --outputs 4 --concurrency 1,2 --cached-percent 0".split(' '));
    command.args(["--gpu-every", "10ms"]).args(more.split_whitespace());
    command.arg("--out").arg(&folder.0).arg("--lib").arg(library).env_remove("OPENAI_API_KEY");
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_gpu_is_sampled_beside_every_session() {
    let server = Server::start(quick(), Manners::default());
    let fake = Fake::new(&["THROTTLE_BITS=0x4"]);
    let folder = Folder::new("gpu");
    let first = probe(&server, &folder, &fake.library(), "--gpu 0 --max-requests 12");
    let (code, out, err) = first;
    assert_eq!(code, Some(0), "{out}{err}");
    for said in ["NVIDIA H100", "400 W mean", "Energy per token", "power cap 100.0 %", "gpu.csv"] {
        assert!(out.contains(said), "{said}\nis not in\n{out}");
    }
    let read = |name: &str| {
        let bytes = std::fs::read(folder.0.join(name)).expect("a file");
        calibrate::nvml::read_csv(&bytes[..]).expect("a profile")
    };
    let sampled = read("gpu.csv");
    assert!(sampled.samples.len() > 1 && sampled.facts.index == Some(0));
    // The next session keeps it and has one of its own.
    let (code, out, err) =
        probe(&server, &folder, &fake.library(), "--gpu GPU-1111 --resume --max-requests 12");
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(read("gpu.csv"), sampled);
    assert_eq!(read("gpu-2.csv").facts.uuid.as_deref(), Some("GPU-1111"));
}

#[test]
fn without_a_gpu_nothing_is_sent() {
    let server = Server::start(quick(), Manners::default());
    let fake = Fake::new(&[]);
    let folder = Folder::new("no-gpu");
    for (library, gpu, said) in [
        (Path::new("/nowhere/libnvidia-ml.so.1"), "--gpu 0", "cannot be loaded"),
        (&fake.library(), "--gpu 7", "there is no GPU 7; NVML finds: 0 (NVIDIA H100"),
        (&fake.library(), "--gpu first", "an index such as 0, or a UUID"),
        (&fake.library(), "", "--gpu"),
    ] {
        let (code, out, err) = probe(&server, &folder, library, gpu);
        assert_eq!(code, Some(2), "{gpu}: {out}{err}");
        assert!(err.contains(said) && out.is_empty(), "{gpu}: {err}");
    }
    assert_eq!(server.requests(), 0);
    assert!(!folder.0.exists(), "no folder is left of what was not begun");
}
