//! What a plan chooses from: one value of each lever, numbered without being written out.
//!
//! Invariants: every combination has one number below [`Space::len`], and its overrides stand in the
//! order of the levers; of numbers that more of the same differ in, the larger one has more.
//!
//! Deliberately absent: what a candidate costs (see `rents`) and whether it is any good (see `search`).

use crate::repair::Lever;

/// Candidates that are too many to choose from.
pub const MOST_CANDIDATES: usize = 1_000_000;

/// All combinations of the levers' values.
pub(crate) struct Space<'a> {
    levers: &'a [Lever],
    /// How far apart two candidates are that differ in one lever by one place.
    strides: Vec<usize>,
    len: usize,
    /// For each lever that adds more of the same, the places of its values in ascending order; and
    /// the place within them of each value.
    capacities: Vec<Capacity>,
}

/// A lever that adds more of the same: replicas or units.
struct Capacity {
    lever: usize,
    ascending: Vec<usize>,
    rank: Vec<usize>,
}

impl<'a> Space<'a> {
    /// `None` where there are too many.
    pub(crate) fn new(levers: &'a [Lever]) -> Option<Space<'a>> {
        let mut strides = Vec::new();
        let mut len = 1_usize;
        for lever in levers {
            strides.push(len);
            len = len.checked_mul(lever.changes.len())?;
        }
        let capacities = levers.iter().enumerate().filter_map(|(at, lever)| capacity(at, lever));
        (len <= MOST_CANDIDATES).then(|| Space {
            levers,
            strides,
            len,
            capacities: capacities.collect(),
        })
    }

    /// How many candidates there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Which value a candidate has of a lever.
    pub(crate) fn place(&self, candidate: usize, lever: usize) -> usize {
        candidate / self.strides[lever] % self.levers[lever].changes.len()
    }

    /// The overrides that make a candidate.
    pub(crate) fn changes(&self, candidate: usize) -> Vec<String> {
        let levers = self.levers.iter().enumerate();
        levers.flat_map(|(at, lever)| &lever.changes[self.place(candidate, at)]).cloned().collect()
    }

    /// The same with another value of one lever.
    fn moved(&self, candidate: usize, lever: usize, place: usize) -> usize {
        candidate - self.place(candidate, lever) * self.strides[lever] + place * self.strides[lever]
    }

    /// Candidates with the next smaller number of one thing and everything else equal.
    pub(crate) fn one_less(&self, candidate: usize) -> Vec<usize> {
        let capacities = self.capacities.iter();
        let less = capacities.filter_map(|capacity| {
            let rank = capacity.rank[self.place(candidate, capacity.lever)].checked_sub(1)?;
            Some(self.moved(candidate, capacity.lever, capacity.ascending[rank]))
        });
        less.collect()
    }

    /// How many levers have another value.
    pub(crate) fn differences(&self, one: usize, other: usize) -> usize {
        let levers = 0..self.levers.len();
        levers.filter(|&lever| self.place(one, lever) != self.place(other, lever)).count()
    }

    /// Calls `visit` with every candidate that has no more of anything than this one and everything
    /// else equal, itself included.
    pub(crate) fn up_to(&self, candidate: usize, mut visit: impl FnMut(usize)) {
        let mut all = vec![candidate];
        for capacity in &self.capacities {
            let rank = capacity.rank[self.place(candidate, capacity.lever)];
            let places = &capacity.ascending[..=rank];
            all = all
                .iter()
                .flat_map(|&one| {
                    places.iter().map(move |&place| self.moved(one, capacity.lever, place))
                })
                .collect();
        }
        all.into_iter().for_each(&mut visit);
    }

    /// For each candidate, how many of the marked ones [`Space::up_to`] visits.
    pub(crate) fn counted_up_to(&self, marked: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut counts: Vec<u32> = (0..self.len).map(|at| u32::from(marked(at))).collect();
        for capacity in &self.capacities {
            let stride = self.strides[capacity.lever];
            let block = stride * capacity.rank.len();
            // Along the lever, each place adds what the one below it has.
            for pair in capacity.ascending.windows(2) {
                for from in (0..self.len).step_by(block) {
                    for at in from..from + stride {
                        counts[at + pair[1] * stride] += counts[at + pair[0] * stride];
                    }
                }
            }
        }
        counts
    }
}

/// A lever that adds more of the same: each change one override of `replicas` or `units`, all of
/// them whole numbers.
fn capacity(at: usize, lever: &Lever) -> Option<Capacity> {
    let last = lever.key.rsplit('.').next()?;
    if !matches!(last, "replicas" | "units") {
        return None;
    }
    let number = |changes: &Vec<String>| match changes.as_slice() {
        [one] => one.rsplit_once('=')?.1.trim().replace('_', "").parse::<u64>().ok(),
        _ => None,
    };
    let numbers: Vec<u64> = lever.changes.iter().map(number).collect::<Option<_>>()?;
    let mut ascending: Vec<usize> = (0..numbers.len()).collect();
    ascending.sort_by_key(|&place| (numbers[place], place));
    let mut rank = vec![0; numbers.len()];
    ascending.iter().enumerate().for_each(|(at, &place)| rank[place] = at);
    Some(Capacity { lever: at, ascending, rank })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lever(key: &str, values: &[&str]) -> Lever {
        let changes = values.iter().map(|value| vec![format!("{key}={value}")]).collect();
        Lever { key: key.to_owned(), changes }
    }

    #[test]
    fn candidates_are_numbered_and_say_what_they_change() {
        let levers = [
            lever("pools.a.replicas", &["4", "1", "2"]),
            lever("pools.a.gpu", &["x", "y"]),
            lever("pools.b.replicas", &["1", "2"]),
        ];
        let space = Space::new(&levers).expect("few");
        assert_eq!(space.len(), 12);
        let all: std::collections::BTreeSet<Vec<String>> =
            (0..12).map(|at| space.changes(at)).collect();
        assert_eq!(all.len(), 12);
        assert_eq!(space.changes(3), ["pools.a.replicas=4", "pools.a.gpu=y", "pools.b.replicas=1"]);
        // Four of a and two of b, of x: three times two have no more.
        let mut below = Vec::new();
        space.up_to(6, |at| below.push(at));
        below.sort_unstable();
        assert_eq!(below, [0, 1, 2, 6, 7, 8]);
        assert_eq!(space.one_less(6), [8, 0]);
        assert_eq!(space.one_less(1), Vec::<usize>::new());
        let counts = space.counted_up_to(|at| at != 1);
        assert_eq!((counts[6], counts[1], counts[2], counts[9]), (5, 0, 1, 6));
    }

    #[test]
    fn too_many_are_refused_before_anything_is_written_out() {
        let values: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let levers = [lever("a", &values), lever("b", &values)];
        assert!(Space::new(&levers).is_none());
        assert!(Space::new(&levers[..1]).is_some());
    }
}
