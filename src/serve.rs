//! The local web page: a scenario, sliders, and what they do to spend, cost, p95 and objectives.
//!
//! ```text
//! browser ── guard ── server ──► queue ──► worker threads: answer ── experiments
//!            who may ask   pages, JSON     at most so many at once    lines of JSON as they come, or a page
//! ```
//!
//! Invariants: nothing is simulated on the thread that speaks with browsers; of one session only the
//! latest question is worked on; no text from outside opens a file or leaves the machine; of what was
//! asked the server keeps outcomes of replications for a while, and not who asked.
//!
//! Deliberately absent: accounts, files of its own, and anything the command line cannot do: a
//! slider is an override, an answer is a run.

mod answer;
mod connections;
mod desk;
mod guard;
mod memory;
mod question;
mod queue;
mod report;
mod server;
mod sliders;

pub(crate) use server::{Settings, serve};
