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
    crc: 0,
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

/// Memory without one page.
#[derive(Default)]
struct Torn {
    bus: FakeBus,
}

impl Torn {
    const PAGE: u64 = 0x4_3000;

    fn check(address: u64, len: usize) -> Result<(), DmaError> {
        let is_below = address + len as u64 <= Self::PAGE;
        let is_there = is_below || address >= Self::PAGE + 0x1000;
        is_there.then_some(()).ok_or(DmaError)
    }
}

impl Memory for Torn {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        Self::check(address, data.len())?;
        Bus::read(&self.bus, address, data)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        Self::check(address, data.len())?;
        Bus::write(&self.bus, address, data)
    }
}

fn run_torn(memory: &Torn, opcode: u8, source: u64, destination: u64) -> Completion {
    let fields = Fields {
        opcode,
        source,
        destination,
        size: 0x1_8000,
        ..Fields::default()
    };
    perform(&Descriptor::from(fields.bytes()), memory)
}

#[test]
fn pages_make_up_the_whole() {
    let split = |address, len| pages(address, len).collect::<Vec<_>>();
    assert_eq!(split(0x1000, 0x1000), [(0, 0x1000)]);
    assert_eq!(split(0x1fff, 2), [(0, 1), (1, 1)]);
    assert_eq!(
        split(0x1800, 0x2000),
        [(0, 0x800), (0x800, 0x1000), (0x1800, 0x800)]
    );
    assert_eq!(split(u64::MAX, 2), [(0, 1), (1, 1)]);
}

#[test]
fn memmove_stops_at_the_page_that_fails() {
    let missing = Torn::PAGE;
    // The first part of 64 KiB, and the second.
    for completed in [0x1801, 0x1_1801] {
        let memory = Torn::default();
        let data = counted(0x1_8000);
        memory.bus.fill(missing - completed, &data);
        let record = run_torn(&memory, 3, missing - completed, 0x8_0003);
        assert_eq!(record, fault(completed, missing, Operand::Source));
        let completed = completed as usize;
        assert_eq!(memory.bus.peek(0x8_0003, completed), data[..completed]);
        assert_eq!(memory.bus.peek(0x8_0003 + completed as u64, 2), [0, 0]);

        let memory = Torn::default();
        memory.bus.fill(0x8_0003, &data);
        let to = missing - completed as u64;
        let record = run_torn(&memory, 3, 0x8_0003, to);
        let expected = fault(completed as u64, missing, Operand::Destination);
        assert_eq!(record, expected);
        assert_eq!(memory.bus.peek(to, completed), data[..completed]);
    }
}

#[test]
fn memmove_from_the_end_stops_at_the_page_that_fails() {
    // The last part of 64 KiB, and the one before it.
    for completed in [0x1801, 0x1_1801] {
        let data = counted(completed as usize);
        let start = Torn::PAGE + 0x1000 + completed - 0x1_8000;
        for (source, destination, operand) in [
            (start, start + 0x1_4000, Operand::Source),
            (start - 0x1_4000, start, Operand::Destination),
        ] {
            let memory = Torn::default();
            let copied = 0x1_8000 - completed;
            memory.bus.fill(source + copied, &data);
            let record = run_torn(&memory, 3, source, destination);
            let expected = Completion {
                result: 1,
                ..fault(completed, Torn::PAGE + 0xfff, operand)
            };
            assert_eq!(record, expected);
            let copy = memory.bus.peek(destination + copied, data.len());
            assert_eq!(copy, data);
        }
    }
}

#[test]
fn memfill_stops_at_the_page_that_fails() {
    for completed in [0x1803, 0x1_1803] {
        let memory = Torn::default();
        let to = Torn::PAGE - completed;
        let pattern = 0x0807_0605_0403_0201;
        let record = run_torn(&memory, 4, pattern, to);
        assert_eq!(record, fault(completed, Torn::PAGE, Operand::Destination));
        assert_eq!(memory.bus.peek(Torn::PAGE - 4, 4), [8, 1, 2, 3]);
    }
}

#[test]
fn compare_stops_at_the_page_that_fails() {
    for (source, destination, operand) in [
        (Torn::PAGE - 0x1801, 0x8_0000, Operand::Source),
        (0x8_0000, Torn::PAGE - 0x1801, Operand::Source2),
    ] {
        let memory = Torn::default();
        let record = run_torn(&memory, 5, source, destination);
        assert_eq!(record, fault(0x1801, Torn::PAGE, operand));
        memory.bus.fill(0x8_1800, &[1]);
        let record = run_torn(&memory, 5, source, destination);
        assert_eq!((record.status, record.result), (1, 1));
        assert_eq!(record.completed, 0x1800, "a difference before it");
    }
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

#[test]
fn memfill_is_in_the_order_of_memory() {
    // Also in the second part of 64 KiB.
    let bus = FakeBus::default();
    let fields = Fields {
        opcode: 4,
        source: u64::from_le_bytes(*b"interrup"),
        destination: 0x1003,
        size: 0x1_000c,
        ..Fields::default()
    };
    assert_eq!(run(&bus, fields), SUCCESS);
    assert_eq!(bus.peek(0x1003, 9), b"interrupi");
    assert_eq!(bus.peek(0x1003 + 0x1_0000, 13), b"interrupinte\0");
}

#[test]
fn compare_tells_each_byte_that_differs() {
    let size = 0x2_0001;
    for at in [0, 1, 7, 8, 0xfff, 0x1000, 0xffff, 0x1_0000, 0x2_0000] {
        for side in [0x2003, 0x8_0000] {
            let bus = FakeBus::default();
            bus.fill(side + at, &[0x80]);
            // Behind the first one, and behind the end.
            bus.fill(side + size, &[1]);
            let fields = Fields {
                opcode: 5,
                source: 0x2003,
                destination: 0x8_0000,
                size: size as u32,
                ..Fields::default()
            };
            let record = run(&bus, fields);
            assert_eq!((record.status, record.result), (1, 1), "{at:#x}");
            assert_eq!(record.completed, at as u32);
            bus.fill(side + at, &[0]);
            assert_eq!(run(&bus, fields), SUCCESS, "{at:#x}");
        }
    }
}

fn crc(size: u32) -> Fields {
    Fields {
        opcode: 0x10,
        source: 0x1003,
        size,
        ..Fields::default()
    }
}

#[test]
fn crc_of_memory() {
    let bus = FakeBus::default();
    bus.fill(0x1003, b"123456789!");
    let record = run(&bus, crc(9));
    let expected = Completion {
        crc: 0xe306_9283,
        ..SUCCESS
    };
    assert_eq!(record, expected);
    // What `CRC32` computes from the same seed, inverted and not.
    let start = !0u32;
    let fields = Fields {
        flags: flag::BYPASS_INVERSION,
        seed: start,
        ..crc(9)
    };
    assert_eq!(run(&bus, fields).crc, (!0xe306_9283u32).reverse_bits());
}

#[test]
fn crc_goes_on_from_a_seed() {
    let bus = FakeBus::default();
    bus.fill(0x1003, &counted(0x1_8001));
    let whole = run(&bus, crc(0x1_8001)).crc;
    for at in [1, 3, 0x1000, 0xffff, 0x1_0000, 0x1_8000] {
        let seed = run(&bus, crc(at)).crc;
        let rest = Fields {
            source: 0x1003 + u64::from(at),
            ..crc(0x1_8001 - at)
        };
        assert_eq!(run(&bus, Fields { seed, ..rest }).crc, whole, "{at:#x}");
        // In memory, where the seed of the descriptor does not matter.
        bus.fill(0x9_0004, &seed.to_le_bytes());
        let rest = Fields {
            flags: flag::READ_SEED,
            seed_address: 0x9_0004,
            ..rest
        };
        assert_eq!(run(&bus, rest).crc, whole, "{at:#x}");
    }
}

#[test]
fn crc_stops_at_the_page_that_fails() {
    for completed in [0x1801, 0x1_1801] {
        let memory = Torn::default();
        let from = Torn::PAGE - completed;
        memory.bus.fill(from, &counted(completed as usize));
        let record = run_torn(&memory, 0x10, from, 0);
        let expected = run(
            &memory.bus,
            Fields {
                source: from,
                ..crc(completed as u32)
            },
        );
        assert_ne!(record.crc, 0);
        let expected = Completion {
            crc: expected.crc,
            ..fault(completed, Torn::PAGE, Operand::Source)
        };
        assert_eq!(record, expected, "the seed of what is left");
    }
}

#[test]
fn crc_needs_its_seed() {
    let bus = FakeBus::default();
    let top = MEMORY as u64;
    let fields = Fields {
        flags: flag::READ_SEED,
        seed_address: top,
        ..crc(1)
    };
    assert_eq!(run(&bus, fields), fault(0, top, Operand::Source2));
}
