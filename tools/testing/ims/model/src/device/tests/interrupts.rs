// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::config::HandleMode;

const CTRL: u64 = IMS + 5 * 16 + 12;

fn with_handle(handle: u16) -> Fields {
    Fields {
        flags: WITH_INTERRUPT,
        handle,
        ..noop()
    }
}

/// Slot 5's handle, requested.
fn handle(bench: &Bench) -> u16 {
    (bench.command(13, 0x1_0005) >> 8) as u16
}

#[test]
fn record_is_written_before_the_message() {
    let bench = Bench::enabled(with_handles());
    bench.arm(5, 0xfee0_1000, 0x4321);
    let handle = handle(&bench);
    bench.bus.take();
    assert_eq!(bench.run(with_handle(handle)), 0x01);
    let events = [Event::Write(RECORD, 32), Event::Post(0xfee0_1000, 0x4321)];
    assert_eq!(bench.bus.take(), events);
}

#[test]
fn portal_page_decides_the_table() {
    let bench = Bench::enabled(with_handles());
    bench.arm(5, 0xfee0_1000, 0x4321);
    let ims = handle(&bench);
    let msix = (bench.command(13, 5) >> 8) as u16;
    assert_ne!(ims, msix);
    for (page, handle, expected) in [
        (0, msix, Some(Event::Signal(5))),
        (1, msix, Some(Event::Signal(5))),
        (2, ims, Some(Event::Post(0xfee0_1000, 0x4321))),
        (3, ims, Some(Event::Post(0xfee0_1000, 0x4321))),
        (0, ims, None),
        (1, ims, None),
        (2, msix, None),
        (3, msix, None),
        (0, 5, None),
        (2, 5, None),
    ] {
        bench.submit_to(0, page, with_handle(handle).bytes());
        bench.process();
        let status = if expected.is_some() { 0x01 } else { 0x19 };
        assert_eq!(bench.bus.peek(RECORD, 1), [status], "page {page}");
        assert_eq!(bench.interrupts(), Vec::from_iter(expected), "page {page}");
    }
}

#[test]
fn released_handle_is_invalid() {
    let bench = Bench::enabled(with_handles());
    let handle = handle(&bench);
    assert_eq!(bench.run(with_handle(handle)), 0x01);
    bench.command(14, 0x1_0005);
    assert_eq!(bench.run(with_handle(handle)), 0x19);
}

#[test]
fn identity_handles_are_indices() {
    let bench = Bench::enabled(Config {
        handles: HandleMode::Identity,
        ..with_handles()
    });
    bench.arm(5, 0xfee0_1000, 1);
    assert_eq!(bench.run(with_handle(5)), 0x01);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_1000, 1)]);
    assert_eq!(bench.run(with_handle(2048)), 0x19);
}

#[test]
fn identity_handles_of_the_first_portals_are_vectors() {
    let bench = Bench::enabled(Config::default());
    for page in [0, 1] {
        for (handle, status) in [(0, 0x01), (1, 0x01), (8, 0x01), (9, 0x19), (2047, 0x19)] {
            bench.submit_to(0, page, with_handle(handle).bytes());
            bench.process();
            assert_eq!(bench.bus.peek(RECORD, 1), [status], "{page} {handle}");
            let expected = (status == 0x01).then_some(Event::Signal(handle));
            assert_eq!(bench.interrupts(), Vec::from_iter(expected));
        }
    }
    // A completion is no cause of vector 0's.
    assert_eq!(bench.get(INTCAUSE), 0);
}

#[test]
fn no_interrupt_without_the_flag() {
    let bench = Bench::enabled(Config::default());
    bench.arm(0, 0xfee0_1000, 1);
    assert_eq!(bench.run(noop()), 0x01);
    assert_eq!(bench.interrupts(), []);
}

#[test]
fn failed_descriptor_still_interrupts() {
    let bench = Bench::enabled(with_handles());
    bench.arm(5, 0xfee0_1000, 1);
    let handle = handle(&bench);
    assert_eq!(
        bench.run(Fields {
            opcode: 3,
            ..with_handle(handle)
        }),
        0x13
    );
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_1000, 1)]);
}

#[test]
fn masked_slot_latches_and_replays_one_message() {
    let bench = Bench::enabled(with_handles());
    bench.arm(5, 0xfee0_1000, 1);
    bench.put(CTRL, 1);
    let handle = handle(&bench);
    bench.run(with_handle(handle));
    bench.run(with_handle(handle));
    assert_eq!(bench.interrupts(), []);
    assert_eq!(bench.get(CTRL), 3);
    bench.put(CTRL, 0);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_1000, 1)]);
    assert_eq!(bench.get(CTRL), 0);
    bench.put(CTRL, 1);
    bench.put(CTRL, 0);
    assert_eq!(bench.interrupts(), []);
}

#[test]
fn message_uses_what_the_slot_says_at_that_time() {
    let bench = Bench::new(with_handles());
    bench.set_page(0xc0, 5);
    bench.arm(5, 0xfee0_2000, 0x77);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_2000, 0x77)]);
    bench.put64(IMS + 5 * 16, 0xfee0_3000);
    bench.put(IMS + 5 * 16 + 8, 0x78);
    bench.set_page(0xc0, 5);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_3000, 0x78)]);
}

#[test]
fn an_ignored_address_leaves_the_old_message() {
    let bench = Bench::new(Config::default());
    bench.arm(5, 0xfee0_2003, 0x77);
    bench.put64(IMS + 5 * 16, 0x1_fee0_3000);
    bench.put(IMS + 5 * 16, 0);
    bench.put(IMS + 5 * 16 + 4, 1);
    assert_eq!(bench.get64(IMS + 5 * 16), 0xfee0_2000);
    bench.set_page(0xc0, 5);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_2000, 0x77)]);
}

#[test]
fn ignored_completions_raise_nothing() {
    let bench = Bench::enabled(Config::default());
    bench.arm(5, 0xfee0_1000, 1);
    for ctrl in [4, 5] {
        bench.put(CTRL, ctrl);
        assert_eq!(bench.run(with_handle(5)), 0x01);
        assert_eq!(bench.interrupts(), []);
        assert_eq!(bench.get(CTRL), ctrl, "not pending");
    }
    // Other causes do not look at it, nor does an unmask.
    bench.set_page(0xc0, 5);
    assert_eq!(bench.get(CTRL), 7);
    bench.put(CTRL, 4);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_1000, 1)]);

    bench.put(MSIXPERM + 5 * 8, 4);
    bench.submit_to(0, 0, with_handle(5).bytes());
    bench.process();
    assert_eq!(bench.interrupts(), []);
    bench.put(MSIXPERM, 4);
    bench.put(CMD, 1 << 31 | 3 << 20);
    assert_eq!(bench.interrupts(), [Event::Signal(0)], "a command's end");
}

#[test]
fn without_bus_mastering_nothing_leaves() {
    let bench = Bench::new(with_handles());
    bench.arm(5, 0xfee0_1000, 1);
    bench.set_command(0x2);
    bench.set_page(0xc0, 5);
    bench.put(CMD, 1 << 31 | 5 << 20);
    assert_eq!(bench.bus.take(), []);
    assert_eq!((bench.page(0x50), bench.page(0x98)), (1, 1), "refused");
    assert_eq!(bench.get(CMDSTS), 0, "the command itself is done");
}

#[test]
fn losing_bus_mastering_halts_an_enabled_device() {
    let bench = Bench::enabled(with_handles());
    bench.submit(noop());
    let job = bench.shared.device().take().unwrap();
    bench.set_command(0x2);
    assert_eq!(bench.get(GENSTATS), 3 | 1 << 2, "needs FLR");
    assert_eq!(bench.get(SWERR), 0x5101);
    assert_eq!(bench.wq_state(0), 0);
    assert!(!job.gate.load(std::sync::atomic::Ordering::Acquire));
}

#[test]
fn a_halt_ends_the_command_in_progress() {
    let bench = Bench::enabled(Config::default());
    bench.submit(noop());
    let job = bench.shared.device().take().unwrap();
    assert_eq!(bench.command(2, 0), 1 << 31);
    assert_eq!((bench.get(GENSTATS), bench.wq_state(0)), (2, 2));
    bench.set_command(0x2);
    assert!(!job.gate.load(std::sync::atomic::Ordering::Acquire));
    bench.shared.device().finish(&job);
    bench.tick();
    assert_eq!((bench.get(CMDSTS), bench.get(GENSTATS)), (0x03, 7));
    assert_eq!(bench.command(2, 0), 0x05);
}

#[test]
fn changes_of_address_translation_halt_an_enabled_device() {
    for at in [0x224u64, 0x234, 0x244] {
        let change = |bench: &Bench, bits: u32| {
            let shift = if at == 0x244 { 0 } else { 16 };
            bench.put_in(Region::Config, at, bits << shift);
        };
        let bench = Bench::new(Config::default());
        change(&bench, 1);
        change(&bench, 0);
        assert_eq!((bench.get(GENSTATS), bench.get(SWERR)), (0, 0), "disabled");

        let bench = Bench::enabled(Config::default());
        bench.put(GENCTRL, 3);
        change(&bench, 0);
        assert_eq!(bench.get(GENSTATS), 1, "{at:#x}: as it was");
        change(&bench, 1);
        assert_eq!(bench.get(GENSTATS), 3 | 1 << 2, "{at:#x}");
        assert_eq!(bench.get(SWERR), 0x5101);
        assert_eq!(bench.get(INTCAUSE), 0x11, "error and halt");
        change(&bench, 0);
        assert_eq!(bench.get(SWERR), 0x5101, "halted already");
    }
}

/// Work queue 0 with PASID 7, or without PASID, and slot 5 armed with `ctrl`.
fn with_pasid(pasid: bool, ctrl: u32) -> Bench {
    let bench = Bench::new(Config {
        pasid: true,
        ..with_handles()
    });
    bench.put(GENCFG, 1 << 12);
    bench.put_in(Region::Config, 0x234, 1 << 16);
    bench.configure(0, 2);
    if pasid {
        bench.put(WQCFG + 8, 0x11 | 1 << 28 | 7 << 8);
    }
    bench.command(1, 0);
    assert_eq!(bench.command(6, 0), 0);
    bench.arm(5, 0xfee0_1000, 1);
    bench.put(CTRL, ctrl);
    bench
}

#[test]
fn slot_pasid_is_checked() {
    for (pasid, ctrl, status) in [
        (true, 7 << 12 | 1 << 3, 0x01),
        (true, 6 << 12 | 1 << 3, 0x19),
        (true, 7 << 12, 0x19),
        (false, 7 << 12 | 1 << 3, 0x19),
        (false, 7 << 12, 0x01),
    ] {
        let bench = with_pasid(pasid, ctrl);
        let handle = handle(&bench);
        assert_eq!(bench.run(with_handle(handle)), status, "{pasid} {ctrl:#x}");
        assert_eq!(bench.interrupts().len(), usize::from(status == 1));
    }
}

#[test]
fn msix_permission_is_checked() {
    for (pasid, entry, status) in [
        (true, 7 << 12 | 1 << 3, 0x01),
        (true, 6 << 12 | 1 << 3, 0x19),
        (true, 0, 0x19),
        (true, 1 << 2, 0x19),
        (true, 7 << 12 | 3 << 2, 0x01),
        (false, 7 << 12 | 1 << 3, 0x19),
        (false, 0, 0x01),
    ] {
        let bench = with_pasid(pasid, 0);
        bench.put(MSIXPERM + 5 * 8, entry);
        let handle = (bench.command(13, 5) >> 8) as u16;
        bench.submit_to(0, 0, with_handle(handle).bytes());
        bench.process();
        assert_eq!(bench.bus.peek(RECORD, 1), [status], "{pasid} {entry:#x}");
    }
}

#[test]
fn interrupts_of_a_batch_are_their_own() {
    let bench = Bench::enabled(with_handles());
    bench.arm(5, 0xfee0_1000, 1);
    let handle = handle(&bench);
    let parts = [
        with_handle(handle),
        Fields {
            completion: RECORD + 0x40,
            ..with_handle(3)
        },
    ];
    for (index, part) in parts.iter().enumerate() {
        bench.bus.fill(0x4000 + index as u64 * 64, &part.bytes());
    }
    let fields = Fields {
        opcode: 1,
        source: 0x4000,
        size: 2,
        ..with_handle(handle)
    };
    assert_eq!(bench.run(fields), 0x05);
    assert_eq!(bench.bus.peek(RECORD + 0x40, 1), [0x19]);
    assert_eq!(bench.interrupts().len(), 2);
}
