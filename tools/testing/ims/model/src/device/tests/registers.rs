// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn capability_registers() {
    let bench = Bench::new(Config::default());
    assert_eq!(bench.get64(0x00), 0x100, "VERSION");
    assert_eq!(bench.get64(0x10), 0x40_915f_0107, "GENCAP");
    assert_eq!(bench.get64(0x20), 0x001b_0000_0008_0080, "WQCAP");
    assert_eq!(bench.get64(0x30), 0x1_6004, "GRPCAP");
    assert_eq!(bench.get64(0x38), 4, "ENGCAP");
    assert_eq!(bench.get64(0x40), 0x1_003f, "OPCAP");
    assert_eq!(bench.get64(0x60), 0x0040_0002_0004_0003, "OFFSETS");
    for offset in [
        0x08, 0x18, 0x28, 0x48, 0x50, 0x58, 0x68, 0x70, 0x78, 0xb0, 0xb8, 0xe0, 0xf0, 0x180,
    ] {
        assert_eq!(bench.get64(offset), 0, "{offset:#x}");
    }
}

#[test]
fn every_width_reads_the_same_bytes() {
    let bench = Bench::new(Config::default());
    let whole = bench.get64(0x10).to_le_bytes();
    for width in [1, 2, 4] {
        for at in (0..8).step_by(width) {
            let mut data = vec![0; width];
            bench
                .shared
                .device()
                .read(Region::Bar0, 0x10 + at as u64, &mut data);
            assert_eq!(data, whole[at..at + width], "{width} at {at}");
        }
    }
}

#[test]
fn read_only_registers_ignore_writes() {
    let bench = Bench::new(Config::default());
    let read_only = (0x00..0x80).chain(0x90..0x98).chain(0xa8..0x100).step_by(4);
    for offset in read_only {
        let before = bench.get(offset);
        bench.put(offset, !before);
        assert_eq!(bench.get(offset), before, "{offset:#x}");
    }
}

#[test]
fn reserved_bits_of_control_registers_read_zero() {
    let bench = Bench::new(Config::default());
    for offset in [GENCFG, GENCTRL] {
        bench.put64(offset, u64::MAX);
    }
    assert_eq!(bench.get64(GENCFG), 0x1000, "user_int_en");
    assert_eq!(bench.get64(GENCTRL), 0x3, "softerr_int_en, halt_int_en");
    assert_eq!(bench.get(CMD), 0);
}

#[test]
fn narrow_writes_keep_the_other_bytes() {
    let bench = Bench::new(Config::default());
    bench.put(WQCFG, 0x1234);
    bench.shared.device().write(Region::Bar0, WQCFG, &[0x56]);
    assert_eq!(bench.get(WQCFG), 0x1256);
    bench.shared.device().write(Region::Bar0, WQCFG + 1, &[0]);
    assert_eq!(bench.get(WQCFG), 0x56);
}

#[test]
fn tables_are_locked_while_enabled() {
    let bench = Bench::enabled(Config::default());
    bench.put(GENCFG, 1 << 12);
    bench.put(GRPCFG, 0xff);
    bench.put(WQCFG, 9);
    bench.put(WQCFG + 8, 0);
    assert_eq!(bench.get(GENCFG), 0);
    assert_eq!(bench.get(GRPCFG), 1);
    assert_eq!(bench.get(WQCFG), 2);
    assert_eq!(bench.get(WQCFG + 8), 0x11);
    // Another work queue is open, but for its size.
    bench.put(WQCFG + 32, 9);
    bench.put(WQCFG + 32 + 8, 1);
    assert_eq!(bench.get(WQCFG + 32), 0);
    assert_eq!(bench.get(WQCFG + 32 + 8), 1);
    // The interrupts' tables and GENCTRL are always open.
    bench.put(GENCTRL, 3);
    bench.put(MSIXPERM, 4);
    bench.put(IMS + 8, 5);
    assert_eq!(
        (bench.get(GENCTRL), bench.get(MSIXPERM), bench.get(IMS + 8)),
        (3, 4, 5)
    );
}

#[test]
fn tables_end_where_their_entries_end() {
    let config = Config {
        slots: 256,
        wqs: 2,
        groups: 2,
        vectors: 3,
        ..Config::default()
    };
    let bench = Bench::new(config);
    let last = [
        (GRPCFG + 64, GRPCFG + 128),
        (WQCFG + 32, WQCFG + 64),
        (MSIXPERM + 16, MSIXPERM + 24),
        (IMS + 255 * 16 + 8, IMS + 256 * 16 + 8),
    ];
    for (inside, beyond) in last {
        bench.put(inside, 0x4);
        bench.put(beyond, 0x4);
        assert_eq!(bench.get(inside), 0x4, "{inside:#x}");
        assert_eq!(bench.get(beyond), 0, "{beyond:#x}");
    }
}

#[test]
fn msixperm_has_eight_bytes_an_entry() {
    let bench = Bench::new(Config::default());
    bench.put64(MSIXPERM + 8, u64::MAX);
    assert_eq!(bench.get64(MSIXPERM + 8), 0xffff_f00c);
    assert_eq!(bench.get64(MSIXPERM), 0);
    assert_eq!(bench.get64(MSIXPERM + 16), 0);
}

#[test]
fn slot_is_four_dwords_or_two_qwords() {
    let bench = Bench::new(Config::default());
    let at = IMS + 3 * 16;
    assert_eq!(bench.get64(at), 0xfee0_0000);
    assert_eq!(bench.get64(at + 8), 1 << 32, "masked");
    bench.put64(at, 0xfee0_1000);
    bench.put64(at + 8, 0x0000_1000_0000_0042);
    assert_eq!(bench.get(at), 0xfee0_1000);
    assert_eq!(bench.get(at + 4), 0);
    assert_eq!(bench.get(at + 8), 0x42);
    assert_eq!(bench.get(at + 12), 0x1000);
    assert_eq!(bench.get64(at - 8), 1 << 32);
    assert_eq!(bench.get64(at + 16), 0xfee0_0000);
    bench.put64(at, 0x1_fee0_2000);
    assert_eq!(bench.get64(at), 0xfee0_1000, "ignored as a whole");
}

#[test]
fn command_needs_one_whole_write() {
    let bench = Bench::new(Config::default());
    let access = |offset, data: &[u8]| bench.shared.device().write(Region::Bar0, offset, data);
    access(CMD, &(1u32 << 20).to_le_bytes()[..2]);
    access(CMD + 2, &(1u32 << 20).to_le_bytes()[2..]);
    assert_eq!(bench.page(0xa0), 0, "commands");
    bench.put(CMD, 1 << 20);
    assert_eq!(bench.page(0xa0), 1);
    bench.put64(CMD, 1 << 20);
    assert_eq!(bench.page(0xa0), 2, "with the dword behind");
}

#[test]
fn portals_read_ones() {
    let bench = Bench::new(Config::default());
    assert_eq!(bench.get_in(Region::Bar2, 0), u32::MAX);
}

#[test]
fn powered_down_device_does_not_answer() {
    let bench = Bench::new(Config::default());
    bench.shared.device().write(Region::Config, 0x94, &[3]);
    assert_eq!(bench.get(0), u32::MAX);
    bench.put(GENCTRL, 3);
    bench.submit_to(0, 2, noop().bytes());
    assert_eq!(bench.page(0xb0), 10, "each access is counted");
    bench.shared.device().write(Region::Config, 0x94, &[0]);
    assert_eq!(bench.get(GENCTRL), 0);
    assert_eq!(bench.get(0), 0x100);
    assert_eq!(bench.page(0xb0), 10);
}

/// The state of a device that was in D3hot: GENCTRL, a slot's address, resets.
fn after_d3(d3_resets: bool) -> (u32, u64, u32) {
    let bench = Bench::new(Config {
        d3_resets,
        ..Config::default()
    });
    bench.put(GENCTRL, 3);
    bench.arm(1, 0xfee0_1000, 1);
    for state in [3, 0] {
        bench.put_in(Region::Config, 0x94, state);
    }
    (bench.get(GENCTRL), bench.get64(IMS + 16), bench.page(0xa8))
}

#[test]
fn state_in_d3() {
    assert_eq!(after_d3(false), (3, 0xfee0_1000, 0));
    assert_eq!(after_d3(true), (0, 0xfee0_0000, 1));
}
