//! The suite: every test that looks at surgeline from outside, in one binary so that it links once.
//!
//! Unit tests stay beside the code they test. A module here is named after what it defends.

mod cli;
mod conservation;
mod determinism;
mod engines;
mod fuzz;
mod golden;
mod guards;
mod hosted;
mod leap;
mod metamorphic;
mod nvml;
mod oracle;
mod probe;
mod samples;
mod schedulers;
mod score;
mod series;
mod serve;
mod station;
mod support;
mod swarm;
mod synchronised;
mod tasks;
mod theory;
mod tidy;
mod trace;
mod unseen;
