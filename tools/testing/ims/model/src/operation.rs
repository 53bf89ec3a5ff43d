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
mod tests;
