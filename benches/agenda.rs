//! The agenda alone: taking the next event and setting the slot's next turn, with 512 slots.
//!
//! Each slot moves on by a step of its own, as replicas with different iterations do, so that the
//! winner changes all the time. Deliberately absent: the one-off heap, which holds few events.

use criterion::{Criterion, Throughput};
use sim::agenda::{Agenda, Next};
use sim::event::RANK_BOUNDARY;
use sim::units::Time;
use std::hint::black_box;

const SLOTS: u32 = 512;
const EVENTS: u64 = 100_000;

fn next_and_set(criterion: &mut Criterion) {
    let mut agenda: Agenda<()> = Agenda::new(SLOTS as usize);
    for slot in 0..SLOTS {
        agenda.set(slot, Time(u64::from(slot)), RANK_BOUNDARY);
    }
    let mut group = criterion.benchmark_group("agenda");
    group.sample_size(20).throughput(Throughput::Elements(EVENTS));
    group.bench_function("next and set, 512 slots", |bencher| {
        bencher.iter(|| {
            for _ in 0..EVENTS {
                let Some((at, Next::Slot(slot, rank))) = agenda.take_next() else { return };
                let step = 9_000 + u64::from(slot.wrapping_mul(0x9E37_79B9) >> 20);
                agenda.set(black_box(slot), Time(at.0 + step), rank);
            }
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    next_and_set(&mut criterion);
    criterion.final_summary();
}
