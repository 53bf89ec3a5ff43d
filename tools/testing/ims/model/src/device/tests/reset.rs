// SPDX-License-Identifier: GPL-2.0

use super::*;

/// A device with something in every register and table that can be reset.
fn used(config: Config) -> Bench {
    let bench = Bench::new(config);
    bench.put(GENCFG, 1 << 12);
    bench.put(GENCTRL, 3);
    bench.put(GRPCFG + 40, 96 << 20 | 1);
    bench.put(MSIXPERM + 8, 1 << 2);
    bench.arm(5, 0xfee0_1000, 1);
    bench.set_page(0xc0, 6);
    bench.configure(0, 1);
    bench.command(1, 0);
    bench.command(6, 0);
    bench.command(13, 0x1_0005);
    bench.command(13, 1);
    bench.submit(noop());
    // There is no room for it, which is a software error.
    bench.submit(noop());
    bench.interrupts();
    bench
}

fn assert_registers_reset(bench: &Bench) {
    for offset in [GENCFG, GENCTRL, GENSTATS, INTCAUSE, GRPCFG, GRPCFG + 32] {
        assert_eq!(bench.get(offset), 0, "{offset:#x}");
    }
    assert_eq!(bench.get(GRPCFG + 40), 96 << 20);
    for offset in (WQCFG..WQCFG + 32).step_by(4) {
        assert_eq!(bench.get(offset), 0, "{offset:#x}");
    }
}

fn assert_interrupts_reset(bench: &Bench) {
    assert_eq!(bench.get(MSIXPERM + 8), 0);
    for slot in [5, 6] {
        assert_eq!(bench.get64(IMS + slot * 16), 0xfee0_0000);
        assert_eq!(
            bench.get64(IMS + slot * 16 + 8),
            1 << 32,
            "masked, not pending"
        );
    }
    assert_eq!(bench.command(14, 0x1_0005), 0x41, "handle dropped");
    assert_eq!(bench.command(14, 1), 0x41, "handle dropped");
}

#[test]
fn reset_device_command() {
    let bench = used(with_handles());
    bench.put(CMD, 1 << 31 | 5 << 20);
    assert_eq!(bench.get(INTCAUSE), 2, "its own end is after the reset");
    bench.put(INTCAUSE, 2);
    assert_eq!(bench.get(CMDSTS), 0);
    assert_registers_reset(&bench);
    assert_interrupts_reset(&bench);
    assert_eq!(bench.get(SWERR), 0x530d, "preserved");
    assert!(!bench.shared.process(), "queue discarded");
    assert_eq!(bench.page(0x80), 1);
    assert_eq!(bench.page(0xa8), 0, "not an FLR");
    let command = bench.get_in(Region::Config, 4) & 4;
    assert_eq!(command, 4, "config space stays");
}

#[test]
fn reset_device_command_can_keep_interrupts() {
    let bench = used(Config {
        reset_keeps_interrupts: true,
        ..with_handles()
    });
    bench.command(5, 0);
    assert_registers_reset(&bench);
    assert_eq!(bench.get(MSIXPERM + 8), 4);
    assert_eq!(bench.get64(IMS + 5 * 16), 0xfee0_1000);
    assert_eq!(bench.command(14, 0x1_0005), 0);
}

#[test]
fn reset_device_waits_for_what_is_in_flight() {
    let bench = used(with_handles());
    let job = bench.shared.device().take().unwrap();
    assert_eq!(bench.command(5, 0), 1 << 31);
    assert_eq!((bench.get(GENSTATS), bench.wq_state(0)), (2, 2), "stops");
    bench.shared.device().finish(&job);
    bench.tick();
    assert_eq!(bench.get(CMDSTS), 0);
    assert_registers_reset(&bench);
}

#[test]
fn flr_and_qemu_reset_everything() {
    let flr = |bench: &Bench| bench.put_in(Region::Config, 0x48, 0x8000);
    let qemu = |bench: &Bench| bench.shared.device().reset();
    for reset in [&flr as &dyn Fn(&Bench), &qemu] {
        let bench = used(with_handles());
        bench.set_page(0x108, 1000);
        bench.set_page(0x10c, 1);
        bench.set_page(0x118, 1);
        let before = bench.page(0x48);
        reset(&bench);
        assert_eq!(bench.page(0xa8), 1);
        assert_eq!(bench.get_in(Region::Config, 4) & 4, 0, "bus mastering off");
        assert_registers_reset(&bench);
        for offset in (SWERR..SWERR + 32).step_by(4) {
            assert_eq!(bench.get(offset), 0, "{offset:#x}");
        }
        assert_interrupts_reset(&bench);
        assert!(!bench.shared.process());
        assert_eq!(bench.page(0x118), 0, "source stopped");
        assert_eq!(bench.page(0x48), before, "counters stay");
    }
}

#[test]
fn flr_ends_a_running_command() {
    let bench = used(with_handles());
    bench.command(8, 1);
    assert_eq!(bench.get(CMDSTS), 1 << 31);
    bench.put_in(Region::Config, 0x48, 0x8000);
    assert_eq!(bench.get(CMDSTS), 0);
    bench.tick();
    let commands = bench.page(0xa0);
    bench.set_command(6);
    assert_eq!(bench.command(13, 0), 0x7fff << 8);
    assert_eq!(bench.page(0xa0), commands + 1, "the old one did not end");
}

#[test]
fn job_that_a_reset_overtook_does_nothing_more() {
    let bench = used(with_handles());
    let job = bench.shared.device().take().unwrap();
    bench.shared.device().reset();
    bench.set_command(6);
    assert!(!job.gate.load(std::sync::atomic::Ordering::Acquire));
    assert!(bench.shared.device().take().is_none());
    bench.shared.device().finish(&job);
    assert_eq!((bench.page(0x78), bench.page(0x80)), (0, 1));
}

#[test]
fn half_a_descriptor_does_not_survive() {
    let bench = used(with_handles());
    for part in 0..7 {
        bench.shared.device().write(Region::Bar2, part * 8, &[0; 8]);
    }
    bench.command(5, 0);
    bench.enable();
    bench.shared.device().write(Region::Bar2, 56, &[0; 8]);
    assert_eq!((bench.occupancy(0), bench.page(0x88)), (0, 2));
}
