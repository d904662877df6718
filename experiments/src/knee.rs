//! Where more load begins to cost more than it brings.
//!
//! The knee of a curve of latency over load is where load per latency, Kleinrock's *power*, is largest:
//! there a straight line from the origin touches the curve (L. Kleinrock, "Power and deterministic rules
//! of thumb for probabilistic problems in computer communications", ICC 1979).
//!
//! Invariant: the knee is a load that was tried, with one tried on either side.
//!
//! Deliberately absent: loads between those tried; the knee is as sharp as they are dense.

/// The load with the largest power, of points `(load, latency)` in any order; `None` where it is the
/// smallest or the largest of them, so that the knee may lie beyond.
#[must_use]
pub fn knee(points: &[(f64, f64)]) -> Option<f64> {
    let is_usable = |(load, latency): &&(f64, f64)| *load > 0.0 && *latency > 0.0;
    let mut points: Vec<(f64, f64)> = points.iter().filter(is_usable).copied().collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let power = |&(load, latency): &(f64, f64)| load / latency;
    let best =
        (0..points.len()).max_by(|&a, &b| power(&points[a]).total_cmp(&power(&points[b])))?;
    (best > 0 && best + 1 < points.len()).then(|| points[best].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one server with random service the power is largest at half the load (Kleinrock 1979).
    #[test]
    fn the_knee_of_a_queue_is_at_half_the_load() {
        let queue = |n: u32| (f64::from(n) / 20.0, 1.0 / (1.0 - f64::from(n) / 20.0));
        let points: Vec<(f64, f64)> = (1..20).rev().map(queue).collect();
        assert_eq!(knee(&points), Some(0.5));
    }

    #[test]
    fn a_knee_at_an_end_is_not_known() {
        let flat = [(1.0, 1.0), (2.0, 1.0), (3.0, 1.01)];
        let steep = [(1.0, 1.0), (2.0, 9.0), (3.0, 100.0)];
        for points in [&flat[..], &steep, &flat[..1], &[]] {
            assert_eq!(knee(points), None, "{points:?}");
        }
    }
}
