//! Labels beside each other, without one over another.

/// Places for things of so many units each that want to stand around `wanted`: as near as there is
/// room, in the order of what they want, between `from` and `to` while that is long enough. Answers
/// where each begins, in the order of the input.
pub(super) fn spread(wanted: &[(i32, i32)], (from, to): (i32, i32)) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&at| wanted[at].0);
    let mut begins = vec![from; wanted.len()];
    let mut free = from;
    for &at in &order {
        let (middle, size) = wanted[at];
        begins[at] = (middle - size / 2).max(free);
        free = begins[at] + size;
    }
    // What has been pushed over the end pushes back.
    let mut last = to.max(from + wanted.iter().map(|one| one.1).sum::<i32>());
    for &at in order.iter().rev() {
        begins[at] = begins[at].min(last - wanted[at].1);
        last = begins[at];
    }
    begins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_over_another() {
        let crowds: [&[(i32, i32)]; 4] = [
            &[(50, 10), (52, 10), (51, 10), (90, 20)],
            &[(0, 30), (0, 30), (100, 30)],
            &[(100, 40), (100, 40), (100, 40)],
            &[],
        ];
        for crowd in crowds {
            let begins = spread(crowd, (0, 120));
            let mut taken: Vec<(i32, i32)> =
                begins.iter().zip(crowd).map(|(&from, one)| (from, from + one.1)).collect();
            taken.sort_unstable();
            assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{taken:?}");
            assert!(taken.iter().all(|&(from, to)| from >= 0 && to <= 120), "{taken:?}");
        }
        assert_eq!(
            spread(&[(30, 10), (80, 10)], (0, 120)),
            [25, 75],
            "nobody is moved without need"
        );
    }
}
