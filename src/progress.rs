//! A progress bar on a terminal, and Ctrl-C that keeps what is finished.

use experiments::{Phase, Progress};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(250);
/// From when after the first signal another one is meant.
const AGAIN: Duration = Duration::from_secs(1);
/// What is shown before the first batch.
const BEFORE: &str = "starting, {elapsed}";
/// What is shown from then on.
const WITHIN: &str = "{msg} {bar:30} {pos}/{len} replications, {elapsed}{left}";

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
        // Before the first batch is announced nobody knows how many replications there will be.
        let bar = ProgressBar::no_length();
        set_style(&bar, BEFORE);
        bar.enable_steady_tick(TICK);
        Bar { bar }
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            // The bar is a comfort: what could not be written is left out.
            let _ = out.write_str(&left(state.pos(), state.eta()));
        }));
    }
}

/// The time left, once a first replication says how long one takes.
fn left(done: u64, eta: Duration) -> String {
    if done == 0 { String::new() } else { format!(", {} left", HumanDuration(eta)) }
}

impl Progress for Bar {
    fn batch(&self, phase: Phase, replications: u32, most: u32) {
        let what = match phase {
            Phase::Pilot => "warm-up",
            Phase::Measure if replications < most => "until precise",
            Phase::Measure => "simulating",
            Phase::Calibration => "with the calibration's error",
            Phase::Search => "searching",
        };
        set_style(&self.bar, WITHIN);
        self.bar.set_message(what);
        self.bar.set_length(self.bar.position() + u64::from(replications));
    }

    fn finished(&self, _: Phase) {
        self.bar.inc(1);
    }
}

/// What is shown while cells of an experiment are measured.
const CELLS: &str = "{bar:30} {pos}/{len} cells, {elapsed}; {msg}";

/// A bar over the cells of an experiment.
pub(crate) struct CellBar {
    bar: ProgressBar,
}

impl CellBar {
    /// A hidden bar when `quiet` or when nobody looks.
    pub(crate) fn new(quiet: bool) -> CellBar {
        if quiet || !std::io::stderr().is_terminal() {
            return CellBar { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new(0);
        set_style(&bar, CELLS);
        bar.enable_steady_tick(TICK);
        CellBar { bar }
    }

    /// So many cells are behind us, and this is the one under way.
    pub(crate) fn at(&self, done: usize, cells: usize, what: String) {
        self.bar.set_length(cells as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(what);
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
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
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let handler = || {
            let first = FIRST.get_or_init(Instant::now);
            if FLAG.swap(true, Ordering::SeqCst) {
                // Who ends a group of processes, as `timeout` does, signals some of them twice.
                if first.elapsed() > AGAIN {
                    exit_now();
                }
                return;
            }
            crate::output::tell!(
                "surgeline: stopping; what is finished is kept (again: stop at once)"
            );
        };
        // Without a handler Ctrl-C simply ends the process, which is the usual behaviour anyway.
        let _ = ctrlc::set_handler(handler);
        &FLAG
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_or_foretold_before_it_is_known() {
        assert!(!BEFORE.contains("{len}") && !BEFORE.contains("{pos}"));
        assert_eq!(left(0, Duration::ZERO), "");
        assert_eq!(left(1, Duration::from_secs(30)), ", 30 seconds left");
        for template in [BEFORE, WITHIN, CELLS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
