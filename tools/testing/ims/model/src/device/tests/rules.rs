// SPDX-License-Identifier: GPL-2.0

//! The rules that a driver has to keep, as the test page counts violations.

use super::*;
use crate::fault::Fault;
use crate::shared::Model;

const SLOT: u64 = IMS + 5 * 16;
const CTRL: u64 = SLOT + 12;
const CLEAN: [u32; 5] = [0; 5];

/// Blank, unmasked, unread, handle, and the slot of the last one.
fn violations(bench: &Bench) -> [u32; 5] {
    for offset in [0x144, 0x14c, 0x154, 0x15c, 0x164] {
        assert_eq!(bench.page(offset), 0);
    }
    [0x140, 0x148, 0x150, 0x158, 0x160].map(|at| bench.page(at))
}

fn write_message(bench: &Bench, data: u32) {
    bench.put64(SLOT, 0xfee0_1000);
    bench.put(SLOT + 8, data);
}

fn reset_device(bench: &Bench) {
    assert_eq!(bench.command(5, 0), 0);
}

/// Slot 5 has a message and is unmasked.
fn live() -> Bench {
    let bench = Bench::new(with_handles());
    write_message(&bench, 1);
    bench.put(CTRL, 0);
    assert_eq!(violations(&bench), CLEAN);
    bench
}

#[test]
fn a_correct_driver_breaks_no_rule() {
    let bench = Bench::enabled(with_handles());
    // Made masked and clean; masked slots may get any message.
    bench.put(CTRL, 1);
    bench.put64(SLOT, 0);
    for round in 0..3 {
        write_message(&bench, round);
        bench.put(CTRL, 0);
        bench.command(13, 0x1_0005);
        bench.set_page(0xc0, 5);
        // Masked twice, and freed with one pending.
        bench.put(CTRL, 1);
        bench.put(CTRL, 1);
        bench.get(CTRL);
        bench.set_page(0xc0, 5);
        assert_eq!(bench.command(14, 0x1_0005), 0);
        bench.put64(SLOT, 0);
        bench.put(SLOT + 8, 0);
        // Emptied into another message.
        write_message(&bench, 0x77);
        bench.put(CTRL, 0);
        assert_eq!(bench.get(CTRL), 0);
        bench.put(CTRL, 1);
        assert_eq!(bench.get(CTRL), 1);
        write_message(&bench, 0);
    }
    // Reset and restored: the messages, then the masks.
    for reset in [reset_device, |bench: &Bench| bench.shared.device().reset()] {
        bench.put(CTRL, 0);
        bench.put(CTRL, 1);
        reset(&bench);
        bench.set_command(0x6);
        write_message(&bench, 1);
        bench.put(CTRL, 0);
    }
    assert_eq!(violations(&bench), CLEAN);
    assert_eq!(bench.page(0x40), 6);
}

#[test]
fn unmasked_without_a_message() {
    let bench = Bench::new(with_handles());
    bench.put(CTRL, 0);
    assert_eq!(violations(&bench), [1, 0, 0, 0, 6]);
    bench.put(CTRL, 1);
    bench.get(CTRL);
    write_message(&bench, 1);
    // The device keeps the old address, but the driver meant none.
    bench.put64(SLOT, 0);
    bench.put(CTRL, 0);
    assert_eq!(violations(&bench), [2, 0, 0, 0, 6], "taken away again");
    bench.put(CTRL, 1);
    bench.get(CTRL);
    bench.put(SLOT, 0);
    bench.put(SLOT + 4, 0);
    bench.put(CTRL, 0);
    assert_eq!(violations(&bench), [3, 0, 0, 0, 6], "in halves");

    let bench = live();
    bench.command(5, 0);
    bench.put(CTRL, 0);
    assert_eq!(violations(&bench), [1, 0, 0, 0, 6], "since the reset");
}

#[test]
fn message_and_unmask_in_one_access() {
    let bench = Bench::new(with_handles());
    let slot = [0xfee0_1000u32, 0, 1, 0].map(u32::to_le_bytes).concat();
    bench.shared.device().write(Region::Bar0, SLOT, &slot);
    assert_eq!(violations(&bench), CLEAN);
}

#[test]
fn enabled_with_unmasked_slots_without_a_message() {
    let enabled = |prepare: &dyn Fn(&Bench)| {
        let bench = Bench::new(Config {
            starts_unmasked: true,
            ..with_handles()
        });
        assert_eq!(bench.get(CTRL), 0);
        assert_ne!(bench.get(SLOT), 0);
        prepare(&bench);
        bench.set_command(0x6);
        bench.configure(0, 2);
        assert_eq!(violations(&bench), CLEAN);
        bench.command(1, 0);
        violations(&bench)
    };
    let mask = |bench: &Bench, slots: std::ops::Range<u64>| {
        for slot in slots {
            bench.put(IMS + slot * 16 + 12, 1);
        }
    };
    assert_eq!(enabled(&|_| ()), [2048, 0, 0, 0, 2048]);
    assert_eq!(enabled(&|bench| mask(bench, 0..2047)), [1, 0, 0, 0, 2048]);
    assert_eq!(enabled(&|bench| mask(bench, 0..2048)), CLEAN);
    assert_eq!(enabled(&reset_device), CLEAN);
    assert_eq!(enabled(&|bench| bench.shared.device().reset()), CLEAN);
    let machine = |bench: &Bench| Model::reset(&mut *bench.shared.device());
    assert_eq!(enabled(&machine), [2048, 0, 0, 0, 2048]);
}

#[test]
fn reset_device_can_leave_slots_unmasked() {
    let bench = Bench::new(Config {
        starts_unmasked: true,
        reset_keeps_interrupts: true,
        ..with_handles()
    });
    bench.command(5, 0);
    assert_eq!(bench.get(CTRL), 0);
    bench.put(CTRL, 1);
    bench.put64(SLOT, 0);
    assert_eq!(violations(&bench), [0, 0, 1, 0, 6], "history is kept");
}

#[test]
fn message_of_an_unmasked_slot() {
    for offset in [0, 4, 8] {
        let bench = live();
        bench.put(SLOT + offset, 0xfee0_0000);
        assert_eq!(violations(&bench), [0, 1, 0, 0, 6]);
    }
}

#[test]
fn message_after_masking_before_a_read() {
    let bench = live();
    bench.put(CTRL, 1);
    // Other slots and the test page do not matter.
    bench.put(SLOT + 16, 0xfee0_0000);
    bench.page(0x40);
    write_message(&bench, 2);
    assert_eq!(violations(&bench), [0, 0, 1, 0, 6], "once");

    // A read of any register will do.
    let bench = live();
    bench.put(CTRL, 1);
    bench.get(GENSTATS);
    write_message(&bench, 2);
    assert_eq!(violations(&bench), CLEAN);
}

#[test]
fn masking_twice_needs_one_read() {
    let bench = live();
    bench.put(CTRL, 1);
    bench.get(CTRL);
    bench.put(CTRL, 1);
    write_message(&bench, 2);
    assert_eq!(violations(&bench), CLEAN);
}

#[test]
fn handle_after_masking_before_a_read() {
    let bench = live();
    bench.command(13, 0x1_0005);
    bench.put(CTRL, 1);
    bench.put(CMD, 14 << 20 | 0x1_0005);
    assert_eq!(violations(&bench), [0, 0, 0, 1, 6]);

    let bench = live();
    bench.put(CTRL, 1);
    bench.put(CMD, 13 << 20 | 0x1_0005);
    assert_eq!(violations(&bench), [0, 0, 0, 1, 6]);

    // Those of other slots, MSI-X's, and such as there are not.
    let bench = live();
    bench.command(13, 0x1_0005);
    bench.put(CTRL, 1);
    for operand in [0x1_0006, 5, 0x1_ffff, 0x1_0800] {
        bench.put(CMD, 13 << 20 | operand);
    }
    for operand in [0x1_0006, 5, 0x1_0800, 0x1_ffff] {
        bench.put(CMD, 14 << 20 | operand);
    }
    bench.put(CMD, 2 << 20 | 5);
    assert_eq!(violations(&bench), CLEAN);
}

#[test]
fn a_reset_begins_anew() {
    for keeps in [false, true] {
        let bench = Bench::new(Config {
            reset_keeps_interrupts: keeps,
            ..with_handles()
        });
        write_message(&bench, 1);
        bench.put(CTRL, 0);
        bench.put(CTRL, 1);
        bench.put(CMD, 5 << 20);
        bench.put(SLOT + 8, 2);
        assert_eq!(violations(&bench)[2], u32::from(keeps));
    }
}

#[test]
fn the_driver_is_judged_by_what_it_wrote() {
    let bench = live();
    bench.set_page(0xd8, Fault::StuckMask as u32);
    bench.put(CTRL, 1);
    assert_eq!(bench.get(CTRL), 0);
    write_message(&bench, 2);
    assert_eq!(violations(&bench), CLEAN);
}

#[test]
fn a_device_that_lost_writes_judges_nobody_before_a_reset() {
    let bench = live();
    bench.set_page(0xd8, Fault::AllOnes as u32);
    bench.put(CTRL, 1);
    bench.set_page(0xd8, 0);
    write_message(&bench, 2);
    assert_eq!(violations(&bench), CLEAN);
    bench.command(5, 0);
    bench.put(CTRL, 0);
    assert_eq!(violations(&bench), [1, 0, 0, 0, 6]);
}

#[test]
fn counter_reset() {
    let bench = live();
    bench.put(SLOT, 0);
    bench.put(CTRL, 0);
    bench.put(CTRL, 1);
    bench.put(SLOT, 0);
    bench.put(CTRL, 0);
    bench.put(CTRL, 1);
    bench.put(CMD, 13 << 20 | 0x1_0005);
    assert_eq!(violations(&bench), [2, 1, 1, 1, 6]);
    bench.set_page(0xc4, 0);
    assert_eq!(violations(&bench), CLEAN);
}
