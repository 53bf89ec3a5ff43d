// SPDX-License-Identifier: GPL-2.0

//! The operations: what a valid descriptor does to memory.

use crate::bus::DmaError;
use crate::completion::{status, Completion, Operand};
use crate::crc::Crc;
use crate::descriptor::{flag, opcode, Descriptor};

/// Largest single transfer, in bytes.
const CHUNK: u64 = 0x1_0000;
/// The unit of address translation, in bytes.
const PAGE: usize = 0x1000;

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
        opcode::CRCGEN => crc(desc, memory),
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

/// Offsets and lengths of the parts of `len` bytes at `address` that are each in one
/// page.
fn pages(address: u64, len: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    let before = (address % PAGE as u64) as usize;
    (0..(before + len).div_ceil(PAGE)).map(move |index| {
        let at = (index * PAGE).saturating_sub(before);
        let end = ((index + 1) * PAGE - before).min(len);
        (at, end - at)
    })
}

/// Transfers `len` bytes at `address` at once or, if that fails, page by page up to
/// the first that fails: from the start, or backwards from the end. `part` transfers
/// what is at an offset, of a length. Returns how many bytes were transferred.
fn transfer(
    address: u64,
    len: usize,
    backwards: bool,
    mut part: impl FnMut(usize, usize) -> Result<(), DmaError>,
) -> usize {
    if part(0, len).is_ok() {
        return len;
    }
    let mut pages: Vec<_> = pages(address, len).collect();
    // A page alone has just failed.
    if pages.len() == 1 {
        return 0;
    }
    if backwards {
        pages.reverse();
    }
    let done = |&(at, len): &(usize, usize)| part(at, len).is_ok();
    pages.into_iter().take_while(done).map(|(_, len)| len).sum()
}

fn copy(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    let (source, destination) = (desc.source(), desc.destination());
    // GENCAP.overlap_copy: overlapping buffers are copied as if via a third.
    let backwards = destination.wrapping_sub(source) < u64::from(desc.size());
    let mut buffer = vec![0; CHUNK as usize];
    let mut completed = 0;
    let mut step = |(at, len): (u64, usize)| {
        let data = &mut buffer[..len];
        let (from, to) = (source.wrapping_add(at), destination.wrapping_add(at));
        let read = transfer(from, len, backwards, |at, len| {
            memory.read(from.wrapping_add(at as u64), &mut data[at..at + len])
        });
        // What could be read is the start, or the end.
        let skip = if backwards { len - read } else { 0 };
        let to = to.wrapping_add(skip as u64);
        let data = &data[skip..skip + read];
        let written = match read {
            0 => 0,
            _ => transfer(to, read, backwards, |at, len| {
                memory.write(to.wrapping_add(at as u64), &data[at..at + len])
            }),
        };
        completed += written as u64;
        let first_failed = |base: u64, len: usize, done: usize| {
            base.wrapping_add(if backwards { len - 1 - done } else { done } as u64)
        };
        if written < read {
            let address = first_failed(to, read, written);
            return Err(fault(completed, address, Operand::Destination));
        }
        if read < len {
            let address = first_failed(from, len, read);
            return Err(fault(completed, address, Operand::Source));
        }
        Ok(())
    };
    let mut order = chunks(desc.size());
    let result = if backwards {
        order.rev().try_for_each(&mut step)
    } else {
        order.try_for_each(&mut step)
    };
    // On a fault `result` says the direction: 1 is from the end.
    let failed = |record| Completion {
        result: u8::from(backwards),
        ..record
    };
    result.map_or_else(failed, |()| Completion::new(status::SUCCESS))
}

fn fill(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    let pattern = desc.source().to_le_bytes().repeat(CHUNK as usize / 8 + 1);
    for (at, len) in chunks(desc.size()) {
        let to = desc.destination().wrapping_add(at);
        let written = transfer(to, len, false, |at, len| {
            memory.write(to.wrapping_add(at as u64), &pattern[at % 8..][..len])
        });
        if written < len {
            let written = written as u64;
            return fault(at + written, to.wrapping_add(written), Operand::Destination);
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
        let read = |address: u64, data: &mut [u8]| {
            transfer(address, len, false, |at, len| {
                memory.read(address.wrapping_add(at as u64), &mut data[at..at + len])
            })
        };
        let (first, second) = (read(one, &mut ours), read(two, &mut theirs));
        let both = first.min(second);
        let mut pairs = ours[..both].iter().zip(&theirs[..both]);
        // A difference is reported, not a fault behind it (8.3.6).
        if let Some(byte) = pairs.position(|(a, b)| a != b) {
            difference = Some(at as u32 + byte as u32);
            break;
        }
        if both < len {
            let both = both as u64;
            return match first <= second {
                true => fault(at + both, one.wrapping_add(both), Operand::Source),
                false => fault(at + both, two.wrapping_add(both), Operand::Source2),
            };
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

/// After a page fault the record has the CRC of what was read, which is the seed of
/// a descriptor that goes on (8.3.12).
fn crc(desc: &Descriptor, memory: &dyn Memory) -> Completion {
    let seed = if desc.has(flag::READ_SEED) {
        let mut seed = [0; 4];
        if memory.read(desc.seed_address(), &mut seed).is_err() {
            return fault(0, desc.seed_address(), Operand::Source2);
        }
        u32::from_le_bytes(seed)
    } else {
        desc.seed()
    };
    let mut crc = Crc::new(
        seed,
        desc.has(flag::BYPASS_INVERSION),
        desc.has(flag::BYPASS_REFLECTION),
    );
    let mut buffer = vec![0; CHUNK as usize];
    for (at, len) in chunks(desc.size()) {
        let from = desc.source().wrapping_add(at);
        let data = &mut buffer[..len];
        let read = transfer(from, len, false, |at, len| {
            memory.read(from.wrapping_add(at as u64), &mut data[at..at + len])
        });
        crc.add(&buffer[..read]);
        if read < len {
            let read = read as u64;
            return Completion {
                crc: crc.value(),
                ..fault(at + read, from.wrapping_add(read), Operand::Source)
            };
        }
    }
    Completion {
        crc: crc.value(),
        ..Completion::new(status::SUCCESS)
    }
}

#[cfg(test)]
mod tests;
