//! A row of a file of oracles, and whether an answer satisfies it.
//!
//! The rules are those of `data/oracles/README.md`. Invariant: an answer of a kind that does not
//! fit the row's tolerance is a failure, never a pass.

use serde::Deserialize;
use sim::stats::Interval;
use sim::stats::special::student_t_quantile;

/// One row. Columns that only describe the reference are left unread.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) family: String,
    pub(super) params: String,
    pub(super) metric: String,
    pub(super) expected: String,
    pub(super) tol_kind: String,
    pub(super) tol: f64,
}

/// What the product says about a row.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// An integer or a text, as it is written.
    Text(String),
    /// A computed number.
    Number(f64),
    /// An estimate of `replications` independent runs with its 95 % interval.
    Estimate { interval: Interval, replications: usize },
}

/// Least number of replications behind an estimate.
pub(super) const LEAST_REPLICATIONS: usize = 30;

impl Row {
    pub(super) fn number(&self) -> Result<f64, String> {
        self.expected.parse().map_err(|_| format!("{} is no number", self.expected))
    }

    /// Half-width an estimate must reach; `None` where the row asks for none.
    pub(super) fn precision(&self) -> Result<Option<f64>, String> {
        Ok(match self.tol_kind.as_str() {
            "rel" => Some(self.tol * self.number()?.abs()),
            "abs" => Some(self.tol),
            _ => None,
        })
    }

    /// Whether the answer satisfies the row; `bounds` are the extremes of its `set`.
    pub(super) fn judge(&self, answer: &Answer, bounds: (f64, f64)) -> Result<(), String> {
        match (self.tol_kind.as_str(), answer) {
            ("exact", Answer::Text(text)) => self.judge_text(text),
            ("exact", Answer::Number(value)) => near(*value, self.number()?, 1e-9),
            ("rel", Answer::Number(value)) => near(*value, self.number()?, self.tol),
            ("abs", Answer::Number(value)) => {
                let expected = self.number()?;
                (value - expected)
                    .abs()
                    .le(&self.tol)
                    .then_some(())
                    .ok_or_else(|| format!("{value} is further than {} from {expected}", self.tol))
            }
            ("rel" | "abs", Answer::Estimate { interval, replications }) => {
                self.judge_estimate(*interval, *replications)
            }
            ("upper", Answer::Estimate { interval, .. }) => {
                within(interval.value, f64::NEG_INFINITY, self.number()? * (1.0 + self.tol))
            }
            ("set", Answer::Estimate { interval, .. }) => {
                within(interval.value, bounds.0 - self.tol, bounds.1 + self.tol)
            }
            (kind, answer) => Err(format!("a tolerance `{kind}` cannot judge {answer:?}")),
        }
    }

    fn judge_text(&self, text: &str) -> Result<(), String> {
        let integer = |text: &str| text.parse::<i128>().ok();
        let same = match (integer(text), integer(&self.expected)) {
            (Some(got), Some(expected)) => got == expected,
            _ => text == self.expected,
        };
        same.then_some(()).ok_or_else(|| format!("got {text}, expected {}", self.expected))
    }

    fn judge_estimate(&self, interval: Interval, replications: usize) -> Result<(), String> {
        let (expected, tolerance) = (self.number()?, self.precision()?.unwrap_or(0.0));
        let half_width = (interval.high - interval.low) / 2.0;
        // The interval is Student's, so dividing by its quantile gives the standard error back.
        let error = half_width / student_t_quantile(0.975, replications as f64 - 1.0);
        let off = (interval.value - expected).abs();
        if replications < LEAST_REPLICATIONS {
            return Err(format!("{replications} replications are too few"));
        }
        if half_width.is_nan() || half_width > tolerance {
            return Err(format!("half-width {half_width} after {replications} replications"));
        }
        if off.is_nan() || off > tolerance.max(3.0 * error) {
            return Err(format!(
                "got {} ± {half_width}, expected {expected}: off by {:.2} % or {:.1} standard errors",
                interval.value,
                100.0 * off / expected.abs(),
                off / error
            ));
        }
        Ok(())
    }
}

fn near(value: f64, expected: f64, relative: f64) -> Result<(), String> {
    let allowed = relative * expected.abs();
    ((value - expected).abs() <= allowed)
        .then_some(())
        .ok_or_else(|| format!("got {value}, expected {expected} to {relative:e}"))
}

fn within(value: f64, low: f64, high: f64) -> Result<(), String> {
    (low..=high)
        .contains(&value)
        .then_some(())
        .ok_or_else(|| format!("{value} does not lie in [{low}, {high}]"))
}

fn row(kind: &str, expected: &str, tol: f64) -> Row {
    let text = str::to_owned;
    Row {
        id: text("sample"),
        family: text("none"),
        params: text("{}"),
        metric: text("none"),
        expected: text(expected),
        tol_kind: text(kind),
        tol,
    }
}

fn estimate(value: f64, half_width: f64, replications: usize) -> Answer {
    let interval = Interval { value, low: value - half_width, high: value + half_width };
    Answer::Estimate { interval, replications }
}

#[test]
fn what_agrees_is_accepted() {
    let none = (0.0, 0.0);
    let text = |text: &str| Answer::Text(text.to_owned());
    assert_eq!(row("exact", "closed", 0.0).judge(&text("closed"), none), Ok(()));
    assert_eq!(row("exact", "26624", 0.0).judge(&text("26624"), none), Ok(()));
    assert_eq!(row("exact", "0.5", 1e-9).judge(&Answer::Number(0.5), none), Ok(()));
    assert_eq!(row("rel", "100", 0.03).judge(&estimate(102.0, 2.9, 30), none), Ok(()));
    assert_eq!(row("abs", "117", 1.0).judge(&estimate(117.4, 0.2, 40), none), Ok(()));
    assert_eq!(row("upper", "16.5", 0.02).judge(&estimate(16.6, 9.0, 30), none), Ok(()));
    assert_eq!(row("set", "1", 0.0).judge(&estimate(1.5, 0.1, 30), (1.0, 10.0)), Ok(()));
}

#[test]
fn what_disagrees_is_rejected() {
    let none = (0.0, 0.0);
    let text = |text: &str| Answer::Text(text.to_owned());
    let cases = [
        (row("exact", "26624", 0.0), text("26623")),
        (row("exact", "a:1;b:2", 0.0), text("a:1;b:3")),
        (row("exact", "0.5", 1e-9), Answer::Number(0.500_000_01)),
        (row("rel", "0.5", 1e-9), Answer::Number(f64::NAN)),
        // Off by more than the tolerance and three standard errors.
        (row("rel", "100", 0.03), estimate(104.0, 1.0, 30)),
        // Near, but not precise enough to say so.
        (row("rel", "100", 0.03), estimate(100.0, 3.1, 30)),
        (row("rel", "100", 0.03), estimate(100.0, f64::NAN, 30)),
        // Near and precise, from too few runs.
        (row("rel", "100", 0.03), estimate(100.0, 1.0, 29)),
        (row("upper", "16.5", 0.02), estimate(16.9, 0.1, 30)),
        (row("set", "1", 0.0), estimate(0.9, 0.1, 30)),
        (row("set", "1", 0.0), Answer::Number(0.0)),
        (row("roughly", "1", 0.0), Answer::Number(1.0)),
    ];
    for (row, answer) in cases {
        assert!(row.judge(&answer, none).is_err(), "{row:?} accepted {answer:?}");
    }
}
