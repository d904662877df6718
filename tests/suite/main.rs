//! The test suite: everything that needs more than one module, or the whole program.

mod engines;
mod golden;
mod leap;
