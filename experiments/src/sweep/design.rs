//! Which cells an experiment has: a grid, a Latin hypercube, or the trajectories of Morris.
//!
//! A cell is one level for each lever, and a level is the place of a value in the lever's list; what
//! stands there is no business of a design. So whole numbers stay whole, and a range is drawn from
//! as finely as it was written.
//!
//! Invariants: the cells depend on the design, the numbers of values and the seed alone, now and in
//! later versions; nothing is laid out before it is known to be small enough; every value of a lever
//! is used about equally often.
//!
//! Deliberately absent: what a cell is run for (see the parent), and what its results say (see
//! `morris`).

use sim::dice::{Dice, Purpose, key, mix};
use std::collections::BTreeMap;

/// Cells of a sweep. One second each, this many take eleven days.
pub const MOST_CELLS: u64 = 1_000_000;
/// Levels of all cells together that a drawn design holds in memory.
const MOST_LEVELS: u64 = 20_000_000;

/// How cells are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Every combination of values; the last lever changes fastest.
    Grid,
    /// So many points, each lever's values spread evenly over them (McKay, Beckman and Conover,
    /// "A comparison of three methods for selecting values of input variables", Technometrics 21,
    /// 1979).
    LatinHypercube {
        /// How many; at least one.
        points: u32,
    },
    /// Trajectories along which one lever at a time changes (Morris, "Factorial sampling plans for
    /// preliminary computational experiments", Technometrics 33, 1991).
    Morris {
        /// How many; at least two. Each has one cell more than there are levers.
        trajectories: u32,
    },
}

/// Why there is no design.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesignError {
    /// Nothing to vary.
    #[error("there is no lever to vary")]
    NoLever,
    /// More than anybody would wait for.
    #[error(
        "{cells} cells are too many: at most {MOST_CELLS} are allowed; give levers fewer values, or \
         draw points instead of a whole grid"
    )]
    TooLarge {
        /// How many there would be.
        cells: String,
    },
    /// More than the memory should hold.
    #[error("{cells} cells of {levers} levers are too many; ask for fewer points")]
    TooManyLevels {
        /// How many cells there would be.
        cells: u64,
        /// How many levers.
        levers: usize,
    },
    /// A lever that cannot be changed has no effect to be measured.
    #[error("lever {} has a single value: an effect needs two or more", .lever + 1)]
    Fixed {
        /// Which lever, from 0.
        lever: usize,
    },
    /// Zero points, or a single trajectory, which has no spread.
    #[error("at least {least} points are needed")]
    TooFew {
        /// The least number.
        least: u32,
    },
}

/// The cells of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    counts: Vec<usize>,
    cells: usize,
    /// Cell by cell, each with one level for each lever; `None`: the grid, which is counted through.
    drawn: Option<Vec<u16>>,
}

impl Cells {
    /// Lays a design over levers with so many values each (at most 10,000).
    ///
    /// # Errors
    /// [`DesignError`], before anything is laid out.
    pub fn new(design: Design, counts: &[usize], seed: u64) -> Result<Cells, DesignError> {
        if counts.is_empty() || counts.contains(&0) {
            return Err(DesignError::NoLever);
        }
        let cells = number_of_cells(design, counts)?;
        let stream = mix(key(mix(0, seed), Purpose::Design), counts.len() as u64);
        let drawn = match design {
            Design::Grid => None,
            Design::LatinHypercube { .. } => Some(latin_hypercube(counts, cells, stream)),
            Design::Morris { trajectories } => Some(morris(counts, trajectories, stream)),
        };
        Ok(Cells { counts: counts.to_vec(), cells, drawn })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cells
    }

    /// How many values each lever has.
    #[must_use]
    pub fn value_counts(&self) -> &[usize] {
        &self.counts
    }

    /// Cells that repeat an earlier one, each with the first of its kind: drawn points and
    /// trajectories meet where levers have few values.
    #[must_use]
    pub fn repeats(&self) -> BTreeMap<usize, usize> {
        let mut firsts: BTreeMap<&[u16], usize> = BTreeMap::new();
        let mut repeats = BTreeMap::new();
        let drawn = self.drawn.iter().flat_map(|drawn| drawn.chunks(self.counts.len()));
        for (cell, levels) in drawn.enumerate() {
            let first = *firsts.entry(levels).or_insert(cell);
            if first != cell {
                repeats.insert(cell, first);
            }
        }
        repeats
    }

    /// Which value of each lever a cell has.
    #[must_use]
    pub fn levels(&self, cell: usize) -> Vec<usize> {
        let levers = self.counts.len();
        if let Some(drawn) = &self.drawn {
            let own = drawn.get(cell * levers..(cell + 1) * levers).unwrap_or_default();
            return own.iter().map(|&level| usize::from(level)).collect();
        }
        let mut levels = vec![0; levers];
        let mut rest = cell;
        for (level, count) in levels.iter_mut().zip(&self.counts).rev() {
            (*level, rest) = (rest % count, rest / count);
        }
        levels
    }
}

fn number_of_cells(design: Design, counts: &[usize]) -> Result<usize, DesignError> {
    let levers = counts.len() as u64;
    let fixed = counts.iter().position(|&count| count < 2);
    let cells = match design {
        Design::Grid => counts.iter().try_fold(1_u64, |all, &n| all.checked_mul(n as u64)),
        Design::LatinHypercube { points: 0 } => return Err(DesignError::TooFew { least: 1 }),
        Design::LatinHypercube { points } => Some(points.into()),
        Design::Morris { trajectories: 0 | 1 } => return Err(DesignError::TooFew { least: 2 }),
        Design::Morris { trajectories } => match fixed {
            Some(lever) => return Err(DesignError::Fixed { lever }),
            None => u64::from(trajectories).checked_mul(levers + 1),
        },
    };
    let cells = cells.filter(|&cells| cells <= MOST_CELLS).ok_or_else(|| {
        let beyond = "more than 2^64".to_owned();
        DesignError::TooLarge { cells: cells.map_or(beyond, |cells| cells.to_string()) }
    })?;
    if design != Design::Grid && cells.saturating_mul(levers) > MOST_LEVELS {
        return Err(DesignError::TooManyLevels { cells, levers: counts.len() });
    }
    Ok(cells as usize)
}

/// A whole number below `n`.
fn below(dice: &mut Dice, n: usize) -> usize {
    // The product may round up to `n` for numbers that are far larger than any here.
    ((dice.uniform() * n as f64) as usize).min(n.saturating_sub(1))
}

/// `0..n` in random order (Fisher and Yates).
fn shuffled(dice: &mut Dice, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, below(dice, last + 1));
    }
    order
}

/// One stratum of each lever for each point, in an order of the lever's own.
fn latin_hypercube(counts: &[usize], points: usize, stream: u64) -> Vec<u16> {
    let mut levels = vec![0; points * counts.len()];
    for (lever, &count) in counts.iter().enumerate() {
        let mut dice = Dice::stream(mix(stream, lever as u64));
        for (point, stratum) in shuffled(&mut dice, points).into_iter().enumerate() {
            let place = (stratum as f64 + dice.uniform()) / points as f64;
            let level = ((place * count as f64) as usize).min(count - 1);
            levels[point * counts.len() + lever] = level as u16;
        }
    }
    levels
}

/// How many levels a lever jumps in an elementary effect: half of them. With an even number `p` of
/// levels this is Morris's `p / (2 (p - 1))` of the range, and every level is as likely as any.
#[must_use]
pub(crate) fn jump(count: usize) -> usize {
    (count / 2).max(1)
}

/// Trajectories from random places, each lever changed once, in random order.
fn morris(counts: &[usize], trajectories: u32, stream: u64) -> Vec<u16> {
    let mut all = Vec::with_capacity(trajectories as usize * (counts.len() + 1) * counts.len());
    for trajectory in 0..trajectories {
        let mut dice = Dice::stream(mix(stream, trajectory.into()));
        let mut place: Vec<u16> = counts.iter().map(|&n| below(&mut dice, n) as u16).collect();
        all.extend_from_slice(&place);
        for lever in shuffled(&mut dice, counts.len()) {
            let (at, step) = (usize::from(place[lever]), jump(counts[lever]));
            // The middle of an odd number of levels has both ways open.
            let (up, down) = (at + step < counts[lever], at >= step);
            let goes_up = if up && down { dice.coin(0.5) } else { up };
            place[lever] = if goes_up { at + step } else { at - step } as u16;
            all.extend_from_slice(&place);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(design: Design, counts: &[usize]) -> Cells {
        Cells::new(design, counts, 7).expect("a design")
    }

    #[test]
    fn a_grid_has_every_combination_once_and_the_last_lever_changes_fastest() {
        let grid = cells(Design::Grid, &[2, 3, 2]);
        let all: Vec<Vec<usize>> = (0..grid.count()).map(|cell| grid.levels(cell)).collect();
        assert_eq!(all[..3], [vec![0, 0, 0], vec![0, 0, 1], vec![0, 1, 0]]);
        assert!(all.is_sorted() && all.len() == 12);
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_laid_out() {
        let error = |design, counts: &[usize]| Cells::new(design, counts, 1).expect_err("refused");
        let said = error(Design::Grid, &[1_000, 1_000, 1_000]).to_string();
        assert!(said.starts_with("1000000000 cells are too many"), "{said}");
        let said = error(Design::Grid, &[10_000; 9]).to_string();
        assert!(said.starts_with("more than 2^64 cells"), "{said}");
        let many = Design::LatinHypercube { points: 1_000_001 };
        assert!(matches!(error(many, &[2]), DesignError::TooLarge { .. }));
        let many = Design::Morris { trajectories: u32::MAX };
        assert!(matches!(error(many, &[2, 2]), DesignError::TooLarge { .. }));
        let wide = Design::LatinHypercube { points: 1_000_000 };
        assert!(matches!(error(wide, &[2; 21]), DesignError::TooManyLevels { .. }));
        assert_eq!(cells(Design::Grid, &[1_000, 1_000]).count(), 1_000_000);
        for (design, counts, wanted) in [
            (Design::Grid, &[][..], DesignError::NoLever),
            (Design::LatinHypercube { points: 0 }, &[2], DesignError::TooFew { least: 1 }),
            (Design::Morris { trajectories: 1 }, &[2], DesignError::TooFew { least: 2 }),
            (Design::Morris { trajectories: 5 }, &[2, 1], DesignError::Fixed { lever: 1 }),
        ] {
            assert_eq!(error(design, counts), wanted);
        }
    }

    #[test]
    fn every_value_is_drawn_equally_often_in_a_latin_hypercube() {
        let counts = [4, 3, 1, 12];
        let drawn = cells(Design::LatinHypercube { points: 24 }, &counts);
        for (lever, &count) in counts.iter().enumerate() {
            let mut uses = vec![0; count];
            (0..24).for_each(|cell| uses[drawn.levels(cell)[lever]] += 1);
            assert!(uses.iter().all(|&n| n == 24 / count), "{lever}: {uses:?}");
        }
        // Fewer points than values: no value twice, and the whole range is covered.
        let few = cells(Design::LatinHypercube { points: 5 }, &[10_000, 10_000]);
        for lever in 0..2 {
            let mut fifths: Vec<usize> = (0..5).map(|p| few.levels(p)[lever] / 2_000).collect();
            fifths.sort_unstable();
            assert_eq!(fifths, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn one_lever_at_a_time_jumps_half_of_its_levels() {
        let counts = [4, 5, 2, 7];
        let drawn = cells(Design::Morris { trajectories: 50 }, &counts);
        assert_eq!(drawn.count(), 250);
        for trajectory in 0..50 {
            let mut moved = Vec::new();
            for step in 0..4 {
                let cell = trajectory * 5 + step;
                let (before, after) = (drawn.levels(cell), drawn.levels(cell + 1));
                let changed: Vec<usize> = (0..4).filter(|&l| before[l] != after[l]).collect();
                let [lever] = changed[..] else { panic!("{before:?} {after:?}") };
                assert_eq!(before[lever].abs_diff(after[lever]), counts[lever] / 2);
                assert!(after[lever] < counts[lever]);
                moved.push(lever);
            }
            moved.sort_unstable();
            assert_eq!(moved, [0, 1, 2, 3]);
        }
        let starts: Vec<usize> = (0..50).map(|t| drawn.levels(t * 5)[1]).collect();
        assert!((0..5).all(|level| starts.contains(&level)), "{starts:?}");
    }

    #[test]
    fn a_repeated_cell_is_the_first_of_its_kind() {
        let drawn = cells(Design::Morris { trajectories: 4 }, &[2, 2]);
        let repeats = drawn.repeats();
        // Twelve cells at four places.
        assert!(repeats.len() >= 8);
        for cell in 0..drawn.count() {
            let same = (0..cell).find(|&other| drawn.levels(other) == drawn.levels(cell));
            assert_eq!(repeats.get(&cell).copied(), same);
        }
        assert!(cells(Design::Grid, &[2, 2]).repeats().is_empty());
    }

    /// Whoever goes on with a sweep must lay out the same cells. The numbers are those of another
    /// program, written from the descriptions of SplitMix64 and of the designs.
    #[test]
    fn designs_are_the_same_for_ever() {
        let levels = |design, seed| {
            let drawn = Cells::new(design, &[10, 10_000], seed).expect("a design");
            (0..6).map(|cell| drawn.levels(cell)).collect::<Vec<_>>()
        };
        let hypercube = Design::LatinHypercube { points: 6 };
        let trajectories = Design::Morris { trajectories: 2 };
        let wanted = [[2, 3_030], [4, 741], [6, 9_580], [9, 6_035], [7, 3_659], [0, 8_059]];
        assert_eq!(levels(hypercube, 42), wanted);
        let wanted = [[0, 9_251], [0, 4_251], [5, 4_251], [7, 4_683], [2, 4_683], [2, 9_683]];
        assert_eq!(levels(trajectories, 42), wanted);
        assert_ne!(levels(hypercube, 42), levels(hypercube, 43));
        assert_ne!(levels(trajectories, 42), levels(trajectories, 43));
    }
}
