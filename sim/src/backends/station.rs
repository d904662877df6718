//! A few places with a queue in front, as remotes and tools have.
//!
//! Invariants: nobody waits while a place is free; nobody in work is interrupted; the time for
//! which places were taken is an exact sum.
//!
//! Deliberately absent: how long anybody stays. The owner says who leaves, and when.

use super::queue::{Queue, Spot};
use super::{Discipline, Station as Spec};
use crate::units::{Span, Time};

/// What a station has for one who comes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A free place.
    Place,
    /// A place in the queue.
    Queue,
    /// Neither.
    Nothing,
}

/// Places and a queue of jobs.
#[derive(Clone, Debug)]
pub(super) struct Station<J> {
    servers: u32,
    queue_limit: usize,
    discipline: Discipline,
    in_flight: u32,
    queue: Queue<J>,
    /// Taken places · picoseconds up to `counted`.
    place_time: u128,
    counted: Time,
}

impl<J> Station<J> {
    pub(super) fn new(spec: &Spec) -> Station<J> {
        Station {
            // Without any place the queue would never move.
            servers: spec.servers.unwrap_or(u32::MAX).max(1),
            queue_limit: spec.queue_limit.map_or(usize::MAX, |limit| limit as usize),
            discipline: spec.discipline,
            in_flight: 0,
            queue: Queue::new(),
            place_time: 0,
            counted: Time::ZERO,
        }
    }

    /// Taken places.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What there is for one who comes now.
    pub(super) fn room(&self) -> Room {
        if self.in_flight < self.servers {
            Room::Place
        } else if self.queue.len() < self.queue_limit {
            Room::Queue
        } else {
            Room::Nothing
        }
    }

    /// Whether the order depends on how long the work is.
    pub(super) fn asks_for_work(&self) -> bool {
        self.discipline == Discipline::ShortestFirst
    }

    /// Takes a free place.
    pub(super) fn take(&mut self, now: Time) {
        assert!(self.in_flight < self.servers, "only a free place is taken");
        self.count(now);
        self.in_flight += 1;
    }

    /// Waits in the queue.
    pub(super) fn wait(&mut self, priority: i32, work: Span, job: J) -> Spot {
        let rank = match self.discipline {
            Discipline::Fifo => 0,
            // The bits of the integer with its sign turned round order like the integer.
            Discipline::Priority => u64::from(priority.cast_unsigned() ^ (1 << 31)),
            Discipline::ShortestFirst => work.0,
        };
        self.queue.push(rank, job)
    }

    /// Frees a place, and gives it to whoever is next: their job comes back.
    pub(super) fn leave(&mut self, now: Time) -> Option<J> {
        assert!(self.in_flight > 0, "only a taken place is left");
        self.count(now);
        let next = self.queue.pop();
        if next.is_none() {
            self.in_flight -= 1;
        }
        next
    }

    /// Takes a job out of the queue; `None` when it no longer waits.
    pub(super) fn cancel(&mut self, spot: Spot) -> Option<J> {
        self.queue.remove(spot)
    }

    /// Taken places · picoseconds from the start of the run to `at`, which is not in the past.
    pub(super) fn place_time(&self, at: Time) -> u128 {
        self.place_time + u128::from(self.in_flight) * u128::from(at.since(self.counted).0)
    }

    fn count(&mut self, now: Time) {
        self.place_time = self.place_time(now);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(servers: u32, queue_limit: Option<u32>, discipline: Discipline) -> Station<u32> {
        Station::new(&Spec { servers: Some(servers), queue_limit, discipline })
    }

    #[test]
    fn places_go_first_then_the_queue_then_nothing() {
        let mut station = station(1, Some(1), Discipline::Fifo);
        assert_eq!(station.room(), Room::Place);
        station.take(Time(10));
        assert_eq!(station.room(), Room::Queue);
        let spot = station.wait(0, Span::ZERO, 7);
        assert_eq!(station.room(), Room::Nothing);
        assert_eq!(station.cancel(spot), Some(7));
        assert_eq!(station.cancel(spot), None);
        assert_eq!(station.room(), Room::Queue);
        assert_eq!(station.leave(Time(30)), None);
        assert_eq!((station.room(), station.place_time(Time(100))), (Room::Place, 20));
    }

    #[test]
    fn a_place_passes_to_the_next_without_a_gap() {
        let mut station = station(1, None, Discipline::Fifo);
        station.take(Time(0));
        station.wait(0, Span::ZERO, 1);
        assert_eq!(station.leave(Time(5)), Some(1));
        assert_eq!((station.in_flight(), station.waiting()), (1, 0));
        assert_eq!(station.place_time(Time(9)), 9);
    }

    #[test]
    fn disciplines_order_by_what_they_say_and_ties_by_arrival() {
        let jobs = [(5, 30), (-7, 20), (5, 10), (-7, 20), (i32::MAX, 0), (i32::MIN, 30)];
        let order = |discipline| {
            let mut station = station(1, None, discipline);
            station.take(Time(0));
            for (number, &(priority, work)) in jobs.iter().enumerate() {
                station.wait(priority, Span(work), number as u32);
            }
            std::iter::from_fn(|| station.leave(Time(1))).collect::<Vec<_>>()
        };
        assert_eq!(order(Discipline::Fifo), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(Discipline::Priority), [5, 1, 3, 0, 2, 4]);
        assert_eq!(order(Discipline::ShortestFirst), [4, 2, 1, 3, 0, 5]);
    }
}
