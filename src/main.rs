//! surgeline.
fn main() {}
