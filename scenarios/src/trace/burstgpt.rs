//! `burstgpt`: the BurstGPT traces (CSV with a header line).
//!
//! | column | meaning |
//! |---|---|
//! | `Timestamp` | seconds since midnight of the first day |
//! | `Request tokens` | prompt tokens |
//! | `Response tokens` | output tokens; 0: the request failed |
//! | `Total tokens` | their sum |
//!
//! `Model` and `Log Type` are not read. Source: github.com/HPMLL/BurstGPT.
//!
//! Invariants: the total is checked. A failed request is left out and counted in the report: what
//! it would have cost is not recorded (most have 0 prompt tokens too), and a made-up length would
//! be a number without a source. The load offered is therefore understated by the share reported.
//! Deliberately absent: replaying failures as faults of the service.

use super::build::{Builder, Request};
use super::cells::{Column, Layout, MOST_TOKENS, csv_rows, seconds_ns, tokens, whole};
use super::open::Lines;
use super::problem::{Problems, TraceFault};

const LAYOUT: Layout = Layout {
    columns: &[
        Column::required("Timestamp"),
        Column::required("Request tokens"),
        Column::required("Response tokens"),
        Column::required("Total tokens"),
    ],
    closed: false,
};

const WHAT_TIME: &str = "seconds since midnight, not negative, with at most nine decimals";
const WHAT_TOKENS: &str = "a whole number of tokens from 0 to 10000000";
const WHAT_INPUT: &str = "a whole number of tokens from 1 to 10000000 (0 only in a failed request)";

pub(super) fn read(lines: &mut Lines<'_>, builder: &mut Builder, problems: &mut Problems) {
    csv_rows(lines, &LAYOUT, problems, |row| {
        let at = row.read(0, WHAT_TIME, seconds_ns);
        let request = row.read(1, WHAT_TOKENS, |text| whole(text, MOST_TOKENS));
        let response = row.read(2, WHAT_TOKENS, |text| whole(text, MOST_TOKENS));
        let total = row.read(3, WHAT_TOKENS, |text| whole(text, 2 * MOST_TOKENS));
        let (Some(at_ns), Some(request), Some(response), Some(total)) =
            (at, request, response, total)
        else {
            return Ok(());
        };
        if request + response != total {
            let found = request + response;
            row.fault(3, 0, TraceFault::Sum { found, total, total_field: "Total tokens" });
            return Ok(());
        }
        if response == 0 {
            builder.skip("the request failed (0 response tokens)");
            return Ok(());
        }
        let input = row.read(1, WHAT_INPUT, tokens);
        match (input, u32::try_from(response)) {
            (Some(input), Ok(output)) => {
                builder.push(&Request { at_ns, input, output, session: None, segments: &[] })
            }
            _ => Ok(()),
        }
    });
}
