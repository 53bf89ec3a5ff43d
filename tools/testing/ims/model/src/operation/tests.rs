// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::bus::fake::{FakeBus, MEMORY};
use crate::bus::Bus;
use crate::descriptor::build::Fields;

impl Memory for FakeBus {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        Bus::read(self, address, data)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        Bus::write(self, address, data)
    }
}

const SUCCESS: Completion = Completion {
    status: 1,
    result: 0,
    operand: Operand::Unknown,
    completed: 0,
    fault_address: 0,
    invalid_flags: 0,
};

fn run(bus: &FakeBus, fields: Fields) -> Completion {
    perform(&Descriptor::from(fields.bytes()), bus)
}

fn counted(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn memmove_copies() {
    let bus = FakeBus::default();
    let data = counted(0x1_8001);
    bus.fill(0x100, &data);
    let fields = Fields {
        opcode: 3,
        source: 0x100,
        destination: 0x4_0003,
        size: 0x1_8001,
        ..Fields::default()
    };
    assert_eq!(run(&bus, fields), SUCCESS);
    assert_eq!(bus.peek(0x4_0003, 0x1_8001), data);
    assert_eq!(bus.peek(0x4_0002, 1), [0]);
    assert_eq!(bus.peek(0x4_0003 + 0x1_8001, 1), [0]);
}

#[test]
fn memmove_overlaps_both_ways() {
    for (source, destination) in [(0x1000, 0x1010), (0x1010, 0x1000)] {
        let bus = FakeBus::default();
        let data = counted(0x3_0000);
        bus.fill(source, &data);
        let fields = Fields {
            opcode: 3,
            source,
            destination,
            size: 0x3_0000,
            ..Fields::default()
        };
        run(&bus, fields);
        assert_eq!(bus.peek(destination, 0x3_0000), data);
    }
}

#[test]
fn memmove_faults_say_where() {
    let bus = FakeBus::default();
    let top = MEMORY as u64;
    let fields = Fields {
        opcode: 3,
        source: top,
        destination: 0,
        size: 1,
        ..Fields::default()
    };
    assert_eq!(run(&bus, fields), fault(0, top, Operand::Source));
    let fields = Fields {
        source: 0,
        destination: top - CHUNK,
        size: CHUNK as u32 + 8,
        ..fields
    };
    let record = run(&bus, fields);
    assert_eq!(record.status, 0x83);
    assert_eq!(record.fault_address, top);
    assert_eq!(record.completed, CHUNK as u32);
}

#[test]
fn memfill_repeats_eight_bytes() {
    let bus = FakeBus::default();
    let fields = Fields {
        opcode: 4,
        source: 0x0807_0605_0403_0201,
        destination: 0x41,
        size: 11,
        ..Fields::default()
    };
    assert_eq!(run(&bus, fields), SUCCESS);
    assert_eq!(bus.peek(0x40, 13), [0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 0]);
}

#[test]
fn compare_reads_both_sides() {
    let bus = FakeBus::default();
    let top = MEMORY as u64;
    for (source, destination, operand) in [(0, top, Operand::Source2), (top, 0, Operand::Source)] {
        let fields = Fields {
            opcode: 5,
            source,
            destination,
            size: 1,
            ..Fields::default()
        };
        assert_eq!(run(&bus, fields), fault(0, top, operand));
    }
}

#[test]
fn compare_finds_the_first_difference() {
    let bus = FakeBus::default();
    bus.fill(0x2000 + 0x1_0005, &[1]);
    let fields = Fields {
        opcode: 5,
        source: 0x2000,
        destination: 0x8_0000,
        size: 0x1_0005,
        ..Fields::default()
    };
    assert_eq!(run(&bus, fields), SUCCESS);
    let fields = Fields {
        size: 0x1_0006,
        ..fields
    };
    let record = run(&bus, fields);
    assert_eq!(
        (record.status, record.result, record.completed),
        (1, 1, 0x1_0005)
    );
    // Equality was expected, and is checked.
    let fields = Fields {
        flags: flag::CR,
        ..fields
    };
    assert_eq!(run(&bus, fields).status, 2);
    let mut bytes = fields.bytes();
    bytes[40] = 1;
    assert_eq!(perform(&Descriptor::from(bytes), &bus).status, 1);
}
