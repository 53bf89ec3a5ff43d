// SPDX-License-Identifier: GPL-2.0

//! The operations: what a valid descriptor does to memory.

use crate::bus::DmaError;
use crate::completion::{status, Completion, Operand};
use crate::descriptor::{flag, opcode, Descriptor};

/// Largest single transfer, in bytes.
const CHUNK: u64 = 0x1_0000;

/// Memory as an operation sees it: DMA that can fail at any time.
pub trait Memory {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError>;
    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError>;
}

/// Performs any operation but BATCH.
pub fn perform(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    match desc.opcode() {
        opcode::MEMMOVE => read_back(desc, memory, copy(desc, memory)),
        opcode::MEMFILL => read_back(desc, memory, fill(desc, memory)),
        opcode::COMPARE => compare(desc, memory),
        // One engine takes descriptors in order: DRAIN has nothing to wait for.
        _ => Completion::new(status::SUCCESS),
    }
}

fn fault(completed: u64, address: u64, operand: Operand) -> Completion {
    let kind = match operand {
        Operand::Destination => status::WRITE,
        _ => 0,
    };
    Completion {
        operand,
        completed: completed as u32,
        fault_address: address,
        ..Completion::new(status::PAGE_FAULT | kind)
    }
}

/// Offsets and lengths of the chunks that make up `size` bytes.
fn chunks(size: u32) -> impl DoubleEndedIterator<Item = (u64, usize)> {
    let size = u64::from(size);
    (0..size.div_ceil(CHUNK)).map(move |index| {
        let at = index * CHUNK;
        (at, CHUNK.min(size - at) as usize)
    })
}

fn copy(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    let (source, destination) = (desc.source(), desc.destination());
    let mut buffer = vec![0; CHUNK as usize];
    let mut completed = 0;
    let mut step = |(at, len): (u64, usize)| {
        let data = &mut buffer[..len];
        let (from, to) = (source.wrapping_add(at), destination.wrapping_add(at));
        memory
            .read(from, data)
            .map_err(|_| fault(completed, from, Operand::Source))?;
        memory
            .write(to, data)
            .map_err(|_| fault(completed, to, Operand::Destination))?;
        completed += len as u64;
        Ok(())
    };
    // GENCAP.overlap_copy: overlapping buffers are copied as if via a third.
    let forwards = destination.wrapping_sub(source) >= u64::from(desc.size());
    let mut order = chunks(desc.size());
    let result = if forwards {
        order.try_for_each(&mut step)
    } else {
        order.rev().try_for_each(&mut step)
    };
    // On a fault `result` says the direction: 1 is from the end.
    let failed = |record| Completion {
        result: u8::from(!forwards),
        ..record
    };
    result.map_or_else(failed, |()| Completion::new(status::SUCCESS))
}

fn fill(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    let pattern = desc.source().to_le_bytes().repeat(CHUNK as usize / 8);
    for (at, len) in chunks(desc.size()) {
        let to = desc.destination().wrapping_add(at);
        if memory.write(to, &pattern[..len]).is_err() {
            return fault(at, to, Operand::Destination);
        }
    }
    Completion::new(status::SUCCESS)
}

/// Reads the end of the destination after an operation that succeeded, if it asks
/// for destination readback (3.9). Hardware reads no bytes, the model one.
fn read_back(desc: &Descriptor, memory: &dyn Memory, completion: Completion) -> Completion {
    if !desc.has(flag::CC2) || completion.status != status::SUCCESS {
        return completion;
    }
    let last = desc.destination().wrapping_add(u64::from(desc.size()) - 1);
    match memory.read(last, &mut [0]) {
        Ok(()) => completion,
        Err(DmaError) => Completion::new(status::HW_WRITE),
    }
}

fn compare(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    let mut ours = vec![0; CHUNK as usize];
    let mut theirs = vec![0; CHUNK as usize];
    let mut difference = None;
    for (at, len) in chunks(desc.size()) {
        let (one, two) = (
            desc.source().wrapping_add(at),
            desc.destination().wrapping_add(at),
        );
        let (ours, theirs) = (&mut ours[..len], &mut theirs[..len]);
        if memory.read(one, ours).is_err() {
            return fault(at, one, Operand::Source);
        }
        if memory.read(two, theirs).is_err() {
            return fault(at, two, Operand::Source2);
        }
        if let Some(byte) = ours.iter().zip(theirs.iter()).position(|(a, b)| a != b) {
            difference = Some(at as u32 + byte as u32);
            break;
        }
    }
    let result = u8::from(difference.is_some());
    let unexpected = desc.has(flag::CR) && result != desc.expected_result() & 1;
    Completion {
        status: if unexpected {
            status::SUCCESS_PRED
        } else {
            status::SUCCESS
        },
        result,
        completed: difference.unwrap_or(0),
        ..Completion::default()
    }
}

#[cfg(test)]
mod tests {
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
        for (source, destination, operand) in
            [(0, top, Operand::Source2), (top, 0, Operand::Source)]
        {
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
}
