//! Lengths against what the backends admit, the roomiest one that may get the call.
//!
//! Invariants: a random length is cut, with a warning when its own range is cut short; a fixed or
//! recorded one that does not fit is an error.

use crate::file::{Lengths, TrafficFile};
use crate::problem::{Problem, ProblemKind};
use crate::resolve::Resolver;
use crate::resolve::room::Room;
use sim::dist::{LengthLaw, LengthsSpec};
use sim::workload::Trace;

impl Resolver<'_> {
    /// Cuts drawn lengths to what the engines admit; fixed ones have to fit as they are.
    pub(in crate::resolve) fn fit_drawn(
        &self,
        input: &Lengths,
        output: &Lengths,
        correlation: f64,
        prefix: u32,
        room: Option<Room>,
    ) -> Option<LengthsSpec> {
        let Room { tokens: room, key } = room.unwrap_or(Room::UNKNOWN);
        let fixed = |lengths: &Lengths| match lengths.law {
            LengthLaw::Fixed(tokens) => Some(tokens),
            _ => None,
        };
        let written = fixed(output).unwrap_or(1);
        let most_input = room.saturating_sub(prefix).saturating_sub(written);
        if most_input == 0 || fixed(input).is_some_and(|tokens| tokens > most_input) {
            let message = format!(
                "a request of {} prompt tokens{} and {written} output tokens does not fit \
                 {key} = {room}",
                fixed(input).unwrap_or(input.min),
                if prefix > 0 { format!(" after a prefix of {prefix}") } else { String::new() },
            );
            let problem = Problem::new(ProblemKind::DoesNotFit, &input.site, message);
            self.push(problem.help(format!("at most {most_input} prompt tokens would fit")));
            return None;
        }
        let least_input = fixed(input).unwrap_or(input.min);
        let most_output = room.saturating_sub(prefix).saturating_sub(least_input).max(1);
        for (lengths, most, what) in
            [(input, most_input, "prompt"), (output, most_output, "output")]
        {
            let wanted = lengths.max.as_ref().map(|max| max.value).or(lengths.law_max());
            if let Some(wanted) = wanted.filter(|&wanted| wanted > most) {
                let message = format!(
                    "{what} lengths up to {wanted} are cut at {most}, what {key} = {room} admits"
                );
                self.warn(&lengths.site, message);
            }
        }
        let spec = LengthsSpec {
            input: input.cut_at(most_input),
            output: output.cut_at(most_output),
            correlation,
        };
        for (lengths, dist) in [(input, &spec.input), (output, &spec.output)] {
            if lengths.max.is_none() && fixed(lengths).is_none() {
                let how = format!("what {key} leaves");
                self.derived(&lengths.site.child("max").key, dist.max.to_string(), how);
            }
        }
        Some(spec)
    }

    /// Every recorded request has to fit, prompt and answer together.
    pub(super) fn fit_recorded(&self, trace: &Trace, file: &TrafficFile, room: Option<Room>) {
        let Some(Room { tokens: room, key }) = room else { return };
        let size = |row: &sim::workload::TraceRow| u64::from(row.input) + u64::from(row.output);
        let too_long = trace.rows.iter().filter(|row| size(row) > u64::from(room)).count();
        if too_long == 0 {
            return;
        }
        let largest = trace.rows.iter().map(size).max().unwrap_or(0);
        let site =
            file.trace.as_ref().and_then(|t| t.file.as_ref()).map_or(&file.site, |f| &f.site);
        let message = format!(
            "{too_long} of {} recorded requests do not fit {key} = {room}",
            trace.rows.len()
        );
        let problem = Problem::new(ProblemKind::DoesNotFit, site, message);
        self.push(problem.help(format!("{key} = {largest} would admit all of them")));
    }
}
