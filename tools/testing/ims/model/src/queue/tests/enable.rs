// SPDX-License-Identifier: GPL-2.0

//! What ENABLE takes.

use super::*;

#[test]
fn enable_takes_every_context_at_once() {
    let bench = Bench::new(Config {
        update: Duration::from_secs(1000),
        ..Config::default()
    });
    for queue in 0..64 {
        bench.context(queue, queue % 2 == 0);
    }
    bench.put(TABLE_LO, TABLE as u32);
    bench.put(CONTROL, 1);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.process();
    assert_eq!(bench.get(STATUS), 0);
    let reads: Vec<_> = (0..64)
        .map(|queue| Event::Read(TABLE + queue * 32, 16))
        .collect();
    assert_eq!(bench.host.take(), reads);
    bench.ring(4);
    bench.ring(5);
    bench.process();
    assert_eq!(bench.host.take(), [status(4, 1), message(5)]);
    assert_eq!(bench.counters(), [1, 1, 0, 0, 0, 0, 0], "no UPDATE");
}

#[test]
fn enable_tells_its_error() {
    let bench = Bench::enabled_with(|bench| bench.context_with(3, 0x33, 2));
    assert_eq!(bench.get(STATUS), 0x500);
    bench.ring(3);
    bench.process();
    assert_eq!(bench.host.take(), [status(3, 1)], "not taken");
    assert_eq!(bench.update(0, 1), 0, "the next UPDATE clears it");

    let bench = Bench::enabled_with(|bench| bench.set_command(0x2));
    assert_eq!(bench.get(STATUS), 0x400, "no bus mastering");
}

#[test]
fn an_update_waits_until_enable_is_done() {
    let bench = Bench::new(Bench::quick());
    bench.context_with(3, 0x33, 2);
    bench.put(TABLE_LO, TABLE as u32);
    bench.put(CONTROL, 1);
    let read = bench.start();
    bench.context(0, false);
    bench.begin_update(0, 1);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.begin_update(1, 1);
    assert_eq!(bench.get(STATUS), 0x300 | BUSY, "no more than one");
    bench.finish(read);
    bench.process();
    assert_eq!(bench.get(STATUS), 0x300);
    let taken = (bench.get(UPDATES), bench.get(CONTEXTS));
    assert_eq!(taken, (1, 1));
    bench.host.take();
    bench.ring(0);
    bench.process();
    assert_eq!(bench.host.take(), [message(0)]);

    // Its own error is the one that counts.
    let bench = Bench::new(Bench::quick());
    bench.context_with(3, 0x33, 2);
    bench.put(TABLE_LO, TABLE as u32);
    bench.put(CONTROL, 1);
    bench.begin_update(0, 1);
    bench.process();
    assert_eq!(bench.get(STATUS), 0);

    // A reset drops it.
    bench.put(CONTROL, 0);
    bench.put(CONTROL, 1);
    bench.begin_update(0, 1);
    bench.put(CONTROL, 0);
    bench.process();
    assert_eq!((bench.get(STATUS), bench.get(UPDATES)), (0, 1));
}
