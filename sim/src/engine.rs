//! One serving engine.

mod content;
mod sequence;
mod spec;
mod step_time;
pub mod reference;

pub use content::{Segment, Segments};
pub use sequence::{EndReason, Ended, EngineCounts, Submission};
pub use spec::{EngineSpec, SchedulingPolicy};
pub use step_time::{DecodePace, StepTime, StepTimeError, Work};

pub use reference::ReferenceReplica as Replica;
