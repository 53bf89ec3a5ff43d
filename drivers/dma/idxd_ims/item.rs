// SPDX-License-Identifier: GPL-2.0

//! An item of work: what it does, and its descriptors.

use crate::{
    buffer::{
        Buffer,
        Use, //
    },
    completions::Completions,
    interrupt::Target,
    regs::*, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    uapi, //
};

/// Maximum length of a descriptor or a batch, in bytes. It bounds the time until the device shows
/// progress.
const MAX_STEP: u64 = 1 << 26;

/// The operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Noop,
    Copy,
    Fill,
    Compare,
    Crc,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] =
        [Self::Noop, Self::Copy, Self::Fill, Self::Compare, Self::Crc];

    /// `IDXD_IMS_OP_*`.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Noop => uapi::IDXD_IMS_OP_NOOP,
            Self::Copy => uapi::IDXD_IMS_OP_COPY,
            Self::Fill => uapi::IDXD_IMS_OP_FILL,
            Self::Compare => uapi::IDXD_IMS_OP_COMPARE,
            Self::Crc => uapi::IDXD_IMS_OP_CRC,
        }
    }

    pub(crate) fn opcode(self) -> u8 {
        match self {
            Self::Noop => OPCODE_NOOP,
            Self::Copy => OPCODE_MEMMOVE,
            Self::Fill => OPCODE_MEMFILL,
            Self::Compare => OPCODE_COMPARE,
            Self::Crc => OPCODE_CRC,
        }
    }

    pub(crate) fn has_source(self) -> bool {
        matches!(self, Self::Copy | Self::Compare | Self::Crc)
    }

    pub(crate) fn has_target(self) -> bool {
        matches!(self, Self::Copy | Self::Fill | Self::Compare)
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Copy | Self::Fill)
    }
}

/// A part of a buffer.
pub(crate) struct Range {
    pub(crate) buffer: Use<Buffer>,
    pub(crate) offset: u64,
}

/// An item in flight.
pub(crate) struct Item {
    pub(crate) file: Arc<Completions>,
    pub(crate) operation: Operation,
    pub(crate) cookie: u64,
    pub(crate) source: Option<Range>,
    pub(crate) target: Option<Range>,
    /// Bytes in all, bytes done, and bytes that the descriptor in flight does.
    pub(crate) length: u64,
    pub(crate) done: u64,
    pub(crate) step: u64,
    /// The descriptor in flight is a batch.
    pub(crate) batched: bool,
    /// The pattern of a fill, or the CRC so far.
    pub(crate) value: u64,
    /// The target of its interrupt, and the slot.
    pub(crate) signal: Option<(Use<Target>, u16)>,
    /// The next descriptor waits until the device is used again.
    pub(crate) waits: bool,
    /// When the descriptor in flight was submitted, in nanoseconds.
    pub(crate) since: i64,
}

/// A completion record.
pub(crate) struct Record {
    pub(crate) head: CompletionHead,
    pub(crate) crc: u64,
}

/// A part of an item that one descriptor does.
pub(crate) struct Part {
    /// Where it begins in the item, and how long it is, in bytes.
    start: u64,
    len: u64,
    source: u64,
    target: u64,
}

impl Item {
    /// Returns where the next descriptor or batch ends in the item.
    fn end(&self) -> u64 {
        self.length.min(self.done + MAX_STEP)
    }

    /// Returns the part from `start` on, of `max` bytes at most.
    fn part(&self, start: u64, max: u64) -> Part {
        let mut len = (self.end() - start).min(max);
        let mut address = |range: &Option<Range>| {
            let Some(range) = range else { return 0 };
            let (address, contiguous) = range.buffer.at(range.offset + start);
            len = len.min(contiguous);
            address
        };
        let (source, target) = (address(&self.source), address(&self.target));

        Part {
            start,
            len,
            source,
            target,
        }
    }

    /// Returns the next parts: one, or up to `most` that can be done in any order.
    pub(crate) fn parts(&self, max: u64, most: usize) -> impl Iterator<Item = Part> + '_ {
        // The others need the result of the part before.
        let most = if self.operation.writes() { most } else { 1 };
        let (mut next, end) = (self.done, self.end());

        core::iter::from_fn(move || {
            (next < end || end == 0).then(|| {
                let part = self.part(next, max);
                next += part.len;
                part
            })
        })
        .take(most)
    }

    /// Returns the descriptor of a part, without a completion record and an interrupt.
    pub(crate) fn descriptor(&self, part: &Part) -> [u64; 8] {
        let head = DescriptorHead::zeroed().with_opcode(self.operation.opcode());
        // CAST: Not more than `MAX_STEP`.
        let tail = DescriptorTail::zeroed().with_size(part.len as u32);
        let (source, seed) = match self.operation {
            // The pattern goes on where the last descriptor ended.
            Operation::Fill => {
                let rotated = (part.start % 8) as u32 * 8;
                (self.value.rotate_right(rotated), 0)
            }
            Operation::Crc => (part.source, self.value),
            _ => (part.source, 0),
        };

        [
            head.into_raw(),
            0,
            source,
            part.target,
            tail.into_raw(),
            seed,
            0,
            0,
        ]
    }

    /// Records that the descriptor in flight ends with `part`. Returns whether it is the last one.
    pub(crate) fn note_step(&mut self, part: &Part, batched: bool) -> bool {
        self.step = part.start + part.len - self.done;
        self.batched = batched;
        self.is_last_step()
    }

    /// Accounts for a descriptor that has completed. Returns the completion of the item if it was
    /// the last one.
    pub(crate) fn advance(&mut self, record: Record) -> Option<uapi::idxd_ims_completion> {
        // The record of a batch has the number of its descriptors there.
        let bytes = match self.batched {
            false => record.head.bytes().get().min(self.step),
            true => 0,
        };
        let status = record.head.status().get();

        if status != u64::from(COMPLETION_SUCCESS) {
            return Some(self.completion(self.done + bytes, uapi::IDXD_IMS_FAILED, status));
        }
        if self.operation == Operation::Compare && record.head.result().get() != 0 {
            return Some(self.completion(self.done + bytes, uapi::IDXD_IMS_COMPLETED, 1));
        }
        self.done += self.step;
        if self.operation == Operation::Crc {
            // The CRC has 32 bits.
            self.value = record.crc & 0xffff_ffff;
        }
        (self.done == self.length).then(|| {
            let result = match self.operation {
                Operation::Crc => self.value,
                _ => 0,
            };
            self.completion(self.done, uapi::IDXD_IMS_COMPLETED, result)
        })
    }

    /// Returns whether the descriptor in flight is the last.
    pub(crate) fn is_last_step(&self) -> bool {
        self.done + self.step == self.length
    }

    /// Returns the completion of an item that is aborted.
    pub(crate) fn aborted(&self) -> uapi::idxd_ims_completion {
        self.completion(self.done, uapi::IDXD_IMS_ABORTED, 0)
    }

    fn completion(&self, bytes: u64, status: u32, result: u64) -> uapi::idxd_ims_completion {
        uapi::idxd_ims_completion {
            cookie: self.cookie,
            bytes,
            result,
            status,
            reserved: 0,
        }
    }
}
