//! Compiles the stand-in for NVML with the system's C compiler.
//!
//! Invariants: every library is compiled for one test alone, because its state is the process's;
//! its folder goes away with it.
//!
//! Deliberately absent: a fallback without a C compiler. A test that is skipped says nothing.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a library in it.
pub(crate) struct Fake(PathBuf);

impl Fake {
    /// The library that `fake.c` becomes under these definitions, such as `POWER_RETURNS=3`.
    pub(crate) fn new(definitions: &[&str]) -> Fake {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("surgeline-nvml-{}-{number}", std::process::id());
        let fake = Fake(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&fake.0).expect("a scratch folder");
        let source = fake.0.join("fake.c");
        std::fs::write(&source, include_str!("fake.c")).expect("a scratch file");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(fake.library());
        command.args(definitions.iter().map(|definition| format!("-D{definition}")));
        let output = command.arg(&source).output();
        let output = output.unwrap_or_else(|error| panic!("tests need a C compiler: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fake
    }

    /// Where it is.
    pub(crate) fn library(&self) -> PathBuf {
        self.0.join("libnvidia-ml.so.1")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
