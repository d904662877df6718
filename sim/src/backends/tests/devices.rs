//! Users' devices in a queue: whose answer is the shortest.

use super::*;

fn class(slowness: f64) -> DeviceClass {
    DeviceClass {
        name: String::new(),
        share: 0.5,
        slowness,
        throttled: 0.0,
        throttled_slowness: 1.0,
    }
}

/// 310 ms of work at a quarter of the speed are more than 610 at full speed.
#[test]
fn the_shortest_answer_is_the_one_that_its_device_gives_first() {
    let mut spec = plain();
    spec.station = Station { discipline: Discipline::ShortestFirst, ..one_place(None) };
    spec.devices = vec![class(1.0), class(4.0)];
    let devices = Devices::new(&spec.devices).expect("two classes");
    let user = |slowness| {
        let has = |&user: &u64| devices.slowness(user, 0) == Some(slowness);
        (0..1_000).find(has).expect("half of the users have it")
    };
    let mut remote = Remote::new(&spec, 1);
    let first = started(remote.offer(at(0), &attempt(0)));
    queued(remote.offer(at(0), &Attempt { user_key: user(4.0), output: 11, ..attempt(1) }));
    queued(remote.offer(at(0), &Attempt { user_key: user(1.0), output: 26, ..attempt(2) }));
    let next = remote.leave(first.ends, &first).expect("two wait");
    assert_eq!((next.ticket.slot, next.ends), (2, first.ends + ms(610)));
    let last = remote.leave(next.ends, &next).expect("one waits");
    assert_eq!((last.ticket.slot, last.ends), (1, next.ends + ms(4 * 310)));
}
