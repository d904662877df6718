//! What a reader should know before using a number, each with what to do about it.

/// One thing to know, with advice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The warm-up found sits at half of the run: what is left is start-up, and times are absent.
    RunTooShort,
    /// The run has too few windows to look for the end of the start-up.
    WarmUpNotJudged,
    /// The backlog grows without bound.
    Unstable,
    /// A disturbance that is over left the system stuck.
    Metastable,
    /// The run is too short to tell whether the backlog grows.
    StabilityNotJudged,
    /// The cap on replications was reached first.
    PrecisionNotReached {
        /// Replications run.
        replications: u32,
        /// What is still too wide, with its relative half-width.
        widest: String,
    },
    /// Stopped from outside; the finished replications count.
    Interrupted {
        /// Replications that count.
        finished: u32,
    },
    /// A limit on what the work may take came first; the finished replications count.
    LimitReached {
        /// Replications that count.
        finished: u32,
        /// Which limit, as it was asked for.
        limit: String,
    },
    /// One replication has no interval.
    SingleReplication,
    /// A task never finished, so it has no latency.
    NothingFinished {
        /// Name of the task.
        task: String,
    },
    /// A quantile needs more values than there are.
    QuantileNotSupported {
        /// Name of the metric, such as `support_reply.p99_latency`.
        metric: String,
        /// Values there are.
        values: u64,
        /// Values needed.
        needed: u64,
    },
    /// Of what a plan includes in a month, little falls into the measured time.
    FewIncluded {
        /// Name of the plan.
        plan: String,
        /// Tasks it includes in a month.
        included: u32,
        /// Those in the measured time.
        allowance: u32,
        /// How long would have to be measured.
        least: String,
    },
    /// Tenants pay by the month, and less than a day of it was measured.
    PartOfADay {
        /// Name of the first such plan.
        plan: String,
    },
    /// Objectives that lie on both sides of their targets within the error of the calibration.
    CalibrationDecides {
        /// Their names.
        objectives: Vec<String>,
    },
    /// With times as slow as the calibration allows the system is overloaded, or stuck.
    OverloadedWithinCalibration,
    /// With times as short as the calibration allows an overloaded system would carry its load.
    CarriedWithinCalibration,
    /// Stopped from outside when all replications were finished and the interval of calibration was
    /// looked for.
    CalibrationInterrupted,
    /// The simulator's own audit found a contradiction: its numbers cannot be trusted.
    AuditFailed {
        /// The replication.
        replication: u32,
        /// The first finding.
        finding: String,
    },
}

impl Warning {
    /// Whether it is about what the error of the calibration may do.
    #[must_use]
    pub fn is_of_calibration(&self) -> bool {
        matches!(
            self,
            Warning::CalibrationDecides { .. }
                | Warning::OverloadedWithinCalibration
                | Warning::CarriedWithinCalibration
                | Warning::CalibrationInterrupted
        )
    }

    /// Stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Warning::RunTooShort => "run-too-short",
            Warning::WarmUpNotJudged => "warm-up-not-judged",
            Warning::Unstable => "unstable",
            Warning::Metastable => "metastable",
            Warning::StabilityNotJudged => "stability-not-judged",
            Warning::PrecisionNotReached { .. } => "precision-not-reached",
            Warning::Interrupted { .. } => "interrupted",
            Warning::LimitReached { .. } => "limit-reached",
            Warning::SingleReplication => "single-replication",
            Warning::NothingFinished { .. } => "nothing-finished",
            Warning::QuantileNotSupported { .. } => "quantile-not-supported",
            Warning::FewIncluded { .. } => "few-included",
            Warning::PartOfADay { .. } => "part-of-a-day",
            Warning::CalibrationDecides { .. } => "calibration-decides",
            Warning::OverloadedWithinCalibration => "overloaded-within-calibration",
            Warning::CarriedWithinCalibration => "carried-within-calibration",
            Warning::CalibrationInterrupted => "calibration-interrupted",
            Warning::AuditFailed { .. } => "audit-failed",
        }
    }

    /// What is wrong, in a sentence.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Warning::RunTooShort => {
                "The run is too short for a steady state: no cut of at most half of it removes \
                 the start-up, so latencies would describe the start."
                    .into()
            }
            Warning::WarmUpNotJudged => {
                "The run has too few windows to look for the end of the start-up.".into()
            }
            Warning::Unstable => {
                "The backlog grows as long as the run lasts; latencies would depend on the horizon."
                    .into()
            }
            Warning::Metastable => {
                "A disturbance that is over leaves the system stuck at a load that it carried \
                 before; latencies would depend on the horizon."
                    .into()
            }
            Warning::StabilityNotJudged => {
                "The run has too few windows to tell whether the backlog grows.".into()
            }
            Warning::PrecisionNotReached { replications, widest } => {
                format!(
                    "The precision aimed at was not reached in {replications} replications: {widest}."
                )
            }
            Warning::Interrupted { finished } => {
                format!("Interrupted: only the first {finished} replications count.")
            }
            Warning::LimitReached { finished, limit } => {
                format!("Stopped at {limit}: only the first {finished} replications count.")
            }
            Warning::SingleReplication => {
                "One replication says nothing about the spread: there are no intervals.".into()
            }
            Warning::NothingFinished { task } => {
                format!("No task {task:?} succeeded, so it has no latency.")
            }
            Warning::QuantileNotSupported { metric, values, needed } => {
                format!("{metric} needs at least {needed} values, and there are {values}.")
            }
            Warning::FewIncluded { plan, included, allowance, least } => {
                format!(
                    "Of the {included} tasks that the plan {plan} includes in a month, {allowance} \
                     fall into the measured time: chance puts more of them beyond it than in a \
                     month, so what goes beyond (charged or refused) comes out too high. {least} \
                     would be enough."
                )
            }
            Warning::PartOfADay { plan } => {
                format!(
                    "Tenants on the plan {plan} pay by the month, and less than a day was \
                     measured: their margins take it for all hours of the day and all days."
                )
            }
            Warning::CalibrationDecides { .. }
            | Warning::OverloadedWithinCalibration
            | Warning::CarriedWithinCalibration
            | Warning::CalibrationInterrupted => self.of_calibration(),
            Warning::AuditFailed { replication, finding } => {
                format!("The audit of replication {replication} failed: {finding}.")
            }
        }
    }

    /// The message of a warning that the error of the calibration gives rise to.
    fn of_calibration(&self) -> String {
        match self {
            Warning::CalibrationDecides { objectives } => format!(
                "Within the error of the calibration these lie on both sides of their targets: {}.",
                objectives.join(", ")
            ),
            Warning::OverloadedWithinCalibration => {
                "With times as slow as the calibration allows the system is overloaded: the capacity \
                 is not known well enough for this load."
                    .into()
            }
            Warning::CarriedWithinCalibration => {
                "With times as short as the calibration allows the system would carry this load: its \
                 capacity is not known well enough to say."
                    .into()
            }
            _ => "Stopped while the error of the calibration was looked for: all replications \
                  count, but no number has an interval of calibration."
                .into(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Warning::RunTooShort => {
                "Make the horizon several times longer; if the start is part of the question, \
                 leave steady_state off."
            }
            Warning::WarmUpNotJudged => "Make the horizon longer or the window shorter.",
            Warning::Unstable => {
                "Add capacity, shed load, or read the stable capacity instead of a latency."
            }
            Warning::Metastable => {
                "Limit retries by a budget, cancel what has timed out, shed load, or add capacity \
                 until the load multiplied by all retries fits."
            }
            Warning::StabilityNotJudged => "Make the horizon longer or the window shorter.",
            Warning::PrecisionNotReached { .. } => {
                "Accept the interval as it is, or make the horizon longer."
            }
            Warning::Interrupted { .. } => "Run again to the end before deciding on it.",
            Warning::LimitReached { .. } => {
                "Raise the limit, or ask for a shorter horizon or fewer replications."
            }
            Warning::SingleReplication => "Ask for at least 10 replications.",
            Warning::NothingFinished { .. } => {
                "Check its traffic, the queue limit, and whether its prompts fit."
            }
            Warning::QuantileNotSupported { .. } => {
                "Make the horizon longer or add replications, or use a lower quantile."
            }
            Warning::FewIncluded { .. } => "Make the horizon longer, up to a month.",
            Warning::PartOfADay { .. } => "Measure whole days, better a whole week.",
            Warning::CalibrationInterrupted => "Run again to the end, or with --no-calibration.",
            Warning::CalibrationDecides { .. }
            | Warning::OverloadedWithinCalibration
            | Warning::CarriedWithinCalibration => {
                "Measure the engines that are meant (`surgeline calibrate`) and name the \
                 calibration file in their pools."
            }
            Warning::AuditFailed { .. } => "Report it with the scenario and the seed.",
        }
    }
}
