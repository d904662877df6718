//! One serving engine.

mod spec;
mod step_time;

pub use spec::{EngineSpec, SchedulingPolicy};
pub use step_time::{DecodePace, StepTime, StepTimeError, Work};
