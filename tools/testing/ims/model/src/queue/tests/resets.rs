// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn clearing_enable_forgets_the_contexts() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.ring(1);
    bench.process();
    bench.host.take();
    bench.put(CONTROL, 0);
    bench.put(CONTROL, 1);
    bench.ring(0);
    assert_eq!(bench.get(LATCHED), 2, "masked again");
    bench.process();
    bench.host.take();
    assert_eq!(bench.mask(1, false), [], "not pending");
    assert_eq!(bench.status_word(1), 1, "nobody wrote it");
}

#[test]
fn clearing_enable_clears_the_error() {
    let bench = Bench::enabled(Bench::quick());
    bench.begin_update(64, 1);
    assert_eq!(bench.get(STATUS), 0x200);
    bench.put(CONTROL, 0);
    assert_eq!(bench.get(STATUS), 0);
    bench.begin_update(0, 1);
    assert_eq!(bench.get(STATUS), 0x100);
    bench.put(CONTROL, 0);
    assert_eq!(bench.get(STATUS), 0, "also if it is clear already");
}

#[test]
fn clearing_enable_keeps_table_and_counters() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.ring(0);
    bench.ring(1);
    bench.ring(64);
    bench.process();
    bench.put(CONTROL, 0);
    assert_eq!(bench.counters(), [1, 1, 0, 2, 5, 1, 0]);
    assert_eq!(bench.get(TABLE_LO), TABLE as u32);
}

#[test]
fn nothing_is_sent_after_enable_was_cleared() {
    let bench = Bench::armed();
    bench.mask(1, true);
    for _ in 0..200 {
        bench.ring(0);
        bench.ring(1);
    }
    bench.shared.process();
    assert_eq!(bench.writes().len(), 64);
    let sent = bench.get(SENT);
    bench.put(CONTROL, 0);
    bench.process();
    assert_eq!(bench.host.take(), [], "neither messages nor status words");
    assert_eq!(bench.get(SENT), sent);
}

/// Stops an UPDATE that unmasks a pending context at each of its steps.
fn at_each_step(reset: impl Fn(&Bench)) {
    for steps in 0..3 {
        let bench = Bench::armed();
        bench.mask(1, true);
        bench.ring(1);
        bench.process();
        bench.context(0, true);
        bench.context(1, false);
        bench.begin_update(0, 2);
        for _ in 0..steps {
            let requests = bench.start();
            bench.finish(requests);
        }
        let in_flight = bench.start();
        bench.host.take();
        let before = (bench.get(UPDATES), bench.get(CONTEXTS));
        assert_eq!(bench.get(STATUS), BUSY, "step {steps}");

        reset(&bench);
        assert_eq!(bench.get(STATUS), 0, "step {steps}");
        bench.finish(in_flight);
        bench.process();
        assert_eq!(bench.host.take(), [], "step {steps}");
        assert_eq!(bench.get(STATUS), 0, "step {steps}");
        let after = (bench.get(UPDATES), bench.get(CONTEXTS));
        assert!(after == before || after == (0, 0), "step {steps}");

        // It is as good as new.
        bench.set_command(0x6);
        bench.context(1, true);
        bench.enable();
        bench.ring(0);
        bench.ring(1);
        bench.process();
        assert_eq!(bench.host.take(), [status(0, 1), status(1, 1)]);
        assert_eq!(bench.mask(1, false), [message(1), status(1, 0)]);
    }
}

#[test]
fn clearing_enable_ends_an_update_at_each_step() {
    at_each_step(|bench| bench.put(CONTROL, 0));
}

#[test]
fn flr_ends_an_update_at_each_step() {
    at_each_step(Bench::flr);
}

#[test]
fn an_old_read_does_not_serve_a_new_update() {
    let bench = Bench::armed();
    bench.context_with(0, 0x11, 0);
    bench.begin_update(0, 1);
    let old = bench.start();
    bench.put(CONTROL, 0);
    bench.put(CONTROL, 1);
    bench.context_with(0, 0x22, 0);
    bench.begin_update(0, 1);
    bench.finish(old);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.process();
    assert_eq!(bench.get(STATUS), 0);
    bench.ring(0);
    bench.process();
    assert_eq!(bench.writes(), [Event::Write(TARGET, vec![0x22, 0, 0, 0])]);
}

#[test]
fn clearing_enable_frees_a_device_whose_host_does_not_answer() {
    let bench = Bench::armed();
    bench.with_thread(|| {
        bench.host.hold();
        bench.begin_update(0, 1);
        wait(|| bench.host.holds() > 0);
        bench.put(CONTROL, 0);
        assert_eq!(bench.get(STATUS), 0);
        bench.host.release();
    });
    assert_eq!(bench.get(STATUS), 0);
}

#[test]
fn late_refusals_are_counted_until_flr() {
    let bench = Bench::armed();
    bench.host.refuse(TARGET..TARGET + 4);
    bench.ring(0);
    let in_flight = bench.start();
    bench.put(CONTROL, 0);
    bench.finish(in_flight);
    assert_eq!(bench.get(REFUSED), 1);

    bench.put(CONTROL, 1);
    bench.context(0, false);
    bench.update(0, 1);
    bench.ring(0);
    let in_flight = bench.start();
    bench.flr();
    bench.finish(in_flight);
    assert_eq!(bench.get(REFUSED), 0);
}

#[test]
fn flr_and_qemu_reset_everything() {
    let qemu = |bench: &Bench| bench.shared.device().reset();
    for reset in [&Bench::flr as &dyn Fn(&Bench), &qemu] {
        let bench = Bench::armed();
        bench.mask(1, true);
        bench.ring(0);
        bench.ring(1);
        bench.ring(64);
        bench.process();
        bench.ring(0);
        bench.begin_update(64, 1);
        bench.host.take();
        reset(&bench);
        assert_eq!(bench.get_in(Region::Config, 4) & 4, 0, "bus mastering off");
        for offset in (0x08..0x1000).step_by(4) {
            assert_eq!(bench.get(offset), 0, "{offset:#x}");
        }
        assert_eq!((bench.get(MAGIC), bench.get(QUEUES)), (0x5153_4d49, 64));
        bench.set_command(0x6);
        bench.process();
        assert_eq!(bench.host.take(), []);
        bench.enable();
        assert_eq!(bench.mask(1, false), [], "not pending");
    }
}
