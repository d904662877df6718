//! Time over two measures of work: tokens or sequences along one, KV tokens or pairs along the
//! other.
//!
//! A surface is given by its values at the corners of a grid. Between them it is linear along
//! either axis; outside the grid it goes on as the methods say. All values are whole picoseconds.
//!
//! Invariants: knots rise strictly, the second axis starts at 0; values never fall along either
//! axis, so that more work never takes less time.
//!
//! Deliberately absent: what the axes mean (see `step_time`), and where the values come from.

use super::step_time::StepTimeError;
use crate::units::PS_PER_SEC;
use std::sync::Arc;

/// One hour: no iteration costs more before it does any work.
pub(super) const LONGEST: u64 = 3_600 * PS_PER_SEC;
/// One second: no token, KV token or 1024 pairs cost more.
pub(super) const STEEPEST: u64 = PS_PER_SEC;
/// First-axis values up to which [`Lines`] are kept: the largest captured graph of vLLM.
pub(super) const TABULATED: u32 = 512;

/// A surface over `(x, y)`, bilinear between the corners of a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// Knots of the first axis, strictly rising.
    xs: Vec<u32>,
    /// Knots of the second axis, strictly rising from 0.
    ys: Vec<u64>,
    /// Picoseconds at the corners, row by row: all `ys` of the first of `xs`, and so on. Never
    /// falling along either axis.
    values: Vec<u64>,
    /// Beyond the last of `ys` every row rises by `.0` picoseconds every `.1`.
    beyond: (u64, u64),
    /// By the number of binary digits of `y`, the last of `ys` that every such `y` has reached: an
    /// iteration looks one up, and measured knots are about as many as digits.
    reached: Vec<u32>,
}

/// The rows of a surface for small `x`, each a chain of straight lines in `y` with whole
/// picoseconds per unit, so that sums along a line have a closed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    surface: Surface,
    /// `(value, slope)` from each of `ys` on, for `x` from 0 to [`TABULATED`].
    table: Arc<[(u64, u64)]>,
}

/// A straight piece of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Picoseconds at the `y` asked for.
    pub(super) value: u64,
    /// Picoseconds per unit of `y`.
    pub(super) slope: u64,
    /// Units of `y` until the slope changes; `u64::MAX` when it never does.
    pub(super) ahead: u64,
}

impl Surface {
    /// A surface through `values` in picoseconds, row by row (`values[i * ys.len() + j]` belongs to
    /// `xs[i]` and `ys[j]`). Below the first of `xs` it is constant in `x`, beyond the last it
    /// rises with the slope that the last two rows have at `y = 0`. Beyond the last of `ys` it
    /// rises with the slope that the last row has there.
    ///
    /// # Errors
    /// [`StepTimeError::Knots`] when the knots do not rise, `ys` does not start at 0, `values` has
    /// another size or falls along an axis; [`StepTimeError::TooLarge`] when the first of them is
    /// beyond an hour or a slope beyond a second per unit.
    pub fn new(xs: Vec<u32>, ys: Vec<u64>, values: Vec<u64>) -> Result<Surface, StepTimeError> {
        let beyond = match (ys.as_slice(), values.as_slice()) {
            ([.., from, to], [.., low, high]) if from < to => {
                (high.saturating_sub(*low), to - from)
            }
            _ => (0, 1),
        };
        Surface { xs, ys, values, beyond, reached: Vec::new() }.checked()
    }

    /// A surface that is a chain of straight lines through `knots` in `x`, and rises with `y` by
    /// `rise` picoseconds every `run`, the same everywhere.
    ///
    /// # Errors
    /// As [`Surface::new`].
    pub(super) fn plain(
        knots: &[(u32, u64)],
        (rise, run): (u64, u64),
    ) -> Result<Surface, StepTimeError> {
        let (xs, values) = knots.iter().copied().unzip();
        Surface { xs, ys: vec![0], values, beyond: (rise, run), reached: Vec::new() }.checked()
    }

    /// The same with all times `factor` times as long, each to the nearest picosecond.
    ///
    /// # Errors
    /// As [`Surface::new`].
    pub(super) fn times(&self, factor: f64) -> Result<Surface, StepTimeError> {
        let values = self.values.iter().map(|&value| scaled(value, factor)).collect();
        let beyond = (scaled(self.beyond.0, factor), self.beyond.1);
        Surface { xs: self.xs.clone(), ys: self.ys.clone(), values, beyond, reached: Vec::new() }
            .checked()
    }

    fn checked(mut self) -> Result<Surface, StepTimeError> {
        let width = self.ys.len();
        let rising = self.xs.windows(2).all(|w| w[0] < w[1])
            && self.ys.windows(2).all(|w| w[0] < w[1])
            && self.ys.first() == Some(&0);
        let full = !self.xs.is_empty() && self.values.len() == self.xs.len() * width;
        if !rising || !full {
            return Err(StepTimeError::Knots);
        }
        let along_x = self.values.iter().zip(&self.values[width..]);
        let along_y = self.values.chunks(width).flat_map(|row| row.iter().zip(&row[1..]));
        if along_x.chain(along_y).any(|(before, after)| before > after) {
            return Err(StepTimeError::Knots);
        }
        let steep = |rise: u64, run: u64| rise / run > STEEPEST;
        let steep_x = self.xs.windows(2).enumerate().any(|(i, x)| {
            let rows = &self.values[i * width..];
            (0..width).any(|j| steep(rows[j + width] - rows[j], u64::from(x[1] - x[0])))
        });
        let steep_y = self.values.chunks(width).any(|row| {
            let runs = self.ys.windows(2).map(|y| y[1] - y[0]);
            row.windows(2).zip(runs).any(|(t, run)| steep(t[1] - t[0], run))
        });
        let (rise, run) = self.beyond;
        if self.least() > LONGEST || steep_x || steep_y || steep(rise, run) {
            return Err(StepTimeError::TooLarge);
        }
        let least = |digits: u32| if digits == 0 { 0 } else { 1u64 << (digits - 1) };
        let last = |y: u64| self.ys.partition_point(|&knot| knot <= y) as u32 - 1;
        self.reached = (0..=u64::BITS).map(|digits| last(least(digits))).collect();
        Ok(self)
    }

    /// The last of `ys` that `y` has reached.
    fn column(&self, y: u64) -> usize {
        let mut j = self.reached[(u64::BITS - y.leading_zeros()) as usize] as usize;
        while self.ys.get(j + 1).is_some_and(|&knot| knot <= y) {
            j += 1;
        }
        j
    }

    /// The value at the first corner, the least there is.
    pub(super) fn least(&self) -> u64 {
        self.values[0]
    }

    /// Picoseconds at `(x, y)`, rounded down, held at `u64::MAX`.
    pub(super) fn at(&self, x: u32, y: u64) -> u64 {
        let place = self.place(x);
        let j = self.column(y);
        let low = self.corner(place, j);
        let ahead = y - self.ys[j];
        let (rise, run) = match self.ys.get(j + 1) {
            Some(&next) => (self.corner(place, j + 1) - low, next - self.ys[j]),
            None => self.beyond,
        };
        low.saturating_add(part(rise, ahead, run))
    }

    /// The straight piece at `(x, y)`, with its slope rounded down to whole picoseconds.
    fn line(&self, x: u32, j: usize) -> (u64, u64) {
        let place = self.place(x);
        let low = self.corner(place, j);
        let slope = match self.ys.get(j + 1) {
            Some(&next) => (self.corner(place, j + 1) - low) / (next - self.ys[j]),
            None => self.beyond.0 / self.beyond.1,
        };
        (low, slope)
    }

    /// Where `x` lies: the lower of two rows, the way from it and the whole way between them.
    fn place(&self, x: u32) -> (usize, u64, u64) {
        let xs = &self.xs;
        if xs.len() == 1 || x <= xs[0] {
            return (0, 0, 1);
        }
        let upper = xs.partition_point(|&knot| knot < x).min(xs.len() - 1);
        (upper - 1, u64::from(x - xs[upper - 1]), u64::from(xs[upper] - xs[upper - 1]))
    }

    /// The value at `place` and the knot `j` of the second axis.
    fn corner(&self, (row, ahead, run): (usize, u64, u64), j: usize) -> u64 {
        let width = self.ys.len();
        let low = self.values[row * width + j];
        if ahead == 0 {
            return low;
        }
        let high = &self.values[(row + 1) * width..];
        if ahead <= run {
            return low + part(high[j] - low, ahead, run);
        }
        // Beyond the last row: parallel to it.
        let rise = high[0] - self.values[row * width];
        high[j].saturating_add(part(rise, ahead, run) - rise)
    }
}

impl Lines {
    pub(super) fn new(surface: Surface) -> Lines {
        let rows = (0..=TABULATED).flat_map(|x| (0..surface.ys.len()).map(move |j| (x, j)));
        let table = rows.map(|(x, j)| surface.line(x, j)).collect();
        Lines { surface, table }
    }

    pub(super) fn surface(&self) -> &Surface {
        &self.surface
    }

    /// The straight piece of row `x` at `y`.
    pub(super) fn at(&self, x: u32, y: u64) -> Line {
        let ys = &self.surface.ys;
        let j = self.surface.column(y);
        let (low, slope) = match self.table.get(x as usize * ys.len() + j) {
            Some(&line) => line,
            None => self.surface.line(x, j),
        };
        Line {
            value: low.saturating_add(slope.saturating_mul(y - ys[j])),
            slope,
            ahead: ys.get(j + 1).map_or(u64::MAX, |&next| next - y),
        }
    }
}

/// `factor` times so many picoseconds, to the nearest one.
pub(super) fn scaled(ps: u64, factor: f64) -> u64 {
    // The cast holds at the ends.
    libm::round(ps as f64 * factor) as u64
}

/// `rise · ahead / run`, rounded down.
fn part(rise: u64, ahead: u64, run: u64) -> u64 {
    match rise.checked_mul(ahead) {
        Some(product) => product / run,
        None => {
            let exact = u128::from(rise) * u128::from(ahead) / u128::from(run);
            u64::try_from(exact).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows at 1, 4 and 10, columns at 0, 100 and 1000.
    fn sample() -> Surface {
        let values = vec![1_000, 1_003, 2_000, 1_050, 1_300, 4_000, 2_000, 2_900, 9_000];
        Surface::new(vec![1, 4, 10], vec![0, 100, 1_000], values).expect("valid")
    }

    #[test]
    fn corners_are_kept_and_between_them_lines_are_straight() {
        let cases = [
            ((1, 0), 1_000),
            ((0, 0), 1_000),
            ((4, 100), 1_300),
            ((10, 1_000), 9_000),
            ((1, 50), 1_001),
            ((2, 0), 1_016),
            ((7, 550), (1_300 + 2_900 + 4_000 + 9_000) / 4),
            // Beyond the last row parallel to it; beyond the last column as the last row goes on.
            ((16, 100), 2_900 + 950),
            ((1, 1_900), 2_000 + 6_100),
            ((16, 1_900), 9_000 + 950 + 6_100),
        ];
        for ((x, y), expected) in cases {
            assert_eq!(sample().at(x, y), expected, "{x}, {y}");
        }
    }

    #[test]
    fn more_work_never_takes_less_time() {
        let surface = sample();
        for x in 0..20 {
            for y in (0..2_500).step_by(7) {
                assert!(surface.at(x, y) <= surface.at(x + 1, y), "{x}, {y}");
                assert!(surface.at(x, y) <= surface.at(x, y + 1), "{x}, {y}");
            }
        }
    }

    #[test]
    fn a_line_is_the_surface_but_for_the_rounding_of_its_slope() {
        let surface = sample();
        let lines = Lines::new(surface.clone());
        for x in [0, 1, 3, 10, 512, 513, 4_000] {
            for y in 0..2_500 {
                let line = lines.at(x, y);
                let (exact, next) = (surface.at(x, y), line.value + line.slope);
                assert!(line.value <= exact && exact - line.value <= y, "{x}, {y}");
                let ahead = [100, 1_000].into_iter().find(|&knot| knot > y);
                assert_eq!(line.ahead, ahead.map_or(u64::MAX, |knot| knot - y));
                assert!(lines.at(x, y + 1).value >= next, "{x}, {y}");
                assert!(line.ahead == 1 || lines.at(x, y + 1).value == next, "{x}, {y}");
            }
        }
    }

    #[test]
    fn impossible_grids_are_refused() {
        let knots = Err(StepTimeError::Knots);
        for (xs, ys, values) in [
            (vec![], vec![0], vec![]),
            (vec![1], vec![], vec![]),
            (vec![1], vec![5], vec![1]),
            (vec![1], vec![0, 0], vec![1, 1]),
            (vec![2, 1], vec![0], vec![1, 1]),
            (vec![1, 2], vec![0, 9], vec![1, 2, 3]),
            (vec![1, 2], vec![0, 9], vec![1, 2, 0, 3]),
            (vec![1, 2], vec![0, 9], vec![1, 3, 2, 2]),
        ] {
            assert_eq!(Surface::new(xs, ys, values), knots);
        }
        let steep = Surface::new(vec![1, 2], vec![0], vec![0, STEEPEST + 1]);
        assert_eq!(steep, Err(StepTimeError::TooLarge));
        let steep = Surface::new(vec![1], vec![0, 2], vec![0, 2 * STEEPEST + 2]);
        assert_eq!(steep, Err(StepTimeError::TooLarge));
        assert_eq!(Surface::plain(&[(0, LONGEST + 1)], (0, 1)), Err(StepTimeError::TooLarge));
    }
}
