// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn identity() {
    let bench = Bench::new(Config::default());
    assert_eq!(bench.get(MAGIC), 0x5153_4d49);
    assert_eq!(bench.get(QUEUES), 64);
    for queues in [1, 4096] {
        let bench = Bench::new(Config {
            queues,
            ..Config::default()
        });
        assert_eq!(bench.get(QUEUES), u32::from(queues));
    }
}

#[test]
fn all_but_identity_begins_at_zero() {
    let bench = Bench::new(Config::default());
    for offset in (0x08..0x1000).step_by(4) {
        assert_eq!(bench.get(offset), 0, "{offset:#x}");
    }
}

#[test]
fn table_address_is_aligned() {
    let bench = Bench::new(Config::default());
    for bit in 0..32 {
        bench.put(TABLE_LO, 1 << bit);
        let kept = if bit < 6 { 0 } else { 1 << bit };
        assert_eq!((bench.get(TABLE_LO), bench.get(TABLE_HI)), (kept, 0));
        bench.put(TABLE_LO, 0);
        bench.put(TABLE_HI, 1 << bit);
        assert_eq!((bench.get(TABLE_LO), bench.get(TABLE_HI)), (0, 1 << bit));
        bench.put(TABLE_HI, 0);
    }
}

#[test]
fn table_is_locked_while_enabled() {
    let bench = Bench::new(Config::default());
    bench.put(TABLE_LO, 0x1000);
    bench.put(TABLE_HI, 0x2);
    bench.put(CONTROL, 1);
    bench.put(TABLE_LO, 0xffff_ffff);
    bench.put(TABLE_HI, 0xffff_ffff);
    assert_eq!((bench.get(TABLE_LO), bench.get(TABLE_HI)), (0x1000, 0x2));
    bench.put(CONTROL, 0);
    assert_eq!((bench.get(TABLE_LO), bench.get(TABLE_HI)), (0x1000, 0x2));
    bench.put(TABLE_LO, 0x2000);
    bench.put(TABLE_HI, 0x3);
    assert_eq!((bench.get(TABLE_LO), bench.get(TABLE_HI)), (0x2000, 0x3));
}

#[test]
fn table_can_be_above_four_gigabytes() {
    let bench = Bench::new(Bench::quick());
    bench.put(TABLE_LO, 0xffff_ffc0);
    bench.put(TABLE_HI, 0x12);
    bench.host.refuse(0..u64::MAX);
    bench.put(CONTROL, 1);
    bench.process();
    assert_eq!(bench.get(STATUS), 0x400);
    bench.host.take();
    assert_eq!(bench.update(2, 1), 4);
    assert_eq!(bench.host.take(), [Event::Read(0x13_0000_0000, 16)]);
}

#[test]
fn control_has_one_bit() {
    let bench = Bench::new(Config::default());
    bench.put(CONTROL, 0xffff_ffff);
    assert_eq!(bench.get(CONTROL), 1);
    bench.put(CONTROL, 0xffff_fffe);
    assert_eq!(bench.get(CONTROL), 0);
    bench.put(CONTROL, 1);
    assert_eq!(bench.get(CONTROL), 1);
}

#[test]
fn enabling_again_changes_nothing() {
    let bench = Bench::armed();
    bench.put(CONTROL, 1);
    bench.ring(2);
    bench.process();
    assert_eq!(bench.writes(), [message(2)]);
}

#[test]
fn write_only_registers_read_zero() {
    let bench = Bench::armed();
    bench.ring(3);
    bench.begin_update(1, 2);
    assert_eq!((bench.get(UPDATE), bench.get(DOORBELL)), (0, 0));
}

#[test]
fn what_cannot_be_written_stays() {
    let bench = Bench::armed();
    bench.context(0, true);
    bench.ring(0);
    bench.update(0, 1);
    bench.ring(0);
    bench.ring(64);
    bench.process();
    let all: Vec<_> = (0..0x1000)
        .step_by(4)
        .map(|offset| bench.get(offset))
        .collect();
    let commands = [CONTROL, UPDATE, DOORBELL];
    for offset in (0..0x1000)
        .step_by(4)
        .filter(|offset| !commands.contains(offset))
    {
        bench.put(offset, 0xffff_ffff);
        bench.put(offset, 0);
    }
    bench.process();
    for (index, &before) in all.iter().enumerate() {
        assert_eq!(bench.get(index as u64 * 4), before, "{:#x}", index * 4);
    }
    assert_eq!(bench.counters(), [1, 1, 0, 2, 5, 1, 0]);
}

#[test]
fn only_whole_registers_are_read() {
    let bench = Bench::new(Config::default());
    for (offset, len) in [
        (0, 1),
        (0, 2),
        (2, 2),
        (0, 8),
        (4, 8),
        (1, 4),
        (2, 4),
        (0, 3),
        (0x1000, 4),
        (0xffe, 4),
    ] {
        let mut data = vec![0; len];
        bench.shared.device().read(Region::Bar0, offset, &mut data);
        assert_eq!(data, vec![0xff; len], "{offset} {len}");
    }
}

#[test]
fn only_whole_registers_are_written() {
    let bench = Bench::armed();
    let write = |offset, data: &[u8]| bench.shared.device().write(Region::Bar0, offset, data);
    write(CONTROL, &[0]);
    write(CONTROL, &[0, 0]);
    write(CONTROL, &[0; 8]);
    write(CONTROL - 4, &[0; 8]);
    write(CONTROL - 2, &[0; 4]);
    write(CONTROL + 1, &[0; 4]);
    assert_eq!(bench.get(CONTROL), 1);
    write(DOORBELL, &[1]);
    write(DOORBELL, &[1, 0]);
    write(UPDATE + 4, &[0, 0, 0, 0, 1, 0, 0, 0]);
    write(DOORBELL, &[1, 0, 0, 0, 0, 0, 0, 0]);
    write(0x1000 + DOORBELL, &[1, 0, 0, 0]);
    bench.process();
    assert_eq!(bench.host.take(), []);
}

#[test]
fn other_bars_are_not_there() {
    let bench = Bench::new(Config::default());
    for region in [Region::Bar2, Region::Bar4] {
        assert_eq!(bench.get_in(region, 0), 0xffff_ffff);
        let mut device = bench.shared.device();
        device.write(region, CONTROL, &1u32.to_le_bytes());
    }
    assert_eq!(bench.get(CONTROL), 0);
}

#[test]
fn configuration_space() {
    let bench = Bench::new(Config::default());
    let get = |at| bench.get_in(Region::Config, at);
    assert_eq!(get(0x00), 0x10f0_1af4);
    assert_eq!(get(0x08), 0xff00_0001, "class 0xff0000, revision 1");
    assert_eq!(get(0x0c), 0);
    assert_eq!(get(0x3c), 0, "no interrupt pin");
    let mut capabilities = Vec::new();
    let mut at = get(0x34);
    while at != 0 {
        let header = get(at.into());
        capabilities.push(header & 0xff);
        at = header >> 8 & 0xff;
    }
    assert_eq!(capabilities, [0x10, 0x01], "no MSI, no MSI-X");
    assert_ne!(get(0x44) & 1 << 28, 0, "FLR");
    assert_eq!(get(0x100), 0, "no extended capability");
    assert_eq!(get(0xffc), 0);
}

#[test]
fn bar0_is_4096_bytes_of_32_bit_memory() {
    let bench = Bench::new(Config::default());
    for at in (0x10..0x28).step_by(4) {
        assert_eq!(bench.get_in(Region::Config, at), 0);
        bench.shared.device().write(Region::Config, at, &[0xff; 4]);
        let sized = if at == 0x10 { 0xffff_f000 } else { 0 };
        assert_eq!(bench.get_in(Region::Config, at), sized, "{at:#x}");
    }
}

#[test]
fn nobody_answers_in_d3() {
    let bench = Bench::armed();
    let set_power = |state| {
        let mut device = bench.shared.device();
        device.write(Region::Config, 0x94, &[state]);
    };
    bench.ring(0);
    set_power(3);
    assert_eq!(bench.get(MAGIC), 0xffff_ffff);
    bench.ring(1);
    bench.put(CONTROL, 0);
    bench.process();
    set_power(0);
    assert_eq!(bench.get(CONTROL), 1, "no soft reset");
    assert_eq!(bench.writes(), []);
    assert_eq!(bench.get(REFUSED), 1);
}

#[test]
fn counters_wrap() {
    let bench = Bench::armed();
    {
        let mut device = bench.shared.device();
        device.counters.sent = u32::MAX;
        device.counters.ignored = u32::MAX;
        device.counters.updates = u32::MAX;
    }
    assert_eq!(bench.get(SENT), 0xffff_ffff);
    bench.ring(0);
    bench.ring(64);
    bench.update(0, 1);
    assert_eq!([SENT, IGNORED, UPDATES].map(|at| bench.get(at)), [0, 0, 0]);
}
