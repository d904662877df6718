//! The order of things that wait for each other.
//!
//! Invariants: what does not wait for each other stays in the order it was written in; the work is
//! linear in the number of edges, up to a logarithm.

use std::collections::BTreeSet;

/// An order in which each thing comes after those it waits for, by positions; or a cycle, each of
/// whose things waits for the next, the last for the first.
pub(super) fn order(waits_for: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let count = waits_for.len();
    let mut missing: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, before) in waits_for.iter().enumerate() {
        for &before in before {
            waiting[before].push(at);
        }
    }
    let mut ready: BTreeSet<usize> = (0..count).filter(|&at| missing[at] == 0).collect();
    let mut sorted = Vec::with_capacity(count);
    while let Some(at) = ready.pop_first() {
        sorted.push(at);
        for &next in &waiting[at] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.insert(next);
            }
        }
    }
    if sorted.len() == count { Ok(sorted) } else { Err(cycle(waits_for, &missing)) }
}

/// Each thing that is left waits for another that is left, so walking on comes round.
fn cycle(waits_for: &[Vec<usize>], missing: &[usize]) -> Vec<usize> {
    let left = |at: &usize| missing[*at] > 0;
    let mut seen = vec![None; missing.len()];
    let mut walk: Vec<usize> = Vec::new();
    let mut here = (0..missing.len()).find(left);
    while let Some(at) = here {
        if let Some(first) = seen[at] {
            return walk.split_off(first);
        }
        seen[at] = Some(walk.len());
        walk.push(at);
        here = waits_for[at].iter().copied().find(left);
    }
    walk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_keeps_what_was_written_and_a_cycle_is_found() {
        assert_eq!(order(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
        assert_eq!(order(&[vec![], vec![0], vec![0], vec![1, 2]]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(order(&[vec![1], vec![2], vec![1], vec![]]), Err(vec![1, 2]));
        assert_eq!(order(&[vec![0]]), Err(vec![0]));
    }
}
