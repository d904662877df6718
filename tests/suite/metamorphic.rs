//! What a change of the question must do to the answer, whatever the answer is.
//!
//! A scenario told in another unit, in other names, in another order, at other prices or for
//! longer has an answer that follows from the first one. No theory is needed for it, so it holds
//! for every engine and policy at once. Each module says why its relation must hold, and shows that
//! a scenario changed by a little more is told apart.

mod clock;
mod laws;
mod money;
mod names;
mod prefix;
