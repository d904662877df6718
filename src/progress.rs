//! A progress bar on a terminal, and Ctrl-C that keeps what is finished.

use experiments::{Phase, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A bar on stderr, if that is a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A hidden bar when `quiet` or when nobody looks.
    pub(crate) fn new(quiet: bool) -> Bar {
        if quiet || !std::io::stderr().is_terminal() {
            return Bar { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::no_length();
        let template = "{msg} {bar:30} {pos}/{len} replications, {elapsed}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Bar { bar }
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn batch(&self, phase: Phase, replications: u32, most: u32) {
        let what = match phase {
            Phase::Pilot => "warm-up",
            Phase::Measure if replications < most => "until precise",
            Phase::Measure => "simulating",
        };
        self.bar.set_message(what);
        self.bar.set_length(self.bar.position() + u64::from(replications));
    }

    fn finished(&self, _: Phase) {
        self.bar.inc(1);
    }
}

static STOP: OnceLock<&'static AtomicBool> = OnceLock::new();

#[expect(clippy::disallowed_methods, reason = "whoever asks twice wants out at once")]
fn exit_now() {
    std::process::exit(130);
}

/// A flag that the first Ctrl-C sets; the second one ends the process at once.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    STOP.get_or_init(|| {
        static FLAG: AtomicBool = AtomicBool::new(false);
        let handler = || {
            if FLAG.swap(true, Ordering::SeqCst) {
                exit_now();
            }
            eprintln!("surgeline: stopping; finished replications are kept (again: stop at once)");
        };
        // Without a handler Ctrl-C simply ends the process, which is the usual behaviour anyway.
        let _ = ctrlc::set_handler(handler);
        &FLAG
    })
}
