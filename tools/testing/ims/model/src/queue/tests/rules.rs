// SPDX-License-Identifier: GPL-2.0

//! The rules that a driver has to keep.

use super::*;

const CLEAN: [u32; 4] = [0; 4];

/// Takes context 1 without a look at STATUS.
fn update_unseen(bench: &Bench) {
    bench.begin_update(1, 1);
    bench.process();
}

#[test]
fn a_correct_driver_breaks_no_rule() {
    let bench = Bench::enabled(Bench::quick());
    for round in 0..3 {
        // Requested: the message first, and its mask.
        bench.context_with(1, round, 1);
        assert_eq!(bench.update(1, 1), 0);
        bench.context_with(1, round, 0);
        assert_eq!(bench.update(0, 64), 0);
        bench.ring(1);
        // Masked twice, then freed; one is pending.
        for _ in 0..2 {
            bench.context_with(1, round, 1);
            assert_eq!(bench.update(1, 1), 0);
        }
        bench.ring(1);
        bench.host.fill(TABLE + 32, &[0; 12]);
        assert_eq!(bench.update(1, 1), 0);
        // Emptied into another message.
        bench.context_with(1, 0x77, 1);
        assert_eq!(bench.update(1, 1), 0);
        bench.context_with(1, 0x77, 0);
        assert_eq!(bench.update(1, 1), 0);
        assert_eq!(bench.status_word(1), 0);
        bench.context_with(1, 0x77, 1);
        assert_eq!(bench.update(1, 1), 0);
    }
    // Asleep: all masked, reset, enabled, and as before.
    bench.mask(1, false);
    bench.mask(1, true);
    bench.put(CONTROL, 0);
    bench.enable();
    bench.mask(1, false);
    assert_eq!(bench.violations(), CLEAN);
    assert_eq!(bench.get(SENT), 6);
}

#[test]
fn message_and_unmask_by_one_update() {
    let bench = Bench::enabled(Bench::quick());
    assert_eq!(bench.mask(1, false), []);
    assert_eq!(bench.violations(), CLEAN);
}

#[test]
fn unmasked_without_a_message() {
    let unmask = |bench: &Bench| bench.host.fill(TABLE + 32 + 12, &[0; 4]);
    let bench = Bench::enabled_with(unmask);
    assert_eq!(bench.violations(), [1, 0, 0, 2], "by ENABLE");
    bench.ring(1);
    assert_eq!(bench.violations(), [2, 0, 0, 2], "sent");

    let bench = Bench::enabled(Bench::quick());
    unmask(&bench);
    update_unseen(&bench);
    assert_eq!(bench.violations(), [1, 0, 0, 2], "by an UPDATE");

    bench.put(CONTROL, 0);
    assert_eq!(bench.violations(), [1, 0, 0, 2]);
    bench.flr();
    assert_eq!(bench.violations(), CLEAN);
}

#[test]
fn message_of_an_unmasked_context() {
    let bench = Bench::armed();
    bench.context_with(1, 0x99, 0);
    bench.update(0, 64);
    assert_eq!(bench.violations(), [0, 1, 0, 2]);
    bench.update(0, 64);
    assert_eq!(bench.violations(), [0, 1, 0, 2], "it is the same");
}

#[test]
fn message_that_changes_with_the_mask() {
    let bench = Bench::armed();
    bench.context_with(1, 0x99, 1);
    bench.update(1, 1);
    assert_eq!(bench.violations(), [0, 0, 1, 2]);
}

#[test]
fn message_that_changes_before_status_is_read() {
    let bench = Bench::armed();
    bench.context(1, true);
    update_unseen(&bench);
    bench.context_with(1, 0x99, 1);
    update_unseen(&bench);
    assert_eq!(bench.violations(), [0, 0, 1, 2]);

    // Nor does it help that it was busy.
    let bench = Bench::armed();
    bench.context(1, true);
    bench.begin_update(1, 1);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.process();
    bench.context_with(1, 0x99, 1);
    update_unseen(&bench);
    assert_eq!(bench.violations(), [0, 0, 1, 2]);

    let bench = Bench::armed();
    bench.context(1, true);
    update_unseen(&bench);
    assert_eq!(bench.get(STATUS), 0);
    bench.context_with(1, 0x99, 1);
    update_unseen(&bench);
    assert_eq!(bench.violations(), CLEAN);
}

#[test]
fn what_is_not_taken_breaks_no_rule() {
    let bench = Bench::armed();
    bench.context_with(1, 0x99, 2);
    assert_eq!(bench.update(1, 1), 5);
    assert_eq!(bench.violations(), CLEAN);
}

/// Used by another driver before.
fn used() -> Bench {
    Bench::new(Config {
        starts_unmasked: true,
        ..Bench::quick()
    })
}

#[test]
fn contexts_can_start_unmasked() {
    let bench = used();
    bench.enable();
    assert_eq!(bench.violations(), CLEAN);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.host.take(), [status(1, 1)], "ENABLE has masked it");
    assert_eq!(bench.mask(1, false), [message(1), status(1, 0)]);

    let bench = used();
    bench.put(TABLE_LO, TABLE as u32);
    bench.put(CONTROL, 1);
    bench.ring(1);
    bench.process();
    let old = Event::Write(0xfeef_fff8, 0x7ffu32.to_le_bytes().into());
    assert_eq!(bench.writes(), [old]);
    assert_eq!(bench.violations(), [1, 0, 0, 2]);
}

#[test]
fn contexts_are_masked_by_a_reset_but_the_machines() {
    let latched = |reset: &dyn Fn(&Bench)| {
        let bench = used();
        reset(&bench);
        bench.put(CONTROL, 1);
        bench.ring(1);
        bench.get(LATCHED)
    };
    assert_eq!(latched(&Bench::flr), 1);
    assert_eq!(latched(&|bench| bench.put(CONTROL, 0)), 1);
    let machine = |bench: &Bench| Model::reset(&mut *bench.shared.device());
    assert_eq!(latched(&machine), 0);
}
